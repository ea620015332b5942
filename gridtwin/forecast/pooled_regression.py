"""One ridge over all steps of a series, refitted before every forecast from cumulated Gram matrices."""

from __future__ import annotations

import numpy as np

PENALTY_ROWS = 10.0
"""Ridge penalty on features scaled to a mean square of one: as if so many rows said that each weight is zero."""
HALF_LIFE_DAYS = 365.0
"""Age at which a day counts half: systems grow, get dirty, are repaired. [d]"""
ROWS_PER_FEATURE = 3
"""Rows that each feature needs before the first fit."""


def roll_regression(
    features: np.ndarray,
    target: np.ndarray,
    training_end: np.ndarray,
    *,
    penalty_rows: float = PENALTY_ROWS,
    half_life_days: float = HALF_LIFE_DAYS,
) -> np.ndarray:
    """Forecast of every day by a ridge that has learnt from the days before its own `training_end` only.

    Parameters
    ----------
    features : ndarray, (day, slot, feature)
        A step with a NaN feature is neither learnt from nor forecast; include a
        column of ones where a constant is wanted.
    target : ndarray, (day, slot)
        NaN where unknown or not to be learnt from.
    training_end : ndarray of int, (day,)
        Day d is forecast by the days [0, training_end[d]); rolled day-ahead
        forecasts have d - 1, never decreasing.
    penalty_rows : float
        See `PENALTY_ROWS`.
    half_life_days : float
        See `HALF_LIFE_DAYS`. [d]

    Returns
    -------
    ndarray, (day, slot)
        NaN until there are `ROWS_PER_FEATURE` rows per feature.

    Notes
    -----
    w = (Σ_d γ^(n-d) X_d' X_d + penalty diag)⁻¹ Σ_d γ^(n-d) X_d' y_d: the sums grow by one small matrix a
    day, so a refit is one solve of the size of the features.
    """
    there = np.isfinite(features).all(axis=2)
    gram, moment, rows = day_sums(features, np.where(there, target, np.nan))
    decay = 0.5 ** (1 / half_life_days)
    total, right, seen = np.zeros_like(gram[0]), np.zeros_like(moment[0]), 0.0
    known, weights = 0, np.full(features.shape[2], np.nan)
    forecast = np.full(target.shape, np.nan)
    for day, end in enumerate(training_end):
        if end > known:
            for number in range(known, int(end)):
                total, right = decay * total + gram[number], decay * right + moment[number]
                seen += rows[number]
            known = int(end)
            weights = solve_ridge(total, right, penalty_rows, seen)
        forecast[day] = np.where(there[day], np.nan_to_num(features[day]) @ weights, np.nan)
    return forecast


def day_sums(features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'X (day, feature, feature), X'y (day, feature) and number of rows (day,) of every day."""
    used = np.isfinite(target)
    x = np.where(used[:, :, np.newaxis], features, 0.0).astype(float)
    y = np.where(used, target, 0.0).astype(float)
    turned = x.swapaxes(1, 2)
    return turned @ x, (turned @ y[:, :, np.newaxis])[:, :, 0], used.sum(axis=1)


def solve_ridge(gram: np.ndarray, moment: np.ndarray, penalty_rows: float, rows: float) -> np.ndarray:
    """Weights (feature,) of the ridge; NaN with too few rows. A feature that is zero throughout gets none."""
    if rows < ROWS_PER_FEATURE * len(moment):
        return np.full(len(moment), np.nan)
    scale = np.sqrt(np.diag(gram) / rows)
    scale = np.where(scale > 0, scale, 1.0)
    scaled = gram / np.outer(scale, scale) + penalty_rows * np.eye(len(moment))
    return np.asarray(np.linalg.solve(scaled, moment / scale) / scale)
