"""Files of wall meters: a column of time and one of power or of cumulative energy."""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridtwin.errors import DataError, Finding, raise_errors

TIME_NAMES = ("time", "timestamp", "datetime", "date", "seconds", "t")
POWER_NAMES = {"w": 1.0, "watt": 1.0, "watts": 1.0, "power": 1.0, "power_w": 1.0, "p_w": 1.0, "kw": 1e3,
               "power_kw": 1e3, "p_kw": 1e3}  # fmt: skip
"""Header of a power column -> W per unit; a header without a unit is in W."""
ENERGY_NAMES = {"wh": 1e-3, "energy_wh": 1e-3, "e_wh": 1e-3, "kwh": 1.0, "energy_kwh": 1.0, "e_kwh": 1.0,
                "energy": 1.0, "total_kwh": 1.0}  # fmt: skip
"""Header of a column of cumulative energy -> kWh per unit; a header without a unit is in kWh."""
UNITS = {"W": 1.0, "kW": 1e3, "Wh": 1e-3, "kWh": 1.0}


@dataclass(frozen=True)
class MeterTrace:
    """Readings of one meter.

    Parameters
    ----------
    seconds : tuple of float, shape (reading,)
        Time; since 1970 UTC where the file has dates. [s]
    watts : tuple of float or None, shape (reading,)
        Power; NaN where the cell is empty. [W]
    kwh : tuple of float or None, shape (reading,)
        Cumulative energy; NaN where the cell is empty. [kWh]
    findings : tuple of Finding
        What was assumed or missing.
    """

    seconds: tuple[float, ...]
    watts: tuple[float, ...] | None
    kwh: tuple[float, ...] | None
    findings: tuple[Finding, ...] = ()


def read_meter_file(
    path: Path,
    *,
    time: str | None = None,
    power: str | None = None,
    energy: str | None = None,
    unit: str | None = None,
    delimiter: str = ",",
) -> MeterTrace:
    """Read a CSV file of a meter.

    Parameters
    ----------
    path : Path
        File with a header.
    time, power, energy : str, optional
        Headers; by default the first known one is taken. Power comes before energy.
    unit : {"W", "kW", "Wh", "kWh"}, optional
        Unit of the column, where its header does not tell.
    delimiter : str
        Between cells.

    Raises
    ------
    DataError
        If a column is not there or a cell is no number; all such cells at once.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter))
    header = [cell.strip() for cell in rows[0]] if rows else []
    place = _column(header, time, TIME_NAMES, path, "time")
    is_power = power is not None or (energy is None and any(_plain(name) in POWER_NAMES for name in header))
    names = POWER_NAMES if is_power else ENERGY_NAMES
    column = _column(header, power if is_power else energy, tuple(names), path, "power" if is_power else "energy")
    factor = _factor(header[column], unit, names, path, is_power=is_power)
    findings: list[Finding] = []
    seconds = _cells(rows, place, path, findings, is_time=True)
    values = tuple(value * factor for value in _cells(rows, column, path, findings, is_time=False))
    warnings = raise_errors(findings, DataError)
    return MeterTrace(seconds, values if is_power else None, None if is_power else values, warnings)


def _plain(name: str) -> str:
    for old, new in (("[", "_"), ("]", ""), ("(", "_"), (")", ""), (" ", "_"), ("__", "_")):
        name = name.replace(old, new)
    return name.strip("_").lower()


def _column(header: Sequence[str], asked: str | None, known: Sequence[str], path: Path, what: str) -> int:
    if asked is not None and asked in header:
        return header.index(asked)
    if asked is None:
        for name in known:
            for i, cell in enumerate(header):
                if _plain(cell) == name:
                    return i
    raise DataError([Finding(f"no column of {what}", where=str(path), expected=asked or " or ".join(known[:5]),
                             got=", ".join(header) or "an empty file", do="Name the column.",
                             severity="error", code="GT-E55")])  # fmt: skip


def _factor(name: str, unit: str | None, names: dict[str, float], path: Path, *, is_power: bool) -> float:
    if unit is None:
        return names.get(_plain(name), 1.0)
    if unit in UNITS and unit.endswith("h") != is_power:
        return UNITS[unit]
    raise DataError([Finding("unit does not fit the column", where=f"{path}: {name}",
                             expected="W or kW" if is_power else "Wh or kWh", got=unit,
                             severity="error", code="GT-E56")])  # fmt: skip


def _cells(
    rows: Sequence[Sequence[str]], column: int, path: Path, findings: list[Finding], *, is_time: bool
) -> tuple[float, ...]:
    values = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        cell = row[column].strip() if column < len(row) else ""
        if not cell and not is_time:
            values.append(math.nan)
            continue
        try:
            values.append(_seconds(cell) if is_time else float(cell))
        except ValueError:
            findings.append(Finding("not a time" if is_time else "not a number", where=f"{path}:{number}",
                                    got=cell or "an empty cell", severity="error", code="GT-E57"))  # fmt: skip
    return tuple(values)


def _seconds(cell: str) -> float:
    """Seconds as they are, or of a date in ISO form; one without a zone is UTC. [s]"""
    try:
        return float(cell)
    except ValueError:
        time = dt.datetime.fromisoformat(cell)
        return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
