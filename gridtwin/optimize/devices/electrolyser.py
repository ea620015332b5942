"""Electrolysers: most efficient at part load, not able to run at almost none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, before, last_step
from gridtwin.optimize.template import Template


def write_electrolyser(block: Any) -> None:
    """Hydrogen from power by two straight lines, into a store with an offtake.

    p[t]   = x[t] + p_standby (1 - on[t])
    p_low on[t] <= x[t] <= p_rated on[t]                       running
    kg[t]  <= y_k x[t] + z_k on[t],  k = part load, full load  efficiency
    s[t] + missing[t] = s[t-1] + h kg[t] - h offtake[t] + ...  store, a shortfall is bought
    on[t] - on[t-1] <= start[t]                                starts
    on in {0, 1},  0 <= s <= s_rated,  s[end] >= s_final
    cost = hydrogen_price missing + start_price start
    """
    block.running_kw = pyo.Var(block.step, bounds=(0, block.p_rated_kw))
    block.on = pyo.Var(block.step, domain=pyo.Binary)
    block.start = pyo.Var(block.step, bounds=(0, 1))
    block.kg_per_h = pyo.Var(block.step, bounds=(0, None))
    block.stored_kg = pyo.Var(block.step, bounds=(0, block.s_rated_kg))
    block.missing_kg = pyo.Var(block.step, bounds=(0, None))

    def store(b: Any, t: int) -> Any:
        gained = b.hours[t] * b.kg_per_h[t] + b.missing_kg[t]
        return b.stored_kg[t] - before(b.stored_kg, t, b.s_start_kg) - gained == -b.hours[t] * b.offtake_kg_per_h[t]

    def starts(b: Any, t: int) -> Any:
        return b.on[t] - b.start[t] <= b.on_start if t == 0 else b.on[t] - b.on[t - 1] - b.start[t] <= 0

    block.at_least = pyo.Constraint(block.step, rule=lambda b, t: b.running_kw[t] - b.p_low_kw * b.on[t] >= 0)
    block.at_most = pyo.Constraint(block.step, rule=lambda b, t: b.running_kw[t] - b.p_rated_kw * b.on[t] <= 0)
    block.part_load = pyo.Constraint(
        block.step,
        rule=lambda b, t: b.kg_per_h[t] - b.part_slope * b.running_kw[t] - b.part_intercept * b.on[t] <= 0,
    )
    block.full_load = pyo.Constraint(
        block.step,
        rule=lambda b, t: b.kg_per_h[t] - b.full_slope * b.running_kw[t] - b.full_intercept * b.on[t] <= 0,
    )
    block.store = pyo.Constraint(block.step, rule=store)
    block.starts = pyo.Constraint(block.step, rule=starts)
    block.final = pyo.Constraint(expr=block.stored_kg[last_step(block)] >= block.s_final_kg)
    block.power_kw = pyo.Expression(
        block.step, rule=lambda b, t: b.running_kw[t] + b.p_standby_kw - b.p_standby_kw * b.on[t]
    )
    bought = pyo.quicksum(block.hydrogen_eur_per_kg * block.missing_kg[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=bought + pyo.quicksum(block.start_eur * block.start[t] for t in block.step))


@dataclass(frozen=True)
class Electrolyser(Device):
    """An electrolyser with its store.

    Parameters
    ----------
    p_rated_kw, p_low_kw, p_standby_kw : float
        Rated power, smallest power while running (10 to 20 % of rated), power while not. [kW]
    part_kwh_per_kg, full_kwh_per_kg : float
        Specific consumption at half and at rated power. [kWh/kg]
    offtake_kg_per_h : ndarray, (time,)
        Hydrogen drawn from the store. [kg/h]
    s_rated_kg, s_start_kg, s_final_kg : float
        Store: largest, at the start, to be had at the end. [kg]
    hydrogen_eur_per_kg, start_eur : float
        Price of bought hydrogen, price of a start. [EUR/kg], [EUR]
    on_start : float
        1 where it runs as the first step begins.
    """

    template: ClassVar[Template] = Template(
        "electrolyser",
        write_electrolyser,
        (
            *("p_rated_kw", "p_low_kw", "p_standby_kw", "part_slope", "part_intercept", "full_slope"),
            *("full_intercept", "s_rated_kg", "s_start_kg", "s_final_kg", "hydrogen_eur_per_kg", "start_eur"),
            "on_start",
        ),
        ("offtake_kg_per_h",),
        carry={"s_start_kg": ("stored_kg",), "on_start": ("on",)},
    )

    p_rated_kw: float
    p_low_kw: float
    part_kwh_per_kg: float
    full_kwh_per_kg: float
    offtake_kg_per_h: Any
    s_rated_kg: float
    s_start_kg: float
    s_final_kg: float
    hydrogen_eur_per_kg: float
    p_standby_kw: float = 0.0
    start_eur: float = 0.0
    on_start: float = 0.0

    @property
    def part_slope(self) -> float:
        """Slope of the line from the origin to half power. [kg/kWh]"""
        return 1 / self.part_kwh_per_kg

    @property
    def part_intercept(self) -> float:
        """The line passes through the origin. [kg/h]"""
        return 0.0

    @property
    def full_slope(self) -> float:
        """Slope of the line from half to rated power. [kg/kWh]"""
        return 2 / self.full_kwh_per_kg - 1 / self.part_kwh_per_kg

    @property
    def full_intercept(self) -> float:
        """Where that line meets zero power. [kg/h]"""
        return self.p_rated_kw * (1 / self.part_kwh_per_kg - 1 / self.full_kwh_per_kg)
