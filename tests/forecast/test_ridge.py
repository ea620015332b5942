"""One factor, all refits: against scikit-learn fitted anew for every day; and the default forecast built on it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.ridge import fit_ridge, roll_ridge
from gridtwin.forecast.ridge_days import roll_ridge_days

KNOWN, TRAINING = 12, 30


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    days=st.integers(2, 40),
    features=st.integers(1, 12),
    delay=st.integers(0, 4),
    share=st.floats(0.3, 1.0),
    penalty=st.sampled_from([0.1, 1.0, 30.0]),
    first=st.integers(0, 10),
)
def test_every_day_is_a_ridge_of_its_own(
    seed: int, days: int, features: int, delay: int, share: float, penalty: float, first: int
) -> None:
    chance = np.random.default_rng(seed)
    x, y = chance.standard_normal((days, features)), chance.standard_normal((days, 3)) + 5
    usable = chance.random(days) < share
    rows = np.maximum(np.arange(days) - delay, 0)
    hidden = np.where(usable[:, np.newaxis], y, np.nan)  # what must not be read cannot be
    rolled = roll_ridge(x @ x.T, hidden, rows, usable=usable, penalty=penalty, first=first)
    assert np.isnan(rolled[:first]).all()
    for day in range(first, days):
        taught = np.flatnonzero(usable[: rows[day]])
        if not len(taught):
            assert np.isnan(rolled[day]).all()
            continue
        expected = Ridge(alpha=penalty).fit(x[taught], y[taught]).predict(x[[day]])[0]
        # the factor's condition number is at most 40 x 12 x 9 / 0.1, of rounding 1e-16
        np.testing.assert_allclose(rolled[day], expected, rtol=1e-10, atol=1e-10)


def test_a_day_must_not_learn_from_itself() -> None:
    with pytest.raises(ValueError, match="learn from itself"):
        roll_ridge(np.eye(3), np.ones((3, 1)), np.array([0, 1, 3]), usable=np.ones(3, dtype=bool), penalty=1.0)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)], ids=["wide", "tall"])
def test_one_fit_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    chance = np.random.default_rng(3)
    x, y = chance.standard_normal(shape) + 2, chance.standard_normal((shape[0], 4))
    weights, intercept = fit_ridge(x, y, 0.5)
    reference = Ridge(alpha=0.5).fit(x, y)
    np.testing.assert_allclose(weights, reference.coef_.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(intercept, reference.intercept_, rtol=1e-10, atol=1e-12)


def simulate(days: int, series: int, *, seed: int = 5) -> tuple[np.ndarray, ClockGrid]:
    """Hourly loads over the switch to summer time."""
    grid = ClockGrid.of_days(dt.date(2016, 2, 1), days, "Europe/Berlin", pd.Timedelta("1h"))
    chance = np.random.default_rng(seed)
    weekend = np.array([day.weekday() >= 5 for day in grid.dates])[:, np.newaxis, np.newaxis]
    shape = 0.5 - 0.2 * np.cos(2 * np.pi * np.arange(24) / 24)[:, np.newaxis] * chance.uniform(0.5, 1, series)
    level = 1 + 0.2 * chance.standard_normal((days, 1, series)) - 0.3 * weekend
    return level * shape + 0.02 * chance.standard_normal((days, 24, series)), grid


@pytest.mark.parametrize("own", [False, True])
def test_nothing_after_the_issue_reaches_the_default_forecast(own: bool) -> None:
    cube, grid = simulate(70, 3)
    chance = np.random.default_rng(2)
    # what was forecast of a day is known at the issue of that day
    covariates = Covariates(
        {"ghi": chance.random((70, 24))}, cube + 0.1 * chance.standard_normal(cube.shape) if own else None
    )
    for day in (40, 55, 69):
        disturbed = cube.copy()
        disturbed[day - 1, KNOWN:] *= 1e6
        disturbed[day:] *= -1e6
        before, after = (
            roll_ridge_days(one, grid, KNOWN, training=TRAINING, covariates=covariates) for one in (cube, disturbed)
        )
        np.testing.assert_array_equal(before[: day + 1], after[: day + 1])
        assert day == 69 or not np.array_equal(before[day + 1], after[day + 1])


def test_blocks_and_threads_do_not_change_a_bit() -> None:
    cube, grid = simulate(60, 7)
    whole = roll_ridge_days(cube, grid, KNOWN, training=TRAINING, threads=1)
    np.testing.assert_array_equal(whole, roll_ridge_days(cube, grid, KNOWN, training=TRAINING, threads=2, block=2))
    for asset in range(7):
        alone = roll_ridge_days(cube[:, :, [asset]], grid, KNOWN, training=TRAINING)
        np.testing.assert_array_equal(whole[:, :, [asset]], alone)
