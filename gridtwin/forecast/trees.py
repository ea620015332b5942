"""High quality: one LightGBM over all series that corrects the ridge forecast, with all quantiles.

A ridge of its own per series knows the shape of that series; what all series have in
common (a morning that ran above the forecast, a holiday, a week of drift) one set of
trees learns from all of them at once. Its target is the error of the rolled ridge
forecast in units of the recent error of the series, so that a calm and a wild series
count alike and the trees add nothing where they know nothing. The ridge forecast of a
day comes from earlier days alone, so its errors are honest lessons.

Rows are binned once; the quantiles are trained one after another on the same bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridtwin.forecast.blend import recent_error
from gridtwin.forecast.calendar import ClockGrid, free_day_flags
from gridtwin.forecast.day_design import Covariates, standardised
from gridtwin.forecast.features import (
    CALENDAR_FEATURES,
    calendar_features,
    days_before,
    mean_of,
    mean_of_slots,
    past_features,
)
from gridtwin.forecast.ridge_days import blocks_of
from gridtwin.forecast.rolled import Rolled

TRAINING_ROWS = 160_000
"""Rows to train on, drawn evenly from all series."""
REFIT_DAYS = 28
"""Days that one fit serves in a backtest."""
SCALE_HALF_LIFE_DAYS = 14.0
"""Of the recent error that a target is divided by. [day]"""
FLOOR = 1e-3
"""Least recent error, as part of the deviation of the series. [-]"""
PAST_LEVELS = (
    "last_known",
    "two_days_before",
    "week_before",
    "two_weeks_before",
    "mean_of_weekday",
    "mean_of_week",
    "mean_of_similar_days",
    "smooth_of_similar_days",
    "level_of_last_day",
)
"""Features that enter as distance from the ridge forecast, in units of the recent error."""
ERROR_FEATURES = ("error_two_days_before", "error_of_week", "spread_of_slot", "error_of_morning", "error_of_last_day")
"""What the ridge forecast missed lately, in units of the recent error."""
SERIES_FEATURES = ("ridge", "largest_of_similar_days", "level_against_week_before", "predictability", "kind")
TREE_FEATURES = (*PAST_LEVELS, *ERROR_FEATURES, *SERIES_FEATURES, *CALENDAR_FEATURES)
"""Columns of the rows; then each weather variable by name, and the distance of a given forecast."""
LOOK_BACK_DAYS = 30
"""Days that the features of a day reach back."""
LIGHTGBM: dict[str, Any] = {
    # large leaves: in small ones a single series follows its own noise and loses to the ridge that it corrects
    "num_iterations": 80,
    "num_leaves": 12,
    "learning_rate": 0.05,
    "min_data_in_leaf": 1000,
    "feature_fraction": 0.6,
    "lambda_l2": 10.0,
    "max_bin": 127,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class TreeInputs:
    """What the rows are made of, for all series.

    Parameters
    ----------
    cube, ridge : ndarray, (day, slot, asset)
        Relative power and its rolled ridge forecast.
    scale : ndarray, (day, asset)
        Recent mean absolute error of the ridge, known at issue; NaN until one is known.
    mean, deviation : ndarray, (asset,)
        Of the days before the first fit.
    kind : ndarray of int, (asset,)
        Number of the kind of each asset.
    free : ndarray of bool, (day,)
        Weekend days and holidays.
    calendar : ndarray, (day, slot, feature)
        Order of `CALENDAR_FEATURES`.
    known : int
        Slots of the issue day that have ended at issue.
    covariates : Covariates
        Known at the issue of each day.
    """

    cube: np.ndarray
    ridge: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    kind: np.ndarray
    free: np.ndarray
    calendar: np.ndarray
    known: int
    covariates: Covariates

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the rows."""
        own = ("given_forecast",) if self.covariates.own is not None else ()
        return (*TREE_FEATURES, *self.covariates.weather, *own)


