"""Skill of the forecasts of PV, wind and parts of a net load on public measurements.

Run it as `python -m benchmarks.forecast_skill.renewables`, with names of `SUBJECTS` for a part; it writes
`benchmarks/results/forecast_skill_renewables.json`. `GRIDTWIN_DATA` names the folder of the data.

Settings are the defaults of the package; leaf and trees of the forest were never varied for the score. Three choices
of method were made while results of all months of GEFCom2014 were in view, not of the earliest alone: one forest per
zone instead of one for all, recalibration of its levels, and the site from the irradiance of the weather.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.conformal import RolledErrors, conformal_quantiles
from gridtwin.forecast.features import days_before, last_known_day
from gridtwin.forecast.forest_quantiles import recalibrate, roll_forest
from gridtwin.forecast.net_load import find_signal_lag, split_net_load, wind_signals
from gridtwin.forecast.pv_features import (
    PvWeather,
    Site,
    build_pv_features,
    irradiance_of_accumulated,
    irradiance_on_planes,
    is_night,
    module_power,
    standard_planes,
    sun_of_steps,
)
from gridtwin.forecast.pv_model import roll_pv
from gridtwin.forecast.pv_site import check_clock, find_site, find_site_of_irradiance, lag_of
from gridtwin.forecast.wind_features import WindWeather, direction_of, normalised_speed, speed_at_hub, typical_power
from gridtwin.forecast.wind_model import roll_power_curve, roll_wind

RESULTS = Path(__file__).parent.parent / "results" / "forecast_skill_renewables.json"
HOUR, QUARTER = pd.Timedelta("1h"), pd.Timedelta("15min")
LEVELS = tuple(np.round(np.arange(1, 100) / 100, 2))
SEED = 1
ISSUE_HOUR = 12
WARM_UP_DAYS = 60
OWN_USE = 0.01
"""What a turbine at standstill draws, relative to its rating: 18 of 2,050 kW measured. [-]"""
OPEN_TASK = "2013-04"
BENCHMARK_PUBLISHED = 0.0376
BEST_PUBLISHED = 0.0121
COMPETITION_BENCHMARK_OF_OPEN_TASK = 0.03493
"""Of April 2013, the first task of the competition, recomputed; shared data, solar_benchmark_pinball_recomputed.csv."""


def data_folder() -> Path:
    return Path(os.environ["GRIDTWIN_DATA"])


def pinball(actual: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Mean over `LEVELS` of every step."""
    levels = np.array(LEVELS).reshape(-1, *[1] * actual.ndim)
    return np.asarray(np.maximum(levels * (actual - quantiles), (levels - 1) * (actual - quantiles)).mean(axis=0))


