"""Balanced AC power flow of blocks of steps.

The network equations are linearised and factorised once, at a base point; a step
then repeats J V <- g(V) with the same factors, where g is what the linear part
leaves over (the chord method; with no load at the base point it is the implicit
Z-bus Gauss method). A block of steps is carried side by side, arrays are
[element][lane]: one pass over the factors serves all lanes. A lane stands still as
soon as it has converged, so that no result depends on its neighbours, on the width
of the block or on threads. A lane that converges slowly or not at all, or violates
a limit of reactive power, goes to Newton's method (`newton.py`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gridtwin.kernels.block import (
    CHORDS,
    FINITE,
    LARGEST,
    NEWTONS,
    SOLVED,
    allocate_block,
    bus_injection,
    find_mismatch,
    gather_injections,
    mixed_power,
    row_current,
    start_block,
)
from gridtwin.kernels.lanes import (
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
from gridtwin.kernels.network_arrays import EMPTY, HELD, MIXED
from gridtwin.kernels.newton import allocate_jacobian, factorise, newton_steps, rescue, slope_of, within_limits
from gridtwin.kernels.results import write_results

MOST_CHORDS = 60
"""Iterations after which a lane is left to Newton's method."""
SLOW = 0.6
"""Contraction at which a lane is left to Newton's method: ten digits would take 45 iterations."""


# Chord iterations ---------------------------------------------------------------------------------


@inner
def _held_side(network, block, bus, width):  # type: ignore[no-untyped-def]
    """Side g of a bus that holds its voltage: first the power equation, then |V|².

    P(V) = V . I(V) is linear in V for fixed I and the reverse, so that its linear part
    at the base point is V0 . I(V) + V . I0, less the slacks' constant share of I.
    """
    chord, generators = network.chord, network.generators
    place = item(generators.place, bus)
    i_re, i_im = row_current(network.admittances, bus, block.v_re, block.v_im, width)
    vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
    square = fma(vr, vr, vi * vi)
    p, _, _, _ = bus_injection(network.loads, block, bus, square, width)
    sr, si = item(chord.start_re, bus), item(chord.start_im, bus)
    # The constant flows from the slacks into the bus: Y V without the slacks is I + constant.
    inner_re, inner_im = i_re + item(chord.constant_re, bus), i_im + item(chord.constant_im, bus)
    linear = fma(inner_re, sr, inner_im * si)
    linear = fma(vr, item(generators.base_re, place), fma(vi, item(generators.base_im, place), linear))
    power = linear - fma(vr, i_re, vi * i_im) + p
    held = fma(vr, 2.0 * sr, vi * (2.0 * si)) - square + item(generators.vm_squared, place)
    return power, held


@inner
def _mixed_side(loads, k, mix, p, q, vr, vi, width):  # type: ignore[no-untyped-def]
    """conj(S(|V|) / V) of a bus with constant current or impedance."""
    square = fma(vr, vr, vi * vi)
    p, q, _, _ = mixed_power(mix, item(loads.mixed, k), p, q, square, width)
    return fma(p, vr, q * vi) / square, fnma(q, vr, p * vi) / square


