"""The network as a map: branches by their highest loading, buses by their voltage, one view per case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.report.figure_style import INK, plain_text
from gridtwin.report.results import CASES, ordered_cases
from gridtwin.time_axis import to_local

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

LOADING_CLASSES = (
    (50.0, "up to 50 % of the limit", "#9fb3c5", 2.0),
    (80.0, "50 to 80 %", "#4a90c2", 3.0),
    (100.0, "80 to 100 %", "#e69f00", 4.5),
    (np.inf, "over the limit", "#a3123a", 6.5),
)
"""Upper edge [% of the limit], words, colour and line width of each class."""
VOLTAGE_COLOURS = [[0, "#a3123a"], [0.25, "#f0a35e"], [0.5, "#eef2f5"], [0.75, "#6fa8d6"], [1, "#1b3a8a"]]


def map_views(run: RunFolder) -> dict[str, go.Figure]:
    """One map per case; extremes are over the whole study."""
    buses, branches = run.table("buses").set_index("bus"), run.table("branches").set_index("branch")
    cases = ordered_cases(run.table("branch_loading")["case"].unique())
    return {CASES.get(case, case): _map(run, case, buses, branches) for case in cases}


def _map(run: RunFolder, case: str, buses: pd.DataFrame, branches: pd.DataFrame) -> go.Figure:
    ends = _placed(branches, buses).join(_worst_loading(run, case))
    share = 100 * ends["loading"] / ends["max_loading_percent"]
    figure = go.Figure()
    lower = -np.inf
    for upper, words, colour, width in LOADING_CLASSES:
        figure.add_trace(_branch_lines(ends[(share > lower) & (share <= upper)], words, colour=colour, width=width))
        lower = upper
    lost = ends[share.isna()]
    if len(lost):
        figure.add_trace(_branch_lines(lost, "no value", colour="#d5dbe1", width=1.0))
    figure.add_trace(_branch_marks(ends, case))
    figure.add_trace(_bus_marks(run, case, buses))
    trafos = ends[ends["element"].isin(["trafo", "trafo3w"])]
    figure.add_trace(_trafo_marks(trafos, share))
    figure.update_layout(_map_layout(buses))
    return figure


def _placed(branches: pd.DataFrame, buses: pd.DataFrame) -> pd.DataFrame:
    """Branches with the coordinates of both ends."""
    ends = branches.copy()
    for side, column in (("0", "from_bus"), ("1", "to_bus")):
        place = buses.reindex(ends[column])
        ends[f"x{side}"], ends[f"y{side}"] = place["x"].to_numpy(), place["y"].to_numpy()
    return ends


def _worst_loading(run: RunFolder, case: str) -> pd.DataFrame:
    """Highest loading of every branch that the agreed share of paths keeps to, and when it is. [%]"""
    table = run.table("branch_loading")
    rows = table[(table["case"] == case) & table["loading_agreed_percent"].notna()]
    worst = rows.loc[rows.groupby("branch", sort=False)["loading_agreed_percent"].idxmax()].set_index("branch")
    risk = rows.groupby("branch", sort=False)["probability_over_limit"].max()
    when = _stamps(worst["time_utc"], run)
    return pd.DataFrame({"loading": worst["loading_agreed_percent"], "when": when, "risk": 100 * risk})


def _stamps(times: pd.Series, run: RunFolder) -> pd.Series:
    local = to_local(pd.DatetimeIndex(times), str(run.about["time"]["zone"]))
    return pd.Series(local.strftime("%a %d %b %H:%M"), index=times.index)


def _branch_lines(ends: pd.DataFrame, words: str, *, colour: str, width: float) -> go.Scatter:
    """All branches of one class as one trace; None breaks the line between two of them."""
    gap = np.full(len(ends), np.nan)
    x = np.column_stack([ends["x0"], ends["x1"], gap]).ravel() if len(ends) else [None]
    y = np.column_stack([ends["y0"], ends["y1"], gap]).ravel() if len(ends) else [None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=f"{words} ({len(ends)})",
        line={"color": colour, "width": width},
        hoverinfo="skip",
        connectgaps=False,
    )


def _branch_marks(ends: pd.DataFrame, case: str) -> go.Scatter:
    """Invisible marks at the middle of the branches that carry the hover text."""
    quantile = ", the agreed share of paths below" if case.startswith("forecast") else ""
    text = [
        f"<b>{plain_text(name)}</b> ({row.element})<br>highest loading {row.loading:.1f} %{quantile}"
        f"<br>limit {row.max_loading_percent:g} %, {row.when}<br>over the limit in up to {row.risk:.0f} % of the paths"
        for name, row in zip(ends.index, ends.itertuples(), strict=True)
    ]
    return go.Scatter(
        x=(ends["x0"] + ends["x1"]) / 2,
        y=(ends["y0"] + ends["y1"]) / 2,
        mode="markers",
        marker={"size": 16, "opacity": 0},
        text=text,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _trafo_marks(trafos: pd.DataFrame, share: pd.Series) -> go.Scatter:
    colours = [_class_colour(share[name]) for name in trafos.index]
    return go.Scatter(
        x=(trafos["x0"] + trafos["x1"]) / 2,
        y=(trafos["y0"] + trafos["y1"]) / 2,
        mode="markers",
        name="transformer",
        marker={"symbol": "square", "size": 15, "color": colours, "line": {"color": INK, "width": 1.5}},
        hoverinfo="skip",
    )


def _class_colour(share: float) -> str:
    return next((colour for upper, _, colour, _ in LOADING_CLASSES if share <= upper), "#d5dbe1")


def _bus_marks(run: RunFolder, case: str, buses: pd.DataFrame) -> go.Scatter:
    """Buses coloured by the voltage farthest from nominal, on the scale of the planning limits."""
    table = run.table("bus_voltage")
    rows = table[table["case"] == case].groupby("bus", sort=False)
    low, high = rows["vm_p05_pu"].min().reindex(buses.index), rows["vm_p95_pu"].max().reindex(buses.index)
    farthest = low.where((1 - low) >= (high - 1), high)
    reach = max(float((buses["vm_max_pu"] - 1).max()), float((1 - buses["vm_min_pu"]).max()))
    devices = run.table("assets").groupby("bus")["kind"].apply(_counts).reindex(buses.index).fillna("no devices")
    text = [
        f"<b>{plain_text(bus)}</b>, {row.vn_kv:g} kV<br>voltage {low[bus]:.4f} to {high[bus]:.4f} pu"
        f"<br>limits {row.vm_min_pu:g} to {row.vm_max_pu:g} pu<br>{devices[bus]}"
        for bus, row in zip(buses.index, buses.itertuples(), strict=True)
    ]
    return go.Scatter(
        x=buses["x"],
        y=buses["y"],
        mode="markers",
        name="bus",
        showlegend=False,
        text=text,
        hovertemplate="%{text}<extra></extra>",
        marker={
            "size": 9,
            "color": np.round(farthest, 4),
            "cmin": 1 - reach,
            "cmax": 1 + reach,
            "colorscale": VOLTAGE_COLOURS,
            "line": {"color": "#52606d", "width": 1},
            "colorbar": {"title": {"text": "Bus voltage<br>farthest from<br>nominal [pu]", "font": {"size": 12}},
                         "thickness": 12, "len": 0.8, "tickformat": ".3f"},
        },
    )  # fmt: skip


def _counts(kinds: pd.Series) -> str:
    return ", ".join(f"{count} × {str(kind).replace('_', ' ')}" for kind, count in kinds.value_counts().items())


def _map_layout(buses: pd.DataFrame) -> dict[str, Any]:
    """No axes; a given map keeps its proportions, also in degrees of longitude and latitude."""
    hidden = {"visible": False, "showgrid": False, "zeroline": False}
    layout: dict[str, Any] = {
        "height": 560,
        "hovermode": "closest",
        "xaxis": dict(hidden),
        "yaxis": dict(hidden),
        "margin": {"l": 8, "r": 8, "t": 40, "b": 8},
        "dragmode": "pan",
    }
    if (buses["place"] == "given").all():
        in_degrees = buses["x"].abs().max() <= 180 and buses["y"].abs().max() <= 90
        ratio = 1 / np.cos(np.deg2rad(buses["y"].mean())) if in_degrees else 1.0
        layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": float(ratio)}
    return layout
