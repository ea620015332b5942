"""Sharing keys by hand and on random communities: sums close, nobody gets more than it consumed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.operate.communities import KEYS, NAMES_ABROAD, CommunityTariff, bill_community, share_energy

CLOSES = 1e-9
"""Sums of some hundred terms of some MWh in double precision."""
TIMES = pd.date_range("2026-06-01", periods=2, freq="15min")


def by_hand():
    """Noon: 10 MWh for 2 and 9; evening: 3 MWh for 4 and 2."""
    consumed = pd.DataFrame({"a": [2.0, 4.0], "b": [9.0, 2.0]}, index=TIMES)
    return consumed, pd.DataFrame({"roof": [6.0, 3.0], "field": [4.0, 0.0]}, index=TIMES)


@pytest.mark.parametrize(
    ("key", "shared"),
    [
        # half of 10 each, but `a` needs 2; half of 3 each
        ("static", [[2, 5], [1.5, 1.5]]),
        # 10 of 11, in the evening 3 of 6
        ("proportional", [[20 / 11, 90 / 11], [2, 1]]),
        # the 3 MWh that `a` leaves go to `b`
        ("hybrid", [[2, 8], [1.5, 1.5]]),
    ],
)
def test_keys_by_hand(key, shared):
    consumed, produced = by_hand()
    result = share_energy(consumed, produced, key=key, shares=pd.Series({"b": 0.5, "a": 0.5}))
    assert result["shared_mwh"].to_numpy() == pytest.approx(np.array(shared))
    # each plant sells the same part
    assert (result["sold_mwh"][0] / [6, 4]).to_numpy() == pytest.approx(np.full(2, sum(shared[0]) / 10))


def test_bills_by_hand():
    consumed, produced = by_hand()
    shared = share_energy(consumed, produced, key="statisch", shares=pd.Series({"a": 0.5, "b": 0.5}))
    supplier = pd.Series([200.0, 300.0], index=TIMES)
    bills = bill_community(shared, CommunityTariff(supplier, 120.0, 60.0, 80.0, 50.0))
    # a: shared 3.5, bought 2.5 in the evening; alone 2 at 280 and 4 at 380
    assert bills.loc["a", ["community_eur", "network_energy_eur", "charges_eur", "alone_eur"]].tolist() == (
        pytest.approx([3.5 * 120, 2.5 * 300, 3.5 * 50 + 2.5 * 80, 2 * 280 + 4 * 380])
    )
    # roof sells 0.7 of 6 and all of 3, feeds in 0.3 of 6
    assert bills.loc["roof", "total_eur"] == pytest.approx(-120 * 7.2 - 60 * 1.8)
    assert abs(bills["community_eur"].sum()) < 1e-9
    assert (bills.loc[["a", "b"], "total_eur"] < bills.loc[["a", "b"], "alone_eur"]).all()


@given(st.integers(0, 10**6), st.sampled_from([*KEYS, *NAMES_ABROAD]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_sums_close_and_nobody_gets_too_much(seed, key, by_time):
    rng = np.random.default_rng(seed)
    steps, members, plants = rng.integers(1, 97), rng.integers(1, 30), rng.integers(1, 4)
    times = pd.date_range("2026-03-28 23:00", periods=steps, freq="15min")
    some = rng.integers(0, 2, (steps, members))
    consumed = pd.DataFrame(rng.exponential(1, (steps, members)) * some, index=times).add_prefix("m")
    produced = pd.DataFrame(rng.exponential(members / 2, (steps, plants)), index=times).add_prefix("p")
    weight = rng.dirichlet(np.ones(members), steps)
    shares = pd.DataFrame(weight, times, consumed.columns) if by_time else pd.Series(weight[0], consumed.columns)
    result = share_energy(consumed, produced, key=key, shares=shares)
    shared, supplied, sold, fed = (
        result[name].to_numpy() for name in ("shared_mwh", "supplied_mwh", "sold_mwh", "fed_in_mwh")
    )
    assert np.abs(shared + supplied - consumed.to_numpy()).max() < CLOSES
    assert np.abs(sold + fed - produced.to_numpy()).max() < CLOSES
    assert np.abs(shared.sum(axis=1) - sold.sum(axis=1)).max() < CLOSES
    assert min(shared.min(), supplied.min(), sold.min(), fed.min()) >= -CLOSES
    if NAMES_ABROAD.get(key, key) != "static":  # nothing is fed in while a member still buys
        assert np.minimum(fed.sum(axis=1), supplied.sum(axis=1)).max() < CLOSES
    bills = bill_community(result, CommunityTariff(250.0, 120.0, 50.0, 80.0, 60.0))
    assert abs(bills["community_eur"].sum()) < 1e-6


def test_faults_are_named():
    consumed, produced = by_hand()
    with pytest.raises(DataError) as caught:
        share_energy(-consumed, produced.iloc[:1], key="dynamic")
    assert len(caught.value.findings) == 3
    with pytest.raises(DataError, match="needs shares"):
        share_energy(consumed, produced, key="static")
    with pytest.raises(DataError, match=r"a sum of 1\.1"):
        share_energy(consumed, produced, key="static", shares=pd.Series({"a": 0.6, "b": 0.5}))
    with pytest.raises(DataError, match="other members"):
        share_energy(consumed, produced, key="static", shares=pd.Series({"a": 0.6, "c": 0.4}))
    shared = share_energy(consumed, produced, key="proportional")
    with pytest.raises(DataError, match="other times"):
        bill_community(shared, CommunityTariff(pd.Series([1.0], index=TIMES[:1]), 1.0))
