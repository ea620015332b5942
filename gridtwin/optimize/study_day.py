"""A study and one of its local days, with every flexible device as it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.optimize.certificate import RunFlow
from gridtwin.optimize.day_losses import Losses, linearise_losses
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.flexible_assets import KW_PER_MW, CarriedState, build_day_devices, charged_uncontrolled
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.optimize.schedule import build_schedule
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis


@dataclass(frozen=True)
class Study:
    """Everything that is the same on all days; (time, …) over the whole axis."""

    twin: GridTwin
    forecast: xr.Dataset
    chosen: pd.DataFrame
    axis: TimeAxis
    p_base_mw: np.ndarray
    price_eur_per_mwh: np.ndarray
    inflexible_mw: np.ndarray
    q_per_p: np.ndarray
    sessions: pd.DataFrame
    settings: Flexibility
    run_flow: RunFlow
    jobs: pd.DataFrame | None = None
    own_rows: OwnRows | None = None

    @property
    def buses(self) -> list[str]:
        """Buses of flexible assets, in the order of the assets."""
        return list(dict.fromkeys(self.chosen["bus"].astype(str)))

    @property
    def at_bus(self) -> np.ndarray:
        """1 where an asset is at a bus. (bus, asset)"""
        return np.array([[bus == own for own in self.chosen["bus"]] for bus in self.buses], dtype=float)


@dataclass(frozen=True)
class Day:
    """One local day of a study, with every flexible asset as it stands."""

    study: Study
    where: slice
    axis: TimeAxis
    devices: tuple[Device, ...]

    @property
    def asset_of(self) -> np.ndarray:
        """Position of each device's asset. (device,)"""
        return np.asarray(self.study.chosen.index.get_indexer(pd.Index([device.name for device in self.devices])))

    @property
    def p_base_kw(self) -> np.ndarray:
        """(time, asset)"""
        return KW_PER_MW * self.study.p_base_mw[self.where]

    @property
    def device_base_kw(self) -> np.ndarray:
        """What every device would do unscheduled; a car's charging lies in its sessions. (time, device)"""
        base = self.p_base_kw[:, self.asset_of]
        for position, device in enumerate(self.devices):
            if isinstance(device, ChargingSession):
                base[:, position] = np.where(device.p_max_kw > 0, base[:, position], 0.0)
        return base

    def at_buses_mw(self, p_kw: np.ndarray) -> np.ndarray:
        """Flexible power at each bus from that of each asset, (time, asset) to (bus, time). [MW]"""
        return np.asarray(self.study.at_bus @ p_kw.T / KW_PER_MW)

    def band_kw(self, name: str) -> np.ndarray:
        """`p_min_kw` or `p_max_kw` of all assets. (time, asset)"""
        band = np.zeros(self.p_base_kw.shape)
        for device, asset in zip(self.devices, self.asset_of.tolist(), strict=True):
            band[:, asset] += getattr(device, name)
        return band

    def run_paths(self, p_kw: np.ndarray) -> tuple[xr.Dataset, xr.Dataset]:
        """Profiles of every forecast path under a plan, and their power flow."""
        study, nothing = self.study, np.zeros_like(p_kw)
        plan = build_schedule(
            study.chosen, self.axis, p_kw=p_kw, p_base_kw=self.p_base_kw, e_kwh=nothing, reason=nothing
        )
        paths = apply_schedule(study.twin, study.forecast.isel(time=self.where), plan, q_per_p=study.q_per_p)
        return paths, study.run_flow(study.twin, paths)

    @property
    def unscheduled_devices(self) -> tuple[Device, ...]:
        """Every device as it would stand had nothing been scheduled on the days before."""
        study = self.study
        carried = charged_uncontrolled(study.sessions, study.chosen, self.axis.start, study.jobs)
        return build_day_devices(
            study.chosen, self.axis, study.p_base_mw[self.where],
            sessions=study.sessions, carried=carried, settings=study.settings, jobs=study.jobs,
        )  # fmt: skip

    @property
    def loss_price_eur_per_kwh(self) -> np.ndarray:
        """Price of energy lost in the network. (time,)"""
        return np.asarray(self.study.price_eur_per_mwh[self.where] / KW_PER_MW)

    def linearise_losses(self, paths: xr.Dataset, flow: xr.Dataset, p_kw: np.ndarray) -> Losses:
        """Losses around a plan."""
        study = self.study
        at_bus_mw, priced = self.at_buses_mw(p_kw), study.settings.price_losses
        return linearise_losses(study.twin, paths, flow, study.buses, at_bus_mw, priced=priced)


def open_day(study: Study, where: slice, carried: CarriedState) -> Day:
    """One day of a study from its steps and the state it begins with."""
    axis = replace(study.axis, start=study.axis.times[where.start], length=where.stop - where.start)
    devices = build_day_devices(
        study.chosen, axis, study.p_base_mw[where],
        sessions=study.sessions, carried=carried, settings=study.settings, jobs=study.jobs,
    )  # fmt: skip
    return Day(study, where, axis, devices)
