"""The state of a block of steps, and the equations that it has to meet.

A block is a few steps side by side: arrays are (element, lane). It is allocated once
per call and used for one block of steps after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridtwin.kernels.lanes import (
    allocating,
    any_lane,
    at_most,
    both,
    fma,
    fnma,
    gather,
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

LARGEST = 1e150
"""Anything above counts as not finite, so that squares stay finite. [pu]"""


class Block(NamedTuple):
    """State of one block; allocated once per call and used for block after block."""

    s_re: Floats
    s_im: Floats
    """Constant-power injection. (loaded, lane) [pu]"""
    mix: Floats
    """Constant-current P and Q, constant-impedance P and Q. (4 mixed, lane) [pu]"""
    v_re: Floats
    v_im: Floats
    """Voltages. (n + slack, lane) [pu]"""
    w_re: Floats
    w_im: Floats
    """Right-hand side after the lower factor; free once the block is solved. (n + 1, lane) [pu]"""
    limited: Floats
    """1 where a generator stands at its upper limit of Q, -1 at the lower. (generator, lane)"""
    p_mw: Floats
    q_mvar: Floats
    """The block's rows of the injections. (lane, column) [MW], [Mvar]"""
    rows: Ints
    """Where the rows of the lanes' steps begin in some table. (lane)"""
    state: Floats
    """Rows `SOLVED` to `NEWTONS`. (6, lane)"""


SOLVED, FINITE, MISMATCH, WORST, CHORDS, NEWTONS = range(6)
"""Rows of `Block.state`: whether the step is solved, and its input finite; largest power mismatch [pu] and
its bus; iterations of either method."""


@allocating
def allocate_block(network, columns, width):  # type: ignore[no-untyped-def]
    """Work space of one block, for injections from tables of so many columns."""
    n = len(network.chord.start_re)
    buses = n + len(network.slack_re)
    loaded = len(network.loads.fixed_p_mw)
    mixed = 0
    for k in range(loaded):
        mixed = max(mixed, network.loads.mixed[k] + 1)
    return Block(
        lane_rows(loaded, width),
        lane_rows(loaded, width),
        lane_rows(4 * mixed, width),
        lane_rows(buses, width),
        lane_rows(buses, width),
        lane_rows(n + 1, width),
        lane_rows(n + 1, width),
        lane_rows(len(network.generators.bus), width),
        np.empty((len(width), columns)),
        np.empty((len(width), columns)),
        np.empty(len(width), dtype=np.int64),
        lane_rows(6, width),
    )


@inner
def row_starts(steps, columns, rows):  # type: ignore[no-untyped-def]
    """Where the rows of a block's steps begin in a table of so many columns."""
    for lane in range(len(rows)):
        rows[lane] = steps[lane] * columns


# Injections ---------------------------------------------------------------------------------------


@inner
def _copy_rows(table, steps, copy):  # type: ignore[no-untyped-def]
    """The rows of a block's steps, read one after the other: walking down a column of a long table waits for memory."""
    for lane in range(len(copy)):
        for column in range(table.shape[1]):
            copy[lane, column] = table[steps[lane], column]


