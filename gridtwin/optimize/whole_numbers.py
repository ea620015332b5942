"""A flexibility program solved: first as a linear program, with whole numbers only where they are needed.

Most devices never need one: a battery does not charge and discharge at once where that costs,
and few cars end between zero and their smallest current. So the linear program comes first, and
only what it gets wrong is decided: by the stronger direction where that is good enough, by a
search where not. Its objective stays the bound that the decision is measured against.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from gridtwin.errors import InfeasibleError
from gridtwin.optimize.block_program import split_columns
from gridtwin.optimize.block_solver import BlockSolver
from gridtwin.optimize.linear_program import LinearProgram, Places, assemble
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.own_rows import OwnRows, add_own_rows
from gridtwin.optimize.solve import FEASIBILITY_TOLERANCE, MIP_GAP, PersistentSolver, Solution
from gridtwin.optimize.warm_start import KeyedBasis, name_parts

BLOCK_COLUMNS = 60_000
"""Largest program that goes to the simplex method (benchmarks/results/flexibility_speed.json)."""
SIMULTANEOUS_KW = 1e-3
"""Charging and discharging at once above this burns energy. [kW]"""
ROUNDS = 8
"""Searches at most; each decides what the search before it left undecided."""
SINGLE_ROUNDS = 2
"""Searches that decide single steps; later ones decide the whole day of a device."""


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
    engine : str
        "simplex" or "block": what solved the linear program.
    """

    x: list[np.ndarray]
    coupling_dual: np.ndarray
    objective_eur: float
    lower_bound_eur: float
    status: str
    decided: int
    engine: str = "simplex"

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
    owner : ndarray, (column of the program,)
        Number of the device of each column that can be whole, -1 of all others.
    """

    exclusive: np.ndarray
    semicontinuous: np.ndarray
    smallest: np.ndarray
    integer: np.ndarray
    owner: np.ndarray

    def of_same_devices(self, columns: np.ndarray) -> np.ndarray:
        """Which columns belong to the devices of these; the user's own columns have none. bool, (column,)"""
        owners = self.owner[columns[columns < len(self.owner)]]
        return np.asarray(np.isin(self.owner, owners) & (self.owner >= 0))


def find_whole_columns(program: FlexibilityProgram, places: Places) -> WholeColumns:
    """Whole numbers of all fleets."""
    exclusive, semicontinuous, smallest, integer = [], [], [], []
    owner, devices = np.full(places.columns[-1].stop, -1), 0
    for fleet, where in zip(program.fleets, places.columns, strict=True):
        members = len(fleet.fleet.names)
        owner[where] = devices + np.arange(where.stop - where.start) % members
        devices += members
        compiled, each = fleet.compiled, np.arange(members)
        exclusive.append((where.start + compiled.exclusive[:, None, :] * members + each[None, :, None]).reshape(-1, 3))
        semicontinuous.append((where.start + compiled.semicontinuous[:, None] * members + each).ravel())
        smallest.append(fleet.smallest.reshape(-1))
        integer.append((where.start + np.flatnonzero(compiled.integer)[:, None] * members + each).ravel())
    semi, least = np.concatenate(semicontinuous), np.concatenate(smallest)
    matters = least > 0
    pairs, whole = np.concatenate(exclusive), np.concatenate(integer)
    kept = np.zeros(len(owner), dtype=bool)
    kept[np.concatenate([pairs[:, 2], semi[matters], whole])] = True
    return WholeColumns(pairs, semi[matters], least[matters], whole, np.where(kept, owner, -1))


