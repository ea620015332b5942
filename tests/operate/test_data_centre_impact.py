"""Losses, room, voltage step and smoothing of a data centre: by hand, and against pandapower."""

from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest

from gridtwin.errors import NetworkError
from gridtwin.grid.data_centres import place_data_centres
from gridtwin.grid.snapshot import build_snapshot
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.data_centre_impact import (
    abort_step_kw,
    assets_of,
    book_losses,
    find_data_centre_impact,
    find_room,
    voltage_step_percent,
)
from gridtwin.scenario_data_centre import DataCentre, Training
from tests.against.test_power_flow_pandapower import build, solve_by_pandapower

R_OHM, X_OHM = 1.0, 0.8


def two_buses(load_mw: float = 1.0) -> pp.pandapowerNet:
    """20 kV slack, 1 + j0.8 ohm, a load."""
    net = pp.create_empty_network()
    slack, end = pp.create_bus(net, 20.0, name="slack"), pp.create_bus(net, 20.0, name="end")
    pp.create_ext_grid(net, slack)
    pp.create_line_from_parameters(net, slack, end, 1.0, R_OHM, X_OHM, 0.0, 0.3, name="cable")
    pp.create_load(net, end, load_mw, name="village")
    return net


def sited(net: pp.pandapowerNet, bus: str, kw: float, **facts: object) -> tuple[GridTwin, DataCentre]:
    """The network with a site of PUE 1 that draws its rated power."""
    site = DataCentre.model_validate({"name": "Campus", "bus": bus, "p_it_kw": kw, "pue": 1.0, **facts})
    return build(place_data_centres(net, [site])), site


def test_a_voltage_step_by_hand() -> None:
    """2 MW and 0.5 Mvar less: (1.0 x 2 + 0.8 x 0.5) / 20² = 0.6 %.

    The tolerance is what the formula leaves out: a voltage 0.5 % below nominal counts twice, and the drop across.
    """
    twin, site = sited(two_buses(0.1), "end", 2000.0)
    step, estimate = voltage_step_percent(twin, build_snapshot(twin), site, p_mw=2.0, q_mvar=0.5)
    by_hand = 100 * (R_OHM * 2.0 + X_OHM * 0.5) / 20.0**2
    assert step == pytest.approx(by_hand, rel=0.02)
    assert estimate == pytest.approx(by_hand, rel=0.02)
    net = copy.deepcopy(twin.net)
    solve_by_pandapower(net)
    before = float(net.res_bus.vm_pu.iloc[-1])
    net.load.loc[net.load["name"] == "Campus", ["p_mw", "q_mvar"]] = [0.0, -0.5]
    solve_by_pandapower(net)
    assert step == pytest.approx(100 * (float(net.res_bus.vm_pu.iloc[-1]) - before), abs=1e-6)


def test_a_declared_short_circuit_power_counts_where_it_says_more() -> None:
    """hypot(2, 0.5) / 100 MVA = 2.06 %."""
    twin, site = sited(two_buses(), "end", 4000.0, short_circuit_mva=100.0)
    step, _ = voltage_step_percent(twin, build_snapshot(twin), site, p_mw=2.0, q_mvar=0.5)
    assert step == pytest.approx(100 * np.hypot(2.0, 0.5) / 100.0)


def test_losses_of_a_site_are_what_pandapower_loses_more() -> None:
    twin, site = sited(pn.create_cigre_network_mv(), "Bus 6", 1500.0)
    booked = book_losses(twin, build_snapshot(twin), assets_of(site), site.bus)
    lost = []
    for p_mw in (1.5, 0.0):
        net = copy.deepcopy(twin.net)
        net.load.loc[net.load["name"] == "Campus", "p_mw"] = p_mw
        solve_by_pandapower(net)
        lost.append(float(net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()))
    hours = 0.25
    # losses are differences of flows: pandapower's own tolerance of 1e-8 MVA per bus
    assert booked.with_mwh == pytest.approx(lost[0] * hours, abs=1e-6)
    assert booked.with_mwh - booked.without_mwh == pytest.approx((lost[0] - lost[1]) * hours, abs=1e-6)


