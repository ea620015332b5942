"""Write the assumed series of the packaged scenarios: run `python scenarios/make_series.py`.

None of it was measured. Temperatures and prices only have the shape of a year in
northern Germany; the feeder head is the model's own power with a known error, for
the observation to find. The same seed writes the same files.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from gridtwin.data.profiles import axis_of
from gridtwin.data.rules import read_rules
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.scenario import Scenario
from gridtwin.time_axis import utc_of_local

HERE = Path(__file__).parent
SEED = 2016
UNMETERED_FACTOR = 1.06
"""What the households really draw by what the model believes. [-]"""
METER_NOISE = 0.01
"""Standard deviation of the feeder head's meter by its mean. [-]"""
HEAD_DAYS = 10
"""Length of the feeder head's series."""


def temperature_year(cold_spell: pd.Timestamp, *, seed: int) -> pd.Series:
    """Outdoor temperature of 2016, three-hourly means. [°C]

    A yearly wave (mean 10.3, coldest in late January), a daily wave that is larger in
    summer, weather that forgets in four days, and one cold spell of five days, so
    that the studied winter days ask something of the heat pumps.
    """
    times = pd.date_range("2015-12-31 21:00", "2017-01-01 03:00", freq="3h", name="time")
    day = np.asarray(times.dayofyear + times.hour / 24, dtype=float)
    year = 10.3 - 8.4 * np.cos(2 * np.pi * (day - 25) / 366)
    swing = 2.7 - 1.6 * np.cos(2 * np.pi * (day - 10) / 366)
    hours = 3 * np.arange(len(times))
    kept = np.exp(-3 / 96)
    noise = np.random.default_rng(seed).standard_normal(len(times))
    weather = 3.6 * lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], noise)
    distance_days = (times - cold_spell) / pd.Timedelta(days=1)
    spell = -7.0 * np.exp(-((np.asarray(distance_days) / 2.5) ** 2))
    daily = swing * np.cos(2 * np.pi * (hours + 21 + 1.5 + 1 - 15) / 24)
    return pd.Series(year + daily + weather + spell, index=times, name="temperature").round(1)


def day_ahead_prices(first: str, days: int, *, sun: float, level: float, seed: int) -> pd.Series:
    """Hourly day-ahead prices with a morning and an evening peak and a dip at noon. [EUR/MWh]

    Parameters
    ----------
    first : str
        First local day.
    days : int
        Number of days.
    sun : float
        Depth of the dip that PV digs at noon; at weekends half as much again. [EUR/MWh]
    level : float
        Mean price of a working day before the dip. [EUR/MWh]
    seed : int
        Seed of wind and chance.
    """
    local = pd.date_range(first, periods=24 * days, freq="h", tz="Europe/Berlin")
    hour = np.asarray(local.hour, dtype=float) + 0.5
    weekend = np.asarray(local.dayofweek >= 5, dtype=float)
    morning = 0.35 * np.exp(-(((hour - 8) / 1.8) ** 2))
    evening = 0.55 * np.exp(-(((hour - 18.5) / 2.2) ** 2))
    night = -0.30 * np.exp(-(((hour - 3.5) / 2.8) ** 2))
    random = np.random.default_rng(seed)
    wind = np.repeat(random.normal(0, 0.12, days), 24)[: len(local)]
    chance = 0.04 * lfilter([1.0], [1.0, -0.6], random.standard_normal(len(local)))
    dip = sun * (1 + 0.5 * weekend) * np.exp(-(((hour - 13.2) / 2.6) ** 2))
    price = level * (1 + morning + evening + night + wind + chance - 0.15 * weekend) - dip
    times = local.tz_convert("UTC").tz_localize(None).rename("time")
    return pd.Series(price, index=times, name="price").round(2)


def feeder_head(folder: Path, *, seed: int) -> pd.Series:
    """Active power into today's network, without growth, households 6 % above the model. [kW]"""
    scenario = Scenario.model_validate(tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8")))
    net, own, _ = read_simbench(scenario.network.source)
    twin = build_twin(net, rules=read_rules(scenario.network.rules))
    profiles, axis = own.sel(asset=twin.assets.index.to_numpy(dtype=str)), axis_of(own)
    day_before = scenario.time.first_day - dt.timedelta(days=1)
    issue = utc_of_local(dt.datetime.combine(day_before, scenario.time.issue), axis.zone)
    known = profiles.sel(time=slice(issue - pd.Timedelta(days=HEAD_DAYS), issue - pd.Timedelta(minutes=15)))
    factor = xr.where(known["kind"] == "household", UNMETERED_FACTOR, 1.0)
    truth = known.assign(p_mw=known["p_mw"] * factor, q_mvar=known["q_mvar"] * factor)
    p_kw = 1000 * run_power_flow(twin, truth)["p_slack_mw"].isel(path=0).to_series()
    noise = METER_NOISE * p_kw.abs().mean() * np.random.default_rng(seed).standard_normal(len(p_kw))
    return (p_kw + noise).rename("p").round(1)


def main() -> None:
    """Write every file."""
    suburb, village, campus = HERE / "suburb_day_ahead", HERE / "village_pv", HERE / "data_centre"
    temperature_year(pd.Timestamp("2016-12-08 12:00"), seed=SEED).to_csv(suburb / "temperature.csv")
    day_ahead_prices("2016-12-01", 16, sun=12.0, level=95.0, seed=SEED).to_csv(suburb / "prices.csv")
    day_ahead_prices("2016-05-13", 16, sun=88.0, level=70.0, seed=SEED + 1).to_csv(village / "prices.csv")
    day_ahead_prices("2016-11-02", 16, sun=10.0, level=90.0, seed=SEED + 3).to_csv(campus / "prices.csv")
    feeder_head(suburb, seed=SEED + 2).to_csv(suburb / "feeder_head.csv")


if __name__ == "__main__":
    main()
