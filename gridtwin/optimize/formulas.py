"""Many numbers as functions of parameters: Pyomo expressions read once, evaluated by numpy for all members."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr import numeric_expr

from gridtwin.errors import DataError, Finding


class Formulas:
    """Many numbers as functions of the parameters of a device.

    Most are constants or one parameter times a constant and come from one indexed product;
    the rest are short formulas. Formulas that differ only in which parameters they take, such as
    those of all steps, are evaluated together.
    """

    def __init__(self, expressions: Iterable[Any], place: Mapping[int, int]) -> None:
        rows = [_read_formula(expression, place) for expression in expressions]
        self.constant = np.array([row.constant for row in rows], dtype=float)
        self.factor = np.array([row.factor for row in rows], dtype=float)
        self.parameter = np.array([row.parameter for row in rows], dtype=np.int64)
        patterns: dict[str, list[tuple[int, list[int]]]] = {}
        for position, row in enumerate(rows):
            if row.source:
                pattern, taken = _split_pattern(row.source)
                patterns.setdefault(pattern, []).append((position, taken))
        self.formulas: list[tuple[CodeType, np.ndarray, np.ndarray]] = [
            (
                compile(pattern, f"<formula {pattern}>", "eval"),
                np.array([position for position, _ in uses]),
                np.array([taken for _, taken in uses]),
            )
            for pattern, uses in patterns.items()
        ]

    def evaluate(self, values: np.ndarray) -> np.ndarray:
        """Numbers of every member from its parameters, (parameter, member) to (number, member)."""
        numbers = np.repeat(self.constant[:, None], values.shape[1], axis=1)
        (simple,) = np.nonzero(self.factor)
        numbers[simple] += self.factor[simple, None] * values[self.parameter[simple]]
        scope = {"exp": np.exp, "sqrt": np.sqrt, "log": np.log, "__builtins__": {}}
        for code, where, taken in self.formulas:
            parameters = {f"v{k}": values[taken[:, k]] for k in range(taken.shape[1])}
            numbers[where] = eval(code, scope | parameters)
        return numbers


def _split_pattern(source: str) -> tuple[str, list[int]]:
    """A formula with its parameters numbered from 0, and which those are.

    >>> _split_pattern("(v[7]*(1.0-v[3]))")
    ('(v0*(1.0-v1))', [7, 3])
    """
    taken: list[int] = []

    def number(match: re.Match[str]) -> str:
        taken.append(int(match[1]))
        return f"v{len(taken) - 1}"

    return re.sub(r"v\[(\d+)\]", number, source), taken


@dataclass(frozen=True)
class _Formula:
    """`constant + factor parameter`, or a source text."""

    constant: float = 0.0
    factor: float = 0.0
    parameter: int = 0
    source: str = ""


def _read_formula(expression: Any, place: Mapping[int, int]) -> _Formula:
    if expression is None:
        return _Formula(constant=np.nan)
    if isinstance(expression, (int, float)):
        return _Formula(constant=float(expression))
    if id(expression) in place:
        return _Formula(factor=1.0, parameter=place[id(expression)])
    source, names = _source_of(expression, place), set[int]()
    _collect(expression, place, names)
    if not names:
        return _Formula(constant=float(pyo.value(expression)))
    return _Formula(source=source)


def _collect(expression: Any, place: Mapping[int, int], names: set[int]) -> None:
    if id(expression) in place:
        names.add(place[id(expression)])
    for part in getattr(expression, "args", ()) if _is_formula(expression) else ():
        _collect(part, place, names)


def _is_formula(expression: Any) -> bool:
    return bool(getattr(expression, "is_expression_type", lambda: False)())


def _source_of(expression: Any, place: Mapping[int, int]) -> str:
    """Python text of a Pyomo expression of parameters and numbers."""
    if isinstance(expression, (int, float)):
        return repr(float(expression))
    if id(expression) in place:
        return f"v[{place[id(expression)]}]"
    if not _is_formula(expression):
        return repr(float(pyo.value(expression)))
    parts = [_source_of(part, place) for part in expression.args]
    for node, text in _NODES.items():
        if isinstance(expression, node):
            return f"({text.join(parts)})"
    if isinstance(expression, numeric_expr.NegationExpression):
        return f"(-{parts[0]})"
    if isinstance(expression, numeric_expr.UnaryFunctionExpression):
        return f"{expression.name}({parts[0]})"
    raise DataError(
        [
            Finding(
                "a template uses a formula that cannot be read",
                expected="sums, products, quotients, powers, exp, sqrt or log of parameters",
                got=str(expression),
                severity="error",
            )
        ]
    )


_NODES = {
    numeric_expr.ProductExpression: "*",
    numeric_expr.DivisionExpression: "/",
    numeric_expr.PowExpression: "**",
    numeric_expr.SumExpression: "+",
}
