"""The user's own files of asset power, in place of the network's series."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gridtwin.data.series_file import QUALITY_OF_KIND, SUBSTITUTED, to_series
from gridtwin.data.series_table import FileReader, path_of, read_table, shown
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.scenario import ProfileFile
from gridtwin.time_axis import TimeAxis

REACTIVE = " q"
"""A column named like an asset with this behind it holds its reactive power."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """Power of the assets that the user's own files replace.

    Parameters
    ----------
    p_mw, q_mvar : DataFrame, (time, asset)
        Consumption positive. [MW], [Mvar]
    quality : DataFrame, (time, asset)
        int8 quality codes.
    findings : tuple of Finding
        What was sorted, dropped or filled.
    """

    p_mw: pd.DataFrame
    q_mvar: pd.DataFrame
    quality: pd.DataFrame
    findings: tuple[Finding, ...]


def read_profile_files(
    sections: Sequence[ProfileFile], axis: TimeAxis, base: Path = Path(), *, assets: Iterable[str]
) -> Replacement:
    """Power of named assets from the user's own files.

    Parameters
    ----------
    sections : sequence of ProfileFile
        One per file. A column is named like an asset; the column `<asset> q` beside it holds
        its reactive power, else the declared power factor gives it, inductive.
    axis : TimeAxis
        Every interval must lie within the data.
    base : path
        Folder of relative paths.
    assets : iterable of str
        Names of the network's assets.

    Returns
    -------
    Replacement
        Only the named assets.

    Raises
    ------
    DataError
        If a column names no asset, or two files name the same.
    """
    known = list(assets)
    parts: list[Replacement] = []
    faults: list[Finding] = []
    for number, section in enumerate(sections):
        try:
            with naming_file(number):
                parts.append(_read_profile_file(section, axis, base, known))
        except DataError as error:
            faults += error.findings
    raise_errors(faults, DataError)
    if not parts:
        empty = pd.DataFrame(index=axis.times)
        return Replacement(empty, empty.copy(), empty.astype(np.int8), ())
    _check_claimed_once([(str(path_of(section, base)), part) for section, part in zip(sections, parts, strict=True)])
    p_mw, q_mvar, quality = (
        pd.concat([getattr(part, name) for part in parts], axis=1) for name in ("p_mw", "q_mvar", "quality")
    )
    return Replacement(p_mw, q_mvar, quality, tuple(finding for part in parts for finding in part.findings))


@contextmanager
def naming_file(number: int) -> Iterator[None]:
    """Put the scenario key of a file of `[[profiles.file]]` in front of the place of every fault."""
    try:
        yield
    except DataError as error:
        named = [replace(fault, where=f"profiles.file.{number}.file: {fault.where}") for fault in error.findings]
        raise DataError(named) from error


def _read_profile_file(section: ProfileFile, axis: TimeAxis, base: Path, known: list[str]) -> Replacement:
    reader = FileReader(section, path_of(section, base))
    series = to_series(reader, read_table(reader), axis, "power")
    columns = [str(column) for column in series.values]
    reactive = {name + REACTIVE: name for name in known if name + REACTIVE not in known}
    active = [column for column in columns if column not in reactive]
    _check_known(reader, active, known)
    _check_has_active(reader, [reactive[column] for column in columns if column in reactive], active)
    p_mw = series.values[active]
    tangent = np.sqrt(1 - section.cos_phi**2) / section.cos_phi
    q_mvar = pd.DataFrame(
        {
            name: series.values[name + REACTIVE] if name + REACTIVE in columns else p_mw[name].abs() * tangent
            for name in active
        }
    )
    own = QUALITY_OF_KIND[section.kind]
    quality = series.quality[active].mask(series.quality[active] == own, SUBSTITUTED)  # filled in a file of estimates
    quality = quality.mask(series.quality[active] == 0, own)
    return Replacement(p_mw, q_mvar, quality.astype(np.int8), series.findings)


def _check_known(reader: FileReader, columns: list[str], known: list[str]) -> None:
    any_asset = f"the name of an asset: {shown(known, 5)}"
    findings = [
        Finding(
            "the column names no asset of the network",
            where=f"{reader.file}: column {column}",
            expected=" or ".join(difflib.get_close_matches(column, known, n=3)) or any_asset,
            severity="error",
            code="GT-D34",
        )
        for column in columns
        if column not in known
    ]
    if findings:
        raise DataError(findings)


def _check_has_active(reader: FileReader, reactive: list[str], active: list[str]) -> None:
    alone = [name for name in reactive if name not in active]
    if alone:
        reader.fail("reactive power stands without active power", expected=shown(alone), code="GT-D35")


def _check_claimed_once(parts: list[tuple[str, Replacement]]) -> None:
    owner: dict[str, str] = {}
    for number, (file, part) in enumerate(parts):
        for name in map(str, part.p_mw):
            if name in owner:
                what, got = f"two files give the power of {name}", f"also {owner[name]}"
                with naming_file(number):
                    raise DataError([Finding(what, file, got=got, severity="error", code="GT-D36")])
            owner[name] = file
