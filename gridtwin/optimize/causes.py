"""What a plan misses, and why: one row per missed wish and cause, in words.

The amount that a device misses splits into four shares:

    own limits      what it would miss with the network, prices and all others gone
    price           what it would miss beyond that, alone at the energy price without the network's part
    network limit   the rest, shared among the rows that hold it back by dual times weight
    other           the rest where no row holds it back, such as a smallest current
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.optimize.day_plan import DayPlan
from gridtwin.optimize.elastic_program import HARD, SOFT, OwnPart, make_elastic
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.lone_devices import TIME_LIMIT_SECONDS, lone_problem, part_devices, solve_alone
from gridtwin.optimize.model import FlexibilityProblem, FlexibilityProgram, build_flexibility_program
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.nodal_prices import find_nodal_prices
from gridtwin.optimize.reason_texts import Clock, say_band, say_breach, say_limit, say_other, say_price
from gridtwin.optimize.solve import PersistentSolver
from gridtwin.optimize.whole_numbers import FlexibilitySolution
from gridtwin.optimize.wishes import WISHES, Missed, find_missed, find_soft_slack, runs_of
from gridtwin.time_axis import TimeAxis

CAUSE_COLUMNS = [
    *("asset", "what", "amount", "unit", "start", "end", "cause"),
    *("because", "side", "because_start", "because_end", "share", "text"),
]
"""Columns of the table of causes."""
OWN_LIMITS, NETWORK, OWN_CONSTRAINT, PRICE, FIXED_LOAD, OTHER = (
    "own limits", "network limit", "own constraint", "price", "fixed load", "other",
)  # fmt: skip
"""Kinds of causes."""
SMALLEST_SHARE = 0.05
"""Causes with a smaller share are left to the others. [-]"""
SMALLEST_DUAL = 1e-6
"""A smaller dual says nothing. [EUR/kW] or [-]"""
NOTICEABLE_KW = 1e-3
"""Smaller differences of power are the solver's. [kW]"""


@dataclass(frozen=True)
class Holds:
    """What holds devices back: one entry per binding row, place and step.

    Parameters
    ----------
    cause, because, kind, side : ndarray of str, (entry,)
        Kind of cause, name of the limiting asset or constraint, kind of asset, side of the limit.
    place : ndarray of str, (entry,)
        Bus, or device for the user's constraints.
    step : ndarray of int64, (entry,)
        Step of the power that is held.
    value : ndarray, (entry,)
        Minus dual times weight: positive where it holds consumption down. [EUR/kW] or [-]
    """

    cause: np.ndarray
    because: np.ndarray
    kind: np.ndarray
    side: np.ndarray
    place: np.ndarray
    step: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Cause:
    """One cause of a missed amount."""

    cause: str
    because: str
    share: float
    text: str
    side: str = ""
    steps: tuple[tuple[int, int], ...] = ()


def network_holds(problem: FlexibilityProblem, limits: NetworkLimits | None, dual: np.ndarray) -> Holds:
    """What network rows hold back.

    Parameters
    ----------
    dual : ndarray, (row,)
        Duals of the network rows.
    """
    rows = problem.rows
    row, bus = np.nonzero(rows.weight * (np.abs(dual) > SMALLEST_DUAL)[:, None])
    names = name_rows(problem, limits)
    return Holds(
        cause=np.full(len(row), NETWORK),
        because=names["asset"].to_numpy(dtype=str)[row],
        kind=names["kind"].to_numpy(dtype=str)[row],
        side=names["side"].to_numpy(dtype=str)[row],
        place=np.array(problem.buses)[bus],
        step=rows.step[row],
        value=-dual[row] * rows.weight[row, bus],
    )


def own_holds(own: OwnPart, dual: np.ndarray) -> Holds:
    """What constraints of the user hold back; `dual` of their rows."""
    at = np.flatnonzero(np.abs(dual[own.row]) > SMALLEST_DUAL)
    names = np.array(own.names, dtype=str)[own.row[at]]
    blank, what = np.full(len(at), ""), np.full(len(at), "constraint")
    cause, value = np.full(len(at), OWN_CONSTRAINT), -dual[own.row[at]] * own.value[at]
    return Holds(cause, names, what, blank, own.device[at], own.step[at], value)


