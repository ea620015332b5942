"""A user's own network, profiles and prices, from files to a finished run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from gridtwin.grid.network_files import read_network
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import read_run, write_run
from gridtwin.study import run_study
from tests.own_network import street_power, write_own_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own_study(tmp_path_factory.mktemp("own") / "street")


@pytest.fixture(scope="module")
def results(folder: Path) -> StudyResults:
    return run_study(folder)


def test_profiles_stand_where_the_files_put_them(results: StudyResults) -> None:
    """Label end and local time become UTC interval starts; generation becomes negative consumption; kW become MW."""
    loads, pv = street_power()
    realised = results.realised["p_mw"].to_pandas()
    assert len(realised) == 96
    for name, written in {**loads, **(-pv)}.items():
        np.testing.assert_allclose(realised[name], written.loc[realised.index] / 1000, rtol=0, atol=1e-12)


def test_reactive_power_follows_the_declared_power_factor(results: StudyResults) -> None:
    q_mvar, p_mw = results.realised["q_mvar"], results.realised["p_mw"]
    tangent = np.tan(np.arccos(0.97))
    np.testing.assert_allclose(q_mvar.sel(asset="stable"), tangent * p_mw.sel(asset="stable"), rtol=1e-9)
    assert not q_mvar.sel(asset="barn roof").any()


@pytest.mark.parametrize("case", ["realised", "realised_scheduled"])
@pytest.mark.parametrize("local", ["2016-03-28 12:30", "2016-03-28 19:00"])
def test_pandapower_finds_the_same_numbers(results: StudyResults, folder: Path, case: str, local: str) -> None:
    """The network as written, read by pandapower, with the powers of one quarter hour."""
    time = pd.Timestamp(local, tz="Europe/Berlin").tz_convert("UTC").tz_localize(None)
    powers = results.realised if case == "realised" else results.actual
    net = pp.from_json(str(folder / "street.json"))
    write_powers(net, powers.sel(time=time), results)
    pp.runpp(net, tolerance_mva=1e-10, trafo_model="t")
    flow = results.power_flows[case].isel(path=0).sel(time=time)
    ours = flow["vm_pu"].to_series()
    np.testing.assert_allclose(ours[net.bus.name], net.res_bus.vm_pu, rtol=0, atol=1e-6)
    loading = flow["loading_percent"].to_series()
    np.testing.assert_allclose(loading[net.line.name], net.res_line.loading_percent, rtol=0, atol=0.01)
    np.testing.assert_allclose(loading[net.trafo.name], net.res_trafo.loading_percent, rtol=0, atol=0.01)


def write_powers(net: pp.pandapowerNet, powers: object, results: StudyResults) -> None:
    """Every asset as a load of its consumption at its bus."""
    net.load["in_service"] = False
    net.sgen["in_service"] = False
    buses = pd.Series(net.bus.index, index=net.bus.name)
    for name in results.twin.assets.index:
        at = powers.sel(asset=name)  # type: ignore[attr-defined]
        bus = buses[results.twin.assets.at[name, "bus"]]
        pp.create_load(net, bus, float(at["p_mw"]), float(at["q_mvar"]))


def test_the_network_is_read_as_it_was_written(folder: Path) -> None:
    assert list(read_network("street.json", base=folder).load.name) == ["mill load", "farm house", "stable"]


def test_the_battery_is_used_and_its_energy_adds_up(results: StudyResults) -> None:
    """Stored energy changes by what goes in times, and by what comes out over, the square root of 0.92."""
    plan = results.schedule.sel(asset="battery 1")
    p_mw, e_mwh = plan["p_mw"].to_numpy(), plan["e_mwh"].to_numpy()
    one_way = np.sqrt(0.92)
    change = 0.25 * (np.clip(p_mw, 0, None) * one_way - np.clip(-p_mw, 0, None) / one_way)
    assert np.abs(p_mw).max() > 1e-3
    np.testing.assert_allclose(e_mwh, 0.005 + np.cumsum(change), rtol=0, atol=1e-8)


def test_the_run_folder_is_whole(results: StudyResults, tmp_path: Path) -> None:
    run = read_run(write_run(results, tmp_path / "run"))
    assert {"report.html", "run.json", "statements", "tables", "tables.xlsx"} == {
        path.name for path in run.folder.iterdir()
    }
    assert run.about["time"]["steps"] == 96
    assert set(run.about["inputs_sha256"]) == {"scenario.toml", "street.json", "loads.csv", "pv.csv", "prices.csv"}
