"""A year of a whole distribution area: seconds, and the memory of the whole process; and how fast kernels start.

Run it as `python -m benchmarks.year_of_an_area`; it writes `benchmarks/results/year_of_an_area.json`. Every measurement
is a process of its own, since the memory of a process never shrinks and a kernel starts only once.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

AREA = "1-MVLV-rural-all-2-sw"
RESULTS = Path(__file__).parent / "results"
STARTS = 5


def main() -> None:
    """Measure in processes of their own, and write the file."""
    if sys.argv[1:]:
        print(json.dumps(measure_year(int(sys.argv[2])) if sys.argv[1] == "year" else measure_start()))
        return
    _run("start")  # compiles the kernels where the cache is empty
    starts = [_run("start") for _ in range(STARTS)]
    start = {name: statistics.median(run[name] for run in starts) for name in starts[0]}
    about = {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
    years = [_run("year", str(threads)) for threads in (1, 2)]
    text = json.dumps({"about": about, "start_from_cache": start, "years": years}, indent=2)
    (RESULTS / "year_of_an_area.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def _run(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", __spec__.name, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_year(threads: int) -> dict[str, Any]:
    """Statistics of 35,136 steps; kernels are loaded before."""
    from gridtwin.data.rules import read_rules
    from gridtwin.grid.simbench import read_simbench_shapes
    from gridtwin.grid.twin import build_twin
    from gridtwin.operate.statistics import run_power_flow_statistics

    start = time.perf_counter()
    net, profiles, _ = read_simbench_shapes(AREA)
    twin = build_twin(net, rules=read_rules("lv_planning"))
    read = time.perf_counter()
    run_power_flow_statistics(twin, profiles.isel(time=slice(0, 16)))
    begin = time.perf_counter()
    year = run_power_flow_statistics(twin, profiles, threads=threads)
    return {
        "network": AREA,
        "buses": len(twin.buses),
        "branches": len(twin.branches),
        "steps": year.attrs["steps"],
        "steps_unsolved": year.attrs["steps_unsolved"],
        "threads": threads,
        "read_seconds": read - start,
        "seconds": time.perf_counter() - begin,
        "peak_process_mib": _peak_mib(),
    }


def measure_start() -> dict[str, float]:
    """Seconds until the first step is solved, after the libraries are imported."""
    import pandapower.networks as pn

    from gridtwin.data.rules import read_rules
    from gridtwin.grid.compile import compile_network, compile_table_powers
    from gridtwin.grid.twin import build_twin
    from gridtwin.operate.power_flow import solve_all_steps

    twin = build_twin(pn.create_cigre_network_mv(), rules=read_rules("mv_planning"))
    start = time.perf_counter()
    network = compile_network(twin)
    compiled = time.perf_counter()
    solve_all_steps(network, compile_table_powers(twin))
    return {"network_seconds": compiled - start, "first_step_seconds": time.perf_counter() - compiled}


def _peak_mib() -> float:
    """Largest memory of this process; macOS counts bytes, Linux kibibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
