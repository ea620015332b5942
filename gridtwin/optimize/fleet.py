"""A fleet of electric cars as one flexible load: exact bounds, cheapest profile, and the error of the usual bands.

What a car can draw, between two powers while it is plugged in and between two energies
by departure, is a generalised polymatroid: the total over any set of steps has a largest
value, submodular in the set, and a smallest, supermodular. Such sets add up exactly, by
adding the bounds [1]_ [2]_. The *virtual battery* of band models keeps only the bounds of
single steps and of the steps so far; it promises more than the cars can do, and this
module says how much more.

References
----------
.. [1] K. Mukhi, G. Loho, A. Abate, "Exact characterization of aggregate flexibility via
   generalized polymatroids", 2025, arXiv:2503.23458
.. [2] A. Frank, "Connections in Combinatorial Optimization", Oxford University Press, 2011
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linprog

from gridtwin.errors import DataError, InfeasibleError
from gridtwin.optimize.fleet_cars import FleetCars, compile_fleet_cars

KWH_PER_MWH = 1000.0


@dataclass(frozen=True)
class FleetWindows:
    """The cars added up by the steps they are plugged in: exact, and no larger for more cars.

    Parameters
    ----------
    start, stop : ndarray of int, (window,)
        First step, and the step after the last.
    most_kwh, least_kwh : ndarray, (window, count)
        Largest and smallest energy of these cars over 0, 1, 2 ... steps of the window. [kWh]
    """

    start: np.ndarray
    stop: np.ndarray
    most_kwh: np.ndarray
    least_kwh: np.ndarray


@dataclass(frozen=True)
class FleetBands:
    """A fleet within a horizon: the virtual battery, and what makes it exact.

    Parameters
    ----------
    step_hours : float
        Length of a step. [h]
    p_min_kw, p_max_kw : ndarray, (time,)
        Smallest and largest power of the fleet in each step alone, consumption positive. [kW]
    e_min_kwh, e_max_kwh : ndarray, (time,)
        Smallest and largest energy of the fleet by the end of each step: charged as late,
        and as early, as possible. [kWh]
    cars : FleetCars
        The sessions.
    windows : FleetWindows
        Bounds of the energy over any set of steps.

    Notes
    -----
    The four bands are an outer approximation: each is reached, not all of them at once.
    """

    step_hours: float
    p_min_kw: np.ndarray
    p_max_kw: np.ndarray
    e_min_kwh: np.ndarray
    e_max_kwh: np.ndarray
    cars: FleetCars
    windows: FleetWindows

    @property
    def steps(self) -> int:
        """Length of the horizon."""
        return len(self.p_max_kw)


@dataclass(frozen=True)
class FleetProfile:
    """Power of a fleet and what it costs.

    Parameters
    ----------
    p_kw : ndarray, (time,)
        Power, consumption positive. [kW]
    cost_eur : float
        Cost of the energy. [EUR]
    """

    p_kw: np.ndarray
    cost_eur: float


@dataclass(frozen=True)
class VirtualBatteryError:
    """How much more than possible the virtual battery claims at given prices.

    Parameters
    ----------
    exact : FleetProfile
        Cheapest profile that the cars can follow: guaranteed feasible.
    outer : FleetProfile
        Cheapest profile within the bands; the cars may not be able to follow it.
    relative_error : float
        Cost that the bands promise and the cars miss, by the exact cost. [-]
    """

    exact: FleetProfile
    outer: FleetProfile
    relative_error: float


@dataclass(frozen=True)
class StepOrder:
    """Steps from the one wanted most to the one wanted least.

    Parameters
    ----------
    steps : ndarray of int, (time,)
        The steps in this order.
    wanted : int
        How many of them, from the front, are filled as far as possible; the others as little.
    """

    steps: np.ndarray
    wanted: int


def aggregate_fleet(sessions: pd.DataFrame, steps: int, step_hours: float) -> FleetBands:
    """Bands of a fleet of cars that charge and never feed in.

    Parameters
    ----------
    sessions : DataFrame
        One row per car and stay. `arrival_step` and `departure_step` count from the start of the
        horizon, departure exclusive; a car that is there already arrives at a negative step, one
        that stays departs after the last. `energy_kwh` is the largest energy of the stay, `p_max_kw`
        the rated power. Optional: `p_min_kw`, power that flows in every step (0); `energy_min_kwh`,
        the smallest energy by departure (all of `energy_kwh`); `charged_kwh`, charged before the
        horizon (what rated power since arrival has brought).
    steps : int
        Length of the horizon.
    step_hours : float
        Length of a step. [h]

    Raises
    ------
    DataError
        If sessions contradict themselves; all of them at once.

    Notes
    -----
    A car that departs after the horizon must have, by its end, what constant power over the
    whole stay would have brought (`flexible_assets.share_due`). Power that may be zero or above a
    threshold, but not between, is not convex and not covered.

    Examples
    --------
    Two cars in two steps of an hour, one of them for the second step only:

    >>> stays = {"arrival_step": [0, 1], "departure_step": [2, 2], "energy_kwh": [6.0, 2.0], "p_max_kw": [4.0, 4.0]}
    >>> bands = aggregate_fleet(pd.DataFrame(stays), 2, 1.0)
    >>> bands.p_max_kw.tolist(), bands.e_min_kwh.tolist(), bands.e_max_kwh.tolist()
    ([4.0, 6.0], [2.0, 8.0], [4.0, 8.0])
    """
    cars = compile_fleet_cars(sessions, steps, step_hours)
    windows = _add_up(cars, steps)
    backward = StepOrder(np.arange(steps)[::-1], 0)
    e_max_kwh, _ = nested_bounds(windows, StepOrder(np.arange(steps), steps))
    _, e_min_kwh = nested_bounds(windows, backward)
    return FleetBands(
        step_hours,
        p_min_kw=_covering(windows, windows.least_kwh[:, 1], steps) / step_hours,
        p_max_kw=_covering(windows, windows.most_kwh[:, 1], steps) / step_hours,
        e_min_kwh=e_min_kwh[-2::-1],
        e_max_kwh=e_max_kwh[1:],
        cars=cars,
        windows=windows,
    )


def cheapest_fleet_profile(bands: FleetBands, price_eur_per_mwh: np.ndarray) -> FleetProfile:
    """Cheapest profile that the cars can follow, exactly.

    Parameters
    ----------
    bands : FleetBands
        The fleet.
    price_eur_per_mwh : ndarray, (time,)
        Price of energy, of any sign. [EUR/MWh]

    Notes
    -----
    The greedy algorithm of generalised polymatroids: in the order of prices, steps that pay are
    filled as far as the bound of all steps so far allows, and steps that cost, from the dearest,
    take as little as the bound of all dearer steps demands. The work is one sort and two sums
    over windows.

    Examples
    --------
    >>> stays = {"arrival_step": [0, 1], "departure_step": [2, 2], "energy_kwh": [6.0, 2.0], "p_max_kw": [4.0, 4.0]}
    >>> bands = aggregate_fleet(pd.DataFrame(stays), 2, 1.0)
    >>> cheapest_fleet_profile(bands, np.array([50.0, 20.0])).p_kw.tolist()
    [2.0, 6.0]
    """
    price = np.asarray(price_eur_per_mwh, dtype=float)
    check_length(price, bands, "price_eur_per_mwh")
    return profile_at(bands, greedy_energy(bands, order_by(price)), price)


def virtual_battery_error(bands: FleetBands, price_eur_per_mwh: np.ndarray) -> VirtualBatteryError:
    """Exact and outer optimum at given prices, and the relative error of the outer one.

    Parameters
    ----------
    bands : FleetBands
        The fleet.
    price_eur_per_mwh : ndarray, (time,)
        Price of energy. [EUR/MWh]
    """
    price = np.asarray(price_eur_per_mwh, dtype=float)
    exact = cheapest_fleet_profile(bands, price)
    outer = _cheapest_within_bands(bands, price)
    missed_eur = exact.cost_eur - outer.cost_eur
    return VirtualBatteryError(exact, outer, missed_eur / abs(exact.cost_eur) if exact.cost_eur else 0.0)


def order_by(value: np.ndarray) -> StepOrder:
    """Steps by rising value; the negative ones are wanted."""
    return StepOrder(np.argsort(value, kind="stable"), int(np.sum(value < 0)))


def greedy_energy(bands: FleetBands, order: StepOrder) -> np.ndarray:
    """Energy of each step in the vertex that belongs to an order. (time,) [kWh]"""
    most, least = nested_bounds(bands.windows, order)
    return unnest(order, most, least)


def greedy_energy_of_cars(bands: FleetBands, order: StepOrder) -> np.ndarray:
    """Energy of each car in the same vertex: they add up to `greedy_energy`. (time, car) [kWh]"""
    cars = bands.cars
    count = _nested_counts(order, cars.start, cars.stop)
    return unnest(order, cars.most_kwh(count), cars.least_kwh(cars.stop - cars.start - count))


def nested_bounds(windows: FleetWindows, order: StepOrder) -> tuple[np.ndarray, np.ndarray]:
    """Largest energy over the first 0, 1, ... steps of an order, smallest over the others. (count,) [kWh]"""
    inside = _nested_counts(order, windows.start, windows.stop)
    row = np.arange(len(windows.start))
    most = windows.most_kwh[row, inside].sum(axis=1)
    least = windows.least_kwh[row, windows.stop - windows.start - inside].sum(axis=1)
    return np.asarray(most), np.asarray(least)


def subset_bounds(windows: FleetWindows, inside: np.ndarray) -> tuple[float, float]:
    """Largest and smallest energy over a set of steps, given as a mask. (time,) -> [kWh]"""
    so_far = np.concatenate([[0], np.cumsum(inside)])
    row, count = np.arange(len(windows.start)), so_far[windows.stop] - so_far[windows.start]
    return float(windows.most_kwh[row, count].sum()), float(windows.least_kwh[row, count].sum())


def unnest(order: StepOrder, most: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Differences of nested bounds, back at the steps: `most` for the wanted ones, `least` for the others."""
    energy = np.empty((len(most) - 1, *most.shape[1:]))
    energy[order.steps[: order.wanted]] = np.diff(most, axis=0)[: order.wanted]
    energy[order.steps[order.wanted :]] = -np.diff(least, axis=0)[order.wanted :]
    return energy


