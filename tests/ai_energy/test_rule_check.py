"""Rule sets: each field that is taken away is named with its citation, and nothing else is."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from gridtwin.ai_energy.quantity import Quantity, exact, missing
from gridtwin.ai_energy.rule_check import (
    FAULTS,
    FieldCheck,
    check_statement,
    check_statement_file,
    check_table,
    is_complete,
)
from gridtwin.ai_energy.rules import EnergyRuleSet, Rule, list_energy_rules, read_energy_rules
from gridtwin.ai_energy.statement_values import find_value
from gridtwin.ai_energy.workload_statement import WorkloadStatement, statement_json
from gridtwin.errors import DataError

EXAMPLE = Path(__file__).parents[2] / "examples" / "ai_energy" / "complete_statement.py"
COMPLETE: WorkloadStatement = runpy.run_path(str(EXAMPLE))["complete_statement"]()
SETS = {name: read_energy_rules(name) for name in list_energy_rules()}
RULES = [pytest.param(name, rule, id=f"{name}:{rule.key}") for name, rules in SETS.items() for rule in rules.rules]
QUANTITY_RULES = [
    pytest.param(name, rule, id=f"{name}:{rule.key}")
    for name, rules in SETS.items()
    for rule in rules.rules
    if "*" not in rule.field and isinstance(find_value(COMPLETE, rule.field), Quantity)
]


def put(statement: WorkloadStatement, place: str, value: object) -> WorkloadStatement:
    """The statement with another value in a field; `*` reaches every part of a list."""
    content = statement.model_dump()
    _put(content, place.split("."), value.model_dump() if isinstance(value, Quantity) else value)
    return WorkloadStatement.model_validate(content)


def _put(content: Any, names: list[str], value: object) -> None:
    head, *rest = names
    if head == "*":
        for part in content:
            _put(part, rest, value)
    elif rest:
        _put(content[head], rest, value)
    else:
        content[head] = () if isinstance(content[head], tuple | list) else value


def faults(statement: WorkloadStatement, rules: EnergyRuleSet) -> dict[str, FieldCheck]:
    return {check.rule: check for check in check_statement(statement, rules) if check.status in FAULTS}


@pytest.mark.parametrize("name", SETS)
def test_the_example_is_complete_for_every_set(name: str) -> None:
    checks = check_statement(COMPLETE, SETS[name])
    assert [check for check in checks if check.status != "present"] == []
    assert is_complete(checks)


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_field_that_is_taken_away_is_named_with_its_citation(name: str, rule: Rule) -> None:
    without, taken = COMPLETE, (rule.field, *rule.alternatives)
    for place in taken:
        without = put(without, place, None)
    found = faults(without, SETS[name])
    same = {other.key for other in SETS[name].rules if set((other.field, *other.alternatives)) <= set(taken)}
    # a list that is gone takes the fields of its parts along; what is calculated from the field cannot be traced
    parts = {other.key for other in SETS[name].rules if other.field.startswith(f"{rule.field}.*")}
    needing = {other.key for other in SETS[name].rules if set(other.of) & set(taken)}
    assert set(found) == same | parts | needing
    assert found[rule.key].status == "missing"
    assert found[rule.key].citation == rule.citation and rule.citation
    assert all(found[key].status == "insufficient quality" and rule.field in found[key].why for key in needing)


@pytest.mark.parametrize(("name", "rule"), QUANTITY_RULES)
def test_another_dimension_is_a_wrong_unit(name: str, rule: Rule) -> None:
    value = find_value(COMPLETE, rule.field)
    assert isinstance(value, Quantity)
    # "lx" stands for nothing that any rule asks for
    found = faults(put(COMPLETE, rule.field, value.model_copy(update={"unit": "lx"})), SETS[name])
    assert found[rule.key].status == "wrong unit"


@pytest.mark.parametrize(("name", "rule"), QUANTITY_RULES)
def test_missing_with_and_without_a_reason(name: str, rule: Rule) -> None:
    for reason in ("", "N/A", "n/a."):
        found = faults(put(COMPLETE, rule.field, missing(rule.unit, reason=reason)), SETS[name])
        assert found[rule.key].status == "missing"
    said = put(COMPLETE, rule.field, missing(rule.unit, reason="N/A: the provider withholds the node power"))
    checks = {check.rule: check for check in check_statement(said, SETS[name])}
    assert checks[rule.key].status == ("not applicable" if rule.na_with_reason else "missing")
    assert "withholds the node power" in checks[rule.key].why


@pytest.mark.parametrize(("name", "rule"), [p for p in QUANTITY_RULES if len(p.values[1].kinds) < 4])  # type: ignore[attr-defined]
def test_a_kind_below_the_least_is_not_enough(name: str, rule: Rule) -> None:
    value = find_value(COMPLETE, rule.field)
    assert isinstance(value, Quantity)
    for kind in {"measured", "calculated", "estimated", "declared"} - set(rule.kinds):
        found = faults(put(COMPLETE, rule.field, value.model_copy(update={"kind": kind})), SETS[name])
        assert found[rule.key].status == "insufficient quality" and kind in found[rule.key].why


@pytest.mark.parametrize(("name", "field"), [("data_centre_2024", "site.wue"), ("data_centre_2026", "site.wue_fresh")])
def test_kwh_for_mwh_in_the_water_figure_is_caught(name: str, field: str) -> None:
    wue = find_value(COMPLETE, field)
    assert isinstance(wue, Quantity)
    swapped = put(COMPLETE, field, wue.scaled(1e-3))  # the ratio was taken with E_IT in kWh
    renamed = put(COMPLETE, field, wue.model_copy(update={"unit": "m3/kWh"}))
    for statement in (swapped, renamed):
        found = faults(statement, SETS[name])
        assert set(found) == {"wue"} and found["wue"].status == "wrong unit"
    litres = put(COMPLETE, field, wue.model_copy(update={"unit": "L/kWh"}))  # the same number
    assert faults(litres, SETS[name]) == {}


def test_an_energy_in_another_unit_is_converted_not_refused() -> None:
    energy = COMPLETE.training.energy
    assert energy is not None
    checks = check_statement(put(COMPLETE, "training.energy", energy.to("kWh")), SETS["gpai_form"])
    (check,) = [check for check in checks if check.rule == "training_energy"]
    assert check.status == "present" and check.value == "2.4e7 kWh" and "24000 MWh" in check.why


def test_e_it_labelled_mwh_breaks_pue_by_a_thousand() -> None:
    e_it = COMPLETE.site.e_it
    assert e_it is not None
    found = faults(put(COMPLETE, "site.e_it", e_it.model_copy(update={"unit": "MWh"})), SETS["data_centre_2024"])
    assert found["pue"].status == "wrong unit" and "1000 times" in found["pue"].why


def test_symbols_that_are_used_twice_do_not_mix() -> None:
    rules = {rule.key: rule for rule in SETS["data_centre_2024"].rules}
    twice = [rule for rule in rules.values() if rule.symbol == "T_IN"]
    assert {(rule.field, rule.unit) for rule in twice} == {
        ("site.intake_temperature", "degC"), ("site.traffic_in", "EB")}  # fmt: skip
    assert rules["waste_heat_temperature"].unit == "degC" and rules["battery_offered"].unit == "kW"
    swapped = put(COMPLETE, "site.intake_temperature", exact(1.4, "EB", kind="measured", method="mixed up"))
    assert set(faults(swapped, SETS["data_centre_2024"])) == {"intake_temperature"}


def test_the_acts_of_2024_and_2026_miss_different_things() -> None:
    empty = put(WorkloadStatement(), "site.it_power", exact(900, "kW", kind="declared", method="plates"))
    old, new = ({check.field for check in check_statement(empty, SETS[f"data_centre_{year}"])
                 if check.status == "missing"} for year in (2024, 2026))  # fmt: skip
    assert {"site.lau_code", "site.water_potable", "site.traffic_in", "site.storage_capacity", "site.wue"} <= old - new
    assert {"site.nuts3_code", "site.water_fresh", "site.wue_fresh", "site.grid_flexibility"} <= new - old
    assert not SETS["data_centre_2026"].checked
    assert not any(rule.checked for rule in SETS["data_centre_2026"].rules)


def test_a_small_training_is_no_general_purpose_model() -> None:
    small = put(put(COMPLETE, "subject.gpai", None), "training.compute",
                exact(3.0e15, "FLOP", kind="calculated", method="counted"))  # fmt: skip
    checks = check_statement(small, SETS["ai_act_annex_xi"])
    assert {check.status for check in checks} == {"not applicable"}
    assert all("1e23 FLOP" in check.why and "Art. 95(2)(b)" in check.why for check in checks)
    declared = check_statement(put(small, "subject.gpai", True), SETS["ai_act_annex_xi"])
    assert {check.status for check in declared} == {"present"}
    unknown = check_statement(put(small, "training.compute", None), SETS["ai_act_annex_xi"])
    assert "missing" in {check.status for check in unknown}


@pytest.mark.parametrize(("kw", "applies"), [(499.9, False), (500.0, True)])
def test_the_duty_of_data_centres_begins_at_500_kw(kw: float, applies: bool) -> None:
    site = put(COMPLETE, "site.it_power", exact(kw, "kW", kind="declared", method="plates"))
    statuses = {check.status for check in check_statement(site, SETS["data_centre_2024"])}
    assert (statuses == {"not applicable"}) is not applies


def test_two_significant_figures() -> None:
    for value, fine in ((2e4, False), (2.4e4, True)):
        energy = exact(value, "MWh", kind="measured", method="meter")
        found = faults(put(COMPLETE, "training.energy", energy), SETS["gpai_form"])
        assert ("training_energy" not in found) is fine
    wide = Quantity(unit="MWh", kind="measured", method="meter", p2_5=1.9e4, p50=2e4, p97_5=2.1e4)
    assert faults(put(COMPLETE, "training.energy", wide), SETS["gpai_form"]) == {}


def test_texts_say_why_they_are_not_there_and_stay_short() -> None:
    field = "training.energy_method"
    assert faults(put(COMPLETE, field, "N/A"), SETS["gpai_form"])["energy_method"].status == "missing"
    assert faults(put(COMPLETE, field, "N/A: meter data withheld"), SETS["gpai_form"]) == {}
    assert "words" in faults(put(COMPLETE, field, "long " * 400), SETS["gpai_form"])["energy_method"].why


@pytest.mark.parametrize("name", SETS)
def test_every_rule_has_its_source_and_a_field_that_exists(name: str) -> None:
    for rule in SETS[name].rules:
        find_value(WorkloadStatement(), rule.field)
        assert rule.citation and rule.valid_from and rule.checked is not None and rule.title
    assert len(check_table(check_statement(COMPLETE, SETS[name]))) == len(SETS[name].rules)


def test_only_what_was_read_is_marked_as_checked() -> None:
    checked = {rule.key for rule in SETS["ai_act_annex_xi"].rules if rule.checked}
    assert checked == {"training_compute", "training_time", "energy", "energy_method"}
    assert not any(rule.checked for name in ("gpai_form", "sci", "esrs_e1") for rule in SETS[name].rules)


def test_files_are_checked_for_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    file.write_text(statement_json(COMPLETE))
    text, complete = check_statement_file(file, "gpai_form")
    assert complete and "13 present: complete." in text and "not read" in text
    text, complete = check_statement_file(file)
    assert complete and text.count(": complete.") == len(SETS)
    content = json.loads(file.read_text())
    del content["training"]["energy"]
    file.write_text(json.dumps(content))
    text, complete = check_statement_file(file, "gpai_form")
    assert not complete and "missing               training.energy" in text
    assert "changed after its hash" in text


def test_one_clear_error_for_a_wrong_name_or_file(tmp_path: Path) -> None:
    file = tmp_path / "statement.json"
    file.write_text(statement_json(COMPLETE))
    with pytest.raises(DataError, match=r"Did you mean ai_act_annex_xi") as caught:
        check_statement_file(file, "ai_act_annex_ix")
    assert len(caught.value.findings) == 1
    file.write_text('{"training": {')
    with pytest.raises(DataError, match=r"statement.json:1: not valid JSON") as caught:
        check_statement_file(file, "sci")
    assert len(caught.value.findings) == 1
    with pytest.raises(DataError, match="cannot be read"):
        check_statement_file(tmp_path / "none.json", "sci")
    file.write_text("[]")
    with pytest.raises(DataError, match="not a statement"):
        check_statement_file(file, "sci")


def test_an_own_rule_set_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "own"\ntitle = "House rules"\nsource = "us"\nversion = "1"\nvalid_from = "2026-01-01"\nchecked = true\n'
        '[[rule]]\nkey = "node"\ntitle = "Node energy"\nfield = "devices.node"\nunit = "kWh"\n'
        'citation = "house rule 1"\n'
    )
    checks = check_statement(WorkloadStatement(), read_energy_rules(own))
    assert [(check.status, check.citation) for check in checks] == [("missing", "house rule 1")]
    own.write_text(own.read_text().replace("unit =", "units ="))
    with pytest.raises(DataError, match=r"rule\.0\.units"):
        read_energy_rules(own)
