"""The tiles at the top of the page: key figures before and after flexibility, each with its kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gridtwin.report.html_table import number, significant
from gridtwin.report.key_figures import KeyFigure, read_key_figures
from gridtwin.report.markup import escape
from gridtwin.report.results import agreed_confidence
from gridtwin.report.verdict import percent_words

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

KeyFigures = dict[tuple[str, str], KeyFigure]
"""Rows of the summary by name and case."""


@dataclass(frozen=True)
class Tile:
    """A key figure, before and after flexibility."""

    title: str
    name: str
    decimals: int
    unit: str
    note: str = ""


TILES = (
    Tile("Highest branch loading", "highest branch loading", 0, "%", "{agreed} of the paths stay below"),
    Tile(
        "Risk in the whole study",
        "probability of a limit violation in the study",
        0,
        "%",
        "paths over any limit",
    ),
    Tile("Expected time outside limits", "hours with a limit violated", 1, "h", "mean over the paths"),
    Tile("Lowest voltage", "lowest voltage", 3, "pu", "{agreed} of the paths stay above"),
    Tile("Highest import", "highest import from upstream", 0, "kW", "{agreed} of the paths stay below"),
    Tile("Day-ahead value of supply", "day-ahead value of energy from upstream", 0, "EUR", "mean over the paths"),
)


def tiles_of(run: RunFolder) -> str:
    """The tiles of a run, as markup."""
    summary = run.table("summary")
    values = {(row.name, row.case): row for row in read_key_figures(summary)}
    agreed = percent_words(agreed_confidence(run.about["scenario"]))
    tiles = [
        _before_after_tile(replace(tile, note=tile.note.format(agreed=agreed)), values)
        for tile in TILES
        if (tile.name, "forecast") in values
    ]
    tiles += _single_tiles(run, values)
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _before_after_tile(tile: Tile, values: KeyFigures) -> str:
    before, after = values[tile.name, "forecast"], values.get((tile.name, "forecast_scheduled"))
    write = number(tile.decimals)
    shown = f"{write(before.value)} {tile.unit}"
    if after is not None:
        was = f'<span class="was">{write(before.value)}</span><span class="arrow">→</span>'
        shown = f"{was}{write(after.value)} {tile.unit}"
    return _tile(tile.title, shown, tile.note, before.kind)


def _tile(title: str, value: str, note: str, kind: str) -> str:
    """`value` is markup made of numbers; everything else is escaped."""
    return (
        f'<div class="tile"><div class="name">{escape(title)}</div><div class="value">{value}</div>'
        f'<div class="sub"><span>{escape(note)}</span><span class="kind">{escape(kind)}</span></div></div>'
    )


def _single_tiles(run: RunFolder, values: KeyFigures) -> Iterator[str]:
    """Figures without a before: the price of unmet wishes and the energy of this computation."""
    unmet = values.get(("price of unmet wishes", "forecast_scheduled"))
    if run.about["certificate"]:
        amount = f"{number(2)(unmet.value)} EUR" if unmet is not None else "none"
        yield _tile(
            "Wishes left unmet, as planned",
            amount,
            "at the prices of the scenario",
            "assumed" if unmet else "calculated",
        )
    compensation, wear, curtailed = (
        values.get((f"flexibility: {name}", "forecast_scheduled"))
        for name in ("compensation of curtailment", "battery wear", "curtailed energy")
    )
    if compensation is not None and wear is not None and curtailed is not None:
        cost = compensation.value + wear.value + (unmet.value if unmet is not None else 0.0)
        note = f"{number(0)(1e3 * curtailed.value)} kWh curtailed, battery wear, unmet wishes"
        yield _tile("Cost of flexibility, as planned", f"{number(2)(cost)} EUR", note, "assumed")
    left, all_ = (values.get((f"balancing: absolute {name}", "")) for name in ("residual", "deviation"))
    if left is not None and all_ is not None:
        note = f"of {number(1)(1e3 * all_.value)} kWh deviation from plan"
        yield _tile("Left unbalanced", f"{number(1)(1e3 * left.value)} kWh", note, left.kind)
    middle = values.get(("energy of this computation, p50", ""))
    if middle is not None:
        low, high = (values["energy of this computation, " + name, ""].value for name in ("p2.5", "p97.5"))
        watt_hours = significant
        note = f"{watt_hours(1e3 * low)} to {watt_hours(1e3 * high)} Wh with 95 %"
        yield _tile("Energy of this computation", f"{watt_hours(1e3 * middle.value)} Wh", note, middle.kind)
