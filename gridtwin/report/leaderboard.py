"""The leaderboard of a backtest: how good every model is, what it costs to run, and what it is worth to the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gridtwin.errors import DataError, Finding, GridtwinError
from gridtwin.report.ai_energy_figures import FAMILY_COLOURS, SYMBOLS
from gridtwin.report.figure_style import CONFIG, INK, MUTED, plain_text, template
from gridtwin.report.html_table import Column, html_table, number, significant
from gridtwin.report.markup import PageFigures, about_line, card, escape, judged_lines, script_json, titled_note
from gridtwin.report.page import DARK
from gridtwin.report.run_folder import whole_folder
from gridtwin.report.verdict import VerdictLine

SCORE_COLUMNS = (
    "skill_percent",
    "pinball_mw",
    "pinball_skill_percent",
    "crps_mw",
    "nmae_percent",
    "rmae",
    "coverage_of_80_percent_band_percent",
    "coverage_of_90_percent_band_percent",
    "peak_error_mw",
    "energy_score_mw",
)
"""Scores of `score_forecast` that the leaderboard shows."""
STEPS = ("model", "paths")
"""Steps of an energy ledger that belong to a forecast: the model itself, trained and rolled; its bands and paths."""
COST_COLUMNS = ("model_seconds", "paths_seconds", "seconds", "model_joules", "paths_joules",
                "joules", "joules_p2_5", "joules_p97_5", "energy_kind")  # fmt: skip
MONEY_SHOWN = ("total_eur", "regret_eur", "imbalance_eur", "missed_overload_mwh", "needless_dimming_mwh")
"""Columns of `value_forecasts` that the page shows; the table file holds all."""
COSTS = {"seconds": ("Seconds", "Model, bands and paths [s]"), "joules": ("Energy", "Model, bands and paths [J]")}
"""What the figure holds the skill against: name of the view, title of the axis."""
PAGE_FILE, TABLE_FILE, TEXT_FILE = "leaderboard.html", "leaderboard.parquet", "leaderboard.csv"
SCORES_FILE = "scores.csv"


def build_leaderboard(
    scores: Mapping[str, pd.DataFrame],
    *,
    ledgers: Mapping[str, pd.DataFrame] | None = None,
    money: pd.DataFrame | None = None,
    name: str = "total",
) -> pd.DataFrame:
    """One row per model, best skill first.

    Parameters
    ----------
    scores : mapping from str to DataFrame
        `score_forecast` of each model, over the same steps.
    ledgers : mapping from str to DataFrame, optional
        `EnergyLedger.table()` of each model with steps `model` and `paths`, on their own or last in a nested
        name; rows of one step are added up.
    money : DataFrame, optional
        From `value_forecasts`.
    name : str
        Row of the scores that counts: an asset, a kind or `total`.

    Returns
    -------
    DataFrame
        Index `model`; `SCORE_COLUMNS`, `COST_COLUMNS`, `on_front` (no other model has both more skill and fewer
        seconds), then the columns of `money`. What is not known is NaN.

    Raises
    ------
    DataError
        If no scores are given, or one has no such row.
    """
    check_scores(scores, name)
    rows = {model: table.set_index("name").loc[name] for model, table in scores.items()}
    board = pd.DataFrame({column: [row[column] for row in rows.values()] for column in SCORE_COLUMNS}, index=list(rows))
    costs = [cost_of(ledgers[model] if ledgers and model in ledgers else None) for model in rows]
    board = board.join(pd.DataFrame(costs, index=board.index, columns=list(COST_COLUMNS)))
    board["on_front"] = front_of(board["skill_percent"].to_numpy(float), board["seconds"].to_numpy(float))
    if money is not None:
        board = board.join(money)
    return board.rename_axis("model").sort_values("skill_percent", ascending=False, kind="stable")


def check_scores(scores: Mapping[str, pd.DataFrame], name: str) -> None:
    """Raise if there is nothing to compare."""
    lacking = [model for model, table in scores.items() if name not in set(table["name"])]
    if not scores or lacking:
        got = ", ".join(lacking) or "no model"
        raise DataError([Finding("a leaderboard needs the same row of scores of every model", expected=name, got=got,
                                 severity="error")])  # fmt: skip


def cost_of(ledger: pd.DataFrame | None) -> dict[str, float | str]:
    """Seconds and joules of the model and of its bands and paths from an energy ledger; NaN where it does not say."""
    unknown: dict[str, float | str] = dict.fromkeys(COST_COLUMNS, float("nan"))
    if ledger is None:
        return unknown | {"energy_kind": ""}
    last = ledger["step"].astype(str).str.split(" / ").str[-1]
    parts = {step: ledger[last == step] for step in STEPS}
    both = ledger[last.isin(STEPS)]
    if both.empty:
        return unknown | {"energy_kind": ""}
    found: dict[str, float | str] = {f"{step}_seconds": float(rows["seconds"].sum()) for step, rows in parts.items()}
    found |= {f"{step}_joules": add_up(rows["joules_p50"]) for step, rows in parts.items()}
    found |= {"joules_p2_5": add_up(both["joules_p2_5"]), "joules_p97_5": add_up(both["joules_p97_5"])}
    kinds = ", ".join(dict.fromkeys(both["kind"].astype(str)))
    return found | {"seconds": float(both["seconds"].sum()), "joules": add_up(both["joules_p50"]), "energy_kind": kinds}


def add_up(joules: pd.Series) -> float:
    """Sum of energies; NaN where one is not known. Ends of intervals add up as if they erred together."""
    return float(joules.astype(float).sum(skipna=False))


def front_of(skill: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Whether nothing has both at least the skill at less cost, or more skill at no more cost. (model,)

    >>> front_of(np.array([10.0, 20.0, 15.0]), np.array([1.0, 5.0, 9.0])).tolist()
    [True, True, False]
    """
    better = (skill >= skill[:, np.newaxis]) & (cost <= cost[:, np.newaxis])
    strictly = (skill > skill[:, np.newaxis]) | (cost < cost[:, np.newaxis])
    return np.asarray(~(better & strictly).any(axis=1) & np.isfinite(skill) & np.isfinite(cost))


