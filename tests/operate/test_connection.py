"""Connection requests against scans with pandapower and against a hand calculation."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.data.rules import RuleSet, read_rules
from gridtwin.errors import ScenarioError
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate import connection as module
from gridtwin.operate.connection import check_connections
from gridtwin.scenario import Connection
from gridtwin.time_axis import TimeAxis

START = pd.Timestamp("2016-05-31 22:00")


def build_net(*, km: float = 0.4) -> pp.pandapowerNet:
    """A 0.4 kV source, one cable, one house and one PV system at its end."""
    net = pp.create_empty_network()
    source, end = (pp.create_bus(net, 0.4, name=name) for name in ("source", "end"))
    pp.create_ext_grid(net, source, vm_pu=1.025)
    pp.create_line(net, source, end, km, "NAYY 4x150 SE", name="cable")
    pp.create_load(net, end, 0.02, name="house")
    pp.create_sgen(net, end, 0.03, name="pv")
    net.sgen["kind"] = "pv"
    return net


def rules_without_rise() -> RuleSet:
    return read_rules("lv_planning").model_copy(update={"rise": ()})


def profiles_of(twin: GridTwin, house: list[float], pv: list[float]) -> Profiles:
    p = np.column_stack([house, [-value for value in pv]])
    axis = TimeAxis(START, length=len(house))
    return build_profiles(axis, twin.assets.loc[["house", "pv"]], p, np.column_stack([0.2 * p[:, 0], 0 * p[:, 1]]))


def one(twin: GridTwin, profiles: Profiles, kw: float, kind: str, cos_phi: float = 1.0) -> pd.Series:
    request = Connection(name="r", bus="end", kw=kw, kind=kind, cos_phi=cos_phi)
    return check_connections(twin, profiles, [request]).iloc[0]


@pytest.mark.parametrize(
    ("kind", "cos_phi", "km", "quantity", "step"),
    [
        ("load", 0.95, 0.4, "vm_pu", 1),
        ("load", 1.0, 0.05, "loading_percent", 1),
        ("generator", 1.0, 0.4, "vm_pu", 2),
    ],
)
def test_the_largest_power_is_that_of_a_scan_with_pandapower(
    kind: str, cos_phi: float, km: float, quantity: str, step: int
) -> None:
    net = build_net(km=km)
    twin = build_twin(net, rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.01, 0.03, 0.005], pv=[0.0, 0.0, 0.03])
    answer = one(twin, profiles, 20.0, kind, cos_phi)
    sign = 1 if kind == "load" else -1
    tangent = np.tan(np.arccos(cos_phi))
    # Start the scan shortly below, so that it stays short; every power in it is judged anew.
    below = round(answer["largest_kw"] - 0.3, 1)
    net.load.loc[0, "p_mw"] = 0.0
    expected = scan_from(net, profiles, sign, tangent, below)
    assert answer["largest_kw"] == pytest.approx(expected, abs=1e-9)
    assert (answer["limiting_quantity"], answer["fits"]) == (quantity, True)
    assert answer["limiting_asset"] == ("cable" if quantity == "loading_percent" else "end")
    assert answer["limiting_time"] == START + step * pd.Timedelta("15min")


def scan_from(net: pp.pandapowerNet, profiles: Profiles, sign: int, tangent: float, below_kw: float) -> float:
    """Largest 0.1 kW power above `below_kw` that pandapower lets pass in every step; `below_kw` itself must pass."""
    row = pp.create_load(net, 1, 0.0)
    largest = np.nan
    for tenths in range(round(below_kw * 10), round(below_kw * 10) + 40):
        net.load.loc[row, ["p_mw", "q_mvar"]] = [sign * tenths * 1e-4, tenths * 1e-4 * tangent]
        if not all(passes(net, step) for step in profiles["p_mw"].to_numpy()):
            return largest
        largest = tenths / 10
    raise AssertionError("the scan found no limit")


def passes(net: pp.pandapowerNet, step: np.ndarray) -> bool:
    net.load.loc[0, ["p_mw", "q_mvar"]] = [step[0], 0.2 * step[0]]
    net.sgen.loc[0, "p_mw"] = -step[1]
    pp.runpp(net, numba=False)
    return bool(0.94 <= net.res_bus.vm_pu.at[1] <= 1.075 and net.res_line.loading_percent.at[0] <= 100)


def test_a_request_above_the_largest_does_not_fit_and_its_value_is_told() -> None:
    net = build_net()
    twin = build_twin(net, rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.01, 0.03], pv=[0.0, 0.0])
    largest = one(twin, profiles, 10.0, "load")["largest_kw"]
    answer = one(twin, profiles, largest + 5, "load")
    assert not answer["fits"] and answer["largest_kw"] == largest
    assert one(twin, profiles, largest, "load")["fits"]
    pp.create_load(net, 1, (largest + 5) / 1000)
    net.load.loc[0, ["p_mw", "q_mvar"]] = [0.03, 0.006]
    net.sgen["p_mw"] = 0.0
    pp.runpp(net, numba=False)
    # 1e-8 pu is pandapower's tolerance
    assert answer["worst_value"] == pytest.approx(net.res_bus.vm_pu.at[1], abs=1e-7)
    assert answer["limit"] == 0.94 and answer["worst_value"] < 0.94


def test_generators_are_held_to_the_common_voltage_rise() -> None:
    """VDE-AR-N 4105: 3 % against the network without any feed-in, the PV that is there included."""
    twin = build_twin(build_net(), rules=read_rules("lv_planning"))
    profiles = profiles_of(twin, house=[0.02, 0.02], pv=[0.0, 0.03])
    answer = one(twin, profiles, 5.0, "generator")
    assert (answer["limiting_quantity"], answer["limit"]) == ("vm_rise_pu", 0.03)
    assert answer["limiting_time"] == START + pd.Timedelta("15min")
    net = build_net()
    rises = []
    for extra_kw in (answer["largest_kw"], answer["largest_kw"] + 0.1):
        vm_pu = []
        for feed_in in (0.03 + extra_kw / 1000, 0.0):
            net.load.loc[0, ["p_mw", "q_mvar"]] = [0.02, 0.004]
            net.sgen["p_mw"] = feed_in
            pp.runpp(net, numba=False)
            vm_pu.append(net.res_bus.vm_pu.at[1])
        rises.append(vm_pu[0] - vm_pu[1])
    assert rises[0] <= 0.03 < rises[1]
    assert one(twin, profiles, 5.0, "load")["limiting_quantity"] != "vm_rise_pu"


def test_steps_that_were_not_critical_at_first_still_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the request the worst overload is at noon (PV); with a load it is in the evening, in another block."""
    monkeypatch.setattr(module, "STEPS_PER_BLOCK", 2)
    twin = build_twin(build_net(km=0.05), rules=rules_without_rise())
    steps = {"house": [0.0, 0.0, 0.04, 0.01, 0.01], "pv": [0.06, 0.07, 0.0, 0.0, 0.05]}
    whole = one(twin, profiles_of(twin, **steps), 30.0, "load")
    evening = one(twin, profiles_of(twin, house=[0.04, 0.04], pv=[0.0, 0.0]), 30.0, "load")
    assert whole["largest_kw"] == evening["largest_kw"]
    assert whole["limiting_time"] == START + 2 * pd.Timedelta("15min")


