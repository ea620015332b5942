"""Flexibility needs: what to ask the market for so that limits hold, where, when, how likely, at what price.

power flow of all paths -> room to every limit -> what is missing, at the most effective bus
                        -> windows of each day -> zone, direction, probability, price ceiling

A need relieves one limit by itself. Limits in series, or voltages of neighbours, overlap:
the same power may serve several rows, so the rows are not to be added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.errors import DataError, Finding
from gridtwin.grid.compile import find_assets_in_service
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.congestion import hours_per_step
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.certificate import RunFlow
from gridtwin.optimize.network_limits import (
    AIM_LOADING_PERCENT,
    AIM_VOLTAGE_PU,
    NetworkLimits,
    find_demanding_paths,
    find_network_limits,
    measure_room,
    violations,
)
from gridtwin.optimize.price_ceiling import LESS, MORE, PriceCeiling

Floats = NDArray[np.float64]

SHARE_OF_STRONGEST = 0.5
"""Buses with at least this share of the strongest response belong to the zone of a need. [-]"""
AC_ROUNDS = 6
"""Most corrections of a need by AC power flow; each gains about two digits."""

COLUMNS = {
    "zone": "object", "element": "object", "side": "object", "direction": "object", "start": "datetime64[ns]",
    "end": "datetime64[ns]", "p_mw": "float64", "e_mwh": "float64", "proved": "bool", "probability": "float64",
    "price_ceiling_eur_per_mwh": "float64", "price_basis": "object", "best_bus": "object", "buses": "object",
    "sensitivities": "object", "sensitivity_unit": "object",
}  # fmt: skip
"""Columns of the table and their types."""


def find_flexibility_needs(
    twin: GridTwin,
    flow: xr.Dataset,
    profiles: Profiles,
    *,
    confidence: float,
    price_ceiling: PriceCeiling,
    buses: list[str] | None = None,
    share_of_strongest: float = SHARE_OF_STRONGEST,
    run_flow: RunFlow = run_power_flow,
) -> pd.DataFrame:
    """Flexibility that makes all limits hold in the demanded share of the paths.

    Parameters
    ----------
    twin : GridTwin
        Limits.
    flow : PowerFlow
        Results of `run_power_flow`, (path, time, …).
    profiles : Profiles or Forecast
        What was fed into it, consumption positive; the operating point of the sensitivities.
    confidence : float
        Share of paths, local day by local day, in which every limit must hold. [-]
    price_ceiling : PriceCeiling
        What the alternative costs: `AlternativePrice` or `ReinforcementAnnuity`.
    buses : list of str, optional
        Buses at which flexibility may be offered. Default: those of all assets.
    share_of_strongest : float
        Buses with at least this share of the strongest response make the zone. [-]
    run_flow : callable
        Power flow of a twin and profiles.

    Returns
    -------
    DataFrame
        One row per limit and window, an unbroken run of steps of one local day; largest need first. Columns:

        - `zone`, `element`, `side`: the limiting asset, its kind, and which limit: a branch is loaded
          "forward" (into its from or hv side) or in "reverse", a voltage is "low" or "high";
        - `direction`: "less consumption" (or more feed-in) or "more consumption" (or less feed-in);
        - `start`, `end`: the window, UTC;
        - `p_mw`: largest power needed at `best_bus` in the window, `e_mwh`: energy needed in it, both in the
          demanded share of the paths; NaN where no bus relieves the limit;
        - `proved`: whether AC power flow with this power taken off met the limit;
        - `probability`: share of all paths that exceed the limit in the window; a path that holds unsolved
          steps there and exceeds nothing is left out of the count;
        - `price_ceiling_eur_per_mwh`, `price_basis`: what the alternative costs;
        - `best_bus`, `buses`, `sensitivities`, `sensitivity_unit`: the most effective bus, all buses of the zone
          from the most effective on, and what 1 MW more consumption at each adds to the flow in the direction
          of the limit [MW/MW] or to the voltage [pu/MW].

        `attrs["findings"]` holds what a reader must know, as text.

    Raises
    ------
    DataError
        If power flow and profiles have different labels, or a share is outside 0 to 1.

    Notes
    -----
    What is missing at the limit by AC power flow, divided by the AC sensitivity at the mean of the paths in the
    worst step of the day (`network_limits`). Then the power is taken off at the best bus, AC power flow is
    run again and the need corrected, until the limit is met within 0.1 % loading or 0.00005 pu. A need at a bus
    without any asset in service stays linear and is not proved.
    """
    _check_arguments(flow, profiles, confidence, share_of_strongest)
    offered = list(dict.fromkeys(twin.assets["bus"].astype(str))) if buses is None else buses
    days = (
        _Day(twin, flow.isel(time=day), profiles.isel(time=day), offered, confidence, share_of_strongest, run_flow)
        for day in axis_of(flow).day_slices
    )
    rows = [row for day in days for row in _needs_of_day(day)]
    needs = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    needs["price_ceiling_eur_per_mwh"] = price_ceiling.of_needs(needs)
    needs["price_basis"] = price_ceiling.basis
    needs = needs.sort_values(["p_mw", "start", "zone"], ascending=[False, True, True], ignore_index=True)
    needs.attrs["findings"] = [str(finding) for finding in _check_needs(needs, flow)]
    return needs


@dataclass(frozen=True, eq=False)
class _Day:
    """One local day and what was asked."""

    twin: GridTwin
    flow: xr.Dataset
    profiles: Profiles
    buses: list[str]
    confidence: float
    share_of_strongest: float
    run_flow: RunFlow


def _needs_of_day(day: _Day) -> Iterator[dict[str, Any]]:
    """Rows of all limits that lack room on the day."""
    loading, outside = violations(day.twin, day.flow)
    if not ((loading > LOADING_TOLERANCE_PERCENT).any() or (outside > VOLTAGE_TOLERANCE_PU).any()):
        return
    limits, kept = _find_limits(day), find_demanding_paths(day.twin, day.flow, day.confidence)
    tolerance_mw = _tolerance_mw(limits)
    missing_mw = _missing(day.twin, day.flow.isel(path=kept), limits)
    lacking = np.flatnonzero((missing_mw > tolerance_mw).any(axis=1))
    paths = range(day.flow.sizes["path"])
    by_path = np.stack([_missing(day.twin, day.flow.isel(path=[path]), limits)[lacking] for path in paths])
    exceeded = by_path > tolerance_mw[lacking]  # (path, limit, time)
    for k, limit in enumerate(lacking.tolist()):
        windows = list(_windows(missing_mw[limit] > tolerance_mw[limit]))
        p_mw, proved = _needed_power(day, limits, limit, np.maximum(missing_mw[limit], 0.0), kept)
        for window in windows:
            yield _describe(day, limits, limit, window) | {
                "p_mw": p_mw[window].max(),
                "e_mwh": p_mw[window].sum() * hours_per_step(day.flow),
                "proved": bool(proved[window].all()),
                "probability": _share_of_known_paths(exceeded[:, k, window], day.flow.isel(time=window)),
            }


def _needed_power(
    day: _Day, limits: NetworkLimits, limit: int, missing_mw: Floats, kept: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Power needed at the best bus [MW] and whether AC power flow of the kept paths then meets the limit. (time,)"""
    weight, proved = limits.weight[limit], np.zeros(len(missing_mw), dtype=bool)
    if not weight.any():
        return np.full(len(missing_mw), np.nan), proved
    best = int(np.abs(weight).argmax())
    p_mw, steps = missing_mw / abs(weight[best]), np.flatnonzero(missing_mw > 0)
    assets = day.twin.assets.index[(day.twin.assets["bus"] == day.buses[best]) & find_assets_in_service(day.twin)]
    for _ in range(AC_ROUNDS if len(assets) else 0):
        eased = _eased(day, str(assets[0]), -np.sign(weight[best]) * p_mw)
        flow = day.run_flow(day.twin, eased.isel(time=steps)).isel(path=kept)
        still_mw = _missing(day.twin, flow, limits)[limit]
        proved[steps] = np.abs(still_mw) <= limits.aim_mw[limit]
        if proved[steps].all():
            break
        correction = np.where(np.isfinite(still_mw), still_mw, 0.0) / abs(weight[best])
        p_mw[steps] = np.where(proved[steps], p_mw[steps], np.maximum(p_mw[steps] + correction, 0.0))
    return p_mw, proved


