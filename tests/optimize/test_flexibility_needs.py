"""Needs for the market: by hand on one line, and on a SimBench network proved by AC power flow."""

from __future__ import annotations

import numpy as np
import pandapower
import pytest

from gridtwin.data.rules import read_rules
from gridtwin.errors import DataError
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.flexibility_needs import COLUMNS, find_flexibility_needs
from gridtwin.optimize.price_ceiling import LESS, MORE, AlternativePrice, ReinforcementAnnuity

REDISPATCH = AlternativePrice("redispatch", 150.0, 90.0)
LINEAR = 0.005
"""Relative tolerance of hand calculations: losses and voltage drop of 0.02 ohm at 12 kW are 0.3 %, the aim 0.1 %."""


def needs_of(case, *, confidence=1.0, price_ceiling=REDISPATCH, factor=None, twin=None, **options):
    """Needs of a one-line case; `factor` (time,) scales every path."""
    twin = twin or case.twin
    profiles = case.forecast(twin)
    if factor is not None:
        profiles["p_mw"] = profiles["p_mw"] * np.asarray(factor)[None, :, None]
    flow = run_power_flow(twin, profiles)
    return find_flexibility_needs(
        twin, flow, profiles, confidence=confidence, price_ceiling=price_ceiling, **options
    ), (twin, profiles)


def window(first, last, inside, outside=0.5, steps=96):
    factor = np.full(steps, outside)
    factor[first:last] = inside
    return factor


def test_a_line_asks_for_less_consumption(one_line):
    """12 kW on a line of 10 kW at 0.4 kV for two hours: 2 kW and 4 kWh at the end of the line.

    At its rated current, 10 / (0.4 sqrt 3) = 14.43 A, the line drops 0.5 V of 400: 9.9875 kW arrive.
    """
    case = one_line(line_kw=10, load_kw=12)
    needs, _ = needs_of(case, factor=window(40, 48, 1.0))
    assert needs.columns.tolist() == list(COLUMNS) and len(needs) == 1
    need = needs.iloc[0]
    assert (need["zone"], need["element"], need["side"]) == ("line", "line", "forward")
    assert (need["direction"], need["best_bus"], need["buses"]) == (LESS, "end", ("end",))
    assert (need["start"], need["end"]) == (case.axis.times[40], case.axis.times[48])
    assert 1000 * need["p_mw"] == pytest.approx(12 - 9.9875, rel=LINEAR)
    assert 1000 * need["e_mwh"] == pytest.approx(2 * (12 - 9.9875), rel=LINEAR)
    assert need["probability"] == 1
    # losses: 2 R P / V² = 0.3 % of each further kW
    assert need["sensitivities"]["end"] == pytest.approx(1 + 2 * 0.02 * 12000 / 400**2, abs=1e-4)
    assert need["sensitivity_unit"] == "MW/MW"
    assert (need["price_ceiling_eur_per_mwh"], need["price_basis"]) == (150, "redispatch")
    assert needs.attrs["findings"] == [] and need["proved"]


def test_feed_in_asks_for_more_consumption(one_line):
    needs, _ = needs_of(one_line(line_kw=6, pv_kw={"roof": 10.0}), factor=window(44, 52, 1.0))
    need = needs.iloc[0]
    assert (need["side"], need["direction"], need["price_ceiling_eur_per_mwh"]) == ("reverse", MORE, 90)
    assert 1000 * need["p_mw"] == pytest.approx(4, rel=2 * LINEAR)
    assert need["sensitivities"]["end"] < -0.99  # more consumption takes flow off


def test_windows_are_apart_and_end_with_the_local_day(one_line):
    """12 kW from 10:00 to 11:00 and over midnight: three windows, the last two meet at midnight in Berlin."""
    factor = np.full(192, 0.5)
    factor[40:44] = factor[92:100] = 1.0
    case = one_line(line_kw=10, load_kw=12, days=2)
    needs, _ = needs_of(case, factor=factor)
    ordered = needs.sort_values("start")
    assert ordered["start"].tolist() == [case.axis.times[k] for k in (40, 92, 96)]
    assert ordered["end"].tolist() == [case.axis.times[k] for k in (44, 96, 100)]


