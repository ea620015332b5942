"""One day: successive rounds of linear program and AC power flow until both agree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.optimize.area_terms import price_area
from gridtwin.optimize.causes import find_causes
from gridtwin.optimize.certificate import CERTIFIED_LOSS_PERCENT, LimitCheck, RunFlow, check_limits
from gridtwin.optimize.day_losses import Losses, linearise_losses
from gridtwin.optimize.day_plan import DayPlan, find_caps, mark_caps, read_plan
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.flexible_assets import (
    KW_PER_MW,
    CarriedState,
    build_day_devices,
    charged_uncontrolled,
)
from gridtwin.optimize.model import FlexibilityProblem, FlexibilityProgram, build_flexibility_program
from gridtwin.optimize.network_limits import (
    NetworkLimits,
    can_bind,
    find_network_limits,
    measure_room,
    select_rows,
)
from gridtwin.optimize.nodal_prices import find_nodal_prices, settle_devices
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.optimize.reasons import explain_steps
from gridtwin.optimize.schedule import build_schedule
from gridtwin.optimize.unmet import list_breaches, list_discomfort, list_unserved
from gridtwin.optimize.whole_numbers import FlexibilitySolution, FlexibilitySolver
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

FREE_ROUNDS = 2
"""Rounds in which a limit may regain room; later ones only tighten, so that the rounds settle."""
NO_PLAN = "no plan"
"""Reason code of assets on a day for which the solver found nothing."""
BINDING_KW = 1e-3
"""A network row with less room than this binds. [kW]"""


@dataclass(frozen=True)
class Study:
    """Everything that is the same on all days; (time, …) over the whole axis."""

    twin: GridTwin
    forecast: xr.Dataset
    chosen: pd.DataFrame
    axis: TimeAxis
    p_base_mw: np.ndarray
    price_eur_per_mwh: np.ndarray
    inflexible_mw: np.ndarray
    q_per_p: np.ndarray
    sessions: pd.DataFrame
    settings: Flexibility
    run_flow: RunFlow
    own_rows: OwnRows | None = None

    @property
    def buses(self) -> list[str]:
        """Buses of flexible assets, in the order of the assets."""
        return list(dict.fromkeys(self.chosen["bus"].astype(str)))

    @property
    def at_bus(self) -> np.ndarray:
        """1 where an asset is at a bus. (bus, asset)"""
        return np.array([[bus == own for own in self.chosen["bus"]] for bus in self.buses], dtype=float)


@dataclass(frozen=True)
class Day:
    """One local day of a study, with every flexible asset as it stands."""

    study: Study
    where: slice
    axis: TimeAxis
    devices: tuple[Device, ...]

    @property
    def asset_of(self) -> np.ndarray:
        """Position of each device's asset. (device,)"""
        return np.asarray(self.study.chosen.index.get_indexer(pd.Index([device.name for device in self.devices])))

    @property
    def p_base_kw(self) -> np.ndarray:
        """(time, asset)"""
        return KW_PER_MW * self.study.p_base_mw[self.where]

    @property
    def device_base_kw(self) -> np.ndarray:
        """What every device would do unscheduled; a car's charging lies in its sessions. (time, device)"""
        base = self.p_base_kw[:, self.asset_of]
        for position, device in enumerate(self.devices):
            if isinstance(device, ChargingSession):
                base[:, position] = np.where(device.p_max_kw > 0, base[:, position], 0.0)
        return base

    def at_buses_mw(self, p_kw: np.ndarray) -> np.ndarray:
        """Flexible power at each bus from that of each asset, (time, asset) to (bus, time). [MW]"""
        return np.asarray(self.study.at_bus @ p_kw.T / KW_PER_MW)

    def band_kw(self, name: str) -> np.ndarray:
        """`p_min_kw` or `p_max_kw` of all assets. (time, asset)"""
        band = np.zeros(self.p_base_kw.shape)
        for device, asset in zip(self.devices, self.asset_of.tolist(), strict=True):
            band[:, asset] += getattr(device, name)
        return band

    def run_paths(self, p_kw: np.ndarray) -> tuple[xr.Dataset, xr.Dataset]:
        """Profiles of every forecast path under a plan, and their power flow."""
        study, nothing = self.study, np.zeros_like(p_kw)
        plan = build_schedule(
            study.chosen, self.axis, p_kw=p_kw, p_base_kw=self.p_base_kw, e_kwh=nothing, reason=nothing
        )
        paths = apply_schedule(study.twin, study.forecast.isel(time=self.where), plan, q_per_p=study.q_per_p)
        return paths, study.run_flow(study.twin, paths)

    def linearise_losses(self, paths: xr.Dataset, flow: xr.Dataset, p_kw: np.ndarray) -> Losses:
        """Losses around a plan."""
        study = self.study
        at_bus_mw, priced = self.at_buses_mw(p_kw), study.settings.price_losses
        return linearise_losses(study.twin, paths, flow, study.buses, at_bus_mw, priced=priced)


