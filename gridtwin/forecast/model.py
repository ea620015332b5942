"""The border to Darts: one global model over all assets.

A day-ahead forecast jumps over the hours between issue and midnight, and local
days have 92 to 100 quarter hours. Lags of the series itself cannot express "the
same clock time of the last known day", so those values come in as future
covariates (`features.py`), and the model maps each step by itself:
`output_chunk_length=1` without lags of the target. Two things follow. No value
after issue can reach the model, as its target series holds none; and one call
of `historical_forecasts` gives all days, each as issued on its own day before.
"""

from __future__ import annotations

import difflib
import math
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding
from gridtwin.nomenclature import ASSET_KINDS

TRAINING_ROWS = 160_000
"""Rows to train on. Suburb, 154 assets, 42 days: skill of the total 12.9 % with 60 000 rows, 15.0 % with 160 000,
15.2 % with 400 000."""
MODELS = ("LightGBMModel", "SKLearnModel")
LIGHTGBM: dict[str, Any] = {
    # few leaves with a line in each: 85 days of weather are too few for deep trees, which follow their noise.
    # Suburb, total, 42 days: pinball skill 51 % against 48 % of 100 trees of 31 constant leaves.
    "n_estimators": 60,
    "num_leaves": 8,
    "linear_tree": True,
    "linear_lambda": 1.0,
    "learning_rate": 0.1,
    "deterministic": True,
    "force_row_wise": True,
    # a second thread spins while other work holds the core: 0.6 s became 13 s
    "num_threads": 1,
    "verbose": -1,
}
LEAVES_OF_ROWS = 300
"""A leaf holds at least this part of the training rows."""
RIDGE_PENALTY = 30.0


def build_model(name: str, rows: int, seed: int) -> Any:
    """Untrained Darts model.

    Parameters
    ----------
    name : str
        `LightGBMModel` (squared error) or `SKLearnModel` (ridge regression).
    rows : int
        Rows to train on.
    seed : int
        Seed of the model.
    """
    border: dict[str, Any] = {"lags": None, "lags_future_covariates": [0], "output_chunk_length": 1}
    if name == "LightGBMModel":
        from darts.models import LightGBMModel

        smallest_leaf = max(20, rows // LEAVES_OF_ROWS)
        return LightGBMModel(**border, **LIGHTGBM, min_child_samples=smallest_leaf, random_state=seed)
    if name == "SKLearnModel":
        from darts.models import SKLearnModel

        return SKLearnModel(**border, model=build_ridge(), random_state=seed)
    raise DataError([_unknown_model(name)])


def check_model(name: str) -> None:
    """Raise `DataError` unless `build_model` knows the name."""
    if name not in MODELS:
        raise DataError([_unknown_model(name)])


def _unknown_model(name: str) -> Finding:
    near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
    return Finding(
        "unknown model",
        "forecast.model",
        expected=" or ".join(MODELS),
        got=name,
        do=f"Did you mean {near[0]}?" if near else "",
        severity="error",
        code="GT-F02",
    )


def build_ridge() -> Any:
    """Ridge regression on standardised features; features that do not exist yet take their mean."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(), StandardScaler(), Ridge(RIDGE_PENALTY))


def train_and_predict(
    name: str,
    features: np.ndarray,
    target: np.ndarray,
    kind: np.ndarray,
    *,
    times: pd.DatetimeIndex,
    training: slice,
    seed: int,
) -> np.ndarray:
    """Train once, then forecast every step after the training.

    Parameters
    ----------
    name : str
        Darts model.
    features : ndarray of float32, (asset, time, feature)
        Known at issue.
    target : ndarray of float32, (asset, time)
        Relative power; only the steps of `training` are read.
    kind : ndarray of str, (asset,)
        Kind of asset, the static covariate.
    times : DatetimeIndex, (time,)
        UTC.
    training : slice
        Steps to learn from.
    seed : int
        Seed of the model.

    Returns
    -------
    ndarray of float32, (asset, time after training)
    """
    from darts import TimeSeries

    covariates = [TimeSeries(times, values[:, :, np.newaxis], copy=False) for values in features]
    static = static_covariates(kind)
    known = [trained_part(values, training) for values in target]
    lessons = [
        TimeSeries(times[part], values[part, np.newaxis, np.newaxis], copy=False, static_covariates=row)
        for values, part, row in zip(target, known, static, strict=True)
    ]
    rows = sum(map(len, lessons))
    stride = training_stride(rows)
    model = build_model(name, rows // stride, seed)
    model.fit(lessons, future_covariates=covariates, stride=stride)
    # The model reads no target; the zeros only carry stamps and static covariates.
    zeros = np.zeros((len(times), 1, 1), dtype=np.float32)
    stamps = [TimeSeries(times, zeros, copy=False, static_covariates=row) for row in static]
    return roll(model, stamps, covariates, times[training.stop])


def roll(model: Any, stamps: list[Any], covariates: list[Any], start: pd.Timestamp) -> np.ndarray:
    """Forecast of every step from `start` on by Darts' optimised road, (asset, time)."""
    rolled = model.historical_forecasts(
        stamps,
        future_covariates=covariates,
        start=start,
        forecast_horizon=1,
        stride=1,
        retrain=False,
        last_points_only=True,
        show_warnings=False,
    )
    return np.stack([series.values(copy=False)[:, 0] for series in rolled])


def trained_part(values: np.ndarray, training: slice) -> slice:
    """Training steps from the first value on (gaps after it are substituted)."""
    there = ~np.isnan(values[training])
    return slice(training.start + int(there.argmax()), training.stop)


def training_stride(rows: int) -> int:
    """Every how many steps a row is taken; prime to the day, so that all hours are seen.

    >>> training_stride(100_000), training_stride(1_250_000)
    (1, 7)
    """
    stride = max(1, rows // TRAINING_ROWS)
    while math.gcd(stride, 96) > 1:
        stride += 1
    return stride


def static_covariates(kind: np.ndarray) -> list[pd.DataFrame]:
    """Kind of each asset as a row of zeros and a one."""
    present = [name for name in ASSET_KINDS if name in set(kind.tolist())]
    return [pd.DataFrame([[np.float32(name == own) for name in present]], columns=present) for own in kind]
