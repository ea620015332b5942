"""The page: offline, escaped, complete; figures in local time with the sign they name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from gridtwin.report import figures
from gridtwin.report.figure_style import axis_times, power_scale, time_title
from gridtwin.report.html_table import auto_table, column_title
from gridtwin.report.markup import script_json
from gridtwin.report.network_map import map_views
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run
from gridtwin.report.verdict import build_verdict, percent_words, verdict_text


@pytest.fixture(scope="module")
def page(run: RunFolder) -> str:
    return (run.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def own(page: str) -> str:
    """The page without the plotly library."""
    library = get_plotlyjs().replace("</script", "<\\/script")
    assert page.count(library) == 1, "the library stands in the page exactly once"
    return page.replace(library, "")


class _Links(HTMLParser):
    """Collects every attribute that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetching = {"src", "href", "srcset", "action", "data", "poster", "style"}
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in fetching]


def test_the_page_needs_no_network(own: str) -> None:
    links = _Links()
    links.feed(own)
    beside = r"a href=(#[a-z]+|statements/[\w%-]+\.html)"  # within the page, or in its own folder
    assert all(re.fullmatch(beside, link) for link in links.found), links.found
    assert not re.findall(r"https?://|url\(|@import", own)
    assert "default-src 'none'" in own


def test_the_page_is_small_enough_to_mail(page: str) -> None:
    assert len(page.encode()) < 8e6


def test_names_from_files_cannot_become_markup(own: str) -> None:
    assert "<script>alert" not in own
    assert "<img" not in own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in own
    assert "&lt;img src=x&gt;" in own


def test_json_cannot_end_its_script() -> None:
    text = script_json({"name": "</script><b>"})
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><b>"}


def test_every_section_of_this_study_is_there(own: str) -> None:
    anchors = re.findall(r'<section id="([a-z]+)">', own)
    assert anchors == ["network", "congestion", "loading", "forecast", "flexibility", "unmet", "balancing",
                       "connections", "observation", "quality", "assumptions", "energy", "trace"]  # fmt: skip
    assert re.findall(r'<a href="#([a-z]+)">', own) == anchors


def test_every_figure_has_its_data(own: str) -> None:
    wanted = re.findall(r'data-figure="([^"]+)"', own)
    blocks = dict(re.findall(r'<script type="application/json" id="(figure-\d+)">(.*?)</script>', own, re.S))
    assert len(wanted) >= 7
    assert set(wanted) == set(blocks)
    for block in blocks.values():
        for view in json.loads(block):
            assert view["data"], view["name"]
            assert view["layout"]["height"] > 0


def test_a_bare_study_has_a_page_too(make_study: Any, tmp_path: Path) -> None:
    nothing = pd.DataFrame()
    bare = replace(
        make_study(steps=8, paths=3), schedule=None, balancing=None, actual=None, prices=None, unmet=nothing,
        unmet_realised=nothing, settlement=nothing, balancing_totals={}, certificate={}, connections=nothing,
        observation=nothing, findings=(), energy={}, congestions=nothing, ledger=nothing, scores=nothing,
        data_quality=nothing,
    )  # fmt: skip
    bare = replace(bare, power_flows={"forecast": bare.power_flows["forecast"]})
    run = read_run(write_run(bare, tmp_path / "bare"))
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    anchors = re.findall(r'<section id="([a-z]+)">', text)
    assert anchors == ["network", "congestion", "loading", "forecast", "quality", "assumptions", "trace"]
    assert build_verdict(run)[0].tone == "good"


def test_the_verdict_says_where_when_and_how_likely(run: RunFolder, results: StudyResults) -> None:
    lines = build_verdict(run)
    row = results.congestions.loc["forecast"].iloc[0]
    local = row["worst_time"].tz_localize("UTC").tz_convert("Europe/Berlin")
    assert [line.tone for line in lines][:2] == ["bad", "good"]
    assert f"trafo 1: {percent_words(row['probability'])} probability of overload" in lines[0].text
    assert f"worst {row['worst_value']:.0f} % (limit 100 %) on {local:%a %d %b %H:%M}" in lines[0].text
    assert "all limits hold all day in at least 95 % of the paths, agreed: 90 %" in lines[1].text
    assert verdict_text(run).count("\n") == 3


