"""Tables of the control area: frequency, reserves, stores, imbalance and its cost, over the paths and as it came."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.report.long_table import plain, timed
from gridtwin.report.results import StudyResults
from gridtwin.report.statistics import quantiles_over_paths

BAND = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
"""Quantiles over the paths. [-]"""


def area_frequency_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Mean frequency of each settlement period over the paths, and mean, lowest and highest as it came. [Hz]"""
    area = results.area
    if area is None:
        return pd.DataFrame()
    columns = _over_paths(area["f_hz"], "f", "hz")
    for extreme in ("min", "max"):
        columns[f"f_realised_{extreme}_hz"] = _realised(area[f"f_{extreme}_hz"])
    return timed(columns, area, zone)


def area_activation_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Mean power of each product and direction, injection positive, so that downward is negative. [MW]"""
    return _long(results.area, "p_activation_mw", "activation", zone)


def area_store_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """State of charge of each reserve battery at the end of each settlement period. [%]"""
    return _long(results.area, "soc_percent", "store", zone)


def area_imbalance_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Imbalance of the network and of the area, deficit positive, their price, and what the network pays."""
    area = results.area
    if area is None:
        return pd.DataFrame()
    names = {
        "imbalance_mwh": ("imbalance", "mwh"),
        "system_imbalance_mwh": ("system_imbalance", "mwh"),
        "imbalance_price_eur_per_mwh": ("price", "eur_per_mwh"),
        "imbalance_cost_eur": ("cost", "eur"),
        "imbalance_premium_eur": ("premium", "eur"),
    }
    columns: dict[str, np.ndarray] = {"p_programme_mw": area["p_programme_mw"].to_numpy()}
    for variable, (stem, unit) in names.items():
        columns |= _over_paths(area[variable], stem, unit)
    return timed(columns, area, zone)


def area_cost_table(results: StudyResults) -> pd.DataFrame:
    """Cost and energy of the network's imbalance over the study, one row per scenario."""
    return plain(results.area_costs)


def area_account_table(results: StudyResults) -> pd.DataFrame:
    """What each party and provider received over the study as it came; the sum is zero. [EUR]"""
    return plain(results.area_accounts)


def _long(area: xr.Dataset | None, variable: str, item: str, zone: str) -> pd.DataFrame:
    if area is None or not area.sizes[item]:
        return pd.DataFrame()
    stem, _, unit = variable.rpartition("_")
    parts = []
    for name in area[item].to_numpy():
        columns = _over_paths(area[variable].sel({item: name}), stem, unit)
        table = timed(columns, area, zone)
        table.insert(2, item, str(name))
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _over_paths(values: xr.DataArray, stem: str, unit: str) -> dict[str, np.ndarray]:
    """Quantiles over the paths and what came, by time."""
    paths = values.isel(scenario=values["case"].to_numpy() == "path").transpose("scenario", "time").to_numpy()
    quantiles = quantiles_over_paths(paths, tuple(BAND.values()))
    columns = {f"{stem}_{word}_{unit}": column for word, column in zip(BAND, quantiles, strict=True)}
    return columns | {f"{stem}_realised_{unit}": _realised(values)}


def _realised(values: xr.DataArray) -> np.ndarray:
    return np.asarray(values.isel(scenario=-1).to_numpy())
