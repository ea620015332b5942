"""What the flexibility optimisation explains: prices, savings, causes and needs in tables, page and explanation.

A whole study of the own street, whose cables may carry 22 % of their rating: four cars and a battery
cannot hold that in the evening, so that limits stay exceeded and a car leaves with too little.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridtwin.report.certificate_lines import certificate_lines
from gridtwin.report.explain import explain_asset
from gridtwin.report.flexibility_figures import differing_buses, nodal_price_views
from gridtwin.report.flexibility_tables import device_settlement_table, nodal_price_table
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run
from gridtwin.study import CERTIFIED, run_study
from tests.own_network import SCENARIO, write_own_study

CARS = '[[growth]]\nkind = "electric_car"\ncount = 4\nkw = 11.0\nkwh = 20.0\nbuses = ["farm"]\n[forecast]'
TIGHT = SCENARIO.replace('"street.json"', '"street.json"\nmax_loading_percent = 22.0').replace("[forecast]", CARS)
PARTS = ["energy_eur_per_mwh", "congestion_eur_per_mwh", "voltage_eur_per_mwh", "losses_eur_per_mwh"]
NEW_TABLES = {"nodal_prices", "device_settlement", "causes", "flexibility_needs"}


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return run_study(write_own_study(tmp_path_factory.mktemp("tight") / "street", scenario=TIGHT))


@pytest.fixture(scope="module")
def tight_run(tight: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return read_run(write_run(tight, tmp_path_factory.mktemp("runs") / "tight"))


@pytest.fixture(scope="module")
def tight_page(tight_run: RunFolder) -> str:
    return (tight_run.folder / "report.html").read_text(encoding="utf-8")


def section(page: str, anchor: str) -> str:
    found = re.search(rf'<section id="{anchor}">(.*?)</section>', page, re.S)
    assert found is not None
    return found[1]


def test_a_congested_study_has_rows_in_every_table(tight_run: RunFolder) -> None:
    assert all(len(tight_run.table(name)) for name in NEW_TABLES)
    for name, stems in {"causes": ("start", "because_start"), "flexibility_needs": ("start", "end")}.items():
        for stem in stems:
            table = tight_run.table(name)
            local = table[f"{stem}_local"].dt.tz_convert("UTC").dt.tz_localize(None)
            pd.testing.assert_series_equal(local, table[f"{stem}_utc"], check_names=False, check_dtype=False)


def test_prices_are_those_of_the_plan_and_sum_from_their_parts(tight: StudyResults, tight_run: RunFolder) -> None:
    table = tight_run.table("nodal_prices")
    assert tight.nodal_prices is not None
    plan = tight.nodal_prices["price_eur_per_mwh"]
    assert len(table) == plan.size
    at_farm = table[table["bus"] == "farm"].set_index("time_utc")["price_eur_per_mwh"]
    np.testing.assert_allclose(at_farm, plan.sel(bus="farm"), rtol=1e-12)
    # parts reach 4e4 EUR/MWh, so that 1e-8 is rounding
    np.testing.assert_allclose(table[PARTS].sum(axis=1), table["price_eur_per_mwh"], atol=1e-8)


def test_settlement_keeps_the_sums_of_the_plan(tight: StudyResults, tight_run: RunFolder) -> None:
    """Car 4 has two sessions and so two rows in the plan, one in the table."""
    table, plan = tight_run.table("device_settlement").set_index("asset"), tight.device_settlement
    assert (plan["asset"] == "electric_car 4").sum() == 2
    assert table.index.is_unique
    for column in [name for name in plan if str(name).endswith("_eur")]:
        assert table[column].sum() == pytest.approx(plan[column].sum(), rel=1e-12), column
    unscheduled, planned = (table[f"{prefix}payment_eur"] + table[f"{prefix}own_cost_eur"] for prefix in ("base_", ""))
    np.testing.assert_allclose(table["gain_eur"], unscheduled - planned, rtol=0, atol=1e-9)
    assert table["gain_eur"].is_monotonic_decreasing


def test_payments_are_power_times_price_of_the_tables(tight_run: RunFolder) -> None:
    """Quarter hours of the schedule at the price of the bus: kW / 4 / 1000 = MWh."""
    prices = tight_run.table("nodal_prices").set_index(["bus", "time_utc"])["price_eur_per_mwh"]
    schedule = tight_run.table("schedule")
    price = prices.reindex(pd.MultiIndex.from_frame(schedule[["bus", "time_utc"]])).to_numpy()
    paid = (schedule["p_scheduled_kw"] / 4000 * price).groupby(schedule["asset"]).sum()
    expected = tight_run.table("device_settlement").set_index("asset")["payment_eur"]
    # the solver holds powers within 1e-6 kW; at 40 EUR/kWh over the evening that is far below a cent
    np.testing.assert_allclose(paid[expected.index], expected, atol=1e-3)


def test_an_unknown_gain_stays_unknown() -> None:
    money = {name: [1.0, 2.0, 4.0] for name in ("payment_eur", "base_payment_eur", "own_cost_eur")}
    days = pd.DataFrame({"asset": ["a", "a", "b"], "bus": "x", "kind": "battery", **money, "gain_eur": [1, np.nan, 5]})
    table = device_settlement_table(days).set_index("asset")
    assert table.loc["a", "payment_eur"] == 3.0
    assert np.isnan(table.loc["a", "gain_eur"]) and table.loc["b", "gain_eur"] == 5.0


def test_buses_without_a_price_on_a_day_have_no_rows_there(tight: StudyResults) -> None:
    assert tight.nodal_prices is not None
    prices = tight.nodal_prices.copy(deep=True)
    for name in prices:
        prices[name].loc[{"bus": "mill", "time": prices["time"][:10]}] = np.nan
    table = nodal_price_table(prices, "Europe/Berlin")
    assert len(table) == prices["energy"].size - 10


def test_needs_name_the_congested_places(tight: StudyResults, tight_run: RunFolder) -> None:
    needs, scenario = tight_run.table("flexibility_needs"), tight.scenario["flexibility"]
    assert set(needs["zone"]) == {"cable to the mill", "transformer"}
    assert needs["p_mw"].is_monotonic_decreasing
    assert set(needs["price_ceiling_eur_per_mwh"]) == {1000 * scenario["unserved_price_eur_per_kwh"]}
    assert set(json.loads(needs["sensitivities"].iloc[0])) == set(needs["buses"].iloc[0].split(", "))


def test_the_page_says_what_is_needed_and_what_moving_earns(tight_page: str, tight_run: RunFolder) -> None:
    shown = section(tight_page, "flexibility")
    for title in ("Flexibility needs", "Nodal prices", "What moving earns", "All numbers of the certificate"):
        assert title in shown, title
    need, first = tight_run.table("flexibility_needs").iloc[0], tight_run.table("device_settlement").iloc[0]
    assert f"{1e3 * need['p_mw']:.1f}" in shown
    assert "less consumption" in shown
    assert "probability are estimated" in shown and "the ceiling is assumed" in shown
    assert first["asset"] in shown and f"{first['gain_eur']:,.2f}".replace(",", "\u202f") in shown


def test_the_page_says_why_wishes_were_missed(tight_page: str, tight_run: RunFolder) -> None:
    shown = section(tight_page, "unmet")
    assert "Why wishes were missed" in shown
    cause = tight_run.table("causes").query("cause == 'network limit'").iloc[0]
    assert f"because line &#x27;{cause['because']}&#x27; is at its limit" in shown


def test_the_figure_shows_energy_and_the_buses_that_differ(tight_run: RunFolder) -> None:
    views = nodal_price_views(tight_run)
    traces = {trace.name: trace for trace in views["Price"].data}
    assert list(views) == ["Price", "Parts at Bus farm", "Parts at Bus mill"]
    assert set(traces) == {"Bus farm", "Bus mill", "Energy alone, everywhere"}
    top = tight_run.table("nodal_prices").groupby("bus")["price_eur_per_mwh"].max()
    # drawn in single precision
    assert max(traces["Bus farm"].y) == pytest.approx(top["farm"], rel=1e-6)


def test_buses_with_the_same_price_are_one_line() -> None:
    times = pd.date_range("2016-01-01", periods=2, freq="h")
    price = {"far": [70.0, 50.0], "twin of far": [69.9, 50.0], "other": [50.0, 60.0], "plain": [50.0, 50.0]}
    rows = [(time, bus, values[k], 50.0) for bus, values in price.items() for k, time in enumerate(times)]
    table = pd.DataFrame(rows, columns=["time_utc", "bus", "price_eur_per_mwh", "energy_eur_per_mwh"])
    assert differing_buses(table) == ["far", "other"]


def test_a_bus_explains_its_price_in_parts(tight_run: RunFolder) -> None:
    text = explain_asset(tight_run, "farm", "2016-03-28T19:00")
    table = tight_run.table("nodal_prices")
    row = table[(table["bus"] == "farm") & (table["time_utc"] == pd.Timestamp("2016-03-28T17:00"))].iloc[0]
    assert f"Nodal price, estimated: {row['price_eur_per_mwh']:.2f} EUR/MWh = energy" in text
    assert f"+ congestion {row['congestion_eur_per_mwh']:.2f} + voltage 0.00 + losses" in text
    assert "Nodal price: not known here" in explain_asset(tight_run, "substation", "2016-03-28T19:00")


def test_a_device_explains_what_it_saves_and_why_it_misses(tight_run: RunFolder) -> None:
    missed = tight_run.table("causes").query("what == 'energy not delivered'").iloc[0]
    saved = tight_run.table("device_settlement").set_index("asset").loc[missed["asset"], "gain_eur"]
    text = explain_asset(tight_run, missed["asset"], "2016-03-28T19:00")
    assert f"Saved by its schedule over the study, estimated: {saved:.2f} EUR" in text
    assert f"Missed on Mon 28 Mar: {missed['text']}" in text
    assert "Saved by its schedule" not in explain_asset(tight_run, "stable", "2016-03-28T19:00")


def test_certificate_lines_tell_the_judgement_and_its_measure(tight: StudyResults) -> None:
    lines = {line.lead: line for line in certificate_lines(tight.certificate, "Europe/Berlin")}
    assert list(lines) == ["Limits", "Largest violation", "Losses", "Optimality"]
    assert [line.tone for line in lines.values()] == ["bad", "bad", "good", "good"]
    over = tight.certificate["max_loading_violation_percent"]
    assert f"loading {over:.2f} % (tolerance 0.5 %)" in lines["Largest violation"].text
    assert "cable to the mill on Mon 28 Mar 19:" in lines["Largest violation"].text
    assert "target 2 %, met" in lines["Losses"].text
    assert "no plan within the modelled limits is cheaper" in lines["Optimality"].text


@pytest.mark.parametrize(
    ("changed", "lead", "tone", "words"),
    [
        ({"max_loss_error_percent": 2.76}, "Losses", "watch", "2.76 % of what AC power flow finds; target 2 %, missed"),
        ({"bound_gap": 0.034}, "Optimality", "watch", "could be cheaper by 3.4 % of its cost at most"),
        ({"converged": False}, "Plan and AC power flow", "watch", "do not agree yet after 4 rounds"),
        ({"unsolved_steps": 3}, "Largest violation", "good", "3 steps of paths have no power flow solution"),
    ],
)
def test_a_certificate_with_doubts_says_so(changed: dict[str, Any], lead: str, tone: str, words: str) -> None:
    certificate = {
        "limits_hold": True, "confidence": 0.9, "max_loading_violation_percent": 0.0, "max_voltage_violation_pu": 0.0,
        "worst_asset": "line 1", "max_loss_error_percent": 0.1, "bound_gap": 0.0, "rounds": 4,
        "solves": [{"round": 1}], "tolerances": CERTIFIED,
    }  # fmt: skip
    lines = {line.lead: line for line in certificate_lines({**certificate, **changed}, "UTC")}
    assert lines[lead].tone == tone
    assert words in lines[lead].text


def test_a_study_without_anything_flexible_says_what_it_needs(tmp_path: Path) -> None:
    """Nothing can be planned: no prices, no savings, no causes; the needs of the forecast stay."""
    growth = SCENARIO[SCENARIO.index("[[growth]]") : SCENARIO.index("[forecast]")]
    still = SCENARIO.replace(growth, "").replace('"street.json"', '"street.json"\nmax_loading_percent = 10.0')
    still += "[flexibility]\nkinds = []\n"
    results = run_study(write_own_study(tmp_path / "street", scenario=still))
    run = read_run(write_run(results, tmp_path / "run"))
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert results.nodal_prices is None
    assert not NEW_TABLES - {"flexibility_needs"} & set(run.names)
    shown = section(page, "flexibility")
    assert "Flexibility needs" in shown and "less consumption" in shown
    assert "What moving earns" not in shown and "Nodal prices" not in shown
    assert "Optimality" not in shown, "nothing was optimised"
    assert "Nodal price" not in explain_asset(run, "farm", "2016-03-28T19:00")


def test_a_study_that_needs_nothing_says_so(tight: StudyResults, tmp_path: Path) -> None:
    calm = replace(tight, flexibility_needs=tight.flexibility_needs.iloc[:0], causes=tight.causes.iloc[:0])
    run = read_run(write_run(calm, tmp_path / "run"))
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "every limit holds without flexibility" in section(page, "flexibility")
    assert "Why wishes were missed" not in page


def test_the_page_says_who_is_curtailed(tight: StudyResults, tmp_path: Path) -> None:
    """Two systems share 4 of 20 kWh; at least cost one alone would lose 3."""
    table = pd.DataFrame(
        {
            "day": "2026-06-02", "asset": ["near", "far"], "rule": "proportional", "e_expected_kwh": [10.0, 10.0],
            "e_least_cost_kwh": [0.0, 3.0], "e_lost_kwh": [2.0, 2.0], "jain_least_cost": 0.5, "jain": 1.0,
        }
    )  # fmt: skip
    run = read_run(write_run(replace(tight, curtailment=table), tmp_path / "run"))
    pd.testing.assert_frame_equal(run.table("curtailment"), table, check_dtype=False)
    page = section((run.folder / "report.html").read_text(encoding="utf-8"), "flexibility")
    assert "Who is curtailed" in page and "by what each feeds in" in page
    assert "2026-06-02: 1.00, at least cost 0.50" in page
    without = write_run(replace(tight, curtailment=table.iloc[:0]), tmp_path / "none") / "report.html"
    assert "Who is curtailed" not in without.read_text(encoding="utf-8")
