"""Shared curtailment: hand calculations, laws, and AC power flow of what the rules make of a plan of least cost."""

from __future__ import annotations

import copy

import numpy as np
import pandapower
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize import planned_day
from gridtwin.optimize.day_plan import CAP_MARK_KW
from gridtwin.optimize.fair_plan import BindingLimits, find_binding_limits, share_curtailment
from gridtwin.optimize.fair_round import find_feeding, make_fair
from gridtwin.optimize.fairness import LOG_COLUMNS, SHARING_RULES, EnergyGiven
from gridtwin.optimize.model import LimitRows
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.schedule import build_schedule
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

START, HOUR = pd.Timestamp("2026-06-02 10:00"), pd.Timedelta(hours=1)


def fair(lost, expected, relief, rule, *, limit=None, feeding=None, **more):
    """Lost and expected feed-in (time, asset) and relief (asset,) or (time, asset). [kW]"""
    lost, expected = np.atleast_2d(np.asarray(lost, dtype=float)), np.atleast_2d(np.asarray(expected, dtype=float))
    expected = np.broadcast_to(expected, lost.shape)
    steps, count = lost.shape
    limit = ["line 1, reverse"] * steps if limit is None else limit
    relief = np.broadcast_to(np.asarray(relief, dtype=float), lost.shape)
    binding = BindingLimits(np.array([0 if name else -1 for name in limit]), tuple(limit), relief)
    result = share_curtailment(
        lost - expected,
        -expected,
        binding,
        rule,
        names=tuple(f"roof {k}" for k in range(count)),
        axis=TimeAxis(START, HOUR, steps),
        feeding=np.ones(count, dtype=bool) if feeding is None else np.asarray(feeding),
        **more,
    )
    return result, result.p_kw + expected


def test_two_roofs_behind_one_line():
    """The end relieves 1 kW per kW, near the station 0.5. 6 kW are a share x of 10 kW each: 10 x + 5 x = 6, x = 0.4."""
    for rule in ("proportional", "lexicographic"):
        result, lost = fair([6, 0], [10, 10], [1, 0.5], rule)
        assert lost[0] == pytest.approx([4, 4])
        assert (result.jain_before, result.jain_after) == (pytest.approx(0.5), pytest.approx(1))
        assert result.extra_kwh == pytest.approx(2)
        assert result.systems.loc["roof 0"].tolist() == pytest.approx([10, 6, 4])


def test_two_roofs_take_turns():
    """Hour by hour; alone the roof near the station brings 5 of 6 kW, so the other gives the last one."""
    result, lost = fair([[6, 0]] * 4, [10, 10], [1, 0.5], "rotation")
    # given so far: (0, 0), (6, 0), (7, 10), (13, 10)
    assert lost[:, 0] == pytest.approx([6, 1, 6, 1])
    assert lost[:, 1] == pytest.approx([0, 10, 0, 10], abs=1.001 * CAP_MARK_KW)
    # shares 14 and 20 of 40 kWh: (34)² / (2 (14² + 20²))
    assert result.jain_after == pytest.approx(34**2 / (2 * (14**2 + 20**2)), abs=1e-4)
    assert result.extra_kwh == pytest.approx(34 - 24, abs=4 * CAP_MARK_KW)


def test_three_roofs_of_which_one_hangs_on_another_feeder():
    """Roof 2 does not relieve the limit: its own 3 kW stay, and the others share 6 kW as before."""
    for rule in ("proportional", "lexicographic"):
        result, lost = fair([6, 0, 3], [10, 10, 10], [1, 0.5, 0], rule)
        assert lost[0] == pytest.approx([4, 4, 3])
        assert result.systems.index.tolist() == ["roof 0", "roof 1"]
        assert result.after.given_kwh == pytest.approx([4, 4, 3])


def test_three_roofs_of_different_size():
    """12 kW of 20, 10 and 5 kW (relief 1, 1, 0.4): shares x with 20 x + 10 x + 2 x = 12 -> x = 0.375."""
    for rule in ("proportional", "lexicographic"):
        result, lost = fair([12, 0, 0], [20, 10, 5], [1, 1, 0.4], rule)
        assert lost[0] == pytest.approx([7.5, 3.75, 1.875])
        assert result.jain_after == pytest.approx(1) and result.jain_before == pytest.approx(1 / 3)


