"""Assets that run or rest, such as a charging point or a thermostat: a probability to run, and values when running.

No error added to a forecast keeps the atom at zero, and cutting what exceeds the rating
takes away from the mean. So the distribution has two parts: the values that the asset had
when it ran on past days, and a probability of running that makes its mean the forecast.
"""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.past_days import pool_neighbours

RESTING = 1e-6
"""Relative power below which an asset counts as off; the float noise of a night is smaller. [-]"""
LEAST_RESTING = 0.7
"""Share of resting values from which an asset counts as one that is switched, such as a charging point; a heat pump
in winter runs most of the time and errs like a load. Chosen on the suburb before its studied days. [-]"""
MOST_RUNNING = 0.98
"""Largest probability of running of an asset that rested on a past day at that time. [-]"""
LARGEST_SCALE = 2.0
"""Largest factor on past values where the forecast exceeds all of them running."""


def rests_mostly(cube: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Assets that are switched, (asset,), by their values (day, slot, asset); PV rests at night and is none."""
    known = np.isfinite(cube)
    resting = (known & (np.abs(cube) < RESTING)).sum(axis=(0, 1))
    return np.asarray((resting > LEAST_RESTING * known.sum(axis=(0, 1))) & (kind != "pv"))


def switched_values(actual: np.ndarray, point: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Values of switched assets at the given levels.

    Parameters
    ----------
    actual : ndarray, (day, slot, asset)
        Relative power of the calibration days; NaN where unknown.
    point : ndarray, (slot, asset)
        Forecast of the target day.
    tau : ndarray, (level,)
        Rising, between 0 and 1.

    Returns
    -------
    ndarray of float32, (level, slot, asset)
        Rising with the level; NaN where the asset has no value in these days. The mean over
        all levels is the forecast, as far as past values and a probability allow.
    """
    samples = np.moveaxis(pool_neighbours(actual), 0, -1)
    runs = np.abs(samples) >= RESTING
    count = runs.sum(axis=-1)
    known = (~np.isnan(samples)).sum(axis=-1)
    level_of_run = np.where(runs, samples, 0.0).sum(axis=-1) / np.maximum(count, 1)
    wanted = np.divide(point, level_of_run, out=np.zeros_like(point), where=count > 0)
    largest = np.where(count < known, MOST_RUNNING, 1.0)
    running = np.clip(wanted, 0.0, largest)
    scale = np.clip(wanted / largest, 1.0, LARGEST_SCALE)
    feed_in = _share_below_zero(samples, count)
    ranked = np.sort(np.where(runs, samples, np.nan), axis=-1)
    values = np.empty((len(tau), *point.shape), dtype=np.float32)
    for number, level in enumerate(tau):
        place = _place_in_runs(float(level), running, feed_in)
        inside = _at_place(ranked, count, np.nan_to_num(place)) * scale
        values[number] = np.where(np.isnan(place) | (count == 0), 0.0, inside)
    return np.where(known > 0, values, np.float32(np.nan))


def _share_below_zero(samples: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Share of the running values that are negative: those lie below the atom."""
    return np.asarray((samples <= -RESTING).sum(axis=-1) / np.maximum(count, 1))


def _place_in_runs(level: float, running: np.ndarray, feed_in: np.ndarray) -> np.ndarray:
    """Level within the running values of a level of all values; NaN on the atom at zero."""
    first = running * feed_in
    last = first + 1 - running
    above = feed_in + (level - last) / np.maximum(running, 1e-12)
    below = level / np.maximum(running, 1e-12)
    return np.asarray(np.where(level < first, below, np.where(level > last, above, np.nan)))


def _at_place(ranked: np.ndarray, count: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Value at a level of sorted values, NaN last; Hazen positions."""
    last = np.maximum(count - 1, 0)
    position = np.clip(place * count - 0.5, 0, last)
    below = position.astype(int)
    low, high = (
        np.take_along_axis(ranked, at[..., np.newaxis], axis=-1)[..., 0] for at in (below, np.minimum(below + 1, last))
    )
    return np.asarray(low + (position - below) * (high - low))
