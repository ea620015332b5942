"""A file of time series as the table that stands in it: CSV or Parquet, every fault named with its place."""

from __future__ import annotations

import csv
import difflib
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pandas as pd

from gridtwin.data.parquet import read_parquet
from gridtwin.errors import DataError, Finding
from gridtwin.scenario import SeriesFile

LARGEST_FILE_MB = 1024
SERIES_FORMATS = (".csv", ".parquet")
"""Endings of the files that are read."""
QUOTED = re.compile(r'"[^"]*"')


@dataclass
class FileReader:
    """What the steps of reading share: the section, the file's name for messages, the findings so far."""

    section: SeriesFile
    file: Path
    findings: list[Finding] = field(default_factory=list)

    def note(self, what: str, *, got: str = "", do: str = "", code: str = "") -> None:
        """Keep a finding about the file."""
        self.findings.append(Finding(what, where=str(self.file), got=got, do=do, code=code))

    def fail(self, what: str, *, at: str = "", expected: str = "", got: str = "", do: str = "", code: str) -> NoReturn:
        """Raise one clear error about the file."""
        where = f"{self.file}: {at}" if at else str(self.file)
        raise DataError([Finding(what, where, expected, got, do, "error", code)])


def path_of(section: SeriesFile, base: Path) -> Path:
    """Path of the file; relative ones from `base`."""
    return section.file if section.file.is_absolute() else base / section.file


def read_table(reader: FileReader) -> pd.DataFrame:
    """The file as it stands: texts and numbers under the names of its head."""
    file = reader.file
    if not file.is_file():
        near = difflib.get_close_matches(file.name, _names_in(file.parent), n=1)
        reader.fail("no such file", expected=near[0] if near else "", code="GT-D30")
    if file.stat().st_size > LARGEST_FILE_MB * 1e6:
        reader.fail("the file is too large", expected=f"at most {LARGEST_FILE_MB} MB", code="GT-D30")
    if file.suffix.lower() not in SERIES_FORMATS:
        reader.fail("unknown format of a series", expected=".csv or .parquet", got=file.suffix, code="GT-D30")
    table = _read_csv(reader) if file.suffix.lower() == ".csv" else _read_parquet(reader)
    if table.empty:
        reader.fail("the file has no rows", code="GT-D30")
    need_column(reader, table, reader.section.time_column)
    return table


def _names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []


def _read_csv(reader: FileReader) -> pd.DataFrame:
    try:
        with reader.file.open(encoding="utf-8-sig") as lines:
            head = lines.readline()
            separator = max(",;\t", key=QUOTED.sub("", head).count)
            names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
            _check_head(reader, names)
            with warnings.catch_warnings():
                # pandas only warns, and drops the cells, where rows are longer than the head
                warnings.simplefilter("error", pd.errors.ParserWarning)
                table: pd.DataFrame = pd.read_csv(lines, sep=separator, names=names, index_col=False, low_memory=False)
            return table
    except pd.errors.EmptyDataError:
        reader.fail("the file has no rows", code="GT-D30")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        do = "Decimal commas? Write points, or separate by semicolons."
        reader.fail(f"the file is not a readable CSV: {str(error).strip()}", do=do, code="GT-D30")


def _check_head(reader: FileReader, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        reader.fail("a column stands twice", got=", ".join(doubled), code="GT-D31")


def _read_parquet(reader: FileReader) -> pd.DataFrame:
    try:
        table = read_parquet(reader.file)
    except (ValueError, OSError) as error:  # pyarrow's own errors derive from both
        reader.fail(f"the file is not readable Parquet: {str(error).splitlines()[0]}", code="GT-D30")
    return table.reset_index() if table.index.name == reader.section.time_column else table


def need_column(reader: FileReader, table: pd.DataFrame, name: str) -> None:
    """Refuse a table without the column, with the nearest spelling."""
    if name in table.columns:
        return
    columns = [str(column) for column in table.columns]
    near = difflib.get_close_matches(name, columns, n=1)
    reader.fail(
        "the file lacks a column",
        expected=name,
        got=shown(columns),
        do=f"Did you mean {near[0]}?" if near else "",
        code="GT-D31",
    )


def pick_column(reader: FileReader, table: pd.DataFrame, name: str) -> str:
    """The only column beside the time, or the one of this name."""
    columns = [str(column) for column in table.columns if column != reader.section.time_column]
    if len(columns) == 1:
        return columns[0]
    need_column(reader, table, name)
    return name


def shown(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
