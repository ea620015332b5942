"""Power flow of every step: gridtwin alone by size, and against pandapower with the same outputs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from benchmarks.subjects import SUBJECTS, Subject
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.power_flow import run_power_flow


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=lambda subject: subject.name)
def test_power_flow(benchmark: Any, subject: Subject) -> None:
    twin, profiles = subject.build()
    run_power_flow(twin, profiles.isel(time=slice(0, 16)))  # compile and load the kernel first
    flow = benchmark(run_power_flow, twin, profiles)
    assert int(flow["status"].max()) == 0


def test_power_flow_is_faster_than_pandapower() -> None:
    """Voltages, angles, currents, loadings and losses of 24 steps on both sides; a ratio, not milliseconds."""
    twin, profiles = SUBJECTS["LV 15 buses, day"].build()
    steps = profiles.isel(time=slice(40, 64))
    run_power_flow(twin, steps)
    run_pandapower(twin, steps.isel(time=slice(0, 1)))

    start = time.perf_counter()
    ours = run_power_flow(twin, steps)
    between = time.perf_counter()
    theirs = run_pandapower(twin, steps)
    end = time.perf_counter()

    assert np.abs(ours["vm_pu"].to_numpy()[0] - theirs).max() < 1e-6
    assert (end - between) / (between - start) > 10


def run_pandapower(twin: GridTwin, profiles: Any) -> np.ndarray:
    """Voltage of every bus and step by `pandapower.runpp`, warm-started. (time, bus) [pu]"""
    vm_pu = []
    for step in range(profiles.sizes["time"]):
        set_powers(twin, profiles.isel(time=step))
        pp.runpp(twin.net, init="results" if step else "auto", numba=True)
        vm_pu.append(twin.net.res_bus["vm_pu"].loc[twin.buses["index"]].to_numpy())
    return np.array(vm_pu)


def set_powers(twin: GridTwin, profile: Any) -> None:
    """Write one step into the pandapower tables, in pandapower's own signs."""
    for element, sign in (("load", 1.0), ("sgen", -1.0), ("storage", 1.0)):
        rows = twin.assets[twin.assets["element"] == element]
        values = profile.sel(asset=rows.index.to_numpy(dtype=str))
        twin.net[element].loc[rows["index"], "p_mw"] = sign * values["p_mw"].to_numpy()
        twin.net[element].loc[rows["index"], "q_mvar"] = sign * values["q_mvar"].to_numpy()
        twin.net[element]["scaling"] = 1.0
