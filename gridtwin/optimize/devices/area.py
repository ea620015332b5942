"""What the devices meet: the area's exchange with the upstream network, limits and losses of the network, risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyomo.environ as pyo

from gridtwin.optimize.template import Fleet, Template

PEAK_PRICE_EUR_PER_KW = 0.001
"""Price of the largest net power of the area. A kW less for a quarter of an hour is worth a price
difference of 4 EUR/MWh: enough to spread what equal prices leave open, too little to change a plan. [EUR/kW]"""


def write_area(block: Any) -> None:
    """Exchange with the upstream network in one scenario of everything that cannot be moved.

    import[t] - export[t] = net power of devices and all else  coupling row
    import[t] + export[t] <= peak                              peak
    import[t] <= peak_so_far + beyond                          peak_charge
    0 <= import, export <= p_bound
    cost = probability (h import_fee import + h export_fee export + even_price peak + peak_price beyond)
    risk = h (price + import_fee) import - h (price - export_fee) export + peak_price beyond
    """
    block.import_kw = pyo.Var(block.step, bounds=(0, block.p_bound_kw))
    block.export_kw = pyo.Var(block.step, bounds=(0, block.p_bound_kw))
    block.peak_kw = pyo.Var(bounds=(0, 2 * block.p_bound_kw))
    block.beyond_kw = pyo.Var(bounds=(0, block.p_bound_kw))
    block.peak = pyo.Constraint(block.step, rule=lambda b, t: b.import_kw[t] + b.export_kw[t] - b.peak_kw <= 0)
    block.peak_charge = pyo.Constraint(block.step, rule=lambda b, t: b.import_kw[t] - b.beyond_kw <= b.peak_so_far_kw)
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.export_kw[t] - b.import_kw[t])
    weight, step = block.probability, block.step
    block.cost_eur = pyo.Expression(
        expr=pyo.quicksum(weight * block.hours[t] * block.import_fee_eur_per_kwh[t] * block.import_kw[t] for t in step)
        + pyo.quicksum(weight * block.hours[t] * block.export_fee_eur_per_kwh[t] * block.export_kw[t] for t in step)
        + weight * block.even_eur_per_kw * block.peak_kw
        + weight * block.peak_eur_per_kw * block.beyond_kw
    )
    bought = [block.price_eur_per_kwh[t] + block.import_fee_eur_per_kwh[t] for t in step]
    sold = [block.price_eur_per_kwh[t] - block.export_fee_eur_per_kwh[t] for t in step]
    block.risk_eur = pyo.Expression(
        expr=pyo.quicksum(block.hours[t] * bought[t] * block.import_kw[t] for t in step)
        - pyo.quicksum(block.hours[t] * sold[t] * block.export_kw[t] for t in step)
        + block.peak_eur_per_kw * block.beyond_kw
    )


def write_breach(block: Any) -> None:
    """Power above one network limit on one step.

    over >= 0,  cost = price over
    """
    block.over_kw = pyo.Var(bounds=(0, None))
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: -b.over_kw)
    block.cost_eur = pyo.Expression(expr=block.breach_eur_per_kw * block.over_kw)


def write_worst_breach(block: Any) -> None:
    """The largest of all breaches, in units of what each limit may carry.

    worst >= over_k / scale_k for every limit and step (coupling rows),  cost = price worst
    """
    block.worst = pyo.Var(bounds=(0, None))
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: -b.worst)
    block.cost_eur = pyo.Expression(expr=block.worst_eur * block.worst)


def write_tail_risk(block: Any) -> None:
    """Conditional value at risk of the area's cost; a step is a scenario.

        excess[s] >= risk[s] - value_at_risk                       coupling row
        excess >= 0
        cost = weight (value_at_risk + sum of probability[s] excess[s] / tail)

    R. T. Rockafellar, S. Uryasev, Optimization of conditional value-at-risk, J. Risk 2(3), 2000.
    """
    block.value_at_risk_eur = pyo.Var(bounds=(-block.bound_eur, block.bound_eur))
    block.excess_eur = pyo.Var(block.step, bounds=(0, None))
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: -b.value_at_risk_eur - b.excess_eur[t])
    tail = pyo.quicksum(block.weight * block.probability[t] / block.tail * block.excess_eur[t] for t in block.step)
    block.cost_eur = pyo.Expression(expr=block.weight * block.value_at_risk_eur + tail)


def write_losses(block: Any) -> None:
    """Losses of the network, held up by straight lines that touch them from below.

    loss[t] >= L_k + slope_k (p[t] - p_k) for every line k of step t (coupling rows),  cost = price[t] loss[t]
    """
    block.loss_kw = pyo.Var(block.step, bounds=(0, None))
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: -b.loss_kw[t])
    block.cost_eur = pyo.Expression(expr=pyo.quicksum(block.loss_eur_per_kw[t] * block.loss_kw[t] for t in block.step))


AREA = Template(
    "area",
    write_area,
    ("probability", "p_bound_kw", "even_eur_per_kw", "peak_eur_per_kw", "peak_so_far_kw"),
    ("import_fee_eur_per_kwh", "export_fee_eur_per_kwh", "price_eur_per_kwh"),
)
BREACH = Template("breach", write_breach, ("breach_eur_per_kw",), ())
WORST_BREACH = Template("worst_breach", write_worst_breach, ("worst_eur",), ())
TAIL_RISK = Template("tail_risk", write_tail_risk, ("weight", "tail", "bound_eur"), ("probability",))
LOSSES = Template("losses", write_losses, (), ("loss_eur_per_kw",))


@dataclass(frozen=True)
class AreaTerms:
    """What the area's exchange with the upstream network costs.

    Parameters
    ----------
    price_eur_per_kwh : ndarray, (time,) or (scenario, time)
        Day-ahead price, of each scenario where they differ. [EUR/kWh]
    import_fee_eur_per_kwh, export_fee_eur_per_kwh : ndarray, (time,)
        Fee on energy drawn from and fed into the upstream network. Both together are the worth of
        using energy where it is made. [EUR/kWh]
    peak_eur_per_kw, peak_so_far_kw : float
        Charge on the largest import of the billing period beyond what was reached already. [EUR/kW], [kW]
    probability : ndarray, (scenario,)
        Of each scenario of `inflexible_kw`. [-]
    risk_weight, tail : float
        Weight of the mean cost of the worst share `tail` of scenarios beside the expected cost. [-]
    """

    price_eur_per_kwh: np.ndarray
    import_fee_eur_per_kwh: np.ndarray
    export_fee_eur_per_kwh: np.ndarray
    peak_eur_per_kw: float = 0.0
    peak_so_far_kw: float = 0.0
    probability: np.ndarray = field(default_factory=lambda: np.ones(1))
    risk_weight: float = 0.0
    tail: float = 0.1


def area_fleet(terms: AreaTerms, steps: int, p_bound_kw: float) -> Fleet:
    """One member per scenario."""
    scenarios = len(terms.probability)
    price = np.broadcast_to(terms.price_eur_per_kwh, (scenarios, steps)).T
    fees = (terms.import_fee_eur_per_kwh, terms.export_fee_eur_per_kwh)
    fee_in, fee_out = (np.repeat(np.broadcast_to(fee, steps)[:, None], scenarios, axis=1) for fee in fees)
    values: Mapping[str, np.ndarray] = {
        "probability": terms.probability,
        "p_bound_kw": np.full(scenarios, p_bound_kw),
        "even_eur_per_kw": np.full(scenarios, PEAK_PRICE_EUR_PER_KW),
        "peak_eur_per_kw": np.full(scenarios, terms.peak_eur_per_kw),
        "peak_so_far_kw": np.full(scenarios, terms.peak_so_far_kw),
        "import_fee_eur_per_kwh": fee_in,
        "export_fee_eur_per_kwh": fee_out,
        "price_eur_per_kwh": price,
    }
    names = tuple(f"scenario {s}" for s in range(scenarios))
    return Fleet(AREA, names, names, values)
