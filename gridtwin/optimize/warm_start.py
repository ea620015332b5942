"""A basis that outlives its program: statuses known by what they belong to and when."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from gridtwin.optimize.linear_program import LinearProgram, Places
from gridtwin.optimize.model import FlexibilityProgram

_STATUSES = (
    highspy.HighsBasisStatus.kLower,
    highspy.HighsBasisStatus.kBasic,
    highspy.HighsBasisStatus.kUpper,
    highspy.HighsBasisStatus.kZero,
    highspy.HighsBasisStatus.kNonbasic,
)
_AS_OBJECTS = np.array(_STATUSES, dtype=object)
LOWER, BASIC, UPPER, ZERO = 0, 1, 2, 3
COUPLING, SUMS = 60, 61
"""Numbers of the parts that are no fleet; there are fewer fleets."""


@dataclass(frozen=True)
class KeyedBasis:
    """Statuses of columns and rows by key, sorted.

    Parameters
    ----------
    column_key, row_key : ndarray of int64
        What and when, see `name_parts`.
    column_status, row_status : ndarray of int8
        Position in HiGHS's list of statuses.
    """

    column_key: np.ndarray
    column_status: np.ndarray
    row_key: np.ndarray
    row_status: np.ndarray


def name_parts(
    program: FlexibilityProgram, places: Places, *, identity: np.ndarray, when: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Keys of all columns and rows of an assembled program.

    Parameters
    ----------
    program, places : FlexibilityProgram and Places
        The program and where its parts stand.
    identity : ndarray, (device,)
        Number of each device that is the same in every window.
    when : ndarray, (step,)
        Fine step with which each step begins.

    Returns
    -------
    (column,), (row,)
        Six bits of the part, ten of the component, and 24 each of member and time.
    """
    steps = len(when)
    columns, rows = [], []
    for number, fleet in enumerate(program.fleets):
        compiled = fleet.compiled
        member, moment = _members(program, number, identity, when)
        if compiled.steps == steps:
            moment = when[:, None]
        columns.append(_keys(number, compiled.column_component, compiled.column_step, member, moment))
        rows.append(_keys(number, compiled.row_component, compiled.row_step, member, moment))
    coupling = _coupling_keys(program, when)
    sums = [_pack(SUMS, k, shared.used // steps, when[shared.used % steps]) for k, shared in enumerate(places.sums)]
    return np.concatenate([*columns, *sums]), np.concatenate([*rows, coupling, *sums])


def _members(
    program: FlexibilityProgram, number: int, identity: np.ndarray, when: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number of each member, and when it is: breaches are known by limit and step, all else by position."""
    fleet = program.fleets[number]
    if number < len(program.members):
        return np.asarray(identity[program.members[number]]), np.zeros((1, 1), dtype=np.int64)
    if fleet.fleet.template.kind == "breach":
        rows = program.problem.rows
        return rows.limit, when[rows.step][None, :]
    return np.arange(len(fleet.fleet.names)), np.zeros((1, 1), dtype=np.int64)


def _keys(part: int, component: np.ndarray, step: np.ndarray, member: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Keys of all parts of a family; `moment` is (step, 1) or (1, member)."""
    time = moment[step] if len(moment) > 1 else np.broadcast_to(moment, (len(step), moment.shape[1]))
    return np.broadcast_to(_pack(part, component[:, None], member[None, :], time), (len(step), len(member))).ravel()


def _coupling_keys(program: FlexibilityProgram, when: np.ndarray) -> np.ndarray:
    total, steps = len(program.blocks.lower), len(when)
    keys = _pack(COUPLING, 2, np.arange(total), np.zeros(total, dtype=np.int64))
    scenario, step = np.divmod(np.arange(program.area_rows.stop), steps)
    keys[program.area_rows] = _pack(COUPLING, 0, scenario, when[step])
    rows = program.problem.rows
    keys[program.limit_rows] = _pack(COUPLING, 1, rows.limit, when[rows.step])
    return keys


def _pack(part: int, component: np.ndarray | int, member: np.ndarray, time: np.ndarray) -> np.ndarray:
    return np.asarray((((np.int64(part) << 10) + component << 24) + member << 24) + time)


def read_basis(
    highs: highspy.Highs, program: LinearProgram, x: np.ndarray, column_key: np.ndarray, row_key: np.ndarray
) -> KeyedBasis:
    """The basis of the last solve, which ended at `x`, by key."""
    # the list of basic parts comes as an array; the statuses themselves would be read one by one
    _, basic = highs.getBasicVariables()
    column = _side(x, program.lower, program.upper)
    row = _side(program.matrix @ x, program.row_lower, program.row_upper)
    column[basic[basic >= 0]] = BASIC
    row[-1 - basic[basic < 0]] = BASIC
    by_column, by_row = np.argsort(column_key, kind="stable"), np.argsort(row_key, kind="stable")
    return KeyedBasis(column_key[by_column], column[by_column], row_key[by_row], row[by_row])


def _side(value: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The bound that a part stands at: lower, upper, or zero where there is none."""
    with np.errstate(invalid="ignore"):
        nearer_upper = np.abs(upper - value) < np.abs(value - lower)
    free = np.isinf(lower) & np.isinf(upper)
    return np.where(free, ZERO, np.where(nearer_upper, UPPER, LOWER)).astype(np.int8)


def give_basis(highs: highspy.Highs, last: KeyedBasis, column_key: np.ndarray, row_key: np.ndarray) -> None:
    """Begin the next solve where parts of the same name stood; new columns at their bounds, new rows free."""
    basis = highspy.HighsBasis()
    basis.col_status = _AS_OBJECTS[_look_up(last.column_key, last.column_status, column_key, LOWER)].tolist()
    basis.row_status = _AS_OBJECTS[_look_up(last.row_key, last.row_status, row_key, BASIC)].tolist()
    basis.valid = True
    # the number of basic parts need not fit: HiGHS completes the basis
    basis.alien = True
    highs.setBasis(basis)


def _look_up(known: np.ndarray, status: np.ndarray, wanted: np.ndarray, otherwise: int) -> np.ndarray:
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.asarray(np.where(known[place] == wanted, status[place], otherwise))