def join_holds(one: Holds, other: Holds) -> Holds:
    """Both."""
    names = ("cause", "because", "kind", "side", "place", "step", "value")
    return Holds(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in names))


def name_rows(problem: FlexibilityProblem, limits: NetworkLimits | None) -> pd.DataFrame:
    """`asset, kind, side` of every network row."""
    if limits is not None:
        return limits.table.iloc[problem.rows.limit].reset_index(drop=True)
    names = [f"limit {limit}" for limit in problem.rows.limit]
    return pd.DataFrame({"asset": names, "kind": "network limit", "side": ""}, columns=["asset", "kind", "side"])


def find_causes(
    program: FlexibilityProgram,
    solution: FlexibilitySolution,
    limits: NetworkLimits,
    plan: DayPlan,
    axis: TimeAxis,
    *,
    staying: bool = True,
) -> pd.DataFrame:
    """Why devices miss what they miss, and why limits are exceeded.

    Parameters
    ----------
    program, solution : FlexibilityProgram and FlexibilitySolution
        The problem and its optimum.
    limits : NetworkLimits
        What the rows of the program stand for.
    plan : DayPlan
        The plan that was read from the solution.
    axis : TimeAxis
        Where the steps lie; texts are in its local time.
    staying : bool
        Whether what a car lacks counts that stays beyond the horizon.

    Returns
    -------
    DataFrame
        `asset, what, amount, unit, start, end` of what is missed; `cause` (own limits, network limit, price,
        fixed load, other), `because` (the asset) with `side`, `because_start, because_end`, its `share` of
        the amount, and all of it as a `text`. Times are UTC; the largest amounts of each unit come first.
    """
    problem, clock = program.problem, Clock(axis, program.problem.hours)
    x = np.concatenate([columns.ravel() for columns in solution.x])
    missed = [m for m in find_missed(program, find_soft_slack(program), x) if staying or _leaves(problem, m)]
    prices = find_nodal_prices(program, solution, limits)
    energy = (prices["energy"] + prices["losses"]).to_numpy() / KW_PER_MW
    devices = sorted({m.device for m in missed})
    least, at_price = missed_alone(problem, devices), missed_at_price(problem, devices, energy)
    holds = network_holds(problem, limits, solution.coupling_dual[program.limit_rows])
    worth = _prices_of_wishes(program)
    rows: list[dict[str, Any]] = []
    for m in missed:
        key, bus = (m.device, m.wish), problem.buses.index(problem.devices[m.device].bus)
        cheapest = float(energy[m.first : m.last + 1, bus].min())
        say = say_price(WISHES[m.wish], worth[key], cheapest)
        total = sum(other.amount for other in missed if (other.device, other.wish) == key)
        shares = least.get(key, 0.0) / total, at_price.get(key, 0.0) / total
        causes = split_causes(problem, m, holds, plan.device_kw, clock=clock, shares=shares, price_text=say)
        rows += write_rows(problem, m, causes, clock)
    rows += list_planned_breaches(program, limits, plan.over_kw, clock)
    return build_causes(rows)


def _leaves(problem: FlexibilityProblem, missed: Missed) -> bool:
    return bool(getattr(problem.devices[missed.device], "leaves", True))


def missed_alone(problem: FlexibilityProblem, devices: Sequence[int]) -> dict[tuple[int, int], float]:
    """The least that devices must miss with nobody and nothing else there, by device and wish."""
    if not devices:
        return {}
    elastic = make_elastic(build_flexibility_program(lone_problem(problem, devices)))
    cost = np.zeros_like(elastic.linear.cost)
    for level, weight in ((HARD, 10.0), (SOFT, 1.0)):
        np.add.at(cost, elastic.slacks[level].column, weight * elastic.slacks[level].weight)
    elastic.linear.cost[:] = cost
    part_devices(elastic.linear, elastic.places.coupling)
    x = PersistentSolver(elastic.linear, time_limit_seconds=TIME_LIMIT_SECONDS).solve().x
    amounts = elastic.slacks[HARD].amounts(x) | elastic.slacks[SOFT].amounts(x)
    return {(devices[k], wish): amount for (k, wish), amount in amounts.items()}


