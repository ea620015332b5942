"""What each flexible asset can do on one local day, in kW and kWh.

The optimisation model works in kW: in MW the coefficients of a low-voltage network
come close to the solver's tolerances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd

from gridtwin.data.charging_sessions import SESSION_COLUMNS, uncontrolled_charging
from gridtwin.grid.twin import GridTwin
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

KW_PER_MW = 1000.0


@dataclass(frozen=True)
class FlexibleAsset:
    """An asset whose power can be chosen within a band on each step of a day.

    Parameters
    ----------
    name, bus : str
        Name of the asset and of its bus.
    p_base_kw : ndarray, (time,)
        What it would do unscheduled, consumption positive. [kW]
    p_min_kw, p_max_kw : ndarray, (time,)
        Band of its power, consumption positive. [kW]
    """

    name: str
    bus: str
    p_base_kw: np.ndarray
    p_min_kw: np.ndarray
    p_max_kw: np.ndarray


@dataclass(frozen=True)
class ChargingSession:
    """One car at its plug, as far as it lies on the day.

    Parameters
    ----------
    arrival, departure : Timestamp
        As declared, UTC.
    steps : range
        Steps on which the car is plugged in at least partly.
    p_max_kw : ndarray, (time,)
        Rated power times the plugged share of each interval. [kW]
    e_start_kwh : float
        Charged in this session before the day. [kWh]
    e_due_kwh : float
        To be charged by departure, or by the end of the day. [kWh]
    e_kwh : float
        Energy of the whole session. [kWh]
    leaves : bool
        Whether the car departs on this day.
    """

    arrival: pd.Timestamp
    departure: pd.Timestamp
    steps: range
    p_max_kw: np.ndarray
    e_start_kwh: float
    e_due_kwh: float
    e_kwh: float
    leaves: bool


@dataclass(frozen=True)
class ElectricCar(FlexibleAsset):
    """A charging point with its sessions of the day."""

    sessions: tuple[ChargingSession, ...]


@dataclass(frozen=True)
class HeatPump(FlexibleAsset):
    """A heat pump in a building of one resistance and one capacity.

    Parameters
    ----------
    ua_kw_per_k, c_kwh_per_k, cop : float
        Loss coefficient, heat capacity, heat per electric energy. [kW/K], [kWh/K], [-]
    kelvin_start : float
        Deviation of the room from what the thermostat would do, as the day begins. [K]
    """

    ua_kw_per_k: float
    c_kwh_per_k: float
    cop: float
    kelvin_start: float


@dataclass(frozen=True)
class Battery(FlexibleAsset):
    """A battery storage.

    Parameters
    ----------
    p_rated_kw, e_rated_kwh : float
        Rated power, usable energy. [kW], [kWh]
    e_start_kwh : float
        Stored energy as the day begins. [kWh]
    e_final_kwh : float
        Stored energy to have back as the day ends. [kWh]
    """

    p_rated_kw: float
    e_rated_kwh: float
    e_start_kwh: float
    e_final_kwh: float


@dataclass(frozen=True)
class PvSystem(FlexibleAsset):
    """A photovoltaic system whose feed-in can be curtailed."""


@dataclass(frozen=True)
class CarriedState:
    """What one day hands to the next: the *planned* end of the day before.

    Parameters
    ----------
    charged_kwh : mapping (asset, arrival) -> float
        Energy charged so far in sessions that go on. [kWh]
    kelvin : mapping asset -> float
        Deviation of the room temperature. [K]
    stored_kwh : mapping asset -> float
        Stored energy. [kWh]
    """

    charged_kwh: Mapping[tuple[str, pd.Timestamp], float] = field(default_factory=dict)
    kelvin: Mapping[str, float] = field(default_factory=dict)
    stored_kwh: Mapping[str, float] = field(default_factory=dict)


Kind = TypeVar("Kind", bound=FlexibleAsset)


def of_kind(assets: tuple[FlexibleAsset, ...], kind: type[Kind]) -> list[Kind]:
    """The assets of one kind, in their order."""
    return [asset for asset in assets if isinstance(asset, kind)]


def find_flexible_assets(twin: GridTwin, settings: Flexibility) -> pd.DataFrame:
    """Rows of `twin.assets` that the schedule may move.

    Assets whose owners agreed (`flexible`), and the network's own assets of the kinds
    in `settings.existing`; both only where the kind is in `settings.kinds`.
    """
    assets = twin.assets
    existing = (assets["origin"] == "network") & assets["kind"].isin(list(settings.existing))
    chosen = (assets["flexible"].astype(bool) | existing) & assets["kind"].isin(list(settings.kinds))
    return assets[chosen]


def expected_base(chosen: pd.DataFrame, axis: TimeAxis, p_mean_mw: np.ndarray, sessions: pd.DataFrame) -> np.ndarray:
    """What every flexible asset would do unscheduled. (time, asset) [MW]

    Parameters
    ----------
    chosen : DataFrame
        Flexible rows of `twin.assets`.
    axis : TimeAxis
        The studied days.
    p_mean_mw : ndarray, (time, asset)
        Mean forecast of these assets, consumption positive. [MW]
    sessions : DataFrame
        Declared charging sessions.

    Notes
    -----
    A heat pump or PV system follows the mean forecast, a battery is idle, a car
    charges at rated power from arrival on.
    """
    kinds, rated = chosen["kind"].to_numpy(dtype=str), chosen["p_rated_mw"].to_numpy(dtype=float)
    base = np.select(
        [kinds == "heat_pump", kinds == "pv"], [np.clip(p_mean_mw, 0.0, rated), np.minimum(p_mean_mw, 0.0)], 0.0
    )
    cars = chosen.loc[kinds == "electric_car", "p_rated_mw"]
    base[:, kinds == "electric_car"] = uncontrolled_charging(sessions_of(sessions, cars.index), axis, cars)
    return np.asarray(base)


def sessions_of(sessions: pd.DataFrame, names: pd.Index) -> pd.DataFrame:
    """Sessions of some assets."""
    return sessions[sessions["asset"].isin(names)]


def charged_uncontrolled(sessions: pd.DataFrame, chosen: pd.DataFrame, start: pd.Timestamp) -> CarriedState:
    """State before the first day: cars already plugged in have charged at rated power since arrival."""
    here = sessions_of(sessions, chosen.index)
    open_now = here[(here["arrival"] < start) & (here["departure"] > start)]
    charged: dict[tuple[str, pd.Timestamp], float] = {}
    for asset, arrival, _, e_mwh in _rows(open_now):
        hours = float((start - arrival) / pd.Timedelta(hours=1))
        charged[asset, arrival] = KW_PER_MW * min(e_mwh, float(chosen["p_rated_mw"][asset]) * hours)
    return CarriedState(charged_kwh=charged)


def _rows(sessions: pd.DataFrame) -> Iterator[tuple[str, pd.Timestamp, pd.Timestamp, float]]:
    """Asset, arrival, departure and energy of every session. [MWh]"""
    return zip(*(sessions[name].tolist() for name in SESSION_COLUMNS), strict=True)


def build_day_assets(
    chosen: pd.DataFrame,
    axis: TimeAxis,
    p_base_mw: np.ndarray,
    *,
    sessions: pd.DataFrame,
    carried: CarriedState,
    settings: Flexibility,
) -> tuple[FlexibleAsset, ...]:
    """Every flexible asset as it stands on one day, in the order of `chosen`.

    Parameters
    ----------
    chosen : DataFrame
        Flexible rows of `twin.assets`.
    axis : TimeAxis
        The local day, 92 to 100 quarter hours.
    p_base_mw : ndarray, (time, asset)
        What they would do unscheduled. [MW]
    sessions : DataFrame
        Declared charging sessions.
    carried : CarriedState
        Planned end of the day before.
    settings : Flexibility
        Battery start.
    """
    by_car = {str(name): part for name, part in sessions_of(sessions, chosen.index).groupby("asset")}
    build = {"electric_car": _build_car, "heat_pump": _build_heat_pump, "battery": _build_battery, "pv": _build_pv}
    return tuple(
        build[facts["kind"]](_Day(axis, str(name), facts, base, by_car.get(str(name)), carried, settings))
        for (name, facts), base in zip(chosen.iterrows(), KW_PER_MW * p_base_mw.T, strict=True)
    )


@dataclass(frozen=True)
class _Day:
    """All that is known about one asset and one day."""

    axis: TimeAxis
    name: str
    facts: pd.Series
    p_base_kw: np.ndarray
    sessions: pd.DataFrame | None
    carried: CarriedState
    settings: Flexibility

    @property
    def p_rated_kw(self) -> float:
        return KW_PER_MW * float(self.facts["p_rated_mw"])

    @property
    def bus(self) -> str:
        return str(self.facts["bus"])


def _build_car(day: _Day) -> ElectricCar:
    rows = [] if day.sessions is None else _rows(day.sessions)
    found = [_build_session(day, arrival, departure, KW_PER_MW * e_mwh) for _, arrival, departure, e_mwh in rows]
    sessions = tuple(session for session in found if session is not None)
    p_max_kw = np.sum([session.p_max_kw for session in sessions], axis=0) if sessions else np.zeros(day.axis.length)
    return ElectricCar(day.name, day.bus, day.p_base_kw, np.zeros(day.axis.length), p_max_kw, sessions)


def _build_session(day: _Day, arrival: pd.Timestamp, departure: pd.Timestamp, e_kwh: float) -> ChargingSession | None:
    """The part of a session that lies on the day; None where it does not touch it."""
    share = plugged_share(day.axis, arrival, departure)
    plugged = np.flatnonzero(share > 0)
    if not len(plugged):
        return None
    start_kwh = min(day.carried.charged_kwh.get((day.name, arrival), 0.0), e_kwh)
    due_kwh = max(start_kwh, e_kwh * share_due(arrival, departure, day.axis.end))
    steps = range(int(plugged[0]), int(plugged[-1]) + 1)
    leaves = departure <= day.axis.end
    return ChargingSession(arrival, departure, steps, day.p_rated_kw * share, start_kwh, due_kwh, e_kwh, leaves)


def plugged_share(axis: TimeAxis, arrival: pd.Timestamp, departure: pd.Timestamp) -> np.ndarray:
    """Share of each interval between arrival and departure. (time,) [-]"""
    begin = np.asarray((arrival - axis.start) / axis.step)
    end = np.asarray((departure - axis.start) / axis.step)
    edges = np.arange(axis.length)
    return np.asarray(np.clip(np.minimum(edges + 1, end) - np.maximum(edges, begin), 0.0, 1.0))


def share_due(arrival: pd.Timestamp, departure: pd.Timestamp, end: pd.Timestamp) -> float:
    """Share of a session's energy that must be in by the end of the day. [-]

    All of it where the car leaves; else what constant power over the whole session
    would have brought, so that a day cannot leave all the charging to the next,
    which it does not see.

    Examples
    --------
    >>> evening, morning = pd.Timestamp("2016-01-11 18:00"), pd.Timestamp("2016-01-12 06:00")
    >>> share_due(evening, morning, pd.Timestamp("2016-01-12 00:00"))
    0.5
    """
    return min(1.0, float((end - arrival) / (departure - arrival)))


def _build_heat_pump(day: _Day) -> HeatPump:
    p_max_kw = np.full(day.axis.length, day.p_rated_kw)
    return HeatPump(
        day.name,
        day.bus,
        day.p_base_kw,
        np.zeros(day.axis.length),
        p_max_kw,
        ua_kw_per_k=KW_PER_MW * float(day.facts["ua_mw_per_k"]),
        c_kwh_per_k=KW_PER_MW * float(day.facts["c_mwh_per_k"]),
        cop=float(day.facts["cop"]),
        kelvin_start=day.carried.kelvin.get(day.name, 0.0),
    )


def _build_battery(day: _Day) -> Battery:
    p_max_kw = np.full(day.axis.length, day.p_rated_kw)
    e_rated_kwh = KW_PER_MW * float(day.facts["e_rated_mwh"])
    usual_kwh = day.settings.battery_start * e_rated_kwh
    return Battery(
        day.name,
        day.bus,
        day.p_base_kw,
        -p_max_kw,
        p_max_kw,
        p_rated_kw=day.p_rated_kw,
        e_rated_kwh=e_rated_kwh,
        e_start_kwh=day.carried.stored_kwh.get(day.name, usual_kwh),
        e_final_kwh=usual_kwh,
    )


def _build_pv(day: _Day) -> PvSystem:
    return PvSystem(day.name, day.bus, day.p_base_kw, day.p_base_kw, np.zeros(day.axis.length))
