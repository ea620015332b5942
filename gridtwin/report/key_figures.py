"""Key figures: one row each with value, unit, and whether it was measured, estimated, assumed or calculated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import axis_of
from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.report.results import StudyResults, agreed_confidence, ordered_cases
from gridtwin.report.statistics import agreed_over_paths, mean_over_paths, share_over_paths, with_path


@dataclass(frozen=True)
class KeyFigure:
    """One row of the summary; `case` is empty where a figure belongs to the whole study."""

    name: str
    case: str
    value: float
    unit: str
    kind: str
    where: str = ""


def build_key_figures(results: StudyResults) -> pd.DataFrame:
    """Summary table: name, case, value, unit, kind, where."""
    rows = [
        *(figure for case in ordered_cases(results.power_flows) for figure in _network_figures(results, case)),
        *_flexibility_figures(results),
        *_unmet_figures(results.unmet),
        *_certificate_figures(results.certificate),
        *_number_rows("balancing: ", results.balancing_totals, money=_money_kind(results)),
        *_area_figures(results),
        *_data_centre_figures(results),
        *_energy_figures(results),
    ]
    return pd.DataFrame([asdict(row) for row in rows], columns=list(KeyFigure.__dataclass_fields__))


def read_key_figures(summary: pd.DataFrame) -> list[KeyFigure]:
    """Rows of a summary table as objects."""
    columns = [summary[name].tolist() for name in KeyFigure.__dataclass_fields__]
    return [KeyFigure(*values) for values in zip(*columns, strict=True)]


def _network_figures(results: StudyResults, case: str) -> Iterator[KeyFigure]:
    """Loading, voltage, hours over a limit, losses and upstream energy of one case."""
    flow, twin = results.power_flows[case], results.twin
    hours = _hours_per_step(flow)
    kind = "estimated" if case.startswith("forecast") else "calculated"
    loading, voltage = with_path(flow["loading_percent"]), with_path(flow["vm_pu"])
    confidence = agreed_confidence(results.scenario)
    yield _extreme("highest branch loading", loading, confidence, case=case, kind=kind, unit="%")
    yield _extreme("lowest voltage", voltage, confidence, case=case, kind=kind, unit="pu")
    yield _extreme("highest voltage", voltage, confidence, case=case, kind=kind, unit="pu")
    over = _over_limits(twin.branches, twin.buses, loading, voltage)
    # of one element in one interval: what a schedule is certified for
    highest = max(float(np.nanmax(part, initial=0.0)) for part in _risks(twin.branches, twin.buses, loading, voltage))
    yield KeyFigure("highest risk in one interval at one element", case, 100 * highest, "%", kind)
    risk = 100 * float(over.any(axis=1).mean())
    yield KeyFigure("probability of a limit violation in the study", case, risk, "%", kind)
    yield KeyFigure("hours with a limit violated", case, float(over.sum(axis=1).mean()) * hours, "h", kind)
    losses = with_path(flow["p_loss_mw"]).to_numpy()
    yield KeyFigure("losses", case, float(np.nansum(mean_over_paths(losses))) * hours, "MWh", kind)
    yield from _upstream_figures(results, flow, case, kind)


def _upstream_figures(results: StudyResults, flow: xr.Dataset, case: str, kind: str) -> Iterator[KeyFigure]:
    """Exchange with the upstream network; import positive."""
    power = with_path(flow["p_slack_mw"]).to_numpy()
    mean = mean_over_paths(power)
    hours = _hours_per_step(flow)
    peak = float(np.nanmax(agreed_over_paths(power, agreed_confidence(results.scenario))))
    yield KeyFigure("highest import from upstream", case, 1e3 * peak, "kW", kind)
    yield KeyFigure("energy from upstream", case, float(np.nansum(mean)) * hours, "MWh", kind)
    if results.prices is not None:
        price = results.prices["price_eur_per_mwh"]
        value = float(np.nansum(mean * price.sel(time=flow["time"].to_numpy()).to_numpy())) * hours
        price_kind = str(results.prices.attrs.get("kind", price.attrs.get("kind", kind)))
        weakest = "assumed" if price_kind == "assumed" else kind
        yield KeyFigure("day-ahead value of energy from upstream", case, value, "EUR", weakest)


def _hours_per_step(flow: xr.Dataset) -> float:
    times = flow["time"].to_numpy()
    return float((times[1] - times[0]) / np.timedelta64(1, "h"))


def _extreme(name: str, values: xr.DataArray, confidence: float, *, case: str, kind: str, unit: str) -> KeyFigure:
    """Worst over time and elements of what the agreed share of paths keeps to; `lowest …` looks downwards."""
    sense = -1.0 if name.startswith("lowest") else 1.0
    agreed = sense * agreed_over_paths(sense * values.to_numpy(), confidence)
    badness = np.where(np.isfinite(agreed), sense * agreed, -np.inf)
    step, item = np.unravel_index(int(badness.argmax()), agreed.shape)
    label = str(values[values.dims[-1]].to_numpy()[item])
    stamp = pd.Timestamp(values["time"].to_numpy()[step])
    return KeyFigure(name, case, float(agreed[step, item]), unit, kind, f"{label} at {stamp:%Y-%m-%d %H:%M} UTC")


def _over_limits(
    branches: pd.DataFrame, buses: pd.DataFrame, loading: xr.DataArray, voltage: xr.DataArray
) -> np.ndarray:
    """Whether anything is over a planning limit, (path, time); NaN is never over."""
    overloaded, outside = _violations(branches, buses, loading, voltage)
    return np.asarray(overloaded.any(axis=-1) | outside.any(axis=-1))


def _risks(
    branches: pd.DataFrame, buses: pd.DataFrame, loading: xr.DataArray, voltage: xr.DataArray
) -> list[np.ndarray]:
    """Share of the paths over the limit, (time, branch) and (time, bus). [-]"""
    parts = _violations(branches, buses, loading, voltage)
    return [share_over_paths(part, values.to_numpy()) for part, values in zip(parts, (loading, voltage), strict=True)]


def _violations(
    branches: pd.DataFrame, buses: pd.DataFrame, loading: xr.DataArray, voltage: xr.DataArray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a planning limit is broken, (path, time, branch) and (path, time, bus)."""
    limit = branches["max_loading_percent"].reindex(loading["branch"].to_numpy()).to_numpy(dtype=float)
    low, high = buses[["vm_min_pu", "vm_max_pu"]].reindex(voltage["bus"].to_numpy()).to_numpy(dtype=float).T
    v = voltage.to_numpy()
    outside = (v < low - VOLTAGE_TOLERANCE_PU) | (v > high + VOLTAGE_TOLERANCE_PU)
    return loading.to_numpy() > limit + LOADING_TOLERANCE_PERCENT, outside


