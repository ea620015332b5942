"""Darts models by name: arguments that suit a day-ahead forecast, and clear answers to wrong ones.

Every model of Darts can be named in a scenario. A bare name works: lags end at issue,
the forecast begins at the next local midnight, covariates are the calendar, the sun
and what was given. Arguments of the scenario replace these defaults one by one.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.issue_steps import DayLayout

OWN_NAMES = ("DayAheadRidge", "DayAheadTrees", "DayAheadBlend", "SeasonalNaive")
"""Names that a scenario may use beside Darts' own, for the nearest spelling."""
FOUNDATION = (
    "Chronos2Model", "PatchTSTFMModel", "T0Model", "TiRex2Model", "TiRexModel", "TimesFM2p5Model", "TimesFM3Model",
)  # fmt: skip
"""Models whose weights Darts would fetch from a hub; here from a local folder only."""
TREES = ("LightGBMModel", "XGBModel", "CatBoostModel", "RandomForest", "RandomForestModel")
NEURAL = 'pip install "gridtwin[neural]"'
"""How to get what the neural models need."""
CONFORMAL = ("ConformalNaiveModel", "ConformalQRModel")
"""Models around a fitted one."""
CALIBRATION_DAYS = 28
"""Days before the first forecast that conformal models keep from learning."""
LAG_DAYS = 3
"""Days of lags of a model that forecasts all steps at once."""
FAR_DAYS = (2, 3, 7, 14)
"""Days back, at the same time of day, that a model of one step sees."""
LOCAL_DAYS = 28
"""Days that a model refitted for each series and day learns from."""
TRAINING_ROWS = {"RandomForest": 20_000, "RandomForestModel": 20_000}
"""Most rows to learn from; OTHER_ROWS elsewhere."""
OTHER_ROWS = 160_000
TORCH_ROWS = 20_000


def darts_names() -> list[str]:
    """Forecasting models of Darts, installed or not."""
    import darts.models

    return [name for name in darts.models.__all__ if "Classifier" not in name and "Filter" not in name]


def check_darts_name(name: str) -> None:
    """Raise `DataError` unless Darts has a forecasting model of this name."""
    names = darts_names()
    if name in names:
        return
    near = difflib.get_close_matches(name, [*names, *OWN_NAMES], n=1, cutoff=0.5)
    raise DataError(
        [
            Finding(
                "unknown model",
                "forecast.model",
                expected=f"{', '.join(OWN_NAMES)} or a forecasting model of Darts, such as LightGBMModel or Theta",
                got=name,
                do=f"Did you mean {near[0]}?" if near else "",
                severity="error",
                code="GT-F02",
            )
        ]
    )


def build_darts_model(
    name: str, arguments: dict[str, Any], layout: DayLayout, *, seed: int, levels: tuple[float, ...]
) -> Any:
    """Untrained Darts model.

    Parameters
    ----------
    name : str
        As in `darts.models`.
    arguments : dict
        Replace the defaults. An argument that is itself a model is a table with its `name` and arguments; `model` of
        a `SKLearnModel` is the name of a scikit-learn regressor, whose own arguments stand beside it.
    layout : DayLayout
        Steps to cover.
    seed : int
        Seed of models with chance in them.
    levels : tuple of float
        Quantiles asked for, used where the arguments ask for a likelihood by quantiles. [-]

    Raises
    ------
    DataError
        If the name is unknown, its package is missing, a foundation model has no local folder, or Darts refuses the
        arguments.
    """
    check_darts_name(name)
    if name in FOUNDATION:
        check_local_folder(name, arguments)
    model_class = import_model(name)
    with explained(name):
        nested = {key: nested_models(value, layout, seed=seed, levels=levels) for key, value in arguments.items()}
        chosen = default_arguments(name, model_class, nested, layout, seed=seed, levels=levels) | nested
        return model_class(**prepared(name, model_class, chosen, levels))


def wrap_conformal(
    name: str, fitted: Any, arguments: dict[str, Any], layout: DayLayout, *, seed: int, levels: tuple[float, ...]
) -> Any:
    """Conformal model around a fitted one, calibrated on one forecast a day."""
    usual = {
        "quantiles": symmetric_levels(levels),
        "cal_stride": layout.slots,
        "cal_length": calibration_days(layout),
        "random_state": seed,
    }
    others = {key: value for key, value in arguments.items() if key != "model"}
    with explained(name):
        return import_model(name)(fitted, **{**usual, **others})


