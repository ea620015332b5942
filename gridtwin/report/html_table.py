"""Tables of the page: escaped, aligned, sortable by the raw value."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gridtwin.report.key_figures import split_unit

ABBREVIATIONS = {"crps": "CRPS", "mae": "MAE", "nmae": "nMAE", "rmae": "rMAE", "rmse": "RMSE", "pv": "PV", "co2": "CO2",
                 "utc": "UTC", "soc": "SoC"}  # fmt: skip
Format = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """Header and format of one column; numbers stand right."""

    title: str
    format: Format = str
    number: bool = False
    short: bool = False
    """Kept on one line."""


def html_table(table: pd.DataFrame, columns: Mapping[str, Column], *, most_rows: int = 200) -> str:
    """An HTML table of the columns that the table has; what is cut off is said."""
    shown = {name: column for name, column in columns.items() if name in table}
    head = "".join(
        f'<th class="{_class(column)}" tabindex="0">{html.escape(column.title)}</th>' for column in shown.values()
    )
    rows = (
        dict(zip(shown, values, strict=True)) for values in table[list(shown)].head(most_rows).itertuples(index=False)
    )
    body = "".join(f"<tr>{''.join(_cells(row, shown))}</tr>" for row in rows)
    note = f'<p class="note">The first {most_rows} of {len(table)} rows; the table file holds all.</p>'
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        + (note if len(table) > most_rows else "")
    )


def _cells(row: Mapping[str, Any], columns: Mapping[str, Column]) -> Iterable[str]:
    for name, column in columns.items():
        value = row[name]
        missing = value is None or (not isinstance(value, list | tuple) and pd.isna(value))
        text = "–" if missing else column.format(value)
        raw = "" if missing else html.escape(str(value), quote=True)
        yield f'<td class="{_class(column)}" data-value="{raw}">{html.escape(text)}</td>'


def _class(column: Column) -> str:
    return "number" if column.number else "text short" if column.short else "text"


def number(decimals: int = 1, unit: str = "", factor: float = 1.0) -> Format:
    """Format of a number with a unit; large numbers get thin spaces."""

    def write(value: Any) -> str:
        text = f"{factor * float(value):,.{decimals}f}".replace(",", "\u202f").replace("-", "\u2212")
        return f"{text}\u00a0{unit}" if unit else text

    return write


def auto_column(name: str, series: pd.Series) -> Column:
    """Column for a table whose columns another stage defines; the unit stays in the title."""
    title = column_title(name)
    if name == "kind" or name == "group":
        return Column(title, lambda value: str(value).replace("_", " "))
    if pd.api.types.is_bool_dtype(series.dtype):
        return Column(title, lambda value: "yes" if value else "no")
    if pd.api.types.is_integer_dtype(series.dtype):
        return Column(title, number(0), number=True)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return Column(title, significant, number=True)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return Column(title, lambda value: f"{value:%a %d %b %Y %H:%M}", short=True)
    return Column(title)


def column_title(name: str) -> str:
    """`cost_eur` -> `Cost [EUR]`, `start_local` -> `Start, local time`.

    >>> column_title("crps_mw"), column_title("start_local")
    ('CRPS [MW]', 'Start, local time')
    """
    if name.endswith("_local"):
        return f"{column_title(name.removesuffix('_local'))}, local time"
    words, unit = split_unit(name)
    title = " ".join(ABBREVIATIONS.get(word, word) for word in words.split())
    title = title if title.split(" ")[0] in ABBREVIATIONS.values() else title[:1].upper() + title[1:]
    return f"{title} [{unit}]" if unit != "-" else title


def in_kw(table: pd.DataFrame) -> pd.DataFrame:
    """Powers and energies of one feeder read better in kW and kWh."""
    units = {"_mw": "_kw", "_mwh": "_kwh"}
    small = {
        str(name): str(name).removesuffix(old) + new
        for name in table
        for old, new in units.items()
        if str(name).endswith(old)
    }
    return table.assign(**{name: 1e3 * table[name] for name in small}).rename(columns=small)


def significant(value: Any) -> str:
    """Three to four significant digits, as people write them."""
    size = abs(float(value))
    if size == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    return number(min(decimals, 8))(value)


def auto_table(table: pd.DataFrame, *, without: Iterable[str] = (), most_rows: int = 200) -> str:
    """A table with every column but `without` and the UTC twin of each local time."""
    names = [str(name) for name in table]
    local = {name.removesuffix("_local") for name in names if name.endswith("_local")}
    skip = {*without, *(f"{stem}_utc" for stem in local)}
    columns = {name: auto_column(name, table[name]) for name in names if name not in skip}
    return html_table(table, columns, most_rows=most_rows)
