"""Laws of sharing a node's energy: nothing is lost, equals are equal, nothing for nothing, splitting is free."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.attribution import JobShare, attribute_energy, attribute_quantity
from gridtwin.ai_energy.quantity import missing, with_interval
from gridtwin.errors import DataError

PARTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)
TOTALS = st.floats(1e-3, 1e12)
UNIT = st.floats(0, 1)


def jobs_of(parts: list[tuple[float, float]], fill: float) -> list[JobShare]:
    """Shares that add up to at most `fill`."""
    held, used = (math.fsum(part[i] for part in parts) or 1.0 for i in (0, 1))
    return [JobShare(f"job {i}", fill * s / max(held, 1.0), fill * w / max(used, 1.0)) for i, (s, w) in
            enumerate(parts)]  # fmt: skip


@given(PARTS, TOTALS, UNIT, UNIT)
def test_nothing_is_lost_to_the_last_digit(parts, total, idle, fill) -> None:
    split = attribute_energy(total, total * idle, jobs_of(parts, fill))
    everything = [*split.jobs.values(), split.unallocated]
    assert math.fsum(everything) == total
    assert sum(everything) == total, "also added one by one"
    assert all(joules >= 0 for joules in everything)


@given(PARTS, TOTALS, UNIT, UNIT)
def test_equal_jobs_pay_equally_and_nothing_costs_nothing(parts, total, idle, share) -> None:
    twins = [JobShare("one", share / 4, share / 4), JobShare("two", share / 4, share / 4), JobShare("none", 0.0, 0.0)]
    split = attribute_energy(total, total * idle, twins + jobs_of(parts, 0.4))
    assert split.jobs["one"] == split.jobs["two"]
    assert split.jobs["none"] == 0.0


@given(TOTALS, UNIT, UNIT, UNIT, UNIT)
def test_splitting_a_job_changes_nothing(total, idle, held, used, cut) -> None:
    whole = attribute_energy(total, total * idle, [JobShare("a", held, used)])
    halves = [JobShare("a1", held * cut, used * cut), JobShare("a2", held * (1 - cut), used * (1 - cut))]
    split = attribute_energy(total, total * idle, halves)
    assert split.jobs["a1"] + split.jobs["a2"] == pytest.approx(whole.jobs["a"], rel=1e-12, abs=1e-14 * total)


@given(TOTALS, TOTALS, UNIT, UNIT, UNIT)
def test_two_hours_cost_what_each_costs(first, second, idle, held, used) -> None:
    job = [JobShare("a", held, used)]
    apart = [attribute_energy(joules, joules * idle, job).jobs["a"] for joules in (first, second)]
    both = attribute_energy(first + second, first * idle + second * idle, job).jobs["a"]
    assert math.fsum(apart) == pytest.approx(both, rel=1e-12, abs=1e-14 * (first + second))


@pytest.mark.parametrize("count", [2, 4, 8])
def test_jobs_cost_the_same_side_by_side_and_in_series_up_to_idle(count: int) -> None:
    # 50 W idle, 10 W per busy core, each job keeps one of 8 cores busy for 100 s
    idle_w, core_w, seconds = 50.0, 10.0, 100.0
    one = attribute_energy((idle_w + core_w) * seconds, idle_w * seconds, [JobShare("a", 1 / 8, 1.0)])
    side = attribute_energy((idle_w + count * core_w) * seconds, idle_w * seconds,
                            [JobShare(f"job {i}", 1 / 8, 1 / count) for i in range(count)])  # fmt: skip
    assert math.fsum(side.jobs.values()) == pytest.approx(count * one.jobs["a"], rel=1e-12)
    # the node as a whole differs by the idle energy of the hours that it is spared
    spared = count * one.total - side.total
    assert spared == pytest.approx((count - 1) * idle_w * seconds)


def test_a_sleeping_job_pays_no_dynamic_energy() -> None:
    split = attribute_energy(1000.0, 400.0, [JobShare("sleeps", 0.5, 0.0), JobShare("works", 0.5, 1.0)])
    assert split.jobs == {"sleeps": 200.0, "works": 800.0}


def test_shares_of_more_than_the_node_are_refused() -> None:
    with pytest.raises(DataError, match="more than the node"):
        attribute_energy(1.0, 0.5, [JobShare("a", 0.7, 0.2), JobShare("b", 0.7, 0.2)])
    with pytest.raises(DataError, match="between 0 and the total"):
        attribute_energy(1.0, 2.0, [])
    with pytest.raises(DataError, match="one job"):
        attribute_energy(1.0, 0.5, [JobShare("a", 0.1, 0.2), JobShare("a", 0.1, 0.2)])
    with pytest.raises(DataError, match="between 0 and 1"):
        attribute_energy(1.0, 0.5, [JobShare("a", -0.1, 0.2)])


def test_parts_of_a_quantity_keep_its_interval_and_what_is_missing_stays_so() -> None:
    node = with_interval(1000.0, 0.1, 0.3, "J", kind="measured", method="a meter", boundary="node", measured_share=1.0)
    parts = attribute_quantity(node, 400.0, [JobShare("a", 0.5, 0.5)])
    assert parts["a"].ends == pytest.approx((450.0, 500.0, 650.0))
    assert (parts["a"].kind, parts["a"].boundary, parts["unallocated"].p50) == ("calculated", "node", 500.0)
    assert attribute_quantity(missing("J", reason="no meter"), 0.0, [JobShare("a", 0.5, 0.5)])["a"].is_missing