def test_confidence_and_probability_go_by_paths(one_line):
    """10 kW times 0.8 to 1.25 on 10 kW: two of ten paths may fail, so 1.15 counts; four paths exceed the line."""
    factors = (0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 1.1, 1.15, 1.2, 1.25)
    case = one_line(line_kw=10, load_kw=10, path_factors=factors)
    for confidence, kw in ((1.0, 12.5), (0.8, 11.5), (0.7, 11.0)):
        needs, _ = needs_of(case, confidence=confidence)
        assert 1000 * needs["p_mw"].iloc[0] == pytest.approx(kw - 9.9875, rel=2 * LINEAR)
        assert needs["probability"].iloc[0] == pytest.approx(0.4)
    assert needs_of(case, confidence=0.6)[0].empty


def test_the_need_taken_off_every_path_leaves_the_demanded_share_fine(one_line):
    """Ten paths, eight must hold: with the need taken off, two of ten exceed the line and nothing more is needed."""
    case = one_line(line_kw=10, load_kw=10, path_factors=(0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 1.1, 1.15, 1.2, 1.25))
    needs, (twin, profiles) = needs_of(case, confidence=0.8)
    eased = profiles.assign(p_mw=profiles["p_mw"] - needs["p_mw"].iloc[0])
    flow = run_power_flow(twin, eased)
    # the need aims at the limit itself within 0.1 % loading
    assert (flow["loading_percent"].max(["time", "branch"]) <= 100.1).sum() == 8
    rest = find_flexibility_needs(twin, flow, eased, confidence=0.8, price_ceiling=REDISPATCH)
    assert rest.empty or 1000 * rest["p_mw"].max() <= 0.001 * 10


@pytest.mark.parametrize(("band", "kw", "side"), [((0.999, 1.1), 12, "low"), ((0.9, 1.0005), -12, "high")])
def test_voltage_asks_at_the_most_effective_bus(one_line, band, kw, side):
    """V falls by R P / V = 0.02 P / 400: 0.999 at P = 0.001 * 0.999 * 160 / 0.02 = 7.992 kW; 1.0005 at -4.002 kW."""
    load = {"load_kw": 12.0} if kw > 0 else {"pv_kw": {"roof": 12.0}}
    needs, _ = needs_of(one_line(bands=band, **load))
    need = needs.iloc[0]
    allowed = 7.992 if side == "low" else -4.002
    assert (need["zone"], need["element"], need["side"]) == ("end", "bus", side)
    assert need["direction"] == (LESS if side == "low" else MORE)
    assert 1000 * need["p_mw"] == pytest.approx(abs(kw - allowed), rel=LINEAR)
    # dv/dp = -R / V² per unit of the nominal voltage: -0.02 ohm / (0.4 kV)² = -0.125 pu/MW
    assert need["sensitivities"]["end"] == pytest.approx(-0.125, rel=LINEAR)
    assert need["sensitivity_unit"] == "pu/MW"


def test_reinforcement_sets_the_ceiling_by_the_energy_it_saves(one_line):
    """4.025 kWh a day on 40 days a year: 100 EUR/a are 100 / (40 * 0.004025) = 621 EUR/MWh."""
    case = one_line(line_kw=10, load_kw=12)
    factor = window(40, 48, 1.0)
    needs, _ = needs_of(case, factor=factor, price_ceiling=ReinforcementAnnuity({"line": 100.0}, 40))
    assert needs["price_ceiling_eur_per_mwh"].iloc[0] == pytest.approx(100 / (40 * 0.004025), rel=LINEAR)
    assert needs["price_basis"].iloc[0] == "reinforcement annuity"
    needs, _ = needs_of(case, factor=factor, price_ceiling=ReinforcementAnnuity({}, 40))
    assert np.isnan(needs["price_ceiling_eur_per_mwh"].iloc[0]) and "no price" in needs.attrs["findings"][0]


