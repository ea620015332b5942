"""The schedule and what stays unmet, read from the solution of a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import pyomo.environ as pyo
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.nomenclature import attrs_of
from gridtwin.optimize.certificate import LimitCheck
from gridtwin.optimize.flexible_assets import (
    KW_PER_MW,
    Battery,
    CarriedState,
    ChargingSession,
    ElectricCar,
    FlexibleAsset,
    HeatPump,
    PvSystem,
    of_kind,
)
from gridtwin.optimize.model import DayProblem
from gridtwin.optimize.network_limits import CERTIFIED_LOADING_PERCENT, CERTIFIED_VOLTAGE_PU
from gridtwin.optimize.solve import Solution
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

UNMET_COLUMNS = ["asset", "kind", "what", "start", "end", "amount", "unit", "cost_eur"]
"""Columns of the table of what stays unmet."""
NOTICEABLE_KW = 1e-4
"""Smaller differences of power are the solver's. [kW]"""
NOTICEABLE = 1e-4
"""The same for kWh and K. [kWh], [K]"""
CAP_MARK_KW = 1e-3
"""How far above the expected feed-in a cap at the expected feed-in is written, to be told from no cap. [kW]"""
REASONS = ("", "price", "network", "must charge", "comfort", "curtailed", "idle")
"""Codes of a schedule: why an asset does what it does on a step; "" is what it would do anyway."""


@dataclass(frozen=True)
class DayPlan:
    """The solution of one day, in kW and kWh.

    Parameters
    ----------
    p_kw, e_kwh : ndarray, (time, asset)
        Power, consumption positive; stored energy at the end of the step, NaN for PV. [kW], [kWh]
    carried : CarriedState
        What the next day starts with.
    over_kw : ndarray, (row,)
        Planned breach of each network row. [kW]
    shortfalls : dict session -> kWh
        Energy that sessions miss, by (asset, number). [kWh]
    outside_kelvin : dict (asset, step) -> K
        Distance from the comfort band. [K]
    debt_kelvin : dict asset -> K
        Heat owed to the next day. [K]
    """

    p_kw: np.ndarray
    e_kwh: np.ndarray
    carried: CarriedState
    over_kw: np.ndarray
    shortfalls: dict[tuple[str, int], float]
    outside_kelvin: dict[tuple[str, int], float]
    debt_kelvin: dict[str, float]


def read_plan(model: pyo.ConcreteModel, solution: Solution, problem: DayProblem) -> DayPlan:
    """Power and energy of every asset from the columns of a solution."""
    power, energy = _read_power(model, solution, problem), _read_energy(model, solution, problem)
    warm, cold = (solution.values_of(model.component(f"heat_pump_{side}_kelvin")) for side in ("warm", "cold"))
    outside = {key: warm[key] + cold[key] for key in warm if warm[key] + cold[key] > NOTICEABLE}
    return DayPlan(
        p_kw=np.column_stack([_snap(asset, power[asset.name]) for asset in problem.assets]),
        e_kwh=np.column_stack([energy[asset.name] for asset in problem.assets]),
        carried=_carry(problem.assets, energy),
        over_kw=np.array(list(solution.values_of(model.limit_over_kw).values())),
        shortfalls=_noticeable(solution.values_of(model.car_unserved_kwh)),
        outside_kelvin=outside,
        debt_kelvin=_noticeable(solution.values_of(model.heat_pump_debt_kelvin)),
    )


def _read_power(model: pyo.ConcreteModel, solution: Solution, problem: DayProblem) -> dict[str, np.ndarray]:
    power = {asset.name: np.zeros(len(problem.price_eur_per_kwh)) for asset in problem.assets}
    for (name, _, t), value in solution.values_of(model.car_kw).items():
        power[name][t] += value
    for variable, sign in (
        (model.heat_pump_kw, 1),
        (model.battery_charge_kw, 1),
        (model.battery_discharge_kw, -1),
        (model.pv_kw, 1),
    ):
        for (name, t), value in solution.values_of(variable).items():
            power[name][t] += sign * value
    return power


