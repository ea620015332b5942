"""Calibrated quantiles from the errors that a rolled forecast made on past days.

The band of day d reads the actual values of days up to d - 2 alone: of the day of
issue the morning is known at best, and half a day would tilt the errors. An
error is divided by the size that errors of its slot, its type of day and its level of
forecast had before (`error_scales`). What is left has the same distribution on
every day, so that the days of the window are pooled, its quantiles are
taken at conformal places, and the recent share of misses moves them a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.error_quantiles import pooled_quantiles, track_misses
from gridtwin.forecast.error_scales import band_scales, track_scales
from gridtwin.forecast.past_days import alike_days
from gridtwin.forecast.switched import LEAST_RESTING, RESTING, switched_values

ASSETS_AT_ONCE = 128
"""Assets per block: cubes of a block stay in the cache and memory does not grow with the network."""
FEW_DAYS = 14
"""Calibration days below which a band counts as made of few days."""
BAND_STATUS = {
    "calibrated": "errors of at least 14 days",
    "few days": "errors of fewer days; the outer quantiles are extended by an exponential tail",
    "uncalibrated": "no error is known: every value between the bounds is as likely as any other",
}
"""How the band of a day and asset came about."""


@dataclass(frozen=True)
class Calibration:
    """How errors become quantiles.

    Parameters
    ----------
    window : int
        Days whose errors are pooled.
    half_life : float
        Days of the same type after which an error counts half in the scale.
    learning_rate : float
        Step of the online correction per day, in units of the scale; 0 switches it off.
    """

    window: int = 56
    half_life: float = 21.0
    learning_rate: float = 0.2


@dataclass(frozen=True)
class Bands:
    """Calibrated quantiles of the target days.

    Parameters
    ----------
    quantiles : ndarray of float32, (level, day, slot, asset)
        Relative power, rising with the level; NaN only where the point forecast is.
    days : ndarray of int, (day, asset)
        Calibration days that had an error.
    status : ndarray of str, (day, asset)
        Key of `BAND_STATUS`.
    """

    quantiles: np.ndarray
    days: np.ndarray
    status: np.ndarray


@dataclass(frozen=True)
class RolledErrors:
    """A rolled forecast of some assets and what happened.

    Parameters
    ----------
    actual, point : ndarray, (day, slot, asset)
        Relative power, consumption positive; NaN where unknown. Of `actual`
        the values after a target's calibration days may hold anything.
    free : ndarray of bool, (day,)
        Weekend days and holidays.
    model_quantiles : ndarray, (level, day, slot, asset), optional
        Quantiles of the model itself, rolled like the point.
    envelope : ndarray, broadcastable to (day, slot, asset), optional
        Largest possible magnitude, for PV that of a clear sky; known ahead. Errors
        are then measured as its share. NaN for assets without one.
    off : ndarray of bool, broadcastable to (day, slot, asset), optional
        Where the asset cannot run, for PV the night: its quantiles are exactly 0 and
        its errors count nowhere. By default where the envelope is below `RESTING`.
    lower, upper : ndarray, broadcastable to (day, slot, asset), optional
        Physical bounds.
    """

    actual: np.ndarray
    point: np.ndarray
    free: np.ndarray
    model_quantiles: np.ndarray | None = None
    envelope: np.ndarray | None = None
    off: np.ndarray | None = None
    lower: np.ndarray | float = -np.inf
    upper: np.ndarray | float = np.inf


@dataclass(frozen=True)
class Block:
    """Some assets of `RolledErrors`, every cube in full, (day, slot, asset); `model` is None without quantiles."""

    actual: np.ndarray
    point: np.ndarray
    free: np.ndarray
    model: np.ndarray | None
    envelope: np.ndarray
    off: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def blocks_of_assets(rolled: RolledErrors) -> Iterator[tuple[slice, Block]]:
    """`ASSETS_AT_ONCE` assets at a time, and where they stand."""
    shape = rolled.point.shape
    envelope = np.broadcast_to(np.float32(np.nan) if rolled.envelope is None else rolled.envelope, shape)
    off = envelope < RESTING if rolled.off is None else np.broadcast_to(rolled.off, shape)
    lower, upper = np.broadcast_to(rolled.lower, shape), np.broadcast_to(rolled.upper, shape)
    for first in range(0, shape[2], ASSETS_AT_ONCE):
        part = slice(first, first + ASSETS_AT_ONCE)
        model = None if rolled.model_quantiles is None else rolled.model_quantiles[..., part]
        actual, point = rolled.actual[..., part], rolled.point[..., part]
        rest = (cube[..., part] for cube in (envelope, off, lower, upper))
        yield part, Block(actual, point, rolled.free, model, *rest)


def conformal_quantiles(
    rolled: RolledErrors, levels: Sequence[float], targets: np.ndarray, *, how: Calibration | None = None
) -> Bands:
    """Calibrated quantiles of the target days by rolling, locally scaled conformal prediction.

    Parameters
    ----------
    rolled : RolledErrors
        Forecast and outcome; actual values of days up to d - 2 are read for day d.
    levels : sequence of float
        Of the signed value, rising, between 0 and 1.
    targets : ndarray of int, (day,)
        Positions of the days whose quantiles are wanted.
    how : Calibration, optional
        Window and adaption.

    Returns
    -------
    Bands
        Of the target days.

    Raises
    ------
    DataError
        If shapes do not fit, levels do not rise, or targets lie outside of the cube.

    Notes
    -----
    Split conformal prediction [1]_ on errors divided by a local scale, with the model's
    quantiles given conformalised quantile regression [2]_ per level. Errors of
    the slots of one hour and its neighbours are pooled; they belong to the same days, so
    places are counted in days: level q lies at place q (n + 1) of n. Where that place lies
    outside of the sample, the tail is extended exponentially. The misses of the
    window then move each quantile of an asset as in adaptive conformal inference [3]_,
    in the form that tracks the quantile itself [4]_: c <- c + rate (q - share below).

    References
    ----------
    .. [1] V. Vovk et al., Algorithmic Learning in a Random World, Springer, 2005
    .. [2] Y. Romano et al., Conformalized Quantile Regression, NeurIPS, 2019
    .. [3] I. Gibbs, E. Candès, Adaptive Conformal Inference Under Distribution Shift, NeurIPS, 2021
    .. [4] A. Angelopoulos et al., Conformal PID Control for Time Series Prediction, NeurIPS, 2023
    """
    how, targets = how or Calibration(), np.asarray(targets)
    tau = np.asarray(levels, dtype=float)
    check_rolled(rolled, tau, targets)
    shape = (len(targets), *rolled.point.shape[1:])
    quantiles = np.empty((len(tau), *shape), dtype=np.float32)
    days = np.empty((shape[0], shape[2]), dtype=int)
    for part, block in blocks_of_assets(rolled):
        scores = block_scores(block, how)
        for row, day in enumerate(targets):
            quantiles[:, row, :, part], days[row, part] = quantiles_of_day(block, scores, int(day), tau, how=how)
    status = np.select([days == 0, days < FEW_DAYS], ["uncalibrated", "few days"], "calibrated")
    return Bands(quantiles, days, status)


@dataclass(frozen=True)
class Scores:
    """Scaled errors of a block of assets, and what they were measured from and by.

    Parameters
    ----------
    scaled : ndarray, (centre, asset, slot, day)
        Errors over their scale, NaN where off or unknown. One centre for the point
        forecast, one per level for quantiles of the model.
    centres : ndarray, (centre, day, slot, asset)
        What the errors were measured from.
    scales : ndarray, (day, slot, asset)
        Known when the day was forecast.
    early : ndarray of bool, (day,)
        Days with errors from before there was a scale.
    running, resting : ndarray of int, (day, asset)
        Slots at which the asset could run, and at which it rested though it could.
    """

    scaled: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    early: np.ndarray
    running: np.ndarray
    resting: np.ndarray


def block_scores(block: Block, how: Calibration) -> Scores:
    """Errors of all days divided by the scale that was known when the day was forecast."""
    known = ~np.isnan(block.actual) & ~block.off
    actual = np.where(known, block.actual, np.nan).astype(np.float32)
    if block.model is None:
        centres = block.point[np.newaxis].astype(np.float32)
        error = actual - centres[0]
        scales = track_scales(error, centres[0], block.free, envelope=block.envelope, half_life=how.half_life)
    else:
        centres = block.model.astype(np.float32)
        scales = band_scales(centres)
    scaled = np.ascontiguousarray(((actual - centres) / scales).transpose(0, 3, 2, 1))
    early = (np.isnan(scales) & np.isfinite(actual - block.point)).any(axis=(1, 2))
    resting = known & (np.abs(block.actual) < RESTING)
    return Scores(scaled, centres, scales, early, known.sum(axis=1), resting.sum(axis=1))


def quantiles_of_day(
    block: Block, scores: Scores, day: int, tau: np.ndarray, *, how: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (level, slot, asset) of one day and the number of its calibration days (asset,)."""
    window = slice(max(0, day - 1 - how.window), max(0, day - 1))
    past = np.arange(window.start, window.stop)
    scaled = scores.scaled[..., window]
    early = scores.early[window]
    if early.any():
        scaled = scaled.copy()
        late = early_scores(block, scores, past[early], day)
        scaled[..., early] = np.where(np.isnan(scaled[..., early]), late, scaled[..., early])
    places, days = pooled_quantiles(scaled, tau)
    places = places + track_misses(scaled, places, tau, how.learning_rate)[..., np.newaxis]
    values = scores.centres[:, day] + scores.scales[day] * places.transpose(0, 2, 1)
    switched = is_switched(block, scores.resting[window], scores.running[window])
    if switched.any():
        values[..., switched] = switched_of_day(block, day, past, tau, switched=switched)
    return bound_quantiles(block, values, day, tau, days=days), days


