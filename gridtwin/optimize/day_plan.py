"""The plan of one day, read from the columns of a solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridtwin.optimize.block_program import port_values
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.devices.heat_pump import HeatPump, TwoCapacityHeatPump
from gridtwin.optimize.flexible_assets import CarriedState
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.template import StampedFleet

NOTICEABLE_KW = 1e-4
"""Smaller differences of power are the solver's. [kW]"""
NOTICEABLE = 1e-4
"""The same for kWh and K. [kWh], [K]"""
CAP_MARK_KW = 1e-3
"""How far above the expected feed-in a cap at the expected feed-in is written, to be told from no cap. [kW]"""
STORED = {
    "battery": "stored_kwh",
    "electric_car": "charged_kwh",
    "bidirectional_car": "charged_kwh",
    "hot_water_tank": "heat_kwh",
    "shiftable_process": "stock_kwh",
}
"""Kind of device -> its variable of stored energy."""


@dataclass(frozen=True)
class DayPlan:
    """The solution of one day, in kW and kWh.

    Parameters
    ----------
    p_kw, e_kwh : ndarray, (time, asset)
        Power, consumption positive; stored energy at the end of the step, NaN where there is none. [kW], [kWh]
    device_kw, device_kwh : ndarray, (time, device)
        The same of every device. [kW], [kWh]
    asset_of : ndarray, (device,)
        Position of each device's asset.
    carried : CarriedState
        What the next day starts with.
    over_kw : ndarray, (row,)
        Planned breach of each network row. [kW]
    shortfalls : mapping of device to kWh
        Energy that sessions and jobs miss, by position of the device.
    outside_kelvin : mapping of device to ndarray, (time,)
        Distance from the comfort band. [K]
    debt_kelvin : mapping of device to K
        Heat owed to the next day. [K]
    """

    p_kw: np.ndarray
    e_kwh: np.ndarray
    device_kw: np.ndarray
    device_kwh: np.ndarray
    asset_of: np.ndarray
    carried: CarriedState
    over_kw: np.ndarray
    shortfalls: Mapping[int, float]
    outside_kelvin: Mapping[int, np.ndarray]
    debt_kelvin: Mapping[int, float]


def read_plan(
    program: FlexibilityProgram, x: Sequence[np.ndarray], *, asset_of: np.ndarray, p_base_kw: np.ndarray
) -> DayPlan:
    """Power and energy of every asset from the columns of a solution.

    Parameters
    ----------
    program : FlexibilityProgram
        What was solved.
    x : sequence of ndarray, (column, member)
        Columns of every family.
    asset_of : ndarray, (device,)
        Position of each device's asset.
    p_base_kw : ndarray, (time, asset)
        What the assets would do unscheduled. [kW]
    """
    devices = program.problem.devices
    device_kw, device_kwh = read_devices(program, x)
    p_kw, e_kwh = _sum_to_assets(devices, asset_of, device_kw, device_kwh, p_base_kw.shape)
    breach = [x[k][0] for k, f in enumerate(program.fleets) if f.fleet.template.kind == "breach"]
    outside = _of_devices(program, x, ("warm_kelvin", "cold_kelvin"))
    return DayPlan(
        p_kw=np.where(np.abs(p_kw - p_base_kw) < NOTICEABLE_KW, p_base_kw, p_kw),
        e_kwh=e_kwh,
        device_kw=device_kw,
        device_kwh=device_kwh,
        asset_of=asset_of,
        carried=_carry(devices, device_kw, device_kwh, _noticeable(_of_devices(program, x, ("restarts",)))),
        over_kw=np.concatenate([*breach, np.zeros(0)]),
        shortfalls=_noticeable(_of_devices(program, x, ("unserved_kwh",)) | _of_devices(program, x, ("missing_kwh",))),
        outside_kelvin={k: np.where(v > NOTICEABLE, v, 0.0) for k, v in outside.items() if v.max() > NOTICEABLE},
        debt_kelvin=_noticeable(_of_devices(program, x, ("debt_kelvin",))),
    )


