"""Nodal prices against finite differences of the optimum; who pays what, and where the rent comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridtwin.optimize.model import FlexibilityProblem, LimitRows, build_flexibility_program
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.nodal_prices import PRICE_PARTS, congestion_rent_eur, find_nodal_prices, settle_devices
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from tests.optimize.devices_for_tests import (
    BUSES,
    HOURS,
    STAMP,
    STEPS,
    curved_losses,
    devices_of,
    networked,
    problem_of,
)  # fmt: skip

CONTINUOUS = ["battery", "heat_pump", "hot_water_tank", "feed_in", "shiftable_process"]
STEP_KW = 0.01


def limits_of(*kinds: str) -> NetworkLimits:
    """Limits by their kind alone; the program has their weights."""
    rows = [{"asset": f"{kind} {k}", "kind": kind, "side": "low" if kind == "bus" else "forward"}
            for k, kind in enumerate(kinds)]  # fmt: skip
    nothing = np.zeros(len(kinds))
    return NetworkLimits(pd.DataFrame(rows), np.zeros((len(kinds), len(BUSES))), nothing, nothing, nothing, nothing)


LIMITS = limits_of("line", "bus", "line", "bus", "trafo", "bus")


def solved(problem: FlexibilityProblem):
    solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=20)
    return solver.program, solver.solve()


def total_eur(problem: FlexibilityProblem, bus: int, step: int, kw: float) -> float:
    """Optimum with more consumption at a bus on a step, the energy it takes included."""
    more = np.array(problem.inflexible_kw, dtype=float)
    more[..., step] += kw
    room = problem.room_kw - kw * problem.rows.weight[:, bus] * (problem.rows.step == step)
    losses = problem.losses
    if losses is not None:
        moved = kw * losses.slope[:, bus] * (losses.step == step)
        losses = replace(losses, offset_kw=losses.offset_kw - moved)
    _, solution = solved(replace(problem, inflexible_kw=more, room_kw=room, losses=losses))
    return solution.objective_eur + kw * problem.energy_price()[step, bus]


def tight(**changes: object) -> FlexibilityProblem:
    """Two line rows and two voltage rows that bind, on steps with and without prices below 0."""
    devices = [device for kind in CONTINUOUS for device in devices_of(kind)]
    weight = np.array([[1.0, 1.02, 0.0], [0.4, 1.0, 0.3], [1.0, 0.0, 1.0], [0.7, 0.9, 0.1]])
    rows = LimitRows(np.arange(4), np.array([1, 2, 5, 7]), weight)
    return problem_of(devices, rows=rows, room_kw=np.array([-14.0, -5.0, -2.0, 20.0]), **changes)


def loss_prices() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 0.02, (STEPS, len(BUSES)))


def peaks() -> FlexibilityProblem:
    problem = tight(bus_price_eur_per_kwh=loss_prices())
    return replace(problem, terms=replace(problem.terms, peak_eur_per_kw=0.7, peak_so_far_kw=4.0))


def risky() -> FlexibilityProblem:
    problem = networked([device for kind in CONTINUOUS for device in devices_of(kind)])
    return replace(problem, room_kw=problem.room_kw - np.array([16.0, 6.0, 0.0, 6.0, 0.0, 0.0]))


PROBLEMS = {
    "congestion and voltage": tight,
    "losses": lambda: tight(bus_price_eur_per_kwh=loss_prices()),
    "curved losses": lambda: tight(losses=curved_losses(np.linspace(0.3, 0.0, STEPS))),
    "peak charge": peaks,
    "breaches": lambda: replace(tight(worst_breach_eur=5.0), room_kw=np.array([-60.0, -5.0, -2.0, 20.0])),
    "scenarios and risk": risky,
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_a_price_is_what_one_more_kwh_costs(name: str) -> None:
    """0.01 kW more and less: within 1e-4 of the larger price where both sides agree, else between the two."""
    problem = PROBLEMS[name]()
    program, solution = solved(problem)
    prices = find_nodal_prices(program, solution, LIMITS)
    unique = 0
    for step in range(STEPS):
        for bus in range(len(BUSES)):
            price = float(prices["price_eur_per_mwh"][step, bus]) / 1000 * HOURS[step]
            base = total_eur(problem, bus, step, 0.0)
            up = (total_eur(problem, bus, step, STEP_KW) - base) / STEP_KW
            down = (base - total_eur(problem, bus, step, -STEP_KW)) / STEP_KW
            slack = 1e-4 * max(abs(price), abs(up), 0.01)
            assert down - slack <= price <= up + slack, (step, bus)
            if up - down < 2 * slack:
                unique += 1
                assert price == pytest.approx(up, abs=slack)
    assert unique > STEPS  # most vertices are not degenerate


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_the_parts_are_the_price(name: str) -> None:
    """Rounding apart; congestion only where a line is full, voltage only where a bus is at its limit."""
    program, solution = solved(PROBLEMS[name]())
    prices = find_nodal_prices(program, solution, LIMITS)
    together = sum(prices[part] for part in PRICE_PARTS)
    np.testing.assert_allclose(together, prices["price_eur_per_mwh"], rtol=0, atol=1e-9)
    assert np.abs(prices["congestion"]).max() > 1 and np.abs(prices["voltage"]).max() > 1
    limited = np.isin(np.arange(STEPS), program.problem.rows.step)
    assert np.abs(prices["congestion"] + prices["voltage"])[~limited].max() < 1e-9


def test_without_limits_a_price_is_day_ahead_and_fee() -> None:
    """Consumption beyond all feed-in: 300 EUR/MWh and 50 EUR/MWh of fee on the first step, at every bus."""
    problem = problem_of(devices_of("feed_in"), inflexible_kw=np.full(STEPS, 50.0))
    problem = replace(problem, terms=replace(problem.terms, import_fee_eur_per_kwh=np.full(STEPS, 0.05)))
    prices = find_nodal_prices(*solved(problem), LIMITS, times=pd.date_range(STAMP, periods=STEPS, freq="15min"))
    # spreading peaks evenly has a price of its own, 0.001 EUR per kW of the largest exchange
    assert prices["price_eur_per_mwh"][0].to_numpy() == pytest.approx(350.0, abs=4.1)
    assert prices["price_eur_per_mwh"].dims == ("time", "bus") and prices["time"].dtype == "datetime64[ns]"


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_payments_for_the_network_are_its_rent(name: str) -> None:
    """Sum of congestion and voltage payments = sum of -dual (room + over), to 1e-6 of what flows either way."""
    problem = PROBLEMS[name]()
    program, solution = solved(problem)
    table = settle_devices(program, solution, find_nodal_prices(program, solution, LIMITS))
    paid = (table["congestion_eur"] + table["voltage_eur"]).to_numpy()
    rent = congestion_rent_eur(program, solution)
    assert np.abs(rent).max() > 0.1
    assert paid.sum() == pytest.approx(rent.sum(), abs=1e-6 * (np.abs(paid).sum() + np.abs(rent).sum()))


def test_reactive_power_pays_its_part_of_the_rent() -> None:
    problem = networked([*devices_of("inverter"), *devices_of("battery"), *devices_of("heat_pump")])
    program, solution = solved(replace(problem, room_kw=problem.room_kw - 8.0))
    prices = find_nodal_prices(program, solution, LIMITS)
    table = settle_devices(program, solution, prices)
    assert np.abs(prices["reactive_congestion"]).max() > 0
    paid, rent = table["congestion_eur"] + table["voltage_eur"], congestion_rent_eur(program, solution)
    assert paid.sum() == pytest.approx(rent.sum(), abs=1e-6 * float(np.abs(paid).sum() + np.abs(rent).sum()))


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_nobody_loses_by_the_plan(name: str) -> None:
    """At its nodal prices a device can do no better than the plan, so not with its base either."""
    program, solution = solved(PROBLEMS[name]())
    table = settle_devices(program, solution, find_nodal_prices(program, solution, LIMITS))
    gain = table["gain_eur"].dropna()
    assert len(gain) >= 7 and (gain > -1e-5).all() and (gain > 0.01).any()
    assert table["payment_eur"].to_numpy() == pytest.approx(sum(table[f"{part}_eur"] for part in PRICE_PARTS))


def test_own_costs_are_what_the_objective_holds_beside_energy() -> None:
    """No fees: objective = energy at day-ahead price and losses + own costs + breaches + the price of even exchange."""
    problem = tight(bus_price_eur_per_kwh=loss_prices())
    nothing = np.zeros(STEPS)
    terms = replace(problem.terms, import_fee_eur_per_kwh=nothing, export_fee_eur_per_kwh=nothing)
    program, solution = solved(replace(problem, terms=terms))
    table = settle_devices(program, solution, find_nodal_prices(program, solution, LIMITS))
    devices_kw = {fleet.fleet.template.kind: None for fleet in program.device_fleets}
    assert set(devices_kw) == set(CONTINUOUS)
    outside = sum(
        float((fleet.family.cost * x).sum())
        for fleet, x in zip(program.fleets[len(program.members) :], solution.x[len(program.members) :], strict=True)
    )
    priced = find_nodal_prices(program, replace(solution, coupling_dual=0 * solution.coupling_dual), LIMITS)
    energy = settle_devices(program, solution, priced)["payment_eur"].sum()
    assert energy + table["own_cost_eur"].sum() + outside == pytest.approx(solution.objective_eur, rel=1e-9)


def test_a_car_against_charging_at_once() -> None:
    """A session has no base of its own: the price of its energy falls from 0.32 EUR/kWh, later is cheaper."""
    car = replace(devices_of("electric_car")[0], p_low_kw=0.0)
    program, solution = solved(problem_of([car, *devices_of("feed_in")]))
    prices, at_once = find_nodal_prices(program, solution, LIMITS), np.zeros((STEPS, 3))
    wanted = (car.e_due_kwh - car.e_start_kwh) / car.charging_efficiency
    full = np.minimum(np.cumsum(HOURS * car.p_max_kw), wanted)
    at_once[:, 0] = np.diff(full, prepend=0) / HOURS
    at_once[:, 1:] = np.column_stack([device.p_base_kw for device in devices_of("feed_in")])
    table = settle_devices(program, solution, prices, base_kw=at_once)
    assert table["base_own_cost_eur"][0] == pytest.approx(0, abs=1e-6) and table["gain_eur"][0] > 0.1


def test_nothing_flexible_has_prices_and_no_settlement() -> None:
    program, solution = solved(problem_of([]))
    prices = find_nodal_prices(program, solution, LIMITS)
    assert prices["price_eur_per_mwh"].shape == (STEPS, 3) and settle_devices(program, solution, prices).empty


def test_a_base_that_cannot_be_has_no_gain() -> None:
    """A battery whose base discharges more than it holds."""
    battery = replace(devices_of("battery")[0], p_base_kw=np.full(STEPS, -3.0))
    program, solution = solved(problem_of([battery, *devices_of("feed_in")]))
    table = settle_devices(program, solution, find_nodal_prices(program, solution, LIMITS))
    assert np.isnan(table["gain_eur"][0]) and np.isfinite(table["gain_eur"][1:]).all()