@inner
def chord_iterations(network, block, tolerance, width):  # type: ignore[no-untyped-def]
    """J V <- g(V) until each lane stands still; a lane that does not is left unsolved.

    The contraction of the last two changes gives the distance from the fixed point,
    change * ratio / (1 - ratio): at a small ratio this saves an iteration, at a large
    one it keeps a lane from stopping far from the solution.
    """
    pattern, chord, loads = network.pattern, network.chord, network.loads
    v_re, v_im, w_re, w_im = block.v_re, block.v_im, block.w_re, block.w_im
    n = len(chord.start_re)
    moving = greater(load(block.state, FINITE, width), 0.5)
    solved = negate(moving)
    # Without a change before it the first one has no contraction: a lane cannot arrive in one iteration.
    last, counted = spread(1e-300, width), spread(0.0, width)
    for iteration in range(1, MOST_CHORDS + 1):
        for bus in range(n):
            g_re, g_im = spread(item(chord.constant_re, bus), width), spread(item(chord.constant_im, bus), width)
            kind = item(loads.kind, bus)
            if kind != EMPTY:
                k = item(loads.place, bus)
                p, q = load(block.s_re, k, width), load(block.s_im, k, width)
                vr, vi = load(v_re, bus, width), load(v_im, bus, width)
                if kind == HELD:
                    g_re, g_im = _held_side(network, block, bus, width)
                else:
                    if kind == MIXED:
                        x_re, x_im = _mixed_side(loads, k, block.mix, p, q, vr, vi, width)
                        g_re, g_im = g_re + x_re, g_im + x_im
                    else:
                        inverse = 1.0 / fma(vr, vr, vi * vi)
                        g_re = fma(fma(p, vr, q * vi), inverse, g_re)
                        g_im = fma(fnma(q, vr, p * vi), inverse, g_im)
                    g_re = fma(vr, item(chord.slope, 4 * bus), fma(vi, item(chord.slope, 4 * bus + 1), g_re))
                    g_im = fma(vr, item(chord.slope, 4 * bus + 2), fma(vi, item(chord.slope, 4 * bus + 3), g_im))
            for block_place in range(item(pattern.lower_start, bus), item(pattern.lower_start, bus + 1)):
                column = item(pattern.lower_column, block_place)
                x_re, x_im = load(w_re, column, width), load(w_im, column, width)
                at = 4 * block_place
                g_re = fnma(x_im, item(chord.lower, at + 1), fnma(x_re, item(chord.lower, at), g_re))
                g_im = fnma(x_im, item(chord.lower, at + 3), fnma(x_re, item(chord.lower, at + 2), g_im))
            store(w_re, bus, g_re)
            store(w_im, bus, g_im)
        change = spread(0.0, width)
        for back in range(n):
            bus = n - 1 - back
            x_re, x_im = load(w_re, bus, width), load(w_im, bus, width)
            new_re = fma(x_im, item(chord.pivot, 4 * bus + 1), x_re * item(chord.pivot, 4 * bus))
            new_im = fma(x_im, item(chord.pivot, 4 * bus + 3), x_re * item(chord.pivot, 4 * bus + 2))
            for block_place in range(item(pattern.upper_start, bus), item(pattern.upper_start, bus + 1)):
                column = item(pattern.upper_column, block_place)
                x_re, x_im = load(v_re, column, width), load(v_im, column, width)
                at = 4 * block_place
                new_re = fnma(x_im, item(chord.upper, at + 1), fnma(x_re, item(chord.upper, at), new_re))
                new_im = fnma(x_im, item(chord.upper, at + 3), fnma(x_re, item(chord.upper, at + 2), new_im))
            vr, vi = load(v_re, bus, width), load(v_im, bus, width)
            step_re, step_im = new_re - vr, new_im - vi
            change = larger(change, fma(step_re, step_re, step_im * step_im))
            store(v_re, bus, select(moving, new_re, vr))
            store(v_im, bus, select(moving, new_im, vi))
        change = root(change)
        counted = select(moving, float(iteration), counted)
        ratio = change / last
        arrived = at_most(change * ratio, tolerance * (1.0 - ratio))
        # A change at the last digit of the voltage has no meaningful ratio any more.
        arrived = either(arrived, at_most(change, 1e-15))
        sane = at_most(change, LARGEST)
        if iteration > 4:
            sane = both(sane, either(at_most(ratio, SLOW), at_most(change, tolerance)))
        solved = either(solved, both(moving, arrived))
        moving = both(both(moving, negate(arrived)), sane)
        last = larger(change, 1e-300)
        if not any_lane(moving):
            break
    store(block.state, SOLVED, select(solved, 1.0, spread(0.0, width)))
    store(block.state, CHORDS, counted)


# One block ----------------------------------------------------------------------------------------


@apart
def solve_block(network, injections, steps, block, jacobian, tolerance_pu, tolerance_mva, enforce_q_limits, width):  # type: ignore[no-untyped-def]
    """Voltages of the steps of one block, from chord iterations and, where those fail, Newton's method."""
    gather_injections(network.loads, injections, network.base_mva, steps, block, width)
    start_block(network, block, width)
    store(block.state, NEWTONS, spread(0.0, width))
    chord_iterations(network, block, tolerance_pu, width)
    find_mismatch(network, block, tolerance_mva, width)
    state = load(block.state, SOLVED, width)
    if any_lane(at_most(state, 0.5)):
        rescue(network, block, jacobian, tolerance_pu, tolerance_mva, width)
    if enforce_q_limits and len(network.generators.bus) > 0:
        within_limits(network, block, jacobian, tolerance_pu, tolerance_mva, width)


