"""Conformal bands: they cover what they promise, on errors whose true quantiles are known, and never read ahead."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridtwin.errors import DataError
from gridtwin.forecast.conformal import Calibration, RolledErrors, conformal_quantiles, values_of_switched
from gridtwin.forecast.error_quantiles import tail_factor, track_misses
from gridtwin.forecast.error_scales import track_scales
from gridtwin.forecast.past_days import alike_days, conformal_levels, pool_neighbours

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
TARGETS = np.arange(90, 240)
FREE = np.arange(240) % 7 >= 5


def simulate_errors(days: int, slots: int, assets: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of unit variance, (day, slot, asset): half an AR(1) over the slots, half an AR(1) over the days."""
    generator = np.random.default_rng(seed)
    within = generator.standard_normal((days, slots, assets))
    level = generator.standard_normal((days, assets))
    for slot in range(1, slots):
        within[:, slot] = 0.8 * within[:, slot - 1] + 0.6 * within[:, slot]
    for day in range(1, days):
        level[day] = 0.3 * level[day - 1] + np.sqrt(1 - 0.09) * level[day]
    spread = 0.05 + 0.04 * np.sin(2 * np.pi * np.arange(slots) / slots)
    return np.sqrt(0.5) * (within + level[:, np.newaxis]), spread[:, np.newaxis]


@pytest.fixture(scope="module")
def loads() -> RolledErrors:
    """Twenty loads whose error grows with the hour and is half as large again on free days."""
    unit, spread = simulate_errors(240, 48, 20, seed=3)
    point = np.full(unit.shape, 0.5, dtype=np.float32)
    scale = spread * np.where(FREE, 1.5, 1.0)[:, np.newaxis, np.newaxis]
    return RolledErrors((point + scale * unit).astype(np.float32), point, FREE)


def coverage(rolled: RolledErrors, quantiles: np.ndarray, low: int, high: int, days: np.ndarray) -> float:
    actual = rolled.actual[TARGETS][days]
    return float(((actual >= quantiles[low][days]) & (actual <= quantiles[high][days])).mean())


def test_bands_cover_what_they_promise_on_working_and_free_days(loads: RolledErrors) -> None:
    quantiles = conformal_quantiles(loads, LEVELS, TARGETS).quantiles
    # 150 days x 20 assets with half of the variance common to a day: two standard errors are about 1.5 %
    for days in (FREE[TARGETS], ~FREE[TARGETS]):
        assert coverage(loads, quantiles, 1, 5, days) == pytest.approx(0.8, abs=0.025)
        assert coverage(loads, quantiles, 0, 6, days) == pytest.approx(0.9, abs=0.02)


def test_bands_are_nearly_as_narrow_as_with_the_true_distribution(loads: RolledErrors) -> None:
    quantiles = conformal_quantiles(loads, LEVELS, TARGETS).quantiles
    _, spread = simulate_errors(2, 48, 1, seed=1)
    true_width = 2 * 1.2816 * spread.mean() * np.where(FREE[TARGETS], 1.5, 1.0).mean()
    # errors of 56 days must be paid for: 1 + 1/56 for the places, and the scale itself is estimated
    assert (quantiles[5] - quantiles[1]).mean() == pytest.approx(true_width, rel=0.08)


def test_sharper_than_plainly_pooled_residuals() -> None:
    unit, spread = simulate_errors(240, 48, 10, seed=6)
    point = np.random.default_rng(6).uniform(0.1, 0.9, (240, 1, 10)) * np.ones((1, 48, 1))
    actual = point + 2 * point * spread * unit  # the error grows with the level of the day
    ours = conformal_quantiles(RolledErrors(actual, point, FREE), LEVELS, TARGETS).quantiles
    plain = np.empty_like(ours)
    for row, day in enumerate(TARGETS):
        past = np.arange(day - 57, day - 1)
        past = past[alike_days(FREE[past], bool(FREE[day]))]
        pooled = point[day] + pool_neighbours(actual[past] - point[past])
        plain[:, row] = np.quantile(pooled, conformal_levels(np.array(LEVELS), len(past)), axis=0, method="hazen")
    level = np.array(LEVELS)[:, np.newaxis, np.newaxis, np.newaxis]

    def pinball(quantiles: np.ndarray) -> float:
        miss = actual[TARGETS] - quantiles
        return float(np.maximum(level * miss, (level - 1) * miss).mean())

    assert pinball(ours) < 0.97 * pinball(plain)


