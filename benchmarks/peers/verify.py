"""Every engine beside pandapower, before any timing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandapower as pp

from benchmarks.peers.case import BRANCHES, Floats, Flows, PeerCase

LARGEST_VM_PU = 1e-6
LARGEST_VA_DEGREE = 1e-4
LARGEST_LOADING_PERCENT = 0.01


class Difference(NamedTuple):
    """Largest absolute differences; NaN where one side has no such output."""

    vm_pu: float
    va_degree: float
    loading_percent: float

    def is_small(self) -> bool:
        """Whether both engines solve the same network."""
        limits = Difference(LARGEST_VM_PU, LARGEST_VA_DEGREE, LARGEST_LOADING_PERCENT)
        return all(not value > limit for value, limit in zip(self, limits, strict=True))


def solve_by_pandapower(case: PeerCase, steps: list[int]) -> Flows:
    """Some steps of the case by pandapower's Newton, to 1e-10 MVA."""
    results = []
    for step in steps:
        case.write_step(step)
        pp.runpp(case.net, init="dc", calculate_voltage_angles=True, tolerance_mva=1e-10, numba=False)
        bus = case.net.res_bus.loc[case.net.bus.index]
        loading = [case.net[f"res_{table}"]["loading_percent"].loc[case.net[table].index] for table in BRANCHES]
        results.append((bus["vm_pu"], bus["va_degree"], np.concatenate(loading)))
    return Flows(*(np.array([result[k] for result in results], dtype=float) for k in range(3)))


def compare(ours: Flows, theirs: Flows) -> Difference:
    """Largest differences over all steps; unrated branches do not count."""
    return Difference(*(_largest(a, b) for a, b in zip(ours, theirs, strict=True)))


def _largest(a: Floats, b: Floats) -> float:
    if not a.size or not b.size:
        return float("nan")
    if np.isnan(a).sum() > np.isnan(b).sum():  # an engine's gaps must not hide behind NaN
        return float("inf")
    return float(np.nanmax(np.abs(a - b)))
