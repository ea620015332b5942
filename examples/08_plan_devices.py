"""Devices made in Python: a car, a battery and a heat pump behind one cable, a rule of your own, a thousand cars."""

import numpy as np
import pandas as pd
import pyomo.environ as pyo

import gridtwin as gt
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.heat_pump import HeatPump, cop_of_outdoor_temperature, thermostat_power_kw
from gridtwin.optimize.model import FlexibilityProblem, LimitRows

hours = np.full(96, 0.25)
clock = np.arange(96) / 4
price = 0.25 + 0.10 * np.cos(2 * np.pi * (clock - 18) / 24)  # EUR/kWh, dearest at 6 in the evening
nothing = np.zeros(96)

# a car from 17:00 to the end of the day: 12 kWh at 11 kW
plugged = np.where(clock >= 17, 11.0, 0.0)
evening, morning = pd.Timestamp("2026-01-12 17:00"), pd.Timestamp("2026-01-13 00:00")
car = ChargingSession("car", "house", nothing, nothing, plugged, evening, morning, 0.0, 0.0, 12.0, 12.0, 2.0)

battery = Battery(
    "battery", "house", nothing, np.full(96, -5.0), np.full(96, 5.0), 5.0, 5.0, 0.0, 10.0, 5.0, 0.92, 0.02
)

outdoor = 2 - 4 * np.cos(2 * np.pi * (clock - 15) / 24)
cop = cop_of_outdoor_temperature(outdoor)
usual = thermostat_power_kw(outdoor, cop, ua_kw_per_k=0.2, room_celsius=21.0, p_rated_kw=4.0)
pump = HeatPump("heat pump", "house", usual, nothing, np.full(96, 4.0), 0.2, 10.0, cop)

# the cable carries 9 kW beside the household, on every step
rows = LimitRows(np.zeros(96, dtype=int), np.arange(96), np.ones((96, 1)))
problem = FlexibilityProblem(
    hours, (car, battery, pump), ("house",), AreaTerms(price, np.full(96, 0.08), nothing), np.full(96, 0.5), rows,
    np.full(96, 9.0),
)  # fmt: skip


def quiet_hour(model: pyo.ConcreteModel) -> None:
    """Any linear rule in Pyomo: the heat pump rests from 13:00 to 14:00."""
    model.quiet = pyo.Constraint(range(52, 56), rule=lambda m, t: m.power_kw["heat pump", t] == 0)


plan = gt.plan_devices(problem, own_rows=quiet_hour)
print(plan["p_kw"].sel(time=slice(16, 24)).to_pandas().iloc[::4].round(1))
print(f"cost {plan.attrs['objective_eur']:.2f} EUR, no plan is below {plan.attrs['lower_bound_eur']:.2f} EUR")

# a thousand cars as one: exact bounds, and the cheapest profile of all of them
rng = np.random.default_rng(1)
arrival = rng.integers(60, 76, 1000)
cars = pd.DataFrame(
    {
        "arrival_step": arrival,
        "departure_step": rng.integers(88, 97, 1000),
        "energy_kwh": rng.uniform(5, 20, 1000),
        "p_max_kw": 11.0,
    }
)
bands = gt.aggregate_fleet(cars, 96, 0.25)
fleet = gt.cheapest_fleet_profile(bands, 1000 * price)
print(f"1,000 cars: {fleet.p_kw.max() / 1000:.1f} MW at most, {0.25 * fleet.p_kw.sum() / 1000:.1f} MWh")
