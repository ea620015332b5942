"""Figures of the energy of computing: quality against energy, energy per token against batch size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.ai_energy.tokens import TokenEnergy
from gridtwin.report.figure_style import INK, MUTED, plain_text, template

FAMILY_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
"""Families differ by shape too, for readers who do not tell the colours apart."""


def energy_quality_figure(table: pd.DataFrame, *, quality: str = "Quality") -> go.Figure:
    """Every variant with the interval of its energy, and the front of those that nothing beats.

    Parameters
    ----------
    table : DataFrame
        From `gridtwin.ai_energy.architectures.compare_architectures`.
    quality : str
        Title of the quality axis.
    """
    figure = go.Figure(layout={"template": template()})
    front = table[table["pareto"]]
    figure.add_scatter(x=front["energy_p50"], y=front["quality"], mode="lines", name="Pareto front",
                       line={"color": MUTED, "dash": "dot", "shape": "hv"}, hoverinfo="skip")  # fmt: skip
    known = table[table["energy_p50"].notna()]
    for place, (family, rows) in enumerate(known.groupby("family", sort=False)):
        figure.add_scatter(**_points(rows, str(family), place, table.attrs.get("unit", "")))
    unit, boundary = table.attrs.get("unit", ""), table.attrs.get("boundary") or "no boundary"
    figure.update_xaxes(title_text=f"Energy [{unit}], {boundary.replace('_', ' ')}", type="log", tickformat=None)
    figure.update_yaxes(title_text=plain_text(quality))
    figure.update_layout(hovermode="closest")
    return figure


def token_energy_figure(curves: Mapping[str, TokenEnergy]) -> go.Figure:
    """Energy per token of some models against the batch size, each over the batch sizes of its data.

    Parameters
    ----------
    curves : mapping from str to TokenEnergy
        By name of the model.
    """
    figure = go.Figure(layout={"template": template()})
    for place, (name, curve) in enumerate(curves.items()):
        sizes = np.geomspace(*curve.batch_range, 60)
        figure.add_scatter(x=sizes, y=curve.joules(sizes), mode="lines", name=plain_text(name),
                           line={"color": FAMILY_COLOURS[place % len(FAMILY_COLOURS)], "width": 2},
                           hovertemplate="%{y:.3g} J/token at batch %{x:.0f}")  # fmt: skip
    boundaries = ", ".join(dict.fromkeys(curve.boundary for curve in curves.values())).replace("_", " ")
    figure.update_xaxes(title_text="Batch size", type="log", tickformat=None)
    figure.update_yaxes(title_text=f"Energy [J/token], {boundaries}", type="log")
    figure.update_layout(hovermode="closest")
    return figure


def _points(rows: pd.DataFrame, family: str, place: int, unit: str) -> dict[str, object]:
    """Markers of one family, with energy intervals and what to show of each."""
    colour = FAMILY_COLOURS[place % len(FAMILY_COLOURS)]
    outline = [{True: INK, False: colour}[bool(on_front)] for on_front in rows["pareto"]]
    return {
        "x": rows["energy_p50"],
        "y": rows["quality"],
        "mode": "markers",
        "name": plain_text(family),
        "text": [plain_text(name) for name in rows["name"]],
        "marker": {"color": colour, "size": 10, "symbol": SYMBOLS[place % len(SYMBOLS)],
                   "line": {"color": outline, "width": 1.5}},
        "error_x": {"type": "data", "symmetric": False, "array": rows["energy_p97_5"] - rows["energy_p50"],
                    "arrayminus": rows["energy_p50"] - rows["energy_p2_5"], "thickness": 1, "width": 3},
        "hovertemplate": f"%{{text}}: %{{x:.3g}} {plain_text(unit)}, quality %{{y:.3g}}",
    }  # fmt: skip
