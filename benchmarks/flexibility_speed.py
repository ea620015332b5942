"""Flexibility optimisation: what it costs to build, to solve and to solve again, with HiGHS beside it.

Run it as `python -m benchmarks.flexibility_speed [--only build|pyomo|rolling|starts|large]`; it updates the part in
`benchmarks/results/flexibility_speed.json`. One instance of `flexibility_instance.py` per row; both sides of a row have
the same objective.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pyomo.environ as pyo

from benchmarks.flexibility_instance import STEPS, build_problem, repeat_days
from benchmarks.peers.direct_matrix import write_directly
from gridtwin.optimize import rolling
from gridtwin.optimize.expand import expand_to_pyomo
from gridtwin.optimize.interior_point import solve_interior_point
from gridtwin.optimize.linear_program import assemble
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.rolling import RollingPlanner, RollingSettings
from gridtwin.optimize.solve import PersistentSolver, pass_program
from gridtwin.optimize.window import coarsening_blocks

RESULTS = Path(__file__).parent / "results" / "flexibility_speed.json"
ROUNDS = 7
ROLLING_PLANS = 48


def main() -> None:
    """Measure the parts asked for and keep the others."""
    parts: dict[str, Callable[[], Any]] = {
        "build": measure_build, "pyomo": measure_pyomo, "rolling": measure_rolling, "starts": measure_starts,
        "large": measure_large,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=parts, nargs="*", default=list(parts))
    chosen = parser.parse_args().only
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept["about"] = {
        "python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine(),
        "highs": highspy.Highs().version(), "threads": 1,
    }  # fmt: skip
    for name in chosen:
        kept[name] = parts[name]()
        print(name, json.dumps(kept[name], indent=2))
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def new_highs() -> highspy.Highs:
    """Quiet HiGHS on one thread."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    return highs


def seconds_of(action: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of one call. [s]"""
    begin = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - begin


def build_directly(problem: FlexibilityProblem, highs: highspy.Highs) -> None:
    """From devices to a model inside HiGHS, by hand."""
    pass_program(highs, write_directly(problem))


def build_ours(problem: FlexibilityProblem, highs: highspy.Highs) -> None:
    """From devices to a model inside HiGHS, by templates."""
    program, _ = assemble(build_flexibility_program(problem).blocks)
    pass_program(highs, program)


def measure_build() -> list[dict[str, Any]]:
    """From devices to a model inside HiGHS: templates against a matrix written by hand, in turn."""
    rows = []
    for devices, tight in ((100, 0), (100, 5), (1000, 0), (1000, 5)):
        problem = build_problem(devices, tight=tight)
        build_ours(problem, new_highs())
        sides = (build_directly, build_ours)
        pairs = [[seconds_of(side, problem, new_highs()) for side in sides] for _ in range(ROUNDS)]
        by_hand, templates = (statistics.median(part) for part in zip(*pairs, strict=True))
        rows.append(
            {
                "devices": devices, "network_rows": len(problem.rows), "direct_seconds": by_hand,
                "templates_seconds": templates, "ratio": statistics.median(b / a for a, b in pairs),
            }
        )  # fmt: skip
    return rows


def measure_pyomo() -> list[dict[str, Any]]:
    """Everything but the solver's own run, through Pyomo's interfaces and through templates."""
    rows = []
    for devices in (100, 1000):
        problem = build_problem(devices, tight=5)
        highs = new_highs()
        ours = statistics.median(seconds_of(build_ours, problem, new_highs()) for _ in range(ROUNDS))
        build_ours(problem, highs)
        run = seconds_of(highs.run)
        begin = time.perf_counter()
        model = expand_to_pyomo(problem)
        written = time.perf_counter() - begin
        solver = pyo.SolverFactory("appsi_highs")
        solver.options["threads"] = 1
        whole = seconds_of(solver.solve, model)
        rows.append(
            {
                "devices": devices, "highs_run_seconds": run, "templates_seconds": ours, "pyomo_model_seconds": written,
                "appsi_highs_seconds": whole, "appsi_without_run_seconds": written + whole - run,
                "ratio": (written + whole - run) / ours, "objective_pyomo": pyo.value(model.cost),
                "objective": highs.getInfo().objective_function_value,
            }
        )  # fmt: skip
    return rows


def measure_rolling() -> list[dict[str, Any]]:
    """Plans of a moving window of a day, every quarter of an hour: building, solving and reading."""
    rows = []
    blocks = {
        "96 quarter hours": np.ones(STEPS, dtype=int),
        "6 h in quarters, 18 h in hours": coarsening_blocks(24, (18, 4)),
    }
    for tight in (0, 3):
        span, limits = repeat_days(build_problem(100, tight=tight), 3)
        for name, steps in blocks.items():
            planner = RollingPlanner(span, RollingSettings(steps), limits)
            plans = []
            for now in range(ROLLING_PLANS):
                plans.append(planner.plan(now))
                planner.carry_out(plans[-1])
            seconds = [plan.seconds for plan in plans[1:]]
            rows.append(
                {
                    "devices": 100, "window": name, "tight_branches": tight,
                    "median_seconds": statistics.median(seconds), "largest_seconds": max(seconds),
                    "first_seconds": plans[0].seconds, "network_rows": len(plans[-1].program.problem.rows),
                }
            )  # fmt: skip
    return rows


def measure_starts() -> list[dict[str, Any]]:
    """The same windows with the basis of the plan before and from nothing, by size."""
    rows = []
    for devices in (100, 300, 1000):
        span, limits = repeat_days(build_problem(devices, tight=1), 2)
        medians = {}
        for name, largest in (("warm", 10**9), ("cold", 0)):
            rolling.WARM_COLUMNS = largest
            planner = RollingPlanner(span, RollingSettings(np.ones(STEPS, dtype=int)), limits)
            seconds = []
            for now in range(6):
                plan = planner.plan(now)
                planner.carry_out(plan)
                seconds.append(plan.seconds)
            medians[f"{name}_seconds"] = statistics.median(seconds[1:])
        columns = sum(family.cost.size for family in plan.program.blocks.families)
        rows.append({"devices": devices, "columns": columns, **medians})
    return rows


def measure_large() -> list[dict[str, Any]]:
    """A whole solve, devices to schedule: HiGHS on the whole matrix, and the block method."""
    rows = []
    for devices, tight in ((1000, 0), (1000, 5), (10_000, 5)):
        problem = build_problem(devices, tight=tight)
        begin = time.perf_counter()
        blocks = build_flexibility_program(problem).blocks
        built = time.perf_counter()
        found = solve_interior_point(blocks)
        row = {
            "devices": devices, "network_rows": len(problem.rows), "build_seconds": built - begin,
            "block_seconds": time.perf_counter() - built, "iterations": found.iterations, "status": found.status,
            "objective": found.objective, "gap": (found.objective - found.lower_bound) / abs(found.objective),
            "largest_violation_kw": found.largest_violation,
        }  # fmt: skip
        if devices <= 1000:
            program, _ = assemble(blocks)
            solver = PersistentSolver(replace(program), time_limit_seconds=600)
            begin = time.perf_counter()
            row |= {"highs_objective": solver.solve().objective_eur, "highs_seconds": time.perf_counter() - begin}
            row["ratio"] = row["highs_seconds"] / row["block_seconds"]
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
