"""Buildings behind heat pumps: one resistance, one capacity."""

from __future__ import annotations

from dataclasses import dataclass

DESIGN_TEMPERATURE_DIFFERENCE_K = 32.0
"""Room 20 °C, design outdoor temperature -12 °C (EN 12831 national annex, central Germany). [K]"""
COP_AT_DESIGN = 2.5
"""Coefficient of performance at the design point; field studies of air heat pumps find 2.0 to 3.0. [-]"""
COP_IN_SEASON = 3.2
"""Seasonal coefficient of performance; field studies find 2.6 to 3.8. [-]"""
TIME_CONSTANT_H = 50.0
"""C / UA of a renovated house with screed; 30 h (light) to 100 h (heavy) occur. [h]"""


@dataclass(frozen=True)
class Building:
    """1R1C model, C dT/dt = COP p - UA (T - T_out).

    Parameters
    ----------
    ua_mw_per_k : float
        Heat loss coefficient. [MW/K]
    c_mwh_per_k : float
        Heat capacity. [MWh/K]
    cop : float
        Heat per electric energy. [-]
    """

    ua_mw_per_k: float
    c_mwh_per_k: float
    cop: float


def assume_building(p_rated_mw: float) -> Building:
    """Building that a heat pump of this electric rating just heats on the design day.

    Examples
    --------
    >>> round(assume_building(0.004).ua_mw_per_k * 1000, 4)
    0.3125
    """
    ua_mw_per_k = COP_AT_DESIGN * p_rated_mw / DESIGN_TEMPERATURE_DIFFERENCE_K
    return Building(ua_mw_per_k, ua_mw_per_k * TIME_CONSTANT_H, COP_IN_SEASON)
