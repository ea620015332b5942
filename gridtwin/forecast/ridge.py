"""Ridge regression refitted every day, all refits from one Cholesky factor.

A day-ahead forecast of day d may learn from the days before its issue alone, so an
honest backtest refits day after day. In the dual form the fit on the first n days
needs the inverse of the leading n x n block of G = X X' + penalty I. With G = L L' the
factor of every leading block is the leading block of L, and row d of L holds
L_n^-1 k_d for every n <= d. One factor and one forward substitution Z = L^-1 Y
therefore give the forecast of every day, each as refitted on its own morning:

    forecast of day d from n days = L[d, :n] Z[:n]

at the cost of a single fit, and to rounding the same numbers as n separate fits.
"""

from __future__ import annotations

import numpy as np

DAYS_AT_A_TIME = 64
"""Days whose forecasts are one matrix product; the half above the diagonal is left out in steps of it."""


def roll_ridge(
    gram: np.ndarray, target: np.ndarray, rows: np.ndarray, *, usable: np.ndarray, penalty: float, first: int = 0
) -> np.ndarray:
    """Forecast of every day by a ridge regression on the days before it, refitted for each.

    Parameters
    ----------
    gram : ndarray of float64, (day, day)
        Inner products of the features of days, X X'.
    target : ndarray of float64, (day, output)
        What each day showed; read where `usable`.
    rows : ndarray of int, (day,)
        The forecast of day d learns from days before `rows[d]`; at most d.
    usable : ndarray of bool, (day,)
        Days to learn from: features and all outputs are known. Forecast are all.
    penalty : float
        Of the squared coefficients; the intercept of each output is free.
    first : int
        First day to forecast; earlier rows of the result are NaN.

    Returns
    -------
    ndarray, (day, output)
        NaN also where no day to learn from exists.

    Raises
    ------
    ValueError
        If `rows` reaches beyond the day itself.

    Notes
    -----
    With u = L^-1 1, the intercept mu makes the residual's weighted sum vanish,
    mu_n = (u'Z)_n / (u'u)_n over the first n rows, and the forecast is
    L[d, :n] Z[:n] + mu_n (1 - L[d, :n] u[:n]): the intercept of scikit-learn's `Ridge`.

    Examples
    --------
    >>> features = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> values = 1 + 2 * features
    >>> every = np.ones(4, dtype=bool)
    >>> roll_ridge(features @ features.T, values, np.arange(4), usable=every, penalty=1e-9).round(3)[3].tolist()
    [7.0]
    """
    days = len(gram)
    if (rows > np.arange(days)).any():
        raise ValueError("a day would learn from itself: rows must not exceed the position of the day")
    crossed, solved = _factor(gram, np.where(usable[:, np.newaxis], target, 0.0), usable, penalty)
    fitted = _crossed_product(crossed, solved, rows, first)
    ones = solved[:, -1]
    sums = np.cumsum(ones[:, np.newaxis] * solved, axis=0)[np.maximum(rows[first:] - 1, 0)]
    forecast = np.full(target.shape, np.nan)
    taught = (rows[first:] > 0) & (sums[:, -1] > 0)
    intercept = sums[taught, :-1] / sums[taught, -1:]
    forecast[first:][taught] = fitted[taught, :-1] + intercept * (1 - fitted[taught, -1:])
    return forecast


def _factor(gram: np.ndarray, known: np.ndarray, usable: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """L^-1 k of every day (day, day), read below the diagonal, and L^-1 of the targets and of ones (day, output + 1).

    Days that teach nothing are uncoupled from the factor; their own forecast takes a substitution of its own.
    """
    from scipy.linalg import cho_factor, solve_triangular

    silent = np.flatnonzero(~usable)
    matrix = gram.copy()
    matrix[silent] = 0.0
    matrix[:, silent] = 0.0
    matrix[np.diag_indices(len(matrix))] += penalty
    # the transpose of a symmetric matrix lies in memory as LAPACK wants it
    factor, _ = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    right = np.column_stack([known, usable.astype(float)])
    solved = solve_triangular(factor, right, lower=True, check_finite=False)
    if len(silent):
        asked = np.where(usable[:, np.newaxis], gram[:, silent], 0.0)
        factor[silent] = solve_triangular(factor, asked, lower=True, check_finite=False).T
    return factor, solved


def _crossed_product(crossed: np.ndarray, solved: np.ndarray, rows: np.ndarray, first: int) -> np.ndarray:
    """Product of each day's row from `first` on with the rows before `rows[day]`, (day - first, output + 1)."""
    fitted = np.empty((max(len(crossed) - first, 0), solved.shape[1]))
    for begin in range(first, len(crossed), DAYS_AT_A_TIME):
        taken = slice(begin, min(begin + DAYS_AT_A_TIME, len(crossed)))
        reach = int(rows[taken].max())
        weights = np.where(np.arange(reach) < rows[taken, np.newaxis], crossed[taken, :reach], 0.0)
        fitted[begin - first : taken.stop - first] = weights @ solved[:reach]
    return fitted


def fit_ridge(features: np.ndarray, target: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (feature, output) and intercepts (output,) of one ridge regression.

    Parameters
    ----------
    features : ndarray, (row, feature)
        Finite.
    target : ndarray, (row, output)
        Finite.
    penalty : float
        Of the squared coefficients; the intercepts are free.

    Notes
    -----
    Solved on the smaller side: with fewer rows than features, w = X' (X X' + penalty I)^-1 y.

    Examples
    --------
    >>> weights, intercept = fit_ridge(np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]]), 1e-9)
    >>> weights.round(3).tolist(), intercept.round(3).tolist()
    ([[2.0]], [1.0])
    """
    from scipy.linalg import cho_factor, cho_solve

    middle, mean = features.mean(axis=0), target.mean(axis=0)
    x, y = features - middle, target - mean
    wide = x.shape[0] < x.shape[1]
    matrix = x @ x.T if wide else x.T @ x
    matrix[np.diag_indices(len(matrix))] += penalty
    factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    weights = x.T @ cho_solve(factor, y, check_finite=False) if wide else cho_solve(factor, x.T @ y, check_finite=False)
    return weights, mean - middle @ weights
