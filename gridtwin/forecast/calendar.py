"""Local calendar of the series: days, clock slots, holidays and the sun.

A local day is cut into clock slots (96 quarter hours). Days of 23 or 25 hours keep
the slots of the wall clock: in spring four slots have no value, in autumn the
first of the two passes fills them, so that nothing later can reach back.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.data.solar_irradiance import solar_position
from gridtwin.errors import DataError, Finding
from gridtwin.time_axis import TimeAxis, utc_of_local

DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Place:
    """Country of the holidays and middle of the country for the sun."""

    country: str
    latitude_degree: float
    longitude_degree: float


PLACES: dict[str, Place] = {
    "America/Chicago": Place("US", 38.5, -93.0),
    "America/Denver": Place("US", 40.0, -107.5),
    "America/Los_Angeles": Place("US", 37.5, -120.0),
    "America/New_York": Place("US", 40.5, -77.5),
    "America/Phoenix": Place("US", 33.6, -112.0),
    "America/Sao_Paulo": Place("BR", -20.5, -46.5),
    "America/Toronto": Place("CA", 45.0, -78.5),
    "Asia/Jerusalem": Place("IL", 31.6, 34.9),
    "Asia/Kolkata": Place("IN", 22.5, 79.0),
    "Asia/Nicosia": Place("CY", 35.0, 33.0),
    "Asia/Seoul": Place("KR", 36.4, 127.8),
    "Asia/Shanghai": Place("CN", 33.0, 112.0),
    "Asia/Singapore": Place("SG", 1.35, 103.8),
    "Asia/Taipei": Place("TW", 23.8, 121.0),
    "Asia/Tokyo": Place("JP", 36.0, 138.0),
    "Atlantic/Reykjavik": Place("IS", 64.9, -18.6),
    "Australia/Brisbane": Place("AU", -25.0, 151.5),
    "Australia/Melbourne": Place("AU", -37.3, 144.7),
    "Australia/Sydney": Place("AU", -33.2, 150.0),
    "Europe/Amsterdam": Place("NL", 52.2, 5.3),
    "Europe/Athens": Place("GR", 39.1, 22.9),
    "Europe/Belgrade": Place("RS", 44.2, 20.8),
    "Europe/Berlin": Place("DE", 51.2, 10.4),
    "Europe/Bratislava": Place("SK", 48.7, 19.5),
    "Europe/Brussels": Place("BE", 50.6, 4.7),
    "Europe/Bucharest": Place("RO", 45.9, 25.0),
    "Europe/Budapest": Place("HU", 47.2, 19.5),
    "Europe/Chisinau": Place("MD", 47.2, 28.5),
    "Europe/Copenhagen": Place("DK", 56.0, 10.0),
    "Europe/Dublin": Place("IE", 53.2, -8.2),
    "Europe/Helsinki": Place("FI", 62.0, 26.0),
    "Europe/Istanbul": Place("TR", 39.1, 35.4),
    "Europe/Kyiv": Place("UA", 49.0, 31.4),
    "Europe/Lisbon": Place("PT", 39.6, -8.5),
    "Europe/Ljubljana": Place("SI", 46.1, 14.8),
    "Europe/London": Place("GB", 52.7, -1.6),
    "Europe/Luxembourg": Place("LU", 49.8, 6.1),
    "Europe/Madrid": Place("ES", 40.2, -3.6),
    "Europe/Malta": Place("MT", 35.9, 14.4),
    "Europe/Oslo": Place("NO", 61.0, 9.5),
    "Europe/Paris": Place("FR", 46.6, 2.5),
    "Europe/Podgorica": Place("ME", 42.8, 19.2),
    "Europe/Prague": Place("CZ", 49.8, 15.5),
    "Europe/Riga": Place("LV", 56.9, 24.9),
    "Europe/Rome": Place("IT", 42.8, 12.1),
    "Europe/Sarajevo": Place("BA", 44.2, 17.8),
    "Europe/Skopje": Place("MK", 41.6, 21.7),
    "Europe/Sofia": Place("BG", 42.8, 25.2),
    "Europe/Stockholm": Place("SE", 60.0, 15.5),
    "Europe/Tallinn": Place("EE", 58.7, 25.5),
    "Europe/Tirane": Place("AL", 41.1, 20.1),
    "Europe/Vaduz": Place("LI", 47.1, 9.6),
    "Europe/Vienna": Place("AT", 47.6, 14.1),
    "Europe/Vilnius": Place("LT", 55.3, 23.9),
    "Europe/Warsaw": Place("PL", 52.1, 19.4),
    "Europe/Zagreb": Place("HR", 45.4, 16.4),
    "Europe/Zurich": Place("CH", 46.8, 8.2),
    "Pacific/Auckland": Place("NZ", -39.5, 175.5),
}
"""IANA zone -> place, of a country with several zones the middle of its people there. Holidays are those of the whole
country. Series of another zone are forecast without holidays and without the sun."""


@dataclass(frozen=True)
class ClockGrid:
    """Local day and clock slot of every step of a run of local days.

    Parameters
    ----------
    axis : TimeAxis
        Whole local days.
    dates : tuple of date
        The local days.
    day, slot : ndarray of int, (time,)
        Position in `dates` and slot of the wall clock.
    slots : int
        Slots per day, 96 for quarter hours.
    """

    axis: TimeAxis
    dates: tuple[dt.date, ...]
    day: np.ndarray
    slot: np.ndarray
    slots: int

    @staticmethod
    def of_days(first: dt.date, days: int, zone: str, step: pd.Timedelta) -> ClockGrid:
        """Grid over `days` local days from `first` on.

        >>> ClockGrid.of_days(dt.date(2016, 3, 27), 1, "Europe/Berlin", pd.Timedelta("15min")).slot[7:9].tolist()
        [7, 12]
        """
        if DAY % step != pd.Timedelta(0) or step > DAY / 2:
            raise DataError([Finding("the step does not divide a day", got=str(step), severity="error")])
        axis = TimeAxis.of_days(first, days, zone, step)
        wall = axis.local_times.tz_localize(None)
        dates = tuple(first + dt.timedelta(days=number) for number in range(days))
        day = np.asarray((wall.normalize() - pd.Timestamp(first)) // DAY, dtype=int)
        slot = np.asarray((wall - wall.normalize()) // step, dtype=int)
        return ClockGrid(axis, dates, day, slot, int(DAY / step))

    def to_cube(self, values: np.ndarray) -> np.ndarray:
        """(time, ...) -> (day, slot, ...), NaN where the clock skips a slot, the first pass of a repeated hour."""
        cube = np.full((len(self.dates), self.slots, *values.shape[1:]), np.nan, dtype=values.dtype)
        _, first = np.unique(self.day * self.slots + self.slot, return_index=True)
        cube[self.day[first], self.slot[first]] = values[first]
        return cube

    def without_skips(self, cube: np.ndarray) -> np.ndarray:
        """(day, slot, ...) with slots that the clock skips repeating the slot before, across midnight too."""
        flat = cube.reshape(len(self.dates) * self.slots, -1)
        there = np.isfinite(flat)
        last = np.maximum.accumulate(np.where(there, np.arange(len(flat))[:, np.newaxis], 0), axis=0)
        return np.asarray(np.take_along_axis(flat, last, axis=0).reshape(cube.shape))

    def to_steps(self, cube: np.ndarray, first_day: int = 0) -> np.ndarray:
        """(day, slot, ...) -> (time, ...) for the days from `first_day` on."""
        chosen = self.steps_from(first_day)
        return np.asarray(cube[self.day[chosen] - first_day, self.slot[chosen]])

    def steps_from(self, first_day: int) -> slice:
        """Steps of the days from position `first_day` on."""
        return slice(int(np.searchsorted(self.day, first_day)), None)

    def issue_times(self, issue: dt.time) -> pd.DatetimeIndex:
        """UTC instant at which the forecast for each local day is issued: `issue` of the day before."""
        evenings = [dt.datetime.combine(day - dt.timedelta(days=1), issue) for day in self.dates]
        return pd.DatetimeIndex([utc_of_local(moment, self.axis.zone) for moment in evenings]).as_unit("ns")

    def slots_known_at(self, issue: dt.time) -> int:
        """Slots of the issue day that have ended by the wall clock at issue."""
        since_midnight = dt.datetime.combine(dt.date.min, issue) - dt.datetime.combine(dt.date.min, dt.time())
        return int(since_midnight / self.axis.step)


def holiday_flags(dates: tuple[dt.date, ...], zone: str) -> np.ndarray:
    """Whether each local day is a national holiday, (day,)."""
    place = PLACES.get(zone)
    if place is None:
        return np.zeros(len(dates), dtype=bool)
    import holidays

    years = {day.year for day in dates}
    national = holidays.country_holidays(place.country, years=years)
    return np.array([day in national for day in dates])


def free_day_flags(dates: tuple[dt.date, ...], zone: str) -> np.ndarray:
    """Whether each local day is a weekend day or a holiday, (day,)."""
    weekend = np.array([day.weekday() >= 5 for day in dates])
    return np.asarray(weekend | holiday_flags(dates, zone))


def sun_elevation_degree(axis: TimeAxis) -> np.ndarray:
    """Elevation of the sun at the middle of each step, (time,); NaN for a zone without a place. [°]"""
    return sun_elevation_at(axis.times, axis.step, axis.zone)


def sun_elevation_at(times: pd.DatetimeIndex, step: pd.Timedelta, zone: str) -> np.ndarray:
    """Elevation of the sun at the middle of steps that need not follow each other, (time,). [°]"""
    place = PLACES.get(zone)
    if place is None:
        return np.full(len(times), np.nan)
    sun = solar_position(times + step / 2, place.latitude_degree, place.longitude_degree)
    return np.asarray(np.degrees(np.arcsin(sun.cos_zenith)))
