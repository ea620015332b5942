"""Real-time balancing on arrays: what flexible devices do, and who covers what is left.

Three kernels step through the studied time. `charge_cars` and `shift_heat_pumps`
follow a schedule as far as reality lets them; `balance_area` covers the deviation
of the whole area by batteries first and reserve bids in merit order after that.

All arrays are `[element][lane]`: lanes are independent scenarios of one schedule,
innermost and contiguous, so that they fill vector registers. Every sum runs over
elements in a fixed order and never over lanes, so a lane's result does not depend
on its neighbours or on their number.

Power is consumption, + when drawn from the network, as in the labels around these
kernels, so that no sign is flipped on the way in or out. A bid is never negative:
`up` injects, `down` draws. Inputs are constant within an interval of `n` steps;
outputs are means over `n_mean` steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class StepArrays(NamedTuple):
    """How steps, intervals of the inputs and points of the outputs divide the time."""

    hours: float
    """Length of a step. [h]"""
    n: int
    """Steps per interval of the inputs. [-]"""
    n_mean: int
    """Steps per point of the outputs; divides `n`. [-]"""


class SessionArrays(NamedTuple):
    """Charging sessions, sorted by car; sessions of one car do not overlap."""

    first: Ints
    """First session of each car and, last, the number of sessions. (car + 1)"""
    begin: Floats
    """Arrival, not before the first step. (session, lane) [steps]"""
    departure: Floats
    """Departure, also where it lies after the last step. (session, lane) [steps]"""
    e_mwh: Floats
    """Energy still to charge at `begin`. (session, lane) [MWh]"""
    e_due_mwh: Floats
    """The part of it that is due by the departure or the last step. (session, lane) [MWh]"""


class HeatPumpArrays(NamedTuple):
    """Heat pumps and the buildings behind them."""

    p_rated_mw: Floats
    """(heat pump) [MW]"""
    keep: Floats
    """Share of a temperature deviation left after one step, exp(-UA h / C). (heat pump) [-]"""
    kelvin_per_mw: Floats
    """Deviation that 1 MW above the thermostat brings within one step. (heat pump) [K/MW]"""
    guard_kelvin: float
    """Largest deviation of the room; beyond it the thermostat takes over. [K]"""


class BatteryArrays(NamedTuple):
    """Battery storages; efficiency is split evenly between charging and discharging."""

    p_rated_mw: Floats
    """(battery) [MW]"""
    e_rated_mwh: Floats
    """Usable energy. (battery) [MWh]"""
    band_mw: Floats
    """Power that may leave the schedule for balancing. (battery) [MW]"""
    efficiency: float
    """One way, the square root of the round trip. [-]"""
    e_floor_mwh: Floats
    e_ceiling_mwh: Floats
    """Stored energy within which balancing keeps, so that the rest of the schedule stays possible.
    (interval, battery) [MWh]"""


class BidArrays(NamedTuple):
    """Reserve bids of one direction in merit order, the cheapest first."""

    p_mw: Floats
    """Offered power. (bid) [MW]"""
    ramp_mw: Floats
    """Largest change of power within one step. (bid) [MW]"""


class BalancingArrays(NamedTuple):
    """Results of `balance_area`, owned by the caller. Powers are means over a point. [MW]"""

    p_deviation_mw: Floats
    """Consumption above plan before balancing, batteries that cannot follow included. (point, lane)"""
    p_residual_mw: Floats
    """What stays unbalanced. (point, lane)"""
    p_battery_mw: Floats
    """Actual power of batteries. (point, battery, lane)"""
    p_support_mw: Floats
    """The part of it that balances. (point, battery, lane)"""
    e_battery_mwh: Floats
    """Stored energy at the end of the point. (point, battery, lane) [MWh]"""
    p_up_mw: Floats
    """Activated upward bids, injection. (point, bid, lane)"""
    p_down_mw: Floats
    """Activated downward bids, consumption. (point, bid, lane)"""


def empty_balancing(points: int, batteries: int, up: int, down: int, lanes: int) -> BalancingArrays:
    """Zeroed results for `balance_area`."""
    area, battery = (points, lanes), (points, batteries, lanes)
    return BalancingArrays(
        p_deviation_mw=np.zeros(area),
        p_residual_mw=np.zeros(area),
        p_battery_mw=np.zeros(battery),
        p_support_mw=np.zeros(battery),
        e_battery_mwh=np.zeros(battery),
        p_up_mw=np.zeros((points, up, lanes)),
        p_down_mw=np.zeros((points, down, lanes)),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def planned_energy(p_schedule_mw: Floats, p_rated_mw: float, begin: float, stop: float, steps: StepArrays) -> float:
    """Scheduled energy of one car between two times in steps. [MWh]"""
    energy = 0.0
    for t in range(int(begin) // steps.n, len(p_schedule_mw)):
        overlap = min(stop, (t + 1.0) * steps.n) - max(begin, float(t * steps.n))
        if overlap <= 0.0:
            break
        energy += min(max(p_schedule_mw[t], 0.0), p_rated_mw) * overlap * steps.hours
    return energy


@njit(cache=True)  # type: ignore[untyped-decorator]
def charge_cars(
    p_schedule_mw: Floats,
    p_rated_mw: Floats,
    sessions: SessionArrays,
    steps: StepArrays,
    p_step_mw: Floats,
    p_mean_mw: Floats,
    e_rest_mwh: Floats,
) -> None:
    """Charging of cars that come, go and need energy as they really do.

    A plugged-in car takes the scheduled power. Energy that the rest of the schedule
    will not bring (car unannounced, late, or emptier than announced) is spread evenly
    over the remaining time. Whatever the schedule says, a car starts so early that
    full power fills it just before it leaves. It never takes more than it needs.

    Parameters
    ----------
    p_schedule_mw : ndarray, (interval, car)
        Scheduled power. [MW]
    p_rated_mw : ndarray, (car,)
        Rated power. [MW]
    sessions : SessionArrays
        What really comes.
    steps : StepArrays
        Division of time.
    p_step_mw : ndarray, (step, lane)
        Output: the cars' power is added. [MW]
    p_mean_mw : ndarray, (point, car, lane)
        Output: power of each car is added. [MW]
    e_rest_mwh : ndarray, (session, lane)
        Output: energy not charged by departure or last step. [MWh]
    """
    last = float(p_step_mw.shape[0])
    for car in range(len(p_rated_mw)):
        rated = p_rated_mw[car]
        for session in range(sessions.first[car], sessions.first[car + 1]):
            for lane in range(p_step_mw.shape[1]):
                begin, departure = sessions.begin[session, lane], sessions.departure[session, lane]
                stop = min(departure, last)
                rest, due = sessions.e_mwh[session, lane], sessions.e_due_mwh[session, lane]
                plan = 0.0
                if begin < stop:
                    plan = planned_energy(p_schedule_mw[:, car], rated, begin, stop, steps)
                for k in range(int(begin), int(np.ceil(stop))):
                    left, right = max(begin, float(k)), min(stop, k + 1.0)
                    if rest <= 0.0 or right <= left:
                        continue
                    hours = (right - left) * steps.hours
                    scheduled = min(max(p_schedule_mw[k // steps.n, car], 0.0), rated) * hours
                    lacking = max(due - plan, 0.0) * (right - left) / (stop - left)
                    latest_start = rest - rated * (departure - right) * steps.hours
                    energy = min(max(scheduled + lacking, latest_start, 0.0), rated * hours, rest)
                    rest, due, plan = rest - energy, due - energy, plan - scheduled
                    p_step_mw[k, lane] += energy / steps.hours
                    p_mean_mw[k // steps.n_mean, car, lane] += energy / (steps.hours * steps.n_mean)
                e_rest_mwh[session, lane] = rest


@njit(cache=True)  # type: ignore[untyped-decorator]
def shift_heat_pumps(
    p_thermostat_mw: Floats,
    p_shift_mw: Floats,
    kelvin_start: Floats,
    pumps: HeatPumpArrays,
    steps: StepArrays,
    p_step_mw: Floats,
    p_mean_mw: Floats,
    kelvin: Floats,
) -> None:
    """Heat pumps whose schedule shifts what the thermostat asks for.

    The room's deviation T from what the thermostat alone would do follows
    T' = keep T + kelvin_per_mw (p - p_thermostat), exact for constant power within
    a step. The shift is cut where T' would leave the guard.

    Parameters
    ----------
    p_thermostat_mw : ndarray, (interval, heat pump, lane)
        Real power without schedule. [MW]
    p_shift_mw : ndarray, (interval, heat pump)
        Schedule minus expected power. [MW]
    kelvin_start : ndarray, (heat pump, lane)
        Deviation before the first step. [K]
    pumps : HeatPumpArrays
        Ratings and buildings.
    steps : StepArrays
        Division of time.
    p_step_mw : ndarray, (step, lane)
        Output: the pumps' power is added. [MW]
    p_mean_mw : ndarray, (point, heat pump, lane)
        Output: power of each pump is added. [MW]
    kelvin : ndarray, (point, heat pump, lane)
        Output: deviation at the end of the point. [K]
    """
    lanes = p_step_mw.shape[1]
    state = kelvin_start.copy()
    for k in range(p_step_mw.shape[0]):
        point = k // steps.n_mean
        for pump in range(len(pumps.p_rated_mw)):
            keep, gain, shift = pumps.keep[pump], pumps.kelvin_per_mw[pump], p_shift_mw[k // steps.n, pump]
            for lane in range(lanes):
                asked, kept = p_thermostat_mw[k // steps.n, pump, lane], keep * state[pump, lane]
                extra = min(max(asked + shift, 0.0), pumps.p_rated_mw[pump]) - asked
                extra = min(max(extra, (-pumps.guard_kelvin - kept) / gain), (pumps.guard_kelvin - kept) / gain)
                state[pump, lane] = kept + gain * extra
                p_step_mw[k, lane] += asked + extra
                p_mean_mw[point, pump, lane] += (asked + extra) / steps.n_mean
                kelvin[point, pump, lane] = state[pump, lane]


@njit(cache=True)  # type: ignore[untyped-decorator]
def balance_area(
    p_deviation_mw: Floats,
    p_schedule_mw: Floats,
    e_start_mwh: Floats,
    batteries: BatteryArrays,
    up: BidArrays,
    down: BidArrays,
    steps: StepArrays,
    results: BalancingArrays,
) -> None:
    """Cover the deviation of one area, step by step.

    1. Batteries follow their schedule as far as their stored energy allows; what they
       cannot do adds to the deviation.
    2. Every bid falls as fast as its ramp allows; what it must still give counts.
    3. Batteries take what is needed, in proportion to the room each has left beside
       what the rest of their schedule needs.
    4. Bids rise in merit order within offer and ramp.

    Parameters
    ----------
    p_deviation_mw : ndarray, (step, lane)
        Consumption above plan of everything but batteries. [MW]
    p_schedule_mw : ndarray, (interval, battery)
        Schedule of batteries, charging positive. [MW]
    e_start_mwh : ndarray, (battery, lane)
        Stored energy before the first step. [MWh]
    batteries : BatteryArrays
        Ratings.
    up, down : BidArrays
        Bids in merit order.
    steps : StepArrays
        Division of time.
    results : BalancingArrays
        Output, zeroed by the caller.

    Notes
    -----
    deviation + support - sum(up) + sum(down) = residual, in every step.
    """
    lanes, n_batteries = p_deviation_mw.shape[1], len(batteries.p_rated_mw)
    energy, share = e_start_mwh.copy(), 1.0 / steps.n_mean
    p_up, p_down = np.zeros((len(up.p_mw), lanes)), np.zeros((len(down.p_mw), lanes))
    up_room, down_room = np.zeros((len(up.p_mw), lanes)), np.zeros((len(down.p_mw), lanes))
    follow, more, less = np.empty((n_batteries, lanes)), np.empty((n_batteries, lanes)), np.empty((n_batteries, lanes))
    need, can_more, can_less = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for k in range(p_deviation_mw.shape[0]):
        point = k // steps.n_mean
        for lane in range(lanes):
            need[lane], can_more[lane], can_less[lane] = p_deviation_mw[k, lane], 0.0, 0.0
        for b in range(n_batteries):
            _follow_schedule(
                p_schedule_mw[k // steps.n, b], k // steps.n, b, batteries, energy, steps, follow, more, less
            )
            for lane in range(lanes):
                need[lane] += follow[b, lane] - p_schedule_mw[k // steps.n, b]
                can_more[lane] += more[b, lane]
                can_less[lane] += less[b, lane]
        for lane in range(lanes):
            results.p_deviation_mw[point, lane] += share * need[lane]
        _ramp_down(up, p_up, up_room, need, -1.0)
        _ramp_down(down, p_down, down_room, need, 1.0)
        for lane in range(lanes):
            # smallest normal number: an empty battery park gives 0, not 0 / 0
            can_less[lane] = min(max(need[lane], 0.0) / max(can_less[lane], 2.3e-308), 1.0)
            can_more[lane] = min(max(-need[lane], 0.0) / max(can_more[lane], 2.3e-308), 1.0)
        for b in range(n_batteries):
            for lane in range(lanes):
                support = can_more[lane] * more[b, lane] - can_less[lane] * less[b, lane]
                power = follow[b, lane] + support
                stored = batteries.efficiency * max(power, 0.0) + min(power, 0.0) / batteries.efficiency
                # the limits above hold up to the last bit only
                energy[b, lane] = min(max(energy[b, lane] + steps.hours * stored, 0.0), batteries.e_rated_mwh[b])
                need[lane] += support
                results.p_battery_mw[point, b, lane] += share * power
                results.p_support_mw[point, b, lane] += share * support
                results.e_battery_mwh[point, b, lane] = energy[b, lane]
        _rise_in_merit_order(p_up, up_room, need, -1.0, share, results.p_up_mw[point])
        _rise_in_merit_order(p_down, down_room, need, 1.0, share, results.p_down_mw[point])
        for lane in range(lanes):
            results.p_residual_mw[point, lane] += share * need[lane]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _follow_schedule(
    scheduled: float,
    t: int,
    b: int,
    batteries: BatteryArrays,
    energy: Floats,
    steps: StepArrays,
    follow: Floats,
    more: Floats,
    less: Floats,
) -> None:
    """Power nearest to the schedule that the stored energy allows, and the room around it. [MW]

    Room counts to the energy that the rest of the schedule needs, with the losses of
    the way that costs more.
    """
    rated, eta = batteries.p_rated_mw[b], batteries.efficiency
    for lane in range(energy.shape[1]):
        highest = min(rated, (batteries.e_rated_mwh[b] - energy[b, lane]) / (eta * steps.hours))
        lowest = -min(rated, energy[b, lane] * eta / steps.hours)
        power = min(max(scheduled, lowest), highest)
        follow[b, lane] = power
        after = energy[b, lane] + steps.hours * (eta * max(power, 0.0) + min(power, 0.0) / eta)
        spare = max(after - batteries.e_floor_mwh[t, b], 0.0) * eta / steps.hours
        empty = max(batteries.e_ceiling_mwh[t, b] - after, 0.0) * eta / steps.hours
        more[b, lane] = min(highest - power, batteries.band_mw[b], empty)
        less[b, lane] = min(power - lowest, batteries.band_mw[b], spare)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ramp_down(bids: BidArrays, power: Floats, room: Floats, need: Floats, sign: float) -> None:
    """Lowest power each bid can reach in this step, and its room above that. `sign`: -1 injects, 1 draws."""
    for bid in range(len(bids.p_mw)):
        for lane in range(power.shape[1]):
            lowest = max(power[bid, lane] - bids.ramp_mw[bid], 0.0)
            room[bid, lane] = min(power[bid, lane] + bids.ramp_mw[bid], bids.p_mw[bid]) - lowest
            power[bid, lane] = lowest
            need[lane] += sign * lowest


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rise_in_merit_order(power: Floats, room: Floats, need: Floats, sign: float, share: float, mean: Floats) -> None:
    """Raise one bid after the other until nothing is needed; add `share` of it to `mean`. `sign`: -1 injects."""
    for bid in range(len(power)):
        for lane in range(power.shape[1]):
            rise = min(max(-sign * need[lane], 0.0), room[bid, lane])
            power[bid, lane] += rise
            need[lane] += sign * rise
            mean[bid, lane] += share * power[bid, lane]
