"""Rounds between the program that cuts reserves and AC power flow in the worst corners of all activations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.grid.twin import GridTwin
from gridtwin.optimize.network_limits import (
    NetworkLimits,
    can_bind,
    find_demanding_paths,
    find_network_limits,
    measure_room,
    violations,
)
from gridtwin.optimize.reserve_activation import ActivationCase, place_reserves, run_activation, weights_under
from gridtwin.optimize.reserve_bids import ReserveBids
from gridtwin.optimize.reserve_program import (
    StepOffer,
    activate_corner,
    cut_step,
    drop_idle,
    find_corners,
    least_between,
    robust_weights,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SETTLED = 0.2
"""Share of the aim that may still be missed or left unused when a step counts as settled. [-]"""
IDLE = 0.2
"""Share of the aim that buses with small weights may use up together before they count in the search for corners."""
FAINT = 0.05
"""Share of a branch's largest weight below which its voltage may matter more than its flow. [-]"""
SHRINK = 0.97
"""Factor on the offers of a step that AC power flow refuses after the last round. [-]"""
SHRINKINGS = 60
"""Most of them; then the step offers nothing."""


@dataclass(frozen=True, eq=False)
class CutState:
    """Offers and rooms between two rounds; arrays are (limit, time) where nothing else is said."""

    case: ActivationCase
    bids: ReserveBids
    confidence: float
    limits: NetworkLimits
    corners: list[Floats]  # families of (share, bus)
    decisive: NDArray[np.int64]  # families to look at between the first round and the last check
    robust: Floats  # (limit, bid)
    kept: tuple[NDArray[np.int64], ...]  # paths that must hold, by day
    before_mw: Floats  # room without activation
    unsolved_before: Bools  # (time,)
    room_mw: Floats  # right-hand sides
    active: Bools
    bid_mw: Floats  # (time, bid), lowered where a step has no solution
    offers: tuple[StepOffer, ...]

    @property
    def offer_mw(self) -> Floats:
        """What is offered. (time, bid) [MW]"""
        return np.array([offer.p_mw for offer in self.offers]).reshape(self.bid_mw.shape)


def begin_cut(twin: GridTwin, profiles: Profiles, bids: ReserveBids, confidence: float) -> CutState:
    """First offers, from the room without any activation."""
    case = place_reserves(twin, profiles, bids.buses)
    limits = find_network_limits(twin, _mean_point(profiles), bids.buses)
    flow = run_activation(case, np.zeros((len(bids.p_mw), len(bids.buses))))
    kept = _rank_paths(twin, [flow], confidence)
    before, unsolved = _room_of(twin, flow, limits, kept)
    reach = can_bind(
        limits, before, np.zeros((len(bids.buses), 1)), p_min_mw=-bids.at_buses(bids.p_mw, -1.0).T,
        p_max_mw=bids.at_buses(bids.p_mw, 1.0).T,
    )  # fmt: skip
    robust = robust_weights(limits.weight, bids)
    active = reach & (robust.max(axis=1, initial=0.0) > 0)[:, None]
    bid_mw = np.where(unsolved[:, None], 0.0, bids.p_mw)
    work = CutState(
        case, bids, confidence, limits, [], np.zeros(0, dtype=np.int64), robust, kept, before, unsolved,
        np.maximum(before, 0.0), active, bid_mw, (),
    )  # fmt: skip
    return _stress(solve_steps(work, np.ones(len(bid_mw), dtype=bool)))