def simulate_pv(days: int) -> tuple[RolledErrors, np.ndarray]:
    """PV under a growing sun: of the clear sky a share that the forecast misses by up to 30 points."""
    generator = np.random.default_rng(4)
    height = np.linspace(0.5, 0.9, days)[:, np.newaxis]
    sun = np.clip(np.sin(2 * np.pi * (np.arange(48) - 12) / 48), 0, None)
    envelope = (height * sun)[..., np.newaxis]
    expected = generator.uniform(0.3, 0.7, (days, 1, 6))
    share = expected + generator.uniform(-0.3, 0.3, (days, 1, 6))
    noise = 1e-9 * generator.standard_normal((days, 48, 6))  # a meter's zero is not exactly zero
    rolled = RolledErrors(-share * envelope + noise, -expected * envelope, FREE, envelope=envelope, lower=-1, upper=0)
    return rolled, np.broadcast_to(envelope > 1e-6, (*share.shape[:1], 48, 6))


def test_pv_is_calibrated_by_day_and_exactly_zero_at_night() -> None:
    rolled, day_light = simulate_pv(240)
    quantiles = conformal_quantiles(rolled, LEVELS, TARGETS).quantiles
    light = day_light[TARGETS]
    assert np.all(quantiles[:, ~light] == 0)
    assert quantiles.min() >= -1
    assert quantiles.max() <= 0
    actual = rolled.actual[TARGETS]
    covered = ((actual >= quantiles[1]) & (actual <= quantiles[5]))[light].mean()
    # one draw a day for 6 assets, 150 days: two standard errors are 2.7 %
    assert covered == pytest.approx(0.8, abs=0.04)
    # errors are uniform, +-30 % of the clear sky: the 80 % band is 0.48 of it, in every season
    width = (quantiles[5] - quantiles[1])[light] / np.broadcast_to(rolled.envelope, rolled.point.shape)[TARGETS][light]
    assert width.mean() == pytest.approx(0.48, rel=0.1)


def test_quantiles_of_a_model_are_conformalised() -> None:
    unit, spread = simulate_errors(240, 48, 20, seed=5)
    point = np.full(unit.shape, 0.5)
    normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS])[:, np.newaxis, np.newaxis, np.newaxis]
    model = point + 0.02 + 0.5 * normal * spread  # half as wide as it should be, and biased
    rolled = RolledErrors(point + spread * unit, point, FREE, model_quantiles=model)
    quantiles = conformal_quantiles(rolled, LEVELS, TARGETS).quantiles
    every = np.ones(len(TARGETS), dtype=bool)
    assert coverage(rolled, model[:, TARGETS], 1, 5, every) < 0.6
    assert coverage(rolled, quantiles, 1, 5, every) == pytest.approx(0.8, abs=0.025)
    assert coverage(rolled, quantiles, 0, 6, every) == pytest.approx(0.9, abs=0.02)
    wide, narrow = np.argmax(spread), np.argmin(spread)
    width = (quantiles[5] - quantiles[1]).mean(axis=(0, 2))
    assert width[wide] / width[narrow] == pytest.approx(0.09 / 0.01, rel=0.25)  # the model's shape is kept


