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

from gridtwin.data.profiles import Profiles
from gridtwin.errors import Finding
from gridtwin.kernels.balancing import BalancingArrays, balance_area, charge_cars, empty_balancing, shift_heat_pumps
from gridtwin.operate.balancing_area import (
    BalancingArea,
    compile_area,
    compile_batteries,
    compile_bids,
    compile_heat_pumps,
    compile_sessions,
    order_bids,
)
from gridtwin.operate.balancing_checks import FEED_IN, FLEXIBLE_KINDS, check_balancing_inputs
from gridtwin.operate.balancing_results import (
    ChargedCars,
    ShiftedHeatPumps,
    find_discomfort,
    find_shortfalls,
    find_unserved,
    label_actual,
    label_balancing,
    sum_up_balancing,
)
from gridtwin.operate.dispatch import dispatch_power
from gridtwin.operate.settlement import energy_of, settle_balancing
from gridtwin.scenario import Balancing, Flexibility

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin

CAUSES = ("inflexible", *FEED_IN, "electric_car", "heat_pump", "battery")
"""Where a deviation comes from."""


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
    area = compile_area(twin, schedule, forecast, realised, settings.step_seconds)
    cars = _charge_cars(area, sessions)
    pumps = _shift_heat_pumps(area, flexibility)
    causes = _deviation_by_cause(area, cars, pumps)
    balanced = _balance(area, sum(causes.values(), start=np.zeros(area.n_steps)), settings, flexibility)
    dataset = label_balancing(area, causes, balanced, settings)
    settlement = settle_balancing(dataset, area.axis, prices, settings=settings)
    unmet = pd.concat(
        [find_unserved(cars, area, flexibility), find_discomfort(pumps, area, flexibility)], ignore_index=True
    )
    totals = sum_up_balancing(area, settlement, dataset, schedule, cars, unmet)
    actual = label_actual(area, twin, realised, _actual_power(area, cars, pumps, balanced))
    return BalancingResult(dataset, actual, settlement, totals, unmet, find_shortfalls(prices, settlement, unmet))


# --- what happens -----------------------------------------------------------------------------------------------------


def _charge_cars(area: BalancingArea, sessions: pd.DataFrame) -> ChargedCars:
    table, arrays = compile_sessions(area, sessions)
    cars = area.at("electric_car")
    p_step, p_mean = np.zeros((area.n_steps, 1)), np.zeros((area.axis.length, len(cars), 1))
    rest = np.zeros((len(table), 1))
    rated = area.fact("electric_car", "p_rated_mw")
    charge_cars(np.ascontiguousarray(area.planned[:, cars]), rated, arrays, area.means, p_step, p_mean, rest)
    return ChargedCars(p_step[:, 0], p_mean[..., 0], table.assign(e_rest_mwh=rest[:, 0]))


def _shift_heat_pumps(area: BalancingArea, flexibility: Flexibility) -> ShiftedHeatPumps:
    at = area.at("heat_pump")
    p_step, p_mean = np.zeros((area.n_steps, 1)), np.zeros((area.axis.length, len(at), 1))
    kelvin = np.zeros_like(p_mean)
    asked = np.ascontiguousarray(area.real[:, at, np.newaxis])
    shift = np.ascontiguousarray((area.planned - area.base)[:, at])
    start, pumps = np.zeros((len(at), 1)), compile_heat_pumps(area, flexibility)
    shift_heat_pumps(asked, shift, start, pumps, area.means, p_step, p_mean, kelvin)
    return ShiftedHeatPumps(p_step[:, 0], p_mean[..., 0], kelvin[..., 0])


def _real_feed_in(area: BalancingArea, kind: str) -> np.ndarray:
    """Feed-in of one kind with the schedule's cap. (time, asset) [MW]"""
    at = area.at(kind)
    kinds, rated = area.role[at].astype(str), area.fact(kind, "p_rated_mw")
    real = area.real[np.newaxis, :, at]
    capped = dispatch_power(real, area.planned[:, at], area.base[:, at], kinds=kinds, p_rated_mw=rated)
    return np.asarray(capped[0])


def _deviation_by_cause(area: BalancingArea, cars: ChargedCars, pumps: ShiftedHeatPumps) -> dict[str, np.ndarray]:
    """Consumption above plan of everything but batteries, by cause. (step) [MW]"""
    planned = {kind: area.fine(area.expected[:, area.at(kind)].sum(axis=1)) for kind in FLEXIBLE_KINDS}
    fixed = area.at("")
    return {
        "inflexible": area.fine((area.real - area.expected)[:, fixed].sum(axis=1)),
        **{kind: area.fine(_real_feed_in(area, kind).sum(axis=1)) - planned[kind] for kind in FEED_IN},
        "electric_car": cars.p_step_mw - planned["electric_car"],
        "heat_pump": pumps.p_step_mw - planned["heat_pump"],
    }


def _balance(
    area: BalancingArea, p_deviation_mw: np.ndarray, settings: Balancing, flexibility: Flexibility
) -> BalancingArrays:
    """Batteries and bids against the deviation, every step kept; one lane."""
    steps = area.means._replace(n_mean=1)
    batteries = compile_batteries(area, settings, flexibility)
    up, down = (compile_bids(order_bids(settings.reserve, side), steps.hours) for side in ("up", "down"))
    results = empty_balancing(area.n_steps, len(batteries.p_rated_mw), len(up.p_mw), len(down.p_mw), 1)
    start = flexibility.battery_start * batteries.e_rated_mwh[:, np.newaxis]
    schedule = np.ascontiguousarray(area.planned[:, area.at("battery")])
    balance_area(p_deviation_mw[:, np.newaxis], schedule, start, batteries, up, down, steps, results)
    return results


def _actual_power(
    area: BalancingArea, cars: ChargedCars, pumps: ShiftedHeatPumps, balanced: BalancingArrays
) -> np.ndarray:
    """Interval means of every asset. (time, asset) [MW]"""
    actual = area.real.copy()
    for kind in FEED_IN:
        actual[:, area.at(kind)] = _real_feed_in(area, kind)
    actual[:, area.at("electric_car")] = cars.p_mw
    actual[:, area.at("heat_pump")] = pumps.p_mw
    actual[:, area.at("computing_job")] = area.planned[:, area.at("computing_job")]  # machines do as they are told
    actual[:, area.at("battery")] = energy_of(balanced.p_battery_mw[..., 0], area.axis) / area.axis.hours_per_step
    return actual
