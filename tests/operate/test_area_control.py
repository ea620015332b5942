"""Frequency and area control: textbook numbers, laws, and the numpy reference beside the kernel."""

from __future__ import annotations

import itertools
from dataclasses import replace

import highspy
import numpy as np
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.kernels.area_arrays import AREA_QUANTITIES, ControlArrays
from gridtwin.kernels.lanes import LANES_4, LANES_8
from gridtwin.operate.area_control import (
    BalancingBid,
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    Disturbance,
    DroopReserve,
    EnergyStore,
    Governor,
    LoadShedding,
    TieLine,
    control_all_scenarios,
    run_area_control,
)
from gridtwin.operate.control_arrays import CompiledControl, compile_control, discretise_core
from tests.operate.area_control_reference import Reference, noise, run_reference

ROUNDING = 1e-9
"""Relative to the largest value of a table: sums of some thousand terms."""


# --- the linear core --------------------------------------------------------------------------------------------------


def textbook_system(integral_per_s: float) -> ControlSystem:
    """Two equal areas: Kp 120, Tp 20, Tg 0.08, Tt 0.3, R 2.4, B 0.425, T12 0.545; 1 pu is written as 1 MW.

    O. I. Elgerd, Electric Energy Systems Theory, 1971. M = Tp / Kp, D = 1 / Kp, E = M f0 / 2.
    """
    governor = Governor(2.4, governor_s=0.08, turbine_s=0.3, integral_per_s=integral_per_s)
    areas = [
        ControlArea(name, 20 / 120 * 50 / 2, 1 / 120, governor=governor, bias_mw_per_hz=0.425) for name in ("1", "2")
    ]
    return ControlSystem(tuple(areas), (TieLine("1", "2", 0.545),))


def run_textbook(integral_per_s: float, step_s: float = 0.01, duration_s: float = 900.0) -> xr.Dataset:
    times = ControlTimes(duration_s, step_s=step_s, cycle_s=0.04, trace_s=step_s)
    return run_area_control(textbook_system(integral_per_s), times, ControlInputs((Disturbance("1", 0, 0.01),)))


def test_two_areas_without_integral_action() -> None:
    result = run_textbook(0.0)
    f_hz, tie = result["trace_f_hz"][..., 0] - 50, result["trace_p_tie_mw"][:, 0, 0]
    # - 0.01 / (2 * 0.425), and half of the load comes over the tie line
    np.testing.assert_allclose(f_hz[-1], -0.01 / 0.85, rtol=0, atol=1e-12)
    np.testing.assert_allclose(tie[-1], -0.005, rtol=0, atol=1e-12)
    assert float(f_hz[:, 0].min()) == pytest.approx(-0.02235, abs=5e-6)


