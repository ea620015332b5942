"""Parents against a search of pandapower's own graph; meshes, open switches, islands and doubled names by hand."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import pytest
from pandapower.topology import create_nxgraph

from gridtwin.data.rules import read_rules
from gridtwin.forecast.hierarchy import build_hierarchy
from gridtwin.grid.compile import compile_network, find_bus_of_assets
from gridtwin.grid.parent_map import find_parents
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import GridTwin, build_twin

VILLAGE = "1-LV-rural1--2-sw"


def twin_of(net: pp.pandapowerNet) -> GridTwin:
    return build_twin(net, rules=read_rules("lv_planning"))


def parents_of(twin: GridTwin) -> dict[str, str | None]:
    table = find_parents(twin)
    assert list(table) == ["child", "parent"]
    assert not table["child"].duplicated().any()
    assert table["child"].tolist()[: len(twin.assets)] == list(twin.assets.index)
    return dict(zip(table["child"], table["parent"], strict=True))


def codes_of(twin: GridTwin) -> list[str]:
    return [finding.code for finding in find_parents(twin).attrs["findings"]]


def feeders_by_search(twin: GridTwin, busbar: int) -> dict[str, str | None]:
    """Feeder of every asset: the first line of the shortest path from the busbar; None at the busbar itself."""
    graph = create_nxgraph(twin.net, multi=False)
    first = {bus: path[1] for bus, path in nx.single_source_shortest_path(graph, busbar).items() if len(path) > 1}
    lines = twin.branches[twin.branches["element"] == "line"]
    name = {frozenset(twin.net.line.loc[row, ["from_bus", "to_bus"]]): line for line, row in lines["index"].items()}
    found = {}
    for asset, bus in twin.buses["index"].loc[twin.assets["bus"]].set_axis(twin.assets.index).items():
        found[asset] = name[frozenset((busbar, first[bus]))] if bus != busbar else None
    return found


@pytest.mark.parametrize("code", [VILLAGE, "1-LV-semiurb4--0-sw"])
def test_every_asset_of_a_village_has_the_feeder_that_a_search_finds(code: str) -> None:
    net, _, _ = read_simbench(code)
    twin = twin_of(net)
    parents, (station,) = parents_of(twin), twin.branches.index[twin.branches["element"] == "trafo"]
    wanted = feeders_by_search(twin, int(net.trafo["lv_bus"].iloc[0]))
    assert {asset: parents[asset] for asset in twin.assets.index} == {a: f or station for a, f in wanted.items()}
    feeders = set(filter(None, wanted.values()))
    assert {child: parent for child, parent in parents.items() if child not in wanted} == dict.fromkeys(
        feeders, station
    )
    assert codes_of(twin) == []


def test_the_powers_of_feeders_add_up_to_that_of_the_station() -> None:
    net, profiles, _ = read_simbench(VILLAGE)
    twin = twin_of(net)
    hierarchy = build_hierarchy(find_parents(twin), profiles["asset"].to_numpy().tolist())
    p_mw = profiles["p_mw"].to_numpy()[:96]
    sums = pd.DataFrame(hierarchy.add_up(p_mw), columns=hierarchy.sums)
    (station,) = hierarchy.roots
    # no asset stands at the busbar; the order of summation alone differs
    np.testing.assert_allclose(sums.drop(columns=station).sum(axis=1), sums[station], atol=1e-12)
    np.testing.assert_allclose(sums[station], p_mw.sum(axis=1), atol=1e-12)


def test_the_flow_of_a_feeder_is_the_sum_of_its_assets() -> None:
    """Without losses there is nothing between them; those of this village's lines are a few percent."""
    net, _, _ = read_simbench(VILLAGE)
    twin = twin_of(net)
    pp.runpp(net)
    hierarchy = build_hierarchy(find_parents(twin), list(twin.assets.index))
    sign = {"load": 1, "storage": 1, "sgen": -1}
    rows = zip(twin.assets["element"], twin.assets["index"], strict=True)
    p_mw = np.array([sign[element] * net[f"res_{element}"].at[row, "p_mw"] for element, row in rows])
    sums = dict(zip(hierarchy.sums, hierarchy.add_up(p_mw), strict=True))
    busbar = net.trafo["lv_bus"].iloc[0]
    for feeder in hierarchy.sums[1:]:
        line = twin.branches["index"].loc[feeder]
        side = "from" if net.line.at[line, "from_bus"] == busbar else "to"
        losses = net.res_line["pl_mw"].sum()
        assert net.res_line.at[line, f"p_{side}_mw"] == pytest.approx(sums[feeder], abs=losses)


def test_assets_count_where_the_power_flow_has_a_bus_for_them() -> None:
    net, _, _ = read_simbench(VILLAGE)
    net.load.loc[3, "in_service"] = False
    net.switch.loc[(net.switch["et"] == "l") & (net.switch["element"] == 3), "closed"] = False
    twin = twin_of(net)
    table = find_parents(twin)
    supplied = find_bus_of_assets(twin, compile_network(twin).out_bus) >= 0
    assert table["parent"].notna().to_numpy()[: len(twin.assets)].tolist() == supplied.tolist()
    assert 1 < (~supplied).sum() < len(supplied)  # the load out of service, and those behind the switch
    (finding,) = table.attrs["findings"]
    assert finding.code == "GT-N62" and twin.assets.index[~supplied][0] in finding.where
    build_hierarchy(table, list(twin.assets.index))  # assets without parent stand for themselves