@dataclass(frozen=True)
class SolvedProgram:
    """A program, its solution, and the bounds that its coupling rows had then."""

    program: FlexibilityProgram
    solution: FlexibilitySolution
    upper: np.ndarray

    def restored(self) -> FlexibilityProgram:
        """The program as it was solved; later rounds change its room."""
        return replace(self.program, blocks=replace(self.program.blocks, upper=self.upper))


@dataclass(frozen=True)
class AcRound:
    """A plan and what AC power flow says about it.

    Parameters
    ----------
    plan : DayPlan
        The solution.
    check : LimitCheck
        AC power flow of all paths.
    ceiling_mw : ndarray, (limit, time)
        Ceilings that the power flow found; those of the model may be lower. [MW]
    missing_mw : ndarray, (limit, time)
        Room that the plan lacks beyond what it admits as a breach; positive is missing. [MW]
    binding : ndarray of bool, (limit, time)
        Network rows without room left.
    lp_error_mw : ndarray, (limit, time)
        Room found minus room planned on binding rows, 0 on all others. [MW]
    losses : Losses
        Losses at the plan, and their slopes.
    loss_error_percent : float
        Energy lost on the day, planned against found. [%]
    solved : SolvedProgram
        The program of the round with its solution.
    """

    plan: DayPlan
    check: LimitCheck
    ceiling_mw: np.ndarray
    missing_mw: np.ndarray
    binding: np.ndarray
    lp_error_mw: np.ndarray
    losses: Losses
    loss_error_percent: float
    solved: SolvedProgram


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


def open_day(study: Study, where: slice, carried: CarriedState) -> Day:
    """One day of a study from its steps and the state it begins with."""
    axis = replace(study.axis, start=study.axis.times[where.start], length=where.stop - where.start)
    devices = build_day_devices(
        study.chosen, axis, study.p_base_mw[where], sessions=study.sessions, carried=carried, settings=study.settings
    )
    return Day(study, where, axis, devices)


