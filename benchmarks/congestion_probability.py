"""Probability of congestion over a month, against what happened; writes `results/congestion_probability.json`.

Run it as `python -m benchmarks.congestion_probability`; `--days 2 --paths 10 --dry` is a short run that writes nothing.
The network and its growth (cars, heat pumps, PV, batteries) are those of `scenarios/suburb_day_ahead`, nobody is
flexible, and all settings of the forecast are the defaults: every day is forecast at noon of the day before, and every
path runs through the AC power flow. SimBench's loads are profiles of 2016; growth is drawn, see `data/growth_profiles`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gridtwin.forecast.day_ahead import forecast
from gridtwin.forecast.scores import score_forecast
from gridtwin.operate.congestion_scores import CongestionScores, naive_profiles, score_congestion
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.scenario import Forecast
from gridtwin.scenario_file import ScenarioFile, read_scenario
from gridtwin.study import read_study_inputs, studied_axis

RESULTS = Path(__file__).parent / "results"
SCENARIO = Path(__file__).parent.parent / "scenarios" / "suburb_day_ahead"
FIRST_DAY, DAYS = dt.date(2016, 11, 14), 28
"""Four weeks before Advent, Monday to Sunday: mild and cold days, with no holiday among them."""
OUTPUTS = ("vm_pu", "loading_percent")


def main() -> None:
    """One month, printed and written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--paths", type=int, default=Forecast().paths)
    parser.add_argument("--model", default=Forecast().model)
    parser.add_argument("--dry", action="store_true", help="write nothing")
    asked = parser.parse_args()
    result = measure(asked.days, Forecast(model=asked.model, paths=asked.paths))
    if not asked.dry:
        (RESULTS / "congestion_probability.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("forecast", "seconds")}, indent=2))
    for name in ("summary", "reliability"):
        print(pd.DataFrame(result[name]).round(4).to_string(index=False))


def measure(days: int, settings: Forecast) -> dict[str, Any]:
    """Forecast, power flows and scores of some days, with the seconds of each part."""
    source = study_of(days, settings)
    inputs = read_study_inputs(source)
    axis, seconds = studied_axis(source.scenario), {}
    realised = inputs.profiles.sel(time=axis.times)
    run_power_flow(inputs.twin, realised.isel(time=slice(0, 16)))  # compile and load the kernel first
    begin = time.perf_counter()
    predicted = forecast(
        inputs.profiles, axis.local_days, settings, issue=source.scenario.time.issue, seed=source.scenario.seed,
        installed_mw=inputs.twin.assets["p_rated_mw"],
    )  # fmt: skip
    seconds["forecast"] = time.perf_counter() - begin
    begin = time.perf_counter()
    powers = (predicted, realised, naive_profiles(predicted))
    flows = [run_power_flow(inputs.twin, power, outputs=OUTPUTS) for power in powers]
    seconds["power flow of every path"] = time.perf_counter() - begin
    begin = time.perf_counter()
    scores = score_congestion(flows[0], flows[1], inputs.twin, naive_flow=flows[2])
    seconds["scores"] = time.perf_counter() - begin
    total = score_forecast(predicted, realised).set_index("level").loc["total"]
    about = {
        "python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine(),
        "scenario": SCENARIO.name, "first_day": str(FIRST_DAY), "days": days, "issue": str(source.scenario.time.issue),
        "buses": len(inputs.twin.buses), "assets": len(inputs.twin.assets), "power_flows": int(flows[0]["status"].size),
        "unsolved": int(sum((flow["status"] != 0).sum() for flow in flows)), "settings": settings.model_dump(),
    }  # fmt: skip
    kept = ("skill_percent", "nmae_percent", "crps_mw", "coverage_of_80_percent_band_percent")
    return {
        "about": about,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "forecast": {f"total_{name}": round(float(total[name]), 5) for name in kept},
        **tables_of(scores),
    }


def study_of(days: int, settings: Forecast) -> ScenarioFile:
    """The scenario over the month, without what only a flexibility study needs."""
    source = read_scenario(SCENARIO)
    scenario = source.scenario.model_copy(
        update={
            "time": source.scenario.time.model_copy(update={"first_day": FIRST_DAY, "days": days}),
            "forecast": settings,
            "prices": None,
            "observe": None,
            "connection": (),
        }
    )
    return replace(source, scenario=scenario)


def tables_of(scores: CongestionScores) -> dict[str, Any]:
    """Tables as records; what is not a number becomes null."""
    tables = {"summary": scores.summary, "reliability": scores.reliability, "assets": scores.assets}
    return {name: json.loads(table.to_json(orient="records", double_precision=6)) for name, table in tables.items()}


if __name__ == "__main__":
    main()
