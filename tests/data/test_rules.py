"""Rule sets: what ships, what an own file may say, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from gridtwin.data.rules import list_rules, read_rules
from gridtwin.errors import DataError, ScenarioError

OWN = """
name = "nord"
title = "Nord"
source = "planning guideline 7"
version = "3"

[[voltage]]
name = "LV"
kind = "planning"
vn_max_kv = 1.0
vm_min_pu = 0.95
vm_max_pu = 1.05
source = "guideline 7"

[[loading]]
name = "trafo in summer"
element = "trafo"
max_loading_percent = 80.0
source = "guideline 7"
"""


def test_every_shipped_set_covers_every_level_and_says_where_it_comes_from() -> None:
    assert list_rules() == ["en50160", "lv_planning", "mv_planning"]
    for name in list_rules():
        rules = read_rules(name)
        assert rules.name == name and rules.version and rules.source
        assert all(rule.source for rule in (*rules.voltage, *rules.loading, *rules.rise))
        for vn_kv in (0.4, 10.0, 20.0, 110.0):
            low, high = rules.voltage_band(vn_kv)
            assert 0.8 < low < 1 < high < 1.2


def test_en50160_has_the_numbers_of_the_standard() -> None:
    rules = read_rules("en50160")
    assert rules.voltage_band(0.4) == (0.85, 1.10)  # all the time
    assert rules.voltage_band(20.0) == (0.85, 1.15)
    (weekly,) = rules.statistical_rules(0.4)
    assert (weekly.vm_min_pu, weekly.vm_max_pu, weekly.share_of_time, weekly.averaging_minutes) == (0.9, 1.1, 0.95, 10)
    assert rules.statistical_rules(20.0)[0].share_of_time == 0.99
    assert rules.statistical_rules(110.0) == ()
    assert "15 minutes" in rules.note


def test_planning_sets_limit_loading_and_the_rise_by_generators() -> None:
    lv, mv = read_rules("lv_planning"), read_rules("mv_planning")
    assert lv.loading_limit("line") == lv.loading_limit("trafo") == 100.0
    assert lv.loading_limit("impedance") is None
    # 1.025 - 0.02 - 0.065 and 1.025 + 0.015 + 0.035
    assert lv.voltage_band(0.4) == (pytest.approx(0.94), pytest.approx(1.075))
    assert (lv.rise_limit(0.4), lv.rise_limit(20.0), mv.rise_limit(20.0)) == (0.03, None, 0.02)


def test_the_narrowest_of_several_bands_holds(tmp_path: Path) -> None:
    second = '\n[[voltage]]\nname = "all"\nkind = "planning"\nvm_min_pu = 0.9\nvm_max_pu = 1.03\nsource = "x"\n'
    (tmp_path / "nord.toml").write_text(OWN + second)
    rules = read_rules("nord.toml", tmp_path)
    assert rules.voltage_band(0.4) == (0.95, 1.03)
    assert rules.voltage_band(20.0) == (0.9, 1.03)
    assert rules.loading_limit("trafo") == 80.0


def test_a_level_without_a_rule_is_not_limited(tmp_path: Path) -> None:
    (tmp_path / "nord.toml").write_text(OWN)
    assert read_rules(tmp_path / "nord.toml").voltage_band(20.0) == (0.0, float("inf"))


def test_rules_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read_rules("lv_planning").name = "other"  # type: ignore[misc]


def test_an_unknown_set_is_told_the_nearest() -> None:
    with pytest.raises(ScenarioError, match="Did you mean lv_planning") as caught:
        read_rules("lv_planing")
    assert all(name in str(caught.value) for name in list_rules())


def test_a_missing_file_is_told_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "nord.toml").write_text(OWN)
    with pytest.raises(ScenarioError, match=r"Did you mean nord\.toml"):
        read_rules("nort.toml", tmp_path)


def test_all_faults_of_a_file_come_at_once_with_file_and_key(tmp_path: Path) -> None:
    faulty = OWN.replace("vm_max_pu = 1.05", "vm_max_pu = -1").replace("max_loading_percent", "max_loding_percent")
    (tmp_path / "nord.toml").write_text(faulty)
    with pytest.raises(DataError) as caught:
        read_rules("nord.toml", tmp_path)
    text = str(caught.value)
    assert "nord.toml: voltage.0.vm_max_pu: the value does not fit, expected greater than 0" in text
    assert "loading.0.max_loding_percent: unknown key. Did you mean max_loading_percent?" in text
    assert "loading.0.max_loading_percent: the key is missing" in text


def test_a_band_without_room_and_a_share_without_window_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nord.toml").write_text(OWN.replace("vm_min_pu = 0.95", "vm_min_pu = 1.06"))
    with pytest.raises(DataError, match=r"voltage\.0: vm_min_pu 1\.06 must be below vm_max_pu 1\.05"):
        read_rules("nord.toml", tmp_path)
    (tmp_path / "nord.toml").write_text(OWN.replace("vm_max_pu = 1.05", "vm_max_pu = 1.05\nshare_of_time = 0.95"))
    with pytest.raises(DataError, match="needs window"):
        read_rules("nord.toml", tmp_path)


def test_text_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "nord.toml").write_text("name = ")
    with pytest.raises(DataError, match=r"nord\.toml: not valid TOML"):
        read_rules("nord.toml", tmp_path)
