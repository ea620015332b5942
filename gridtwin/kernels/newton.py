"""Newton's method in the layout of a block, for lanes that the chord method leaves unsolved.

Every bus obeys P(V) = P_injected, and either Q(V) = Q_injected or, where it holds its
voltage, |V|² = V_set². The unknowns are re V and im V, so that the Jacobian consists
of 2 x 2 blocks; a step dV moves a voltage along its polar coordinates, which is what
makes Newton's method converge from far. Each lane has its own Jacobian; all lanes
share the pattern of the factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridtwin.kernels.block import (
    FINITE,
    LARGEST,
    NEWTONS,
    SOLVED,
    bus_injection,
    find_mismatch,
    holds,
    limit_of,
    row_current,
)
from gridtwin.kernels.lanes import (
    allocating,
    any_lane,
    apart,
    at_most,
    both,
    either,
    fma,
    fnma,
    greater,
    inner,
    item,
    lane_rows,
    larger,
    load,
    negate,
    root,
    select,
    spread,
    store,
)
from gridtwin.kernels.network_arrays import EMPTY, HELD, Floats, Ints

MOST_NEWTONS = 30
"""Newton steps after which a lane counts as diverged."""
MOST_HALVINGS = 6
"""A Newton step is halved at most this often to make the residual smaller."""
MOST_LIMIT_ROUNDS = 12
"""Rounds in which generators reach their limits of reactive power."""


class Jacobian(NamedTuple):
    """Per-lane blocks of the factors and the work space of one row."""

    lower: Floats
    pivot: Floats
    upper: Floats
    """(4 blocks, lane)"""
    row: Floats
    """The row under work, block k at 4 k: left blocks, diagonal, right blocks. (4 longest row, lane)"""
    slot: Ints
    """Place of a column in the row under work. (n)"""
    work: tuple[Floats, Floats, Floats, Floats, Floats, Floats]
    """Steps, residuals and voltages of Newton's method. (n, lane)"""


@allocating
def allocate_jacobian(pattern, width):  # type: ignore[no-untyped-def]
    """Work space of the factors of one block."""
    n = len(pattern.lower_start) - 1
    longest = 0
    for bus in range(n):
        left = pattern.lower_start[bus + 1] - pattern.lower_start[bus]
        right = pattern.upper_start[bus + 1] - pattern.upper_start[bus]
        longest = max(longest, left + right + 1)
    one, two, three = lane_rows(n, width), lane_rows(n, width), lane_rows(n, width)
    four, five, six = lane_rows(n, width), lane_rows(n, width), lane_rows(n, width)
    return Jacobian(
        lane_rows(4 * len(pattern.lower_column), width),
        lane_rows(4 * n, width),
        lane_rows(4 * len(pattern.upper_column), width),
        lane_rows(4 * longest, width),
        np.zeros(n, dtype=np.int64),
        (one, two, three, four, five, six),
    )


@apart
def _residuals(network, block, f_re, f_im, width):  # type: ignore[no-untyped-def]
    """What every bus lacks to its two equations, and the sum of the squares per lane. [pu]"""
    loads, generators = network.loads, network.generators
    total = spread(0.0, width)
    for bus in range(len(f_re)):
        i_re, i_im = row_current(network.admittances, bus, block.v_re, block.v_im, width)
        vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
        square = fma(vr, vr, vi * vi)
        p, q, _, _ = bus_injection(loads, block, bus, square, width)
        lack_p, lack_q = p - fma(vr, i_re, vi * i_im), q - fnma(vr, i_im, vi * i_re)
        if item(loads.kind, bus) == HELD:
            place = item(generators.place, bus)
            limited = load(block.limited, place, width)
            at_limit = lack_q + limit_of(generators, place, limited, network.base_mva, width)
            lack_q = select(holds(limited), item(generators.vm_squared, place) - square, at_limit)
        store(f_re, bus, lack_p)
        store(f_im, bus, lack_q)
        total = total + fma(lack_p, lack_p, lack_q * lack_q)
    return total


