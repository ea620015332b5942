"""What is known as a schedule is made: the day before, and at each decision within the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.errors import DataError, Finding
from gridtwin.operate.intraday_cost import Prices
from gridtwin.operate.intraday_reality import Park, State, Stays, advance, advance_whole, open_state, read_stays

FEWEST_PATHS = 10
"""Paths from which the persistence of an error can be learned."""


@dataclass(frozen=True)
class Outlook:
    """What is known as a schedule is made.

    Parameters
    ----------
    park : Park
        Devices, in the order of the schedule.
    first : int
        First interval that may be changed.
    state : State
        How the devices will stand then, by what is known now.
    stays : Stays
        Charging sessions: those that came as they are, the others as declared.
    p_other_mw : ndarray, (time,)
        Net power of everything that has no schedule. [MW]
    asked_mw : ndarray, (time, pump)
        What the thermostats will ask for. [MW]
    position_mw : ndarray, (time,)
        What was bought. [MW]
    prices : Prices
        Of energy, of a deficit and of a surplus.
    e_end_mwh : ndarray, (battery,)
        Least stored energy as the axis ends. [MWh]
    plan_mw : ndarray, (time, asset), optional
        Schedule in force, kept where nothing is gained by leaving it. [MW]
    """

    park: Park
    first: int
    state: State
    stays: Stays
    p_other_mw: np.ndarray
    asked_mw: np.ndarray
    position_mw: np.ndarray
    prices: Prices
    e_end_mwh: np.ndarray
    plan_mw: np.ndarray | None = None


Resolve = Callable[[Outlook], np.ndarray]
"""Makes the schedule of intervals `first` to the end. (time, asset) [MW]"""


@dataclass(frozen=True)
class DayAhead:
    """What is fixed the day before, on the schedule's axis. [MW]"""

    park: Park
    plan_mw: np.ndarray
    base_mw: np.ndarray
    other_paths_mw: np.ndarray
    asked_paths_mw: np.ndarray
    stays: Stays
    declared: Stays
    position_mw: np.ndarray
    e_end_mwh: np.ndarray
    prices: Prices

    @property
    def length(self) -> int:
        """Intervals of the day."""
        return self.park.axis.length


@dataclass(frozen=True)
class Decisions:
    """How decisions are made: every so many intervals, so many intervals ahead."""

    resolve: Resolve
    every: int
    lead: int
    persistence: tuple[np.ndarray, np.ndarray]

    def closing(self, now: int, length: int) -> tuple[int, int]:
        """Intervals that the decision with interval `now` is the last to change: first, and after the last."""
        following = now + self.every + self.lead
        return now + self.lead, following if following < length else length

    def moments(self, length: int) -> list[int]:
        """Intervals with which a decision is made; before the first nothing is known beyond the plan."""
        return [now for now in range(self.every, length, self.every) if now + self.lead < length]


def open_day(
    park: Park,
    plan: xr.Dataset,
    paths: xr.Dataset,
    sessions: pd.DataFrame,
    declared: pd.DataFrame | None,
    prices: Prices,
) -> DayAhead:
    """The expected day; the area bought what it expects under the schedule unless the plan says otherwise."""
    plan_mw, base_mw = (plan[name].transpose("time", "asset").to_numpy() for name in ("p_mw", "p_base_mw"))
    forecast = paths["p_mw"].transpose("path", "time", "asset").sel(time=park.axis.times)
    ((other, asked),) = [split_power(forecast, plan, park)]
    stays = read_stays(park, sessions)
    believed = stays if declared is None else read_stays(park, declared)
    start, pumps = open_state(park, believed), park.at("heat_pump")
    _, course = advance_whole(park, start, plan_mw, base_mw, base_mw[:, pumps], believed)
    position = other.mean(axis=0) + course.p_mw.sum(axis=1)
    if "position_mw" in plan:
        position = plan["position_mw"].to_numpy()
    e_end = course.e_mwh[-1]
    return DayAhead(park, plan_mw, base_mw, other, asked, stays, believed, position, e_end, prices)


def split_power(power: xr.DataArray, plan: xr.Dataset, park: Park) -> tuple[np.ndarray, np.ndarray]:
    """Power of everything unscheduled (path, time), and of the thermostats (path, time, pump). [MW]"""
    scheduled = plan.indexes["asset"]
    others = power.indexes["asset"].difference(scheduled, sort=False)
    pumps = scheduled[park.at("heat_pump")]
    return power.sel(asset=others).sum("asset").to_numpy(), power.sel(asset=pumps).to_numpy()