@pytest.mark.parametrize(("paths_over", "tone"), [(0, "good"), (2, "watch"), (3, "bad")])
def test_a_schedule_may_use_the_agreed_risk(
    make_study: Any, tmp_path: Path, count_overloads: Any, paths_over: int, tone: str
) -> None:
    """20 paths and a confidence of 90 %: 2 of them may be over a limit."""
    study = make_study(steps=8, paths=20)
    flow = study.power_flows["forecast_scheduled"].copy(deep=True)
    flow["loading_percent"].loc[{"branch": "line 2", "time": flow["time"][3]}][:paths_over] = 130.0
    found = {"forecast_scheduled": count_overloads(flow)}
    share = 1 - paths_over / 20
    certificate = {**study.certificate, "limits_hold": share >= 0.9, "lowest_share_holding": share}
    flows, congestions = {"forecast_scheduled": flow}, pd.concat(found, names=["case"])
    study = replace(study, power_flows=flows, congestions=congestions, certificate=certificate)
    line = build_verdict(read_run(write_run(study, tmp_path / "run")))[0]
    assert line.tone == tone
    if paths_over:
        assert f"at line 2 {5 * paths_over} % of the paths are over the limit" in line.text


def test_generation_is_shown_positive_and_says_so(run: RunFolder) -> None:
    figure = figures.forecast_views(run)["PV"]
    assert figure.layout.yaxis.title.text.startswith("Generation [")
    median = next(trace for trace in figure.data if trace.name == "Forecast, median")
    assert max(median.y) > 10
    assert min(median.y) >= 0
    upper = next(trace for trace in figure.data if trace.name == "5 % to 95 % of the paths")
    assert (np.asarray(upper.y) >= np.asarray(upper.customdata)).all(), "flipping the sign swaps the quantiles"


def test_bars_point_up_for_consumption_and_hover_says_the_direction(run: RunFolder) -> None:
    bars = {trace.name: trace for trace in figures.schedule_views(run)["With schedule"].data if trace.type == "bar"}
    assert min(bars["Electric car"].y) >= 0
    assert max(bars["PV"].y) <= 0
    assert "generated" in bars["PV"].customdata[int(np.argmin(bars["PV"].y))]
    assert "discharged" in bars["Battery"].customdata[int(np.argmin(bars["Battery"].y))]


def test_the_time_axis_is_local(run: RunFolder) -> None:
    trace = figures.loading_views(run)["Transformer trafo 1"].data[0]
    assert pd.Timestamp(trace.x0) == pd.Timestamp("2016-12-13 00:00")
    end = pd.Timestamp(trace.x0) + pd.Timedelta(milliseconds=trace.dx) * (len(trace.y) - 1)
    assert end == pd.Timestamp("2016-12-14 00:00"), "the last interval is drawn to its end"


def test_a_clock_change_neither_doubles_nor_hides_an_hour() -> None:
    times = pd.date_range("2016-10-29T22:00", periods=100, freq="15min")
    drawn = axis_times(times, "Europe/Berlin")
    assert (np.diff(drawn) == np.timedelta64(15, "m")).all()
    assert "clocks change" in time_title(times, "Europe/Berlin")
    assert time_title(times[:4], "Europe/Berlin") == "Local time (Europe/Berlin)"


def test_the_map_draws_every_branch_in_one_class(run: RunFolder) -> None:
    views = map_views(run)
    assert len(views) == 4
    figure = views["Forecast, no flexibility"]
    counts = [int(re.findall(r"\((\d+)\)$", trace.name)[0]) for trace in figure.data if trace.mode == "lines"]
    assert sum(counts) == 5
    over = next(trace for trace in figure.data if str(trace.name).startswith("over the limit"))
    assert over.name.endswith("(1)"), "only the transformer is over its limit"


def test_names_in_figures_are_plain_text(run: RunFolder) -> None:
    texts = " ".join(text for trace in map_views(run)["Forecast, no flexibility"].data for text in (trace.text or ()))
    assert "D &amp; &lt;E&gt;" in texts


def test_small_powers_are_told_in_kw() -> None:
    assert power_scale(np.array([0.4, -2.9])) == (1e3, "kW")
    assert power_scale(np.array([0.4, -3.1])) == (1.0, "MW")


def test_a_probability_is_never_rounded_to_certainty() -> None:
    assert [percent_words(p) for p in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "0 %",
        "under 1 %",
        "50 %",
        "over 99 %",
        "100 %",
    ]


def test_tables_escape_and_carry_raw_values() -> None:
    markup = auto_table(pd.DataFrame({"name": ["<b>"], "cost_eur": [1234.5]}))
    assert "&lt;b&gt;" in markup
    assert 'data-value="1234.5"' in markup
    assert "Cost [EUR]" in markup
    assert column_title("p_mw") == "P [MW]"