def test_what_was_lost_before_counts():
    """Roof 0 lost 4 of 10 kWh yesterday; roof 1 alone gives the 4 kW that bring it to 4 of 20 kWh as well."""
    before = EnergyGiven(np.array([4.0, 0.0]), np.array([10.0, 10.0]))
    result, lost = fair([4, 0], [10, 10], [1, 1], "lexicographic", before=before)
    assert lost[0] == pytest.approx([0, 4], abs=1.001 * CAP_MARK_KW)
    assert result.after.given_kwh == pytest.approx([4, 4]) and result.after.asked_kwh == pytest.approx([20, 20])
    # the day alone
    assert result.jain_after == pytest.approx(0.5, abs=1e-3)


def test_a_system_that_gives_nothing_is_capped_at_its_expectation():
    """Else paths above the expectation would bring back what the others gave; a mark says that the cap holds."""
    _, lost = fair([[0, 6]], [10, 10], [1, 1], "rotation")
    assert lost[0] == pytest.approx([6, CAP_MARK_KW])


def test_steps_without_curtailment_or_limit_stay():
    lost = np.array([[6.0, 0], [0, 0], [CAP_MARK_KW, 0], [6, 0], [6, 0]])
    limit = ["line 1, reverse"] * 3 + ["", "line 1, reverse"]
    shared = np.array([True, True, True, True, False])
    for rule in SHARING_RULES:
        result, after = fair(lost, [10, 10], [1, 1], rule, limit=limit, shared=shared)
        np.testing.assert_allclose(after[1:], lost[1:], rtol=0, atol=1e-12)
        assert result.log["event"].unique().tolist() == ["line 1, reverse 2026-06-02T10:00Z"]


def test_an_event_ends_where_another_limit_binds():
    limit = ["line 1, reverse", "line 1, reverse", "bus 7, high"]
    relief = np.array([[1, 0.5], [1, 0.5], [0.2, 1]])
    result, lost = fair([[6, 0]] * 3, [10, 10], relief, "lexicographic", limit=limit)
    assert list(result.log.columns) == list(LOG_COLUMNS)
    assert result.log["demanded_by"].tolist() == ["line 1, reverse"] * 2 + ["bus 7, high"] * 2
    assert result.log["signal_kw"].tolist() == pytest.approx([6, 6, 1.2, 1.2])
    assert result.log["e_dimmed_kwh"].sum() == pytest.approx(lost.sum(), abs=1e-9)


def test_more_relief_can_be_asked_for():
    result, lost = fair([6, 0], [10, 10], [1, 0.5], "proportional", extra_kw=np.array([3.0]))
    assert lost[0] == pytest.approx([6, 6]) and not result.unmet_kw.any()
    result, lost = fair([6, 0], [10, 10], [1, 0.5], "proportional", extra_kw=np.array([11.0]))
    assert lost[0] == pytest.approx([10, 10]) and result.unmet_kw == pytest.approx([2])


def test_other_assets_are_left_alone():
    """A battery that charges at the same bus is no curtailment."""
    result, lost = fair([[6, 0, 8]], [10, 10, 0], [1, 1, 1], "proportional", feeding=[True, True, False])
    assert lost[0] == pytest.approx([3, 3, 8]) and result.log["asset"].tolist() == ["roof 0", "roof 1"]


def test_faulty_plans_are_named():
    with pytest.raises(DataError, match="feeds in more"):
        fair([-1, 0], [10, 10], [1, 1], "proportional")
    with pytest.raises(DataError, match="feeds in more"):
        fair([11, 0], [10, 10], [1, 1], "proportional")
    with pytest.raises(DataError, match="wrong shape"):
        share_curtailment(
            np.zeros((2, 1)), np.zeros((1, 1)), BindingLimits(np.zeros(1), ("",), np.zeros((1, 1))), "proportional",
            names=("a",), axis=TimeAxis(START, HOUR, 1), feeding=np.array([True]),
        )  # fmt: skip


