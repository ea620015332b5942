"""Statistics of a long power flow without its results: a year of a whole distribution area in little memory."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, ShapedProfiles, axis_of
from gridtwin.errors import ConvergenceError
from gridtwin.grid.compile import compile_injections, compile_network
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.lanes import LANES_16
from gridtwin.kernels.network_arrays import Floats, Injections, Ints, NetworkArrays
from gridtwin.kernels.statistics import Scale, Tally, reduce_steps
from gridtwin.nomenclature import attrs_of
from gridtwin.operate.power_flow import TOLERANCE_MVA, TOLERANCE_PU, count_threads, order_steps, share_steps

PowerFlowStatistics: TypeAlias = xr.Dataset

BINS = 1000
VOLTAGE_SCALE = Scale(0.8, 0.0004)
"""Bins of voltages: 0.8 to 1.2 pu. [pu]"""
LOADING_SCALE = Scale(0.0, 0.2)
"""Bins of loadings: 0 to 200 %. [%]"""


class _Reduced(NamedTuple):
    """What the kernel leaves of all steps."""

    voltage: Tally
    loading: Tally
    voltage_bins: NDArray[np.int32]
    loading_bins: NDArray[np.int32]
    loss_mw: Floats
    """Sum over the solved steps. (branch) [MW]"""
    solved: Ints
    """(step)"""


def run_power_flow_statistics(
    twin: GridTwin,
    profiles: Profiles | ShapedProfiles,
    *,
    percentiles: Sequence[float] = (5.0, 50.0, 95.0, 99.0),
    enforce_q_limits: bool = False,
    threads: int | None = None,
) -> PowerFlowStatistics:
    """Extremes, means, percentiles, hours and energy over limits of every bus and branch, over all paths and steps.

    Parameters
    ----------
    twin : GridTwin
        Its limits (`vm_min_pu`, `vm_max_pu`, `max_loading_percent`) are those that are counted.
    profiles : Profiles or ShapedProfiles
        Power of exactly the assets of the twin, consumption positive. Shaped profiles
        need the memory of their shapes only.
    percentiles : sequence of float
        From 0 to 100. [%]
    enforce_q_limits, threads
        As in `run_power_flow`.

    Returns
    -------
    PowerFlowStatistics
        `vm_min_pu, vm_mean_pu, vm_max_pu, time_of_vm_min, time_of_vm_max, under_voltage_h,
        over_voltage_h` (bus); `vm_percentile_pu` (percentile, bus); `loading_mean_percent,
        loading_max_percent, time_of_loading_max, overload_h, overload_mvah, e_loss_mwh`
        (branch); `loading_percentile_percent` (percentile, branch). Hours and energy are
        sums over all paths. `overload_mvah` is the apparent energy beyond the limit at nominal
        voltage. NaN without supply or rating; steps without a solution count nowhere,
        `attrs["steps_unsolved"]` is their number. Percentiles are within
        `attrs["vm_resolution_pu"]` and `attrs["loading_resolution_percent"]`, between
        the extremes that are exact.

    Raises
    ------
    NetworkError
        If the network holds elements that are not modelled.
    DataError
        If the assets of profiles and twin differ.
    ConvergenceError
        If there are steps and none of them could be solved.
    """
    network, injections = compile_network(twin), compile_injections(twin, profiles)
    limits = tuple(twin.buses[name].to_numpy(dtype=float) for name in ("vm_min_pu", "vm_max_pu"))
    limits += (twin.branches["max_loading_percent"].to_numpy(dtype=float),)
    reduced = _reduce(network, injections, limits, enforce_q_limits, count_threads(threads))
    if len(reduced.solved) and not reduced.solved.any():
        raise ConvergenceError("no step of the power flow could be solved")
    return _label(twin, profiles, reduced, percentiles)


def _reduce(
    network: NetworkArrays, injections: Injections, limits: tuple[Floats, ...], enforce_q_limits: bool, threads: int
) -> _Reduced:
    """All steps, part by part; sums are added in the order of the parts, so that threads change nothing."""
    buses, branches = len(network.out_bus), len(network.branches.start) - 1
    solved = np.zeros(len(injections.p_mw), dtype=np.int64)
    free: SimpleQueue[tuple[NDArray[np.int32], NDArray[np.int32]]] = SimpleQueue()
    sheets = [tuple(np.zeros((rows, BINS), dtype=np.int32) for rows in (buses, branches)) for _ in range(threads)]
    for sheet in sheets:
        free.put((sheet[0], sheet[1]))

    def reduce_part(part: Ints) -> tuple[Tally, Tally, Floats]:
        bins = free.get()
        tallies = _empty_tally(buses), _empty_tally(branches)
        loss_mw = np.zeros(branches)
        scales = VOLTAGE_SCALE, LOADING_SCALE
        reduce_steps(network, injections, part, TOLERANCE_PU, TOLERANCE_MVA, enforce_q_limits, limits, scales, tallies,
                     bins, loss_mw, solved, LANES_16)  # fmt: skip
        free.put(bins)
        return *tallies, loss_mw

    voltage, loading, loss_mw = _empty_tally(buses), _empty_tally(branches), np.zeros(branches)
    for part in share_steps(reduce_part, network, order_steps(network, injections), threads, len(LANES_16)):
        voltage, loading, loss_mw = _merge(voltage, part[0]), _merge(loading, part[1]), loss_mw + part[2]
    voltage_bins, loading_bins = (np.sum([sheet[k] for sheet in sheets], axis=0) for k in (0, 1))
    return _Reduced(voltage, loading, voltage_bins, loading_bins, loss_mw, solved)


def _empty_tally(rows: int) -> Tally:
    never, nothing = np.full(rows, -1, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    return Tally(
        low=np.full(rows, np.inf),
        high=np.full(rows, -np.inf),
        step_of_low=never,
        step_of_high=never.copy(),
        total=np.zeros(rows),
        below=nothing,
        above=nothing.copy(),
        excess=np.zeros(rows),
    )


def _merge(one: Tally, other: Tally) -> Tally:
    """Both tallies in one; of equal extremes the first step counts."""
    lower = (other.low < one.low) | ((other.low == one.low) & (other.step_of_low < one.step_of_low))
    higher = (other.high > one.high) | ((other.high == one.high) & (other.step_of_high < one.step_of_high))
    return Tally(
        np.where(lower, other.low, one.low),
        np.where(higher, other.high, one.high),
        np.where(lower, other.step_of_low, one.step_of_low),
        np.where(higher, other.step_of_high, one.step_of_high),
        one.total + other.total,
        one.below + other.below,
        one.above + other.above,
        one.excess + other.excess,
    )


def _label(
    twin: GridTwin, profiles: Profiles | ShapedProfiles, reduced: _Reduced, percentiles: Sequence[float]
) -> PowerFlowStatistics:
    hours, times = axis_of(profiles).hours_per_step, profiles["time"].to_numpy()
    voltage, loading, count = reduced.voltage, reduced.loading, int(reduced.solved.sum())
    seen, rated = voltage.step_of_low >= 0, loading.step_of_high >= 0
    over_mva = loading.excess / 100 * twin.branches["s_rated_mva"].to_numpy(dtype=float)
    by_bus: dict[str, Any] = {
        "vm_min_pu": _where(seen, voltage.low),
        "vm_mean_pu": _where(seen, voltage.total / max(count, 1)),
        "vm_max_pu": _where(seen, voltage.high),
        "time_of_vm_min": _times(times, voltage.step_of_low),
        "time_of_vm_max": _times(times, voltage.step_of_high),
        "under_voltage_h": _where(seen, voltage.below * hours),
        "over_voltage_h": _where(seen, voltage.above * hours),
    }
    by_branch: dict[str, Any] = {
        "loading_mean_percent": _where(rated, loading.total / max(count, 1)),
        "loading_max_percent": _where(rated, loading.high),
        "time_of_loading_max": _times(times, loading.step_of_high),
        "overload_h": _where(rated, loading.above * hours),
        "overload_mvah": _where(rated, over_mva * hours),
        "e_loss_mwh": reduced.loss_mw * hours,
    }
    spread = {
        "vm_percentile_pu": ("bus", reduced.voltage_bins, VOLTAGE_SCALE, voltage),
        "loading_percentile_percent": ("branch", reduced.loading_bins, LOADING_SCALE, loading),
    }
    variables: dict[str, Any] = {name: ("bus", values, attrs_of(name)) for name, values in by_bus.items()}
    variables |= {name: ("branch", values, attrs_of(name)) for name, values in by_branch.items()}
    for name, (dim, bins, scale, tally) in spread.items():
        variables[name] = (("percentile", dim), _percentiles(bins, scale, tally, percentiles), attrs_of(name))
    return xr.Dataset(
        variables,
        coords={
            "percentile": np.asarray(percentiles, dtype=float),
            "bus": twin.buses.index.to_numpy(dtype=str),
            "branch": twin.branches.index.to_numpy(dtype=str),
        },
        attrs={
            "steps": len(reduced.solved),
            "steps_unsolved": len(reduced.solved) - count,
            "vm_resolution_pu": VOLTAGE_SCALE.per_bin,
            "loading_resolution_percent": LOADING_SCALE.per_bin,
        },
    )


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> Floats:
    return np.where(known, values, np.nan)


def _times(times: NDArray[np.datetime64], step: Ints) -> NDArray[np.datetime64]:
    """Time of a step of any path, NaT where there is none."""
    found = pd.Series(times[step % len(times)])
    return found.where(step >= 0).to_numpy()


def _percentiles(bins: NDArray[np.int32], scale: Scale, tally: Tally, percentiles: Sequence[float]) -> Floats:
    """Value below which a share of the steps lies: the middle of its bin, between the extremes. (percentile, row)"""
    counted = np.cumsum(bins, axis=1)
    total = counted[:, -1:]
    found = np.full((len(percentiles), len(bins)), np.nan)
    for k, percent in enumerate(percentiles):
        place = (counted < np.maximum(np.ceil(percent / 100 * total), 1)).sum(axis=1)
        middle = scale.first + (place + 0.5) * scale.per_bin
        found[k] = np.where(total[:, 0] > 0, np.clip(middle, tally.low, tally.high), np.nan)
    return found
