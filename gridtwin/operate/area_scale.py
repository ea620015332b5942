"""A declared control area at its size: from shares of the load to megawatts, from the market's rules to ramps."""

from __future__ import annotations

from gridtwin.data.control_area import AreaBid, AreaRules
from gridtwin.data.market_rules import MarketRules
from gridtwin.operate.control_system import (
    BalancingBid,
    ControlArea,
    ControlSystem,
    ControlTimes,
    DroopReserve,
    EnergyStore,
)

AREA = "control area"
"""Name of the one area."""
NOMINAL_HZ = 50.0
PRODUCTS = {"aFRR": "afrr", "mFRR": "mfrr"}
"""Products of the market -> of the simulation."""


def scale_control_area(
    rules: AreaRules, market: MarketRules, *, load_mw: float, spot_eur_per_mwh: float
) -> ControlSystem:
    """The area with its reserves, bids and stores.

    Parameters
    ----------
    rules : AreaRules
        Everything by the load of the area, prices from spot.
    market : MarketRules
        Activation time and shortest activation of the products.
    load_mw : float
        Load of the area. [MW]
    spot_eur_per_mwh : float
        Mean day-ahead price, from which bids count. [EUR/MWh]

    Raises
    ------
    DataError
        If the market lacks a product.

    Notes
    -----
    The K factor is what the area answers by itself: FCR at its full deviation, and load damping.
    """
    load = rules.load
    damping = load.damping * load_mw / NOMINAL_HZ
    p_fcr_mw = rules.fcr.share * load_mw
    volume_mw = load_mw * min(bid_share(rules, "aFRR", direction) for direction in ("up", "down"))
    droop = DroopReserve(
        p_fcr_mw, rules.fcr.full_at_hz, rules.fcr.dead_band_hz, market.product_named("FCR").activation_seconds,
        rules.fcr.lag_s,
    )  # fmt: skip
    area = ControlArea(
        AREA,
        inertia_mws=load.inertia_s * load_mw,
        damping_mw_per_hz=damping,
        f_nominal_hz=NOMINAL_HZ,
        droop=(droop,),
        bias_mw_per_hz=damping + p_fcr_mw / rules.fcr.full_at_hz,
        afrr_proportional=rules.control.afrr_proportional,
        afrr_integral_s=rules.control.afrr_integral_s,
        mfrr_threshold_mw=rules.control.mfrr_threshold_share * volume_mw,
        mfrr_direct_share=rules.control.mfrr_direct_share,
        noise_mw=load.noise_share * load_mw,
        noise_s=60 * load.noise_minutes,
    )
    bids = tuple(_bid(bid, market, load_mw, spot_eur_per_mwh) for bid in rules.bid)
    return ControlSystem((area,), bids=bids, stores=_stores(rules, load_mw))


def bid_share(rules: AreaRules, product: str, direction: str) -> float:
    """Volume of a product in one direction by the load of the area. [-]"""
    return sum(bid.share for bid in rules.bid if (bid.product, bid.direction) == (product, direction))


def _bid(bid: AreaBid, market: MarketRules, load_mw: float, spot_eur_per_mwh: float) -> BalancingBid:
    product = market.product_named(bid.product)
    return BalancingBid(
        bid.name,
        AREA,
        bid.direction,
        bid.share * load_mw,
        spot_eur_per_mwh + bid.spread_eur_per_mwh,
        "afrr" if bid.product == "aFRR" else "mfrr",
        full_activation_s=product.activation_seconds if bid.activation_seconds is None else bid.activation_seconds,
        least_duration_s=60 * product.minimum_minutes,
        store=bid.store,
    )


def _stores(rules: AreaRules, load_mw: float) -> tuple[EnergyStore, ...]:
    power_mw = {s.name: load_mw * max(b.share for b in rules.bid if b.store == s.name) for s in rules.store}
    return tuple(EnergyStore(s.name, s.hours * power_mw[s.name], s.start_share, s.efficiency) for s in rules.store)


def divide_time(rules: AreaRules, market: MarketRules, *, duration_s: float, step_s: float) -> ControlTimes:
    """Steps, control cycles and settlement periods; manual reserves are scheduled by settlement period."""
    period_s = 60 * market.settlement.period_minutes
    return ControlTimes(
        duration_s,
        step_s=step_s,
        cycle_s=rules.control.cycle_s,
        period_s=period_s,
        schedule_s=period_s,
        direct_wait_s=market.product_named("mFRR").activation_seconds,
    )
