"""power-grid-model: sequential batch calculation with columnar data in and out."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.case import Flows, Floats, Ints, PeerCase, UnsupportedCaseError, check_library
from benchmarks.peers.internal_grid import InternalGrid, columns_of, read_internal_grid, spread_buses

METHODS = ("iterative_current", "newton_raphson")
F_HZ = 50.0
STIFF_SK_VA = 1e20
"""Short-circuit power of a source without impedance; its default of 10 GVA would move voltages by 1e-4 pu. [VA]"""


class PowerGridModelPeer:
    """Network and batch layout are made once; `run` is one batch calculation.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    tolerance_pu : float, default 1e-8
        Largest change of a voltage in the last iteration, the package's own default. [pu]
    threads : int, default 1
    """

    def __init__(
        self,
        case: PeerCase,
        *,
        method: str = METHODS[0],
        tolerance_pu: float = 1e-8,
        threads: int = 1,
        loadings: bool = True,
    ) -> None:
        check_library("power_grid_model")
        grid = read_internal_grid(case)
        if len(grid.held):
            raise UnsupportedCaseError("power-grid-model 1.12 has no buses that hold their voltage")
        self.name = f"power-grid-model, {method.replace('_', ' ')}"
        self._grid, self._loadings = grid, loadings
        self._options = {
            "symmetric": True,
            "error_tolerance": tolerance_pu,
            "max_iterations": 100,
            "calculation_method": method,
            "threading": -1 if threads == 1 else threads,
        }
        self._is_line = _find_lines(grid)
        self._model, self._load_ids = _build_model(grid, self._is_line)
        self._places = _find_places(grid, self._is_line)

    def prepare(self, p_mw: Floats, q_mvar: Floats) -> dict[str, Any]:
        """Update data in the package's layout; what a user of it would have at hand. [W], [var]"""
        columns = {"p_specified": 1e6 * p_mw, "q_specified": 1e6 * q_mvar}
        ids = np.broadcast_to(self._load_ids, p_mw.shape)
        return {"sym_load": {"id": np.ascontiguousarray(ids), **columns}}

    def solve(self, update: dict[str, Any]) -> Flows:
        """The timed part: batch calculation and its outputs in common units."""
        wanted: dict[str, list[str]] = {"node": ["u_pu", "u_angle"]}
        if self._loadings:
            wanted |= {"line": ["loading"], "generic_branch": ["i_from", "i_to"]}
        found = self._model.calculate_power_flow(update_data=update, output_component_types=wanted, **self._options)
        node = found["node"]
        va_degree = np.rad2deg(node["u_angle"], out=node["u_angle"])
        rows = self._grid.bus_of_row
        loading = self._percent(found) if self._loadings else np.empty((len(va_degree), 0))
        return Flows(spread_buses(node["u_pu"], rows), spread_buses(va_degree, rows), loading)

    def run(self, p_mw: Floats, q_mvar: Floats) -> Flows:
        return self.solve(self.prepare(p_mw, q_mvar))

    def _percent(self, found: dict[str, Any]) -> Floats:
        steps = len(found["node"]["u_pu"])
        loading = np.zeros((steps, len(self._grid.branch_of_row)))
        lines, line_places, branches, branch_places, percent = self._places
        if len(found["line"]["loading"].T):
            loading[:, columns_of(lines)] = 100 * found["line"]["loading"][:, columns_of(line_places)]
        if len(branches):
            ends = [found["generic_branch"][name][:, branch_places] for name in ("i_from", "i_to")]
            loading[:, columns_of(branches)] = np.maximum(ends[0] * percent[:, 0], ends[1] * percent[:, 1])
        return loading


def _find_lines(grid: InternalGrid) -> Ints:
    """Whether a branch is a plain line: one voltage, no ratio, no conductance. (branch)"""
    kv = grid.base_kv[grid.ends]
    return (kv[:, 0] == kv[:, 1]) & (grid.ratio == 1) & (grid.shunt.real == 0)


