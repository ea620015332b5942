"""Statistics reduced block by block against the same figures from full results; derivatives against differences."""

from __future__ import annotations

import numpy as np
import pandapower.networks as pn
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.profiles import build_shaped_profiles
from gridtwin.grid.snapshot import build_snapshot
from gridtwin.grid.twin import build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import run_sensitivities
from gridtwin.operate.statistics import run_power_flow_statistics
from gridtwin.time_axis import QUARTER_HOUR, TimeAxis

STEPS = 1500  # two parts of 1,024 steps, so that parts are merged


class NarrowRules:
    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.985, 1.01

    def loading_limit(self, element: str) -> float | None:
        return 40.0


@pytest.fixture(scope="module")
def twin():
    """CIGRE medium voltage with PV and wind, and a bus without supply."""
    net = pn.create_cigre_network_mv(with_der="pv_wind")
    net.bus.loc[99] = {"name": "dark", "vn_kv": 20.0, "in_service": True}
    return build_twin(net, rules=NarrowRules())


@pytest.fixture(scope="module")
def shaped(twin):
    rng = np.random.default_rng(4)
    axis = TimeAxis(pd.Timestamp("2016-01-01"), QUARTER_HOUR, STEPS, "UTC")
    snapshot = build_snapshot(twin)
    shapes = pd.DataFrame(
        {
            "shape": rng.integers(0, 3, len(twin.assets)),
            "p_scale_mw": snapshot["p_mw"].to_numpy()[0],
            "q_scale_mvar": snapshot["q_mvar"].to_numpy()[0],
        }
    )
    return build_shaped_profiles(
        axis, twin.assets, shapes, rng.uniform(0, 1.5, (STEPS, 3)), rng.uniform(0, 1.2, (STEPS, 3))
    )


@pytest.fixture(scope="module")
def plain(shaped) -> xr.Dataset:
    """The same, asset by asset."""
    columns = shaped["shape_of"].to_numpy()
    p = shaped["p_shape"].to_numpy()[:, columns] * shaped["p_scale_mw"].to_numpy()
    q = shaped["q_shape"].to_numpy()[:, columns] * shaped["q_scale_mvar"].to_numpy()
    coords = {"time": shaped["time"], "asset": shaped["asset"]}
    return xr.Dataset({"p_mw": (("time", "asset"), p), "q_mvar": (("time", "asset"), q)}, coords=coords)


@pytest.fixture(scope="module")
def flow(twin, plain) -> xr.Dataset:
    return run_power_flow(twin, plain).isel(path=0)


def test_shaped_profiles_flow_like_plain_ones(twin, shaped, flow) -> None:
    other = run_power_flow(twin, shaped).isel(path=0)
    # Powers are products in another order: equal within rounding, voltages within the solver's 1e-9 pu.
    np.testing.assert_allclose(other["vm_pu"], flow["vm_pu"], atol=1e-9)


