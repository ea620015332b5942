"""What a study does when something is wrong: all faults at once, nothing half done, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from gridtwin import cli
from gridtwin.report.run_folder import read_run
from tests.own_network import SCENARIO, write_own_study

FAULTY = """
title = "Everything wrong"
[network]
source = "street.json"
rules = "lv_planing"
[time]
first_day = 2017-03-28
[[profiles.file]]
file = "loads.csv"
zone = "Europe/Berlin"
label = "end"
unit = "kW"
[[profiles.file]]
file = "pv.csv"
zone = "Europe/Berlin"
unit = "kw"
sign = "generation"
[prices]
file = "prices.csv"
unit = "EUR/MWh"
[weather]
file = "weather.csv"
unit = "Celsius"
[observe]
feeder_head = { file = "head.csv", unit = "kW" }
[[growth]]
kind = "electric_car"
count = 2
kw = 11.0
kwh = 10.0
buses = ["mill", "farn"]
[forecast]
model = "LightGBM"
[[connection]]
name = "saw mill"
bus = "mil"
kw = 30.0
kind = "load"
"""


def gridtwin(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command line, called in this process."""
    monkeypatch.setattr(sys, "argv", ["gridtwin", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    folder = write_own_study(tmp_path / "faulty", scenario=FAULTY)
    times = pd.date_range("2016-03-01", periods=48, freq="h", name="time")
    pd.DataFrame({"temp": 8.0}, index=times).to_csv(folder / "weather.csv")
    pd.DataFrame({"p": 30.0}, index=times).to_csv(folder / "head.csv")
    prices = pd.read_csv(folder / "prices.csv").rename(columns={"price": "pricce"}).assign(volume=1)
    prices.to_csv(folder / "prices.csv", index=False)
    return folder


@pytest.mark.parametrize("verb", ["check", "run"])
def test_all_faults_are_told_at_once_and_nothing_is_written(
    verb: str,
    faulty: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert gridtwin(verb, "faulty", monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    expected = [
        "faulty/scenario.toml:5: network.rules: there is no such rule set, expected en50160, lv_planning, "
        "mv_planning or the path of a .toml file, got lv_planing. Did you mean lv_planning?",
        "faulty/scenario.toml:7: time.first_day: the studied days lie outside the profiles, "
        "expected days from 2016-01-20 to 2016-03-29, got 2017-03-28 to 2017-03-28.",
        "faulty/scenario.toml:16: profiles.file.1.unit: faulty/pv.csv: the unit is unknown, "
        "expected MW, kW, MWh, kWh, got kw. Did you mean kW?",
        "faulty/scenario.toml:19: prices.file: faulty/prices.csv: the file lacks a column, "
        "expected price, got time, pricce, volume. Did you mean pricce?",
        "faulty/scenario.toml:23: weather.unit: faulty/weather.csv: the unit is unknown, expected degC, got Celsius.",
        "faulty/scenario.toml:25: observe.feeder_head.file: faulty/head.csv: the measurement has another step than "
        "the profiles, expected 15 min, got 60 min.",
        "faulty/scenario.toml:31: growth.0.buses: growth names a bus that the network does not hold, "
        "expected the name of a bus, got 'farn'. Did you mean 'farm'?",
        "faulty/scenario.toml:33: forecast.model: unknown model, expected DayAheadRidge, DayAheadTrees, "
        "DayAheadBlend, SeasonalNaive or a forecasting model of Darts, such as LightGBMModel or Theta, "
        "got LightGBM. Did you mean LightGBMModel?",
        "faulty/scenario.toml:36: connection.0.bus: there is no such bus, expected the name of a bus with supply, "
        "got mil. Did you mean mill?",
    ]
    lines = [line for line in told.splitlines() if line.startswith("faulty/")]
    assert lines == expected
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("first_day = 2016-03-28", 'first_day = 2016-03-28\nzone = "Europa/Berlin"', "the nearest is Europe/Berlin"),
        ("first_day = 2016-03-28", "first_day = 2016-02-01", "is too short for a forecast"),
        ('source = "street.json"', 'source = "streat.json"', "Did you mean street.json?"),
        ('sign = "generation"', 'sign = "generator"', "Did you mean generation?"),
        ('file = "pv.csv"', 'file = "loads.csv"', "scenario.toml:14: profiles.file.1.file: "),
        ("[[profiles.file]]", "[[profiles.fiel]]", "scenario.toml:8: profiles.fiel: unknown key. Did you mean file?"),
        ('"street.json"', '"simbench:1-LV-rural1-2-sw"', "expected 1-LV-rural1--2-sw or "),
        ('"street.json"', '"street.json"\nrules = "own.toml"', "scenario.toml:6: network.rules: there is no such rule"),
    ],
)
def test_single_faults_say_what_was_meant(
    old: str, new: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_own_study(tmp_path / "one", scenario=SCENARIO.replace(old, new))
    assert gridtwin("check", str(tmp_path / "one"), monkeypatch=monkeypatch) == 2
    error = capsys.readouterr().err
    assert told in error and "one/scenario.toml:" in error


def test_a_finished_run_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_own_study(tmp_path / "street"), str(tmp_path / "run")
    # no limit is violated, so --fail-on changes nothing
    assert gridtwin("run", str(folder), "--out", out, "--fail-on", "forecast", monkeypatch=monkeypatch) == 0
    page = (tmp_path / "run" / "report.html").stat().st_mtime_ns
    monkeypatch.setattr("gridtwin.study.run_study", lambda *_, **__: pytest.fail("computed"))
    capsys.readouterr()
    assert gridtwin("run", str(folder), "--out", out, monkeypatch=monkeypatch) == 2
    assert "holds a finished run" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").stat().st_mtime_ns == page


def test_fail_on_gives_1_where_limits_are_violated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 30 % loading allowed every evening is an overload."""
    text = SCENARIO.replace('"street.json"', '"street.json"\nmax_loading_percent = 30')
    folder, out = write_own_study(tmp_path / "street", scenario=text), tmp_path / "run"
    assert gridtwin("run", str(folder), "--out", str(out), "--fail-on", "forecast", monkeypatch=monkeypatch) == 1
    assert (out / "run.json").is_file()


@pytest.fixture
def spiked(tmp_path: Path) -> Path:
    """Two quarter hours of 5 MW in the stable behind 0.25 MVA, from 12:00 to 12:30 of the studied day."""
    folder = write_own_study(tmp_path / "spiked")
    loads = pd.read_csv(folder / "loads.csv", index_col="time")
    loads.loc[["2016-03-28 12:15:00", "2016-03-28 12:30:00"], "stable"] = 5000.0
    loads.to_csv(folder / "loads.csv")
    return folder


def test_steps_without_a_solution_do_not_lose_the_rest(
    spiked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert gridtwin("run", str(spiked), "--out", str(out), monkeypatch=monkeypatch) == 3
    told = capsys.readouterr()
    assert "not converged: power flow, first at 2016-03-28 10:00:00 UTC" in told.err
    assert "What happened without flexibility: 2 of 96 steps have no power flow solution" in told.out
    run = read_run(out)
    findings = run.table("findings")
    (found,) = findings.loc[findings["code"] == "GT-K01", ["what", "where", "got"]].agg(" ".join, axis=1).unique()
    assert "2 of 96 steps did not converge" in found
    assert "2016-03-28 10:00" in found and "stable at 5000 kW, rated 15 kW" in found
    assert (out / "report.html").is_file()
    loading = run.table("branch_loading")
    realised = loading[(loading["case"] == "realised") & (loading["branch"] == "transformer")]
    empty = realised["loading_p50_percent"].isna()
    assert realised.loc[empty, "time_local"].dt.strftime("%H:%M").tolist() == ["12:00", "12:15"]


def test_a_schedule_that_disagrees_with_its_power_flow_gives_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate's `converged` reaches the exit code."""
    import dataclasses

    from gridtwin import study

    honest = study.optimize_flexibility

    def unfinished(*arguments: object, **settings: object) -> object:
        plan = honest(*arguments, **settings)  # type: ignore[arg-type]
        return dataclasses.replace(plan, certificate=dataclasses.replace(plan.certificate, converged=False))

    monkeypatch.setattr(study, "optimize_flexibility", unfinished)
    folder = write_own_study(tmp_path / "street")
    assert gridtwin("run", str(folder), "--out", str(tmp_path / "run"), monkeypatch=monkeypatch) == 3
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["certificate"]["converged"] is False


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a matter of POSIX")
def test_a_killed_run_leaves_nothing_half_written_and_a_new_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it writes: the folder does not exist, and the next run clears away what was left beside it."""
    folder, out = write_own_study(tmp_path / "street"), tmp_path / "runs" / "street"
    words = [sys.executable, "-m", "gridtwin", "run", str(folder), "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300  # the kernels may have to be compiled first
    while not list((tmp_path / "runs").glob(".street.partial-*/run.json")):
        assert process.poll() is None and time.monotonic() < until, "the run ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert not out.exists()
    assert [path.name[:16] for path in (tmp_path / "runs").iterdir()] == [".street.partial-"]
    assert gridtwin("run", str(folder), "--out", str(out), monkeypatch=monkeypatch) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["street"]
    assert read_run(out).about["name"] == "street"
