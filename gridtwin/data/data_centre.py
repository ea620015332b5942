"""From the power of IT equipment to the power at the connection point, and the batch jobs of a site.

    device -> node -> IT at the UPS -> facility -> connection point

Every step is a factor and, for the facility, a part that is there at any load; a job is booked at the factors
alone (the marginal PUE), the fixed part belongs to the site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.ai_energy.quantity import BoundaryStep, exact
from gridtwin.scenario_data_centre import BatchJob, DataCentre
from gridtwin.time_axis import TimeAxis, utc_of_local

KW_PER_MW = 1000.0
JOB_COLUMNS = [
    *("site", "bus", "earliest", "deadline", "e_mwh", "p_min_mw", "p_max_mw"),
    *("e_checkpoint_mwh", "checkpoint_eur", "delay_eur_per_mwh"),
]
"""Columns of a table of jobs; energy and power are those at the connection point."""


@dataclass(frozen=True)
class Chain:
    """The way from IT equipment at the output of the UPS to the connection point.

    p_connection = (fixed_kw + marginal_pue p_it) / (1 - loss_share)
    """

    marginal_pue: float
    """More power of the site per more power of its IT equipment. [-]"""
    fixed_kw: float
    """Power of the site without IT equipment. [kW]"""
    loss_share: float
    """Losses between site and connection point, by the power at the connection point. [-]"""

    @property
    def per_it_kw(self) -> float:
        """More power at the connection point per more power of IT equipment. [-]"""
        return self.marginal_pue / (1 - self.loss_share)

    def at_connection_kw(self, p_it_kw: np.ndarray | float) -> np.ndarray:
        """Power at the connection point. [kW]"""
        return np.asarray((self.fixed_kw + self.marginal_pue * np.asarray(p_it_kw)) / (1 - self.loss_share))

    def steps(self, hours: float = 1.0) -> tuple[BoundaryStep, ...]:
        """The same as steps of quantities; `hours` turns the fixed power into an energy. [h]"""
        declared = {"kind": "declared", "method": "the scenario"}
        fixed = exact(self.fixed_kw * hours, "kWh", **declared)  # type: ignore[arg-type]
        factors = (exact(f, "1", **declared) for f in (self.marginal_pue, 1 / (1 - self.loss_share)))  # type: ignore[arg-type]
        inner, outer = factors
        return (
            BoundaryStep(inside="it_at_ups", outside="facility", factor=inner, fixed=fixed),
            BoundaryStep(inside="facility", outside="connection_point", factor=outer),
        )


def chain_of(site: DataCentre) -> Chain:
    """Chain of a site.

    Notes
    -----
    Overhead at rated power (PUE - 1) P_IT splits into a fixed part and one that grows with the load.

    Examples
    --------
    >>> site = DataCentre(name="a", bus="b", p_it_kw=1000, pue=1.3, fixed_share=0.5)
    >>> round(chain_of(site).marginal_pue, 9), round(float(chain_of(site).at_connection_kw(1000)), 9)
    (1.15, 1300.0)
    """
    overhead = site.pue - 1
    marginal, fixed = 1 + overhead * (1 - site.fixed_share), overhead * site.fixed_share * site.p_it_kw
    return Chain(marginal, fixed, site.connection_loss_share)


def power_factor(site: DataCentre, p_it_kw: np.ndarray) -> np.ndarray:
    """Power factor by load, linear between that without load and that at rated power. [-]"""
    share = np.clip(np.asarray(p_it_kw) / site.p_it_kw, 0.0, 1.0)
    return np.asarray(site.smallest_power_factor + (site.power_factor - site.smallest_power_factor) * share)


def job_name(site: DataCentre, job: BatchJob) -> str:
    """Name of the asset of a job."""
    return f"{site.name} {job.name}"


def list_jobs(sites: Sequence[DataCentre], zone: str) -> pd.DataFrame:
    """Jobs of all sites at the connection point, times in UTC; index: asset names, columns `JOB_COLUMNS`."""
    rows = [_row_of(site, job, zone) for site in sites for job in site.job]
    table = pd.DataFrame([row for _, row in rows], columns=JOB_COLUMNS)
    table = table.astype({"earliest": "datetime64[ns]", "deadline": "datetime64[ns]"})
    return table.set_axis(pd.Index([name for name, _ in rows], dtype=object, name="asset"), axis=0)


def _row_of(site: DataCentre, job: BatchJob, zone: str) -> tuple[str, tuple[object, ...]]:
    per_kw = chain_of(site).per_it_kw
    stamps = (utc_of_local(moment, zone) for moment in (job.earliest, job.deadline))
    powers = (per_kw * kw / KW_PER_MW for kw in (job.kwh, job.p_min_kw, job.p_max_kw, job.checkpoint_kwh))
    e_mwh, p_min_mw, p_max_mw, e_checkpoint_mwh = powers
    delay = KW_PER_MW * job.delay_price_eur_per_kwh / per_kw
    row = (site.name, site.bus, *stamps, e_mwh, p_min_mw, p_max_mw, e_checkpoint_mwh, job.checkpoint_eur, delay)
    return job_name(site, job), row


def unscheduled_jobs(jobs: pd.DataFrame, axis: TimeAxis) -> np.ndarray:
    """Jobs that begin as early as they may, at full power, until done or until their deadline. (time, job) [MW]"""
    edges = np.arange(axis.length + 1) * axis.hours_per_step
    power = np.zeros((axis.length, len(jobs)))
    for column, (earliest, deadline, e_mwh, p_mw) in enumerate(
        zip(jobs["earliest"], jobs["deadline"], jobs["e_mwh"], jobs["p_max_mw"], strict=True)
    ):
        begin, last = (float((stamp - axis.start) / pd.Timedelta(hours=1)) for stamp in (earliest, deadline))
        done = np.clip(edges, begin, min(begin + e_mwh / p_mw, last))
        power[:, column] = p_mw * np.diff(done) / axis.hours_per_step
    return power
