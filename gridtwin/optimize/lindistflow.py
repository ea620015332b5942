r"""The branch flow equations of a radial network, straight, with losses and base point in them or without.

Every branch is a two-port between its upstream and its downstream end,

    V_up = A V_down + B I,   I_up = C V_down + D I,

with the current I that leaves it downstream. With the power that arrives, S = P + jQ = V_down I*, and
v = |V|² this is

    v_up = |A|² v_down + 2 (r P + x Q) + |B|² |S|² / v_down             r + jx = A* B
    S_up = A C* v_down + A D* S + B C* S* + B D* |S|² / v_down

without any approximation: for a line without charging A = D = 1, C = 0 and B is its impedance, and these are the
DistFlow equations [1]_. What arrives at a bus is what is consumed there and what leaves into the branches behind it.
A straight version is nine slopes per branch: those without losses (LinDistFlow [2]_), or the derivatives at a base
point, whose answer is that of the power flow's Jacobian, row by row and sparse.

References
----------
.. [1] M. E. Baran, F. F. Wu, Optimal sizing of capacitors placed on a radial distribution system, IEEE Trans. Power
   Deliv. 4(1), 1989, doi:10.1109/61.19266
.. [2] M. E. Baran, F. F. Wu, Network reconfiguration in distribution systems for loss reduction and load balancing,
   IEEE Trans. Power Deliv. 4(2), 1989, doi:10.1109/61.25627
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from gridtwin.data.profiles import Profiles
from gridtwin.errors import ConvergenceError
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.network_arrays import Floats
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import LinearResponse
from gridtwin.optimize.radial_network import DARK, Complexes, RadialNetwork, find_edges, read_radial_network

SMALLEST_SHARE = 1e-6
"""Part of the largest flow below which a direction does not go through a branch: what flows are losses of others."""


class RadialState(NamedTuple):
    """An operating point, seen from the downstream ends."""

    s_mva: Complexes
    """Power that arrives. (step, edge) [MVA]"""
    v_squared_pu: Floats
    """Squared voltage. (step, edge) [pu²]"""


class RadialSlopes(NamedTuple):
    """What leaves upstream, and the voltage there, by what arrives: (…, edge) each, in MW, Mvar and pu²."""

    p_by_p: Floats
    p_by_q: Floats
    p_by_v: Floats
    q_by_p: Floats
    q_by_q: Floats
    q_by_v: Floats
    v_by_p: Floats
    v_by_q: Floats
    v_by_v: Floats


class RadialChange(NamedTuple):
    """Changes at the downstream ends. (edge, case) each [MW], [Mvar], [pu²]"""

    p_mw: Floats
    q_mvar: Floats
    v_squared_pu: Floats


class RadialResponse(NamedTuple):
    """Responses to active consumption (per MW) and to reactive consumption (per Mvar)."""

    active: LinearResponse
    reactive: LinearResponse


def read_state(twin: GridTwin, radial: RadialNetwork, profiles: Profiles) -> RadialState:
    """Power flow of every step, as it arrives at the downstream ends.

    Parameters
    ----------
    profiles : Profiles
        One path; consumption positive.

    Raises
    ------
    ConvergenceError
        If a step could not be solved.
    """
    flow = run_power_flow(twin, profiles, outputs=("vm_pu", "va_degree"))
    if (flow["status"] != 0).any():
        raise ConvergenceError("the power flow at an operating point could not be solved")
    labelled = (flow["vm_pu"] * np.exp(1j * np.deg2rad(flow["va_degree"]))).to_numpy()
    voltage = _fill_inner(radial, labelled.reshape(-1, labelled.shape[-1]))
    down, above = voltage[:, :-1], voltage[:, radial.up]  # -1 is the root, which stands last
    leaving = -(radial.y[:, 2] * above + radial.y[:, 3] * down)
    return RadialState(radial.base_mva * down * leaving.conj(), np.abs(down) ** 2)


def _fill_inner(radial: RadialNetwork, labelled: Complexes) -> Complexes:
    """Voltages of all buses, the root last; inner buses carry no load and follow from the others. (step, edge + 1)"""
    size = len(radial.up) + 1
    voltage = np.zeros((len(labelled), size), dtype=complex)
    supplied = radial.place != DARK
    voltage[:, radial.place[supplied]] = labelled[:, supplied]
    inner = np.setdiff1d(np.arange(size), radial.place[supplied] % size)
    if len(inner):
        rows = radial.y_bus[inner]
        voltage[:, inner] = splu(sparse.csc_array(rows[:, inner])).solve(-(rows @ voltage.T)).T
    return voltage


def _constants(radial: RadialNetwork) -> tuple[Complexes, Complexes, Complexes, Complexes]:
    """A, B, C, D of every edge. (edge,)"""
    uu, ud, du, dd = radial.y.T
    a, b = -dd / du, -1 / du
    return a, b, uu * a + ud, uu * b


def lossless_slopes(radial: RadialNetwork) -> RadialSlopes:
    """Slopes without losses and charging: LinDistFlow.

        P_up = P,  Q_up = Q,  v_up = |A|² v + 2 (r P + x Q)

    Examples
    --------
    A line of 0.01 + 0.02j pu at 1 MVA:

    >>> y = 1 / (0.01 + 0.02j)
    >>> nothing = np.zeros(1)
    >>> line = RadialNetwork(
    ...     1.0, np.array([-1]), np.array([[y, -y, -y, y]]), nothing, nothing, nothing, nothing, nothing, nothing
    ... )
    >>> slopes = lossless_slopes(line)
    >>> round(float(slopes.v_by_p[0]), 6), round(float(slopes.v_by_q[0]), 6)
    (0.02, 0.04)
    """
    a, b, _, _ = _constants(radial)
    impedance = a.conj() * b / radial.base_mva
    one, none = np.ones(len(radial.up)), np.zeros(len(radial.up))
    return RadialSlopes(one, none, none, none, one, none, 2 * impedance.real, 2 * impedance.imag, np.abs(a) ** 2)


def slopes_at(radial: RadialNetwork, state: RadialState) -> RadialSlopes:
    """Derivatives of the branch flow equations at every step of a state. (step, edge) each."""
    a, b, c, d = _constants(radial)
    s, v = state.s_mva / radial.base_mva, state.v_squared_pu
    current = np.abs(s) ** 2 / v  # squared, over v once more where it is a slope
    by_p = a * d.conj() + b * c.conj() + 2 * b * d.conj() * s.real / v
    by_q = 1j * (a * d.conj() - b * c.conj()) + 2 * b * d.conj() * s.imag / v
    by_v = radial.base_mva * (a * c.conj() - b * d.conj() * current / v)
    impedance, square = a.conj() * b, np.abs(b) ** 2
    return RadialSlopes(
        by_p.real,
        by_q.real,
        by_v.real,
        by_p.imag,
        by_q.imag,
        by_v.imag,
        2 * (impedance.real + square * s.real / v) / radial.base_mva,
        2 * (impedance.imag + square * s.imag / v) / radial.base_mva,
        np.abs(a) ** 2 - square * current / v,
    )


# Answers -----------------------------------------------------------------------------------------


def solve_tree(radial: RadialNetwork, slopes: RadialSlopes, p_mw: Floats, q_mvar: Floats) -> RadialChange:
    """What consumption at the buses changes, by slopes of one step.

        P[e] = p[e] + sum over c behind e of (p_by_p P + p_by_q Q + p_by_v v)[c]
        Q[e] = q[e] + sum over c behind e of (q_by_p P + q_by_q Q + q_by_v v)[c]
        v[up(e)] = (v_by_v v + v_by_p P + v_by_q Q)[e],  0 at the root

    Parameters
    ----------
    slopes : RadialSlopes
        (edge,) each.
    p_mw, q_mvar : ndarray, (edge, case)
        Change of consumption at every downstream bus. [MW], [Mvar]
    """
    size = len(radial.up)
    inside = np.flatnonzero(radial.up >= 0)
    behind = sparse.csr_array((np.ones(len(inside)), (radial.up[inside], inside)), shape=(size, size))
    one = sparse.eye_array(size)

    def summed(slope: Floats) -> sparse.csr_array:
        return sparse.csr_array(-(behind * slope[None, :]))

    v_by_p, v_by_q, v_by_v = (sparse.diags_array(slope) for slope in slopes[6:])
    rows = [
        [one + summed(slopes.p_by_p), summed(slopes.p_by_q), summed(slopes.p_by_v)],
        [summed(slopes.q_by_p), one + summed(slopes.q_by_q), summed(slopes.q_by_v)],
        [-v_by_p, -v_by_q, behind.T - v_by_v],
    ]
    right = np.vstack([p_mw, q_mvar, np.zeros_like(p_mw)])
    answer = splu(sparse.csc_array(sparse.block_array(rows))).solve(right)
    return RadialChange(*np.split(answer, 3))


def condense(radial: RadialNetwork, slopes: RadialSlopes, p_mw: Floats) -> RadialSlopes:
    """Three slopes of active and two of reactive power that say the same along one direction.

    The reactive losses that active power drags along, and what the voltage makes of all losses, count as if they
    were part of a branch's own loss and fall. A program becomes sparser and, where no device moves reactive power,
    loses all reactive flows. Exact where active consumption changes in the given proportions, close to it
    elsewhere; reactive power keeps its own slopes and loses what it drags along.

    Parameters
    ----------
    slopes : RadialSlopes
        (step, edge) each.
    p_mw : ndarray, (edge,)
        Proportions in which active consumption at the downstream buses changes. [MW]
    """
    along, still = p_mw[:, None], np.zeros((len(p_mw), 1))
    changes = [solve_tree(radial, slopes_of_step(slopes, t), along, still) for t in range(len(slopes.p_by_p))]
    p, q, v = (np.stack([change[k][:, 0] for change in changes]) for k in range(3))
    sent = slopes.p_by_p * p + slopes.p_by_q * q + slopes.p_by_v * v
    fall = slopes.v_by_p * p + slopes.v_by_q * q
    none = np.zeros_like(p)
    return slopes._replace(
        p_by_p=_ratio(sent, p, slopes.p_by_p),
        p_by_q=none,
        p_by_v=none,
        q_by_p=none,
        q_by_v=none,
        v_by_p=_ratio(fall, p, slopes.v_by_p),
    )


def _ratio(above: Floats, below: Floats, otherwise: Floats) -> Floats:
    """A slope along a direction, where that direction goes through a branch at all."""
    goes = np.abs(below) > SMALLEST_SHARE * np.abs(below).max(initial=0.0)
    return np.divide(above, below, out=otherwise.copy(), where=goes)


def slopes_of_step(slopes: RadialSlopes, t: int) -> RadialSlopes:
    """Slopes of one step. (edge,) each"""
    return RadialSlopes(*(slope[t] for slope in slopes))


def flows_at_labels(radial: RadialNetwork, slopes: RadialSlopes, change: RadialChange) -> Floats:
    """Active power into every branch of the twin at its from or hv side. (branch, case) [MW]

    Branches side by side share their edge's power by their admittances.
    """
    p_mw, q_mvar, v = change
    sent = slopes.p_by_p[:, None] * p_mw + slopes.p_by_q[:, None] * q_mvar + slopes.p_by_v[:, None] * v
    sent = sent + 1j * (slopes.q_by_p[:, None] * p_mw + slopes.q_by_q[:, None] * q_mvar + slopes.q_by_v[:, None] * v)
    arriving = p_mw + 1j * q_mvar + radial.base_mva * radial.shunt.conj()[:, None] * v
    into = np.where(radial.downward[:, None], sent[radial.edge], -arriving[radial.edge])
    return np.asarray((radial.share.conj()[:, None] * into).real)


def respond(twin: GridTwin, radial: RadialNetwork, slopes: RadialSlopes, buses: Sequence[str]) -> RadialResponse:
    """Derivatives of flows and squared voltages by consumption at some buses.

    Parameters
    ----------
    slopes : RadialSlopes
        Of one step, (edge,) each.
    buses : sequence of str
        Buses at which consumption changes; one without supply or of the upstream network changes nothing.

    Returns
    -------
    RadialResponse
        Rows in the order of the twin's tables; voltages of buses without supply are NaN.
    """
    at = find_edges(twin, radial, buses)
    unit = np.zeros((len(radial.up), len(buses)))
    unit[at[at >= 0], np.flatnonzero(at >= 0)] = 1.0
    parts = []
    for p_mw, q_mvar in ((unit, 0 * unit), (0 * unit, unit)):
        change = solve_tree(radial, slopes, p_mw, q_mvar)
        outer = np.vstack([change.v_squared_pu, np.full((1, len(buses)), np.nan), np.zeros((1, len(buses)))])
        parts.append(LinearResponse(flows_at_labels(radial, slopes, change), outer[radial.place]))
    return RadialResponse(*parts)


def linearise_radial(twin: GridTwin, profiles_at_base: Profiles, buses: Sequence[str]) -> RadialResponse:
    """Derivatives of flows and squared voltages of a radial network at one operating point, losses included.

    The answer is that of `operate.sensitivity.linear_response`, to which reactive consumption is added here; loads
    that follow the voltage count with the power that they have.

    Parameters
    ----------
    profiles_at_base : Profiles
        The operating point: one path and step, consumption positive.
    buses : sequence of str
        Buses at which consumption changes.

    Raises
    ------
    NetworkError
        If the network is no tree.
    ConvergenceError
        If the operating point could not be solved.
    """
    radial = read_radial_network(twin)
    slopes = slopes_at(radial, read_state(twin, radial, profiles_at_base))
    return respond(twin, radial, slopes_of_step(slopes, 0), buses)
