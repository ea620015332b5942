"""From the sun and the weather to what drives a PV system, step by step.

Times are UTC instants at which a step begins; irradiance and power are means over
the step. The sun is followed within the step: an hour at dawn is neither day nor
night.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.data.solar_irradiance import (
    SolarPosition,
    clear_sky_irradiance,
    cloudy_irradiance,
    plane_irradiance,
    solar_position,
)

SAMPLES_PER_STEP = 4
"""Positions of the sun within a step; a quarter hour of an hourly step moves the sun by 3.75°."""
STANDARD_IRRADIANCE = 1000.0
"""Irradiance at which modules are rated, IEC 61215. [W/m²]"""
MODULE_RISE_C = 25.0
"""How much warmer than the air a module is at 800 W/m²: the usual nominal operating temperature of 45 °C
less the 20 °C at which it is stated. [K]"""
TEMPERATURE_COEFFICIENT = -0.004
"""Change of power with module temperature, crystalline silicon, about -0.3 to -0.5 %/K on data sheets. [1/K]"""
LARGEST_INDEX = 1.5
"""Clear-sky index above which irradiance is an error of the clock or of the model at low sun. [-]"""
FAINT_W_PER_M2 = 20.0
"""Clear-sky irradiance below which the index says nothing. [W/m²]"""
NIGHT_MARGIN = pd.Timedelta("1h")
"""Clocks and places of real series are off by this much: steps this near to the sun do not count as night."""


@dataclass(frozen=True)
class Site:
    """Place of a system, north and east positive. [°]"""

    latitude_degree: float
    longitude_degree: float


@dataclass(frozen=True)
class Plane:
    """Orientation of modules; azimuth clockwise from north, tilt from horizontal. [°]"""

    azimuth_degree: float
    tilt_degree: float


@dataclass(frozen=True)
class PvWeather:
    """Weather of every step, as known at issue where it serves a forecast; each (time,).

    Parameters
    ----------
    ghi_w_per_m2 : ndarray, optional
        Global horizontal irradiance, mean over the step. [W/m²]
    cloud_share : ndarray, optional
        Total cloud cover from 0 to 1; gives the irradiance where that is not known. [-]
    temperature_c : ndarray, optional
        Of the air, 2 m above ground. [°C]
    others : ndarray, (time, column), optional
        Whatever else tells of the sky, such as water and ice in it or humidity.
    """

    ghi_w_per_m2: np.ndarray | None = None
    cloud_share: np.ndarray | None = None
    temperature_c: np.ndarray | None = None
    others: np.ndarray | None = None


@dataclass(frozen=True)
class SunSteps:
    """The sun of every step.

    Parameters
    ----------
    position : SolarPosition
        (sample, time)
    clear_ghi_w_per_m2 : ndarray, (time,)
        Mean global horizontal irradiance under a clear sky. [W/m²]
    up_share : ndarray, (time,)
        Share of the step during which the sun is above the horizon. [-]
    """

    position: SolarPosition
    clear_ghi_w_per_m2: np.ndarray
    up_share: np.ndarray

    @property
    def cos_zenith(self) -> np.ndarray:
        """Mean over the step, (time,). [-]"""
        return np.asarray(self.position.cos_zenith.mean(axis=0))


def sun_of_steps(times: pd.DatetimeIndex, step: pd.Timedelta, site: Site) -> SunSteps:
    """Follow the sun through every step."""
    moments = [times + (sample + 0.5) / SAMPLES_PER_STEP * step for sample in range(SAMPLES_PER_STEP)]
    suns = [solar_position(moment, site.latitude_degree, site.longitude_degree) for moment in moments]
    position = SolarPosition(np.stack([sun.cos_zenith for sun in suns]), np.stack([sun.azimuth for sun in suns]))
    clear = clear_sky_irradiance(position.cos_zenith).mean(axis=0)
    return SunSteps(position, clear, (position.cos_zenith > 0).mean(axis=0))


def irradiance_of_accumulated(energy_j_per_m2: np.ndarray, run_start: np.ndarray, step: pd.Timedelta) -> np.ndarray:
    """Mean of each step from a field that is summed up over a forecast run. [W/m²]

    Parameters
    ----------
    energy_j_per_m2 : ndarray, (time,)
        Sum from the start of the run to the end of the step. [J/m²]
    run_start : ndarray of bool, (time,)
        Whether the step is the first of its run.
    step : Timedelta
        Length of a step.

    Returns
    -------
    ndarray, (time,)
        Not below 0: packing of the field rounds nights to a little less than nothing.

    Examples
    --------
    >>> irradiance_of_accumulated(np.array([3.6e6, 5.4e6, 1.8e6]), np.array([True, False, True]), pd.Timedelta("1h"))
    array([1000.,  500.,  500.])
    """
    before = np.concatenate([[0.0], energy_j_per_m2[:-1]])
    energy = energy_j_per_m2 - np.where(run_start, 0.0, before)
    return np.asarray(np.maximum(energy, 0.0) / step.total_seconds())


def clear_sky_index(ghi_w_per_m2: np.ndarray, clear_ghi_w_per_m2: np.ndarray) -> np.ndarray:
    """Irradiance by that under a clear sky, (time,), at most `LARGEST_INDEX`; NaN without sun. [-]"""
    sunny = clear_ghi_w_per_m2 > FAINT_W_PER_M2
    index = ghi_w_per_m2 / np.where(sunny, clear_ghi_w_per_m2, 1.0)
    return np.asarray(np.where(sunny, np.clip(index, 0.0, LARGEST_INDEX), np.nan))


def irradiance_of(weather: PvWeather, sun: SunSteps) -> np.ndarray:
    """Global horizontal irradiance as given, else from the clouds, else of a clear sky, (time,). [W/m²]"""
    if weather.ghi_w_per_m2 is not None:
        return np.asarray(np.maximum(weather.ghi_w_per_m2, 0.0))
    if weather.cloud_share is not None:
        return cloudy_irradiance(sun.clear_ghi_w_per_m2, weather.cloud_share)
    return sun.clear_ghi_w_per_m2


def irradiance_on_planes(sun: SunSteps, ghi_w_per_m2: np.ndarray, planes: tuple[Plane, ...]) -> np.ndarray:
    """Mean irradiance of each plane, (time, plane). [W/m²]

    Within a step the irradiance follows the clear sky.
    """
    clear = clear_sky_irradiance(sun.position.cos_zenith)
    faint = sun.clear_ghi_w_per_m2 <= FAINT_W_PER_M2
    index = np.clip(ghi_w_per_m2 / np.where(faint, 1.0, sun.clear_ghi_w_per_m2), 0.0, LARGEST_INDEX)
    within = np.where(faint, ghi_w_per_m2, index * clear)
    on_planes = [
        plane_irradiance(sun.position, within, np.radians(plane.azimuth_degree), np.radians(plane.tilt_degree))
        for plane in planes
    ]
    return np.stack([values.mean(axis=0) for values in on_planes], axis=-1)


def module_power(irradiance_w_per_m2: np.ndarray, temperature_c: np.ndarray | float) -> np.ndarray:
    """Power relative to the rating of modules, losses of the system apart, shape of the irradiance. [-]

    Notes
    -----
    G / 1000 W/m² · (1 + γ (T - 25 °C)), the module warmer than the air by `MODULE_RISE_C` · G / 800 W/m²
    (R. G. Ross, 12th IEEE Photovoltaic Specialists Conference, 1976).

    Examples
    --------
    >>> round(float(module_power(np.array(800.0), 20.0)), 3)  # module at 45 °C
    0.736
    """
    module_c = temperature_c + MODULE_RISE_C * irradiance_w_per_m2 / 800
    return np.asarray(irradiance_w_per_m2 / STANDARD_IRRADIANCE * (1 + TEMPERATURE_COEFFICIENT * (module_c - 25)))


def is_night(sun: SunSteps, step: pd.Timedelta, margin: pd.Timedelta = NIGHT_MARGIN) -> np.ndarray:
    """Steps in which and around which, up to `margin`, the sun never rises, (time,).

    With a margin of an hour a system whose clock follows daylight saving unsaid
    does not lose its first or last hour.
    """
    near = sun.up_share > 0
    reach = int(np.ceil(margin / step))
    for shift in range(1, reach + 1):
        near[shift:] |= sun.up_share[:-shift] > 0
        near[:-shift] |= sun.up_share[shift:] > 0
    return ~near


def standard_planes(site: Site) -> tuple[Plane, ...]:
    """Planes of which real systems are mixtures: flat, towards the equator at two tilts, east and west."""
    equator = 180.0 if site.latitude_degree >= 0 else 0.0
    return (Plane(equator, 0.0), Plane(equator, 35.0), Plane(equator, 70.0), Plane(90.0, 35.0), Plane(270.0, 35.0))


def build_pv_features(
    times: pd.DatetimeIndex, step: pd.Timedelta, site: Site, weather: PvWeather | None = None
) -> np.ndarray:
    """Physical features of every step, all of them zero while the sun is down.

    Parameters
    ----------
    times : DatetimeIndex, (time,)
        UTC starts of steps that follow each other, without zone.
    step : Timedelta
        Length of a step.
    site : Site
        Known or from `pv_site.find_site`.
    weather : PvWeather, optional
        Without it, the features are those of a clear sky.

    Returns
    -------
    ndarray, (time, feature)
        Relative to standard irradiance. The first is the clear sky, then the power of the
        `standard_planes` under it; with weather, their power under the sky as it
        is and that sky by index, clouds, temperature, neighbouring steps and season.
    """
    sun = sun_of_steps(times, step, site)
    planes = standard_planes(site)
    clear = sun.clear_ghi_w_per_m2 / STANDARD_IRRADIANCE
    clear_power = irradiance_on_planes(sun, sun.clear_ghi_w_per_m2, planes) / STANDARD_IRRADIANCE
    if weather is None:
        return np.column_stack([clear, clear_power])
    ghi = irradiance_of(weather, sun)
    temperature = 25.0 if weather.temperature_c is None else weather.temperature_c[:, np.newaxis]
    power = module_power(irradiance_on_planes(sun, ghi, planes), temperature)
    index = np.where(np.isnan(ghi), np.nan, np.nan_to_num(clear_sky_index(ghi, sun.clear_ghi_w_per_m2)))
    columns = [clear, clear_power, power, sky_features(clear, power, index, weather), season_features(times, power)]
    return np.column_stack(columns)


def sky_features(clear: np.ndarray, power: np.ndarray, index: np.ndarray, weather: PvWeather) -> np.ndarray:
    """The clear sky weighted by what covers it, (time, feature)."""
    flat = power[:, 0]
    earlier, later = np.concatenate([flat[:1], flat[:-1]]), np.concatenate([flat[1:], flat[-1:]])
    day = clear > 0
    columns = [clear * index**2, clear * index**3, flat**2, power[:, 1] ** 2, day * earlier, day * later]
    if weather.cloud_share is not None:
        columns += [clear * weather.cloud_share, flat * weather.cloud_share, clear * weather.cloud_share**2]
    if weather.temperature_c is not None:
        columns += [clear * weather.temperature_c / 25]
    if weather.others is not None:
        columns += list((clear[:, np.newaxis] * weather.others).T)
    return np.column_stack(columns)


def season_features(times: pd.DatetimeIndex, power: np.ndarray) -> np.ndarray:
    """Power of the plane towards the equator by season, (time, 2): shade, snow and dirt have theirs."""
    angle = 2 * np.pi * np.asarray(times.dayofyear, dtype=float) / 365.25
    return np.column_stack([power[:, 1] * np.sin(angle), power[:, 1] * np.cos(angle)])
