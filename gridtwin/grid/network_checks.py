"""Checks of a network before anything is computed: what would make a power flow fail, or worse, lie.

pandapower solves a line of negative length, a bus of 0 kV and a line between two
nominal voltages without a word. Each check here names table, column and element.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandapower.topology
import pandas as pd
from pandapower.auxiliary import pandapowerNet

from gridtwin.errors import Finding, Severity

VN_MIN_KV, VN_MAX_KV = 0.1, 1200.0
"""Nominal voltages in use; outside lies a slip of the unit."""
SMALLEST_IMPEDANCE_PU = 1e-8
"""Below this a branch is a connection, and the equations lose their digits. [pu at 1 MVA]"""
NOMINAL_TOLERANCE = 0.05
"""Spread of nominal voltages that a line may join, e.g. 10 and 10.5 kV. [-]"""
TRAFO_TOLERANCE = 0.3
"""Spread between the nominal voltage of a bus and the winding that ends there. [-]"""
LARGEST_CURRENT_KA = 5.0
"""Current of a single asset where no transformer bounds it. [kA]"""
UNIT_RATIO = 10.0
"""An asset of more than this times all transformers above it was given in another unit. [-]"""
BUS_COLUMNS = {
    "line": ("from_bus", "to_bus"),
    "trafo": ("hv_bus", "lv_bus"),
    "trafo3w": ("hv_bus", "mv_bus", "lv_bus"),
    "impedance": ("from_bus", "to_bus"),
    "dcline": ("from_bus", "to_bus"),
    **{name: ("bus",) for name in ("load", "sgen", "storage", "ext_grid", "gen", "shunt", "ward", "xward", "switch")},
    **{name: ("bus",) for name in ("motor", "asymmetric_load", "asymmetric_sgen")},
}
"""Table -> its columns that name a bus."""
SWITCHED = {"b": "bus", "l": "line", "t": "trafo", "t3": "trafo3w"}
"""Kind of a switch -> table of what it switches."""
ASSETS = ("load", "sgen", "storage")
NUMBERS = {
    "bus": ("vn_kv",),
    "load": ("p_mw", "q_mvar"),
    "sgen": ("p_mw", "q_mvar"),
    "storage": ("p_mw", "q_mvar"),
    "ext_grid": ("vm_pu",),
    "line": ("length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km"),
    "trafo": ("sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent"),
    "trafo3w": (
        *("sn_hv_mva", "sn_mv_mva", "sn_lv_mva", "vn_hv_kv", "vn_mv_kv", "vn_lv_kv"),
        *("vk_hv_percent", "vk_mv_percent", "vk_lv_percent", "vkr_hv_percent", "vkr_mv_percent", "vkr_lv_percent"),
    ),
    "gen": ("p_mw", "vm_pu"),
    "shunt": ("p_mw", "q_mvar", "vn_kv"),
    "ward": ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar"),
    "xward": ("ps_mw", "qs_mvar", "pz_mw", "qz_mvar", "r_ohm", "x_ohm", "vm_pu"),
    "dcline": ("p_mw", "loss_percent", "loss_mw", "vm_from_pu", "vm_to_pu"),
    "impedance": ("rft_pu", "xft_pu", "rtf_pu", "xtf_pu", "sn_mva"),
}
"""Table -> columns that a power flow needs as finite numbers."""


def check_network(net: pandapowerNet) -> list[Finding]:
    """Everything that is wrong or doubtful about a network.

    Parameters
    ----------
    net : pandapowerNet
        Any pandapower network; nothing is changed.

    Returns
    -------
    list of Finding
        Errors make a power flow impossible or meaningless; warnings leave it meaningful.
    """
    structure = check_indices(net) + check_references(net) + check_supply(net)
    if any(finding.severity == "error" for finding in structure):
        return structure
    return [
        *structure,
        *check_finite(net),
        *check_nominal_voltages(net),
        *check_line_lengths(net),
        *check_line_impedances(net),
        *check_line_ends(net),
        *check_transformer_windings(net),
        *check_line_ratings(net),
        *check_units(net),
        *check_load_signs(net),
        *check_islands(net),
    ]


def check_indices(net: pandapowerNet) -> list[Finding]:
    """Row numbers must differ, or an element cannot be named."""
    tables = [name for name in BUS_COLUMNS if net[name].index.has_duplicates]
    tables += ["bus"] if net.bus.index.has_duplicates else []
    return [
        Finding("a row number stands twice", name, got=_shown(_repeated(net[name])), severity="error", code="GT-N10")
        for name in tables
    ]


def _repeated(table: pd.DataFrame) -> Iterable[str]:
    return [str(number) for number in table.index[table.index.duplicated()].unique()]


def check_references(net: pandapowerNet) -> list[Finding]:
    """Every bus and every switched element must exist."""
    findings = []
    for name, columns in BUS_COLUMNS.items():
        for column in columns:
            dangling = ~net[name][column].isin(net.bus.index)
            findings += _one(net, name, dangling, column, "the bus does not exist", expected="a row of bus", code=3)
    for kind, element in SWITCHED.items():
        dangling = (net.switch["et"] == kind) & ~net.switch["element"].isin(net[element].index)
        what = f"the switched {element} does not exist"
        findings += _one(net, "switch", dangling, "element", what, expected=f"a row of {element}", code=3)
    return findings


def check_supply(net: pandapowerNet) -> list[Finding]:
    """At least one connection to the upstream network."""
    slacks = net.gen["in_service"].astype(bool) & net.gen["slack"].astype(bool)
    if net.ext_grid["in_service"].astype(bool).any() or slacks.any():
        return []
    return [
        Finding(
            "the network has no upstream connection",
            where="ext_grid",
            expected="at least one row in service",
            got=f"{len(net.ext_grid)} rows, none in service",
            severity="error",
            code="GT-N02",
        )
    ]


def check_finite(net: pandapowerNet) -> list[Finding]:
    """Numbers that the power flow needs must be there and finite."""
    findings = []
    for name, columns in NUMBERS.items():
        for column in columns:
            wrong = ~np.isfinite(_column(net[name], column)) & _in_service(net[name])
            findings += _one(net, name, wrong, column, f"{column} is missing or infinite", expected="a number", code=1)
    return findings


def check_nominal_voltages(net: pandapowerNet) -> list[Finding]:
    """Nominal voltages in kV; volts or per unit by mistake lie outside."""
    vn_kv = _column(net.bus, "vn_kv")
    wrong = np.isfinite(vn_kv) & ~vn_kv.between(VN_MIN_KV, VN_MAX_KV)
    expected = f"{VN_MIN_KV:g} to {VN_MAX_KV:g} kV"
    return _one(net, "bus", wrong, "vn_kv", "the nominal voltage is out of range", expected=expected, code=7)


def check_line_lengths(net: pandapowerNet) -> list[Finding]:
    """Lengths and resistances below zero, which a power flow solves to wrong voltages."""
    findings = []
    for column in ("length_km", "r_ohm_per_km"):
        negative = (_column(net.line, column) < 0) & _in_service(net.line)
        findings += _one(net, "line", negative, column, f"{column} is negative", expected="0 or above", code=6)
    return findings


def check_line_impedances(net: pandapowerNet) -> list[Finding]:
    """Lines without impedance: a power flow divides by zero, or nearly."""
    z_ohm = (
        np.hypot(_column(net.line, "r_ohm_per_km"), _column(net.line, "x_ohm_per_km"))
        * _column(net.line, "length_km").abs()
    )
    z_pu = z_ohm / _column(net.line, "parallel") / _voltage_at(net, net.line["from_bus"]) ** 2
    wrong = (z_pu < SMALLEST_IMPEDANCE_PU) & _in_service(net.line)
    return _one(
        net,
        "line",
        wrong,
        "length_km",
        "the line has no impedance",
        expected=f"at least {SMALLEST_IMPEDANCE_PU:g} pu at 1 MVA",
        code=5,
        do="Replace it by a closed bus-bus switch.",
    )


def check_line_ends(net: pandapowerNet) -> list[Finding]:
    """A line has one nominal voltage; one between two converges to nonsense."""
    start, end = _voltage_at(net, net.line["from_bus"]), _voltage_at(net, net.line["to_bus"])
    wrong = pd.Series(~np.isclose(start, end, rtol=NOMINAL_TOLERANCE), index=net.line.index) & _in_service(net.line)
    got = [f"{a:g} and {b:g} kV" for a, b in zip(start[wrong.to_numpy()], end[wrong.to_numpy()], strict=True)]
    what = "the line joins two nominal voltages"
    return _one(net, "line", wrong, "", what, expected="one", got=got, code=8, do="Use a transformer.")


def check_transformer_windings(net: pandapowerNet) -> list[Finding]:
    """A winding far from the nominal voltage of its bus: sides swapped, or another unit."""
    findings = []
    for bus, winding in (("hv_bus", "vn_hv_kv"), ("lv_bus", "vn_lv_kv")):
        nominal = _voltage_at(net, net.trafo[bus])
        far = (_column(net.trafo, winding) / nominal - 1).abs() > TRAFO_TOLERANCE
        what = f"{winding} is far from the nominal voltage of its bus"
        expected = ", ".join(f"about {value:g} kV" for value in nominal[far.to_numpy()][:3])
        findings += _one(
            net, "trafo", far & _in_service(net.trafo), winding, what, expected=expected, code=13, severity="warning"
        )
    return findings


def check_line_ratings(net: pandapowerNet) -> list[Finding]:
    """Lines without rated current have no loading and can never be congested."""
    missing = ~(_column(net.line, "max_i_ka") > 0) & _in_service(net.line)
    return _one(
        net,
        "line",
        missing,
        "max_i_ka",
        "no rated current, so no loading is computed",
        expected="above 0 kA",
        code=4,
        severity="warning",
    )


def check_units(net: pandapowerNet) -> list[Finding]:
    """Assets far beyond every transformer above them: most likely kW given as MW."""
    findings = []
    for name in ASSETS:
        p_mw = _column(net[name], "p_mw").abs()
        ratio = p_mw / _upstream_mva(net, _voltage_at(net, net[name]["bus"]))
        wrong = (ratio > UNIT_RATIO) & _in_service(net[name])
        got = [f"{p_mw[row]:g} MW, {ratio[row]:.0f} times that" for row in ratio.index[wrong]]
        expected = "less than the rating of the transformers above"
        what = "the power is implausibly large"
        do = "Check the unit: kW given as MW?"
        findings += _one(net, name, wrong, "p_mw", what, expected=expected, got=got, do=do, whole_code="GT-D10")
    return findings


def _upstream_mva(net: pandapowerNet, vn_kv: np.ndarray) -> np.ndarray:
    """What all transformers feeding a nominal voltage carry, or the largest current where there is none. [MVA]"""
    secondary = _voltage_at(net, net.trafo["lv_bus"])
    rated = (_column(net.trafo, "sn_mva") * _column(net.trafo, "parallel")).where(_in_service(net.trafo), 0.0)
    known = {level: float(rated[np.isclose(secondary, level, rtol=NOMINAL_TOLERANCE)].sum()) for level in set(vn_kv)}
    return np.array([known[level] or np.sqrt(3) * level * LARGEST_CURRENT_KA for level in vn_kv], dtype=float)


def check_load_signs(net: pandapowerNet) -> list[Finding]:
    """Loads of negative power are generators, or a flipped sign."""
    negative = (_column(net.load, "p_mw") < 0) & _in_service(net.load)
    what = "the load feeds in"
    return _one(net, "load", negative, "p_mw", what, expected="0 MW or above", severity="warning", whole_code="GT-D11")


def check_islands(net: pandapowerNet) -> list[Finding]:
    """Buses without supply have no voltage: their results are missing, not good."""
    unsupplied = pandapower.topology.unsupplied_buses(net)
    rows = net.bus.index.isin(unsupplied) & _in_service(net.bus)
    return _one(
        net,
        "bus",
        rows,
        "",
        f"{int(rows.sum())} buses are not supplied",
        expected="a closed connection to an ext_grid",
        do="Their voltages stay empty in every result. Close a switch, or delete them.",
        code=9,
        severity="warning",
    )


def _one(
    net: pandapowerNet,
    table: str,
    rows: pd.Series,
    column: str,
    what: str,
    *,
    expected: str,
    code: int = 0,
    got: list[str] | None = None,
    do: str = "",
    severity: Severity = "error",
    whole_code: str = "",
) -> list[Finding]:
    """No finding, or one that names the rows of a table."""
    chosen = np.asarray(rows, dtype=bool)
    if not chosen.any():
        return []
    bad = net[table].loc[chosen]
    values = got if got is not None else [_plain(value) for value in bad[column]] if column in bad else []
    where = f"{table}{f'.{column}' if column else ''}: {_shown(_labels(bad))}"
    return [Finding(what, where, expected, _shown(values), do, severity, whole_code or f"GT-N{code:02d}")]


def _labels(rows: pd.DataFrame) -> list[str]:
    """Name and row number of elements; the number alone where there is no name."""
    names = rows["name"] if "name" in rows else pd.Series(index=rows.index, dtype=object)
    return [f"{name!r} (row {row})" if isinstance(name, str) and name else f"row {row}" for row, name in names.items()]


def _shown(texts: Iterable[str], most: int = 4) -> str:
    texts = list(dict.fromkeys(texts))
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """Column as floats, NaN where it is missing."""
    if name not in table:
        return pd.Series(1.0 if name == "parallel" else np.nan, index=table.index)
    return pd.to_numeric(table[name], errors="coerce").astype(float)


def _in_service(table: pd.DataFrame) -> pd.Series:
    return table["in_service"].astype(bool)


def _voltage_at(net: pandapowerNet, buses: pd.Series) -> np.ndarray:
    """Nominal voltage of the buses in a column. [kV]"""
    vn_kv: np.ndarray = _column(net.bus, "vn_kv").reindex(buses.to_numpy()).to_numpy()
    return vn_kv
