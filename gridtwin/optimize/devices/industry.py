"""Industrial loads: shifted against a stock, or interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, before, last_step
from gridtwin.optimize.template import Template


def write_shiftable_process(block: Any) -> None:
    """A process with a stock of its product behind it, counted in the energy it took.

    s[t] = s[t-1] + h (p[t] - p_base[t])                       stock
    s[end] + lost >= 0                                         production
    |p[t] - p[t-1]| <= h ramp                                  ramps
    p_min <= p <= p_max,  -s_rated <= s <= s_rated
    cost = production_price lost
    """
    block.process_kw = pyo.Var(block.step, bounds=lambda b, t: (b.p_min_kw[t], b.p_max_kw[t]))
    block.stock_kwh = pyo.Var(block.step, bounds=(-block.s_rated_kwh, block.s_rated_kwh))
    block.lost_kwh = pyo.Var(bounds=(0, None))

    def stock(b: Any, t: int) -> Any:
        then = before(b.stock_kwh, t, b.s_start_kwh)
        return b.stock_kwh[t] - then - b.hours[t] * b.process_kw[t] == -b.hours[t] * b.p_base_kw[t]

    def ramp(b: Any, t: int, sign: int) -> Any:
        if t == 0:
            return pyo.Constraint.Skip
        return sign * (b.process_kw[t] - b.process_kw[t - 1]) <= b.hours[t] * b.ramp_kw_per_h

    block.stock = pyo.Constraint(block.step, rule=stock)
    block.rising = pyo.Constraint(block.step, rule=lambda b, t: ramp(b, t, 1))
    block.falling = pyo.Constraint(block.step, rule=lambda b, t: ramp(b, t, -1))
    block.production = pyo.Constraint(expr=block.stock_kwh[last_step(block)] + block.lost_kwh >= 0)
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.process_kw[t])
    block.cost_eur = pyo.Expression(expr=block.production_eur_per_kwh * block.lost_kwh)


def write_interruptible_process(block: Any) -> None:
    """A process that is either running as usual or off.

    p[t] = (1 - off[t]) p_base[t]
    off[t] - off[t-1] <= stop[t]                               stops
    sum of stop <= stops_max                                   few stops
    off[t] + ... + off[t + n] <= n, n = steps_off_max          no long stop
    off, stop in {0, 1}
    cost = sum of h interruption_price p_base off + stop_price stop
    """
    block.off = pyo.Var(block.step, domain=pyo.Binary)
    block.stop = pyo.Var(block.step, bounds=(0, 1))

    def stops(b: Any, t: int) -> Any:
        return b.off[t] - b.stop[t] <= b.off_start if t == 0 else b.off[t] - b.off[t - 1] - b.stop[t] <= 0

    def elapsed(b: Any, t: int) -> Any:
        return b.off_h[t] - before(b.off_h, t, b.off_start_h) - b.hours[t] * b.off[t] >= -b.reset_h * (1 - b.off[t])

    block.off_h = pyo.Var(block.step, bounds=(0, block.off_max_h))
    block.stops = pyo.Constraint(block.step, rule=stops)
    block.elapsed = pyo.Constraint(block.step, rule=elapsed)
    block.few_stops = pyo.Constraint(expr=pyo.quicksum(block.stop[t] for t in block.step) <= block.stops_max)
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.p_base_kw[t] - b.p_base_kw[t] * b.off[t])
    price = block.interruption_eur_per_kwh
    lost = pyo.quicksum(price * block.hours[t] * block.p_base_kw[t] * block.off[t] for t in block.step)
    stopping = pyo.quicksum(block.stop_eur * block.stop[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=lost + stopping)


@dataclass(frozen=True)
class ShiftableProcess(Device):
    """A process that can run ahead of or behind its plan.

    Parameters
    ----------
    s_rated_kwh, s_start_kwh : float
        Stock of product as the energy it took, against plan: largest either way, and at the start. [kWh]
    ramp_kw_per_h : float
        Largest change of power. [kW/h]
    production_eur_per_kwh : float
        Worth of production that is lost, per energy it would have taken. [EUR/kWh]
    """

    template: ClassVar[Template] = Template(
        "shiftable_process",
        write_shiftable_process,
        ("s_rated_kwh", "s_start_kwh", "ramp_kw_per_h", "production_eur_per_kwh"),
        ("p_base_kw", "p_min_kw", "p_max_kw"),
        carry={"s_start_kwh": ("stock_kwh",)},
    )

    s_rated_kwh: float
    s_start_kwh: float = 0.0
    ramp_kw_per_h: float = 1e6
    production_eur_per_kwh: float = 2.0


@dataclass(frozen=True)
class InterruptibleProcess(Device):
    """A process that can be switched off for a while.

    Parameters
    ----------
    off_max_h : float
        Longest interruption. [h]
    stops_max : int
        Largest number of interruptions.
    interruption_eur_per_kwh, stop_eur : float
        Price of energy not used, price of each interruption. [EUR/kWh], [EUR]
    off_start : float
        1 where it is off as the first step begins.
    off_start_h : float
        How long it has been off by then. [h]
    """

    template: ClassVar[Template] = Template(
        "interruptible_process",
        write_interruptible_process,
        ("off_max_h", "reset_h", "off_start_h", "stops_max", "interruption_eur_per_kwh", "stop_eur", "off_start"),
        ("p_base_kw",),
        carry={"off_start": ("off",), "off_start_h": ("off_h",)},
    )

    off_max_h: float
    stops_max: int
    interruption_eur_per_kwh: float
    stop_eur: float = 0.0
    off_start: float = 0.0
    off_start_h: float = 0.0

    @property
    def reset_h(self) -> float:
        """How far the clock of an interruption may fall back when it ends. [h]"""
        return self.off_max_h
