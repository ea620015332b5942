"""The flexibility problem of one horizon, and its linear program.

Power in kW, energy in kWh, money in EUR; consumption is positive. Steps are numbered from 0;
a stored energy or temperature with index t holds at the *end* of step t. In MW the
coefficients of a low-voltage network come close to the solver's tolerances.

    devices -> fleets of one template each -> families of blocks \
    area, limits, risk, losses             -> families of blocks  -> coupling rows -> program
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from gridtwin.optimize.block_program import BlockProgram
from gridtwin.optimize.devices.area import BREACH, LOSSES, TAIL_RISK, WORST_BREACH, AreaTerms, area_fleet
from gridtwin.optimize.devices.device import Device, template_of
from gridtwin.optimize.template import Fleet, StampedFleet, Template, read_values, stamp_fleet


@dataclass(frozen=True)
class LimitRows:
    """Network limits in the program: weighted power of the buses, at most the room.

    Parameters
    ----------
    limit, step : ndarray, (row,)
        Position in the table of limits and on the horizon.
    weight : ndarray, (row, bus)
        Weight of active power, consumption positive. [-]
    weight_q : ndarray, (row, bus), optional
        Weight of reactive power. [kW/kvar]
    scale : ndarray, (row,), optional
        What each limit may carry, the unit of the worst breach. [kW]
    """

    limit: np.ndarray
    step: np.ndarray
    weight: np.ndarray
    weight_q: np.ndarray | None = None
    scale: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.limit)


def no_rows(buses: int) -> LimitRows:
    """A network without limits."""
    return LimitRows(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, buses)))


@dataclass(frozen=True)
class LossLines:
    """Losses of the network from below: of the lines of a step the highest counts.

        losses[t] >= slope[k] p[t] - offset[k]   for every line k with step[k] = t

    Losses grow with the square of the currents: a tangent lies below them, and several tangents follow the curve.

    Parameters
    ----------
    step : ndarray, (line,)
        Position on the horizon.
    slope : ndarray, (line, bus)
        Losses by active power, consumption positive. [kW/kW]
    offset_kw : ndarray, (line,)
        Line at no flexible power, with the sign turned. [kW]
    price_eur_per_kwh : ndarray, (time,)
        What energy lost costs, at least 0: lines from below cannot say how much may be lost at most. [EUR/kWh]
    """

    step: np.ndarray
    slope: np.ndarray
    offset_kw: np.ndarray
    price_eur_per_kwh: np.ndarray

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class FlexibilityProblem:
    """One horizon to be planned.

    Parameters
    ----------
    hours : ndarray, (time,)
        Length of each step; later steps may be longer. [h]
    devices : tuple of Device
        Every flexible device.
    buses : tuple of str
        Buses of flexible devices.
    terms : AreaTerms
        What the exchange with the upstream network costs.
    inflexible_kw : ndarray, (time,) or (scenario, time)
        Expected net power of everything else, consumption positive. [kW]
    rows : LimitRows
        Network limits in the program.
    room_kw : ndarray, (row,)
        Largest weighted flexible power of each row. [kW]
    bus_price_eur_per_kwh : ndarray, (time, bus), optional
        Price at each bus on top of the area's, such as marginal losses. [EUR/kWh]
    losses : LossLines, optional
        Losses that have a price.
    breach_eur_per_kwh : float
        Price of power above a network limit. [EUR/kWh]
    worst_breach_eur : float
        Price of the largest breach, as a share of what the limit may carry. [EUR]
    """

    hours: np.ndarray
    devices: tuple[Device, ...]
    buses: tuple[str, ...]
    terms: AreaTerms
    inflexible_kw: np.ndarray
    rows: LimitRows
    room_kw: np.ndarray
    bus_price_eur_per_kwh: np.ndarray | None = None
    losses: LossLines | None = None
    breach_eur_per_kwh: float = 20.0
    worst_breach_eur: float = 0.0

    @property
    def scenarios(self) -> int:
        """Number of scenarios of what cannot be moved."""
        return len(self.terms.probability)

    @property
    def breach_eur_per_kw(self) -> np.ndarray:
        """Price of each row's breach over its step. (row,) [EUR/kW]"""
        return np.asarray(self.breach_eur_per_kwh * self.hours[self.rows.step])

    @property
    def row_scale_kw(self) -> np.ndarray:
        """Unit of each row's breach in the worst one. (row,) [kW]"""
        return np.ones(len(self.rows)) if self.rows.scale is None else self.rows.scale

    def energy_price(self) -> np.ndarray:
        """Expected price of a kW over each step at each bus. (time, bus) [EUR/kW]"""
        price = np.atleast_2d(self.terms.price_eur_per_kwh)
        mean = price[0] if len(price) == 1 else self.terms.probability @ price
        at_bus = np.zeros((len(self.hours), len(self.buses)))
        if self.bus_price_eur_per_kwh is not None:
            at_bus = at_bus + self.bus_price_eur_per_kwh
        return np.asarray(self.hours[:, None] * (mean[:, None] + at_bus))

    def power_bound_kw(self) -> float:
        """More than the area can ever exchange. [kW]"""
        reach = sum(float(np.max(np.maximum(np.abs(d.p_min_kw), np.abs(d.p_max_kw)), initial=0)) for d in self.devices)
        return 1.0 + reach + float(np.abs(self.inflexible_kw).max(initial=0.0))


