"""Balanced AC power flow of many steps at once, by current injection.

The network is factorised once. A step then repeats

    V <- V0 + Y^-1 conj(S / V),        V0 = -Y^-1 Y_slack V_slack

until the voltages stand still; at a fixed point Kirchhoff's current law holds at
every bus. Sixteen steps are carried side by side: arrays are `[element][lane]`,
the lane is innermost, so that every factor is read once for sixteen steps and
the arithmetic fills vector registers. A lane stands still as soon as it has
converged, so no result depends on its neighbours or on threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

LANES = 16
"""Steps per block."""
OK, DIVERGED, NOT_FINITE = 0, 1, 2
"""Status of a step."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For functions that only other kernels call: without a door to Python each compiles in half the time."""


class NetworkArrays(NamedTuple):
    """A compiled network: plain arrays in per unit of `base_mva`.

    Buses are numbered in elimination order; those without a slack come first
    (`n` of them), the slacks last. Complex numbers stand as two arrays.
    """

    base_mva: float
    """Apparent power of 1 pu. [MVA]"""
    slack_re: Floats
    slack_im: Floats
    """Voltages of the slack buses. (slack) [pu]"""
    noload_re: Floats
    noload_im: Floats
    """Voltages without any injection. (n) [pu]"""
    lower_start: Ints
    lower_row: Ints
    lower_re: Floats
    lower_im: Floats
    """Columns of the unit lower factor, without its diagonal."""
    upper_start: Ints
    upper_row: Ints
    upper_re: Floats
    upper_im: Floats
    """Columns of the upper factor, without its diagonal."""
    pivot_re: Floats
    pivot_im: Floats
    """Inverse of the upper factor's diagonal. (n)"""
    row_of_bus: Ints
    """Row of the factors in which the current of a bus stands. (n)"""
    y_start: Ints
    y_column: Ints
    y_re: Floats
    y_im: Floats
    """Rows of the whole admittance matrix. (n + slack) [pu]"""
    load_bus: Ints
    """Buses with assets or constant power. (loaded)"""
    load_start: Ints
    load_asset: Ints
    """Assets of a loaded bus: `load_asset[load_start[k]:load_start[k + 1]]`."""
    fixed_p_mw: Floats
    fixed_q_mvar: Floats
    """Constant injection at a loaded bus, from wards. (loaded) [MW], [Mvar]"""
    out_bus: Ints
    """Bus in elimination order of a labelled bus, -1 without supply. (bus)"""
    branch_start: Ints
    """Terminals of a labelled branch: `branch_start[k]:branch_start[k + 1]`, from or hv side first."""
    terminal_bus: Ints
    terminal_other: Ints
    """Bus of a terminal and the bus at its other end. (terminal)"""
    terminal_self_re: Floats
    terminal_self_im: Floats
    terminal_mutual_re: Floats
    terminal_mutual_im: Floats
    """Current into the branch is self * V[bus] + mutual * V[other]. (terminal) [pu]"""
    terminal_ka: Floats
    """Current of 1 pu. (terminal) [kA]"""
    terminal_percent: Floats
    """Loading at 1 pu of current, NaN without a rating. (terminal) [%]"""


@inner
def _gather_injections(network, p_mw, q_mvar, first, lanes, s_re, s_im, finite):  # type: ignore[no-untyped-def]
    """Injection of a block per bus and lane; a lane with a gap becomes 0 and is marked. [pu]"""
    s_re[:] = 0.0
    s_im[:] = 0.0
    finite[:] = True
    for k in range(len(network.load_bus)):
        bus = network.load_bus[k]
        for lane in range(lanes):
            p = network.fixed_p_mw[k]
            q = network.fixed_q_mvar[k]
            for place in range(network.load_start[k], network.load_start[k + 1]):
                p += p_mw[first + lane, network.load_asset[place]]
                q += q_mvar[first + lane, network.load_asset[place]]
            if not (np.isfinite(p) and np.isfinite(q)):
                finite[lane] = False
            s_re[bus, lane] = p / network.base_mva
            s_im[bus, lane] = q / network.base_mva
    for lane in range(lanes):
        if not finite[lane]:
            s_re[:, lane] = 0.0
            s_im[:, lane] = 0.0


