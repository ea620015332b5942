"""A part of the network on its own: another source holds the voltage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pandapower

from gridtwin.errors import Finding, NetworkError, raise_errors
from gridtwin.grid.twin import GridTwin, build_twin


def cut_island(twin: GridTwin, bus: str, *, open_branches: Sequence[str] = (), vm_pu: float = 1.0) -> GridTwin:
    """The twin without its upstream supply; a source at `bus` holds the voltage instead.

    Parameters
    ----------
    twin : GridTwin
        Left as it is.
    bus : str
        Bus of the source that holds the voltage and balances the power flow.
    open_branches : sequence of str
        Branches out of service, where the island is separated. What they cut off from `bus` has no supply.
    vm_pu : float
        Voltage that the source holds. [pu]

    Raises
    ------
    NetworkError
        If bus or branches are unknown.
    """
    unknown = [name for name in open_branches if name not in twin.branches.index]
    found = [_unknown("branch", name) for name in unknown]
    raise_errors([*found, *([_unknown("bus", bus)] if bus not in twin.buses.index else [])], NetworkError)
    net = copy.deepcopy(twin.net)
    net.ext_grid["in_service"] = False
    for name in open_branches:
        element, index = (twin.branches[column].loc[name] for column in ("element", "index"))
        net[element].loc[index, "in_service"] = False
    pandapower.create_ext_grid(net, int(twin.buses["index"].loc[bus]), vm_pu=vm_pu, name="island")
    island = build_twin(net, rules=twin.rules)
    return replace(island, buses=twin.buses.copy(), branches=twin.branches.copy(), assets=twin.assets.copy())


def _unknown(what: str, name: str) -> Finding:
    return Finding(f"there is no such {what}", where="island", got=name, severity="error", code="GT-N60")
