"""The day-ahead forecast of every asset, as it would have been issued the day before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.errors import Finding
from gridtwin.forecast.calendar import PLACES, free_day_flags, sun_elevation_degree
from gridtwin.forecast.features import SIMILAR_DAYS, WARM_UP_DAYS, build_features
from gridtwin.forecast.history import GENERATION, STATUS, History, known_power, read_history
from gridtwin.forecast.model import train_and_predict
from gridtwin.forecast.naive import naive_cube
from gridtwin.forecast.paths import PastErrors, alike_days, draw_days, error_days, lay_paths, lay_quantiles
from gridtwin.forecast.reactive import ASSUMED_COS_PHI, reactive_power
from gridtwin.nomenclature import attrs_of
from gridtwin.scenario import Forecast as ForecastSection

SILENT = 1e-6
"""Relative power below which an asset counts as off. [-]"""


def forecast(
    profiles: Profiles,
    days: Sequence[dt.date],
    settings: ForecastSection,
    *,
    issue: dt.time,
    seed: int,
    installed_mw: pd.Series,
) -> xr.Dataset:
    """Point forecast, bands, correlated paths and the naive reference of whole local days.

    Each day is forecast with what had ended at `issue` of the day before, no
    weather given. One model over all assets is trained before the calibration
    days of the first studied day; bands and paths of each day come from the
    errors of its own last calibration days.

    Parameters
    ----------
    profiles : Profiles
        At least the history; values after an issue are never read.
    days : sequence of date
        Local days that follow each other.
    settings : scenario.Forecast
        Model, lengths of history and calibration, paths and quantiles.
    issue : time
        Local time on the day before.
    seed : int
        Seed of the model and of the drawn days.
    installed_mw : Series
        Rating by asset name. [MW]

    Returns
    -------
    Dataset
        `p_mw`, `q_mvar` (path, time, asset); `p_quantile_mw` (quantile, time,
        asset); `p_mean_mw`, the mean of the paths, and `p_naive_mw` (time,
        asset); `issue_time` (time); `status` (asset), see `history.STATUS`.

    Raises
    ------
    DataError
        If the history is too short or an active asset has no rating.
    """
    history = read_history(profiles, days, settings, issue=issue, installed_mw=installed_mw)
    naive = naive_cube(history)
    point = predict_days(history, naive, settings.model, seed=seed)
    paths, quantiles = spread_days(history, point, settings, seed=seed)
    return label_forecast(profiles, history, settings, relative=(paths, quantiles, naive))


def predict_days(history: History, naive: np.ndarray, model: str, *, seed: int) -> np.ndarray:
    """Forecast of the calibration and studied days, relative, (day, slot, asset); NaN before.

    Assets that the model cannot serve keep the naive forecast.
    """
    grid, modelled = history.grid, history.modelled
    point = naive.copy()
    point[: history.first_calibration] = np.nan
    if len(modelled):
        cube = history.cube[:, :, modelled]
        training = slice(grid.steps_from(WARM_UP_DAYS).start, grid.steps_from(history.first_calibration).start)
        predicted = train_and_predict(
            model,
            build_features(cube, grid, history.known),
            grid.to_steps(cube).T,
            history.kind[modelled],
            times=grid.axis.times,
            training=training,
            seed=seed,
        )
        steps = np.full((grid.axis.length, len(modelled)), np.nan, dtype=np.float32)
        steps[training.stop :] = predicted.T
        point[:, :, modelled] = grid.to_cube(steps)
    return point


def spread_days(
    history: History, point: np.ndarray, settings: ForecastSection, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paths (path, time, asset) and quantiles (quantile, time, asset) of the studied days, relative."""
    grid = history.grid
    lower, upper = physical_bounds(history)
    free = free_day_flags(grid.dates, grid.axis.zone)
    paths, quantiles = [], []
    for day in range(history.studied, len(grid.dates)):
        steps = np.flatnonzero(grid.day == day)
        slot = grid.slot[steps]
        calibration = history.calibration_days(day)
        calibration = calibration[alike_days(free[calibration], bool(free[day]))]
        past = past_errors(history, point, calibration)
        generator = np.random.default_rng([seed, grid.dates[day].toordinal()])
        drawn = draw_days(len(calibration), settings.paths, generator)
        centre = point[day, slot]
        paths.append(lay_paths(centre, past, slot, drawn, lower=lower[steps], upper=upper[steps]))
        quantile = lay_quantiles(centre, past, slot, settings.quantiles)
        quantiles.append(np.clip(quantile, lower[steps], upper[steps]))
    return np.concatenate(paths, axis=1), np.concatenate(quantiles, axis=1)


def past_errors(history: History, point: np.ndarray, days: np.ndarray) -> PastErrors:
    """Errors of past days, and where the assets were off."""
    actual = history.cube[days]
    return PastErrors(error_days(actual, point[days]), np.abs(actual) < SILENT)


