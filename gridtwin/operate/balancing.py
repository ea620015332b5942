"""Real-time balancing: what really happened, against the plan of the day before.

The whole network area is one balancing area. It bought the mean over the forecast
paths with the schedule in place; reality brings other weather, cars that come and
go when they like, and batteries that may be empty. What deviates is covered by the
batteries first and by reserve bids after that. Network losses are left out on both
sides: the network operator buys them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of, build_profiles
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.kernels.balancing import (
    BalancingArrays,
    BatteryArrays,
    BidArrays,
    HeatPumpArrays,
    SessionArrays,
    StepArrays,
    balance_area,
    charge_cars,
    empty_balancing,
    shift_heat_pumps,
)
from gridtwin.operate.dispatch import apply_schedule, dispatch_power, power_ratio
from gridtwin.operate.settlement import energy_of, settle_balancing
from gridtwin.scenario import Balancing, Flexibility, Reserve
from gridtwin.time_axis import TimeAxis

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin

FEED_IN = ("pv", "wind")
FLEXIBLE_KINDS = ("electric_car", "heat_pump", *FEED_IN, "battery", "computing_job")
CAUSES = ("inflexible", *FEED_IN, "electric_car", "heat_pump", "battery")
"""Where a deviation comes from."""
CALCULATED_QUALITY = 2
"""Quality code of flexible assets: calculated, not metered; see `nomenclature.QUALITY`."""
SMALLEST_REPORTED_MWH = 1e-6
"""Energy below is rounding. [MWh]"""
UNMET_COLUMNS = ["asset", "kind", "what", "start", "end", "amount", "unit", "cost_eur"]


@dataclass(frozen=True)
class BalancingResult:
    """What happened in real time.

    Parameters
    ----------
    dataset : Dataset
        On the fine axis, consumption positive: `p_planned_mw, p_deviation_mw,
        p_battery_mw` (balancing share), `p_reserve_mw, p_residual_mw` (time);
        `p_cause_mw` (time, cause); `p_activated_mw` (time, reserve), never negative;
        `p_support_mw, e_mwh` (time, battery). [MW], [MWh]
    actual : Profiles
        What every asset really did, (time, asset), ready for the power flow.
    settlement : DataFrame
        Energy and money of every interval, see `settle_balancing`.
    totals : mapping
        Sums over the study, the unit last in each name. NaN without prices.
    unmet : DataFrame
        Energy that cars left without and rooms outside comfort, with their price.
    findings : tuple of Finding
        What could not be computed or stood out.
    """

    dataset: xr.Dataset
    actual: Profiles
    settlement: pd.DataFrame
    totals: Mapping[str, float]
    unmet: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def run_balancing(
    twin: GridTwin,
    schedule: xr.Dataset,
    forecast: xr.Dataset,
    realised: Profiles,
    sessions: pd.DataFrame,
    prices: xr.Dataset | None,
    settings: Balancing,
    flexibility: Flexibility,
) -> BalancingResult:
    """Balance what really happened against the plan.

    Parameters
    ----------
    twin : GridTwin
        Ratings, batteries and buildings.
    schedule : Dataset
        `p_mw, p_base_mw` (time, asset) of the flexible assets. [MW]
    forecast : Dataset
        `p_mean_mw` (time, asset) of all assets; may span more than the schedule. [MW]
    realised : Profiles
        What would have happened without the schedule, (time, asset); may span more. [MW]
    sessions : DataFrame
        Charging sessions as they really were: `asset, arrival, departure, e_mwh`.
    prices : Dataset or None
        `price_eur_per_mwh` (time), day-ahead. [EUR/MWh]
    settings : Balancing
        Step, bids, price of imbalance.
    flexibility : Flexibility
        Battery efficiency and start, comfort, price of unserved energy.

    Returns
    -------
    BalancingResult

    Raises
    ------
    DataError
        If times, assets or facts do not fit together; all faults at once.

    Notes
    -----
    A plugged-in car tells its real departure and need. Cars plugged in before the
    study have charged at rated power since arrival. A battery's stored energy is
    carried through the whole study, so that energy spent on balancing is missing
    from its schedule later. What batteries end below or above plan is not priced.
    """
    check_balancing_inputs(twin, schedule, forecast, realised, sessions=sessions, prices=prices, settings=settings)
    area = _compile_area(twin, schedule, forecast, realised, settings.step_seconds)
    cars = _charge_cars(area, sessions)
    pumps = _shift_heat_pumps(area, flexibility)
    causes = _deviation_by_cause(area, cars, pumps)
    balanced = _balance(area, sum(causes.values(), start=np.zeros(area.n_steps)), settings, flexibility)
    dataset = _label_balancing(area, causes, balanced, settings)
    settlement = settle_balancing(dataset, area.axis, prices, settings=settings)
    unmet = pd.concat([_unserved(cars, area, flexibility), _discomfort(pumps, area, flexibility)], ignore_index=True)
    totals = _sum_up(area, settlement, dataset, schedule, cars, unmet)
    actual = _label_actual(area, twin, realised, _actual_power(area, cars, pumps, balanced))
    return BalancingResult(dataset, actual, settlement, totals, unmet, _findings(prices, settlement, unmet))


# --- inputs -----------------------------------------------------------------------------------------------------------


def check_balancing_inputs(
    twin: GridTwin,
    schedule: xr.Dataset,
    forecast: xr.Dataset,
    realised: Profiles,
    *,
    sessions: pd.DataFrame,
    prices: xr.Dataset | None,
    settings: Balancing,
) -> None:
    """Raise one `DataError` with everything that does not fit together."""
    findings = [
        *_check_schedule(twin, schedule, settings),
        *_check_series(twin, schedule, forecast, "p_mean_mw", name="forecast"),
        *_check_series(twin, schedule, realised, "p_mw", name="realised profiles"),
        *_check_times(schedule, prices, "prices"),
        *_check_bids(settings.reserve),
        *_check_sessions(sessions, schedule),
    ]
    raise_errors(findings, DataError)


def _error(what: str, **parts: str) -> Finding:
    return Finding(what, severity="error", **parts)


def _check_schedule(twin: GridTwin, schedule: xr.Dataset, settings: Balancing) -> list[Finding]:
    axis = axis_of(schedule)
    findings = []
    if (axis.step / pd.Timedelta(seconds=settings.step_seconds)) % 1:
        findings.append(_error("the balancing step does not divide the step of the schedule",
                               expected=f"a divisor of {axis.step}", got=f"{settings.step_seconds} s"))  # fmt: skip
    unknown = schedule.indexes["asset"].difference(twin.assets.index)
    if len(unknown):
        return [*findings, _error("the schedule holds assets that the twin lacks", got=", ".join(unknown[:5]))]
    for name in ("p_mw", "p_base_mw"):
        findings += _check_finite(schedule[name], "schedule")
    facts = twin.assets.loc[schedule.indexes["asset"]]
    other = facts.index[~facts["kind"].isin(FLEXIBLE_KINDS)]
    if len(other):
        findings.append(_error("the schedule holds assets that cannot follow one",
                               expected=", ".join(FLEXIBLE_KINDS), got=", ".join(other[:5])))  # fmt: skip
    for kind, needed in (("battery", ["e_rated_mwh"]), ("heat_pump", ["ua_mw_per_k", "c_mwh_per_k", "cop"])):
        rows = facts.loc[facts["kind"] == kind, needed]
        lacking = rows.index[np.asarray(~(rows.to_numpy(dtype=float) > 0).all(axis=1))]
        if len(lacking):
            findings.append(_error(f"{kind} without {', '.join(needed)}", got=", ".join(lacking[:5])))
    return findings


def _check_series(
    twin: GridTwin, schedule: xr.Dataset, series: xr.Dataset, variable: str, *, name: str
) -> list[Finding]:
    ours, theirs = twin.assets.index, series.indexes["asset"]
    missing, extra = ours.difference(theirs), theirs.difference(ours)
    findings = []
    if len(missing) or len(extra):
        findings.append(_error(f"{name} and twin hold different assets", expected=", ".join(missing[:5]) or "no others",
                               got=", ".join(extra[:5]) or "nothing for them"))  # fmt: skip
    findings += _check_times(schedule, series, name)
    if findings:
        return findings
    # cars and batteries do what their sessions and stored energy allow; their series are not read
    kinds = twin.assets["kind"].reindex(schedule.indexes["asset"])
    unread = kinds.index[kinds.isin(["electric_car", "battery"]) | (name == "forecast")]
    return _check_finite(series[variable].sel(time=schedule["time"], asset=ours.difference(unread)), name)


def _check_times(schedule: xr.Dataset, series: xr.Dataset | None, name: str) -> list[Finding]:
    if series is None:
        return []
    missing = schedule.indexes["time"].difference(series.indexes["time"])
    if not len(missing):
        return []
    return [_error(f"{name} lack times of the schedule", expected=f"a value at {missing[0]} UTC",
                   got=f"{len(missing)} of {schedule.sizes['time']} missing")]  # fmt: skip


def _check_finite(values: xr.DataArray, name: str) -> list[Finding]:
    holes = ~np.isfinite(values.transpose("time", "asset").to_numpy())
    if not holes.any():
        return []
    assets = ", ".join(values["asset"].to_numpy()[holes.any(axis=0)][:5])
    return [_error(f"{values.name} of {name} has missing values", got=f"{int(holes.sum())}, in {assets}",
                   do="Fill them with a quality code.")]  # fmt: skip


def _check_bids(reserve: tuple[Reserve, ...]) -> list[Finding]:
    names = pd.Index([bid.name for bid in reserve])
    doubled = names[names.duplicated()].unique()
    return [_error("reserve bids share a name", got=", ".join(doubled[:5]))] if len(doubled) else []


def _check_sessions(sessions: pd.DataFrame, schedule: xr.Dataset) -> list[Finding]:
    lacking = [column for column in ("asset", "arrival", "departure", "e_mwh") if column not in sessions]
    if lacking:
        return [
            _error("charging sessions lack columns", expected=", ".join(lacking), got=", ".join(map(str, sessions)))
        ]
    ours = sessions[sessions["asset"].isin(schedule.indexes["asset"])].sort_values(["asset", "arrival"])
    wrong = ours[(ours["departure"] < ours["arrival"]) | ~(ours["e_mwh"] >= 0)]
    overlap = ours[(ours["asset"] == ours["asset"].shift()) & (ours["arrival"] < ours["departure"].shift())]
    findings = []
    for rows, what in ((wrong, "a charging session ends before it begins or has no energy"),
                       (overlap, "charging sessions of one car overlap")):  # fmt: skip
        if len(rows):
            findings.append(_error(what, got=f"{rows['asset'].iloc[0]} from {rows['arrival'].iloc[0]} UTC"))
    return findings


# --- labels to arrays -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Area:
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
        return self.axis.length * self.n

    @property
    def fine_axis(self) -> TimeAxis:
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


def _compile_area(
    twin: GridTwin, schedule: xr.Dataset, forecast: xr.Dataset, realised: Profiles, step_seconds: int
) -> _Area:
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
    return _Area(axis, n, twin.assets, role, planned, base, expected, real)


def _values(series: xr.DataArray, schedule: xr.Dataset, names: pd.Index) -> np.ndarray:
    """(time, asset) at the schedule's times in the order of the twin, a copy."""
    chosen = series.sel(time=schedule["time"].to_numpy(), asset=names.to_numpy())
    return np.array(chosen.transpose("time", "asset"), dtype=float)