@dataclass(frozen=True)
class FlexibilityProgram:
    """The linear program of a problem, with the way back to devices and rows.

    Parameters
    ----------
    problem : FlexibilityProblem
        What it solves.
    fleets : tuple of StampedFleet
        One per family of `blocks`, the devices first.
    members : tuple of ndarray
        Positions in `problem.devices` of each device fleet's members.
    blocks : BlockProgram
        Families and coupling rows.
    area_rows, limit_rows, loss_rows : slice
        Coupling rows of the area's balance (scenario, time), of the network limits, and of the lines of losses.
    """

    problem: FlexibilityProblem
    fleets: tuple[StampedFleet, ...]
    members: tuple[np.ndarray, ...]
    blocks: BlockProgram
    area_rows: slice
    limit_rows: slice
    loss_rows: slice

    @property
    def device_fleets(self) -> tuple[StampedFleet, ...]:
        """Fleets of devices, without those of area, limits and risk."""
        return self.fleets[: len(self.members)]

    def fleet(self, kind: str) -> int:
        """Position of the fleet of a kind."""
        return [stamped.fleet.template.kind for stamped in self.fleets].index(kind)


def build_flexibility_program(problem: FlexibilityProblem) -> FlexibilityProgram:
    """Stamp every device and join them: the area's balance, the network limits, the risk, the losses."""
    coupling = _Coupling(problem)
    stamped, members = stamp_devices(problem)
    for fleet in stamped:
        coupling.add_devices(fleet)
    area = stamp_area(problem)
    coupling.add_area(area)
    outside = [area]
    if len(problem.rows):
        breach = stamp_breaches(problem)
        coupling.add_breaches(breach)
        outside.append(breach)
        if problem.worst_breach_eur:
            worst = stamp_worst_breach(problem)
            coupling.add_worst()
            outside.append(worst)
    if problem.terms.risk_weight:
        risk = stamp_tail_risk(problem)
        coupling.add_risk()
        outside.append(risk)
    if problem.losses is not None:
        outside.append(stamp_losses(problem.losses, problem.hours))
        coupling.add_losses(problem.losses)
    return coupling.finish((*stamped, *outside), members)


def stamp_devices(problem: FlexibilityProblem) -> tuple[list[StampedFleet], tuple[np.ndarray, ...]]:
    """One fleet per template, and the positions of its members among the devices."""
    group_of = {bus: position for position, bus in enumerate(problem.buses)}
    price = problem.energy_price()
    places: dict[Template, list[int]] = {}
    for position, device in enumerate(problem.devices):
        places.setdefault(template_of(device), []).append(position)
    stamped = []
    for members in places.values():
        devices = [problem.devices[position] for position in members]
        fleet = fleet_of(devices, len(problem.hours))
        at = [group_of[device.bus] for device in devices]
        stamped.append(stamp_fleet(fleet, problem.hours, group_of=group_of, port_price=price[:, at]))
    return stamped, tuple(np.array(members) for members in places.values())


