"""Figures of nodal prices: where and when a kWh is worth more than elsewhere, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.report.figure_style import INK, axis_times, even_times, line, plain_text, short, time_title
from gridtwin.report.figures import Views, titled

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

BUS_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")
"""One line for each; more buses would hide each other."""
NETWORK_PARTS = {"congestion": "#d55e00", "voltage": "#0072b2", "losses": "#8fa1b5"}
"""Parts of a nodal price beside energy, and their colours."""
NOTICEABLE_EUR_PER_MWH, NOTICEABLE_SHARE = 0.5, 0.03
"""Lines that are nowhere farther apart look like one: [EUR/MWh], and of the largest distance [-]."""


def nodal_price_views(run: RunFolder) -> Views:
    """Nodal prices over the study at the buses that differ most, then the parts beside energy at each of them."""
    table = run.table("nodal_prices")
    if table.empty:
        return {}
    buses = differing_buses(table)
    views = {"Price": _price_figure(run, table, buses)}
    return views | {f"Parts at {titled('Bus', bus)}": _part_figure(run, table, bus) for bus in buses}


def differing_buses(table: pd.DataFrame) -> list[str]:
    """Buses whose price differs most: first from the energy price, then also from those chosen before."""
    prices = _wide(table, "price_eur_per_mwh")
    energy = energy_price(table).to_numpy()[:, np.newaxis]
    apart = np.nanmax(np.abs(prices.to_numpy() - energy), axis=0)
    smallest = max(NOTICEABLE_EUR_PER_MWH, NOTICEABLE_SHARE * apart.max())
    chosen: list[int] = []
    while len(chosen) < len(BUS_COLOURS) and apart.max() > smallest:
        chosen.append(int(apart.argmax()))
        from_last = np.abs(prices.to_numpy() - prices.to_numpy()[:, chosen[-1:]])
        apart = np.fmin(apart, np.nanmax(np.nan_to_num(from_last), axis=0))
    return [str(prices.columns[place]) for place in chosen]


def energy_price(table: pd.DataFrame) -> pd.Series:
    """Price of energy without the network's part, the same at all buses."""
    return table.groupby("time_utc", sort=True)["energy_eur_per_mwh"].first()


def _wide(table: pd.DataFrame, value: str) -> pd.DataFrame:
    return table.pivot(index="time_utc", columns="bus", values=value)


def _all_steps(run: RunFolder) -> pd.DatetimeIndex:
    """Every step of the study: days without a plan stay empty, not bridged."""
    span = run.about["time"]
    return pd.date_range(span["first_utc"], periods=span["steps"], freq=pd.Timedelta(minutes=span["step_minutes"]))


def _price_figure(run: RunFolder, table: pd.DataFrame, buses: list[str]) -> go.Figure:
    zone, steps = str(run.about["time"]["zone"]), _all_steps(run)
    times, prices = axis_times(steps, zone), _wide(table, "price_eur_per_mwh").reindex(steps)
    figure = go.Figure()
    for bus, colour in zip(buses, BUS_COLOURS, strict=False):
        name = plain_text(titled("Bus", bus))
        figure.add_trace(line(times, prices[bus], name, colour=colour, unit="EUR/MWh", width=1.6))
    energy = energy_price(table).reindex(steps)
    figure.add_trace(line(times, energy, "Energy alone, everywhere", colour=INK, unit="EUR/MWh", dash="dot", width=1.6))
    figure.update_layout(height=400, yaxis_title="Price [EUR/MWh]", xaxis_title=time_title(steps, zone))
    return figure


def _part_figure(run: RunFolder, table: pd.DataFrame, bus: str) -> go.Figure:
    """What the network adds to the energy price at one bus, stacked."""
    zone, steps = str(run.about["time"]["zone"]), _all_steps(run)
    rows = table[table["bus"] == bus].set_index("time_utc").reindex(steps)
    figure = go.Figure()
    for part, colour in NETWORK_PARTS.items():
        figure.add_trace(
            go.Bar(
                **even_times(axis_times(steps, zone)),
                y=short(rows[f"{part}_eur_per_mwh"], 2),
                name=part.capitalize(),
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate="%{y:.2f} EUR/MWh",
                width=6e4 * float(run.about["time"]["step_minutes"]),
                offset=0,
            )
        )
    figure.update_layout(height=400, barmode="relative", bargap=0, xaxis_title=time_title(steps, zone),
                         yaxis_title="On top of the energy price [EUR/MWh]")  # fmt: skip
    return figure
