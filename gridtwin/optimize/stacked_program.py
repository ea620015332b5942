"""A block program as vectors, with its rows as operators that never write the coupling rows out.

A coupling row that sees the power of a bus has an entry for every device there. As weights of sums
of ports the same row has one entry per bus.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridtwin.optimize.block_program import BlockProgram, Family


@dataclass(frozen=True)
class StackedProgram:
    """Costs, bounds and rows of all families one behind the other, the coupling rows last.

    Parameters
    ----------
    cost, lower, upper : ndarray, (column,)
        (column, member) of each family, flat.
    row_lower, row_upper : ndarray, (row,)
        (row, member) of each family, flat; then the coupling rows.
    columns, rows : tuple of slice
        Of each family.
    coupling : slice
        Coupling rows.
    blocks : csr_array, (row of a family, column)
        Rows of all families.
    sums : list of (csr_array, csr_array)
        Sums of ports of groups (group * port, column), and weights of the coupling rows (coupling row, group * port).
    constant : float
        Part of the objective without a column.
    """

    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    columns: tuple[slice, ...]
    rows: tuple[slice, ...]
    coupling: slice
    blocks: sparse.csr_array
    blocks_transposed: sparse.csr_array
    sums: list[tuple[sparse.csr_array, sparse.csr_array]]
    sums_transposed: list[tuple[sparse.csr_array, sparse.csr_array]]
    constant: float

    def apply(self, x: np.ndarray) -> np.ndarray:
        """A x. (row,)"""
        return np.concatenate([self.blocks @ x, self.couple(x)])

    def apply_transposed(self, y: np.ndarray) -> np.ndarray:
        """A'y. (column,)"""
        return np.asarray(self.blocks_transposed @ y[: self.coupling.start] + self.uncouple(y[self.coupling]))

    def couple(self, x: np.ndarray) -> np.ndarray:
        """Coupling rows of x. (coupling row,)"""
        return np.asarray(sum(weight @ (ports @ x) for ports, weight in self.sums))

    def uncouple(self, y: np.ndarray) -> np.ndarray:
        """Transposed coupling rows of y. (column,)"""
        return np.asarray(sum(ports @ (weight @ y) for ports, weight in self.sums_transposed))


def stack_program(program: BlockProgram) -> StackedProgram:
    """Vectors and operators of a block program."""
    families = program.families
    columns, rows = _slices([f.cost.size for f in families]), _slices([f.row_lower.size for f in families])
    last = rows[-1].stop
    lower, upper = program.coupling_bounds()
    blocks = sparse.block_diag([_rows_of(family) for family in families], format="csr")
    sums = _port_sums(program, columns)
    return StackedProgram(
        cost=np.concatenate([f.cost.ravel() for f in families]),
        lower=np.concatenate([f.lower.ravel() for f in families]),
        upper=np.concatenate([f.upper.ravel() for f in families]),
        row_lower=np.concatenate([*(f.row_lower.ravel() for f in families), lower]),
        row_upper=np.concatenate([*(f.row_upper.ravel() for f in families), upper]),
        columns=columns,
        rows=rows,
        coupling=slice(last, last + len(lower)),
        blocks=sparse.csr_array(blocks),
        blocks_transposed=sparse.csr_array(blocks.T),
        sums=sums,
        sums_transposed=[(sparse.csr_array(p.T), sparse.csr_array(w.T)) for p, w in sums],
        constant=program.constant,
    )


def _slices(sizes: list[int]) -> tuple[slice, ...]:
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    return tuple(slice(begin, end) for begin, end in itertools.pairwise(edges))


def _rows_of(family: Family) -> sparse.csr_array:
    shape, members = family.shape, len(family.members)
    each = np.arange(members)
    row = np.repeat(np.arange(shape.rows), np.diff(shape.start))
    entries = (family.value.ravel(), ((row[:, None] * members + each).ravel(), _spread(shape.column, members)))
    matrix = sparse.csr_array(entries, shape=(family.row_lower.size, family.cost.size))
    matrix.eliminate_zeros()
    return matrix


def _spread(column: np.ndarray, members: int) -> np.ndarray:
    return np.asarray((column[:, None] * members + np.arange(members)).ravel())


def _port_sums(program: BlockProgram, columns: tuple[slice, ...]) -> list[tuple[sparse.csr_array, sparse.csr_array]]:
    """Families that share their weights share the sums of their groups."""
    total, found = columns[-1].stop, {}
    for family, weight, where in zip(program.families, program.weights, columns, strict=True):
        members, ports = len(family.members), family.port_shape.rows
        port = np.repeat(np.arange(ports), np.diff(family.port_shape.start))
        row = (family.group[None, :] * ports + port[:, None]).ravel()
        column = where.start + _spread(family.port_shape.column, members)
        shown = sparse.csr_array((family.port_value.ravel(), (row, column)), shape=(family.groups * ports, total))
        before = found.get(id(weight))
        found[id(weight)] = (shown if before is None else before[0] + shown, weight)
    return list(found.values())
