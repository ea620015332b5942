"""Section of the page on the control area: what the network's imbalance does there, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridtwin.report.area_figures import (
    activation_views,
    frequency_views,
    imbalance_cost_views,
    store_views,
)
from gridtwin.report.html_table import Column, html_table, number
from gridtwin.report.markup import PageFigures, about_line, card, titled_note

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

ASSUMED = ("GT-O95", "GT-O96", "GT-O97", "GT-O98")
"""Findings that a reader of these figures must know."""
ACCOUNT_COLUMNS = {
    "party": Column("Party or provider"),
    "imbalance_eur": Column("Imbalance [EUR]", number(2), number=True),
    "energy_eur": Column("Balancing energy [EUR]", number(2), number=True),
    "capacity_eur": Column("Capacity [EUR]", number(2), number=True),
    "balance_eur": Column("Balance [EUR]", number(2), number=True),
}


def area_section(run: RunFolder, drawn: PageFigures) -> str:
    """Frequency, activation, stores, cost and settlement; nothing where the area was not simulated."""
    if run.table("area_frequency").empty:
        return ""
    frequency = drawn.place(
        frequency_views(run),
        title="Frequency of the control area",
        note="The area stands alone, so that its frequency shows its own balance. Simulated in steps of a second.",
    )
    activation = drawn.place(
        activation_views(run),
        title="Activation by product",
        note="Mean per quarter hour, for the imbalance of the whole area; the network is a small part of it. "
        "The median is taken product by product, so that its bars do not add up.",
    )
    stores = drawn.place(
        store_views(run),
        title="State of charge of the reserve batteries",
        note="At the end of each quarter hour. Nobody manages their charge: they give what their bids are asked for.",
    )
    cost = drawn.place(
        imbalance_cost_views(run),
        title="What the network's imbalance costs",
        note=COST_NOTE,
    )
    cards = card(frequency) + card(activation) + card(stores) + card(cost) + card(_accounts(run))
    return about_line(_assumptions(run)) + cards


COST_NOTE = (
    "Over the study. The network announced the mean of the paths. Beside the day-ahead price: (imbalance price − "
    "day-ahead price) × imbalance, what a perfect forecast would have saved. Negative: the imbalance helped the area. "
    "In the paths cars and batteries keep to the schedule; as it came, cars deviate and batteries counter. Bids of the "
    "scenario from outside the network are left out here: the area's reserves stand in for them."
)


def _assumptions(run: RunFolder) -> str:
    """What is assumed, in the words of the findings."""
    findings = run.table("findings")
    known = findings.loc[findings["code"].isin(ASSUMED), "what"] if len(findings) else ()
    lead = "The network's forecast error, embedded in a control area that holds the frequency and settles every party."
    return " ".join([lead, *(f"{str(what)[:1].upper()}{str(what)[1:]}." for what in known)])


def _accounts(run: RunFolder) -> str:
    table = run.table("area_account")
    if table.empty:
        return ""
    note = "As it came, over the study; received positive. The system operator takes the rest, so that all add up to 0."
    return titled_note("Settlement of parties", note) + html_table(table, ACCOUNT_COLUMNS)
