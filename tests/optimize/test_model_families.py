"""Each family of the model as LP text, to be read beside its equations; and one model through other solver doors.

After a deliberate change of a family, write its file anew: GRIDTWIN_WRITE_LP=1 pytest this file; then read the diff.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pyomo.environ as pyo
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from gridtwin.errors import InfeasibleError
from gridtwin.optimize.expand import expand_to_pyomo
from gridtwin.optimize.linear_program import assemble, compile_linear_program
from gridtwin.optimize.model import FlexibilityProblem, LimitRows, LossLines, build_flexibility_program
from gridtwin.optimize.solve import MIP_GAP, PersistentSolver, audit_feasibility, audit_optimality
from gridtwin.optimize.template import Template, write_block
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from tests.optimize.devices_for_tests import BUSES, KINDS, devices_of, networked, problem_of

GOLDEN = Path(__file__).parent.parent / "lp"
CONTINUOUS = ["battery", "electric_car", "heat_pump", "hot_water_tank", "feed_in", "shiftable_process"]
STEPS = 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_is_what_its_lp_file_says(kind: str, tmp_path: Path) -> None:
    """Three steps of a quarter of an hour; every parameter is 1 but those named here."""
    template: Template = devices_of(kind)[0].template
    model = pyo.ConcreteModel(kind)
    unlike = {"comfort_kelvin": 1.5, "efficiency": 0.81, "charging_efficiency": 0.9, "tan_phi": 0.484}
    values = {name: np.full(STEPS, 0.5 + k) for k, name in enumerate(template.series)}
    values |= {name: 2.0 + k for k, name in enumerate(template.scalars)} | unlike | {"hours": np.full(STEPS, 0.25)}
    write_block(template, model, STEPS, values)
    model.cost = pyo.Objective(expr=model.cost_eur)
    same_text(model, kind, tmp_path)


def test_what_joins_devices_is_what_its_lp_file_says(tmp_path: Path) -> None:
    """Balance, limits, worst breach, risk and losses around two systems that feed in."""
    problem = networked(devices_of("feed_in"))
    lines = problem.losses
    first = lines.step < 2
    short = replace(
        problem,
        hours=problem.hours[:2],
        devices=tuple(shortened(device) for device in problem.devices),
        terms=replace(
            problem.terms,
            price_eur_per_kwh=problem.terms.price_eur_per_kwh[:, :2].round(2),
            import_fee_eur_per_kwh=np.full(2, 0.05),
            export_fee_eur_per_kwh=np.full(2, 0.02),
        ),
        inflexible_kw=problem.inflexible_kw[:, :2].round(1),
        rows=LimitRows(np.arange(2), np.arange(2), problem.rows.weight[:2].round(2), scale=np.array([5.0, 8.0])),
        room_kw=np.array([3.0, 4.0]),
        bus_price_eur_per_kwh=None,
        losses=LossLines(
            lines.step[first], lines.slope[first].round(3), lines.offset_kw[first].round(3), np.array([0.25, 0.2])
        ),
    )
    same_text(expand_to_pyomo(short), "joined", tmp_path)


def shortened(device):
    series = ("p_base_kw", "p_min_kw", "p_max_kw")
    return replace(device, **{name: getattr(device, name)[:2].round(1) for name in series})


def same_text(model: pyo.ConcreteModel, name: str, tmp_path: Path) -> None:
    written = tmp_path / "written.lp"
    model.write(str(written), io_options={"symbolic_solver_labels": True})
    if os.environ.get("GRIDTWIN_WRITE_LP"):
        (GOLDEN / f"{name}.lp").write_text(written.read_text())
    assert written.read_text() == (GOLDEN / f"{name}.lp").read_text()


def limited(kinds=CONTINUOUS, room: float = 6.0, steps: tuple[int, int] = (1, 2)) -> FlexibilityProblem:
    devices = [device for kind in kinds for device in devices_of(kind)]
    rows = LimitRows(np.array([0, 1]), np.array(steps), np.array([[1.0, 1.02, 0.0], [1.0, 0.0, 1.0]]))
    return problem_of(devices, rows=rows, room_kw=np.array([room, 7.5]))


@pytest.mark.parametrize("kinds", [CONTINUOUS, KINDS], ids=["continuous", "all kinds"])
def test_other_doors_find_the_same_objective(kinds: list[str]) -> None:
    """scipy's own HiGHS on the matrix, Pyomo's own interface on the plain Pyomo model.

    Smallest powers beside 0 are left out on both sides; whole numbers are solved to the solver's gap.
    """
    problem = networked([device for kind in kinds for device in devices_of(kind)])
    program = build_flexibility_program(problem)
    linear, _ = assemble(program.blocks)
    whole = np.concatenate([np.repeat(f.compiled.integer, len(f.fleet.names)) for f in program.fleets])
    linear.integer[: len(whole)] = whole
    ours = PersistentSolver(linear, time_limit_seconds=60).solve()
    theirs = milp(
        linear.cost,
        integrality=linear.integer.astype(int),
        bounds=Bounds(linear.lower, linear.upper),
        constraints=LinearConstraint(linear.matrix, linear.row_lower, linear.row_upper),
        options={"mip_rel_gap": 1e-7},
    )
    tolerance = 1e-6 if kinds == CONTINUOUS else 5e-3
    assert theirs.fun + linear.constant == pytest.approx(ours.objective_eur, rel=tolerance)
    assert ours.lower_bound_eur <= theirs.fun + linear.constant + 1e-6
    model = expand_to_pyomo(problem)
    pyo.SolverFactory("appsi_highs").solve(model)
    assert pyo.value(model.cost) == pytest.approx(theirs.fun + linear.constant, rel=1e-3 if kinds == KINDS else 1e-6)


def test_sums_of_their_own_change_nothing() -> None:
    """The power of a bus as a column of its own, or written out in every row: one optimum."""
    blocks = build_flexibility_program(limited()).blocks
    values = []
    for shared in (True, False):
        linear, _ = assemble(blocks, shared_sums=shared)
        values.append(PersistentSolver(linear, time_limit_seconds=10).solve().objective_eur)
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_a_resolve_is_a_new_solve() -> None:
    """Changing the room in the solver gives what a model built with that room gives."""
    solver = FlexibilitySolver(build_flexibility_program(limited()), time_limit_seconds=10)
    before = solver.solve().objective_eur
    solver.set_room(np.array([-20.0, 7.5]))
    changed = solver.solve().objective_eur
    fresh = FlexibilitySolver(build_flexibility_program(limited(room=-20.0)), time_limit_seconds=10)
    assert changed == pytest.approx(fresh.solve().objective_eur, rel=1e-9)
    assert changed > before + 0.01


def test_duals_price_the_room() -> None:
    """One kW of room more is worth its dual: a finite difference of 0.01 kW agrees within 1e-6 EUR/kW."""
    solver = FlexibilitySolver(build_flexibility_program(limited(room=-20.0)), time_limit_seconds=10)
    base = solver.solve()
    solver.set_room(np.array([-20.0 + 0.01, 7.5]))
    more = solver.solve()
    dual = base.coupling_dual[solver.program.limit_rows][0]
    assert dual < -0.1
    assert (more.objective_eur - base.objective_eur) / 0.01 == pytest.approx(dual, abs=1e-6)


def test_a_smallest_current_is_kept() -> None:
    """Cars that may not charge below 30 % of their power, and little room: nothing in between."""
    problem = limited(["electric_car"], room=1.0, steps=(5, 4))
    solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=30)
    loose = FlexibilitySolver(build_flexibility_program(without_smallest(problem)), time_limit_seconds=30).solve()
    tight = solver.solve()
    fleet = solver.program.fleets[0]
    power, least = fleet.column("charge_kw", tight.x[0]), fleet.smallest
    assert np.all((power < 1e-6) | (power >= least - 1e-6)) and (power > 1).any()
    between = fleet.column("charge_kw", loose.x[0])
    assert ((between > 1e-3) & (between < least - 1e-3)).any()
    assert tight.objective_eur >= loose.objective_eur - 1e-9
    # a search that had to be made may know a better bound than the linear program
    assert loose.objective_eur * (1 - 1e-9) <= tight.lower_bound_eur <= tight.objective_eur
    assert tight.gap <= MIP_GAP


def without_smallest(problem: FlexibilityProblem) -> FlexibilityProblem:
    return replace(problem, devices=tuple(replace(device, p_low_kw=0.0) for device in problem.devices))


def test_a_negative_price_does_not_make_a_battery_burn() -> None:
    """The linear program charges and discharges at once; the solution does not, and a whole search finds no better."""
    problem = limited(["battery"], room=50.0)
    price = np.full(len(problem.hours), -0.6)
    problem = replace(problem, terms=replace(problem.terms, price_eur_per_kwh=price))
    program = build_flexibility_program(problem)
    linear, places = assemble(program.blocks)
    relaxed = PersistentSolver(linear, time_limit_seconds=10).solve()
    charge, discharge = (program.fleets[0].column(n, relaxed.x[places.columns[0]].reshape(-1, 2)) for n in POWERS)
    assert np.minimum(charge, discharge).max() > 0.1
    solution = FlexibilitySolver(program, time_limit_seconds=30).solve()
    charge, discharge = (program.fleets[0].column(name, solution.x[0]) for name in POWERS)
    assert np.minimum(charge, discharge).max() < 2e-3
    linear, places = assemble(program.blocks)
    modes = np.array(program.fleets[0].compiled.columns["mode"])[:, None] * 2 + np.arange(2)
    linear.integer[modes.ravel()] = True
    best = PersistentSolver(linear, time_limit_seconds=30).solve()
    assert solution.objective_eur <= best.objective_eur + 6e-3 * abs(best.objective_eur)


POWERS = ("charge_kw", "discharge_kw")


def test_the_audit_sees_planted_faults() -> None:
    linear, places = assemble(build_flexibility_program(limited()).blocks)
    found = PersistentSolver(linear, time_limit_seconds=10).solve()
    x, duals = found.x, found.row_dual
    assert audit_feasibility(linear, x) == [] and audit_optimality(linear, x, duals) == []
    wrong = x.copy()
    wrong[np.argmax(linear.upper - x > 1)] += 0.5
    assert "a row is missed" in str(audit_feasibility(linear, wrong)[0])
    # feasible and too dear: the audit of optimality must not believe the duals of the optimum
    breach = places.columns[-1].start
    dear = x.copy()
    dear[breach] += 1
    assert audit_feasibility(linear, dear) == []
    assert "optimality is not proved" in str(audit_optimality(linear, dear, duals)[0])
    linear.smallest[breach], dear[breach] = 5.0, 2.0
    assert "a smallest value is missed" in str(audit_feasibility(linear, dear)[0])


def test_an_infeasible_model_raises() -> None:
    problem = limited()

    def impossible(model: pyo.ConcreteModel) -> None:
        model.never = pyo.Constraint(expr=model.power_kw["battery 0", 0] >= 1e6)

    solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=10, own_rows=impossible)
    with pytest.raises(InfeasibleError, match="no usable solution"):
        solver.solve()


def test_constraints_of_ones_own() -> None:
    """Two batteries together never above 1 kW, and a price on a variable that only the user knows."""
    problem = limited(["battery", "feed_in"], room=50.0)

    def together(model: pyo.ConcreteModel) -> None:
        model.used = pyo.Var(model.step, bounds=(0, None))
        names = ("battery 0", "battery 1")
        model.limit = pyo.Constraint(
            model.step, rule=lambda m, t: sum(m.power_kw[name, t] for name in names) <= m.used[t]
        )
        model.cap = pyo.Constraint(model.step, rule=lambda m, t: m.used[t] + m.power_kw["feed_in 0", t] * 0 <= 1)
        model.extra_cost_eur = pyo.Expression(expr=0.01 * sum(model.used[t] for t in model.step))

    def power_of(own_rows):
        solver = FlexibilitySolver(build_flexibility_program(problem), time_limit_seconds=10, own_rows=own_rows)
        solution = solver.solve()
        charge, discharge = (solver.program.fleets[0].column(name, solution.x[0]) for name in POWERS)
        return (charge - discharge).sum(axis=1), solution.objective_eur

    free, free_cost = power_of(None)
    held, held_cost = power_of(together)
    assert free.max() > 2 and held.max() <= 1 + 1e-6
    assert held_cost > free_cost
    assert len(BUSES) == 3


def test_a_compiled_model_is_its_own_matrix() -> None:
    """The plain model through the compiler has the optimum of the stamped one."""
    problem = limited()
    compiled = compile_linear_program(expand_to_pyomo(problem)).program
    stamped, _ = assemble(build_flexibility_program(problem).blocks)
    values = [PersistentSolver(p, time_limit_seconds=10).solve().objective_eur for p in (compiled, stamped)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_another_program_may_have_used_highs_with_more_threads() -> None:
    """HiGHS has one scheduler per process; a run with one thread is refused after one with two."""
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    kind = highspy.HighsVarType.kInteger
    columns = [other.addVariable(0, 10, -1, kind) for _ in range(20)]
    other.addConstr(sum(column * (k + 1) for k, column in enumerate(columns)) <= 57)
    other.run()
    solution = FlexibilitySolver(
        build_flexibility_program(problem_of(devices_of("battery"))), time_limit_seconds=30
    ).solve()
    assert solution.status == "optimal"
