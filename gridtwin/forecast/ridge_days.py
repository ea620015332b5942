"""The default forecast: one ridge regression per series, a day at once, refitted every day."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gridtwin.forecast.blend import blend_by_skill
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates, calendar_block, day_rows, standardised
from gridtwin.forecast.ridge import roll_ridge

PENALTIES = (0.3, 3.0, 30.0)
"""Penalties whose forecasts are blended by recent skill. Forty series (three countries, SimBench shapes, a
transformer): the best single one is 0.3 for countries and above 10 for wind; the blend is never behind it by 1 %."""
BLOCK = 64
"""Series whose feature rows exist at a time."""
LEAST_ROWS = 7
"""Days to learn from before the first forecast."""


def roll_ridge_days(
    cube: np.ndarray,
    grid: ClockGrid,
    known: int,
    *,
    training: int,
    covariates: Covariates | None = None,
    penalties: tuple[float, ...] = PENALTIES,
) -> np.ndarray:
    """Rolled day-ahead forecast of every series.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power, gaps substituted; NaN before a series begins. The forecast of
        day d reads days up to d - 2 and the first `known` slots of day d - 1.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    training : int
        Days at the start from which the scale of each series is taken.
    covariates : Covariates, optional
        Known at the issue of each day.
    penalties : tuple of float
        Ridge penalties; several are blended by recent skill.

    Returns
    -------
    ndarray, (day, slot, asset)
        NaN where a series is too short for a row of features, or has fewer than LEAST_ROWS rows before.
    """
    covariates = covariates or Covariates.none()
    weather = {name: standardised_weather(one, training) for name, one in covariates.weather.items()}
    calendar = calendar_block(grid)
    point = np.full(cube.shape, np.nan)
    for chosen in blocks_of(cube.shape[2]):
        values, mean, deviation = standardised(cube[:, :, chosen].astype(float), slice(0, training))
        own = None if covariates.own is None else (covariates.own[:, :, chosen] - mean) / deviation
        part = Covariates({name: one[:, :, chosen] if one.ndim == 3 else one for name, one in weather.items()}, own)
        rows = day_rows(values, grid, known, part)
        rolled = np.stack([_roll_series(rows[a], calendar, values[:, :, a], penalties) for a in range(len(rows))], -1)
        baseline = _roll_errors(own, values, grid, known, penalties)
        blended, _ = blend_by_skill(np.concatenate([rolled, baseline]), values)
        point[:, :, chosen] = blended * deviation + mean
    return point


def blocks_of(series: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices over series, so that memory does not grow with their number."""
    return (slice(begin, min(begin + size, series)) for begin in range(0, series, size))


def standardised_weather(values: np.ndarray, training: int) -> np.ndarray:
    """Weather of mean 0 and deviation 1 over the training days."""
    shaped = values if values.ndim == 3 else values[:, :, np.newaxis]
    return standardised(shaped.astype(float), slice(0, training))[0].reshape(values.shape)


def _roll_series(
    rows: np.ndarray, calendar: np.ndarray, target: np.ndarray, penalties: tuple[float, ...]
) -> np.ndarray:
    """Rolled forecasts of one series by each penalty, (penalty, day, slot)."""
    complete = np.isfinite(rows).all(axis=1)
    rows = np.where(complete[:, np.newaxis], rows, 0.0)
    gram = rows @ rows.T + calendar @ calendar.T
    usable = complete & np.isfinite(target).all(axis=1)
    learnt = np.maximum(np.arange(len(rows)) - 1, 0)  # of the issue day itself, only the morning is known
    taught = np.append(0, np.cumsum(usable))[learnt] >= LEAST_ROWS
    rolled = [roll_ridge(gram, target, learnt, usable=usable, penalty=penalty) for penalty in penalties]
    return np.where((complete & taught)[:, np.newaxis], np.stack(rolled), np.nan)


def _roll_errors(
    own: np.ndarray | None, values: np.ndarray, grid: ClockGrid, known: int, penalties: tuple[float, ...]
) -> np.ndarray:
    """Forecasts that correct a given forecast of the series, (penalty, day, slot, asset); empty without one."""
    if own is None:
        return np.empty((0, *values.shape))
    error = values - own
    rows = np.concatenate([day_rows(error, grid, known, Covariates.none()), 1 / np.sqrt(own.shape[1]) * own.T.swapaxes(1, 2)], 2)
    calendar = calendar_block(grid)
    rolled = np.stack([_roll_series(rows[a], calendar, error[:, :, a], penalties) for a in range(len(rows))], -1)
    return rolled + own
