"""Electric cars at their plugs: a device is one charging session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, Series
from gridtwin.optimize.template import Template


def write_session(block: Any) -> None:
    """Charging between arrival and departure.

        e[t] = keep[t] e[t-1] + e_arrive[t] + h n charge[t]          energy
        sum of leave[t] e[t] + unserved >= e_due                     due
        0 <= charge <= p_max,  e_min <= e <= e_max,  unserved >= 0
        charge = 0 or charge >= p_low                                smallest current
        cost = unserved_price unserved

    Outside of the session power and energy are 0. A car that leaves within the horizon is due
    its whole energy; one that stays is due what constant charging would have reached.
    """
    _write_energy(block, lambda b, t: b.charging_efficiency * b.charge_kw[t])
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.charge_kw[t])
    block.cost_eur = pyo.Expression(expr=block.unserved_eur_per_kwh * block.unserved_kwh)


def write_bidirectional_session(block: Any) -> None:
    """The same with a plug that can feed in.

    e[t] = keep[t] e[t-1] + e_arrive[t] + h (n charge[t] - discharge[t] / n)
    charge[t]    <= p_max[t] mode[t]
    discharge[t] <= p_back[t] (1 - mode[t])
    cost = unserved_price unserved + h wear discharge
    """
    block.discharge_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_back_kw[t]))
    block.mode = pyo.Var(block.step, bounds=(0, 1))
    _write_energy(
        block, lambda b, t: b.charging_efficiency * b.charge_kw[t] - 1 / b.charging_efficiency * b.discharge_kw[t]
    )
    block.charges = pyo.Constraint(block.step, rule=lambda b, t: b.charge_kw[t] - b.p_max_kw[t] * b.mode[t] <= 0)
    block.discharges = pyo.Constraint(
        block.step, rule=lambda b, t: b.discharge_kw[t] + b.p_back_kw[t] * b.mode[t] <= b.p_back_kw[t]
    )
    block.exclusive = [(block.charge_kw[t], block.discharge_kw[t], block.mode[t]) for t in block.step]
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.charge_kw[t] - b.discharge_kw[t])
    wear = pyo.quicksum(block.wear_eur_per_kwh * block.hours[t] * block.discharge_kw[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=block.unserved_eur_per_kwh * block.unserved_kwh + wear)


def _write_energy(block: Any, gained_kw: Any) -> None:
    block.charge_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_max_kw[t]))
    block.charged_kwh = pyo.Var(block.step, bounds=lambda b, t: (b.e_min_kwh[t], b.e_max_kwh[t]))
    block.unserved_kwh = pyo.Var(bounds=(0, None))

    def energy(b: Any, t: int) -> Any:
        kept = b.keep[t] * b.charged_kwh[t - 1] if t else 0
        return b.charged_kwh[t] - kept - b.hours[t] * gained_kw(b, t) == b.e_arrive_kwh[t]

    block.energy = pyo.Constraint(block.step, rule=energy)
    leaving = pyo.quicksum(block.leave[t] * block.charged_kwh[t] for t in block.step)
    block.due = pyo.Constraint(expr=leaving + block.unserved_kwh >= block.e_due_kwh)
    block.semicontinuous = [(block.charge_kw[t], block.p_low_kw[t]) for t in block.step]


_SCALARS = ("e_due_kwh", "charging_efficiency", "unserved_eur_per_kwh")
_SERIES = ("p_max_kw", "p_low_kw", "e_min_kwh", "e_max_kwh", "keep", "e_arrive_kwh", "leave")
_CARRY = {"e_start_kwh": ("charged_kwh",)}


@dataclass(frozen=True)
class ChargingSession(Device):
    """One car at its plug, as far as it lies on the horizon.

    Parameters
    ----------
    arrival, departure : Timestamp
        As declared, UTC.
    p_low_kw : float or ndarray, (time,)
        Smallest power beside 0, such as 6 A; 0 where any power can be set. [kW]
    e_start_kwh : float
        Charged in this session before the horizon. [kWh]
    e_due_kwh : float
        To be charged by departure, or by the end of the horizon. [kWh]
    e_session_kwh : float
        Energy of the whole session. [kWh]
    unserved_eur_per_kwh : float
        Price of energy that the car leaves without. [EUR/kWh]
    leaves : bool
        Whether the car departs within the horizon.
    charging_efficiency : float
        Energy in the battery per energy at the plug; 1 where energies are meant at the plug. [-]
    """

    template: ClassVar[Template] = Template("electric_car", write_session, _SCALARS, _SERIES, carry=_CARRY)

    arrival: pd.Timestamp
    departure: pd.Timestamp
    p_low_kw: Series
    e_start_kwh: float
    e_due_kwh: float
    e_session_kwh: float
    unserved_eur_per_kwh: float
    leaves: bool = True
    charging_efficiency: float = 1.0

    @cached_property
    def plugged(self) -> np.ndarray:
        """Steps on which the car is plugged in at least partly. (step,)"""
        return np.flatnonzero((self.p_max_kw > 0) | (self.p_min_kw < 0))

    @property
    def keep(self) -> np.ndarray:
        """1 on steps that go on with the energy of the step before. (time,)"""
        inside = np.zeros(len(self.p_max_kw))
        inside[self.plugged[1:]] = 1.0
        return inside

    @property
    def e_arrive_kwh(self) -> np.ndarray:
        """Energy with which the session begins, on its first step. (time,) [kWh]"""
        return self._on(self.plugged[:1], self.e_start_kwh)

    @property
    def leave(self) -> np.ndarray:
        """1 on the last step. (time,)"""
        return self._on(self.plugged[-1:], 1.0)

    @property
    def e_min_kwh(self) -> np.ndarray:
        """Smallest energy at the end of each step. (time,) [kWh]"""
        return np.zeros(len(self.p_max_kw))

    @property
    def e_max_kwh(self) -> np.ndarray:
        """Largest energy at the end of each step. (time,) [kWh]"""
        return self._on(self.plugged, self.e_session_kwh)

    def _on(self, steps: np.ndarray, value: float) -> np.ndarray:
        series = np.zeros(len(self.p_max_kw))
        series[steps] = value
        return series


@dataclass(frozen=True)
class BidirectionalSession(ChargingSession):
    """A session at a plug that can feed in.

    Parameters
    ----------
    wear_eur_per_kwh : float
        Wear of the car's battery per discharged energy. [EUR/kWh]
    e_capacity_kwh : float
        Usable energy of the battery above what it held on arrival. [kWh]
    e_reserve_kwh : float
        How far below the energy on arrival the battery may go. [kWh]
    """

    template: ClassVar[Template] = Template(
        "bidirectional_car",
        write_bidirectional_session,
        (*_SCALARS, "wear_eur_per_kwh"),
        (*_SERIES, "p_back_kw"),
        carry=_CARRY,
    )

    wear_eur_per_kwh: float = 0.0
    e_capacity_kwh: float = 0.0
    e_reserve_kwh: float = 0.0

    @property
    def p_back_kw(self) -> np.ndarray:
        """Largest feed-in. (time,) [kW]"""
        return -np.asarray(self.p_min_kw)

    @property
    def e_min_kwh(self) -> np.ndarray:
        """Smallest energy at the end of each step, against arrival. (time,) [kWh]"""
        return self._on(self.plugged, -self.e_reserve_kwh)

    @property
    def e_max_kwh(self) -> np.ndarray:
        """Largest energy at the end of each step, against arrival. (time,) [kWh]"""
        return self._on(self.plugged, max(self.e_capacity_kwh, self.e_session_kwh))


def plugged_share(edges: np.ndarray, arrival: float, departure: float) -> np.ndarray:
    """Share of each step between arrival and departure. (time,) [-]

    Parameters
    ----------
    edges : ndarray, (time + 1,)
        Edges of the steps. [h]
    arrival, departure : float
        On the same clock. [h]

    Examples
    --------
    >>> plugged_share(np.array([0.0, 1.0, 2.0]), 0.5, 9.0)
    array([0.5, 1. ])
    """
    overlap = np.minimum(edges[1:], departure) - np.maximum(edges[:-1], arrival)
    return np.asarray(np.clip(overlap / np.diff(edges), 0.0, 1.0))