def plan_day(day: Day, *, last_day: bool) -> PlannedDay:
    """Optimise one day and certify it.

    Parameters
    ----------
    day : Day
        What to plan.
    last_day : bool
        Whether energy that a car still lacks as the day ends is lost to the study.
    """
    study = day.study
    p_ref_kw, paths, flow = _find_reference(day)
    limits = find_network_limits(study.twin, _operating_point(paths, flow), study.buses)
    room_mw = measure_room(study.twin, flow, limits, study.settings.confidence)
    losses = day.linearise_losses(paths, flow, p_ref_kw)
    rounds = AcRounds(day, limits, room_mw, losses, p_ref_kw=p_ref_kw)
    best, converged = rounds.run()
    return PlannedDay(
        plan=best.plan,
        reason=_explain(day, limits, best),
        check=best.check,
        unmet=_list_unmet(day, limits, best, last_day),
        converged=converged,
        lp_error=_lp_error(study.twin, limits, best.lp_error_mw),
        loss_error_percent=best.loss_error_percent,
        explained=explain_day(day, limits, best, staying=last_day),
        solves=rounds.log,
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
    after = replace(charged_uncontrolled(study.sessions, study.chosen, day.axis.end), stored_kwh=carried.stored_kwh)
    nothing = np.full(day.p_base_kw.shape, np.nan)
    plan = DayPlan(day.p_base_kw, nothing, nothing, nothing, day.asset_of, after, np.zeros(0), {}, {}, {})
    unresponsive = np.full(len(study.twin.buses), np.inf)
    unmet = list_breaches(study.twin, check, unresponsive, study.settings, step=day.axis.step)
    reason = np.full(day.p_base_kw.shape, NO_PLAN if failure else "")
    solves = [{"day": str(day.axis.local_times[0].date()), "round": 0, "status": failure}] if failure else []
    return PlannedDay(plan, reason, check, unmet, not failure, (0.0, 0.0), 0.0, None, solves)


class AcRounds:
    """Successive linearisation: solve, check by AC power flow, correct the ceilings, solve again.

    A ceiling is the largest weighted flexible power of a limit and step; it is exact
    at the schedule of the last AC power flow. What the paths do not follow (a heat pump
    that is off already, feed-in below its cap) and what the straight line misses comes
    out as missing room and moves the ceiling.

    Parameters
    ----------
    day : Day
        What to plan.
    limits : NetworkLimits
        Limits and their response.
    room_mw : ndarray, (limit, time)
        Room at the reference. [MW]
    losses : Losses
        Losses at the reference, and their slopes.
    p_ref_kw : ndarray, (time, asset)
        The plan at which the room was measured. [kW]
    """

    def __init__(
        self, day: Day, limits: NetworkLimits, room_mw: np.ndarray, losses: Losses, *, p_ref_kw: np.ndarray
    ) -> None:
        self.day, self.limits, self.losses = day, limits, losses
        self.log: list[dict[str, Any]] = []
        p_ref_mw, p_min_mw, p_max_mw = (
            day.at_buses_mw(p_kw) for p_kw in (p_ref_kw, day.band_kw("p_min_kw"), day.band_kw("p_max_kw"))
        )
        self.ceiling_mw = room_mw + limits.weight @ p_ref_mw
        self.in_model = can_bind(limits, room_mw, p_ref_mw, p_min_mw=p_min_mw, p_max_mw=p_max_mw)
        self.capped = np.zeros(day.p_base_kw.shape, dtype=bool)
        self._build()

    def run(self) -> tuple[AcRound, bool]:
        """The round in which plan and power flow agree, else the one that lacks least; and whether they agree."""
        best: AcRound | None = None
        for number in range(1, self.day.study.settings.certificate_rounds + 1):
            present = self._one_round(number)
            if self._agrees(present, number):
                return present, True
            if best is None or self._lack(present) < self._lack(best):
                best = present
            self._learn(present, number)
        assert best is not None  # at least one round is run
        return best, False

    def _build(self) -> None:
        """Program and solver for the rows chosen so far."""
        study, day = self.day.study, self.day
        self.rows = select_rows(self.limits, self.in_model)
        terms, inflexible_kw = price_area(
            study.settings, day.axis, study.price_eur_per_mwh[day.where], study.inflexible_mw[:, day.where]
        )
        problem = FlexibilityProblem(
            hours=np.full(day.axis.length, day.axis.hours_per_step),
            devices=day.devices,
            buses=tuple(study.buses),
            terms=terms,
            inflexible_kw=inflexible_kw,
            rows=self.rows,
            room_kw=self._room_kw(),
            bus_price_eur_per_kwh=self._loss_price(),
            breach_eur_per_kwh=study.settings.breach_price_eur_per_kwh,
            worst_breach_eur=study.settings.worst_breach_price_eur,
        )
        program = build_flexibility_program(problem)
        self.solver = FlexibilitySolver(
            program, time_limit_seconds=study.settings.time_limit_seconds, own_rows=study.own_rows
        )

    def _loss_price(self) -> np.ndarray | None:
        """Losses at the day-ahead price. (time, bus) [EUR/kWh]"""
        study = self.day.study
        if not study.settings.price_losses:
            return None
        return np.asarray(study.price_eur_per_mwh[self.day.where, None] / KW_PER_MW * self.losses.slope)

    def _room_kw(self) -> np.ndarray:
        return np.asarray(KW_PER_MW * self.ceiling_mw[self.rows.limit, self.rows.step])

    def _one_round(self, number: int) -> AcRound:
        """Solve, run the power flow of all paths, and compare."""
        study, day = self.day.study, self.day
        solution = self.solver.solve()
        plan = read_plan(self.solver.program, solution.x, asset_of=day.asset_of, p_base_kw=day.p_base_kw)
        self.capped |= find_caps(day.devices, day.asset_of, plan.p_kw, day.p_base_kw)
        plan = replace(plan, p_kw=mark_caps(plan.p_kw, day.p_base_kw, self.capped))
        paths, flow = day.run_paths(plan.p_kw)
        check = check_limits(study.twin, flow, study.settings.confidence)
        room_mw = measure_room(study.twin, flow, self.limits, study.settings.confidence)
        self._note(number, solution, check)
        solved = SolvedProgram(self.solver.program, solution, self.solver.program.blocks.upper.copy())
        return self._compare(plan, check, room_mw, day.linearise_losses(paths, flow, plan.p_kw), solved)

    def _compare(
        self, plan: DayPlan, check: LimitCheck, room_mw: np.ndarray, losses: Losses, solved: SolvedProgram
    ) -> AcRound:
        admitted_mw = np.zeros_like(room_mw)
        admitted_mw[self.rows.limit, self.rows.step] = plan.over_kw / KW_PER_MW
        load_mw = self.limits.weight @ self.day.at_buses_mw(plan.p_kw)
        planned_mw = np.where(self.in_model, self.ceiling_mw - load_mw, np.inf)
        binding = planned_mw < BINDING_KW / KW_PER_MW
        error_mw = np.subtract(room_mw, planned_mw, out=np.zeros_like(room_mw), where=binding)
        missing_mw, wrong_percent = -room_mw - admitted_mw, self.losses.error_percent(losses)
        return AcRound(plan, check, room_mw + load_mw, missing_mw, binding, error_mw, losses, wrong_percent, solved)

    def _agrees(self, present: AcRound, number: int) -> bool:
        """Whether no room is missing and, in the first rounds, no room was given away."""
        aim_mw = self.limits.aim_mw[:, None]
        wasted = (present.lp_error_mw > 10 * aim_mw).any() and number <= FREE_ROUNDS
        wasted |= present.loss_error_percent > CERTIFIED_LOSS_PERCENT and number <= FREE_ROUNDS
        return not (wasted or present.check.unsolved.any() or (present.missing_mw > aim_mw).any())

    def _lack(self, present: AcRound) -> float:
        """Largest missing room in units of its aim; steps without a solution are worse than any."""
        aim_mw = np.maximum(self.limits.aim_mw[:, None], 1e-12)
        return float((present.missing_mw / aim_mw).max(initial=0.0)) + 1e9 * int(present.check.unsolved.sum())

    def _learn(self, present: AcRound, number: int) -> None:
        """Correct the ceilings; a limit that was thought harmless and is not joins the model."""
        regained = present.ceiling_mw if number <= FREE_ROUNDS else np.minimum(self.ceiling_mw, present.ceiling_mw)
        # without a solution there is no room to measure: take a step back
        back_mw = self.ceiling_mw - 4 * self.limits.guard_mw[:, None]
        self.ceiling_mw = np.where(present.check.unsolved > 0, back_mw, regained)
        surprising = (present.missing_mw > self.limits.aim_mw[:, None]) & ~self.in_model
        self.losses = present.losses
        # slopes of losses enter the costs; later rounds keep them, so that the rounds settle
        if surprising.any() or (self.day.study.settings.price_losses and number <= FREE_ROUNDS):
            self.in_model = self.in_model | surprising
            self._build()
            return
        self.solver.set_room(self._room_kw())

    def _note(self, number: int, solution: FlexibilitySolution, check: LimitCheck) -> None:
        self.log.append(
            {
                "day": str(self.day.axis.local_times[0].date()),
                "round": number,
                "status": solution.status,
                "objective_eur": solution.objective_eur,
                "lower_bound_eur": solution.lower_bound_eur,
                "network_rows": len(self.rows),
                "whole_numbers": solution.decided,
                "engine": solution.engine,
                "loading_violation_percent": max(0.0, float(check.loading_excess_percent.max(initial=0.0))),
                "voltage_violation_pu": max(0.0, float(check.vm_excess_pu.max(initial=0.0))),
            }
        )


def _find_reference(day: Day) -> tuple[np.ndarray, xr.Dataset, xr.Dataset]:
    """Plan to start from, its paths and their power flow: the base, or where that collapses no flexible consumption."""
    paths, flow = day.run_paths(day.p_base_kw)
    if not (flow["status"] != 0).any():
        return day.p_base_kw, paths, flow
    without = np.minimum(day.p_base_kw, 0.0)
    return without, *day.run_paths(without)


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
    return ExplainedDay(
        prices,
        settle_devices(program, solution, prices, base_kw=day.device_base_kw),
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
