"""Net loads of planted parts, and stations whose parts are metered."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.errors import DataError
from gridtwin.forecast.net_load import find_signal_lag, less_means, split_net_load, wind_signals
from gridtwin.forecast.pv_features import (
    Site,
    irradiance_on_planes,
    module_power,
    standard_planes,
    sun_of_steps,
)
from gridtwin.forecast.pv_site import lag_of
from gridtwin.forecast.wind_features import typical_power

QUARTER = pd.Timedelta("15min")
PLACE = Site(52.2, 5.3)
ZONE = "Europe/Amsterdam"
TIMES = pd.date_range("2016-03-01", periods=84 * 96, freq="15min")
DATA = Path(os.environ.get("GRIDTWIN_DATA", "/nowhere"))
PV_MW, WIND_MW = 12.0, 8.0


def wander(generator: np.random.Generator, hours: float) -> np.ndarray:
    """Gaussian with a memory of some hours, standard deviation 1."""
    keep = np.exp(-0.25 / hours)
    noise = generator.standard_normal(len(TIMES)) * np.sqrt(1 - keep**2)
    series = np.zeros(len(TIMES))
    for step in range(1, len(TIMES)):
        series[step] = keep * series[step - 1] + noise[step]
    return series


@pytest.fixture(scope="module")
def station() -> dict[str, np.ndarray]:
    """Twelve weeks: a load of 20 MW with its days, a slow random part of 1 MW; planted PV and wind."""
    generator = np.random.default_rng(11)
    sun = sun_of_steps(TIMES, QUARTER, PLACE)
    ghi = sun.clear_ghi_w_per_m2 * np.clip(0.6 + 0.35 * wander(generator, 8), 0.1, 1.1)
    pv = module_power(irradiance_on_planes(sun, ghi, standard_planes(PLACE)), 15.0)
    speed = 8 * np.exp(0.35 * wander(generator, 12))
    hour = (TIMES.hour + TIMES.minute / 60).to_numpy()
    weekend = np.asarray(TIMES.dayofweek >= 5)
    load = 20 - 6 * np.cos(2 * np.pi * (hour - 3) / 24) * np.where(weekend, 0.6, 1) + wander(generator, 24)
    feed_in = PV_MW * pv[:, 1], WIND_MW * typical_power(speed)
    net = load - feed_in[0] - feed_in[1]
    return {"net": net, "load": load, "pv": feed_in[0], "wind": feed_in[1], "pv_signals": pv, "speed": speed}


def test_parts_add_up_and_capacities_are_recovered(station: dict[str, np.ndarray]) -> None:
    parts = split_net_load(
        station["net"], TIMES, ZONE, pv_signals=station["pv_signals"], wind_signals=wind_signals(station["speed"])
    )
    total = parts.load_mw + parts.pv_mw + parts.wind_mw
    # two additions of doubles below 64 MW
    np.testing.assert_allclose(total, station["net"], rtol=0, atol=2e-14)
    assert parts.pv_mw.max() <= 0 and parts.wind_mw.max() <= 0
    # random load of 1 MW with a memory of a day against signals of 12 and 8 MW over 84 days: about 5 %
    assert parts.pv.estimate_mw == pytest.approx(PV_MW, rel=0.12)
    assert parts.wind.estimate_mw == pytest.approx(WIND_MW, rel=0.12)
    assert parts.pv.low_mw < PV_MW * 1.03 and parts.pv.high_mw > PV_MW * 0.97
    assert parts.wind.low_mw < WIND_MW * 1.03 and parts.wind.high_mw > WIND_MW * 0.97
    assert np.corrcoef(parts.pv_mw, -station["pv"])[0, 1] > 0.98
    assert np.corrcoef(parts.wind_mw, -station["wind"])[0, 1] > 0.98
    assert parts.quality == "estimated"
    assert [finding.code for finding in parts.findings] == ["net_load.estimated"] * 2


def test_gaps_and_spikes(station: dict[str, np.ndarray]) -> None:
    net = station["net"].copy()
    net[1000:1100] = np.nan
    net[3000:3040] = 500.0
    parts = split_net_load(net, TIMES, ZONE, pv_signals=station["pv_signals"])
    assert np.isnan(parts.load_mw[1000:1100]).all() and np.isfinite(parts.load_mw[1100:]).all()
    assert parts.pv.estimate_mw == pytest.approx(PV_MW, rel=0.25)  # forty spikes of 500 MW count little
    assert parts.wind.estimate_mw == 0 and (parts.wind_mw[1100:] == 0).all()


def test_what_is_not_there_is_not_told(station: dict[str, np.ndarray]) -> None:
    parts = split_net_load(station["load"], TIMES, ZONE, pv_signals=station["pv_signals"][:, 1:2])
    assert parts.pv.estimate_mw < 1.0
    assert [finding.code for finding in parts.findings] == ["net_load.not_told"]


def test_clear_sky_alone_gives_a_wide_interval(station: dict[str, np.ndarray]) -> None:
    sun = sun_of_steps(TIMES, QUARTER, PLACE)
    clear = irradiance_on_planes(sun, sun.clear_ghi_w_per_m2, standard_planes(PLACE)[1:2]) / 1000
    blind = split_net_load(station["net"], TIMES, ZONE, pv_signals=clear)
    seen = split_net_load(station["net"], TIMES, ZONE, pv_signals=station["pv_signals"][:, 1:2])
    assert blind.pv.high_mw - blind.pv.low_mw > 2 * (seen.pv.high_mw - seen.pv.low_mw)


def test_lag_between_net_and_weather_is_found(station: dict[str, np.ndarray]) -> None:
    late = np.roll(station["net"], 8)
    lag, findings = find_signal_lag(late, station["pv_signals"], TIMES, ZONE, where="station")
    assert abs(lag - 8) <= 1
    assert [finding.code for finding in findings] == ["clock.offset"]
    assert find_signal_lag(station["net"], station["pv_signals"], TIMES, ZONE)[1] == ()


def test_means_of_cells_by_hand() -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0])
    np.testing.assert_array_equal(less_means(values, np.array([0, 0, 1, 1])), [-0.5, 0.5, -3.5, 3.5])


def test_three_weeks_are_too_few(station: dict[str, np.ndarray]) -> None:
    part = slice(0, 21 * 96)
    with pytest.raises(DataError, match="too little"):
        split_net_load(station["net"][part], TIMES[part], ZONE, pv_signals=station["pv_signals"][part])


def test_metered_pv_of_a_dutch_station() -> None:
    file = DATA / "liander_substations" / "combined_6_substations_15min.parquet"
    if not file.is_file():
        pytest.skip("GRIDTWIN_DATA has no liander_substations")
    table = pd.read_parquet(file)
    table = table[table["substation"] == "OWD"]
    times = pd.DatetimeIndex(table["datetime"]).tz_convert("UTC").tz_localize(None).as_unit("ns")
    place = Site(float(table["lat"].iloc[0]), float(table["lon"].iloc[0]))
    sun = sun_of_steps(times, QUARTER, place)
    ghi = np.maximum(table["radiation"].to_numpy(float) / 3600, 0)
    shift = -round(lag_of(ghi, sun.clear_ghi_w_per_m2, np.ones(len(times), dtype=bool), QUARTER) / 15)
    pv = module_power(irradiance_on_planes(sun, np.roll(ghi, shift), standard_planes(place)), 15.0)
    net, metered = table["total_substation"].to_numpy(float), table["total_solar_part"].to_numpy(float)
    lag, findings = find_signal_lag(net, pv, times, ZONE)
    assert findings and 90 <= 15 * lag <= 180  # its stamps are two hours late, the wall clock of summer
    parts = split_net_load(net, times, ZONE, pv_signals=np.roll(pv, lag, axis=0))
    assert np.corrcoef(parts.pv_mw, metered)[0, 1] > 0.8
    assert parts.pv_mw.mean() == pytest.approx(metered.mean(), rel=0.25)
