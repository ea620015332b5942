"""Causes in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.wishes import Wish
from gridtwin.time_axis import TimeAxis, to_local

MOST_SPELLS = 3
"""More spells than this are counted, not listed."""


@dataclass(frozen=True)
class Clock:
    """Where the steps of a horizon lie, which need not be of one length.

    Parameters
    ----------
    axis : TimeAxis
        Start of the horizon and local zone.
    hours : ndarray, (time,)
        Length of each step. [h]
    """

    axis: TimeAxis
    hours: np.ndarray

    @property
    def starts(self) -> pd.DatetimeIndex:
        """Starts of the steps, UTC. (time,)"""
        return self._edges()[:-1]

    @property
    def ends(self) -> pd.DatetimeIndex:
        """Ends of the steps, UTC. (time,)"""
        return self._edges()[1:]

    def _edges(self) -> pd.DatetimeIndex:
        seconds = np.concatenate([[0.0], np.cumsum(self.hours)]) * 3600
        return pd.DatetimeIndex(self.axis.start + pd.to_timedelta(np.round(seconds), unit="s"))

    def say(self, spells: tuple[tuple[int, int], ...]) -> str:
        """Spells of steps in local time, such as `17:00-18:30`, with the day where the horizon has several."""
        if spells == ((0, len(self.hours) - 1),):
            return "all the time"
        starts, ends = to_local(self.starts, self.axis.zone), to_local(self.ends, self.axis.zone)
        begin = "%H:%M" if len(pd.Index(starts.date).unique()) == 1 else "%a %H:%M"
        said = [f"{starts[first]:{begin}}-{ends[last]:%H:%M}" for first, last in spells[:MOST_SPELLS]]
        more = [f"{len(spells) - MOST_SPELLS} times more"] if len(spells) > MOST_SPELLS else []
        return ", ".join(said + more)


def say_band(device: Device, wish: Wish, amount: float, hours: np.ndarray) -> str:
    """That a device cannot have its wish even alone, and what it would need."""
    told = f"because even with all to itself it misses {amount:.3g} {wish.unit}"
    power = _power_of_stay(device)
    if power is None:
        return told
    efficiency, p_kw = power
    stay, rated = float(hours[p_kw > 0].sum()), float(p_kw.max(initial=0.0))
    if not stay or not rated:
        return f"{told}: it can never draw power"
    more, longer = amount / (efficiency * stay), amount / (efficiency * rated)
    return f"{told}: it needs {more:.3g} kW more over its {stay:.3g} h, or {longer:.3g} h more at its {rated:.3g} kW"


def _power_of_stay(device: Device) -> tuple[float, np.ndarray] | None:
    """Energy gained per energy drawn, and largest power on each step, of devices that fill up by a deadline."""
    p_max = np.asarray(device.p_max_kw)
    if isinstance(device, ChargingSession):
        return device.charging_efficiency, p_max
    if isinstance(device, Battery):
        return device.efficiency**0.5, np.broadcast_to(np.asarray(device.p_charge_kw), p_max.shape)
    return (1.0, p_max) if isinstance(device, ComputingJob) else None


def say_price(wish: Wish, worth: float, cheapest_eur_per_kwh: float) -> str:
    """That a wish is worth less than the energy for it."""
    return (
        f"because going without costs {worth:.3g} EUR/({wish.unit}), "
        f"less than the energy for it at {cheapest_eur_per_kwh:.3g} EUR/kWh and more"
    )


def say_limit(because: str, kind: str, side: str, when: str) -> str:
    """That a limit is reached."""
    if kind == "constraint":
        return f"because your constraint '{because}' holds it {when}"
    if kind == "bus":
        return f"because bus '{because}' is at its {side} voltage limit {when}"
    return f"because {kind} '{because}' is at its limit {when}"


def say_breach(fixed: bool, left_kw: float) -> str:
    """Why a limit is exceeded."""
    if fixed:
        return f"because {left_kw:.3g} kW remain with every flexible device at its least"
    return "because its flexible devices cannot, or cost more than the breach"


def say_other() -> str:
    """That neither network nor price explain it."""
    return "because of something outside the network, such as a smallest current or a constraint of your own"
