"""Power flow of every path and step: labels around the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, ShapedProfiles, mean_p_mw
from gridtwin.errors import ConvergenceError, DataError, Finding
from gridtwin.grid.compile import compile_injections, compile_network, find_assets_in_service, find_bus_of_assets
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.lanes import LANES_16
from gridtwin.kernels.network_arrays import Injections, Ints, NetworkArrays
from gridtwin.kernels.power_flow import solve_steps
from gridtwin.kernels.results import Outputs
from gridtwin.nomenclature import attrs_of

PowerFlow: TypeAlias = xr.Dataset
T = TypeVar("T")

TOLERANCE_PU = 1e-9
"""Distance from the solution at which a voltage has converged. [pu]"""
TOLERANCE_MVA = 1e-7
"""Largest power mismatch at a bus of a solved step, at injections up to 1 MVA. [MVA]"""
LARGE = 500
"""Buses from which it pays to bring steps of similar load together: a block iterates until its last step stands."""
BLOCKS_PER_PART, BLOCKS_PER_LARGE_PART = 64, 8
"""A thread takes this many blocks at a time: about a millisecond of work at least. The network alone decides, so that
sums over parts do not depend on threads."""

BUS_OUTPUTS = ("vm_pu", "va_degree")
BRANCH_OUTPUTS = ("loading_percent", "i_ka", "p_loss_mw", "p_branch_mw", "q_branch_mvar")
STEP_OUTPUTS = ("p_slack_mw", "q_slack_mvar")
DEFAULT_OUTPUTS = (*BUS_OUTPUTS, *BRANCH_OUTPUTS, *STEP_OUTPUTS)
MORE_OUTPUTS = ("loading_by_power_percent", "q_held_mvar")
"""What `outputs` may name beside the default."""
ALWAYS = ("mismatch_mva", "worst_bus", "status", "iterations", "newton_iterations")


def run_power_flow(
    twin: GridTwin,
    profiles: Profiles | ShapedProfiles,
    *,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    enforce_q_limits: bool = False,
    threads: int | None = None,
) -> PowerFlow:
    """Steady-state voltages, flows and loadings for every path and step.

    Parameters
    ----------
    twin : GridTwin
        Its arrays are compiled at the first call and kept.
    profiles : Profiles or ShapedProfiles
        Power of exactly the assets of the twin, with or without dim `path`,
        consumption positive. Of a `gen`, which holds its voltage, only `p_mw` counts.
    outputs : sequence of str
        Variables to compute: any of `DEFAULT_OUTPUTS` and `MORE_OUTPUTS`. Fewer take less time and memory.
    enforce_q_limits : bool, default False
        Generators at a limit of reactive power hold their voltage no longer.
    threads : int, optional
        Threads that share the steps; results do not depend on it. Default: one per core.

    Returns
    -------
    PowerFlow
        `vm_pu, va_degree` (path, time, bus); `loading_percent, i_ka, p_loss_mw,
        p_branch_mw, q_branch_mvar` (path, time, branch); `p_slack_mw, q_slack_mvar,
        mismatch_mva, worst_bus, status, iterations, newton_iterations` (path, time). On
        demand `loading_by_power_percent` (path, time, branch), of transformers only, and
        `q_held_mvar` (path, time, generator), of all generators at a bus together.
        A step that did not converge (status 1) or whose input has gaps (status 2) is
        NaN; of the former, `worst_bus` names the bus where `mismatch_mva` is missing,
        and `find_divergence_causes` says why. Buses without supply are NaN and
        named in `attrs["unsupplied_buses"]`, assets there in
        `attrs["unsupplied_assets"]`, their mean consumption in
        `attrs["unsupplied_p_mw"]`.

    Raises
    ------
    NetworkError
        If the network holds elements that are not modelled.
    DataError
        If the assets of profiles and twin differ, or `outputs` names something unknown.
    ConvergenceError
        If there are steps and none of them could be solved.
    """
    _check_outputs(outputs)
    network, injections = compile_network(twin), compile_injections(twin, profiles)
    results = solve_all_steps(network, injections, outputs=outputs, enforce_q_limits=enforce_q_limits, threads=threads)
    _check_any_solved(results.status)
    return label_power_flow(twin, profiles, results)


def solve_all_steps(
    network: NetworkArrays,
    injections: Injections,
    *,
    outputs: Sequence[str] = DEFAULT_OUTPUTS,
    enforce_q_limits: bool = False,
    threads: int | None = None,
    width: tuple[None, ...] = LANES_16,
) -> Outputs:
    """Kernel outputs of every row of `injections`.

    Parameters
    ----------
    outputs : sequence of str
        Variables to compute; the others have length 0.
    threads, width : optional
        Threads, and steps per block; results do not depend on them.
    """
    steps = len(injections.p_mw)
    results = _allocate_outputs(network, steps, outputs)
    order = order_steps(network, injections)

    def solve_part(part: Ints) -> None:
        solve_steps(network, injections, part, TOLERANCE_PU, TOLERANCE_MVA, enforce_q_limits, results, width)

    for _ in share_steps(solve_part, network, order, count_threads(threads), len(width)):
        pass
    return results


def share_steps(
    work: Callable[[Ints], T], network: NetworkArrays, order: Ints, threads: int, width: int
) -> Iterator[T]:
    """What `work` makes of every part of the steps, in order; parts are whole blocks and do not depend on threads."""
    size = width * (BLOCKS_PER_LARGE_PART if len(network.loads.kind) >= LARGE else BLOCKS_PER_PART)
    parts = [order[first : first + size] for first in range(0, max(len(order), 1), size)]
    if threads == 1 or len(parts) == 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, parts)


def count_threads(threads: int | None) -> int:
    """As many as asked for, else one per core."""
    return threads or os.cpu_count() or 1


def order_steps(network: NetworkArrays, injections: Injections) -> Ints:
    """In which order steps are solved: in large networks steps of similar total power beside each other."""
    steps = len(injections.p_mw)
    if len(network.loads.kind) < LARGE:
        return np.arange(steps, dtype=np.int64)
    weight = np.bincount(injections.column, weights=injections.p_factor, minlength=injections.p_mw.shape[1])
    return np.argsort(injections.p_mw @ weight, kind="stable").astype(np.int64)


def _allocate_outputs(network: NetworkArrays, steps: int, wanted: Sequence[str]) -> Outputs:
    buses, branches = len(network.out_bus), len(network.branches.start) - 1
    counts = {name: buses for name in BUS_OUTPUTS} | {name: branches for name in BRANCH_OUTPUTS}
    counts |= {"loading_by_power_percent": branches, "q_held_mvar": len(network.generators.bus)}
    tables: dict[str, Any] = {
        name: np.empty((steps, count) if name in wanted else (0, count)) for name, count in counts.items()
    }
    slack = any(name in wanted for name in STEP_OUTPUTS)
    tables |= {name: np.empty(steps if slack else 0) for name in STEP_OUTPUTS} | {"mismatch_mva": np.empty(steps)}
    counters: dict[str, Any] = {name: np.empty(steps, dtype=np.int64) for name in ALWAYS[1:]}
    return Outputs(**tables, **counters)


def label_power_flow(twin: GridTwin, profiles: Profiles | ShapedProfiles, results: Outputs) -> PowerFlow:
    """Kernel outputs as a Dataset with the operator's names."""
    paths = profiles["path"].to_numpy() if "path" in profiles.dims else np.zeros(1, dtype=np.int64)
    shape = (len(paths), profiles.sizes["time"])
    steps = shape[0] * shape[1]
    labels = dict.fromkeys(BUS_OUTPUTS, "bus") | dict.fromkeys((*BRANCH_OUTPUTS, MORE_OUTPUTS[0]), "branch")
    labels["q_held_mvar"] = "generator"
    variables = {}
    for name, values in results._asdict().items():
        if len(values) != steps:
            continue
        values = _name_worst_buses(twin, results) if name == "worst_bus" else values
        dims = ("path", "time", labels[name]) if name in labels else ("path", "time")
        variables[name] = (dims, values.reshape(*shape, *values.shape[1:]), attrs_of(name))
    coords = {"path": paths, "time": profiles["time"].to_numpy(), **_side_coords(twin)}
    if "q_held_mvar" in variables:
        coords["generator"] = _names_of(twin, compile_network(twin).generators.bus)
    return xr.Dataset(variables, coords=coords, attrs={**_kept_attrs(profiles), **_unsupplied(twin, profiles)})


