"""The schedule in its checked layout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.nomenclature import attrs_of
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.reasons import REASONS
from gridtwin.time_axis import TimeAxis


def build_schedule(
    chosen: pd.DataFrame,
    axis: TimeAxis,
    *,
    p_kw: np.ndarray,
    p_base_kw: np.ndarray,
    e_kwh: np.ndarray,
    reason: np.ndarray,
) -> xr.Dataset:
    """Schedule of all days in the checked layout, MW and MWh.

    Parameters
    ----------
    chosen : DataFrame
        Flexible rows of `twin.assets`.
    axis : TimeAxis
        The studied steps.
    p_kw, p_base_kw, e_kwh, reason : ndarray, (time, asset)
        Plan, base, stored energy and reason codes.
    """
    dims = ("time", "asset")
    named = {"long_name": "power without a schedule", "units": "MW"}
    return xr.Dataset(
        {
            "p_mw": (dims, p_kw / KW_PER_MW, attrs_of("p_mw")),
            "p_base_mw": (dims, p_base_kw / KW_PER_MW, attrs_of("p_mw") | named),
            "e_mwh": (dims, e_kwh / KW_PER_MW, attrs_of("e_mwh")),
            "reason": (dims, reason.astype(str), {"long_name": "why", "codes": ", ".join(filter(None, REASONS))}),
        },
        coords={
            "time": axis.times,
            "asset": chosen.index.to_numpy(dtype=str),
            "element": ("asset", chosen["element"].to_numpy(dtype=str)),
            "index": ("asset", chosen["index"].to_numpy(dtype=int)),
            "kind": ("asset", chosen["kind"].to_numpy(dtype=str)),
        },
        attrs={"step": axis.step.isoformat(), "zone": axis.zone},
    )
