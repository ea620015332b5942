"""Random charging sessions of private cars at home, and what they draw when nobody schedules them.

A session table has one row per session: `asset, arrival, departure, e_mwh`, with
naive UTC stamps, sorted by asset and arrival. There are two of them: *declared*,
what the owners announced, and *realised*, what came of it. The numbers below are
assumptions where no source is named; every profile made from them is marked
`pseudo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from zlib import crc32

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding
from gridtwin.time_axis import TimeAxis

SESSION_COLUMNS = ["asset", "arrival", "departure", "e_mwh"]
"""Columns of a session table."""

PLUG_IN_SHARE = {"working day": 0.60, "weekend": 0.45}
"""Share of days with a session. With 14 kWh a session 7.8 kWh a day, about 14,000 km a year at 0.2 kWh/km,
a German private car (Mobilität in Deutschland 2017, BMVI 2018). [-]"""
ARRIVAL_HOUR = {"working day": (17.75, 1.6), "weekend": (16.5, 2.6)}
"""Mean and standard deviation of the local time of plugging in; the last way home of a working day in
Mobilität in Deutschland 2017 peaks between 16 and 19 h. Spread assumed. [h]"""
DEPARTURE_HOUR = {"working day": (7.4, 0.9), "weekend": (9.5, 1.3)}
"""Mean and standard deviation of the local time of leaving on the next day; assumed. [h]"""
ENERGY_SIGMA = 0.5
"""Standard deviation of the logarithm of a session's energy; workplace sessions (ACN-Data, Caltech, 2021) have
about 0.8, private cars with one habit fewer extremes. Assumed. [-]"""

ARRIVAL_JITTER_H = 0.6
"""Standard deviation of realised minus announced arrival; assumed. [h]"""
DEPARTURE_JITTER_H = 0.4
"""Standard deviation of realised minus announced departure; assumed. App users at work err by several hours
(Z. J. Lee et al., ACN-Data, ACM e-Energy 2019), people leaving home for work by less. [h]"""
ENERGY_ERROR_SIGMA = 0.2
"""Standard deviation of the logarithm of realised by announced energy; assumed. [-]"""
NO_SHOW_SHARE = 0.04
"""Announced sessions that never come; assumed. [-]"""
UNANNOUNCED_SHARE = 0.06
"""Sessions that nobody announced; assumed. [-]"""

ARRIVAL_WINDOW_H = (12.0, 23.75)
"""Earliest and latest arrival, local time. [h]"""
DEPARTURE_WINDOW_H = (4.0, 11.75)
"""Earliest and latest departure on the next day, local time. It closes before the next arrival window opens,
so that sessions of one car cannot overlap; both avoid the hours in which clocks are changed. [h]"""


@dataclass(frozen=True)
class ChargingSessions:
    """Sessions of several cars.

    Parameters
    ----------
    declared : DataFrame
        What the owners announced, in full quarter hours.
    realised : DataFrame
        What came of it, in full minutes.
    """

    declared: pd.DataFrame
    realised: pd.DataFrame


def draw_charging_sessions(cars: pd.DataFrame, axis: TimeAxis, *, seed: int) -> ChargingSessions:
    """Random sessions of every car on every local day that the axis touches.

    Sessions that begin before the axis or end after it are kept whole. A car's
    sessions depend on its name, the seed and the first day alone, so that another
    car more or a longer axis changes nothing.

    Parameters
    ----------
    cars : DataFrame
        Index: asset names; columns `p_rated_mw` and `e_rated_mwh` (mean energy
        of a session). [MW], [MWh]
    axis : TimeAxis
        Days to fill; its zone defines local time.
    seed : int
        Seed of the scenario.

    Raises
    ------
    DataError
        If a car lacks its rated power or its mean session energy.
    """
    _check_cars(cars)
    days = days_of(axis)
    drawn = [
        _draw_car(str(name), days, axis.zone, p_rated_mw, e_rated_mwh, seed)
        for name, p_rated_mw, e_rated_mwh in zip(cars.index, cars["p_rated_mw"], cars["e_rated_mwh"], strict=True)
    ]
    declared = _join_tables([car.declared for car in drawn], axis)
    realised = _join_tables([car.realised for car in drawn], axis)
    return ChargingSessions(declared, realised)


def uncontrolled_charging(sessions: pd.DataFrame, axis: TimeAxis, p_rated_mw: pd.Series) -> np.ndarray:
    """Charging at rated power from arrival until full, as interval means.

    Parameters
    ----------
    sessions : DataFrame
        Session table; sessions partly outside the axis count with the part inside.
    axis : TimeAxis
        Intervals.
    p_rated_mw : Series
        Rated power; its index gives the order of the cars. [MW]

    Returns
    -------
    ndarray, (time, asset)
        Mean power of each interval, consumption positive. [MW]

    Notes
    -----
    Power steps up at arrival and down when the energy is in. A step at a
    fraction f of an interval counts 1 - f there and fully from the next on, so
    that energy is exact in partly used intervals too.
    """
    column = p_rated_mw.index.get_indexer(pd.Index(sessions["asset"]))
    if (column < 0).any():
        unknown = sorted(set(sessions["asset"][column < 0]))
        raise DataError([Finding("sessions of unknown cars", got=", ".join(unknown[:5]), severity="error")])
    power = p_rated_mw.to_numpy(dtype=float)[column]
    arrival = _hours_since(sessions["arrival"], axis.start) / axis.hours_per_step
    full = arrival + sessions["e_mwh"].to_numpy(dtype=float) / power / axis.hours_per_step
    steps = np.zeros((axis.length + 2, len(p_rated_mw)))
    _add_steps(steps, column, arrival, power)
    _add_steps(steps, column, full, -power)
    p_mw = np.cumsum(steps[: axis.length], axis=0)
    # summing leaves 1e-17 behind a finished session, which must be exactly idle
    return np.clip(np.round(p_mw, 12), 0.0, None)


def utc_of_hours(days: pd.DatetimeIndex, hours: np.ndarray, zone: str, rounding: str) -> pd.DatetimeIndex:
    """Naive UTC of a local wall-clock hour of each day, rounded.

    Parameters
    ----------
    days : DatetimeIndex, (day,)
        Naive local midnights.
    hours : ndarray, (day,)
        Wall-clock hours; an hour that a clock change skips moves forward, one
        that it repeats is the first of the two. [h]
    zone : str
        IANA zone.
    rounding : str
        Frequency to round to, such as `15min`.
    """
    local = (days + pd.to_timedelta(hours, unit="h")).round(rounding)
    earlier = np.ones(len(local), dtype=bool)
    aware = local.tz_localize(zone, ambiguous=earlier, nonexistent="shift_forward")
    return pd.DatetimeIndex(aware.tz_convert("UTC").tz_localize(None)).as_unit("ns")


def spawn_generator(seed: int, purpose: int, name: str) -> np.random.Generator:
    """Random numbers of one device, independent of every other name and purpose."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, crc32(name.encode()))))


