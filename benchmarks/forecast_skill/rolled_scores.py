"""Scores of rolled forecasts of one series, the same for every benchmark of this folder and for every peer."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, free_day_flags, holiday_flags
from gridtwin.forecast.conformal import RolledErrors, conformal_quantiles
from gridtwin.forecast.score_rules import pinball_loss

LEVELS = tuple(round(0.05 * number, 2) for number in range(1, 20))
"""Quantiles that are scored; the outer ones are the edges of the 90 and of the 80 % band."""
BANDS = {80: (0.1, 0.9), 90: (0.05, 0.95)}
RESULTS = Path(__file__).parent.parent / "results"
HIGHEST_SHARE = 0.05


def data_folder() -> Path:
    """Where the measurements lie."""
    return Path(os.environ["GRIDTWIN_DATA"])


def calibrated(
    actual: np.ndarray,
    point: np.ndarray,
    grid: ClockGrid,
    days: np.ndarray,
    *,
    levels: tuple[float, ...] = LEVELS,
    model_quantiles: np.ndarray | None = None,
) -> np.ndarray:
    """Quantiles of the days by the package's rolling conformal calibration, (level, day, slot).

    Parameters
    ----------
    actual, point : ndarray, (day, slot)
        What was measured, NaN where unknown, and the rolled forecast.
    days : ndarray of int, (day,)
        Positions of the days to be judged.
    model_quantiles : ndarray, (level, day, slot), optional
        Of the model itself.
    """
    free = free_day_flags(grid.dates, grid.axis.zone)
    scale = max(float(np.nanstd(actual)), 1e-9)
    own = None if model_quantiles is None else model_quantiles[..., np.newaxis] / scale
    rolled = RolledErrors(actual[:, :, np.newaxis] / scale, point[:, :, np.newaxis] / scale, free, own)
    return conformal_quantiles(rolled, levels, days).quantiles[..., 0].astype(float) * scale


def score_steps(
    actual: np.ndarray,
    point: np.ndarray,
    naive: np.ndarray,
    quantiles: np.ndarray | None = None,
    *,
    levels: tuple[float, ...] = LEVELS,
) -> dict[str, float]:
    """Scores over the steps that are known, of arrays (time,) and (level, time); the unit of the series.

    `rmae` is the absolute error by that of the naive, `nmae_percent` the absolute error by the mean absolute
    power, `pinball` the mean over the levels.
    """
    used = np.isfinite(actual) & np.isfinite(point) & np.isfinite(naive)
    y, error = actual[used], (point - actual)[used]
    scores = {
        "steps": int(used.sum()),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "bias": float(error.mean()),
        "nmae_percent": float(100 * np.abs(error).mean() / np.abs(y).mean()),
        "rmae": float(np.abs(error).mean() / np.abs(naive[used] - y).mean()),
    }
    if (np.abs(y) > 0.1 * np.abs(y).mean()).all():
        scores["mape_percent"] = float(100 * np.abs(error / y).mean())
    if quantiles is not None:
        scores |= band_scores(y, quantiles[:, used], levels)
    return {name: rounded(value) for name, value in scores.items()}


def band_scores(actual: np.ndarray, quantiles: np.ndarray, levels: tuple[float, ...]) -> dict[str, float]:
    """Pinball, and share of steps inside of the bands with their mean width."""
    scores = {"pinball": float(pinball_loss(actual, quantiles, np.array(levels)).mean())}
    for share, (low, high) in BANDS.items():
        below, above = quantiles[levels.index(low)], quantiles[levels.index(high)]
        scores[f"coverage_{share}_percent"] = float(100 * ((actual >= below) & (actual <= above)).mean())
        scores[f"width_{share}"] = float((above - below).mean())
    return scores


def peak_metrics(actual: np.ndarray, point: np.ndarray, hours_per_slot: float) -> dict[str, float]:
    """Daily peaks of consumption, of arrays (day, slot); days with unknown slots are left out.

    Mean absolute error of the height and of the time of the day's peak (that of the point forecast), and mean absolute
    error over the highest 5 % of the steps.
    """
    whole = np.isfinite(actual).all(axis=1) & np.isfinite(point).all(axis=1)
    y, f = actual[whole], point[whole]
    highest = y >= np.quantile(y, 1 - HIGHEST_SHARE)
    scores = {
        "days": int(whole.sum()),
        "peak_height_mae": float(np.abs(f.max(axis=1) - y.max(axis=1)).mean()),
        "peak_time_mae_h": float(np.abs(f.argmax(axis=1) - y.argmax(axis=1)).mean() * hours_per_slot),
        "highest_5_percent_mae": float(np.abs(f - y)[highest].mean()),
    }
    return {name: rounded(value) for name, value in scores.items()}


def day_flags(grid: ClockGrid) -> dict[str, np.ndarray]:
    """Kinds of days that are listed apart, (day,)."""
    holiday = holiday_flags(grid.dates, grid.axis.zone)
    beside = np.roll(holiday, 1) | np.roll(holiday, -1)
    return {"holiday": holiday, "beside_holiday": beside & ~holiday, "clock_change": clock_changes(grid)}


def clock_changes(grid: ClockGrid) -> np.ndarray:
    """Days of 23 or 25 hours, (day,)."""
    return np.asarray(np.bincount(grid.day, minlength=len(grid.dates)) != grid.slots)


def rounded(value: float) -> float:
    """Four digits are more than the data carry."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write_result(name: str, result: dict[str, Any]) -> None:
    """`benchmarks/results/<name>.json` with the machine beside it."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
    (RESULTS / f"{name}.json").write_text(json.dumps(machine | result, indent=1) + "\n")
