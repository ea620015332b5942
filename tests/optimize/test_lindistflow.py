"""The straight branch flow equations against the exact sensitivities and against AC power flow."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandapower
import pytest
import xarray as xr

from gridtwin.data.rules import read_rules
from gridtwin.errors import NetworkError
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import linear_response, run_sensitivities
from gridtwin.optimize.lindistflow import (
    RadialSlopes,
    condense,
    linearise_radial,
    lossless_slopes,
    read_state,
    respond,
    slopes_at,
    slopes_of_step,
    solve_tree,
)
from gridtwin.optimize.radial_network import SLACK, RadialNetwork, find_edges, is_radial, read_radial_network

RADIAL = ["1-LV-rural3--2-sw", "1-LV-semiurb4--2-sw", "1-MV-urban--2-sw", "1-MV-rural--2-sw"]


@cache
def twin_of(code: str) -> GridTwin:
    return build_twin(read_simbench(code)[0], rules=read_rules("mv_planning" if "MV" in code else "lv_planning"))


def profiles_of(twin: GridTwin, load: float, sgen: float, spread: float = 0.0) -> xr.Dataset:
    """One step: rated power of the tables times a factor per element, each asset off by `spread`."""
    rng = np.random.default_rng(1)
    factor = {"load": load, "sgen": -sgen, "storage": 0.0}
    rows = [
        factor[element] * twin.net[element].loc[index, ["p_mw", "q_mvar"]].to_numpy(dtype=float)
        for element, index in zip(twin.assets["element"], twin.assets["index"], strict=True)
    ]
    power = np.array(rows) * (1 + spread * rng.uniform(-1, 1, (len(rows), 1)))
    time = np.array(["2016-01-12T12:00"], dtype="datetime64[ns]")
    coords = {"time": time, "asset": twin.assets.index.to_numpy(dtype=str)}
    parts = {name: (("time", "asset"), power[None, :, k]) for k, name in enumerate(("p_mw", "q_mvar"))}
    return xr.Dataset(parts, coords=coords, attrs={"step": "PT15M"})


def base_of(twin: GridTwin) -> xr.Dataset:
    return profiles_of(twin, 0.6, 0.3)


def loaded_buses(twin: GridTwin) -> list[str]:
    return list(dict.fromkeys(twin.assets["bus"]))


def farthest(ours: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference as a share of the largest number of the exact response."""
    assert np.array_equal(np.isnan(ours), np.isnan(exact))
    return float(np.nanmax(np.abs(ours - exact)) / np.nanmax(np.abs(exact)))


@pytest.mark.parametrize("code", RADIAL)
def test_derivatives_are_those_of_the_power_flow(code: str) -> None:
    """Not close, equal: 1e-9 of the largest is rounding; reactive consumption against `run_sensitivities`."""
    twin = twin_of(code)
    base, buses = base_of(twin), loaded_buses(twin)
    ours, exact = linearise_radial(twin, base, buses), linear_response(twin, base, buses)
    assert farthest(ours.active.p_branch_mw_per_mw, exact.p_branch_mw_per_mw) < 1e-9
    assert farthest(ours.active.vm_squared_pu_per_mw, exact.vm_squared_pu_per_mw) < 1e-9
    slopes = run_sensitivities(twin, base, buses).isel(path=0, time=0)
    vm_pu = run_power_flow(twin, base)["vm_pu"].to_numpy()[0, 0]
    assert farthest(ours.reactive.p_branch_mw_per_mw, slopes["p_branch_mw_per_mvar"].to_numpy()) < 1e-9
    by_mvar = 2 * vm_pu[:, None] * slopes["vm_pu_per_mvar"].to_numpy()
    assert farthest(ours.reactive.vm_squared_pu_per_mw, by_mvar) < 1e-9


@pytest.mark.parametrize("code", RADIAL)
def test_without_losses_a_few_percent_are_missing_and_condensed_one(code: str) -> None:
    """Shares of the largest response, flows and squared voltages.

    At worst of the four: without losses 5.4 % of flows, 6.7 % of voltages and 2.7 % of voltages by reactive power;
    condensed 0.1 %, 1.2 % and 1.8 %.
    """
    twin = twin_of(code)
    radial, base, buses = read_radial_network(twin), base_of(twin), loaded_buses(twin)
    tangent = slopes_at(radial, read_state(twin, radial, base))
    each = np.zeros(len(radial.up))
    each[find_edges(twin, radial, buses)] = 1.0
    condensed = slopes_of_step(condense(radial, tangent, each), 0)
    exact = respond(twin, radial, slopes_of_step(tangent, 0), buses)
    for slopes, flow, voltage, by_mvar in ((lossless_slopes(radial), 0.06, 0.07, 0.03), (condensed, 1e-3, 0.015, 0.02)):
        active, reactive = respond(twin, radial, slopes, buses)
        assert farthest(active.p_branch_mw_per_mw, exact.active.p_branch_mw_per_mw) < flow
        assert farthest(active.vm_squared_pu_per_mw, exact.active.vm_squared_pu_per_mw) < voltage
        assert farthest(reactive.vm_squared_pu_per_mw, exact.reactive.vm_squared_pu_per_mw) < by_mvar


