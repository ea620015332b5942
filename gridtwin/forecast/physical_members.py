"""Forecasts of PV and wind by their physics, for the assets and the weather that they apply to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import PLACES, ClockGrid
from gridtwin.forecast.pv_features import PvWeather, Site
from gridtwin.forecast.pv_model import roll_pv_assets
from gridtwin.forecast.wind_model import roll_wind

WEATHER_NAMES = {
    "ghi_w_per_m2": "global horizontal irradiance [W/m²]",
    "cloud_share": "total cloud cover, 0 to 1 [-]",
    "temperature_c": "temperature of the air [°C]",
    "wind_speed_m_per_s": "wind at hub height, or near it [m/s]",
    "wind_direction_degree": "where the wind comes from [°]",
}
"""Columns of forecast weather that the physical models know by name; all others serve the regressions alone."""


def roll_physics(
    cube: np.ndarray, grid: ClockGrid, known: int, *, kind: np.ndarray, weather: dict[str, np.ndarray]
) -> np.ndarray:
    """Rolled day-ahead forecast of PV and wind assets.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power, feed-in negative.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    kind : ndarray of str, (asset,)
        Kind of asset.
    weather : dict of ndarray, (day, slot)
        Known at the issue of each day, by the names in `WEATHER_NAMES`.

    Returns
    -------
    ndarray, (day, slot, asset)
        NaN for other assets, and where the history is too short. Without weather, PV is
        forecast from the clear sky and the last days; wind is not forecast.
    """
    point = np.full(cube.shape, np.nan)
    pv, wind = np.flatnonzero(kind == "pv"), np.flatnonzero(kind == "wind")
    place = PLACES.get(grid.axis.zone)
    if len(pv) and place is not None:
        site = Site(place.latitude_degree, place.longitude_degree)
        given = pv_weather(grid, weather)
        point[:, :, pv], _ = roll_pv_assets(
            grid, cube[:, :, pv], [site] * len(pv), known=known, weather=[given] * len(pv), capacity=np.ones(len(pv))
        )
    if "wind_speed_m_per_s" in weather:
        direction = weather.get("wind_direction_degree")
        for asset in wind:
            point[:, :, asset] = roll_wind(
                cube[:, :, asset], weather["wind_speed_m_per_s"], known=known, direction_degree=direction
            )
    return point


def pv_weather(grid: ClockGrid, weather: dict[str, np.ndarray]) -> PvWeather | None:
    """What the weather says of the sky, on the steps of the grid; None without irradiance and clouds."""
    names = [name for name in ("ghi_w_per_m2", "cloud_share", "temperature_c") if name in weather]
    if not {"ghi_w_per_m2", "cloud_share"} & set(names):
        return None
    if "cloud_share" in names and np.nanmax(weather["cloud_share"]) > 1.01:
        largest = f"{np.nanmax(weather['cloud_share']):g}"
        raise DataError([Finding("cloud_share is no share", "forecast.weather", "values from 0 to 1", largest,
                                 "Divide percent by 100.", "error", "GT-F07")])  # fmt: skip
    return replace(PvWeather(), **{name: grid.to_steps(weather[name]) for name in names})