class FlexibilitySolver:
    """A flexibility program inside a solver; its room can change between solves.

    Programs of up to `BLOCK_COLUMNS` columns, and those with constraints of the user, are solved by HiGHS's dual
    simplex; larger ones by the block method.

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
        large = own_rows is None and sum(f.cost.size for f in program.blocks.families) > BLOCK_COLUMNS
        self._linear, self._places = assemble(program.blocks, shared_sums=not large)
        if own_rows is not None:
            self._linear = add_own_rows(program, self._linear, self._places, own_rows)
        self._time_limit_seconds = time_limit_seconds
        self._whole = find_whole_columns(program, self._places)
        # whole numbers of the user's own rows
        own_integer = np.flatnonzero(self._linear.integer)
        self._whole = replace(self._whole, integer=np.union1d(self._whole.integer, own_integer))
        relaxed = replace(self._linear, integer=np.zeros_like(self._linear.integer))
        self._solver = (
            BlockSolver(program.blocks, _copy(relaxed), self._places, time_limit_seconds=time_limit_seconds)
            if large
            else PersistentSolver(_copy(relaxed), time_limit_seconds=time_limit_seconds)
        )
        self._decided, self._deadline = np.zeros(0, dtype=np.int64), np.inf
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
        if isinstance(self._solver, PersistentSolver):
            self._solver.give_basis(basis, *self._names)

    def basis(self) -> KeyedBasis | None:
        """The basis of the last linear program, by name; the block method has none."""
        return self._solver.basis(*self._names) if isinstance(self._solver, PersistentSolver) else None

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
        self._deadline = time.monotonic() + self._time_limit_seconds
        self._undecide()
        relaxed = self._solver.solve(self._remaining())
        if len(self._whole.integer):
            return self._finish(self._search(relaxed), relaxed)
        try:
            decided = replace(self._decide(relaxed), lower_bound_eur=relaxed.lower_bound_eur)
        except InfeasibleError:
            # the nearest whole numbers need not be possible: a session may ask for less than its smallest power
            return self._finish(self._search(relaxed), relaxed)
        if decided.objective_eur - relaxed.lower_bound_eur > MIP_GAP * max(1.0, abs(decided.objective_eur)):
            decided = self._better(decided)
        return self._finish(decided, relaxed)

    def _remaining(self) -> float:
        """Time that is left; never nothing, so that HiGHS says itself that it found nothing. [s]"""
        return max(1e-9, self._deadline - time.monotonic())

    def _small(self, x: np.ndarray) -> np.ndarray:
        """Positions of semi-continuous columns between 0 and their smallest value."""
        power = x[self._whole.semicontinuous]
        tolerance = FEASIBILITY_TOLERANCE * (1 + self._whole.smallest)
        return np.flatnonzero((power > 1e-4) & (power < self._whole.smallest - tolerance))

    def _burning(self, x: np.ndarray) -> np.ndarray:
        """Pairs that are positive at once."""
        one, other, _ = self._whole.exclusive.T
        return np.asarray(self._whole.exclusive[np.minimum(x[one], x[other]) > SIMULTANEOUS_KW])

    def _decide(self, solution: Solution) -> Solution:
        """Hold burning pairs to the stronger direction and small powers to 0 or their smallest, until none is left."""
        while len(burning := self._burning(solution.x)) + len(small := self._small(solution.x)):
            one, other, mode = burning.T
            forward = (solution.x[one] >= solution.x[other]).astype(float)
            self._hold(mode, forward, forward)
            columns, smallest = self._whole.semicontinuous[small], self._whole.smallest[small]
            on = solution.x[columns] >= smallest / 2
            self._hold(columns, np.where(on, smallest, 0.0), np.where(on, self._linear.upper[columns], 0.0))
            solution = self._solver.solve(self._remaining())
        return solution

    def _hold(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        self._solver.set_column_bounds(columns, lower, upper)
        self._decided = np.union1d(self._decided, columns)

    def _undecide(self) -> None:
        """Free what an earlier solve decided, so that the next linear program is a bound again."""
        decided, self._decided = self._decided, np.zeros(0, dtype=np.int64)
        if len(decided):
            self._solver.set_column_bounds(decided, self._linear.lower[decided], self._linear.upper[decided])

    def _better(self, decided: Solution) -> Solution:
        """The better of both where a search finds one in the time that is left, with the better bound."""
        try:
            searched = self._search(decided)
        except InfeasibleError:
            return decided
        best = searched if searched.objective_eur < decided.objective_eur else decided
        return replace(best, lower_bound_eur=max(searched.lower_bound_eur, decided.lower_bound_eur))

    def _search(self, solution: Solution) -> Solution:
        """Mixed-integer solves in which what was wrong becomes whole, until nothing is wrong."""
        whole = self._whole
        smallest = np.full(len(self._linear.cost), np.nan)
        integer = np.zeros(len(self._linear.cost), dtype=bool)
        integer[whole.integer] = True
        # what was decided to get here was wrong in the linear program
        modes = np.intersect1d(self._decided, whole.exclusive[:, 2])
        integer[modes] = True
        held = np.isin(whole.semicontinuous, self._decided)
        smallest[whole.semicontinuous[held]] = whole.smallest[held]
        bound = solution.lower_bound_eur
        for number in range(ROUNDS):
            small, burning = self._small(solution.x), self._burning(solution.x)
            smallest[whole.semicontinuous[small]] = whole.smallest[small]
            integer[burning[:, 2]] = True
            if number >= SINGLE_ROUNDS:
                # what was avoided on one step turns up on the next: the whole day of these devices
                same = whole.of_same_devices(np.flatnonzero(integer | np.isfinite(smallest)))
                here = same[whole.semicontinuous]
                smallest[whole.semicontinuous[here]] = whole.smallest[here]
                integer[whole.exclusive[same[whole.exclusive[:, 2]], 2]] = True
            program = replace(self._linear, integer=integer, smallest=smallest)
            solver = PersistentSolver(_copy(program), time_limit_seconds=self._time_limit_seconds)
            solution = solver.solve(self._remaining())
            bound = max(bound, solution.lower_bound_eur)
            if not len(self._small(solution.x)) and not len(self._burning(solution.x)):
                self._decided = np.flatnonzero(integer | np.isfinite(smallest))
                return replace(solution, lower_bound_eur=bound)
        raise InfeasibleError(f"whole numbers are still missed after {ROUNDS} searches")

    def _finish(self, solution: Solution, relaxed: Solution) -> FlexibilitySolution:
        """By families; duals are those of the linear program."""
        columns = sum(where.stop - where.start for where in self._places.columns)
        dual = relaxed.row_dual if np.isnan(solution.row_dual).any() else solution.row_dual
        return FlexibilitySolution(
            x=split_columns(self.program.blocks.families, solution.x[:columns]),
            coupling_dual=dual[self._places.coupling],
            objective_eur=solution.objective_eur,
            lower_bound_eur=min(solution.objective_eur, solution.lower_bound_eur),
            status=solution.status,
            decided=len(self._decided),
            engine=self._solver.engine,
        )


def _copy(program: LinearProgram) -> LinearProgram:
    """A program whose bounds can be changed without changing this one."""
    bounds = ("lower", "upper", "row_lower", "row_upper")
    return replace(program, **{name: getattr(program, name).copy() for name in bounds})
