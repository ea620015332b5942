"""What all engines are given and what all return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import pandapower.networks
from numpy.typing import NDArray
from pandapower.auxiliary import pandapowerNet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ELEMENTS = ("load", "sgen", "storage", "gen")
BRANCHES = ("line", "trafo")
SEASONS = 4
"""SimBench steps come from this many stretches of consecutive quarter hours, spread over the year."""


class Flows(NamedTuple):
    """Buses in the order of `net.bus`, branches in that of `PeerCase.branches`; arrays nobody asked for are empty."""

    vm_pu: Floats
    va_degree: Floats
    """(step, bus) [pu], [degree]"""
    loading_percent: Floats
    """By current, of the more loaded end, as pandapower's `trafo_loading="current"` has it. (step, branch) [%]"""


class Peer(Protocol):
    """An engine that holds a network and solves steps of it."""

    name: str

    def run(self, p_mw: Floats, q_mvar: Floats) -> Flows:
        """One row per step, one column per element of the case; consumption positive. [MW], [Mvar]"""
        ...


class UnsupportedCaseError(Exception):
    """The engine cannot model something that the case contains."""


class MissingLibraryError(ImportError):
    """The engine is not installed."""


@dataclass(frozen=True)
class PeerCase:
    """A network and the steps to be solved."""

    name: str
    net: pandapowerNet
    elements: pd.DataFrame
    """Columns `element`, `index`, `bus`: what the columns of the powers belong to."""
    p_mw: Floats
    q_mvar: Floats
    """(step, element), consumption positive. [MW], [Mvar]"""

    @property
    def branches(self) -> pd.DataFrame:
        """Columns `element`, `index`: all lines, then all transformers."""
        return list_rows(self.net, BRANCHES)

    def write_step(self, step: int) -> None:
        """The powers of one step into the tables of the net, in pandapower's own signs."""
        for element in ELEMENTS:
            rows = (self.elements["element"] == element).to_numpy()
            index = self.elements["index"][rows]
            sign = -1.0 if element in ("sgen", "gen") else 1.0
            self.net[element].loc[index, "p_mw"] = sign * self.p_mw[step, rows]
            if element != "gen":
                self.net[element].loc[index, "q_mvar"] = sign * self.q_mvar[step, rows]


def check_library(module: str) -> None:
    """Raise `MissingLibraryError` with what to do where an engine is not installed."""
    if find_spec(module) is None:
        raise MissingLibraryError(f"{module} is not installed; `pip install -e .[bench]` brings the peers in PyPI's pins")


def list_rows(net: pandapowerNet, tables: Sequence[str]) -> pd.DataFrame:
    """Rows of several tables one below the other; columns `element`, `index`."""
    rows = [(table, index) for table in tables for index in net[table].index]
    return pd.DataFrame(rows, columns=["element", "index"])


def list_elements(net: pandapowerNet) -> pd.DataFrame:
    """Everything that consumes or feeds in; columns `element`, `index`, `bus`."""
    rows = list_rows(net, ELEMENTS)
    bus = [net[element].at[index, "bus"] for element, index in zip(rows["element"], rows["index"], strict=True)]
    return rows.assign(bus=np.array(bus, dtype=int))


def simbench_case(code: str, steps: int) -> PeerCase:
    """A SimBench network with `steps` quarter hours of its own year."""
    from gridtwin.grid.simbench import read_simbench_shapes

    net, profiles, _ = read_simbench_shapes(code)
    year = profiles.sizes["time"]
    season = -(-steps // SEASONS)
    starts = (np.arange(SEASONS) * year) // SEASONS
    time = (starts[:, None] + np.arange(season)).ravel()[:steps]
    shape_of = profiles["shape_of"].to_numpy()
    p_mw = profiles["p_shape"].to_numpy()[time][:, shape_of] * profiles["p_scale_mw"].to_numpy()
    q_mvar = profiles["q_shape"].to_numpy()[time][:, shape_of] * profiles["q_scale_mvar"].to_numpy()
    elements = list_elements(net)
    _prepare(net, elements)
    return PeerCase(code, net, elements, np.ascontiguousarray(p_mw), np.ascontiguousarray(q_mvar))


def transmission_case(name: str, steps: int, *, seed: int = 1, spread: float = 0.2) -> PeerCase:
    """One of pandapower's transmission networks with random load draws."""
    net = getattr(pandapower.networks, name)()
    elements = list_elements(net)
    p_mw, q_mvar = random_draws(net, steps, seed, spread)
    _prepare(net, elements)
    return PeerCase(name, net, elements, p_mw, q_mvar)


def random_draws(net: pandapowerNet, steps: int, seed: int, spread: float) -> tuple[Floats, Floats]:
    """P and Q of every load times independent uniform factors in 1 ± `spread`; all else as in the tables.

    Returns
    -------
    p_mw, q_mvar : ndarray, (step, element)
        Consumption positive. [MW], [Mvar]
    """
    elements = list_elements(net)
    powers = np.array([_power_of(net, *row) for row in zip(elements["element"], elements["index"], strict=True)])
    factors = np.random.default_rng(seed).uniform(1 - spread, 1 + spread, (2, steps, len(elements)))
    factors[:, :, (elements["element"] != "load").to_numpy()] = 1.0
    return factors[0] * powers[:, 0], factors[1] * powers[:, 1]


def _power_of(net: pandapowerNet, element: str, index: int) -> tuple[float, float]:
    row = net[element].loc[index]
    sign = (-1.0 if element in ("sgen", "gen") else 1.0) * row["scaling"]
    return sign * row["p_mw"], (0.0 if element == "gen" else sign * row["q_mvar"])


def _prepare(net: pandapowerNet, elements: pd.DataFrame) -> None:
    """Powers of the case are those that flow: no scaling, nothing out of service."""
    for element in ELEMENTS:
        net[element]["scaling"] = 1.0
    off = [not net[element].at[index, "in_service"] for element, index in elements[["element", "index"]].to_numpy()]
    if any(off):
        raise UnsupportedCaseError(f"{sum(off)} elements are out of service")
