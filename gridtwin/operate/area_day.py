"""The studied network in its control area: what its imbalance does there, and what it costs by the market's rules.

The network announced a programme, the mean over its forecast paths with the schedule in place. Every path, and the
day as it came, deviates from that. A declared control area around it has imbalances of its own, holds the frequency
with its reserves, and settles every party. Energy in MWh, consumption positive: a positive imbalance is a deficit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.control_area import AreaRules
from gridtwin.data.market_rules import MarketRules
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.nomenclature import attrs_of
from gridtwin.operate.area_control import AreaControl, run_area_control
from gridtwin.operate.area_scale import AREA, NOMINAL_HZ, PRODUCTS, bid_share, divide_time, scale_control_area
from gridtwin.operate.control_system import ControlInputs, ControlSystem
from gridtwin.operate.imbalance_price import period_starts
from gridtwin.operate.party_settlement import PartySettlement, settle_parties

NETWORK, REST = "studied network", "rest of the area"
"""Parties: the rest also answers for FCR, load damping and all providers."""
FCR_PROVIDERS = "providers of FCR"
STEP_S = 1.0
"""Step of the simulation. [s]"""
DIRECTIONS = ("up", "down")
ACTIVATIONS = ("FCR", *(f"{product} {direction}" for product in PRODUCTS for direction in DIRECTIONS))
"""What is activated, in the order of dataset, table and figure."""


@dataclass(frozen=True)
class AreaDay:
    """The control area over the study in every forecast path, and as it came.

    Parameters
    ----------
    dataset : Dataset
        By settlement period; of (scenario, time): `f_hz, f_min_hz, f_max_hz` [Hz]; `imbalance_mwh` of the network and
        `system_imbalance_mwh`, deficit positive [MWh]; `imbalance_price_eur_per_mwh` [EUR/MWh]; `imbalance_cost_eur`,
        paid by the network, and `imbalance_premium_eur`, the part beside the day-ahead price [EUR].
        `p_activation_mw` (scenario, time, activation), injection positive, so that "down" is negative [MW];
        `soc_percent` (scenario, time, store), at the end [%]; `p_programme_mw` (time) [MW]. `case` (scenario) is
        "path", of the last one "realised".
    costs : DataFrame
        One row per scenario: `scenario, case, imbalance_cost_eur, imbalance_premium_eur, deficit_mwh,
        surplus_mwh` of the network.
    settlement : PartySettlement
        Of the day as it came, capacity included; the accounts sum to zero.
    load_mw : float
        Load of the area. [MW]
    findings : tuple of Finding
        What is assumed, and where reserves did not suffice.
    """

    dataset: xr.Dataset
    costs: pd.DataFrame
    settlement: PartySettlement
    load_mw: float
    findings: tuple[Finding, ...] = ()


def run_area_day(
    scheduled: xr.Dataset,
    actual: xr.Dataset,
    prices: xr.Dataset | None,
    area: AreaRules,
    market: MarketRules,
    *,
    seed: int = 0,
    threads: int | None = None,
) -> AreaDay:
    """Balance and settle the control area around the network, for every forecast path and the day as it came.

    Parameters
    ----------
    scheduled : Dataset
        `p_mw` (path, time, asset) of the forecast with the schedule in place, consumption positive. [MW]
    actual : Dataset
        `p_mw` (time, asset) as it came, at the same times. [MW]
    prices : Dataset or None
        `price_eur_per_mwh` (time), day-ahead; None: the area's assumed price. [EUR/MWh]
    area : AreaRules
        The area, by the largest power of the network.
    market : MarketRules
        Settlement period, imbalance price, products.
    seed : int, default 0
        Of the imbalance of the rest of the area, which differs from scenario to scenario.
    threads : int, optional
        Threads that share the scenarios; results do not depend on it. Default: one per core.

    Returns
    -------
    AreaDay

    Raises
    ------
    DataError
        If times do not fit together or to the settlement period, or the network takes no power at all.

    Notes
    -----
    imbalance = metered - programme, Regulation (EU) 2017/2195, Art. 54; programme = mean over the paths; premium =
    (imbalance price - day-ahead price) x imbalance, what a perfect forecast would have saved. Power is
    constant within a step of the study, so that it jumps where real power ramps. Bids of the scenario from outside
    the network take no part: here the area's reserves cover what the network leaves.
    """
    paths_mw, actual_mw, times = _network_power(scheduled, actual, market)
    programme_mw = paths_mw.mean(axis=0)
    deviation_mw = np.vstack([paths_mw, actual_mw]) - programme_mw
    load_mw = area.size.peak_multiple * float(np.abs(paths_mw).max())
    spot, replaced = _spot_prices(prices, times, area)
    step_s = (times[1] - times[0]).total_seconds()
    system = scale_control_area(area, market, load_mw=load_mw, spot_eur_per_mwh=float(spot.mean()))
    parts = divide_time(area, market, duration_s=step_s * len(times), step_s=STEP_S)
    load = xr.DataArray(deviation_mw.T[:, np.newaxis], dims=("time", "area", "scenario"), coords={"area": [AREA]})
    controlled = run_area_control(system, parts, ControlInputs(load_mw=load, seed=seed), threads=threads)
    ledger = _Ledger(system, controlled, times, programme_mw, deviation_mw, spot, market)
    settled = ledger.settle(range(len(deviation_mw)))
    realised = ledger.settle([len(deviation_mw) - 1], _capacities(area, system, times[0], parts.duration_s / 3600))
    dataset = _label(ledger, settled)
    findings = (_assumed(area, load_mw), _unread(market), *replaced, *_short_reserves(dataset, area))
    every = tuple(finding for finding in findings if finding is not None)
    return AreaDay(dataset, sum_costs(dataset), realised, load_mw, (*every, *realised.findings))


# --- inputs -----------------------------------------------------------------------------------------------------------


def _network_power(
    scheduled: xr.Dataset, actual: xr.Dataset, market: MarketRules
) -> tuple[np.ndarray, np.ndarray, pd.DatetimeIndex]:
    """Power of the whole network, (path, time) and (time,), and the times. [MW]"""
    times = pd.DatetimeIndex(scheduled.indexes["time"])
    findings = [*_check_times(times, pd.DatetimeIndex(actual.indexes["time"]), market)]
    raise_errors(findings, DataError)
    paths_mw = scheduled["p_mw"].transpose("path", "time", "asset").to_numpy().sum(axis=2)
    actual_mw = actual["p_mw"].transpose("time", "asset").to_numpy().sum(axis=1)
    for name, power in (("forecast paths", paths_mw), ("realised power", actual_mw)):
        if not np.isfinite(power).all():
            findings.append(_error("power has gaps", name, "a number everywhere", int((~np.isfinite(power)).sum())))
    if not findings and not np.abs(paths_mw).max() > 0:
        findings.append(_error("the network takes no power, so its area has no size", "forecast paths", "above 0", 0))
    raise_errors(findings, DataError)
    return paths_mw, actual_mw, times


def _check_times(times: pd.DatetimeIndex, others: pd.DatetimeIndex, market: MarketRules) -> list[Finding]:
    if not times.equals(others):
        return [_error("forecast and realised power have other times", "time", str(times[0]), others[0])]
    if len(times) < 2:
        return [_error("one step makes no day", "time", "two steps or more", len(times))]
    step, period = times[1] - times[0], pd.Timedelta(minutes=market.settlement.period_minutes)
    fits = period % step == pd.Timedelta(0) and (len(times) * step) % period == pd.Timedelta(0)
    if not fits or not times[:1].equals(period_starts(times[:1], market)):
        return [_error("steps do not fill settlement periods", "time", f"whole periods of {period}", step)]
    return []


def _error(what: str, where: str, expected: str, got: object) -> Finding:
    return Finding(what, where=where, expected=expected, got=str(got), severity="error", code="GT-O94")


def _spot_prices(
    prices: xr.Dataset | None, times: pd.DatetimeIndex, area: AreaRules
) -> tuple[pd.Series, tuple[Finding, ...]]:
    """Day-ahead price of every step; the area's assumed price where there is none. [EUR/MWh]"""
    known = pd.Series(dtype=float) if prices is None else prices["price_eur_per_mwh"].to_series()
    spot = known.astype(float).reindex(times)
    missing = int(spot.isna().sum())
    if not missing:
        return spot, ()
    finding = Finding(
        f"a day-ahead price of {area.size.spot_eur_per_mwh:g} EUR/MWh is assumed in the control area",
        where="prices",
        expected="a price of every step",
        got=f"{missing} of {len(times)} missing",
        do="Give [prices] in the scenario.",
        code="GT-O97",
    )
    return spot.fillna(area.size.spot_eur_per_mwh), (finding,)


