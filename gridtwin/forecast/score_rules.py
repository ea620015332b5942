"""Proper scoring rules on plain arrays: quantiles and sample paths against what happened.

All are losses, smaller is better, in the unit of the power unless said otherwise, and each is proper:
on average nothing beats the distribution that the outcome is drawn from. Unknown outcomes (NaN) give NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_BYTES = 64 * 2**20
"""Memory that one block of a path score may take. [B]"""
VARIOGRAM_ORDER = 0.5
"""Order of the variogram score; Scheuerer and Hamill recommend 0.5. [-]"""


def pinball_loss(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Pinball loss of quantile forecasts, (quantile, ...).

    Parameters
    ----------
    actual : ndarray, (...)
        What happened. [MW]
    quantiles : ndarray, (quantile, ...)
        Forecast. [MW]
    levels : ndarray, (quantile,)
        Probability below each quantile. [-]

    Notes
    -----
    max(a (y - q), (a - 1)(y - q)) [1]_; Darts' `ql` is twice that.

    References
    ----------
    .. [1] R. Koenker, G. Bassett, Econometrica 46(1), 1978, doi:10.2307/1913643

    Examples
    --------
    >>> pinball_loss(np.array([3.0]), np.array([[1.0], [4.0]]), np.array([0.1, 0.9])).round(3).tolist()
    [[0.2], [0.1]]
    """
    above = actual - quantiles
    level = along_first(levels, above.ndim)
    return np.asarray(np.maximum(level * above, (level - 1) * above))


def along_first(values: np.ndarray, ndim: int) -> np.ndarray:
    """Values along the first of `ndim` dims, (quantile, 1, ...)."""
    return np.asarray(values).reshape(-1, *[1] * (ndim - 1))


def interval_score(actual: np.ndarray, low: np.ndarray, high: np.ndarray, share: float) -> np.ndarray:
    """Interval score (Winkler) of a central band, (...). [MW]

    Parameters
    ----------
    actual, low, high : ndarray, (...)
        What happened and the edges of the band. [MW]
    share : float
        Nominal share inside the band, 0.8 between the quantiles 0.1 and 0.9. [-]

    Notes
    -----
    (h - l) + 2/a (l - y)+ + 2/a (y - h)+ with a = 1 - share [1]_, equation 43. It is 2/a times the sum of
    the pinball losses of the two edges.

    References
    ----------
    .. [1] T. Gneiting, A. E. Raftery, Journal of the American Statistical Association 102(477), 2007,
       doi:10.1198/016214506000001437

    Examples
    --------
    >>> interval_score(np.array([2.0, 5.0]), np.array([1.0, 1.0]), np.array([3.0, 3.0]), 0.5).tolist()
    [2.0, 10.0]
    """
    outside = np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0)
    return np.asarray(high - low + 2 / (1 - share) * outside)


