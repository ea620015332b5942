"""HiGHS on a linear program, without Pyomo's own solver interfaces.

Those interfaces take many times longer than the solve itself. A matrix is handed over whole;
a re-solve changes costs, bounds and right-hand sides in the solver that is already there.
Every solution is audited here, by numpy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

from gridtwin.errors import Finding, InfeasibleError
from gridtwin.optimize.linear_program import LinearProgram
from gridtwin.optimize.warm_start import KeyedBasis, give_basis, read_basis

FEASIBILITY_TOLERANCE = 1e-6
"""Largest violation of a row or bound, and of optimality, in units of the model or relative."""
MIP_GAP = 5e-3
"""Relative gap at which a mixed-integer solve is done. Like batteries make like solutions: proving the last
tenth of a percent of a day with 144 binaries took longer than a minute and found nothing better. [-]"""


@dataclass(frozen=True)
class Solution:
    """An audited solution.

    Parameters
    ----------
    x : ndarray, (column,)
        Values of the columns.
    row_dual : ndarray, (row,)
        What the objective gains per unit of each row's bound; NaN where whole numbers were sought.
    objective_eur : float
        Objective, recomputed from the values.
    lower_bound_eur : float
        What no solution can be below.
    status : str
        "optimal", or "time limit" for the best solution found by then.
    """

    x: np.ndarray
    row_dual: np.ndarray
    objective_eur: float
    lower_bound_eur: float
    status: str


class PersistentSolver:
    """A linear program inside HiGHS that is solved again and again.

    Parameters
    ----------
    program : LinearProgram
        Handed over once; later changes of it are told through the methods here.
    time_limit_seconds : float
        Of one solve. [s]
    """

    def __init__(self, program: LinearProgram, *, time_limit_seconds: float) -> None:
        self.program, self.engine = program, "simplex"
        self._time_limit_seconds = time_limit_seconds
        self._whole = program.integer.any() or bool(np.isfinite(program.smallest).any())
        self._highs = _start_highs(program)
        self._x = np.zeros(len(program.cost))

    def set_row_bounds(self, rows: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of some rows."""
        self.program.row_lower[rows], self.program.row_upper[rows] = lower, upper
        numbers = np.asarray(rows, dtype=np.int32)
        _check(self._highs.changeRowsBounds(len(numbers), numbers, lower, upper), "change of row bounds")

    def set_column_bounds(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of some columns."""
        self.program.lower[columns], self.program.upper[columns] = lower, upper
        numbers = np.asarray(columns, dtype=np.int32)
        _check(self._highs.changeColsBounds(len(numbers), numbers, lower, upper), "change of bounds")

    def set_cost(self, cost: np.ndarray) -> None:
        """New costs of all columns."""
        self.program.cost[:] = cost
        numbers = np.arange(len(cost), dtype=np.int32)
        _check(self._highs.changeColsCost(len(numbers), numbers, cost), "change of costs")

    def give_basis(self, last: KeyedBasis, column_key: np.ndarray, row_key: np.ndarray) -> None:
        """Begin the next solve where parts of the same name stood in another program."""
        give_basis(self._highs, last, column_key, row_key)

    def basis(self, column_key: np.ndarray, row_key: np.ndarray) -> KeyedBasis:
        """The basis of the last solve, by name."""
        return read_basis(self._highs, self.program, self._x, column_key, row_key)

    def solve(self, seconds: float | None = None) -> Solution:
        """Solve and audit; once more from scratch where the audit fails after a warm start.

        Parameters
        ----------
        seconds : float, optional
            Time limit of this solve instead of the usual one. [s]

        Raises
        ------
        InfeasibleError
            If there is no solution, or none that passes the audit.
        """
        deadline = time.monotonic() + (self._time_limit_seconds if seconds is None else seconds)
        solution, faults = self._run(deadline)
        if faults:
            # a start from the last basis has been seen to end "optimal" at a wrong point
            self._highs.clearSolver()
            solution, faults = self._run(deadline)
        if faults:
            raise InfeasibleError(faults)
        return solution

    def _run(self, deadline: float) -> tuple[Solution, list[Finding]]:
        # HiGHS counts the time of all runs together
        left = max(1e-9, deadline - time.monotonic())
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + left)
        self._run_highs()
        status = self._accept_status()
        found = self._highs.getSolution()
        x, dual = np.array(found.col_value), np.array(found.row_dual)
        self._x = x
        objective = float(self.program.cost @ x) + self.program.constant
        faults = audit_feasibility(self.program, x)
        if self._whole:
            bound = float(self._highs.getInfo().mip_dual_bound)
            return Solution(x, np.full(len(dual), np.nan), objective, bound, status), faults
        if status == "optimal":
            faults += audit_optimality(self.program, x, dual)
        return Solution(x, dual, objective, lower_bound(self.program, x, dual), status), faults

    def _run_highs(self) -> None:
        """Run; HiGHS shares its threads within a process and refuses to run where another program took more of them."""
        self._highs.run()
        if self._highs.getModelStatus() == highspy.HighsModelStatus.kNotset:
            highspy.Highs.resetGlobalScheduler(True)
            self._highs.run()

    def _accept_status(self) -> str:
        """Word for a status with a usable solution; anything else raises."""
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return "optimal"
        feasible = self._highs.getInfo().primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible)
        if status == highspy.HighsModelStatus.kTimeLimit and feasible:
            return "time limit"
        raise InfeasibleError(
            [
                Finding(
                    "the flexibility model has no usable solution",
                    expected="optimal, or a feasible solution at the time limit",
                    got=self._highs.modelStatusToString(status),
                    do="Raise flexibility.time_limit_seconds; if it says infeasible, report it: every wish is soft.",
                    severity="error",
                    code="GT-O01",
                )
            ]
        )


class _QuietHighs(highspy.Highs):  # type: ignore[misc]
    """HiGHS without output: it prints its banner when callbacks are enabled, before an option can be set."""

    def enableCallbacks(self) -> None:  # noqa: N802 - the name is highspy's
        self.silent()
        super().enableCallbacks()


def _start_highs(program: LinearProgram) -> highspy.Highs:
    highs = _QuietHighs()
    # one thread: the same schedule on every machine
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("mip_rel_gap", MIP_GAP)
    _check(pass_program(highs, program), "transfer of the model")
    return highs


def pass_program(highs: highspy.Highs, program: LinearProgram) -> highspy.HighsStatus:
    """Hand a program over as arrays: through the fields of a `HighsLp` every number would be copied on its own."""
    kinds, matrix = _kinds_of(program), program.matrix
    # HiGHS takes the smallest value beside 0 as the lower bound of a semi-continuous column
    lower = np.where(kinds == SEMICONTINUOUS, program.smallest, program.lower)
    status: highspy.HighsStatus = highs.passModel(
        matrix.shape[1],
        matrix.shape[0],
        matrix.nnz,
        int(highspy.MatrixFormat.kColwise),
        int(highspy.ObjSense.kMinimize),
        program.constant,
        program.cost,
        lower,
        program.upper,
        program.row_lower,
        program.row_upper,
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data,
        kinds.astype(np.int32),
    )
    return status


SEMICONTINUOUS = 2


def _kinds_of(program: LinearProgram) -> np.ndarray:
    """0 continuous, 1 whole number, 2 semi-continuous. (column,)"""
    return np.where(np.isfinite(program.smallest), SEMICONTINUOUS, program.integer.astype(int))


def _check(status: highspy.HighsStatus, what: str) -> None:
    if status == highspy.HighsStatus.kError:
        raise InfeasibleError(f"HiGHS refused the {what} of the flexibility model")


def audit_feasibility(program: LinearProgram, x: np.ndarray) -> list[Finding]:
    """Findings where a row, a bound or a whole number is missed by more than the tolerance."""
    activity = program.matrix @ x
    scale = 1 + np.abs(x).max(initial=0.0)
    small = np.isfinite(program.smallest) & (x < program.smallest)
    misses = {
        "a row": _outside(activity, program.row_lower, program.row_upper),
        "a bound": _outside(x, program.lower, program.upper),
        "a whole number": np.abs(x - np.round(x))[program.integer].max(initial=0.0),
        "a smallest value": np.minimum(np.abs(x), np.abs(program.smallest - x))[small].max(initial=0.0),
    }
    return [
        _audit_finding(f"{what} is missed", FEASIBILITY_TOLERANCE * scale, miss)
        for what, miss in misses.items()
        if not miss <= FEASIBILITY_TOLERANCE * scale
    ]


def audit_optimality(program: LinearProgram, x: np.ndarray, row_dual: np.ndarray) -> list[Finding]:
    """Finding where primal and dual objective differ: the solution is then not proved optimal."""
    gap = float(program.cost @ x) + program.constant - lower_bound(program, x, row_dual)
    tolerance = FEASIBILITY_TOLERANCE * (1 + float(np.abs(program.cost * x).sum()))
    return [] if gap <= tolerance else [_audit_finding("optimality is not proved", tolerance, gap)]


def lower_bound(program: LinearProgram, x: np.ndarray, row_dual: np.ndarray) -> float:
    """What no solution can be below, from the duals of the rows.

    Notes
    -----
    By weak duality y b + d l (or u) never exceeds the optimum, with reduced costs
    d = c - A'y and each dual taken at the bound its sign points to.
    """
    reduced = program.cost - program.matrix.T @ row_dual
    of_rows = _at_bounds(row_dual, program.row_lower, program.row_upper, program.matrix @ x)
    return of_rows + _at_bounds(reduced, program.lower, program.upper, x) + program.constant


def _outside(values: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    return float(np.maximum(lower - values, values - upper).max(initial=0.0))


def _at_bounds(dual: np.ndarray, lower: np.ndarray, upper: np.ndarray, values: np.ndarray) -> float:
    """Sum of duals times the bound that their sign points to.

    Duals below the tolerance have no reliable sign; they count at the value, which
    adds nothing to the gap.
    """
    bound = np.where(dual > 0, lower, upper)
    rounded = np.abs(dual) <= FEASIBILITY_TOLERANCE
    return float(np.sum(dual * np.where(rounded, values, bound)))


def _audit_finding(what: str, tolerance: float, got: float) -> Finding:
    return Finding(
        f"audit of the solver: {what}",
        expected=f"at most {tolerance:.1e}",
        got=f"{got:.1e}",
        severity="error",
        code="GT-O02",
    )
