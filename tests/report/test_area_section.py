"""The control area on the page and in the tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridtwin.data.control_area import read_control_area
from gridtwin.data.market_rules import read_market_rules
from gridtwin.operate.area_day import AreaDay, run_area_day
from gridtwin.report.area_figures import activation_views, frequency_views, imbalance_cost_views, store_views
from gridtwin.report.page import render_page
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run


@pytest.fixture(scope="module")
def day(results: StudyResults) -> AreaDay:
    rules = read_control_area("continental_part"), read_market_rules("german_style")
    assert results.actual is not None
    return run_area_day(results.forecast, results.actual, results.prices, *rules, seed=1)


@pytest.fixture(scope="module")
def area_run(results: StudyResults, day: AreaDay, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with_area = replace(results, area=day.dataset, area_costs=day.costs, area_accounts=day.settlement.accounts,
                        findings=(*results.findings, *day.findings))  # fmt: skip
    return read_run(write_run(with_area, tmp_path_factory.mktemp("area") / "run"))


def test_tables_hold_quantiles_over_the_paths_and_what_came(area_run: RunFolder, day: AreaDay) -> None:
    frequency = area_run.table("area_frequency")
    paths = day.dataset["f_hz"].to_numpy()[:-1]
    np.testing.assert_allclose(frequency["f_p95_hz"], np.quantile(paths, 0.95, axis=0), rtol=1e-12)
    np.testing.assert_allclose(frequency["f_realised_hz"], day.dataset["f_hz"][-1], rtol=1e-12)
    imbalance = area_run.table("area_imbalance")
    assert imbalance["cost_realised_eur"].sum() == pytest.approx(day.costs["imbalance_cost_eur"].iloc[-1], abs=1e-9)
    assert imbalance["time_local"].dt.tz is not None
    activation = area_run.table("area_activation")
    assert len(activation) == 5 * len(frequency)
    assert activation.groupby("activation")["p_activation_realised_mw"].mean()["aFRR down"] < 0
    assert area_run.table("area_account")["balance_eur"].sum() == pytest.approx(0, abs=1e-6)


def test_figures_show_the_band_what_came_and_the_cost(area_run: RunFolder, day: AreaDay) -> None:
    band, median, came = (frequency_views(area_run)["Mean of the quarter hour"].data[place] for place in (1, 2, 3))
    assert (np.asarray(band["y"]) >= np.asarray(median["y"])).all()
    np.testing.assert_allclose(came["y"][:-1], day.dataset["f_hz"][-1], rtol=0, atol=1e-4)  # rounded for the page
    assert [trace["name"] for trace in activation_views(area_run)["As it came"].data] == [
        "FCR", "aFRR up", "aFRR down", "mFRR up", "mFRR down",
    ]  # fmt: skip
    assert list(store_views(area_run)) == ["Battery park", "Pooled household batteries"]
    paid = imbalance_cost_views(area_run)["Paid in all"]
    assert len(paid.data[0]["x"]) == (day.costs["case"] == "path").sum()
    marks = {note["text"] for note in paid.layout.annotations}
    assert f"as it came: {day.costs['imbalance_cost_eur'].iloc[-1]:.2f} EUR" in marks


def test_the_page_says_what_is_assumed(area_run: RunFolder, run: RunFolder) -> None:
    page = render_page(area_run)
    section = page[page.index('<section id="control_area">') :].split("</section>")[0]
    assert "The control area around the network is assumed" in section
    assert "studied network" in section
    assert '<section id="control_area">' not in render_page(run)


def test_scores_on_the_page_are_few_and_readable(run: RunFolder) -> None:
    page = render_page(run)
    section = page[page.index('<section id="forecast">') :].split("</section>")[0]
    assert "MAE [kW]" in section
    assert section.count("<th ") <= 11
    assert "mae_naive" not in section