@inner
def gather_injections(loads, injections, base_mva, steps, block, width):  # type: ignore[no-untyped-def]
    """Injection of every loaded bus in the steps of a block; a lane with a gap becomes 0 and is marked. [pu]"""
    _copy_rows(injections.p_mw, steps, block.p_mw)
    _copy_rows(injections.q_mvar, steps, block.q_mvar)
    for lane in range(len(width)):
        block.rows[lane] = lane * injections.p_mw.shape[1]
    per_mva = 1.0 / base_mva
    zero = spread(0.0, width)
    finite = at_most(zero, zero)
    for k in range(len(loads.fixed_p_mw)):
        p, q = spread(item(loads.fixed_p_mw, k), width), spread(item(loads.fixed_q_mvar, k), width)
        mixed = item(loads.mixed, k)
        ip, iq, zp, zq = zero, zero, zero, zero
        for place in range(item(loads.start, k), item(loads.start, k + 1)):
            asset = item(loads.asset, place)
            column = item(injections.column, asset)
            asset_p = gather(block.p_mw, block.rows, column, width) * item(injections.p_factor, asset)
            asset_q = gather(block.q_mvar, block.rows, column, width) * item(injections.q_factor, asset)
            if mixed >= 0:
                ip = fma(asset_p, item(loads.current_p, asset), ip)
                iq = fma(asset_q, item(loads.current_q, asset), iq)
                zp = fma(asset_p, item(loads.impedance_p, asset), zp)
                zq = fma(asset_q, item(loads.impedance_q, asset), zq)
                asset_p = asset_p * (1.0 - item(loads.current_p, asset) - item(loads.impedance_p, asset))
                asset_q = asset_q * (1.0 - item(loads.current_q, asset) - item(loads.impedance_q, asset))
            p, q = p + asset_p, q + asset_q
        if mixed >= 0:
            store(block.mix, 4 * mixed, ip * per_mva)
            store(block.mix, 4 * mixed + 1, iq * per_mva)
            store(block.mix, 4 * mixed + 2, zp * per_mva)
            store(block.mix, 4 * mixed + 3, zq * per_mva)
            finite = both(finite, at_most(fma(ip, ip, iq * iq) + fma(zp, zp, zq * zq), LARGEST))
        finite = both(finite, at_most(fma(p, p, q * q), LARGEST))
        store(block.s_re, k, p * per_mva)
        store(block.s_im, k, q * per_mva)
    store(block.state, FINITE, select(finite, 1.0, zero))
    if any_lane(negate(finite)):
        for k in range(len(block.s_re)):
            store(block.s_re, k, select(finite, load(block.s_re, k, width), 0.0))
            store(block.s_im, k, select(finite, load(block.s_im, k, width), 0.0))
        for k in range(len(block.mix)):
            store(block.mix, k, select(finite, load(block.mix, k, width), 0.0))


@inner
def start_block(network, block, width):  # type: ignore[no-untyped-def]
    """Every lane at the base point."""
    n = len(network.chord.start_re)
    for bus in range(n):
        store(block.v_re, bus, spread(network.chord.start_re[bus], width))
        store(block.v_im, bus, spread(network.chord.start_im[bus], width))
    for slack in range(len(network.slack_re)):
        store(block.v_re, n + slack, spread(network.slack_re[slack], width))
        store(block.v_im, n + slack, spread(network.slack_im[slack], width))
    for generator in range(len(network.generators.bus)):
        store(block.limited, generator, spread(0.0, width))


# Equations ----------------------------------------------------------------------------------------


@inner
def row_current(admittances, bus, v_re, v_im, width):  # type: ignore[no-untyped-def]
    """Current from a bus into the network, Y V. [pu]"""
    i_re, i_im = spread(0.0, width), spread(0.0, width)
    for place in range(item(admittances.start, bus), item(admittances.start, bus + 1)):
        column = item(admittances.column, place)
        g, b = item(admittances.re, place), item(admittances.im, place)
        vr, vi = load(v_re, column, width), load(v_im, column, width)
        i_re = fnma(vi, b, fma(vr, g, i_re))
        i_im = fma(vi, g, fma(vr, b, i_im))
    return i_re, i_im


@inner
def mixed_power(mix, mixed, p, q, square, width):  # type: ignore[no-untyped-def]
    """P and Q of a bus with constant current and impedance at |V|² = `square`, and their slopes by |V|. [pu]"""
    v = root(square)
    ip, iq = load(mix, 4 * mixed, width), load(mix, 4 * mixed + 1, width)
    zp, zq = load(mix, 4 * mixed + 2, width), load(mix, 4 * mixed + 3, width)
    p = fma(zp, square, fma(ip, v, p))
    q = fma(zq, square, fma(iq, v, q))
    return p, q, fma(zp + zp, v, ip), fma(zq + zq, v, iq)