@inner
def slope_of(network, block, bus, width):  # type: ignore[no-untyped-def]
    """- d conj(S(|V|) / V) / dV as a block: what the injection adds to the diagonal. [pu]"""
    vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
    square = fma(vr, vr, vi * vi)
    inverse = 1.0 / square
    v = root(square)
    p, q, slope_p, slope_q = bus_injection(network.loads, block, bus, square, width)
    if item(network.loads.kind, bus) == HELD:
        place = item(network.generators.place, bus)
        limited = load(block.limited, place, width)
        q = q + limit_of(network.generators, place, limited, network.base_mva, width)
    g_re, g_im = fma(p, vr, q * vi) * inverse, fnma(q, vr, p * vi) * inverse
    a, b = fma(slope_p, vr, slope_q * vi) / v, fnma(slope_q, vr, slope_p * vi) / v
    return (
        (fma(g_re * 2.0, vr, 0.0 - p) - a * vr) * inverse,
        (fma(g_re * 2.0, vi, 0.0 - q) - a * vi) * inverse,
        (fma(g_im * 2.0, vr, q) - b * vr) * inverse,
        (fma(g_im * 2.0, vi, 0.0 - p) - b * vi) * inverse,
    )


@inner
def _add_block(row, slot, a, b, c, d, width):  # type: ignore[no-untyped-def]
    store(row, 4 * slot, load(row, 4 * slot, width) + a)
    store(row, 4 * slot + 1, load(row, 4 * slot + 1, width) + b)
    store(row, 4 * slot + 2, load(row, 4 * slot + 2, width) + c)
    store(row, 4 * slot + 3, load(row, 4 * slot + 3, width) + d)


@inner
def _list_slots(pattern, slot, bus):  # type: ignore[no-untyped-def]
    """Place of every column in the row of a bus; returns that of the diagonal and the number of blocks."""
    count = 0
    for place in range(pattern.lower_start[bus], pattern.lower_start[bus + 1]):
        slot[pattern.lower_column[place]] = count
        count += 1
    diagonal = count
    slot[bus] = count
    count += 1
    for place in range(pattern.upper_start[bus], pattern.upper_start[bus + 1]):
        slot[pattern.upper_column[place]] = count
        count += 1
    return diagonal, count


@inner
def _current_row(network, block, jacobian, bus, diagonal, width):  # type: ignore[no-untyped-def]
    """Row of Y - d conj(S / V) / dV: Kirchhoff's current law at a bus of given power."""
    y, slot = network.admittances, jacobian.slot
    for place in range(y.start[bus], y.start[bus + 1]):
        if y.column[place] < len(slot):
            g, b = spread(y.re[place], width), spread(y.im[place], width)
            _add_block(jacobian.row, slot[y.column[place]], g, 0.0 - b, b, g, width)
    if item(network.loads.kind, bus) != EMPTY:
        a, b, c, d = slope_of(network, block, bus, width)
        _add_block(jacobian.row, diagonal, a, b, c, d, width)


@inner
def _power_row(network, block, jacobian, bus, diagonal, width):  # type: ignore[no-untyped-def]
    """Row of the power that flows from a bus; the second equation of a held bus is |V|²."""
    y, slot = network.admittances, jacobian.slot
    zero = spread(0.0, width)
    vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
    square = fma(vr, vr, vi * vi)
    held = greater(zero, zero)
    if item(network.loads.kind, bus) == HELD:
        held = holds(load(block.limited, item(network.generators.place, bus), width))
    for place in range(y.start[bus], y.start[bus + 1]):
        if y.column[place] < len(slot):
            g, b = y.re[place], y.im[place]
            c, d = fnma(vr, b, vi * g), zero - fma(vr, g, vi * b)
            _add_block(
                jacobian.row, slot[y.column[place]],
                fma(vr, g, vi * b), fnma(vr, b, vi * g), select(held, zero, c), select(held, zero, d), width,
            )  # fmt: skip
    i_re, i_im = row_current(y, bus, block.v_re, block.v_im, width)
    _, _, slope_p, slope_q = bus_injection(network.loads, block, bus, square, width)
    v = root(square)
    er, ei = vr / v, vi / v
    c, d = zero - fma(slope_q, er, i_im), fnma(slope_q, ei, i_re)
    _add_block(
        jacobian.row, diagonal, fnma(slope_p, er, i_re), fnma(slope_p, ei, i_im),
        select(held, vr * 2.0, c), select(held, vi * 2.0, d), width,
    )  # fmt: skip