def coverage(actual: np.ndarray, quantiles: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Share of chosen steps within the central 80 and 90 % bands. [%]"""
    used = chosen & np.isfinite(actual) & np.isfinite(quantiles[0])
    shares = {}
    for width in (80, 90):
        low, high = LEVELS.index(round(0.5 - width / 200, 2)), LEVELS.index(round(0.5 + width / 200, 2))
        inside = (actual >= quantiles[low] - 1e-6) & (actual <= quantiles[high] + 1e-6)
        shares[str(width)] = round(100 * float(inside[used].mean()), 1)
    return shares


def conformal_coverage(
    actual: np.ndarray, point: np.ndarray, chosen: np.ndarray, off: np.ndarray | None = None, *, own_use: float = 0.0
) -> dict[str, float]:
    """Coverage of the conformal bands around a rolled point forecast, after `WARM_UP_DAYS` of errors. [%]

    Conformal levels are of the signed value, consumption positive; feed-in is flipped on the way in and out.
    """
    first = int(np.argmax(np.isfinite(point).any(axis=1))) + WARM_UP_DAYS
    targets = np.arange(first, len(point))
    rolled = RolledErrors(
        -actual[:, :, np.newaxis],
        -point[:, :, np.newaxis],
        np.zeros(len(point), dtype=bool),  # clouds and wind know no weekend
        off=None if off is None else off[:, :, np.newaxis],
        lower=-1.0,
        upper=own_use,
    )
    signed = conformal_quantiles(rolled, LEVELS, targets).quantiles[..., 0]
    quantiles = -signed[::-1].astype(float)
    return coverage(actual[targets], quantiles, chosen[targets])


def point_scores(actual: np.ndarray, forecasts: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Mean absolute error relative to rating and to mean power, on the steps that all forecasts have."""
    common = np.isfinite(actual) & np.all([np.isfinite(forecast) for forecast in forecasts.values()], axis=0)
    mean = np.abs(actual[common]).mean()
    errors = {name: np.abs(forecast - actual)[common].mean() for name, forecast in forecasts.items()}
    return {
        name: {"mae_of_rating": round(float(e), 4), "mae_of_mean_power": round(float(e / mean), 4)}
        for name, e in errors.items()
    }


def month_starts(grid: ClockGrid) -> tuple[np.ndarray, np.ndarray]:
    """Label of the month of every day and position of its first day."""
    labels = np.array([f"{day:%Y-%m}" for day in grid.dates])
    return labels, np.array([int(np.argmax(labels == label)) for label in labels])


def gefcom_weather(frame: pd.DataFrame, grid: ClockGrid) -> PvWeather:
    """NWP of one zone; stamps name the end of an hour and runs begin at 00 UTC."""
    nwp = frame.set_axis(frame.index - HOUR).reindex(grid.axis.times)
    start = np.asarray(grid.axis.times.hour == 0)
    ghi, top = (
        irradiance_of_accumulated(nwp[name].to_numpy(float), start, HOUR) for name in ("ssrd_j_m2_acc", "tsr_j_m2_acc")
    )
    water = [np.log1p(20 * nwp["tclw"]), np.log1p(50 * nwp["tciw"]), nwp["r_pct"] / 100, top / 1000]
    return PvWeather(ghi, nwp["tcc"].to_numpy(float), nwp["t2m_k"].to_numpy(float) - 273.15, np.column_stack(water))


def benchmark_definition(power: pd.DataFrame) -> dict[str, Any]:
    """The competition's benchmark: the hour a year before as every quantile; task -> recomputed and stored."""
    stored = pd.read_csv(data_folder() / "gefcom2014_scores" / "solar_benchmark_pinball_recomputed.csv")
    found = {}
    for row in stored.itertuples():
        times = power.index[(power.index >= row.start) & (power.index <= row.end)]
        before = times - pd.DateOffset(years=1)
        if len(times) == 0 or before[0] < power.index[0] or len(times) * 3 < row.rows:
            continue
        error = np.abs(power.loc[times].to_numpy() - power.loc[before].to_numpy())
        found[str(row.start)[:7]] = {
            "recomputed": round(float(error.mean() / 2), 5),
            "stored": row.benchmark_pinball_pu,
        }
    return found


def gefcom_solar() -> dict[str, Any]:
    """Monthly tasks, three zones; pinball over all hours, nights included, as in the competition."""
    power = pd.read_parquet(data_folder() / "gefcom2014_solar" / "power_2012-04_2013-12.parquet")
    nwp = pd.read_parquet(data_folder() / "gefcom2014_solar" / "solar_nwp_ecmwf.parquet")
    grid = ClockGrid.of_days(dt.date(2012, 4, 1), 395, "UTC", HOUR)
    labels, starts = month_starts(grid)
    losses, last_month, bands, points = [], [], [], {}
    for zone in (1, 2, 3):
        series = power[f"power_pu_zone{zone}"]
        actual = grid.to_cube(series.set_axis(series.index - HOUR).reindex(grid.axis.times).to_numpy(float))
        weather = gefcom_weather(nwp.loc[zone], grid)
        quantiles = competition_quantiles(grid, actual, weather, starts)
        losses.append(pinball(actual, quantiles))
        last_month.append(pinball(actual, recent_quantiles(actual, starts)))
        features, night = gefcom_features(grid, weather, WARM_UP_DAYS)
        bands.append((actual, quantiles, features[:, :, 0] > 0))
        points[f"zone {zone}"] = rolled_daily(actual, features, night)
    months = [label for label in dict.fromkeys(labels) if label != labels[0]]
    by_month = {m: round(float(np.mean([loss[labels == m] for loss in losses])), 5) for m in months}
    simple = {m: round(float(np.mean([loss[labels == m] for loss in last_month])), 5) for m in months}
    actual, quantiles, daylight = (np.concatenate(part, axis=-1) for part in zip(*bands, strict=True))
    return {
        "pinball_by_month": by_month,
        "pinball_mean_of_months": round(float(np.mean(list(by_month.values()))), 5),
        "pinball_of_same_hours_of_28_days_before_the_month": simple,
        "pinball_of_same_hours_mean": round(float(np.mean(list(simple.values()))), 5),
        "benchmark_definition": "the same hour a year before as every quantile; needs a year of power, "
        "so of the months with NWP only 2013-04 has it",
        "benchmark_proof": benchmark_definition(power),
        "open_task": {
            "month": OPEN_TASK,
            "ours": by_month[OPEN_TASK],
            "benchmark": COMPETITION_BENCHMARK_OF_OPEN_TASK,
            "below_benchmark_percent": round(100 * (1 - by_month[OPEN_TASK] / COMPETITION_BENCHMARK_OF_OPEN_TASK), 1),
        },
        "published_context": {"benchmark": BENCHMARK_PUBLISHED, "best_team": BEST_PUBLISHED, "months": "later ones"},
        "daylight_coverage_percent": coverage(actual, quantiles, daylight),
        "rolled_daily_point": points,
    }


def gefcom_features(grid: ClockGrid, weather: PvWeather, known_days: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and nights of the site that the irradiance of the first `known_days` tells of."""
    assert weather.ghi_w_per_m2 is not None
    first = slice(0, known_days * grid.slots)
    site = find_site_of_irradiance(weather.ghi_w_per_m2[first], grid.axis.times[first], HOUR)
    features = grid.to_cube(build_pv_features(grid.axis.times, HOUR, site, weather))
    return features, grid.to_cube(is_night(sun_of_steps(grid.axis.times, HOUR, site), HOUR))


def competition_quantiles(grid: ClockGrid, actual: np.ndarray, weather: PvWeather, starts: np.ndarray) -> np.ndarray:
    """Quantiles of every month from what was known before it, site and all, (level, day, slot)."""
    quantiles = np.full((len(LEVELS), *actual.shape), np.nan)
    seen = np.full(actual.shape, np.nan)
    for start in np.unique(starts[starts > 0]):
        days = starts == start
        features, night = gefcom_features(grid, weather, start)
        point = -roll_pv(-actual, features, night, known=0, training_end=starts)
        target = np.where(night, np.nan, actual)
        ends = np.where(days, start, 0)
        found = roll_forest(features, point, target, ends, levels=LEVELS, seed=SEED)[:, days]
        quantiles[:, days] = np.where(night[days], 0.0, np.clip(found, 0.0, 1.0))
        seen[days] = target[days]
    return np.where(np.isnan(seen), quantiles, recalibrate(quantiles, LEVELS, seen, starts))


def rolled_daily(actual: np.ndarray, features: np.ndarray, night: np.ndarray) -> dict[str, Any]:
    """Point scores and coverage of forecasts issued every day."""
    rolled = -roll_pv(-actual, features, night, known=ISSUE_HOUR)
    bare = -roll_pv(-actual, features[:, :, :6], night, known=ISSUE_HOUR)
    chosen = {"weather": rolled, "no_weather": bare, "two_days_before": days_before(actual, 2)}
    scores: dict[str, Any] = point_scores(actual[WARM_UP_DAYS:], {k: v[WARM_UP_DAYS:] for k, v in chosen.items()})
    bands = conformal_coverage(actual, rolled, features[:, :, 0] > 0, night)
    return scores | {"daylight_coverage_of_conformal_bands_percent": bands}


def recent_quantiles(actual: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Quantiles of the same hour over the 28 days before the month, (level, day, slot)."""
    quantiles = np.full((len(LEVELS), *actual.shape), np.nan)
    for start in np.unique(starts[starts > 0]):
        days = starts == start
        quantiles[:, days] = np.quantile(actual[max(0, start - 28) : start], LEVELS, axis=0)[:, np.newaxis]
    return quantiles


def haute_borne() -> dict[str, Any]:
    """Four turbines as one farm, hourly, with ERA5: a reanalysis, so an upper bound of what a forecast gives."""
    folder = data_folder() / "la_haute_borne_wind"
    turbines = pd.read_parquet(folder / "turbines_10min_2014.parquet")
    farm = turbines.pivot_table(index="time_utc", columns="turbine", values="power_kw", observed=True)
    hourly = (farm.resample("1h").mean() / 2050).mean(axis=1, skipna=False)
    grid = ClockGrid.of_days(dt.date(2014, 1, 1), 365, "UTC", HOUR)
    times = grid.axis.times.tz_localize("UTC")
    era = pd.read_parquet(folder / "era5_hourly_2012_2014.parquet").set_index("time_utc").reindex(times)
    arrays = {name: era[name].to_numpy(float) for name in era}
    weather = WindWeather(
        arrays["ws_100m"],
        direction_degree=direction_of(arrays["u_100"], arrays["v_100"]),
        temperature_k=arrays["t_2m"],
        pressure_pa=arrays["surf_pres"],
    )
    cube = grid.to_cube(-hourly.reindex(times).to_numpy(float))
    speed, direction = grid.to_cube(normalised_speed(weather, 80.0)), grid.to_cube(weather.direction_degree)
    started = time.perf_counter()
    rolled = roll_wind(cube, speed, known=ISSUE_HOUR, direction_degree=direction)
    seconds = time.perf_counter() - started
    forecasts = {
        "weather": rolled,
        "learnt_curve_alone": -roll_power_curve(-cube, speed),
        "typical_curve": -typical_power(grid.to_cube(speed_at_hub(weather, 80.0))),
        "no_weather": roll_wind(cube, None, known=ISSUE_HOUR),
        "persistence": last_known_day(cube, ISSUE_HOUR),
    }
    target = -cube
    features = np.stack([speed, np.sin(np.radians(direction)), np.cos(np.radians(direction))], axis=2)
    _, starts = month_starts(grid)
    quantiles = roll_forest(features, -rolled, target, starts, levels=LEVELS, seed=SEED)
    quantiles = recalibrate(quantiles, LEVELS, target, starts)
    return {
        "point": point_scores(cube[WARM_UP_DAYS:], {k: v[WARM_UP_DAYS:] for k, v in forecasts.items()}),
        "pinball_of_rating": round(float(np.nanmean(pinball(target, quantiles)[WARM_UP_DAYS:])), 5),
        "coverage_percent": coverage(target, quantiles, starts[:, np.newaxis] >= WARM_UP_DAYS - 2),
        "coverage_of_conformal_bands_percent": conformal_coverage(
            target, -rolled, np.ones(target.shape, dtype=bool), own_use=OWN_USE
        ),
        "seconds_of_365_days": round(seconds, 2),
        "weather": "ERA5 reanalysis, an upper bound",
        "capacity_mw": 8.2,
    }


def pvdaq() -> dict[str, Any]:
    """One system of 15 min with satellite weather (an upper bound), as stamped and with the clock read right."""
    folder = data_folder() / "pvdaq_system50"
    power = pd.read_parquet(folder / "ac_power_15min_2011-04_2012.parquet")
    weather = pd.read_parquet(folder / "nsrdb_30min_2011_2012.parquet")
    stamps = pd.DatetimeIndex(power["time_label_fixed_minus7"]).tz_localize(None)
    as_labelled = stamps + pd.Timedelta("7h")
    values = power["ac_power_2"].to_numpy(float)
    rating = float(np.nanquantile(values[: 90 * 96], 0.999))
    sky = weather.set_axis(pd.DatetimeIndex(weather["time_fixed_minus7"]).tz_convert("UTC").tz_localize(None))
    clock = check_clock(values, nsrdb_on(sky, as_labelled)[0], as_labelled, QUARTER, where="pvdaq system 50")
    local = stamps.tz_localize("America/Denver", ambiguous="NaT", nonexistent="NaT")
    right = local.tz_convert("UTC").tz_localize(None)
    return {
        "clock_findings": [str(finding) for finding in clock.findings],
        "lag_min_by_month": clock.lag_min.round(0).to_dict(),
        "as_labelled": pvdaq_scores(values, as_labelled, sky, rating),
        "clock_read_as_wall_clock": pvdaq_scores(values, right, sky, rating),
        "weather": "NSRDB satellite, an upper bound",
    }


def nsrdb_on(sky: pd.DataFrame, times: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Irradiance and temperature of half hours on other steps."""
    values = sky[["ghi", "temp_air"]].astype(float)
    finer = values.reindex(values.index.union(times)).interpolate(limit=2).reindex(times)
    return finer["ghi"].to_numpy(), finer["temp_air"].to_numpy()


def pvdaq_scores(values: np.ndarray, times: pd.DatetimeIndex, sky: pd.DataFrame, rating: float) -> dict[str, Any]:
    """Rolled from day to day, forests grown every 182 days; scores from the 61st day on, in daylight."""
    grid = ClockGrid.of_days(dt.date(2011, 4, 16), 625, "Etc/GMT+7", QUARTER)
    series = pd.Series(values / rating, times)
    series = series[series.index.notna() & ~series.index.duplicated()].reindex(grid.axis.times)
    ghi, temperature = nsrdb_on(sky, grid.axis.times)
    first = slice(0, WARM_UP_DAYS * 96)
    site, _ = find_site(series.to_numpy()[first], grid.axis.times[first], QUARTER)
    features = grid.to_cube(build_pv_features(grid.axis.times, QUARTER, site, PvWeather(ghi, None, temperature)))
    night = grid.to_cube(is_night(sun_of_steps(grid.axis.times, QUARTER, site), QUARTER))
    actual = grid.to_cube(series.to_numpy())
    known = ISSUE_HOUR * 4
    started = time.perf_counter()
    rolled = -roll_pv(-actual, features, night, known=known)
    seconds = time.perf_counter() - started
    daylight = features[:, :, 0] > 0
    forecasts = {
        "weather": rolled,
        "no_weather": -roll_pv(-actual, features[:, :, :6], night, known=known),
        "two_days_before": days_before(actual, 2),
    }
    seen = np.where(daylight, actual, np.nan)
    half_year = np.arange(len(actual)) // 182 * 182
    target = np.where(night, np.nan, actual)
    quantiles = roll_forest(features, rolled, target, half_year, levels=LEVELS, seed=SEED)
    quantiles = recalibrate(quantiles, LEVELS, target, half_year)
    return {
        "site": [round(site.latitude_degree, 1), round(site.longitude_degree, 1)],
        "daylight_point": point_scores(seen[WARM_UP_DAYS:], {k: v[WARM_UP_DAYS:] for k, v in forecasts.items()}),
        "daylight_coverage_percent": coverage(actual, quantiles, daylight),
        "daylight_coverage_of_conformal_bands_percent": conformal_coverage(actual, rolled, daylight, night),
        "seconds_of_625_days": round(seconds, 2),
    }


def liander() -> dict[str, Any]:
    """Parts of the net load of Dutch stations against those that are metered; clocks are aligned first."""
    table = pd.read_parquet(data_folder() / "liander_substations" / "combined_6_substations_15min.parquet")
    results = {}
    for name, station in table.groupby("substation"):
        net = station["total_substation"].to_numpy(float)
        if net.std() < 0.01:
            results[str(name)] = {"left_out": "the net is zero throughout"}
            continue
        results[str(name)] = split_station(station, net)
    return results


def split_station(station: pd.DataFrame, net: np.ndarray) -> dict[str, Any]:
    times = pd.DatetimeIndex(station["datetime"]).tz_convert("UTC").tz_localize(None).as_unit("ns")
    place = Site(*(float(station[a].fillna(station[b]).iloc[0]) for a, b in (("lat", "Lat"), ("lon", "Lon"))))
    sun = sun_of_steps(times, QUARTER, place)
    ghi = np.maximum(station["radiation"].to_numpy(float) / 3600, 0)
    late = lag_of(ghi, sun.clear_ghi_w_per_m2, np.ones(len(times), dtype=bool), QUARTER)
    shift = -round(late / 15)
    pv = module_power(irradiance_on_planes(sun, np.roll(ghi, shift), standard_planes(place)), 15.0)
    wind = wind_signals(np.roll(station["windspeed_100m"].to_numpy(float), shift))
    lag, findings = find_signal_lag(net, np.column_stack([pv, wind]), times, "Europe/Amsterdam")
    pv, wind = np.roll(pv, lag, axis=0), np.roll(wind, lag, axis=0)
    parts = split_net_load(net, times, "Europe/Amsterdam", pv_signals=pv, wind_signals=wind)
    result: dict[str, Any] = {
        "weather_late_min": round(late),
        "net_late_min": 15 * lag,
        "findings": [str(finding) for finding in (*findings, *parts.findings)],
        "largest_gap_of_sum_mw": float(np.abs(parts.load_mw + parts.pv_mw + parts.wind_mw - net).max()),
    }
    metered = {
        "pv": ("solar_on", "total_solar_part", parts.pv_mw),
        "wind": ("wind_on", "total_wind_part", parts.wind_mw),
    }
    for part, (flag, column, estimate) in metered.items():
        if station[flag].iloc[0]:
            truth = station[column].to_numpy(float)
            result[part] = {
                "correlation": round(float(np.corrcoef(truth, estimate)[0, 1]), 3),
                "mae_mw": round(float(np.abs(truth - estimate).mean()), 3),
                "mean_metered_mw": round(float(truth.mean()), 3),
                "mean_estimated_mw": round(float(estimate.mean()), 3),
            }
    return result


SUBJECTS: dict[str, Callable[[], dict[str, Any]]] = {
    "gefcom2014_solar": gefcom_solar,
    "la_haute_borne_wind": haute_borne,
    "pvdaq_system50": pvdaq,
    "liander_net_load": liander,
}


def main() -> None:
    """Measure the subjects named on the command line, or all, and renew their part of the file."""
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    results |= {"python": platform.python_version(), "settings": "defaults, no tuning to a data set"}
    for name in sys.argv[1:] or SUBJECTS:
        started = time.perf_counter()
        results[name] = SUBJECTS[name]()
        results[name]["seconds"] = round(time.perf_counter() - started, 1)
        print(name, json.dumps(results[name], indent=1), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
