"""Which feeder and which station every asset counts into, as the network is switched.

A station is a transformer behind the external grid, or the external grid itself where more than transformers
hangs on its busbar. A feeder is a branch that leaves the station's busbar. Buses joined by closed switches are
one node.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gridtwin.errors import Finding, Severity
from gridtwin.grid.compile import find_assets_in_service
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin, name_rows

SWITCH_LETTER = {"line": "l", "trafo": "t", "trafo3w": "t3"}
"""Branch table -> `et` of the switches at its ends."""
JOIN = " + "
"""Between the names of what feeds in parallel."""

Nodes = NDArray[np.int64]


def find_parents(twin: GridTwin) -> pd.DataFrame:
    """Parent map of a network: asset to feeder, feeder to station.

    Parameters
    ----------
    twin : GridTwin
        Switches as they stand.

    Returns
    -------
    DataFrame
        Columns `child` and `parent`, for `forecast.hierarchy.build_hierarchy`. First one row per asset, in the
        order of the twin, then one per feeder that has assets; stations are roots.

        - An asset at the station's busbar, or fed by several feeders at once, counts into the station.
        - An asset without supply or out of service has no parent (None).
        - Stations that feed one another's areas, and parallel branches between the same two nodes, are one,
          named `T1 + T2`.
        - Feeders and stations bear the names of branches and of the external grid, with `'` where an asset or
          another of them has that name.

        `attrs["findings"]`: assets fed by several feeders (GT-N61), and assets that count nowhere (GT-N62).

    Examples
    --------
    >>> import pandapower.networks as pn
    >>> from gridtwin.data.rules import read_rules
    >>> from gridtwin.grid.twin import build_twin
    >>> twin = build_twin(pn.create_kerber_landnetz_freileitung_1(), rules=read_rules("lv_planning"))
    >>> find_parents(twin).to_numpy()[[0, -1]].tolist()
    [['load 0', 'line_1_1'], ['line_1_1', 'trafo 1']]
    """
    node = _fuse_buses(twin)
    edges = _list_edges(twin, node)
    asset_node = np.where(find_assets_in_service(twin), node[_rows_of_buses(twin, twin.assets["bus"])], -1)
    busbars, inner = _find_busbars(_list_sources(twin, node), edges, asset_node)
    nodes = np.append(np.arange(len(node)), -1)  # the last for assets without a node
    stations = pd.Series(_stations_of_nodes(busbars, inner, len(node)), nodes)
    feeders, meshed = (pd.Series(found, nodes) for found in _feeders_of_nodes(busbars, inner, len(node)))
    station, feeder = stations.loc[asset_node], feeders.loc[asset_node].where(stations.loc[asset_node] != "", "")
    taken = set(twin.assets.index)
    name = {("station", old): _free_name(old, taken) for old in station[station != ""].unique()}
    name |= {("feeder", old): _free_name(old, taken) for old in feeder[feeder != ""].unique()}
    rows = []
    tops = {}
    for asset, over, under in zip(twin.assets.index, station, feeder, strict=True):
        top, head = name.get(("station", over)), name.get(("feeder", under))
        rows.append((asset, head or top))
        if head is not None:
            tops[head] = top
    table = pd.DataFrame([*rows, *tops.items()], columns=["child", "parent"], dtype=object)
    lost = (station == "").to_numpy()
    table.attrs["findings"] = _findings(twin, meshed.loc[asset_node].to_numpy(dtype=bool) & ~lost, lost)
    return table


def _rows_of_buses(twin: GridTwin, names: Iterable[str]) -> Nodes:
    return np.asarray(twin.buses.index.get_indexer(pd.Index(names)), dtype=np.int64)


def _fuse_buses(twin: GridTwin) -> Nodes:
    """Node of every bus: closed switches make several buses one; -1 out of service. (bus,)"""
    net, count = twin.net, len(twin.buses)
    joined = net.switch[(net.switch["et"] == "b") & net.switch["closed"].astype(bool)]
    row = pd.Series(np.arange(count), index=twin.buses["index"])
    working = net.bus.loc[twin.buses["index"], "in_service"].to_numpy(dtype=bool)
    ends = np.column_stack([row.loc[joined["bus"]], row.loc[joined["element"]]]).astype(np.int64)
    node = _components(ends[working[ends].all(axis=1)], count)
    return np.where(working, node, -1)


def _list_edges(twin: GridTwin, node: Nodes) -> pd.DataFrame:
    """Branches that carry current between two nodes: `branch`, `transformer`, `a`, `b`; three windings in two rows."""
    net = twin.net
    opened = net.switch[~net.switch["closed"].astype(bool)]
    row = pd.Series(np.arange(len(twin.buses)), index=twin.buses["index"])
    parts = []
    for element, branches in twin.branches.groupby("element", sort=False):
        index = branches["index"].to_numpy()
        cut = opened.loc[opened["et"] == SWITCH_LETTER.get(str(element)), "element"]
        works = net[element].loc[index, "in_service"].to_numpy(dtype=bool) & ~np.isin(index, cut)
        first, second = BRANCH_ENDS[str(element)]
        for other in ("mv_bus", second) if element == "trafo3w" else (second,):
            ends = [node[row.loc[net[element].loc[index, column]].to_numpy()] for column in (first, other)]
            part = {"branch": branches.index, "transformer": "trafo" in str(element), "a": ends[0], "b": ends[1]}
            parts.append(pd.DataFrame(part)[works])
    edges = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["branch", "transformer", "a", "b"])
    return edges[(edges["a"] >= 0) & (edges["b"] >= 0) & (edges["a"] != edges["b"])]


def _list_sources(twin: GridTwin, node: Nodes) -> pd.Series:
    """Node of every external grid and generator that stands for one; index: its name."""
    net = twin.net
    rows = name_rows(net, ["ext_grid", "gen"])
    holds = [
        bool(net[element].at[index, "in_service"]) and (element == "ext_grid" or bool(net.gen.at[index, "slack"]))
        for element, index in zip(rows["element"], rows["index"], strict=True)
    ]
    rows = rows[holds]
    buses = [net[element].at[index, "bus"] for element, index in zip(rows["element"], rows["index"], strict=True)]
    place = pd.Index(twin.buses["index"]).get_indexer(pd.Index(buses))
    return pd.Series(node[place], index=rows.index)[lambda found: found >= 0]


def _find_busbars(sources: pd.Series, edges: pd.DataFrame, asset_node: Nodes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Busbars (`station`, `node`) from which feeders leave, and the edges behind the stations."""
    found, heads = [], []
    for source, node in sources.items():
        at_source = edges[(edges["a"] == node) | (edges["b"] == node)]
        if len(at_source) and at_source["transformer"].all() and node not in asset_node:
            heads += list(at_source.index)
            found += list(zip(at_source["branch"], at_source["a"] + at_source["b"] - node, strict=True))
        else:
            found.append((source, node))
    return pd.DataFrame(found, columns=["station", "node"]).drop_duplicates(), edges.drop(index=heads)


