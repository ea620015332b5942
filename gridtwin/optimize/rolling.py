"""Model predictive control: plan a moving window again and again, each plan where the last one was carried out.

Devices, prices and limits stand over a long span in fine steps. Each plan sees a window of it, fine now and
coarser later, begins with what earlier plans left in the devices, and pays for leaving the plan before it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.optimize.day_plan import read_devices
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.model import FlexibilityProblem, FlexibilityProgram, LimitRows, build_flexibility_program
from gridtwin.optimize.warm_start import KeyedBasis
from gridtwin.optimize.whole_numbers import FlexibilitySolution, FlexibilitySolver
from gridtwin.optimize.window import Window, cut_window, device_in_window

WARM_COLUMNS = 60_000
"""Largest program that begins with the basis of the plan before it. Larger ones are faster from nothing: a start
from a basis skips presolve (`benchmarks/flexibility_speed.py` measures both)."""
VIOLATION_KW = 1e-3
"""A limit missed by more than this joins the program. [kW]"""
NEAR = 0.1
"""Limits with less room left than this share of their own are put in the next program at once. [-]"""
ROUNDS = 12
"""Times at most that a plan is made again because it missed limits that were not in the program."""


@dataclass(frozen=True)
class RollingLimits:
    """Network limits over the whole span.

    Parameters
    ----------
    weight : ndarray, (limit, bus)
        Weight of active power at each bus, consumption positive. [-]
    room_kw : ndarray, (limit, time)
        Largest weighted flexible power. [kW]
    """

    weight: np.ndarray
    room_kw: np.ndarray


@dataclass(frozen=True)
class RollingSettings:
    """How a window moves.

    Parameters
    ----------
    blocks : ndarray of int, (step,)
        Steps of a window in fine steps, see `window.coarsening_blocks`.
    change_eur_per_kwh : float
        Price of leaving the plan before this one. [EUR/kWh]
    end_value : bool
        Whether energy stored as the window ends is worth the mean price of the day after it.
    time_limit_seconds : float
        Of one solve. [s]
    """

    blocks: np.ndarray
    change_eur_per_kwh: float = 0.0
    end_value: bool = True
    time_limit_seconds: float = 60.0


@dataclass(frozen=True)
class WindowPlan:
    """The plan of one window.

    Parameters
    ----------
    window : Window
        Its steps.
    devices : ndarray, (device,)
        Positions in the span's devices.
    p_kw : ndarray, (step, device)
        Power, consumption positive. [kW]
    solution : FlexibilitySolution
        With objective and bound.
    program : FlexibilityProgram
        What was solved.
    rounds : int
        Solves until every limit held.
    seconds : float
        Time that the plan took. [s]
    """

    window: Window
    devices: np.ndarray
    p_kw: np.ndarray
    solution: FlexibilitySolution
    program: FlexibilityProgram
    rounds: int
    seconds: float


@dataclass
class RollingPlanner:
    """Plans again and again over a span that may be forecast anew at any time.

    Parameters
    ----------
    span : FlexibilityProblem
        Devices, prices and inflexible power over the whole span in fine steps, without network rows and lines of
        losses.
    settings : RollingSettings
        How the window moves.
    limits : RollingLimits, optional
        Network limits.
    """

    span: FlexibilityProblem
    settings: RollingSettings
    limits: RollingLimits | None = None
    state: dict[int, dict[str, float]] = field(default_factory=dict)
    """What earlier plans left in each device, by the name of the parameter; set it to what was measured."""

    def __post_init__(self) -> None:
        if self.span.losses is not None:
            fault = Finding("a moving window plans no lines of losses", where="span.losses", severity="error",
                            do="Give marginal losses as bus_price_eur_per_kwh.", code="GT-O79")  # fmt: skip
            raise DataError([fault])
        self.peak_so_far_kw = self.span.terms.peak_so_far_kw
        self._basis: KeyedBasis | None = None
        self._binding: set[tuple[int, int]] = set()
        self._planned = np.full((len(self.span.hours), len(self.span.devices)), np.nan)

    def plan(self, now: int) -> WindowPlan:
        """Plan the window that begins at a fine step.

        Raises
        ------
        InfeasibleError
            If the solver finds no plan in time.
        """
        begin = time.perf_counter()
        window = cut_window(now, self.settings.blocks, float(self.span.hours[0]), len(self.span.hours))
        present, devices = self._devices_in(window)
        chosen = self._predicted_rows(window)
        for rounds in itertools.count(1):
            program = build_flexibility_program(self._problem_of(window, devices, chosen))
            solver, solution = self._solve(program, present, window)
            p_kw, _ = read_devices(program, solution.x)
            room_kw = self._room_left(window, program.problem, p_kw)
            missed = (room_kw < -VIOLATION_KW) & ~chosen
            if not missed.any() or rounds == ROUNDS:
                break
            chosen |= missed
        self._basis = solver.basis() if self._is_warm(solver) else None
        self._remember(window, present, p_kw, chosen & (room_kw < self._near_kw))
        return WindowPlan(window, present, p_kw, solution, program, rounds, time.perf_counter() - begin)

    def carry_out(self, plan: WindowPlan, steps: int = 1) -> None:
        """Let the first fine steps of a plan happen: every device is left as the plan leaves it."""
        area = plan.program.fleet("area")
        imports = plan.program.fleets[area].column("import_kw", plan.solution.x[area])[:steps]
        self.peak_so_far_kw = max(self.peak_so_far_kw, float(imports.max()))
        for fleet, members, x in zip(plan.program.device_fleets, plan.program.members, plan.solution.x, strict=False):
            for name, parts in fleet.fleet.template.carry.items():
                values = sum(_signed(fleet.column(part.lstrip("-"), x)[steps - 1], part) for part in parts)
                for position, value in zip(plan.devices[members].tolist(), np.asarray(values).tolist(), strict=True):
                    if self._is_there(position, plan.window.first + steps - 1):
                        self.state.setdefault(position, {})[name] = value

    def _is_there(self, position: int, step: int) -> bool:
        """A car that has not come yet keeps the energy it will come with."""
        device = self.span.devices[position]
        return not isinstance(device, ChargingSession) or bool(np.any(device.plugged == step))

    def _devices_in(self, window: Window) -> tuple[np.ndarray, tuple[Device, ...]]:
        length, found = len(self.span.hours), []
        value = self._future_price(window)
        for position, device in enumerate(self.span.devices):
            here = device_in_window(device, window, length, self.state.get(position, {}))
            if here is not None:
                found.append((position, self._with_future(here, position, window, value)))
        return np.array([position for position, _ in found], dtype=np.int64), tuple(device for _, device in found)

    def _future_price(self, window: Window) -> float:
        """Mean price of the day after the window, of the span's last day where it ends earlier. [EUR/kWh]"""
        day = round(24 / window.fine_hours)
        end = min(window.end + day, len(self.span.hours))
        return float(np.atleast_2d(self.span.terms.price_eur_per_kwh)[:, max(0, end - day) : end].mean())

    def _with_future(self, device: Device, position: int, window: Window, value: float) -> Device:
        """The worth of what is stored at the end, and the plan that others count on."""
        if isinstance(device, Battery) and self.settings.end_value and window.end < len(self.span.hours):
            device = replace(device, end_value_eur_per_kwh=max(0.0, value * device.efficiency**0.5))
        if not self.settings.change_eur_per_kwh:
            return device
        planned = window.mean(self._planned[:, position])
        if np.isnan(planned).all():
            return device
        # beyond the plan before this one there is nothing to leave
        free = np.where(np.isnan(planned), 0.0, planned)
        return replace(device, p_planned_kw=free, change_eur_per_kwh=self.settings.change_eur_per_kwh)

    def _problem_of(self, window: Window, devices: tuple[Device, ...], chosen: np.ndarray) -> FlexibilityProblem:
        span, terms = self.span, self.span.terms
        limit, step = np.nonzero(chosen)
        weight, room = np.zeros((0, len(span.buses))), np.zeros(0)
        if self.limits is not None:
            weight, room = self.limits.weight[limit], window.least(self.limits.room_kw)[limit, step]
        price, fee, margin = terms.price_eur_per_kwh, terms.import_fee_eur_per_kwh, terms.export_fee_eur_per_kwh
        bus_price = span.bus_price_eur_per_kwh
        return replace(
            span,
            hours=window.hours,
            devices=devices,
            terms=replace(
                terms,
                price_eur_per_kwh=window.mean(price),
                import_fee_eur_per_kwh=window.mean(fee),
                export_fee_eur_per_kwh=window.mean(margin),
                peak_so_far_kw=self.peak_so_far_kw,
            ),
            inflexible_kw=window.mean(span.inflexible_kw),
            rows=LimitRows(limit, step, weight),
            room_kw=room,
            bus_price_eur_per_kwh=None if bus_price is None else window.mean(bus_price.T).T,
        )

    def _solve(
        self, program: FlexibilityProgram, present: np.ndarray, window: Window
    ) -> tuple[FlexibilitySolver, FlexibilitySolution]:
        solver = FlexibilitySolver(program, time_limit_seconds=self.settings.time_limit_seconds)
        if self._is_warm(solver):
            solver.name_parts(present, window.edges[:-1])
            if self._basis is not None:
                solver.begin_with(self._basis)
        return solver, solver.solve()

    def _is_warm(self, solver: FlexibilitySolver) -> bool:
        return solver.columns <= WARM_COLUMNS

    @property
    def _near_kw(self) -> np.ndarray:
        """A limit with less room than this may bind in the next plan. (limit, 1) [kW]"""
        reach = np.zeros((0, 1)) if self.limits is None else np.abs(self.limits.room_kw).max(axis=1, keepdims=True)
        return NEAR * reach

    def _predicted_rows(self, window: Window) -> np.ndarray:
        """Rows that bound or nearly bound in the last plan, on the steps beside them, and a day later. (limit, step)"""
        limits = 0 if self.limits is None else len(self.limits.weight)
        chosen = np.zeros((limits, len(window.blocks)), dtype=bool)
        day = round(24 / window.fine_hours)
        for limit, moment in self._binding:
            for guess in (moment, moment + day):
                step = int(np.searchsorted(window.edges, guess, side="right")) - 1
                if 0 <= step < len(window.blocks):
                    chosen[limit, max(0, step - 1) : step + 2] = True
        return chosen

    def _room_left(self, window: Window, problem: FlexibilityProblem, p_kw: np.ndarray) -> np.ndarray:
        """Room that a plan leaves at every limit. (limit, step) [kW]"""
        if self.limits is None:
            return np.zeros((0, len(window.blocks)))
        at_bus = np.zeros((len(problem.buses), len(window.blocks)))
        place = {bus: k for k, bus in enumerate(problem.buses)}
        np.add.at(at_bus, [place[device.bus] for device in problem.devices], p_kw.T)
        return np.asarray(window.least(self.limits.room_kw) - self.limits.weight @ at_bus)

    def _remember(self, window: Window, present: np.ndarray, p_kw: np.ndarray, chosen: np.ndarray) -> None:
        limit, step = np.nonzero(chosen)
        self._binding = set(zip(limit.tolist(), window.edges[step].tolist(), strict=True))
        self._planned[window.first : window.end, present] = np.repeat(p_kw, window.blocks, axis=0)


def _signed(values: np.ndarray, part: str) -> np.ndarray:
    return -values if part.startswith("-") else values


def run_rolling(planner: RollingPlanner, *, first: int = 0, last: int, every: int = 1) -> Sequence[WindowPlan]:
    """Plan, carry out `every` fine steps, plan again, until `last`."""
    plans = []
    for now in range(first, last, every):
        plans.append(planner.plan(now))
        planner.carry_out(plans[-1], every)
    return plans
