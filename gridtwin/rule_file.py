"""Rules as data: TOML files that ship with the package, and an operator's own of the same form."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from gridtwin.errors import DataError, Finding, GridtwinError, ScenarioError

Rules = TypeVar("Rules", bound=BaseModel)


@dataclass(frozen=True)
class RuleCodes:
    """Code of each fault: no such set, no TOML, unknown key, missing key, broken rule, value that does not fit."""

    unknown: str
    toml: str
    key: str
    missing: str
    rule: str
    value: str


@dataclass(frozen=True)
class RuleFolder(Generic[Rules]):
    """Sets of rules of one form.

    Parameters
    ----------
    model : type of pydantic model
        The form.
    package : str
        Package that the shipped sets lie in.
    folder : str
        Their folder in it.
    noun : str
        What a set is called in messages.
    codes : RuleCodes
        Codes of the findings.
    where : str
        Where a name is given, such as a key of the scenario.
    unknown_error : type of GridtwinError
        Raised where there is no such set.
    """

    model: type[Rules]
    package: str
    folder: str
    noun: str
    codes: RuleCodes
    where: str = ""
    unknown_error: type[GridtwinError] = ScenarioError

    def names(self) -> list[str]:
        """Names of the shipped sets."""
        found = resources.files(self.package).joinpath(*self.folder.split("/")).iterdir()
        return sorted(file.name.removesuffix(".toml") for file in found if file.name.endswith(".toml"))

    def text(self, name: str) -> str:
        """The file of a shipped set."""
        file = resources.files(self.package).joinpath(*self.folder.split("/"), f"{name}.toml")
        return file.read_text(encoding="utf-8")

    def read(self, name_or_path: str | Path, base: Path = Path()) -> Rules:
        """A shipped set by its name, or an own one by a path that ends in `.toml`.

        Raises
        ------
        GridtwinError
            If there is no such set or file; names the nearest.
        DataError
            If the file is no such set; every fault with its key.
        """
        name = str(name_or_path)
        if Path(name).suffix != ".toml":
            if name not in (known := self.names()):
                raise self.unknown_error([self._unknown(name, known)])
            return self.parse(self.text(name), f"{name}.toml")
        file = base / name
        if not file.is_file():
            there = sorted(path.name for path in file.parent.glob("*.toml") if path.name != "scenario.toml")
            raise self.unknown_error([self._unknown(str(file), there)])
        return self.parse(file.read_text(encoding="utf-8"), str(file))

    def parse(self, text: str, where: str) -> Rules:
        """The set in a TOML text; every fault at once."""
        try:
            return self.model.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            fault = Finding(f"not valid TOML: {error}", where=where, severity="error", code=self.codes.toml)
            raise DataError([fault]) from None
        except ValidationError as error:
            raise DataError([self._fault(fault, where) for fault in error.errors()]) from None

    def _unknown(self, got: str, there: list[str]) -> Finding:
        close = difflib.get_close_matches(Path(got).name, there, n=1, cutoff=0.4)
        return Finding(
            f"there is no such {self.noun}",
            where=self.where,
            expected=f"{', '.join(self.names())} or the path of a .toml file",
            got=got,
            do=f"Did you mean {close[0]}?" if close else f"Beside it: {', '.join(there) or 'no .toml file'}.",
            severity="error",
            code=self.codes.unknown,
        )

    def _fault(self, fault: Mapping[str, Any], where: str) -> Finding:
        """One fault of a file with its key."""
        path, codes = tuple(fault["loc"]), self.codes
        place = f"{where}: {'.'.join(map(str, path))}".removesuffix(": ")
        if fault["type"] == "extra_forbidden":
            return Finding("unknown key", where=place, do=self._nearest(path), severity="error", code=codes.key)
        if fault["type"] == "missing":
            return Finding("the key is missing", where=place, severity="error", code=codes.missing)
        text = str(fault["msg"])
        if fault["type"] == "value_error":
            return Finding(text.removeprefix("Value error, "), where=place, severity="error", code=codes.rule)
        expected, got = text.removeprefix("Input should be "), repr(fault["input"])
        return Finding(
            "the value does not fit", where=place, expected=expected, got=got, severity="error", code=codes.value
        )

    def _nearest(self, path: tuple[str | int, ...]) -> str:
        """The known key of the same table that is closest to an unknown one."""
        table: type[BaseModel] = self.model
        for key in path[:-1]:
            if isinstance(key, str):
                table = next(_tables_in(table.model_fields[key].annotation), table)
        known = sorted(table.model_fields)
        close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        return f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models inside a type such as `tuple[Model, ...] | None`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for part in typing.get_args(annotation):
        yield from _tables_in(part)