@pytest.mark.parametrize("with_model", [False, True])
def test_nothing_after_the_day_before_the_issue_is_read(loads: RolledErrors, with_model: bool) -> None:
    day, levels = 200, (0.1, 0.5, 0.9)
    offsets = 0.05 * np.array([-1, 0, 1])[:, np.newaxis, np.newaxis, np.newaxis]
    model = loads.point + offsets.astype(np.float32) if with_model else None
    later = loads.actual.copy()
    later[day - 1 :] *= 7
    results = [
        conformal_quantiles(RolledErrors(actual, loads.point, FREE, model), levels, np.array([day])).quantiles
        for actual in (loads.actual, later)
    ]
    assert results[0].tobytes() == results[1].tobytes()
    later[day - 2] *= 7
    moved = conformal_quantiles(RolledErrors(later, loads.point, FREE, model), levels, np.array([day])).quantiles
    assert not np.array_equal(moved, results[0])


def test_a_day_has_the_same_band_whatever_else_is_asked_for(loads: RolledErrors) -> None:
    alone = conformal_quantiles(loads, LEVELS, np.array([150])).quantiles
    among = conformal_quantiles(loads, LEVELS, TARGETS).quantiles[:, 60:61]
    assert alone.tobytes() == among.tobytes()


def test_the_band_follows_a_jump_of_the_errors() -> None:
    generator = np.random.default_rng(7)
    errors = generator.standard_normal((200, 24, 30)) * np.where(np.arange(200) < 150, 0.02, 0.06)[:, None, None]
    rolled = RolledErrors(0.5 + errors, np.full(errors.shape, 0.5), FREE[:200])
    targets = np.arange(157, 170)
    covered = {}
    for name, how in (("adaptive", Calibration()), ("fixed", Calibration(half_life=1e6, learning_rate=0))):
        quantiles = conformal_quantiles(rolled, (0.1, 0.9), targets, how=how).quantiles
        actual = rolled.actual[targets]
        covered[name] = float(((actual >= quantiles[0]) & (actual <= quantiles[1])).mean())
    assert covered["fixed"] < 0.65
    assert covered["adaptive"] > covered["fixed"] + 0.08


