"""In which order buses are eliminated, and where the factors of the network equations have blocks."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from gridtwin.kernels.network_arrays import Ints, Pattern


def order_buses(adjacency: sparse.csr_matrix) -> tuple[Ints, Pattern]:
    """Elimination order with little fill-in, and the pattern of the factors in that order.

    Minimum degree keeps a radial network free of fill-in. Any order that leaves
    children before parents in the elimination tree has the same fill-in; subtree by
    subtree, a feeder stays in the cache while it is worked on.

    Parameters
    ----------
    adjacency : csr_matrix, (bus, bus)
        Entries where two buses are joined; values do not matter.

    Returns
    -------
    order : ndarray of int, (bus,)
        Place of each bus.
    pattern : Pattern
        Of the factors, in the new order.

    References
    ----------
    .. [1] J. W. H. Liu, The role of elimination trees in sparse factorization,
       SIAM J. Matrix Anal. Appl. 11(1), 1990, doi:10.1137/0611010
    """
    size = adjacency.shape[0]
    if size == 0:
        none = np.empty(0, dtype=np.int64)
        return none, Pattern(np.zeros(1, dtype=np.int64), none, np.zeros(1, dtype=np.int64), none)
    rows = _eliminate(adjacency, _minimum_degree(adjacency))
    order = np.empty(size, dtype=np.int64)
    order[list(rows)] = _subtree_by_subtree(rows)
    return order, _pattern_of([rows[bus] for bus in np.argsort(order)], order)


def _minimum_degree(adjacency: sparse.csr_matrix) -> Ints:
    """Buses in the order in which minimum degree eliminates them."""
    size = adjacency.shape[0]
    joined = sparse.csc_matrix((np.ones(adjacency.nnz), adjacency.indices, adjacency.indptr), shape=adjacency.shape)
    heavy = joined + joined.T + sparse.diags(np.full(size, 4.0 * size), format="csc")
    factors = splu(heavy.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.argsort(factors.perm_c).astype(np.int64)


def _eliminate(adjacency: sparse.csr_matrix, sequence: Ints) -> dict[int, list[int]]:
    """Bus -> buses that are still there when it is eliminated and that it joins; keys in the given sequence."""
    symmetric = sparse.csr_matrix(adjacency + adjacency.T)
    place = np.empty(len(sequence), dtype=np.int64)
    place[sequence] = np.arange(len(sequence))
    later: list[set[int]] = [
        {int(k) for k in place[symmetric.indices[symmetric.indptr[bus] : symmetric.indptr[bus + 1]]] if k > place[bus]}
        for bus in sequence
    ]
    for k in range(len(sequence)):
        if later[k]:
            parent = min(later[k])
            later[parent] |= later[k] - {parent}
    return {int(sequence[k]): [int(sequence[other]) for other in sorted(later[k])] for k in range(len(sequence))}


def _subtree_by_subtree(rows: dict[int, list[int]]) -> Ints:
    """Place of every bus of `rows`: children before parents, each subtree of the elimination tree in one piece."""
    buses = list(rows)
    place = {bus: k for k, bus in enumerate(buses)}
    children: list[list[int]] = [[] for _ in buses]
    stack: list[int] = []
    for k, joined in enumerate(rows.values()):
        (children[place[joined[0]]] if joined else stack).append(k)
    walk: list[int] = []  # parents before children
    while stack:
        walk.append(stack.pop())
        stack.extend(children[walk[-1]])
    found = np.empty(len(buses), dtype=np.int64)
    found[walk[::-1]] = np.arange(len(buses))
    return found


def _pattern_of(rows: list[list[int]], order: Ints) -> Pattern:
    """Both triangles from the upper rows, which name buses by their old numbers."""
    upper = [sorted(int(order[bus]) for bus in row) for row in rows]
    counts = np.array([len(row) for row in upper], dtype=np.int64)
    upper_start = np.append(0, np.cumsum(counts)).astype(np.int64)
    upper_column = np.array([column for row in upper for column in row], dtype=np.int64)
    row_of = np.repeat(np.arange(len(upper)), counts)
    by_column = np.argsort(upper_column, kind="stable")
    lower_start = np.append(0, np.cumsum(np.bincount(upper_column, minlength=len(upper)))).astype(np.int64)
    return Pattern(lower_start, row_of[by_column].astype(np.int64), upper_start, upper_column)
