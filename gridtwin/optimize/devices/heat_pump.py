"""Heat pumps in buildings of one or two capacities, as deviations from what the thermostat would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyomo.environ as pyo
from scipy.linalg import expm

from gridtwin.optimize.devices.device import Device, Series, last_step
from gridtwin.optimize.template import Template


def write_heat_pump(block: Any) -> None:
    """Room temperature as a deviation T from what the thermostat would do.

        T[t] = a T[t-1] + (1 - a) cop[t] / UA (p[t] - p_base[t])   room
        a    = exp(-h UA / C)
        T[t] = free[t] + warm[t] - cold[t],  |free| <= comfort     soft comfort
        T[end] + debt >= 0                                         debt
        p_min <= p <= p_max,  warm, cold, debt >= 0
        cost = h comfort_price (warm + cold) + comfort_price C / UA debt

    This is C dT/dt = cop (p - p_base) - UA T, exact for constant power in a step. The
    room must end no colder than it would have been: the next day is planned with
    its own forecast and would have to pay back heat that this day had sold. A debt is
    priced like the discomfort it would cause while fading away by itself, C / UA hours.
    """
    _write_comfort(block)

    def room(b: Any, t: int) -> Any:
        kept = pyo.exp(-b.hours[t] * b.ua_kw_per_k / b.c_kwh_per_k)
        gain = (1 - kept) * b.cop[t] / b.ua_kw_per_k
        then = kept * b.kelvin_start if t == 0 else kept * b.kelvin[t - 1]
        return b.kelvin[t] - gain * b.heat_pump_kw[t] - then == -gain * b.p_base_kw[t]

    block.room = pyo.Constraint(block.step, rule=room)
    _write_debt(block, block.kelvin[last_step(block)], block.c_kwh_per_k / block.ua_kw_per_k)


def write_two_capacity_heat_pump(block: Any) -> None:
    """The same for a building of two capacities: room air T and structure S.

        T[t] = a_tt[t] T[t-1] + a_ts[t] S[t-1] + b_t[t] (p[t] - p_base[t])     room
        S[t] = a_st[t] T[t-1] + a_ss[t] S[t-1] + b_s[t] (p[t] - p_base[t])     structure

    The coefficients are those of the matrix exponential (`discretise_building`).
    """
    _write_comfort(block)
    block.structure_kelvin = pyo.Var(block.step)

    def state(b: Any, t: int, own: Any, from_room: Any, from_structure: Any, gain: Any) -> Any:
        room, structure = (
            (b.kelvin_start, b.structure_start) if t == 0 else (b.kelvin[t - 1], b.structure_kelvin[t - 1])
        )
        then = from_room[t] * room + from_structure[t] * structure
        return own[t] - gain[t] * b.heat_pump_kw[t] - then == -gain[t] * b.p_base_kw[t]

    block.room = pyo.Constraint(block.step, rule=lambda b, t: state(b, t, b.kelvin, b.a_tt, b.a_ts, b.b_t))
    block.structure = pyo.Constraint(
        block.step, rule=lambda b, t: state(b, t, b.structure_kelvin, b.a_st, b.a_ss, b.b_s)
    )
    end = last_step(block)
    owed = block.share_room * block.kelvin[end] + (1 - block.share_room) * block.structure_kelvin[end]
    _write_debt(block, owed, block.c_kwh_per_k / block.ua_kw_per_k)


def _write_comfort(block: Any) -> None:
    block.heat_pump_kw = pyo.Var(block.step, bounds=lambda b, t: (b.p_min_kw[t], b.p_max_kw[t]))
    block.free_kelvin = pyo.Var(block.step, bounds=(-block.comfort_kelvin, block.comfort_kelvin))
    block.warm_kelvin = pyo.Var(block.step, bounds=(0, None))
    block.cold_kelvin = pyo.Var(block.step, bounds=(0, None))
    block.debt_kelvin = pyo.Var(bounds=(0, None))
    block.kelvin = pyo.Expression(block.step, rule=lambda b, t: b.free_kelvin[t] + b.warm_kelvin[t] - b.cold_kelvin[t])
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.heat_pump_kw[t])


def _write_debt(block: Any, owed: Any, fading_h: Any) -> None:
    block.debt = pyo.Constraint(expr=owed + block.debt_kelvin >= 0)
    price = block.comfort_eur_per_kelvin_hour
    outside = pyo.quicksum(price * block.hours[t] * (block.warm_kelvin[t] + block.cold_kelvin[t]) for t in block.step)
    block.cost_eur = pyo.Expression(expr=outside + price * fading_h * block.debt_kelvin)


_SCALARS = ("ua_kw_per_k", "c_kwh_per_k", "kelvin_start", "comfort_kelvin", "comfort_eur_per_kelvin_hour")
_SERIES = ("p_base_kw", "p_min_kw", "p_max_kw")
_CARRY = {"kelvin_start": ("free_kelvin", "warm_kelvin", "-cold_kelvin")}


@dataclass(frozen=True)
class HeatPump(Device):
    """A heat pump in a building of one resistance and one capacity.

    Parameters
    ----------
    ua_kw_per_k, c_kwh_per_k : float
        Loss coefficient and heat capacity. [kW/K], [kWh/K]
    cop : float or ndarray, (time,)
        Heat per electric energy. [-]
    kelvin_start : float
        Deviation of the room from what the thermostat would do, as the first step begins. [K]
    comfort_kelvin : float
        Free deviation. [K]
    comfort_eur_per_kelvin_hour : float
        Price of leaving the comfort band. [EUR/(K h)]
    """

    template: ClassVar[Template] = Template("heat_pump", write_heat_pump, _SCALARS, (*_SERIES, "cop"), carry=_CARRY)

    ua_kw_per_k: float
    c_kwh_per_k: float
    cop: Series
    kelvin_start: float = 0.0
    comfort_kelvin: float = 1.0
    comfort_eur_per_kelvin_hour: float = 1.0


@dataclass(frozen=True)
class TwoCapacityHeatPump(Device):
    """A heat pump in a building of two resistances and two capacities.

    Parameters
    ----------
    ua_kw_per_k, c_kwh_per_k : float
        Loss coefficient and heat capacity of the whole building, which a heat debt is priced by. [kW/K], [kWh/K]
    a_tt, a_ts, a_st, a_ss, b_t, b_s : ndarray, (time,)
        Exact discretisation, see `discretise_building`. [-], [K/kW]
    share_room : float
        Share of the capacity that is the room's. [-]
    kelvin_start, structure_start : float
        Deviations of room and structure as the first step begins. [K]
    """

    template: ClassVar[Template] = Template(
        "two_capacity_heat_pump",
        write_two_capacity_heat_pump,
        (*_SCALARS, "structure_start", "share_room"),
        (*_SERIES, "a_tt", "a_ts", "a_st", "a_ss", "b_t", "b_s"),
        carry=_CARRY | {"structure_start": ("structure_kelvin",)},
    )

    ua_kw_per_k: float
    c_kwh_per_k: float
    a_tt: np.ndarray
    a_ts: np.ndarray
    a_st: np.ndarray
    a_ss: np.ndarray
    b_t: np.ndarray
    b_s: np.ndarray
    share_room: float
    kelvin_start: float = 0.0
    structure_start: float = 0.0
    comfort_kelvin: float = 1.0
    comfort_eur_per_kelvin_hour: float = 1.0


def discretise_building(
    hours: np.ndarray,
    cop: np.ndarray,
    *,
    c_room_kwh_per_k: float,
    c_structure_kwh_per_k: float,
    ua_between_kw_per_k: float,
    ua_outside_kw_per_k: float,
    ua_window_kw_per_k: float = 0.0,
) -> dict[str, np.ndarray]:
    """Exact coefficients of a building of two capacities for constant power in each step.

    Parameters
    ----------
    hours : ndarray, (time,)
        Length of each step. [h]
    cop : ndarray, (time,)
        Heat per electric energy. [-]
    c_room_kwh_per_k, c_structure_kwh_per_k : float
        Capacities of air with furniture and of walls. [kWh/K]
    ua_between_kw_per_k, ua_outside_kw_per_k, ua_window_kw_per_k : float
        Heat transfer from room to structure, structure to outside, room to outside. [kW/K]

    Returns
    -------
    dict of str to ndarray, (time,)
        `a_tt, a_ts, a_st, a_ss` [-] and `b_t, b_s` [K/kW].

    Notes
    -----
    x' = A x + B u; the exponential of [[A, B], [0, 0]] h holds both coefficients
    (C. F. Van Loan, IEEE Trans. Autom. Control 23(3), 1978, doi:10.1109/TAC.1978.1101743).
    """
    slope = np.zeros((3, 3))
    between, outside, window = ua_between_kw_per_k, ua_outside_kw_per_k, ua_window_kw_per_k
    slope[0] = np.array([-(between + window), between, 1.0]) / c_room_kwh_per_k
    slope[1] = np.array([between, -(between + outside), 0.0]) / c_structure_kwh_per_k
    kinds, kind_of = np.unique(hours, return_inverse=True)
    steps = np.array([expm(slope * h) for h in kinds])[kind_of]
    names = {"a_tt": (0, 0), "a_ts": (0, 1), "a_st": (1, 0), "a_ss": (1, 1)}
    return {name: steps[:, i, j] for name, (i, j) in names.items()} | {
        "b_t": steps[:, 0, 2] * cop,
        "b_s": steps[:, 1, 2] * cop,
    }


def cop_of_outdoor_temperature(
    temperature_celsius: np.ndarray, *, supply_celsius: float = 40.0, carnot_share: float = 0.45
) -> np.ndarray:
    """Heat per electric energy of an air heat pump. [-]

    Notes
    -----
    A share of Carnot's limit, n (T_supply + 273.15) / (T_supply - T_outdoor), between 1 and 6. Field
    studies of air heat pumps find shares of 0.35 to 0.5; 0.45 is assumed.

    Examples
    --------
    >>> cop_of_outdoor_temperature(np.array([-7.0, 7.0])).round(1)
    array([3. , 4.3])
    """
    lift = np.maximum(supply_celsius - temperature_celsius, 1.0)
    return np.asarray(np.clip(carnot_share * (supply_celsius + 273.15) / lift, 1.0, 6.0))


def thermostat_power_kw(
    temperature_celsius: np.ndarray, cop: np.ndarray, *, ua_kw_per_k: float, room_celsius: float, p_rated_kw: float
) -> np.ndarray:
    """Electric power that holds a room at its temperature: UA (T_room - T_outdoor) / COP, at most rated. [kW]"""
    heat_kw = ua_kw_per_k * np.maximum(room_celsius - temperature_celsius, 0.0)
    return np.asarray(np.minimum(heat_kw / cop, p_rated_kw))
