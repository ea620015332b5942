"""Results as tables: long, typed, every unit in a column name, times in UTC and local."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.nomenclature import ASSET_KINDS
from gridtwin.report.area_tables import (
    area_account_table,
    area_activation_table,
    area_cost_table,
    area_frequency_table,
    area_imbalance_table,
    area_store_table,
)
from gridtwin.report.energy_value import energy_value_table
from gridtwin.report.flexibility_tables import (
    cause_table,
    device_settlement_table,
    flexibility_need_table,
    nodal_price_table,
)
from gridtwin.report.key_figures import build_key_figures
from gridtwin.report.layout import place_buses
from gridtwin.report.long_table import lengthen, plain, timed, with_local_times
from gridtwin.report.results import StudyResults, agreed_confidence, ordered_cases
from gridtwin.report.statistics import agreed_over_paths, quantiles_over_paths, share_over_paths, with_path
from gridtwin.time_axis import to_local

if TYPE_CHECKING:
    from pandas.core.resample import DatetimeIndexResampler

Tables = dict[str, pd.DataFrame]
BAND = (0.05, 0.5, 0.95)
"""Quantiles over paths in the tables of loadings and voltages. [-]"""


def build_tables(results: StudyResults) -> Tables:
    """Every table of the run folder by name; tables of what was not asked for are left out.

    Quantiles are over the forecast paths; of a group of assets the paths are
    summed first. The sign is that of the stages, consumption positive.
    """
    zone, studied = str(results.scenario["time"]["zone"]), results.forecast.indexes["time"]
    tables = {
        "summary": build_key_figures(results),
        "congestions": congestion_table(results.congestions, zone),
        "branch_loading": branch_loading_table(results, zone),
        "bus_voltage": bus_voltage_table(results, zone),
        "forecast_fan": forecast_fan_table(results, zone),
        "asset_power": asset_power_table(results, zone),
        "forecast_scores": plain(results.scores),
        "schedule": schedule_table(results, zone),
        "schedule_by_kind": schedule_by_kind_table(results, zone),
        "unmet": unmet_table(results, zone),
        "causes": cause_table(results.causes, zone),
        "flexibility_needs": flexibility_need_table(results.flexibility_needs, zone),
        "nodal_prices": nodal_price_table(results.nodal_prices, zone),
        "device_settlement": device_settlement_table(results.device_settlement),
        "curtailment": plain(results.curtailment),
        "curtailment_log": with_local_times(plain(results.curtailment_log), zone),
        "balancing": balancing_table(results, zone),
        "activation": activation_table(results, zone),
        "battery_energy": battery_energy_table(results, zone),
        "settlement": settlement_table(results, zone),
        "area_frequency": area_frequency_table(results, zone),
        "area_activation": area_activation_table(results, zone),
        "area_store": area_store_table(results, zone),
        "area_imbalance": area_imbalance_table(results, zone),
        "area_cost": area_cost_table(results),
        "area_account": area_account_table(results),
        "connections": with_local_times(plain(results.connections), zone),
        "data_centres": with_local_times(plain(results.data_centres), zone),
        "data_centre_jobs": with_local_times(plain(results.data_centre_jobs), zone),
        "observation": with_local_times(plain(results.observation), zone),
        "data_quality": plain(results.data_quality),
        "findings": finding_table(results),
        "energy": plain(results.ledger),
        "energy_value": energy_value_table(results),
        "prices": series_table(results.prices, "price_eur_per_mwh", zone, studied=studied),
        "weather": series_table(results.weather, "temperature_celsius", zone, studied=studied),
        "buses": bus_table(results),
        "branches": results.twin.branches.rename_axis("branch").reset_index(),
        "assets": results.twin.assets.rename_axis("asset").reset_index(),
    }
    return {name: table for name, table in tables.items() if len(table.columns)}


def congestion_table(congestions: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Congestions with the case as first column, worst first, local time beside UTC."""
    table = plain(congestions)
    table = table.drop(columns=[name for name in table if str(name).startswith("level_")])
    if "case" not in table:
        return table
    table = with_local_times(table, zone)
    rank = {case: position for position, case in enumerate(ordered_cases(table["case"].unique()))}
    order = ["probability", "energy_over_mwh", "worst_value"]
    table = table.assign(_rank=table["case"].map(rank))
    table = table.sort_values(["_rank", *order], ascending=[True, False, False, False], kind="stable")
    columns = ["case", *(name for name in table if name not in ("case", "_rank"))]
    return table[columns].reset_index(drop=True)


