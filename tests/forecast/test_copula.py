"""Paths: the calibrated quantiles to the letter, and between assets and hours the dependence of past days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.forecast.calendar import ClockGrid, free_day_flags
from gridtwin.forecast.conformal import RolledErrors, conformal_quantiles
from gridtwin.forecast.copula import compare_sums, copula_paths, curve_weights, independent_paths, path_weights

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
SLOTS = np.arange(24)


def common_errors(days: int, assets: int, *, seed: int, slots: int = 24, common: float = 0.6) -> np.ndarray:
    """Errors of unit variance, (day, slot, asset): an AR(1) over the slots that assets share in part."""
    generator = np.random.default_rng(seed)
    noise = np.sqrt(common) * generator.standard_normal((days, slots, 1))
    noise = noise + np.sqrt(1 - common) * generator.standard_normal((days, slots, assets))
    for slot in range(1, slots):
        noise[:, slot] = 0.9 * noise[:, slot - 1] + np.sqrt(1 - 0.81) * noise[:, slot]
    return noise


def normal_quantiles(assets: int, slots: int = 24) -> np.ndarray:
    return np.broadcast_to(NORMAL[:, np.newaxis, np.newaxis], (len(LEVELS), slots, assets)).astype(np.float32)


@pytest.mark.parametrize("count", [40, 100, 400])
def test_the_paths_have_the_given_quantiles(count: int) -> None:
    generator = np.random.default_rng(1)
    quantiles = np.sort(generator.standard_normal((len(LEVELS), 24, 5)), axis=0)
    paths = copula_paths(quantiles, LEVELS, common_errors(35, 5, seed=2), SLOTS, paths=count, seed=3)
    assert paths.shape == (count, 24, 5)
    found = np.quantile(paths, LEVELS, axis=0, method="hazen")
    # a level between two paths is interpolated over a kink of the curve; at level 0.05 paths lie 1/(0.1 count) normal
    # scores apart, and the random curve bends by up to 6 per score: a quarter of the product
    np.testing.assert_allclose(found, quantiles, atol=15 / count)


def test_two_levels_of_a_normal_distribution_give_all_of_it() -> None:
    quantiles = normal_quantiles(1)[[1, 5]]
    paths = copula_paths(quantiles, (0.1, 0.9), common_errors(35, 1, seed=2), SLOTS, paths=200, seed=3)
    exact = [NormalDist().inv_cdf((number + 0.5) / 200) for number in range(200)]
    np.testing.assert_allclose(np.sort(paths[:, 0, 0]), exact, atol=1e-5)


def test_weights_of_the_curve_sum_to_one_and_hit_the_levels() -> None:
    weights = curve_weights(np.array([0.1, 0.3, 0.5, 0.9]), 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weights[[0, 1, 2, 4]], np.eye(4), atol=1e-6)  # levels 0.1, 0.3, 0.5, 0.7, 0.9


def test_correlations_over_assets_and_hours_are_those_of_the_past_days() -> None:
    errors = common_errors(56, 8, seed=4)
    paths = copula_paths(normal_quantiles(8), LEVELS, errors, SLOTS, paths=400, seed=5)
    wide_errors, wide_paths = (values.reshape(len(values), -1) for values in (errors, paths))
    past, drawn = np.corrcoef(wide_errors.T), np.corrcoef(wide_paths.T)
    # correlations scatter by up to 1/sqrt(400) = 0.05 over the paths; ranks of 56 days take a few percent from them
    assert np.abs(past - drawn).mean() < 0.06
    assert np.abs(np.mean(past - drawn)) < 0.03


def test_more_paths_than_days_and_none_twice() -> None:
    paths = copula_paths(normal_quantiles(3), LEVELS, common_errors(35, 3, seed=4), SLOTS, paths=100, seed=5)
    assert len(np.unique(paths.reshape(100, -1), axis=0)) == 100
    shares = path_weights(35, 100, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(shares, axis=1), 1, rtol=1e-5)
    assert set(np.bincount(np.abs(shares).argmax(axis=1))) <= {2, 3}  # every day is the own day of 2 or 3 paths


def test_same_seed_same_paths() -> None:
    arguments = (normal_quantiles(3), LEVELS, common_errors(35, 3, seed=4), SLOTS)
    first, again = (copula_paths(*arguments, paths=50, seed=[7, 736000]) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert not np.array_equal(first, copula_paths(*arguments, paths=50, seed=[7, 736001]))


def test_assets_may_be_drawn_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (normal_quantiles(7), LEVELS, common_errors(35, 7, seed=4), SLOTS)
    whole = copula_paths(*arguments, paths=50, seed=1)
    monkeypatch.setattr("gridtwin.forecast.copula.ASSETS_AT_ONCE", 2)
    np.testing.assert_array_equal(copula_paths(*arguments, paths=50, seed=1), whole)


def test_the_band_of_a_sum_is_right_and_too_narrow_with_independent_paths() -> None:
    # 20 equal assets, correlation 0.6: deviation of the sum is sqrt(20 + 380 x 0.6) = 15.7, independent sqrt(20) = 4.5
    assets, days = 20, 60
    paths, actual = [], common_errors(days, assets, seed=8)
    for day in range(days):
        past = common_errors(56, assets, seed=100 + day)
        paths.append(copula_paths(normal_quantiles(assets), LEVELS, past, SLOTS, paths=100, seed=day))
    table = compare_sums(np.concatenate(paths, axis=1), actual.reshape(-1, assets), ["feeder"] * assets)
    table = table.set_index("dependence")
    true_width = 2 * 1.2816 * np.sqrt(20 + 380 * 0.6)
    assert table.loc["copula", "width"] == pytest.approx(true_width, rel=0.06)
    assert table.loc["independent", "width"] == pytest.approx(true_width * np.sqrt(20 / 248), rel=0.06)
    # 60 days, an AR(1) of 0.9: about 150 independent values, two standard errors are 6.5 %
    assert table.loc["copula", "coverage_percent"] == pytest.approx(80, abs=6.5)
    assert table.loc["independent", "coverage_percent"] < 40
    assert table.loc["copula", "pinball"] < table.loc["independent", "pinball"]


def roll_bands(cube: np.ndarray, free: np.ndarray, targets: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Correlated paths (path, time, asset) of the target days around the same day of the week before."""
    point = np.full_like(cube, np.nan)
    point[7:] = cube[:-7]
    rolled = RolledErrors(cube, point, free, lower=bounds[0], upper=bounds[1])
    bands = conformal_quantiles(rolled, LEVELS, targets)
    errors = cube - point
    slots = np.arange(cube.shape[1])
    drawn = [
        copula_paths(
            bands.quantiles[:, row],
            LEVELS,
            errors[day - 57 : day - 1],
            slots,
            paths=100,
            seed=[1, int(day)],
            lower=bounds[0],
            upper=bounds[1],
        )
        for row, day in enumerate(targets)
    ]
    return np.concatenate(drawn, axis=1)


