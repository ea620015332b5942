"""Which end of a branch is the upstream one, so that "load" and "feed-in" have a meaning."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from gridtwin.grid.twin import GridTwin


def find_orientation(twin: GridTwin) -> NDArray[np.float64]:
    """+1 where the from or hv side of a branch is the one nearer to the upstream network, else -1. (branch,)

    Near is meant in numbers of branches; open switches and branches out of service do not count.
    """
    distance = _distance_to_supply(twin)
    far_from = distance[twin.branches["from_bus"]].to_numpy() > distance[twin.branches["to_bus"]].to_numpy()
    return np.where(far_from, -1.0, 1.0)


def _distance_to_supply(twin: GridTwin) -> pd.Series:
    """Number of branches between each bus and the nearest upstream connection; index: bus name."""
    net, buses, branches = twin.net, twin.buses, twin.branches
    name = pd.Series(buses.index, index=buses["index"])
    joined = net.switch[(net.switch["et"] == "b") & net.switch["closed"].astype(bool)]
    ends = branches.loc[_carries_current(twin), ["from_bus", "to_bus"]].to_numpy(dtype=object)
    ends = np.vstack([ends, np.column_stack([name[joined["bus"]], name[joined["element"]]])])
    node = pd.Series(np.arange(len(buses)), index=buses.index)
    rows, columns = node[ends[:, 0]].to_numpy(), node[ends[:, 1]].to_numpy()
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(buses), len(buses)))
    supply = node[name[net.ext_grid.loc[net.ext_grid["in_service"].astype(bool), "bus"]]].to_numpy()
    hops = dijkstra(graph.tocsr(), directed=False, unweighted=True, indices=supply, min_only=True)
    return pd.Series(hops, index=buses.index)


def _carries_current(twin: GridTwin) -> NDArray[np.bool_]:
    """Branches in service with no open switch at any end."""
    switch = twin.net.switch
    opened = switch[~switch["closed"].astype(bool)]
    cut = {(element, row) for element, row in zip(opened["et"], opened["element"], strict=True)}
    letter = {"line": "l", "trafo": "t", "trafo3w": "t3"}
    rows = zip(twin.branches["element"], twin.branches["index"], strict=True)
    connected = [
        bool(twin.net[element].at[row, "in_service"]) and (letter.get(element), row) not in cut for element, row in rows
    ]
    return np.array(connected, dtype=bool)