def branch_loading_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Loading of every branch, quarter hour and case: band over paths and probability over the limit.

    `loading_agreed_percent` is what the agreed share of paths (the scenario's
    confidence) stays below; a schedule is made to keep it at the limit.
    """
    limits = results.twin.branches["max_loading_percent"] + LOADING_TOLERANCE_PERCENT
    confidence = agreed_confidence(results.scenario)
    parts = []
    for case in ordered_cases(results.power_flows):
        loading = with_path(results.power_flows[case]["loading_percent"])
        limit = limits.reindex(loading["branch"].to_numpy()).to_numpy(dtype=float)
        low, middle, high = quantiles_over_paths(loading.to_numpy(), BAND)
        columns = {
            "loading_p05_percent": low,
            "loading_p50_percent": middle,
            "loading_p95_percent": high,
            "loading_agreed_percent": agreed_over_paths(loading.to_numpy(), confidence),
            "probability_over_limit": share_over_paths(loading.to_numpy() > limit, loading.to_numpy()),
        }
        parts.append(lengthen(columns, loading, "branch", zone=zone, case=case))
    return pd.concat(parts, ignore_index=True)


def bus_voltage_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Voltage of every bus, quarter hour and case: band over paths and probability outside the planning limits."""
    limits = results.twin.buses[["vm_min_pu", "vm_max_pu"]] + [-VOLTAGE_TOLERANCE_PU, VOLTAGE_TOLERANCE_PU]
    parts = []
    for case in ordered_cases(results.power_flows):
        voltage = with_path(results.power_flows[case]["vm_pu"])
        low_limit, high_limit = limits.reindex(voltage["bus"].to_numpy()).to_numpy(dtype=float).T
        values = voltage.to_numpy()
        low, middle, high = quantiles_over_paths(values, BAND)
        columns = {
            "vm_p05_pu": low,
            "vm_p50_pu": middle,
            "vm_p95_pu": high,
            "probability_outside_limits": share_over_paths((values < low_limit) | (values > high_limit), values),
        }
        parts.append(lengthen(columns, voltage, "bus", zone=zone, case=case))
    return pd.concat(parts, ignore_index=True)


def forecast_fan_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Forecast of the total and of each kind of asset against what happened, consumption positive."""
    forecast = results.forecast
    kinds = forecast["kind"].to_numpy().astype(str)
    groups = {"total": np.ones(len(kinds), dtype=bool)}
    groups |= {kind: kinds == kind for kind in ASSET_KINDS if (kinds == kind).any()}
    realised = results.realised["p_mw"].sel(asset=forecast["asset"].to_numpy(), time=forecast["time"].to_numpy())
    quantiles = _quantiles_of(results)
    parts = []
    for group, chosen in groups.items():
        fan = quantiles_over_paths(forecast["p_mw"].to_numpy()[:, :, chosen].sum(axis=-1), quantiles)
        columns = {f"p_{_percent_word(q)}_mw": values for q, values in zip(quantiles, fan, strict=True)}
        columns["p_mean_mw"] = forecast["p_mean_mw"].to_numpy()[:, chosen].sum(axis=-1)
        columns["p_naive_mw"] = forecast["p_naive_mw"].to_numpy()[:, chosen].sum(axis=-1)
        columns["p_realised_mw"] = realised.to_numpy()[:, chosen].sum(axis=-1)
        parts.append(timed(columns, forecast, zone).assign(group=group))
    table = pd.concat(parts, ignore_index=True)
    return table[["group", *(name for name in table if name != "group")]]


def asset_power_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Power of every asset: forecast band, naive value and what happened, consumption positive."""
    forecast = results.forecast["p_mw"]
    low, middle, high = quantiles_over_paths(forecast.to_numpy(), BAND)
    realised = results.realised["p_mw"].sel(asset=forecast["asset"].to_numpy(), time=forecast["time"].to_numpy())
    columns = {
        "p_p05_mw": low,
        "p_p50_mw": middle,
        "p_p95_mw": high,
        "p_mean_mw": results.forecast["p_mean_mw"].to_numpy(),
        "p_realised_mw": realised.to_numpy(),
    }
    if results.actual is not None:
        actual = results.actual["p_mw"].transpose("time", "asset")
        columns["p_realised_scheduled_mw"] = actual.sel(asset=forecast["asset"].to_numpy()).to_numpy()
    return lengthen(columns, forecast, "asset", zone=zone)


