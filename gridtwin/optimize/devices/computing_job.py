"""Batch computing jobs: energy by a deadline, between a smallest and a largest power, paused at a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyomo.environ as pyo

from gridtwin.optimize.devices.device import Device, before, last_step
from gridtwin.optimize.template import Template


def write_computing_job(block: Any) -> None:
    """A job that runs, pauses behind a checkpoint, and runs again.

        p_low[t] on[t] <= p[t] <= p_max[t] on[t]                   running
        on[t] - on[t-1] <= start[t] <= min(on[t], 1 - on[t-1])     starts
        left[t] = left[t-1] - h p[t]                               work
        missing >= left[end] + e_checkpoint (starts - 1) >= -e_ahead   deadline
        on in {0, 1},  start, missing >= 0
        cost = delay_price missing + checkpoint_price (starts - 1)

    Outside of its window p_max is 0. Each start after the first restores a checkpoint, which
    takes energy and money; a job that never starts misses all its energy. Starts are tied to `on`, so that none is
    made up to draw more at a negative price. Where the deadline lies beyond the horizon, e_job is what is due by
    its end, and up to e_ahead more may be done already.
    """
    block.job_kw = pyo.Var(block.step, bounds=lambda b, t: (0, b.p_max_kw[t]))
    block.on = pyo.Var(block.step, domain=pyo.Binary)
    block.start = pyo.Var(block.step, bounds=(0, 1))
    block.missing_kwh = pyo.Var(bounds=(0, None))
    block.restarts = pyo.Var(bounds=(0, None))

    def starts(b: Any, t: int) -> Any:
        return b.on[t] - b.start[t] <= b.on_start if t == 0 else b.on[t] - b.on[t - 1] - b.start[t] <= 0

    def idle_before(b: Any, t: int) -> Any:
        return b.start[t] <= 1 - b.on_start if t == 0 else b.start[t] + b.on[t - 1] <= 1

    block.at_least = pyo.Constraint(block.step, rule=lambda b, t: b.job_kw[t] - b.p_low_kw[t] * b.on[t] >= 0)
    block.at_most = pyo.Constraint(block.step, rule=lambda b, t: b.job_kw[t] - b.p_max_kw[t] * b.on[t] <= 0)
    block.starts = pyo.Constraint(block.step, rule=starts)
    block.starts_run = pyo.Constraint(block.step, rule=lambda b, t: b.start[t] - b.on[t] <= 0)
    block.starts_from_rest = pyo.Constraint(block.step, rule=idle_before)
    started = pyo.quicksum(block.start[t] for t in block.step)
    block.restarted = pyo.Constraint(expr=block.restarts - started >= -block.first_starts)
    block.no_more_pauses = pyo.Constraint(expr=block.restarts - started <= 0)
    block.left_kwh = pyo.Var(block.step, bounds=(-block.e_job_kwh - block.e_ahead_kwh, block.e_job_kwh))
    block.work = pyo.Constraint(
        block.step,
        rule=lambda b, t: b.left_kwh[t] + b.hours[t] * b.job_kw[t] - before(b.left_kwh, t, b.e_job_kwh) == 0,
    )
    owed = block.left_kwh[last_step(block)] + block.e_checkpoint_kwh * block.restarts
    block.deadline = pyo.Constraint(expr=block.missing_kwh - owed >= 0)
    block.no_more = pyo.Constraint(expr=owed >= -block.e_ahead_kwh)
    block.power_kw = pyo.Expression(block.step, rule=lambda b, t: b.job_kw[t])
    late = block.delay_eur_per_kwh * block.missing_kwh
    block.cost_eur = pyo.Expression(expr=late + block.checkpoint_eur * block.restarts)


@dataclass(frozen=True)
class ComputingJob(Device):
    """A batch job; `p_max_kw` is 0 outside of its window.

    Parameters
    ----------
    e_job_kwh : float
        Energy that the job still takes. [kWh]
    p_low_kw : float or ndarray, (time,)
        Smallest power while it runs. [kW]
    e_checkpoint_kwh, checkpoint_eur : float
        Energy and price of each pause. [kWh], [EUR]
    delay_eur_per_kwh : float
        Price of work not done by the deadline. [EUR/kWh]
    on_start : float
        1 where it runs as the first step begins.
    e_ahead_kwh : float
        Energy of the job that may be taken beyond `e_job_kwh`, which then is only what is due. [kWh]
    e_done_kwh : float
        What it has done before. [kWh]
    begun : bool
        Whether it has run before, so that every start costs a pause.
    earliest, deadline : Timestamp, optional
        Its whole window, UTC.
    leaves : bool
        Whether the deadline lies within the horizon.
    """

    template: ClassVar[Template] = Template(
        "computing_job",
        write_computing_job,
        (
            *("e_job_kwh", "e_checkpoint_kwh", "checkpoint_eur", "delay_eur_per_kwh"),
            *("on_start", "first_starts", "e_ahead_kwh"),
        ),
        ("p_low_kw", "p_max_kw"),
        carry={"e_job_kwh": ("left_kwh",), "on_start": ("on",)},
    )

    e_job_kwh: float
    p_low_kw: np.ndarray | float
    delay_eur_per_kwh: float
    e_checkpoint_kwh: float = 0.0
    checkpoint_eur: float = 0.0
    on_start: float = 0.0
    e_ahead_kwh: float = 0.0
    e_done_kwh: float = 0.0
    begun: bool = False
    earliest: pd.Timestamp | None = None
    deadline: pd.Timestamp | None = None
    leaves: bool = True

    @property
    def first_starts(self) -> float:
        """Starts that cost nothing: one, unless the job is running already or has run before."""
        return 0.0 if self.begun else 1.0 - self.on_start
