"""The UTC time axis and its local days.

Inside gridtwin a time is a `datetime64[ns]` in UTC and stands for the interval
that *starts* there. Local time appears in readers, calendar features and reports
only. A local day has 92, 96 or 100 quarter hours.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding

QUARTER_HOUR = pd.Timedelta(minutes=15)


@dataclass(frozen=True)
class TimeAxis:
    """A gap-free axis of equal intervals.

    Parameters
    ----------
    start : Timestamp
        Start of the first interval, UTC without zone information.
    step : Timedelta
        Length of one interval.
    length : int
        Number of intervals.
    zone : str
        IANA name of the zone that defines local days.
    """

    start: pd.Timestamp
    step: pd.Timedelta = QUARTER_HOUR
    length: int = 96
    zone: str = "Europe/Berlin"

    @property
    def times(self) -> pd.DatetimeIndex:
        """Interval starts, UTC, `datetime64[ns]` without zone."""
        return pd.date_range(self.start, periods=self.length, freq=self.step, unit="ns", name="time")

    @property
    def end(self) -> pd.Timestamp:
        """End of the last interval (excluded)."""
        return self.start + self.length * self.step

    @property
    def hours_per_step(self) -> float:
        """Length of one interval. [h]"""
        return float(self.step / pd.Timedelta(hours=1))

    @property
    def local_times(self) -> pd.DatetimeIndex:
        """Interval starts in local time, zone-aware."""
        return to_local(self.times, self.zone)

    @property
    def local_days(self) -> list[dt.date]:
        """Local days that lie wholly on the axis."""
        dates = pd.Index(self.local_times.date).unique()
        return [day for day in dates if self.start <= utc_of_day(day, self.zone) and self._holds_end_of(day)]

    @property
    def day_slices(self) -> list[slice]:
        """Steps of each local day, 92 to 100 quarter hours; a part of a day counts as one."""
        dates = self.local_times.date
        starts = [0, *(np.flatnonzero(dates[1:] != dates[:-1]) + 1).tolist(), self.length]
        return [slice(first, end) for first, end in pairwise(starts)]

    def _holds_end_of(self, day: dt.date) -> bool:
        return utc_of_day(day + dt.timedelta(days=1), self.zone) <= self.end

    @staticmethod
    def of_days(first: dt.date, days: int, zone: str, step: pd.Timedelta = QUARTER_HOUR) -> TimeAxis:
        """Axis over `days` local days from `first` on, 92 to 100 quarter hours each.

        >>> TimeAxis.of_days(dt.date(2016, 3, 27), 1, "Europe/Berlin").length
        92
        """
        start = utc_of_day(first, zone)
        end = utc_of_day(first + dt.timedelta(days=days), zone)
        return TimeAxis(start, step, round((end - start) / step), zone)

    @staticmethod
    def of_index(times: pd.DatetimeIndex, zone: str) -> TimeAxis:
        """Axis behind a regular UTC index; raises `DataError` at the first gap or repeat."""
        times = pd.DatetimeIndex(times)
        if len(times) < 2:
            raise DataError([Finding("a time axis needs at least two stamps", got=str(len(times)), severity="error")])
        steps = np.diff(times.to_numpy())
        step = pd.Timedelta(steps[0])
        irregular = np.flatnonzero(steps != step.to_timedelta64())
        if len(irregular):
            row = int(irregular[0])
            raise DataError(
                [
                    Finding(
                        f"the time axis is irregular after row {row} ({times[row]} UTC)",
                        expected=f"a step of {step}",
                        got=str(times[row + 1] - times[row]),
                        do="Fill or remove the rows, with a quality code.",
                        severity="error",
                        code="GT-D01",
                    )
                ]
            )
        return TimeAxis(times[0], step, len(times), zone)


def utc_of_day(day: dt.date, zone: str) -> pd.Timestamp:
    """UTC instant at which a local day begins (without zone information)."""
    return utc_of_local(dt.datetime.combine(day, dt.time()), zone)


def utc_of_local(moment: dt.datetime, zone: str) -> pd.Timestamp:
    """UTC instant of a naive local wall-clock time; the first of two in autumn."""
    aware = moment.replace(tzinfo=ZoneInfo(zone))
    return pd.Timestamp(aware).tz_convert("UTC").tz_localize(None)


def to_local(times: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Zone-aware local view of naive UTC times."""
    return pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(zone)


def to_utc(
    stamps: pd.DatetimeIndex, zone: str, *, step: pd.Timedelta, label: Literal["start", "end"] = "start"
) -> pd.DatetimeIndex:
    """Naive UTC interval starts from naive local (or zone-aware) stamps.

    The repeated hour in autumn is told apart by the order of the rows.

    Parameters
    ----------
    stamps : DatetimeIndex
        As they stand in the file, in file order.
    zone : str
        IANA zone of naive stamps.
    step : Timedelta
        Interval length; an `end` label is moved back by it.
    label : {"start", "end"}
        Which side of the interval a stamp names.

    Raises
    ------
    DataError
        If a stamp does not exist in the zone (spring) or the repeated hour
        cannot be told apart (autumn).
    """
    try:
        aware = stamps.tz_localize(zone, ambiguous="infer") if stamps.tz is None else stamps
    except Exception as error:  # pandas raises ValueError or a zone library's own errors
        raise DataError(
            [
                Finding(
                    f"local stamps do not fit zone {zone}: {error}",
                    severity="error",
                    code="GT-D02",
                    expected="every local stamp to exist, and the repeated autumn hour twice, in order",
                    do="Give the file's zone, or write it in UTC.",
                )
            ]
        ) from error
    utc = aware.tz_convert("UTC").tz_localize(None).as_unit("ns")
    return utc - step if label == "end" else utc
