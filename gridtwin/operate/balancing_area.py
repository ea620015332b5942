"""The balancing area as arrays: plan and reality of every asset, and what the kernels need of cars, pumps and bids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.kernels.balancing import BatteryArrays, BidArrays, HeatPumpArrays, SessionArrays, StepArrays
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.scenario import Balancing, Flexibility, Reserve
from gridtwin.time_axis import TimeAxis

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin


@dataclass(frozen=True)
class BalancingArea:
    """The balancing area on the schedule's axis, assets in the order of the twin. (time, asset) [MW]"""

    axis: TimeAxis
    n: int
    facts: pd.DataFrame
    role: np.ndarray
    """Kind of a scheduled asset, "" for the others. (asset)"""
    planned: np.ndarray
    base: np.ndarray
    expected: np.ndarray
    """What the area bought: the mean over the forecast paths with the schedule in place."""
    real: np.ndarray

    @property
    def n_steps(self) -> int:
        """Fine steps of the study."""
        return self.axis.length * self.n

    @property
    def fine_axis(self) -> TimeAxis:
        """Axis of the balancing steps."""
        return TimeAxis(self.axis.start, self.axis.step / self.n, self.n_steps, self.axis.zone)

    @property
    def means(self) -> StepArrays:
        """Division of time with outputs per interval."""
        return StepArrays(self.axis.hours_per_step / self.n, self.n, self.n)

    def at(self, kind: str) -> np.ndarray:
        """Positions of the scheduled assets of one kind."""
        return np.flatnonzero(self.role == kind)

    def names(self, kind: str) -> pd.Index:
        """Names of the scheduled assets of one kind."""
        return self.facts.index[self.at(kind)]

    def fact(self, kind: str, column: str) -> np.ndarray:
        """One column of the asset table for the scheduled assets of one kind."""
        values: np.ndarray = self.facts[column].to_numpy(dtype=float)[self.at(kind)]
        return values

    def fine(self, power_mw: np.ndarray) -> np.ndarray:
        """Interval means held constant on the fine axis. (step, ...)"""
        return np.repeat(power_mw, self.n, axis=0)


def compile_area(
    twin: GridTwin, schedule: xr.Dataset, forecast: xr.Dataset, realised: Profiles, step_seconds: int
) -> BalancingArea:
    """Plan, reality and what was bought, in the order of the twin; a schedule's step has whole balancing steps."""
    axis, names = axis_of(schedule), twin.assets.index
    columns = names.get_indexer(schedule.indexes["asset"])
    role = np.full(len(names), "", dtype=object)
    role[columns] = twin.assets["kind"].to_numpy()[columns]
    expected = _values(apply_schedule(twin, forecast, schedule)["p_mw"].mean("path"), schedule, names)
    planned = _values(forecast["p_mean_mw"], schedule, names)
    base = planned.copy()
    planned[:, columns] = schedule["p_mw"].transpose("time", "asset")
    base[:, columns] = schedule["p_base_mw"].transpose("time", "asset")
    n = round(axis.step / pd.Timedelta(seconds=step_seconds))
    real = _values(realised["p_mw"], schedule, names)
    return BalancingArea(axis, n, twin.assets, role, planned, base, expected, real)


def _values(series: xr.DataArray, schedule: xr.Dataset, names: pd.Index) -> np.ndarray:
    """(time, asset) at the schedule's times in the order of the twin, a copy."""
    chosen = series.sel(time=schedule["time"].to_numpy(), asset=names.to_numpy())
    return np.array(chosen.transpose("time", "asset"), dtype=float)


def compile_sessions(area: BalancingArea, sessions: pd.DataFrame) -> tuple[pd.DataFrame, SessionArrays]:
    """Sessions that touch the study, sorted by car, and the same as arrays of one lane.

    Energy is due in full where the car leaves in time; else the part that constant
    power over the whole session would have brought by the end, as in the schedule.
    """
    axis, names, rated = area.axis, area.names("electric_car"), area.fact("electric_car", "p_rated_mw")
    touches = (sessions["departure"] > axis.start) & (sessions["arrival"] < axis.end) & sessions["asset"].isin(names)
    table = sessions[touches].assign(car=names.get_indexer(pd.Index(sessions.loc[touches, "asset"])))
    table = table.sort_values(["car", "arrival"], ignore_index=True)
    step = axis.step / area.n
    arrival = np.asarray((table["arrival"] - axis.start) / step, dtype=float)
    departure = np.asarray((table["departure"] - axis.start) / step, dtype=float)
    e_mwh = table["e_mwh"].to_numpy(dtype=float)
    before = np.minimum(rated[table["car"]] * np.maximum(-arrival, 0.0) * area.means.hours, e_mwh)
    due = np.minimum((area.n_steps - arrival) / (departure - arrival), 1.0) * e_mwh
    first = np.searchsorted(table["car"].to_numpy(), np.arange(len(names) + 1)).astype(np.int64)
    columns = (np.maximum(arrival, 0.0), departure, e_mwh - before, np.maximum(due - before, 0.0))
    return table, SessionArrays(first, *(column[:, np.newaxis] for column in columns))