def calibration_days(layout: DayLayout) -> int:
    """Days before the first forecast that a conformal model calibrates on."""
    return max(1, min(CALIBRATION_DAYS, layout.days // 3))


def check_local_folder(name: str, arguments: dict[str, Any]) -> None:
    """Raise `DataError` unless `local_dir` is an existing folder; bar the hub for what loads afterwards."""
    folder = arguments.get("local_dir")
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise DataError(
            [
                Finding(
                    f"{name} needs its weights in a local folder, nothing is downloaded",
                    "forecast.arguments.local_dir",
                    expected="an existing folder",
                    got=str(folder) if folder else "none",
                    do="Download the model once, by hand, and name its folder.",
                    severity="error",
                    code="GT-F04",
                )
            ]
        )
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"


def import_model(name: str) -> Any:
    """Class of a Darts model; `DataError` that names the package where one is missing."""
    import darts.models

    model_class = getattr(darts.models, name)
    if isinstance(model_class, type):
        return model_class
    package = re.findall("`(.*?)`", str(getattr(model_class, "error_message", "")))[:1] or [name]
    neural = "Torch" in package[0]
    raise DataError(
        [
            Finding(
                f"{name} needs a package that is not installed",
                "forecast.model",
                expected=package[0].replace("(Py)", ""),
                do=f"Install it: {NEURAL if neural else f'pip install {package[0].lower()}'}",
                severity="error",
                code="GT-F03",
            )
        ]
    )


def nested_models(value: Any, layout: DayLayout, *, seed: int, levels: tuple[float, ...]) -> Any:
    """A value of an argument with tables that name a model replaced by the models."""
    if isinstance(value, dict) and "name" in value:
        others = {key: part for key, part in value.items() if key != "name"}
        return build_darts_model(value["name"], others, layout, seed=seed, levels=levels)
    if isinstance(value, list):
        return [nested_models(part, layout, seed=seed, levels=levels) for part in value]
    return value


def default_arguments(
    name: str,
    model_class: Any,
    given: dict[str, Any],
    layout: DayLayout,
    *,
    seed: int,
    levels: tuple[float, ...],
) -> dict[str, Any]:
    """Arguments that make the bare name a day-ahead forecast."""
    accepted = inspect.signature(model_class.__init__).parameters
    families = {base.__name__ for base in model_class.__mro__}
    chosen: dict[str, Any] = dict(local_arguments(layout.slots).get(name, {}))
    if "random_state" in accepted:
        chosen["random_state"] = seed
    if "output_chunk_length" in accepted:
        chosen["output_chunk_length"] = given.get("output_chunk_length", layout.chunk)
    if "output_chunk_shift" in accepted:
        chosen["output_chunk_shift"] = given.get("output_chunk_shift", layout.shift)
    if "SKLearnModel" in families:
        chosen |= regression_arguments(name, given, layout)
    if "TorchForecastingModel" in families:
        chosen |= torch_arguments(given, layout, seed)
    if name == "RegressionEnsembleModel":
        chosen |= {"regression_train_n_points": 14 * layout.slots, "train_using_historical_forecasts": True}
    return chosen


def local_arguments(slots: int) -> dict[str, dict[str, Any]]:
    """Season and trend of the models that know one series."""
    from darts.utils.utils import ModelMode, SeasonalityMode

    additive = SeasonalityMode.ADDITIVE  # series touch zero and change sign, which a product cannot do
    season = {"season_length": slots}
    return {
        "NaiveSeasonal": {"K": 7 * slots},
        "NaiveMovingAverage": {"input_chunk_length": slots},
        "ExponentialSmoothing": {"trend": None, "seasonal": additive, "seasonal_periods": slots},
        "Theta": {"seasonality_period": slots, "season_mode": additive},
        "FourTheta": {"seasonality_period": slots, "season_mode": additive, "model_mode": ModelMode.ADDITIVE,
                      "normalization": False},
        "FFT": {"nr_freqs_to_keep": 30},
        "ARIMA": {"p": 4, "d": 0, "trend": "c"},
        "KalmanForecaster": {"dim_x": 4},
        **{name: season for name in ("AutoTheta", "AutoCES", "AutoMFLES", "AutoTBATS")},
    }  # fmt: skip


def regression_arguments(name: str, given: dict[str, Any], layout: DayLayout) -> dict[str, Any]:
    """Lags, covariates and size of the regressions, by whether they forecast the day at once or step by step."""
    at_once = given.get("multi_models", name not in TREES and is_linear(name, given))
    shift = given.get("output_chunk_shift", layout.shift)
    chunk = given.get("output_chunk_length", layout.chunk)
    chosen: dict[str, Any] = {"multi_models": at_once}
    if at_once:
        chosen["lags"] = min(LAG_DAYS, max(1, layout.days // 4)) * layout.slots
        chosen["lags_future_covariates"] = list(range(0, layout.slots, max(1, layout.slots // 8)))
    else:
        # without multi_models, lag -1 is the value `shift + chunk` steps before the step to forecast
        nearest, most = shift + chunk, max(2, layout.days // 2)
        far = [days * layout.slots for days in FAR_DAYS if days <= most and days * layout.slots >= nearest]
        around = sorted({0, 1, layout.slots // 24, layout.slots // 8})
        distances = {nearest + step for step in around} | set(far)
        chosen["lags"] = sorted(nearest - 1 - distance for distance in distances)
        chosen["lags_future_covariates"] = [chunk - 1]
    return chosen | REGRESSORS.get(name, {})


REGRESSORS: dict[str, dict[str, Any]] = {
    # a second thread spins while other work holds the core
    "LightGBMModel": {"n_estimators": 100, "deterministic": True, "force_row_wise": True, "num_threads": 1,
                      "verbose": -1},
    "XGBModel": {"n_estimators": 100, "n_jobs": 1},
    "CatBoostModel": {"n_estimators": 300, "thread_count": 1, "allow_writing_files": False},
    "RandomForest": {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 0.5, "n_jobs": 1},
    "RandomForestModel": {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 0.5, "n_jobs": 1},
}  # fmt: skip


def torch_arguments(given: dict[str, Any], layout: DayLayout, seed: int) -> dict[str, Any]:
    """Window, few epochs and a silent trainer on the processor."""
    window = given.get("input_chunk_length", min(LAG_DAYS, max(1, layout.days // 3)) * layout.slots)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return {
        "input_chunk_length": window,
        "n_epochs": 5,
        "batch_size": 128,
        "random_state": seed,
        "pl_trainer_kwargs": {"accelerator": "cpu", "enable_checkpointing": False, **quiet},
    }


def prepared(name: str, model_class: Any, chosen: dict[str, Any], levels: tuple[float, ...]) -> dict[str, Any]:
    """Arguments with words of the scenario replaced by the objects that Darts takes."""
    families = {base.__name__ for base in model_class.__mro__}
    if chosen.get("likelihood") == "quantile":
        chosen = {"quantiles": symmetric_levels(levels), **chosen}
        if "TorchForecastingModel" in families:
            from darts.utils.likelihood_models.torch import QuantileRegression

            chosen["likelihood"] = QuantileRegression(chosen.pop("quantiles"))
    if name in ("RNNModel",):
        chosen.pop("output_chunk_length", None)
        chosen.setdefault("training_length", 2 * chosen["input_chunk_length"])
    if name in ("SKLearnModel", "RegressionModel") and isinstance(chosen.get("model", "Ridge"), str):
        return with_regressor(model_class, {"model": "Ridge", **chosen})
    return chosen


def with_regressor(model_class: Any, chosen: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a SKLearnModel, its regressor built from the name and the arguments that the model has not."""
    accepted = inspect.signature(model_class.__init__).parameters
    regressor = find_regressor(chosen["model"])
    own = {key: value for key, value in chosen.items() if key not in accepted}
    if chosen["model"] == "Ridge":
        own.setdefault("alpha", 30.0)
    seeded = "random_state" in inspect.signature(regressor).parameters
    if seeded and "random_state" not in own:
        own["random_state"] = chosen.get("random_state")
    return {key: value for key, value in chosen.items() if key in accepted} | {"model": regressor(**own)}


def find_regressor(name: str) -> Any:
    """Regressor class of scikit-learn; ValueError with the nearest spelling."""
    from sklearn.utils import all_estimators

    known = dict(all_estimators(type_filter="regressor"))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        raise ValueError(f"scikit-learn has no regressor {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    return known[name]


def is_linear(name: str, given: dict[str, Any]) -> bool:
    """Whether a regression forecasts the whole day from one row: linear, and with a penalty, as days are few."""
    if name == "LinearRegressionModel":
        return False
    regressor = given.get("model", "Ridge")
    owner = find_regressor(regressor) if isinstance(regressor, str) else type(regressor)
    return str(owner.__module__).startswith("sklearn.linear_model") and owner.__name__ != "LinearRegression"


def symmetric_levels(levels: tuple[float, ...]) -> list[float]:
    """Levels with their mirror images and the median, as Darts' quantile models ask for.

    >>> symmetric_levels((0.1, 0.75))
    [0.1, 0.25, 0.5, 0.75, 0.9]
    """
    both = {round(level, 10) for level in levels} | {round(1 - level, 10) for level in levels} | {0.5}
    return sorted(both)


def training_rows(name: str, families: set[str]) -> int:
    """Most rows that a model learns from."""
    return TORCH_ROWS if "TorchForecastingModel" in families else TRAINING_ROWS.get(name, OTHER_ROWS)


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what Darts, or a library below it, raises on wrong arguments into one `DataError`."""
    try:
        yield
    except DataError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, ImportError, NotImplementedError, np.linalg.LinAlgError,
            RuntimeError) as error:  # fmt: skip
        raise DataError(
            [
                Finding(
                    f"{name} refuses its arguments or the data: {type(error).__name__}: {str(error).strip()}",
                    "forecast.arguments",
                    severity="error",
                    code="GT-F03",
                )
            ]
        ) from error
