"""Any Darts model as a rolled day-ahead forecast: local days on our side, UTC series on Darts'.

Darts forecasts a fixed number of steps from the end of a regular series. A day-ahead
forecast begins at the next local midnight, hours after issue, and covers 92 to 100
quarter hours. So every model gets series that end at issue, jumps over the hours to
midnight by `output_chunk_shift` (or forecasts them too, where it knows no shift), and
covers the longest day asked for; what lies beyond a shorter day is dropped. Between
switches of the clock issues lie 24 hours apart, and one call of `historical_forecasts`
gives all days of such a run.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.darts_models import (
    CONFORMAL,
    LOCAL_DAYS,
    build_darts_model,
    calibration_days,
    check_darts_name,
    explained,
    training_rows,
    wrap_conformal,
)
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.features import calendar_features
from gridtwin.forecast.issue_steps import DayLayout, Issues, extended, longer_grid
from gridtwin.forecast.rolled import Rolled
from gridtwin.nomenclature import ASSET_KINDS

WITH_COVARIATES = ("ARIMA",)
"""Models of one series that are given the covariates; the others that could take them have seasons of their own."""
SAMPLES = 200
"""Drawn where a model's likelihood has no quantiles."""


def roll_darts(
    name: str,
    arguments: dict[str, Any],
    cube: np.ndarray,
    grid: ClockGrid,
    known: int,
    *,
    first: int,
    covariates: Covariates,
    kind: np.ndarray,
    seed: int,
    levels: tuple[float, ...],
) -> Rolled:
    """Rolled forecast of the days from `first` on by a Darts model.

    Parameters
    ----------
    name : str
        Model of `darts.models`.
    arguments : dict
        Replace the defaults, see `darts_models.build_darts_model`.
    cube : ndarray, (day, slot, asset)
        Relative power, gaps substituted, NaN before a series begins and after the last issue.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    first : int
        First day to forecast. Models over all series learn once, from what was known at its issue; models of
        one series are fitted anew for each day, on the last LOCAL_DAYS days.
    covariates : Covariates
        Known at the issue of each day.
    kind : ndarray of str, (asset,)
        Kind of asset, the static covariate.
    seed : int
        Seed of the model.
    levels : tuple of float
        Quantiles asked for where the arguments ask for a likelihood. [-]

    Returns
    -------
    Rolled
        NaN before `first`, and for a series that is too short for the model. Quantiles where the model has a
        likelihood, at the levels that it has.

    Raises
    ------
    DataError
        If the model is unknown, not installed, or refuses its arguments or the data.
    """
    check_darts_name(name)
    issues = Issues.of_grid(grid, known, first)
    layout = issues.layout(grid.slots)
    inner = inner_of(name, arguments)
    model = build_darts_model(*inner, layout, seed=seed, levels=levels)
    finish = partial(wrap_conformal, name, arguments=arguments, layout=layout, seed=seed, levels=levels)
    border = Border(
        inner[0], model, issues, layout, longer_grid(grid).axis.times, finish if name in CONFORMAL else None
    )
    series = border.series_of(grid.to_steps(cube), kind)
    known_ahead = border.covariates_of(grid, covariates, cube.shape[2])
    with warnings.catch_warnings(), explained(name):
        # fits of many series: a line that did not converge is scored like any other
        warnings.simplefilter("ignore")
        values, has_levels = border.roll(series, known_ahead)
    return border.rolled(values, has_levels, grid)