@inner
def _subtract_product(row, at, left, u, place, width):  # type: ignore[no-untyped-def]
    """Block at `at` of the row, less the product of the block `left` with the upper block at `place`."""
    a, b, c, d = left
    ua, ub = load(u, 4 * place, width), load(u, 4 * place + 1, width)
    uc, ud = load(u, 4 * place + 2, width), load(u, 4 * place + 3, width)
    store(row, 4 * at, fnma(b, uc, fnma(a, ua, load(row, 4 * at, width))))
    store(row, 4 * at + 1, fnma(b, ud, fnma(a, ub, load(row, 4 * at + 1, width))))
    store(row, 4 * at + 2, fnma(d, uc, fnma(c, ua, load(row, 4 * at + 2, width))))
    store(row, 4 * at + 3, fnma(d, ud, fnma(c, ub, load(row, 4 * at + 3, width))))


@apart
def factorise(network, block, jacobian, by_current, width):  # type: ignore[no-untyped-def]
    """Factors L U of the Jacobian at the block's voltages, row by row; pivots stay on the diagonal blocks.

    `by_current` puts Kirchhoff's current law in place of the power equations at buses of given power.
    """
    pattern, row, slot = network.pattern, jacobian.row, jacobian.slot
    for bus in range(len(pattern.lower_start) - 1):
        left, count = _list_slots(pattern, slot, bus)
        for k in range(4 * count):
            store(row, k, spread(0.0, width))
        if by_current and item(network.loads.kind, bus) != HELD:
            _current_row(network, block, jacobian, bus, left, width)
        else:
            _power_row(network, block, jacobian, bus, left, width)
        for place in range(pattern.lower_start[bus], pattern.lower_start[bus + 1]):
            column = pattern.lower_column[place]
            at = slot[column]
            a, b = load(row, 4 * at, width), load(row, 4 * at + 1, width)
            c, d = load(row, 4 * at + 2, width), load(row, 4 * at + 3, width)
            pa, pb = load(jacobian.pivot, 4 * column, width), load(jacobian.pivot, 4 * column + 1, width)
            pc, pd = load(jacobian.pivot, 4 * column + 2, width), load(jacobian.pivot, 4 * column + 3, width)
            factor = (fma(a, pa, b * pc), fma(a, pb, b * pd), fma(c, pa, d * pc), fma(c, pb, d * pd))
            store(jacobian.lower, 4 * place, factor[0])
            store(jacobian.lower, 4 * place + 1, factor[1])
            store(jacobian.lower, 4 * place + 2, factor[2])
            store(jacobian.lower, 4 * place + 3, factor[3])
            for other in range(pattern.upper_start[column], pattern.upper_start[column + 1]):
                _subtract_product(row, slot[pattern.upper_column[other]], factor, jacobian.upper, other, width)
        a, b = load(row, 4 * left, width), load(row, 4 * left + 1, width)
        c, d = load(row, 4 * left + 2, width), load(row, 4 * left + 3, width)
        inverse = 1.0 / fnma(b, c, a * d)
        store(jacobian.pivot, 4 * bus, d * inverse)
        store(jacobian.pivot, 4 * bus + 1, 0.0 - b * inverse)
        store(jacobian.pivot, 4 * bus + 2, 0.0 - c * inverse)
        store(jacobian.pivot, 4 * bus + 3, a * inverse)
        first = pattern.upper_start[bus]
        for k in range(4 * (pattern.upper_start[bus + 1] - first)):
            store(jacobian.upper, 4 * first + k, load(row, 4 * (left + 1) + k, width))


