"""The network in its control area: physics that must close, money that must close, rules that are data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.control_area import (
    AreaRules,
    list_control_areas,
    parse_control_area,
    read_control_area,
    read_control_area_text,
)
from gridtwin.data.market_rules import parse_market_rules, read_market_rules, read_market_text
from gridtwin.errors import DataError, ScenarioError
from gridtwin.operate.area_day import NETWORK, AreaDay, run_area_day
from gridtwin.scenario_file import read_scenario
from gridtwin.study import read_balancing_rules
from tests.own_network import SCENARIO, write_own_study

AREA = read_control_area("continental_part")
GERMAN = read_market_rules("german_style")
STEPS = 48


def times_of(steps: int = STEPS, step: str = "15min") -> pd.DatetimeIndex:
    return pd.date_range("2016-12-07 23:00", periods=steps, freq=step)


def quiet(**size: float) -> AreaRules:
    """The area without imbalances of its own."""
    load = AREA.load.model_copy(update={"noise_share": 0.0})
    return AREA.model_copy(update={"load": load, "size": AREA.size.model_copy(update=size)})


def as_paths(total_mw: np.ndarray) -> xr.Dataset:
    """Two assets that share a total of (path, time)."""
    p_mw = np.stack([0.25 * total_mw, 0.75 * total_mw], axis=-1)
    coords = {"time": times_of(total_mw.shape[1]), "asset": ["a", "b"]}
    return xr.Dataset({"p_mw": (("path", "time", "asset"), p_mw)}, coords=coords)


def as_prices(steps: int = STEPS) -> xr.Dataset:
    price = 60 + 30 * np.sin(np.arange(steps) / 7)
    return xr.Dataset({"price_eur_per_mwh": ("time", price)}, coords={"time": times_of(steps)})


def draw_power(paths: int = 40, seed: int = 3, scale: float = 1.0) -> tuple[xr.Dataset, xr.Dataset]:
    """Paths and a realised day with forecast errors that last for some hours. [MW]"""
    rng = np.random.default_rng(seed)
    error = np.zeros((paths + 1, STEPS))
    for step in range(1, STEPS):
        error[:, step] = 0.9 * error[:, step - 1] + 0.44 * rng.standard_normal(paths + 1)
    base = 0.2 + 0.1 * np.sin(np.arange(STEPS) / 96 * 2 * np.pi)
    power = as_paths(scale * base * (1 + 0.15 * error))
    return power.isel(path=slice(paths)), power.isel(path=-1)


@pytest.fixture(scope="module")
def day() -> AreaDay:
    return run_area_day(*draw_power(), as_prices(), AREA, GERMAN, seed=5)


def test_the_accounts_of_all_parties_sum_to_zero(day: AreaDay) -> None:
    sums = day.settlement.accounts.sum()
    assert np.abs(sums).max() < 1e-6
    assert len(day.settlement.accounts) == 2 + len(AREA.bid) + 1 + 1  # two parties, bids, FCR, system operator


def test_the_networks_account_is_its_cost(day: AreaDay) -> None:
    realised = day.dataset.isel(scenario=-1)
    by_hand = float((realised["imbalance_price_eur_per_mwh"] * realised["imbalance_mwh"]).sum())
    assert str(realised["case"].item()) == "realised"
    assert day.costs["imbalance_cost_eur"].iloc[-1] == pytest.approx(by_hand, abs=1e-9)
    assert -day.settlement.accounts.loc[NETWORK, "balance_eur"] == pytest.approx(by_hand, abs=1e-9)


def test_scenarios_settled_in_one_go_have_the_prices_of_one_settled_alone(day: AreaDay) -> None:
    alone = day.settlement.periods["imbalance_eur_per_mwh"].to_numpy()
    together = day.dataset["imbalance_price_eur_per_mwh"].isel(scenario=-1).to_numpy()
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-9)  # sums of a few numbers in another order


def test_threads_change_nothing() -> None:
    # 41 scenarios are three blocks of 16, two parts of work
    one, two = (run_area_day(*draw_power(), as_prices(), AREA, GERMAN, seed=5, threads=n) for n in (1, 2))
    xr.testing.assert_identical(one.dataset, two.dataset)
    pd.testing.assert_frame_equal(one.settlement.accounts, two.settlement.accounts, check_exact=True)


def test_the_seed_decides(day: AreaDay) -> None:
    again = run_area_day(*draw_power(), as_prices(), AREA, GERMAN, seed=5)
    other = run_area_day(*draw_power(), as_prices(), AREA, GERMAN, seed=6)
    xr.testing.assert_identical(again.dataset, day.dataset)
    assert float(np.abs(other.dataset["f_hz"] - day.dataset["f_hz"]).max()) > 1e-3
    xr.testing.assert_allclose(other.dataset["imbalance_mwh"], day.dataset["imbalance_mwh"], rtol=0, atol=1e-15)


def test_stores_stay_within_their_limits(day: AreaDay) -> None:
    soc = day.dataset["soc_percent"]
    assert float(soc.min()) >= -1e-9
    assert float(soc.max()) <= 100 + 1e-9
    assert float(soc.std("time").min()) > 0  # they work in every scenario


def test_down_takes_and_up_gives(day: AreaDay) -> None:
    power = day.dataset["p_activation_mw"]
    offered = {f"{p} {d}": day.load_mw * sum(b.share for b in AREA.bid if (b.product, b.direction) == (p, d))
               for p in ("aFRR", "mFRR") for d in ("up", "down")}  # fmt: skip
    for name, most_mw in offered.items():
        size = power.sel(activation=name) * (1 if name.endswith("up") else -1)
        assert float(size.min()) >= 0
        assert 0 < float(size.max()) <= most_mw * (1 + 1e-9)
    assert float(np.abs(power.sel(activation="FCR")).max()) <= AREA.fcr.share * day.load_mw * (1 + 1e-9)


def test_energy_only_hides_in_rotating_masses(day: AreaDay) -> None:
    """What reserves, damping and load leave open is kinetic energy: E (f^2 - f0^2) / f0^2, E = H x load."""
    left_mwh = day.settlement.periods["unintended_mwh"].cumsum()
    farthest_hz = float(np.abs(day.dataset[["f_min_hz", "f_max_hz"]].isel(scenario=-1) - 50).to_array().max())
    most_mwh = AREA.load.inertia_s * day.load_mw * 2 * farthest_hz / 50 / 3600
    # 3 %: the square of the deviation, and the energy of a step while the power jumps
    assert 0 < float(left_mwh.abs().max()) <= 1.03 * most_mwh


def test_a_lasting_deficit_is_covered_by_activation_and_the_frequency_returns() -> None:
    base = np.full((1, STEPS), 0.3)
    actual = as_paths(base + 0.05).isel(path=0)
    day = run_area_day(as_paths(base), actual, as_prices(), quiet(), GERMAN)
    came = day.dataset.isel(scenario=-1)
    reserves = (
        came["p_activation_mw"].sel(activation=["aFRR up", "aFRR down", "mFRR up", "mFRR down"]).sum("activation")
    )
    np.testing.assert_allclose(came["imbalance_mwh"], 0.05 / 4, rtol=1e-12)
    np.testing.assert_allclose(reserves[-16:], 0.05, rtol=0.01)  # what the PI controller has settled to after 8 h
    np.testing.assert_allclose(came["f_hz"][-16:], 50.0, rtol=0, atol=1e-3)
    assert float(came["f_min_hz"][0]) < 49.99
    assert (came["imbalance_price_eur_per_mwh"] > as_prices()["price_eur_per_mwh"].to_numpy()).all()
    assert day.costs["imbalance_premium_eur"].iloc[-1] > 0


def test_who_keeps_the_programme_pays_nothing() -> None:
    base = 0.2 + 0.05 * np.sin(np.arange(STEPS) / 5)
    swing = 0.03 * np.cos(np.arange(STEPS) / 9)
    day = run_area_day(as_paths(np.stack([base, base + swing, base - swing])), as_paths(base[np.newaxis]).isel(path=0),
                       as_prices(), AREA, GERMAN, seed=2)  # fmt: skip
    np.testing.assert_allclose(day.costs["imbalance_cost_eur"].iloc[[0, 3]], 0, rtol=0, atol=1e-9)
    assert np.abs(day.costs["imbalance_cost_eur"].iloc[[1, 2]]).min() > 0.1


def test_the_price_rule_is_data(day: AreaDay) -> None:
    """At the spot price, the cost is spot times imbalance, and nothing physical changes."""
    text = read_market_text("german_style").replace('rule = "volume_weighted"', 'rule = "spot"')
    text = text.replace("keep_spot_distance = true", "keep_spot_distance = false")
    text = text.replace("scarcity = [{ from_share = 0.8, eur_per_mwh = 100.0 }]", "")
    spot = run_area_day(*draw_power(), as_prices(), AREA, parse_market_rules(text), seed=5)
    by_hand = (as_prices()["price_eur_per_mwh"] * spot.dataset["imbalance_mwh"]).sum("time")
    np.testing.assert_allclose(spot.costs["imbalance_cost_eur"], by_hand, rtol=0, atol=1e-9)
    np.testing.assert_allclose(spot.costs["imbalance_premium_eur"], 0, rtol=0, atol=1e-9)
    xr.testing.assert_identical(spot.dataset["f_hz"], day.dataset["f_hz"])
    assert np.abs(spot.costs["imbalance_cost_eur"] - day.costs["imbalance_cost_eur"]).max() > 0.1


def test_the_activation_time_is_data() -> None:
    """A step of load waits longer for aFRR that takes ten times as long; batteries have a time of their own."""
    area = quiet()
    area = area.model_copy(update={"control": area.control.model_copy(update={"mfrr_direct_share": None})})
    base = np.full((1, STEPS), 0.3)
    scheduled, actual = as_paths(base), as_paths(base + 0.3).isel(path=0)
    late = read_market_text("german_style").replace("activation_seconds = 300", "activation_seconds = 3000")
    usual, slow = (run_area_day(scheduled, actual, as_prices(), area, rules).dataset["f_hz"][-1, 0].item()
                   for rules in (GERMAN, parse_market_rules(late)))  # fmt: skip
    assert 50 - slow > 1.2 * (50 - usual) > 0


def test_a_settlement_period_of_an_hour_is_data() -> None:
    text = read_market_text("german_style").replace("period_minutes = 15", "period_minutes = 60")
    scheduled, actual = draw_power(4)
    day = run_area_day(scheduled, actual, as_prices(), AREA, parse_market_rules(text), seed=5)
    assert day.dataset.sizes["time"] == STEPS // 4
    deviation = scheduled["p_mw"].sum("asset") - scheduled["p_mw"].sum("asset").mean("path")
    hourly = deviation.to_numpy().reshape(4, -1, 4).mean(axis=2)  # MW over an hour: MWh
    np.testing.assert_allclose(day.dataset["imbalance_mwh"][:4], hourly, rtol=0, atol=1e-12)
    assert np.abs(day.settlement.accounts.sum()).max() < 1e-6


def test_the_area_grows_with_the_network(day: AreaDay) -> None:
    """Everything is a share of the load: ten times the network is the same frequency and ten times the money."""
    large = run_area_day(*draw_power(scale=10), as_prices(), AREA, GERMAN, seed=5)
    assert large.load_mw == pytest.approx(10 * day.load_mw)
    # the recursion amplifies rounding where a bid is nearly exhausted
    np.testing.assert_allclose(large.dataset["f_hz"], day.dataset["f_hz"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(large.costs["imbalance_cost_eur"], 10 * day.costs["imbalance_cost_eur"], rtol=1e-6)


def test_a_larger_area_feels_the_network_less() -> None:
    scheduled, actual = draw_power(4)
    small, large = (run_area_day(scheduled, actual, as_prices(), quiet(peak_multiple=n), GERMAN) for n in (60, 600))
    swing = [float(np.abs(day.dataset["f_hz"] - 50).max()) for day in (small, large)]
    assert large.load_mw == pytest.approx(10 * small.load_mw)
    assert swing[1] < 0.35 * swing[0]


def test_what_is_assumed_is_said(day: AreaDay) -> None:
    assert {finding.code for finding in day.findings} >= {"GT-O95", "GT-O96"}
    assert "assumed" in next(finding.what for finding in day.findings if finding.code == "GT-O95")


def test_missing_prices_are_replaced_and_named() -> None:
    scheduled, actual = draw_power(4)
    none = run_area_day(scheduled, actual, None, AREA, GERMAN)
    some = run_area_day(scheduled, actual, as_prices().where(as_prices()["time"] > times_of()[3]), AREA, GERMAN)
    said = {name: [f.got for f in day.findings if f.code == "GT-O97"] for name, day in (("none", none), ("some", some))}
    assert said == {"none": ["48 of 48 missing"], "some": ["4 of 48 missing"]}
    assert np.isfinite(none.costs["imbalance_cost_eur"]).all()


def test_an_area_too_small_for_its_network_is_named() -> None:
    base = np.full((1, STEPS), 0.2)
    day = run_area_day(as_paths(base), as_paths(1.5 * base).isel(path=0), as_prices(), quiet(peak_multiple=2), GERMAN)
    finding = next(finding for finding in day.findings if finding.code == "GT-O98")
    assert finding.got == "48 of 96 settlement periods of all scenarios"


@pytest.mark.parametrize("fault", ["times", "gap", "no power", "half a period"])
def test_faults_are_named(fault: str) -> None:
    scheduled, actual = draw_power(4)
    rules = GERMAN
    if fault == "times":
        actual = actual.assign_coords(time=actual["time"] + np.timedelta64(1, "D"))
    elif fault == "gap":
        actual = actual.where(actual["time"] != actual["time"][3])
    elif fault == "no power":
        scheduled = 0 * scheduled
    else:
        text = read_market_text("german_style").replace("period_minutes = 15", "period_minutes = 20")
        rules = parse_market_rules(text)
    with pytest.raises(DataError) as caught:
        run_area_day(scheduled, actual, as_prices(), AREA, rules)
    assert [finding.code for finding in caught.value.findings] == ["GT-O94"]


def test_control_areas_are_files_with_sources() -> None:
    for name in list_control_areas():
        rules = read_control_area(name)
        assert rules.name == name
        for direction in ("up", "down"):
            assert any(b.product == "aFRR" and b.direction == direction for b in rules.bid)
    with pytest.raises(ScenarioError, match="Did you mean continental_part"):
        read_control_area("continental_prt")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('store = "battery park"', 'store = "batery park"', "the stores are"),
        ("dead_band_hz = 0.01", "dead_band_hz = 0.3", "full_at_hz must be above dead_band_hz"),
        ("inertia_s = 5.0", "inertia = 5.0", "Did you mean inertia_s"),
        ("share = 0.01 ", "share = 1.5 ", "less than or equal to 1"),
    ],
)
def test_a_broken_area_names_its_fault(old: str, new: str, words: str) -> None:
    text = read_control_area_text("continental_part")
    assert old in text
    with pytest.raises(DataError, match=words):
        parse_control_area(text.replace(old, new, 1), "own.toml")


def test_a_scenario_names_files_of_its_own(tmp_path: Path) -> None:
    own = SCENARIO.replace("[balancing]", '[balancing]\narea = "area.toml"\nmarket = "market.toml"')
    folder = write_own_study(tmp_path / "street", scenario=own)
    with pytest.raises(ScenarioError) as caught:
        read_balancing_rules(read_scenario(folder))
    lines = [line for line in str(caught.value).splitlines() if ": balancing." in line]
    assert [line.split(": ")[1] for line in lines] == ["balancing.area", "balancing.market"]
    assert "scenario.toml:" in lines[0] and "there is no such control area" in lines[0]
    (folder / "area.toml").write_text(read_control_area_text("continental_part"), encoding="utf-8")
    (folder / "market.toml").write_text(read_market_text("eu_standard"), encoding="utf-8")
    source = read_scenario(folder)
    assert {"area.toml", "market.toml"} <= set(source.input_hashes())
    assert read_balancing_rules(source) == (AREA, read_market_rules("eu_standard"))
