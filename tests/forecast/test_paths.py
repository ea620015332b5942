"""Paths and bands: joint days keep the spread of the sum, bands cover what they promise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.forecast.day_ahead import forecast
from gridtwin.forecast.paths import (
    PastErrors,
    alike_days,
    conformal_levels,
    draw_days,
    error_days,
    lay_paths,
    lay_quantiles,
    spread_errors,
)
from gridtwin.forecast.scores import aggregate_quantiles, score_forecast
from gridtwin.scenario import Forecast

Neighbourhood = tuple[xr.Dataset, pd.Series]
Case = tuple[xr.Dataset, xr.Dataset]
COVERAGE = "coverage_of_80_percent_band_percent"


@pytest.fixture(scope="module")
def eight_weeks(simulate: Callable[..., Neighbourhood]) -> Case:
    """Forecast and outcome of 56 days whose level is common to all loads."""
    profiles, installed = simulate(dt.date(2016, 4, 4), 180, loads=8, pvs=2, seed=5)
    days = [dt.date(2016, 8, 1) + dt.timedelta(days=number) for number in range(56)]
    settings = Forecast(history_days=100, calibration_days=35, paths=50)
    result = forecast(profiles, days, settings, issue=dt.time(12), seed=1, installed_mw=installed)
    return result, profiles.sel(time=result["time"])


def test_bands_cover_what_they_promise(eight_weeks: Case) -> None:
    scores = score_forecast(*eight_weeks).query("status == 'forecast' or level == 'kind' and kind != 'battery'")
    means = scores.groupby(["level", "kind"])[COVERAGE].mean()
    # nominal 80 %; the days have one common level, so 56 of them scatter by sqrt(0.8 0.2 / 56) = 5 %
    assert means["asset"].between(70, 90).all(), means
    # bands of sums are plain quantiles of paths made of 25 or 10 days: about 75 % is what they reach
    assert means["kind"].between(65, 90).all(), means


def test_joint_days_keep_the_spread_of_the_sum(eight_weeks: Case) -> None:
    predicted, realised = eight_weeks
    loads = np.flatnonzero(predicted["kind"].to_numpy() == "household")
    paths = predicted["p_mw"].to_numpy()[:, :, loads]
    total = realised["p_mw"].to_numpy()[:, loads].sum(axis=-1)
    generator = np.random.default_rng(1)
    apart = np.stack([generator.permutation(paths[:, :, number]) for number in range(len(loads))], axis=-1)
    covered = {}
    for name, values in (("joint", paths), ("independent", apart)):
        low, high = np.quantile(values.sum(axis=-1), [0.05, 0.95], axis=0)
        covered[name] = float(((total >= low) & (total <= high)).mean())
    assert 0.8 <= covered["joint"] <= 1.0  # nominal 0.9
    assert covered["independent"] < covered["joint"] - 0.2


def test_paths_are_smooth_days_and_not_noise(eight_weeks: Case) -> None:
    predicted, realised = eight_weeks
    first = predicted["p_mw"].to_numpy()[:, :96, 0]
    outcome = realised["p_mw"].to_numpy()[:, 0].reshape(56, 96)
    step = np.abs(np.diff(first, axis=1)).mean() / first.std(axis=0).mean()
    expected = np.abs(np.diff(outcome, axis=1)).mean() / outcome.std(axis=0).mean()
    assert step == pytest.approx(expected, rel=0.5)


def test_aggregate_quantiles_are_those_of_the_summed_paths(eight_weeks: Case) -> None:
    predicted, _ = eight_weeks
    total = aggregate_quantiles(predicted, by="total")
    by_kind = aggregate_quantiles(predicted, by="kind")
    assert by_kind["group"].values.tolist() == ["battery", "household", "pv"]
    np.testing.assert_allclose(total["p_mean_mw"].isel(group=0), by_kind["p_mean_mw"].sum("group"))
    hand = np.quantile(predicted["p_mw"].to_numpy()[:, 40].sum(axis=-1), 0.9)
    assert float(total["p_quantile_mw"].sel(quantile=0.9).isel(group=0, time=40)) == pytest.approx(hand)


def test_an_asset_that_rested_rests_in_the_path_of_that_day() -> None:
    # one slot, one car: off on three days, 1.0 on the fourth; the forecast was 0.25 and is 0.3
    actual = np.array([0.0, 0.0, 0.0, 1.0])[:, np.newaxis, np.newaxis]
    past = PastErrors(actual - 0.25, actual == 0)
    limit = np.ones((1, 1))
    paths = lay_paths(limit * 0.3, past, np.array([0]), np.arange(4), lower=0 * limit, upper=limit)
    assert paths[:3].ravel().tolist() == [0, 0, 0]
    assert paths[3, 0, 0] == 1.0
    bands = lay_quantiles(limit * 0.3, past, np.array([0]), [0.1, 0.5, 0.9])
    assert bands.ravel().tolist() == pytest.approx([0.0, 0.0, 1.05])  # place 0.9 x 5 = 4.5: the largest, 0.3 + 0.75


def test_cutting_at_a_bound_keeps_the_mean() -> None:
    past = PastErrors(np.array([-0.4, 0.0, 0.4])[:, np.newaxis, np.newaxis], np.zeros((3, 1, 1), dtype=bool))
    limit = np.ones((1, 1))
    paths = lay_paths(0.2 * limit, past, np.array([0]), np.arange(3), lower=0 * limit, upper=limit)
    assert paths.min() == 0
    assert paths.mean() == pytest.approx(0.2)


def test_spread_errors_have_the_variance_of_a_new_day() -> None:
    generator = np.random.default_rng(1)
    samples = generator.standard_normal((10, 20_000))
    # population variance of n normal days is (n - 1)/n; that of a new day around their mean is 1 + 1/n = 1.1
    assert spread_errors(samples).var(axis=0).mean() == pytest.approx(1.1, rel=0.02)


def test_every_calibration_day_is_drawn_as_often() -> None:
    drawn = draw_days(7, 50, np.random.default_rng(1))
    assert set(np.bincount(drawn)) == {7, 8}
    assert len(drawn) == 50


def test_days_of_the_same_type_or_all() -> None:
    free = np.array([False] * 10 + [True] * 4)
    assert alike_days(free, False).tolist() == list(range(10))
    assert alike_days(free, True).tolist() == list(range(14))


def test_a_skipped_hour_and_a_late_series_borrow_errors() -> None:
    actual = np.arange(12, dtype=float).reshape(2, 3, 2)
    forecast_cube = np.zeros_like(actual)
    forecast_cube[0, 1, 0] = np.nan  # the clock skips slot 1 of day 0
    actual[0, :, 1] = np.nan  # the series of asset 1 begins on day 1
    errors = error_days(actual, forecast_cube)
    assert errors[0, :, 0].tolist() == [0.0, 0.0, 4.0]
    assert errors[0, :, 1].tolist() == errors[1, :, 1].tolist() == [7.0, 9.0, 11.0]


def test_few_days_widen_the_band() -> None:
    few, many = conformal_levels(np.array([0.1]), 9), conformal_levels(np.array([0.1]), 999)
    assert few[0] == pytest.approx((0.1 * 10 - 0.5) / 9)  # place 1 of 9: the smallest error
    assert few[0] < many[0] < 0.1
