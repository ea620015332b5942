"""How far the chord iteration is from what one core can do; writes `benchmarks/results/roofline.json`.

Run it as `python -m benchmarks.machine_peaks`. The peaks are practical ones: what
small kernels of the same vectors reach on one thread of this machine.
"""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from gridtwin.data.rules import read_rules
from gridtwin.grid.compile import compile_network, compile_table_powers, expand_injections, plain_injections
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.kernels.block import CHORDS, allocate_block, gather_injections, start_block
from gridtwin.kernels.lanes import LANES_8, LANES_16, fma, load, spread, store
from gridtwin.kernels.network_arrays import EMPTY, HELD, MIXED, Injections, NetworkArrays
from gridtwin.kernels.power_flow import chord_iterations

RESULTS = Path(__file__).parent / "results"
SUBJECTS = ("1-LV-rural1--2-sw", "1-MV-semiurb--2-sw", "1-MVLV-rural-all-2-sw")
WORKING_SETS = {"16 KB": 16e3, "512 KB": 512e3, "8 MB": 8e6, "200 MB": 200e6}
ROUNDS = 60
"""Runs of a few milliseconds, of which the fastest counts: neighbours on a shared machine miss some of them."""
TOLERANCE_PU = 1e-9


def main() -> None:
    """Peaks and the iteration against them, printed and written."""
    peaks = measure_peaks()
    rows = [compare_iteration(code, width) for code in SUBJECTS for width in (LANES_8, LANES_16)]
    rows = [row | _shares(row, peaks) for row in rows]
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": platform.machine(), "peaks": peaks, "iteration": rows}, indent=2)
    (RESULTS / "roofline.json").write_text(text + "\n", encoding="utf-8")
    print(_table(peaks, rows))


# Peaks --------------------------------------------------------------------------------------------


def measure_peaks() -> dict[str, Any]:
    """Multiply-adds in registers [Gflop/s] and a triad's bytes by working set [GB/s], fastest of several runs."""
    ones = np.full((2, 16), 0.999)
    turns, result = 500_000, np.empty((1, 16))
    seconds = _fastest(lambda: _multiply_add(ones, turns, result, LANES_16))
    return {
        "gflop_per_s": 2 * 16 * 10 * turns / seconds / 1e9,
        "triad_gb_per_s": {name: _triad_rate(size) for name, size in WORKING_SETS.items()},
    }


@njit(nogil=True)
def _multiply_add(values, turns, result, width):  # type: ignore[no-untyped-def]
    """Ten independent chains of multiply-adds: enough to hide their latency, few enough for the registers."""
    a, b = load(values, 0, width), load(values, 1, width)
    c0, c1, c2, c3, c4 = a, b, a + b, a - b, a * b
    c5, c6, c7, c8, c9 = a + 1.0, b + 2.0, a + 3.0, b + 4.0, a + 5.0
    for _ in range(turns):
        c0, c1, c2, c3, c4 = fma(c0, a, b), fma(c1, a, b), fma(c2, a, b), fma(c3, a, b), fma(c4, a, b)
        c5, c6, c7, c8, c9 = fma(c5, a, b), fma(c6, a, b), fma(c7, a, b), fma(c8, a, b), fma(c9, a, b)
    store(result, 0, c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9)


def _triad_rate(size: float) -> float:
    """a = b + s c over three arrays of together `size` bytes; 24 bytes per element. [GB/s]"""
    rows = int(size / 24 / 16)
    a, b, c = (np.ones((rows, 16)) for _ in range(3))
    turns = max(1, int(3e7 / size))
    return 24 * 16 * rows * turns / _fastest(lambda: _triad(a, b, c, turns, LANES_16)) / 1e9


@njit(nogil=True)
def _triad(a, b, c, turns, width):  # type: ignore[no-untyped-def]
    factor = spread(0.5, width)
    for _ in range(turns):
        for row in range(len(a)):
            store(a, row, fma(load(c, row, width), factor, load(b, row, width)))


def _fastest(work: Callable[[], object]) -> float:
    """Shortest wall time after a warm-up. [s]"""
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


# The iteration ------------------------------------------------------------------------------------


def compare_iteration(code: str, width: tuple[None, ...]) -> dict[str, Any]:
    """Counted and measured cost of a chord iteration per bus and lane of one network."""
    twin = _read_twin(code)
    network, injections = compile_network(twin), _spread_powers(twin, len(width))
    buses, turns = len(network.chord.start_re), max(2, int(1e4 / len(network.chord.start_re)))
    counter = np.zeros(1)
    with_chords = _fastest(lambda: _repeat(network, injections, TOLERANCE_PU, turns, True, counter, width))
    iterations = counter[0]
    without = _fastest(lambda: _repeat(network, injections, TOLERANCE_PU, turns, False, counter, width))
    seconds = (with_chords - without) / (turns * iterations * buses * len(width))
    flops, lane_bytes, shared_bytes, near_bytes = count_iteration(network)
    return {
        "network": code,
        "buses": buses,
        "lanes": len(width),
        "iterations": iterations,
        "flops_per_bus_and_lane": flops,
        "bytes_per_bus_and_lane": lane_bytes + shared_bytes / len(width),
        "far_bytes_per_bus_and_lane": lane_bytes - near_bytes + shared_bytes / len(width),
        "working_set_bytes": working_set(network, len(width)),
        "ns_per_bus_and_lane": 1e9 * seconds,
    }


