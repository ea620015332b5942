"""Fit of the quantile trees: rows binned once, beside Darts' `LightGBMModel`, which bins them for every quantile.

Run it as `python -m benchmarks.forecast_trees_speed [--smoke]`; it writes `benchmarks/results/
forecast_trees_speed.json` (nothing with `--smoke`). 200 simulated series of quarter hours (a weekly shape, a level of
each day, noise), the features and settings of `forecast.trees`, every 11th step as a row, the seven quantiles of a
scenario, one thread. Both sides start from the same feature array (series, time, feature) in float32 and run in turn;
Darts gets its series without copies and its own `stride`, so that it, too, trains on these rows only. What it needs to
make its series, 0.05 ms each, is not counted. Both must predict the same; this comparison is the warm-up. Processor
seconds stand beside wall seconds, as other work on the machine stretches the latter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.trees import LIGHTGBM, train_quantiles, tree_inputs, tree_rows

RESULTS = Path(__file__).parent / "results" / "forecast_trees_speed.json"
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
WARM_UP_DAYS, SEED, STRIDE, ROUNDS = 40, 1, 11, 5
SKLEARN_NAMES = {
    "num_iterations": "n_estimators", "min_data_in_leaf": "min_child_samples", "feature_fraction": "colsample_bytree",
    "lambda_l2": "reg_lambda",
}  # fmt: skip
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Lesson:
    """Features (series, time, feature) and targets (series, time), float32, and the stamps (time,)."""

    features: np.ndarray
    target: np.ndarray
    times: pd.DatetimeIndex
    names: tuple[str, ...]

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Every STRIDE-th step back from the last, series by series in order of time."""
        first = (self.features.shape[1] - 1) % STRIDE
        features = self.features[:, first::STRIDE]
        return features.reshape(-1, features.shape[2]), self.target[:, first::STRIDE].ravel()


def simulate_lesson(series: int, days: int) -> Lesson:
    """Rows of simulated series after the days that the features need."""
    grid = ClockGrid.of_days(dt.date(2016, 4, 4), days + WARM_UP_DAYS, "Europe/Berlin", pd.Timedelta("15min"))
    generator = np.random.default_rng(SEED)
    clock = 2 * np.pi * np.arange(96)[:, np.newaxis] / 96
    wave, phase = generator.uniform(0.05, 0.2, (2, series)), generator.uniform(0, 6, (2, series))
    shape = 0.4 + wave[0] * np.cos(clock + phase[0]) + wave[1] * np.cos(2 * clock + phase[1])
    weekend = np.array([day.weekday() >= 5 for day in grid.dates])[:, np.newaxis, np.newaxis]
    level = 1 + 0.2 * generator.standard_normal((len(grid.dates), 1, series)) - 0.3 * weekend
    cube = shape * level * (1 + 0.1 * generator.standard_normal((len(grid.dates), 96, series)))
    ridge = roll_ridge_days(cube, grid, 48, training=WARM_UP_DAYS)
    kind = np.full(series, "household")
    inputs = tree_inputs(cube, grid, 48, kind=kind, first=len(cube), ridge=ridge, covariates=Covariates.none())
    chosen = slice(WARM_UP_DAYS, len(cube))
    rows = tree_rows(inputs, chosen, slice(None))
    target = (cube[chosen] - ridge[chosen]) / inputs.scale[chosen, np.newaxis]
    features = np.ascontiguousarray(np.moveaxis(rows, 2, 0)).reshape(series, -1, rows.shape[-1])
    steps = np.ascontiguousarray(np.moveaxis(target, 2, 0)).reshape(series, -1).astype(np.float32)
    times = pd.date_range("2016-05-14", periods=steps.shape[1], freq="15min")
    assert np.isfinite(features).all() and np.isfinite(steps).all()
    return Lesson(features, steps, times, inputs.names)


def darts_fit(lesson: Lesson) -> Callable[[], Any]:
    """Darts' model, ready to be fitted."""
    from darts import TimeSeries
    from darts.models import LightGBMModel

    series = [TimeSeries(lesson.times, one[:, np.newaxis, np.newaxis], copy=False) for one in lesson.target]
    covariates = [TimeSeries(lesson.times, one[:, :, np.newaxis], copy=False) for one in lesson.features]
    settings = {SKLEARN_NAMES.get(name, name): value for name, value in LIGHTGBM.items()}

    def fit() -> Any:
        model = LightGBMModel(
            lags=None, lags_future_covariates=[0], output_chunk_length=1, likelihood="quantile",
            quantiles=list(LEVELS), random_state=SEED, num_threads=1, **settings,
        )  # fmt: skip
        return model.fit(series, future_covariates=covariates, stride=STRIDE)

    return fit


def our_fit(lesson: Lesson) -> Callable[[], list[Any]]:
    """The quantile trees on the same rows."""
    return lambda: train_quantiles(*lesson.rows, LEVELS, seed=SEED, threads=1)


def largest_difference(lesson: Lesson) -> float:
    """Between the predictions of both sides on the first 20,000 steps, in units of the recent error."""
    asked = lesson.features.reshape(-1, lesson.features.shape[2])[:20_000]
    theirs = darts_fit(lesson)()._model_container
    ours = [booster.predict(asked) for booster in our_fit(lesson)()]
    pairs = zip(ours, (theirs[level].booster_.predict(asked) for level in LEVELS), strict=True)
    return max(float(np.abs(mine - other).max()) for mine, other in pairs)


def clocks_of(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(lesson: Lesson, rounds: int) -> dict[str, Any]:
    """Both sides in turn: medians, and the median of the ratios of the rounds."""
    theirs, ours = darts_fit(lesson), our_fit(lesson)
    pairs = [(clocks_of(theirs), clocks_of(ours)) for _ in range(rounds)]
    measured: dict[str, Any] = {}
    for place, clock in enumerate(("wall", "processor")):
        darts, gridtwin = ([pair[side][place] for pair in pairs] for side in (0, 1))
        measured[f"darts_{clock}_seconds"] = statistics.median(darts)
        measured[f"gridtwin_{clock}_seconds"] = statistics.median(gridtwin)
        measured[f"{clock}_ratio"] = statistics.median(a / b for a, b in zip(darts, gridtwin, strict=True))
    return measured


def main() -> None:
    """Measure both sides in turn and write the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    series, days, rounds = (40, 20, 1) if smoke else (200, 90, ROUNDS)
    lesson = simulate_lesson(series, days)
    difference = largest_difference(lesson)
    if difference > TOLERANCE:
        raise SystemExit(f"the two sides predict differently: {difference}")
    result = {
        "python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine(),
        "load_before": os.getloadavg()[0], "series": series, "rows": len(lesson.rows[0]),
        "features": len(lesson.names), "quantiles": LEVELS, "settings": LIGHTGBM, "rounds": rounds,
        "largest_difference_of_predictions": difference, **measure(lesson, rounds),
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if not smoke:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
