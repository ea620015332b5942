"""The re-solve within the day: the cheapest rest of the schedule for batteries, cars and heat pumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import axis_of
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.intraday_cost import Prices
from gridtwin.operate.intraday_outlook import Outlook, Resolve
from gridtwin.operate.intraday_reality import KINDS, Park, open_state, read_stays
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession, plugged_share
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.model import FlexibilityProblem, no_rows
from gridtwin.optimize.plan_devices import plan_devices
from gridtwin.scenario import Flexibility

AREA_BUS = "area"
UNIT = 100.0
"""Money units per EUR in the program: the model's own price of the highest power, which spreads what equal prices
leave open, then weighs 1e-5 EUR/kW and no longer moves the optimum by a cent."""
CHANGE_EUR_PER_KWH = 1e-5
"""Price of leaving the schedule in force: of equal schedules the old one. [EUR/kWh]"""


def build_resolve(*, time_limit_seconds: float = 10.0) -> Resolve:
    """A re-solve for `operate.intraday.run_intraday`: least cost of what is known, without network limits.

    Parameters
    ----------
    time_limit_seconds : float
        Of one solve. [s]

    Notes
    -----
    Minimises h (spot p + more deficit + less surplus) over the rest of the axis, with deficit - surplus = net power
    above the position and `more`, `less` what such power costs beside spot (as imbalance, or traded where that is
    cheaper), and wear, energy not delivered and comfort. Batteries end at least as full as the day-ahead schedule
    leaves them.
    """
    return lambda outlook: _plan_rest(outlook, time_limit_seconds)


def plan_day_ahead(
    twin: GridTwin, paths: xr.Dataset, sessions: pd.DataFrame, prices: xr.Dataset, flexibility: Flexibility
) -> xr.Dataset:
    """The cheapest schedule of all batteries, cars and heat pumps at day-ahead prices, for `run_intraday`.

    Parameters
    ----------
    twin : GridTwin
        Facts of the assets; kinds that `flexibility.kinds` leaves out are not scheduled.
    paths : Dataset
        Forecast: `p_mw` (path, time, asset). [MW]
    sessions : DataFrame
        Declared charging sessions.
    prices : Dataset
        `price_eur_per_mwh` (time).

    Returns
    -------
    Dataset
        `p_mw, p_base_mw` (time, asset), consumption positive. [MW]
    """
    axis = axis_of(paths)
    movable = [kind for kind in KINDS if kind in flexibility.kinds]
    facts = twin.assets[twin.assets["kind"].isin(movable)]
    park = Park(axis, facts, flexibility)
    base = paths["p_mw"].mean("path").transpose("time", "asset").sel(asset=facts.index.to_numpy()).to_numpy()
    spot = prices["price_eur_per_mwh"].sel(time=axis.times).to_numpy().astype(float)
    stays, pumps = read_stays(park, sessions), park.at("heat_pump")
    state, nothing = open_state(park, stays), np.zeros(axis.length)
    outlook = Outlook(park, 0, state, stays, nothing, np.maximum(base[:, pumps], 0.0), nothing,
                      Prices(spot, spot, spot), state.e_mwh)  # fmt: skip
    dims = ("time", "asset")
    planned = build_resolve(time_limit_seconds=flexibility.time_limit_seconds)(outlook)
    base = np.where(np.arange(len(facts)) == pumps[:, None], 1.0, 0.0).sum(axis=0) * np.maximum(base, 0.0)
    return xr.Dataset(
        {"p_mw": (dims, planned, {"units": "MW"}), "p_base_mw": (dims, base, {"units": "MW"})},
        coords={"time": axis.times, "asset": facts.index.to_numpy(dtype=str)},
        attrs={"step": axis.step.isoformat(), "zone": axis.zone},
    )


def _plan_rest(outlook: Outlook, time_limit_seconds: float) -> np.ndarray:
    """(time from `first`, asset) [MW]"""
    park, first = outlook.park, outlook.first
    power = np.zeros((park.axis.length - first, len(park.facts)))
    placed = [*_batteries(outlook), *_sessions(outlook), *_heat_pumps(outlook)]
    if not placed:
        return power
    prices = outlook.prices
    spot, more, less = (UNIT / KW_PER_MW * price[first:] for price in (prices.spot, prices.more, prices.less))
    problem = FlexibilityProblem(
        hours=np.full(len(power), park.hours),
        devices=tuple(device for _, device in placed),
        buses=(AREA_BUS,),
        terms=AreaTerms(spot, more, less),
        inflexible_kw=KW_PER_MW * (outlook.p_other_mw - outlook.position_mw)[first:],
        rows=no_rows(1),
        room_kw=np.zeros(0),
    )
    planned = plan_devices(problem, time_limit_seconds=time_limit_seconds)["p_kw"].to_numpy()
    np.add.at(power.T, [position for position, _ in placed], planned.T / KW_PER_MW)
    return power


def _keep(outlook: Outlook, position: int, device: Device) -> tuple[int, Device]:
    """The device with the schedule in force, where there is one."""
    if outlook.plan_mw is None:
        return position, device
    plan_kw = KW_PER_MW * outlook.plan_mw[outlook.first :, position]
    inside = device.plugged if isinstance(device, ChargingSession) else slice(None)
    planned = np.zeros(len(plan_kw))
    planned[inside] = plan_kw[inside]
    return position, replace(device, p_planned_kw=planned, change_eur_per_kwh=UNIT * CHANGE_EUR_PER_KWH)


def _batteries(outlook: Outlook) -> list[tuple[int, Device]]:
    park, steps, settings = outlook.park, outlook.park.axis.length - outlook.first, outlook.park.flexibility
    found: list[tuple[int, Device]] = []
    for k, position in enumerate(park.at("battery")):
        rated = KW_PER_MW * float(park.fact("battery", "p_rated_mw")[k])
        full = KW_PER_MW * float(park.fact("battery", "e_rated_mwh")[k])
        start = float(np.clip(KW_PER_MW * outlook.state.e_mwh[k], 0.0, full))
        least = np.zeros(steps)
        least[-1] = min(KW_PER_MW * outlook.e_end_mwh[k], start + steps * park.hours * rated * park.one_way, full)
        bound = np.full(steps, rated)
        found.append(_keep(outlook, position, Battery(
            park.facts.index[position], AREA_BUS, np.zeros(steps), -bound, bound, rated, rated, least, full, start,
            settings.battery_efficiency, UNIT * settings.wear_price_eur_per_kwh,
        )))  # fmt: skip
    return found


def _sessions(outlook: Outlook) -> list[tuple[int, Device]]:
    """Charging sessions with energy still to charge, from `first` on."""
    park, stays, first = outlook.park, outlook.stays, outlook.first
    edges, cars = np.arange(first, park.axis.length + 1, dtype=float), park.at("electric_car")
    found: list[tuple[int, Device]] = []
    for row in range(len(stays.car)):
        rest, due = (KW_PER_MW * max(float(e[row] - outlook.state.charged_mwh[row]), 0.0)
                     for e in (stays.e_mwh, stays.e_due_mwh))  # fmt: skip
        if not np.isfinite(stays.arrival[row]) or stays.departure[row] <= first or rest <= 0:
            continue
        position, nothing = int(cars[stays.car[row]]), np.zeros(len(edges) - 1)
        share = plugged_share(edges, stays.arrival[row], stays.departure[row])
        if not share.any():
            continue
        arrival, departure = (
            park.axis.start + float(t[row]) * park.axis.step for t in (stays.arrival, stays.departure)
        )
        found.append(_keep(outlook, position, ChargingSession(
            f"{park.facts.index[position]} {row}", AREA_BUS, nothing, nothing,
            KW_PER_MW * float(park.fact("electric_car", "p_rated_mw")[stays.car[row]]) * share,
            arrival, departure, 0.0, 0.0, min(due, rest), rest,
            UNIT * park.flexibility.unserved_price_eur_per_kwh,
            leaves=bool(departure <= park.axis.end),
        )))  # fmt: skip
    return found


def _heat_pumps(outlook: Outlook) -> list[tuple[int, Device]]:
    park, first, settings = outlook.park, outlook.first, outlook.park.flexibility
    found: list[tuple[int, Device]] = []
    for k, position in enumerate(park.at("heat_pump")):
        rated, ua, c, cop = (float(park.fact("heat_pump", name)[k])
                             for name in ("p_rated_mw", "ua_mw_per_k", "c_mwh_per_k", "cop"))  # fmt: skip
        base = KW_PER_MW * outlook.asked_mw[first:, k]
        found.append(_keep(outlook, position, HeatPump(
            park.facts.index[position], AREA_BUS, base, np.zeros(len(base)), np.full(len(base), KW_PER_MW * rated),
            KW_PER_MW * ua, KW_PER_MW * c, cop, float(outlook.state.kelvin[k]), settings.comfort_kelvin,
            UNIT * settings.comfort_price_eur_per_kelvin_hour,
        )))  # fmt: skip
    return found
