"""Where the sun stands and what reaches a tilted plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SOLAR_CONSTANT = 1361.0
"""Irradiance outside the atmosphere; Kopp, Lean, Geophys. Res. Lett. 38, 2011. [W/m²]"""
GROUND_ALBEDO = 0.2
"""Share of irradiance that grass and soil reflect; the usual assumption. [-]"""


@dataclass(frozen=True)
class SolarPosition:
    """Where the sun stands.

    Parameters
    ----------
    cos_zenith : ndarray, (time,)
        Sine of the elevation, negative at night. [-]
    azimuth : ndarray, (time,)
        Clockwise from north. [rad]
    """

    cos_zenith: np.ndarray
    azimuth: np.ndarray


def solar_position(times: pd.DatetimeIndex, latitude_degree: float, longitude_degree: float) -> SolarPosition:
    """Position of the sun by declination and hour angle, good to about half a degree.

    Parameters
    ----------
    times : DatetimeIndex, (time,)
        UTC instants without zone.
    latitude_degree, longitude_degree : float
        North and east positive. [°]

    Notes
    -----
    Declination and equation of time as Fourier series of the day angle [1]_.

    References
    ----------
    .. [1] J. W. Spencer, Fourier series representation of the position of the sun,
       Search 2(5), 1971.

    Examples
    --------
    >>> noon = solar_position(pd.DatetimeIndex(["2016-06-21 12:00"]), 51.5, 0.0)
    >>> round(float(np.degrees(np.arcsin(noon.cos_zenith[0]))), 0)  # 90 - 51.5 + 23.4
    62.0
    """
    hour = np.asarray((times - times.normalize()) / pd.Timedelta(hours=1), dtype=float)
    angle = 2 * np.pi * (np.asarray(times.dayofyear, dtype=float) - 1 + hour / 24) / 365
    s1, c1, s2, c2 = np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)
    third = -0.002697 * np.cos(3 * angle) + 0.00148 * np.sin(3 * angle)
    declination = 0.006918 - 0.399912 * c1 + 0.070257 * s1 - 0.006758 * c2 + 0.000907 * s2 + third
    equation_h = 3.8197 * (0.000075 + 0.001868 * c1 - 0.032077 * s1 - 0.014615 * c2 - 0.04089 * s2)
    hour_angle = np.radians(15 * (hour + equation_h - 12) + longitude_degree)
    latitude = np.radians(latitude_degree)
    cos_zenith = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    east = -np.cos(declination) * np.sin(hour_angle)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle)
    return SolarPosition(cos_zenith, np.arctan2(east, north))


def clear_sky_irradiance(cos_zenith: np.ndarray) -> np.ndarray:
    """Global horizontal irradiance under a clear sky. [W/m²]

    Notes
    -----
    1098 cos z exp(-0.057 / cos z), B. Haurwitz, Journal of Meteorology 2, 1945.
    """
    up = np.maximum(cos_zenith, 1e-3)
    return np.asarray(np.where(cos_zenith > 0, 1098 * up * np.exp(-0.057 / up), 0.0))


def extraterrestrial_irradiance(times: pd.DatetimeIndex) -> np.ndarray:
    """Irradiance outside the atmosphere on a plane that faces the sun, (time,). [W/m²]

    Notes
    -----
    `SOLAR_CONSTANT` over the squared distance to the sun, Fourier series of Spencer,
    Search 2(5), 1971.
    """
    angle = 2 * np.pi * (np.asarray(times.dayofyear, dtype=float) - 1) / 365
    near = 1.00011 + 0.034221 * np.cos(angle) + 0.00128 * np.sin(angle)
    return np.asarray(SOLAR_CONSTANT * (near + 0.000719 * np.cos(2 * angle) + 0.000077 * np.sin(2 * angle)))


def cloudy_irradiance(clear_sky: np.ndarray, cloud_share: np.ndarray) -> np.ndarray:
    """Global horizontal irradiance under clouds, where only their cover is known. [W/m²]

    Parameters
    ----------
    clear_sky : ndarray, (time,)
        Under a clear sky. [W/m²]
    cloud_share : ndarray, (time,)
        Total cloud cover from 0 to 1. [-]

    Notes
    -----
    clear (1 - 0.75 N^3.4), F. Kasten, G. Czeplak, Solar Energy 24(2), 1980.

    Examples
    --------
    >>> float(cloudy_irradiance(np.array([800.0]), np.array([1.0]))[0])
    200.0
    """
    return np.asarray(clear_sky * (1 - 0.75 * np.clip(cloud_share, 0, 1) ** 3.4))


def diffuse_share(clearness: np.ndarray) -> np.ndarray:
    """Diffuse by global irradiance. [-]

    Notes
    -----
    Erbs, Klein, Duffie, Solar Energy 28(4), 1982, with the clearness index kt.
    """
    kt = np.clip(clearness, 0.0, 0.8)
    middle = 0.9511 - 0.1604 * kt + 4.388 * kt**2 - 16.638 * kt**3 + 12.336 * kt**4
    return np.asarray(np.where(kt <= 0.22, 1 - 0.09 * kt, middle))


def plane_irradiance(sun: SolarPosition, horizontal: np.ndarray, azimuth: float, tilt: float) -> np.ndarray:
    """Irradiance of a tilted plane: beam, isotropic diffuse and ground-reflected part.

    Parameters
    ----------
    sun : SolarPosition
        (time,)
    horizontal : ndarray, (time,)
        Global horizontal irradiance. [W/m²]
    azimuth, tilt : float
        Of the plane; azimuth clockwise from north. [rad]

    Notes
    -----
    Liu, Jordan, Solar Energy 7(2), 1963, with GROUND_ALBEDO for the reflected part.
    """
    up = np.maximum(sun.cos_zenith, 0.05)
    diffuse = horizontal * diffuse_share(horizontal / (SOLAR_CONSTANT * up))
    sin_zenith = np.sqrt(np.clip(1 - sun.cos_zenith**2, 0, 1))
    incidence = sun.cos_zenith * np.cos(tilt) + sin_zenith * np.sin(tilt) * np.cos(sun.azimuth - azimuth)
    beam = (horizontal - diffuse) * np.maximum(incidence, 0) / up
    reflected = GROUND_ALBEDO * horizontal * (1 - np.cos(tilt)) / 2
    return np.asarray(beam + diffuse * (1 + np.cos(tilt)) / 2 + reflected)
