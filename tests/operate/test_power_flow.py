"""Labels, islands and attributes of a power flow; linear response."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import ConvergenceError, DataError
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import linear_response


class FlatRules:
    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.9, 1.1

    def loading_limit(self, element: str) -> float | None:
        return None


def build_net() -> pp.pandapowerNet:
    """20/0.4 kV trafo and a street of three buses; beyond an open switch a house without supply."""
    net = pp.create_empty_network()
    names = ["mv", "lv", "near", "far", "dark", "scrapped"]
    mv, *lv = [pp.create_bus(net, 0.4 if k else 20.0, name=name) for k, name in enumerate(names)]
    net.bus.loc[5, "in_service"] = False
    pp.create_ext_grid(net, mv, vm_pu=1.02)
    pp.create_transformer(net, mv, lv[0], "0.4 MVA 20/0.4 kV", name="T1")
    for k, name in enumerate(["L1", "L2", "L3"]):
        pp.create_line(net, lv[k], lv[k + 1], 0.2, "NAYY 4x150 SE", name=name)
    pp.create_switch(net, lv[2], 2, et="l", closed=False)
    pp.create_load(net, lv[1], 0.02, name="near house")
    pp.create_load(net, lv[2], 0.02, name="far house")
    pp.create_load(net, lv[3], 0.02, name="dark house")
    pp.create_load(net, lv[2], 0.02, name="old house", in_service=False)
    pp.create_sgen(net, lv[2], 0.02, name="roof")
    return net


@pytest.fixture(scope="module")
def twin() -> GridTwin:
    return build_twin(build_net(), rules=FlatRules())


def profiles_of(twin: GridTwin, steps: int = 3, **p_mw: float) -> xr.Dataset:
    """Constant power of the named assets (underscores are blanks), 0 of all others; q is a fifth."""
    values = np.zeros((steps, len(twin.assets)))
    for name, value in p_mw.items():
        values[:, twin.assets.index.get_loc(name.replace("_", " "))] = value
    coords = {
        "time": pd.date_range("2016", periods=steps, freq="15min"),
        "asset": twin.assets.index.to_numpy(dtype=str),
    }
    data = {"p_mw": (("time", "asset"), values), "q_mvar": (("time", "asset"), values / 5)}
    return xr.Dataset(data, coords=coords, attrs={"step": "P0DT0H15M0S", "zone": "Europe/Berlin"})


def test_dims_labels_and_units(twin) -> None:
    flow = run_power_flow(twin, profiles_of(twin, near_house=0.02))
    assert dict(flow.sizes) == {"path": 1, "time": 3, "bus": 6, "branch": 4}
    assert flow["vm_pu"].dims == ("path", "time", "bus")
    assert flow["loading_percent"].dims == ("path", "time", "branch")
    assert flow["p_slack_mw"].dims == flow["status"].dims == ("path", "time")
    assert flow["branch"].to_numpy().tolist() == ["L1", "L2", "L3", "T1"]
    assert flow["element"].to_numpy().tolist() == ["line", "line", "line", "trafo"]
    assert flow["vm_pu"].attrs["units"] == "pu"
    assert flow.attrs["zone"] == "Europe/Berlin"


def test_paths_keep_their_labels_and_order(twin) -> None:
    one = profiles_of(twin, near_house=0.02)
    paths = xr.concat([one, 2 * one], dim=pd.Index(["low", "high"], name="path"))
    flow = run_power_flow(twin, paths)
    alone = run_power_flow(twin, 2 * one)
    assert flow["path"].to_numpy().tolist() == ["low", "high"]
    np.testing.assert_array_equal(flow["vm_pu"].sel(path="high"), alone["vm_pu"].isel(path=0))
    assert (flow["p_slack_mw"].sel(path="high") > flow["p_slack_mw"].sel(path="low")).all()


def test_a_bus_without_supply_is_nan_and_named(twin) -> None:
    flow = run_power_flow(twin, profiles_of(twin, dark_house=0.02))
    assert flow.attrs["unsupplied_buses"] == ["dark", "scrapped"]
    assert flow.attrs["unsupplied_assets"] == ["dark house"]
    assert flow.attrs["unsupplied_p_mw"] == pytest.approx(0.02)
    assert (flow["status"] == 0).all()
    assert np.isnan(flow["vm_pu"].sel(bus=["dark", "scrapped"])).all()
    assert np.isfinite(flow["vm_pu"].sel(bus=["mv", "lv", "near", "far"])).all()


def test_a_line_without_current_is_loaded_by_nothing(twin) -> None:
    flow = run_power_flow(twin, profiles_of(twin, dark_house=0.02)).sel(branch="L3")
    assert (flow["loading_percent"] == 0).all()
    assert (flow["p_loss_mw"] == 0).all()


def test_an_asset_out_of_service_draws_nothing(twin) -> None:
    with_it = run_power_flow(twin, profiles_of(twin, near_house=0.01, old_house=0.5))
    without = run_power_flow(twin, profiles_of(twin, near_house=0.01))
    np.testing.assert_array_equal(with_it["p_slack_mw"], without["p_slack_mw"])
    assert "old house" not in with_it.attrs["unsupplied_assets"]


def test_pandapower_scaling_is_not_applied_again(twin) -> None:
    net = build_net()
    net.load["scaling"] = 0.1
    scaled = run_power_flow(build_twin(net, rules=FlatRules()), profiles_of(twin, near_house=0.02))
    plain = run_power_flow(twin, profiles_of(twin, near_house=0.02))
    # The tables only decide where iterations start: both end within 1e-9 pu of the same solution.
    np.testing.assert_allclose(scaled["vm_pu"], plain["vm_pu"], rtol=0, atol=1e-9)


def test_a_gap_is_a_status_of_its_step_alone(twin) -> None:
    profiles = profiles_of(twin, near_house=0.02)
    profiles["p_mw"][1, 0] = np.nan
    flow = run_power_flow(twin, profiles)
    assert flow["status"].to_numpy().tolist() == [[0, 2, 0]]
    assert np.isnan(flow["p_slack_mw"][0, 1])


def test_no_solvable_step_at_all_is_an_error(twin) -> None:
    with pytest.raises(ConvergenceError, match="3 diverged"):
        run_power_flow(twin, profiles_of(twin, far_house=20.0))


def test_unknown_assets_are_an_error(twin) -> None:
    with pytest.raises(DataError, match="missing: roof"):
        run_power_flow(twin, profiles_of(twin).drop_sel(asset="roof"))


def test_a_network_of_slack_buses_only() -> None:
    net = pp.create_empty_network()
    bus = pp.create_bus(net, 0.4, name="busbar")
    pp.create_ext_grid(net, bus, vm_pu=1.01)
    pp.create_load(net, bus, 0.02, name="house")
    twin = build_twin(net, rules=FlatRules())
    flow = run_power_flow(twin, profiles_of(twin, house=0.02))
    np.testing.assert_allclose(flow["p_slack_mw"], 0.02)
    np.testing.assert_allclose(flow["q_slack_mvar"], 0.004)
    np.testing.assert_allclose(flow["vm_pu"], 1.01)


def test_linear_response_predicts_another_operating_point(twin) -> None:
    base = profiles_of(twin, steps=1, near_house=0.02, far_house=0.03, roof=-0.01)
    moved = base.copy(deep=True)
    moved["p_mw"].loc[{"asset": "far house"}] += 0.002
    flows, voltages = linear_response(twin, base, ["near", "far"])
    before, after = (run_power_flow(twin, profiles).isel(path=0, time=0) for profiles in (base, moved))
    # Second-order terms of 2 kW against a fault level of some MW: parts in a thousand.
    expected = after["p_branch_mw"] - before["p_branch_mw"]
    np.testing.assert_allclose(0.002 * flows[:, 1], expected, rtol=5e-3, atol=1e-9)
    np.testing.assert_allclose(0.002 * voltages[:, 1], after["vm_pu"] ** 2 - before["vm_pu"] ** 2, rtol=5e-3, atol=1e-8)


def test_linear_response_has_the_signs_of_consumption(twin) -> None:
    base = profiles_of(twin, steps=1, near_house=0.02, far_house=0.03)
    response = linear_response(twin, base, ["near", "far"])
    rows = twin.branches.index.get_indexer(["T1", "L1", "L2", "L3"])
    assert (response.p_branch_mw_per_mw[rows[:2]] > 1).all()
    assert response.p_branch_mw_per_mw[rows[2], 0] == pytest.approx(0, abs=0.01)
    assert response.p_branch_mw_per_mw[rows[2], 1] > 1
    assert (response.p_branch_mw_per_mw[rows[3]] == 0).all()
    far = twin.buses.index.get_loc("far")
    assert response.vm_squared_pu_per_mw[far, 1] < response.vm_squared_pu_per_mw[far, 0] < 0


def test_linear_response_wants_one_step_and_known_buses(twin) -> None:
    with pytest.raises(DataError, match="3 steps"):
        linear_response(twin, profiles_of(twin), ["near"])
    with pytest.raises(DataError, match="moon"):
        linear_response(twin, profiles_of(twin, steps=1), ["near", "moon"])
