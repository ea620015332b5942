"""Calendar weeks over which a statistical voltage rule takes its share of time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.time_axis import to_local, utc_of_day

WHOLE_PERIOD = "studied period"
"""Name of the only window where no whole calendar week was studied."""


@dataclass(frozen=True)
class Window:
    """The steps of one window of a statistical rule."""

    name: str
    """`2016-W05`, or `studied period`."""
    steps: NDArray[np.bool_]
    """Which steps lie in it. (time,)"""
    missing: int = 0
    """Steps of the week that were not studied."""


def list_windows(dataset: xr.Dataset) -> list[Window]:
    """Local calendar weeks (Monday to Sunday, ISO 8601), or the whole period where none is complete.

    The first and last weeks may be studied in part. Their missing steps count as
    within the band, so a part of a week breaks a rule only if the whole week does.
    """
    times = pd.DatetimeIndex(dataset.indexes["time"])
    zone = str(dataset.attrs.get("zone", "UTC"))
    weeks = to_local(times, zone).isocalendar()
    keys = list(zip(weeks["year"].astype(int), weeks["week"].astype(int), strict=True))
    windows = [_build_window(key, times, keys, zone) for key in dict.fromkeys(keys)]
    if all(window.missing for window in windows):
        return [Window(WHOLE_PERIOD, np.ones(len(times), dtype=bool))]
    return windows


def _build_window(key: tuple[int, int], times: pd.DatetimeIndex, keys: list[tuple[int, int]], zone: str) -> Window:
    steps = np.array([other == key for other in keys], dtype=bool)
    monday = dt.date.fromisocalendar(*key, 1)
    length = utc_of_day(monday + dt.timedelta(days=7), zone) - utc_of_day(monday, zone)
    expected = round(length / (times[1] - times[0])) if len(times) > 1 else len(times) + 1
    return Window(f"{key[0]}-W{key[1]:02d}", steps, expected - int(steps.sum()))


def share_within_band(vm_pu: NDArray[np.float64], outside: NDArray[np.bool_], window: Window) -> NDArray[np.float64]:
    """Share of the known time of a window in which the voltage lies within its band.

    Parameters
    ----------
    vm_pu : ndarray, (path, time)
        Voltage, NaN where unknown: such steps count neither way. [pu]
    outside : ndarray of bool, (path, time)
        Where it lies outside.

    Returns
    -------
    ndarray, (path,)
        1 - outside / (known + not studied), NaN where nothing is known. [-]
    """
    known = np.isfinite(vm_pu[:, window.steps]).sum(axis=1) + window.missing
    left = outside[:, window.steps].sum(axis=1)
    shares = np.full(len(known), np.nan)
    shares[known > 0] = 1 - left[known > 0] / known[known > 0]
    return shares
