"""The jobs of the packaged data centre, replayed in `pandapower.runpp`: in time, within limits, in the band.

What must hold is counted here from powers and voltages alone, without the certificate's own code.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.data_centre import list_jobs
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.report.results import StudyResults
from gridtwin.scenario import Scenario
from gridtwin.scenario_file import read_scenario
from gridtwin.study import run_study

FOLDER = Path(__file__).parent.parent.parent / "scenarios" / "data_centre"
SIGN = {"load": 1, "sgen": -1, "storage": 1}


@pytest.fixture(scope="module")
def results() -> StudyResults:
    """The scenario with fewer paths and a ridge model: the jobs and their deadlines stay."""
    source = read_scenario(FOLDER)
    scenario: Scenario = source.scenario
    forecast = scenario.forecast.model_copy(update={"paths": 20, "model": "SKLearnModel"})
    return run_study(replace(source, scenario=scenario.model_copy(update={"forecast": forecast})))


def jobs_of(results: StudyResults) -> pd.DataFrame:
    return list_jobs(Scenario.model_validate(dict(results.scenario)).data_centre, "Europe/Berlin")


def test_no_job_runs_outside_its_window_or_band(results: StudyResults) -> None:
    times = pd.DatetimeIndex(results.schedule.indexes["time"])
    for name, job in jobs_of(results).iterrows():
        power = results.schedule["p_mw"].sel(asset=name).to_numpy()
        inside = (times >= job["earliest"]) & (times < job["deadline"])
        assert np.abs(power[~inside]).max(initial=0.0) < 1e-9
        running = power[power > 1e-7]
        assert running.min() >= job["p_min_mw"] - 1e-6
        assert running.max() <= job["p_max_mw"] + 1e-6


def test_every_job_has_its_energy_by_its_deadline(results: StudyResults) -> None:
    """Nothing is missed, and each break of a job with a smallest power has taken its checkpoint's energy."""
    assert not (results.unmet["kind"] == "computing_job").any()
    table = results.data_centre_jobs.set_index("asset")
    for name, job in jobs_of(results).iterrows():
        drawn_mwh = float(results.schedule["p_mw"].sel(asset=name).sum()) / 4
        pauses = table.loc[name, "breaks"] if job["p_min_mw"] > 0 else 0
        assert drawn_mwh >= job["e_mwh"] + pauses * job["e_checkpoint_mwh"] - 1e-5
        assert table.loc[name, "state"] == "done"


def test_pandapower_finds_the_agreed_paths_within_limits(results: StudyResults) -> None:
    """The tightest step of each day in the worst path that must hold: no limit broken, our flow the same to 0.01 %."""
    twin, flow = results.twin, results.power_flows["forecast_scheduled"]
    scheduled = apply_schedule(twin, results.forecast, results.schedule)
    limit = twin.branches["max_loading_percent"].to_numpy()
    excess = (flow["loading_percent"].to_numpy() - limit).max(axis=2)
    allowed = int(np.floor((1 - results.scenario["flexibility"]["confidence"]) * len(excess) + 1e-9))
    for steps in (slice(0, 96), slice(96, 192)):
        path = int(np.argsort(-excess[:, steps].max(axis=1), kind="stable")[allowed])
        step = steps.start + int(excess[path, steps].argmax())
        net = solved(results, scheduled.isel(path=path, time=step))
        lines = twin.branches[twin.branches["element"] == "line"]
        theirs = net.res_line["loading_percent"].loc[lines["index"]].to_numpy()
        ours = flow["loading_percent"].isel(path=path, time=step).sel(branch=lines.index.to_numpy(dtype=str))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.01)
        assert theirs.max() <= 100.5  # the certificate's tolerance
        vm_pu = net.res_bus["vm_pu"].loc[twin.buses["index"]].to_numpy()
        assert (vm_pu >= twin.buses["vm_min_pu"].to_numpy() - 1e-3).all()
        assert (vm_pu <= twin.buses["vm_max_pu"].to_numpy() + 1e-3).all()


def test_left_alone_the_jobs_would_overload_the_feeder(results: StudyResults) -> None:
    """Else the schedule would have nothing to prove."""
    loading = results.power_flows["realised"]["loading_percent"].to_numpy()
    assert loading.max() > 110


def solved(results: StudyResults, powers: xr.Dataset) -> pp.pandapowerNet:
    """Pandapower's own solution with the power of every asset."""
    net = copy.deepcopy(results.twin.net)
    for name, row in results.twin.assets.iterrows():
        values = [SIGN[row["element"]] * float(powers[column].sel(asset=name)) for column in ("p_mw", "q_mvar")]
        net[row["element"]].loc[row["index"], ["p_mw", "q_mvar", "scaling"]] = [*values, 1.0]
    with warnings.catch_warnings():
        # divisions by zero in pandapower's results of buses without supply
        warnings.simplefilter("ignore")
        pp.runpp(net, tolerance_mva=1e-10)
    return net
