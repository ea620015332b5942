"""Checks of networks: healthy ones pass, each fault is named with table, column and element."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks
import pytest

from gridtwin.errors import NetworkError
from gridtwin.grid.network_checks import check_network
from gridtwin.grid.network_files import list_example_networks, read_network


@pytest.fixture
def net():
    """External grid, 20/0.4 kV transformer of 400 kVA, two cables, one load."""
    net = pp.create_empty_network()
    mv, lv, middle, end = (pp.create_bus(net, vn_kv=vn_kv, name=f"bus {vn_kv}") for vn_kv in (20, 0.4, 0.4, 0.4))
    pp.create_ext_grid(net, mv)
    pp.create_transformer(net, mv, lv, "0.4 MVA 20/0.4 kV", name="T1")
    pp.create_line(net, lv, middle, 0.1, "NAYY 4x150 SE", name="Cable A")
    pp.create_line(net, middle, end, 0.1, "NAYY 4x150 SE", name="Cable B")
    pp.create_load(net, end, p_mw=0.02, q_mvar=0.005, name="Baker")
    pp.create_switch(net, middle, 1, et="l", closed=True)
    return net


def only(findings):
    """The one finding there is."""
    assert len(findings) == 1, "\n".join(map(str, findings))
    return findings[0]


def test_a_healthy_network_has_no_findings(net) -> None:
    assert check_network(net) == []


@pytest.mark.parametrize("name", ["create_cigre_network_lv", "mv_oberrhein", "create_kerber_dorfnetz", "case33bw"])
def test_published_networks_have_no_findings(name) -> None:
    assert read_network(f"pandapower:{name}")["gridtwin_findings"] == []


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "code", "severity"),
    [
        ("load", 0, "p_mw", np.nan, "GT-N01", "error"),
        ("load", 0, "q_mvar", np.inf, "GT-N01", "error"),
        ("ext_grid", 0, "in_service", False, "GT-N02", "error"),
        ("load", 0, "bus", 99, "GT-N03", "error"),
        ("line", 1, "to_bus", 99, "GT-N03", "error"),
        ("switch", 0, "element", 99, "GT-N03", "error"),
        ("line", 0, "max_i_ka", 0.0, "GT-N04", "warning"),
        ("line", 0, "max_i_ka", np.nan, "GT-N04", "warning"),
        ("line", 0, "length_km", 0.0, "GT-N05", "error"),
        ("line", 0, "length_km", 1e-12, "GT-N05", "error"),
        ("line", 0, "length_km", -0.1, "GT-N06", "error"),
        ("load", 0, "p_mw", 20.0, "GT-D10", "error"),  # 20 kW, given as MW
        ("load", 0, "p_mw", -0.02, "GT-D11", "warning"),
        ("trafo", 0, "vn_lv_kv", 0.69, "GT-N13", "warning"),
        ("switch", 0, "closed", False, "GT-N09", "warning"),
    ],
)
def test_a_fault_is_named(net, table, row, column, value, code, severity) -> None:
    net[table].loc[row, column] = value
    finding = only(check_network(net))
    assert (finding.code, finding.severity) == (code, severity)
    if code not in ("GT-N02", "GT-N09"):
        assert finding.where.startswith(f"{table}.{column}: ")
        name = net[table]["name"].loc[row]
        assert not name or str(name) in finding.where


@pytest.mark.parametrize("vn_kv", [0.0, 20_000.0])
def test_a_nominal_voltage_out_of_range(net, vn_kv) -> None:
    net.bus["vn_kv"] = [20.0, 0.4, 0.4, vn_kv]
    assert "GT-N07" in {finding.code for finding in check_network(net)}


def test_a_line_between_two_nominal_voltages(net) -> None:
    pp.create_line(net, 0, 2, 1.0, "NAYY 4x150 SE", name="Mistake")
    finding = only(check_network(net))
    assert finding.code == "GT-N08" and "Mistake" in finding.where and finding.got == "20 and 0.4 kV"


def test_an_element_out_of_service_may_be_faulty(net) -> None:
    net.line.loc[1, ["length_km", "in_service"]] = [0.0, False]
    net.line["in_service"] = net.line["in_service"].astype(bool)
    assert {finding.code for finding in check_network(net)} == {"GT-N09"}  # its end bus is dark


def test_unsupplied_buses_are_named(net) -> None:
    net.switch.loc[0, "closed"] = False
    assert "row 3" in only(check_network(net)).where


def test_many_rows_make_one_finding(net) -> None:
    for number in range(10):
        pp.create_load(net, 2, p_mw=np.nan, name=f"house {number}")
    finding = only(check_network(net))
    assert "house 0" in finding.where and "and 6 more" in finding.where


def test_reading_raises_every_error_at_once(net, tmp_path) -> None:
    net.line.loc[0, "length_km"] = -1.0
    net.load.loc[0, "p_mw"] = 50.0
    pp.to_json(net, str(tmp_path / "net.json"))
    with pytest.raises(NetworkError) as caught:
        read_network("net.json", base=tmp_path)
    assert {finding.code for finding in caught.value.findings} == {"GT-N06", "GT-D10"}


def test_only_functions_of_pandapower_networks_can_be_named() -> None:
    examples = list_example_networks()
    assert all(function.__module__.startswith("pandapower.networks.") for function in examples.values())
    assert "create_cigre_network_mv" in examples and "from_json" not in examples and "os" not in examples
    with pytest.raises(NetworkError, match="create_cigre_network_lv"):
        read_network("pandapower:create_cigre_lv")


@pytest.mark.parametrize("source", ["net.xml", "missing.json", "https://example.org/net.json"])
def test_other_sources_are_refused(source, tmp_path) -> None:
    with pytest.raises(NetworkError):
        read_network(source, base=tmp_path)


def test_the_healthy_example_of_the_docstring() -> None:
    assert len(read_network("pandapower:create_cigre_network_lv").load) == 15
