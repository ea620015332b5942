"""What a schedule costs when it is lived in reality: one plan, one realised course, every euro apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.balancing import BalancingResult, run_balancing
from gridtwin.operate.data_centre_impact import with_missed_jobs
from gridtwin.operate.power_flow import PowerFlow, run_power_flow
from gridtwin.optimize.area_terms import price_area
from gridtwin.optimize.certificate import check_limits
from gridtwin.optimize.flexibility import FlexibilityResult, optimize_flexibility
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.network_limits import find_network_limits
from gridtwin.optimize.unmet import list_breaches
from gridtwin.scenario import Balancing, Flexibility
from gridtwin.time_axis import TimeAxis

OUTPUTS = ("vm_pu", "loading_percent", "p_branch_mw", "p_slack_mw")
"""Variables of the power flow that costs are made of."""
FEED_IN = ("pv", "wind")


@dataclass(frozen=True)
class Operation:
    """Everything that a schedule meets but the forecast that it was made on.

    Parameters
    ----------
    twin : GridTwin
        Network, assets and limits.
    realised : Profiles
        What happened without any schedule, (time, asset), on the scored steps. [MW]
    prices : Dataset
        `price_eur_per_mwh` (time). [EUR/MWh]
    declared, sessions : DataFrame
        Charging sessions as announced at issue, and as they came.
    flexibility : Flexibility
        Who takes part, and the prices of what is left unmet.
    balancing : Balancing
        Reserve bids and the price of imbalance.
    jobs : DataFrame or None
        Batch jobs of data centres.
    """

    twin: GridTwin
    realised: Profiles
    prices: xr.Dataset
    declared: pd.DataFrame
    sessions: pd.DataFrame
    flexibility: Flexibility
    balancing: Balancing
    jobs: pd.DataFrame | None = None

    @property
    def axis(self) -> TimeAxis:
        """The scored steps."""
        return axis_of(self.realised)

    @property
    def price_eur_per_mwh(self) -> np.ndarray:
        """Day-ahead price of every step. (time,) [EUR/MWh]"""
        return np.asarray(self.prices["price_eur_per_mwh"].sel(time=self.axis.times), dtype=float)


@dataclass(frozen=True)
class LivedCost:
    """Cost of a schedule in reality, a cost positive. [EUR]

    Parameters
    ----------
    energy_eur : float
        Net energy from the upstream network, losses included where the study buys them, at the day-ahead price with
        fees and emissions, and the charge on its peak.
    breach_eur : float
        Power beyond the limits of the network.
    unmet_eur : float
        Energy that cars left without, rooms outside comfort, missed jobs.
    curtailment_eur, wear_eur : float
        Compensation of curtailed feed-in; wear of batteries.
    deferred_eur : float
        Energy still owed to cars that stay, less what batteries hold above their start, at the mean price.
    imbalance_eur : float
        What reserves and imbalance cost beyond the day-ahead price of the deviation from the programme.
    """

    energy_eur: float
    breach_eur: float
    unmet_eur: float
    curtailment_eur: float
    wear_eur: float
    deferred_eur: float
    imbalance_eur: float

    @property
    def schedule_eur(self) -> float:
        """All but the imbalance."""
        return float(sum(value for name, value in asdict(self).items() if name != "imbalance_eur"))


@dataclass(frozen=True)
class LivedDay:
    """A schedule, how it was lived, and what that cost."""

    plan: FlexibilityResult
    balanced: BalancingResult
    flow: PowerFlow
    cost: LivedCost


def live_schedule(operation: Operation, forecast: xr.Dataset) -> LivedDay:
    """Make the schedule of a forecast, balance what really happened against it, and price the outcome.

    Parameters
    ----------
    operation : Operation
        Network, reality, prices and rules.
    forecast : Forecast
        `p_mw, q_mvar` (path, time, asset), `p_mean_mw` (time, asset), on the steps of reality. [MW]
    """
    case, twin = operation, operation.twin
    plan = optimize_flexibility(twin, forecast, case.prices, case.declared, case.flexibility, jobs=case.jobs)
    balanced = run_balancing(twin, plan.schedule, forecast, case.realised, case.sessions, case.prices,
                             case.balancing, case.flexibility)  # fmt: skip
    flow = run_power_flow(twin, balanced.actual, outputs=OUTPUTS)
    cost = LivedCost(
        energy_eur=energy_cost(case, balanced.actual, flow),
        breach_eur=breach_cost(case, balanced.actual, flow),
        unmet_eur=float(with_missed_jobs(balanced.unmet, plan.unmet)["cost_eur"].sum()),
        curtailment_eur=KW_PER_MW * case.flexibility.curtailment_price_eur_per_kwh
        * float(curtailed_mwh(case, plan.schedule, balanced.actual).sum()),
        wear_eur=wear_cost(case, plan.schedule, balanced.actual),
        deferred_eur=deferred_cost(case, balanced),
        imbalance_eur=imbalance_cost(balanced),
    )  # fmt: skip
    return LivedDay(plan, balanced, flow, cost)


def energy_cost(operation: Operation, actual: Profiles, flow: PowerFlow) -> float:
    """Import at price and fees less export at price, and the charge on the peak. [EUR]

    An unsolved step counts with the sum of its assets, without losses.
    """
    settings, axis = operation.flexibility, operation.axis
    of_assets = actual["p_mw"].transpose("time", "asset").to_numpy().sum(axis=1)
    through = flow["p_slack_mw"].to_numpy()[0]
    net_kw = KW_PER_MW * np.where(np.isnan(through) | (not settings.price_losses), of_assets, through)
    terms, _ = price_area(settings, axis, operation.price_eur_per_mwh, np.zeros((1, axis.length)))
    drawn, fed = np.maximum(net_kw, 0.0), np.maximum(-net_kw, 0.0)
    bought = drawn * (terms.price_eur_per_kwh + terms.import_fee_eur_per_kwh)
    sold = fed * (terms.price_eur_per_kwh - terms.export_fee_eur_per_kwh)
    peak_kw = max(float(drawn.max()) - terms.peak_so_far_kw, 0.0)
    return float((bought - sold).sum()) * axis.hours_per_step + terms.peak_eur_per_kw * peak_kw


def breach_cost(operation: Operation, actual: Profiles, flow: PowerFlow) -> float:
    """Power beyond the limits at the price that the schedule has for it, see `optimize.unmet.list_breaches`. [EUR]"""
    twin, settings, axis = operation.twin, operation.flexibility, operation.axis
    rows = list_breaches(twin, check_limits(twin, flow, settings.confidence), voltage_scale(operation, actual, flow),
                         settings, step=axis.step)  # fmt: skip
    return float(np.nansum([row["cost_eur"] for row in rows]))


def voltage_scale(operation: Operation, actual: Profiles, flow: PowerFlow) -> np.ndarray:
    """Squared voltage per power at the most effective bus with a load or generator, at the heaviest step. (bus,)"""
    twin = operation.twin
    heaviest = int(np.nan_to_num(flow["loading_percent"].to_numpy()[0]).max(axis=1).argmax())
    buses = list(dict.fromkeys(twin.assets["bus"].astype(str)))
    limits = find_network_limits(twin, actual[["p_mw", "q_mvar"]].isel(time=[heaviest]), buses)
    return np.asarray(limits.scale[-len(twin.buses) :])


def curtailed_mwh(operation: Operation, schedule: xr.Dataset, actual: Profiles) -> np.ndarray:
    """Feed-in of scheduled systems that reality offered and the schedule cut, (time,). [MWh]"""
    names = scheduled_of(schedule, FEED_IN)
    cut = power_of(actual, names) - power_of(operation.realised, names)
    return np.asarray(np.maximum(cut, 0.0).sum(axis=1) * operation.axis.hours_per_step)


def wear_cost(operation: Operation, schedule: xr.Dataset, actual: Profiles) -> float:
    """Energy discharged from scheduled batteries at the price of wear. [EUR]"""
    discharged = np.maximum(-power_of(actual, scheduled_of(schedule, ("battery",))), 0.0).sum()
    wear = operation.flexibility.wear_price_eur_per_kwh
    return KW_PER_MW * wear * float(discharged) * operation.axis.hours_per_step


def deferred_cost(operation: Operation, balanced: BalancingResult) -> float:
    """Energy that the end of the study leaves to others, at the mean price. [EUR]"""
    stored = balanced.dataset["e_mwh"].isel(time=-1)
    rated = operation.twin.assets.loc[stored["battery"].to_numpy(), "e_rated_mwh"].to_numpy(dtype=float)
    above_start = float(stored.sum()) - operation.flexibility.battery_start * float(rated.sum())
    owed = float(balanced.totals["energy_to_charge_after_the_study_mwh"])
    return (owed - above_start) * float(operation.price_eur_per_mwh.mean())


def imbalance_cost(balanced: BalancingResult) -> float:
    """Reserves and imbalance beyond the day-ahead price of what was drawn off the programme. [EUR]

    Notes
    -----
    sum of reserve + imbalance - price (deviation + battery): the programme is bought day ahead, the energy that was
    really drawn is in `energy_cost`, so that only the extra is left here.
    """
    table = balanced.settlement
    extra = table["price_eur_per_mwh"] * (table["deviation_mwh"] + table["battery_mwh"])
    return float((table["reserve_eur"] + table["imbalance_eur"] - extra).sum(skipna=False))


def scheduled_of(schedule: xr.Dataset, kinds: tuple[str, ...]) -> np.ndarray:
    """Names of the scheduled assets of some kinds."""
    return np.asarray(schedule["asset"].to_numpy()[np.isin(schedule["kind"].to_numpy().astype(str), kinds)])


def power_of(series: xr.Dataset, names: np.ndarray) -> np.ndarray:
    """Power of some assets, (time, asset). [MW]"""
    return np.asarray(series["p_mw"].transpose("time", "asset").sel(asset=names).to_numpy())
