"""Settlement between parties: a day by hand, sums that close, rules that are data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.data.market_rules import list_market_rules, parse_market_rules, read_market_rules, read_market_text
from gridtwin.errors import DataError, ScenarioError
from gridtwin.operate.party_settlement import ACTIVATION_COLUMNS, SYSTEM_OPERATOR, settle_parties
from gridtwin.operate.product_delivery import deliver_power

START = pd.Timestamp("2026-01-12 10:00")
CLOSES_EUR, CLOSES_MWH = 1e-6, 1e-9
"""Sums of some hundred terms of some thousand EUR and some MWh in double precision."""
EU = read_market_rules("eu_standard")


def edited(old: str, new: str, name: str = "eu_standard"):
    """A shipped set with one line of its file changed."""
    text = read_market_text(name)
    assert text.count(old) >= 1
    return parse_market_rules(text.replace(old, new))


def quarter(number: int) -> pd.Timestamp:
    return START + number * pd.Timedelta(minutes=15)


def activation_table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(ACTIVATION_COLUMNS))


def by_hand() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Two quarter hours of three parties, 60 EUR/MWh at spot.

    First: `city` takes 3 MWh more than bought, `sun` feeds in 1 MWh more; the provider behind `plant` gave
    1.5 MWh at 80 and 0.5 MWh at 120 EUR/MWh: the system lacks 2 MWh.
    Second: `sun` feeds in 2 MWh more; `plant` took 1 MWh at 20 EUR/MWh back: a surplus of 2 MWh, 1 MWh of it
    left the area unintended.
    """
    positions = pd.DataFrame(
        [
            (quarter(0), "city", 10.0, 13.0),
            (quarter(0), "sun", -4.0, -5.0),
            (quarter(0), "plant", -6.0, -8.0),
            (quarter(1), "city", 10.0, 10.0),
            (quarter(1), "sun", -4.0, -6.0),
            (quarter(1), "plant", -6.0, -5.0),
        ],
        columns=["time", "party", "position_mwh", "metered_mwh"],
    )
    activations = activation_table(
        (quarter(0), "plant", "turbine", "aFRR", "up", 1.5, 80.0),
        (quarter(0), "plant", "engine", "mFRR", "up", 0.5, 120.0),
        (quarter(1), "plant", "turbine", "aFRR", "down", 1.0, 20.0),
    )
    prices = pd.DataFrame(
        {"price_eur_per_mwh": 60.0, "offered_up_mwh": 4.0, "offered_down_mwh": 4.0}, index=[quarter(0), quarter(1)]
    )
    return positions, activations, prices


def test_a_case_by_hand() -> None:
    positions, activations, prices = by_hand()
    capacities = pd.DataFrame(
        [
            (quarter(0), "turbine", "aFRR", "up", 0.5, 6.0, 5.0),
            (quarter(0), "engine", "aFRR", "up", 0.5, 2.0, 9.0),
        ],
        columns=["time", "provider", "product", "direction", "hours", "p_mw", "price_eur_per_mw_h"],
    )
    result = settle_parties(positions, activations, prices, EU, capacities=capacities)
    # deficit: the dearest of 80 and 120, and an incentive of 10; surplus: 20 less 10
    assert result.periods["imbalance_eur_per_mwh"].tolist() == [130.0, 10.0]
    assert result.periods["system_imbalance_mwh"].tolist() == [2.0, -2.0]
    assert result.periods["unintended_mwh"].tolist() == [0.0, -1.0]
    imbalance = result.imbalances.set_index(["time", "party"])["imbalance_mwh"]
    assert imbalance.xs(quarter(0)).to_dict() == {"city": 3.0, "sun": -1.0, "plant": 0.0}
    account = result.accounts
    assert account.loc["city", "balance_eur"] == -3 * 130
    assert account.loc["sun", "balance_eur"] == 130 + 2 * 10
    assert account.loc["plant", "balance_eur"] == 0.0
    # pay-as-cleared by product: aFRR 1.5 x 80 up, 1 x 20 paid back; power 6 MW x 0.5 h x 9
    assert account.loc["turbine", ["energy_eur", "capacity_eur"]].tolist() == [100.0, 27.0]
    assert account.loc["engine", ["energy_eur", "capacity_eur"]].tolist() == [60.0, 9.0]
    # received 2 x 130 - 2 x 10, paid 160 and 36
    assert account.loc[SYSTEM_OPERATOR, "balance_eur"] == 240 - 160 - 36
    assert account["balance_eur"].sum() == 0.0
    assert result.findings == ()