def test_two_areas_with_integral_action() -> None:
    result = run_textbook(0.3)
    f_hz, tie = result["trace_f_hz"][..., 0] - 50, result["trace_p_tie_mw"][:, 0, 0]
    lowest = [float(f_hz[:, 0].min()), float(f_hz[:, 1].min()), float(tie.min())]
    np.testing.assert_allclose(lowest, [-0.02199, -0.01748, -0.006087], rtol=0, atol=5e-6)
    np.testing.assert_allclose(f_hz[-1], 0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(tie[-1], 0, rtol=0, atol=1e-12)


def test_the_linear_part_does_not_depend_on_the_step() -> None:
    """Exact discretisation: the same numbers at common times, here up to 1 s, where Euler steps are unstable."""
    fine = run_textbook(0.3, 0.01)
    for step_s in (0.02, 0.04):
        coarse = run_textbook(0.3, step_s)
        at = fine.sel(time_s=coarse["time_s"], method="nearest")
        for name in ("trace_f_hz", "trace_p_tie_mw"):
            np.testing.assert_allclose(coarse[name], at[name], rtol=0, atol=1e-12)
    system = textbook_system(0.3)
    second, (hundredth, _) = discretise_core(system, 1.0)[0], discretise_core(system, 0.01)
    np.testing.assert_allclose(second, np.linalg.matrix_power(hundredth, 100), rtol=0, atol=1e-12)


def test_half_a_step_moves_sampled_reserves_little() -> None:
    """Droop and controller are sampled, an error of first order: of 430 mHz, 23 mHz from 1 s to 0.5 s, then less."""
    inputs = ControlInputs((Disturbance("A", 30, 1500),))
    runs = [
        run_area_control(one_area(noise_mw=0), ControlTimes(900, step_s=step, trace_s=1), inputs)["trace_f_hz"]
        for step in (1, 0.5, 0.25, 0.125)
    ]
    moved = [float(np.abs(coarse - fine).max()) for coarse, fine in itertools.pairwise(runs)]
    assert float(runs[-1].min()) < 49.6
    assert moved[0] < 0.025 and moved[1] < 0.016 and moved[2] < 0.007


# --- known answers ----------------------------------------------------------------------------------------------------


def one_area(**changes: object) -> ControlSystem:
    """An area of the size of a large country: 60 GW, 240 GW s, bids of automatic and manual reserves, batteries."""
    area = ControlArea(
        "A", 240_000, 600, droop=(DroopReserve(3000, 0.2, 0.01, full_activation_s=30),), bias_mw_per_hz=15_000,
        afrr_proportional=0.2, afrr_integral_s=120, mfrr_threshold_mw=100, mfrr_direct_share=0.9, noise_mw=300,
        noise_s=120,
    )  # fmt: skip
    bids = [
        BalancingBid("cheap", "A", "up", 300, 60), BalancingBid("same 1", "A", "up", 200, 80),
        BalancingBid("same 2", "A", "up", 400, 80, full_activation_s=0),
        BalancingBid("battery up", "A", "up", 200, 70, full_activation_s=4, store="battery"),
        BalancingBid("battery down", "A", "down", 200, 45, full_activation_s=4, store="battery"),
        BalancingBid("late", "A", "up", 500, 90, available_from_s=900),
        BalancingBid("down", "A", "down", 900, 30, least_duration_s=60),
        BalancingBid("hydro", "A", "up", 800, 100, "mfrr", full_activation_s=600, least_duration_s=300),
        BalancingBid("response", "A", "up", 200, 95, "mfrr", 60, rebound_share=0.6, rebound_s=600),
        BalancingBid("thermal", "A", "down", 600, 20, "mfrr", full_activation_s=750),
    ]  # fmt: skip
    stores = (EnergyStore("battery", 20, efficiency=0.81),)
    return ControlSystem((replace(area, **changes),), bids=tuple(bids), stores=stores)  # type: ignore[arg-type]


def test_quasi_steady_deviation_of_continental_europe() -> None:
    """3,000 MW lost, 3,000 MW of droop until 200 mHz, load falling by 1 %/Hz of 150 GW: 0.2 * 3000 / (3000 + 300).

    Reference incident and full activation deviation: Commission Regulation (EU) 2017/1485, articles 153, 154 and
    annex III; self-regulation of load 1 %/Hz of 150 GW: the design basis of ENTSO-E, Policy 1, from memory.
    """
    area = ControlArea("CE", 5.7 * 150_000, 1500, droop=(DroopReserve(3000, 0.2, full_activation_s=30),))
    result = run_area_control(
        ControlSystem((area,)), ControlTimes(900), ControlInputs((Disturbance("CE", 0, 3000),)), threads=1
    )
    last = run_area_control(
        ControlSystem((area,)), ControlTimes(1800), ControlInputs((Disturbance("CE", 0, 3000),)), threads=1
    )
    assert float(last["f_hz"][1, 0, 0]) == pytest.approx(50 - 3000 / (3000 / 0.2 + 1500), abs=1e-6)
    assert float(result["f_min_hz"][0, 0, 0]) > 49.2


def test_integral_action_brings_back_the_frequency_and_frees_the_droop() -> None:
    system = one_area(noise_mw=0, mfrr_threshold_mw=None, mfrr_direct_share=None)
    result = run_area_control(system, ControlTimes(3600), ControlInputs((Disturbance("A", 10, 500),)))
    last = result.isel(period=-1, area=0, scenario=0)
    assert float(last["f_hz"]) == pytest.approx(50, abs=1e-3)
    assert float(last["p_droop_mw"]) == pytest.approx(0, abs=1)
    assert float(last["p_reserve_mw"]) == pytest.approx(500, abs=5)


def test_manual_reserves_relieve_automatic_ones() -> None:
    result = run_area_control(one_area(noise_mw=0), ControlTimes(3600), ControlInputs((Disturbance("A", 10, 700),)))
    last = result.isel(period=-1, area=0, scenario=0)
    assert float(last["p_mfrr_request_mw"]) > 300
    assert float(last["p_request_mw"]) < 400
    assert float(last["f_hz"]) == pytest.approx(50, abs=5e-3)


def test_direct_activation_does_not_wait_for_the_quarter_hour() -> None:
    requested = {}
    for share in (None, 0.5):
        system = one_area(noise_mw=0, mfrr_direct_share=share)
        times = ControlTimes(900, period_s=60)
        result = run_area_control(system, times, ControlInputs((Disturbance("A", 0, 900),)))
        requested[share] = result["p_mfrr_request_mw"].to_numpy()[:, 0, 0]
    assert (requested[None] == 0).all()
    assert requested[0.5].max() > 300


def test_netting_activates_nothing_where_areas_cancel() -> None:
    areas = tuple(
        ControlArea(n, 100_000, 300, bias_mw_per_hz=3000, afrr_proportional=0.2, afrr_integral_s=60) for n in "AB"
    )
    bids = tuple(
        BalancingBid(f"{a} {side}", a, side, 500, 50, full_activation_s=60) for a in "AB" for side in ("up", "down")
    )
    events = ControlInputs((Disturbance("A", 0, 200), Disturbance("B", 0, -200)))
    system = ControlSystem(areas, (TieLine("A", "B", 200),), bids)
    apart, netted = (
        run_area_control(replace(system, netting=netting), ControlTimes(3600), events).isel(period=-1, scenario=0)
        for netting in (False, True)
    )
    np.testing.assert_allclose(apart["p_reserve_mw"], [200, -200], atol=2)
    np.testing.assert_allclose(apart["p_tie_mw"], 0, atol=2)
    np.testing.assert_allclose(netted["p_reserve_mw"], 0, atol=2)
    np.testing.assert_allclose(netted["p_netting_mw"], [200, -200], atol=2)
    np.testing.assert_allclose(netted["p_tie_mw"], -200, atol=2)  # A imports


def test_load_shedding_waits_and_goes_by_stages() -> None:
    area = ControlArea("A", 50_000, 100)  # M = 2000 MW s/Hz; 400 MW lost: -0.2 Hz/s at first
    stages = (LoadShedding("A", 49.0, 150, delay_s=2), LoadShedding("A", 48.8, 300, delay_s=0.5))
    times = ControlTimes(60, step_s=0.1, cycle_s=1, period_s=60, schedule_s=60, trace_s=0.1)
    result = run_area_control(
        ControlSystem((area,), shedding=stages), times, ControlInputs((Disturbance("A", 0, 400),))
    )
    f_hz, shed = (result[name][:, 0, 0].to_numpy() for name in ("trace_f_hz", "trace_p_shed_mw"))
    below = [np.flatnonzero(f_hz < stage.f_hz)[0] for stage in stages]
    # the lower stage is quicker: it goes 0.5 s after 48.8 Hz, before the 2 s after 49.0 Hz are over
    assert np.flatnonzero(shed == 300)[0] - below[1] == 5
    assert np.flatnonzero(shed == 450)[0] - below[0] == 20
    assert shed[-1] == 450 and (np.diff(shed) >= 0).all()


# --- merit order ------------------------------------------------------------------------------------------------------


def cheapest_cost(need_mw: float, p_mw: np.ndarray, price: np.ndarray) -> float:
    """min price x power, sum of power = need, within offers: HiGHS. [EUR/h]"""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    powers = [highs.addVariable(0, float(p), float(c)) for p, c in zip(p_mw, price, strict=True)]
    highs.addConstr(sum(powers[1:], powers[0]) == need_mw)
    highs.run()
    return float(highs.getInfo().objective_function_value)


def test_every_cycle_costs_what_the_linear_program_costs() -> None:
    generator = np.random.default_rng(7)
    price = np.repeat(generator.uniform(20, 200, 12).round(), [1, 2, 1, 3, 1, 1, 1, 2, 1, 1, 1, 1])
    p_mw = generator.uniform(5, 60, len(price))
    bids = tuple(
        BalancingBid(f"{n}", "A", "up", p, c, full_activation_s=0)
        for n, (p, c) in enumerate(zip(p_mw, price, strict=True))
    )
    area = ControlArea("A", 20_000, 50, bias_mw_per_hz=500, afrr_proportional=0.3, afrr_integral_s=100, noise_mw=30)
    times = ControlTimes(240, period_s=4, schedule_s=240)
    result = run_area_control(
        ControlSystem((area,), bids=bids), times, ControlInputs((Disturbance("A", 0, 250),), scenarios=3)
    )
    for point in range(0, 60, 7):
        for scenario in range(3):
            now = result.isel(period=point, scenario=scenario)
            power = now["p_bid_mw"].to_numpy()
            need = max(float(now["p_request_mw"][0]), 0.0)
            assert power.sum() == pytest.approx(need, abs=1e-9)
            cost = float(now["pay_as_bid_eur"][0]) / (4 / 3600)
            assert cost == pytest.approx(cheapest_cost(need, p_mw, price), rel=1e-7, abs=1e-6)  # tolerance of HiGHS
            active = result["p_bid_mw"].isel(period=point, scenario=scenario)
            dearest = max((b.price_eur_per_mwh for b in bids if float(active.sel(bid=b.name)) > 0), default=0.0)
            assert float(now["marginal_eur"][0]) == pytest.approx(dearest * need * 4 / 3600, abs=1e-9)


def test_equal_prices_share_by_what_is_offered() -> None:
    result = run_area_control(one_area(noise_mw=0), ControlTimes(900), ControlInputs((Disturbance("A", 0, 600),)))
    power = result["p_bid_mw"].isel(period=0, scenario=0)
    fast = replace(one_area(noise_mw=0), bids=tuple(replace(b, full_activation_s=0) for b in one_area().bids))
    power = run_area_control(fast, ControlTimes(900), ControlInputs((Disturbance("A", 0, 600),)))["p_bid_mw"][0, :, 0]
    assert float(power.sel(bid="same 2")) == pytest.approx(2 * float(power.sel(bid="same 1")), rel=1e-9)
    assert float(power.sel(bid="same 1")) > 10


def test_ramps_durations_and_offers_hold() -> None:
    system, times = one_area(), ControlTimes(3600, period_s=4)
    result = run_area_control(system, times, ControlInputs((Disturbance("A", 300, 900),), scenarios=16))
    power = result["p_bid_mw"]
    for bid in system.bids:
        mine = power.sel(bid=bid.name)
        assert float(mine.min()) >= 0 and float(mine.max()) <= bid.p_mw
        if bid.full_activation_s and bid.store is None:
            steepest = float(np.abs(mine.diff("period")).max())
            assert steepest <= bid.p_mw * 4 / bid.full_activation_s * (1 + 1e-9)
    assert float(power.sel(bid="late").isel(period=slice(0, 225)).max()) == 0


# --- laws -------------------------------------------------------------------------------------------------------------


def busy_case(scenarios: int = 37) -> tuple[ControlSystem, ControlTimes, ControlInputs]:
    """Two areas with everything that there is; calm, so that rounding does not grow."""
    first = one_area(
        bias_mw_per_hz=4000, afrr_proportional=0.05, afrr_integral_s=200, droop=(DroopReserve(1000, 0.2, 0.01, 10),)
    )
    other = replace(
        first.areas[0], name="B", inertia_mws=80_000, noise_mw=150, mfrr_direct_share=None,
        bias_mw_per_hz=1500, droop=(DroopReserve(300, 0.2, 0.02, 5, 0.5), DroopReserve(400, 0.5, 0.1, direction="up")),
    )  # fmt: skip
    bids = tuple(replace(b, name=f"B {b.name}", area="B", store=b.store and "B battery") for b in first.bids)
    system = ControlSystem(
        (first.areas[0], other), (TieLine("A", "B", 60),), first.bids + bids,
        (*first.stores, EnergyStore("B battery", 10, 0.2, 0.9)),
        (LoadShedding("B", 49.9, 100, 3), LoadShedding("A", 49.85, 200)), netting=True,
    )  # fmt: skip
    generator = np.random.default_rng(3)
    load = xr.DataArray(
        generator.normal(0, 300, (6, 2, scenarios)).cumsum(axis=0), dims=("time", "area", "scenario"),
        coords={"area": ["A", "B"]},
    )  # fmt: skip
    events = (Disturbance("A", 100, 900), Disturbance("B", 1000, -500))
    return system, ControlTimes(3600), ControlInputs(events, load, seed=5, scenarios=scenarios)


def by_scenario(table: np.ndarray, scenarios: int) -> np.ndarray:
    """(block, time, row, lane) of the kernel as (time, row, scenario) of the reference."""
    blocks, times, rows, lanes = table.shape
    return table.transpose(1, 2, 0, 3).reshape(times, rows, blocks * lanes)[..., :scenarios]


def assert_same(ours: ControlArrays, theirs: Reference) -> None:
    """All tables of kernel and reference, each to a share of its largest value."""
    pairs = (ours.area, theirs.area_out), (ours.tie_mw, theirs.tie_out), (ours.bid_mw, theirs.bid_out)
    for table, reference in (*pairs, (ours.store_mwh, theirs.store_out)):
        mine = by_scenario(table, theirs.scenarios)
        reference = reference.reshape(mine.shape)
        np.testing.assert_allclose(mine, reference, rtol=0, atol=ROUNDING * np.abs(reference).max(initial=0.0))


def test_the_kernel_is_the_reference() -> None:
    compiled = compile_control(*busy_case())
    theirs = run_reference(compiled)
    assert_same(control_all_scenarios(compiled), theirs)
    assert theirs.area_out[:, AREA_QUANTITIES.index("p_shed_mw")].max() > 0, "nothing is shed"
    assert (np.abs(theirs.bid_out).max(axis=(0, 2)) > 0).mean() > 0.8, "most bids are used"


def shedding_case(seed: int, scenarios: int = 16) -> CompiledControl:
    """One to three areas in a row with stages of any threshold, power and delay; losses come, and may go again."""
    generator = np.random.default_rng(seed)
    names = "ABC"[: 1 + seed % 3]
    areas = tuple(
        ControlArea(
            name, generator.uniform(30_000, 90_000), generator.uniform(50, 300), noise_mw=generator.uniform(0, 30),
            droop=(DroopReserve(generator.uniform(50, 200), 0.2, 0.02, generator.choice([0, 10])),),
        )
        for name in names
    )  # fmt: skip
    stages = tuple(
        LoadShedding(
            name, generator.uniform(48.4, 49.4), generator.uniform(20, 250), generator.choice([0, 0.1, 0.25, 0.5, 2, 8])
        )
        for name in names
        for _ in range(generator.integers(3, 7))
    )
    ties = tuple(TieLine(*pair, generator.uniform(50, 300)) for pair in itertools.pairwise(names))
    severity = np.linspace(0.02, 1, scenarios)
    lost = severity * generator.uniform(-100, 900, (6, len(names), scenarios))
    load = xr.DataArray(lost, dims=("time", "area", "scenario"), coords={"area": list(names)})
    times = ControlTimes(60, step_s=0.1, cycle_s=0.5, period_s=0.5, schedule_s=20)
    return compile_control(ControlSystem(areas, ties, shedding=stages), times, ControlInputs(load_mw=load, seed=seed))


@pytest.mark.parametrize("seed", range(9))
def test_shedding_is_the_reference(seed: int) -> None:
    """Every half second: the same stages go in the same step, so that all powers and frequencies agree."""
    compiled = shedding_case(seed)
    theirs = run_reference(compiled)
    assert_same(control_all_scenarios(compiled), theirs)
    shed = theirs.area_out[:, AREA_QUANTITIES.index("p_shed_mw")]
    assert (np.diff(shed, axis=0) >= 0).all(), "what is shed stays shed"
    levels = np.unique(shed[-1].sum(axis=0).round(6))
    assert levels[0] == 0 and len(levels) >= 3, "some scenarios shed nothing, others less and more"


def saturated_case(full_activation_s: float) -> CompiledControl:
    """Noise of 600 MW and a loss of 1,500 MW: requests reach what is offered."""
    droop = (DroopReserve(3000, 0.2, 0.01, full_activation_s),)
    inputs = ControlInputs((Disturbance("A", 100, 1500),), scenarios=16, seed=5)
    return compile_control(one_area(noise_mw=600, droop=droop), ControlTimes(1200, period_s=4), inputs)


def test_the_kernel_is_the_reference_where_reserves_saturate() -> None:
    """Limits do not part kernel and reference: 300 cycles, a third of the requests at what is offered upward."""
    compiled = saturated_case(full_activation_s=0)
    theirs = run_reference(compiled)
    assert_same(control_all_scenarios(compiled), theirs)
    request = theirs.area_out[:, AREA_QUANTITIES.index("p_request_mw"), 0]
    # 300 + 200 + 400 MW, 200 MW of the battery while it lasts, 500 MW from 900 s on
    assert np.isin(request.round(9), (900, 1100, 1400, 1600)).mean() > 0.3


def test_where_kernel_and_reference_part_the_reference_parts_from_itself() -> None:
    """A slow rate of droop makes the same case chaotic, so that no order of sums could keep both together.

    100 MW/s against noise of 600 MW: the lag of the rate beside 15,800 MW/Hz on 9,600 MW s/Hz swings between its
    limits and multiplies a difference by about 2.5 per cycle. Kernel and reference agree until rounding has grown;
    the reference that begins 1e-16 Hz elsewhere, one rounding of the frequency, goes as far from itself.
    """
    compiled = saturated_case(full_activation_s=30)
    theirs, moved = run_reference(compiled), Reference(compiled)
    moved.x = moved.x + 1e-16
    moved.run()
    ours = by_scenario(control_all_scenarios(compiled).area, theirs.scenarios).reshape(theirs.area_out.shape)
    largest = np.abs(theirs.area_out).max()
    np.testing.assert_allclose(ours[:10], theirs.area_out[:10], rtol=0, atol=ROUNDING * largest)
    assert np.abs(moved.area_out - theirs.area_out).max() > 0.01 * largest


def test_threads_widths_and_neighbours_change_no_bit() -> None:
    system, times, inputs = busy_case(80)
    compiled = compile_control(system, times, inputs)
    one, two = (control_all_scenarios(compiled, threads=threads) for threads in (1, 2))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)
    for width in (LANES_4, LANES_8):
        other = control_all_scenarios(compiled, threads=1, width=width)
        for first, second in zip(one, other, strict=True):
            if not first.size:
                continue
            np.testing.assert_array_equal(by_scenario(first, 80), by_scenario(second, 80))
    few = replace(inputs, load_mw=inputs.load_mw[..., :5], scenarios=5)  # type: ignore[index]
    alone, among = (run_area_control(system, times, case) for case in (few, inputs))
    xr.testing.assert_equal(alone, among.isel(scenario=slice(0, 5)))


