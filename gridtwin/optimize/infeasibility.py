"""Why not everything can be had: the least that has to give, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gridtwin.optimize.block_program import split_columns
from gridtwin.optimize.causes import (
    NETWORK,
    NOTICEABLE_KW,
    OWN_CONSTRAINT,
    OWN_LIMITS,
    Cause,
    Holds,
    build_causes,
    join_holds,
    list_planned_breaches,
    missed_alone,
    network_holds,
    own_holds,
    rank_holds,
    split_causes,
    write_row,
    write_rows,
)
from gridtwin.optimize.day_plan import read_devices
from gridtwin.optimize.elastic_program import BREACH, HARD, OWN, SOFT, ElasticProgram, make_elastic, relax_least
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.optimize.reason_texts import Clock
from gridtwin.optimize.wishes import find_missed
from gridtwin.time_axis import TimeAxis


def explain_infeasibility(
    problem: FlexibilityProblem,
    axis: TimeAxis,
    *,
    limits: NetworkLimits | None = None,
    own_rows: OwnRows | None = None,
    time_limit_seconds: float = 60.0,
) -> pd.DataFrame:
    """The least that has to give for a plan to exist, each with its cause.

    Network limits give last, then what the model holds hard (energy to be had in a battery), then the
    user's constraints, then wishes; see `elastic_program`. What costs money plays no part in what gives,
    except between choices that miss the same.

    Parameters
    ----------
    problem : FlexibilityProblem
        What is to be planned, feasible or not.
    axis : TimeAxis
        Where the steps lie; texts are in its local time.
    limits : NetworkLimits, optional
        What the network rows stand for; without it they are numbered.
    own_rows : callable, optional
        Constraints of the user in Pyomo, see `own_rows.OwnRows`; each is known by its name.
    time_limit_seconds : float
        Of one solve. [s]

    Returns
    -------
    DataFrame
        Columns as `causes.find_causes` gives them; empty where everything can be had. A constraint of the
        user that has to give is a row of `what` "own constraint", its amount by how much at most.

    Raises
    ------
    InfeasibleError
        If even so there is no plan: the devices' physics contradict themselves.

    Notes
    -----
    Whole numbers (smallest currents, jobs that run or do not) are left out: what they alone make
    impossible is not found.
    """
    program = build_flexibility_program(problem)
    elastic = make_elastic(program, own_rows)
    x, duals = relax_least(elastic, time_limit_seconds=time_limit_seconds)
    clock = Clock(axis, problem.hours)
    breach = elastic.slacks[BREACH]
    rows = list_planned_breaches(program, limits, x[breach.column], clock)
    rows += _explain_wishes(elastic, limits, x, duals, clock)
    if OWN in duals:
        rows += _explain_own(elastic, _holds(elastic, limits, duals[OWN]), x, duals[OWN], clock)
    return build_causes(rows)


def _holds(elastic: ElasticProgram, limits: NetworkLimits | None, dual: np.ndarray) -> Holds:
    program, coupling = elastic.program, dual[elastic.places.coupling]
    return join_holds(
        network_holds(program.problem, limits, coupling[program.limit_rows]),
        own_holds(elastic.own, dual[elastic.own.rows]),
    )


def _device_kw(elastic: ElasticProgram, x: np.ndarray) -> np.ndarray:
    """Power of every device. (time, device) [kW]"""
    columns = sum(where.stop - where.start for where in elastic.places.columns)
    p_kw, _ = read_devices(elastic.program, split_columns(elastic.program.blocks.families, x[:columns]))
    return p_kw


def _explain_wishes(
    elastic: ElasticProgram, limits: NetworkLimits | None, x: np.ndarray, duals: dict[int, np.ndarray], clock: Clock
) -> list[dict[str, Any]]:
    problem, device_kw = elastic.program.problem, _device_kw(elastic, x)
    rows: list[dict[str, Any]] = []
    for level in (HARD, SOFT):
        if level not in duals:
            continue
        missed = find_missed(elastic.program, elastic.slacks[level], x)
        least = missed_alone(problem, sorted({m.device for m in missed}))
        holds, total = _holds(elastic, limits, duals[level]), elastic.slacks[level].amounts(x)
        for m in missed:
            key = m.device, m.wish
            shares = (least.get(key, 0.0) / total[key], 0.0)
            rows += write_rows(
                problem, m, split_causes(problem, m, holds, device_kw, clock=clock, shares=shares), clock
            )
    return rows


def _explain_own(
    elastic: ElasticProgram, holds: Holds, x: np.ndarray, dual: np.ndarray, clock: Clock
) -> list[dict[str, Any]]:
    """Constraints of the user that have to give, each with what stands against it."""
    own, slack = elastic.own, elastic.slacks[OWN]
    given = np.zeros(len(own.names))
    np.maximum.at(given, slack.owner, x[slack.column])
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(own.names):
        at = np.flatnonzero((np.array(own.names) == name) & (given > NOTICEABLE_KW))
        if not len(at):
            continue
        entries = np.isin(own.row, at)
        steps = own.step[entries]
        first, last = (int(steps.min()), int(steps.max())) if len(steps) else (0, len(clock.hours) - 1)
        amount = float(given[at].max())
        what = (name, "own constraint", amount, "", clock.starts[first], clock.ends[last])
        told = f"your constraint '{name}' has to give by {amount:.3g}"
        against = _against(elastic, holds, name, entries, dual, clock)
        found += [write_row(what, told, cause, clock) for cause in against]
    return found


def _against(
    elastic: ElasticProgram, holds: Holds, name: str, entries: np.ndarray, dual: np.ndarray, clock: Clock
) -> list[Cause]:
    """What pushes the other way at the devices of a constraint; else the devices themselves."""
    own, problem = elastic.own, elastic.program.problem
    bus_of = {device.name: device.bus for device in problem.devices}
    push: dict[str, float] = {}
    for k in np.flatnonzero(entries).tolist():
        push[str(own.device[k])] = push.get(str(own.device[k]), 0.0) - dual[own.rows][own.row[k]] * own.value[k]
    last = int(own.step[entries].max(initial=0))
    at = np.zeros(len(holds.value), dtype=bool)
    for device, value in push.items():
        here = (holds.cause == OWN_CONSTRAINT) & (holds.place == device) & (holds.because != name)
        here |= (holds.cause == NETWORK) & (holds.place == bus_of[device])
        at |= here & (holds.value * value < 0) & (holds.step <= last)
    names = " and ".join(f"'{device}'" for device in push) or "other variables"
    whose = "its" if len(push) == 1 else "their"
    band = Cause(OWN_LIMITS, ", ".join(push), 1.0, f"because {names} cannot do it at any power within {whose} limits")
    return rank_holds(holds, at, 1.0, clock) or [band]