def _flexibility_figures(results: StudyResults) -> Iterator[KeyFigure]:
    """Curtailed energy, its compensation and the wear of batteries: as planned and as it came."""
    schedule, prices = results.schedule, results.scenario.get("flexibility", {})
    if schedule is None or "curtailment_price_eur_per_kwh" not in prices:
        return
    kinds = results.twin.assets.loc[schedule["asset"].to_numpy(), "kind"].to_numpy()
    cases = {"forecast_scheduled": (schedule["p_mw"], schedule["p_base_mw"], "estimated")}
    if results.actual is not None:
        chosen = {"asset": schedule["asset"].to_numpy(), "time": schedule["time"].to_numpy()}
        actual = with_path(results.actual["p_mw"].sel(chosen)).mean("path")
        cases["realised_scheduled"] = (actual, results.realised["p_mw"].sel(chosen), "calculated")
    hours = axis_of(schedule).hours_per_step
    for case, (power, before, kind) in cases.items():
        p_mw, p_before_mw = (part.transpose("time", "asset").to_numpy() for part in (power, before))
        curtailed_mwh = hours * float(np.maximum(p_mw - p_before_mw, 0)[:, kinds == "pv"].sum())
        discharged_mwh = hours * float(np.maximum(-p_mw, 0)[:, kinds == "battery"].sum())
        compensation = 1e3 * curtailed_mwh * prices["curtailment_price_eur_per_kwh"]
        wear = 1e3 * discharged_mwh * prices["wear_price_eur_per_kwh"]
        yield KeyFigure("flexibility: curtailed energy", case, curtailed_mwh, "MWh", kind)
        yield KeyFigure("flexibility: compensation of curtailment", case, compensation, "EUR", "assumed")
        yield KeyFigure("flexibility: battery wear", case, wear, "EUR", "assumed")


