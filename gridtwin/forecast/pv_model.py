"""Rolled day-ahead forecasts of PV systems from the sun, the weather and the last days.

Every day is forecast from what was known at its issue, so the errors of past days
are those of real forecasts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.features import last_known_day
from gridtwin.forecast.pooled_regression import PENALTY_ROWS, roll_regression
from gridtwin.forecast.pv_features import PvWeather, Site, build_pv_features, is_night, sun_of_steps

RECENT_DAYS = (28, 7, 1)
"""Days over which the system is compared with the clear sky: weather, dirt, snow, faults, new modules. [d]"""
LARGEST_RATIO = 2.0
"""Most by which power may exceed its usual share of the signal. [-]"""
PLANES = 5
"""Number of `pv_features.standard_planes`."""
FAINT = 0.02
"""Signal relative to standard conditions below which no ratio is taken. [-]"""


def roll_pv_assets(
    grid: ClockGrid,
    cube: np.ndarray,
    sites: Sequence[Site],
    *,
    known: int,
    weather: Sequence[PvWeather | None],
    capacity: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Day-ahead forecasts of many PV systems; those of one site and weather share their features.

    Parameters
    ----------
    grid : ClockGrid
        Days and slots of the cube.
    cube : ndarray, (day, slot, asset)
        Power relative to the rating, feed-in negative; NaN where unknown.
    sites : sequence of Site, (asset,)
        Known or from `pv_site.find_site` of days before the first that is scored.
    known : int
        Slots of the issue day that have ended at issue.
    weather : sequence of PvWeather or None, (asset,)
        On `grid.axis.times`, as forecast at issue; the same object for systems that share it.
    capacity : ndarray, (asset,)
        Largest feed-in relative to the rating. [-]

    Returns
    -------
    point : ndarray, (day, slot, asset)
        As `roll_pv` gives it.
    night : ndarray of bool, (day, slot, asset)
        Where the forecast, and every band around it, is zero.
    """
    point, night = np.full(cube.shape, np.nan), np.zeros(cube.shape, dtype=bool)
    groups: dict[tuple[Site, int], list[int]] = {}
    for asset, (site, given) in enumerate(zip(sites, weather, strict=True)):
        groups.setdefault((site, id(given)), []).append(asset)
    for (site, _), members in groups.items():
        given = weather[members[0]]
        features = grid.to_cube(build_pv_features(grid.axis.times, grid.axis.step, site, given))
        dark = is_night(sun_of_steps(grid.axis.times, grid.axis.step, site), grid.axis.step)
        night[:, :, members] = (grid.to_cube(dark.astype(float)) == 1)[:, :, np.newaxis]
        for asset in members:
            point[:, :, asset] = roll_pv(
                cube[:, :, asset], features, night[:, :, asset], known=known, capacity=float(capacity[asset])
            )
    return point, night


def roll_pv(
    cube: np.ndarray,
    features: np.ndarray,
    night: np.ndarray,
    *,
    known: int,
    capacity: float = 1.0,
    training_end: np.ndarray | None = None,
    penalty_rows: float = PENALTY_ROWS,
) -> np.ndarray:
    """Day-ahead forecast of one PV system for every day that its history reaches.

    Parameters
    ----------
    cube : ndarray, (day, slot)
        Power relative to the rating, feed-in negative; NaN where unknown.
    features : ndarray, (day, slot, feature)
        From `pv_features.build_pv_features` (`ClockGrid.to_cube` lays it out), with or without weather;
        the first is the clear sky.
    night : ndarray of bool, (day, slot)
        From `pv_features.is_night`.
    known : int
        Slots of the issue day that have ended at issue.
    capacity : float
        Largest feed-in relative to the rating. [-]
    training_end : ndarray of int, (day,), optional
        Days known before each forecast; the rolled day-ahead forecast, d - 1, by default. With another
        one, nothing of the issue day is read and the recent days end there too.
    penalty_rows : float
        See `pooled_regression.PENALTY_ROWS`.

    Returns
    -------
    ndarray, (day, slot)
        Between -`capacity` and 0, zero at night; NaN before the first day that can be
        forecast and where the weather is unknown.

    Notes
    -----
    A ridge over all daylight steps; without weather it blends the persistence of the
    clear-sky index of the last day, the last week and the last four weeks with the clear sky itself.
    """
    power = np.where(night, np.nan, -cube).astype(float)
    clear = features[:, :, 0]
    last = np.arange(len(cube)) - 1 if training_end is None else training_end
    recent = recent_features(power, clear, last)
    if training_end is None:
        recent = np.concatenate([recent, latest_feature(power, recent[:, :, -2], clear, known)], axis=2)
    design = np.concatenate([features, recent], axis=2)
    point = roll_regression(design, power, np.maximum(last, 0), penalty_rows=penalty_rows)
    forecastable = np.isfinite(point).any(axis=1, keepdims=True)
    point = np.where(night & forecastable, 0.0, point)
    return np.asarray(-np.clip(point, 0.0, capacity))


