"""Forecasts of past days as they would have been issued, scored side by side.

Days are taken in windows. Within a window every day has its own issue; a model that
does not refit by itself learns once per window, from the days before its first issue, and
the condition of a series (`fallbacks`) is judged at that issue too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.ai_energy.ledger import EnergyLedger
from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import holiday_flags
from gridtwin.forecast.day_ahead import check_forecast, forecast
from gridtwin.forecast.declared import declare_power
from gridtwin.forecast.point_models import check_model
from gridtwin.forecast.scores import score_forecast
from gridtwin.scenario import Forecast as ForecastSection

DECLARED = "computing_job"
"""Kind whose power its owner declares, as in a study."""
WINDOW_DAYS = 28
"""Days that one training of a model serves."""
DAY_TYPES = {
    "all": "every day",
    "working day": "Monday to Friday, no holiday",
    "weekend": "Saturday and Sunday",
    "holiday": "national holiday",
    "clock change": "local day of 23 or 25 hours",
}
"""Groups of days that are scored apart; a clock change is also a weekend day."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Backtest:
    """What a backtest found.

    Parameters
    ----------
    scores : DataFrame
        One row per model, day type (`DAY_TYPES`), and asset, kind or total; columns of `score_forecast`.
    ledgers : dict of DataFrame
        By model: time and energy of `model`, trained and rolled, and of `paths`, its bands and paths.
    forecasts : dict of Dataset
        By model, all days; empty unless asked for.
    findings : tuple of Finding
        Assets that a model could not serve.
    """

    scores: pd.DataFrame
    ledgers: dict[str, pd.DataFrame]
    forecasts: dict[str, xr.Dataset]
    findings: tuple[Finding, ...]


def backtest(
    profiles: Profiles,
    days: Sequence[dt.date],
    models: Sequence[str],
    settings: ForecastSection,
    *,
    issue: dt.time,
    seed: int,
    installed_mw: pd.Series,
    weather: pd.DataFrame | None = None,
    given: pd.DataFrame | None = None,
    window_days: int = WINDOW_DAYS,
    keep_forecasts: bool = False,
    progress: Progress = lambda step: None,
) -> Backtest:
    """Forecast past days by several models, each day as issued the day before, and score them.

    Parameters
    ----------
    profiles : Profiles
        History and what happened; a forecast never reads a value after its issue.
    days : sequence of date
        Local days that follow each other.
    models : sequence of str
        Names as in `forecast.model`; the seasonal naive is always added as the reference.
    settings : scenario.Forecast
        Lengths, paths and quantiles; `arguments` goes to `settings.model` alone.
    issue : time
        Local time on the day before.
    seed : int
        Seed of models and paths.
    installed_mw : Series
        Rating by asset name. [MW]
    weather : DataFrame, (time, variable), optional
        Known at the issue of each day.
    given : DataFrame, (time, asset), optional
        Forecasts of assets by others, known likewise. [MW]
    window_days : int
        Days between two trainings of models that do not refit by themselves.
    keep_forecasts : bool
        Whether the forecasts are returned too; they take the memory of all paths.
    progress : callable
        Told the model and days at work.

    Raises
    ------
    DataError
        If a model does not exist, or the profiles do not hold the days.

    Examples
    --------
    >>> list(windows_of([dt.date(2016, 7, day) for day in (1, 2, 3)], 2))
    [[datetime.date(2016, 7, 1), datetime.date(2016, 7, 2)], [datetime.date(2016, 7, 3)]]
    """
    names = list(dict.fromkeys([*models, "SeasonalNaive"]))
    for name in names:
        check_model(name, settings.arguments if name == settings.model else None)
    if window_days < 1:
        raise DataError([Finding("a window has no days", "window_days", got=str(window_days), severity="error")])
    check_days_known(profiles, days)
    scores, ledgers, kept, findings = [], {}, {}, []
    for name in names:
        ledger = EnergyLedger()
        chosen = settings.model_copy(
            update={"model": name, "arguments": settings.arguments if name == settings.model else {}}
        )
        parts = []
        for window in windows_of(days, window_days):
            progress(f"{name}: {window[0]} to {window[-1]}")
            part = forecast(profiles, window, chosen, issue=issue, seed=seed, installed_mw=installed_mw,
                            weather=weather, given=given, ledger=ledger)  # fmt: skip
            parts.append(declare_power(part, profiles, DECLARED))
        whole = join_windows(parts)
        scores.append(score_by_day_type(whole, profiles, days).assign(model=name))
        ledgers[name] = ledger.table()
        findings += [finding for part in parts for finding in check_forecast(part)]
        if keep_forecasts:
            kept[name] = whole
    return Backtest(pd.concat(scores, ignore_index=True), ledgers, kept, tuple(dict.fromkeys(findings)))


