"""From a rolled forecast to bands and correlated paths of the studied days, relative power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridtwin.forecast.calendar import free_day_flags, sun_elevation_degree
from gridtwin.forecast.conformal import Calibration, RolledErrors, conformal_quantiles, values_of_switched
from gridtwin.forecast.copula import copula_paths
from gridtwin.forecast.features import SIMILAR_DAYS
from gridtwin.forecast.history import GENERATION, History
from gridtwin.forecast.rolled import Rolled
from gridtwin.scenario import Forecast as ForecastSection

SILENT = 1e-6
"""Relative power below which an asset counts as off. [-]"""
LEAST_SUN = 0.005
"""Sine of the elevation that the envelope of a PV system keeps at dawn, so that errors there are not divided by 0."""


def spread_days(
    history: History, rolled: Rolled, settings: ForecastSection, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paths (path, time, asset) and quantiles (quantile, time, asset) of the studied days, relative.

    Bands come from the errors of each day's own calibration days (`conformal`); paths
    take their dependence over assets and hours from the same days (`copula`).
    """
    grid = history.grid
    errors = rolled_errors(history, rolled)
    how = Calibration(window=settings.calibration_days)
    targets = np.arange(history.studied, len(grid.dates))
    bands = calibrated_bands(errors, settings.quantiles, targets, how)
    bands = np.clip(widened(bands, rolled.point[targets], history.widening), *bounds_of(errors, targets))
    # one seed for all days: a path then takes consecutive past days and has no seam at midnight
    shared = [seed, grid.dates[history.studied].toordinal()]
    places = (np.arange(settings.paths) + 0.5) / settings.paths
    paths, quantiles = [], []
    for row, day in enumerate(targets):
        slot = grid.slot[grid.day == day]
        past = history.calibration_days(int(day))
        lower, upper = bounds_of(errors, day)
        exact = values_of_switched(errors, places, int(day), how=how)
        quantiles.append(bands[:, row, slot])
        paths.append(
            copula_paths(
                quantiles[-1],
                settings.quantiles,
                errors.actual[past] - errors.point[past],
                slot,
                paths=settings.paths,
                seed=shared,
                lower=lower[slot],
                upper=upper[slot],
                exact=widened(exact, rolled.point[day], history.widening)[:, slot],
            )
        )
    return np.concatenate(paths, axis=1), np.concatenate(quantiles, axis=1)


def calibrated_bands(
    errors: RolledErrors, levels: tuple[float, ...], targets: np.ndarray, how: Calibration
) -> np.ndarray:
    """Quantiles (level, day, slot, asset) from the model's own where it has them, else from its point forecast."""
    own = errors.model_quantiles
    plain = conformal_quantiles(replace(errors, model_quantiles=None), levels, targets, how=how).quantiles
    if own is None:
        return plain
    there = np.flatnonzero(np.isfinite(own[:, targets]).all(axis=(0, 1, 2)))
    chosen = RolledErrors(
        errors.actual[..., there],
        errors.point[..., there],
        errors.free,
        model_quantiles=own[..., there],
        **{name: np.asarray(getattr(errors, name))[..., there] for name in ("envelope", "off", "lower", "upper")},
    )
    plain[..., there] = conformal_quantiles(chosen, levels, targets, how=how).quantiles
    return plain


def widened(bands: np.ndarray, point: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Bands (level, day, slot, asset) stretched around the forecast by a factor per asset."""
    return np.asarray(np.where(factor == 1.0, bands, point + factor * (bands - point)), dtype=bands.dtype)


def bounds_of(errors: RolledErrors, day: np.ndarray | np.integer) -> tuple[np.ndarray, np.ndarray]:
    """Physical bounds of some days, each (..., slot, asset)."""
    shape = errors.point.shape
    return np.broadcast_to(errors.lower, shape)[day], np.broadcast_to(errors.upper, shape)[day]


def rolled_errors(history: History, rolled: Rolled) -> RolledErrors:
    """What the bands are made from: forecast, outcome, and what is physically possible."""
    sun = sun_cube(history)
    off = is_off(history, sun)
    lower, upper = physical_bounds(history)
    envelope = np.where(history.kind == "pv", np.maximum(np.sin(np.radians(sun)), LEAST_SUN)[:, :, np.newaxis], np.nan)
    return RolledErrors(
        history.actual,
        rolled.point,
        free_day_flags(history.grid.dates, history.grid.axis.zone),
        model_quantiles=rolled.quantiles,
        envelope=envelope.astype(np.float32),
        off=off,
        lower=np.where(off, 0.0, lower),
        upper=np.where(off, 0.0, upper),
    )


def physical_bounds(history: History) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest relative power, each (asset,).

    Between nothing and the rating, widened by what the history before the first
    issue shows (a house that feeds in).
    """
    past = history.cube[: history.studied - 1]
    generation = np.isin(history.kind, GENERATION)
    lower = np.fmin(np.fmin.reduce(past, axis=(0, 1)), np.where(generation, -1.0, 0.0))
    upper = np.fmax(np.fmax.reduce(past, axis=(0, 1)), np.where(generation, 0.0, 1.0))
    return lower, upper


def sun_cube(history: History) -> np.ndarray:
    """Elevation of the sun, (day, slot). [°]"""
    return history.grid.without_skips(history.grid.to_cube(sun_elevation_degree(history.grid.axis)))


def is_off(history: History, sun: np.ndarray) -> np.ndarray:
    """Where a PV system has no sun, (day, slot, asset).

    Off is a system below the horizon and below every elevation of the sun at
    which it fed in over the last weeks before issue: clocks and places of real
    series are off by an hour, SimBench's among them.
    """
    off = np.zeros(history.cube.shape, dtype=bool)
    pv = np.flatnonzero(history.kind == "pv")
    working = np.abs(history.cube[:, :, pv]) > SILENT
    lowest = np.fmin.reduce(np.where(working, sun[:, :, np.newaxis], 0.0), axis=1)
    for day in range(len(off)):
        before = lowest[max(0, day - SIMILAR_DAYS) : max(0, day - 1)]
        reach = np.fmin.reduce(before, axis=0, initial=0.0)
        off[day][:, pv] = sun[day, :, np.newaxis] < reach
    return off
