"""A month of load ahead without its weather: the load track of GEFCom2014, on every month of 2010.

Run it as `python -m benchmarks.forecast_skill.gefcom_load`; it writes
`benchmarks/results/forecast_skill_gefcom_load.json`. `--smoke` does one month of 2009 and writes nothing.
`GRIDTWIN_DATA` names the folder of the data.

Each month is forecast from all load and weather before it, as 99 quantiles, by the defaults of
`forecast_by_weather_years`. These were chosen on the months of 2007 to 2009, whose scores stand beside. 2010 was run
four times: first (43.0 % below the benchmark), with the widening of paths (43.3 %), with the half-life of the fit and
a correction of the level by the latest errors (42.9 %), and without that correction again. The first two were kept
because they lowered the mean loss of 2007 to 2009; the correction did so by 0.04 % only.
Weather stations are chosen anew each January from the load before. The loss is the pinball loss, mean over hours and
quantiles, in MW.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.forecast.score_rules import pinball_loss
from gridtwin.forecast.weather_scenarios import LEVELS, forecast_by_weather_years

RESULTS = Path(__file__).parents[1] / "results"
DATA_FILE = Path("gefcom2014_load") / "2001_2010.parquet"
SCORES = Path("gefcom2014_scores")
VALIDATION_YEARS, TEST_YEAR = (2007, 2008, 2009), 2010
OFFICIAL_TASKS = {1: "2010-10", 2: "2010-11", 3: "2010-12"}
"""Tasks of the competition whose months lie in the data; 4 to 15 are the months of 2011."""
POOL_DAYS = 7
"""The seasonal pool holds the same hour of all past years, so many days earlier and later."""


@dataclass(frozen=True)
class Series:
    """Hourly data; `times` are interval starts of a clock without summer time jumps."""

    times: pd.DatetimeIndex
    load_mw: np.ndarray
    temperature_degf: np.ndarray

    def month(self, month: str) -> slice:
        """Steps of a month such as 2010-10."""
        first = pd.Timestamp(month)
        edges = self.times.searchsorted([first, first + pd.offsets.MonthBegin(1)])
        return slice(int(edges[0]), int(edges[1]))


def main() -> None:
    """Measure every month and write the file."""
    folder = Path(os.environ.get("GRIDTWIN_DATA", "../shared/data"))
    if not (folder / DATA_FILE).exists():
        print(f"skipped: {folder / DATA_FILE} is not there; GRIDTWIN_DATA names the folder of the data")
        return
    series = read_series(folder / DATA_FILE)
    official = compare_with_official(series, folder / SCORES)
    if "--smoke" in sys.argv:
        print(json.dumps(score_months(series, [f"{VALIDATION_YEARS[-1]}-06"]), indent=2))
        return
    years = {year: score_months(series, [f"{year}-{m:02}" for m in range(1, 13)]) for year in VALIDATION_YEARS}
    test = score_months(series, [f"{TEST_YEAR}-{m:02}" for m in range(1, 13)])
    for task in official:
        task["ours_mw"] = test["months"][task["month"]]["ours_mw"]
        task["rank_of_ours"] = 1 + sum(loss < task["ours_mw"] for loss in task["leaderboard_mw"])
    results: dict[str, Any] = {
        "about": {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "loss": "pinball, mean over hours and 99 quantiles [MW]",
            "settings": "defaults, chosen on the months of 2007 to 2009; see the docstring of the script",
            "benchmark": "the value of the same date and hour of the year before, as every quantile",
            "pool": f"quantiles of the same hour of all past years, {POOL_DAYS} days earlier to {POOL_DAYS} days later",
        },
        "test_2010": test,
        "official_tasks_in_the_data": official,
        "validation": years,
    }
    (RESULTS / "forecast_skill_gefcom_load.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"test_2010": test, "official": official}, indent=2))


def read_series(file: Path) -> Series:
    """The file is stamped at the end of each hour."""
    table = pd.read_parquet(file)
    times = pd.DatetimeIndex(table.index) - pd.Timedelta(hours=1)
    return Series(times, table["load_mw"].to_numpy(float), table.filter(like="temp_").to_numpy(float))


def compare_with_official(series: Series, folder: Path) -> list[dict[str, Any]]:
    """The benchmark of the tasks in the data, ours and as published with the best team.

    Raises
    ------
    AssertionError
        If our definition of the benchmark gives another loss than the published one.
    """
    table = pd.read_csv(folder / "load_leaderboard.csv", index_col=0)
    published = pd.read_csv(folder / "load_benchmark_pinball_recomputed.csv", index_col="task")
    tasks = []
    for task, month in OFFICIAL_TASKS.items():
        ours = float(loss_of_benchmark(series, series.month(month)))
        expected = float(published.loc[task, "benchmark_pinball_MW"])
        assert abs(ours - expected) < 1e-4, f"task {task}: benchmark {ours}, published {expected}"  # four decimals
        tasks.append({"task": task, "month": month, "benchmark_mw": round(ours, 4), "benchmark_published_mw": expected,
                      "leaderboard_mw": table.loc[task].tolist()})  # fmt: skip
    return tasks


def loss_of_benchmark(series: Series, month: slice) -> float:
    """Loss of the year before: half the absolute error. The 29 February takes the 28 of the year before. [MW]"""
    before = series.times[month] - pd.DateOffset(years=1)
    told = series.load_mw[series.times.searchsorted(before)]
    return float(np.abs(series.load_mw[month] - told).mean() / 2)


def quantiles_of_pool(series: Series, month: slice) -> np.ndarray:
    """Quantiles of the same hour in past years, some days earlier and later, (quantile, time). [MW]"""
    steps = np.arange(month.start, month.stop)
    shifts = [24 * (day - round(365.25 * back)) for back in range(1, 6) for day in range(-POOL_DAYS, POOL_DAYS + 1)]
    pool = series.load_mw[steps + np.array(shifts)[:, np.newaxis]]
    return np.asarray(np.nanquantile(pool, LEVELS, axis=0))


def score_months(series: Series, months: list[str]) -> dict[str, Any]:
    """Loss of each month and their mean."""
    scores: dict[str, dict[str, float]] = {}
    stations: tuple[int, ...] | None = None
    for name in months:
        month = series.month(name)
        begin = time.perf_counter()
        forecast = forecast_by_weather_years(
            series.load_mw, series.temperature_degf, series.times, series.times[month], country="US", stations=stations
        )
        seconds, stations = time.perf_counter() - begin, forecast.stations
        scores[name] = score_month(series, month, forecast.quantile_mw) | {"seconds": round(seconds, 2)}
    mean = pd.DataFrame(scores).T.mean()
    return {
        "stations": [one + 1 for one in stations or ()],
        "mean": {name: round(float(value), 3) for name, value in mean.items()},
        "below_benchmark_percent": round(100 * (1 - float(mean["ours_mw"] / mean["benchmark_mw"])), 1),
        "below_pool_percent": round(100 * (1 - float(mean["ours_mw"] / mean["pool_mw"])), 1),
        "months": scores,
    }


def score_month(series: Series, month: slice, quantile_mw: np.ndarray) -> dict[str, float]:
    """Losses of ours, the benchmark and the pool, and how often the load was inside our bands."""
    actual, levels = series.load_mw[month], np.array(LEVELS)
    inside = [(actual >= quantile_mw[tail - 1]) & (actual <= quantile_mw[99 - tail]) for tail in (10, 5)]
    return {
        "ours_mw": round(float(pinball_loss(actual, quantile_mw, levels).mean()), 3),
        "benchmark_mw": round(loss_of_benchmark(series, month), 3),
        "pool_mw": round(float(pinball_loss(actual, quantiles_of_pool(series, month), levels).mean()), 3),
        "coverage_of_80_percent_band_percent": round(float(100 * inside[0].mean()), 1),
        "coverage_of_90_percent_band_percent": round(float(100 * inside[1].mean()), 1),
    }


if __name__ == "__main__":
    main()
