"""A small study of a radial feeder, calculated by hand-sized arithmetic: no solver, no network library.

MV -- trafo -- LV -- A -- B      PV at B, cars at A and C, battery at B,
                |                heat pump at C, households everywhere
                +--- C -- D
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.ai_energy.statement import EnergyStatement
from gridtwin.errors import Finding
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, write_run
from gridtwin.time_axis import TimeAxis

BUSES = ["MV", "LV", "A", "B", "C", "D & <E>"]
ENDS = {
    "trafo 1": ("MV", "LV"),
    "line 1": ("LV", "A"),
    "line 2": ("A", "B"),
    "line 3": ("LV", "C"),
    "line 4": ("C", "D & <E>"),
}
DOWNSTREAM = {
    "trafo 1": ["LV", "A", "B", "C", "D & <E>"],
    "line 1": ["A", "B"],
    "line 2": ["B"],
    "line 3": ["C", "D & <E>"],
    "line 4": ["D & <E>"],
}
RATED_MVA = {"trafo 1": 0.10, "line 1": 0.09, "line 2": 0.06, "line 3": 0.08, "line 4": 0.05}
DROP_PU_PER_MW = {"trafo 1": 0.10, "line 1": 0.35, "line 2": 0.45, "line 3": 0.35, "line 4": 0.45}
ASSETS = [
    ("house A", "load", "A", "household", 0.012, False, np.nan),
    ("house B", "load", "B", "household", 0.014, False, np.nan),
    ("house C", "load", "C", "household", 0.012, False, np.nan),
    ("house D", "load", "D & <E>", "household", 0.010, False, np.nan),
    ("=car A", "load", "A", "electric_car", 0.022, True, 0.02),
    ("car C", "load", "C", "electric_car", 0.022, True, 0.02),
    ("heat pump C", "load", "C", "heat_pump", 0.010, True, np.nan),
    ("pv B", "sgen", "B", "pv", 0.030, True, np.nan),
    ("battery B", "storage", "B", "battery", 0.015, True, 0.03),
]

CONGESTION_TYPES = dict.fromkeys(
    ["asset", "element", "quantity", "rule", "unit", "direction", "contributors"], "object"
) | dict.fromkeys(
    ["limit", "probability", "worst_value", "hours_over", "energy_over_mwh", "events", "longest_event_h"], "float64"
)  # fmt: skip
CONGESTION_TYPES |= {"worst_time": "datetime64[ns]"} | dict.fromkeys(["p50", "p95", "p99", "p100"], "float64")
"""Columns of `find_congestions`; a table without rows has them too."""


def make_twin() -> SimpleNamespace:
    columns = ["asset", "element", "bus", "kind", "p_rated_mw", "flexible", "e_rated_mwh"]
    assets = pd.DataFrame(ASSETS, columns=columns).set_index("asset")
    assets["index"] = range(len(assets))
    assets["origin"] = ["network"] * 4 + ["growth"] * 5
    buses = pd.DataFrame(
        {
            "index": range(6),
            "vn_kv": [20.0, 0.4, 0.4, 0.4, 0.4, 0.4],
            "vm_min_pu": 0.94,
            "vm_max_pu": 1.06,
            "x": [11.40, 11.40, 11.402, 11.404, 11.399, 11.397],
            "y": [53.601, 53.600, 53.5995, 53.599, 53.5992, 53.5985],
        },
        index=pd.Index(BUSES),
    )
    branches = pd.DataFrame(
        [("trafo" if name.startswith("trafo") else "line", 0, *ENDS[name], 100.0, RATED_MVA[name]) for name in ENDS],
        columns=["element", "index", "from_bus", "to_bus", "max_loading_percent", "s_rated_mva"],
        index=pd.Index(ENDS),
    )
    rules = {"name": "lv_planning", "title": "Planning limits", "source": "test", "version": "1", "note": ""}
    return SimpleNamespace(assets=assets, buses=buses, branches=branches, rules=rules, findings=())


def make_power(axis: TimeAxis, paths: int, seed: int) -> np.ndarray:
    """Plausible power of every asset, (path, time, asset), consumption positive. [MW]"""
    rng = np.random.default_rng(seed)
    hour = axis.local_times.hour + axis.local_times.minute / 60
    evening = np.exp(-(((hour - 18.5) / 2.2) ** 2)).to_numpy()
    noon = np.clip(np.cos((hour - 12.5) / 24 * 2 * np.pi * 1.6), 0, None).to_numpy() * ((hour > 7) & (hour < 18))
    shape = {
        "household": 0.2 + 0.8 * evening,
        "electric_car": evening,
        "heat_pump": 0.5 + 0.3 * evening,
        "pv": -0.8 * noon,
    }
    common = 1 + 0.22 * rng.standard_normal((paths, 1, 1))
    base = np.stack([shape.get(row[3], np.zeros(axis.length)) * row[4] for row in ASSETS], axis=-1)
    noise = 1 + 0.08 * rng.standard_normal((paths, axis.length, len(ASSETS)))
    return np.asarray(base * np.clip(common, 0.4, None) * noise)


def make_flow(axis: TimeAxis, power: np.ndarray) -> xr.Dataset:
    """Lossless radial flow with linear voltage drop: enough to have consistent figures."""
    at_bus = {bus: power[..., [row[2] == bus for row in ASSETS]].sum(-1) for bus in BUSES}
    through = {name: sum(at_bus[bus] for bus in below) for name, below in DOWNSTREAM.items()}
    voltage = {"MV": np.full(power.shape[:2], 1.02)}
    for name, (upper, lower) in ENDS.items():
        voltage[lower] = voltage[upper] - DROP_PU_PER_MW[name] * through[name]
    stack = lambda parts: np.stack(list(parts), axis=-1)  # noqa: E731
    loading = stack(100 * np.abs(through[name]) / RATED_MVA[name] for name in ENDS)
    return xr.Dataset(
        {
            "vm_pu": (("path", "time", "bus"), stack(voltage[bus] for bus in BUSES)),
            "loading_percent": (("path", "time", "branch"), loading),
            "p_loss_mw": (("path", "time", "branch"), 1e-4 * loading / 100),
            "p_slack_mw": (("path", "time"), through["trafo 1"]),
            "status": (("path", "time"), np.zeros(power.shape[:2], dtype=np.int8)),
        },
        coords={"path": range(len(power)), "time": axis.times, "bus": BUSES, "branch": list(ENDS)},
        attrs={"unsupplied_buses": []},
    )


def congestions_of(flow: xr.Dataset) -> pd.DataFrame:
    """Overloads of the feeder by counting."""
    rows = []
    for branch in ENDS:
        loading = flow["loading_percent"].sel(branch=branch).to_numpy()
        if (loading > 100).any():
            step = int(np.quantile(loading, 0.95, axis=0).argmax())
            rows.append(
                {
                    "asset": branch, "element": "trafo" if "trafo" in branch else "line", "quantity": "loading_percent",
                    "rule": "thermal rating", "limit": 100.0, "unit": "%", "direction": "load",
                    "probability": float((loading > 100).any(axis=1).mean()), "worst_value": float(loading.max()),
                    "worst_time": pd.Timestamp(flow["time"].to_numpy()[step]),
                    "hours_over": float((loading > 100).sum(axis=1).mean() / 4),
                    "energy_over_mwh": float(np.clip(loading - 100, 0, None).sum(axis=1).mean() / 4e5),
                    "events": 1, "longest_event_h": 1.0, "p50": 80.0, "p95": 101.0, "p99": 110.0, "p100": 120.0,
                    "contributors": "car C 41 %, heat pump C 12 %",
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CONGESTION_TYPES)).astype(CONGESTION_TYPES)


def make_balancing(
    axis: TimeAxis, coords: dict, real: np.ndarray, base: np.ndarray, shift: np.ndarray
) -> SimpleNamespace:
    """Half of every deviation is covered by the battery, the rest stays."""
    deviation = np.repeat((real - base).sum(axis=1), 3)
    names = ("p_planned_mw", "p_deviation_mw", "p_battery_mw", "p_reserve_mw", "p_residual_mw")
    powers = (np.repeat(base.sum(axis=1), 3), deviation, -0.5 * deviation, 0 * deviation, 0.5 * deviation)
    dataset = xr.Dataset(
        {name: ("time", power) for name, power in zip(names, powers, strict=True)}
        | {
            "p_cause_mw": (("time", "cause"), np.stack([0.7 * deviation, 0.3 * deviation], axis=-1)),
            "p_support_mw": (("time", "battery"), np.stack([-0.5 * deviation, 0 * deviation], axis=-1)),
            "p_activated_mw": (("time", "reserve"), 0 * deviation[:, np.newaxis]),
            "e_mwh": (("time", "battery"), np.full((len(deviation), 2), 0.01)),
        },
        coords={
            "time": pd.date_range(axis.times[0], periods=axis.length * 3, freq="5min"),
            "cause": ["inflexible", "electric_car"],
            "battery": ["battery B", "idle battery"],
            "reserve": ["bid 1"],
        },
    )
    actual = xr.Dataset({"p_mw": (("time", "asset"), real + shift)}, coords=coords)
    settlement = pd.DataFrame({"plan_mwh": base.sum(axis=1) / 4, "total_eur": base.sum(axis=1) * 20}, index=axis.times)
    totals = {"absolute_deviation_mwh": float(np.abs(deviation).sum() / 12), "total_cost_eur": float("nan")}
    totals["absolute_residual_mwh"] = totals["absolute_deviation_mwh"] / 2
    return SimpleNamespace(dataset=dataset, actual=actual, settlement=settlement, totals=totals)


def make_results(
    *, first_day: str = "2016-12-13", seed: int = 7, paths: int = 20, steps: int | None = None
) -> StudyResults:
    day = TimeAxis.of_days(pd.Timestamp(first_day).date(), 1, "Europe/Berlin")
    axis = replace(day, length=steps or day.length)
    twin, names = make_twin(), [row[0] for row in ASSETS]
    power = make_power(axis, paths, seed)
    real = make_power(axis, 1, seed + 1)
    flexible = np.array([row[5] for row in ASSETS])
    cars = np.array([row[3] == "electric_car" for row in ASSETS])
    battery = names.index("battery B")
    base = power.mean(axis=0)
    planned = base.copy()
    planned[:, cars] = base[:, cars].sum(axis=0) / axis.length
    planned[:, battery] = np.where(base.sum(axis=1) > 0.06, -0.008, 0.0)
    shift = np.where(flexible, planned - base, 0.0)
    coords = {"time": axis.times, "asset": names, "kind": ("asset", [row[3] for row in ASSETS]),
              "element": ("asset", [row[1] for row in ASSETS]), "index": ("asset", range(len(ASSETS)))}  # fmt: skip
    time_asset = ("time", "asset")
    forecast = xr.Dataset(
        {
            "p_mw": (("path", *time_asset), power),
            "q_mvar": (("path", *time_asset), 0.2 * power),
            "p_mean_mw": (time_asset, base),
            "p_naive_mw": (time_asset, np.roll(real[0], 2, axis=0)),
        },
        coords=coords
        | {"path": range(paths), "issue_time": ("time", np.repeat(axis.times[:1] - pd.Timedelta("11h"), axis.length))},
        attrs={"model": "test model", "weather": "none used", "step": "PT15M", "zone": axis.zone},
    )
    realised = xr.Dataset({"p_mw": (time_asset, real[0])}, coords=coords, attrs={"zone": axis.zone})
    schedule = xr.Dataset(
        {
            "p_mw": (time_asset, planned[:, flexible]),
            "p_base_mw": (time_asset, base[:, flexible]),
            "e_mwh": (time_asset, (0.02 - np.cumsum(-planned[:, flexible].clip(max=0), axis=0) / 40)),
            "reason": (time_asset, np.where(shift[:, flexible] < 0, "network limit", "price").astype(str)),
        },
        coords={"time": axis.times, "asset": np.array(names)[flexible]},
    )
    flows = {
        "forecast": make_flow(axis, power),
        "forecast_scheduled": make_flow(axis, power + shift),
        "realised": make_flow(axis, real),
        "realised_scheduled": make_flow(axis, real + shift),
    }
    congestions = pd.concat({case: congestions_of(flow) for case, flow in flows.items()}, names=["case"])
    unmet = pd.DataFrame(
        [("car C", "electric_car", "energy not delivered", axis.times[3], axis.times[7], 1.5, "kWh", 3.0)],
        columns=["asset", "kind", "what", "start", "end", "amount", "unit", "cost_eur"],
    )
    balancing = make_balancing(axis, coords, real[0], base, shift)
    price = 80 + 60 * np.sin(np.arange(axis.length) / 12)
    certificate = {
        "limits_hold": True, "converged": True, "rounds": 2, "confidence": 0.9, "paths": paths,
        "max_loading_violation_percent": 0.0, "max_voltage_violation_pu": 0.0, "worst_asset": "trafo 1",
        "lowest_share_holding": 0.95,
        "solves": [{"day": "2016-12-13", "round": 1, "objective_eur": 44.1}],
    }  # fmt: skip
    return StudyResults(
        name="test_feeder",
        scenario={
            "title": 'Feeder <script>alert(1)</script> & "evening"',
            "description": "A winter evening.",
            "seed": seed,
            "network": {"source": "test:feeder"},
            "time": {"zone": axis.zone, "first_day": first_day, "days": 1},
            "forecast": {"quantiles": [0.05, 0.25, 0.5, 0.75, 0.95]},
            "flexibility": {"confidence": 0.9},
            "output": {"power_flow": False},
        },
        twin=twin,  # type: ignore[arg-type]
        forecast=forecast,
        realised=realised,
        power_flows=flows,
        congestions=congestions,
        scores=pd.DataFrame(
            {"level": ["total"], "name": ["total"], "mae_mw": [0.0138], "mae_naive_mw": [0.02], "skill_percent": [31.0]}
        ),
        schedule=schedule,
        unmet=unmet,
        certificate=certificate,
        balancing=balancing.dataset,
        settlement=balancing.settlement,
        balancing_totals=balancing.totals,
        actual=balancing.actual,
        unmet_realised=unmet.assign(amount=0.5, cost_eur=1.0),
        prices=xr.Dataset(
            {"price_eur_per_mwh": ("time", price)}, coords={"time": axis.times}, attrs={"kind": "assumed"}
        ),
        connections=pd.DataFrame({"name": ["=HYPERLINK(1)"], "bus": ["A"], "fits": [False], "largest_kw": [12.0]}),
        observation=pd.DataFrame({"quantity": ["feeder head"], "rmse_kw": [2.5]}),
        findings=(
            Finding("battery profile was replaced", where="storage 'battery B'", code="GT-D07"),
            Finding("building assumed", where="heat pump C", severity="info"),
            Finding("a broken thing", where="<img src=x>", severity="error"),
        ),
        data_quality=pd.DataFrame(
            {"measured": [1.0, 0.0], "pseudo": [0.0, 1.0]}, index=pd.Index(["house A", "battery B"], name="asset")
        ),
        energy=EnergyStatement(
            job="a study",
            boundary="node",
            method="utilisation",
            kind="estimated",
            kwh_p2_5=5e-4,
            kwh_p50=1e-3,
            kwh_p97_5=2e-3,
            co2_kg_p2_5=None,
            co2_kg=None,
            co2_kg_p97_5=None,
            co2_kind="missing",
            seconds=3.2,
            cpu_seconds=3.0,
            measured_share=0.0,
            sources=("processor time",),
        ).model_dump(mode="json"),
        ledger=pd.DataFrame(
            {
                "step": ["forecast", "power flow"],
                "seconds": [3.0, 0.2],
                "joules_p2_5": [1600.0, 180.0],
                "joules_p50": [3240.0, 360.0],
                "joules_p97_5": [6400.0, 720.0],
                "kind": "estimated",
                "method": "time",
            }
        ),
        timings={"forecast": 3.0, "power flow": 0.2},
        input_hashes={"scenario.toml": "0" * 64},
    )


@pytest.fixture(scope="session")
def results() -> StudyResults:
    return make_results()


@pytest.fixture(scope="session")
def make_study() -> Callable[..., StudyResults]:
    """Study with another day, seed or number of paths."""
    return make_results


@pytest.fixture(scope="session")
def run(results: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The study of `results`, written and read again."""
    return read_run(write_run(results, tmp_path_factory.mktemp("runs") / "first"))


@pytest.fixture(scope="session")
def count_overloads() -> Callable[[xr.Dataset], pd.DataFrame]:
    """Congestions of a power flow of the feeder."""
    return congestions_of
