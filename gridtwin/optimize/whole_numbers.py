"""A flexibility program solved: first as a linear program, with whole numbers only where they are needed.

Most devices never need one: a battery does not charge and discharge at once where that costs,
and few cars end between zero and their smallest current. So the linear program comes first, and
only what it gets wrong is decided: by the stronger direction where that is good enough, by a
search where not. Its objective stays the bound that the decision is measured against.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridtwin.errors import InfeasibleError
from gridtwin.optimize.block_program import split_columns
from gridtwin.optimize.linear_program import LinearProgram, Places, assemble
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.own_rows import OwnRows, add_own_rows
from gridtwin.optimize.solve import FEASIBILITY_TOLERANCE, MIP_GAP, PersistentSolver, Solution
from gridtwin.optimize.warm_start import KeyedBasis, name_parts

SIMULTANEOUS_KW = 1e-3
"""Charging and discharging at once above this burns energy. [kW]"""
ROUNDS = 8
"""Searches at most; each decides what the search before it left undecided."""


@dataclass(frozen=True)
class FlexibilitySolution:
    """A solution by families.

    Parameters
    ----------
    x : list of ndarray, (column, member)
        Columns of every family of the program.
    coupling_dual : ndarray, (coupling row,)
        What the objective gains per unit of each coupling row's bound; of the last linear program. [EUR/kW]
    objective_eur, lower_bound_eur : float
        Objective, and what no solution can be below.
    status : str
        "optimal", or "time limit" for the best solution found by then.
    decided : int
        Columns that were decided as whole numbers.
    """

    x: list[np.ndarray]
    coupling_dual: np.ndarray
    objective_eur: float
    lower_bound_eur: float
    status: str
    decided: int

    @property
    def gap(self) -> float:
        """Distance to the bound, relative to the objective. [-]"""
        return (self.objective_eur - self.lower_bound_eur) / max(1.0, abs(self.objective_eur))


@dataclass(frozen=True)
class WholeColumns:
    """What must become whole numbers, in columns of the assembled program.

    Parameters
    ----------
    exclusive : ndarray, (pair, 3)
        Two powers that must not be positive at once, and the variable that says which.
    semicontinuous, smallest : ndarray, (column,)
        Columns that are 0 or at least this. [kW]
    integer : ndarray, (column,)
        Columns that are always whole numbers.
    """

    exclusive: np.ndarray
    semicontinuous: np.ndarray
    smallest: np.ndarray
    integer: np.ndarray


def find_whole_columns(program: FlexibilityProgram, places: Places) -> WholeColumns:
    """Whole numbers of all fleets."""
    exclusive, semicontinuous, smallest, integer = [], [], [], []
    for fleet, where in zip(program.fleets, places.columns, strict=True):
        members = len(fleet.fleet.names)
        compiled, each = fleet.compiled, np.arange(members)
        exclusive.append((where.start + compiled.exclusive[:, None, :] * members + each[None, :, None]).reshape(-1, 3))
        semicontinuous.append((where.start + compiled.semicontinuous[:, None] * members + each).ravel())
        smallest.append(fleet.smallest.reshape(-1))
        integer.append((where.start + np.flatnonzero(compiled.integer)[:, None] * members + each).ravel())
    semi, least = np.concatenate(semicontinuous), np.concatenate(smallest)
    matters = least > 0
    return WholeColumns(np.concatenate(exclusive), semi[matters], least[matters], np.concatenate(integer))


class FlexibilitySolver:
    """A flexibility program inside HiGHS; its room can change between solves.

    Parameters
    ----------
    program : FlexibilityProgram
        What is solved.
    time_limit_seconds : float
        Of one solve. [s]
    own_rows : callable, optional
        Constraints of the user, see `own_rows.OwnRows`.
    """

    def __init__(
        self, program: FlexibilityProgram, *, time_limit_seconds: float, own_rows: OwnRows | None = None
    ) -> None:
        self.program = program
        self._linear, self._places = assemble(program.blocks)
        if own_rows is not None:
            self._linear = add_own_rows(program, self._linear, self._places, own_rows)
        self._time_limit_seconds = time_limit_seconds
        self._whole = find_whole_columns(program, self._places)
        # whole numbers of the user's own rows
        own_integer = np.flatnonzero(self._linear.integer)
        self._whole = replace(self._whole, integer=np.union1d(self._whole.integer, own_integer))
        relaxed = replace(self._linear, integer=np.zeros_like(self._linear.integer))
        self._solver = PersistentSolver(_copy(relaxed), time_limit_seconds=time_limit_seconds)
        self._decided = np.zeros(0, dtype=np.int64)
        self._names: tuple[np.ndarray, np.ndarray] = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    @property
    def columns(self) -> int:
        """Number of columns of the linear program."""
        return len(self._linear.cost)

    def name_parts(self, identity: np.ndarray, when: np.ndarray) -> None:
        """Name columns and rows, so that a basis can pass from one program to the next.

        Parameters
        ----------
        identity : ndarray, (device,)
            Number of each device that is the same in every program.
        when : ndarray, (step,)
            Fine step with which each step begins.
        """
        self._names = name_parts(self.program, self._places, identity=identity, when=when)

    def begin_with(self, basis: KeyedBasis) -> None:
        """Begin the next solve with the basis of another program."""
        self._solver.give_basis(basis, *self._names)

    def basis(self) -> KeyedBasis:
        """The basis of the last linear program, by name."""
        return self._solver.basis(*self._names)

    def set_room(self, room_kw: np.ndarray) -> None:
        """New room of the network limits. (row,) [kW]"""
        limits = self.program.limit_rows
        rows = self._places.coupling.start + np.arange(limits.start, limits.stop)
        shown = self.program.blocks.upper[limits] - self._linear.row_upper[rows]
        self.program.blocks.upper[limits] = room_kw
        upper = room_kw - shown
        self._linear.row_upper[rows] = upper
        self._solver.set_row_bounds(rows, np.full(len(rows), -np.inf), upper)

    def solve(self) -> FlexibilitySolution:
        """Solve, with whole numbers where the linear program gets them wrong.

        Raises
        ------
        InfeasibleError
            If no solution is found in time, or none passes the audit.
        """
        relaxed = self._solver.solve()
        if len(self._whole.integer) or len(self._small(relaxed.x)):
            return self._finish(self._search(relaxed), relaxed)
        return self._finish(self._fix_directions(relaxed), relaxed)

    def _small(self, x: np.ndarray) -> np.ndarray:
        """Semi-continuous columns between 0 and their smallest value."""
        power = x[self._whole.semicontinuous]
        tolerance = FEASIBILITY_TOLERANCE * (1 + self._whole.smallest)
        between = (power > 1e-4) & (power < self._whole.smallest - tolerance)
        return np.asarray(self._whole.semicontinuous[between])

    def _burning(self, x: np.ndarray) -> np.ndarray:
        """Pairs that are positive at once."""
        one, other, _ = self._whole.exclusive.T
        return np.asarray(self._whole.exclusive[np.minimum(x[one], x[other]) > SIMULTANEOUS_KW])

    def _fix_directions(self, solution: Solution) -> Solution:
        """Hold burning pairs to the stronger direction; search instead where that is not good enough."""
        bound, fixed = solution.lower_bound_eur, []
        while len(burning := self._burning(solution.x)):
            one, other, mode = burning.T
            forward = (solution.x[one] >= solution.x[other]).astype(float)
            self._solver.set_column_bounds(mode, forward, forward)
            fixed.append(mode)
            solution = self._solver.solve()
        if fixed:
            self._decided = np.union1d(self._decided, np.concatenate(fixed))
        if solution.objective_eur - bound <= MIP_GAP * max(1.0, abs(solution.objective_eur)):
            return solution
        return self._better(solution, bound)

    def _better(self, solution: Solution, bound: float) -> Solution:
        """The search's solution where it is better than the one by stronger directions."""
        self._solver.set_column_bounds(
            self._decided, self._linear.lower[self._decided], self._linear.upper[self._decided]
        )
        start = replace(solution, lower_bound_eur=bound)
        try:
            searched = self._search(start)
        except InfeasibleError:
            return solution
        return searched if searched.objective_eur < solution.objective_eur else solution

    def _search(self, solution: Solution) -> Solution:
        """Mixed-integer solves in which what was wrong becomes whole, until nothing is wrong."""
        smallest = np.full(len(self._linear.cost), np.nan)
        integer = np.zeros(len(self._linear.cost), dtype=bool)
        integer[self._whole.integer] = True
        integer[self._decided] = True
        bound = solution.lower_bound_eur
        least = dict(zip(self._whole.semicontinuous.tolist(), self._whole.smallest.tolist(), strict=True))
        for _ in range(ROUNDS):
            small, burning = self._small(solution.x), self._burning(solution.x)
            smallest[small] = [least[column] for column in small.tolist()]
            integer[burning[:, 2]] = True
            program = replace(self._linear, integer=integer, smallest=smallest)
            solution = PersistentSolver(_copy(program), time_limit_seconds=self._time_limit_seconds).solve()
            bound = max(bound, solution.lower_bound_eur)
            if not len(self._small(solution.x)) and not len(self._burning(solution.x)):
                break
        self._decided = np.flatnonzero(integer | np.isfinite(smallest))
        return replace(solution, lower_bound_eur=bound)

    def _finish(self, solution: Solution, relaxed: Solution) -> FlexibilitySolution:
        """By families; duals are those of the linear program."""
        columns = sum(where.stop - where.start for where in self._places.columns)
        dual = relaxed.row_dual if np.isnan(solution.row_dual).any() else solution.row_dual
        return FlexibilitySolution(
            x=split_columns(self.program.blocks.families, solution.x[:columns]),
            coupling_dual=dual[self._places.coupling],
            objective_eur=solution.objective_eur,
            lower_bound_eur=min(solution.objective_eur, max(relaxed.lower_bound_eur, -np.inf)),
            status=solution.status,
            decided=len(self._decided),
        )


def _copy(program: LinearProgram) -> LinearProgram:
    """A program whose bounds can be changed without changing this one."""
    bounds = ("lower", "upper", "row_lower", "row_upper")
    return replace(program, **{name: getattr(program, name).copy() for name in bounds})
