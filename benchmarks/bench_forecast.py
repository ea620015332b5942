"""The ridge forecast, small: the ratios to Darts on the same rows, and equal numbers on both sides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.forecast_speed import measure_backtest, measure_refit, simulate_cube
from gridtwin.forecast.ridge_days import roll_ridge_days


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_default_forecast(benchmark: Any) -> None:
    cube, grid = simulate_cube(32, 60)
    point = benchmark(roll_ridge_days, cube, grid, 48, training=30)
    assert np.isfinite(point[-1]).all()


def test_backtest_is_faster_than_darts() -> None:
    """Equal numbers are asserted where they are measured; a fifth of the usual ratio leaves room for noise."""
    assert measure_backtest(count=10, rounds=5)["ratio_arrays"] > 10


def test_daily_refits_are_faster_than_darts() -> None:
    assert measure_refit(count=6, slow_series=2, slow_days=2, rounds=3)["ratio_same_rows_same_numbers"] > 30
