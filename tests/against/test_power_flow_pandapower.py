"""Every voltage, flow, loading and loss against `pandapower.runpp`.

Tolerances: voltages 1e-6 pu and 1e-4 degree (the solver stops at 1e-9 pu),
loadings 0.01 % of the rating, powers 1e-6 MVA on networks below 100 MVA.
"""

from __future__ import annotations

import copy
import functools
import warnings

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridtwin.grid.snapshot import build_snapshot
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.power_flow import run_power_flow

LOSS_COLUMNS = {"line": "pl_mw", "trafo": "pl_mw", "trafo3w": "pl_mw", "impedance": "pl_mw"}
FROM_COLUMNS = {"line": "from", "trafo": "hv", "trafo3w": "hv", "impedance": "from"}


class FlatRules:
    """Limits do not matter here."""

    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.9, 1.1

    def loading_limit(self, element: str) -> float | None:
        return None


def build(net: pp.pandapowerNet) -> GridTwin:
    return build_twin(net, rules=FlatRules())


def solve_by_pandapower(net: pp.pandapowerNet) -> None:
    with warnings.catch_warnings():
        # Divisions by zero in pandapower's results of buses without supply.
        warnings.simplefilter("ignore")
        pp.runpp(net, tolerance_mva=1e-10, max_iteration=100)


def assert_same(net: pp.pandapowerNet) -> xr.Dataset:
    """Solve twice and compare every output of every element."""
    twin = build(net)
    flow = run_power_flow(twin, build_snapshot(twin))
    solve_by_pandapower(net)
    one = flow.isel(path=0, time=0)
    assert int(one["status"]) == 0
    close(one["vm_pu"], net.res_bus["vm_pu"].loc[twin.buses["index"]], 1e-6, "vm_pu")
    close(one["va_degree"], net.res_bus["va_degree"].loc[twin.buses["index"]], 1e-4, "va_degree")
    for element, side in FROM_COLUMNS.items():
        result = net[f"res_{element}"]
        mine = one.isel(branch=np.flatnonzero(twin.branches["element"] == element))
        # A branch without current is 0 here; pandapower leaves NaN where it has no voltage.
        close(mine["p_loss_mw"], result["pl_mw"].fillna(0), 1e-6, f"{element} losses")
        close(mine["p_branch_mw"], result[f"p_{side}_mw"].fillna(0), 1e-6, f"{element} p")
        close(mine["q_branch_mvar"], result[f"q_{side}_mvar"].fillna(0), 1e-6, f"{element} q")
        if element == "line":
            close(mine["i_ka"], result["i_ka"].fillna(0), 1e-7, "line current")
        if element != "impedance":
            rated = np.isfinite(mine["loading_percent"].to_numpy())
            assert (rated == twin.branches["s_rated_mva"][twin.branches["element"] == element].notna()).all()
            theirs = result["loading_percent"].fillna(0)[rated]
            close(mine["loading_percent"][rated], theirs, 1e-2, f"{element} loading")
    close(one["p_slack_mw"], net.res_ext_grid["p_mw"].sum(), 1e-6, "slack p")
    close(one["q_slack_mvar"], net.res_ext_grid["q_mvar"].sum(), 1e-6, "slack q")
    return flow


def close(mine: xr.DataArray, theirs: object, tolerance: float, what: str) -> None:
    np.testing.assert_allclose(mine.to_numpy(), np.asarray(theirs), rtol=0, atol=tolerance, err_msg=what)


# SimBench ---------------------------------------------------------------------------------------

CODES = [
    "1-LV-rural1--0-sw",
    "1-LV-rural2--0-sw",
    "1-LV-rural3--0-no_sw",
    "1-LV-semiurb4--0-sw",
    "1-LV-semiurb5--0-no_sw",
    "1-LV-urban6--0-sw",
    "1-MV-rural--0-no_sw",
    "1-MV-semiurb--0-sw",
    "1-MV-urban--0-sw",
    "1-MV-comm--0-sw",
]
GRIDS = "LV-rural1 LV-rural2 LV-rural3 LV-semiurb4 LV-semiurb5 LV-urban6 MV-rural MV-semiurb MV-urban MV-comm".split()
MORE_CODES = [
    *(f"1-{grid}--{year}-{switches}" for grid in GRIDS for year in (0, 1, 2) for switches in ("sw", "no_sw")),
    "1-MVLV-semiurb-all-0-sw",
    "1-MVLV-rural-4.101-1-no_sw",
]


@pytest.fixture(scope="module")
def simbench_net():
    """SimBench networks; the CSV tables of a scenario are parsed once, without the profiles."""
    simbench = pytest.importorskip("simbench")
    module = simbench.networks.extract_simbench_grids_from_csv

    @functools.cache
    def parse(path: str, table: str) -> pd.DataFrame:
        return simbench.read_csv_data(path, ";", tablename=table, nrows=1)  # one row of profiles: none are used

    patch = pytest.MonkeyPatch()
    patch.setattr(module, "read_csv_data", lambda path, sep, tablename: parse(path, tablename).copy())

    def load(code: str) -> pp.pandapowerNet:
        with warnings.catch_warnings():
            # Warnings of simbench and pandas inside simbench's own reader.
            warnings.simplefilter("ignore")
            return simbench.get_simbench_net(code)

    yield load
    patch.undo()


