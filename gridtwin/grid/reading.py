"""Several inputs read one after another, with the faults of all told at once, each at its place in the scenario."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gridtwin.data.series_table import SERIES_FORMATS
from gridtwin.errors import Finding, GridtwinError, ScenarioError
from gridtwin.scenario import SeriesFile

Place = Callable[..., str]
T = TypeVar("T")


class Reading:
    """Reads one input after another and keeps every fault, so that all are told at once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._faults: list[Finding] = []

    def __call__(self, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None, with the fault kept, where it raises."""
        try:
            return read()
        except GridtwinError as error:
            self._faults += [self._located(key, fault) for fault in error.findings]
            return None

    def raise_faults(self) -> None:
        """Raise one error with all faults, if there are any."""
        if self._faults:
            raise ScenarioError(sorted(dict.fromkeys(self._faults), key=_line_of))

    def _located(self, key: str, fault: Finding) -> Finding:
        """The fault with the place of its scenario key in front: the one that it names itself, else `key`."""
        named, _, rest = fault.where.partition(": ")
        key, rest = (named, rest) if named.split(".")[0] == key.split(".")[0] else (key, fault.where)
        file, _, declared = rest.rpartition(": ")
        if declared in SeriesFile.model_fields:
            key, rest = f"{key.removesuffix('.file')}.{declared}", file
        elif Path(rest.partition(": ")[0]).suffix in SERIES_FORMATS and not key.endswith(".file"):
            key = f"{key}.file"
        where = self._place(*(int(part) if part.isdigit() else part for part in key.split(".")))
        return replace(fault, where=f"{where}: {rest}" if rest else where, severity="error")


def _line_of(fault: Finding) -> tuple[str, int]:
    """File and line of a fault, so that they are told from top to bottom."""
    place = re.match(r"(.*?):(\d+): ", fault.where)
    return (place.group(1), int(place.group(2))) if place else (fault.where, 0)
