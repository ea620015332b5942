"""Bands and sample paths from the errors of past forecasts.

The errors of whole past days over all assets at once are laid on the forecast of
the studied day. So a path keeps what the days had in common: a cloudy day is
cloudy at every roof, and a cold evening stays cold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_ALIKE_DAYS = 5
"""Calibration days of the same type (working, free) below which all of them are used."""
LARGEST_SCALE = 2.0
"""Largest factor by which paths are scaled to keep their mean."""
POOLED_SLOTS = 2
"""Neighbouring slots on either side whose errors enter a quantile."""


def error_days(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Actual minus forecast of whole days, without gaps.

    Parameters
    ----------
    actual, forecast : ndarray, (day, slot, asset)
        Relative power; slots that the clock skipped are NaN in `forecast`.

    Returns
    -------
    ndarray, (day, slot, asset)
        A skipped slot takes the error of the slot before; a day without values,
        of an asset whose series begins later, that of another day.
    """
    errors: np.ndarray = actual - forecast
    for slot in range(1, errors.shape[1]):
        errors[:, slot] = np.where(np.isnan(errors[:, slot]), errors[:, slot - 1], errors[:, slot])
    for asset in np.flatnonzero(np.isnan(errors).any(axis=(0, 1))):
        errors[:, :, asset] = repeat_whole_days(errors[:, :, asset])
    return errors


def repeat_whole_days(errors: np.ndarray) -> np.ndarray:
    """Days with a gap replaced by the days without one, in turn; 0 where there is none, (day, slot)."""
    gap = np.isnan(errors).any(axis=1)
    whole = np.flatnonzero(~gap)
    if not len(whole):
        return np.zeros_like(errors)
    errors[gap] = errors[np.resize(whole, gap.sum())]
    return errors


def alike_days(free: np.ndarray, target_free: bool) -> np.ndarray:
    """Positions of the calibration days of the target's type; all days where these are too few."""
    alike = np.flatnonzero(free == target_free)
    return alike if len(alike) >= LEAST_ALIKE_DAYS else np.arange(len(free))


def draw_days(days: int, paths: int, generator: np.random.Generator) -> np.ndarray:
    """Day of each path, every day as often as any other give or take one, in random order, (path,).

    >>> sorted(np.bincount(draw_days(3, 7, np.random.default_rng(1))).tolist())
    [2, 2, 3]
    """
    whole = np.tile(np.arange(days), paths // days)
    rest = generator.choice(days, size=paths % days, replace=False)
    return generator.permutation(np.concatenate([whole, rest]))


@dataclass(frozen=True)
class PastErrors:
    """Errors of the calibration days of one studied day, relative, (day, slot, asset).

    Parameters
    ----------
    error : ndarray
        Actual minus forecast.
    resting : ndarray of bool
        Where the asset was off; it stays off in a path made of that day, whatever the
        forecast says, as a car charges or does not.
    """

    error: np.ndarray
    resting: np.ndarray


def lay_paths(
    point: np.ndarray, past: PastErrors, slot: np.ndarray, drawn: np.ndarray, *, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Paths inside the physical bounds, (path, time, asset).

    Parameters
    ----------
    point : ndarray, (time, asset)
        Forecast.
    past : PastErrors
        Errors of the calibration days.
    slot : ndarray of int, (time,)
        Clock slot of each step.
    drawn : ndarray of int, (path,)
        Calibration day of each path.
    lower, upper : ndarray, (time, asset)
        Physical bounds.

    Notes
    -----
    Errors are spread around their mean by sqrt((n + 1) / (n - 1)), which turns the
    variance of n days into that of a new day (n/(n-1) for the sample, 1 + 1/n for
    its mean). Resting and cutting at the bounds move the mean; the paths are scaled
    back towards the mean before, as far as the bounds allow.
    """
    free = point + spread_errors(past.error)[drawn][:, slot]
    wanted = np.clip(free.mean(axis=0), lower, upper)
    cut = np.clip(np.where(past.resting[drawn][:, slot], 0.0, free), lower, upper)
    mean = cut.mean(axis=0)
    scale = np.divide(wanted, mean, out=np.ones_like(mean), where=np.abs(mean) > 1e-9)
    return np.asarray(np.clip(cut * np.clip(scale, 0.0, LARGEST_SCALE), lower, upper))


def spread_errors(errors: np.ndarray) -> np.ndarray:
    """Errors with the variance of a new day; see `lay_paths`."""
    days = len(errors)
    mean = errors.mean(axis=0)
    return np.asarray(mean + np.sqrt((days + 1) / (days - 1)) * (errors - mean))


def lay_quantiles(point: np.ndarray, past: PastErrors, slot: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Quantiles of the same forecast plus the same errors, (quantile, time, asset).

    Parameters
    ----------
    point : ndarray, (time, asset)
        Forecast.
    past : PastErrors
        Errors of the calibration days.
    slot : ndarray of int, (time,)
        Clock slot of each step.
    quantiles : sequence of float
        Of the signed value.

    Notes
    -----
    Errors of neighbouring slots are pooled. They belong to the same days, so the
    conformal correction counts days: of n days the quantile q is the value in
    place q (n + 1), which widens the band of a few days.
    """
    resting = pool_neighbours(past.resting)[:, slot]
    values = np.where(resting, 0.0, point + pool_neighbours(past.error)[:, slot])
    levels = conformal_levels(np.asarray(quantiles, dtype=float), len(past.error))
    return np.asarray(np.quantile(values, levels, axis=0, method="hazen"))


def conformal_levels(quantiles: np.ndarray, days: int) -> np.ndarray:
    """Levels that put quantile q at place q (n + 1) of n sorted errors (Hazen positions).

    >>> conformal_levels(np.array([0.1, 0.5, 0.9]), 24).round(4).tolist()
    [0.0833, 0.5, 0.9167]
    """
    return np.clip((quantiles * (days + 1) - 0.5) / days, 0.0, 1.0)


def pool_neighbours(errors: np.ndarray) -> np.ndarray:
    """Errors of each slot and its neighbours, (day x neighbour, slot, asset); the day's ends repeat."""
    slots = np.arange(errors.shape[1])
    reach = range(-POOLED_SLOTS, POOLED_SLOTS + 1)
    return np.concatenate([errors[:, np.clip(slots + shift, 0, len(slots) - 1)] for shift in reach])
