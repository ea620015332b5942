"""Plausible ranges of network data and the usual slips: data with reasons, never code."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

Range = tuple[float, float]
LEVELS = ("lv", "mv", "hv")
"""Voltage levels from the lowest up."""


@dataclass(frozen=True)
class Slip:
    """One usual way in which a parameter becomes wrong.

    `factor` is the wrong value over the true one, `odds` the logarithm to base 10 of
    the odds of the slip before anything is known about the value.
    """

    element: str
    parameter: str
    factor: float
    name: str
    odds: float


@dataclass(frozen=True)
class PlausibleData:
    """Ranges met in the field by quantity, such as `line.length_km`, and level; the slips; where the levels begin."""

    ranges: dict[str, dict[str, Range]]
    slips: tuple[Slip, ...]
    level_above_kv: tuple[float, float]

    def range_of(self, quantity: str, level: str) -> Range:
        """Range of a quantity at a voltage level, or the one range that holds for all."""
        by_level = self.ranges[quantity]
        return by_level.get(level, by_level.get("all", (np.nan, np.nan)))

    def levels_of(self, vn_kv: ArrayLike) -> NDArray[np.str_]:
        """Voltage levels, `lv`, `mv` or `hv`, of nominal voltages. [kV]"""
        return np.array(LEVELS)[np.searchsorted(self.level_above_kv, np.asarray(vn_kv, dtype=float), side="right")]


@functools.cache
def read_plausible_ranges() -> PlausibleData:
    """The ranges and slips that come with the package, `gridtwin/data/plausible_ranges.toml`.

    Examples
    --------
    >>> read_plausible_ranges().range_of("trafo.vk_percent", "lv")
    (2.5, 10.0)
    """
    text = (resources.files("gridtwin.data") / "plausible_ranges.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    slips = tuple(Slip(**row) for row in tables.pop("slip"))
    begins = tables.pop("level_above_kv")
    ranges = {
        f"{element}.{parameter}": {level: (low, high) for level, (low, high) in levels.items()}
        for element, parameters in tables.items()
        for parameter, levels in parameters.items()
    }
    return PlausibleData(ranges, slips, (begins["mv"], begins["hv"]))
