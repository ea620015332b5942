"""Can the cars of a fleet follow a plan, and who charges when: exact, and a proof where they cannot.

A plan is shared out by maximum flow from cars to steps. Where the flow is too small, its
minimum cut is a set of steps over which the plan takes more than the cars can take, or
less than they must [1]_. Charging whoever has the least time to spare is not exact for
cars of different power.

References
----------
.. [1] J. Edmonds, "Submodular functions, matroids, and certain polyhedra", 1970, reprinted in
   Combinatorial Optimization - Eureka, You Shrink!, Springer 2003, doi:10.1007/3-540-36478-1_2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linprog
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from gridtwin.errors import Finding, InfeasibleError
from gridtwin.optimize.fleet import (
    FleetBands,
    FleetProfile,
    StepOrder,
    check_length,
    nested_bounds,
    order_by,
    profile_at,
    subset_bounds,
)

PLAN_TOLERANCE = 1e-9
"""Energy by which a plan may miss a bound, by the energy of the fleet. [-]"""
ROUNDING = 1e-13
"""Energy that is not worth another round, by the energy of the fleet. [-]"""
LARGEST_FLOW = 2**29
"""Units in a round of the maximum flow, which counts in 32 bits."""
MOST_ROUNDS = 1000
"""Subsets after which a limited profile gives up."""


@dataclass(frozen=True)
class SubsetBound:
    """What the cars allow or demand over a set of steps.

    Parameters
    ----------
    steps : ndarray of int, (step,)
        The set, ascending.
    is_upper : bool
        Whether the energy may not be above, or not below.
    bound_kwh : float
        Largest, or smallest, energy over the set. [kWh]
    excess_kwh : float
        By how much a plan misses it. [kWh]
    """

    steps: np.ndarray
    is_upper: bool
    bound_kwh: float
    excess_kwh: float


def find_violated_subset(bands: FleetBands, p_kw: np.ndarray) -> SubsetBound | None:
    """A set of steps in which the cars cannot follow a plan; None where they can.

    Parameters
    ----------
    bands : FleetBands
        The fleet.
    p_kw : ndarray, (time,)
        Planned power of the fleet. [kW]

    Notes
    -----
    With the bound as a row of a linear program, plans are separated one by one.
    """
    check_length(p_kw, bands, "p_kw")
    return _share_out(bands, p_kw * bands.step_hours, enough=PLAN_TOLERANCE)[1]


def disaggregate_fleet(bands: FleetBands, p_kw: np.ndarray) -> pd.DataFrame:
    """Power of every car, such that they add up to a plan. (time, car) [kW]

    Parameters
    ----------
    bands : FleetBands
        The fleet.
    p_kw : ndarray, (time,)
        Planned power of the fleet. [kW]

    Raises
    ------
    InfeasibleError
        If the cars cannot follow the plan; it names the steps and the bound.

    Examples
    --------
    >>> from gridtwin.optimize.fleet import aggregate_fleet
    >>> stays = {"arrival_step": [0, 1], "departure_step": [2, 2], "energy_kwh": [6.0, 2.0], "p_max_kw": [4.0, 4.0]}
    >>> bands = aggregate_fleet(pd.DataFrame(stays), 2, 1.0)
    >>> disaggregate_fleet(bands, np.array([3.0, 5.0])).to_numpy().round(6).tolist()
    [[3.0, 0.0], [3.0, 2.0]]
    """
    check_length(p_kw, bands, "p_kw")
    energy, missed = _share_out(bands, p_kw * bands.step_hours, enough=ROUNDING)
    if missed is not None:
        raise InfeasibleError([_plan_finding(missed)])
    return pd.DataFrame(energy / bands.step_hours, columns=bands.cars.labels)


def cheapest_limited_profile(bands: FleetBands, price_eur_per_mwh: np.ndarray, p_limit_kw: np.ndarray) -> FleetProfile:
    """Cheapest profile that the cars can follow below a limit of the fleet's power.

    Parameters
    ----------
    bands : FleetBands
        The fleet.
    price_eur_per_mwh : ndarray, (time,)
        Price of energy. [EUR/MWh]
    p_limit_kw : ndarray, (time,)
        Largest power of the fleet. [kW]

    Raises
    ------
    InfeasibleError
        If the cars cannot stay below the limit.

    Notes
    -----
    A linear program in the power of the fleet alone. It starts with the bands; bounds over other
    sets of steps are added where its solution misses them, until the cars can follow it. With the
    price of the limit on top of the price of energy, most of these sets are the cheapest steps of
    their order; the others are separated by maximum flow.
    """
    check_length(price_eur_per_mwh, bands, "price_eur_per_mwh")
    check_length(p_limit_kw, bands, "p_limit_kw")
    bounds: list[SubsetBound] = []
    for _ in range(MOST_ROUNDS):
        energy, surcharge = _solve(bands, price_eur_per_mwh, p_limit_kw, bounds)
        missed = _missed_in_order(bands, energy, order_by(price_eur_per_mwh + surcharge))
        cut = None if missed else find_violated_subset(bands, energy / bands.step_hours)
        if not missed and cut is None:
            return profile_at(bands, energy, price_eur_per_mwh)
        bounds += missed if cut is None else [cut]
    raise InfeasibleError(f"no profile below the limit was proved cheapest in {MOST_ROUNDS} rounds")


def _solve(
    bands: FleetBands, price_eur_per_mwh: np.ndarray, p_limit_kw: np.ndarray, bounds: list[SubsetBound]
) -> tuple[np.ndarray, np.ndarray]:
    """Cheapest energy within bands, limit and the bounds so far, and the price of the limit. [kWh], [EUR/MWh]"""
    hours, so_far = bands.step_hours, np.tri(bands.steps)
    sign = np.array([1.0 if bound.is_upper else -1.0 for bound in bounds])
    inside = [np.isin(np.arange(bands.steps), bound.steps) for bound in bounds]
    lowest, highest = bands.p_min_kw * hours, np.minimum(bands.p_max_kw, p_limit_kw) * hours
    if (lowest > highest + PLAN_TOLERANCE * _scale(bands)).any():
        raise InfeasibleError("the limit lies below the smallest power of the fleet")
    found = linprog(
        price_eur_per_mwh,
        A_ub=np.concatenate([so_far, -so_far, *(part * row[None, :] for part, row in zip(sign, inside, strict=True))]),
        b_ub=np.concatenate([bands.e_max_kwh, -bands.e_min_kwh, sign * [bound.bound_kwh for bound in bounds]]),
        bounds=np.stack([lowest, np.maximum(lowest, highest)], axis=1),
    )
    if found.status != 0:
        raise InfeasibleError(f"the cars of the fleet cannot stay below the limit: {found.message}")
    return np.asarray(found.x), np.where(p_limit_kw < bands.p_max_kw, -found.upper.marginals, 0.0)


def _missed_in_order(bands: FleetBands, energy_kwh: np.ndarray, order: StepOrder) -> list[SubsetBound]:
    """Bounds over the first steps of an order, and over all others, that a plan misses."""
    most, least = nested_bounds(bands.windows, order)
    planned = np.concatenate([[0.0], np.cumsum(energy_kwh[order.steps])])
    above, below = planned - most, least - (planned[-1] - planned)
    tolerance = PLAN_TOLERANCE * _scale(bands)
    upper = [
        SubsetBound(np.sort(order.steps[:count]), True, float(most[count]), float(above[count]))
        for count in np.flatnonzero(above > tolerance)
    ]
    lower = [
        SubsetBound(np.sort(order.steps[count:]), False, float(least[count]), float(below[count]))
        for count in np.flatnonzero(below > tolerance)
    ]
    return upper + lower


@dataclass(frozen=True)
class _Network:
    """Energy from cars to steps, above the smallest power of each car.

    Parameters
    ----------
    car, step : ndarray of int, (edge,)
        Where an edge begins and ends; the step after the last takes what may stay uncharged.
    room_kwh : ndarray, (edge,)
        Largest flow. [kWh]
    supply_kwh, demand_kwh : ndarray, (car,) and (step,)
        What has to flow out of a car and into a step. [kWh]
    """

    car: np.ndarray
    step: np.ndarray
    room_kwh: np.ndarray
    supply_kwh: np.ndarray
    demand_kwh: np.ndarray

    def left(self, flow_kwh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Supply and demand that a flow leaves open. (car,) and (step,) [kWh]"""
        out = np.bincount(self.car, flow_kwh, len(self.supply_kwh))
        into = np.bincount(self.step, flow_kwh, len(self.demand_kwh))
        return self.supply_kwh - out, self.demand_kwh - into