def test_energy_is_kept() -> None:
    """Periods settle the sum of all cycles; stores hold what went in and out; rebounds return their share."""
    system, times, inputs = busy_case()
    settled = run_area_control(system, times, inputs)
    cycles = run_area_control(system, replace(times, period_s=4), inputs)
    summed = cycles["e_bid_mwh"].to_numpy().reshape(4, 225, len(system.bids), 37).sum(axis=1)
    late = [bid.name.endswith("late") for bid in system.bids]
    assert any(late)
    np.testing.assert_allclose(settled["e_bid_mwh"].sel(bid=cycles["bid"]), summed, rtol=0, atol=ROUNDING)
    for part in system.stores:
        prefix, one_way = "B " if part.name.startswith("B") else "", part.efficiency**0.5
        into = settled["e_bid_mwh"].sel(bid=f"{prefix}battery down").sum("period") * one_way
        out = settled["e_bid_mwh"].sel(bid=f"{prefix}battery up").sum("period") / one_way
        kept = settled["e_mwh"].sel(store=part.name).isel(period=-1)
        np.testing.assert_allclose(kept, part.start_share * part.e_mwh + into - out, rtol=0, atol=ROUNDING)
        state = cycles["e_mwh"].sel(store=part.name)
        assert float(state.min()) >= 0 and float(state.max()) <= part.e_mwh
    by_sign = sum(
        settled["p_bid_mw"].sel(bid=bid.name) * (1 if bid.direction == "up" else -1)
        for bid in system.bids
        if bid.area == "A"
    )
    np.testing.assert_allclose(settled["p_reserve_mw"].sel(area="A"), by_sign, rtol=0, atol=ROUNDING)


