"""Year-long profiles of devices that do not exist yet, random per device and day.

    electric cars   charge at rated power from arrival until full
    heat pumps      a thermostat heats a one-resistance, one-capacity building
    PV              clear sky by solar position, dimmed by one cloudiness of the neighbourhood
    batteries       idle; the schedule moves them

All of it is assumed, never measured: the quality code is `pseudo` throughout, and
the weather behind the PV feed-in is not that of the network's own PV series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from gridtwin.data.charging_sessions import (
    days_of,
    draw_charging_sessions,
    spawn_generator,
    uncontrolled_charging,
    utc_of_hours,
)
from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.data.solar_irradiance import SolarPosition, clear_sky_irradiance, plane_irradiance, solar_position
from gridtwin.errors import DataError, Finding
from gridtwin.time_axis import TimeAxis

PSEUDO = 4
"""Quality code of assumed series."""
COS_PHI = {"electric_car": 1.0, "heat_pump": 0.98, "pv": 1.0, "battery": 1.0}
"""Power factor, inductive; on-board chargers and small inverters run near 1, compressors a little below. [-]"""

LATITUDE_DEGREE, LONGITUDE_DEGREE = 53.64, 11.39
"""Default place of the PV systems: where the SimBench networks are drawn. [°]"""

SET_POINT_CELSIUS = (20.8, 0.7)
"""Mean and standard deviation over houses of the room set-point; assumed. [°C]"""
NIGHT_SETBACK_KELVIN = (0.0, 0.8)
"""Smallest and largest setback between 22 and 5 h, uniform over houses; assumed. [K]"""
HYSTERESIS_KELVIN = 0.1
"""The heat pump starts this far below the set-point and stops as far above; assumed. [K]"""
GAIN_KELVIN = (3.0, 0.5)
"""Internal and solar gains as the warming they alone would bring, mean and standard deviation over houses;
it lowers the heating limit to about 17 °C. Assumed. [K]"""
MODULATION_FLOOR = 0.35
"""Smallest power of a running compressor; inverter heat pumps reach 0.25 to 0.45. [-]"""
MODULATION_MARGIN = 1.3
"""Power of a running compressor by the power that just holds the set-point; makes it cycle. [-]"""
HOT_WATER_KWH = 2.2
"""Mean electric energy for hot water of one house and day: 6 kWh heat (VDI 2067: 1.5 to 3 kWh per person) at a
coefficient of performance of 2.7. [kWh]"""
HOT_WATER_SIGMA = 0.4
"""Standard deviation of its logarithm from day to day; assumed. [-]"""
HOT_WATER_HOUR = (11.0, 4.0)
"""Mean and standard deviation over houses of the local hour at which the tank is heated; assumed. [h]"""

PV_AZIMUTH_DEGREE = (180.0, 50.0)
"""Mean and standard deviation of the roofs' azimuth, clockwise from north; assumed. [°]"""
PV_TILT_DEGREE = (35.0, 8.0)
"""Mean and standard deviation of the roofs' tilt; assumed. [°]"""
PV_PERFORMANCE_RATIO = (0.83, 0.03)
"""Mean and standard deviation of the performance ratio; Reich et al., Prog. Photovolt. 20, 2012: 0.80 to 0.90. [-]"""
SKY_SUMMER, SKY_WINTER = 0.78, 0.52
"""Mean clear-sky index (global by clear-sky irradiance) in late June and late December, set so that the plane
of a south roof yields about 1000 kWh/kWp. [-]"""
SKY_SPREAD = 1.1
"""Standard deviation of a day's weather on the logit of the clear-sky index; assumed. [-]"""
PV_LOCAL_SKY = 0.06
"""Standard deviation of one roof's own sky by that of the neighbourhood; assumed. [-]"""


@dataclass(frozen=True)
class GrowthProfiles:
    """Growth devices on the time axis.

    Parameters
    ----------
    profiles : Profiles
        Power of every device, in the order given.
    declared, realised : DataFrame
        Charging sessions as announced and as they came.
    """

    profiles: Profiles
    declared: pd.DataFrame
    realised: pd.DataFrame


