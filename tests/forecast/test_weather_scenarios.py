"""Load without the weather of the target: against a simulated response, scikit-learn, and published scores."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.errors import DataError
from gridtwin.forecast.score_rules import pinball_loss
from gridtwin.forecast.weather_scenarios import (
    HALF_LIFE_DAYS,
    PENALTY_ROWS,
    SHIFT_DAYS,
    choose_stations,
    describe_days,
    fit_load,
    forecast_by_weather_years,
    lay_errors,
    predict_load,
    ridge_by_end,
    standardise,
    temperature_limits,
    temperature_scenarios,
    temperature_terms,
    widen_paths,
)

NOISE_MW = 2.0
DATA = Path(os.environ.get("GRIDTWIN_DATA", "../shared/data"))
Simulated = tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    """Five years by the hour: heating below 15 °C and cooling above 20 °C, less load on free days, three stations.

    Station 0 and 2 feel the weather of the load, station 1 that of another country.
    """
    generator = np.random.default_rng(5)
    times = pd.date_range("2004-01-01", "2009-03-01", freq="h", inclusive="left")
    clock, season = 2 * np.pi * times.hour.to_numpy() / 24, 2 * np.pi * times.dayofyear.to_numpy() / 365.25
    weather = np.zeros((len(times) // 24, 2))
    for day in range(1, len(weather)):
        weather[day] = 0.7 * weather[day - 1] + 3 * generator.standard_normal(2)
    climate = 12 - 10 * np.cos(season) - 4 * np.cos(clock - 0.8)
    felt, elsewhere = (climate + np.repeat(weather[:, k], 24) for k in range(2))
    free = np.asarray(times.dayofweek >= 5)
    load = 100 - 20 * np.cos(clock) - 12 * free + 2 * np.clip(15 - felt, 0, None) + 3 * np.clip(felt - 20, 0, None)
    stations = np.column_stack([felt, elsewhere, felt]) + generator.standard_normal((len(times), 3))
    return times, load + NOISE_MW * generator.standard_normal(len(times)), stations


def test_ridge_of_every_end_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(1)
    rows = generator.standard_normal((300, 4)) * [1.0, 10.0, 0.1, 3.0] + 5
    target = rows @ [1.0, -0.2, 4.0, 0.5] + generator.standard_normal(300)
    fits = ridge_by_end(np.column_stack([np.ones(300), rows]), target, np.array([120, 300]))
    for fit, end in zip(fits, (120, 300), strict=True):
        weight = 0.5 ** (np.arange(end - 1, -1, -1) / HALF_LIFE_DAYS)
        scaler = StandardScaler().fit(rows[:end], sample_weight=weight)
        theirs = Ridge(alpha=PENALTY_ROWS).fit(scaler.transform(rows[:end]), target[:end], sample_weight=weight)
        expected = theirs.predict(scaler.transform(rows))
        np.testing.assert_allclose(fit[0] + rows @ fit[1:], expected, rtol=1e-8)  # sums against centred rows


def test_the_response_to_temperature_is_recovered(simulated: Simulated) -> None:
    """With the weather that came, the error is the noise, E|N(0, 2)| = 1.6 MW, and little more."""
    times, load, stations = simulated
    days = describe_days(times, None)
    driver, known = standardise(stations)[:, [0, 2]].mean(axis=1), len(times) - 59 * 24
    limits = temperature_limits(driver[:known], load[:known])
    weights, errors = fit_load(load[:known], temperature_terms(driver[:known], 24, limits), days, 31 * 24)
    told = predict_load(weights, driver[known:], driver[:known], days, limits)
    for error in (told - load[known:], errors):
        assert np.abs(error).mean() < 1.6 + 0.7  # half of the rest is the stations' own noise of 1 K by 2 MW/K
    assert np.isfinite(errors).all()


def test_stations_are_those_that_feel_the_weather_of_the_load(simulated: Simulated) -> None:
    times, load, stations = simulated
    days = describe_days(times, None)
    assert set(choose_stations(load, standardise(stations), days)) == {0, 2}


def test_bands_hold_the_months_that_come(simulated: Simulated) -> None:
    """Nine months; neighbouring hours share their weather, so the share inside is known to about 6 points."""
    times, load, stations = simulated
    inside, better = [], []
    for month in pd.date_range("2008-05-01", periods=9, freq="MS"):
        first, end = times.searchsorted([month, month + pd.offsets.MonthBegin(1)])
        forecast = forecast_by_weather_years(load, stations, times, times[first:end], stations=(0, 2))
        actual, levels = load[first:end], np.array(forecast.levels)
        inside.append((actual >= forecast.quantile_mw[9]) & (actual <= forecast.quantile_mw[89]))
        ours = pinball_loss(actual, forecast.quantile_mw, levels).mean()
        better.append(ours / (np.abs(actual - load[first - 8784 : end - 8784]).mean() / 2))
    assert 0.7 < np.concatenate(inside).mean() < 0.9
    assert np.mean(better) < 0.6  # the year before as every quantile; half is what a perfect spread gives


def test_nothing_after_the_start_of_the_target_is_read(simulated: Simulated) -> None:
    times, load, stations = simulated
    first = len(times) - 28 * 24
    target = times[first:]
    base = forecast_by_weather_years(load, stations, times, target)
    changed_load, changed_stations = load.copy(), stations.copy()
    changed_load[first:] *= 3
    changed_stations[first:] += 40
    other = forecast_by_weather_years(changed_load, changed_stations, times, target)
    assert base.stations == other.stations
    np.testing.assert_array_equal(base.p_mw, other.p_mw)
    short = forecast_by_weather_years(load[:first], stations[:first], times[:first], target)
    np.testing.assert_array_equal(base.p_mw, short.p_mw)


def test_quantiles_rise_and_paths_persist(simulated: Simulated) -> None:
    """A cold day is followed by a cold day on a path: what a path differs from the mean correlates over 24 hours."""
    times, load, stations = simulated
    first = len(times) - 28 * 24
    forecast = forecast_by_weather_years(load, stations, times, times[first:], stations=(0,))
    assert (np.diff(forecast.quantile_mw, axis=0) >= 0).all()
    assert forecast.p_mw.shape[1] == 28 * 24
    apart = forecast.p_mw - forecast.p_mw.mean(axis=0)
    assert np.corrcoef(apart[:, 240:-24].ravel(), apart[:, 264:].ravel())[0, 1] > 0.4  # 0.7 in the weather, less noise


def test_scenarios_start_from_the_weather_of_today() -> None:
    """A season without noise, and a last day 5 above it: every scenario starts high and returns to the season."""
    hours = np.arange(3 * 8766)
    season = 10 * np.sin(2 * np.pi * hours / 8766)
    driver = season.copy()
    driver[-24:] += 5
    scenarios = np.stack(temperature_scenarios(driver, 480, 24))
    assert len(scenarios) == 2 * (2 * SHIFT_DAYS + 1) + SHIFT_DAYS - 1  # of the third year back, where data begin
    expected = 10 * np.sin(2 * np.pi * (hours[-1] + 1 + np.arange(480)) / 8766)
    assert (scenarios[:, 0] - expected[0]).mean() == pytest.approx(5 * np.exp(-1 / 3), abs=0.6)
    assert np.abs(scenarios[:, 240:].mean(axis=0) - expected[240:]).max() < 0.5  # rounding of a year to whole days


def test_errors_are_laid_in_one_piece_at_their_time_of_day() -> None:
    errors = np.arange(24.0 * 10)  # each error tells its own place; the last one is the hour before the target
    laid = lay_errors(np.zeros((4, 48)), errors, 24, np.random.default_rng(0))
    assert (np.diff(laid, axis=1) == 1).all()
    assert set(laid[:, 0] % 24) == {0.0}


def test_widening_keeps_the_mean_and_gives_the_variance_of_a_new_year() -> None:
    paths = np.random.default_rng(2).standard_normal((50, 3))
    wide = widen_paths(paths, 4.0)
    np.testing.assert_allclose(wide.mean(axis=0), paths.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(wide.var(axis=0), 1.25 * paths.var(axis=0))


def test_quarter_hours_over_the_switch_to_summer_time_with_gaps(simulated: Simulated) -> None:
    """Half-hourly local times with a zone, unknown loads and temperatures, an hour that the clock skips."""
    _, load, stations = simulated
    times = pd.date_range("2005-01-01", periods=2 * 17000, freq="30min", tz="Europe/Berlin")
    fine = np.repeat(load, 2)[: len(times)], np.repeat(stations, 2, axis=0)[: len(times)]
    fine[0][5000:5100], fine[1][9000:9050, 0], fine[1][9000:9010] = np.nan, np.nan, np.nan
    first = int(times.searchsorted(pd.Timestamp("2006-03-20", tz="Europe/Berlin")))
    forecast = forecast_by_weather_years(*fine, times, times[first : first + 14 * 48], country="DE", stations=(0, 2))
    assert forecast.p_mw.shape[1] == 14 * 48
    assert np.isfinite(forecast.p_mw).all()


def test_holidays_are_those_of_the_country() -> None:
    times = pd.date_range("2010-07-05", periods=24, freq="h")  # Independence Day was a Sunday, observed on Monday
    assert describe_days(times, "US").modifiers[0, 1] == 1
    assert describe_days(times, "DE").modifiers[0, 1] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, y, x: (t, y[:-900], x), "differ in length"),
        (lambda t, y, x: (t.delete(500), y[:-1], x[:-1]), "equal steps"),
        (lambda t, y, x: (t, np.where(np.arange(len(y)) < len(y) - 5000, np.nan, y), x), "too little load"),
        (lambda t, y, x: (t, y, x * [1, np.nan, 1]), "no value before the target"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(simulated: Simulated, change, message: str) -> None:
    times, load, stations = change(*simulated)
    with pytest.raises(DataError, match=message):
        forecast_by_weather_years(load, stations, times, times[-240:])


@pytest.mark.skipif(not (DATA / "gefcom2014_load").exists(), reason="needs GRIDTWIN_DATA with gefcom2014_load")
def test_a_month_of_gefcom2014_is_well_below_the_benchmark() -> None:
    """June 2009, a validation month: 5.5 MW when this was written, the benchmark of the competition 16.6."""
    table = pd.read_parquet(DATA / "gefcom2014_load" / "2001_2010.parquet")
    times = pd.DatetimeIndex(table.index) - pd.Timedelta(hours=1)
    load, weather = table["load_mw"].to_numpy(float), table.filter(like="temp_").to_numpy(float)
    first, end = times.searchsorted([pd.Timestamp("2009-06-01"), pd.Timestamp("2009-07-01")])
    target = times[first:end]
    forecast = forecast_by_weather_years(load, weather, times, target, country="US", stations=(24, 5, 9))
    ours = pinball_loss(load[first:end], forecast.quantile_mw, np.array(forecast.levels)).mean()
    benchmark = np.abs(load[first:end] - load[times.searchsorted(target - pd.DateOffset(years=1))]).mean() / 2
    assert benchmark == pytest.approx(16.62, abs=0.01)
    assert ours < 0.45 * benchmark
