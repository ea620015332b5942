"""Growth: devices that the network does not hold yet, placed on buses at random."""

from __future__ import annotations

import copy
import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandapower
import pandas as pd

from gridtwin.data.buildings import assume_building
from gridtwin.errors import Finding, NetworkError, raise_errors
from gridtwin.grid.twin import name_rows
from gridtwin.scenario import Growth

ELEMENT_OF_KIND = {"electric_car": "load", "heat_pump": "load", "pv": "sgen", "battery": "storage"}
"""Kind of growth -> pandapower table that holds it."""

NEEDS_ENERGY = {"battery": "usable energy above 0 kWh", "electric_car": "mean energy of a session above 0 kWh"}
"""Kinds that are nothing without `kwh` -> what it means for them."""
NETWORK_KIND = {"load": "load", "sgen": "generator", "storage": "battery"}
"""Table -> kind of its older rows where the network does not tell."""
FLAGS = {"flexible": False, "metered": True, "controllable": False}
"""Columns of yes and no -> what a missing value means."""
RATINGS = ("p_rated_mw", "e_rated_mwh", "ua_mw_per_k", "c_mwh_per_k", "cop")
"""Columns of numbers, NaN where a device has none."""


def place_growth(net: pandapower.pandapowerNet, growth: Sequence[Growth], *, seed: int) -> pandapower.pandapowerNet:
    """Copy of the network with the growth devices as new loads, generators and storages.

    Each entry draws its buses from a generator of its own, known by its kind and
    its place among the entries of that kind: entries of other kinds, and a larger
    count, leave the buses already drawn as they are. Names count on per kind,
    `electric_car 1`, `electric_car 2`, …, past names that the network holds.

    Parameters
    ----------
    net : pandapowerNet
        Left as it is.
    growth : sequence of Growth
        Sections of the scenario.
    seed : int
        Seed of the scenario.

    Raises
    ------
    NetworkError
        If an entry names buses that do not exist, has none to choose from, or
        lacks the energy of its batteries or cars.
    """
    candidates = _check_entries(net, growth)
    grown = copy.deepcopy(net)
    names = {kind: _free_names(net, kind) for kind in ELEMENT_OF_KIND}
    entries_of_kind: Counter[str] = Counter()
    for part, buses in zip(growth, candidates, strict=True):
        key = (list(ELEMENT_OF_KIND).index(part.kind), entries_of_kind[part.kind])
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        entries_of_kind[part.kind] += 1
        chosen = buses[random.integers(len(buses), size=part.count)]
        _add_devices(grown, part, chosen, list(itertools.islice(names[part.kind], part.count)))
    return grown


def _check_entries(net: pandapower.pandapowerNet, growth: Sequence[Growth]) -> list[np.ndarray]:
    """Buses (pandapower indices) that each entry chooses from; one error with every fault."""
    index_of_bus = name_rows(net, ["bus"])["index"]
    known = set(index_of_bus.index)
    findings = [
        _unknown_bus(number, name, known)
        for number, part in enumerate(growth)
        for name in dict.fromkeys(part.buses)
        if name not in known
    ]
    findings += [
        _no_energy(number, part.kind)
        for number, part in enumerate(growth)
        if part.kind in NEEDS_ENERGY and part.kwh == 0
    ]
    raise_errors(findings, NetworkError)
    loaded = np.unique(net.load.loc[net.load["in_service"].astype(bool), "bus"].to_numpy(dtype=int))
    if len(loaded) == 0 and any(not part.buses for part in growth):
        raise NetworkError(
            [Finding("growth finds no bus with a load", do="Name `buses` in [[growth]].", severity="error")]
        )
    return [index_of_bus[list(part.buses)].to_numpy(dtype=int) if part.buses else loaded for part in growth]


def _unknown_bus(number: int, name: str, known: set[str]) -> Finding:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return Finding(
        "growth names a bus that the network does not hold",
        where=f"growth.{number}.buses",
        expected="the name of a bus",
        got=f"'{name}'",
        do=f"Did you mean '{near[0]}'?" if near else "",
        severity="error",
    )


def _no_energy(number: int, kind: str) -> Finding:
    return Finding(
        f"growth of kind {kind} needs an energy",
        where=f"growth.{number}.kwh",
        expected=NEEDS_ENERGY[kind],
        got="0",
        severity="error",
    )


def _free_names(net: pandapower.pandapowerNet, kind: str) -> Iterator[str]:
    taken = {str(name) for element in ("load", "sgen", "storage") for name in net[element]["name"].dropna()}
    return (name for number in itertools.count(1) if (name := f"{kind} {number}") not in taken)


def _add_devices(net: pandapower.pandapowerNet, part: Growth, buses: np.ndarray, names: list[str]) -> None:
    """Append rows by pandapower's own functions, with the facts that the twin collects."""
    element = ELEMENT_OF_KIND[part.kind]
    complete_facts(net[element], NETWORK_KIND[element])
    p_mw = part.kw / 1000
    columns = {"name": names, "sn_mva": p_mw, **_facts_of(part), "flexible": _spread(part.flexible_share, part.count)}
    if element == "load":
        pandapower.create_loads(net, buses, p_mw, **columns)
    elif element == "sgen":
        pandapower.create_sgens(net, buses, p_mw, type="PV", **columns)
    else:
        pandapower.create_storages(net, buses, 0.0, part.kwh / 1000, **columns)


def complete_facts(table: pd.DataFrame, network_kind: str) -> None:
    """Give older rows what readers assume, so that no flag is left open: a NaN among flags would turn True."""
    for column, value in {"kind": network_kind, "origin": "network"}.items():
        if column not in table:
            table[column] = pd.Series(value, index=table.index, dtype=object)
    for column in RATINGS:
        if column not in table:
            table[column] = pd.Series(np.nan, index=table.index)
    for column, default in FLAGS.items():
        known = table[column] if column in table else pd.Series(default, index=table.index)
        table[column] = known.ne(False) if default else known.eq(True)


def _facts_of(part: Growth) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": part.kind,
        "origin": "growth",
        "metered": True,
        "controllable": False,
        "p_rated_mw": part.kw / 1000,
        "e_rated_mwh": part.kwh / 1000 if part.kwh else np.nan,
        "ua_mw_per_k": np.nan,
        "c_mwh_per_k": np.nan,
        "cop": np.nan,
    }
    if part.kind == "heat_pump":
        building = assume_building(part.kw / 1000)
        facts |= {"ua_mw_per_k": building.ua_mw_per_k, "c_mwh_per_k": building.c_mwh_per_k, "cop": building.cop}
    return facts


def _spread(share: float, count: int) -> np.ndarray:
    """Which of `count` devices are flexible: evenly spread, their number right for every prefix. (device,)"""
    reached = np.floor(share * np.arange(count + 1) + 1e-9)
    return np.asarray(np.diff(reached) > 0)
