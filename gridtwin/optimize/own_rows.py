"""Constraints that a user writes in Pyomo, joined to the stamped program.

What is added goes through Pyomo's own compiler, so that only it pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
from scipy import sparse

from gridtwin.optimize.linear_program import CompiledModel, LinearProgram, Places, compile_linear_program
from gridtwin.optimize.model import FlexibilityProgram

OwnRows = Callable[[pyo.ConcreteModel], None]
"""Adds variables and constraints to a model that holds `step`, `hours[t]` and `power_kw[device, t]`.

The power of a device is a variable there, consumption positive, in kW; a cost goes into `extra_cost_eur`.
"""


def add_own_rows(
    flexibility: FlexibilityProgram, program: LinearProgram, places: Places, write: OwnRows
) -> LinearProgram:
    """The program with what `write` adds.

    Parameters
    ----------
    flexibility : FlexibilityProgram
        The devices.
    program, places : LinearProgram and Places
        Their matrix, as `assemble` made it.
    write : callable
        The user's constraints.
    """
    model, device_step = _open_model(flexibility)
    write(model)
    model.objective = pyo.Objective(expr=getattr(model, "extra_cost_eur", 0.0) + 0 * model.anchor)
    own = compile_linear_program(model)
    return _append(program, own, _spread_columns(flexibility, own, device_step, places, program.matrix.shape[1]))


def _open_model(flexibility: FlexibilityProgram) -> tuple[pyo.ConcreteModel, dict[int, tuple[str, int]]]:
    problem = flexibility.problem
    model = pyo.ConcreteModel("own rows")
    model.step = pyo.RangeSet(0, len(problem.hours) - 1)
    model.hours = pyo.Param(model.step, initialize=dict(enumerate(problem.hours.tolist())))
    names = list(dict.fromkeys(device.name for device in problem.devices))
    model.power_kw = pyo.Var(names, model.step)
    model.anchor = pyo.Var(bounds=(0, 0))
    return model, {id(part): index for index, part in model.power_kw.items()}


def _spread_columns(
    flexibility: FlexibilityProgram,
    own: CompiledModel,
    device_step: dict[int, tuple[str, int]],
    places: Places,
    columns: int,
) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """Each column of the user's model as a form of the program's columns, with its constant; and which are new.

    Returns
    -------
    (own column, column), (own column,), (new column,)
    """
    at, value, constant = [], [], np.zeros(len(own.columns))
    fresh = [k for k, part in enumerate(own.columns) if id(part) not in device_step]
    for k, part in enumerate(own.columns):
        if id(part) not in device_step:
            at.append((np.array([k]), np.array([columns + fresh.index(k)])))
            value.append(np.ones(1))
            continue
        name, step = device_step[id(part)]
        for fleet, where in zip(flexibility.device_fleets, places.columns, strict=False):
            family, shape = fleet.family, fleet.family.port_shape
            entries = slice(int(shape.start[step]), int(shape.start[step + 1]))
            for member in np.flatnonzero(np.array(family.members) == name):
                place = where.start + shape.column[entries] * len(family.members) + member
                at.append((np.full(len(place), k), place))
                value.append(family.port_value[entries, member])
                constant[k] += family.port_constant[step, member]
    row, column = (np.concatenate([pair[side] for pair in at]) for side in (0, 1))
    shape_all = (len(own.columns), columns + len(fresh))
    return (
        sparse.csr_array((np.concatenate(value), (row, column)), shape=shape_all),
        constant,
        np.array(fresh, dtype=int),
    )


def _append(
    program: LinearProgram, own: CompiledModel, spread: tuple[sparse.csr_array, np.ndarray, np.ndarray]
) -> LinearProgram:
    form, constant, fresh = spread
    rows = sparse.csr_array(own.program.matrix) @ form
    shift = own.program.matrix @ constant
    wide = sparse.csc_array(
        (
            program.matrix.data,
            program.matrix.indices,
            np.append(program.matrix.indptr, [program.matrix.nnz] * len(fresh)),
        ),
        shape=(program.matrix.shape[0], form.shape[1]),
    )
    new = own.program
    return replace(
        program,
        matrix=sparse.csc_array(sparse.vstack([wide, rows])),
        cost=np.concatenate([program.cost, np.zeros(len(fresh))]) + form.T @ new.cost,
        lower=np.concatenate([program.lower, new.lower[fresh]]),
        upper=np.concatenate([program.upper, new.upper[fresh]]),
        integer=np.concatenate([program.integer, new.integer[fresh]]),
        smallest=np.concatenate([program.smallest, np.full(len(fresh), np.nan)]),
        row_lower=np.concatenate([program.row_lower, new.row_lower - shift]),
        row_upper=np.concatenate([program.row_upper, new.row_upper - shift]),
        constant=program.constant + new.constant + float(new.cost @ constant),
    )