# --- settlement -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ledger:
    """What the settlement of any scenario is made of."""

    system: ControlSystem
    controlled: AreaControl
    times: pd.DatetimeIndex
    programme_mw: np.ndarray
    deviation_mw: np.ndarray
    spot: pd.Series
    market: MarketRules

    @property
    def periods(self) -> pd.DatetimeIndex:
        """Start of each settlement period."""
        seconds = self.controlled["period"].to_numpy()
        return self.times[0] + pd.to_timedelta(seconds, unit="s")

    def by_period(self, power_mw: np.ndarray) -> np.ndarray:
        """Energy of each settlement period of power (..., step). [MWh]"""
        hours = (self.times[1] - self.times[0]) / pd.Timedelta(hours=1)
        count = len(self.controlled["period"])
        return np.asarray(hours * power_mw.reshape(*power_mw.shape[:-1], count, -1).sum(axis=-1))

    def settle(self, scenarios: range | list[int], capacities: pd.DataFrame | None = None) -> PartySettlement:
        """Settlement of scenarios, one after another on one time axis: no rule looks beyond its period."""
        chosen = np.asarray(list(scenarios))
        span = len(self.times) * (self.times[1] - self.times[0])
        shift = (np.arange(len(chosen)) * span.to_timedelta64())[:, np.newaxis]
        periods, steps = (index.to_numpy()[np.newaxis] + shift for index in (self.periods, self.times))
        prices = pd.DataFrame({"price_eur_per_mwh": np.tile(self.spot, len(chosen))}, index=steps.ravel())
        hours = (self.times[1] - self.times[0]) / pd.Timedelta(hours=1)
        for direction in DIRECTIONS:
            power_mw = sum(bid.p_mw for bid in self.system.bids if bid.direction == direction)
            prices[f"offered_{direction}_mwh"] = power_mw * hours
        positions = self._positions(chosen, periods)
        return settle_parties(positions, self._activations(chosen, periods), prices, self.market, capacities=capacities)

    def _positions(self, chosen: np.ndarray, periods: np.ndarray) -> pd.DataFrame:
        """The network by programme and meter, the rest by what it deviates."""
        programme = np.broadcast_to(self.by_period(self.programme_mw), periods.shape)
        own = self.by_period(self.deviation_mw[chosen])
        hours = float(self.by_period(np.ones(len(self.times)))[0])
        rest = _rest_mwh(self.system, self.controlled.isel(scenario=chosen), own, hours)
        tables = [
            pd.DataFrame({"time": periods.ravel(), "party": party, "position_mwh": position.ravel(),
                          "metered_mwh": (position + deviation).ravel()})
            for party, position, deviation in ((NETWORK, programme, own), (REST, np.zeros_like(own), rest))
        ]  # fmt: skip
        return pd.concat(tables, ignore_index=True)

    def _activations(self, chosen: np.ndarray, periods: np.ndarray) -> pd.DataFrame:
        """Energy of every bid that gave any."""
        energy = self.controlled["e_bid_mwh"].isel(scenario=chosen).transpose("scenario", "period", "bid").to_numpy()
        scenario, period, bid = np.nonzero(energy > 0)
        named = {bid.name: bid for bid in self.system.bids}
        order = [named[str(name)] for name in self.controlled["bid"].to_numpy()]
        products = {ours: theirs for theirs, ours in PRODUCTS.items()}
        return pd.DataFrame(
            {
                "time": periods[scenario, period],
                "party": REST,
                "provider": np.array([b.name for b in order])[bid],
                "product": np.array([products[b.product] for b in order])[bid],
                "direction": np.array([b.direction for b in order])[bid],
                "e_mwh": energy[scenario, period, bid],
                "price_eur_per_mwh": np.array([b.price_eur_per_mwh for b in order])[bid],
            }
        )