def physical_bounds(history: History) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest relative power of every step, each (time, asset).

    Between nothing and the rating, widened by what the history before the first
    issue shows (a house that feeds in); PV without sun is off.
    """
    past = history.cube[: history.studied - 1]
    generation = np.isin(history.kind, GENERATION)
    lower = np.fmin(np.fmin.reduce(past, axis=(0, 1)), np.where(generation, -1.0, 0.0))
    upper = np.fmax(np.fmax.reduce(past, axis=(0, 1)), np.where(generation, 0.0, 1.0))
    off = is_off(history)
    return np.where(off, 0.0, lower), np.where(off, 0.0, upper)


def is_off(history: History) -> np.ndarray:
    """Steps at which a PV system has no sun, (time, asset).

    Off is a system below the horizon and below every elevation of the sun at
    which it fed in over the last weeks: clocks and places of real series are off by
    an hour, SimBench's among them.
    """
    grid, sun = history.grid, sun_elevation_degree(history.grid.axis)
    off = np.zeros((grid.axis.length, len(history.kind)), dtype=bool)
    sun_cube = grid.to_cube(sun)[:, :, np.newaxis]
    pv = np.flatnonzero(history.kind == "pv")
    for day in range(history.studied, len(grid.dates)):
        steps = np.flatnonzero(grid.day == day)
        before = slice(max(0, day - SIMILAR_DAYS), day - 1)
        working = np.abs(history.cube[before][:, :, pv]) > SILENT
        lowest = np.fmin.reduce(np.where(working, sun_cube[before], 0.0), axis=(0, 1))
        off[np.ix_(steps, pv)] = sun[steps, np.newaxis] < np.minimum(lowest, 0.0)
    return off


def label_forecast(
    profiles: Profiles,
    history: History,
    settings: ForecastSection,
    *,
    relative: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> xr.Dataset:
    """Dataset in MW and Mvar on the steps of the studied days."""
    grid, ratings = history.grid, history.installed_mw
    steps = grid.steps_from(history.studied)
    p_mw = relative[0].astype(float) * ratings
    q_mvar, ratio = forecast_reactive_power(profiles, history, p_mw)
    naive = grid.to_steps(relative[2][history.studied :], history.studied)
    variables = {
        "p_mw": (("path", "time", "asset"), p_mw, attrs_of("p_mw")),
        "q_mvar": (("path", "time", "asset"), q_mvar, attrs_of("q_mvar")),
        "p_quantile_mw": (("quantile", "time", "asset"), relative[1] * ratings, attrs_of("p_quantile_mw")),
        "p_mean_mw": (("time", "asset"), p_mw.mean(axis=0), {"units": "MW", "long_name": "mean active power"}),
        "p_naive_mw": (("time", "asset"), naive * ratings, attrs_of("p_naive_mw")),
    }
    coords = {
        "path": np.arange(len(p_mw)),
        "quantile": np.asarray(settings.quantiles),
        "time": grid.axis.times[steps],
        "issue_time": ("time", history.issue_times[grid.day[steps]]),
        "status": ("asset", history.status),
        "reactive_ratio": ("asset", ratio, {"units": "Mvar/MW"}),
        **{name: profiles.coords[name] for name in ("asset", "element", "index", "kind")},
    }
    return xr.Dataset(variables, coords=coords, attrs=forecast_attrs(history, settings))


def forecast_reactive_power(profiles: Profiles, history: History, p_mw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reactive power (path, time, asset) and its ratio (asset,) from what was known before the first issue."""
    first_issue = history.issue_times[history.studied]
    p_known = known_power(profiles["p_mw"], history.grid, first_issue)
    q_known = known_power(profiles["q_mvar"], history.grid, first_issue)
    return reactive_power(p_mw, p_known, q_known)


def forecast_attrs(history: History, settings: ForecastSection) -> dict[str, str | int]:
    """What a reader of the forecast must know."""
    place = PLACES.get(history.grid.axis.zone)
    return {
        "model": f"Darts {settings.model}, one for all assets",
        "weather": "none used",
        "paths": "forecast plus errors of whole past days, drawn jointly for all assets",
        "reactive_power": f"q = ratio p, ratio of the history per asset; cos phi {ASSUMED_COS_PHI} where unknown",
        "calendar": f"holidays and sun of {place.country}" if place else "neither holidays nor sun, zone without place",
        "history_days": history.studied - 1,
        "calibration_days": settings.calibration_days,
        "step": history.grid.axis.step.isoformat(),
        "zone": history.grid.axis.zone,
    }


def check_forecast(predicted: xr.Dataset) -> tuple[Finding, ...]:
    """One finding per way in which assets were forecast other than by the model alone."""
    status = predicted["status"].to_numpy()
    names = predicted["asset"].to_numpy()
    found = [(word, names[status == word]) for word in STATUS if word != "forecast"]
    return tuple(
        Finding(
            f"{len(assets)} assets are forecast as '{word}' ({STATUS[word]})",
            where="forecast",
            got=", ".join(map(str, assets[:5])),
            severity="warning" if word in ("naive", "imputed") else "info",
            code="GT-F01",
        )
        for word, assets in found
        if len(assets)
    )
