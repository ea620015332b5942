r"""The program that cuts reserves: every partial activation of what is left fits into the room of every limit.

A partial activation changes the consumption at bus b by any :math:`\Delta_b \in [-U_b, D_b]`, the sums of what
is offered upwards and downwards there. The worst of them for a limit with weights w is separable,

    max  sum_b w_b Δ_b  =  sum_b ( max(w_b, 0) D_b + max(-w_b, 0) U_b ),

linear in the offers, so that "safe for all activations" costs no more rows than "safe for one":

    max  sum worth · offer     subject to     W⁺ offer <= room,   0 <= offer <= bid.

Steps do not depend on each other; each is a program of its own. Where several bids serve a limit equally well,
slightly falling worth of each bid's later parts shares the room among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.linear_program import LinearProgram
from gridtwin.optimize.reserve_bids import ReserveBids
from gridtwin.optimize.solve import PersistentSolver

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
PARTS = 5
"""Parts of each bid whose worth falls, so that equals share."""
FALL = 5e-4
"""By how much the worth falls from part to part, relative. [-]"""
SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Activations tried at buses whose sign is in doubt, equally spaced: 1 all down, -1 all up. [-]"""
TIME_LIMIT_SECONDS = 60.0
"""Of one step. [s]"""


@dataclass(frozen=True)
class StepOffer:
    """Offers of one step and the rows that hold them back.

    Parameters
    ----------
    p_mw : ndarray, (bid,)
        Offers. [MW]
    blame : ndarray of int, (bid,)
        Row that limits each bid, -1 where none does.
    """

    p_mw: Floats
    blame: NDArray[np.int64]


def robust_weights(weight: Floats, bids: ReserveBids) -> Floats:
    """What an offered MW may add to each limit in the worst case, never negative. (limit, bid)

    Parameters
    ----------
    weight : ndarray, (limit, bus)
        Change of each limited quantity per consumption at each bus with bids.
    """
    return np.asarray(np.maximum(weight[:, bids.bus] * bids.sign, 0.0))


def find_corners(weights: Sequence[Floats], bids: ReserveBids, of_branch: Bools) -> list[Floats]:
    """Families of worst activations, as shares of what is offered. Each (share, bus), +1 all down, -1 all up

    Parameters
    ----------
    weights : sequence of ndarray, (limit, bus)
        Weights at several operating points, the first without activation.
    of_branch : ndarray of bool, (limit,)
        Which limits are those of branches.

    Returns
    -------
    list of ndarray
        All down and all up, then for every limit that is worst where some buses go up and others down, its own.
        A bus whose sign differs between the operating points may be worst anywhere in between: the voltage
        behind a transformer is highest where little flows through it, whichever way. All such buses of a limit
        go through `SHARES` together, a family. Buses that do not matter for the flow of a branch go down: that
        lowers its voltage and so raises its current, 0.2 % of the rating in a low-voltage network. Buses that do
        not matter for a voltage go the way of most.
    """
    has_down, has_up = (bids.at_buses(bids.p_mw, sign).max(axis=0, initial=0.0) > 0 for sign in (1.0, -1.0))
    signs = np.array([np.where(w > 0, 1.0 * has_down, np.where(w < 0, -1.0 * has_up, 0.0)) for w in weights])
    highest, lowest = signs.max(axis=0), signs.min(axis=0)
    doubtful, sure = (highest > 0) & (lowest < 0), np.where(highest > 0, highest, lowest)
    most = (sure * ~doubtful).sum(axis=1) >= 0
    away = np.where(of_branch | most, 1.0, -1.0)[:, None]
    corner = np.where(doubtful, np.nan, np.where(sure == 0, away, sure))
    corner = np.unique(corner[(corner != corner[:, :1]).any(axis=1)], axis=0)
    buses = signs.shape[2]
    if doubtful.any():
        corner = np.vstack([corner, np.full((1, buses), np.nan)])
    ends = np.vstack([np.ones(buses), -np.ones(buses)])
    return [ends, *(_family(one) for one in corner)]


def drop_idle(weight: Floats, power_mw: Floats, most_mw: Floats) -> Floats:
    """Weights without the smallest ones, whose whole effect stays below a bound. (limit, bus)

    Parameters
    ----------
    power_mw : ndarray, (bus,)
        Largest activation at each bus, both directions together. [MW]
    most_mw : ndarray, (limit,)
        Bound on what all dropped weights of a limit do together. [MW]

    Examples
    --------
    >>> drop_idle(np.array([[1.0, -0.01, 0.002]]), np.array([1.0, 1.0, 1.0]), np.array([0.005]))
    array([[ 1.  , -0.01,  0.  ]])
    """
    effect = np.abs(weight) * power_mw
    order = np.argsort(effect, axis=1)
    dropped = np.take_along_axis(effect, order, axis=1).cumsum(axis=1) <= most_mw[:, None]
    keep = np.empty_like(dropped)
    np.put_along_axis(keep, order, ~dropped, axis=1)
    return np.asarray(np.where(keep, weight, 0.0))


