"""How voltages, currents and flows answer to a little more consumption at a bus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.errors import ConvergenceError, DataError, Finding
from gridtwin.grid.compile import compile_injections, compile_network
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.lanes import LANES_16
from gridtwin.kernels.network_arrays import Floats, Injections, Ints, NetworkArrays
from gridtwin.kernels.sensitivity import Slopes, solve_slopes
from gridtwin.nomenclature import attrs_of
from gridtwin.operate.power_flow import TOLERANCE_MVA, TOLERANCE_PU, solve_all_steps

Sensitivities: TypeAlias = xr.Dataset


class LinearResponse(NamedTuple):
    """Derivatives with respect to consumption at the given buses; rows in the order of the twin's tables."""

    p_branch_mw_per_mw: Floats
    """Flow into each branch at its from or hv side. (branch, given bus) [MW/MW]"""
    vm_squared_pu_per_mw: Floats
    """Squared voltage magnitude of each bus. (bus, given bus) [pu²/MW]"""


def run_sensitivities(twin: GridTwin, profiles: Profiles, buses: Sequence[str]) -> Sensitivities:
    """How voltages, currents and flows answer to a little more consumption at some buses.

    Parameters
    ----------
    twin : GridTwin
        The network.
    profiles : Profiles
        Operating points: every path and step is one. Consumption positive. [MW], [Mvar]
    buses : sequence of str
        Buses at which consumption changes.

    Returns
    -------
    Sensitivities
        `vm_pu_per_mw, vm_pu_per_mvar` (path, time, bus, at_bus) [pu/MW], [pu/Mvar];
        `i_ka_per_mw, i_ka_per_mvar` (path, time, branch, at_bus) [kA/MW], [kA/Mvar], at the
        more loaded end; `p_branch_mw_per_mw, p_branch_mw_per_mvar`
        (path, time, branch, at_bus) [MW/MW], [MW/Mvar], into the from or hv side. Derivatives by
        consumption, so that those of voltages are negative as a rule. NaN at operating
        points without solution and at buses without supply; a change at a bus without
        supply, or at one that a slack holds, is 0.

    Raises
    ------
    DataError
        If a bus is unknown, or the assets of profiles and twin differ.

    Notes
    -----
    Exact derivatives: columns of the inverse of the power flow's Jacobian, which is
    factorised once per operating point [1]_.

    References
    ----------
    .. [1] J. Peschon, D. S. Piercy, W. F. Tinney, O. J. Tveit, Sensitivity in power systems,
       IEEE Trans. Power Appar. Syst. PAS-87(8), 1968, doi:10.1109/TPAS.1968.292163
    """
    network, injections = compile_network(twin), compile_injections(twin, profiles)
    at = _find_probes(twin, network.out_bus, buses)
    paths = profiles["path"].to_numpy() if "path" in profiles.dims else np.zeros(1, dtype=np.int64)
    shape = (len(paths), profiles.sizes["time"])
    variables = {}
    for unit, reactive in (("mw", False), ("mvar", True)):
        slopes = _solve_slopes(network, injections, at, reactive=reactive)
        for name, values, label in (
            ("vm_pu", slopes.vm_pu, "bus"),
            ("i_ka", slopes.i_ka, "branch"),
            ("p_branch_mw", slopes.p_branch_mw, "branch"),
        ):
            dims = ("path", "time", label, "at_bus")
            # Kernels count injection, everything with a label counts consumption.
            consumed = -values.reshape(*shape, -1, len(at))
            variables[f"{name}_per_{unit}"] = (dims, consumed, attrs_of(f"{name}_per_{unit}"))
    coords = {
        "path": paths,
        "time": profiles["time"].to_numpy(),
        "bus": twin.buses.index.to_numpy(dtype=str),
        "branch": twin.branches.index.to_numpy(dtype=str),
        "at_bus": np.asarray(list(buses), dtype=str),
    }
    return xr.Dataset(variables, coords=coords)


def _solve_slopes(network: NetworkArrays, injections: Injections, at: Ints, *, reactive: bool) -> Slopes:
    steps, buses, branches = len(injections.p_mw), len(network.out_bus), len(network.branches.start) - 1
    vm_pu, i_ka, p_branch_mw = (np.empty((steps * rows, len(at))) for rows in (buses, branches, branches))
    slopes = Slopes(vm_pu, i_ka, p_branch_mw, np.empty(steps, dtype=np.int64))
    solve_slopes(network, injections, at, reactive, TOLERANCE_PU, TOLERANCE_MVA, slopes, LANES_16)
    return slopes


def linear_response(twin: GridTwin, profiles_at_base: Profiles, buses: Sequence[str]) -> LinearResponse:
    """Derivatives of flows and squared voltages by active consumption at one operating point.

    Rows of buses without supply are NaN, columns of such buses 0.

    Parameters
    ----------
    twin : GridTwin
        The network.
    profiles_at_base : Profiles
        The operating point: exactly one path and step, consumption positive.
    buses : sequence of str
        Buses at which active consumption changes.

    Raises
    ------
    DataError
        If a bus is unknown or `profiles_at_base` holds more than one step.
    ConvergenceError
        If the operating point could not be solved.
    """
    network, injections = compile_network(twin), compile_injections(twin, profiles_at_base)
    at = _find_probes(twin, network.out_bus, buses)
    _check_one_step(len(injections.p_mw))
    flow = solve_all_steps(network, injections, outputs=("vm_pu",))
    if (flow.status != 0).any():
        raise ConvergenceError("the power flow at the operating point could not be solved")
    slopes = _solve_slopes(network, injections, at, reactive=False)
    return LinearResponse(-slopes.p_branch_mw, -2 * flow.vm_pu[0][:, None] * slopes.vm_pu)


def _find_probes(twin: GridTwin, out_bus: NDArray[np.int64], buses: Sequence[str]) -> NDArray[np.int64]:
    """Bus in elimination order of every named bus."""
    places = twin.buses.index.get_indexer(pd.Index(list(buses)))
    unknown = [bus for bus, place in zip(buses, places, strict=True) if place < 0]
    if unknown:
        raise DataError(
            [
                Finding(
                    "unknown bus",
                    where=f"bus {', '.join(unknown[:5])}",
                    expected="a name of twin.buses",
                    severity="error",
                )
            ]
        )
    return out_bus[places]


def _check_one_step(steps: int) -> None:
    if steps != 1:
        raise DataError(
            [
                Finding(
                    "the operating point is one step",
                    expected="1 path and 1 step",
                    got=f"{steps} steps",
                    severity="error",
                )
            ]
        )
