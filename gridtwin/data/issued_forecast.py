"""What others forecast, of the weather or of assets, as it stood when each day's own forecast was issued."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd

from gridtwin.data.series_file import ESTIMATED, SUBSTITUTED, Series, to_series, to_times, utc_stamps
from gridtwin.data.series_table import FileReader, need_column, path_of, read_table
from gridtwin.errors import Finding
from gridtwin.scenario import IssuedForecast
from gridtwin.time_axis import TimeAxis, utc_of_local

KNOWN_AT_ISSUE = "GT-D46"
"""Code of the finding that a forecast without issue times is taken as known."""


def read_issued_forecast(section: IssuedForecast, axis: TimeAxis, base: Path = Path(), *, issue: dt.time) -> Series:
    """All columns of a file of forecasts, for each local day the values issued last before its own issue.

    Parameters
    ----------
    section : IssuedForecast
        What the user declares; a time may stand several times, once per issue.
    axis : TimeAxis
        Axis of the result; every interval must lie within what was issued in time.
    base : path
        Folder of relative paths.
    issue : time
        Local time on the day before at which the forecasts that use these are issued.

    Returns
    -------
    Series
        Values in the unit of the file, and a finding where no issue time is declared:
        scores with such values are an upper bound.

    Raises
    ------
    DataError
        If a value on the axis was not issued in time.
    """
    reader = FileReader(section, path_of(section, base))
    table = read_table(reader)
    if section.issued_column:
        need_column(reader, table, section.issued_column)
        table = _issued_in_time(reader, table, axis.zone, issue)
    else:
        _tell_known(reader)
    # neither lines between hours nor fillings: both would take values of the next day, which are issued later
    series = to_series(reader, table, axis, None, hold=True)
    _refuse_filled(reader, series)
    return series


def _refuse_filled(reader: FileReader, series: Series) -> None:
    filled = np.isin(series.quality.to_numpy(), (SUBSTITUTED, ESTIMATED))
    if filled.any():
        row, column = (int(place[0]) for place in np.nonzero(filled))
        reader.fail(
            f"{int(filled.sum())} values are missing or were not issued in time",
            at=f"column {series.values.columns[column]}",
            got=f"first missing at {series.values.index[row]} UTC",
            do="A value for a day may not be taken from a later issue: give what was known.",
            code="GT-D47",
        )


def _issued_in_time(reader: FileReader, table: pd.DataFrame, zone: str, issue: dt.time) -> pd.DataFrame:
    """The rows issued last before the issue of their own day, without the column of issue times."""
    section = reader.section
    assert isinstance(section, IssuedForecast)
    valid, _ = to_times(reader, table[section.time_column])
    issued = utc_stamps(reader, table[section.issued_column], section.issued_column)
    in_time = np.asarray(issued <= latest_issues(valid, zone, issue))
    if not in_time.any():
        reader.fail(
            "no value was issued in time",
            at=f"column {section.issued_column}",
            expected=f"issued before {issue:%H:%M} of the day before ({zone})",
            got=f"first value for {valid[0]} UTC, issued {issued[0]} UTC",
            code="GT-D45",
        )
    order = np.lexsort((issued, valid))
    order = order[in_time[order]]
    last = np.append(valid[order][1:] != valid[order][:-1], True)
    chosen: pd.DataFrame = table.iloc[order[last]].drop(columns=section.issued_column)
    return chosen


def latest_issues(times: pd.DatetimeIndex, zone: str, issue: dt.time) -> pd.DatetimeIndex:
    """UTC instant at which the forecast of each time's local day is issued.

    >>> latest_issues(pd.DatetimeIndex(["2016-07-02 21:30", "2016-07-02 22:00"]), "Europe/Berlin", dt.time(12)).hour
    Index([10, 10], dtype='int32')
    """
    days = pd.Index(times.tz_localize("UTC").tz_convert(zone).date)
    known = {day: utc_of_local(dt.datetime.combine(day - dt.timedelta(days=1), issue), zone) for day in days.unique()}
    return pd.DatetimeIndex([known[day] for day in days])


def _tell_known(reader: FileReader) -> None:
    reader.findings.append(
        Finding(
            "a forecast by others without issue times is taken as known when ours is issued",
            where=str(reader.file),
            do="Name the column of issue times in issued_column; until then scores are an upper bound.",
            severity="warning",
            code=KNOWN_AT_ISSUE,
        )
    )
