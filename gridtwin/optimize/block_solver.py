"""The block method behind the same door as HiGHS: solve, change bounds, solve again, audited the same way."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from gridtwin.errors import Finding, InfeasibleError
from gridtwin.optimize.block_program import BlockProgram, group_sums
from gridtwin.optimize.interior_point import BlockSolution, solve_interior_point
from gridtwin.optimize.linear_program import LinearProgram, Places
from gridtwin.optimize.solve import PersistentSolver, Solution, audit_feasibility

ACCEPTED_GAP = 1e-4
"""Relative gap at which a solution that ran out of time or digits is still taken. [-]"""


class BlockSolver:
    """Large programs: an interior-point method over all devices at once.

    Parameters
    ----------
    blocks : BlockProgram
        What is solved; its numbers are copied.
    linear, places : LinearProgram and Places
        The same as one matrix without shared sums, for the audit.
    time_limit_seconds : float
        Of one solve. [s]
    """

    def __init__(
        self, blocks: BlockProgram, linear: LinearProgram, places: Places, *, time_limit_seconds: float
    ) -> None:
        families = tuple(replace(f, lower=f.lower.copy(), upper=f.upper.copy()) for f in blocks.families)
        self._blocks = replace(blocks, families=families, lower=blocks.lower.copy(), upper=blocks.upper.copy())
        self.program, self._places, self._time_limit_seconds = linear, places, time_limit_seconds
        pairs = zip(families, blocks.weights, strict=True)
        self._shown = sum((w @ group_sums(f, f.port_constant) for f, w in pairs), np.zeros(len(blocks.lower)))
        self.engine = "block"

    def set_row_bounds(self, rows: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of some coupling rows."""
        self.program.row_lower[rows], self.program.row_upper[rows] = lower, upper
        own = rows - self._places.coupling.start
        self._blocks.lower[own], self._blocks.upper[own] = lower + self._shown[own], upper + self._shown[own]

    def set_column_bounds(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """New bounds of some columns."""
        self.program.lower[columns], self.program.upper[columns] = lower, upper
        for family, where in zip(self._blocks.families, self._places.columns, strict=True):
            inside = (columns >= where.start) & (columns < where.stop)
            own = columns[inside] - where.start
            family.lower.reshape(-1)[own], family.upper.reshape(-1)[own] = lower[inside], upper[inside]

    def solve(self, seconds: float | None = None) -> Solution:
        """Solve and audit; by HiGHS where the method gets stuck, which `engine` then says.

        Raises
        ------
        InfeasibleError
            If there is no solution in time, or none that passes the audit.
        """
        deadline = time.monotonic() + (self._time_limit_seconds if seconds is None else seconds)
        self.engine = "block"
        found = solve_interior_point(self._blocks, time_limit_seconds=max(0.0, deadline - time.monotonic()))
        solution = self._as_solution(found)
        faults = audit_feasibility(self.program, solution.x)
        if not faults and found.gap <= ACCEPTED_GAP:
            return solution
        if found.status == "time limit":
            raise InfeasibleError(faults or [_gap_finding(found)])
        self.engine = "simplex"
        return PersistentSolver(self.program, time_limit_seconds=self._time_limit_seconds).solve(
            deadline - time.monotonic()
        )

    def _as_solution(self, found: BlockSolution) -> Solution:
        return Solution(
            x=np.concatenate([x.ravel() for x in found.x]),
            row_dual=np.concatenate([*(y.ravel() for y in found.row_dual), found.coupling_dual]),
            objective_eur=found.objective,
            lower_bound_eur=found.lower_bound,
            status="time limit" if found.status == "time limit" else "optimal",
        )


def _gap_finding(found: BlockSolution) -> Finding:
    return Finding(
        "the flexibility model has no usable solution",
        expected=f"a gap of at most {ACCEPTED_GAP:.0e} in time",
        got=f"{found.gap:.0e} after {found.iterations} iterations",
        do="Raise flexibility.time_limit_seconds.",
        severity="error",
        code="GT-O01",
    )
