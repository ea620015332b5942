"""What must fit together before a schedule meets reality."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import axis_of
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.intraday_reality import KINDS

NEEDED = {
    "battery": ("p_rated_mw", "e_rated_mwh"),
    "electric_car": ("p_rated_mw",),
    "heat_pump": ("p_rated_mw", "ua_mw_per_k", "c_mwh_per_k", "cop"),
}
SESSION_COLUMNS = ("asset", "arrival", "departure", "e_mwh")


def check_intraday_inputs(
    twin: GridTwin,
    plan: xr.Dataset,
    paths: xr.Dataset,
    realised: xr.Dataset,
    *,
    sessions: pd.DataFrame,
    declared: pd.DataFrame | None,
    cadence: pd.Timedelta,
) -> None:
    """Raise one `DataError` with everything that does not fit together."""
    findings = [
        *_check_facts(twin, plan),
        *_check_cadence(cadence, axis_of(plan).step),
        *_check_power(plan, paths, "forecast paths"),
        *_check_power(plan, realised, "realised profiles"),
        *_check_sessions(sessions, "sessions"),
    ]
    if declared is not None:
        findings += _check_sessions(declared, "declared sessions")
        if not findings and sessions["asset"].tolist() != declared["asset"].tolist():
            findings.append(_error("declared and real sessions are not the same cars row by row"))
    raise_errors(findings, DataError)


def _error(what: str, **parts: str) -> Finding:
    return Finding(what, where="intraday", severity="error", code="GT-M27", **parts)


def _check_facts(twin: GridTwin, plan: xr.Dataset) -> list[Finding]:
    lacking = [name for name in ("p_mw", "p_base_mw") if name not in plan]
    if lacking:
        return [_error("the schedule lacks variables", expected=", ".join(lacking))]
    findings = [
        _error(f"{name} of the schedule has missing values")
        for name in ("p_mw", "p_base_mw")
        if not np.isfinite(plan[name].to_numpy()).all()
    ]
    unknown = plan.indexes["asset"].difference(twin.assets.index)
    if len(unknown):
        return [*findings, _error("the schedule holds assets that the twin lacks", got=", ".join(unknown[:5]))]
    facts = twin.assets.loc[plan.indexes["asset"]]
    other = facts.index[~facts["kind"].isin(KINDS)]
    if len(other):
        findings.append(_error("the schedule holds assets that are not re-planned within the day",
                               expected=", ".join(KINDS), got=", ".join(other[:5]),
                               do="Leave them out: they do what the profiles say."))  # fmt: skip
    for kind, needed in NEEDED.items():
        rows = facts.loc[facts["kind"] == kind, list(needed)]
        bad = rows.index[np.asarray(~(rows.to_numpy(dtype=float) > 0).all(axis=1), dtype=bool)]
        if len(bad):
            findings.append(_error(f"{kind} without {', '.join(needed)}", got=", ".join(bad[:5])))
    return findings


def _check_cadence(cadence: pd.Timedelta, step: pd.Timedelta) -> list[Finding]:
    if cadence >= step and cadence % step == pd.Timedelta(0):
        return []
    return [_error("decisions do not fall on intervals", expected=f"a multiple of {step}", got=str(cadence))]


def _check_power(plan: xr.Dataset, power: xr.Dataset, name: str) -> list[Finding]:
    missing_times = plan.indexes["time"].difference(power.indexes["time"])
    missing_assets = plan.indexes["asset"].difference(power.indexes["asset"])
    findings = []
    if len(missing_times):
        findings.append(_error(f"{name} lack times of the schedule", got=f"{missing_times[0]} UTC"))
    if len(missing_assets):
        findings.append(_error(f"{name} lack assets of the schedule", got=", ".join(missing_assets[:5])))
    if findings:
        return findings
    at_times = power["p_mw"].sel(time=plan["time"].to_numpy())
    holes = int((~np.isfinite(at_times.to_numpy())).sum())
    return [_error(f"{name} have missing values", got=str(holes), do="Fill them with a quality code.")] if holes else []


def _check_sessions(sessions: pd.DataFrame, name: str) -> list[Finding]:
    lacking = [column for column in SESSION_COLUMNS if column not in sessions]
    if lacking:
        return [_error(f"{name} lack columns", expected=", ".join(lacking))]
    wrong = (sessions["departure"] <= sessions["arrival"]) | ~(sessions["e_mwh"] >= 0)
    return [_error(f"{name}: one ends before it begins or has no energy")] if wrong.any() else []
