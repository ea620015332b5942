"""Forecasts by others that a scenario names: of the weather, and of assets of the twin."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from gridtwin.data.issued_forecast import read_issued_forecast
from gridtwin.data.series_file import Series
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.history import history_length
from gridtwin.grid.reading import Reading
from gridtwin.scenario import Forecast, IssuedForecast
from gridtwin.time_axis import TimeAxis


def read_issued(
    reading: Reading,
    key: str,
    horizon: TimeAxis | None,
    *,
    issue: dt.time,
    folder: Path,
    sections: Sequence[IssuedForecast],
) -> list[Series]:
    """Files of forecasts by others over the history and the studied days; faults are kept by `reading`."""
    if horizon is None:
        return []
    read = [
        reading(f"{key}.{number}.file", partial(read_issued_forecast, section, horizon, folder, issue=issue))
        for number, section in enumerate(sections)
    ]
    return [series for series in read if series is not None]


def forecast_axis(axis: TimeAxis, studied: TimeAxis, forecast: Forecast) -> TimeAxis:
    """History, day of the first issue and studied days."""
    days = studied.local_days
    first = days[0] - dt.timedelta(days=history_length(axis.start, days, forecast, zone=axis.zone) + 1)
    return TimeAxis.of_days(first, (days[-1] - first).days + 1, axis.zone, axis.step)


def check_given(assets: pd.Index, given: Sequence[Series]) -> None:
    """Raise `DataError` unless every column of the given forecasts names one asset, and none twice."""
    names = [str(column) for series in given for column in series.values]
    wrong = [name for name in names if name not in assets or names.count(name) > 1]
    if wrong:
        near = difflib.get_close_matches(wrong[0], assets.astype(str), n=1)
        what = "a given forecast names no asset, or one that another column names too"
        do = f"Did you mean {near[0]}?" if near else ""
        raise DataError([Finding(what, got=wrong[0], do=do, severity="error", code="GT-D48")])


def check_once(files: Sequence[Series]) -> None:
    """Raise `DataError` if two files have a column of the same name."""
    names = [str(column) for series in files for column in series.values]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        what = "two files of forecast weather have columns of the same name"
        raise DataError([Finding(what, got=", ".join(twice), do="Rename one.", severity="error", code="GT-D49")])


def side_by_side(files: Sequence[Series]) -> pd.DataFrame | None:
    """All columns of the files, (time, column); None without a file."""
    return pd.concat([series.values for series in files], axis=1) if files else None
