"""The flexible assets of a network as devices of the optimisation, as they stand on one local day.

A car is as many devices as it has charging sessions on the day; every other asset is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from gridtwin.data.charging_sessions import SESSION_COLUMNS, uncontrolled_charging
from gridtwin.grid.twin import GridTwin
from gridtwin.optimize.day_jobs import build_day_job, done_unscheduled
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import BidirectionalSession, ChargingSession, plugged_share
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.fairness import EnergyGiven
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

KW_PER_MW = 1000.0


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
    done_kwh : mapping asset -> float
        Work that a batch job has done. [kWh]
    running : frozenset of str
        Batch jobs that run as the day begins.
    curtailed : EnergyGiven, (asset,), optional
        What was curtailed on the days before, for a sharing rule.
    """

    charged_kwh: Mapping[tuple[str, pd.Timestamp], float] = field(default_factory=dict)
    kelvin: Mapping[str, float] = field(default_factory=dict)
    stored_kwh: Mapping[str, float] = field(default_factory=dict)
    done_kwh: Mapping[str, float] = field(default_factory=dict)
    running: frozenset[str] = frozenset()
    curtailed: EnergyGiven | None = None


Kind = TypeVar("Kind", bound=Device)


def of_kind(devices: Sequence[Device], kind: type[Kind]) -> list[Kind]:
    """The devices of one kind, in their order."""
    return [device for device in devices if isinstance(device, kind)]


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
    A heat pump, PV system, wind turbine or batch job follows the mean forecast, a battery is idle, a car
    charges at rated power from arrival on.
    """
    kinds, rated = chosen["kind"].to_numpy(dtype=str), chosen["p_rated_mw"].to_numpy(dtype=float)
    base = np.select(
        [np.isin(kinds, ("heat_pump", "computing_job")), np.isin(kinds, ("pv", "wind"))],
        [np.clip(p_mean_mw, 0.0, rated), np.minimum(p_mean_mw, 0.0)],
        0.0,
    )
    cars = chosen.loc[kinds == "electric_car", "p_rated_mw"]
    base[:, kinds == "electric_car"] = uncontrolled_charging(sessions_of(sessions, cars.index), axis, cars)
    return np.asarray(base)


def sessions_of(sessions: pd.DataFrame, names: pd.Index) -> pd.DataFrame:
    """Sessions of some assets."""
    return sessions[sessions["asset"].isin(names)]


def charged_uncontrolled(
    sessions: pd.DataFrame, chosen: pd.DataFrame, start: pd.Timestamp, jobs: pd.DataFrame | None = None
) -> CarriedState:
    """State before the first day: cars have charged at rated power since arrival, jobs run since they might."""
    here = sessions_of(sessions, chosen.index)
    open_now = here[(here["arrival"] < start) & (here["departure"] > start)]
    charged: dict[tuple[str, pd.Timestamp], float] = {}
    for asset, arrival, _, e_mwh in _rows(open_now):
        hours = float((start - arrival) / pd.Timedelta(hours=1))
        charged[asset, arrival] = KW_PER_MW * min(e_mwh, float(chosen["p_rated_mw"][asset]) * hours)
    done = done_unscheduled(jobs, start) if jobs is not None else {}
    running = frozenset(name for name, (_, runs) in done.items() if runs)
    return CarriedState(charged_kwh=charged, done_kwh={name: kwh for name, (kwh, _) in done.items()}, running=running)


def _rows(sessions: pd.DataFrame) -> Iterator[tuple[str, pd.Timestamp, pd.Timestamp, float]]:
    """Asset, arrival, departure and energy of every session. [MWh]"""
    return zip(*(sessions[name].tolist() for name in SESSION_COLUMNS), strict=True)


def build_day_devices(
    chosen: pd.DataFrame,
    axis: TimeAxis,
    p_base_mw: np.ndarray,
    *,
    sessions: pd.DataFrame,
    carried: CarriedState,
    settings: Flexibility,
    jobs: pd.DataFrame | None = None,
) -> tuple[Device, ...]:
    """Every flexible device as it stands on one day, in the order of `chosen`.

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
        Prices of wishes, the battery's start and efficiency.
    jobs : DataFrame, optional
        Batch jobs, see `data_centre.JOB_COLUMNS`.
    """
    today = sessions[(sessions["arrival"] < axis.end) & (sessions["departure"] > axis.start)]
    by_car = {str(name): part for name, part in sessions_of(today, chosen.index).groupby("asset")}
    build = {"electric_car": _build_sessions, "heat_pump": _build_heat_pump, "battery": _build_battery,
             "computing_job": _build_job}  # fmt: skip
    devices: list[Device] = []
    for (name, facts), base in zip(chosen.iterrows(), KW_PER_MW * p_base_mw.T, strict=True):
        day = _Day(axis, str(name), facts, base, by_car.get(str(name)), carried, settings, jobs)
        devices += build.get(str(facts["kind"]), _build_feed_in)(day)
    return tuple(devices)


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
    jobs: pd.DataFrame | None

    @property
    def p_rated_kw(self) -> float:
        return KW_PER_MW * float(self.facts["p_rated_mw"])

    @property
    def bus(self) -> str:
        return str(self.facts["bus"])

    @property
    def nothing(self) -> np.ndarray:
        return np.zeros(self.axis.length)


def _build_sessions(day: _Day) -> list[Device]:
    rows = [] if day.sessions is None else _rows(day.sessions)
    found = [_build_session(day, arrival, departure, KW_PER_MW * e_mwh) for _, arrival, departure, e_mwh in rows]
    return [session for session in found if session is not None]


def _build_session(day: _Day, arrival: pd.Timestamp, departure: pd.Timestamp, e_kwh: float) -> ChargingSession | None:
    """The part of a session that lies on the day; None where it does not touch it."""
    edges = np.arange(day.axis.length + 1, dtype=float)
    share = plugged_share(edges, *(float((stamp - day.axis.start) / day.axis.step) for stamp in (arrival, departure)))
    if not share.any():
        return None
    settings = day.settings
    start_kwh = min(day.carried.charged_kwh.get((day.name, arrival), 0.0), e_kwh)
    p_max_kw = day.p_rated_kw * share
    facts: dict[str, Any] = {
        "p_low_kw": settings.smallest_charging_share * p_max_kw,
        "e_start_kwh": start_kwh,
        "e_due_kwh": max(start_kwh, e_kwh * share_due(arrival, departure, day.axis.end)),
        "e_session_kwh": e_kwh,
        "unserved_eur_per_kwh": settings.unserved_price_eur_per_kwh,
        "leaves": departure <= day.axis.end,
    }
    if not settings.vehicle_to_grid:
        return ChargingSession(day.name, day.bus, day.nothing, day.nothing, p_max_kw, arrival, departure, **facts)
    # what the battery holds on arrival is not known: only energy charged in the session may be fed back
    facts["wear_eur_per_kwh"] = settings.wear_price_eur_per_kwh
    return BidirectionalSession(day.name, day.bus, day.nothing, -p_max_kw, p_max_kw, arrival, departure, **facts)


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


def _build_heat_pump(day: _Day) -> list[Device]:
    pump = HeatPump(
        day.name,
        day.bus,
        day.p_base_kw,
        day.nothing,
        np.full(day.axis.length, day.p_rated_kw),
        ua_kw_per_k=KW_PER_MW * float(day.facts["ua_mw_per_k"]),
        c_kwh_per_k=KW_PER_MW * float(day.facts["c_mwh_per_k"]),
        cop=float(day.facts["cop"]),
        kelvin_start=day.carried.kelvin.get(day.name, 0.0),
        comfort_kelvin=day.settings.comfort_kelvin,
        comfort_eur_per_kelvin_hour=day.settings.comfort_price_eur_per_kelvin_hour,
    )
    return [pump]


def _build_battery(day: _Day) -> list[Device]:
    settings = day.settings
    p_max_kw = np.full(day.axis.length, day.p_rated_kw)
    e_rated_kwh = KW_PER_MW * float(day.facts["e_rated_mwh"])
    usual_kwh = settings.battery_start * e_rated_kwh
    e_min_kwh = day.nothing
    e_min_kwh[-1] = usual_kwh
    battery = Battery(
        day.name,
        day.bus,
        day.p_base_kw,
        -p_max_kw,
        p_max_kw,
        p_charge_kw=day.p_rated_kw,
        p_discharge_kw=day.p_rated_kw,
        e_min_kwh=e_min_kwh,
        e_max_kwh=e_rated_kwh,
        e_start_kwh=day.carried.stored_kwh.get(day.name, usual_kwh),
        efficiency=settings.battery_efficiency,
        wear_eur_per_kwh=settings.wear_price_eur_per_kwh,
    )
    return [battery]


def _build_job(day: _Day) -> list[Device]:
    assert day.jobs is not None  # assets of this kind come from declared jobs alone
    carried, name = day.carried, day.name
    job = build_day_job(
        day.jobs.loc[[name]].iloc[0], day.axis, day.p_base_kw, e_done_kwh=carried.done_kwh.get(name, 0.0),
        running=name in carried.running,
    )  # fmt: skip
    return [] if job is None else [job]


def _build_feed_in(day: _Day) -> list[Device]:
    rate = day.settings.curtailment_price_eur_per_kwh
    return [FeedIn(day.name, day.bus, day.p_base_kw, day.p_base_kw, day.nothing, rate, str(day.facts["kind"]))]
