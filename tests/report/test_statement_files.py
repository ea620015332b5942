"""Statements through the command line: read, relabelled, written in the forms of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gridtwin.ai_energy.workload_statement import parse_statement, read_statement
from gridtwin.errors import DataError
from gridtwin.report.statement_files import FORMS, read_any_statement, write_statement

COMPLETE = Path(__file__).parents[2] / "examples" / "ai_energy" / "complete_statement.json"


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_is_written_and_the_same_twice(form: str, tmp_path: Path) -> None:
    statement = read_any_statement(COMPLETE)
    texts = [write_statement(statement, tmp_path / name, form, ["sci"]).read_bytes() for name in ("a", "b")]
    assert texts[0] == texts[1] and len(texts[0]) > 100
    assert (b"24" in texts[0]) or form == "model-card"  # 24,000 MWh of training


def test_the_ending_says_which_form(tmp_path: Path) -> None:
    statement = read_any_statement(COMPLETE)
    assert "<!doctype html>" in write_statement(statement, tmp_path / "a.html").read_text(encoding="utf-8").lower()
    assert parse_statement(write_statement(statement, tmp_path / "a.json").read_text(encoding="utf-8")) == statement
    assert write_statement(statement, tmp_path / "a.yaml").read_text(encoding="utf-8").startswith("co2_eq_emissions:")
    with pytest.raises(DataError, match="Did you mean markdown"):
        write_statement(statement, tmp_path / "a", "markdwn")
    assert not (tmp_path / "a").exists()


def test_boamps_holds_what_its_schema_requires(tmp_path: Path) -> None:
    """Required fields and words of the BoAmps report schema (commit 01f4c8e), restated."""
    report = json.loads(write_statement(read_statement(COMPLETE), tmp_path / "b.json", "boamps").read_text())
    assert {"task", "measures", "infrastructure"} <= set(report)
    assert report["header"]["reportDatetime"] and report["header"]["publisher"]["confidentialityLevel"] == "public"
    assert {"taskStage", "taskFamily", "algorithms", "dataset"} <= set(report["task"])
    assert all({"dataUsage", "dataType"} <= set(part) for part in report["task"]["dataset"])
    assert report["infrastructure"]["infraType"] in ("publicCloud", "privateCloud", "onPremise", "other")
    for part in report["infrastructure"]["components"]:
        assert isinstance(part["nbComponent"], int) and part["componentType"]
    assert report["environment"]["country"] and report["quality"] in ("high", "medium", "low")


def test_a_run_of_ours_becomes_a_page(tmp_path: Path) -> None:
    """What `energy run` writes, reduced to what is read of it."""
    energy = {
        "unit": "J", "kind": "estimated", "method": "processor time", "method_class": "processor_time",
        "boundary": "node", "p2_5": 1.0, "p50": 3.0, "p97_5": 6.0,
    }  # fmt: skip
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"job": "training of a forest", "energy": energy, "findings": [], "sources": []}))
    page = write_statement(read_any_statement(file), tmp_path / "run.html").read_text(encoding="utf-8")
    assert "training of a forest" in page and "estimated" in page and "processor time" in page
