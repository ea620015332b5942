"""A schedule meets reality: nothing from the future, limits kept, foresight as bound, rules as data."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.data.market_rules import parse_market_rules, read_market_rules, read_market_text
from gridtwin.errors import DataError, InfeasibleError
from gridtwin.operate.intraday import run_intraday
from gridtwin.operate.intraday_reality import Park, advance, advance_whole, open_state, read_stays, shift_rooms
from gridtwin.operate.party_settlement import ACTIVATION_COLUMNS, settle_parties
from gridtwin.optimize.intraday_plan import build_resolve, plan_day_ahead
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

NAN = float("nan")
AXIS = TimeAxis.of_days(dt.date(2016, 1, 12), 1, "Europe/Berlin")
ASSETS = pd.DataFrame(
    [
        ("houses", "household", 0.05, NAN, NAN, NAN, NAN),
        ("pump", "heat_pump", 0.004, NAN, 0.0003, 0.015, 3.0),
        ("car", "electric_car", 0.011, NAN, NAN, NAN, NAN),
        ("cell", "battery", 0.010, 0.020, NAN, NAN, NAN),
    ],
    columns=["asset", "kind", "p_rated_mw", "e_rated_mwh", "ua_mw_per_k", "c_mwh_per_k", "cop"],
).set_index("asset")
TWIN = SimpleNamespace(assets=ASSETS)
FLEXIBILITY = Flexibility(wear_price_eur_per_kwh=0.005)
GERMAN, EU = read_market_rules("german_style"), read_market_rules("eu_standard")
HOUR = pd.Timedelta(hours=1)
BOUND_EUR = 2e-3
"""Foresight may miss its optimum by the price of the highest power in the program, 1e-5 EUR/kW for some 50 kW, and by
the tolerances of the solver."""
CLOSES = 1e-9
"""MWh and MW: sums of some hundred terms below 1."""


def drift(rng: np.random.Generator, paths: int, scale: float) -> np.ndarray:
    """Errors that last for some hours. (path, time) [MW]"""
    error = rng.normal(0, scale, (paths, AXIS.length))
    for t in range(1, AXIS.length):
        error[:, t] += 0.95 * error[:, t - 1]
    return error


def draw_paths(seed: int, paths: int = 40, *, pump: bool = True) -> xr.Dataset:
    rng, hour = np.random.default_rng(seed), np.arange(AXIS.length) / 4
    p_mw = np.zeros((paths, AXIS.length, len(ASSETS)))
    p_mw[..., 0] = 0.02 + 0.008 * np.sin(hour / 3) + drift(rng, paths, 0.0008)
    p_mw[..., 1] = np.clip(0.0015 + drift(rng, paths, 0.0001) * pump, 0.0, 0.004)
    return label(p_mw)


def label(p_mw: np.ndarray) -> xr.Dataset:
    return xr.Dataset(
        {"p_mw": (("path", "time", "asset"), p_mw)},
        coords={"time": AXIS.times, "asset": list(ASSETS.index)},
        attrs={"step": "PT15M", "zone": AXIS.zone},
    )


def stays_of(*rows: tuple[float, float, float]) -> pd.DataFrame:
    """Sessions of the car: hours after the start of the axis, and MWh."""
    table = pd.DataFrame(rows, columns=["arrival", "departure", "e_mwh"])
    for name in ("arrival", "departure"):
        table[name] = AXIS.start + pd.to_timedelta(table[name], unit="h")
    return table.assign(asset="car")


SESSIONS = stays_of((-2.0, 6.0, 0.030), (16.0, 23.0, 0.020))
PRICES = xr.Dataset(
    {"price_eur_per_mwh": ("time", 60 + 30 * np.sin(np.arange(AXIS.length) / 8))}, coords={"time": AXIS.times}
)


def run(paths: xr.Dataset, realised: xr.Dataset, *, resolve=None, cadence=HOUR, rules=GERMAN, **options):
    given_or = {"sessions": SESSIONS, "prices": PRICES, "flexibility": FLEXIBILITY} | options
    plan = plan_day_ahead(TWIN, paths, SESSIONS, PRICES, FLEXIBILITY)
    return run_intraday(TWIN, plan, paths, realised, resolve or build_resolve(), cadence, rules=rules, **given_or)


# --- laws -------------------------------------------------------------------------------------------------------------


def test_a_perfect_forecast_changes_nothing() -> None:
    paths = draw_paths(1)
    result = run(paths, paths.mean("path"))
    data = result.dataset
    schedule = data["p_schedule_mw"]
    assert float(np.abs(schedule.sel(course="intraday") - schedule.sel(course="day_ahead")).max()) < CLOSES
    assert float(np.abs(data["imbalance_mwh"].sel(course=["day_ahead", "intraday"])).max()) < CLOSES
    total = result.costs.set_index("course")["total_eur"]
    assert total["intraday"] == pytest.approx(total["day_ahead"], abs=1e-9)
    assert total["foresight"] <= total["day_ahead"] + BOUND_EUR


def test_foresight_bounds_and_intraday_pays_off_on_average() -> None:
    """The price is symmetric around spot; single days may go wrong, twelve together do not."""
    paths = draw_paths(2)
    result = run(paths, draw_paths(3, 12))
    total = result.costs.pivot(index="path", columns="course", values="total_eur")
    assert (total["foresight"] <= total[["day_ahead", "intraday"]].min(axis=1) + BOUND_EUR).all()
    assert total["intraday"].mean() <= total["day_ahead"].mean()
    volume = result.costs.groupby("course")["absolute_imbalance_mwh"].mean()
    assert volume["intraday"] < volume["day_ahead"]


def test_foresight_is_a_bound_for_cars_within_an_interval() -> None:
    """Cars come and go at any minute; what is planned as an interval mean is charged while they are there."""
    paths = draw_paths(22, pump=False)
    odd = stays_of((-1.0, 5.4, 0.030), (5.6, 9.15, 0.011), (16.2, 23.9, 0.050))
    result = run(paths, draw_paths(23, 4, pump=False), sessions=odd, declared=odd)
    total = result.costs.pivot(index="path", columns="course", values="total_eur")
    assert (total["foresight"] <= total[["day_ahead", "intraday"]].min(axis=1) + BOUND_EUR).all()
    assert result.costs["unserved_eur"].max() < 1e-6


def test_nothing_comes_from_the_future() -> None:
    """Reality changes from 12:00 on, for loads, rooms and a car that comes then: decisions up to 12:00 stay."""
    paths, changed_from = draw_paths(4), 48
    real = draw_paths(5, 1)
    other = real.copy(deep=True)
    other["p_mw"][:, changed_from:, :2] += 0.003
    declared = stays_of((-2.0, 6.0, 0.030), (13.0, 20.0, 0.020))
    one = run(paths, real, sessions=stays_of((-2.0, 6.0, 0.030), (13.0, 20.0, 0.020)), declared=declared)
    two = run(paths, other, sessions=stays_of((-2.0, 6.0, 0.030), (15.0, 18.0, 0.031)), declared=declared)
    before = one.dataset["decision"].to_numpy() <= AXIS.times[changed_from].to_datetime64()
    decided = [result.dataset["p_decided_mw"].to_numpy() for result in (one, two)]
    assert before.sum() == 12
    assert np.array_equal(decided[0][:, before], decided[1][:, before])
    assert not np.array_equal(decided[0], decided[1])
    power = [result.dataset["p_actual_mw"].sel(course="intraday").to_numpy() for result in (one, two)]
    assert np.array_equal(power[0][:, :changed_from], power[1][:, :changed_from])


def test_energies_close_and_stay_within_limits() -> None:
    result = run(draw_paths(6), draw_paths(7, 3), half_life=2 * HOUR)
    data = result.dataset
    one_way, hours = np.sqrt(FLEXIBILITY.battery_efficiency), 0.25
    stored = data["e_mwh"].to_numpy()[..., 0]
    power = data["p_actual_mw"].sel(asset="cell").to_numpy()
    begin = np.full((*stored.shape[:2], 1), 0.5 * 0.020)
    moved = hours * (one_way * np.maximum(power, 0) + np.minimum(power, 0) / one_way)
    assert np.abs(np.diff(np.concatenate([begin, stored], axis=2), axis=2) - moved).max() < CLOSES
    assert stored.min() >= 0.0
    assert stored.max() <= 0.020
    assert np.abs(power).max() <= 0.010 + CLOSES
    # cars: 30 kWh less what 2 h at 11 kW brought before, and 20 kWh
    charged = hours * data["p_actual_mw"].sel(asset="car").sum("time")
    assert np.abs(charged - (0.030 - 0.022 + 0.020)).max() < CLOSES
    net = data["p_other_mw"] + data["p_actual_mw"].sum("asset")
    closing = hours * (net - data["position_mw"] - data["p_trade_mw"]) - data["imbalance_mwh"]
    assert float(np.abs(closing).max()) < CLOSES
    parts = ["position_eur", "trade_eur", "imbalance_eur", "wear_eur", "unserved_eur", "comfort_eur"]
    assert np.abs(result.costs[parts].sum(axis=1) - result.costs["total_eur"]).max() < 1e-9
    # what was drawn at the spot price and what a deviation cost beyond it
    price = PRICES["price_eur_per_mwh"]
    drawn = (price * hours * data["p_net_mw"]).sum("time").sel(course="intraday").to_numpy()
    mine = result.costs[result.costs["course"] == "intraday"]
    paid = mine[["position_eur", "trade_eur", "imbalance_eur"]].sum(axis=1)
    assert np.allclose(paid, drawn + mine["imbalance_premium_eur"] + mine["trade_premium_eur"], atol=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([1, 3, 16]), st.sampled_from(["cell", "car", "pump"]))
@settings(max_examples=25, deadline=None)
def test_limits_hold_whatever_is_planned(seed: int, every: int, drained: str) -> None:
    """A re-solve that plans nonsense: batteries, cars and rooms keep their limits, energy closes."""
    rng = np.random.default_rng(seed)

    def nonsense(outlook):
        power = rng.uniform(-0.02, 0.02, (AXIS.length - outlook.first, 3))
        power[:, [a == drained for a in ("pump", "car", "cell")]] = -1.0
        return power

    paths = draw_paths(seed)
    plan = label(np.zeros((1, AXIS.length, 4))).isel(path=0).sel(asset=["pump", "car", "cell"])
    result = run_intraday(
        TWIN, plan.assign(p_base_mw=plan["p_mw"]), paths, draw_paths(seed + 1, 1), nonsense, every * AXIS.step,
        sessions=SESSIONS, prices=PRICES, rules=EU, flexibility=FLEXIBILITY,
    )  # fmt: skip
    data = result.dataset
    assert float(data["e_mwh"].min()) >= 0.0
    assert float(data["e_mwh"].max()) <= 0.020
    power = data["p_actual_mw"]
    assert float(np.abs(power.sel(asset="cell")).max()) <= 0.010 + CLOSES
    assert float(power.sel(asset=["car", "pump"]).min()) >= -CLOSES
    assert float(power.sel(asset="car").max()) <= 0.011 + CLOSES
    assert float(power.sel(asset="pump").max()) <= 0.004 + CLOSES
    assert (0.25 * power.sel(asset="car").sum("time") <= 0.028 + CLOSES).all()
    assert np.isfinite(result.costs.select_dtypes("number").to_numpy()).all()


def test_the_settlement_of_parties_says_the_same() -> None:
    """The area as the only party of its system: every deviation is the system's, nothing is activated."""
    result = run(draw_paths(20), draw_paths(21, 1), cadence=4 * HOUR)
    data = result.dataset.sel(course="intraday").isel(path=0)
    positions = pd.DataFrame(
        {
            "time": AXIS.times,
            "party": "village",
            "position_mwh": 0.25 * (data["position_mw"] + data["p_trade_mw"]).to_numpy(),
            "metered_mwh": 0.25 * data["p_net_mw"].to_numpy(),
        }
    )
    settled = settle_parties(positions, pd.DataFrame(columns=list(ACTIVATION_COLUMNS)),
                             PRICES["price_eur_per_mwh"].to_dataframe(), GERMAN)  # fmt: skip
    costs = result.costs.set_index("course").loc["intraday"]
    assert settled.imbalances["imbalance_mwh"].to_numpy() == pytest.approx(data["imbalance_mwh"].to_numpy(), abs=CLOSES)
    assert -settled.accounts.loc["village", "imbalance_eur"] == pytest.approx(costs["imbalance_eur"], abs=1e-6)


