"""One pass over all bounded values of an interior-point method, for each thing that an iteration asks of them.

A value between bounds has room down to the lower and up to the upper one, infinite where there is none and both 0
where it is fixed. Rooms are kept beside the value: near a bound their difference would be rounding. Each finite
room has a multiplier, a below and b above. numpy would take ten passes over memory where one is enough.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REGULARISATION = 1e-12
"""Stiffness of a value that no bound holds."""


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def weigh(down: Floats, up: Floats, a: Floats, b: Floats, theta: Floats) -> tuple[float, int]:
    """Theta = 1 / (a / (v - l) + b / (u - v)); returns the sum of products of room and multiplier, and their number."""
    total, count = 0.0, 0
    for n in range(len(down)):
        if down[n] == 0.0:
            theta[n] = 0.0
            continue
        stiffness = REGULARISATION
        if down[n] < np.inf:
            room = down[n]
            stiffness += a[n] / room
            total += a[n] * room
            count += 1
        if up[n] < np.inf:
            room = up[n]
            stiffness += b[n] / room
            total += b[n] * room
            count += 1
        theta[n] = 1.0 / stiffness
    return total, count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def centre(
    down: Floats,
    up: Floats,
    reduced: Floats,
    mu: float,
    move: Floats,
    da: Floats,
    db: Floats,
    second: bool,
    out: Floats,
) -> None:
    """Reduced cost less what centring asks for: r - (mu - dv da) / down + (mu + dv db) / up; 0 where fixed.

    The products of a first direction `move, da, db` count where `second` is true.
    """
    for n in range(len(down)):
        if down[n] == 0.0:
            out[n] = 0.0
            continue
        r = reduced[n]
        if down[n] < np.inf:
            wanted = mu - (move[n] * da[n] if second else 0.0)
            r -= wanted / down[n]
        if up[n] < np.inf:
            wanted = mu + (move[n] * db[n] if second else 0.0)
            r += wanted / up[n]
        out[n] = r


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def follow(
    down: Floats,
    up: Floats,
    a: Floats,
    b: Floats,
    mu: float,
    move: Floats,
    first: Floats,
    da: Floats,
    db: Floats,
    second: bool,
) -> tuple[float, float]:
    """Changes of the multipliers that go with a move, and the longest primal and dual step.

    Where `second` is true `da` and `db` hold those of the first direction `first`, and are written over.
    """
    longest_p, longest_d = np.inf, np.inf
    for n in range(len(down)):
        low, high = 0.0, 0.0
        if down[n] > 0.0:
            if down[n] < np.inf:
                room = down[n]
                wanted = mu - (first[n] * da[n] if second else 0.0)
                low = (wanted - a[n] * move[n]) / room - a[n]
                if move[n] < 0.0:
                    longest_p = min(longest_p, -room / move[n])
                if low < 0.0:
                    longest_d = min(longest_d, -a[n] / low)
            if up[n] < np.inf:
                room = up[n]
                wanted = mu + (first[n] * db[n] if second else 0.0)
                high = (wanted + b[n] * move[n]) / room - b[n]
                if move[n] > 0.0:
                    longest_p = min(longest_p, room / move[n])
                if high < 0.0:
                    longest_d = min(longest_d, -b[n] / high)
        da[n], db[n] = low, high
    return longest_p, longest_d


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def look_ahead(
    down: Floats,
    up: Floats,
    a: Floats,
    b: Floats,
    move: Floats,
    da: Floats,
    db: Floats,
    along_p: float,
    along_d: float,
) -> float:
    """Sum of products of room and multiplier after a step."""
    total = 0.0
    for n in range(len(down)):
        if down[n] > 0.0:
            if down[n] < np.inf:
                total += (down[n] + along_p * move[n]) * (a[n] + along_d * da[n])
            if up[n] < np.inf:
                total += (up[n] - along_p * move[n]) * (b[n] + along_d * db[n])
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def advance(
    value: Floats,
    down: Floats,
    up: Floats,
    a: Floats,
    b: Floats,
    move: Floats,
    da: Floats,
    db: Floats,
    along_p: float,
    along_d: float,
) -> None:
    """Take a step."""
    for n in range(len(value)):
        step = along_p * move[n]
        value[n] += step
        if down[n] > 0.0:
            down[n] += step
            up[n] -= step
            a[n] += along_d * da[n]
            b[n] += along_d * db[n]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sum_at_bounds(reduced: Floats, lower: Floats, upper: Floats, cost: Floats) -> float:
    """Reduced costs times the bound that their sign points to; minus infinity where it is infinite.

    A reduced cost that points to no bound counts as rounding while it is below 1e-7 of its cost.
    """
    total = 0.0
    for n in range(len(reduced)):
        r = reduced[n]
        bound = lower[n] if r > 0.0 else upper[n]
        if abs(bound) < np.inf:
            total += r * bound
        elif abs(r) > 1e-7 * (1.0 + abs(cost[n])):
            return -np.inf
    return total
