"""What all flexible devices have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo

from gridtwin.optimize.template import Template

Series = float | np.ndarray
"""One value for all steps, or (time,) values."""


@dataclass(frozen=True)
class Device:
    """A device whose power can be chosen within a band on each step.

    Parameters
    ----------
    name, bus : str
        Name of the device and of its bus.
    p_base_kw : ndarray, (time,)
        What it would do unscheduled, consumption positive. [kW]
    p_min_kw, p_max_kw : ndarray, (time,)
        Band of its power, consumption positive. [kW]
    p_planned_kw : ndarray, (time,), optional
        Plan that others count on; leaving it costs. [kW]
    change_eur_per_kwh : float
        Price of leaving that plan. [EUR/kWh]
    """

    template: ClassVar[Template]

    name: str
    bus: str
    p_base_kw: np.ndarray
    p_min_kw: np.ndarray
    p_max_kw: np.ndarray
    p_planned_kw: np.ndarray | None = field(default=None, kw_only=True)
    change_eur_per_kwh: float = field(default=0.0, kw_only=True)


def template_of(device: Device) -> Template:
    """The device's template, with a price of leaving its plan where it has one."""
    return device.template if device.p_planned_kw is None else steady(device.template)


@lru_cache
def steady(template: Template) -> Template:
    """A template in which leaving a plan costs.

    power[t] - more[t] + less[t] = p_planned[t]                change
    cost = cost of the device + h change_price (more + less)
    """

    def write(block: Any) -> None:
        template.write(block)
        block.more_kw, block.less_kw = (pyo.Var(block.step, bounds=(0, None)) for _ in range(2))
        block.change = pyo.Constraint(
            block.step, rule=lambda b, t: b.power_kw[t] - b.more_kw[t] + b.less_kw[t] == b.p_planned_kw[t]
        )
        rate = block.change_eur_per_kwh
        moved = pyo.quicksum(rate * block.hours[t] * (block.more_kw[t] + block.less_kw[t]) for t in block.step)
        block.cost_eur.set_value(block.cost_eur.expr + moved)

    scalars, series = (*template.scalars, "change_eur_per_kwh"), (*template.series, "p_planned_kw")
    return Template(template.kind, write, scalars, series, template.at_end, template.carry)


def before(variable: Any, t: int, start: Any) -> Any:
    """A state at the end of the step before `t`, or where it starts."""
    return start if t == 0 else variable[t - 1]


def last_step(block: Any) -> int:
    """Number of a block's last step."""
    return int(block.step.last())
