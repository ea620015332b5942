"""The statement of an AI workload as one page that opens without a network.

Beside every number stands whether it was measured, calculated, estimated or declared, and
what it counts; what is asked for and not known is shown as missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd

from gridtwin.ai_energy.exports import documentation_form, model_card_block, workload_energy
from gridtwin.ai_energy.quantity import Quantity
from gridtwin.ai_energy.rule_check import (
    FAULTS,
    FieldCheck,
    check_statement,
    find_applicability,
    is_complete,
    summary_line,
)
from gridtwin.ai_energy.rules import EnergyRuleSet, read_energy_rules
from gridtwin.ai_energy.statement_text import GROUP_TITLES, text_facts
from gridtwin.ai_energy.statement_values import interval_text, number_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement, find_quantities, statement_hash
from gridtwin.report.boundary_figure import boundary_figure, readable_energy, whisker
from gridtwin.report.html_table import Column, html_table
from gridtwin.report.markup import about_line, card, escape, judged_lines, titled_note
from gridtwin.report.verdict import Tone, VerdictLine

KIND_WORDS = {
    "measured": "read from a meter or counter",
    "calculated": "from measured values by a formula",
    "estimated": "from a model",
    "declared": "stated by somebody",
    "missing": "asked for and not known",
}
CHECK_HEADS = ("Asked for", "Status", "Stated", "Why", "Source")


def render_statement_page(statement: WorkloadStatement, rules: Sequence[str] = ()) -> str:
    """The page as text: the same statement and rule sets give the same bytes.

    Parameters
    ----------
    statement : WorkloadStatement
        What is stated.
    rules : sequence of str
        Names of the rule sets that it is checked against.
    """
    sets = [read_energy_rules(name) for name in rules]
    sections = _sections(statement, sets)
    title = statement.subject.model_id or "AI workload"
    parts = {
        "title": escape(f"{title} · energy statement"),
        "css": _resource("page.css") + _resource("ai_energy.css"),
        "header": _header(statement, title),
        "navigation": "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections),
        "main": _verdicts(statement, sets)
        + "".join(f'<section id="{anchor}"><h2>{escape(name)}</h2>{body}</section>' for anchor, name, body in sections),
        "footer": _footer(statement),
        "style": "{}",
        "figures": "",
        "plotly": "",
        "script": _resource("page.js"),
    }
    return Template(_resource("page.html")).substitute(parts)


def write_statement_page(statement: WorkloadStatement, path: str | Path, rules: Sequence[str] = ()) -> Path:
    """Write the page to a file."""
    Path(path).write_text(render_statement_page(statement, rules), encoding="utf-8")
    return Path(path)


def _resource(name: str) -> str:
    return files("gridtwin.report").joinpath(name).read_text(encoding="utf-8")


def _sections(statement: WorkloadStatement, sets: Sequence[EnergyRuleSet]) -> list[tuple[str, str, str]]:
    """Anchor, title and body of each section that has something to say."""
    found = [
        ("boundaries", "What is counted", card(boundary_figure(statement))),
        *((name, title, _group_section(statement, name)) for name, title in GROUP_TITLES.items()),
        *((f"rules-{rules.name}", rules.title, _rule_section(statement, rules)) for rules in sets),
    ]
    if any(rules.name == "gpai_form" for rules in sets):
        found.append(("form", "Model Documentation Form", _form_section(statement)))
    block = model_card_block(statement)
    if block:
        found.append(("card", "Model card", card(f"<pre><code>---\n{escape(block)}---</code></pre>")))
    return [section for section in found if section[2]]


def _header(statement: WorkloadStatement, title: str) -> str:
    report, subject = statement.report, statement.subject
    stated = workload_energy(statement)
    energy = None if stated is None else readable_energy(stated)
    period = " to ".join(f"{day:%d %b %Y}" for day in (report.period_start, report.period_end) if day is not None)
    facts = {
        "Energy of the workload": "not known" if energy is None else f"{number_text(energy)}, {energy.kind}",
        "95 % interval": "" if energy is None else interval_text(energy),
        "Counted up to": "" if energy is None else (energy.boundary or "not stated").replace("_", " "),
        "Version": subject.version or "",
        "Task": subject.task or "",
        "Period, UTC": period,
        "Publisher": report.publisher or "",
        "Confidentiality": report.confidentiality or "",
    }
    cells = _facts({name: text for name, text in facts.items() if text})
    legend = "".join(f"<span>{_pill(kind)} {escape(words)}</span>" for kind, words in KIND_WORDS.items())
    return (
        f'<div class="brand">gridtwin · energy statement</div><h1>{escape(title)}</h1>'
        f'{cells}<div class="legend">{legend}</div>'
    )


def _facts(values: Mapping[str, str]) -> str:
    """Names and texts, as they are."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in values.items())
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def _pill(kind: str) -> str:
    return f'<span class="pill {escape(kind)}">{escape(kind)}</span>'


