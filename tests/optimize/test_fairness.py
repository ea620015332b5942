"""Fair sharing: hand calculations, laws, brute force, and how much less energy is dimmed than by dimming everyone."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.data.control_limits import device_minimum_kw
from gridtwin.data.control_rules import read_control_rules
from gridtwin.errors import DataError
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.fairness import (
    LOG_COLUMNS,
    SHARING_RULES,
    DimmableDevices,
    EnergyGiven,
    ReliefDemand,
    jain_index,
    share_reduction,
)
from gridtwin.time_axis import TimeAxis

START = pd.Timestamp("2026-11-02 17:00")
HOUR, QUARTER = pd.Timedelta(hours=1), pd.Timedelta(minutes=15)
ROUNDING = 1e-9
"""Double precision on powers of some hundred kW."""


def share(needed, p, minimum, rule, *, weight=1.0, step=HOUR, slot=None, before=None):
    needed, p = np.atleast_1d(np.asarray(needed, dtype=float)), np.atleast_2d(np.asarray(p, dtype=float))
    names = tuple(f"d{k}" for k in range(p.shape[1]))
    demand = ReliefDemand("line 1", TimeAxis(START, step, len(needed)), needed, "forecast 112 %", "law 1")
    devices = DimmableDevices(
        names,
        p,
        np.broadcast_to(np.asarray(minimum, dtype=float), p.shape),
        np.broadcast_to(np.asarray(weight, dtype=float), (len(names),)),
    )
    slot = step if slot is None and rule == "rotation" else slot
    return share_reduction(demand, devices, rule=rule, slot=slot, before=before)


def test_proportional_takes_the_same_part_of_what_each_can_give():
    """11 - 4.2 = 6.8 and 7.6 - 4.2 = 3.4 kW: 5.1 kW are half of it."""
    result = share(5.1, [[11, 7.6, 3]], 4.2, "proportional")
    assert result.reduction_kw[0] == pytest.approx([3.4, 1.7, 0])
    assert result.unmet_kw[0] == 0


def test_lexicographic_equalises_the_shares_of_energy_lost():
    """10 and 30 kW: 8 kW are 20 % of each. With a minimum of 9 kW the first stops at 1 kW, the second gives 7."""
    assert share(8, [[10, 30]], 0, "lexicographic").reduction_kw[0] == pytest.approx([2, 6])
    assert share(8, [[10, 30]], [9, 0], "lexicographic").reduction_kw[0] == pytest.approx([1, 7])


def test_lexicographic_remembers_what_was_given():
    """d0 has lost 4 of 10 kWh. Asked 20 kWh each by now: d1 gives first, up to 4 kW, then both 2 of the last 4."""
    before = EnergyGiven(np.array([4.0, 0.0]), np.array([10.0, 10.0]))
    result = share(8, [[10, 10]], 0, "lexicographic", before=before)
    assert result.reduction_kw[0] == pytest.approx([2, 6])
    assert result.share == pytest.approx([0.3, 0.3]) and result.jain == pytest.approx(1)
    assert result.after.given_kwh == pytest.approx([6, 6]) and result.after.asked_kwh == pytest.approx([20, 20])


def test_weights_count_in_the_limit():
    """d0 relieves half a kW per kW: shares x of 10 kW each, 0.5 * 10 x + 10 x = 6 -> x = 0.4."""
    assert share(6, [[10, 10]], 0, "lexicographic", weight=[0.5, 1]).reduction_kw[0] == pytest.approx([4, 4])
    assert share(6, [[10, 10]], 0, "proportional", weight=[0.5, 1]).reduction_kw[0] == pytest.approx([4, 4])
    assert share(6, [[10, 10]], 0, "rotation", weight=[0.5, 1]).reduction_kw[0] == pytest.approx([10, 1])
    for rule in SHARING_RULES:
        result = share(6, [[10, 10]], 0, rule, weight=[-0.5, 1])
        assert result.reduction_kw[0] == pytest.approx([0, 6])
        assert result.log["outcome"].tolist() == ["does not help this limit", "dimmed in part"]


def test_rotation_takes_turns_slot_by_slot():
    """6 kW of 6 kW devices: one an hour. A slot of two hours keeps the turn; history decides who begins."""
    p = np.full((4, 2), 6.0)
    assert share([6] * 4, p, 0, "rotation").reduction_kw.tolist() == [[6, 0], [0, 6], [6, 0], [0, 6]]
    slow = share([6] * 4, p, 0, "rotation", slot=2 * HOUR).reduction_kw
    assert slow.tolist() == [[6, 0], [6, 0], [0, 6], [0, 6]]
    before = EnergyGiven(np.array([5.0, 0.0]), np.array([50.0, 50.0]))
    late = share([6] * 4, p, 0, "rotation", before=before).reduction_kw
    assert late.tolist() == [[0, 6], [6, 0], [0, 6], [6, 0]]


def test_what_cannot_be_met_is_said():
    for rule in SHARING_RULES:
        result = share([20, 3], [[11, 11], [2, 2]], 4.2, rule)
        assert result.unmet_kw == pytest.approx([20 - 13.6, 3])
        assert result.reduction_kw == pytest.approx(np.array([[6.8, 6.8], [0, 0]]))


def test_jains_index():
    assert jain_index(np.array([0.2, 0.1])) == pytest.approx(0.3**2 / (2 * 0.05))
    assert jain_index(np.zeros(3)) == jain_index(np.array([])) == 1
    assert jain_index(np.full(3, 1e-200)) == pytest.approx(1)


def test_a_winter_of_rotation_is_fair():
    """30 evenings of 2 h, 10 kW of 5 cars with 6.8 kW each: Jain's index above 0.9, history carried from day to day."""
    before = None
    for _ in range(30):
        result = share([10] * 8, np.full((8, 5), 11.0), 4.2, "rotation", step=QUARTER, before=before)
        before = result.after
    assert result.jain > 0.99


