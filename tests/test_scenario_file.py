"""Every fault of a scenario file in one go, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridtwin.errors import ScenarioError
from gridtwin.scenario_file import read_scenario

GOOD = """
title = "A study"
[network]
source = "simbench:1-LV-rural1--2-sw"
[time]
first_day = 2016-05-20
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(text, encoding="utf-8")
    return folder


def faults(folder: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_scenario(folder)
    return [str(finding).replace(str(folder), "") for finding in caught.value.findings]


def test_a_short_file_takes_the_defaults(tmp_path: Path) -> None:
    source = read_scenario(write(tmp_path, GOOD))
    assert source.scenario.time.zone == "Europe/Berlin"
    assert source.place("network", "source").endswith("scenario.toml:4: network.source")


def test_all_faults_come_at_once_with_line_and_key(tmp_path: Path) -> None:
    text = (
        GOOD
        + """days = 0
[weather]
file = "temprature.csv"
[[growth]]
kind = "electric_cr"
count = 3
kw = -2
[flexibility]
confidense = 0.9
"""
    )
    (tmp_path / "temperature.csv").write_text("time,temperature\n")
    told = faults(write(tmp_path, text))
    assert told == [
        "/scenario.toml:7: time.days: the value does not fit, expected greater than or equal to 1, got 0.",
        "/scenario.toml:11: growth.0.kind: the value does not fit, expected 'electric_car', 'heat_pump', 'pv' or "
        "'battery', got 'electric_cr'. Did you mean electric_car?",
        "/scenario.toml:13: growth.0.kw: the value does not fit, expected greater than 0 [kW], got -2.",
        "/scenario.toml:15: flexibility.confidense: unknown key. Did you mean confidence?",
        "/scenario.toml:9: weather.file: the file does not exist, got temprature.csv. Did you mean temperature.csv?",
    ]


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    (told,) = faults(write(tmp_path, GOOD + "seed = = 3\n"))
    assert told.startswith("/scenario.toml:7: not valid TOML")


def test_a_key_inside_a_multiline_text_is_not_a_place(tmp_path: Path) -> None:
    text = 'description = """\ndays = 3\n"""\n' + GOOD + "days = 0\n"
    (told,) = faults(write(tmp_path, text))
    assert told.startswith("/scenario.toml:10: time.days")


def test_a_variant_extends_its_base_and_is_located_in_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "base", GOOD + "seed = 5\n".replace("seed", "days").replace("5", "2"))
    variant = write(tmp_path / "variant", 'extends = "../base"\ntitle = "Variant"\n[time]\nissue = 10:00:00\n')
    source = read_scenario(variant)
    assert (source.scenario.title, source.scenario.time.days, source.scenario.time.issue.hour) == ("Variant", 2, 10)
    assert source.place("time", "days").startswith(str(tmp_path / "base"))


def test_a_circle_of_extends_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", 'extends = "../b"\n')
    write(tmp_path / "b", 'extends = "../a"\n')
    assert "circle" in faults(tmp_path / "a")[0]


def test_files_of_the_base_are_found_from_the_variant(tmp_path: Path) -> None:
    base = write(tmp_path / "base", GOOD + '[prices]\nfile = "prices.csv"\nunit = "EUR/MWh"\n')
    (base / "prices.csv").write_text("time,price\n")
    source = read_scenario(write(tmp_path / "variant", 'extends = "../base"\n'))
    assert source.scenario.prices is not None
    assert (source.folder / source.scenario.prices.file).is_file()


def test_heat_pumps_without_weather_are_refused(tmp_path: Path) -> None:
    (told,) = faults(write(tmp_path, GOOD + '[[growth]]\nkind = "heat_pump"\ncount = 2\nkw = 4\n'))
    assert "outdoor temperature" in told


def test_an_unknown_scenario_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "village", GOOD)
    with pytest.raises(ScenarioError, match=r"Did you mean .*village"):
        read_scenario(tmp_path / "vilage")


def test_hashes_cover_the_scenario_and_its_files(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD + '[prices]\nfile = "prices.csv"\n')
    (folder / "prices.csv").write_text("time,price\n")
    assert set(read_scenario(folder).input_hashes()) == {"scenario.toml", "prices.csv"}
