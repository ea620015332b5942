"""Quantities that say how they came about, and what may be done with them.

A number about energy means nothing without what was counted and how. So a quantity carries its boundary, its
kind and method, and an interval, and refuses what would mix them up: energies of different boundaries are not
added, what is missing stays missing, and the way from one boundary to the next is a quantity itself.

    device -> node -> rack -> IT at the UPS -> facility -> connection point -> system
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gridtwin.errors import DataError, Finding

Kind = Literal["measured", "calculated", "estimated", "declared", "missing"]
Boundary = Literal["device", "node", "rack", "it_at_ups", "facility", "connection_point", "system"]
Method = Literal[
    "revenue_meter",
    "facility_meter",
    "device_counter",
    "power_samples",
    "calibrated_model",
    "processor_time",
    "rated_power",
    "operations",
    "supplier",
    "other",
]

RANK: dict[str, int] = {"measured": 0, "calculated": 1, "estimated": 2, "declared": 3, "missing": 4}
"""The kind of a sum or product is that of its worst part."""
BOUNDARIES: dict[Boundary, str] = {
    "device": "processor and accelerator packages with their memory",
    "node": "a whole server at its plug",
    "rack": "a rack at its distribution unit",
    "it_at_ups": "all IT equipment at the output of the UPS (E_IT, EN 50600-4-2 category 1)",
    "facility": "the whole data centre before its transfer switchgear (E_DC, Regulation (EU) 2024/1364 Annex II)",
    "connection_point": "the connection to the network, as the revenue meter sees it",
    "system": "the connection with the losses that it causes in the network",
}
"""What each boundary counts, from inside out."""
METHODS: dict[Method, str] = {
    "revenue_meter": "a meter that is used for billing",
    "facility_meter": "a meter at the UPS, distribution unit or building management",
    "device_counter": "an energy counter in the device",
    "power_samples": "power sampled and summed over time",
    "calibrated_model": "a model fitted to this machine or its kind against a meter",
    "processor_time": "processor time at a power per busy core",
    "rated_power": "rated power times utilisation",
    "operations": "number of operations at an efficiency of the hardware",
    "supplier": "a statement of the supplier",
    "other": "something else, told in words",
}
"""How quantities come about, from the best to the weakest."""
UNITS: dict[str, tuple[str, float]] = {
    "J": ("J", 1.0), "kJ": ("J", 1e3), "MJ": ("J", 1e6), "Wh": ("J", 3600.0), "kWh": ("J", 3.6e6),
    "MWh": ("J", 3.6e9), "GWh": ("J", 3.6e12),
    "W": ("W", 1.0), "kW": ("W", 1e3), "MW": ("W", 1e6),
    "g": ("g", 1.0), "kg": ("g", 1e3), "t": ("g", 1e6),
    "s": ("s", 1.0), "min": ("s", 60.0), "h": ("s", 3600.0), "d": ("s", 86400.0),
    "L": ("L", 1.0), "m3": ("L", 1e3),
    "g/kWh": ("g/kWh", 1.0), "kg/MWh": ("g/kWh", 1.0), "kg/kWh": ("g/kWh", 1e3), "t/MWh": ("g/kWh", 1e3),
    "L/kWh": ("L/kWh", 1.0), "m3/MWh": ("L/kWh", 1.0), "m3/kWh": ("L/kWh", 1e3),
    "1": ("1", 1.0), "%": ("1", 0.01), "FLOP": ("FLOP", 1.0),
}  # fmt: skip
"""Unit -> what it is a multiple of, and of how many. Other units stand for themselves."""
ENDS = ("p2_5", "p50", "p97_5")


class Quantity(BaseModel):
    """A value with an interval, its boundary and its method; missing is None, never 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    unit: str
    """Unit of the three values."""
    kind: Kind
    """Whether it was measured, calculated from what was measured, estimated or declared by somebody, or is missing."""
    method: str
    """How it came about, in words; of what is missing, why."""
    method_class: Method = "other"
    """How it came about, as one of the keys of `METHODS`."""
    boundary: Boundary | None = None
    """What is counted; None for what has no boundary, such as a factor or a number of operations."""
    p2_5: float | None = None
    """Lower end: 2.5 % of the true values lie below."""
    p50: float | None = None
    """Middle."""
    p97_5: float | None = None
    """Upper end."""
    measured_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the middle that was measured. [-]"""
    period_start: dt.datetime | None = None
    """Begin of what is counted, UTC."""
    period_end: dt.datetime | None = None
    """End of what is counted, UTC."""
    provenance: tuple[str, ...] = ()
    """Where it comes from: meters and their calibration, tools and versions, hashes, sources of factors."""

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        if self.kind == "missing":
            if any(value is not None for value in self.ends):
                raise ValueError("a missing quantity has no values")
            return self
        if any(value is None or not math.isfinite(value) for value in self.ends):
            raise ValueError(f"a {self.kind} quantity needs three finite values, got {self.ends}")
        if list(self.ends) != sorted(self.ends, key=float):  # type: ignore[arg-type]
            raise ValueError(f"expected p2_5 <= p50 <= p97_5, got {self.ends}")
        return self

    @property
    def ends(self) -> tuple[float | None, float | None, float | None]:
        """Lower end, middle and upper end."""
        return self.p2_5, self.p50, self.p97_5

    @property
    def is_missing(self) -> bool:
        """Whether there is no value."""
        return self.kind == "missing"

    def to(self, unit: str) -> Quantity:
        """The same in another unit of the same kind.

        Raises
        ------
        DataError
            If the units are not multiples of one another.

        Examples
        --------
        >>> exact(2.0, "kWh", kind="declared", method="a bill").to("MJ").p50
        7.2
        """
        (mine, factor), (theirs, size) = (UNITS.get(name, (name, 1.0)) for name in (self.unit, unit))
        if mine != theirs:
            raise DataError([Finding("units do not fit", expected=f"a unit like {self.unit}", got=unit,
                                     severity="error", code="GT-E01")])  # fmt: skip
        return self._mapped(lambda value: value * factor / size, unit=unit)

    def scaled(self, factor: float, *, unit: str | None = None) -> Quantity:
        """The same times a number that is known exactly and at least 0."""
        return self._mapped(lambda value: value * factor, unit=unit or self.unit)

    def _mapped(self, change: Callable[[float], float], *, unit: str) -> Quantity:
        ends = {name: None if value is None else change(value) for name, value in zip(ENDS, self.ends, strict=True)}
        return self.model_copy(update={**ends, "unit": unit})


def exact(value: float, unit: str, *, kind: Kind, method: str, **more: object) -> Quantity:
    """A quantity without an interval: its three values are the same."""
    ends = dict.fromkeys(ENDS, value)
    return Quantity.model_validate({"unit": unit, "kind": kind, "method": method, **ends, **more})


def with_interval(value: float, below: float, above: float, unit: str, *, kind: Kind, method: str,
                  **more: object) -> Quantity:  # fmt: skip
    """A quantity whose ends lie a share below and above the middle. [-]

    Examples
    --------
    >>> with_interval(100.0, 0.1, 0.5, "J", kind="estimated", method="a guess").p97_5
    150.0
    """
    ends = {"p2_5": value * (1 - below), "p50": value, "p97_5": value * (1 + above)}
    return Quantity.model_validate({"unit": unit, "kind": kind, "method": method, **ends, **more})


def missing(unit: str, *, reason: str, boundary: Boundary | None = None) -> Quantity:
    """What is not known, and why."""
    return Quantity(unit=unit, kind="missing", method=reason, boundary=boundary)


def sum_quantities(parts: Sequence[Quantity]) -> Quantity:
    """Sum of quantities of one unit and boundary.

    Their errors are those of one method on one machine, so they do not cancel: the
    ends of the interval add. A missing part makes the sum missing.

    Raises
    ------
    DataError
        If there is nothing to add, or units or boundaries differ.
    """
    for name in ("unit", "boundary"):
        values = sorted({str(getattr(part, name)) for part in parts})
        if len(values) != 1:
            got = ", ".join(values) or "none"
            raise DataError([Finding(f"quantities of one {name} can be added", got=got, severity="error",
                                     code="GT-E02")])  # fmt: skip
    head = _joined(parts) | {"unit": parts[0].unit, "boundary": parts[0].boundary}
    if head["kind"] == "missing":
        return Quantity.model_validate(head)
    sums = {name: sum(getattr(part, name) for part in parts) for name in ENDS}
    measured = sum(part.measured_share * (part.p50 or 0.0) for part in parts)
    share = measured / sums["p50"] if sums["p50"] > 0 else min(part.measured_share for part in parts)
    return Quantity.model_validate({**head, **sums, "measured_share": min(share, 1.0)})


def multiply(one: Quantity, other: Quantity, unit: str, *, boundary: Boundary | None = None,
             independent: bool = True) -> Quantity:  # fmt: skip
    """Product of two quantities that are at least 0.

    Parameters
    ----------
    one, other : Quantity
        Factors; the first one's measured share stays only if the second one was measured too.
    unit : str
        Unit of the product of the values as they are: the caller has made them fit.
    boundary : str, optional
        What the product counts.
    independent : bool
        Whether errors have different causes: then relative distances from the middle combine as root of the
        sum of squares, on either side (first order, JCGM 100); else the ends multiply.
    """
    head = _joined([one, other]) | {"unit": unit, "boundary": boundary}
    if head["kind"] == "missing":
        return Quantity.model_validate(head)
    low, middle, high = (a * b for a, b in zip(_values(one), _values(other), strict=True))
    if independent and middle > 0:
        below, above = (math.hypot(*(abs(q[end] / q[1] - 1) for q in (_values(one), _values(other)))) for end in (0, 2))
        low, high = middle * max(0.0, 1 - below), middle * (1 + above)
    share = one.measured_share * (1.0 if other.kind in ("measured", "calculated") else 0.0)
    return Quantity.model_validate({**head, "p2_5": low, "p50": middle, "p97_5": high, "measured_share": share})


def _values(quantity: Quantity) -> tuple[float, float, float]:
    low, middle, high = quantity.ends
    assert low is not None and middle is not None and high is not None  # callers have seen to it
    return low, middle, high


def _joined(parts: Sequence[Quantity]) -> dict[str, object]:
    """Kind, method and origin of what is made of several parts; the period that covers all of them."""
    starts = [part.period_start for part in parts if part.period_start is not None]
    ends = [part.period_end for part in parts if part.period_end is not None]
    weakest = max(parts, key=lambda part: list(METHODS).index(part.method_class))
    return {
        "kind": max((part.kind for part in parts), key=RANK.__getitem__),
        "method": "; ".join(dict.fromkeys(part.method for part in parts)),
        "method_class": weakest.method_class,
        "period_start": min(starts) if len(starts) == len(parts) else None,
        "period_end": max(ends) if len(ends) == len(parts) else None,
        "provenance": tuple(dict.fromkeys(line for part in parts for line in part.provenance)),
    }


class BoundaryStep(BaseModel):
    """The way from one boundary to one further out: what is there times a factor, plus what is always there.

    outside = factor * inside + fixed
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    inside: Boundary
    """Boundary that it starts from."""
    outside: Boundary
    """Boundary that it leads to."""
    factor: Quantity
    """Outside per inside. [1]"""
    fixed: Quantity | None = None
    """What the outer boundary counts even without any of the inner one, in the unit of what is converted."""

    @model_validator(mode="after")
    def _leads_outwards(self) -> Self:
        order = list(BOUNDARIES)
        if order.index(self.outside) <= order.index(self.inside):
            raise ValueError(f"a step leads outwards: {' < '.join(order)}; got {self.inside} to {self.outside}")
        if self.factor.unit != "1":
            raise ValueError(f"the factor of a step has unit 1, got {self.factor.unit}")
        return self

    def __call__(self, quantity: Quantity) -> Quantity:
        """The quantity at the outer boundary.

        Raises
        ------
        DataError
            If it is not a quantity of the inner boundary.
        """
        if quantity.boundary != self.inside:
            raise DataError([Finding("a step from one boundary to the next", expected=self.inside,
                                     got=str(quantity.boundary), severity="error", code="GT-E03")])  # fmt: skip
        grown = multiply(quantity, self.factor, quantity.unit, boundary=self.outside)
        if self.fixed is None:
            return grown
        fixed = self.fixed.to(quantity.unit).model_copy(update={"boundary": self.outside})
        return sum_quantities([grown, fixed])