# --- reality ----------------------------------------------------------------------------------------------------------


def busy_day(seed: int) -> tuple[Park, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    park = Park(AXIS, ASSETS.iloc[1:], FLEXIBILITY)
    plan = rng.uniform(-0.01, 0.01, (AXIS.length, 3))
    base = np.tile([0.0015, 0.0, 0.0], (AXIS.length, 1))
    asked = np.clip(0.0015 + rng.normal(0, 0.001, (AXIS.length, 1)), 0, 0.004)
    return park, {"plan_mw": plan, "shift_base_mw": base, "asked_mw": asked}


def test_a_day_in_parts_is_the_whole_day() -> None:
    park, powers = busy_day(8)
    stays = read_stays(park, stays_of((-2.0, 6.1, 0.030), (6.2, 12.7, 0.050), (16.05, 30.0, 0.070)))
    start = open_state(park, stays)
    whole_state, whole = advance_whole(park, start, *powers.values(), stays)
    state, parts = start, []
    for begin, stop in ((0, 7), (7, 26), (26, 90), (90, 96)):
        state, course = advance(park, state, *powers.values(), stays=stays, begin=begin, stop=stop)
        parts.append(course.p_mw)
    assert np.abs(np.concatenate(parts) - whole.p_mw).max() < CLOSES
    assert np.abs(state.charged_mwh - whole_state.charged_mwh).max() < CLOSES
    assert (state.charged_mwh <= stays.e_mwh + CLOSES).all()


def test_rooms_follow_the_heat_balance_from_where_they_are() -> None:
    """Written out: power within rating, deviation within the guard, from 0 and from a warm room."""
    park, powers = busy_day(9)
    shift = (powers["plan_mw"] - powers["shift_base_mw"])[:, :1]
    keep, guard = np.exp(-0.0003 * 0.25 / 0.015), FLEXIBILITY.override_kelvin
    gain = 3 * (1 - keep) / 0.0003
    for start in (0.0, 0.4):
        power, kelvin = shift_rooms(park, np.array([start]), powers["asked_mw"], shift)
        room = start
        for k, (asked, moved) in enumerate(zip(powers["asked_mw"][:, 0], shift[:, 0], strict=True)):
            extra = min(max(asked + moved, 0.0), 0.004) - asked
            extra = min(max(extra, (-guard - keep * room) / gain), (guard - keep * room) / gain)
            room = keep * room + gain * extra
            assert power[k, 0] == pytest.approx(asked + extra, abs=1e-15)
            assert kelvin[k, 0] == pytest.approx(room, abs=1e-12)


def test_a_car_that_never_comes_is_not_waited_for() -> None:
    paths = draw_paths(10)
    absent = SESSIONS.assign(arrival=[SESSIONS["arrival"][0], pd.NaT])
    result = run(paths, paths.mean("path"), sessions=absent, declared=SESSIONS)
    car = result.dataset["p_actual_mw"].sel(asset="car", course="intraday").to_numpy()[0]
    assert car[64:].max() == 0.0
    costs = result.costs.set_index("course")
    assert costs.loc["intraday", "unserved_eur"] == 0.0
    # 20 kWh bought for nothing: the position is 20 kWh too long, whatever is done
    assert costs.loc["day_ahead", "net_imbalance_mwh"] == pytest.approx(-0.020, abs=1e-6)
    assert costs.loc["intraday", "total_eur"] <= costs.loc["day_ahead", "total_eur"]


# --- rules and errors -------------------------------------------------------------------------------------------------


def edited(old: str, new: str):
    text = read_market_text("eu_standard")
    assert old in text
    return parse_market_rules(text.replace(old, new))


def test_gate_closure_is_data() -> None:
    """A decision changes the schedule from one gate closure on: 60 min are four intervals, 5 min are one."""
    paths, real = draw_paths(11), draw_paths(12, 1)
    early = edited("gate_closure_minutes = 60", "gate_closure_minutes = 5")
    price = {}
    for rules, lead in ((EU, 4), (early, 1)):
        result = run(paths, real, rules=rules)
        plan = result.dataset["p_schedule_mw"].sel(course="day_ahead", path=0)
        decided = result.dataset["p_decided_mw"].isel(path=0)
        changed = np.abs(decided - plan).max("asset").to_numpy()[0] > CLOSES
        assert not changed[: 4 + lead].any()
        assert changed[4 + lead :].any()
        price[lead] = result.costs.loc[result.costs["course"] == "intraday", "total_eur"].item()
    assert price[1] != price[4]


def test_the_price_of_a_deviation_is_data() -> None:
    paths, real = draw_paths(13), draw_paths(14, 1)
    dear = edited("incentive_eur_per_mwh = 10.0", "incentive_eur_per_mwh = 40.0")
    premium = [
        run(paths, real, rules=rules, cadence=4 * HOUR).costs["imbalance_premium_eur"][0] for rules in (EU, dear)
    ]
    assert premium[1] == pytest.approx(4 * premium[0])
    assert "GT-M23" in [finding.code for finding in run(paths, real, cadence=4 * HOUR).findings]
    given = PRICES.assign(short_eur_per_mwh=PRICES["price_eur_per_mwh"] + 40,
                          long_eur_per_mwh=PRICES["price_eur_per_mwh"] - 40)  # fmt: skip
    known = run(paths, real, rules=EU, cadence=4 * HOUR, prices=given)
    assert known.costs["imbalance_premium_eur"][0] == pytest.approx(premium[1])
    assert known.findings == ()


def test_trade_within_the_day_is_data() -> None:
    """With trade at 1 EUR/MWh less is left as imbalance at 10 EUR/MWh; without it nothing is traded."""
    paths, real = draw_paths(18), draw_paths(19, 2)
    trading = edited("gate_closure_minutes = 60", "gate_closure_minutes = 60\ntrade_distance_eur_per_mwh = 1.0")
    without, with_trade = (run(paths, real, rules=rules) for rules in (EU, trading))
    assert float(np.abs(without.dataset["p_trade_mw"]).max()) == 0.0
    traded = np.abs(with_trade.dataset["p_trade_mw"]).sum(["path", "time"])
    assert float(traded.sel(course="day_ahead")) == 0.0
    assert float(traded.sel(course="intraday")) > 0.0
    # what is known is traded, so that nothing is left
    assert float(np.abs(with_trade.dataset["imbalance_mwh"].sel(course="foresight")).max()) < CLOSES
    one, two = (result.costs.groupby("course")["imbalance_premium_eur"].sum() for result in (without, with_trade))
    assert two["intraday"] < one["intraday"]


def test_without_a_new_schedule_the_old_one_stays() -> None:
    def fails(outlook):
        raise InfeasibleError("no time")

    paths = draw_paths(15)
    result = run(paths, draw_paths(16, 1), resolve=fails, cadence=4 * HOUR)
    power = result.dataset["p_actual_mw"]
    assert np.abs(power.sel(course="intraday") - power.sel(course="day_ahead")).max() < CLOSES
    # five decisions and foresight
    assert [finding.code for finding in result.findings].count("GT-M24") == 6


def test_faults_are_named_at_once() -> None:
    paths = draw_paths(17)
    real = paths.mean("path")
    with pytest.raises(DataError) as error:
        run(paths, real.isel(time=slice(1, None)), cadence=pd.Timedelta(minutes=10),
            sessions=SESSIONS.assign(e_mwh=-1.0))  # fmt: skip
    for part in ("multiple of", "lack times", "has no energy"):
        assert part in str(error.value)
    with pytest.raises(DataError, match="too few paths"):
        run(paths.isel(path=slice(0, 3)), real)
    wrong = PRICES.assign(
        short_eur_per_mwh=PRICES["price_eur_per_mwh"] - 1, long_eur_per_mwh=PRICES["price_eur_per_mwh"]
    )
    with pytest.raises(DataError, match="surplus earns more"):
        run(paths, real, prices=wrong)
    spot = PRICES["price_eur_per_mwh"]
    known = PRICES.assign(short_eur_per_mwh=spot + 20, long_eur_per_mwh=spot + 20)
    with pytest.raises(DataError, match="without end"):
        run(paths, real, prices=known, rules=GERMAN)
    # the same without trade is a price like any other
    assert run(paths, real, prices=known, rules=EU, cadence=4 * HOUR).findings == ()
