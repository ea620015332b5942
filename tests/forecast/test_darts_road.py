"""Any Darts model by name: nothing from after issue, local days of any length, clear answers to wrong wishes."""

from __future__ import annotations

import datetime as dt
import importlib.util
import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridtwin.errors import DataError
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.darts_road import roll_darts
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.issue_steps import Issues
from gridtwin.forecast.rolled import Rolled

HOUR = pd.Timedelta("1h")
KIND = np.array(["household", "pv"])
NOON = 12
HAS_TORCH = importlib.util.find_spec("torch") is not None
FIRST, LATER = 40, 42
"""First day to forecast, 25 March 2016, and the day of 23 hours."""
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("NaiveSeasonal", {"K": 24}),
    ("ExponentialSmoothing", {}),
    ("Theta", {}),
    ("FFT", {}),
    ("LinearRegressionModel", {}),
    ("SKLearnModel", {"model": "Ridge", "alpha": 10.0}),
    ("LightGBMModel", {"n_estimators": 20}),
    ("RandomForestModel", {"n_estimators": 5}),
    ("NaiveEnsembleModel", {"forecasting_models": [{"name": "NaiveSeasonal"}, {"name": "NaiveDrift"}]}),
    ("RegressionEnsembleModel", {"forecasting_models": [{"name": "SKLearnModel"}, {"name": "LinearRegressionModel"}]}),
    ("ConformalNaiveModel", {"model": {"name": "SKLearnModel"}}),
]


@pytest.fixture(autouse=True)
def _silence() -> Any:
    logging.disable(logging.CRITICAL)  # Darts logs what it raises
    yield
    logging.disable(logging.NOTSET)


def simulate(first: dt.date, days: int) -> tuple[ClockGrid, np.ndarray]:
    """A load with a weekly shape and a PV system, hourly, in Berlin."""
    grid = ClockGrid.of_days(first, days, "Europe/Berlin", HOUR)
    chance = np.random.default_rng(1)
    clock = 2 * np.pi * grid.slot / grid.slots
    weekend = np.array([day.weekday() >= 5 for day in grid.dates])[grid.day]
    load = (0.4 - 0.15 * np.cos(clock) - 0.06 * weekend) * (1 + 0.1 * chance.standard_normal(days)[grid.day])
    sun = -np.clip(-np.cos(clock), 0, None) * chance.uniform(0.3, 1, days)[grid.day]
    noise = 0.01 * chance.standard_normal((len(clock), 2))
    return grid, grid.to_cube(np.column_stack([load, sun]) + noise)


SPRING = simulate(dt.date(2016, 2, 14), 44)
AUTUMN = simulate(dt.date(2016, 9, 18), 45)


def roll(
    name: str,
    arguments: dict[str, Any] | None = None,
    sample: tuple[ClockGrid, np.ndarray] = SPRING,
    *,
    known: int = NOON,
    first: int = FIRST,
    covariates: Covariates | None = None,
) -> Rolled:
    grid, cube = sample
    return roll_darts(
        name, arguments or {}, cube, grid, known, first=first, covariates=covariates or Covariates.none(),
        kind=KIND[: cube.shape[2]], seed=1, levels=(0.1, 0.5, 0.9),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), MODELS, ids=[name for name, _ in MODELS])
def test_nothing_after_the_issue_reaches_the_forecast(name: str, arguments: dict[str, Any]) -> None:
    grid, cube = SPRING
    assert grid.dates[LATER] == dt.date(2016, 3, 27)
    disturbed = cube.copy()
    disturbed[LATER - 1, NOON:] *= 1e6
    disturbed[LATER:] *= -1e6
    before, after = roll(name, arguments), roll(name, arguments, (grid, disturbed))
    np.testing.assert_array_equal(before.point[: LATER + 1], after.point[: LATER + 1])
    assert not np.array_equal(before.point[LATER + 1], after.point[LATER + 1])  # issued a day later, it has noticed
    if before.quantiles is not None and after.quantiles is not None:
        np.testing.assert_array_equal(before.quantiles[:, : LATER + 1], after.quantiles[:, : LATER + 1])
    # whole days, the hour that the clock skipped alone is empty
    assert np.isnan(before.point[:FIRST]).all()
    np.testing.assert_array_equal(np.isnan(before.point[FIRST:]), np.isnan(cube[FIRST:]))
    # and a forecast: no model is further off than twice the mean of the series
    assert np.nanmean(np.abs(before.point - cube), axis=(0, 1)).max() < 2 * np.nanmean(np.abs(cube))


@pytest.mark.parametrize("name", ["SKLearnModel", "LightGBMModel", *(["TiDEModel"] if HAS_TORCH else [])])
@pytest.mark.parametrize("sample", ["spring", "autumn"])
@pytest.mark.filterwarnings("ignore" if HAS_TORCH else "error")
def test_weather_of_later_days_is_not_known(name: str, sample: str) -> None:
    """What was forecast of a day is known at the issue of that day, and not before; around days of 23 and 25 hours."""
    grid, cube = SPRING if sample == "spring" else AUTUMN
    weather = np.random.default_rng(7).random((*cube.shape[:2], 2))
    small = {"n_epochs": 1, "hidden_size": 8} if name == "TiDEModel" else {}
    for day in range(FIRST, FIRST + 3):
        disturbed = weather.copy()
        disturbed[day + 1 :] *= 1e6
        before, after = (
            roll(name, small, (grid, cube), covariates=Covariates({"ghi": one[:, :, 0]}, one))
            for one in (weather, disturbed)
        )
        np.testing.assert_array_equal(before.point[: day + 1], after.point[: day + 1])
        assert not np.array_equal(before.point[day + 1], after.point[day + 1], equal_nan=True)