def _verdicts(statement: WorkloadStatement, sets: Sequence[EnergyRuleSet]) -> str:
    """One judged line per rule set."""
    lines = []
    for rules in sets:
        checks = check_statement(statement, rules)
        idle = {check.status for check in checks} == {"not applicable"}
        text = find_applicability(statement, rules) if idle else summary_line(checks)
        tone: Tone = "bad" if not is_complete(checks) else "watch" if idle or not rules.checked else "good"
        lines.append(VerdictLine(tone, rules.title, text))
    return judged_lines(lines) if lines else ""


def _group_section(statement: WorkloadStatement, name: str) -> str:
    """Words and numbers of one group."""
    words = text_facts(statement).get(name, {})
    stated = [(place, value) for place, value in find_quantities(statement) if place.split(".")[0] == name]
    return card(_facts(words)) + card(_quantity_table(stated))


def _quantity_table(stated: Sequence[tuple[str, Quantity]]) -> str:
    if not stated:
        return ""
    head = "".join(f"<th>{name}</th>" for name in ("Quantity", "Value", "Kind", "Interval", "Counts", "How"))
    rows = "".join(_quantity_row(place, value) for place, value in stated)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _quantity_row(place: str, value: Quantity) -> str:
    name = " ".join(place.split(".")[1:]).replace("_", " ")
    shown = "–" if value.is_missing else escape(number_text(value))
    ends = interval_text(value)
    spread = f'{whisker(value)}<span class="range">{escape(ends)}</span>' if ends else ""
    share = f"; {value.measured_share:.0%} measured" if 0 < value.measured_share < 1 else ""
    return (
        f'<tr><td class="text">{escape(name)}</td><td class="middle">{shown}</td><td>{_pill(value.kind)}</td>'
        f"<td>{spread}</td><td>{escape((value.boundary or '').replace('_', ' '))}</td>"
        f'<td class="how">{escape(value.method + share)}</td></tr>'
    )


def _rule_section(statement: WorkloadStatement, rules: EnergyRuleSet) -> str:
    checks = check_statement(statement, rules)
    read = "Read in the text itself." if rules.checked else "The text was not read in full: confirm it first."
    about = f"Version {rules.version}, valid from {rules.valid_from}. {read} {find_applicability(statement, rules)}"
    head = "".join(f"<th>{name}</th>" for name in CHECK_HEADS)
    rows = "".join(_check_row(check) for check in checks)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return about_line(about) + card(titled_note(summary_line(checks), rules.note), table)


def _check_row(check: FieldCheck) -> str:
    mark = ' class="fault"' if check.status in FAULTS else ""
    unread = "" if check.checked else " (text not read)"
    kinds = "".join(f" {_pill(kind)}" for kind in check.kind.split(", ") if kind)
    cells = [escape(cell) for cell in (check.title, check.status, check.value, check.why, check.citation + unread)]
    cells[2] = f"{cells[2]}{kinds}" if cells[2] or kinds else "–"
    texts = "".join(f'<td class="text">{cell}</td>' for cell in cells)
    return f"<tr{mark}>{texts}</tr>"


def _form_section(statement: WorkloadStatement) -> str:
    table: pd.DataFrame = documentation_form(statement)
    columns = {"item": Column("Item"), "answer": Column("Answer"), "status": Column("Status"), "why": Column("Why")}
    return card(html_table(table, columns))


def _footer(statement: WorkloadStatement) -> str:
    return (
        f"Content SHA-256 <code>{statement_hash(statement)}</code>. Intervals hold 95 % of the possible true values. "
        "Energies of different boundaries are never added. Carbon ledgers are never netted."
    )