def test_the_log_holds_every_decision():
    needed = [6.8, 10, 0, 2]
    p = [[11, 11, 3], [11, 11, 3], [11, 11, 3], [0, 8, 3]]
    result = share(needed, p, 4.2, "rotation", step=QUARTER)
    log = result.log
    assert list(log.columns) == list(LOG_COLUMNS) and log.dtypes.astype(str).to_dict() == LOG_COLUMNS
    assert log["event"].tolist() == ["line 1 2026-11-02T17:00Z"] * 3 + ["line 1 2026-11-02T17:45Z"] * 3
    assert log["start"].unique().tolist() == [START, START + 3 * QUARTER]
    assert log["end"].unique().tolist() == [START + 2 * QUARTER, START + 4 * QUARTER]
    assert log["signal_kw"].unique().tolist() == [10, 2]
    # d0 gives 6.8 kW, then d1 6.8 and d0 3.2; later d0 draws nothing
    assert log["outcome"].tolist() == [
        "dimmed in part",
        "dimmed in part",
        "at or below its minimum",
        "at or below its minimum",
        "dimmed in part",
        "at or below its minimum",
    ]
    assert log["e_dimmed_kwh"].to_numpy() == pytest.approx([10 / 4, 6.8 / 4, 0, 0, 0.5, 0])
    assert log["p_before_kw"].tolist()[:2] == [11, 11] and log["p_lowest_allowed_kw"].tolist()[:2] == [4.2, 4.2]
    assert set(log["citation"]) == {"law 1"} and set(log["reason"]) == {"forecast 112 %"}
    assert set(log["rule"]) == {"rotation"} and set(log["demanded_by"]) == {"line 1"}
    hours = (log["end"] - log["start"]) / HOUR
    assert ((log["p_before_kw"] - log["p_allowed_kw"]) * hours).to_numpy() == pytest.approx(log["e_dimmed_kwh"])
    assert share([0, 0], np.ones((2, 1)), 0, "proportional").log.empty


@st.composite
def cases(draw, steps=3, devices=5):
    n = draw(st.integers(1, devices))
    t = draw(st.integers(1, steps))
    table = st.lists(st.lists(st.floats(0, 30), min_size=n, max_size=n), min_size=t, max_size=t)
    needed = draw(st.lists(st.floats(0, 100), min_size=t, max_size=t))
    weight = draw(st.lists(st.floats(0.1, 1.5), min_size=n, max_size=n))
    given_kwh = draw(st.lists(st.floats(0, 50), min_size=n, max_size=n))
    before = EnergyGiven(np.array(given_kwh), np.array(given_kwh) + draw(st.floats(1, 100)))
    return needed, np.array(draw(table)), np.array(draw(table)), np.array(weight), before


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(list(SHARING_RULES)))
def test_never_below_the_minimum_and_sums_are_right(case, rule):
    needed, p, minimum, weight, before = case
    result = share(needed, p, minimum, rule, weight=weight, before=before)
    r, capacity = result.reduction_kw, np.maximum(p - minimum, 0)
    assert (r >= 0).all() and (r <= capacity + ROUNDING).all()
    assert (p - r >= np.minimum(p, minimum) - ROUNDING).all()
    possible = np.minimum(needed, capacity @ weight)
    assert r @ weight == pytest.approx(possible, abs=1e-8)
    assert result.unmet_kw == pytest.approx(needed - possible, abs=1e-8)
    assert result.after.given_kwh == pytest.approx(before.given_kwh + r.sum(axis=0), abs=1e-8)
    assert result.log["e_dimmed_kwh"].sum() == pytest.approx(r.sum(), abs=1e-8)
    assert 1 / len(weight) - ROUNDING <= result.jain <= 1 + ROUNDING


