"""A block program as vectors whose members stand side by side in lanes.

Columns of a large family are (block, column, lane), eight members to a block, padded by fixed zeros. Families
of few members follow as a sparse matrix. Coupling rows are never written out: a row that sees the
power of a bus has an entry for every device there, as a weight of sums of ports it has one per bus.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridtwin.kernels.block_elimination import LANES, LaneShape, multiply_blocks, multiply_transposed
from gridtwin.optimize.block_program import BlockProgram, Family

PARTS = 4
"""Parts that the blocks of a family are shared in among threads; sums do not depend on which thread is first."""


class LaneFamily:
    """A family of many members, eight side by side; members of one group are neighbours."""

    def __init__(self, family: Family, first_column: int, first_row: int, sums: int) -> None:
        self.family, self.members, self.sums = family, len(family.members), sums
        self.count = -(-self.members // LANES)
        self.order = np.argsort(family.group, kind="stable")
        group = np.full(self.count * LANES, -1, dtype=np.int64)
        group[: self.members] = family.group[self.order]
        self.group = group.reshape(self.count, LANES)
        self.value, self.port_value = self.to_lanes(family.value), self.to_lanes(family.port_value)
        shape, ports = family.shape, family.port_shape
        self.shape = LaneShape(shape.start, shape.column, ports.start, ports.column)
        self.columns = slice(first_column, first_column + self.count * len(family.cost) * LANES)
        self.rows = slice(first_row, first_row + self.count * shape.rows * LANES)

    def to_lanes(self, numbers: np.ndarray) -> np.ndarray:
        """(element, member) to (block, element, lane), padded with zeros."""
        wide = np.zeros((len(numbers), self.count * LANES))
        wide[:, : self.members] = numbers[:, self.order]
        return np.ascontiguousarray(wide.reshape(len(numbers), self.count, LANES).transpose(1, 0, 2))

    def from_lanes(self, flat: np.ndarray, elements: int) -> np.ndarray:
        """Flat lanes to (element, member)."""
        numbers = np.empty((elements, self.members))
        lanes = flat.reshape(self.count, elements, LANES).transpose(1, 0, 2).reshape(elements, self.count * LANES)
        numbers[:, self.order] = lanes[:, : self.members]
        return numbers

    def blocks_of(self, flat: np.ndarray) -> np.ndarray:
        """Part of a vector of columns or rows that is this family's. (block, element, lane)"""
        return flat.reshape(self.count, len(flat) // (self.count * LANES), LANES)

    def part(self, number: int) -> slice:
        """Blocks of one part."""
        return slice(number * self.count // PARTS, (number + 1) * self.count // PARTS)


@dataclass(frozen=True)
class StackedProgram:
    """Costs, bounds and rows of all families one behind the other, the coupling rows last.

    Parameters
    ----------
    lanes : list of LaneFamily
        Large families.
    small : list of Family
        Families of few members, and of blocks without rows and with one port.
    own : csr_array, (row of a small family, column of a small family)
        Their rows.
    ports : list of csr_array, (coupling row, group * port)
        Weights of the coupling rows, one for each set of large families that share them.
    small_coupled : csr_array, (coupling row, column of a small family)
        Coupling rows in the columns of small families.
    cost, lower, upper : ndarray, (column,)
        Costs and bounds.
    row_lower, row_upper : ndarray, (row,)
        Bounds of rows.
    constant : float
        Part of the objective without a column.
    """

    lanes: list[LaneFamily]
    small: list[Family]
    positions: tuple[list[int], list[int]]
    own: sparse.csr_array
    ports: list[sparse.csr_array]
    groups: list[tuple[int, int]]
    small_coupled: sparse.csr_array
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    constant: float
    pool: ThreadPoolExecutor

    @property
    def small_columns(self) -> slice:
        """Columns of small families."""
        return slice(len(self.cost) - self.own.shape[1], len(self.cost))

    @property
    def border(self) -> slice:
        """Rows of small families, then coupling rows: what is left when the blocks are eliminated."""
        return slice(len(self.row_lower) - self.own.shape[0] - self.small_coupled.shape[0], len(self.row_lower))

    @property
    def coupling(self) -> slice:
        """Coupling rows."""
        return slice(len(self.row_lower) - self.small_coupled.shape[0], len(self.row_lower))

    def each_part(self, work: Callable[[int], None]) -> None:
        """Do something for every part of the blocks, in threads."""
        list(self.pool.map(work, range(PARTS)))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """A x. (row,)"""
        rows = np.empty(len(self.row_lower))
        sums = [np.zeros((PARTS, *size)) for size in self.groups]

        def multiply(part: int) -> None:
            for f in self.lanes:
                here, of, columns = f.part(part), f.blocks_of(rows[f.rows]), f.blocks_of(x[f.columns])
                multiply_blocks(
                    f.shape, f.value[here], f.port_value[here], f.group[here], columns[here], of[here],
                    sums[f.sums][part],
                )  # fmt: skip

        self.each_part(multiply)
        own = x[self.small_columns]
        rows[self.border.start : self.coupling.start] = self.own @ own
        coupled = self.small_coupled @ own
        for weight, total in zip(self.ports, sums, strict=True):
            coupled = coupled + weight @ total.sum(axis=0).ravel()
        rows[self.coupling] = coupled
        return rows

    def apply_transposed(self, y: np.ndarray) -> np.ndarray:
        """A'y. (column,)"""
        x = np.empty(len(self.cost))
        prices = [
            (weight.T @ y[self.coupling]).reshape(size) for weight, size in zip(self.ports, self.groups, strict=True)
        ]

        def multiply(part: int) -> None:
            for f in self.lanes:
                here, of = f.part(part), f.blocks_of(x[f.columns])
                multiply_transposed(
                    f.shape, f.value[here], f.port_value[here], f.group[here], f.blocks_of(y[f.rows])[here],
                    prices[f.sums], of[here],
                )  # fmt: skip

        self.each_part(multiply)
        own = y[self.border.start : self.coupling.start]
        x[self.small_columns] = self.own.T @ own + self.small_coupled.T @ y[self.coupling]
        return x

    def split(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Columns by family of the program. (column, member) each"""
        found: dict[int, np.ndarray] = {}
        for position, f in zip(self.positions[0], self.lanes, strict=True):
            found[position] = f.from_lanes(x[f.columns], len(f.family.cost))
        first = self.small_columns.start
        for position, family in zip(self.positions[1], self.small, strict=True):
            found[position] = x[first : first + family.cost.size].reshape(family.cost.shape)
            first += family.cost.size
        return tuple(found[position] for position in sorted(found))

    def split_rows(self, y: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows by family of the program. (row, member) each"""
        found: dict[int, np.ndarray] = {}
        for position, f in zip(self.positions[0], self.lanes, strict=True):
            found[position] = f.from_lanes(y[f.rows], f.family.shape.rows)
        first = self.border.start
        for position, family in zip(self.positions[1], self.small, strict=True):
            found[position] = y[first : first + family.row_lower.size].reshape(family.row_lower.shape)
            first += family.row_lower.size
        return tuple(found[position] for position in sorted(found))


def stack_program(program: BlockProgram, pool: ThreadPoolExecutor) -> StackedProgram:
    """Vectors and operators of a block program."""
    large = [k for k, family in enumerate(program.families) if not is_small(family)]
    few = [k for k, family in enumerate(program.families) if is_small(family)]
    lanes, sums = _stack_lanes(program, large)
    small = [program.families[k] for k in few]
    coupling_lower, coupling_upper = program.coupling_bounds()

    def stacked(name: str) -> np.ndarray:
        parts = [f.to_lanes(getattr(f.family, name)).ravel() for f in lanes]
        return np.concatenate([*parts, *(getattr(family, name).ravel() for family in small)])

    rows = len(coupling_lower)
    coupled = [program.weights[k] @ _ports_of(program.families[k]) for k in few]
    return StackedProgram(
        lanes=lanes,
        small=small,
        positions=(large, few),
        own=_block_diagonal([_rows_of(family) for family in small]),
        ports=[program.weights[large[positions[0]]] for positions in sums],
        groups=[(lanes[p[0]].family.groups, lanes[p[0]].family.port_shape.rows) for p in sums],
        small_coupled=sparse.csr_array(sparse.hstack([*coupled, sparse.csr_array((rows, 0))])),
        cost=stacked("cost"),
        lower=stacked("lower"),
        upper=stacked("upper"),
        row_lower=np.concatenate([stacked("row_lower"), coupling_lower]),
        row_upper=np.concatenate([stacked("row_upper"), coupling_upper]),
        constant=program.constant,
        pool=pool,
    )


def is_small(family: Family) -> bool:
    """Few members fill no lanes, and blocks without rows and with one port have nothing to eliminate."""
    return len(family.members) < LANES or (not family.shape.rows and family.port_shape.rows == 1)


def _stack_lanes(program: BlockProgram, large: list[int]) -> tuple[list[LaneFamily], list[list[int]]]:
    """Large families, and which of them share their weights."""
    lanes: list[LaneFamily] = []
    sums: dict[int, list[int]] = {}
    columns = rows = 0
    for k in large:
        weight = id(program.weights[k])
        sums.setdefault(weight, []).append(len(lanes))
        lanes.append(LaneFamily(program.families[k], columns, rows, list(sums).index(weight)))
        columns, rows = lanes[-1].columns.stop, lanes[-1].rows.stop
    return lanes, list(sums.values())


def _block_diagonal(parts: list[sparse.csr_array]) -> sparse.csr_array:
    shapes = np.array([part.shape for part in parts]).reshape(-1, 2).sum(axis=0)
    filled = [part for part in parts if part.shape[0] and part.shape[1]]
    if len(filled) == len(parts) and parts:
        return sparse.csr_array(sparse.block_diag(parts, format="csr"))
    return _place(parts, (int(shapes[0]), int(shapes[1])))


def _place(parts: list[sparse.csr_array], shape: tuple[int, int]) -> sparse.csr_array:
    """Block diagonal with parts that have no rows."""
    row, column, value, first, left = [], [], [], 0, 0
    for part in parts:
        entries = sparse.coo_array(part)
        row.append(first + entries.row)
        column.append(left + entries.col)
        value.append(entries.data)
        first, left = first + part.shape[0], left + part.shape[1]
    if not parts:
        return sparse.csr_array(shape)
    joined = (np.concatenate(value), (np.concatenate(row), np.concatenate(column)))
    return sparse.csr_array(joined, shape=shape)


def _rows_of(family: Family) -> sparse.csr_array:
    shape, members = family.shape, len(family.members)
    row = np.repeat(np.arange(shape.rows), np.diff(shape.start))
    entries = (family.value.ravel(), (_spread(row, members), _spread(shape.column, members)))
    return sparse.csr_array(entries, shape=(family.row_lower.size, family.cost.size))


def _ports_of(family: Family) -> sparse.csr_array:
    """Sums of ports of groups. (group * port, column)"""
    shape, members, ports = family.port_shape, len(family.members), family.port_shape.rows
    port = np.repeat(np.arange(ports), np.diff(shape.start))
    row = (family.group[None, :] * ports + port[:, None]).ravel()
    entries = (family.port_value.ravel(), (row, _spread(shape.column, members)))
    return sparse.csr_array(entries, shape=(family.groups * ports, family.cost.size))


def _spread(place: np.ndarray, members: int) -> np.ndarray:
    """Places of all members, the member innermost."""
    return np.asarray((place[:, None] * members + np.arange(members)).ravel())
