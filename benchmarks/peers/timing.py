"""Interleaved timing: every round runs each engine once, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def interleaved(rounds: int, callables: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Wall times of each callable, A B C A B C ..., after one warm-up each, without garbage collection. [s]"""
    for work in callables.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in callables}
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, work in callables.items():
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    finally:
        if enabled:
            gc.enable()
    return times
