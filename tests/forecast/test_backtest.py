"""The backtest: each day as issued the day before, every model on the same days, energy beside skill."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.forecast.backtest import Backtest, backtest
from gridtwin.forecast.day_ahead import forecast
from gridtwin.scenario import Forecast
from gridtwin.time_axis import utc_of_local

Neighbourhood = tuple[xr.Dataset, pd.Series]
SETTINGS = Forecast(history_days=60, calibration_days=21, paths=20)
NOON, ZONE = dt.time(12), "Europe/Berlin"
DAYS = [dt.date(2016, 3, 24) + dt.timedelta(days=number) for number in range(6)]  # Good Friday, clock change, Easter


def run(neighbourhood: Neighbourhood, days: list[dt.date] = DAYS, **changed) -> Backtest:
    profiles, installed = neighbourhood
    given = {"issue": NOON, "seed": 3, "installed_mw": installed, "window_days": 3, "keep_forecasts": True} | changed
    return backtest(profiles, days, ["DayAheadRidge"], SETTINGS, **given)


@pytest.fixture(scope="module")
def tested(spring: Neighbourhood) -> Backtest:
    return run(spring)


def test_the_naive_is_always_beside(tested: Backtest) -> None:
    totals = tested.scores.query("level == 'total' and day_type == 'all'").set_index("model")
    assert set(totals.index) == {"DayAheadRidge", "SeasonalNaive"} == set(tested.ledgers)
    for table in tested.ledgers.values():
        assert table["step"].tolist() == ["model", "paths"] * 2  # two windows
        assert (table["seconds"] > 0).all()


def test_it_forecasts_what_the_forecast_verb_forecasts(spring: Neighbourhood, tested: Backtest) -> None:
    profiles, installed = spring
    window = DAYS[3:]
    alone = forecast(profiles, window, SETTINGS, issue=NOON, seed=3, installed_mw=installed)
    part = tested.forecasts["DayAheadRidge"].sel(time=alone["time"].to_numpy())
    np.testing.assert_array_equal(part["p_mw"].to_numpy(), alone["p_mw"].to_numpy())


def test_nothing_after_an_issue_reaches_its_day(spring: Neighbourhood, tested: Backtest) -> None:
    profiles, installed = spring
    for number in (0, 2, 3, 5):  # first and last day of windows, and the day the clock changes
        issue = utc_of_local(dt.datetime.combine(DAYS[number] - dt.timedelta(days=1), NOON), ZONE)
        after = profiles["time"] + np.timedelta64(15, "m") > np.datetime64(issue)
        disturbed = profiles.assign(p_mw=profiles["p_mw"] * xr.where(after, 1e3, 1.0))
        again = run((disturbed, installed))
        first, last = (utc_of_local(dt.datetime.combine(DAYS[number] + dt.timedelta(days=more), dt.time()), ZONE)
                       for more in (0, 1))  # fmt: skip
        hours = slice(np.datetime64(first), np.datetime64(last) - np.timedelta64(1, "m"))
        for model, predicted in tested.forecasts.items():
            for name in ("p_mw", "p_quantile_mw", "p_mean_mw", "p_naive_mw"):
                one, other = (each[name].sel(time=hours).to_numpy() for each in (predicted, again.forecasts[model]))
                np.testing.assert_array_equal(one, other, err_msg=f"{model} {name} {DAYS[number]}")


def test_holidays_and_the_clock_change_are_scored_apart(tested: Backtest) -> None:
    steps = tested.scores.query("model == 'DayAheadRidge' and level == 'total'").set_index("day_type")["steps"]
    assert steps.to_dict() == {"all": 6 * 96 - 4, "working day": 2 * 96, "weekend": 2 * 96 - 4, "holiday": 2 * 96,
                               "clock change": 92}  # fmt: skip


def test_days_without_profiles_are_refused(spring: Neighbourhood) -> None:
    with pytest.raises(DataError, match="do not hold the days"):
        run(spring, [dt.date(2017, 1, 1)])


def test_an_unknown_model_is_refused_before_anything_is_computed(spring: Neighbourhood) -> None:
    profiles, installed = spring
    with pytest.raises(DataError, match="DayAheadRidge"):
        backtest(profiles, DAYS, ["DayAheadRigde"], SETTINGS, issue=NOON, seed=1, installed_mw=installed)
