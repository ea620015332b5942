"""Restoration plans: limits of an island, load shedding, cold load pickup and the order of a black start, as data.

The shipped plan is `gridtwin/data/rule_sets/restoration/feeder_with_battery.toml`, made of
assumptions; an operator's own plan is a file of the same form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from gridtwin.rule_file import RuleCodes, RuleFolder
from gridtwin.scenario_section import Section

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=1)]
EVERY = "*"
"""In the sources of a step: all of them."""


class FrequencyLimits(Section):
    """What the frequency of an island may do."""

    nominal_hz: Positive = 50.0
    """[Hz]"""
    lowest_hz: Positive
    """Lowest frequency, also for a moment. [Hz]"""
    highest_hz: Positive
    """Highest frequency. [Hz]"""
    largest_step_hz: Positive
    """Largest lasting deviation that one switching may cause. [Hz]"""
    load_damping: NotNegative = 1.0
    """Relative fall of the load per relative fall of the frequency. [-]"""
    source: str
    """Where the numbers come from."""

    @model_validator(mode="after")
    def _nominal_lies_between(self) -> FrequencyLimits:
        if not self.lowest_hz < self.nominal_hz < self.highest_hz:
            raise ValueError("nominal_hz must lie between lowest_hz and highest_hz")
        return self


class VoltageLimits(Section):
    """What voltages of an island may do."""

    lowest_pu: Positive
    """[pu]"""
    highest_pu: Positive
    """[pu]"""
    largest_step_pu: Positive
    """Largest change at any bus by one switching. [pu]"""
    source: str
    """Where the numbers come from."""


class EnergyLimits(Section):
    """How much power and energy is held back."""

    least_hours: NotNegative
    """A load is only switched on if the stored energy then lasts that long. [h]"""
    reserve_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the sources' power that is kept free. [-]"""
    source: str
    """Where the numbers come from."""


class SheddingStage(Section):
    """Loads that go when the frequency falls."""

    below_hz: Positive
    """Frequency below which the stage starts. [Hz]"""
    delay_s: NotNegative
    """Time below it until the loads are off. [s]"""
    from_priority: Priority
    """Loads of this and of every less important priority go; 1 is the most important."""
    source: str
    """Where the numbers come from."""


class ColdLoadPickup(Section):
    """How much more a load takes after an outage: factor for a while, then falling exponentially."""

    kind: str
    """Kind of load."""
    factor: Annotated[float, Field(ge=1)]
    """Power at first by the usual power. [-]"""
    hold_minutes: NotNegative
    """How long it stays. [min]"""
    decay_minutes: Positive
    """Time constant of the fall. [min]"""
    source: str
    """Where the numbers come from."""


class StartStep(Section):
    """One step of the order of a black start."""

    at_minutes: NotNegative
    """Time from the begin, at the earliest. [min]"""
    sources: tuple[str, ...] = ()
    """Sources that come on line; "*" for all."""
    priorities: tuple[Priority, ...] = ()
    """Loads that may be switched on from now on."""


class RestorationRules(Section):
    """Everything an island is run and started by."""

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
    frequency: FrequencyLimits
    voltage: VoltageLimits
    energy: EnergyLimits
    shedding: tuple[SheddingStage, ...] = ()
    pickup: tuple[ColdLoadPickup, ...] = ()
    step: Annotated[tuple[StartStep, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _times_rise(self) -> RestorationRules:
        times = [step.at_minutes for step in self.step]
        if times != sorted(times):
            raise ValueError("at_minutes must not fall from step to step")
        kinds = [pickup.kind for pickup in self.pickup]
        if len(set(kinds)) < len(kinds):
            raise ValueError("a kind stands twice in pickup")
        return self

    def pickup_of(self, kind: str) -> ColdLoadPickup | None:
        """Cold load pickup of a kind of load, None where the plan knows none."""
        return next((pickup for pickup in self.pickup if pickup.kind == kind), None)


CODES = RuleCodes("GT-R41", "GT-R42", *("GT-R43",) * 4)
SHIPPED = RuleFolder(RestorationRules, "gridtwin.data", "rule_sets/restoration", "restoration plan", CODES)
"""The plans that ship with the package."""


def list_restoration_rules() -> list[str]:
    """Names of the shipped restoration plans."""
    return SHIPPED.names()


def read_restoration_rules(name_or_path: str | Path, base: Path = Path()) -> RestorationRules:
    """A shipped plan by its name, or an own one by the path of its file.

    Raises
    ------
    ScenarioError
        If there is no such plan or file.
    DataError
        If the file is not a plan; every fault with its key.
    """
    return SHIPPED.read(name_or_path, base)


def parse_restoration_rules(text: str, where: str = "restoration") -> RestorationRules:
    """The plan in a TOML text; every fault at once."""
    return SHIPPED.parse(text, where)
