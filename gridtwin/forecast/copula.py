"""Sample paths with the calibrated quantiles of every asset and the dependence that past days had.

Which assets and hours err together is taken from the errors of whole past days over all assets at
once; how far each value lies out is taken from its calibrated quantiles. So the band of
a sum is right: independent paths would cancel out and make it too narrow (`compare_sums`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.past_days import draw_days
from gridtwin.forecast.score_rules import pinball_loss

MIXED = 0.25
"""Share of a path's variance that comes from all days instead of its own, so that paths of one day differ. [-]"""
TAIL_REACH = 0.5
"""Least distance, in normal scores, over which the slope of a tail is taken."""
ASSETS_AT_ONCE = 256
"""Assets per block, so that memory does not grow with the network."""


def copula_paths(
    quantiles: np.ndarray,
    levels: Sequence[float],
    errors: np.ndarray,
    slot: np.ndarray,
    *,
    paths: int,
    seed: int | Sequence[int],
    lower: np.ndarray | float = -np.inf,
    upper: np.ndarray | float = np.inf,
    exact: np.ndarray | None = None,
) -> np.ndarray:
    """Correlated sample paths of one day.

    Parameters
    ----------
    quantiles : ndarray, (level, time, asset)
        Calibrated, rising with the level.
    levels : sequence of float
        At least two, rising.
    errors : ndarray, (day, slot, asset)
        Of whole past days, best divided by their scale; NaN where unknown. Their ranks alone are used.
    slot : ndarray of int, (time,)
        Clock slot of each step.
    paths : int
        Number of paths, more or fewer than there are days.
    seed : int or sequence of int
        Same seed, same paths. With one seed for consecutive days and a window of errors
        that moves along, a path takes consecutive past days and has no seam at midnight.
    lower, upper : ndarray, broadcastable to (time, asset)
        Physical bounds, within which the tails stay.
    exact : ndarray, (path, time, asset), optional
        Values at the levels (i - 1/2)/paths where they are known better than from the quantiles,
        NaN elsewhere; as of cars, which run or rest.

    Returns
    -------
    ndarray of float32, (path, time, asset)
        At every step and asset the paths are the quantiles at (i - 1/2)/paths, i = 1 to `paths`, in
        the order that the dependence asks for.

    Raises
    ------
    DataError
        If shapes or levels do not fit, or there are no errors at all.

    Notes
    -----
    The reordering of the Schaake shuffle [1]_ and of ensemble copula coupling [2]_, with forecast
    errors as template. To get more paths than days, and none twice, a path's template is a
    mixture of normal scores, sqrt(1 - m) of its own day and sqrt(m) of a random direction in the
    space of all days: the weights are the same for all assets and steps, which keeps their
    correlations. An unknown error takes the mean score of the other assets on that day.

    References
    ----------
    .. [1] M. Clark et al., The Schaake Shuffle, Journal of Hydrometeorology 5(1), 2004,
       doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2
    .. [2] R. Schefzik et al., Uncertainty Quantification in Complex Simulation Models Using Ensemble
       Copula Coupling, Statistical Science 28(4), 2013, doi:10.1214/13-STS443
    """
    tau = np.asarray(levels, dtype=float)
    _check_template(quantiles, tau, errors, slot)
    weights = path_weights(len(errors), paths, np.random.default_rng(seed))
    common = common_scores(errors)
    curve = curve_weights(tau, paths)
    shape = quantiles.shape[1:]
    lower, upper = np.broadcast_to(lower, shape), np.broadcast_to(upper, shape)
    result = np.empty((paths, *shape), dtype=np.float32)
    for first in range(0, shape[1], ASSETS_AT_ONCE):
        part = slice(first, first + ASSETS_AT_ONCE)
        values = quantiles[..., part].transpose(1, 2, 0) @ curve.T
        values = np.clip(values, lower[:, part, np.newaxis], upper[:, part, np.newaxis])
        if exact is not None:
            own = np.moveaxis(exact[..., part], 0, -1)
            values = np.where(np.isnan(own), values, own)
        order = np.argsort(day_scores(errors[..., part], common) @ weights.T, axis=-1)
        drawn = np.empty(values.shape, dtype=np.float32)
        np.put_along_axis(drawn, order[slot], values, axis=-1)
        result[..., part] = drawn.transpose(2, 0, 1)
    return result


def _check_template(quantiles: np.ndarray, tau: np.ndarray, errors: np.ndarray, slot: np.ndarray) -> None:
    """Raise if quantiles, levels, errors and slots do not belong together."""
    assets, steps = quantiles.shape[2], quantiles.shape[1]
    found = [
        (len(tau) >= 2 and bool((np.diff(tau) > 0).all()), "levels", "two or more, rising", str(tau)),
        (len(quantiles) == len(tau), "quantiles per level", str(len(tau)), str(len(quantiles))),
        (len(slot) == steps, "slots of the steps", str(steps), str(len(slot))),
        (errors.shape[2] == assets, "assets with errors", str(assets), str(errors.shape[2])),
        (len(errors) >= 2, "days with errors", "2 or more", str(len(errors))),
    ]
    findings = [
        Finding(f"paths cannot be drawn: {what} do not fit", expected=expected, got=got, severity="error")
        for fits, what, expected, got in found
        if not fits
    ]
    if findings:
        raise DataError(findings)


def path_weights(days: int, paths: int, generator: np.random.Generator) -> np.ndarray:
    """Weight of every past day in the template of every path, rows of length 1, (path, day)."""
    own = np.eye(days)[draw_days(days, paths, generator)]
    mixture = generator.standard_normal((paths, days))
    mixture /= np.linalg.norm(mixture, axis=1, keepdims=True)
    weights = np.sqrt(1 - MIXED) * own + np.sqrt(MIXED) * mixture
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)


