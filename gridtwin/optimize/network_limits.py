r"""Network limits as rows of a linear program, with room for forecast errors.

Every limit is one inequality :math:`w \cdot (p - p_{ref}) \le room`, where p is the power
of the flexible assets at each bus. The room is measured by AC power flow of all
forecast paths at the present schedule :math:`p_{ref}`. Paths are whole days: what is left in all of
them but the allowed number of worst ones is what the schedule may use, so that all
limits hold all day in the demanded share of them. Four limits stand side by side:

    forward   P <= sqrt(S² - Q²) of a branch        w = dP/dp
    reverse  -P <= sqrt(S² - Q²) of a branch        w = -dP/dp
    high     v² <= v_max² of a bus                  w = dv²/dp / scale
    low     -v² <= -v_min² of a bus                 w = -dv²/dp / scale

Voltage is squared because the response is straighter there. Its scale is the largest
response of the bus, so that every room is a power: what would have to move at the
most effective bus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.sensitivity import linear_response
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.model import LimitRows

CERTIFIED_LOADING_PERCENT = 0.5
"""Loading above its limit that a certified schedule may still show. [%]"""
CERTIFIED_VOLTAGE_PU = 1e-3
"""Voltage outside its limit that a certified schedule may still show. [pu]"""
AIM_LOADING_PERCENT = 0.1
"""How far below a loading limit a plan aims; it agrees with AC power flow when it misses its aim by less. [%]"""
AIM_VOLTAGE_PU = 5e-5
"""The same for voltages. [pu]"""
SMALLEST_WEIGHT = 0.01
"""Weights below this share of a row's largest one are left to the AC rounds: they are losses, not paths."""
SMALLEST_RESPONSE = 1e-6
"""Squared voltage per power below which no flexible asset can help a bus. [1/MW]"""
SMALLEST_LOADING_PERCENT = 10.0
"""Below this the current is partly the charging of the branch itself and says nothing of its capacity. [%]"""
GUARD_LOADING = 0.05
"""Room that a row may lack to binding and still enter, as a share of the rating: the AC rounds may take it. [-]"""
GUARD_VOLTAGE_PU = 2e-3
"""The same for voltages. [pu]"""


@dataclass(frozen=True)
class NetworkLimits:
    """All limits of a network, two per branch and two per bus.

    Parameters
    ----------
    table : DataFrame, (limit,)
        Columns `asset`, `kind` (line, trafo, …, bus), `side`.
    weight : ndarray, (limit, bus)
        Change of the limited quantity per consumption at each flexible bus. [-]
    scale : ndarray, (limit,)
        Limited quantity per room: 1 for branches, squared voltage per power for buses. [1] or [1/MW]
    aim_mw, guard_mw : ndarray, (limit,)
        How far below the limit a plan aims; room within which a row enters. [MW]
    capacity_mw : ndarray, (limit,)
        What a branch may carry; for a bus, what moves its voltage by 0.1 pu. [MW]
    """

    table: pd.DataFrame
    weight: np.ndarray
    scale: np.ndarray
    aim_mw: np.ndarray
    guard_mw: np.ndarray
    capacity_mw: np.ndarray


def find_network_limits(twin: GridTwin, profiles_at_base: Profiles, buses: list[str]) -> NetworkLimits:
    """Limits of every branch and bus with their response to consumption at `buses`.

    Parameters
    ----------
    twin : GridTwin
        Ratings and voltage limits.
    profiles_at_base : Profiles
        One step: the operating point at which the response is taken.
    buses : list of str
        Buses of flexible assets, the columns of `weight`.
    """
    dp_branch, dv2 = linear_response(twin, profiles_at_base, buses)
    scale = np.abs(dv2).max(axis=1, initial=0.0, where=np.isfinite(dv2))
    usable = np.where(scale > SMALLEST_RESPONSE, scale, np.inf)
    weight = np.vstack([dp_branch, -dp_branch, dv2 / usable[:, None], -dv2 / usable[:, None]])
    rated = np.nan_to_num(twin.branches["s_rated_mva"].to_numpy(dtype=float))
    voltage_mw = 2 / usable
    return NetworkLimits(
        _label_limits(twin),
        _drop_small(np.nan_to_num(weight)),
        np.concatenate([np.ones(2 * len(rated)), usable, usable]),
        np.concatenate([np.tile(AIM_LOADING_PERCENT / 100 * rated, 2), np.tile(AIM_VOLTAGE_PU * voltage_mw, 2)]),
        np.concatenate([np.tile(GUARD_LOADING * rated, 2), np.tile(GUARD_VOLTAGE_PU * voltage_mw, 2)]),
        np.concatenate([np.tile(np.where(rated > 0, rated, 1.0), 2), np.tile(0.1 * voltage_mw, 2)]),
    )


def _label_limits(twin: GridTwin) -> pd.DataFrame:
    branches, buses = twin.branches.index.astype(str), twin.buses.index.astype(str)
    elements = twin.branches["element"].to_list()
    parts = [
        pd.DataFrame({"asset": branches, "kind": elements, "side": "forward"}),
        pd.DataFrame({"asset": branches, "kind": elements, "side": "reverse"}),
        pd.DataFrame({"asset": buses, "kind": "bus", "side": "high"}),
        pd.DataFrame({"asset": buses, "kind": "bus", "side": "low"}),
    ]
    return pd.concat(parts, ignore_index=True)


def _drop_small(weight: np.ndarray) -> np.ndarray:
    largest = np.abs(weight).max(axis=1, initial=0.0)
    return np.where(np.abs(weight) >= SMALLEST_WEIGHT * largest[:, None], weight, 0.0)


