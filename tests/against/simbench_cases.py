"""Days on SimBench's networks for 2034 with more cars, heat pumps, batteries and PV, each with settings of its own."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.scenario import FeeWindow, Flexibility, Growth
from gridtwin.time_axis import TimeAxis

WINTER, SPRING, SUMMER = dt.date(2016, 1, 19), dt.date(2016, 4, 12), dt.date(2016, 6, 23)


def grow(cars: int = 0, heat_pumps: int = 0, batteries: int = 0, pv: int = 0, *, kw_pv: float = 15.0) -> list[Growth]:
    entries = {
        "electric_car": (cars, 11.0, 14.0),
        "heat_pump": (heat_pumps, 5.0, 0.0),
        "battery": (batteries, 8.0, 14.0),
        "pv": (pv, kw_pv, 0.0),
    }
    return [
        Growth(kind=kind, count=count, kw=kw, kwh=kwh, flexible_share=0.8 if kind == "electric_car" else 1.0)
        for kind, (count, kw, kwh) in entries.items()
        if count
    ]


@dataclass(frozen=True)
class Case:
    code: str
    day: dt.date
    seed: int
    growth: list[Growth]
    settings: dict[str, Any] = field(default_factory=dict)
    meshed: bool = False
    rules: str = "lv_planning"
    paths: int = 5

    @property
    def flexibility(self) -> Flexibility:
        return Flexibility(**{"confidence": 0.8, **self.settings})

    @property
    def axis(self) -> TimeAxis:
        return TimeAxis.of_days(self.day, 1, "Europe/Berlin")

    @property
    def prices(self) -> xr.Dataset:
        """A random day with two peaks; below 0 around noon in summer, and in two random hours."""
        random, axis = np.random.default_rng(self.seed), self.axis
        hour = np.asarray(axis.local_times.hour, dtype=float)
        noon = 150 if self.day == SUMMER else 60
        shape = 90 + 60 * np.exp(-((hour - 19) ** 2) / 6) + 40 * np.exp(-((hour - 8) ** 2) / 4)
        level = shape - noon * np.exp(-((hour - 13) ** 2) / 8) + random.normal(0, 15, 24)[hour.astype(int)]
        level[np.isin(hour, random.choice(24, 2, replace=False))] = -40.0
        return xr.Dataset({"price_eur_per_mwh": ("time", level)}, coords={"time": axis.times})

    @property
    def temperature(self) -> xr.Dataset:
        """Coldest at 3 h UTC; a mean of -4 °C in winter, 8 °C in spring, 19 °C in summer."""
        axis = self.axis
        mean = {WINTER: -4.0, SPRING: 8.0, SUMMER: 19.0}[self.day]
        celsius = mean - 3 * np.cos((axis.times.hour.to_numpy() - 3) / 24 * 2 * np.pi)
        return xr.Dataset({"temperature_celsius": ("time", celsius)}, coords={"time": axis.times})

    def forecast(self, twin: GridTwin, profiles: xr.Dataset) -> xr.Dataset:
        """Paths that scale all consumption by one factor and all feed-in by another; the first is the profile."""
        random = np.random.default_rng(self.seed + 1000)
        load, sun = 1 + random.uniform(-0.15, 0.15, self.paths), 1 + random.uniform(-0.25, 0.15, self.paths)
        load[0] = sun[0] = 1.0
        today = profiles.sel(time=self.axis.times)
        factor = np.where(today["p_mw"] > 0, load[:, None, None], sun[:, None, None])
        p_mw, q_mvar = factor * today["p_mw"].to_numpy(), factor * today["q_mvar"].to_numpy()
        dims = ("path", "time", "asset")
        values = {"p_mw": (dims, p_mw), "q_mvar": (dims, q_mvar), "p_mean_mw": (dims[1:], p_mw.mean(axis=0))}
        kept = {name: today.coords[name] for name in ("time", "asset", "kind")}
        attrs = {"step": self.axis.step.isoformat(), "zone": self.axis.zone}
        return xr.Dataset(values, coords={"path": np.arange(self.paths), **kept}, attrs=attrs)


NIGHT_FEE = FeeWindow(begin=dt.time(22), end=dt.time(6), eur_per_kwh=0.02)
EVENING_FEE = FeeWindow(begin=dt.time(17), end=dt.time(21), eur_per_kwh=0.25)
PARKS = [
    Growth(kind="pv", count=5, kw=5000.0),
    Growth(kind="battery", count=3, kw=1000.0, kwh=2500.0),
    Growth(kind="heat_pump", count=4, kw=400.0),
]
CASES = {
    "rural1 summer": Case(
        "1-LV-rural1--2-sw", SUMMER, 11, grow(cars=6, batteries=4, pv=12), {"vehicle_to_grid": True}
    ),
    "rural1, feed-in not curtailed": Case(
        "1-LV-rural1--2-sw", SUMMER, 20, grow(cars=4, batteries=3, pv=12),
        {"kinds": ("electric_car", "heat_pump", "battery")},
    ),
    "rural1 winter": Case(
        "1-LV-rural1--2-sw", WINTER, 12, grow(cars=16, heat_pumps=12, batteries=3), {"smallest_charging_share": 0.38}
    ),
    "rural2 winter": Case(
        "1-LV-rural2--2-sw", WINTER, 13, grow(cars=20, heat_pumps=10, batteries=5),
        {"vehicle_to_grid": True, "grid_fee_eur_per_kwh": 0.08, "grid_fee_window": (NIGHT_FEE, EVENING_FEE)},
    ),
    "rural2 spring": Case(
        "1-LV-rural2--2-sw", SPRING, 14, grow(cars=10, batteries=8, pv=14),
        {"export_fee_eur_per_kwh": 0.05, "risk_weight": 0.5, "curtailment_price_eur_per_kwh": 0.02},
    ),
    "semiurb4 summer": Case(
        "1-LV-semiurb4--2-sw", SUMMER, 15, grow(cars=10, batteries=5, pv=25),
        {"risk_weight": 1.0, "grid_fee_eur_per_kwh": 0.1, "export_fee_eur_per_kwh": 0.08},
    ),
    "semiurb4 winter": Case(
        "1-LV-semiurb4--2-sw", WINTER, 16, grow(cars=35, heat_pumps=20, batteries=4),
        {"vehicle_to_grid": True, "smallest_charging_share": 0.19, "peak_price_eur_per_kw": 0.5},
    ),
    "urban6 spring": Case(
        "1-LV-urban6--2-sw", SPRING, 17, grow(cars=40, heat_pumps=10, batteries=8, pv=30),
        {"smallest_charging_share": 0.38, "grid_fee_eur_per_kwh": 0.05, "grid_fee_window": (EVENING_FEE,)},
    ),
    "MV rural with wind": Case("1-MV-rural--2-sw", SUMMER, 18, PARKS, {"risk_weight": 0.3}, rules="mv_planning"),
    "MV rural, meshed": Case(
        "1-MV-rural--2-sw", SPRING, 19, PARKS, {"export_fee_eur_per_kwh": 0.02}, meshed=True, rules="mv_planning"
    ),
}  # fmt: skip
SLOW = {"rural1 winter", "MV rural with wind"}
"""About 25 s and more on two cores."""


def draw_case(seed: int) -> Case:
    """A small network, a day, growth and settings, all by the seed."""
    random = np.random.default_rng(seed)
    code, size = [("1-LV-rural1--2-sw", 1), ("1-LV-rural2--2-sw", 1), ("1-LV-semiurb4--2-sw", 2)][random.integers(3)]
    day = (WINTER, SPRING, SUMMER)[random.integers(3)]
    cars, pumps, batteries, pv = (int(n) for n in size * random.integers((3, 2, 2, 2), (15, 10, 6, 14)))
    settings = {
        "vehicle_to_grid": bool(random.integers(2)),
        "smallest_charging_share": float(random.choice([0.0, 0.19, 0.38])),
        "export_fee_eur_per_kwh": float(random.choice([0.0, 0.05])),
        "grid_fee_eur_per_kwh": float(random.choice([0.0, 0.08])),
        "grid_fee_window": tuple(window for window in (NIGHT_FEE, EVENING_FEE) if random.integers(2)),
        "risk_weight": float(random.choice([0.0, 0.5])),
        "curtailment_price_eur_per_kwh": float(random.choice([0.0, 0.15])),
        "peak_price_eur_per_kw": float(random.choice([0.0, 0.3])),
        "confidence": float(random.choice([0.6, 0.8, 0.99])),
    }
    return Case(code, day, seed, grow(cars, pumps, batteries, pv), settings)


DRAWN = {f"drawn {seed}": draw_case(seed) for seed in (101, 102, 103, 104, 105, 106)}
