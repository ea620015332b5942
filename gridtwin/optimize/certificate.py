"""The certificate: what AC power flow of every forecast path says about a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.network_limits import (
    CERTIFIED_LOADING_PERCENT,
    CERTIFIED_VOLTAGE_PU,
    find_demanding_paths,
    violations,
)
from gridtwin.scenario import Flexibility

CERTIFIED_LOSS_PERCENT = 2.0
"""Error of the energy lost on a day that a certified plan may show. [%]"""
RunFlow = Callable[[GridTwin, Profiles], xr.Dataset]


@dataclass(frozen=True)
class LimitCheck:
    """AC results of all paths on some steps, held against the limits.

    Parameters
    ----------
    times : DatetimeIndex, (time,)
        Steps.
    loading_excess_percent : ndarray, (time, branch)
        Largest loading above its limit in the paths that must hold; negative: room. [%]
    vm_excess_pu : ndarray, (time, bus)
        The same for voltages outside their limits. [pu]
    clean : ndarray of bool, (path,)
        Paths without any violation on these steps.
    unsolved : ndarray, (time,)
        Number of paths that must hold without a power flow solution on each step.
    """

    times: pd.DatetimeIndex
    loading_excess_percent: np.ndarray
    vm_excess_pu: np.ndarray
    clean: np.ndarray
    unsolved: np.ndarray


@dataclass(frozen=True)
class Certificate:
    """What was checked, and how it came out.

    Parameters
    ----------
    limits_hold : bool
        On each day all limits hold all day in the demanded share of the paths, within 0.5 % loading and 0.001 pu.
    converged : bool
        The AC rounds ended because plan and AC power flow agree, not because they ran out. A limit
        that no schedule can hold is then named as unmet.
    rounds : int
        AC power flows of all paths, the largest number among the days; 0 for a mere check.
    confidence : float
        Demanded share of paths. [-]
    paths : int
        Number of forecast paths.
    max_loading_violation_percent, max_voltage_violation_pu : float
        Largest violation in the paths that must hold, 0 where there is none. [%], [pu]
    lowest_share_holding : float
        Share of paths without any violation on the worst day. [-]
    share_paths_without_violation : float
        Share of paths without any violation on any day. [-]
    worst_asset, worst_time : str
        Where and when a limit is closest or most exceeded; UTC.
    unsolved_steps : int
        Path-steps without a power flow solution; they count as violated.
    max_lp_error_percent, max_lp_error_pu : float
        Largest difference between room planned and room found in the last round, on the limits in the model.
        [% of rating], [pu]
    max_loss_error_percent : float
        Largest error of the energy lost on a day, planned against AC power flow. [%]
    bound_gap : float
        Largest distance of a day's objective to what no plan can be below, relative; in the last round. [-]
    solves : tuple of dict
        Day, round, solver status, objective in EUR, rows in the model and violations of each round.
    """

    limits_hold: bool
    converged: bool
    rounds: int
    confidence: float
    paths: int
    max_loading_violation_percent: float
    max_voltage_violation_pu: float
    lowest_share_holding: float
    share_paths_without_violation: float
    worst_asset: str
    worst_time: str
    unsolved_steps: int
    max_lp_error_percent: float = 0.0
    max_lp_error_pu: float = 0.0
    max_loss_error_percent: float = 0.0
    bound_gap: float = 0.0
    solves: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for attributes and JSON."""
        return asdict(self) | {"solves": [dict(solve) for solve in self.solves]}


def certify_schedule(
    twin: GridTwin,
    forecast: xr.Dataset,
    schedule: xr.Dataset,
    settings: Flexibility,
    *,
    run_flow: RunFlow = run_power_flow,
) -> Certificate:
    """Check a schedule by AC power flow of every forecast path; nothing is optimised.

    Parameters
    ----------
    twin : GridTwin
        Network and limits.
    forecast : Forecast
        Paths to check against.
    schedule : Schedule
        Any schedule, not only our own.
    settings : Flexibility
        The demanded confidence.
    run_flow : callable
        Power flow of a twin and profiles.
    """
    flow = run_flow(twin, apply_schedule(twin, forecast, schedule))
    checks = [check_limits(twin, flow.isel(time=day), settings.confidence) for day in axis_of(flow).day_slices]
    return write_certificate(twin, checks, settings.confidence)


