"""What a direct day-ahead regression sees of a day: one row of features per day and series.

A row holds the latest values known at issue, the mean of similar days, the calendar
and, where given, what was forecast of the weather or of the series itself. Blocks
are scaled so that each counts by what it says and not by how many columns it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, free_day_flags, holiday_flags
from gridtwin.forecast.features import days_before, similar_days

LAG_DAYS = 3
"""Days of values up to issue: what had ended of the issue day, and the two whole days before it."""
SEASON_WEIGHT = 0.3
"""Weight of the season beside weekday and holiday, so that few weeks of history do not become a trend."""
OWN_WEIGHT = 2.0
"""Weight of a forecast of the series itself."""
WEATHER_PARTS = 24
"""A day's weather enters as this many means."""


@dataclass(frozen=True)
class Covariates:
    """What was forecast for each day when that day's forecast was issued.

    Parameters
    ----------
    weather : dict of ndarray, (day, slot) or (day, slot, asset)
        By name, any unit.
    own : ndarray, (day, slot, asset), optional
        A forecast of the series themselves, such as the one that a transmission operator publishes; relative as they.
    """

    weather: dict[str, np.ndarray]
    own: np.ndarray | None = None

    @staticmethod
    def none() -> Covariates:
        """Nothing but the series and the calendar."""
        return Covariates({})


def calendar_block(grid: ClockGrid) -> np.ndarray:
    """Weekday or holiday, free day, day beside a holiday, and season, (day, feature)."""
    holiday = holiday_flags(grid.dates, grid.axis.zone).astype(float)
    weekday = np.eye(7)[[day.weekday() for day in grid.dates]] * (1 - holiday)[:, np.newaxis]
    beside = [np.append(holiday[1:], 0.0), np.append(0.0, holiday[:-1])]
    free = free_day_flags(grid.dates, grid.axis.zone).astype(float)
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in grid.dates]) / 365.25
    season = SEASON_WEIGHT * np.column_stack([turn(k * angle) for k in (1, 2) for turn in (np.sin, np.cos)])
    return np.column_stack([weekday, holiday, free, *beside, season])


def lag_block(values: np.ndarray, known: int, days: int = LAG_DAYS) -> np.ndarray:
    """Values known at issue, (day, asset, known + (days - 1) * slot): the issue day's, then whole days backwards."""
    parts = [days_before(values, 1)[:, :known], *(days_before(values, back) for back in range(2, days + 1))]
    return np.concatenate(parts, axis=1).swapaxes(1, 2)


def day_rows(values: np.ndarray, grid: ClockGrid, known: int, covariates: Covariates) -> np.ndarray:
    """Features of every day and asset without the calendar, (asset, day, feature); NaN where unknown.

    Parameters
    ----------
    values : ndarray, (day, slot, asset)
        Standardised power.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    covariates : Covariates
        `own` standardised as `values`.
    """
    similar, _ = similar_days(values, free_day_flags(grid.dates, grid.axis.zone))
    per_slot = 1 / np.sqrt(values.shape[1])
    blocks = [per_slot * lag_block(values, known), per_slot * similar.swapaxes(1, 2)]
    if covariates.own is not None:
        error = values - covariates.own
        blocks += [OWN_WEIGHT * per_slot * covariates.own.swapaxes(1, 2), per_slot * lag_block(error, known, 2)]
    blocks += [weather_block(one, values.shape[2]) for one in covariates.weather.values()]
    return np.concatenate(blocks, axis=2).swapaxes(0, 1)


def weather_block(values: np.ndarray, assets: int) -> np.ndarray:
    """Standardised means over parts of the day and their squares, (day, asset, feature)."""
    shaped = values if values.ndim == 3 else np.broadcast_to(values[:, :, np.newaxis], (*values.shape, assets))
    parts = min(WEATHER_PARTS, shaped.shape[1])
    means = shaped.reshape(len(shaped), parts, -1, shaped.shape[2]).mean(axis=2).swapaxes(1, 2)
    return np.concatenate([means, (means**2 - 1) / np.sqrt(2)], axis=2) / np.sqrt(parts)


def standardised(values: np.ndarray, days: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values minus mean by deviation of the given days, then mean and deviation, each (asset,).

    A series without spread in these days is divided by 1.
    """
    taught = values[days]
    there = np.isfinite(taught)
    count = np.maximum(there.sum(axis=(0, 1)), 1)
    mean = np.where(there, taught, 0.0).sum(axis=(0, 1)) / count
    deviation = np.sqrt((np.where(there, taught - mean, 0.0) ** 2).sum(axis=(0, 1)) / count)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return (values - mean) / deviation, mean, deviation
