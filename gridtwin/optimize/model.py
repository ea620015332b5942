"""The flexibility model of one day: one Pyomo model, one function per family.

Power in kW, energy in kWh, money in EUR; + is consumption. `h` is the length of a step in
hours. Steps are numbered from 0; a stored energy or temperature with index t holds at
the *end* of step t.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from gridtwin.optimize.flexible_assets import (
    Battery,
    ChargingSession,
    ElectricCar,
    FlexibleAsset,
    HeatPump,
    PvSystem,
    of_kind,
)
from gridtwin.optimize.network_limits import LimitRows
from gridtwin.scenario import Flexibility

PEAK_PRICE_EUR_PER_KW = 0.001
"""Price of the day's largest net power of the area. A kW less for a quarter of an hour is worth a price
difference of 4 EUR/MWh: enough to spread what equal prices leave open, too little to change a plan. [EUR/kW]"""


@dataclass(frozen=True)
class DayProblem:
    """One day to be planned.

    Parameters
    ----------
    hours_per_step : float
        Length of a step. [h]
    assets : tuple of FlexibleAsset
        Every flexible asset with its band.
    buses : list of str
        Buses of flexible assets.
    rows : LimitRows
        Network limits that can bind.
    room_kw : ndarray, (row,)
        Largest weighted flexible power of each row. [kW]
    price_eur_per_kwh : ndarray, (time,)
        Day-ahead price. [EUR/kWh]
    inflexible_kw : ndarray, (time,)
        Expected net power of everything else, consumption positive. [kW]
    settings : Flexibility
        Prices of comfort, wear, curtailment, unserved energy and breaches.
    """

    hours_per_step: float
    assets: tuple[FlexibleAsset, ...]
    buses: list[str]
    rows: LimitRows
    room_kw: np.ndarray
    price_eur_per_kwh: np.ndarray
    inflexible_kw: np.ndarray
    settings: Flexibility


def build_flexibility_model(problem: DayProblem) -> pyo.ConcreteModel:
    """The linear program of one day, mixed-integer only where a battery could gain by burning energy."""
    model = pyo.ConcreteModel("flexibility")
    model.step = pyo.RangeSet(0, len(problem.price_eur_per_kwh) - 1)
    add_electric_cars(model, problem)
    add_heat_pumps(model, problem)
    add_batteries(model, problem)
    add_pv_systems(model, problem)
    add_bus_power(model, problem)
    add_network_limits(model, problem)
    add_area_power(model, problem)
    add_cost(model, problem)
    return model


def add_electric_cars(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Charging between arrival and departure.

        e[t] = e[t-1] + h p[t]                       car_energy
        e[last] + unserved >= e_due                  car_due
        0 <= p[t] <= p_rated plugged[t],  0 <= e <= e_session,  unserved >= 0

    A car that leaves on the day is due its whole energy; one that stays is due what
    constant charging would have reached, the rest is the next day's.
    """
    sessions = dict(_sessions(problem))
    plugged = [(*key, t) for key, session in sessions.items() for t in session.steps]
    model.car_session = pyo.Set(initialize=list(sessions), dimen=2)
    model.car_step = pyo.Set(initialize=plugged, dimen=3)
    model.car_kw = pyo.Var(model.car_step, bounds=lambda m, a, k, t: (0, sessions[a, k].p_max_kw[t]))
    model.car_kwh = pyo.Var(model.car_step, bounds=lambda m, a, k, t: (0, sessions[a, k].e_kwh))
    model.car_unserved_kwh = pyo.Var(model.car_session, domain=pyo.NonNegativeReals)

    def energy(m: Any, a: str, k: int, t: int) -> Any:
        session = sessions[a, k]
        before = session.e_start_kwh if t == session.steps[0] else m.car_kwh[a, k, t - 1]
        return m.car_kwh[a, k, t] == before + problem.hours_per_step * m.car_kw[a, k, t]

    def due(m: Any, a: str, k: int) -> Any:
        last = sessions[a, k].steps[-1]
        return m.car_kwh[a, k, last] + m.car_unserved_kwh[a, k] >= sessions[a, k].e_due_kwh

    model.car_energy = pyo.Constraint(model.car_step, rule=energy)
    model.car_due = pyo.Constraint(model.car_session, rule=due)


