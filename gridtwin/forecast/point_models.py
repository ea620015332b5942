"""The models by their names: from what was known to a rolled forecast of every day."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.rolled import Rolled


@dataclass(frozen=True)
class ModelInputs:
    """What every model may see.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power of the modelled assets, gaps substituted, NaN before a series begins.
    naive : ndarray, (day, slot, asset)
        Seasonal naive forecast.
    kind : ndarray of str, (asset,)
        Kind of asset.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    first : int
        First day whose forecast is needed; models that do not learn day by day learn from the days before it.
    covariates : Covariates
        Known at the issue of each day.
    levels : tuple of float
        Quantiles that are asked for. [-]
    arguments : dict
        Of a Darts model.
    seed : int
        Of models with chance in them.
    """

    cube: np.ndarray
    naive: np.ndarray
    kind: np.ndarray
    grid: ClockGrid
    known: int
    first: int
    covariates: Covariates = field(default_factory=Covariates.none)
    levels: tuple[float, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


def roll_model(name: str, inputs: ModelInputs) -> Rolled:
    """Rolled forecast by the model of this name.

    Raises
    ------
    DataError
        If there is no such model, or it refuses its arguments.
    """
    check_model(name)
    if name in OWN_MODELS:
        return OWN_MODELS[name](inputs)
    if name in ("LightGBMModel", "SKLearnModel"):
        return _roll_steps(name, inputs)  # TEMPORARY until darts_road lands
    from gridtwin.forecast.darts_road import roll_darts

    return roll_darts(
        name,
        inputs.arguments,
        inputs.cube,
        inputs.grid,
        inputs.known,
        first=inputs.first,
        covariates=inputs.covariates,
        kind=inputs.kind,
        seed=inputs.seed,
        levels=inputs.levels,
    )


def check_model(name: str) -> None:
    """Raise `DataError` unless the name is one of ours or of Darts."""
    if name in OWN_MODELS:
        return
    import darts.models

    names = [*OWN_MODELS, *darts.models.__all__]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise DataError(
            [
                Finding(
                    "unknown model",
                    "forecast.model",
                    expected=f"{', '.join(OWN_MODELS)} or a model of Darts",
                    got=name,
                    do=f"Did you mean {near[0]}?" if near else "",
                    severity="error",
                    code="GT-F02",
                )
            ]
        )


def _roll_ridge(inputs: ModelInputs) -> Rolled:
    return Rolled(
        roll_ridge_days(
            inputs.cube, inputs.grid, inputs.known, training=inputs.first, covariates=inputs.covariates
        )
    )


def _roll_steps(name: str, inputs: ModelInputs) -> Rolled:
    from gridtwin.forecast.features import WARM_UP_DAYS, build_features
    from gridtwin.forecast.model import train_and_predict

    grid, cube = inputs.grid, inputs.cube
    training = slice(grid.steps_from(WARM_UP_DAYS).start, grid.steps_from(inputs.first).start)
    predicted = train_and_predict(
        name, build_features(cube, grid, inputs.known), grid.to_steps(cube).T, inputs.kind,
        times=grid.axis.times, training=training, seed=inputs.seed,
    )  # fmt: skip
    steps = np.full((grid.axis.length, cube.shape[2]), np.nan, dtype=np.float32)
    steps[training.stop :] = predicted.T
    return Rolled(grid.to_cube(steps))


def _roll_naive(inputs: ModelInputs) -> Rolled:
    return Rolled(inputs.naive)


OWN_MODELS: dict[str, Callable[[ModelInputs], Rolled]] = {
    "DayAheadRidge": _roll_ridge,
    "SeasonalNaive": _roll_naive,
}
"""Name in a scenario -> the model."""
