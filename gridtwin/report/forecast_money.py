"""Forecasts in grid money: what acting on each of them costs the network and its customers.

The pinball loss treats all hours alike; a network does not. A forecast that misses the evening on which a cable
overheats is dear, one that errs at night on an empty cable is not. Every forecast here makes its own schedule, the
schedule is lived in the same reality, and perfect foresight is lived beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.power_flow import PowerFlow, run_power_flow
from gridtwin.optimize.flexibility import FLAT_PRICE_EUR_PER_MWH
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.network_limits import violations
from gridtwin.report.lived_cost import FEED_IN, OUTPUTS, LivedDay, Operation, curtailed_mwh, live_schedule
from gridtwin.scenario import Balancing, Flexibility

MONEY_COLUMNS = (
    "missed_overload_mwh",
    "missed_overload_eur",
    "false_overload_mwh",
    "needless_dimming_mwh",
    "needless_dimming_eur",
    "energy_eur",
    "breach_eur",
    "unmet_eur",
    "curtailment_eur",
    "wear_eur",
    "deferred_eur",
    "schedule_eur",
    "regret_eur",
    "deviation_mwh",
    "imbalance_eur",
    "total_eur",
    "unsolved_steps",
)
"""Columns of `value_forecasts`."""


def value_forecasts(
    twin: GridTwin,
    forecasts: Mapping[str, xr.Dataset],
    realised: Profiles,
    *,
    prices: xr.Dataset | None,
    declared: pd.DataFrame,
    sessions: pd.DataFrame,
    flexibility: Flexibility,
    balancing: Balancing,
    jobs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score forecasts of the same days in grid money. One row per model.

    Parameters
    ----------
    twin : GridTwin
        Network, assets and limits.
    forecasts : mapping from str to Dataset
        Forecasts by name of the model, all of the same times: `p_mw, q_mvar` (path, time, asset) and `p_mean_mw`
        (time, asset). [MW], [Mvar]
    realised : Profiles
        What happened without a schedule; holds the times of the forecasts. [MW]
    prices : Dataset or None
        `price_eur_per_mwh` (time); None: the flat price of the schedule. [EUR/MWh]
    declared, sessions : DataFrame
        Charging sessions as announced at issue, and as they came: `asset, arrival, departure, e_mwh`.
    flexibility, balancing : sections of the scenario
        Who takes part, prices of what is left unmet, agreed confidence; reserves and the price of imbalance.
    jobs : DataFrame, optional
        Batch jobs of data centres.

    Returns
    -------
    DataFrame
        Index `model`, columns `MONEY_COLUMNS`, costs positive:

        - `missed_overload_mwh`: apparent energy above the limits of branches in the realised, unscheduled power flow
          beyond what the forecast foresaw at the agreed confidence, summed over branches [MVAh at rated voltage];
          `_eur` at the scenario's price of a breach. `false_overload_mwh`: foreseen so and not come.
        - `needless_dimming_mwh`: feed-in cut, and consumption held down for the network, at steps where reality
          kept all limits without any schedule, beyond what perfect foresight does there; `_eur` at the scenario's
          compensation per kWh.
        - `energy_eur` to `deferred_eur`: parts of `schedule_eur`, the schedule lived in reality, see `LivedCost`.
        - `regret_eur`: `schedule_eur` less that of perfect foresight. Perfect foresight plans each day for itself,
          so that a small negative regret is possible.
        - `deviation_mwh, imbalance_eur`: deviation from the programme, and what it costs beyond the day-ahead price.
        - `total_eur` = `regret_eur` + `imbalance_eur`: what the forecast costs beyond perfect foresight. Missed
          overloads and needless dimming say why; they are no part of the sum, as breaches and curtailment are.
        - `unsolved_steps`: of all power flows behind the row; they count as neither fine nor breached.

        `attrs["perfect_foresight"]` holds the costs of perfect foresight.

    Raises
    ------
    DataError
        If there is no forecast, or forecasts and reality do not fit together.
    """
    times = check_forecasts(forecasts, realised)
    lived = realised.sel(time=times)
    prices = flat_prices(lived) if prices is None else prices
    case = Operation(twin, lived, prices, declared, sessions, flexibility, balancing, jobs)
    told = Operation(twin, lived, prices, sessions, sessions, flexibility, balancing, jobs)
    perfect = live_schedule(told, perfect_forecast(lived))
    unscheduled = run_power_flow(twin, lived, outputs=OUTPUTS)
    rows = [value_forecast(case, forecast, perfect, unscheduled) for forecast in forecasts.values()]
    table = pd.DataFrame(rows, index=pd.Index(list(forecasts), name="model"), columns=list(MONEY_COLUMNS))
    table.attrs["perfect_foresight"] = asdict(perfect.cost) | {"schedule_eur": perfect.cost.schedule_eur}
    return table