def _stress(work: CutState) -> CutState:
    """Corners, and what an offer may do at most, from the weights without activation and at the largest ones."""
    bids, offer = work.bids, work.offer_mw
    weights = [weights_under(work.case, work.limits, np.zeros(len(bids.buses)))]
    for sign in (1.0, -1.0):
        at_buses = bids.at_buses(offer, sign)
        largest = at_buses[int(at_buses.sum(axis=1).argmax())]
        weights.append(weights_under(work.case, work.limits, sign * largest))
    robust = np.maximum.reduce([robust_weights(weight, bids) for weight in weights])
    near = np.flatnonzero(work.active.any(axis=1))
    # by what is bid: offers of the first round move on
    power = (bids.at_buses(bids.p_mw, 1.0) + bids.at_buses(bids.p_mw, -1.0)).max(axis=0)
    most = IDLE * work.limits.aim_mw[near]
    counted = [drop_idle(weight[near], power, most) for weight in weights]
    of_branch = (work.limits.table["kind"] != "bus").to_numpy()[near]
    # branches once more without faint weights, which are losses: voltage then counts for more
    clear = [_drop_faint(weight[of_branch]) for weight in counted]
    both = [np.vstack(pair) for pair in zip(counted, clear, strict=True)]
    corners = find_corners(both, bids, np.append(of_branch, np.ones(len(clear[0]), dtype=bool)))
    return replace(work, robust=robust, corners=corners, decisive=np.arange(len(corners)))


def _drop_faint(weight: Floats) -> Floats:
    largest = np.abs(weight).max(axis=1, initial=0.0, keepdims=True)
    return np.where(np.abs(weight) >= FAINT * largest, weight, 0.0)


def _mean_point(profiles: Profiles) -> Profiles:
    """One step: the mean of all paths and steps."""
    means = {name: profiles[name].mean([d for d in profiles[name].dims if d != "asset"]) for name in ("p_mw", "q_mvar")}
    one = profiles.isel(time=slice(0, 1)).drop_vars([*means, *(n for n in profiles.data_vars if n not in means)])
    one = one.drop_dims("path", errors="ignore")
    return one.assign({name: mean.expand_dims(time=one["time"]) for name, mean in means.items()})


def _rank_paths(twin: GridTwin, flows: list[xr.Dataset], confidence: float) -> tuple[NDArray[np.int64], ...]:
    """Paths that must hold on each local day, judged by all given power flows together."""
    days = axis_of(flows[0]).day_slices
    joined = [xr.concat([f.isel(time=day) for f in flows], dim="time", data_vars="minimal") for day in days]
    return tuple(find_demanding_paths(twin, day, confidence) for day in joined)


def _room_of(
    twin: GridTwin, flow: xr.Dataset, limits: NetworkLimits, kept: tuple[NDArray[np.int64], ...]
) -> tuple[Floats, Bools]:
    """Room in the paths that must hold (limit, time) [MW], and steps without a solution in one of them (time,)."""
    days = axis_of(flow).day_slices
    parts = [flow.isel(time=day, path=paths) for day, paths in zip(days, kept, strict=True)]
    room = np.concatenate([measure_room(twin, part, limits, 1.0) for part in parts], axis=1)
    unsolved = np.concatenate([(part["status"].to_numpy() != 0).any(axis=0) for part in parts])
    return room, unsolved


def solve_steps(work: CutState, steps: Bools) -> CutState:
    """New offers on some steps."""
    offers = list(work.offers) or [StepOffer(p, np.full(len(p), -1)) for p in work.bid_mw]
    for step in np.flatnonzero(steps):
        rows = np.flatnonzero(work.active[:, step])
        offer = cut_step(work.robust[rows], work.room_mw[rows, step], work.bid_mw[step], work.bids.worth[step])
        named = np.where(offer.blame >= 0, rows[offer.blame] if len(rows) else -1, -1)
        offers[step] = replace(offer, blame=named)
    return replace(work, offers=tuple(offers))


@dataclass(frozen=True, eq=False)
class Measured:
    """What AC power flow says about the offers."""

    room_mw: Floats  # least in all corners, (limit, time)
    family: NDArray[np.int64]  # family of the least room, (limit, time)
    unsolved: Bools  # steps without a solution in some corner that had one before, (time,)
    closest: Floats  # largest loading above its limit [%] and voltage outside its band [pu]


