"""Values that follow from others: a stated one must not contradict them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from gridtwin.ai_energy.quantity import Quantity
from gridtwin.ai_energy.rules import Rule
from gridtwin.ai_energy.statement_values import figures_text, find_value, in_unit, unit_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement

TOLERANCE = 0.06
"""How far a stated value may lie from the calculated one: rounding to two figures moves up to 5 %. [-]"""
Fault = tuple[Literal["wrong unit", "insufficient quality"], str]


def _ratio(values: Sequence[float]) -> float:
    return values[0] / values[1]


def _embodied(values: Sequence[float]) -> float:
    """M = TE (TiR / EL) (RR / ToR), ISO/IEC 21031."""
    total, reserved, lifespan, share, resources = values
    return total * reserved / lifespan * share / resources


def _score(values: Sequence[float]) -> float:
    """SCI = (E I + M) / R, ISO/IEC 21031."""
    energy, intensity, embodied, units = values
    return (energy * intensity + embodied) / units


FORMULAS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "ratio": _ratio,
    "sum": math.fsum,
    "embodied": _embodied,
    "score": _score,
}


def judge_formula(statement: WorkloadStatement, rule: Rule, value: Quantity | None) -> Fault | None:
    """What is wrong with a value that follows from others; for no value, what it would be."""
    if rule.formula is None:
        return None
    inputs = {place: find_value(statement, place) for place in rule.of}
    absent = [place for place, given in inputs.items() if not isinstance(given, Quantity) or given.is_missing]
    if absent:
        return "insufficient quality", f"cannot be traced: it needs {', '.join(absent)}"
    values = [_middle(inputs[place], unit) for place, unit in zip(rule.of, rule.of_units, strict=True)]
    if None in values:
        return "wrong unit", f"cannot be traced: {', '.join(rule.of)} are needed in {', '.join(rule.of_units)}"
    return _compare(rule, [number for number in values if number is not None], value)


def _middle(given: object, unit: str) -> float | None:
    converted = in_unit(given, unit) if isinstance(given, Quantity) else None
    return None if converted is None else converted.p50


def _compare(rule: Rule, values: Sequence[float], value: Quantity | None) -> Fault | None:
    words = f"{rule.formula} of {', '.join(rule.of)} in {', '.join(rule.of_units)}"
    try:
        expected = FORMULAS[rule.formula or ""](values)
    except ZeroDivisionError:
        return "insufficient quality", f"cannot be traced: the {words} divides by 0"
    text = f"{figures_text(expected)} {unit_text(rule.unit)}".strip()
    if value is None:
        return "insufficient quality", f"it would be {text}, the {words}"
    if math.isclose(value.p50 or 0.0, expected, rel_tol=TOLERANCE, abs_tol=1e-12):
        return None
    thousands = _thousands(value.p50 or 0.0, expected)
    if thousands:
        return "wrong unit", f"{1000**thousands:g} times away from {text}, the {words}: is a prefix of a unit wrong?"
    return "insufficient quality", f"contradicts {text}, the {words}"


def _thousands(stated: float, expected: float) -> int:
    """Power of 1000 between two numbers; 0 where it is none."""
    if stated <= 0 or expected <= 0:
        return 0
    power = math.log(stated / expected, 1000)
    near = round(power)
    return abs(near) if abs(power - near) * math.log(1000) < TOLERANCE else 0
