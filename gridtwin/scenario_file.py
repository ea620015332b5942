"""Reading `scenario.toml`: merge, locate, check, and say every error at once."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gridtwin.errors import Finding, ScenarioError
from gridtwin.scenario import Scenario

KeyPath = tuple[str | int, ...]
FILE_NAME = "scenario.toml"
_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*([A-Za-z0-9_.\-]+|"[^"]+"|'[^']+')\s*=""")


@dataclass(frozen=True)
class ScenarioFile:
    """A checked scenario with the place of every key and the hash of every file it names."""

    scenario: Scenario
    folder: Path
    values: Mapping[str, Any]
    places: Mapping[KeyPath, str] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the scenario folder."""
        return self.folder.resolve().name

    def place(self, *path: str | int) -> str:
        """`file:line: key` of a key, or of the nearest table around it."""
        return _place(self.places, path)

    def input_hashes(self) -> dict[str, str]:
        """SHA-256 of the scenario file and of every file it names, by the path as written."""
        names = [FILE_NAME, *(table[key] for table, key in (*_named_files(self.values), *_network_files(self.values)))]
        paths = {name: self.folder / name for name in names}
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items() if path.is_file()}


def read_scenario(path: str | Path) -> ScenarioFile:
    """Read, merge and check a scenario.

    Parameters
    ----------
    path : str or Path
        A scenario folder or its `scenario.toml`.

    Raises
    ------
    ScenarioError
        With one finding for every fault: place, expected, got, nearest spelling.
    """
    file = _scenario_path(Path(path))
    values, places = _read_merged(file, seen=())
    findings = _missing_files(values, places, file.parent)
    try:
        scenario = Scenario.model_validate(values)
    except ValidationError as error:
        raise ScenarioError([*map(lambda fault: _finding(fault, values, places), error.errors()), *findings]) from None
    if findings:
        raise ScenarioError(findings)
    return ScenarioFile(scenario, file.parent, values, places)


def _scenario_path(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if file.is_file():
        return file
    nearby = sorted(
        str(found.parent) for root in {path.parent, Path("scenarios")} for found in root.glob(f"*/{FILE_NAME}")
    )
    close = difflib.get_close_matches(str(path), nearby, n=3, cutoff=0.4) or nearby[:5]
    hint = f"Did you mean {' or '.join(close)}?" if close else "`gridtwin new <name>` makes a scenario to start from."
    raise ScenarioError(
        [
            Finding(
                "there is no such scenario",
                where=str(path),
                expected=f"a folder with {FILE_NAME}",
                do=hint,
                severity="error",
                code="GT-C01",
            )
        ]
    )


def _read_merged(file: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Values and places of a file laid over the file that it extends."""
    values, places = _read_toml(file)
    parent = values.pop("extends", None)
    if parent is None:
        return values, places
    base_file = (file.parent / str(parent)).resolve()
    base_file = base_file / FILE_NAME if base_file.is_dir() else base_file
    where = places.get(("extends",), str(file))
    if base_file in (*seen, file.resolve()):
        raise ScenarioError(
            [Finding("`extends` goes round in a circle", where=where, got=str(parent), severity="error")]
        )
    if not base_file.is_file():
        raise ScenarioError(
            [Finding("the scenario to extend does not exist", where=where, got=str(parent), severity="error")]
        )
    base_values, base_places = _read_merged(base_file, (*seen, file.resolve()))
    _rebase_files(base_values, base_file.parent, file.parent)
    merged = _merge(base_values, values)
    return merged, {**base_places, **places}


def _rebase_files(values: dict[str, Any], base: Path, folder: Path) -> None:
    """Make the base scenario's relative file names relative to the folder that extends it."""
    for table, key in (*_named_files(values), *_network_files(values)):
        table[key] = Path(os.path.relpath(base / table[key], folder)).as_posix()


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both_tables else value
    return merged


def _read_toml(file: Path) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    text = file.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text), {path: f"{file}:{line}" for path, line in _locate(text)}
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{file}:{line.group(1)}" if line else str(file)
        raise ScenarioError(
            [Finding(f"not valid TOML: {error}", where=where, severity="error", code="GT-C02")]
        ) from None


def _locate(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Every table and key of a TOML text with its line; keys inside multi-line strings are skipped."""
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        quotes = line.count('"""') + line.count("'''")
        if inside:
            inside = quotes % 2 == 0
            continue
        if header := _TABLE.match(line):
            table = _table_path(header, counts)
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_parts(key.group(1))), number
        inside = quotes % 2 == 1


def _table_path(header: re.Match[str], counts: dict[KeyPath, int]) -> KeyPath:
    """Path of `[a.b]` or `[[a.b]]`, with the number of the latest entry behind each repeated table."""
    path: KeyPath = ()
    parts = _parts(header.group(2))
    for depth, part in enumerate(parts, 1):
        path = (*path, part)
        if depth == len(parts) and header.group(1) == "[[":
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _place(places: Mapping[KeyPath, str], path: KeyPath) -> str:
    key = ".".join(map(str, path))
    for length in range(len(path), 0, -1):
        # a list of tables has no line of its own, but its first entry has one
        line = places.get(path[:length]) or places.get((*path[:length], 0))
        if line:
            return f"{line}: {key}"
    file = next(iter(places.values()), FILE_NAME).rsplit(":", 1)[0]
    return f"{file}: {key}"


