"""SimBench networks: equal to simbench's own loader, on a gap-free axis, with its defects told."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import simbench

from gridtwin.errors import NetworkError
from gridtwin.grid.pandapower_json import read_pandapower_json
from gridtwin.grid.simbench import read_simbench
from gridtwin.nomenclature import ASSET_KINDS

OWN_COLUMNS = {"kind", "origin", "metered", "flexible", "p_rated_mw", "e_rated_mwh"}
CODE = "1-LV-semiurb4--2-sw"


@pytest.fixture(scope="module")
def semiurban():
    return read_simbench(CODE)


@pytest.fixture(scope="module")
def reference():
    return simbench.get_simbench_net(CODE)


def assert_same_tables(net, reference):
    """Every table and column of simbench's own loader, except the repaired efficiency."""
    for name, table in reference.items():
        if isinstance(table, pd.DataFrame):
            ours = net[name].drop(columns=list(OWN_COLUMNS & set(net[name])))
            drop = ["efficiency_percent"] if name == "storage" else []
            pd.testing.assert_frame_equal(ours.drop(columns=drop), table.drop(columns=drop), obj=name)


def test_the_net_equals_that_of_simbench(semiurban, reference) -> None:
    assert_same_tables(semiurban[0], reference)


def test_the_rows_kept_are_those_that_simbench_keeps() -> None:
    # two voltage levels with their boundary, switches removed: all the rules of _rows_of
    code = "1-MVLV-rural-1.108-0-no_sw"
    assert_same_tables(read_simbench(code)[0], simbench.get_simbench_net(code))


def test_power_equals_the_absolute_values_of_simbench(semiurban, reference) -> None:
    _, profiles, _ = semiurban
    absolute = simbench.get_absolute_values(reference, profiles_instead_of_study_cases=True)
    for element, column, variable, sign in [
        ("load", "p_mw", "p_mw", 1),
        ("load", "q_mvar", "q_mvar", 1),
        ("sgen", "p_mw", "p_mw", -1),  # generation is negative consumption
    ]:
        ours = profiles[variable].isel(asset=profiles["element"].to_numpy() == element)
        np.testing.assert_array_equal(ours.to_numpy(), sign * absolute[element, column].to_numpy())


def test_the_year_has_every_quarter_hour_once(semiurban) -> None:
    times = semiurban[1].indexes["time"]
    assert len(times) == 366 * 96
    assert times[0] == pd.Timestamp("2015-12-31 23:00")
    assert (np.diff(times) == np.timedelta64(15, "m")).all()


def test_summer_time_is_inside_the_stamps(semiurban) -> None:
    # the middle of the PV day stays where it is in UTC from March to July;
    # with stamps in winter time all year it would move by an hour
    p_mw = semiurban[1]["p_mw"].isel(asset=semiurban[1]["kind"].to_numpy() == "pv").sum("asset")
    hour = p_mw["time.hour"] + p_mw["time.minute"] / 60
    month = p_mw["time.month"]
    middle = (p_mw * hour).groupby(month).sum() / p_mw.groupby(month).sum()
    assert abs(float(middle.sel(month=3) - middle.sel(month=7))) < 0.25


def test_kinds_come_from_the_profiles(semiurban) -> None:
    net, profiles, _ = semiurban
    counts = pd.Series(profiles["kind"].to_numpy()).value_counts()
    # counted by hand in the profile column: 32 x H0, 9 x G, 10 x Air or Soil, 7 x HLS or APLS
    expected = {"household": 32, "commercial": 9, "heat_pump": 10, "electric_car": 7, "pv": 6, "battery": 4}
    assert counts.to_dict() == expected
    assert set(counts.index) <= set(ASSET_KINDS)
    for element in ("load", "sgen", "storage"):
        assert (net[element]["p_rated_mw"] > 0).all()
        assert (net[element]["origin"] == "network").all()
        assert net[element]["metered"].all() and not net[element]["flexible"].any()


def test_storages_are_idle_pseudo_values_with_the_reason_in_figures(semiurban) -> None:
    net, profiles, findings = semiurban
    storages = profiles.isel(asset=profiles["element"].to_numpy() == "storage")
    assert (storages["p_mw"] == 0).all() and (storages["quality"] == 4).all()
    told = next(finding for finding in findings if finding.code == "GT-D12")
    # 0.0137 MW times the sum of its profile: 8.946 MWh out of a battery of 27.4 kWh
    assert "0 MWh charged and 8.946 MWh discharged" in told.got
    assert "0.0274 MWh" in told.expected
    assert (net.storage["e_rated_mwh"] == net.storage["max_e_mwh"]).all()


def test_the_efficiency_is_a_percentage(semiurban) -> None:
    net, _, findings = semiurban
    assert (net.storage["efficiency_percent"] == 95.0).all()
    assert any(finding.code == "GT-D22" and finding.got == "0.95" for finding in findings)


def test_the_net_goes_through_a_file(semiurban, tmp_path) -> None:
    net = semiurban[0]
    pp.to_json(net, str(tmp_path / "net.json"))
    read, _ = read_pandapower_json(tmp_path / "net.json")
    for name in ("bus", "line", "trafo", "load", "sgen", "storage", "switch"):
        for column in net[name]:
            ours, theirs = read[name][column], net[name][column]
            if pd.api.types.is_float_dtype(theirs):  # pandas writes 15 decimals
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)
            else:
                assert ((ours == theirs) | (ours.isna() & theirs.isna())).all(), f"{name}.{column}"


def test_an_unknown_code_names_its_neighbours() -> None:
    with pytest.raises(NetworkError, match="1-LV-semiurb4--2-sw"):
        read_simbench("1-LV-semiurb--2-sw")