# All steps ----------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def solve_steps(network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, outputs, width):  # type: ignore[no-untyped-def]
    """Power flow of the given steps.

    The interpreter lock is released: threads may work on different steps.

    Parameters
    ----------
    network : NetworkArrays
        The compiled network.
    injections : Injections
        Power of every asset and step, generation positive. [MW], [Mvar]
    steps : ndarray of int, (any,)
        Steps to solve, in this order: rows of `injections` and `outputs`.
    tolerance_pu : float
        Distance from the solution at which a voltage has converged. [pu]
    tolerance_mva : float
        Largest power mismatch of a solved step, at injections up to 1 MVA. [MVA]
    enforce_q_limits : bool
        Whether generators stop holding their voltage at a limit of reactive power.
    outputs : Outputs
        Out: rows of the given steps; NaN where a step has no solution.
    width : tuple
        `LANES_8` or `LANES_16`: steps per block. Results do not depend on it.
    """
    block = allocate_block(network, injections.p_mw.shape[1], width)
    jacobian = allocate_jacobian(network.pattern, width)
    rows = np.empty(len(width), dtype=np.int64)
    _solve_blocks(
        network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, block, jacobian, rows, outputs, width
    )


@apart
def _solve_blocks(  # type: ignore[no-untyped-def]
    network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, block, jacobian, rows, outputs, width
):
    """Block after block, without any allocation."""
    for first in range(0, len(steps), len(width)):
        lanes = min(len(width), len(steps) - first)
        for lane in range(len(width)):
            rows[lane] = steps[first + min(lane, lanes - 1)]
        solve_block(network, injections, rows, block, jacobian, tolerance_pu, tolerance_mva, enforce_q_limits, width)
        write_results(network, block, rows, lanes, outputs, width)


# The base point -----------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def linearise(network, injections, tolerance_pu, solve, chord, width):  # type: ignore[no-untyped-def]
    """Solve the first step of `injections` from the start voltages, and linearise and factorise there.

    Parameters
    ----------
    network : NetworkArrays
        Only its start voltages are used of the chord.
    injections : Injections
        One row: the base point.
    tolerance_pu : float
        Of Newton's method. [pu]
    solve : bool
        False keeps the start voltages as they are.
    chord : Chord
        Out: all fields but the constants.
    width : tuple
        Any; only the first lane is used.

    Returns
    -------
    bool
        Whether the base point has a solution; without one nothing is written.
    """
    pattern = network.pattern
    n = len(chord.start_re)
    block = allocate_block(network, injections.p_mw.shape[1], width)
    jacobian = allocate_jacobian(pattern, width)
    gather_injections(network.loads, injections, network.base_mva, np.zeros(len(width), dtype=np.int64), block, width)
    start_block(network, block, width)
    store(block.state, NEWTONS, spread(0.0, width))
    if solve:
        moving = greater(load(block.state, FINITE, width), 0.5)
        arrived = newton_steps(network, block, jacobian, moving, tolerance_pu, width)
        if not any_lane(arrived):
            return False
    factorise(network, block, jacobian, True, width)
    first = lane_rows(4, width)
    for bus in range(n):
        chord.start_re[bus], chord.start_im[bus] = block.v_re[bus, 0], block.v_im[bus, 0]
        if network.loads.kind[bus] != EMPTY and network.loads.kind[bus] != HELD:
            a, b, c, d = slope_of(network, block, bus, width)
            store(first, 0, a)
            store(first, 1, b)
            store(first, 2, c)
            store(first, 3, d)
            for k in range(4):
                chord.slope[4 * bus + k] = first[k, 0]
        for k in range(4):
            chord.pivot[4 * bus + k] = jacobian.pivot[4 * bus + k, 0]
        pa, pb = chord.pivot[4 * bus], chord.pivot[4 * bus + 1]
        pc, pd = chord.pivot[4 * bus + 2], chord.pivot[4 * bus + 3]
        for place in range(pattern.upper_start[bus], pattern.upper_start[bus + 1]):
            ua, ub = jacobian.upper[4 * place, 0], jacobian.upper[4 * place + 1, 0]
            uc, ud = jacobian.upper[4 * place + 2, 0], jacobian.upper[4 * place + 3, 0]
            chord.upper[4 * place], chord.upper[4 * place + 1] = pa * ua + pb * uc, pa * ub + pb * ud
            chord.upper[4 * place + 2], chord.upper[4 * place + 3] = pc * ua + pd * uc, pc * ub + pd * ud
    for k in range(4 * len(pattern.lower_column)):
        chord.lower[k] = jacobian.lower[k, 0]
    return True
