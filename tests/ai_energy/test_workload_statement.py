"""The statement as a file: the same bytes, a schema that fits, and what a run of ours states."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from gridtwin.ai_energy.ledger import measure_energy
from gridtwin.ai_energy.quantity import Quantity, missing, with_interval
from gridtwin.ai_energy.statement_fields import Devices
from gridtwin.ai_energy.statement_schema import schema_json, statement_schema
from gridtwin.ai_energy.workload_statement import (
    WorkloadStatement,
    build_workload_statement,
    find_quantities,
    hash_fits,
    parse_statement,
    read_statement,
    statement_hash,
    statement_json,
)
from gridtwin.errors import DataError

EXAMPLE = Path(__file__).parents[2] / "examples" / "ai_energy" / "complete_statement.py"
COMPLETE: WorkloadStatement = runpy.run_path(str(EXAMPLE))["complete_statement"]()


def test_the_kept_example_is_what_its_program_writes() -> None:
    assert EXAMPLE.with_suffix(".json").read_text(encoding="utf-8") == statement_json(COMPLETE)


def test_the_same_statement_is_the_same_bytes_and_comes_back() -> None:
    text = statement_json(COMPLETE)
    assert parse_statement(text) == COMPLETE
    assert statement_json(parse_statement(text)) == text
    assert read_statement(EXAMPLE.with_suffix(".json")) == COMPLETE
    assert json.loads(text)["sha256"] == statement_hash(COMPLETE)
    assert text.rstrip().splitlines()[-2].startswith('  "sha256"')


def test_the_hash_tells_a_changed_number() -> None:
    text = statement_json(COMPLETE)
    assert hash_fits(text) is True
    assert hash_fits(text.replace('"p50": 24000.0', '"p50": 24001.0')) is False
    content = json.loads(text)
    del content["sha256"]
    assert hash_fits(json.dumps(content)) is None


def test_an_empty_statement_says_only_its_version() -> None:
    assert set(json.loads(statement_json(WorkloadStatement()))) == {"schema_version", "sha256"}
    assert list(find_quantities(WorkloadStatement())) == []


def test_every_fault_is_named_with_its_place() -> None:
    content = json.loads(statement_json(COMPLETE))
    content["training"]["enrgy"] = 3
    content["site"]["e_it"]["kind"] = "guessed"
    content["devices"]["cpu"]["p50"] = None
    with pytest.raises(DataError) as caught:
        parse_statement(json.dumps(content), "own.json")
    assert sorted(finding.where for finding in caught.value.findings) == [
        "own.json: devices.cpu", "own.json: site.e_it.kind", "own.json: training.enrgy"]  # fmt: skip


def test_the_schema_names_itself_by_a_urn_and_knows_every_group() -> None:
    schema = statement_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:gridtwin:")
    assert set(schema["properties"]) == {*WorkloadStatement.model_fields, "sha256"}
    assert schema_json() == schema_json() and json.loads(schema_json()) == schema


def test_the_schema_accepts_the_example_and_refuses_a_bare_number() -> None:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="jsonschema is not installed here")
    content = json.loads(statement_json(COMPLETE))
    validator = jsonschema.Draft202012Validator(statement_schema())
    validator.check_schema(statement_schema())
    assert list(validator.iter_errors(content)) == []
    content["training"]["energy"] = 24000.0
    assert list(validator.iter_errors(content))


def test_a_run_of_ours_becomes_a_statement() -> None:
    with measure_energy("forecast", co2_g_per_kwh=350.0) as measurement:
        sum(range(100_000))
    energy = measurement.statement
    statement = build_workload_statement(energy)
    booked = statement.training.energy
    assert booked is not None and booked.p50 == pytest.approx(energy.kwh_p50 / 1000)  # type: ignore[operator]
    assert (booked.kind, booked.boundary, booked.unit) == (energy.kind, energy.boundary, "MWh")
    assert statement.carbon.location_annual is not None
    assert statement.carbon.location_annual.kind == "declared"  # the intensity was assumed
    assert parse_statement(statement_json(statement)) == statement
    used = build_workload_statement(energy, stage="inference")
    assert used.training.energy is None and used.inference.energy_total == booked


def test_missing_stays_missing() -> None:
    statement = WorkloadStatement(devices=Devices(node=missing("kWh", reason="no meter")))
    back = parse_statement(statement_json(statement)).devices.node
    assert isinstance(back, Quantity) and back.is_missing and back.p50 is None and back.method == "no meter"


def test_the_statement_of_a_recorded_command_or_job_is_read_too() -> None:
    with measure_energy("forecast") as measurement:
        sum(range(1000))
    job = parse_statement(measurement.statement.model_dump_json())
    assert job.subject.model_id == "forecast" and job.training.energy is not None
    energy = with_interval(7.2e6, 0.1, 0.5, "J", kind="estimated", method="m", boundary="node")
    run = {
        "job": "train",
        "energy": energy.model_dump(mode="json"),
        "findings": ["a gap"],
        "sources": ["s"],
        "start": 0,
    }
    statement = parse_statement(json.dumps(run))
    assert statement.devices.node == energy.to("kWh") and statement.uncertainty.notes == ("a gap",)
    assert statement.training.energy is not None and statement.training.energy.p50 == pytest.approx(0.002)
