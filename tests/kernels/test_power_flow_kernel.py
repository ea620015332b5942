"""The fast kernel against a plain numpy version of itself; independence of blocks, lanes and threads."""

from __future__ import annotations

import numpy as np
import pandapower.networks as pn
import pytest

from gridtwin.grid.compile import compile_network
from gridtwin.grid.twin import build_twin
from gridtwin.kernels.power_flow import DIVERGED, LANES, NOT_FINITE, OK, NetworkArrays, solve_steps
from gridtwin.operate.power_flow import solve_all_steps


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
    shape = (3 * LANES + 5, len(network.load_asset))
    return rng.uniform(-1.2, 1.0, shape), rng.uniform(-0.4, 0.2, shape)


def solve(network: NetworkArrays, p_mw: np.ndarray, q_mvar: np.ndarray, *, iterations: int = 200) -> list[np.ndarray]:
    steps, buses, branches = len(p_mw), len(network.out_bus), len(network.branch_start) - 1
    outputs = [np.empty((steps, n)) for n in (buses,) * 2 + (branches,) * 5] + [np.empty(steps) for _ in range(2)]
    outputs += [np.empty(steps, dtype=np.int64) for _ in range(2)]
    solve_steps(network, p_mw, q_mvar, 1e-9, 1e-7, iterations, *outputs)
    return outputs


def dense_admittance(network: NetworkArrays) -> np.ndarray:
    y = np.zeros((len(network.y_start) - 1,) * 2, dtype=complex)
    for bus in range(len(y)):
        places = slice(network.y_start[bus], network.y_start[bus + 1])
        y[bus, network.y_column[places]] = network.y_re[places] + 1j * network.y_im[places]
    return y


def solve_slowly(network: NetworkArrays, p_mw: np.ndarray, q_mvar: np.ndarray) -> dict[str, np.ndarray]:
    """One step, by the same fixed point, with dense matrices and no tricks."""
    y = dense_admittance(network)
    n = len(network.noload_re)
    slack = network.slack_re + 1j * network.slack_im
    s = np.zeros(len(y), dtype=complex)
    for k, bus in enumerate(network.load_bus):
        assets = network.load_asset[network.load_start[k] : network.load_start[k + 1]]
        fixed = network.fixed_p_mw[k] + 1j * network.fixed_q_mvar[k]
        s[bus] = (fixed + (p_mw[assets] + 1j * q_mvar[assets]).sum()) / network.base_mva
    v = np.ones(n, dtype=complex)
    for _ in range(300):
        v = np.linalg.solve(y[:n, :n], np.conj(s[:n] / v) - y[:n, n:] @ slack)
    v = np.append(v, slack)
    own, other = v[network.terminal_bus], v[network.terminal_other]
    self_y = network.terminal_self_re + 1j * network.terminal_self_im
    mutual_y = network.terminal_mutual_re + 1j * network.terminal_mutual_im
    current = self_y * own + mutual_y * other
    power = own * np.conj(current) * network.base_mva
    first = network.branch_start[:-1]
    slack_power = (v * np.conj(y @ v) - s)[n:].sum() * network.base_mva
    return {
        "vm_pu": np.abs(v)[network.out_bus],
        "va_degree": np.degrees(np.angle(v))[network.out_bus],
        "loading_percent": np.maximum.reduceat(network.terminal_percent * np.abs(current), first),
        "p_loss_mw": np.add.reduceat(power.real, first),
        "p_branch_mw": power[first].real,
        "q_branch_mvar": power[first].imag,
        "slack_mva": np.array([slack_power.real, slack_power.imag]),
    }


def test_fast_equals_slow(network, injections) -> None:
    vm, va, loading, _, loss, p, q, p_slack, q_slack, status, _ = solve(network, *injections)
    assert (status == OK).all()
    for step in (0, 15, 16, 40, 52):
        slow = solve_slowly(network, injections[0][step], injections[1][step])
        np.testing.assert_allclose(vm[step], slow["vm_pu"], atol=1e-8)
        np.testing.assert_allclose(va[step], slow["va_degree"], atol=1e-6)
        np.testing.assert_allclose(loading[step], slow["loading_percent"], atol=1e-5)
        np.testing.assert_allclose(loss[step], slow["p_loss_mw"], atol=1e-6)
        np.testing.assert_allclose(p[step], slow["p_branch_mw"], atol=1e-6)
        np.testing.assert_allclose(q[step], slow["q_branch_mvar"], atol=1e-6)
        np.testing.assert_allclose([p_slack[step], q_slack[step]], slow["slack_mva"], atol=1e-6)


