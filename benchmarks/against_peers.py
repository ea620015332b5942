"""gridtwin beside its peers, same outputs in one run; writes `benchmarks/results/*.json`.

Run it as `python -m benchmarks.against_peers`, or with `--only radial` and the like for a
part. The machine decides the milliseconds; ratios travel.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pandapower.powerflow import LoadflowNotConverged
from threadpoolctl import threadpool_limits

from benchmarks.bench_power_flow import run_pandapower
from benchmarks.peers import gridtwin_side, ls2g, pgm, tpf
from benchmarks.peers.case import (
    AREA,
    MESHED,
    RADIAL,
    Engine,
    PeerCase,
    Solution,
    differences,
    read_case,
    run_pandapower_step,
)
from benchmarks.peers.timing import interleaved
from benchmarks.subjects import YEAR, Subject
from gridtwin.grid.simbench import read_simbench
from gridtwin.kernels.results import Outputs
from gridtwin.operate.power_flow import run_power_flow

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5
PEER_STEPS = 48
"""Steps that pandapower is given; its time per step does not depend on their number."""
CODES = ("1-LV-rural1--2-sw", "1-LV-semiurb4--2-sw", "1-LV-urban6--2-sw")
PARTS = ("radial", "meshed", "tpf", "threads", "pandapower", "reading")
TPF_SUBJECTS = RADIAL[:3]
TPF_STEPS = 1000
THREAD_STEPS = {RADIAL[1]: 16_384, RADIAL[2]: 16_384, AREA: 4096, "case1354pegase": 4096}
"""Enough for several parts of each thread."""
VM_TOLERANCE_PU, LOADING_TOLERANCE_PERCENT = 1e-6, 0.01
"""Beyond these differences nothing is timed."""


def main() -> None:
    """All comparisons, or the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, help="steps of every subject instead of its own number")
    asked = parser.parse_args()
    parts = [asked.only] if asked.only else PARTS
    compare_with_peers(parts, asked.rounds, asked.steps)
    if "pandapower" in parts:
        write("power_flow", [compare_power_flow(code) for code in CODES])
    if "reading" in parts:
        write("read_simbench", [compare_reading("1-LV-semiurb4--2-sw")])


# Power flow beside the fastest engines ------------------------------------------------------------


def compare_with_peers(parts: Sequence[str] = PARTS, rounds: int = ROUNDS, steps: int | None = None) -> None:
    """Voltages, angles and loadings by every engine on one thread; one file, one table."""
    wanted = [(part, name) for part, names in _subjects().items() if part in parts for name in names]
    compare = {
        "radial": compare_engines,
        "meshed": compare_engines,
        "tpf": compare_voltages,
        "threads": compare_threads,
    }
    for part, name in wanted:
        with threadpool_limits(1):  # numpy's matrix products, with which TensorPowerFlow works
            row = {"part": part, **compare[part](name, rounds, steps)}
        _keep(row)
        print(_table_of(row), flush=True)


def _subjects() -> dict[str, Sequence[str]]:
    return {"radial": RADIAL, "meshed": MESHED, "tpf": TPF_SUBJECTS, "threads": tuple(THREAD_STEPS)}


def compare_engines(name: str, rounds: int, steps: int | None) -> dict[str, Any]:
    """One subject by all engines that can model it, verified first."""
    case, left_out = _only_solvable(read_case(name, steps))
    ours = gridtwin_side.solve(case)
    judge = {"gridtwin": _verify(case, ours, None)}
    engines: dict[str, Engine] = {"gridtwin": lambda: gridtwin_side.solve(case)}
    reasons, iterations = {}, {"gridtwin": float(ours.iterations.mean() + ours.newton_iterations.mean())}
    if reason := pgm.why_not(case):
        reasons["power-grid-model"] = reason
    else:
        side = pgm.PgmSide(case)
        engines |= {f"power-grid-model {m}": lambda m=m: side.solve(m) for m in pgm.METHODS}  # type: ignore[misc]
    if reason := ls2g.why_not(case):
        reasons["lightsim2grid"] = reason
    else:
        grid = ls2g.build(case)
        engines |= {"lightsim2grid": grid.solve, "lightsim2grid, voltages alone": grid.solve_voltages}
    for engine in engines:
        if engine != "gridtwin" and "alone" not in engine:
            judge[engine] = _verify(case, ours, engines[engine]())
    if "lightsim2grid" in judge:
        iterations["lightsim2grid"] = grid.iterations()
    rescued = float((ours.newton_iterations > 0).mean())
    row = _row_of(case, interleaved(rounds, engines), judge, iterations, reasons)
    return {**row, "unsolvable_draws_left_out": left_out, "gridtwin_share_of_steps_by_newton": rescued}


def compare_voltages(name: str, rounds: int, steps: int | None) -> dict[str, Any]:
    """Magnitudes and angles alone, beside TensorPowerFlow."""
    case = read_case(name, steps or TPF_STEPS)
    ours = gridtwin_side.solve(case)
    judge = {"gridtwin": _verify(case, ours, None)}
    engines: dict[str, Engine] = {"gridtwin": lambda: gridtwin_side.solve_voltages(case)}
    reasons, iterations = {}, {"gridtwin": float(ours.iterations.mean())}
    if reason := tpf.why_not(case):
        reasons["TensorPowerFlow"] = reason
    else:
        side = tpf.TpfSide(case)
        engines |= {"TensorPowerFlow": side.solve, "TensorPowerFlow, its own output": side.solve_relative}
        judge["TensorPowerFlow"] = _verify(case, ours, Solution(*side.solve(), ours.loading_percent))
        iterations["TensorPowerFlow"] = float(side.solve_relative()["iterations"])
    return _row_of(case, interleaved(rounds, engines), judge, iterations, reasons)