def test_the_transformer_of_a_neighbourhood(simulate: Callable[..., tuple[xr.Dataset, pd.Series]]) -> None:
    profiles, installed = simulate(dt.date(2016, 4, 4), 160, loads=15, pvs=0, seed=6)
    grid = ClockGrid.of_days(dt.date(2016, 4, 4), 160, "Europe/Berlin", pd.Timedelta("15min"))
    relative = profiles["p_mw"].transpose("time", "asset").to_numpy()[:, :15] / installed.to_numpy()[:15]
    cube, targets = grid.to_cube(relative), np.arange(80, 160)
    paths = roll_bands(cube, free_day_flags(grid.dates, "Europe/Berlin"), targets, (0.0, 1.0))
    table = compare_sums(paths, cube[targets].reshape(-1, 15), ["transformer"] * 15).set_index("dependence")
    # the loads share one random level a day: 80 days, two standard errors are 9 %
    assert table.loc["copula", "coverage_percent"] == pytest.approx(80, abs=9)
    assert table.loc["independent", "coverage_percent"] < 45
    assert table.loc["independent", "width"] < 0.5 * table.loc["copula", "width"]


@pytest.mark.slow
def test_the_transformer_of_simbench() -> None:
    from gridtwin.forecast.history import substitute_gaps
    from gridtwin.grid.simbench import read_simbench

    _, profiles, _ = read_simbench("1-LV-rural3--2-sw")
    power = profiles["p_mw"].transpose("time", "asset").to_numpy()
    power = power[:, np.abs(power).max(axis=0) > 0]
    grid = ClockGrid.of_days(dt.date(2016, 1, 1), 366, "Europe/Berlin", pd.Timedelta("15min"))
    cube = substitute_gaps(grid.to_cube(power[: grid.axis.length] / np.abs(power).max(axis=0)))
    targets = np.arange(70, 364, 6)
    paths = roll_bands(cube, free_day_flags(grid.dates, "Europe/Berlin"), targets, (-1.0, 1.0))
    assets = cube.shape[2]
    rating = np.abs(power).max(axis=0)
    table = compare_sums(paths * rating, cube[targets].reshape(-1, assets) * rating, ["transformer"] * assets)
    table = table.set_index("dependence")
    assert table.loc["copula", "coverage_percent"] == pytest.approx(80, abs=6)
    assert table.loc["independent", "coverage_percent"] < table.loc["copula", "coverage_percent"] - 15
    assert table.loc["copula", "pinball"] < table.loc["independent", "pinball"]