@pytest.mark.parametrize("known", [0, 2, 3, NOON, 20])
@pytest.mark.parametrize("sample", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_the_last_value_known_is_the_last_before_issue(sample: tuple[ClockGrid, np.ndarray], known: int) -> None:
    """Persistence shows which value a model saw last, on days of 23, 24 and 25 hours."""
    _, cube = sample
    persistence = roll("NaiveSeasonal", {"K": 1}, sample, known=known)
    for day in range(FIRST, len(cube)):
        last = cube[day - 1, known - 1] if known else cube[day - 2, -1]
        if np.isnan(last).any():  # the hour before issue is the one that the clock skipped
            last = cube[day - 1, known - 2]
        there = np.isfinite(cube[day, :, 0])
        np.testing.assert_array_equal(persistence.point[day][there], np.broadcast_to(last, (there.sum(), 2)))


@pytest.mark.parametrize("known", [0, NOON])
@pytest.mark.parametrize("sample", [SPRING, AUTUMN], ids=["spring", "autumn"])
@pytest.mark.parametrize("at_once", [False, True])
def test_covariates_meet_their_own_step(sample: tuple[ClockGrid, np.ndarray], known: int, at_once: bool) -> None:
    """A series that is a multiple of its weather is forecast exactly by a regression on the weather of the step."""
    grid, cube = sample
    weather = Covariates({"wind": cube[:, :, 0]})
    target = 3 * cube[:, :, :1] + 1
    issues = Issues.of_grid(grid, known, FIRST)
    chunk = issues.layout(grid.slots).chunk
    steps = list(range(chunk)) if at_once else [chunk - 1]
    alone = {"lags": None, "lags_future_covariates": steps, "multi_models": at_once, "alpha": 1e-9}
    rolled = roll("SKLearnModel", alone, (grid, target), known=known, covariates=weather)
    # step by step there are more rows than features, and the penalty alone is left of the error; a day at once has
    # fewer, so that the fit is not unique: 1e-3 is far below the change from one hour to the next, 0.1
    np.testing.assert_allclose(rolled.point[FIRST:], target[FIRST:], atol=1e-3 if at_once else 1e-5)


def test_quantiles_come_from_the_model() -> None:
    rolled = roll("LightGBMModel", {"likelihood": "quantile", "n_estimators": 20})
    assert rolled.levels == (0.1, 0.5, 0.9)
    assert rolled.quantiles is not None
    np.testing.assert_array_equal(rolled.quantiles[1], rolled.point)
    inside = (SPRING[1] >= rolled.quantiles[0]) & (SPRING[1] <= rolled.quantiles[2])
    assert 0.4 < inside[FIRST:].mean() <= 1


def test_a_short_series_has_no_forecast_and_leaves_the_others_theirs() -> None:
    grid, cube = SPRING
    short = cube.copy()
    short[: FIRST - 2, :, 1] = np.nan
    rolled = roll("SKLearnModel", {}, (grid, short))
    assert np.isnan(rolled.point[:, :, 1]).all()
    np.testing.assert_array_equal(np.isfinite(rolled.point[FIRST:, :, 0]), np.isfinite(cube[FIRST:, :, 0]))


def test_runs_of_the_optimised_road(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of Darts' optimised road before the switch of the clock and one after it."""
    from darts.models import LightGBMModel

    calls = []
    original = LightGBMModel._optimized_historical_forecasts

    def counted(self: Any, **settings: Any) -> Any:
        calls.append(settings["stride"])
        return original(self, **settings)

    monkeypatch.setattr(LightGBMModel, "_optimized_historical_forecasts", counted)
    roll("LightGBMModel", {"n_estimators": 2}, simulate(dt.date(2016, 2, 14), 60))
    assert calls == [24, 24]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("LigthGBMModel", {}, r"Did you mean LightGBMModel\?"),
        ("NaiveSeasonal", {"season": 3}, "forecast.arguments.*unexpected keyword argument 'season'"),
        ("SKLearnModel", {"model": "Rigde"}, "forecast.arguments.*did you mean Ridge"),
        ("SKLearnModel", {"output_chunk_shift": 30}, "forecast.arguments.*skips steps of the day"),
        ("LightGBMModel", {"lags": 0}, "forecast.arguments.*lags"),
        ("ConformalNaiveModel", {"model": "LightGBMModel"}, "forecast.arguments.*table with a name"),
        ("Chronos2Model", {}, "local_dir.*nothing is downloaded"),
        ("TimesFM2p5Model", {"local_dir": "no/such/folder"}, "expected an existing folder, got no/such/folder"),
    ],
)
def test_a_wrong_wish_has_a_clear_answer(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        roll(name, arguments)


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_a_neural_model_names_the_extra_that_it_needs() -> None:
    with pytest.raises(DataError, match=r"TiDEModel needs a package.*gridtwin\[neural\]"):
        roll("TiDEModel")


@pytest.mark.skipif(not HAS_TORCH, reason="neural models need the extra gridtwin[neural]")
@pytest.mark.filterwarnings("ignore")
def test_a_neural_model_does_not_see_the_future() -> None:
    grid, cube = SPRING
    disturbed = cube.copy()
    disturbed[LATER - 1, NOON:] *= 1e6
    disturbed[LATER:] *= -1e6
    small = {"n_epochs": 1, "hidden_size": 8, "likelihood": "quantile"}
    before, after = roll("TiDEModel", small), roll("TiDEModel", small, (grid, disturbed))
    np.testing.assert_array_equal(before.point[: LATER + 1], after.point[: LATER + 1])
    assert before.levels == (0.1, 0.5, 0.9)
