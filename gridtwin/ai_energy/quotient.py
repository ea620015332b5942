"""Quotients of quantities, and checks of the numbers that go into them: faults are findings, raised at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from gridtwin.ai_energy.quantity import Boundary, Quantity, multiply
from gridtwin.errors import DataError, Finding, raise_errors


def require_numbers(*, above: float | None = None, at_least: float | None = None, at_most: float | None = None,
                    **values: ArrayLike) -> None:  # fmt: skip
    """Raise where a number or an array is not finite or out of its range.

    Parameters
    ----------
    above, at_least, at_most : float, optional
        Range of all of them.
    **values : numeric
        By name, unit last.

    Raises
    ------
    DataError
        With one finding per name.
    """
    limits: Mapping[str, float | None] = {"above": above, "at least": at_least, "at most": at_most}
    expected = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
    findings = []
    for name, value in values.items():
        array = np.asarray(value, dtype=float)
        good = np.isfinite(array)
        good &= True if above is None else array > above
        good &= True if at_least is None else array >= at_least
        good &= True if at_most is None else array <= at_most
        if not good.all():
            findings.append(Finding("number is out of its range", where=name, expected=expected or "finite",
                                    got=f"{array[~good].flat[0]:g}", severity="error", code="GT-E60"))  # fmt: skip
    raise_errors(findings, DataError)


def require_boundary(quantity: Quantity, boundary: Boundary, name: str) -> None:
    """Raise where a quantity counts something else.

    Raises
    ------
    DataError
        If its boundary is another one.
    """
    if quantity.boundary != boundary:
        raise DataError([Finding("counts something else", where=name, expected=f"boundary {boundary}",
                                 got=str(quantity.boundary), do="Convert it by a BoundaryStep.", severity="error",
                                 code="GT-E61")])  # fmt: skip


def divide(one: Quantity, other: Quantity, unit: str, *, boundary: Boundary | None = None) -> Quantity:
    """Quotient of two quantities with independent errors, the second one above 0.

    Parameters
    ----------
    one, other : Quantity
        Numerator and denominator.
    unit : str
        Unit of the quotient of the values as they are: the caller has made them fit.
    boundary : str, optional
        What the quotient counts.

    Raises
    ------
    DataError
        If the interval of the denominator reaches 0.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> energy, tokens = (exact(v, u, kind="declared", method="example") for v, u in ((6.0, "J"), (3.0, "token")))
    >>> divide(energy, tokens, "J/token").p50
    2.0
    """
    return multiply(one, reciprocal(other), unit, boundary=boundary)


def reciprocal(quantity: Quantity) -> Quantity:
    """One divided by a quantity; the ends of its interval change sides.

    Raises
    ------
    DataError
        If its interval reaches 0.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import with_interval
    >>> reciprocal(with_interval(2.0, 0.5, 1.0, "s", kind="declared", method="example")).ends
    (0.25, 0.5, 1.0)
    """
    low, middle, high = quantity.ends
    if low is None or middle is None or high is None:
        return quantity.model_copy(update={"unit": f"1/{quantity.unit}"})
    if low <= 0 or math.isinf(1 / low):
        raise DataError([Finding("nothing can be divided by it", where=quantity.method, expected="an interval above 0",
                                 got=f"{low:g} {quantity.unit}", severity="error", code="GT-E62")])  # fmt: skip
    ends = {"p2_5": 1 / high, "p50": 1 / middle, "p97_5": 1 / low}
    return quantity.model_copy(update={**ends, "unit": f"1/{quantity.unit}"})


def ends_of(quantity: Quantity) -> tuple[float, float, float]:
    """Lower end, middle and upper end of a quantity that is there.

    Raises
    ------
    DataError
        If it is missing.
    """
    low, middle, high = quantity.ends
    if low is None or middle is None or high is None:
        raise DataError([Finding("a value is needed here", where=quantity.method, got="missing", severity="error",
                                 code="GT-E63")])  # fmt: skip
    return low, middle, high
