"""What real-time balancing gives back: labelled power, profiles as they became, what was missed, sums and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.errors import Finding
from gridtwin.kernels.balancing import BalancingArrays
from gridtwin.operate.balancing_area import BalancingArea, order_bids
from gridtwin.operate.dispatch import power_ratio
from gridtwin.scenario import Balancing, Flexibility

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin

CALCULATED_QUALITY = 2
"""Quality code of flexible assets: calculated, not metered; see `nomenclature.QUALITY`."""
SMALLEST_REPORTED_MWH = 1e-6
"""Energy below is rounding. [MWh]"""
UNMET_COLUMNS = ["asset", "kind", "what", "start", "end", "amount", "unit", "cost_eur"]


@dataclass(frozen=True)
class ChargedCars:
    """What the cars did: power (step) and (time, car) [MW], sessions with `e_rest_mwh`."""

    p_step_mw: np.ndarray
    p_mw: np.ndarray
    sessions: pd.DataFrame


@dataclass(frozen=True)
class ShiftedHeatPumps:
    """What the heat pumps did: power (step) and (time, heat pump) [MW], deviation of the rooms [K]."""

    p_step_mw: np.ndarray
    p_mw: np.ndarray
    kelvin: np.ndarray


def label_balancing(
    area: BalancingArea, causes: Mapping[str, np.ndarray], balanced: BalancingArrays, settings: Balancing
) -> xr.Dataset:
    """Power by step on the fine axis, consumption positive; deviation of batteries is what the other causes leave."""
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


def label_actual(area: BalancingArea, twin: GridTwin, realised: Profiles, p_mw: np.ndarray) -> Profiles:
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


def find_unserved(cars: ChargedCars, area: BalancingArea, flexibility: Flexibility) -> pd.DataFrame:
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


def find_discomfort(pumps: ShiftedHeatPumps, area: BalancingArea, flexibility: Flexibility) -> pd.DataFrame:
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


def sum_up_balancing(
    area: BalancingArea,
    settlement: pd.DataFrame,
    dataset: xr.Dataset,
    schedule: xr.Dataset,
    cars: ChargedCars,
    unmet: pd.DataFrame,
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


def find_shortfalls(prices: xr.Dataset | None, settlement: pd.DataFrame, unmet: pd.DataFrame) -> tuple[Finding, ...]:
    """Prices that are missing, and cars that left without all their energy."""
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