def clear_sky_envelope(features: np.ndarray, *, capacity: float = 1.0) -> np.ndarray:
    """Largest magnitude that a PV system can show, known ahead, (day, slot).

    Parameters
    ----------
    features : ndarray, (day, slot, feature)
        From `pv_features.build_pv_features`: after the clear sky, the `PLANES` under it.
    capacity : float
        Largest feed-in relative to the rating. [-]

    Returns
    -------
    ndarray
        `capacity` times the clear sky on the plane that sees most of it, and no more than `capacity`.
    """
    return np.asarray(capacity * np.minimum(features[:, :, : PLANES + 1].max(axis=2), 1.0))


def recent_features(power: np.ndarray, clear: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Clear sky times the clear-sky index of the slot and of the day over the days before `last`.

    The last column is the mean power of the slot where the sun should be down: what
    a wrong clock shows there.

    Returns
    -------
    ndarray, (day, slot, 2 · len(RECENT_DAYS) + 1)
        NaN while no day is known.
    """
    there = np.isfinite(power) & np.isfinite(clear)
    sunny = there & (clear > FAINT)
    power_sum, sun_sum = cumulate(np.where(sunny, power, 0.0)), cumulate(np.where(sunny, clear, 0.0))
    end = np.clip(last, 0, len(power))
    columns: list[np.ndarray] = []
    before = np.full((len(power), 1), np.nan)
    for reach in RECENT_DAYS:
        start = np.clip(last - reach, 0, len(power))
        slot_power, slot_sun = power_sum[end] - power_sum[start], sun_sum[end] - sun_sum[start]
        of_day = ratio(slot_power.sum(axis=1, keepdims=True), slot_sun.sum(axis=1, keepdims=True))
        of_day = before = np.where(np.isnan(of_day), before, of_day)
        of_slot = ratio(slot_power, slot_sun)
        columns += [clear * np.where(np.isnan(of_slot), of_day, of_slot), clear * of_day]
    start = np.clip(last - RECENT_DAYS[0], 0, len(power))
    dark_sum, dark_count = cumulate(np.where(there & ~sunny, power, 0.0)), cumulate((there & ~sunny).astype(float))
    dark = (dark_sum[end] - dark_sum[start]) / np.maximum(dark_count[end] - dark_count[start], 1)
    return np.stack([*columns, np.where(clear > FAINT, 0.0, dark)], axis=2)


def latest_feature(power: np.ndarray, recent: np.ndarray, clear: np.ndarray, known: int) -> np.ndarray:
    """Clear sky times the index of what the issue day has shown, before that the day before it, (day, slot, 1).

    `recent` (day, slot) takes its place where neither is known.
    """
    sunny = np.isfinite(power) & np.isfinite(clear) & (clear > FAINT)
    shown = last_known_day(np.where(sunny, power, 0.0), known)
    sun = last_known_day(np.where(sunny, clear, 0.0), known)
    index = ratio(np.nansum(shown, axis=1, keepdims=True), np.nansum(sun, axis=1, keepdims=True))
    return np.asarray(np.where(np.isnan(index), recent, clear * index)[:, :, np.newaxis])


def cumulate(values: np.ndarray) -> np.ndarray:
    """Sums of the days before each day, (day + 1, slot)."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])


def ratio(power: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Power by sun, NaN without sun. [-]"""
    return np.asarray(np.where(sun > FAINT, np.clip(power / np.maximum(sun, FAINT), 0.0, LARGEST_RATIO), np.nan))
