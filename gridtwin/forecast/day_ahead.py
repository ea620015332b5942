"""The day-ahead forecast of every asset, as it would have been issued the day before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.ai_energy.ledger import EnergyLedger
from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.forecast.calendar import PLACES, ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.history import STATUS, History, known_power, read_history
from gridtwin.forecast.naive import naive_cube
from gridtwin.forecast.point_models import ModelInputs, roll_model
from gridtwin.forecast.reactive import ASSUMED_COS_PHI, reactive_power
from gridtwin.forecast.rolled import Rolled
from gridtwin.forecast.spread import spread_days
from gridtwin.nomenclature import attrs_of
from gridtwin.scenario import Forecast as ForecastSection


def forecast(
    profiles: Profiles,
    days: Sequence[dt.date],
    settings: ForecastSection,
    *,
    issue: dt.time,
    seed: int,
    installed_mw: pd.Series,
    weather: pd.DataFrame | None = None,
    given: pd.DataFrame | None = None,
    ledger: EnergyLedger | None = None,
) -> xr.Dataset:
    """Point forecast, bands, correlated paths and the naive reference of whole local days.

    Each day is forecast with what had ended at `issue` of the day before, and with
    the weather as it was forecast by then where it is given. The model forecasts the
    calibration days in the same way; bands and paths of each day come from the
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
    weather : DataFrame, (time, variable), optional
        Known at the issue of each day, from `data.issued_forecast.read_issued_forecast`;
        UTC, over the history and the days.
    given : DataFrame, (time, asset), optional
        Forecasts of assets by others, known like the weather; the model corrects them. [MW]
    ledger : EnergyLedger, optional
        Takes the steps `model` (trained and rolled) and `paths` (bands and paths).

    Returns
    -------
    Dataset
        `p_mw`, `q_mvar` (path, time, asset); `p_quantile_mw` (quantile, time,
        asset); `p_mean_mw`, the mean of the paths, and `p_naive_mw` (time,
        asset); `issue_time` (time); `status` (asset), see `history.STATUS`.

    Raises
    ------
    DataError
        If the history is too short, an active asset has no rating, the weather does
        not cover the history, or the model does not exist.
    """
    ledger = ledger or EnergyLedger()
    history = read_history(profiles, days, settings, issue=issue, installed_mw=installed_mw)
    own = given_cube(given, history, profiles["asset"].to_numpy())
    covariates = Covariates(cubes_of(weather, history.grid, "weather"), own)
    with ledger.step("model"):
        naive = naive_cube(history)
        rolled, fallen = predict_days(history, naive, settings, covariates, seed=seed)
        history = replace(history, status=np.where(fallen, "naive", history.status))
    with ledger.step("paths"):
        paths, quantiles = spread_days(history, rolled, settings, seed=seed)
    return label_forecast(
        profiles, history, settings, relative=(paths, quantiles, naive), weather=tuple(covariates.weather)
    )


def given_cube(given: pd.DataFrame | None, history: History, names: np.ndarray) -> np.ndarray | None:
    """Forecasts by others relative to the rating, (day, slot, asset), NaN for assets without; None without any."""
    if given is None:
        return None
    own, known = np.full(history.cube.shape, np.nan), pd.Index(names.astype(str))
    strange = [str(name) for name in given if str(name) not in known]
    if strange:
        what = "a given forecast names no asset"
        raise DataError([Finding(what, "given forecast", got=strange[0], severity="error", code="GT-D48")])
    for name, cube in cubes_of(given, history.grid, "given forecast").items():
        place = known.tolist().index(name)
        own[:, :, place] = cube / history.installed_mw[place]
    return own


def check_table(table: pd.DataFrame, grid: ClockGrid, what: str) -> None:
    """Raise `DataError` unless a table of forecasts by others has UTC rows once and a step that fits."""
    index, faults = pd.DatetimeIndex(table.index), []
    if index.tz is not None:
        faults.append(Finding(f"the {what} has times with a zone", what, "UTC without zone", str(index.tz),
                              "Use tz_convert('UTC').tz_localize(None).", "error"))  # fmt: skip
    if index.has_duplicates:
        got = str(index[index.duplicated()][0])
        faults.append(Finding(f"the {what} has a time twice", what, got=got, severity="error"))
    if grid.slots > 24 and grid.slots % 24:
        faults.append(Finding(f"the {what} needs a step that divides an hour", what, got=str(grid.axis.step),
                              severity="error"))  # fmt: skip
    raise_errors(faults, DataError)


def cubes_of(table: pd.DataFrame | None, grid: ClockGrid, what: str) -> dict[str, np.ndarray]:
    """Each column on the days and slots of the grid, (day, slot); a slot that the clock skips repeats the one before.

    Raises
    ------
    DataError
        If a step has no value.
    """
    if table is None:
        return {}
    check_table(table, grid, what)
    values = table.reindex(grid.axis.times).to_numpy(dtype=float)
    missing = np.flatnonzero(np.isnan(values).any(axis=1))
    if len(missing):
        where = grid.axis.times[missing[0]]
        lacks = f"the {what} lacks {len(missing)} steps of the history and the studied days"
        raise DataError([Finding(lacks, what, got=f"first missing at {where} UTC", severity="error")])
    cube = grid.without_skips(grid.to_cube(values))
    return {str(name): cube[:, :, column] for column, name in enumerate(table)}


def predict_days(
    history: History, naive: np.ndarray, settings: ForecastSection, covariates: Covariates, *, seed: int
) -> tuple[Rolled, np.ndarray]:
    """Rolled forecast of all assets, relative, NaN before the calibration days; assets that fell back, (asset,).

    Assets that the model cannot serve keep the naive forecast.
    """
    modelled: np.ndarray | slice = history.modelled
    if len(history.modelled) == len(history.kind):
        modelled = slice(None)  # views instead of copies
    point, quantiles, fallen = naive.copy(), None, np.zeros(len(history.kind), dtype=bool)
    if len(history.modelled):
        inputs = ModelInputs(
            cube=history.cube[:, :, modelled],
            actual=history.actual[:, :, modelled],
            naive=naive[:, :, modelled],
            kind=history.kind[modelled],
            grid=history.grid,
            known=history.known,
            first=history.first_calibration,
            covariates=covariates.of_assets(modelled),
            levels=settings.quantiles,
            arguments=settings.arguments,
            seed=seed,
        )
        rolled = roll_model(settings.model, inputs)
        point[:, :, modelled] = np.where(np.isnan(rolled.point), naive[:, :, modelled], rolled.point)
        fallen[modelled] = np.isnan(rolled.point[history.studied :]).any(axis=(0, 1))
        if rolled.quantiles is not None and rolled.levels == settings.quantiles:
            quantiles = np.full((len(rolled.levels), *point.shape), np.nan, dtype=np.float32)
            quantiles[..., modelled] = rolled.quantiles
    point[: history.first_calibration] = np.nan
    return Rolled(point, quantiles, settings.quantiles if quantiles is not None else ()), fallen


def label_forecast(
    profiles: Profiles,
    history: History,
    settings: ForecastSection,
    *,
    relative: tuple[np.ndarray, np.ndarray, np.ndarray],
    weather: Sequence[str] = (),
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
    return xr.Dataset(variables, coords=coords, attrs=forecast_attrs(history, settings, weather))


def forecast_reactive_power(profiles: Profiles, history: History, p_mw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reactive power (path, time, asset) and its ratio (asset,) from what was known before the first issue."""
    first_issue = history.issue_times[history.studied]
    p_known = known_power(profiles, "p_mw", history.grid, first_issue)
    q_known = known_power(profiles, "q_mvar", history.grid, first_issue)
    return reactive_power(p_mw, p_known, q_known)


