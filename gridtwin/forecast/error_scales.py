"""How large the error of an hour, a type of day and a level of forecast is, from earlier errors alone.

The scale of day d is an exponentially forgetting mean of absolute errors over the days up to d - 2.
"""

from __future__ import annotations

import numpy as np

OTHER_DAYS = 1.0
"""Days that count with the mean of the same hour on days of the other type (working, free)."""
NEIGHBOURS = 0.5
"""Weight of the hours before and after in the scale of an hour. [-]"""
KNOTS = 5
"""Levels of forecast, from nothing to the envelope, between which the factor on the scale is interpolated."""
LEVEL_PRIOR = 0.3
"""Share of all errors that a knot is given at factor 1, so that a level rarely seen keeps the scale of its hour."""
PRIOR_DAYS = 1.0
"""Days that count with the mean over all hours, so that one day with a lucky hour is not taken for a scale."""
LEAST_SCALE = 0.05
"""Smallest scale as a share of the asset's mean over the day. [-]"""
TINY = 1e-7
"""Smallest scale, relative power: below it an error is rounding. [-]"""


def band_scales(quantiles: np.ndarray) -> np.ndarray:
    """Half the width of the model's own outer band, at least `LEAST_SCALE` of its mean so far, (day, slot, asset)."""
    half = np.abs(quantiles[-1] - quantiles[0]) / 2
    there = np.isfinite(half)
    total = np.where(there, half, 0).sum(axis=1, keepdims=True).cumsum(axis=0)
    mean = total / np.maximum(there.sum(axis=1, keepdims=True).cumsum(axis=0), 1)
    return np.asarray(np.maximum(half, np.maximum(LEAST_SCALE * mean, TINY)), dtype=np.float32)


def track_scales(
    error: np.ndarray, point: np.ndarray, free: np.ndarray, *, envelope: np.ndarray, half_life: float
) -> np.ndarray:
    """Scale of the error of every day from the errors up to two days before.

    Parameters
    ----------
    error, point : ndarray, (day, slot, asset)
        Actual minus forecast, NaN where unknown; forecast.
    free : ndarray of bool, (day,)
        Type of day.
    envelope : ndarray, (day, slot, asset)
        Largest possible magnitude; where it is NaN twice the usual forecast of the hour takes its place.
    half_life : float
        In days of the same type.

    Returns
    -------
    ndarray of float32, (day, slot, asset)
        Relative power; NaN for days and assets without any earlier error.
    """
    unit = np.where(np.isnan(envelope), 1, np.maximum(envelope, TINY)).astype(np.float32)
    size, level = hourly_means(np.abs(error) / unit), hourly_means(np.abs(point) / unit)
    state = ScaleState(size.shape[1:], 0.5 ** (1 / half_life), np.isfinite(envelope).any(axis=(0, 1)))
    hourly = np.full(size.shape, np.nan, dtype=np.float32)
    for day in range(len(error)):
        if day >= 2:
            state.learn(size[day - 2], level[day - 2], int(free[day - 2]))
        if state.begun:
            hourly[day] = state.scales(level[day], int(free[day]))
    weights = slot_weights(error.shape[1], size.shape[1])
    return np.asarray(np.matmul(weights.T, hourly) * unit)


