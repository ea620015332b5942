"""The default forecast: one ridge regression per series, a day at once, refitted every day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from gridtwin.forecast.blend import HALF_LIFE_DAYS, daily_error, discounted_error, skill_weights
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates, calendar_block, day_rows, standardised
from gridtwin.forecast.ridge import roll_ridge
from gridtwin.forecast.weather_response import respond_to_weather

PENALTIES = (0.3, 3.0, 30.0)
"""Penalties whose forecasts are blended by recent skill: sums of many loads want the smallest, wind the largest."""
BLOCK = 16
"""Series whose feature rows exist at a time: what a core holds in its cache, and little memory."""
DAYS_WORTH_A_THREAD = 250
"""Days from which a second thread helps; below, the interpreter between the small steps is what takes the time."""
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
    threads: int | None = None,
    block: int = BLOCK,
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
    threads : int, optional
        Threads that share the blocks, default one per core for long histories, else one; the result depends on
        it no more than on `block`.
    block : int
        Series per block.

    Returns
    -------
    ndarray, (day, slot, asset)
        Of the precision of `cube`. NaN where a series is too short for a row of features, or has fewer than
        LEAST_ROWS rows before.
    """
    covariates = respond_to_weather(cube, grid, covariates or Covariates.none(), training)
    calendar = calendar_block(grid) @ calendar_block(grid).T
    point = np.empty(cube.shape, dtype=np.result_type(cube.dtype, np.float32))

    def roll_block(chosen: slice) -> None:
        point[:, :, chosen] = _roll_block(
            cube[:, :, chosen], grid, known, training=training, covariates=_part_of(covariates, chosen, training),
            calendar=calendar, penalties=penalties,
        )  # fmt: skip

    # the linear algebra of a series is small: more threads within it would wait for each other
    share = threads or (os.cpu_count() if len(cube) >= DAYS_WORTH_A_THREAD else 1)
    with ThreadPoolExecutor(share) as pool, threadpool_limits(limits=1):
        list(pool.map(roll_block, blocks_of(cube.shape[2], block)))
    return point


def blocks_of(series: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices over series, so that memory does not grow with their number."""
    return (slice(begin, min(begin + size, series)) for begin in range(0, series, size))


def _roll_block(
    cube: np.ndarray,
    grid: ClockGrid,
    known: int,
    *,
    training: int,
    covariates: Covariates,
    calendar: np.ndarray,
    penalties: tuple[float, ...],
) -> np.ndarray:
    """Rolled forecast of some series, (day, slot, asset)."""
    values, mean, deviation = standardised(_series_by_series(cube), slice(0, training))
    own = None if covariates.own is None else (_series_by_series(covariates.own) - mean) / deviation
    rows = day_rows(values, grid, known, Covariates(covariates.weather, own))
    rolled = [_roll_series(rows[a], calendar, values[:, :, a], penalties) for a in range(len(rows))]
    if own is not None:
        corrected = _roll_errors(own, values, grid, known, calendar, penalties)
        rolled = [np.concatenate(both) for both in zip(rolled, corrected, strict=True)]
    return np.asarray(_blend(rolled, values) * deviation + mean)


def _blend(rolled: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Blend by recent skill of the forecasts (model, day, slot) of each series, (day, slot, asset)."""
    error = [
        np.concatenate([daily_error(one[:, :, np.newaxis], values[:, :, [a]]) for one in models], axis=1)
        for a, models in enumerate(rolled)
    ]
    recent = discounted_error(np.stack(error, axis=2).swapaxes(0, 1), delay=2, half_life=HALF_LIFE_DAYS)
    weights = skill_weights(recent)
    blended = np.empty(values.shape)
    for a, models in enumerate(rolled):
        there = np.isfinite(models[:, :, 0])
        each = np.where(there, weights[:, :, a], 0.0)
        total = each.sum(axis=0)
        mixed = (each[:, :, np.newaxis] * np.where(there[:, :, np.newaxis], models, 0.0)).sum(axis=0)
        blended[:, :, a] = mixed / np.where(total > 0, total, np.nan)[:, np.newaxis]
    return blended


def _part_of(covariates: Covariates, chosen: slice, training: int) -> Covariates:
    """Covariates of some series, the weather of mean 0 and deviation 1 over the training days."""
    weather = {
        name: standardised(_series_by_series(one[:, :, chosen]), slice(0, training))[0]
        if one.ndim == 3
        else standardised(one.astype(float)[:, :, np.newaxis], slice(0, training))[0][:, :, 0]
        for name, one in covariates.weather.items()
    }
    return Covariates(weather, None if covariates.own is None else covariates.own[:, :, chosen])


def _series_by_series(cube: np.ndarray) -> np.ndarray:
    """The same cube with each series in one piece of memory: sums over it round alike in any company."""
    return np.ascontiguousarray(cube.transpose(2, 0, 1), dtype=float).transpose(1, 2, 0)


def _roll_series(
    rows: np.ndarray, calendar: np.ndarray, target: np.ndarray, penalties: tuple[float, ...]
) -> np.ndarray:
    """Rolled forecasts of one series by each penalty, (penalty, day, slot); `calendar` as inner products of days."""
    complete = np.isfinite(rows).all(axis=1)
    rolled = np.full((len(penalties), *target.shape), np.nan)
    begin = int(complete.argmax())  # days before have no features: they neither teach nor are forecast
    x = np.where(complete[begin:, np.newaxis], rows[begin:], 0.0)
    gram = x @ x.T + calendar[begin:, begin:]
    usable = complete[begin:] & np.isfinite(target[begin:]).all(axis=1)
    learnt = np.maximum(np.arange(len(x)) - 1, 0)  # of the issue day itself, only the morning is known
    asked = complete[begin:] & (np.append(0, np.cumsum(usable))[learnt] >= LEAST_ROWS)
    for number, penalty in enumerate(penalties):
        forecast = roll_ridge(gram, target[begin:], learnt, usable=usable, penalty=penalty)
        rolled[number, begin:][asked] = forecast[asked]
    return rolled


def _roll_errors(
    own: np.ndarray,
    values: np.ndarray,
    grid: ClockGrid,
    known: int,
    calendar: np.ndarray,
    penalties: tuple[float, ...],
) -> list[np.ndarray]:
    """Forecasts of each series that correct a given one, (penalty, day, slot)."""
    error = values - own
    given = own.transpose(2, 0, 1) / np.sqrt(own.shape[1])
    rows = np.concatenate([day_rows(error, grid, known, Covariates.none()), given], axis=2)
    each = [_roll_series(rows[a], calendar, error[:, :, a], penalties) for a in range(len(rows))]
    return [rolled + own[:, :, a] for a, rolled in enumerate(each)]
