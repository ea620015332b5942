"""Rows of the direct day-ahead regression: calendar, lags, weather, and the response to the weather of the hour."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import (
    WEATHER_LIMIT,
    Covariates,
    calendar_block,
    day_rows,
    lag_block,
    standardised,
    weather_block,
)
from gridtwin.forecast.history import substitute_gaps
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.weather_response import (
    HALF_LIFE_DAYS,
    LEAST_DAYS,
    PENALTY,
    clock_features,
    respond_to_weather,
    weather_curve,
    weather_response,
)

HOUR = pd.Timedelta("1h")
HOLIDAY, FREE, BEFORE, AFTER, BRIDGE, TURN, EVE = range(7, 14)


def grid_of(first: str, days: int, zone: str = "Europe/Vienna", step: pd.Timedelta = HOUR) -> ClockGrid:
    return ClockGrid.of_days(dt.date.fromisoformat(first), days, zone, step)


def dates_where(grid: ClockGrid, column: int) -> list[str]:
    return [f"{day:%m-%d}" for day, flag in zip(grid.dates, calendar_block(grid)[:, column], strict=True) if flag]


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# Calendar -------------------------------------------------------------------------------------------


def test_the_turn_of_the_year_in_austria() -> None:
    grid = grid_of("2018-12-20", 19)  # a Thursday; holidays of Austria: 25 and 26 December, 1 and 6 January
    assert dates_where(grid, HOLIDAY) == ["12-25", "12-26", "01-01", "01-06"]
    assert dates_where(grid, BEFORE) == ["12-24", "12-25", "12-31", "01-05"]
    assert dates_where(grid, AFTER) == ["12-26", "12-27", "01-02", "01-07"]
    assert dates_where(grid, EVE) == ["12-24", "12-31"]
    assert dates_where(grid, TURN) == [f"12-{day}" for day in range(24, 32)] + ["01-01"]


def test_a_holiday_is_no_weekday() -> None:
    block = calendar_block(grid_of("2018-12-24", 4))
    assert block[:, :7].sum(axis=1).tolist() == [1, 0, 0, 1]
    assert block[0, 0] == 1 and block[3, 3] == 1  # Monday and Thursday


def test_a_bridge_day_lies_between_a_holiday_and_a_weekend() -> None:
    grid = grid_of("2018-10-29", 7)  # Thursday 1 November is All Saints' Day
    assert dates_where(grid, BRIDGE) == ["11-02"]
    assert dates_where(grid_of("2018-11-05", 14), BRIDGE) == []


def test_the_last_day_knows_the_holiday_that_follows_it() -> None:
    long, short = grid_of("2018-12-22", 5), grid_of("2018-12-22", 3)
    assert np.array_equal(calendar_block(long)[:3], calendar_block(short))


def test_a_zone_without_a_place_has_weekdays_alone() -> None:
    block = calendar_block(grid_of("2018-12-20", 19, "UTC"))
    assert not block[:, [HOLIDAY, BEFORE, AFTER, BRIDGE, TURN, EVE]].any()
    assert (block[:, :7].sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("zone", "day"),
    [("Europe/Paris", "2019-07-14"), ("Europe/Athens", "2020-03-25"), ("America/New_York", "2019-07-04"),
     ("Europe/London", "2019-12-26"), ("Asia/Tokyo", "2019-02-11")],
)  # fmt: skip
def test_national_days_of_new_zones(zone: str, day: str) -> None:
    assert calendar_block(grid_of(day, 1, zone))[0, HOLIDAY] == 1


# Lags -----------------------------------------------------------------------------------------------


def test_lags_are_the_morning_of_the_issue_day_then_whole_days_backwards() -> None:
    values = np.arange(5 * 24, dtype=float).reshape(5, 24, 1)
    row = lag_block(values, known=10)[4, 0]
    assert row.tolist() == [*range(72, 82), *range(48, 72), *range(24, 48)]
    assert np.isnan(lag_block(values, known=10)[2]).any()


@pytest.mark.parametrize("known", [0, 10, 24])
def test_a_row_reads_nothing_that_ended_after_its_issue(known: int) -> None:
    grid, values, own = grid_of("2019-03-01", 40), noise(40, 24, 2), noise(40, 24, 2, seed=2)
    weather = {"temperature": noise(40, 24, seed=3)}
    day = 30
    spoilt = values.copy()
    spoilt[day - 1, known:] *= 1e6
    spoilt[day:] *= 1e6
    first, second = (day_rows(one, grid, known, Covariates(weather, own))[:, : day + 1] for one in (values, spoilt))
    assert np.array_equal(first, second, equal_nan=True)
    spoilt[day - 2] += 1  # what was known does count
    assert not np.array_equal(first, day_rows(spoilt, grid, known, Covariates(weather, own))[:, : day + 1], True)


@pytest.mark.parametrize(("first", "changed"), [("2019-03-20", "2019-03-31"), ("2019-10-15", "2019-10-27")])
def test_days_of_23_and_25_hours_have_rows(first: str, changed: str) -> None:
    grid = grid_of(first, 20, "Europe/Berlin", pd.Timedelta("15min"))
    cube = grid.to_cube(np.arange(grid.axis.length, dtype=float)[:, np.newaxis])
    position = grid.dates.index(dt.date.fromisoformat(changed))
    assert np.isnan(cube[position]).sum() == (4 if "03" in changed[5:7] else 0)
    rows = day_rows(substitute_gaps(cube), grid, 48, Covariates.none())
    # a free day needs a free day that was whole two days before
    assert np.isfinite(rows[0, 10:]).all()


# Weather --------------------------------------------------------------------------------------------


def test_each_variable_counts_like_one_day_of_lags() -> None:
    values = noise(4000, 24, 1)
    block = weather_block(values, 1)
    lags = noise(4000, 24) / np.sqrt(24)
    # 4000 days: the mean of a chi-square of 24 by 24 scatters by 0.5 %, of the squares by 2 %
    assert (block[..., :24] ** 2).sum(axis=-1).mean() == pytest.approx((lags**2).sum(axis=-1).mean(), rel=0.03)
    assert (block[..., 24:] ** 2).sum(axis=-1).mean() == pytest.approx(1, rel=0.1)


def test_more_variables_do_not_drown_the_load() -> None:
    grid, values = grid_of("2019-01-01", 60), noise(60, 24, 1)
    weather = {str(number): noise(60, 24, seed=number) for number in range(9)}
    bare, one, nine = (
        day_rows(values, grid, 12, Covariates(dict(list(weather.items())[:count])))[0, 30:] for count in (0, 1, 9)
    )
    weight = [(rows[:, bare.shape[1] :] ** 2).sum(axis=1).mean() for rows in (one, nine)]
    assert weight[1] == pytest.approx(weight[0], rel=0.3)  # 30 days of 24 values


def test_the_first_snow_is_not_a_thousand_deviations() -> None:
    snow = np.zeros((60, 24))
    snow[:40] = 1e-6 * noise(40, 24)
    snow[50:] = 0.02
    scaled = standardised(snow[:, :, np.newaxis], slice(0, 40))[0]
    assert scaled.max() > 1000
    assert weather_block(scaled, 1)[..., :24].max() <= WEATHER_LIMIT / np.sqrt(24) + 1e-12


# Response to the weather of the hour ----------------------------------------------------------------


def test_response_is_the_ridge_of_scikit_learn() -> None:
    days, day = 40, 35
    grid, z, values = grid_of("2019-01-01", days), noise(days, 24), noise(days, 24, 1, seed=2)
    response = weather_response(values, grid, [z[:, :, np.newaxis]], days)
    features = np.concatenate([clock_features(grid), weather_curve(z, days)], axis=2)
    taught = day - 1
    age = np.repeat(np.arange(taught)[::-1], 24)
    model = Ridge(alpha=PENALTY, fit_intercept=False)
    model.fit(features[:taught].reshape(taught * 24, -1), values[:taught].ravel(), 0.5 ** (age / HALF_LIFE_DAYS))
    assert response[day, :, 0] == pytest.approx(model.predict(features[day]), abs=1e-9)  # one system, two solvers


def test_response_reads_no_load_after_the_last_whole_day() -> None:
    grid, z, values = grid_of("2019-01-01", 40), noise(40, 24, 1), noise(40, 24, 2, seed=2)
    spoilt = values.copy()
    spoilt[29:] *= 1e6
    first, second = (weather_response(one, grid, [z], 40)[:31] for one in (values, spoilt))
    assert np.array_equal(first, second, equal_nan=True)
    assert np.isnan(first[: LEAST_DAYS + 1]).all() and np.isfinite(first[LEAST_DAYS + 1 :]).all()


def test_quarter_hours_get_a_forecast_of_their_own() -> None:
    grid = grid_of("2019-01-01", 30, step=pd.Timedelta("15min"))
    z = noise(30, 96, 1)
    response = weather_response(np.abs(z), grid, [z], 30)
    assert np.corrcoef(response[20:].ravel(), np.abs(z[20:]).ravel())[0, 1] > 0.9  # hinges bend, a line has 0


def test_weather_of_each_asset_and_of_all() -> None:
    grid, z, values = grid_of("2019-01-01", 30), noise(30, 24, 1), noise(30, 24, 3, seed=2)
    shared = weather_response(values, grid, [z], 30)
    each = weather_response(values, grid, [np.repeat(z, 3, axis=2)], 30)
    assert each == pytest.approx(shared, abs=1e-9, nan_ok=True)


def test_a_series_that_begins_late_costs_the_others_nothing() -> None:
    grid, z, values = grid_of("2019-01-01", 30), noise(30, 24, 1), noise(30, 24, 3, seed=2)
    late = values.copy()
    late[:20, :, 1] = np.nan
    whole, part = (weather_response(one, grid, [z], 30) for one in (values, late))
    assert part[:, :, [0, 2]] == pytest.approx(whole[:, :, [0, 2]], abs=1e-9, nan_ok=True)
    assert np.isfinite(part[20 + LEAST_DAYS + 1 :, :, 1]).all() and np.isnan(part[:20, :, 1]).all()


def test_response_replaces_no_given_forecast() -> None:
    grid, values = grid_of("2019-01-01", 30), noise(30, 24, 1)
    given = Covariates({"temperature": noise(30, 24)}, values)
    assert respond_to_weather(values, grid, given, 30) is given
    assert respond_to_weather(values, grid, Covariates.none(), 30).own is None


def test_days_before_the_first_response_say_nothing() -> None:
    grid, values = grid_of("2019-01-01", 30), 5 + noise(30, 24, 1)
    given = respond_to_weather(values, grid, Covariates({"temperature": noise(30, 24)}), 20).own
    assert given is not None
    assert given[: LEAST_DAYS + 1] == pytest.approx(values[:20].mean(), abs=1e-12)
    assert np.isfinite(given).all() and np.ptp(given[LEAST_DAYS + 1 :]) > 0.1


def test_a_season_is_enough_to_learn_what_wind_does() -> None:
    days, grid = 75, grid_of("2019-01-01", 75)
    wind = np.cumsum(noise(days * 24, seed=5)).reshape(days, 24)
    wind = 8 + 4 * (wind - wind.mean()) / wind.std()
    feed_in = -(np.clip(((wind - 3) / 9), 0, 1) ** 3)
    cube = (0.5 + feed_in + 0.02 * noise(days, 24, seed=6))[:, :, np.newaxis]
    weather = Covariates({"wind": wind})
    with_response = respond_to_weather(cube, grid, weather, 45)
    assert with_response.own is not None
    error = [
        np.abs(roll_ridge_days(cube, grid, 12, training=45, covariates=one) - cube)[45:].mean()
        for one in (Covariates({}, with_response.own), Covariates.none())
    ]
    assert error[0] < 0.7 * error[1]
