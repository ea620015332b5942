"""What the computing was worth beside what it took: two ledgers that are never netted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.ai_energy.forecast_value import SavingsLedger, forecast_skill
from gridtwin.ai_energy.quantity import Quantity, exact, missing
from gridtwin.data.profiles import axis_of
from gridtwin.report.results import StudyResults

COLUMNS = ["what", "value", "unit", "p2_5", "p97_5", "kind", "boundary", "how"]
COUNTERFACTUAL = "the same realised profiles with every flexible device doing what it would do unscheduled"
KWH_PER_MWH = 1000.0


def energy_value_table(results: StudyResults) -> pd.DataFrame:
    """Energy per forecast, skill per joule, and apart from both what the schedule saved in the network.

    Returns
    -------
    DataFrame
        Columns `what, value, unit, p2_5, p97_5, kind, boundary, how`; a missing value is NaN and says why.
    """
    rows = [_row(what, quantity) for what, quantity in (*_of_forecast(results), *_of_network(results))]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(what: str, value: Quantity) -> tuple[object, ...]:
    low, middle, high = (np.nan if end is None else end for end in value.ends)
    return what, middle, value.unit, low, high, value.kind, value.boundary or "", value.method


def _of_forecast(results: StudyResults) -> Iterator[tuple[str, Quantity]]:
    """What a forecast of one asset and day takes, and what skill it brings for that."""
    spent = forecast_energy(results, forecasts_of(results.forecast))
    yield "energy per forecast of one asset and day, fit and calibration included", spent
    total = results.scores[results.scores["level"] == "total"] if len(results.scores) else results.scores
    if total.empty or not total["mae_naive_mw"].iloc[0] > 0:
        yield "skill of the sum of all assets", missing("1", reason="nothing was scored")
        return
    skill = forecast_skill(float(total["mae_mw"].iloc[0]), float(total["mae_naive_mw"].iloc[0]))
    method = "share of the error of the seasonal naive forecast that is taken away, mean absolute error"
    yield "skill of the sum of all assets", exact(skill, "1", kind="calculated", method=method)
    if spent.p50 and spent.p2_5 and spent.p97_5:
        each = {"p2_5": spent.p97_5, "p50": spent.p50, "p97_5": spent.p2_5}
        ends = dict(zip(each, sorted(skill / joules for joules in each.values()), strict=True))
        yield (
            "skill per joule of a forecast",
            Quantity(
                unit="1/J",
                kind=spent.kind,
                method="skill of the sum by energy per forecast",
                boundary=spent.boundary,
                **ends,
            ),
        )


def forecasts_of(forecast: xr.Dataset) -> int:
    """Forecasts of one asset and local day. [1]"""
    issued = np.unique(forecast["issue_time"].to_numpy()) if "issue_time" in forecast.coords else np.zeros(1)
    return int(forecast.sizes["asset"] * len(issued))


def forecast_energy(results: StudyResults, forecasts: int) -> Quantity:
    """Energy of the forecast stage by the number of its forecasts, at the boundary of the study's ledger. [J]"""
    ledger = results.ledger
    stage = ledger[ledger["step"] == "forecast"] if len(ledger) else ledger
    if stage.empty or stage["joules_p50"].isna().any() or not forecasts:
        return missing("J", reason="the ledger has no energy of the forecast stage")
    row = stage.iloc[0]
    ends = {f"p{end}": float(row[f"joules_p{end}"]) / forecasts for end in ("2_5", "50", "97_5")}
    boundary = results.energy.get("boundary")
    return Quantity(unit="J", kind=row["kind"], method=str(row["method"]), boundary=boundary, **ends)


def _of_network(results: StudyResults) -> Iterator[tuple[str, Quantity]]:
    """What the schedule changed in the network on the realised days."""
    saved = network_savings(results)
    if saved is not None:
        yield "losses saved in the network, negative: more were lost", saved.saved


def network_savings(results: StudyResults) -> SavingsLedger | None:
    """Losses of the realised days without schedule less those with it; None where one of the two was not computed."""
    flows = [results.power_flows.get(case) for case in ("realised", "realised_scheduled")]
    if any(flow is None or "p_loss_mw" not in flow or int(flow["status"].max()) for flow in flows):
        return None
    hours = axis_of(results.realised).hours_per_step
    without, scheduled = (float(flow["p_loss_mw"].sum()) * hours * KWH_PER_MWH for flow in flows if flow is not None)
    method = f"AC power flow of both: {without:.2f} kWh lost without the schedule, {scheduled:.2f} kWh with it"
    saved = exact(without - scheduled, "kWh", kind="calculated", method=f"{method}; against {COUNTERFACTUAL}",
                  boundary="system")  # fmt: skip
    return SavingsLedger(results.name, saved, COUNTERFACTUAL, "no interval: one realisation, two power flows")