def early_scores(block: Block, scores: Scores, early: np.ndarray, day: int) -> np.ndarray:
    """Errors from before there was a scale, measured by that of the target day, (centre, asset, slot, day)."""
    errors = np.where(block.off[early], np.nan, block.actual[early] - scores.centres[:, early])
    return np.asarray((errors / scores.scales[day]).transpose(0, 3, 2, 1), dtype=np.float32)


def is_switched(block: Block, resting: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Assets that rest in a good part of the slots (day, asset) in which they could run, (asset,)."""
    share = resting.sum(axis=0) / np.maximum(running.sum(axis=0), 1)
    return np.asarray((share > LEAST_RESTING) & np.isnan(block.envelope).all(axis=(0, 1)))


def values_of_switched(
    rolled: RolledErrors, tau: np.ndarray, day: int, *, how: Calibration | None = None
) -> np.ndarray:
    """Values of switched assets at any levels, (level, slot, asset); NaN for all other assets.

    Of the same distribution as their quantiles from `conformal_quantiles`, for `copula_paths`.
    """
    window = slice(max(0, day - 1 - (how or Calibration()).window), max(0, day - 1))
    past = np.arange(window.start, window.stop)
    values = np.full((len(tau), *rolled.point.shape[1:]), np.nan, dtype=np.float32)
    for part, block in blocks_of_assets(rolled):
        known = ~np.isnan(block.actual[window]) & ~block.off[window]
        rests = known & (np.abs(block.actual[window]) < RESTING)
        switched = is_switched(block, rests.sum(axis=1), known.sum(axis=1))
        if switched.any():
            found = switched_of_day(block, day, past, tau, switched=switched)
            bounded = np.clip(found, block.lower[day][:, switched], block.upper[day][:, switched])
            values[:, :, np.flatnonzero(switched) + part.start] = bounded
    return values


def switched_of_day(block: Block, day: int, past: np.ndarray, tau: np.ndarray, *, switched: np.ndarray) -> np.ndarray:
    """Values (level, slot, asset) of the switched assets, from the past days of the target's type."""
    alike = past[alike_days(block.free[past], bool(block.free[day]))]
    actual = np.where(block.off[alike], np.nan, block.actual[alike])[..., switched]
    return switched_values(actual, block.point[day][:, switched], tau)


def bound_quantiles(block: Block, values: np.ndarray, day: int, tau: np.ndarray, *, days: np.ndarray) -> np.ndarray:
    """Quantiles rising, within the bounds, 0 where off; between the bounds where no error is known."""
    lower, upper = block.lower[day], block.upper[day]
    known = ~np.isnan(block.point[day]) & (days > 0)
    finite = np.isfinite(lower) & np.isfinite(upper) & ~known
    low, high = np.where(finite, lower, 0), np.where(finite, upper, 0)
    even = low + tau[:, np.newaxis, np.newaxis] * (high - low)
    centre = block.point[day] if block.model is None else block.model[:, day]
    values = np.where(np.isnan(values), centre, values)
    bounded = np.clip(np.sort(np.where(finite, even, values), axis=0), lower, upper)
    return np.asarray(np.where(block.off[day], 0.0, bounded))


def check_rolled(rolled: RolledErrors, tau: np.ndarray, targets: np.ndarray) -> None:
    """Raise if shapes, levels or targets do not fit together."""
    shape, model = rolled.point.shape, rolled.model_quantiles
    wanted = (len(tau), *shape)
    found = [
        (rolled.actual.shape == shape, "actual and point differ in shape", shape, rolled.actual.shape),
        (rolled.free.shape == shape[:1], "one flag per day is needed", shape[:1], rolled.free.shape),
        (
            model is None or model.shape == wanted,
            "quantiles of the model differ in shape",
            wanted,
            getattr(model, "shape", None),
        ),
        (bool((np.diff(tau) > 0).all() and (tau > 0).all() and (tau < 1).all()), "levels", "rising in (0, 1)", tau),
        (bool(((targets >= 0) & (targets < shape[0])).all()), "target days", f"within 0 to {shape[0] - 1}", targets),
    ]
    findings = [
        Finding(what, where="conformal quantiles", expected=str(expected), got=str(got), severity="error")
        for fits, what, expected, got in found
        if not fits
    ]
    if findings:
        raise DataError(findings)
