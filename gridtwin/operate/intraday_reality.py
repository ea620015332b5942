"""What flexible devices really do under a schedule, from any interval to any later one.

The same rules as in real-time balancing: a plugged-in car tells its departure and need and makes up for what the
schedule does not bring; a heat pump shifts what its thermostat asks for until the room says stop; a battery follows
as far as its stored energy allows. One step per interval. Powers in MW, consumption positive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from gridtwin.kernels.balancing import (
    BatteryArrays,
    BidArrays,
    HeatPumpArrays,
    SessionArrays,
    StepArrays,
    balance_area,
    charge_cars,
    empty_balancing,
    shift_heat_pumps,
)
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

KINDS = ("battery", "electric_car", "heat_pump")
"""Kinds of assets that a schedule may move within the day."""


@dataclass(frozen=True)
class Park:
    """The scheduled devices of an area.

    Parameters
    ----------
    axis : TimeAxis
        Intervals of the schedule.
    facts : DataFrame
        `kind, p_rated_mw, e_rated_mwh, ua_mw_per_k, c_mwh_per_k, cop` by asset, in the order of the schedule.
    flexibility : Flexibility
        Battery efficiency and start, comfort, price of unserved energy and wear.
    """

    axis: TimeAxis
    facts: pd.DataFrame
    flexibility: Flexibility

    def at(self, kind: str) -> np.ndarray:
        """Positions of one kind."""
        return np.flatnonzero(self.facts["kind"].to_numpy() == kind)

    def fact(self, kind: str, column: str) -> np.ndarray:
        """One column of the facts for one kind."""
        values: np.ndarray = self.facts[column].to_numpy(dtype=float)[self.at(kind)]
        return values

    @property
    def one_way(self) -> float:
        """Efficiency of a battery, one way. [-]"""
        return float(np.sqrt(self.flexibility.battery_efficiency))

    @property
    def hours(self) -> float:
        """Length of an interval. [h]"""
        return self.axis.hours_per_step


@dataclass(frozen=True)
class Stays:
    """Charging sessions on the clock of the axis; a car that does not come arrives at infinity.

    Parameters
    ----------
    car : ndarray of int, (session,)
        Position among the cars.
    arrival, departure : ndarray, (session,)
        In intervals from the start of the axis; may lie outside of it.
    e_mwh, e_due_mwh : ndarray, (session,)
        Energy of the session, and the part that is due by departure or the end of the axis. [MWh]
    """

    car: np.ndarray
    arrival: np.ndarray
    departure: np.ndarray
    e_mwh: np.ndarray
    e_due_mwh: np.ndarray


@dataclass(frozen=True)
class State:
    """How the devices stand: stored energy (battery) [MWh], charged (session) [MWh], deviation of rooms [K]."""

    e_mwh: np.ndarray
    charged_mwh: np.ndarray
    kelvin: np.ndarray


@dataclass(frozen=True)
class Course:
    """What the devices did: power (time, asset) [MW], stored energy (time, battery) [MWh], rooms (time, pump) [K]."""

    p_mw: np.ndarray
    e_mwh: np.ndarray
    kelvin: np.ndarray


def read_stays(park: Park, sessions: pd.DataFrame) -> Stays:
    """Sessions of the park's cars, one for each row of the table; rows of other cars never come.

    Parameters
    ----------
    sessions : DataFrame
        `asset, arrival, departure, e_mwh`; arrival NaT where the car does not come.
    """
    axis, names = park.axis, park.facts.index[park.at("electric_car")]
    car = names.get_indexer(pd.Index(sessions["asset"]))
    arrival, departure = (
        np.asarray((pd.DatetimeIndex(sessions[name]) - axis.start) / axis.step, dtype=float)
        for name in ("arrival", "departure")
    )
    comes = (car >= 0) & np.isfinite(arrival) & (departure > 0) & (arrival < axis.length)
    e_mwh = sessions["e_mwh"].to_numpy(dtype=float)
    stay = np.where(comes, departure, 1.0) - np.where(comes, arrival, 0.0)
    share = np.clip((axis.length - np.where(comes, arrival, axis.length)) / stay, 0.0, 1.0)
    arrival, departure = np.where(comes, arrival, np.inf), np.where(comes, departure, np.inf)
    return Stays(np.maximum(car, 0), arrival, departure, e_mwh, share * e_mwh)


def open_state(park: Park, stays: Stays) -> State:
    """How the devices stand as the axis begins; cars plugged in before have charged at rated power."""
    rated = park.fact("electric_car", "p_rated_mw")
    before = np.where(np.isfinite(stays.arrival), np.maximum(-stays.arrival, 0.0), 0.0) * park.hours
    charged = np.minimum(rated[stays.car] * before, stays.e_mwh) if len(rated) else np.zeros(len(stays.car))
    start = park.flexibility.battery_start * park.fact("battery", "e_rated_mwh")
    return State(start, charged, np.zeros(len(park.at("heat_pump"))))


def advance(
    park: Park,
    state: State,
    plan_mw: np.ndarray,
    shift_base_mw: np.ndarray,
    asked_mw: np.ndarray,
    *,
    stays: Stays,
    begin: int,
    stop: int,
) -> tuple[State, Course]:
    """Let intervals `begin` to `stop` happen.

    Parameters
    ----------
    state : State
        As interval `begin` begins.
    plan_mw, shift_base_mw : ndarray, (time, asset)
        Schedule of the whole axis, and the unscheduled power that it was made with: heat pumps shift by the
        difference. [MW]
    asked_mw : ndarray, (time, pump)
        What the thermostats ask for. [MW]
    stays : Stays
        Charging sessions.

    Returns
    -------
    state, course
        As interval `stop` begins, and the way there.
    """
    p_mw = np.zeros((stop - begin, len(park.facts)))
    pumps, cars, batteries = (park.at(kind) for kind in ("heat_pump", "electric_car", "battery"))
    shift = (plan_mw - shift_base_mw)[begin:stop, pumps]
    p_mw[:, pumps], kelvin = shift_rooms(park, state.kelvin, asked_mw[begin:stop], shift)
    by_session = _charge(park, state, plan_mw[:, cars], stays, begin, stop)
    if len(cars):
        np.add.at(p_mw.T, cars[stays.car], by_session.T)
    p_mw[:, batteries], e_mwh = _store(park, state.e_mwh, plan_mw[begin:stop, batteries])
    charged = state.charged_mwh + park.hours * by_session.sum(axis=0)
    after = replace(state, charged_mwh=charged)
    if stop > begin:
        after = State(e_mwh[-1], charged, kelvin[-1])
    return after, Course(p_mw, e_mwh, kelvin)


def advance_whole(
    park: Park, state: State, plan_mw: np.ndarray, shift_base_mw: np.ndarray, asked_mw: np.ndarray, stays: Stays
) -> tuple[State, Course]:
    """The same for the whole axis."""
    return advance(park, state, plan_mw, shift_base_mw, asked_mw, stays=stays, begin=0, stop=park.axis.length)


def shift_rooms(
    park: Park, kelvin: np.ndarray, asked_mw: np.ndarray, shift_mw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Heat pumps that shift what their thermostats ask for.

    Parameters
    ----------
    kelvin : ndarray, (pump,)
        Deviation of the rooms before. [K]
    asked_mw, shift_mw : ndarray, (time, pump)
        Thermostat and schedule. [MW]

    Returns
    -------
    p_mw, kelvin : ndarray, (time, pump)
        Power [MW], and deviation at the end of each interval [K].
    """
    ua, c, cop = (park.fact("heat_pump", name) for name in ("ua_mw_per_k", "c_mwh_per_k", "cop"))
    keep, rated = np.exp(-ua * park.hours / c), park.fact("heat_pump", "p_rated_mw")
    pumps = HeatPumpArrays(rated, keep, cop * (1 - keep) / ua, park.flexibility.override_kelvin)
    power, rooms = (np.zeros((*asked_mw.shape, 1)) for _ in range(2))
    asked, start = (np.ascontiguousarray(part[..., np.newaxis]) for part in (asked_mw, kelvin))
    steps, total = StepArrays(park.hours, 1, 1), np.zeros((len(asked_mw), 1))
    shift_heat_pumps(asked, np.ascontiguousarray(shift_mw), start, pumps, steps, total, power, rooms)
    return power[..., 0], rooms[..., 0]


