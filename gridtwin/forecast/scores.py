"""Scores of a forecast against what happened, beside the seasonal naive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import sun_elevation_degree
from gridtwin.nomenclature import attrs_of

BAND = (0.1, 0.9)
"""Quantiles around the 80 % band."""
TOLERANCE = 1e-6
"""Share of the largest power by which a value may lie outside the band and still count as inside: at night
both are zero up to rounding."""


@dataclass(frozen=True)
class Series:
    """What is scored together: one asset or the sum of a group, (time,) and (quantile, time). [MW]"""

    actual_mw: np.ndarray
    median_mw: np.ndarray
    mean_mw: np.ndarray
    naive_mw: np.ndarray
    quantile_mw: np.ndarray


def score_forecast(forecast: xr.Dataset, realised: Profiles) -> pd.DataFrame:
    """Scores per asset, per kind of asset and of the total.

    Parameters
    ----------
    forecast : Dataset
        From `forecast`.
    realised : Profiles
        Measured power; holds the assets and times of the forecast. NaN is left out.

    Returns
    -------
    DataFrame
        One row per asset, per kind and for the total (`level`, `name`, `kind`,
        `status`). PV is scored by day, while the sun is up. `bias_mw` is the
        mean forecast minus what happened; absolute errors are those of the
        median [1]_. `pinball_mw` is the mean over the quantiles of the forecast; the
        naive has the same value for every quantile. Skills are 100 for a
        perfect forecast, 0 for one no better than the naive, NaN where the naive
        makes no error.

    Raises
    ------
    DataError
        If `realised` lacks assets or times of the forecast.

    References
    ----------
    .. [1] T. Gneiting, Making and evaluating point forecasts, Journal of the American
       Statistical Association 106(494), 2011, doi:10.1198/jasa.2011.r10138: the
       median is the point forecast that the absolute error asks for.
    """
    actual = actual_power(forecast, realised)
    levels = forecast["quantile"].to_numpy()
    daylight = is_daylight(forecast)
    kinds, status = forecast["kind"].to_numpy().astype(str), forecast["status"].to_numpy().astype(str)
    rows = []
    for position, name in enumerate(forecast["asset"].to_numpy()):
        chosen = daylight if kinds[position] == "pv" else np.ones_like(daylight)
        label = {"level": "asset", "name": name, "kind": kinds[position], "status": status[position]}
        rows.append(label | score_series(series_of_asset(forecast, actual, position), levels, chosen))
    for group, members in groups_of(kinds).items():
        chosen = daylight if group == "pv" else np.ones_like(daylight)
        level = "total" if group == "total" else "kind"
        label = {"level": level, "name": group, "kind": group, "status": ""}
        rows.append(label | score_series(series_of_group(forecast, actual, members), levels, chosen))
    return pd.DataFrame(rows)


def score_series(series: Series, levels: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """All scores over the chosen steps; see `score_forecast`."""
    used = chosen & np.isfinite(series.actual_mw)
    if not used.any():
        return dict.fromkeys(SCORES, float("nan"))
    actual, quantiles = series.actual_mw[used], series.quantile_mw[:, used]
    mae_mw = float(np.abs(actual - series.median_mw[used]).mean())
    mae_naive_mw = float(np.abs(actual - series.naive_mw[used]).mean())
    pinball_mw = float(pinball_loss(actual, quantiles, levels).mean())
    naive = np.broadcast_to(series.naive_mw[used], quantiles.shape)
    pinball_naive_mw = float(pinball_loss(actual, naive, levels).mean())
    values = (
        int(used.sum()),
        float((series.mean_mw[used] - actual).mean()),
        mae_mw,
        mae_naive_mw,
        percent(mae_mw, float(np.abs(actual).mean())),
        100 - percent(mae_mw, mae_naive_mw),
        pinball_mw,
        pinball_naive_mw,
        100 - percent(pinball_mw, pinball_naive_mw),
        coverage_percent(actual, quantiles, levels),
    )
    return dict(zip(SCORES, values, strict=True))


SCORES = (
    "steps",
    "bias_mw",
    "mae_mw",
    "mae_naive_mw",
    "nmae_percent",
    "skill_percent",
    "pinball_mw",
    "pinball_naive_mw",
    "pinball_skill_percent",
    "coverage_of_80_percent_band_percent",
)
"""Columns of scores; `nmae_percent` is the mean absolute error by the mean absolute power."""


def pinball_loss(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Pinball loss of quantile forecasts, (quantile, time).

    Parameters
    ----------
    actual : ndarray, (time,)
        What happened. [MW]
    quantiles : ndarray, (quantile, time)
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
    level = np.asarray(levels)[:, np.newaxis]
    return np.asarray(np.maximum(level * above, (level - 1) * above))


def coverage_percent(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> float:
    """Share of steps inside the 80 % band; NaN where the forecast lacks its quantiles. [%]"""
    low, high = (np.flatnonzero(np.isclose(levels, edge)) for edge in BAND)
    if not len(low) or not len(high):
        return float("nan")
    margin = TOLERANCE * np.abs(quantiles).max()
    inside = (actual >= quantiles[low[0]] - margin) & (actual <= quantiles[high[0]] + margin)
    return float(100 * inside.mean())


def percent(part: float, whole: float) -> float:
    """100 part / whole; NaN for a whole of zero."""
    return 100 * part / whole if whole > 0 else float("nan")


def aggregate_quantiles(forecast: xr.Dataset, by: Literal["kind", "total"] = "kind") -> xr.Dataset:
    """Quantiles of sums over assets, taken over the paths, so that assets keep what they have in common.

    Parameters
    ----------
    forecast : Dataset
        From `forecast`.
    by : {"kind", "total"}
        One sum per kind of asset, or one over all.

    Returns
    -------
    Dataset
        `p_quantile_mw` (quantile, time, group), `p_mean_mw` and `p_naive_mw`
        (time, group). [MW]
    """
    groups = groups_of(forecast["kind"].to_numpy().astype(str))
    chosen = {name: members for name, members in groups.items() if (name == "total") == (by == "total")}
    levels = forecast["quantile"].to_numpy()
    sums = [forecast.isel(asset=members).sum("asset") for members in chosen.values()]
    quantiles = [np.quantile(part["p_mw"].to_numpy(), levels, axis=0) for part in sums]
    dims = ("time", "group")
    variables = {
        "p_quantile_mw": (("quantile", *dims), np.stack(quantiles, axis=-1), attrs_of("p_quantile_mw")),
        "p_mean_mw": (dims, np.stack([part["p_mean_mw"].to_numpy() for part in sums], axis=-1), {"units": "MW"}),
        "p_naive_mw": (dims, np.stack([part["p_naive_mw"].to_numpy() for part in sums], axis=-1), {"units": "MW"}),
    }
    coords = {"quantile": levels, "time": forecast["time"], "group": np.array(list(chosen))}
    return xr.Dataset(variables, coords=coords, attrs=forecast.attrs)


def groups_of(kinds: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of the assets of each kind, and of all as `total`."""
    groups = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
    return groups | {"total": np.arange(len(kinds))}