def check_limits(twin: GridTwin, flow: xr.Dataset, confidence: float) -> LimitCheck:
    """Hold AC results of all paths of one day against the limits of branches and buses."""
    loading, outside = violations(twin, flow)
    solved = flow["status"].to_numpy() == 0
    kept = find_demanding_paths(twin, flow, confidence)
    failed = (loading > LOADING_TOLERANCE_PERCENT).any(axis=2) | (outside > VOLTAGE_TOLERANCE_PU).any(axis=2) | ~solved
    return LimitCheck(
        times=pd.DatetimeIndex(flow.indexes["time"]),
        loading_excess_percent=loading[kept].max(axis=0),
        vm_excess_pu=outside[kept].max(axis=0),
        clean=np.logical_not(failed.any(axis=1)),
        unsolved=(~solved[kept]).sum(axis=0),
    )


def write_certificate(
    twin: GridTwin,
    checks: Sequence[LimitCheck],
    confidence: float,
    *,
    converged: bool = True,
    rounds: int = 0,
    max_lp_error_percent: float = 0.0,
    max_lp_error_pu: float = 0.0,
    max_loss_error_percent: float = 0.0,
    solves: tuple[dict[str, Any], ...] = (),
) -> Certificate:
    """One certificate from the checks of all days."""
    loading = np.concatenate([check.loading_excess_percent for check in checks])
    voltage = np.concatenate([check.vm_excess_pu for check in checks])
    times = pd.DatetimeIndex(np.concatenate([check.times.to_numpy() for check in checks]))
    over, outside = max(0.0, float(loading.max(initial=0.0))), max(0.0, float(voltage.max(initial=0.0)))
    unsolved = int(sum(check.unsolved.sum() for check in checks))
    asset, time = _worst_place(twin, times, loading, voltage)
    clean = np.logical_and.reduce([check.clean for check in checks])
    return Certificate(
        limits_hold=over <= CERTIFIED_LOADING_PERCENT and outside <= CERTIFIED_VOLTAGE_PU and unsolved == 0,
        converged=converged,
        rounds=rounds,
        confidence=confidence,
        paths=len(clean),
        max_loading_violation_percent=over,
        max_voltage_violation_pu=outside,
        lowest_share_holding=min(float(check.clean.mean()) for check in checks),
        share_paths_without_violation=float(clean.mean()),
        worst_asset=asset,
        worst_time=str(time),
        unsolved_steps=unsolved,
        max_lp_error_percent=max_lp_error_percent,
        max_lp_error_pu=max_lp_error_pu,
        max_loss_error_percent=max_loss_error_percent,
        bound_gap=_bound_gap(solves),
        solves=solves,
    )


def _bound_gap(solves: Sequence[dict[str, Any]]) -> float:
    """Gap of the last solve of each day, the largest of all days."""
    last = {solve["day"]: solve for solve in solves if "lower_bound_eur" in solve}
    gaps = [
        (solve["objective_eur"] - solve["lower_bound_eur"]) / max(1.0, abs(solve["objective_eur"]))
        for solve in last.values()
    ]
    return float(max([0.0, *gaps]))


def _worst_place(
    twin: GridTwin, times: pd.DatetimeIndex, loading: np.ndarray, voltage: np.ndarray
) -> tuple[str, pd.Timestamp]:
    """Asset and time of the largest excess, loading and voltage each in units of its tolerance."""
    scaled = np.concatenate([loading / CERTIFIED_LOADING_PERCENT, voltage / CERTIFIED_VOLTAGE_PU], axis=1)
    time, place = np.unravel_index(int(np.argmax(scaled)), scaled.shape)
    names = [*twin.branches.index, *twin.buses.index]
    return str(names[int(place)]), times[int(time)]
