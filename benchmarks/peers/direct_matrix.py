"""The same linear program written by hand: arrays of numbers, no templates, straight to the matrix.

What a programmer writes who knows these four devices only. It is the lower bound that the stamped templates are
measured against: both begin with the devices and end with a model inside HiGHS.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from gridtwin.optimize.devices.area import PEAK_PRICE_EUR_PER_KW
from gridtwin.optimize.devices.battery import Battery
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.feed_in import FeedIn
from gridtwin.optimize.devices.heat_pump import HeatPump
from gridtwin.optimize.linear_program import LinearProgram
from gridtwin.optimize.model import FlexibilityProblem


@dataclass
class Matrix:
    """Columns, rows and entries as they are appended."""

    row: list[np.ndarray] = field(default_factory=list)
    column: list[np.ndarray] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    cost: list[np.ndarray] = field(default_factory=list)
    lower: list[np.ndarray] = field(default_factory=list)
    upper: list[np.ndarray] = field(default_factory=list)
    row_lower: list[np.ndarray] = field(default_factory=list)
    row_upper: list[np.ndarray] = field(default_factory=list)
    columns: int = 0
    rows: int = 0

    def add_columns(self, shape: tuple[int, ...], lower: object, upper: object, cost: object) -> np.ndarray:
        """Numbers of new columns."""
        size = int(np.prod(shape))
        for values, given in ((self.lower, lower), (self.upper, upper), (self.cost, cost)):
            values.append(np.broadcast_to(np.asarray(given, dtype=float), shape).ravel())
        self.columns += size
        return np.arange(self.columns - size, self.columns).reshape(shape)

    def add_rows(self, shape: tuple[int, ...], lower: object, upper: object) -> np.ndarray:
        """Numbers of new rows."""
        size = int(np.prod(shape))
        for values, given in ((self.row_lower, lower), (self.row_upper, upper)):
            values.append(np.broadcast_to(np.asarray(given, dtype=float), shape).ravel())
        self.rows += size
        return np.arange(self.rows - size, self.rows).reshape(shape)

    def put(self, row: np.ndarray, column: np.ndarray, value: object) -> None:
        """Entries."""
        row, column, values = np.broadcast_arrays(row, column, np.asarray(value, dtype=float))
        self.row.append(row.ravel())
        self.column.append(column.ravel())
        self.value.append(values.ravel())


def write_directly(problem: FlexibilityProblem) -> LinearProgram:
    """The matrix of a problem of cars, heat pumps, batteries and PV."""
    matrix, steps = Matrix(), len(problem.hours)
    price = problem.energy_price()
    bus_of = {bus: k for k, bus in enumerate(problem.buses)}
    bus_kw = matrix.add_columns((len(problem.buses), steps), -np.inf, np.inf, 0.0)
    bus_row = matrix.add_rows((len(problem.buses), steps), 0.0, 0.0)
    matrix.put(bus_row, bus_kw, -1.0)
    for kind, write in ((ChargingSession, _cars), (HeatPump, _heat_pumps), (Battery, _batteries), (FeedIn, _feed_in)):
        devices = [device for device in problem.devices if isinstance(device, kind)]
        if devices:
            at = np.array([bus_of[device.bus] for device in devices])
            write(matrix, devices, problem.hours, price[:, at].T, bus_row[at])
    _area(matrix, problem, bus_kw)
    _limits(matrix, problem, bus_kw)
    return _finish(matrix)


def _stack(devices: list[Device], name: str, steps: int) -> np.ndarray:
    return np.stack([np.broadcast_to(getattr(device, name), steps) for device in devices])


def _scalar(devices: list[Device], name: str) -> np.ndarray:
    return np.array([getattr(device, name) for device in devices], dtype=float)[:, None]


def _cars(m: Matrix, devices: list[Device], hours: np.ndarray, price: np.ndarray, bus_row: np.ndarray) -> None:
    steps = len(hours)
    shape, p_max = (len(devices), steps), _stack(devices, "p_max_kw", steps)
    plugged = p_max > 0
    charge = m.add_columns(shape, 0.0, p_max, price)
    energy = m.add_columns(shape, 0.0, np.where(plugged, _scalar(devices, "e_session_kwh"), 0.0), 0.0)
    unserved = m.add_columns((len(devices), 1), 0.0, np.inf, _scalar(devices, "unserved_eur_per_kwh"))
    first, last = plugged.argmax(axis=1), steps - 1 - plugged[:, ::-1].argmax(axis=1)
    each = np.arange(len(devices))
    start = np.zeros(shape)
    start[each, first] = _scalar(devices, "e_start_kwh")[:, 0]
    row = m.add_rows(shape, start, start)
    m.put(row, energy, 1.0)
    m.put(row, charge, -hours * _scalar(devices, "charging_efficiency"))
    keep = plugged.copy()
    keep[each, first] = False
    m.put(row[:, 1:], energy[:, :-1], -keep[:, 1:].astype(float))
    due = m.add_rows((len(devices), 1), _scalar(devices, "e_due_kwh"), np.inf)
    m.put(due[:, 0], energy[each, last], 1.0)
    m.put(due, unserved, 1.0)
    m.put(bus_row, charge, 1.0)


def _heat_pumps(m: Matrix, devices: list[Device], hours: np.ndarray, price: np.ndarray, bus_row: np.ndarray) -> None:
    steps = len(hours)
    shape = (len(devices), steps)
    ua, c, comfort = (_scalar(devices, name) for name in ("ua_kw_per_k", "c_kwh_per_k", "comfort_kelvin"))
    rate = _scalar(devices, "comfort_eur_per_kelvin_hour")
    kept = np.exp(-hours * ua / c)
    gain = (1 - kept) * _stack(devices, "cop", steps) / ua
    power = m.add_columns(shape, _stack(devices, "p_min_kw", steps), _stack(devices, "p_max_kw", steps), price)
    free = m.add_columns(shape, -comfort, comfort, 0.0)
    warm, cold = (m.add_columns(shape, 0.0, np.inf, rate * hours) for _ in range(2))
    debt = m.add_columns((len(devices), 1), 0.0, np.inf, rate * c / ua)
    rhs = -gain * _stack(devices, "p_base_kw", steps)
    rhs[:, :1] += kept[:, :1] * _scalar(devices, "kelvin_start")
    row = m.add_rows(shape, rhs, rhs)
    m.put(row, power, -gain)
    owed = m.add_rows((len(devices), 1), 0.0, np.inf)
    m.put(owed, debt, 1.0)
    for part, sign in ((free, 1.0), (warm, 1.0), (cold, -1.0)):
        m.put(row, part, sign)
        m.put(row[:, 1:], part[:, :-1], -sign * kept[:, 1:])
        m.put(owed, part[:, -1:], sign)
    m.put(bus_row, power, 1.0)


def _batteries(m: Matrix, devices: list[Device], hours: np.ndarray, price: np.ndarray, bus_row: np.ndarray) -> None:
    steps = len(hours)
    shape = (len(devices), steps)
    p_in, p_out = _stack(devices, "p_charge_kw", steps), _stack(devices, "p_discharge_kw", steps)
    one_way = np.sqrt(_scalar(devices, "efficiency"))
    charge = m.add_columns(shape, 0.0, p_in, price)
    discharge = m.add_columns(shape, 0.0, p_out, -price + hours * _scalar(devices, "wear_eur_per_kwh"))
    value = np.zeros(shape)
    value[:, -1:] = -_scalar(devices, "end_value_eur_per_kwh")
    stored = m.add_columns(shape, _stack(devices, "e_min_kwh", steps), _stack(devices, "e_max_kwh", steps), value)
    mode = m.add_columns(shape, 0.0, 1.0, 0.0)
    rhs = np.zeros(shape)
    rhs[:, :1] = _scalar(devices, "e_start_kwh")
    row = m.add_rows(shape, rhs, rhs)
    m.put(row, stored, 1.0)
    m.put(row[:, 1:], stored[:, :-1], -1.0)
    m.put(row, charge, -hours * one_way)
    m.put(row, discharge, hours / one_way)
    into, out = m.add_rows(shape, -np.inf, 0.0), m.add_rows(shape, -np.inf, p_out)
    m.put(into, charge, 1.0)
    m.put(into, mode, -p_in)
    m.put(out, discharge, 1.0)
    m.put(out, mode, p_out)
    m.put(bus_row, charge, 1.0)
    m.put(bus_row, discharge, -1.0)


def _feed_in(m: Matrix, devices: list[Device], hours: np.ndarray, price: np.ndarray, bus_row: np.ndarray) -> None:
    steps = len(hours)
    cost = price + hours * _scalar(devices, "curtailment_eur_per_kwh")
    low, high = _stack(devices, "p_min_kw", steps), _stack(devices, "p_max_kw", steps)
    power = m.add_columns((len(devices), steps), low, high, cost)
    m.put(bus_row, power, 1.0)


def _area(m: Matrix, problem: FlexibilityProblem, bus_kw: np.ndarray) -> None:
    steps, terms, hours, bound = len(problem.hours), problem.terms, problem.hours, problem.power_bound_kw()
    drawn = m.add_columns((steps,), 0.0, bound, hours * terms.import_fee_eur_per_kwh)
    fed = m.add_columns((steps,), 0.0, bound, hours * terms.export_fee_eur_per_kwh)
    peak = m.add_columns((1,), 0.0, 2 * bound, PEAK_PRICE_EUR_PER_KW)
    beyond = m.add_columns((1,), 0.0, bound, terms.peak_eur_per_kw)
    balance = m.add_rows((steps,), -problem.inflexible_kw, -problem.inflexible_kw)
    m.put(balance[None, :], bus_kw, 1.0)
    m.put(balance, drawn, -1.0)
    m.put(balance, fed, 1.0)
    spread = m.add_rows((steps,), -np.inf, 0.0)
    m.put(spread, drawn, 1.0)
    m.put(spread, fed, 1.0)
    m.put(spread, peak, -1.0)
    charged = m.add_rows((steps,), -np.inf, terms.peak_so_far_kw)
    m.put(charged, drawn, 1.0)
    m.put(charged, beyond, -1.0)


def _limits(m: Matrix, problem: FlexibilityProblem, bus_kw: np.ndarray) -> None:
    rows = problem.rows
    over = m.add_columns((len(rows),), 0.0, np.inf, problem.breach_eur_per_kw)
    row = m.add_rows((len(rows),), -np.inf, problem.room_kw)
    at, bus = np.nonzero(rows.weight)
    m.put(row[at], bus_kw[bus, rows.step[at]], rows.weight[at, bus])
    m.put(row, over, -1.0)


def _finish(m: Matrix) -> LinearProgram:
    row, column, value = np.concatenate(m.row), np.concatenate(m.column), np.concatenate(m.value)
    filled = value != 0
    return LinearProgram(
        matrix=sparse.csc_array((value[filled], (row[filled], column[filled])), shape=(m.rows, m.columns)),
        cost=np.concatenate(m.cost),
        lower=np.concatenate(m.lower),
        upper=np.concatenate(m.upper),
        integer=np.zeros(m.columns, dtype=bool),
        row_lower=np.concatenate(m.row_lower),
        row_upper=np.concatenate(m.row_upper),
        constant=0.0,
        smallest=np.full(m.columns, np.nan),
    )
