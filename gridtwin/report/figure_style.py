"""One look for every figure: colours, time axis in local time, units fit for the size of the values.

The colours are of the Okabe-Ito set, which colour-blind readers tell apart; what
matters is also said by line width, dash or text.
"""

from __future__ import annotations

import html
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.time_axis import to_local

Values: TypeAlias = "np.ndarray | pd.Series"
INK, MUTED, GRID = "#1f2933", "#6b7785", "#e4e8ec"
BEFORE, AFTER, LIMIT = "#d55e00", "#0072b2", "#a3123a"
CASE_COLOURS = {"forecast": BEFORE, "forecast_scheduled": AFTER, "realised": MUTED, "realised_scheduled": INK}
KIND_COLOURS = {
    "household": "#8fa1b5",
    "commercial": "#5f7f9e",
    "agricultural": "#8aa37b",
    "load": "#a9b4bf",
    "electric_car": "#0072b2",
    "heat_pump": "#d55e00",
    "pv": "#e69f00",
    "wind": "#56b4e9",
    "generator": "#009e73",
    "battery": "#cc79a7",
    "data_centre": "#4b4b8f",
    "computing_job": "#9d7fd1",
}
GENERATING = frozenset({"pv", "wind", "generator"})
"""Kinds whose power is shown as generation, positive, under that label."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
}


def template() -> dict[str, Any]:
    """The plotly template of all figures, as plain values."""
    axis = {
        "gridcolor": GRID,
        "linecolor": "#c4ccd4",
        "zerolinecolor": "#c4ccd4",
        "ticks": "",
        "title": {"standoff": 12, "font": {"size": 13, "color": MUTED}},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {**axis, "tickformat": "%H:%M\n%a %d %b", "hoverformat": "%a %d %b %H:%M", "ticklabelstandoff": 6},
            "yaxis": axis,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
            "margin": {"l": 64, "r": 24, "t": 48, "b": 56},
            "hovermode": "x unified",
            "hoverlabel": {"font": {"family": FONT, "size": 12}, "namelength": -1},
            "bargap": 0.08,
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#9aa7b4", "activecolor": AFTER},
        }
    }


def plain_text(name: object) -> str:
    """A name as plotly shows it letter by letter, without its markup."""
    return html.escape(str(name), quote=False)


def kind_word(kind: str) -> str:
    """`electric_car` -> `Electric car`, as in legends."""
    return "PV" if kind == "pv" else kind.replace("_", " ").capitalize()


def axis_times(time_utc: pd.Series | pd.DatetimeIndex, zone: str) -> np.ndarray:
    """Positions on a local time axis: wall-clock time at the offset of the first stamp.

    A clock change would make an hour vanish or stand twice, so the offset is
    held over the whole axis; `time_title` says so.
    """
    index = pd.DatetimeIndex(time_utc)
    return np.asarray((index + _offset(index, zone)[0]).to_numpy())


def time_title(time_utc: pd.Series | pd.DatetimeIndex, zone: str) -> str:
    """Title of the time axis: local time, its zone, and how a clock change is drawn."""
    index = pd.DatetimeIndex(time_utc)
    offsets = _offset(index, zone)
    if len(set(offsets)) == 1:
        return f"Local time ({zone})"
    hours = offsets[0] / pd.Timedelta(hours=1)
    return f"Local time ({zone}), drawn at UTC{hours:+g} h throughout: the clocks change in these days"


def _offset(index: pd.DatetimeIndex, zone: str) -> list[pd.Timedelta]:
    local = to_local(index, zone)
    return [pd.Timedelta(value) for value in local.tz_localize(None) - index]


def power_scale(*values: Values) -> tuple[float, str]:
    """Factor from MW and unit that suit the size of the values: kW below 3 MW."""
    largest = max((float(np.nanmax(np.abs(part))) for part in values if len(part)), default=0.0)
    return (1.0, "MW") if largest >= 3 else (1e3, "kW")


def line(times: np.ndarray, values: Values, name: str, *, colour: str, unit: str, **more: Any) -> go.Scatter:
    """A step line: each value holds over its interval."""
    style = {"color": colour, "width": more.pop("width", 2), "dash": more.pop("dash", "solid"), "shape": "hv"}
    decimals = more.pop("decimals", 1)
    return go.Scatter(
        **even_times(times),
        y=closed(values, decimals),
        name=name,
        mode="lines",
        line=style,
        hovertemplate=f"%{{y:.{decimals}f}} {unit}",
        **more,
    )


def band(
    times: np.ndarray, low: Values, high: Values, name: str, *, colour: str, unit: str, **more: Any
) -> list[go.Scatter]:
    """A band between two step lines; the hover text of its upper edge tells both."""
    opacity, decimals = more.pop("opacity", 0.18), more.pop("decimals", 1)
    edge = {"width": more.pop("edge", 0), "shape": "hv", "color": colour}
    low, high = closed(low, decimals), closed(high, decimals)
    group = {"legendgroup": more.pop("group", name)}
    shared = {"mode": "lines", "line": edge, **even_times(times), **group}
    lower = go.Scatter(y=low, showlegend=False, hoverinfo="skip", **shared)
    upper = go.Scatter(
        y=high,
        fill="tonexty",
        fillcolor=with_opacity(colour, opacity),
        name=name,
        customdata=low,
        hovertemplate=f"%{{customdata:.{decimals}f}} to %{{y:.{decimals}f}} {unit}",
        **shared,
        **more,
    )
    return [lower, upper]


def even_times(times: np.ndarray) -> dict[str, Any]:
    """Start and step of an even time axis [ms], a hundredth of the size of the stamps themselves."""
    step = (times[1] - times[0]) / np.timedelta64(1, "ms") if len(times) > 1 else 9e5
    return {"x0": str(times[0].astype("datetime64[s]")), "dx": float(step)}


def short(values: Values, decimals: int) -> np.ndarray:
    """Rounded, in single precision: half the size, and finer than a pixel."""
    return np.round(np.asarray(values, dtype=np.float32), decimals)


def closed(values: Values, decimals: int) -> np.ndarray:
    """Values with the last one repeated, so that the step of the last interval is drawn too."""
    held = np.asarray(values, dtype=float)
    return short(np.append(held, held[-1:]), decimals + 2)


def with_opacity(colour: str, opacity: float) -> str:
    """`#0072b2` and 0.2 -> `rgba(0,114,178,0.2)`.

    >>> with_opacity("#0072b2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def limit_line(figure: go.Figure, value: float, text: str, **where: Any) -> None:
    """A dashed limit with its words at the right end."""
    if np.isfinite(value):
        figure.add_hline(
            y=value,
            line={"color": LIMIT, "width": 1.5, "dash": "dash"},
            annotation={"text": text, "font": {"size": 12, "color": LIMIT}},
            annotation_position="top right",
            **where,
        )