def test_one_and_three_threads_agree_to_the_bit(network, injections) -> None:
    repeated = [np.tile(part, (20, 1)) for part in injections]
    alone = solve_all_steps(network, *repeated, threads=1)
    together = solve_all_steps(network, *repeated, threads=3)
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
    *outputs, status, _ = solve(network, p_mw, injections[1])
    others = np.arange(len(p_mw)) != 20
    assert status[20] == code
    assert (status[others] == OK).all()
    for output, expected in zip(outputs, good, strict=False):
        assert np.isnan(output[20]).all()
        np.testing.assert_array_equal(output[others], expected[others])


def test_too_few_iterations_count_as_diverged(network, injections) -> None:
    *outputs, status, iterations = solve(network, *injections, iterations=2)
    assert (status == DIVERGED).all()
    assert (iterations == 2).all()
    assert all(np.isnan(output).all() for output in outputs)


def test_power_beyond_the_largest_transfer_diverges() -> None:
    # Slack 1 pu behind z = 0.1 pu of pure resistance: a load of V²/4R = 2.5 pu is the most it can carry.
    network = two_bus_line(resistance=0.1)
    *_, status, _ = solve(network, np.array([[-2.4], [-2.6]]), np.zeros((2, 1)))
    assert status.tolist() == [OK, DIVERGED]


def test_two_buses_by_hand() -> None:
    # V² - V + R P = 0 with R = 0.1 pu, P = 0.5 pu: V = (1 + sqrt(0.8)) / 2; the loss is P_slack - P = V_s I - P.
    network = two_bus_line(resistance=0.1)
    vm, _, _, i_ka, loss, p_branch, _, p_slack, *_ = solve(network, np.array([[-0.5]]), np.zeros((1, 1)))
    v = (1 + np.sqrt(0.8)) / 2
    assert vm[0].tolist() == pytest.approx([1.0, v], abs=1e-9)
    assert i_ka[0, 0] == pytest.approx(0.5 / v, abs=1e-8)
    assert loss[0, 0] == pytest.approx(0.1 * (0.5 / v) ** 2, abs=1e-8)
    assert p_branch[0, 0] == pytest.approx(p_slack[0], abs=1e-12)
    assert p_slack[0] == pytest.approx(0.5 / v, abs=1e-8)


def two_bus_line(*, resistance: float) -> NetworkArrays:
    """Slack of 1 pu, one resistance, one bus with one asset; 1 pu is 1 MVA and 1 kA."""
    g = 1 / resistance
    none, zeros = np.empty(0), np.zeros(2)
    return NetworkArrays(
        base_mva=1.0,
        slack_re=np.ones(1),
        slack_im=np.zeros(1),
        noload_re=np.ones(1),
        noload_im=np.zeros(1),
        lower_start=np.array([0, 0]),
        lower_row=np.empty(0, dtype=np.int64),
        lower_re=none,
        lower_im=none,
        upper_start=np.array([0, 0]),
        upper_row=np.empty(0, dtype=np.int64),
        upper_re=none,
        upper_im=none,
        pivot_re=np.array([resistance]),
        pivot_im=np.zeros(1),
        row_of_bus=np.array([0]),
        y_start=np.array([0, 2, 4]),
        y_column=np.array([0, 1, 0, 1]),
        y_re=np.array([g, -g, -g, g]),
        y_im=np.zeros(4),
        load_bus=np.array([0]),
        load_start=np.array([0, 1]),
        load_asset=np.array([0]),
        fixed_p_mw=np.zeros(1),
        fixed_q_mvar=np.zeros(1),
        out_bus=np.array([1, 0]),
        branch_start=np.array([0, 2]),
        terminal_bus=np.array([1, 0]),
        terminal_other=np.array([0, 1]),
        terminal_self_re=np.full(2, g),
        terminal_self_im=zeros,
        terminal_mutual_re=np.full(2, -g),
        terminal_mutual_im=zeros,
        terminal_ka=np.ones(2),
        terminal_percent=np.full(2, 100.0),
    )