def test_stores_run_empty_and_no_further() -> None:
    area = ControlArea("A", 20_000, 50, bias_mw_per_hz=500, afrr_integral_s=60)
    bid = BalancingBid("battery", "A", "up", 100, 50, full_activation_s=0, store="battery")
    system = ControlSystem((area,), bids=(bid,), stores=(EnergyStore("battery", 10, 1.0, 0.81),))
    result = run_area_control(system, ControlTimes(1800), ControlInputs((Disturbance("A", 0, 100),)))
    assert float(result["e_mwh"][-1, 0, 0]) == pytest.approx(0, abs=1e-12)
    assert float(result["e_bid_mwh"].sum()) == pytest.approx(9, abs=1e-9)


def test_what_comes_back_is_the_share() -> None:
    """Demand response is called for a quarter of an hour; after ten time constants the rest is 5e-5 of it."""
    area = ControlArea("A", 200_000, 500, bias_mw_per_hz=5000, afrr_integral_s=60)
    bid = BalancingBid("response", "A", "up", 100, 50, full_activation_s=0, rebound_share=0.4, rebound_s=300,
                       available_until_s=900)  # fmt: skip
    result = run_area_control(
        ControlSystem((area,), bids=(bid,)), ControlTimes(4500), ControlInputs((Disturbance("A", 0, 300),))
    )
    given, back = float(result["e_bid_mwh"].sum()), float(result["p_rebound_mw"].sum()) / 4
    assert back == pytest.approx(0.4 * given, rel=1e-4)
    assert given > 20