def find_persistence(day: DayAhead, half_life: pd.Timedelta | None) -> tuple[np.ndarray, np.ndarray]:
    """Share of the last error that is expected later: (last, later) of the unscheduled, (last, later, pump). [-]"""
    length, pumps = day.length, day.asked_paths_mw.shape[2]
    if half_life is not None:
        lag = np.arange(length)[None, :] - np.arange(length)[:, None]
        share = np.where(lag > 0, 0.5 ** (np.maximum(lag, 0) * (day.park.axis.step / half_life)), 0.0)
        return share, np.repeat(share[..., None], pumps, axis=2)
    if len(day.other_paths_mw) < FEWEST_PATHS:
        raise DataError([_too_few(len(day.other_paths_mw))])
    rooms = [learn_persistence(day.asked_paths_mw[..., k]) for k in range(pumps)]
    return learn_persistence(day.other_paths_mw), np.stack(rooms, 2) if rooms else np.zeros((length, length, 0))


def _too_few(paths: int) -> Finding:
    return Finding(
        "too few paths to learn how long an error lasts",
        where="intraday",
        expected=f"{FEWEST_PATHS} or more",
        got=str(paths),
        do="Give half_life.",
        severity="error",
        code="GT-M25",
    )


def learn_persistence(paths_mw: np.ndarray) -> np.ndarray:
    """Share of an error that is expected at later times, by least squares over the paths. (last, later) [-]

    Parameters
    ----------
    paths_mw : ndarray, (path, time)
        Forecast paths. [MW]

    Notes
    -----
    cov(later, last) / var(last), the best linear prediction from the last value alone, between 0 and 1; 0 where
    paths do not differ, or where their correlation is below 2 / sqrt(paths) and may be chance.

    Examples
    --------
    >>> last = np.array([-1.0, 0.0, 0.0, 1.0, 0.0])
    >>> learn_persistence(np.column_stack([last, 0.5 * last]))
    array([[1. , 0.5],
           [1. , 1. ]])
    """
    error = paths_mw - paths_mw.mean(axis=0)
    crossed = error.T @ error
    own = np.diagonal(crossed)
    moves = own > 1e-18 * len(paths_mw)
    both = moves[:, None] & moves
    share = np.divide(crossed, own[:, None], out=np.zeros_like(crossed), where=both)
    spread = np.sqrt(own[:, None] * own)
    correlation = np.divide(crossed, spread, out=np.zeros_like(crossed), where=both)
    # 2 / sqrt(n): twice the deviation that the correlation of n unrelated pairs has
    share[correlation < 2 / np.sqrt(len(paths_mw))] = 0.0
    return np.asarray(np.clip(share, 0.0, 1.0))


def look_ahead(
    day: DayAhead,
    state: State,
    plan_mw: np.ndarray,
    base_mw: np.ndarray,
    other_mw: np.ndarray,
    asked_mw: np.ndarray,
    *,
    now: int,
    decide: Decisions,
) -> Outlook:
    """What is known as interval `now` begins: nothing that lies after it is read."""
    first, (share, rooms) = now + decide.lead, decide.persistence
    other, asked = day.other_paths_mw.mean(axis=0), day.base_mw[:, day.park.at("heat_pump")].copy()
    other[now:] += share[now - 1, now:] * (other_mw[now - 1] - other[now - 1])
    asked[now:] += rooms[now - 1, now:] * (asked_mw[now - 1] - asked[now - 1])
    other[:now], asked[:now] = other_mw[:now], asked_mw[:now]
    asked = np.clip(asked, 0.0, day.park.fact("heat_pump", "p_rated_mw"))
    stays = _known_stays(day, now)
    then, _ = advance(day.park, state, plan_mw, base_mw, asked, stays=stays, begin=now, stop=first)
    return Outlook(
        day.park, first, then, stays, other, asked, day.position_mw, day.prices, day.e_end_mwh, plan_mw.copy()
    )


def _known_stays(day: DayAhead, now: int) -> Stays:
    """Cars that came are known; the others are believed to come as declared, a late one at once."""
    real, said = day.stays, day.declared
    came = real.arrival <= now
    arrival = np.where(came, real.arrival, np.maximum(said.arrival, float(now)))
    departure = np.where(came, real.departure, said.departure)
    gone = ~came & (said.departure <= now)
    return replace(
        real,
        arrival=np.where(gone, np.inf, arrival),
        departure=np.where(gone, np.inf, departure),
        e_mwh=np.where(came, real.e_mwh, said.e_mwh),
        e_due_mwh=np.where(came, real.e_due_mwh, said.e_due_mwh),
    )
