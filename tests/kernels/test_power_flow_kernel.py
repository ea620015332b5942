"""The fast kernel against a plain numpy version of itself; independence of blocks, lanes and threads."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest

from gridtwin.grid.compile import compile_network, plain_injections
from gridtwin.grid.twin import build_twin
from gridtwin.kernels.lanes import LANES_8
from gridtwin.kernels.network_arrays import NetworkArrays
from gridtwin.kernels.results import DIVERGED, NOT_FINITE, OK, Outputs
from gridtwin.operate.power_flow import DEFAULT_OUTPUTS, MORE_OUTPUTS, solve_all_steps

LANES = 16
ALL_OUTPUTS = (*DEFAULT_OUTPUTS, *MORE_OUTPUTS)


class FlatRules:
    def voltage_band(self, vn_kv: float) -> tuple[float, float]:
        return 0.9, 1.1

    def loading_limit(self, element: str) -> float | None:
        return None


@pytest.fixture(scope="module")
def network() -> NetworkArrays:
    """CIGRE medium voltage: 15 buses, two trafos, closed rings, 18 loads."""
    return compile_network(build_twin(pn.create_cigre_network_mv(with_der="pv_wind"), rules=FlatRules()))


@pytest.fixture(scope="module")
def injections(network: NetworkArrays) -> tuple[np.ndarray, np.ndarray]:
    """Three blocks and a bit, from feed-in to heavy load. (step, asset)"""
    rng = np.random.default_rng(7)
    shape = (3 * LANES + 5, len(network.loads.current_p))
    return rng.uniform(-1.2, 1.0, shape), rng.uniform(-0.4, 0.2, shape)


def solve(network: NetworkArrays, p_mw: np.ndarray, q_mvar: np.ndarray, **options: object) -> Outputs:
    return solve_all_steps(network, plain_injections(p_mw, q_mvar), outputs=ALL_OUTPUTS, **options)


def dense_admittance(network: NetworkArrays) -> np.ndarray:
    rows = network.admittances
    y = np.zeros((len(rows.start) - 1,) * 2, dtype=complex)
    for bus in range(len(y)):
        places = slice(rows.start[bus], rows.start[bus + 1])
        y[bus, rows.column[places]] = rows.re[places] + 1j * rows.im[places]
    return y


def solve_slowly(network: NetworkArrays, p_mw: np.ndarray, q_mvar: np.ndarray) -> dict[str, np.ndarray]:
    """One step, by the plain fixed point, with dense matrices and no tricks."""
    y, loads, branches = dense_admittance(network), network.loads, network.branches
    n = len(network.chord.start_re)
    slack = network.slack_re + 1j * network.slack_im
    s = np.zeros(len(y), dtype=complex)
    for bus in np.flatnonzero(loads.place >= 0):
        k = loads.place[bus]
        assets = loads.asset[loads.start[k] : loads.start[k + 1]]
        fixed = loads.fixed_p_mw[k] + 1j * loads.fixed_q_mvar[k]
        s[bus] = (fixed + (p_mw[assets] + 1j * q_mvar[assets]).sum()) / network.base_mva
    v = np.ones(n, dtype=complex)
    for _ in range(300):
        v = np.linalg.solve(y[:n, :n], np.conj(s[:n] / v) - y[:n, n:] @ slack)
    v = np.append(v, slack)
    own, other = v[branches.bus], v[branches.other]
    self_y = branches.self_re + 1j * branches.self_im
    mutual_y = branches.mutual_re + 1j * branches.mutual_im
    current = self_y * own + mutual_y * other
    power = own * np.conj(current) * network.base_mva
    first = branches.start[:-1]
    by_power = branches.percent_by_power * np.abs(own * np.conj(current))
    slack_power = (v * np.conj(y @ v) - s)[n:].sum() * network.base_mva
    return {
        "vm_pu": np.abs(v)[network.out_bus],
        "va_degree": np.degrees(np.angle(v))[network.out_bus],
        "loading_percent": np.maximum.reduceat(branches.percent * np.abs(current), first),
        "loading_by_power_percent": np.maximum.reduceat(by_power, first),
        "p_loss_mw": np.add.reduceat(power.real, first),
        "p_branch_mw": power[first].real,
        "q_branch_mvar": power[first].imag,
        "p_slack_mw": np.array(slack_power.real),
        "q_slack_mvar": np.array(slack_power.imag),
    }


def test_fast_equals_slow(network, injections) -> None:
    fast = solve(network, *injections)
    assert (fast.status == OK).all()
    # The solver stops within 1e-9 pu of the fixed point; slopes are below 1e4 percent, 57 degree and 60 MW per pu.
    tolerances = {"vm_pu": 1e-8, "va_degree": 1e-6, "loading_percent": 1e-5, "loading_by_power_percent": 1e-5}
    for step in (0, 15, 16, 40, 52):
        for name, slow in solve_slowly(network, injections[0][step], injections[1][step]).items():
            np.testing.assert_allclose(getattr(fast, name)[step], slow, rtol=0, atol=tolerances.get(name, 1e-6))


def test_results_do_not_depend_on_the_width_of_a_block(network, injections) -> None:
    for one, two in zip(solve(network, *injections), solve(network, *injections, width=LANES_8), strict=True):
        np.testing.assert_array_equal(one, two)


def test_one_and_three_threads_agree_to_the_bit(network, injections) -> None:
    repeated = [np.tile(part, (60, 1)) for part in injections]
    alone = solve(network, *repeated, threads=1)
    together = solve(network, *repeated, threads=3)
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_step_does_not_depend_on_its_neighbours_or_its_lane(network, injections) -> None:
    whole = solve(network, *injections)
    order = np.random.default_rng(3).permutation(len(injections[0]))
    mixed = solve(network, injections[0][order], injections[1][order])
    single = solve(network, injections[0][20:21], injections[1][20:21])
    for all_steps, shuffled, one in zip(whole, mixed, single, strict=True):
        np.testing.assert_array_equal(all_steps[order], shuffled)
        np.testing.assert_array_equal(all_steps[20:21], one)


@pytest.mark.parametrize(("value", "code"), [(-1e4, DIVERGED), (-np.inf, NOT_FINITE), (np.nan, NOT_FINITE)])
def test_a_bad_step_marks_itself_and_leaves_the_others_alone(network, injections, value, code) -> None:
    good = solve(network, *injections)
    p_mw = injections[0].copy()
    p_mw[20, 3] = value
    bad = solve(network, p_mw, injections[1])
    others = np.arange(len(p_mw)) != 20
    assert bad.status[20] == code
    for name in ALL_OUTPUTS:
        assert np.isnan(getattr(bad, name)[20]).all()
    for output, expected in zip(bad, good, strict=True):
        np.testing.assert_array_equal(output[others], expected[others])


def test_a_step_close_to_the_base_point_is_not_taken_for_solved_too_early() -> None:
    # Where iterations start, 5 % of the way to the nose: the first change is 1e-5 pu, the second must be seen too.
    network = two_bus_network(resistance=0.1)
    p_mw = np.array([[-0.4 * 0.5 * (1 + share)] for share in (1e-6, 1e-4, 1e-3)])
    flow = solve(network, p_mw, np.zeros((3, 1)))
    v = (1 + np.sqrt(1 + 0.4 * p_mw[:, 0])) / 2
    assert (flow.iterations >= 2).all()
    assert (flow.newton_iterations == 0).all()
    np.testing.assert_allclose(flow.vm_pu[:, 1], v, rtol=0, atol=1e-9)


def test_a_step_without_solution_names_the_bus_where_power_is_missing(network, injections) -> None:
    p_mw = injections[0].copy()
    asset = 3
    p_mw[20, asset] = -1e4
    bad = solve(network, p_mw, injections[1])
    row = np.searchsorted(network.loads.start, np.flatnonzero(network.loads.asset == asset)[0], side="right") - 1
    assert network.loads.place[bad.worst_bus[20]] == row
    assert bad.mismatch_mva[20] > 1e3


def test_power_close_to_the_largest_transfer_needs_newton_and_beyond_it_diverges() -> None:
    # Slack 1 pu behind z = 0.1 pu of pure resistance: a load of V²/4R = 2.5 pu is the most it can carry.
    network = two_bus_network(resistance=0.1)
    flow = solve(network, np.array([[-0.5], [-2.4], [-2.499999], [-2.6]]), np.zeros((4, 1)))
    assert flow.status.tolist() == [OK, OK, OK, DIVERGED]
    assert flow.newton_iterations[0] == 0
    assert (flow.newton_iterations[2:] > 0).all()
    v = (1 + np.sqrt(1 - 0.4 * 2.499999)) / 2
    # Near the nose the voltage moves by 1 / sqrt(1 - 4 R P) for each unit of the mismatch of 1e-7.
    assert flow.vm_pu[2, 1] == pytest.approx(v, abs=1e-6)


def test_two_buses_by_hand() -> None:
    # V² - V + R P = 0 with R = 0.1 pu, P = 0.5 pu: V = (1 + sqrt(0.8)) / 2; the loss is P_slack - P = V_s I - P.
    flow = solve(two_bus_network(resistance=0.1), np.array([[-0.5]]), np.zeros((1, 1)))
    v = (1 + np.sqrt(0.8)) / 2
    assert flow.vm_pu[0].tolist() == pytest.approx([1.0, v], abs=1e-9)
    assert flow.i_ka[0, 0] * np.sqrt(3) == pytest.approx(0.5 / v, abs=1e-8)
    assert flow.p_loss_mw[0, 0] == pytest.approx(0.1 * (0.5 / v) ** 2, abs=1e-8)
    assert flow.p_branch_mw[0, 0] == pytest.approx(flow.p_slack_mw[0], abs=1e-12)
    assert flow.p_slack_mw[0] == pytest.approx(0.5 / v, abs=1e-8)


@pytest.mark.parametrize(("kind", "drawn"), [("z", lambda v: v**2), ("i", lambda v: v)])
def test_loads_that_follow_the_voltage_by_hand(kind: str, drawn) -> None:
    # Constant impedance: V = 1 - R P V, constant current: V = 1 - R P, with R P = 0.05 pu.
    network = two_bus_network(resistance=0.1, **{f"const_{kind}_p_percent": 100.0})
    flow = solve(network, np.array([[-0.5]]), np.zeros((1, 1)))
    v = 1 / 1.05 if kind == "z" else 0.95
    assert flow.vm_pu[0, 1] == pytest.approx(v, abs=1e-9)
    assert flow.p_slack_mw[0] - flow.p_loss_mw[0, 0] == pytest.approx(0.5 * drawn(v), abs=1e-8)


def two_bus_network(*, resistance: float, **load: float) -> NetworkArrays:
    """Slack of 1 pu, one resistance, one bus with one load; 1 pu is 1 MVA at 1 kV."""
    net = pp.create_empty_network(sn_mva=1.0)
    buses = [pp.create_bus(net, 1.0) for _ in range(2)]
    pp.create_ext_grid(net, buses[0])
    pp.create_line_from_parameters(
        net, *buses, length_km=1.0, r_ohm_per_km=resistance, x_ohm_per_km=0.0, c_nf_per_km=0.0, max_i_ka=1.0
    )
    pp.create_load(net, buses[1], 0.5, **load)
    return compile_network(build_twin(net, rules=FlatRules()))


def test_pandapower_arrays_are_not_needed_for_a_network_without_inner_buses() -> None:
    net = pp.create_empty_network()
    pp.create_ext_grid(net, pp.create_bus(net, 0.4))
    pp.create_load(net, 0, 0.1, 0.05)
    flow = solve(compile_network(build_twin(net, rules=FlatRules())), np.array([[-0.1]]), np.array([[-0.05]]))
    assert flow.status.tolist() == [OK]
    assert flow.p_slack_mw.tolist() == pytest.approx([0.1])