@pytest.mark.parametrize("limit", [{"line_kw": 10}, {"bands": (0.999, 1.1)}])
def test_a_limit_that_no_offered_bus_relieves_is_named(one_line, limit):
    needs, _ = needs_of(one_line(load_kw=12, **limit), buses=["grid"])
    assert needs["best_bus"].tolist() == [""] and needs["buses"].tolist() == [()]
    assert needs["p_mw"].isna().all() and needs["e_mwh"].isna().all()
    assert needs["probability"].tolist() == [1.0]
    assert "no bus at which flexibility is offered" in needs.attrs["findings"][0]


def test_a_bus_without_assets_is_judged_linearly_and_said(one_line):
    """An empty bus right behind the overloaded line: the need is there, but no AC power flow proves it."""
    net = one_line(line_kw=10, load_kw=12).twin.net
    empty = pandapower.create_bus(net, 0.4, name="empty")
    pandapower.create_line_from_parameters(net, 1, empty, 0.01, 0.2, 0.08, 0, 1.0, name="stub")
    case = one_line(line_kw=10, load_kw=12)
    twin = build_twin(net, rules=case.twin.rules)
    needs, _ = needs_of(case, twin=twin, buses=["empty"])
    assert needs["best_bus"].tolist() == ["empty"] and needs["proved"].tolist() == [False]
    assert 1000 * needs["p_mw"].iloc[0] == pytest.approx(12 - 9.9875, rel=LINEAR)
    assert "not proved" in needs.attrs["findings"][0]


def test_where_limits_hold_nothing_is_needed(one_line):
    needs, _ = needs_of(one_line(line_kw=13, load_kw=12))
    assert needs.empty and needs.columns.tolist() == list(COLUMNS) and needs["p_mw"].dtype == float


def test_unsolved_steps_are_said_and_not_counted_as_fine(one_line):
    case = one_line(line_kw=10, load_kw=12, path_factors=(0.5, 1.0, 1.0))
    twin = case.twin
    profiles = case.forecast(twin)
    profiles["p_mw"][2, 10] = np.nan
    flow = run_power_flow(twin, profiles)
    needs = find_flexibility_needs(twin, flow, profiles, confidence=0.6, price_ceiling=REDISPATCH)
    assert needs["probability"].tolist() == pytest.approx([2 / 3])
    assert "1 steps of paths have no solution" in needs.attrs["findings"][0]
    profiles["p_mw"][0, 10] = np.nan
    flow = run_power_flow(twin, profiles)
    needs = find_flexibility_needs(twin, flow, profiles, confidence=0.6, price_ceiling=REDISPATCH)
    assert needs["probability"].tolist() == pytest.approx([1.0])


def test_faulty_arguments_are_named_at_once(one_line):
    case = one_line(line_kw=10, load_kw=12)
    twin = case.twin
    profiles = case.forecast(twin)
    flow = run_power_flow(twin, profiles)
    with pytest.raises(DataError) as caught:
        find_flexibility_needs(twin, flow, profiles.isel(time=slice(1, None)), confidence=1.2, price_ceiling=REDISPATCH)
    assert "confidence: not a share" in str(caught.value) and "different times" in str(caught.value)