def _snap(asset: FlexibleAsset, p_kw: np.ndarray) -> np.ndarray:
    """Power within its band, and exactly at its base or zero where only the solver's tolerance parts them."""
    inside = np.clip(p_kw, asset.p_min_kw, asset.p_max_kw)
    inside = np.where(np.abs(inside) < NOTICEABLE_KW / 10, 0.0, inside)
    return np.where(np.abs(inside - asset.p_base_kw) < NOTICEABLE_KW, asset.p_base_kw, inside)


def _read_energy(model: pyo.ConcreteModel, solution: Solution, problem: DayProblem) -> dict[str, np.ndarray]:
    """Charged in the present session (0 while unplugged), heat above the thermostat's, stored energy. [kWh]"""
    steps = len(problem.price_eur_per_kwh)
    energy = {asset.name: np.full(steps, np.nan) for asset in problem.assets}
    for car in of_kind(problem.assets, ElectricCar):
        energy[car.name][:] = 0.0
    for (name, _, t), value in solution.values_of(model.car_kwh).items():
        energy[name][t] = value
    kelvin = solution.values_of(model.heat_pump_kelvin)
    for pump in of_kind(problem.assets, HeatPump):
        energy[pump.name] = pump.c_kwh_per_k * np.array([kelvin[pump.name, t] for t in range(steps)])
    for (name, t), value in solution.values_of(model.battery_kwh).items():
        energy[name][t] = value
    return energy


def _carry(assets: tuple[FlexibleAsset, ...], energy: dict[str, np.ndarray]) -> CarriedState:
    charged = {
        (car.name, session.arrival): float(energy[car.name][-1])
        for car in of_kind(assets, ElectricCar)
        for session in car.sessions
        if not session.leaves
    }
    kelvin = {pump.name: float(energy[pump.name][-1] / pump.c_kwh_per_k) for pump in of_kind(assets, HeatPump)}
    stored = {
        battery.name: float(np.clip(energy[battery.name][-1], battery.e_final_kwh, battery.e_rated_kwh))
        for battery in of_kind(assets, Battery)
    }
    return CarriedState(charged, kelvin, stored)


def _noticeable(values: dict[Any, float]) -> dict[Any, float]:
    return {key: value for key, value in values.items() if value > NOTICEABLE}


def mark_caps(assets: tuple[FlexibleAsset, ...], p_kw: np.ndarray, capped: np.ndarray) -> np.ndarray:
    """Power with every cap at or above the expected feed-in written so that it counts as a cap. (time, asset)

    Once a system has been capped in one AC round it stays capped, at least at its
    expected feed-in, on that step: dropping the cap would let the paths above the
    expectation back in all at once.
    """
    base = np.column_stack([asset.p_base_kw for asset in assets])
    return np.where(capped, np.maximum(p_kw, np.minimum(base + CAP_MARK_KW, 0.0)), p_kw)


def find_caps(assets: tuple[FlexibleAsset, ...], p_kw: np.ndarray) -> np.ndarray:
    """Steps on which a PV system is curtailed. (time, asset)"""
    solar = np.array([isinstance(asset, PvSystem) for asset in assets])
    base = np.column_stack([asset.p_base_kw for asset in assets])
    return solar & (p_kw > base + NOTICEABLE_KW)


def explain_steps(
    assets: tuple[FlexibleAsset, ...],
    p_kw: np.ndarray,
    e_kwh: np.ndarray,
    *,
    binding: np.ndarray,
    settings: Flexibility,
    hours: float,
) -> np.ndarray:
    """Reason code of every asset and step. (time, asset)

    Parameters
    ----------
    p_kw, e_kwh : ndarray, (time, asset)
        The plan. [kW], [kWh]
    binding : ndarray of bool, (time, asset)
        Whether a binding network row contains the asset's bus.
    settings : Flexibility
        The comfort band.
    hours : float
        Length of a step. [h]

    Notes
    -----
    First that applies: a PV system below its expectation is `curtailed`; an asset that
    does nothing and would do nothing is `idle`; a car that can only just make it
    `must charge`; what follows its base has no reason; a heat pump at the edge of
    the comfort band is held by `comfort`; a shifted asset under a binding row is moved
    by the `network`, any other by the `price`.
    """
    base = np.column_stack([asset.p_base_kw for asset in assets])
    shifted = np.abs(p_kw - base) > NOTICEABLE_KW
    idle = (np.abs(p_kw) <= NOTICEABLE_KW) & (np.abs(base) <= NOTICEABLE_KW)
    must = np.column_stack([_must_charge(a, p, e, hours) for a, p, e in zip(assets, p_kw.T, e_kwh.T, strict=True)])
    comfort = np.column_stack([_at_comfort(a, e, settings) for a, e in zip(assets, e_kwh.T, strict=True)])
    choices = [find_caps(assets, p_kw), idle, must, ~shifted, comfort, binding]
    return np.select(choices, ["curtailed", "idle", "must charge", "", "comfort", "network"], "price").astype(str)


