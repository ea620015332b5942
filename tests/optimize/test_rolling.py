"""A moving window: what it carries, what it is worth, and how steady it is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridtwin.errors import DataError
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.model import FlexibilityProblem, LimitRows, LossLines, build_flexibility_program, no_rows
from gridtwin.optimize.rolling import RollingLimits, RollingPlanner, RollingSettings, run_rolling
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from gridtwin.optimize.window import Window, coarsening_blocks, cut_window

STAMP = pd.Timestamp("2016-01-12")
DAY = 96


def span_of(devices: list[Device], steps: int = 2 * DAY, noise: float = 0.0) -> FlexibilityProblem:
    hour = np.arange(steps) / 4
    price = 0.1 - 0.05 * np.cos(2 * np.pi * (hour - 18) / 24) + noise * np.random.default_rng(0).standard_normal(steps)
    return FlexibilityProblem(
        np.full(steps, 0.25), tuple(devices), ("a", "b"), AreaTerms(price, np.full(steps, 0.03), np.zeros(steps)),
        3 + np.sin(hour), no_rows(2), np.zeros(0),
    )  # fmt: skip


def some_devices(steps: int = 2 * DAY) -> list[Device]:
    nothing, up = np.zeros(steps), np.full(steps, 5.0)
    plugged = np.zeros(steps)
    plugged[40:110] = 11.0
    stay = (nothing, nothing, plugged, STAMP, STAMP, 0.0, 0.0, 18.0, 18.0, 2.0)
    return [
        Battery("battery", "a", nothing, -up, up, up, up, nothing, np.full(steps, 10.0), 4.0, 0.9, 0.02),
        HeatPump("pump", "b", np.full(steps, 1.5), nothing, up, 0.3, 15.0, np.full(steps, 3.0)),
        ChargingSession("car", "b", *stay),
    ]


def test_a_window_keeps_means_and_ends() -> None:
    window = cut_window(2, coarsening_blocks(2, (2, 3)), 0.25, span=9)
    assert window.blocks.tolist() == [1, 1, 3, 2] and window.end == 9  # the last step is cut where the span ends
    series = np.arange(9.0)
    assert window.mean(series).tolist() == [2, 3, 5, 7.5] and window.last(series).tolist() == [2, 3, 6, 8]
    assert window.hours @ window.mean(series) == pytest.approx(0.25 * series[2:].sum())


def test_with_everything_in_sight_rolling_is_optimal() -> None:
    """A window over the whole span, planned again every hour: the cost carried out is the optimum of the span.

    To 2e-4: each plan spreads what is left by a price on the peak that the whole span would spread otherwise.
    """
    span = span_of(some_devices(DAY), DAY, noise=0.01)
    best = FlexibilitySolver(build_flexibility_program(span), time_limit_seconds=30).solve()
    planner = RollingPlanner(span, RollingSettings(np.ones(DAY, dtype=int)))
    plans = run_rolling(planner, last=DAY, every=4)
    done = np.concatenate([dense(plan, 3)[:4] for plan in plans])
    first = dense(plans[0], 3)
    assert plans[0].solution.objective_eur == pytest.approx(best.objective_eur, rel=1e-8)
    assert cost_of(span, done) == pytest.approx(cost_of(span, first), rel=2e-4)


def dense(plan, devices: int) -> np.ndarray:
    """Power of all devices, 0 where a device has nothing in the window."""
    p_kw = np.zeros((len(plan.p_kw), devices))
    p_kw[:, plan.devices] = plan.p_kw
    return p_kw


def cost_of(span: FlexibilityProblem, p_kw: np.ndarray) -> float:
    """Energy, fee on imports and wear of the battery (device 0); comfort is not left here."""
    net = span.inflexible_kw + p_kw.sum(axis=1)
    terms, discharged = span.terms, np.maximum(-p_kw[:, 0], 0)
    bought = terms.price_eur_per_kwh * p_kw.sum(axis=1) + terms.import_fee_eur_per_kwh * np.maximum(net, 0)
    return float(0.25 * (bought + 0.02 * discharged).sum())


def test_energy_is_carried_from_window_to_window() -> None:
    """The books of the battery close over all plans, the car leaves full, the room keeps its law."""
    span = span_of(some_devices())
    planner = RollingPlanner(span, RollingSettings(np.ones(48, dtype=int)))
    plans = run_rolling(planner, last=2 * DAY)
    p_kw = np.array([dense(plan, 3)[0] for plan in plans])
    stored = 4 + 0.25 * np.cumsum(np.where(p_kw[:, 0] > 0, np.sqrt(0.9) * p_kw[:, 0], p_kw[:, 0] / np.sqrt(0.9)))
    assert stored.min() > -1e-4 and stored.max() < 10 + 1e-4
    assert planner.state[0]["e_start_kwh"] == pytest.approx(stored[-1], abs=1e-3)
    assert 0.25 * p_kw[:, 2].sum() == pytest.approx(18, abs=1e-3) and not p_kw[:40, 2].any() and not p_kw[110:, 2].any()
    a, kelvin = np.exp(-0.25 * 0.3 / 15), 0.0
    for power in p_kw[:, 1]:
        kelvin = a * kelvin + (1 - a) * 3.0 / 0.3 * (power - 1.5)
        assert abs(kelvin) < 1 + 1e-3
    assert planner.state[1]["kelvin_start"] == pytest.approx(kelvin, abs=1e-3)


def test_what_was_measured_replaces_what_was_planned() -> None:
    planner = RollingPlanner(span_of(some_devices()), RollingSettings(np.ones(24, dtype=int)))
    planner.carry_out(planner.plan(0), 4)
    planner.state[0]["e_start_kwh"] = 9.5
    assert planner._devices_in(Window(4, np.ones(24, dtype=int), 0.25))[1][0].e_start_kwh == 9.5


def test_a_battery_is_not_emptied_at_the_end_of_a_window() -> None:
    """Without a worth of what is left every window sells it all; with it the closed loop earns more."""
    span = span_of(some_devices()[:1], noise=0.02)
    closed = []
    for worth in (False, True):
        planner = RollingPlanner(span, RollingSettings(np.ones(24, dtype=int), end_value=worth))
        plans = run_rolling(planner, last=DAY)
        p_kw = np.array([plan.p_kw[0] for plan in plans])
        left = planner.state[0]["e_start_kwh"]
        part = replace(span, hours=span.hours[:DAY], inflexible_kw=span.inflexible_kw[:DAY])
        terms = replace(
            span.terms,
            price_eur_per_kwh=span.terms.price_eur_per_kwh[:DAY],
            import_fee_eur_per_kwh=span.terms.import_fee_eur_per_kwh[:DAY],
        )
        closed.append(cost_of(replace(part, terms=terms), p_kw) - left * 0.1 * np.sqrt(0.9))
    assert closed[1] < closed[0] - 0.02


def test_a_price_on_change_makes_plans_steady() -> None:
    """The forecast of the inflexible load wavers from plan to plan; what is planned for one hour moves less."""
    moved = []
    for price in (0.0, 0.02):
        planner = RollingPlanner(span_of(some_devices()), RollingSettings(np.ones(48, dtype=int), price))
        rng, plans = np.random.default_rng(3), []
        for now in range(24):
            waver = planner.span.terms.price_eur_per_kwh + 0.004 * rng.standard_normal(2 * DAY)
            planner.span = replace(planner.span, terms=replace(planner.span.terms, price_eur_per_kwh=waver))
            plans.append(planner.plan(now))
            planner.carry_out(plans[-1])
        steps = [np.abs(dense(new, 3)[:-1] - dense(old, 3)[1:]).sum() for old, new in itertools.pairwise(plans)]
        moved.append(0.25 * float(np.sum(steps)))
    assert moved[1] < 0.5 * moved[0]


def test_coarse_steps_far_out_cost_little() -> None:
    """15 minutes for 6 hours, then hours: 42 steps instead of 96, the carried out day within 1 % of the fine one."""
    costs = []
    for blocks in (np.ones(DAY, dtype=int), coarsening_blocks(24, (18, 4))):
        plans = run_rolling(RollingPlanner(span_of(some_devices(), noise=0.01), RollingSettings(blocks)), last=DAY)
        span = span_of(some_devices(DAY), DAY, noise=0.01)
        costs.append(cost_of(span, np.array([dense(plan, 3)[0] for plan in plans])))
    assert costs[1] == pytest.approx(costs[0], rel=0.01)


def test_limits_are_found_and_foreseen() -> None:
    """Rows join when a plan misses them; the plan is that of all rows at once, and later plans need no second solve."""
    span = span_of(some_devices(), noise=0.02)
    weight = np.array([[1.0, 1.0], [0.0, 1.0]])
    limits = RollingLimits(weight, np.array([[6.0], [4.0]]) * np.ones((2, 2 * DAY)))
    planner = RollingPlanner(span, RollingSettings(np.ones(DAY, dtype=int)), limits)
    first = planner.plan(0)
    rows = LimitRows(np.repeat([0, 1], DAY), np.tile(np.arange(DAY), 2), np.repeat(weight, DAY, axis=0))
    whole = replace(first.program.problem, rows=rows, room_kw=np.repeat([6.0, 4.0], DAY))
    best = FlexibilitySolver(build_flexibility_program(whole), time_limit_seconds=30).solve()
    assert first.solution.objective_eur == pytest.approx(best.objective_eur, rel=1e-8)
    assert first.rounds > 1 and 0 < len(first.program.problem.rows) < 2 * DAY
    planner.carry_out(first)
    later = []
    for now in range(1, 9):
        later.append(planner.plan(now))
        planner.carry_out(later[-1])
    assert np.median([plan.rounds for plan in later]) == 1


def test_a_warm_start_changes_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objectives of every window with and without the basis of the plan before it, to 1e-8."""
    values = []
    for largest in (10**9, 0):
        monkeypatch.setattr("gridtwin.optimize.rolling.WARM_COLUMNS", largest)
        planner = RollingPlanner(span_of(some_devices(), noise=0.02), RollingSettings(np.ones(DAY, dtype=int)))
        values.append([plan.solution.objective_eur for plan in run_rolling(planner, last=6)])
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def test_a_peak_once_reached_is_paid_for() -> None:
    """With a dear peak the closed loop's largest import is that of the whole span at once, to 2 %."""
    span = span_of(some_devices(DAY), DAY, noise=0.02)
    span = replace(span, terms=replace(span.terms, peak_eur_per_kw=2.0))
    best = FlexibilitySolver(build_flexibility_program(span), time_limit_seconds=30).solve()
    beyond = best.x[-1][-1].max()  # the area's last column
    planner = RollingPlanner(span, RollingSettings(np.ones(DAY, dtype=int)))
    plans = run_rolling(planner, last=DAY)
    net = span.inflexible_kw + np.array([dense(plan, 3)[0] for plan in plans]).sum(axis=1)
    assert net.max() == pytest.approx(beyond, rel=0.02)
    assert planner.peak_so_far_kw == pytest.approx(net.max(), abs=1e-3)


def test_lines_of_losses_are_refused_not_forgotten() -> None:
    losses = LossLines(np.zeros(1, dtype=int), np.ones((1, 2)), np.zeros(1), np.ones(2 * DAY))
    span = replace(span_of(some_devices()), losses=losses)
    with pytest.raises(DataError, match="bus_price_eur_per_kwh"):
        RollingPlanner(span, RollingSettings(np.ones(8, dtype=int)))