def empty_sessions() -> pd.DataFrame:
    """Session table without rows."""
    stamps = pd.DatetimeIndex([], dtype="datetime64[ns]")
    return pd.DataFrame({"asset": pd.Series([], dtype=object), "arrival": stamps, "departure": stamps, "e_mwh": []})


def _check_cars(cars: pd.DataFrame) -> None:
    values = cars[["p_rated_mw", "e_rated_mwh"]].to_numpy(dtype=float)
    lacking = cars.index[np.asarray(~(values > 0).all(axis=1))]
    if len(lacking):
        raise DataError(
            [
                Finding(
                    "electric cars lack rated power or mean session energy",
                    expected="p_rated_mw and e_rated_mwh above 0",
                    got=", ".join(map(str, lacking[:5])),
                    do="Give `kw` and `kwh` in [[growth]].",
                    severity="error",
                )
            ]
        )


def days_of(axis: TimeAxis) -> pd.DatetimeIndex:
    """Local midnights (naive) of all days touched, from the day before on: its cars may still be plugged in."""
    local = axis.local_times.tz_localize(None).normalize()
    return pd.date_range(local[0] - pd.Timedelta(days=1), local[-1], freq="D")


@dataclass(frozen=True)
class _Plan:
    """One habit per day: local arrival and next-day departure hour, energy. (day,) each. [h], [MWh]"""

    arrival_h: np.ndarray
    departure_h: np.ndarray
    e_mwh: np.ndarray


