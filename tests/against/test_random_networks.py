"""Random networks of every element against `pandapower.runpp`.

Tolerances: 1e-8 pu and 1e-6 degree, ten times what the engine may leave of a mismatch of
1e-7 MVA behind the weakest connection drawn here; that makes up to 1e-4 % of a rating, and
1e-7 MVA of losses. A flow is the difference of two such voltages times up to 5e3 MVA per pu,
most of which cancels: 1e-6 MVA and 1e-7 kA.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandapower as pp
import pytest

from tests.against.compare import Tolerances, find_differences, solve_by_gridtwin, solve_by_pandapower
from tests.against.random_networks import ALL_FEATURES, build_random_net, enforces_q_limits

TOLERANCES = Tolerances(vm_pu=1e-8, va_degree=1e-6, loading_percent=1e-4, i_ka=1e-7, p_loss_mw=1e-7, flow_mva=1e-6)
SEEDS = 1000
QUICK_SEEDS = 150
BATCH = 25
MOST_UNSOLVED = 0.1
"""Share of a batch that may be without a solution in pandapower; about 0.01 are."""


@pytest.mark.parametrize("first", range(0, QUICK_SEEDS, BATCH))
def test_random_networks(first: int) -> None:
    check_seeds(range(first, first + BATCH))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(QUICK_SEEDS, SEEDS, BATCH))
def test_more_random_networks(first: int) -> None:
    check_seeds(range(first, first + BATCH))


def check_seeds(seeds: Iterable[int]) -> None:
    """All differences of all seeds at once; `narrow_features` says what a seed needs to fail."""
    found = {seed: compare_seed(seed) for seed in seeds}
    failed = {seed: "\n  ".join(differences) for seed, differences in found.items() if differences}
    assert not failed, "\n".join(f"seed {seed}:\n  {text}" for seed, text in failed.items())
    unsolved = [seed for seed, differences in found.items() if differences is None]
    assert len(unsolved) <= MOST_UNSOLVED * len(found), f"pandapower solves too few networks: not {unsolved}"


def compare_seed(seed: int, features: frozenset[str] = ALL_FEATURES) -> list[str] | None:
    """Differences of one network; None if pandapower finds no solution."""
    net, limited = build_random_net(seed, features), enforces_q_limits(seed, features)
    try:
        theirs = solve_by_pandapower(net, enforce_q_limits=limited)
    except pp.LoadflowNotConverged:
        return None
    try:
        mine = solve_by_gridtwin(net, enforce_q_limits=limited)
    except Exception as error:  # any refusal is a difference; the other seeds of the batch are still to be seen
        return [f"{type(error).__name__}: {error}"]
    return find_differences(mine, theirs, TOLERANCES)