def _charge(park: Park, state: State, plan_mw: np.ndarray, stays: Stays, begin: int, stop: int) -> np.ndarray:
    """Power of every session. (time, session) [MW]"""
    power = np.zeros((stop - begin, len(stays.car)))
    here = np.flatnonzero((stays.arrival < stop) & (stays.departure > begin) & (stays.e_mwh > state.charged_mwh))
    if not len(here) or stop <= begin:
        return power
    rest = np.maximum(stays.e_mwh - state.charged_mwh, 0.0)[here]
    due = np.minimum(np.maximum(stays.e_due_mwh - state.charged_mwh, 0.0)[here], rest)
    arrival = np.maximum(stays.arrival[here] - begin, 0.0)
    columns = (arrival, stays.departure[here] - begin, rest, due)
    # each session is a car of its own, so that what it charged is known by session
    sessions = SessionArrays(np.arange(len(here) + 1), *(np.ascontiguousarray(c[:, np.newaxis]) for c in columns))
    steps, left = park.axis.length - begin, StepArrays(park.hours, 1, 1)
    p_step, p_mean, unmet = np.zeros((steps, 1)), np.zeros((steps, len(here), 1)), np.zeros((len(here), 1))
    # the car looks at the whole schedule that is in force, not only at what happens now
    planned = np.ascontiguousarray(_while_plugged(park, plan_mw, stays, here)[begin:])
    rated = park.fact("electric_car", "p_rated_mw")[stays.car[here]]
    charge_cars(planned, rated, sessions, left, p_step, p_mean, unmet)
    power[:, here] = p_mean[: stop - begin, :, 0]
    return power


