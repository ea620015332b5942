"""What the model sees of each step: only what is known when its day is forecast.

Cubes are (day, slot, asset), relative to the installed power, consumption
positive. The forecast of day d is issued on day d - 1; of that day only the
first `known` slots have ended, so the last complete day is d - 2.
"""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, free_day_flags, holiday_flags, sun_elevation_degree

WARM_UP_DAYS = 7
"""Days without a training row: the value of the week before does not exist yet."""
SIMILAR_DAYS = 28
"""Days back among which days of the same type (working, free) are averaged."""
PAST_FEATURES = (
    "last_known",
    "two_days_before",
    "week_before",
    "two_weeks_before",
    "mean_of_weekday",
    "mean_of_week",
    "mean_of_similar_days",
    "smooth_of_similar_days",
    "largest_of_similar_days",
    "level_of_last_day",
    "level_against_week_before",
)
CALENDAR_FEATURES = ("clock_sin", "clock_cos", "weekday_sin", "weekday_cos", "free_day", "holiday", "sun_elevation")
FEATURES = PAST_FEATURES + CALENDAR_FEATURES


def build_features(cube: np.ndarray, grid: ClockGrid, known: int) -> np.ndarray:
    """All features of all steps.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power; unknown values may hold anything, they are not read.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.

    Returns
    -------
    ndarray of float32, (asset, time, feature)
        Order of `FEATURES`; NaN where the history does not reach back far enough.
    """
    past = past_features(cube, free_day_flags(grid.dates, grid.axis.zone), known)
    calendar = calendar_features(grid)
    features = np.empty((cube.shape[2], grid.axis.length, len(FEATURES)), dtype=np.float32)
    for column, name in enumerate(PAST_FEATURES):
        features[:, :, column] = grid.to_steps(past[name]).T
    features[:, :, len(PAST_FEATURES) :] = calendar[np.newaxis]
    return features


def past_features(cube: np.ndarray, free: np.ndarray, known: int) -> dict[str, np.ndarray]:
    """Features from earlier values of the same asset, each (day, slot, asset)."""
    last_known = last_known_day(cube, known)
    similar, largest = similar_days(cube, free)
    level = np.broadcast_to(last_known.mean(axis=1, keepdims=True), cube.shape)
    week_before = last_known_day(days_before(cube, 7), known).mean(axis=1, keepdims=True)
    return {
        "last_known": last_known,
        "two_days_before": days_before(cube, 2),
        "week_before": days_before(cube, 7),
        "two_weeks_before": days_before(cube, 14),
        "mean_of_weekday": mean_of([days_before(cube, back) for back in (7, 14, 21, 28)]),
        "mean_of_week": mean_of([days_before(cube, back) for back in range(2, 9)]),
        "mean_of_similar_days": similar,
        "smooth_of_similar_days": smooth_over_slots(similar, 4),
        "largest_of_similar_days": largest,
        "level_of_last_day": level,
        "level_against_week_before": level - week_before,
    }


def calendar_features(grid: ClockGrid) -> np.ndarray:
    """Features of the clock, the day and the sun, (time, feature) in the order of `CALENDAR_FEATURES`."""
    clock = 2 * np.pi * (grid.slot + 0.5) / grid.slots
    weekday = 2 * np.pi * np.array([day.weekday() for day in grid.dates])[grid.day] / 7
    free = free_day_flags(grid.dates, grid.axis.zone)[grid.day]
    holiday = holiday_flags(grid.dates, grid.axis.zone)[grid.day]
    sun = np.nan_to_num(sun_elevation_degree(grid.axis)) / 90
    columns = [np.sin(clock), np.cos(clock), np.sin(weekday), np.cos(weekday), free, holiday, sun]
    return np.stack(columns, axis=1).astype(np.float32)


def days_before(cube: np.ndarray, back: int) -> np.ndarray:
    """Value of the same slot `back` days before; NaN at the start."""
    shifted = np.full_like(cube, np.nan)
    shifted[back:] = cube[:-back]
    return shifted


def last_known_day(cube: np.ndarray, known: int) -> np.ndarray:
    """Latest value of the same slot that has ended at issue: of yesterday, or of the day before yesterday."""
    latest = days_before(cube, 2)
    latest[1:, :known] = cube[:-1, :known]
    return latest


def mean_of(cubes: list[np.ndarray]) -> np.ndarray:
    """Mean over cubes, leaving out NaN; NaN where all are."""
    total, count = np.zeros_like(cubes[0]), np.zeros_like(cubes[0])
    for cube in cubes:
        there = ~np.isnan(cube)
        total += np.where(there, cube, 0)
        count += there
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def mean_of_slots(cube: np.ndarray) -> np.ndarray:
    """Mean over the slots of each day, (day, 1, asset)."""
    return mean_of(list(cube.swapaxes(0, 1)))[:, np.newaxis]


def similar_days(cube: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and largest magnitude over the complete days of the same type in the last `SIMILAR_DAYS`."""
    largest = np.full_like(cube, np.nan)
    for day in range(2, len(cube)):
        before = np.arange(max(0, day - SIMILAR_DAYS), day - 1)
        alike = before[free[before] == free[day]]
        if len(alike):
            largest[day] = np.fmax.reduce(np.abs(cube[alike]), axis=0)
    return mean_of_similar_days(cube, free), largest


def mean_of_similar_days(cube: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Mean over the complete days of the same type in the last `SIMILAR_DAYS`; NaN where there is none.

    As differences of running sums per type of day, which cost the same for any number of days.
    """
    mean = np.full_like(cube, np.nan)
    there = np.isfinite(cube)
    for kind in (False, True):
        counted = there & (free == kind)[:, np.newaxis, np.newaxis]
        sums = np.zeros((len(cube) + 1, *cube.shape[1:]))
        counts = np.zeros(sums.shape, dtype=np.int32)
        np.cumsum(np.where(counted, cube, 0.0), axis=0, out=sums[1:], dtype=float)
        np.cumsum(counted, axis=0, out=counts[1:])
        days = np.flatnonzero(free == kind)
        days = days[days >= 2]
        first = np.maximum(days - SIMILAR_DAYS, 0)
        count = counts[days - 1] - counts[first]
        total = sums[days - 1] - sums[first]
        mean[days] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def smooth_over_slots(cube: np.ndarray, reach: int) -> np.ndarray:
    """Mean over the slots up to `reach` before and after; shorter at the ends of the day."""
    slots = cube.shape[1]
    cumulated = np.concatenate([np.zeros_like(cube[:, :1]), np.cumsum(cube, axis=1)], axis=1)
    first = np.maximum(np.arange(slots) - reach, 0)
    last = np.minimum(np.arange(slots) + reach + 1, slots)
    width = (last - first)[np.newaxis, :, np.newaxis]
    return np.asarray((cumulated[:, last] - cumulated[:, first]) / width, dtype=cube.dtype)