def missed_at_price(
    problem: FlexibilityProblem, devices: Sequence[int], price_eur_per_kwh: np.ndarray
) -> dict[tuple[int, int], float]:
    """What devices alone would miss because energy costs more than the wish is worth, by device and wish."""
    if not devices:
        return {}
    program, columns = solve_alone(lone_problem(problem, devices, price_eur_per_kwh))
    amounts = find_soft_slack(program).amounts(np.concatenate([part.ravel() for part in columns]))
    return {(devices[k], wish): amount for (k, wish), amount in amounts.items()}


def _prices_of_wishes(program: FlexibilityProgram) -> Mapping[tuple[int, int], float]:
    """What the model pays for missing one unit, by device and wish. [EUR/kWh], [EUR/(K h)] or [EUR/kg]"""
    slack = find_soft_slack(program)
    cost = np.concatenate([np.zeros(0), *(fleet.family.cost.ravel() for fleet in program.device_fleets)])
    price = cost[slack.column] / np.where(slack.weight == 0, 1.0, slack.weight)
    keys = zip(slack.owner.tolist(), slack.wish.tolist(), strict=True)
    return dict(zip(keys, price.tolist(), strict=True))


def split_causes(
    problem: FlexibilityProblem,
    missed: Missed,
    holds: Holds,
    device_kw: np.ndarray,
    *,
    clock: Clock,
    shares: tuple[float, float],
    price_text: str = "",
) -> list[Cause]:
    """Causes of a missed wish, the largest share first.

    Parameters
    ----------
    device_kw : ndarray, (time, device)
        Power of every device. [kW]
    shares : tuple of float
        Share of the amount that the device would miss alone, and alone at the energy price.
    price_text : str
        What to say of the price.
    """
    device, wish = problem.devices[missed.device], WISHES[missed.wish]
    own = _visible(min(1.0, shares[0]))
    price = _visible(min(1.0, shares[1]) - own) if price_text else 0.0
    rest = _visible(1.0 - own - price)
    causes = []
    if own:
        text = say_band(device, wish, own * missed.amount, problem.hours)
        causes.append(Cause(OWN_LIMITS, device.name, own, text))
    if price:
        causes.append(Cause(PRICE, "price", price, price_text))
    if rest:
        band_kw = np.asarray(device.p_max_kw if wish.needs > 0 else device.p_min_kw)
        free = wish.needs * (band_kw - device_kw[:, missed.device]) > NOTICEABLE_KW
        free[: missed.helps_from], free[missed.last + 1 :] = False, False
        at = np.isin(holds.place, [device.bus]) & (holds.cause == NETWORK)
        at |= (holds.place == device.name) & (holds.cause == OWN_CONSTRAINT)
        at &= (holds.value * wish.needs > 0) & free[holds.step]
        causes += rank_holds(holds, at, rest, clock) or [Cause(OTHER, "", rest, say_other())]
    total = sum(cause.share for cause in causes)
    ranked = sorted(causes, key=lambda cause: -cause.share)
    return [Cause(c.cause, c.because, c.share / total, c.text, c.side, c.steps) for c in ranked]


def _visible(share: float) -> float:
    return share if share >= SMALLEST_SHARE else 0.0


def rank_holds(holds: Holds, at: np.ndarray, share: float, clock: Clock) -> list[Cause]:
    """Chosen holds as causes, by asset and side; small ones are left to the others."""
    weights: dict[tuple[str, str, str, str], list[tuple[int, float]]] = {}
    for k in np.flatnonzero(at).tolist():
        name = str(holds.cause[k]), str(holds.because[k]), str(holds.kind[k]), str(holds.side[k])
        weights.setdefault(name, []).append((int(holds.step[k]), abs(float(holds.value[k]))))
    sums = {name: sum(value for _, value in uses) for name, uses in weights.items()}
    large = {name: value for name, value in sums.items() if value >= SMALLEST_SHARE * sum(sums.values())}
    causes = []
    for name, value in sorted(large.items(), key=lambda item: -item[1]):
        cause, because, kind, side = name
        held = np.zeros(len(clock.hours), dtype=bool)
        held[[step for step, _ in weights[name]]] = True
        spells = tuple(runs_of(held))
        text = say_limit(because, kind, side, clock.say(spells))
        causes.append(Cause(cause, because, share * value / sum(large.values()), text, side, spells))
    return causes


