"""The schedule of the village, replayed in `pandapower.runpp`: the same voltages and loadings, and no hidden overload.

The agreement is: in at least the share `confidence` of the paths of a day all limits
hold all day. What a schedule cannot keep is named in `unmet`. Counting is done
here from the loadings alone, without the certificate's own code.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import xarray as xr

from gridtwin.operate.dispatch import apply_schedule
from gridtwin.report.results import StudyResults
from gridtwin.scenario_file import read_scenario
from gridtwin.study import run_study

VILLAGE = Path(__file__).parent.parent.parent / "scenarios" / "village_pv"
LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU = 0.5, 1e-3
"""What the certificate tolerates."""
SIGN = {"load": 1, "sgen": -1, "storage": 1}


@dataclass(frozen=True)
class Replay:
    results: StudyResults
    scheduled: xr.Dataset
    """Power of every asset under the schedule. (path, time, asset)"""
    flow: xr.Dataset
    """Our power flow of it."""
    excess: np.ndarray
    """Largest violation in units of its tolerance; above 1 a limit does not hold. (path, time)"""

    @property
    def days(self) -> list[np.ndarray]:
        """Steps of each local day."""
        dates = pd.DatetimeIndex(self.flow.indexes["time"]).tz_localize("UTC").tz_convert("Europe/Berlin").date
        return [np.flatnonzero(dates == day) for day in dict.fromkeys(dates)]

    @property
    def allowed(self) -> int:
        """Paths of a day in which limits may be broken."""
        confidence = self.results.scenario["flexibility"]["confidence"]
        return int(np.floor((1 - confidence) * len(self.excess) + 1e-9))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({"days": 1, "paths": 20}, id="one day"),
        pytest.param({"days": 2, "paths": 50}, id="as packaged", marks=pytest.mark.slow),
    ],
)
def replay(request: pytest.FixtureRequest) -> Replay:
    source = read_scenario(VILLAGE)
    scenario = source.scenario
    smaller = scenario.model_copy(
        update={
            "time": scenario.time.model_copy(update={"days": request.param["days"]}),
            "forecast": scenario.forecast.model_copy(update={"paths": request.param["paths"]}),
        }
    )
    results = run_study(replace(source, scenario=smaller))
    flow = results.power_flows["forecast_scheduled"]
    scheduled = apply_schedule(results.twin, results.forecast, results.schedule)
    loading, outside = violations(results, flow)
    excess = np.maximum((loading / LOADING_TOLERANCE_PERCENT).max(axis=2), (outside / VOLTAGE_TOLERANCE_PU).max(axis=2))
    return Replay(results, scheduled, flow, excess)


def violations(results: StudyResults, flow: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Loading above its limit [%] (path, time, branch) and voltage outside its band [pu] (path, time, bus)."""
    buses = results.twin.buses
    loading = flow["loading_percent"].to_numpy() - results.twin.branches["max_loading_percent"].to_numpy()
    vm_pu = flow["vm_pu"].to_numpy()
    return loading, np.maximum(vm_pu - buses["vm_max_pu"].to_numpy(), buses["vm_min_pu"].to_numpy() - vm_pu)


def demanding_paths(replay: Replay, steps: np.ndarray) -> np.ndarray:
    """Paths of a day without the allowed number of worst ones, the most demanding of them first."""
    worst_first = np.argsort(-replay.excess[:, steps].max(axis=1), kind="stable")
    return worst_first[replay.allowed :]


def test_pandapower_finds_the_same_at_the_worst_steps(replay: Replay) -> None:
    """The worst path, the worst that must hold and the middle one, at the two tightest steps of each day."""
    for steps in replay.days:
        demanding = demanding_paths(replay, steps)
        ordered = np.argsort(-replay.excess[:, steps].max(axis=1), kind="stable")
        for path in dict.fromkeys([int(ordered[0]), int(demanding[0]), int(demanding[len(demanding) // 2])]):
            for step in steps[np.argsort(-replay.excess[path, steps], kind="stable")[:2]]:
                assert_same(replay, path, int(step))


def assert_same(replay: Replay, path: int, step: int) -> None:
    """Voltages to 1e-6 pu, loadings to 0.01 %, as in the tests of the power flow itself."""
    twin, net = replay.results.twin, copy.deepcopy(replay.results.twin.net)
    powers = replay.scheduled.isel(path=path, time=step)
    for name, row in twin.assets.iterrows():
        sign = SIGN[row["element"]]
        values = [sign * float(powers[column].sel(asset=name)) for column in ("p_mw", "q_mvar")]
        net[row["element"]].loc[row["index"], ["p_mw", "q_mvar", "scaling"]] = [*values, 1.0]
    with warnings.catch_warnings():
        # divisions by zero in pandapower's results of buses without supply
        warnings.simplefilter("ignore")
        pp.runpp(net, tolerance_mva=1e-10)
    ours = replay.flow.isel(path=path, time=step)
    vm_pu = net.res_bus["vm_pu"].loc[twin.buses["index"]]
    np.testing.assert_allclose(ours["vm_pu"], vm_pu, rtol=0, atol=1e-6)
    for element in ("line", "trafo"):
        rows = twin.branches[twin.branches["element"] == element]
        theirs = net[f"res_{element}"]["loading_percent"].loc[rows["index"]]
        mine = ours["loading_percent"].sel(branch=rows.index.to_numpy(dtype=str))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=0.01)


def test_without_the_schedule_the_agreement_is_broken(replay: Replay) -> None:
    """Else the schedule would have nothing to prove."""
    loading, outside = violations(replay.results, replay.results.power_flows["forecast"])
    broken = (loading > LOADING_TOLERANCE_PERCENT).any(axis=2) | (outside > VOLTAGE_TOLERANCE_PU).any(axis=2)
    assert any(broken[:, steps].any(axis=1).sum() > replay.allowed for steps in replay.days)


def test_every_overload_beyond_the_agreed_share_is_gone_or_named(replay: Replay) -> None:
    results = replay.results
    loading, outside = violations(results, replay.flow)
    unmet = results.unmet
    named = unmet[unmet["what"] == "network limit"]
    for steps in replay.days:
        first, last = (pd.Timestamp(replay.flow["time"].to_numpy()[step]) for step in (steps[0], steps[-1]))
        here = set(named.loc[(named["start"] <= last) & (named["end"] > first), "asset"])
        kept = demanding_paths(replay, steps)
        rows = np.ix_(kept, steps)
        over = (loading[rows] > LOADING_TOLERANCE_PERCENT).any(axis=(0, 1))
        beyond = (outside[rows] > VOLTAGE_TOLERANCE_PU).any(axis=(0, 1))
        left = {*results.twin.branches.index[over], *results.twin.buses.index[beyond]}
        assert left <= here


def test_the_certificate_counts_the_same_paths(replay: Replay) -> None:
    """Clean paths of the day with the fewest, over the whole study, and whether that is what was agreed."""
    certificate, days = replay.results.certificate, replay.days
    clean = [(replay.excess[:, steps] <= 1).all(axis=1) for steps in days]
    assert certificate["lowest_share_holding"] == pytest.approx(min(day.mean() for day in clean))
    assert certificate["share_paths_without_violation"] == pytest.approx(np.logical_and.reduce(clean).mean())
    enough = all((~day).sum() <= replay.allowed for day in clean)
    assert certificate["limits_hold"] == enough
