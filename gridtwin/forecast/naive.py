"""Seasonal naive forecast by the local clock, the reference of every score."""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.features import days_before, last_known_day, mean_of
from gridtwin.forecast.history import GENERATION, History


def naive_cube(history: History) -> np.ndarray:
    """Same weekday a week before; feed-in: the last complete known day. Relative, (day, slot, asset).

    Where that value does not exist, the latest one of the slot, then the mean of
    the last known day, then the mean of all that was known two days before.
    """
    cube = history.cube
    week, two_days = days_before(cube, 7), days_before(cube, 2)
    naive = np.where(np.isin(history.kind, GENERATION), two_days, week)
    latest = last_known_day(cube, history.known)
    for substitute in (two_days, latest, mean_of_slots(latest), mean_so_far(two_days)):
        naive = np.where(np.isnan(naive), substitute, naive)
    return naive


def mean_of_slots(cube: np.ndarray) -> np.ndarray:
    """Mean over the slots of the day, the same for every slot."""
    mean = mean_of(list(cube.swapaxes(0, 1)))
    return np.broadcast_to(mean[:, np.newaxis], cube.shape)


def mean_so_far(cube: np.ndarray) -> np.ndarray:
    """Mean over all slots of this and the days before, the same for every slot."""
    there = ~np.isnan(cube)
    total = np.where(there, cube, 0).sum(axis=1).cumsum(axis=0)
    count = there.sum(axis=1).cumsum(axis=0)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.broadcast_to(mean[:, np.newaxis], cube.shape)
