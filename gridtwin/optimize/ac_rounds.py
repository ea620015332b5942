"""Successive linearisation of one day: solve, check by AC power flow, correct, solve again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridtwin.optimize.area_terms import price_area
from gridtwin.optimize.certificate import CERTIFIED_LOSS_PERCENT, LimitCheck, check_limits
from gridtwin.optimize.day_losses import LossCurve, Losses
from gridtwin.optimize.day_plan import DayPlan, find_caps, mark_caps, read_devices, read_plan
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.model import FlexibilityProblem, FlexibilityProgram, build_flexibility_program
from gridtwin.optimize.network_limits import NetworkLimits, can_bind, measure_room, select_rows
from gridtwin.optimize.study_day import Day
from gridtwin.optimize.whole_numbers import FlexibilitySolution, FlexibilitySolver

FREE_ROUNDS = 2
"""Rounds in which a limit may regain room; later ones only tighten, so that the rounds settle."""
BINDING_KW = 1e-3
"""A network row with less room than this binds. [kW]"""
ALL_AT_ONCE = 3000
"""Up to so many rows that can bind enter the program at once; of more, those that a plan misses join it."""
MANY_SHARE = 0.5
"""Where more than this share of the rows is needed, all that can bind enter. [-]"""


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
    losses : LossCurve
        Losses around the reference.
    p_ref_kw : ndarray, (time, asset)
        The plan at which the room was measured. [kW]
    """

    def __init__(
        self, day: Day, limits: NetworkLimits, room_mw: np.ndarray, losses: LossCurve, *, p_ref_kw: np.ndarray
    ) -> None:
        self.day, self.limits, self.losses = day, limits, losses
        self.log: list[dict[str, Any]] = []
        p_ref_mw, p_min_mw, p_max_mw = (
            day.at_buses_mw(p_kw) for p_kw in (p_ref_kw, day.band_kw("p_min_kw"), day.band_kw("p_max_kw"))
        )
        self.ceiling_mw = room_mw + limits.weight @ p_ref_mw
        self.possible = can_bind(limits, room_mw, p_ref_mw, p_min_mw=p_min_mw, p_max_mw=p_max_mw)
        self.in_model = self.possible & (self._few(self.possible) | (room_mw < limits.guard_mw[:, None]))
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

    @staticmethod
    def _few(possible: np.ndarray) -> bool:
        """Whether all rows that can bind at all may enter at once."""
        return int(possible.sum()) <= ALL_AT_ONCE

    def _solve(self) -> FlexibilitySolution:
        """Solve; rows that can bind and are missed join until none is, all of them where many do."""
        while True:
            solution = self.solver.solve()
            device_kw, _ = read_devices(self.solver.program, solution.x)
            p_kw = np.zeros(self.day.p_base_kw.shape)
            np.add.at(p_kw.T, self.day.asset_of, device_kw.T)
            left_mw = self.ceiling_mw - self.limits.weight @ self.day.at_buses_mw(p_kw)
            missed = self.possible & ~self.in_model & (left_mw < -self.limits.aim_mw[:, None])
            if not missed.any():
                return solution
            many = int((self.in_model | missed).sum()) > MANY_SHARE * int(self.possible.sum())
            self.in_model = self.possible | self.in_model if many else self.in_model | missed
            self._build()

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
            bus_price_eur_per_kwh=self.losses.bus_price() if study.settings.price_losses else None,
            losses=self.losses.for_program() if study.settings.price_losses else None,
            breach_eur_per_kwh=study.settings.breach_price_eur_per_kwh,
            worst_breach_eur=study.settings.worst_breach_price_eur,
        )
        program = build_flexibility_program(problem)
        self.solver = FlexibilitySolver(
            program, time_limit_seconds=study.settings.time_limit_seconds, own_rows=study.own_rows
        )

    def _room_kw(self) -> np.ndarray:
        return np.asarray(KW_PER_MW * self.ceiling_mw[self.rows.limit, self.rows.step])

    def _one_round(self, number: int) -> AcRound:
        """Solve, run the power flow of all paths, and compare."""
        study, day = self.day.study, self.day
        solution = self._solve()
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
        wasted |= self.day.study.settings.price_losses and present.loss_error_percent > CERTIFIED_LOSS_PERCENT
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
        # losses that are right stay as they are, so that the rounds settle
        curved = self.day.study.settings.price_losses and present.loss_error_percent > CERTIFIED_LOSS_PERCENT / 2
        if curved:
            solution, rows = present.solved.solution, present.solved.program.loss_rows
            if solution.engine == "block":
                # its time grows with the third power of the rows that join devices
                self.losses = self.losses.thinned(solution.coupling_dual[rows])
            self.losses = self.losses.with_plan(present.losses)
        if surprising.any() or curved:
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