class ScaleState:
    """Forgetting sums of errors by type of day and hour, and by level of forecast.

    Parameters
    ----------
    shape : tuple of int
        (hour, asset).
    keep : float
        Weight that a day keeps when the next one of its type arrives.
    enveloped : ndarray of bool, (asset,)
        Assets whose values are shares of an envelope.
    """

    def __init__(self, shape: tuple[int, ...], keep: float, enveloped: np.ndarray) -> None:
        self.keep, self.enveloped = keep, enveloped
        self.begun = False
        self.sums = np.zeros((2, 3, *shape), dtype=np.float32)
        """(type of day, what, hour, asset): sizes of errors, levels of forecast, number of days"""
        self.level_sums = np.zeros((2, KNOTS, shape[1]), dtype=np.float32)
        """(what, knot, asset): sizes of errors, and the scales of their hours"""

    def learn(self, size: np.ndarray, level: np.ndarray, kind: int) -> None:
        """Take in a day: sizes of errors, NaN where unknown, and levels of forecast, (hour, asset)."""
        there = np.isfinite(size) & np.isfinite(level)
        if not there.any():
            return
        size = np.where(there, size, 0)
        if self.begun:
            scale, usual = self.hour_means(kind)
            both = there & np.isfinite(scale)
            pair = np.where(both, np.stack([size, scale]), 0)
            by_level = np.einsum("ksa,wsa->wka", level_hats(self.relative(level, usual)), pair)
            self.level_sums = self.keep * self.level_sums + by_level
        day = np.stack([size, np.where(there, level, 0), there])
        self.sums[kind] = self.keep * self.sums[kind] + with_neighbours(day)
        self.begun = True

    def hour_means(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean size of error and mean level of forecast, (hour, asset); NaN for assets without any."""
        other = self.sums[1 - kind]
        sums = self.sums[kind] + OTHER_DAYS * other / np.maximum(other[2], OTHER_DAYS)
        seen = sums[2].sum(axis=0)
        means = np.where(seen > 0, sums[:2].sum(axis=1) / np.maximum(seen, TINY), np.nan)[:, np.newaxis]
        size, level = (sums[:2] + PRIOR_DAYS * means) / (sums[2] + PRIOR_DAYS)
        return np.maximum(size, np.maximum(LEAST_SCALE * means[0], TINY)), level

    def relative(self, level: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """Level of forecast, 1 at the envelope or at twice the usual forecast of the hour, (hour, asset)."""
        return np.asarray(level / np.where(self.enveloped, 1, np.maximum(2 * usual, TINY)))

    def scales(self, level: np.ndarray, kind: int) -> np.ndarray:
        """Scales of a day with these levels of forecast, (hour, asset)."""
        scale, usual = self.hour_means(kind)
        prior = LEVEL_PRIOR * self.level_sums[1].sum(axis=0) + TINY
        factor = (self.level_sums[0] + prior) / (self.level_sums[1] + prior)
        return np.asarray(scale * np.einsum("ka,ksa->sa", factor, level_hats(self.relative(level, usual))))


def level_hats(level: np.ndarray) -> np.ndarray:
    """Weights of the knots for linear interpolation, (knot, ...); of an unknown level the middle one."""
    place = (KNOTS - 1) * np.clip(np.nan_to_num(level, nan=0.5), 0, 1)
    knots = np.arange(KNOTS, dtype=np.float32).reshape(-1, *[1] * level.ndim)
    return np.asarray(np.maximum(1 - np.abs(place - knots), 0), dtype=np.float32)


def with_neighbours(values: np.ndarray) -> np.ndarray:
    """Sum of each hour and, with `NEIGHBOURS` weight, of the hours before and after, (..., hour, asset)."""
    summed = values.astype(np.float32)
    summed[..., 1:, :] += NEIGHBOURS * values[..., :-1, :]
    summed[..., :-1, :] += NEIGHBOURS * values[..., 1:, :]
    return summed


def slots_per_hour(slots: int) -> int:
    """Slots that are taken together: those of an hour, or one where the step is longer."""
    return max(1, slots // 24)


def hourly_means(cube: np.ndarray) -> np.ndarray:
    """Means over the known slots of each hour, (day, hour, asset); NaN where none is known."""
    hour = slots_per_hour(cube.shape[1])
    parts = cube.reshape(len(cube), -1, hour, cube.shape[2])
    there = np.isfinite(parts)
    count = there.sum(axis=2)
    total = np.where(there, parts, 0).sum(axis=2, dtype=np.float32)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def slot_weights(slots: int, hours: int) -> np.ndarray:
    """Weights that interpolate values at the middles of the hours, (hour, slot); beyond the outer ones they repeat."""
    hour = slots // hours
    middles = np.arange(hours) * hour + (hour - 1) / 2
    places = np.clip(np.arange(slots), middles[0], middles[-1])
    return np.clip(1 - np.abs(places - middles[:, np.newaxis]) / hour, 0, 1).astype(np.float32)
