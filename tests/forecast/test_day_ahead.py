"""The day-ahead forecast: nothing from after issue, local days of any length, bounds, seeds and fallbacks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.forecast.calendar import ClockGrid, holiday_flags, sun_elevation_degree
from gridtwin.forecast.day_ahead import check_forecast, forecast
from gridtwin.forecast.history import substitute_gaps
from gridtwin.forecast.reactive import reactive_power
from gridtwin.scenario import Forecast
from gridtwin.time_axis import utc_of_local

Neighbourhood = tuple[xr.Dataset, pd.Series]
SETTINGS = Forecast(history_days=60, calibration_days=21, paths=42)
NOON = dt.time(12)
DAY = dt.date(2016, 4, 14)


def predict(
    neighbourhood: Neighbourhood, *days: dt.date, seed: int = 3, issue: dt.time = NOON, **changed: object
) -> xr.Dataset:
    profiles, installed = neighbourhood
    chosen = SETTINGS.model_copy(update=changed)
    return forecast(profiles, days, chosen, issue=issue, seed=seed, installed_mw=installed)


@pytest.fixture(scope="module")
def two_days(spring: Neighbourhood) -> xr.Dataset:
    return predict(spring, DAY, DAY + dt.timedelta(days=1))


@pytest.mark.parametrize("model", ["DayAheadRidge", "DayAheadBlend", "SKLearnModel"])
@pytest.mark.parametrize("issue", [dt.time(12), dt.time(0), dt.time(9, 40)])
def test_nothing_after_the_issue_reaches_the_forecast(spring: Neighbourhood, model: str, issue: dt.time) -> None:
    profiles, installed = spring
    days = [DAY, DAY + dt.timedelta(days=1)]
    issued = utc_of_local(dt.datetime.combine(days[0] - dt.timedelta(days=1), issue), "Europe/Berlin")
    ended = profiles["time"] + np.timedelta64(15, "m") <= np.datetime64(issued)
    factor = xr.where(ended, 1.0, 1e6)
    disturbed = profiles.assign(p_mw=profiles["p_mw"] * factor, q_mvar=profiles["q_mvar"] * xr.where(ended, 1.0, -1e6))
    before = predict(spring, *days, model=model, issue=issue)
    after = predict((disturbed, installed), *days, model=model, issue=issue)
    first = slice(0, 96)
    for name in before.data_vars:
        np.testing.assert_array_equal(before[name].isel(time=first), after[name].isel(time=first), err_msg=name)
    # the second day was issued a day later and must have noticed
    assert not before["p_mean_mw"].isel(time=slice(96, None)).equals(after["p_mean_mw"].isel(time=slice(96, None)))


def test_the_last_value_before_the_issue_does_reach_the_forecast(spring: Neighbourhood) -> None:
    profiles, installed = spring
    last = utc_of_local(dt.datetime.combine(DAY - dt.timedelta(days=1), dt.time(11, 45)), "Europe/Berlin")
    changed = profiles.copy(deep=True)
    changed["p_mw"].loc[{"time": last}] *= 3
    assert not predict(spring, DAY)["p_mean_mw"].equals(predict((changed, installed), DAY)["p_mean_mw"])


def test_the_forecast_needs_no_values_of_the_studied_day(spring: Neighbourhood, two_days: xr.Dataset) -> None:
    profiles, installed = spring
    history = profiles.sel(time=slice(None, np.datetime64("2016-04-14T09:45")))  # noon of the 14th, local
    cut = predict((history, installed), DAY, DAY + dt.timedelta(days=1))
    xr.testing.assert_identical(cut, two_days)


def test_a_day_is_the_same_alone_and_in_company(spring: Neighbourhood, two_days: xr.Dataset) -> None:
    alone = predict(spring, DAY)["p_mw"]
    # another size of the linear algebra, another rounding: far below a watt
    np.testing.assert_allclose(alone, two_days["p_mw"].isel(time=slice(0, 96)), rtol=1e-5, atol=1e-9)


def test_the_layout_is_that_of_the_contract(spring: Neighbourhood, two_days: xr.Dataset) -> None:
    assert two_days["p_mw"].dims == two_days["q_mvar"].dims == ("path", "time", "asset")
    assert two_days["p_quantile_mw"].dims == ("quantile", "time", "asset")
    assert two_days["p_mw"].shape == (42, 192, 8)
    assert two_days["time"].values[0] == np.datetime64("2016-04-13T22:00")
    assert set(np.unique(two_days["issue_time"])) == {
        np.datetime64("2016-04-13T10:00"),
        np.datetime64("2016-04-14T10:00"),
    }
    assert two_days.attrs["weather"] == "none used"
    assert two_days["asset"].values.tolist() == spring[0]["asset"].values.tolist()
    assert all(np.isfinite(two_days[name]).all() for name in two_days.data_vars)


@pytest.mark.parametrize(("switch", "steps"), [(dt.date(2016, 3, 27), 92), (dt.date(2016, 10, 30), 100)])
def test_days_of_23_and_25_hours(simulate: Callable[..., Neighbourhood], switch: dt.date, steps: int) -> None:
    neighbourhood = simulate(switch - dt.timedelta(days=62), 64, loads=3, pvs=1)
    days = [switch, switch + dt.timedelta(days=1), switch + dt.timedelta(days=2)]
    result = predict(neighbourhood, *days, calibration_days=14)
    assert result.sizes["time"] == steps + 192
    assert np.isfinite(result["p_mw"]).all()
    actual = neighbourhood[0]["p_mw"].reindex(time=result["time"]).isel(asset=0)
    shape = result["p_mean_mw"].isel(asset=0)
    # the local shape follows the clock: an hour's slip would halve the correlation of the residual shape
    there = np.isfinite(actual.to_numpy())
    assert np.corrcoef(actual.to_numpy()[there], shape.to_numpy()[there])[0, 1] > 0.9


def test_naive_follows_the_clock_over_the_switch(simulate: Callable[..., Neighbourhood]) -> None:
    profiles, installed = simulate(dt.date(2016, 1, 25), 70, loads=1, pvs=1)
    local = pd.DatetimeIndex(profiles["time"].values).tz_localize("UTC").tz_convert("Europe/Berlin")
    stamp = np.asarray(local.hour * 100 + local.minute + 10_000 * local.dayofyear, dtype=float)
    marked = profiles.assign(p_mw=profiles["p_mw"] * 0 + xr.DataArray(stamp, dims="time"))
    day = dt.date(2016, 3, 28)  # the Monday after the switch
    naive = predict((marked, installed), day, calibration_days=14)["p_naive_mw"]
    at_seven = naive.sel(time=np.datetime64("2016-03-28T05:00"))
    assert float(at_seven.sel(asset="household 0")) == pytest.approx(10_000 * 81 + 700, rel=1e-6)  # 21 March, 7:00
    assert float(at_seven.sel(asset="pv 1")) == pytest.approx(10_000 * 86 + 700, rel=1e-6)  # 26 March, 7:00


def test_quantiles_are_sorted_and_within_bounds(spring: Neighbourhood, two_days: xr.Dataset) -> None:
    bands, paths = two_days["p_quantile_mw"].to_numpy(), two_days["p_mw"].to_numpy()
    assert (np.diff(bands, axis=0) >= 0).all()
    generation, installed = two_days["kind"].to_numpy() == "pv", spring[1].to_numpy()
    for values in (bands, paths):
        relative = values / installed
        assert relative[..., generation].min() >= -1 and relative[..., generation].max() <= 0
        assert relative[..., ~generation].min() >= 0 and relative[..., ~generation].max() <= 1


def test_pv_rests_at_night_and_works_by_day(two_days: xr.Dataset) -> None:
    pv = two_days.isel(asset=two_days["kind"].to_numpy() == "pv")
    grid = ClockGrid.of_days(DAY, 2, "Europe/Berlin", pd.Timedelta("15min"))
    sun = sun_elevation_degree(grid.axis)
    assert (pv["p_mw"].to_numpy()[:, sun < 0] == 0).all()
    assert (pv["p_mean_mw"].to_numpy()[sun > 10] < 0).all()


def test_mean_is_that_of_the_paths_and_near_the_median(two_days: xr.Dataset) -> None:
    np.testing.assert_allclose(two_days["p_mean_mw"], two_days["p_mw"].mean("path"), rtol=1e-12)
    house = two_days.sel(asset="household 2")
    gap = np.abs(house["p_mean_mw"] - house["p_quantile_mw"].sel(quantile=0.5)).mean() / house["p_mean_mw"].mean()
    assert gap < 0.1  # the simulated errors are symmetric


def test_the_seed_decides_the_paths(spring: Neighbourhood, two_days: xr.Dataset) -> None:
    days = DAY, DAY + dt.timedelta(days=1)
    xr.testing.assert_identical(predict(spring, *days), two_days)
    assert not predict(spring, *days, seed=4)["p_mw"].equals(two_days["p_mw"])


@pytest.mark.parametrize("model", ["DayAheadRidge", "DayAheadBlend", "SKLearnModel"])
def test_the_model_beats_the_naive(spring: Neighbourhood, model: str) -> None:
    days = [dt.date(2016, 4, 6) + dt.timedelta(days=number) for number in range(12)]
    result = predict(spring, *days, model=model)
    actual = spring[0]["p_mw"].sel(time=result["time"])
    error = {name: float(np.abs(result[name] - actual).mean()) for name in ("p_mean_mw", "p_naive_mw")}
    # the levels of two days are independent: the best forecast has 1/sqrt(2) of the naive's error, and 32 days
    # to learn from leave part of that
    assert error["p_mean_mw"] < 0.95 * error["p_naive_mw"]


def test_assets_that_the_model_cannot_serve_say_so(spring: Neighbourhood) -> None:
    profiles, installed = spring
    changed = profiles.copy(deep=True)
    p_mw = changed["p_mw"]
    p_mw.loc[{"asset": "household 0"}] = 0.0
    p_mw.loc[{"asset": "household 1"}] = 0.002
    p_mw.loc[{"asset": "household 2", "time": slice(None, "2016-04-09")}] = np.nan
    p_mw.loc[{"asset": "household 3", "time": slice("2016-04-02", "2016-04-03")}] = np.nan
    result = predict((changed, installed), DAY)
    status = dict(zip(result["asset"].to_numpy().tolist(), result["status"].to_numpy().tolist(), strict=True))
    assert status == {
        "household 0": "idle",
        "household 1": "constant",
        "household 2": "new",
        "household 3": "imputed",
        "household 4": "forecast",
        "pv 5": "forecast",
        "pv 6": "forecast",
        "battery 7": "idle",
    }
    assert (result["p_mw"].sel(asset=["household 0", "battery 7"]) == 0).all()
    np.testing.assert_allclose(result["p_mw"].sel(asset="household 1"), 0.002, rtol=1e-6)
    assert np.isfinite(result["p_mw"]).all() and np.isfinite(result["p_quantile_mw"]).all()
    assert result["p_mw"].sel(asset="household 2").std("path").mean() > 0
    assert [finding.severity for finding in check_forecast(result)] == ["warning", "info", "info", "warning"]


def test_an_asset_without_any_value_is_named(spring: Neighbourhood) -> None:
    changed = spring[0].copy(deep=True)
    changed["p_mw"].loc[{"asset": "household 0"}] = np.nan
    with pytest.raises(DataError, match="household 0"):
        predict((changed, spring[1]), DAY)


def test_an_active_asset_needs_a_rating(spring: Neighbourhood) -> None:
    with pytest.raises(DataError, match="household 4"):
        predict((spring[0], spring[1].drop("household 4")), DAY)


def test_a_history_that_is_too_short_is_refused(spring: Neighbourhood) -> None:
    with pytest.raises(DataError, match="35 whole days"):
        predict(spring, dt.date(2016, 2, 1))


def test_days_must_follow_each_other(spring: Neighbourhood) -> None:
    with pytest.raises(DataError, match="do not follow"):
        predict(spring, DAY, DAY + dt.timedelta(days=2))


def test_an_unknown_model_is_refused(spring: Neighbourhood) -> None:
    with pytest.raises(DataError, match="or a forecasting model of Darts"):
        predict(spring, DAY, model="Oracle")


def test_reactive_power_keeps_the_ratio_of_the_history(two_days: xr.Dataset) -> None:
    active = two_days["kind"].to_numpy() != "battery"
    np.testing.assert_allclose(two_days["q_mvar"][..., active], 0.2 * two_days["p_mw"][..., active], rtol=1e-6)


def test_reactive_power_resists_outliers_and_is_never_silently_zero() -> None:
    generator = np.random.default_rng(1)
    p_known = generator.uniform(0.1, 1, (1000, 2))
    q_known = 0.3 * p_known
    q_known[::10, 0] = 50.0
    q_known[:, 1] = np.nan
    q_mvar, ratio = reactive_power(np.ones((1, 1, 2)), p_known, q_known)
    assert ratio[0] == pytest.approx(0.3) and np.isnan(ratio[1])
    assert q_mvar[0, 0].tolist() == pytest.approx([0.3, np.tan(np.arccos(0.97))])


def test_gaps_are_filled_from_the_past_alone() -> None:
    cube = np.arange(10, dtype=float)[:, np.newaxis, np.newaxis].copy()
    cube[[0, 8, 9]] = np.nan
    # day 8: a week before, day 1; day 9: day 2; day 0 has no past
    assert substitute_gaps(cube)[[0, 8, 9], 0, 0].tolist()[1:] == [1.0, 2.0]
    assert np.isnan(substitute_gaps(cube)[0, 0, 0])


def test_german_holidays() -> None:
    assert holiday_flags((dt.date(2016, 10, 3), dt.date(2016, 10, 4)), "Europe/Berlin").tolist() == [True, False]
    assert not holiday_flags((dt.date(2016, 10, 3),), "UTC").any()


def test_the_first_pass_of_the_repeated_hour_fills_the_slot() -> None:
    grid = ClockGrid.of_days(dt.date(2016, 10, 30), 1, "Europe/Berlin", pd.Timedelta("15min"))
    cube = grid.to_cube(np.arange(100.0))
    assert cube[0, 7:14].tolist() == [7.0, 8.0, 9.0, 10.0, 11.0, 16.0, 17.0]
    assert grid.to_steps(cube)[7:17].tolist() == [7.0, 8.0, 9.0, 10.0, 11.0, 8.0, 9.0, 10.0, 11.0, 16.0]