def test_a_zone_holds_the_buses_beyond_the_limit(one_line):
    """Two feeders of two buses: the zone of the first line is its feeder, the last bus first, as it also saves losses.

    Voltage at the far bus responds to its own feeder alone, to the near bus about half as much.
    """
    case = one_line()
    net = case.twin.net
    ends = {}
    for feeder in "ab":
        start = 0
        for place in "12":
            bus = pandapower.create_bus(net, 0.4, name=f"{feeder}{place}")
            pandapower.create_line_from_parameters(
                net, start, bus, 0.1, r_ohm_per_km=0.2, x_ohm_per_km=0.08, c_nf_per_km=0,
                max_i_ka=0.0289, name=f"line {feeder}{place}",
            )  # fmt: skip
            ends[f"{feeder}{place}"] = start = bus
    for name, kw in (("a1", 10.0), ("a2", 15.0), ("b1", 1.0), ("b2", 5.0)):
        pandapower.create_load(net, ends[name], kw / 1000, name=f"load {name}")
    twin = build_twin(net, rules=case.twin.rules)
    profiles = case.forecast(twin)
    power = twin.assets["p_rated_mw"].to_numpy()
    profiles["p_mw"][:] = power
    flow = run_power_flow(twin, profiles)
    needs = find_flexibility_needs(twin, flow, profiles, confidence=1.0, price_ceiling=REDISPATCH)
    (need,) = needs.to_dict("records")
    assert need["zone"] == "line a1" and need["buses"] == ("a2", "a1")
    # 25 kW and 0.1 kW of losses on 20 kVA
    assert 1000 * need["p_mw"] == pytest.approx(5.1, abs=0.15)
    twin.buses.loc["a2", "vm_min_pu"] = 0.996
    low = find_flexibility_needs(
        twin, flow, profiles, confidence=1.0, price_ceiling=REDISPATCH, share_of_strongest=0.6
    ).query("zone == 'a2'")
    assert low["buses"].tolist() == [("a2",)] and low["proved"].all()
    # drop (25 + 15) kW * 0.02 ohm / 400² = 0.5 %, 0.1 % too much, 0.025 % per kW at a2: 4 kW
    assert 1000 * low["p_mw"].iloc[0] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("code", "scale"), [("1-LV-semiurb4--2-sw", 4.8), ("1-LV-semiurb4--2-sw", 8.0), ("1-LV-rural1--0-sw", -6.0)]
)
def test_the_need_makes_ac_power_flow_hold_the_limit(code, scale):
    """A winter or summer day scaled up until a branch is overloaded by 10 to 135 %.

    With the needed power of each window taken off at the best bus in all its steps, AC power flow finds the
    loading at most 0.5 % above the limit, and at the step that set the need at most 0.15 % off it.
    """
    net, year, _ = read_simbench(code)
    twin = build_twin(net, rules=read_rules("lv_planning"))
    day = slice(96 * 15, 96 * 16) if scale > 0 else slice(96 * 170, 96 * 171)
    profiles = year.isel(time=day)
    grows = profiles["p_mw"] > 0 if scale > 0 else profiles["p_mw"] < 0
    for name in ("p_mw", "q_mvar"):
        profiles[name] = profiles[name].where(~grows, abs(scale) * profiles[name])
    flow = run_power_flow(twin, profiles)
    assert 110 < float(flow["loading_percent"].max()) < 235
    needs = find_flexibility_needs(twin, flow, profiles, confidence=1.0, price_ceiling=REDISPATCH)
    branches = needs[needs["sensitivity_unit"] == "MW/MW"]
    assert len(branches) and needs["proved"].all()
    for zone in branches["zone"].unique():
        eased = profiles.copy(deep=True)
        p_mw = eased["p_mw"].to_numpy().copy()
        critical = []
        for _, need in branches[branches["zone"] == zone].iterrows():
            asset = profiles.indexes["asset"].get_loc(twin.assets.index[twin.assets["bus"] == need["best_bus"]][0])
            inside = (profiles.indexes["time"] >= need["start"]) & (profiles.indexes["time"] < need["end"])
            p_mw[inside, asset] += need["p_mw"] if need["direction"] == MORE else -need["p_mw"]
            before = flow["loading_percent"].sel(branch=zone).to_numpy()[0]
            critical.append(int(np.where(inside, before, -1).argmax()))
        eased["p_mw"] = (("time", "asset"), p_mw)
        after = run_power_flow(twin, eased)["loading_percent"].sel(branch=zone).to_numpy()[0]
        limit = float(twin.branches.at[zone, "max_loading_percent"])
        assert after.max() <= limit + 0.5
        assert after[critical] == pytest.approx(limit, abs=0.15)
