"""Statistics over forecast paths that leave diverged steps and unsupplied buses (NaN) out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr


def with_path(values: xr.DataArray) -> xr.DataArray:
    """The array with `path` as first dim, of length 1 where it had none."""
    return values.transpose("path", ...) if "path" in values.dims else values.expand_dims("path")


def quantiles_over_paths(values: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Quantiles along the first axis by linear interpolation, NaN left out.

    Parameters
    ----------
    values : ndarray, (path, ...)
        Any quantity; NaN where there is no value.
    quantiles : sequence of float
        In 0..1. [-]

    Returns
    -------
    ndarray, (quantile, ...)
        NaN where no path has a value.

    Notes
    -----
    As `numpy.nanquantile`, which loops in Python over every step and bus; one
    sort, with NaN at the end, serves all of them.

    Examples
    --------
    >>> quantiles_over_paths(np.array([[1.0], [np.nan], [3.0]]), [0.5]).tolist()
    [[2.0]]
    """
    ordered = np.sort(values, axis=0)
    last = np.maximum(np.isfinite(ordered).sum(axis=0, keepdims=True) - 1, 0)
    return np.concatenate([_at_position(ordered, quantile * last) for quantile in quantiles])


def _at_position(ordered: np.ndarray, position: np.ndarray) -> np.ndarray:
    below = np.floor(position).astype(int)
    above = np.ceil(position).astype(int)
    low, high = np.take_along_axis(ordered, below, axis=0), np.take_along_axis(ordered, above, axis=0)
    return np.asarray(low + (position - below) * (high - low))


def agreed_over_paths(values: np.ndarray, confidence: float) -> np.ndarray:
    """Value that all but the agreed share of paths stay at or below, along the first axis.

    Parameters
    ----------
    values : ndarray, (path, ...)
        NaN is left out.
    confidence : float
        Share of the paths that must lie at or below. [-]

    Notes
    -----
    With n paths the largest floor(n (1 - confidence)) may lie above: the same
    count as in the certificate of a schedule, without interpolation.

    Examples
    --------
    >>> float(agreed_over_paths(np.arange(10.0), 0.9))
    8.0
    """
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0, keepdims=True)
    above = np.floor(count * (1 - confidence) + 1e-9).astype(int)
    return np.asarray(np.take_along_axis(ordered, np.maximum(count - 1 - above, 0), axis=0)[0])


def mean_over_paths(values: np.ndarray) -> np.ndarray:
    """Mean along the first axis, NaN left out, NaN where no path has a value."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def share_over_paths(events: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of the paths with an event among those with a value. [-]"""
    return mean_over_paths(np.where(np.isfinite(values), events, np.nan))