def choose_model(table: pd.DataFrame, by: str = "total_eur") -> str:
    """The model with the lowest cost; of equal ones the first.

    Parameters
    ----------
    table : DataFrame
        From `value_forecasts`.
    by : str
        A column of costs.

    Raises
    ------
    DataError
        If the table has no such column, or no known value in it.
    """
    if by not in table or table[by].isna().all():
        expected = ", ".join(name for name in map(str, table) if name.endswith(("_eur", "_mwh")))
        finding = Finding(
            "no model can be chosen", got=by, expected=f"a known cost in one of {expected}", severity="error"
        )
        raise DataError([finding])
    return str(table[by].idxmin())


def value_forecast(
    operation: Operation, forecast: xr.Dataset, perfect: LivedDay, unscheduled: PowerFlow
) -> dict[str, float]:
    """One row of `value_forecasts`."""
    twin, settings = operation.twin, operation.flexibility
    ahead = run_power_flow(twin, forecast, outputs=OUTPUTS)
    missed, false = overload_energy(twin, ahead, unscheduled, settings.confidence, operation.axis.hours_per_step)
    day = live_schedule(operation, forecast)
    needless = needless_dimming(operation, day, perfect, unscheduled)
    cost = day.cost
    regret = cost.schedule_eur - perfect.cost.schedule_eur
    return {
        "missed_overload_mwh": missed,
        "missed_overload_eur": KW_PER_MW * settings.breach_price_eur_per_kwh * missed,
        "false_overload_mwh": false,
        "needless_dimming_mwh": needless,
        "needless_dimming_eur": KW_PER_MW * settings.curtailment_price_eur_per_kwh * needless,
        **asdict(cost),
        "schedule_eur": cost.schedule_eur,
        "regret_eur": regret,
        "deviation_mwh": float(day.balanced.totals["absolute_deviation_mwh"]),
        "total_eur": regret + cost.imbalance_eur,
        "unsolved_steps": sum(int((flow["status"] != 0).sum()) for flow in (ahead, day.flow, unscheduled)),
    }


def overload_energy(
    twin: GridTwin, ahead: PowerFlow, realised: PowerFlow, confidence: float, hours: float
) -> tuple[float, float]:
    """Energy above the limits of branches that came and was not foreseen, and that was foreseen and did not come.

    Parameters
    ----------
    twin : GridTwin
        Limits and ratings.
    ahead, realised : PowerFlow
        Of the forecast paths, and of what happened; the same times.
    confidence : float
        Foreseen is, at every step, what this share of the paths stays below; an unsolved path counts as the highest.
    hours : float
        Length of a step. [h]

    Returns
    -------
    missed, false : float
        [MVAh]
    """
    rated_mva = np.nan_to_num(twin.branches["s_rated_mva"].to_numpy(dtype=float))
    limit = twin.branches["max_loading_percent"].to_numpy(dtype=float)
    paths = ahead["loading_percent"].to_numpy()
    unsolved = np.isnan(paths) & (ahead["status"].to_numpy() != 0)[:, :, np.newaxis]
    ranked = np.where(unsolved, np.inf, np.nan_to_num(paths))
    foreseen = np.maximum(np.quantile(ranked, confidence, axis=0, method="higher") - limit, 0.0)
    came = np.maximum(np.nan_to_num(realised["loading_percent"].to_numpy()[0]) - limit, 0.0)
    missed = np.maximum(came - foreseen, 0.0) / 100 * rated_mva * hours
    false = np.where(np.isfinite(foreseen), np.maximum(foreseen - came, 0.0), 0.0) / 100 * rated_mva * hours
    return float(missed.sum()), float(false.sum())