def test_noise_is_the_same_in_kernel_and_numpy_and_nearly_normal() -> None:
    drawn = np.array([noise(9, np.arange(1000, dtype=np.uint64), k) for k in range(200)])
    assert drawn.mean() == pytest.approx(0, abs=0.01) and drawn.std() == pytest.approx(1, abs=0.01)
    assert np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1] == pytest.approx(0, abs=0.01)
    assert np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1] == pytest.approx(0, abs=0.01)


# --- input ------------------------------------------------------------------------------------------------------------


def test_bad_input_is_named_all_at_once() -> None:
    system = one_area(inertia_mws=0)
    bids = (*system.bids, BalancingBid("cheap", "C", "up", -1, 5, store="none"))
    with pytest.raises(DataError) as error:
        run_area_control(
            replace(system, bids=bids), ControlTimes(1000, cycle_s=3.5), ControlInputs((Disturbance("D", 0, 1),))
        )
    text = str(error.value)
    for words in ("inertia_mws must be above", "names are not unique", "unknown area", "does not divide",
                  "unknown store", "power or price is no number"):  # fmt: skip
        assert words in text


def test_load_must_fit() -> None:
    system, times, inputs = busy_case(2)
    load = inputs.load_mw
    assert load is not None
    for bad, words in (
        (load.where(load > load.min()), "has gaps"), (load.rename(time="hour"), "unknown dims"),
        (load.isel(area=[1, 0]), "other areas"), (xr.concat([load, load[:1]], "time"), "does not divide"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            run_area_control(system, times, replace(inputs, load_mw=bad))


def test_a_step_too_long_for_the_droop_is_refused() -> None:
    """3,000 MW within 0.19 Hz on M = 2 * 40,000 / 50 = 1,600 MW s/Hz: 2 * 1600 / 15,789 = 0.203 s."""
    with pytest.raises(DataError, match=r"below 0\.203 s"):
        run_area_control(one_area(inertia_mws=40_000), ControlTimes(900), ControlInputs())