def _name_worst_buses(twin: GridTwin, results: Outputs) -> NDArray[np.str_]:
    """The bus of the largest mismatch in every step without a solution, else the empty text."""
    names = _names_of(twin, np.arange(len(compile_network(twin).loads.kind)))
    worst = np.zeros(len(results.status), dtype=names.dtype)
    diverged = results.status == 1
    worst[diverged] = names[results.worst_bus[diverged]]
    return worst


def _names_of(twin: GridTwin, buses: Ints) -> NDArray[np.str_]:
    """Operator's name of buses in elimination order: of joined buses the first, of inner ones a number."""
    network = compile_network(twin)
    names = np.array([f"inner bus {bus}" for bus in range(len(network.loads.kind))], dtype=object)
    supplied = network.out_bus >= 0
    names[network.out_bus[supplied][::-1]] = twin.buses.index.to_numpy()[supplied][::-1]
    return names[buses].astype(str)


def _check_outputs(outputs: Sequence[str]) -> None:
    known = (*DEFAULT_OUTPUTS, *MORE_OUTPUTS)
    unknown = [name for name in outputs if name not in known]
    if unknown:
        raise DataError(
            [
                Finding(
                    "unknown output of the power flow",
                    where="outputs",
                    expected=f"any of {', '.join(known)}",
                    got=", ".join(unknown),
                    severity="error",
                    code="GT-P02",
                )
            ]
        )


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


def _kept_attrs(profiles: Profiles | ShapedProfiles) -> dict[str, object]:
    return {name: profiles.attrs[name] for name in ("step", "zone") if name in profiles.attrs}


def _unsupplied(twin: GridTwin, profiles: Profiles | ShapedProfiles) -> dict[str, object]:
    """Buses without supply, the assets that are in service there and their mean consumption."""
    network = compile_network(twin)
    dark = find_assets_in_service(twin) & (find_bus_of_assets(twin, network.out_bus) < 0)
    assets = twin.assets.index[dark].to_list()
    power = mean_p_mw(profiles).loc[assets].sum()
    return {
        "unsupplied_buses": twin.buses.index[network.out_bus < 0].to_list(),
        "unsupplied_assets": assets,
        "unsupplied_p_mw": float(power),
    }
