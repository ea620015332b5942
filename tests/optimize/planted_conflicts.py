"""Problems in which everything can be had but for what is planted, and what must be named for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyomo.environ as pyo

from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.devices.hot_water_tank import HotWaterTank
from gridtwin.optimize.devices.industry import ShiftableProcess
from gridtwin.optimize.model import FlexibilityProblem, LimitRows
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.time_axis import TimeAxis

STEPS = 24
AXIS = TimeAxis(pd.Timestamp("2016-01-12 11:00"), pd.Timedelta(minutes=30), STEPS)  # 12:00 to 24:00 local time
HOURS = np.full(STEPS, 0.5)
BUSES = ("a", "b", "c", "d")
AMPLE_KW = 200.0
NAMES = pd.DataFrame(
    [
        {"asset": "feeder", "kind": "line", "side": "forward"},
        {"asset": "branch a", "kind": "line", "side": "forward"},
        {"asset": "branch b", "kind": "line", "side": "forward"},
        {"asset": "station", "kind": "trafo", "side": "forward"},
        {"asset": "end of a", "kind": "bus", "side": "low"},
        {"asset": "end of b", "kind": "bus", "side": "low"},
    ]
)
WEIGHT = np.array([
    [1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0.1, 0.1], [0, 1, 0.1, 0.1],
])  # fmt: skip
"""Bystanders stand at c and d; what is planted at a or b has its branch and its voltage to itself."""


def table_limits() -> NetworkLimits:
    nothing = np.zeros(len(NAMES))
    return NetworkLimits(NAMES, WEIGHT, nothing, nothing, nothing, nothing)


@dataclass
class Case:
    """A problem in the making, and (asset, because) of what must be named."""

    rng: np.random.Generator
    devices: list[Device] = field(default_factory=list)
    room_kw: np.ndarray = field(default_factory=lambda: np.full((len(NAMES), STEPS), AMPLE_KW))
    rules: list[OwnRows] = field(default_factory=list)
    planted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    @property
    def problem(self) -> FlexibilityProblem:
        limit, step = (part.ravel() for part in np.indices(self.room_kw.shape))
        price = 0.1 + 0.05 * np.cos(np.arange(STEPS) / 4 + self.rng.uniform(0, 6))
        terms = AreaTerms(price, np.full(STEPS, 0.05), np.full(STEPS, 0.02))
        return FlexibilityProblem(
            HOURS, (*bystanders(self.rng), *self.devices), BUSES, terms, self.rng.uniform(2, 9, STEPS),
            LimitRows(limit, step, WEIGHT[limit]), self.room_kw.ravel(),
        )  # fmt: skip

    @property
    def own_rows(self) -> OwnRows | None:
        def write(model: pyo.ConcreteModel) -> None:
            for rule in self.rules:
                rule(model)

        return write if self.rules else None

    def narrow(self, asset: str, kw: float, steps: slice = slice(None)) -> None:
        self.room_kw[NAMES["asset"].tolist().index(asset), steps] = kw


def bystanders(rng: np.random.Generator) -> tuple[Device, ...]:
    """Three that have all they want, or can have it."""
    nothing = np.zeros(STEPS)
    base = rng.uniform(0.5, 1.5, STEPS)
    sun = -rng.uniform(1, 6, STEPS)
    return (
        Battery("battery c", "c", nothing, nothing - 5, nothing + 5, 5.0, 5.0, 0.0, 10.0, 4.0, 0.9, 0.02, 0.1),
        HeatPump("pump d", "d", base, nothing, nothing + 5, 0.3, 15.0, 3.0, comfort_kelvin=1.5),
        FeedIn("roof d", "d", sun, sun, nothing, 0.1),
    )


def car(rng: np.random.Generator, bus: str, *, hours: float, due_kwh: float, name: str = "car") -> ChargingSession:
    first = int(rng.integers(0, STEPS - int(2 * hours)))
    p_max = np.zeros(STEPS)
    p_max[first : first + int(2 * hours)] = 11.0
    stay = AXIS.times[first], AXIS.times[first] + pd.Timedelta(hours=hours)
    return ChargingSession(
        f"{name} {bus}", bus, np.zeros(STEPS), np.zeros(STEPS), p_max, *stay, 0.0, 0.0, due_kwh, due_kwh, 2.0
    )


def too_short_a_stay(case: Case, bus: str) -> None:
    case.devices.append(car(case.rng, bus, hours=2, due_kwh=22 + case.rng.uniform(2, 10)))
    case.planted.append((f"car {bus}", (f"car {bus}",)))


def too_little_line(case: Case, bus: str) -> None:
    case.devices.append(car(case.rng, bus, hours=4, due_kwh=30.0))
    case.narrow(f"branch {bus}", case.rng.uniform(2, 6))
    case.planted.append((f"car {bus}", (f"branch {bus}",)))


def too_little_line_for_a_while(case: Case, bus: str) -> None:
    """33 of 44 kWh in four hours, without half of them."""
    late = car(case.rng, bus, hours=4, due_kwh=33.0)
    case.devices.append(late)
    middle = int(late.plugged[2])
    case.narrow(f"branch {bus}", 0.5, slice(middle, middle + 4))
    case.planted.append((f"car {bus}", (f"branch {bus}",)))


def too_low_a_voltage(case: Case, bus: str) -> None:
    case.devices.append(car(case.rng, bus, hours=4, due_kwh=30.0))
    case.narrow(f"end of {bus}", case.rng.uniform(2, 6))
    case.planted.append((f"car {bus}", (f"end of {bus}",)))


def store(bus: str, e_end_kwh: float) -> Battery:
    nothing, least = np.zeros(STEPS), np.zeros(STEPS)
    least[-1] = e_end_kwh
    return Battery(f"store {bus}", bus, nothing, nothing - 3, nothing + 3, 3.0, 3.0, least, 80.0, 4.0, 0.9, 0.02)


def an_end_out_of_reach(case: Case, bus: str) -> None:
    """4 kWh and 12 h at 3 kW are less than 40 kWh."""
    case.devices.append(store(bus, case.rng.uniform(42, 60)))
    case.planted.append((f"store {bus}", (f"store {bus}",)))


def an_end_behind_a_line(case: Case, bus: str) -> None:
    case.devices.append(store(bus, 30.0))
    case.narrow(f"branch {bus}", case.rng.uniform(0.2, 1.5))
    case.planted.append((f"store {bus}", (f"branch {bus}",)))


def too_weak_a_heat_pump(case: Case, bus: str) -> None:
    base, nothing = np.full(STEPS, 4.0), np.zeros(STEPS)
    weak = nothing + case.rng.uniform(0.5, 2)
    case.devices.append(HeatPump(f"pump {bus}", bus, base, nothing, weak, 0.3, 5.0, 3.0, comfort_kelvin=1.0))
    case.planted.append((f"pump {bus}", (f"pump {bus}",)))


def too_cold_behind_a_line(case: Case, bus: str) -> None:
    base, nothing = np.full(STEPS, 4.0), np.zeros(STEPS)
    case.devices.append(HeatPump(f"pump {bus}", bus, base, nothing, nothing + 8, 0.3, 5.0, 3.0, comfort_kelvin=1.0))
    case.narrow(f"branch {bus}", case.rng.uniform(0.5, 2))
    case.planted.append((f"pump {bus}", (f"branch {bus}",)))


def a_deadline_out_of_reach(case: Case, bus: str) -> None:
    first, nothing = int(case.rng.integers(0, 12)), np.zeros(STEPS)
    p_max = nothing.copy()
    p_max[first : first + 6] = 10.0
    case.devices.append(ComputingJob(f"job {bus}", bus, nothing, nothing, p_max, 30 + case.rng.uniform(2, 9), 0.0, 3.0))
    case.planted.append((f"job {bus}", (f"job {bus}",)))


def cold_water(case: Case, bus: str) -> None:
    """A draw of 2 kW all the time behind a line that carries less."""
    draw, nothing = np.full(STEPS, 2.0), np.zeros(STEPS)
    tank = HotWaterTank(f"tank {bus}", bus, draw, nothing, nothing + 6, 8.0, 2.0, 60.0, 1.0, draw)
    case.devices.append(tank)
    case.narrow(f"end of {bus}", case.rng.uniform(0.3, 1.2))
    case.planted.append((f"tank {bus}", (f"end of {bus}",)))


def lost_production(case: Case, bus: str) -> None:
    base, nothing = np.full(STEPS, 5.0), np.zeros(STEPS)
    case.devices.append(ShiftableProcess(f"mill {bus}", bus, base, nothing, nothing + 8, 200.0))
    case.narrow(f"branch {bus}", case.rng.uniform(2, 4))
    case.planted.append((f"mill {bus}", (f"branch {bus}",)))


def a_load_that_nothing_moves(case: Case, bus: str) -> None:
    case.devices.append(car(case.rng, bus, hours=4, due_kwh=10.0))
    case.narrow(f"branch {bus}", -case.rng.uniform(3, 9), slice(20, 24))
    case.planted.append((f"branch {bus}", ("fixed load",)))


def a_rule_beyond_the_plug(case: Case, bus: str) -> None:
    mine = car(case.rng, bus, hours=4, due_kwh=20.0)
    case.devices.append(mine)
    step, kw = int(mine.plugged[1]), 11 + case.rng.uniform(2, 9)
    case.rules.append(lambda m: setattr(m, f"fast_{bus}", pyo.Constraint(expr=m.power_kw[mine.name, step] >= kw)))
    case.planted.append((f"fast_{bus}", (mine.name,)))


def a_rule_behind_a_line(case: Case, bus: str) -> None:
    mine = car(case.rng, bus, hours=4, due_kwh=8.0)
    case.devices.append(mine)
    step = int(mine.plugged[1])
    case.narrow(f"branch {bus}", case.rng.uniform(3, 6))
    case.rules.append(lambda m: setattr(m, f"fast_{bus}", pyo.Constraint(expr=m.power_kw[mine.name, step] >= 9)))
    case.planted.append((f"fast_{bus}", (f"branch {bus}",)))


def two_rules_against_each_other(case: Case, bus: str) -> None:
    mine = car(case.rng, bus, hours=4, due_kwh=6.0)
    case.devices.append(mine)
    steps = mine.plugged.tolist()

    def write(m: pyo.ConcreteModel) -> None:
        slow = pyo.Constraint(steps, rule=lambda m, t: m.power_kw[mine.name, t] <= 3)
        setattr(m, f"slow_{bus}", slow)
        setattr(m, f"fast_{bus}", pyo.Constraint(expr=m.power_kw[mine.name, steps[0]] >= 8))

    case.rules.append(write)
    either = (f"slow_{bus}", f"fast_{bus}")
    case.planted.append((either[0] + "|" + either[1], either))


def a_rule_against_a_wish(case: Case, bus: str) -> None:
    mine = car(case.rng, bus, hours=4, due_kwh=20.0)
    case.devices.append(mine)
    most = case.rng.uniform(5, 12)

    def write(m: pyo.ConcreteModel) -> None:
        together = sum(0.5 * m.power_kw[mine.name, t] for t in m.step)
        setattr(m, f"quota_{bus}", pyo.Constraint(expr=together <= most))

    case.rules.append(write)
    case.planted.append((mine.name, (f"quota_{bus}",)))


KINDS: tuple[Callable[[Case, str], None], ...] = (
    too_short_a_stay, too_little_line, too_little_line_for_a_while, too_low_a_voltage, an_end_out_of_reach,
    an_end_behind_a_line, too_weak_a_heat_pump, too_cold_behind_a_line, a_deadline_out_of_reach, cold_water,
    lost_production, a_load_that_nothing_moves, a_rule_beyond_the_plug, a_rule_behind_a_line,
    two_rules_against_each_other, a_rule_against_a_wish,
)  # fmt: skip
SOFT_KINDS = KINDS[:4] + KINDS[6:12]


def plant(seed: int, kinds: tuple[Callable[[Case, str], None], ...] = KINDS) -> tuple[str, Case]:
    """One conflict of each kind in turn; from seed 2 len(kinds) on two at once, at a and at b."""
    rng = np.random.default_rng(seed)
    case = Case(rng)
    buses = rng.permutation(["a", "b"]).tolist()
    chosen = [kinds[seed % len(kinds)]]
    if seed >= 2 * len(kinds):
        chosen.append(kinds[int(rng.integers(len(kinds)))])
    for kind, bus in zip(chosen, buses, strict=False):
        kind(case, bus)
    return " and ".join(kind.__name__ for kind in chosen), case


def is_named(table: pd.DataFrame, asset: str, because: tuple[str, ...]) -> bool:
    """Whether the largest cause of what the asset misses is the planted one; of assets joined by `|` one is enough."""
    found = table[table["asset"].isin(asset.split("|"))]
    if found.empty:
        return False
    first = found.sort_values("share", ascending=False).iloc[0]
    return first["because"] in because


def only_planted(table: pd.DataFrame, case: Case) -> bool:
    """Whether nothing else is said to give."""
    return set(table["asset"]) <= {name for asset, _ in case.planted for name in asset.split("|")}


def without_planted(case: Case) -> FlexibilityProblem:
    return replace(case.problem, devices=bystanders(case.rng), room_kw=np.full(case.room_kw.size, AMPLE_KW))
