"""Rules about what a statement must say: data with a source, a version and a citation, never code.

The shipped sets are the files of `gridtwin/ai_energy/rule_sets/`; an own set is a file of
the same form. A rule is known by its key and by the field of the statement, never by the
symbol of the legal text, because some symbols are used twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from gridtwin.ai_energy.quantity import Boundary, Kind
from gridtwin.errors import DataError
from gridtwin.rule_file import RuleCodes, RuleFolder

Formula = Literal["ratio", "sum", "embodied", "score"]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Condition(_Data):
    """When a rule or a set applies; what is not stated cannot rule it out."""

    field: str
    """Field that decides."""
    unit: str = ""
    """Unit of the threshold."""
    at_least: float | None = None
    """Smallest value for which it applies."""
    stated: bool = False
    """It applies where the field is stated."""
    declared: str = ""
    """A yes-or-no field that decides first, where it is stated."""
    otherwise: str
    """What holds where it does not apply."""
    citation: str
    """Where the condition comes from."""


class Rule(_Data):
    """One thing that must be stated."""

    key: str
    """Name of the rule, once in its set."""
    title: str
    """What is asked for."""
    field: str
    """Field of the statement; `*` stands for every part of a list."""
    alternatives: tuple[str, ...] = ()
    """Fields that answer it too, in this order."""
    symbol: str = ""
    """Symbol in the legal text, for readers only."""
    unit: str = ""
    """Unit that it is asked for in."""
    strict_unit: bool = False
    """A unit that differs by a factor is wrong, even though it could be converted."""
    kinds: tuple[Kind, ...] = ("measured", "calculated", "estimated", "declared")
    """Kinds of quantities that are good enough."""
    boundaries: tuple[Boundary, ...] = ()
    """Boundaries that it may be stated for; empty where any will do."""
    significant_figures: int = 0
    """Fewest significant figures; 0 where nothing is said."""
    at_least: float | None = None
    """Smallest possible value."""
    at_most: float | None = None
    """Largest possible value."""
    most_words: int = 0
    """About how many words a text may have; 0 where nothing is said."""
    na_with_reason: bool = False
    """"Not available" is an answer where it says why."""
    formula: Formula | None = None
    """How the value follows from other fields."""
    of: tuple[str, ...] = ()
    """Those fields."""
    of_units: tuple[str, ...] = ()
    """Their units in the formula."""
    when: tuple[Condition, ...] = ()
    """When it applies."""
    note: str = ""
    """What to know."""
    citation: str
    """Article, annex and point."""
    valid_from: str = ""
    """Date from which it holds; that of the set by default."""
    checked: bool | None = None
    """Whether it was read in the text of the law or specification itself; that of the set by default."""

    @model_validator(mode="after")
    def _formula_is_whole(self) -> Self:
        if len(self.of) != len(self.of_units) or bool(self.of) != (self.formula is not None):
            raise ValueError("a formula needs its fields in `of` and a unit for each in `of_units`")
        return self


class EnergyRuleSet(_Data):
    """Everything that one law, form or scheme asks for."""

    name: str
    """Name of the set, that of its file."""
    title: str
    """Heading in reports."""
    source: str
    """The document."""
    version: str
    """Version of the set; change it with every change of a rule."""
    valid_from: str
    """Date from which the document holds."""
    checked: bool
    """Whether its text itself was read."""
    note: str = ""
    """What a reader of the results must know."""
    applies: tuple[Condition, ...] = ()
    """When the set applies at all."""
    rule: tuple[Rule, ...]
    """The rules."""

    @model_validator(mode="after")
    def _keys_are_unique(self) -> Self:
        keys = [rule.key for rule in self.rule]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"keys used twice: {', '.join(twice)}")
        return self

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, with date and mark of the set where they have none of their own."""
        return tuple(
            rule.model_copy(
                update={
                    "valid_from": rule.valid_from or self.valid_from,
                    "checked": self.checked if rule.checked is None else rule.checked,
                }
            )
            for rule in self.rule
        )


CODES = RuleCodes("GT-S70", "GT-S71", *("GT-S72",) * 4)
SHIPPED = RuleFolder(EnergyRuleSet, "gridtwin.ai_energy", "rule_sets", "rule set", CODES, where="rules",
                     unknown_error=DataError)  # fmt: skip
"""The sets that ship with the package."""


def list_energy_rules() -> list[str]:
    """Names of the shipped sets."""
    return SHIPPED.names()


def read_energy_rules(name_or_path: str | Path) -> EnergyRuleSet:
    """A shipped set by its name, or an own one by the path of its `.toml` file.

    Raises
    ------
    DataError
        If there is no such set, with the nearest names; if the file is not a rule set.
    """
    return SHIPPED.read(name_or_path)