def test_a_limit_that_is_broken_already_may_not_be_broken_further() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.15, 0.0], pv=[0.0, 0.01])
    load, generator = one(twin, profiles, 5.0, "load"), one(twin, profiles, 5.0, "generator")
    assert load["already_violated_without"] and generator["already_violated_without"]
    # 0.1 % of 0.94 pu is all that is left, at P R / U^2 = 0.00052 pu per kW (0.083 ohm) and more at low voltage
    assert not load["fits"] and 0 < load["largest_kw"] < 0.00094 / 0.00052
    assert generator["fits"] and generator["largest_kw"] > 20


def test_every_path_counts() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    calm = profiles_of(twin, house=[0.01, 0.01], pv=[0.0, 0.0])
    busy = profiles_of(twin, house=[0.01, 0.04], pv=[0.0, 0.0])
    both = calm.assign({name: busy[name].expand_dims(path=[0]) for name in ("p_mw", "q_mvar")})
    both = both.reindex(path=[0, 1]).copy()
    for name in ("p_mw", "q_mvar"):
        both[name][1] = calm[name]
    assert one(twin, both, 5.0, "load")["largest_kw"] == one(twin, busy, 5.0, "load")["largest_kw"]
    assert one(twin, calm, 5.0, "load")["largest_kw"] > one(twin, busy, 5.0, "load")["largest_kw"] + 20


def test_a_request_at_the_source_is_not_limited_by_the_network() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.01, 0.01], pv=[0.0, 0.0])
    answer = check_connections(twin, profiles, [Connection(name="r", bus="source", kw=50, kind="load")]).iloc[0]
    assert answer["fits"] and np.isinf(answer["largest_kw"])
    assert answer["limiting_asset"] == "" and pd.isna(answer["limiting_time"])


def test_gaps_are_counted_and_not_judged() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.01, np.nan, 0.02], pv=[0.0, 0.0, 0.0])
    answer = one(twin, profiles, 5.0, "load")
    assert answer["steps_unsolved"] == 1 and answer["fits"]


def test_unknown_buses_are_all_named_with_the_nearest() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    profiles = profiles_of(twin, house=[0.01, 0.01], pv=[0.0, 0.0])
    requests = [
        Connection(name="a", bus="ende", kw=1, kind="load"),
        Connection(name="b", bus="sauce", kw=1, kind="load"),
    ]
    with pytest.raises(ScenarioError) as caught:
        check_connections(twin, profiles, requests)
    assert "Did you mean end?" in str(caught.value) and "Did you mean source?" in str(caught.value)


def test_no_requests_give_an_empty_table_with_its_columns() -> None:
    twin = build_twin(build_net(), rules=rules_without_rise())
    table = check_connections(twin, profiles_of(twin, house=[0.01, 0.01], pv=[0.0, 0.0]), ())
    assert table.empty and list(table.columns) == list(module.COLUMNS)
