"""Wind power from the weather: formulas by hand, curves that rise, and laws of rolled forecasts."""

from __future__ import annotations

import numpy as np
import pytest

from gridtwin.forecast.wind_features import (
    PowerCurve,
    WindWeather,
    direction_of,
    fit_power_curve,
    normalised_speed,
    speed_at_hub,
    typical_power,
)
from gridtwin.forecast.wind_model import last_hours, neighbour, roll_power_curve, roll_wind

KNOWN = 12
Farm = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def farm() -> Farm:
    """200 days of hours: power, speed and direction; a sector of wake takes a fifth, noise of 3 %."""
    generator = np.random.default_rng(5)
    walk = np.zeros((2, 4800))
    for step in range(1, 4800):
        walk[:, step] = 0.97 * walk[:, step - 1] + generator.standard_normal(2) * 0.24
    speed, direction = 8 * np.exp(0.4 * walk[0]), (90 * walk[1]) % 360
    power = typical_power(0.95 * speed) * np.where((direction > 150) & (direction < 240), 0.8, 1.0)
    power = np.clip(power + 0.03 * generator.standard_normal(4800) * (power > 0), 0, 1)
    return power.reshape(200, 24), speed.reshape(200, 24), direction.reshape(200, 24)


def test_direction_says_where_wind_comes_from() -> None:
    u, v = np.array([0.0, -3.0, 0.0, 4.0]), np.array([-3.0, 0.0, 2.0, 4.0])
    np.testing.assert_allclose(direction_of(u, v), [0, 90, 180, 225])


def test_shear_of_two_heights_and_density() -> None:
    two = WindWeather(np.array([8.0, 0.2]), 100.0, low_speed_m_per_s=np.array([4.0, 3.0]), low_height_m=10.0)
    # alpha = log10(2) = 0.301: 8 * 1.5^0.301; calm at the top: no shear below zero
    np.testing.assert_allclose(speed_at_hub(two, 150.0), [8 * 1.5 ** np.log10(2), 0.2])
    np.testing.assert_allclose(speed_at_hub(WindWeather(np.array([7.0]), 10.0), 80.0), 7 * 8 ** (1 / 7))
    cold = WindWeather(np.array([10.0]), temperature_k=np.array([263.15]), pressure_pa=np.array([101325.0]))
    # 101325 / (287.05 * 263.15) = 1.3414 kg/m3; (1.3414 / 1.225)^(1/3) = 1.0307
    assert normalised_speed(cold, 100.0)[0] == pytest.approx(10.307, abs=1e-3)


def test_learnt_curve_rises_and_is_the_planted_one(farm: Farm) -> None:
    power, speed, direction = farm
    free = (direction <= 150) | (direction >= 240)
    curve = fit_power_curve(speed[free], power[free])
    assert (np.diff(curve.power) >= 0).all()
    asked = np.array([3.0, 6.0, 9.0, 12.0])
    # bins of 0.5 m/s on a curve of at most 0.17 per m/s, noise of 3 % over some fifty steps a bin
    np.testing.assert_allclose(curve.at(asked), typical_power(0.95 * asked), atol=0.03)
    assert curve.at(np.array([30.0]))[0] == 0
    assert np.isnan(curve.at(np.array([np.nan]))).all()


def test_cut_out_is_learnt_where_it_shows() -> None:
    speed = np.repeat(np.arange(0.25, 29, 0.5), 20)
    curve = fit_power_curve(speed, np.where(speed < 22, np.minimum(speed / 12, 1), 0.02))
    assert curve.cut_out_m_per_s == pytest.approx(22.0)
    np.testing.assert_allclose(curve.at(np.array([21.0, 23.0])), [1.0, 0.0])
    assert (np.diff(curve.power) >= 0).all()


def test_without_a_history_the_curve_is_the_typical_one() -> None:
    curve = fit_power_curve(np.array([np.nan]), np.array([0.5]))
    assert isinstance(curve, PowerCurve)
    speeds = np.linspace(0, 25, 50)
    np.testing.assert_allclose(curve.at(speeds), typical_power(speeds))


@pytest.mark.parametrize("with_weather", [True, False])
def test_forecast_stays_within_the_rating(farm: Farm, with_weather: bool) -> None:
    power, speed, direction = farm
    given = speed if with_weather else None
    point = roll_wind(-power, given, known=KNOWN, direction_degree=direction)
    assert np.isfinite(point[10:]).all()
    assert point[10:].max() <= 0 and point[10:].min() >= -1


def test_weather_and_sectors_explain_the_planted_farm(farm: Farm) -> None:
    power, speed, direction = farm
    later = slice(60, None)

    def error(point: np.ndarray) -> float:
        return float(np.abs(point + power)[later].mean())

    curve, blind = -roll_power_curve(power, speed), roll_wind(-power, speed, known=KNOWN)
    full = roll_wind(-power, speed, known=KNOWN, direction_degree=direction)
    bare = roll_wind(-power, None, known=KNOWN)
    persistence = -np.roll(power, 2, axis=0)
    assert error(full) < 0.8 * error(blind)
    assert error(full) < 0.8 * error(curve)
    assert error(full) < 0.05  # noise 0.024 on average, sectors by three harmonics
    assert error(bare) < error(persistence)


@pytest.mark.parametrize("with_weather", [True, False])
def test_nothing_leaks_from_after_the_issue(farm: Farm, with_weather: bool) -> None:
    power, speed, direction = farm
    day = 120
    future, known = power.copy(), power.copy()
    future[day:] *= 0.3
    future[day - 1, KNOWN:] *= 0.3
    known[day - 1, :KNOWN] *= 0.3
    given = speed if with_weather else None
    before, after, changed = (
        roll_wind(-series, given, known=KNOWN, direction_degree=direction) for series in (power, future, known)
    )
    np.testing.assert_array_equal(before[: day + 1], after[: day + 1])
    assert not np.array_equal(before[day + 2], after[day + 2])
    assert not np.array_equal(before[day], changed[day])


def test_last_hours_are_those_before_the_issue() -> None:
    power = np.arange(72.0).reshape(3, 24)
    # day 2 is issued on day 1 at 12: hours 6 to 11 of day 1 are steps 30 to 35
    assert last_hours(power, 12, np.full(3, np.nan))[2] == pytest.approx(32.5)
    # issued at 3: hours 0 to 2 of day 1 and 21 to 23 of day 0
    assert last_hours(power, 3, np.full(3, np.nan))[2] == pytest.approx(23.5)


def test_a_neighbour_before_crosses_midnight_and_one_after_does_not() -> None:
    cube = np.array([[1.0, 2.0], [3.0, np.nan]])
    np.testing.assert_array_equal(neighbour(cube, -1), [[1, 1], [2, 3]])
    np.testing.assert_array_equal(neighbour(cube, 1), [[2, 2], [3, np.nan]])