def _must_charge(asset: FlexibleAsset, p_kw: np.ndarray, e_kwh: np.ndarray, hours: float) -> np.ndarray:
    """Steps on which only rated power from here on brings what is due."""
    must = np.zeros(len(p_kw), dtype=bool)
    for session in asset.sessions if isinstance(asset, ElectricCar) else ():
        steps = np.asarray(session.steps)
        before = np.concatenate([[session.e_start_kwh], e_kwh[steps[:-1]]])
        reachable = hours * np.cumsum(session.p_max_kw[steps][::-1])[::-1]
        pressed = session.e_due_kwh - before >= reachable - NOTICEABLE
        must[steps] |= pressed & (p_kw[steps] > NOTICEABLE_KW)
    return must


def _at_comfort(asset: FlexibleAsset, e_kwh: np.ndarray, settings: Flexibility) -> np.ndarray:
    """Steps that end at or beyond the edge of the comfort band."""
    if not isinstance(asset, HeatPump):
        return np.zeros(len(e_kwh), dtype=bool)
    return np.asarray(np.abs(e_kwh) / asset.c_kwh_per_k >= settings.comfort_kelvin - NOTICEABLE)


def build_schedule(
    chosen: pd.DataFrame,
    axis: TimeAxis,
    *,
    p_kw: np.ndarray,
    p_base_kw: np.ndarray,
    e_kwh: np.ndarray,
    reason: np.ndarray,
) -> xr.Dataset:
    """Schedule of all days in the checked layout, MW and MWh.

    Parameters
    ----------
    chosen : DataFrame
        Flexible rows of `twin.assets`.
    axis : TimeAxis
        The studied steps.
    p_kw, p_base_kw, e_kwh, reason : ndarray, (time, asset)
        Plan, base, stored energy and reason codes.
    """
    dims = ("time", "asset")
    named = {"long_name": "power without a schedule", "units": "MW"}
    return xr.Dataset(
        {
            "p_mw": (dims, p_kw / KW_PER_MW, attrs_of("p_mw")),
            "p_base_mw": (dims, p_base_kw / KW_PER_MW, attrs_of("p_mw") | named),
            "e_mwh": (dims, e_kwh / KW_PER_MW, attrs_of("e_mwh")),
            "reason": (dims, reason.astype(str), {"long_name": "why", "codes": ", ".join(filter(None, REASONS))}),
        },
        coords={
            "time": axis.times,
            "asset": chosen.index.to_numpy(dtype=str),
            "element": ("asset", chosen["element"].to_numpy(dtype=str)),
            "index": ("asset", chosen["index"].to_numpy(dtype=int)),
            "kind": ("asset", chosen["kind"].to_numpy(dtype=str)),
        },
        attrs={"step": axis.step.isoformat(), "zone": axis.zone},
    )


def list_unserved(
    assets: tuple[FlexibleAsset, ...], plan: DayPlan, day: TimeAxis, settings: Flexibility, *, last_day: bool
) -> list[dict[str, Any]]:
    """Energy that cars go without; a car that stays overnight can still get it, except on the last day."""
    cars = {car.name: car for car in of_kind(assets, ElectricCar)}
    missing = [(cars[name], cars[name].sessions[k], kwh) for (name, k), kwh in plan.shortfalls.items()]
    price = settings.unserved_price_eur_per_kwh
    return [
        _unmet(car.name, "electric_car", "energy not delivered", _stay(session, day), kwh, "kWh", kwh * price)
        for car, session, kwh in missing
        if session.leaves or last_day
    ]


def _stay(session: ChargingSession, day: TimeAxis) -> tuple[pd.Timestamp, pd.Timestamp]:
    return session.arrival, min(session.departure, day.end)


