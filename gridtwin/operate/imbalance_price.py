"""The single price of imbalance of every settlement period: what balancing cost, and what the rules add to it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.data.market_rules import ImbalancePriceRules, MarketRules
from gridtwin.errors import Finding

OFFERED = ("offered_up_mwh", "offered_down_mwh")
BALANCED_MWH = 1e-9
"""A system imbalance up to this has no direction. [MWh]"""


def period_starts(times: pd.Series | pd.Index, rules: MarketRules) -> pd.DatetimeIndex:
    """Start of the settlement period of each time."""
    return pd.DatetimeIndex(times).floor(f"{60 * rules.settlement.period_minutes:g}s")


def price_periods(
    imbalances: pd.DataFrame, activations: pd.DataFrame, prices: pd.DataFrame, rules: MarketRules
) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Energy and price of every settlement period, see `PartySettlement.periods`.

    Parameters
    ----------
    imbalances : DataFrame
        `time, position_mwh, metered_mwh, imbalance_mwh` by party. [MWh]
    activations, prices : DataFrame
        As in `settle_parties`.
    rules : MarketRules
        Period, price rule and components.
    """
    sums = imbalances.groupby("time")[["imbalance_mwh", "metered_mwh", "position_mwh"]].sum()
    periods = pd.DataFrame({"system_imbalance_mwh": sums["imbalance_mwh"]})
    for side in ("up", "down"):
        chosen = activations[activations["direction"] == side]
        by_period = chosen["e_mwh"].astype(float).groupby(period_starts(chosen["time"], rules)).sum()
        periods[f"{side}_mwh"] = by_period.reindex(periods.index, fill_value=0.0)
    periods["unintended_mwh"] = sums["metered_mwh"] - sums["position_mwh"]
    floored = period_starts(prices.index, rules)
    periods["spot_eur_per_mwh"] = prices["price_eur_per_mwh"].astype(float).groupby(floored).mean()
    periods["energy_eur_per_mwh"], replaced = _energy_price(periods, activations, rules)
    offered, left_out = _offered(prices, floored, periods, rules)
    component = price_component_eur_per_mwh(
        periods["energy_eur_per_mwh"].to_numpy(),
        periods["spot_eur_per_mwh"].to_numpy(),
        periods["system_imbalance_mwh"].to_numpy(),
        _activated_share(periods, offered),
        rules.imbalance_price,
    )
    total = periods["energy_eur_per_mwh"] + component
    return periods.assign(component_eur_per_mwh=component, imbalance_eur_per_mwh=total), (*replaced, *left_out)


def _energy_price(
    periods: pd.DataFrame, activations: pd.DataFrame, rules: MarketRules
) -> tuple[pd.Series, tuple[Finding, ...]]:
    """Price by the price rule, from energy activated against the system imbalance; spot where there is none."""
    spot, imbalance = periods["spot_eur_per_mwh"], periods["system_imbalance_mwh"]
    if rules.imbalance_price.rule == "spot":
        return spot, ()
    priced = [product.name for product in rules.product if product.in_imbalance_price]
    chosen = activations[activations["product"].isin(priced) & (activations["e_mwh"] > 0)]
    times = period_starts(chosen["time"], rules)
    of_system = imbalance.reindex(times).to_numpy(dtype=float)
    needed = np.where(of_system > BALANCED_MWH, "up", np.where(of_system < -BALANCED_MWH, "down", ""))
    kept = chosen["direction"].to_numpy(dtype=str) == needed
    price = _price_by_rule(chosen[kept], times[kept], imbalance, rules).reindex(periods.index)
    without = int((price.isna() & (imbalance.abs() > BALANCED_MWH)).sum())
    return price.fillna(spot), _without_activation(without)


def _price_by_rule(
    chosen: pd.DataFrame, times: pd.DatetimeIndex, imbalance: pd.Series, rules: MarketRules
) -> pd.Series:
    price, volume = (chosen[name].astype(float) for name in ("price_eur_per_mwh", "e_mwh"))
    if rules.imbalance_price.rule == "volume_weighted":
        return (price * volume).groupby(times).sum() / volume.groupby(times).sum()
    dearest, cheapest = price.groupby(times).max(), price.groupby(times).min()
    return dearest.where(imbalance.reindex(dearest.index) > 0, cheapest)


