"""How well a forecast tells the peaks that a network is built for: their height, their time, their day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HIGHEST_SHARE = 0.05
"""Share of the steps that count as the highest. [-]"""
HIGHEST_DAY_SHARE = 0.1
"""Share of the days that count as peak days; at least one. [-]"""
PEAK_SCORES = (
    "peak_error_mw",
    "peak_bias_mw",
    "peak_time_error_quarter_hours",
    "highest_steps_hit_percent",
    "peak_days_hit_percent",
)
"""Columns of the peak scores."""


def peak_scores(
    actual: np.ndarray, median: np.ndarray, paths: np.ndarray, day: NDArray[np.int64], quarter_hours: float
) -> dict[str, float]:
    """Scores of the daily peaks of one series.

    Parameters
    ----------
    actual, median : ndarray, (time,)
        What happened, and the middle of the forecast; the peak is the largest value, so feed-in comes negated. [MW]
    paths : ndarray, (path, time)
        Forecast. [MW]
    day : ndarray of int, (time,)
        Local day of each step, rising.
    quarter_hours : float
        Length of a step. [quarter hours]

    Returns
    -------
    dict
        Mean absolute error and mean error (forecast minus what happened) of the height of the daily peak [MW]; mean
        absolute error of its time [quarter hours]; share of the highest 5 % of the steps that are among as many
        highest of the forecast; share of the days with the highest peaks (one in ten) that are among as many of the
        forecast, NaN for a single day [%].

    Notes
    -----
    The height that is forecast is the median over the paths of each path's own peak: the peak of the median is
    always too low, as the paths peak at different times. The time is that of the highest median.
    """
    days = np.split(np.arange(len(actual)), np.flatnonzero(np.diff(day)) + 1)
    seen = np.array([actual[steps].max() for steps in days])
    told = np.array([np.median(paths[:, steps].max(axis=1)) for steps in days])
    apart = [abs(int(actual[steps].argmax()) - int(median[steps].argmax())) for steps in days]
    values = (
        float(np.abs(told - seen).mean()),
        float((told - seen).mean()),
        float(np.mean(apart)) * quarter_hours,
        hit_percent(actual, median, HIGHEST_SHARE),
        hit_percent(seen, told, HIGHEST_DAY_SHARE) if len(days) > 1 else float("nan"),
    )
    return dict(zip(PEAK_SCORES, values, strict=True))


def hit_percent(actual: np.ndarray, told: np.ndarray, share: float) -> float:
    """Share of the highest values that are among as many highest of the forecast. [%]

    Parameters
    ----------
    actual, told : ndarray, (time,)
        What happened and the forecast.
    share : float
        Part of the values that counts as the highest, at least one. [-]

    Examples
    --------
    >>> hit_percent(np.array([1.0, 5.0, 4.0, 0.0]), np.array([0.0, 9.0, 1.0, 2.0]), 0.5)
    50.0
    """
    count = max(1, round(share * len(actual)))
    highest, expected = (set(np.argsort(-values, kind="stable")[:count].tolist()) for values in (actual, told))
    return 100 * len(highest & expected) / count