def list_discomfort(
    assets: tuple[FlexibleAsset, ...], plan: DayPlan, day: TimeAxis, settings: Flexibility
) -> list[dict[str, Any]]:
    """Kelvin hours outside the comfort band, and heat debts at the day's end as the kelvin hours they will cause."""
    price, rows = settings.comfort_price_eur_per_kelvin_hour, []
    for pump in of_kind(assets, HeatPump):
        outside = np.array([plan.outside_kelvin.get((pump.name, t), 0.0) for t in range(day.length)])
        for first, last in _runs(outside > 0):
            amount = float(outside[first : last + 1].sum()) * day.hours_per_step
            spell = (day.times[first], day.times[last] + day.step)
            rows.append(_unmet(pump.name, "heat_pump", "comfort", spell, amount, "K h", amount * price))
        if pump.name in plan.debt_kelvin:
            amount = plan.debt_kelvin[pump.name] * pump.c_kwh_per_k / pump.ua_kw_per_k
            rows.append(_unmet(pump.name, "heat_pump", "comfort", (day.end, day.end), amount, "K h", amount * price))
    return rows


def list_breaches(
    twin: GridTwin, check: LimitCheck, scale: np.ndarray, settings: Flexibility, *, step: pd.Timedelta
) -> list[dict[str, Any]]:
    """Network limits that AC power flow still finds exceeded, each spell with its energy or depth and its price."""
    price = settings.breach_price_eur_per_kwh * (step / pd.Timedelta(hours=1))
    rated_kw = KW_PER_MW * twin.branches["s_rated_mva"].to_numpy(dtype=float)
    rows = []
    for b, name in enumerate(twin.branches.index):
        over_kw = np.maximum(check.loading_excess_percent[:, b], 0) / 100 * rated_kw[b]
        for first, last in _runs(check.loading_excess_percent[:, b] > CERTIFIED_LOADING_PERCENT):
            kwh = float(over_kw[first : last + 1].sum()) * (step / pd.Timedelta(hours=1))
            cost = float(over_kw[first : last + 1].sum()) * price
            spell = _spell(check, first, last, step)
            rows.append(
                _unmet(str(name), str(twin.branches["element"].iloc[b]), "network limit", spell, kwh, "kWh", cost)
            )
    for b, name in enumerate(twin.buses.index):
        # priced like the power that would have to move at the most effective bus; unknown where none has an effect
        over_kw = KW_PER_MW * 2 * np.maximum(check.vm_excess_pu[:, b], 0) / scale[b]
        for first, last in _runs(check.vm_excess_pu[:, b] > CERTIFIED_VOLTAGE_PU):
            worst = float(check.vm_excess_pu[first : last + 1, b].max())
            cost = float(over_kw[first : last + 1].sum()) * price if np.isfinite(scale[b]) else np.nan
            rows.append(_unmet(str(name), "bus", "network limit", _spell(check, first, last, step), worst, "pu", cost))
    return rows


def _spell(check: LimitCheck, first: int, last: int, step: pd.Timedelta) -> tuple[pd.Timestamp, pd.Timestamp]:
    return check.times[first], check.times[last] + step


def _runs(flags: np.ndarray) -> Iterable[tuple[int, int]]:
    """First and last position of every unbroken run of True.

    >>> list(_runs(np.array([True, True, False, True])))
    [(0, 1), (3, 3)]
    """
    edges = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    return zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)


def _unmet(
    asset: str,
    kind: str,
    what: str,
    spell: tuple[pd.Timestamp, pd.Timestamp],
    amount: float,
    unit: str,
    cost_eur: float,
) -> dict[str, Any]:
    values = (asset, kind, what, *spell, amount, unit, cost_eur)
    return dict(zip(UNMET_COLUMNS, values, strict=True))


def build_unmet(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Table of what stays unmet, dearest first within each kind of wish."""
    table = pd.DataFrame(list(rows), columns=UNMET_COLUMNS)
    types = {"start": "datetime64[ns]", "end": "datetime64[ns]", "amount": "float64", "cost_eur": "float64"}
    return table.astype(cast("Any", types)).sort_values(
        ["what", "cost_eur"], ascending=[True, False], ignore_index=True
    )