def may_fail(paths: int, confidence: float) -> int:
    """Number of paths in which limits may be exceeded.

    Examples
    --------
    >>> may_fail(50, 0.9)
    5
    """
    return min(paths - 1, int(np.floor((1 - confidence) * paths + 1e-9)))


def find_demanding_paths(twin: GridTwin, flow: xr.Dataset, confidence: float) -> np.ndarray:
    """Paths in which every limit must hold on every step: all but the allowed number of worst ones. (path,)

    The worst paths are those with the largest violation anywhere, in units of its
    tolerance; a path with a step that has no solution is worse than any other.
    """
    loading, outside = violations(twin, flow)
    worst = np.maximum(
        loading.max(axis=(1, 2), initial=-np.inf) / CERTIFIED_LOADING_PERCENT,
        outside.max(axis=(1, 2), initial=-np.inf) / CERTIFIED_VOLTAGE_PU,
    )
    severity = np.where((flow["status"].to_numpy() == 0).all(axis=1), worst, np.inf)
    kept = len(severity) - may_fail(len(severity), confidence)
    return np.asarray(np.sort(np.argsort(severity, kind="stable")[:kept]))


def violations(twin: GridTwin, flow: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Loading above its limit (path, time, branch) [%] and voltage outside its band (path, time, bus) [pu].

    Negative where there is room, minus infinity where there is no rating, no supply or no solution.
    """
    loading = flow["loading_percent"].to_numpy() - twin.branches["max_loading_percent"].to_numpy(dtype=float)
    vm = flow["vm_pu"].to_numpy()
    low, high = (twin.buses[name].to_numpy(dtype=float) for name in ("vm_min_pu", "vm_max_pu"))
    outside = np.maximum(vm - high, low - vm)
    return np.where(np.isnan(loading), -np.inf, loading), np.where(np.isnan(outside), -np.inf, outside)


def measure_room(twin: GridTwin, flow: xr.Dataset, limits: NetworkLimits, confidence: float) -> np.ndarray:
    """Room to aim at that is left in every path that must hold. (limit, time) [MW]

    The aim lies a little below the limit, so that a plan that just misses it still
    holds the limit. Negative where the aim is exceeded, infinite where there is no
    limit. Steps without a solution are left out here and counted by the certificate.
    """
    flow = flow.isel(path=find_demanding_paths(twin, flow, confidence))
    sides = [*_branch_rooms(twin, flow), *_voltage_rooms(twin, flow)]
    room_mw = np.concatenate([room.min(axis=0).T for room in sides]) / limits.scale[:, None]
    return np.asarray(room_mw - limits.aim_mw[:, None])


def _branch_rooms(twin: GridTwin, flow: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Room of forward and of reverse active power. (path, time, branch) [MW]

    The capacity at the AC point is the apparent power scaled to the limit of the
    loading: loading is by current at the more loaded end, so voltage and losses are in it.
    """
    p_mw, q_mvar = flow["p_branch_mw"].to_numpy(), flow["q_branch_mvar"].to_numpy()
    loading, s_mva = flow["loading_percent"].to_numpy(), np.hypot(p_mw, q_mvar)
    allowed = twin.branches["max_loading_percent"].to_numpy(dtype=float)
    rated = twin.branches["s_rated_mva"].to_numpy(dtype=float) * allowed / 100
    flows = loading > SMALLEST_LOADING_PERCENT
    capacity = np.where(flows, s_mva * allowed / np.where(flows, loading, 1.0), rated)
    box = np.sqrt(np.maximum(capacity**2 - q_mvar**2, 0.0)) - np.maximum(np.abs(q_mvar) - capacity, 0.0)
    return _open_ended(box - p_mw), _open_ended(box + p_mw)


def _voltage_rooms(twin: GridTwin, flow: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Room of squared voltage to both limits. (path, time, bus) [pu²]"""
    squared = flow["vm_pu"].to_numpy() ** 2
    high = twin.buses["vm_max_pu"].to_numpy(dtype=float) ** 2 - squared
    return _open_ended(high), _open_ended(squared - twin.buses["vm_min_pu"].to_numpy(dtype=float) ** 2)


def _open_ended(room: np.ndarray) -> np.ndarray:
    """No rating, no supply or no solution: no limit."""
    return np.where(np.isnan(room), np.inf, room)


def can_bind(
    limits: NetworkLimits, room_mw: np.ndarray, p_ref_mw: np.ndarray, *, p_min_mw: np.ndarray, p_max_mw: np.ndarray
) -> np.ndarray:
    """Whether the devices at all buses together could use up the room. (limit, time)

    Parameters
    ----------
    room_mw : ndarray, (limit, time)
        Room at the reference schedule. [MW]
    p_ref_mw, p_min_mw, p_max_mw : ndarray, (bus, time)
        Flexible power at each bus: reference and reachable band. [MW]
    """
    rising, falling = np.maximum(limits.weight, 0), np.minimum(limits.weight, 0)
    reach_mw = rising @ (p_max_mw - p_ref_mw) + falling @ (p_min_mw - p_ref_mw)
    return np.asarray(reach_mw > room_mw - limits.guard_mw[:, None])


def select_rows(limits: NetworkLimits, chosen: np.ndarray) -> LimitRows:
    """Rows of the chosen (limit, time) pairs."""
    limit, step = np.nonzero(chosen)
    return LimitRows(limit, step, limits.weight[limit], scale=KW_PER_MW * limits.capacity_mw[limit])
