"""Connection requests: does a load or generator fit, how much would, and what limits it?

A request draws or feeds in its full power in every step of the profiles, on top
of everything else; each request is judged alone. It fits if no limit is broken
by it: loadings, planning voltages and, for generators, the voltage rise of the
rule set. A limit that is broken without the request may not be broken visibly
further by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.grid.compile import (
    compile_injections,
    compile_network,
    find_bus_of_assets,
    place_assets,
    plain_injections,
)
from gridtwin.grid.connection_buses import check_connection_buses
from gridtwin.grid.twin import GridTwin
from gridtwin.kernels.network_arrays import NetworkArrays, expand_injections
from gridtwin.kernels.results import Outputs
from gridtwin.operate.power_flow import solve_all_steps
from gridtwin.scenario import Connection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1e-6
"""Excess over a limit that is the solver's, relative to the limit. [-]"""
WORSENING = 1e-3
"""Largest further excess over a limit that is broken anyway, relative to the limit: 0.1 % loading, 0.001 pu. [-]"""
KW_PER_GRAIN = 0.1
"""Step of the search. [kW]"""
MOST_GRAINS = 10_000_000
"""1 GW: what fits beyond is not limited by this network."""
STEPS_PER_BLOCK = 2048
"""Steps solved at once, so that a year of results never stands in memory."""

_RANKED = ("excess", "worsening", "step")
COLUMNS = {
    "name": "object", "bus": "object", "kind": "object", "kw": "float64", "fits": "bool", "largest_kw": "float64",
    "limiting_asset": "object", "limiting_quantity": "object", "limiting_time": "datetime64[ns]",
    "worst_value": "float64", "limit": "float64", "already_violated_without": "bool", "steps_unsolved": "int64",
}  # fmt: skip


def check_connections(twin: GridTwin, profiles: Profiles, connections: Sequence[Connection]) -> pd.DataFrame:
    """Judge each connection request by AC power flow over every path and step.

    Parameters
    ----------
    profiles : Profiles
        What the network carries already, up to a whole year, with or without `path`.
    connections : sequence of Connection
        The requests, each judged alone.

    Returns
    -------
    DataFrame
        One row per request:

        - `fits`: whether the requested power `kw` breaks no limit in any path and step;
        - `largest_kw`: largest power that does, on a grid of 0.1 kW; infinite above 1 GW;
        - `limiting_asset`, `limiting_quantity` (`loading_percent`, `vm_pu`, `vm_rise_pu`, or
          `status` where the power flow finds no solution), `limiting_time` (UTC): what breaks
          first beyond it; empty where nothing does;
        - `worst_value`: that quantity there and then with the requested power; `limit`: its limit, in the
          unit of the quantity;
        - `already_violated_without`: some limit is broken before the request comes. It then
          may be exceeded by another 0.1 % of the limit, not more;
        - `steps_unsolved`: steps that have no solution even without the request, not judged.

    Raises
    ------
    ScenarioError
        If a bus is unknown, with the nearest name, or has no supply.

    Notes
    -----
    The feasible powers are an interval from 0 on: voltages move one way with the
    power, and a flow that first falls rises for good once it has turned. Bisection
    runs on the critical steps alone; its result is then checked over all
    steps, and the steps that disagree join the critical ones until none does.
    """
    check_connection_buses(twin, connections)
    rows = [_judge(_build_case(twin, profiles, connection), connection) for connection in connections]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


@dataclass(frozen=True, eq=False)
class _Items:
    """Everything that is judged in a step: loadings, low voltages, high voltages, rises, in this order."""

    asset: NDArray[np.object_]
    quantity: NDArray[np.object_]
    limit: Floats
    sense: Floats
    """+1 where larger is worse, else -1."""


@dataclass(frozen=True, eq=False)
class _Case:
    """The network with one more asset, the request, as last column of the injections."""

    network: NetworkArrays
    p_mw: Floats
    q_mvar: Floats
    """Generation positive, without the request. (step, asset)"""
    times: NDArray[np.datetime64]
    """(step,)"""
    request: complex
    """Injection of a request of 1 MW. [MVA]"""
    items: _Items
    rise_generators: tuple[tuple[Ints, NDArray[np.bool_]], ...]
    """For each rise rule its buses and the assets whose feed-in makes the rise."""


def _build_case(twin: GridTwin, profiles: Profiles, connection: Connection) -> _Case:
    network = compile_network(twin)
    place = network.out_bus[twin.buses.index.get_loc(connection.bus)]
    p_mw, q_mvar = expand_injections(compile_injections(twin, profiles))
    paths = profiles.sizes.get("path", 1)
    tangent = float(np.tan(np.arccos(connection.cos_phi)))
    direction = 1 if connection.kind == "generator" else -1
    rise = _list_rises(twin) if connection.kind == "generator" else []
    return _Case(
        place_assets(network, np.append(find_bus_of_assets(twin, network.out_bus), place)),
        p_mw,
        q_mvar,
        np.tile(profiles["time"].to_numpy(), paths),
        complex(direction, -tangent),
        _list_items(twin, rise),
        tuple((buses, generators) for _, buses, generators in rise),
    )