def _family(corner: Floats) -> Floats:
    """The corner with every share at its doubtful buses (NaN). (share, bus)"""
    if not np.isnan(corner).any():
        return corner[None]
    return np.asarray(np.where(np.isnan(corner), np.array(SHARES)[:, None], corner))


def least_between(rooms: Floats) -> Floats:
    """Least room over a family: of its members, and of parabolas through any three that follow each other.

    Parameters
    ----------
    rooms : ndarray, (share, limit, time)
        Room at equally spaced shares. [MW]

    Examples
    --------
    >>> least_between(np.array([4.0, 1.0, 2.0]).reshape(3, 1, 1)).item()
    0.875
    """
    least = rooms.min(axis=0)
    for before, middle, after in zip(rooms, rooms[1:], rooms[2:], strict=False):
        finite = np.isfinite(before) & np.isfinite(after) & (middle <= before) & (middle <= after)
        bend = np.where(finite, before, 0.0) - 2 * np.where(finite, middle, 0.0) + np.where(finite, after, 0.0)
        slope = np.where(finite, after, 0.0) - np.where(finite, before, 0.0)
        dip = np.divide(slope**2, 8 * bend, out=np.zeros_like(bend), where=finite & (bend > 0))
        least = np.minimum(least, middle - dip)
    return np.asarray(least)


def activate_corner(corner: Floats, bids: ReserveBids, offer_mw: Floats) -> Floats:
    """Change of consumption at each bus in a corner. (time, bus) [MW]"""
    down, up = bids.at_buses(offer_mw, 1.0), bids.at_buses(offer_mw, -1.0)
    return corner * np.where(corner > 0, down, up)


def cut_step(rows: Floats, room_mw: Floats, bid_mw: Floats, worth: Floats) -> StepOffer:
    """The most worth that fits into the room of all rows on one step.

    Parameters
    ----------
    rows : ndarray, (row, bid)
        Robust weights.
    room_mw : ndarray, (row,)
        Room, never negative. [MW]
    bid_mw, worth : ndarray, (bid,)
        What was bid and its worth. [MW], [EUR/MW]
    """
    need = rows @ bid_mw
    tight = np.flatnonzero(need > room_mw)
    if not len(tight):
        return StepOffer(bid_mw.copy(), np.full(len(bid_mw), -1))
    solution = _program_of(rows[tight], room_mw[tight], bid_mw, worth).solve()
    offer = np.clip(solution.x.reshape(len(bid_mw), PARTS).sum(axis=1) / KW_PER_MW, 0.0, bid_mw)
    return StepOffer(offer, _blame(rows[tight], room_mw[tight], offer, bid_mw, solution.row_dual, tight))


def _program_of(rows: Floats, room_mw: Floats, bid_mw: Floats, worth: Floats) -> PersistentSolver:
    """Columns are the parts of the bids, (bid, part), in kW."""
    share = np.arange(PARTS) * FALL
    cost = -(worth[:, None] / worth.max() * (1 - share)).ravel()
    columns = len(cost)
    program = LinearProgram(
        matrix=sparse.csc_array(np.repeat(rows, PARTS, axis=1)),
        cost=cost,
        lower=np.zeros(columns),
        upper=np.repeat(bid_mw * KW_PER_MW / PARTS, PARTS),
        integer=np.zeros(columns, dtype=bool),
        row_lower=np.full(len(rows), -np.inf),
        row_upper=room_mw * KW_PER_MW,
        constant=0.0,
        smallest=np.full(columns, np.nan),
    )
    return PersistentSolver(program, time_limit_seconds=TIME_LIMIT_SECONDS)


def _blame(
    rows: Floats, room_mw: Floats, offer: Floats, bid_mw: Floats, dual: Floats, names: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For every cut bid the row whose shadow price weighs most on it; without a price the fullest row."""
    priced = np.abs(dual)[:, None] * rows
    slack = room_mw - rows @ offer
    fullest = np.where(rows > 0, -slack[:, None], -np.inf)
    choice = np.where(priced.max(axis=0) > 0, priced.argmax(axis=0), fullest.argmax(axis=0))
    cut = (offer < bid_mw * (1 - 1e-6)) & (rows > 0).any(axis=0)
    return np.where(cut, names[choice], -1)
