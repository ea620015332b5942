"""Planted errors: one wrong number in a sound network, and which plants nobody could find.

A plant is left out only where the planted network holds nothing that differs from a sound one:

- the value does not change: 0 or nothing given, times 1000,
- the element is out of service,
- the nominal voltages of both sides of a transformer are within 15 % of each other, or vk equals vkr.

A value that ends up among sound ones, such as 12 m instead of 12 km where other sections are as short, is left in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd


class Plant(NamedTuple):
    """One planted error: the network, where it is, and under which parameters it may be named."""

    kind: str
    net: dict
    element: str
    index: int
    parameters: tuple[str, ...]


FACTORS = {
    "length x1000": ("line", "length_km", 1e3),
    "length /1000": ("line", "length_km", 1e-3),
    "max_i x1000": ("line", "max_i_ka", 1e3),
    "max_i /1000": ("line", "max_i_ka", 1e-3),
    "c x1000": ("line", "c_nf_per_km", 1e3),
    "sn x1000": ("trafo", "sn_mva", 1e3),
}
SWAPS = {"sides swapped": ("hv_bus", "lv_bus"), "vk and vkr swapped": ("vk_percent", "vkr_percent")}
KINDS = (*FACTORS, "load x1000", *SWAPS)


def list_plants(net: dict, kind: str, *, seed: int, most: int = 3) -> Iterator[Plant]:
    """Plants of one kind at random elements, without those that cannot be found in principle."""
    element = FACTORS[kind][0] if kind in FACTORS else "load" if kind == "load x1000" else "trafo"
    table = net[element]
    rows = table.index[[_detectable(net, kind, row) for row in table.index]]
    rng = np.random.default_rng(seed)
    for row in rng.permutation(rows)[:most]:
        yield plant(net, kind, int(row))


def plant(net: dict, kind: str, row: int) -> Plant:
    """Copy of the network with one error."""
    wrong = copy.copy(net)
    if kind in FACTORS:
        element, column, factor = FACTORS[kind]
        wrong[element] = _scaled(net[element], row, [column], factor)
        return Plant(kind, wrong, element, row, (column,))
    if kind == "load x1000":
        wrong["load"] = _scaled(net["load"], row, ["p_mw", "q_mvar"], 1e3)
        return Plant(kind, wrong, "load", row, ("p_mw",))
    wrong["trafo"] = _swapped(net["trafo"], row, list(SWAPS[kind]))
    return Plant(kind, wrong, "trafo", row, ("/".join(SWAPS[kind]),))


def _scaled(table: pd.DataFrame, row: int, columns: list[str], factor: float) -> pd.DataFrame:
    table = table.copy()
    table[columns] = table[columns].astype(float)
    table.loc[row, columns] *= factor
    return table


def _swapped(table: pd.DataFrame, row: int, columns: list[str]) -> pd.DataFrame:
    table = table.copy()
    table.loc[row, columns] = table.loc[row, columns[::-1]].to_numpy()
    return table


def _detectable(net: dict, kind: str, row: int) -> bool:
    """Whether the plant leaves a trace at all."""
    element = FACTORS[kind][0] if kind in FACTORS else "load" if kind == "load x1000" else "trafo"
    values = net[element].loc[row]
    if not values["in_service"]:
        return False
    if kind == "sides swapped":
        return abs(np.log(values["vn_hv_kv"] / values["vn_lv_kv"])) > np.log(1.15)
    if kind == "vk and vkr swapped":
        return values["vk_percent"] != values["vkr_percent"]
    return bool(values[FACTORS[kind][1] if kind in FACTORS else "p_mw"] > 0)


def is_named(plant: Plant, causes: pd.DataFrame, most: int) -> bool:
    """Whether element and parameter stand among the first rows."""
    first = causes.head(most)
    right = (first["element"] == plant.element) & (first["index"] == plant.index)
    return bool((right & first["parameter"].isin(plant.parameters)).any())