def roll_trees(
    cube: np.ndarray,
    grid: ClockGrid,
    known: int,
    *,
    kind: np.ndarray,
    first: int,
    ridge: np.ndarray,
    covariates: Covariates | None = None,
    seed: int,
    levels: Sequence[float],
    threads: int = 1,
    refit_days: int = REFIT_DAYS,
    training_rows: int = TRAINING_ROWS,
) -> Rolled:
    """Rolled day-ahead forecast and its quantiles by trees that correct the ridge.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power, gaps substituted; NaN before a series begins.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    kind : ndarray of str, (asset,)
        Kind of each asset.
    first : int
        First day to forecast. The first fit learns from days before `first - 1`,
        the last one that was whole at its issue; every later fit likewise.
    ridge : ndarray, (day, slot, asset)
        From `roll_ridge_days`.
    covariates : Covariates, optional
        Known at the issue of each day.
    seed : int
        Of the drawn rows and of the trees.
    levels : sequence of float
        Quantiles, increasing. [-]
    threads : int
        Of LightGBM.
    refit_days : int
        Days that one fit serves.
    training_rows : int
        At most so many rows are drawn for a fit.

    Returns
    -------
    Rolled
        Point, the median, and quantiles of float32; NaN before `first`. Where no error
        of the ridge is known yet the point is the ridge itself and the quantiles are NaN.

    Notes
    -----
    Quantiles come from separate sets of trees and are sorted: V. Chernozhukov et al.,
    Quantile and probability curves without crossing, Econometrica 78(3), 2010.
    """
    inputs = tree_inputs(cube, grid, known, kind=kind, first=first, ridge=ridge, covariates=covariates)
    wanted = sorted({*levels, 0.5})
    quantiles = np.full((len(wanted), *cube.shape), np.nan, dtype=np.float32)
    for begin in range(first, len(cube), refit_days):
        rows, target = training_set(inputs, slice(0, begin - 1), training_rows, seed)
        if len(rows):
            boosters = train_quantiles(rows, target, wanted, seed=seed, threads=threads)
            predict_quantiles(boosters, inputs, slice(begin, min(begin + refit_days, len(cube))), quantiles)
    quantiles.sort(axis=0)
    middle = quantiles[wanted.index(0.5)]
    point = np.where(np.isnan(middle), ridge, middle)
    point[:first] = np.nan
    return Rolled(point, quantiles[[wanted.index(level) for level in levels]], tuple(levels))


def tree_inputs(
    cube: np.ndarray,
    grid: ClockGrid,
    known: int,
    *,
    kind: np.ndarray,
    first: int,
    ridge: np.ndarray,
    covariates: Covariates | None = None,
) -> TreeInputs:
    """Inputs of the rows, with the recent error of every series."""
    scale = np.full((len(cube), cube.shape[2]), np.nan)
    mean, deviation = np.empty(cube.shape[2]), np.empty(cube.shape[2])
    for block in blocks_of(cube.shape[2]):
        _, mean[block], deviation[block] = standardised(cube[: first - 1, :, block], slice(None))
        error = recent_error(ridge[np.newaxis, :, :, block], cube[:, :, block], delay=2, half_life=SCALE_HALF_LIFE_DAYS)
        scale[:, block] = np.maximum(error[0], FLOOR * deviation[block])
    numbers = np.unique(kind, return_inverse=True)[1]
    free = free_day_flags(grid.dates, grid.axis.zone)
    calendar = grid.to_cube(calendar_features(grid))
    given = covariates or Covariates.none()
    return TreeInputs(cube, ridge, scale, mean, deviation, numbers, free, calendar, known, given)


def tree_rows(inputs: TreeInputs, days: slice, chosen: slice) -> np.ndarray:
    """Rows of some days of a block of series, (day, slot, asset, feature) of float32; NaN where unknown."""
    reach = slice(max(0, days.start - LOOK_BACK_DAYS), days.stop)
    within = slice(days.start - reach.start, None)
    cube, ridge = inputs.cube[reach, :, chosen].astype(np.float32), inputs.ridge[reach, :, chosen].astype(np.float32)
    rows = np.empty((*cube[within].shape, len(inputs.names)), dtype=np.float32)
    columns = _columns(inputs, reach, chosen, cube, ridge)
    for column, values in enumerate(columns):
        rows[..., column] = values[within]
    return rows