def _area_figures(results: StudyResults) -> Iterator[KeyFigure]:
    """What the network's imbalance costs beside the day-ahead price in its control area: over the paths, as it came."""
    costs = results.area_costs
    if costs.empty:
        return
    paths = costs.loc[costs["case"] == "path", "imbalance_premium_eur"].to_numpy(dtype=float)
    realised = float(costs.loc[costs["case"] == "realised", "imbalance_premium_eur"].iloc[0])
    for word, quantile in (("p5", 0.05), ("p50", 0.5), ("p95", 0.95)):
        value = float(np.quantile(paths, quantile))
        yield KeyFigure(f"control area: imbalance premium, {word}", "forecast_scheduled", value, "EUR", "assumed")
    yield KeyFigure("control area: imbalance premium", "realised_scheduled", realised, "EUR", "assumed")


def _money_kind(results: StudyResults) -> str:
    """Kind of sums of money: no better than the prices behind them."""
    kinds = set() if results.prices is None else {str(results.prices.attrs.get("kind", ""))}
    return next((kind for kind in ("assumed", "estimated") if kind in kinds), "calculated")


def _unmet_figures(unmet: pd.DataFrame) -> Iterator[KeyFigure]:
    """Amount of each kind of unmet wish, and their price."""
    if not len(unmet):
        return
    for (what, unit), rows in unmet.groupby(["what", "unit"], sort=True):
        yield KeyFigure(f"unmet: {what}", "forecast_scheduled", float(rows["amount"].sum()), str(unit), "calculated")
    yield KeyFigure("price of unmet wishes", "forecast_scheduled", float(unmet["cost_eur"].sum()), "EUR", "assumed")


DATA_CENTRE_FIGURES = {
    "e_connection_mwh": ("energy at the connection", "MWh"),
    "p_peak_kw": ("peak", "kW"),
    "losses_booked_mwh": ("losses booked", "MWh"),
    "room_kw": ("room at its bus", "kW"),
    "voltage_step_percent": ("voltage step at an abort", "%"),
}
"""Column of the table of data centres -> name and unit of its key figure."""


def _data_centre_figures(results: StudyResults) -> Iterator[KeyFigure]:
    """What each site does to the network, and how many of its jobs are missed."""
    jobs = results.data_centre_jobs
    for row in results.data_centres.to_dict("records"):
        for column, (words, unit) in DATA_CENTRE_FIGURES.items():
            kind = "estimated" if column == "room_kw" else "calculated"
            yield KeyFigure(f"{row['site']}: {words}", "realised_scheduled", float(row[column]), unit, kind)
        if len(jobs):
            missed = int(((jobs["site"] == row["site"]) & (jobs["state"] == "missed")).sum())
            yield KeyFigure(f"{row['site']}: jobs missed", "forecast_scheduled", missed, "-", "calculated")


def _certificate_figures(certificate: Mapping[str, Any]) -> Iterator[KeyFigure]:
    yield from _number_rows("certificate: ", certificate, case="forecast_scheduled")


def _number_rows(
    prefix: str, values: Mapping[str, Any], *, case: str = "", money: str = "calculated"
) -> Iterator[KeyFigure]:
    """A row for every number; the unit is the last part of its name."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            continue
        words, unit = split_unit(name)
        yield KeyFigure(f"{prefix}{words}", case, float(value), unit, money if unit == "EUR" else "calculated")


UNITS = {
    "eur_per_mwh": "EUR/MWh",
    "mwh": "MWh",
    "kwh": "kWh",
    "mw": "MW",
    "kw": "kW",
    "eur": "EUR",
    "percent": "%",
    "pu": "pu",
    "seconds": "s",
    "s": "s",
    "h": "h",
    "kg": "kg",
    "g": "g",
}
"""Last part of a name -> unit for people."""


def split_unit(name: str) -> tuple[str, str]:
    """Words and unit of a name that ends in its unit.

    >>> split_unit("unbalanced_energy_mwh")
    ('unbalanced energy', 'MWh')
    """
    for suffix, unit in UNITS.items():
        if name.endswith(f"_{suffix}"):
            return name.removesuffix(f"_{suffix}").replace("_", " "), unit
    return name.replace("_", " "), "-"


def _energy_figures(results: StudyResults) -> Iterator[KeyFigure]:
    """Energy of the computing, as an interval."""
    for name in ("kwh_p2_5", "kwh_p50", "kwh_p97_5"):
        if results.energy.get(name) is not None:
            quantile = name.removeprefix("kwh_").replace("_", ".")
            yield KeyFigure(
                f"energy of this computation, {quantile}",
                "",
                float(results.energy[name]),
                "kWh",
                str(results.energy.get("kind", "estimated")),
            )
