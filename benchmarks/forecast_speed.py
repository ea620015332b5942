"""The ridge forecast against the same ridge in Darts, and the time and memory of the default forecast.

Run it as `python -m benchmarks.forecast_speed [--only backtest|refit|default|memory]`; it updates the part in
`benchmarks/results/forecast_speed.json`. Both sides of a comparison run in turn in one process, forecast the same
hours from the same rows, and are compared number by number before a time is noted.

The 200 series are half synthetic: SimBench has few distinct shapes, so 160 loads, 28 PV systems and 12 wind turbines
are random mixtures of its profiles of 2016, times autoregressive noise of 5 %. Learnt is January to September,
forecast are 60 days from 1 October on, 96 steps from the midnight (UTC) on which the history ends.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core on either side of a comparison

import numpy as np
import pandas as pd
import simbench
from darts import TimeSeries
from darts.models import SKLearnModel
from sklearn.linear_model import Ridge

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.darts_ridge import DayAheadRidge
from gridtwin.forecast.features import calendar_features
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.time_axis import TimeAxis, to_utc

RESULTS = Path(__file__).parent / "results" / "forecast_speed.json"
STEPS, DAYS, PENALTY, ROUNDS = 96, 60, 10.0, 3
LAGS: dict[str, Any] = {"lags": 288, "lags_future_covariates": [0, 48, 95], "output_chunk_length": STEPS}
ROLLING: dict[str, Any] = {
    "forecast_horizon": STEPS,
    "stride": STEPS,
    "last_points_only": False,
    "show_warnings": False,
}
START = pd.Timestamp("2016-10-01")


class StridedRidge(SKLearnModel):
    """Darts' ridge that keeps one row per day when it is refitted.

    `historical_forecasts` refuses `fit_kwargs={"stride": 96}` as a name of its own, so that this is the way to the
    same rows in Darts; plain `retrain=True` learns from a row per quarter hour.
    """

    def fit(self, *arguments: Any, **named: Any) -> Any:
        return super().fit(*arguments, **{**named, "stride": STEPS})


def build_series(count: int = 200) -> tuple[list[TimeSeries], TimeSeries]:
    """Series scaled to a largest value of 1 before October, and calendar and sun as known ahead."""
    folder = Path(simbench.__file__).parent / "networks" / "1-complete_data-mixed-all-0-sw"
    load, feed_in = (pd.read_csv(folder / name, sep=";", index_col=0) for name in ("LoadProfile.csv", "RESProfile.csv"))
    stamps = pd.to_datetime(load.index, format="%d.%m.%Y %H:%M")
    times = to_utc(pd.DatetimeIndex(stamps), "Europe/Berlin", step=pd.Timedelta("15min"))
    axis = TimeAxis.of_index(times, "Europe/Berlin")
    named = [name for name in load.columns if name.endswith("_pload") and name[0] in "GLlmh"]
    shapes = [load[named], -feed_in.filter(regex=r"^PV\d"), -feed_in.filter(regex=r"^WP\d")]
    chance = np.random.default_rng(200)
    parts = [round(share * count) for share in (0.8, 0.14)]
    values = np.column_stack(
        [
            mixtures(shape.to_numpy(), number, chance)
            for shape, number in zip(shapes, (*parts, count - sum(parts)), strict=True)
        ]
    )
    before = np.asarray(axis.times < START)
    values /= np.abs(values[before]).max(axis=0)
    grid = ClockGrid.of_days(dt.date(2016, 1, 1), 366, "Europe/Berlin", pd.Timedelta("15min"))
    known = TimeSeries(grid.axis.times, calendar_features(grid).astype(float)[:, :, np.newaxis], copy=False)
    series = [
        TimeSeries(axis.times, values[:, number, np.newaxis, np.newaxis], components=[f"p{number}"], copy=False)
        for number in range(count)
    ]
    return series, known


def mixtures(shapes: np.ndarray, count: int, chance: np.random.Generator) -> np.ndarray:
    """Random mixtures of three shapes each, times noise that remembers a day, (time, count)."""
    weight = np.zeros((shapes.shape[1], count))
    for number in range(count):
        chosen = chance.choice(shapes.shape[1], min(3, shapes.shape[1]), replace=False)
        weight[chosen, number] = chance.dirichlet(np.ones(len(chosen)))
    noise = chance.standard_normal((len(shapes), count))
    kept = np.exp(-1 / STEPS)
    for step in range(1, len(noise)):
        noise[step] = kept * noise[step - 1] + np.sqrt(1 - kept**2) * noise[step]
    return (shapes @ weight) * (1 + 0.05 * noise)


def seconds_of(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time and result of one call. [s]"""
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def in_turn(actions: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> tuple[dict[str, float], dict[str, Any]]:
    """Median wall time of each action, all of them once per round, and their last results."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    results: dict[str, Any] = {}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds, results[name] = seconds_of(action)
            times[name].append(seconds)
    return {name: statistics.median(each) for name, each in times.items()}, results


def largest_difference(ours: Any, theirs: Any) -> float:
    """Between two sets of forecasts, relative to the largest value; both hold the same origins."""
    mine, other = (np.stack([[one.values() for one in forecasts] for forecasts in rolled]) for rolled in (ours, theirs))
    assert mine.shape == other.shape
    return float(np.abs(mine - other).max() / np.abs(other).max())


def measure_backtest(count: int = 200, rounds: int = ROUNDS) -> dict[str, Any]:
    """One fit per series, 60 days of forecasts."""
    series, known = build_series(count)
    history = [one.drop_after(START) for one in series]
    until = START + pd.Timedelta(days=DAYS) - series[0].freq
    # Darts tabulates every row that it is given: give it those that the forecasts need
    needed = [one.slice(START - LAGS["lags"] * one.freq, until) for one in series]
    ours = DayAheadRidge(**LAGS, penalty=PENALTY)

    def fit_darts() -> list[SKLearnModel]:
        return [
            SKLearnModel(model=Ridge(alpha=PENALTY), **LAGS).fit(one, future_covariates=known, stride=STEPS)
            for one in history
        ]

    fit_seconds, fitted = in_turn(
        {"ours": lambda: ours.fit(history, future_covariates=[known] * count), "darts": fit_darts}, rounds
    )
    rolling = {**ROLLING, "start": START, "retrain": False}
    seconds, rolled = in_turn(
        {
            "ours_arrays": lambda: ours.roll(needed, known, start=START),
            "ours_time_series": lambda: ours.historical_forecasts(needed, future_covariates=[known] * count, **rolling),
            "darts": lambda: [
                model.historical_forecasts(one, future_covariates=known, **rolling)
                for model, one in zip(fitted["darts"], needed, strict=True)
            ],
        },
        rounds,
    )
    difference = largest_difference(rolled["ours_time_series"], rolled["darts"])
    arrays = np.stack([one.values for one in rolled["ours_arrays"]])
    labelled = np.stack([[one.values()[:, 0] for one in each] for each in rolled["ours_time_series"]])
    assert np.array_equal(arrays, labelled)
    assert difference < 1e-8
    return {
        "series": count, "days": DAYS, "forecasts": arrays.size // STEPS, "rounds": rounds,
        "fit_seconds": fit_seconds, "backtest_seconds": seconds,
        "ratio_arrays": seconds["darts"] / seconds["ours_arrays"],
        "ratio_time_series": seconds["darts"] / seconds["ours_time_series"],
        "largest_relative_difference": difference,
        "darts": "one SKLearnModel(Ridge) per series, fit(stride=96), historical_forecasts(retrain=False, stride=96, "
                 "last_points_only=False), optimised road, series cut to the lags needed",
    }  # fmt: skip


def measure_refit(count: int = 200, slow_series: int = 4, slow_days: int = 5, rounds: int = ROUNDS) -> dict[str, Any]:
    """A refit before every forecast; the slow side forecasts few days of few series, and plain Darts one day."""
    series, known = build_series(count)
    until = START + pd.Timedelta(days=DAYS) - series[0].freq
    series = [one.slice(one.start_time(), until) for one in series]
    few = [
        one.drop_after(START + pd.Timedelta(days=slow_days))
        for one in series[:: max(1, count // slow_series)][:slow_series]
    ]
    ours = DayAheadRidge(**LAGS, penalty=PENALTY)
    rolling = {**ROLLING, "start": START, "retrain": True}

    def darts(model: SKLearnModel, days: int) -> list[Any]:
        cut = [one[: len(one) - (slow_days - days) * STEPS] for one in few]
        return [model.historical_forecasts(one, future_covariates=known, **rolling) for one in cut]

    def loop() -> list[Any]:
        stamps = [START + pd.Timedelta(days=day) for day in range(slow_days)]
        return [
            [
                SKLearnModel(model=Ridge(alpha=PENALTY), **LAGS)
                .fit(past, future_covariates=known, stride=STEPS)
                .predict(STEPS, future_covariates=known)
                for past in (one.drop_after(stamp) for stamp in stamps)
            ]
            for one in few
        ]

    strided, plain = (kind(model=Ridge(alpha=PENALTY), **LAGS) for kind in (StridedRidge, SKLearnModel))
    seconds, rolled = in_turn(
        {
            "ours_all_days": lambda: ours.roll(series, known, start=START, retrain=True),
            "darts_one_row_a_day": lambda: darts(strided, slow_days),
            "darts_loop_of_fit_and_predict": loop,
        },
        rounds,
    )
    plain_seconds, _ = seconds_of(lambda: darts(plain, 1))
    check = ours.historical_forecasts(few, future_covariates=[known] * len(few), **rolling)
    difference = largest_difference(check, rolled["darts_one_row_a_day"])
    assert difference < 1e-8
    assert largest_difference(check, rolled["darts_loop_of_fit_and_predict"]) < 1e-8
    each = {
        "ours": seconds["ours_all_days"] / (count * DAYS),
        "darts_one_row_a_day": seconds["darts_one_row_a_day"] / (len(few) * slow_days),
        "darts_loop_of_fit_and_predict": seconds["darts_loop_of_fit_and_predict"] / (len(few) * slow_days),
        "darts_plain_a_row_per_quarter_hour": plain_seconds / len(few),
    }
    return {
        "series": count, "days": DAYS, "rounds": rounds, "darts_series": len(few), "darts_days": slow_days,
        "all_refits_seconds": seconds["ours_all_days"], "seconds_per_refit_and_forecast": each,
        "ratio_same_rows_same_numbers": each["darts_one_row_a_day"] / each["ours"],
        "ratio_to_loop_of_fit_and_predict": each["darts_loop_of_fit_and_predict"] / each["ours"],
        "ratio_to_plain_retrain_other_rows": each["darts_plain_a_row_per_quarter_hour"] / each["ours"],
        "largest_relative_difference": difference,
        "darts": "historical_forecasts(retrain=True, stride=96) of a subclass whose fit() keeps a row a day; plain: "
                 "retrain=True as it is, 96 times the rows, other numbers, one day",
    }  # fmt: skip


def simulate_cube(series: int, days: int) -> tuple[np.ndarray, ClockGrid]:
    """Random loads of a daily shape, float32, (day, slot, asset)."""
    grid = ClockGrid.of_days(dt.date(2016, 1, 4), days, "Europe/Berlin", pd.Timedelta("15min"))
    chance = np.random.default_rng(3)
    shape = (0.4 - 0.15 * np.cos(2 * np.pi * np.arange(STEPS) / STEPS)).astype(np.float32)[:, np.newaxis]
    cube = np.empty((days, STEPS, series), dtype=np.float32)
    for day in range(days):
        level = 1 + 0.2 * chance.standard_normal(series, dtype=np.float32)
        cube[day] = shape * level + 0.02 * chance.standard_normal((STEPS, series), dtype=np.float32)
    return cube, grid


def measure_default(series: int = 1000, days: int = 122, rounds: int = ROUNDS) -> dict[str, Any]:
    """The default forecast of a day from 120 days of history, from profiles to quantiles and 100 paths, two threads."""
    from gridtwin.data.profiles import build_profiles
    from gridtwin.forecast.day_ahead import forecast
    from gridtwin.scenario import Forecast

    cube, grid = simulate_cube(series, days)
    names = [f"load {number}" for number in range(series)]
    assets = pd.DataFrame({"element": "load", "index": range(series), "kind": "household"}, index=names)
    p_mw = 0.01 * grid.to_steps(cube).astype(float)
    profiles = build_profiles(grid.axis, assets, p_mw, 0.2 * p_mw)
    settings = Forecast(model="DayAheadRidge", history_days=120, paths=100)
    installed = pd.Series(0.01, index=names)
    whole, cpu = [], []
    for _ in range(rounds):
        begun = time.process_time()
        seconds, predicted = seconds_of(
            lambda: forecast(profiles, [grid.dates[-1]], settings, issue=dt.time(12), seed=1, installed_mw=installed)
        )
        whole.append(seconds)
        cpu.append(time.process_time() - begun)
    assert predicted.sizes["path"] == 100
    assert bool(np.isfinite(predicted["p_mw"]).all())
    stages = {str(threads): statistics.median(roll_seconds(cube, grid, threads, rounds)) for threads in (1, 2)}
    return {
        "series": series, "history_days": 120, "paths": 100, "quantiles": len(settings.quantiles), "rounds": rounds,
        "forecast_seconds": statistics.median(whole), "forecast_cpu_seconds": statistics.median(cpu),
        "of_it_all_refits_seconds_by_threads": stages, "every_day_refitted_days": days,
        "load_of_the_machine": os.getloadavg()[0],
    }  # fmt: skip


def roll_seconds(cube: np.ndarray, grid: ClockGrid, threads: int, rounds: int) -> Iterator[float]:
    """Wall time of the rolled ridge alone. [s]"""
    for _ in range(rounds):
        yield seconds_of(lambda: roll_ridge_days(cube, grid, 48, training=60, threads=threads))[0]


def measure_memory(series: int = 10_000, days: int = 122) -> dict[str, Any]:
    """Largest memory of a process that refits and forecasts all series every day, beyond its input."""
    command = [sys.executable, "-m", "benchmarks.forecast_speed", "--peak", str(series), str(days)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(series: int, days: int) -> None:
    """Input, result and largest memory of this process as JSON. [MiB]"""
    cube, grid = simulate_cube(series, days)
    roll_ridge_days(cube[:, :, :2], grid, 48, training=60)  # what the libraries take themselves is not the forecast's
    before = peak_mib()
    point = roll_ridge_days(cube, grid, 48, training=60, threads=2)
    after = peak_mib()
    sizes = {"input_mib": cube.nbytes / 2**20, "result_mib": point.nbytes / 2**20}
    print(json.dumps({"series": series, "days": days, **sizes, "beyond_input_mib": after - before}))


def peak_mib() -> float:
    """Largest memory of this process so far (`getrusage` would count the process that started it too). [MiB]"""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Measure the parts asked for and keep the others."""
    parts: dict[str, Callable[[], Any]] = {
        "backtest": measure_backtest, "refit": measure_refit, "default": measure_default, "memory": measure_memory,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=parts, nargs="*", default=list(parts))
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        return print_peak(*asked.peak)
    logging.disable(logging.WARNING)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept["about"] = {
        "python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count(),
        "machine": platform.machine(), "load_before": os.getloadavg()[0],
    }  # fmt: skip
    for name in asked.only:
        kept[name] = parts[name]()
        print(name, json.dumps(kept[name], indent=2))
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