def _compile_sessions(area: _Area, sessions: pd.DataFrame) -> tuple[pd.DataFrame, SessionArrays]:
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


def _compile_heat_pumps(area: _Area, flexibility: Flexibility) -> HeatPumpArrays:
    """C dT/dt = cop p - UA T for the deviation T, solved exactly over one step."""
    ua, c, cop = (area.fact("heat_pump", name) for name in ("ua_mw_per_k", "c_mwh_per_k", "cop"))
    keep = np.exp(-ua * area.means.hours / c)
    guard_kelvin = flexibility.override_kelvin
    return HeatPumpArrays(area.fact("heat_pump", "p_rated_mw"), keep, cop * (1 - keep) / ua, guard_kelvin)


def _compile_batteries(area: _Area, settings: Balancing, flexibility: Flexibility) -> BatteryArrays:
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


def _compile_bids(bids: list[Reserve], hours: float) -> BidArrays:
    p_mw = np.array([bid.kw / 1000 for bid in bids], dtype=float)
    return BidArrays(p_mw, np.array([bid.ramp_kw_per_min * 60 * hours / 1000 for bid in bids], dtype=float))


# --- what happens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cars:
    """What the cars did: power (step) and (time, car) [MW], sessions with `e_rest_mwh`."""

    p_step_mw: np.ndarray
    p_mw: np.ndarray
    sessions: pd.DataFrame