def _sessions(problem: DayProblem) -> Iterator[tuple[tuple[str, int], ChargingSession]]:
    """Sessions of the day by asset and number."""
    for car in of_kind(problem.assets, ElectricCar):
        for number, session in enumerate(car.sessions):
            yield (car.name, number), session


def add_heat_pumps(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Room temperature as a deviation T from what the thermostat would do.

        T[t] = a T[t-1] + (1 - a) cop / UA (p[t] - p_base[t])      heat_pump_room
        a    = exp(-h UA / C)
        T[t] = free[t] + warm[t] - cold[t],  |free| <= comfort     heat_pump_comfort
        T[end] + debt >= 0                                         heat_pump_debt
        0 <= p <= p_rated,  warm, cold, debt >= 0

    This is C dT/dt = cop (p - p_base) - UA T, exact for constant power in a step. The
    room must end no colder than it would have been: the next day is planned with
    its own forecast and would have to pay back heat that this day had sold. A debt is
    priced like the discomfort it would cause while fading away by itself, C / UA hours.
    """
    pumps = {pump.name: pump for pump in of_kind(problem.assets, HeatPump)}
    comfort = problem.settings.comfort_kelvin
    model.heat_pump = pyo.Set(initialize=list(pumps))
    model.heat_pump_kw = pyo.Var(model.heat_pump, model.step, bounds=lambda m, i, t: (0, pumps[i].p_max_kw[t]))
    model.heat_pump_kelvin = pyo.Var(model.heat_pump, model.step)
    model.heat_pump_free_kelvin = pyo.Var(model.heat_pump, model.step, bounds=(-comfort, comfort))
    model.heat_pump_warm_kelvin = pyo.Var(model.heat_pump, model.step, domain=pyo.NonNegativeReals)
    model.heat_pump_cold_kelvin = pyo.Var(model.heat_pump, model.step, domain=pyo.NonNegativeReals)
    model.heat_pump_debt_kelvin = pyo.Var(model.heat_pump, domain=pyo.NonNegativeReals)

    def room(m: Any, i: str, t: int) -> Any:
        kept, gain = thermal_step(pumps[i], problem.hours_per_step)
        before = pumps[i].kelvin_start if t == 0 else m.heat_pump_kelvin[i, t - 1]
        shifted = m.heat_pump_kw[i, t] - float(pumps[i].p_base_kw[t])
        return m.heat_pump_kelvin[i, t] == kept * before + gain * shifted

    def comfortable(m: Any, i: str, t: int) -> Any:
        outside = m.heat_pump_warm_kelvin[i, t] - m.heat_pump_cold_kelvin[i, t]
        return m.heat_pump_kelvin[i, t] == m.heat_pump_free_kelvin[i, t] + outside

    def debt(m: Any, i: str) -> Any:
        return m.heat_pump_kelvin[i, m.step.last()] + m.heat_pump_debt_kelvin[i] >= 0

    model.heat_pump_room = pyo.Constraint(model.heat_pump, model.step, rule=room)
    model.heat_pump_comfort = pyo.Constraint(model.heat_pump, model.step, rule=comfortable)
    model.heat_pump_debt = pyo.Constraint(model.heat_pump, rule=debt)


def thermal_step(pump: HeatPump, hours: float) -> tuple[float, float]:
    """Share of a deviation that is left after `hours`, and kelvin that one kW adds meanwhile. [-], [K/kW]"""
    kept = float(np.exp(-hours * pump.ua_kw_per_k / pump.c_kwh_per_k))
    return kept, (1 - kept) * pump.cop / pump.ua_kw_per_k


def add_batteries(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Storage with losses on both ways.

        e[t] = e[t-1] + h (r charge[t] - discharge[t] / r)         battery_energy
        charge[t] <= p_rated mode[t]                               battery_charges
        discharge[t] <= p_rated (1 - mode[t])                      battery_discharges
        0 <= e <= e_rated,  e[end] >= e_final,  0 <= mode <= 1

    r is the square root of the round-trip efficiency. Charging and discharging at
    once only burns energy; that pays only at a negative price, so `mode` is binary on
    those steps and continuous on all others, where the solution is checked and a
    direction fixed if need be (`planned_day.solve_without_burning`).
    """
    batteries = {battery.name: battery for battery in of_kind(problem.assets, Battery)}
    rated = {name: battery.p_rated_kw for name, battery in batteries.items()}
    burning = burning_pays(problem.price_eur_per_kwh, problem.settings)
    one_way = float(np.sqrt(problem.settings.battery_efficiency))
    last = len(problem.price_eur_per_kwh) - 1
    model.battery = pyo.Set(initialize=list(batteries))
    model.battery_charge_kw = pyo.Var(model.battery, model.step, bounds=lambda m, i, t: (0, rated[i]))
    model.battery_discharge_kw = pyo.Var(model.battery, model.step, bounds=lambda m, i, t: (0, rated[i]))
    model.battery_kwh = pyo.Var(
        model.battery,
        model.step,
        bounds=lambda m, i, t: (batteries[i].e_final_kwh if t == last else 0, batteries[i].e_rated_kwh),
    )
    model.battery_mode = pyo.Var(
        model.battery, model.step, domain=lambda m, i, t: pyo.Binary if burning[t] else pyo.UnitInterval
    )

    def energy(m: Any, i: str, t: int) -> Any:
        before = batteries[i].e_start_kwh if t == 0 else m.battery_kwh[i, t - 1]
        stored = one_way * m.battery_charge_kw[i, t] - m.battery_discharge_kw[i, t] / one_way
        return m.battery_kwh[i, t] == before + problem.hours_per_step * stored

    def charges(m: Any, i: str, t: int) -> Any:
        return m.battery_charge_kw[i, t] <= rated[i] * m.battery_mode[i, t]

    def discharges(m: Any, i: str, t: int) -> Any:
        return m.battery_discharge_kw[i, t] <= rated[i] * (1 - m.battery_mode[i, t])

    model.battery_energy = pyo.Constraint(model.battery, model.step, rule=energy)
    model.battery_charges = pyo.Constraint(model.battery, model.step, rule=charges)
    model.battery_discharges = pyo.Constraint(model.battery, model.step, rule=discharges)


def burning_pays(price_eur_per_kwh: np.ndarray, settings: Flexibility) -> np.ndarray:
    """Steps on which charging and discharging at once would earn money. (time,)

    Notes
    -----
    Charging c and discharging n c keep the stored energy (n round-trip efficiency),
    consume (1 - n) c and wear n c: it pays below a price of -wear n / (1 - n).
    """
    lost = 1 - settings.battery_efficiency
    earned = -price_eur_per_kwh * lost
    return np.asarray(earned > settings.wear_price_eur_per_kwh * settings.battery_efficiency)


def add_pv_systems(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Feed-in between what is expected and nothing.

    p_expected[t] <= p[t] <= 0
    """
    systems = {system.name: system for system in of_kind(problem.assets, PvSystem)}
    shining = [(name, t) for name, system in systems.items() for t in np.flatnonzero(system.p_min_kw < 0).tolist()]
    model.pv_step = pyo.Set(initialize=shining, dimen=2)
    model.pv_kw = pyo.Var(model.pv_step, bounds=lambda m, i, t: (systems[i].p_min_kw[t], 0))


def add_bus_power(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Flexible power at each bus; network rows stay short through it.

    bus_kw[b, t] = sum of p[i, t] over the assets i at b           bus_power
    """
    parts: dict[tuple[str, int], list[Any]] = {(bus, t): [] for bus in problem.buses for t in model.step}
    bus_of = {asset.name: asset.bus for asset in problem.assets}
    for (name, _, t), power in model.car_kw.items():
        parts[bus_of[name], t].append(power)
    for variable in (model.heat_pump_kw, model.battery_charge_kw, model.pv_kw):
        for (name, t), power in variable.items():
            parts[bus_of[name], t].append(power)
    for (name, t), power in model.battery_discharge_kw.items():
        parts[bus_of[name], t].append(-power)
    model.bus = pyo.Set(initialize=problem.buses)
    model.bus_kw = pyo.Var(model.bus, model.step)
    model.bus_power = pyo.Constraint(
        model.bus, model.step, rule=lambda m, b, t: m.bus_kw[b, t] == pyo.quicksum(parts[b, t])
    )


def add_network_limits(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Network limits, soft at the breach price.

    sum over b of weight[l, b] bus_kw[b, t] - over[l, t] <= room[l, t],  over >= 0   network_limit

    The room is the only thing that changes between the AC rounds.
    """
    rows = problem.rows
    weights = dict(zip(rows.labels, rows.weights, strict=True))
    room = dict(zip(rows.labels, problem.room_kw.tolist(), strict=True))
    model.limit = pyo.Set(initialize=rows.labels, dimen=3)
    model.limit_room_kw = pyo.Param(model.limit, initialize=room, mutable=True)
    model.limit_over_kw = pyo.Var(model.limit, domain=pyo.NonNegativeReals)

    def holds(m: Any, asset: str, side: str, t: int) -> Any:
        weighted = pyo.quicksum(weight * m.bus_kw[b, t] for b, weight in weights[asset, side, t].items())
        return weighted - m.limit_over_kw[asset, side, t] <= m.limit_room_kw[asset, side, t]

    model.network_limit = pyo.Constraint(model.limit, rule=holds)


def add_area_power(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """Net power of the area, what it imports, and its peak (losses left out).

    net[t] = inflexible[t] + sum over b of bus_kw[b, t]            area_power
    import[t] >= net[t],  import >= 0                              area_imports
    peak >= net[t],  peak >= -net[t]                               area_peak_import, area_peak_export
    """
    model.net_kw = pyo.Var(model.step)
    model.import_kw = pyo.Var(model.step, domain=pyo.NonNegativeReals)
    model.peak_kw = pyo.Var(domain=pyo.NonNegativeReals)

    def net(m: Any, t: int) -> Any:
        flexible = pyo.quicksum(m.bus_kw[b, t] for b in problem.buses)
        return m.net_kw[t] == float(problem.inflexible_kw[t]) + flexible

    model.area_power = pyo.Constraint(model.step, rule=net)
    model.area_imports = pyo.Constraint(model.step, rule=lambda m, t: m.import_kw[t] >= m.net_kw[t])
    model.area_peak_import = pyo.Constraint(model.step, rule=lambda m, t: m.peak_kw >= m.net_kw[t])
    model.area_peak_export = pyo.Constraint(model.step, rule=lambda m, t: m.peak_kw >= -m.net_kw[t])


def add_cost(model: pyo.ConcreteModel, problem: DayProblem) -> None:
    """What the day costs: the sum of the terms below. [EUR]"""
    model.cost = pyo.Objective(
        expr=energy_cost(model, problem)
        + grid_fee(model, problem)
        + wear_cost(model, problem)
        + curtailment_cost(model, problem)
        + comfort_cost(model, problem)
        + unserved_cost(model, problem)
        + breach_cost(model, problem)
        + PEAK_PRICE_EUR_PER_KW * model.peak_kw
    )


def energy_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Day-ahead price times the energy of all flexible assets, fed-in energy earning it."""
    price = problem.hours_per_step * problem.price_eur_per_kwh
    return pyo.quicksum(float(price[t]) * model.bus_kw[b, t] for b in problem.buses for t in model.step)


def grid_fee(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Fee on what the area draws from upstream."""
    fee = problem.hours_per_step * problem.settings.grid_fee_eur_per_kwh
    return fee * pyo.quicksum(model.import_kw.values())


def wear_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Wear of batteries per discharged energy."""
    wear = problem.hours_per_step * problem.settings.wear_price_eur_per_kwh
    return wear * pyo.quicksum(model.battery_discharge_kw.values())


def curtailment_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Compensation of curtailed feed-in."""
    rate = problem.hours_per_step * problem.settings.curtailment_price_eur_per_kwh
    expected = {system.name: system.p_min_kw for system in of_kind(problem.assets, PvSystem)}
    return rate * pyo.quicksum(power - float(expected[name][t]) for (name, t), power in model.pv_kw.items())


def comfort_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Kelvin hours outside the comfort band, and heat debts at the day's end."""
    price = problem.settings.comfort_price_eur_per_kelvin_hour
    fading_h = {pump.name: pump.c_kwh_per_k / pump.ua_kw_per_k for pump in of_kind(problem.assets, HeatPump)}
    outside = pyo.quicksum(model.heat_pump_warm_kelvin.values()) + pyo.quicksum(model.heat_pump_cold_kelvin.values())
    debts = pyo.quicksum(fading_h[name] * debt for name, debt in model.heat_pump_debt_kelvin.items())
    return price * problem.hours_per_step * outside + price * debts


def unserved_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Energy that cars go without."""
    return problem.settings.unserved_price_eur_per_kwh * pyo.quicksum(model.car_unserved_kwh.values())


def breach_cost(model: pyo.ConcreteModel, problem: DayProblem) -> Any:
    """Power above network limits."""
    price = problem.hours_per_step * problem.settings.breach_price_eur_per_kwh
    return price * pyo.quicksum(model.limit_over_kw.values())
