"""Tables of what the flexibility optimisation explains: prices, gains, causes and needs."""

from __future__ import annotations

import json

import pandas as pd
import xarray as xr

from gridtwin.report.long_table import lengthen, plain, with_local_times

ENERGY_PRICE = "price_eur_per_mwh"
PART_UNITS = {"reactive_congestion": "eur_per_mvarh", "reactive_voltage": "eur_per_mvarh"}
"""Part of a nodal price -> unit at the end of its column, where it is not `eur_per_mwh`."""


def nodal_price_table(prices: xr.Dataset | None, zone: str) -> pd.DataFrame:
    """Nodal price and its parts by time and bus; buses without a price on a day have no row there."""
    if prices is None:
        return pd.DataFrame()
    parts = [str(name) for name in prices.data_vars if name != ENERGY_PRICE]
    columns = {ENERGY_PRICE: ENERGY_PRICE} | {
        f"{part}_{PART_UNITS.get(part, 'eur_per_mwh')}": part for part in parts
    }  # fmt: skip
    arrays = {column: prices[name].transpose("time", "bus").to_numpy() for column, name in columns.items()}
    table = lengthen(arrays, prices[ENERGY_PRICE], "bus", zone=zone)
    return table.dropna(subset=[ENERGY_PRICE]).reset_index(drop=True)


def device_settlement_table(settlement: pd.DataFrame) -> pd.DataFrame:
    """Payments, own costs and gain of each device over the study, by its gain; unknown where a day's is."""
    if settlement.empty:
        return pd.DataFrame(columns=settlement.columns)
    money = [name for name in settlement if str(name).endswith("_eur")]
    of_device = settlement.set_index(["asset", "bus", "kind"])[money]
    unknown = of_device.isna().groupby(level=[0, 1, 2], sort=False).any()
    table = of_device.groupby(level=[0, 1, 2], sort=False).sum().mask(unknown)
    return table.sort_values("gain_eur", ascending=False, kind="stable").reset_index()


def cause_table(causes: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Why each missed wish was missed, with local times beside UTC."""
    return with_local_times(plain(causes), zone)


def flexibility_need_table(needs: pd.DataFrame, zone: str) -> pd.DataFrame:
    """What to ask for, largest first; buses and sensitivities as text, so that every reader of tables has them."""
    if not len(needs.columns):
        return pd.DataFrame()
    text = {"buses": needs["buses"].map(", ".join), "sensitivities": needs["sensitivities"].map(_json)}
    return with_local_times(plain(needs.assign(**text)), zone)


def _json(values: dict[str, float]) -> str:
    return json.dumps({bus: round(value, 6) for bus, value in values.items()}, ensure_ascii=False)
