"""The stamped matrix is the matrix of the plain Pyomo model: for every template, and for what joins them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyomo.environ as pyo
import pytest
from scipy import sparse

from gridtwin.optimize.expand import expand_to_pyomo
from gridtwin.optimize.linear_program import CompiledModel, LinearProgram, assemble, compile_linear_program
from gridtwin.optimize.model import FlexibilityProblem, FlexibilityProgram, build_flexibility_program
from gridtwin.optimize.template import StampedFleet, write_block
from tests.optimize.devices_for_tests import KINDS, STEPS, devices_of, networked, problem_of


@pytest.mark.parametrize("kind", KINDS)
def test_a_stamped_template_is_its_pyomo_model(kind: str) -> None:
    same_matrix(problem_of(devices_of(kind)))


def test_what_joins_the_devices_is_its_pyomo_model() -> None:
    same_matrix(networked([device for kind in KINDS for device in devices_of(kind)]))


def same_matrix(problem: FlexibilityProblem) -> None:
    """Columns and rows are matched by name, then everything must be equal to rounding of the last digits."""
    flexibility = build_flexibility_program(problem)
    ours, _ = assemble(flexibility.blocks, shared_sums=False)
    model = expand_to_pyomo(problem)
    theirs = compile_linear_program(model)
    columns = {name: k for k, name in enumerate(column_names(flexibility))}
    place = np.array([columns[part.name] for part in theirs.columns])
    unused = np.setdiff1d(np.arange(len(ours.cost)), place)
    assert not ours.cost[unused].any() and not abs(ours.matrix[:, unused]).sum()
    rows = {name: k for k, name in enumerate(row_names(flexibility))}
    row_place = np.array([rows[name] for name in pyomo_row_names(model, theirs)])
    empty = np.setdiff1d(np.arange(len(ours.row_lower)), row_place)
    assert not abs(ours.matrix[empty]).sum()
    difference = sparse.csr_array(ours.matrix)[row_place][:, place] - sparse.csr_array(theirs.program.matrix)
    assert abs(difference).max() < 1e-12
    for name in ("cost", "lower", "upper"):
        np.testing.assert_allclose(getattr(ours, name)[place], getattr(theirs.program, name), atol=1e-12)
    for name in ("row_lower", "row_upper"):
        np.testing.assert_allclose(getattr(ours, name)[row_place], getattr(theirs.program, name), atol=1e-12)
    np.testing.assert_array_equal(integer_columns(flexibility, ours)[place], theirs.program.integer)
    assert ours.constant == pytest.approx(theirs.program.constant, abs=1e-12)


def column_names(flexibility: FlexibilityProgram) -> list[str]:
    """Pyomo's names of all columns, in our order."""
    names = []
    for fleet, blocks in with_blocks(flexibility):
        own = np.empty(len(fleet.compiled.integer), dtype=object)
        block = pyo.ConcreteModel()
        write_block(fleet.compiled.template, block, fleet.compiled.steps)
        for name, places in fleet.compiled.columns.items():
            own[places] = [part.name for part in block.component(name).values()]
        names += [f"{member}.{column}" for column in own for member in blocks]
    return names


def row_names(flexibility: FlexibilityProgram) -> list[str]:
    problem = flexibility.problem
    names = [
        f"{m}.{row}" for fleet, blocks in with_blocks(flexibility) for row in fleet.compiled.row_names for m in blocks
    ]
    names += [f"area_balance[{s},{t}]" for s in range(problem.scenarios) for t in range(STEPS)]
    names += [f"network_limit[{k}]" for k in range(len(problem.rows))]
    names += [f"worst[{k}]" for k in range(len(problem.rows) if problem.worst_breach_eur else 0)]
    names += [f"risk[{s}]" for s in range(problem.scenarios if problem.terms.risk_weight else 0)]
    return names + [f"loss_line[{k}]" for k in range(0 if problem.losses is None else len(problem.losses))]


def with_blocks(flexibility: FlexibilityProgram) -> Iterator[tuple[StampedFleet, list[str]]]:
    """Every fleet with the names of its Pyomo blocks."""
    for position, fleet in enumerate(flexibility.fleets):
        kind, members = fleet.fleet.template.kind, range(len(fleet.fleet.names))
        if position < len(flexibility.members):
            yield fleet, [f"device[{k}]" for k in flexibility.members[position]]
        else:
            yield fleet, [f"{kind}[{k}]" for k in members]


def pyomo_row_names(model: pyo.ConcreteModel, compiled: CompiledModel) -> list[str]:
    of_id = {id(part): part.name for part in model.component_data_objects(pyo.Constraint, active=True)}
    names = [""] * len(compiled.row_of)
    for identity, row in compiled.row_of.items():
        names[row] = of_id[identity]
    return names


def integer_columns(flexibility: FlexibilityProgram, program: LinearProgram) -> np.ndarray:
    """Whole numbers of the templates, by column of the program."""
    return np.concatenate(
        [np.repeat(fleet.compiled.integer, len(fleet.fleet.names)) for fleet in flexibility.fleets]
    ) | np.zeros(len(program.cost), dtype=bool)
