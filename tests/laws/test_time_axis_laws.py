"""Laws of the time axis: local days of 92, 96 and 100 quarter hours, energy kept, labels both ways."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.time_axis import QUARTER_HOUR, TimeAxis, to_local, to_utc, utc_of_day, utc_of_local

# Lord Howe turns the clock by half an hour, Kathmandu lies at 05:45, Sydney has its summer in January
ZONES = st.sampled_from(
    [
        *("Europe/Berlin", "Europe/London", "UTC", "America/New_York", "Australia/Sydney"),
        *("Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Pacific/Auckland"),
    ]
)
NO_DEADLINE = settings(deadline=None)
"""Other work on the machine must not fail a law."""
DAYS = st.dates(dt.date(2010, 1, 1), dt.date(2035, 12, 31))


@pytest.mark.parametrize(
    ("day", "steps"),
    [
        (dt.date(2016, 3, 27), 92),  # 02:00 to 03:00 does not exist
        (dt.date(2016, 7, 1), 96),
        (dt.date(2016, 10, 30), 100),  # 02:00 to 03:00 twice
    ],
)
def test_a_local_day_has_92_96_or_100_quarter_hours(day, steps) -> None:
    axis = TimeAxis.of_days(day, 1, "Europe/Berlin")
    assert axis.length == steps
    assert set(axis.local_times.date) == {day}


@given(day=DAYS, zone=ZONES)
@NO_DEADLINE
def test_every_day_everywhere_is_whole(day, zone) -> None:
    axis = TimeAxis.of_days(day, 1, zone)
    assert axis.local_days == [day]
    assert axis.times[0] == utc_of_day(day, zone) and axis.end == utc_of_day(day + dt.timedelta(days=1), zone)
    assert axis.length in {92, 94, 96, 98, 100}


@given(day=DAYS, zone=ZONES, days=st.integers(1, 20))
@NO_DEADLINE
def test_days_follow_each_other_without_gap(day, zone, days) -> None:
    whole = TimeAxis.of_days(day, days, zone)
    parts = [TimeAxis.of_days(day + dt.timedelta(days=number), 1, zone) for number in range(days)]
    assert whole.local_days == [day + dt.timedelta(days=number) for number in range(days)]
    assert list(whole.times) == [time for part in parts for time in part.times]


@given(year=st.integers(2010, 2035), zone=ZONES, data=st.data())
@settings(max_examples=20, deadline=None)
def test_energy_of_local_days_adds_up_to_the_energy_of_the_year(year, zone, data) -> None:
    axis = TimeAxis.of_days(dt.date(year, 1, 1), 366 if pd.Timestamp(year, 1, 1).is_leap_year else 365, zone)
    seed = data.draw(st.integers(0, 2**32 - 1))
    p_mw = np.random.default_rng(seed).normal(size=axis.length)
    by_day = pd.Series(p_mw * axis.hours_per_step).groupby(axis.local_times.date).sum()
    assert len(by_day) == len(axis.local_days)
    # sums of some 35 thousand numbers of size 1/4 in another order: 1e-9 MWh
    assert by_day.sum() == pytest.approx(p_mw.sum() / 4, abs=1e-9)


@given(day=DAYS, zone=ZONES, days=st.integers(1, 400), label=st.sampled_from(["start", "end"]))
@settings(max_examples=40, deadline=None)
def test_stamps_of_a_file_lead_back_to_the_axis(day, zone, days, label) -> None:
    axis = TimeAxis.of_days(day, days, zone)
    instants = axis.times if label == "start" else axis.times + QUARTER_HOUR
    naive = to_local(instants, zone).tz_localize(None)
    if _cuts_the_repeated_hour(naive, zone):
        return  # a file that ends inside the repeated hour cannot be told apart: refused, see below
    back = to_utc(naive, zone, step=QUARTER_HOUR, label=label)
    assert back.equals(axis.times)
    assert back.tz is None and back.dtype == "datetime64[ns]"


def _cuts_the_repeated_hour(naive: pd.DatetimeIndex, zone: str) -> bool:
    """Whether the first or last stamp is one that the clock shows twice."""
    ends = [stamp.to_pydatetime().replace(tzinfo=ZoneInfo(zone)) for stamp in (naive[0], naive[-1])]
    return any(stamp.utcoffset() != stamp.replace(fold=1).utcoffset() for stamp in ends)


def test_end_labels_name_the_same_intervals() -> None:
    starts = pd.DatetimeIndex(["2016-06-01 00:00", "2016-06-01 00:15"])
    ends = starts + QUARTER_HOUR
    zone = "Europe/Berlin"
    assert list(to_utc(starts, zone, step=QUARTER_HOUR)) == list(to_utc(ends, zone, step=QUARTER_HOUR, label="end"))
    assert to_utc(starts, zone, step=QUARTER_HOUR)[0] == pd.Timestamp("2016-05-31 22:00")


def test_zone_aware_stamps_need_no_guess() -> None:
    aware = pd.to_datetime(["2016-10-30 02:30+02:00", "2016-10-30 02:30+01:00"], utc=True)
    assert list(to_utc(aware, "Asia/Tokyo", step=QUARTER_HOUR)) == [
        pd.Timestamp("2016-10-30 00:30"),
        pd.Timestamp("2016-10-30 01:30"),
    ]


@pytest.mark.parametrize("stamp", ["2016-03-27 02:30", "2016-10-30 02:30"])
def test_a_stamp_that_never_was_or_was_twice_is_refused(stamp) -> None:
    with pytest.raises(DataError, match="Europe/Berlin") as caught:
        to_utc(pd.DatetimeIndex([stamp]), "Europe/Berlin", step=QUARTER_HOUR)
    assert caught.value.findings[0].code == "GT-D02"


@given(moment=st.datetimes(dt.datetime(2010, 1, 1), dt.datetime(2035, 12, 31)), zone=ZONES)
@NO_DEADLINE
def test_a_local_moment_is_shown_by_the_local_clock(moment, zone) -> None:
    shown = utc_of_local(moment, zone).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    gap = shown - pd.Timestamp(moment)
    # a moment inside the missing hour is shown after the jump of the clock
    assert gap == pd.Timedelta(0) or gap in (pd.Timedelta(hours=1), pd.Timedelta(minutes=30))


@given(start=st.datetimes(dt.datetime(2010, 1, 1), dt.datetime(2035, 1, 1)), length=st.integers(2, 500))
@NO_DEADLINE
def test_an_index_leads_back_to_its_axis(start, length) -> None:
    axis = TimeAxis(pd.Timestamp(start).floor("s"), QUARTER_HOUR, length)
    assert TimeAxis.of_index(axis.times, axis.zone) == axis


@given(length=st.integers(4, 200), data=st.data())
@NO_DEADLINE
def test_a_gap_is_found_where_it_is(length, data) -> None:
    times = TimeAxis(pd.Timestamp("2016-01-01"), length=length).times
    hole = data.draw(st.integers(2, length - 2))
    with pytest.raises(DataError, match=f"after row {hole - 1} "):
        TimeAxis.of_index(times.delete(hole), "UTC")