@inner
def _load_currents(network, s_re, s_im, v_re, v_im, w_re, w_im):  # type: ignore[no-untyped-def]
    """conj(S / V) of every bus without a slack, in the row order of the factors. [pu]"""
    n = len(network.noload_re)
    w_re[:] = 0.0
    w_im[:] = 0.0
    for k in range(len(network.load_bus)):
        bus = network.load_bus[k]
        if bus >= n:
            continue
        row = network.row_of_bus[bus]
        p, q, vr, vi = s_re[bus], s_im[bus], v_re[bus], v_im[bus]
        out_re, out_im = w_re[row], w_im[row]
        for lane in range(LANES):
            square = vr[lane] * vr[lane] + vi[lane] * vi[lane]
            out_re[lane] = (p[lane] * vr[lane] + q[lane] * vi[lane]) / square
            out_im[lane] = (p[lane] * vi[lane] - q[lane] * vr[lane]) / square


@inner
def _substitute(network, w_re, w_im):  # type: ignore[no-untyped-def]
    """Solve L U x = w in place for all lanes."""
    n = len(network.noload_re)
    for column in range(n):
        x_re, x_im = w_re[column], w_im[column]
        for place in range(network.lower_start[column], network.lower_start[column + 1]):
            a_re, a_im = network.lower_re[place], network.lower_im[place]
            y_re, y_im = w_re[network.lower_row[place]], w_im[network.lower_row[place]]
            for lane in range(LANES):
                y_re[lane] -= a_re * x_re[lane] - a_im * x_im[lane]
                y_im[lane] -= a_re * x_im[lane] + a_im * x_re[lane]
    for column in range(n - 1, -1, -1):
        x_re, x_im = w_re[column], w_im[column]
        a_re, a_im = network.pivot_re[column], network.pivot_im[column]
        for lane in range(LANES):
            real = a_re * x_re[lane] - a_im * x_im[lane]
            x_im[lane] = a_re * x_im[lane] + a_im * x_re[lane]
            x_re[lane] = real
        for place in range(network.upper_start[column], network.upper_start[column + 1]):
            a_re, a_im = network.upper_re[place], network.upper_im[place]
            y_re, y_im = w_re[network.upper_row[place]], w_im[network.upper_row[place]]
            for lane in range(LANES):
                y_re[lane] -= a_re * x_re[lane] - a_im * x_im[lane]
                y_im[lane] -= a_re * x_im[lane] + a_im * x_re[lane]


@inner
def _move_voltages(network, w_re, w_im, moving, v_re, v_im, change):  # type: ignore[no-untyped-def]
    """V <- V0 + w in the lanes that still move; `change` is the sum of squared steps. [pu²]"""
    change[:] = 0.0
    for bus in range(len(network.noload_re)):
        base_re, base_im = network.noload_re[bus], network.noload_im[bus]
        x_re, x_im, vr, vi = w_re[bus], w_im[bus], v_re[bus], v_im[bus]
        for lane in range(LANES):
            new_re = base_re + x_re[lane]
            new_im = base_im + x_im[lane]
            step_re = new_re - vr[lane]
            step_im = new_im - vi[lane]
            change[lane] += step_re * step_re + step_im * step_im
            vr[lane] = new_re if moving[lane] else vr[lane]
            vi[lane] = new_im if moving[lane] else vi[lane]


