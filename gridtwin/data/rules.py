"""Rules of voltage and loading: data with a source and a version, never code.

The shipped sets are the files of `gridtwin/data/rule_sets/`; an operator's own
set is a file of the same form. Standards are paid documents, so the numbers
were not copied from them: each rule names where its number comes from, and
whoever answers for the network confirms it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gridtwin.rule_file import RuleCodes, RuleFolder
from gridtwin.scenario_section import Section

Positive = Annotated[float, Field(gt=0)]
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


CODES = RuleCodes("GT-R01", "GT-R02", "GT-R03", "GT-R04", "GT-R05", "GT-R06")
SHIPPED = RuleFolder(RuleSet, "gridtwin.data", "rule_sets", "rule set", CODES, where="network.rules")
"""The sets that ship with the package."""


def list_rules() -> list[str]:
    """Names of the shipped rule sets."""
    return SHIPPED.names()


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
    return SHIPPED.read(name_or_path, base)
