r"""Fair curtailment: the relief that a plan buys by curtailing, shared by a rule instead of by cost alone.

A plan of least cost curtails whoever relieves a limit best, day after day the same systems at the end of a line. With
the curtailment :math:`c_i \ge 0` and the relief :math:`w_i` of the limit by 1 kW less feed-in, the shared plan keeps

    sum of w_i c_i   on every step,   0 <= c_i <= expected feed-in

among all systems with w_i > 0, and chooses by `fairness.share_reduction`. It curtails at least as
much energy as the plan it began with where that one was of least cost; the difference is what fairness costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.optimize.day_plan import CAP_MARK_KW
from gridtwin.optimize.fairness import (
    LOG_COLUMNS,
    DimmableDevices,
    EnergyGiven,
    Floats,
    ReliefDemand,
    SharingRule,
    jain_index,
    share_reduction,
)
from gridtwin.optimize.model import LimitRows
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.time_axis import TimeAxis

SLOT = pd.Timedelta(hours=1)
"""For how long a turn of the rotation lasts where nothing else is said; counted from the first step of an event."""
BINDING_EUR_PER_KW = 1e-6
"""Relieving a limit is worth less than this where it does not bind. [EUR/kW]"""
CURTAILED_KW = 1.01 * CAP_MARK_KW
"""Above a cap at the expected feed-in, which costs no expected energy. [kW]"""
REASON = "curtailment planned to hold the limit"
"""Reason in the log."""


@dataclass(frozen=True)
class BindingLimits:
    """The limit of each step whose relief by curtailment is worth most.

    Parameters
    ----------
    limit : ndarray, (time,)
        Position in the table of limits, -1 where no binding limit is relieved by curtailment.
    names : tuple of str, (time,)
        Asset and side of the limit, such as `line 3, reverse`; empty where there is none.
    relief : ndarray, (time, asset)
        Relief by 1 kW less feed-in; 0 where it does not help, and of assets that do not feed in. [-]
    """

    limit: np.ndarray
    names: tuple[str, ...]
    relief: Floats


@dataclass(frozen=True)
class FairPlan:
    """A plan whose curtailment is shared, and what that changed.

    Parameters
    ----------
    p_kw : ndarray, (time, asset)
        The new plan, consumption positive. [kW]
    systems : DataFrame
        One row per system that could have relieved a limit, index `asset`: `e_expected_kwh`, the feed-in of the day
        without curtailment, `e_lost_before_kwh` and `e_lost_kwh`, what the old and the new plan curtail of it. [kWh]
    jain_before, jain_after : float
        Jain's index over their shares of energy lost on the day. [-]
    extra_kwh : float
        Energy that the new plan curtails beyond the old one: the cost of fairness. [kWh]
    unmet_kw : ndarray, (time,)
        Demanded relief that all systems together cannot give; 0 unless more than before is demanded. [kW]
    log : DataFrame
        One row per event and system, columns `fairness.LOG_COLUMNS`.
    after : EnergyGiven, (asset,)
        History to hand to the next day.
    """

    p_kw: Floats
    systems: pd.DataFrame
    jain_before: float
    jain_after: float
    extra_kwh: float
    unmet_kw: Floats
    log: pd.DataFrame
    after: EnergyGiven


def find_binding_limits(
    limits: NetworkLimits, rows: LimitRows, dual: Floats, *, at_bus: Floats, feeding: np.ndarray, steps: int
) -> BindingLimits:
    """The binding limit of each step, with the relief that curtailing each asset brings.

    Parameters
    ----------
    limits : NetworkLimits
        Table of limits.
    rows : LimitRows
        Rows of the program.
    dual : ndarray, (row,)
        What the objective gains per kW of room, at most 0. [EUR/kW]
    at_bus : ndarray, (bus, asset)
        1 where an asset is at a bus.
    feeding : ndarray of bool, (asset,)
        Assets that feed in and can be curtailed.
    steps : int
        Number of steps.
    """
    relief = np.maximum(-rows.weight @ at_bus, 0.0) * feeding
    worth = -np.asarray(dual) * relief.max(axis=1, initial=0.0)
    limit, chosen = np.full(steps, -1), np.zeros((steps, len(feeding)))
    for row in np.argsort(worth, kind="stable")[np.sort(worth) > BINDING_EUR_PER_KW].tolist():
        # the last one written is the one of the largest worth
        limit[rows.step[row]], chosen[rows.step[row]] = rows.limit[row], relief[row]
    table = limits.table
    labels = [f"{asset}, {side}" for asset, side in zip(table["asset"], table["side"], strict=True)]
    return BindingLimits(limit, tuple(labels[k] if k >= 0 else "" for k in limit.tolist()), chosen)


def share_curtailment(
    plan_kw: Floats,
    base_kw: Floats,
    binding: BindingLimits,
    rule: SharingRule,
    *,
    names: tuple[str, ...],
    axis: TimeAxis,
    feeding: np.ndarray,
    shared: np.ndarray | None = None,
    extra_kw: Floats | None = None,
    slot: pd.Timedelta = SLOT,
    before: EnergyGiven | None = None,
    citation: str = "",
) -> FairPlan:
    """Share the curtailment of each step among all systems that relieve the same limit.

    Steps on which nothing is curtailed, or no limit binds, stay as they are. Systems that share a step are capped at
    their expected feed-in at least, so that paths above the expectation cannot bring back what others gave.

    Parameters
    ----------
    plan_kw, base_kw : ndarray, (time, asset)
        The plan and what is expected without it, consumption positive. [kW]
    binding : BindingLimits
        The limit of each step and its relief.
    rule : {"rotation", "proportional", "lexicographic"}
        How to share, see `fairness`.
    names : tuple of str, (asset,)
        Names for the log.
    axis : TimeAxis
        Steps.
    feeding : ndarray of bool, (asset,)
        Assets that feed in and can be curtailed.
    shared : ndarray of bool, (time,), optional
        Steps that may be changed; without it all.
    extra_kw : ndarray, (time,), optional
        Relief of the limit wanted on top of what the plan brings, on steps that are shared; at least 0. [kW]
    slot : Timedelta
        For how long a turn of the rotation lasts.
    before : EnergyGiven, (asset,), optional
        What was curtailed on the days before.
    citation : str
        Legal or contractual ground, for the log.

    Raises
    ------
    DataError
        If shapes do not fit, or a system of the plan feeds in more than expected or consumes.
    """
    raise_errors(_check_plan(plan_kw, base_kw, feeding, names, axis), DataError)
    expected_kw = np.where(feeding, np.maximum(-base_kw, 0.0), 0.0)
    lost_kw = np.where(feeding, np.maximum(plan_kw - base_kw, 0.0), 0.0)
    able = (binding.relief > 0) & (binding.limit >= 0)[:, None] & feeding & (expected_kw > 0)
    chosen = np.asarray((np.where(able, lost_kw, 0.0) > CURTAILED_KW).any(axis=1))
    if shared is not None:
        chosen = chosen & shared
    able &= chosen[:, None]
    needed_kw = np.where(able, binding.relief * lost_kw, 0.0).sum(axis=1)
    needed_kw += np.where(chosen, 0.0 if extra_kw is None else extra_kw, 0.0)
    events = _Events(axis, names, feeding, np.where(able, binding.relief, 0.0), expected_kw, needed_kw, citation)
    given_kw, logs, after = _share_events(events, binding.names, lost_kw * ~able, rule, slot=slot, before=before)
    capped_kw = np.where(able, np.maximum(given_kw, np.minimum(CAP_MARK_KW, expected_kw)), lost_kw)
    p_kw = np.where(able, np.minimum(base_kw + capped_kw, 0.0), plan_kw)
    relief_kw = (binding.relief * np.where(able, capped_kw, 0.0)).sum(axis=1)
    systems = _list_systems(names, able, expected_kw, lost_kw, capped_kw) * axis.hours_per_step
    return FairPlan(
        p_kw=p_kw,
        systems=systems,
        jain_before=jain_index((systems["e_lost_before_kwh"] / systems["e_expected_kwh"]).to_numpy()),
        jain_after=jain_index((systems["e_lost_kwh"] / systems["e_expected_kwh"]).to_numpy()),
        extra_kwh=float((p_kw - plan_kw).sum() * axis.hours_per_step),
        unmet_kw=np.where(needed_kw - relief_kw > CURTAILED_KW, needed_kw - relief_kw, 0.0),
        log=_join_logs(logs),
        after=after,
    )


@dataclass(frozen=True)
class _Events:
    """Demands of a day on all assets; (time, asset), (time,)."""

    axis: TimeAxis
    names: tuple[str, ...]
    feeding: np.ndarray
    relief: Floats
    expected_kw: Floats
    needed_kw: Floats
    citation: str

    def demand(self, steps: slice, limit: str) -> tuple[ReliefDemand, DimmableDevices]:
        """Some steps of one limit, and the systems that feed in."""
        axis = replace(self.axis, start=self.axis.times[steps.start], length=steps.stop - steps.start)
        here = self.expected_kw[steps, self.feeding]
        named = tuple(np.array(self.names, dtype=object)[self.feeding].tolist())
        devices = DimmableDevices(named, here, np.zeros_like(here), self.relief[steps, self.feeding])
        return ReliefDemand(limit, axis, self.needed_kw[steps], REASON, self.citation), devices


def _share_events(
    events: _Events,
    limits: tuple[str, ...],
    kept_kw: Floats,
    rule: SharingRule,
    *,
    slot: pd.Timedelta,
    before: EnergyGiven | None,
) -> tuple[Floats, list[pd.DataFrame], EnergyGiven]:
    """What each asset gives, in the order of the events, each with the history of those before it. (time, asset)

    `kept_kw` is curtailed whatever the rule says; it counts in the history.
    """
    given_kw, logs, hours = kept_kw.copy(), [], events.axis.hours_per_step
    history = before or EnergyGiven.nothing(len(events.names))
    for steps, limit in _runs_of(limits, events.needed_kw > 0):
        if limit:
            demand, devices = events.demand(steps, limit)
            feeding = EnergyGiven(history.given_kwh[events.feeding], history.asked_kwh[events.feeding])
            result = share_reduction(demand, devices, rule=rule, slot=max(slot, demand.axis.step), before=feeding)
            given_kw[steps, events.feeding] += result.reduction_kw
            logs.append(result.log)
        history = EnergyGiven(
            history.given_kwh + hours * given_kw[steps].sum(axis=0),
            history.asked_kwh + hours * events.expected_kw[steps].sum(axis=0),
        )
    return given_kw, logs, history


def _runs_of(limits: tuple[str, ...], wanted: np.ndarray) -> Iterator[tuple[slice, str]]:
    """Unbroken runs of steps with the same limit, empty where nothing is wanted."""
    present = [limit if here else "" for limit, here in zip(limits, wanted.tolist(), strict=True)]
    edges = [0, *(t for t in range(1, len(present)) if present[t] != present[t - 1]), len(present)]
    return ((slice(a, b), present[a]) for a, b in pairwise(edges))


def _list_systems(
    names: tuple[str, ...], able: np.ndarray, expected_kw: Floats, lost_kw: Floats, given_kw: Floats
) -> pd.DataFrame:
    """Sums over the steps of the systems that could have relieved a limit. [kW steps]"""
    part = able.any(axis=0)
    columns = {"e_expected_kwh": expected_kw, "e_lost_before_kwh": lost_kw, "e_lost_kwh": given_kw}
    index = pd.Index(np.array(names, dtype=object)[part], name="asset")
    return pd.DataFrame({name: power[:, part].sum(axis=0) for name, power in columns.items()}, index=index)


def _join_logs(logs: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(logs, ignore_index=True) if logs else pd.DataFrame(columns=list(LOG_COLUMNS)).astype(LOG_COLUMNS)


def _check_plan(
    plan_kw: Floats, base_kw: Floats, feeding: np.ndarray, names: tuple[str, ...], axis: TimeAxis
) -> list[Finding]:
    shape = (axis.length, len(names))
    for name, values in (("plan_kw", plan_kw), ("base_kw", base_kw)):
        if np.shape(values) != shape:
            got = str(np.shape(values))
            return [Finding("wrong shape", where=name, expected=str(shape), got=got, severity="error", code="GT-O76")]
    plan, base = plan_kw[:, feeding], base_kw[:, feeding]
    if (plan < base - CURTAILED_KW).any() or (plan > CURTAILED_KW).any():
        expected = "feed-in between 0 and what is expected"
        return [Finding("a plan feeds in more", "plan_kw", expected, severity="error", code="GT-O77")]
    return []
