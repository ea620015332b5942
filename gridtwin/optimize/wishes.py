"""What devices are meant to do and may miss: the wishes of every kind of device, and what a solution leaves of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.template import StampedFleet

NOTICEABLE_AMOUNT = 1e-3
"""Less than this is not missed. [kWh], [K h] or [kg]"""
FULL = 1e-4
"""A store is full where less than this is free. [kWh] or [K]"""
STORES = {
    "battery": "stored_kwh",
    "electric_car": "charged_kwh",
    "bidirectional_car": "charged_kwh",
    "heat_pump": "free_kelvin",
    "two_capacity_heat_pump": "free_kelvin",
    "hot_water_tank": "heat_kwh",
}
"""Kind of device -> its variable that can fill up; what comes before cannot help what comes after."""


@dataclass(frozen=True)
class Wish:
    """Something that a device may miss.

    Parameters
    ----------
    what, unit, phrase : str
        Name in tables, unit, and words around the amount.
    variable : str
        Variable or row of the device's template.
    needs : int
        1 where more consumption would help, -1 where less would.
    times : str
        What the variable is multiplied by to be an amount: "hours" of its step, "fading" (the hours in
        which a building forgets a heat debt), or nothing.
    hard : str
        "lower" bound of the variable or "row" where the model itself does not let it be missed.
    """

    what: str
    unit: str
    phrase: str
    variable: str
    needs: int = 1
    times: str = ""
    hard: str = ""


WISHES = (
    Wish("energy not delivered", "kWh", "is short by {} kWh", "unserved_kwh"),
    Wish("comfort", "K h", "is too cold by {} K h", "cold_kelvin", times="hours"),
    Wish("comfort", "K h", "is too warm by {} K h", "warm_kelvin", needs=-1, times="hours"),
    Wish("comfort", "K h", "owes the time after {} K h", "debt_kelvin", times="fading"),
    Wish("hot water", "kWh", "lacks {} kWh of hot water", "missing_kw", times="hours"),
    Wish("hot water", "kWh", "is below its wished heat by {} kWh", "cold_kwh"),
    Wish("production", "kWh", "loses production of {} kWh", "lost_kwh"),
    Wish("computing", "kWh", "misses {} kWh by its deadline", "missing_kwh"),
    Wish("hydrogen", "kg", "lacks {} kg of hydrogen", "missing_kg"),
    Wish("stored energy", "kWh", "ends up {} kWh below its wished charge", "stored_kwh", hard="lower"),
    Wish("stored hydrogen", "kg", "ends up {} kg below its wished store", "final", hard="row"),
)
"""All wishes; a kind of device has those whose variable or row it has."""


@dataclass(frozen=True)
class Slack:
    """Columns that say by how much something is missed.

    Parameters
    ----------
    column : ndarray of int64, (slack,)
        Column of the program.
    weight : ndarray, (slack,)
        Amount per unit of the column.
    wish : ndarray of int64, (slack,)
        Position in `WISHES`, -1 for what is no wish of a device.
    owner : ndarray of int64, (slack,)
        Position of the device; for what is no wish, the number of the row.
    step : ndarray of int64, (slack,)
        Its step, -1 where it belongs to the whole stay.
    """

    column: np.ndarray
    weight: np.ndarray
    wish: np.ndarray
    owner: np.ndarray
    step: np.ndarray

    def amounts(self, x: np.ndarray) -> dict[tuple[int, int], float]:
        """Amount by device and wish."""
        total: dict[tuple[int, int], float] = {}
        missed = self.weight * x[self.column]
        for owner, wish, amount in zip(self.owner.tolist(), self.wish.tolist(), missed.tolist(), strict=True):
            total[owner, wish] = total.get((owner, wish), 0.0) + amount
        return total


def join_slacks(parts: Sequence[Slack]) -> Slack:
    """Several slacks as one."""
    names = ("column", "weight", "wish", "owner", "step")
    nothing = np.zeros(0, dtype=np.int64)
    return Slack(*(np.concatenate([nothing, *(getattr(part, name) for part in parts)]) for name in names))


def find_soft_slack(program: FlexibilityProgram) -> Slack:
    """Columns of the wishes that the model itself lets be missed at a price."""
    parts, first = [], 0
    for fleet, members in zip(program.device_fleets, program.members, strict=True):
        for number, wish in enumerate(WISHES):
            if wish.variable in fleet.compiled.columns and not wish.hard:
                parts.append(_slack_of(fleet, members, number, first, program.problem.hours))
        first += fleet.family.cost.size
    return join_slacks(parts)


def _slack_of(fleet: StampedFleet, members: np.ndarray, number: int, first: int, hours: np.ndarray) -> Slack:
    wish, columns = WISHES[number], np.array(fleet.compiled.columns[WISHES[number].variable])
    shape = (len(columns), len(members))
    each = {"hours": hours[:, None], "": np.ones(1)}
    if wish.times == "fading":
        each["fading"] = fleet.fleet.values["c_kwh_per_k"] / fleet.fleet.values["ua_kw_per_k"]
    step = np.arange(shape[0]) if shape[0] == len(hours) and shape[0] > 1 else np.full(shape[0], -1)
    return Slack(
        column=(first + columns[:, None] * shape[1] + np.arange(shape[1])).ravel(),
        weight=np.broadcast_to(each[wish.times], shape).ravel().astype(float),
        wish=np.full(columns.size * shape[1], number),
        owner=np.broadcast_to(members, shape).ravel(),
        step=np.broadcast_to(step[:, None], shape).ravel(),
    )


@dataclass(frozen=True)
class Missed:
    """A wish that is missed, in one spell.

    Parameters
    ----------
    device, wish : int
        Positions among the devices and in `WISHES`.
    amount : float
        In the unit of the wish.
    first, last : int
        Steps of the spell, or of the stay.
    helps_from : int
        First step on which power would have helped.
    """

    device: int
    wish: int
    amount: float
    first: int
    last: int
    helps_from: int


def find_missed(program: FlexibilityProgram, slack: Slack, x: np.ndarray) -> list[Missed]:
    """Every missed wish of a solution, spell by spell.

    Parameters
    ----------
    slack : Slack
        Columns of wishes.
    x : ndarray, (column,)
        The solution.
    """
    found = []
    for (device, wish), total in slack.amounts(x).items():
        if total <= NOTICEABLE_AMOUNT:
            continue
        own = (slack.owner == device) & (slack.wish == wish)
        amount, step = slack.weight[own] * x[slack.column[own]], slack.step[own]
        if (step < 0).any():
            first, last = window_of(program.problem.devices[device])
            found.append(Missed(device, wish, total, first, last, first))
            continue
        at = np.zeros(len(program.problem.hours))
        np.add.at(at, step, amount)
        full = _full_steps(program, device, x)
        for first, last in runs_of(at > NOTICEABLE_AMOUNT / len(at)):
            begin = int(np.flatnonzero(full[:first]).max(initial=-1)) + 1
            found.append(Missed(device, wish, float(at[first : last + 1].sum()), first, last, begin))
    return found


def window_of(device: Device) -> tuple[int, int]:
    """First and last step on which a device can move at all; all steps where it never can."""
    low, high = (np.asarray(band) for band in (device.p_min_kw, device.p_max_kw))
    moves = np.flatnonzero(high - low > 0)
    return (int(moves[0]), int(moves[-1])) if len(moves) else (0, len(high) - 1)


def runs_of(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last position of every unbroken run of True.

    >>> runs_of(np.array([True, True, False, True]))
    [(0, 1), (3, 3)]
    """
    edges = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def _full_steps(program: FlexibilityProgram, device: int, x: np.ndarray) -> np.ndarray:
    """Steps at whose end the store of a device is full. (time,)"""
    first = 0
    for fleet, members in zip(program.device_fleets, program.members, strict=True):
        size = fleet.family.cost.size
        if device in members and (store := STORES.get(fleet.fleet.template.kind)):
            member, columns = int(np.flatnonzero(members == device)[0]), fleet.compiled.columns[store]
            stored = x[first : first + size].reshape(fleet.family.cost.shape)[columns, member]
            return np.asarray(stored >= fleet.family.upper[columns, member] - FULL)
        first += size
    return np.zeros(len(program.problem.hours), dtype=bool)
