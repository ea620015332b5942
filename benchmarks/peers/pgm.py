"""power-grid-model: its batch calculation, columnar in and out, sequential.

PGM 1.12 has no component that holds a voltage behind a generator: cases with such
buses are left out.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from benchmarks.peers.case import Ints, PeerCase, Solution, as_columns

METHODS = ("iterative_current", "newton_raphson")
TOLERANCE_PU = 1e-8
FREQUENCY_HZ = 50.0
SHORT_CIRCUIT_VA = 1e20
"""Of the sources: PGM has no ideal one. [VA]"""
MOST_ITERATIONS = 50


def why_not(case: PeerCase) -> str | None:
    """Why PGM cannot run the case, None where it can."""
    if importlib.util.find_spec("power_grid_model") is None:
        return "power-grid-model is not installed"
    if len(case.model.held):
        return "power-grid-model has no component that holds a voltage (PV buses)"
    return None


class PgmSide:
    """A compiled PGM model with its batch; `solve` runs all steps."""

    def __init__(self, case: PeerCase) -> None:
        from power_grid_model import PowerGridModel

        self.case = case
        self.lines, self.others = _split_branches(case)
        self.model = PowerGridModel(self._input(), system_frequency=FREQUENCY_HZ)
        injected = case.bus_mva[:, case.loaded] * 1e6
        self.update = {
            "sym_gen": {
                "p_specified": np.ascontiguousarray(injected.real),
                "q_specified": np.ascontiguousarray(injected.imag),
            }
        }
        self._prepare_reading()

    def solve(self, method: str) -> Solution:
        """All steps, in the outputs that are compared."""
        found = self.model.calculate_power_flow(
            update_data=self.update,
            symmetric=True,
            error_tolerance=TOLERANCE_PU,
            max_iterations=MOST_ITERATIONS,
            calculation_method=method,
            threading=-1,
            output_component_types=self.wanted,
        )
        return self._read(found)

    def _input(self) -> dict[str, Any]:
        model, first = self.case.model, len(self.case.model.base_kv)
        parts = {"node": _nodes(self.case), "line": _lines(self.case, self.lines)}
        parts["generic_branch"] = _generic_branches(self.case, self.others)
        parts["source"] = _sources(self.case)
        parts["sym_gen"] = _injections(self.case)
        parts["shunt"] = _shunts(self.case)
        parts = {name: part for name, part in parts.items() if len(part)}
        for name, part in parts.items():  # ids are unique over all components; nodes are their own
            part["id"] = np.arange(len(part)) + (0 if name == "node" else first)
            first += 0 if name == "node" else len(part)
        assert len(parts["node"]) == len(model.base_kv)
        return parts

    def _prepare_reading(self) -> None:
        """Where the outputs belong, and by which factor."""
        case = self.case
        place = np.full(len(case.branch.first) + 1, -1)
        place[self.lines] = np.arange(len(self.lines))
        place[self.others] = np.arange(len(self.others))
        is_line = np.append(np.isin(np.arange(len(case.branch.first)), self.lines), False)
        row = case.branch_of_row
        self.line_rows = np.flatnonzero((row >= 0) & is_line[row])
        self.other_rows = np.flatnonzero((row >= 0) & ~is_line[row])
        self.line_columns, self.other_columns = place[row[self.line_rows]], place[row[self.other_rows]]
        ka = compile_ka(case)[self.other_rows]
        self.other_percent = case.percent[self.other_rows] / ka / 1000  # PGM's currents are in A
        self.bus_columns = as_columns(case.bus_of_row)
        self.wanted: dict[str, list[str]] = {"node": ["u_pu", "u_angle"]}
        if len(self.lines):
            self.wanted["line"] = ["loading"]
        if len(self.others):
            self.wanted["generic_branch"] = ["i_from", "i_to"]

    def _read(self, found: dict[str, Any]) -> Solution:
        case, node = self.case, found["node"]
        vm_pu, angle = node["u_pu"][:, self.bus_columns], node["u_angle"][:, self.bus_columns]
        loading = np.zeros((case.steps, len(case.branch_of_row)))
        if len(self.line_rows):
            columns = as_columns(self.line_columns)
            loading[:, _span(self.line_rows)] = 100 * found["line"]["loading"][:, columns]
        if len(self.other_rows):
            currents = [found["generic_branch"][side][:, self.other_columns] for side in ("i_from", "i_to")]
            ends = [current * percent for current, percent in zip(currents, self.other_percent.T, strict=True)]
            loading[:, _span(self.other_rows)] = np.maximum(*ends)
        return Solution(vm_pu, np.rad2deg(angle), loading)


def _span(index: Ints) -> Ints | slice:
    """A slice where the columns lie side by side."""
    beside = len(index) > 0 and np.array_equal(index, np.arange(index[0], index[0] + len(index)))
    return slice(int(index[0]), int(index[-1]) + 1) if beside else index


def compile_ka(case: PeerCase) -> np.ndarray:
    """Current of 1 pu at both ends of each branch of the twin. (branch, 2) [kA]"""
    from gridtwin.grid.compile import compile_network

    return compile_network(case.twin).branches.ka.reshape(-1, 2)


def _split_branches(case: PeerCase) -> tuple[Ints, Ints]:
    """Internal branches that PGM's line can be, and the others: a line has equal shunts and no ratio."""
    branch, kv = case.branch, case.model.base_kv
    charged = (branch.shunt_first.imag != 0) | (branch.shunt_first.real == 0)
    plain = (branch.ratio == 1) & (branch.shift == 0) & (kv[branch.first] == kv[branch.second]) & charged
    return np.flatnonzero(plain), np.flatnonzero(~plain)


