r"""What happens to a part of the network that loses its supply: frequency, load shedding, how long the energy lasts.

One frequency for the whole island, sources with droop behind a first-order delay:

    M dΔf/dt = sum y_i + P0 - P_load (1 + D Δf / f0)       M = 2 sum H_i S_i / f0
    T_i dy_i/dt = -K_i Δf - y_i                             K_i = S_i / (droop_i f0),  p_min <= P_i + y_i <= p_max

The linear system is stepped exactly (matrix exponential); a source at a limit stays there, which is another
linear system. Only the moment of switching between them, and of shedding, is as coarse as the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import expm

from gridtwin.data.profiles import axis_of
from gridtwin.data.restoration_rules import RestorationRules, SheddingStage
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.operate.battery_rules import RuledBattery, run_self_consumption

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
STEP_S = 0.01
"""Step of the frequency. [s]"""
LOAD_COLUMNS = ("p_mw", "priority")


@dataclass(frozen=True)
class IslandSource:
    """A source that controls its power by the frequency.

    Parameters
    ----------
    name : str
        Unique name.
    p_rated_mw : float
        Rated power; the droop refers to it. [MW]
    p_mw : float
        What it delivers before, generation positive. [MW]
    p_min_mw : float
        Smallest power; negative for a battery that may charge. [MW]
    droop : float
        Relative fall of the frequency at which it delivers its rated power more; 0.04 is 4 %. [-]
    response_s : float
        Time constant of its power. [s]
    inertia_s : float
        Stored kinetic energy by rated power, also virtual; 0 for a source that follows. [s]
    e_mwh : float
        Stored energy; infinite where it does not matter. [MWh]
    """

    name: str
    p_rated_mw: float
    p_mw: float = 0.0
    p_min_mw: float = 0.0
    droop: float = 0.04
    response_s: float = 0.5
    inertia_s: float = 0.0
    e_mwh: float = np.inf

    def stiffness_mw_per_hz(self, nominal_hz: float) -> float:
        """Power more per frequency less. [MW/Hz]

        >>> IslandSource("a", 2.0, droop=0.04).stiffness_mw_per_hz(50.0)
        1.0
        """
        return self.p_rated_mw / (self.droop * nominal_hz)


@dataclass(frozen=True)
class Separation:
    """The first seconds of an island.

    Parameters
    ----------
    trace : Dataset
        `f_hz, p_load_mw` (time_s), `p_source_mw` (time_s, source), generation positive; time from the separation.
    loads : DataFrame
        Index: load. `p_mw, priority`, `on` at the end, `shed_s` (NaN for loads that stay) and `reason`.
    survives : bool
        Whether the frequency ends inside its limits and settled, with at least one load on.
    lowest_hz, highest_hz, last_hz : float
        Of the frequency. [Hz]
    """

    trace: xr.Dataset
    loads: pd.DataFrame
    survives: bool
    lowest_hz: float
    highest_hz: float
    last_hz: float


def run_separation(
    sources: Sequence[IslandSource], loads: pd.DataFrame, rules: RestorationRules, *, seconds: float = 30.0
) -> Separation:
    """Frequency and load shedding after the upstream supply is lost.

    Parameters
    ----------
    sources : sequence of IslandSource
        At least one with inertia.
    loads : DataFrame
        Index: load; columns `p_mw` (consumption positive) and `priority` (1 is the most important).
    rules : RestorationRules
        Limits and stages of load shedding.
    seconds : float
        Length of the simulation. [s]
    """
    _check(sources, loads)
    model = _Swing(sources, rules)
    stages = [_Stage(stage) for stage in rules.shedding]
    p_load, on = loads["p_mw"].to_numpy(dtype=float), np.ones(len(loads), dtype=bool)
    shed_s, reason = np.full(len(loads), np.nan), np.full(len(loads), "", dtype=object)
    state, steps = np.zeros(1 + len(sources)), round(seconds / STEP_S)
    deviation, delta, total = np.zeros(steps + 1), np.zeros((steps + 1, len(sources))), np.zeros(steps + 1)
    total[0] = p_load.sum()
    for step in range(1, steps + 1):
        state = model.advance(state, float(p_load[on].sum()))
        deviation[step], delta[step], total[step] = state[0], state[1:], p_load[on].sum()
        for stage in stages:
            if stage.fires(rules.frequency.nominal_hz + state[0]):
                gone = on & (loads["priority"].to_numpy() >= stage.rule.from_priority)
                on &= ~gone
                shed_s[gone], reason[gone] = step * STEP_S, f"frequency below {stage.rule.below_hz:g} Hz"
    f_hz, damped = rules.frequency.nominal_hz + deviation, 1 + model.relative_damping * deviation
    trace = xr.Dataset(
        {
            "f_hz": ("time_s", f_hz, {"units": "Hz"}),
            "p_load_mw": ("time_s", total * damped, {"units": "MW"}),
            "p_source_mw": (("time_s", "source"), model.p_mw + delta, {"units": "MW"}),
        },
        coords={"time_s": np.arange(steps + 1) * STEP_S, "source": [source.name for source in sources]},
    )
    table = loads.assign(on=on, shed_s=shed_s, reason=reason)
    limits = rules.frequency
    settled = abs(f_hz[-1] - f_hz[-1 - min(steps, round(1 / STEP_S))]) < 0.05
    inside = limits.lowest_hz <= f_hz[-1] <= limits.highest_hz
    return Separation(
        trace, table, bool(inside and settled and on.any()), float(f_hz.min()), float(f_hz.max()), float(f_hz[-1])
    )


def settled_deviation_hz(
    sources: Sequence[IslandSource], surplus_mw: float, load_mw: float, *, rules: RestorationRules
) -> float:
    """Lasting deviation of the frequency after a surplus (a lack is negative), no source at a limit. [Hz]

    surplus / (sum K + D P_load / f0)
    """
    nominal = rules.frequency.nominal_hz
    stiffness = sum(source.stiffness_mw_per_hz(nominal) for source in sources)
    return surplus_mw / (stiffness + rules.frequency.load_damping * load_mw / nominal)


def lowest_frequency_hz(
    sources: Sequence[IslandSource], load_mw: float, step_mw: float, *, rules: RestorationRules, seconds: float = 10.0
) -> float:
    """Lowest frequency after a load is switched on in an island that was in balance at nominal frequency. [Hz]"""
    model, state = _Swing(sources, rules), np.zeros(1 + len(sources))
    lowest = 0.0
    balanced = load_mw + step_mw + float(model.p_mw.sum()) - load_mw
    for _ in range(round(seconds / STEP_S)):
        state = model.advance(state, balanced)
        lowest = min(lowest, float(state[0]))
    return rules.frequency.nominal_hz + lowest


def survival_hours(net_mw: xr.DataArray, battery: RuledBattery) -> xr.DataArray:
    """How long a storage carries an island whose other sources run as they like. (...) [h]

    Parameters
    ----------
    net_mw : DataArray, (..., time)
        Load less generation in the island; what nobody can store is curtailed. [MW]
    battery : RuledBattery
        The storage that holds the island.

    Returns
    -------
    DataArray
        Hours until load stays unmet, by the mean power of the interval in which that happens; infinite where the
        storage lasts to the end of the series.
    """
    result = run_self_consumption(net_mw, battery)
    hours = axis_of(net_mw.to_dataset(name="p_mw")).hours_per_step
    need = np.maximum(net_mw.transpose(*result["p_mw"].dims).to_numpy(), 0.0)
    unmet = np.maximum(result["p_meter_mw"].to_numpy(), 0.0)
    fails = unmet > 1e-9
    first = np.where(fails.any(axis=-1), fails.argmax(axis=-1), -1)
    met = 1 - np.take_along_axis(unmet, np.maximum(first, 0)[..., None], -1)[..., 0] / np.maximum(
        np.take_along_axis(need, np.maximum(first, 0)[..., None], -1)[..., 0], 1e-12
    )
    # too little power is not too little energy: the load cannot be carried from the start of that interval
    too_strong = np.take_along_axis(need, np.maximum(first, 0)[..., None], -1)[..., 0] > battery.p_discharge_mw + 1e-12
    lasted = hours * (first + np.where(too_strong, 0.0, met))
    dims = result["p_mw"].dims[:-1]
    coords = {name: net_mw.coords[name] for name in dims if name in net_mw.coords}
    return xr.DataArray(np.where(first >= 0, lasted, np.inf), dims=dims, coords=coords, attrs={"units": "h"})


class _Stage:
    """A stage of load shedding with its clock."""

    def __init__(self, rule: SheddingStage) -> None:
        self.rule, self._below_s, self._done = rule, 0.0, False

    def fires(self, f_hz: float) -> bool:
        """Whether the delay has just run out, once."""
        self._below_s = self._below_s + STEP_S if f_hz < self.rule.below_hz else 0.0
        fires = not self._done and self._below_s > self.rule.delay_s
        self._done |= fires
        return fires


class _Swing:
    """The island as a linear system that depends on which sources stand at a limit and on the load that is on."""

    def __init__(self, sources: Sequence[IslandSource], rules: RestorationRules) -> None:
        nominal = rules.frequency.nominal_hz
        self.p_mw = np.array([source.p_mw for source in sources])
        self.low = np.array([source.p_min_mw for source in sources]) - self.p_mw
        self.high = np.array([source.p_rated_mw for source in sources]) - self.p_mw
        self.stiffness = np.array([source.stiffness_mw_per_hz(nominal) for source in sources])
        self.delay = np.array([source.response_s for source in sources])
        self.inertia = 2 * sum(source.inertia_s * source.p_rated_mw for source in sources) / nominal
        self.relative_damping = rules.frequency.load_damping / nominal
        self._matrices: dict[tuple[bytes, float], Floats] = {}

    def advance(self, state: Floats, load_mw: float) -> Floats:
        """Δf and the sources' changes one step later."""
        # a source at a limit moves only where its droop asks it back
        wanted = -self.stiffness * state[0]
        held = ((state[1:] >= self.high) & (wanted >= self.high)) | ((state[1:] <= self.low) & (wanted <= self.low))
        surplus = (float(self.p_mw.sum()) - load_mw) / self.inertia
        ahead: Floats = self._matrix(held, load_mw) @ np.concatenate([state, [surplus]])
        ahead[1:-1] = np.clip(ahead[1:-1], self.low, self.high)
        return ahead[:-1]

    def _matrix(self, held: Bools, load_mw: float) -> Floats:
        key = (held.tobytes(), load_mw)
        if key not in self._matrices:
            size = 2 + len(held)
            rate = np.zeros((size, size))
            rate[0, 0] = -self.relative_damping * load_mw / self.inertia
            rate[0, 1:-1] = 1 / self.inertia
            rate[0, -1] = 1.0
            free = np.flatnonzero(~held)
            rate[1 + free, 0] = -self.stiffness[free] / self.delay[free]
            rate[1 + free, 1 + free] = -1 / self.delay[free]
            self._matrices[key] = np.asarray(expm(rate * STEP_S))
        return self._matrices[key]


def _check(sources: Sequence[IslandSource], loads: pd.DataFrame) -> None:
    found = []
    if not any(source.inertia_s > 0 for source in sources):
        found.append(_fault("no source holds the frequency", "a source with inertia_s above 0"))
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        found.append(_fault("a source stands twice", "unique names"))
    for source in sources:
        fine = source.droop > 0 and source.response_s > 0 and source.p_min_mw <= source.p_mw <= source.p_rated_mw
        if not fine:
            found.append(_fault(f"source {source.name} does not fit", "p_min <= p <= p_rated, droop and delay above 0"))
    missing = [name for name in LOAD_COLUMNS if name not in loads]
    if missing:
        found.append(_fault(f"the loads lack {', '.join(missing)}", ", ".join(LOAD_COLUMNS)))
    elif not (loads["p_mw"] >= 0).all() or loads["priority"].isna().any():
        found.append(_fault("a load is negative, or without priority", "0 MW or more, priority 1 or more"))
    raise_errors(found, DataError)


def _fault(what: str, expected: str) -> Finding:
    return Finding(what, where="island", expected=expected, severity="error", code="GT-K50")
