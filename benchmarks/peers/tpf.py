"""TensorPowerFlow: a dense impedance matrix times all steps at once; constant power, one slack, voltages only.

Its branch table knows neither iron losses nor phase shifts. It is therefore given the
matrices of the network that it would make itself, in voltages relative to those
without load: exact, and the best starting point for its flat start. Its
dependencies are not ours: install it beside the project, for development only.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers.case import PeerCase, as_columns

TOLERANCE_PU = 1e-8
"""Of the last change of any magnitude. [pu]"""
MOST_ITERATIONS = 100
MOST_BUSES = 1000
"""Beyond this its dense matrix is no longer a sensible choice."""


def why_not(case: PeerCase) -> str | None:
    """Why TensorPowerFlow cannot run the case, None where it can."""
    if importlib.util.find_spec("tensorpowerflow") is None:
        return "TensorPowerFlow is not installed (pip install --no-deps --target FOLDER TensorPowerFlow==0.0.7 psutil)"
    if len(case.model.held):
        return "TensorPowerFlow has no PV buses"
    if len(case.model.slack) != 1:
        return "TensorPowerFlow has one slack"
    if len(case.model.base_kv) > MOST_BUSES:
        return "TensorPowerFlow's impedance matrix is dense"
    return None


class TpfSide:
    """A `GridTensor` of the case; `solve` gives magnitudes and angles of all steps."""

    def __init__(self, case: PeerCase) -> None:
        self.case = case
        self.inner = np.setdiff1d(np.arange(len(case.model.base_kv)), case.model.slack)
        impedance = -np.linalg.inv(case.model.y_bus.toarray()[np.ix_(self.inner, self.inner)]) / case.model.base_mva
        slack = case.model.slack
        constant = case.model.y_bus[self.inner][:, slack] @ case.model.slack_voltage
        self.unloaded = case.model.base_mva * (impedance @ constant)
        self.grid = _empty_grid(len(self.inner))
        # Consumption of 1 MVA is 1000 of its kVA, and 1 of its per unit.
        self.grid._K_ = impedance / np.outer(self.unloaded, self.unloaded.conj())
        self.grid._L_ = np.ones((len(self.inner), 1), dtype=complex)
        consumed_kva = -1000 * case.bus_mva[:, self.inner]
        self.p_kw, self.q_kvar = np.ascontiguousarray(consumed_kva.real), np.ascontiguousarray(consumed_kva.imag)
        self._prepare_reading()

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Magnitude and angle of every bus of the twin. (step, bus) [pu], [degree]"""
        found = self.solve_relative()
        relative = found["v"] if isinstance(self.columns, slice) else found["v"][:, self.columns]
        voltage = relative * self.unloaded_at
        vm_pu, va_degree = self._with_slack(np.abs(voltage)), self._with_slack(np.angle(voltage, deg=True))
        vm_pu[:, self.slack_rows], va_degree[:, self.slack_rows] = self.slack
        return vm_pu, va_degree

    def solve_relative(self) -> dict[str, Any]:
        """Its own result: complex voltages relative to those without load."""
        found = self.grid.run_pf_tensor(
            active_power=self.p_kw, reactive_power=self.q_kvar, iterations=MOST_ITERATIONS, tolerance=TOLERANCE_PU
        )
        if not found["convergence"]:
            raise RuntimeError(f"{self.case.name}: TensorPowerFlow did not converge")
        return found

    def _prepare_reading(self) -> None:
        case = self.case
        place = np.full(len(case.model.base_kv), -1)
        place[self.inner] = np.arange(len(self.inner))
        self.slack_rows = np.flatnonzero(case.bus_of_row == case.model.slack[0])
        self.rows = np.flatnonzero(np.isin(case.bus_of_row, self.inner))
        columns = place[case.bus_of_row[self.rows]]
        self.columns = as_columns(columns)
        self.unloaded_at = self.unloaded[columns]
        voltage = case.model.slack_voltage[0]
        self.slack = abs(voltage), np.angle(voltage, deg=True)

    def _with_slack(self, values: np.ndarray) -> np.ndarray:
        table = np.empty((len(values), len(self.case.bus_of_row)))
        table[:, self.rows] = values
        return table


def _empty_grid(count: int) -> Any:
    """A `GridTensor` of the right size, as its own constructor makes it: a chain whose matrices are replaced."""
    number = np.arange(1, count + 2)
    nodes = pd.DataFrame({"NODES": number, "Tb": (number == 1).astype(int), "PD": 0.0, "QD": 0.0})
    nodes = nodes.assign(Pct=1, Ict=0, Zct=0)
    lines = pd.DataFrame({"FROM": number[:-1], "TO": number[1:], "R": 0.01, "X": 0.01, "B": 0.0, "STATUS": 1, "TAP": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _silence_progress()
        grid_tensor = importlib.import_module("tensorpowerflow.grid").GridTensor
        return grid_tensor(
            node_file_path="",
            lines_file_path="",
            from_file=False,
            nodes_frame=nodes,
            lines_frame=lines,
            v_base=1.0,
            numba=False,
        )


def _silence_progress() -> None:
    """A progress bar of one chunk costs more than a small grid: leave it out of the peer's time."""
    grid = importlib.import_module("tensorpowerflow.grid")
    progress = grid.trange

    class Range:
        def __init__(self, count: int, **_: object) -> None:
            self.count = count

        def __iter__(self) -> Any:
            return iter(range(self.count))

        def set_description(self, *_: object, **__: object) -> None:
            """Nothing is shown."""

    if progress is not Range:
        grid.trange = Range
