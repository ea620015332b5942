"""Energy statements of a study: of its own computing, and of every AI workload that it plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import pandas as pd

from gridtwin.ai_energy.quantity import Kind, Quantity, exact
from gridtwin.ai_energy.site_fields import Site
from gridtwin.ai_energy.statement import EnergyStatement
from gridtwin.ai_energy.statement_fields import Carbon, GridFacts, Provenance, ReportFacts, Subject, Training
from gridtwin.ai_energy.workload_statement import WorkloadStatement, build_workload_statement
from gridtwin.data.profiles import axis_of
from gridtwin.report.results import StudyResults

COMPUTING = "computing of this study"
METHOD = "power that the scenario states, through its boundary chain, as scheduled and balanced"
KW_PER_MW = 1000.0


def build_statements(results: StudyResults) -> dict[str, WorkloadStatement]:
    """Statements by name; workloads count at the connection point, their losses in the network beside them."""
    statements = {COMPUTING: _of_computing(results)} if results.energy else {}
    for site in results.scenario.get("data_centre", ()):
        impact = results.data_centres.set_index("site").loc[site["name"]]
        for asset, kind in _workloads(site):
            statements[asset] = _of_workload(results, site, impact, asset, kind)
    return statements


def _of_computing(results: StudyResults) -> WorkloadStatement:
    return build_workload_statement(EnergyStatement.model_validate(dict(results.energy)), stage="inference")


def _workloads(site: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Assets of a site and what they do: all that cannot be moved is one asset."""
    steady = [word for word in ("training", "inference") if site.get(word)]
    if steady:
        yield str(site["name"]), f"{' and '.join(steady)} of the site together"
    for job in site.get("job", ()):
        yield f"{site['name']} {job['name']}", "batch job"


def _of_workload(
    results: StudyResults, site: Mapping[str, Any], impact: pd.Series, asset: str, kind: str
) -> WorkloadStatement:
    axis = axis_of(results.realised)
    period = {"period_start": axis.start.tz_localize("UTC"), "period_end": axis.end.tz_localize("UTC")}
    energy = _energy(results, asset, period)
    emissions = results.scenario.get("energy", {})
    share = (energy.p50 or 0.0) / (KW_PER_MW * float(impact["e_connection_mwh"]) or 1.0)
    return WorkloadStatement(
        report=ReportFacts(report_id=f"{results.name}: {asset}", **period),
        subject=Subject(model_id=asset, task=kind),
        training=Training(energy=energy.to("MWh"), energy_method=f"{METHOD}; {kind}", training_type=kind),
        site=Site(name=str(site["name"]), it_power=_declared(site["p_it_kw"], "kW"), it_power_basis="rated",
                  pue=_declared(site["pue"], "1"), grid_flexibility=bool(site.get("job"))),
        grid=_grid_facts(results, impact, share),
        carbon=_carbon(energy, emissions),
        provenance=Provenance(probes=("no meter: a planned workload",), versions=(f"gridtwin {version('gridtwin')}",)),
    )  # fmt: skip


def _energy(results: StudyResults, asset: str, period: Mapping[str, Any]) -> Quantity:
    """Energy of an asset over the study, as it came. [kWh]"""
    powers = results.realised if results.actual is None else results.actual
    kwh = float(powers["p_mw"].sel(asset=asset).sum()) * axis_of(powers).hours_per_step * KW_PER_MW
    return exact(kwh, "kWh", kind="estimated", method=METHOD, method_class="rated_power", boundary="connection_point",
                 **period)  # fmt: skip


def _grid_facts(results: StudyResults, impact: pd.Series, share: float) -> GridFacts:
    """The site as a load; losses by the workload's share of its energy."""
    bus = str(impact["bus"])
    by_flow = "AC power flow with and without the site"
    return GridFacts(
        bus=bus,
        voltage_level=_declared(float(results.twin.buses["vn_kv"][bus]), "kV"),
        power_max=_calculated(impact["p_peak_kw"] / KW_PER_MW, "MW", "largest power of the site, all workloads"),
        ramp_max=_calculated(impact["ramp_mw_per_s"], "MW/s", "the largest training run stops"),
        voltage_step=_calculated(impact["voltage_step_percent"], "%", "AC power flow of the largest stop"),
        loss_energy=_calculated(impact["losses_booked_mwh"] * KW_PER_MW * share, "kWh",
                                f"{by_flow}, by the share of the site's energy", boundary="system"),
        marginal_loss_factor=_calculated(impact["marginal_loss"], "1", "central difference of the slack's power"),
    )  # fmt: skip


def _carbon(energy: Quantity, emissions: Mapping[str, Any]) -> Carbon:
    """Location-based, from the scenario's one intensity."""
    g_per_kwh, kind = float(emissions.get("co2_g_per_kwh", 0.0)), str(emissions.get("co2_kind", "assumed"))
    intensity = _declared(g_per_kwh, "g/kWh", f"the scenario, {kind}")
    kg = (energy.to("kWh").p50 or 0.0) * g_per_kwh / 1000
    total = exact(kg, "kg", kind="declared", method=f"{METHOD}; {kind} intensity", boundary=energy.boundary)
    return Carbon(intensity=intensity, intensity_source=f"scenario, {kind}, average", location_annual=total)


def _declared(value: float, unit: str, method: str = "the scenario") -> Quantity:
    return exact(float(value), unit, kind="declared", method=method)


def _calculated(value: float, unit: str, method: str, **more: Any) -> Quantity | None:
    """None where the study found nothing to say."""
    kind: Kind = "calculated"
    return None if pd.isna(value) else exact(float(value), unit, kind=kind, method=method, **more)
