"""Flexibility problems of any size: cars, heat pumps, batteries and PV on a radial feeder of 150 buses.

Two in five devices are cars, three in ten heat pumps, one in five batteries, one in ten PV. The same seed gives
the same problem. `tight` is the number of branches next to the station whose limits bind, on every step.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pandas as pd

from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.model import FlexibilityProblem, LimitRows, no_rows
from gridtwin.optimize.rolling import RollingLimits

STEPS, BUSES = 96, 150
STAMP = pd.Timestamp("2016-01-12")


def build_problem(devices: int, *, tight: int = 0, seed: int = 0) -> FlexibilityProblem:
    """One day of a number of devices."""
    rng = np.random.default_rng(seed)
    hour = np.arange(STEPS) / 4
    price = 0.1 + 0.06 * np.sin(2 * np.pi * (hour - 15) / 24) + 0.01 * rng.standard_normal(STEPS)
    fleet = tuple(_draw_device(k, k / devices, f"bus {rng.integers(BUSES)}", hour, rng) for k in range(devices))
    downstream = draw_feeder(rng)
    rows, room_kw = _limit(downstream, devices, tight)
    return FlexibilityProblem(
        hours=np.full(STEPS, 0.25),
        devices=fleet,
        buses=tuple(f"bus {b}" for b in range(BUSES)),
        terms=AreaTerms(price, np.full(STEPS, 0.05), np.zeros(STEPS)),
        inflexible_kw=devices + 0.4 * devices * np.sin(2 * np.pi * (hour - 12) / 24),
        rows=rows,
        room_kw=room_kw,
    )


def _draw_device(number: int, place: float, bus: str, hour: np.ndarray, rng: np.random.Generator) -> Device:
    nothing, name = np.zeros(STEPS), f"device {number}"
    if place < 0.4:
        arrival = int(rng.integers(50, 76))
        departure = int(rng.integers(arrival + 8, STEPS))
        plugged = np.zeros(STEPS)
        plugged[arrival:departure] = 11.0
        due = float(min(rng.uniform(5, 30), 0.95 * plugged.sum() / 4))
        return ChargingSession(name, bus, nothing, nothing, plugged, STAMP, STAMP, 0.0, 0.0, due, due, 2.0)
    if place < 0.7:
        base = np.clip(1.5 + 0.5 * np.cos(2 * np.pi * hour / 24) + 0.2 * rng.standard_normal(STEPS), 0, 4)
        return HeatPump(name, bus, base, nothing, np.full(STEPS, 4.0), ua_kw_per_k=0.3, c_kwh_per_k=15.0, cop=3.2)
    if place < 0.9:
        power, least = np.full(STEPS, 5.0), np.zeros(STEPS)
        least[-1] = 5.0
        return Battery(name, bus, nothing, -power, power, 5.0, 5.0, least, 10.0, 5.0, 0.92, 0.04)
    sun = np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None) * rng.uniform(4, 10)
    return FeedIn(name, bus, -sun, -sun, nothing, 0.15)


def draw_feeder(rng: np.random.Generator) -> np.ndarray:
    """1 where a bus lies behind the branch that ends at another. (branch, bus)"""
    behind = np.eye(BUSES)
    parents = [int(rng.integers(max(0, b - 12), b)) for b in range(1, BUSES)]
    for b in range(BUSES - 1, 0, -1):
        behind[parents[b - 1]] += behind[b]
    return behind


def _limit(downstream: np.ndarray, devices: int, tight: int) -> tuple[LimitRows, np.ndarray]:
    """Branches with the most buses behind them carry 1 kW a device."""
    if not tight:
        return no_rows(BUSES), np.zeros(0)
    branches = np.argsort(-downstream.sum(axis=1), kind="stable")[:tight]
    limit, step = np.repeat(branches, STEPS), np.tile(np.arange(STEPS), tight)
    carried = np.maximum(downstream[branches].sum(axis=1) / BUSES * devices, 6.0)
    return LimitRows(limit, step, downstream[limit]), np.repeat(carried, STEPS)


def repeat_days(one: FlexibilityProblem, days: int) -> tuple[FlexibilityProblem, RollingLimits | None]:
    """The day again and again, for a moving window; prices differ a little, cars come every day."""
    length = days * STEPS
    fleet: list[Device] = []
    for device in one.devices:
        fleet += _repeat_device(device, days)
    waver = 0.01 * np.random.default_rng(1).standard_normal(length)
    terms = replace(
        one.terms,
        price_eur_per_kwh=np.tile(one.terms.price_eur_per_kwh, days) + waver,
        import_fee_eur_per_kwh=np.tile(one.terms.import_fee_eur_per_kwh, days),
        export_fee_eur_per_kwh=np.zeros(length),
    )
    span = replace(
        one, hours=np.full(length, 0.25), devices=tuple(fleet), terms=terms, rows=no_rows(BUSES), room_kw=np.zeros(0),
        inflexible_kw=np.tile(one.inflexible_kw, days),
    )  # fmt: skip
    if not len(one.rows):
        return span, None
    room = np.tile(one.room_kw.reshape(-1, STEPS), (1, days))
    return span, RollingLimits(one.rows.weight[::STEPS], room)


def _repeat_device(device: Device, days: int) -> list[Device]:
    series = {f.name: getattr(device, f.name) for f in fields(device)}
    long = {name: np.tile(value, days) for name, value in series.items() if isinstance(value, np.ndarray)}
    if isinstance(device, Battery):
        return [replace(device, **(long | {"e_min_kwh": np.zeros(days * STEPS)}))]
    if not isinstance(device, ChargingSession):
        return [replace(device, **long)]
    stays = []
    for day in range(days):
        plugged = np.zeros(days * STEPS)
        plugged[day * STEPS : (day + 1) * STEPS] = device.p_max_kw
        stays.append(replace(device, **(long | {"p_max_kw": plugged})))
    return stays
