"""The page of a statement: self-contained, escaped, and every number with its kind beside it."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

from gridtwin.ai_energy.quantity import Quantity, exact, missing
from gridtwin.ai_energy.rules import list_energy_rules, read_energy_rules
from gridtwin.ai_energy.statement_fields import Devices, Subject, Training
from gridtwin.ai_energy.workload_statement import WorkloadStatement, find_quantities, statement_hash
from gridtwin.report.ai_energy_page import render_statement_page, write_statement_page
from gridtwin.report.boundary_figure import boundary_figure, readable_energy, whisker

EXAMPLE = Path(__file__).parents[2] / "examples" / "ai_energy" / "complete_statement.py"
COMPLETE: WorkloadStatement = runpy.run_path(str(EXAMPLE))["complete_statement"]()
VOID = {"meta", "path", "rect", "circle", "br"}


class Balance(HTMLParser):
    """Every element that is opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_offline_and_always_the_same(tmp_path: Path) -> None:
    page = render_statement_page(COMPLETE, list_energy_rules())
    assert page == render_statement_page(COMPLETE, list_energy_rules())
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", page)
    assert "http://" not in page and "https://" not in page
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert statement_hash(COMPLETE) in page
    assert write_statement_page(COMPLETE, tmp_path / "page.html").read_text(encoding="utf-8")


def test_every_number_has_its_kind_and_every_set_its_table() -> None:
    page = render_statement_page(COMPLETE, list_energy_rules())
    kinds = [value.kind for _, value in find_quantities(COMPLETE)]
    without = render_statement_page(COMPLETE)
    for kind in set(kinds):
        # one more in the legend
        assert without.count(f'<span class="pill {kind}">') == kinds.count(kind) + 1
        assert page.count(f'<span class="pill {kind}">') > kinds.count(kind) + 1
    for name in list_energy_rules():
        for rule in read_energy_rules(name).rules:
            assert rule.title in page
    assert "gpu, accelerator, 80 GB" in page and "fine_tuning" in page


def test_missing_is_shown_and_text_is_escaped() -> None:
    energy = missing("MWh", reason="no <meter>")
    statement = WorkloadStatement(subject=Subject(model_id="<b>x</b>"), training=Training(energy=energy))
    page = render_statement_page(statement, ["gpai_form"])
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>x</b>" not in page and "no &lt;meter&gt;" in page
    assert page.count('<span class="pill missing">') == 3  # legend, number, form
    assert "not complete" in page


def test_the_chain_shows_what_is_stated_where() -> None:
    node = Quantity(unit="kWh", kind="estimated", method="m", boundary="node", p2_5=1, p50=2, p97_5=6)
    figure = boundary_figure(WorkloadStatement(devices=Devices(node=node), training=Training(energy=node.to("MWh"))))
    assert figure.count("2.00 kWh") == 1 and figure.count("not stated") == 7  # six boxes and the note
    assert boundary_figure(WorkloadStatement()) == ""
    odd = WorkloadStatement(devices=Devices(node=node.model_copy(update={"unit": "lx"})))
    assert "2.00 lx" in boundary_figure(odd)  # the rule check says what is wrong, the page shows it
    # -50 % to +200 %: from 15 to 90 of 90
    assert 'd="M15.0 7 H90.0"' in whisker(node)
    units = [(2.4e7, "GWh", 24.0), (900.0, "kWh", 900.0), (1e-4, "J", 360.0)]
    for kwh, unit, shown in units:
        read = readable_energy(exact(kwh, "kWh", kind="measured", method="m"))
        assert read.unit == unit and abs((read.p50 or 0) - shown) < 1e-9 * shown
