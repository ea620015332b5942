"""Growth profiles: plausible energy, no sun at night, and every device for itself."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.buildings import assume_building
from gridtwin.data.charging_sessions import uncontrolled_charging
from gridtwin.data.growth_profiles import GrowthProfiles, build_growth_profiles, heat_pump_power
from gridtwin.data.solar_irradiance import clear_sky_irradiance, diffuse_share, plane_irradiance, solar_position
from gridtwin.errors import DataError
from gridtwin.time_axis import TimeAxis

BERLIN = "Europe/Berlin"
YEAR = TimeAxis.of_days(dt.date(2016, 1, 1), 366, BERLIN)
WEEK = TimeAxis.of_days(dt.date(2016, 4, 4), 7, BERLIN)
RATINGS = {
    "electric_car": ("load", 0.011, 0.014),
    "heat_pump": ("load", 0.004, np.nan),
    "pv": ("sgen", 0.008, np.nan),
    "battery": ("storage", 0.005, 0.010),
}


def devices(**counts: int) -> pd.DataFrame:
    """Rows of twin.assets, in the order of the arguments."""
    rows = [row_of(kind, number) for kind, count in counts.items() for number in range(1, count + 1)]
    return pd.DataFrame(rows).set_index("name") if rows else devices(pv=1).iloc[:0]


def row_of(kind: str, number: int) -> dict[str, object]:
    element, p_rated_mw, e_rated_mwh = RATINGS[kind]
    house = assume_building(p_rated_mw)
    building = {"ua_mw_per_k": house.ua_mw_per_k, "c_mwh_per_k": house.c_mwh_per_k, "cop": house.cop}
    facts = {"element": element, "index": number, "kind": kind, "p_rated_mw": p_rated_mw, "e_rated_mwh": e_rated_mwh}
    return {"name": f"{kind} {number}", **facts, **building}


def yearly_temperature(mean_celsius: float = 9.5, swing_kelvin: float = 8.5) -> xr.Dataset:
    times = pd.date_range("2015-12-31 21:00", "2017-01-01 00:00", freq="3h")
    day = np.asarray(times.dayofyear, dtype=float)
    celsius = mean_celsius - swing_kelvin * np.cos(2 * np.pi * (day - 25) / 366)
    return xr.Dataset({"temperature_celsius": ("time", celsius)}, coords={"time": times})


@pytest.fixture(scope="module")
def year() -> GrowthProfiles:
    assets = devices(battery=2, pv=12, electric_car=10, heat_pump=12)
    return build_growth_profiles(assets, YEAR, yearly_temperature(), seed=4)


def power_kw(year: GrowthProfiles, kind: str) -> np.ndarray:
    profiles = year.profiles
    return 1000 * profiles["p_mw"].to_numpy()[:, profiles["kind"].to_numpy() == kind]


def test_cars_draw_what_their_realised_sessions_need(year: GrowthProfiles) -> None:
    ratings = pd.Series(0.011, index=[f"electric_car {number}" for number in range(1, 11)])
    np.testing.assert_array_equal(
        power_kw(year, "electric_car"), 1000 * uncontrolled_charging(year.realised, YEAR, ratings)
    )


def test_heat_pumps_use_a_plausible_energy(year: GrowthProfiles) -> None:
    hours = power_kw(year, "heat_pump").sum(axis=0) * YEAR.hours_per_step / 4.0
    # full-load hours; VDI 4650 and field studies find 1600 to 2400
    assert hours.min() > 1200
    assert hours.max() < 2600
    assert 1600 < hours.mean() < 2300


def test_heat_pumps_keep_their_rating_and_stop_in_between(year: GrowthProfiles) -> None:
    p_kw = power_kw(year, "heat_pump")
    assert p_kw.min() >= 0
    assert p_kw.max() <= 4.0 + 1e-9
    assert 0.2 < (p_kw == 0).mean() < 0.8


def test_heat_pumps_follow_the_cold() -> None:
    assets = devices(heat_pump=20)
    cold, mild = (heat_pump_power(assets, WEEK, np.full(WEEK.length, celsius), seed=1) for celsius in (-5.0, 7.0))
    # UA (20.5 - T - 3) / COP, 5 % for the tank that heats at -5 and 7 °C alike
    ua_by_cop_kw = 1000 * assume_building(0.004).ua_mw_per_k / 3.2
    for p_mw, celsius in ((cold, -5.0), (mild, 7.0)):
        heating_kw = ua_by_cop_kw * (20.6 - celsius - 3.0)
        assert 1000 * p_mw[96:].mean() == pytest.approx(heating_kw + 2.2 / 24, rel=0.08)


def test_the_sun_does_not_shine_at_night_and_pv_only_feeds_in(year: GrowthProfiles) -> None:
    p_kw = power_kw(year, "pv")
    assert p_kw.max() <= 0
    assert p_kw.min() >= -8.0
    night = (YEAR.local_times.hour >= 23) | (YEAR.local_times.hour < 3)
    assert (p_kw[night] == 0).all()


def test_pv_yields_what_the_region_yields(year: GrowthProfiles) -> None:
    kwh_per_kwp = -power_kw(year, "pv").sum(axis=0) * YEAR.hours_per_step / 8.0
    assert 850 < kwh_per_kwp.mean() < 1100
    # a roof to the north-east is allowed to have less
    assert kwh_per_kwp.min() > 600
    assert kwh_per_kwp.max() < 1200


def test_neighbours_share_their_sky(year: GrowthProfiles) -> None:
    daily = power_kw(year, "pv")[: 96 * 365].reshape(365, 96, -1).sum(axis=1)[150:210]
    correlation = np.corrcoef(daily.T)
    # an east and a west roof see different halves of the same day
    assert correlation.min() > 0.75
    assert np.median(correlation) > 0.95
    assert correlation[0, 1] < 1


def test_everything_is_marked_pseudo_in_the_order_given(year: GrowthProfiles) -> None:
    profiles = year.profiles
    assert (profiles["quality"] == 4).all()
    assert list(profiles["asset"].to_numpy()[:3]) == ["battery 1", "battery 2", "pv 1"]
    assert (power_kw(year, "battery") == 0).all()
    assert profiles["p_mw"].notnull().all()
    # tan(arccos 0.98)
    heat = profiles.sel(asset="heat_pump 1")
    np.testing.assert_allclose(heat["q_mvar"], 0.20306 * heat["p_mw"], rtol=1e-4)


def test_other_devices_change_nothing() -> None:
    temperature = yearly_temperature()
    few = build_growth_profiles(devices(electric_car=2, heat_pump=2, pv=2), WEEK, temperature, seed=4).profiles
    many = build_growth_profiles(
        devices(battery=1, pv=4, heat_pump=3, electric_car=5), WEEK, temperature, seed=4
    ).profiles
    names = few["asset"].to_numpy()
    np.testing.assert_array_equal(few["p_mw"], many["p_mw"].sel(asset=names))


def test_the_seed_decides() -> None:
    assets = devices(electric_car=2, heat_pump=2, pv=2)
    first, again, other = (
        build_growth_profiles(assets, WEEK, yearly_temperature(), seed=seed).profiles for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(first, again)
    assert not (first["p_mw"] == other["p_mw"]).all(dim="time").any()


@pytest.mark.parametrize("day,length", [(dt.date(2016, 3, 27), 92), (dt.date(2016, 10, 30), 100)])
def test_days_with_a_clock_change_are_whole(day: dt.date, length: int) -> None:
    axis = TimeAxis.of_days(day, 1, BERLIN)
    profiles = build_growth_profiles(
        devices(electric_car=3, heat_pump=3, pv=3), axis, yearly_temperature(), seed=1
    ).profiles
    assert profiles.sizes["time"] == length
    assert profiles["p_mw"].notnull().all()


def test_no_growth_gives_profiles_without_assets() -> None:
    nothing = build_growth_profiles(devices(), WEEK, None, seed=1)
    assert dict(nothing.profiles.sizes) == {"time": WEEK.length, "asset": 0}
    assert len(nothing.declared) == len(nothing.realised) == 0


def test_heat_pumps_without_temperature_are_refused() -> None:
    with pytest.raises(DataError, match="outdoor temperature"):
        build_growth_profiles(devices(heat_pump=1), WEEK, None, seed=1)
    with pytest.raises(DataError, match="does not cover"):
        build_growth_profiles(devices(heat_pump=1), WEEK, yearly_temperature().isel(time=slice(0, 100)), seed=1)


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(DataError, match=r"battery 1 \(wind\)"):
        build_growth_profiles(devices(battery=1).assign(kind="wind"), WEEK, None, seed=1)


def test_forty_heat_pumps_cost_little_more_than_one() -> None:
    def best_seconds(count: int) -> float:
        return min(timed(lambda: heat_pump_power(devices(heat_pump=count), YEAR, outdoor, seed=1)) for _ in range(2))

    outdoor = np.full(YEAR.length, 5.0)
    # the recursion over time is paid once; measured 1.5, a loop over devices would be 40
    assert best_seconds(40) < 8 * best_seconds(1)


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_solar_position_at_noon_sunrise_and_midnight() -> None:
    # Berlin, 21 June 2016: elevation at noon 90 - 52.52 + 23.44 = 60.92°, solar noon at 11:08 UTC (13.4° E: -53.6 min,
    # equation of time -1.8 min)
    times = pd.date_range("2016-06-21", periods=1440, freq="1min")
    sun = solar_position(times, 52.52, 13.405)
    assert np.degrees(np.arcsin(sun.cos_zenith.max())) == pytest.approx(60.92, abs=0.1)
    assert abs(int(sun.cos_zenith.argmax()) - (11 * 60 + 8)) <= 2
    assert np.degrees(sun.azimuth[sun.cos_zenith.argmax()]) % 360 == pytest.approx(180, abs=1)
    # the almanac has sunrise at 4:43 and sunset at 21:33 summer time; half a degree of refraction are 6 min
    up = np.flatnonzero(sun.cos_zenith > 0)
    assert abs(up[0] - (2 * 60 + 43)) <= 8
    assert abs(up[-1] - (19 * 60 + 33)) <= 8


def test_a_flat_plane_receives_the_horizontal_irradiance() -> None:
    sun = solar_position(pd.date_range("2016-06-21 06:00", periods=40, freq="15min"), 53.64, 11.39)
    horizontal = clear_sky_irradiance(sun.cos_zenith)
    np.testing.assert_allclose(plane_irradiance(sun, horizontal, np.pi, 0.0), horizontal, rtol=1e-12)


def test_a_grey_sky_is_diffuse_and_a_clear_one_is_not() -> None:
    share = diffuse_share(np.array([0.05, 0.22, 0.5, 0.75]))
    # Erbs et al. 1982, figure 4 by its own formula: 1 - 0.09 kt, and 0.66 at one half
    np.testing.assert_allclose(share, [0.9955, 0.9802, 0.6588, 0.180], atol=0.012)
