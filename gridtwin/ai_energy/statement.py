"""The energy statement of one job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gridtwin.ai_energy.quantity import Boundary, Kind, Quantity

CarbonKind = Literal["measured", "estimated", "assumed", "missing"]
JOULES_PER_KWH = 3.6e6


class EnergyStatement(BaseModel):
    """Energy and carbon of one job, ready for a report."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    job: str
    """What was computed."""
    boundary: Boundary | None
    """What is counted: processor packages with their memory, or the whole node at its plug."""
    method: str
    """How the energy came about, in words."""
    kind: Kind
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
