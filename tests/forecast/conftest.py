"""A simulated neighbourhood whose random parts are known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.profiles import build_profiles
from gridtwin.forecast.calendar import ClockGrid, sun_elevation_degree

Neighbourhood = tuple[xr.Dataset, pd.Series]


def simulate_neighbourhood(first: dt.date, days: int, *, loads: int = 5, pvs: int = 2, seed: int = 1) -> Neighbourhood:
    """Loads with a weekly shape, a common random level of each day and noise; PV with one cloudiness a day."""
    grid = ClockGrid.of_days(first, days, "Europe/Berlin", pd.Timedelta("15min"))
    generator = np.random.default_rng(seed)
    weekend = np.array([day.weekday() >= 5 for day in grid.dates])[grid.day]
    clock = 2 * np.pi * grid.slot / grid.slots
    level = 1 + 0.25 * generator.standard_normal(days)[grid.day]
    shape = 0.3 - 0.12 * np.cos(clock) - 0.08 * np.sin(2 * clock) - 0.06 * weekend
    noise = 0.02 * generator.standard_normal((len(clock), loads))
    p_load = np.clip((shape * level)[:, np.newaxis] + noise, 0.0, 1.0)
    sun = np.clip(np.sin(np.radians(sun_elevation_degree(grid.axis))), 0.0, None)
    cloud = generator.uniform(0.2, 1.0, days)[grid.day]
    p_pv = -np.repeat((0.9 * sun * cloud)[:, np.newaxis], pvs, axis=1)
    kind = ["household"] * loads + ["pv"] * pvs + ["battery"]
    names = [f"{word} {number}" for number, word in enumerate(kind)]
    element = ["load"] * loads + ["sgen"] * pvs + ["storage"]
    assets = pd.DataFrame({"element": element, "index": range(len(kind)), "kind": kind}, index=names)
    installed = pd.Series(np.linspace(0.005, 0.02, len(kind)), index=names)
    relative = np.column_stack([p_load, p_pv, np.zeros(len(clock))])
    p_mw = relative * installed.to_numpy()
    return build_profiles(grid.axis, assets, p_mw, 0.2 * p_mw), installed


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Neighbourhood]:
    return simulate_neighbourhood


@pytest.fixture(scope="session")
def spring() -> Neighbourhood:
    """January to April 2016, over the switch to summer time on 27 March."""
    return simulate_neighbourhood(dt.date(2016, 1, 11), 100)
