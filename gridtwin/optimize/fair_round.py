"""A certified plan made fair: curtailment shared by a rule, then certified again.

share curtailment -> AC power flow of all paths -> more relief, or fewer steps …   until limits hold as well as before
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.errors import Finding
from gridtwin.optimize.ac_rounds import AcRound, SolvedProgram
from gridtwin.optimize.certificate import LimitCheck, check_limits
from gridtwin.optimize.day_losses import LossCurve
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.fair_plan import BindingLimits, FairPlan, find_binding_limits, share_curtailment
from gridtwin.optimize.fairness import EnergyGiven, Floats, SharingRule
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.network_limits import NetworkLimits, measure_room
from gridtwin.optimize.study_day import Day

TRIES = 8
"""AC power flows of all paths at most."""
PATIENCE = 5
"""Tries with more relief where it lacks; what lacks it still goes back to the plan of least cost."""


@dataclass(frozen=True)
class FairRound:
    """A day's plan made fair and certified again.

    Parameters
    ----------
    best : AcRound
        Plan, check and losses of the fair plan; those given where it could not be made fair.
    fair : FairPlan
        Who gives what; its list of systems is empty where nothing is shared.
    day : str
        The local date.
    rule : {"cost", "rotation", "proportional", "lexicographic"}
        How curtailment is shared.
    findings : tuple of Finding
        What could not be shared.
    """

    best: AcRound
    fair: FairPlan
    day: str
    rule: SharingRule | Literal["cost"]
    findings: tuple[Finding, ...] = ()

    @property
    def systems(self) -> pd.DataFrame:
        """What each system loses: `day, asset, rule, e_expected_kwh, e_least_cost_kwh, e_lost_kwh`, and Jain's index.

        The index over the shares of energy lost is that of the day, `jain_least_cost` with the plan of least cost and
        `jain` with the rule. [kWh], [-]
        """
        table = self.fair.systems.rename(columns={"e_lost_before_kwh": "e_least_cost_kwh"}).reset_index()
        table.insert(0, "day", self.day)
        table.insert(2, "rule", self.rule)
        return table.assign(jain_least_cost=self.fair.jain_before, jain=self.fair.jain_after)


def make_fair(
    day: Day,
    limits: NetworkLimits,
    best: AcRound,
    rule: SharingRule | Literal["cost"],
    *,
    before: EnergyGiven | None = None,
) -> FairRound:
    """Share the curtailment of a certified plan, and keep what holds the limits as well as before.

    AC power flow of all paths decides. Where the limit that binds lacks room, more relief is shared; steps on which
    another limit suffers, or that lack room after some tries, go back to the plan of least cost.

    Parameters
    ----------
    day : Day
        The day.
    limits : NetworkLimits
        Its limits.
    best : AcRound
        The last round.
    rule : {"cost", "rotation", "proportional", "lexicographic"}
        How to share; with "cost" the plan stays, and its systems and Jain's index are told.
    before : EnergyGiven, (asset,), optional
        What was curtailed on the days before.
    """
    feeding, names = find_feeding(day), tuple(map(str, day.study.chosen.index))
    program, dual = best.solved.program, best.solved.solution.coupling_dual
    rows, at_bus, steps = program.problem.rows, day.study.at_bus, day.axis.length
    binding = find_binding_limits(limits, rows, dual[program.limit_rows], at_bus=at_bus, feeding=feeding, steps=steps)
    share = partial(
        share_curtailment, best.plan.p_kw, day.p_base_kw, binding, "proportional" if rule == "cost" else rule,
        names=names, axis=day.axis, feeding=feeding, before=before,
    )  # fmt: skip
    done = partial(FairRound, day=str(day.axis.local_times[0].date()), rule=rule)
    if rule == "cost":
        return done(best, _as_it_was(share(), best.plan.p_kw))
    shared, extra_kw = np.ones(steps, dtype=bool), np.zeros(steps)
    for attempt in range(TRIES):
        fair = share(shared=shared, extra_kw=extra_kw)
        if fair.systems.empty:
            return done(best, fair, findings=_left(day, ~shared))
        present = _certify(day, limits, best, fair.p_kw, feeding)
        worse = _worse_steps(present.check, best.check)
        if not worse.any():
            return done(present, fair, findings=_left(day, ~shared))
        lack_kw = np.where(worse, _lack_kw(day, limits, best, present, binding), 0.0)
        extra_kw = extra_kw + lack_kw
        shared = shared & ~(worse & ((lack_kw == 0) | (attempt + 1 >= PATIENCE)))
    nowhere = np.zeros(steps, dtype=bool)
    return done(best, share(shared=nowhere), findings=_left(day, ~nowhere))


def _as_it_was(fair: FairPlan, p_kw: Floats) -> FairPlan:
    """The plan of least cost with the systems that could have shared."""
    systems = fair.systems.assign(e_lost_kwh=fair.systems["e_lost_before_kwh"])
    kept = replace(fair, p_kw=p_kw, systems=systems, jain_after=fair.jain_before, extra_kwh=0.0)
    return replace(kept, unmet_kw=0 * fair.unmet_kw, log=fair.log.iloc[:0])


def find_feeding(day: Day) -> np.ndarray:
    """Assets that feed in and can be curtailed. (asset,)"""
    feeding = np.zeros(len(day.study.chosen), dtype=bool)
    feeding[day.asset_of[[isinstance(device, FeedIn) for device in day.devices]]] = True
    return feeding


def _certify(day: Day, limits: NetworkLimits, best: AcRound, p_kw: Floats, feeding: np.ndarray) -> AcRound:
    """The round with another feed-in and what AC power flow says about it."""
    study, device_kw = day.study, best.plan.device_kw.copy()
    moved = feeding[day.asset_of]
    device_kw[:, moved] = p_kw[:, day.asset_of[moved]]
    paths, flow = day.run_paths(p_kw)
    room_mw = measure_room(study.twin, flow, limits, study.settings.confidence)
    losses = day.linearise_losses(paths, flow, p_kw)
    return replace(
        best,
        plan=replace(best.plan, p_kw=p_kw, device_kw=device_kw),
        check=check_limits(study.twin, flow, study.settings.confidence),
        ceiling_mw=room_mw + limits.weight @ day.at_buses_mw(p_kw),
        missing_mw=_more_missing(best.missing_mw, _room_mw(day, limits, best), room_mw),
        losses=losses,
        loss_error_percent=LossCurve((best.losses,), day.loss_price_eur_per_kwh).error_percent(losses),
        solved=_follow(best.solved, device_kw),
    )


def _follow(solved: SolvedProgram, device_kw: Floats) -> SolvedProgram:
    """The solution with another feed-in in it, for all that explains the plan."""
    program, x = solved.program, [columns.copy() for columns in solved.solution.x]
    for number, (fleet, members) in enumerate(zip(program.device_fleets, program.members, strict=True)):
        if fleet.fleet.template is FeedIn.template:
            x[number][fleet.compiled.columns["feed_in_kw"]] = device_kw[:, members]
    return replace(solved, solution=replace(solved.solution, x=x))


def _room_mw(day: Day, limits: NetworkLimits, present: AcRound) -> Floats:
    """Room that AC power flow found at the plan of a round. (limit, time) [MW]"""
    return np.asarray(present.ceiling_mw - limits.weight @ day.at_buses_mw(present.plan.p_kw))


def _more_missing(missing_mw: Floats, before_mw: Floats, now_mw: Floats) -> Floats:
    """Room missing after it has changed; nowhere without a limit. (limit, time) [MW]"""
    known = np.isfinite(before_mw) & np.isfinite(now_mw)
    gone = np.subtract(before_mw, now_mw, out=np.zeros_like(now_mw), where=known)
    return np.asarray(np.where(np.isfinite(now_mw), missing_mw + gone, -np.inf))


def _worse_steps(check: LimitCheck, before: LimitCheck) -> np.ndarray:
    """Steps on which a limit is broken, and more so than before. (time,)"""
    loading = check.loading_excess_percent - np.maximum(before.loading_excess_percent, 0.0)
    outside = check.vm_excess_pu - np.maximum(before.vm_excess_pu, 0.0)
    worse = (loading > LOADING_TOLERANCE_PERCENT).any(axis=1) | (outside > VOLTAGE_TOLERANCE_PU).any(axis=1)
    return np.asarray(worse | (check.unsolved > before.unsolved))


def _lack_kw(day: Day, limits: NetworkLimits, best: AcRound, present: AcRound, binding: BindingLimits) -> Floats:
    """Room that the binding limit of each step lacks and did not lack before. (time,) [kW]"""
    each = np.arange(day.axis.length)
    before, now = (_room_mw(day, limits, one)[binding.limit, each] for one in (best, present))
    lack = np.minimum(before, 0.0) - now
    return np.where((binding.limit >= 0) & (lack > 0), KW_PER_MW * lack, 0.0)


def _left(day: Day, steps: np.ndarray) -> tuple[Finding, ...]:
    if not steps.any():
        return ()
    return (
        Finding(
            f"on {int(steps.sum())} steps curtailment may not be shared: the limits would hold less well",
            where=f"flexibility of {day.axis.local_times[0].date()}",
            do="They keep the plan of least cost.",
            severity="info",
            code="GT-O78",
        ),
    )