@inner
def _iterate(network, s_re, s_im, tolerance_pu, max_iterations, v_re, v_im, moving, status, iterations):  # type: ignore[no-untyped-def]
    """Fixed-point iteration from the no-load voltages; lanes stop one by one."""
    n = len(network.noload_re)
    w_re = np.empty((n, LANES))
    w_im = np.empty((n, LANES))
    change = np.empty(LANES)
    for bus in range(n):
        v_re[bus] = network.noload_re[bus]
        v_im[bus] = network.noload_im[bus]
    for slack in range(len(network.slack_re)):
        v_re[n + slack] = network.slack_re[slack]
        v_im[n + slack] = network.slack_im[slack]
    for iteration in range(1, max_iterations + 1):
        _load_currents(network, s_re, s_im, v_re, v_im, w_re, w_im)
        _substitute(network, w_re, w_im)
        _move_voltages(network, w_re, w_im, moving, v_re, v_im, change)
        for lane in range(LANES):
            if moving[lane]:
                iterations[lane] = iteration
                if not np.isfinite(change[lane]):
                    status[lane] = DIVERGED
                    moving[lane] = False
                elif change[lane] <= tolerance_pu * tolerance_pu:
                    moving[lane] = False
        if not moving.any():
            return
    for lane in range(LANES):
        if moving[lane]:
            status[lane] = DIVERGED


@inner
def _bus_power(network, bus, v_re, v_im, p, q):  # type: ignore[no-untyped-def]
    """Power that flows from a bus into the network, V conj(Y V), per lane. [pu]"""
    i_re = np.zeros(LANES)
    i_im = np.zeros(LANES)
    for place in range(network.y_start[bus], network.y_start[bus + 1]):
        a_re, a_im = network.y_re[place], network.y_im[place]
        vr, vi = v_re[network.y_column[place]], v_im[network.y_column[place]]
        for lane in range(LANES):
            i_re[lane] += a_re * vr[lane] - a_im * vi[lane]
            i_im[lane] += a_re * vi[lane] + a_im * vr[lane]
    vr, vi = v_re[bus], v_im[bus]
    for lane in range(LANES):
        p[lane] = vr[lane] * i_re[lane] + vi[lane] * i_im[lane]
        q[lane] = vi[lane] * i_re[lane] - vr[lane] * i_im[lane]


@inner
def _check_mismatch(network, s_re, s_im, v_re, v_im, tolerance_mva, status):  # type: ignore[no-untyped-def]
    """Mark lanes in which power does not balance at some bus.

    The tolerance grows with the largest injection above 1 MVA: an error of
    1e-9 pu in the voltage at a bus of 1 GVA is 1 VA already.
    """
    p = np.empty(LANES)
    q = np.empty(LANES)
    worst = np.zeros(LANES)
    largest = np.zeros(LANES)
    for bus in range(len(network.noload_re)):
        _bus_power(network, bus, v_re, v_im, p, q)
        for lane in range(LANES):
            error = (p[lane] - s_re[bus, lane]) ** 2 + (q[lane] - s_im[bus, lane]) ** 2
            worst[lane] = max(worst[lane], error)
            largest[lane] = max(largest[lane], s_re[bus, lane] ** 2 + s_im[bus, lane] ** 2)
    for lane in range(LANES):
        allowed = tolerance_mva * max(1.0, network.base_mva * np.sqrt(largest[lane]))
        if status[lane] == OK and not network.base_mva * np.sqrt(worst[lane]) <= allowed:
            status[lane] = DIVERGED


@inner
def _write_buses(network, v_re, v_im, status, first, lanes, vm_pu, va_degree):  # type: ignore[no-untyped-def]
    """Voltage of every labelled bus, NaN without supply or solution."""
    for lane in range(lanes):
        for label in range(len(network.out_bus)):
            bus = network.out_bus[label]
            if bus < 0 or status[lane] != OK:
                vm_pu[first + lane, label] = np.nan
                va_degree[first + lane, label] = np.nan
            else:
                re, im = v_re[bus, lane], v_im[bus, lane]
                vm_pu[first + lane, label] = np.sqrt(re * re + im * im)
                va_degree[first + lane, label] = np.degrees(np.arctan2(im, re))


