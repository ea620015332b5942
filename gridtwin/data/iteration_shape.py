"""Power of a training run within its iterations: a square wave, its harmonics, and what smoothing costs.

Accelerators compute at high power, then wait for the exchange of gradients at lower power, every 0.1 to 10 s and
all at once. A mean of a quarter of an hour does not show it; generators and flicker meters feel it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from tomllib import loads
from typing import Any

import numpy as np
import pandas as pd


def read_screening_limits() -> dict[str, dict[str, Any]]:
    """Limits that fast changes of load are screened against, each with its source and whether it was verified."""
    return loads(files("gridtwin.data").joinpath("load_screening.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class IterationShape:
    """A square wave of power.

    Parameters
    ----------
    mean_kw : float
        Mean power. [kW]
    period_s : float
        Length of an iteration. [s]
    duty : float
        Share of it at high power. [-]
    depth : float
        Fall of power, by the high power. [-]
    """

    mean_kw: float
    period_s: float
    duty: float
    depth: float

    @property
    def high_kw(self) -> float:
        """Power while computing; the mean is D high + (1 - D)(1 - depth) high. [kW]"""
        return self.mean_kw / (1 - self.depth * (1 - self.duty))

    @property
    def low_kw(self) -> float:
        """Power during the exchange. [kW]"""
        return (1 - self.depth) * self.high_kw

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Power at instants. [kW]"""
        return np.where(np.mod(seconds / self.period_s, 1.0) < self.duty, self.high_kw, self.low_kw)

    def harmonics(self, count: int) -> pd.DataFrame:
        """Amplitude of the first harmonics; columns `order, frequency_hz, amplitude_kw`.

        Notes
        -----
        (high - low) 2 / (pi k) |sin(pi k D)|; with D = 1/2 and high - low = 2 A that is 4 A / (pi k) for odd k.

        Examples
        --------
        >>> wave = IterationShape(mean_kw=100.0, period_s=2.0, duty=0.5, depth=0.5)
        >>> float(wave.harmonics(1)["amplitude_kw"].iloc[0].round(3))  # A = 33.333 kW, 4 A / pi
        42.441
        """
        order = np.arange(1, count + 1)
        amplitude = (self.high_kw - self.low_kw) * 2 / (np.pi * order) * np.abs(np.sin(np.pi * order * self.duty))
        return pd.DataFrame({"order": order, "frequency_hz": order / self.period_s, "amplitude_kw": amplitude})

    def largest_in_band(self, low_hz: float, high_hz: float) -> tuple[float, float]:
        """Frequency and amplitude of the largest harmonic within a band; NaN and 0 where none lies in it. [Hz], [kW]"""
        inside = self.harmonics(max(1, int(np.floor(high_hz * self.period_s + 1e-9))))
        inside = inside[inside["frequency_hz"].between(low_hz - 1e-9, high_hz + 1e-9)]
        if inside.empty:
            return np.nan, 0.0
        row = inside.loc[inside["amplitude_kw"].idxmax()]
        return float(row["frequency_hz"]), float(row["amplitude_kw"])


@dataclass(frozen=True)
class Smoothed:
    """A trace of power after smoothing.

    Parameters
    ----------
    p_kw : ndarray, (sample,)
        Power with smoothing. [kW]
    floor_kwh : float
        Energy of filling up to the floor alone: integral of max(floor - P, 0). [kWh]
    wasted_kwh : float
        Energy beyond what is computed with, ramps included: integral of max(P_smooth - P, 0). [kWh]
    missing_kwh : float
        Computing held back by the upward ramp: integral of max(P - P_smooth, 0). [kWh]
    """

    p_kw: np.ndarray
    floor_kwh: float
    wasted_kwh: float
    missing_kwh: float


def smooth_power(
    p_kw: np.ndarray, seconds: float, *, floor_kw: float, up_kw_per_s: float = np.inf, down_kw_per_s: float = np.inf
) -> Smoothed:
    """Power with a floor and limited ramps, as accelerators offer it.

    Parameters
    ----------
    p_kw : ndarray, (sample,)
        Power without smoothing. [kW]
    seconds : float
        Length of a sample. [s]
    floor_kw : float
        Power below it is filled up by idle work. [kW]
    up_kw_per_s, down_kw_per_s : float
        Largest rise and fall. [kW/s]

    Examples
    --------
    >>> smooth_power(np.array([100.0, 0.0]), 1800.0, floor_kw=60.0).floor_kwh
    30.0
    """
    wanted = np.maximum(p_kw, floor_kw)
    smooth = np.empty_like(wanted)
    level = wanted[0]
    for position, target in enumerate(wanted):
        level = min(max(target, level - down_kw_per_s * seconds), level + up_kw_per_s * seconds)
        smooth[position] = level
    hours = seconds / 3600
    wasted, missing = (float(np.maximum(part, 0.0).sum()) * hours for part in (smooth - p_kw, p_kw - smooth))
    return Smoothed(smooth, float(np.maximum(floor_kw - p_kw, 0.0).sum()) * hours, wasted, missing)


def largest_ramp_kw_per_s(p_kw: np.ndarray, seconds: float) -> float:
    """Steepest change of a trace, either way. [kW/s]"""
    return float(np.abs(np.diff(p_kw)).max(initial=0.0) / seconds)
