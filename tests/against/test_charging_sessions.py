"""Measured charging sessions: what our car model delivers behind a limit, against a maximum flow written without it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.ev_charging import (
    P_MAX_KW,
    SESSIONS_FILE,
    STEP_HOURS,
    Sessions,
    deadline,
    first_come,
    laxity,
    offline_bound_kwh,
    read_sessions,
    run_site,
    serve_in_order,
    share_equally,
)
from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.model import FlexibilityProblem, LimitRows
from gridtwin.optimize.plan_devices import plan_devices

FILE = Path(os.environ.get("GRIDTWIN_DATA", "../shared/data")) / SESSIONS_FILE
STEPS_A_DAY = round(24 / STEP_HOURS)
UNSERVED_EUR_PER_KWH = 2.0
STAMP = pd.Timestamp("2021-05-01")
LIMITS_KW = [5.0, 20.0, 45.0, 80.0, 150.0]

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no charging sessions: {FILE}; set GRIDTWIN_DATA")


@pytest.fixture(scope="module", params=[0, 1])
def day(request: pytest.FixtureRequest) -> Sessions:
    """The two days with most energy asked for; sessions that lie wholly within the day, steps from its begin."""
    sessions = read_sessions(FILE)
    number = sessions.arrival // STEPS_A_DAY
    whole = sessions.departure <= (number + 1) * STEPS_A_DAY
    asked = np.bincount(number[whole], sessions.energy_kwh[whole])
    busy = int(np.argsort(-asked)[request.param])
    chosen, begin = whole & (number == busy), busy * STEPS_A_DAY
    return Sessions(sessions.arrival[chosen] - begin, sessions.departure[chosen] - begin, sessions.energy_kwh[chosen])


def charge(sessions: Sessions, limit_kw: float) -> np.ndarray:
    """Power of every car behind one limit, at no price but that of energy not delivered. (time, car) [kW]"""
    nothing = np.zeros(STEPS_A_DAY)
    cars = []
    for k, (arrival, departure, kwh) in enumerate(
        zip(sessions.arrival, sessions.departure, sessions.energy_kwh, strict=True)
    ):
        p_max = nothing.copy()
        p_max[arrival:departure] = P_MAX_KW
        begin, end = (STAMP + pd.Timedelta(hours=STEP_HOURS * step) for step in (arrival, departure))
        cars.append(
            ChargingSession(
                f"car {k}", "site", nothing, nothing, p_max, begin, end, 0.0, 0.0, kwh, kwh, UNSERVED_EUR_PER_KWH
            )
        )
    each = np.arange(STEPS_A_DAY)
    problem = FlexibilityProblem(
        hours=np.full(STEPS_A_DAY, STEP_HOURS),
        devices=tuple(cars),
        buses=("site",),
        terms=AreaTerms(nothing, nothing, nothing),
        inflexible_kw=nothing,
        rows=LimitRows(np.zeros_like(each), each, np.ones((STEPS_A_DAY, 1))),
        room_kw=np.full(STEPS_A_DAY, limit_kw),
    )
    plan = plan_devices(problem)
    assert float(plan["over_kw"].max()) < 1e-6
    return plan["p_kw"].to_numpy()


@pytest.mark.parametrize("limit_kw", LIMITS_KW)
def test_the_most_energy_is_delivered(day: Sessions, limit_kw: float) -> None:
    """Within 1e-4: a kWh not delivered costs 2 EUR, spreading the peak 0.001 EUR per kW of it."""
    p_kw = charge(day, limit_kw)
    delivered = STEP_HOURS * p_kw.sum(axis=0)
    assert p_kw.sum(axis=1).max() <= limit_kw + 1e-6 and p_kw.min() >= 0 and p_kw.max() <= P_MAX_KW + 1e-9
    assert (delivered <= day.energy_kwh + 1e-6).all()
    for k, (arrival, departure) in enumerate(zip(day.arrival, day.departure, strict=True)):
        assert not p_kw[:arrival, k].any() and not p_kw[departure:, k].any()
    bound = offline_bound_kwh(day, limit_kw, STEP_HOURS)
    assert delivered.sum() == pytest.approx(bound, rel=1e-4)
    for algorithm in (first_come, deadline, laxity):
        served = run_site(day, np.array([limit_kw]), lambda cars, room, key=algorithm: serve_in_order(key, cars, room))
        assert delivered.sum() >= served[0] * (1 - 1e-4)
    assert delivered.sum() >= run_site(day, np.array([limit_kw]), share_equally)[0] * (1 - 1e-4)


def test_limits_of_the_day_bind(day: Sessions) -> None:
    """Else the comparison would say nothing."""
    asked = day.energy_kwh.sum()
    assert len(day.arrival) > 10
    assert offline_bound_kwh(day, LIMITS_KW[0], STEP_HOURS) < 0.6 * asked
