"""Day-ahead flexibility schedule: optimised by linear program, certified by AC power flow.

base -> AC power flow of all paths -> room to every limit
     -> schedule -> AC power flow of all paths -> room …   until plan and power flow agree
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import axis_of
from gridtwin.errors import DataError, Finding, InfeasibleError
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.dispatch import power_ratio
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.certificate import Certificate, RunFlow, write_certificate
from gridtwin.optimize.flexible_assets import (
    KW_PER_MW,
    CarriedState,
    charged_uncontrolled,
    expected_base,
    find_flexible_assets,
)
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.optimize.planned_day import PlannedDay, leave_unscheduled, plan_day
from gridtwin.optimize.schedule import build_schedule
from gridtwin.optimize.study_day import Day, Study, open_day
from gridtwin.optimize.unmet import build_unmet
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

FLAT_PRICE_EUR_PER_MWH = 100.0
"""Price where none is given; assumed, with a finding. [EUR/MWh]"""


@dataclass(frozen=True)
class FlexibilityResult:
    """What to do, what stays unmet, and the proof.

    Parameters
    ----------
    schedule : Dataset
        `p_mw, p_base_mw, e_mwh, reason` (time, asset) of flexible assets; the certificate in attrs.
    unmet : DataFrame
        Columns `asset, kind, what, start, end, amount, unit, cost_eur`.
    certificate : Certificate
        AC power flow of all paths under the schedule.
    findings : tuple of Finding
        What was assumed.
    prices : Dataset or None
        `price_eur_per_mwh` (time, bus) at the buses of flexible assets and its parts `energy, congestion, voltage,
        losses`; None where nothing is flexible. Days without a plan are left out.
    settlement : DataFrame
        What each device pays, earns and gains at these prices against its unscheduled self; one row per device and day.
    causes : DataFrame
        Why each missed wish was missed, in words.
    curtailment : DataFrame
        Systems that could relieve a limit and what each loses, one row per system and day, see `FairRound.systems`.
    curtailment_log : DataFrame
        Who was curtailed in each event, by which rule and why; columns `fairness.LOG_COLUMNS`.
    """

    schedule: xr.Dataset
    unmet: pd.DataFrame
    certificate: Certificate
    findings: tuple[Finding, ...] = ()
    prices: xr.Dataset | None = None
    settlement: pd.DataFrame = field(default_factory=pd.DataFrame)
    causes: pd.DataFrame = field(default_factory=pd.DataFrame)
    curtailment: pd.DataFrame = field(default_factory=pd.DataFrame)
    curtailment_log: pd.DataFrame = field(default_factory=pd.DataFrame)


def optimize_flexibility(
    twin: GridTwin,
    forecast: xr.Dataset,
    prices: xr.Dataset | None,
    sessions: pd.DataFrame,
    settings: Flexibility,
    *,
    jobs: pd.DataFrame | None = None,
    run_flow: RunFlow = run_power_flow,
    own_rows: OwnRows | None = None,
) -> FlexibilityResult:
    """Schedule of every flexible asset, one local day after the other.

    Each day is planned with its own forecast alone; stored energy, charged energy and
    room temperatures begin where the plan of the day before ends.

    Parameters
    ----------
    twin : GridTwin
        Network, assets and limits.
    forecast : Forecast
        `p_mw, q_mvar` (path, time, asset) and `p_mean_mw` (time, asset).
    prices : Dataset or None
        `price_eur_per_mwh` (time); None: a flat price, with a finding.
    sessions : DataFrame
        Declared charging sessions: `asset, arrival, departure, e_mwh`.
    settings : Flexibility
        Who takes part, and what leaving a wish unmet costs.
    jobs : DataFrame, optional
        Batch jobs of data centres, see `data_centre.JOB_COLUMNS`.
    run_flow : callable
        Power flow of a twin and profiles.
    own_rows : callable, optional
        Adds constraints of your own in Pyomo to the model of each day, see `own_rows.OwnRows`.

    Raises
    ------
    DataError
        If prices do not cover the forecast, or a forecast was issued after its day began.
    """
    study, findings = _prepare(twin, forecast, prices, sessions, settings, run_flow)
    study = replace(study, own_rows=own_rows, jobs=jobs)
    days = list(_plan_days(study))
    certificate = _join_certificates(study, days)
    schedule = _join_plans(study, days).assign_attrs(certificate=certificate.as_dict())
    unmet = build_unmet([row for day in days for row in day.unmet])
    shared = [day.fair for day in days if day.fair is not None]
    explained = [day.explained for day in days if day.explained is not None]
    return FlexibilityResult(
        schedule,
        unmet,
        certificate,
        (*findings, *_doubts(certificate), *(finding for day in shared for finding in day.findings)),
        prices=xr.concat([day.prices for day in explained], "time") if explained else None,
        settlement=_join_tables([day.settlement for day in explained]),
        causes=_join_tables([day.causes for day in explained]),
        curtailment=_join_tables([day.systems for day in shared]),
        curtailment_log=_join_tables([day.fair.log for day in shared]),
    )


def _join_tables(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables of all days; empty ones would lose the types of the others."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else (tables[0] if tables else pd.DataFrame())


def _plan_days(study: Study) -> Iterator[PlannedDay]:
    """One day after the other, each beginning where the plan before it ends."""
    carried = charged_uncontrolled(study.sessions, study.chosen, study.axis.start, study.jobs)
    for where in study.axis.day_slices:
        day = open_day(study, where, carried)
        last_day = where.stop == study.axis.length
        planned = _plan_or_leave(day, carried, last_day=last_day)
        carried = planned.plan.carried
        yield planned


def _plan_or_leave(day: Day, carried: CarriedState, *, last_day: bool) -> PlannedDay:
    """The plan of a day; where the solver finds none the day stays unscheduled and the other days go on."""
    if not day.devices and day.study.chosen.empty:
        return leave_unscheduled(day, carried)
    try:
        return plan_day(day, last_day=last_day, curtailed=carried.curtailed)
    except InfeasibleError as error:
        return leave_unscheduled(day, carried, failure=error.findings[0].got or "no usable solution")


def _join_plans(study: Study, days: list[PlannedDay]) -> xr.Dataset:
    return build_schedule(
        study.chosen,
        study.axis,
        p_kw=np.concatenate([day.plan.p_kw for day in days]),
        p_base_kw=KW_PER_MW * study.p_base_mw,
        e_kwh=np.concatenate([day.plan.e_kwh for day in days]),
        reason=np.concatenate([day.reason for day in days]),
    )


def _doubts(certificate: Certificate) -> list[Finding]:
    """What a reader of the schedule must know about how it was found."""
    findings = []
    if not certificate.converged:
        findings.append(
            Finding(
                "plan and AC power flow of the paths do not agree yet",
                got=f"{certificate.max_loading_violation_percent:.1f} % loading and "
                f"{certificate.max_voltage_violation_pu:.4f} pu too much after {certificate.rounds} rounds",
                do="Raise flexibility.certificate_rounds.",
                code="GT-O04",
            )
        )
    findings += [
        Finding(
            "the solver found no plan: every device does what it would do unscheduled",
            where=f"flexibility of {solve['day']}",
            got=solve["status"],
            do="Raise flexibility.time_limit_seconds.",
            code="GT-O06",
        )
        for solve in certificate.solves
        if not solve["round"]
    ]
    unfinished = [solve for solve in certificate.solves if solve["round"] and solve["status"] != "optimal"]
    if unfinished:
        findings.append(
            Finding(
                f"{len(unfinished)} solves stopped at the time limit with the best schedule found by then",
                where=f"flexibility of {unfinished[0]['day']}",
                do="Raise flexibility.time_limit_seconds.",
                code="GT-O05",
            )
        )
    return findings


def _join_certificates(study: Study, days: list[PlannedDay]) -> Certificate:
    return write_certificate(
        study.twin,
        [day.check for day in days],
        study.settings.confidence,
        converged=all(day.converged for day in days),
        rounds=max(len(day.solves) for day in days),
        max_lp_error_percent=max(day.lp_error[0] for day in days),
        max_lp_error_pu=max(day.lp_error[1] for day in days),
        max_loss_error_percent=max(day.loss_error_percent for day in days),
        solves=tuple(solve for day in days for solve in day.solves),
    )


def _prepare(
    twin: GridTwin,
    forecast: xr.Dataset,
    prices: xr.Dataset | None,
    sessions: pd.DataFrame,
    settings: Flexibility,
    run_flow: RunFlow,
) -> tuple[Study, tuple[Finding, ...]]:
    axis, chosen = axis_of(forecast), find_flexible_assets(twin, settings)
    _check_issue_times(forecast, axis)
    price, findings = _prices_on(axis, prices)
    p_mean_mw = forecast["p_mean_mw"].transpose("time", "asset")
    others = twin.assets.index.difference(chosen.index)
    study = Study(
        twin=twin,
        forecast=forecast,
        chosen=chosen,
        axis=axis,
        p_base_mw=expected_base(chosen, axis, p_mean_mw.sel(asset=chosen.index.to_numpy()).to_numpy(), sessions),
        price_eur_per_mwh=price,
        inflexible_mw=_inflexible_mw(forecast, others, settings),
        q_per_p=power_ratio(forecast["p_mw"].to_numpy(), forecast["q_mvar"].to_numpy()),
        sessions=sessions,
        settings=settings,
        run_flow=run_flow,
    )
    return study, findings


def _inflexible_mw(forecast: xr.Dataset, others: pd.Index, settings: Flexibility) -> np.ndarray:
    """Net power of all that cannot be moved: expected, or in every path where risk counts. (scenario, time) [MW]"""
    power = forecast["p_mw"] if settings.risk_weight else forecast["p_mean_mw"].expand_dims("path")
    return np.asarray(power.sel(asset=others.to_numpy()).sum("asset").transpose("path", "time").to_numpy())


def _check_issue_times(forecast: xr.Dataset, axis: TimeAxis) -> None:
    """A plan may only use what was known before its day began."""
    if "issue_time" not in forecast.coords:
        return
    issued = pd.DatetimeIndex(forecast["issue_time"].to_numpy())
    for day in axis.day_slices:
        begin = axis.times[day.start]
        if (issued[day] > begin).any():
            raise DataError(
                [
                    Finding(
                        "the forecast of a day was issued after the day began",
                        expected=f"an issue time before {begin} UTC",
                        got=f"{issued[day].max()} UTC",
                        severity="error",
                    )
                ]
            )


def _prices_on(axis: TimeAxis, prices: xr.Dataset | None) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Price of every step, and what was assumed. (time,) [EUR/MWh]"""
    if prices is None:
        assumed = Finding(
            "no prices are given",
            got=f"a flat {FLAT_PRICE_EUR_PER_MWH:g} EUR/MWh assumed",
            do="Give [prices] to shift consumption into cheap hours.",
            code="GT-O03",
        )
        return np.full(axis.length, FLAT_PRICE_EUR_PER_MWH), (assumed,)
    given = prices["price_eur_per_mwh"].reindex(time=axis.times).to_numpy().astype(float)
    if np.isnan(given).any():
        first = axis.times[int(np.argmax(np.isnan(given)))]
        raise DataError(
            [
                Finding(
                    f"there is no price for {int(np.isnan(given).sum())} steps",
                    where="prices",
                    expected=f"a price for every step from {axis.start} to {axis.end} UTC",
                    got=f"none at {first} UTC",
                    severity="error",
                )
            ]
        )
    return given, ()