def normal_scores(errors: np.ndarray) -> np.ndarray:
    """Normal quantile of the rank of each error (..., day) among the known days, NaN where unknown.

    >>> normal_scores(np.array([0.3, np.nan, -2.0])).astype(float).round(3).tolist()
    [0.674, nan, -0.674]
    """
    from scipy.special import ndtri

    days = errors.shape[-1]
    table = np.full((days + 1, days), np.nan, dtype=np.float32)
    for known in range(1, days + 1):
        table[known, :known] = ndtri((np.arange(known) + 0.5) / known)
    count = (~np.isnan(errors)).sum(axis=-1, keepdims=True)
    scores = np.empty(errors.shape, dtype=np.float32)
    np.put_along_axis(scores, np.argsort(errors, axis=-1, kind="stable"), table[count[..., 0]], axis=-1)
    return scores


def common_scores(errors: np.ndarray) -> np.ndarray | None:
    """Mean score over the assets that have one, (slot, 1, day), 0 where none has; None if none is missing."""
    if not np.isnan(errors).any():
        return None
    total, count = (np.zeros((errors.shape[1], 1, len(errors))) for _ in range(2))
    for first in range(0, errors.shape[2], ASSETS_AT_ONCE):
        scores = normal_scores(by_slot(errors[..., first : first + ASSETS_AT_ONCE]))
        total += np.nansum(scores, axis=1, keepdims=True)
        count += (~np.isnan(scores)).sum(axis=1, keepdims=True)
    return np.asarray(total / np.maximum(count, 1), dtype=np.float32)


def by_slot(errors: np.ndarray) -> np.ndarray:
    """(day, slot, asset) -> (slot, asset, day)."""
    return np.ascontiguousarray(errors.transpose(1, 2, 0))


def day_scores(errors: np.ndarray, common: np.ndarray | None) -> np.ndarray:
    """Normal scores without gaps, (slot, asset, day)."""
    scores = normal_scores(by_slot(errors))
    return scores if common is None else np.asarray(np.where(np.isnan(scores), common, scores))


def curve_weights(tau: np.ndarray, paths: int) -> np.ndarray:
    """Weights that turn quantiles into values at the levels (i - 1/2)/paths, (path, level).

    Between two levels, and beyond the outer ones, the curve is linear in the normal score, which is
    exact for a normal distribution. The slope of a tail is that from the outer level to the next one
    that lies at least `TAIL_REACH` further in.

    >>> curve_weights(np.array([0.1, 0.5, 0.9]), 5).astype(float).round(2)[:, 0].tolist()
    [1.0, 0.41, 0.0, 0.0, 0.0]
    """
    from scipy.special import ndtri

    known, wanted = ndtri(tau), ndtri((np.arange(paths) + 0.5) / paths)
    last = len(tau) - 1
    right = np.clip(np.searchsorted(known, wanted), 1, last)
    left = right - 1
    inward = np.append(np.flatnonzero(known >= known[0] + TAIL_REACH), last)[0]
    outward = np.append(0, np.flatnonzero(known <= known[-1] - TAIL_REACH))[-1]
    right = np.where(wanted < known[0], inward, right)
    left, right = np.where(wanted > known[-1], outward, left), np.where(wanted > known[-1], last, right)
    share = (wanted - known[left]) / (known[right] - known[left])
    weights, rows = np.zeros((paths, len(tau))), np.arange(paths)
    weights[rows, left] = 1 - share
    weights[rows, right] = share
    return np.asarray(weights, dtype=np.float32)


def independent_paths(paths: np.ndarray, seed: int | Sequence[int]) -> np.ndarray:
    """The same paths with each asset's in an order of its own: same quantiles, no dependence between assets."""
    generator = np.random.default_rng(seed)
    return np.stack([generator.permutation(paths[..., asset]) for asset in range(paths.shape[-1])], axis=-1)


def compare_sums(
    paths: np.ndarray, actual: np.ndarray, groups: Sequence[str], *, seed: int = 0, share: float = 0.8
) -> pd.DataFrame:
    """Coverage and width of the band of sums, with the dependence of the paths and without it.

    Parameters
    ----------
    paths : ndarray, (path, time, asset)
        Correlated sample paths, any unit.
    actual : ndarray, (time, asset)
        What happened, same unit.
    groups : sequence of str
        Group of each asset, such as its transformer.
    seed : int
        Of the independent order.
    share : float
        Nominal coverage of the band. [-]

    Returns
    -------
    DataFrame
        One row per group and dependence (`copula`, `independent`): `assets`, `steps`,
        `coverage_percent`, mean `width` of the band, mean `pinball` of its two edges.
    """
    labels = np.asarray(groups)
    rows = []
    for group in dict.fromkeys(groups):
        members = labels == group
        own, total = paths[..., members], actual[:, members].sum(axis=-1)
        for name, drawn in (("copula", own), ("independent", independent_paths(own, seed))):
            label = {"group": group, "dependence": name, "assets": int(members.sum())}
            rows.append(label | score_sum(drawn.sum(axis=-1), total, share))
    return pd.DataFrame(rows)


def score_sum(paths: np.ndarray, actual: np.ndarray, share: float) -> dict[str, float]:
    """Coverage, width and pinball loss of the band of a sum (path, time) over the known steps."""
    known = np.isfinite(actual)
    edges = np.array([(1 - share) / 2, (1 + share) / 2])
    low, high = band = np.quantile(paths[:, known], edges, axis=0, method="hazen")
    inside = (actual[known] >= low) & (actual[known] <= high)
    return {
        "steps": int(known.sum()),
        "coverage_percent": float(100 * inside.mean()),
        "width": float((high - low).mean()),
        "pinball": float(pinball_loss(actual[known], band, edges).mean()),
    }