@apart
def substitute(pattern, jacobian, x_re, x_im, width):  # type: ignore[no-untyped-def]
    """Solve L U x = x in place for every lane."""
    n = len(pattern.lower_start) - 1
    lower, pivot, upper = jacobian.lower, jacobian.pivot, jacobian.upper
    for bus in range(n):
        re, im = load(x_re, bus, width), load(x_im, bus, width)
        for place in range(item(pattern.lower_start, bus), item(pattern.lower_start, bus + 1)):
            column = item(pattern.lower_column, place)
            yr, yi = load(x_re, column, width), load(x_im, column, width)
            re = fnma(load(lower, 4 * place + 1, width), yi, fnma(load(lower, 4 * place, width), yr, re))
            im = fnma(load(lower, 4 * place + 3, width), yi, fnma(load(lower, 4 * place + 2, width), yr, im))
        store(x_re, bus, re)
        store(x_im, bus, im)
    for back in range(n):
        bus = n - 1 - back
        re, im = load(x_re, bus, width), load(x_im, bus, width)
        for place in range(item(pattern.upper_start, bus), item(pattern.upper_start, bus + 1)):
            column = item(pattern.upper_column, place)
            yr, yi = load(x_re, column, width), load(x_im, column, width)
            re = fnma(load(upper, 4 * place + 1, width), yi, fnma(load(upper, 4 * place, width), yr, re))
            im = fnma(load(upper, 4 * place + 3, width), yi, fnma(load(upper, 4 * place + 2, width), yr, im))
        store(x_re, bus, fma(load(pivot, 4 * bus + 1, width), im, load(pivot, 4 * bus, width) * re))
        store(x_im, bus, fma(load(pivot, 4 * bus + 3, width), im, load(pivot, 4 * bus + 2, width) * re))


@inner
def _move(block, from_re, from_im, step_re, step_im, share, width):  # type: ignore[no-untyped-def]
    """V <- V (1 + share re(dV/V)) turned by share im(dV/V), in lanes whose share is not 0.

    The turn is (1 + jx/2) / (1 - jx/2), of magnitude 1 and within x³/12 of exp(jx).
    """
    for bus in range(len(step_re)):
        vr, vi = load(from_re, bus, width), load(from_im, bus, width)
        dr, di = load(step_re, bus, width), load(step_im, bus, width)
        scale = share / fma(vr, vr, vi * vi)
        grow, turn = fma(fma(dr, vr, di * vi), scale, 1.0), fnma(dr, vi, di * vr) * scale
        square = turn * turn * 0.25
        norm = grow / (square + 1.0)
        c, s = norm * (1.0 - square), norm * turn
        moves = greater(share, 0.0)
        store(block.v_re, bus, select(moves, fnma(vi, s, vr * c), vr))
        store(block.v_im, bus, select(moves, fma(vi, c, vr * s), vi))