def leaderboard_figure(board: pd.DataFrame, cost: str = "seconds") -> go.Figure:
    """Skill of every model against its seconds or joules, and the front of those that nothing beats.

    Parameters
    ----------
    board : DataFrame
        From `build_leaderboard`. Models whose cost is not known or zero are left out: the axis is logarithmic.
    cost : {"seconds", "joules"}
        What it is held against; joules with their interval.
    """
    figure = go.Figure(layout={"template": template(), "height": 420})
    known = board[(board[cost] > 0) & board["skill_percent"].notna()]
    on_front = front_of(known["skill_percent"].to_numpy(float), known[cost].to_numpy(float))
    front = known[on_front].sort_values(cost)
    figure.add_scatter(x=front[cost].tolist(), y=front["skill_percent"].tolist(), mode="lines",
                       name="nothing is better and cheaper", line={"color": MUTED, "dash": "dot", "shape": "hv"},
                       hoverinfo="skip")  # fmt: skip
    for place, (model, row) in enumerate(known.iterrows()):
        figure.add_scatter(**point_of(str(model), row, place, cost, bool(on_front[place])))
    figure.update_xaxes(title_text=COSTS[cost][1], type="log", tickformat=".2~g", dtick="D2")
    figure.update_yaxes(title_text="Skill against the seasonal naive [%]")
    figure.update_layout(hovermode="closest")
    return figure


def point_of(model: str, row: pd.Series, place: int, cost: str, on_front: bool) -> dict[str, object]:
    """Marker of one model."""
    colour = FAMILY_COLOURS[place % len(FAMILY_COLOURS)]
    point: dict[str, object] = {
        "x": [float(row[cost])],
        "y": [float(row["skill_percent"])],
        "mode": "markers+text",
        "name": plain_text(model),
        "text": [plain_text(model)],
        "textposition": "top center",
        "showlegend": False,
        "marker": {"color": colour, "size": 11, "symbol": SYMBOLS[place % len(SYMBOLS)],
                   "line": {"color": INK if on_front else colour, "width": 1.5}},
        "hovertemplate": f"%{{text}}: skill %{{y:.1f}} %, %{{x:.3g}} {COSTS[cost][1][-2]}<extra></extra>",
    }  # fmt: skip
    if cost == "joules" and np.isfinite(row["joules_p97_5"]) and np.isfinite(row["joules_p2_5"]):
        ends = {"array": [row["joules_p97_5"] - row["joules"]], "arrayminus": [row["joules"] - row["joules_p2_5"]]}
        point["error_x"] = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, **ends}
    return point