def _share_out(bands: FleetBands, energy_kwh: np.ndarray, *, enough: float) -> tuple[np.ndarray, SubsetBound | None]:
    """Energy of every car by maximum flow, and the bound that the plan misses. (time, car) [kWh]

    Notes
    -----
    Capacities of the flow have to be integers. Every round sends what the rounding of the last one
    left behind, in a smaller unit, until little `enough` of the fleet's energy is left; where nothing more
    can be sent, the cut names the bound.
    """
    missed = _missed_band(bands, energy_kwh)
    if missed is not None:
        return np.empty(0), missed
    network = _build_network(bands, energy_kwh)
    flow, left_kwh, reached = np.zeros(len(network.car)), np.inf, np.zeros(bands.steps, dtype=bool)
    while True:
        supply, demand = network.left(flow)
        before, left_kwh = left_kwh, float(np.abs(demand).sum())
        if left_kwh <= enough * _scale(bands) or left_kwh > 0.5 * before:
            break
        more, reached = _send(network, flow, supply, demand, unit_kwh=left_kwh / LARGEST_FLOW)
        flow = flow + more
    if left_kwh > PLAN_TOLERANCE * _scale(bands):
        missed = _most_violated(bands, energy_kwh, reached)
    return _charged(bands, network, flow), missed


