"""gridtwin on a `PeerCase`, with the outputs that the peers are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.case import PeerCase, Solution
from gridtwin.grid.compile import compile_network, plain_injections
from gridtwin.kernels.results import Outputs
from gridtwin.operate.power_flow import solve_all_steps

VOLTAGES = ("vm_pu", "va_degree")
OUTPUTS = (*VOLTAGES, "loading_percent")


def solve(case: PeerCase, threads: int = 1, outputs: Sequence[str] = OUTPUTS) -> Outputs:
    """Outputs of every step; as with the peers the network is compiled before anything is timed."""
    injections = plain_injections(case.p_mw, case.q_mvar)
    return solve_all_steps(compile_network(case.twin), injections, outputs=outputs, threads=threads)


def solve_voltages(case: PeerCase, threads: int = 1) -> Outputs:
    """Magnitude and angle of every bus alone."""
    return solve(case, threads, VOLTAGES)


def solution_of(results: Outputs) -> Solution:
    """The outputs that are compared."""
    return Solution(results.vm_pu, results.va_degree, results.loading_percent)