def _columns(
    inputs: TreeInputs, days: slice, chosen: slice, cube: np.ndarray, ridge: np.ndarray
) -> Iterator[np.ndarray]:
    """Features in the order of `TreeInputs.names`, each broadcast to (day, slot, asset)."""
    scale = inputs.scale[days, np.newaxis, chosen].astype(np.float32)
    deviation = inputs.deviation[chosen]
    past = past_features(cube, inputs.free[days], inputs.known)
    for name in PAST_LEVELS:
        yield (past[name] - ridge) / scale
    for values in recent_errors(cube - ridge, inputs.known):
        yield values / scale
    yield (ridge - inputs.mean[chosen]) / deviation
    yield past["largest_of_similar_days"] / deviation
    yield past["level_against_week_before"] / deviation
    yield np.log(scale / deviation)
    yield np.broadcast_to(inputs.kind[chosen], cube.shape)
    for values in np.moveaxis(inputs.calendar[days], -1, 0):
        yield values[:, :, np.newaxis]
    for values in inputs.covariates.weather.values():
        yield values[days, :, chosen] if values.ndim == 3 else values[days, :, np.newaxis]
    if inputs.covariates.own is not None:
        yield (inputs.covariates.own[days, :, chosen] - ridge) / scale


def recent_errors(error: np.ndarray, known: int) -> Iterator[np.ndarray]:
    """What a forecast missed lately in the order of `ERROR_FEATURES`, each broadcast to (day, slot, asset)."""
    week = [days_before(error, back) for back in range(2, 9)]
    yield week[0]
    yield mean_of(week)
    yield mean_of([np.abs(days_before(error, back)) for back in range(2, 16)])
    yield mean_of_slots(days_before(error, 1)[:, :known]) if known else np.full_like(error[:, :1], np.nan)
    yield mean_of_slots(week[0])


def training_set(inputs: TreeInputs, days: slice, budget: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (row, feature) drawn evenly from all series, and their targets (row,)."""
    generator = np.random.default_rng([seed, days.stop])
    share = max(1, budget // inputs.cube.shape[2])
    rows, targets = [], []
    for block in blocks_of(inputs.cube.shape[2]):
        target = (inputs.cube[days, :, block] - inputs.ridge[days, :, block]) / inputs.scale[days, np.newaxis, block]
        picked = np.concatenate([_draw(target[:, :, a], a, share, generator) for a in range(target.shape[2])], axis=1)
        rows.append(tree_rows(inputs, days, block)[tuple(picked)])
        targets.append(target[tuple(picked)])
    return np.concatenate(rows), np.concatenate(targets).astype(np.float32)


def _draw(target: np.ndarray, asset: int, share: int, generator: np.random.Generator) -> np.ndarray:
    """Positions (day, slot, asset) of at most `share` known targets of one series, (3, row)."""
    day, slot = np.nonzero(np.isfinite(target))
    picked = np.sort(generator.permutation(len(day))[:share])
    return np.stack([day[picked], slot[picked], np.full(len(picked), asset)])


def train_quantiles(
    rows: np.ndarray,
    target: np.ndarray,
    levels: Sequence[float],
    *,
    seed: int,
    threads: int,
    settings: dict[str, Any] = LIGHTGBM,
) -> list[Any]:
    """One booster per level on rows that are binned once."""
    import lightgbm

    base = settings | {"seed": seed, "num_threads": threads}
    data = lightgbm.Dataset(rows, target, params=base)
    return [lightgbm.train(base | {"objective": "quantile", "alpha": level}, data) for level in levels]


def predict_quantiles(boosters: list[Any], inputs: TreeInputs, days: slice, out: np.ndarray) -> None:
    """Write the quantiles of some days into `out`, (level, day, slot, asset)."""
    for block in blocks_of(inputs.cube.shape[2]):
        rows = tree_rows(inputs, days, block)
        base, scale = inputs.ridge[days, :, block], inputs.scale[days, np.newaxis, block]
        for number, booster in enumerate(boosters):
            correction = booster.predict(rows.reshape(-1, rows.shape[-1])).reshape(base.shape)
            out[number, days, :, block] = base + scale * correction
