"""Batch jobs as devices of one local day."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.electric_car import plugged_share
from gridtwin.time_axis import TimeAxis

KW_PER_MW = 1000.0
HOUR = pd.Timedelta(hours=1)


def build_day_job(
    job: pd.Series, axis: TimeAxis, p_base_kw: np.ndarray, *, e_done_kwh: float, running: bool
) -> ComputingJob | None:
    """The part of a job that lies on one day; None where its window does not touch it.

    Parameters
    ----------
    job : Series
        One row of the table of jobs, see `data_centre.JOB_COLUMNS`; its name is that of the asset.
    axis : TimeAxis
        The local day.
    p_base_kw : ndarray, (time,)
        What it would do unscheduled. [kW]
    e_done_kwh : float
        Work done on the days before. [kWh]
    running : bool
        Whether it runs as the day begins.
    """
    edges = np.arange(axis.length + 1, dtype=float)
    share = plugged_share(edges, *(float((job[name] - axis.start) / axis.step) for name in ("earliest", "deadline")))
    if not share.any():
        return None
    e_kwh = KW_PER_MW * job["e_mwh"]
    left_kwh = max(0.0, e_kwh - e_done_kwh)
    due_kwh = min(left_kwh, max(0.0, e_kwh * share_of_window(job, axis.end) - e_done_kwh))
    begun = e_done_kwh > 0
    return ComputingJob(
        str(job.name), str(job["bus"]), p_base_kw, np.zeros(axis.length), KW_PER_MW * job["p_max_mw"] * share,
        e_job_kwh=due_kwh,
        p_low_kw=KW_PER_MW * job["p_min_mw"] * share,
        delay_eur_per_kwh=job["delay_eur_per_mwh"] / KW_PER_MW,
        e_checkpoint_kwh=KW_PER_MW * job["e_checkpoint_mwh"],
        checkpoint_eur=job["checkpoint_eur"],
        on_start=float(running and begun),
        e_ahead_kwh=left_kwh - due_kwh,
        e_done_kwh=e_done_kwh,
        begun=begun,
        earliest=job["earliest"],
        deadline=job["deadline"],
        leaves=job["deadline"] <= axis.end,
    )  # fmt: skip


def share_of_window(job: pd.Series, end: pd.Timestamp) -> float:
    """Part of a job's energy that is due by the end of a day. [-]

    All of it where the deadline has come; else what constant power over the whole window would have brought, so
    that a day cannot leave all the work to the next, which it does not see.
    """
    return min(1.0, float((end - job["earliest"]) / (job["deadline"] - job["earliest"])))


def done_unscheduled(jobs: pd.DataFrame, start: pd.Timestamp) -> dict[str, tuple[float, bool]]:
    """Work that each job has done by a moment at full power since it might run, and whether it still runs. [kWh]"""
    done = {}
    for name, job in jobs.iterrows():
        hours = max(0.0, float((min(start, job["deadline"]) - job["earliest"]) / HOUR))
        e_mwh = min(job["e_mwh"], job["p_max_mw"] * hours)
        if e_mwh > 0:
            done[str(name)] = (KW_PER_MW * float(e_mwh), bool(e_mwh < job["e_mwh"] and start < job["deadline"]))
    return done