def needless_dimming(operation: Operation, day: LivedDay, perfect: LivedDay, unscheduled: PowerFlow) -> float:
    """Energy dimmed at steps where reality had room, beyond what perfect foresight dims there. [MWh]"""
    loading, outside = violations(operation.twin, unscheduled)
    room = (loading[0] <= 0).all(axis=1) & (outside[0] <= 0).all(axis=1) & (unscheduled["status"].to_numpy()[0] == 0)
    beyond = dimmed_mwh(operation, day) - dimmed_mwh(operation, perfect)
    return float(np.maximum(beyond, 0.0)[room].sum())


def dimmed_mwh(operation: Operation, day: LivedDay) -> np.ndarray:
    """Feed-in cut in reality, and consumption that the schedule holds down for the network, (time,). [MWh]"""
    schedule = day.plan.schedule
    consumers = ~np.isin(schedule["kind"].to_numpy().astype(str), (*FEED_IN, "battery"))
    held = schedule["reason"].transpose("time", "asset").to_numpy() == "network"
    down = (schedule["p_base_mw"] - schedule["p_mw"]).transpose("time", "asset").to_numpy()
    held_mw = np.where(held & consumers, np.maximum(down, 0.0), 0.0).sum(axis=1)
    cut_mwh = curtailed_mwh(operation, schedule, day.balanced.actual)
    return np.asarray(cut_mwh + held_mw * operation.axis.hours_per_step)


def perfect_forecast(realised: Profiles) -> xr.Dataset:
    """What happened as a forecast of one path."""
    power = realised[["p_mw", "q_mvar"]].transpose("time", "asset")
    return power.expand_dims(path=[0]).assign(p_mean_mw=power["p_mw"]).assign_attrs(realised.attrs)


def flat_prices(realised: Profiles) -> xr.Dataset:
    """The price that a schedule without prices assumes."""
    times = realised["time"].to_numpy()
    flat = np.full(len(times), FLAT_PRICE_EUR_PER_MWH)
    return xr.Dataset({"price_eur_per_mwh": ("time", flat)}, coords={"time": times})


def check_forecasts(forecasts: Mapping[str, xr.Dataset], realised: Profiles) -> np.ndarray:
    """Times that all forecasts share, (time,); raises where one has others or reality lacks some."""
    findings = [] if forecasts else [Finding("there is no forecast to value", severity="error")]
    first = next(iter(forecasts.values()), realised)
    for name, forecast in forecasts.items():
        if not forecast.indexes["time"].equals(first.indexes["time"]):
            findings.append(
                Finding(
                    "forecasts of different times cannot be compared",
                    where=name,
                    expected=f"{len(first['time'])} steps from {axis_of(first).start} UTC",
                    got=f"{len(forecast['time'])} steps from {axis_of(forecast).start} UTC",
                    severity="error",
                )
            )
    known = realised["p_mw"].reindex(time=first["time"].to_numpy()).transpose("time", "asset")
    moved = np.isin(realised["kind"].to_numpy().astype(str), ("electric_car", "battery"))
    gaps = np.isnan(known.to_numpy()) & ~moved
    if gaps.any():
        got = f"{int(gaps.any(axis=1).sum())} steps with gaps"
        findings.append(Finding("what happened is not known throughout", got=got, severity="error"))
    if findings:
        raise DataError(findings)
    return np.asarray(first["time"].to_numpy())
