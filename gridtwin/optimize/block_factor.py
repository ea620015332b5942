"""The normal equations of a block program: blocks eliminated side by side, all else by their Schur complement."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import linalg, sparse

from gridtwin.kernels.block_elimination import LANES, EliminationPlan, add_symmetric, eliminate_blocks, solve_blocks
from gridtwin.kernels.elimination_plan import plan_elimination
from gridtwin.optimize.stacked_program import PARTS, LaneFamily, StackedProgram

REFINE_ABOVE = 1e-9
"""Residual above which a solution is refined, relative to the right-hand side. [-]"""


class BlockFactor:
    """Solves (A theta A' + theta_rows) dy = rhs for all rows of a block program, again and again.

    Parameters
    ----------
    stacked : StackedProgram
        Families and coupling rows.

    Notes
    -----
    Families of many members are eliminated block by block. What is left is a dense matrix of the
    coupling rows and of the rows of small families, the border:
    S = theta_border + B theta B' + sum over families of W K W'. J. Gondzio, R. Sarkissian, Parallel interior-point
    solver for structured linear programs, Math. Program. 96, 2003, doi:10.1007/s10107-003-0379-5.
    """

    def __init__(self, stacked: StackedProgram) -> None:
        self.stacked = stacked
        self.plans = [_plan_of(family) for family in stacked.lanes]
        self.factors = [
            np.empty((family.count, plan.entries, LANES))
            for family, plan in zip(stacked.lanes, self.plans, strict=True)
        ]
        self.border_own = sparse.csr_array(sparse.vstack([stacked.own, stacked.small_coupled]))
        self.answers = [
            _Answers(weight, *size, stacked.own.shape[0])
            for weight, size in zip(stacked.ports, stacked.groups, strict=True)
        ]

    def factorise(self, theta: np.ndarray, theta_rows: np.ndarray) -> None:
        """Factors for weights of columns and rows."""
        stacked, self.theta, self.theta_rows = self.stacked, theta, theta_rows
        weighted = sparse.csr_array(self.border_own * theta[stacked.small_columns][None, :])
        schur = np.asarray((weighted @ self.border_own.T).todense())
        schur[np.diag_indices(len(schur))] += theta_rows[stacked.border]
        for answer in self.answers:
            answer.pairs[:] = 0.0
        stacked.each_part(self._eliminate)
        for answer in self.answers:
            answer.add_to(schur)
        self._schur = _factorise_symmetric(schur)

    def _eliminate(self, part: int) -> None:
        """One part of the blocks of every family: what they add to goes to the part's own answers."""
        for f, plan, factor in zip(self.stacked.lanes, self.plans, self.factors, strict=True):
            here = f.part(part)
            theta, theta_rows = f.blocks_of(self.theta[f.columns])[here], f.blocks_of(self.theta_rows[f.rows])[here]
            eliminate_blocks(
                plan, f.value[here], f.port_value[here], theta, theta_rows, f.group[here], factor[here],
                self.answers[f.sums].pairs[part],
            )  # fmt: skip

    def solve(self, rhs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Dy and A'dy; refined once where something cancelled in the Schur complement."""
        stacked = self.stacked
        found = self._solve_once(rhs)
        seen = stacked.apply_transposed(found)
        left = rhs - stacked.apply(self.theta * seen) - self.theta_rows * found
        if np.abs(left).max(initial=0.0) <= REFINE_ABOVE * np.abs(rhs).max(initial=0.0):
            return found, seen
        more = self._solve_once(left)
        return found + more, seen + stacked.apply_transposed(more)

    def _solve_once(self, rhs: np.ndarray) -> np.ndarray:
        stacked, border = self.stacked, self.stacked.border
        inner = self._solve_blocks(rhs)
        shown = stacked.apply(self.theta * stacked.apply_transposed(inner))[border]
        outer = np.zeros_like(rhs)
        outer[border] = linalg.cho_solve(self._schur, rhs[border] - shown, check_finite=False)
        back = stacked.apply(self.theta * stacked.apply_transposed(outer))
        return np.asarray(inner + outer - self._solve_blocks(back))

    def _solve_blocks(self, rhs: np.ndarray) -> np.ndarray:
        """M^-1 of the rows of blocks, 0 for those of the border."""
        found = rhs.copy()
        found[self.stacked.border] = 0.0

        def solve(part: int) -> None:
            for f, plan, factor in zip(self.stacked.lanes, self.plans, self.factors, strict=True):
                here = f.part(part)
                if plan.rows:
                    solve_blocks(plan, factor[here], f.blocks_of(found[f.rows])[here])

        self.stacked.each_part(solve)
        return found


class _Answers:
    """Answers of the ports of groups, and the rows of the border that see them.

    Each part of the blocks has its own, so that the sum does not depend on which thread is first.
    """

    def __init__(self, weight: sparse.csr_array, groups: int, ports: int, first_row: int) -> None:
        self.pairs = np.zeros((PARTS, groups, ports * (ports + 1) // 2))
        seen = sparse.coo_array(weight)
        port = seen.col % ports
        # a row may see several ports: it then stands once for each of them
        keys, place = np.unique(port * weight.shape[0] + seen.row, return_inverse=True)
        self.port, row = np.divmod(keys, weight.shape[0])
        self.rows = first_row + row
        self.weights = np.zeros((groups, len(keys)))
        np.add.at(self.weights, (seen.col // ports, place), seen.data)
        self.ports, self.start = ports, np.searchsorted(self.port, np.arange(ports + 1))
        self.total = np.zeros((len(keys), len(keys)))

    def add_to(self, schur: np.ndarray) -> None:
        """W K W' to the lower triangle, one port after the other."""
        pairs = self.pairs.sum(axis=0)
        for a in range(self.ports):
            begin, end = self.start[a], self.start[a + 1]
            if begin < end:
                first = a * (2 * self.ports - a - 1) // 2
                scaled = pairs[:, first + self.port[begin:]] * self.weights[:, begin:]
                np.matmul(self.weights[:, begin:end].T, scaled, out=self.total[begin:end, begin:])
        add_symmetric(self.total, self.rows, schur)


def _plan_of(family: LaneFamily) -> EliminationPlan:
    return _plan(*(part.tobytes() for part in family.shape))


@lru_cache(maxsize=64)
def _plan(start: bytes, column: bytes, port_start: bytes, port_column: bytes) -> EliminationPlan:
    return plan_elimination(*(np.frombuffer(part, dtype=np.int64) for part in (start, column, port_start, port_column)))


def _factorise_symmetric(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Cholesky factors of a lower triangle; rows that depend on others get a little weight of their own."""
    size = np.maximum(np.diag(matrix), 1e-300).copy()
    for little in (1e-14, 1e-12, 1e-10, 1e-8):
        matrix[np.diag_indices(len(matrix))] += little * size
        try:
            return linalg.cho_factor(matrix, lower=True, check_finite=False)  # type: ignore[no-any-return]
        except linalg.LinAlgError:
            continue
    raise FloatingPointError("the coupling rows cannot be eliminated")
