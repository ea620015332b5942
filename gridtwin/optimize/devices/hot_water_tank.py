"""Hot-water tanks: a store with a draw, heated by a heat pump or a heating rod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, Series, before
from gridtwin.optimize.template import Template


def write_hot_water_tank(block: Any) -> None:
    """Stored heat with losses and draw.

        e[t] = a e[t-1] + g (cop[t] p[t] - draw[t] + missing[t])   heat
        a    = exp(-h / tau),  g = (1 - a) tau
        e[t] + cold[t] >= e_wish[t]                                wish
        0 <= p <= p_max,  0 <= e <= e_max,  missing, cold >= 0
        cost = unserved_price (h missing + cold)

    Exact for constant power and draw in a step; tau is the time constant of the standing losses.
    A wish is a charge that should be there, such as the hot hour against legionella.
    """
    block.heating_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_max_kw[t]))
    block.heat_kwh = pyo.Var(block.step, bounds=(0, block.e_rated_kwh))
    block.missing_kw = pyo.Var(block.step, bounds=(0, None))
    block.cold_kwh = pyo.Var(block.step, bounds=(0, None))

    def heat(b: Any, t: int) -> Any:
        kept = pyo.exp(-b.hours[t] / b.tau_h)
        gain = (1 - kept) * b.tau_h
        then = kept * before(b.heat_kwh, t, b.e_start_kwh)
        gained = gain * b.cop[t] * b.heating_kw[t] + gain * b.missing_kw[t]
        return b.heat_kwh[t] - then - gained == -gain * b.draw_kw[t]

    block.heat = pyo.Constraint(block.step, rule=heat)
    block.wish = pyo.Constraint(block.step, rule=lambda b, t: b.heat_kwh[t] + b.cold_kwh[t] >= b.e_wish_kwh[t])
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.heating_kw[t])
    short = pyo.quicksum(block.hours[t] * block.missing_kw[t] + block.cold_kwh[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=block.unserved_eur_per_kwh * short)


@dataclass(frozen=True)
class HotWaterTank(Device):
    """A tank of hot water.

    Parameters
    ----------
    e_rated_kwh, e_start_kwh : float
        Heat above the coldest useful temperature: full, and as the first step begins. [kWh]
    tau_h : float
        Time constant of the standing losses. [h]
    cop : float or ndarray, (time,)
        Heat per electric energy; 1 for a heating rod. [-]
    draw_kw : ndarray, (time,)
        Heat drawn. [kW]
    e_wish_kwh : float or ndarray, (time,)
        Heat that should be in at the end of each step. [kWh]
    unserved_eur_per_kwh : float
        Price of heat that is missing. [EUR/kWh]
    """

    template: ClassVar[Template] = Template(
        kind="hot_water_tank",
        write=write_hot_water_tank,
        scalars=("e_rated_kwh", "e_start_kwh", "tau_h", "unserved_eur_per_kwh"),
        series=("p_max_kw", "cop", "draw_kw", "e_wish_kwh"),
        at_end=("e_wish_kwh",),
        carry={"e_start_kwh": ("heat_kwh",)},
    )

    e_rated_kwh: float
    e_start_kwh: float
    tau_h: float
    cop: Series
    draw_kw: Series
    e_wish_kwh: Series = 0.0
    unserved_eur_per_kwh: float = 2.0
