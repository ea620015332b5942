"""The linear program as one sparse matrix: assembled from blocks, or compiled from plain Pyomo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from gridtwin.optimize.block_program import BlockProgram, Family

MANY_ENTRIES = 2
"""A sum over devices that more rows than this use gets a column of its own."""


@dataclass(frozen=True)
class LinearProgram:
    """min c x + constant, row_lower <= A x <= row_upper, lower <= x <= upper.

    Parameters
    ----------
    matrix : csc_array, (row, column)
        A.
    cost, lower, upper : ndarray, (column,)
        Costs and bounds of the columns.
    integer : ndarray of bool, (column,)
        Which columns are whole numbers.
    row_lower, row_upper : ndarray, (row,)
        Bounds of the rows, infinite where there is none.
    constant : float
        Part of the objective without a variable.
    smallest : ndarray, (column,)
        Smallest value beside 0 of semi-continuous columns, NaN for all others.
    """

    matrix: sparse.csc_array
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    constant: float
    smallest: np.ndarray


@dataclass(frozen=True)
class Places:
    """Where the parts of a block program stand in its matrix.

    Parameters
    ----------
    columns : tuple of slice
        Columns of each family, (column, member) with the member innermost.
    coupling : slice
        Coupling rows.
    sums : tuple of SharedSum
        Sums with a column and a row of their own, behind everything else.
    """

    columns: tuple[slice, ...]
    coupling: slice
    sums: tuple[SharedSum, ...] = ()


def assemble(program: BlockProgram, *, shared_sums: bool = True) -> tuple[LinearProgram, Places]:
    """One sparse matrix from all families and coupling rows.

    Parameters
    ----------
    program : BlockProgram
        Families and coupling rows.
    shared_sums : bool
        Whether the power of a bus on a step, which several rows use, becomes a column of its own: the
        matrix is then sparser. False gives the rows as they are written.
    """
    entries, columns, rows = [], 0, 0
    places = []
    for family in program.families:
        entries.append(_block_entries(family.shape, family.value, rows, columns, len(family.members)))
        places.append(slice(columns, columns + family.cost.size))
        columns, rows = columns + family.cost.size, rows + family.row_lower.size
    sums = find_shared_sums(program) if shared_sums else []
    coupling = slice(rows, rows + len(program.lower))
    lower, upper = program.coupling_bounds()
    extra = _add_coupling(program, places, sums, entries, coupling, columns)
    row, column, value = (np.concatenate([part[k] for part in entries]) for k in range(3))
    filled = value != 0
    total = (coupling.stop + extra, columns + extra)
    matrix = sparse.csc_array((value[filled], (row[filled], column[filled])), shape=total)
    free = np.full(extra, np.inf)
    return LinearProgram(
        matrix=matrix,
        cost=np.concatenate([*(f.cost.ravel() for f in program.families), np.zeros(extra)]),
        lower=np.concatenate([*(f.lower.ravel() for f in program.families), -free]),
        upper=np.concatenate([*(f.upper.ravel() for f in program.families), free]),
        integer=np.zeros(total[1], dtype=bool),
        row_lower=np.concatenate([*(f.row_lower.ravel() for f in program.families), lower, np.zeros(extra)]),
        row_upper=np.concatenate([*(f.row_upper.ravel() for f in program.families), upper, np.zeros(extra)]),
        constant=program.constant,
        smallest=np.full(total[1], np.nan),
    ), Places(tuple(places), coupling, tuple(sums))


_Entries = tuple[np.ndarray, np.ndarray, np.ndarray]


def _block_entries(shape: Any, value: np.ndarray, first_row: int, first_column: int, members: int) -> _Entries:
    """Entries of all members; element k of member d stands at first + k * members + d."""
    each = np.arange(members)
    row = np.repeat(np.arange(shape.rows), np.diff(shape.start))
    return (
        (first_row + row[:, None] * members + each).ravel(),
        (first_column + shape.column[:, None] * members + each).ravel(),
        value.ravel(),
    )


@dataclass(frozen=True)
class SharedSum:
    """Families that share their weights, and the sums of their ports that several coupling rows use."""

    families: tuple[int, ...]
    weight: sparse.csr_array
    used: np.ndarray


def find_shared_sums(program: BlockProgram) -> list[SharedSum]:
    """Sums over the devices at a bus that more than a few coupling rows use."""
    of_weight: dict[int, list[int]] = {}
    for position, weight in enumerate(program.weights):
        of_weight.setdefault(id(weight), []).append(position)
    shared = []
    for positions in of_weight.values():
        weight = program.weights[positions[0]]
        uses = np.bincount(weight.indices, minlength=weight.shape[1])
        members = sum(len(program.families[k].members) for k in positions)
        used = np.flatnonzero(uses > MANY_ENTRIES)
        if len(used) and members > program.families[positions[0]].groups:
            shared.append(SharedSum(tuple(positions), weight, used))
    return shared


def _add_coupling(
    program: BlockProgram,
    places: list[slice],
    sums: list[SharedSum],
    entries: list[_Entries],
    coupling: slice,
    columns: int,
) -> int:
    """Write coupling rows, directly or by shared sums; returns the number of sums."""
    extra, row = 0, coupling.stop
    summed = {k: shared for shared in sums for k in shared.families}
    for shared in sums:
        number = np.full(shared.weight.shape[1], -1)
        number[shared.used] = extra + np.arange(len(shared.used))
        weight = sparse.coo_array(shared.weight)
        by_sum = number[weight.col] >= 0
        entries.append((coupling.start + weight.row[by_sum], columns + number[weight.col[by_sum]], weight.data[by_sum]))
        each = extra + np.arange(len(shared.used))
        entries.append((row + each, columns + each, -np.ones(len(each))))
        define = sparse.csr_array(
            (np.ones(len(each)), (np.arange(len(each)), shared.used)), shape=(len(each), shared.weight.shape[1])
        )
        for k in shared.families:
            entries.append(_spread(define, program.families[k], places[k].start, row + extra))
        extra += len(shared.used)
    for k, (family, weight) in enumerate(zip(program.families, program.weights, strict=True)):
        left = weight
        if k in summed:
            kept = np.ones(weight.shape[1])
            kept[summed[k].used] = 0.0
            left = sparse.csr_array(weight * kept[None, :])
            left.eliminate_zeros()
        entries.append(_spread(left, family, places[k].start, coupling.start))
    return extra


def _spread(weight: sparse.csr_array, family: Family, first_column: int, first_row: int) -> _Entries:
    """Weights of group ports as entries of the members' columns."""
    ports, members = family.port_shape.rows, len(family.members)
    if not members or not weight.nnz:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    row = np.repeat(np.arange(ports), np.diff(family.port_shape.start))
    each = np.arange(members)
    # one row per group port, one column per column of a member
    shown = sparse.csr_array(
        (
            family.port_value.ravel(),
            (
                (family.group[None, :] * ports + row[:, None]).ravel(),
                (family.port_shape.column[:, None] * members + each).ravel(),
            ),
        ),
        shape=(family.groups * ports, family.cost.size),
    )
    product = sparse.coo_array(weight @ shown)
    return first_row + product.row, first_column + product.col, product.data