def _stations_of_nodes(busbars: pd.DataFrame, inner: pd.DataFrame, count: int) -> NDArray[np.object_]:
    """Station of every node, and of none at all; empty without supply. Stations joined behind their busbars are one."""
    first = busbars.groupby("station")["node"].transform("first")
    ends = np.vstack([inner[["a", "b"]].to_numpy(np.int64), np.column_stack([busbars["node"], first])])
    block = _components(ends, count)
    names = busbars.groupby(block[busbars["node"]], sort=False)["station"].agg(lambda found: JOIN.join(found.unique()))
    return np.append(pd.Series(block).map(names).fillna("").to_numpy(dtype=object), "")


def _feeders_of_nodes(
    busbars: pd.DataFrame, inner: pd.DataFrame, count: int
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Feeder of every node, and of none at all, empty where there is none; and whether several feed it."""
    is_busbar = np.isin(np.arange(count), busbars["node"])
    at_busbar = is_busbar[inner[["a", "b"]].to_numpy(np.int64)]
    area = _components(inner.loc[~at_busbar.any(axis=1), ["a", "b"]].to_numpy(np.int64), count)
    heads = inner[at_busbar.sum(axis=1) == 1]
    outer = np.where(is_busbar[heads["b"].to_numpy(np.int64)], heads["a"], heads["b"]).astype(np.int64)
    feeder, meshed = np.full(count + 1, "", dtype=object), np.zeros(count + 1, dtype=bool)
    for label, group in heads.assign(pair=heads["a"] + heads["b"] - outer, outer=outer).groupby(area[outer]):
        inside = np.append((area == label) & ~is_busbar, False)
        branches = group["branch"].unique()
        if len(branches) == 1 or len(group[["pair", "outer"]].drop_duplicates()) == 1:
            feeder[inside] = JOIN.join(branches)
        else:
            meshed |= inside
    return feeder, meshed


def _components(ends: Nodes, count: int) -> Nodes:
    """Number of the connected part of every node. (node,)"""
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or `name'` and so on where something else bears it."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _findings(twin: GridTwin, meshed: NDArray[np.bool_], lost: NDArray[np.bool_]) -> tuple[Finding, ...]:
    told: tuple[tuple[NDArray[np.bool_], str, Severity, str], ...] = (
        (meshed, "are fed by several feeders at once and count into the station", "info", "GT-N61"),
        (lost, "are out of service or without supply and count nowhere", "warning", "GT-N62"),
    )
    return tuple(
        Finding(f"{int(which.sum())} assets {what}", where=f"asset {_few(twin.assets.index[which])}",
                severity=severity, code=code)
        for which, what, severity, code in told
        if which.any()
    )  # fmt: skip


def _few(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
