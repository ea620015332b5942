"""From a Pyomo model to HiGHS and back, without Pyomo's own solver interfaces.

Those interfaces take many times longer than the solve itself. The model is compiled
to a sparse matrix once and handed over whole; a re-solve changes right-hand sides in
the solver that is already there. Every solution is audited here, by numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
import pyomo.environ as pyo
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler
from scipy import sparse

from gridtwin.errors import Finding, InfeasibleError

FEASIBILITY_TOLERANCE = 1e-6
"""Largest violation of a row or bound, and of optimality, in units of the model or relative."""
MIP_GAP = 5e-3
"""Relative gap at which a mixed-integer solve is done. Like batteries make like solutions: proving the last
tenth of a percent of a day with 144 binaries took longer than a minute and found nothing better. [-]"""


@dataclass(frozen=True)
class LinearProgram:
    """min c x + constant, row_lower <= A x <= row_upper, lower <= x <= upper.

    Parameters
    ----------
    matrix : csc_array, (row, column)
        A.
    cost, lower, upper : ndarray, (column,)
        Costs and bounds of the columns.
    integer : ndarray of bool, (column,)
        Which columns are whole numbers.
    row_lower, row_upper : ndarray, (row,)
        Bounds of the rows, infinite where there is none.
    constant : float
        Part of the objective without a variable.
    column_of, row_of : dict
        Position of each Pyomo variable and constraint, by `id`.
    """

    matrix: sparse.csc_array
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    constant: float
    column_of: dict[int, int]
    row_of: dict[int, int]


@dataclass(frozen=True)
class Solution:
    """An audited solution.

    Parameters
    ----------
    x : ndarray, (column,)
        Values of the columns.
    objective_eur : float
        Objective, recomputed from the values.
    status : str
        "optimal", or "time limit" for the best solution found by then.
    """

    x: np.ndarray
    objective_eur: float
    status: str
    column_of: dict[int, int]

    def values_of(self, component: Any) -> dict[Any, float]:
        """Values of a Pyomo variable by its index; a column that the model never uses is 0."""
        columns = ((index, self.column_of.get(id(part))) for index, part in component.items())
        return {index: 0.0 if column is None else float(self.x[column]) for index, column in columns}


def compile_linear_program(model: pyo.ConcreteModel) -> LinearProgram:
    """Matrix, costs and bounds of a linear Pyomo model with one objective."""
    form = LinearStandardFormCompiler().write(model, mixed_form=True, set_sense=pyo.minimize)
    kind = np.array([row.bound_type for row in form.rows], dtype=int)
    rhs = np.asarray(form.rhs, dtype=float)
    bounds = [column.bounds for column in form.columns]
    return LinearProgram(
        matrix=sparse.csc_array(form.A),
        cost=np.asarray(form.c.todense(), dtype=float).ravel(),
        lower=np.array([-np.inf if low is None else low for low, _ in bounds], dtype=float),
        upper=np.array([np.inf if high is None else high for _, high in bounds], dtype=float),
        integer=np.array([not column.is_continuous() for column in form.columns], dtype=bool),
        row_lower=np.where(kind <= 0, rhs, -np.inf),
        row_upper=np.where(kind >= 0, rhs, np.inf),
        constant=float(form.c_offset[0]),
        column_of={id(column): position for position, column in enumerate(form.columns)},
        row_of={id(row.constraint): position for position, row in enumerate(form.rows)},
    )


class PersistentSolver:
    """A compiled model inside HiGHS that is solved again and again.

    Parameters
    ----------
    model : ConcreteModel
        Compiled once; later changes of it are told through the methods here.
    time_limit_seconds : float
        Of one solve. [s]
    """

    def __init__(self, model: pyo.ConcreteModel, *, time_limit_seconds: float) -> None:
        self.program = compile_linear_program(model)
        self._time_limit_seconds = time_limit_seconds
        self._highs = _start_highs(self.program)

    def set_upper(self, constraint: Any, values: np.ndarray) -> None:
        """Give the rows of an indexed constraint, in its order, new upper bounds."""
        rows = np.array([self.program.row_of[id(part)] for part in constraint.values()], dtype=np.int32)
        self.program.row_upper[rows] = values
        lower, upper = self.program.row_lower[rows], self.program.row_upper[rows]
        _check(self._highs.changeRowsBounds(len(rows), rows, lower, upper), "change of row bounds")

    def fix(self, variable: Any, value: float) -> None:
        """Hold a variable at one value from now on."""
        column = self.program.column_of[id(variable)]
        self.program.lower[column] = self.program.upper[column] = value
        _check(self._highs.changeColBounds(column, value, value), "change of bounds")

    def solve(self) -> Solution:
        """Solve and audit; once more from scratch where the audit fails after a warm start.

        Raises
        ------
        InfeasibleError
            If there is no solution, or none that passes the audit.
        """
        solution, faults = self._run()
        if faults:
            # a start from the last basis has been seen to end "optimal" at a wrong point
            self._highs.clearSolver()
            solution, faults = self._run()
        if faults:
            raise InfeasibleError(faults)
        return solution

    def _run(self) -> tuple[Solution, list[Finding]]:
        # HiGHS counts the time of all runs together
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + self._time_limit_seconds)
        self._highs.run()
        status = self._accept_status()
        found = self._highs.getSolution()
        x = np.array(found.col_value)
        objective = float(self.program.cost @ x) + self.program.constant
        faults = audit_feasibility(self.program, x)
        if status == "optimal" and not self.program.integer.any():
            faults += audit_optimality(self.program, x, np.array(found.row_dual))
        return Solution(x, objective, status, self.program.column_of), faults

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
    _check(highs.passModel(_as_highs(program)), "transfer of the model")
    return highs


def _as_highs(program: LinearProgram) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = program.matrix.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.offset_ = program.constant
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = program.matrix.indptr.astype(np.int32)
    lp.a_matrix_.index_ = program.matrix.indices.astype(np.int32)
    lp.a_matrix_.value_ = program.matrix.data
    if program.integer.any():
        continuous, integer = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        lp.integrality_ = [integer if whole else continuous for whole in program.integer]
    return lp


def _check(status: highspy.HighsStatus, what: str) -> None:
    if status == highspy.HighsStatus.kError:
        raise InfeasibleError(f"HiGHS refused the {what} of the flexibility model")


def audit_feasibility(program: LinearProgram, x: np.ndarray) -> list[Finding]:
    """Findings where a row, a bound or a whole number is missed by more than the tolerance."""
    activity = program.matrix @ x
    scale = 1 + np.abs(x).max(initial=0.0)
    misses = {
        "a row": _outside(activity, program.row_lower, program.row_upper),
        "a bound": _outside(x, program.lower, program.upper),
        "a whole number": np.abs(x - np.round(x))[program.integer].max(initial=0.0),
    }
    return [
        _audit_finding(f"{what} is missed", FEASIBILITY_TOLERANCE * scale, miss)
        for what, miss in misses.items()
        if not miss <= FEASIBILITY_TOLERANCE * scale
    ]


def audit_optimality(program: LinearProgram, x: np.ndarray, row_dual: np.ndarray) -> list[Finding]:
    """Finding where primal and dual objective differ: the solution is then not proved optimal.

    Notes
    -----
    By weak duality y b + d l (or u) never exceeds the optimum, with reduced costs
    d = c - A'y and each dual taken at the bound its sign points to.
    """
    reduced = program.cost - program.matrix.T @ row_dual
    primal = float(program.cost @ x)
    of_rows = _at_bounds(row_dual, program.row_lower, program.row_upper, program.matrix @ x)
    dual = of_rows + _at_bounds(reduced, program.lower, program.upper, x)
    tolerance = FEASIBILITY_TOLERANCE * (1 + float(np.abs(program.cost * x).sum()))
    return [] if primal - dual <= tolerance else [_audit_finding("optimality is not proved", tolerance, primal - dual)]


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
