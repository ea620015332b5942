"""Scores of a forecast against what happened, beside the seasonal naive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import sun_elevation_at
from gridtwin.forecast.history import GENERATION
from gridtwin.forecast.peak_scores import PEAK_SCORES, peak_scores
from gridtwin.forecast.score_rules import (
    crps_of_paths,
    crps_of_quantiles,
    energy_score,
    interval_score,
    lag_weights,
    pinball_loss,
    variogram_score,
)
from gridtwin.nomenclature import attrs_of

BANDS = {80: (0.1, 0.9), 90: (0.05, 0.95)}
"""Central bands that are scored: share inside [%] and the quantiles around it."""
TOLERANCE = 1e-6
"""Share of the largest power by which a value may lie outside the band and still count as inside: at night
both are zero up to rounding."""
LAGS = (1, 2, 4, 8, 16, 32)
"""Distances in time over which the variogram score compares steps of a day. [steps]"""


@dataclass(frozen=True)
class Series:
    """What is scored together: one asset or the sum of a group; (time,), (quantile, time), (path, time). [MW]"""

    actual_mw: np.ndarray
    median_mw: np.ndarray
    mean_mw: np.ndarray
    naive_mw: np.ndarray
    quantile_mw: np.ndarray
    path_mw: np.ndarray


@dataclass(frozen=True)
class Steps:
    """Which steps are scored, and how they lie in local days.

    Parameters
    ----------
    chosen : ndarray of bool, (time,)
        Steps that count: all, or those with daylight.
    day : ndarray of int, (time,)
        Local day of each step.
    quarter_hours : float
        Length of a step. [quarter hours]
    peak_sign : int
        +1 where the peak is the largest consumption, -1 where it is the largest feed-in.
    """

    chosen: np.ndarray
    day: np.ndarray
    quarter_hours: float
    peak_sign: int = 1


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
        median [1]_, `rmae` is their ratio to those of the naive [-].
        `pinball_mw` is the mean over the quantiles of the forecast; the
        naive has the same value for every quantile. `crps_mw` is that of the paths,
        `crps_quantile_mw` that of the quantiles; of the naive both are its
        absolute error. Skills are 100 for a
        perfect forecast, 0 for one no better than the naive, NaN where the naive
        makes no error. Of the 80 % and the 90 % band: share of steps inside, mean
        width and interval score; NaN where the forecast lacks their quantiles. Peaks
        (`peak_scores`) are those of consumption, of generating kinds those of feed-in.
        `energy_score_mw` and `variogram_score_mw` score the paths of whole local days, by the
        root of the number of steps, and between steps up to eight hours apart; they
        and the peaks leave out days with an unknown step.

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
    kinds, status = forecast["kind"].to_numpy().astype(str), forecast["status"].to_numpy().astype(str)
    steps_of = choose_steps(forecast)
    rows = []
    for position, name in enumerate(forecast["asset"].to_numpy()):
        label = {"level": "asset", "name": name, "kind": kinds[position], "status": status[position]}
        series = series_of_asset(forecast, actual, position)
        rows.append(label | score_series(series, levels, steps_of(kinds[position])))
    for group, members in groups_of(kinds).items():
        level = "total" if group == "total" else "kind"
        label = {"level": level, "name": group, "kind": group, "status": ""}
        rows.append(label | score_series(series_of_group(forecast, actual, members), levels, steps_of(group)))
    return pd.DataFrame(rows)


def choose_steps(forecast: xr.Dataset) -> Callable[[str], Steps]:
    """Steps that count for a kind of asset: PV by day, all others always."""
    daylight = is_daylight(forecast)
    local = pd.DatetimeIndex(forecast["time"].to_numpy()).tz_localize("UTC").tz_convert(str(forecast.attrs["zone"]))
    wall = local.tz_localize(None).normalize()
    day = np.asarray((wall - wall[0]) // pd.Timedelta(days=1), dtype=np.int64)
    quarter_hours = float(pd.Timedelta(forecast.attrs["step"]) / pd.Timedelta(minutes=15))
    always = np.ones_like(daylight)

    def steps_of(kind: str) -> Steps:
        sign = -1 if kind in GENERATION else 1
        return Steps(daylight if kind == "pv" else always, day, quarter_hours, sign)

    return steps_of


def score_series(series: Series, levels: np.ndarray, steps: Steps) -> dict[str, float]:
    """All scores over the chosen steps; see `score_forecast`."""
    used = steps.chosen & np.isfinite(series.actual_mw)
    if not used.any():
        return dict.fromkeys(SCORES, float("nan"))
    return {
        "steps": int(used.sum()),
        **point_scores(series, used),
        **distribution_scores(series, levels, used),
        **band_scores(series.actual_mw[used], series.quantile_mw[:, used], levels),
        **day_scores(series, steps, used),
    }


def point_scores(series: Series, used: np.ndarray) -> dict[str, float]:
    """Scores of the mean and of the median."""
    actual = series.actual_mw[used]
    mae_mw = float(np.abs(actual - series.median_mw[used]).mean())
    mae_naive_mw = float(np.abs(actual - series.naive_mw[used]).mean())
    return {
        "bias_mw": float((series.mean_mw[used] - actual).mean()),
        "mae_mw": mae_mw,
        "mae_naive_mw": mae_naive_mw,
        "rmae": percent(mae_mw, mae_naive_mw) / 100,
        "nmae_percent": percent(mae_mw, float(np.abs(actual).mean())),
        "skill_percent": 100 - percent(mae_mw, mae_naive_mw),
    }


def distribution_scores(series: Series, levels: np.ndarray, used: np.ndarray) -> dict[str, float]:
    """Pinball loss and CRPS, with their skill against the naive."""
    actual, quantiles = series.actual_mw[used], series.quantile_mw[:, used]
    pinball_mw = float(pinball_loss(actual, quantiles, levels).mean())
    naive = np.broadcast_to(series.naive_mw[used], quantiles.shape)
    pinball_naive_mw = float(pinball_loss(actual, naive, levels).mean())
    crps_mw = float(crps_of_paths(actual, series.path_mw[:, used]).mean())
    return {
        "pinball_mw": pinball_mw,
        "pinball_naive_mw": pinball_naive_mw,
        "pinball_skill_percent": 100 - percent(pinball_mw, pinball_naive_mw),
        "crps_mw": crps_mw,
        "crps_quantile_mw": float(crps_of_quantiles(actual, quantiles, levels).mean()),
        "crps_skill_percent": 100 - percent(crps_mw, float(np.abs(actual - naive[0]).mean())),
    }


def band_scores(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """Coverage, mean width and interval score of the central bands."""
    scores = {}
    for share in BANDS:
        edges = band_edges(quantiles, levels, share)
        width = interval = float("nan")
        if edges is not None:
            width = float((edges[1] - edges[0]).mean())
            interval = float(interval_score(actual, *edges, share / 100).mean())
        scores[f"coverage_of_{share}_percent_band_percent"] = coverage_percent(actual, quantiles, levels, share)
        scores[f"width_of_{share}_percent_band_mw"] = width
        scores[f"interval_score_of_{share}_percent_band_mw"] = interval
    return scores


def day_scores(series: Series, steps: Steps, used: np.ndarray) -> dict[str, float]:
    """Scores of whole local days: peaks, energy score and variogram score; NaN where no day is known throughout."""
    gaps = np.bincount(steps.day, weights=steps.chosen & ~used)
    whole = used & (gaps[steps.day] == 0)
    if not whole.any():
        return dict.fromkeys((*PEAK_SCORES, *PATH_SCORES), float("nan"))
    values = (steps.peak_sign * series.actual_mw[whole], steps.peak_sign * series.median_mw[whole],
              steps.peak_sign * series.path_mw[:, whole])  # fmt: skip
    peaks = peak_scores(*values, steps.day[whole], steps.quarter_hours)
    return peaks | path_scores(series, np.flatnonzero(whole), steps.day)


def path_scores(series: Series, positions: np.ndarray, day: np.ndarray) -> dict[str, float]:
    """Energy score by the root of the number of steps, and variogram score; means over the days."""
    alike: dict[bytes, list[np.ndarray]] = {}
    for where in np.split(positions, np.flatnonzero(np.diff(day[positions])) + 1):
        alike.setdefault((where - where[0]).tobytes(), []).append(where)
    energy, variogram = [], []
    for group in alike.values():  # days with the same steps are scored in one go
        places = np.stack(group)
        actual = series.actual_mw[places]
        paths = series.path_mw[:, places].swapaxes(0, 1)
        energy.append(energy_score(actual, paths) / np.sqrt(places.shape[1]))
        variogram.append(variogram_score(actual, paths, lag_weights(places[0], LAGS)))
    known = np.concatenate(variogram)
    known = known[np.isfinite(known)]
    middle = float(known.mean()) if len(known) else float("nan")
    return dict(zip(PATH_SCORES, (float(np.concatenate(energy).mean()), middle), strict=True))


PATH_SCORES = ("energy_score_mw", "variogram_score_mw")
"""Columns of the scores of whole paths."""
SCORES = (
    "steps",
    "bias_mw",
    "mae_mw",
    "mae_naive_mw",
    "rmae",
    "nmae_percent",
    "skill_percent",
    "pinball_mw",
    "pinball_naive_mw",
    "pinball_skill_percent",
    "crps_mw",
    "crps_quantile_mw",
    "crps_skill_percent",
    *(f"{what}_of_{share}_percent_band_{unit}" for share in BANDS
      for what, unit in (("coverage", "percent"), ("width", "mw"), ("interval_score", "mw"))),
    *PEAK_SCORES,
    *PATH_SCORES,
)  # fmt: skip
"""Columns of scores; `nmae_percent` is the mean absolute error by the mean absolute power."""


def coverage_percent(actual: np.ndarray, quantiles: np.ndarray, levels: np.ndarray, share: int = 80) -> float:
    """Share of steps inside a band of `BANDS`; NaN where the forecast lacks its quantiles. [%]"""
    edges = band_edges(quantiles, levels, share)
    if edges is None:
        return float("nan")
    margin = TOLERANCE * np.abs(quantiles).max()
    inside = (actual >= edges[0] - margin) & (actual <= edges[1] + margin)
    return float(100 * inside.mean())


def band_edges(quantiles: np.ndarray, levels: np.ndarray, share: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper edge of a band, each (time,); None where the forecast lacks its quantiles. [MW]"""
    low, high = (np.flatnonzero(np.isclose(levels, edge)) for edge in BANDS[share])
    return (quantiles[low[0]], quantiles[high[0]]) if len(low) and len(high) else None


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
    quantiles = [quantiles_of_paths(part["p_mw"].to_numpy(), levels) for part in sums]
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
    quantiles = forecast["p_quantile_mw"].to_numpy()[:, :, position]
    return Series(
        actual[:, position],
        middle(quantiles, forecast["quantile"].to_numpy()),
        forecast["p_mean_mw"].to_numpy()[:, position],
        forecast["p_naive_mw"].to_numpy()[:, position],
        quantiles,
        forecast["p_mw"].to_numpy()[:, :, position],
    )


