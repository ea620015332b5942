"""Two runs side by side: what was asked differently, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from gridtwin.report.results import CASES

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

COLUMNS = ["what", "case", "first", "second", "difference", "unit"]


def compare_runs(first: RunFolder, second: RunFolder) -> pd.DataFrame:
    """Inputs that differ, then every key figure of both runs.

    Returns
    -------
    DataFrame
        `what`, `case`, `first`, `second`, `difference` (second - first, of
        numbers), `unit`. Inputs are `scenario.<key>` or `input file <name>`;
        the energy of the computing is among the figures, as it is measured anew.
    """
    rows = [*_input_rows(first.about, second.about), *_figure_rows(first, second)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _input_rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Scenario keys, input files and the library version that differ."""
    for part, name in (("scenario", "scenario."), ("inputs_sha256", "input file "), ("versions", "version of ")):
        one, other = dict(_leaves(first[part])), dict(_leaves(second[part]))
        for key in dict.fromkeys([*one, *other]):
            if one.get(key) != other.get(key):
                yield (f"{name}{key}", "", _shown(one.get(key)), _shown(other.get(key)), None, "")


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf."""
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in pairs:
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) or (isinstance(value, list) and value):
            yield from _leaves(value, inner)
        else:
            yield inner, value


def _shown(value: Any) -> Any:
    """Hashes are cut to what tells them apart; a key that is not there is said to be so."""
    if value is None or value == "":
        return "not given"
    return value[:12] if isinstance(value, str) and len(value) == 64 else value


def _figure_rows(first: RunFolder, second: RunFolder) -> Iterator[tuple[Any, ...]]:
    one, other = _figures(first), _figures(second)
    for name, case, unit in dict.fromkeys([*one, *other]):
        values = [figures.get((name, case, unit)) for figures in (one, other)]
        difference = values[1] - values[0] if values[0] is not None and values[1] is not None else None
        yield (name, CASES.get(case, case), *values, difference, unit)


def _figures(run: RunFolder) -> dict[tuple[str, str, str], float]:
    """Value of every key figure; some share their name and differ in unit."""
    summary = run.table("summary")
    return {
        (str(name), str(case), str(unit)): float(value)
        for name, case, unit, value in summary[["name", "case", "unit", "value"]].itertuples(index=False)
    }


def comparison_text(table: pd.DataFrame) -> str:
    """The comparison for a terminal: what was asked differently, then the figures, case by case."""
    inputs = table["difference"].isna() & ~table["unit"].astype(bool)
    asked, figures = table[inputs], table[~inputs]
    lines = ["Asked differently:" if len(asked) else "Both runs asked the same, of the same files."]
    lines += [f"  {row.what}: {row.first}  ->  {row.second}" for row in asked.itertuples()]
    width = int(figures["what"].str.len().max())
    lines += ["", f"  {'':<{width}}  {'first':>12}  {'second':>12}  {'difference':>12}"]
    for case, rows in figures.groupby("case", sort=False):
        lines += ["", f"{str(case) or 'Whole study'}:"]
        lines += [_figure_line(row, width) for row in rows.itertuples()]
    return "\n".join(lines)


def _figure_line(row: Any, width: int) -> str:
    first, second = _number(row.first), _number(row.second)
    changed = _number(row.difference, sign="+") if row.difference else "same"
    return f"  {row.what:<{width}}  {first:>12}  {second:>12}  {changed:>12}  {row.unit}"


def _number(value: Any, *, sign: str = "") -> str:
    return "-" if value is None or pd.isna(value) else f"{float(value):{sign},.5g}"