def test_marginal_times_energy_is_first_order() -> None:
    """Half the load, a quarter of the error: the slope over three sizes is 2, to 0.05 for the terms of third order."""
    sizes_kw, errors = np.array([100.0, 200.0, 400.0]), []
    for kw in sizes_kw:
        twin, site = sited(pn.create_cigre_network_mv(), "Bus 6", float(kw))
        booked = book_losses(twin, build_snapshot(twin), assets_of(site), site.bus)
        energy = kw / 1000 * 0.25
        errors.append(abs(booked.marginal * energy - (booked.with_mwh - booked.without_mwh)))
    slope = np.polyfit(np.log(sizes_kw), np.log(errors), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.05)


def test_room_is_where_pandapower_finds_the_limit() -> None:
    """The largest load keeps the cable at 100 % or the voltage at its limit; 1 % more does not."""
    twin, site = sited(two_buses(), "end", 3000.0)
    room = find_room(twin, build_snapshot(twin), site, cos_phi=0.99)
    tangent = float(np.tan(np.arccos(0.99)))

    def holds(kw: float) -> bool:
        net = copy.deepcopy(twin.net)
        net.load.loc[net.load["name"] == "Campus", ["p_mw", "q_mvar"]] = [kw / 1000, tangent * kw / 1000]
        solve_by_pandapower(net)
        low = twin.buses["vm_min_pu"].to_numpy() - 1e-6
        return bool(net.res_line.loading_percent.max() <= 100 + 1e-4 and (net.res_bus.vm_pu.to_numpy() >= low).all())

    assert holds(room["room_kw"])
    assert not holds(1.01 * room["room_kw"])


def test_an_abort_falls_to_waiting_or_to_the_floor() -> None:
    """1000 kW to 45 %: 550 kW; with a floor of 80 %: 200 kW; PUE 1.2 on top."""
    from gridtwin.data.data_centre import chain_of

    chain = chain_of(DataCentre(name="a", bus="b", p_it_kw=2000, pue=1.2))
    assert abort_step_kw(Training(kw=1000), chain) == pytest.approx(660.0)
    assert abort_step_kw(Training(kw=1000, floor_share=0.8), chain) == pytest.approx(240.0)


def test_one_row_per_site_with_its_screenings() -> None:
    """1 MW of training; waves of 2.5 s at duty 0.8 and depth 0.4: high 1087 kW, 2/pi x 435 x sin(0.8 pi) = 163 kW."""
    twin, site = sited(two_buses(), "end", 3000.0, training=[Training(kw=1000, iteration_seconds=2.5)])
    snapshot = build_snapshot(twin)
    row = find_data_centre_impact(twin, [site], snapshot, snapshot.expand_dims("path")).iloc[0]
    assert row["e_connection_mwh"] == pytest.approx(0.75)
    assert row["p_peak_kw"] == pytest.approx(3000.0)
    assert row["iteration_hz"] == pytest.approx(0.4)
    high = 1000 / (1 - 0.4 * 0.2)
    assert row["iteration_amplitude_kw"] == pytest.approx(0.4 * high * 2 / np.pi * np.sin(0.8 * np.pi))
    assert row["ramp_mw_per_s"] == pytest.approx(0.055)
    assert row["voltage_step_limit_percent"] == 3.0


def test_unknown_bus_and_taken_name_are_told_together() -> None:
    sites = [DataCentre(name="village", bus="ende", p_it_kw=10)]
    with pytest.raises(NetworkError) as raised:
        place_data_centres(two_buses(), sites)
    assert [finding.code for finding in raised.value.findings] == ["GT-N30", "GT-N31"]
    assert "Did you mean 'end'?" in str(raised.value)