def render_leaderboard(
    board: pd.DataFrame,
    *,
    title: str,
    about: str = "",
    scores: pd.DataFrame | None = None,
    findings: Sequence[Finding] = (),
) -> str:
    """The page as text: opens without a network; the same table gives the same bytes.

    Parameters
    ----------
    board : DataFrame
        From `build_leaderboard`.
    title, about : str
        Heading, and what was forecast: days, issue time, assets.
    scores : DataFrame, optional
        Of `forecast.backtest`: the total is shown by type of day too.
    findings : sequence of Finding
        What was noticed in data and forecasts; shown below the tables.
    """
    from plotly.offline import get_plotlyjs

    drawn = PageFigures()
    views = {COSTS[cost][0]: leaderboard_figure(board, cost) for cost in COSTS if (board[cost] > 0).any()}
    note = "Skill is the share of the absolute error of the seasonal naive that is taken away. Up and left is better."
    figure = drawn.place(views, title="Skill against what it takes", note=note)
    body = judged_lines([verdict_of(board)]) + (about_line(about) if about else "") + card(figure) + table_card(board)
    if scores is not None:
        body += day_type_card(scores)
    if findings:
        body += findings_card(findings)
    parts = {
        "title": escape(f"{title} · leaderboard"),
        "css": _resource("page.css"),
        "header": f'<div class="brand">gridtwin · leaderboard</div><h1>{escape(title)}</h1>',
        "navigation": "",
        "main": body,
        "footer": escape(f"All models and columns: {TABLE_FILE} and {TEXT_FILE} beside this page."),
        "style": script_json({"template": template(), "config": CONFIG, "dark": DARK}),
        "figures": drawn.markup(),
        "plotly": get_plotlyjs().replace("</script", "<\\/script") if views else "",
        "script": _resource("page.js"),
    }
    return Template(_resource("page.html")).substitute(parts)


def verdict_of(board: pd.DataFrame) -> VerdictLine:
    """Who leads, by how much, and whom the network would choose."""
    ranked = board[board["skill_percent"].notna()]
    if ranked.empty:
        return VerdictLine("watch", "Leader", "no model has a known skill.")
    skills = ranked["skill_percent"]
    text = f"{ranked.index[0]}, skill {skills.iloc[0]:.1f} %"
    if len(ranked) > 1:
        text += f", {skills.iloc[0] - skills.iloc[1]:.1f} points before {ranked.index[1]}"
    if "total_eur" in board and board["total_eur"].notna().any():
        cheapest = board["total_eur"].idxmin()
        cost = f"{board['total_eur'].min():.2f} EUR"
        text += f"; in grid money {cheapest} costs least, {cost} beyond perfect foresight"
    return VerdictLine("good" if skills.iloc[0] > 0 else "bad", "Leader", f"{text}.")


def table_card(board: pd.DataFrame) -> str:
    """The table of the page."""
    columns = {
        "model": Column("Model", short=True),
        "skill_percent": Column("Skill [%]", number(1), number=True),
        "pinball_kw": Column("Pinball [kW]", significant, number=True),
        "pinball_skill_percent": Column("Skill, pinball [%]", number(1), number=True),
        "crps_kw": Column("CRPS [kW]", significant, number=True),
        "nmae_percent": Column("nMAE [%]", number(1), number=True),
        "rmae": Column("rMAE", number(3), number=True),
        "coverage_of_80_percent_band_percent": Column("80 % band covers [%]", number(1), number=True),
        "coverage_of_90_percent_band_percent": Column("90 % band covers [%]", number(1), number=True),
        "peak_error_kw": Column("Error of the daily peak [kW]", significant, number=True),
        "model_seconds": Column("Model [s]", significant, number=True),
        "paths_seconds": Column("Bands and paths [s]", significant, number=True),
        "model_joules": Column("Model [J]", significant, number=True),
        "paths_joules": Column("Bands and paths [J]", significant, number=True),
        "energy_kind": Column("Energy is"),
        **{name: Column(money_title(name), significant, number=True) for name in MONEY_SHOWN},
    }
    small = {column: 1e3 * board[f"{column[:-3]}_mw"] for column in ("pinball_kw", "crps_kw", "peak_error_kw")}
    shown = board.assign(**small).reset_index()
    empty = [name for name in columns if name in shown and (shown[name].isna() | (shown[name] == "")).all()]
    kept = {name: column for name, column in columns.items() if name not in empty}
    note = "Scores are of the sum unless said otherwise; a reliable band covers what its name says."
    return card(titled_note("Models, best skill first", note), html_table(shown, kept))


