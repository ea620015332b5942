"""Two devices of every kind, and problems made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import BidirectionalSession, ChargingSession
from gridtwin.optimize.devices.electrolyser import Electrolyser
from gridtwin.optimize.devices.feed_in import FeedIn, Inverter
from gridtwin.optimize.devices.heat_pump import HeatPump, TwoCapacityHeatPump, discretise_building
from gridtwin.optimize.devices.hot_water_tank import HotWaterTank
from gridtwin.optimize.devices.industry import InterruptibleProcess, ShiftableProcess
from gridtwin.optimize.model import FlexibilityProblem, LimitRows, LossLines, no_rows

HOURS = np.array([0.25, 0.25, 0.25, 0.5, 0.5, 1.0, 1.0, 2.0])
STEPS = len(HOURS)
BUSES = ("a", "b", "c")
STAMP = pd.Timestamp("2016-01-12")


def devices_of(kind: str, seed: int = 0) -> list[Device]:
    """Two different devices of a kind at different buses."""
    rng = np.random.default_rng(seed)
    return [_one(kind, f"{kind} {k}", BUSES[k], rng) for k in range(2)]


def _one(kind: str, name: str, bus: str, rng: np.random.Generator) -> Device:
    nothing, up = np.zeros(STEPS), np.full(STEPS, float(rng.uniform(4, 12)))
    base = rng.uniform(0.5, 3, STEPS)
    plugged = np.where((np.arange(STEPS) > 0) & (np.arange(STEPS) < 6), up, 0.0)
    stay = (name, bus, nothing, nothing, plugged, STAMP, STAMP, 0.3 * plugged, 2.0, 9.0, 11.0, 2.0)
    building = {"c_room_kwh_per_k": 3.0, "c_structure_kwh_per_k": 12.0}
    walls = discretise_building(HOURS, base + 2, ua_between_kw_per_k=1.0, ua_outside_kw_per_k=0.3, **building)
    house = {"kelvin_start": 0.4, "comfort_kelvin": 1.5, "comfort_eur_per_kelvin_hour": 0.7}
    made = {
        "battery": lambda: Battery(name, bus, nothing, -up, up, up, up - 1, nothing, 10.0, 4.0, 0.9, 0.03, 0.1),
        "electric_car": lambda: ChargingSession(*stay, charging_efficiency=0.92),
        "bidirectional_car": lambda: BidirectionalSession(
            name, bus, nothing, -0.5 * plugged, *stay[4:], wear_eur_per_kwh=0.05, e_capacity_kwh=20, e_reserve_kwh=5
        ),
        "heat_pump": lambda: HeatPump(name, bus, base, nothing, up, 0.3, 15.0, base + 2, **house),
        "two_capacity_heat_pump": lambda: TwoCapacityHeatPump(
            name, bus, base, nothing, up, 0.3, 15.0, **walls, share_room=0.2, structure_start=0.1, **house
        ),
        "hot_water_tank": lambda: HotWaterTank(name, bus, base, nothing, up, 8.0, 3.0, 40.0, 3.0, base, nothing + 2),
        "feed_in": lambda: FeedIn(name, bus, -base, -base, nothing, 0.15),
        "inverter": lambda: Inverter(name, bus, -base, -base, nothing, 0.15, s_rated_kva=4.0),
        "shiftable_process": lambda: ShiftableProcess(name, bus, base, nothing, up, 6.0, 0.5, 5.0),
        "interruptible_process": lambda: InterruptibleProcess(name, bus, base, nothing, base, 0.5, 2, 0.3, 1.0),
        "electrolyser": lambda: Electrolyser(
            name, bus, nothing, nothing, up, 10.0, 1.5, 50.0, 55.0, base / 50, 3.0, 1.0, 1.0, 6.0, 0.1, 0.5, 1.0
        ),
        "computing_job": lambda: ComputingJob(name, bus, nothing, nothing, up, 9.0, 0.5 * up, 3.0, 0.4, 0.2),
    }
    if kind == "steady":
        return replace(_one("heat_pump", name, bus, rng), p_planned_kw=base, change_eur_per_kwh=0.02)
    return made[kind]()


KINDS = [
    "battery", "electric_car", "bidirectional_car", "heat_pump", "two_capacity_heat_pump", "hot_water_tank",
    "feed_in", "inverter", "shiftable_process", "interruptible_process", "electrolyser", "computing_job",
    "steady",
]  # fmt: skip


def problem_of(devices: list[Device], **changes: object) -> FlexibilityProblem:
    price = np.linspace(0.3, -0.1, STEPS)
    terms = AreaTerms(price, np.full(STEPS, 0.05), np.full(STEPS, 0.02))
    simple = FlexibilityProblem(
        HOURS, tuple(devices), BUSES, terms, np.linspace(3, 9, STEPS), no_rows(len(BUSES)), np.zeros(0)
    )
    return replace(simple, **changes)


def curved_losses(price_eur_per_kwh: np.ndarray) -> LossLines:
    """Tangents of r (P + 4 kW)² / 2 at P = -8, 0 and 8 kW of the three buses together; r differs from step to step."""
    p_kw = np.repeat([-8.0, 0.0, 8.0], STEPS)
    r = np.tile(np.linspace(0.004, 0.012, STEPS), 3)
    slope = (r * (p_kw + 4))[:, None] * np.array([1.0, 0.8, 0.5])
    return LossLines(np.tile(np.arange(STEPS), 3), slope, r / 2 * (p_kw**2 - 16), price_eur_per_kwh)


def networked(devices: list[Device]) -> FlexibilityProblem:
    """With limits of active and reactive power, the worst breach, losses, three scenarios and risk."""
    rng = np.random.default_rng(5)
    rows = LimitRows(
        np.arange(6), np.array([0, 3, 3, 5, 6, 7]), rng.uniform(-0.2, 1, (6, 3)), rng.uniform(0, 1, (6, 3)),
        rng.uniform(5, 9, 6),
    )  # fmt: skip
    terms = AreaTerms(
        np.array([1, 1.2, 0.7])[:, None] * np.linspace(0.3, -0.1, STEPS), np.full(STEPS, 0.05), np.full(STEPS, 0.02),
        peak_eur_per_kw=0.4, peak_so_far_kw=6.0, probability=np.array([0.5, 0.3, 0.2]), risk_weight=0.5, tail=0.2,
    )  # fmt: skip
    return problem_of(
        devices, rows=rows, room_kw=rng.uniform(1, 6, 6), terms=terms, worst_breach_eur=3.0,
        inflexible_kw=rng.uniform(1, 9, (3, STEPS)), bus_price_eur_per_kwh=rng.uniform(0, 0.02, (STEPS, 3)),
        losses=curved_losses(np.linspace(0.25, 0.0, STEPS)),
    )  # fmt: skip
