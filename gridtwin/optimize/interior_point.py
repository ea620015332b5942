"""A primal-dual interior-point method for block programs.

Simplex and general interior-point codes see one large matrix. Here the work of an iteration is a
pass over all devices, eight side by side, and one dense factorisation as large as the number of
coupling rows: it grows with the devices as a straight line, and what is congested costs nothing more.
The bound that it reports is one of weak duality, computed from the duals alone.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from gridtwin.kernels.interior_point import advance, centre, follow, look_ahead, sum_at_bounds, weigh
from gridtwin.optimize.block_factor import BlockFactor
from gridtwin.optimize.block_program import BlockProgram
from gridtwin.optimize.stacked_program import StackedProgram, stack_program

ITERATIONS = 100
"""Iterations at most; 20 to 45 are usual."""
FREE = 1e5
"""A column without bounds is held within this. [kW], [kWh], [K]"""
STEP_TO_BOUND = 0.9995
"""Share of the way to the nearest bound that a step goes. [-]"""
PRIMAL_TOLERANCE = 1e-8
"""Largest miss of a row, relative to the largest right-hand side. [-]"""
PATIENCE = 25
"""Iterations without progress after which it is stalled."""


@dataclass(frozen=True)
class BlockSolution:
    """What the method found.

    Parameters
    ----------
    x : tuple of ndarray, (column, member)
        Columns of every family.
    coupling_dual : ndarray, (coupling row,)
        What the objective gains per unit of each coupling row's bound.
    row_dual : tuple of ndarray, (row, member)
        The same of the rows of every family.
    objective, lower_bound : float
        Objective, and what no solution can be below, by weak duality.
    largest_violation : float
        Largest miss of a row; bounds hold exactly.
    iterations : int
        Factorisations.
    status : str
        "optimal", "iteration limit", "time limit" or "stalled".
    seconds : float
        Time taken. [s]
    """

    x: tuple[np.ndarray, ...]
    coupling_dual: np.ndarray
    row_dual: tuple[np.ndarray, ...]
    objective: float
    lower_bound: float
    largest_violation: float
    iterations: int
    status: str
    seconds: float

    @property
    def gap(self) -> float:
        """Distance to the bound, relative to the objective. [-]"""
        return (self.objective - self.lower_bound) / max(1.0, abs(self.objective))


def solve_interior_point(
    program: BlockProgram, *, relative_gap: float = 1e-5, time_limit_seconds: float = 60.0, threads: int = 2
) -> BlockSolution:
    """Solve the continuous program of all families and coupling rows.

    Parameters
    ----------
    program : BlockProgram
        What is solved; whole numbers are not asked for.
    relative_gap : float
        Gap between objective and bound at which it is done. [-]
    time_limit_seconds : float
        When the best point so far is returned. [s]
    threads : int
        Threads that share the blocks; the result does not depend on it.

    Notes
    -----
    Predictor and corrector of S. Mehrotra, SIAM J. Optim. 2(4), 1992, doi:10.1137/0802028, with bounds on both
    sides of columns and rows.
    """
    begin = time.monotonic()
    # the dense part is small: more threads of the linear algebra wait for each other, and round differently
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(limits=1):
        stacked = stack_program(program, pool)
        method = _InteriorPoint(stacked, BlockFactor(stacked))
        status = method.run(relative_gap, begin + time_limit_seconds)
        return _finish(method, status, begin)


def _finish(method: _InteriorPoint, status: str, begin: float) -> BlockSolution:
    stacked, y = method.stacked, method.y
    x = np.clip(method.x.value, stacked.lower, stacked.upper)
    activity = stacked.apply(x)
    miss = np.maximum(stacked.row_lower - activity, activity - stacked.row_upper)
    bound = bound_by_duals(stacked, y, stacked.apply_transposed(_signed(stacked, y)))
    return BlockSolution(
        x=stacked.split(x),
        coupling_dual=y[stacked.coupling],
        row_dual=stacked.split_rows(y),
        objective=float(stacked.cost @ x) + stacked.constant,
        lower_bound=bound + stacked.constant,
        largest_violation=float(miss.max(initial=0.0)),
        iterations=method.iterations,
        status=status,
        seconds=time.monotonic() - begin,
    )


def bound_by_duals(stacked: StackedProgram, dual: np.ndarray, seen: np.ndarray) -> float:
    """What no solution can be below, whatever the duals are, without the constant.

    Parameters
    ----------
    dual : ndarray, (row,)
        Duals of the rows.
    seen : ndarray, (column,)
        A' times the duals, each with a sign that points to a bound.

    Notes
    -----
    y b + d l (or u) with reduced costs d = c - A'y, each at the bound that its sign points to.
    """
    signed = _signed(stacked, dual)
    of_rows = sum_at_bounds(signed, stacked.row_lower, stacked.row_upper, np.ones_like(signed))
    return float(of_rows + sum_at_bounds(stacked.cost - seen, stacked.lower, stacked.upper, stacked.cost))


def _signed(stacked: StackedProgram, dual: np.ndarray) -> np.ndarray:
    """Duals of which each points to a bound: those that do not are 0."""
    signed = np.where(np.isinf(stacked.row_lower), np.minimum(dual, 0.0), dual)
    return np.where(np.isinf(stacked.row_upper), np.maximum(signed, 0.0), signed)


class _Boxed:
    """Values between bounds with a multiplier for each bound, and a direction for all three."""

    def __init__(self, value: np.ndarray, lower: np.ndarray, upper: np.ndarray, multiplier: np.ndarray) -> None:
        width = upper - lower
        margin = np.minimum(0.25 * np.where(np.isfinite(width), width, np.inf), 1.0 + 0.1 * np.abs(value))
        moves = width > 0
        self.value = np.where(moves, np.clip(value, lower + margin, upper - margin), lower)
        self.down, self.up = (np.where(moves, room, 0.0) for room in (self.value - lower, upper - self.value))
        self.at_lower = np.where(np.isfinite(lower) & moves, multiplier, 0.0)
        self.at_upper = np.where(np.isfinite(upper) & moves, multiplier, 0.0)
        self.theta, self.move, self.centred = np.empty_like(value), np.zeros_like(value), np.empty_like(value)
        self.da, self.db = np.zeros_like(value), np.zeros_like(value)

    def weigh(self) -> tuple[float, int]:
        """Weights of the values; sum of products of room and multiplier, and their number."""
        return weigh(self.down, self.up, self.at_lower, self.at_upper, self.theta)  # type: ignore[no-any-return]

    def centre(self, reduced: np.ndarray, mu: float, *, second: bool) -> np.ndarray:
        """Reduced costs less what centring asks for."""
        centre(
            self.down, self.up, reduced, mu, self.move, self.da, self.db, second, self.centred
        )  # fmt: skip
        return self.centred

    def follow(self, move: np.ndarray, mu: float, *, second: bool) -> tuple[float, float]:
        """Set the direction; the longest primal and dual step along it."""
        longest = follow(
            self.down, self.up, self.at_lower, self.at_upper, mu, move, self.move, self.da, self.db,
            second,
        )  # fmt: skip
        self.move = move
        return longest  # type: ignore[no-any-return]

    def look_ahead(self, along_p: float, along_d: float) -> float:
        """Sum of products of room and multiplier after a step."""
        return look_ahead(  # type: ignore[no-any-return]
            self.down, self.up, self.at_lower, self.at_upper, self.move, self.da, self.db, along_p,
            along_d,
        )  # fmt: skip

    def advance(self, along_p: float, along_d: float) -> None:
        """Take a step along the direction."""
        advance(
            self.value, self.down, self.up, self.at_lower, self.at_upper, self.move, self.da, self.db, along_p, along_d
        )


class _InteriorPoint:
    """State and iterations: columns x, activities w of the rows, duals y of the rows."""

    def __init__(self, stacked: StackedProgram, factor: BlockFactor) -> None:
        self.stacked, self.factor, self.iterations = stacked, factor, 0
        self.x, self.w = self._start()
        self.y = np.zeros(len(stacked.row_lower))
        finite = [np.abs(part[np.isfinite(part)]).max(initial=0.0) for part in (stacked.row_lower, stacked.row_upper)]
        self.rhs_scale = 1 + max(finite)

    def _start(self) -> tuple[_Boxed, _Boxed]:
        """Columns in the middle of their bounds, moved as little as possible to meet the rows, then well inside."""
        stacked = self.stacked
        free = np.isinf(stacked.lower) & np.isinf(stacked.upper)
        lower, upper = np.where(free, -FREE, stacked.lower), np.where(free, FREE, stacked.upper)
        both = np.isfinite(lower) & np.isfinite(upper)
        with np.errstate(invalid="ignore"):
            middle = np.where(both, (lower + upper) / 2, np.where(np.isfinite(lower), lower + 1, upper - 1))
            theta = np.where(both, np.minimum(1.0, upper - lower) ** 2, 1.0)
        activity = stacked.apply(middle)
        wanted = np.clip(activity, stacked.row_lower, stacked.row_upper)
        self.factor.factorise(theta, np.where(stacked.row_upper > stacked.row_lower, 1.0, 0.0))
        moved = middle + theta * self.factor.solve(wanted - activity)[1]
        moves = upper > lower
        scale = float(np.mean(np.abs(stacked.cost[moves]))) if moves.any() else 1.0
        x = _Boxed(moved, lower, upper, np.maximum(np.abs(stacked.cost), scale))
        activity = stacked.apply(x.value)
        return x, _Boxed(activity, stacked.row_lower, stacked.row_upper, np.full(len(activity), scale))

    def run(self, relative_gap: float, deadline: float) -> str:
        """Iterate until the gap is closed; the word for how it ended."""
        best, waited = np.inf, 0
        for self.iterations in range(1, ITERATIONS + 1):
            primal = self.w.value - self.stacked.apply(self.x.value)
            seen = self.stacked.apply_transposed(self.y)
            missed, gap = float(np.abs(primal).max(initial=0.0)) / self.rhs_scale, self._gap(seen)
            if missed < PRIMAL_TOLERANCE and gap < relative_gap:
                return "optimal"
            if time.monotonic() > deadline:
                return "time limit"
            waited = waited + 1 if max(gap, missed) > 0.9 * best else 0
            best = min(best, max(gap, missed))
            if waited > PATIENCE:
                return "stalled"
            self._iterate(primal, self.stacked.cost - seen)
        return "iteration limit"

    def _gap(self, seen: np.ndarray) -> float:
        """Relative gap between objective and certified bound."""
        stacked = self.stacked
        objective, bound = float(stacked.cost @ self.x.value), bound_by_duals(stacked, self.y, self._certified(seen))
        return (objective - bound) / max(1.0, abs(objective + stacked.constant)) if np.isfinite(bound) else np.inf

    def _certified(self, seen: np.ndarray) -> np.ndarray:
        """A' times duals that point to a bound; those inside the method do so but for rounding."""
        signed = _signed(self.stacked, self.y)
        return seen if np.array_equal(signed, self.y) else self.stacked.apply_transposed(signed)

    def _iterate(self, primal: np.ndarray, reduced: np.ndarray) -> None:
        x, w = self.x, self.w
        (product_x, count_x), (product_w, count_w) = x.weigh(), w.weigh()
        self.factor.factorise(x.theta, w.theta)
        count, product = max(1, count_x + count_w), product_x + product_w
        along_p, along_d = self._aim(primal, reduced, 0.0, second=False)
        along_p, along_d = min(1.0, along_p), min(1.0, along_d)
        ahead = x.look_ahead(along_p, along_d) + w.look_ahead(along_p, along_d)
        sigma = min(1.0, max(0.0, ahead / product)) ** 3 if product > 0 else 0.0
        longest = self._aim(primal, reduced, sigma * product / count, second=True)
        along_p, along_d = (min(1.0, STEP_TO_BOUND * length) for length in longest)
        x.advance(along_p, along_d)
        w.advance(along_p, along_d)
        self.y = self.y + along_d * self.dy

    def _aim(self, primal: np.ndarray, reduced: np.ndarray, mu: float, *, second: bool) -> tuple[float, float]:
        """Newton's direction towards products of `mu`; the longest primal and dual step along it."""
        x, w = self.x, self.w
        r_x, r_w = x.centre(reduced, mu, second=second), w.centre(self.y, mu, second=second)
        self.dy, seen = self.factor.solve(primal + self.stacked.apply(x.theta * r_x) - w.theta * r_w)
        of_x = x.follow(x.theta * (seen - r_x), mu, second=second)
        of_w = w.follow(w.theta * (-self.dy - r_w), mu, second=second)
        return min(of_x[0], of_w[0]), min(of_x[1], of_w[1])
