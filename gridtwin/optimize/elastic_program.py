"""A flexibility program in which everything that is meant, not physical, can give.

Four things can give, and each only as far as those before it leave no other way:

    0  network limits            breach, as in the model itself
    1  what the model holds hard energy to be had in a battery, hydrogen to be had at the end
    2  constraints of the user
    3  wishes                    what the model itself lets be missed at a price

Within one of them all amounts count the same in their natural units (kWh, K h, kg, the user's own).
After the last the cheapest plan among all that miss as little is taken. Whole numbers are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyomo.environ as pyo
from scipy import sparse

from gridtwin.optimize.linear_program import LinearProgram, Places, assemble, compile_linear_program
from gridtwin.optimize.lone_devices import append_columns, append_rows
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.own_rows import OwnRows, add_own_rows
from gridtwin.optimize.solve import PersistentSolver
from gridtwin.optimize.template import StampedFleet
from gridtwin.optimize.wishes import WISHES, Slack, find_soft_slack, join_slacks

BREACH, HARD, OWN, SOFT = range(4)
"""What gives, in this order."""
ROOM_TO_STAY = 1e-6
"""By how much a total may be missed again while the next one is made small, relative and in its unit."""


@dataclass(frozen=True)
class OwnPart:
    """The user's constraints in the program.

    Parameters
    ----------
    rows : slice
        Where they stand.
    names : tuple of str
        Name of the constraint of each row, without its index.
    row, device, step, value : ndarray, (entry,)
        Where each counts the power of which device, by name, on which step, and how.
    """

    rows: slice
    names: tuple[str, ...]
    row: np.ndarray
    device: np.ndarray
    step: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class ElasticProgram:
    """The program with columns for all that can give.

    Parameters
    ----------
    program : FlexibilityProgram
        What it is made of.
    linear, places : LinearProgram and Places
        Its matrix.
    own : OwnPart
        The user's constraints.
    slacks : tuple of Slack
        What gives, by level.
    totals : slice
        One row per level: the sum of what gives.
    """

    program: FlexibilityProgram
    linear: LinearProgram
    places: Places
    own: OwnPart
    slacks: tuple[Slack, ...]
    totals: slice


def make_elastic(program: FlexibilityProgram, own_rows: OwnRows | None = None) -> ElasticProgram:
    """Let everything give that is no physics.

    Parameters
    ----------
    own_rows : callable, optional
        Constraints of the user, see `own_rows.OwnRows`.
    """
    linear, places = assemble(program.blocks)
    linear, own = _join_own_rows(program, linear, places, own_rows)
    linear = replace(linear, integer=np.zeros_like(linear.integer), lower=linear.lower.copy())
    linear, hard = _soften_bounds(program, linear)
    linear, final = _soften_rows(program, linear)
    linear, given = _soften_own(linear, own)
    slacks = (_find_breaches(program, places), join_slacks([hard, final]), given, find_soft_slack(program))
    rows = [sparse.csr_array((s.weight, (np.zeros_like(s.column), s.column)), (1, len(linear.cost))) for s in slacks]
    first, free = len(linear.row_lower), np.full(len(slacks), np.inf)
    linear = append_rows(linear, sparse.csr_array(sparse.vstack(rows)), lower=-free, upper=free)
    return ElasticProgram(program, linear, places, own, slacks, slice(first, first + len(slacks)))


def relax_least(elastic: ElasticProgram, *, time_limit_seconds: float) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The plan that misses least, and the duals of each level.

    Returns
    -------
    (column,) and dict of level to (row,)
        Solution, and by how much more each level would have to give per unit of a row's bound.
    """
    cost, totals = elastic.linear.cost.copy(), elastic.totals
    copies = {name: getattr(elastic.linear, name).copy() for name in ("lower", "upper", "row_lower", "row_upper")}
    linear = replace(elastic.linear, cost=np.zeros_like(cost), constant=0.0, **copies)
    solver = PersistentSolver(linear, time_limit_seconds=time_limit_seconds)
    duals = {}
    for level, slack in enumerate(elastic.slacks):
        if not len(slack.column):
            continue
        given = np.zeros_like(cost)
        np.add.at(given, slack.column, slack.weight)
        solver.set_cost(given)
        solution = solver.solve()
        duals[level] = solution.row_dual
        most = np.array([(given @ solution.x) * (1 + ROOM_TO_STAY) + ROOM_TO_STAY])
        solver.set_row_bounds(np.array([totals.start + level]), np.array([-np.inf]), most)
        if level in (HARD, OWN):
            # later levels may not spread what gives here over more names than it takes
            whole = slack.column[solution.x[slack.column] <= ROOM_TO_STAY]
            solver.set_column_bounds(whole, np.zeros(len(whole)), np.full(len(whole), ROOM_TO_STAY))
    solver.set_cost(cost)
    return solver.solve().x, duals


def _join_own_rows(
    program: FlexibilityProgram, linear: LinearProgram, places: Places, write: OwnRows | None
) -> tuple[LinearProgram, OwnPart]:
    first, models = len(linear.row_lower), list[pyo.ConcreteModel]()
    if write is None:
        nothing = np.zeros(0, dtype=np.int64)
        return linear, OwnPart(slice(first, first), (), nothing, nothing.astype(str), nothing, np.zeros(0))

    def write_and_keep(model: pyo.ConcreteModel) -> None:
        write(model)
        models.append(model)

    joined = add_own_rows(program, linear, places, write_and_keep)
    return joined, _read_own_part(models[0], slice(first, len(joined.row_lower)))


