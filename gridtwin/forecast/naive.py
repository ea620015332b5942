"""Seasonal naive forecast by the local clock, the reference of every score."""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.features import days_before, last_known_day, mean_of_slots
from gridtwin.forecast.history import GENERATION, History


def naive_cube(history: History) -> np.ndarray:
    """Same weekday a week before; feed-in: the last complete known day. Relative, (day, slot, asset).

    Where that value does not exist, the latest one of the slot, then the mean of
    the last known day, then the mean of all that was known two days before.
    """
    cube, two_days = history.cube, days_before(history.cube, 2)
    naive = like_day_before(cube, history.kind)
    latest = last_known_day(cube, history.known)
    for substitute in (two_days, latest, np.broadcast_to(mean_of_slots(latest), cube.shape), mean_so_far(two_days)):
        naive = np.where(np.isnan(naive), substitute, naive)
    return naive


def like_day_before(cube: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Same weekday a week before; feed-in: the last complete known day, (day, slot, asset)."""
    return np.where(np.isin(kind, GENERATION), days_before(cube, 2), days_before(cube, 7))


def mean_so_far(cube: np.ndarray) -> np.ndarray:
    """Mean over all slots of this and the days before, the same for every slot."""
    there = ~np.isnan(cube)
    total = np.where(there, cube, 0).sum(axis=1).cumsum(axis=0)
    count = there.sum(axis=1).cumsum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.broadcast_to(mean[:, np.newaxis], cube.shape)
