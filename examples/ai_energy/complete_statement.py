"""Write complete_statement.json: a statement that leaves no field of any rule set open.

The model and the data centre are invented; the numbers fit together.

    python examples/ai_energy/complete_statement.py
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from gridtwin.ai_energy import statement_fields as f
from gridtwin.ai_energy.quantity import Quantity, exact, with_interval
from gridtwin.ai_energy.site_fields import Site
from gridtwin.ai_energy.workload_statement import WorkloadStatement, statement_json

FILE = Path(__file__).with_suffix(".json")
METER = "Class 0.5 S meter MP-1, calibrated 2025-02-03"


def metered(value: float, unit: str, boundary: str | None = None, width: float = 0.01) -> Quantity:
    """A value of a meter in the data centre."""
    return with_interval(value, width, width, unit, kind="measured", method="energy meters, sum of the year",
                         method_class="facility_meter", boundary=boundary, measured_share=1.0,
                         provenance=(METER,))  # fmt: skip


def counted(value: float, unit: str) -> Quantity:
    """A value that is known exactly or declared."""
    return exact(value, unit, kind="declared", method="declared by the operator", method_class="supplier")


def reckoned(value: float, unit: str, *, below: float = 0.05, above: float = 0.05, boundary: str | None = None,
             kind: str = "calculated") -> Quantity:  # fmt: skip
    """A value that follows from others."""
    return with_interval(value, below, above, unit, kind=kind, method="calculated from the quantities stated here",
                         boundary=boundary)  # type: ignore[arg-type]  # fmt: skip


def complete_statement() -> WorkloadStatement:
    """The example."""
    return WorkloadStatement(
        report=f.ReportFacts(
            report_id="example-2025-001",
            created="2026-05-11",
            period_start=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
            period_end=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            publisher="Example Models",
            confidentiality="public",
        ),
        subject=_subject(),
        training=_training(),
        inference=_inference(),
        hardware=_hardware(),
        devices=f.Devices(
            cpu=metered(1_900_000, "kWh", "device", 0.1),
            memory=reckoned(420_000, "kWh", below=0.3, above=0.3, boundary="device", kind="estimated"),
            accelerator=metered(14_600_000, "kWh", "device", 0.05),
            total=reckoned(16_920_000, "kWh", boundary="device"),
            node=reckoned(19_800_000, "kWh", below=0.08, above=0.08, boundary="node"),
        ),
        site=_site(),
        grid=f.GridFacts(
            bus="MV busbar 2", zone="DE-LU", voltage_level=counted(110, "kV"), power_max=metered(12.4, "MW"),
            ramp_max=metered(3.1, "MW/s", width=0.2), power_factor=metered(0.98, "1"),
            unbalance=metered(0.6, "%", width=0.1), iteration_period=metered(2.4, "s", width=0.05),
            voltage_step=reckoned(0.4, "%", below=0.2, above=0.2),
            loss_energy=reckoned(612_000, "kWh", below=0.2, above=0.2),
            marginal_loss_factor=reckoned(0.043, "1", below=0.2, above=0.2),
        ),
        carbon=_carbon(),
        sci=f.IntensityScore(
            boundary="all nodes that serve requests, their cooling included", energy=reckoned(1_200_000, "kWh"),
            score=reckoned(0.3614, "g/unit"), functional_unit="one request", units=counted(1.25e9, "1"),
            rationale="requests are what users pay for; effective parameters, gross energy",
            consumer=reckoned(0.3614, "g/unit"), consumer_unit="one request",
            provider=reckoned(544.2, "g/unit", below=0.1, above=0.1), provider_unit="million training tokens",
            life_cycle="consumer: operation; provider: design, training with all runs, release",
        ),
        undertaking=f.Undertaking(
            control="operational control", energy_total=metered(64_000, "MWh"), energy_fossil=metered(21_000, "MWh"),
            energy_nuclear=metered(4_000, "MWh"), energy_renewable=metered(39_000, "MWh"), scope1=metered(310, "t"),
            scope2_location=reckoned(23_040, "t"), scope2_market=reckoned(9_100, "t"),
            scope3=reckoned(41_500, "t", below=0.3, above=0.3, kind="estimated"),
        ),
        uncertainty=f.Uncertainty(
            budget=(
                f.UncertaintyPart(cause="node meters", effect=counted(0.02, "1")),
                f.UncertaintyPart(cause="share of the cooling", effect=counted(0.06, "1")),
            ),
            measured_share=counted(0.93, "1"),
            gaps=("2025-03-04 02:10 to 02:25 UTC, meter MP-1",),
        ),
        provenance=f.Provenance(
            probes=("meters at the UPS output", "device counters"), versions=("gridtwin 0.1.0",),
            sampling_interval=counted(1, "s"), meters=(METER,), traces_sha256=("0" * 64,),
            calibration="February 2025 against a class 0.2 reference", records_kept=counted(10, "y"),
        ),
        value=f.WorkloadValue(
            skill=reckoned(0.31, "1"), baseline="seasonal naive", energy_per_forecast=reckoned(410, "J"),
            energy_to_target_skill=reckoned(2.2e6, "J"),
            avoided_imbalance=reckoned(38, "MWh", below=0.4, above=0.4, kind="estimated"),
            counterfactual="replay-2025-winter",
        ),
    )  # fmt: skip


def _subject() -> f.Subject:
    return f.Subject(
        model_id="example-70b", version="1.2", model_hash="sha256:" + "ab" * 32,
        architecture="transformer, mixture of experts", modality="text in, text out", task="text generation",
        licence="Apache-2.0", base_model="none", parameters_total=counted(7.1e10, "1"),
        parameters_active=counted(1.2e10, "1"), risk_class="minimal", risk_reason="no use of Annex III is foreseen",
        gpai=True, gpai_reason="serves many different tasks", systemic_risk=False,
    )  # fmt: skip


def _training() -> f.Training:
    parts = (("final", 17_400), ("failed", 2_100), ("search", 3_900), ("fine_tuning", 600))
    return f.Training(
        compute=reckoned(6.5e24, "FLOP", below=0.03, above=0.03),
        compute_method="six operations per active parameter and token, attention added",
        wall_clock=counted(81, "d"), hardware_time=counted(166_000, "device-d"), duration_range="1 to 3 months",
        energy=reckoned(24_000, "MWh", below=0.06, above=0.09, boundary="facility"),
        energy_method="Energy meters at the UPS output of the training hall, times the PUE of each month. "
        "Failed runs and searches are included by their share of hardware time.",
        runs=tuple(f.TrainingRun(role=role, energy=reckoned(mwh, "MWh", boundary="facility"))  # type: ignore[arg-type]
                   for role, mwh in parts),
        items=counted(9.1e12, "1"), training_type="pre-training",
    )  # fmt: skip


def _inference() -> f.Inference:
    curve = f.EnergyCurve(a=reckoned(0.083, "J"), b0=reckoned(0.93, "J"), b1=reckoned(12.0, "J"),
                          experts_active=counted(8, "1"), experts_total=counted(128, "1"),
                          fit_rms=counted(0.04, "1"))  # fmt: skip
    return f.Inference(
        benchmark_compute=reckoned(2.4e15, "FLOP"), benchmark_task="generating 100 000 tokens",
        benchmark_hardware="8 accelerators of one server", batch_size=counted(64, "1"),
        tokens_in=counted(512, "1"), tokens_out=counted(256, "1"), precision="bf16",
        latency_p99=metered(1.9, "s", width=0.05), energy_per_unit=metered(0.31, "J", "device", 0.05),
        functional_unit="one token", energy_curve=curve, units_served=counted(1.25e9, "1"),
        energy_total=reckoned(1_200, "MWh", boundary="facility"), idle_share=reckoned(0.18, "1"),
    )  # fmt: skip


def _hardware() -> tuple[f.Hardware, ...]:
    return (
        f.Hardware(component="gpu", model="accelerator, 80 GB", count=counted(2048, "1"),
                   rated_power=counted(700, "W"), share=counted(1, "1"), lifetime=counted(4, "y")),
        f.Hardware(component="cpu", model="server processor, 64 cores", count=counted(512, "1"),
                   rated_power=counted(360, "W"), share=counted(1, "1"), lifetime=counted(4, "y")),
    )  # fmt: skip


def _site() -> Site:
    e_dc, e_it, water, fresh = 52.0e6, 41.6e6, 9_400.0, 6_240.0
    return Site(
        name="Example centre", owner="Example Estates, Main Street 1", operator="Example Hosting, Main Street 2",
        country="Germany", lau_code="06412000", nuts3_code="DE712", centre_type="colocation", commissioned="2021-06",
        redundancy_high_voltage="N+1", redundancy_low_voltage="2N", redundancy_rack="2N",
        cooling_redundancy_room="N+1", cooling_redundancy_rack="N", size_class="2-10 MW",
        it_power=counted(8_200, "kW"), it_power_basis="nominal", floor_area=counted(9_300, "m2"),
        computer_room_area=counted(4_100, "m2"), e_dc=metered(e_dc, "kWh", "facility"),
        e_dc_backup=metered(41_000, "kWh", "facility"), e_it=metered(e_it, "kWh", "it_at_ups"), e_it_category=1,
        metering_points="output of each of the 12 UPS units", grid_functions="peak shifting", grid_flexibility=True,
        battery_offered=counted(1_500, "kW"), water_in=metered(water, "m3"), water_potable=metered(7_100, "m3"),
        water_fresh=metered(fresh, "m3"), water_category=2, heat_reused=metered(5.2e6, "kWh", width=0.03),
        waste_heat_temperature=metered(31, "degC", width=0.02), intake_temperature=counted(25, "degC"),
        waste_heat_ready=True, refrigerants=("R-1234ze",), cooling_degree_days=reckoned(112, "degree-day"),
        renewable_guarantees=counted(20.8e6, "kWh"), renewable_contracts=counted(15.6e6, "kWh"),
        renewable_on_site=metered(1.3e6, "kWh"), renewable_total=reckoned(37.7e6, "kWh"),
        server_performance=counted(118_000, "SERT"), server_coverage=counted(64, "%"),
        storage_capacity=counted(410, "PB"), bandwidth_in=counted(450, "GB/s"), bandwidth_out=counted(620, "GB/s"),
        traffic_in=metered(1.4, "EB"), traffic_out=metered(2.2, "EB"),
        pue=reckoned(e_dc / e_it, "1", below=0.01, above=0.01),
        wue=reckoned(water / (e_it / 1000), "m3/MWh"), wue_fresh=reckoned(fresh / (e_it / 1000), "m3/MWh"),
        erf=reckoned(0.10, "1"), ref=reckoned(0.725, "1"), cue=reckoned(0.45, "kg/kWh"), pue_class="B", wue_class="B",
    )  # fmt: skip


def _carbon() -> f.Carbon:
    return f.Carbon(
        intensity=counted(360, "g/kWh"), intensity_source="yearly average of the zone, location-based",
        location_hourly=reckoned(8.41e6, "kg", boundary="facility"),
        location_annual=reckoned(8.64e6, "kg", boundary="facility"), covariance_term=exact(
            -230_000, "kg", kind="calculated", method="hourly less annual figure"),
        market_based=reckoned(2.9e6, "kg", boundary="facility"), instruments="guarantees of origin, monthly",
        consequential=reckoned(1.02e7, "kg", below=0.2, above=0.2, boundary="system"),
        consequential_case="dispatch with and without the training, 2025",
        embodied_total=reckoned(2.1e6, "kg", below=0.3, above=0.3, kind="estimated"),
        time_reserved=counted(876, "h"), expected_lifespan=counted(35_040, "h"), resources_reserved=counted(384, "1"),
        resources_total=counted(1024, "1"), embodied=reckoned(19_687.5, "kg", below=0.3, above=0.3, kind="estimated"),
    )  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(statement_json(complete_statement()), encoding="utf-8")
    print(f"Wrote {FILE.name}")
