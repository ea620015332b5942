"""Black start of an island: which loads are on when, and why others are not.

Minute by minute the plan opens sources and priorities; at most one load is switched per minute, the most
important first that passes every check:

    power      what is on, with cold load pickup, and this load at its first power, within the sources' free power
    frequency  lowest frequency of the step and its lasting deviation (swing equation, `islanding`)
    voltage    AC power flow of the island before and after: band and largest change
    energy     the storages last for the demanded hours with this load at its usual power

A storage that runs empty ends the island.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.data.restoration_rules import EVERY, ColdLoadPickup, RestorationRules
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.islanding import IslandSource, lowest_frequency_hz, settled_deviation_hz
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.time_axis import TimeAxis

Floats = NDArray[np.float64]
COLUMNS = ("p_mw", "priority", "kind")
NOT_YET = "the plan does not reach its priority in time"
START = pd.Timestamp("2000-01-01")
"""Any time: the power flow of a moment needs a stamp."""


@dataclass(frozen=True)
class BlackStart:
    """Course of a black start.

    Parameters
    ----------
    loads : DataFrame
        Index: load, the most important first. `p_mw, priority, kind`, `on_minutes` (NaN for a load that stays
        off) and `reason`: why it was off at the last try, empty for a load that is on.
    course : DataFrame
        Index: minutes. `p_load_mw` with cold load pickup, `p_free_mw`, `e_mwh` in all storages on line, and
        lowest and highest voltage `vm_min_pu, vm_max_pu` (NaN without a network).
    ended_minutes : float
        When a storage ran empty; infinite where none did. [min]
    """

    loads: pd.DataFrame
    course: pd.DataFrame
    ended_minutes: float


def pickup_factor(minutes_on: float, pickup: ColdLoadPickup | None) -> float:
    """Power of a load after an outage by its usual power.

    factor while held, then 1 + (factor - 1) exp(-(t - hold) / decay)

    Examples
    --------
    >>> rule = ColdLoadPickup(kind="x", factor=3.0, hold_minutes=10.0, decay_minutes=30.0, source="")
    >>> round(pickup_factor(40.0, rule), 3)
    1.736
    """
    if pickup is None:
        return 1.0
    return float(1 + (pickup.factor - 1) * np.exp(-max(0.0, minutes_on - pickup.hold_minutes) / pickup.decay_minutes))


def run_black_start(
    sources: Sequence[IslandSource],
    loads: pd.DataFrame,
    rules: RestorationRules,
    *,
    minutes: int = 240,
    island: GridTwin | None = None,
    run_flow: Callable[[GridTwin, Profiles], xr.Dataset] = run_power_flow,
) -> BlackStart:
    """Switch on loads in the order of a plan, as far as power, frequency, voltage and energy allow.

    Parameters
    ----------
    sources : sequence of IslandSource
        Their `p_mw` does not matter: at first they are idle, then they share the load by free power, those
        without storage first.
    loads : DataFrame
        Index: load; columns `p_mw` (usual power, consumption positive), `priority`, `kind`; optional `q_mvar`.
        With an island, the names are assets of its twin.
    rules : RestorationRules
        Order, limits, cold load pickup.
    minutes : int
        Length of the simulation. [min]
    island : GridTwin, optional
        Network of the island, see `grid.island.cut_island`: the source at its slack holds the voltage. Assets
        that are not among the loads are off. Without it voltages are not checked.
    run_flow : callable
        Power flow of a twin and profiles.
    """
    _check(loads, island)
    order = loads.sort_values("priority", kind="stable")
    work = _Course(sources, order, rules, island, run_flow)
    for minute in range(minutes):
        if not work.advance(minute):
            break
    return work.result()


class _Course:
    """State of a black start."""

    def __init__(
        self,
        sources: Sequence[IslandSource],
        loads: pd.DataFrame,
        rules: RestorationRules,
        island: GridTwin | None,
        run_flow: Callable[[GridTwin, Profiles], xr.Dataset],
    ) -> None:
        self._all, self._loads, self._rules, self._island, self._run_flow = sources, loads, rules, island, run_flow
        self._pickup = [rules.pickup_of(str(kind)) for kind in loads["kind"]]
        self._p_mw = loads["p_mw"].to_numpy(dtype=float)
        self._since = np.full(len(loads), np.nan)
        self._reason = np.full(len(loads), NOT_YET, dtype=object)
        self._e_mwh = {source.name: source.e_mwh for source in sources if np.isfinite(source.e_mwh)}
        self._rows: list[dict[str, float]] = []
        self._ended = np.inf

    def advance(self, minute: int) -> bool:
        """One minute: switch at most one load, take the energy; whether the island still lives."""
        steps = [step for step in self._rules.step if step.at_minutes <= minute]
        named = {name for step in steps for name in step.sources}
        on_line = [source for source in self._all if source.name in named or EVERY in named]
        open_ = {priority for step in steps for priority in step.priorities}
        vm = self._voltages(self._factors(minute)) if self._island is not None and on_line else None
        waiting = np.isnan(self._since) & self._loads["priority"].isin(open_).to_numpy()
        for place in np.flatnonzero(waiting).tolist() if on_line else ():
            self._reason[place] = self._why_not(place, minute, on_line, vm)
            if not self._reason[place]:
                self._since[place] = minute
                vm = self._voltages(self._factors(minute)) if self._island is not None else None
                break
        return self._record(minute, on_line, vm)

    def result(self) -> BlackStart:
        """What came of it."""
        table = self._loads.assign(on_minutes=self._since, reason=self._reason)
        return BlackStart(table, pd.DataFrame(self._rows).set_index("minutes"), self._ended)

    def _factors(self, minute: int) -> Floats:
        """Power of each load by its usual power, 0 where it is off."""
        return np.array(
            [
                0.0 if np.isnan(since) else pickup_factor(minute - since, pickup)
                for since, pickup in zip(self._since, self._pickup, strict=True)
            ]
        )

    def _why_not(self, place: int, minute: int, on_line: Sequence[IslandSource], vm: Floats | None) -> str:
        """The first check that a load does not pass, as text; empty where it passes all."""
        factors, limits = self._factors(minute), self._rules.frequency
        now = float(factors @ self._p_mw)
        step = pickup_factor(0.0, self._pickup[place]) * self._p_mw[place]
        free = (1 - self._rules.energy.reserve_share) * self._rated(on_line) - now
        if step > free + 1e-12:
            return f"power: takes {step:.4g} MW at first, {max(free, 0.0):.4g} MW are free"
        shares = self._dispatch(on_line, now)
        settled = settled_deviation_hz(shares, -step, now + step, rules=self._rules)
        lowest = lowest_frequency_hz(shares, now, step, rules=self._rules)
        if -settled > limits.largest_step_hz or lowest < limits.lowest_hz:
            return f"frequency: falls to {lowest:.2f} Hz and stays {-settled:.2f} Hz lower"
        hours = self._hours_left(on_line, float((factors > 0) @ self._p_mw) + self._p_mw[place])
        if hours < self._rules.energy.least_hours:
            return f"energy: the storages would last {hours:.1f} h"
        return "" if vm is None else self._why_not_by_voltage(place, factors, vm)

    def _why_not_by_voltage(self, place: int, factors: Floats, before: Floats) -> str:
        limits, tried = self._rules.voltage, factors.copy()
        tried[place] = pickup_factor(0.0, self._pickup[place])
        after = self._voltages(tried)
        assert self._island is not None
        if np.isnan(after).all():
            return "voltage: the power flow has no solution"
        names, change = self._island.buses.index, np.abs(after - before)
        if np.nanmax(change) > limits.largest_step_pu:
            return f"voltage: changes by {np.nanmax(change):.3f} pu at {names[int(np.nanargmax(change))]}"
        if np.nanmin(after) < limits.lowest_pu or np.nanmax(after) > limits.highest_pu:
            return f"voltage: {np.nanmin(after):.3f} to {np.nanmax(after):.3f} pu"
        return ""

    def _voltages(self, factors: Floats) -> Floats:
        """Voltage of every bus of the island with the loads at these factors; NaN without a solution. (bus,) [pu]"""
        assert self._island is not None
        assets = self._island.assets
        p_mw, q_mvar = np.zeros((2, 1, len(assets)))
        place = assets.index.get_indexer(self._loads.index)
        p_mw[0, place] = factors * self._p_mw
        if "q_mvar" in self._loads:
            q_mvar[0, place] = factors * self._loads["q_mvar"].to_numpy(dtype=float)
        # the kernel raises where no step at all is solved: an empty island beside it always is
        both = np.vstack([p_mw, 0 * p_mw]), np.vstack([q_mvar, 0 * q_mvar])
        flow = self._run_flow(self._island, build_profiles(TimeAxis(START, length=2, zone="UTC"), assets, *both))
        return np.asarray(flow["vm_pu"].to_numpy()[0, 0])

    @staticmethod
    def _rated(on_line: Sequence[IslandSource]) -> float:
        return sum(source.p_rated_mw for source in on_line)

    @staticmethod
    def _dispatch(on_line: Sequence[IslandSource], load_mw: float) -> list[IslandSource]:
        """Sources with the load shared among them by rated power, those without storage first."""
        shared, left = [], load_mw
        for stored in (False, True):
            group = [source for source in on_line if np.isfinite(source.e_mwh) == stored]
            rated = sum(source.p_rated_mw for source in group)
            part = min(left, rated) / rated if rated else 0.0
            left -= part * rated
            shared += [_with_power(source, part * source.p_rated_mw) for source in group]
        return shared

    def _hours_left(self, on_line: Sequence[IslandSource], load_mw: float) -> float:
        stored = {source.name: source.p_mw for source in self._dispatch(on_line, load_mw) if source.name in self._e_mwh}
        hours = [self._e_mwh[name] / p_mw for name, p_mw in stored.items() if p_mw > 0]
        return min(hours, default=np.inf)

    def _record(self, minute: int, on_line: Sequence[IslandSource], vm: Floats | None) -> bool:
        load = float(self._factors(minute) @ self._p_mw)
        for source in self._dispatch(on_line, load):
            if source.name in self._e_mwh:
                self._e_mwh[source.name] -= source.p_mw / 60
        self._rows.append(
            {
                "minutes": float(minute),
                "p_load_mw": load,
                "p_free_mw": self._rated(on_line) - load,
                "e_mwh": max(0.0, sum(self._e_mwh[source.name] for source in on_line if source.name in self._e_mwh)),
                "vm_min_pu": float("nan") if vm is None else float(np.nanmin(vm)),
                "vm_max_pu": float("nan") if vm is None else float(np.nanmax(vm)),
            }
        )
        if any(e_mwh <= 0 for e_mwh in self._e_mwh.values()):
            self._ended = float(minute + 1)
        return bool(np.isinf(self._ended))


def _with_power(source: IslandSource, p_mw: float) -> IslandSource:
    return IslandSource(
        source.name, source.p_rated_mw, p_mw, min(source.p_min_mw, p_mw), source.droop, source.response_s,
        source.inertia_s, source.e_mwh,
    )  # fmt: skip


def _check(loads: pd.DataFrame, island: GridTwin | None) -> None:
    missing = [name for name in COLUMNS if name not in loads]
    found = [_fault(f"the loads lack {', '.join(missing)}", ", ".join(COLUMNS))] if missing else []
    if island is not None:
        unknown = loads.index.difference(island.assets.index)
        if len(unknown):
            found.append(_fault(f"loads are no assets of the island: {', '.join(map(str, unknown[:5]))}", "assets"))
    raise_errors(found, DataError)


def _fault(what: str, expected: str) -> Finding:
    return Finding(what, where="black start", expected=expected, severity="error", code="GT-K51")
