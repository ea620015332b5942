"""One table of every variable: title, unit, dimensions, sign and meaning.

Checks, table headers, axis labels and the documentation page come from here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One entry of the nomenclature."""

    title: str
    unit: str
    dims: tuple[str, ...]
    meaning: str


PATH_TIME_BUS = ("path", "time", "bus")
PATH_TIME_BRANCH = ("path", "time", "branch")
PATH_TIME = ("path", "time")
SENSITIVITY_BUS = ("path", "time", "bus", "at_bus")
SENSITIVITY_BRANCH = ("path", "time", "branch", "at_bus")
TIME_ASSET = ("time", "asset")
SCENARIO_TIME = ("scenario", "time")

VARIABLES: dict[str, Variable] = {
    "p_mw": Variable("active power", "MW", ("path", "time", "asset"), "consumption positive, feed-in negative"),
    "q_mvar": Variable("reactive power", "Mvar", ("path", "time", "asset"), "inductive consumption positive"),
    "p_quantile_mw": Variable(
        "active power quantile",
        "MW",
        ("quantile", "time", "asset"),
        "quantile of the signed value, consumption positive",
    ),
    "p_mean_mw": Variable("mean active power", "MW", TIME_ASSET, "mean of the forecast paths"),
    "p_naive_mw": Variable("seasonal naive active power", "MW", TIME_ASSET, "the value a week or a day before"),
    "quality": Variable("quality code", "1", TIME_ASSET, "see QUALITY"),
    "e_mwh": Variable("stored energy", "MWh", TIME_ASSET, "at the end of the interval"),
    "vm_pu": Variable("voltage magnitude", "pu", PATH_TIME_BUS, "relative to the nominal voltage of the bus"),
    "va_degree": Variable("voltage angle", "degree", PATH_TIME_BUS, "relative to the slack"),
    "loading_percent": Variable("loading", "%", PATH_TIME_BRANCH, "100 at the rating; by current"),
    "loading_by_power_percent": Variable(
        "loading by apparent power", "%", PATH_TIME_BRANCH, "100 at the rating; of transformers only"
    ),
    "q_held_mvar": Variable(
        "reactive power of voltage control", "Mvar", ("path", "time", "generator"), "generation positive, by bus"
    ),
    "i_ka": Variable("current", "kA", PATH_TIME_BRANCH, "at the more loaded end"),
    "p_loss_mw": Variable("active losses", "MW", PATH_TIME_BRANCH, "sum of both ends"),
    "p_branch_mw": Variable("active power flow", "MW", PATH_TIME_BRANCH, "into the branch at its from or hv side"),
    "q_branch_mvar": Variable(
        "reactive power flow", "Mvar", PATH_TIME_BRANCH, "into the branch at its from or hv side"
    ),
    "p_slack_mw": Variable("power from the upstream network", "MW", PATH_TIME, "import positive"),
    "q_slack_mvar": Variable("reactive power from the upstream network", "Mvar", PATH_TIME, "import positive"),
    "status": Variable("solver status", "1", PATH_TIME, "0 converged, 1 diverged, 2 input not finite"),
    "iterations": Variable("iterations", "1", PATH_TIME, "of the chord method"),
    "newton_iterations": Variable("Newton iterations", "1", PATH_TIME, "of the rescue by Newton's method"),
    "mismatch_mva": Variable("largest power mismatch", "MVA", PATH_TIME, "of all buses, also without a solution"),
    "worst_bus": Variable("bus of the largest mismatch", "1", PATH_TIME, "empty where the step is solved"),
    "vm_min_pu": Variable("lowest voltage", "pu", ("bus",), "of all paths and steps"),
    "vm_mean_pu": Variable("mean voltage", "pu", ("bus",), "over all paths and steps"),
    "vm_max_pu": Variable("highest voltage", "pu", ("bus",), "of all paths and steps"),
    "vm_percentile_pu": Variable("voltage percentile", "pu", ("percentile", "bus"), "over all paths and steps"),
    "time_of_vm_min": Variable("time of the lowest voltage", "1", ("bus",), "start of the interval, UTC"),
    "time_of_vm_max": Variable("time of the highest voltage", "1", ("bus",), "start of the interval, UTC"),
    "under_voltage_h": Variable("hours of low voltage", "h", ("bus",), "below the limit of the bus"),
    "over_voltage_h": Variable("hours of high voltage", "h", ("bus",), "above the limit of the bus"),
    "loading_mean_percent": Variable("mean loading", "%", ("branch",), "over all paths and steps"),
    "loading_max_percent": Variable("highest loading", "%", ("branch",), "of all paths and steps"),
    "loading_percentile_percent": Variable(
        "loading percentile", "%", ("percentile", "branch"), "over all paths and steps"
    ),
    "time_of_loading_max": Variable("time of the highest loading", "1", ("branch",), "start of the interval, UTC"),
    "overload_h": Variable("hours of overload", "h", ("branch",), "above the limit of the branch"),
    "overload_mvah": Variable("energy of overload", "MVAh", ("branch",), "apparent energy beyond the limit"),
    "e_loss_mwh": Variable("energy lost", "MWh", ("branch",), "over all paths and steps"),
    "vm_pu_per_mw": Variable("voltage by active power", "pu/MW", SENSITIVITY_BUS, "by consumption"),
    "vm_pu_per_mvar": Variable("voltage by reactive power", "pu/Mvar", SENSITIVITY_BUS, "by consumption"),
    "i_ka_per_mw": Variable("current by active power", "kA/MW", SENSITIVITY_BRANCH, "by consumption"),
    "i_ka_per_mvar": Variable("current by reactive power", "kA/Mvar", SENSITIVITY_BRANCH, "by consumption"),
    "p_branch_mw_per_mw": Variable("flow by active power", "MW/MW", SENSITIVITY_BRANCH, "by consumption"),
    "p_branch_mw_per_mvar": Variable("flow by reactive power", "MW/Mvar", SENSITIVITY_BRANCH, "by consumption"),
    "marginal_loss": Variable("marginal losses", "MW/MW", ("time", "bus"), "losses per energy more consumed at a bus"),
    "price_eur_per_mwh": Variable("price", "EUR/MWh", ("time",), "day-ahead, may be negative"),
    "f_hz": Variable("frequency", "Hz", SCENARIO_TIME, "mean of the settlement period"),
    "f_min_hz": Variable("lowest frequency", "Hz", SCENARIO_TIME, "of the steps in the settlement period"),
    "f_max_hz": Variable("highest frequency", "Hz", SCENARIO_TIME, "of the steps in the settlement period"),
    "p_activation_mw": Variable(
        "activated reserve", "MW", (*SCENARIO_TIME, "activation"), "injection positive, so downward is negative"
    ),
    "soc_percent": Variable("state of charge", "%", (*SCENARIO_TIME, "store"), "at the end of the settlement period"),
    "p_programme_mw": Variable("programme", "MW", ("time",), "announced a day ahead, consumption positive"),
    "imbalance_mwh": Variable("imbalance of the network", "MWh", SCENARIO_TIME, "metered minus programme"),
    "system_imbalance_mwh": Variable("imbalance of the control area", "MWh", SCENARIO_TIME, "deficit positive"),
    "imbalance_price_eur_per_mwh": Variable("imbalance price", "EUR/MWh", SCENARIO_TIME, "single, may be negative"),
    "imbalance_cost_eur": Variable("imbalance cost", "EUR", SCENARIO_TIME, "paid by the network, negative if received"),
    "imbalance_premium_eur": Variable(
        "imbalance cost beside the day-ahead price", "EUR", SCENARIO_TIME, "(price - day-ahead price) x imbalance"
    ),
    "temperature_celsius": Variable("outdoor temperature", "°C", ("time",), "mean over the interval"),
}
"""Variable name in datasets -> its entry."""

QUALITY: dict[int, str] = {0: "measured", 1: "substituted", 2: "estimated", 3: "forecast", 4: "pseudo"}
"""Meaning of the int8 quality codes (CF flag meanings)."""

ASSET_KINDS: dict[str, str] = {
    "household": "household load",
    "commercial": "commercial load",
    "agricultural": "agricultural load",
    "load": "other load",
    "electric_car": "electric car charging point",
    "heat_pump": "heat pump",
    "pv": "photovoltaic system",
    "wind": "wind turbine",
    "generator": "other generator",
    "battery": "battery storage",
    "data_centre": "data centre",
    "computing_job": "batch computing job",
}
"""Kinds of assets and their names in reports."""


def attrs_of(name: str) -> dict[str, str]:
    """Dataset attributes (`units`, `long_name`) of a variable."""
    variable = VARIABLES[name]
    return {"units": variable.unit, "long_name": variable.title, "description": variable.meaning}