def _draw_car(
    name: str, days: pd.DatetimeIndex, zone: str, p_rated_mw: float, e_rated_mwh: float, seed: int
) -> ChargingSessions:
    # one row of draws per day: a longer axis then keeps the days that were there
    z = spawn_generator(seed, 1, name).standard_normal((len(days), 9))
    plan = _plan_days(days, z[:, 0:3], e_rated_mwh)
    came = _deviate(plan, z[:, 3:6])
    plugged = z[:, 6] < _by_day_type(days, {key: NormalDist().inv_cdf(p) for key, p in PLUG_IN_SHARE.items()})
    announced = plugged & (z[:, 7] > NormalDist().inv_cdf(UNANNOUNCED_SHARE))
    # what nobody announced is known only because it happened
    shows_up = plugged & ((z[:, 8] > NormalDist().inv_cdf(NO_SHOW_SHARE)) | ~announced)
    declared = _table_of(name, days, zone, plan, p_rated_mw, "15min")
    realised = _table_of(name, days, zone, came, p_rated_mw, "1min")
    return ChargingSessions(declared[announced], realised[shows_up])


def _plan_days(days: pd.DatetimeIndex, z: np.ndarray, e_rated_mwh: float) -> _Plan:
    arrival_mean, arrival_sd = (_by_day_type(days, {k: v[i] for k, v in ARRIVAL_HOUR.items()}) for i in (0, 1))
    next_days = days + pd.Timedelta(days=1)
    leave_mean, leave_sd = (_by_day_type(next_days, {k: v[i] for k, v in DEPARTURE_HOUR.items()}) for i in (0, 1))
    e_mwh = e_rated_mwh * np.exp(ENERGY_SIGMA * z[:, 2] - ENERGY_SIGMA**2 / 2)
    return _Plan(arrival_mean + arrival_sd * z[:, 0], leave_mean + leave_sd * z[:, 1], e_mwh)


def _deviate(plan: _Plan, z: np.ndarray) -> _Plan:
    return _Plan(
        plan.arrival_h + ARRIVAL_JITTER_H * z[:, 0],
        plan.departure_h + DEPARTURE_JITTER_H * z[:, 1],
        plan.e_mwh * np.exp(ENERGY_ERROR_SIGMA * z[:, 2] - ENERGY_ERROR_SIGMA**2 / 2),
    )


def _by_day_type(days: pd.DatetimeIndex, values: dict[str, float]) -> np.ndarray:
    return np.where(days.dayofweek < 5, values["working day"], values["weekend"])


def _table_of(
    name: str, days: pd.DatetimeIndex, zone: str, plan: _Plan, p_rated_mw: float, rounding: str
) -> pd.DataFrame:
    """One row per day; energy is limited to what rated power brings between arrival and departure."""
    arrival = utc_of_hours(days, np.clip(plan.arrival_h, *ARRIVAL_WINDOW_H), zone, rounding)
    next_days = days + pd.Timedelta(days=1)
    departure = utc_of_hours(next_days, np.clip(plan.departure_h, *DEPARTURE_WINDOW_H), zone, rounding)
    dwell_h = (departure - arrival) / pd.Timedelta(hours=1)
    e_mwh = np.minimum(plan.e_mwh, p_rated_mw * np.asarray(dwell_h, dtype=float))
    return pd.DataFrame({"asset": name, "arrival": arrival, "departure": departure, "e_mwh": e_mwh})


def _join_tables(tables: list[pd.DataFrame], axis: TimeAxis) -> pd.DataFrame:
    if not tables:
        return empty_sessions()
    table = pd.concat(tables, ignore_index=True)
    touches = (table["departure"] > axis.start) & (table["arrival"] < axis.end)
    return table[touches].sort_values(["asset", "arrival"], ignore_index=True)


def _hours_since(stamps: pd.Series, start: pd.Timestamp) -> np.ndarray:
    return np.asarray((stamps - start) / pd.Timedelta(hours=1), dtype=float)


def _add_steps(steps: np.ndarray, column: np.ndarray, position: np.ndarray, height: np.ndarray) -> None:
    """Add a step of `height` at each fractional `position` to the differences of interval means."""
    position = np.clip(position, 0.0, len(steps) - 2)
    row = np.floor(position).astype(int)
    fraction = position - row
    np.add.at(steps, (row, column), height * (1 - fraction))
    np.add.at(steps, (row + 1, column), height * fraction)
