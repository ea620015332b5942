"""Derivatives of voltages and branch currents at an operating point.

At a solution the Jacobian of the power equations is factorised once; a column of its
inverse is how all voltages answer to one more unit of injection at one bus. Here the
lanes of a block are such columns instead of steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from gridtwin.kernels.block import SOLVED, allocate_block
from gridtwin.kernels.lanes import apart, fma, fnma, greater, inner, item, load, root, select, spread, store
from gridtwin.kernels.network_arrays import HELD, Floats, Ints
from gridtwin.kernels.newton import allocate_jacobian, factorise, substitute
from gridtwin.kernels.power_flow import solve_block
from gridtwin.kernels.results import has_rating, terminal_current


class Slopes(NamedTuple):
    """Derivatives by injection at some buses, generation positive."""

    vm_pu: Floats
    """(step * bus, at) [pu/MW] or [pu/Mvar]"""
    i_ka: Floats
    """Current at the more loaded end. (step * branch, at) [kA/MW]"""
    p_branch_mw: Floats
    """Flow into the first terminal. (step * branch, at) [MW/MW]"""
    solved: Ints
    """1 where the operating point has a solution. (step)"""


@njit(cache=True, nogil=True)
def solve_slopes(network, injections, at, reactive, tolerance_pu, tolerance_mva, slopes, width):  # type: ignore[no-untyped-def]
    """Derivatives at the operating point of every row of `injections`.

    Parameters
    ----------
    network : NetworkArrays
        The compiled network.
    injections : Injections
        Operating points, generation positive. (step, asset) [MW], [Mvar]
    at : ndarray of int, (at,)
        Buses of the changing injection, in elimination order; -1 or a slack changes nothing.
    reactive : bool
        Whether reactive power changes instead of active power.
    tolerance_pu, tolerance_mva : float
        Of the operating point. [pu], [MVA]
    slopes : Slopes
        Out; NaN at operating points without solution and at buses without supply.
    width : tuple
        Columns that are solved side by side.
    """
    block, jacobian = (
        allocate_block(network, injections.p_mw.shape[1], width),
        allocate_jacobian(network.pattern, width),
    )
    rows = np.empty(len(width), dtype=np.int64)
    _solve_all_slopes(
        network, injections, at, reactive, tolerance_pu, tolerance_mva, slopes, block, jacobian, rows, width
    )


@apart
def _solve_all_slopes(  # type: ignore[no-untyped-def]
    network, injections, at, reactive, tolerance_pu, tolerance_mva, slopes, block, jacobian, rows, width
):
    d_re, d_im = jacobian.work[0], jacobian.work[1]
    for step in range(len(slopes.solved)):
        for lane in range(len(width)):
            rows[lane] = step
        solve_block(network, injections, rows, block, jacobian, tolerance_pu, tolerance_mva, False, width)
        slopes.solved[step] = np.int64(block.state[SOLVED, 0] > 0.5)
        factorise(network, block, jacobian, False, width)
        for first in range(0, len(at), len(width)):
            _unit_injections(network, at, first, reactive, d_re, d_im, width)
            substitute(network.pattern, jacobian, d_re, d_im, width)
            _write_slopes(network, block, d_re, d_im, step, first, len(at), slopes, width)


@inner
def _unit_injections(network, at, first, reactive, d_re, d_im, width):  # type: ignore[no-untyped-def]
    """Right-hand sides: 1 MW or 1 Mvar at one bus in every lane. [pu]"""
    n = len(d_re)
    for bus in range(n):
        store(d_re, bus, spread(0.0, width))
        store(d_im, bus, spread(0.0, width))
    for lane in range(len(width)):
        bus = at[first + lane] if first + lane < len(at) else -1
        if 0 <= bus < n:
            if not reactive:
                d_re[bus, lane] = 1.0 / network.base_mva
            elif network.loads.kind[bus] != HELD:
                d_im[bus, lane] = 1.0 / network.base_mva


@inner
def _change_at(d_re, d_im, bus, width):  # type: ignore[no-untyped-def]
    """DV of a bus; a slack stands still."""
    if bus < len(d_re):
        return load(d_re, bus, width), load(d_im, bus, width)
    return spread(0.0, width), spread(0.0, width)


@inner
def _write_slopes(network, block, d_re, d_im, step, first, count, slopes, width):  # type: ignore[no-untyped-def]
    """Chain rule from voltages to magnitudes, currents and flows. Every lane is a column of the outputs."""
    solved = greater(load(block.state, SOLVED, width), 0.5)
    lanes = min(len(width), count - first)
    labels, branches = len(network.out_bus), network.branches
    for label in range(labels):
        bus = item(network.out_bus, label)
        known = 0.0 if bus >= 0 else np.nan
        bus = max(bus, 0)
        vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
        dr, di = _change_at(d_re, d_im, bus, width)
        slope = fma(vr, dr, vi * di) / root(fma(vr, vr, vi * vi)) + known
        _write_columns(slopes.vm_pu, step * labels + label, first, lanes, select(solved, slope, np.nan), block, width)
    number = len(branches.start) - 1
    for branch in range(number):
        slope_i, slope_p = _branch_slopes(branches, branch, block, d_re, d_im, width)
        row = step * number + branch
        _write_columns(slopes.i_ka, row, first, lanes, select(solved, slope_i, np.nan), block, width)
        slope_p = select(solved, slope_p * network.base_mva, np.nan)
        _write_columns(slopes.p_branch_mw, row, first, lanes, slope_p, block, width)


@inner
def _branch_slopes(branches, branch, block, d_re, d_im, width):  # type: ignore[no-untyped-def]
    """Derivatives of the current at the more loaded end, and of the flow into the first terminal. [kA], [pu]"""
    zero = spread(0.0, width)
    most, slope, slope_p = zero, zero, zero
    first = item(branches.start, branch)
    rated = has_rating(branches, branch)
    for terminal in range(first, item(branches.start, branch + 1)):
        i_re, i_im = terminal_current(branches, terminal, block.v_re, block.v_im, width)
        bus, other = item(branches.bus, terminal), item(branches.other, terminal)
        dr, di = _change_at(d_re, d_im, bus, width)
        ur, ui = _change_at(d_re, d_im, other, width)
        a, b = item(branches.self_re, terminal), item(branches.self_im, terminal)
        c, d = item(branches.mutual_re, terminal), item(branches.mutual_im, terminal)
        j_re = fnma(ui, d, fma(ur, c, fnma(di, b, dr * a)))
        j_im = fma(ui, c, fma(ur, d, fma(di, a, dr * b)))
        ka = item(branches.ka, terminal)
        weight = item(branches.percent, terminal) if rated else ka
        size = root(fma(i_re, i_re, i_im * i_im))
        grows = fma(i_re, j_re, i_im * j_im) / select(greater(size, 0.0), size, 1.0)
        more = greater(size * weight, most)
        most, slope = select(more, size * weight, most), select(more, grows * ka, slope)
        if terminal == first:
            vr, vi = load(block.v_re, bus, width), load(block.v_im, bus, width)
            slope_p = fma(dr, i_re, fma(di, i_im, fma(vr, j_re, vi * j_im)))
    return slope, slope_p


@inner
def _write_columns(table, row, first, lanes, value, block, width):  # type: ignore[no-untyped-def]
    """Lanes into neighbouring columns of a row; lanes behind the last column are left out."""
    store(block.w_re, 0, value)
    for lane in range(lanes):
        table[row, first + lane] = block.w_re[0, lane]