@dataclass(frozen=True)
class _HeatPumps:
    """What the heat pumps did: power (step) and (time, heat pump) [MW], deviation of the rooms [K]."""

    p_step_mw: np.ndarray
    p_mw: np.ndarray
    kelvin: np.ndarray


def _charge_cars(area: _Area, sessions: pd.DataFrame) -> _Cars:
    table, arrays = _compile_sessions(area, sessions)
    cars = area.at("electric_car")
    p_step, p_mean = np.zeros((area.n_steps, 1)), np.zeros((area.axis.length, len(cars), 1))
    rest = np.zeros((len(table), 1))
    rated = area.fact("electric_car", "p_rated_mw")
    charge_cars(np.ascontiguousarray(area.planned[:, cars]), rated, arrays, area.means, p_step, p_mean, rest)
    return _Cars(p_step[:, 0], p_mean[..., 0], table.assign(e_rest_mwh=rest[:, 0]))


def _shift_heat_pumps(area: _Area, flexibility: Flexibility) -> _HeatPumps:
    at = area.at("heat_pump")
    p_step, p_mean = np.zeros((area.n_steps, 1)), np.zeros((area.axis.length, len(at), 1))
    kelvin = np.zeros_like(p_mean)
    asked = np.ascontiguousarray(area.real[:, at, np.newaxis])
    shift = np.ascontiguousarray((area.planned - area.base)[:, at])
    start, pumps = np.zeros((len(at), 1)), _compile_heat_pumps(area, flexibility)
    shift_heat_pumps(asked, shift, start, pumps, area.means, p_step, p_mean, kelvin)
    return _HeatPumps(p_step[:, 0], p_mean[..., 0], kelvin[..., 0])


