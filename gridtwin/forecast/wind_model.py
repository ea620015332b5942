"""Rolled day-ahead forecasts of wind power from the weather and the last days."""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.features import last_known_day
from gridtwin.forecast.pooled_regression import roll_regression
from gridtwin.forecast.pv_model import cumulate
from gridtwin.forecast.wind_features import BIN_M_PER_S, FASTEST_M_PER_S, bin_of, power_curve_of_bins

CURVE_DAYS = 7
"""Days between two fits of the power curve. [d]"""
RECENT_DAYS = (28, 7, 1)
"""Lengths of the means of recent power, in days. [d]"""
HINGES_M_PER_S = (4.0, 6.0, 8.0, 10.0, 12.0, 14.0)
"""Knots at which the regression may bend the learnt curve. [m/s]"""


def roll_wind(
    cube: np.ndarray,
    speed_m_per_s: np.ndarray | None,
    *,
    known: int,
    direction_degree: np.ndarray | None = None,
    capacity: float = 1.0,
) -> np.ndarray:
    """Day-ahead forecast of one wind farm for every day that its history reaches.

    Parameters
    ----------
    cube : ndarray, (day, slot)
        Power relative to the rating, feed-in negative; NaN where unknown.
    speed_m_per_s : ndarray, (day, slot), optional
        From `wind_features.normalised_speed`, as forecast at issue. Without it, the
        forecast blends the last hours, the last weeks and their daily course.
    known : int
        Slots of the issue day that have ended at issue.
    direction_degree : ndarray, (day, slot), optional
        Where the wind comes from. [°]
    capacity : float
        Largest feed-in relative to the rating. [-]

    Returns
    -------
    ndarray, (day, slot)
        Between -`capacity` and 0; NaN before the first day that can be forecast and
        where the weather is unknown.

    Notes
    -----
    The power curve of the days before, refitted every `CURVE_DAYS`, gives each day a forecast that has not
    seen it; the ridge learns from these what the curve misses: neighbouring steps, sectors of wake and
    terrain, the course of the day, outages of the last days.
    """
    power = -cube.astype(float)
    columns = [np.ones_like(power), *clock_features(power), *recent_power(power, known)]
    if speed_m_per_s is not None:
        curve = roll_power_curve(power, speed_m_per_s)
        columns += weather_features(curve, speed_m_per_s, direction_degree)
    point = roll_regression(np.stack(columns, axis=2), power, np.maximum(np.arange(len(cube)) - 1, 0))
    return np.asarray(-np.clip(point, 0.0, capacity))


def roll_power_curve(power: np.ndarray, speed_m_per_s: np.ndarray) -> np.ndarray:
    """Power by the curve of the days before, (day, slot); day d uses days before d - 1. [-]"""
    bins = int(FASTEST_M_PER_S / BIN_M_PER_S)
    used = np.isfinite(power) & np.isfinite(speed_m_per_s)
    place = bin_of(speed_m_per_s)
    day = np.broadcast_to(np.arange(len(power))[:, np.newaxis], power.shape)
    cell = (day * bins + place)[used]
    size = len(power) * bins
    rows = cumulate(np.bincount(cell, minlength=size).reshape(-1, bins))
    total = cumulate(np.bincount(cell, power[used], minlength=size).reshape(-1, bins))
    forecast = np.full(power.shape, np.nan)
    for first in range(2, len(power), CURVE_DAYS):
        curve = power_curve_of_bins(rows[first - 1], total[first - 1])
        forecast[first : first + CURVE_DAYS] = curve.at(speed_m_per_s[first : first + CURVE_DAYS])
    return forecast


def weather_features(curve: np.ndarray, speed: np.ndarray, direction: np.ndarray | None) -> list[np.ndarray]:
    """Curve and wind of the step and of its neighbours, and sectors, each (day, slot)."""
    columns = [curve, neighbour(curve, -1), neighbour(curve, 1)]
    columns += [np.clip(speed - hinge, 0.0, 4.0) for hinge in HINGES_M_PER_S]
    if direction is not None:
        angle = np.radians(direction)
        for turns in (1, 2, 3):
            columns += [curve * np.sin(turns * angle), curve * np.cos(turns * angle)]
    return columns


def neighbour(cube: np.ndarray, shift: int) -> np.ndarray:
    """Value of the step before (-1), across midnight, or after (1), within the day, as the next day is issued later.

    The own value at the ends and where the neighbour is unknown.
    """
    steps = cube.ravel()
    moved = np.roll(steps, -shift)
    moved = moved.reshape(cube.shape)
    moved[0 if shift < 0 else slice(None), 0 if shift < 0 else -1] = np.nan
    return np.where(np.isnan(moved), cube, moved)


def clock_features(power: np.ndarray) -> list[np.ndarray]:
    """Course of the day, each (day, slot)."""
    clock = np.broadcast_to(2 * np.pi * (np.arange(power.shape[1]) + 0.5) / power.shape[1], power.shape)
    return [np.sin(clock), np.cos(clock)]


def recent_power(power: np.ndarray, known: int) -> list[np.ndarray]:
    """Mean power of the last days and of the last known hours, each (day, slot); NaN while no day is known."""
    there = np.isfinite(power)
    total, rows = cumulate(np.where(there, power, 0.0)).sum(axis=1), cumulate(there.astype(float)).sum(axis=1)
    end = np.maximum(np.arange(len(power)) - 1, 0)
    columns: list[np.ndarray] = []
    before = np.full(len(power), np.nan)
    for reach in RECENT_DAYS:
        start = np.maximum(end - reach, 0)
        count = rows[end] - rows[start]
        before = np.where(count > 0, (total[end] - total[start]) / np.maximum(count, 1), before)
        columns.append(before)
    columns.append(last_hours(power, known, before))
    return [np.broadcast_to(column[:, np.newaxis], power.shape) for column in columns]


def last_hours(power: np.ndarray, known: int, otherwise: np.ndarray) -> np.ndarray:
    """Mean of the six hours before issue, (day,); `otherwise` where they are unknown."""
    latest = np.roll(last_known_day(power, known), -known, axis=1)  # the issue day's hours now come last
    hours = latest[:, -(power.shape[1] // 4) :]
    there = np.isfinite(hours)
    mean = np.where(there, hours, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.where(there.any(axis=1), mean, otherwise)