@pytest.mark.parametrize("code", CODES)
def test_simbench(simbench_net, code: str) -> None:
    assert_same(simbench_net(code))


@pytest.mark.slow
@pytest.mark.parametrize("code", MORE_CODES)
def test_more_of_simbench(simbench_net, code: str) -> None:
    assert_same(simbench_net(code))


# pandapower's own networks ----------------------------------------------------------------------

NETWORKS = [
    "mv_oberrhein",
    "create_cigre_network_mv",
    "create_cigre_network_lv",
    "case33bw",
    "panda_four_load_branch",
    "four_loads_with_branches_out",
    "simple_four_bus_system",
    "simple_mv_open_ring_net",
    "create_kerber_landnetz_freileitung_1",
    "create_kerber_vorstadtnetz_kabel_1",
    "kb_extrem_dorfnetz",
]


def load_network(name: str) -> pp.pandapowerNet:
    with warnings.catch_warnings():
        # Deprecations inside pandapower's network files.
        warnings.simplefilter("ignore")
        return getattr(pn, name)()


@pytest.mark.parametrize("name", NETWORKS)
def test_pandapower_network(name: str) -> None:
    assert_same(load_network(name))


@pytest.mark.parametrize("name", ["example_simple", "example_multivoltage", "case9", "case14"])
def test_networks_with_held_voltages(name: str) -> None:
    assert_same(load_network(name))


@pytest.mark.parametrize("name", ["case118", "case300", "iceland"])
def test_voltages_of_transmission_networks(name: str) -> None:
    net = load_network(name)
    twin = build(net)
    flow = run_power_flow(twin, build_snapshot(twin)).isel(path=0, time=0)
    solve_by_pandapower(net)
    close(flow["vm_pu"], net.res_bus["vm_pu"].loc[twin.buses["index"]], 1e-8, "vm_pu")
    close(flow["va_degree"], net.res_bus["va_degree"].loc[twin.buses["index"]], 1e-6, "va_degree")


# One element at a time --------------------------------------------------------------------------


@functools.cache
def empty_net(sn_mva: float) -> pp.pandapowerNet:
    """Creating the hundred tables of a net takes longer than solving it; copies are quick."""
    return pp.create_empty_network(sn_mva=sn_mva)


def two_voltage_net() -> pp.pandapowerNet:
    """110 kV slack, trafo, a 20 kV ring of three lines with loads and a feed-in."""
    net = copy.deepcopy(empty_net(10.0))
    hv = pp.create_bus(net, 110.0, name="hv")
    mv = [pp.create_bus(net, 20.0, name=f"mv {k}") for k in range(4)]
    pp.create_ext_grid(net, hv, vm_pu=1.02, va_degree=15.0)
    pp.create_transformer(net, hv, mv[0], "25 MVA 110/20 kV", tap_pos=2)
    for k in range(3):
        pp.create_line(net, mv[k], mv[k + 1], 3.0 + k, "NA2XS2Y 1x240 RM/25 12/20 kV", parallel=1 + k % 2, df=0.9)
    pp.create_line(net, mv[3], mv[0], 4.0, "NA2XS2Y 1x240 RM/25 12/20 kV")
    pp.create_load(net, mv[1], 3.0, 0.8, name="mill")
    pp.create_load(net, mv[2], 2.0, -0.3, scaling=0.7)
    pp.create_sgen(net, mv[3], 4.0, 0.5)
    pp.create_storage(net, mv[3], 0.5, max_e_mwh=1.0)
    return net


def add_shunt(net):
    pp.create_shunt(net, 3, q_mvar=-0.6, p_mw=0.02, step=2, vn_kv=21.0)


def add_ward(net):
    pp.create_ward(net, 2, ps_mw=0.4, qs_mvar=0.1, pz_mw=0.3, qz_mvar=0.2)


def add_ward_at_slack(net):
    pp.create_ward(net, 0, ps_mw=0.4, qs_mvar=0.1, pz_mw=0.3, qz_mvar=0.2)
    pp.create_load(net, 0, 1.5, 0.3)


def add_impedance(net):
    bus = pp.create_bus(net, 20.0)
    pp.create_impedance(net, 2, bus, rft_pu=0.01, xft_pu=0.04, sn_mva=10.0, rtf_pu=0.012, xtf_pu=0.05, bf_pu=0.01)
    pp.create_load(net, bus, 1.0, 0.2)


def add_three_windings(net):
    mv, lv = pp.create_bus(net, 20.0), pp.create_bus(net, 10.0)
    pp.create_transformer3w(net, 0, mv, lv, "63/25/38 MVA 110/20/10 kV", tap_pos=-3)
    pp.create_load(net, mv, 5.0, 1.0)
    pp.create_load(net, lv, 8.0, 2.0)


