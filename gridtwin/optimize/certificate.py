"""The certificate: what AC power flow of every forecast path says about a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.network_limits import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU, may_fail
from gridtwin.scenario import Flexibility

RunFlow = Callable[[GridTwin, Profiles], xr.Dataset]


@dataclass(frozen=True)
class LimitCheck:
    """AC results of all paths on some steps, held against the limits.

    Parameters
    ----------
    times : DatetimeIndex, (time,)
        Steps.
    loading_excess_percent : ndarray, (time, branch)
        Loading above its limit that more than the allowed share of paths reach; negative: room. [%]
    vm_excess_pu : ndarray, (time, bus)
        The same for voltages outside their limits. [pu]
    share_holding : float
        Smallest share of paths in which a limit holds on a step. [-]
    clean : ndarray of bool, (path,)
        Paths without any violation on these steps.
    unsolved : ndarray, (time,)
        Number of paths without a power flow solution on each step.
    """

    times: pd.DatetimeIndex
    loading_excess_percent: np.ndarray
    vm_excess_pu: np.ndarray
    share_holding: float
    clean: np.ndarray
    unsolved: np.ndarray


@dataclass(frozen=True)
class Certificate:
    """What was checked, and how it came out.

    Parameters
    ----------
    limits_hold : bool
        Every limit holds in the demanded share of the paths, within 0.5 % loading and 0.001 pu.
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
        Largest violation at the demanded confidence, 0 where there is none. [%], [pu]
    lowest_share_holding : float
        Smallest share of paths in which a limit holds on a step. [-]
    share_paths_without_violation : float
        Share of paths without any violation anywhere. [-]
    worst_asset, worst_time : str
        Where and when a limit is closest or most exceeded; UTC.
    unsolved_steps : int
        Path-steps without a power flow solution; they count as violated.
    max_lp_error_percent, max_lp_error_pu : float
        Largest difference between room planned and room found in the last round, on the limits in the model.
        [% of rating], [pu]
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
    return write_certificate(twin, [check_limits(twin, flow, settings.confidence)], settings.confidence)


def check_limits(twin: GridTwin, flow: xr.Dataset, confidence: float) -> LimitCheck:
    """Hold AC results of all paths against the limits of branches and buses."""
    loading = flow["loading_percent"].to_numpy() - twin.branches["max_loading_percent"].to_numpy(dtype=float)
    vm = flow["vm_pu"].to_numpy()
    low, high = (twin.buses[name].to_numpy(dtype=float) for name in ("vm_min_pu", "vm_max_pu"))
    outside = np.maximum(vm - high, low - vm)
    solved = flow["status"].to_numpy() == 0
    # an unrated branch or a bus without supply has no limit, a step without a solution has failed
    loading, outside = (np.where(np.isnan(excess), -np.inf, excess) for excess in (loading, outside))
    failed = np.concatenate([loading > LOADING_TOLERANCE_PERCENT, outside > VOLTAGE_TOLERANCE_PU], axis=2)
    failed |= ~solved[:, :, np.newaxis]
    allowed = may_fail(len(loading), confidence)
    return LimitCheck(
        times=pd.DatetimeIndex(flow.indexes["time"]),
        loading_excess_percent=_exceeded_by_more_than(loading, allowed),
        vm_excess_pu=_exceeded_by_more_than(outside, allowed),
        share_holding=1 - float(failed.mean(axis=0).max(initial=0.0)),
        clean=np.logical_not(failed.any(axis=(1, 2))),
        unsolved=(~solved).sum(axis=0),
    )


def _exceeded_by_more_than(excess: np.ndarray, allowed: int) -> np.ndarray:
    """The largest value over paths after `allowed` larger ones. (time, …)"""
    return np.asarray(np.sort(excess, axis=0)[len(excess) - 1 - allowed])


def write_certificate(
    twin: GridTwin,
    checks: Sequence[LimitCheck],
    confidence: float,
    *,
    converged: bool = True,
    rounds: int = 0,
    max_lp_error_percent: float = 0.0,
    max_lp_error_pu: float = 0.0,
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
        limits_hold=over <= LOADING_TOLERANCE_PERCENT and outside <= VOLTAGE_TOLERANCE_PU and unsolved == 0,
        converged=converged,
        rounds=rounds,
        confidence=confidence,
        paths=len(clean),
        max_loading_violation_percent=over,
        max_voltage_violation_pu=outside,
        lowest_share_holding=min(check.share_holding for check in checks),
        share_paths_without_violation=float(clean.mean()),
        worst_asset=asset,
        worst_time=str(time),
        unsolved_steps=unsolved,
        max_lp_error_percent=max_lp_error_percent,
        max_lp_error_pu=max_lp_error_pu,
        solves=solves,
    )


def _worst_place(
    twin: GridTwin, times: pd.DatetimeIndex, loading: np.ndarray, voltage: np.ndarray
) -> tuple[str, pd.Timestamp]:
    """Asset and time of the largest excess, loading and voltage each in units of its tolerance."""
    scaled = np.concatenate([loading / LOADING_TOLERANCE_PERCENT, voltage / VOLTAGE_TOLERANCE_PU], axis=1)
    time, place = np.unravel_index(int(np.argmax(scaled)), scaled.shape)
    names = [*twin.branches.index, *twin.buses.index]
    return str(names[int(place)]), times[int(time)]
