"""OpenSTEF 3.4 on one series, run by the Python of an environment that has it: `python openstef_side.py FOLDER`.

The folder holds `input.csv` (UTC index, `load` first, then predictors) and `job.json`; `quantiles.csv` is written.
This file imports nothing of gridtwin: its environment does not have it. The environment is made by

    python3 -m venv ENV && ENV/bin/pip install "openstef==3.4.*" "xgboost==2.*"
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def main(folder: Path) -> None:
    """Every origin of the job: retrain where due, forecast with the load after the issue removed."""
    quiet()
    from openstef.data_classes.model_specifications import ModelSpecificationDataClass
    from openstef.data_classes.prediction_job import PredictionJobDataClass
    from openstef.exceptions import InputDataInsufficientError, InputDataOngoingFlatlinerError
    from openstef.pipeline import train_model
    from openstef.pipeline.create_forecast import create_forecast_pipeline_core

    train_model.Reporter = NoFigures
    job: dict[str, Any] = json.loads((folder / "job.json").read_text())
    table = pd.read_csv(folder / "input.csv", index_col=0, parse_dates=[0])
    table.index = pd.to_datetime(table.index, utc=True)
    prediction_job = PredictionJobDataClass(**job["prediction_job"])
    model = specs = None
    seconds = {"train": 0.0, "predict": 0.0}
    parts, refused = [], []
    for number, origin in enumerate(job["origins"]):
        issue, begin, end = (pd.Timestamp(origin[name]) for name in ("issue", "begin", "end"))
        known = table["load"].where(table.index < issue)
        try:
            if model is None or number % job["retrain_origins"] == 0:
                np.random.seed(job["seed"])  # noqa: NPY002 - its split into training and validation draws from here
                started = time.perf_counter()
                rows = table[table.index < issue].dropna(subset="load")
                fresh = ModelSpecificationDataClass(id=prediction_job.id)
                model, _, specs, _ = train_model.train_model_pipeline_core(
                    prediction_job, fresh, rows, horizons=job["horizons_hours"], ignore_existing_models=True
                )
                model.path = "trained here"  # the serializer would name the file
                seconds["train"] += time.perf_counter() - started
            started = time.perf_counter()
            given = table.assign(load=known).loc[issue - pd.Timedelta(days=job["look_back_days"]) : end]
            forecast = create_forecast_pipeline_core(prediction_job, given, model, specs)
            seconds["predict"] += time.perf_counter() - started
        except (InputDataInsufficientError, InputDataOngoingFlatlinerError) as error:
            refused.append({"issue": str(issue), "why": type(error).__name__})
            continue
        parts.append(forecast.loc[(forecast.index >= begin) & (forecast.index < end)])
    names = [f"quantile_P{100 * level:02.0f}" for level in job["prediction_job"]["quantiles"]]
    told = pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)
    told.to_csv(folder / "quantiles.csv")
    (folder / "done.json").write_text(json.dumps({"seconds": seconds, "refused": refused, "version": version()}))


class NoFigures:
    """In place of the figures of each training, which take a tenth of its time and change nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def generate_report(self, _: object) -> None:
        """None is asked for."""


def quiet() -> None:
    """Only errors are shown."""
    import structlog

    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def version() -> str:
    """Of OpenSTEF."""
    from importlib.metadata import version as of

    return of("openstef")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
