"""The ridge regression of the default forecast as a Darts model, with every backtest in closed form.

`DayAheadRidge` is Darts' `SKLearnModel` with a ridge regression, except that each
series of a list has a regression of its own, and that `historical_forecasts` needs no
loop: with `retrain=False` the forecasts of all origins are one matrix product per
series, with `retrain=True` or an interval all refits come from one Cholesky factor
(`ridge.roll_ridge`). The numbers are those of Darts' own road over the same rows.

The study's default, `ridge_days.roll_ridge_days`, is the same estimator with other
features: it works on local days (92 to 100 quarter hours), adds similar days and
blends three penalties, which lags on a UTC axis cannot express. This class is the
model to use inside a Darts program, and the proof that the estimator is the one
that Darts would fit.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models import SKLearnModel
from darts.utils.historical_forecasts.utils import _get_historical_forecasts_setup
from sklearn.linear_model import Ridge

from gridtwin.forecast.ridge import fit_ridge, roll_ridge

SETTINGS_OF_THE_GENERAL_ROAD = {
    "train_length": None,
    "val_length": 0,
    "apply_globally": False,
    "data_transformers": None,
    "fit_kwargs": None,
    "predict_kwargs": None,
    "sample_weight": None,
    "past_covariates": None,
    "enable_optimization": True,
}
"""Arguments of `historical_forecasts` for which the closed form stands, by their default."""


@dataclass(frozen=True)
class Origins:
    """Forecasts of one series from many origins.

    Parameters
    ----------
    first : Timestamp or int
        Stamp of the first origin: the step after the last value that it knows.
    values : ndarray, (origin, step)
        Step 0 is `output_chunk_shift` steps after the origin. NaN where features are missing or no row teaches.
    """

    first: Any
    values: np.ndarray


class DayAheadRidge(SKLearnModel):  # type: ignore[misc]  # Darts has no type hints that mypy may follow
    """Ridge regression per series, all steps of the day at once.

    Parameters
    ----------
    lags : int or list of int, optional
        As in `SKLearnModel`.
    lags_future_covariates : tuple or list of int, optional
        As in `SKLearnModel`: counted from the first forecast step.
    output_chunk_length : int
        Steps of the forecast day.
    output_chunk_shift : int
        Steps between issue and the first forecast step (issue at noon: 48 quarter hours).
    penalty : float
        Of the squared coefficients, scikit-learn's `alpha`.
    training_stride : int
        Steps between rows to learn from. Rows lie whole strides before the end of the training series, so that
        they see the clock as the forecast does. (Darts counts back from the last complete target instead; the two
        agree where `output_chunk_shift` is a multiple of the stride, or where the series is cut by the rest.)

    Raises
    ------
    ValueError
        On lags by component, past covariates, several components or samples, none of which it has.

    Notes
    -----
    Fitted on a list, it tells the series of later calls apart by the name of their
    component; lists with equal names must have the fitted length, and are taken in order.
    Rows with a missing value teach nothing (Darts' own `Ridge` raises).
    """

    def __init__(
        self,
        lags: int | list[int] | None = None,
        lags_future_covariates: tuple[int, int] | list[int] | None = None,
        output_chunk_length: int = 96,
        output_chunk_shift: int = 0,
        penalty: float = 10.0,
        training_stride: int = 96,
    ) -> None:
        super().__init__(
            lags=lags,
            lags_future_covariates=lags_future_covariates,
            output_chunk_length=output_chunk_length,
            output_chunk_shift=output_chunk_shift,
            model=Ridge(alpha=penalty),
            use_static_covariates=False,
        )
        if self.component_lags:
            raise ValueError("DayAheadRidge takes one list of lags for all components, not one for each")
        self.penalty, self.training_stride = penalty, training_stride
        self._names: list[str] = []
        self._weights: np.ndarray = np.empty((0, 0, 0))
        self._intercept: np.ndarray = np.empty((0, 0))

    @property
    def supports_multivariate(self) -> bool:
        """No: one regression per component needs one series per component."""
        return False

    @property
    def supports_sample_weight(self) -> bool:
        """No."""
        return False

    def fit(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        verbose: bool | None = None,
    ) -> DayAheadRidge:
        """Fit one regression per series; see `SKLearnModel.fit`."""
        for one in as_list(series):
            if one.width > 1:
                raise ValueError(f"DayAheadRidge forecasts univariate series, got {one.width} components")
        super().fit(series=series, past_covariates=past_covariates, future_covariates=future_covariates)
        return self

    def _fit_model(
        self, series: list[TimeSeries], *, future_covariates: list[TimeSeries] | None = None, **others: Any
    ) -> None:
        """Fit one regression per series, called by `SKLearnModel.fit` after its checks."""
        self._names = [one.components[0] for one in series]
        fitted = [self._fit_one(*pair) for pair in self._pairs(series, future_covariates)]
        self._weights = np.stack([weights for weights, _ in fitted])
        self._intercept = np.stack([intercept for _, intercept in fitted])

    def predict(
        self,
        n: int,
        series: TimeSeries | Sequence[TimeSeries] | None = None,
        past_covariates: None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        **settings: Any,
    ) -> TimeSeries | list[TimeSeries]:
        """Forecast the `n` steps after the shift; see `SKLearnModel.predict`."""
        asked = self.training_series if series is None else series
        numbers = None if asked is None else self._regressions_of(as_list(asked))
        return super().predict(
            n, series, past_covariates, future_covariates=future_covariates, numbers=numbers, **settings
        )

    def _predict(
        self,
        x: np.ndarray,
        num_samples: int,
        predict_likelihood_parameters: bool,
        random_state: int | None = None,
        verbose: bool | None = None,
        *,
        numbers: np.ndarray,
    ) -> np.ndarray:
        """Forecast of one row of features per series, (series, step, 1)."""
        forecast = np.einsum("sf,sfo->so", x.reshape(len(x), -1), self._weights[numbers])
        return np.asarray(forecast + self._intercept[numbers])[:, :, np.newaxis]

    @functools.wraps(SKLearnModel.historical_forecasts)
    def historical_forecasts(self, *given: Any, **named: Any) -> Any:
        """Darts' `historical_forecasts`; in closed form where the settings allow, by Darts' loop elsewhere."""
        bound = inspect.signature(SKLearnModel.historical_forecasts).bind(self, *given, **named)
        bound.apply_defaults()
        settings = {name: value for name, value in bound.arguments.items() if name not in ("self", "series")}
        series = bound.arguments["series"]
        if not self._has_closed_form(settings):
            return super().historical_forecasts(series, **{**settings, "enable_optimization": False})
        self._historical_forecasts_sanity_checks(series, **settings)
        rolled = self.roll(
            series,
            settings["future_covariates"],
            **{name: settings[name] for name in ("start", "start_format", "stride", "retrain", "overlap_end")},
            forecast_horizon=settings["forecast_horizon"],
        )
        labelled = [
            self._label(one, origins, settings["stride"], settings["last_points_only"])
            for one, origins in zip(as_list(series), rolled, strict=True)
        ]
        return labelled[0] if isinstance(series, TimeSeries) else labelled

    def roll(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        *,
        start: Any = None,
        start_format: str = "value",
        stride: int | None = None,
        forecast_horizon: int | None = None,
        retrain: bool | int = False,
        overlap_end: bool = False,
    ) -> list[Origins]:
        """Forecasts from rolling origins as arrays, in closed form; arguments as in `historical_forecasts`.

        Raises
        ------
        ValueError
            If the model is asked to forecast unfitted and without refits, or to refit at origins that do not lie
            whole training strides apart.
        """
        stride = stride or self.training_stride
        if retrain and stride % self.training_stride:
            raise ValueError(f"refits in closed form need a stride that is a multiple of {self.training_stride}")
        if not retrain and not self._fit_called:
            raise ValueError("the model has not been fitted: call fit() first, or retrain")
        listed = as_list(series)
        numbers = [0] * len(listed) if retrain else self._regressions_of(listed)
        covariates = self.future_covariate_series if future_covariates is None else future_covariates
        settings = (start, start_format, stride, forecast_horizon or self.output_chunk_length, overlap_end, retrain)
        found: dict[Any, tuple[Any, np.ndarray]] = {}
        rolled = []
        for number, (one, known) in zip(numbers, self._pairs(listed, covariates), strict=True):
            axes = tuple((part.start_time(), len(part)) for part in (one, known) if part is not None)
            if axes not in found:
                found[axes] = self._origins(one, known, settings)
            first, positions = found[axes]
            values = (
                self._roll_refitted(one, known, positions, int(retrain), stride)
                if retrain
                else self._rows(one, known, positions) @ self._weights[number] + self._intercept[number]
            )
            rolled.append(Origins(first, values[:, : settings[3]]))
        return rolled

    def save(self, path: str | Path, clean: bool = True, **others: Any) -> None:
        """Write coefficients and arguments to an `.npz` file, without pickle and without the training series."""
        np.savez(
            path,
            parameters=json.dumps(dict(self.model_params)),
            names=self._names,
            weights=self._weights,
            intercept=self._intercept,
            future_width=self.input_dim["future"] or 0,
        )

    @staticmethod
    def load(path: str | Path, trusted: bool = False) -> DayAheadRidge:
        """Read what `save` wrote; nothing in the file can run."""
        with np.load(path, allow_pickle=False) as file:
            model = DayAheadRidge(**json.loads(str(file["parameters"])))
            width = int(file["future_width"]) or None
            model._names = file["names"].tolist()
            model._weights, model._intercept = file["weights"], file["intercept"]
        model.input_dim = {"target": 1, "past": None, "future": width}
        model._uses_future_covariates = model._expect_future_covariates = width is not None
        model._fit_called = True
        return model

    def _has_closed_form(self, settings: dict[str, Any]) -> bool:
        retrain = settings["retrain"]
        return (
            all(settings[name] == usual for name, usual in SETTINGS_OF_THE_GENERAL_ROAD.items())
            and isinstance(retrain, bool | int)
            and settings["forecast_horizon"] <= self.output_chunk_length
            and not (retrain and settings["stride"] % self.training_stride)
        )

    def _pairs(self, series: Sequence[TimeSeries], covariates: Any) -> list[tuple[TimeSeries, TimeSeries | None]]:
        """Each series with its future covariates."""
        if covariates is None:
            return [(one, None) for one in series]
        listed = as_list(covariates)
        return list(zip(series, listed if len(listed) > 1 else listed * len(series), strict=True))

    def _regressions_of(self, series: Sequence[TimeSeries]) -> np.ndarray:
        """Position of the fitted regression of every series, by the name of its component, else by order."""
        names = [one.components[0] for one in series]
        if len(set(self._names)) == len(self._names) and set(names) <= set(self._names):
            return np.array([self._names.index(name) for name in names])
        if len(self._names) == 1 or len(names) == len(self._names):
            return np.resize(np.arange(len(self._names)), len(names))
        raise ValueError(
            f"{len(names)} series cannot be matched with {len(self._names)} regressions: give each component its own "
            "name before fit(), or pass all series in the order of fit()"
        )

    def _rows(self, series: TimeSeries, covariates: TimeSeries | None, origins: np.ndarray) -> np.ndarray:
        """Features seen from each origin, in Darts' order: lags of the target, then of the covariates by step."""
        blocks = []
        if "target" in self.lags:
            blocks.append(series.values(copy=False)[:, 0][origins[:, np.newaxis] + self.lags["target"]])
        if covariates is not None:
            ahead = round((series.start_time() - covariates.start_time()) / covariates.freq)
            steps = origins[:, np.newaxis] + self.lags["future"] + ahead
            blocks.append(covariates.values(copy=False)[steps].reshape(len(origins), steps.shape[1] * covariates.width))
        return np.concatenate(blocks, axis=1)

    def _targets(self, series: TimeSeries, origins: np.ndarray) -> np.ndarray:
        """What each origin had to forecast, (origin, step); NaN beyond the end of the series."""
        steps = origins[:, np.newaxis] + self.output_chunk_shift + np.arange(self.output_chunk_length)
        values = series.values(copy=False)[:, 0]
        return np.where(steps < len(values), values[np.minimum(steps, len(values) - 1)], np.nan)

    def _origins_before(self, last: int, series: TimeSeries, covariates: TimeSeries | None) -> np.ndarray:
        """Origins whole strides before `last`, and `last`, whose features exist."""
        least = -min(self.lags.get("target", [0]))
        if covariates is not None:
            ahead = round((series.start_time() - covariates.start_time()) / covariates.freq)
            least = max(least, -min(self.lags["future"]) - ahead)
        return np.arange(last, least - 1, -self.training_stride)[::-1]

    def _fit_one(self, series: TimeSeries, covariates: TimeSeries | None) -> tuple[np.ndarray, np.ndarray]:
        origins = self._origins_before(len(series), series, covariates)
        origins = origins[origins + self.output_chunk_shift + self.output_chunk_length <= len(series)]
        rows, targets = self._rows(series, covariates, origins), self._targets(series, origins)
        whole = np.isfinite(rows).all(axis=1) & np.isfinite(targets).all(axis=1)
        if not whole.any():
            raise ValueError("no complete row to learn from: the series is too short for the lags, or full of gaps")
        return fit_ridge(rows[whole], targets[whole], self.penalty)

    def _roll_refitted(
        self, series: TimeSeries, covariates: TimeSeries | None, asked: np.ndarray, every: int, stride: int
    ) -> np.ndarray:
        """Forecast from each origin asked, refitted at every `every`-th of them."""
        origins = self._origins_before(int(asked[-1]), series, covariates)
        rows, targets = self._rows(series, covariates, origins), self._targets(series, origins)
        whole = np.isfinite(rows).all(axis=1)
        rows = np.where(whole[:, np.newaxis], rows, 0.0)
        first = int(np.searchsorted(origins, asked[0]))
        steps = np.arange(len(origins)) - first
        refit = first + steps // (stride // self.training_stride * every) * (stride // self.training_stride * every)
        delay = -(-(self.output_chunk_shift + self.output_chunk_length) // self.training_stride)
        forecast = roll_ridge(
            rows @ rows.T,
            targets,
            np.maximum(np.where(steps < 0, 0, refit) - delay + 1, 0),
            usable=whole & np.isfinite(targets).all(axis=1),
            penalty=self.penalty,
            first=first,
        )
        return np.where(whole[:, np.newaxis], forecast, np.nan)[first :: stride // self.training_stride]

    def _origins(
        self, series: TimeSeries, covariates: TimeSeries | None, settings: tuple[Any, ...]
    ) -> tuple[Any, np.ndarray]:
        """Stamp of the first origin, and position in the series of every origin, by Darts' own rules."""
        start, start_format, stride, horizon, overlap_end, retrain = settings
        (first, last), *_ = _get_historical_forecasts_setup(
            model=self, series=series, past_covariates=None, future_covariates=covariates, series_idx=0,
            forecast_horizon=horizon, start=start, start_format=start_format, stride=stride, overlap_end=overlap_end,
            retrain=retrain, train_length=None, val_length=0, show_warnings=False,
        )  # fmt: skip
        count = round((last - first) / series.freq) // stride + 1
        position = round((first - series.start_time()) / series.freq)
        return first, position + stride * np.arange(count)

    def _label(self, series: TimeSeries, rolled: Origins, stride: int, last_points_only: bool) -> Any:
        """Forecasts of one series as Darts returns them."""
        freq, steps = series.freq, rolled.values.shape[1]
        begin = rolled.first + self.output_chunk_shift * freq
        fixed = {"components": series.components, "static_covariates": series.static_covariates, "copy": False}
        if last_points_only:
            times = index_from(begin + (steps - 1) * freq, len(rolled.values), freq * stride, series)
            return TimeSeries(times, rolled.values[:, -1:, np.newaxis], **fixed)
        times = index_from(begin, steps + stride * (len(rolled.values) - 1), freq, series)
        return [
            TimeSeries(times[stride * number : stride * number + steps], values[:, np.newaxis, np.newaxis], **fixed)
            for number, values in enumerate(rolled.values)
        ]


def as_list(series: TimeSeries | Sequence[TimeSeries]) -> list[TimeSeries]:
    """One series or several as a list."""
    return [series] if isinstance(series, TimeSeries) else list(series)


def index_from(start: Any, length: int, freq: Any, like: TimeSeries) -> pd.DatetimeIndex | pd.RangeIndex:
    """Index of the kind that `like` has."""
    if like.has_range_index:
        return pd.RangeIndex(start, start + length * freq, freq, name=like.time_index.name)
    return pd.date_range(start, periods=length, freq=freq, name=like.time_index.name)
