"""Charging sessions of a fleet, as far as they lie in a horizon of equal steps, in kWh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding, raise_errors

FLEET_COLUMNS = ["arrival_step", "departure_step", "energy_kwh", "p_max_kw"]
"""Columns that a table of sessions must have."""
ROUNDING_KWH = 1e-9
"""Energy by which a session may miss its own bounds, from adding up decimal fractions. [kWh]"""


@dataclass(frozen=True)
class FleetCars:
    """Every session as far as it lies in the horizon.

    Parameters
    ----------
    labels : Index, (car,)
        Labels of the table of sessions.
    start, stop : ndarray of int, (car,)
        First step, and the step after the last.
    step_min_kwh, step_max_kwh : ndarray, (car,)
        Smallest and largest energy of one step. [kWh]
    e_min_kwh, e_max_kwh : ndarray, (car,)
        Smallest and largest energy within the horizon. [kWh]
    """

    labels: pd.Index
    start: np.ndarray
    stop: np.ndarray
    step_min_kwh: np.ndarray
    step_max_kwh: np.ndarray
    e_min_kwh: np.ndarray
    e_max_kwh: np.ndarray

    def most_kwh(self, count: np.ndarray) -> np.ndarray:
        """Largest energy of each car over `count` of its steps. [kWh]"""
        elsewhere = self.step_min_kwh * (self.stop - self.start - count)
        return np.asarray(np.minimum(self.step_max_kwh * count, self.e_max_kwh - elsewhere))

    def least_kwh(self, count: np.ndarray) -> np.ndarray:
        """Smallest energy of each car over `count` of its steps. [kWh]"""
        elsewhere = self.step_max_kwh * (self.stop - self.start - count)
        return np.asarray(np.maximum(self.step_min_kwh * count, self.e_min_kwh - elsewhere))


def compile_fleet_cars(sessions: pd.DataFrame, steps: int, step_hours: float) -> FleetCars:
    """Sessions that touch the horizon, with what they may and must charge in it.

    Parameters
    ----------
    sessions : DataFrame
        As `fleet.aggregate_fleet` describes it.
    steps : int
        Length of the horizon.
    step_hours : float
        Length of a step. [h]
    """
    raise_errors(_check_columns(sessions), DataError)
    here = sessions[(sessions["departure_step"] > 0) & (sessions["arrival_step"] < steps)]
    arrival, departure = here["arrival_step"].to_numpy(int), here["departure_step"].to_numpy(int)
    energy, p_max = here["energy_kwh"].to_numpy(float), here["p_max_kw"].to_numpy(float)
    before = np.minimum(energy, p_max * step_hours * np.maximum(-arrival, 0))
    charged = _optional(here, "charged_kwh", before)
    share_due = np.minimum(1.0, (steps - arrival) / np.maximum(departure - arrival, 1))
    due = _optional(here, "energy_min_kwh", energy) * share_due
    cars = FleetCars(
        here.index,
        np.maximum(arrival, 0),
        np.minimum(departure, steps),
        step_min_kwh=_optional(here, "p_min_kw", np.zeros(len(here))) * step_hours,
        step_max_kwh=p_max * step_hours,
        e_min_kwh=np.maximum(due - charged, 0.0),
        e_max_kwh=energy - charged,
    )
    raise_errors(_check_cars(cars), DataError)
    return cars


def _optional(sessions: pd.DataFrame, column: str, default: np.ndarray) -> np.ndarray:
    return sessions[column].to_numpy(float) if column in sessions else default


def _check_columns(sessions: pd.DataFrame) -> list[Finding]:
    """Finding where a column is missing, or a step is not a whole number."""
    whole = [
        name in sessions and bool(np.all(sessions[name].to_numpy(float) % 1 == 0))
        for name in ("arrival_step", "departure_step")
    ]
    if all(whole) and all(name in sessions for name in FLEET_COLUMNS):
        return []
    expected = f"{', '.join(FLEET_COLUMNS)}, the steps as whole numbers"
    got = ", ".join(f"{name} ({kind})" for name, kind in sessions.dtypes.items())
    return [Finding("the table of sessions is incomplete", expected=expected, got=got, severity="error", code="GT-O20")]


def _check_cars(cars: FleetCars) -> list[Finding]:
    """Findings where a session cannot be met; a comparison with a missing value fails too."""
    length, some = cars.stop - cars.start, ROUNDING_KWH
    held = {
        "departs before it arrives": length > 0,
        "has powers out of order": (cars.step_min_kwh >= 0) & (cars.step_max_kwh >= cars.step_min_kwh),
        "must charge more than it may": cars.e_min_kwh <= cars.e_max_kwh + some,
        "must charge more than rated power brings": cars.e_min_kwh <= cars.step_max_kwh * length + some,
        "may charge less than minimum power brings": cars.e_max_kwh >= cars.step_min_kwh * length - some,
    }
    return [finding for what, fine in held.items() for finding in _findings(cars, what, fine)]


def _findings(cars: FleetCars, what: str, fine: np.ndarray) -> Iterator[Finding]:
    labels = cars.labels.to_list()
    for car in np.flatnonzero(~fine):
        yield Finding(
            f"the car {what}",
            where=f"session {labels[car]!r}",
            expected="0 <= p_min <= p_max and an energy between what they bring while it is plugged in",
            got=f"{cars.e_min_kwh[car]:g} to {cars.e_max_kwh[car]:g} kWh in {cars.stop[car] - cars.start[car]} steps "
            f"of {cars.step_min_kwh[car]:g} to {cars.step_max_kwh[car]:g} kWh",
            do="Correct the session, or lower energy_min_kwh to what it can reach.",
            severity="error",
            code="GT-O21",
        )
