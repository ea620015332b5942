"""Profiles of data centres and of their batch jobs as they would run unscheduled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gridtwin.data.ai_workloads import draw_requests, inference_power_kw, training_power_kw
from gridtwin.data.data_centre import KW_PER_MW, chain_of, list_jobs, power_factor, unscheduled_jobs
from gridtwin.data.growth_profiles import PSEUDO
from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.errors import Finding
from gridtwin.scenario_data_centre import DataCentre
from gridtwin.time_axis import TimeAxis


def it_power_kw(site: DataCentre, axis: TimeAxis, *, seed: int) -> np.ndarray:
    """Power of the IT equipment of everything that cannot be moved, not cut at the rating. (time,) [kW]"""
    power = np.zeros(axis.length)
    for run in site.training:
        power += training_power_kw(run, axis, name=f"{site.name} {run.name}", seed=seed)
    for service in site.inference:
        requests = draw_requests(service, axis, name=f"{site.name} {service.name}", seed=seed)
        power += inference_power_kw(service, requests, axis.hours_per_step)
    return power


def build_data_centre_profiles(
    sites: Sequence[DataCentre], assets: pd.DataFrame, axis: TimeAxis, *, seed: int
) -> Profiles:
    """Power of data centres and jobs at their connection points, consumption positive.

    Parameters
    ----------
    sites : sequence of DataCentre
        Sections of the scenario.
    assets : DataFrame
        Rows of `twin.assets` with origin `data_centre`.
    axis : TimeAxis
        Intervals.
    seed : int
        Seed of the scenario.
    """
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for site in sites:
        p_it_kw = np.minimum(it_power_kw(site, axis, seed=seed), site.p_it_kw)
        tangent = np.tan(np.arccos(power_factor(site, p_it_kw)))
        p_mw = chain_of(site).at_connection_kw(p_it_kw) / KW_PER_MW
        columns[site.name] = (p_mw, p_mw * tangent)
        jobs = list_jobs([site], axis.zone)
        power, full = unscheduled_jobs(jobs, axis), np.tan(np.arccos(site.power_factor))
        columns |= {name: (power[:, k], full * power[:, k]) for k, name in enumerate(jobs.index)}
    p_mw, q_mvar = (
        np.column_stack([columns[name][side] for name in assets.index]) if len(assets) else np.zeros((axis.length, 0))
        for side in (0, 1)
    )
    return build_profiles(axis, assets, p_mw, q_mvar, quality=PSEUDO)


def check_data_centres(sites: Sequence[DataCentre], axis: TimeAxis, *, seed: int) -> tuple[Finding, ...]:
    """What was assumed or cut: workloads above the rating, inference that fills its largest batch."""
    findings = []
    for number, site in enumerate(sites):
        over = it_power_kw(site, axis, seed=seed) - site.p_it_kw
        if over.max(initial=0.0) > 1e-9:
            findings.append(
                Finding(
                    "workloads take more than the rated power of the IT equipment; they are cut at it",
                    where=f"data_centre.{number}",
                    expected=f"at most {site.p_it_kw:g} kW",
                    got=f"up to {site.p_it_kw + over.max():.0f} kW in {int((over > 1e-9).sum())} steps",
                    do="Raise p_it_kw, or lower the workloads.",
                    code="GT-D60",
                )
            )
    return tuple(findings)