def count_iteration(network: NetworkArrays) -> tuple[float, float, float, float]:
    """Cost of `chord_iterations` per bus: flops of a lane, bytes of a lane, bytes that all lanes share, near bytes.

    Each load and store of the code counts once, wherever it is served from; a
    division counts as one flop. Near bytes are those of a lane that come from a
    neighbour in the tree or from the same bus a few instructions before: where the
    order is good, the first cache has them. Networks of constant power only.
    """
    kind, pattern = network.loads.kind[: len(network.chord.start_re)], network.pattern
    if np.isin(kind, (HELD, MIXED)).any():
        raise ValueError("counted for buses of constant power only")
    n, loaded = len(kind), int((kind != EMPTY).sum())
    blocks = len(pattern.lower_column) + len(pattern.upper_column)
    # loaded bus: |V|² 3, inverse 1, conj(S/V) 10, slope 8; block: 4 multiply-adds; bus: pivot 6, change 6
    flops = 22 * loaded + 8 * blocks + 12 * n
    # loaded bus: S and V; block: a complex neighbour; bus: W written and read, V read and written
    lane_bytes = 32 * loaded + 16 * blocks + 64 * n
    # loaded bus: place, slope; block: four coefficients, a column; bus: constant, kind, pivot, two starts and ends
    shared_bytes = 40 * loaded + 40 * blocks + (16 + 8 + 32 + 32) * n
    return flops / n, lane_bytes / n, shared_bytes / n, 16 * blocks / n


def working_set(network: NetworkArrays, lanes: int) -> int:
    """What an iteration touches: V, W and S of all lanes, coefficients and indices. [byte]"""
    n, loaded = len(network.chord.start_re), len(network.loads.fixed_p_mw)
    blocks = len(network.pattern.lower_column) + len(network.pattern.upper_column)
    return 8 * lanes * (4 * n + 2 * loaded) + 40 * blocks + (16 + 8 + 32 + 32 + 16 + 8) * n


@njit(nogil=True)
def _repeat(network, injections, tolerance, turns, solve, counter, width):  # type: ignore[no-untyped-def]
    """The same block from the base point many times; without `solve` only what surrounds the iterations."""
    block = allocate_block(network, width)
    gather_injections(network.loads, injections, network.base_mva, np.arange(len(width)), block, width)
    for _ in range(turns):
        start_block(network, block, width)
        if solve:
            chord_iterations(network, block, tolerance, width)
    if solve:
        counter[0] = block.state[CHORDS].max()


def _read_twin(code: str) -> GridTwin:
    import simbench

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = simbench.get_simbench_net(code)
    net.profiles = {}
    return build_twin(net, rules=read_rules("lv_planning"))


def _spread_powers(twin: GridTwin, lanes: int) -> Injections:
    """The typical use of every asset, times a factor from lane to lane."""
    p_mw, q_mvar = expand_injections(compile_table_powers(twin))
    factor = np.linspace(0.5, 1.5, lanes)[:, None]
    return plain_injections(factor * p_mw, factor * q_mvar)


def _shares(row: dict[str, Any], peaks: dict[str, Any]) -> dict[str, Any]:
    """Rates, and their shares of the peaks.

    All bytes stand against the triad in the first cache, far bytes against that of the
    smallest set which holds the working set; the largest share is the limit.
    """
    ns, triads = row["ns_per_bus_and_lane"], peaks["triad_gb_per_s"]
    level = next((name for name, size in WORKING_SETS.items() if row["working_set_bytes"] <= size), "200 MB")
    return {
        "gflop_per_s": row["flops_per_bus_and_lane"] / ns,
        "gb_per_s": row["bytes_per_bus_and_lane"] / ns,
        "triad_set": level,
        "share_of_flops": row["flops_per_bus_and_lane"] / ns / peaks["gflop_per_s"],
        "share_of_first_cache": row["bytes_per_bus_and_lane"] / ns / triads["16 KB"],
        "share_of_triad": row["far_bytes_per_bus_and_lane"] / ns / triads[level],
    }


def _table(peaks: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [f"multiply-adds in registers: {peaks['gflop_per_s']:.1f} Gflop/s"]
    lines += [f"triad, {name:>7}: {rate:7.1f} GB/s" for name, rate in peaks["triad_gb_per_s"].items()]
    names = (
        "network",
        "buses",
        "lanes",
        "iter",
        "flops",
        "bytes",
        "far",
        "set KB",
        "ns",
        "of flops",
        "of L1",
        "of triad",
    )
    lines.append("  ".join(f"{name:>8}" if name != "network" else f"{name:24}" for name in names))
    for row in rows:
        numbers = (
            f"{row['buses']:8d}",
            f"{row['lanes']:8d}",
            f"{row['iterations']:8.0f}",
            f"{row['flops_per_bus_and_lane']:8.1f}",
            f"{row['bytes_per_bus_and_lane']:8.1f}",
            f"{row['far_bytes_per_bus_and_lane']:8.1f}",
            f"{row['working_set_bytes'] / 1e3:8.0f}",
            f"{row['ns_per_bus_and_lane']:8.2f}",
            f"{row['share_of_flops']:8.0%}",
            f"{row['share_of_first_cache']:8.0%}",
            f"{row['share_of_triad']:8.0%}",
        )
        lines.append("  ".join((f"{row['network']:24}", *numbers)))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
