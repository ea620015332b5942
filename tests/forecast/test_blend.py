"""Blends: weights follow recent skill and nothing later, bands are means of bands."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gridtwin.forecast.blend import blend_by_skill, recent_error, skill_weights
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.model_blend import Blended, blend_models, expected_errors, simple_members
from gridtwin.forecast.rolled import Rolled

DAYS, SLOTS, ASSETS, LEVELS = 80, 24, 3, (0.1, 0.5, 0.9)


def noisy(actual: np.ndarray, deviation: float, seed: int, *, band: float | None = None) -> Rolled:
    """Forecast with independent errors and, with `band`, quantiles that far below and above it."""
    point = actual + deviation * np.random.default_rng(seed).standard_normal(actual.shape)
    quantiles = None if band is None else np.stack([point - band, point, point + band])
    return Rolled(point, quantiles, () if band is None else LEVELS)


@pytest.fixture(scope="module")
def actual() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (DAYS, SLOTS, ASSETS))


def mae(blended: Blended, actual: np.ndarray) -> float:
    return float(np.abs(blended.rolled.point - actual)[20:].mean())


def test_recent_error_by_hand() -> None:
    # errors 1, 3, 5 on days 0 to 2; half-life one day, delay two: day 4 knows (1/4 1 + 1/2 3 + 5) / (7/4)
    forecast = np.array([1.0, 3.0, 5.0, 0.0, 0.0]).reshape(1, 5, 1, 1)
    recent = recent_error(forecast, np.zeros((5, 1, 1)), delay=2, half_life=1.0).ravel()
    assert np.isnan(recent[:2]).all()
    np.testing.assert_allclose(recent[2:], [1.0, (0.5 * 1 + 3) / 1.5, (0.25 * 1 + 0.5 * 3 + 5) / 1.75], rtol=1e-12)


def test_weights_sum_to_one_and_follow_the_power_of_the_error() -> None:
    weights = skill_weights(np.array([1.0, 1.1, np.nan]).reshape(3, 1, 1), 8.0).ravel()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights[1] / weights[0] == pytest.approx(1.1**-8, rel=1e-12)
    assert weights[2] == weights[0]  # nothing is known against it


def test_independent_errors_average_out(actual: np.ndarray) -> None:
    members = {"one": noisy(actual, 0.1, 1), "two": noisy(actual, 0.1, 2)}
    alone = np.abs(members["one"].point - actual)[20:].mean()
    # equal and independent: 1 / sqrt(2) of the error of one, up to 10 % for the unequal weights of a random record
    assert mae(blend_models(members, actual, sharpness=8.0), actual) == pytest.approx(alone / np.sqrt(2), rel=0.1)


def test_a_bad_member_is_shut_out(actual: np.ndarray) -> None:
    members = {"good": noisy(actual, 0.05, 1), "bad": noisy(actual, 0.5, 2)}
    blended = blend_models(members, actual)
    assert blended.weights[1, 10:].max() < 1e-6
    assert mae(blended, actual) == pytest.approx(np.abs(members["good"].point - actual)[20:].mean(), rel=1e-4)


def test_weights_differ_by_part_of_the_day(actual: np.ndarray) -> None:
    night, day = noisy(actual, 0.02, 1), noisy(actual, 0.02, 2)
    night.point[:, 12:] += 0.5
    day.point[:, :12] += 0.5
    blended = blend_models({"night": night, "day": day}, actual, parts=2)
    assert blended.weights[0, 30:, 6].min() > 0.95 and blended.weights[1, 30:, 18].min() > 0.95  # middles: 5.5, 17.5
    np.testing.assert_allclose(blended.weights.sum(axis=0), 1.0, atol=1e-12)


def test_members_that_begin_late(actual: np.ndarray) -> None:
    """On its first days a member has the weight that its usual error gives it; a day without it has no hole."""
    early, late = noisy(actual, 0.1, 1), noisy(actual, 0.1, 2)
    late.point[:40] = np.nan
    blended = blend_models({"ridge": early, "trees": late}, actual)
    np.testing.assert_array_equal(blended.weights[1, :40], 0.0)
    np.testing.assert_allclose(blended.rolled.point[:40], early.point[:40], rtol=1e-12)
    assert blended.weights[1, 40, 0, 0] == pytest.approx(0.96**-24 / (1 + 0.96**-24), rel=1e-9)
    filled = expected_errors(np.array([[[2.0]], [[np.nan]], [[np.nan]]]), np.array([1.0, 1.5, 2.0]))
    assert filled.ravel().tolist() == [2.0, 3.0, 4.0]


def test_bands_are_means_of_bands_at_equal_level(actual: np.ndarray) -> None:
    members = {"one": noisy(actual, 0.1, 1, band=0.1), "two": noisy(actual, 0.1, 2, band=0.3)}
    blended = blend_models(members, actual)
    assert blended.rolled.quantiles is not None and blended.rolled.levels == LEVELS
    mean = sum(blended.weights[m] * one.quantiles for m, one in enumerate(members.values()))  # type: ignore[operator]
    np.testing.assert_allclose(blended.rolled.quantiles, mean, atol=1e-6)  # distances are kept in float32


def test_a_member_without_a_band_moves_the_band(actual: np.ndarray) -> None:
    members = {"one": noisy(actual, 0.1, 1, band=0.1), "plain": noisy(actual, 0.1, 2)}
    rolled = blend_models(members, actual).rolled
    assert rolled.quantiles is not None
    np.testing.assert_allclose(rolled.quantiles[2] - rolled.point, 0.1, atol=1e-6)


def test_levels_must_agree(actual: np.ndarray) -> None:
    other = noisy(actual, 0.1, 2, band=0.1)
    members = {"one": noisy(actual, 0.1, 1, band=0.1), "two": Rolled(other.point, other.quantiles, (0.2, 0.5, 0.8))}
    with pytest.raises(ValueError, match="levels"):
        blend_models(members, actual)


@pytest.mark.parametrize("parts", [1, 4])
def test_nothing_after_the_issue_reaches_the_weights(actual: np.ndarray, parts: int) -> None:
    """Day 60 is issued on day 59, when day 58 was the last whole one: equal to the bit."""
    members = {"one": noisy(actual, 0.1, 1, band=0.1), "two": noisy(actual, 0.12, 2, band=0.2)}
    changed = actual.copy()
    changed[59:] *= 7
    first, second = (blend_models(members, one, parts=parts) for one in (actual, changed))
    np.testing.assert_array_equal(first.weights[:, :61], second.weights[:, :61])
    np.testing.assert_array_equal(first.rolled.point[:61], second.rolled.point[:61])
    assert not np.array_equal(first.weights[:, 61], second.weights[:, 61])


def test_agrees_with_the_blend_of_the_ridge(actual: np.ndarray) -> None:
    """Where every member has every day, `blend_by_skill` gives the same from the third day on."""
    members = {"one": noisy(actual, 0.1, 1), "two": noisy(actual, 0.12, 2)}
    ours = blend_models(members, actual, half_life=60.0, sharpness=8.0, parts=1).rolled.point
    stacked, _ = blend_by_skill(np.stack([one.point for one in members.values()]), actual)
    np.testing.assert_allclose(ours, stacked, rtol=1e-12)


def test_simple_members_repeat_the_past() -> None:
    grid = ClockGrid.of_days(dt.date(2016, 5, 30), 40, "Europe/Berlin", pd.Timedelta("1h"))
    cube = np.arange(40.0)[:, np.newaxis, np.newaxis] + np.zeros((40, 24, 2))
    members = simple_members(cube, grid, np.array(["household", "pv"]))
    assert members["naive"].point[20, 0].tolist() == [13.0, 18.0]
    # day 22 is Tuesday 21 June 2016: working days of the four weeks before it up to day 20, none a holiday
    working = [day for day in range(21) if grid.dates[day].weekday() < 5]
    assert members["similar_days"].point[22, 0, 0] == pytest.approx(np.mean(working))
