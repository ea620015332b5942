"""Rules of grid-oriented control: how far devices may be dimmed, how much may be fed in, which limits are agreed.

The shipped set is `gridtwin/data/rule_sets/control/steuve_14a.toml`; an operator's own
set is a file of the same form. Every number carries its source and whether it was read
there (`checked`). What follows from the rules is computed in kW, the unit of the rules.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from gridtwin.rule_file import RuleCodes, RuleFolder
from gridtwin.scenario_section import Section

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Direction = Literal["consumption", "feed-in"]


class Sourced(Section):
    """Anything that can be looked up."""

    source: str
    """Where the numbers come from."""
    checked: bool = False
    """Whether the numbers were read in the text that `source` names."""


class RuledNumber(Sourced):
    """One number of a rule."""

    value: Positive
    """In the unit of its key."""


class Simultaneity(Sourced):
    """How many of several devices are assumed to run at once."""

    devices: Annotated[int, Field(ge=2)]
    """Number of devices behind one energy manager; the last row holds for more, too."""
    factor: Share
    """Factor on the guaranteed power of every device but the first. [-]"""


class DimmingRules(Sourced):
    """How far controllable devices may be dimmed."""

    in_force: dt.date
    """First day on which the rules apply."""
    kinds: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of devices that are controllable if they are large enough."""
    heating_kinds: tuple[str, ...] = ()
    """Kinds of which large ones keep a share of their rated power."""
    device_minimum_kw: RuledNumber
    """Power that a dimmed device keeps; devices up to this rating are not controllable. [kW]"""
    large_heating_above_kw: RuledNumber
    """Rating above which a device of `heating_kinds` is large. [kW]"""
    large_heating_share: RuledNumber
    """Share of its rated power that a large one keeps. [-]"""
    simultaneity: Annotated[tuple[Simultaneity, ...], Field(min_length=1)]
    """By number of devices, ascending from 2 without gaps."""
    most_hours_per_day: RuledNumber | None = None
    """Longest dimming of a device per local day where control is preventive. [h]"""

    @model_validator(mode="after")
    def _table_has_no_gaps(self) -> DimmingRules:
        devices = [row.devices for row in self.simultaneity]
        if devices != list(range(2, len(devices) + 2)):
            raise ValueError(f"simultaneity needs rows for 2, 3, 4 … devices, got {devices}")
        if self.large_heating_share.value > 1:
            raise ValueError(f"large_heating_share must be at most 1, got {self.large_heating_share.value:g}")
        strange = sorted(set(self.heating_kinds) - set(self.kinds))
        if strange:
            raise ValueError(f"heating_kinds must be among kinds, got {', '.join(strange)}")
        return self

    def factor(self, devices: int) -> float:
        """Simultaneity factor of a number of devices, 1 for a single one. [-]"""
        return 1.0 if devices < 2 else self.simultaneity[min(devices, len(self.simultaneity) + 1) - 2].factor


class FeedInCap(Sourced):
    """The largest feed-in of plants commissioned in some period, as a share of their rated power."""

    name: str
    """Name in tables."""
    share: Share
    """Largest feed-in by rated power. [-]"""
    commissioned_from: dt.date
    """First day of commissioning."""
    commissioned_before: dt.date = dt.date.max
    """Day after the last day of commissioning."""
    p_above_kw: NotNegative = 0.0
    """Smallest rated power (excluded). [kW]"""
    p_max_kw: Positive = 1e9
    """Largest rated power (included). [kW]"""
    ends: dt.date = dt.date.max
    """Day from which on the cap no longer holds."""
    until_controllable: bool
    """Whether the cap ends as soon as the plant can be controlled remotely."""
    programme: str = ""
    """Grant of which the cap is a condition; empty: the cap holds for everyone."""

    @model_validator(mode="after")
    def _period_has_room(self) -> FeedInCap:
        if self.commissioned_from >= self.commissioned_before:
            raise ValueError(f"commissioned_from {self.commissioned_from} must be before {self.commissioned_before}")
        if self.p_above_kw >= self.p_max_kw:
            raise ValueError(f"p_above_kw {self.p_above_kw:g} must be below p_max_kw {self.p_max_kw:g}")
        return self


class ConnectionLimit(Sourced):
    """A limit of one connection that changes over time, and how much of the agreed power is firm."""

    connection: str
    """Name of the connection."""
    direction: Direction
    """What is limited."""
    agreed_kw: Positive
    """Power that was agreed. [kW]"""
    start: AwareDatetime
    """Start of the first interval, with its zone."""
    step_minutes: Positive = 15.0
    """Length of an interval. [min]"""
    limit_kw: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    """Limit of each interval. [kW]"""
    firm_share_of_time: Annotated[float, Field(ge=0, le=1)]
    """Share of the time in which the agreed power must be available; 1 is a firm connection. [-]"""
    compensation_eur_per_mwh: NotNegative
    """Paid for energy withheld below the agreed power. [EUR/MWh]"""

    @model_validator(mode="after")
    def _keeps_what_is_firm(self) -> ConnectionLimit:
        share = self.share_of_time_available
        if share < self.firm_share_of_time - 1e-12:
            raise ValueError(
                f"the agreed {self.agreed_kw:g} kW must be available in {self.firm_share_of_time:.1%} of the time, "
                f"the series leaves {share:.1%}"
            )
        return self

    @property
    def share_of_time_available(self) -> float:
        """Share of the intervals in which the agreed power is available. [-]"""
        return sum(limit >= self.agreed_kw for limit in self.limit_kw) / len(self.limit_kw)


class ControlRules(Section):
    """Every rule of grid-oriented control."""

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
    dimming: DimmingRules
    feed_in: tuple[FeedInCap, ...] = ()
    connection: tuple[ConnectionLimit, ...] = ()

    def citation(self) -> str:
        """What a log entry names as its legal ground."""
        return f"{self.dimming.source} [{self.name} {self.version}]"


CODES = RuleCodes("GT-R11", "GT-R12", "GT-R13", "GT-R14", "GT-R15", "GT-R16")
SHIPPED = RuleFolder(ControlRules, "gridtwin.data", "rule_sets/control", "set of control rules", CODES)
"""The sets that ship with the package."""


def list_control_rules() -> list[str]:
    """Names of the shipped sets of control rules."""
    return SHIPPED.names()


def read_control_rules(name_or_path: str | Path, base: Path = Path()) -> ControlRules:
    """A shipped set of control rules by its name, or an own one by the path of its file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_control_rules()`, or a path that ends in `.toml`.
    base : Path
        Folder from which a relative path starts.

    Raises
    ------
    ScenarioError
        If there is no such set or file.
    DataError
        If the file is not a set of control rules; every fault with its key.
    """
    return SHIPPED.read(name_or_path, base)
