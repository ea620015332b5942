"""Power flow of every path and step: labels around the kernel."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.errors import ConvergenceError, Finding
from gridtwin.grid.compile import compile_injections, compile_network, find_assets_in_service, find_bus_of_assets
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.power_flow import LANES, NetworkArrays, solve_steps
from gridtwin.nomenclature import attrs_of

PowerFlow: TypeAlias = xr.Dataset

TOLERANCE_PU = 1e-9
"""Voltage change at which a step has converged. [pu]"""
TOLERANCE_MVA = 1e-7
"""Largest power mismatch at a bus of a solved step. [MVA]"""
MAX_ITERATIONS = 200
"""A step far from voltage collapse takes 5 to 15; one that needs more than this is about to collapse."""
BLOCKS_WORTH_A_THREAD = 8
"""Below this a thread costs more than it saves."""


class StepResults(NamedTuple):
    """Outputs of the kernel, in the order in which it takes them."""

    vm_pu: NDArray[np.float64]
    va_degree: NDArray[np.float64]
    loading_percent: NDArray[np.float64]
    i_ka: NDArray[np.float64]
    p_loss_mw: NDArray[np.float64]
    p_branch_mw: NDArray[np.float64]
    q_branch_mvar: NDArray[np.float64]
    p_slack_mw: NDArray[np.float64]
    q_slack_mvar: NDArray[np.float64]
    status: NDArray[np.int64]
    iterations: NDArray[np.int64]


def run_power_flow(twin: GridTwin, profiles: Profiles) -> PowerFlow:
    """Steady-state voltages, flows and loadings for every path and step.

    Parameters
    ----------
    twin : GridTwin
        Its arrays are compiled at the first call and kept.
    profiles : Profiles
        Power of exactly the assets of the twin, with or without dim `path`,
        consumption positive.

    Returns
    -------
    PowerFlow
        `vm_pu, va_degree` (path, time, bus); `loading_percent, i_ka, p_loss_mw,
        p_branch_mw, q_branch_mvar` (path, time, branch); `p_slack_mw, q_slack_mvar,
        status, iterations` (path, time). A step that did not converge (status 1)
        or whose input has gaps (status 2) is NaN. Buses without supply are NaN and
        named in `attrs["unsupplied_buses"]`, assets there in
        `attrs["unsupplied_assets"]`, their mean consumption in
        `attrs["unsupplied_p_mw"]`.

    Raises
    ------
    NetworkError
        If the network holds elements that are not modelled.
    DataError
        If the assets of profiles and twin differ.
    ConvergenceError
        If there are steps and none of them could be solved.
    """
    network = compile_network(twin)
    p_mw, q_mvar = compile_injections(twin, profiles)
    results = solve_all_steps(network, p_mw, q_mvar)
    _check_any_solved(results.status)
    return label_power_flow(twin, profiles, results)


def solve_all_steps(
    network: NetworkArrays, p_mw: NDArray[np.float64], q_mvar: NDArray[np.float64], *, threads: int | None = None
) -> StepResults:
    """Kernel outputs for injections of shape (step, asset), generation positive.

    Parameters
    ----------
    threads : int, optional
        Threads that share the steps; results do not depend on it. Default: one per core.
    """
    results = _empty_results(len(p_mw), len(network.out_bus), len(network.branch_start) - 1)
    p_mw, q_mvar = np.ascontiguousarray(p_mw), np.ascontiguousarray(q_mvar)
    threads = threads or os.cpu_count() or 1

    def solve_part(part: slice) -> None:
        outputs = (values[part] for values in results)
        solve_steps(network, p_mw[part], q_mvar[part], TOLERANCE_PU, TOLERANCE_MVA, MAX_ITERATIONS, *outputs)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(solve_part, _share_steps(len(p_mw), threads)))
    return results


def _share_steps(steps: int, threads: int) -> list[slice]:
    """Slices of whole blocks, one per thread where that is worth a thread."""
    blocks = -(-steps // LANES)
    parts = max(1, min(threads, blocks // BLOCKS_WORTH_A_THREAD))
    bounds = [LANES * (blocks * part // parts) for part in range(parts)] + [steps]
    return [slice(first, last) for first, last in pairwise(bounds)]


def label_power_flow(twin: GridTwin, profiles: Profiles, results: StepResults) -> PowerFlow:
    """Kernel outputs as a Dataset with the operator's names."""
    paths = profiles["path"].to_numpy() if "path" in profiles.dims else np.zeros(1, dtype=np.int64)
    shape = (len(paths), profiles.sizes["time"])
    labels = {"vm_pu": "bus", "va_degree": "bus"} | dict.fromkeys(StepResults._fields[2:7], "branch")
    variables = {}
    for name, values in results._asdict().items():
        dims = ("path", "time", labels[name]) if name in labels else ("path", "time")
        variables[name] = (dims, values.reshape(*shape, *values.shape[1:]), attrs_of(name))
    return xr.Dataset(
        variables,
        coords={"path": paths, "time": profiles["time"].to_numpy(), **_side_coords(twin)},
        attrs={**_kept_attrs(profiles), **_unsupplied(twin, profiles)},
    )


def _empty_results(steps: int, buses: int, branches: int) -> StepResults:
    shapes: list[tuple[int, ...]] = [(steps, buses)] * 2 + [(steps, branches)] * 5 + [(steps,)] * 2
    numbers: list[Any] = [np.empty(shape) for shape in shapes]
    counters: list[Any] = [np.empty(steps, dtype=np.int64) for _ in range(2)]
    return StepResults(*numbers, *counters)


def _check_any_solved(status: NDArray[np.int64]) -> None:
    if len(status) and (status != 0).all():
        raise ConvergenceError(
            [
                Finding(
                    "no step of the power flow could be solved",
                    expected="at least one solvable step",
                    got=f"{(status == 1).sum()} diverged, {(status == 2).sum()} with gaps in the input",
                    do="Check the size of the loads (MW, not kW) and the gaps of the profiles.",
                    severity="error",
                    code="GT-P01",
                )
            ]
        )


def _side_coords(twin: GridTwin) -> dict[str, tuple[str, np.ndarray]]:
    """Names of buses and branches, and the branch's way back to its pandapower row."""
    return {
        "bus": ("bus", twin.buses.index.to_numpy(dtype=str)),
        "branch": ("branch", twin.branches.index.to_numpy(dtype=str)),
        "element": ("branch", twin.branches["element"].to_numpy(dtype=str)),
        "index": ("branch", twin.branches["index"].to_numpy(dtype=int)),
    }


def _kept_attrs(profiles: Profiles) -> dict[str, object]:
    return {name: profiles.attrs[name] for name in ("step", "zone") if name in profiles.attrs}


def _unsupplied(twin: GridTwin, profiles: Profiles) -> dict[str, object]:
    """Buses without supply, the assets that are in service there and their mean consumption."""
    network = compile_network(twin)
    dark = find_assets_in_service(twin) & (find_bus_of_assets(twin, network.out_bus) < 0)
    assets = twin.assets.index[dark].to_list()
    power = profiles["p_mw"].sel(asset=assets).sum("asset").mean() if assets else 0.0
    return {
        "unsupplied_buses": twin.buses.index[network.out_bus < 0].to_list(),
        "unsupplied_assets": assets,
        "unsupplied_p_mw": float(power),
    }
