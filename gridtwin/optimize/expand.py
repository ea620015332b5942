"""The same problem in plain Pyomo: to be read, to be given to another solver, to hold the stamped matrix against.

Nothing is solved through this in gridtwin itself; a model of a thousand devices takes Pyomo many
times longer to write than HiGHS to solve.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyomo.environ as pyo

from gridtwin.optimize.model import (
    FlexibilityProblem,
    LossLines,
    stamp_area,
    stamp_breaches,
    stamp_devices,
    stamp_losses,
    stamp_tail_risk,
    stamp_worst_breach,
)
from gridtwin.optimize.template import StampedFleet, write_block


def expand_to_pyomo(problem: FlexibilityProblem) -> pyo.ConcreteModel:
    """The whole problem as one Pyomo model, without smallest values beside 0."""
    model = pyo.ConcreteModel("flexibility")
    model.step = pyo.RangeSet(0, len(problem.hours) - 1)
    add_devices(model, problem)
    add_area_balance(model, problem)
    if len(problem.rows):
        add_network_limits(model, problem)
        if problem.worst_breach_eur:
            add_worst_breach(model, problem)
    if problem.terms.risk_weight:
        add_tail_risk(model, problem)
    if problem.losses is not None:
        add_losses(model, problem, problem.losses)
    add_cost(model, problem)
    return model


def add_devices(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """`device[k]` for every device, and the power at each bus.

    bus_kw[b, t] = sum of device[k].power_kw[t] over the devices at b
    """
    stamped, members = stamp_devices(problem)
    model.device = pyo.Block(pyo.RangeSet(0, len(problem.devices) - 1))
    for fleet, positions in zip(stamped, members, strict=True):
        for member, position in enumerate(positions.tolist()):
            _write_member(model.device[position], fleet, member, problem.hours)
    at_bus: dict[str, list[Any]] = {bus: [] for bus in problem.buses}
    for position, device in enumerate(problem.devices):
        at_bus[device.bus].append(model.device[position])

    def total(part: str) -> Any:
        def rule(m: Any, bus: str, t: int) -> Any:
            shown = (block.component(part) for block in at_bus[bus])
            return pyo.quicksum(component[t] for component in shown if component is not None)

        return rule

    model.bus_kw = pyo.Expression(list(problem.buses), model.step, rule=total("power_kw"))
    model.bus_kvar = pyo.Expression(list(problem.buses), model.step, rule=total("reactive_kvar"))


def add_area_balance(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """Exchange with the upstream network in every scenario.

    sum over b of bus_kw[b, t] + inflexible[s, t] = import[s, t] - export[s, t]
    """
    _add_members(model, "area", stamp_area(problem), problem.hours)
    inflexible = np.broadcast_to(problem.inflexible_kw, (problem.scenarios, len(problem.hours)))

    def balance(m: Any, s: int, t: int) -> Any:
        return _all_buses(m, problem, t) + m.area[s].power_kw[t] == -float(inflexible[s, t])

    model.area_balance = pyo.Constraint(range(problem.scenarios), model.step, rule=balance)


def _all_buses(model: Any, problem: FlexibilityProblem, t: int) -> Any:
    return pyo.quicksum(model.bus_kw[bus, t] for bus in problem.buses)


def add_network_limits(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """Network limits, soft at the breach price.

    sum over b of weight[k, b] bus_kw[b, t_k] + weight_q[k, b] bus_kvar[b, t_k] - over[k] <= room[k]

    The room is the only thing that changes between the AC rounds.
    """
    rows = problem.rows
    _add_members(model, "breach", stamp_breaches(problem), np.ones(1))

    def holds(m: Any, k: int) -> Any:
        t = int(rows.step[k])
        weighted = _weighted(m.bus_kw, problem, rows.weight[k], t)
        if rows.weight_q is not None:
            weighted += _weighted(m.bus_kvar, problem, rows.weight_q[k], t)
        return weighted + m.breach[k].power_kw[0] <= float(problem.room_kw[k])

    model.network_limit = pyo.Constraint(range(len(rows)), rule=holds)


def _weighted(power: Any, problem: FlexibilityProblem, weight: np.ndarray, t: int) -> Any:
    used: Iterable[int] = np.flatnonzero(weight).tolist()
    return pyo.quicksum(float(weight[b]) * power[problem.buses[b], t] for b in used)


def add_worst_breach(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """No breach is larger than the worst: over[k] / scale[k] <= worst."""
    scale = problem.row_scale_kw
    _add_members(model, "worst_breach", stamp_worst_breach(problem), np.ones(1))

    def rule(m: Any, k: int) -> Any:
        return -1 / float(scale[k]) * m.breach[k].power_kw[0] + m.worst_breach[0].power_kw[0] <= 0

    model.worst = pyo.Constraint(range(len(problem.rows)), rule=rule)


def add_tail_risk(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """No scenario's cost is above value at risk and excess."""
    _add_members(model, "tail_risk", stamp_tail_risk(problem), np.ones(problem.scenarios))

    def rule(m: Any, s: int) -> Any:
        return m.area[s].risk_eur + m.tail_risk[0].power_kw[s] <= 0

    model.risk = pyo.Constraint(range(problem.scenarios), rule=rule)


def add_losses(model: pyo.ConcreteModel, problem: FlexibilityProblem, losses: LossLines) -> None:
    """Losses above each of their lines.

    sum over b of slope[k, b] bus_kw[b, t_k] - loss[t_k] <= offset[k]
    """
    _add_members(model, "losses", stamp_losses(losses, problem.hours), problem.hours)

    def lies_above(m: Any, k: int) -> Any:
        t = int(losses.step[k])
        weighted = _weighted(m.bus_kw, problem, losses.slope[k], t)
        return weighted + m.losses[0].power_kw[t] <= float(losses.offset_kw[k])

    model.loss_line = pyo.Constraint(range(len(losses)), rule=lies_above)


def add_cost(model: pyo.ConcreteModel, problem: FlexibilityProblem) -> None:
    """Energy at each bus at its price, and what devices, exchange, breaches and risk cost. [EUR]"""
    price = problem.energy_price()
    energy = pyo.quicksum(
        float(price[t, b]) * model.bus_kw[bus, t] for b, bus in enumerate(problem.buses) for t in model.step
    )
    blocks = [model.component(name) for name in ("device", "area", "breach", "worst_breach", "tail_risk", "losses")]
    own = pyo.quicksum(block.cost_eur for part in blocks if part is not None for block in part.values())
    model.cost = pyo.Objective(expr=energy + own)


def _add_members(model: pyo.ConcreteModel, name: str, fleet: StampedFleet, hours: np.ndarray) -> None:
    blocks = pyo.Block(pyo.RangeSet(0, len(fleet.fleet.names) - 1))
    setattr(model, name, blocks)
    for member in range(len(fleet.fleet.names)):
        _write_member(blocks[member], fleet, member, hours)


def _write_member(block: Any, fleet: StampedFleet, member: int, hours: np.ndarray) -> None:
    values = {name: np.asarray(value)[..., member] for name, value in fleet.fleet.values.items()}
    write_block(fleet.fleet.template, block, len(hours), values | {"hours": hours})
