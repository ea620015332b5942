"""Figures of the page, each a set of named views on one subject, made from the tables of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gridtwin.report.figure_style import (
    AFTER,
    BEFORE,
    CASE_COLOURS,
    GENERATING,
    INK,
    KIND_COLOURS,
    MUTED,
    axis_times,
    band,
    even_times,
    kind_word,
    limit_line,
    line,
    plain_text,
    power_scale,
    short,
    time_title,
)
from gridtwin.report.results import CASES, ordered_cases

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

Views = dict[str, go.Figure]
MOST_VIEWS = 8
"""Branches or buses to choose from in one figure; the tables hold all."""
LONG_STUDY_STEPS = 800
"""Longer studies offer fewer of them, so that the page stays small enough to mail."""
PRICE_COLOUR = "#7a5195"


def forecast_views(run: RunFolder) -> Views:
    """Forecast fan against what happened: the total and each kind."""
    table, zone = run.table("forecast_fan"), _zone(run)
    views = {}
    for group, rows in table.groupby("group", sort=False):
        sign = -1.0 if group in GENERATING else 1.0
        word = "Generation" if sign < 0 else "Net consumption" if group == "total" else "Power drawn"
        title = "Total" if group == "total" else kind_word(str(group))
        views[title] = _fan(rows, zone, sign=sign, word=word)
    return views


def _fan(rows: pd.DataFrame, zone: str, *, sign: float, word: str) -> go.Figure:
    """One fan; `sign` -1 turns consumption into generation, and lower into upper quantiles."""
    times = axis_times(rows["time_utc"], zone)
    factor, unit = power_scale(rows["p_realised_mw"], rows["p_mean_mw"])
    quantiles = sorted(name for name in map(str, rows) if name.startswith("p_p") and name.endswith("_mw"))
    figure, pairs = go.Figure(), len(quantiles) // 2
    for place in range(pairs):
        names = (quantiles[place], quantiles[-1 - place])
        low, high = sorted((sign * factor * rows[name] for name in names), key=lambda values: float(values.sum()))
        label = f"{_quantile_percent(names[0])} to {_quantile_percent(names[1])} of the paths"
        figure.add_traces(band(times, low, high, label, colour=AFTER, unit=unit, opacity=0.13))
    median = rows.get("p_p50_mw", rows["p_mean_mw"])
    figure.add_trace(line(times, sign * factor * median, "Forecast, median", colour=AFTER, unit=unit))
    naive = line(times, sign * factor * rows["p_naive_mw"], "Naive forecast", colour=MUTED, unit=unit, dash="dot")
    figure.add_trace(naive)
    figure.add_trace(line(times, sign * factor * rows["p_realised_mw"], "What happened", colour=INK, unit=unit))
    figure.update_layout(height=420, yaxis_title=f"{word} [{unit}]", xaxis_title=time_title(rows["time_utc"], zone))
    return figure


def _quantile_percent(name: str) -> str:
    return f"{float(name.removeprefix('p_p').removesuffix('_mw').replace('_', '.')):g} %"


def loading_views(run: RunFolder) -> Views:
    """Loading of the tightest branches before and after flexibility, with band and limit."""
    table, branches = run.table("branch_loading"), run.table("branches").set_index("branch")
    limits = branches["max_loading_percent"]
    views = {}
    for branch in tightest_branches(run)[: most_views(run)]:
        rows = table[table["branch"] == branch]
        columns = ("loading_p05_percent", "loading_p50_percent", "loading_p95_percent")
        figure = _before_after(rows, columns, _zone(run), unit="%", decimals=1)
        limit_line(figure, float(limits[branch]), f"limit {limits[branch]:g} %")
        figure.update_layout(yaxis_title="Loading [%]", yaxis_rangemode="tozero")
        views[titled(_element_word(branches.loc[branch, "element"]), branch)] = figure
    return views


def most_views(run: RunFolder) -> int:
    """How many branches or buses a figure offers."""
    return MOST_VIEWS if run.about["time"]["steps"] <= LONG_STUDY_STEPS else 3


def tightest_branches(run: RunFolder) -> list[str]:
    """Branches by their highest loading in any case, relative to their limit, highest first."""
    worst = run.table("branch_loading").groupby("branch", sort=False)["loading_p95_percent"].max()
    limit = run.table("branches").set_index("branch")["max_loading_percent"]
    return [str(name) for name in (worst / limit.reindex(worst.index)).sort_values(ascending=False).dropna().index]


def voltage_views(run: RunFolder) -> Views:
    """Voltage of all buses as an envelope, then of the buses nearest to a limit."""
    table, buses = run.table("bus_voltage"), run.table("buses").set_index("bus")
    if table["vm_p50_pu"].isna().all():
        return {}
    columns = ("vm_p05_pu", "vm_p50_pu", "vm_p95_pu")
    views = {"All buses, lowest to highest": _voltage_envelope(table, buses, _zone(run))}
    for bus in tightest_buses(run)[: most_views(run) - 1]:
        figure = _before_after(table[table["bus"] == bus], columns, _zone(run), unit="pu", decimals=4)
        for limit in buses[["vm_min_pu", "vm_max_pu"]].T[bus].astype(float):
            limit_line(figure, limit, f"limit {limit:g} pu")
        figure.update_layout(yaxis_title="Voltage [pu]")
        views[titled("Bus", bus)] = figure
    return views


def tightest_buses(run: RunFolder) -> list[str]:
    """Buses by the smallest distance of their voltage to a limit in any case, smallest first."""
    extremes = (
        run.table("bus_voltage").groupby("bus", sort=False).agg(low=("vm_p05_pu", "min"), high=("vm_p95_pu", "max"))
    )
    limits = run.table("buses").set_index("bus").reindex(extremes.index)
    margins = {"low": extremes["low"] - limits["vm_min_pu"], "high": limits["vm_max_pu"] - extremes["high"]}
    margin = pd.DataFrame(margins).min(axis=1, skipna=False)
    return [str(name) for name in margin.dropna().sort_values(kind="stable").index]


def _voltage_envelope(table: pd.DataFrame, buses: pd.DataFrame, zone: str) -> go.Figure:
    """Lowest 5 % and highest 95 % quantile over the buses of the lowest voltage level, by case."""
    level = buses["vn_kv"].min()
    chosen = table[table["bus"].isin(buses.index[buses["vn_kv"] == level])]
    figure = go.Figure()
    for case in ordered_cases(chosen["case"].unique()):
        if case == "realised":
            continue
        rows = chosen[chosen["case"] == case].groupby("time_utc", sort=True)
        low, high = rows["vm_p05_pu"].min(), rows["vm_p95_pu"].max()
        times = axis_times(pd.DatetimeIndex(low.index), zone)
        more: dict[str, Any] = {"colour": CASE_COLOURS[case], "unit": "pu", "decimals": 4}
        if case == "realised_scheduled":
            figure.add_trace(line(times, low, f"{CASES[case]}: lowest", width=1.5, **more))
            figure.add_trace(line(times, high, f"{CASES[case]}: highest", width=1.5, dash="dot", **more))
        else:
            figure.add_traces(band(times, low, high, CASES[case], opacity=0.1, edge=1.2, **more))
    same = buses[buses["vn_kv"] == level]
    limit_line(figure, float(same["vm_min_pu"].max()), f"limit {same['vm_min_pu'].max():g} pu")
    limit_line(figure, float(same["vm_max_pu"].min()), f"limit {same['vm_max_pu'].min():g} pu")
    figure.update_layout(
        height=420,
        yaxis_title=f"Voltage of the {level:g} kV buses [pu]",
        xaxis_title=time_title(table["time_utc"], zone),
    )
    return figure


def _before_after(
    rows: pd.DataFrame, columns: tuple[str, str, str], zone: str, *, unit: str, decimals: int
) -> go.Figure:
    """Bands of the forecast cases, lines of what happened."""
    figure = go.Figure()
    for case in ordered_cases(rows["case"].unique()):
        part = rows[rows["case"] == case]
        times = axis_times(part["time_utc"], zone)
        more: dict[str, Any] = {"colour": CASE_COLOURS[case], "unit": unit, "decimals": decimals}
        low, middle, high = (part[name].to_numpy() for name in columns)
        if case.startswith("forecast"):
            name = f"{CASES[case]}: 5 to 95 %"
            figure.add_traces(band(times, low, high, name, group=case, showlegend=False, **more))
            figure.add_trace(line(times, middle, CASES[case], legendgroup=case, **more))
        else:
            dash = "dot" if case == "realised" else "solid"
            figure.add_trace(line(times, middle, CASES[case], dash=dash, width=1.6, **more))
    figure.update_layout(height=440, xaxis_title=time_title(rows["time_utc"], zone))
    return figure


def risk_views(run: RunFolder) -> Views:
    """When something is at risk: probability over the limit by quarter hour, before and after."""
    table = run.table("branch_loading")
    worst = table.groupby("branch", sort=False)["probability_over_limit"].max()
    names = [name for name in tightest_branches(run) if worst[name] > 0][:12]
    voltage = run.table("bus_voltage")
    worst_bus = voltage.groupby("bus", sort=False)["probability_outside_limits"].max()
    buses = [name for name in tightest_buses(run) if worst_bus[name] > 0][:8]
    if not names and not buses:
        return {}
    views = {}
    for case in (case for case in CASES if case in set(table["case"])):
        branch_rows = _wide(table, case, "branch", "probability_over_limit", names)
        bus_rows = _wide(voltage, case, "bus", "probability_outside_limits", buses)
        views[CASES[case]] = _risk_map(pd.concat([branch_rows, bus_rows], axis=1), _zone(run))
    return views


def _wide(table: pd.DataFrame, case: str, item: str, value: str, names: list[str]) -> pd.DataFrame:
    """Probability (time, name) of the chosen names, in their order. [%]"""
    rows = table[(table["case"] == case) & table[item].isin(names)]
    wide = rows.pivot(index="time_utc", columns=item, values=value)[names]
    return (100 * wide).rename(columns=lambda name: titled(item.capitalize(), name))


def _risk_map(percent: pd.DataFrame, zone: str) -> go.Figure:
    times = axis_times(pd.DatetimeIndex(percent.index), zone)
    figure = go.Figure(
        go.Heatmap(
            **even_times(times),
            y=[plain_text(name) for name in percent.columns],
            z=short(percent.to_numpy().T, 1),
            zmin=0,
            zmax=100,
            xgap=0.5,
            ygap=3,
            colorscale=[
                [0, "rgba(140,155,170,0.13)"],
                [0.01, "#fde7c8"],
                [0.3, "#f5a54a"],
                [0.6, "#d55e00"],
                [1, "#6b0f3a"],
            ],
            colorbar={
                "title": {"text": "Probability<br>over the limit [%]", "font": {"size": 12}},
                "thickness": 12,
                "lenmode": "pixels",
                "len": 150,
            },
            hovertemplate="%{y}<br>%{x|%a %d %b %H:%M}<br>%{z:.0f} % of the paths over the limit<extra></extra>",
        )
    )
    figure.update_layout(
        height=max(128 + 34 * percent.shape[1], 200),
        hovermode="closest",
        margin_t=16,
        xaxis_title=time_title(pd.DatetimeIndex(percent.index), zone),
        yaxis={"autorange": "reversed", "showgrid": False},
        xaxis_showgrid=False,
    )
    return figure


def schedule_views(run: RunFolder) -> Views:
    """Flexible power by kind, stacked, with the price under it: scheduled, unscheduled, and the shift."""
    table = run.table("schedule_by_kind")
    if table.empty:
        return {}
    shift = table.assign(shift_mw=table["p_scheduled_mw"] - table["p_base_mw"])
    titles = {
        "With schedule": "p_scheduled_mw",
        "Without schedule": "p_base_mw",
        "What the schedule shifts": "shift_mw",
    }
    return {title: _stacked(shift, column, run) for title, column in titles.items()}


def _stacked(table: pd.DataFrame, column: str, run: RunFolder) -> go.Figure:
    """Bars by kind, consumption up and generation down, and the price in a row of its own."""
    zone, prices = _zone(run), run.table("prices")
    figure = make_subplots(
        rows=1 if prices.empty else 2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        row_heights=[1.0] if prices.empty else [0.72, 0.28],
    )
    factor, unit = power_scale(table["p_scheduled_mw"], table["p_base_mw"])
    width = 6e4 * float(run.about["time"]["step_minutes"])
    for kind, rows in table.groupby("kind", sort=False):
        values = factor * rows[column].to_numpy()
        words = _direction_words(values, str(kind), shift=column == "shift_mw", unit=unit)
        bars = go.Bar(
            **even_times(axis_times(rows["time_utc"], zone)),
            y=short(values, 3),
            name=kind_word(str(kind)),
            marker={"color": KIND_COLOURS.get(str(kind), MUTED), "line": {"width": 0}},
            width=width,
            offset=0,
            customdata=words,
            hovertemplate="%{customdata}",
        )
        figure.add_trace(bars, row=1, col=1)
    if column == "p_scheduled_mw":
        total = table.groupby("time_utc", sort=True)["p_base_mw"].sum()
        times = axis_times(pd.DatetimeIndex(total.index), zone)
        unscheduled = line(times, factor * total, "Sum without schedule", colour=INK, unit=unit, dash="dot", width=1.6)
        figure.add_trace(unscheduled, row=1, col=1)
    if not prices.empty:
        trace = line(axis_times(prices["time_utc"], zone), prices["price_eur_per_mwh"], "Day-ahead price",
                     colour=PRICE_COLOUR, unit="EUR/MWh")  # fmt: skip
        figure.add_trace(trace, row=2, col=1)
        kind = str(prices["kind"].iloc[0])
        figure.update_yaxes(title_text=f"Price, {kind}<br>[EUR/MWh]", row=2, col=1)
    up_down = f"more ↑  less ↓ [{unit}]" if column == "shift_mw" else f"↓ generation   consumption ↑<br>[{unit}]"
    figure.update_yaxes(title_text=up_down, row=1, col=1)
    figure.update_layout(height=380 if prices.empty else 540, barmode="relative", bargap=0)
    figure.update_xaxes(title_text=time_title(table["time_utc"], zone), row=1 if prices.empty else 2, col=1)
    return figure


def _direction_words(values: np.ndarray, kind: str, *, shift: bool, unit: str) -> list[str]:
    """Hover text: generation as a positive number with its word."""
    up, down = ("more", "less") if shift else ("drawn", "discharged" if kind == "battery" else "generated")
    return [f"{abs(value):.1f} {unit} {up if value >= 0 else down}" for value in values]


def storage_views(run: RunFolder) -> Views:
    """State of charge of the batteries, energy that cars have charged, thermal shift of heat pumps."""
    table = run.table("schedule_by_kind")
    views = {}
    titles = {
        "battery": ("Batteries", "soc_percent", "State of charge [%]", "%", 1.0),
        "electric_car": ("Electric cars", "e_mwh", "Charged so far in the present sessions [kWh]", "kWh", 1e3),
        "heat_pump": ("Heat pumps", "e_mwh", "Heat stored in buildings [kWh thermal]", "kWh", 1e3),
    }
    for kind, (name, column, title, unit, factor) in titles.items():
        rows = table[table["kind"] == kind] if len(table) else table
        if not len(rows) or rows[column].isna().all():
            continue
        figure = go.Figure(
            line(axis_times(rows["time_utc"], _zone(run)), factor * rows[column], name,
                 colour=KIND_COLOURS[kind], unit=unit, fill="tozeroy",
                 fillcolor="rgba(140,155,170,0.13)")
        )  # fmt: skip
        figure.update_layout(height=320, yaxis_title=title, xaxis_title=time_title(rows["time_utc"], _zone(run)),
                             showlegend=False, margin_t=16)  # fmt: skip
        if kind == "battery":
            figure.update_yaxes(range=[0, 102])
        views[name] = figure
    return views


COVER = {"p_battery_mw": ("Batteries", KIND_COLOURS["battery"]), "p_reserve_mw": ("Reserves", "#56b4e9")}
"""What covers a deviation: name and colour."""


def balancing_views(run: RunFolder) -> Views:
    """What covered the deviation from the schedule, and where it came from; mean per quarter hour."""
    table = run.table("balancing")
    if table.empty:
        return {}
    causes = {
        name: (_cause_word(name), KIND_COLOURS.get(_cause_of(name), MUTED))
        for name in map(str, table)
        if name.startswith("cause_") and table[name].abs().max() > 0
    }
    views = {"What covered it": _balance(run, table, COVER, residual=True)}
    return views | ({"Where it came from": _balance(run, table, causes, residual=False)} if causes else {})


def _cause_of(name: str) -> str:
    return name.removeprefix("cause_").removesuffix("_mw")


def _cause_word(name: str) -> str:
    return "Inflexible loads and generators" if _cause_of(name) == "inflexible" else kind_word(_cause_of(name))


def _balance(run: RunFolder, table: pd.DataFrame, bars: dict[str, tuple[str, str]], *, residual: bool) -> go.Figure:
    """Stacked bars with the deviation as a line over them. Consumption positive."""
    zone, times = _zone(run), axis_times(table["time_utc"], _zone(run))
    factor, unit = power_scale(table["p_deviation_mw"])
    figure = go.Figure()
    for name, (title, colour) in bars.items():
        figure.add_trace(
            go.Bar(
                **even_times(times),
                y=short(factor * table[name], 3),
                name=title,
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate=f"%{{y:.2f}} {unit}",
                width=9e5,
                offset=0,
            )
        )
    deviation = line(times, factor * table["p_deviation_mw"], "Deviation from plan", colour=INK, unit=unit, decimals=2)
    figure.add_trace(deviation)
    if residual:
        left = line(times, factor * table["p_residual_mw"], "Left unbalanced", colour=BEFORE, unit=unit, decimals=2)
        figure.add_trace(left)
    figure.update_layout(
        height=420,
        barmode="relative",
        bargap=0,
        yaxis_title=f"↓ less   more consumption ↑<br>[{unit}]",
        xaxis_title=time_title(table["time_utc"], zone),
    )
    return figure


def _zone(run: RunFolder) -> str:
    return str(run.about["time"]["zone"])


def titled(word: str, name: str) -> str:
    """`Line` and `cable 3` -> `Line cable 3`; a name that says it itself stays as it is."""
    return name if word.lower() in name.lower() else f"{word} {name}"


def _element_word(element: object) -> str:
    words = {"trafo": "Transformer", "trafo3w": "Transformer", "line": "Line", "impedance": "Impedance"}
    return words.get(str(element), str(element).capitalize())