def test_the_limit_of_a_step_is_the_one_worth_most():
    """Step 0: two limits, the bus is worth more; step 1: a limit that curtailing makes worse; step 2: none binds."""
    table = pd.DataFrame(
        {"asset": ["line", "bus", "line"], "kind": ["line", "bus", "line"], "side": ["reverse", "high", "forward"]}
    )
    unused = np.ones(3)
    weight = np.array([[-1.0, -1.0], [-0.5, -1.0], [1.0, 1.0]])
    limits = NetworkLimits(table, weight, unused, unused, unused, unused)
    rows = LimitRows(np.array([1, 0, 2, 0]), np.array([0, 0, 1, 2]), weight[[1, 0, 2, 0]])
    at_bus = np.array([[1.0, 0, 0], [0, 1, 1]])  # a roof at bus 0; a roof and a car at bus 1
    found = find_binding_limits(
        limits, rows, np.array([-0.2, -0.1, -0.3, 0.0]), at_bus=at_bus, feeding=np.array([True, True, False]), steps=3
    )
    assert found.limit.tolist() == [1, -1, -1] and found.names == ("bus, high", "", "")
    assert found.relief.tolist() == [[0.5, 1, 0], [0, 0, 0], [0, 0, 0]]


@st.composite
def days(draw):
    steps, count = draw(st.integers(1, 6)), draw(st.integers(1, 4))

    def table(low, high):
        row = st.lists(st.floats(low, high), min_size=count, max_size=count)
        return np.array(draw(st.lists(row, min_size=steps, max_size=steps)))

    expected, relief = table(0, 30), table(-0.5, 1)
    lost = expected * np.where(table(0, 1) > 0.5, table(0, 1), 0)
    limit = draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=steps, max_size=steps))
    return lost, expected, relief, limit, np.array(draw(st.lists(st.booleans(), min_size=steps, max_size=steps)))


@settings(max_examples=200, deadline=None)
@given(days(), st.sampled_from(list(SHARING_RULES)))
def test_relief_is_kept_within_what_is_expected(day, rule):
    """Marks may add a watt per system, nothing may be taken away."""
    lost, expected, relief, limit, shared = day
    result, after = fair(lost, expected, relief, rule, limit=limit, shared=shared)
    assert (after >= -1e-9).all() and (after <= expected + 1e-9).all()
    kept, brought = ((np.maximum(relief, 0) * power).sum(axis=1) for power in (lost, after))
    assert (brought >= kept - 1e-6).all() and (brought <= kept + 1.001 * CAP_MARK_KW * lost.shape[1]).all()
    stays = ~shared | (np.array(limit) == "") | ~(lost > 1.01 * CAP_MARK_KW).any(axis=1)
    np.testing.assert_allclose(after[stays], lost[stays], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.where(relief > 0, lost, after), lost, rtol=0, atol=1e-12)
    assert result.extra_kwh == pytest.approx((after - lost).sum(), abs=1e-9)
    assert (result.unmet_kw == 0).all()
    count = max(1, len(result.systems))
    assert all(1 / count - 1e-9 <= jain <= 1 + 1e-9 for jain in (result.jain_before, result.jain_after))
    assert result.after.asked_kwh == pytest.approx(expected.sum(axis=0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 30), st.floats(0, 1), st.floats(0.05, 1)), min_size=1, max_size=5))
def test_on_one_step_nobody_loses_a_larger_share_than_the_worst_did(roofs):
    """The largest share of the lexicographic rule is the smallest possible; a mark may add a watt."""
    expected, share, relief = np.array(roofs).T
    _, after = fair(share * expected, expected, relief, "lexicographic")
    assert (after[0] / expected).max() <= share.max() + 1.01 * CAP_MARK_KW / expected.min()
    if (share * expected > 1.01 * CAP_MARK_KW).any():
        level = (share * expected) @ relief / (expected @ relief)
        assert (np.abs(after[0] / expected - level) <= 1.01 * CAP_MARK_KW / expected).all()


SPREAD = (0.85, 0.95, 1.0, 1.05, 1.15)


def with_far_end(one_line):
    """`grid` -- line -- `end` -- service -- `far`: roofs whose name says so stand at the far end."""

    class FarEnd(one_line):
        def _add_assets(self, net, bus):
            far = pandapower.create_bus(net, 0.4, name="far")
            pandapower.create_line_from_parameters(
                net, bus, far, 0.1, r_ohm_per_km=0.2, x_ohm_per_km=0.08, c_nf_per_km=0, max_i_ka=10, name="service"
            )
            for name, kw in self.pv_kw.items():
                place = far if name.startswith("far") else bus
                facts = {"kind": "pv", "flexible": True, "origin": "growth"}
                pandapower.create_sgen(net, place, kw / 1000, name=name, **facts)

    return FarEnd


