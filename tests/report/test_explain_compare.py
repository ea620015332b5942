"""Explaining one number and comparing two runs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from gridtwin.errors import DataError
from gridtwin.report.compare import compare_runs
from gridtwin.report.explain import explain_asset, find_item, find_time
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run


def test_a_branch_tells_loading_limit_risk_and_who(run: RunFolder, results: StudyResults) -> None:
    text = explain_asset(run, "trafo 1", "2016-12-13T18:07")
    flow = results.power_flows["forecast"]["loading_percent"].sel(branch="trafo 1", time="2016-12-13T17:00")
    assert "Tue 13 Dec 2016 18:00 CET (2016-12-13 17:00 UTC)" in text
    assert f"loading {float(flow.median()):.1f} %" in text
    assert f"{float((flow > 100).mean()):.0%}".replace("%", " %") in text
    assert "limit 100 %" in text
    assert "rule: thermal rating" in text
    assert "car C 41 %, heat pump C 12 %" in text


def test_contributors_of_a_line_are_the_assets_below_it(run: RunFolder, results: StudyResults) -> None:
    text = explain_asset(run, "line 3", "2016-12-13T18:00")
    below = ["house C", "house D", "car C", "heat pump C"]
    expected = results.forecast["p_mean_mw"].sel(time="2016-12-13T17:00", asset=below).sum()
    assert all(name in text for name in below)
    assert "house A" not in text
    assert f"sum {1e3 * float(expected):.1f} kW" in text


def test_a_bus_tells_its_voltage(run: RunFolder) -> None:
    text = explain_asset(run, "bus:D & <E>", "2016-12-13T18:00")
    assert "planning limits 0.94 to 1.06 pu" in text
    assert "voltage" in text
    assert "within the limit" in text


def test_a_device_tells_schedule_reason_and_what_it_misses(run: RunFolder) -> None:
    text = explain_asset(run, "car C", "2016-12-13T18:00")
    assert "reason: network limit" in text
    assert "Unmet as planned: energy not delivered, 1.5 kWh, 3.00 EUR" in text
    assert "Unmet as it came: energy not delivered, 0.5 kWh, 1.00 EUR" in text


def test_names_are_forgiving_about_capitals_only(run: RunFolder) -> None:
    assert find_item(run, "TRAFO 1") == ("branch", "trafo 1")
    with pytest.raises(DataError, match="Did you mean 'trafo 1'"):
        find_item(run, "trafo 11")


def test_times_are_local_unless_they_say_otherwise(run: RunFolder) -> None:
    assert find_time(run, "2016-12-13T18:14") == pd.Timestamp("2016-12-13T17:00")
    assert find_time(run, "2016-12-13T17:00Z") == pd.Timestamp("2016-12-13T17:00")
    with pytest.raises(DataError, match="2016-12-13T00:00 to 2016-12-13T23:45 local time"):
        find_time(run, "2016-12-14T00:00")
    with pytest.raises(DataError, match="not a time"):
        find_time(run, "yesterday")


def test_a_run_equals_itself(run: RunFolder) -> None:
    table = compare_runs(run, run)
    assert (table["difference"].dropna() == 0).all()
    assert not table["what"].str.startswith("scenario.").any()


def test_what_was_asked_and_what_came_out_differ(run: RunFolder, make_study: Any, tmp_path: Any) -> None:
    other = read_run(write_run(make_study(seed=8, steps=8), tmp_path / "other"))
    table = compare_runs(run, other).set_index(["what", "case"])
    assert tuple(table.loc[("scenario.seed", ""), ["first", "second"]]) == (7, 8)
    row = table.loc[("highest branch loading", "Forecast, no flexibility")]
    assert row["difference"] == pytest.approx(row["second"] - row["first"])
    assert row["difference"] != 0
