"""Our ridge as a Darts model: the numbers of Darts' own ridge over the same rows, by each of its roads."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import SKLearnModel
from darts.utils.historical_forecasts.utils import _get_historical_forecasts_setup
from sklearn.linear_model import Ridge

from gridtwin.forecast.darts_ridge import DayAheadRidge

DAY, DAYS, PENALTY = 24, 40, 3.0
TIMES = pd.date_range("2020-01-01", periods=DAY * (DAYS + 3), freq="h")
START = TIMES[DAY * 33]
ROLLING = {"start": START, "forecast_horizon": DAY, "stride": DAY, "last_points_only": False}
LAGS = {"lags": 2 * DAY, "lags_future_covariates": [0, 12, 23], "output_chunk_length": DAY}
SCATTERED = {"lags": [-1, -24, -25, -48], "lags_future_covariates": [5], "output_chunk_length": DAY}
RELATIVE = 1e-8
"""Both solve the same equations, of condition number about 1e4; 1e-12 is left, and some room for other libraries."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def simulate() -> tuple[list[TimeSeries], list[TimeSeries]]:
    """Three series, the last one shorter, and two covariates known ahead."""
    chance = np.random.default_rng(4)
    clock = 2 * np.pi * np.arange(len(TIMES)) / DAY
    known = TimeSeries(TIMES, np.column_stack([np.sin(clock), np.cos(clock / 7)])[:, :, np.newaxis])
    values = np.sin(clock)[: DAY * DAYS, np.newaxis] * [1, 2, 3] + 0.3 * chance.standard_normal((DAY * DAYS, 3)) + 5
    begins = (0, 0, 3 * DAY)
    series = [
        TimeSeries(TIMES[begin : DAY * DAYS], values[begin:, number, np.newaxis, np.newaxis], components=[f"p{number}"])
        for number, begin in enumerate(begins)
    ]
    return series, [known] * 3


SERIES, KNOWN = simulate()


def values_of(rolled: Any) -> np.ndarray:
    return np.stack([[one.values() for one in forecasts] for forecasts in rolled])


def assert_same(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert [one.start_time() for one in mine] == [one.start_time() for one in other]
        assert all(one.time_index.equals(two.time_index) for one, two in zip(mine, other, strict=True))
    np.testing.assert_allclose(values_of(ours), values_of(theirs), rtol=RELATIVE)


@pytest.mark.parametrize("lags", [LAGS, SCATTERED], ids=["block", "scattered"])
@pytest.mark.parametrize("shift", [0, 12])
def test_one_fit_is_that_of_darts(lags: dict[str, Any], shift: int) -> None:
    """Per series, with the training end cut so that rows of Darts lie at the hour of the forecast."""
    history = [one.drop_after(START) for one in SERIES]
    model = DayAheadRidge(**lags, output_chunk_shift=shift, penalty=PENALTY, training_stride=DAY)
    ours = model.fit(history, future_covariates=KNOWN).historical_forecasts(
        SERIES, future_covariates=KNOWN, retrain=False, **ROLLING
    )
    predicted = model.predict(DAY, history, future_covariates=KNOWN)
    for number, (one, past) in enumerate(zip(SERIES, history, strict=True)):
        darts = SKLearnModel(model=Ridge(alpha=PENALTY), output_chunk_shift=shift, **lags)
        cut = past[: len(past) - (-shift) % DAY] if shift else past
        darts.fit(cut, future_covariates=KNOWN[number], stride=DAY)
        theirs = darts.historical_forecasts(one, future_covariates=KNOWN[number], retrain=False, **ROLLING)
        assert_same([ours[number]], [theirs])
        np.testing.assert_allclose(predicted[number].values(), theirs[0].values(), rtol=RELATIVE)


@pytest.mark.parametrize("shift", [0, 12])
def test_daily_refits_are_a_loop_of_fit_and_predict(shift: int) -> None:
    model = DayAheadRidge(**LAGS, output_chunk_shift=shift, penalty=PENALTY, training_stride=DAY)
    ours = model.historical_forecasts(SERIES, future_covariates=KNOWN, retrain=True, **ROLLING)
    for number, one in enumerate(SERIES):
        theirs = []
        for forecast in ours[number]:
            past = one.drop_after(forecast.start_time() - shift * one.freq)
            darts = SKLearnModel(model=Ridge(alpha=PENALTY), output_chunk_shift=shift, **LAGS)
            cut = past[: len(past) - (-shift) % DAY] if shift else past
            darts.fit(cut, future_covariates=KNOWN[number], stride=DAY)
            theirs.append(darts.predict(DAY, series=past, future_covariates=KNOWN[number]))
        assert len(theirs) >= 6
        assert_same([ours[number]], [theirs])


@pytest.mark.parametrize("retrain", [False, True, 3])
@pytest.mark.parametrize("last_points_only", [False, True])
def test_the_loop_of_the_base_class_gives_the_same(retrain: bool | int, last_points_only: bool) -> None:
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY)
    model.fit([one.drop_after(START) for one in SERIES], future_covariates=KNOWN)
    settings = {**ROLLING, "last_points_only": last_points_only, "future_covariates": KNOWN, "retrain": retrain}
    fast = model.historical_forecasts(SERIES, **settings)
    slow = SKLearnModel.historical_forecasts(model, SERIES, **settings, enable_optimization=False)
    assert_same(
        [[one] for one in fast] if last_points_only else fast, [[one] for one in slow] if last_points_only else slow
    )


def test_other_settings_take_the_general_road() -> None:
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY)
    settings = {**ROLLING, "future_covariates": KNOWN[0], "retrain": True}
    window = model.historical_forecasts(SERIES[0], train_length=20 * DAY, **settings)
    assert not np.allclose(values_of([window]), values_of([model.historical_forecasts(SERIES[0], **settings)]))