def day_type_card(scores: pd.DataFrame) -> str:
    """Skill of the total by type of day: holidays and clock changes apart."""
    totals = scores.query("level == 'total'")
    table = totals.pivot(index="day_type", columns="model", values="pinball_skill_percent")
    days = (totals.groupby("day_type")["steps"].max() / totals.query("day_type == 'all'")["steps"].max()).mul(100)
    order = totals["day_type"].unique()
    table = table.loc[order].assign(steps_percent=days).reset_index()
    columns = {
        "day_type": Column("Days", short=True),
        "steps_percent": Column("Share [%]", number(0), number=True),
        **{str(model): Column(str(model), number(1), number=True) for model in totals["model"].unique()},
    }
    note = "Pinball skill of the total [%] over the same days; a type that hardly occurs says little."
    return card(titled_note("By type of day", note), html_table(table, columns))


def findings_card(findings: Sequence[Finding]) -> str:
    """What was noticed, warnings first."""
    rank = {"error": 0, "warning": 1, "info": 2}
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: rank[finding.severity])
    names = ("severity", "what", "where", "got", "do")
    table = pd.DataFrame([[getattr(finding, name) for name in names] for finding in ordered], columns=list(names))
    columns = {name: Column(name.capitalize(), short=name == "severity") for name in names}
    return card(titled_note("What was noticed", "In the data and by the forecasts."), html_table(table, columns))


def money_title(name: str) -> str:
    """`total_eur` -> `Total [EUR]`, `missed_overload_mwh` -> `Missed overload [MWh]`."""
    words, _, unit = name.rpartition("_")
    return f"{words.replace('_', ' ').capitalize()} [{ {'eur': 'EUR', 'mwh': 'MWh'}[unit] }]"


def write_leaderboard(
    folder: str | Path,
    board: pd.DataFrame,
    *,
    title: str,
    about: str = "",
    scores: pd.DataFrame | None = None,
    findings: Sequence[Finding] = (),
    overwrite: bool = False,
) -> Path:
    """Write page and table to a folder of their own; it appears complete, or not at all.

    Parameters
    ----------
    folder : str or Path
        New or empty, or with `overwrite` one that holds a leaderboard.
    board : DataFrame
        From `build_leaderboard`.
    title, about : str
        See `render_leaderboard`.
    scores : DataFrame, optional
        Of `forecast.backtest`; written as `SCORES_FILE` beside the page.
    findings : sequence of Finding
        See `render_leaderboard`.
    overwrite : bool, default False
        Replace a leaderboard that is there.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    GridtwinError
        If the folder holds something else, or a leaderboard and `overwrite` is not given.
    """
    folder = Path(folder).resolve()
    refuse_other_folder(folder, overwrite=overwrite)
    with whole_folder(folder) as partial:
        board.reset_index().to_parquet(partial / TABLE_FILE)
        board.to_csv(partial / TEXT_FILE)
        if scores is not None:
            scores.to_csv(partial / SCORES_FILE, index=False)
        page = render_leaderboard(board, title=title, about=about, scores=scores, findings=findings)
        (partial / PAGE_FILE).write_text(page, encoding="utf-8")
    return folder / PAGE_FILE


def refuse_other_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise if writing there would destroy something."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    ours = (folder / PAGE_FILE).is_file()
    if ours and overwrite:
        return
    what = "the folder holds a leaderboard" if ours else "the folder holds something that is not a leaderboard"
    do = "Choose another folder, or replace it with --overwrite." if ours else "Choose another folder."
    raise GridtwinError([Finding(what, where=str(folder), expected="a new or empty folder", do=do, severity="error")])


def _resource(name: str) -> str:
    return files("gridtwin.report").joinpath(name).read_text(encoding="utf-8")