def _eased(day: _Day, asset: str, change_mw: Floats) -> Profiles:
    """Profiles with the change of consumption at one asset. [MW]"""
    p_mw = day.profiles["p_mw"]
    change = xr.DataArray(change_mw, dims="time") * (p_mw["asset"] == asset)
    return day.profiles.assign(p_mw=p_mw + change.drop_vars("time", errors="ignore"))


def _find_limits(day: _Day) -> NetworkLimits:
    """Limits and their response at the mean of the paths in the worst step of the day."""
    loading, outside = violations(day.twin, day.flow)
    worst = np.maximum(
        loading.max(axis=2, initial=-np.inf) / AIM_LOADING_PERCENT,
        outside.max(axis=2, initial=-np.inf) / AIM_VOLTAGE_PU,
    )
    solved = (day.flow["status"].to_numpy() == 0).all(axis=0)
    step = int(np.where(solved, worst.max(axis=0), -np.inf).argmax())
    point = day.profiles[["p_mw", "q_mvar"]].isel(time=[step])
    point = point.mean("path", keep_attrs=True) if "path" in point.dims else point
    limits = find_network_limits(day.twin, point, day.buses)
    # a voltage that no offered bus moves still has a violation, in pu²
    return replace(limits, scale=np.where(np.isfinite(limits.scale), limits.scale, 1.0))


