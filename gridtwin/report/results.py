"""What one study produced, as the report takes it over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from gridtwin.errors import Finding

if TYPE_CHECKING:
    from gridtwin.grid.twin import GridTwin

CASES: dict[str, str] = {
    "forecast": "Forecast, no flexibility",
    "forecast_scheduled": "Forecast, with schedule",
    "realised": "What happened, no flexibility",
    "realised_scheduled": "What happened, with schedule and balancing",
}
"""Cases of power flow and their names for people, in the order of every table and figure."""


def ordered_cases(cases: Iterable[str]) -> list[str]:
    """Cases in the order of `CASES`; others follow as they come."""
    there = list(dict.fromkeys(cases))
    return [case for case in CASES if case in there] + [case for case in there if case not in CASES]


def agreed_confidence(scenario: Mapping[str, Any]) -> float:
    """Share of the paths of a day in which all limits must hold all day after scheduling. [-]"""
    return float(scenario.get("flexibility", {}).get("confidence", 0.95))


def price_kind(prices: pd.DataFrame) -> str:
    """Nodal prices and gains are no better than the day-ahead prices under them; a flat price is assumed."""
    return "assumed" if prices.empty or "assumed" in set(prices["kind"]) else "estimated"


@dataclass(frozen=True)
class StudyResults:
    """Everything that tables and page are made of; `study.py` fills it.

    Series keep the sign and units of the stages: consumption positive, MW and
    MWh. What was not asked for is None or empty, never a placeholder.
    """

    name: str
    """Name of the scenario folder."""
    scenario: Mapping[str, Any]
    """The scenario as plain values (`model_dump(mode="json")`)."""
    twin: GridTwin
    """The network with assets, limits and rules."""
    forecast: xr.Dataset
    """`p_mw` (path, time, asset), `p_mean_mw`, `p_naive_mw` (time, asset), `issue_time`."""
    realised: xr.Dataset
    """Profiles of what happened without flexibility, (time, asset)."""
    power_flows: Mapping[str, xr.Dataset]
    """Power flow by case, keys of `CASES`."""
    congestions: pd.DataFrame
    """Congestions of all cases; the case in a column or in the first index level."""
    scores: pd.DataFrame
    """Forecast scores."""
    schedule: xr.Dataset | None = None
    """`p_mw`, `p_base_mw`, `e_mwh`, `reason` (time, asset) of the flexible assets."""
    unmet: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Wishes that the schedule leaves unmet, with amount and price."""
    certificate: Mapping[str, Any] = field(default_factory=dict)
    """What the AC check of the schedule found."""
    nodal_prices: xr.Dataset | None = None
    """`price_eur_per_mwh` (time, bus) and its parts `energy, congestion, voltage, losses`; None without a plan."""
    device_settlement: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What each flexible device pays and gains at the nodal prices; one row per device and day."""
    curtailment: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What each system that could relieve a limit loses, by day and rule, with Jain's index."""
    curtailment_log: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Who was curtailed in each event, by which rule and why."""
    causes: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Why the schedule misses wishes, in words; one row per missed wish and cause."""
    flexibility_needs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What to ask for so that the limits hold in the forecast; one row per limit and window."""
    balancing: xr.Dataset | None = None
    """Deviation, activation and what stays unbalanced, on the fine time axis."""
    settlement: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Energy and money of balancing, index: start of each settlement interval."""
    balancing_totals: Mapping[str, Any] = field(default_factory=dict)
    """Sums of balancing over the study."""
    area: xr.Dataset | None = None
    """The control area in every forecast path and as it came, see `AreaDay.dataset`."""
    area_costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Cost of the network's imbalance there, one row per path, and as it came."""
    area_accounts: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What every party and provider of the area received over the study."""
    actual: xr.Dataset | None = None
    """Profiles of what happened with schedule and balancing, (time, asset)."""
    unmet_realised: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Wishes that were left unmet in real time, with amount and price."""
    prices: xr.Dataset | None = None
    """`price_eur_per_mwh` (time); attrs `kind`."""
    weather: xr.Dataset | None = None
    """`temperature_celsius` (time); attrs `kind`."""
    connections: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Answers to connection requests."""
    data_centres: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What each data centre does to the network, see `find_data_centre_impact`."""
    data_centre_jobs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What each batch job took, missed, moved and earned."""
    observation: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Model against the measurement at the feeder head."""
    findings: Sequence[Finding] = ()
    """Every finding of every stage."""
    data_quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Share of each quality code per asset."""
    energy: Mapping[str, Any] = field(default_factory=dict)
    """Energy statement of the run: kWh as an interval, with its method."""
    ledger: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Energy by stage."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Wall time by stage. [s]"""
    input_hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every input file by its name."""
