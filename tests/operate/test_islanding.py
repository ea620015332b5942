"""Islands: frequency against closed forms, shedding by priority, energy by hand, black start on a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower
import pandas as pd
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from gridtwin.data.profiles import build_profiles
from gridtwin.data.restoration_rules import (
    list_restoration_rules,
    parse_restoration_rules,
    read_restoration_rules,
)
from gridtwin.data.rules import read_rules
from gridtwin.errors import DataError, NetworkError, ScenarioError
from gridtwin.grid.island import cut_island
from gridtwin.grid.twin import build_twin
from gridtwin.operate.battery_rules import RuledBattery
from gridtwin.operate.black_start import run_black_start
from gridtwin.operate.islanding import (
    IslandSource,
    lowest_frequency_hz,
    run_separation,
    settled_deviation_hz,
    survival_hours,
)
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.time_axis import TimeAxis

PLAN = read_restoration_rules("feeder_with_battery")


def table_of(**loads):
    return pd.DataFrame(loads, index=["p_mw", "priority"]).T


def test_the_shipped_plans_are_readable():
    assert list_restoration_rules() == ["feeder_with_battery"]
    assert PLAN.pickup_of("heat_pump").factor == 3 and PLAN.pickup_of("wind") is None
    with pytest.raises(ScenarioError, match="feeder_with_battery"):
        read_restoration_rules("feeder_with_batery")
    with pytest.raises(DataError) as caught:
        parse_restoration_rules('name = "x"\nstrange = 1\n')
    assert len(caught.value.findings) > 5


def test_the_frequency_settles_where_droop_and_damping_say():
    """0.3 MW missing: K = 2/(0.04 50) = 1 MW/Hz, D = 1.5/50 = 0.03 MW/Hz: -0.3/1.03 Hz."""
    source = IslandSource("battery", 2.0, 1.2, -2.0, inertia_s=4.0)
    result = run_separation([source], table_of(a=[1.0, 1], b=[0.5, 2]), PLAN)
    assert result.last_hz == pytest.approx(50 - 0.3 / 1.03, abs=1e-6)
    assert settled_deviation_hz([source], -0.3, 1.5, rules=PLAN) == pytest.approx(-0.3 / 1.03)
    assert result.survives and result.loads["on"].all()
    # power is in balance at the end
    end = result.trace.isel(time_s=-1)
    assert float(end["p_source_mw"].sum()) == pytest.approx(float(end["p_load_mw"]), abs=1e-6)


def test_the_trace_is_that_of_the_differential_equation():
    """Two sources, one at its limit after a while: an independent integration with small steps agrees to 1 mHz."""
    sources = [
        IslandSource("battery", 2.0, 0.5, -2.0, 0.05, 0.2, 1.0),
        IslandSource("engine", 0.8, 0.6, 0.0, 0.04, 3.0, 3.0),
    ]
    result = run_separation(sources, table_of(a=[2.2, 1]), PLAN.model_copy(update={"shedding": ()}), seconds=20)

    def rate(_time, x):
        inertia = 2 * (2.0 * 1.0 + 0.8 * 3.0) / 50
        y = np.clip(x[1:], [-2.5, -0.6], [1.5, 0.2])
        wanted = -np.array([2 / 2.5, 0.8 / 2.0]) * x[0]
        moves = (wanted - y) / [0.2, 3.0]
        moves[(y >= [1.5, 0.2]) & (moves > 0)] = 0
        return [(1.1 + y.sum() - 2.2 * (1 + x[0] / 50)) / inertia, *moves]

    times = result.trace["time_s"].to_numpy()
    exact = solve_ivp(rate, (0, 20), [0, 0, 0], t_eval=times, max_step=0.002, rtol=1e-8, atol=1e-10).y[0]
    assert np.abs(result.trace["f_hz"].to_numpy() - 50 - exact).max() < 1e-3
    assert float(result.trace["p_source_mw"].sel(source="engine").max()) == pytest.approx(0.8)


def test_loads_go_by_priority_until_the_rest_can_be_carried():
    """1 MW of source for 2 MW: the last priorities go first, what stays is carried."""
    source = IslandSource("battery", 1.0, 0.8, -1.0, inertia_s=15.0, response_s=0.1)
    loads = table_of(pump=[0.4, 1], shop=[0.4, 2], houses=[0.6, 3], cars=[0.6, 4])
    result = run_separation([source], loads, PLAN)
    assert result.loads["on"].to_dict() == {"pump": True, "shop": True, "houses": False, "cars": False}
    assert result.loads.loc["cars", "shed_s"] < result.loads.loc["houses", "shed_s"]
    assert result.loads.loc["cars", "reason"] == "frequency below 49 Hz"
    assert result.survives and result.lowest_hz < 49
    hopeless = run_separation([source], loads.assign(priority=1), PLAN)
    assert not hopeless.survives and hopeless.loads["on"].all()


def test_too_much_generation_lifts_the_frequency():
    source = IslandSource("water", 1.0, 0.9, 0.0, inertia_s=3.0)
    result = run_separation([source], table_of(a=[0.6, 1]), PLAN)
    assert result.last_hz == pytest.approx(50 + 0.3 / (0.5 + 0.6 / 50), abs=1e-3)


def test_a_load_step_in_an_island_in_balance():
    source = IslandSource("battery", 2.0, 1.0, -2.0, inertia_s=4.0)
    low = lowest_frequency_hz([source], 1.0, 0.4, rules=PLAN)
    settled = 50 + settled_deviation_hz([source], -0.4, 1.4, rules=PLAN)
    assert 49 < low < settled < 50


def test_hours_until_the_storage_is_empty():
    """9 MWh at 2 MW and 90 % one way: 8.1 MWh out, 4.05 h; with 1 MW of sun between hours 1 and 3, 5.05 h."""
    times = pd.date_range("2026-01-01", periods=8, freq="1h")
    net = xr.DataArray(
        [[2.0] * 8, [2, 1, 1, 2, 2, 2, 2, 2], [0.5] * 8, [3.0] * 8], coords={"time": times}, dims=("path", "time")
    )
    battery = RuledBattery(2.5, 2.5, 9.0, 0.0, 9.0, 0.81)
    assert survival_hours(net, battery).to_numpy() == pytest.approx([4.05, 5.05, np.inf, 0.0])


def test_faults_are_named():
    with pytest.raises(DataError) as caught:
        run_separation([IslandSource("a", 1.0, 2.0)], pd.DataFrame({"p_mw": [1.0]}), PLAN)
    assert len(caught.value.findings) == 3


# black start


def feeder() -> tuple:
    """0.4 kV: transformer, station bus with a battery, 200 m of cable to `near`, 600 m more to `far`."""
    net = pandapower.create_empty_network()
    mv, station, near, far = (
        pandapower.create_bus(net, kv, name=name)
        for kv, name in ((20.0, "mv"), (0.4, "station"), (0.4, "near"), (0.4, "far"))
    )
    pandapower.create_ext_grid(net, mv)
    pandapower.create_transformer(net, mv, station, "0.4 MVA 20/0.4 kV", name="trafo")
    pandapower.create_line(net, station, near, 0.2, "NAYY 4x150 SE", name="line 1")
    pandapower.create_line(net, near, far, 0.6, "NAYY 4x150 SE", name="line 2")
    for name, bus, mw in (("pump", near, 0.03), ("houses", near, 0.03), ("heating", far, 0.014), ("farm", far, 0.05)):
        pandapower.create_load(net, bus, mw, name=name)
    twin = build_twin(net, rules=read_rules("lv_planning"))
    loads = pd.DataFrame(
        {
            "p_mw": [0.03, 0.03, 0.014, 0.05],
            "priority": [1, 2, 3, 4],
            "kind": ["load", "household", "heat_pump", "load"],
        },
        index=["pump", "houses", "heating", "farm"],
    )
    return twin, loads


BATTERY = IslandSource("battery", 0.25, 0.0, -0.25, inertia_s=5.0, droop=0.02, e_mwh=2.0)


def test_an_island_has_its_own_slack():
    twin, loads = feeder()
    island = cut_island(twin, "station", open_branches=["trafo"], vm_pu=1.02)
    axis = TimeAxis(pd.Timestamp("2026-01-01"), length=2, zone="UTC")
    p_mw = np.tile(loads["p_mw"].reindex(island.assets.index).to_numpy(), (2, 1))
    flow = run_power_flow(island, build_profiles(axis, island.assets, p_mw, 0 * p_mw))
    assert flow.attrs["unsupplied_buses"] == ["mv"]
    pandapower.runpp(island.net, numba=False)
    assert np.abs(flow["vm_pu"].to_numpy()[0, 0, 1:] - island.net.res_bus["vm_pu"].to_numpy()[1:]).max() < 1e-8
    assert float(flow["p_slack_mw"][0, 0]) == pytest.approx(float(island.net.res_ext_grid["p_mw"].iloc[1]), abs=1e-8)
    with pytest.raises(NetworkError, match="no such branch"):
        cut_island(twin, "station", open_branches=["trafoo"])


def test_loads_come_back_in_the_order_of_the_plan():
    twin, loads = feeder()
    island = cut_island(twin, "station", open_branches=["trafo"])
    result = run_black_start([BATTERY], loads, PLAN, minutes=120, island=island)
    on = result.loads["on_minutes"]
    # 2, 10 and 30 minutes are the plan's; the farm's 0.05 MW drop more than 0.05 pu along 800 m
    assert on[["pump", "houses", "heating"]].tolist() == [2, 10, 30]
    assert np.isnan(on["farm"]) and result.loads.loc["farm", "reason"].startswith("voltage: changes by")
    course = result.course
    # minute 31: households still hold twice their power (21 of 15 minutes, decayed), heating three times
    factor = 1 + np.exp(-(31 - 10 - 15) / 30)
    assert course.loc[31, "p_load_mw"] == pytest.approx(0.03 + factor * 0.03 + 3 * 0.014)
    assert course["vm_min_pu"].min() >= PLAN.voltage.lowest_pu and np.isinf(result.ended_minutes)
    # energy out of the storage is what the loads took
    assert course["e_mwh"].iloc[-1] == pytest.approx(2.0 - course["p_load_mw"].sum() / 60)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p_rated_mw": 0.08}, "power: takes 0.06 MW at first"),
        ({"inertia_s": 0.1, "response_s": 3.0}, "frequency: falls to"),
        ({"e_mwh": 0.2}, "energy: the storages would last 3."),
    ],
)
def test_what_holds_a_load_back_is_named(changes, reason):
    _, loads = feeder()
    result = run_black_start([replace(BATTERY, **changes)], loads.iloc[:2], PLAN, minutes=20)
    assert result.loads.loc["houses", "reason"].startswith(reason) or result.loads.loc["pump", "reason"].startswith(
        reason
    )
    assert np.isnan(result.loads["on_minutes"]).any()


def test_a_storage_that_runs_empty_ends_the_island():
    _, loads = feeder()
    rules = PLAN.model_copy(update={"energy": PLAN.energy.model_copy(update={"least_hours": 0.0})})
    result = run_black_start([replace(BATTERY, e_mwh=0.01)], loads.iloc[:1], rules, minutes=60)
    # 0.03 MW from minute 2 on empty 0.01 MWh in 20 minutes
    assert result.ended_minutes == pytest.approx(22, abs=1)


def test_black_start_faults_are_named():
    twin, loads = feeder()
    with pytest.raises(DataError, match="lack kind"):
        run_black_start([BATTERY], loads.drop(columns="kind"), PLAN)
    with pytest.raises(DataError, match="no assets"):
        run_black_start([BATTERY], loads.rename({"farm": "barn"}), PLAN, island=twin)
