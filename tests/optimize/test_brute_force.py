"""Tiny cases against every possibility: all on and off patterns, all directions, all scenarios."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.industry import InterruptibleProcess
from gridtwin.optimize.linear_program import assemble
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.solve import MIP_GAP, PersistentSolver
from gridtwin.optimize.whole_numbers import FlexibilitySolver, find_whole_columns
from tests.optimize.devices_for_tests import HOURS, STEPS, devices_of, problem_of


def best_of_all(problem: FlexibilityProblem) -> float:
    """Least cost over all assignments of whole numbers and of on or off, a linear program for each."""
    program = build_flexibility_program(problem)
    linear, places = assemble(program.blocks)
    whole = find_whole_columns(program, places)
    binaries = np.union1d(whole.integer, whole.exclusive[:, 2])
    assert len(binaries) + len(whole.semicontinuous) <= 8
    solver, least = PersistentSolver(linear, time_limit_seconds=10), np.inf
    upper = linear.upper[whole.semicontinuous].copy()
    for pattern in itertools.product((0.0, 1.0), repeat=len(binaries) + len(whole.semicontinuous)):
        modes, on = np.array(pattern[: len(binaries)]), np.array(pattern[len(binaries) :])
        solver.set_column_bounds(binaries, modes, modes)
        solver.set_column_bounds(whole.semicontinuous, on * whole.smallest, on * upper)
        try:
            least = min(least, solver.solve().objective_eur)
        except Exception as error:  # an impossible pattern
            assert "no usable solution" in str(error)
    return least


@pytest.mark.parametrize("kind", ["battery", "computing_job", "electrolyser", "interruptible_process", "electric_car"])
@pytest.mark.parametrize("price", ["falling", "negative", "wild"])
def test_no_pattern_is_better(kind: str, price: str) -> None:
    """The solver's answer is that of the best of all patterns, to its own gap."""
    prices = {
        "falling": np.linspace(0.3, -0.1, STEPS),
        "negative": np.linspace(-0.1, -0.8, STEPS),
        "wild": np.random.default_rng(4).uniform(-0.6, 0.6, STEPS),
    }
    problem = problem_of(devices_of(kind)[:1])
    problem = replace(problem, terms=replace(problem.terms, price_eur_per_kwh=prices[price]))
    solution = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=30).solve()
    best = best_of_all(problem)
    tolerance = MIP_GAP * max(1.0, abs(best)) + 1e-6
    assert best - 1e-6 <= solution.objective_eur <= best + tolerance
    assert solution.lower_bound_eur <= best + 1e-6


def test_an_interruption_by_its_rules() -> None:
    """Every pattern of off steps judged by plain rules: how often, how long, at what price."""
    device = devices_of("interruptible_process")[0]
    assert isinstance(device, InterruptibleProcess)
    price = np.array([0.1, 2.0, 2.2, 0.1, 3.0, 0.3, 2.5, 0.2])
    terms = AreaTerms(price, np.zeros(STEPS), np.zeros(STEPS))
    problem = replace(problem_of([device]), terms=terms)
    solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=30)
    found = solver.solve()
    costs = {pattern: cost_by_rules(device, price, pattern) for pattern in itertools.product((0, 1), repeat=STEPS)}
    off = tuple(np.round(solver.program.fleets[0].column("off", found.x[0])[:, 0]).astype(int).tolist())
    assert costs[off] <= min(costs.values()) + MIP_GAP * abs(min(costs.values())) + 1e-6
    assert any(off)


def cost_by_rules(device: InterruptibleProcess, price: np.ndarray, pattern: tuple[int, ...]) -> float:
    """Cost of a pattern, infinite where it stops too often or too long; the small price of the peak is left out."""
    stops, lasting = 0, 0.0
    for t, off in enumerate(pattern):
        stops += off and (t == 0 or not pattern[t - 1])
        lasting = lasting + HOURS[t] if off else 0.0
        if lasting > device.off_max_h + 1e-9:
            return np.inf
    if stops > device.stops_max:
        return np.inf
    off = np.array(pattern)
    energy = HOURS * device.p_base_kw
    lost = device.interruption_eur_per_kwh * (energy * off).sum() + device.stop_eur * stops
    return float((price * energy * (1 - off)).sum() + lost)


def test_risk_is_the_mean_of_the_worst() -> None:
    """With two of four scenarios in the tail the risk is the mean of the two dearest, and weighing it lowers it."""
    rng = np.random.default_rng(2)
    inflexible = rng.uniform(-6, 12, (4, STEPS))
    price = np.linspace(0.1, 0.3, STEPS) * np.array([0.5, 1.0, 1.2, 2.0])[:, None]
    fees = (np.full(STEPS, 0.05), np.full(STEPS, 0.02))
    tails = []
    for weight in (1e-6, 5.0):
        terms = AreaTerms(price, *fees, probability=np.full(4, 0.25), risk_weight=weight, tail=0.5)
        devices = [device for kind in ("battery", "electric_car") for device in devices_of(kind)]
        problem = replace(problem_of(devices), terms=terms, inflexible_kw=inflexible)
        solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=30)
        solution = solver.solve()
        area, risk = solver.program.fleet("area"), solver.program.fleet("tail_risk")
        drawn, fed = (solver.program.fleets[area].column(n, solution.x[area]) for n in ("import_kw", "export_kw"))
        cost = HOURS @ ((price.T + 0.05) * drawn - (price.T - 0.02) * fed)
        tails.append(np.sort(cost)[-2:].mean())
        at_risk = solver.program.fleets[risk].column("value_at_risk_eur", solution.x[risk])[0, 0]
        beyond = solver.program.fleets[risk].column("excess_eur", solution.x[risk])[:, 0]
        if weight > 1:
            assert at_risk + (0.25 * beyond).sum() / 0.5 == pytest.approx(tails[-1], abs=1e-6)
    assert tails[1] < tails[0] - 0.01
