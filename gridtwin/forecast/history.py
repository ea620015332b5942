"""What is known when the forecast is issued, laid out by local day and clock slot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.fallbacks import CONDITIONS, band_factor, find_condition, repair_history
from gridtwin.forecast.features import WARM_UP_DAYS
from gridtwin.scenario import Forecast as ForecastSection
from gridtwin.time_axis import utc_of_day

MEASURED, SUBSTITUTED, ESTIMATED = 0, 1, 2
"""Codes of `nomenclature.QUALITY`."""
LEAST_TRAINING_DAYS = 7
"""Days between warm-up and calibration below which nothing can be learnt."""
SUBSTITUTE_DAYS = (7, 14, 21, 28, 1, 2, 3, 4, 5, 6)
"""Days back, in this order, from which a missing value is taken: the past alone, the same weekday first."""
GENERATION = ("pv", "wind", "generator")
"""Kinds whose power is feed-in; their days follow the weather, not the week."""
STATUS = {
    "forecast": "by the model",
    "imputed": "by the model, from a history with substituted values",
    "naive": "seasonal naive, the history is too short for the model",
    "constant": "one value throughout the history, passed on",
    "idle": "zero throughout the history, or a battery; passed on as zero",
    "declared": "as its owner declares it",
    **CONDITIONS,
}
"""How the forecast of an asset came about."""


@dataclass(frozen=True)
class History:
    """Power known at issue, and the days that the forecast spans.

    Parameters
    ----------
    grid : ClockGrid
        Days of the history, the day of the first issue and the studied days.
    cube : ndarray of float32, (day, slot, asset)
        Power relative to `installed_mw`, consumption positive; gaps substituted,
        NaN before a series begins and after the last issue.
    actual : ndarray of float32, (day, slot, asset)
        The same with NaN where values were substituted or stuck: what errors are taken from.
    installed_mw : ndarray, (asset,)
        Rating that scales an asset. [MW]
    kind, status : ndarray of str, (asset,)
        Kind of asset, key of `STATUS`.
    known : int
        Slots of the issue day that have ended at issue.
    studied, calibration : int
        Position of the first studied day; number of calibration days.
    issue_times : DatetimeIndex, (day,)
        UTC instant of issue for every day of the grid.
    widening : ndarray, (asset,)
        Factor on the width of bands, above 1 where the status says that less is known. [-]
    """

    grid: ClockGrid
    cube: np.ndarray
    actual: np.ndarray
    installed_mw: np.ndarray
    kind: np.ndarray
    status: np.ndarray
    known: int
    studied: int
    calibration: int
    issue_times: pd.DatetimeIndex
    widening: np.ndarray

    @property
    def first_calibration(self) -> int:
        """Position of the first calibration day of the first studied day; training ends before it."""
        return self.studied - 1 - self.calibration

    @property
    def modelled(self) -> np.ndarray:
        """Positions of the assets that the model learns from and forecasts."""
        return np.flatnonzero(np.isin(self.status, ("forecast", "imputed", "level_shift", "frozen")))

    def calibration_days(self, day: int) -> np.ndarray:
        """Positions of the last whole days known when the forecast of `day` is issued."""
        return np.arange(day - 1 - self.calibration, day - 1)


def read_history(
    profiles: Profiles,
    days: Sequence[dt.date],
    settings: ForecastSection,
    *,
    issue: dt.time,
    installed_mw: pd.Series,
) -> History:
    """The part of `profiles` that each issue may use; later values are dropped here, once.

    Raises
    ------
    DataError
        If the days do not follow each other, the history is too short, or an
        active asset has no rating.
    """
    axis = axis_of(profiles)
    length = history_length(axis.start, days, settings, zone=axis.zone)
    grid = ClockGrid.of_days(days[0] - dt.timedelta(days=length + 1), length + 1 + len(days), axis.zone, axis.step)
    issue_times = grid.issue_times(issue)
    p_mw = known_power(profiles, "p_mw", grid, issue_times[-1])
    first_issue = int((grid.axis.times + grid.axis.step <= issue_times[length + 1]).sum())
    kind = profiles["kind"].to_numpy().astype(str)
    check_known(p_mw[:first_issue], profiles["asset"].to_numpy(), kind)
    status = find_status(p_mw[:first_issue], grid.day[:first_issue], kind, length - settings.calibration_days)
    ratings = ratings_of(profiles, installed_mw, status)
    p_mw[:, status == "idle"] = 0.0
    known = grid.slots_known_at(issue)
    raw = grid.to_cube((p_mw / ratings).astype(np.float32))
    conditions = find_condition(raw, grid, known, length, kind)
    actual = repair_history(raw, grid, conditions)
    cube = substitute_gaps(actual)
    cube[-1], cube[-2, known:] = np.nan, np.nan  # after the last issue
    served = np.isin(status, ("forecast", "imputed")) & (conditions.status != "")
    odd = served | (status == "naive") & (conditions.status == "new")
    return History(
        grid=grid,
        cube=cube,
        actual=actual,
        installed_mw=ratings,
        kind=kind,
        status=np.where(odd, conditions.status, status),
        known=known,
        studied=length + 1,
        calibration=settings.calibration_days,
        issue_times=issue_times,
        widening=np.where(odd, band_factor(conditions, grid.slots), 1.0),
    )


def history_length(start: pd.Timestamp, days: Sequence[dt.date], settings: ForecastSection, *, zone: str) -> int:
    """Whole days before the day of the first issue that the forecast may use."""
    if not days or any(later - earlier != dt.timedelta(days=1) for earlier, later in pairwise(days)):
        raise DataError([Finding("the studied days do not follow each other", got=str(list(days)), severity="error")])
    length = settings.history_days
    while length > 0 and utc_of_day(days[0] - dt.timedelta(days=length + 1), zone) < start:
        length -= 1
    needed = settings.calibration_days + WARM_UP_DAYS + LEAST_TRAINING_DAYS
    if length < needed:
        raise DataError(
            [
                Finding(
                    f"the history before {days[0]} is too short for a forecast",
                    expected=f"{needed} whole days before the day of issue",
                    got=str(length),
                    do="Study a later day, or lower forecast.calibration_days.",
                    severity="error",
                )
            ]
        )
    return length


def known_power(profiles: Profiles, name: str, grid: ClockGrid, issue: pd.Timestamp) -> np.ndarray:
    """Power on the steps of the grid, (time, asset); NaN where not ended at `issue`, unknown or filled. [MW]

    What a reader filled is unknown here: it may come from after an issue.
    """
    times, power = grid.axis.times, profiles[name].where(~is_filled(profiles))
    rows = power.indexes["time"].get_indexer(times)
    there = (rows >= 0) & np.asarray(times + grid.axis.step <= issue)
    known = np.full((len(times), power.sizes["asset"]), np.nan)
    known[there] = power.transpose("time", "asset").to_numpy()[rows[there]]
    return known


def is_filled(profiles: Profiles) -> xr.DataArray:
    """Values that a reader put into gaps, (time, asset): substituted ones, and estimates amid measured values."""
    quality = profiles["quality"]
    measured = (quality == MEASURED).any("time")
    return (quality == SUBSTITUTED) | (quality == ESTIMATED) & measured


def find_status(p_mw: np.ndarray, day: np.ndarray, kind: np.ndarray, training_days: int) -> np.ndarray:
    """Status of every asset by its values before the first issue, (asset,); keys of `STATUS`."""
    there = ~np.isnan(p_mw)
    lowest = np.min(p_mw, axis=0, where=there, initial=np.inf)
    highest = np.max(p_mw, axis=0, where=there, initial=-np.inf)
    first_day = day[there.argmax(axis=0)]
    short = first_day > training_days - WARM_UP_DAYS - LEAST_TRAINING_DAYS
    gaps = (~there & (day[:, np.newaxis] >= first_day)).any(axis=0) | (first_day > 0)
    status = np.select(
        [(lowest == 0) & (highest == 0) | (kind == "battery"), lowest == highest, short, gaps],
        ["idle", "constant", "naive", "imputed"],
        "forecast",
    )
    return status


def check_known(p_mw: np.ndarray, names: np.ndarray, kind: np.ndarray) -> None:
    """Raise if an asset has no value at all before the first issue."""
    unknown = names[np.isnan(p_mw).all(axis=0) & (kind != "battery")]
    if len(unknown):
        raise DataError(
            [
                Finding(
                    "assets have no value before the forecast is issued",
                    got=", ".join(map(str, unknown[:5])),
                    do="Give them a series or leave them out.",
                    severity="error",
                )
            ]
        )


def ratings_of(profiles: Profiles, installed_mw: pd.Series, status: np.ndarray) -> np.ndarray:
    """Rating of every asset, (asset,); 1 for assets at rest without one. [MW]"""
    names = profiles["asset"].to_numpy()
    ratings = pd.Series(installed_mw, dtype=float).reindex(names).to_numpy()
    unrated = ~(np.isfinite(ratings) & (ratings > 0))
    wrong = names[unrated & ~np.isin(status, ("idle", "constant"))]
    if len(wrong):
        raise DataError(
            [
                Finding(
                    "assets have no rating to scale their series by",
                    got=", ".join(map(str, wrong[:5])),
                    expected="installed_mw above 0 for every active asset",
                    severity="error",
                )
            ]
        )
    return np.where(unrated, 1.0, ratings)


def substitute_gaps(cube: np.ndarray) -> np.ndarray:
    """Fill gaps from earlier days; what lies before the first value of a slot stays NaN.

    A value is only ever taken from the past, so that nothing leaks from after an issue.
    """
    filled = cube.copy()
    for day in np.flatnonzero(np.isnan(cube).any(axis=(1, 2))):
        for back in SUBSTITUTE_DAYS:
            if back <= day:
                filled[day] = np.where(np.isnan(filled[day]), filled[day - back], filled[day])
    return filled