def windows_of(days: Sequence[dt.date], length: int) -> Iterator[list[dt.date]]:
    """Runs of at most `length` days."""
    return (list(days[begin : begin + length]) for begin in range(0, len(days), length))


def join_windows(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Forecasts of following windows as one; an asset keeps the status of the last window."""
    if len(parts) == 1:
        return parts[0]
    alike = [part.drop_vars([name for name in ("status", "reactive_ratio") if name in part.coords]) for part in parts]
    joined = xr.concat(alike, dim="time", data_vars="all", coords="different", compat="equals", join="exact")
    last = parts[-1]
    kept = {name: last.coords[name] for name in ("status", "reactive_ratio") if name in last.coords}
    return joined.assign_coords(kept).assign_attrs(last.attrs)


def score_by_day_type(predicted: xr.Dataset, profiles: Profiles, days: Sequence[dt.date]) -> pd.DataFrame:
    """Scores of all days and of each type of day that occurs; column `day_type`, a key of `DAY_TYPES`."""
    realised = profiles.sel(time=predicted["time"].to_numpy())
    tables = []
    for name, steps in steps_by_day_type(predicted, days).items():
        part = predicted.isel(time=steps).assign_attrs(predicted.attrs)
        tables.append(score_forecast(part, realised.isel(time=steps)).assign(day_type=name))
    return pd.concat(tables, ignore_index=True)


def steps_by_day_type(predicted: xr.Dataset, days: Sequence[dt.date]) -> dict[str, np.ndarray]:
    """Positions of the steps of each type of day, without types that do not occur."""
    zone = str(predicted.attrs["zone"])
    date = np.asarray(pd.DatetimeIndex(predicted["time"].to_numpy()).tz_localize("UTC").tz_convert(zone).date)
    holiday = holiday_flags(tuple(days), zone)
    weekend = np.array([day.weekday() >= 5 for day in days])
    length = np.array([np.count_nonzero(date == day) for day in days])
    flags = {
        "all": np.ones(len(days), dtype=bool),
        "working day": ~weekend & ~holiday,
        "weekend": weekend & ~holiday,
        "holiday": holiday,
        "clock change": length != pd.Timedelta(days=1) / pd.Timedelta(predicted.attrs["step"]),
    }
    chosen = {name: np.flatnonzero(np.isin(date, np.asarray(days)[flag])) for name, flag in flags.items()}
    return {name: steps for name, steps in chosen.items() if len(steps)}


def check_days_known(profiles: Profiles, days: Sequence[dt.date]) -> None:
    """Raise `DataError` unless the profiles hold every step of the days."""
    axis = axis_of(profiles)
    known = axis.local_days
    lacking = [day for day in days if day not in set(known)]
    if lacking or not days:
        raise DataError(
            [
                Finding(
                    "the profiles do not hold the days of the backtest",
                    expected=f"days from {known[0]} to {known[-1]}" if known else "at least one whole day",
                    got=", ".join(map(str, lacking[:3])) or "no day",
                    severity="error",
                    code="GT-F05",
                )
            ]
        )