@st.composite
def markets(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Random positions, activations, prices and capacities."""
    seed, steps, parties = draw(st.integers(0, 10**6)), draw(st.integers(1, 8)), draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    names = [f"party {k}" for k in range(parties)]
    times = [quarter(k) for k in range(steps)]
    positions = pd.DataFrame([(t, n, *rng.normal(0, 5, 2)) for t in times for n in names],
                             columns=["time", "party", "position_mwh", "metered_mwh"])  # fmt: skip
    n = draw(st.integers(0, 12))
    activations = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(rng.choice(np.array(times, dtype="datetime64[ns]"), n)),
            "party": rng.choice(names, n),
            "provider": rng.choice(["a", "b", "party 0"], n),
            "product": rng.choice(["FCR", "aFRR", "mFRR"], n),
            "direction": rng.choice(["up", "down"], n),
            "e_mwh": rng.uniform(0, 3, n) * rng.integers(0, 2, n),
            "price_eur_per_mwh": rng.normal(60, 80, n),
        }
    )
    prices = pd.DataFrame({"price_eur_per_mwh": rng.normal(50, 40, steps), "offered_up_mwh": rng.uniform(0, 4, steps),
                           "offered_down_mwh": rng.uniform(0, 4, steps)}, index=times)  # fmt: skip
    capacities = pd.DataFrame(
        {"time": times[0], "provider": ["a", "c"], "product": ["FCR", "mFRR"], "direction": ["up", "down"],
         "hours": 4.0, "p_mw": rng.uniform(0, 5, 2), "price_eur_per_mw_h": rng.uniform(0, 20, 2)}
    )  # fmt: skip
    return positions, activations, prices, capacities


@given(markets(), st.sampled_from(list_market_rules()), st.sampled_from(["marginal", "volume_weighted", "spot"]))
@settings(max_examples=60, deadline=None)
def test_money_and_energy_close(market: tuple, name: str, rule: str) -> None:
    positions, activations, prices, capacities = market
    rules = parse_market_rules(
        read_market_text(name).replace('rule = "marginal"', f'rule = "{rule}"').replace(
            'rule = "volume_weighted"', f'rule = "{rule}"')
    )  # fmt: skip
    result = settle_parties(positions, activations, prices, rules, capacities=capacities)
    assert abs(result.accounts["balance_eur"].sum()) < CLOSES_EUR
    assert (result.accounts[["imbalance_eur", "energy_eur", "capacity_eur"]].sum().abs() < CLOSES_EUR).all()
    periods = result.periods
    closing = periods["system_imbalance_mwh"] - periods["up_mwh"] + periods["down_mwh"] - periods["unintended_mwh"]
    assert closing.abs().max() < CLOSES_MWH
    assert abs(result.energy["e_mwh"].sum() - periods["up_mwh"].sum() - periods["down_mwh"].sum()) < CLOSES_MWH
    # against the system imbalance, never in its favour
    sign = np.sign(periods["system_imbalance_mwh"])
    assert (sign * periods["component_eur_per_mwh"] >= 0).all()


def test_who_is_balanced_pays_nothing() -> None:
    positions, _, prices = by_hand()
    balanced = positions.assign(metered_mwh=positions["position_mwh"])
    result = settle_parties(balanced, activation_table(), prices, EU)
    assert (result.accounts["balance_eur"] == 0).all()
    assert (result.periods["imbalance_eur_per_mwh"] == 60).all()


def test_the_price_rule_is_data() -> None:
    case = by_hand()
    price = {
        rule: settle_parties(*case, edited('rule = "marginal"', f'rule = "{rule}"')).periods["energy_eur_per_mwh"]
        for rule in ("marginal", "volume_weighted", "spot")
    }
    # (1.5 x 80 + 0.5 x 120) / 2 = 90
    assert {rule: series.iloc[0] for rule, series in price.items()} == {
        "marginal": 120.0, "volume_weighted": 90.0, "spot": 60.0}  # fmt: skip


def test_pricing_scarcity_and_distance_are_data() -> None:
    positions, activations, prices = by_hand()
    own = edited('energy_pricing = "pay_as_cleared"', 'energy_pricing = "pay_as_bid"')
    two = pd.concat([activations, activation_table((quarter(0), "plant", "mill", "aFRR", "up", 0.0001, 90.0))])
    cleared, bid = (settle_parties(positions, two, prices, rules).accounts for rules in (EU, own))
    assert cleared.loc["turbine", "energy_eur"] == pytest.approx(1.5 * 90 - 20)
    assert bid.loc["turbine", "energy_eur"] == pytest.approx(1.5 * 80 - 20)
    early = edited("from_share = 0.9,", "from_share = 0.5,")
    component = settle_parties(positions, activations, prices, early).periods["component_eur_per_mwh"]
    assert component.tolist() == [210.0, -10.0]  # 2 of 4 MWh activated upward, 1 of 4 downward
    german = settle_parties(positions, activations, prices, read_market_rules("german_style")).periods
    # mean of 90 is 30 above spot; 20 is 40 below: the distance of 25 % of 60 does not bind
    assert german["imbalance_eur_per_mwh"].tolist() == [90.0, 20.0]
    far = edited("spot_distance_eur_per_mwh = 10.0", "spot_distance_eur_per_mwh = 50.0", "german_style")
    assert settle_parties(positions, activations, prices, far).periods["imbalance_eur_per_mwh"].tolist() == [110, 10]


def test_the_settlement_period_is_data() -> None:
    case = by_hand()
    half = settle_parties(*case, edited("period_minutes = 15", "period_minutes = 30"))
    # +2 and -2 MWh cancel within half an hour
    assert half.periods["system_imbalance_mwh"].tolist() == [0.0]
    assert half.periods["imbalance_eur_per_mwh"].tolist() == [60.0]
    assert abs(half.accounts["balance_eur"].sum()) < CLOSES_EUR


def test_activation_time_and_shortest_activation_are_data() -> None:
    request = [4.0, 0.0, 0.0, 0.0]
    product = EU.product_named("aFRR")
    # 5 min to full power: half the power in the first 5 min, the other half on the way back
    assert deliver_power(request, 4.0, 300.0, product).tolist() == [2.0, 2.0, 0.0, 0.0]
    fast = edited("activation_seconds = 300", "activation_seconds = 150").product_named("aFRR")
    assert deliver_power(request, 4.0, 300.0, fast).tolist() == [3.0, 1.0, 0.0, 0.0]
    held = edited("activation_seconds = 300\nminimum_minutes = 0", "activation_seconds = 300\nminimum_minutes = 15")
    assert deliver_power(request, 4.0, 300.0, held.product_named("aFRR")).tolist() == [2.0, 4.0, 4.0, 2.0]


def test_replaced_values_leave_findings() -> None:
    positions, _, prices = by_hand()
    result = settle_parties(positions, activation_table(), prices[["price_eur_per_mwh"]], EU)
    assert [finding.code for finding in result.findings] == ["GT-M22", "GT-M20"]


def test_faults_are_named_at_once() -> None:
    positions, activations, prices = by_hand()
    wrong = activations.assign(product="RR", party="nobody", e_mwh=-1.0)
    with pytest.raises(DataError) as error:
        settle_parties(positions, wrong, prices.iloc[:1], EU)
    text = str(error.value)
    for part in ("unknown product", "nobody", "negative", "prices lack times"):
        assert part in text
    with pytest.raises(DataError, match="lack columns"):
        settle_parties(positions.drop(columns="party"), activations, prices, EU)
    with pytest.raises(DataError, match="do not divide"):
        settle_parties(positions, activations, prices, edited("period_minutes = 15", "period_minutes = 10"))


def test_a_wrong_file_of_rules_says_where(tmp_path) -> None:
    with pytest.raises(DataError, match=r"product.1.energy_pricing"):
        edited('activation_seconds = 300\nminimum_minutes = 0\nenergy_pricing = "pay_as_cleared"',
               'activation_seconds = 300\nminimum_minutes = 0\nenergy_pricing = "free"')  # fmt: skip
    with pytest.raises(DataError, match="unknown key"):
        parse_market_rules("colour = 1\n" + read_market_text("eu_standard"))
    with pytest.raises(ScenarioError, match="eu_standard"):
        read_market_rules("eu_standart")
    file = tmp_path / "own.toml"
    file.write_text(read_market_text("german_style"), encoding="utf-8")
    assert read_market_rules(file) == read_market_rules("german_style")
    with pytest.raises(DataError, match="unknown product"):
        EU.product_named("RR")