def open_three_windings(net):
    add_three_windings(net)
    pp.create_switch(net, 5, 0, et="t3", closed=False)


def add_second_slack(net):
    pp.create_ext_grid(net, 3, vm_pu=1.0, va_degree=15.0 - 150.0)


def add_two_slacks_at_one_bus(net):
    pp.create_ext_grid(net, 0, vm_pu=1.02, va_degree=15.0)


def open_line_end(net):
    pp.create_switch(net, 2, 1, et="l", closed=False)


def open_both_line_ends(net):
    pp.create_switch(net, 2, 1, et="l", closed=False)
    pp.create_switch(net, 3, 1, et="l", closed=False)


def open_trafo_end(net):
    bus = pp.create_bus(net, 0.4)
    pp.create_transformer(net, 3, bus, "0.4 MVA 20/0.4 kV")
    pp.create_switch(net, bus, 1, et="t", closed=False)


def add_closed_bus_switch(net):
    bus = pp.create_bus(net, 20.0)
    pp.create_switch(net, 2, bus, et="b", closed=True)
    pp.create_load(net, bus, 0.5, 0.1)


def add_bus_switch_with_impedance(net):
    bus = pp.create_bus(net, 20.0)
    pp.create_switch(net, 2, bus, et="b", closed=True, z_ohm=0.4)
    pp.create_load(net, bus, 0.5, 0.1)


def add_island(net):
    bus = pp.create_bus(net, 20.0)
    pp.create_switch(net, 2, bus, et="b", closed=False)
    pp.create_load(net, bus, 0.5, 0.1)


def add_out_of_service(net):
    net.load.loc[1, "in_service"] = False
    net.line.loc[2, "in_service"] = False
    bus = pp.create_bus(net, 20.0, in_service=False)
    pp.create_line(net, 3, bus, 1.0, "NA2XS2Y 1x240 RM/25 12/20 kV")
    pp.create_load(net, bus, 1.0, 0.2)


def add_parallel_trafos(net):
    net.trafo.loc[0, ["parallel", "df"]] = [2, 0.8]
    pp.create_transformer(net, 0, 1, "25 MVA 110/20 kV", tap_pos=1)


def add_phase_shifter(net):
    net.trafo.loc[0, ["tap_changer_type", "tap_step_degree", "tap_step_percent"]] = ["Ideal", 2.0, 0.0]


def drop_ratings(net):
    net.line.loc[0, "max_i_ka"] = 0.0
    net.line.loc[1, "max_i_ka"] = np.nan


CHANGES = [value for name, value in list(globals().items()) if name.startswith(("add_", "open_", "drop_"))]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_one_element(change) -> None:
    net = two_voltage_net()
    change(net)
    assert_same(net)


# Random networks --------------------------------------------------------------------------------


@st.composite
def random_nets(draw: st.DrawFn) -> pp.pandapowerNet:
    """A random tree behind a trafo, some meshes, loads and feed-in, some switches, some of them open."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 12))
    net = copy.deepcopy(empty_net(draw(st.sampled_from([1.0, 100.0]))))
    slack = pp.create_bus(net, 20.0)
    buses = [pp.create_bus(net, 0.4) for _ in range(count)]
    pp.create_ext_grid(net, slack, vm_pu=rng.uniform(0.97, 1.05), va_degree=rng.uniform(-30, 30))
    pp.create_transformer(net, slack, buses[0], "0.4 MVA 20/0.4 kV", tap_pos=int(rng.integers(-2, 3)))
    ends = [(int(rng.integers(0, k)), k) for k in range(1, count)]
    ends += [(int(a), int(b)) for a, b in rng.integers(0, count, (draw(st.integers(0, 3)), 2)) if a != b]
    for a, b in ends:
        line = pp.create_line(net, buses[a], buses[b], rng.uniform(0.01, 0.2), "NAYY 4x150 SE")
        net.line.loc[line, "in_service"] = rng.random() < 0.95
        if rng.random() < 0.4:
            pp.create_switch(net, buses[a], line, et="l", closed=bool(rng.random() < 0.7))
        if rng.random() < 0.4:
            pp.create_switch(net, buses[b], line, et="l", closed=bool(rng.random() < 0.7))
    for bus in buses:
        pp.create_load(net, bus, rng.uniform(0, 0.02), rng.uniform(-0.004, 0.006))
        if rng.random() < 0.4:
            pp.create_sgen(net, bus, rng.uniform(0, 0.03), in_service=bool(rng.random() < 0.9))
    if rng.random() < 0.5:
        twin_bus = pp.create_bus(net, 0.4)
        z_ohm = float(rng.choice([0.0, 0.01]))
        pp.create_switch(net, buses[-1], twin_bus, et="b", closed=bool(rng.random() < 0.7), z_ohm=z_ohm)
        pp.create_load(net, twin_bus, 0.01, 0.002)
    return net


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(random_nets())
def test_random_networks(net: pp.pandapowerNet) -> None:
    assert_same(net)
