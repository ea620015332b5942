"""Conditional quantiles: what happened at the past steps that a forest holds for alike."""

from __future__ import annotations

import numpy as np

TREES = 200
LEAF_ROWS = 10
"""Rows of a leaf: some ten of 200 trees share out a few hundred past steps to each forecast."""
CHUNK_ROWS = 512
MOST_ROWS = 10000
"""Past steps that a forest grows from, spread evenly over the past: neighbouring quarter hours say the same twice."""
LEAST_ROWS = 200
"""Past steps below which a forest says nothing of the tails."""


def roll_forest(
    features: np.ndarray,
    point: np.ndarray,
    target: np.ndarray,
    training_end: np.ndarray,
    *,
    levels: tuple[float, ...],
    seed: int,
) -> np.ndarray:
    """Quantiles of every day by a forest that has grown from the days before its own `training_end` only.

    Parameters
    ----------
    features : ndarray, (day, slot, feature)
        Physical features; a step where one is NaN is left out.
    point : ndarray, (day, slot)
        Rolled point forecast, which the forest takes as a feature; NaN where there was none yet.
    target : ndarray, (day, slot)
        NaN where unknown or of no interest, such as nights, which then stay NaN unless asked for.
    training_end : ndarray of int, (day,)
        Days with the same value share a forest: weekly or monthly steps keep it affordable.
    levels : tuple of float
        Between 0 and 1.
    seed : int
        Of the forests.

    Returns
    -------
    ndarray, (level, day, slot)
        NaN where a feature is, and before there are `LEAST_ROWS` rows.
    """
    slot = np.broadcast_to(np.arange(target.shape[1], dtype=float), target.shape)
    design = np.concatenate([features, slot[:, :, np.newaxis], point[:, :, np.newaxis]], axis=2)
    rows = design.reshape(-1, design.shape[2])
    there = np.isfinite(features).all(axis=2)
    quantiles = np.full((len(levels), *target.shape), np.nan)
    for end in np.unique(training_end):
        days = np.flatnonzero(training_end == end)
        past = np.flatnonzero(there[:end] & np.isfinite(target[:end]))
        if len(past) < LEAST_ROWS:
            continue
        past = past[:: -(-len(past) // MOST_ROWS)]
        asked = there[days]
        found = np.full((len(levels), *asked.shape), np.nan)
        found[:, asked] = forest_quantiles(rows[past], target.ravel()[past], design[days][asked], levels, seed=seed)
        quantiles[:, days] = found
    return quantiles


def recalibrate(
    quantiles: np.ndarray, levels: tuple[float, ...], actual: np.ndarray, training_end: np.ndarray
) -> np.ndarray:
    """Move quantiles to the levels that earlier forecasts of the same series have shown them to have.

    Parameters
    ----------
    quantiles : ndarray, (level, day, slot)
        Rolled, such as from `roll_forest`; NaN where there are none.
    levels : tuple of float
        Rising.
    actual : ndarray, (day, slot)
        NaN where unknown or of no interest.
    training_end : ndarray of int, (day,)
        Day d is recalibrated by the forecasts of the days before `training_end[d]`.

    Returns
    -------
    ndarray, (level, day, slot)
        Unchanged until `LEAST_ROWS` forecasts have come true.

    Notes
    -----
    V. Kuleshov, N. Fenner, S. Ermon, Accurate uncertainties for deep learning using calibrated regression,
    ICML 2018: level p becomes the p-quantile of the past probability integral transforms, ties at half.
    Leaves are wider than a single step of weather, so a forest's bands are as a rule too wide.
    """
    ranks = ((quantiles < actual).mean(axis=0) + (quantiles <= actual).mean(axis=0)) / 2
    ranks = np.where(np.isfinite(quantiles[0]) & np.isfinite(actual), ranks, np.nan)
    moved = quantiles.copy()
    for end in np.unique(training_end):
        past = ranks[:end][np.isfinite(ranks[:end])]
        if len(past) < LEAST_ROWS:
            continue
        days = np.flatnonzero(training_end == end)
        shown = np.clip(np.quantile(past, levels), levels[0], levels[-1])
        above = np.clip(np.searchsorted(levels, shown), 1, len(levels) - 1)
        share = (shown - np.take(levels, above - 1)) / (np.take(levels, above) - np.take(levels, above - 1))
        share = share[:, np.newaxis, np.newaxis]
        moved[:, days] = (1 - share) * quantiles[above - 1][:, days] + share * quantiles[above][:, days]
    return moved


def forest_quantiles(
    features: np.ndarray, target: np.ndarray, asked: np.ndarray, levels: tuple[float, ...], *, seed: int
) -> np.ndarray:
    """Quantiles of the target given features.

    Parameters
    ----------
    features : ndarray, (row, feature)
        Of the past; NaN goes its own way at a split.
    target : ndarray, (row,)
        What happened.
    asked : ndarray, (step, feature)
        For which quantiles are asked.
    levels : tuple of float
        Between 0 and 1.
    seed : int
        Of the forest.

    Returns
    -------
    ndarray, (level, step)
        Within the range of the target, rising with the level.

    Notes
    -----
    Weights of past steps by the leaves they share with the step asked for; N. Meinshausen,
    Quantile Regression Forests, Journal of Machine Learning Research 7, 2006.
    """
    from scipy.sparse import csr_matrix
    from sklearn.ensemble import RandomForestRegressor

    order = np.argsort(target, kind="stable")
    features, target = features[order], target[order]
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=LEAF_ROWS, max_features=1 / 3, n_jobs=1, random_state=seed
    ).fit(features, target)
    first = np.concatenate([[0], np.cumsum([tree.tree_.node_count for tree in forest.estimators_])])
    past_leaves, asked_leaves = forest.apply(features) + first[:-1], forest.apply(asked) + first[:-1]
    size = np.bincount(past_leaves.ravel(), minlength=first[-1])
    past = csr_matrix(
        (np.ones(past_leaves.size), past_leaves.ravel(), np.arange(0, past_leaves.size + 1, TREES)),
        shape=(len(features), first[-1]),
    )
    quantiles = np.empty((len(levels), len(asked)))
    for start in range(0, len(asked), CHUNK_ROWS):
        leaves = asked_leaves[start : start + CHUNK_ROWS]
        weight = 1 / (TREES * size[leaves].ravel())
        rows = csr_matrix(
            (weight, leaves.ravel(), np.arange(0, leaves.size + 1, TREES)), shape=(len(leaves), first[-1])
        )
        quantiles[:, start : start + len(leaves)] = weighted_quantiles((rows @ past.T).tocsr(), target, levels)
    return quantiles


def weighted_quantiles(weights: object, target: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles (level, row) of the sorted `target` under the sparse weights of each row."""
    weights.sort_indices()  # type: ignore[attr-defined]
    begin, columns, values = weights.indptr, weights.indices, weights.data  # type: ignore[attr-defined]
    quantiles = np.empty((len(levels), len(begin) - 1))
    for row in range(len(begin) - 1):
        part = slice(begin[row], begin[row + 1])
        middle = np.cumsum(values[part]) - values[part] / 2
        quantiles[:, row] = np.interp(levels, middle, target[columns[part]])
    return quantiles
