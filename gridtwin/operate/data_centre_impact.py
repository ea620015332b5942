"""What a data centre does to the network: losses, room at its bus, voltage steps, ramps and harmonics of its work.

Everything here is a balanced steady state but two screenings: a voltage step is the difference of two steady states,
and harmonics of iterations are those of a square wave. Neither is a simulation of what happens within a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.ai_workloads import iteration_of, smoothing_kw
from gridtwin.data.data_centre import KW_PER_MW, Chain, chain_of, job_name
from gridtwin.data.iteration_shape import read_screening_limits
from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.connection import check_connections
from gridtwin.operate.losses import marginal_losses
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.operate.sensitivity import run_sensitivities
from gridtwin.scenario import Connection
from gridtwin.scenario_data_centre import DataCentre, Training


def find_data_centre_impact(
    twin: GridTwin, sites: Sequence[DataCentre], actual: Profiles, paths: xr.Dataset
) -> pd.DataFrame:
    """One row per site; empty without sites.

    Parameters
    ----------
    twin : GridTwin
        Network with the sites as loads.
    sites : sequence of DataCentre
        Sections of the scenario.
    actual : Profiles
        What happened with schedule and balancing, (time, asset). [MW]
    paths : Dataset
        Forecast paths with the schedule, (path, time, asset): the room at the bus must be there in all of them.

    Returns
    -------
    DataFrame
        `site, bus`; energy and peak at the connection; losses with and without the site, and per energy more
        (`marginal_loss`, weighted by the site's energy); the largest load that its bus carries in place of it, and
        what limits it; voltage step at an abort of its largest training run; largest ramp; largest harmonic of
        iterations within the screened band; energy that power smoothing takes.
    """
    rows = [_row_of(twin, site, actual, paths) for site in sites]
    return pd.DataFrame(rows)


def check_data_centre_impact(sites: Sequence[DataCentre], impact: pd.DataFrame) -> tuple[Finding, ...]:
    """Voltage steps beyond what is screened against, and what the screening rests on."""
    findings = []
    for number, (site, row) in enumerate(zip(sites, impact.to_dict("records"), strict=True)):
        where, limit = f"data_centre.{number}", read_screening_limits()["rapid_voltage_change"]
        if row["voltage_step_percent"] > row["voltage_step_limit_percent"]:
            findings.append(
                Finding(
                    "an abort of the largest training run moves the voltage further than is screened against",
                    where=where,
                    expected=f"at most {row['voltage_step_limit_percent']:g} %",
                    got=f"{row['voltage_step_percent']:.2f} %",
                    do="Set floor_share, or ask for the limit in the operator's connection rules.",
                    code="GT-K40",
                )
            )
        stiff = site.short_circuit_mva is None and np.isfinite(row["voltage_step_percent"])
        if stiff or not limit["verified"]:
            findings.append(
                Finding(
                    "voltage steps are screened, not judged"
                    + (": the upstream network counts as stiff" if stiff else ""),
                    where=where,
                    got=f"limit: {limit['source']}; not verified",
                    do="Give short_circuit_mva of the bus." if stiff else "",
                    severity="info",
                    code="GT-K41",
                )
            )
    return tuple(findings)


def assets_of(site: DataCentre) -> list[str]:
    """Names of the loads of a site: itself and its jobs."""
    return [site.name, *(job_name(site, job) for job in site.job)]


def _row_of(twin: GridTwin, site: DataCentre, actual: Profiles, paths: xr.Dataset) -> dict[str, Any]:
    actual = _one_path(actual)
    p_mw, q_mvar = (actual[name].sel(asset=assets_of(site)).sum("asset").to_numpy() for name in ("p_mw", "q_mvar"))
    hours, heaviest = axis_of(actual).hours_per_step, int(p_mw.argmax())
    losses = book_losses(twin, actual, assets_of(site), site.bus)
    cos_phi = float(p_mw[heaviest] / np.hypot(p_mw[heaviest], q_mvar[heaviest])) if p_mw[heaviest] > 0 else 1.0
    room = find_room(twin, paths, site, cos_phi=cos_phi)
    return {
        "site": site.name,
        "bus": site.bus,
        "e_connection_mwh": float(p_mw.sum()) * hours,
        "p_peak_kw": KW_PER_MW * float(p_mw.max()),
        "losses_with_mwh": losses.with_mwh,
        "losses_without_mwh": losses.without_mwh,
        "losses_booked_mwh": losses.with_mwh - losses.without_mwh,
        "marginal_loss": losses.marginal,
        **room,
        **_screen_abort(twin, site, actual.isel(time=[heaviest])),
        **_screen_iterations(site),
    }


@dataclass(frozen=True)
class BookedLosses:
    """Losses that some loads cause.

    Parameters
    ----------
    with_mwh, without_mwh : float
        Losses with the loads and without them. [MWh]
    marginal : float
        Losses per energy more at the bus, weighted by the energy of the loads. [-]
    """

    with_mwh: float
    without_mwh: float
    marginal: float


def book_losses(twin: GridTwin, profiles: Profiles, names: Sequence[str], bus: str) -> BookedLosses:
    """Losses with and without some loads of one bus, and their marginal loss factor.

    Notes
    -----
    Losses are about quadratic, so that for a small load marginal times energy is what it causes, and the error
    grows with the square of the load; a large load causes less than that in its own presence, and more than the
    factor without it says.
    """
    profiles = _one_path(profiles)
    hours = axis_of(profiles).hours_per_step
    lost = [_lost_mw(twin, part) for part in (profiles, without(profiles, names))]
    p_mw = profiles["p_mw"].sel(asset=list(names)).sum("asset").to_numpy()
    factor = marginal_losses(twin, profiles, [bus])[:, 0].to_numpy()
    solved = np.isfinite(factor) & np.isfinite(lost[0]) & np.isfinite(lost[1])
    weight = p_mw[solved]
    marginal = float((factor[solved] * weight).sum() / weight.sum()) if weight.sum() > 0 else float("nan")
    with_mwh, without_mwh = (float(part[solved].sum()) * hours if solved.any() else float("nan") for part in lost)
    return BookedLosses(with_mwh, without_mwh, marginal)


def without(profiles: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """The profiles with some assets drawing nothing."""
    kept = ~profiles["asset"].isin(list(names))
    return profiles.assign({name: profiles[name].where(kept, 0.0) for name in ("p_mw", "q_mvar")})


def _one_path(profiles: xr.Dataset) -> xr.Dataset:
    return profiles.isel(path=0, drop=True) if "path" in profiles.dims else profiles


def _lost_mw(twin: GridTwin, profiles: xr.Dataset) -> np.ndarray:
    """Losses of the whole network; NaN where a step has no solution. (time,) [MW]"""
    flow = run_power_flow(twin, profiles)
    return np.asarray(flow["p_loss_mw"].isel(path=0).sum("branch", skipna=False).to_numpy())


def find_room(twin: GridTwin, paths: xr.Dataset, site: DataCentre, *, cos_phi: float) -> dict[str, Any]:
    """The largest steady load at the bus, in place of the site, that keeps all limits on every path and step."""
    rated_kw = float(chain_of(site).at_connection_kw(site.p_it_kw))
    request = Connection(name=site.name, bus=site.bus, kw=rated_kw, kind="load", cos_phi=min(1.0, cos_phi))
    found = check_connections(twin, without(paths, assets_of(site)), [request]).iloc[0]
    return {
        "room_kw": float(found["largest_kw"]),
        "room_limited_by": str(found["limiting_asset"]),
        "room_time": found["limiting_time"],
    }


def _screen_abort(twin: GridTwin, site: DataCentre, point: Profiles) -> dict[str, Any]:
    """Voltage step and ramp when the largest training run stops at once."""
    limit = read_screening_limits()["rapid_voltage_change"]
    nothing = {"p_step_kw": np.nan, "voltage_step_percent": np.nan, "voltage_step_estimate_percent": np.nan}
    if not site.training:
        return nothing | {"voltage_step_limit_percent": limit["limit_percent"], "ramp_mw_per_s": np.nan}
    run = max(site.training, key=lambda one: one.kw * (1 - max(one.waiting_share, one.floor_share)))
    p_mw = abort_step_kw(run, chain_of(site)) / KW_PER_MW
    q_mvar = p_mw * float(np.tan(np.arccos(site.power_factor)))
    steps = voltage_step_percent(twin, point, site, p_mw=p_mw, q_mvar=q_mvar)
    return {
        "p_step_kw": KW_PER_MW * p_mw,
        "voltage_step_percent": steps[0],
        "voltage_step_estimate_percent": steps[1],
        "voltage_step_limit_percent": limit["limit_percent"],
        "ramp_mw_per_s": p_mw / run.ramp_seconds,
    }


def abort_step_kw(run: Training, chain: Chain) -> float:
    """Fall of power at the connection point when a run stops: from full power to waiting, or to the floor. [kW]"""
    return run.kw * (1 - max(run.waiting_share, run.floor_share)) * chain.per_it_kw


def voltage_step_percent(
    twin: GridTwin, point: Profiles, site: DataCentre, *, p_mw: float, q_mvar: float
) -> tuple[float, float]:
    """Change of the voltage at the bus of a site when its load falls.

    Parameters
    ----------
    point : Profiles
        One step with the load still there.
    p_mw, q_mvar : float
        What falls. [MW], [Mvar]

    Returns
    -------
    step, estimate : float
        By two power flows, and by the slopes at the point. [% of nominal voltage]

    Notes
    -----
    The estimate is (R dP + X dQ) / V² with the impedance that the bus sees in the model. Upstream of the slack the
    network counts as stiff; with a declared short-circuit power S_k the larger of it and dS / S_k counts.
    """
    kept, falls = point["asset"] != site.name, {"p_mw": p_mw, "q_mvar": q_mvar}
    fallen = point.assign({name: point[name].where(kept, point[name] - fall) for name, fall in falls.items()})
    before, after = (
        float(run_power_flow(twin, part)["vm_pu"].sel(bus=site.bus).to_numpy().ravel()[0]) for part in (point, fallen)
    )
    slopes = run_sensitivities(twin, point, [site.bus]).sel(bus=site.bus, at_bus=site.bus)
    by_p, by_q = (float(slopes[name].to_numpy().ravel()[0]) for name in ("vm_pu_per_mw", "vm_pu_per_mvar"))
    step, estimate = 100 * abs(after - before), 100 * abs(by_p * p_mw + by_q * q_mvar)
    if site.short_circuit_mva is not None:
        step = max(step, 100 * float(np.hypot(p_mw, q_mvar)) / site.short_circuit_mva)
    return step, estimate


def _screen_iterations(site: DataCentre) -> dict[str, Any]:
    """Largest harmonic of the iterations of a run within the screened band, and what the floor takes."""
    band = read_screening_limits()["interarea_band"]
    per_kw, found, wasted_kw = chain_of(site).per_it_kw, (np.nan, 0.0), 0.0
    for run in site.training:
        own = iteration_of(run).largest_in_band(band["low_hz"], band["high_hz"])
        found = max(found, own, key=lambda one: one[1])
        wasted_kw += smoothing_kw(run)
    return {
        "iteration_hz": found[0],
        "iteration_amplitude_kw": per_kw * found[1],
        "smoothing_kw": per_kw * wasted_kw,
    }


def with_missed_jobs(unmet: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """What is left unmet in real time, with the jobs that the plan misses: machines follow their plan."""
    missed = planned[planned["kind"] == "computing_job"]
    return pd.concat([part for part in (unmet, missed) if len(part)], ignore_index=True) if len(missed) else unmet


def list_job_results(
    jobs: pd.DataFrame, schedule: xr.Dataset, unmet: pd.DataFrame, settlement: pd.DataFrame
) -> pd.DataFrame:
    """One row per job: what it took, missed, moved and earned; empty without jobs.

    Parameters
    ----------
    jobs : DataFrame
        Jobs at the connection point, see `data_centre.JOB_COLUMNS`.
    schedule : Dataset
        `p_mw, p_base_mw` (time, asset).
    unmet, settlement : DataFrame
        What the plan misses, and what devices gain at nodal prices.

    Returns
    -------
    DataFrame
        `site, asset, earliest, deadline, job_kwh, drawn_kwh, missed_kwh, moved_kwh, breaks, gain_eur, state`; energies
        at the connection point, drawn within the study. A break is a spell without power between two with it.
    """
    axis = axis_of(schedule)
    rows = []
    for name, job in jobs.iterrows():
        if name not in schedule.indexes["asset"]:
            continue
        power, base = (KW_PER_MW * schedule[part].sel(asset=name).to_numpy() for part in ("p_mw", "p_base_mw"))
        missed = float(unmet.loc[unmet["asset"] == name, "amount"].sum()) if len(unmet) else 0.0
        gain = settlement.loc[settlement["asset"] == name, "gain_eur"] if len(settlement) else pd.Series(dtype=float)
        runs = np.diff(np.concatenate([[0], (power > 1e-3).astype(int)])) > 0
        rows.append(
            {
                "site": job["site"],
                "asset": str(name),
                "earliest": job["earliest"],
                "deadline": job["deadline"],
                "job_kwh": KW_PER_MW * job["e_mwh"],
                "drawn_kwh": float(power.sum()) * axis.hours_per_step,
                "missed_kwh": missed,
                "moved_kwh": float(np.maximum(power - base, 0).sum()) * axis.hours_per_step,
                "breaks": max(0, int(runs.sum()) - 1),
                "gain_eur": float(gain.sum()) if len(gain) else np.nan,
                "state": "goes on" if job["deadline"] > axis.end else ("missed" if missed > 0 else "done"),
            }
        )
    return pd.DataFrame(rows)