def _while_plugged(park: Park, plan_mw: np.ndarray, stays: Stays, here: np.ndarray) -> np.ndarray:
    """A schedule of interval means as power while the car is there, for some sessions. (time, session) [MW]"""
    begin, planned = np.arange(park.axis.length)[:, None], plan_mw[:, stays.car[here]]
    ends, starts = np.minimum(begin + 1, stays.departure[here]), np.maximum(begin, stays.arrival[here])
    # by its own stay alone: what comes after a session must not be felt in it
    there = np.clip(ends - starts, 0.0, 1.0)
    return np.asarray(np.divide(planned, there, out=planned.copy(), where=there > 0))


def _store(park: Park, e_start_mwh: np.ndarray, plan_mw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Batteries on their schedule, none of their power kept for balancing. Power [MW] and energy [MWh]"""
    rated, e_rated = park.fact("battery", "p_rated_mw"), park.fact("battery", "e_rated_mwh")
    steps, none = len(plan_mw), BidArrays(np.zeros(0), np.zeros(0))
    band = np.zeros((steps, len(rated)))
    batteries = BatteryArrays(rated, e_rated, np.zeros(len(rated)), park.one_way, band, band + e_rated)
    results = empty_balancing(steps, len(rated), 0, 0, 1)
    start, planned = np.ascontiguousarray(e_start_mwh[:, np.newaxis]), np.ascontiguousarray(plan_mw)
    nothing, clock = np.zeros((steps, 1)), StepArrays(park.hours, 1, 1)
    balance_area(nothing, planned, start, batteries, none, none, clock, results)
    return results.p_battery_mw[..., 0], results.e_battery_mwh[..., 0]
