"""Sections of the page on flexibility: what is asked for, what the schedule does, what it is worth, what it misses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from gridtwin.report import figures
from gridtwin.report.certificate_lines import certificate_lines
from gridtwin.report.figure_style import kind_word, power_scale
from gridtwin.report.flexibility_figures import nodal_price_views
from gridtwin.report.html_table import Column, auto_table, html_table, number
from gridtwin.report.markup import PageFigures, about_line, card, escape, facts, judged_lines, titled_note
from gridtwin.report.results import price_kind
from gridtwin.report.verdict import ELEMENT_WORDS, certificate_words, local_words, percent_words

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

MOST_CAUSES, MOST_NEEDS, MOST_DEVICES = 15, 12, 12
"""Rows that the page shows; the table files hold all."""


def schedule_section(run: RunFolder, drawn: PageFigures) -> str:
    """What is needed, what the schedule does, what it is worth to whom, and its certificate."""
    flexible = drawn.place(
        figures.schedule_views(run),
        title="Flexible power by kind of device",
        note="Consumption points up, generation and discharge point down; "
        "the numbers on hover are positive, with their direction in words.",
    )
    stored = drawn.place(
        figures.storage_views(run), title="Stored energy", note="At the end of each quarter hour, as scheduled."
    )
    prices = drawn.place(nodal_price_views(run), title="Nodal prices", note=_price_note(run))
    cards = card(_needs(run)) + card(flexible) + card(stored) + card(prices) + card(_gains(run)) + card(_shares(run))
    cards += _certificate_card(run.about["certificate"], str(run.about["time"]["zone"]))
    return about_line(who_is_flexible(run)) + cards if cards else ""


def who_is_flexible(run: RunFolder) -> str:
    """How many devices of each kind and origin the schedule may move, and how many of the same kinds it may not."""
    network = run.about["network"]

    def words(counts: dict[str, int]) -> str:
        return ", ".join(f"{count} × {name}" for name, count in counts.items()) or "none"

    return f"The schedule moves: {words(network['flexible'])}. It leaves alone: {words(network['inflexible'])}."


def _price_note(run: RunFolder) -> str:
    prices = run.table("prices")
    given = "a flat price (assumed)" if prices.empty else f"the day-ahead prices ({prices['kind'].iloc[0]})"
    return (
        "What one more MWh consumed at a bus costs the cheapest plan: energy, and what the network adds to it. "
        "Where a limit stays exceeded it is the scenario's price of a breach. Shown where it differs most, among the "
        f"buses with flexible devices. {price_kind(prices).capitalize()} from {given} and the expected power. "
        "All buses: nodal_prices."
    )


def _needs(run: RunFolder) -> str:
    """What to ask for so that the limits hold in the forecast, without the schedule."""
    table = run.table("flexibility_needs")
    if not len(table.columns):
        return ""
    if table.empty:
        nothing = "None: in the agreed share of the paths every limit holds without flexibility."
        return titled_note("Flexibility needs") + f'<p class="empty">{nothing}</p>'
    note = (
        "What would make each limit hold in the agreed share of the forecast paths, before any schedule, delivered at "
        "the bus that helps most. Limits in series share the same need: rows are not to be added up. Power, energy and "
        f"probability are estimated{', each power proved by AC power flow' if table['proved'].all() else ''}; "
        f"the ceiling is assumed: {table['price_basis'].iloc[0]}."
    )
    places = [
        figures.titled(ELEMENT_WORDS.get(element, element), zone)
        for element, zone in zip(table["element"], table["zone"], strict=True)
    ]
    shown = html_table(table.assign(place=places), _need_columns(table), most_rows=MOST_NEEDS)
    return titled_note("Flexibility needs", note) + shown


def _need_columns(table: pd.DataFrame) -> dict[str, Column]:
    factor, unit = power_scale(table["p_mw"].fillna(0))
    columns = {
        "place": Column("Limit"),
        "direction": Column("Needed", short=True),
        "start_local": Column("From, local time", local_words, short=True),
        "end_local": Column("Until, local time", local_words, short=True),
        "p_mw": Column(f"Power [{unit}]", number(1, factor=factor), number=True),
        "e_mwh": Column(f"Energy [{unit}h]", number(1, factor=factor), number=True),
        "probability": Column("Probability", percent_words, number=True),
        "price_ceiling_eur_per_mwh": Column("Ceiling [EUR/MWh]", number(0), number=True),
        "best_bus": Column("Best bus"),
    }
    doubt = {"proved": Column("Proved by AC", lambda proved: "yes" if proved else "no")}
    return columns if table["proved"].all() else columns | doubt


def _gains(run: RunFolder) -> str:
    """What devices pay and save at the nodal prices, those that save most first."""
    table = run.table("device_settlement")
    if table.empty:
        return ""
    total, kind = number(2, "EUR")(table["gain_eur"].sum()), price_kind(run.table("prices"))
    note = (
        f"Against the same device unscheduled, at the same nodal prices: {len(table)} devices save {total} in all. "
        "Saved = payment and own cost unscheduled − payment and own cost as planned; own costs are wear, discomfort, "
        f"curtailment and energy not delivered. {kind.capitalize()}, like the prices; this is no bill. "
        "All devices: device_settlement."
    )
    return titled_note("What moving earns", note) + html_table(
        table.assign(network_eur=table["congestion_eur"] + table["voltage_eur"]), GAIN_COLUMNS, most_rows=MOST_DEVICES
    )


GAIN_COLUMNS = {
    "asset": Column("Device"),
    "kind": Column("Kind", kind_word, short=True),
    "bus": Column("Bus"),
    "base_payment_eur": Column("Pays unscheduled [EUR]", number(2), number=True),
    "payment_eur": Column("Pays as planned [EUR]", number(2), number=True),
    "network_eur": Column("Of it for limits [EUR]", number(2), number=True),
    "own_cost_eur": Column("Own cost [EUR]", number(2), number=True),
    "gain_eur": Column("Saved [EUR]", number(2), number=True),
}
"""Columns people read; the table file has more."""


def _shares(run: RunFolder) -> str:
    """Who is curtailed where several could relieve a limit, and how equally."""
    table = run.table("curtailment")
    if table.empty:
        return ""
    days = table.drop_duplicates("day")
    lost, least = (table[name].sum() / 1000 for name in ("e_lost_kwh", "e_least_cost_kwh"))
    index = "; ".join(
        f"{day}: {now:.2f}" + ("" if now == before else f", at least cost {before:.2f}")
        for day, now, before in zip(days["day"], days["jain"], days["jain_least_cost"], strict=True)
    )
    rule = SHARING_WORDS[table["rule"].iloc[0]]
    note = (
        f"Feed-in that is not used, of all systems that could relieve a limit: {lost:.2f} MWh expected"
        f"{'' if lost == least else f', at least cost {least:.2f} MWh'}. Shared {rule}. "
        f"Jain's index over the shares lost, 1 where all are equal: {index}. "
        "Set by flexibility.curtailment_sharing; each event in curtailment_log."
    )
    sums = table.groupby("asset", sort=False)[["e_expected_kwh", "e_least_cost_kwh", "e_lost_kwh"]].sum().reset_index()
    sums["share"] = sums["e_lost_kwh"] / sums["e_expected_kwh"]
    shown = sums.sort_values("e_lost_kwh", ascending=False, kind="stable")
    return titled_note("Who is curtailed", note) + html_table(shown, SHARE_COLUMNS, most_rows=MOST_DEVICES)


SHARING_WORDS = {
    "cost": "at least cost",
    "rotation": "in turns, who has lost least first",
    "proportional": "by what each feeds in",
    "lexicographic": "so that the largest share lost is as small as possible",
}
"""Rule of `flexibility.curtailment_sharing` -> words after "Shared"."""
SHARE_COLUMNS = {
    "asset": Column("System"),
    "e_expected_kwh": Column("Expected feed-in [kWh]", number(1), number=True),
    "e_least_cost_kwh": Column("Lost at least cost [kWh]", number(1), number=True),
    "e_lost_kwh": Column("Lost [kWh]", number(1), number=True),
    "share": Column("Of its feed-in", percent_words, number=True),
}
"""Columns of who is curtailed."""


def _certificate_card(certificate: dict[str, Any], zone: str) -> str:
    """The certificate in words and lines, then its numbers and the rounds that led to it, foldable."""
    if not certificate:
        return ""
    rounds = pd.DataFrame(certificate.get("solves") or [])
    table = f"<h3>Rounds</h3>{auto_table(rounds)}" if len(rounds) else ""
    lines = judged_lines(certificate_lines(certificate, zone))
    shown = {f"{n}_utc" if n == "worst_time" else n: value for n, value in certificate.items() if n != "solves"}
    numbers = f"<details><summary>All numbers of the certificate</summary>{facts(shown)}{table}</details>"
    title = titled_note(certificate_words(certificate), "Calculated by AC power flow of the forecast paths.")
    return card(title, lines, numbers)


def unmet_section(run: RunFolder, drawn: PageFigures) -> str:
    """What could not be granted, and why."""
    if not run.about["certificate"]:
        return ""
    unmet, why = run.table("unmet"), card(_causes(run))
    if unmet.empty and not why:
        return card(
            '<p class="empty">Nothing: every device gets its energy, every room its temperature, '
            "and every limit holds to the agreed confidence.</p>"
        )
    words = {"forecast_scheduled": "as planned", "realised_scheduled": "as it came"}
    listed = "" if unmet.empty else auto_table(unmet.assign(case=unmet["case"].map(words)))
    return about_line("What could not be granted, dearest first, at the prices of the scenario.") + card(listed) + why


def _causes(run: RunFolder) -> str:
    """Each missed wish of the plan with its causes, in words."""
    causes = run.table("causes")
    if causes.empty:
        return ""
    several = len(run.about["time"]["days"]) > 1
    shown = causes.head(MOST_CAUSES)
    days = [f"{stamp:%a %d %b}: " if several else "" for stamp in shown["start_local"]]
    items = "".join(f"<li>{escape(day + text)}.</li>" for day, text in zip(days, shown["text"], strict=True))
    note = (
        "As planned, calculated from the duals of the schedule; a percentage is the cause's share of what is missed. "
        "The largest amounts come first."
    )
    rest = f'<p class="note">The first {MOST_CAUSES} of {len(causes)} causes; the table causes holds all.</p>'
    more = rest if len(causes) > MOST_CAUSES else ""
    return titled_note("Why wishes were missed", note) + f'<ul class="plain">{items}</ul>{more}'
