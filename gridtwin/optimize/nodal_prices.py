"""What one more kWh is worth at each bus and hour, and what each device pays and earns at that price.

The price of a bus is what the cheapest plan of the day would cost more if somebody there took
one kWh more. It comes from the duals of the rows that join the devices, so that it splits
exactly into what the rows stand for:

    price[t, b] = energy[t] + congestion[t, b] + voltage[t, b] + losses[t, b]

    energy[t]         = day-ahead price - sum over scenarios of dual of the area's balance / h
    congestion[t, b]  = - sum over branch rows k on t of dual[k] weight[k, b] / h
    voltage[t, b]     = the same over bus rows
    losses[t, b]      = price at the bus that the problem was given
                        - sum over lines k of losses on t of dual[k] slope[k, b] / h

A dual is what the optimum gains per unit of a row's bound; a network row's is never positive.
Where whole numbers had to be searched for, the duals are those of the linear program before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.nomenclature import attrs_of
from gridtwin.optimize.block_program import port_values
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.lone_devices import least_own_costs_eur, own_costs_eur
from gridtwin.optimize.model import FlexibilityProgram
from gridtwin.optimize.network_limits import NetworkLimits
from gridtwin.optimize.whole_numbers import FlexibilitySolution

PRICE_PARTS = ("energy", "congestion", "voltage", "losses")
"""Parts of a nodal price, which sum to it."""
SETTLEMENT_COLUMNS = [
    *("asset", "bus", "kind"),
    *(f"{part}_eur" for part in PRICE_PARTS),
    *("payment_eur", "base_payment_eur", "own_cost_eur", "base_own_cost_eur", "gain_eur"),
]
"""Columns of a settlement."""


def find_nodal_prices(
    program: FlexibilityProgram,
    solution: FlexibilitySolution,
    limits: NetworkLimits,
    *,
    times: pd.DatetimeIndex | None = None,
) -> xr.Dataset:
    """Price of one more kWh consumed at each bus, in parts.

    Parameters
    ----------
    program, solution : FlexibilityProgram and FlexibilitySolution
        The problem and its optimum.
    limits : NetworkLimits
        What the rows of the program stand for.
    times : DatetimeIndex, (time,), optional
        Starts of the steps, UTC; without it steps are numbered.

    Returns
    -------
    Dataset
        `price_eur_per_mwh` and its parts `energy, congestion, voltage, losses` (time, bus) [EUR/MWh];
        where network rows weigh reactive power also `reactive_congestion, reactive_voltage`
        [EUR/Mvarh], the price of one more kvarh consumed.
    """
    problem = program.problem
    parts = {"energy": _energy_price(program, solution), "losses": _loss_price(program, solution)}
    weights = {"": problem.rows.weight}
    if problem.rows.weight_q is not None:
        weights["reactive_"] = problem.rows.weight_q
    at_bus = limits.table["kind"].to_numpy()[problem.rows.limit] == "bus"
    for prefix, weight in weights.items():
        for name, chosen in (("congestion", ~at_bus), ("voltage", at_bus)):
            parts[prefix + name] = _row_price(program, solution, weight * chosen[:, None])
    parts["price_eur_per_mwh"] = sum((parts[name] for name in PRICE_PARTS), np.zeros(1))
    named = {name: (("time", "bus"), KW_PER_MW * part, _attrs(name)) for name, part in parts.items()}
    time = np.arange(len(problem.hours)) if times is None else times
    return xr.Dataset(named, coords={"time": time, "bus": list(problem.buses)})


def _attrs(name: str) -> dict[str, str]:
    if name == "price_eur_per_mwh":
        return attrs_of(name) | {"long_name": "nodal price", "description": "one more MWh consumed at the bus"}
    unit = "EUR/Mvarh" if name.startswith("reactive") else "EUR/MWh"
    return {"units": unit, "long_name": f"nodal price, part of {name.replace('_', ' ')}"}


def _energy_price(program: FlexibilityProgram, solution: FlexibilitySolution) -> np.ndarray:
    """Day-ahead price with what the area's exchange costs on top, the same at all buses. (time, bus) [EUR/kWh]"""
    problem = program.problem
    price = np.atleast_2d(problem.terms.price_eur_per_kwh)
    mean = price[0] if len(price) == 1 else problem.terms.probability @ price
    balance = solution.coupling_dual[program.area_rows].reshape(problem.scenarios, -1).sum(axis=0)
    # a kW more lowers the right-hand side of the balance in every scenario
    return np.repeat((mean - balance / problem.hours)[:, None], len(problem.buses), axis=1)


def _loss_price(program: FlexibilityProgram, solution: FlexibilitySolution) -> np.ndarray:
    """What energy lost on the way adds. (time, bus) [EUR/kWh]"""
    problem = program.problem
    price = np.zeros((len(problem.hours), len(problem.buses)))
    if problem.bus_price_eur_per_kwh is not None:
        price += problem.bus_price_eur_per_kwh
    if problem.losses is not None:
        dual = solution.coupling_dual[program.loss_rows]
        price += _price_of_rows(problem.losses.step, dual, problem.losses.slope, problem.hours)
    return price


def _row_price(program: FlexibilityProgram, solution: FlexibilitySolution, weight: np.ndarray) -> np.ndarray:
    """What network rows add to the price. (time, bus) [EUR/kWh]"""
    dual = solution.coupling_dual[program.limit_rows]
    return _price_of_rows(program.problem.rows.step, dual, weight, program.problem.hours)


