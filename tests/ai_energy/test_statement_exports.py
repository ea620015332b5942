"""The forms of others: their units, their words for quality, and nothing that is not known."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from gridtwin.ai_energy.exports import (
    boamps_quality,
    boamps_report,
    documentation_form,
    model_card_block,
    size_class,
    spdx_energy,
)
from gridtwin.ai_energy.quantity import Quantity, exact, missing, with_interval
from gridtwin.ai_energy.statement_fields import Carbon, Training
from gridtwin.ai_energy.statement_text import quantity_table, statement_markdown
from gridtwin.ai_energy.statement_values import figures_text, number_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement, statement_hash

EXAMPLE = Path(__file__).parents[2] / "examples" / "ai_energy" / "complete_statement.py"
COMPLETE: WorkloadStatement = runpy.run_path(str(EXAMPLE))["complete_statement"]()
UNKNOWN = WorkloadStatement(
    training=Training(energy=missing("MWh", reason="not metered")),
    carbon=Carbon(location_annual=missing("kg", reason="no intensity")),
)


def test_boamps_takes_energy_in_kwh_under_a_name_of_power() -> None:
    report = boamps_report(COMPLETE)
    (measure,) = report["measures"]
    assert measure["powerConsumption"] == pytest.approx(24_000 * 1000)  # 24 000 MWh
    assert measure["measurementDuration"] == pytest.approx(81 * 86400)
    assert report["task"]["algorithms"][0]["parametersNumber"] == pytest.approx(71)  # billions
    assert report["header"]["publisher"]["confidentialityLevel"] == "public"
    assert "facility" not in report["task"]["taskDescription"]
    assert "whole data centre" in report["task"]["taskDescription"]
    assert {"task", "measures", "infrastructure"} <= set(report)
    json.dumps(report)


@pytest.mark.parametrize(("below", "above", "word"), [
    (0.1, 0.1, "high"), (0.05, 0.2, "medium"), (0.2, 0.3, "low"), (0.0, 2.0, "low"), (0.0, 0.0, "low")])  # fmt: skip
def test_boamps_quality_follows_the_wider_side(below: float, above: float, word: str) -> None:
    assert boamps_quality(with_interval(5.0, below, above, "kWh", kind="estimated", method="m")) == word


def test_what_is_not_known_is_left_out() -> None:
    report = boamps_report(UNKNOWN)
    assert "powerConsumption" not in json.dumps(report) and "quality" not in report
    assert spdx_energy(UNKNOWN) == {"type": "ai_EnergyConsumption"}
    assert model_card_block(UNKNOWN) == ""


def test_spdx_in_kwh() -> None:
    (training,) = spdx_energy(COMPLETE)["ai_trainingEnergyConsumption"]
    assert training["ai_energyUnit"] == "kilowattHour"
    assert float(training["ai_energyQuantity"]) == pytest.approx(24e6)


def test_the_model_card_is_in_grams_and_says_where_from() -> None:
    lines = dict(line.strip().split(": ", 1) for line in model_card_block(COMPLETE).splitlines()[1:])
    assert float(lines["emissions"]) == pytest.approx(8.41e9)  # 8.41e6 kg
    assert "location-based" in lines["source"] and "calculated" in lines["source"]
    assert json.loads(lines["training_type"]) == "pre-training"
    assert json.loads(lines["hardware_used"]).startswith("2048 x accelerator")


def test_the_documentation_form_has_two_figures_a_class_and_an_order() -> None:
    form = documentation_form(COMPLETE).set_index("item")["answer"]
    assert form["Model size"] == "7.1e10 (50-100B)"
    assert form["Amount of computation used for training"] == "6.5e24 FLOP; order of magnitude 1e24 FLOP"
    assert form["Amount of energy used for training"].startswith("24000 MWh, calculated; the whole data centre")
    assert documentation_form(UNKNOWN)["status"].tolist().count("not applicable") == 1  # energy, with a reason


@pytest.mark.parametrize(("parameters", "word"), [(1e6, "1-500M"), (5e8, "1-500M"), (6e8, "0.5-5B"), (1e13, ">1T")])
def test_size_classes(parameters: float, word: str) -> None:
    assert size_class(parameters) == word


def test_numbers_are_written_with_their_figures() -> None:
    assert [figures_text(value, 2) for value in (1287.4, 0.0514, 3.0, 9.99e15)] == ["1300", "0.051", "3.0", "1.0e16"]
    assert number_text(exact(64, "1", kind="declared", method="m")) == "64"
    assert number_text(missing("MWh", reason="none")) == "not known"


def test_markdown_shows_the_kind_of_every_number_and_is_always_the_same() -> None:
    text = statement_markdown(COMPLETE, ["gpai_form", "data_centre_2026"])
    assert text == statement_markdown(COMPLETE, ["gpai_form", "data_centre_2026"])
    assert statement_hash(COMPLETE) in text
    for row in quantity_table(COMPLETE).itertuples():
        assert f"| {row.field} | {row.value} | {row.interval} | {row.kind} |" in text
    assert "The text was not read in full." in text and "co2_eq_emissions:" in text
    unknown = statement_markdown(UNKNOWN)
    assert "| energy | not known |  | missing |" in unknown and "not metered" in unknown


def test_a_pipe_in_a_text_does_not_break_the_table() -> None:
    energy = Quantity(unit="MWh", kind="declared", method="a | b", p2_5=1, p50=1, p97_5=1)
    assert "a \\| b" in statement_markdown(WorkloadStatement(training=Training(energy=energy)))