def test_known_values_take_the_place_of_interpolated_ones() -> None:
    quantiles = np.zeros((3, 24, 2), dtype=np.float32)
    quantiles[2] = 0.8
    exact = np.full((50, 24, 2), np.nan, dtype=np.float32)
    exact[..., 0] = np.where(np.arange(50) < 30, 0.0, 0.8)[:, np.newaxis]  # a car: 30 of 50 paths at rest
    paths = copula_paths(
        quantiles, (0.1, 0.5, 0.9), common_errors(35, 2, seed=1), SLOTS, paths=50, seed=1, lower=0, upper=1, exact=exact
    )
    assert np.all((paths[..., 0] == 0).sum(axis=0) == 30)
    assert set(np.unique(paths[..., 0])) == {np.float32(0), np.float32(0.8)}
    assert len(np.unique(paths[:, 0, 1])) > 2


def test_an_asset_without_errors_follows_the_others() -> None:
    errors = common_errors(40, 6, seed=3)
    errors[:, :, 5] = np.nan
    errors[:9, :, 4] = np.nan
    paths = copula_paths(normal_quantiles(6), LEVELS, errors, SLOTS, paths=200, seed=2)
    assert np.isfinite(paths).all()
    others = paths[..., :4].sum(axis=-1).ravel()
    assert np.corrcoef(others, paths[..., 5].ravel())[0, 1] > 0.8
    assert np.corrcoef(others, paths[..., 4].ravel())[0, 1] > 0.6


def test_a_repeated_hour_repeats_the_path_and_a_skipped_one_is_left_out() -> None:
    slot = np.array([0, 1, 2, 2, 3, 5])
    paths = copula_paths(normal_quantiles(2, slots=6), LEVELS, common_errors(35, 2, seed=1), slot, paths=50, seed=1)
    np.testing.assert_array_equal(paths[:, 2], paths[:, 3])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 130))
def test_paths_stay_within_bounds_and_only_reorder_the_quantiles(seed: int, days: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    quantiles = np.sort(generator.standard_normal((3, 4, 3)), axis=0)
    errors = generator.standard_normal((days, 4, 3)).round(1)
    arguments = (quantiles, (0.1, 0.5, 0.9), errors, np.arange(4))
    paths = copula_paths(*arguments, paths=count, seed=seed, lower=-1, upper=1.5)
    assert paths.min() >= -1
    assert paths.max() <= 1.5
    other = independent_paths(paths, seed)
    np.testing.assert_array_equal(np.sort(other, axis=0), np.sort(paths, axis=0))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(DataError, match="assets with errors"):
        copula_paths(normal_quantiles(3), LEVELS, common_errors(35, 2, seed=1), SLOTS, paths=5, seed=1)