def _build_model(grid: InternalGrid, is_line: Ints) -> tuple[Any, Ints]:
    """The model and the ids of its loads, one per element of the case."""
    from power_grid_model import PowerGridModel

    u_rated = 1e3 * grid.base_kv
    parts = {
        "node": {"u_rated": u_rated},
        "line": _line_columns(grid, np.flatnonzero(is_line)),
        "generic_branch": _branch_columns(grid, np.flatnonzero(~is_line)),
        "source": _source_columns(grid),
        "shunt": _shunt_columns(grid),
        "sym_load": _load_columns(grid),
    }
    rows, first = {}, 0
    for name, columns in parts.items():
        rows[name] = _fill(name, first, columns)
        first += len(rows[name])
    data = {name: table for name, table in rows.items() if len(table)}
    return PowerGridModel(data, system_frequency=F_HZ), rows["sym_load"]["id"].copy()


def _fill(name: str, first_id: int, columns: dict[str, Any]) -> Any:
    from power_grid_model import initialize_array

    table = initialize_array("input", name, len(next(iter(columns.values()))))
    table["id"] = first_id + np.arange(len(table))
    for column, values in columns.items():
        table[column] = values
    return table


def _ends(grid: InternalGrid, some: Ints) -> dict[str, Any]:
    ends = {"from_node": grid.ends[some, 0], "to_node": grid.ends[some, 1]}
    return ends | {"from_status": np.ones(len(some)), "to_status": np.ones(len(some))}


def _line_columns(grid: InternalGrid, some: Ints) -> dict[str, Any]:
    ohm = grid.base_kv[grid.ends[some, 1]] ** 2 / grid.base_mva
    z, c1 = grid.series[some] * ohm, grid.shunt[some].imag / ohm / (2 * np.pi * F_HZ)
    rated = np.ones(len(grid.ends))
    on = grid.branch_of_row >= 0
    rated[grid.branch_of_row[on]] = 1e3 * grid.rated_ka[on, 0]
    return _ends(grid, some) | {"r1": z.real, "x1": z.imag, "c1": c1, "tan1": np.zeros(len(some)), "i_n": rated[some]}


def _branch_columns(grid: InternalGrid, some: Ints) -> dict[str, Any]:
    """Impedances in ohm of the to side; k and theta stand at the from side."""
    ohm = grid.base_kv[grid.ends[some, 1]] ** 2 / grid.base_mva
    z, y = grid.series[some] * ohm, grid.shunt[some] / ohm
    columns = {"r1": z.real, "x1": z.imag, "g1": y.real, "b1": y.imag}
    columns |= {"k": np.abs(grid.ratio[some]), "theta": np.angle(grid.ratio[some])}
    return _ends(grid, some) | columns | {"sn": np.full(len(some), 1e6 * grid.base_mva)}


def _source_columns(grid: InternalGrid) -> dict[str, Any]:
    some = len(grid.slack)
    voltage = {"u_ref": np.abs(grid.slack_voltage), "u_ref_angle": np.angle(grid.slack_voltage)}
    return {"node": grid.slack, "status": np.ones(some), **voltage, "sk": np.full(some, STIFF_SK_VA)}


def _shunt_columns(grid: InternalGrid) -> dict[str, Any]:
    some = np.flatnonzero(grid.shunt_mva)
    y = grid.shunt_mva[some].conj() / grid.base_kv[some] ** 2
    return {"node": some, "status": np.ones(len(some)), "g1": y.real, "b1": y.imag}


def _load_columns(grid: InternalGrid) -> dict[str, Any]:
    zero = np.zeros(len(grid.bus_of_element))
    return {"node": grid.bus_of_element, "status": zero + 1, "type": zero, "p_specified": zero, "q_specified": zero}


def _find_places(grid: InternalGrid, is_line: Ints) -> tuple[Ints, Ints, Ints, Ints, Floats]:
    """Rows of the case that are lines and their places among them; the same of the others, and their % at 1 A."""
    place = np.where(is_line, np.cumsum(is_line), np.cumsum(~is_line)) - 1
    rows = np.flatnonzero(grid.branch_of_row >= 0)
    line = is_line[grid.branch_of_row[rows]]
    lines, others = rows[line], rows[~line]
    line_places, other_places = place[grid.branch_of_row[lines]], place[grid.branch_of_row[others]]
    return lines, line_places, others, other_places, 0.1 / grid.rated_ka[others]
