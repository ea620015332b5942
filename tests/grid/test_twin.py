"""Names, limits and asset facts of the twin; what it refuses."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest

from gridtwin.data.buildings import assume_building
from gridtwin.errors import NetworkError
from gridtwin.grid.twin import build_twin, name_assets


class LimitRules:
    """0.95 to 1.05 pu below 1 kV, 0.9 to 1.1 pu above; trafos to 80 %."""

    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return (0.95, 1.05) if vn_kv < 1 else (0.9, 1.1)

    def loading_limit(self, element: str) -> float | None:
        return 80.0 if element == "trafo" else None


@pytest.fixture
def net() -> pp.pandapowerNet:
    net = pp.create_empty_network()
    mv = pp.create_bus(net, 20.0, name="busbar", geodata=(9.5, 51.3))
    lv = pp.create_bus(net, 0.4, name="street")
    end = pp.create_bus(net, 0.4, name="street")
    pp.create_ext_grid(net, mv)
    pp.create_transformer(net, mv, lv, "0.4 MVA 20/0.4 kV", name="T1")
    pp.create_line(net, lv, end, 0.1, "NAYY 4x150 SE", parallel=2, df=0.5)
    pp.create_load(net, lv, 0.01, name="house")
    pp.create_load(net, end, 0.02, sn_mva=0.05, name="house")
    pp.create_sgen(net, end, 0.03, name="roof")
    pp.create_storage(net, end, 0.0, max_e_mwh=0.01, min_e_mwh=0.002)
    return net


def build(net: pp.pandapowerNet, **options):
    return build_twin(net, rules=LimitRules(), **options)


def test_missing_and_doubled_names_become_table_and_row(net) -> None:
    twin = build(net)
    assert list(twin.buses.index) == ["busbar", "bus 1", "bus 2"]
    assert list(twin.branches.index) == ["line 0", "T1"]
    assert list(twin.assets.index) == ["load 0", "load 1", "roof", "storage 0"]
    assert list(twin.assets["bus"]) == ["bus 1", "bus 2", "bus 2", "bus 2"]


def test_a_made_name_does_not_hit_a_given_one(net) -> None:
    net.load["name"] = ["load 1", None]
    assert list(name_assets(net).index) == ["load 1", "load 1'", "roof", "storage 0"]


def test_the_same_name_in_two_tables_is_doubled(net) -> None:
    net.sgen["name"] = "house"
    net.load["name"] = ["house", "mill"]
    assert list(name_assets(net).index) == ["load 0", "mill", "sgen 0", "storage 0"]


def test_voltage_limits_are_the_narrower_of_rule_and_bus(net) -> None:
    net.bus["min_vm_pu"] = [0.97, 0.9, np.nan]
    net.bus["max_vm_pu"] = [1.2, 1.03, np.nan]
    buses = build(net).buses
    assert buses["vm_min_pu"].to_list() == [0.97, 0.95, 0.95]
    assert buses["vm_max_pu"].to_list() == [1.1, 1.03, 1.05]


def test_bus_limits_outside_the_rules_give_way_with_a_finding(net) -> None:
    net.bus["min_vm_pu"] = [1.2, np.nan, np.nan]
    twin = build(net)
    assert twin.buses["vm_min_pu"].to_list() == [0.9, 0.95, 0.95]
    assert any(finding.code == "GT-N11" and "busbar" in finding.where for finding in twin.findings)


def test_loading_limit_is_the_smallest_of_three(net) -> None:
    assert build(net).branches["max_loading_percent"].to_list() == [100.0, 80.0]
    assert build(net, max_loading_percent=70.0).branches["max_loading_percent"].to_list() == [70.0, 70.0]
    net.line["max_loading_percent"] = 60.0
    net.trafo["max_loading_percent"] = np.nan
    assert build(net).branches["max_loading_percent"].to_list() == [60.0, 80.0]


def test_ratings_count_parallel_systems_and_derating(net) -> None:
    branches = build(net).branches
    # Two systems of 0.27 kA at half rating: sqrt(3) * 0.4 kV * 0.27 kA.
    assert branches.at["line 0", "s_rated_mva"] == pytest.approx(np.sqrt(3) * 0.4 * 0.27)
    assert branches.at["T1", "s_rated_mva"] == pytest.approx(0.4)
    assert branches.loc["T1", ["from_bus", "to_bus"]].to_list() == ["busbar", "bus 1"]


def test_an_unrated_line_leaves_a_finding(net) -> None:
    net.line["max_i_ka"] = 0.0
    twin = build(net)
    assert np.isnan(twin.branches.at["line 0", "s_rated_mva"])
    assert any(finding.code == "GT-N12" and "line 0" in finding.where for finding in twin.findings)


def test_places_come_from_geojson(net) -> None:
    buses = build(net).buses
    assert buses.loc["busbar", ["x", "y"]].to_list() == [9.5, 51.3]
    assert buses.loc["bus 1", ["x", "y"]].isna().all()


def test_asset_defaults(net) -> None:
    assets = build(net).assets
    assert assets["kind"].to_list() == ["load", "load", "generator", "battery"]
    assert assets["p_rated_mw"].to_list() == [0.01, 0.05, 0.03, 0.001]
    assert assets.at["storage 0", "e_rated_mwh"] == pytest.approx(0.008)
    assert (assets["origin"] == "network").all()
    assert not assets["flexible"].any()
    assert assets["metered"].all()
    assert assets["flexible"].dtype == bool


def test_asset_columns_of_the_net_are_kept(net) -> None:
    net.load["kind"] = ["household", "electric_car"]
    net.load["flexible"] = [np.nan, True]
    net.load["p_rated_mw"] = [np.nan, 0.011]
    assets = build(net).assets
    assert assets["kind"].to_list()[:2] == ["household", "electric_car"]
    assert assets["flexible"].to_list() == [False, True, False, False]
    assert assets["p_rated_mw"].to_list()[:2] == [0.01, 0.011]


def test_a_rating_nobody_gave_leaves_a_finding(net) -> None:
    assert any(finding.code == "GT-N14" and "storage 0" in finding.where for finding in build(net).findings)


def test_buildings_of_heat_pumps_are_assumed_once(net) -> None:
    net.load["kind"] = "heat_pump"
    net.load["cop"] = [2.9, np.nan]
    twin = build(net)
    assert twin.assets["cop"].to_list()[:2] == [2.9, assume_building(0.05).cop]
    assert twin.assets.at["load 1", "ua_mw_per_k"] == assume_building(0.05).ua_mw_per_k
    assert twin.assets.loc[["roof", "storage 0"], "cop"].isna().all()
    assert [finding.code for finding in twin.findings].count("GT-N15") == 1


def test_an_unknown_kind_is_an_error(net) -> None:
    net.load["kind"] = ["household", "rocket"]
    with pytest.raises(NetworkError, match="rocket"):
        build(net)


REFUSED = {
    "svc": lambda net: pp.create_svc(net, 1, 1, -10, 1.0, 90),
    "ssc": lambda net: pp.create_ssc(net, 1, 0.1, 1),
    "tcsc": lambda net: pp.create_tcsc(net, 1, 2, 1, -10, 0.01, 140),
}


@pytest.mark.parametrize("element", REFUSED)
def test_elements_that_are_not_modelled_are_refused_by_name(net, element: str) -> None:
    REFUSED[element](net)
    with pytest.raises(NetworkError, match=f"{element} 0"):
        build(net)
    net[element]["in_service"] = False
    build(net)


def test_shares_of_a_load_make_at_most_a_whole(net) -> None:
    net.load.loc[1, ["const_z_p_percent", "const_i_p_percent"]] = [70.0, 30.0]
    build(net)
    net.load.loc[1, "const_i_p_percent"] = 40.0
    with pytest.raises(NetworkError, match=r"load 1.*110 %"):
        build(net)


def test_generators_that_hold_their_voltage_are_assets(net) -> None:
    pp.create_gen(net, 1, 0.01, vm_pu=1.01, name="hydro")
    assert build(net).assets.loc["hydro", ["element", "kind"]].to_list() == ["gen", "generator"]


def test_a_network_without_supply_is_refused(net) -> None:
    net.ext_grid["in_service"] = False
    with pytest.raises(NetworkError, match="upstream"):
        build(net)


def test_a_bus_that_does_not_exist_is_named(net) -> None:
    net.load.loc[1, "bus"] = 77
    with pytest.raises(NetworkError, match=r"load 1.*77"):
        build(net)


def test_stored_options_are_mentioned(net) -> None:
    pp.set_user_pf_options(net, trafo_model="pi")
    assert any(finding.code == "GT-N34" and "trafo_model" in finding.got for finding in build(net).findings)


def test_pandapower_types_of_generators_become_kinds() -> None:
    """PV and WP are what pandapower's own networks write; a declared kind comes first."""
    net = pn.create_cigre_network_mv(with_der="pv_wind")
    kinds = build(net).assets.query("element == 'sgen'")["kind"]
    assert set(kinds) == {"pv", "wind"}
    net.sgen["kind"] = "generator"
    assert set(build(net).assets.query("element == 'sgen'")["kind"]) == {"generator"}
