"""What a schedule does to the power of every path."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.nomenclature import attrs_of

CAP_TOLERANCE_MW = 1e-9
"""A schedule this much above the expected feed-in caps it. [MW]"""
FORECAST_QUALITY = 3
"""Quality code of values that come without one, see `nomenclature.QUALITY`."""


def apply_schedule(
    twin: GridTwin, profiles: xr.Dataset, schedule: xr.Dataset, *, q_per_p: np.ndarray | None = None
) -> Profiles:
    """Profiles or forecast paths with the schedule in place.

    Electric cars and batteries follow the schedule. A heat pump is shifted from
    what its thermostat asks for in each path. Feed-in that the schedule curtails is
    capped in each path. Everything else stays as it is. Reactive power follows
    active power at the ratio that the asset has in `profiles`.

    Parameters
    ----------
    twin : GridTwin
        Rated power of the assets.
    profiles : Dataset
        Profiles or Forecast: `p_mw, q_mvar` (path, time, asset) or (time, asset),
        consumption positive. [MW], [Mvar]
    schedule : Dataset
        Schedule: `p_mw, p_base_mw` (time, asset) of flexible assets. [MW]
    q_per_p : ndarray, (asset,), optional
        Reactive by active power of every asset in `profiles`, where they are only a
        part of a longer series; else learned from `profiles`. [-]

    Returns
    -------
    Dataset
        `p_mw, q_mvar` (path, time, asset) and `quality` (time, asset).

    Raises
    ------
    DataError
        If the schedule has times or assets that the profiles do not have.
    """
    _check_labels(profiles, schedule)
    columns = profiles.indexes["asset"].get_indexer(schedule.indexes["asset"])
    p_mw, q_mvar = _with_paths(profiles, "p_mw"), _with_paths(profiles, "q_mvar")
    kinds = twin.assets.loc[schedule.indexes["asset"], "kind"].to_numpy(dtype=str)
    rated = twin.assets.loc[schedule.indexes["asset"], "p_rated_mw"].to_numpy(dtype=float)
    dispatched = p_mw.copy()
    dispatched[..., columns] = dispatch_power(
        p_mw[..., columns], schedule["p_mw"].to_numpy(), schedule["p_base_mw"].to_numpy(), kinds=kinds, p_rated_mw=rated
    )
    ratio = power_ratio(p_mw, q_mvar) if q_per_p is None else q_per_p
    return _label_paths(profiles, dispatched, q_mvar + ratio * (dispatched - p_mw))


def dispatch_power(
    p_path_mw: np.ndarray,
    p_scheduled_mw: np.ndarray,
    p_base_mw: np.ndarray,
    *,
    kinds: np.ndarray,
    p_rated_mw: np.ndarray,
) -> np.ndarray:
    """Power of flexible assets in each path under a schedule. [MW]

    Parameters
    ----------
    p_path_mw : ndarray, (path, time, asset)
        What each path holds without the schedule, consumption positive. [MW]
    p_scheduled_mw, p_base_mw : ndarray, (time, asset)
        The schedule and what was expected without it. [MW]
    kinds : ndarray, (asset,)
        Kind of each asset.
    p_rated_mw : ndarray, (asset,)
        Rated power. [MW]

    Notes
    -----
    Heat pump: clip(p_path + p_scheduled - p_base, 0, p_rated), a shift of the
    thermostat's own power. PV, wind: max(p_path, p_scheduled) where p_scheduled > p_base,
    a cap on feed-in. Electric car, battery: p_scheduled.
    """
    shifted = np.clip(p_path_mw + (p_scheduled_mw - p_base_mw), 0.0, p_rated_mw)
    capped = np.where(p_scheduled_mw > p_base_mw + CAP_TOLERANCE_MW, np.maximum(p_path_mw, p_scheduled_mw), p_path_mw)
    followed = np.broadcast_to(p_scheduled_mw, p_path_mw.shape)
    return np.select([kinds == "heat_pump", np.isin(kinds, ("pv", "wind"))], [shifted, capped], followed)


def power_ratio(p_mw: np.ndarray, q_mvar: np.ndarray) -> np.ndarray:
    """Reactive by active power of each asset, least squares over its whole history; 0 for an idle one. (asset,) [-]"""
    axes = tuple(range(p_mw.ndim - 1))
    squared = (p_mw**2).sum(axis=axes)
    crossed = (p_mw * q_mvar).sum(axis=axes)
    return np.asarray(np.divide(crossed, squared, out=np.zeros_like(crossed), where=squared > 0))


def _with_paths(profiles: xr.Dataset, name: str) -> np.ndarray:
    """(path, time, asset), one path where the profiles have none."""
    values = profiles[name].to_numpy()
    return values if values.ndim == 3 else values[np.newaxis]


def _label_paths(profiles: xr.Dataset, p_mw: np.ndarray, q_mvar: np.ndarray) -> Profiles:
    dims = ("path", "time", "asset")
    kept = {
        name: profiles.coords[name] for name in ("time", "asset", "element", "index", "kind") if name in profiles.coords
    }
    kept["path"] = profiles.coords.get("path", xr.DataArray(np.arange(len(p_mw)), dims="path"))
    quality = profiles["quality"].to_numpy() if "quality" in profiles else FORECAST_QUALITY
    return xr.Dataset(
        {
            "p_mw": (dims, p_mw, attrs_of("p_mw")),
            "q_mvar": (dims, q_mvar, attrs_of("q_mvar")),
            "quality": (dims[1:], np.broadcast_to(np.int8(quality), p_mw.shape[1:]), attrs_of("quality")),
        },
        coords=kept,
        attrs={name: profiles.attrs[name] for name in ("step", "zone") if name in profiles.attrs},
    )


def _check_labels(profiles: xr.Dataset, schedule: xr.Dataset) -> None:
    findings = []
    unknown = schedule.indexes["asset"].difference(profiles.indexes["asset"])
    if len(unknown):
        findings.append(
            Finding(
                "the schedule holds assets that the profiles lack",
                got=", ".join(map(str, unknown[:5])),
                severity="error",
            )
        )
    theirs, ours = pd.DatetimeIndex(schedule.indexes["time"]), pd.DatetimeIndex(profiles.indexes["time"])
    if not theirs.equals(ours):
        findings.append(
            Finding(
                "schedule and profiles have different times",
                expected=f"{len(ours)} steps from {ours[0]} UTC",
                got=f"{len(theirs)} steps from {theirs[0]} UTC",
                do="Select the schedule's times from the profiles.",
                severity="error",
            )
        )
    if findings:
        raise DataError(findings)
