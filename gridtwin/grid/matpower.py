"""MATPOWER cases as pandapower networks with the same power flow.

The quantities are those of MATPOWER [1]_: powers in MW, impedances in per unit of the
base power and of the nominal voltages, and a branch as

    from --( tap e^(j shift) : 1 )--+-- r + jx --+-- to
                                  b/2          b/2

A branch within one nominal voltage becomes a line; all others become transformers
whose winding at the from side is rated at tap times the nominal voltage. Their
charging b stands beside them as shunts, since a transformer of pandapower only draws
reactive power, and in its middle.

References
----------
.. [1] R. D. Zimmerman, C. E. Murillo-Sánchez, MATPOWER User's Manual, chapters 3 and 4,
   doi:10.5281/zenodo.3236519
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower
import pandas as pd
from numpy.typing import NDArray
from pandapower.auxiliary import pandapowerNet

from gridtwin.errors import Finding, NetworkError, Severity
from gridtwin.grid.matpower_file import LARGEST, SMALLEST, MatpowerCase, read_matpower_file
from gridtwin.grid.network_checks import SMALLEST_IMPEDANCE_PU

F_HZ = 50.0
"""Frequency of the network; a case has none, and only the capacitances of lines need one. [Hz]"""
VN_UNKNOWN_KV = 1.0
"""Nominal voltage where a case gives 0: its values are per unit, so any will do. [kV]"""
PV, REF, ISOLATED = 2, 3, 4
Bools = NDArray[np.bool_]
Rows = NDArray[np.int64]


def read_matpower(path: Path | str) -> tuple[pandapowerNet, list[Finding]]:
    """Read a MATPOWER case file (.m, version 2).

    Parameters
    ----------
    path : path
        The file, at most 64 MB. Nothing of it is executed; statements that rescale
        the matrices are computed by our own reader.

    Returns
    -------
    net : pandapowerNet
        Buses in the order of the file, named by their numbers; branches, generators
        and DC lines named by their rows in the file, from 1. Its power flow is
        MATPOWER's `runpf` without reactive limits.
    findings : list of Finding
        What was replaced, left out or is carried in another form.

    Raises
    ------
    UnsafeFileError
        If the file is too large.
    NetworkError
        If a statement is not understood, a matrix is missing or its values contradict
        each other; the findings name file and line.
    """
    case = read_matpower_file(Path(path))
    net = pandapower.create_empty_network(name=case.name, f_hz=F_HZ, sn_mva=case.base_mva)
    findings = [*case.findings, *_add_buses(net, case)]
    findings += _add_generators(net, case)
    findings += _add_branches(net, case)
    findings += _add_dc_lines(net, case)
    return net, findings


def _notice(
    case: MatpowerCase, table: str, rows: Bools, what: str, code: str, *, do: str = "", severity: Severity = "info"
) -> list[Finding]:
    """No finding, or one that names rows of a matrix, counted from 1."""
    numbers = [str(row + 1) for row in np.flatnonzero(rows)]
    if not numbers:
        return []
    shown = ", ".join(numbers[:8]) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return [Finding(what, f"{case.file}: {table}, row {shown}", do=do, severity=severity, code=code)]


def _bus_rows(case: MatpowerCase, numbers: pd.Series) -> Rows:
    """Buses of the net, which are the rows of the bus matrix, for bus numbers."""
    rows: Rows = pd.Index(case.bus["BUS_I"]).get_indexer(pd.Index(numbers)).astype(np.int64)
    return rows


def _is_connected(case: MatpowerCase) -> Bools:
    """Buses that are not isolated by their type; MATPOWER drops those and all that hangs there."""
    return (case.bus["BUS_TYPE"] != ISOLATED).to_numpy()


def _add_buses(net: pandapowerNet, case: MatpowerCase) -> list[Finding]:
    bus = case.bus
    unknown = (bus["BASE_KV"] == 0).to_numpy()
    # equal limits fix a voltage for an optimal power flow; they are no band that could be kept
    banded = bus["VMIN"] < bus["VMAX"]
    pandapower.create_buses(
        net,
        len(bus),
        vn_kv=bus["BASE_KV"].mask(unknown, VN_UNKNOWN_KV).to_numpy(),
        name=[f"{number:.0f}" for number in bus["BUS_I"]],
        in_service=_is_connected(case),
        min_vm_pu=bus["VMIN"].where(banded).to_numpy(),
        max_vm_pu=bus["VMAX"].where(banded).to_numpy(),
    )
    _add_loads(net, case)
    shunted = np.flatnonzero((bus["GS"] != 0) | (bus["BS"] != 0))
    y_mva = (bus["GS"] + 1j * bus["BS"]).to_numpy()[shunted]
    _add_shunts(net, shunted, y_mva, [f"shunt {name}" for name in net.bus["name"].iloc[shunted]])
    what = f"the nominal voltage is 0 and taken as {VN_UNKNOWN_KV:g} kV; results per unit do not depend on it"
    return _notice(case, "bus", unknown, what, "GT-N44", severity="warning")


def _add_loads(net: pandapowerNet, case: MatpowerCase) -> None:
    rows = np.flatnonzero((case.bus["PD"] != 0) | (case.bus["QD"] != 0))
    pandapower.create_loads(
        net,
        rows,
        p_mw=case.bus["PD"].to_numpy()[rows],
        q_mvar=case.bus["QD"].to_numpy()[rows],
        name=[f"load {name}" for name in net.bus["name"].iloc[rows]],
        in_service=_is_connected(case)[rows],
    )


def _add_shunts(
    net: pandapowerNet, buses: Rows, y_mva: NDArray[np.complex128], names: list[str], in_service: Bools | None = None
) -> None:
    """Admittances G + jB as power at nominal voltage, B above zero for a capacitor; pandapower counts consumption."""
    pandapower.create_shunts(
        net,
        buses,
        p_mw=y_mva.real,
        q_mvar=-y_mva.imag,
        vn_kv=net.bus["vn_kv"].to_numpy()[buses],
        name=names,
        in_service=net.bus["in_service"].to_numpy()[buses] if in_service is None else in_service,
    )


def _add_generators(net: pandapowerNet, case: MatpowerCase) -> list[Finding]:
    """External grids at reference buses, voltage-controlled generators at PV buses, fixed powers elsewhere."""
    bus = _bus_rows(case, case.gen["GEN_BUS"])
    on = (case.gen["GEN_STATUS"] > 0).to_numpy() & _is_connected(case)[bus]
    is_reference, findings = _find_reference_buses(case, bus[on])
    is_held = (case.bus["BUS_TYPE"] == PV).to_numpy() & ~is_reference
    supplies = on & is_reference[bus]
    external = supplies & ~pd.Series(bus).where(supplies).duplicated().to_numpy()
    vm_pu = _set_points(case, bus, on)
    for row in np.flatnonzero(external):
        va_degree = float(case.bus["VA"].iloc[bus[row]])
        pandapower.create_ext_grid(net, bus[row], vm_pu=vm_pu[row], va_degree=va_degree, name=f"gen {row + 1}")
    _add_controlled(net, case, bus, vm_pu, np.flatnonzero(is_held[bus]), on=on)
    _add_fixed(net, case, bus, np.flatnonzero(~is_held[bus] & ~external), on=on)
    differs = on & (is_held | is_reference)[bus] & (vm_pu != case.gen["VG"].to_numpy())
    what = "another generator of the bus has another voltage set-point; the last one in the file counts"
    findings += _notice(case, "gen", differs, what, "GT-N47", severity="warning")
    what = "a further generator of a reference bus is carried as a fixed power; the external grid balances the rest"
    return findings + _notice(case, "gen", supplies & ~external, what, "GT-N47")


def _find_reference_buses(case: MatpowerCase, supplied: Rows) -> tuple[Bools, list[Finding]]:
    """Reference buses among the buses with a generator in service; without one the first PV bus, as in MATPOWER."""
    kind = case.bus["BUS_TYPE"].to_numpy()
    has_generator = np.isin(np.arange(len(kind)), supplied)
    is_reference = (kind == REF) & has_generator
    what = "the reference bus has no generator in service and holds no voltage"
    findings = _notice(case, "bus", (kind == REF) & ~has_generator, what, "GT-N42", severity="warning")
    if not is_reference.any():
        controlled = np.flatnonzero((kind == PV) & has_generator)
        if len(controlled) == 0:
            expected = "a bus of type 3 with a generator in service"
            finding = Finding("the case has no reference bus", str(case.file), expected, "", "", "error", "GT-N42")
            raise NetworkError([finding])
        is_reference[controlled[0]] = True
        what = "the case has no reference bus; the first bus of type 2 takes its part"
        findings += _notice(case, "bus", is_reference, what, "GT-N42", severity="warning")
    return is_reference, findings


def _set_points(case: MatpowerCase, bus: Rows, on: Bools) -> NDArray[np.float64]:
    """Voltage set-point of every generator: that of the last one in service at its bus. (gen) [pu]"""
    at_bus = np.full(len(case.bus), np.nan)
    at_bus[bus[on]] = case.gen["VG"].to_numpy()[on]
    return np.where(on, at_bus[bus], case.gen["VG"].to_numpy())


def _add_controlled(
    net: pandapowerNet, case: MatpowerCase, bus: Rows, vm_pu: NDArray[np.float64], rows: Rows, *, on: Bools
) -> None:
    gen = case.gen.iloc[rows].replace([np.inf, -np.inf], np.nan)  # pandapower's missing limit
    pandapower.create_gens(
        net,
        bus[rows],
        p_mw=gen["PG"].to_numpy(),
        vm_pu=vm_pu[rows],
        min_q_mvar=gen["QMIN"].to_numpy(),
        max_q_mvar=gen["QMAX"].to_numpy(),
        name=[f"gen {row + 1}" for row in rows],
        in_service=on[rows],
    )


def _add_fixed(net: pandapowerNet, case: MatpowerCase, bus: Rows, rows: Rows, *, on: Bools) -> None:
    pandapower.create_sgens(
        net,
        bus[rows],
        p_mw=case.gen["PG"].to_numpy()[rows],
        q_mvar=case.gen["QG"].to_numpy()[rows],
        name=[f"gen {row + 1}" for row in rows],
        in_service=on[rows],
    )


def _add_branches(net: pandapowerNet, case: MatpowerCase) -> list[Finding]:
    """Lines, transformers, and what neither of them can carry: see the findings."""
    branch = _list_branches(net, case)
    z_1mva_pu = np.hypot(branch["BR_R"], branch["BR_X"]) / case.base_mva
    one_level = (branch["from_kv"] == branch["to_kv"]) & (branch["tap"] == 1) & (branch["SHIFT"] == 0)
    joint = one_level & (z_1mva_pu < SMALLEST_IMPEDANCE_PU)
    negative = one_level & ~joint & (branch["BR_R"] < 0)
    line = one_level & ~joint & ~negative
    charged = (joint | ~one_level) & (branch["BR_B"] != 0)
    _add_lines(net, branch[line], case.base_mva)
    _add_impedances(net, branch[negative], case.base_mva)
    _add_switches(net, branch[joint])
    _add_transformers(net, branch[~one_level], case)
    _add_charging(net, branch[charged], case.base_mva)
    unrated = (line | ~one_level) & branch["rate_mva"].isna()
    facts = [
        (joint, "the branch has next to no impedance and becomes a switch between two buses", "GT-N45"),
        (negative, "the resistance is below zero; the branch becomes an impedance element, without rating", "GT-N45"),
        (unrated, "RATE_A is 0, so the branch has no loading", "GT-N46"),
        (charged, "the charging of the branch stands beside it as two shunts, which do not open with it", "GT-N49"),
    ]
    return [finding for rows, what, code in facts for finding in _notice(case, "branch", rows.to_numpy(), what, code)]


def _list_branches(net: pandapowerNet, case: MatpowerCase) -> pd.DataFrame:
    """Branches with the buses of the net at their ends and what follows from those."""
    branch, vn_kv = case.branch, net.bus["vn_kv"].to_numpy()
    start, end = _bus_rows(case, branch["F_BUS"]), _bus_rows(case, branch["T_BUS"])
    connected = _is_connected(case)
    rated = branch["RATE_A"].between(SMALLEST, LARGEST)
    return branch.assign(
        name=[f"branch {row + 1}" for row in range(len(branch))],
        start=start,
        end=end,
        from_kv=vn_kv[start],
        to_kv=vn_kv[end],
        tap=branch["TAP"].mask(branch["TAP"] == 0, 1.0),
        on=(branch["BR_STATUS"] != 0).to_numpy() & connected[start] & connected[end],
        rate_mva=branch["RATE_A"].where(rated),
    )


def _add_lines(net: pandapowerNet, branch: pd.DataFrame, base_mva: float) -> None:
    z_base_ohm = (branch["from_kv"] ** 2 / base_mva).to_numpy()
    pandapower.create_lines_from_parameters(
        net,
        branch["start"].to_numpy(),
        branch["end"].to_numpy(),
        length_km=1.0,
        r_ohm_per_km=branch["BR_R"].to_numpy() * z_base_ohm,
        x_ohm_per_km=branch["BR_X"].to_numpy() * z_base_ohm,
        c_nf_per_km=branch["BR_B"].to_numpy() / z_base_ohm / (2 * np.pi * net.f_hz) * 1e9,
        max_i_ka=(branch["rate_mva"] / (np.sqrt(3) * branch["from_kv"])).to_numpy(),
        name=branch["name"].tolist(),
        in_service=branch["on"].to_numpy(),
    )


def _add_impedances(net: pandapowerNet, branch: pd.DataFrame, base_mva: float) -> None:
    if branch.empty:
        return
    pandapower.create_impedances(
        net,
        branch["start"].to_numpy(),
        branch["end"].to_numpy(),
        rft_pu=branch["BR_R"].to_numpy(),
        xft_pu=branch["BR_X"].to_numpy(),
        bf_pu=branch["BR_B"].to_numpy() / 2,
        sn_mva=base_mva,
        name=branch["name"].tolist(),
        in_service=branch["on"].to_numpy(),
    )


def _add_switches(net: pandapowerNet, branch: pd.DataFrame) -> None:
    if branch.empty:
        return
    pandapower.create_switches(
        net,
        branch["start"].to_numpy(),
        branch["end"].to_numpy(),
        et="b",
        closed=branch["on"].to_numpy(),
        name=branch["name"].tolist(),
    )


def _add_transformers(net: pandapowerNet, branch: pd.DataFrame, case: MatpowerCase) -> None:
    """Transformers with the higher voltage at the hv side, as pandapower's users expect.

    The impedance belongs to the winding of the to side in MATPOWER and to that of the lv
    side in pandapower. In percent of the transformer it is the same number at either.
    """
    if branch.empty:
        return
    falls = (branch["from_kv"] >= branch["to_kv"]).to_numpy()
    from_kv, to_kv = (branch["tap"] * branch["from_kv"]).to_numpy(), branch["to_kv"].to_numpy()
    # without a rating any base will do that no check takes for a real one; the loading is NaN by `df`
    s_load_mva = float(np.hypot(case.bus["PD"], case.bus["QD"]).sum())
    sn_mva = branch["rate_mva"].fillna(max(case.base_mva, s_load_mva)).to_numpy()
    percent = 100 * sn_mva / case.base_mva
    r_pu, x_pu = branch["BR_R"].to_numpy(), branch["BR_X"].to_numpy()
    pandapower.create_transformers_from_parameters(
        net,
        np.where(falls, branch["start"], branch["end"]),
        np.where(falls, branch["end"], branch["start"]),
        sn_mva=sn_mva,
        vn_hv_kv=np.where(falls, from_kv, to_kv),
        vn_lv_kv=np.where(falls, to_kv, from_kv),
        vkr_percent=r_pu * percent,
        vk_percent=np.copysign(np.hypot(r_pu, x_pu), x_pu) * percent,  # its sign is that of x
        pfe_kw=0.0,
        i0_percent=0.0,
        shift_degree=np.where(falls, branch["SHIFT"], -branch["SHIFT"]),
        name=branch["name"].tolist(),
        in_service=branch["on"].to_numpy(),
        df=branch["rate_mva"].notna().map({True: 1.0, False: np.nan}).to_numpy(),
    )


def _add_charging(net: pandapowerNet, branch: pd.DataFrame, base_mva: float) -> None:
    """Half of the charging at either end; that of the from side lies behind the tap."""
    half_mva = 1j * (branch["BR_B"] * base_mva / 2).to_numpy()
    for side, y_mva in (("start", half_mva / branch["tap"].to_numpy() ** 2), ("end", half_mva)):
        names = [f"charging at {side} of {name}" for name in branch["name"]]
        _add_shunts(net, branch[side].to_numpy(), y_mva, names, branch["on"].to_numpy())


def _add_dc_lines(net: pandapowerNet, case: MatpowerCase) -> list[Finding]:
    """DC lines as the powers that they draw and feed in; their losses are LOSS0 + LOSS1 PF."""
    dc = case.dcline
    if dc.empty:
        return []
    arriving_mw = dc["PF"] - (dc["LOSS0"] + dc["LOSS1"] * dc["PF"])
    ends = (("from", "F_BUS", -dc["PF"], dc["QF"]), ("to", "T_BUS", arriving_mw, dc["QT"]))
    buses = [_bus_rows(case, dc[column]) for _, column, _, _ in ends]
    connected = _is_connected(case)
    on = (dc["BR_STATUS"] > 0).to_numpy() & connected[buses[0]] & connected[buses[1]]
    for bus, (end, _, p_mw, q_mvar) in zip(buses, ends, strict=True):
        pandapower.create_sgens(
            net,
            bus,
            p_mw=p_mw.to_numpy(),
            q_mvar=q_mvar.to_numpy(),
            name=[f"dcline {row + 1} {end}" for row in range(len(dc))],
            in_service=on,
        )
    what = "the DC line is carried as fixed powers at its ends, which hold no voltage"
    return _notice(case, "dcline", np.ones(len(dc), dtype=bool), what, "GT-N48", severity="warning")