def _network_files(values: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The tables `network` and `balancing` with each of their keys that is the path of a file and no name."""
    network = values.get("network")
    if isinstance(network, dict):
        source = network.get("source")
        if isinstance(source, str) and ":" not in source:
            yield network, "source"
    for table, key in (("network", "rules"), ("balancing", "area"), ("balancing", "market")):
        rules = values.get(table)
        if isinstance(rules, dict) and str(rules.get(key, "")).endswith(".toml"):
            yield rules, key


def _named_files(values: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every table with a `file` key, and that key."""
    if isinstance(values, dict):
        if isinstance(values.get("file"), str):
            yield values, "file"
        for value in values.values():
            yield from _named_files(value)
    elif isinstance(values, list):
        for value in values:
            yield from _named_files(value)


def _missing_files(values: Mapping[str, Any], places: Mapping[KeyPath, str], folder: Path) -> list[Finding]:
    paths = {id(table): path for path, table in _tables(values, ())}
    named = [(table, table[key]) for table, key in _named_files(dict(values))]
    missing = [(table, name) for table, name in named if not (folder / name).is_file()]
    findings = [
        Finding(
            "the file does not exist",
            where=_place(places, (*paths.get(id(table), ()), "file")),
            got=name,
            do=_nearest_file(name, folder),
            severity="error",
            code="GT-C03",
        )
        for table, name in missing
    ]
    source = values.get("network", {}).get("source") if isinstance(values.get("network"), dict) else None
    if isinstance(source, str) and ":" not in source and not (folder / source).is_file():
        findings.append(
            Finding(
                "the network file does not exist",
                where=_place(places, ("network", "source")),
                expected="simbench:<code>, pandapower:<function> or a .json file",
                got=source,
                do=_nearest_file(source, folder),
                severity="error",
                code="GT-C03",
            )
        )
    return findings


def _tables(values: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    if isinstance(values, dict):
        yield path, values
        for key, value in values.items():
            yield from _tables(value, (*path, key))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _tables(value, (*path, number))


def _nearest_file(name: str, folder: Path) -> str:
    there = sorted(path.name for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    close = difflib.get_close_matches(Path(name).name, there, n=1)
    return f"Did you mean {close[0]}?" if close else f"The folder holds {', '.join(there) or 'no files'}."


def _finding(fault: Mapping[str, Any], values: Mapping[str, Any], places: Mapping[KeyPath, str]) -> Finding:
    """One pydantic fault in our words."""
    path: KeyPath = tuple(fault["loc"])
    where = _place(places, path) if path else _place(places, ())
    if fault["type"] == "extra_forbidden":
        return Finding("unknown key", where=where, do=_nearest_key(path), severity="error", code="GT-C04")
    if fault["type"] == "missing":
        return Finding("the key is missing", where=where, expected=_described(path), severity="error", code="GT-C05")
    if fault["type"] == "value_error":
        return Finding(
            str(fault["msg"]).removeprefix("Value error, "),
            where=where.removesuffix(": "),
            severity="error",
            code="GT-C06",
        )
    got = repr(fault["input"]) if not isinstance(fault["input"], (dict, list)) else f"a {_toml_word(fault['input'])}"
    expected = str(fault["msg"]).removeprefix("Input should be ")
    return Finding(
        "the value does not fit",
        where=where,
        expected=f"{expected}{_unit_of(path)}",
        got=got,
        do=_nearest_choice(fault),
        severity="error",
        code="GT-C07",
    )


def _toml_word(value: Any) -> str:
    return "table" if isinstance(value, dict) else "list"


def _nearest_key(path: KeyPath) -> str:
    section = _section(path[:-1])
    known = sorted(section.model_fields) if section else []
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."


def _nearest_choice(fault: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']+)'", str(fault.get("ctx", {}).get("expected", "")))
    close = difflib.get_close_matches(str(fault["input"]), choices, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else ""


def _section(path: KeyPath) -> type[BaseModel] | None:
    """The pydantic class behind a table path."""
    section: type[BaseModel] = Scenario
    for part in path:
        if isinstance(part, int):
            continue
        if part not in section.model_fields:
            return None
        inner = _model_in(section.model_fields[part].annotation)
        if inner is None:
            return None
        section = inner
    return section


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _described(path: KeyPath) -> str:
    section = _section(path[:-1])
    known = section.model_fields.get(str(path[-1])) if section else None
    return (known.description or "").rstrip(".") if known else ""


def _unit_of(path: KeyPath) -> str:
    """Unit in square brackets at the end of a field's description, as in `Rated power. [kW]`."""
    unit = re.search(r"\[([^\]]+)\]$", _described(path))
    return f" [{unit.group(1)}]" if unit and unit.group(1) != "-" else ""