def _array(component: str, count: int) -> Any:
    from power_grid_model import initialize_array

    return initialize_array("input", component, count)


def _nodes(case: PeerCase) -> Any:
    nodes = _array("node", len(case.model.base_kv))
    nodes["u_rated"] = 1000 * case.model.base_kv
    return nodes


def _ohm(case: PeerCase, chosen: Ints) -> np.ndarray:
    """Impedance of 1 pu at the second end. [ohm]"""
    return case.model.base_kv[case.branch.second[chosen]] ** 2 / case.model.base_mva


def _ends(case: PeerCase, chosen: Ints, part: Any) -> Any:
    part["from_node"], part["to_node"] = case.branch.first[chosen], case.branch.second[chosen]
    part["from_status"] = part["to_status"] = 1
    return part


def _lines(case: PeerCase, chosen: Ints) -> Any:
    lines, ohm, branch = _ends(case, chosen, _array("line", len(chosen))), _ohm(case, chosen), case.branch
    shunt = (branch.shunt_first[chosen] + branch.shunt_second[chosen]) / ohm
    lines["r1"], lines["x1"] = branch.impedance[chosen].real * ohm, branch.impedance[chosen].imag * ohm
    lines["c1"] = shunt.imag / (2 * np.pi * FREQUENCY_HZ)
    lines["tan1"] = np.divide(shunt.real, shunt.imag, out=np.zeros(len(chosen)), where=shunt.imag != 0)
    rated_a = np.full(len(branch.first) + 1, 1.0)
    rated_a[case.branch_of_row] = 1e5 * (compile_ka(case) / case.percent)[:, 0]
    lines["i_n"] = np.nan_to_num(rated_a[chosen], nan=1.0)
    return lines


def _generic_branches(case: PeerCase, chosen: Ints) -> Any:
    part, ohm, branch = _ends(case, chosen, _array("generic_branch", len(chosen))), _ohm(case, chosen), case.branch
    shunt = (branch.shunt_first[chosen] + branch.shunt_second[chosen]) / ohm
    part["r1"], part["x1"] = branch.impedance[chosen].real * ohm, branch.impedance[chosen].imag * ohm
    part["g1"], part["b1"] = shunt.real, shunt.imag
    part["k"], part["theta"], part["sn"] = branch.ratio[chosen], branch.shift[chosen], 1e6
    return part


def _sources(case: PeerCase) -> Any:
    part = _array("source", len(case.model.slack))
    part["node"], part["status"] = case.model.slack, 1
    part["u_ref"], part["u_ref_angle"] = np.abs(case.model.slack_voltage), np.angle(case.model.slack_voltage)
    part["sk"] = SHORT_CIRCUIT_VA
    return part


def _injections(case: PeerCase) -> Any:
    from power_grid_model import LoadGenType

    part = _array("sym_gen", len(case.loaded))
    part["node"], part["status"], part["type"] = case.loaded, 1, LoadGenType.const_power
    part["p_specified"] = part["q_specified"] = 0.0
    return part


def _shunts(case: PeerCase) -> Any:
    bus = np.flatnonzero(case.shunt)
    part = _array("shunt", len(bus))
    siemens = case.shunt[bus] * case.model.base_mva / case.model.base_kv[bus] ** 2
    part["node"], part["status"] = bus, 1
    part["g1"], part["b1"] = siemens.real, siemens.imag
    return part