def _real_feed_in(area: _Area, kind: str) -> np.ndarray:
    """Feed-in of one kind with the schedule's cap. (time, asset) [MW]"""
    at = area.at(kind)
    kinds, rated = area.role[at].astype(str), area.fact(kind, "p_rated_mw")
    real = area.real[np.newaxis, :, at]
    capped = dispatch_power(real, area.planned[:, at], area.base[:, at], kinds=kinds, p_rated_mw=rated)
    return np.asarray(capped[0])


def _deviation_by_cause(area: _Area, cars: _Cars, pumps: _HeatPumps) -> dict[str, np.ndarray]:
    """Consumption above plan of everything but batteries, by cause. (step) [MW]"""
    planned = {kind: area.fine(area.expected[:, area.at(kind)].sum(axis=1)) for kind in FLEXIBLE_KINDS}
    fixed = area.at("")
    return {
        "inflexible": area.fine((area.real - area.expected)[:, fixed].sum(axis=1)),
        **{kind: area.fine(_real_feed_in(area, kind).sum(axis=1)) - planned[kind] for kind in FEED_IN},
        "electric_car": cars.p_step_mw - planned["electric_car"],
        "heat_pump": pumps.p_step_mw - planned["heat_pump"],
    }


def _balance(area: _Area, p_deviation_mw: np.ndarray, settings: Balancing, flexibility: Flexibility) -> BalancingArrays:
    """Batteries and bids against the deviation, every step kept; one lane."""
    steps = area.means._replace(n_mean=1)
    batteries = _compile_batteries(area, settings, flexibility)
    up, down = (_compile_bids(order_bids(settings.reserve, side), steps.hours) for side in ("up", "down"))
    results = empty_balancing(area.n_steps, len(batteries.p_rated_mw), len(up.p_mw), len(down.p_mw), 1)
    start = flexibility.battery_start * batteries.e_rated_mwh[:, np.newaxis]
    schedule = np.ascontiguousarray(area.planned[:, area.at("battery")])
    balance_area(p_deviation_mw[:, np.newaxis], schedule, start, batteries, up, down, steps, results)
    return results


def _actual_power(area: _Area, cars: _Cars, pumps: _HeatPumps, balanced: BalancingArrays) -> np.ndarray:
    """Interval means of every asset. (time, asset) [MW]"""
    actual = area.real.copy()
    for kind in FEED_IN:
        actual[:, area.at(kind)] = _real_feed_in(area, kind)
    actual[:, area.at("electric_car")] = cars.p_mw
    actual[:, area.at("heat_pump")] = pumps.p_mw
    actual[:, area.at("computing_job")] = area.planned[:, area.at("computing_job")]  # machines do as they are told
    actual[:, area.at("battery")] = energy_of(balanced.p_battery_mw[..., 0], area.axis) / area.axis.hours_per_step
    return actual


