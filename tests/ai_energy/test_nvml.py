"""Boards whose true energy is known: counters, power, blind sensors, conflicts, driver reloads."""

from __future__ import annotations

import secrets

import numpy as np
import pytest

from gridtwin.ai_energy.counters import Unavailable
from gridtwin.ai_energy.nvml import BoardMeter, PowerSensor, find_boards, power_sensor
from tests.ai_energy.fake_nvml import FakeBoard, FakeNvml


def square(low: float, high: float, hertz: float, phase: float = 0.0):
    """A square wave, high in the first half of each period."""
    return lambda seconds: high if (seconds * hertz + phase) % 1.0 < 0.5 else low


def meter_of(library: FakeNvml) -> BoardMeter:
    boards = find_boards(library)
    assert not isinstance(boards, Unavailable), boards
    return BoardMeter(library, boards[0])


def measure(board: FakeBoard, *, until: float = 10.0, step: float = 0.5) -> BoardMeter:
    library = FakeNvml([board])
    meter = meter_of(library)
    for i in range(round(until / step) + 1):
        library.seconds = i * step
        meter.advance(seconds=library.seconds)
    return meter


@pytest.mark.parametrize(
    ("name", "architecture", "sensor"),
    [
        ("NVIDIA A100-SXM4-80GB", 7, PowerSensor(0.0, 0.25)),  # GA100: not averaged, looks 25 of 100 ms
        ("NVIDIA A30", 7, PowerSensor(0.0, 0.25)),
        ("NVIDIA RTX A3000 Laptop GPU", 7, PowerSensor(1.0, 1.0)),  # GA104
        ("NVIDIA GeForce RTX 3090", 7, PowerSensor(1.0, 1.0)),  # GA102
        ("NVIDIA H100 80GB HBM3", 9, PowerSensor(1.0, 0.25)),
        ("Tesla V100-SXM2-16GB", 5, PowerSensor(0.0, 1.0)),
        ("a board of tomorrow", None, PowerSensor(0.0, 0.25)),  # unknown: the worst case
    ],
)
def test_sensors_by_chip(name: str, architecture: int | None, sensor: PowerSensor) -> None:
    assert power_sensor(name, architecture) == sensor


def test_the_counter_comes_first() -> None:
    board = FakeBoard(square(60, 300, 10))
    meter = measure(board)
    energy = meter.energy()
    # 180 W for 10 s; the counter tells whole millijoules
    assert energy.p50 == pytest.approx(1800.0, abs=0.01) == meter.joules
    assert (energy.kind, energy.method_class, energy.boundary) == ("measured", "device_counter", "device")
    assert not meter.findings


def test_power_means_are_moved_back() -> None:
    # a ramp from 100 W to 300 W in 10 s: 2,000 J; unshifted means of 1 s lag by half a second
    board = FakeBoard(lambda seconds: 100 + 20 * max(seconds, 0.0), has_counter=False)
    energy = measure(board, step=1.0).energy()
    # beyond the last window half a second of ramp is unknown, 5 W of it on average
    assert energy.p50 == pytest.approx(2000.0, abs=5.0)
    assert energy.method_class == "power_samples" and energy.measured_share == 1.0
    assert energy.p2_5 < 2000 < energy.p97_5


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_a_blind_sensor_on_a_square_wave_is_far_off_and_says_so(phase: float) -> None:
    # 10 Hz against 25 of 100 ms: the sensor always sees the same quarter of the wave; truth 180 W for 10 s
    board = FakeBoard(square(60, 300, 10, phase), name="NVIDIA A100-SXM4-40GB", architecture=7, averaging=0.0,
                      seen=0.25, has_counter=False)  # fmt: skip
    energy = measure(board).energy()
    assert energy.p50 in (pytest.approx(600.0), pytest.approx(3000.0)), "naive, off by 67 %"
    assert energy.p2_5 <= 1800.0 <= energy.p97_5
    assert "25% of the time" in energy.method and energy.measured_share == pytest.approx(0.25)


def test_a_blind_sensor_holds_the_truth_of_any_wave() -> None:
    seed = secrets.randbits(32)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        low, high = sorted(rng.uniform(20, 400, 2))
        wave = square(low, high, float(rng.uniform(1, 40)), float(rng.uniform()))
        board = FakeBoard(wave, name="NVIDIA A100", architecture=7, averaging=0.0, seen=0.25, has_counter=False)
        energy = measure(board, until=5.0).energy()
        assert energy.p2_5 <= board.joules(5.0) <= energy.p97_5, f"seed {seed}"


def test_counter_and_power_that_contradict_are_both_told() -> None:
    # as in ml-energy/zeus#181: 187 J by the counter, 327 J by its power, 5 s idle
    board = FakeBoard(lambda _: 65.4, counter_factor=187 / 327)
    meter = measure(board, until=5.0, step=0.1)
    energy = meter.energy()
    assert energy.p50 == pytest.approx(187.0, abs=0.01)
    assert energy.p2_5 < 187 < 327 < energy.p97_5
    assert len(meter.findings) == 1 and "187 J and 327 J" in str(meter.findings[0])
    assert "327 J" in energy.method


def test_a_driver_that_is_loaded_anew_is_a_break_and_power_stands_in() -> None:
    library = FakeNvml([FakeBoard(lambda _: 200.0)])
    meter = meter_of(library)
    for i in range(11):
        if i == 5:
            library.boards[0].lost_j = 2100.0  # the counter falls
        library.seconds = float(i)
        meter.advance(seconds=float(i))
    energy = meter.energy()
    assert energy.p50 == pytest.approx(2000.0, abs=0.01)
    assert meter.counted == pytest.approx(1800.0, abs=0.01) and meter.broken == [(4.0, 5.0)]
    assert "did not hold" in str(meter.findings[0])


def test_a_counter_that_jumps_is_not_believed() -> None:
    library = FakeNvml([FakeBoard(lambda _: 200.0)])
    meter = meter_of(library)
    meter.advance(seconds=0.0)
    library.seconds, library.boards[0].offset_j = 1.0, 9e6
    meter.advance(seconds=1.0)
    assert meter.counted == 0 and meter.energy().p50 == pytest.approx(200.0)


def test_what_is_not_supported_is_unavailable_or_missing_and_never_zero() -> None:
    silent = FakeNvml([FakeBoard(lambda _: 50.0, has_counter=False, has_power=False)])
    answer = find_boards(silent)
    assert isinstance(answer, Unavailable) and "no energy and no power" in answer.reason
    assert isinstance(find_boards(FakeNvml([])), Unavailable)
    assert find_boards(Unavailable("none")) == Unavailable("none")
    library = FakeNvml([FakeBoard(lambda _: 50.0)])
    assert isinstance(find_boards(library, [3]), Unavailable)
    meter = meter_of(library)
    meter.advance(seconds=0.0)
    assert meter.energy().is_missing, "one reading is no energy"
    library.boards[0].has_counter = library.boards[0].has_power = False
    lost = meter_of(FakeNvml([FakeBoard(lambda _: 50.0, has_power=False)]))
    lost.library.boards[0].has_counter = False
    lost.advance(seconds=0.0)
    lost.advance(seconds=1.0)
    assert lost.energy().is_missing and "neither energy nor power" in lost.energy().method


def test_no_limit_and_no_architecture_is_the_worst_case() -> None:
    board = FakeBoard(lambda _: 100.0, architecture=None, limit_mw=None, has_counter=False)
    energy = measure(board).energy()
    # three quarters of 10 s at 1500 W
    assert energy.p97_5 > 0.75 * 15_000
