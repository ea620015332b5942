"""The normal equations of a block program: blocks eliminated side by side, all else by their Schur complement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from scipy import linalg, sparse

from gridtwin.kernels.block_elimination import LANES, EliminationPlan, eliminate_blocks, solve_blocks
from gridtwin.kernels.elimination_plan import plan_elimination
from gridtwin.optimize.block_program import BlockProgram, Family
from gridtwin.optimize.stacked_program import StackedProgram

PARTS = 4
"""Parts that the blocks of a family are shared in."""
REFINE_ABOVE = 1e-9
"""Residual above which a solution is refined, relative to the right-hand side. [-]"""


class BlockFactor:
    """Solves (A theta A' + theta_rows) dy = rhs for all rows of a block program, again and again.

    Parameters
    ----------
    program, stacked : BlockProgram and StackedProgram
        Families and coupling rows, and the same as vectors.
    threads : int
        Threads that share the blocks; results do not depend on it.

    Notes
    -----
    Families of many members are eliminated block by block. What is left is a dense matrix of the
    coupling rows and of the rows of small families, the border:
    S = theta_border + B theta B' + sum over families of W K W'. J. Gondzio, R. Sarkissian, Parallel interior-point
    solver for structured linear programs, Math. Program. 96, 2003, doi:10.1007/s10107-003-0379-5.
    """

    def __init__(self, program: BlockProgram, stacked: StackedProgram, *, threads: int) -> None:
        self.stacked, self.threads = stacked, threads
        self.blocks, border, outside = [], [], []
        for family, rows, columns in zip(program.families, stacked.rows, stacked.columns, strict=True):
            if _is_small(family):
                border.append(np.arange(rows.start, rows.stop))
                outside.append(np.arange(columns.start, columns.stop))
            else:
                self.blocks.append(_Blocks(family, rows, columns))
        coupling = np.arange(stacked.coupling.start, stacked.coupling.stop)
        self.border = np.concatenate([*border, coupling])
        self.inside = np.ones(len(stacked.row_lower), dtype=bool)
        self.inside[self.border] = False
        self.border_columns = np.concatenate([*outside, np.zeros(0, dtype=np.int64)])
        self.border_own = self._border_matrix()
        self.answers = _group_answers(program, self.blocks, len(self.border) - len(coupling))

    def _border_matrix(self) -> sparse.csr_array:
        """Rows of the border in the columns of small families."""
        stacked, first = self.stacked, self.stacked.coupling.start
        own = stacked.blocks[self.border[self.border < first]][:, self.border_columns]
        coupled = sum(weight @ ports[:, self.border_columns] for ports, weight in stacked.sums)
        return sparse.csr_array(sparse.vstack([own, coupled]))

    def factorise(self, theta: np.ndarray, theta_rows: np.ndarray) -> None:
        """Factors for weights of columns and rows."""
        self.theta, self.theta_rows = theta, theta_rows
        weighted = self.border_own * theta[self.border_columns][None, :]
        schur = np.asarray((sparse.csr_array(weighted) @ self.border_own.T).todense())
        schur[np.diag_indices(len(schur))] += theta_rows[self.border]
        for answer in self.answers:
            answer.clear()
        for block in self.blocks:
            block.load(theta, theta_rows)
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._eliminate_part, range(PARTS)))
        for answer in self.answers:
            answer.add_to(schur)
        self._schur = _factorise_symmetric(schur)

    def _eliminate_part(self, part: int) -> None:
        """One part of the blocks of every family: what they add to goes to the part's own answers."""
        for block in self.blocks:
            block.eliminate(part)

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """One step of refinement where something cancelled in the Schur complement."""
        stacked = self.stacked
        found = self._solve_once(rhs)
        shown = stacked.apply(self.theta * stacked.apply_transposed(found)) + self.theta_rows * found
        left = rhs - shown
        if np.abs(left).max(initial=0.0) <= REFINE_ABOVE * np.abs(rhs).max(initial=0.0):
            return found
        return np.asarray(found + self._solve_once(left))

    def _solve_once(self, rhs: np.ndarray) -> np.ndarray:
        stacked = self.stacked
        inner = self._solve_blocks(rhs)
        shown = stacked.apply(self.theta * (stacked.blocks_transposed @ inner[: stacked.coupling.start]))
        outer = np.zeros_like(rhs)
        outer[self.border] = linalg.cho_solve(self._schur, (rhs - shown)[self.border], check_finite=False)
        back = stacked.blocks @ (self.theta * stacked.apply_transposed(outer))
        return np.asarray(inner + outer - self._solve_blocks(back))

    def _solve_blocks(self, rhs: np.ndarray) -> np.ndarray:
        """M^-1 of the rows of blocks, 0 for those of the border."""
        found = np.zeros(len(self.stacked.row_lower))
        for block in self.blocks:
            if block.rows.stop > block.rows.start:
                found[block.rows] = block.solve(rhs[block.rows])
        return found


def _is_small(family: Family) -> bool:
    """Few members fill no lanes, and blocks without rows and with one port have nothing to eliminate."""
    return len(family.members) < LANES or (not family.shape.rows and family.port_shape.rows == 1)


class _Blocks:
    """Blocks of one family, as many side by side as there are lanes."""

    def __init__(self, family: Family, rows: slice, columns: slice) -> None:
        shape, ports = family.shape, family.port_shape
        self.family, self.rows, self.columns = family, rows, columns
        self.plan = _plan(*(part.tobytes() for part in (shape.start, shape.column, ports.start, ports.column)))
        self.members, self.count = len(family.members), -(-len(family.members) // LANES)
        # members of one group side by side: their answers go to the same place
        self.order = np.argsort(family.group, kind="stable")
        self.group = np.full(self.count * LANES, -1, dtype=np.int64)
        self.group[: self.members] = family.group[self.order]
        self.group = self.group.reshape(self.count, LANES)
        self.value, self.port_value = self._to_lanes(family.value), self._to_lanes(family.port_value)
        self.factor = np.empty((self.count, self.plan.entries, LANES))
        self.answer = np.empty((0, 0, 0))

    def _to_lanes(self, numbers: np.ndarray) -> np.ndarray:
        """(element, member) to (block, element, lane), padded with zeros."""
        wide = np.zeros((len(numbers), self.count * LANES))
        wide[:, : self.members] = numbers[:, self.order]
        return np.ascontiguousarray(wide.reshape(len(numbers), self.count, LANES).transpose(1, 0, 2))

    def load(self, theta: np.ndarray, theta_rows: np.ndarray) -> None:
        """Take weights of columns and rows."""
        self.theta = self._to_lanes(theta[self.columns].reshape(-1, self.members))
        self.theta_rows = self._to_lanes(theta_rows[self.rows].reshape(-1, self.members))

    def eliminate(self, part: int) -> None:
        """Factors of one part of the blocks, and their answers added to those of the part."""
        where = slice(part * self.count // PARTS, (part + 1) * self.count // PARTS)
        eliminate_blocks(
            self.plan, self.value[where], self.port_value[where], self.theta[where], self.theta_rows[where],
            self.group[where], self.factor[where], self.answer[part],
        )  # fmt: skip

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """M^-1 of (row, member) values, flat."""
        lanes = self._to_lanes(rhs.reshape(-1, self.members))
        solve_blocks(self.plan, self.factor, lanes)
        found = np.empty((len(lanes[0]), self.members))
        found[:, self.order] = lanes.transpose(1, 0, 2).reshape(len(found), -1)[:, : self.members]
        return found.ravel()


class _Answers:
    """Answers of the ports of groups, and the rows of the border that see them.

    Families that share their weights share the answers of their groups. Each part of the blocks has its own, so that
    the sum does not depend on which thread is first.
    """

    def __init__(self, weight: sparse.csr_array, groups: int, ports: int, first_row: int) -> None:
        self.pairs = np.zeros((PARTS, groups, ports * (ports + 1) // 2))
        seen = sparse.coo_array(weight)
        port = seen.col % ports
        # a row may see several ports: it then stands once for each of them
        keys, place = np.unique(port * weight.shape[0] + seen.row, return_inverse=True)
        self.port, row = np.divmod(keys, weight.shape[0])
        self.rows = first_row + row
        self.once = len(np.unique(row)) == len(row)
        self.weights = np.zeros((groups, len(keys)))
        np.add.at(self.weights, (seen.col // ports, place), seen.data)
        self.ports, self.start = ports, np.searchsorted(self.port, np.arange(ports + 1))

    def clear(self) -> None:
        """Nothing answered yet."""
        self.pairs[:] = 0.0

    def add_to(self, schur: np.ndarray) -> None:
        """W K W', one port after the other."""
        pairs = self.pairs.sum(axis=0)
        total = np.zeros((len(self.rows), len(self.rows)))
        for a in range(self.ports):
            begin, end = self.start[a], self.start[a + 1]
            if begin < end:
                first = a * (2 * self.ports - a - 1) // 2
                scaled = pairs[:, first + self.port[begin:]] * self.weights[:, begin:]
                total[begin:end, begin:] = self.weights[:, begin:end].T @ scaled
        total = np.triu(total) + np.triu(total, 1).T
        where = (self.rows[:, None], self.rows[None, :])
        if self.once:
            schur[where] += total
        else:
            np.add.at(schur, where, total)


def _group_answers(program: BlockProgram, blocks: list[_Blocks], first_row: int) -> list[_Answers]:
    shared: dict[int, _Answers] = {}
    for block in blocks:
        family = block.family
        weight = next(w for f, w in zip(program.families, program.weights, strict=True) if f is family)
        if id(weight) not in shared:
            shared[id(weight)] = _Answers(weight, family.groups, family.port_shape.rows, first_row)
        block.answer = shared[id(weight)].pairs
    return list(shared.values())


@lru_cache(maxsize=64)
def _plan(start: bytes, column: bytes, port_start: bytes, port_column: bytes) -> EliminationPlan:
    return plan_elimination(*(np.frombuffer(part, dtype=np.int64) for part in (start, column, port_start, port_column)))


def _factorise_symmetric(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Cholesky factors; rows that depend on others get a little weight of their own."""
    size = np.maximum(np.diag(matrix), 1e-300).copy()
    for little in (1e-14, 1e-12, 1e-10, 1e-8):
        matrix[np.diag_indices(len(matrix))] += little * size
        try:
            return linalg.cho_factor(matrix, lower=True, check_finite=False)  # type: ignore[no-any-return]
        except linalg.LinAlgError:
            continue
    raise FloatingPointError("the coupling rows cannot be eliminated")