def street(**switch) -> pp.pandapowerNet:
    """Two feeders from one busbar, `north` over 1 to 2 and `south` to 3; `tie` between 2 and 3."""
    net = pp.create_empty_network()
    grid = pp.create_bus(net, 20.0)
    busbar, *ends = (pp.create_bus(net, 0.4) for _ in range(4))
    pp.create_ext_grid(net, grid, name="grid")
    pp.create_transformer(net, grid, busbar, "0.4 MVA 20/0.4 kV", name="T1")
    pairs = {
        "north": (busbar, ends[0]),
        "on": (ends[0], ends[1]),
        "south": (busbar, ends[2]),
        "tie": (ends[1], ends[2]),
    }
    for name, (begin, end) in pairs.items():
        pp.create_line(net, begin, end, 0.1, "NAYY 4x150 SE", name=name)
    for number, bus in enumerate((busbar, *ends)):
        pp.create_load(net, bus, 0.01, name=f"house {number}")
    for name, closed in switch.items():
        line = int(net.line.index[net.line["name"] == name][0])
        pp.create_switch(net, int(net.line.at[line, "to_bus"]), line, et="l", closed=closed)
    return net


def test_the_open_switch_decides() -> None:
    parents = parents_of(twin_of(street(tie=False)))
    assert parents == {
        "house 0": "T1",
        "house 1": "north",
        "house 2": "north",
        "house 3": "south",
        "north": "T1",
        "south": "T1",
    }
    parents = parents_of(twin_of(street(on=False)))
    assert parents["house 1"] == "north" and parents["house 2"] == parents["house 3"] == "south"
    assert codes_of(twin_of(street(on=False))) == []


def test_a_ring_counts_into_the_station_and_says_so() -> None:
    twin = twin_of(street())
    assert parents_of(twin) == {f"house {number}": "T1" for number in range(4)}
    (finding,) = find_parents(twin).attrs["findings"]
    assert finding.code == "GT-N61" and "house 1, house 2, house 3" in finding.where


def test_what_is_behind_two_open_switches_counts_nowhere() -> None:
    twin = twin_of(street(on=False, tie=False))
    assert parents_of(twin)["house 2"] is None
    (finding,) = find_parents(twin).attrs["findings"]
    assert finding.code == "GT-N62" and finding.where == "asset house 2" and finding.severity == "warning"


def test_parallel_cables_are_one_feeder_and_parallel_transformers_one_station() -> None:
    net = street(tie=False)
    pp.create_line(net, 1, 4, 0.1, "NAYY 4x150 SE", name="south b")
    pp.create_transformer(net, 0, 1, "0.4 MVA 20/0.4 kV", name="T2")
    twin = twin_of(net)
    parents = parents_of(twin)
    assert parents["house 3"] == "south + south b" and parents["south + south b"] == parents["house 0"] == "T1 + T2"
    assert codes_of(twin) == []


def test_sections_of_a_busbar_are_one_only_while_coupled() -> None:
    net = street(tie=False)
    section = pp.create_bus(net, 0.4)
    pp.create_transformer(net, 0, section, "0.4 MVA 20/0.4 kV", name="T2")
    pp.create_load(net, section, 0.01, name="pump")
    pp.create_switch(net, 1, section, et="b", closed=False)
    assert parents_of(twin_of(net))["pump"] == "T2" and parents_of(twin_of(net))["north"] == "T1"
    net.switch.loc[net.switch["et"] == "b", "closed"] = True
    parents = parents_of(twin_of(net))
    assert parents["pump"] == parents["north"] == "T1 + T2"


def test_lines_at_the_busbar_of_the_external_grid_make_it_the_station() -> None:
    net = street(tie=False)
    far = pp.create_bus(net, 20.0)
    pp.create_line(net, 0, far, 1.0, "NA2XS2Y 1x95 RM/25 12/20 kV", name="overland")
    pp.create_load(net, far, 0.1, name="mill")
    parents = parents_of(twin_of(net))
    assert parents["mill"] == "overland" and parents["house 1"] == parents["house 0"] == "T1"
    assert parents["overland"] == parents["T1"] == "grid"


def test_names_of_assets_are_not_taken() -> None:
    net = street(tie=False)
    net.load["name"] = ["T1", "north", "house 2", "house 3"]
    twin = twin_of(net)
    parents = parents_of(twin)
    assert parents["north"] == parents["house 2"] == "north'" and parents["north'"] == parents["T1"] == "T1'"
    assert build_hierarchy(find_parents(twin), list(twin.assets.index)).roots == ("T1'",)


def test_three_windings_feed_both_sides_from_one_station() -> None:
    twin = twin_of(pn.example_multivoltage())
    parents = parents_of(twin)
    assert set(parents.values()) == {"EHV-HV-Trafo"}  # the rings of this network are closed
    assert codes_of(twin) == ["GT-N61"]
    net = pp.create_empty_network()
    high, middle, low, end = (pp.create_bus(net, vn_kv) for vn_kv in (110.0, 20.0, 10.0, 10.0))
    pp.create_ext_grid(net, high)
    pp.create_transformer3w(net, high, middle, low, "63/25/38 MVA 110/20/10 kV", name="T3")
    pp.create_line(net, low, end, 1.0, "NA2XS2Y 1x95 RM/25 6/10 kV", name="cable")
    for bus, name in ((middle, "town"), (low, "works"), (end, "quarry")):
        pp.create_load(net, bus, 1.0, name=name)
    assert parents_of(twin_of(net)) == {"town": "T3", "works": "T3", "quarry": "cable", "cable": "T3"}


def test_a_busbar_alone_is_the_station_while_it_is_in_service() -> None:
    net = pp.create_empty_network()
    busbar = pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, busbar, name="grid")
    pp.create_load(net, busbar, 0.01, name="house")
    assert parents_of(twin_of(net)) == {"house": "grid"}
    net.bus["in_service"] = False
    assert parents_of(twin_of(net)) == {"house": None}
