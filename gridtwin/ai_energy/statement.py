"""Quantities that say how they came about, and the energy statement of one job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gridtwin.errors import DataError, Finding

EnergyKind = Literal["measured", "estimated", "missing"]
CarbonKind = Literal["measured", "estimated", "assumed", "missing"]
Boundary = Literal["device", "node"]
RANK: dict[str, int] = {"measured": 0, "estimated": 1, "missing": 2}
"""The kind of a sum is that of its worst part."""
JOULES_PER_KWH = 3.6e6


class Quantity(BaseModel):
    """A value with an interval, its boundary and its method; missing is None, never 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    unit: str
    """Unit of the three values."""
    kind: EnergyKind
    """Whether it was measured or estimated, or is missing."""
    boundary: Boundary
    """What is counted: processor packages with their memory, or the whole node at its plug."""
    method: str
    """How it came about, in words."""
    p2_5: float | None = None
    """Lower end: 2.5 % of the true values lie below."""
    p50: float | None = None
    """Middle."""
    p97_5: float | None = None
    """Upper end."""
    measured_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the middle that was measured. [-]"""

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        values = (self.p2_5, self.p50, self.p97_5)
        if self.kind == "missing":
            if any(value is not None for value in values):
                raise ValueError("a missing quantity has no values")
            return self
        if any(value is None or not math.isfinite(value) for value in values):
            raise ValueError(f"a {self.kind} quantity needs three finite values, got {values}")
        if list(values) != sorted(values, key=float):  # type: ignore[arg-type]
            raise ValueError(f"expected p2_5 <= p50 <= p97_5, got {values}")
        return self


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
            raise DataError(
                [Finding(f"quantities of one {name} can be added", got=", ".join(values) or "none", severity="error")]
            )
    kind = max((part.kind for part in parts), key=RANK.__getitem__)
    method = "; ".join(dict.fromkeys(part.method for part in parts))
    head = {"unit": parts[0].unit, "boundary": parts[0].boundary, "kind": kind, "method": method}
    if kind == "missing":
        return Quantity.model_validate(head)
    sums = {name: sum(getattr(part, name) for part in parts) for name in ("p2_5", "p50", "p97_5")}
    measured = sum(part.measured_share * (part.p50 or 0.0) for part in parts)
    share = measured / sums["p50"] if sums["p50"] > 0 else min(part.measured_share for part in parts)
    return Quantity.model_validate({**head, **sums, "measured_share": min(share, 1.0)})


class EnergyStatement(BaseModel):
    """Energy and carbon of one job, ready for a report."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    job: str
    """What was computed."""
    boundary: Boundary
    """What is counted: processor packages with their memory, or the whole node at its plug."""
    method: str
    """How the energy came about, in words."""
    kind: EnergyKind
    """Whether it was measured or estimated, or is missing."""
    kwh_p2_5: float | None
    """Energy, lower end. [kWh]"""
    kwh_p50: float | None
    """Energy. [kWh]"""
    kwh_p97_5: float | None
    """Energy, upper end. [kWh]"""
    co2_kg_p2_5: float | None
    """Carbon dioxide, location-based, lower end from the energy alone. [kg]"""
    co2_kg: float | None
    """Carbon dioxide, location-based. [kg]"""
    co2_kg_p97_5: float | None
    """Carbon dioxide, location-based, upper end from the energy alone. [kg]"""
    co2_kind: CarbonKind
    """Where the carbon intensity comes from."""
    seconds: float
    """Wall time. [s]"""
    cpu_seconds: float
    """Processor time of the process and its descendants. [s]"""
    measured_share: float
    """Share of the energy that was measured. [-]"""
    sources: tuple[str, ...]
    """Evidence behind the numbers."""


def build_statement(
    job: str,
    energy: Quantity,
    *,
    seconds: float,
    cpu_seconds: float,
    co2_g_per_kwh: float | None,
    co2_kind: CarbonKind,
    sources: Sequence[str] = (),
) -> EnergyStatement:
    """Statement of one job.

    Parameters
    ----------
    job : str
        What was computed.
    energy : Quantity
        In J.
    seconds, cpu_seconds : float
        Wall and processor time. [s]
    co2_g_per_kwh : float or None
        Carbon intensity; None leaves carbon missing. [g/kWh]
    co2_kind : str
        Where it comes from.
    sources : sequence of str
        Evidence behind the numbers.
    """
    kwh = [None if value is None else value / JOULES_PER_KWH for value in (energy.p2_5, energy.p50, energy.p97_5)]
    co2 = [None if value is None or co2_g_per_kwh is None else value * co2_g_per_kwh / 1000 for value in kwh]
    return EnergyStatement(
        job=job,
        boundary=energy.boundary,
        method=energy.method,
        kind=energy.kind,
        kwh_p2_5=kwh[0],
        kwh_p50=kwh[1],
        kwh_p97_5=kwh[2],
        co2_kg_p2_5=co2[0],
        co2_kg=co2[1],
        co2_kg_p97_5=co2[2],
        co2_kind=co2_kind if co2[1] is not None else "missing",
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        measured_share=energy.measured_share,
        sources=tuple(sources),
    )
