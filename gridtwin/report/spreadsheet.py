"""`tables.xlsx`: one sheet per table, for readers without Python."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MAX_ROWS = 10_000
"""Longer tables stay in Parquet; a spreadsheet of them would take minutes to open."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_spreadsheet(tables: Mapping[str, pd.DataFrame], file: Path, *, title: str) -> Path:
    """Write all tables of at most `MAX_ROWS` rows; the first sheet says what was left out.

    A text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    _fill(book, "about", _about(tables, title))
    for name, table in tables.items():
        if len(table) <= MAX_ROWS:
            _fill(book, name[:31], table)
    book.save(file)
    return file


def _about(tables: Mapping[str, pd.DataFrame], title: str) -> pd.DataFrame:
    """First sheet: title, conventions and one row per table."""
    rows: list[tuple[str, str, int | str]] = [
        ("title", title, ""),
        ("sign", "consumption positive, feed-in negative", ""),
        ("time", "start of the interval, UTC and local", ""),
    ]
    for name, table in tables.items():
        left_out = f"left out here, too long: open tables/{name}.parquet" if len(table) > MAX_ROWS else "sheet below"
        rows.append((name, left_out, len(table)))
    return pd.DataFrame(rows, columns=["table", "note", "rows"])


def _fill(book: Any, name: str, table: pd.DataFrame) -> None:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font, PatternFill
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(name)
    sheet.freeze_panes = "A2"
    for position, column in enumerate(table.columns, 1):
        sheet.column_dimensions[get_column_letter(position)].width = _width(table[column], str(column))
    header = [WriteOnlyCell(sheet, value=safe_text(str(column))) for column in table.columns]
    for cell in header:
        cell.font, cell.fill = Font(bold=True, color="FFFFFF"), PatternFill("solid", fgColor="1F3A5F")
    sheet.append(header)
    for row in _rows(table):
        sheet.append(row)


def _width(column: pd.Series, title: str) -> float:
    longest = max((len(str(value)) for value in column.head(50)), default=0)
    return float(min(max(len(title), longest, 8) + 2, 60))


def _rows(table: pd.DataFrame) -> Iterator[list[Any]]:
    columns = [_cells(table[name]) for name in table.columns]
    return (list(row) for row in zip(*columns, strict=True))


def _cells(column: pd.Series) -> list[Any]:
    """Values that openpyxl takes; local times become text with their offset, which Excel dates cannot hold."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return [value.isoformat(timespec="minutes") if pd.notna(value) else None for value in column]
    return [cell_value(value) for value in column.tolist()]


def cell_value(value: Any) -> Any:
    """A value as a cell can hold it: numbers, dates, safe text, None where missing.

    >>> cell_value("=1+1"), cell_value(float("nan")), cell_value(2.5)
    ("'=1+1", None, 2.5)
    """
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, bool | int | dt.datetime | dt.date):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    return safe_text(str(value))


def safe_text(text: str) -> str:
    """Text that no spreadsheet runs as a formula, without control characters."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    text = ILLEGAL_CHARACTERS_RE.sub("", text)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