def crps_of_quantiles(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of the distribution that the quantiles describe, (...). [MW]

    Parameters
    ----------
    actual : ndarray, (...)
        What happened. [MW]
    quantiles : ndarray, (quantile, ...)
        Forecast; crossing ones are sorted. [MW]
    levels : ndarray, (quantile,)
        Probability below each quantile, rising. [-]

    Notes
    -----
    Twice the integral of the pinball loss over all levels [1]_, in closed form: the quantile function is linear
    between the levels and constant beyond the outer ones, where the forecast says nothing. The same integral is
    that of (F(x) - 1{x >= y})² over x [2]_, of which each piece between two quantiles is a cubic.

    References
    ----------
    .. [1] F. Laio, S. Tamea, Hydrology and Earth System Sciences 11(4), 2007, doi:10.5194/hess-11-1267-2007
    .. [2] T. Gneiting, A. E. Raftery, Journal of the American Statistical Association 102(477), 2007, equation 20,
       doi:10.1198/016214506000001437

    Examples
    --------
    >>> float(crps_of_quantiles(np.array(3.0), np.array([1.0]), np.array([0.5])))  # a point: its absolute error
    2.0
    """
    q = np.sort(quantiles, axis=0)
    levels = np.asarray(levels, dtype=float)
    outside = np.maximum(q[0] - actual, 0.0) + np.maximum(actual - q[-1], 0.0)
    total = np.asarray(outside, dtype=float)
    for begin, end, a, b in zip(q[:-1], q[1:], levels[:-1], levels[1:], strict=True):
        split = np.clip(actual, begin, end)
        wide = end > begin
        share = np.divide(split - begin, end - begin, out=np.zeros_like(split), where=wide)
        at = a + share * (b - a)
        total = total + (split - begin) * (a * a + a * at + at * at) / 3
        total = total + (end - split) * ((1 - at) ** 2 + (1 - at) * (1 - b) + (1 - b) ** 2) / 3
    return total


def crps_of_paths(actual: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of equally likely paths, step by step, (...). [MW]

    Parameters
    ----------
    actual : ndarray, (...)
        What happened. [MW]
    paths : ndarray, (path, ...)
        Forecast. [MW]

    Notes
    -----
    E|X - y| - E|X - X'| / 2 over the empirical distribution [1]_, equation 21; sorted, the second term is a
    weighted sum of the paths. A few paths score worse than many from the same distribution: compare equal numbers.

    References
    ----------
    .. [1] T. Gneiting, A. E. Raftery, Journal of the American Statistical Association 102(477), 2007,
       doi:10.1198/016214506000001437

    Examples
    --------
    >>> float(crps_of_paths(np.array(1.0), np.array([0.0, 2.0])))  # 1 - 1/2
    0.5
    """
    number = len(paths)
    error = np.abs(paths - actual).mean(axis=0)
    weight = along_first(2 * np.arange(1, number + 1) - number - 1, paths.ndim)
    return np.asarray(error - (weight * np.sort(paths, axis=0)).sum(axis=0) / number**2)


def energy_score(actual: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Energy score of vectors, each path one draw of the whole vector, (case,). [MW]

    Parameters
    ----------
    actual : ndarray, (case, dim)
        What happened: a case is, for instance, one day of one asset and a dim one of its steps. [MW]
    paths : ndarray, (case, path, dim)
        Forecast. [MW]

    Notes
    -----
    E||X - y|| - E||X - X'|| / 2 with the Euclidean norm [1]_, equation 22; for one dim it is the CRPS. Distances
    between paths come from inner products of their errors: one matrix product per case, cases in blocks of memory.

    References
    ----------
    .. [1] T. Gneiting, A. E. Raftery, Journal of the American Statistical Association 102(477), 2007,
       doi:10.1198/016214506000001437
    """
    cases, number, dims = paths.shape
    scores = np.empty(cases)
    for block in memory_blocks(cases, 8 * number * (dims + 3 * number)):
        errors = paths[block] - actual[block, np.newaxis]
        inner = errors @ errors.swapaxes(1, 2)
        squared = np.diagonal(inner, axis1=1, axis2=2)
        # rounding may leave a tiny negative square between equal paths
        apart = np.sqrt(np.maximum(squared[:, :, np.newaxis] + squared[:, np.newaxis] - 2 * inner, 0.0))
        apart[:, np.arange(number), np.arange(number)] = 0.0
        scores[block] = np.sqrt(squared).mean(axis=1) - apart.mean(axis=(1, 2)) / 2
    return scores


def variogram_score(
    actual: np.ndarray, paths: np.ndarray, weights: np.ndarray, *, order: float = VARIOGRAM_ORDER
) -> np.ndarray:
    """Variogram score of vectors: whether the differences within a vector are right, (case,). [MW^(2 order)]

    Parameters
    ----------
    actual : ndarray, (case, dim)
        What happened. [MW]
    paths : ndarray, (case, path, dim)
        Forecast. [MW]
    weights : ndarray, (dim, dim)
        Weight of each pair, not negative, only above the diagonal read; pairs of weight 0 cost nothing. [-]
    order : float
        Order of the variogram. [-]

    Notes
    -----
    sum over i < j of w_ij (|y_i - y_j|^p - mean |x_i - x_j|^p)² by the sum of the weights [1]_, equation 11, of
    which it keeps the order among forecasts. Where the energy score hardly sees a wrong dependence between steps or
    assets, this one does; a common shift of all dims it does not see at all.

    References
    ----------
    .. [1] M. Scheuerer, T. M. Hamill, Monthly Weather Review 143(4), 2015, doi:10.1175/MWR-D-14-00269.1
    """
    cases, number, _ = paths.shape
    first, second = np.nonzero(np.triu(weights, 1))
    if not len(first):
        return np.full(cases, np.nan)
    weight = weights[first, second]
    scores = np.zeros(cases)
    for pairs in memory_blocks(len(first), 16 * number):
        i, j = first[pairs], second[pairs]
        for block in memory_blocks(cases, 16 * number * len(i)):
            seen = np.abs(actual[block][:, i] - actual[block][:, j]) ** order
            expected = (np.abs(paths[block][:, :, i] - paths[block][:, :, j]) ** order).mean(axis=1)
            scores[block] += ((seen - expected) ** 2) @ weight[pairs]
    return np.asarray(scores / weight.sum())


def lag_weights(steps: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
    """Weight of each pair of steps for `variogram_score`: 1 / lag at the given lags, 0 elsewhere, (dim, dim).

    Parameters
    ----------
    steps : ndarray of int, (dim,)
        Position of each dim on the time axis; steps that are not scored are left out.
    lags : tuple of int
        Distances that count. [steps]

    Examples
    --------
    >>> lag_weights(np.array([0, 1, 3]), (1, 2)).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]]
    """
    apart = np.abs(steps[:, np.newaxis] - steps)
    return np.where(np.isin(apart, lags), 1 / np.maximum(apart, 1), 0.0)


def memory_blocks(count: int, bytes_each: int) -> Iterator[slice]:
    """Slices over `count` items that together take no more than `BLOCK_BYTES`, at least one item each."""
    size = max(1, BLOCK_BYTES // max(bytes_each, 1))
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def pit_histogram(actual: np.ndarray, paths: np.ndarray, bins: int = 10) -> np.ndarray:
    """Share of outcomes in each part of the forecast distribution, (bin,); flat where it is calibrated. [-]

    Parameters
    ----------
    actual : ndarray, (time,)
        What happened; NaN is left out. [MW]
    paths : ndarray, (path, time)
        Forecast. [MW]
    bins : int
        Parts of equal probability.

    Returns
    -------
    ndarray, (bin,)
        Sums to 1; NaN where nothing is known. Raised ends: bands too narrow; a hump: too wide; a slope: bias.

    Notes
    -----
    An outcome among m paths has a rank of m + 1, or several where paths equal it (zero at night). Its mass is spread
    evenly over its ranks instead of drawn at random, so that the histogram is exact and repeatable [1]_.

    References
    ----------
    .. [1] C. Czado, T. Gneiting, L. Held, Biometrics 65(4), 2009, doi:10.1111/j.1541-0420.2009.01191.x

    Examples
    --------
    >>> pit_histogram(np.array([0.5]), np.array([[0.0], [1.0], [2.0]]), bins=4).tolist()
    [0.0, 1.0, 0.0, 0.0]
    """
    known = np.isfinite(actual)
    if not known.any():
        return np.full(bins, np.nan)
    actual, paths = actual[known], paths[:, known]
    lower = (paths < actual).sum(axis=0) / (len(paths) + 1)
    upper = ((paths <= actual).sum(axis=0) + 1) / (len(paths) + 1)
    edges = np.linspace(0, 1, bins + 1)[:, np.newaxis]
    below = np.clip((edges - lower) / (upper - lower), 0.0, 1.0).mean(axis=1)
    return np.asarray(np.diff(below))
