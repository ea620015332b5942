"""The models by their names: from what was known to a rolled forecast of every day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.model_blend import blend_models, simple_members
from gridtwin.forecast.physical_members import roll_physics
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.rolled import Rolled
from gridtwin.forecast.switched import rests_mostly
from gridtwin.forecast.trees import roll_trees

MISSING_TAKEN = ("LightGBMModel", "XGBModel", "CatBoostModel")
"""Darts models whose covariates may hold missing values."""


@dataclass(frozen=True)
class ModelInputs:
    """What every model may see.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power of the modelled assets, gaps substituted, NaN before a series begins.
    actual : ndarray, (day, slot, asset)
        The same without what was substituted: the weights of a blend compare with it.
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
    actual: np.ndarray
    naive: np.ndarray
    kind: np.ndarray
    grid: ClockGrid
    known: int
    first: int
    covariates: Covariates = field(default_factory=Covariates.none)
    levels: tuple[float, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def of_assets(self, chosen: np.ndarray) -> ModelInputs:
        """The same for some of the assets."""
        cubes = {name: getattr(self, name)[:, :, chosen] for name in ("cube", "actual", "naive")}
        return replace(self, kind=self.kind[chosen], covariates=self.covariates.of_assets(chosen), **cubes)


def roll_model(name: str, inputs: ModelInputs) -> Rolled:
    """Rolled forecast by the model of this name.

    Raises
    ------
    DataError
        If there is no such model, or it refuses its arguments.
    """
    check_model(name, inputs.arguments)
    if name in OWN_MODELS:
        return OWN_MODELS[name](inputs)
    from gridtwin.forecast.darts_road import roll_darts

    check_given_forecasts(name, inputs.covariates)
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


def check_model(name: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Raise `DataError` unless the name is one of ours, without arguments, or of Darts."""
    if name in OWN_MODELS:
        if arguments:
            what = f"{name} takes no arguments; those of a Darts model do not carry over"
            raise DataError([Finding(what, "forecast.arguments", got=", ".join(arguments), severity="error",
                                     code="GT-F03")])  # fmt: skip
        return
    from gridtwin.forecast.darts_models import check_darts_name

    check_darts_name(name)


def check_given_forecasts(name: str, covariates: Covariates) -> None:
    """Raise `DataError` where only some assets have a given forecast and the model knows no missing values."""
    if covariates.own is None or name in MISSING_TAKEN or np.isfinite(covariates.own).all():
        return
    raise DataError(
        [
            Finding(
                f"{name} needs a given forecast of every asset, or of none",
                "forecast.given",
                do=f"Give all, or take a model that knows missing values: DayAheadRidge, {', '.join(MISSING_TAKEN)}.",
                severity="error",
                code="GT-F06",
            )
        ]
    )


def _roll_ridge(inputs: ModelInputs) -> Rolled:
    """The ridge; PV, and wind whose weather is known, blended with their physics."""
    ridge = _ridge_cube(inputs)
    physical = np.flatnonzero(np.isin(inputs.kind, ("pv", "wind")))
    if len(physical):
        part = inputs.of_assets(physical)
        members = {"ridge": Rolled(ridge[:, :, physical]), "physics": _roll_physics(part)}
        ridge[:, :, physical] = blend_models(members, part.actual).rolled.point
    return Rolled(ridge)


def _roll_trees(inputs: ModelInputs) -> Rolled:
    return _trees_on(inputs, _ridge_cube(inputs))


def _roll_blend(inputs: ModelInputs) -> Rolled:
    ridge = _ridge_cube(inputs)
    members = {
        "ridge": Rolled(ridge),
        "trees": _trees_on(inputs, ridge),
        "physics": _roll_physics(inputs),
        **simple_members(inputs.cube, inputs.grid, inputs.kind),
    }
    return blend_models(members, inputs.actual).rolled


def _roll_naive(inputs: ModelInputs) -> Rolled:
    return Rolled(inputs.naive)


def _ridge_cube(inputs: ModelInputs) -> np.ndarray:
    """The ridge of all assets; those with a given forecast start from it."""
    own = inputs.covariates.own
    if own is None or np.isfinite(own).all():
        return roll_ridge_days(
            inputs.cube, inputs.grid, inputs.known, training=inputs.first - 1, covariates=inputs.covariates
        )
    given = np.isfinite(own).all(axis=(0, 1))
    cube = np.empty(inputs.cube.shape, dtype=inputs.cube.dtype)
    for chosen in (np.flatnonzero(given), np.flatnonzero(~given)):
        part = inputs.of_assets(chosen)
        alone = part if given[chosen].any() else replace(part, covariates=Covariates(part.covariates.weather))
        if len(chosen):
            cube[:, :, chosen] = _ridge_cube(alone)
    return cube


def _trees_on(inputs: ModelInputs, ridge: np.ndarray) -> Rolled:
    """Trees on the ridge; assets that rest mostly keep the ridge, as the median of a car is no car."""
    trees = roll_trees(
        inputs.cube,
        inputs.grid,
        inputs.known,
        kind=inputs.kind,
        first=inputs.first,
        ridge=ridge,
        covariates=inputs.covariates,
        seed=inputs.seed,
        levels=inputs.levels,
    )
    assert trees.quantiles is not None
    switched = rests_mostly(inputs.cube[: inputs.first - 1], inputs.kind)
    quantiles = np.where(switched, np.float32(np.nan), trees.quantiles)
    return Rolled(np.where(switched, ridge, trees.point), quantiles, trees.levels)


def _roll_physics(inputs: ModelInputs) -> Rolled:
    return Rolled(
        roll_physics(inputs.cube, inputs.grid, inputs.known, kind=inputs.kind, weather=inputs.covariates.weather)
    )


OWN_MODELS: dict[str, Callable[[ModelInputs], Rolled]] = {
    "DayAheadRidge": _roll_ridge,
    "DayAheadTrees": _roll_trees,
    "DayAheadBlend": _roll_blend,
    "SeasonalNaive": _roll_naive,
}
"""Name in a scenario -> the model."""
