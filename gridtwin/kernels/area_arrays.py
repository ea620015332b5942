"""Arrays of frequency and area control: what `control_areas` takes and gives.

Frequencies are deviations from nominal. [Hz]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AREA_QUANTITIES = (
    "f_deviation_hz", "f_min_deviation_hz", "f_max_deviation_hz", "p_load_mw", "p_droop_mw", "p_shed_mw", "p_ace_mw",
    "p_request_mw", "p_mfrr_request_mw", "p_netting_mw", "p_reserve_mw", "p_rebound_mw", "pay_as_bid_eur",
    "marginal_eur",
)  # fmt: skip
"""Rows of the results of a period, each once per area: means, but of frequencies also extremes and of money sums."""
F, F_MIN, F_MAX, LOAD, DROOP, SHED, ACE, REQUEST, MFRR, NETTING, RESERVE, REBOUND, AS_BID, MARGINAL = range(14)
TRACES = ("f_deviation_hz", "p_load_mw", "p_droop_mw", "p_shed_mw", "p_ace_mw", "p_reserve_mw")
"""Rows of a trace, each once per area; the power of every tie line follows."""


class CoreArrays(NamedTuple):
    """The linear system x' = phi x + gamma p: frequencies first, then tie lines, then what else moves."""

    phi: Floats
    """(state, state)"""
    gamma: Floats
    """Of power injected into each area. (state, area)"""
    tie_from: Ints
    tie_to: Ints
    """Areas that a tie line leads from and to. (tie,)"""


class DroopArrays(NamedTuple):
    """Reserves that answer to the frequency itself."""

    area: Ints
    p_mw: Floats
    """Full activation. (droop,) [MW]"""
    band_hz: Floats
    full_hz: Floats
    """Deviations at which activation begins and is complete. (droop,) [Hz]"""
    lowest: Floats
    highest: Floats
    """Limits of activation: -1 or 0 and 0 or 1. (droop,) [-]"""
    keep: Floats
    """Part of the distance to the droop line that is left after a step. (droop,) [-]"""
    rate_mw: Floats
    """Largest change within a step. (droop,) [MW]"""


class ControllerArrays(NamedTuple):
    """Secondary and manual control of every area. (area,)"""

    bias_mw_per_hz: Floats
    proportional: Floats
    """Of the area control error. [-]"""
    integral: Floats
    """The part of the area control error that a cycle adds. [-]"""
    threshold_mw: Floats
    """Lasting requests above it are handed to manual reserves; infinite without. [MW]"""
    direct_share: Floats
    """Share of the volume of automatic reserves from which direct activation begins; infinite without. [-]"""
    netting: bool
    noise_keep: Floats
    noise_mw: Floats
    """Noise of load: what a step keeps, and the deviation of what it adds. [-], [MW]"""


class EventArrays(NamedTuple):
    """Steps of load that come in every scenario, by time."""

    step: Ints
    area: Ints
    p_mw: Floats
    """(event,) [MW], consumption positive"""


class SheddingArrays(NamedTuple):
    """Stages of under-frequency load shedding."""

    area: Ints
    f_hz: Floats
    """Deviation below which the time runs; negative. (stage,) [Hz]"""
    delay: Floats
    """Steps below the threshold until demand is gone. (stage,) [-]"""
    p_mw: Floats


class ControlSteps(NamedTuple):
    """How steps, control cycles and periods divide the time."""

    steps: int
    cycle: int
    """Steps per control cycle. [-]"""
    period: int
    """Steps per settlement period; a multiple of `cycle`. [-]"""
    schedule: int
    """Steps between scheduled activations of manual reserves; a multiple of `cycle`. [-]"""
    wait: float
    """Cycles between two direct activations. [-]"""
    cycle_hours: float
    load_steps: int
    """Steps per interval of the load. [-]"""
    trace: int
    """Steps per point of the traces; 0: none. [-]"""
    seed: np.uint64


class ControlArrays(NamedTuple):
    """Results, owned by the caller; the first axis is the block of scenarios, the last the lane."""

    area: Floats
    """`AREA_QUANTITIES` x area. (block, period, row, lane)"""
    tie_mw: Floats
    """Mean power. (block, period, tie, lane) [MW]"""
    bid_mw: Floats
    """Mean power, never negative. (block, period, bid, lane) [MW]"""
    store_mwh: Floats
    """Energy at the end. (block, period, store, lane) [MWh]"""
    trace: Floats
    """`TRACES` x area and tie lines at the beginning of a step. (block, point, row, lane)"""
