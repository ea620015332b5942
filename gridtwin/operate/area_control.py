"""Frequency and area control in many scenarios: labels around the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import xarray as xr

from gridtwin.kernels.area_arrays import AREA_QUANTITIES, TRACES, ControlArrays
from gridtwin.kernels.area_control import control_areas
from gridtwin.kernels.lanes import LANES_16
from gridtwin.operate.control_arrays import CompiledControl, compile_control
from gridtwin.operate.control_system import (
    BalancingBid,
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    Disturbance,
    DroopReserve,
    EnergyStore,
    Governor,
    LoadShedding,
    TieLine,
)
from gridtwin.operate.power_flow import count_threads

__all__ = [
    "AreaControl", "BalancingBid", "ControlArea", "ControlInputs", "ControlSystem", "ControlTimes", "Disturbance",
    "DroopReserve", "EnergyStore", "Governor", "LoadShedding", "TieLine", "run_area_control",
]  # fmt: skip

AreaControl: TypeAlias = xr.Dataset
"""Result of `run_area_control`."""

BLOCKS_PER_PART = 2
"""A thread takes this many blocks of scenarios at a time."""


def run_area_control(
    system: ControlSystem, times: ControlTimes, inputs: ControlInputs, *, threads: int | None = None
) -> AreaControl:
    """Frequency, reserves and costs of every scenario, from a second to a settlement.

    Parameters
    ----------
    system : ControlSystem
        Areas, tie lines, bids, stores, load shedding.
    times : ControlTimes
        Step, control cycle, settlement period, duration.
    inputs : ControlInputs
        Disturbances, load and seed of the noise.
    threads : int, optional
        Threads that share the scenarios; results do not depend on it. Default: one per core.

    Returns
    -------
    AreaControl
        Means of every settlement period, named by its first second. Of (period, area,
        scenario): `f_hz, f_min_hz, f_max_hz` [Hz]; `p_load_mw` (consumption positive),
        `p_shed_mw` (demand gone), `p_droop_mw, p_reserve_mw, p_netting_mw` (injection or
        import positive: what helps a deficit), `p_request_mw, p_mfrr_request_mw`
        (upward positive), `p_ace_mw` (surplus positive), `p_rebound_mw` (consumption
        positive) [MW]; `pay_as_bid_eur, marginal_eur`, what the operator pays [EUR].
        `p_tie_mw` (period, tie, scenario), from start to end positive; `p_bid_mw`,
        never negative, and `e_bid_mwh` (period, bid, scenario); `e_mwh` (period, store,
        scenario), at the end. With `trace_s`, `trace_...` (time_s, area, scenario) at the beginning
        of a step, ACE and reserves as of the last control cycle.

    Raises
    ------
    DataError
        If the input contradicts itself.

    Examples
    --------
    >>> area = ControlArea("A", 200_000, 300, droop=(DroopReserve(3000),))
    >>> loss = ControlInputs((Disturbance("A", 0, 1530),))
    >>> result = run_area_control(ControlSystem((area,)), ControlTimes(900, period_s=900), loss)
    >>> round(float(result["f_hz"][0, 0, 0]), 2)
    49.9
    """
    compiled = compile_control(system, times, inputs)
    results = control_all_scenarios(compiled, threads=threads)
    return label_area_control(system, times, compiled, results)


def control_all_scenarios(
    compiled: CompiledControl, *, threads: int | None = None, width: tuple[None, ...] = LANES_16
) -> ControlArrays:
    """Kernel outputs of all blocks of scenarios; the last block may have lanes without a scenario.

    Parameters
    ----------
    threads, width : optional
        Threads, and scenarios per block; results do not depend on them.
    """
    scenarios, lanes = compiled.load_mw.shape[2], len(width)
    blocks = -(-scenarios // lanes)
    p_load_mw = _into_blocks(compiled.load_mw, blocks, lanes)
    results = _allocate_results(compiled, blocks, lanes)

    def control_part(first: int) -> None:
        control_areas(
            first, min(first + BLOCKS_PER_PART, blocks), compiled.core, compiled.droops, compiled.controllers,
            p_load_mw, compiled.events, compiled.shedding, compiled.bids, compiled.stores, compiled.steps, results,
            width,
        )  # fmt: skip

    parts = range(0, blocks, BLOCKS_PER_PART)
    if count_threads(threads) == 1 or len(parts) == 1:
        for part in parts:
            control_part(part)
        return results
    with ThreadPoolExecutor(count_threads(threads)) as pool:
        list(pool.map(control_part, parts))
    return results


def _into_blocks(load_mw: np.ndarray, blocks: int, lanes: int) -> np.ndarray:
    """(interval, area, scenario) to (block, interval, area, lane); lanes without a scenario have no load."""
    intervals, areas, scenarios = load_mw.shape
    padded = np.zeros((intervals, areas, blocks * lanes))
    padded[..., :scenarios] = load_mw
    return np.ascontiguousarray(padded.reshape(intervals, areas, blocks, lanes).transpose(2, 0, 1, 3))


def _allocate_results(compiled: CompiledControl, blocks: int, lanes: int) -> ControlArrays:
    steps, areas, ties = compiled.steps, len(compiled.controllers.proportional), len(compiled.core.tie_from)
    periods = steps.steps // steps.period
    points = -(-steps.steps // steps.trace) if steps.trace else 0

    def table(times: int, rows: int) -> np.ndarray:
        return np.zeros((blocks, times, rows, lanes))

    return ControlArrays(
        area=table(periods, len(AREA_QUANTITIES) * areas),
        tie_mw=table(periods, ties),
        bid_mw=table(periods, len(compiled.order)),
        store_mwh=table(periods, len(compiled.stores.e_mwh)),
        trace=table(points, len(TRACES) * areas + ties),
    )


def label_area_control(
    system: ControlSystem, times: ControlTimes, compiled: CompiledControl, results: ControlArrays
) -> AreaControl:
    """Kernel outputs with names; frequencies as such and not as deviations."""
    scenarios, areas = compiled.load_mw.shape[2], [area.name for area in system.areas]
    nominal = np.array([area.f_nominal_hz for area in system.areas])[:, np.newaxis]
    by_scenario = ControlArrays(*(_by_scenario(table, scenarios) for table in results))
    coords: dict[str, object] = {
        "period": np.arange(len(by_scenario.area)) * times.period_s,
        "area": areas,
        "scenario": np.arange(scenarios),
        "tie": [f"{tie.start} - {tie.end}" for tie in system.ties],
        "bid": [bid.name for bid in compiled.order],
        "store": [part.name for part in system.stores],
        "time_s": np.arange(len(by_scenario.trace)) * (times.trace_s or 0.0),
    }
    variables = _label_areas(AREA_QUANTITIES, by_scenario.area, nominal, "period", "")
    hours = times.period_s / 3600
    variables |= {
        "p_tie_mw": (("period", "tie", "scenario"), by_scenario.tie_mw, {"units": "MW"}),
        "p_bid_mw": (("period", "bid", "scenario"), by_scenario.bid_mw, {"units": "MW"}),
        "e_bid_mwh": (("period", "bid", "scenario"), by_scenario.bid_mw * hours, {"units": "MWh"}),
        "e_mwh": (("period", "store", "scenario"), by_scenario.store_mwh, {"units": "MWh"}),
    }
    if times.trace_s is not None:
        rows = len(TRACES) * len(areas)
        variables |= _label_areas(TRACES, by_scenario.trace[:, :rows], nominal, "time_s", "trace_")
        variables["trace_p_tie_mw"] = (("time_s", "tie", "scenario"), by_scenario.trace[:, rows:], {"units": "MW"})
    return xr.Dataset(
        variables, coords=coords, attrs={"sign": "load: consumption positive; reserves: injection positive"}
    )


def _by_scenario(table: np.ndarray, scenarios: int) -> np.ndarray:
    """(block, time, row, lane) to (time, row, scenario)."""
    blocks, times, rows, lanes = table.shape
    return np.ascontiguousarray(table.transpose(1, 2, 0, 3).reshape(times, rows, blocks * lanes)[..., :scenarios])


def _label_areas(
    quantities: Sequence[str], table: np.ndarray, nominal: np.ndarray, dim: str, prefix: str
) -> dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]]:
    """Variables of (time, quantity x area, scenario); frequencies with their nominal value."""
    units = {"hz": "Hz", "mw": "MW", "eur": "EUR"}
    by_quantity = table.reshape(len(table), len(quantities), len(nominal), table.shape[-1])
    labelled: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, str]]] = {}
    for q, name in enumerate(quantities):
        values = by_quantity[:, q]
        if name.endswith("deviation_hz"):
            name, values = name.replace("deviation_", ""), values + nominal
        labelled[prefix + name] = ((dim, "area", "scenario"), values, {"units": units[name.rsplit("_", 1)[1]]})
    return labelled
