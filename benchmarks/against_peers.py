"""gridtwin beside its peers, same outputs in one run; writes `benchmarks/results/*.json`.

Run it as `python -m benchmarks.against_peers`. The machine decides the milliseconds; ratios travel.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_power_flow import run_pandapower
from benchmarks.subjects import YEAR, Subject
from gridtwin.grid.simbench import read_simbench
from gridtwin.operate.power_flow import run_power_flow

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5
PEER_STEPS = 48
"""Steps that pandapower is given; its time per step does not depend on their number."""
CODES = ("1-LV-rural1--2-sw", "1-LV-semiurb4--2-sw", "1-LV-urban6--2-sw")


def main() -> None:
    """All comparisons, one file each."""
    write("power_flow", [compare_power_flow(code) for code in CODES])
    write("read_simbench", [compare_reading("1-LV-semiurb4--2-sw")])


def compare_power_flow(code: str) -> dict[str, Any]:
    """Voltages, angles, currents, loadings, losses of every step; pandapower warm-started, with its numba."""
    twin, year = Subject(code, code, YEAR).build()
    some = year.isel(time=slice(0, PEER_STEPS))
    run_power_flow(twin, some)
    theirs_vm = run_pandapower(twin, some.isel(time=slice(0, 2)))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: run_power_flow(twin, year)) / YEAR)
        theirs.append(seconds(lambda: run_pandapower(twin, some)) / PEER_STEPS)
    flow = run_power_flow(twin, some.isel(time=slice(0, 2)))
    difference = float(np.abs(flow["vm_pu"].to_numpy()[0] - theirs_vm).max())
    return {
        "network": code,
        "buses": len(twin.buses),
        "gridtwin_us_per_step_median": 1e6 * statistics.median(ours),
        "gridtwin_year_seconds_median": YEAR * statistics.median(ours),
        "pandapower_us_per_step_median": 1e6 * statistics.median(theirs),
        "ratio_median": statistics.median(theirs) / statistics.median(ours),
        "largest_voltage_difference_pu": difference,
        "rounds": ROUNDS,
    }


def compare_reading(code: str) -> dict[str, Any]:
    """Network and absolute values of a year, by us and by simbench."""
    import simbench

    def by_simbench() -> None:
        net = simbench.get_simbench_net(code)
        simbench.get_absolute_values(net, profiles_instead_of_study_cases=True)

    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: read_simbench(code)))
        theirs.append(seconds(by_simbench))
    return {
        "network": code,
        "gridtwin_seconds_median": statistics.median(ours),
        "simbench_seconds_median": statistics.median(theirs),
        "ratio_median": statistics.median(theirs) / statistics.median(ours),
        "rounds": ROUNDS,
    }


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call. [s]"""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """One result file with the versions and the machine behind it."""
    libraries = ("gridtwin", "pandapower", "simbench", "numba", "numpy")
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {library: version(library) for library in libraries},
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps({"about": about, "results": rows}, indent=2) + "\n", encoding="utf-8")
    print(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
