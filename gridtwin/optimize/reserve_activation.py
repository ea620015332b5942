"""AC power flow of activated reserves, and responses there: power at named buses on top of every path and step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.grid.compile import (
    compile_injections,
    compile_network,
    find_bus_of_assets,
    place_assets,
    plain_injections,
)
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.lanes import LANES_16
from gridtwin.kernels.network_arrays import Ints, NetworkArrays, expand_injections
from gridtwin.kernels.sensitivity import Slopes, solve_slopes
from gridtwin.operate.power_flow import TOLERANCE_MVA, TOLERANCE_PU, label_power_flow, solve_all_steps
from gridtwin.optimize.network_limits import NetworkLimits

Floats = NDArray[np.float64]
OUTPUTS = ("vm_pu", "loading_percent", "p_branch_mw", "q_branch_mvar")


@dataclass(frozen=True, eq=False)
class ActivationCase:
    """A network with one further injection at each bus of reserves.

    Parameters
    ----------
    twin : GridTwin
        The network.
    profiles : Profiles or Forecast
        What flows without activation, consumption positive.
    network : NetworkArrays
        The twin's arrays with the reserves behind its own assets.
    p_mw, q_mvar : ndarray, (path * time, asset)
        Power of the twin's assets, generation positive. [MW], [Mvar]
    bus : ndarray of int, (bus,)
        Buses with reserves, in elimination order.
    """

    twin: GridTwin
    profiles: Profiles
    network: NetworkArrays
    p_mw: Floats
    q_mvar: Floats
    bus: Ints


def place_reserves(twin: GridTwin, profiles: Profiles, buses: list[str]) -> ActivationCase:
    """The case of a twin, its profiles and the buses at which reserves stand."""
    network = compile_network(twin)
    p_mw, q_mvar = expand_injections(compile_injections(twin, profiles))
    places = network.out_bus[twin.buses.index.get_indexer(pd.Index(buses))]
    grown = place_assets(network, np.append(find_bus_of_assets(twin, network.out_bus), places))
    return ActivationCase(twin, profiles, grown, p_mw, q_mvar, places)


def run_activation(case: ActivationCase, activated_mw: Floats) -> xr.Dataset:
    """Power flow of every path and step with reserves activated.

    Parameters
    ----------
    activated_mw : ndarray, (time, bus)
        Change of consumption at each bus of reserves: downward activation positive, upward negative. Reactive
        power stays as it is. [MW]

    Returns
    -------
    PowerFlow
        `vm_pu` (path, time, bus); `loading_percent, p_branch_mw, q_branch_mvar` (path, time, branch); `status`.
    """
    paths = len(case.p_mw) // max(1, len(activated_mw))
    extra = -np.tile(activated_mw, (paths, 1))
    injections = plain_injections(np.hstack([case.p_mw, extra]), np.hstack([case.q_mvar, np.zeros_like(extra)]))
    return label_power_flow(case.twin, case.profiles, solve_all_steps(case.network, injections, outputs=OUTPUTS))


def weights_under(case: ActivationCase, limits: NetworkLimits, activated_mw: Floats) -> Floats:
    """Weights of all limits where reserves are active, at the mean of all paths and steps. (limit, bus)

    Parameters
    ----------
    activated_mw : ndarray, (bus,)
        Change of consumption at each bus of reserves. [MW]

    Returns
    -------
    ndarray
        In the scale of `limits.weight`, but with small weights kept: many small ones add up. Without a solution
        at that point, `limits.weight` itself.
    """
    injections = plain_injections(
        np.append(case.p_mw.mean(axis=0), -activated_mw)[None],
        np.append(case.q_mvar.mean(axis=0), 0 * activated_mw)[None],
    )
    flow = solve_all_steps(case.network, injections, outputs=("vm_pu",))
    if (flow.status != 0).any():
        return limits.weight
    buses, branches = len(case.network.out_bus), len(case.network.branches.start) - 1
    vm, i_ka, dp = (np.empty((rows, len(case.bus))) for rows in (buses, branches, branches))
    slopes = Slopes(vm, i_ka, dp, np.empty(1, dtype=np.int64))
    solve_slopes(case.network, injections, case.bus, False, TOLERANCE_PU, TOLERANCE_MVA, slopes, LANES_16)
    # kernels count injection, weights count consumption
    dv2 = -2 * flow.vm_pu[0][:, None] * slopes.vm_pu / limits.scale[2 * branches : 2 * branches + buses, None]
    return np.asarray(np.nan_to_num(np.vstack([-slopes.p_branch_mw, slopes.p_branch_mw, dv2, -dv2])))
