"""The block method against HiGHS: objectives, duals, bounds; and what its results must not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridtwin.kernels.elimination_plan import plan_elimination
from gridtwin.optimize.interior_point import solve_interior_point
from gridtwin.optimize.linear_program import assemble
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.solve import PersistentSolver
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from tests.optimize.devices_for_tests import BUSES, devices_of, networked, problem_of

CONTINUOUS = [
    "battery", "electric_car", "bidirectional_car", "heat_pump", "two_capacity_heat_pump", "hot_water_tank", "feed_in",
    "inverter", "shiftable_process", "steady",
]  # fmt: skip


def many(kinds: list[str], number: int = 11) -> list:
    """Different devices of each kind: more than fill the lanes, and not a multiple of them."""
    devices = []
    for kind in kinds:
        for seed in range(number):
            device = devices_of(kind, seed)[0]
            devices.append(replace(device, name=f"{kind} {seed}", bus=BUSES[seed % 3]))
    return devices


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_every_template_alone(kind: str) -> None:
    compare(problem_of(many([kind])))


@pytest.mark.parametrize("seed", range(4))
def test_all_together_behind_limits(seed: int) -> None:
    """Limits of active and reactive power, worst breach, scenarios, risk and prices of losses."""
    problem = networked(many(CONTINUOUS))
    rng = np.random.default_rng(seed)
    tight = rng.uniform(-30, 30, len(problem.rows))
    compare(replace(problem, room_kw=tight, worst_breach_eur=float(rng.uniform(0, 50))))


def compare(problem: FlexibilityProblem) -> None:
    """Objective of HiGHS to 1e-5 (the gap asked for), between bound and objective; rows held to 1e-6."""
    blocks = build_flexibility_program(problem).blocks
    linear, _ = assemble(blocks)
    theirs = PersistentSolver(linear, time_limit_seconds=30).solve()
    ours = solve_interior_point(blocks)
    scale = max(1.0, abs(theirs.objective_eur))
    assert ours.status == "optimal"
    assert ours.objective == pytest.approx(theirs.objective_eur, abs=2e-5 * scale)
    assert ours.lower_bound <= theirs.objective_eur + 1e-7 * scale
    assert ours.largest_violation < 1e-5
    for x, family in zip(ours.x, blocks.families, strict=True):
        assert np.all(x >= family.lower) and np.all(x <= family.upper)


def test_duals_are_what_room_is_worth() -> None:
    """0.1 kW of room more, solved again by HiGHS, is worth the dual to 1e-3 relative."""
    problem = networked(many(["battery", "electric_car", "heat_pump"]))
    problem = replace(problem, room_kw=np.full(len(problem.rows), -20.0))
    ours = solve_interior_point(build_flexibility_program(problem).blocks, relative_gap=1e-8)
    program = build_flexibility_program(problem)
    duals = ours.coupling_dual[program.limit_rows]
    row = int(np.argmin(duals))
    values = []
    for change in (-0.05, 0.05):
        room = problem.room_kw.copy()
        room[row] += change
        linear, _ = assemble(build_flexibility_program(replace(problem, room_kw=room)).blocks)
        values.append(PersistentSolver(linear, time_limit_seconds=30).solve().objective_eur)
    assert duals[row] < -0.01
    assert (values[1] - values[0]) / 0.1 == pytest.approx(duals[row], rel=1e-3)


def test_threads_change_no_bit() -> None:
    blocks = build_flexibility_program(networked(many(CONTINUOUS))).blocks
    one, three = (solve_interior_point(blocks, threads=threads) for threads in (1, 3))
    assert one.objective == three.objective and one.iterations == three.iterations
    assert all(np.array_equal(a, b) for a, b in zip(one.x, three.x, strict=True))


def test_neighbours_change_nothing() -> None:
    """The same devices in another order: the same plan for each, to the gap."""
    devices = many(["battery", "heat_pump"])
    problem = problem_of(devices)
    turned = problem_of(devices[::-1])
    values = [solve_interior_point(build_flexibility_program(p).blocks, relative_gap=1e-8) for p in (problem, turned)]
    assert values[0].objective == pytest.approx(values[1].objective, rel=1e-7)


def test_out_of_time_says_so() -> None:
    blocks = build_flexibility_program(networked(many(CONTINUOUS))).blocks
    assert solve_interior_point(blocks, time_limit_seconds=0.0).status == "time limit"


def test_a_chain_has_a_flat_tree() -> None:
    """64 steps in a row: a port reaches few rows of the factor, not half of them."""
    start = np.arange(0, 2 * 64 + 1, 2)
    column = np.stack([np.arange(64), np.arange(1, 65)], axis=1).ravel()
    plan = plan_elimination(start, column, np.arange(65), np.arange(64))
    reached = np.diff(plan.v_start)
    assert reached.sum() < 64 * 14  # two rows for each of log2(64) + 1 levels
    assert sorted(plan.order.tolist()) == list(range(64))


def test_a_large_program_takes_the_block_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same problem through both doors, with new room and directions decided: objectives to 1e-4."""
    problem = networked(many(["battery", "electric_car", "heat_pump"]))
    values = []
    for largest in (10**9, 0):
        monkeypatch.setattr("gridtwin.optimize.whole_numbers.BLOCK_COLUMNS", largest)
        solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=60)
        first = solver.solve()
        solver.set_room(problem.room_kw - 15)
        second = solver.solve()
        values.append((first.objective_eur, second.objective_eur))
        assert first.engine == ("block" if largest == 0 else "simplex")
        charge, discharge = (solver.program.fleets[0].column(n, second.x[0]) for n in ("charge_kw", "discharge_kw"))
        assert np.minimum(charge, discharge).max() < 2e-3
    assert values[0] == pytest.approx(values[1], rel=6e-3)
    assert values[0][1] > values[0][0]