def profile_at(bands: FleetBands, energy_kwh: np.ndarray, price_eur_per_mwh: np.ndarray) -> FleetProfile:
    """A profile and its cost from the energy of each step. (time,) [kWh]"""
    cost_eur = float(price_eur_per_mwh @ energy_kwh) / KWH_PER_MWH
    return FleetProfile(energy_kwh / bands.step_hours, cost_eur)


def _nested_counts(order: StepOrder, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """How many of the first 0, 1, ... steps of an order lie in each window. (count, window)"""
    length = len(order.steps)
    rank = np.empty(length, dtype=int)
    rank[order.steps] = np.arange(length)
    before = np.zeros((length + 1, length + 1), dtype=int)
    np.cumsum(rank < np.arange(length + 1)[:, None], axis=1, out=before[:, 1:])
    return np.asarray(before[:, stop] - before[:, start])


def _add_up(cars: FleetCars, steps: int) -> FleetWindows:
    """Bounds of all cars that share a window, added."""
    windows, window_of = np.unique(np.stack([cars.start, cars.stop]), axis=1, return_inverse=True)
    number = windows.shape[1]
    most, least = np.zeros((number, steps + 1)), np.zeros((number, steps + 1))
    for count in range(steps + 1):
        # a count beyond the window repeats its end; it is never asked for
        inside = np.minimum(count, cars.stop - cars.start)
        most[:, count] = np.bincount(window_of.ravel(), cars.most_kwh(inside), number)
        least[:, count] = np.bincount(window_of.ravel(), cars.least_kwh(inside), number)
    return FleetWindows(windows[0], windows[1], most, least)


def _covering(windows: FleetWindows, value: np.ndarray, steps: int) -> np.ndarray:
    """Sum of a value over the windows that cover each step. (time,)"""
    edges = np.bincount(windows.start, value, steps + 1) - np.bincount(windows.stop, value, steps + 1)
    return np.asarray(np.cumsum(edges)[:-1])


def _cheapest_within_bands(bands: FleetBands, price_eur_per_mwh: np.ndarray) -> FleetProfile:
    """Cheapest profile of the virtual battery, by a linear program in energy per step and energy so far."""
    steps, hours = bands.steps, bands.step_hours
    gain = sparse.diags_array([np.ones(steps), -np.ones(steps - 1)], offsets=[0, -1])
    low = np.concatenate([bands.p_min_kw * hours, bands.e_min_kwh])
    # adding up in another order may turn two equal bounds around
    high = np.maximum(low, np.concatenate([bands.p_max_kw * hours, bands.e_max_kwh]))
    found = linprog(
        np.concatenate([price_eur_per_mwh, np.zeros(steps)]),
        A_eq=sparse.hstack([sparse.eye_array(steps), -gain], format="csr"),
        b_eq=np.zeros(steps),
        bounds=np.stack([low, high], axis=1),
    )
    if found.status != 0:
        raise InfeasibleError(f"no profile within the bands of the fleet was found: {found.message}")
    return profile_at(bands, found.x[:steps], price_eur_per_mwh)


def check_length(values: np.ndarray, bands: FleetBands, name: str) -> None:
    """Raise unless there is one finite value per step."""
    if values.shape != (bands.steps,) or not np.isfinite(values).all():
        raise DataError(f"{name}: expected {bands.steps} finite values, one per step, got shape {values.shape}")
