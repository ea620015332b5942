"""Limits that somebody else sets: dimming signals, feed-in caps, connections that are not always firm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.feed_in import FeedIn


def cap_devices(
    devices: Sequence[Device], *, draw_kw: np.ndarray | None = None, feed_in_kw: np.ndarray | None = None
) -> tuple[Device, ...]:
    """Devices that may not draw or feed in more than they are told.

    Parameters
    ----------
    devices : sequence of Device
        As they would be without a signal.
    draw_kw : ndarray, (time, device), optional
        Largest power drawn, infinite without a signal; `data.control_limits.dimmed_limit_kw` makes it from the rules of
        §14a EnWG. [kW]
    feed_in_kw : ndarray, (time, device), optional
        Largest feed-in, positive, infinite without a cap; `data.control_limits.feed_in_cap_kw` makes it. [kW]

    Notes
    -----
    A cap is physics, not a wish: energy that a car then lacks is unserved, and its cause is the device's own limit.
    What feeds in above its cap is curtailed for nothing: its expectation is lowered to the cap.
    """
    shape = (len(devices[0].p_max_kw), len(devices)) if devices else (0, 0)
    draw = np.full(shape, np.inf) if draw_kw is None else np.asarray(draw_kw)
    feed = np.full(shape, np.inf) if feed_in_kw is None else np.asarray(feed_in_kw)
    return tuple(_cap(device, draw[:, k], feed[:, k]) for k, device in enumerate(devices))


def _cap(device: Device, draw_kw: np.ndarray, feed_in_kw: np.ndarray) -> Device:
    changes: dict[str, Any] = {
        "p_max_kw": np.minimum(device.p_max_kw, draw_kw),
        "p_min_kw": np.maximum(device.p_min_kw, -feed_in_kw),
    }
    if isinstance(device, FeedIn):
        changes["p_base_kw"] = np.maximum(device.p_base_kw, -feed_in_kw)
    if isinstance(device, ChargingSession):
        changes["p_low_kw"] = np.minimum(device.p_low_kw, draw_kw)
    if isinstance(device, Battery):
        changes["p_charge_kw"] = np.minimum(device.p_charge_kw, draw_kw)
        changes["p_discharge_kw"] = np.minimum(device.p_discharge_kw, feed_in_kw)
    return replace(device, **changes)
