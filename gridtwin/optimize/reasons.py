"""Why a device does what it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridtwin.optimize.day_plan import NOTICEABLE, NOTICEABLE_KW, DayPlan, find_caps
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.heat_pump import HeatPump, TwoCapacityHeatPump

REASONS = ("", "price", "network", "must charge", "comfort", "curtailed", "idle")
"""Codes of a schedule: why an asset does what it does on a step; "" is what it would do anyway."""


def explain_steps(
    devices: Sequence[Device], plan: DayPlan, p_base_kw: np.ndarray, *, binding: np.ndarray, hours: float
) -> np.ndarray:
    """Reason code of every asset and step. (time, asset)

    Parameters
    ----------
    devices : sequence of Device
        The day's devices.
    plan : DayPlan
        The plan.
    p_base_kw : ndarray, (time, asset)
        What the assets would do unscheduled. [kW]
    binding : ndarray of bool, (time, asset)
        Whether a binding network row contains the asset's bus.
    hours : float
        Length of a step. [h]

    Notes
    -----
    First that applies: a system below its expected feed-in is `curtailed`; an asset that
    does nothing and would do nothing is `idle`; a car that can only just make it
    `must charge`; what follows its base has no reason; a heat pump at the edge of
    the comfort band is held by `comfort`; a shifted asset under a binding row is moved
    by the `network`, any other by the `price`.
    """
    p_kw = plan.p_kw
    shifted = np.abs(p_kw - p_base_kw) > NOTICEABLE_KW
    idle = (np.abs(p_kw) <= NOTICEABLE_KW) & (np.abs(p_base_kw) <= NOTICEABLE_KW)
    must, comfort = np.zeros(p_kw.shape, dtype=bool), np.zeros(p_kw.shape, dtype=bool)
    for position, (device, asset) in enumerate(zip(devices, plan.asset_of.tolist(), strict=True)):
        if isinstance(device, ChargingSession):
            must[:, asset] |= _must_charge(device, plan.device_kw[:, position], plan.device_kwh[:, position], hours)
        elif isinstance(device, (HeatPump, TwoCapacityHeatPump)):
            comfort[:, asset] |= _at_comfort(device, plan.device_kwh[:, position])
    choices = [find_caps(devices, plan.asset_of, p_kw, p_base_kw), idle, must, ~shifted, comfort, binding]
    return np.select(choices, ["curtailed", "idle", "must charge", "", "comfort", "network"], "price").astype(str)


def _must_charge(session: ChargingSession, p_kw: np.ndarray, e_kwh: np.ndarray, hours: float) -> np.ndarray:
    """Steps on which only rated power from here on brings what is due."""
    must, steps = np.zeros(len(p_kw), dtype=bool), session.plugged
    before = np.concatenate([[session.e_start_kwh], e_kwh[steps[:-1]]])
    reachable = hours * session.charging_efficiency * np.cumsum(session.p_max_kw[steps][::-1])[::-1]
    pressed = session.e_due_kwh - before >= reachable - NOTICEABLE
    must[steps] = pressed & (p_kw[steps] > NOTICEABLE_KW)
    return must


def _at_comfort(pump: HeatPump | TwoCapacityHeatPump, e_kwh: np.ndarray) -> np.ndarray:
    """Steps that end at or beyond the edge of the comfort band."""
    return np.asarray(np.abs(e_kwh) / pump.c_kwh_per_k >= pump.comfort_kelvin - NOTICEABLE)
