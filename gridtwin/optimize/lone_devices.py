"""Devices each by itself: what they cost their owners, and what they could do if nobody else were there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from gridtwin.optimize.block_program import BlockProgram, split_columns
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.linear_program import LinearProgram, assemble
from gridtwin.optimize.model import (
    FlexibilityProblem,
    FlexibilityProgram,
    build_flexibility_program,
    no_rows,
    stamp_devices,
)
from gridtwin.optimize.solve import PersistentSolver
from gridtwin.optimize.template import StampedFleet, stack_values

AWAY_EUR_PER_KW = 1e3
"""Price of leaving a power that is to be followed; above any price of a device. [EUR/kW]"""
FOLLOWED_KW = 1e-4
"""A power is followed where it is missed by less. [kW]"""
TIME_LIMIT_SECONDS = 60.0
"""Of one solve; devices by themselves do not meet, so that it takes no time. [s]"""


def lone_problem(
    problem: FlexibilityProblem, devices: Sequence[int], price_eur_per_kwh: np.ndarray | None = None
) -> FlexibilityProblem:
    """Some devices without network, fees, fixed load and each other.

    Parameters
    ----------
    devices : sequence of int
        Positions in `problem.devices`.
    price_eur_per_kwh : ndarray, (time, bus), optional
        What energy costs them; nothing without it. [EUR/kWh]
    """
    nothing = np.zeros(len(problem.hours))
    return replace(
        problem,
        devices=tuple(problem.devices[position] for position in devices),
        terms=AreaTerms(nothing, nothing, nothing),
        inflexible_kw=nothing,
        rows=no_rows(len(problem.buses)),
        room_kw=np.zeros(0),
        bus_price_eur_per_kwh=price_eur_per_kwh,
        losses=None,
        worst_breach_eur=0.0,
    )


def solve_alone(problem: FlexibilityProblem) -> tuple[FlexibilityProgram, list[np.ndarray]]:
    """The best that each device of a `lone_problem` can do at its prices, whole numbers aside."""
    program = build_flexibility_program(problem)
    linear, places = assemble(program.blocks)
    part_devices(linear, places.coupling)
    x = PersistentSolver(linear, time_limit_seconds=TIME_LIMIT_SECONDS).solve().x
    columns = places.columns[-1].stop
    return program, split_columns(program.blocks.families, x[:columns])


def part_devices(linear: LinearProgram, coupling: slice) -> None:
    """Take the rows that join the devices out of a program, in place."""
    linear.row_lower[coupling], linear.row_upper[coupling] = -np.inf, np.inf


def own_costs_eur(problem: FlexibilityProblem, x: Sequence[np.ndarray]) -> np.ndarray:
    """What each device costs its owner beside energy. (device,) [EUR]

    Parameters
    ----------
    x : sequence of ndarray, (column, member)
        Columns of every device family.
    """
    everyone = range(len(problem.devices))
    stamped, members = stamp_devices(lone_problem(problem, everyone))
    cost = np.zeros(len(problem.devices))
    for fleet, positions, columns in zip(stamped, members, x, strict=False):
        cost[positions] = (fleet.family.cost * columns).sum(axis=0) + _constants(fleet, problem.hours)
    return cost


def _constants(fleet: StampedFleet, hours: np.ndarray) -> np.ndarray:
    """Part of each member's cost without a column. (member,) [EUR]"""
    return np.asarray(fleet.compiled.cost_constant.evaluate(stack_values(fleet.compiled, fleet.fleet, hours))[0])


def least_own_costs_eur(problem: FlexibilityProblem, p_kw: np.ndarray) -> np.ndarray:
    """Least own cost of each device at a given power, NaN where it cannot do that. (device,) [EUR]

    Parameters
    ----------
    p_kw : ndarray, (time, device)
        Power to be followed, consumption positive. [kW]
    """
    if not problem.devices:
        return np.zeros(0)
    stamped, members = stamp_devices(lone_problem(problem, range(len(problem.devices))))
    blocks = _follow(stamped, members, p_kw)
    linear, places = assemble(blocks, shared_sums=False)
    rows = np.arange(places.coupling.start, places.coupling.stop)
    leave = sparse.csc_array(
        (np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(linear.row_lower), len(rows))
    )
    price = np.full(2 * len(rows), AWAY_EUR_PER_KW)
    linear = append_columns(linear, sparse.csc_array(sparse.hstack([leave, -leave])), cost=price)
    x = PersistentSolver(linear, time_limit_seconds=TIME_LIMIT_SECONDS).solve().x
    columns = places.columns[-1].stop
    away = x[columns:].reshape(2, p_kw.shape[1], p_kw.shape[0]).max(axis=(0, 2))
    cost = own_costs_eur(problem, split_columns(blocks.families, x[:columns]))
    cost[np.concatenate(members)[away > FOLLOWED_KW]] = np.nan
    return cost


def _follow(stamped: Sequence[StampedFleet], members: Sequence[np.ndarray], p_kw: np.ndarray) -> BlockProgram:
    """Every device in a group of its own, whose power on each step is a coupling row."""
    steps, devices = p_kw.shape
    families, weights, first = [], [], 0
    for fleet, positions in zip(stamped, members, strict=True):
        each, ports = np.arange(len(positions)), fleet.family.port_shape.rows
        families.append(replace(fleet.family, group=each, groups=len(each)))
        row = (first + each[:, None]) * steps + np.arange(steps)
        column = each[:, None] * ports + np.arange(steps)
        entries = (np.ones(row.size), (row.ravel(), column.ravel()))
        weights.append(sparse.csr_array(entries, shape=(devices * steps, len(each) * ports)))
        first += len(each)
    wanted = p_kw.T[np.concatenate(members)].ravel()
    return BlockProgram(tuple(families), tuple(weights), wanted, wanted.copy())


def append_columns(program: LinearProgram, columns: sparse.csc_array, *, cost: np.ndarray) -> LinearProgram:
    """The program with more columns, from 0 upwards."""
    extra = columns.shape[1]
    return replace(
        program,
        matrix=sparse.csc_array(sparse.hstack([program.matrix, columns])),
        cost=np.concatenate([program.cost, cost]),
        lower=np.concatenate([program.lower, np.zeros(extra)]),
        upper=np.concatenate([program.upper, np.full(extra, np.inf)]),
        integer=np.concatenate([program.integer, np.zeros(extra, dtype=bool)]),
        smallest=np.concatenate([program.smallest, np.full(extra, np.nan)]),
    )


def append_rows(
    program: LinearProgram, rows: sparse.csr_array, *, lower: np.ndarray, upper: np.ndarray
) -> LinearProgram:
    """The program with more rows."""
    return replace(
        program,
        matrix=sparse.csc_array(sparse.vstack([program.matrix, rows])),
        row_lower=np.concatenate([program.row_lower, lower]),
        row_upper=np.concatenate([program.row_upper, upper]),
    )
