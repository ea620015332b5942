"""Checks of what real-time balancing is given: schedule, forecast, realised profiles, sessions, prices, bids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.scenario import Balancing, Reserve

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin

FEED_IN = ("pv", "wind")
FLEXIBLE_KINDS = ("electric_car", "heat_pump", *FEED_IN, "battery", "computing_job")


def check_balancing_inputs(
    twin: GridTwin,
    schedule: xr.Dataset,
    forecast: xr.Dataset,
    realised: Profiles,
    *,
    sessions: pd.DataFrame,
    prices: xr.Dataset | None,
    settings: Balancing,
) -> None:
    """Raise one `DataError` with everything that does not fit together."""
    findings = [
        *_check_schedule(twin, schedule, settings),
        *_check_series(twin, schedule, forecast, "p_mean_mw", name="forecast"),
        *_check_series(twin, schedule, realised, "p_mw", name="realised profiles"),
        *_check_times(schedule, prices, "prices"),
        *_check_bids(settings.reserve),
        *_check_sessions(sessions, schedule),
    ]
    raise_errors(findings, DataError)


def _error(what: str, **parts: str) -> Finding:
    return Finding(what, severity="error", **parts)


def _check_schedule(twin: GridTwin, schedule: xr.Dataset, settings: Balancing) -> list[Finding]:
    axis = axis_of(schedule)
    findings = []
    if (axis.step / pd.Timedelta(seconds=settings.step_seconds)) % 1:
        findings.append(_error("the balancing step does not divide the step of the schedule",
                               expected=f"a divisor of {axis.step}", got=f"{settings.step_seconds} s"))  # fmt: skip
    unknown = schedule.indexes["asset"].difference(twin.assets.index)
    if len(unknown):
        return [*findings, _error("the schedule holds assets that the twin lacks", got=", ".join(unknown[:5]))]
    for name in ("p_mw", "p_base_mw"):
        findings += _check_finite(schedule[name], "schedule")
    facts = twin.assets.loc[schedule.indexes["asset"]]
    other = facts.index[~facts["kind"].isin(FLEXIBLE_KINDS)]
    if len(other):
        findings.append(_error("the schedule holds assets that cannot follow one",
                               expected=", ".join(FLEXIBLE_KINDS), got=", ".join(other[:5])))  # fmt: skip
    for kind, needed in (("battery", ["e_rated_mwh"]), ("heat_pump", ["ua_mw_per_k", "c_mwh_per_k", "cop"])):
        rows = facts.loc[facts["kind"] == kind, needed]
        lacking = rows.index[np.asarray(~(rows.to_numpy(dtype=float) > 0).all(axis=1))]
        if len(lacking):
            findings.append(_error(f"{kind} without {', '.join(needed)}", got=", ".join(lacking[:5])))
    return findings


def _check_series(
    twin: GridTwin, schedule: xr.Dataset, series: xr.Dataset, variable: str, *, name: str
) -> list[Finding]:
    ours, theirs = twin.assets.index, series.indexes["asset"]
    missing, extra = ours.difference(theirs), theirs.difference(ours)
    findings = []
    if len(missing) or len(extra):
        findings.append(_error(f"{name} and twin hold different assets", expected=", ".join(missing[:5]) or "no others",
                               got=", ".join(extra[:5]) or "nothing for them"))  # fmt: skip
    findings += _check_times(schedule, series, name)
    if findings:
        return findings
    # cars and batteries do what their sessions and stored energy allow; their series are not read
    kinds = twin.assets["kind"].reindex(schedule.indexes["asset"])
    unread = kinds.index[kinds.isin(["electric_car", "battery"]) | (name == "forecast")]
    return _check_finite(series[variable].sel(time=schedule["time"], asset=ours.difference(unread)), name)


def _check_times(schedule: xr.Dataset, series: xr.Dataset | None, name: str) -> list[Finding]:
    if series is None:
        return []
    missing = schedule.indexes["time"].difference(series.indexes["time"])
    if not len(missing):
        return []
    return [_error(f"{name} lack times of the schedule", expected=f"a value at {missing[0]} UTC",
                   got=f"{len(missing)} of {schedule.sizes['time']} missing")]  # fmt: skip


def _check_finite(values: xr.DataArray, name: str) -> list[Finding]:
    holes = ~np.isfinite(values.transpose("time", "asset").to_numpy())
    if not holes.any():
        return []
    assets = ", ".join(values["asset"].to_numpy()[holes.any(axis=0)][:5])
    return [_error(f"{values.name} of {name} has missing values", got=f"{int(holes.sum())}, in {assets}",
                   do="Fill them with a quality code.")]  # fmt: skip


def _check_bids(reserve: tuple[Reserve, ...]) -> list[Finding]:
    names = pd.Index([bid.name for bid in reserve])
    doubled = names[names.duplicated()].unique()
    return [_error("reserve bids share a name", got=", ".join(doubled[:5]))] if len(doubled) else []


def _check_sessions(sessions: pd.DataFrame, schedule: xr.Dataset) -> list[Finding]:
    lacking = [column for column in ("asset", "arrival", "departure", "e_mwh") if column not in sessions]
    if lacking:
        return [
            _error("charging sessions lack columns", expected=", ".join(lacking), got=", ".join(map(str, sessions)))
        ]
    ours = sessions[sessions["asset"].isin(schedule.indexes["asset"])].sort_values(["asset", "arrival"])
    wrong = ours[(ours["departure"] < ours["arrival"]) | ~(ours["e_mwh"] >= 0)]
    overlap = ours[(ours["asset"] == ours["asset"].shift()) & (ours["arrival"] < ours["departure"].shift())]
    findings = []
    for rows, what in ((wrong, "a charging session ends before it begins or has no energy"),
                       (overlap, "charging sessions of one car overlap")):  # fmt: skip
        if len(rows):
            findings.append(_error(what, got=f"{rows['asset'].iloc[0]} from {rows['arrival'].iloc[0]} UTC"))
    return findings
