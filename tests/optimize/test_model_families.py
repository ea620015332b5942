"""Each family of the model as LP text, to be read beside its equations; and one model through two solver doors.

After a deliberate change of a family, write its file anew: GRIDTWIN_WRITE_LP=1 pytest this file; then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyomo.environ as pyo
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from gridtwin.errors import InfeasibleError
from gridtwin.optimize import model as families
from gridtwin.optimize.flexible_assets import Battery, ChargingSession, ElectricCar, HeatPump, PvSystem
from gridtwin.optimize.model import DayProblem, build_flexibility_model
from gridtwin.optimize.network_limits import LimitRows
from gridtwin.optimize.solve import PersistentSolver, audit_feasibility, audit_optimality, compile_linear_program
from gridtwin.scenario import Flexibility

GOLDEN = Path(__file__).parent.parent / "lp"
STEPS = 3


def constant(kw: float) -> np.ndarray:
    return np.full(STEPS, kw)


def car() -> ElectricCar:
    plugged = np.array([0.0, 5.5, 11.0])  # arrives in the middle of the second hour
    arrival = pd.Timestamp("2016-01-12 17:30")
    session = ChargingSession(arrival, arrival + pd.Timedelta("90min"), range(1, 3), plugged, 2.0, 12.0, 12.0, True)
    return ElectricCar("car", "end", constant(0), constant(0), plugged, (session,))


def pump() -> HeatPump:
    return HeatPump("pump", "end", constant(1), constant(0), constant(4), 0.3, 15.0, 3.2, 0.5)


def battery() -> Battery:
    return Battery("battery", "middle", constant(0), constant(-5), constant(5), 5.0, 10.0, 5.0, 5.0)


def roof() -> PvSystem:
    return PvSystem("roof", "middle", np.array([0, -3.0, -8.0]), np.array([0, -3.0, -8.0]), constant(0))


def problem(price=(0.1, -0.6, 0.3), room=6.0) -> DayProblem:
    rows = LimitRows(
        np.array([0, 1]),
        np.array([1, 2]),
        [("line", "forward", 1), ("end", "low", 2)],
        [{"middle": 1.0, "end": 1.02}, {"end": 1.0}],
    )
    return DayProblem(
        hours_per_step=1.0,
        assets=(car(), pump(), battery(), roof()),
        buses=["middle", "end"],
        rows=rows,
        room_kw=np.array([room, 7.5]),
        price_eur_per_kwh=np.array(price),
        inflexible_kw=np.array([2.0, 1.0, 3.0]),
        settings=Flexibility(grid_fee_eur_per_kwh=0.05),
    )


DEVICES = ["add_electric_cars", "add_heat_pumps", "add_batteries", "add_pv_systems"]
NETWORK = [*DEVICES, "add_bus_power"]
FAMILIES = {
    "electric_cars": ["add_electric_cars"],
    "heat_pumps": ["add_heat_pumps"],
    "batteries": ["add_batteries"],
    "pv_systems": ["add_pv_systems"],
    "bus_power": NETWORK,
    "network_limits": [*NETWORK, "add_network_limits"],
    "area_power": [*NETWORK, "add_area_power"],
    "whole_day": [*NETWORK, "add_network_limits", "add_area_power", "add_cost"],
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_its_lp_file_says(name: str, tmp_path: Path) -> None:
    model = pyo.ConcreteModel("flexibility")
    model.step = pyo.RangeSet(0, STEPS - 1)
    for family in FAMILIES[name]:
        getattr(families, family)(model, problem())
    _keep_only_the_last_family(model, name)
    if not hasattr(model, "cost"):
        model.cost = pyo.Objective(expr=sum(model.component_data_objects(pyo.Var)))
    written = tmp_path / "written.lp"
    model.write(str(written), io_options={"symbolic_solver_labels": True})
    if os.environ.get("GRIDTWIN_WRITE_LP"):
        (GOLDEN / f"{name}.lp").write_text(written.read_text())
    assert written.read_text() == (GOLDEN / f"{name}.lp").read_text()


def _keep_only_the_last_family(model: pyo.ConcreteModel, name: str) -> None:
    """Families that need others to exist are shown without the rows of those."""
    if name == "whole_day" or name not in ("bus_power", "network_limits", "area_power"):
        return
    shown = {"bus_power": "bus_power", "network_limits": "network_limit", "area_power": "area_"}[name]
    for constraint in model.component_objects(pyo.Constraint):
        if not constraint.name.startswith(shown):
            constraint.deactivate()


@pytest.mark.parametrize("price", [(0.1, 0.2, 0.3), (0.1, -0.6, 0.3)])
def test_another_door_finds_the_same_objective(price: tuple[float, ...]) -> None:
    """scipy's own HiGHS on the compiled matrix, and Pyomo's own interface on the Pyomo model."""
    model = build_flexibility_model(problem(price))
    solver = PersistentSolver(model, time_limit_seconds=10)
    ours, program = solver.solve().objective_eur, solver.program
    theirs = milp(
        program.cost,
        integrality=program.integer.astype(int),
        bounds=Bounds(program.lower, program.upper),
        constraints=LinearConstraint(program.matrix, program.row_lower, program.row_upper),
    )
    assert theirs.fun + program.constant == pytest.approx(ours, rel=1e-6)
    pyo.SolverFactory("appsi_highs").solve(model)
    assert pyo.value(model.cost) == pytest.approx(ours, rel=1e-6)


def test_a_resolve_is_a_new_solve() -> None:
    """Changing the room in the solver gives what a model built with that room gives."""
    model = build_flexibility_model(problem((0.1, 0.2, 0.3)))
    solver = PersistentSolver(model, time_limit_seconds=10)
    before = solver.solve().objective_eur
    solver.set_upper(model.network_limit, np.array([2.0, 7.5]))
    changed = solver.solve().objective_eur
    fresh = build_flexibility_model(problem((0.1, 0.2, 0.3), room=2.0))
    assert changed == pytest.approx(PersistentSolver(fresh, time_limit_seconds=10).solve().objective_eur, rel=1e-9)
    assert changed > before + 0.01


def test_binaries_stand_only_where_burning_pays() -> None:
    model = build_flexibility_model(problem((0.1, -0.6, 0.3)))
    assert [model.battery_mode["battery", t].is_binary() for t in range(STEPS)] == [False, True, False]
    solution = PersistentSolver(model, time_limit_seconds=10).solve()
    charge, discharge = (solution.values_of(v) for v in (model.battery_charge_kw, model.battery_discharge_kw))
    assert min(charge["battery", 1], discharge["battery", 1]) == pytest.approx(0, abs=1e-6)


def test_the_audit_sees_planted_faults() -> None:
    model = build_flexibility_model(problem((0.1, 0.2, 0.3)))
    program = compile_linear_program(model)
    solver = PersistentSolver(model, time_limit_seconds=10)
    x = solver.solve().x
    assert audit_feasibility(program, x) == []
    wrong = x.copy()
    wrong[program.column_of[id(model.net_kw[1])]] += 0.5
    assert "a row is missed" in str(audit_feasibility(program, wrong)[0])
    # feasible and too dear: the audit of optimality must not believe the duals of the optimum
    duals = np.array(solver._highs.getSolution().row_dual)
    assert audit_optimality(program, x, duals) == []
    dear = x.copy()
    dear[program.column_of[id(model.peak_kw)]] += 100
    assert audit_feasibility(program, dear) == []
    assert "optimality is not proved" in str(audit_optimality(program, dear, duals)[0])


def test_an_infeasible_model_raises() -> None:
    model = build_flexibility_model(problem())
    model.impossible = pyo.Constraint(expr=model.peak_kw <= -1)
    with pytest.raises(InfeasibleError, match="no usable solution"):
        PersistentSolver(model, time_limit_seconds=10).solve()
