"""The program with the network inside: its matrix is that of plain Pyomo, its optimum that of rows over all buses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower
import pyomo.environ as pyo
import pytest
import xarray as xr
from scipy import sparse

from gridtwin.data.rules import read_rules
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import linear_response
from gridtwin.optimize.lindistflow import RadialSlopes, read_state, slopes_at
from gridtwin.optimize.linear_program import assemble, compile_linear_program
from gridtwin.optimize.model import FlexibilityProblem, LimitRows, build_flexibility_program
from gridtwin.optimize.radial_network import read_radial_network
from gridtwin.optimize.radial_program import (
    SLOPES,
    RadialBlock,
    RadialWriter,
    build_radial_block,
    build_radial_program,
    expand_radial_to_pyomo,
    flexible_part,
    rows_of_block,
)
from gridtwin.optimize.template import Template, write_block
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from tests.optimize.devices_for_tests import BUSES, HOURS, KINDS, STEPS, devices_of, problem_of
from tests.optimize.test_model_families import same_text
from tests.optimize.test_templates import column_names, pyomo_row_names, row_names

LOAD_KW = np.linspace(20.0, 45.0, STEPS)
"""Of each bus that has flexible devices."""


@pytest.fixture(scope="module")
def twin() -> GridTwin:
    """A village of one transformer: grid - station - a - b, and station - c; the line to b is laid from b."""
    net = pandapower.create_empty_network()
    grid, station = (pandapower.create_bus(net, kv, name=name) for kv, name in ((20, "grid"), (0.4, "station")))
    a, b, c = (pandapower.create_bus(net, 0.4, name=name) for name in BUSES)
    pandapower.create_ext_grid(net, grid)
    pandapower.create_transformer(net, grid, station, "0.25 MVA 20/0.4 kV", name="trafo")
    for name, ends in (("to a", (station, a)), ("to b", (b, a)), ("to c", (station, c))):
        pandapower.create_line(net, *ends, 0.3, "NAYY 4x150 SE", name=name)
    for bus in (a, b, c):
        pandapower.create_load(net, bus, 0.02, 0.005)
    return build_twin(net, rules=read_rules("lv_planning"))


@pytest.fixture(scope="module")
def base(twin: GridTwin) -> xr.Dataset:
    p_mw = np.repeat(LOAD_KW[:, None], len(twin.assets), axis=1) / 1000
    time = np.datetime64("2016-01-12", "ns") + np.arange(STEPS) * np.timedelta64(15, "m")
    parts = {"p_mw": (("time", "asset"), p_mw), "q_mvar": (("time", "asset"), 0.25 * p_mw)}
    return xr.Dataset(parts, coords={"time": time, "asset": twin.assets.index.to_numpy(dtype=str)})


def voltage_scale(twin: GridTwin) -> np.ndarray:
    """Any unit will do; rooms are in it. [pu²/MW]"""
    return np.linspace(0.5, 1.0, len(twin.buses))


def block_at(twin: GridTwin, base: xr.Dataset, step: int) -> RadialBlock:
    """The derivatives of one step at all steps, so that dense rows of that step are the same straight line."""
    radial = read_radial_network(twin)
    slopes = slopes_at(radial, read_state(twin, radial, base.isel(time=[step])))
    block = build_radial_block(twin, radial, base, buses=list(BUSES), voltage_scale=voltage_scale(twin))
    return replace(block, slopes=RadialSlopes(*(np.repeat(part, STEPS, axis=0) for part in slopes)))


def dense_weights(twin: GridTwin, base: xr.Dataset, step: int) -> np.ndarray:
    """Weight of every bus in every limit, from the exact sensitivities. (limit, bus)"""
    flow, squared = linear_response(twin, base.isel(time=[step]), list(BUSES))
    squared = squared / voltage_scale(twin)[:, None]
    return np.vstack([flow, -flow, squared, -squared])


def rooms(twin: GridTwin, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Half of all limits and steps, with so little room that many bind. (limit, step), (row,) [kW]"""
    rng = np.random.default_rng(seed)
    limits = 2 * (len(twin.branches) + len(twin.buses))
    chosen = rng.random((limits, STEPS)) < 0.5
    return chosen, rng.uniform(1.0, 12.0, (limits, STEPS))[chosen]


