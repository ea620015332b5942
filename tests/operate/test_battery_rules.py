"""Battery rules by hand, inside their limits on random profiles, and never better than the optimum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.operate.battery_rules import RuledBattery, run_peak_shaving, run_self_consumption, run_time_of_use
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.model import FlexibilityProblem, no_rows
from gridtwin.optimize.plan_devices import plan_devices


def series(values, freq="1h"):
    values = np.asarray(values, dtype=float)
    times = pd.date_range("2026-06-01", periods=values.shape[-1], freq=freq)
    dims = ("path", "time")[-values.ndim :]
    return xr.DataArray(values, coords={"time": times}, dims=dims)


def test_self_consumption_by_hand():
    """81 % round trip, 90 % each way: 2 MW of surplus store 1.8 MWh, which give back 1.62 MWh."""
    result = run_self_consumption(series([-2, -3, 1, 1]), RuledBattery(2.0, 2.0, 10.0, efficiency=0.81))
    assert result["p_mw"].to_numpy() == pytest.approx([2, 2, -1, -1])
    assert result["e_mwh"].to_numpy() == pytest.approx([1.8, 3.6, 3.6 - 1 / 0.9, 3.6 - 2 / 0.9])
    assert result["p_meter_mw"].to_numpy() == pytest.approx([0, -1, 0, 0])


def test_peak_shaving_by_hand():
    """Threshold 3, 2 MWh held for peaks: refills below 3, shaves the 5, uses for the 1 only what is above 2 MWh."""
    battery = RuledBattery(4.0, 4.0, 6.0, e_start_mwh=1.0, efficiency=1.0)
    result = run_peak_shaving(series([2.5, 2.5, 5, -4, 1, 1, 1]), battery, threshold_mw=3.0, reserve_mwh=2.0)
    assert result["p_meter_mw"].to_numpy() == pytest.approx([3, 3, 3, 0, 0, 0, 1])
    assert result["e_mwh"].to_numpy() == pytest.approx([1.5, 2, 0, 4, 3, 2, 2])
    assert result.attrs["hours_over"] == 0
    late = run_peak_shaving(series([9.0, 2.0]), battery, threshold_mw=3.0)
    assert late.attrs["hours_over"] == 1 and late.attrs["max_over_mw"] == pytest.approx(5)  # 1 MWh was there


def test_time_of_use_by_hand():
    net = series([1, 1, -1, 2, 2])
    price = pd.Series([10.0, 50, 50, 90, 90], index=net.indexes["time"])
    battery = RuledBattery(2.0, 3.0, 4.0, efficiency=1.0)
    result = run_time_of_use(net, battery, price=price, charge_below=20, discharge_above=80)
    assert result["p_mw"].to_numpy() == pytest.approx([2, 0, 1, -2, -1])


@given(st.integers(0, 10**6), st.sampled_from(["self", "peak", "time"]))
@settings(max_examples=60, deadline=None)
def test_never_outside_the_limits(seed, rule):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(0, 5, 2))
    battery = RuledBattery(*rng.uniform(0, 4, 2), high, low, rng.uniform(low, high), rng.uniform(0.5, 1))
    net = series(rng.normal(1, 3, (3, 96)), "15min")
    price = pd.Series(rng.normal(50, 30, 96), index=net.indexes["time"])
    runs = {
        "self": lambda: run_self_consumption(net, battery),
        "peak": lambda: run_peak_shaving(net, battery, threshold_mw=2.0, reserve_mwh=rng.uniform(0, high - low)),
        "time": lambda: run_time_of_use(net, battery, price=price, charge_below=30, discharge_above=70),
    }
    result = runs[rule]()
    power, energy = result["p_mw"].to_numpy(), result["e_mwh"].to_numpy()
    assert energy.min() >= low and energy.max() <= high
    assert power.max() <= battery.p_charge_mw and power.min() >= -battery.p_discharge_mw
    before = np.concatenate([np.full((3, 1), battery.e_start_mwh), energy[:, :-1]], axis=1)
    one_way = battery.efficiency**0.5
    gained = 0.25 * np.where(power > 0, one_way * power, power / one_way)
    assert np.abs(energy - before - gained).max() < 1e-12
    meter = result["p_meter_mw"].to_numpy()
    if rule == "self":  # never past zero at the meter
        assert (np.abs(meter) <= np.abs(net.to_numpy()) + 1e-12).all()
    if rule == "peak":  # never lifts the meter above the threshold, never makes a peak higher
        assert (meter <= np.maximum(net.to_numpy(), 2.0) + 1e-12).all()


HOUSE_KW = 1.5 + 2 * np.exp(-(((np.arange(96) - 76) / 8) ** 2)) - 6 * np.exp(-(((np.arange(96) - 50) / 12) ** 2))
PRICE = 0.25 + 0.1 * np.cos(2 * np.pi * (np.arange(96) / 4 - 19) / 24)


def cost_eur(meter_kw):
    """Draws pay price and 8 ct of fees, feed-in earns the price less 18 ct. [EUR]"""
    return 0.25 * float(np.sum((PRICE + 0.08) * np.maximum(meter_kw, 0) - (PRICE - 0.18) * np.maximum(-meter_kw, 0)))


def test_the_optimum_is_an_upper_bound_of_every_rule():
    """The same battery with all prices and the sun known beforehand, ending at least as full."""
    battery = RuledBattery(0.003, 0.003, 0.01, 0.0, 0.002, 0.9)
    net = series(HOUSE_KW / 1000, "15min")
    price = pd.Series(PRICE, index=net.indexes["time"])
    results = {
        "self": run_self_consumption(net, battery),
        "peak": run_peak_shaving(net, battery, threshold_mw=0.002, reserve_mwh=0.004),
        "time": run_time_of_use(net, battery, price=price, charge_below=0.16, discharge_above=0.30),
    }
    saved = {}
    for name, result in results.items():
        low = np.append(np.zeros(95), 1000 * result["e_mwh"].to_numpy()[-1] - 1e-9)
        device = Battery(
            "battery", "house", np.zeros(96), np.full(96, -3.0), np.full(96, 3.0), 3.0, 3.0, low, 10.0, 2.0, 0.9
        )
        terms = AreaTerms(PRICE, np.full(96, 0.08), np.full(96, 0.18))
        problem = FlexibilityProblem(np.full(96, 0.25), (device,), ("house",), terms, HOUSE_KW, no_rows(1), np.zeros(0))
        best = cost_eur(plan_devices(problem)["import_kw"].to_numpy())
        ruled, nothing = cost_eur(1000 * result["p_meter_mw"].to_numpy()), cost_eur(HOUSE_KW)
        # 0.01 EUR: the plan also pays 0.001 EUR per kW of the largest power
        assert best <= ruled + 0.01
        saved[name] = (nothing - ruled) / (nothing - best)
    assert saved["self"] > 0.5
    assert results["peak"]["p_meter_mw"].max() <= 0.002 + 1e-12


def test_faults_are_named():
    with pytest.raises(DataError) as caught:
        RuledBattery(-1.0, 1.0, 1.0, e_start_mwh=2.0, efficiency=1.1)
    assert len(caught.value.findings) == 3
    battery, net = RuledBattery(1.0, 1.0, 1.0), series([1.0, np.nan])
    with pytest.raises(DataError, match="gaps"):
        run_self_consumption(net, battery)
    with pytest.raises(DataError, match="threshold"):
        run_peak_shaving(net, battery, threshold_mw=1.0, reserve_mwh=2.0)
    with pytest.raises(DataError, match="other times"):
        run_time_of_use(net, battery, price=pd.Series([1.0]), charge_below=1, discharge_above=2)