@settings(max_examples=200, deadline=None)
@given(cases())
def test_no_share_can_be_lowered_without_raising_one_at_or_above_it(case):
    """Who gives has a share no higher than anyone who could give more; so relief can only move to higher shares."""
    needed, p, minimum, weight, before = case
    result = share(needed, p, minimum, "lexicographic", weight=weight, before=before)
    given_kwh = before.given_kwh.copy()
    for t in range(len(needed)):
        given_kwh = given_kwh + result.reduction_kw[t]
        shares = given_kwh / (before.asked_kwh + p[: t + 1].sum(axis=0))
        gives = result.reduction_kw[t] > 1e-7
        room = np.maximum(p[t] - minimum[t], 0) - result.reduction_kw[t] > 1e-7
        if gives.any() and room.any():
            assert shares[gives].max() <= shares[room].min() + 1e-7


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=3), st.lists(st.integers(1, 3), min_size=3, max_size=3),
       st.lists(st.integers(0, 3), min_size=3, max_size=3), st.integers(0, 12))  # fmt: skip
def test_brute_force_finds_nothing_fairer(capacity, weight, given_kwh, needed):
    """All reductions in steps of 0.5 kW that meet the demand: none has a lexicographically smaller list of shares."""
    capacity, weight = np.array(capacity, dtype=float), np.array(weight, dtype=float)
    before = EnergyGiven(np.array(given_kwh, dtype=float), np.full(3, 10.0))
    possible = min(needed, float(capacity @ weight))
    result = share(needed, [capacity + 1], 1, "lexicographic", weight=weight, before=before)
    asked = before.asked_kwh + capacity + 1
    ours = np.sort((before.given_kwh + result.reduction_kw[0]) / asked)[::-1]
    for choice in itertools.product(*(np.arange(0, c + 0.25, 0.5) for c in capacity)):
        if np.array(choice) @ weight < possible - ROUNDING:
            continue
        theirs = np.sort((before.given_kwh + np.array(choice)) / asked)[::-1]
        differs = np.flatnonzero(np.abs(ours - theirs) > 1e-9)
        assert not len(differs) or ours[differs[0]] < theirs[differs[0]]


def test_need_based_dimming_takes_less_than_half_of_dimming_everyone(one_line):
    """Five cars of 11 kW on a line of 45 kW: 10 kW too much. Everyone at 4.2 kW gives 34 kW, the need is 10 kW."""
    case = one_line(line_kw=45, cars={f"car {k}": 11.0 for k in range(5)}, first_day=dt.date(2016, 1, 12))
    twin = case.twin
    axis = TimeAxis(case.axis.start, QUARTER, 8)
    p_kw = np.full((8, 5), 11.0)

    def loading(powers):
        profiles = case.forecast(twin).isel(time=slice(0, 8))
        profiles["p_mw"][:] = powers[None] / 1000
        return run_power_flow(twin, profiles)["loading_percent"].to_numpy()[0, :, 0]

    minimum = np.tile(device_minimum_kw(read_control_rules("steuve_14a"), [11.0] * 5, ["electric_car"] * 5), (8, 1))
    # apparent power of the line at this loading, losses included
    needed = 45 * np.maximum(loading(p_kw) / 100 - 1, 0)
    demand = ReliefDemand("line", axis, needed, "AC power flow", read_control_rules("steuve_14a").citation())
    devices = DimmableDevices(tuple(twin.assets.index), p_kw, minimum, np.ones(5))
    everyone = (p_kw - minimum).sum() / 4
    assert loading(p_kw).max() > 120 and loading(minimum).max() < 100
    for rule in SHARING_RULES:
        result = share_reduction(demand, devices, rule=rule, slot=2 * QUARTER)
        assert loading(p_kw - result.reduction_kw).max() <= 100.5
        assert result.log["e_dimmed_kwh"].sum() <= 0.5 * everyone  # 10.3 of 34 kW: 70 % less
        assert (result.unmet_kw == 0).all()


def test_faulty_inputs_are_named_at_once():
    axis = TimeAxis(START, HOUR, 2)
    demand = ReliefDemand("line", axis, np.array([1.0, np.nan]), "", "")
    devices = DimmableDevices(("a", "a"), np.ones((2, 3)), np.zeros((2, 2)), np.ones(2))
    with pytest.raises(DataError) as caught:
        share_reduction(demand, devices, rule="rotation")
    text = str(caught.value)
    for part in ("needed_kw: gaps", "p_kw: wrong shape", "has no slot", "stand twice"):
        assert part in text
    with pytest.raises(DataError, match="unknown rule of sharing"):
        share_reduction(demand, devices, rule="lottery")