def test_recent_misses_move_the_quantile_by_the_rule_of_adaptive_inference() -> None:
    # two slots, place 0, three days: 2, 1 and 0 of 2 errors lie at or below it; rate 0.1, level 0.5
    scaled = np.array([[-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])[np.newaxis, np.newaxis]
    moved = track_misses(scaled, np.zeros((1, 1, 2)), np.array([0.5]), 0.1)
    # day 1: 0.1 (0.5 - 1) = -0.05, day 2: half lie below -0.05, no move, day 3: 0.1 (0.5 - 0) = 0.05
    assert moved.ravel().tolist() == pytest.approx([0.0])
    assert track_misses(scaled[..., :2], np.zeros((1, 1, 2)), np.array([0.5]), 0.1).item() == pytest.approx(-0.05)


def test_few_days_widen_the_band_and_say_so() -> None:
    generator = np.random.default_rng(9)
    errors = 0.05 * generator.standard_normal((40, 24, 200))
    errors[:30, :, :100] = np.nan  # half of the assets have a history of 8 days, the others of 38
    rolled = RolledErrors(0.5 + errors, np.full(errors.shape, 0.5), FREE[:40], lower=0, upper=1)
    bands = conformal_quantiles(rolled, (0.05, 0.5, 0.95), np.array([39]))
    width = bands.quantiles[2, 0] - bands.quantiles[0, 0]
    assert set(bands.status[0, :100]) == {"few days"}
    assert set(bands.status[0, 100:]) == {"calibrated"}
    assert bands.days[0, 0] == 8
    assert width[:, :100].mean() > 1.1 * width[:, 100:].mean()


def test_without_any_error_the_band_spans_the_bounds() -> None:
    actual = np.full((10, 24, 2), np.nan)
    rolled = RolledErrors(actual, np.full(actual.shape, 0.4), FREE[:10], lower=-0.2, upper=0.8)
    bands = conformal_quantiles(rolled, (0.1, 0.5, 0.9), np.array([9]))
    assert set(bands.status.ravel()) == {"uncalibrated"}
    assert bands.quantiles[:, 0, 0, 0].tolist() == pytest.approx([-0.1, 0.3, 0.7])


def test_the_tail_of_few_days_is_exponential() -> None:
    # of 4 days the outermost lies at level 1/5; an exponential tail reaches 1/20 at ln 20 / ln 5 times that
    assert tail_factor(0.05, np.array([4]))[0] == pytest.approx(np.log(20) / np.log(5))
    assert tail_factor(0.95, np.array([4]))[0] == pytest.approx(np.log(20) / np.log(5))


def test_a_charging_point_keeps_its_rest() -> None:
    generator = np.random.default_rng(11)
    charging = generator.random((120, 1, 40)) < 0.15
    actual = np.where(charging, 0.8, 0.0) * np.ones((1, 24, 1))
    rolled = RolledErrors(actual, np.full(actual.shape, 0.12), np.zeros(120, dtype=bool), lower=0, upper=1)
    quantiles = conformal_quantiles(rolled, (0.1, 0.5, 0.9), np.array([119])).quantiles[:, 0]
    every = values_of_switched(rolled, (np.arange(100) + 0.5) / 100, 119)
    assert np.mean(every == 0, axis=0) == pytest.approx(0.85, abs=0.011)  # 0.12 of 0.8: it runs in 15 of 100 cases
    assert every.mean() == pytest.approx(0.12, abs=0.008)
    assert np.all(quantiles[:2] == 0)
    assert np.allclose(quantiles[2], 0.8, atol=1e-6)


def test_the_scale_is_that_of_the_hour_the_type_of_day_and_the_level() -> None:
    point = np.where(np.arange(200) % 2 == 0, 0.2, 0.6)[:, np.newaxis, np.newaxis] * np.ones((200, 24, 1))
    size = np.where(np.arange(24) < 12, 0.01, 0.03)[:, np.newaxis] * np.where(point > 0.4, 2.0, 1.0)
    size = size * np.where(FREE[:200], 1.5, 1.0)[:, np.newaxis, np.newaxis]
    error = size * np.where(np.arange(200) // 2 % 2, 1.0, -1.0)[:, np.newaxis, np.newaxis]
    nothing = np.full(point.shape, np.nan)
    scale = track_scales(error, point, FREE[:200], envelope=nothing, half_life=21.0)
    assert np.isnan(scale[:2]).all()
    late, hours = np.arange(150, 200), [3, 20]  # away from the seam at noon, which is smoothed
    # the factors of levels and types are shrunk and act together: within a quarter, where the sizes differ ninefold
    np.testing.assert_allclose(scale[late][:, hours], size[late][:, hours], rtol=0.25)


shapes = st.tuples(st.integers(5, 30), st.sampled_from([1, 6, 24, 48]), st.integers(1, 3))
values = st.floats(-2, 2, width=32) | st.just(np.nan) | st.just(0.0)


@settings(max_examples=30, deadline=None)
@given(shapes.flatmap(lambda shape: st.tuples(*[arrays(np.float32, shape, elements=values)] * 2)))
def test_quantiles_rise_and_stay_within_bounds_whatever_comes(cubes: tuple[np.ndarray, np.ndarray]) -> None:
    actual, point = cubes
    free = np.arange(len(actual)) % 3 == 0
    rolled = RolledErrors(actual, point, free, lower=-1, upper=1.5)
    bands = conformal_quantiles(rolled, LEVELS, np.arange(len(actual)))
    assert not np.isnan(bands.quantiles).any() or np.isnan(point).any()
    known = bands.quantiles[:, ~np.isnan(bands.quantiles).any(axis=0)]
    assert np.all(np.diff(known, axis=0) >= 0)
    assert np.all((known >= -1) & (known <= 1.5))


def test_what_does_not_fit_is_named(loads: RolledErrors) -> None:
    with pytest.raises(DataError, match="levels") as caught:
        conformal_quantiles(loads, (0.9, 0.1), np.array([500]))
    assert len(caught.value.findings) == 2