def _list_rises(twin: GridTwin) -> list[tuple[float, Ints, NDArray[np.bool_]]]:
    """Limit, buses and assets of every rise rule that covers buses of the network."""
    levels = twin.buses["vn_kv"].to_numpy()
    asset_level = twin.buses["vn_kv"].loc[twin.assets["bus"]].to_numpy()
    rises = []
    for rule in twin.rules.rise:
        covered = np.array([rule.covers(level) for level in levels], dtype=bool)
        generators = np.array([rule.covers(level) for level in asset_level], dtype=bool)
        if covered.any():
            rises.append((rule.max_rise_pu, np.flatnonzero(covered), generators))
    return rises


def _list_items(twin: GridTwin, rises: list[tuple[float, Ints, NDArray[np.bool_]]]) -> _Items:
    branches, buses = twin.branches, twin.buses
    names = [branches.index, buses.index, buses.index, *(buses.index[covered] for _, covered, _ in rises)]
    columns = branches["max_loading_percent"], buses["vm_min_pu"], buses["vm_max_pu"]
    limits = [column.to_numpy(dtype=float) for column in columns]
    limits += [np.full(len(covered), limit) for limit, covered, _ in rises]
    quantities = ["loading_percent", "vm_pu", "vm_pu"] + ["vm_rise_pu"] * len(rises)
    senses = [1.0, -1.0, 1.0] + [1.0] * len(rises)
    counts = [len(part) for part in names]
    return _Items(
        np.concatenate([np.asarray(part, dtype=object) for part in names]),
        np.repeat(np.array(quantities, dtype=object), counts),
        np.concatenate(limits),
        np.repeat(senses, counts),
    )


def _judge(case: _Case, connection: Connection) -> dict[str, object]:
    base = _find_worst(case, 0.0)
    critical = np.unique(base.step[np.isfinite(base.excess)])
    grains, critical = _search(case, critical, connection.kw)
    fits = _fits(case, grains, connection.kw)
    row = {
        "name": connection.name,
        "bus": connection.bus,
        "kind": connection.kind,
        "kw": connection.kw,
        "fits": fits,
        "largest_kw": _largest_kw(grains, connection.kw if fits else 0.0),
        "already_violated_without": bool((base.excess > TOLERANCE).any()),
        "steps_unsolved": base.unsolved,
    }
    return row | _limit_of(case, critical, grains, connection)


def _largest_kw(grains: int, fitting_kw: float) -> float:
    """The result of the search in kW; a request between two grains that fits is itself the largest known."""
    return np.inf if grains >= MOST_GRAINS else max(round(grains * KW_PER_GRAIN, 1), fitting_kw)


def _fits(case: _Case, grains: int, kw: float) -> bool:
    """Whether the requested power breaks nothing; only between two grains is another run needed."""
    if grains * KW_PER_GRAIN < kw < (grains + 1) * KW_PER_GRAIN:
        return bool((_find_worst(case, kw / 1000).worsening <= 0).all())
    return kw <= grains * KW_PER_GRAIN + 1e-9


def _search(case: _Case, critical: Ints, requested_kw: float) -> tuple[int, Ints]:
    """Largest number of grains that breaks nothing in any step, and the steps that decide it."""
    beyond = _find_upper(case, _solve_before(case, critical), requested_kw)
    while True:
        grains = _bisect(case, _solve_before(case, critical), beyond)
        worst = _find_worst(case, grains * KW_PER_GRAIN / 1000)
        disagreeing = worst.step[worst.worsening > 0]
        if grains == 0 or not len(disagreeing):
            return grains, critical
        critical, beyond = np.union1d(critical, disagreeing), grains


def _find_upper(case: _Case, critical: _Before, requested_kw: float) -> int:
    """A number of grains that breaks something in the critical steps, or just above the most."""
    grains = max(int(requested_kw / KW_PER_GRAIN), 1)
    while grains <= MOST_GRAINS and _holds(case, critical, grains):
        grains *= 2
    return min(grains, MOST_GRAINS + 1)


def _bisect(case: _Case, critical: _Before, beyond: int) -> int:
    """Largest number of grains below `beyond` that breaks nothing in the critical steps."""
    low, high = 0, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(case, critical, middle) else (low, middle)
    return low


def _holds(case: _Case, critical: _Before, grains: int) -> bool:
    return bool((_worsening(case, critical, grains * KW_PER_GRAIN / 1000)[1] <= 0).all())


@dataclass(frozen=True, eq=False)
class _Before:
    """Some steps without the request."""

    steps: Ints
    silent: list[Floats]
    """Voltages with the generators of each rise rule silent. (step, bus) [pu]"""
    excess: Floats
    """Relative excess over the limit. (step, item) [-]"""


