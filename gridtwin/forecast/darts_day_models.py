"""The study's day-ahead models as a Darts model: `fit`, `predict` and `historical_forecasts` of whole local days.

`DayAheadModel("DayAheadRidge")` is the default of a study with all that belongs to it (local days, similar days,
penalties blended by recent skill, PV and wind with their physics), and likewise DayAheadTrees and DayAheadBlend. It
gives the numbers of `point_models.roll_model`. `darts_ridge.DayAheadRidge` is one regression on lags that shares only
the estimator.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.models.forecasting.forecasting_model import GlobalForecastingModel

from gridtwin.forecast.calendar import DAY, ClockGrid
from gridtwin.forecast.darts_ridge import as_list
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.history import substitute_gaps
from gridtwin.forecast.model_blend import simple_members
from gridtwin.forecast.point_models import ModelInputs, roll_model
from gridtwin.time_axis import to_local

DAY_MODELS = ("DayAheadRidge", "DayAheadTrees", "DayAheadBlend")
"""Models of a study that this class runs."""
LEAST_DAYS = 21
"""Days of a series before the first forecast: the rows of features begin in the second week, once a weekend has passed,
and seven of them have to teach."""


@dataclass(frozen=True)
class RolledDays:
    """Forecasts of local days.

    Parameters
    ----------
    grid : ClockGrid
        Days from the begin of the earliest series on.
    names : list of str
        Components.
    point : ndarray, (day, slot, component)
        NaN for days that are too early to forecast.
    """

    grid: ClockGrid
    names: list[str]
    point: np.ndarray

    def day_of(self, series: TimeSeries, day: int, n: int | None = None) -> TimeSeries:
        """Forecast of the components of `series` for the first `n` steps of the day at this position."""
        steps = np.flatnonzero(self.grid.day == day)
        if n is not None and n > len(steps):
            raise ValueError(f"n is at most one local day: {self.grid.dates[day]} has {len(steps)} steps, got {n}")
        chosen = [self.names.index(name) for name in series.components]
        values = self.point[day][self.grid.slot[steps[:n]]][:, chosen]
        missing = [str(name) for name, one in zip(series.components, values.T, strict=True) if np.isnan(one).any()]
        if missing:
            raise ValueError(
                f"no forecast of {', '.join(missing)} for {self.grid.dates[day]}: the days before, or the future "
                "covariates, have too many gaps"
            )
        times = pd.date_range(
            self.grid.axis.times[steps[0]], periods=len(values), freq=series.freq, name=series.time_index.name
        )
        return TimeSeries(
            times, values[:, :, np.newaxis], components=series.components, static_covariates=series.static_covariates
        )


class DayAheadModel(GlobalForecastingModel):  # type: ignore[misc]  # Darts has no type hints that mypy may follow
    """A day-ahead model of the study, issued at local midnight with the whole day before known.

    Parameters
    ----------
    model : str
        One of `DAY_MODELS`.
    zone : str
        IANA zone whose days are forecast. Series are on UTC stamps without zone, as everywhere in gridtwin.
    kind : str or mapping of str
        Kind of asset of all components, or of each by its name: "load", "pv", "wind" and the others of a study. Values
        of "pv" and "wind" are relative to the rating and negative when feeding in, others have any unit.
    steps_per_day : int
        Of a regular day, 96 for quarter hours.
    seed : int
        Of the trees.

    Raises
    ------
    ValueError
        On another model name.

    Notes
    -----
    Every series consists of whole local days (92 to 100 quarter hours): it begins and ends at local midnight, and
    `n` is at most the next local day. A forecast is a number per step, without samples.

    `fit` sets from which days scales and trees are learnt; the regressions are refitted every day from all days that
    the forecast may see, also with `retrain=False`. A series given to `predict` replaces the fitted one of the same
    component name, and joins the others where there is none.

    `historical_forecasts` is Darts' own loop, so `stride` and `forecast_horizon` are a regular day, and it cannot
    cross a clock change. `roll_days` does, and forecasts all days at once.
    """

    def __init__(
        self,
        model: str = "DayAheadRidge",
        zone: str = "Europe/Berlin",
        kind: str | Mapping[str, str] = "load",
        steps_per_day: int = 96,
        seed: int = 0,
    ) -> None:
        super().__init__(add_encoders=None)
        if model not in DAY_MODELS:
            raise ValueError(f"unknown model {model!r}, expected one of {', '.join(DAY_MODELS)}")
        self.model, self.zone, self.kind, self.steps_per_day, self.seed = model, zone, kind, steps_per_day, seed
        self._taught = pd.DataFrame()

    @property
    def supports_multivariate(self) -> bool:
        """Yes: every component is an asset of its own."""
        return True

    @property
    def supports_future_covariates(self) -> bool:
        """Yes: the forecast weather of each day, one for all series."""
        return True

    @property
    def supports_sample_weight(self) -> bool:
        """No."""
        return False

    @property
    def supports_optimized_historical_forecasts(self) -> bool:
        """No: `historical_forecasts` is Darts' loop."""
        return False

    @property
    def output_chunk_length(self) -> int:
        """Steps of a regular day."""
        return self.steps_per_day

    @property
    def min_train_samples(self) -> int:
        """One day, after those that its features need."""
        return 1

    @property
    def _target_window_lengths(self) -> tuple[int, int]:
        # as long as extreme_lags reach, or Darts' loop cuts the first day off every series
        return LEAST_DAYS * self.steps_per_day, self.steps_per_day

    @property
    def extreme_lags(self) -> tuple[int | None, ...]:
        """First and last step that a forecast concerns, counted from its first step, as Darts wants them."""
        reach = (-LEAST_DAYS * self.steps_per_day, self.steps_per_day - 1)
        future = reach if self.uses_future_covariates else (None, None)
        return (*reach, None, None, *future, 0)

    @property
    def _model_encoder_settings(self) -> tuple[Any, ...]:
        return LEAST_DAYS * self.steps_per_day, self.steps_per_day, False, False, None, None

    def fit(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        past_covariates: None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        verbose: bool | None = None,
    ) -> DayAheadModel:
        """Keep the days to learn from.

        Parameters
        ----------
        series : TimeSeries or sequence of it
            Components have names of their own. Series may begin on different days.
        past_covariates : None
            The models have none.
        future_covariates : TimeSeries or sequence of it, optional
            What was known of each day at its issue, such as the forecast weather; the same for all series. PV and wind
            know the names of `physical_members.WEATHER_NAMES`.
        verbose : bool, optional
            Not used.

        Raises
        ------
        ValueError
            On past covariates, or series that are no whole local days, too short or of equal names.
        """
        if past_covariates is not None:
            raise ValueError("DayAheadModel takes no past covariates")
        taught = self._table(as_list(series))
        days = (taught.index[-1] - taught.index[0] + DAY / self.steps_per_day) / DAY
        if days < LEAST_DAYS - 0.5:
            raise ValueError(f"DayAheadModel learns from {LEAST_DAYS} days or more, got {days:.0f}")
        one_weather(future_covariates)
        super().fit(series, future_covariates=future_covariates)
        self._taught = taught
        return self

    def predict(
        self,
        n: int,
        series: TimeSeries | Sequence[TimeSeries] | None = None,
        past_covariates: None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        num_samples: int = 1,
        **settings: Any,
    ) -> TimeSeries | list[TimeSeries]:
        """Forecast the first `n` steps of the local day after the end of each series; see Darts' `predict`.

        Raises
        ------
        ValueError
            If the model is not fitted, `n` exceeds the day, or the series do not end at one local midnight.
        """
        asked, weather = self._asked(series, future_covariates)
        super().predict(n, asked, past_covariates, weather, num_samples, **settings)
        if len({one.end_time() for one in as_list(asked)}) > 1:
            raise ValueError("DayAheadModel forecasts one day at a time: the series end on different days")
        rolled = self._roll(as_list(asked), weather, ahead=1)
        last = len(rolled.grid.dates) - 1
        forecast = [rolled.day_of(one, last, n) for one in as_list(asked)]
        return forecast[0] if isinstance(asked, TimeSeries) else forecast

    def roll_days(
        self,
        series: TimeSeries | Sequence[TimeSeries],
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        start: dt.date | None = None,
    ) -> list[list[TimeSeries]]:
        """Forecasts of all days of the series after the fitted ones at once, for each series and day.

        Parameters
        ----------
        series, future_covariates
            As in `predict`. Each forecast uses the series before its day only, and all series end on the same day.
        start : date, optional
            First day; by default the one after the fitted days.

        Raises
        ------
        ValueError
            As `predict`, or if `start` lies in the fitted days.
        """
        asked, weather = self._asked(series, future_covariates)
        super().predict(1, asked, None, weather)
        rolled = self._roll(as_list(asked), weather, ahead=0)
        fitted = self._first_forecast_day()
        if start is not None and start < fitted:
            raise ValueError(f"{start} is among the days of fit(): start at {fitted} or after")
        first = ((start or fitted) - rolled.grid.dates[0]).days
        return [[rolled.day_of(one, day) for day in range(first, len(rolled.grid.dates))] for one in as_list(asked)]

    def _asked(self, series: Any, future_covariates: Any) -> tuple[Any, TimeSeries | None]:
        """Series to forecast, and their weather: those given, else those of `fit`."""
        asked = self.training_series if series is None else series
        if not self._fit_called or asked is None:
            raise ValueError("call fit() first; after a fit on several series, say which to forecast")
        if future_covariates is not None and not self.uses_future_covariates:
            raise ValueError("the model was fitted without future covariates")
        return asked, one_weather(self.future_covariate_series if future_covariates is None else future_covariates)

    def _first_forecast_day(self) -> dt.date:
        """Local day after the fitted ones."""
        return self._local(self._taught.index[-1]) + dt.timedelta(days=1)

    def _local(self, moment: pd.Timestamp) -> dt.date:
        return to_local(pd.DatetimeIndex([moment]), self.zone)[0].date()

    def _table(self, series: list[TimeSeries]) -> pd.DataFrame:
        """Components of all series side by side, checked; NaN before a series begins."""
        for one in series:
            self._check_whole_days(one)
        names = [str(name) for one in series for name in one.components]
        if not isinstance(self.kind, str) and not set(names) <= set(self.kind):
            raise ValueError(f"kind is not given for {', '.join(sorted(set(names) - set(self.kind)))}")
        if len(set(names)) < len(names):
            raise ValueError("components of different series have the same name: rename them, with_columns_renamed")
        table: pd.DataFrame = pd.concat([one.to_dataframe() for one in series], axis=1).astype(float)
        return table.sort_index()

    def _check_whole_days(self, series: TimeSeries) -> None:
        step = DAY / self.steps_per_day
        if series.is_stochastic:
            raise ValueError("DayAheadModel learns from one sample of a series")
        if not series.has_datetime_index or pd.Timedelta(series.freq) != step:
            raise ValueError(f"DayAheadModel(steps_per_day={self.steps_per_day}) needs series in steps of {step}")
        edges = to_local(pd.DatetimeIndex([series.start_time(), series.end_time() + step]), self.zone)
        if (edges != edges.normalize()).any():
            raise ValueError(
                f"DayAheadModel forecasts whole local days, but the series runs from {edges[0]} to {edges[1]}. Cut it "
                f"at midnight in {self.zone}. In historical_forecasts, start there with a stride of "
                f"{self.steps_per_day}; across a clock change take roll_days."
            )

    def _roll(self, asked: list[TimeSeries], weather: TimeSeries | None, ahead: int) -> RolledDays:
        """Forecasts of the fitted and the asked components up to `ahead` days after the asked ones end."""
        table = self._pool(self._table(asked))
        dates = [self._local(moment) for moment in (table.index[0], table.index[-1])]
        days = (dates[1] - dates[0]).days + 1 + ahead
        grid = ClockGrid.of_days(dates[0], days, self.zone, DAY / self.steps_per_day)
        first = min((self._first_forecast_day() - dates[0]).days, days - ahead)
        inputs = self._inputs(table, grid, first, weather)
        begin = np.isfinite(inputs.actual).any(axis=1).argmax(axis=0)
        wanted = {str(name) for one in asked for name in one.components}
        late = [
            name for name, day in zip(table.columns, begin, strict=True) if name in wanted and day > first - LEAST_DAYS
        ]
        if late:
            raise ValueError(
                f"{', '.join(late)}: fewer than {LEAST_DAYS} days up to the end of the fitted ones, fit again"
            )
        return RolledDays(grid, list(table.columns), roll_model(self.model, inputs).point)

    def _pool(self, asked: pd.DataFrame) -> pd.DataFrame:
        """Fitted components up to the end of the asked ones, which replace those of their name or join them."""
        others = self._taught.columns.difference(asked.columns)
        pool = pd.concat([self._taught.loc[: asked.index[-1], others], asked], axis=1).sort_index()
        new = asked.columns.difference(self._taught.columns, sort=False)
        return pool[[*self._taught.columns, *new]]

    def _inputs(self, table: pd.DataFrame, grid: ClockGrid, first: int, weather: TimeSeries | None) -> ModelInputs:
        """What the model sees: gaps substituted from days before, nothing after the end of a series."""
        actual = grid.to_cube(table.reindex(grid.axis.times).to_numpy())
        there = np.isfinite(actual).any(axis=1)
        after = np.arange(len(there))[:, np.newaxis] >= len(there) - there[::-1].argmax(axis=0)
        cube = np.where(after[:, np.newaxis], np.nan, substitute_gaps(actual))
        kind = np.array([self.kind if isinstance(self.kind, str) else self.kind[name] for name in table.columns])
        naive = simple_members(cube, grid, kind)["naive"].point
        covariates = Covariates(weather_cubes(weather, grid))
        return ModelInputs(cube, actual, naive, kind, grid, grid.slots, first, covariates, seed=self.seed)


def one_weather(covariates: TimeSeries | Sequence[TimeSeries] | None) -> TimeSeries | None:
    """The future covariates that all series share; `ValueError` if they differ."""
    if covariates is None:
        return None
    first, *others = as_list(covariates)
    if any(one is not first and one != first for one in others):
        raise ValueError("DayAheadModel takes one weather: the future covariates of the series differ")
    return first


def weather_cubes(weather: TimeSeries | None, grid: ClockGrid) -> dict[str, np.ndarray]:
    """Components of the future covariates on the days of the grid, each (day, slot)."""
    if weather is None:
        return {}
    values = weather.to_dataframe().reindex(grid.axis.times)
    if values.isna().any(axis=None):
        raise ValueError(f"future covariates must have all values from {grid.dates[0]} to {grid.dates[-1]}, local days")
    return {str(name): grid.without_skips(grid.to_cube(one.to_numpy(float))) for name, one in values.items()}
