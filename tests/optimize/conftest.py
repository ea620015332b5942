"""A network of one line, so small that schedules can be worked out by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandapower
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.charging_sessions import empty_sessions
from gridtwin.data.rules import LoadingRule, RuleSet, VoltageRule
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.optimize.flexibility import FlexibilityResult, optimize_flexibility
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

KV = 0.4
RULES = RuleSet(
    name="test",
    title="test",
    source="made for these tests",
    version="1",
    voltage=(VoltageRule(name="band", kind="planning", vm_min_pu=0.8, vm_max_pu=1.2, source="test"),),
    loading=tuple(
        LoadingRule(name=element, element=element, max_loading_percent=100, source="test")
        for element in ("line", "trafo")
    ),
)


@dataclass(frozen=True)
class OneLine:
    """`grid` -- line -- `end`; every asset stands at `end`. Powers in kW, local days in Berlin."""

    line_kw: float = 1000.0
    first_day: dt.date = dt.date(2016, 1, 12)
    days: int = 1
    step_minutes: int = 15
    cars: dict[str, float] = field(default_factory=dict)
    """Rated power of each car. [kW]"""
    sessions: tuple[tuple[str, str, str, float], ...] = ()
    """Car, arrival, departure (UTC), energy. [kWh]"""
    heat_pumps: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Rated and base power. [kW]"""
    batteries: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Rated power and usable energy. [kW], [kWh]"""
    pv_kw: dict[str, float] = field(default_factory=dict)
    """Constant feed-in. [kW]"""
    load_kw: float = 0.0
    path_factors: tuple[float, ...] = (1.0,)
    """Factor on load and PV in each path."""
    bands: tuple[float, float] | None = None
    """Voltage band instead of the wide one. [pu]"""
    price: Callable[[np.ndarray], np.ndarray] = lambda hour: np.full(len(hour), 100.0)
    """Price over the local hour of day. [EUR/MWh]"""

    @property
    def axis(self) -> TimeAxis:
        return TimeAxis.of_days(self.first_day, self.days, "Europe/Berlin", pd.Timedelta(minutes=self.step_minutes))

    @property
    def twin(self) -> GridTwin:
        net = pandapower.create_empty_network()
        grid, end = (pandapower.create_bus(net, KV, name=name) for name in ("grid", "end"))
        pandapower.create_ext_grid(net, grid)
        pandapower.create_line_from_parameters(
            net, grid, end, 0.1, r_ohm_per_km=0.2, x_ohm_per_km=0.08, c_nf_per_km=0,
            max_i_ka=self.line_kw / 1000 / (np.sqrt(3) * KV), name="line",
        )  # fmt: skip
        self._add_assets(net, end)
        twin = build_twin(net, rules=RULES)
        if self.bands is not None:
            twin.buses[["vm_min_pu", "vm_max_pu"]] = self.bands
        return twin

    def _add_assets(self, net: pandapower.pandapowerNet, bus: int) -> None:
        if self.load_kw:
            pandapower.create_load(net, bus, self.load_kw / 1000, name="load")
        for name, kw in self.cars.items():
            pandapower.create_load(net, bus, kw / 1000, name=name, kind="electric_car", flexible=True, origin="growth")
        for name, (kw, _) in self.heat_pumps.items():
            pandapower.create_load(net, bus, kw / 1000, name=name, kind="heat_pump", flexible=True, origin="growth")
        for name, kw in self.pv_kw.items():
            pandapower.create_sgen(net, bus, kw / 1000, name=name, kind="pv", flexible=True, origin="growth")
        for name, (kw, kwh) in self.batteries.items():
            facts = {"kind": "battery", "p_rated_mw": kw / 1000, "e_rated_mwh": kwh / 1000, "origin": "growth"}
            pandapower.create_storage(net, bus, 0, kwh / 1000, name=name, flexible=True, **facts)

    def forecast(self, twin: GridTwin) -> xr.Dataset:
        power = {"load": self.load_kw} | {name: base for name, (_, base) in self.heat_pumps.items()}
        power |= {name: -kw for name, kw in self.pv_kw.items()}
        p_mw = np.array([power.get(name, 0.0) for name in twin.assets.index]) / 1000
        spread = np.where(twin.assets["kind"].isin(["load", "pv"]), 1, 0)
        factors = 1 + (np.array(self.path_factors)[:, None, None] - 1) * spread
        paths = p_mw * factors * np.ones((1, self.axis.length, 1))
        return xr.Dataset(
            {
                "p_mw": (("path", "time", "asset"), paths),
                "q_mvar": (("path", "time", "asset"), np.zeros_like(paths)),
                "p_mean_mw": (("time", "asset"), paths.mean(axis=0)),
            },
            coords={
                "path": np.arange(len(paths)),
                "time": self.axis.times,
                "asset": twin.assets.index.to_numpy(dtype=str),
                "kind": ("asset", twin.assets["kind"].to_numpy(dtype=str)),
            },
            attrs={"step": self.axis.step.isoformat(), "zone": self.axis.zone},
        )

    @property
    def prices(self) -> xr.Dataset:
        local = self.axis.local_times
        hour = np.asarray(local.hour + local.minute / 60, dtype=float)
        return xr.Dataset({"price_eur_per_mwh": ("time", self.price(hour))}, coords={"time": self.axis.times})

    @property
    def session_table(self) -> pd.DataFrame:
        if not self.sessions:
            return empty_sessions()
        table = pd.DataFrame(self.sessions, columns=["asset", "arrival", "departure", "e_mwh"])
        table["e_mwh"] /= 1000
        return table.astype({"arrival": "datetime64[ns]", "departure": "datetime64[ns]"})

    def optimize(self, settings: Flexibility | None = None) -> FlexibilityResult:
        twin = self.twin
        return optimize_flexibility(
            twin, self.forecast(twin), self.prices, self.session_table, settings or Flexibility()
        )


@pytest.fixture
def one_line() -> type[OneLine]:
    """The case class; each test fills in what it needs."""
    return OneLine
