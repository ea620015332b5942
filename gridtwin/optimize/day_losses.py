"""Losses of a day as a straight line around a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.operate.losses import marginal_losses


@dataclass(frozen=True)
class Losses:
    """Losses at a plan, and what more consumption adds.

    Parameters
    ----------
    p_mw : ndarray, (time,)
        Mean losses of all paths. [MW]
    slope : ndarray, (time, bus)
        Losses per consumption at each bus, at the mean of the paths. [MW/MW]
    at_bus_mw : ndarray, (bus, time)
        Flexible power of the plan. [MW]
    """

    p_mw: np.ndarray
    slope: np.ndarray
    at_bus_mw: np.ndarray

    def error_percent(self, found: Losses) -> float:
        """Energy lost on the day by this line, against what was found at another plan. [%]"""
        moved = (found.at_bus_mw - self.at_bus_mw).T
        planned = float((self.p_mw + (self.slope * moved).sum(axis=1)).sum())
        lost = float(found.p_mw.sum())
        return 100 * abs(planned - lost) / lost if lost > 0 else 0.0


def linearise_losses(
    twin: GridTwin, paths: xr.Dataset, flow: xr.Dataset, buses: list[str], at_bus_mw: np.ndarray, *, priced: bool
) -> Losses:
    """Losses of all paths under a plan, with their slopes where losses have a price.

    Parameters
    ----------
    paths, flow : Profiles and PowerFlow
        Every path under the plan (path, time, asset), and its power flow.
    buses : list of str
        Buses of flexible assets.
    at_bus_mw : ndarray, (bus, time)
        Their flexible power. [MW]
    priced : bool
        Whether slopes are wanted; without a price they stay 0.
    """
    p_mw = np.nan_to_num(flow["p_loss_mw"].sum("branch").mean("path").to_numpy())
    if not priced or not buses:
        return Losses(p_mw, np.zeros(at_bus_mw.T.shape), at_bus_mw)
    mean = paths[["p_mw", "q_mvar"]].mean("path", keep_attrs=True)
    return Losses(p_mw, np.nan_to_num(marginal_losses(twin, mean, buses).to_numpy()), at_bus_mw)