@inner
def bus_injection(loads, block, bus, square, width):  # type: ignore[no-untyped-def]
    """P and Q that are injected at a bus, and their slopes by |V|. [pu]"""
    zero = spread(0.0, width)
    p, q, slope_p, slope_q = zero, zero, zero, zero
    if item(loads.kind, bus) != EMPTY:
        k = item(loads.place, bus)
        p, q = load(block.s_re, k, width), load(block.s_im, k, width)
        if item(loads.mixed, k) >= 0:
            p, q, slope_p, slope_q = mixed_power(block.mix, item(loads.mixed, k), p, q, square, width)
    return p, q, slope_p, slope_q


@inner
def lacking(network, block, bus, width):  # type: ignore[no-untyped-def]
    """Power that leaves a bus beyond what is injected there, and what is injected. [pu]"""
    i_re, i_im = row_current(network.admittances, bus, block.v_re, block.v_im, width)
    vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
    square = fma(vr, vr, vi * vi)
    p, q, _, _ = bus_injection(network.loads, block, bus, square, width)
    return fma(vr, i_re, vi * i_im) - p, fnma(vr, i_im, vi * i_re) - q, p, q, square


@inner
def find_mismatch(network, block, tolerance_mva, width):  # type: ignore[no-untyped-def]
    """Largest power mismatch of every lane and its bus; a solved lane above the tolerance is solved no more.

    The tolerance grows with the largest injection above 1 MVA: an error of 1e-9 pu in
    the voltage at a bus of 1 GVA is 1 VA already. At a bus that holds its voltage the
    reactive power is free, and |V|² takes its place.
    """
    generators = network.generators
    zero = spread(0.0, width)
    worst, bus_of_worst, largest, total = zero, zero, zero, zero
    for bus in range(len(network.chord.start_re)):
        if item(network.loads.kind, bus) != HELD:
            wrong_p, wrong_q, p, q, _ = lacking(network, block, bus, width)
            size = fma(wrong_p, wrong_p, wrong_q * wrong_q)
            total = total + size
            found = greater(size, worst)
            worst, bus_of_worst = select(found, size, worst), select(found, float(bus), bus_of_worst)
            largest = larger(fma(p, p, q * q), largest)
    # A loop of its own: inside the other one this branch, though never taken, made it eight times slower.
    for place in range(len(generators.bus)):
        bus = item(generators.bus, place)
        wrong_p, wrong_q, p, q, square = lacking(network, block, bus, width)
        limited = load(block.limited, place, width)
        wrong_q = wrong_q - limit_of(generators, place, limited, network.base_mva, width)
        wrong_q = select(holds(limited), square - item(generators.vm_squared, place), wrong_q)
        size = fma(wrong_p, wrong_p, wrong_q * wrong_q)
        total = total + size
        found = greater(size, worst)
        worst, bus_of_worst = select(found, size, worst), select(found, float(bus), bus_of_worst)
        largest = larger(fma(p, p, q * q), largest)
    worst, scale = root(worst), root(largest) * network.base_mva
    allowed = tolerance_mva * select(greater(scale, 1.0), scale, 1.0)
    balanced = both(at_most(worst * network.base_mva, allowed), at_most(total, LARGEST))
    store(block.state, MISMATCH, worst)
    store(block.state, WORST, bus_of_worst)
    store(block.state, SOLVED, select(balanced, load(block.state, SOLVED, width), 0.0))


@inner
def holds(limited):  # type: ignore[no-untyped-def]
    """Lanes in which a generator is not at a limit of reactive power, and so holds its voltage."""
    return at_most(limited * limited, 0.5)


@inner
def limit_of(generators, place, limited, base_mva, width):  # type: ignore[no-untyped-def]
    """Reactive power of a generator that stands at a limit, 0 for one that does not. [pu]"""
    low, high = item(generators.q_min_mvar, place) / base_mva, item(generators.q_max_mvar, place) / base_mva
    at_low = select(greater(-0.5, limited), low, spread(0.0, width))
    return select(greater(limited, 0.5), high, at_low)
