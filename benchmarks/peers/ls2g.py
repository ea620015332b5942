"""lightsim2grid: its C++ time series with KLU, in the fastest variant that solves the case.

It knows one slack bus, or several that share the power: several ideal ones are drawn
together, with the ratio of their voltages in the branches behind them.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.case import PeerCase, Solution, as_columns

TOLERANCE_PU = 1e-8
"""Of the power mismatch, at the base power of the case. [pu]"""
MOST_ITERATIONS = 30


class Variant(NamedTuple):
    """What a user can choose; the fast decoupled methods are left out, its time series refuse them."""

    algorithm: str
    """Newton for one slack, or for a distributed one."""
    refactor: str
    """A Jacobian per iteration, or that of the step's first one."""
    warm: bool
    """Every step starts from the one before it, or all from one solution."""


VARIANTS = tuple(
    Variant(algorithm, refactor, warm)
    for algorithm in ("NRSing_KLU", "NR_KLU")
    for refactor in ("AlwaysRefactor", "Chord")
    for warm in (True, False)
)


def why_not(case: PeerCase) -> str | None:
    """Why lightsim2grid cannot run the case, None where it can."""
    if importlib.util.find_spec("lightsim2grid") is None:
        return "lightsim2grid is not installed"
    return None


class Ls2gSide:
    """A lightsim2grid model with its series."""

    def __init__(self, case: PeerCase, variant: Variant = VARIANTS[0]) -> None:
        self.case, self.variant = case, variant
        self.grid = self._build()
        self._prepare_series()
        self._prepare_reading()

    def solve(self) -> Solution:
        """All steps, in the outputs that are compared."""
        return self._read(self.solve_voltages(), self.computer.compute_flows())

    def solve_voltages(self) -> Any:
        """All steps, complex voltages only."""
        self.computer.compute_Vs(*self.series, self.start, MOST_ITERATIONS, TOLERANCE_PU)
        if self.computer.get_status() != 1:
            raise RuntimeError(f"{self.case.name}: lightsim2grid solved {self.computer.nb_solved()} steps only")
        return self.computer.get_voltages()

    def iterations(self) -> float:
        """Mean of the last run."""
        return float(np.mean(self.computer.get_row_nb_iter()))

    def _build(self) -> Any:
        from lightsim2grid.algorithm import AlgorithmType
        from lightsim2grid.network import LSGrid

        case, model = self.case, self.case.model
        grid = LSGrid()
        grid.set_sn_mva(model.base_mva)
        self._draw_slacks_together()
        grid.init_bus(len(model.base_kv), 1, model.base_kv, int((~self.is_trafo).sum()), int(self.is_trafo.sum()))
        self._add_branches(grid)
        self._add_shunts(grid)
        none = np.zeros(len(case.loaded))
        grid.init_loads(none, none, case.loaded.astype(np.int32))
        self._add_generators(grid)
        for bus in model.slack[1:]:
            grid.deactivate_bus(int(bus))
        grid.change_algorithm(AlgorithmType.NR_KLU)
        return grid

    def _draw_slacks_together(self) -> None:
        """Ends and ratios with every branch of a further slack moved to the first one."""
        model, branch = self.case.model, self.case.branch
        factor = np.ones(len(model.base_kv), dtype=complex)
        factor[model.slack] = model.slack_voltage[0] / model.slack_voltage
        joined = np.arange(len(model.base_kv))
        joined[model.slack] = model.slack[0]
        # A ratio sits at the first end: a branch whose second end is a further slack is turned round.
        turned = np.isin(branch.second, model.slack[1:])
        if (turned & ((branch.ratio != 1) | (branch.shift != 0))).any():
            raise ValueError(f"{self.case.name}: a transformer ends in a second slack")
        self.turned = turned
        first, second = np.where(turned, [branch.second, branch.first], [branch.first, branch.second])
        self.factor = factor[first]
        ratio = branch.ratio * np.exp(1j * branch.shift) * self.factor
        self.ratio, self.shift = np.abs(ratio), np.angle(ratio)
        self.first, self.second = joined[first], joined[second]
        self.is_trafo = (self.ratio != 1) | (self.shift != 0)

    def _add_branches(self, grid: Any) -> None:
        branch, trafo = self.case.branch, self.is_trafo
        first, second = branch.shunt_first.copy(), branch.shunt_second.copy()
        first[self.turned], second[self.turned] = branch.shunt_second[self.turned], branch.shunt_first[self.turned]
        z, ends = branch.impedance, (self.first.astype(np.int32), self.second.astype(np.int32))
        if not np.allclose(first[trafo], second[trafo], rtol=1e-6, atol=1e-12):
            raise ValueError(f"{self.case.name}: lightsim2grid's transformers have equal shunts at both ends")
        line = ~trafo
        grid.init_powerlines_full(z.real[line], z.imag[line], first[line], second[line], ends[0][line], ends[1][line])
        grid.init_trafo(
            z.real[trafo],
            z.imag[trafo],
            (first + second)[trafo],
            self.ratio[trafo],
            np.rad2deg(self.shift[trafo]),
            [True] * int(trafo.sum()),
            ends[0][trafo],
            ends[1][trafo],
            True,
        )

    def _add_shunts(self, grid: Any) -> None:
        bus = np.setdiff1d(np.flatnonzero(self.case.shunt), self.case.model.slack)
        mva = self.case.shunt[bus] * self.case.model.base_mva
        grid.init_shunt(mva.real.copy(), -mva.imag, bus.astype(np.int32))

    def _add_generators(self, grid: Any) -> None:
        model = self.case.model
        bus = np.append(model.slack[:1], model.held).astype(np.int32)
        vm_pu = np.append(np.abs(model.slack_voltage[:1]), model.held_vm_pu)
        none, wide = np.zeros(len(bus)), np.full(len(bus), 1e6)
        grid.init_generators_full(none, vm_pu, none, [True] * len(bus), -wide, wide, bus)
        grid.add_gen_slackbus(0, 1.0)

    def _prepare_series(self) -> None:
        from lightsim2grid.injectionSweep import InjectionSweepCPP
        from lightsim2grid.timeSerie import TimeSeriesCPP

        case, model = self.case, self.case.model
        injected = case.bus_mva
        gen_p = np.hstack([np.zeros((case.steps, 1)), injected[:, model.held].real])
        load = -injected[:, case.loaded]
        tables = (gen_p, np.zeros((case.steps, 0)), load.real, load.imag)
        self.series = [np.ascontiguousarray(table) for table in tables]
        # Slack angles other than zero: lightsim2grid's own slack stands at zero, all angles are turned back.
        self.turn = model.slack_voltage[0] / abs(model.slack_voltage[0])
        self.start = self._start()
        self.computer = (TimeSeriesCPP if self.variant.warm else InjectionSweepCPP)(self.grid)
        self._choose_algorithm()

    def _choose_algorithm(self) -> None:
        from lightsim2grid.algorithm import AlgorithmType, RefactorPolicyType

        self.computer.change_algorithm(getattr(AlgorithmType, self.variant.algorithm))
        config = self.computer.get_algo_config()
        scaling, _, *others = config.int_params
        config.int_params = [scaling, int(getattr(RefactorPolicyType, self.variant.refactor)), *others]
        self.computer.set_algo_config(config)

    def _start(self) -> Any:
        """Voltages of the first step: the series begins warm."""
        for k in range(len(self.case.loaded)):
            self.grid.change_p_load(k, self.series[2][0, k])
            self.grid.change_q_load(k, self.series[3][0, k])
        for k in range(1, self.series[0].shape[1]):
            self.grid.change_p_gen(k, self.series[0][0, k])
        count = len(self.case.model.base_kv)
        start = self.grid.dc_pf(np.ones(count, dtype=complex), MOST_ITERATIONS, TOLERANCE_PU)
        found = self.grid.ac_pf(start, MOST_ITERATIONS, TOLERANCE_PU)
        if len(found) == 0:
            raise RuntimeError(f"{self.case.name}: lightsim2grid does not solve the first step")
        return found

    def _prepare_reading(self) -> None:
        """Columns of the flows, and the admittances of the far end, that lightsim2grid gives no current of."""
        case, branch = self.case, self.case.branch
        row = case.branch_of_row
        self.rows = np.flatnonzero(row >= 0)
        chosen = row[self.rows]
        order = np.append(np.flatnonzero(~self.is_trafo), np.flatnonzero(self.is_trafo))
        column = np.argsort(order)
        self.flow_columns = as_columns(column[chosen])
        turned = self.turned[chosen]
        percent = case.percent[self.rows]
        near, far = np.where(turned, percent.T[::-1], percent.T)
        kv = case.model.base_kv[np.where(turned, branch.second[chosen], branch.first[chosen])]
        per_ka = np.sqrt(3) * kv / case.model.base_mva
        self.near_percent = near * per_ka * np.abs(self.factor[chosen])
        self.far_percent = far
        y = case.model.y_branch[chosen]
        own, mutual = np.where(turned, [y[:, 0], y[:, 1]], [y[:, 3], y[:, 2]])
        # The drawn-together slack stands for each of them: its voltage over the factor is their own.
        # Without shunts and ratio both ends carry the same current.
        shunted = (branch.shunt_first[chosen] != 0) | (branch.shunt_second[chosen] != 0)
        self.unlike = np.flatnonzero(shunted | self.is_trafo[chosen])
        some, unlike = chosen[self.unlike], self.unlike
        self.far_own = own[unlike] * far[unlike]
        self.far_mutual = mutual[unlike] / self.factor[some] * far[unlike]
        self.far_ends = self.second[some], self.first[some]
        self.bus_columns = as_columns(
            np.where(np.isin(case.bus_of_row, case.model.slack[1:]), case.model.slack[0], case.bus_of_row)
        )
        self.slack_rows = [
            (np.flatnonzero(case.bus_of_row == bus), voltage)
            for bus, voltage in zip(case.model.slack[1:], case.model.slack_voltage[1:], strict=True)
        ]

    def _read(self, voltage: Any, flows_ka: Any) -> Solution:
        case = self.case
        near = flows_ka[:, self.flow_columns] * self.near_percent
        far = voltage[:, self.far_ends[0]] * self.far_own
        far += voltage[:, self.far_ends[1]] * self.far_mutual
        near[:, self.unlike] = np.maximum(near[:, self.unlike], _magnitude(far))
        loading = near
        if len(self.rows) != len(case.branch_of_row):
            loading = np.zeros((case.steps, len(case.branch_of_row)))
            loading[:, self.rows] = near
        at_bus = voltage[:, self.bus_columns]
        at_bus = at_bus if self.turn == 1 else at_bus * self.turn
        vm_pu, angle = _magnitude(at_bus), np.arctan2(at_bus.imag, at_bus.real)
        for rows, own in self.slack_rows:
            vm_pu[:, rows], angle[:, rows] = np.abs(own), np.angle(own)
        return Solution(vm_pu, np.rad2deg(angle, out=angle), loading)


def _magnitude(values: Any) -> Any:
    """numpy's own `abs` of complex numbers guards against overflow, at several times the cost."""
    return np.sqrt(values.real**2 + values.imag**2)


def quiet(build: Any) -> Any:
    """Run `build` without the deprecation notes of lightsim2grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


def build(case: PeerCase) -> Ls2gSide:
    """The fastest variant that carries the whole series; its choice is `side.variant`."""
    sides = [side for variant in VARIANTS if (side := _try(case, variant)) is not None]
    if not sides:
        raise RuntimeError(f"{case.name}: no variant of lightsim2grid solves all steps")
    seconds = [min(_cpu_seconds(side) for _ in range(2)) for side in sides]
    return sides[int(np.argmin(seconds))]


def _try(case: PeerCase, variant: Variant) -> Ls2gSide | None:
    side: Ls2gSide = quiet(lambda: Ls2gSide(case, variant))
    try:
        side.solve_voltages()
    except RuntimeError:
        return None
    return side


def _cpu_seconds(side: Ls2gSide) -> float:
    """CPU time of the series: what else runs on the machine must not choose the variant. [s]"""
    start = time.process_time()
    side.solve_voltages()
    return time.process_time() - start