# --- arrays to labels -------------------------------------------------------------------------------------------------


def _label_balancing(
    area: _Area, causes: Mapping[str, np.ndarray], balanced: BalancingArrays, settings: Balancing
) -> xr.Dataset:
    total, up, down = (power[..., 0] for power in (balanced.p_deviation_mw, balanced.p_up_mw, balanced.p_down_mw))
    battery = total - sum(causes.values(), start=np.zeros(area.n_steps))
    bids = [*order_bids(settings.reserve, "up"), *order_bids(settings.reserve, "down")]
    mw = {"units": "MW"}
    return xr.Dataset(
        {
            "p_planned_mw": ("time", area.fine(area.expected.sum(axis=1)), mw),
            "p_deviation_mw": ("time", total, mw),
            "p_battery_mw": ("time", balanced.p_support_mw[..., 0].sum(axis=1), mw),
            "p_reserve_mw": ("time", down.sum(axis=1) - up.sum(axis=1), mw),
            "p_residual_mw": ("time", balanced.p_residual_mw[:, 0], mw),
            "p_cause_mw": (("time", "cause"), np.column_stack([*causes.values(), battery]), mw),
            "p_activated_mw": (("time", "reserve"), np.concatenate([up, down], axis=1), mw),
            "p_support_mw": (("time", "battery"), balanced.p_support_mw[..., 0], mw),
            "e_mwh": (("time", "battery"), balanced.e_battery_mwh[..., 0], {"units": "MWh"}),
        },
        coords={
            "time": area.fine_axis.times,
            "cause": [*causes, "battery"],
            "reserve": np.array([bid.name for bid in bids], dtype=str),
            "direction": ("reserve", np.array([bid.direction for bid in bids], dtype=str)),
            "battery": area.names("battery").to_numpy(dtype=str),
        },
        attrs={"step": area.fine_axis.step.isoformat(), "zone": area.axis.zone, "sign": "consumption positive"},
    )


def _label_actual(area: _Area, twin: GridTwin, realised: Profiles, p_mw: np.ndarray) -> Profiles:
    """Profiles of what happened; reactive power follows active power at each asset's own ratio."""
    in_order = realised[["p_mw", "q_mvar", "quality"]].sel(asset=twin.assets.index.to_numpy())
    # all of the series and not only the study: a car may not have come on these days
    ratio = power_ratio(*(np.nan_to_num(in_order[name].transpose("time", "asset")) for name in ("p_mw", "q_mvar")))
    study = in_order.sel(time=area.axis.times).transpose("time", "asset")
    q_mvar, quality = study["q_mvar"].to_numpy(), study["quality"].to_numpy().copy()
    quality[:, area.role != ""] = CALCULATED_QUALITY
    # an unread series of a car or battery may be missing: then the ratio alone gives its reactive power
    q_actual = np.where(np.isfinite(area.real), q_mvar + ratio * (p_mw - area.real), ratio * p_mw)
    return build_profiles(area.axis, twin.assets, p_mw, q_actual, quality=quality)


def _unserved(cars: _Cars, area: _Area, flexibility: Flexibility) -> pd.DataFrame:
    """Cars that left within the study without all their energy."""
    left = cars.sessions[cars.sessions["departure"] <= area.axis.end]
    left = left[left["e_rest_mwh"] > SMALLEST_REPORTED_MWH]
    e_kwh = 1000 * left["e_rest_mwh"]
    return pd.DataFrame(
        {
            "asset": left["asset"],
            "kind": "electric_car",
            "what": "energy not delivered",
            "start": left["arrival"],
            "end": left["departure"],
            "amount": e_kwh,
            "unit": "kWh",
            "cost_eur": flexibility.unserved_price_eur_per_kwh * e_kwh,
        },
        columns=UNMET_COLUMNS,
    )


