"""Settlement of balancing: energy and money of every interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.scenario import Balancing, Reserve
from gridtwin.time_axis import TimeAxis


def imbalance_price_eur_per_mwh(price_eur_per_mwh: np.ndarray, settings: Balancing) -> np.ndarray:
    """Price of one MWh that stays unbalanced, either way.

    Parameters
    ----------
    price_eur_per_mwh : ndarray
        Day-ahead price, may be negative. [EUR/MWh]
    settings : Balancing
        Factor and floor.

    Returns
    -------
    ndarray
        max(floor, factor |day-ahead price|), NaN where the price is. [EUR/MWh]

    Examples
    --------
    >>> imbalance_price_eur_per_mwh(np.array([100.0, 10.0, -60.0]), Balancing())
    array([150.,  50.,  90.])
    """
    scaled = settings.imbalance_price_factor * np.abs(price_eur_per_mwh)
    return np.asarray(np.maximum(settings.imbalance_price_floor_eur_per_mwh, scaled))


def settle_balancing(
    dataset: xr.Dataset, axis: TimeAxis, prices: xr.Dataset | None, *, settings: Balancing
) -> pd.DataFrame:
    """Energy and money of every interval.

    Parameters
    ----------
    dataset : Dataset
        Balancing on its fine axis: `p_planned_mw, p_deviation_mw, p_battery_mw,
        p_reserve_mw, p_residual_mw` (time), consumption positive, and
        `p_activated_mw` (time, reserve), never negative. [MW]
    axis : TimeAxis
        Settlement intervals.
    prices : Dataset or None
        `price_eur_per_mwh` (time). Without it the columns that need it are NaN.
    settings : Balancing
        Bids and price of imbalance.

    Returns
    -------
    DataFrame
        Index: interval start, UTC. Energy in MWh, consumption positive: `plan_mwh`,
        `deviation_mwh`, `battery_mwh`, `reserve_mwh` (upward activation negative),
        `residual_mwh`. Activated energy by bid, never negative:
        `activated_<bid>_mwh`, `up_mwh`, `down_mwh`. Money, a cost positive.

    Notes
    -----
    deviation = -(battery + reserve) + residual. An interval pays for its net
    residual; what cancels within it is free, as in the settlement of balance groups.
    """
    energy = _energy_by_interval(dataset, axis)
    activated = _activated_by_interval(dataset, axis)
    money = _money(energy, activated, _prices_of(axis, prices), settings)
    return pd.concat([energy, activated, money], axis=1)


def _energy_by_interval(dataset: xr.Dataset, axis: TimeAxis) -> pd.DataFrame:
    names = {"p_planned_mw": "plan_mwh", "p_deviation_mw": "deviation_mwh", "p_battery_mw": "battery_mwh",
             "p_reserve_mw": "reserve_mwh", "p_residual_mw": "residual_mwh"}  # fmt: skip
    columns = {column: energy_of(dataset[name].to_numpy(), axis) for name, column in names.items()}
    return pd.DataFrame(columns, index=axis.times)


def _activated_by_interval(dataset: xr.Dataset, axis: TimeAxis) -> pd.DataFrame:
    energy = energy_of(dataset["p_activated_mw"].to_numpy(), axis)
    upward = dataset["direction"].to_numpy() == "up"
    columns = {f"activated_{name}_mwh": energy[:, i] for i, name in enumerate(dataset["reserve"].to_numpy())}
    sums = {"up_mwh": energy[:, upward].sum(axis=1), "down_mwh": energy[:, ~upward].sum(axis=1)}
    return pd.DataFrame({**columns, **sums}, index=axis.times)


def energy_of(power_mw: np.ndarray, axis: TimeAxis) -> np.ndarray:
    """Energy per interval of powers on a finer axis that divides it, first dimension time. [MWh]

    >>> axis = TimeAxis(pd.Timestamp("2016-01-01"), pd.Timedelta(minutes=15), 2)
    >>> energy_of(np.array([1.0, 3.0, 0.0, 0.0]), axis)
    array([0.5, 0. ])
    """
    per_interval = power_mw.reshape(axis.length, len(power_mw) // axis.length, *power_mw.shape[1:])
    return np.asarray(per_interval.mean(axis=1) * axis.hours_per_step)


def _prices_of(axis: TimeAxis, prices: xr.Dataset | None) -> np.ndarray:
    if prices is None:
        return np.full(axis.length, np.nan)
    return np.asarray(prices["price_eur_per_mwh"].sel(time=axis.times), dtype=float)


def _money(energy: pd.DataFrame, activated: pd.DataFrame, price: np.ndarray, settings: Balancing) -> pd.DataFrame:
    bids = {f"activated_{bid.name}_eur": _signed_price(bid) * activated[f"activated_{bid.name}_mwh"]
            for bid in settings.reserve}  # fmt: skip
    money = pd.DataFrame(bids, index=energy.index)
    reserve_eur = money.sum(axis=1)
    imbalance_price = imbalance_price_eur_per_mwh(price, settings)
    money = money.assign(
        price_eur_per_mwh=price,
        imbalance_price_eur_per_mwh=imbalance_price,
        plan_eur=price * energy["plan_mwh"],
        reserve_eur=reserve_eur,
        imbalance_eur=imbalance_price * energy["residual_mwh"].abs(),
    )
    total = money["plan_eur"] + money["reserve_eur"] + money["imbalance_eur"]
    return money.assign(total_eur=total)


def _signed_price(bid: Reserve) -> float:
    """Cost of one activated MWh: paid for upward, received for downward energy. [EUR/MWh]"""
    return bid.price_eur_per_mwh if bid.direction == "up" else -bid.price_eur_per_mwh