def test_statistics_equal_those_of_full_results(twin, shaped, flow) -> None:
    found = run_power_flow_statistics(twin, shaped, percentiles=(5.0, 50.0, 99.0))
    vm, loading = flow["vm_pu"].to_numpy(), flow["loading_percent"].to_numpy()
    hours = 0.25
    close = {"rtol": 0, "atol": 1e-8}
    dark = np.isnan(vm).all(axis=0)
    assert dark.sum() == 1
    np.testing.assert_allclose(found["vm_min_pu"][~dark], vm[:, ~dark].min(axis=0), **close)
    np.testing.assert_allclose(found["vm_max_pu"][~dark], vm[:, ~dark].max(axis=0), **close)
    np.testing.assert_allclose(found["vm_mean_pu"][~dark], vm[:, ~dark].mean(axis=0), **close)
    assert found["vm_min_pu"][dark].isnull().all()
    assert found["time_of_vm_min"][dark].isnull().all()
    assert (found["time_of_vm_min"][~dark] == flow["time"].to_numpy()[vm[:, ~dark].argmin(axis=0)]).all()
    np.testing.assert_array_equal(found["under_voltage_h"][~dark], (vm[:, ~dark] < 0.985).sum(axis=0) * hours)
    np.testing.assert_array_equal(found["over_voltage_h"][~dark], (vm[:, ~dark] > 1.01).sum(axis=0) * hours)
    assert float(found["under_voltage_h"].max()) > 0
    rated = np.isfinite(loading).all(axis=0)
    np.testing.assert_allclose(found["loading_max_percent"][rated], loading[:, rated].max(axis=0), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found["overload_h"][rated], (loading[:, rated] > 40).sum(axis=0) * hours)
    over = np.maximum(loading[:, rated] - 40, 0).sum(axis=0) / 100 * twin.branches["s_rated_mva"].to_numpy()[rated]
    np.testing.assert_allclose(found["overload_mvah"][rated], over * hours, rtol=1e-6)
    assert float(found["overload_mvah"].max()) > 0
    np.testing.assert_allclose(found["e_loss_mwh"], flow["p_loss_mw"].sum("time") * hours, rtol=1e-6, atol=1e-9)
    for k, percent in enumerate((5.0, 50.0, 99.0)):
        # numpy's "inverted_cdf" is a value that occurs; ours is the middle of its bin, half a bin away at most.
        exact = np.percentile(vm[:, ~dark], percent, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(found["vm_percentile_pu"][k][~dark], exact, rtol=0, atol=0.0002001)
        exact = np.percentile(loading[:, rated], percent, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(found["loading_percentile_percent"][k][rated], exact, rtol=0, atol=0.1001)


def test_statistics_do_not_depend_on_threads(twin, shaped) -> None:
    one, two = (run_power_flow_statistics(twin, shaped, threads=threads) for threads in (1, 2))
    xr.testing.assert_identical(one, two)


def test_steps_with_gaps_count_nowhere(twin, plain) -> None:
    gaps = plain.isel(time=slice(0, 200)).copy(deep=True)
    gaps["p_mw"][:10, 0] = np.nan
    found = run_power_flow_statistics(twin, gaps)
    without = run_power_flow_statistics(twin, plain.isel(time=slice(10, 200)))
    assert found.attrs["steps_unsolved"] == 10
    np.testing.assert_array_equal(found["vm_min_pu"], without["vm_min_pu"])
    np.testing.assert_allclose(found["vm_mean_pu"], without["vm_mean_pu"], rtol=1e-14)
    np.testing.assert_array_equal(found["time_of_vm_min"], without["time_of_vm_min"])


@pytest.mark.parametrize("part", ["p_mw", "q_mvar"])
def test_sensitivities_equal_central_differences(twin, plain, part: str) -> None:
    base = plain.isel(time=slice(7, 9))
    asset = str(twin.assets.index[(twin.assets["element"] == "load").to_numpy()][5])
    bus = str(twin.assets.at[asset, "bus"])
    slopes = run_sensitivities(twin, base, [bus])
    unit = part.split("_")[1]
    # Half a step of 1 kW: the second derivative leaves 1e-7 relative, the solver's 1e-9 pu another 2e-6 pu/MW.
    delta = 1e-3
    more, less = base.copy(deep=True), base.copy(deep=True)
    more[part].loc[{"asset": asset}] += delta
    less[part].loc[{"asset": asset}] -= delta
    after, before = run_power_flow(twin, more), run_power_flow(twin, less)
    for name in ("vm_pu", "i_ka", "p_branch_mw"):
        difference = (after[name] - before[name]) / (2 * delta)
        slope = slopes[f"{name}_per_{unit}"].isel(at_bus=0)
        assert float(abs(slope).max()) > 1e-4
        # Between the two sides of the difference the more loaded end of a trafo may change, and with it the current.
        steady = (abs(after[name] / before[name] - 1) < 0.2) | (abs(after[name]) < 1e-6)
        assert float((steady | before[name].isnull()).mean()) > 0.95
        np.testing.assert_allclose(slope.where(steady), difference.where(steady), rtol=1e-4, atol=5e-6)
