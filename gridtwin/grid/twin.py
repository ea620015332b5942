"""The twin: a pandapower network with named assets, limits and rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandapower.auxiliary import pandapowerNet

from gridtwin.data.buildings import assume_building
from gridtwin.errors import Finding, NetworkError, raise_errors
from gridtwin.grid.elements import check_elements
from gridtwin.nomenclature import ASSET_KINDS

if TYPE_CHECKING:
    from gridtwin.data.rules import RuleSet

DEFAULT_KINDS = {"load": "load", "sgen": "generator", "storage": "battery", "gen": "generator"}
"""Asset table -> kind of a row that names none, or the empty text."""
KINDS_OF_TYPES = {"PV": "pv", "WP": "wind"}
"""`type` of a static generator, as pandapower's own networks use it -> kind."""
SMALLEST_RATING_MW = 1e-3
"""Rating of an asset whose network row gives no power at all. [MW]"""
BUILDING_COLUMNS = ["ua_mw_per_k", "c_mwh_per_k", "cop"]
BRANCH_ENDS = {
    "line": ("from_bus", "to_bus"),
    "trafo": ("hv_bus", "lv_bus"),
    "trafo3w": ("hv_bus", "lv_bus"),
    "impedance": ("from_bus", "to_bus"),
}
"""Branch table -> its two ends; of three windings the outer ones."""


# Compared by identity: two twins are the same only if they are one object, and
# `grid.compile` keeps its arrays per object.
@dataclass(frozen=True, eq=False)
class GridTwin:
    """A network that has been read, named and given limits. Treat it as frozen: change the net, then build anew.

    Parameters
    ----------
    net : pandapowerNet
        The network model, in pandapower's own units and signs.
    assets : DataFrame
        Index: unique asset name. Columns `element` (load, sgen, storage, gen), `index`, `bus`, `kind`,
        `p_rated_mw`, `origin`, `flexible`, `metered`, `e_rated_mwh`, `ua_mw_per_k`, `c_mwh_per_k`, `cop`.
    buses : DataFrame
        Index: unique bus name. Columns `index`, `vn_kv`, `vm_min_pu`, `vm_max_pu`, `x`, `y`.
    branches : DataFrame
        Index: unique branch name. Columns `element` (line, trafo, trafo3w, impedance), `index`,
        `from_bus`, `to_bus`, `max_loading_percent`, `s_rated_mva`.
    rules : RuleSet
        Voltage and loading rules behind the limits.
    findings : tuple of Finding
        What was assumed while building.
    """

    net: pandapowerNet
    assets: pd.DataFrame
    buses: pd.DataFrame
    branches: pd.DataFrame
    rules: RuleSet
    findings: tuple[Finding, ...] = ()


def build_twin(net: pandapowerNet, *, rules: RuleSet, max_loading_percent: float = 100.0) -> GridTwin:
    """Name every bus, branch and asset of a network and give it its limits.

    Parameters
    ----------
    net : pandapowerNet
        Network with the asset columns of the readers, or any pandapower net.
    rules : RuleSet
        Voltage and loading limits. A bus or branch with a narrower limit of its
        own (`min_vm_pu`, `max_vm_pu`, `max_loading_percent`) keeps that one.
    max_loading_percent : float, default 100
        Largest loading of any branch. [%]

    Raises
    ------
    NetworkError
        If the network holds elements that the power flow does not model.
    """
    findings = list(raise_errors(check_elements(net), NetworkError))
    buses = _list_buses(net, rules, findings)
    bus_names = pd.Series(buses.index, index=buses["index"])
    branches = _list_branches(net, bus_names, rules, max_loading_percent, findings)
    assets = _list_assets(net, bus_names, findings)
    return GridTwin(net, assets, buses, branches, rules, raise_errors(findings, NetworkError))


def name_rows(net: pandapowerNet, elements: Iterable[str]) -> pd.DataFrame:
    """Rows of several tables under unique names, in table order.

    A name that is missing or stands twice becomes the table's name and the row, `load 12`.

    Returns
    -------
    DataFrame
        Index: unique name; columns `element`, `index`.
    """
    rows = [
        (str(name).strip() if pd.notna(name) else "", element, index)
        for element in elements
        for index, name in zip(net[element].index, _column(net[element], "name", None), strict=True)
    ]
    counts = Counter(name for name, _, _ in rows)
    taken = {name for name, count in counts.items() if name and count == 1}
    names = [name if name in taken else _free_name(f"{element} {index}", taken) for name, element, index in rows]
    frame = pd.DataFrame([row[1:] for row in rows], columns=["element", "index"])
    return frame.astype({"element": str, "index": int}).set_axis(pd.Index(names, dtype=object), axis=0)


