"""The smallest grid that has the case's results: pandapower's internal model, branch by branch.

Buses that closed switches join are one bus here, lines that an open switch cuts
have a bus of their own at the open end, transformers are pi branches. Every peer
is given this grid instead of the tables: it has fewer buses, and nothing depends on
what an importer makes of switches or taps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandapower as pp
import pandas as pd
from numpy.typing import NDArray
from pandapower.auxiliary import pandapowerNet
from pandapower.pypower import idx_brch as branch_column
from pandapower.pypower import idx_bus as bus_column

from benchmarks.peers.case import BRANCHES, Floats, Ints, PeerCase, UnsupportedCaseError

FOREIGN = ("trafo3w", "impedance", "ward", "xward", "dcline", "motor", "asymmetric_load", "asymmetric_sgen", "svc", "tcsc")
ASYMMETRIC = ("BR_R_ASYM", "BR_X_ASYM", "BR_G_ASYM", "BR_B_ASYM")
Complexes = NDArray[np.complex128]


class InternalGrid(NamedTuple):
    """In per unit of `base_mva` and the buses' `base_kv`; a branch's ratio stands at its from end."""

    base_mva: float
    base_kv: Floats
    """(bus)"""
    ends: Ints
    """(branch, 2)"""
    series: Complexes
    """r + jx (branch)"""
    shunt: Complexes
    """g + jb of both ends together (branch)"""
    ratio: Complexes
    """tap exp(j shift) (branch)"""
    shunt_mva: Complexes
    """P + jQ that shunts consume at 1 pu (bus)"""
    slack: Ints
    slack_voltage: Complexes
    held: Ints
    held_vm_pu: Floats
    """Buses that hold their voltage."""
    bus_of_row: Ints
    """Bus of every row of `net.bus`."""
    bus_of_element: Ints
    """Bus of every element of the case."""
    branch_of_row: Ints
    """Branch of every row of `PeerCase.branches`, -1 out of service."""
    rated_ka: Floats
    """Current of 100 % at both ends of every row of `PeerCase.branches`. (row, 2)"""


def read_internal_grid(case: PeerCase) -> InternalGrid:
    """Let pandapower solve the first step and read out what it solved."""
    net = case.net
    _check_supported(net)
    case.write_step(0)
    pp.runpp(net, init="dc", calculate_voltage_angles=True, numba=False)
    ppci, lookups = net._ppc["internal"], net._pd2ppc_lookups
    bus, branch = ppci["bus"].real, ppci["branch"].real
    if any(np.abs(branch[:, getattr(branch_column, name)]).max() > 0 for name in ASYMMETRIC):
        raise UnsupportedCaseError("a branch that differs by direction")
    bus_of_row = lookups["bus"][net.bus.index.to_numpy()].astype(np.int64)
    if (bus_of_row < 0).any() or (bus_of_row >= len(bus)).any():
        raise UnsupportedCaseError("buses without supply")
    tap = np.where(branch[:, branch_column.TAP] == 0, 1.0, branch[:, branch_column.TAP])
    position = np.cumsum(ppci["branch_is"]) - 1
    of_row = np.concatenate([np.arange(*lookups["branch"].get(table, (0, 0))) for table in BRANCHES])
    ref, pv = np.sort(ppci["ref"]), np.sort(ppci["pv"])
    grid = InternalGrid(
        base_mva=float(ppci["baseMVA"]),
        base_kv=bus[:, bus_column.BASE_KV],
        ends=branch[:, [branch_column.F_BUS, branch_column.T_BUS]].astype(np.int64),
        series=branch[:, branch_column.BR_R] + 1j * branch[:, branch_column.BR_X],
        shunt=branch[:, branch_column.BR_G] + 1j * branch[:, branch_column.BR_B],
        ratio=tap * np.exp(1j * np.deg2rad(branch[:, branch_column.SHIFT])),
        shunt_mva=bus[:, bus_column.GS] - 1j * bus[:, bus_column.BS],
        slack=ref.astype(np.int64),
        slack_voltage=ppci["V"][ref],
        held=pv.astype(np.int64),
        held_vm_pu=np.abs(ppci["V"][pv]),
        bus_of_row=bus_of_row,
        bus_of_element=lookups["bus"][case.elements["bus"].to_numpy()].astype(np.int64),
        branch_of_row=np.where(ppci["branch_is"], position, -1)[of_row].astype(np.int64),
        rated_ka=_rated_ka(net),
    )
    _check_injections(case, grid, bus)
    return grid


def join_slacks(grid: InternalGrid) -> InternalGrid:
    """The same grid with one slack, exactly: branches at the others move to it with the quotient of the voltages as ratio.

    A branch at slack k sees V_k behind its own ratio t. At the first slack, with
    t V_0 / V_k, it sees the same, and its current there is that of before times
    |V_k / V_0|: ratings follow, so that loadings stay.
    """
    if len(grid.slack) == 1:
        return grid
    first = grid.slack[0]
    ends, ratio, rated_ka, base_kv = grid.ends.copy(), grid.ratio.copy(), grid.rated_ka.copy(), grid.base_kv
    for other, voltage in zip(grid.slack[1:], grid.slack_voltage[1:], strict=True):
        at_to = grid.ends[:, 1] == other
        if not np.allclose(grid.ratio[at_to], 1.0):
            raise UnsupportedCaseError("a slack at the far side of a transformer, beside other slacks")
        ends[at_to] = ends[at_to][:, ::-1]
        moved = np.flatnonzero(ends[:, 0] == other)
        ends[moved, 0] = first
        ratio[moved] *= grid.slack_voltage[0] / voltage
        rows = np.isin(grid.branch_of_row, moved)
        turned = np.isin(grid.branch_of_row, np.flatnonzero(at_to))
        rated_ka[turned] = rated_ka[turned][:, ::-1]
        # kA of 1 pu differ with the nominal voltage of the bus, per unit currents with the quotient of the ratios.
        rated_ka[rows, 0] *= abs(voltage / grid.slack_voltage[0]) * base_kv[other] / base_kv[first]
    return grid._replace(
        ends=ends, ratio=ratio, rated_ka=rated_ka, slack=grid.slack[:1], slack_voltage=grid.slack_voltage[:1]
    )


def columns_of(places: Ints) -> slice | Ints:
    """Places as a slice where they follow each other, which numpy copies faster."""
    if len(places) and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def spread_buses(values: Floats, bus_of_row: Ints) -> Floats:
    """Columns of internal buses -> columns of `net.bus`; no copy where they are the same. (step, bus)"""
    if len(bus_of_row) == values.shape[1] and (bus_of_row == np.arange(len(bus_of_row))).all():
        return values
    return np.take(values, bus_of_row, axis=1)


def _check_supported(net: pandapowerNet) -> None:
    present = [table for table in FOREIGN if table in net and len(net[table])]
    shares = [name for name in net.load if name.startswith("const_") and net.load[name].any()]
    if present or shares:
        raise UnsupportedCaseError(f"{', '.join(present + shares)} is beyond this comparison")


def _check_injections(case: PeerCase, grid: InternalGrid, bus: Floats) -> None:
    """Loads of the internal model are those of the elements, and nothing else."""
    some = (case.elements["element"] != "gen").to_numpy()
    p_mw = np.bincount(grid.bus_of_element[some], weights=case.p_mw[0, some], minlength=len(bus))
    if not np.allclose(p_mw, bus[:, bus_column.PD], atol=1e-9):
        raise UnsupportedCaseError("constant injections beside the elements")


def _rated_ka(net: pandapowerNet) -> Floats:
    line, trafo = net["line"], net["trafo"]
    line_ka = (line["max_i_ka"] * line["df"] * line["parallel"]).to_numpy(dtype=float)
    mva = trafo["sn_mva"] * trafo["df"] * trafo["parallel"]
    trafo_ka = [(mva / (np.sqrt(3) * trafo[f"vn_{side}_kv"])).to_numpy(dtype=float) for side in ("hv", "lv")]
    return np.vstack([np.column_stack([line_ka, line_ka]), np.column_stack(trafo_ka)])


def branch_rows(case: PeerCase, grid: InternalGrid) -> pd.DataFrame:
    """Rows of `PeerCase.branches` in service; columns `row`, `branch`."""
    row = np.flatnonzero(grid.branch_of_row >= 0)
    return pd.DataFrame({"row": row, "branch": grid.branch_of_row[row]})
