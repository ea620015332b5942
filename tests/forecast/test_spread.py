"""Paths and bands: joint days keep the spread of the sum, bands cover what they promise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.profiles import build_profiles
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_ahead import forecast
from gridtwin.forecast.past_days import alike_days, conformal_levels, draw_days
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
    assert means["kind"].between(70, 90).all(), means


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
    # noise of whole days would be 1.4 x 0.8 / 0.28 = 4 times rougher; joining quantiles by rank adds some
    assert expected < step < 1.7 * expected


def test_aggregate_quantiles_are_those_of_the_summed_paths(eight_weeks: Case) -> None:
    predicted, _ = eight_weeks
    total = aggregate_quantiles(predicted, by="total")
    by_kind = aggregate_quantiles(predicted, by="kind")
    assert by_kind["group"].values.tolist() == ["battery", "household", "pv"]
    np.testing.assert_allclose(total["p_mean_mw"].isel(group=0), by_kind["p_mean_mw"].sum("group"))
    hand = np.quantile(predicted["p_mw"].to_numpy()[:, 40].sum(axis=-1), 0.9, method="hazen")
    assert float(total["p_quantile_mw"].sel(quantile=0.9).isel(group=0, time=40)) == pytest.approx(hand)


def test_paths_of_switched_assets_keep_their_mean() -> None:
    """Cars that charge or rest: the paths of their sum must not sag below what comes."""
    days, cars = 150, 30
    grid = ClockGrid.of_days(dt.date(2016, 5, 1), days, "Europe/Berlin", pd.Timedelta("15min"))
    generator = np.random.default_rng(4)
    begin = 70 + generator.integers(-6, 7, (days, cars))
    length = generator.integers(4, 13, (days, cars)) * (generator.random((days, cars)) < 0.7)
    slot = grid.slot[:, np.newaxis]
    charging = (slot >= begin[grid.day]) & (slot < begin[grid.day] + length[grid.day])
    names = [f"car {number}" for number in range(cars)]
    assets = pd.DataFrame({"element": "load", "index": range(cars), "kind": "electric_car"}, index=names)
    p_mw = 0.011 * charging
    profiles = build_profiles(grid.axis, assets, p_mw, 0 * p_mw)
    predicted = forecast(profiles, grid.dates[-28:], Forecast(history_days=100, calibration_days=42), issue=dt.time(12),
                         seed=1, installed_mw=pd.Series(0.011, index=names))  # fmt: skip
    evening = grid.slot[-28 * 96 :] // 4 == 18
    mean_mw = predicted["p_mw"].sum("asset").mean("path").to_numpy()[evening].mean()
    happened_mw = p_mw[-28 * 96 :].sum(axis=1)[evening].mean()
    # the sum of 30 cars scatters by a sixth of its mean from day to day, its mean over 28 days by 3 %
    assert mean_mw == pytest.approx(happened_mw, rel=0.05)


def test_every_calibration_day_is_drawn_as_often() -> None:
    drawn = draw_days(7, 50, np.random.default_rng(1))
    assert set(np.bincount(drawn)) == {7, 8}
    assert len(drawn) == 50


def test_days_of_the_same_type_or_all() -> None:
    free = np.array([False] * 10 + [True] * 4)
    assert alike_days(free, False).tolist() == list(range(10))
    assert alike_days(free, True).tolist() == list(range(14))


def test_few_days_widen_the_band() -> None:
    few, many = conformal_levels(np.array([0.1]), 9), conformal_levels(np.array([0.1]), 999)
    assert few[0] == pytest.approx((0.1 * 10 - 0.5) / 9)  # place 1 of 9: the smallest error
    assert few[0] < many[0] < 0.1