def _discomfort(pumps: _HeatPumps, area: _Area, flexibility: Flexibility) -> pd.DataFrame:
    """Rooms outside the comfort band: degree hours of each heat pump, from the ends of the intervals."""
    beyond = np.maximum(np.abs(pumps.kelvin) - flexibility.comfort_kelvin, 0.0)
    rows = np.flatnonzero(beyond.max(axis=0, initial=0.0) > 1e-9)
    amount = beyond[:, rows].sum(axis=0) * area.axis.hours_per_step
    times = area.axis.times
    outside = [times[beyond[:, row] > 0] for row in rows]
    return pd.DataFrame(
        {
            "asset": area.names("heat_pump")[rows],
            "kind": "heat_pump",
            "what": "comfort",
            # typed, so that a table without rows joins the other without a change of type
            "start": pd.DatetimeIndex([stamps[0] for stamps in outside], dtype="datetime64[ns]"),
            "end": pd.DatetimeIndex([stamps[-1] + area.axis.step for stamps in outside], dtype="datetime64[ns]"),
            "amount": amount,
            "unit": "K h",
            "cost_eur": flexibility.comfort_price_eur_per_kelvin_hour * amount,
        },
        columns=UNMET_COLUMNS,
    )


def _sum_up(
    area: _Area, settlement: pd.DataFrame, dataset: xr.Dataset, schedule: xr.Dataset, cars: _Cars, unmet: pd.DataFrame
) -> dict[str, float]:
    """Sums over the study, the unit last in each name; NaN where prices are missing."""
    hours = area.means.hours
    deviation, residual = (np.abs(dataset[name].to_numpy()) for name in ("p_deviation_mw", "p_residual_mw"))
    after = cars.sessions["departure"] > area.axis.end
    return {
        "planned_energy_mwh": float(settlement["plan_mwh"].sum()),
        "net_deviation_mwh": float(settlement["deviation_mwh"].sum()),
        "absolute_deviation_mwh": float(deviation.sum()) * hours,
        "battery_support_absolute_mwh": float(np.abs(dataset["p_battery_mw"].to_numpy()).sum()) * hours,
        "upward_reserve_mwh": float(settlement["up_mwh"].sum()),
        "downward_reserve_mwh": float(settlement["down_mwh"].sum()),
        "net_residual_mwh": float(settlement["residual_mwh"].sum()),
        "absolute_residual_mwh": float(residual.sum()) * hours,
        "highest_residual_mw": float(residual.max()),
        "battery_energy_above_plan_mwh": _energy_above_plan(dataset, schedule),
        "energy_not_delivered_mwh": float(unmet.loc[unmet["kind"] == "electric_car", "amount"].sum()) / 1000,
        "energy_to_charge_after_the_study_mwh": float(cars.sessions.loc[after, "e_rest_mwh"].sum()),
        "day_ahead_cost_eur": float(settlement["plan_eur"].sum(skipna=False)),
        "reserve_cost_eur": float(settlement["reserve_eur"].sum()),
        "imbalance_cost_eur": float(settlement["imbalance_eur"].sum(skipna=False)),
        "unmet_cost_eur": float(unmet["cost_eur"].sum()),
        "total_cost_eur": float(settlement["total_eur"].sum(skipna=False)),
    }


def _energy_above_plan(dataset: xr.Dataset, schedule: xr.Dataset) -> float:
    """Stored energy of all batteries at the end, above what the schedule meant to keep. [MWh]"""
    names = dataset["battery"].to_numpy()
    if "e_mwh" not in schedule:
        return float("nan")
    planned = schedule["e_mwh"].sel(asset=names).isel(time=-1)
    return float(dataset["e_mwh"].isel(time=-1).sum()) - float(planned.sum(skipna=False))


def _findings(prices: xr.Dataset | None, settlement: pd.DataFrame, unmet: pd.DataFrame) -> tuple[Finding, ...]:
    findings = []
    holes = int(settlement["price_eur_per_mwh"].isna().sum())
    if prices is None or holes:
        findings.append(
            Finding(
                "costs of plan and imbalance are missing",
                where="balancing",
                expected="a day-ahead price of every interval",
                got="no prices" if prices is None else f"{holes} of {len(settlement)} missing",
                do="Give [prices] in the scenario.",
            )
        )
    cars = unmet[unmet["kind"] == "electric_car"]
    if len(cars):
        amount = f"{cars['amount'].sum():.1f} kWh in {len(cars)} sessions"
        findings.append(Finding("cars left without all their energy", where="balancing", got=amount))
    return tuple(findings)
