"""Charging sessions: energy is conserved, a car has one session at a time, clocks may change."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gridtwin.data.charging_sessions import (
    ARRIVAL_WINDOW_H,
    DEPARTURE_WINDOW_H,
    draw_charging_sessions,
    empty_sessions,
    uncontrolled_charging,
)
from gridtwin.errors import DataError
from gridtwin.time_axis import TimeAxis, to_local

BERLIN = "Europe/Berlin"
YEAR = TimeAxis.of_days(dt.date(2016, 1, 1), 366, BERLIN)


def cars(count: int, p_rated_mw: float = 0.011, e_rated_mwh: float = 0.014) -> pd.DataFrame:
    names = [f"electric_car {number}" for number in range(1, count + 1)]
    return pd.DataFrame({"p_rated_mw": p_rated_mw, "e_rated_mwh": e_rated_mwh}, index=names)


def one_session(arrival: str, departure: str, e_mwh: float) -> pd.DataFrame:
    stamps = {"arrival": [pd.Timestamp(arrival)], "departure": [pd.Timestamp(departure)]}
    return pd.DataFrame({"asset": ["electric_car 1"], **stamps, "e_mwh": [e_mwh]})


@pytest.fixture(scope="module")
def year() -> tuple[pd.DataFrame, pd.DataFrame]:
    sessions = draw_charging_sessions(cars(40), YEAR, seed=3)
    return sessions.declared, sessions.realised


def test_a_session_fills_whole_intervals_and_the_exact_part_of_the_last() -> None:
    axis = TimeAxis(pd.Timestamp("2016-01-04 16:00"), length=8)
    # arrives 5 min into an interval; 11 kW for 30 min are 5.5 kWh: 10 min, 15 min and 5 min of 11 kW
    p_mw = uncontrolled_charging(
        one_session("2016-01-04 16:20", "2016-01-04 18:00", 0.0055), axis, cars(1)["p_rated_mw"]
    )
    expected_kw = [0, 11 * 10 / 15, 11, 11 * 5 / 15, 0, 0, 0, 0]
    np.testing.assert_allclose(1000 * p_mw[:, 0], expected_kw, atol=1e-8)
    assert (p_mw[4:] == 0).all()


def test_only_the_part_inside_the_axis_counts() -> None:
    axis = TimeAxis(pd.Timestamp("2016-01-05 00:00"), length=4)
    # began an hour before the axis: 11 of 13.75 kWh are in, the last quarter of an hour is left
    p_mw = uncontrolled_charging(
        one_session("2016-01-04 23:00", "2016-01-05 06:00", 0.01375), axis, cars(1)["p_rated_mw"]
    )
    np.testing.assert_allclose(1000 * p_mw[:, 0], [11, 0, 0, 0], atol=1e-8)


def test_energy_of_the_profile_is_the_energy_of_the_sessions(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    realised = year[1]
    full = realised["arrival"] + pd.to_timedelta(realised["e_mwh"] / 0.011, unit="h")
    inside = realised[(realised["arrival"] >= YEAR.start) & (full <= YEAR.end)]
    p_mw = uncontrolled_charging(inside, YEAR, cars(40)["p_rated_mw"])
    per_car = inside.groupby("asset")["e_mwh"].sum().reindex(cars(40).index)
    # powers are rounded to 1e-12 MW
    np.testing.assert_allclose(p_mw.sum(axis=0) * YEAR.hours_per_step, per_car, atol=1e-8)
    assert p_mw.min() == 0.0
    assert p_mw.max() <= 0.011 + 1e-12


def test_sessions_of_a_car_never_overlap(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for table in year:
        assert (table["departure"] > table["arrival"]).all()
        same_car = table["asset"].eq(table["asset"].shift(-1))
        assert (table["departure"] <= table["arrival"].shift(-1))[same_car].all()


def test_energy_fits_between_arrival_and_departure(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for table in (*year, draw_charging_sessions(cars(5, p_rated_mw=0.0015), YEAR, seed=1).realised):
        p_mw = 0.011 if table is year[0] or table is year[1] else 0.0015
        dwell_h = (table["departure"] - table["arrival"]) / pd.Timedelta(hours=1)
        assert (table["e_mwh"] <= p_mw * dwell_h + 1e-12).all()
        assert (table["e_mwh"] > 0).all()


@pytest.mark.parametrize("day", [dt.date(2016, 3, 26), dt.date(2016, 10, 29)], ids=["92 quarter hours", "100"])
def test_wall_clock_hours_hold_over_a_clock_change(day: dt.date) -> None:
    axis = TimeAxis.of_days(day, 2, BERLIN)
    realised = draw_charging_sessions(cars(200), axis, seed=5).realised
    for column, window in (("arrival", ARRIVAL_WINDOW_H), ("departure", DEPARTURE_WINDOW_H)):
        local = to_local(pd.DatetimeIndex(realised[column]), BERLIN)
        hour = local.hour + local.minute / 60
        assert hour.min() >= window[0]
        assert hour.max() <= window[1]
    changed = to_local(pd.DatetimeIndex(realised["departure"]), BERLIN).date == day + dt.timedelta(days=1)
    assert changed.any()


def test_declared_and_realised_differ_as_people_do(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    declared, realised = (table.assign(day=to_local(pd.DatetimeIndex(table["arrival"]), BERLIN).date) for table in year)
    both = declared.merge(realised, on=["asset", "day"], how="outer", suffixes=("", "_real"), indicator=True)
    shares = both["_merge"].value_counts(normalize=True)
    # four in a hundred announced stay away, six in a hundred come unannounced; 8,800 sessions: 0.005 is two sigma
    assert shares["left_only"] == pytest.approx(0.04 * 0.94, abs=0.008)
    assert shares["right_only"] == pytest.approx(0.06, abs=0.008)
    pairs = both[both["_merge"] == "both"]
    late_h = (pairs["arrival_real"] - pairs["arrival"]) / pd.Timedelta(hours=1)
    assert late_h.std() == pytest.approx(0.6, abs=0.1)  # clipping to the window narrows it a little
    assert (pairs["arrival"].dt.minute % 15 == 0).all()


def test_sessions_are_more_frequent_on_working_days(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    weekday = to_local(pd.DatetimeIndex(year[1]["arrival"]), BERLIN).dayofweek
    per_day = pd.Series(weekday).value_counts() / (40 * 366 / 7)
    assert per_day[:5].loc[[0, 1, 2, 3, 4]].mean() == pytest.approx(0.60 * 0.96, abs=0.02)
    assert per_day.loc[[5, 6]].mean() == pytest.approx(0.45 * 0.96, abs=0.02)


def test_the_mean_energy_is_the_declared_one(year: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    # sigma of a session 7.5 kWh, 8,800 sessions: 0.08 kWh is one sigma of the mean
    assert 1000 * year[1]["e_mwh"].mean() == pytest.approx(14.0, abs=0.3)


def test_another_car_or_a_longer_axis_changes_nothing() -> None:
    short = TimeAxis.of_days(dt.date(2016, 5, 2), 10, BERLIN)
    long = TimeAxis.of_days(dt.date(2016, 5, 2), 20, BERLIN)
    few, many = (draw_charging_sessions(cars(n), short, seed=9).realised for n in (3, 6))
    pd.testing.assert_frame_equal(few, many[many["asset"].isin(cars(3).index)].reset_index(drop=True))
    longer = draw_charging_sessions(cars(3), long, seed=9).realised
    pd.testing.assert_frame_equal(few, longer[longer["arrival"] < short.end].reset_index(drop=True))


def test_the_seed_decides() -> None:
    axis = TimeAxis.of_days(dt.date(2016, 5, 2), 10, BERLIN)
    first, again, other = (draw_charging_sessions(cars(3), axis, seed=seed).declared for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_no_cars_and_empty_days_give_empty_tables() -> None:
    axis = TimeAxis.of_days(dt.date(2016, 5, 2), 1, BERLIN)
    none = draw_charging_sessions(cars(0), axis, seed=1)
    assert list(none.realised.columns) == ["asset", "arrival", "departure", "e_mwh"]
    assert uncontrolled_charging(empty_sessions(), axis, cars(2)["p_rated_mw"]).sum() == 0
    # one car, one day: for some seed nobody plugs in at all
    tables = [draw_charging_sessions(cars(1), axis, seed=seed).realised for seed in range(20)]
    assert min(len(table) for table in tables) == 0


def test_a_car_without_session_energy_is_named() -> None:
    axis = TimeAxis.of_days(dt.date(2016, 5, 2), 1, BERLIN)
    with pytest.raises(DataError, match=r"electric_car 1.*Give `kw` and `kwh`"):
        draw_charging_sessions(cars(1, e_rated_mwh=float("nan")), axis, seed=1)


def test_sessions_of_an_unknown_car_are_refused() -> None:
    axis = TimeAxis(pd.Timestamp("2016-01-04 16:00"), length=8)
    table = one_session("2016-01-04 16:20", "2016-01-04 18:00", 0.005)
    with pytest.raises(DataError, match="electric_car 1"):
        uncontrolled_charging(table, axis, pd.Series({"another car": 0.011}))
