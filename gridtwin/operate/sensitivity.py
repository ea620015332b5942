"""How flows and voltages answer to a little more consumption at a bus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.errors import ConvergenceError, DataError, Finding
from gridtwin.grid.compile import compile_injections, compile_network, find_bus_of_assets, place_assets
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.power_flow import solve_all_steps


class LinearResponse(NamedTuple):
    """Derivatives with respect to consumption at the given buses; rows in the order of the twin's tables."""

    p_branch_mw_per_mw: NDArray[np.float64]
    """Flow into each branch at its from or hv side. (branch, given bus) [MW/MW]"""
    vm_squared_pu_per_mw: NDArray[np.float64]
    """Squared voltage magnitude of each bus. (bus, given bus) [pu²/MW]"""


def linear_response(
    twin: GridTwin, profiles_at_base: Profiles, buses: Sequence[str], delta_mw: float = 0.001
) -> LinearResponse:
    """Derivatives of flows and squared voltages at one operating point.

    Central differences of the AC power flow, two steps per bus, all solved in
    one batch. Rows of buses without supply are NaN, columns of such buses 0.

    Parameters
    ----------
    twin : GridTwin
        The network.
    profiles_at_base : Profiles
        The operating point: exactly one path and step, consumption positive.
    buses : sequence of str
        Buses at which active consumption changes.
    delta_mw : float, default 0.001
        Half the width of the difference; small against the loads, large against
        the solver's tolerance. [MW]

    Raises
    ------
    DataError
        If a bus is unknown or `profiles_at_base` holds more than one step.
    ConvergenceError
        If a changed step could not be solved.
    """
    network = compile_network(twin)
    p_mw, q_mvar = compile_injections(twin, profiles_at_base)
    probes = _find_probes(twin, network.out_bus, buses)
    _check_one_step(len(p_mw))
    network = place_assets(network, np.append(find_bus_of_assets(twin, network.out_bus), probes))
    # More consumption is less injection: the first half of the steps consumes more, the second less.
    extra = -delta_mw * np.vstack([np.eye(len(probes)), -np.eye(len(probes))])
    repeated_p, repeated_q = (np.repeat(part, 2 * len(probes), axis=0) for part in (p_mw, q_mvar))
    results = solve_all_steps(network, np.hstack([repeated_p, extra]), np.hstack([repeated_q, 0 * extra]))
    if (results.status != 0).any():
        raise ConvergenceError("the power flow at the operating point, or close to it, could not be solved")
    return LinearResponse(_slope(results.p_branch_mw, delta_mw), _slope(results.vm_pu**2, delta_mw))


def _slope(values: NDArray[np.float64], delta_mw: float) -> NDArray[np.float64]:
    """Central difference of (2 * probe, row) as (row, probe)."""
    more, less = np.split(values, 2)
    return ((more - less) / (2 * delta_mw)).T


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