def series_of_asset(forecast: xr.Dataset, actual: np.ndarray, position: int) -> Series:
    """One asset."""
    return Series(
        actual[:, position],
        middle(forecast["p_quantile_mw"].to_numpy()[:, :, position], forecast),
        forecast["p_mean_mw"].to_numpy()[:, position],
        forecast["p_naive_mw"].to_numpy()[:, position],
        forecast["p_quantile_mw"].to_numpy()[:, :, position],
    )


def middle(quantiles: np.ndarray, forecast: xr.Dataset) -> np.ndarray:
    """Median of (quantile, time), between its neighbours where the forecast lacks it."""
    levels = forecast["quantile"].to_numpy()
    return np.apply_along_axis(lambda column: np.interp(0.5, levels, column), 0, quantiles)


def series_of_group(forecast: xr.Dataset, actual: np.ndarray, members: np.ndarray) -> Series:
    """Sum of a group; quantiles over the paths of the sum."""
    summed = forecast["p_mw"].to_numpy()[:, :, members].sum(axis=-1)
    return Series(
        actual[:, members].sum(axis=-1),
        np.median(summed, axis=0),
        forecast["p_mean_mw"].to_numpy()[:, members].sum(axis=-1),
        forecast["p_naive_mw"].to_numpy()[:, members].sum(axis=-1),
        np.quantile(summed, forecast["quantile"].to_numpy(), axis=0),
    )


def actual_power(forecast: xr.Dataset, realised: Profiles) -> np.ndarray:
    """Measured power on the labels of the forecast, (time, asset). [MW]"""
    power = realised["p_mw"].transpose("time", "asset")
    lacking = [dim for dim in ("time", "asset") if not np.isin(forecast[dim].values, power[dim].values).all()]
    if lacking:
        raise DataError(
            [
                Finding(
                    f"realised lacks some {dim}s of the forecast",
                    expected=f"{forecast[dim].values[0]} to {forecast[dim].values[-1]}",
                    got=f"{power[dim].values[0]} to {power[dim].values[-1]}",
                    severity="error",
                )
                for dim in lacking
            ]
        )
    return np.asarray(power.sel(time=forecast["time"].values, asset=forecast["asset"].values).to_numpy())


def is_daylight(forecast: xr.Dataset) -> np.ndarray:
    """Steps with the sun above the horizon, (time,); all steps where the place is unknown."""
    return np.asarray(~(sun_elevation_degree(axis_of(forecast)) <= 0))