@dataclass(frozen=True)
class CompiledModel:
    """A plain Pyomo model as a matrix, with the way back to its parts by `id`."""

    program: LinearProgram
    column_of: dict[int, int]
    row_of: dict[int, int]
    columns: Sequence[Any]


def compile_linear_program(model: pyo.ConcreteModel) -> CompiledModel:
    """Matrix, costs and bounds of a linear Pyomo model with one objective."""
    form = LinearStandardFormCompiler().write(model, mixed_form=True, set_sense=pyo.minimize)
    kind = np.array([row.bound_type for row in form.rows], dtype=int)
    rhs = np.asarray(form.rhs, dtype=float)
    bounds = [column.bounds for column in form.columns]
    program = LinearProgram(
        matrix=sparse.csc_array(form.A),
        cost=np.asarray(form.c.todense(), dtype=float).ravel(),
        lower=np.array([-np.inf if low is None else low for low, _ in bounds], dtype=float),
        upper=np.array([np.inf if high is None else high for _, high in bounds], dtype=float),
        integer=np.array([not column.is_continuous() for column in form.columns], dtype=bool),
        row_lower=np.where(kind <= 0, rhs, -np.inf),
        row_upper=np.where(kind >= 0, rhs, np.inf),
        constant=float(form.c_offset[0]),
        smallest=np.full(len(form.columns), np.nan),
    )
    return CompiledModel(
        program,
        column_of={id(column): position for position, column in enumerate(form.columns)},
        row_of={id(row.constraint): position for position, row in enumerate(form.rows)},
        columns=form.columns,
    )
