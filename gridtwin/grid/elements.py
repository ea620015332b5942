"""Which elements of a pandapower network the power flow models; all others are refused by name."""

from __future__ import annotations

import pandas as pd
from pandapower.auxiliary import pandapowerNet

from gridtwin.errors import Finding

MODELLED = frozenset(
    [
        *("asymmetric_load", "asymmetric_sgen", "bus", "dcline", "ext_grid", "gen", "impedance", "line", "load"),
        *("motor", "sgen", "shunt", "storage", "switch", "trafo", "trafo3w", "ward", "xward"),
    ]
)
"""Tables that the compiled network carries in full."""
NOT_ELECTRIC = frozenset(["controller", "group", "measurement", "poly_cost", "pwl_cost"])
"""Tables that a balanced power flow does not read."""
BUS_COLUMNS = ["bus", "from_bus", "to_bus", "hv_bus", "mv_bus", "lv_bus"]
SHARE_COLUMNS = ["const_z_p_percent", "const_i_p_percent", "const_z_q_percent", "const_i_q_percent"]
"""Voltage dependence of loads in pandapower 3.5."""


def check_elements(net: pandapowerNet) -> list[Finding]:
    """One error per table that the power flow does not model, and what the network says but is not used."""
    tables = [name for name in net if isinstance(net[name], pd.DataFrame) and not name.startswith(("_", "res_"))]
    foreign = [name for name in tables if name not in MODELLED | NOT_ELECTRIC]
    findings = [_refusal(net, name) for name in foreign if _in_service(net[name]).any()]
    return findings + _check_buses(net) + _check_shares(net) + _check_supply(net) + _check_options(net)


def _in_service(table: pd.DataFrame) -> pd.Series:
    """Rows that take part; tables without the column are no network elements."""
    if "in_service" not in table:
        return pd.Series(False, index=table.index)
    return table["in_service"].astype(bool)


def _refusal(net: pandapowerNet, name: str) -> Finding:
    table = net[name].loc[_in_service(net[name])]
    return Finding(
        f"the power flow does not model {name} elements",
        where=_rows(name, table),
        expected=f"only {', '.join(sorted(MODELLED))}",
        severity="error",
        code="GT-N31",
    )


def _rows(name: str, table: pd.DataFrame, most: int = 5) -> str:
    named = [f"{name} {index}" for index in table.index[:most]]
    return ", ".join(named) + (f" and {len(table) - most} more" if len(table) > most else "")


def _check_buses(net: pandapowerNet) -> list[Finding]:
    findings = []
    for name in sorted(MODELLED - {"bus"}):
        for column in [column for column in BUS_COLUMNS if column in net[name]]:
            lost = ~net[name][column].isin(net.bus.index)
            if lost.any():
                findings.append(
                    Finding(
                        f"{column} names a bus that does not exist",
                        where=_rows(name, net[name].loc[lost]),
                        expected="a row of the bus table",
                        got=", ".join(map(str, net[name].loc[lost, column].unique()[:5])),
                        severity="error",
                        code="GT-N37",
                    )
                )
    return findings


def _check_shares(net: pandapowerNet) -> list[Finding]:
    """Shares of constant current and impedance are 100 % at most; the rest is constant power."""
    findings = []
    for which in ("p", "q"):
        columns = [name for name in SHARE_COLUMNS if name.endswith(f"_{which}_percent") and name in net.load]
        total = net.load[columns].fillna(0).sum(axis=1)
        wrong = _in_service(net.load) & ((total > 100 + 1e-9) | (net.load[columns] < 0).any(axis=1))
        if wrong.any():
            findings.append(
                Finding(
                    f"the shares of constant impedance and current in {which.upper()} make no whole",
                    where=_rows("load", net.load.loc[wrong]),
                    expected="shares from 0 to 100 %, together at most 100 %",
                    got=", ".join(f"{value:g} %" for value in total[wrong][:5]),
                    severity="error",
                    code="GT-N32",
                )
            )
    return findings


def _check_supply(net: pandapowerNet) -> list[Finding]:
    slacks = _in_service(net.gen) & net.gen["slack"].astype(bool) if len(net.gen) else pd.Series(dtype=bool)
    if _in_service(net.ext_grid).any() or slacks.any():
        return []
    return [
        Finding(
            "the network has no upstream connection",
            where="ext_grid",
            expected="at least one row in service, or a gen with slack",
            severity="error",
            code="GT-N33",
        )
    ]


def _check_options(net: pandapowerNet) -> list[Finding]:
    findings = []
    if net.get("user_pf_options"):
        findings.append(
            Finding(
                "stored power flow options are not used",
                where="user_pf_options",
                got=", ".join(sorted(net["user_pf_options"])),
                code="GT-N34",
            )
        )
    if "controller" in net and len(net["controller"]) and _in_service(net["controller"]).any():
        findings.append(
            Finding(
                "controllers are not simulated: taps and set points stay as they stand",
                where=_rows("controller", net["controller"]),
                code="GT-N35",
            )
        )
    return findings