def _rest_mwh(system: ControlSystem, controlled: AreaControl, own_mwh: np.ndarray, hours: float) -> np.ndarray:
    """What the rest of the area draws beyond its programme, reserves and load damping included. (scenario, period)"""
    area, part = system.areas[0], controlled.isel(area=0).transpose("scenario", "period", ...)
    damping_mw = area.damping_mw_per_hz * (part["f_hz"].to_numpy() - area.f_nominal_hz)
    given_mw = part["p_droop_mw"].to_numpy() + part["p_reserve_mw"].to_numpy()
    return np.asarray(hours * (part["p_load_mw"].to_numpy() + damping_mw - given_mw) - own_mwh)


def _capacities(area: AreaRules, system: ControlSystem, start: pd.Timestamp, hours: float) -> pd.DataFrame:
    """Power held ready over the whole study; FCR is one product both ways, so each way carries half its price."""
    price = {"aFRR": area.capacity_price.afrr_eur_per_mw_h, "mFRR": area.capacity_price.mfrr_eur_per_mw_h}
    products = {ours: theirs for theirs, ours in PRODUCTS.items()}
    p_fcr_mw, half = system.areas[0].droop[0].p_mw, area.capacity_price.fcr_eur_per_mw_h / 2
    rows = [(FCR_PROVIDERS, "FCR", direction, p_fcr_mw, half) for direction in DIRECTIONS]
    rows += [
        (bid.name, products[bid.product], bid.direction, bid.p_mw, price[products[bid.product]]) for bid in system.bids
    ]
    table = pd.DataFrame(rows, columns=["provider", "product", "direction", "p_mw", "price_eur_per_mw_h"])
    return table.assign(time=start, hours=hours)