def _measure_corners(work: CutState, families: NDArray[np.int64] | None = None) -> Measured:
    """AC power flow in all corners of some families, by default of all."""
    offer, closest = work.offer_mw, np.full(2, -np.inf)
    least, attained = np.full(work.before_mw.shape, np.inf), np.zeros(work.before_mw.shape, dtype=np.int64)
    unsolved = np.zeros(len(offer), dtype=bool)
    for number in range(len(work.corners)) if families is None else families.tolist():
        measured = []
        for corner in work.corners[number]:
            flow = run_activation(work.case, activate_corner(corner, work.bids, offer))
            room, failed = _room_of(work.case.twin, flow, work.limits, work.kept)
            unsolved |= failed
            closest = np.maximum(closest, _closest(work, flow))
            measured.append(room)
        room = least_between(np.array(measured))
        attained = np.where(room < least, number, attained)
        least = np.minimum(least, room)
    return Measured(least, attained, unsolved & ~work.unsolved_before, closest)


def _closest(work: CutState, flow: xr.Dataset) -> Floats:
    worst = []
    for day, paths in zip(axis_of(flow).day_slices, work.kept, strict=True):
        loading, outside = violations(work.case.twin, flow.isel(time=day, path=paths))
        worst.append((loading.max(initial=-np.inf), outside.max(initial=-np.inf)))
    return np.asarray(np.max(worst, axis=0))


def missed_aim(work: CutState, room_mw: Floats) -> Floats:
    """By how much the aim is missed, or made worse where it was missed before; negative is room. [MW]"""
    return np.minimum(work.before_mw, 0.0) - room_mw


def correct_offers(work: CutState, *, rank: bool) -> tuple[CutState, bool]:
    """One round: AC power flow in all corners, rooms corrected, new offers; and whether nothing had to change."""
    work = _keep(work) if rank and work.confidence < 1 else work
    seen = _measure_corners(work, work.decisive)
    room, unsolved = seen.room_mw, seen.unsolved
    missed, aim = missed_aim(work, room), work.limits.aim_mw[:, None]
    touched = work.robust.max(axis=1, initial=0.0) > 0
    active = work.active | ((missed > SETTLED * aim) & touched[:, None])
    used = work.robust @ work.offer_mw.T
    # rows are moved to where AC power flow sees them; only steps with a row that binds, or is missed, are solved again
    corrected = np.where(work.before_mw < 0, 0.0, np.maximum(used + room, 0.0))
    full = used >= work.room_mw - SETTLED * aim
    stale = active & ((missed > SETTLED * aim) | (full & (np.abs(corrected - work.room_mw) > SETTLED * aim)))
    steps = stale.any(axis=0) | unsolved
    bid_mw = np.where(unsolved[:, None], 0.5 * work.bid_mw, work.bid_mw)
    work = replace(work, active=active, room_mw=corrected, bid_mw=bid_mw, decisive=np.unique(seen.family[active]))
    return solve_steps(work, steps), not steps.any()


def _keep(work: CutState) -> CutState:
    """Paths that must hold, now by what all up and all down do to them; what they hold without activation counts."""
    ends = [run_activation(work.case, activate_corner(end, work.bids, work.offer_mw)) for end in work.corners[0]]
    kept = _rank_paths(work.case.twin, ends, work.confidence)
    flow = run_activation(work.case, np.zeros((len(work.bid_mw), len(work.bids.buses))))
    before, unsolved = _room_of(work.case.twin, flow, work.limits, kept)
    return replace(work, kept=kept, before_mw=before, unsolved_before=unsolved)


def shrink_offers(work: CutState) -> tuple[CutState, Bools, Measured]:
    """Offers smaller and smaller on the steps that AC power flow refuses; which steps those were; the last check."""
    shrunk = np.zeros(len(work.bid_mw), dtype=bool)
    for number in range(SHRINKINGS + 1):
        seen = _measure_corners(work)
        refused = (missed_aim(work, seen.room_mw) > work.limits.aim_mw[:, None]).any(axis=0) | seen.unsolved
        refused &= (work.offer_mw > 0).any(axis=1)
        if not refused.any():
            break
        factor = 0.0 if number == SHRINKINGS else 0.5 if number > SHRINKINGS // 2 else SHRINK
        shrunk |= refused
        offers = tuple(
            replace(offer, p_mw=factor * offer.p_mw) if bad else offer
            for offer, bad in zip(work.offers, refused, strict=True)
        )
        work = replace(work, offers=offers)
    return work, shrunk, seen
