"""Reactive power of the forecast: a ratio to active power learnt from the history."""

from __future__ import annotations

import numpy as np

ASSUMED_COS_PHI = 0.97
"""Inductive power factor where the history holds no reactive power; the default of `profiles.file`. [-]"""


def reactive_ratio(p_mw: np.ndarray, q_mvar: np.ndarray) -> float:
    """Reactive by active power, by robust regression through the origin. [Mvar/MW]

    Parameters
    ----------
    p_mw, q_mvar : ndarray, (time,)
        History of one asset; NaN is left out. [MW], [Mvar]

    Returns
    -------
    float
        NaN where no step has both values and active power.

    Notes
    -----
    min sum |q - r p| over r; its solution is the median of q/p weighted by |p|.

    Examples
    --------
    >>> reactive_ratio(np.array([1.0, 2.0, 2.0]), np.array([0.3, 0.6, 9.0]))
    0.3
    """
    usable = np.isfinite(p_mw) & np.isfinite(q_mvar) & (p_mw != 0)
    if not usable.any():
        return float("nan")
    ratio, weight = q_mvar[usable] / p_mw[usable], np.abs(p_mw[usable])
    order = np.argsort(ratio)
    cumulated = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(cumulated, cumulated[-1] / 2)])


def reactive_power(p_mw: np.ndarray, p_known_mw: np.ndarray, q_known_mvar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reactive power of every path by the asset's own ratio.

    Parameters
    ----------
    p_mw : ndarray, (path, time, asset)
        Forecast. [MW]
    p_known_mw, q_known_mvar : ndarray, (time, asset)
        History before the first issue. [MW], [Mvar]

    Returns
    -------
    q_mvar : ndarray, (path, time, asset)
    ratio : ndarray, (asset,)
        NaN where the power factor is assumed, or the asset draws no active power.
    """
    columns = range(p_mw.shape[2])
    ratio = np.array([reactive_ratio(p_known_mw[:, column], q_known_mvar[:, column]) for column in columns])
    assumed = np.tan(np.arccos(ASSUMED_COS_PHI))
    q_mvar = p_mw * np.where(np.isnan(ratio), assumed, ratio)
    at_rest = np.flatnonzero((p_known_mw == 0).all(axis=0) & np.isfinite(q_known_mvar).any(axis=0))
    q_mvar[:, :, at_rest] = np.nanmedian(q_known_mvar[:, at_rest], axis=0)
    return q_mvar, ratio
