"""Battery storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, Series, before, last_step
from gridtwin.optimize.template import Template


def write_battery(block: Any) -> None:
    """Storage with losses on both ways.

        e[t] = e[t-1] + h (r charge[t] - discharge[t] / r)         energy
        charge[t]    <= p_charge[t] mode[t]                        charges
        discharge[t] <= p_discharge[t] (1 - mode[t])               discharges
        e_min <= e <= e_max,  0 <= mode <= 1
        cost = h wear discharge - end_value e[end]

    r is the square root of the round-trip efficiency. Charging and discharging at once only
    burns energy. Where a solution does so all the same, because a price is negative or a
    line is full, `mode` becomes a whole number on those steps (`solve.py`).
    """
    one_way = block.efficiency**0.5
    block.charge_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_charge_kw[t]))
    block.discharge_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_discharge_kw[t]))
    block.stored_kwh = pyo.Var(block.step, bounds=lambda b, t: (b.e_min_kwh[t], b.e_max_kwh[t]))
    block.mode = pyo.Var(block.step, bounds=(0, 1))

    def energy(b: Any, t: int) -> Any:
        gained = b.hours[t] * one_way * b.charge_kw[t] - b.hours[t] / one_way * b.discharge_kw[t]
        return b.stored_kwh[t] == before(b.stored_kwh, t, b.e_start_kwh) + gained

    block.energy = pyo.Constraint(block.step, rule=energy)
    block.charges = pyo.Constraint(block.step, rule=lambda b, t: b.charge_kw[t] - b.p_charge_kw[t] * b.mode[t] <= 0)
    block.discharges = pyo.Constraint(
        block.step, rule=lambda b, t: b.discharge_kw[t] + b.p_discharge_kw[t] * b.mode[t] <= b.p_discharge_kw[t]
    )
    block.exclusive = [(block.charge_kw[t], block.discharge_kw[t], block.mode[t]) for t in block.step]
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.charge_kw[t] - b.discharge_kw[t])
    wear = pyo.quicksum(block.wear_eur_per_kwh * block.hours[t] * block.discharge_kw[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=wear - block.end_value_eur_per_kwh * block.stored_kwh[last_step(block)])


@dataclass(frozen=True)
class Battery(Device):
    """A battery storage.

    Parameters
    ----------
    p_charge_kw, p_discharge_kw : float or ndarray, (time,)
        Largest power each way; rated power less what is held ready as reserve. [kW]
    e_min_kwh, e_max_kwh : float or ndarray, (time,)
        Band of the stored energy at the end of each step: reserve, and what must be there at the end. [kWh]
    e_start_kwh : float
        Stored energy as the first step begins. [kWh]
    efficiency : float
        Of a round trip. [-]
    wear_eur_per_kwh : float
        Wear per discharged energy. [EUR/kWh]
    end_value_eur_per_kwh : float
        Worth of energy stored as the last step ends. [EUR/kWh]
    """

    template: ClassVar[Template] = Template(
        kind="battery",
        write=write_battery,
        scalars=("e_start_kwh", "efficiency", "wear_eur_per_kwh", "end_value_eur_per_kwh"),
        series=("p_charge_kw", "p_discharge_kw", "e_min_kwh", "e_max_kwh"),
        at_end=("e_min_kwh", "e_max_kwh"),
        carry={"e_start_kwh": ("stored_kwh",)},
    )

    p_charge_kw: Series
    p_discharge_kw: Series
    e_min_kwh: Series
    e_max_kwh: Series
    e_start_kwh: float
    efficiency: float = 0.92
    wear_eur_per_kwh: float = 0.0
    end_value_eur_per_kwh: float = 0.0


def hold_reserve(
    p_rated_kw: float, e_rated_kwh: float, *, up_kw: Series, down_kw: Series, hours: float, efficiency: float
) -> dict[str, Series]:
    """Power and energy that a battery may still use while it holds reserve ready.

    Parameters
    ----------
    p_rated_kw, e_rated_kwh : float
        Rated power and usable energy. [kW], [kWh]
    up_kw, down_kw : float or ndarray, (time,)
        Reserve: more discharging, more charging. [kW]
    hours : float
        How long a full activation must be served. [h]
    efficiency : float
        Of a round trip. [-]

    Examples
    --------
    >>> hold_reserve(10.0, 20.0, up_kw=4.0, down_kw=0.0, hours=1.0, efficiency=1.0)["e_min_kwh"]
    4.0
    """
    one_way = efficiency**0.5
    return {
        "p_charge_kw": p_rated_kw - down_kw,
        "p_discharge_kw": p_rated_kw - up_kw,
        "e_min_kwh": up_kw * hours / one_way,
        "e_max_kwh": e_rated_kwh - down_kw * hours * one_way,
    }