def name_assets(net: pandapowerNet) -> pd.DataFrame:
    """Unique names of all loads, generators and storages; columns `element`, `index`."""
    return name_rows(net, DEFAULT_KINDS).rename_axis("asset")


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or `name'` and so on where an operator already uses it."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _column(table: pd.DataFrame, name: str, default: Any) -> pd.Series:
    """Column of a net table with the default where the column or a value is missing."""
    if name not in table:
        return pd.Series([default] * len(table), index=table.index, dtype=object)
    column = table[name].astype(object)
    return column.where(column.notna(), default)


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    """Numeric column of a net table, NaN where the column or a value is missing."""
    return pd.to_numeric(_column(table, name, np.nan), errors="coerce").astype(float)


def _list_buses(net: pandapowerNet, rules: RuleSet, findings: list[Finding]) -> pd.DataFrame:
    buses = name_rows(net, ["bus"]).rename_axis("bus").drop(columns="element")
    buses["vn_kv"] = net.bus["vn_kv"].to_numpy(dtype=float)
    bands = {vn_kv: rules.voltage_band(vn_kv) for vn_kv in buses["vn_kv"].unique()}
    rule = np.array([bands[vn_kv] for vn_kv in buses["vn_kv"]], dtype=float).reshape(-1, 2)
    low = np.fmax(rule[:, 0], _numbers(net.bus, "min_vm_pu"))
    high = np.fmin(rule[:, 1], _numbers(net.bus, "max_vm_pu"))
    empty = (low >= high).to_numpy()
    if empty.any():
        findings.append(
            Finding(
                "the voltage limits of the bus leave no room within the rules, which now hold alone",
                where=f"bus {_join(buses.index[empty])}",
                code="GT-N11",
            )
        )
    buses["vm_min_pu"] = np.where(empty, rule[:, 0], low)
    buses["vm_max_pu"] = np.where(empty, rule[:, 1], high)
    places = [_place_of(geo) for geo in _column(net.bus, "geo", None)]
    buses[["x", "y"]] = np.array(places, dtype=float).reshape(-1, 2)
    return buses


def _place_of(geo: object) -> tuple[float, float]:
    """Coordinates of a GeoJSON point, NaN where there is none."""
    if not isinstance(geo, str) or not geo.strip():
        return (np.nan, np.nan)
    try:
        place = json.loads(geo)["coordinates"]
        return (float(place[0]), float(place[1]))
    except (ValueError, KeyError, IndexError, TypeError):
        return (np.nan, np.nan)


def _list_branches(
    net: pandapowerNet, bus_names: pd.Series, rules: RuleSet, max_loading_percent: float, findings: list[Finding]
) -> pd.DataFrame:
    branches = name_rows(net, BRANCH_ENDS).rename_axis("branch")
    for side, column in enumerate(("from_bus", "to_bus")):
        ends = [net[element][pair[side]] for element, pair in BRANCH_ENDS.items()]
        branches[column] = bus_names.loc[pd.concat(ends).to_numpy(dtype=int)].to_numpy()
    own = pd.concat([_numbers(net[element], "max_loading_percent") for element in BRANCH_ENDS]).to_numpy()
    own = np.where(np.isfinite(own) & (own > 0), own, np.inf)
    limits = {element: rules.loading_limit(element) for element in BRANCH_ENDS}
    ruled = branches["element"].map(lambda element: np.inf if limits[element] is None else limits[element])
    branches["max_loading_percent"] = np.minimum(np.minimum(own, ruled.astype(float)), max_loading_percent)
    branches["s_rated_mva"] = np.concatenate([_ratings(net, element) for element in BRANCH_ENDS])
    unrated = branches["s_rated_mva"].isna()
    if unrated.any():
        findings.append(
            Finding(
                "no rating is known, so no loading is computed",
                where=f"branch {_join(branches.index[unrated])}",
                do="Give max_i_ka (line) or sn_mva (trafo); an impedance has none.",
                severity="info" if (branches.loc[unrated, "element"] == "impedance").all() else "warning",
                code="GT-N12",
            )
        )
    return branches