def test_backtest_and_residuals_run_on_it() -> None:
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY)
    errors = model.backtest(SERIES, future_covariates=KNOWN, retrain=True, **ROLLING)
    assert len(errors) == 3
    assert np.isfinite(errors).all()


def test_an_unshifted_model_forecasts_on_by_its_own_values() -> None:
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY).fit(SERIES[0], future_covariates=KNOWN[0])
    darts = SKLearnModel(model=Ridge(alpha=PENALTY), **LAGS).fit(SERIES[0], future_covariates=KNOWN[0], stride=DAY)
    ours, theirs = (one.predict(2 * DAY, future_covariates=KNOWN[0]).values() for one in (model, darts))
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE)


def test_series_are_told_apart_by_name_or_order() -> None:
    model = DayAheadRidge(**LAGS, training_stride=DAY).fit(SERIES, future_covariates=KNOWN)
    together = model.predict(DAY, SERIES, future_covariates=KNOWN)
    backwards = model.predict(DAY, SERIES[::-1], future_covariates=KNOWN)
    alone = model.predict(DAY, SERIES[1], future_covariates=KNOWN[1])
    for number in range(3):
        np.testing.assert_array_equal(together[number].values(), backwards[2 - number].values())
    np.testing.assert_array_equal(together[1].values(), alone.values())
    same = [one.with_columns_renamed(one.components[0], "p") for one in SERIES]
    nameless = DayAheadRidge(**LAGS, training_stride=DAY).fit(same, future_covariates=KNOWN)
    np.testing.assert_array_equal(
        nameless.predict(DAY, same, future_covariates=KNOWN)[2].values(), together[2].values()
    )
    with pytest.raises(ValueError, match="cannot be matched"):
        nameless.predict(DAY, same[:2], future_covariates=KNOWN[:2])


def test_a_gap_teaches_nothing_and_stops_nothing() -> None:
    holed = SERIES[0].values().copy()
    holed[DAY * 10 + 3] = np.nan
    gap = TimeSeries(TIMES[: DAY * DAYS], holed[:, :, np.newaxis])
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY)
    rolled = model.historical_forecasts(gap, future_covariates=KNOWN[0], retrain=True, **ROLLING)
    assert np.isfinite(values_of([rolled])).all()


def test_nothing_after_the_origin_reaches_a_forecast() -> None:
    changed = SERIES[0].values().copy()
    changed[DAY * 36 :] *= 1e6
    model = DayAheadRidge(**LAGS, penalty=PENALTY, training_stride=DAY)
    disturbed = TimeSeries(TIMES[: DAY * DAYS], changed[:, :, np.newaxis])
    before, after = (
        model.historical_forecasts(one, future_covariates=KNOWN[0], retrain=True, **ROLLING)
        for one in (SERIES[0], disturbed)
    )
    np.testing.assert_array_equal(values_of([before[:4]]), values_of([after[:4]]))
    assert not np.array_equal(before[4].values(), after[4].values())


def test_a_saved_model_forecasts_the_same_without_pickle(tmp_path: Path) -> None:
    model = DayAheadRidge(**LAGS, training_stride=DAY).fit(SERIES, future_covariates=KNOWN)
    model.save(tmp_path / "ridge.npz")
    with np.load(tmp_path / "ridge.npz", allow_pickle=False) as file:
        assert set(file) == {"parameters", "names", "weights", "intercept", "future_width"}
    loaded = DayAheadRidge.load(tmp_path / "ridge.npz")
    for one, two in zip(*(m.predict(DAY, SERIES, future_covariates=KNOWN) for m in (model, loaded)), strict=True):
        np.testing.assert_array_equal(one.values(), two.values())


@pytest.mark.parametrize(
    ("arguments", "message"), [({"lags": {"p0": 3}}, "one list of lags"), ({"lags": None}, "At least one of")]
)
def test_what_it_does_not_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DayAheadRidge(**arguments)


def test_errors_say_what_is_wrong() -> None:
    model = DayAheadRidge(**LAGS, training_stride=DAY)
    with pytest.raises(ValueError, match="too short for the lags"):
        model.fit(SERIES[0][: 3 * DAY - 1], future_covariates=KNOWN[0])
    with pytest.raises(ValueError, match="univariate"):
        model.fit(SERIES[0].stack(SERIES[1]), future_covariates=KNOWN[0])
    with pytest.raises(ValueError, match="multiple of 24"):
        model.roll(SERIES[0], KNOWN[0], retrain=True, stride=5)


def test_darts_still_has_the_private_members_that_we_use() -> None:
    """A new release of Darts that drops one of them breaks here, and says which."""
    used = {
        "_fit_model": {"series", "future_covariates"},
        "_predict": {"x", "num_samples", "predict_likelihood_parameters", "random_state"},
        "_historical_forecasts_sanity_checks": set(),
    }
    for name, parameters in used.items():
        method = getattr(SKLearnModel, name, None)
        assert method is not None, f"SKLearnModel.{name} is gone"
        assert parameters <= set(inspect.signature(method).parameters), f"SKLearnModel.{name} has other parameters"
    darts = SKLearnModel(lags=2)
    for name in ("_fit_called", "_uses_future_covariates", "_expect_future_covariates", "lags", "component_lags",
                 "input_dim", "model_params"):  # fmt: skip
        assert hasattr(darts, name), f"SKLearnModel().{name} is gone"
    expected = {"model", "series", "past_covariates", "future_covariates", "series_idx", "forecast_horizon", "start",
                "start_format", "stride", "overlap_end", "retrain", "train_length", "val_length",
                "show_warnings"}  # fmt: skip
    assert set(inspect.signature(_get_historical_forecasts_setup).parameters) == expected