def inner_of(name: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the model to fit: of a conformal model, the one that it wraps."""
    if name not in CONFORMAL:
        return name, arguments
    given = arguments.get("model", {"name": "SKLearnModel"})
    with explained(name):
        if not isinstance(given, dict) or "name" not in given:
            raise ValueError('model must be a table with a name, such as {"name": "SKLearnModel"}')
    return str(given["name"]), {key: value for key, value in given.items() if key != "name"}


@dataclass(frozen=True)
class Border:
    """A Darts model between our arrays and its series.

    Parameters
    ----------
    name, model
        The model that is fitted.
    issues, layout
        When to forecast, and what.
    times : DatetimeIndex
        UTC, of all steps and a day beyond.
    finish : callable, optional
        Makes the fitted model the one that forecasts.
    """

    name: str
    model: Any
    issues: Issues
    layout: DayLayout
    times: pd.DatetimeIndex
    finish: Callable[[Any], Any] | None

    @property
    def families(self) -> set[str]:
        """Names of the classes above the model."""
        return {base.__name__ for base in type(self.model).__mro__}

    @property
    def horizon(self) -> int:
        """Steps to forecast after the model's own shift."""
        shift = int(self.model.output_chunk_shift)
        if shift > self.layout.shift:
            raise ValueError(f"output_chunk_shift {shift} skips steps of the day: at most {self.layout.shift}")
        return self.layout.shift + self.layout.chunk - shift

    @property
    def is_local(self) -> bool:
        """Whether the model has to be fitted for each series and issue."""
        return not self.model._supports_non_retrainable_historical_forecasts or any(
            "GlobalForecastingModel" not in {base.__name__ for base in type(part).__mro__}
            for part in getattr(self.model, "forecasting_models", [])
        )

    def series_of(self, steps: np.ndarray, kind: np.ndarray) -> list[Any]:
        """Darts series up to the last issue from the end of the last gap on; None for one that is too short."""
        from darts import TimeSeries

        values = steps[: self.issues.issue[-1]].astype(np.float32 if self.is_neural else np.float64)
        static = self.static_covariates(kind)
        series: list[Any] = []
        for asset in range(values.shape[1]):
            gaps = np.flatnonzero(np.isnan(values[:, asset]))
            start = int(gaps[-1]) + 1 if len(gaps) else 0
            if self.issues.issue[0] - start < self.least_steps:
                series.append(None)
                continue
            part = values[start:, asset, np.newaxis, np.newaxis]
            times = self.times[start : len(values)]
            series.append(TimeSeries(times, part, components=["p"], static_covariates=static[asset], copy=False))
        return series

    @property
    def least_steps(self) -> int:
        """Steps of history that a model needs before its first issue."""
        return int(self.model.min_train_series_length)

    @property
    def is_neural(self) -> bool:
        """Whether the model runs on torch, and so on numbers of 32 bits."""
        return "TorchForecastingModel" in self.families

    def static_covariates(self, kind: np.ndarray) -> list[pd.DataFrame | None]:
        """Kind of each asset as a row of zeros and a one, for models that look at it."""
        present = [word for word in ASSET_KINDS if word in set(kind.tolist())]
        if not self.model.supports_static_covariates or len(present) < 2:
            return [None] * len(kind)
        return [pd.DataFrame([[np.float32(word == own) for word in present]], columns=present) for own in kind]

    def covariates_of(self, grid: ClockGrid, covariates: Covariates, assets: int) -> list[Any] | None:
        """Calendar, sun and what was given of every asset, over all steps and the day beyond; None if unused."""
        if not self.takes_covariates:
            return None
        from darts import TimeSeries

        longer = longer_grid(grid)
        weather = [grid.to_steps(one) for one in covariates.weather.values()]
        shared = [
            calendar_features(longer),
            *(extended(one, longer)[:, np.newaxis] for one in weather if one.ndim == 1),
        ]
        own = [extended(one, longer) for one in weather if one.ndim == 2]
        if covariates.own is not None:
            own.append(extended(grid.to_steps(covariates.own), longer))
        dtype = np.float32 if self.is_neural else np.float64
        block = np.concatenate(shared, axis=1).astype(dtype)
        if not own:
            return [TimeSeries(self.times, block[:, :, np.newaxis], copy=False)] * assets
        blocks = (np.column_stack([block, *(one[:, asset] for one in own)]).astype(dtype) for asset in range(assets))
        return [TimeSeries(self.times, one[:, :, np.newaxis], copy=False) for one in blocks]

    @property
    def takes_covariates(self) -> bool:
        """Whether the model is given future covariates."""
        inner = [self.model, *getattr(self.model, "forecasting_models", []), getattr(self.model, "model", None)]
        if "LocalForecastingModel" in self.families:
            return self.name in WITH_COVARIATES
        wanted = [getattr(part, "lags", {}).get("future") for part in inner if hasattr(part, "multi_models")]
        return any(wanted) if wanted else bool(self.model.supports_future_covariates)

    def roll(self, series: list[Any], covariates: list[Any] | None) -> tuple[np.ndarray, tuple[float, ...]]:
        """Forecasts, (asset, forecast, step, component), NaN where a series is too short; levels of the components."""
        chosen = [number for number, one in enumerate(series) if one is not None]
        if not chosen:
            return np.full((len(series), len(self.issues.days), self.horizon, 1), np.nan), ()
        there = [series[number] for number in chosen]
        ahead = [covariates[number] for number in chosen] if covariates is not None else None
        levels: tuple[float, ...] = ()
        if self.is_local:
            found = self.roll_anew(there, ahead)
        elif "LocalForecastingModel" in self.families:
            each = [self.roll_once([one], ahead and [ahead[number]])[0] for number, one in enumerate(there)]
            found = np.concatenate(each)
        else:
            found, levels = self.roll_once(there, ahead)
        values = np.full((len(series), *found.shape[1:]), np.nan)
        values[chosen] = found
        return values, levels

    def roll_anew(self, series: list[Any], covariates: list[Any] | None) -> np.ndarray:
        """Fit every series again at every issue."""
        rolled = np.empty((len(series), len(self.issues.days), self.horizon, 1))
        for asset, one in enumerate(series):
            for number, issue in enumerate(self.issues.issue):
                known = self.known_at(one, issue)[-LOCAL_DAYS * self.layout.slots :]
                model = self.model.untrained_model()
                if covariates is None:
                    forecast = model.fit(known).predict(self.horizon)
                else:
                    forecast = model.fit(known, future_covariates=covariates[asset]).predict(
                        self.horizon, future_covariates=covariates[asset]
                    )
                rolled[asset, number] = forecast.values(copy=False)
        return rolled

    def roll_once(self, series: list[Any], covariates: list[Any] | None) -> tuple[np.ndarray, tuple[float, ...]]:
        """Fit once before the first issue, then forecast run by run on Darts' own road."""
        model = self.model
        lessons = [self.known_at(one, self.lessons_end()) for one in series]
        settings: dict[str, Any] = {} if covariates is None else {"future_covariates": covariates}
        local = "LocalForecastingModel" in self.families
        fitted = {key: value[0] if local else value for key, value in settings.items()}
        model.fit(lessons[0] if local else lessons, **fitted, **self.stride_of(lessons))
        model = self.finish(model) if self.finish else model
        levels = levels_of(model)
        settings |= output_settings(model)
        runs = []
        for run in self.issues.runs(self.reach):
            seen = {} if covariates is None else {"future_covariates": self.known_by(covariates, run)}
            runs.append(self.roll_run(model, series, run, settings | seen, levels))
        return np.concatenate(runs, axis=1), levels

    @property
    def reach(self) -> int:
        """Steps after issue whose covariates enter the forecast of every step; 0 where each step sees its own."""
        if self.is_neural:
            return self.layout.shift + self.layout.chunk
        parts = getattr(self.model, "forecasting_models", [self.model])
        at_once = [part for part in parts if getattr(part, "multi_models", False)]
        return max((int(max(part.lags.get("future", [-1]))) + 1 for part in at_once), default=0)

    def known_by(self, covariates: list[Any], run: slice) -> list[Any]:
        """Covariates with the last value of the run's last day from its end on: later ones were not known at issue."""
        from darts import TimeSeries

        end, cut = int(self.issues.end[run][-1]), {}
        for one in covariates:
            if id(one) not in cut:
                values = one.all_values(copy=True)
                values[end:] = values[end - 1]
                cut[id(one)] = TimeSeries(self.times, values, copy=False)
        return [cut[id(one)] for one in covariates]

    def lessons_end(self) -> int:
        """Step before which a model learns: the first issue, less what keeps its rows at the hour of issue."""
        issue = int(self.issues.issue[0])
        if self.finish:
            issue -= calibration_days(self.layout) * self.layout.slots
        if not getattr(self.model, "multi_models", False):
            return issue
        # Darts counts rows back from the last whole target; rows should lie whole days before the issue
        return issue - (-int(self.model.output_chunk_shift) - int(self.model.output_chunk_length)) % self.layout.slots

    def stride_of(self, lessons: list[Any]) -> dict[str, int]:
        """Every how many steps a row to learn from is taken."""
        if "SKLearnModel" not in self.families and not self.is_neural:
            return {}
        if getattr(self.model, "multi_models", False):
            return {"stride": self.layout.slots}
        stride = max(1, sum(map(len, lessons)) // training_rows(self.name, self.families))
        while math.gcd(stride, self.layout.slots) > 1:  # prime to the day, so that all hours are seen
            stride += 1
        return {"stride": stride}

    def roll_run(
        self, model: Any, series: list[Any], run: slice, settings: dict[str, Any], levels: tuple[float, ...]
    ) -> np.ndarray:
        """Forecasts of a run of regular days, (asset, forecast, step, component)."""
        issue = self.issues.issue[run]
        rolled = model.historical_forecasts(
            [self.window(one, int(issue[0]), int(issue[-1])) for one in series],
            start=self.times[issue[0]] if len(issue) > 1 else "end",
            forecast_horizon=self.horizon,
            stride=int(issue[1] - issue[0]) if len(issue) > 1 else self.layout.slots,
            overlap_end=True,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
            **settings,
        )
        return np.stack([[output_of(one, levels) for one in forecasts] for forecasts in rolled])

    def window(self, series: Any, first: int, last: int) -> Any:
        """Series up to the last issue; for regressions from the first lag on, as Darts tabulates every step of it."""
        known = self.known_at(series, last)
        if "SKLearnModel" not in self.families or self.finish:
            return known
        lags = self.model.lags.get("target", [-1])
        back = -min(lags) + (0 if self.model.multi_models else self.model.output_chunk_length - 1)
        return known[max(0, len(known) - (last - first) - back) :]

    def known_at(self, series: Any, issue: int) -> Any:
        """Part of a series before a step of the grid."""
        start = int(self.times.searchsorted(series.start_time()))
        return series[: issue - start]

    def rolled(self, values: np.ndarray, levels: tuple[float, ...], grid: ClockGrid) -> Rolled:
        """Forecasts laid on local days."""
        shift = int(self.model.output_chunk_shift)
        steps = np.full((grid.axis.length, len(values), values.shape[3]), np.nan)
        parts = zip(self.issues.issue, self.issues.begin, self.issues.end, strict=True)
        for number, (issue, begin, end) in enumerate(parts):
            ahead = values[:, number, begin - issue - shift : end - issue - shift]
            steps[begin:end] = ahead.swapaxes(0, 1)
        cubes = np.moveaxis(grid.to_cube(steps), 3, 0)
        if not levels:
            return Rolled(cubes[0])
        return Rolled(cubes[int(np.argmin(np.abs(np.array(levels) - 0.5)))], cubes, levels)


def own_quantiles(model: Any) -> list[float]:
    """Quantiles that the model, or its likelihood, was built for."""
    found = getattr(model, "quantiles", None)
    found = getattr(model.likelihood, "quantiles", None) if found is None else found
    return [] if found is None else [float(level) for level in found]


def output_settings(model: Any) -> dict[str, Any]:
    """Quantiles where the model has them, samples where it has another likelihood."""
    if model.likelihood is None:
        return {}
    if own_quantiles(model) and model.supports_likelihood_parameter_prediction:
        return {"predict_likelihood_parameters": True}
    return {"num_samples": SAMPLES}


def levels_of(model: Any) -> tuple[float, ...]:
    """Quantiles that the model gives; none for a point forecast."""
    if model.likelihood is None:
        return ()
    return tuple(own_quantiles(model)) or SAMPLED_LEVELS


def output_of(forecast: Any, levels: tuple[float, ...]) -> np.ndarray:
    """Point, or quantiles, of one forecast, (step, component)."""
    if forecast.n_samples == 1:
        return np.asarray(forecast.values(copy=False))
    return np.asarray(np.quantile(forecast.all_values(copy=False)[:, 0], levels, axis=1).T)


SAMPLED_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Quantiles taken of the samples of a likelihood that has none of its own."""
