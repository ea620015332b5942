"""Fleets against one linear program with every car in it, and by hand."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import linprog

from gridtwin.errors import DataError, InfeasibleError
from gridtwin.optimize.fleet import FleetBands, aggregate_fleet, cheapest_fleet_profile, virtual_battery_error
from gridtwin.optimize.fleet_disaggregation import cheapest_limited_profile, disaggregate_fleet, find_violated_subset

RELATIVE = 1e-6
"""Of the solver's own feasibility tolerance, 1e-7 per row, some rows add up."""
HOURS = 0.25


def draw_sessions(cars: int, steps: int, seed: int) -> pd.DataFrame:
    """Cars of several ratings that come and go, some there before the horizon, some after; not all need all energy."""
    random = np.random.default_rng(seed)
    arrival = random.integers(-steps // 4, steps - 1, cars)
    departure = np.maximum(arrival, 0) + random.integers(1, steps, cars)
    p_max_kw = random.choice([3.7, 7.4, 11.0, 22.0], cars)
    p_min_kw = random.choice([0.0, 1.4], cars, p=[0.8, 0.2])
    full_kwh, least_kwh = p_max_kw * HOURS * (departure - arrival), p_min_kw * HOURS * (departure - arrival)
    energy_kwh = least_kwh + random.uniform(0.1, 1.0, cars) * (full_kwh - least_kwh)
    return pd.DataFrame(
        {
            "arrival_step": arrival,
            "departure_step": departure,
            "energy_kwh": energy_kwh,
            "p_max_kw": p_max_kw,
            "p_min_kw": p_min_kw,
            "energy_min_kwh": energy_kwh * random.choice([1.0, 0.7, 0.0], cars),
            "charged_kwh": np.where(arrival < 0, least_kwh / (departure - arrival) * -arrival, 0.0),
        }
    )


def reachable(sessions: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The same sessions with no more due by the end of the horizon than rated power brings."""
    arrival, departure = sessions["arrival_step"], sessions["departure_step"]
    plugged = np.minimum(departure, steps) - np.maximum(arrival, 0)
    share_due = np.minimum(1.0, (steps - arrival) / (departure - arrival))
    most = (sessions["charged_kwh"] + sessions["p_max_kw"] * HOURS * plugged) / share_due
    return sessions.assign(energy_min_kwh=np.minimum(sessions["energy_min_kwh"], most))


def cheapest_car_by_car(bands: FleetBands, price: np.ndarray, p_limit_kw: np.ndarray | None = None) -> float:
    """Cost with one variable per car and step. [EUR]"""
    cars, steps = bands.cars, bands.steps
    step, car = np.nonzero((np.arange(steps)[:, None] >= cars.start) & (np.arange(steps)[:, None] < cars.stop))
    edge = np.arange(len(car))
    of_car = sparse.csr_array((np.ones(len(car)), (car, edge)), shape=(len(cars.start), len(car)))
    of_step = sparse.csr_array((np.ones(len(car)), (step, edge)), shape=(steps, len(car)))
    # without a limit, as much as all cars together
    limit = np.full(steps, cars.step_max_kwh.sum()) if p_limit_kw is None else p_limit_kw * bands.step_hours
    found = linprog(
        price[step] / 1000,
        A_ub=sparse.vstack([of_car, -of_car, of_step]),
        b_ub=np.concatenate([cars.e_max_kwh, -cars.e_min_kwh, limit]),
        bounds=np.stack([cars.step_min_kwh[car], cars.step_max_kwh[car]], axis=1),
    )
    assert found.status == 0
    return float(found.fun)


def check_follows(bands: FleetBands, p_kw: np.ndarray, *, hours: float = HOURS, tolerance: float = 1e-6) -> None:
    """Every car within its powers, its window and its energies, all of them together on the plan; in kW and kWh."""
    cars, power = bands.cars, disaggregate_fleet(bands, p_kw).to_numpy()
    step = np.arange(bands.steps)[:, None]
    plugged = (step >= cars.start) & (step < cars.stop)
    assert power.sum(axis=1) == pytest.approx(p_kw, abs=tolerance)
    assert (power[~plugged] == 0).all()
    assert (power <= cars.step_max_kwh / hours + tolerance)[plugged].all()
    assert (power >= cars.step_min_kwh / hours - tolerance)[plugged].all()
    energy = power.sum(axis=0) * hours
    assert (energy <= cars.e_max_kwh + tolerance).all()
    assert (energy >= cars.e_min_kwh - tolerance).all()


@pytest.mark.parametrize("seed", range(12))
def test_cheapest_profile_is_the_one_of_single_cars(seed: int) -> None:
    bands = aggregate_fleet(reachable(draw_sessions(8, 16, seed), 16), 16, HOURS)
    price = np.random.default_rng(seed).normal(20, 40, 16)
    assert cheapest_fleet_profile(bands, price).cost_eur == pytest.approx(
        cheapest_car_by_car(bands, price), rel=RELATIVE, abs=1e-9
    )


def test_hundred_cars_of_a_day() -> None:
    """The same optimum, and faster than the solver alone by a factor that no load of the machine brings down to one."""
    bands = aggregate_fleet(reachable(draw_sessions(100, 96, 1), 96), 96, HOURS)
    price = np.random.default_rng(1).normal(50, 40, 96)
    begin = time.perf_counter()
    cost_eur = cheapest_fleet_profile(bands, price).cost_eur
    middle = time.perf_counter()
    assert cost_eur == pytest.approx(cheapest_car_by_car(bands, price), rel=RELATIVE)
    assert time.perf_counter() - middle > 5 * (middle - begin)


def test_ten_thousand_cars_of_a_day() -> None:
    """Bounds, cheapest profile and its error need a fraction of a second; 5 s would mean a loop over cars."""
    sessions = reachable(draw_sessions(10_000, 96, 2), 96)
    price = np.random.default_rng(2).normal(50, 40, 96)
    begin = time.perf_counter()
    error = virtual_battery_error(aggregate_fleet(sessions, 96, HOURS), price)
    assert time.perf_counter() - begin < 5
    assert error.outer.cost_eur < error.exact.cost_eur
    bands = aggregate_fleet(sessions, 96, HOURS)
    check_follows(bands, error.exact.p_kw)


def test_limited_profile_is_the_one_of_single_cars() -> None:
    bands = aggregate_fleet(reachable(draw_sessions(60, 48, 3), 48), 48, HOURS)
    price = np.random.default_rng(3).normal(50, 40, 48)
    limit = np.full(48, 0.8 * cheapest_fleet_profile(bands, price).p_kw.max())
    limited = cheapest_limited_profile(bands, price, limit)
    assert limited.cost_eur == pytest.approx(cheapest_car_by_car(bands, price, limit), rel=RELATIVE)
    assert (limited.p_kw <= limit + 1e-6).all()
    check_follows(bands, limited.p_kw, tolerance=1e-5)


def test_a_limit_too_low_is_refused() -> None:
    bands = aggregate_fleet(reachable(draw_sessions(60, 48, 3), 48), 48, HOURS)
    with pytest.raises(InfeasibleError, match="limit"):
        cheapest_limited_profile(bands, np.ones(48), np.full(48, 0.1))


# Car A: 2 kWh at 1 kW, there in hours 0 to 2. Car B: 1 kWh at 1 kW, there in hours 0 to 3.
TWO_CARS = pd.DataFrame(
    {"arrival_step": [0, 0], "departure_step": [3, 4], "energy_kwh": [2.0, 1.0], "p_max_kw": [1.0, 1.0]}
)


def test_bands_of_two_cars() -> None:
    bands = aggregate_fleet(TWO_CARS, 4, 1.0)
    assert bands.p_max_kw.tolist() == [2, 2, 2, 1]
    assert bands.p_min_kw.tolist() == [0, 0, 0, 0]
    assert bands.e_max_kwh.tolist() == [2, 3, 3, 3]
    assert bands.e_min_kwh.tolist() == [0, 1, 2, 3]


def test_bands_promise_too_much() -> None:
    """Hours 0 and 3 are free, an hour between costs 1 EUR/kWh.

    In hour 0 both cars charge 1 kWh; car A needs another in hour 1 or 2: 1 EUR. The bands let car B's kWh
    stand in for car A's by hour 2, and charge a third one in hour 3, when only car B is there, for nothing.
    """
    bands = aggregate_fleet(TWO_CARS, 4, 1.0)
    error = virtual_battery_error(bands, np.array([0.0, 1000.0, 1000.0, 0.0]))
    assert error.exact.cost_eur == pytest.approx(1.0)
    assert error.outer.cost_eur == pytest.approx(0.0)
    assert error.outer.p_kw.tolist() == [2, 0, 0, 1]
    assert error.relative_error == pytest.approx(1.0)
    missed = find_violated_subset(bands, error.outer.p_kw)
    assert missed is not None
    # 2 kWh over hours 1 and 2 less the one that car A can have in hour 0
    assert (missed.is_upper, missed.steps.tolist(), missed.bound_kwh, missed.excess_kwh) == (False, [1, 2], 1.0, 1.0)
    with pytest.raises(InfeasibleError, match=r"steps 1, 2: .* at least 1 kWh"):
        disaggregate_fleet(bands, error.outer.p_kw)


def test_cars_of_different_power_follow_a_plan() -> None:
    """Car A: 2 kWh at 2 kW in hours 0 and 1, one hour to spare. Car B: 2 kWh at 1 kW in hours 0 to 3, two to spare."""
    stays = {"arrival_step": [0, 0], "departure_step": [2, 4], "energy_kwh": [2.0, 2.0], "p_max_kw": [2.0, 1.0]}
    bands = aggregate_fleet(pd.DataFrame(stays), 4, 1.0)
    for plan in ([0.0, 2, 1, 1], [2.0, 0, 1, 1], [1.0, 3, 0, 0], [1.5, 1.5, 0, 1]):
        check_follows(bands, np.array(plan), hours=1.0)


def test_stays_beyond_the_horizon() -> None:
    """By hand: 8 kWh at 4 kW from step -2 to 6 of one hour, horizon of 2 steps.

    Before the horizon, rated power has brought all 8 kWh. If only 1 kWh is in, 8 * 4/8 = 4 kWh are due at the
    end, hence 3 more, and at most the 7 that are missing.
    """
    stay = pd.DataFrame({"arrival_step": [-2], "departure_step": [6], "energy_kwh": [8.0], "p_max_kw": [4.0]})
    full = aggregate_fleet(stay, 2, 1.0)
    assert (full.e_min_kwh.tolist(), full.e_max_kwh.tolist()) == ([0, 0], [0, 0])
    early = aggregate_fleet(stay.assign(charged_kwh=1.0), 2, 1.0)
    assert (early.e_min_kwh.tolist(), early.e_max_kwh.tolist()) == ([0, 3], [4, 7])
    some = aggregate_fleet(stay.assign(charged_kwh=1.0, energy_min_kwh=4.0), 2, 1.0)
    assert some.e_min_kwh.tolist() == [0, 1]


def test_minimum_power_flows_in_every_step() -> None:
    """2 to 3 kWh in 2 hours with 1 to 2 kW: no step below 1 kW."""
    stay = {"arrival_step": [0], "departure_step": [2], "energy_kwh": [3.0], "p_max_kw": [2.0], "p_min_kw": [1.0]}
    bands = aggregate_fleet(pd.DataFrame(stay), 2, 1.0)
    assert cheapest_fleet_profile(bands, np.array([50.0, 0.0])).p_kw.tolist() == [1, 2]
    assert find_violated_subset(bands, np.array([0.5, 2.5])) is not None


def test_paid_energy_is_taken_up_to_the_most() -> None:
    stay = {"arrival_step": [0], "departure_step": [2], "energy_kwh": [3.0], "p_max_kw": [2.0], "energy_min_kwh": [1.0]}
    bands = aggregate_fleet(pd.DataFrame(stay), 2, 1.0)
    assert cheapest_fleet_profile(bands, np.array([-50.0, -20.0])).p_kw.tolist() == [2, 1]
    assert cheapest_fleet_profile(bands, np.array([-50.0, 20.0])).p_kw.tolist() == [2, 0]
    assert cheapest_fleet_profile(bands, np.array([50.0, 20.0])).p_kw.tolist() == [0, 1]


def test_a_fleet_without_cars() -> None:
    bands = aggregate_fleet(TWO_CARS.iloc[:0], 4, 1.0)
    assert cheapest_fleet_profile(bands, np.ones(4)).p_kw.tolist() == [0, 0, 0, 0]
    assert disaggregate_fleet(bands, np.zeros(4)).shape == (4, 0)


def test_impossible_sessions_are_named_together() -> None:
    rows = [[0, 2, 9.0, 1.0], [3, 3, 1.0, 1.0], [0, 2, 1.0, -1.0], [0, 2, np.nan, 1.0], [0, 2, 1.0, 1.0]]
    sessions = pd.DataFrame(rows, columns=list(TWO_CARS.columns), index=["a", "b", "c", "d", "fine"])
    with pytest.raises(DataError) as caught:
        aggregate_fleet(sessions.astype({"arrival_step": int, "departure_step": int}), 4, 1.0)
    for name in "abcd":
        assert f"session '{name}'" in str(caught.value)
    assert "fine" not in str(caught.value)


@pytest.mark.parametrize("sessions", [TWO_CARS.drop(columns="p_max_kw"), TWO_CARS.assign(arrival_step=0.5)])
def test_incomplete_tables_are_refused(sessions: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="incomplete"):
        aggregate_fleet(sessions, 4, 1.0)


def test_prices_need_one_value_per_step() -> None:
    bands = aggregate_fleet(TWO_CARS, 4, 1.0)
    with pytest.raises(DataError, match="price_eur_per_mwh: expected 4"):
        cheapest_fleet_profile(bands, np.ones(3))