@pytest.mark.parametrize("code", RADIAL)
def test_what_arrives_is_consumed_or_goes_on(code: str) -> None:
    """Kirchhoff at every bus at the operating point, to 1e-8 MVA: the tolerance of the power flow."""
    twin = twin_of(code)
    radial, base = read_radial_network(twin), base_of(twin)
    state = read_state(twin, radial, base)
    s, v = state.s_mva[0], state.v_squared_pu[0]
    consumed = np.zeros(len(radial.up), dtype=complex)
    at = find_edges(twin, radial, twin.assets["bus"].to_list())
    power = (base["p_mw"] + 1j * base["q_mvar"]).to_numpy()[0]
    np.add.at(consumed, at[at >= 0], power[at >= 0])
    leaves = sent_at(radial, s, v)
    goes_on = np.zeros_like(consumed)
    inside = radial.up >= 0
    np.add.at(goes_on, radial.up[inside], leaves[inside])
    np.testing.assert_allclose(s, consumed + goes_on, atol=1e-8)


def sent_at(radial: RadialNetwork, s: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Power that enters each edge, from what leaves it: the equations of the module's head. [MVA]"""
    uu, ud, du, dd = radial.y.T
    a, b = -dd / du, -1 / du
    c, d = uu * a + ud, uu * b
    s = s / radial.base_mva
    square = np.abs(s) ** 2 / v
    return radial.base_mva * (a * c.conj() * v + a * d.conj() * s + b * c.conj() * s.conj() + b * d.conj() * square)


CASES = {
    "near the base": (0.6, 0.3, 0.3),
    "all load": (1.0, 0.0, 0.0),
    "all feed-in": (0.2, 1.0, 0.0),
}
BOUNDS = {
    # largest voltage error without losses, with the base offset, by derivatives: near the base, all load, all feed-in
    "1-LV-rural3--2-sw": ((2e-3, 5e-5, 1e-5), (8e-3, 6e-3, 3e-3), (1e-3, 2e-3, 3e-3)),
    "1-LV-semiurb4--2-sw": ((1e-3, 5e-5, 1e-5), (3e-3, 2e-3, 1e-3), (1e-3, 5e-4, 2e-3)),
    "1-MV-urban--2-sw": ((2e-3, 2e-4, 1e-5), (12e-3, 10e-3, 4e-3), (1e-3, 3e-3, 5e-3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("code", BOUNDS)
def test_voltages_against_power_flow(code: str, case: str) -> None:
    """Largest voltage error over all buses when powers leave the base (0.6 of the loads, 0.3 of the generators). [pu]

    The offset at the base is worth a factor of ten near it and little far from it; derivatives are ten times
    better again near it, and the best where the voltage is lowest.
    """
    twin = twin_of(code)
    radial, base, there = read_radial_network(twin), base_of(twin), profiles_of(twin, *CASES[case])
    exact = run_power_flow(twin, there)["vm_pu"].to_numpy()[0, 0]
    at_base = run_power_flow(twin, base)["vm_pu"].to_numpy()[0, 0]
    lossless, tangent = lossless_slopes(radial), slopes_of_step(slopes_at(radial, read_state(twin, radial, base)), 0)
    plain = open_voltage(radial, at_base) + change_of(twin, radial, lossless, there)
    offset = at_base**2 + change_of(twin, radial, lossless, there - base)
    derived = at_base**2 + change_of(twin, radial, tangent, there - base)
    errors = [float(np.nanmax(np.abs(np.sqrt(v) - exact))) for v in (plain, offset, derived)]
    bounds = BOUNDS[code][list(CASES).index(case)]
    assert all(error <= bound for error, bound in zip(errors, bounds, strict=True))


def change_of(twin: GridTwin, radial: RadialNetwork, slopes: RadialSlopes, profiles: xr.Dataset) -> np.ndarray:
    """Change of the squared voltage of every bus of the twin when this is consumed on top. [pu²]"""
    at = find_edges(twin, radial, twin.assets["bus"].to_list())
    power = np.zeros((2, len(radial.up), 1))
    for part, name in zip(power, ("p_mw", "q_mvar"), strict=True):
        np.add.at(part[:, 0], at[at >= 0], profiles[name].to_numpy()[0, at >= 0])
    v = solve_tree(radial, slopes, *power).v_squared_pu[:, 0]
    return np.asarray(np.concatenate([v, [np.nan, 0.0]])[radial.place])


def open_voltage(radial: RadialNetwork, vm_pu: np.ndarray) -> np.ndarray:
    """Squared voltage of every bus of the twin without any flow: the root's through the ratios of transformers."""
    share = 1 / lossless_slopes(radial).v_by_v
    for edge, above in enumerate(radial.up.tolist()):
        share[edge] *= share[above] if above >= 0 else 1.0
    root = vm_pu[radial.place == SLACK][0] ** 2
    return np.asarray(root * np.concatenate([share, [np.nan, 1.0]])[radial.place])


def mixed_net() -> pandapower.pandapowerNet:
    """No plain lines alone: three windings, a tap, a shunt, lines side by side, an open end, a turned line."""
    net = pandapower.create_empty_network()
    high = pandapower.create_bus(net, 110, name="high")
    middle, other = (pandapower.create_bus(net, kv, name=name) for kv, name in ((20, "middle"), (10, "other")))
    a, b, c, low = (pandapower.create_bus(net, kv, name=n) for kv, n in ((20, "a"), (20, "b"), (20, "c"), (0.4, "low")))
    pandapower.create_ext_grid(net, high, vm_pu=1.02)
    pandapower.create_transformer3w(net, high, middle, other, "63/25/38 MVA 110/20/10 kV", name="windings")
    for name in ("one", "two"):
        pandapower.create_line(net, middle, a, 4.0, "NA2XS2Y 1x185 RM/25 12/20 kV", name=name)
    pandapower.create_line(net, b, a, 3.0, "NA2XS2Y 1x185 RM/25 12/20 kV", name="turned")
    hanging = pandapower.create_line(net, a, c, 5.0, "NA2XS2Y 1x185 RM/25 12/20 kV", name="hanging")
    pandapower.create_switch(net, c, hanging, et="l", closed=False)
    pandapower.create_line(net, b, c, 2.0, "NA2XS2Y 1x185 RM/25 12/20 kV", name="last")
    pandapower.create_transformer(net, b, low, "0.63 MVA 20/0.4 kV", tap_pos=2, name="tapped")
    pandapower.create_shunt(net, b, q_mvar=-1.0, p_mw=0.01)
    for bus, mw in ((other, 3.0), (a, 2.0), (c, 1.5), (low, 0.3)):
        pandapower.create_load(net, bus, mw, 0.3 * mw)
    return net


def test_windings_taps_shunts_and_open_ends() -> None:
    """The same derivatives to 1e-9, also where a bus has no name, and the power of lines side by side halved."""
    twin = build_twin(mixed_net(), rules=read_rules("mv_planning"))
    base, buses = profiles_of(twin, 1.0, 0.0), ["high", "other", "a", "c", "low"]
    ours, exact = linearise_radial(twin, base, buses).active, linear_response(twin, base, buses)
    assert farthest(ours.vm_squared_pu_per_mw, exact.vm_squared_pu_per_mw) < 1e-9
    assert farthest(ours.p_branch_mw_per_mw, exact.p_branch_mw_per_mw) < 1e-9
    shares = ours.p_branch_mw_per_mw[twin.branches.index.get_indexer(["one", "two"])]
    np.testing.assert_allclose(shares[:, buses.index("c")], 0.5, atol=0.02)


def close_the_ring(net: pandapower.pandapowerNet) -> None:
    net.switch["closed"] = True


def second_supply(net: pandapower.pandapowerNet) -> None:
    pandapower.create_ext_grid(net, net.bus.index[-1])


def held_voltage(net: pandapower.pandapowerNet) -> None:
    pandapower.create_gen(net, net.bus.index[-1], 0.1, vm_pu=1.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(close_the_ring, "1 loops"), (second_supply, "2 upstream connections"), (held_voltage, "hold the voltage of 1")],
)
def test_what_is_no_tree_is_refused(change, reason: str) -> None:
    net = mixed_net()
    assert is_radial(build_twin(net, rules=read_rules("mv_planning")))
    change(net)
    twin = build_twin(net, rules=read_rules("mv_planning"))
    assert not is_radial(twin)
    with pytest.raises(NetworkError, match=reason):
        read_radial_network(twin)


def test_open_rings_are_trees_until_they_are_closed() -> None:
    """SimBench's MV-rural stands with its rings open; with all switches closed it is meshed."""
    net = read_simbench("1-MV-rural--2-sw")[0]
    assert is_radial(build_twin(net, rules=read_rules("mv_planning")))
    net.switch["closed"] = True
    meshed = build_twin(net, rules=read_rules("mv_planning"))
    with pytest.raises(NetworkError, match="loops"):
        read_radial_network(meshed)
