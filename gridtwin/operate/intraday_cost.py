"""What a course of the day costs: energy bought, imbalance, wear, energy not delivered, comfort."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from gridtwin.data.market_rules import MarketRules
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.operate.imbalance_price import price_component_eur_per_mwh
from gridtwin.operate.intraday_reality import Course, Park, State, Stays
from gridtwin.time_axis import TimeAxis

COURSES = ("day_ahead", "intraday", "foresight")
"""Day-ahead schedule alone, with decisions within the day, with everything known before."""
LARGE_MWH = 1e12
"""An imbalance above every threshold of the rules. [MWh]"""


@dataclass(frozen=True)
class Prices:
    """Prices of every interval. (time,) [EUR/MWh]

    Parameters
    ----------
    spot : ndarray
        Day-ahead price.
    short, long : ndarray
        Paid for a deficit, received for a surplus.
    distance : float
        What energy traded within the day costs beside the day-ahead price, either way; infinite without trade.
    """

    spot: np.ndarray
    short: np.ndarray
    long: np.ndarray
    distance: float = np.inf

    @property
    def more(self) -> np.ndarray:
        """Cost of drawing more than bought beside the day-ahead price, traded or as a deficit. (time,)"""
        return np.asarray(np.minimum(self.short - self.spot, self.distance))

    @property
    def less(self) -> np.ndarray:
        """Cost of drawing less than bought, traded or as a surplus. (time,)"""
        return np.asarray(np.minimum(self.spot - self.long, self.distance))

    def worth_trading(self, deviation: np.ndarray) -> np.ndarray:
        """The part of a deviation that is cheaper to trade than to leave, the same shape as given. (time,)"""
        premium = np.where(deviation > 0, self.short - self.spot, self.spot - self.long)
        return np.asarray(np.where(premium > self.distance, deviation, 0.0))


def read_prices_of_day(prices: xr.Dataset, axis: TimeAxis, rules: MarketRules) -> tuple[Prices, tuple[Finding, ...]]:
    """Day-ahead price and prices of imbalance on an axis.

    Raises
    ------
    DataError
        If a price is missing, or a surplus earns more than a deficit costs: then an area could earn without end.
    """
    names = ("price_eur_per_mwh", "short_eur_per_mwh", "long_eur_per_mwh")
    given = {name: prices[name].reindex(time=axis.times).to_numpy().astype(float) for name in names if name in prices}
    findings = [_error(f"{name} lacks values", got=f"{int(np.isnan(p).sum())} of {axis.length}")
                for name, p in given.items() if np.isnan(p).any()]  # fmt: skip
    if names[0] not in given:
        findings.append(_error(f"prices lack {names[0]}"))
    raise_errors(findings, DataError)
    spot, noted = given[names[0]], tuple[Finding, ...]()
    if set(names) <= set(given):
        read = Prices(spot, given[names[1]], given[names[2]])
    else:
        read, noted = price_as_system(spot, rules), (_as_system(rules),)
    distance = rules.intraday.trade_distance_eur_per_mwh
    if distance is not None:
        read = replace(read, distance=distance)
    if (read.short < read.long - 1e-9).any():
        raise DataError([_error("a surplus earns more than a deficit costs", expected="short >= long")])
    if (read.more + read.less < -1e-9).any():
        endless = _error(
            "trade within the day and imbalance together earn money without end",
            expected=f"prices of imbalance within {read.distance:g} EUR/MWh of spot on one side",
            do="Give prices as they were expected, or rules without trade_distance_eur_per_mwh.",
        )
        raise DataError([endless])
    return read, noted


def price_as_system(spot: np.ndarray, rules: MarketRules) -> Prices:
    """Prices of imbalance of an area that is the whole system: spot and what the rules add against a deviation.

    Examples
    --------
    >>> from gridtwin.data.market_rules import read_market_rules
    >>> prices = price_as_system(np.array([60.0]), read_market_rules("eu_standard"))
    >>> prices.short, prices.long
    (array([70.]), array([50.]))
    """
    unknown = np.full(len(spot), np.nan)
    deficit, surplus = (
        price_component_eur_per_mwh(spot, spot, np.full(len(spot), sign * LARGE_MWH), unknown, rules.imbalance_price)
        for sign in (1.0, -1.0)
    )
    return Prices(spot, spot + deficit, spot + surplus)


def cost_of_course(
    park: Park,
    prices: Prices,
    position_mw: np.ndarray,
    trade_mw: np.ndarray,
    imbalance_mwh: np.ndarray,
    course: Course,
    state: State,
    stays: Stays,
) -> dict[str, float]:
    """Energy and money of one course of the day; costs positive.

    Parameters
    ----------
    position_mw, trade_mw : ndarray, (time,)
        What was bought the day before and within the day. [MW]
    imbalance_mwh : ndarray, (time,)
        What was drawn above both. [MWh]
    course, state : Course, State
        What the devices did, and how they stand as the axis ends.
    stays : Stays
        Charging sessions as they really were.

    Notes
    -----
    total = position + trade + imbalance + wear + unserved + comfort: the terms that the re-solve minimises.
    """
    deficit, surplus = np.maximum(imbalance_mwh, 0.0), np.maximum(-imbalance_mwh, 0.0)
    flexibility, batteries = park.flexibility, park.at("battery")
    lacking = np.maximum(np.where(np.isfinite(stays.arrival), stays.e_due_mwh, 0.0) - state.charged_mwh, 0.0)
    traded = park.hours * float(np.abs(trade_mw).sum())
    trade_premium = prices.distance * traded if traded else 0.0
    parts = {
        "position_eur": park.hours * float(prices.spot @ position_mw),
        "trade_eur": park.hours * float(prices.spot @ trade_mw) + trade_premium,
        "imbalance_eur": float(prices.short @ deficit - prices.long @ surplus),
        "wear_eur": 1000 * flexibility.wear_price_eur_per_kwh * park.hours
        * float(np.maximum(-course.p_mw[:, batteries], 0.0).sum()),
        "unserved_eur": 1000 * flexibility.unserved_price_eur_per_kwh * float(lacking.sum()),
        "comfort_eur": _comfort_eur(park, course.kelvin),
    }  # fmt: skip
    return {
        "net_imbalance_mwh": float(imbalance_mwh.sum()),
        "absolute_imbalance_mwh": float(np.abs(imbalance_mwh).sum()),
        "imbalance_premium_eur": float((prices.short - prices.spot) @ deficit + (prices.spot - prices.long) @ surplus),
        "trade_premium_eur": trade_premium,
        **parts,
        "total_eur": sum(parts.values()),
    }


def _comfort_eur(park: Park, kelvin: np.ndarray) -> float:
    """Rooms outside the comfort band, and heat owed as the axis ends, priced as in the plan."""
    if not kelvin.size:
        return 0.0
    beyond = np.maximum(np.abs(kelvin) - park.flexibility.comfort_kelvin, 0.0)
    fading_h = park.fact("heat_pump", "c_mwh_per_k") / park.fact("heat_pump", "ua_mw_per_k")
    owed = fading_h * np.maximum(-kelvin[-1], 0.0)
    return float(park.flexibility.comfort_price_eur_per_kelvin_hour * (park.hours * beyond.sum() + owed.sum()))


def _as_system(rules: MarketRules) -> Finding:
    return Finding(
        "no prices of imbalance are given: the area is taken as the whole system, balancing energy at the spot price",
        where="intraday",
        got=rules.citation(),
        do="Give short_eur_per_mwh and long_eur_per_mwh.",
        severity="info",
        code="GT-M23",
    )


def _error(what: str, **parts: str) -> Finding:
    return Finding(what, where="prices of imbalance", severity="error", code="GT-M26", **parts)
