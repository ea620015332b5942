"""What a direct day-ahead regression sees of a day: one row of features per day and series.

A row holds the latest values known at issue, the mean of similar days, the calendar
and, where given, what was forecast of the weather or of the series itself. Blocks
are scaled so that each counts by what it says and not by how many columns it has.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, free_day_flags, holiday_flags
from gridtwin.forecast.features import days_before, mean_of_similar_days

LAG_DAYS = 3
"""Days of values up to issue: what had ended of the issue day, and the two whole days before it."""
SEASON_WEIGHT = 0.3
"""Weight of the season beside weekday and holiday, so that few weeks of history do not become a trend."""
OWN_WEIGHT = 2.0
"""Weight of a forecast of the series itself."""
WEATHER_PARTS = 24
"""A day's weather enters as this many means."""
WEATHER_LIMIT = 4.0
"""Weather further from its mean than so many deviations of the training days counts as that far: the first snow
after weeks without any would else be thousands of deviations."""


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

    def of_assets(self, chosen: np.ndarray | slice) -> Covariates:
        """The same for some of the assets."""
        weather = {name: one[:, :, chosen] if one.ndim == 3 else one for name, one in self.weather.items()}
        return Covariates(weather, None if self.own is None else self.own[:, :, chosen])


def calendar_block(grid: ClockGrid) -> np.ndarray:
    """Weekday or holiday, free day, day beside a holiday, bridge day, turn of the year and season, (day, feature).

    A bridge day is a working day between two free ones. The days from Christmas Eve to New Year share a flag, their
    two eves another, where Christmas is a holiday. The neighbours of the first and the last day count though they
    are not of the grid.
    """
    zone, one = grid.axis.zone, dt.timedelta(days=1)
    around = (grid.dates[0] - one, *grid.dates, grid.dates[-1] + one)
    holiday, free = holiday_flags(around, zone), free_day_flags(around, zone)
    weekday = np.eye(7)[[day.weekday() for day in grid.dates]] * ~holiday[1:-1, np.newaxis]
    bridge = ~free[1:-1] & free[:-2] & free[2:]
    flags = [holiday[1:-1], free[1:-1], holiday[2:], holiday[:-2], bridge, *turn_of_year(grid.dates, zone)]
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in grid.dates]) / 365.25
    season = SEASON_WEIGHT * np.column_stack([turn(k * angle) for k in (1, 2) for turn in (np.sin, np.cos)])
    return np.column_stack([weekday, *(flag.astype(float) for flag in flags), season])


def turn_of_year(dates: tuple[dt.date, ...], zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Days from 24 December to 1 January, and 24 and 31 December, each (day,); none where Christmas is no holiday."""
    within = [(day.month, day.day) >= (12, 24) or (day.month, day.day) == (1, 1) for day in dates]
    eve = [(day.month, day.day) in ((12, 24), (12, 31)) for day in dates]
    winter = [day.year - (day.month == 1) for day in dates]
    kept = {year: bool(holiday_flags((dt.date(year, 12, 25),), zone)[0]) for year in set(winter)}
    christmas = np.array([kept[year] for year in winter])
    return np.array(within) & christmas, np.array(eve) & christmas


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
    similar = mean_of_similar_days(values, free_day_flags(grid.dates, grid.axis.zone))
    per_slot = 1 / np.sqrt(values.shape[1])
    blocks = [per_slot * lag_block(values, known), per_slot * similar.swapaxes(1, 2)]
    if covariates.own is not None:
        error = values - covariates.own
        blocks += [OWN_WEIGHT * per_slot * covariates.own.swapaxes(1, 2), per_slot * lag_block(error, known, 2)]
    variables = len(covariates.weather)
    blocks += [weather_block(one, values.shape[2]) / np.sqrt(variables) for one in covariates.weather.values()]
    return np.concatenate(blocks, axis=2).swapaxes(0, 1)


def weather_block(values: np.ndarray, assets: int) -> np.ndarray:
    """Standardised means over parts of the day and their squares, (day, asset, feature)."""
    values = np.clip(values, -WEATHER_LIMIT, WEATHER_LIMIT)
    shaped = values if values.ndim == 3 else np.broadcast_to(values[:, :, np.newaxis], (*values.shape, assets))
    parts = min(WEATHER_PARTS, shaped.shape[1])
    means = shaped.reshape(len(shaped), parts, -1, shaped.shape[2]).mean(axis=2).swapaxes(1, 2)
    return np.asarray(np.concatenate([means, (means**2 - 1) / np.sqrt(2)], axis=2) / np.sqrt(parts))


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
