"""Photovoltaic systems and wind turbines whose feed-in can be curtailed."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, Series
from gridtwin.optimize.template import Template

SIDES = 16
"""Sides of the polygon inside the circle of apparent power; it is missed by at most 1 - cos(pi / 16), 1.9 %."""


def write_feed_in(block: Any) -> None:
    """Feed-in between what is expected and nothing.

    p_expected[t] <= p[t] <= p_cap[t]
    cost = h curtailment_price (p - p_expected)
    """
    block.feed_in_kw = pyo.Var(block.step, bounds=lambda b, t: (b.p_min_kw[t], b.p_max_kw[t]))
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.feed_in_kw[t])
    _write_curtailment(block)


def write_inverter(block: Any) -> None:
    """The same with reactive power within the inverter's capability.

        |q[t]| <= -tan_phi p[t]                                    power factor
        cos(a) p[t] + sin(a) q[t] <= s_rated cos(pi / 16)          apparent power, 16 angles a

    q is positive where reactive power is consumed, which lowers the voltage.
    """
    block.feed_in_kw = pyo.Var(block.step, bounds=lambda b, t: (b.p_min_kw[t], b.p_max_kw[t]))
    block.q_kvar = pyo.Var(block.step)
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.feed_in_kw[t])
    block.reactive_kvar = pyo.Expression(block.step, rule=lambda b, t: b.q_kvar[t])
    block.consumed = pyo.Constraint(block.step, rule=lambda b, t: b.q_kvar[t] + b.tan_phi * b.feed_in_kw[t] <= 0)
    block.produced = pyo.Constraint(block.step, rule=lambda b, t: -b.q_kvar[t] + b.tan_phi * b.feed_in_kw[t] <= 0)
    # feed-in is negative: only the half of the circle with p < 0 can bind
    block.side = pyo.RangeSet(0, SIDES // 2 - 1)

    def apparent(b: Any, t: int, side: int) -> Any:
        angle = pi / 2 + (2 * side + 1) * pi / SIDES
        return cos(angle) * b.feed_in_kw[t] + sin(angle) * b.q_kvar[t] <= cos(pi / SIDES) * b.s_rated_kva

    block.apparent = pyo.Constraint(block.step, block.side, rule=apparent)
    _write_curtailment(block)


def _write_curtailment(block: Any) -> None:
    rate = block.curtailment_eur_per_kwh
    block.cost_eur = pyo.Expression(
        expr=pyo.quicksum(rate * block.hours[t] * (block.feed_in_kw[t] - block.p_min_kw[t]) for t in block.step)
    )


@dataclass(frozen=True)
class FeedIn(Device):
    """A system that feeds in; `p_min_kw` is the expected feed-in, `p_max_kw` what must run (0: nothing).

    Parameters
    ----------
    curtailment_eur_per_kwh : float
        Compensation of curtailed energy. [EUR/kWh]
    kind : str
        `pv` or `wind`.
    """

    template: ClassVar[Template] = Template(
        "feed_in", write_feed_in, ("curtailment_eur_per_kwh",), ("p_min_kw", "p_max_kw")
    )

    curtailment_eur_per_kwh: float = 0.0
    kind: str = "pv"


@dataclass(frozen=True)
class Inverter(FeedIn):
    """A system that can also take or give reactive power.

    Parameters
    ----------
    s_rated_kva : float
        Rated apparent power. [kVA]
    tan_phi : float
        Largest reactive by active power; 0.484 at a power factor of 0.9. [-]
    """

    template: ClassVar[Template] = Template(
        "inverter",
        write_inverter,
        ("curtailment_eur_per_kwh", "s_rated_kva", "tan_phi"),
        ("p_min_kw", "p_max_kw"),
    )

    s_rated_kva: float = np.inf
    tan_phi: float = 0.484


def cap_feed_in(p_expected_kw: np.ndarray, cap_kw: Series) -> np.ndarray:
    """Expected feed-in under a cap, both as consumption: never below `-cap_kw`. (time,) [kW]"""
    return np.asarray(np.maximum(p_expected_kw, -np.asarray(cap_kw)))
