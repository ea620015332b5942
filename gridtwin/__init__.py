"""gridtwin: the twin of a distribution network, from forecast to certified flexibility.

>>> import gridtwin as gt
>>> net = gt.read_network("pandapower:create_cigre_network_lv")

Every public name is loaded when it is first used, so that importing the package
costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "apply_schedule": "operate.dispatch",
    "backtest": "forecast.backtest",
    "build_hierarchy": "forecast.hierarchy",
    "build_snapshot": "grid.snapshot",
    "build_twin": "grid.twin",
    "certify_schedule": "optimize.certificate",
    "aggregate_fleet": "optimize.fleet",
    "check_connections": "operate.connection",
    "cheapest_fleet_profile": "optimize.fleet",
    "choose_model": "report.forecast_money",
    "explain_infeasibility": "optimize.infeasibility",
    "find_congestions": "operate.congestion",
    "find_divergence_causes": "operate.divergence",
    "find_flexibility_needs": "optimize.flexibility_needs",
    "find_parents": "grid.parent_map",
    "forecast": "forecast.day_ahead",
    "forecast_by_weather_years": "forecast.weather_scenarios",
    "GridTwin": "grid.twin",
    "GridtwinError": "errors",
    "measure_energy": "ai_energy.ledger",
    "optimize_flexibility": "optimize.flexibility",
    "plan_devices": "optimize.plan_devices",
    "read_control_rules": "data.control_rules",
    "read_network": "grid.network_files",
    "read_prices": "data.series_file",
    "read_profiles": "grid.network_files",
    "read_rules": "data.rules",
    "read_run": "report.run_folder",
    "read_scenario": "scenario_file",
    "read_simbench_shapes": "grid.simbench",
    "read_weather": "data.series_file",
    "reconcile": "forecast.reconcile",
    "run_area_control": "operate.area_control",
    "run_balancing": "operate.balancing",
    "run_intraday": "operate.intraday",
    "run_power_flow": "operate.power_flow",
    "run_power_flow_statistics": "operate.statistics",
    "run_sensitivities": "operate.sensitivity",
    "run_study": "study",
    "Scenario": "scenario",
    "score_congestion": "operate.congestion_scores",
    "score_forecast": "forecast.scores",
    "settle_parties": "operate.party_settlement",
    "split_net_load": "forecast.net_load",
    "TimeAxis": "time_axis",
    "value_forecasts": "report.forecast_money",
    "write_report": "report.run_folder",
    "write_run": "report.run_folder",
}

__all__ = sorted([*_HOMES, "__version__"], key=str.lower)


def __getattr__(name: str) -> Any:
    """Load a public name from its home at first use."""
    if name not in _HOMES:
        raise AttributeError(f"gridtwin has no name {name!r}; public names: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"gridtwin.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