# --- results ----------------------------------------------------------------------------------------------------------


def _label(ledger: _Ledger, settled: PartySettlement) -> xr.Dataset:
    """Everything of (scenario, time) with its name."""
    shape = (len(ledger.deviation_mw), len(ledger.periods))
    part = ledger.controlled.isel(area=0).transpose("scenario", "period", ...)
    own = settled.imbalances[settled.imbalances["party"] == NETWORK].sort_values("time")
    values = {name: part[name].to_numpy() for name in ("f_hz", "f_min_hz", "f_max_hz")} | {
        "imbalance_mwh": own["imbalance_mwh"].to_numpy().reshape(shape),
        "system_imbalance_mwh": settled.periods["system_imbalance_mwh"].to_numpy().reshape(shape),
        "imbalance_price_eur_per_mwh": settled.periods["imbalance_eur_per_mwh"].to_numpy().reshape(shape),
        "imbalance_cost_eur": own["paid_eur"].to_numpy().reshape(shape),
    }
    spot = settled.periods["spot_eur_per_mwh"].to_numpy().reshape(shape)
    values["imbalance_premium_eur"] = values["imbalance_cost_eur"] - spot * values["imbalance_mwh"]
    energy_mwh = np.array([store.e_mwh for store in ledger.system.stores])
    stored = part["e_mwh"].transpose("scenario", "period", "store").to_numpy()
    programme_mw = ledger.by_period(ledger.programme_mw) / ledger.by_period(np.ones(len(ledger.times)))
    variables = {name: (("scenario", "time"), array, attrs_of(name)) for name, array in values.items()} | {
        "p_activation_mw": (("scenario", "time", "activation"), _activation_mw(ledger), attrs_of("p_activation_mw")),
        "soc_percent": (("scenario", "time", "store"), 100 * stored / energy_mwh, attrs_of("soc_percent")),
        "p_programme_mw": (("time",), programme_mw, attrs_of("p_programme_mw")),
    }
    cases = ["path"] * (shape[0] - 1) + ["realised"]
    coords = {"scenario": np.arange(shape[0]), "case": ("scenario", cases), "time": ledger.periods,
              "activation": list(ACTIVATIONS), "store": [store.name for store in ledger.system.stores]}  # fmt: skip
    return xr.Dataset(variables, coords=coords, attrs={"sign": "imbalance: deficit positive; activation: injection"})