@inner
def _write_branches(  # type: ignore[no-untyped-def]
    network, v_re, v_im, status, first, lanes, loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar
):
    """Loading, current, losses and flow of every labelled branch; 0 where it carries nothing."""
    i2 = np.empty(LANES)
    p = np.empty(LANES)
    q = np.empty(LANES)
    out = np.empty((5, LANES))
    for branch in range(len(network.branch_start) - 1):
        out[:] = 0.0
        rated = True
        for terminal in range(network.branch_start[branch], network.branch_start[branch + 1]):
            a_re, a_im = network.terminal_self_re[terminal], network.terminal_self_im[terminal]
            b_re, b_im = network.terminal_mutual_re[terminal], network.terminal_mutual_im[terminal]
            vr, vi = v_re[network.terminal_bus[terminal]], v_im[network.terminal_bus[terminal]]
            ur, ui = v_re[network.terminal_other[terminal]], v_im[network.terminal_other[terminal]]
            for lane in range(LANES):
                i_re = a_re * vr[lane] - a_im * vi[lane] + b_re * ur[lane] - b_im * ui[lane]
                i_im = a_re * vi[lane] + a_im * vr[lane] + b_re * ui[lane] + b_im * ur[lane]
                i2[lane] = np.sqrt(i_re * i_re + i_im * i_im)
                p[lane] = (vr[lane] * i_re + vi[lane] * i_im) * network.base_mva
                q[lane] = (vi[lane] * i_re - vr[lane] * i_im) * network.base_mva
            percent, ka = network.terminal_percent[terminal], network.terminal_ka[terminal]
            rated = rated and np.isfinite(percent)
            for lane in range(LANES):
                # The current belongs to the more loaded end; without a rating, to the larger current.
                if rated:
                    if percent * i2[lane] > out[0, lane]:
                        out[0, lane] = percent * i2[lane]
                        out[1, lane] = ka * i2[lane]
                else:
                    out[1, lane] = max(out[1, lane], ka * i2[lane])
                out[2, lane] += p[lane]
            if terminal == network.branch_start[branch]:
                for lane in range(LANES):
                    out[3, lane] = p[lane]
                    out[4, lane] = q[lane]
        for lane in range(lanes):
            solved = status[lane] == OK
            step = first + lane
            loading_percent[step, branch] = out[0, lane] if solved and rated else np.nan
            i_ka[step, branch] = out[1, lane] if solved else np.nan
            p_loss_mw[step, branch] = out[2, lane] if solved else np.nan
            p_branch_mw[step, branch] = out[3, lane] if solved else np.nan
            q_branch_mvar[step, branch] = out[4, lane] if solved else np.nan


@inner
def _write_slack(network, s_re, s_im, v_re, v_im, status, first, lanes, p_slack_mw, q_slack_mvar):  # type: ignore[no-untyped-def]
    """Power that the upstream network delivers: what leaves the slack buses, less what is injected there."""
    n = len(network.noload_re)
    p = np.empty(LANES)
    q = np.empty(LANES)
    total_p = np.zeros(LANES)
    total_q = np.zeros(LANES)
    for slack in range(n, n + len(network.slack_re)):
        _bus_power(network, slack, v_re, v_im, p, q)
        for lane in range(LANES):
            total_p[lane] += p[lane] - s_re[slack, lane]
            total_q[lane] += q[lane] - s_im[slack, lane]
    for lane in range(lanes):
        solved = status[lane] == OK
        p_slack_mw[first + lane] = total_p[lane] * network.base_mva if solved else np.nan
        q_slack_mvar[first + lane] = total_q[lane] * network.base_mva if solved else np.nan


