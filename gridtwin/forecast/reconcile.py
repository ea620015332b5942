"""Forecasts that add up: assets, feeders and stations made coherent, as points and as sample paths.

Each node may be forecast by itself, and a feeder's own forecast is often better than the sum of its
assets'. Reconciliation changes all of them as little as their errors allow until every sum holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.hierarchy import Hierarchy

Method = Literal["bottom_up", "ols", "wls_structural", "wls_variance", "mint_sample", "mint_shrink"]
NEEDS_ERRORS = ("wls_variance", "mint_sample", "mint_shrink")
RIDGE = 1e-9
"""Added to the variance of the incoherence as a share of its mean, so that a sum without error stays solvable."""
ROWS_AT_ONCE = 256
"""Steps of all paths that are reconciled at a time."""


@dataclass(frozen=True)
class Coherent:
    """Forecasts that add up, (..., asset) and (..., sum)."""

    assets: np.ndarray
    sums: np.ndarray


@dataclass(frozen=True)
class Reconciliation:
    """How incoherence is shared out among the assets; from `fit_reconciliation`.

    Parameters
    ----------
    hierarchy : Hierarchy
        Names and sums.
    method : str
        One of `Method`.
    gain : ndarray or sparse matrix, (asset, sum), or None
        Change of each asset per unit by which the own forecast of a sum exceeds that of its assets, before
        `solve`; None for bottom-up.
    solve : ndarray, (sum, sum), or None
        Applied to the incoherence first.
    shrinkage : float
        Weight of the diagonal in the covariance of errors. [-]
    """

    hierarchy: Hierarchy
    method: Method
    gain: Any
    solve: np.ndarray | None
    shrinkage: float


def fit_reconciliation(
    hierarchy: Hierarchy,
    method: Method,
    *,
    asset_errors: np.ndarray | None = None,
    sum_errors: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
) -> Reconciliation:
    """Reconciliation by trace minimization.

    Parameters
    ----------
    hierarchy : Hierarchy
        Names and sums.
    method : Method
        `bottom_up` ignores the forecasts of sums. The covariance W of the errors of all nodes is
        taken as the identity (`ols`), as the number of assets below a node (`wls_structural`), as
        the mean square of each node's errors (`wls_variance`), or in full, as it is
        (`mint_sample`) or shrunk towards its diagonal (`mint_shrink`).
    asset_errors, sum_errors : ndarray, (sample, asset) and (sample, sum)
        Past errors, in the same unit, MW say, for all nodes; without gaps.
    fixed : ndarray of bool, (asset,), optional
        Assets whose forecast must not change, such as those declared by their owner.

    Returns
    -------
    Reconciliation

    Raises
    ------
    DataError
        If a method lacks the errors that it needs, or they do not fit.

    Notes
    -----
    With base forecasts y, the constraint C y = 0, C = [I, -A] (sums minus what the assets A add up
    to) the reconciled forecast is y - W C' (C W C')^-1 C y [1]_, equal to the projection
    S (S' W^-1 S)^-1 S' W^-1 y, but with an inverse of the size of the upper nodes alone, and for W of samples
    without ever forming a matrix of all nodes.

    References
    ----------
    .. [1] S. Wickramasuriya et al., Optimal Forecast Reconciliation for Hierarchical and Grouped Time Series
       Through Trace Minimization, JASA 114(526), 2019, doi:10.1080/01621459.2018.1448825
    """
    _check_fit(hierarchy, method, asset_errors, sum_errors)
    if method == "bottom_up":
        return Reconciliation(hierarchy, method, None, None, 0.0)
    matrix = hierarchy.matrix.astype(float)
    free = np.ones(len(hierarchy.assets)) if fixed is None else 1.0 - np.asarray(fixed, dtype=float)
    if method in ("mint_sample", "mint_shrink"):
        assert asset_errors is not None
        assert sum_errors is not None
        return _fit_samples(hierarchy, method, asset_errors * free, sum_errors)
    asset_weight, sum_weight = _diagonal(hierarchy, method, asset_errors, sum_errors)
    gain = matrix.multiply(asset_weight * free).T.tocsr()
    variance = np.diag(sum_weight) + (matrix @ gain).toarray()
    return Reconciliation(hierarchy, method, gain, _invert(variance), 1.0)


def _diagonal(
    hierarchy: Hierarchy, method: Method, asset_errors: np.ndarray | None, sum_errors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal of W for assets and sums."""
    if method == "wls_variance" and asset_errors is not None and sum_errors is not None:
        return np.mean(np.square(asset_errors, dtype=float), axis=0), np.mean(
            np.square(sum_errors, dtype=float), axis=0
        )
    below = np.asarray(hierarchy.matrix.sum(axis=1), dtype=float).ravel()
    return np.ones(len(hierarchy.assets)), below if method == "wls_structural" else np.ones(len(below))


def _fit_samples(
    hierarchy: Hierarchy, method: Method, asset_errors: np.ndarray, sum_errors: np.ndarray
) -> Reconciliation:
    """W = s diag(V) + (1 - s) V for the covariance V of samples, kept as diagonal and samples."""
    samples = len(asset_errors)
    assets = np.asarray(asset_errors - asset_errors.mean(axis=0), dtype=float)
    sums = np.asarray(sum_errors - sum_errors.mean(axis=0), dtype=float)
    share = shrinkage_intensity(np.concatenate([sums, assets], axis=1)) if method == "mint_shrink" else 0.0
    incoherence = sums - hierarchy.add_up(assets)
    matrix = hierarchy.matrix.astype(float)
    scale = 1 / (samples - 1)
    own = matrix.multiply(share * scale * np.square(assets).sum(axis=0)).T.tocsr()
    diagonal = np.diag(share * scale * np.square(sums).sum(axis=0)) + (matrix @ own).toarray()
    variance = diagonal + (1 - share) * scale * incoherence.T @ incoherence
    gain = own.toarray() - (1 - share) * scale * assets.T @ incoherence
    return Reconciliation(hierarchy, method, gain, _invert(variance), share)


def _invert(variance: np.ndarray) -> np.ndarray:
    """Inverse of the variance of the incoherence, (sum, sum)."""
    ridge = RIDGE * max(float(np.trace(variance)) / max(len(variance), 1), np.finfo(float).tiny)
    return np.asarray(np.linalg.inv(variance + ridge * np.eye(len(variance))))


def shrinkage_intensity(errors: np.ndarray) -> float:
    """Best weight of the diagonal against the sample correlation, by Schäfer and Strimmer [1]_.

    Parameters
    ----------
    errors : ndarray, (sample, node)
        Any unit; nodes without spread are left out.

    Returns
    -------
    float
        Between 0 and 1. [-]

    Notes
    -----
    Sum of the variances of the correlations off the diagonal by the sum of their squares. Both sums follow
    from inner products over the shorter of the two dimensions, so that no matrix of all nodes is needed.

    References
    ----------
    .. [1] J. Schäfer, K. Strimmer, A Shrinkage Approach to Large-Scale Covariance Matrix Estimation, Statistical
       Applications in Genetics and Molecular Biology 4(1), 2005, doi:10.2202/1544-6115.1175
    """
    samples = len(errors)
    centred = errors - errors.mean(axis=0)
    spread = np.sqrt(np.square(centred).sum(axis=0) / (samples - 1))
    unit = centred[:, spread > 0] / spread[spread > 0]
    shorter = unit @ unit.T if samples < unit.shape[1] else unit.T @ unit
    squares = np.square(unit)
    sum_of_products = np.square(squares.sum(axis=1)).sum() - np.square(squares).sum()
    sum_of_means = np.square(shorter).sum() / samples - np.square(squares.sum(axis=0)).sum() / samples
    variances = samples / (samples - 1) ** 3 * (sum_of_products - sum_of_means)
    correlations = sum_of_means * samples / (samples - 1) ** 2
    return float(np.clip(variances / correlations, 0.0, 1.0)) if correlations > 0 else 1.0


def reconcile(
    reconciliation: Reconciliation,
    assets: np.ndarray,
    sums: np.ndarray | None = None,
    *,
    lower: np.ndarray | float = -np.inf,
    upper: np.ndarray | float = np.inf,
) -> Coherent:
    """Coherent forecasts from those of every node, points or paths.

    Parameters
    ----------
    reconciliation : Reconciliation
        From `fit_reconciliation`.
    assets, sums : ndarray, (..., asset) and (..., sum)
        Base forecasts. Paths (path, time, node) are reconciled one by one [1]_: path i of a sum and
        of the assets must be drawn jointly, as `copula_paths` does with the sums as further assets.
    lower, upper : ndarray, broadcastable to (..., asset)
        Bounds of the assets. A value beyond is cut, and sums are taken afterwards.

    Returns
    -------
    Coherent
        Sums are those of the assets in the precision of the input.

    Raises
    ------
    DataError
        If shapes do not fit or a method lacks the forecasts of sums.

    References
    ----------
    .. [1] A. Panagiotelis et al., Probabilistic Forecast Reconciliation: Properties, Evaluation and Score
       Optimisation, European Journal of Operational Research 306(2), 2023, doi:10.1016/j.ejor.2022.07.040
    """
    _check_base(reconciliation, assets, sums)
    changed = assets if sums is None or reconciliation.solve is None else _share_out(reconciliation, assets, sums)
    bounded = changed if np.all(np.isneginf(lower)) and np.all(np.isposinf(upper)) else np.clip(changed, lower, upper)
    return Coherent(bounded, reconciliation.hierarchy.add_up(bounded))


def _share_out(reconciliation: Reconciliation, assets: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Base forecasts of the assets plus their share of the incoherence."""
    solve, gain = reconciliation.solve, reconciliation.gain
    flat, tops = assets.reshape(-1, assets.shape[-1]), sums.reshape(-1, sums.shape[-1])
    changed = np.empty_like(flat)
    gain = gain.astype(flat.dtype)
    for first in range(0, len(flat), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        incoherence = tops[rows] - reconciliation.hierarchy.add_up(flat[rows])
        changed[rows] = flat[rows] + (gain @ np.ascontiguousarray((incoherence @ solve).T, dtype=flat.dtype)).T
    return changed.reshape(assets.shape)


def _check_fit(
    hierarchy: Hierarchy, method: Method, asset_errors: np.ndarray | None, sum_errors: np.ndarray | None
) -> None:
    """Raise if the method is unknown, or the errors that it needs are not there or do not fit."""
    nodes = (len(hierarchy.assets), len(hierarchy.sums))
    given = (asset_errors, sum_errors)
    findings = []
    if method not in get_args(Method):
        findings.append(_finding("unknown method", " or ".join(get_args(Method)), str(method)))
    elif method in NEEDS_ERRORS:
        for errors, width in zip(given, nodes, strict=True):
            if errors is None or errors.ndim != 2 or errors.shape[1] != width or len(errors) < 2:
                shape = "none" if errors is None else str(errors.shape)
                findings.append(_finding(f"{method} needs past errors", f"(2 or more samples, {width})", shape))
            elif not np.isfinite(errors).all():
                findings.append(_finding(f"{method} needs errors without gaps", "finite values", "NaN"))
    if findings:
        raise DataError(findings)


def _check_base(reconciliation: Reconciliation, assets: np.ndarray, sums: np.ndarray | None) -> None:
    """Raise if base forecasts do not fit the hierarchy."""
    hierarchy = reconciliation.hierarchy
    findings = []
    if assets.shape[-1] != len(hierarchy.assets):
        findings.append(_finding("forecasts of assets do not fit", str(len(hierarchy.assets)), str(assets.shape[-1])))
    wanted = (*assets.shape[:-1], len(hierarchy.sums))
    if sums is None and reconciliation.method != "bottom_up":
        findings.append(_finding(f"{reconciliation.method} needs forecasts of the sums", str(wanted), "none"))
    if sums is not None and sums.shape != wanted:
        findings.append(_finding("forecasts of sums do not fit", str(wanted), str(sums.shape)))
    if findings:
        raise DataError(findings)


def _finding(what: str, expected: str, got: str) -> Finding:
    return Finding(what, where="reconciliation", expected=expected, got=got, severity="error", code="GT-F11")