def _price_of_rows(step: np.ndarray, dual: np.ndarray, weight: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """What rows with a weight at each bus add to the price of their step. (time, bus) [EUR/kWh]"""
    price = np.zeros((len(hours), weight.shape[1]))
    np.add.at(price, step, -dual[:, None] * weight)
    return np.asarray(price / hours[:, None])


def settle_devices(
    program: FlexibilityProgram,
    solution: FlexibilitySolution,
    prices: xr.Dataset,
    *,
    base_kw: np.ndarray | None = None,
    base_devices: tuple[Device, ...] | None = None,
) -> pd.DataFrame:
    """What each device pays at its nodal prices, and what it gains against doing what it would do anyway.

    Parameters
    ----------
    program, solution : FlexibilityProgram and FlexibilitySolution
        The problem and its optimum.
    prices : Dataset
        From `find_nodal_prices`.
    base_kw : ndarray, (time, device), optional
        What each device would do unscheduled, consumption positive; without it its `p_base_kw`, which a
        charging session does not have. [kW]
    base_devices : tuple of Device, optional
        The devices as they would stand unscheduled, such as cars that were charged the day before; without
        them those of the problem.

    Returns
    -------
    DataFrame
        One row per device: `asset, bus, kind`; `energy_eur, congestion_eur, voltage_eur, losses_eur` and
        their sum `payment_eur`; `base_payment_eur`, the payment for its base at the same prices;
        `own_cost_eur`, its wear, discomfort, curtailment and unserved wishes less what it holds in store;
        `base_own_cost_eur`, the least of these at its base; and
        `gain_eur = base_payment_eur + base_own_cost_eur - payment_eur - own_cost_eur`. Payments are
        positive where the device pays. The base's own cost and the gain are NaN where the device cannot do its base.

    Notes
    -----
    At the optimum of a linear program every row with a dual is full, and so

        sum of congestion_eur + voltage_eur over devices = sum over rows k of -dual[k] (room[k] + over[k])

    with the planned breach over[k]. The room is what flows that cannot be moved leave of a limit; a limit
    as such earns -dual[k] times all that it carries, and what cannot be moved pays the rest. No device
    loses by the plan: at these prices it is the best that each can do, whatever the others do. Both hold
    where no whole numbers were searched for.
    """
    problem = program.problem
    p_kw, q_kvar = _read_ports(program, solution)
    if base_kw is None:
        base_kw = np.zeros_like(p_kw)
        for position, device in enumerate(problem.devices):
            base_kw[:, position] = device.p_base_kw
    unscheduled = problem if base_devices is None else replace(problem, devices=base_devices)
    at = [problem.buses.index(device.bus) for device in problem.devices]
    paid = _payments(problem.hours, prices, p_kw, q_kvar, at)
    base = _payments(problem.hours, prices, base_kw, np.zeros_like(base_kw), at)
    table = pd.DataFrame(
        {
            "asset": [device.name for device in problem.devices],
            "bus": [device.bus for device in problem.devices],
            "kind": [device.template.kind for device in problem.devices],
            **{f"{part}_eur": paid[part] for part in PRICE_PARTS},
            "payment_eur": sum((paid[part] for part in PRICE_PARTS), np.zeros(1)),
            "base_payment_eur": sum((base[part] for part in PRICE_PARTS), np.zeros(1)),
            "own_cost_eur": own_costs_eur(problem, solution.x),
            "base_own_cost_eur": least_own_costs_eur(unscheduled, base_kw),
        }
    )
    gain = table["base_payment_eur"] + table["base_own_cost_eur"] - table["payment_eur"] - table["own_cost_eur"]
    return table.assign(gain_eur=gain)[SETTLEMENT_COLUMNS]


def _read_ports(program: FlexibilityProgram, solution: FlexibilitySolution) -> tuple[np.ndarray, np.ndarray]:
    """Active and reactive power of every device, exactly as the rows count them. (time, device) [kW], [kvar]"""
    steps = len(program.problem.hours)
    p_kw, q_kvar = (np.zeros((steps, len(program.problem.devices))) for _ in range(2))
    for fleet, members, x in zip(program.device_fleets, program.members, solution.x, strict=False):
        shown = port_values(fleet.family, x)
        p_kw[:, members] = shown[:steps]
        if len(shown) > steps:
            q_kvar[:, members] = shown[steps : 2 * steps]
    return p_kw, q_kvar


def _payments(
    hours: np.ndarray, prices: xr.Dataset, p_kw: np.ndarray, q_kvar: np.ndarray, at: list[int]
) -> dict[str, np.ndarray]:
    """Payment of each device for each part of the price. (device,) [EUR]"""
    paid = {}
    for part in PRICE_PARTS:
        price = prices[part].to_numpy()[:, at] / KW_PER_MW
        paid[part] = hours @ (price * p_kw)
        if f"reactive_{part}" in prices:
            paid[part] = paid[part] + hours @ (prices[f"reactive_{part}"].to_numpy()[:, at] / KW_PER_MW * q_kvar)
    return paid


def congestion_rent_eur(program: FlexibilityProgram, solution: FlexibilitySolution) -> np.ndarray:
    """What each network row earns from flexible power: -dual (room + planned breach). (row,) [EUR]"""
    rows = program.problem.rows
    if not len(rows):
        return np.zeros(0)
    over_kw = solution.x[program.fleet("breach")][0]
    dual = solution.coupling_dual[program.limit_rows]
    return np.asarray(-dual * (program.blocks.upper[program.limit_rows] + over_kw))