def write_rows(
    problem: FlexibilityProblem, missed: Missed, causes: Iterable[Cause], clock: Clock
) -> list[dict[str, Any]]:
    """Rows of the table for one missed wish."""
    device, wish = problem.devices[missed.device], WISHES[missed.wish]
    told = f"{device.name} {wish.phrase.format(f'{missed.amount:.3g}')}"
    start, end = clock.starts[missed.first], clock.ends[missed.last]
    if wish.times == "fading":
        start = end
    return [write_row((device.name, wish.what, missed.amount, wish.unit, start, end), told, c, clock) for c in causes]


def write_row(what: tuple[Any, ...], told: str, cause: Cause, clock: Clock) -> dict[str, Any]:
    """One row of the table; `what` are its first columns."""
    begin = clock.starts[cause.steps[0][0]] if cause.steps else pd.NaT
    close = clock.ends[cause.steps[-1][1]] if cause.steps else pd.NaT
    part = "" if cause.share > 1 - SMALLEST_SHARE else f" ({cause.share:.0%})"
    values = (*what, cause.cause, cause.because, cause.side, begin, close, cause.share, f"{told} {cause.text}{part}")
    return dict(zip(CAUSE_COLUMNS, values, strict=True))


def list_planned_breaches(
    program: FlexibilityProgram, limits: NetworkLimits | None, over_kw: np.ndarray, clock: Clock
) -> list[dict[str, Any]]:
    """Rows of network limits that a plan exceeds, each spell with how much of it no device could relieve."""
    problem, rows = program.problem, program.problem.rows
    names, left_kw = name_rows(problem, limits), np.minimum(_least_breach_kw(program), over_kw)
    found: list[dict[str, Any]] = []
    for (asset, kind, side), group in names.groupby(["asset", "kind", "side"], sort=False):
        at = group.index.to_numpy()
        over, left = (np.zeros(len(problem.hours)) for _ in range(2))
        np.add.at(over, rows.step[at], over_kw[at])
        np.add.at(left, rows.step[at], left_kw[at])
        for first, last in runs_of(over > NOTICEABLE_KW):
            here = slice(first, last + 1)
            kwh, fixed = (float(problem.hours[here] @ part[here]) for part in (over, left))
            what = (asset, "network limit", kwh, "kWh", clock.starts[first], clock.ends[last])
            told = f"{kind} '{asset}' is over its limit by {kwh:.3g} kWh"
            shares = {FIXED_LOAD: _visible(min(1.0, fixed / kwh)), OTHER: _visible(1 - fixed / kwh)}
            for cause, share in sorted(shares.items(), key=lambda item: -item[1]):
                because = "fixed load" if cause == FIXED_LOAD else ""
                text = say_breach(cause == FIXED_LOAD, float(left[here].max()))
                row = Cause(cause, because, share, text, str(side), ((first, last),))
                found += [write_row(what, told, row, clock)] if share else []
    return found


def _least_breach_kw(program: FlexibilityProgram) -> np.ndarray:
    """What each row lacks with every device at the end of its band that relieves it most. (row,) [kW]"""
    problem = program.problem
    low, high = (np.zeros((len(problem.hours), len(problem.buses))) for _ in range(2))
    for device in problem.devices:
        low[:, problem.buses.index(device.bus)] += device.p_min_kw
        high[:, problem.buses.index(device.bus)] += device.p_max_kw
    weight, step = problem.rows.weight, problem.rows.step
    least = (np.maximum(weight, 0) * low[step] + np.minimum(weight, 0) * high[step]).sum(axis=1)
    return np.asarray(np.maximum(least - program.blocks.upper[program.limit_rows], 0.0))


def build_causes(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of causes, the largest amounts of each unit first."""
    table = pd.DataFrame(list(rows), columns=CAUSE_COLUMNS)
    times = {name: "datetime64[ns]" for name in ("start", "end", "because_start", "because_end")}
    table = table.astype({**times, "amount": "float64", "share": "float64"})
    order = ["unit", "amount", "asset", "start", "share"]
    return table.sort_values(order, ascending=[True, False, True, True, False], ignore_index=True, kind="stable")
