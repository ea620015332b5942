"""Power that its owner declares: nothing is left to forecast."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gridtwin.data.profiles import Profiles


def declare_power(forecast: xr.Dataset, profiles: Profiles, kind: str) -> xr.Dataset:
    """The forecast with the assets of one kind as their profiles say, on every path and quantile.

    Parameters
    ----------
    forecast : Dataset
        Forecast of all assets.
    profiles : Profiles
        What was declared, over at least the same times. [MW], [Mvar]
    kind : str
        Kind of asset whose power is announced, such as batch jobs with their unscheduled run.
    """
    columns = np.flatnonzero(forecast["kind"].to_numpy().astype(str) == kind)
    if not len(columns):
        return forecast
    names = forecast["asset"].to_numpy()[columns]
    known = profiles.sel(time=forecast["time"].to_numpy(), asset=names).transpose("time", "asset")
    declared = {}
    for name in ("p_mw", "q_mvar", "p_quantile_mw", "p_mean_mw", "p_naive_mw"):
        values = forecast[name].to_numpy().copy()
        values[..., columns] = known["q_mvar" if name == "q_mvar" else "p_mw"].to_numpy()
        declared[name] = (forecast[name].dims, values, forecast[name].attrs)
    status = forecast["status"].to_numpy().astype(object)
    status[columns] = "declared"
    return forecast.assign(declared).assign_coords(status=("asset", status.astype(str)))