def read_devices(program: FlexibilityProgram, x: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Power within its band, and stored energy of every device. (time, device) [kW], [kWh]"""
    steps, devices = len(program.problem.hours), program.problem.devices
    p_kw, e_kwh = np.zeros((steps, len(devices))), np.full((steps, len(devices)), np.nan)
    for k, (fleet, members) in enumerate(zip(program.device_fleets, program.members, strict=True)):
        shown = port_values(fleet.family, x[k])[:steps]
        low, high = (np.column_stack([getattr(devices[d], side) for d in members]) for side in ("p_min_kw", "p_max_kw"))
        inside = np.clip(shown, low, high)
        p_kw[:, members] = np.where(np.abs(inside) < NOTICEABLE_KW / 10, 0.0, inside)
        done_before = np.array([getattr(devices[d], "e_done_kwh", 0.0) for d in members])
        e_kwh[:, members] = _stored(fleet, x[k], steps) + done_before
    return p_kw, e_kwh


def _stored(fleet: StampedFleet, x: np.ndarray, steps: int) -> np.ndarray:
    kind = fleet.fleet.template.kind
    if kind in STORED:
        return fleet.column(STORED[kind], x)
    if kind == "computing_job":
        return np.asarray(fleet.fleet.values["e_job_kwh"] - fleet.column("left_kwh", x))
    if kind in ("heat_pump", "two_capacity_heat_pump"):
        kelvin = fleet.column("free_kelvin", x) + fleet.column("warm_kelvin", x) - fleet.column("cold_kelvin", x)
        return np.asarray(fleet.fleet.values["c_kwh_per_k"] * kelvin)
    return np.full((steps, x.shape[1]), np.nan)


def _sum_to_assets(
    devices: Sequence[Device], asset_of: np.ndarray, p_kw: np.ndarray, e_kwh: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Sessions of one car follow each other: outside of a session its power and energy are 0."""
    power, energy = np.zeros(shape), np.full(shape, np.nan)
    np.add.at(power.T, asset_of, p_kw.T)
    sessions = np.array([isinstance(device, ChargingSession) for device in devices], dtype=bool)
    energy[:, asset_of[~sessions]] = e_kwh[:, ~sessions]
    energy[:, asset_of[sessions]] = 0.0
    np.add.at(energy.T, asset_of[sessions], e_kwh[:, sessions].T)
    return power, energy


def _of_devices(program: FlexibilityProgram, x: Sequence[np.ndarray], names: tuple[str, ...]) -> dict[int, np.ndarray]:
    """Sum of some variables by position of the device, where its kind has them."""
    found: dict[int, np.ndarray] = {}
    for fleet, members, columns in zip(program.device_fleets, program.members, x, strict=False):
        if names[0] in fleet.compiled.columns:
            total = sum(fleet.column(name, columns) for name in names)
            found |= dict(zip(members.tolist(), np.asarray(total).T, strict=True))
    return found


def _carry(
    devices: Sequence[Device], p_kw: np.ndarray, e_kwh: np.ndarray, restarts: Mapping[int, float]
) -> CarriedState:
    charged, kelvin, stored, done, running = {}, {}, {}, {}, set()
    for position, (device, energy) in enumerate(zip(devices, e_kwh[-1].tolist(), strict=True)):
        if isinstance(device, ChargingSession) and not device.leaves:
            charged[device.name, device.arrival] = energy
        elif isinstance(device, (HeatPump, TwoCapacityHeatPump)):
            kelvin[device.name] = energy / device.c_kwh_per_k
        elif isinstance(device, Battery):
            low, high = (np.broadcast_to(edge, len(e_kwh))[-1] for edge in (device.e_min_kwh, device.e_max_kwh))
            stored[device.name] = float(np.clip(energy, low, high))
        elif isinstance(device, ComputingJob):
            pauses_kwh = device.e_checkpoint_kwh * restarts.get(position, 0.0)
            done[device.name] = max(device.e_done_kwh, energy - pauses_kwh)
            if p_kw[-1, position] > NOTICEABLE_KW:
                running.add(device.name)
    return CarriedState(charged, kelvin, stored, done, frozenset(running))


def _noticeable(values: Mapping[int, np.ndarray]) -> dict[int, float]:
    return {key: float(value[0]) for key, value in values.items() if value[0] > NOTICEABLE}


def mark_caps(p_kw: np.ndarray, p_base_kw: np.ndarray, capped: np.ndarray) -> np.ndarray:
    """Power with every cap at or above the expected feed-in written so that it counts as a cap. (time, asset)

    Once a system has been capped in one AC round it stays capped, at least at its
    expected feed-in, on that step: dropping the cap would let the paths above the
    expectation back in all at once.
    """
    return np.where(capped, np.maximum(p_kw, np.minimum(p_base_kw + CAP_MARK_KW, 0.0)), p_kw)


def find_caps(devices: Sequence[Device], asset_of: np.ndarray, p_kw: np.ndarray, p_base_kw: np.ndarray) -> np.ndarray:
    """Steps on which feed-in is curtailed. (time, asset)"""
    feeding = np.zeros(p_kw.shape[1], dtype=bool)
    feeding[[k for k, device in zip(asset_of.tolist(), devices, strict=True) if isinstance(device, FeedIn)]] = True
    return np.asarray(feeding & (p_kw > p_base_kw + NOTICEABLE_KW))