@inner
def _solve_block(  # type: ignore[no-untyped-def]
    network, p_mw, q_mvar, first, lanes, tolerance_pu, tolerance_mva, max_iterations,
    vm_pu, va_degree, loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar,
    p_slack_mw, q_slack_mvar, status, iterations,
):  # fmt: skip
    """One block of up to `LANES` steps from injections to outputs."""
    buses = len(network.noload_re) + len(network.slack_re)
    s_re = np.empty((buses, LANES))
    s_im = np.empty((buses, LANES))
    v_re = np.empty((buses, LANES))
    v_im = np.empty((buses, LANES))
    finite = np.empty(LANES, dtype=np.bool_)
    lane_status = np.zeros(LANES, dtype=np.int64)
    lane_iterations = np.zeros(LANES, dtype=np.int64)
    _gather_injections(network, p_mw, q_mvar, first, lanes, s_re, s_im, finite)
    moving = finite.copy()
    moving[lanes:] = False
    _iterate(network, s_re, s_im, tolerance_pu, max_iterations, v_re, v_im, moving, lane_status, lane_iterations)
    _check_mismatch(network, s_re, s_im, v_re, v_im, tolerance_mva, lane_status)
    for lane in range(lanes):
        if not finite[lane]:
            lane_status[lane] = NOT_FINITE
        status[first + lane] = lane_status[lane]
        iterations[first + lane] = lane_iterations[lane]
    _write_buses(network, v_re, v_im, lane_status, first, lanes, vm_pu, va_degree)
    _write_branches(
        network, v_re, v_im, lane_status, first, lanes, loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar
    )
    _write_slack(network, s_re, s_im, v_re, v_im, lane_status, first, lanes, p_slack_mw, q_slack_mvar)


@njit(cache=True, nogil=True)
def solve_steps(  # type: ignore[no-untyped-def]
    network, p_mw, q_mvar, tolerance_pu, tolerance_mva, max_iterations,
    vm_pu, va_degree, loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar,
    p_slack_mw, q_slack_mvar, status, iterations,
):  # fmt: skip
    """Voltages, flows and losses of every step.

    The interpreter lock is released: threads may work on slices of the steps.

    Parameters
    ----------
    network : NetworkArrays
        The compiled network.
    p_mw, q_mvar : ndarray, (step, asset)
        Injected power of every asset, generation positive. [MW], [Mvar]
    tolerance_pu : float
        Root of the summed squared voltage changes at which a step has converged. [pu]
    tolerance_mva : float
        Largest power mismatch of a solved step, at injections up to 1 MVA. [MVA]
    max_iterations : int
        Iterations after which a step counts as diverged.
    vm_pu, va_degree : ndarray, (step, bus)
        Out: voltages, NaN without supply. [pu], [degree]
    loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar : ndarray, (step, branch)
        Out: by current at the more loaded end; flow into the from or hv side. [%], [kA], [MW], [MW], [Mvar]
    p_slack_mw, q_slack_mvar : ndarray, (step,)
        Out: delivered by the upstream network. [MW], [Mvar]
    status, iterations : ndarray of int, (step,)
        Out: 0 converged, 1 diverged, 2 input not finite; outputs of 1 and 2 are NaN.

    Notes
    -----
    The implicit Z-bus Gauss method [1]_ with one factorisation for all steps.

    References
    ----------
    .. [1] T.-H. Chen et al., Distribution system power flow analysis - a rigid approach,
       IEEE Trans. Power Deliv. 6(3), 1991, doi:10.1109/61.85860
    """
    steps = p_mw.shape[0]
    for first in range(0, steps, LANES):
        _solve_block(
            network, p_mw, q_mvar, first, min(LANES, steps - first), tolerance_pu, tolerance_mva, max_iterations,
            vm_pu, va_degree, loading_percent, i_ka, p_loss_mw, p_branch_mw, q_branch_mvar,
            p_slack_mw, q_slack_mvar, status, iterations,
        )  # fmt: skip
