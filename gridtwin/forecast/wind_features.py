"""From the weather to the wind at the hub, and the power curve that a history shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STANDARD_DENSITY = 1.225
"""Density of air to which power curves are normalised, IEC 61400-12-1. [kg/m³]"""
GAS_CONSTANT_AIR = 287.05
"""Of dry air, IEC 61400-12-1. [J/(kg K)]"""
LARGEST_SHEAR = 0.6
"""Shear exponent above which two heights say more of an error than of the wind. [-]"""
USUAL_SHEAR = 1 / 7
"""Shear exponent of flat open land, for a single height. [-]"""
BIN_M_PER_S = 0.5
"""Width of the bins of a power curve, IEC 61400-12-1. [m/s]"""
FASTEST_M_PER_S = 40.0
CUT_OUT_M_PER_S = 25.0
"""Wind at which most turbines stop: where a curve must not be taken for level without having been seen. [m/s]"""
LEAST_ROWS_PER_BIN = 3
TYPICAL_SPEED_M_PER_S = np.array([0.0, 2.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 25.0, 27.0])
TYPICAL_POWER = np.array([0.0, 0.0, 0.03, 0.09, 0.17, 0.28, 0.43, 0.60, 0.76, 0.89, 0.96, 0.99, 1.0, 1.0, 0.0])
"""Shape of a pitch-controlled turbine of some 2 MW and 350 W/m² of rotor, for systems without a history;
drawn by us from the common shape of such curves, of no particular make. [-]"""


@dataclass(frozen=True)
class WindWeather:
    """Wind of every step, as known at issue where it serves a forecast; each (time,).

    Parameters
    ----------
    speed_m_per_s : ndarray
        At `height_m`.
    height_m : float
        Above ground. [m]
    direction_degree : ndarray, optional
        Where the wind comes from, clockwise from north. [°]
    low_speed_m_per_s : ndarray, optional
        At `low_height_m`, for the shear.
    low_height_m : float
        Above ground. [m]
    temperature_k, pressure_pa : ndarray, optional
        Of the air, for its density. [K], [Pa]
    """

    speed_m_per_s: np.ndarray
    height_m: float = 100.0
    direction_degree: np.ndarray | None = None
    low_speed_m_per_s: np.ndarray | None = None
    low_height_m: float = 10.0
    temperature_k: np.ndarray | None = None
    pressure_pa: np.ndarray | None = None


def direction_of(u_m_per_s: np.ndarray, v_m_per_s: np.ndarray) -> np.ndarray:
    """Where the wind comes from, clockwise from north, of its eastward and northward components. [°]

    Examples
    --------
    >>> float(direction_of(np.array(5.0), np.array(0.0)))  # blows to the east
    270.0
    """
    return np.asarray(np.degrees(np.arctan2(-u_m_per_s, -v_m_per_s)) % 360)


def speed_at_hub(weather: WindWeather, hub_m: float) -> np.ndarray:
    """Wind at hub height by the power law, (time,). [m/s]

    Notes
    -----
    v_hub = v (h_hub / h)^α, with α = ln(v / v_low) / ln(h / h_low) within 0 and `LARGEST_SHEAR` where a
    second height is given, else `USUAL_SHEAR`; IEC 61400-1, normal wind profile.

    Examples
    --------
    >>> given = WindWeather(np.array([8.0]), 100.0, low_speed_m_per_s=np.array([5.0]), low_height_m=10.0)
    >>> speed_at_hub(given, 150.0).round(2)  # α = 0.204
    array([8.69])
    """
    shear: np.ndarray | float = USUAL_SHEAR
    if weather.low_speed_m_per_s is not None:
        low, high = np.maximum(weather.low_speed_m_per_s, 0.5), np.maximum(weather.speed_m_per_s, 0.5)
        shear = np.clip(np.log(high / low) / np.log(weather.height_m / weather.low_height_m), 0, LARGEST_SHEAR)
    return np.asarray(weather.speed_m_per_s * (hub_m / weather.height_m) ** shear)


def normalised_speed(weather: WindWeather, hub_m: float) -> np.ndarray:
    """Wind at hub height that carries the same power in air of standard density, (time,). [m/s]

    Notes
    -----
    v (ρ / 1.225 kg/m³)^(1/3) with ρ = p / (R T), IEC 61400-12-1 for turbines with pitch control; without
    temperature and pressure, the density is the standard one.
    """
    speed = speed_at_hub(weather, hub_m)
    if weather.temperature_k is None or weather.pressure_pa is None:
        return speed
    density = weather.pressure_pa / (GAS_CONSTANT_AIR * weather.temperature_k)
    return np.asarray(speed * np.cbrt(density / STANDARD_DENSITY))


def typical_power(speed_m_per_s: np.ndarray) -> np.ndarray:
    """Power of a typical turbine relative to its rating, (time,); zero above cut-out. [-]"""
    return np.asarray(np.interp(speed_m_per_s, TYPICAL_SPEED_M_PER_S, TYPICAL_POWER))


@dataclass(frozen=True)
class PowerCurve:
    """Mean power by wind speed, rising up to the cut-out.

    Parameters
    ----------
    speed_m_per_s, power : ndarray, (bin,)
        Middle of each bin; power relative to the rating.
    cut_out_m_per_s : float
        Above it the power is zero.
    """

    speed_m_per_s: np.ndarray
    power: np.ndarray
    cut_out_m_per_s: float

    def at(self, speed_m_per_s: np.ndarray) -> np.ndarray:
        """Power at given speeds, any shape; NaN where the speed is. [-]"""
        power = np.interp(speed_m_per_s, self.speed_m_per_s, self.power)
        return np.asarray(np.where(speed_m_per_s > self.cut_out_m_per_s, 0.0, power))


def bin_of(speed_m_per_s: np.ndarray) -> np.ndarray:
    """Position of the bin of each speed; NaN falls into the first, leave it out beforehand."""
    bins = int(FASTEST_M_PER_S / BIN_M_PER_S)
    return np.asarray(np.clip(np.nan_to_num(speed_m_per_s) / BIN_M_PER_S, 0, bins - 1).astype(int))


def fit_power_curve(speed_m_per_s: np.ndarray, power: np.ndarray) -> PowerCurve:
    """Power curve of a history; steps with NaN are left out.

    Parameters
    ----------
    speed_m_per_s : ndarray
        Normalised to standard density.
    power : ndarray, same shape
        Feed-in relative to the rating, positive.

    Returns
    -------
    PowerCurve
        As `power_curve_of_bins` makes it.
    """
    used = np.isfinite(speed_m_per_s) & np.isfinite(power)
    place = bin_of(speed_m_per_s[used])
    bins = int(FASTEST_M_PER_S / BIN_M_PER_S)
    return power_curve_of_bins(np.bincount(place, minlength=bins), np.bincount(place, power[used], minlength=bins))


def power_curve_of_bins(rows: np.ndarray, total: np.ndarray) -> PowerCurve:
    """Isotonic curve through the means of the bins, the method of bins of IEC 61400-12-1 made to rise.

    Parameters
    ----------
    rows, total : ndarray, (bin,)
        Steps and sum of power of each bin of `BIN_M_PER_S`.

    Notes
    -----
    Beyond the fastest wind seen the curve stays level up to the cut-out. The cut-out is the usual one,
    or the speed above 20 m/s from which on all bins show less than half of the largest power.
    """
    from scipy.optimize import isotonic_regression

    middle = (np.arange(len(rows)) + 0.5) * BIN_M_PER_S
    seen = rows >= LEAST_ROWS_PER_BIN
    if not seen.any():
        return PowerCurve(TYPICAL_SPEED_M_PER_S, TYPICAL_POWER, CUT_OUT_M_PER_S)
    mean = total[seen] / rows[seen]
    low = (middle[seen] > 20) & (mean < 0.5 * mean.max())
    stopped = np.logical_and.accumulate(low[::-1])[::-1]
    last = int(stopped.argmax()) if stopped.any() else len(mean)
    cut_out = float(middle[seen][last] - BIN_M_PER_S / 2) if stopped.any() else CUT_OUT_M_PER_S
    rising = isotonic_regression(mean[:last], weights=rows[seen][:last]).x
    return PowerCurve(middle[seen][:last], np.asarray(rising), cut_out)