def build_growth_profiles(
    assets: pd.DataFrame,
    axis: TimeAxis,
    temperature: xr.Dataset | None,
    *,
    seed: int,
    latitude_degree: float = LATITUDE_DEGREE,
    longitude_degree: float = LONGITUDE_DEGREE,
) -> GrowthProfiles:
    """Profiles and charging sessions of all growth devices.

    A device's series depend on its name, its rating, the seed and the axis; other
    devices change nothing.

    Parameters
    ----------
    assets : DataFrame
        Rows of `twin.assets` with origin `growth`.
    axis : TimeAxis
        Intervals, an hour long at most.
    temperature : Dataset or None
        `temperature_celsius` (time) over the whole axis; needed by heat pumps.
    seed : int
        Seed of the scenario.
    latitude_degree, longitude_degree : float
        Place of the PV systems. [°]

    Raises
    ------
    DataError
        If a kind has no growth profile, or heat pumps have no temperature.
    """
    _check_kinds(assets)
    kind = assets["kind"].to_numpy(dtype=str)
    cars = assets[kind == "electric_car"]
    sessions = draw_charging_sessions(cars, axis, seed=seed)
    p_mw = np.zeros((axis.length, len(assets)))
    p_mw[:, kind == "electric_car"] = uncontrolled_charging(sessions.realised, axis, cars["p_rated_mw"])
    if (kind == "heat_pump").any():
        outdoor = _on_axis(temperature, axis)
        p_mw[:, kind == "heat_pump"] = heat_pump_power(assets[kind == "heat_pump"], axis, outdoor, seed=seed)
    if (kind == "pv").any():
        place = (latitude_degree, longitude_degree)
        p_mw[:, kind == "pv"] -= pv_power(assets[kind == "pv"], axis, place, seed=seed)
    q_mvar = p_mw * np.array([np.tan(np.arccos(COS_PHI[k])) for k in kind])
    return GrowthProfiles(
        build_profiles(axis, assets, p_mw, q_mvar, quality=PSEUDO), sessions.declared, sessions.realised
    )


def heat_pump_power(heat_pumps: pd.DataFrame, axis: TimeAxis, outdoor_celsius: np.ndarray, *, seed: int) -> np.ndarray:
    """Electric power of heat pumps that a thermostat switches, hot water included.

    Parameters
    ----------
    heat_pumps : DataFrame
        Index: asset names; columns `p_rated_mw, ua_mw_per_k, c_mwh_per_k, cop`.
    axis : TimeAxis
        Intervals.
    outdoor_celsius : ndarray, (time,)
        Outdoor temperature. [°C]
    seed : int
        Seed of the scenario.

    Returns
    -------
    ndarray, (time, asset)
        Power, 0 to rated. [MW]

    Notes
    -----
    C dT/dt = COP p - UA (T - T_out) + gains, solved exactly over an interval with
    constant inputs. A running compressor follows the heating curve; the tank for
    hot water is heated at rated power and takes the compressor for itself.
    """
    names = [str(name) for name in heat_pumps.index]
    p_rated_mw = heat_pumps["p_rated_mw"].to_numpy(dtype=float)
    ua_cop = heat_pumps["ua_mw_per_k"].to_numpy(dtype=float) / heat_pumps["cop"].to_numpy(dtype=float)
    hour, day = _local_hours(axis), _day_numbers(axis)
    houses = [_draw_house(name, hour, day, seed) for name in names]
    set_point = np.column_stack([house.set_point_celsius for house in houses])
    ambient = outdoor_celsius[:, None] + np.column_stack([house.gain_kelvin for house in houses])
    hot_water_mw = _hot_water_power(heat_pumps["p_rated_mw"], axis, seed)
    free = 1 - hot_water_mw / p_rated_mw
    holding_mw = MODULATION_MARGIN * ua_cop * (set_point - ambient)
    running_mw = free * np.clip(holding_mw, MODULATION_FLOOR * p_rated_mw, p_rated_mw)
    time_constant_h = (heat_pumps["c_mwh_per_k"] / heat_pumps["ua_mw_per_k"]).to_numpy(dtype=float)
    kept = np.exp(-axis.hours_per_step / time_constant_h)
    on = _thermostat(set_point, (1 - kept) * ambient, (1 - kept) / ua_cop * running_mw, kept)
    return np.asarray(on * running_mw + hot_water_mw)


