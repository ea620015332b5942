"""Several forecasts of the same days as one, weighted by how well each did lately."""

from __future__ import annotations

import numpy as np

HALF_LIFE_DAYS = 60.0
"""An error that old counts half of yesterday's."""
SHARPNESS = 8.0
"""Exponent of the inverse error: a forecast 10 % worse than another weighs half as much."""


def recent_error(forecast: np.ndarray, actual: np.ndarray, *, delay: int, half_life: float) -> np.ndarray:
    """Discounted mean absolute error known when each day is forecast, (model, day, asset); NaN without any.

    Parameters
    ----------
    forecast : ndarray, (model, day, slot, asset)
        Rolled forecasts; days that not all of them forecast are left out.
    actual : ndarray, (day, slot, asset)
        What happened.
    delay : int
        Days between a day and the last one that was complete at its issue.
    half_life : float
        Of the weight of an error. [day]
    """
    return discounted_error(np.stack([daily_error(one, actual) for one in forecast]), delay=delay, half_life=half_life)


def discounted_error(error: np.ndarray, *, delay: int, half_life: float) -> np.ndarray:
    """Discounted mean of daily errors (model, day, asset) up to `delay` days before each day, of the same shape.

    Days on which not all models have an error are left out; NaN where no day is left.
    """
    shared = np.isfinite(error).all(axis=0)
    kept = 0.5 ** (1 / half_life)
    total, weight = np.zeros_like(error[:, 0]), np.zeros_like(error[0, 0])
    recent = np.full_like(error, np.nan)
    for day in range(delay, error.shape[1]):
        known = shared[day - delay]
        total = kept * total + np.where(known, np.nan_to_num(error[:, day - delay]), 0.0)
        weight = kept * weight + known
        recent[:, day] = np.where(weight > 0, total / np.maximum(weight, 1e-12), np.nan)
    return recent


def skill_weights(recent: np.ndarray, sharpness: float = SHARPNESS) -> np.ndarray:
    """Weights (model, day, asset) that sum to 1, by a power of the inverse error; equal where no error is known.

    >>> skill_weights(np.array([1.0, 2.0]).reshape(2, 1, 1), 2.0).ravel().tolist()
    [0.8, 0.2]
    """
    best = np.fmin.reduce(recent, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(recent > 0, best / recent, 1.0) ** sharpness
    relative = np.where(np.isnan(recent), 1.0, relative)
    return np.asarray(relative / relative.sum(axis=0))


def blend_by_skill(
    forecast: np.ndarray,
    actual: np.ndarray,
    *,
    delay: int = 2,
    half_life: float = HALF_LIFE_DAYS,
    sharpness: float = SHARPNESS,
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of rolled forecasts, and its weights.

    Parameters
    ----------
    forecast : ndarray, (model, day, slot, asset)
        Rolled forecasts; NaN where a model has none, it then has no weight there.
    actual : ndarray, (day, slot, asset)
        What happened; the weights of a day read only days up to `delay` before it.

    Returns
    -------
    blended : ndarray, (day, slot, asset)
        NaN where no model has a forecast.
    weights : ndarray, (model, day, asset)

    Notes
    -----
    Weights by a power of the inverse error of recent forecasts: J. M. Bates,
    C. W. J. Granger, The combination of forecasts, Operational Research Quarterly
    20(4), 1969, there with power 2 of the root mean square.
    """
    weights = skill_weights(recent_error(forecast, actual, delay=delay, half_life=half_life), sharpness)
    there = np.isfinite(forecast)
    each = np.where(there, weights[:, :, np.newaxis], 0.0)
    total = each.sum(axis=0)
    mixed = np.where(there, forecast, 0.0)
    blended = (each * mixed).sum(axis=0) / np.where(total > 0, total, np.nan)
    return blended, weights


def daily_error(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Mean absolute error over the slots of (day, slot, asset) that hold both values, (day, asset); NaN without any."""
    error = np.abs(forecast - actual)
    there = np.isfinite(error)
    count = there.sum(axis=1)
    return np.asarray(np.where(there, error, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan))
