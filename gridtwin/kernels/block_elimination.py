"""Normal equations of thousands of blocks of one shape, eliminated side by side.

Blocks of one template have their entries at the same places, so the order of elimination, the fill
and every operation are known once. The numbers of eight blocks stand side by side, and each operation of
the plan is done for all of them by a few vector instructions. For a block with rows A, columns
weighted by theta and ports C the kernel forms

    M = A theta A' + theta_rows                     eliminated as L D L'
    K = C theta C' - (L^-1 A theta C')' D^-1 (L^-1 A theta C')

K is the answer of the ports to their prices, summed over the blocks of a group. Rows are ordered so
that independent ones go first: a chain of T steps then has a tree of log T levels, a
port touches few rows, and K takes about T² operations instead of T³.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 8
"""Blocks side by side."""
SMALLEST_PIVOT = 1e-13
"""Smallest pivot as a share of its row's own size: below it there are no digits left. [-]"""


class EliminationPlan(NamedTuple):
    """What to do with the numbers of one shape; positions count entries of L, pivots first.

    The pivot of row i stands at place i, the entries below it from `column_start[i]` on. A product adds
    `value[a] value[b] theta[c]` to a place of M. Updates of a column are listed pair by pair of its entries. Rows
    of the port matrix V = L^-1 A theta C' hold the ports `v_column`, sorted.
    """

    rows: int
    entries: int
    ports: int
    product_place: Ints
    product_a: Ints
    product_b: Ints
    product_column: Ints
    column_start: Ints
    column_row: Ints
    update_start: Ints
    update_target: Ints
    order: Ints
    v_start: Ints
    v_column: Ints
    v_product_place: Ints
    v_product_a: Ints
    v_product_port: Ints
    v_product_column: Ints
    v_update_start: Ints
    v_update_target: Ints
    v_update_source: Ints
    v_update_entry: Ints
    k_product_place: Ints
    k_product_a: Ints
    k_product_b: Ints
    k_product_column: Ints


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def eliminate_blocks(
    plan: EliminationPlan,
    value: Floats,
    port_value: Floats,
    theta: Floats,
    theta_rows: Floats,
    group: Ints,
    factor: Floats,
    answer: Floats,
) -> None:
    """Factors of all blocks, and the answer of each group's ports.

    Parameters
    ----------
    value : ndarray, (block, entry, lane)
        Entries of A.
    port_value : ndarray, (block, port entry, lane)
        Entries of C.
    theta, theta_rows : ndarray, (block, column or row, lane)
        Weights of columns and rows; 0 where fixed.
    group : ndarray, (block, lane)
        Group of each member, -1 for padding.
    factor : ndarray, (block, entry of L, lane)
        Output: D (inverted) at the pivots, L below them.
    answer : ndarray, (group, pair of ports)
        Output: K, upper triangle row by row, added to what is there.
    """
    v = np.empty((len(plan.v_column), LANES))
    k = np.empty((plan.ports * (plan.ports + 1) // 2, LANES))
    for block in range(len(value)):
        lower = factor[block]
        _fill_normal_matrix(plan, value[block], theta[block], theta_rows[block], lower)
        _eliminate(plan, lower)
        _fill_ports(plan, value[block], port_value[block], theta[block], v, k)
        _reduce_ports(plan, lower, v, k)
        _add_to_groups(k, group[block], answer)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _fill_normal_matrix(plan: EliminationPlan, value: Floats, theta: Floats, theta_rows: Floats, lower: Floats) -> None:
    lower[:] = 0.0
    for i in range(plan.rows):
        for lane in range(LANES):
            lower[i, lane] = theta_rows[plan.order[i], lane]
    for n in range(len(plan.product_place)):
        place, a, b, c = plan.product_place[n], plan.product_a[n], plan.product_b[n], plan.product_column[n]
        for lane in range(LANES):
            lower[place, lane] += value[a, lane] * value[b, lane] * theta[c, lane]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _eliminate(plan: EliminationPlan, lower: Floats) -> None:
    """Right-looking; pivots are inverted, that of an empty row becomes 0 and so leaves it out."""
    size = np.empty((plan.rows, LANES))
    for i in range(plan.rows):
        for lane in range(LANES):
            size[i, lane] = lower[i, lane]
    scaled = np.empty(LANES)
    for i in range(plan.rows):
        for lane in range(LANES):
            least = SMALLEST_PIVOT * size[i, lane]
            pivot = max(lower[i, lane], least)
            lower[i, lane] = 1.0 / pivot if least > 0.0 else 0.0
        update = plan.update_start[i]
        for p in range(plan.column_start[i], plan.column_start[i + 1]):
            for lane in range(LANES):
                scaled[lane] = lower[p, lane] * lower[i, lane]
            for q in range(p, plan.column_start[i + 1]):
                target = plan.update_target[update]
                for lane in range(LANES):
                    lower[target, lane] -= scaled[lane] * lower[q, lane]
                update += 1
        for p in range(plan.column_start[i], plan.column_start[i + 1]):
            for lane in range(LANES):
                lower[p, lane] *= lower[i, lane]


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _fill_ports(plan: EliminationPlan, value: Floats, port_value: Floats, theta: Floats, v: Floats, k: Floats) -> None:
    v[:] = 0.0
    k[:] = 0.0
    for n in range(len(plan.v_product_place)):
        place, a = plan.v_product_place[n], plan.v_product_a[n]
        b, c = plan.v_product_port[n], plan.v_product_column[n]
        for lane in range(LANES):
            v[place, lane] += value[a, lane] * port_value[b, lane] * theta[c, lane]
    for n in range(len(plan.k_product_place)):
        place, a = plan.k_product_place[n], plan.k_product_a[n]
        b, c = plan.k_product_b[n], plan.k_product_column[n]
        for lane in range(LANES):
            k[place, lane] += port_value[a, lane] * port_value[b, lane] * theta[c, lane]


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _reduce_ports(plan: EliminationPlan, lower: Floats, v: Floats, k: Floats) -> None:
    """V by forward substitution, row by row, and each finished row's share of K."""
    scaled = np.empty(LANES)
    for i in range(plan.rows):
        begin, end = plan.v_start[i], plan.v_start[i + 1]
        for a in range(begin, end):
            for lane in range(LANES):
                scaled[lane] = v[a, lane] * lower[i, lane]
            port = plan.v_column[a]
            first = port * (2 * plan.ports - port - 1) // 2
            for b in range(a, end):
                place = first + plan.v_column[b]
                for lane in range(LANES):
                    k[place, lane] -= scaled[lane] * v[b, lane]
        for n in range(plan.v_update_start[i], plan.v_update_start[i + 1]):
            target, source, entry = plan.v_update_target[n], plan.v_update_source[n], plan.v_update_entry[n]
            for lane in range(LANES):
                v[target, lane] -= lower[entry, lane] * v[source, lane]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_to_groups(k: Floats, group: Ints, answer: Floats) -> None:
    for lane in range(LANES):
        g = group[lane]
        if g >= 0:
            for pair in range(len(k)):
                answer[g, pair] += k[pair, lane]


@njit(cache=True)  # type: ignore[untyped-decorator]
def add_symmetric(upper: Floats, rows: Ints, matrix: Floats) -> None:
    """Add a symmetric matrix to the lower triangle of another, whose rows have another order.

    Parameters
    ----------
    upper : ndarray, (part, part)
        What is added; only its upper triangle is read.
    rows : ndarray, (part,)
        Row of `matrix` of each part; several parts may share one.
    matrix : ndarray, (row, row)
        Changed in its lower triangle.
    """
    for i in range(len(rows)):
        for j in range(i, len(rows)):
            one, other = rows[i], rows[j]
            if one > other:
                matrix[one, other] += upper[i, j]
            elif one < other:
                matrix[other, one] += upper[i, j]
            elif i == j:
                matrix[one, one] += upper[i, j]
            else:
                matrix[one, one] += 2 * upper[i, j]


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def solve_blocks(plan: EliminationPlan, factor: Floats, rhs: Floats) -> None:
    """M^-1 of a right-hand side, in place. rhs: (block, row, lane)"""
    x = np.empty((plan.rows, LANES))
    for block in range(len(rhs)):
        lower, right = factor[block], rhs[block]
        for i in range(plan.rows):
            for lane in range(LANES):
                x[i, lane] = right[plan.order[i], lane]
        for i in range(plan.rows):
            for p in range(plan.column_start[i], plan.column_start[i + 1]):
                row = plan.column_row[p - plan.rows]
                for lane in range(LANES):
                    x[row, lane] -= lower[p, lane] * x[i, lane]
        for i in range(plan.rows - 1, -1, -1):
            for lane in range(LANES):
                x[i, lane] *= lower[i, lane]
            for p in range(plan.column_start[i], plan.column_start[i + 1]):
                row = plan.column_row[p - plan.rows]
                for lane in range(LANES):
                    x[i, lane] -= lower[p, lane] * x[row, lane]
        for i in range(plan.rows):
            for lane in range(LANES):
                right[plan.order[i], lane] = x[i, lane]


class LaneShape(NamedTuple):
    """Compressed rows of A and of C."""

    start: Ints
    column: Ints
    port_start: Ints
    port_column: Ints


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def multiply_blocks(
    shape: LaneShape, value: Floats, port_value: Floats, group: Ints, x: Floats, rows: Floats, sums: Floats
) -> None:
    """A x of every block, and C x added to the sums of its group.

    x: (block, column, lane), rows: (block, row, lane), sums: (group, port)
    """
    total = np.empty(LANES)
    for block in range(len(value)):
        a, c, here = value[block], port_value[block], x[block]
        for row in range(len(shape.start) - 1):
            total[:] = 0.0
            for n in range(shape.start[row], shape.start[row + 1]):
                column = shape.column[n]
                for lane in range(LANES):
                    total[lane] += a[n, lane] * here[column, lane]
            for lane in range(LANES):
                rows[block, row, lane] = total[lane]
        for port in range(len(shape.port_start) - 1):
            total[:] = 0.0
            for n in range(shape.port_start[port], shape.port_start[port + 1]):
                column = shape.port_column[n]
                for lane in range(LANES):
                    total[lane] += c[n, lane] * here[column, lane]
            for lane in range(LANES):
                if group[block, lane] >= 0:
                    sums[group[block, lane], port] += total[lane]


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def multiply_transposed(
    shape: LaneShape, value: Floats, port_value: Floats, group: Ints, y: Floats, price: Floats, x: Floats
) -> None:
    """A'y + C'(price of the group's ports) of every block. y: (block, row, lane), price: (group, port)"""
    for block in range(len(value)):
        a, c, here = value[block], port_value[block], x[block]
        here[:] = 0.0
        for row in range(len(shape.start) - 1):
            for n in range(shape.start[row], shape.start[row + 1]):
                column = shape.column[n]
                for lane in range(LANES):
                    here[column, lane] += a[n, lane] * y[block, row, lane]
        for port in range(len(shape.port_start) - 1):
            for n in range(shape.port_start[port], shape.port_start[port + 1]):
                column = shape.port_column[n]
                for lane in range(LANES):
                    # padding has no entries, so that the price of any group will do
                    here[column, lane] += c[n, lane] * price[group[block, lane], port]