def compile_heat_pumps(area: BalancingArea, flexibility: Flexibility) -> HeatPumpArrays:
    """C dT/dt = cop p - UA T for the deviation T, solved exactly over one step."""
    ua, c, cop = (area.fact("heat_pump", name) for name in ("ua_mw_per_k", "c_mwh_per_k", "cop"))
    keep = np.exp(-ua * area.means.hours / c)
    guard_kelvin = flexibility.override_kelvin
    return HeatPumpArrays(area.fact("heat_pump", "p_rated_mw"), keep, cop * (1 - keep) / ua, guard_kelvin)


def compile_batteries(area: BalancingArea, settings: Balancing, flexibility: Flexibility) -> BatteryArrays:
    """Ratings, the share kept for balancing, and energy without which the schedule could not be followed."""
    rated = area.fact("battery", "p_rated_mw")
    one_way = float(np.sqrt(flexibility.battery_efficiency))
    e_rated = area.fact("battery", "e_rated_mwh")
    floor, ceiling = energy_kept_for_schedule(
        area.planned[:, area.at("battery")],
        flexibility.battery_start * e_rated,
        e_rated,
        one_way,
        area.axis.hours_per_step,
    )
    return BatteryArrays(rated, e_rated, settings.battery_share * rated, one_way, floor, ceiling)


def energy_kept_for_schedule(
    p_schedule_mw: np.ndarray, e_start_mwh: np.ndarray, e_rated_mwh: np.ndarray, efficiency: float, hours: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest stored energy from which the rest of the schedule can still be followed.

    Parameters
    ----------
    p_schedule_mw : ndarray, (time, battery)
        Schedule, charging positive. [MW]
    e_start_mwh, e_rated_mwh : ndarray, (battery,)
        Stored energy before the first interval, and usable energy. [MWh]
    efficiency : float
        One way. [-]
    hours : float
        Length of an interval. [h]

    Returns
    -------
    floor, ceiling : ndarray, (time, battery)
        What the energy may not leave within the interval. [MWh]

    Notes
    -----
    A battery that is d above its plan stays d above it while it follows the schedule.
    The rest is possible if d leaves all planned energies from now on between empty and
    full; the stricter end of the interval counts.

    Examples
    --------
    >>> plan = np.array([[1.0], [-1.0]])
    >>> [part.ravel().tolist() for part in energy_kept_for_schedule(plan, np.ones(1), 3 * np.ones(1), 1.0, 1.0)]
    [[1.0, 1.0], [2.0, 3.0]]
    """
    stored = efficiency * np.maximum(p_schedule_mw, 0) + np.minimum(p_schedule_mw, 0) / efficiency
    plan = np.vstack([e_start_mwh, e_start_mwh + hours * np.cumsum(stored, axis=0)])
    lowest = np.minimum.accumulate(plan[::-1], axis=0)[::-1]
    highest = np.maximum.accumulate(plan[::-1], axis=0)[::-1]
    floor, ceiling = plan - lowest, plan + e_rated_mwh - highest
    return np.maximum(floor[:-1], floor[1:]), np.minimum(ceiling[:-1], ceiling[1:])


def order_bids(reserve: tuple[Reserve, ...], direction: str) -> list[Reserve]:
    """Merit order: upward bids by rising, downward bids by falling price; equal prices keep their order."""
    sign = 1.0 if direction == "up" else -1.0
    return sorted((bid for bid in reserve if bid.direction == direction), key=lambda bid: sign * bid.price_eur_per_mwh)


def compile_bids(bids: list[Reserve], hours: float) -> BidArrays:
    """Power and change of power within a step of `hours`, in the order given. [MW]"""
    p_mw = np.array([bid.kw / 1000 for bid in bids], dtype=float)
    return BidArrays(p_mw, np.array([bid.ramp_kw_per_min * 60 * hours / 1000 for bid in bids], dtype=float))
