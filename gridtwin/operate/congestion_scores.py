"""Probabilities of congestion against what happened: reliability, Brier score and skill.

An event is one asset over its planning limit: at one step, or at any time of a local day. Its probability is the
share of the forecast paths in which it happens; what happened is the power flow of the realised profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.event_scores import (
    ASSET_COLUMNS,
    RELIABILITY_COLUMNS,
    asset_rows,
    reliability_rows,
    score_probabilities,
)
from gridtwin.operate.power_flow import PowerFlow
from gridtwin.time_axis import to_local

Floats = NDArray[np.float64]

EVENTS = ("step", "day")
"""An asset is over its limit at a step, or at any step of a local day."""


@dataclass(frozen=True)
class CongestionLimits:
    """Limits that make an event.

    Parameters
    ----------
    max_loading_percent : Series
        By branch. [%]
    vm_min_pu, vm_max_pu : Series
        By bus. [pu]
    """

    max_loading_percent: pd.Series
    vm_min_pu: pd.Series
    vm_max_pu: pd.Series

    @staticmethod
    def of_twin(twin: GridTwin) -> CongestionLimits:
        """The planning limits of a twin."""
        buses = twin.buses
        return CongestionLimits(twin.branches["max_loading_percent"], buses["vm_min_pu"], buses["vm_max_pu"])


@dataclass(frozen=True)
class CongestionScores:
    """Tables of scores.

    Parameters
    ----------
    summary : DataFrame
        One row per `quantity` (`branch`, `bus`, and `network`: any of them) and `event` (`step`, `day`), see
        `score_probabilities`; then the Brier scores and skills against the references.
    reliability : DataFrame
        The reliability diagram by `quantity` and `event`, see `reliability_rows`.
    assets : DataFrame
        One row per asset that is over its limit in any path or in reality: `quantity, event, asset, events,
        expected_events, observed_frequency, brier` and its skill against its own frequency.
    """

    summary: pd.DataFrame
    reliability: pd.DataFrame
    assets: pd.DataFrame


def score_congestion(
    forecast_flow: PowerFlow,
    realised_flow: PowerFlow,
    limits: CongestionLimits | GridTwin,
    *,
    naive_flow: PowerFlow | None = None,
    bins: int = 10,
) -> CongestionScores:
    """Score the probability of congestion of every branch, bus and of the network, per step and per local day.

    Parameters
    ----------
    forecast_flow : PowerFlow
        Power flow of the forecast paths: `loading_percent` (path, time, branch) or `vm_pu` (path, time, bus), or both.
    realised_flow : PowerFlow
        The same of what happened, one path; may span more times.
    limits : CongestionLimits or GridTwin
        Planning limits by name.
    naive_flow : PowerFlow, optional
        Power flow of the seasonal naive point forecast: its probability is 0 or 1.
    bins : int
        Bins of the reliability diagram.

    Returns
    -------
    CongestionScores
        Skills are 100 for a perfect forecast and 0 for one no better than its reference; NaN where the reference makes
        no error. The references: `climatology`, the frequency of each asset in the scored period itself, so known
        only afterwards and hard to beat; `pooled_climatology`, one frequency for all, which credits the forecast
        with knowing which assets are weak [1]_; `naive`.

    Raises
    ------
    DataError
        If flows and limits do not fit together.

    Notes
    -----
    A step that is unsolved in reality is left out; paths unsolved at a step are left out of its share, and of
    a day's where they break nothing elsewhere on that day.

    References
    ----------
    .. [1] T. M. Hamill, J. Juras, Measuring forecast skill: is it real skill or is it the varying climatology?,
       Quarterly Journal of the Royal Meteorological Society 132, 2006, doi:10.1256/qj.06.25
    """
    limits = CongestionLimits.of_twin(limits) if isinstance(limits, GridTwin) else limits
    flows = {"forecast": forecast_flow, "realised": realised_flow} | ({"naive": naive_flow} if naive_flow else {})
    check_flows(flows, limits)
    times = forecast_flow["time"].to_numpy()
    over = {name: overloads(flow.sel(time=times), limits) for name, flow in flows.items()}
    days = local_days(forecast_flow)
    summary, reliability, assets = [], [], []
    for quantity in over["forecast"]:
        names = asset_names(forecast_flow, quantity)
        for event in EVENTS:
            parts = {name: by_event(values[quantity], event, days) for name, values in over.items()}
            probability, observed = event_share(parts["forecast"]), parts["realised"][0]
            naive = parts["naive"][0] if "naive" in parts else np.full(observed.shape, np.nan)
            label = {"quantity": quantity, "event": event}
            summary.append(label | score_probabilities(probability, observed, naive))
            reliability += [label | row for row in reliability_rows(probability, observed, bins)]
            assets += [label | row for row in asset_rows(names, probability, observed)]
    return CongestionScores(
        pd.DataFrame(summary),
        pd.DataFrame(reliability, columns=["quantity", "event", *RELIABILITY_COLUMNS]),
        pd.DataFrame(assets, columns=["quantity", "event", *ASSET_COLUMNS]),
    )


# --- events -----------------------------------------------------------------------------------------------------------


def overloads(flow: PowerFlow, limits: CongestionLimits) -> dict[str, Floats]:
    """1 where an asset is over its limit, 0 where not, NaN where unknown; by quantity, (path, time, asset)."""
    found: dict[str, Floats] = {}
    if "loading_percent" in flow:
        loading = flow["loading_percent"].to_numpy()
        limit = limits.max_loading_percent.loc[flow["branch"].to_numpy()].to_numpy(dtype=float)
        found["branch"] = flagged(loading > limit + LOADING_TOLERANCE_PERCENT, loading)
    if "vm_pu" in flow:
        vm_pu, names = flow["vm_pu"].to_numpy(), flow["bus"].to_numpy()
        low, high = (side.loc[names].to_numpy(dtype=float) for side in (limits.vm_min_pu, limits.vm_max_pu))
        outside = (vm_pu < low - VOLTAGE_TOLERANCE_PU) | (vm_pu > high + VOLTAGE_TOLERANCE_PU)
        found["bus"] = flagged(outside, vm_pu)
    return found | {"network": any_asset(np.concatenate(list(found.values()), axis=2))}


def flagged(over: NDArray[np.bool_], values: Floats) -> Floats:
    """1 where over, 0 where not, NaN where the value is unknown."""
    return np.where(np.isnan(values), np.nan, over)


def by_event(over: Floats, event: str, days: list[slice]) -> Floats:
    """Flags per step, or per local day: whether an asset is over its limit at any step of it. (path, case, asset)"""
    if event == "step":
        return over
    return np.stack([any_flag(over[:, day], 1) for day in days], axis=1)


def local_days(flow: PowerFlow) -> list[slice]:
    """Steps of each local day of a power flow; days need not follow each other."""
    local = to_local(pd.DatetimeIndex(flow.indexes["time"]), str(flow.attrs.get("zone", "UTC")))
    edges = np.flatnonzero(local.date[1:] != local.date[:-1]) + 1
    starts = [0, *edges.tolist(), len(local)]
    return [slice(first, end) for first, end in pairwise(starts)]


def any_asset(over: Floats) -> Floats:
    """Whether any asset is over its limit, (path, time, 1); those never known, as without supply, do not count."""
    supplied = ~np.isnan(over).all(axis=(0, 1))
    return any_flag(over[:, :, supplied], 2)[:, :, np.newaxis]


def any_flag(flags: Floats, axis: int) -> Floats:
    """1 where any flag is up, 0 where all are known to be down, else NaN."""
    up, known = (flags > 0).any(axis=axis), ~np.isnan(flags).any(axis=axis)
    return np.where(up, 1.0, np.where(known, 0.0, np.nan))


def event_share(flags: Floats) -> Floats:
    """Share of the known paths in which an event happens, NaN where none is known. (case, asset) [-]"""
    known = ~np.isnan(flags)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, flags, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def asset_names(flow: PowerFlow, quantity: str) -> NDArray[np.str_]:
    """Labels of the last dim of a quantity."""
    return np.array(["network"]) if quantity == "network" else flow[quantity].to_numpy().astype(str)


def check_flows(flows: Mapping[str, PowerFlow], limits: CongestionLimits) -> None:
    """Raise if flows have other labels than the forecast, several paths where one is due, or assets without limit."""
    forecast, findings = flows["forecast"], []
    for name, flow in flows.items():
        for dim in ("branch", "bus"):
            if dim in forecast.dims and not flow.indexes.get(dim, pd.Index([])).equals(forecast.indexes[dim]):
                findings.append(Finding(f"{name} and forecast power flow have another {dim}", severity="error"))
        if not forecast.indexes["time"].isin(flow.indexes["time"]).all():
            findings.append(Finding(f"the {name} power flow lacks times of the forecast", severity="error"))
        if name != "forecast" and flow.sizes["path"] != 1:
            got = f"{flow.sizes['path']} paths"
            findings.append(Finding(f"the {name} power flow is no single path", got=got, severity="error"))
    for dim, series in (("branch", limits.max_loading_percent), ("bus", limits.vm_min_pu)):
        lacking = forecast.indexes.get(dim, series.index).difference(series.index)
        if len(lacking):
            findings.append(Finding(f"a {dim} has no limit", got=", ".join(lacking[:5]), severity="error"))
    raise_errors(findings, DataError)


def naive_profiles(forecast: xr.Dataset) -> xr.Dataset:
    """The seasonal naive point of a forecast as profiles for a power flow, (time, asset). [MW], [Mvar]

    Parameters
    ----------
    forecast : Forecast
        `p_naive_mw` (time, asset); reactive power follows at the ratio `reactive_ratio` (asset), or at that of the
        paths where the forecast lacks it.
    """
    naive = forecast["p_naive_mw"].transpose("time", "asset")
    if "reactive_ratio" in forecast.coords:
        ratio = forecast["reactive_ratio"].fillna(0.0)
    else:
        squares = (forecast["p_mw"] ** 2).sum(("path", "time"))
        ratio = ((forecast["p_mw"] * forecast["q_mvar"]).sum(("path", "time")) / squares).where(squares > 0, 0.0)
    kept = [name for name in ("element", "index", "kind") if name in forecast.coords]
    profiles = xr.Dataset({"p_mw": naive, "q_mvar": (naive * ratio).transpose("time", "asset")})
    profiles = profiles.drop_vars([name for name in profiles.coords if name not in ("time", "asset", *kept)])
    attrs = {name: forecast.attrs[name] for name in ("step", "zone") if name in forecast.attrs}
    return profiles.assign_attrs(attrs)