@apart
def newton_steps(network, block, jacobian, moving, tolerance, width):  # type: ignore[no-untyped-def]
    """Newton's method in the moving lanes; returns those that arrived.

    A step that does not make the residual smaller is halved: without a solution the
    lane ends near a point of least residual, which tells where the network gives in.
    """
    n = len(network.chord.start_re)
    zero = spread(0.0, width)
    step_re, step_im, next_re, next_im, from_re, from_im = jacobian.work
    arrived = greater(zero, zero)
    counted = load(block.state, NEWTONS, width)
    residual = _residuals(network, block, step_re, step_im, width)
    for _ in range(MOST_NEWTONS):
        counted = select(moving, counted + 1.0, counted)
        factorise(network, block, jacobian, False, width)
        substitute(network.pattern, jacobian, step_re, step_im, width)
        change, total = zero, zero
        for bus in range(n):
            re, im = load(step_re, bus, width), load(step_im, bus, width)
            size = fma(re, re, im * im)
            change, total = larger(size, change), total + size
            store(from_re, bus, load(block.v_re, bus, width))
            store(from_im, bus, load(block.v_im, bus, width))
        change = root(change)
        moving = both(moving, at_most(total, LARGEST))
        share = select(moving, 1.0, zero)
        _move(block, from_re, from_im, step_re, step_im, share, width)
        new = _residuals(network, block, next_re, next_im, width)
        for _ in range(MOST_HALVINGS):
            # At the last digits the residual is noise: a small step is taken as it is.
            worse = both(both(moving, negate(at_most(new, residual))), greater(change, 1e-6))
            if not any_lane(worse):
                break
            share = select(worse, share * 0.5, share)
            _move(block, from_re, from_im, step_re, step_im, share, width)
            new = _residuals(network, block, next_re, next_im, width)
        residual = new
        step_re, next_re = next_re, step_re
        step_im, next_im = next_im, step_im
        there = both(moving, both(at_most(change, tolerance), at_most(residual, LARGEST)))
        arrived = either(arrived, there)
        moving = both(both(moving, negate(there)), at_most(residual, LARGEST))
        if not any_lane(moving):
            break
    store(block.state, NEWTONS, counted)
    return arrived


@apart
def rescue(network, block, jacobian, tolerance_pu, tolerance_mva, width):  # type: ignore[no-untyped-def]
    """Newton's method from the base point in every lane that is not solved but could be."""
    n = len(network.chord.start_re)
    finite = greater(load(block.state, FINITE, width), 0.5)
    solved = greater(load(block.state, SOLVED, width), 0.5)
    moving = both(finite, negate(solved))
    if not any_lane(moving):
        return
    for bus in range(n):
        base_re, base_im = item(network.chord.start_re, bus), item(network.chord.start_im, bus)
        store(block.v_re, bus, select(moving, base_re, load(block.v_re, bus, width)))
        store(block.v_im, bus, select(moving, base_im, load(block.v_im, bus, width)))
    arrived = newton_steps(network, block, jacobian, moving, tolerance_pu, width)
    store(block.state, SOLVED, select(either(solved, arrived), 1.0, spread(0.0, width)))
    find_mismatch(network, block, tolerance_mva, width)


@inner
def held_reactive(network, block, place, width):  # type: ignore[no-untyped-def]
    """Reactive power of the generators at a held bus. [pu]"""
    bus = item(network.generators.bus, place)
    i_re, i_im = row_current(network.admittances, bus, block.v_re, block.v_im, width)
    vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
    _, q, _, _ = bus_injection(network.loads, block, bus, fma(vr, vr, vi * vi), width)
    return fnma(vr, i_im, vi * i_re) - q


@apart
def within_limits(network, block, jacobian, tolerance_pu, tolerance_mva, width):  # type: ignore[no-untyped-def]
    """Generators beyond their limits of reactive power stand at the limit and hold no voltage any more.

    All that violate a limit are set to it at once and stay there, as MATPOWER and
    pandapower do; then the lane is solved again, until none violates a limit.
    """
    generators = network.generators
    zero = spread(0.0, width)
    for _ in range(MOST_LIMIT_ROUNDS):
        solved = greater(load(block.state, SOLVED, width), 0.5)
        moving = greater(zero, zero)
        for place in range(len(generators.bus)):
            q = held_reactive(network, block, place, width) * network.base_mva
            limited = load(block.limited, place, width)
            free = both(solved, holds(limited))
            above = both(free, greater(q, item(generators.q_max_mvar, place) + 1e-9))
            below = both(free, greater(item(generators.q_min_mvar, place) - 1e-9, q))
            store(block.limited, place, select(above, 1.0, select(below, -1.0, limited)))
            moving = either(moving, either(above, below))
        if not any_lane(moving):
            return
        arrived = newton_steps(network, block, jacobian, moving, tolerance_pu, width)
        still = both(solved, negate(moving))
        store(block.state, SOLVED, select(either(still, arrived), 1.0, zero))
        find_mismatch(network, block, tolerance_mva, width)