def _build_network(bands: FleetBands, energy_kwh: np.ndarray) -> _Network:
    cars, step = bands.cars, np.arange(bands.steps)[:, None]
    at, car = np.nonzero((step >= cars.start) & (step < cars.stop))
    number = len(cars.start)
    forced = np.bincount(at, cars.step_min_kwh[car], bands.steps)
    idle = cars.e_max_kwh - cars.e_min_kwh
    return _Network(
        car=np.concatenate([car, np.arange(number)]),
        step=np.concatenate([at, np.full(number, bands.steps)]),
        room_kwh=np.concatenate([(cars.step_max_kwh - cars.step_min_kwh)[car], idle]),
        supply_kwh=cars.e_max_kwh - cars.step_min_kwh * (cars.stop - cars.start),
        demand_kwh=np.append(energy_kwh - forced, cars.e_max_kwh.sum() - energy_kwh.sum()),
    )


def _send(
    network: _Network, flow_kwh: np.ndarray, supply_kwh: np.ndarray, demand_kwh: np.ndarray, *, unit_kwh: float
) -> tuple[np.ndarray, np.ndarray]:
    """More flow in whole units, and the steps that more supply could still reach. (edge,) [kWh] and (time,)"""
    cars, steps = len(supply_kwh), len(demand_kwh)
    # nodes: cars, steps, source, sink; flow on an edge may also be taken back
    source, sink = cars + steps, cars + steps + 1
    begin, end = network.car, cars + network.step
    tail = np.concatenate([begin, end, np.full(cars, source), cars + np.arange(steps)])
    head = np.concatenate([end, begin, np.arange(cars), np.full(steps, sink)])
    room = np.concatenate([network.room_kwh - flow_kwh, flow_kwh, supply_kwh, demand_kwh])
    units = np.floor(np.clip(room / unit_kwh, 0, 2 * LARGEST_FLOW)).astype(np.int32)
    graph = sparse.csr_array((units, (tail, head)), shape=(sink + 1, sink + 1))
    sent = maximum_flow(graph, source, sink).flow
    rest = sparse.csr_array(graph - sent)
    rest.eliminate_zeros()
    reached = np.zeros(sink + 1, dtype=bool)
    reached[breadth_first_order(rest, source, return_predecessors=False)] = True
    return unit_kwh * np.asarray(sent[begin, end]).ravel(), reached[cars : cars + steps - 1]


def _charged(bands: FleetBands, network: _Network, flow_kwh: np.ndarray) -> np.ndarray:
    """Energy of every car from the flow and its smallest power. (time, car) [kWh]"""
    energy = np.zeros((bands.steps + 1, len(bands.cars.start)))
    energy[network.step, network.car] = flow_kwh + bands.cars.step_min_kwh[network.car]
    return energy[:-1]


def _most_violated(bands: FleetBands, energy_kwh: np.ndarray, inside: np.ndarray) -> SubsetBound:
    """Of the bounds over a set of steps and over all others, the one that a plan misses most."""
    found = []
    for mask in (inside, ~inside):
        most, least = subset_bounds(bands.windows, mask)
        steps, planned = np.flatnonzero(mask), float(energy_kwh[mask].sum())
        found += [SubsetBound(steps, True, most, planned - most), SubsetBound(steps, False, least, least - planned)]
    return max(found, key=lambda bound: bound.excess_kwh)


def _missed_band(bands: FleetBands, energy_kwh: np.ndarray) -> SubsetBound | None:
    """The bound of a single step, or of the steps so far, that a plan misses most; None where it misses none."""
    alone, so_far = np.eye(bands.steps, dtype=bool), np.tri(bands.steps, dtype=bool)
    power, energy = energy_kwh / bands.step_hours, np.cumsum(energy_kwh)
    misses = np.stack(
        [
            np.maximum(power - bands.p_max_kw, bands.p_min_kw - power) * bands.step_hours,
            np.maximum(energy - bands.e_max_kwh, bands.e_min_kwh - energy),
        ]
    )
    kind, step = np.unravel_index(int(np.argmax(misses)), misses.shape)
    missed = _most_violated(bands, energy_kwh, (alone, so_far)[kind][step])
    return missed if missed.excess_kwh > PLAN_TOLERANCE * _scale(bands) else None


def _scale(bands: FleetBands) -> float:
    """Energy to which tolerances refer. [kWh]"""
    return max(1.0, float(bands.e_max_kwh[-1]))


def _plan_finding(missed: SubsetBound) -> Finding:
    steps = ", ".join(map(str, missed.steps))
    limit, word = ("at most", "above") if missed.is_upper else ("at least", "below")
    return Finding(
        "the cars of the fleet cannot follow the plan",
        where=f"steps {steps}",
        expected=f"{limit} {missed.bound_kwh:g} kWh over these steps together",
        got=f"{missed.excess_kwh:g} kWh {word} it",
        do="Plan with cheapest_fleet_profile or cheapest_limited_profile: the bands alone promise too much.",
        severity="error",
        code="GT-O22",
    )
