"""Balancing kernels against a slow reference in plain Python, known answers and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gridtwin.kernels.balancing import (
    BatteryArrays,
    BidArrays,
    HeatPumpArrays,
    SessionArrays,
    StepArrays,
    balance_area,
    charge_cars,
    empty_balancing,
    shift_heat_pumps,
)

MINUTES = StepArrays(1 / 60, 15, 1)
ROUNDING = 1e-9
"""MW and MWh: powers are of order 1, sums of order 1,000 terms."""


MOST_INTERVALS = 96


def bids(p_mw, ramp_mw=None) -> BidArrays:
    p_mw = np.array(p_mw, dtype=float)
    return BidArrays(p_mw, np.full(len(p_mw), 1e9) if ramp_mw is None else np.array(ramp_mw, dtype=float))


def park(p_mw=(), e_mwh=(), band=1.0, efficiency=1.0) -> BatteryArrays:
    p_mw, full = np.array(p_mw, dtype=float), np.array(e_mwh, dtype=float)
    free = np.zeros((MOST_INTERVALS, len(full)))
    return BatteryArrays(p_mw, full, band * p_mw, efficiency, free, free + full)


NO_BIDS, NO_BATTERY = bids([]), park()


def balance(deviation, schedule=None, start=None, batteries=NO_BATTERY, up=NO_BIDS, down=NO_BIDS, steps=MINUTES):
    deviation = np.asarray(deviation, dtype=float)
    deviation = deviation[:, None] if deviation.ndim == 1 else deviation
    n_steps, lanes = deviation.shape
    n_b = len(batteries.p_rated_mw)
    schedule = np.zeros((n_steps // steps.n, n_b)) if schedule is None else np.asarray(schedule, dtype=float)
    start = np.zeros((n_b, lanes)) if start is None else np.asarray(start, dtype=float)
    results = empty_balancing(n_steps // steps.n_mean, n_b, len(up.p_mw), len(down.p_mw), lanes)
    balance_area(deviation, schedule, start, batteries, up, down, steps, results)
    return results


def slow_balance(deviation, schedule, start, batteries, up, down, steps):
    """One lane in plain Python, written from the list of rules and not from the kernel."""
    eta, h = batteries.efficiency, steps.hours
    energy = [float(e) for e in start]
    last = {"up": [0.0] * len(up.p_mw), "down": [0.0] * len(down.p_mw)}
    rows = []
    for k, bare in enumerate(deviation):
        planned = [float(p) for p in schedule[k // steps.n]]
        limits = []
        for e, rated, full in zip(energy, batteries.p_rated_mw, batteries.e_rated_mwh, strict=True):
            limits.append((max(-rated, -e * eta / h), min(rated, (full - e) / (eta * h))))
        follow = [min(max(p, low), high) for p, (low, high) in zip(planned, limits, strict=True)]
        total = bare + sum(f - p for f, p in zip(follow, planned, strict=True))
        lowest = {
            side: [max(0.0, was - ramp) for was, ramp in zip(last[side], book.ramp_mw, strict=True)]
            for side, book in (("up", up), ("down", down))
        }
        t = k // steps.n
        after = [e + h * (f * eta if f > 0 else f / eta) for e, f in zip(energy, follow, strict=True)]
        kept = batteries.e_floor_mwh[t], batteries.e_ceiling_mwh[t]
        spare = [max(e - low, 0) * eta / h for e, low in zip(after, kept[0], strict=True)]
        empty = [max(high - e, 0) * eta / h for e, high in zip(after, kept[1], strict=True)]
        need = total - sum(lowest["up"]) + sum(lowest["down"])
        if need > 0:
            sides = zip(follow, batteries.band_mw, limits, spare, strict=True)
            rooms = [min(band, f - low, kept) for f, band, (low, _), kept in sides]
        else:
            sides = zip(follow, batteries.band_mw, limits, empty, strict=True)
            rooms = [min(band, high - f, kept) for f, band, (_, high), kept in sides]
        taken = min(abs(need), sum(rooms))
        support = [-math.copysign(taken, need) * room / sum(rooms) if taken else 0.0 for room in rooms]
        need += sum(support)
        for b, (f, s) in enumerate(zip(follow, support, strict=True)):
            energy[b] += h * ((f + s) * eta if f + s > 0 else (f + s) / eta)
        now = {}
        for side, book, towards in (("up", up, 1.0), ("down", down, -1.0)):
            now[side] = []
            for low, was, p, ramp in zip(lowest[side], last[side], book.p_mw, book.ramp_mw, strict=True):
                rise = max(0.0, min(towards * need, min(p, was + ramp) - low))
                need -= towards * rise
                now[side].append(low + rise)
        last = now
        rows.append((total, need, [f + s for f, s in zip(follow, support, strict=True)], list(energy), now))
    return rows


def random_case(seed: int, lanes: int = 1):
    rng = np.random.default_rng(seed)
    deviation = np.repeat(rng.normal(0, 2, (96, lanes)), 15, axis=0) + rng.normal(0, 0.2, (1440, lanes))
    full = np.array([1.0, 1.5, 0.2])
    kept = rng.uniform(0, 0.3, (2, 96, 3)) * full
    batteries = BatteryArrays(
        np.array([0.5, 1.0, 0.3]), full, np.array([0.25, 1.0, 0.1]), 0.96, kept[0], full - kept[1]
    )
    schedule = rng.uniform(-0.5, 0.5, (96, 3))
    start = np.repeat(np.array([[0.5], [0.0], [0.2]]), lanes, axis=1)
    up, down = bids([0.4, 0.7, 1.0], [0.05, 1.0, 0.2]), bids([0.3, 1.5], [0.02, 0.4])
    return deviation, schedule, start, batteries, up, down


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_plain_python(seed: int) -> None:
    deviation, schedule, start, batteries, up, down = random_case(seed)
    results = balance(deviation, schedule, start, batteries, up, down)
    slow = slow_balance(deviation[:, 0], schedule, start[:, 0], batteries, up, down, MINUTES)
    for name, values in (
        ("p_deviation_mw", [row[0] for row in slow]),
        ("p_residual_mw", [row[1] for row in slow]),
        ("p_battery_mw", [row[2] for row in slow]),
        ("e_battery_mwh", [row[3] for row in slow]),
        ("p_up_mw", [row[4]["up"] for row in slow]),
        ("p_down_mw", [row[4]["down"] for row in slow]),
    ):
        got = getattr(results, name)[..., 0]
        np.testing.assert_allclose(got, np.array(values), rtol=0, atol=ROUNDING, err_msg=name)
    assert np.abs(results.p_residual_mw).max() > 0.1, "the case must exhaust the reserves somewhere"


def test_a_lane_does_not_depend_on_its_neighbours() -> None:
    deviation, schedule, start, batteries, up, down = random_case(7, lanes=19)
    together = balance(deviation, schedule, start, batteries, up, down)
    for lane in (0, 7, 18):
        alone = balance(deviation[:, lane : lane + 1], schedule, start[:, lane : lane + 1], batteries, up, down)
        for name, many, one in zip(together._fields, together, alone, strict=True):
            assert np.array_equal(many[..., lane : lane + 1], one), name


def test_balance_closes_in_every_step() -> None:
    deviation, schedule, start, batteries, up, down = random_case(11, lanes=4)
    got = balance(deviation, schedule, start, batteries, up, down)
    sums = got.p_deviation_mw + got.p_support_mw.sum(axis=1) - got.p_up_mw.sum(axis=1) + got.p_down_mw.sum(axis=1)
    np.testing.assert_allclose(sums, got.p_residual_mw, rtol=0, atol=1e-12)


def test_batteries_conserve_energy_and_stay_within_bounds() -> None:
    deviation, schedule, start, batteries, up, down = random_case(13)
    got = balance(deviation, schedule, start, batteries, up, down)
    p, e = got.p_battery_mw[..., 0], got.e_battery_mwh[..., 0]
    stored = (np.maximum(p, 0) * 0.96 + np.minimum(p, 0) / 0.96) / 60
    np.testing.assert_allclose(e, start[:, 0] + np.cumsum(stored, axis=0), rtol=0, atol=ROUNDING)
    assert (e >= 0).all() and (e <= batteries.e_rated_mwh).all()
    assert (e.min(axis=0) == 0).any(), "the case must empty a battery"
    assert (np.abs(p) <= batteries.p_rated_mw + 1e-12).all()
    assert (np.abs(got.p_support_mw[..., 0]) <= batteries.band_mw + 1e-12).all()


def test_merit_order_by_hand() -> None:
    # deficit 1.2: battery 0.5, first bid 0.4, second bid 0.3 of 0.7
    got = balance(np.full(15, 1.2), start=[[10.0]], batteries=park([0.5], [20.0]), up=bids([0.4, 0.7]))
    np.testing.assert_allclose(got.p_support_mw[:, 0, 0], -0.5, rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_up_mw[0, :, 0], [0.4, 0.3], rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_residual_mw, 0, rtol=0, atol=1e-15)


def test_a_surplus_calls_downward_bids_only() -> None:
    got = balance(np.full(15, -0.6), up=bids([1.0]), down=bids([0.4, 1.0]))
    assert not got.p_up_mw.any()
    np.testing.assert_allclose(got.p_down_mw[0, :, 0], [0.4, 0.2], rtol=0, atol=1e-15)


def test_ramp_by_hand() -> None:
    # 0.1 MW per minute against a deficit of 0.45 MW: 0.1, 0.2, 0.3, 0.4, 0.45, 0.45, ...
    # then the deficit ends and the bid falls by 0.1 per minute, which a downward bid takes up
    deviation = np.r_[np.full(15, 0.45), np.zeros(15)]
    got = balance(deviation, up=bids([1.0], [0.1]), down=bids([1.0]))
    np.testing.assert_allclose(got.p_up_mw[:6, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.45, 0.45], rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_residual_mw[:6, 0], [0.35, 0.25, 0.15, 0.05, 0, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_up_mw[15:21, 0, 0], [0.35, 0.25, 0.15, 0.05, 0, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_down_mw[15:, 0, 0], got.p_up_mw[15:, 0, 0], rtol=0, atol=1e-15)


def test_a_battery_that_cannot_follow_makes_a_deviation() -> None:
    # empty battery, scheduled to discharge 1 MW: the missing megawatt is bought
    got = balance(np.zeros(15), schedule=[[-1.0]], start=[[0.0]], batteries=park([1.0], [2.0]), up=bids([5.0]))
    np.testing.assert_allclose(got.p_deviation_mw, 1.0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(got.p_up_mw, 1.0, rtol=0, atol=1e-15)
    assert not got.e_battery_mwh.any()


def test_batteries_share_by_room() -> None:
    # rooms 0.5 and 1.5 MW, need 1 MW: a quarter and three quarters
    got = balance(np.full(15, 1.0), start=[[5.0], [5.0]], batteries=park([0.5, 1.5], [10.0, 10.0]))
    np.testing.assert_allclose(got.p_support_mw[0, :, 0], [-0.25, -0.75], rtol=0, atol=1e-15)


def test_coarser_output_holds_the_means() -> None:
    deviation, schedule, start, batteries, up, down = random_case(17, lanes=2)
    fine = balance(deviation, schedule, start, batteries, up, down)
    coarse = balance(deviation, schedule, start, batteries, up, down, steps=StepArrays(1 / 60, 15, 15))
    mean = fine.p_up_mw.reshape(96, 15, 3, 2).mean(axis=1)
    np.testing.assert_allclose(coarse.p_up_mw, mean, rtol=0, atol=1e-12)
    assert np.array_equal(coarse.e_battery_mwh, fine.e_battery_mwh[14::15])


def charge(schedule, sessions, *, rated=1.0, steps=MINUTES):
    """One car; sessions are (begin, departure, energy, due) in steps and MWh."""
    schedule = np.asarray(schedule, dtype=float)[:, None]
    begin, departure, e_mwh, due = (np.array([[s[i]] for s in sessions], dtype=float) for i in range(4))
    n_steps = len(schedule) * steps.n
    p_step, p_mean = np.zeros((n_steps, 1)), np.zeros((n_steps // steps.n_mean, 1, 1))
    rest = np.full((len(sessions), 1), np.nan)
    arrays = SessionArrays(np.array([0, len(sessions)]), begin, departure, e_mwh, due)
    charge_cars(schedule, np.array([rated]), arrays, steps, p_step, p_mean, rest)
    assert np.array_equal(p_step[:, 0], p_mean[:, 0, 0])
    return p_step[:, 0], rest[:, 0]


def test_a_car_follows_its_schedule() -> None:
    power, rest = charge([0, 0.4, 0.8, 0], [(15, 45, 0.3, 0.3)])
    np.testing.assert_allclose(power, np.repeat([0, 0.4, 0.8, 0], 15), rtol=0, atol=1e-12)
    assert abs(rest[0]) < 1e-12


def test_an_unannounced_car_spreads_its_energy() -> None:
    # 0.25 MWh in half an hour without schedule: 0.5 MW all the time
    power, rest = charge([0, 0, 0, 0], [(15, 45, 0.25, 0.25)])
    np.testing.assert_allclose(power, np.repeat([0, 0.5, 0.5, 0], 15), rtol=0, atol=1e-12)
    assert abs(rest[0]) < 1e-12


def test_an_early_car_waits_for_its_schedule() -> None:
    power, _ = charge([0, 0, 0, 1], [(0, 60, 0.25, 0.25)])
    np.testing.assert_allclose(power, np.repeat([0, 0, 0, 1], 15), rtol=0, atol=1e-12)


def test_an_early_departure_forces_full_power() -> None:
    # planned for the last quarter hour, but the car leaves before: 0.5 MWh in the last half hour at 1 MW
    power, rest = charge([0, 0, 0, 2.0], [(0, 45, 0.5, 0.5)], rated=1.0)
    assert abs(rest[0]) < 1e-12
    assert abs(power.sum() / 60 - 0.5) < 1e-12
    assert power.max() <= 1.0 and not power[45:].any()


def test_a_full_session_charges_at_the_latest_start() -> None:
    # all the energy that fits: full power from the first minute, whatever the schedule
    power, rest = charge([0, 0, 0, 0], [(10, 40, 0.5, 0.5)])
    np.testing.assert_allclose(power[10:40], 1.0, rtol=0, atol=1e-12)
    assert abs(rest[0]) < 1e-12


def test_what_does_not_fit_is_left() -> None:
    _, rest = charge([1, 1, 1, 1], [(0, 30, 0.8, 0.8)])
    assert abs(rest[0] - 0.3) < 1e-12


def test_a_car_never_takes_more_than_it_needs() -> None:
    power, rest = charge([1, 1, 1, 1], [(0, 60, 0.4, 0.4)])
    assert rest[0] == 0
    np.testing.assert_allclose(power.sum() / 60, 0.4, rtol=0, atol=1e-12)


def test_part_of_a_step_counts_by_its_share() -> None:
    # plugged in from 0.5 to 1.5 steps of a quarter hour
    power, rest = charge([1, 1], [(0.5, 1.5, 0.25, 0.25)], steps=StepArrays(0.25, 1, 1))
    np.testing.assert_allclose(power, [0.5, 0.5], rtol=0, atol=1e-12)
    assert abs(rest[0]) < 1e-12


def test_a_session_beyond_the_end_owes_only_its_due() -> None:
    # half of the session lies on the axis, half of the energy is due there, none is scheduled
    power, rest = charge([0, 0], [(0, 60, 0.4, 0.2)])
    np.testing.assert_allclose(power, 0.4, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rest, 0.2, rtol=0, atol=1e-12)


def test_two_sessions_of_a_car_follow_each_other() -> None:
    power, rest = charge([0.6, 0, 0, 0.6], [(0, 20, 0.15, 0.15), (40, 60, 0.15, 0.15)])
    np.testing.assert_allclose(power, np.repeat([0.6, 0, 0, 0.6], 15), rtol=0, atol=1e-12)
    np.testing.assert_allclose(rest, 0, atol=1e-12)


def shift(asked, moved, *, rated=1.0, keep=0.999, gain=0.1, guard=2.0, lanes=1):
    asked = np.repeat(np.asarray(asked, dtype=float)[:, None, None], lanes, axis=2)
    moved = np.asarray(moved, dtype=float)[:, None]
    n_steps = len(asked) * 15
    p_step, p_mean, kelvin = np.zeros((n_steps, lanes)), np.zeros((n_steps, 1, lanes)), np.zeros((n_steps, 1, lanes))
    pumps = HeatPumpArrays(np.array([rated]), np.array([keep]), np.array([gain]), guard)
    shift_heat_pumps(asked, moved, np.zeros((1, lanes)), pumps, MINUTES, p_step, p_mean, kelvin)
    assert np.array_equal(p_step, p_mean[:, 0])
    return p_step[:, 0], kelvin[:, 0, 0]


def test_a_heat_pump_is_shifted_within_its_rating() -> None:
    power, _ = shift([0.5, 0.5, 0.5], [0.2, -0.9, 0.9], gain=1e-6)
    np.testing.assert_allclose(power, np.repeat([0.7, 0.0, 1.0], 15), rtol=0, atol=1e-12)


def test_no_shift_leaves_the_thermostat_alone() -> None:
    power, kelvin = shift([0.3, 0.1], [0, 0])
    assert np.array_equal(power, np.repeat([0.3, 0.1], 15)) and not kelvin.any()


def test_the_room_follows_one_resistance_and_one_capacity() -> None:
    power, kelvin = shift([0.5, 0.5], [0.2, -0.1])
    slow, state = [], 0.0
    for extra in power - 0.5:
        state = 0.999 * state + 0.1 * extra
        slow.append(state)
    np.testing.assert_allclose(kelvin, slow, rtol=0, atol=1e-12)


def test_the_guard_holds_the_room() -> None:
    # +0.5 MW brings 0.05 K a minute; the guard of 0.3 K is reached after six minutes,
    # then only the loss of 0.1 % a minute is replaced: 0.3 * 0.001 / 0.1 = 0.003 MW
    power, kelvin = shift([0.5, 0.5], [0.5, 0.5], guard=0.3)
    assert kelvin.max() <= 0.3 + 1e-12
    np.testing.assert_allclose(power[10:], 0.503, rtol=0, atol=1e-9)


def test_devices_are_lane_independent() -> None:
    rng = np.random.default_rng(5)
    asked, moved = rng.uniform(0, 1, (8, 2, 9)), rng.normal(0, 0.3, (8, 2))
    pumps = HeatPumpArrays(np.array([1.0, 0.6]), np.array([0.999, 0.99]), np.array([0.1, 0.02]), 0.5)

    def run(values):
        lanes = values.shape[2]
        out = np.zeros((120, lanes)), np.zeros((120, 2, lanes)), np.zeros((120, 2, lanes))
        shift_heat_pumps(values, moved, np.zeros(values.shape[1:]), pumps, MINUTES, *out)
        return out

    together, alone = run(asked), run(np.ascontiguousarray(asked[:, :, 4:5]))
    for many, one in zip(together, alone, strict=True):
        assert np.array_equal(many[..., 4:5], one)
