"""Studies over the days on which the clocks change: 92 and 100 quarter hours, no energy lost, every clock right."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from gridtwin.grid.simbench import read_simbench
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run
from gridtwin.study import run_study

NETWORK = "simbench:1-LV-rural1--2-sw"
BERLIN = ZoneInfo("Europe/Berlin")
SCENARIO = """
title = "The clocks change"
seed = 3
[network]
source = "{network}"
[time]
first_day = {first_day}
days = 2
[[growth]]
kind = "electric_car"
count = 3
kw = 11.0
kwh = 12.0
[[growth]]
kind = "battery"
count = 1
kw = 5.0
kwh = 10.0
[forecast]
model = "SKLearnModel"
history_days = 60
calibration_days = 14
paths = 5
[balancing]
step_seconds = 300
"""


@dataclass(frozen=True)
class Study:
    first_day: dt.date
    quarter_hours: tuple[int, int]
    results: StudyResults
    run: RunFolder

    @property
    def first_utc(self) -> pd.Timestamp:
        midnight = dt.datetime.combine(self.first_day, dt.time(), BERLIN)
        return pd.Timestamp(midnight.astimezone(dt.UTC)).tz_localize(None)


@pytest.fixture(
    scope="module",
    params=[
        # the day before the switch and the switch to summer time on Sunday, 27 March: 23 hours
        pytest.param((dt.date(2016, 3, 26), (96, 92)), id="spring"),
        # the switch to winter time on Sunday, 30 October, 25 hours, and the Monday after it
        pytest.param((dt.date(2016, 10, 30), (100, 96)), id="autumn", marks=pytest.mark.slow),
    ],
)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    first_day, quarter_hours = request.param
    folder: Path = tmp_path_factory.mktemp("switch")
    (folder / "scenario.toml").write_text(SCENARIO.format(network=NETWORK, first_day=first_day), encoding="utf-8")
    results = run_study(folder)
    return Study(first_day, quarter_hours, results, read_run(write_run(results, folder / "run")))


def test_every_series_has_the_steps_of_both_days(study: Study) -> None:
    expected = pd.date_range(study.first_utc, periods=sum(study.quarter_hours), freq="15min")
    results = study.results
    series = {"forecast": results.forecast, "realised": results.realised, "schedule": results.schedule}
    for name, dataset in {**series, **results.power_flows}.items():
        assert pd.DatetimeIndex(dataset.indexes["time"]).equals(expected), name
    assert study.run.about["time"]["steps"] == sum(study.quarter_hours)
    by_day = study.run.table("settlement")["time_local"].dt.date
    assert tuple(by_day.value_counts().sort_index()) == study.quarter_hours


def test_no_step_is_without_forecast_or_solution(study: Study) -> None:
    assert np.isfinite(study.results.forecast["p_mw"]).all()
    for case, flow in study.results.power_flows.items():
        assert (flow["status"] == 0).all(), case


def test_local_time_is_that_of_the_clocks_in_every_table(study: Study) -> None:
    """Each local stamp is what the zone database makes of the UTC stamp beside it."""
    checked = []
    for name in study.run.names:
        table = study.run.table(name)
        for column in [column for column in table if str(column).endswith("_utc")]:
            local = table[str(column).removesuffix("_utc") + "_local"]
            for utc, clock in zip(table[column].dropna(), local.dropna(), strict=True):
                assert clock.to_pydatetime() == utc.to_pydatetime().replace(tzinfo=dt.UTC), (name, column)
                assert clock.utcoffset() == utc.tz_localize("UTC").to_pydatetime().astimezone(BERLIN).utcoffset()
            checked.append(name)
    assert {"asset_power", "branch_loading", "schedule", "balancing", "settlement", "congestions"} <= set(checked)


def test_clocks_skip_or_repeat_the_hour_from_two_on(study: Study) -> None:
    """There is no 02:00 in spring; in autumn it comes twice, an hour apart."""
    forecast = study.run.table("forecast_fan")
    local = forecast.loc[forecast["group"] == "total", "time_local"]
    at_two = local[(local.dt.hour == 2) & (local.dt.minute == 0)]
    expected = {92: 1, 100: 3}[next(count for count in study.quarter_hours if count != 96)]
    assert len(at_two) == expected
    assert local.is_monotonic_increasing and not local.duplicated().any()


def test_what_happened_is_the_data_set_of_these_hours(study: Study) -> None:
    """Energy of each of the network's own assets, straight from the data set between two UTC midnights of Berlin."""
    own = study.results.twin.assets.query("origin == 'network' and element != 'storage'").index.to_numpy(dtype=str)
    end = study.first_utc + sum(study.quarter_hours) * pd.Timedelta(minutes=15)
    data = read_simbench(NETWORK)[1]["p_mw"].sel(asset=own)
    data = data.isel(time=(data["time"] >= study.first_utc).to_numpy() & (data["time"] < end).to_numpy())
    assert data.sizes["time"] == sum(study.quarter_hours)
    energy = 0.25 * study.results.realised["p_mw"].sel(asset=own).sum("time")
    np.testing.assert_allclose(energy, 0.25 * data.sum("time"), rtol=1e-12, atol=1e-15)