@pytest.fixture
def certified_round(monkeypatch):
    """Day, limits and last round of a case of one day."""

    def run(case, flexibility):
        seen, explain = [], planned_day.explain_day

        def keep(day, limits, best, **more):
            seen.append((day, limits, best))
            return explain(day, limits, best, **more)

        monkeypatch.setattr(planned_day, "explain_day", keep)
        case.optimize(flexibility)
        return seen[0]

    return run


def assert_limits_hold(case, day, p_kw):
    """Our power flow on every step and pandapower at noon, on every path: 0.5 % and 0.001 pu."""
    plan = build_schedule(
        day.study.chosen, day.axis, p_kw=p_kw, p_base_kw=day.p_base_kw, e_kwh=0 * p_kw, reason=np.full(p_kw.shape, "")
    )
    twin = day.study.twin
    scheduled = apply_schedule(twin, day.study.forecast, plan)
    flow = run_power_flow(twin, scheduled)
    assert float(flow["loading_percent"].max()) <= 100.5
    assert (flow["vm_pu"].to_numpy() <= twin.buses["vm_max_pu"].to_numpy() + 1e-3).all()
    net = copy.deepcopy(twin.net)
    for path in range(len(case.path_factors)):
        net.sgen["p_mw"] = -scheduled["p_mw"].sel(asset=net.sgen["name"].to_numpy()).isel(path=path, time=48).to_numpy()
        pandapower.runpp(net, numba=False)
        assert net.res_line["loading_percent"].max() <= 100.5
        assert net.res_bus["vm_pu"].max() <= twin.buses["vm_max_pu"].max() + 1e-3


@pytest.mark.parametrize("rule", list(SHARING_RULES))
def test_a_line_holds_whoever_gives(one_line, certified_round, rule):
    """Three roofs of 30 kW on a line of 20 kW: which of them gives does not matter to the line."""
    case = one_line(line_kw=20, pv_kw={"a": 12.0, "b": 12.0, "c": 6.0}, path_factors=SPREAD)
    day, limits, best = certified_round(case, Flexibility(confidence=0.8))
    made = make_fair(day, limits, best, rule)
    assert not made.findings
    assert_limits_hold(case, day, made.best.plan.p_kw)
    lost = made.fair.systems["e_lost_kwh"]
    if rule == "rotation":
        # equal energies, of 12, 12 and 6 kW: to the 12 kWh of a slot
        assert lost.max() - lost.min() <= 12
    else:
        assert made.fair.jain_after == pytest.approx(1, abs=1e-3)
    # relief is the same at every roof: no energy more than before, but for paths below their caps
    assert made.fair.extra_kwh == pytest.approx(0, abs=0.02 * lost.sum())
    np.testing.assert_allclose(made.best.plan.device_kw.sum(axis=1), made.best.plan.p_kw.sum(axis=1), atol=1e-9)


@pytest.mark.parametrize("rule", list(SHARING_RULES))
def test_a_voltage_holds_though_one_roof_helps_less(one_line, certified_round, rule):
    """Voltage at the far end: cost curtails the far roof alone, which has twice the effect of the near one."""
    case = with_far_end(one_line)(pv_kw={"near": 40.0, "far": 40.0}, path_factors=SPREAD, bands=(0.9, 1.01))
    day, limits, best = certified_round(case, Flexibility(confidence=0.8))
    near, far = (day.study.chosen.index.get_loc(name) for name in ("near", "far"))
    lost = best.plan.p_kw - day.p_base_kw
    assert lost[:, far].sum() > 10 * lost[:, near].sum()
    made = make_fair(day, limits, best, rule)
    assert not made.findings
    assert_limits_hold(case, day, made.best.plan.p_kw)
    assert made.fair.jain_before < 0.6 and made.fair.jain_after > 0.95
    assert made.fair.extra_kwh > 0
    systems = made.fair.systems
    assert (systems["e_lost_kwh"] - systems["e_lost_before_kwh"]).sum() == pytest.approx(made.fair.extra_kwh, abs=1e-6)
    assert made.best.check.vm_excess_pu.max() <= 1e-6 + max(0.0, best.check.vm_excess_pu.max())


