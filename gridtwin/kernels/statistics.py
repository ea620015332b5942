"""Statistics of many steps, reduced block by block: no matrix of steps by elements ever exists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from gridtwin.kernels.block import SOLVED, allocate_block
from gridtwin.kernels.lanes import apart, fma, inner, item, load, root, store
from gridtwin.kernels.network_arrays import Floats, Ints
from gridtwin.kernels.newton import allocate_jacobian
from gridtwin.kernels.power_flow import solve_block
from gridtwin.kernels.results import branch_loading, branch_power, has_rating


class Tally(NamedTuple):
    """Extremes, sums and counts of some quantity over steps, one row per element."""

    low: Floats
    high: Floats
    """(element)"""
    step_of_low: Ints
    step_of_high: Ints
    """First step in which the extreme occurs, -1 before any. (element)"""
    total: Floats
    """Sum over the steps. (element)"""
    below: Ints
    above: Ints
    """Steps below the lower and above the upper limit. (element)"""
    excess: Floats
    """Sum of what lies above the upper limit. (element)"""


class Scale(NamedTuple):
    """Bins of equal width; values outside count in the first or last one."""

    first: float
    per_bin: float


@inner
def _count(tally, bins, scale, element, value, step, low, high):  # type: ignore[no-untyped-def]
    """One value of one element."""
    if value < tally.low[element] or (value == tally.low[element] and step < tally.step_of_low[element]):
        tally.low[element] = value
        tally.step_of_low[element] = step
    if value > tally.high[element] or (value == tally.high[element] and step < tally.step_of_high[element]):
        tally.high[element] = value
        tally.step_of_high[element] = step
    tally.total[element] += value
    if value < low:
        tally.below[element] += 1
    if value > high:
        tally.above[element] += 1
        tally.excess[element] += value - high
    place = int((value - scale.first) / scale.per_bin)
    bins[element, min(max(place, 0), bins.shape[1] - 1)] += 1


@njit(cache=True, nogil=True)
def reduce_steps(  # type: ignore[no-untyped-def]
    network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, limits, scales, tallies, bins, loss_mw,
    solved, width,
):  # fmt: skip
    """Statistics of the voltages, loadings and losses of the given steps.

    Parameters
    ----------
    network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, width
        As in `power_flow.solve_steps`.
    limits : tuple of ndarray
        Lowest and highest voltage of a bus, highest loading of a branch. (bus), (bus), (branch) [pu], [pu], [%]
    scales : tuple of Scale
        Of voltages and loadings. [pu], [%]
    tallies : tuple of Tally
        Out: of voltages and loadings. (bus), (branch)
    bins : tuple of ndarray of int32
        Out: number of steps per bin, added to what is there. (bus, bin), (branch, bin)
    loss_mw : ndarray
        Out: sum of the losses over the steps. (branch) [MW]
    solved : ndarray of int
        Out: 1 for every step that has a solution; only those are counted. (all steps)
    """
    block, jacobian = (
        allocate_block(network, injections.p_mw.shape[1], width),
        allocate_jacobian(network.pattern, width),
    )
    rows = np.empty(len(width), dtype=np.int64)
    _reduce_blocks(
        network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, limits, scales, tallies, bins,
        loss_mw, solved, block, jacobian, rows, width,
    )  # fmt: skip


@apart
def _reduce_blocks(  # type: ignore[no-untyped-def]
    network, injections, steps, tolerance_pu, tolerance_mva, enforce_q_limits, limits, scales, tallies, bins, loss_mw,
    solved, block, jacobian, rows, width,
):  # fmt: skip
    for first in range(0, len(steps), len(width)):
        lanes = min(len(width), len(steps) - first)
        for lane in range(len(width)):
            rows[lane] = steps[first + min(lane, lanes - 1)]
        solve_block(network, injections, rows, block, jacobian, tolerance_pu, tolerance_mva, enforce_q_limits, width)
        for lane in range(lanes):
            solved[rows[lane]] = np.int64(block.state[SOLVED, lane] > 0.5)
        _count_buses(network.out_bus, block, rows, lanes, limits, scales[0], tallies[0], bins[0], width)
        _count_branches(network, block, rows, lanes, limits[2], scales[1], tallies[1], bins[1], loss_mw, width)


@inner
def _count_buses(out_bus, block, rows, lanes, limits, scale, tally, bins, width):  # type: ignore[no-untyped-def]
    values = block.w_re  # free once the block is solved
    for label in range(len(out_bus)):
        bus = item(out_bus, label)
        if bus >= 0:
            vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
            store(values, 0, root(fma(vr, vr, vi * vi)))
            for lane in range(lanes):
                if block.state[SOLVED, lane] > 0.5:
                    value = values[0, lane]
                    _count(tally, bins, scale, label, value, rows[lane], limits[0][label], limits[1][label])


@inner
def _count_branches(network, block, rows, lanes, limit, scale, tally, bins, loss_mw, width):  # type: ignore[no-untyped-def]
    branches = network.branches
    for branch in range(len(branches.start) - 1):
        loss, _, _, _ = branch_power(branches, branch, block, width)
        loading, _ = branch_loading(branches, branch, block, width)
        store(block.w_re, 0, root(loading))
        store(block.w_im, 0, loss * network.base_mva)
        rated = has_rating(branches, branch)
        for lane in range(lanes):
            if block.state[SOLVED, lane] > 0.5:
                loss_mw[branch] += block.w_im[0, lane]
                if rated:
                    value = block.w_re[0, lane]
                    _count(tally, bins, scale, branch, value, rows[lane], 0.0, limit[branch])