def test_energy_of_every_case_is_conserved(study: Study) -> None:
    """Energy from upstream is what the assets take plus losses, in every path, over both days. [MWh]"""
    results = study.results
    for case, powers in (("forecast", results.forecast), ("realised", results.realised)):
        flow = results.power_flows[case]
        taken = powers["p_mw"].sum(["time", "asset"])
        drawn, lost = flow["p_slack_mw"].sum("time"), flow["p_loss_mw"].sum(["time", "branch"])
        # 1e-7 MVA mismatch per bus and step at most
        np.testing.assert_allclose(drawn, taken + lost, rtol=0, atol=1e-7 * 15 * sum(study.quarter_hours))


def test_the_battery_keeps_its_energy_over_the_switch(study: Study) -> None:
    """Stored energy changes by what goes in times, and by what comes out over, the square root of 0.92. [MWh]"""
    battery = study.results.schedule.sel(asset="battery 1")
    p_mw, e_mwh = battery["p_mw"].to_numpy(), battery["e_mwh"].to_numpy()
    one_way = np.sqrt(0.92)
    change = 0.25 * (np.clip(p_mw, 0, None) * one_way - np.clip(-p_mw, 0, None) / one_way)
    np.testing.assert_allclose(e_mwh, 0.005 + np.cumsum(change), rtol=0, atol=1e-8)


def test_the_energy_in_the_summary_counts_quarter_hours(study: Study) -> None:
    summary = study.run.table("summary")
    row = summary[(summary["name"] == "energy from upstream") & (summary["case"] == "realised")].iloc[0]
    flow = study.results.power_flows["realised"]
    assert row["value"] == pytest.approx(0.25 * float(flow["p_slack_mw"].sum()), rel=1e-9)


def test_settlement_and_balancing_cover_the_same_hours(study: Study) -> None:
    assert len(study.run.table("settlement")) == sum(study.quarter_hours)
    fine = study.results.balancing.sizes["time"]
    assert fine == 3 * sum(study.quarter_hours)


def test_local_days_are_those_of_the_study(tmp_path: Path) -> None:
    """SimBench's stamps are German; a study that asks for days of UTC gets days of UTC in every stage."""
    text = SCENARIO.format(network=NETWORK, first_day="2016-05-20").replace("days = 2", 'days = 1\nzone = "UTC"', 1)
    (tmp_path / "scenario.toml").write_text(
        text + '[prices]\nfile = "prices.csv"\nunit = "EUR/MWh"\nkind = "assumed"\n'
    )
    hours = pd.date_range("2016-05-20", periods=24, freq="h")
    pd.DataFrame({"time": hours, "price": 80.0}).to_csv(tmp_path / "prices.csv", index=False)
    results = run_study(tmp_path)
    assert results.schedule is not None and results.balancing is not None
    for dataset in (results.forecast, results.realised, results.schedule):
        times = dataset.indexes["time"]
        assert (times[0], len(times)) == (pd.Timestamp("2016-05-20"), 96)
    issued = pd.DatetimeIndex(results.forecast["issue_time"].to_numpy()).unique()
    assert list(issued) == [pd.Timestamp("2016-05-19 12:00")]
