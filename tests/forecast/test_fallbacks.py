"""New meters, steps and stuck meters: planted ones are found and repaired, clean series are left alone."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.fallbacks import (
    CONDITIONS,
    Conditions,
    band_factor,
    brought_to_level,
    day_types,
    find_condition,
    repair_history,
)
from gridtwin.forecast.history import STATUS, substitute_gaps
from gridtwin.forecast.ridge_days import roll_ridge_days

DAYS, SLOTS, KNOWN, ASSETS, ISSUE = 160, 24, 12, 40, 150
HOUSE = np.full(ASSETS, "household")


@pytest.fixture(scope="module")
def grid() -> ClockGrid:
    return ClockGrid.of_days(dt.date(2016, 3, 1), DAYS, "Europe/Berlin", pd.Timedelta("1h"))


@pytest.fixture(scope="module")
def clean(grid: ClockGrid) -> np.ndarray:
    """Loads with a week, a season, a level of the day that remembers the one before, and noise."""
    generator = np.random.default_rng(4)
    hour = 2 * np.pi * np.arange(SLOTS)[:, np.newaxis] / SLOTS
    free = np.array([0, 0.25, 0.4])[day_types(grid)][:, np.newaxis, np.newaxis] * generator.uniform(0, 1.5, ASSETS)
    season = 1 + 0.3 * np.cos(2 * np.pi * (np.arange(DAYS) + 60) / 365)[:, np.newaxis, np.newaxis]
    wander = np.zeros((DAYS, 1, ASSETS))
    for day in range(1, DAYS):
        wander[day] = 0.7 * wander[day - 1] + 0.06 * generator.standard_normal((1, ASSETS))
    shape = 0.4 + 0.15 * np.sin(hour + generator.uniform(0, 6, ASSETS))
    noise = 1 + 0.05 * generator.standard_normal((DAYS, SLOTS, ASSETS))
    return shape * (1 - free) * season * (1 + wander) * noise


def found(cube: np.ndarray, grid: ClockGrid, issue: int = ISSUE, kind: np.ndarray = HOUSE) -> Conditions:
    return find_condition(cube, grid, KNOWN, issue, kind)


def test_clean_series_raise_no_alarm(clean: np.ndarray, grid: ClockGrid) -> None:
    alarms = np.concatenate([found(clean, grid, issue).status != "" for issue in range(60, DAYS, 5)])
    assert len(alarms) == 800 and alarms.mean() <= 0.01


@pytest.mark.parametrize("factor", [0.5, 1.7])
@pytest.mark.parametrize("back", [6, 10, 18])
def test_finds_steps(clean: np.ndarray, grid: ClockGrid, factor: float, back: int) -> None:
    cube = clean.copy()
    cube[ISSUE - back :] *= factor
    conditions = found(cube, grid)
    hit = conditions.status == "level_shift"
    assert hit.mean() >= 0.9
    # the day by a maximum over all days: one or two off where a day of noise hides the edge
    assert (np.abs(conditions.since[hit] - (ISSUE - back)) <= 2).mean() >= 0.95


def test_a_drift_is_no_step(clean: np.ndarray, grid: ClockGrid) -> None:
    """A season: up by 40 % within a month (by 67 %, one series in forty is taken for a step)."""
    ramp = np.interp(np.arange(DAYS), [ISSUE - 30, ISSUE], [1.0, 1.4])[:, np.newaxis, np.newaxis]
    # the level of the day wanders for weeks, too
    assert (found(clean * ramp, grid).status == "level_shift").mean() <= 0.1


def test_two_odd_days_are_no_step(clean: np.ndarray, grid: ClockGrid) -> None:
    cube = clean.copy()
    cube[ISSUE - 2 :] *= 0.4
    assert (found(cube, grid).status == "").mean() >= 0.97


def test_wind_and_batteries_are_not_tested_for_a_step(clean: np.ndarray, grid: ClockGrid) -> None:
    cube = clean.copy()
    cube[ISSUE - 10 :] *= 0.5
    kind = np.array(["wind", "battery"] * (ASSETS // 2))
    assert (found(cube, grid, kind=kind).status == "").all()


@pytest.mark.parametrize("hours", [7, 12, 30, 60])
def test_finds_stuck_meters_to_the_step(clean: np.ndarray, grid: ClockGrid, hours: int) -> None:
    cube = clean.copy().reshape(DAYS * SLOTS, ASSETS)
    end = ISSUE * SLOTS + KNOWN
    cube[end - hours : end] = cube[end - hours]
    conditions = found(cube.reshape(clean.shape), grid)
    assert (conditions.status == "frozen").all()
    np.testing.assert_array_equal(conditions.since, end - hours)


def test_night_and_a_steady_machine_are_not_stuck(grid: ClockGrid) -> None:
    """PV that is 0 for 12 hours each night and a pump that runs in blocks of eight hours at one power."""
    hour = np.arange(SLOTS)
    sun = -np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None)
    cube = np.empty((DAYS, SLOTS, 2))
    cube[:, :, 0] = sun * np.random.default_rng(1).uniform(0.3, 1, (DAYS, 1))
    cube[:, :, 1] = np.where((hour >= 4) & (hour < 12), 0.8, 0.1)
    for known in (5, 12, 20):
        assert (find_condition(cube, grid, known, ISSUE, np.array(["pv", "other"])).status == "").all()


def test_a_pv_meter_stuck_by_day_is_found_though_nights_are_long(grid: ClockGrid) -> None:
    sun = -np.clip(np.sin(np.pi * (np.arange(SLOTS) - 6) / 12), 0, None)
    cube = sun[:, np.newaxis] * np.random.default_rng(1).uniform(0.3, 1, (DAYS, 1, 1))
    cube[ISSUE - 1, 10:] = cube[ISSUE, :KNOWN] = cube[ISSUE - 1, 10]
    assert find_condition(cube, grid, KNOWN, ISSUE, np.array(["pv"])).status.tolist() == ["frozen"]


def test_a_meter_that_began_days_ago_is_new(clean: np.ndarray, grid: ClockGrid) -> None:
    cube = clean.copy()
    cube[: ISSUE - 5, :, 0] = np.nan
    cube[: ISSUE - 30, :, 1] = np.nan
    conditions = found(cube, grid)
    assert conditions.status[:3].tolist() == ["new", "", ""]
    assert conditions.since[0] == ISSUE - 5


def test_nothing_after_the_issue_is_read(clean: np.ndarray, grid: ClockGrid) -> None:
    cube = clean.copy()
    cube[ISSUE - 8 :, :, :5] *= 0.5
    changed = cube.copy()
    changed[ISSUE, KNOWN:] *= 9
    changed[ISSUE + 1 :] = 0.0
    first, second = found(cube, grid), found(changed, grid)
    np.testing.assert_array_equal(first.status, second.status)
    np.testing.assert_array_equal(first.since, second.since)
    repaired = [repair_history(values, grid, first)[: ISSUE + 1] for values in (cube, changed)]
    np.testing.assert_array_equal(repaired[0][:ISSUE], repaired[1][:ISSUE])


def test_level_by_factor_or_by_addition(grid: ClockGrid) -> None:
    types = day_types(grid)
    shape = 0.4 + 0.2 * np.sin(2 * np.pi * np.arange(SLOTS) / SLOTS) * np.ones((DAYS, 1))
    for changed in (0.6 * shape, shape + 0.3):
        series = np.concatenate([shape[: ISSUE - 10], changed[ISSUE - 10 : ISSUE]])
        # without noise the repair is exact to rounding
        repaired = brought_to_level(series, ISSUE - 10, types[:ISSUE])
        np.testing.assert_allclose(repaired, changed[: ISSUE - 10], atol=1e-9)


def test_repair_brings_the_forecast_back(clean: np.ndarray, grid: ClockGrid) -> None:
    """Within 1.35 of the error on the clean series; without the repair a fifth worse or more."""
    day = ISSUE + 1
    cube = clean.copy()
    cube[ISSUE - 7 :] *= 0.5
    conditions = found(cube, grid)
    repaired = repair_history(cube, grid, conditions)
    error = {
        name: np.abs(roll_ridge_days(values, grid, KNOWN, training=60)[day] - truth[day]).mean()
        for name, values, truth in (("clean", clean, clean), ("raw", cube, cube), ("repaired", repaired, cube))
    }
    assert error["repaired"] < 1.35 * 0.5 * error["clean"]  # the plant is half as large now
    assert error["raw"] > 1.2 * error["repaired"]


def test_a_stuck_value_becomes_a_gap_and_the_forecast_holds(clean: np.ndarray, grid: ClockGrid) -> None:
    cube = clean.copy()
    cube[ISSUE - 1] = cube[ISSUE, :KNOWN] = clean[ISSUE - 1, 0]
    conditions = found(cube, grid)
    repaired = repair_history(cube, grid, conditions)
    assert np.isnan(repaired[ISSUE - 1]).all() and np.isnan(repaired[ISSUE, :KNOWN]).all()
    np.testing.assert_array_equal(repaired[: ISSUE - 1], cube[: ISSUE - 1])
    forecast = roll_ridge_days(substitute_gaps(repaired), grid, KNOWN, training=60)[ISSUE + 1]
    stuck = roll_ridge_days(cube, grid, KNOWN, training=60)[ISSUE + 1]
    actual = clean[ISSUE + 1]
    assert np.abs(forecast - actual).mean() < 0.8 * np.abs(stuck - actual).mean()


def test_bands_widen_and_every_word_has_a_meaning() -> None:
    status = np.array(["", "new", "new", "level_shift", "level_shift", "frozen", "frozen"])
    since = np.array([0, 147, 140, 145, 130, 3588, 3540])
    factor = band_factor(Conditions(status, since, ISSUE, KNOWN), SLOTS)
    # stuck for 24 h and 72 h before step 3612
    np.testing.assert_allclose(factor, [1, 1.65, 1.2, 1.12, 1.03, 1.055, 1.125], rtol=1e-9)
    assert set(CONDITIONS) == set(status) - {""}
    assert not set(CONDITIONS) & set(STATUS) or all(
        CONDITIONS[key] == STATUS[key] for key in CONDITIONS if key in STATUS
    )


def test_short_history_is_passed_over(clean: np.ndarray, grid: ClockGrid) -> None:
    assert (found(clean, grid, 20).status == "").all()
