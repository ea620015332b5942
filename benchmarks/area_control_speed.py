"""Frequency and area control: the kernel beside the same model in numpy, by threads and by width of blocks.

Run it as `python -m benchmarks.area_control_speed [--only numpy|threads|width|day]`; it updates the part in
`benchmarks/results/area_control_speed.json`. The system: one area, 20 upward and 20 downward bids with ramps, five
batteries that offer both ways beside them, droop and a PI controller, noise; 1,000 scenarios, steps of 1 s. Both
sides of a row run in turn, have the same input and give the same tables; the numpy version is the reference of the
tests and covers a shorter time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gridtwin.kernels.lanes import LANES_4, LANES_8, LANES_16
from gridtwin.operate.area_control import (
    BalancingBid,
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    Disturbance,
    DroopReserve,
    EnergyStore,
    control_all_scenarios,
)
from gridtwin.operate.control_arrays import CompiledControl, compile_control
from tests.operate.area_control_reference import Reference, run_reference

RESULTS = Path(__file__).parent / "results" / "area_control_speed.json"
SCENARIOS, ROUNDS = 1000, 5
USUAL_NOISE_MW, LARGE_NOISE_MW = 60.0, 150.0
"""The kernel leaves bids alone that nobody needs; with large noise it needs most of them."""


def build_system(noise_mw: float) -> ControlSystem:
    """One area of 5 GW with 20 + 20 ramped bids and five batteries."""
    droop = DroopReserve(150, full_at_hz=0.2, dead_band_hz=0.01, full_activation_s=30)
    area = ControlArea(
        "area", 40_000, 60, droop=(droop,), bias_mw_per_hz=800, afrr_proportional=0.1, afrr_integral_s=240,
        noise_mw=noise_mw, noise_s=300,
    )  # fmt: skip
    bids = [
        BalancingBid(f"{side} {n}", "area", side, 10, 60 + 5 * n if side == "up" else 40 - 5 * n)
        for side in ("up", "down")
        for n in range(20)
    ]
    stores = tuple(EnergyStore(f"battery {n}", 5, efficiency=0.9) for n in range(5))
    for n, part in enumerate(stores):
        for side, price in (("up", 57 + n / 2), ("down", 43 - n / 2)):
            bids.append(
                BalancingBid(f"{part.name} {side}", "area", side, 5, price, full_activation_s=4, store=part.name)
            )
    return ControlSystem((area,), bids=tuple(bids), stores=stores)


def compile_case(
    duration_s: float, cycle_s: float, scenarios: int = SCENARIOS, noise_mw: float = USUAL_NOISE_MW
) -> CompiledControl:
    """Arrays of the case."""
    times = ControlTimes(duration_s, cycle_s=cycle_s)
    return compile_control(
        build_system(noise_mw), times, ControlInputs((Disturbance("area", 60, 80),), scenarios=scenarios)
    )


def seconds_of(action: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    """Wall time of one call. [s]"""
    begin = time.perf_counter()
    action(*arguments, **options)
    return time.perf_counter() - begin


def largest_difference(compiled: CompiledControl) -> float:
    """Of all tables, relative to the largest value of each."""
    ours, theirs = control_all_scenarios(compiled, threads=1), run_reference(compiled)
    scenarios, worst = compiled.load_mw.shape[2], 0.0
    pairs = ((ours.area, theirs.area_out), (ours.bid_mw, theirs.bid_out), (ours.store_mwh, theirs.store_out))
    for table, reference in pairs:
        mine = table.transpose(1, 2, 0, 3).reshape(table.shape[1], table.shape[2], -1)[..., :scenarios]
        reference = reference.reshape(mine.shape)
        worst = max(worst, float(np.abs(mine - reference).max() / np.abs(reference).max()))
    return worst


def growth_of_rounding(compiled: CompiledControl) -> float:
    """How far the numpy version leaves itself when it starts 1e-14 Hz off, relative to the largest value."""
    straight, moved = Reference(compiled), Reference(compiled)
    moved.x = moved.x + 1e-14
    pairs = [(r.area_out, r.bid_out, r.store_out) for r in (straight.run(), moved.run())]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(*pairs, strict=True))


def measure_numpy() -> list[dict[str, Any]]:
    """One thread against numpy, in turn; the rate of the kernel comes from the same steps."""
    rows = []
    for cycle_s, noise_mw in itertools.product((1.0, 4.0), (USUAL_NOISE_MW, LARGE_NOISE_MW)):
        compiled = compile_case(900, cycle_s, noise_mw=noise_mw)
        control_all_scenarios(compiled, threads=1)
        pairs = [
            (seconds_of(run_reference, compiled), seconds_of(control_all_scenarios, compiled, threads=1))
            for _ in range(ROUNDS)
        ]
        work = 900 * SCENARIOS / 1e6
        slow, fast = (statistics.median(part) for part in zip(*pairs, strict=True))
        rows.append(
            {
                "cycle_s": cycle_s, "noise_mw": noise_mw, "steps": 900, "scenarios": SCENARIOS, "numpy_seconds": slow,
                "kernel_seconds": fast, "numpy_million_steps_per_s": work / slow,
                "kernel_million_steps_per_s": work / fast, "ratio": statistics.median(a / b for a, b in pairs),
                "largest_relative_difference": largest_difference(compiled),
                "numpy_from_itself_after_1e-14_hz": growth_of_rounding(compiled),
            }
        )  # fmt: skip
    return rows


def measure_threads() -> list[dict[str, Any]]:
    """Two threads against one, in turn."""
    rows = []
    for cycle_s in (1.0, 4.0):
        compiled = compile_case(6 * 3600, cycle_s)
        one, two = (control_all_scenarios(compiled, threads=threads) for threads in (1, 2))
        same = all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        pairs = [[seconds_of(control_all_scenarios, compiled, threads=threads) for threads in (1, 2)] for _ in range(7)]
        first, second = (statistics.median(part) for part in zip(*pairs, strict=True))
        rows.append(
            {
                "cycle_s": cycle_s, "hours": 6, "one_thread_seconds": first, "two_threads_seconds": second,
                "ratio": statistics.median(a / b for a, b in pairs), "best_ratio": max(a / b for a, b in pairs),
                "equal_to_the_bit": same,
            }
        )  # fmt: skip
    return rows


def measure_width() -> list[dict[str, Any]]:
    """Scenarios per block, in turn, one thread."""
    compiled = compile_case(3600, 1.0, 960)
    widths = {4: LANES_4, 8: LANES_8, 16: LANES_16, 32: (None,) * 32}
    for width in widths.values():
        control_all_scenarios(compiled, threads=1, width=width)
    rounds = [
        [seconds_of(control_all_scenarios, compiled, threads=1, width=width) for width in widths.values()]
        for _ in range(ROUNDS)
    ]
    medians = [statistics.median(part) for part in zip(*rounds, strict=True)]
    return [
        {"width": width, "seconds": seconds, "million_steps_per_s": 3600 * 960 / seconds / 1e6}
        for width, seconds in zip(widths, medians, strict=True)
    ]


def measure_day() -> list[dict[str, Any]]:
    """A day of 1,000 scenarios, two threads, tables included."""
    rows = []
    for cycle_s in (1.0, 4.0):
        compiled = compile_case(86400, cycle_s)
        control_all_scenarios(compiled, threads=2)
        seconds = [seconds_of(control_all_scenarios, compiled, threads=2) for _ in range(3)]
        rows.append({"cycle_s": cycle_s, "median_seconds": statistics.median(seconds), "best_seconds": min(seconds)})
    return rows


def main() -> None:
    """Measure the parts asked for and keep the others."""
    parts: dict[str, Callable[[], Any]] = {
        "numpy": measure_numpy, "threads": measure_threads, "width": measure_width, "day": measure_day,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=parts, nargs="*", default=list(parts))
    chosen = parser.parse_args().only
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept["about"] = {
        "python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count(),
        "machine": platform.machine(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    for name in chosen:
        kept[name] = parts[name]()
        print(name, json.dumps(kept[name], indent=2))
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
