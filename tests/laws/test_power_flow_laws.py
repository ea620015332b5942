"""Laws that every solved step obeys, whatever the network."""

from __future__ import annotations

import functools

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow


class FlatRules:
    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.9, 1.1

    def loading_limit(self, element: str) -> float | None:
        return None


@functools.cache
def cigre() -> GridTwin:
    """Medium voltage with rings closed, so that power finds more than one way."""
    net = pn.create_cigre_network_mv(with_der="pv_wind")
    net.switch["closed"] = True
    return build_twin(net, rules=FlatRules())


@functools.cache
def street() -> GridTwin:
    """A trafo and one bus with one asset of each table."""
    net = pp.create_empty_network()
    mv, lv = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4, name="lv")
    end = pp.create_bus(net, 0.4, name="end")
    pp.create_ext_grid(net, mv)
    pp.create_transformer(net, mv, lv, "0.4 MVA 20/0.4 kV", name="T1")
    pp.create_line(net, lv, end, 0.3, "NAYY 4x150 SE", name="L1")
    pp.create_load(net, end, 0.0, name="load")
    pp.create_sgen(net, end, 0.0, name="sgen")
    pp.create_storage(net, end, 0.0, max_e_mwh=1.0, name="storage")
    return build_twin(net, rules=FlatRules())


def profiles_of(twin: GridTwin, p_mw: np.ndarray, q_mvar: np.ndarray) -> xr.Dataset:
    times = pd.date_range("2016", periods=len(p_mw), freq="15min")
    coords = {"time": times, "asset": twin.assets.index.to_numpy(dtype=str)}
    return xr.Dataset({"p_mw": (("time", "asset"), p_mw), "q_mvar": (("time", "asset"), q_mvar)}, coords=coords)


def random_profiles(twin: GridTwin, seed: int, steps: int = 20) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    shape = (steps, len(twin.assets))
    return profiles_of(twin, rng.uniform(-1.5, 2.0, shape), rng.uniform(-0.3, 0.5, shape))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_upstream_power_is_consumption_and_losses(seed: int) -> None:
    twin = cigre()
    profiles = random_profiles(twin, seed)
    flow = run_power_flow(twin, profiles).isel(path=0)
    needed = profiles["p_mw"].sum("asset") + flow["p_loss_mw"].sum("branch")
    # 15 buses with a mismatch of at most 1e-7 MVA times the injection each.
    np.testing.assert_allclose(flow["p_slack_mw"], needed, atol=5e-6)
    assert (flow["p_loss_mw"] >= 0).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_power_balances_at_every_bus(seed: int) -> None:
    twin = cigre()
    profiles = random_profiles(twin, seed)
    flow = run_power_flow(twin, profiles).isel(path=0)
    balance = pd.DataFrame(0.0, index=profiles["time"].to_numpy(), columns=twin.buses.index)
    for name, branch in twin.branches.iterrows():
        one = flow.sel(branch=name)
        balance[branch["from_bus"]] += one["p_branch_mw"].to_numpy()
        balance[branch["to_bus"]] += (one["p_loss_mw"] - one["p_branch_mw"]).to_numpy()
    for name, bus in twin.assets["bus"].items():
        balance[bus] += profiles["p_mw"].sel(asset=name).to_numpy()
    slack = twin.buses.index[twin.buses["index"] == twin.net.ext_grid.at[0, "bus"]][0]
    balance[slack] -= flow["p_slack_mw"].to_numpy()
    np.testing.assert_allclose(balance, 0, atol=5e-6)


@pytest.mark.parametrize("asset", ["load", "sgen", "storage"])
def test_consumption_of_any_asset_draws_from_upstream_and_lowers_the_voltage(asset: str) -> None:
    twin = street()
    p_mw = np.zeros((3, 3))
    p_mw[:, twin.assets.index.get_loc(asset)] = [0.05, 0.0, -0.05]
    flow = run_power_flow(twin, profiles_of(twin, p_mw, 0 * p_mw)).isel(path=0)
    end, slack = flow["vm_pu"].sel(bus="end").to_numpy(), flow["p_slack_mw"].to_numpy()
    assert end[0] < end[1] < end[2]
    assert slack[0] > 0.05 > slack[1] > 0 > slack[2] > -0.05
    line = flow["p_branch_mw"].sel(branch="L1").to_numpy()
    assert line[0] > 0.05
    assert -0.05 < line[2] < 0


@pytest.mark.parametrize("asset", ["load", "sgen", "storage"])
def test_inductive_consumption_draws_reactive_power_and_lowers_the_voltage(asset: str) -> None:
    twin = street()
    q_mvar = np.zeros((3, 3))
    q_mvar[:, twin.assets.index.get_loc(asset)] = [0.03, 0.0, -0.03]
    flow = run_power_flow(twin, profiles_of(twin, 0 * q_mvar, q_mvar)).isel(path=0)
    end, slack = flow["vm_pu"].sel(bus="end").to_numpy(), flow["q_slack_mvar"].to_numpy()
    assert end[0] < end[1] < end[2]
    assert slack[0] > slack[1] > slack[2]
    assert slack[0] > 0.03
    assert slack[2] < 0


def test_tables_of_the_net_differ_in_sign_only_outside_profiles() -> None:
    # The same consumption through a load, a static generator or a storage is the same power flow.
    twin = street()
    p_mw = 0.04 * np.eye(3)
    flow = run_power_flow(twin, profiles_of(twin, p_mw, p_mw / 4)).isel(path=0)
    np.testing.assert_array_equal(flow["vm_pu"][0], flow["vm_pu"][1])
    np.testing.assert_array_equal(flow["vm_pu"][0], flow["vm_pu"][2])


def test_no_consumption_leaves_only_the_network_itself() -> None:
    twin = street()
    zero = np.zeros((1, 3))
    flow = run_power_flow(twin, profiles_of(twin, zero, zero)).isel(path=0, time=0)
    assert int(flow["iterations"]) == 1
    np.testing.assert_allclose(flow["p_slack_mw"], flow["p_loss_mw"].sum(), atol=1e-10)
    # Iron losses of the 0.4 MVA trafo: 1.35 kW at rated voltage.
    np.testing.assert_allclose(flow["p_slack_mw"], 0.00135, rtol=2e-2)