def forecast_attrs(history: History, settings: ForecastSection, weather: Sequence[str]) -> dict[str, str | int]:
    """What a reader of the forecast must know."""
    place = PLACES.get(history.grid.axis.zone)
    return {
        "model": model_words(settings.model),
        "weather": ", ".join(weather) or "none used",
        "paths": "quantiles of every asset, joined over assets and hours as the errors of past days were",
        "reactive_power": f"q = ratio p, ratio of the history per asset; cos phi {ASSUMED_COS_PHI} where unknown",
        "calendar": f"holidays and sun of {place.country}" if place else "neither holidays nor sun, zone without place",
        "history_days": history.studied - 1,
        "calibration_days": settings.calibration_days,
        "step": history.grid.axis.step.isoformat(),
        "zone": history.grid.axis.zone,
    }


def model_words(name: str) -> str:
    """What a reader of the page should know of the model."""
    return MODEL_WORDS.get(name, f"Darts {name}")


MODEL_WORDS = {
    "DayAheadRidge": "DayAheadRidge, one ridge regression per asset, refitted every day",
    "DayAheadTrees": "DayAheadTrees, gradient boosted trees over all assets on the errors of DayAheadRidge",
    "DayAheadBlend": "DayAheadBlend, several models weighted by their recent errors",
    "SeasonalNaive": "SeasonalNaive, the same weekday a week before; feed-in: the last complete day",
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
            severity="info" if word in ("constant", "idle", "declared") else "warning",
            code="GT-F01",
        )
        for word, assets in found
        if len(assets)
    )
