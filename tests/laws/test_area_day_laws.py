"""Laws of a network in its control area, whatever its power, its days and the rules of its market."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.data.control_area import read_control_area
from gridtwin.data.market_rules import list_market_rules, read_market_rules
from gridtwin.operate.area_day import NETWORK, AreaDay, run_area_day
from gridtwin.time_axis import TimeAxis

CLOSES_EUR, CLOSES_MWH = 1e-6, 1e-9
"""Sums of some thousand terms of at most some thousand EUR and MWh in double precision."""
AREA = read_control_area("continental_part")
DAYS = {92: dt.date(2026, 3, 29), 96: dt.date(2026, 1, 12), 100: dt.date(2026, 10, 25)}


class Network:
    """Random power, price and errors on one local day of 23, 24 or 25 hours."""

    def __init__(self, seed: int, steps: int, paths: int, size_mw: float) -> None:
        generator = np.random.default_rng(seed)
        self.axis = TimeAxis.of_days(DAYS[steps], 1, "Europe/Berlin")
        self.paths_mw = size_mw * (1 + 0.2 * generator.standard_normal((paths, steps)).cumsum(axis=1) / np.sqrt(steps))
        self.real_mw = size_mw * (1 + 0.2 * generator.standard_normal(steps).cumsum() / np.sqrt(steps))
        self.price = generator.normal(60, 50, steps)

    def run(self, market: str, **changes: int) -> AreaDay:
        coords = {"time": self.axis.times, "asset": ["all"]}
        scheduled = xr.Dataset({"p_mw": (("path", "time", "asset"), self.paths_mw[..., np.newaxis])}, coords=coords)
        actual = xr.Dataset({"p_mw": (("time", "asset"), self.real_mw[:, np.newaxis])}, coords=coords)
        prices = xr.Dataset({"price_eur_per_mwh": ("time", self.price)}, coords={"time": self.axis.times})
        return run_area_day(scheduled, actual, prices, AREA, read_market_rules(market), **changes)


networks = st.builds(
    Network, st.integers(0, 10**6), st.sampled_from(list(DAYS)), st.integers(2, 12), st.sampled_from([-0.4, 0.2, 3.0])
)


@given(networks, st.sampled_from(list_market_rules()), st.integers(0, 100))
@settings(max_examples=12, deadline=None)
def test_money_and_energy_close(network: Network, market: str, seed: int) -> None:
    day = network.run(market, seed=seed)
    assert day.dataset.sizes["time"] == network.axis.length
    accounts, periods = day.settlement.accounts, day.settlement.periods
    assert abs(accounts["balance_eur"].sum()) < CLOSES_EUR
    assert (accounts[["imbalance_eur", "energy_eur", "capacity_eur"]].sum().abs() < CLOSES_EUR).all()
    closing = periods["system_imbalance_mwh"] - periods["up_mwh"] + periods["down_mwh"] - periods["unintended_mwh"]
    assert closing.abs().max() < CLOSES_MWH
    # batteries give what they hold
    assert float(day.dataset["soc_percent"].min()) >= 0 and float(day.dataset["soc_percent"].max()) <= 100 + 1e-9


@given(networks, st.sampled_from(list_market_rules()))
@settings(max_examples=8, deadline=None)
def test_a_bill_is_price_times_imbalance(network: Network, market: str) -> None:
    """And its premium what the day-ahead price would have saved."""
    day = network.run(market).dataset
    power = np.vstack([network.paths_mw, network.real_mw])
    imbalance_mwh = (power - network.paths_mw.mean(axis=0)) / 4
    price = day["imbalance_price_eur_per_mwh"].to_numpy()
    tolerance = 1e-12 * np.abs(price).max() * np.abs(imbalance_mwh).max()
    np.testing.assert_allclose(day["imbalance_mwh"], imbalance_mwh, rtol=0, atol=1e-12)
    np.testing.assert_allclose(day["imbalance_cost_eur"], price * imbalance_mwh, rtol=0, atol=100 * tolerance)
    premium = (price - network.price) * imbalance_mwh
    np.testing.assert_allclose(day["imbalance_premium_eur"], premium, rtol=0, atol=100 * tolerance)


@given(networks)
@settings(max_examples=5, deadline=None)
def test_a_path_does_not_know_the_others(network: Network) -> None:
    """Every path twice: programme and peak stay, and so does all that the first half meets."""
    paths = len(network.paths_mw)
    half = network.run("eu_standard").dataset
    network.paths_mw = np.vstack([network.paths_mw] * 2)
    whole = network.run("eu_standard").dataset
    for name in ("f_hz", "p_activation_mw", "imbalance_price_eur_per_mwh"):
        scale = np.abs(half[name]).max()
        np.testing.assert_allclose(whole[name][:paths], half[name][:paths], rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("market", list_market_rules())
def test_the_network_is_billed_what_its_scenario_costs(market: str) -> None:
    day = Network(1, 96, 5, 0.3).run(market)
    imbalances = day.settlement.imbalances
    bill = imbalances.loc[imbalances["party"] == NETWORK, "paid_eur"].sum()
    assert day.costs["imbalance_cost_eur"].iloc[-1] == pytest.approx(bill, abs=CLOSES_EUR)