def _without_activation(periods: int) -> tuple[Finding, ...]:
    if not periods:
        return ()
    return (
        Finding(
            "nothing was activated against the system imbalance: the spot price stands for the price of energy",
            where="settlement of parties",
            got=f"{periods} settlement periods",
            severity="info",
            code="GT-M22",
        ),
    )


def price_component_eur_per_mwh(
    energy_eur_per_mwh: np.ndarray,
    spot_eur_per_mwh: np.ndarray,
    system_imbalance_mwh: np.ndarray,
    activated_share: np.ndarray,
    rules: ImbalancePriceRules,
) -> np.ndarray:
    """What is added to the price of energy against the system imbalance. (period,) [EUR/MWh]

    Parameters
    ----------
    energy_eur_per_mwh, spot_eur_per_mwh : ndarray, (period,)
        Price by the price rule, and spot price. [EUR/MWh]
    system_imbalance_mwh : ndarray, (period,)
        Positive in a deficit. [MWh]
    activated_share : ndarray, (period,)
        Activated by offered energy in the direction of the imbalance; NaN where unknown. [-]
    rules : ImbalancePriceRules
        Incentive, scarcity and distance from spot.

    Notes
    -----
    sign(imbalance) (incentive + scarcity), then as much more as the distance from spot asks for.

    Examples
    --------
    >>> from gridtwin.data.market_rules import read_market_rules
    >>> prices, imbalance, share = np.array([60.0, 60.0]), np.array([2.0, -1.0]), np.array([0.95, 0.1])
    >>> price_component_eur_per_mwh(prices, prices, imbalance, share, read_market_rules("eu_standard").imbalance_price)
    array([210., -10.])
    """
    sign = np.where(np.abs(system_imbalance_mwh) > BALANCED_MWH, np.sign(system_imbalance_mwh), 0.0)
    added = np.where(np.abs(system_imbalance_mwh) > rules.incentive_above_mwh, rules.incentive_eur_per_mwh, 0.0)
    scarcity = np.zeros(len(sign))
    for step in rules.scarcity:
        scarcity = np.where(activated_share >= step.from_share, step.eur_per_mwh, scarcity)
    component = sign * (added + scarcity)
    if rules.keep_spot_distance:
        distance = np.maximum(rules.spot_distance_eur_per_mwh, rules.spot_distance_share * np.abs(spot_eur_per_mwh))
        reached = sign * (energy_eur_per_mwh + component - spot_eur_per_mwh)
        component = component + sign * np.maximum(distance - reached, 0.0)
    return np.asarray(component)


def _offered(
    prices: pd.DataFrame, floored: pd.DatetimeIndex, periods: pd.DataFrame, rules: MarketRules
) -> tuple[pd.DataFrame | None, tuple[Finding, ...]]:
    if not rules.imbalance_price.scarcity:
        return None, ()
    if all(name in prices for name in OFFERED):
        return prices[list(OFFERED)].astype(float).groupby(floored).sum().reindex(periods.index), ()
    missing = Finding(
        "the scarcity component is left out: what was offered is not known",
        where="settlement of parties",
        expected=" and ".join(OFFERED),
        do="Give the offered energy with the prices.",
        code="GT-M20",
    )
    return None, (missing,)


def _activated_share(periods: pd.DataFrame, offered: pd.DataFrame | None) -> np.ndarray:
    if offered is None:
        return np.full(len(periods), np.nan)
    short = periods["system_imbalance_mwh"].to_numpy() > 0
    activated = np.where(short, periods["up_mwh"], periods["down_mwh"])
    there = np.where(short, offered[OFFERED[0]], offered[OFFERED[1]])
    # nothing offered and nothing activated is scarcity, too: nobody stands ready
    return np.divide(activated, there, out=np.ones(len(periods)), where=there > 0)
