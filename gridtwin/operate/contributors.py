"""Who is behind a flow or a voltage: the share of every asset at one step.

An asset's share is the mean of what it changes when it comes first, into the
empty network, and what it changes when it goes last, out of the full one. Flows
and voltages are nearly quadratic in the powers, and for a quadratic function
this mean is the Shapley value [1]_: the shares add up to the whole, meshed
networks included, and nobody's share depends on an order.

References
----------
.. [1] L. S. Shapley, A value for n-person games, 1953; in quadratic games all
   interaction is pairwise and is divided in halves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.power_flow import PowerFlow, run_power_flow

FLAT = 1e-12
"""A sum below this is no flow and no voltage change. [MW or pu]"""
SMALLEST_SHARE = 0.005
"""Shares that would round to 0 % are not named. [-]"""


class Contributions(NamedTuple):
    """Shares of every asset in every flow and voltage of one step, against the network without any asset."""

    p_branch_mw: pd.DataFrame
    """Share in the flow at the from or hv side; asset rows, branch columns. [MW]"""
    vm_pu: pd.DataFrame
    """Share in the voltage; asset rows, bus columns. [pu]"""


def find_contributions(twin: GridTwin, profiles: Profiles) -> Contributions:
    """Shares of every asset in every flow and voltage of one step.

    Parameters
    ----------
    profiles : Profiles
        One step of one path: `time` of length 1, no `path` (or of length 1).

    Notes
    -----
    Two power flows per asset that is not idle, all in one batch.
    """
    step = profiles.isel(path=0, drop=True) if "path" in profiles.dims else profiles
    busy = np.flatnonzero((step["p_mw"].to_numpy()[0] != 0) | (step["q_mvar"].to_numpy()[0] != 0))
    flow = run_power_flow(twin, _first_and_last(step, busy))
    names = step["asset"].to_numpy()[busy]
    return Contributions(_halves(flow, "p_branch_mw", names), _halves(flow, "vm_pu", names))


def _first_and_last(step: Profiles, busy: NDArray[np.intp]) -> Profiles:
    """Paths: nobody, everybody, then only asset k, then everybody but asset k."""
    count = step.sizes["asset"]
    alone = np.zeros((len(busy), count))
    alone[np.arange(len(busy)), busy] = 1.0
    there = np.vstack([np.zeros(count), np.ones(count), alone, 1.0 - alone])
    present = xr.DataArray(
        there, dims=("path", "asset"), coords={"asset": step["asset"], "path": np.arange(len(there))}
    )
    powers = {name: (step[name] * present).transpose("path", "time", "asset") for name in ("p_mw", "q_mvar")}
    return step[["p_mw", "q_mvar"]].assign(powers)


def _halves(flow: PowerFlow, quantity: str, names: NDArray[np.str_]) -> pd.DataFrame:
    values = flow[quantity].to_numpy()[:, 0, :]
    nobody, everybody = values[0], values[1]
    first = values[2 : 2 + len(names)] - nobody
    last = everybody - values[2 + len(names) :]
    columns = flow[flow[quantity].dims[-1]].to_numpy()
    return pd.DataFrame((first + last) / 2, index=pd.Index(names, name="asset"), columns=columns)


def name_contributors(contributions: pd.Series, *, most: int = 5) -> str:
    """The largest contributors in words, `car 7 (31 %), heat pump 2 (12 %)`.

    Parameters
    ----------
    contributions : Series
        By asset, positive towards the violation.
    most : int, default 5
        Number of names. Percentages are of the sum over all assets: where some
        work against the violation, those of the others add up to more than 100.
    """
    total = contributions.sum()
    if not np.isfinite(total) or abs(total) < FLAT:
        return ""
    largest = (
        contributions[contributions / abs(total) > SMALLEST_SHARE]
        .sort_values(ascending=False, kind="stable")
        .head(most)
    )
    return ", ".join(f"{name} ({100 * value / total:.0f} %)" for name, value in largest.items())