def schedule_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Schedule of every flexible device in kW and kWh, consumption positive, with its reason."""
    schedule = results.schedule
    if schedule is None or not schedule.sizes["asset"]:
        return pd.DataFrame()
    columns = {
        "p_scheduled_kw": 1e3 * schedule["p_mw"].to_numpy(),
        "p_base_kw": 1e3 * schedule["p_base_mw"].to_numpy(),
        "e_kwh": 1e3 * schedule["e_mwh"].to_numpy(),
        "reason": schedule["reason"].to_numpy().astype(str),
    }
    table = lengthen(columns, schedule["p_mw"], "asset", zone=zone)
    known = results.twin.assets.loc[table["asset"], ["kind", "bus"]].reset_index(drop=True)
    table.insert(3, "kind", known["kind"].to_numpy())
    table.insert(4, "bus", known["bus"].to_numpy())
    return table


def schedule_by_kind_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Scheduled and unscheduled power by kind; of batteries also the state of charge.

    `e_mwh` is the batteries' stored energy and the energy that cars have charged
    so far; `soc_percent` is of the batteries' usable energy.
    """
    schedule = results.schedule
    if schedule is None or not schedule.sizes["asset"]:
        return pd.DataFrame()
    assets = results.twin.assets.loc[schedule["asset"].to_numpy()]
    parts = []
    for kind in (kind for kind in ASSET_KINDS if (assets["kind"] == kind).any()):
        chosen = (assets["kind"] == kind).to_numpy()
        sums = {name: schedule[name].to_numpy()[:, chosen].sum(axis=-1) for name in ("p_mw", "p_base_mw", "e_mwh")}
        capacity = float(assets.loc[chosen, "e_rated_mwh"].sum())
        full = kind == "battery" and capacity > 0
        columns = {
            "p_scheduled_mw": sums["p_mw"],
            "p_base_mw": sums["p_base_mw"],
            "e_mwh": sums["e_mwh"],
            "soc_percent": 100 * sums["e_mwh"] / capacity if full else np.full(len(sums["p_mw"]), np.nan),
        }
        parts.append(timed(columns, schedule, zone).assign(kind=kind))
    table = pd.concat(parts, ignore_index=True)
    return table[["kind", *(name for name in table if name != "kind")]]


def unmet_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Unmet wishes as planned and as they came, dearest first within each case."""
    parts = {"forecast_scheduled": results.unmet, "realised_scheduled": results.unmet_realised}
    tables = [plain(table).assign(case=case) for case, table in parts.items() if len(table.columns)]
    if not tables:
        return pd.DataFrame()
    table = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True).sort_values(
        ["case", "cost_eur"], ascending=[True, False], kind="stable"
    )
    return with_local_times(table[["case", *(name for name in table if name != "case")]].reset_index(drop=True), zone)


def balancing_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Balancing per quarter hour: mean of every power, consumption positive. [MW]

    deviation = -(battery + reserve) + residual; `cause_*` add up to the deviation.
    """
    if results.balancing is None:
        return pd.DataFrame()
    dataset = results.balancing
    series = {str(name): dataset[name].to_numpy() for name in dataset if dataset[name].dims == ("time",)}
    for cause in dataset["cause"].to_numpy() if "cause" in dataset else ():
        series[f"cause_{cause}_mw"] = dataset["p_cause_mw"].sel(cause=cause).to_numpy()
    means = pd.DataFrame(series, index=dataset.indexes["time"]).resample("15min").mean()
    return timed({name: means[name].to_numpy() for name in series}, pd.DatetimeIndex(means.index), zone)