def pv_power(systems: pd.DataFrame, axis: TimeAxis, place: tuple[float, float], *, seed: int) -> np.ndarray:
    """Feed-in of PV systems, generation positive.

    Parameters
    ----------
    systems : DataFrame
        Index: asset names; column `p_rated_mw` (peak power, also of the inverter).
    axis : TimeAxis
        Intervals; the sun is taken at their middle.
    place : tuple of float
        Latitude and longitude, north and east positive. [°]
    seed : int
        Seed of the scenario.

    Returns
    -------
    ndarray, (time, asset)
        Power, 0 to rated. [MW]
    """
    sun = solar_position(axis.times + axis.step / 2, *place)
    sky = _clear_sky_index(axis, seed)
    power = [
        p_rated_mw * _draw_roof(str(name), sun, sky, axis, seed)
        for name, p_rated_mw in zip(systems.index, systems["p_rated_mw"], strict=True)
    ]
    return np.column_stack(power)


def _check_kinds(assets: pd.DataFrame) -> None:
    unknown = assets[~assets["kind"].isin(COS_PHI)]
    if len(unknown):
        raise DataError(
            [
                Finding(
                    "no growth profile for these assets",
                    expected=f"kind {', '.join(COS_PHI)}",
                    got=", ".join(f"{name} ({kind})" for name, kind in unknown["kind"].head().items()),
                    severity="error",
                )
            ]
        )


def _on_axis(temperature: xr.Dataset | None, axis: TimeAxis) -> np.ndarray:
    """Outdoor temperature at the middle of each interval, linear between the middles of the source's own. (time,)"""
    if temperature is None:
        raise DataError([Finding("heat pumps need an outdoor temperature", do="Give [weather].", severity="error")])
    times = pd.DatetimeIndex(temperature.indexes["time"])
    step = times[1] - times[0]
    if times[0] > axis.start or times[-1] + step < axis.end or temperature["temperature_celsius"].isnull().any():
        raise DataError(
            [
                Finding(
                    "the outdoor temperature does not cover the time axis",
                    expected=f"{axis.start} to {axis.end} UTC without gaps",
                    got=f"{times[0]} to {times[-1] + step}",
                    severity="error",
                )
            ]
        )
    middle = _hours(times + step / 2, axis.start)
    known = temperature["temperature_celsius"].to_numpy()
    return np.asarray(np.interp(_hours(axis.times + axis.step / 2, axis.start), middle, known))


def _hours(times: pd.DatetimeIndex, start: pd.Timestamp) -> np.ndarray:
    return np.asarray((times - start) / pd.Timedelta(hours=1), dtype=float)


def _day_numbers(axis: TimeAxis) -> np.ndarray:
    """Number of the local day, from 0 on. (time,)"""
    midnights = axis.local_times.tz_localize(None).normalize()
    return np.asarray((midnights - midnights[0]).days, dtype=int)


def _local_hours(axis: TimeAxis) -> np.ndarray:
    """Local wall-clock hour with fraction. (time,)"""
    local = axis.local_times
    return np.asarray(local.hour + local.minute / 60, dtype=float)


@dataclass(frozen=True)
class _House:
    """Habits of one house. (time,) each. [°C], [K]"""

    set_point_celsius: np.ndarray
    gain_kelvin: np.ndarray


def _draw_house(name: str, hour: np.ndarray, day: np.ndarray, seed: int) -> _House:
    random = spawn_generator(seed, 2, name)
    setback = random.uniform(*NIGHT_SETBACK_KELVIN)
    level = random.normal(*SET_POINT_CELSIUS)
    evening = 1 + 0.5 * np.cos(2 * np.pi * (hour - random.normal(18, 1.5)) / 24)
    mean_gain = max(random.normal(*GAIN_KELVIN), 0.5)
    of_day = random.lognormal(0.0, 0.25, day[-1] + 1)[day]
    return _House(level - setback * ((hour >= 22) | (hour < 5)), mean_gain * evening * of_day)