def fleet_of(devices: Sequence[Device], steps: int) -> Fleet:
    """Devices of one kind as numbers."""
    template = template_of(devices[0])
    names, buses = (tuple(getattr(device, part) for device in devices) for part in ("name", "bus"))
    return Fleet(template, names, buses, read_values(devices, template, steps))


def stamp_area(problem: FlexibilityProblem) -> StampedFleet:
    """The exchange with the upstream network, one member per scenario."""
    fleet = area_fleet(problem.terms, len(problem.hours), problem.power_bound_kw())
    return stamp_fleet(fleet, problem.hours, group_of={name: k for k, name in enumerate(fleet.names)})


def stamp_breaches(problem: FlexibilityProblem) -> StampedFleet:
    """One breach per network row."""
    names = tuple(f"row {k}" for k in range(len(problem.rows)))
    return _stamp_alone(BREACH, names, {"breach_eur_per_kw": problem.breach_eur_per_kw})


def stamp_worst_breach(problem: FlexibilityProblem) -> StampedFleet:
    """The largest of all breaches."""
    return _stamp_alone(WORST_BREACH, ("worst",), {"worst_eur": np.array([problem.worst_breach_eur])})


def stamp_tail_risk(problem: FlexibilityProblem) -> StampedFleet:
    """Conditional value at risk over the scenarios."""
    terms = problem.terms
    dearest = float(np.abs(terms.price_eur_per_kwh).max() + np.abs(terms.import_fee_eur_per_kwh).max())
    bound = 1 + problem.power_bound_kw() * (problem.hours.sum() * dearest + terms.peak_eur_per_kw)
    values: dict[str, Any] = {"weight": terms.risk_weight, "tail": terms.tail, "bound_eur": bound}
    values = {name: np.array([value]) for name, value in values.items()}
    return _stamp_alone(TAIL_RISK, ("risk",), values | {"probability": terms.probability[:, None]}, terms.probability)


def stamp_losses(losses: LossLines, hours: np.ndarray) -> StampedFleet:
    """Losses of every step."""
    values = {"loss_eur_per_kw": (hours * losses.price_eur_per_kwh)[:, None]}
    return _stamp_alone(LOSSES, ("losses",), values, hours)


def _stamp_alone(
    template: Template, names: tuple[str, ...], values: dict[str, np.ndarray], steps: np.ndarray | None = None
) -> StampedFleet:
    """A fleet whose members each are a group of their own."""
    fleet = Fleet(template, names, names, values)
    hours = np.ones(1 if steps is None else len(steps))
    return stamp_fleet(fleet, hours, group_of={name: k for k, name in enumerate(names)})