def _solve_before(case: _Case, steps: Ints) -> _Before:
    p_mw, q_mvar = case.p_mw[steps], case.q_mvar[steps]
    off = [generators & (p_mw > 0) for _, generators in case.rise_generators]
    silent = [_solve(case, np.where(part, 0.0, p_mw), np.where(part, 0.0, q_mvar), 0.0).vm_pu for part in off]
    return _Before(steps, silent, _excess(case, _values(case, steps, 0.0, silent)))


@dataclass(frozen=True, eq=False)
class _Worst:
    """By item, over some or all steps."""

    excess: Floats
    """Largest relative excess over the limit. (item,)"""
    worsening: Floats
    """Largest excess beyond what is allowed. (item,)"""
    step: Ints
    """Step of the largest worsening, without a request that of the largest excess. (item,)"""
    unsolved: int
    """Steps without a solution even without the request."""


def _find_worst(case: _Case, extra_mw: float) -> _Worst:
    """The worst of every item over all steps with a request of `extra_mw`, block by block."""
    starts = range(0, len(case.times), STEPS_PER_BLOCK)
    blocks = [np.arange(start, min(start + STEPS_PER_BLOCK, len(case.times))) for start in starts]
    worst = [_worst_of_block(case, steps, extra_mw) for steps in blocks]
    excess, worsening, step = (np.array([getattr(part, field) for part in worst]) for field in _RANKED)
    best = (worsening if extra_mw else excess).argmax(axis=0)
    return _Worst(
        excess.max(axis=0),
        worsening.max(axis=0),
        step[best, np.arange(len(best))],
        sum(part.unsolved for part in worst),
    )


def _worst_of_block(case: _Case, steps: Ints, extra_mw: float) -> _Worst:
    excess, worsening = _worsening(case, _solve_before(case, steps), extra_mw)
    step = steps[(worsening if extra_mw else excess).argmax(axis=0)]
    unsolved = int(np.isneginf(worsening).all(axis=1).sum())
    return _Worst(excess.max(axis=0), worsening.max(axis=0), step, unsolved)


def _worsening(case: _Case, before: _Before, extra_mw: float) -> tuple[Floats, Floats]:
    """Relative excess of every item, and what of it is not allowed.

    Returns
    -------
    excess, worsening : ndarray, (step, item)
        -infinity where nothing is known without the request; infinity where the
        request leaves a step without a solution. Worsening above 0 breaks a limit. [-]
    """
    known = np.isfinite(before.excess)
    after = _excess(case, _values(case, before.steps, extra_mw, before.silent)) if extra_mw else before.excess
    allowed = np.where(before.excess > TOLERANCE, before.excess + WORSENING, TOLERANCE)
    excess = np.where(known, np.where(np.isfinite(after), after, np.inf), -np.inf)
    return excess, excess - np.where(known, allowed, 0.0)


def _excess(case: _Case, values: Floats) -> Floats:
    """Distance of every item from its limit, relative to the limit, positive when broken. (step, item) [-]"""
    return np.asarray(case.items.sense * (values / case.items.limit - 1))


def _values(case: _Case, steps: Ints, extra_mw: float, silent: Sequence[Floats]) -> Floats:
    """Loadings, voltages (twice) and rises of the steps. (step, item)"""
    flow = _solve(case, case.p_mw[steps], case.q_mvar[steps], extra_mw)
    rises = [(flow.vm_pu - vm_pu)[:, buses] for (buses, _), vm_pu in zip(case.rise_generators, silent, strict=True)]
    return np.hstack([flow.loading_percent, flow.vm_pu, flow.vm_pu, *rises])


def _solve(case: _Case, p_mw: Floats, q_mvar: Floats, extra_mw: float) -> Outputs:
    request = extra_mw * np.full((len(p_mw), 1), case.request)
    injections = plain_injections(np.hstack([p_mw, request.real]), np.hstack([q_mvar, request.imag]))
    return solve_all_steps(case.network, injections, outputs=("vm_pu", "loading_percent"))


def _limit_of(case: _Case, critical: Ints, grains: int, connection: Connection) -> dict[str, object]:
    """What breaks one grain above the largest power, and its value with the requested power."""
    if grains >= MOST_GRAINS:
        return {"limiting_asset": "", "limiting_quantity": ""}
    before = _solve_before(case, critical)
    _, worsening = _worsening(case, before, (grains + 1) * KW_PER_GRAIN / 1000)
    row, item = np.unravel_index(int(worsening.argmax()), worsening.shape)
    where = {"limiting_time": case.times[critical[row]]}
    if np.isposinf(worsening[row, item]):
        return where | {"limiting_asset": connection.bus, "limiting_quantity": "status"}
    values = _values(case, critical, connection.kw / 1000, before.silent)
    return where | {
        "limiting_asset": case.items.asset[item],
        "limiting_quantity": case.items.quantity[item],
        "worst_value": values[row, item],
        "limit": case.items.limit[item],
    }