def activation_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Power that each battery (`support`) and reserve (`activated`) gave, mean per quarter hour. [MW]

    Support has consumption positive; activation is never negative, its direction
    is that of the bid. Rows of what never acts are left out.
    """
    if results.balancing is None:
        return pd.DataFrame()
    dataset = results.balancing
    parts = []
    for name, owner in (("p_support_mw", "battery"), ("p_activated_mw", "reserve")):
        if name in dataset:
            means = _by_quarter_hour(dataset[name], owner).mean()
            long = _melted(means.loc[:, means.abs().max() > 0], "name", "p_mw", zone)
            parts.append(long.assign(what=name.removeprefix("p_").removesuffix("_mw")))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def battery_energy_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Energy that each battery really held at the end of each quarter hour. [kWh]"""
    if results.balancing is None or not results.balancing.sizes.get("battery"):
        return pd.DataFrame()
    return _melted(1e3 * _by_quarter_hour(results.balancing["e_mwh"], "battery").last(), "asset", "e_kwh", zone)


def _by_quarter_hour(values: xr.DataArray, owner: str) -> DatetimeIndexResampler:
    frame = pd.DataFrame(values.transpose("time", owner).to_numpy(), index=pd.DatetimeIndex(values.indexes["time"]))
    return frame.set_axis(values[owner].to_numpy().astype(str), axis="columns").resample("15min")


def _melted(wide: pd.DataFrame, item: str, value: str, zone: str) -> pd.DataFrame:
    """Long table of a wide one over UTC times."""
    long = wide.rename_axis("time_utc").reset_index().melt("time_utc", var_name=item, value_name=value)
    long.insert(1, "time_local", to_local(pd.DatetimeIndex(long["time_utc"]), zone))
    return long


def settlement_table(results: StudyResults, zone: str) -> pd.DataFrame:
    """Energy and money of every settlement interval, costs positive."""
    if results.settlement.empty:
        return pd.DataFrame()
    return with_local_times(plain(results.settlement.rename_axis("time")), zone)


def finding_table(results: StudyResults) -> pd.DataFrame:
    """Findings of all stages, worst first."""
    columns = ["severity", "code", "where", "what", "expected", "got", "do"]
    table = pd.DataFrame([asdict(finding) for finding in results.findings], columns=columns)
    rank = table["severity"].map({"error": 0, "warning": 1, "info": 2})
    return table.loc[rank.sort_values(kind="stable").index].reset_index(drop=True)


def series_table(series: xr.Dataset | None, name: str, zone: str, *, studied: pd.Index) -> pd.DataFrame:
    """One series of prices or weather at the studied times; `kind` says measured, estimated or assumed."""
    if series is None:
        return pd.DataFrame()
    series = series.sel(time=series.indexes["time"].isin(studied))
    table = timed({name: series[name].to_numpy()}, series, zone)
    return table.assign(kind=str(series.attrs.get("kind", series[name].attrs.get("kind", "measured"))))


def bus_table(results: StudyResults) -> pd.DataFrame:
    """Buses with planning limits and the place on the map, given by the network or computed."""
    buses = results.twin.buses.rename_axis("bus")
    return place_buses(buses, results.twin.branches).reset_index()


def _quantiles_of(results: StudyResults) -> tuple[float, ...]:
    return tuple(float(q) for q in results.scenario["forecast"]["quantiles"])


def _percent_word(quantile: float) -> str:
    """0.05 -> `p05`, 0.5 -> `p50`, 0.975 -> `p97_5`.

    >>> _percent_word(0.05), _percent_word(0.975)
    ('p05', 'p97_5')
    """
    whole, _, rest = f"{100 * quantile:.4f}".rstrip("0").partition(".")
    return f"p{int(whole):02d}" + (f"_{rest}" if rest else "")
