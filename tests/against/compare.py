"""Power flow results of gridtwin and of pandapower in one form, and their comparison.

What pandapower calls a result is not always what the name says; where it matters:

- An element without voltage has NaN in some columns and 0 in others. Here a bus
  without supply is NaN and a branch without current is 0.
- The reactive power of a slack bus is shared out among all gens, dclines and ext_grids
  that stand there. Here the slack is all of them together.
- The power of an ext_grid counts a voltage-dependent load at its bus as if it stood at
  1 pu, so that the powers of the network do not add up. Here it counts as `res_load` has it.
- The current of a trafo is given at each end. Here it is that of the more loaded one.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandapower as pp
import pandas as pd
import xarray as xr
from pandapower.pypower.idx_bus import BUS_TYPE, NONE, REF

from gridtwin.grid.snapshot import build_snapshot
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow

SIDES = {"line": ["from", "to"], "trafo": ["hv", "lv"], "trafo3w": ["hv", "mv", "lv"], "impedance": ["from", "to"]}
"""Branch table -> its ends, first the one whose power is `p_branch_mw`."""


class Tolerances(NamedTuple):
    """Largest difference of each kind."""

    vm_pu: float
    va_degree: float
    loading_percent: float
    i_ka: float
    p_loss_mw: float
    flow_mva: float
    """Of the power at an end of a branch and of the slack. [MVA]"""


class Results(NamedTuple):
    """One solved step."""

    buses: pd.DataFrame
    """Index: pandapower bus. Columns `vm_pu`, `va_degree`, NaN without supply."""
    branches: pd.DataFrame
    """Index: branch table, row. Columns `p_branch_mw`, `q_branch_mvar`, `p_loss_mw`, `loading_percent`,
    and `i_ka` at the more loaded end."""
    slack_mva: complex


class FlatRules:
    """Limits do not matter here."""

    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.9, 1.1

    def loading_limit(self, element: str) -> float | None:
        return None


def solve_by_gridtwin(net: pp.pandapowerNet, *, enforce_q_limits: bool = False) -> Results:
    """The powers that stand in the tables, solved by the engine under test."""
    twin = build_twin(net, rules=FlatRules())
    options = {"enforce_q_limits": True} if enforce_q_limits else {}
    return read_flow(twin, run_power_flow(twin, build_snapshot(twin), **options))


def solve_by_pandapower(
    net: pp.pandapowerNet, *, enforce_q_limits: bool = False, init: str = "dc", tolerance_mva: float = 1e-10
) -> Results:
    """The same by pandapower's Newton; its results stay in the net.

    Parameters
    ----------
    init : str, default "dc"
        Start of the iteration. "dc" cannot do with branches of pure resistance, "flat"
        does not reach across the phase shift of a transformer.

    Raises
    ------
    pandapower.LoadflowNotConverged
        If there is no solution, or none to be had: where every voltage is given,
        pandapower solves nothing and takes all angles as 0.
    """
    with warnings.catch_warnings():
        # Divisions by zero in pandapower's results of buses without supply.
        warnings.simplefilter("ignore")
        pp.runpp(
            net,
            tolerance_mva=tolerance_mva,
            max_iteration=50,
            calculate_voltage_angles=True,
            voltage_depend_loads=True,
            enforce_q_lims=enforce_q_limits,
            init=init,
            numba=False,  # compiling takes longer than a thousand networks of this size
        )
    if np.isin(net._ppc["bus"][:, BUS_TYPE], [REF, NONE]).all():
        raise pp.LoadflowNotConverged("every voltage is given")
    return read_pandapower(net)


def read_flow(twin: GridTwin, flow: xr.Dataset) -> Results:
    """The only step of a power flow of gridtwin."""
    one = flow.isel(path=0, time=0)
    assert int(one["status"]) == 0, f"status {int(one['status'])}"
    buses = one[["vm_pu", "va_degree"]].to_dataframe()[["vm_pu", "va_degree"]]
    names = ["p_branch_mw", "q_branch_mvar", "p_loss_mw", "i_ka", "loading_percent"]
    branches = pd.DataFrame({name: one[name].to_numpy() for name in names})
    keys = [twin.branches["element"].to_numpy(dtype=str), twin.branches["index"].to_numpy(dtype=int)]
    return Results(
        buses.set_axis(twin.buses["index"].to_numpy(), axis=0),
        branches.set_axis(pd.MultiIndex.from_arrays(keys), axis=0),
        complex(one["p_slack_mw"], one["q_slack_mvar"]),
    )


def read_pandapower(net: pp.pandapowerNet) -> Results:
    """Results of `pandapower.runpp` as they stand in the net."""
    branches = pd.concat({element: _branches_of(net, element) for element in SIDES})
    return Results(net.res_bus[["vm_pu", "va_degree"]], branches, _slack_of(net))


def _branches_of(net: pp.pandapowerNet, element: str) -> pd.DataFrame:
    results, sides = net[f"res_{element}"], SIDES[element]
    currents = pd.DataFrame({side: results[f"i_{side}_ka"].fillna(0.0) for side in sides})
    loadings = 100 * currents / rated_currents(net, element)
    largest = loadings.fillna(currents).to_numpy().argmax(axis=1)
    return pd.DataFrame(
        {
            "p_branch_mw": results[f"p_{sides[0]}_mw"].fillna(0.0),
            "q_branch_mvar": results[f"q_{sides[0]}_mvar"].fillna(0.0),
            "p_loss_mw": results["pl_mw"].fillna(0.0),
            "i_ka": currents.to_numpy()[np.arange(len(currents)), largest],
            # A trafo of three windings has no loading in pandapower as soon as one winding is without voltage.
            "loading_percent": results.get("loading_percent", loadings.max(axis=1))
            .astype(float)
            .fillna(loadings.max(axis=1))
            .where(loadings.notna().all(axis=1)),
        }
    )


def rated_currents(net: pp.pandapowerNet, element: str) -> pd.DataFrame:
    """Current of 100 % at each end of a branch table, NaN for a row without a rating. (row, end) [kA]"""
    table = net[element]
    if element == "line":
        rated = {side: table["max_i_ka"] * table["df"] * table["parallel"] for side in SIDES[element]}
    elif element == "trafo":
        rated_mva = table["sn_mva"] * table["df"] * table["parallel"]
        rated = {side: rated_mva / (np.sqrt(3) * table[f"vn_{side}_kv"]) for side in SIDES[element]}
    elif element == "trafo3w":
        rated = {side: table[f"sn_{side}_mva"] / (np.sqrt(3) * table[f"vn_{side}_kv"]) for side in SIDES[element]}
    else:
        rated = dict.fromkeys(SIDES[element], pd.Series(np.nan, table.index))
    frame = pd.DataFrame(rated, index=table.index, dtype=float)
    return frame.where(frame > 0)


def _slack_of(net: pp.pandapowerNet) -> complex:
    """Active power of ext_grids and slack gens, reactive power of everything that holds their buses."""
    gens, dclines = net.gen, net.dcline
    free = gens["slack"].to_numpy(dtype=bool) & gens["in_service"].to_numpy(dtype=bool)
    node = pd.Series(net._pd2ppc_lookups["bus"][net.bus.index], net.bus.index).where(net.res_bus["vm_pu"].notna())
    slacks = [*net.ext_grid.loc[net.ext_grid["in_service"].astype(bool), "bus"], *gens.loc[free, "bus"]]
    held = set(node[slacks].dropna())
    p_mw = net.res_ext_grid["p_mw"].sum() + net.res_gen.loc[free, "p_mw"].sum()
    q_mvar = net.res_ext_grid["q_mvar"].sum()
    q_mvar += net.res_gen.loc[[node[bus] in held for bus in gens["bus"]], "q_mvar"].sum()
    for side in ("from", "to"):
        at_slack = [node[bus] in held for bus in dclines[f"{side}_bus"]]
        q_mvar -= net.res_dcline.loc[at_slack, f"q_{side}_mvar"].sum()
    return complex(p_mw, q_mvar) + _voltage_dependence(net, [node[bus] in held for bus in net.load["bus"]])


def _voltage_dependence(net: pp.pandapowerNet, rows: list[bool]) -> complex:
    """What loads draw beyond their power at 1 pu. [MVA]"""
    loads, results = net.load.loc[rows], net.res_load.loc[rows]
    use = loads["scaling"] * loads["in_service"]
    p_mw, q_mvar = ((results[name] - loads[name] * use).sum() for name in ("p_mw", "q_mvar"))
    return complex(p_mw, q_mvar)


def assert_same(mine: Results, theirs: Results, tolerances: Tolerances) -> None:
    """Every bus, every branch and the slack.

    Raises
    ------
    AssertionError
        With every quantity that differs by more than its tolerance, and where most.
    """
    found = find_differences(mine, theirs, tolerances)
    assert not found, "\n".join(found)


def find_differences(mine: Results, theirs: Results, tolerances: Tolerances) -> list[str]:
    """One line per quantity beyond its tolerance; empty if all agree."""
    limits = {
        "vm_pu": tolerances.vm_pu,
        "va_degree": tolerances.va_degree,
        "loading_percent": tolerances.loading_percent,
        "i_ka": tolerances.i_ka,
        "p_loss_mw": tolerances.p_loss_mw,
        "p_branch_mw": tolerances.flow_mva,
        "q_branch_mvar": tolerances.flow_mva,
    }
    found = [
        *_compare_tables(mine.buses, theirs.buses, limits, "bus"),
        *_compare_tables(mine.branches, theirs.branches, limits, "branch"),
    ]
    if not abs(mine.slack_mva - theirs.slack_mva) <= tolerances.flow_mva:
        found.append(f"slack: {mine.slack_mva:.9g} instead of {theirs.slack_mva:.9g} MVA")
    return found


def _compare_tables(mine: pd.DataFrame, theirs: pd.DataFrame, limits: dict[str, float], what: str) -> list[str]:
    if set(mine.index) != set(theirs.index):
        return [f"{what}: labels differ, {sorted(set(mine.index) ^ set(theirs.index))}"]
    found = []
    for name in theirs.columns:
        ours, expected = mine[name], theirs[name].loc[mine.index]
        gap = (ours - expected).abs()
        if name == "va_degree":
            gap = np.minimum(gap, 360 - gap)
        bad = ~((gap <= limits[name]) | (ours.isna() & expected.isna()))
        if bad.any():
            worst = gap[bad].fillna(np.inf).idxmax()
            place = f"{what} {worst}: {ours[worst]:.12g} instead of {expected[worst]:.12g}"
            found.append(f"{name}: {bad.sum()} of {len(bad)} differ, most at {place}")
    return found
