"""Trees over all series: better than the ridge they correct where series share a cause, honest, the same every time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.rolled import Rolled
from gridtwin.forecast.trees import LOOK_BACK_DAYS, roll_trees, train_quantiles, tree_inputs, tree_rows

KNOWN, FIRST, DAYS, ASSETS = 12, 100, 150, 8
LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Case:
    """Hourly loads that all rise in the evening when the weather of the hour is hot, with a threshold."""

    grid: ClockGrid
    cube: np.ndarray
    covariates: Covariates
    ridge: np.ndarray

    def rolled(self, **changes: object) -> Rolled:
        given: dict[str, object] = {
            "kind": np.array(["household", "business"] * (ASSETS // 2)), "first": FIRST, "ridge": self.ridge,
            "covariates": self.covariates, "seed": 3, "levels": LEVELS, "refit_days": 25, "training_rows": 12_000,
        } | changes  # fmt: skip
        return roll_trees(given.pop("cube", self.cube), self.grid, KNOWN, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def case() -> Case:
    grid = ClockGrid.of_days(dt.date(2016, 3, 1), DAYS, "Europe/Berlin", pd.Timedelta("1h"))
    generator = np.random.default_rng(7)
    hour = np.arange(24)[:, np.newaxis]
    heat = generator.standard_normal((DAYS, 24))
    level = generator.uniform(0.2, 0.5, ASSETS)
    shape = level * (1 + 0.4 * np.sin(2 * np.pi * hour / 24))
    jump = 0.3 * (heat > 0.8)[:, :, np.newaxis] * level
    cube = shape + jump + 0.05 * level * generator.standard_normal((DAYS, 24, ASSETS))
    covariates = Covariates({"heat": heat})
    ridge = roll_ridge_days(cube, grid, KNOWN, training=60)
    return Case(grid, cube, covariates, ridge)


@pytest.fixture(scope="module")
def rolled(case: Case) -> Rolled:
    return case.rolled()


def mae(forecast: np.ndarray, actual: np.ndarray) -> float:
    return float(np.abs(forecast - actual).mean())


def test_learns_what_the_series_have_in_common(case: Case, rolled: Rolled) -> None:
    # the ridge was not given the weather; the noise alone has a mean absolute value of 0.05 level sqrt(2 / pi)
    ridge, trees = (mae(one[FIRST:], case.cube[FIRST:]) for one in (case.ridge, rolled.point))
    floor = 0.05 * float((case.cube.mean(axis=(0, 1)) / 1.07).mean()) * np.sqrt(2 / np.pi)
    assert trees < 0.6 * ridge
    assert trees < 1.5 * floor


def test_is_not_worse_where_there_is_nothing_to_add(case: Case) -> None:
    """Without the weather the errors of the ridge are noise; trees may cost 2 %."""
    trees = case.rolled(covariates=None).point
    assert mae(trees[FIRST:], case.cube[FIRST:]) < 1.02 * mae(case.ridge[FIRST:], case.cube[FIRST:])


def test_quantiles_rise_and_cover(case: Case, rolled: Rolled) -> None:
    assert rolled.quantiles is not None and rolled.levels == LEVELS
    known = rolled.quantiles[:, FIRST:]
    assert (np.diff(known, axis=0) >= 0).all()
    np.testing.assert_array_equal(known[1], rolled.point[FIRST:].astype(np.float32))
    inside = (case.cube[FIRST:] >= known[0]) & (case.cube[FIRST:] <= known[2])
    assert 0.70 < inside.mean() < 0.90  # nominal 0.80; 50 days of weather common to all series


def test_begins_at_the_first_day(case: Case, rolled: Rolled) -> None:
    assert rolled.quantiles is not None
    assert np.isnan(rolled.point[:FIRST]).all() and np.isnan(rolled.quantiles[:, :FIRST]).all()
    assert np.isfinite(rolled.point[FIRST:]).all()


def test_same_numbers_twice(case: Case, rolled: Rolled) -> None:
    again = case.rolled()
    np.testing.assert_array_equal(again.point, rolled.point)
    np.testing.assert_array_equal(again.quantiles, rolled.quantiles)


def test_nothing_after_the_issue_reaches_the_forecast(case: Case, rolled: Rolled) -> None:
    """The forecast of a day is equal to the bit when all that follows its issue is multiplied."""
    day = FIRST + 30  # inside the second fit
    cube = case.cube.copy()
    cube[day - 1, KNOWN:] *= 3
    cube[day:] *= 3
    ridge = roll_ridge_days(cube, case.grid, KNOWN, training=60)
    changed = case.rolled(cube=cube, ridge=ridge)
    np.testing.assert_array_equal(changed.point[: day + 1], rolled.point[: day + 1])
    assert changed.quantiles is not None and rolled.quantiles is not None
    np.testing.assert_array_equal(changed.quantiles[:, : day + 1], rolled.quantiles[:, : day + 1])
    assert not np.array_equal(changed.point[day + 2], rolled.point[day + 2])


def test_the_morning_of_the_issue_day_is_used(case: Case, rolled: Rolled) -> None:
    day = FIRST + 30
    cube = case.cube.copy()
    cube[day - 1, :KNOWN] *= 1.5
    changed = case.rolled(cube=cube)
    np.testing.assert_array_equal(changed.point[day - 1], rolled.point[day - 1])
    assert not np.array_equal(changed.point[day], rolled.point[day])


def test_rows_of_some_days_are_rows_of_all_days(case: Case) -> None:
    """The look-back is long enough: features of a late day do not depend on where the block begins."""
    inputs = tree_inputs(case.cube, case.grid, KNOWN, kind=np.zeros(ASSETS), first=FIRST, ridge=case.ridge)
    every = tree_rows(inputs, slice(0, DAYS), slice(0, 3))
    some = tree_rows(inputs, slice(80, DAYS), slice(0, 3))
    assert 80 > LOOK_BACK_DAYS
    np.testing.assert_array_equal(every[80:], some)
    assert some.shape == (70, 24, 3, len(inputs.names))


def test_bins_once_and_equals_separate_fits() -> None:
    """Trained one after another on the same bins, each level gives what LightGBM's own regressor gives."""
    from lightgbm import LGBMRegressor

    generator = np.random.default_rng(1)
    rows = generator.standard_normal((6000, 5)).astype(np.float32)
    target = (rows[:, 0] * rows[:, 1] + generator.standard_normal(6000)).astype(np.float32)
    ours = train_quantiles(rows, target, LEVELS, seed=2, threads=1)
    for level, booster in zip(LEVELS, ours, strict=True):
        alone = LGBMRegressor(
            objective="quantile", alpha=level, n_estimators=80, num_leaves=12, learning_rate=0.05,
            min_child_samples=1000, colsample_bytree=0.6, reg_lambda=10.0, max_bin=127, random_state=2,
            deterministic=True, force_row_wise=True, n_jobs=1, verbosity=-1,
        ).fit(rows, target)  # fmt: skip
        np.testing.assert_array_equal(booster.predict(rows[:500]), alone.booster_.predict(rows[:500]))
        assert booster.num_trees() == 80


def test_a_series_without_a_known_error_keeps_the_ridge(case: Case) -> None:
    cube, ridge = case.cube.copy(), case.ridge.copy()
    cube[: FIRST + 20, :, 0] = np.nan
    rolled = case.rolled(cube=cube, ridge=ridge)
    assert rolled.quantiles is not None
    np.testing.assert_array_equal(rolled.point[FIRST + 5, :, 0], ridge[FIRST + 5, :, 0])
    assert np.isnan(rolled.quantiles[:, FIRST + 5, :, 0]).all()
    assert np.isfinite(rolled.quantiles[:, FIRST + 5, :, 1:]).all()
