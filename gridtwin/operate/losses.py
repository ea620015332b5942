"""What one more kWh at a bus costs in losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.nomenclature import attrs_of
from gridtwin.operate.power_flow import run_power_flow

STEP_MW = 1e-3
"""Change of consumption whose losses are compared; at 1e-9 MW of rounding the slope keeps six digits. [MW]"""
CHUNK_VALUES = 4_000_000
"""Values of a chunk of changed profiles that are held at once."""


def marginal_losses(twin: GridTwin, profiles: Profiles, buses: Sequence[str]) -> xr.DataArray:
    """Energy lost per energy more that is consumed at a bus.

    Parameters
    ----------
    twin : GridTwin
        The network.
    profiles : Profiles
        Operating points (time, asset), consumption positive. [MW], [Mvar]
    buses : sequence of str
        Buses with at least one asset.

    Returns
    -------
    DataArray, (time, bus)
        Marginal loss factor; negative where consumption relieves the network, NaN where a step has no
        solution. [MW/MW]

    Raises
    ------
    DataError
        If a bus has no asset.

    Notes
    -----
    Central difference of the slack's power, (P(p + d) - P(p - d)) / 2d - 1: the losses of everything between
    slack and bus, with the reactive power that they take.
    """
    columns = _asset_at(twin, buses)
    times, assets = profiles.sizes["time"], profiles.sizes["asset"]
    at_once = max(1, CHUNK_VALUES // (2 * times * assets))
    parts = [_slopes(twin, profiles, columns[first : first + at_once]) for first in range(0, len(columns), at_once)]
    return xr.DataArray(
        np.concatenate(parts).T,
        dims=("time", "bus"),
        coords={"time": profiles["time"].to_numpy(), "bus": list(buses)},
        name="marginal_loss",
        attrs=attrs_of("marginal_loss"),
    )


def _asset_at(twin: GridTwin, buses: Sequence[str]) -> np.ndarray:
    """Column of one asset at each bus that carries power."""
    carries = (twin.assets["element"] != "gen").to_numpy()
    of_bus = pd.Series(np.arange(len(twin.assets)), index=twin.assets["bus"].astype(str).to_numpy())[carries]
    first = of_bus[~of_bus.index.duplicated()].reindex(list(buses))
    if first.isna().any():
        lacking = ", ".join(map(str, first.index[first.isna()][:5]))
        raise DataError(
            [Finding("buses without an asset", expected="an asset to change", got=lacking, severity="error")]
        )
    return first.to_numpy(dtype=np.int64)


def _slopes(twin: GridTwin, profiles: Profiles, columns: np.ndarray) -> np.ndarray:
    """Marginal losses of one change per path. (column, time)"""
    p_mw = np.repeat(profiles["p_mw"].to_numpy()[None], 2 * len(columns), axis=0)
    up, each = np.arange(len(columns)), np.arange(len(columns))
    p_mw[up, :, columns[each]] += STEP_MW
    p_mw[len(columns) + up, :, columns[each]] -= STEP_MW
    q_mvar = np.broadcast_to(profiles["q_mvar"].to_numpy(), p_mw.shape)
    dims = ("path", "time", "asset")
    changed = xr.Dataset(
        {"p_mw": (dims, p_mw), "q_mvar": (dims, q_mvar)},
        coords={"path": np.arange(len(p_mw)), "time": profiles["time"], "asset": profiles["asset"]},
        attrs=profiles.attrs,
    )
    slack = run_power_flow(twin, changed, outputs=("p_slack_mw",))["p_slack_mw"].to_numpy()
    return np.asarray((slack[: len(columns)] - slack[len(columns) :]) / (2 * STEP_MW) - 1)