def _ratings(net: pandapowerNet, element: str) -> np.ndarray:
    """Rated apparent power of the rows of a branch table, NaN where none is given. [MVA]"""
    table = net[element]
    if element == "line":
        vn_kv = net.bus["vn_kv"].reindex(table["from_bus"]).to_numpy()
        rated = np.sqrt(3) * vn_kv * table["max_i_ka"] * table["df"] * table["parallel"]
    elif element == "trafo":
        rated = table["sn_mva"] * table["df"] * table["parallel"]
    elif element == "trafo3w":
        rated = table["sn_hv_mva"]
    else:
        rated = pd.Series(np.nan, index=table.index)
    values = rated.to_numpy(dtype=float)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _list_assets(net: pandapowerNet, bus_names: pd.Series, findings: list[Finding]) -> pd.DataFrame:
    facts = pd.concat([_facts_of(net[element], kind) for element, kind in DEFAULT_KINDS.items()], ignore_index=True)
    assets = pd.concat([name_assets(net), facts.set_axis(name_assets(net).index, axis=0)], axis=1)
    assets["bus"] = bus_names.loc[assets["bus"].to_numpy(dtype=int)].to_numpy()
    _check_kinds(assets, findings)
    _fill_ratings(assets, findings)
    _fill_buildings(assets, findings)
    columns = ["element", "index", "bus", "kind", "p_rated_mw", "origin", "flexible", "metered", "e_rated_mwh"]
    return assets[[*columns, *BUILDING_COLUMNS]]


def _facts_of(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Asset columns of one net table with the defaults where nothing is given."""
    rated = _numbers(table, "p_rated_mw")
    size = _numbers(table, "sn_mva").where(lambda s: s > 0, _numbers(table, "p_mw").abs())
    return pd.DataFrame(
        {
            "bus": table["bus"].astype(int),
            "kind": _kinds_of(table, kind),
            "p_rated_mw": rated.where(rated > 0, size),
            "origin": _column(table, "origin", "network").astype(str),
            "flexible": _column(table, "flexible", False).astype(bool),
            "metered": _column(table, "metered", True).astype(bool),
            "e_rated_mwh": _energy_of(table, kind),
            **{name: _numbers(table, name) for name in BUILDING_COLUMNS},
        }
    )


def _kinds_of(table: pd.DataFrame, kind: str) -> pd.Series:
    """Kind as declared; of a static generator without one by pandapower's `type`; else that of the table."""
    declared = _column(table, "kind", "").astype(str)
    by_type = _column(table, "type", "").astype(str).str.upper().map(KINDS_OF_TYPES).fillna(kind)
    return declared.where(declared != "", by_type if kind == "generator" else kind).astype(str)


def _energy_of(table: pd.DataFrame, kind: str) -> pd.Series:
    """Usable energy; for storages without it the span of pandapower's own energy columns. [MWh]"""
    energy = _numbers(table, "e_rated_mwh")
    if kind != "battery":
        return energy
    return energy.fillna(_numbers(table, "max_e_mwh") - _numbers(table, "min_e_mwh").fillna(0))


def _check_kinds(assets: pd.DataFrame, findings: list[Finding]) -> None:
    unknown = ~assets["kind"].isin(list(ASSET_KINDS))
    for name, kind in assets.loc[unknown, "kind"].items():
        findings.append(
            Finding(
                "unknown kind of asset",
                where=f"asset {name!r}",
                expected=", ".join(ASSET_KINDS),
                got=kind,
                severity="error",
                code="GT-N16",
            )
        )


def _fill_ratings(assets: pd.DataFrame, findings: list[Finding]) -> None:
    missing = ~(assets["p_rated_mw"] > 0)
    if missing.any():
        assets.loc[missing, "p_rated_mw"] = SMALLEST_RATING_MW
        findings.append(
            Finding(
                f"no rated power is known, {SMALLEST_RATING_MW * 1000:g} kW assumed",
                where=f"asset {_join(assets.index[missing])}",
                do="Give p_rated_mw or sn_mva.",
                code="GT-N14",
            )
        )


def _fill_buildings(assets: pd.DataFrame, findings: list[Finding]) -> None:
    bare = (assets["kind"] == "heat_pump") & assets[BUILDING_COLUMNS].isna().any(axis=1)
    buildings = [assume_building(p_rated_mw) for p_rated_mw in assets.loc[bare, "p_rated_mw"].to_list()]
    for column in BUILDING_COLUMNS:
        assumed = [getattr(building, column) for building in buildings]
        assets.loc[bare, column] = assets.loc[bare, column].fillna(pd.Series(assumed, assets.index[bare], dtype=float))
    if bare.any():
        findings.append(
            Finding(
                f"the buildings of {bare.sum()} heat pumps are assumed from the rated power",
                where="assets",
                do="Give ua_mw_per_k, c_mwh_per_k and cop.",
                severity="info",
                code="GT-N15",
            )
        )


def _join(names: Iterable[str], most: int = 5) -> str:
    """The first few names for a message."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
