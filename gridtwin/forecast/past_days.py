"""Which past days speak for a day, and how their values are counted."""

from __future__ import annotations

import numpy as np

LEAST_ALIKE_DAYS = 5
"""Calibration days of the same type (working, free) below which all of them are used."""
POOLED_SLOTS = 2
"""Neighbouring slots on either side whose errors enter a quantile."""


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
