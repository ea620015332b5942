"""`report.html`: one file that opens without a network, readable in a minute."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from gridtwin.report import figures
from gridtwin.report.area_section import area_section
from gridtwin.report.data_centre_section import data_centre_section
from gridtwin.report.figure_style import AFTER, CONFIG, GRID, INK, LIMIT, MUTED, kind_word, template
from gridtwin.report.flexibility_section import schedule_section, unmet_section
from gridtwin.report.html_table import Column, auto_table, html_table, in_kw, number, significant
from gridtwin.report.markup import PageFigures, about_line, card, escape, facts, judged_lines, script_json, titled_note
from gridtwin.report.network_map import map_views
from gridtwin.report.results import CASES, agreed_confidence, ordered_cases
from gridtwin.report.tiles import tiles_of
from gridtwin.report.verdict import (
    DIRECTION_WORDS,
    ELEMENT_WORDS,
    build_verdict,
    hours_words,
    local_words,
    percent_words,
    quantity_words,
)

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

DARK = {
    INK: "#e4e9ee",
    MUTED: "#9aa7b4",
    GRID: "#2a3540",
    "#c4ccd4": "#3c4854",
    "#52606d": "#8b98a5",
    LIMIT: "#f08aa3",
    AFTER: "#4aa8e0",
}
"""Colours of lines and text in the light scheme -> in the dark one."""


def render_page(run: RunFolder) -> str:
    """The page of a finished run as text, from `run.json` and the tables alone."""
    from plotly.offline import get_plotlyjs

    drawn = PageFigures()
    sections = [(title, anchor, body) for title, anchor, make in SECTIONS if (body := make(run, drawn))]
    main = "".join(
        f'<section id="{anchor}"><h2>{escape(title)}</h2>{body}</section>' for title, anchor, body in sections
    )
    style = {"template": template(), "config": CONFIG, "dark": DARK}
    parts = {
        "title": escape(f"{run.about['title']} · gridtwin"),
        "css": _resource("page.css"),
        "header": _header(run),
        "navigation": "".join(f'<a href="#{anchor}">{escape(title)}</a>' for title, anchor, _ in sections),
        "main": judged_lines(build_verdict(run)) + tiles_of(run) + main,
        "footer": _footer(run),
        "style": script_json(style),
        "figures": drawn.markup(),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        "script": _resource("page.js"),
    }
    return Template(_resource("page.html")).substitute(parts)


def _resource(name: str) -> str:
    return files("gridtwin.report").joinpath(name).read_text(encoding="utf-8")


def _header(run: RunFolder) -> str:
    about = run.about
    time, network = about["time"], about["network"]
    days = [pd.Timestamp(day) for day in time["days"]]
    span = f"{days[0]:%a %d %b %Y}" + (f" to {days[-1]:%a %d %b %Y}" if len(days) > 1 else "")
    issued = ", ".join(local_words(stamp) for stamp in time["issue_local"][:1])
    devices = sum(network["assets"].values())
    facts = {
        "Network": network["source"],
        "Size": f"{network['buses']} buses, {network['branches']} branches, {devices} assets",
        "Studied": f"{span}, {time['zone']}",
        "Forecast issued": f"{issued} local time" + (" and each day after" if len(time["issue_local"]) > 1 else ""),
        "Paths and step": f"{about['forecast']['path_count']} paths, {time['step_minutes']:g} min",
        "Limits": str((about.get("rules") or {}).get("title") or (about.get("rules") or {}).get("name", "")),
    }
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        f'<div class="brand">gridtwin · study report</div><h1>{escape(about["title"])}</h1>'
        f'<p class="lead">{escape(str(about["description"]).strip())}</p><dl class="facts">{cells}</dl>'
    )


def _map_section(run: RunFolder, drawn: PageFigures) -> str:
    places = set(run.table("buses")["place"])
    how = (
        "Places are those of the network file."
        if places == {"given"}
        else "The network file has no complete coordinates; the tree is drawn from the source downwards."
    )
    agreed = percent_words(agreed_confidence(run.about["scenario"]))
    note = (
        f"Line width and colour: highest loading in the study that {agreed} of the paths stay below. "
        f"Bus colour: voltage farthest from nominal. {how}"
    )
    return card(drawn.place(map_views(run), title="Where it is tight", note=note))


def _congestion_section(run: RunFolder, drawn: PageFigures) -> str:
    risk = drawn.place(
        figures.risk_views(run),
        title="When it is tight",
        note="Share of the forecast paths over the planning limit in each quarter hour, tightest elements first. "
        "For what happened, the share is 0 or 100 %.",
    )
    table = run.table("congestions")
    if table.empty:
        return card(risk) + card('<p class="empty">No limit is exceeded in any case.</p>')
    listed = (_case_table(table, case) for case in ordered_cases(table["case"].unique()))
    about = "Probability: share of the paths in which the limit is broken at any time of the study."
    return card(risk) + card(f'<p class="figure-title">Congestions</p><p class="figure-note">{about}</p>', *listed)


def _case_table(table: pd.DataFrame, case: str) -> str:
    """Congestions of one case, foldable; the forecast is open."""
    rows = table[table["case"] == case]
    places = [
        figures.titled(ELEMENT_WORDS.get(str(e), str(e)), str(a))
        for e, a in zip(rows["element"], rows["asset"], strict=True)
    ]
    head = f"<summary>{escape(CASES.get(case, case))}: {len(rows)} place{'s' if len(rows) > 1 else ''}</summary>"
    body = html_table(rows.assign(place=places), _congestion_columns(rows), most_rows=40)
    return f"<details{' open' if case.startswith('forecast') else ''}>{head}{body}</details>"


def _congestion_columns(table: pd.DataFrame) -> dict[str, Column]:
    """Columns people read; the table file has more."""
    unit = table["unit"].iloc[0] if table["unit"].nunique() == 1 else ""
    value = number(1, unit) if unit == "%" else _value_of_any_unit
    return {
        "place": Column("Place"),
        "direction": Column("What", lambda value: DIRECTION_WORDS.get(str(value), str(value))),
        "probability": Column("Probability", percent_words, number=True),
        "worst_value": Column("Worst", value, number=True),
        "limit": Column("Limit", value, number=True),
        "worst_time_local": Column("Worst at, local time", local_words, short=True),
        "hours_over": Column("Time over, mean", hours_words, number=True),
        "energy_over_mwh": Column("Energy over [kWh]", number(1, factor=1e3), number=True),
        "rule": Column("Rule"),
        "contributors": Column("Main contributors at the worst time"),
    }


def _value_of_any_unit(value: Any) -> str:
    """Loadings in percent and voltages in pu share the column; their sizes tell them apart."""
    return quantity_words(value, "pu") if abs(float(value)) < 3 else quantity_words(value, "%")


def _loading_section(run: RunFolder, drawn: PageFigures) -> str:
    note = "Band: 5 to 95 % of the forecast paths. Thin lines: what happened."
    loading = drawn.place(figures.loading_views(run), title="Loading of the tightest branches", note=note)
    voltage = drawn.place(figures.voltage_views(run), title="Voltage", note=note)
    return card(loading) + card(voltage)


def _forecast_section(run: RunFolder, drawn: PageFigures) -> str:
    weather = run.about["forecast"].get("weather", "")
    model = run.about["forecast"].get("model", "")
    note = (
        f"Model: {model}. Weather: {weather}. Bands hold the stated shares of the correlated paths. "
        "Consumption is positive; of generating kinds, generation is."
    )
    fan = drawn.place(figures.forecast_views(run), title="Forecast and what happened", note=note)
    return card(fan) + _score_card(run.table("forecast_scores"))


SCORE_COLUMNS = {
    "name": Column("Of", kind_word),
    "mae_kw": Column("MAE [kW]", significant, number=True),
    "nmae_percent": Column("nMAE [%]", number(1), number=True),
    "rmae": Column("rMAE", number(2), number=True),
    "bias_kw": Column("Bias [kW]", significant, number=True),
    "skill_percent": Column("Skill [%]", number(1), number=True),
    "pinball_skill_percent": Column("Pinball skill [%]", number(1), number=True),
    "crps_skill_percent": Column("CRPS skill [%]", number(1), number=True),
    "coverage_of_80_percent_band_percent": Column("In 80 % band [%]", number(1), number=True),
    "coverage_of_90_percent_band_percent": Column("In 90 % band [%]", number(1), number=True),
    "peak_error_kw": Column("Peak error [kW]", significant, number=True),
}
"""Scores that people read; the table file has more."""


def _score_card(scores: pd.DataFrame) -> str:
    """Scores of the total and of each kind; those of every asset stay in the table file."""
    if scores.empty:
        return ""
    groups = in_kw(scores[scores["level"] != "asset"] if "level" in scores else scores)
    empty = [str(name) for name in groups if groups[name].isna().all()]
    note = (
        "Skill: 100 % is perfect, 0 % no better than the naive forecast; rMAE: error by that of the naive. "
        "More scores, and those of each asset: forecast_scores."
    )
    table = html_table(groups.drop(columns=empty).iloc[::-1], SCORE_COLUMNS)
    return card(f'<p class="figure-title">Scores against what happened</p><p class="figure-note">{note}</p>', table)


def _balancing_section(run: RunFolder, drawn: PageFigures) -> str:
    figure = drawn.place(
        figures.balancing_views(run),
        title="Deviation from the schedule and what covered it",
        note="Mean per quarter hour; the simulation runs in finer steps. "
        "Deviation = what is left − batteries − reserves, consumption positive.",
    )
    totals = {name: value for name, value in run.about["balancing"].items() if value is not None}
    shown = dict(in_kw(pd.DataFrame([totals])).iloc[0].astype(float)) if totals else {}
    return card(figure) + card('<p class="figure-title">Sums over the study</p>' if totals else "", facts(shown))


def _table_section(name: str, about: str = "") -> Callable[[RunFolder, PageFigures], str]:
    """Section that shows one table, if the run has it."""

    def make(run: RunFolder, drawn: PageFigures) -> str:
        table = run.table(name)
        return (about_line(about) if about else "") + card(auto_table(in_kw(table))) if len(table) else ""

    return make


def _connection_section(run: RunFolder, drawn: PageFigures) -> str:
    table = run.table("connections")
    if table.empty:
        return ""
    return about_line("Whether the request fits in every quarter hour that was looked at, and what limits it.") + card(
        html_table(table, CONNECTION_COLUMNS)
    )


def _yes_no(value: Any) -> str:
    return "yes" if value else "no"


CONNECTION_COLUMNS = {
    "name": Column("Request"),
    "bus": Column("Bus"),
    "kind": Column("Kind"),
    "kw": Column("Requested [kW]", number(0), number=True),
    "fits": Column("Fits", _yes_no),
    "largest_kw": Column("Largest that fits [kW]", number(0), number=True),
    "limiting_asset": Column("Limited by"),
    "limiting_time_local": Column("At, local time", local_words),
    "worst_value": Column("Value there", _value_of_any_unit, number=True),
    "limit": Column("Limit", _value_of_any_unit, number=True),
    "already_violated_without": Column("Broken already without it", _yes_no),
}


def _quality_section(run: RunFolder, drawn: PageFigures) -> str:
    shares = {name: share for name, share in run.about["data_quality"].items() if share}
    facts = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(percent_words(float(share)))}</dd></div>"
        for name, share in shares.items()
        if isinstance(share, float) and 0 <= share <= 1
    )
    quality = (
        f'<p class="figure-title">Quality of the profiles, mean share</p><dl class="facts">{facts}</dl>'
        if facts
        else ""
    )
    findings = run.table("findings")
    listed = auto_table(findings) if len(findings) else '<p class="empty">No findings.</p>'
    return card(quality) + card('<p class="figure-title">Findings</p>', listed)


def _assumption_section(run: RunFolder, drawn: PageFigures) -> str:
    assumed = run.about["assumed"]
    items = "".join(f"<li>{escape(text)}</li>" for text in assumed) or "<li>None declared.</li>"
    rules = run.about.get("rules") or {}
    words = {name: escape(rules.get(name) or "–") for name in ("title", "version", "source", "note")}
    source = '<p class="note">Limits: {title}, version {version}. Source: {source}. {note}</p>'.format(**words)
    return card(
        f'<p class="figure-title">Inputs that were assumed, not measured</p><ul class="plain">{items}</ul>{source}'
    )


def _energy_section(run: RunFolder, drawn: PageFigures) -> str:
    energy, ledger = run.about["energy"], run.table("energy")
    if not energy:
        return ""
    table = auto_table(ledger) if len(ledger) else ""
    return card(facts(energy)) + card(table) + card(_worth(run)) + card(_statement_links(run))


def _statement_links(run: RunFolder) -> str:
    """Energy statements of the computing and of planned workloads, which lie beside the page."""
    links = [
        f'<li><a href="{quote(f"{file.parent.name}/{file.name}")}">{escape(file.stem.replace("_", " "))}</a></li>'
        for file in run.statements
    ]
    note = "As pages and as JSON for `gridtwin energy check`; each number with its kind, boundary and interval."
    return titled_note("Energy statements", note) + f"<ul>{''.join(links)}</ul>" if links else ""


def _worth(run: RunFolder) -> str:
    """What the computing was worth; nothing of it is set off against what it took."""
    table = run.table("energy_value")
    if table.empty:
        return ""
    note = "Two ledgers beside each other: what the computing took, and what it changed. They are not netted."
    columns = {
        "what": Column("What"),
        "value": Column("Value", significant, number=True),
        "unit": Column("Unit", short=True),
        "kind": Column("Kind", short=True),
        "how": Column("How"),
    }
    return titled_note("Value beside cost", note) + html_table(table, columns)


def _trace_section(run: RunFolder, drawn: PageFigures) -> str:
    about = run.about
    versions = ", ".join(f"{escape(name)} {escape(version)}" for name, version in about["versions"].items())
    inputs = "".join(
        f"<li>{escape(name)} <code>{escape(digest)}</code></li>" for name, digest in about["inputs_sha256"].items()
    )
    hashes = f'<p class="figure-title">Inputs, SHA-256</p><ul class="plain">{inputs}</ul>' if inputs else ""
    tables = pd.DataFrame(list(about["tables"].items()), columns=["table", "rows"])
    return card(f'<p class="note">Seed {escape(about["seed"])}. {versions}.</p>{hashes}') + card(
        '<p class="figure-title">Tables of this run, in tables/*.parquet and tables.xlsx</p>', auto_table(tables)
    )


def _footer(run: RunFolder) -> str:
    about = run.about
    return (
        f"gridtwin {escape(about['versions']['gridtwin'])}. Times are local time in {escape(about['time']['zone'])} "
        "and name the start of the interval. Consumption is positive in tables. Estimated: from forecast paths. "
        "Assumed: declared, not measured. Calculated: by power flow or sums from these inputs."
    )


Section = Callable[["RunFolder", PageFigures], str]
SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("Network", "network", _map_section),
    ("Congestion", "congestion", _congestion_section),
    ("Loading and voltage", "loading", _loading_section),
    ("Forecast", "forecast", _forecast_section),
    ("Flexibility", "flexibility", schedule_section),
    ("What stays unmet", "unmet", unmet_section),
    ("Balancing", "balancing", _balancing_section),
    ("Control area", "control_area", area_section),
    ("Data centres", "data_centres", data_centre_section),
    ("Connection requests", "connections", _connection_section),
    (
        "Observation",
        "observation",
        _table_section("observation", "The model against the measurement at the feeder head."),
    ),
    ("Data quality and findings", "quality", _quality_section),
    ("Assumptions", "assumptions", _assumption_section),
    ("Energy of the computing", "energy", _energy_section),
    ("Trace", "trace", _trace_section),
)
"""Title, anchor and maker of each section, in reading order; an empty one is left out."""