@dataclass
class _Coupling:
    """Coupling rows as they are written, family by family."""

    problem: FlexibilityProblem
    weights: list[sparse.csr_array] = field(default_factory=list)
    _at_buses: dict[int, sparse.csr_array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.problem
        self.steps, rows = len(problem.hours), len(problem.rows)
        balance = problem.scenarios * self.steps
        self.area = slice(0, balance)
        self.limits = slice(balance, balance + rows)
        self.worst = slice(self.limits.stop, self.limits.stop + (rows if problem.worst_breach_eur else 0))
        risk_rows = problem.scenarios if problem.terms.risk_weight else 0
        self.risk = slice(self.worst.stop, self.worst.stop + risk_rows)
        self.losses = slice(self.risk.stop, self.risk.stop + (0 if problem.losses is None else len(problem.losses)))
        self.rows = self.losses.stop

    def add_devices(self, fleet: StampedFleet) -> None:
        """Power at a bus counts in the balance of every scenario and in the limits of its step."""
        ports = fleet.family.port_shape.rows
        if ports not in self._at_buses:
            self._at_buses[ports] = self._weights_of_buses(ports)
        self.weights.append(self._at_buses[ports])

    def _weights_of_buses(self, ports: int) -> sparse.csr_array:
        problem, steps = self.problem, self.steps
        scenario, step, bus = np.meshgrid(
            np.arange(problem.scenarios), np.arange(steps), np.arange(len(problem.buses)), indexing="ij"
        )
        parts = [((scenario * steps + step).ravel(), (bus * ports + step).ravel(), np.ones(bus.size))]
        rows, losses = problem.rows, problem.losses
        parts.append(self._bus_entries(self.limits.start, rows.step, rows.weight, ports))
        if ports > steps and rows.weight_q is not None:
            parts.append(self._bus_entries(self.limits.start, steps + rows.step, rows.weight_q, ports))
        if losses is not None:
            parts.append(self._bus_entries(self.losses.start, losses.step, losses.slope, ports))
        return self._matrix(parts, len(problem.buses) * ports)

    @staticmethod
    def _bus_entries(
        first: int, port: np.ndarray, weight: np.ndarray, ports: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows from `first` on that weigh one port of every bus; weights (row, bus)."""
        row, bus = np.nonzero(weight)
        return first + row, bus * ports + port[row], weight[row, bus]

    def add_area(self, area: StampedFleet) -> None:
        """The exchange closes the balance; its cost enters the risk."""
        ports, scenarios = area.family.port_shape.rows, self.problem.scenarios
        scenario, step = np.divmod(np.arange(self.area.stop), self.steps)
        parts = [(np.arange(self.area.stop), scenario * ports + step, np.ones(self.area.stop))]
        if self.problem.terms.risk_weight:
            each = np.arange(scenarios)
            parts.append((self.risk.start + each, each * ports + ports - 1, np.ones(scenarios)))
        self.weights.append(self._matrix(parts, scenarios * ports))

    def add_breaches(self, breach: StampedFleet) -> None:
        """A breach relieves its limit and counts in the worst one."""
        rows = np.arange(len(breach.fleet.names))
        parts = [(self.limits.start + rows, rows, np.ones(len(rows)))]
        if self.problem.worst_breach_eur:
            parts.append((self.worst.start + rows, rows, -1 / self.problem.row_scale_kw))
        self.weights.append(self._matrix(parts, len(rows)))

    def add_worst(self) -> None:
        """No breach is larger than the worst."""
        rows = np.arange(self.worst.start, self.worst.stop)
        self.weights.append(self._matrix([(rows, np.zeros_like(rows), np.ones(len(rows)))], 1))

    def add_risk(self) -> None:
        """No cost is above value at risk and excess."""
        scenarios = np.arange(self.problem.scenarios)
        self.weights.append(
            self._matrix([(self.risk.start + scenarios, scenarios, np.ones(len(scenarios)))], len(scenarios))
        )

    def add_losses(self, losses: LossLines) -> None:
        """Losses lie above each of their lines."""
        rows = np.arange(self.losses.start, self.losses.stop)
        self.weights.append(self._matrix([(rows, losses.step, np.ones(len(rows)))], self.steps))

    def _matrix(self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], columns: int) -> sparse.csr_array:
        row, column, value = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return sparse.csr_array((value, (row, column)), shape=(self.rows, columns))

    def finish(self, fleets: tuple[StampedFleet, ...], members: tuple[np.ndarray, ...]) -> FlexibilityProgram:
        """The program with the bounds of all coupling rows."""
        problem = self.problem
        lower, upper = np.full(self.rows, -np.inf), np.zeros(self.rows)
        lower[self.area] = upper[self.area] = -np.broadcast_to(
            problem.inflexible_kw, (problem.scenarios, self.steps)
        ).ravel()
        upper[self.limits] = problem.room_kw
        if problem.losses is not None:
            upper[self.losses] = problem.losses.offset_kw
        blocks = BlockProgram(
            families=tuple(fleet.family for fleet in fleets),
            weights=tuple(self.weights),
            lower=lower,
            upper=upper,
            constant=sum(fleet.constant for fleet in fleets),
        )
        return FlexibilityProgram(problem, fleets, members, blocks, self.area, self.limits, self.losses)
