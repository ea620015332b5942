"""The feeder head against a model whose true scale is known."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.data.rules import read_rules
from gridtwin.errors import DataError
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.observe import observe_feeder_head
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.time_axis import TimeAxis

START = pd.Timestamp("2016-05-31 22:00")


def build() -> GridTwin:
    net = pp.create_empty_network()
    mv, lv, end = (pp.create_bus(net, vn, name=name) for name, vn in (("MV", 20.0), ("A", 0.4), ("B", 0.4)))
    pp.create_ext_grid(net, mv)
    pp.create_transformer(net, mv, lv, "0.4 MVA 20/0.4 kV", name="trafo")
    pp.create_line(net, lv, end, 0.2, "NAYY 4x150 SE", name="line")
    for name, kind, origin in (("house", "household", "network"), ("shop", "commercial", "network"),
                               ("new house", "household", "growth")):  # fmt: skip
        row = pp.create_load(net, end, 0.05, name=name)
        net.load.loc[row, ["kind", "origin"]] = [kind, origin]
    return build_twin(net, rules=read_rules("lv_planning"))


def profiles_of(twin: GridTwin, *, steps: int = 192, house: float = 1.0, grown: float = 0.02) -> Profiles:
    axis = TimeAxis(START, length=steps)
    wave = 1 + 0.5 * np.sin(np.arange(steps) / 96 * 2 * np.pi)
    p = np.column_stack([house * 0.04 * wave, np.full(steps, 0.03), np.full(steps, grown)])
    return build_profiles(axis, twin.assets.loc[["house", "shop", "new house"]], p, 0.2 * p)


def measured(twin: GridTwin, truth: Profiles, *, steps: int = 192) -> xr.Dataset:
    """What a meter at the feeder head sees of the truth in the first `steps`."""
    slack = run_power_flow(twin, truth)["p_slack_mw"].isel(path=0, time=slice(0, steps), drop=True)
    return xr.Dataset({"p_mw": slack}, attrs={"kind": "measured"})


def test_a_known_scale_is_found_with_losses_and_without_growth() -> None:
    twin = build()
    head = measured(twin, profiles_of(twin, house=1.3, grown=0.0))
    model = profiles_of(twin)
    seen = observe_feeder_head(twin, model, head)
    # The energies agree to 1e-6; two thirds of the flow are scaled.
    assert seen.factor == pytest.approx(1.3, abs=3e-6)
    scaled, before = seen.profiles["p_mw"], model["p_mw"]
    assert scaled.sel(asset="house").to_numpy() == pytest.approx(1.3 * before.sel(asset="house").to_numpy(), rel=3e-6)
    for untouched in ("shop", "new house"):
        assert np.array_equal(scaled.sel(asset=untouched), before.sel(asset=untouched))
    assert seen.profiles["quality"].isel(time=0).to_numpy().tolist() == [2, 0, 0]
    q_ratio = (seen.profiles["q_mvar"] / scaled).sel(asset="house").to_numpy()
    assert q_ratio == pytest.approx(np.full(192, 0.2))


def test_the_table_compares_before_and_after() -> None:
    twin = build()
    truth = profiles_of(twin, house=1.3, grown=0.0)
    head = measured(twin, truth)
    table = observe_feeder_head(twin, profiles_of(twin), head).table.set_index("model")
    before, after = table.loc["before"], table.loc["after"]
    energy = float(head["p_mw"].sum()) * 0.25
    assert before["measured_energy_mwh"] == pytest.approx(energy)
    assert after["model_energy_mwh"] == pytest.approx(energy, rel=1e-6)
    # Without losses the model lacks 0.3 * 0.04 MW in the mean; losses add less than a tenth.
    assert -0.0132 < before["mean_difference_mw"] < -0.012
    assert before["rmse_mw"] > 0.012 and before["largest_difference_mw"] < 0.3 * 0.06 * 1.15
    assert after["rmse_mw"] == pytest.approx(0, abs=1e-6)
    assert (after["window_start"], after["window_end"]) == (START, START + pd.Timedelta("2D"))
    assert (after["steps"], after["kind"]) == (192, "measured")
    # Every day has the same truth, up to the losses that the day's own first-order factor leaves out.
    assert 1.3 < after["factor_p05"] <= after["factor_p95"] < 1.34


def test_only_intervals_with_both_count_but_the_whole_profile_is_scaled() -> None:
    twin = build()
    head = measured(twin, profiles_of(twin, house=0.8, grown=0.0), steps=96)
    head["p_mw"][10:20] = np.nan
    seen = observe_feeder_head(twin, profiles_of(twin), head)
    assert seen.table["steps"].tolist() == [86, 86]
    assert seen.factor == pytest.approx(0.8, abs=3e-6)
    assert float(seen.profiles["p_mw"].sel(asset="house")[-1]) == pytest.approx(
        0.8 * float(profiles_of(twin)["p_mw"].sel(asset="house")[-1]), rel=1e-5
    )
    assert [finding.code for finding in seen.findings] == ["GT-M04"]
    assert "no full state estimation" in seen.findings[0].what and "state estimation" in seen.note


@pytest.mark.parametrize("house", [0.3, 2.5])
def test_an_implausible_scale_changes_nothing_and_warns(house: float) -> None:
    twin = build()
    model = profiles_of(twin)
    seen = observe_feeder_head(twin, model, measured(twin, profiles_of(twin, house=house, grown=0.0)))
    assert seen.factor == 1.0 and seen.profiles is model
    assert [(finding.code, finding.severity) for finding in seen.findings] == [("GT-M03", "warning")]
    assert seen.table["model"].tolist() == ["before"]


def test_kinds_that_the_network_lacks_change_nothing_and_warn() -> None:
    twin = build()
    model = profiles_of(twin)
    seen = observe_feeder_head(twin, model, measured(twin, profiles_of(twin, house=1.1)), ["agricultural"])
    assert (seen.factor, seen.findings[0].code) == (1.0, "GT-M02")
    assert seen.profiles is model


def test_measurements_of_another_year_change_nothing_and_warn() -> None:
    twin = build()
    head = measured(twin, profiles_of(twin, house=1.3))
    late = head.assign_coords(time=head["time"] + np.timedelta64(400, "D"))
    seen = observe_feeder_head(twin, profiles_of(twin), late)
    assert (seen.factor, seen.findings[0].code, len(seen.table)) == (1.0, "GT-M01", 0)


def test_hourly_means_are_not_taken_for_quarter_hours() -> None:
    twin = build()
    head = measured(twin, profiles_of(twin, house=1.3)).isel(time=slice(0, None, 4))
    with pytest.raises(DataError, match="another step"):
        observe_feeder_head(twin, profiles_of(twin), head)


def test_without_a_measurement_nothing_happens() -> None:
    twin = build()
    model = profiles_of(twin)
    seen = observe_feeder_head(twin, model, None)
    assert seen.profiles is model and seen.findings == () and seen.table.empty