def _activation_mw(ledger: _Ledger) -> np.ndarray:
    """Mean power by product and direction, injection positive. (scenario, period, activation)"""
    kinds = {bid.name: (bid.product, bid.direction) for bid in ledger.system.bids}
    power = ledger.controlled["p_bid_mw"].transpose("scenario", "period", "bid").to_numpy()
    of_bid = [kinds[str(name)] for name in ledger.controlled["bid"].to_numpy()]
    sums = [ledger.controlled["p_droop_mw"].isel(area=0).transpose("scenario", "period").to_numpy()]
    for product in PRODUCTS.values():
        for direction, sign in (("up", 1.0), ("down", -1.0)):
            chosen = [kind == (product, direction) for kind in of_bid]
            sums.append(sign * power[..., chosen].sum(axis=-1))
    return np.stack(sums, axis=-1)


def sum_costs(dataset: xr.Dataset) -> pd.DataFrame:
    """Cost and energy of the network's imbalance over the study, one row per scenario."""
    imbalance = dataset["imbalance_mwh"].to_numpy()
    return pd.DataFrame(
        {
            "scenario": dataset["scenario"].to_numpy(),
            "case": dataset["case"].to_numpy().astype(str),
            "imbalance_cost_eur": dataset["imbalance_cost_eur"].to_numpy().sum(axis=1),
            "imbalance_premium_eur": dataset["imbalance_premium_eur"].to_numpy().sum(axis=1),
            "deficit_mwh": imbalance.clip(min=0).sum(axis=1),
            "surplus_mwh": -imbalance.clip(max=0).sum(axis=1),
        }
    )


# --- findings ---------------------------------------------------------------------------------------------------------


def _assumed(area: AreaRules, load_mw: float) -> Finding:
    unread = area.unchecked()
    return Finding(
        f"the control area around the network is assumed: {area.title}, {load_mw:.3g} MW, {area.size.peak_multiple:g} "
        "times the network's largest power",
        where="balancing.area",
        got=f"{area.name} {area.version}" + (f", not read in the source: {', '.join(unread)}" if unread else ""),
        severity="info",
        code="GT-O95",
    )


def _unread(market: MarketRules) -> Finding | None:
    unread = market.unchecked()
    if not unread:
        return None
    return Finding(
        f"rules of the balancing market were not read in their source: {market.title}",
        where="balancing.market",
        got=f"{market.name} {market.version}: {', '.join(unread)}",
        severity="info",
        code="GT-O96",
    )


def _short_reserves(dataset: xr.Dataset, area: AreaRules) -> tuple[Finding, ...]:
    """Periods whose mean frequency asks for more than all FCR."""
    beyond = int((np.abs(dataset["f_hz"].to_numpy() - NOMINAL_HZ) > area.fcr.full_at_hz).sum())
    if not beyond:
        return ()
    up, down = (sum(bid_share(area, product, way) for product in PRODUCTS) for way in DIRECTIONS)
    return (
        Finding(
            "the reserves of the control area do not suffice: its frequency stays beyond full activation of FCR",
            where="balancing.area",
            expected=f"imbalances up to {up:.1%} and {down:.1%} of the area's load",
            got=f"{beyond} of {dataset['f_hz'].size} settlement periods of all scenarios",
            do="Make the area larger (size.peak_multiple) or give it more bids.",
            code="GT-O98",
        ),
    )
