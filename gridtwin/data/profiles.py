"""Profiles: power of every asset on the time axis, in one checked layout.

A `Profiles` is an `xarray.Dataset` with `p_mw, q_mvar, quality` on
`(time, asset)`, consumption positive, and the side coordinates `element`,
`index` (the pandapower table row, -1 where there is none) and `kind`.

Where thousands of assets share a few shapes, `ShapedProfiles` keeps `p_shape,
q_shape` on `(time, shape)` and for every asset its shape and its power at 1:
`shape_of, p_scale_mw, q_scale_mvar` on `(asset)`. A power flow takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.errors import DataError, Finding
from gridtwin.nomenclature import ASSET_KINDS, QUALITY, attrs_of
from gridtwin.time_axis import TimeAxis

Profiles: TypeAlias = xr.Dataset
ShapedProfiles: TypeAlias = xr.Dataset


def build_profiles(
    axis: TimeAxis,
    assets: pd.DataFrame,
    p_mw: np.ndarray,
    q_mvar: np.ndarray,
    *,
    quality: np.ndarray | int = 0,
) -> Profiles:
    """Dataset in the checked layout.

    Parameters
    ----------
    axis : TimeAxis
        UTC interval starts.
    assets : DataFrame
        Index: unique asset names; columns `element`, `index`, `kind`.
    p_mw, q_mvar : ndarray, (time, asset)
        Consumption positive. [MW], [Mvar]
    quality : int or ndarray, (time, asset)
        Quality code, see `nomenclature.QUALITY`.

    Raises
    ------
    DataError
        If shapes do not match or an asset name stands twice.
    """
    shape = (axis.length, len(assets))
    for name, values in (("p_mw", p_mw), ("q_mvar", q_mvar)):
        if np.shape(values) != shape:
            raise DataError(
                [
                    Finding(
                        f"{name} has the wrong shape",
                        expected=f"(time, asset) = {shape}",
                        got=str(np.shape(values)),
                        severity="error",
                    )
                ]
            )
    codes = np.broadcast_to(np.asarray(quality, dtype=np.int8), shape)
    dataset = xr.Dataset(
        {
            "p_mw": (("time", "asset"), np.asarray(p_mw, dtype=float), attrs_of("p_mw")),
            "q_mvar": (("time", "asset"), np.asarray(q_mvar, dtype=float), attrs_of("q_mvar")),
            "quality": (("time", "asset"), codes, attrs_of("quality")),
        },
        coords={
            "time": axis.times,
            "asset": assets.index.to_numpy(dtype=str),
            "element": ("asset", assets["element"].to_numpy(dtype=str)),
            "index": ("asset", assets["index"].to_numpy(dtype=int)),
            "kind": ("asset", assets["kind"].to_numpy(dtype=str)),
        },
        attrs={"step": axis.step.isoformat(), "zone": axis.zone},
    )
    return check_profiles(dataset)


def check_profiles(profiles: Profiles) -> Profiles:
    """Return `profiles` if the layout holds, else raise one `DataError` with every fault."""
    findings: list[Finding] = []
    for name in ("p_mw", "q_mvar"):
        if name not in profiles:
            findings.append(
                Finding(f"profiles lack {name}", got=", ".join(map(str, profiles.data_vars)), severity="error")
            )
        elif tuple(profiles[name].dims)[-2:] != ("time", "asset"):
            findings.append(
                Finding(
                    f"{name} has the wrong dims",
                    expected="(…, time, asset)",
                    got=str(profiles[name].dims),
                    severity="error",
                )
            )
    if "asset" in profiles.coords:
        names = pd.Index(profiles["asset"].to_numpy())
        doubled = names[names.duplicated()].unique()
        if len(doubled):
            findings.append(Finding("asset names stand twice", got=", ".join(map(str, doubled[:5])), severity="error"))
    if "kind" in profiles.coords:
        unknown = sorted(set(profiles["kind"].to_numpy().tolist()) - set(ASSET_KINDS))
        if unknown:
            findings.append(
                Finding(
                    "unknown asset kinds", expected=", ".join(ASSET_KINDS), got=", ".join(unknown), severity="error"
                )
            )
    if findings:
        raise DataError(findings)
    axis_of(profiles)
    return profiles


def axis_of(dataset: xr.Dataset) -> TimeAxis:
    """The time axis of a dataset in our layout; raises `DataError` where it is irregular."""
    times, zone = pd.DatetimeIndex(dataset.indexes["time"]), str(dataset.attrs.get("zone", "UTC"))
    if len(times) == 1 and "step" in dataset.attrs:
        return TimeAxis(times[0], pd.Timedelta(dataset.attrs["step"]), 1, zone)
    return TimeAxis.of_index(times, zone)


def build_shaped_profiles(
    axis: TimeAxis, assets: pd.DataFrame, shapes: pd.DataFrame, p_shape: np.ndarray, q_shape: np.ndarray
) -> ShapedProfiles:
    """Profiles as shapes that assets share.

    Parameters
    ----------
    axis : TimeAxis
        UTC interval starts.
    assets : DataFrame
        Index: unique asset names; columns `element`, `index`, `kind`.
    shapes : DataFrame
        Rows as in `assets`; columns `shape` (column of the shapes), `p_scale_mw`, `q_scale_mvar`
        (power at shape 1, consumption positive). [MW], [Mvar]
    p_shape, q_shape : ndarray, (time, shape)
        [-]
    """
    return xr.Dataset(
        {
            "p_shape": (("time", "shape"), p_shape),
            "q_shape": (("time", "shape"), q_shape),
            "shape_of": ("asset", shapes["shape"].to_numpy(dtype=np.int64)),
            "p_scale_mw": ("asset", shapes["p_scale_mw"].to_numpy(dtype=float), attrs_of("p_mw")),
            "q_scale_mvar": ("asset", shapes["q_scale_mvar"].to_numpy(dtype=float), attrs_of("q_mvar")),
        },
        coords={
            "time": axis.times,
            "asset": assets.index.to_numpy(dtype=str),
            "element": ("asset", assets["element"].to_numpy(dtype=str)),
            "index": ("asset", assets["index"].to_numpy(dtype=int)),
            "kind": ("asset", assets["kind"].to_numpy(dtype=str)),
        },
        attrs={"step": axis.step.isoformat(), "zone": axis.zone},
    )


def mean_p_mw(profiles: Profiles | ShapedProfiles) -> pd.Series:
    """Mean active power of every asset over paths and time; index: asset name. [MW]"""
    if "p_shape" in profiles:
        values = profiles["p_shape"].mean("time").to_numpy()[profiles["shape_of"]] * profiles["p_scale_mw"].to_numpy()
    else:
        values = profiles["p_mw"].mean([dim for dim in profiles["p_mw"].dims if dim != "asset"]).to_numpy()
    return pd.Series(values, index=profiles["asset"].to_numpy())


def join_profiles(parts: Sequence[Profiles]) -> Profiles:
    """Profiles of several sources side by side; times must agree exactly."""
    attrs = dict(parts[0].attrs)
    joined = xr.concat(list(parts), dim="asset", join="exact", combine_attrs="override")
    return check_profiles(joined.assign_attrs(attrs))


def quality_shares(profiles: Profiles) -> pd.DataFrame:
    """Share of each quality code per asset, rows sum to 1. [-]"""
    codes = profiles["quality"].to_numpy()
    shares = {word: (codes == code).mean(axis=0) for code, word in QUALITY.items()}
    shares["missing"] = np.isnan(profiles["p_mw"].to_numpy()).mean(axis=0)
    return pd.DataFrame(shares, index=pd.Index(profiles["asset"].to_numpy(), name="asset"))
