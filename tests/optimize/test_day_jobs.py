"""Batch jobs day by day: what is due, what is carried on, what is missed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gridtwin.optimize.area_terms import AreaTerms
from gridtwin.optimize.day_jobs import build_day_job, done_unscheduled, share_of_window
from gridtwin.optimize.day_plan import read_plan
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.unmet import list_unserved
from gridtwin.optimize.whole_numbers import FlexibilitySolver
from gridtwin.time_axis import TimeAxis
from tests.optimize.devices_for_tests import no_rows

FIRST, SECOND = (TimeAxis.of_days(dt.date(2016, 11, day), 1, "UTC") for day in (9, 10))
JOB = pd.Series(
    {
        "site": "Campus", "bus": "end", "earliest": pd.Timestamp("2016-11-09 12:00"),
        "deadline": pd.Timestamp("2016-11-10 12:00"), "e_mwh": 2.4, "p_min_mw": 0.1, "p_max_mw": 0.4,
        "e_checkpoint_mwh": 0.02, "checkpoint_eur": 1.0, "delay_eur_per_mwh": 3000.0,
    },
    name="Campus tuning",
)  # fmt: skip


def device(axis: TimeAxis, **state: object) -> ComputingJob:
    given = {"e_done_kwh": 0.0, "running": False} | state
    job = build_day_job(JOB, axis, np.zeros(axis.length), **given)
    assert job is not None
    return job


def solve(job: ComputingJob, price: np.ndarray) -> tuple[np.ndarray, object]:
    """Power and plan of one job alone at a price. [kW]"""
    steps = len(price)
    problem = FlexibilityProblem(
        np.full(steps, 0.25), (job,), ("end",), AreaTerms(price, np.zeros(steps), np.zeros(steps)),
        np.zeros(steps), no_rows(1), np.zeros(0),
    )  # fmt: skip
    program = build_flexibility_program(problem)
    solution = FlexibilitySolver(program, time_limit_seconds=20.0).solve()
    plan = read_plan(program, solution.x, asset_of=np.zeros(1, dtype=int), p_base_kw=np.zeros((steps, 1)))
    return plan.p_kw[:, 0], plan


def test_half_of_the_window_has_half_of_the_work_due() -> None:
    """12 of 24 hours by midnight: 1.2 of 2.4 MWh are due, the other 1.2 may be done too."""
    assert share_of_window(JOB, FIRST.end) == 0.5
    job = device(FIRST)
    assert (job.e_job_kwh, job.e_ahead_kwh, job.leaves) == (1200.0, 1200.0, False)
    assert device(SECOND, e_done_kwh=1500.0).e_job_kwh == 900.0
    assert build_day_job(JOB, TimeAxis.of_days(dt.date(2016, 11, 12), 1, "UTC"), np.zeros(96),
                         e_done_kwh=0.0, running=False) is None  # fmt: skip


def test_a_dear_evening_leaves_the_rest_to_the_next_day() -> None:
    """1.2 MWh at 0.4 MW are 12 quarter hours; the price falls all day, so it runs the last three hours."""
    p_kw, plan = solve(device(FIRST), np.linspace(0.3, 0.1, 96))
    assert p_kw[-12:] == pytest.approx(np.full(12, 400.0), abs=1e-3)
    assert p_kw[:-12] == pytest.approx(np.zeros(84), abs=1e-3)
    assert plan.carried.done_kwh["Campus tuning"] == pytest.approx(1200.0, abs=1e-3)
    assert plan.carried.running == {"Campus tuning"}


def test_a_negative_price_does_all_the_work_but_no_more() -> None:
    """All 2.4 MWh of the job on the first day. A pause earns 20 kWh x 0.04 EUR and costs 1 EUR: none is made up."""
    p_kw, plan = solve(device(FIRST), np.full(96, -0.04))
    assert p_kw.sum() / 4 == pytest.approx(2400.0, abs=1e-3)
    done = plan.carried.done_kwh["Campus tuning"]
    assert done == pytest.approx(2400.0, abs=1e-3)


def test_a_pause_costs_its_energy_and_is_not_free_over_night() -> None:
    """Dear at noon: 20 kWh and 1 EUR of one pause are cheaper than 0.4 MW at 2 EUR/kWh for an hour."""
    price = np.full(96, 0.1)
    price[48:] = 2.0
    price[8:12] = 2.0
    p_kw, plan = solve(device(SECOND, e_done_kwh=600.0, running=True), price)
    assert p_kw[8:12] == pytest.approx(np.zeros(4), abs=1e-3)
    assert p_kw.sum() / 4 == pytest.approx(1800.0 + 20.0, abs=1e-3)
    assert device(SECOND, e_done_kwh=600.0).first_starts == 0.0
    assert plan.carried.done_kwh["Campus tuning"] == pytest.approx(2400.0, abs=1e-3)


def test_what_cannot_be_done_is_named_with_its_price() -> None:
    """12 hours at 0.4 MW are 4.8 MWh; of 6 MWh 1.2 are missed at 3 EUR/kWh."""
    job = build_day_job(JOB.replace({2.4: 6.0}), SECOND, np.zeros(96), e_done_kwh=0.0, running=False)
    assert job is not None
    _, plan = solve(job, np.full(96, 0.1))
    (row,) = list_unserved((job,), plan, SECOND, last_day=False)
    assert (row["asset"], row["kind"], row["what"]) == ("Campus tuning", "computing_job", "computing")
    assert row["amount"] == pytest.approx(1200.0, abs=1e-3)
    assert row["cost_eur"] == pytest.approx(3600.0, abs=1e-2)
    assert row["end"] == JOB["deadline"]


def test_unscheduled_a_job_runs_from_its_first_moment() -> None:
    """2.4 MWh at 0.4 MW are six hours from noon."""
    jobs = pd.DataFrame([JOB])
    assert done_unscheduled(jobs, pd.Timestamp("2016-11-09 15:00")) == {"Campus tuning": (pytest.approx(1200.0), True)}
    assert done_unscheduled(jobs, pd.Timestamp("2016-11-10 00:00")) == {"Campus tuning": (pytest.approx(2400.0), False)}
    assert done_unscheduled(jobs, pd.Timestamp("2016-11-09 12:00")) == {}