def _thermostat(set_point: np.ndarray, ambient: np.ndarray, heating: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Whether each compressor runs. (time, asset)

    T' = kept T + ambient + on heating; on below the band, off above it, else as before.
    """
    start, stop = set_point - HYSTERESIS_KELVIN, set_point + HYSTERESIS_KELVIN
    runs = np.zeros(set_point.shape, dtype=bool)
    temperature, on = set_point[0].copy(), np.zeros(set_point.shape[1], dtype=bool)
    for t in range(len(set_point)):
        on = (temperature < start[t]) | (on & (temperature < stop[t]))
        runs[t] = on
        temperature = kept * temperature + ambient[t] + on * heating[t]
    return runs


def _hot_water_power(p_rated_mw: pd.Series, axis: TimeAxis, seed: int) -> np.ndarray:
    """Tank heating at rated power, once a day at about the same hour. (time, asset) [MW]"""
    tables = [_draw_hot_water(str(name), p_mw, axis, seed) for name, p_mw in p_rated_mw.items()]
    return uncontrolled_charging(pd.concat(tables), axis, p_rated_mw)


def _draw_hot_water(name: str, p_rated_mw: float, axis: TimeAxis, seed: int) -> pd.DataFrame:
    """Start and energy of each day's tank heating, laid out like charging sessions."""
    random = spawn_generator(seed, 3, name)
    days = days_of(axis)
    usual = np.clip(random.normal(*HOT_WATER_HOUR), 3.5, 17.5)
    hours = usual + np.clip(random.normal(0, 0.7, len(days)), -1.5, 1.5)
    e_mwh = HOT_WATER_KWH / 1000 * random.lognormal(-(HOT_WATER_SIGMA**2) / 2, HOT_WATER_SIGMA, len(days))
    start = utc_of_hours(days, hours, axis.zone, "1min")
    # six hours at most, so that a small heat pump is done before its next day's heating
    return pd.DataFrame({"asset": name, "arrival": start, "e_mwh": np.minimum(e_mwh, 6 * p_rated_mw)})


def _clear_sky_index(axis: TimeAxis, seed: int) -> np.ndarray:
    """Global by clear-sky irradiance over the neighbourhood: weather from day to day, clouds within a day. (time,)"""
    random = spawn_generator(seed, 4, "sky")
    day = _day_numbers(axis)
    day_of_year = np.asarray(axis.local_times.dayofyear, dtype=float)
    season = (SKY_SUMMER + SKY_WINTER) / 2 - (SKY_SUMMER - SKY_WINTER) / 2 * np.cos(
        2 * np.pi * (day_of_year + 10) / 365
    )
    weather = SKY_SPREAD * autoregressive(random.standard_normal(day[-1] + 1), 0.4)[day]
    mean = 1 / (1 + np.exp(-(np.log(season / (1 - season)) + weather)))
    clouds = autoregressive(random.standard_normal(axis.length), 0.85)
    # a wholly clear or wholly overcast sky is steady, a half-clouded one is not
    return np.asarray(np.clip(mean + mean * (1 - mean) * clouds, 0.05, 1.05))


def autoregressive(noise: np.ndarray, kept: float) -> np.ndarray:
    """First-order process of unit variance from standard normal noise along the first axis."""
    return np.asarray(lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], noise, axis=0))


def _draw_roof(name: str, sun: SolarPosition, sky: np.ndarray, axis: TimeAxis, seed: int) -> np.ndarray:
    """Power by rated power of one system of random orientation. (time,) [-]"""
    random = spawn_generator(seed, 5, name)
    azimuth = np.radians(random.normal(*PV_AZIMUTH_DEGREE))
    tilt = np.radians(np.clip(random.normal(*PV_TILT_DEGREE), 10, 60))
    ratio = np.clip(random.normal(*PV_PERFORMANCE_RATIO), 0.7, 0.9)
    passing = 1 + PV_LOCAL_SKY * autoregressive(random.standard_normal(axis.length), 0.7)
    plane = plane_irradiance(sun, clear_sky_irradiance(sun.cos_zenith) * sky * passing, azimuth, tilt)
    return np.asarray(np.clip(ratio * plane / 1000, 0.0, 1.0))