def compare_threads(name: str, rounds: int, steps: int | None) -> dict[str, Any]:
    """gridtwin on two threads beside one; the results are equal to the bit."""
    case, _ = _only_solvable(read_case(name, steps or THREAD_STEPS[name]))
    one, two = (gridtwin_side.solve(case, threads) for threads in (1, 2))
    for field in (*gridtwin_side.OUTPUTS, "iterations"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    engines = {
        "gridtwin": lambda: gridtwin_side.solve(case),
        "gridtwin, two threads": lambda: gridtwin_side.solve(case, 2),
    }
    judge = {"gridtwin": _verify(case, one, None)}
    return _row_of(case, interleaved(rounds, engines), judge, {"gridtwin": float(one.iterations.mean())}, {})


def _only_solvable(case: PeerCase) -> tuple[PeerCase, int]:
    """The case without the draws that have no solution, of which pandapower confirms the first, and their number."""
    diverged = gridtwin_side.solve(case).status != 0
    if not diverged.any():
        return case, 0
    try:
        run_pandapower_step(case, int(np.argmax(diverged)))
    except LoadflowNotConverged:
        return replace(case, p_mw=case.p_mw[~diverged], q_mvar=case.q_mvar[~diverged]), int(diverged.sum())
    raise RuntimeError(f"{case.name}: pandapower solves a step that gridtwin does not")


def _verify(case: PeerCase, ours: Outputs, theirs: Solution | None) -> dict[str, float]:
    """Differences of all steps from gridtwin and of one from pandapower; too large ones end the comparison."""
    of_ours = gridtwin_side.solution_of(ours)
    checked = of_ours if theirs is None else theirs
    step = case.steps // 2
    one = Solution(*(values[step : step + 1] for values in checked))
    found = {"pandapower": differences(one, run_pandapower_step(case, step))}
    if theirs is not None:
        found["gridtwin"] = differences(of_ours, theirs)
    for judge, largest in found.items():
        if largest["vm_pu"] > VM_TOLERANCE_PU or largest["loading_percent"] > LOADING_TOLERANCE_PERCENT:
            raise RuntimeError(f"{case.name}: an engine differs from {judge} by {largest}")
    return {f"{name}_from_{judge}": value for judge, largest in found.items() for name, value in largest.items()}


def _row_of(
    case: PeerCase,
    times: dict[str, list[float]],
    judge: dict[str, dict[str, float]],
    iterations: dict[str, float],
    reasons: dict[str, str],
) -> dict[str, Any]:
    ours = times["gridtwin"]
    engines = {
        engine: {
            "us_per_step_median": 1e6 * statistics.median(values) / case.steps,
            "us_per_step_fastest": 1e6 * min(values) / case.steps,
            "ratio_of_medians": statistics.median(values) / statistics.median(ours),
            "ratio_of_fastest": min(values) / min(ours),
            "iterations_mean": iterations.get(engine),
            "largest_differences": judge.get(engine),
        }
        for engine, values in times.items()
    }
    about = {"subject": case.name, "buses": len(case.twin.buses), "steps": case.steps, "rounds": len(ours)}
    return {**about, "engines": engines, "not_modelled": reasons}


def _keep(row: dict[str, Any]) -> None:
    """Put the row into the file of results, in place of an older one of its part and subject."""
    file = RESULTS / "power_flow_peers.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["results"] if file.is_file() else []
    parts = {part: k for k, part in enumerate(PARTS)}
    rows = [old for old in rows if (old["part"], old["subject"]) != (row["part"], row["subject"])]
    row["load_of_the_machine"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    save("power_flow_peers", sorted([*rows, row], key=lambda old: (parts[old["part"]], old["buses"])))


def _table_of(row: dict[str, Any]) -> str:
    """One subject: engine, time, ratio, differences from gridtwin (of gridtwin: from pandapower), iterations."""
    lines = [f"\n{row['part']}: {row['subject']}, {row['buses']} buses, {row['steps']} steps, {row['rounds']} rounds"]
    lines.append(
        f"{'engine':36}{'us/step':>10}{'fastest':>10}{'ratio':>8}{'of best':>8}{'dvm pu':>10}{'dload %':>10}{'iter':>7}"
    )
    for engine, found in row["engines"].items():
        judge = "pandapower" if engine == "gridtwin" else "gridtwin"
        largest = found["largest_differences"] or {}
        columns = [f"{engine:36}{found['us_per_step_median']:10.2f}{found['us_per_step_fastest']:10.2f}"]
        columns.append(f"{found['ratio_of_medians']:8.2f}{found['ratio_of_fastest']:8.2f}")
        for name in ("vm_pu", "loading_percent"):
            value = largest.get(f"{name}_from_{judge}")
            columns.append(f"{'-' if value is None else format(value, '.1e'):>10}")
        steps = found["iterations_mean"]
        lines.append("".join(columns) + f"{'-' if steps is None else format(steps, '.2f'):>7}")
    lines += [f"{engine:36}  left out: {reason}" for engine, reason in row["not_modelled"].items()]
    return "\n".join(lines)


# pandapower and simbench --------------------------------------------------------------------------


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
    """One result file with the versions and the machine behind it, also printed."""
    print(save(name, rows).read_text(encoding="utf-8"))


def save(name: str, rows: list[dict[str, Any]]) -> Path:
    """One result file with the versions and the machine behind it."""
    libraries = ("gridtwin", "pandapower", "simbench", "numba", "numpy")
    peers = ("power-grid-model", "lightsim2grid", "TensorPowerFlow")
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": {library: _version_of(library) for library in (*libraries, *peers)},
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps({"about": about, "results": rows}, indent=2) + "\n", encoding="utf-8")
    return file


def _version_of(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
