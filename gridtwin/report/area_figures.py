"""Figures of the control area: its frequency, what is activated, what is stored, and what the imbalance costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.report.figure_style import (
    AFTER,
    BEFORE,
    INK,
    MUTED,
    axis_times,
    band,
    even_times,
    line,
    power_scale,
    short,
    time_title,
)
from gridtwin.report.figures import Views

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

ACTIVATION_COLOURS = {
    "FCR": "#e69f00",
    "aFRR up": "#0072b2",
    "aFRR down": "#56b4e9",
    "mFRR up": "#d55e00",
    "mFRR down": "#cc79a7",
}
STORE_COLOURS = ("#0072b2", "#cc79a7", "#009e73", "#d55e00")
BAND_NAME, MEDIAN_NAME, CAME = "5 to 95 % of the paths", "Median of the paths", "As it came"


def frequency_views(run: RunFolder) -> Views:
    """Mean frequency of each settlement period, and the extremes as it came."""
    table = run.table("area_frequency")
    if table.empty:
        return {}
    times = axis_times(table["time_utc"], _zone(run))
    unit: dict[str, Any] = {"unit": "Hz", "decimals": 3}
    mean = go.Figure(band(times, table["f_p05_hz"], table["f_p95_hz"], BAND_NAME, colour=AFTER, **unit))
    mean.add_trace(line(times, table["f_p50_hz"], MEDIAN_NAME, colour=AFTER, **unit))
    mean.add_trace(line(times, table["f_realised_hz"], CAME, colour=INK, width=1.6, **unit))
    low, high = table["f_realised_min_hz"], table["f_realised_max_hz"]
    extremes = go.Figure(band(times, low, high, "Lowest to highest", colour=INK, **unit))
    extremes.add_trace(line(times, table["f_realised_hz"], "Mean", colour=INK, width=1.6, **unit))
    for figure in (mean, extremes):
        _finish(figure, run, table, "Frequency [Hz]")
    return {"Mean of the quarter hour": mean, "Within the quarter hour, as it came": extremes}


def activation_views(run: RunFolder) -> Views:
    """Activated power by product: as it came, and the median over the paths."""
    table = run.table("area_activation")
    if table.empty:
        return {}
    cases = {CAME: "p_activation_realised_mw", MEDIAN_NAME: "p_activation_p50_mw"}
    factor, unit = power_scale(*(table[name] for name in cases.values()))
    views = {}
    for case, column in cases.items():
        figure = go.Figure()
        for name, rows in table.groupby("activation", sort=False):
            figure.add_trace(
                go.Bar(
                    **even_times(axis_times(rows["time_utc"], _zone(run))),
                    y=short(factor * rows[column], 3),
                    name=str(name),
                    marker={"color": ACTIVATION_COLOURS.get(str(name), MUTED), "line": {"width": 0}},
                    hovertemplate=f"%{{y:.2f}} {unit}",
                    width=_width(rows["time_utc"].to_numpy()),
                    offset=0,
                )
            )
        one = table[table["activation"] == table["activation"].iloc[0]]
        _finish(figure, run, one, f"↓ surplus   deficit ↑<br>covered [{unit}]")
        figure.update_layout(barmode="relative", bargap=0)
        views[case] = figure
    return views


def store_views(run: RunFolder) -> Views:
    """State of charge of each reserve battery."""
    table = run.table("area_store")
    stores = table.groupby("store", sort=False) if len(table) else ()
    return {
        str(name).capitalize(): _store_figure(run, rows, colour)
        for (name, rows), colour in zip(stores, STORE_COLOURS, strict=False)
    }


def _store_figure(run: RunFolder, rows: pd.DataFrame, colour: str) -> go.Figure:
    times = axis_times(rows["time_utc"], _zone(run))
    look: dict[str, Any] = {"unit": "%", "decimals": 0}
    figure = go.Figure(band(times, rows["soc_p05_percent"], rows["soc_p95_percent"], BAND_NAME, colour=colour, **look))
    figure.add_trace(line(times, rows["soc_p50_percent"], MEDIAN_NAME, colour=colour, **look))
    figure.add_trace(line(times, rows["soc_realised_percent"], CAME, colour=INK, width=1.6, **look))
    _finish(figure, run, rows, "State of charge [%]")
    figure.update_yaxes(range=[0, 102])
    return figure


def imbalance_cost_views(run: RunFolder) -> Views:
    """How the cost of the network's imbalance spreads over the paths, and what it came to."""
    table = run.table("area_cost")
    if table.empty:
        return {}
    return {
        "Beside the day-ahead price": _cost_figure(
            table, "imbalance_premium_eur", "Cost beside the day-ahead price [EUR]"
        ),
        "Paid in all": _cost_figure(table, "imbalance_cost_eur", "Paid for imbalance [EUR]; negative: received"),
    }


def _cost_figure(table: pd.DataFrame, column: str, title: str) -> go.Figure:
    paths = table.loc[table["case"] == "path", column]
    came = float(table.loc[table["case"] == "realised", column].iloc[0])
    figure = go.Figure(
        go.Histogram(
            x=short(paths, 2),
            marker={"color": AFTER},
            opacity=0.75,
            nbinsx=int(np.clip(2 * np.sqrt(len(paths)), 8, 40)),
            hovertemplate="%{y} paths at %{x} EUR<extra></extra>",
        )
    )
    marks = ((float(paths.mean()), "mean of the paths", INK), (came, "as it came", BEFORE))
    for (value, word, colour), place in zip(sorted(marks), ("top left", "top right"), strict=True):
        text = {"text": f"{word}: {value:.2f} EUR", "yshift": 18, "font": {"size": 12, "color": colour}}
        look = {"color": colour, "width": 2, "dash": "dash"}
        figure.add_vline(x=value, line=look, annotation=text, annotation_position=place)
    figure.update_layout(height=340, showlegend=False, hovermode="closest", xaxis_tickformat="~g", margin_t=64,
                         yaxis_tickformat="d", xaxis_title=title, yaxis_title="Paths")  # fmt: skip
    return figure


def _finish(figure: go.Figure, run: RunFolder, table: pd.DataFrame, title: str) -> None:
    stamps = table["time_utc"]
    figure.update_layout(height=360, yaxis_title=title, xaxis_title=time_title(stamps, _zone(run)))


def _width(times: np.ndarray) -> float:
    """Length of an interval. [ms]"""
    return float((times[1] - times[0]) / np.timedelta64(1, "ms")) if len(times) > 1 else 9e5


def _zone(run: RunFolder) -> str:
    return str(run.about["time"]["zone"])
