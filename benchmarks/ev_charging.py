"""Energy that charging algorithms deliver behind a limited connection, and how much could have been delivered.

Run it as `python -m benchmarks.ev_charging`; it writes `benchmarks/results/ev_charging.json`. Sessions of the charging
site of Caltech, May to September 2021, in whole steps of five minutes; every station has 6.6 kW (32 A at 208 V) and
shares the connection with the others, in one phase. `GRIDTWIN_DATA` names the folder of the data. `GRIDTWIN_ACN_EVENTS`
may name the event file of March 2019 that acnportal's experiments publish (github.com/caltech-netlab/
acnportal-experiments, 2.1, BSD-3): its stored results then stand beside ours.

Algorithms know when the cars that are there will leave and what they ask for, nothing about cars to come. The offline
bound knows all.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linprog

RESULTS = Path(__file__).parent / "results"
SESSIONS_FILE = Path("acn_ev_sessions") / "site0002_2021-05_2021-09.parquet"
FAST_CHARGER = "2-39-81-4550"
"""Left out: the median of its 618 sessions draws 33 kW, which is no station of 6.6 kW."""
STEP_HOURS = 1 / 12
P_MAX_KW = 6.6
LIMITS_KW = np.array([5, *range(10, 131, 5), 150], dtype=float)
"""27 limits from 5 to 150 kW."""
REFERENCE_LIMITS_KW = np.arange(10.0, 141.0, 5.0)
"""The published results have 27 limits and a lowest peak of 9.94 kW; that steps of 5 kW begin at 10 is inferred."""
REFERENCE_MEAN_PERCENT = {
    "first_come_first_served": 95.533,
    "earliest_deadline_first": 96.666,
    "least_laxity_first": 96.858,
    "round_robin": 95.387,
    "receding_horizon": 96.895,
    "offline_bound": 96.964,
}
"""Energy delivered, mean over 27 limits, single phase; stored output of acnportal's notebook 2.1 (its MPC_CM and
Offline_CM as the last two). [%]"""
REPLAN_STEPS = 3
ROUNDING_KWH = 1e-6


@dataclass(frozen=True)
class Sessions:
    """Charging sessions in steps of equal length.

    Parameters
    ----------
    arrival, departure : ndarray of int, (session,)
        First step, and the step after the last.
    energy_kwh : ndarray, (session,)
        What is asked for, at most what rated power brings. [kWh]
    """

    arrival: np.ndarray
    departure: np.ndarray
    energy_kwh: np.ndarray


@dataclass(frozen=True)
class Present:
    """Cars at the site at one step, for every limit at once.

    Parameters
    ----------
    step : int
        Now.
    arrival, departure : ndarray of int, (car,)
        Steps of these cars.
    missing_kwh : ndarray, (limit, car)
        What they still ask for. [kWh]
    """

    step: int
    arrival: np.ndarray
    departure: np.ndarray
    missing_kwh: np.ndarray

    @property
    def most_kwh(self) -> np.ndarray:
        """What they can take in this step. (limit, car) [kWh]"""
        return np.asarray(np.minimum(P_MAX_KW * STEP_HOURS, self.missing_kwh))


Algorithm = Callable[[Present, np.ndarray], np.ndarray]
"""Cars present and limits (limit, 1) [kWh] -> energy of the step (limit, car) [kWh]."""


def main() -> None:
    """Measure, check against the bound, and write the file."""
    file = Path(os.environ.get("GRIDTWIN_DATA", "../shared/data")) / SESSIONS_FILE
    if not file.exists():
        print(f"skipped: {file} is not there; GRIDTWIN_DATA names the folder that holds {SESSIONS_FILE.parent}")
        return
    about = {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
    results: dict[str, Any] = {"about": about, "site_2021": compare(read_sessions(file), LIMITS_KW)}
    if events := os.environ.get("GRIDTWIN_ACN_EVENTS"):
        month = compare(read_events(Path(events)), REFERENCE_LIMITS_KW)
        results["published_month_2019"] = {**month, "published_mean_percent": REFERENCE_MEAN_PERCENT}
    (RESULTS / "ev_charging.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name in list(results)[1:]:
        print(name, json.dumps({key: results[name][key] for key in ("mean_percent", "least_share_of_bound")}, indent=2))


def read_sessions(file: Path) -> Sessions:
    """Sessions of the 6.6 kW stations.

    Asked for is what the driver typed in, or what was delivered where nothing was typed in.
    """
    table = pd.read_parquet(file)
    table = table[table["station"] != FAST_CHARGER].sort_values("connection")
    step, begin = pd.Timedelta(hours=STEP_HOURS), table["connection"].min().floor("D")
    arrival = np.ceil((table["connection"] - begin) / step).to_numpy(int)
    departure = np.floor((table["disconnect"] - begin) / step).to_numpy(int)
    return _possible(arrival, departure, table["kwh_requested"].fillna(table["kwh_delivered"]).to_numpy())


def read_events(file: Path) -> Sessions:
    """Sessions of an event file of acnportal: JSON inside JSON."""
    with gzip.open(file) as opened:
        context = json.loads(json.loads(opened.read()))["context_dict"]
    cars = [part["attributes"] for part in context.values() if part["class"].endswith(".EV")]
    columns = [np.array([car[name] for car in cars]) for name in ("_arrival", "_departure", "_requested_energy")]
    order = np.argsort(columns[0], kind="stable")
    return _possible(*(column[order] for column in columns))


def _possible(arrival: np.ndarray, departure: np.ndarray, energy_kwh: np.ndarray) -> Sessions:
    """Sessions of at least one step, with at most the energy that rated power brings."""
    energy = np.minimum(energy_kwh, P_MAX_KW * STEP_HOURS * (departure - arrival))
    real = energy > 0
    return Sessions(arrival[real], departure[real], energy[real])


def compare(sessions: Sessions, limits_kw: np.ndarray) -> dict[str, Any]:
    """Percent of the energy asked for, by algorithm and limit, never above the bound."""
    asked = sessions.energy_kwh.sum()
    begin = time.perf_counter()
    bound = np.array([offline_bound_kwh(sessions, limit, STEP_HOURS) for limit in limits_kw])
    seconds, percent = {"offline_bound": time.perf_counter() - begin}, {"offline_bound": 100 * bound / asked}
    for name, algorithm in ALGORITHMS.items():
        begin = time.perf_counter()
        delivered = run_site(sessions, limits_kw, algorithm())
        seconds[name] = time.perf_counter() - begin
        assert (delivered <= bound + ROUNDING_KWH * len(bound)).all(), f"{name} delivers more than the bound"
        percent[name] = 100 * delivered / asked
    return {
        "sessions": len(sessions.arrival),
        "asked_kwh": asked,
        "days": float(np.ptp(sessions.arrival) * STEP_HOURS / 24),
        "limits_kw": limits_kw.tolist(),
        "percent": {name: values.round(4).tolist() for name, values in percent.items()},
        "mean_percent": {name: round(float(values.mean()), 3) for name, values in percent.items()},
        "least_share_of_bound": {
            name: round(float((values / percent["offline_bound"]).min()), 5) for name, values in percent.items()
        },
        "seconds": seconds,
    }


def offline_bound_kwh(sessions: Sessions, limit_kw: float, step_hours: float) -> float:
    """Largest energy that all sessions together can have behind a limit, everything known beforehand. [kWh]

    Notes
    -----
    A maximum flow from sessions to intervals. Between two arrivals or departures nothing changes, so that one
    interval stands for all its steps and the result is exact.
    """
    edges = np.unique([sessions.arrival, sessions.departure])
    inside = (edges[:-1] >= sessions.arrival[:, None]) & (edges[1:] <= sessions.departure[:, None])
    session, interval = np.nonzero(inside)
    hours = np.diff(edges) * step_hours
    found = linprog(
        -np.ones(len(session)),
        A_ub=sparse.vstack([_sums(session, len(sessions.arrival)), _sums(interval, len(hours))]),
        b_ub=np.concatenate([sessions.energy_kwh, limit_kw * hours]),
        bounds=np.stack([np.zeros(len(session)), P_MAX_KW * hours[interval]], axis=1),
    )
    assert found.status == 0, found.message
    return -float(found.fun)


def _sums(group: np.ndarray, groups: int) -> sparse.csr_array:
    """Matrix that adds up the columns of each group."""
    return sparse.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(groups, len(group)))


def run_site(sessions: Sessions, limits_kw: np.ndarray, algorithm: Algorithm) -> np.ndarray:
    """Energy that an algorithm delivers behind each limit. (limit,) [kWh]"""
    missing = np.tile(sessions.energy_kwh, (len(limits_kw), 1))
    limit_kwh = limits_kw[:, None] * STEP_HOURS
    present: np.ndarray = np.empty(0, dtype=int)
    arrived = 0
    for step in range(sessions.arrival.min(), sessions.departure.max()):
        upto = int(np.searchsorted(sessions.arrival, step, side="right"))
        present = np.concatenate([present, np.arange(arrived, upto)])
        present, arrived = present[sessions.departure[present] > step], upto
        if len(present):
            cars = Present(step, sessions.arrival[present], sessions.departure[present], missing[:, present])
            energy = algorithm(cars, limit_kwh)
            assert (energy.sum(axis=1) <= limit_kwh[:, 0] + ROUNDING_KWH).all()
            assert (energy <= cars.most_kwh + ROUNDING_KWH).all()
            missing[:, present] -= energy
    return np.asarray(sessions.energy_kwh.sum() - missing.sum(axis=1))


def first_come(cars: Present) -> np.ndarray:
    return np.broadcast_to(cars.arrival, cars.missing_kwh.shape)


def deadline(cars: Present) -> np.ndarray:
    return np.broadcast_to(cars.departure, cars.missing_kwh.shape)


def laxity(cars: Present) -> np.ndarray:
    """Hours a car could still wait. (limit, car) [h]"""
    return np.asarray((cars.departure - cars.step) * STEP_HOURS - cars.missing_kwh / P_MAX_KW)


def serve_in_order(key: Callable[[Present], np.ndarray], cars: Present, limit_kwh: np.ndarray) -> np.ndarray:
    """Every car as much as it can take, the smallest key first, until the limit is reached."""
    order = np.argsort(key(cars), axis=1, kind="stable")
    most = np.take_along_axis(cars.most_kwh, order, axis=1)
    before = np.cumsum(most, axis=1) - most
    energy = np.empty_like(most)
    np.put_along_axis(energy, order, np.clip(limit_kwh - before, 0, most), axis=1)
    return energy


def share_equally(cars: Present, limit_kwh: np.ndarray) -> np.ndarray:
    """Round robin with small increments: equal shares, but no car more than it can take."""
    most = cars.most_kwh
    order = np.argsort(most, axis=1)
    ranked = np.take_along_axis(most, order, axis=1)
    waiting = np.arange(most.shape[1], 0, -1)
    share = (limit_kwh - (np.cumsum(ranked, axis=1) - ranked)) / waiting
    # the level is the share at the first car that cannot be served in full
    short = ranked > share
    level = np.where(short.any(axis=1), share[np.arange(len(share)), np.argmax(short, axis=1)], np.inf)
    return np.asarray(np.minimum(most, level[:, None]))


class RecedingHorizon:
    """Plans with the cars that are there, every 15 minutes and when a car arrives.

    The plan delivers as much as possible, and of that as much as possible early: its total is a base of a polymatroid,
    and any positive prices that fall with time have both. Among cars, the one with the least time to spare goes first.
    """

    def __init__(self) -> None:
        self._made = -REPLAN_STEPS
        self._plan: list[np.ndarray] = []

    def __call__(self, cars: Present, limit_kwh: np.ndarray) -> np.ndarray:
        if cars.step - self._made >= REPLAN_STEPS or (cars.arrival > self._made).any():
            self._made, self._departure, self._plan = cars.step, cars.departure, plan_ahead(cars, limit_kwh)
        stays = self._departure > cars.step
        return self._plan[cars.step - self._made][:, stays]


def plan_ahead(cars: Present, limit_kwh: np.ndarray) -> list[np.ndarray]:
    """Energy of the steps until the next plan. (step, limit, car) [kWh]"""
    full, missing, plan = P_MAX_KW * STEP_HOURS, cars.missing_kwh, []
    for ahead in range(REPLAN_STEPS):
        energy = np.where(cars.departure > cars.step + ahead, np.minimum(full, missing), 0.0)
        missing = missing - energy
        plan.append(energy)
    tight = np.flatnonzero(plan[0].sum(axis=1) > limit_kwh[:, 0])
    if len(tight):
        part = Present(cars.step, cars.arrival, cars.departure, cars.missing_kwh[tight])
        for energy, planned in zip(plan, _solve_plan(part, limit_kwh[tight, 0]), strict=True):
            energy[tight] = planned
    return plan


def _solve_plan(cars: Present, limit_kwh: np.ndarray) -> np.ndarray:
    """The plan where the limit binds, all limits in one linear program of separate blocks. (step, limit, car) [kWh]"""
    edges = np.unique(np.concatenate([cars.step + np.arange(REPLAN_STEPS + 1), cars.departure]))
    length = np.diff(edges)
    at, car = np.nonzero(edges[1:, None] <= cars.departure)
    limits, size, intervals, number = len(limit_kwh), len(at), len(length), len(cars.arrival)
    block = np.repeat(np.arange(limits), size)
    at_all, car_all = np.tile(at, limits), np.tile(car, limits)
    spare = np.maximum(laxity(cars), 0.0)
    early = 1.0 - 0.5 * (edges[:-1] - cars.step)[at_all] / (edges[-1] - cars.step)
    urgent = 1e-3 / (1.0 + spare[block, car_all])
    found = linprog(
        -early - np.where(at_all < REPLAN_STEPS, urgent, 0.0),
        A_ub=sparse.vstack(
            [_sums(block * number + car_all, limits * number), _sums(block * intervals + at_all, limits * intervals)]
        ),
        b_ub=np.concatenate([cars.missing_kwh.ravel(), np.outer(limit_kwh, length).ravel()]),
        bounds=np.stack([np.zeros(size * limits), P_MAX_KW * STEP_HOURS * length[at_all]], axis=1),
    )
    assert found.status == 0, found.message
    plan = np.zeros((intervals, limits, number))
    plan[at_all, block, car_all] = np.maximum(found.x, 0.0)
    return np.asarray(np.minimum(plan[:REPLAN_STEPS], cars.missing_kwh))


ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "first_come_first_served": lambda: functools.partial(serve_in_order, first_come),
    "earliest_deadline_first": lambda: functools.partial(serve_in_order, deadline),
    "least_laxity_first": lambda: functools.partial(serve_in_order, laxity),
    "round_robin": lambda: share_equally,
    "receding_horizon": RecedingHorizon,
}


if __name__ == "__main__":
    main()
