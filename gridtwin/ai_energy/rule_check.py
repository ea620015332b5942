"""A statement against a set of rules, field by field, each with its citation."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from gridtwin.ai_energy.quantity import Quantity
from gridtwin.ai_energy.rule_formulas import judge_formula
from gridtwin.ai_energy.rules import Condition, EnergyRuleSet, Rule, list_energy_rules, read_energy_rules
from gridtwin.ai_energy.statement_fields import Group
from gridtwin.ai_energy.statement_values import find_value, in_unit, is_stated, number_text, significant_figures
from gridtwin.ai_energy.workload_statement import WorkloadStatement, hash_fits, parse_statement, read_statement_text

Status = Literal["present", "missing", "wrong unit", "insufficient quality", "not applicable"]
FAULTS: tuple[Status, ...] = ("missing", "wrong unit", "insufficient quality")
"""What keeps a statement from being complete."""
NOT_AVAILABLE = re.compile(
    r"^\s*(n/?\s?a|not available|not known|unknown|none given|[-–])\s*($|[.:;,(]+|because\b)", re.IGNORECASE
)
"""How people write that something is not available; what follows is the reason."""
Verdict = tuple[Status, str]


@dataclass(frozen=True)
class FieldCheck:
    """What one rule says about the statement."""

    rule: str
    title: str
    field: str
    status: Status
    value: str
    kind: str
    why: str
    citation: str
    valid_from: str
    checked: bool


def check_statement(statement: WorkloadStatement, rules: EnergyRuleSet) -> tuple[FieldCheck, ...]:
    """Every rule of a set against a statement, in the order of the set.

    A field that is stated must have a unit that fits, a kind and a boundary that are good
    enough, enough significant figures, and must not contradict the fields that it follows
    from. "Not available" without a reason is missing.
    """
    outside = _not_applicable(statement, rules.applies)
    return tuple(_check_rule(statement, rule, outside) for rule in rules.rules)


def is_complete(checks: Sequence[FieldCheck]) -> bool:
    """Whether nothing is missing, in a wrong unit or of insufficient quality."""
    return not any(check.status in FAULTS for check in checks)


def check_table(checks: Sequence[FieldCheck]) -> pd.DataFrame:
    """One row per rule: `rule, title, field, status, value, kind, why, citation, valid_from, checked`."""
    return pd.DataFrame([asdict(check) for check in checks], columns=list(FieldCheck.__dataclass_fields__))


def find_applicability(statement: WorkloadStatement, rules: EnergyRuleSet) -> str:
    """One sentence on whether the set applies and why; empty where it always does."""
    if not rules.applies:
        return ""
    outside = _not_applicable(statement, rules.applies)
    if outside:
        return f"Not applicable: {outside}"
    return "; ".join(_reason(statement, condition) for condition in rules.applies) + "."


def _check_rule(statement: WorkloadStatement, rule: Rule, outside: str) -> FieldCheck:
    place, value = _answer(statement, rule)
    outside = outside or _not_applicable(statement, rule.when)
    if outside:
        stated = " It is stated all the same." if is_stated(value) else ""
        status, why = "not applicable", outside + stated  # type: tuple[Status, str]
    else:
        status, why = _judge(statement, rule, value)
    return FieldCheck(rule.key, rule.title, place, status, _shown(value, rule), _kinds(value), why, rule.citation,
                      rule.valid_from, bool(rule.checked))  # fmt: skip


def _answer(statement: WorkloadStatement, rule: Rule) -> tuple[str, object]:
    """The first field that answers the rule, and what it says."""
    for place in (rule.field, *rule.alternatives):
        value = find_value(statement, place)
        if is_stated(value):
            return place, value
    return rule.field, find_value(statement, rule.field)


def _judge(statement: WorkloadStatement, rule: Rule, value: object) -> Verdict:
    if isinstance(value, tuple) and "*" in rule.field:
        verdicts = [_judge(statement, rule, part) for part in value]
        bad = [verdict for verdict in verdicts if verdict[0] != "present"]
        return bad[0] if bad else verdicts[0] if verdicts else ("missing", "the list is empty")
    if isinstance(value, Quantity):
        return _judge_quantity(statement, rule, value)
    if isinstance(value, str):
        return _judge_text(rule, value)
    if is_stated(value):
        return "present", ""
    derived = judge_formula(statement, rule, None)
    return "missing", f"nothing is stated; {derived[1]}" if derived else "nothing is stated"


def _judge_text(rule: Rule, text: str) -> Verdict:
    reason = NOT_AVAILABLE.sub("", text)
    if not text.strip() or (reason != text and not reason.strip()):
        return "missing", "no reason is given for what is not available"
    if reason != text:
        return _not_available(rule, reason)
    words = len(text.split())
    if rule.most_words and words > 1.5 * rule.most_words:
        return "insufficient quality", f"{words} words, about {rule.most_words} are asked for"
    return "present", ""


def _not_available(rule: Rule, reason: str) -> Verdict:
    if rule.na_with_reason:
        return "not applicable", f"stated as not available: {reason.strip()}"
    return "missing", f"not available ({reason.strip()}); the rule does not allow for that"


def _judge_quantity(statement: WorkloadStatement, rule: Rule, value: Quantity) -> Verdict:
    if value.is_missing:
        reason = NOT_AVAILABLE.sub("", value.method)
        return _not_available(rule, reason) if reason.strip() else ("missing", "not available, without a reason")
    converted = in_unit(value, rule.unit)
    if converted is None or (rule.strict_unit and converted.p50 != value.p50):
        return "wrong unit", f"expected {rule.unit}, got {value.unit}"
    return (
        _judge_size(rule, converted)
        or _judge_quality(rule, converted)
        or judge_formula(statement, rule, converted)
        or ("present", _converted(rule, value, converted))
    )


def _judge_size(rule: Rule, value: Quantity) -> Verdict | None:
    middle = value.p50 or 0.0
    if rule.at_least is not None and middle < rule.at_least:
        return "insufficient quality", f"below {rule.at_least:g} {rule.unit}"
    if rule.at_most is not None and middle > rule.at_most:
        return "insufficient quality", f"above {rule.at_most:g} {rule.unit}"
    return None


def _judge_quality(rule: Rule, value: Quantity) -> Verdict | None:
    if value.kind not in rule.kinds:
        return "insufficient quality", f"{value.kind}, expected {' or '.join(rule.kinds)}"
    if rule.boundaries and value.boundary not in rule.boundaries:
        return "insufficient quality", f"boundary {value.boundary}, expected {' or '.join(rule.boundaries)}"
    asked = rule.significant_figures
    if asked and value.p2_5 == value.p97_5 and significant_figures(value.p50 or 0.0) < asked and value.p50:
        given = significant_figures(value.p50)
        return "insufficient quality", (
            f"reads as {given} significant figure, at least {asked} are asked for; "
            "an interval shows that the zeros are meant"
        )
    return None


def _converted(rule: Rule, value: Quantity, converted: Quantity) -> str:
    if not rule.unit or value.unit == rule.unit:
        return ""
    return f"stated in {value.unit}, that is {number_text(converted, rule.significant_figures)}"


def _shown(value: object, rule: Rule) -> str:
    if isinstance(value, Quantity):
        return "" if value.is_missing else number_text(value, rule.significant_figures)
    if isinstance(value, Group):
        return ", ".join(str(part) for part in value.model_dump(exclude_none=True).values() if isinstance(part, str))
    if isinstance(value, tuple):
        return "; ".join(_shown(part, rule) for part in value)
    return "" if value is None else textwrap.shorten(str(value), 60, placeholder=" …")


def _kinds(value: object) -> str:
    """Kinds of the quantities of an answer; empty for words."""
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(dict.fromkeys(part.kind for part in parts if isinstance(part, Quantity)))


def _not_applicable(statement: WorkloadStatement, conditions: Sequence[Condition]) -> str:
    """Why it does not apply; empty where it does, or may."""
    failed = [condition for condition in conditions if _holds(statement, condition) is False]
    return "; ".join(
        f"{_reason(statement, condition)}; {condition.otherwise} ({condition.citation})." for condition in failed
    )


def _holds(statement: WorkloadStatement, condition: Condition) -> bool | None:
    """Whether a condition holds; None where what is stated does not tell."""
    declared = find_value(statement, condition.declared) if condition.declared else None
    if isinstance(declared, bool):
        return declared
    value = find_value(statement, condition.field)
    if condition.stated:
        return is_stated(value)
    if not isinstance(value, Quantity) or value.is_missing or condition.at_least is None:
        return None
    converted = in_unit(value, condition.unit)
    return None if converted is None else (converted.p50 or 0.0) >= condition.at_least


def _reason(statement: WorkloadStatement, condition: Condition) -> str:
    declared = find_value(statement, condition.declared) if condition.declared else None
    if isinstance(declared, bool):
        return f"{condition.declared} is declared as {'yes' if declared else 'no'}"
    value = find_value(statement, condition.field)
    if condition.stated:
        return f"{condition.field} is {'stated' if is_stated(value) else 'not stated'}"
    if isinstance(value, Quantity) and not value.is_missing:
        least = f"{condition.at_least:g}".replace("e+", "e")
        sign = "at least" if _holds(statement, condition) else "below"
        return f"{condition.field} {number_text(value)} is {sign} {least} {condition.unit}"
    return f"{condition.field} is not stated, so the rules are taken to apply"


def check_statement_file(path: str | Path, rules: str | Sequence[str] | None = None) -> tuple[str, bool]:
    """Check a statement file against rule sets.

    Parameters
    ----------
    path : str or Path
        A statement in JSON.
    rules : str or sequence of str, optional
        Names of shipped rule sets, or paths of own ones; all shipped sets by default.

    Returns
    -------
    text : str
        A table for the terminal.
    complete : bool
        Whether nothing is missing, in a wrong unit or of insufficient quality.

    Raises
    ------
    DataError
        If the file cannot be read or there is no such rule set.
    """
    names = [rules] if isinstance(rules, str) else rules or list_energy_rules()
    sets = [read_energy_rules(name) for name in names]
    text = read_statement_text(path)
    statement = parse_statement(text, str(path))
    checks = [check_statement(statement, rule_set) for rule_set in sets]
    parts = [check_text(statement, rule_set, checked) for rule_set, checked in zip(sets, checks, strict=True)]
    if hash_fits(text) is False:
        parts.append("The content was changed after its hash was made.")
    return "\n\n".join(parts), all(map(is_complete, checks))


def check_text(statement: WorkloadStatement, rules: EnergyRuleSet, checks: Sequence[FieldCheck]) -> str:
    """The checks as lines of text, faults first, with a summary at the end."""
    unread = "" if rules.checked else " The text was not read in full: confirm it before you rely on it."
    head = [f"{rules.title} ({rules.name}, version {rules.version}, valid from {rules.valid_from}).{unread}"]
    applicability = find_applicability(statement, rules)
    order = {status: place for place, status in enumerate((*FAULTS, "present", "not applicable"))}
    lines = [_line(check) for check in sorted(checks, key=lambda check: order[check.status])]
    return "\n".join([*head, *([applicability] if applicability else []), "", *lines, "", summary_line(checks)])


def _line(check: FieldCheck) -> str:
    value = f" = {', '.join(filter(None, (check.value, check.kind)))}" if check.value else ""
    why = f"\n{'':22}{check.why}" if check.why and check.status != "not applicable" else ""
    return f"{check.status:<21} {check.field}{value}\n{'':22}{check.title} [{check.citation}]{why}"


def summary_line(checks: Sequence[FieldCheck]) -> str:
    """How many rules have which status, and whether the statement is complete."""
    counts = Counter(check.status for check in checks)
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    if set(counts) == {"not applicable"}:
        return f"{words}: nothing is asked for."
    return f"{words}: {'complete' if is_complete(checks) else 'not complete'}."