def middle(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Median of (quantile, time), between its neighbours where the forecast lacks it. (time,)"""
    place = float(np.interp(0.5, levels, np.arange(len(levels))))
    below = int(place)
    above = min(below + 1, len(levels) - 1)
    return np.asarray(quantiles[below] + (place - below) * (quantiles[above] - quantiles[below]))


def quantiles_of_paths(paths: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles (level, ...) over paths (path, ...), of which each stands for the level (i - 1/2)/paths (Hazen)."""
    return np.asarray(np.quantile(paths, levels, axis=0, method="hazen"))


def series_of_group(forecast: xr.Dataset, actual: np.ndarray, members: np.ndarray) -> Series:
    """Sum of a group; quantiles over the paths of the sum."""
    # path by path, as choosing members copies
    summed = np.stack([path[:, members].sum(axis=-1) for path in forecast["p_mw"].to_numpy()])
    return Series(
        actual[:, members].sum(axis=-1),
        np.median(summed, axis=0),
        forecast["p_mean_mw"].to_numpy()[:, members].sum(axis=-1),
        forecast["p_naive_mw"].to_numpy()[:, members].sum(axis=-1),
        quantiles_of_paths(summed, forecast["quantile"].to_numpy()),
        summed,
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
    step, zone = pd.Timedelta(forecast.attrs["step"]), str(forecast.attrs["zone"])
    return np.asarray(~(sun_elevation_at(pd.DatetimeIndex(forecast["time"].to_numpy()), step, zone) <= 0))
