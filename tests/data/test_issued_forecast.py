"""Forecast weather: of several issues the last one in time counts, and what comes too late is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.data.issued_forecast import KNOWN_AT_ISSUE, latest_issues, read_issued_forecast
from gridtwin.errors import DataError
from gridtwin.scenario import IssuedForecast
from gridtwin.time_axis import TimeAxis

ZONE, NOON = "Europe/Berlin", dt.time(12)
AXIS = TimeAxis.of_days(dt.date(2016, 3, 26), 3, ZONE)


def runs_of(folder: Path, issued_hours_utc: tuple[int, ...]) -> IssuedForecast:
    """One run at each of these hours of every day, hourly values for the next two days; a value names its run."""
    rows = []
    for day in pd.date_range("2016-03-24", "2016-03-28"):
        for hour in issued_hours_utc:
            issued = day + pd.Timedelta(hours=hour)
            times = pd.date_range(issued.normalize(), periods=72, freq="h")
            rows.append(pd.DataFrame({"time": times, "issued": issued, "ghi": issued.day + issued.hour / 100}))
    pd.concat(rows).to_csv(folder / "nwp.csv", index=False)
    return IssuedForecast(file=Path("nwp.csv"), unit="W/m2", issued_column="issued", kind="estimated")


def test_the_last_run_before_the_issue_counts(tmp_path: Path) -> None:
    series = read_issued_forecast(runs_of(tmp_path, (0, 6, 12)), AXIS, tmp_path, issue=NOON)
    local = AXIS.local_times
    hours = np.asarray(local.hour)
    # noon is 11:00 UTC in winter: the run of 6:00 of the day before; clocks change on the 27th
    middle = series.values["ghi"].to_numpy()[(hours > 2) & (hours < 22)]
    expected = np.array([day - 1 + 0.06 for day in local.day])[(hours > 2) & (hours < 22)]
    np.testing.assert_allclose(middle, expected)
    assert not any(finding.code == KNOWN_AT_ISSUE for finding in series.findings)


def test_weather_that_is_issued_too_late_is_refused(tmp_path: Path) -> None:
    times = pd.date_range("2016-03-25", "2016-03-30", freq="h")
    pd.DataFrame({"time": times, "issued": times, "ghi": 1.0}).to_csv(tmp_path / "late.csv", index=False)
    section = IssuedForecast(file=Path("late.csv"), unit="W/m2", issued_column="issued")
    with pytest.raises(DataError, match="no value was issued in time"):
        read_issued_forecast(section, AXIS, tmp_path, issue=NOON)


def test_weather_without_issue_times_is_told(tmp_path: Path) -> None:
    times = pd.date_range("2016-03-25", "2016-03-30", freq="h")
    pd.DataFrame({"time": times, "wind": np.arange(len(times))}).to_csv(tmp_path / "wind.csv", index=False)
    section = IssuedForecast(file=Path("wind.csv"), unit="m/s")
    series = read_issued_forecast(section, AXIS, tmp_path, issue=NOON)
    assert [finding.code for finding in series.findings] == [KNOWN_AT_ISSUE]
    assert list(series.values) == ["wind"]


def test_days_of_the_clock_change_keep_their_local_issue() -> None:
    issues = latest_issues(pd.DatetimeIndex(["2016-03-27 12:00", "2016-03-28 12:00"]), ZONE, NOON)
    assert issues.tolist() == [pd.Timestamp("2016-03-26 11:00"), pd.Timestamp("2016-03-27 10:00")]
