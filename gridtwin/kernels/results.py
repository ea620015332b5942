"""From the voltages of a block to what was asked for: magnitudes, angles, loadings, losses, flows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gridtwin.kernels.block import (
    CHORDS,
    FINITE,
    MISMATCH,
    NEWTONS,
    SOLVED,
    WORST,
    lacking,
    row_starts,
)
from gridtwin.kernels.lanes import (
    atan2,
    fma,
    fnma,
    greater,
    inner,
    item,
    larger,
    load,
    root,
    scatter,
    select,
    spread,
)
from gridtwin.kernels.network_arrays import Floats, Ints
from gridtwin.kernels.newton import held_reactive

OK, DIVERGED, NOT_FINITE = 0, 1, 2
"""Status of a step."""


class Outputs(NamedTuple):
    """What is asked for, one row per step; an array that nobody asked for has no rows."""

    vm_pu: Floats
    va_degree: Floats
    """(step, bus); NaN without supply. [pu], [degree]"""
    loading_percent: Floats
    loading_by_power_percent: Floats
    i_ka: Floats
    p_loss_mw: Floats
    p_branch_mw: Floats
    q_branch_mvar: Floats
    """(step, branch); current at the more loaded end, flow into the from or hv side.
    [%], [%], [kA], [MW], [MW], [Mvar]"""
    q_held_mvar: Floats
    """Reactive power of all generators at a bus that holds its voltage. (step, generator) [Mvar]"""
    p_slack_mw: Floats
    q_slack_mvar: Floats
    """Delivered by the upstream network. (step) [MW], [Mvar]"""
    mismatch_mva: Floats
    """Largest power that is missing at a bus, also of steps without solution. (step) [MVA]"""
    worst_bus: Ints
    """The bus where it is missing, in elimination order. (step)"""
    status: Ints
    iterations: Ints
    newton_iterations: Ints
    """0 solved, 1 diverged, 2 input not finite; iterations of either method. (step)"""


@inner
def branch_loading(branches, branch, block, width):  # type: ignore[no-untyped-def]
    """Squares of the loading by current and of the current of the more loaded end; without a rating, of the larger.

    [%²], [kA²]
    """
    first = item(branches.start, branch)
    rated = has_rating(branches, branch)
    loading, current = spread(0.0, width), spread(0.0, width)
    for terminal in range(first, item(branches.start, branch + 1)):
        i_re, i_im = terminal_current(branches, terminal, block.v_re, block.v_im, width)
        square = fma(i_re, i_re, i_im * i_im)
        ka = item(branches.ka, terminal)
        weight = item(branches.percent, terminal) if rated else ka
        weighed = square * (weight * weight)
        more = greater(weighed, loading)
        loading, current = select(more, weighed, loading), select(more, square * (ka * ka), current)
    return loading, current


@inner
def has_rating(branches, branch):  # type: ignore[no-untyped-def]
    """Whether the loading of a branch is defined."""
    return np.isfinite(item(branches.percent, item(branches.start, branch)))


@inner
def branch_power(branches, branch, block, width):  # type: ignore[no-untyped-def]
    """Losses, flow into the first terminal, and the square of the loading by apparent power. [pu], [%²]"""
    first = item(branches.start, branch)
    zero = spread(0.0, width)
    loss, first_p, first_q, by_power = zero, zero, zero, zero
    for terminal in range(first, item(branches.start, branch + 1)):
        i_re, i_im = terminal_current(branches, terminal, block.v_re, block.v_im, width)
        bus = item(branches.bus, terminal)
        vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
        p, q = fma(vr, i_re, vi * i_im), fnma(vr, i_im, vi * i_re)
        percent = item(branches.percent_by_power, terminal)
        loss, by_power = loss + p, larger(by_power, fma(p, p, q * q) * (percent * percent))
        if terminal == first:
            first_p, first_q = p, q
    return loss, first_p, first_q, by_power


@inner
def terminal_current(branches, terminal, v_re, v_im, width):  # type: ignore[no-untyped-def]
    """Current into a branch at one of its terminals. [pu]"""
    bus, other = item(branches.bus, terminal), item(branches.other, terminal)
    a, b = item(branches.self_re, terminal), item(branches.self_im, terminal)
    c, d = item(branches.mutual_re, terminal), item(branches.mutual_im, terminal)
    vr, vi = load(v_re, bus, width), load(v_im, bus, width)
    ur, ui = load(v_re, other, width), load(v_im, other, width)
    i_re = fnma(ui, d, fma(ur, c, fnma(vi, b, vr * a)))
    i_im = fma(ui, c, fma(ur, d, fma(vi, a, vr * b)))
    return i_re, i_im


# One row per step ---------------------------------------------------------------------------------


@inner
def write_results(network, block, steps, lanes, outputs, width):  # type: ignore[no-untyped-def]
    """Everything that was asked for, in the rows of the block's steps; NaN for a lane without solution.

    Lanes behind the last step repeat it, and write the same into the same row.
    """
    solved = greater(load(block.state, SOLVED, width), 0.5)
    if outputs.vm_pu.size or outputs.va_degree.size:
        row_starts(steps, len(network.out_bus), block.rows)
        _write_buses(network.out_bus, block, solved, outputs, width)
    row_starts(steps, len(network.branches.start) - 1, block.rows)
    if outputs.loading_percent.size or outputs.i_ka.size:
        _write_currents(network.branches, block, solved, outputs, width)
    if outputs.p_loss_mw.size or outputs.p_branch_mw.size or outputs.q_branch_mvar.size:
        _write_powers(network.branches, network.base_mva, block, solved, outputs, width)
    if outputs.loading_by_power_percent.size:
        _write_by_power(network.branches, block, solved, outputs, width)
    if outputs.q_held_mvar.size:
        row_starts(steps, len(network.generators.bus), block.rows)
        for place in range(len(network.generators.bus)):
            q = held_reactive(network, block, place, width) * network.base_mva
            scatter(outputs.q_held_mvar, block.rows, place, select(solved, q, np.nan))
    if outputs.p_slack_mw.size:
        row_starts(steps, 1, block.rows)
        p, q = slack_power(network, block, width)
        scatter(outputs.p_slack_mw, block.rows, 0, select(solved, p * network.base_mva, np.nan))
        scatter(outputs.q_slack_mvar, block.rows, 0, select(solved, q * network.base_mva, np.nan))
    _write_status(block.state, network.base_mva, steps, lanes, outputs)


@inner
def _write_buses(out_bus, block, solved, outputs, width):  # type: ignore[no-untyped-def]
    for label in range(len(out_bus)):
        bus = item(out_bus, label)
        vr, vi = load(block.v_re, max(bus, 0), width), load(block.v_im, max(bus, 0), width)
        supplied = 0.0 if bus >= 0 else np.nan
        if outputs.vm_pu.size:
            scatter(outputs.vm_pu, block.rows, label, select(solved, root(fma(vr, vr, vi * vi)) + supplied, np.nan))
        if outputs.va_degree.size:
            degree = fma(atan2(vi, vr, width), 57.29577951308232, spread(supplied, width))
            scatter(outputs.va_degree, block.rows, label, select(solved, degree, np.nan))


@inner
def _write_currents(branches, block, solved, outputs, width):  # type: ignore[no-untyped-def]
    for branch in range(len(branches.start) - 1):
        loading, current = branch_loading(branches, branch, block, width)
        if outputs.loading_percent.size:
            unrated = 0.0 if has_rating(branches, branch) else np.nan
            scatter(outputs.loading_percent, block.rows, branch, select(solved, root(loading) + unrated, np.nan))
        if outputs.i_ka.size:
            scatter(outputs.i_ka, block.rows, branch, select(solved, root(current), np.nan))


@inner
def _write_powers(branches, base_mva, block, solved, outputs, width):  # type: ignore[no-untyped-def]
    for branch in range(len(branches.start) - 1):
        loss, p, q, _ = branch_power(branches, branch, block, width)
        if outputs.p_loss_mw.size:
            scatter(outputs.p_loss_mw, block.rows, branch, select(solved, loss * base_mva, np.nan))
        if outputs.p_branch_mw.size:
            scatter(outputs.p_branch_mw, block.rows, branch, select(solved, p * base_mva, np.nan))
        if outputs.q_branch_mvar.size:
            scatter(outputs.q_branch_mvar, block.rows, branch, select(solved, q * base_mva, np.nan))


@inner
def _write_by_power(branches, block, solved, outputs, width):  # type: ignore[no-untyped-def]
    for branch in range(len(branches.start) - 1):
        _, _, _, by_power = branch_power(branches, branch, block, width)
        scatter(outputs.loading_by_power_percent, block.rows, branch, select(solved, root(by_power), np.nan))


@inner
def slack_power(network, block, width):  # type: ignore[no-untyped-def]
    """Power that the upstream network delivers: what leaves the slack buses, less what is injected there. [pu]"""
    n = len(network.chord.start_re)
    total_p, total_q = spread(0.0, width), spread(0.0, width)
    for slack in range(n, n + len(network.slack_re)):
        p, q, _, _, _ = lacking(network, block, slack, width)
        total_p, total_q = total_p + p, total_q + q
    return total_p, total_q


@inner
def _write_status(state, base_mva, steps, lanes, outputs):  # type: ignore[no-untyped-def]
    for lane in range(lanes):
        step = steps[lane]
        finite = state[FINITE, lane] > 0.5
        outputs.status[step] = OK if state[SOLVED, lane] > 0.5 else (DIVERGED if finite else NOT_FINITE)
        outputs.iterations[step] = np.int64(state[CHORDS, lane])
        outputs.newton_iterations[step] = np.int64(state[NEWTONS, lane])
        outputs.mismatch_mva[step] = state[MISMATCH, lane] * base_mva if finite else np.nan
        outputs.worst_bus[step] = np.int64(state[WORST, lane])
