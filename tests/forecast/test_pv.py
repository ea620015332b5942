"""PV from the sun and the weather: against pvlib, laws of rolled forecasts, and systems whose site is known."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from gridtwin.data.solar_irradiance import (
    clear_sky_irradiance,
    extraterrestrial_irradiance,
    plane_irradiance,
    solar_position,
)
from gridtwin.errors import DataError
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.forest_quantiles import recalibrate, roll_forest
from gridtwin.forecast.pooled_regression import roll_regression
from gridtwin.forecast.pv_features import (
    Plane,
    PvWeather,
    Site,
    build_pv_features,
    clear_sky_index,
    irradiance_of,
    irradiance_on_planes,
    is_night,
    module_power,
    sun_of_steps,
)
from gridtwin.forecast.pv_model import clear_sky_envelope, roll_pv, roll_pv_assets
from gridtwin.forecast.pv_site import check_clock, find_planes, find_site, find_site_of_irradiance, lag_of

QUARTER = pd.Timedelta("15min")
UTRECHT = Site(52.2, 5.3)
KNOWN = 48
MOMENTS = pd.DatetimeIndex(
    ["2016-01-15 09:00", "2016-03-20 12:00", "2016-06-21 05:30", "2016-06-21 15:00", "2016-10-28 12:00"]
)
# pvlib 0.16.1 at 52.2 N, 5.3 E: solarposition.get_solarposition, clearsky.haurwitz, get_extra_radiation("spencer",
# solar_constant=1361); irradiance.erbs of 0.8 haurwitz, get_total_irradiance(35°, 180°, isotropic, albedo 0.2)
PVLIB_ZENITH = [82.009, 52.160, 73.251, 47.391, 66.053]
PVLIB_AZIMUTH = [140.953, 184.389, 73.166, 252.284, 189.975]
PVLIB_CLEAR = [99.84, 611.81, 257.84, 681.29, 385.38]
PVLIB_EXTRA = [1407.71, 1371.75, 1316.53, 1316.53, 1379.99]
PVLIB_PLANE = [115.96, 616.79, 134.29, 537.05, 448.26]
DATA = Path(os.environ.get("GRIDTWIN_DATA", "/nowhere"))


@pytest.fixture(scope="module")
def sky() -> tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather]:
    """Half a year of one system in Utrecht: two planes, a cloudiness that wanders, a noise of 2 %."""
    grid = ClockGrid.of_days(dt.date(2016, 1, 4), 180, "Europe/Amsterdam", QUARTER)
    generator = np.random.default_rng(3)
    sun = sun_of_steps(grid.axis.times, QUARTER, UTRECHT)
    walk = np.cumsum(generator.standard_normal(grid.axis.length) * 0.25)
    index = 0.65 + 0.35 * np.sin(walk / 3)
    ghi = index * sun.clear_ghi_w_per_m2
    temperature = 10 + 8 * np.sin(np.arange(grid.axis.length) / 500)
    planes = irradiance_on_planes(sun, ghi, (Plane(120.0, 30.0), Plane(240.0, 30.0)))
    power = module_power(planes, temperature[:, np.newaxis]) @ np.array([0.5, 0.3])
    power = np.clip(power * (1 + 0.02 * generator.standard_normal(len(power))), 0, 0.7)
    return grid, power, is_night(sun, QUARTER), PvWeather(ghi, None, temperature)


def rolled_of(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather], power: np.ndarray, weather: PvWeather | None
) -> np.ndarray:
    grid, _, night, _ = sky
    features = grid.to_cube(build_pv_features(grid.axis.times, QUARTER, UTRECHT, weather))
    return roll_pv(grid.to_cube(-power), features, grid.to_cube(night.astype(float)) == 1, known=KNOWN)


def test_sun_and_planes_agree_with_pvlib() -> None:
    sun = solar_position(MOMENTS, UTRECHT.latitude_degree, UTRECHT.longitude_degree)
    # Spencer's series against the algorithm of NREL with refraction left out: 0.35° in zenith, 0.5° in azimuth
    np.testing.assert_allclose(np.degrees(np.arccos(sun.cos_zenith)), PVLIB_ZENITH, atol=0.35)
    np.testing.assert_allclose(np.degrees(sun.azimuth) % 360, PVLIB_AZIMUTH, atol=0.5)
    clear = clear_sky_irradiance(np.cos(np.radians(PVLIB_ZENITH)))
    # pvlib has exp(-0.059 / cos z), ours 0.057; the rest is the rounded zenith
    clear = clear * np.exp(-0.002 / np.cos(np.radians(PVLIB_ZENITH)))
    np.testing.assert_allclose(clear, PVLIB_CLEAR, rtol=5e-4)
    np.testing.assert_allclose(extraterrestrial_irradiance(MOMENTS), PVLIB_EXTRA, rtol=1e-4)
    plane = plane_irradiance(sun, 0.8 * np.array(PVLIB_CLEAR), np.pi, np.radians(35))
    # no change of the distance to the sun in the clearness index (3.5 % of it), position as above; 8° above ground
    # both together make 5 % of 116 W/m2
    np.testing.assert_allclose(plane, PVLIB_PLANE, rtol=0.05)


def test_the_clear_day_has_the_energy_of_finer_steps() -> None:
    hours = pd.date_range("2016-06-21", periods=24, freq="1h")
    minutes = pd.date_range("2016-06-21", periods=1440, freq="1min")
    coarse = sun_of_steps(hours, pd.Timedelta("1h"), UTRECHT).clear_ghi_w_per_m2.mean()
    fine = sun_of_steps(minutes, pd.Timedelta("1min"), UTRECHT).clear_ghi_w_per_m2.mean()
    assert coarse == pytest.approx(fine, rel=2e-3)  # four samples an hour: the midpoint rule


def test_index_and_clouds() -> None:
    index = clear_sky_index(np.array([0.0, 400.0, 2000.0]), np.array([5.0, 800.0, 800.0]))
    np.testing.assert_array_equal(index, [np.nan, 0.5, 1.5])
    sun = sun_of_steps(MOMENTS, QUARTER, UTRECHT)
    overcast = irradiance_of(PvWeather(cloud_share=np.ones(len(MOMENTS))), sun)
    np.testing.assert_allclose(overcast, sun.clear_ghi_w_per_m2 / 4)  # 1 - 0.75


@pytest.mark.parametrize("with_weather", [True, False])
def test_night_is_zero_and_power_within_the_rating(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather], with_weather: bool
) -> None:
    grid, power, night, weather = sky
    point = rolled_of(sky, power, weather if with_weather else None)
    last = grid.to_steps(point)[grid.steps_from(40)]
    assert np.isfinite(last).all()
    assert (last[night[grid.steps_from(40)]] == 0).all()
    assert last.max() <= 0 and last.min() >= -1
    assert last.min() < -0.3


def test_weather_explains_the_planted_system(sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather]) -> None:
    grid, power, _, weather = sky
    later = grid.steps_from(60)
    actual = -power[later]
    errors = {}
    for name, given in (("weather", weather), ("no weather", None)):
        point = grid.to_steps(rolled_of(sky, power, given))[later]
        errors[name] = np.abs(point - actual).mean() / np.abs(actual).mean()
    two_days = grid.to_steps(np.roll(grid.to_cube(-power), 2, axis=0))[later]
    naive = np.nanmean(np.abs(two_days - actual)) / np.abs(actual).mean()
    assert errors["weather"] < 0.04  # noise of 2 % has a mean of 1.6 %, planes of 30° are not among ours
    assert errors["no weather"] < 0.85 * naive  # clouds with a memory of hours: little can be known


def test_the_envelope_holds_what_a_clear_day_gives(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather],
) -> None:
    grid, power, night, _ = sky
    features = grid.to_cube(build_pv_features(grid.axis.times, QUARTER, UTRECHT))
    envelope = grid.to_steps(clear_sky_envelope(features, capacity=0.8))
    assert (envelope[night] == 0).all() and envelope.max() <= 0.8
    assert (power <= envelope * 1.15 + 0.01).mean() > 0.999  # cold modules and noise give a little more


@pytest.mark.parametrize("with_weather", [True, False])
def test_nothing_leaks_from_after_the_issue(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather], with_weather: bool
) -> None:
    grid, power, _, weather = sky
    given = weather if with_weather else None
    day = 120
    future = (grid.day > day - 1) | ((grid.day == day - 1) & (grid.slot >= KNOWN))
    before, after = rolled_of(sky, power, given), rolled_of(sky, np.where(future, 3 * power, power), given)
    np.testing.assert_array_equal(before[: day + 1], after[: day + 1])
    assert not np.array_equal(before[day + 2], after[day + 2], equal_nan=True)
    known = (grid.day == day - 1) & (grid.slot < KNOWN)
    changed = rolled_of(sky, np.where(known, 0.5 * power, power), given)
    assert not np.array_equal(before[day], changed[day], equal_nan=True)  # what had ended is read


def test_many_systems_are_those_of_one(sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather]) -> None:
    grid, power, night, weather = sky
    cube = np.stack([grid.to_cube(-power), grid.to_cube(-0.5 * power), grid.to_cube(-power)], axis=2)
    sites, given = [UTRECHT, UTRECHT, Site(48.0, 11.0)], [weather, weather, None]
    limits = np.array([1.0, 0.2, 1.0])
    point, dark = roll_pv_assets(grid, cube, sites, known=KNOWN, weather=given, capacity=limits)
    np.testing.assert_array_equal(point[:, :, 0], rolled_of(sky, power, weather))
    assert np.nanmin(point[:, :, 1]) == -0.2
    np.testing.assert_array_equal(grid.to_steps(dark)[:, 0], night)
    assert not np.array_equal(dark[:, :, 0], dark[:, :, 2])


def test_rolled_regression_is_the_ridge_of_the_days_before() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((30, 6, 3))
    target = features @ np.array([1.0, -2.0, 0.5]) + 0.1 * generator.standard_normal((30, 6))
    ends = np.maximum(np.arange(30) - 1, 0)
    rolled = roll_regression(features, target, ends, penalty_rows=0.0, half_life_days=np.inf)
    x, y = features[:19].reshape(-1, 3), target[:19].ravel()
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(rolled[20], features[20] @ weights, rtol=1e-9)
    assert np.isnan(rolled[:2]).all()


def test_a_gap_in_history_and_weather_does_not_spread(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather],
) -> None:
    grid, power, _, weather = sky
    assert weather.ghi_w_per_m2 is not None
    gap = np.where((grid.day >= 70) & (grid.day < 80), np.nan, power)
    unknown = np.where(grid.day == 100, np.nan, weather.ghi_w_per_m2)
    point = rolled_of(sky, gap, PvWeather(unknown, None, weather.temperature_c))
    steps = grid.to_steps(point)
    assert np.isfinite(steps[(grid.day > 60) & (grid.day != 100)]).all()
    noon = (grid.day == 100) & (grid.slot == 52)
    assert np.isnan(steps[noon]).all()  # no weather, no forecast: the caller takes the naive one


def test_forest_quantiles_are_conditional() -> None:
    """Noise that grows with the feature: the band must cover alike where it is narrow and where it is wide."""
    generator = np.random.default_rng(2)
    feature = generator.uniform(0.1, 1, (90, 24, 1))
    target = feature[:, :, 0] * (1 + 0.3 * generator.standard_normal((90, 24)))
    ends = np.where(np.arange(90) < 60, 0, 60)
    point = np.where(np.arange(90)[:, np.newaxis] < 20, np.nan, feature[:, :, 0])
    quantiles = roll_forest(feature, point, target, ends, levels=(0.1, 0.5, 0.9), seed=1)
    assert np.isnan(quantiles[:, :60]).all()
    assert (np.diff(quantiles[:, 60:], axis=0) >= 0).all()
    inside = ((target >= quantiles[0]) & (target <= quantiles[2]))[60:]
    small = feature[60:, :, 0] < 0.5
    # 720 steps, some 320 of them small: two standard deviations of a share are 4.5 %
    assert inside[small].mean() == pytest.approx(0.8, abs=0.06)
    assert inside[~small].mean() == pytest.approx(0.8, abs=0.06)
    changed = np.where(np.arange(90)[:, np.newaxis] >= 60, 9.0, target)
    again = roll_forest(feature, point, changed, ends, levels=(0.1, 0.5, 0.9), seed=1)
    np.testing.assert_array_equal(quantiles, again)


def test_levels_that_were_wrong_are_moved() -> None:
    """Bands twice too wide: standard normal outcomes, quantiles of a deviation of two."""
    generator = np.random.default_rng(4)
    actual = generator.standard_normal((80, 24))
    levels = tuple(np.arange(1, 100) / 100)
    wide = 2 * norm.ppf(levels)[:, np.newaxis, np.newaxis] * np.ones((1, 80, 24))
    ends = np.where(np.arange(80) < 60, 0, 60)
    moved = recalibrate(wide, levels, actual, ends)
    np.testing.assert_array_equal(moved[:, :60], wide[:, :60])
    # 1440 outcomes: two standard errors of the 10 % quantile are 0.09
    np.testing.assert_allclose(moved[[9, 49, 89], 70, 0], norm.ppf([0.1, 0.5, 0.9]), atol=0.1)
    later = np.where(np.arange(80)[:, np.newaxis] >= 60, 99.0, actual)
    np.testing.assert_array_equal(moved, recalibrate(wide, levels, later, ends))


def test_site_and_planes_of_a_known_system(sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather]) -> None:
    grid, power, _, weather = sky
    site, findings = find_site(power, grid.axis.times, QUARTER)
    assert findings == ()
    assert site.latitude_degree == pytest.approx(52.2, abs=2)
    assert site.longitude_degree == pytest.approx(5.3, abs=2)
    assert weather.ghi_w_per_m2 is not None
    planes, shares = find_planes(power, weather.ghi_w_per_m2, grid.axis.times, QUARTER, UTRECHT)
    east = sum(share for plane, share in zip(planes, shares, strict=True) if 0 < plane.azimuth_degree < 180)
    west = sum(share for plane, share in zip(planes, shares, strict=True) if plane.azimuth_degree > 180)
    rated = irradiance_on_planes(
        sun_of_steps(grid.axis.times, QUARTER, UTRECHT), weather.ghi_w_per_m2, (Plane(120.0, 30.0), Plane(240.0, 30.0))
    ) @ np.array([0.5, 0.3])
    assert shares.sum() == pytest.approx(
        0.8 * 1000 * power.sum() / rated.sum(), rel=0.1
    )  # a sum over planes of other angles
    assert east > west


def test_irradiance_of_a_month_tells_the_place() -> None:
    generator = np.random.default_rng(6)
    times = pd.date_range("2016-04-01", periods=30 * 24, freq="1h")
    place = Site(-35.3, 149.1)
    clear = sun_of_steps(times, pd.Timedelta("1h"), place).clear_ghi_w_per_m2
    cloud = np.repeat(np.minimum(generator.uniform(0.3, 1.5, 120), 1.0), 6)  # clear in two hours of five
    site = find_site_of_irradiance(0.97 * clear * cloud, times, pd.Timedelta("1h"))
    assert site.latitude_degree == pytest.approx(-35.3, abs=1.5)
    assert site.longitude_degree == pytest.approx(149.1, abs=1.5)


def test_a_short_history_does_not_tell_the_latitude(
    sky: tuple[ClockGrid, np.ndarray, np.ndarray, PvWeather],
) -> None:
    grid, power, _, _ = sky
    part = slice(0, 20 * 96)
    _, findings = find_site(power[part], grid.axis.times[part], QUARTER)
    assert [finding.code for finding in findings] == ["site.uncertain"]
    with pytest.raises(DataError, match="neither starts nor stops"):
        find_site(np.ones(96 * 70), grid.axis.times[: 96 * 70], QUARTER)


def test_a_clock_with_daylight_saving_is_found() -> None:
    """Two systems of one year: the second is stamped by the wall clock of Denver, labelled -07:00."""
    times = pd.date_range("2016-01-01 07:00", "2017-01-01 06:45", freq="15min")
    sun = sun_of_steps(times, QUARTER, Site(39.7, -105.2))
    power = irradiance_on_planes(sun, sun.clear_ghi_w_per_m2, (Plane(180.0, 30.0),))[:, 0]
    right = check_clock(power, sun.clear_ghi_w_per_m2, times, QUARTER)
    assert right.findings == () and not right.follows_daylight_saving
    wall = times.tz_localize("UTC").tz_convert("America/Denver")
    saving = np.array([moment.dst() != dt.timedelta(0) for moment in wall])
    late = np.where(saving, np.roll(power, 4), power)
    check = check_clock(late, sun.clear_ghi_w_per_m2, times, QUARTER, where="roof")
    assert check.follows_daylight_saving
    assert (check.winter_shift_min, check.summer_shift_min) == (0.0, -60.0)
    assert check.findings[0].code == "clock.follows_daylight_saving"
    assert check.lag_min[7] == pytest.approx(60, abs=3)  # between steps by a parabola


def test_a_constant_lag_is_an_offset() -> None:
    times = pd.date_range("2016-01-01", "2016-12-31 23:45", freq="15min")
    sun = sun_of_steps(times, QUARTER, UTRECHT)
    late = np.roll(sun.clear_ghi_w_per_m2, 6)
    assert lag_of(late, sun.clear_ghi_w_per_m2, np.ones(len(times), dtype=bool), QUARTER) == pytest.approx(90, abs=1)
    check = check_clock(late, sun.clear_ghi_w_per_m2, times, QUARTER)
    assert [finding.code for finding in check.findings] == ["clock.offset"]
    assert (check.winter_shift_min, check.summer_shift_min) == (-90.0, -90.0)


def test_pvdaq_follows_daylight_saving() -> None:
    folder = DATA / "pvdaq_system50"
    if not folder.is_dir():
        pytest.skip("GRIDTWIN_DATA has no pvdaq_system50")
    power = pd.read_parquet(folder / "ac_power_15min_2011-04_2012.parquet")
    times = pd.DatetimeIndex(power["time_label_fixed_minus7"]).tz_convert("UTC").tz_localize(None)
    sun = sun_of_steps(times, QUARTER, Site(39.74, -105.17))
    check = check_clock(power["ac_power_2"].to_numpy(float), sun.clear_ghi_w_per_m2, times, QUARTER, where="system 50")
    assert check.follows_daylight_saving
    assert check.summer_shift_min - check.winter_shift_min == -60.0
    # provenance: an hour between winter and summer, by eye in steps of 30 min
    assert check.lag_min[[6, 7]].mean() - check.lag_min[[12, 1]].mean() == pytest.approx(60, abs=25)


def test_gefcom_zones_lie_in_south_east_australia() -> None:
    folder = DATA / "gefcom2014_solar"
    if not folder.is_dir():
        pytest.skip("GRIDTWIN_DATA has no gefcom2014_solar")
    power = pd.read_parquet(folder / "power_2012-04_2013-12.parquet")
    site, findings = find_site(power["power_pu_zone2"].to_numpy(float), power.index - pd.Timedelta("1h"), QUARTER * 4)
    assert findings == ()
    assert site.latitude_degree == pytest.approx(-35, abs=4)  # inland New South Wales; hourly steps, hills
    assert site.longitude_degree == pytest.approx(149, abs=3)
