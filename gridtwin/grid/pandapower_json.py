"""A reader of pandapower JSON files for files that are not ours.

pandapower's own reader builds what a file names: modules and classes. This one
builds nothing but tables of numbers, texts and truth values: the pairs of module
and class that a file may name are a closed set, nothing is imported, tables and
columns are those of pandapower's empty network, and so are the types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandapower
import pandas as pd
from pandapower.auxiliary import pandapowerNet

from gridtwin.errors import Finding, NetworkError, UnsafeFileError

LARGEST_FILE_MB = 64
DEEPEST = 12
"""Largest nesting of the document; pandapower writes about 6."""
MOST_NODES = 5_000_000
OLDEST_FORMAT = 3
"""Major version of pandapower's file format; before it columns had other names."""
LARGEST_INDEX = 2**32 - 1
"""pandapower keeps bus numbers as unsigned 32-bit integers."""
LARGEST_WHOLE = 2**63
FRAME = ("pandas.core.frame", "DataFrame")
NET = ("pandapower.auxiliary", "pandapowerNet")
PAIRS = frozenset(
    [
        FRAME,
        NET,
        ("pandas.core.series", "Series"),
        ("numpy", "array"),
        ("numpy", "bool_"),
        ("numpy", "bool"),
        ("numpy", "float64"),
        ("numpy", "int64"),
        ("networkx", "MultiGraph"),
        ("builtins", "tuple"),
        ("builtins", "set"),
    ]
)
"""Pairs of `_module` and `_class` a file may name. Only `FRAME`, `NET` and numbers are read, the others dropped."""
DROPPED_TABLES = frozenset(["controller", "group", "pwl_cost"])
"""Tables of pandapower whose cells hold objects or lists."""
REQUIRED = {
    "bus": ("vn_kv", "in_service"),
    "dcline": ("from_bus", "to_bus", "p_mw", "loss_percent", "loss_mw", "vm_from_pu", "vm_to_pu", "in_service"),
    "ext_grid": ("bus", "vm_pu", "in_service"),
    "gen": ("bus", "p_mw", "vm_pu", "scaling", "slack", "in_service"),
    "impedance": ("from_bus", "to_bus", "rft_pu", "xft_pu", "rtf_pu", "xtf_pu", "sn_mva", "in_service"),
    "line": (
        *("from_bus", "to_bus", "length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "g_us_per_km"),
        *("max_i_ka", "df", "parallel", "in_service"),
    ),
    "load": ("bus", "p_mw", "q_mvar", "scaling", "in_service"),
    "sgen": ("bus", "p_mw", "q_mvar", "scaling", "in_service"),
    "shunt": ("bus", "p_mw", "q_mvar", "vn_kv", "step", "in_service"),
    "storage": ("bus", "p_mw", "q_mvar", "scaling", "in_service"),
    "switch": ("bus", "element", "et", "closed"),
    "trafo": (
        *("hv_bus", "lv_bus", "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw"),
        *("i0_percent", "shift_degree", "parallel", "df", "in_service"),
    ),
    "trafo3w": ("hv_bus", "mv_bus", "lv_bus", "sn_hv_mva", "sn_mv_mva", "sn_lv_mva", "in_service"),
    "ward": ("bus", "ps_mw", "qs_mvar", "pz_mw", "qz_mvar", "in_service"),
    "xward": ("bus", "ps_mw", "qs_mvar", "pz_mw", "qz_mvar", "r_ohm", "x_ohm", "vm_pu", "in_service"),
}
"""Columns without which a table means nothing; they may not be empty where they are whole numbers or truth values."""
EXTRA_COLUMNS = frozenset(
    [
        # gridtwin
        *("kind", "origin", "flexible", "metered", "p_rated_mw", "e_rated_mwh", "ua_mw_per_k", "c_mwh_per_k"),
        "cop",
        # pandapower, optional
        *("min_vm_pu", "max_vm_pu", "min_p_mw", "max_p_mw", "min_q_mvar", "max_q_mvar", "controllable", "zone"),
        *("max_loading_percent", "alpha", "temperature_degree_celsius", "endtemp_degree", "vector_group", "oltc"),
        *("vk0_hv_percent", "vk0_mv_percent", "vk0_lv_percent", "vkr0_hv_percent", "vkr0_mv_percent"),
        *("vkr0_lv_percent", "type", "sn_mva", "cos_phi", "slack_weight", "s_sc_max_mva", "s_sc_min_mva"),
        *("rx_min", "rx_max", "r0x0_max", "x0x_max", "r0x0_min", "x0x_min", "r0_ohm_per_km", "x0_ohm_per_km"),
        *("c0_nf_per_km", "g0_us_per_km", "vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx"),
        *("si0_hv_partial", "xn_ohm", "pt_percent", "power_station_unit", "generator_type", "k", "rx", "vn_kv"),
        *("xdss_pu", "rdss_ohm", "description", "leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"),
        *("tap2_side", "tap2_neutral", "tap2_min", "tap2_max", "tap2_step_percent", "tap2_step_degree"),
        *("tap2_pos", "tap2_changer_type"),
        # SimBench
        *("subnet", "voltLvl", "substation", "profile", "phys_type", "efficiency_percent", "p_disp_mw", "dspf"),
        *("self-discharge_percent_per_day", "autoTap", "autoTapSide", "autoTapSetp", "calc_type"),
    ]
)
"""Columns beyond pandapower's empty network that are kept, as plain numbers or texts."""
Cell = str | int | float | bool | None


@dataclass(frozen=True)
class _Place:
    """Where in the document we are, for messages: file and JSON pointer."""

    file: Path
    pointer: str = ""

    def __truediv__(self, key: object) -> _Place:
        return _Place(self.file, f"{self.pointer}/{key}")

    def __str__(self) -> str:
        return f"{self.file}: {self.pointer or '/'}"


def read_pandapower_json(path: Path | str) -> tuple[pandapowerNet, list[Finding]]:
    """Read a network that `pandapower.to_json` wrote (pandapower 3 or later).

    Parameters
    ----------
    path : path
        The file, at most 64 MB.

    Returns
    -------
    net : pandapowerNet
        A new network with the tables of the file; results, controllers and whatever
        else pandapower keeps beside its tables are left out.
    findings : list of Finding
        What was left out.

    Raises
    ------
    UnsafeFileError
        If the file names a class that is not in the closed set, is too large, too
        deep, or not the JSON it claims to be.
    NetworkError
        If a table lacks a column or holds a value of another type.
    """
    place = _Place(Path(path))
    document = _parse(_read_text(place.file), place, nan=True)
    _check_tree(document, place)
    body = _body_of(document, place)
    _check_format(body, place)
    return _build_net(body, place / "_object")


def _refuse(what: str, place: object, *, expected: str = "", got: str = "", do: str = "") -> NoReturn:
    raise UnsafeFileError(
        [Finding(what, str(place), expected, _shorten(got), do or "The file was not read.", "error", "GT-N21")]
    )


def _reject(what: str, place: object, *, expected: str = "", got: str = "", do: str = "") -> NoReturn:
    raise NetworkError([Finding(what, str(place), expected, _shorten(got), do, "error", "GT-N22")])


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _read_text(file: Path) -> str:
    if not file.is_file():
        raise NetworkError([Finding("no such file", where=str(file), severity="error", code="GT-N23")])
    megabytes = file.stat().st_size / 1e6
    if megabytes > LARGEST_FILE_MB:
        _refuse("the file is too large", file, expected=f"at most {LARGEST_FILE_MB} MB", got=f"{megabytes:.0f} MB")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        _refuse("the file is not UTF-8 text", file, got=str(error))


def _parse(text: str, place: _Place, *, nan: bool) -> Any:
    """JSON with the standard decoder; pandapower writes NaN outside tables, and null inside."""

    def constant(literal: str) -> float:
        if nan and literal == "NaN":
            return float("nan")
        _refuse("the file holds a number that JSON does not know", place, got=literal)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            keys = [key for key, _ in items]
            _refuse("a key stands twice", place, got=next(key for key in keys if keys.count(key) > 1))
        return found

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        _refuse("the file is not well-formed JSON", place, got=str(error))


def _check_tree(document: Any, place: _Place) -> None:
    """Refuse every class outside the closed set, anywhere in the document; no recursion."""
    waiting = [(document, place, 0)]
    count = 0
    while waiting:
        node, where, depth = waiting.pop()
        children: Iterable[tuple[object, Any]] = ()
        if isinstance(node, dict):
            _check_pair(node, where)
            children = node.items()
        elif isinstance(node, list):
            children = enumerate(node)
        inner = [(child, where / key, depth + 1) for key, child in children if isinstance(child, dict | list)]
        count += len(node)
        if depth > DEEPEST or count > MOST_NODES:
            _refuse("the document is too deep or too large", where, expected=f"at most {DEEPEST} levels")
        waiting.extend(inner)


def _check_pair(node: dict[str, Any], where: _Place) -> None:
    if not node.keys() & {"_module", "_class"}:
        return
    pair = (node.get("_module"), node.get("_class"))
    if pair not in PAIRS:
        _refuse(
            "the file names a class that gridtwin does not build",
            where,
            expected="tables and plain values only",
            got=f"{pair[0]}.{pair[1]}",
            do="Nothing was imported. Delete the entry, or save the network without it.",
        )


def _pair_of(node: Any) -> tuple[Any, Any] | None:
    return (node.get("_module"), node.get("_class")) if isinstance(node, dict) else None


def _body_of(document: Any, place: _Place) -> dict[str, Any]:
    if _pair_of(document) != NET or not isinstance(document.get("_object"), dict):
        _refuse("the file is no pandapower network", place, expected="what pandapower.to_json writes")
    body: dict[str, Any] = document["_object"]
    return body


def _check_format(body: dict[str, Any], place: _Place) -> None:
    version = str(body.get("format_version", body.get("version", "")))
    major = version.split(".")[0]
    if not major.isdecimal() or int(major[:4]) < OLDEST_FORMAT:
        _reject(
            "the file has an old format",
            place / "_object" / "format_version",
            expected=f"{OLDEST_FORMAT} or later",
            got=version or "none",
            do="Open it with pandapower 3 and save it again with pandapower.to_json.",
        )


def _build_net(body: dict[str, Any], place: _Place) -> tuple[pandapowerNet, list[Finding]]:
    """A new net with the tables of the file, in pandapower's own types."""
    net = pandapower.create_empty_network(
        name=_text(body.get("name"), place / "name"),
        f_hz=_number(body.get("f_hz", 50.0), place / "f_hz"),
        sn_mva=_number(body.get("sn_mva", 1.0), place / "sn_mva"),
    )
    schema = {name: net[name] for name in net if isinstance(net[name], pd.DataFrame) and not name.startswith("_")}
    wanted = {name for name in schema if not name.startswith("res_")} - DROPPED_TABLES
    columns_dropped: list[str] = []
    for name in sorted(wanted & body.keys()):
        net[name] = _read_table(body[name], name, schema[name], place=place / name, dropped=columns_dropped)
    if "std_types" in body:
        net["std_types"] = _read_std_types(body["std_types"], place / "std_types")
    known = wanted | {"name", "f_hz", "sn_mva", "std_types", "version", "format_version", "converged", "OPF_converged"}
    tables_dropped = sorted(name for name in body.keys() - known if not name.startswith(("res_", "_")))
    return net, _left_out([name for name in tables_dropped if _holds_something(body[name])], columns_dropped, place)


def _left_out(tables: list[str], columns: list[str], place: _Place) -> list[Finding]:
    findings = []
    for what, names in (("tables or settings", tables), ("columns", columns)):
        if names:
            shown = ", ".join(_shorten(name, 40) for name in names[:8]) + (" …" if len(names) > 8 else "")
            findings.append(
                Finding(f"{len(names)} {what} of the file are left out", str(place.file), got=shown, code="GT-N24")
            )
    return findings


def _holds_something(node: Any) -> bool:
    """Whether a part of the document that is not read holds rows or entries; its text is not parsed."""
    if _pair_of(node) == FRAME:
        text = node.get("_object")
        return not (isinstance(text, str) and text.rstrip().endswith('"data":[]}'))
    if isinstance(node, dict):
        return any(_holds_something(child) for child in node.values())
    return bool(node)


def _text(value: Any, place: _Place) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    _reject("a text is expected", place, got=repr(value))


def _number(value: Any, place: _Place) -> float:
    value = value.get("_object") if isinstance(value, dict) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        _reject("a number is expected", place, got=repr(value))
    return float(value)


def _read_table(node: Any, name: str, schema: pd.DataFrame, *, place: _Place, dropped: list[str]) -> pd.DataFrame:
    """One table with the columns and types of the empty network, and the extra columns we know."""
    columns, index, rows = _read_split(node, place)
    cells = pd.DataFrame(rows, index=pd.Index(index, dtype="int64"), columns=columns, dtype=object)
    missing = [column for column in REQUIRED.get(name, ()) if column not in columns]
    if missing:
        _reject("the table lacks columns", place, expected=", ".join(missing), got=", ".join(columns))
    kept = [column for column in columns if column in schema or column in EXTRA_COLUMNS]
    dropped.extend(f"{name}.{column}" for column in columns if column not in kept and rows)
    needed = set(REQUIRED.get(name, ()))
    converted = {
        column: _to_dtype(cells[column], schema[column].dtype, place / column, needed=column in needed)
        if column in schema
        else _to_plain(cells[column])
        for column in kept
    }
    return pd.DataFrame(converted, index=cells.index, columns=pd.Index(kept, dtype=object))


def _read_split(node: Any, place: _Place) -> tuple[list[str], list[int], list[list[Cell]]]:
    """Columns, index and rows of a table; pandapower writes a table as text inside the text."""
    text = node.get("_object") if _pair_of(node) == FRAME else None
    if not isinstance(text, str) or not text.startswith("{"):
        _refuse("a table is expected", place, expected="a DataFrame with orient split")
    table = _parse(text, place, nan=False)
    if not isinstance(table, dict) or table.keys() != {"columns", "index", "data"}:
        _refuse("the table has another layout", place, expected="columns, index and data")
    columns, index, rows = table["columns"], table["index"], table["data"]
    if not all(isinstance(part, list) for part in (columns, index, rows)):
        _refuse("the table has another layout", place, expected="three lists")
    _check_columns(columns, place / "columns")
    _check_index(index, place / "index")
    _check_rows(rows, len(index), len(columns), place / "data")
    return columns, index, rows


def _check_columns(columns: list[Any], place: _Place) -> None:
    if not all(isinstance(column, str) for column in columns) or len(set(columns)) != len(columns):
        _refuse("column names must be different texts", place)


def _check_index(index: list[Any], place: _Place) -> None:
    for row, number in enumerate(index):
        if type(number) is not int or not 0 <= number <= LARGEST_INDEX:
            _reject("the row numbers must be whole numbers", place / row, expected="0 or above", got=repr(number))
    if len(set(index)) != len(index):
        _reject("a row number stands twice", place, got=str(next(i for i in index if index.count(i) > 1)))


def _check_rows(rows: list[Any], height: int, width: int, place: _Place) -> None:
    if len(rows) != height:
        _refuse("the table has another number of rows than its index", place, expected=str(height), got=str(len(rows)))
    plain = {str, int, float, bool, type(None)}
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            _refuse("a row has another number of cells than there are columns", place / number, expected=str(width))
        if not set(map(type, row)) <= plain:
            _refuse("a cell is neither number, text nor truth value", place / number, do="Delete what is nested there.")


def _to_dtype(cells: pd.Series, dtype: Any, place: _Place, *, needed: bool) -> pd.Series:
    """Cells in the type of our schema, whatever type the file declares."""
    kind = str(dtype)
    if kind == "object":
        return cells
    if kind == "bool":
        return _to_bool(cells, place, needed=needed)
    if kind == "float64":
        _check_cells(cells, _is_number, place, "a number")
        return cells.astype("float64")
    _check_cells(cells, _is_whole, place, "a whole number of 0 or above", empty=kind == "Int64")
    whole: pd.Series = cells.astype(dtype)
    return whole


def _is_number(cell: Cell) -> bool:
    """JSON knows whole numbers of any length; those beyond a float are no quantities."""
    return isinstance(cell, float) or (type(cell) is int and abs(cell) < LARGEST_WHOLE)


def _is_whole(cell: Cell) -> bool:
    return isinstance(cell, int | float) and _is_number(cell) and 0 <= cell <= LARGEST_INDEX and cell == int(cell)


def _to_bool(cells: pd.Series, place: _Place, *, needed: bool) -> pd.Series:
    """Truth values; an optional column with gaps stays as it is, as pandapower has it."""
    _check_cells(cells, lambda cell: cell in (True, False), place, "true or false", empty=not needed)
    return cells if cells.isna().any() else cells.astype(bool)


def _check_cells(
    cells: pd.Series, fits: Callable[[Cell], bool], place: _Place, expected: str, *, empty: bool = True
) -> None:
    for number, cell in cells.items():
        if not (empty if cell is None else fits(cell)):
            _reject(f"row {number} holds another type", place, expected=expected, got=repr(cell))


def _to_plain(cells: pd.Series) -> pd.Series:
    """An extra column: numbers if all of it are numbers, truth values if all of it are, else as it stands."""
    types = {type(cell) for cell in cells if cell is not None}
    if types == {bool} and not cells.isna().any():
        return cells.astype(bool)
    if types == {int} and all(_is_number(cell) for cell in cells):
        return cells.astype("int64")
    return cells.astype("float64") if types and all(cell is None or _is_number(cell) for cell in cells) else cells


def _read_std_types(node: Any, place: _Place) -> dict[str, dict[str, dict[str, Any]]]:
    """Standard types: element, name of the type, parameter -> plain value or list of them."""
    for element, types in _items(node, place):
        for name, parameters in _items(types, place / element):
            for parameter, value in _items(parameters, place / element / name):
                if not all(isinstance(part, Cell) for part in (value if isinstance(value, list) else [value])):
                    _refuse("a standard type holds more than plain values", place / element / name / parameter)
    found: dict[str, dict[str, dict[str, Any]]] = node
    return found


def _items(node: Any, place: _Place) -> Iterable[tuple[str, Any]]:
    if not isinstance(node, dict):
        _refuse("another layout is expected", place, expected="names with values")
    return node.items()
