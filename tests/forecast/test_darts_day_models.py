"""The study's models as Darts models: the numbers of `roll_model`, by each of Darts' roads."""

from __future__ import annotations

import datetime as dt
import inspect
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mae
from darts.models import NaiveSeasonal
from darts.models.forecasting.forecasting_model import ForecastingModel, GlobalForecastingModel
from darts.utils.historical_forecasts.utils import _get_historical_forecasts_setup

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.darts_day_models import DAY_MODELS, DayAheadModel
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.point_models import ModelInputs, roll_model

ZONE, DAYS, FITTED = "Europe/Berlin", 44, 40
KIND = {"load": "load", "pv": "pv"}
ROUNDING = 1e-12
"""Of values about 1: a longer history is summed in another order, which leaves 1e-15."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def simulate(first: dt.date, days: int) -> tuple[ClockGrid, list[TimeSeries], TimeSeries]:
    """A load with a week, a PV system under drawn clouds, and the irradiance that is known ahead."""
    grid = ClockGrid.of_days(first, days, ZONE, pd.Timedelta("15min"))
    chance = np.random.default_rng(7)
    free = np.array([date.weekday() >= 5 for date in grid.dates])[grid.day]
    load = 1 - 0.3 * free + 0.5 * np.sin(2 * np.pi * grid.slot / 96) + 0.1 * chance.standard_normal(len(grid.slot))
    sky = np.maximum(0, np.sin(2 * np.pi * (grid.slot - 24) / 96)) * (1 - 0.7 * chance.uniform(0, 1, days)[grid.day])
    pv, irradiance = -sky * (1 + 0.05 * chance.standard_normal(len(sky))), 900 * sky
    load_series, pv_series, weather = (
        TimeSeries(grid.axis.times, values[:, np.newaxis, np.newaxis], components=[name])
        for name, values in (("load", load), ("pv", pv), ("ghi_w_per_m2", irradiance))
    )
    return grid, [load_series, pv_series], weather


GRID, SERIES, WEATHER = simulate(dt.date(2020, 1, 13), DAYS)
MIDNIGHTS = GRID.axis.times[::96]
ROLLING = {"start": MIDNIGHTS[FITTED + 1], "forecast_horizon": 96, "stride": 96, "last_points_only": False}


def rolled_by_the_study(model: str, days: int, first: int, hidden: int = 0) -> np.ndarray:
    """`roll_model` on arrays that are laid out here, winter days of 96 steps; the last `hidden` days are unknown."""
    cube = np.stack([one.values().reshape(DAYS, 96) for one in SERIES], axis=2)[:days]
    cube[days - hidden :] = np.nan
    weather = {"ghi_w_per_m2": WEATHER.values().reshape(DAYS, 96)[:days]}
    grid = ClockGrid.of_days(GRID.dates[0], days, ZONE, pd.Timedelta("15min"))
    kind = np.array(["load", "pv"])
    return roll_model(
        model, ModelInputs(cube, cube, np.zeros_like(cube), kind, grid, 96, first, Covariates(weather))
    ).point


def fitted(model: str = "DayAheadRidge", days: int = FITTED) -> DayAheadModel:
    return DayAheadModel(model, kind=KIND).fit(
        [one[: 96 * days] for one in SERIES], future_covariates=[WEATHER] * len(SERIES)
    )


def values_of(forecasts: Any) -> np.ndarray:
    """(series, day, slot)."""
    return np.stack([[one.values()[:, 0] for one in days] for days in forecasts])


@pytest.mark.parametrize("model", DAY_MODELS)
def test_predict_is_the_model_of_the_study(model: str) -> None:
    known = [one[: 96 * FITTED] for one in SERIES]
    ours = fitted(model).predict(96, known, future_covariates=[WEATHER] * 2)
    theirs = rolled_by_the_study(model, FITTED + 1, FITTED, hidden=1)[-1]
    for asset, one in enumerate(ours):
        np.testing.assert_array_equal(one.values()[:, 0], theirs[:, asset])
        assert one.start_time() == MIDNIGHTS[FITTED]
        assert one.components.equals(SERIES[asset].components)


@pytest.mark.parametrize("model", DAY_MODELS)
def test_historical_forecasts_are_the_rolled_cube_of_the_study(model: str) -> None:
    """Without refits the study's scales and trees stay; its regressions are refitted every day in both."""
    darts = fitted(model).historical_forecasts(SERIES, future_covariates=[WEATHER] * 2, retrain=False, **ROLLING)
    at_once = fitted(model).roll_days(SERIES, WEATHER, start=GRID.dates[FITTED + 1])
    theirs = rolled_by_the_study(model, DAYS, FITTED)[FITTED + 1 :].transpose(2, 0, 1)
    assert theirs.shape == (2, 3, 96)
    np.testing.assert_allclose(values_of(darts), theirs, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(values_of(at_once), theirs, rtol=0, atol=ROUNDING)


def test_refits_take_all_days_before_the_forecast() -> None:
    darts = fitted().historical_forecasts(SERIES, future_covariates=[WEATHER] * 2, retrain=True, **ROLLING)
    unfitted = DayAheadModel(kind=KIND).historical_forecasts(
        SERIES, future_covariates=[WEATHER] * 2, retrain=True, **ROLLING
    )
    theirs = [rolled_by_the_study("DayAheadRidge", day + 1, day, hidden=1)[-1].T for day in range(FITTED + 1, DAYS)]
    np.testing.assert_allclose(values_of(darts).swapaxes(0, 1), theirs, rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(values_of(unfitted), values_of(darts))


@pytest.mark.parametrize("model", DAY_MODELS)
def test_nothing_after_midnight_reaches_a_forecast(model: str) -> None:
    """The last two of four days are disturbed: the first three forecasts stay, the last one sees it."""
    disturbed = [
        TimeSeries(
            one.time_index,
            np.where(np.arange(96 * DAYS) < 96 * (DAYS - 2), one.values().T, 5.0).T[:, :, None],
            components=one.components,
        )
        for one in SERIES
    ]
    before, after = (values_of(fitted(model).roll_days(series, WEATHER)) for series in (SERIES, disturbed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.allclose(before[0, 3], after[0, 3])
    loop = fitted(model).historical_forecasts(
        disturbed, future_covariates=[WEATHER] * 2, retrain=False, **{**ROLLING, "start": MIDNIGHTS[FITTED]}
    )
    np.testing.assert_allclose(values_of(loop)[:, :3], before[:, :3], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("model", DAY_MODELS)
def test_a_day_within_the_fitted_ones_sees_nothing_after_it(model: str) -> None:
    """Darts' own models forecast it from what they learnt of later days; these do not."""
    known = [one[: 96 * 30] for one in SERIES]
    early, late = (fitted(model, days).predict(96, known[0], future_covariates=WEATHER) for days in (30, FITTED))
    np.testing.assert_array_equal(early.values(), late.values())


@pytest.mark.parametrize(("change", "steps"), [(dt.date(2020, 3, 29), 92), (dt.date(2020, 10, 25), 100)])
def test_days_of_a_clock_change_have_their_length(change: dt.date, steps: int) -> None:
    grid, series, weather = simulate(change - dt.timedelta(days=30), 33)
    begin = grid.axis.times[grid.day == 30][0]
    model = DayAheadModel(kind=KIND).fit([one.drop_after(begin) for one in series], future_covariates=[weather] * 2)
    rolled = model.roll_days(series, weather)
    assert [len(day) for day in rolled[0]] == [steps, 96, 96]
    at = [day.start_time() for day in rolled[0]]
    assert at == [grid.axis.times[grid.day == day][0] for day in (30, 31, 32)]
    alone = model.predict(steps, series[0].drop_after(begin), future_covariates=weather)
    np.testing.assert_allclose(alone.values(), rolled[0][0].values(), rtol=0, atol=ROUNDING)
    assert mae(series[0].slice_intersect(rolled[0][1]), rolled[0][1]) < 0.15, "noise alone is 0.08"
    with pytest.raises(ValueError, match=f"has {steps} steps, got {steps + 1}"):
        model.predict(steps + 1, series[0].drop_after(begin), future_covariates=weather)
    with pytest.raises(ValueError, match="take roll_days"):
        model.historical_forecasts(
            series[0], future_covariates=weather, retrain=False, **{**ROLLING, "start": begin, "forecast_horizon": 92}
        )


def test_a_fitted_series_needs_no_second_mention() -> None:
    model = DayAheadModel().fit(SERIES[0][: 96 * FITTED])
    np.testing.assert_array_equal(model.predict(10).values(), model.predict(96, SERIES[0][: 96 * FITTED]).values()[:10])
    both = DayAheadModel(kind=KIND).fit(SERIES[0].stack(SERIES[1]), future_covariates=WEATHER[: 96 * DAYS])
    assert both.extreme_lags[4:6] == (-21 * 96, 95)
    with pytest.raises(ValueError, match="future covariates must have all values"):
        both.predict(96)


def test_components_are_assets() -> None:
    joint = SERIES[0].stack(SERIES[1])[: 96 * FITTED]
    together = DayAheadModel(kind=KIND).fit(joint, future_covariates=WEATHER).predict(96)
    apart = fitted().predict(96, [one[: 96 * FITTED] for one in SERIES], future_covariates=[WEATHER] * 2)
    np.testing.assert_array_equal(together.values(), np.hstack([one.values() for one in apart]))


def test_backtest_runs_and_beats_the_week_before() -> None:
    errors = fitted().backtest(
        SERIES[0], future_covariates=WEATHER, retrain=False, metric=mae, reduction=np.mean, **ROLLING
    )
    naive = NaiveSeasonal(7 * 96).backtest(SERIES[0], retrain=True, metric=mae, reduction=np.mean, **ROLLING)
    assert 0.07 < errors < naive, "the noise alone is 0.08"


def test_a_gap_is_filled_from_days_before_and_stops_nothing() -> None:
    values = SERIES[0].values().copy()
    values[96 * 30 + 5 : 96 * 30 + 20] = np.nan
    holed = TimeSeries(SERIES[0].time_index, values[:, :, np.newaxis])[: 96 * FITTED]
    assert np.isfinite(DayAheadModel().fit(holed).predict(96).values()).all()


def test_errors_say_what_is_wrong() -> None:
    known = SERIES[0][: 96 * FITTED]
    with pytest.raises(ValueError, match="expected one of DayAheadRidge"):
        DayAheadModel("SARIMA")
    with pytest.raises(ValueError, match="whole local days, but the series runs from 2020-01-13 00:15"):
        DayAheadModel().fit(known[1:])
    with pytest.raises(ValueError, match="in steps of 0 days 01:00"):
        DayAheadModel(steps_per_day=24).fit(known)
    with pytest.raises(ValueError, match="21 days or more, got 20"):
        DayAheadModel().fit(known[: 96 * 20])
    with pytest.raises(ValueError, match="the same name"):
        DayAheadModel().fit([known, known])
    with pytest.raises(ValueError, match="kind is not given for load"):
        DayAheadModel(kind={"pv": "pv"}).fit(known)
    with pytest.raises(ValueError, match="one sample"):
        DayAheadModel().fit(TimeSeries(known.time_index, known.values()[:, :, np.newaxis].repeat(3, axis=2)))
    with pytest.raises(ValueError, match="call fit"):
        DayAheadModel().predict(96)
    with pytest.raises(ValueError, match="one weather"):
        DayAheadModel().fit([known, SERIES[1][: 96 * FITTED]], future_covariates=[WEATHER, WEATHER * 2])
    model = DayAheadModel().fit(known)
    with pytest.raises(ValueError, match="without future covariates"):
        model.predict(96, known, future_covariates=WEATHER)
    with pytest.raises(ValueError, match="probabilistic"):
        model.predict(96, known, num_samples=10)
    with pytest.raises(ValueError, match="new: fewer than 21 days"):
        model.predict(96, SERIES[1][96 * 22 :].with_columns_renamed("pv", "new"))
    with pytest.raises(ValueError, match="start at 2020-02-22 or after"):
        model.roll_days(SERIES[0], start=GRID.dates[FITTED - 1])
    with pytest.raises(ValueError, match="end on different days"):
        fitted().predict(96, [known, SERIES[1]], future_covariates=[WEATHER] * 2)


def test_darts_still_has_the_private_members_that_we_use() -> None:
    """A new release of Darts that drops one of them, or asks for more, breaks here and says which."""
    asked = {"fit", "predict", "supports_multivariate", "min_train_samples", "_target_window_lengths", "extreme_lags",
             "_model_encoder_settings", "__init__"}  # fmt: skip
    assert asked >= GlobalForecastingModel.__abstractmethods__
    for name in ("_target_window_lengths", "_model_encoder_settings", "supports_optimized_historical_forecasts"):
        assert isinstance(getattr(ForecastingModel, name, None), property), f"ForecastingModel.{name} is gone"
    for name in ("_fit_called", "training_series", "future_covariate_series", "_uses_future_covariates"):
        assert hasattr(DayAheadModel(), name), f"{name} is gone"
    source = inspect.getsource(inspect.getmodule(_get_historical_forecasts_setup))  # type: ignore[arg-type]
    unpacked = source.split(") = model.extreme_lags")[0].rsplit("(", 1)[1]
    assert unpacked.count(",") == 7, "extreme_lags has another length"