def problems(twin: GridTwin, base: xr.Dataset, kinds: list[str]) -> tuple[FlexibilityProblem, FlexibilityProblem]:
    """The same problem with rows over buses, and with rows over the network's ports."""
    devices = [device for kind in kinds for device in devices_of(kind)]
    chosen, room_kw = rooms(twin)
    limit, step = np.nonzero(chosen)
    capacity_kw = np.linspace(50, 90, len(chosen))
    dense = LimitRows(limit, step, dense_weights(twin, base, 4)[limit], scale=capacity_kw[limit])
    shared = {"room_kw": room_kw, "worst_breach_eur": 3.0, "inflexible_kw": 3 * LOAD_KW}
    rows = rows_of_block(chosen, scale_kw=capacity_kw)
    return problem_of(devices, rows=dense, **shared), problem_of(devices, rows=rows, **shared)


LINEAR = ["heat_pump", "hot_water_tank", "feed_in", "shiftable_process"]
"""Kinds that need no whole numbers: their optimum is one number."""


def test_the_matrix_is_that_of_plain_pyomo(twin: GridTwin, base: xr.Dataset) -> None:
    """Columns and rows matched by name; every number to 1e-12, with reactive power and condensed slopes."""
    _, problem = problems(twin, base, KINDS)
    radial = read_radial_network(twin)
    block = build_radial_block(twin, radial, base, buses=list(BUSES), voltage_scale=voltage_scale(twin))
    program = build_radial_program(problem, block)
    ours, _ = assemble(program.blocks, shared_sums=False)
    model = expand_radial_to_pyomo(problem, block)
    theirs = compile_linear_program(model)
    columns = {name: k for k, name in enumerate(column_names(program))}
    place = np.array([columns[part.name] for part in theirs.columns])
    links = [f"link[{kind},{b},{t}]" for kind in range(2) for b in range(len(BUSES)) for t in range(STEPS)]
    rows = {name: k for k, name in enumerate(row_names(program) + links)}
    row_place = np.array([rows[name] for name in pyomo_row_names(model, theirs)])
    left = np.setdiff1d(np.arange(len(ours.row_lower)), row_place)
    assert not abs(ours.matrix[left]).sum()
    difference = sparse.csr_array(ours.matrix)[row_place][:, place] - sparse.csr_array(theirs.program.matrix)
    assert abs(difference).max() < 1e-12
    for name in ("cost", "lower", "upper"):
        np.testing.assert_allclose(getattr(ours, name)[place], getattr(theirs.program, name), atol=1e-12)
    for name in ("row_lower", "row_upper"):
        np.testing.assert_allclose(getattr(ours, name)[row_place], getattr(theirs.program, name), atol=1e-12)


def test_the_network_is_what_its_lp_file_says(tmp_path: Path) -> None:
    """A root edge with two edges behind it, a flexible bus at the end of each; every parameter is its own number."""
    model = pyo.ConcreteModel("network")
    values = {name: np.round(0.1 * (k + 1) + np.array([0.0, 0.01, 0.02]), 2) for k, name in enumerate(SLOPES)}
    writer = RadialWriter(up=(-1, 0, 0), at=(1, 2))
    write_block(Template("network", writer, (), SLOPES), model, 3, values | {"hours": np.ones(3)})
    model.cost = pyo.Objective(expr=model.cost_eur + model.power_kw[0])
    same_text(model, "network", tmp_path)


def test_rows_over_buses_and_the_network_itself_have_one_optimum(twin: GridTwin, base: xr.Dataset) -> None:
    """Linearised at one point both are the same straight line: one objective and one worth of room, to 1e-6."""
    dense, radial = problems(twin, base, LINEAR)
    programs = build_flexibility_program(dense), build_radial_program(radial, block_at(twin, base, 4))
    found = [FlexibilitySolver(program, time_limit_seconds=30).solve() for program in programs]
    assert found[1].objective_eur == pytest.approx(found[0].objective_eur, rel=1e-6)
    worth = [solution.coupling_dual[p.limit_rows].sum() for p, solution in zip(programs, found, strict=True)]
    assert (np.abs(found[0].coupling_dual[programs[0].limit_rows]) > 1e-6).sum() >= 5
    assert worth[1] == pytest.approx(worth[0], rel=1e-3)


