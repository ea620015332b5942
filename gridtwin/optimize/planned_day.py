"""One day: optimised, certified and explained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.optimize.ac_rounds import AcRound, AcRounds
from gridtwin.optimize.causes import find_causes
from gridtwin.optimize.certificate import LimitCheck, check_limits
from gridtwin.optimize.day_losses import LossCurve, Losses
from gridtwin.optimize.day_plan import DayPlan
from gridtwin.optimize.fair_round import FairRound, make_fair
from gridtwin.optimize.fairness import EnergyGiven
from gridtwin.optimize.flexible_assets import CarriedState, charged_uncontrolled
from gridtwin.optimize.network_limits import NetworkLimits, find_network_limits, measure_room
from gridtwin.optimize.nodal_prices import find_nodal_prices, settle_devices
from gridtwin.optimize.reasons import explain_steps
from gridtwin.optimize.study_day import Day
from gridtwin.optimize.unmet import list_breaches, list_discomfort, list_unserved

FIRST_SHARE = 0.4
"""Part of all that could be moved at which losses are known before the first plan. [-]"""
NO_PLAN = "no plan"
"""Reason code of assets on a day for which the solver found nothing."""


@dataclass(frozen=True)
class ExplainedDay:
    """Prices at every bus (time, bus), what every device earns by moving, why wishes were missed."""

    prices: xr.Dataset
    settlement: pd.DataFrame
    causes: pd.DataFrame


@dataclass(frozen=True)
class PlannedDay:
    """The outcome of one day: plan, reasons (time, asset), AC check, rows of unmet wishes, and how it went."""

    plan: DayPlan
    reason: np.ndarray
    check: LimitCheck
    unmet: list[dict[str, Any]]
    converged: bool
    lp_error: tuple[float, float]
    loss_error_percent: float = 0.0
    explained: ExplainedDay | None = None
    solves: list[dict[str, Any]] = field(default_factory=list)
    fair: FairRound | None = None


def plan_day(day: Day, *, last_day: bool, curtailed: EnergyGiven | None = None) -> PlannedDay:
    """Optimise one day and certify it.

    Parameters
    ----------
    day : Day
        What to plan.
    last_day : bool
        Whether energy that a car still lacks as the day ends is lost to the study.
    curtailed : EnergyGiven, (asset,), optional
        What was curtailed on the days before.
    """
    study = day.study
    p_ref_kw, paths, flow = _find_reference(day)
    limits = find_network_limits(study.twin, _operating_point(paths, flow), study.buses)
    room_mw = measure_room(study.twin, flow, limits, study.settings.confidence)
    losses = _first_losses(day, day.linearise_losses(paths, flow, p_ref_kw), p_ref_kw)
    rounds = AcRounds(day, limits, room_mw, losses, p_ref_kw=p_ref_kw)
    cheapest, converged = rounds.run()
    fair = make_fair(day, limits, cheapest, study.settings.curtailment_sharing, before=curtailed)
    best = fair.best
    return PlannedDay(
        plan=replace(best.plan, carried=replace(best.plan.carried, curtailed=fair.fair.after)),
        reason=_explain(day, limits, best),
        check=best.check,
        unmet=_list_unmet(day, limits, best, last_day),
        converged=converged,
        lp_error=_lp_error(study.twin, limits, best.lp_error_mw),
        loss_error_percent=best.loss_error_percent,
        explained=explain_day(day, limits, best, staying=last_day),
        solves=rounds.log,
        fair=fair,
    )


def leave_unscheduled(day: Day, carried: CarriedState, *, failure: str = "") -> PlannedDay:
    """A day on which every flexible asset does what it would do anyway, with its AC check.

    Parameters
    ----------
    day : Day
        The day; it may have no flexible asset at all.
    carried : CarriedState
        Stored energy that stays as it is.
    failure : str
        What the solver said, where a plan was wanted and none was found.
    """
    study = day.study
    _, flow = day.run_paths(day.p_base_kw)
    check = check_limits(study.twin, flow, study.settings.confidence)
    charged = charged_uncontrolled(study.sessions, study.chosen, day.axis.end, study.jobs)
    after = replace(charged, stored_kwh=carried.stored_kwh, curtailed=carried.curtailed)
    nothing = np.full(day.p_base_kw.shape, np.nan)
    plan = DayPlan(day.p_base_kw, nothing, nothing, nothing, day.asset_of, after, np.zeros(0), {}, {}, {})
    unresponsive = np.full(len(study.twin.buses), np.inf)
    unmet = list_breaches(study.twin, check, unresponsive, study.settings, step=day.axis.step)
    reason = np.full(day.p_base_kw.shape, NO_PLAN if failure else "")
    solves = [{"day": str(day.axis.local_times[0].date()), "round": 0, "status": failure}] if failure else []
    return PlannedDay(plan, reason, check, unmet, not failure, (0.0, 0.0), 0.0, None, solves)


def _find_reference(day: Day) -> tuple[np.ndarray, xr.Dataset, xr.Dataset]:
    """Plan to start from, its paths and their power flow: the base, or where that collapses no flexible consumption."""
    paths, flow = day.run_paths(day.p_base_kw)
    if not (flow["status"] != 0).any():
        return day.p_base_kw, paths, flow
    without = np.minimum(day.p_base_kw, 0.0)
    return without, *day.run_paths(without)


def _first_losses(day: Day, at_reference: Losses, p_ref_kw: np.ndarray) -> LossCurve:
    """Losses at the reference and with part of all that could be moved, either way."""
    curve = LossCurve((at_reference,), day.loss_price_eur_per_kwh)
    if not day.study.settings.price_losses:
        return curve
    for side in ("p_min_kw", "p_max_kw"):
        p_kw = p_ref_kw + FIRST_SHARE * (day.band_kw(side) - p_ref_kw)
        paths, flow = day.run_paths(p_kw)
        if not flow["status"].any():
            curve = curve.with_line_before(day.linearise_losses(paths, flow, p_kw))
    return curve


def _operating_point(profiles: xr.Dataset, flow: xr.Dataset) -> xr.Dataset:
    """Mean over the paths at the step with the largest mean loading: there the response matters most."""
    solved = (flow["status"].to_numpy() == 0).all(axis=0)
    loading = np.nan_to_num(flow["loading_percent"].to_numpy()).mean(axis=0).max(axis=1, initial=0.0)
    heaviest = int(np.where(solved, loading, -1.0).argmax())
    return profiles[["p_mw", "q_mvar"]].isel(time=[heaviest]).mean("path", keep_attrs=True)


def explain_day(day: Day, limits: NetworkLimits, best: AcRound, *, staying: bool) -> ExplainedDay:
    """Prices at every bus, what every device earns by moving, and why wishes were missed."""
    program, solution = best.solved.restored(), best.solved.solution
    prices = find_nodal_prices(program, solution, limits, times=day.axis.times)
    settlement = settle_devices(
        program, solution, prices, base_kw=day.device_base_kw, base_devices=day.unscheduled_devices
    )
    settlement.insert(0, "day", str(day.axis.local_times[0].date()))
    return ExplainedDay(
        prices,
        settlement,
        find_causes(program, solution, limits, best.plan, day.axis, staying=staying),
    )


def _explain(day: Day, limits: NetworkLimits, best: AcRound) -> np.ndarray:
    moved_by = (limits.weight != 0).T.astype(float) @ best.binding.astype(float) > 0
    binding = (day.study.at_bus.T @ moved_by > 0).T
    return explain_steps(day.devices, best.plan, day.p_base_kw, binding=binding, hours=day.axis.hours_per_step)


def _list_unmet(day: Day, limits: NetworkLimits, best: AcRound, last_day: bool) -> list[dict[str, Any]]:
    study = day.study
    scale = limits.scale[-len(study.twin.buses) :]
    return [
        *list_unserved(day.devices, best.plan, day.axis, last_day=last_day),
        *list_discomfort(day.devices, best.plan, day.axis),
        *list_breaches(study.twin, best.check, scale, study.settings, step=day.axis.step),
    ]


def _lp_error(twin: GridTwin, limits: NetworkLimits, error_mw: np.ndarray) -> tuple[float, float]:
    """Largest planning error of binding branch and bus rows. [% of rating], [pu]"""
    rated = np.tile(twin.branches["s_rated_mva"].to_numpy(dtype=float), 2)
    worst = np.abs(error_mw).max(axis=1, initial=0.0)
    branch, bus = (
        worst[: len(rated)] / rated * 100,
        worst[len(rated) :] * np.nan_to_num(limits.scale[len(rated) :], posinf=0),
    )
    return float(np.nan_to_num(branch).max(initial=0.0)), float(bus.max(initial=0.0) / 2)
