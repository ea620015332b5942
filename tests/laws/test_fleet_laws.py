"""Laws of what electric cars can do together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.optimize.fleet import FleetBands, aggregate_fleet, cheapest_fleet_profile, virtual_battery_error
from gridtwin.optimize.fleet_disaggregation import disaggregate_fleet, find_violated_subset

STEPS, HOURS = 8, 0.5
TOLERANCE_KWH = 1e-7
"""A thousand times the tolerance of a plan, 1e-9 of the energy of a fleet that has less than 1,000 kWh."""


@st.composite
def stays(draw: st.DrawFn) -> dict[str, float]:
    """One car that can meet its needs: due by departure is at most what rated power brings within the horizon."""
    arrival = draw(st.integers(-3, STEPS - 1))
    departure = draw(st.integers(max(arrival, 0) + 1, STEPS + 3))
    p_max = draw(st.floats(1, 22))
    p_min = draw(st.sampled_from([0.0, 0.3])) * p_max
    length = departure - arrival
    energy = HOURS * length * (p_min + draw(st.floats(0, 1)) * (p_max - p_min))
    return {
        "arrival_step": arrival,
        "departure_step": departure,
        "energy_kwh": energy,
        "p_max_kw": p_max,
        "p_min_kw": p_min,
        "energy_min_kwh": draw(st.sampled_from([1.0, 0.5])) * energy,
        "charged_kwh": energy * max(-arrival, 0) / length,
    }


fleets = st.lists(stays(), min_size=1, max_size=6).map(
    lambda cars: aggregate_fleet(pd.DataFrame(cars), STEPS, HOURS),
)
prices = st.lists(st.floats(-100, 100), min_size=STEPS, max_size=STEPS).map(np.array)


@settings(max_examples=100, deadline=None)
@given(bands=fleets, price=prices)
def test_the_bands_contain_what_the_cars_can_do(bands: FleetBands, price: np.ndarray) -> None:
    power = cheapest_fleet_profile(bands, price).p_kw
    energy = np.cumsum(power) * HOURS
    assert (power <= bands.p_max_kw + TOLERANCE_KWH).all()
    assert (power >= bands.p_min_kw - TOLERANCE_KWH).all()
    assert (energy <= bands.e_max_kwh + TOLERANCE_KWH).all()
    assert (energy >= bands.e_min_kwh - TOLERANCE_KWH).all()


@settings(max_examples=50, deadline=None)
@given(bands=fleets, price=prices)
def test_the_bands_never_cost_more(bands: FleetBands, price: np.ndarray) -> None:
    error = virtual_battery_error(bands, price)
    assert error.outer.cost_eur <= error.exact.cost_eur + 1e-6


@settings(max_examples=100, deadline=None)
@given(bands=fleets, price=prices, other=prices, share=st.floats(0, 1))
def test_every_mixture_of_profiles_is_followed_car_by_car(
    bands: FleetBands, price: np.ndarray, other: np.ndarray, share: float
) -> None:
    plan = share * cheapest_fleet_profile(bands, price).p_kw + (1 - share) * cheapest_fleet_profile(bands, other).p_kw
    power = disaggregate_fleet(bands, plan).to_numpy()
    cars, step = bands.cars, np.arange(STEPS)[:, None]
    plugged = (step >= cars.start) & (step < cars.stop)
    energy = power * HOURS
    assert power.sum(axis=1) == pytest.approx(plan, abs=TOLERANCE_KWH)
    assert (energy <= np.where(plugged, cars.step_max_kwh, 0) + TOLERANCE_KWH).all()
    assert (energy >= np.where(plugged, cars.step_min_kwh, 0) - TOLERANCE_KWH).all()
    assert (energy.sum(axis=0) <= cars.e_max_kwh + TOLERANCE_KWH).all()
    assert (energy.sum(axis=0) >= cars.e_min_kwh - TOLERANCE_KWH).all()


@settings(max_examples=100, deadline=None)
@given(bands=fleets, plan=st.lists(st.floats(0, 60), min_size=STEPS, max_size=STEPS).map(np.array), price=prices)
def test_a_violated_subset_separates_a_plan_from_the_fleet(
    bands: FleetBands, plan: np.ndarray, price: np.ndarray
) -> None:
    missed = find_violated_subset(bands, plan)
    if missed is None:
        assert disaggregate_fleet(bands, plan).to_numpy().sum(axis=1) == pytest.approx(plan, abs=TOLERANCE_KWH)
        return
    assert missed.excess_kwh > 0
    sign = 1 if missed.is_upper else -1
    planned = plan[missed.steps].sum() * HOURS
    possible = cheapest_fleet_profile(bands, price).p_kw[missed.steps].sum() * HOURS
    assert sign * (planned - missed.bound_kwh) == pytest.approx(missed.excess_kwh)
    assert sign * (possible - missed.bound_kwh) <= TOLERANCE_KWH