def test_where_a_second_limit_suffers_the_plan_stays(one_line, certified_round, monkeypatch):
    """If no try holds as well as before, the plan of least cost is kept, and said so."""
    case = one_line(line_kw=20, pv_kw={"a": 12.0, "b": 18.0})
    day, limits, best = certified_round(case, Flexibility())
    worse = np.ones(day.axis.length, dtype=bool)
    monkeypatch.setattr("gridtwin.optimize.fair_round._worse_steps", lambda check, before: worse)
    made = make_fair(day, limits, best, "proportional")
    assert made.best is best and made.fair.systems.empty
    # what the plan curtails all the same is remembered
    lost_kwh = (best.plan.p_kw - day.p_base_kw).sum(axis=0) / 4
    assert made.fair.after.given_kwh == pytest.approx(lost_kwh) and lost_kwh.sum() > 200
    assert [finding.code for finding in made.findings] == ["GT-O78"]


def test_more_relief_where_paths_lie_below_their_caps(one_line, certified_round):
    """Half the paths must hold: with 0.8 of the expectation `a` alone fills the line, `b` is off.

    Both capped at 7.5 kW reach their caps in that path, 15 kW in sum: each has to give 1.5 kW more, 72 kWh a day.
    """
    case = one_line(line_kw=12, pv_kw={"a": 15.0, "b": 15.0}, path_factors=(0.5, 0.8, 1.7))
    day, limits, best = certified_round(case, Flexibility(confidence=0.5))
    assert best.plan.p_kw.sum(axis=1) == pytest.approx(-15, abs=0.01)
    made = make_fair(day, limits, best, "lexicographic")
    assert made.best.plan.p_kw == pytest.approx(-6, abs=0.05) and not made.findings
    assert made.best.check.loading_excess_percent.max() <= 1e-3
    assert made.fair.jain_after == pytest.approx(1, abs=1e-3)
    assert made.fair.extra_kwh == pytest.approx(24 * 3, rel=0.02)


def test_a_plan_without_curtailment_stays(one_line, certified_round):
    case = one_line(line_kw=50, pv_kw={"a": 12.0, "b": 18.0})
    day, limits, best = certified_round(case, Flexibility())
    made = make_fair(day, limits, best, "lexicographic")
    assert made.best is best and not made.findings and made.fair.jain_after == 1 and made.fair.log.empty
    assert find_feeding(day).tolist() == [True, True]


@pytest.mark.parametrize("rule", ["cost", *SHARING_RULES])
def test_a_study_chooses_who_is_curtailed(one_line, rule):
    """Two roofs at two ends, two days; the schedule holds in every path whatever the rule, and says what it took."""
    case = with_far_end(one_line)(pv_kw={"near": 40.0, "far": 40.0}, path_factors=SPREAD, bands=(0.9, 1.01), days=2)
    result = case.optimize(Flexibility(confidence=0.8, curtailment_sharing=rule))
    assert result.certificate.limits_hold and result.certificate.converged
    table, hours = result.curtailment, 0.25
    schedule = result.schedule
    for day, rows in table.groupby("day"):
        here = schedule.sel(time=schedule["time"].dt.strftime("%F") == str(pd.Timestamp(day).date()))
        assert set(rows["asset"]) == {"near", "far"} and set(rows["rule"]) == {rule}
        assert len(here["time"]) >= 92
    lost = 1000 * hours * (schedule["p_mw"] - schedule["p_base_mw"]).sum("time")
    assert table.groupby("asset")["e_lost_kwh"].sum().to_dict() == pytest.approx(
        {name: float(lost.sel(asset=name)) for name in ("near", "far")}, abs=1e-3
    )
    jain = table.groupby("day")["jain"].first()
    if rule == "cost":
        assert result.curtailment_log.empty and (jain < 0.6).all() and (table["jain"] == table["jain_least_cost"]).all()
    else:
        assert (jain > 0.95).all() and list(result.curtailment_log.columns) == list(LOG_COLUMNS)
        assert result.curtailment_log["e_dimmed_kwh"].sum() == pytest.approx(table["e_lost_kwh"].sum(), abs=0.2)
    # what each system is paid and loses is told for this plan, not for the one of least cost
    paid = result.settlement.groupby("asset")["own_cost_eur"].sum()
    assert paid["near"] == pytest.approx(0.15 * float(lost.sel(asset="near")), abs=1e-3)


def test_a_rule_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="curtailment_sharing"):
        Flexibility(curtailment_sharing="lottery")