def _read_own_part(model: pyo.ConcreteModel, rows: slice) -> OwnPart:
    compiled = compile_linear_program(model)
    parts = {id(part): part for part in model.component_data_objects(pyo.Constraint, active=True)}
    names = [""] * (rows.stop - rows.start)
    for key, row in compiled.row_of.items():
        names[row] = parts[key].parent_component().name
    for row in reversed(range(len(names))):
        # a constraint with two different bounds is two rows, of which only the last is known by its constraint
        names[row] = names[row] or names[row + 1]
    index_of = {id(part): index for index, part in model.power_kw.items()}
    entries = sparse.coo_array(compiled.program.matrix)
    known = [(index_of.get(id(compiled.columns[column])), k) for k, column in enumerate(entries.col.tolist())]
    at = np.array([k for index, k in known if index is not None], dtype=np.int64)
    powers = [index for index, _ in known if index is not None]
    device, step = (np.array([index[side] for index in powers]) for side in (0, 1))
    return OwnPart(rows, tuple(names), entries.row[at], device.astype(str), step.astype(np.int64), entries.data[at])


def _find_breaches(program: FlexibilityProgram, places: Places) -> Slack:
    rows = np.arange(len(program.problem.rows))
    none = np.full(len(rows), -1)
    first = places.columns[program.fleet("breach")].start if len(rows) else 0
    step = program.problem.rows.step
    return Slack(first + rows, program.problem.hours[step], none, rows, step)


def _soften_bounds(program: FlexibilityProgram, linear: LinearProgram) -> tuple[LinearProgram, Slack]:
    """Lower bounds above 0 that stand for wishes become rows that can give."""
    columns, parts = len(linear.cost), []
    for fleet, members, number, first, _ in _hard_wishes(program, "lower"):
        index = np.array(fleet.compiled.columns[WISHES[number].variable])
        wished = fleet.family.lower[index]
        step, member = np.nonzero(wished > 0)
        column = first + index[step] * len(members) + member
        linear.lower[column] = 0.0
        each = np.arange(len(column))
        rows = sparse.csr_array((np.ones(len(column)), (each, column)), (len(column), len(linear.cost)))
        linear = append_rows(linear, rows, lower=wished[step, member], upper=np.full(len(column), np.inf))
        give = (np.ones(len(column)), (len(linear.row_lower) - len(column) + each, each))
        slack = sparse.csc_array(give, shape=(len(linear.row_lower), len(column)))
        linear = append_columns(linear, slack, cost=np.zeros(len(column)))
        parts.append(Slack(columns + each, np.ones(len(each)), np.full(len(each), number), members[member], step))
        columns += len(column)
    return linear, join_slacks(parts)


def _soften_rows(program: FlexibilityProgram, linear: LinearProgram) -> tuple[LinearProgram, Slack]:
    """Rows of a device that stand for wishes can give."""
    parts = []
    for fleet, members, number, _, first in _hard_wishes(program, "row"):
        row, each = fleet.compiled.row_names.index(WISHES[number].variable), np.arange(len(members))
        entries = (np.ones(len(each)), (first + row * len(members) + each, each))
        give = sparse.csc_array(entries, shape=(len(linear.row_lower), len(each)))
        column, number_of = len(linear.cost) + each, np.full(len(each), number)
        linear = append_columns(linear, give, cost=np.zeros(len(each)))
        parts.append(Slack(column, np.ones(len(each)), number_of, members, np.full(len(each), -1)))
    return linear, join_slacks(parts)


def _hard_wishes(program: FlexibilityProgram, hard: str) -> list[tuple[StampedFleet, np.ndarray, int, int, int]]:
    """Fleet, members, wish, first column and first row of every wish that the model holds hard in this way."""
    found, column, row = [], 0, 0
    for fleet, members in zip(program.device_fleets, program.members, strict=True):
        has = {"lower": list(fleet.compiled.columns), "row": fleet.compiled.row_names}[hard]
        numbers = [k for k, wish in enumerate(WISHES) if wish.hard == hard and wish.variable in has]
        found += [(fleet, members, number, column, row) for number in numbers]
        column, row = column + fleet.family.cost.size, row + fleet.family.row_lower.size
    return found


def _soften_own(linear: LinearProgram, own: OwnPart) -> tuple[LinearProgram, Slack]:
    """Constraints of the user give either way where they have a bound."""
    rows = np.arange(own.rows.start, own.rows.stop)
    rising, falling = rows[np.isfinite(linear.row_lower[rows])], rows[np.isfinite(linear.row_upper[rows])]
    row = np.concatenate([rising, falling])
    sign, each = np.repeat([1.0, -1.0], [len(rising), len(falling)]), np.arange(len(row))
    give = sparse.csc_array((sign, (row, each)), shape=(len(linear.row_lower), len(row)))
    none = np.full(len(row), -1)
    slack = Slack(len(linear.cost) + each, np.ones(len(row)), none, row - own.rows.start, none)
    return append_columns(linear, give, cost=np.zeros(len(row))), slack