def test_new_room_reaches_the_network(twin: GridTwin, base: xr.Dataset) -> None:
    """Changing the room in the solver gives what a program built with that room gives."""
    _, problem = problems(twin, base, LINEAR)
    block = block_at(twin, base, 4)
    solver = FlexibilitySolver(build_radial_program(problem, block), time_limit_seconds=30)
    before = solver.solve().objective_eur
    solver.set_room(problem.room_kw - 2.0)
    changed = solver.solve().objective_eur
    tighter = build_radial_program(replace(problem, room_kw=problem.room_kw - 2.0), block)
    assert changed == pytest.approx(FlexibilitySolver(tighter, time_limit_seconds=30).solve().objective_eur, rel=1e-9)
    assert changed > before + 0.1


def test_a_network_that_limits_nothing_changes_nothing(twin: GridTwin, base: xr.Dataset) -> None:
    """Without rows the optimum is that of the devices alone."""
    devices = [device for kind in LINEAR for device in devices_of(kind)]
    limits = 2 * (len(twin.branches) + len(twin.buses))
    rows = rows_of_block(np.zeros((limits, STEPS), dtype=bool), scale_kw=np.ones(limits))
    programs = (
        build_flexibility_program(problem_of(devices)),
        build_radial_program(problem_of(devices, rows=rows), block_at(twin, base, 4)),
    )
    alone, inside = (FlexibilitySolver(p, time_limit_seconds=30).solve().objective_eur for p in programs)
    assert inside == pytest.approx(alone, rel=1e-9)


def test_the_flexible_part_is_the_weighted_power(twin: GridTwin, base: xr.Dataset) -> None:
    """What all limits see of a schedule, against the exact sensitivities; 1e-9 is rounding."""
    p_mw = np.random.default_rng(0).uniform(-0.02, 0.02, (len(BUSES), STEPS))
    ours = flexible_part(block_at(twin, base, 4), p_mw)
    np.testing.assert_allclose(ours, dense_weights(twin, base, 4) @ p_mw, atol=1e-9)


def test_every_step_has_its_own_operating_point(twin: GridTwin, base: xr.Dataset) -> None:
    """Flows and squared voltages under 2 kW more at every bus: AC power flow agrees to 1 % of the change."""
    radial = read_radial_network(twin)
    block = build_radial_block(twin, radial, base, buses=list(BUSES), voltage_scale=voltage_scale(twin))
    more = base.assign(p_mw=base["p_mw"] + 0.002)
    before, after = (run_power_flow(twin, profiles) for profiles in (base, more))
    flow = (after["p_branch_mw"] - before["p_branch_mw"]).to_numpy()[0].T
    squared = (after["vm_pu"] ** 2 - before["vm_pu"] ** 2).to_numpy()[0].T / voltage_scale(twin)[:, None]
    part = flexible_part(block, np.full((len(BUSES), STEPS), 0.002))
    exact = np.vstack([flow, -flow, squared, -squared])
    assert np.abs(part - exact).max() < 0.01 * np.abs(exact).max()
    first, last = (np.abs(part[:, t]) for t in (0, STEPS - 1))
    assert last.max() > 1.01 * first.max()


def test_reactive_power_of_an_inverter_reaches_the_network(twin: GridTwin, base: xr.Dataset) -> None:
    """Voltage limits on feed-in: an inverter that may move reactive power gives less away than one that may not."""
    chosen = np.zeros((2 * (len(twin.branches) + len(twin.buses)), STEPS), dtype=bool)
    chosen[2 * len(twin.branches) + len(twin.buses) - len(BUSES) :][: len(BUSES)] = True
    rows = rows_of_block(chosen, scale_kw=np.full(len(chosen), 50.0))
    cost = []
    for kind in ("feed_in", "inverter"):
        problem = problem_of(devices_of(kind), rows=rows, room_kw=np.full(len(rows), 0.2), inflexible_kw=0 * HOURS)
        program = build_radial_program(problem, block_at(twin, base, 4))
        cost.append(FlexibilitySolver(program, time_limit_seconds=30).solve().objective_eur)
    assert cost[1] < cost[0] - 0.01