def _missing(twin: GridTwin, flow: xr.Dataset, limits: NetworkLimits) -> Floats:
    """Room missing in any of the paths to each limit itself, not to its aim. (limit, time) [MW], positive is missing"""
    return np.asarray(-(measure_room(twin, flow, limits, 1.0) + limits.aim_mw[:, None]))


def _tolerance_mw(limits: NetworkLimits) -> Floats:
    """What may be missing without a need: the solver's part, from the aims, which are in the same units. (limit, 1)"""
    voltage = (limits.table["kind"] == "bus").to_numpy()
    parts = VOLTAGE_TOLERANCE_PU / AIM_VOLTAGE_PU, LOADING_TOLERANCE_PERCENT / AIM_LOADING_PERCENT
    tolerance = limits.aim_mw * np.where(voltage, *parts)
    unmoved = voltage & (np.abs(limits.weight).max(axis=1, initial=0.0) == 0)
    return np.asarray(np.where(unmoved, 2 * VOLTAGE_TOLERANCE_PU, tolerance))[:, None]


def _describe(day: _Day, limits: NetworkLimits, limit: int, window: slice) -> dict[str, Any]:
    """Zone, direction and window of a need."""
    facts, weight = limits.table.iloc[limit], limits.weight[limit]
    sign = float(np.sign(weight[np.abs(weight).argmax()])) if weight.size else 0.0
    relief = sign * weight
    inside = np.flatnonzero(relief >= max(day.share_of_strongest * relief.max(initial=0.0), np.finfo(float).tiny))
    inside = inside[np.argsort(-relief[inside], kind="stable")]
    per_mw = _natural_sensitivity(day, limits, limit)
    buses = tuple(day.buses[b] for b in inside)
    times = pd.DatetimeIndex(day.flow.indexes["time"])
    return {
        "zone": str(facts["asset"]),
        "element": str(facts["kind"]),
        "side": str(facts["side"]),
        "direction": MORE if sign < 0 else LESS,
        "start": times[window.start],
        "end": times[window.stop - 1] + pd.Timedelta(hours=hours_per_step(day.flow)),
        "best_bus": buses[0] if buses else "",
        "buses": buses,
        "sensitivities": {bus: float(per_mw[b]) for bus, b in zip(buses, inside, strict=True)},
        "sensitivity_unit": "pu/MW" if facts["kind"] == "bus" else "MW/MW",
    }


