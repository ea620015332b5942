"""How often our stated intervals hold what a wall meter showed.

Run it as `GRIDTWIN_WALL_RUNS=<folder> python -m benchmarks.wall_meter`; it writes `results/wall_meter.json`.
The folder holds the tables of the 318 runs that github.com/raphischer/ai-energy-validation publishes (commit d71d339,
`results/*.csv`): CodeCarbon beside the display of an energy meter, one workstation, vision and language jobs. The
display shows whole watt-hours: 12 of them, the median of a run, are right to 4 % either way.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.ai_energy.node_model import default_node_step, leave_one_group_out
from gridtwin.ai_energy.quantity import exact

RESULTS = Path(__file__).parent / "results" / "wall_meter.json"
READINGS = "_image_analysis"


def main() -> None:
    """Compare and write the file."""
    folder = os.environ.get("GRIDTWIN_WALL_RUNS")
    if not folder:
        print("skipped: GRIDTWIN_WALL_RUNS names the folder of the runs")
        return
    runs = read_runs(Path(folder))
    runs["holds"] = [holds(run.tool_j, run.wall_j, run.seconds) for run in runs.itertuples()]
    runs["below"] = 1 - runs["tool_j"] / runs["wall_j"]
    left_out = leave_one_group_out(
        list(runs["tool_j"] / runs["seconds"]), list(runs["wall_j"] / runs["seconds"]), list(runs["model"])
    )
    results = {
        "runs": len(runs),
        "tool_below_wall": {name: summary(part["below"]) for name, part in runs.groupby("job")},
        "default_line_relative_rms": relative_rms(runs),
        "default_step_coverage": float(runs["holds"].mean()),
        "default_step_coverage_by_job": runs.groupby("job")["holds"].mean().to_dict(),
        "fitted_leave_one_model_out": {
            "models": len(left_out),
            "coverage": float(np.average(left_out["coverage"], weights=left_out["runs"])),
            "relative_rms_median": float(left_out["relative_rms"].median()),
        },
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


def read_runs(folder: Path) -> pd.DataFrame:
    """Runs with `tool_j`, `wall_j`, `seconds`, `model` and `job`. [J], [s]

    The meter's readings at start and stop lie in a table of their own, in the order of the runs.
    """
    parts = []
    for file in sorted(folder.glob(f"*{READINGS}.csv")):
        wall_kwh = pd.read_csv(file)["val_diff"].iloc[1::2].to_numpy()
        table = pd.read_csv(file.with_name(file.name.replace(READINGS, ""))).dropna().sort_values("start_time")
        board = table["params.architecture"].str.contains("NVIDIA").map({True: "accelerator", False: "processor"})
        parts.append(
            pd.DataFrame(
                {
                    "tool_j": table["metrics.power_draw_total"],
                    "wall_j": 3.6e6 * wall_kwh,
                    "seconds": table["metrics.running_time_total"],
                    "model": table["params.model"],
                    "job": ("vision" if "imagenet" in file.name else "language") + ", " + board,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def holds(tool_j: float, wall_j: float, seconds: float) -> bool:
    """Whether the interval of the node, from the tool's number and the default step, holds the meter's."""
    device = exact(tool_j, "J", kind="estimated", method="CodeCarbon", boundary="device")
    low, _, high = default_node_step(hours=seconds / 3600)(device).ends
    assert low is not None and high is not None
    return low <= wall_j <= high


def relative_rms(runs: pd.DataFrame) -> float:
    """Of the middle of the default step, 57 W + 1.12 times the tool's power, against the meter. [-]"""
    step = default_node_step()
    assert step.fixed is not None and step.fixed.p50 is not None and step.factor.p50 is not None
    middle = step.fixed.p50 * runs["seconds"] + step.factor.p50 * runs["tool_j"]
    return float(np.sqrt(((middle / runs["wall_j"] - 1) ** 2).mean()))


def summary(below: pd.Series) -> dict[str, Any]:
    """Number, smallest, median and largest share. [-]"""
    return {"runs": len(below), "min": below.min(), "median": below.median(), "max": below.max()}


if __name__ == "__main__":
    main()
