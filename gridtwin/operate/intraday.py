"""The day-ahead schedule meets reality: what is re-planned within the day, what deviates, and what that costs.

    day-ahead schedule -> at each decision: outlook from what was measured -> re-solve -> reality goes on -> settlement

Three courses of every day are compared: the day-ahead schedule alone, the same with decisions within the day, and
perfect foresight. The re-solve comes in as a callable. Energy in MWh, power in MW, consumption positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.market_rules import MarketRules
from gridtwin.data.profiles import axis_of
from gridtwin.errors import Finding, InfeasibleError
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.intraday_checks import check_intraday_inputs
from gridtwin.operate.intraday_cost import COURSES, cost_of_course, read_prices_of_day
from gridtwin.operate.intraday_outlook import (
    DayAhead,
    Decisions,
    Outlook,
    Resolve,
    find_persistence,
    look_ahead,
    open_day,
    split_power,
)
from gridtwin.operate.intraday_reality import Course, Park, State, advance, advance_whole, open_state
from gridtwin.scenario import Flexibility


@dataclass(frozen=True)
class IntradayResult:
    """What became of the schedule, and what it cost.

    Parameters
    ----------
    dataset : Dataset
        `position_mw` (time), bought the day before; `p_trade_mw` (course, path, time), bought within the day;
        `p_other_mw` (path, time); `p_schedule_mw, p_actual_mw` (course, path, time, asset);
        `p_net_mw, imbalance_mwh` (course, path, time), a deficit positive; `e_mwh` (course, path, time, battery);
        `p_decided_mw` (path, decision, time, asset), the schedule in force after each decision. [MW], [MWh]
    costs : DataFrame
        One row by `path` and `course`: `absolute_imbalance_mwh`, `imbalance_premium_eur, trade_premium_eur` (above
        buying the same energy at the day-ahead price), and the parts of `total_eur`, see `intraday_cost`.
    findings : tuple of Finding
        What was assumed or failed.
    """

    dataset: xr.Dataset
    costs: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def run_intraday(
    twin: GridTwin,
    plan: xr.Dataset,
    paths: xr.Dataset,
    realised: xr.Dataset,
    resolve: Resolve,
    cadence: pd.Timedelta,
    *,
    sessions: pd.DataFrame,
    prices: xr.Dataset,
    rules: MarketRules,
    flexibility: Flexibility,
    declared: pd.DataFrame | None = None,
    half_life: pd.Timedelta | None = None,
) -> IntradayResult:
    """Let a day-ahead schedule meet one reality or many.

    Parameters
    ----------
    twin : GridTwin
        Facts of the assets.
    plan : Dataset
        Schedule: `p_mw, p_base_mw` (time, asset) of batteries, cars and heat pumps; `position_mw` (time) where the
        area bought something else than what it expects under the schedule. [MW]
    paths : Dataset
        Forecast: `p_mw` (path, time, asset) of all assets, as known the day before. [MW]
    realised : Dataset
        `p_mw` (time, asset) or (path, time, asset): each path is a reality of its own. [MW]
    resolve : callable
        Makes the rest of the schedule from an `Outlook`, such as `optimize.intraday_plan.build_resolve`.
    cadence : Timedelta
        Between two decisions, a multiple of the interval.
    sessions, declared : DataFrame
        Charging sessions as they really were, and as they were declared, row by row (left out: the same):
        `asset, arrival, departure, e_mwh`.
    prices : Dataset
        `price_eur_per_mwh` (time), day-ahead; `short_eur_per_mwh, long_eur_per_mwh` where the price of imbalance
        is known, else by the rules as if the area were the whole system. [EUR/MWh]
    rules : MarketRules
        Gate closure and price of imbalance.
    flexibility : Flexibility
        Efficiency, comfort and prices of the devices.
    half_life : Timedelta, optional
        Time after which half of the last error is expected still; left out: learned from the paths.

    Raises
    ------
    DataError
        If times, assets, facts or prices do not fit together; all faults at once.

    Notes
    -----
    A decision at the end of interval k reads what was measured until then and changes intervals that begin a gate
    closure later. Where the rules have a price of trade, what is expected beyond the position is traded with the last
    decision before an interval closes.

    Guaranteed: no decision depends on anything after it; energies stay within their limits; with prices of a deficit
    not below those of a surplus, foresight costs no more than the other courses, up to the re-solve's own accuracy
    and to a car that comes twice within one interval. Not guaranteed: that decisions within the day pay off in
    every single case, for an error may turn round.
    """
    check_intraday_inputs(twin, plan, paths, realised, sessions=sessions, declared=declared, cadence=cadence)
    axis = axis_of(plan)
    park = Park(axis, twin.assets.loc[plan.indexes["asset"]], flexibility)
    price, findings = read_prices_of_day(prices, axis, rules)
    day = open_day(park, plan, paths, sessions, declared, price)
    persistence = find_persistence(day, half_life)
    lead = int(np.ceil(pd.Timedelta(minutes=rules.intraday.gate_closure_minutes) / axis.step - 1e-9))
    decide = Decisions(resolve, round(cadence / axis.step), lead, persistence)
    real = realised["p_mw"].transpose(..., "time", "asset").sel(time=axis.times)
    lived = [_live(day, *parts, decide) for parts in _realities(real, plan, park)]
    failed = tuple(finding for one in lived for finding in one.findings)
    return _label(day, lived, decide, (*findings, *failed))


def _realities(real: xr.DataArray, plan: xr.Dataset, park: Park) -> list[tuple[np.ndarray, np.ndarray]]:
    stacked = real if "path" in real.dims else real.expand_dims("path")
    other, asked = split_power(stacked.transpose("path", "time", "asset"), plan, park)
    return list(zip(other, asked, strict=True))


# --- within the day ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lived:
    """One reality: its unscheduled power, and by course the schedule in force and what came of it."""

    other_mw: np.ndarray
    schedules_mw: tuple[np.ndarray, ...]
    courses: tuple[Course, ...]
    states: tuple[State, ...]
    trades_mw: tuple[np.ndarray, ...]
    decided_mw: np.ndarray
    findings: tuple[Finding, ...]


def _live(day: DayAhead, other_mw: np.ndarray, asked_mw: np.ndarray, decide: Decisions) -> _Lived:
    start = open_state(day.park, day.stays)
    alone = advance_whole(day.park, start, day.plan_mw, day.base_mw, asked_mw, day.stays)
    plan_mw, state, course, trade, decided, findings = _decide_and_live(day, other_mw, asked_mw, decide)
    known = Outlook(day.park, 0, start, day.stays, other_mw, asked_mw, day.position_mw, day.prices, day.e_end_mwh)
    nothing = np.zeros(day.length)
    try:
        best_mw, base_mw = decide.resolve(known), day.base_mw.copy()
    except InfeasibleError as error:
        return _Lived(
            other_mw,
            (day.plan_mw, plan_mw, day.plan_mw),
            (alone[1], course, alone[1]),
            (alone[0], state, alone[0]),
            (nothing, trade, nothing),
            decided,
            (*findings, _kept(day, 0, error)),
        )
    base_mw[:, day.park.at("heat_pump")] = asked_mw
    best = advance_whole(day.park, start, best_mw, base_mw, asked_mw, day.stays)
    traded = day.prices.worth_trading(other_mw + best[1].p_mw.sum(axis=1) - day.position_mw)
    return _Lived(
        other_mw,
        (day.plan_mw, plan_mw, best_mw),
        (alone[1], course, best[1]),
        (alone[0], state, best[0]),
        (nothing, trade, traded),
        decided,
        findings,
    )


def _decide_and_live(
    day: DayAhead, other_mw: np.ndarray, asked_mw: np.ndarray, decide: Decisions
) -> tuple[np.ndarray, State, Course, np.ndarray, np.ndarray, tuple[Finding, ...]]:
    """Decide, let reality go on until the next decision, and so forth."""
    plan_mw, base_mw, state = day.plan_mw.copy(), day.base_mw.copy(), open_state(day.park, day.stays)
    parts, decided, findings, trade_mw = [], [], [], np.zeros(day.length)
    edges = [0, *decide.moments(day.length), day.length]
    for begin, stop in pairwise(edges):
        if begin:
            outlook = look_ahead(day, state, plan_mw, base_mw, other_mw, asked_mw, now=begin, decide=decide)
            try:
                plan_mw[outlook.first :] = decide.resolve(outlook)
            except InfeasibleError as error:
                findings.append(_kept(day, begin, error))
            else:
                base_mw[outlook.first :, day.park.at("heat_pump")] = outlook.asked_mw[outlook.first :]
            _trade(day, outlook, plan_mw, base_mw, trade_mw, decide.closing(begin, day.length))
            decided.append(plan_mw.copy())
        state, course = advance(day.park, state, plan_mw, base_mw, asked_mw, stays=day.stays, begin=begin, stop=stop)
        parts.append(course)
    joined = Course(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("p_mw", "e_mwh", "kelvin")))
    shape = (len(decided), *plan_mw.shape)
    return plan_mw, state, joined, trade_mw, np.array(decided).reshape(shape), tuple(findings)


def _trade(
    day: DayAhead,
    outlook: Outlook,
    plan_mw: np.ndarray,
    base_mw: np.ndarray,
    trade_mw: np.ndarray,
    closing: tuple[int, int],
) -> None:
    """Buy what is expected beyond the position in intervals that close before the next decision; fills `trade_mw`."""
    first, stop = closing
    _, expected = advance(
        day.park, outlook.state, plan_mw, base_mw, outlook.asked_mw, stays=outlook.stays, begin=first, stop=stop
    )
    deviation = np.zeros(day.length)
    deviation[first:stop] = (outlook.p_other_mw - day.position_mw)[first:stop] + expected.p_mw.sum(axis=1)
    trade_mw[first:stop] = day.prices.worth_trading(deviation)[first:stop]


def _kept(day: DayAhead, now: int, error: InfeasibleError) -> Finding:
    moment = f"decision at {day.park.axis.times[now]} UTC" if now else "foresight"
    return Finding("no new schedule was found: the one in force stays", where=moment,
                   got=error.findings[0].got or str(error), code="GT-M24")  # fmt: skip


# --- labels -----------------------------------------------------------------------------------------------------------


def _label(day: DayAhead, lived: list[_Lived], decide: Decisions, findings: tuple[Finding, ...]) -> IntradayResult:
    axis, names = day.park.axis, day.park.facts.index
    actual = np.array([[one.courses[c].p_mw for one in lived] for c in range(len(COURSES))])
    other = np.array([one.other_mw for one in lived])
    net = other + actual.sum(axis=-1)
    trade = np.array([[one.trades_mw[c] for one in lived] for c in range(len(COURSES))])
    imbalance = day.park.hours * (net - day.position_mw - trade)
    costs = [
        {"path": path, "course": name} | _cost(day, one, c, imbalance[c, path])
        for path, one in enumerate(lived)
        for c, name in enumerate(COURSES)
    ]
    by_asset, mw = ("course", "path", "time", "asset"), {"units": "MW"}
    dataset = xr.Dataset(
        {
            "position_mw": ("time", day.position_mw, mw),
            "p_trade_mw": (by_asset[:3], trade, mw),
            "p_other_mw": (("path", "time"), other, mw),
            "p_schedule_mw": (by_asset, np.array([[o.schedules_mw[c] for o in lived] for c in range(3)]), mw),
            "p_actual_mw": (by_asset, actual, mw),
            "p_net_mw": (by_asset[:3], net, mw),
            "imbalance_mwh": (by_asset[:3], imbalance, {"units": "MWh"}),
            "e_mwh": (
                ("course", "path", "time", "battery"),
                np.array([[o.courses[c].e_mwh for o in lived] for c in range(3)]),
                {"units": "MWh"},
            ),
            "p_decided_mw": (("path", "decision", "time", "asset"), np.array([o.decided_mw for o in lived]), mw),
        },
        coords={
            "course": list(COURSES),
            "path": np.arange(len(lived)),
            "time": axis.times,
            "asset": names.to_numpy(dtype=str),
            "battery": names[day.park.at("battery")].to_numpy(dtype=str),
            "decision": axis.times[decide.moments(axis.length)].to_numpy(),
        },
        attrs={"step": axis.step.isoformat(), "zone": axis.zone, "sign": "consumption positive"},
    )
    return IntradayResult(dataset, pd.DataFrame(costs), findings)


def _cost(day: DayAhead, lived: _Lived, c: int, imbalance_mwh: np.ndarray) -> dict[str, float]:
    """Of one course."""
    return cost_of_course(
        day.park,
        day.prices,
        day.position_mw,
        lived.trades_mw[c],
        imbalance_mwh,
        lived.courses[c],
        lived.states[c],
        day.stays,
    )
