"""Rules of voltage and loading: data with a source and a version, never code.

The shipped sets are the files of `gridtwin/data/rule_sets/`; an operator's own
set is a file of the same form. Standards are paid documents, so the numbers
were not copied from them: each rule names where its number comes from, and
whoever answers for the network confirms it.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from gridtwin.errors import DataError, Finding, ScenarioError
from gridtwin.scenario_section import Section

Positive = Annotated[float, Field(gt=0)]
RULE_FOLDER = "rule_sets"
LOADING_TOLERANCE_PERCENT = 1e-3
"""A schedule may use a limit to the full; what the solver's tolerance adds is no congestion. [%]"""
VOLTAGE_TOLERANCE_PU = 1e-6
"""The same for voltages. [pu]"""


class VoltageRule(Section):
    """A voltage band for the buses of one voltage level, and for which share of the time it must hold."""

    name: str
    """Name in tables."""
    kind: Literal["planning", "statistical"]
    """`planning`: a limit of the operator's own planning; `statistical`: a characteristic of a standard."""
    vn_min_kv: Annotated[float, Field(ge=0)] = 0.0
    """Smallest nominal voltage of the buses (excluded). [kV]"""
    vn_max_kv: Positive = 1e6
    """Largest nominal voltage of the buses (included). [kV]"""
    vm_min_pu: Annotated[float, Field(ge=0)]
    """Lower end of the band. [pu]"""
    vm_max_pu: Positive
    """Upper end of the band. [pu]"""
    share_of_time: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the window in which the voltage must lie in the band. [-]"""
    window: Literal["instant", "week"] = "instant"
    """`instant`: every interval counts; `week`: the share is taken over each week."""
    averaging_minutes: Positive = 15.0
    """Interval over which the rule means the voltage to be averaged. [min]"""
    source: str
    """Where the numbers come from."""

    @model_validator(mode="after")
    def _band_has_room(self) -> VoltageRule:
        if self.vm_min_pu >= self.vm_max_pu:
            raise ValueError(f"vm_min_pu {self.vm_min_pu:g} must be below vm_max_pu {self.vm_max_pu:g}")
        if self.vn_min_kv >= self.vn_max_kv:
            raise ValueError(f"vn_min_kv {self.vn_min_kv:g} must be below vn_max_kv {self.vn_max_kv:g}")
        if self.window == "instant" and self.share_of_time < 1:
            raise ValueError('a share_of_time below 1 needs window = "week"')
        return self

    def covers(self, vn_kv: float) -> bool:
        """Whether the rule is made for a bus of this nominal voltage. [kV]"""
        return self.vn_min_kv < vn_kv <= self.vn_max_kv


class LoadingRule(Section):
    """The largest loading of one kind of branch."""

    name: str
    """Name in tables."""
    element: Literal["line", "trafo", "trafo3w", "impedance"]
    """Kind of branch."""
    max_loading_percent: Positive
    """Largest loading. [%]"""
    source: str
    """Where the number comes from."""


class RiseRule(Section):
    """How much all generators of a voltage level together may raise the voltage, against none of them feeding in."""

    name: str
    """Name in tables."""
    vn_min_kv: Annotated[float, Field(ge=0)] = 0.0
    """Smallest nominal voltage of the buses (excluded). [kV]"""
    vn_max_kv: Positive = 1e6
    """Largest nominal voltage of the buses (included). [kV]"""
    max_rise_pu: Positive
    """Largest rise. [pu]"""
    source: str
    """Where the number comes from."""

    def covers(self, vn_kv: float) -> bool:
        """Whether the rule is made for a bus of this nominal voltage. [kV]"""
        return self.vn_min_kv < vn_kv <= self.vn_max_kv


class RuleSet(Section):
    """Every rule that a network is judged by."""

    name: str
    """Name of the set, that of its file."""
    title: str
    """Heading in reports."""
    source: str
    """The documents behind the set."""
    version: str
    """Version of the set; change it with every change of a number."""
    note: str = ""
    """What a reader of the results must know."""
    voltage: tuple[VoltageRule, ...] = ()
    loading: tuple[LoadingRule, ...] = ()
    rise: tuple[RiseRule, ...] = ()

    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        """The band that must hold in every interval: the narrowest of all that cover the level.

        Returns
        -------
        vm_min_pu, vm_max_pu : float
            0 and infinity where no rule covers the level. [pu]
        """
        rules = [rule for rule in self.voltage if rule.covers(vn_kv) and rule.window == "instant"]
        low = max((rule.vm_min_pu for rule in rules), default=0.0)
        high = min((rule.vm_max_pu for rule in rules), default=float("inf"))
        return low, high

    def loading_limit(self, element: str) -> float | None:
        """Largest loading of a kind of branch, None where the set has no rule for it. [%]"""
        return min((rule.max_loading_percent for rule in self.loading if rule.element == element), default=None)

    def statistical_rules(self, vn_kv: float) -> tuple[VoltageRule, ...]:
        """Rules for a voltage level that must hold for a share of each week."""
        return tuple(rule for rule in self.voltage if rule.covers(vn_kv) and rule.window == "week")

    def rise_limit(self, vn_kv: float) -> float | None:
        """Largest voltage rise by all generators of a level, None where the set has no rule for it. [pu]"""
        return min((rule.max_rise_pu for rule in self.rise if rule.covers(vn_kv)), default=None)


def list_rules() -> list[str]:
    """Names of the shipped rule sets."""
    folder = resources.files("gridtwin.data").joinpath(RULE_FOLDER)
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_rules(name_or_path: str | Path, base: Path = Path()) -> RuleSet:
    """A shipped rule set by its name, or an own one by the path of its file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_rules()`, or a path that ends in `.toml`.
    base : Path
        Folder from which a relative path starts.

    Raises
    ------
    ScenarioError
        If there is no such set or file; names the nearest.
    DataError
        If the file is not a rule set; every fault with its key.
    """
    if Path(name_or_path).suffix == ".toml":
        return _read_file(base / name_or_path)
    name = str(name_or_path)
    if name not in list_rules():
        raise ScenarioError([_unknown_set(name)])
    text = resources.files("gridtwin.data").joinpath(RULE_FOLDER, f"{name}.toml").read_text(encoding="utf-8")
    return _parse_rules(text, f"{name}.toml")


def _read_file(file: Path) -> RuleSet:
    if not file.is_file():
        there = sorted(path.name for path in file.parent.glob("*.toml") if path.name != "scenario.toml")
        raise ScenarioError([_unknown_file(file, there)])
    return _parse_rules(file.read_text(encoding="utf-8"), str(file))


def _parse_rules(text: str, where: str) -> RuleSet:
    """The rule set in a TOML text; every fault at once."""
    try:
        return RuleSet.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DataError([Finding(f"not valid TOML: {error}", where=where, severity="error", code="GT-R02")]) from None
    except ValidationError as error:
        raise DataError([_fault(fault, where) for fault in error.errors()]) from None


def _fault(fault: Mapping[str, Any], where: str) -> Finding:
    """One pydantic fault with file and key."""
    path = tuple(fault["loc"])
    place = f"{where}: {'.'.join(map(str, path))}".removesuffix(": ")
    if fault["type"] == "extra_forbidden":
        return Finding("unknown key", where=place, do=_nearest_key(path), severity="error", code="GT-R03")
    if fault["type"] == "missing":
        return Finding("the key is missing", where=place, severity="error", code="GT-R04")
    if fault["type"] == "value_error":
        return Finding(str(fault["msg"]).removeprefix("Value error, "), where=place, severity="error", code="GT-R05")
    expected = str(fault["msg"]).removeprefix("Input should be ")
    return Finding(
        "the value does not fit",
        where=place,
        expected=expected,
        got=repr(fault["input"]),
        severity="error",
        code="GT-R06",
    )


def _nearest_key(path: tuple[str | int, ...]) -> str:
    tables: dict[str | int, type[BaseModel]] = {"voltage": VoltageRule, "loading": LoadingRule, "rise": RiseRule}
    known = sorted((tables.get(path[0], RuleSet) if len(path) > 1 else RuleSet).model_fields)
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."


def _unknown_set(name: str) -> Finding:
    close = difflib.get_close_matches(name, list_rules(), n=1, cutoff=0.4)
    return Finding(
        "there is no such rule set",
        where="network.rules",
        expected=f"{', '.join(list_rules())} or the path of a .toml file",
        got=name,
        do=f"Did you mean {close[0]}?" if close else "",
        severity="error",
        code="GT-R01",
    )


def _unknown_file(file: Path, there: list[str]) -> Finding:
    close = difflib.get_close_matches(file.name, there, n=1, cutoff=0.4)
    return Finding(
        "there is no such rule file",
        where="network.rules",
        got=str(file),
        do=f"Did you mean {close[0]}?" if close else f"The folder holds {', '.join(there) or 'no .toml file'}.",
        severity="error",
        code="GT-R01",
    )
