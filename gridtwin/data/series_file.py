"""Series from CSV and Parquet files, on our axis, in our units and signs.

The user declares zone, label side, unit and sign; nothing is guessed. The step
of a file is what its stamps say. Between steps:

- power, energy and prices hold over the interval of the file, or are averaged
  where the file is finer; energy is conserved;
- temperatures run in straight lines between the centres of the file's intervals.

Gaps of up to four steps are interpolated (quality 1, substituted); longer gaps of
power take the value of the same weekday a week before or after (quality 2,
estimated); longer gaps of anything else are refused.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.series_table import FileReader, path_of, pick_column, read_table, shown
from gridtwin.errors import DataError, Finding
from gridtwin.nomenclature import attrs_of
from gridtwin.scenario import SeriesFile
from gridtwin.time_axis import TimeAxis, to_utc

Quantity = Literal["power", "price", "temperature", "weather"]
UNITS: dict[str, tuple[Quantity, float]] = {
    "MW": ("power", 1.0),
    "kW": ("power", 1e-3),
    "MWh": ("power", 1.0),
    "kWh": ("power", 1e-3),
    "EUR/MWh": ("price", 1.0),
    "EUR/kWh": ("price", 1e3),
    "ct/kWh": ("price", 10.0),
    "degC": ("temperature", 1.0),
    "W/m2": ("weather", 1.0),
    "m/s": ("weather", 1.0),
    "%": ("weather", 1.0),
    "hPa": ("weather", 1.0),
    "mixed": ("weather", 1.0),
}
"""Unit in a file -> quantity and factor to MW, EUR/MWh or °C, weather as it stands; energy is divided by the interval
besides. `mixed` are columns of several units of weather."""
ENERGY_UNITS = frozenset(["MWh", "kWh"])
LONGEST_GAP = 4
"""Missing steps in a row that are interpolated."""
LARGEST_SHARE_MISSING = 0.2
"""Beyond this the rest says too little about the missing part. [-]"""
WEEK = pd.Timedelta(days=7)
SUBSTITUTED, ESTIMATED = 1, 2
QUALITY_OF_KIND = {"measured": 0, "estimated": ESTIMATED, "assumed": 4}
"""Quality code of values that stand in a file, by what the file says of itself."""
OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
DECIMAL_COMMA = re.compile(r"\s*-?\d+,\d+\s*")


@dataclass(frozen=True, eq=False)
class Series:
    """Columns of one file on a regular UTC axis.

    Parameters
    ----------
    values : DataFrame, (time, column)
        In MW (+ consumption), EUR/MWh or °C.
    quality : DataFrame, (time, column)
        int8 quality codes, see `nomenclature.QUALITY`.
    axis : TimeAxis
        Interval starts.
    findings : tuple of Finding
        What was sorted, dropped or filled.
    """

    values: pd.DataFrame
    quality: pd.DataFrame
    axis: TimeAxis
    findings: tuple[Finding, ...]


def read_weather(section: SeriesFile, axis: TimeAxis, base: Path = Path()) -> xr.Dataset:
    """Outdoor temperature on the axis.

    Parameters
    ----------
    section : SeriesFile
        What the user declares; the file's only column, or the one named `temperature`.
    axis : TimeAxis
        Every interval must lie within the data.
    base : path
        Folder of relative paths.

    Returns
    -------
    Dataset
        `temperature_celsius` (time), mean over the interval. [°C]
    """
    return _read_one(section, axis, base, quantity="temperature", name="temperature_celsius")


def read_prices(section: SeriesFile, axis: TimeAxis, base: Path = Path()) -> xr.Dataset:
    """Day-ahead prices on the axis; hourly prices hold over their hour.

    Returns
    -------
    Dataset
        `price_eur_per_mwh` (time), may be negative; `attrs["kind"]` repeats whether the
        prices are measured, estimated or assumed. [EUR/MWh]
    """
    return _read_one(section, axis, base, quantity="price", name="price_eur_per_mwh")


def read_feeder_head(section: SeriesFile, base: Path = Path()) -> xr.Dataset:
    """Active power into the network at its upstream connection, on the file's own axis.

    Returns
    -------
    Dataset
        `p_mw` (time), import positive, with `quality`. [MW]
    """
    return _read_one(section, None, base, quantity="power", name="p_mw")


def _read_one(section: SeriesFile, axis: TimeAxis | None, base: Path, *, quantity: Quantity, name: str) -> xr.Dataset:
    """A file of one quantity as a dataset of one variable."""
    reader = FileReader(section, path_of(section, base))
    table = read_table(reader)
    column = pick_column(reader, table, name.split("_")[0])
    series = to_series(reader, table[[section.time_column, column]], axis, quantity)
    return xr.Dataset(
        {
            name: ("time", series.values[column].to_numpy(), attrs_of(name)),
            "quality": ("time", series.quality[column].to_numpy(), attrs_of("quality")),
        },
        coords={"time": series.axis.times},
        attrs={
            "step": series.axis.step.isoformat(),
            "zone": series.axis.zone,
            "kind": section.kind,
            "source": reader.file.name,
            "findings": series.findings,
        },
    )


def read_series(section: SeriesFile, axis: TimeAxis | None = None, base: Path = Path()) -> Series:
    """All columns of a file, on the axis or, without one, on the file's own.

    Parameters
    ----------
    section : SeriesFile
        What the user declares about the file.
    axis : TimeAxis, optional
        Axis of the result; every interval must lie within the data.
    base : path
        Folder of relative paths.

    Raises
    ------
    DataError
        If the file, a column or a stamp is missing, stands twice with two values, or
        cannot be read as what it was declared to be.
    """
    reader = FileReader(section, path_of(section, base))
    return to_series(reader, read_table(reader), axis, None)


def to_series(
    reader: FileReader, table: pd.DataFrame, axis: TimeAxis | None, quantity: Quantity | None, *, hold: bool = False
) -> Series:
    """The recipe: numbers, unit, UTC, regular, filled, on the axis; `hold` keeps coarse values over their interval."""
    found, factor = _unit_of(reader, quantity)
    values = _to_numbers(reader, table.drop(columns=reader.section.time_column))
    values.index, step = to_times(reader, table[reader.section.time_column])
    regular = _to_regular(reader, _without_repeats(reader, values), step)
    hours = step / pd.Timedelta(hours=1) if reader.section.unit in ENERGY_UNITS else 1.0
    sign = -1.0 if found == "power" and reader.section.sign == "generation" else 1.0
    scaled = regular * (sign * factor / hours)
    own = TimeAxis(regular.index[0], step, len(regular), axis.zone if axis else reader.section.zone)
    wanted = own if axis is None else axis
    _check_cover(reader, own, wanted)
    kept = _around(scaled, wanted, step, WEEK if found == "power" else LONGEST_GAP * step)
    filled, quality = _fill_gaps(reader, kept, wanted, step, found)
    on_axis = _on_axis(reader, filled, quality, wanted, step, hold=hold or found not in ("temperature", "weather"))
    return Series(*on_axis, wanted, tuple(reader.findings))


def _unit_of(reader: FileReader, quantity: Quantity | None) -> tuple[Quantity, float]:
    known = [unit for unit, (found, _) in UNITS.items() if quantity in (None, found)]
    unit = reader.section.unit
    if unit in known:
        return UNITS[unit]
    lower = {known_unit.lower(): known_unit for known_unit in known}
    near = [lower[match] for match in difflib.get_close_matches(unit.lower(), lower, n=1)]
    reader.fail(
        "the unit is unknown" if unit else "the unit is not declared",
        at="unit",
        expected=", ".join(known),
        got=unit,
        do=f"Did you mean {near[0]}?" if near else "",
        code="GT-D32",
    )


def _to_numbers(reader: FileReader, table: pd.DataFrame) -> pd.DataFrame:
    """All columns as floats; what is no number is named by row."""
    numbers = table.apply(pd.to_numeric, errors="coerce").astype(float)
    for column in numbers:
        wrong = np.flatnonzero(numbers[column].isna() & table[column].notna())
        if len(wrong):
            _fail_number(reader, str(column), int(wrong[0]), str(table[column].iloc[wrong[0]]))
    infinite = int(np.isinf(numbers.to_numpy()).sum())
    if infinite:
        reader.note(f"{infinite} infinite values are taken as missing", code="GT-D33")
    finite: pd.DataFrame = numbers.where(np.isfinite(numbers))
    return finite


def _fail_number(reader: FileReader, column: str, row: int, text: str) -> NoReturn:
    comma = bool(DECIMAL_COMMA.fullmatch(text))
    reader.fail(
        "a value is not a number",
        at=f"line {row + 2}, column {column}",
        expected="a number with a decimal point",
        got=repr(text),
        do="Write decimal points instead of commas." if comma else "Leave missing values empty.",
        code="GT-D33",
    )


def to_times(reader: FileReader, stamps: pd.Series) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """UTC interval starts in file order, and the step: the most frequent distance."""
    times = utc_stamps(reader, stamps)
    distances = pd.Series(np.diff(np.unique(times.to_numpy())))
    if distances.empty:
        reader.fail("the step is unknown", expected="at least two different stamps", got="one", code="GT-D01")
    step = pd.Timedelta(distances.mode().iloc[0])
    return (times - step if reader.section.label == "end" else times).rename("time"), step


def utc_stamps(reader: FileReader, stamps: pd.Series, column: str = "") -> pd.DatetimeIndex:
    """The stamps of a column in UTC, naive ones by the declared zone."""
    parsed = _parse_stamps(reader, stamps, column or reader.section.time_column)
    try:
        return to_utc(parsed, reader.section.zone, step=pd.Timedelta(0))
    except DataError as error:
        located = [
            Finding(each.what, str(reader.file), each.expected, each.got, each.do, "error", each.code)
            for each in error.findings
        ]
        raise DataError(located) from error


def _parse_stamps(reader: FileReader, stamps: pd.Series, column: str) -> pd.DatetimeIndex:
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(stamps.dtype):
        parsed = stamps
    else:
        texts = stamps.astype(str)
        aware = bool(OFFSET.search(texts.iloc[0][10:]))
        parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=aware)
    wrong = np.flatnonzero(parsed.isna())
    if len(wrong):
        reader.fail(
            "a stamp is not a date and time",
            at=f"line {int(wrong[0]) + 2}, column {column}",
            expected="ISO 8601 such as 2016-12-08 17:15:00",
            got=repr(str(stamps.iloc[wrong[0]])),
            code="GT-D02",
        )
    return pd.DatetimeIndex(parsed)


def _without_repeats(reader: FileReader, values: pd.DataFrame) -> pd.DataFrame:
    """Rows in order of time, equal repeats dropped; two values for one time are refused."""
    if not values.index.is_monotonic_increasing:
        reader.note("the rows were not in order of time and were sorted", code="GT-D04")
        values = values.sort_index(kind="stable")
    repeated = values.index.duplicated()
    if not repeated.any():
        return values
    unequal = values.groupby(level=0).nunique(dropna=False).gt(1).any(axis=1)
    if unequal.any():
        first = unequal.index[unequal][0]
        what = f"{int(unequal.sum())} times stand twice with different values"
        reader.fail(what, got=f"first {first} UTC", do="Delete the wrong rows.", code="GT-D03")
    reader.note(
        f"{int(repeated.sum())} repeated rows were dropped", got=f"first {values.index[repeated][0]} UTC", code="GT-D09"
    )
    return values[~repeated]


def _to_regular(reader: FileReader, values: pd.DataFrame, step: pd.Timedelta) -> pd.DataFrame:
    """Every step from first to last, missing ones empty; a stamp beside the grid is refused."""
    start = values.index[0]
    beside = np.flatnonzero((values.index - start) % step != pd.Timedelta(0))
    if len(beside):
        reader.fail(
            "a stamp lies beside the grid of the others",
            expected=f"steps of {_short(step)} from {start} UTC",
            got=f"{values.index[beside[0]]} UTC",
            code="GT-D01",
        )
    regular: pd.DataFrame = values.reindex(pd.date_range(start, values.index[-1], freq=step, name="time"))
    return regular


def _check_cover(reader: FileReader, own: TimeAxis, wanted: TimeAxis) -> None:
    if own.start <= wanted.start and wanted.end <= own.end:
        return
    missing = wanted.start if wanted.start < own.start or own.end < wanted.start else own.end
    reader.fail(
        f"the data do not cover the time asked for: {missing} UTC is missing",
        expected=f"{wanted.start} to {wanted.end} UTC",
        got=f"{own.start} to {own.end} UTC",
        code="GT-D05",
    )


def _around(values: pd.DataFrame, axis: TimeAxis, step: pd.Timedelta, margin: pd.Timedelta) -> pd.DataFrame:
    """The rows that bear on the axis, with a margin for filling gaps."""
    first, last = axis.start - margin - step, axis.end + margin + step
    return values.loc[first:last]


def _fill_gaps(
    reader: FileReader, values: pd.DataFrame, axis: TimeAxis, step: pd.Timedelta, quantity: Quantity
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Filled values and their quality codes; only gaps on the axis are told or refused."""
    quality = pd.DataFrame(np.int8(0), index=values.index, columns=values.columns)
    inside = (values.index > axis.start - step) & (values.index < axis.end)
    missing = values.isna()
    if not missing.loc[inside].to_numpy().any():
        return values, quality
    _check_share(reader, missing.loc[inside])
    short = missing & (_gap_lengths(missing) <= LONGEST_GAP)
    filled = values.where(~short, values.interpolate(method="index", limit_area="inside"))
    short &= filled.notna()
    quality = quality.mask(short, np.int8(SUBSTITUTED))
    if quantity == "power":
        before, after = (filled.shift(side * (WEEK // step)) for side in (1, -1))
        week = filled.isna() & (before.notna() | after.notna())
        filled = filled.fillna(before).fillna(after)
        quality = quality.mask(week, np.int8(ESTIMATED))
    _check_filled(reader, filled.loc[inside], step)
    _tell_filled(reader, quality.loc[inside])
    return filled, quality.astype(np.int8)


def _check_share(reader: FileReader, missing: pd.DataFrame) -> None:
    share = missing.mean()
    if share.max() > LARGEST_SHARE_MISSING:
        reader.fail(
            "too much is missing",
            at=f"column {share.idxmax()}",
            expected=f"at most {LARGEST_SHARE_MISSING:.0%}",
            got=f"{share.max():.0%}",
            code="GT-D06",
        )


def _gap_lengths(missing: pd.DataFrame) -> pd.DataFrame:
    """Length of the gap that each missing value belongs to. [steps]"""
    runs = (~missing).cumsum()
    lengths: pd.DataFrame = missing.apply(lambda column: column.groupby(runs[column.name]).transform("sum"))
    return lengths


def _check_filled(reader: FileReader, values: pd.DataFrame, step: pd.Timedelta) -> None:
    left = values.isna()
    if left.to_numpy().any():
        column = left.any().idxmax()
        reader.fail(
            f"{int(left[column].sum())} values are missing and cannot be filled",
            at=f"column {column}",
            expected=f"no gap of more than {LONGEST_GAP} steps of {_short(step)}",
            got=f"first missing at {left.index[left[column]][0]} UTC",
            code="GT-D06",
        )


def _tell_filled(reader: FileReader, quality: pd.DataFrame) -> None:
    for code, how in ((SUBSTITUTED, "interpolated"), (ESTIMATED, "taken from a week before or after")):
        count = int((quality == code).to_numpy().sum())
        if count:
            columns = [str(column) for column in quality if (quality[column] == code).any()]
            reader.note(f"{count} missing values are {how}", got=f"columns {shown(columns)}", code="GT-D07")


def _on_axis(
    reader: FileReader,
    values: pd.DataFrame,
    quality: pd.DataFrame,
    axis: TimeAxis,
    step: pd.Timedelta,
    *,
    hold: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values of the file's step at the axis' step, and the quality of what each came from."""
    if step == axis.step and axis.start in values.index:
        return values.loc[axis.times], quality.loc[axis.times]
    _check_grids(reader, values.index[0], axis, step)
    if step < axis.step:
        count = axis.step // step
        part = values.index.slice_indexer(axis.start, axis.end - step)
        return _mean_of(values.iloc[part], count, axis.times), _worst_of(quality.iloc[part], count, axis.times)
    source = values.index.get_indexer(axis.times, method="ffill")
    codes = quality.iloc[source].set_axis(axis.times)
    if hold:
        return values.iloc[source].set_axis(axis.times), codes
    return _between_centres(values, axis, step), codes


def _check_grids(reader: FileReader, start: pd.Timestamp, axis: TimeAxis, step: pd.Timedelta) -> None:
    """The one grid must subdivide the other, so that no interval is torn apart."""
    coarse, fine = max(step, axis.step), min(step, axis.step)
    if coarse % fine == pd.Timedelta(0) and (axis.start - start) % fine == pd.Timedelta(0):
        return
    reader.fail(
        "the steps of the file do not fit the time axis",
        expected=f"steps that divide or are divided by {_short(axis.step)}, on {axis.start} UTC",
        got=f"steps of {_short(step)} from {start} UTC",
        code="GT-D08",
    )


def _mean_of(values: pd.DataFrame, count: int, times: pd.DatetimeIndex) -> pd.DataFrame:
    blocks = values.to_numpy().reshape(len(times), count, -1).mean(axis=1)
    return pd.DataFrame(blocks, index=times, columns=values.columns)


def _worst_of(quality: pd.DataFrame, count: int, times: pd.DatetimeIndex) -> pd.DataFrame:
    blocks = quality.to_numpy().reshape(len(times), count, -1).max(axis=1)
    return pd.DataFrame(blocks, index=times, columns=quality.columns)


def _between_centres(values: pd.DataFrame, axis: TimeAxis, step: pd.Timedelta) -> pd.DataFrame:
    """Straight lines between the centres of the file's intervals; held beyond the first and last centre."""
    known = (values.index + step / 2).to_numpy().astype("datetime64[ns]").astype(np.int64)
    wanted = (axis.times + axis.step / 2).to_numpy().astype("datetime64[ns]").astype(np.int64)
    lines = {column: np.interp(wanted, known, values[column].to_numpy()) for column in values}
    return pd.DataFrame(lines, index=axis.times)


def _short(step: pd.Timedelta) -> str:
    minutes = step / pd.Timedelta(minutes=1)
    return f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"


