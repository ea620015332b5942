"""Marginal losses and planned losses, held against pandapower's power flow."""

from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest

from gridtwin.errors import DataError
from gridtwin.grid.snapshot import build_snapshot
from gridtwin.operate.losses import marginal_losses
from gridtwin.optimize.day_losses import LossCurve, Losses
from tests.against.test_power_flow_pandapower import build, solve_by_pandapower

STEP_MW = 5e-4
"""At pandapower's 1e-10 MW of rounding a slope keeps six digits. [MW]"""
SLOPE = 2e-6
"""Both differences are central: what is left is the third derivative and rounding. [MW/MW]"""


def village() -> pp.pandapowerNet:
    """Kerber's village network with roofs at some of its buses, two of which feed in more than all loads draw."""
    net = pn.create_kerber_vorstadtnetz_kabel_1()
    for name in ("line", "bus", "load"):
        net[name]["name"] = [f"{name} {k}" for k in net[name].index]
    for bus in net.load["bus"].to_numpy()[[3, 40]]:
        pp.create_sgen(net, bus, 0.2, q_mvar=-0.03, name=f"roof {bus}")
    return net


def losses_of(net: pp.pandapowerNet, bus: int, more_mw: float) -> float:
    """What the slack feeds in beyond what is drawn, with a load more at one bus. [MW]"""
    net = copy.deepcopy(net)
    pp.create_load(net, bus, more_mw)
    solve_by_pandapower(net)
    return float(net.res_ext_grid["p_mw"].sum() - net.res_load["p_mw"].sum() + net.res_sgen["p_mw"].sum())


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_a_marginal_loss_is_what_pandapower_loses_more(factor: float) -> None:
    """At five buses, among them the two that feed in: there more consumption means less loss."""
    net = village()
    net.load["scaling"] = factor
    twin = build(net)
    chosen = net.load["bus"].to_numpy()[[0, 3, 20, 40, 90]]
    names = twin.buses.index[[list(twin.buses["index"]).index(bus) for bus in chosen]]
    ours = marginal_losses(twin, build_snapshot(twin), list(names))
    assert ours.dims == ("time", "bus")
    theirs = [(losses_of(net, bus, STEP_MW) - losses_of(net, bus, -STEP_MW)) / (2 * STEP_MW) for bus in chosen]
    np.testing.assert_allclose(ours[0], theirs, rtol=0, atol=SLOPE)
    assert (max(theirs) > 0 or factor == 0.3) and (min(theirs) < 0 or factor == 3.0)


def test_a_bus_without_an_asset_has_no_marginal_loss() -> None:
    twin = build(village())
    bare = next(bus for bus in twin.buses.index if bus not in set(twin.assets["bus"]))
    with pytest.raises(DataError, match="buses without an asset"):
        marginal_losses(twin, build_snapshot(twin), [bare])


def tangent(p_mw: list[float]) -> Losses:
    """Losses r (p + 1)² of one bus with r = 0.01, 0.02, one line per step."""
    p, r = np.array(p_mw), np.array([0.01, 0.02])
    return Losses(r * (p + 1) ** 2, (2 * r * (p + 1))[:, None], p[None, :])


def test_lines_come_closer_from_below() -> None:
    """At p = 1 the tangents at 0 and 3 give r max(1 + 2, 16 - 16) = 3 r, found is 4 r; a third line closes it."""
    curve = LossCurve((tangent([0.0, 0.0]),), np.array([0.1, 0.2])).with_line(tangent([3.0, 3.0]))
    assert curve.at(np.array([[1.0, 1.0]])) == pytest.approx([0.03, 0.06])
    assert curve.error_percent(tangent([1.0, 1.0])) == pytest.approx(25)
    closer = curve.with_line(tangent([1.0, 1.0]))
    assert closer.error_percent(tangent([1.0, 1.0])) == pytest.approx(0)
    assert (closer.at(np.array([[2.0, 2.0]])) <= tangent([2.0, 2.0]).p_mw + 1e-12).all()


def test_a_line_above_what_was_found_is_lowered() -> None:
    """Feed-in that a cap holds back loses less than the line through the uncapped point says."""
    high, found = tangent([0.0, 0.0]), tangent([1.0, 1.0])
    high = Losses(high.p_mw + 0.05, high.slope, high.at_bus_mw)
    curve = LossCurve((high,), np.array([0.1, 0.1])).with_line(found)
    assert curve.at(np.array([[1.0, 1.0]])) == pytest.approx(found.p_mw)


def test_where_losing_pays_only_the_last_line_counts() -> None:
    """Below a price of 0 lines from below would leave the losses without an end; a plan must not gain by them."""
    curve = LossCurve((tangent([0.0, 0.0]), tangent([3.0, 3.0])), np.array([-0.1, 0.1]))
    assert curve.at(np.array([[1.0, 1.0]]))[0] == pytest.approx(0.16 - 0.08 * 2)
    lines = curve.for_program()
    assert lines.step.tolist() == [1, 1] and lines.price_eur_per_kwh.tolist() == [0, 0.1]
    # slope p - offset [kW], at 3 MW: the second line touches there
    assert 1000 * lines.slope[:, 0] * 3 - lines.offset_kw == pytest.approx([1000 * 0.02 * 7, 1000 * 0.02 * 16])
    assert curve.bus_price()[:, 0] == pytest.approx([-0.1 * 0.08, 0])


def test_only_lines_that_hold_are_kept_for_a_program() -> None:
    """Duals -1 on the line that touches, 0 on the other, per step; a new line enters whatever came before."""
    curve = LossCurve((tangent([0.0, 0.0]), tangent([3.0, 3.0])), np.array([0.1, 0.1]))
    thin = curve.thinned(np.array([-1.0, 0.0, 0.0, -0.5]))
    assert thin.for_program().slope[:, 0] == pytest.approx(
        [tangent([0.0, 0.0]).slope[0, 0], tangent([3.0] * 2).slope[1, 0]]
    )
    more = thin.with_line(tangent([1.0, 1.0])).for_program()
    assert more.step.tolist() == [0, 1, 0, 1]
    # what was found is still compared with every line
    assert thin.at(np.array([[1.0, 1.0]])) == pytest.approx(curve.at(np.array([[1.0, 1.0]])))