def _natural_sensitivity(day: _Day, limits: NetworkLimits, limit: int) -> Floats:
    """Flow towards the limit, or voltage at its limit, by consumption at each bus. (bus,) [MW/MW] or [pu/MW]"""
    facts = limits.table.iloc[limit]
    if facts["kind"] != "bus":
        return np.asarray(limits.weight[limit])
    side, column = (1.0, "vm_max_pu") if facts["side"] == "high" else (-1.0, "vm_min_pu")
    vm_pu = day.twin.buses[column].to_numpy(dtype=float)[day.twin.buses.index.get_loc(facts["asset"])]
    # dv/dp = (dv²/dp) / 2v
    return np.asarray(side * limits.weight[limit] * limits.scale[limit] / (2 * vm_pu))


def _share_of_known_paths(exceeded: NDArray[np.bool_], flow: xr.Dataset) -> float:
    """Share of paths that exceed a limit among those that do or were solved in every step of the window. [-]"""
    solved, broken = (flow["status"].to_numpy() == 0).all(axis=1), exceeded.any(axis=1)
    return float(broken.sum() / (broken | solved).sum())


def _windows(needed: NDArray[np.bool_]) -> Iterator[slice]:
    """Unbroken runs of steps with a need."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]])))
    return (slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True))


def _check_needs(needs: pd.DataFrame, flow: xr.Dataset) -> list[Finding]:
    findings = []
    unsolved = int((flow["status"].to_numpy() != 0).sum())
    if unsolved:
        what = f"{unsolved} steps of paths have no solution: what they need is not known"
        findings.append(Finding(what, where="power flow", code="GT-O81"))
    for zone in needs.loc[needs["best_bus"] == "", "zone"].unique():
        what = "no bus at which flexibility is offered relieves the limit"
        findings.append(Finding(what, where=str(zone), do="Offer more buses or reinforce.", code="GT-O82"))
    for zone in needs.loc[~needs["proved"] & (needs["best_bus"] != ""), "zone"].unique():
        findings.append(Finding("a need is not proved by AC power flow", where=str(zone), code="GT-O86"))
    unpriced = needs["price_ceiling_eur_per_mwh"].isna() & (needs["best_bus"] != "")
    for zone in needs.loc[unpriced, "zone"].unique():
        findings.append(Finding("the alternative has no price for the need", where=str(zone), code="GT-O83"))
    return findings


def _check_arguments(flow: xr.Dataset, profiles: Profiles, confidence: float, share_of_strongest: float) -> None:
    findings = []
    for name, value in (("confidence", confidence), ("share_of_strongest", share_of_strongest)):
        if not 0 < value <= 1:
            expected, got = "above 0 and at most 1", f"{value:g}"
            findings.append(
                Finding("not a share", where=name, expected=expected, got=got, severity="error", code="GT-O84")
            )
    if not flow.indexes["time"].equals(profiles.indexes["time"]):
        what = "power flow and profiles have different times"
        findings.append(Finding(what, where="profiles", severity="error", code="GT-O85"))
    if flow.sizes["path"] != profiles.sizes.get("path", 1):
        what, expected, got = "different numbers of paths", str(flow.sizes["path"]), str(profiles.sizes.get("path", 1))
        findings.append(Finding(what, where="profiles", expected=expected, got=got, severity="error", code="GT-O85"))
    if findings:
        raise DataError(findings)
