"""A network in service as a tree: every branch a two-port between an upstream and a downstream bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from gridtwin.errors import DataError, Finding, NetworkError
from gridtwin.grid.internal_model import InternalModel, read_internal_model
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin
from gridtwin.kernels.network_arrays import Ints

Complexes = NDArray[np.complex128]
SLACK, DARK = -1, -2
"""Places of a bus that is no downstream end: the upstream network's own, and without supply."""


@dataclass(frozen=True)
class RadialNetwork:
    """A tree of branches, the upstream network at its root.

    Edges are numbered from the root outward and carry the number of their downstream bus; branches side by side are
    one edge. Per unit of `base_mva`.

    Parameters
    ----------
    base_mva : float
        Apparent power of 1 pu. [MVA]
    up : ndarray of int, (edge,)
        Edge that feeds each edge, -1 at the root; always a smaller number.
    y : ndarray of complex, (edge, 4)
        Admittances up-up, up-down, down-up, down-down; shunts at the downstream bus are in the last. [pu]
    shunt : ndarray of complex, (edge,)
        Those shunts alone. [pu]
    place : ndarray of int, (bus,)
        Edge that ends at each bus of the twin, `SLACK` or `DARK`.
    edge : ndarray of int, (branch,)
        Edge at the from or hv side of each branch of the twin, -1 without current.
    share : ndarray of complex, (branch,)
        Share of the branch in the current of its edge. [-]
    downward : ndarray of bool, (branch,)
        Whether the from or hv side is the upstream one.
    y_bus : csr_array of complex, (edge + 1, edge + 1)
        Admittances of all buses, the root last. [pu]
    """

    base_mva: float
    up: Ints
    y: Complexes
    shunt: Complexes
    place: Ints
    edge: Ints
    share: Complexes
    downward: NDArray[np.bool_]
    y_bus: sparse.csr_array


def is_radial(twin: GridTwin) -> bool:
    """Whether the network in service is a tree with one upstream connection and no voltage held elsewhere."""
    return not _why_not_radial(read_internal_model(twin.net))


def read_radial_network(twin: GridTwin) -> RadialNetwork:
    """The network as a tree; transformers with their taps, joined buses as one, open branches where they still hang.

    Raises
    ------
    NetworkError
        If it has loops, several upstream connections, or generators that hold their voltage.
    """
    model = read_internal_model(twin.net)
    reason = _why_not_radial(model)
    if reason:
        finding = Finding(
            reason,
            where="network",
            expected="a tree with one upstream connection",
            do="Open a switch of each loop, or use the exact sensitivities, which need no tree.",
            severity="error",
        )
        raise NetworkError([finding])
    order, up = _walk_tree(model)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.append(SLACK, np.arange(len(order) - 1))
    y, shunt = _two_ports(model, position, up)
    bus = model.bus_of_row.loc[twin.buses["index"]].to_numpy(dtype=np.int64)
    edge, share, downward = _label_branches(model, position, up)
    outward = np.append(order[1:], order[0])
    return RadialNetwork(
        base_mva=model.base_mva,
        up=up,
        y=y,
        shunt=shunt,
        place=np.where(bus >= 0, position[bus], DARK),
        edge=edge,
        share=share,
        downward=downward,
        y_bus=sparse.csr_array(model.y_bus[outward][:, outward]),
    )


def _why_not_radial(model: InternalModel) -> str:
    """What keeps a network from being a tree, else the empty text."""
    if len(model.slack) != 1:
        return f"the network has {len(model.slack)} upstream connections"
    if len(model.held):
        return f"generators hold the voltage of {len(model.held)} buses"
    loops = len(_pairs(model)) - (len(model.base_kv) - 1)
    return f"the network has {loops} loops" if loops else ""


def _pairs(model: InternalModel) -> Ints:
    """Joined pairs of buses, the smaller number first. (pair, 2)"""
    return np.unique(np.sort(model.ends, axis=1), axis=0)


def _walk_tree(model: InternalModel) -> tuple[Ints, Ints]:
    """Buses from the root outward, and the edge that feeds each edge."""
    pairs, size = _pairs(model), len(model.base_kv)
    joined = sparse.coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    order, before = breadth_first_order(joined.tocsr(), int(model.slack[0]), directed=False)
    position = np.empty(size, dtype=np.int64)
    position[order] = np.append(SLACK, np.arange(len(order) - 1))
    return order.astype(np.int64), position[before[order[1:]]]


def _two_ports(model: InternalModel, position: Ints, up: Ints) -> tuple[Complexes, Complexes]:
    """Admittances of every edge seen from above, and the shunts at its downstream bus."""
    ends = position[model.ends]
    turned = ends[:, 0] > ends[:, 1]
    y = np.where(turned[:, None], model.y_branch[:, [3, 2, 1, 0]], model.y_branch)
    ports = np.zeros((len(up), 4), dtype=complex)
    np.add.at(ports, ends.max(axis=1), y)
    own = np.zeros(len(up) + 1, dtype=complex)
    np.add.at(own, ends.ravel(), model.y_branch[:, [0, 3]].ravel())
    total = np.empty(len(up) + 1, dtype=complex)
    total[position] = model.y_bus.diagonal()
    shunt = total[:-1] - own[:-1]
    shunt[np.abs(shunt) < 1e-9 * np.abs(total[:-1])] = 0.0  # rounding of the sums
    ports[:, 3] += shunt
    return ports, shunt


def _label_branches(model: InternalModel, position: Ints, up: Ints) -> tuple[Ints, Complexes, NDArray[np.bool_]]:
    """Edge, share and direction of every branch of the twin; of three windings that of the hv winding."""
    own = np.concatenate([model.branches_of[element][:, 0] for element in BRANCH_ENDS])
    ends = position[model.ends]
    mutual = np.zeros(len(up), dtype=complex)
    np.add.at(mutual, ends.max(axis=1), model.y_branch[:, 1])
    runs = own >= 0
    edge = np.where(runs, ends.max(axis=1)[own], -1)
    share = np.where(runs, model.y_branch[own, 1] / mutual[edge], 0.0)
    return edge, share, np.where(runs, ends[own, 0] < ends[own, 1], True)


def find_edges(twin: GridTwin, radial: RadialNetwork, buses: Sequence[str]) -> Ints:
    """Edge that ends at every named bus, `SLACK` or `DARK`. (given bus,)"""
    places = twin.buses.index.get_indexer(pd.Index(list(buses)))
    unknown = [bus for bus, place in zip(buses, places, strict=True) if place < 0]
    if unknown:
        where = f"bus {', '.join(unknown[:5])}"
        raise DataError([Finding("unknown bus", where=where, expected="a name of twin.buses", severity="error")])
    return radial.place[places]
