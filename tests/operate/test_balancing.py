"""Balancing of a small area: identities, signs, devices and money, by hand where possible."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.charging_sessions import empty_sessions
from gridtwin.data.profiles import build_profiles, check_profiles
from gridtwin.errors import DataError
from gridtwin.operate.balancing import CAUSES, run_balancing
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.scenario import Balancing, Flexibility, Reserve
from gridtwin.time_axis import TimeAxis

ZONE = "Europe/Berlin"
DAY = TimeAxis.of_days(dt.date(2016, 1, 12), 1, ZONE)
LONG_DAY = TimeAxis.of_days(dt.date(2016, 10, 30), 1, ZONE)
NAN = float("nan")
ASSETS = pd.DataFrame(
    [
        ("house", "load", 0, "household", 0.02, NAN, NAN, NAN, NAN),
        ("pump", "load", 1, "heat_pump", 0.004, NAN, 0.0003, 0.015, 3.0),
        ("car", "load", 2, "electric_car", 0.011, 0.014, NAN, NAN, NAN),
        ("roof", "sgen", 0, "pv", 0.010, NAN, NAN, NAN, NAN),
        ("cell", "storage", 0, "battery", 0.010, 0.020, NAN, NAN, NAN),
    ],
    columns=["asset", "element", "index", "kind", "p_rated_mw", "e_rated_mwh", "ua_mw_per_k", "c_mwh_per_k", "cop"],
).set_index("asset")
TWIN = SimpleNamespace(assets=ASSETS)
FLEXIBLE = ["pump", "car", "roof", "cell"]
BIDS = (
    Reserve(name="far", direction="up", kw=4, price_eur_per_mwh=200),
    Reserve(name="near", direction="up", kw=3, price_eur_per_mwh=90, ramp_kw_per_min=0.2),
    Reserve(name="low", direction="down", kw=3, price_eur_per_mwh=10),
    Reserve(name="high", direction="down", kw=1, price_eur_per_mwh=30),
)
CLOSES = 1e-9
"""MWh and MW: sums of some thousand terms below 1."""


class Case:
    """Plan and reality of one area; change the arrays, then run."""

    def __init__(self, axis: TimeAxis = DAY) -> None:
        self.axis = axis
        self.mean = np.tile([0.003, 0.001, 0.0, -0.002, 0.0], (axis.length, 1))
        self.real = self.mean.copy()
        self.scheduled = self.mean[:, 1:].copy()
        self.base = self.scheduled.copy()
        self.e_plan = np.full((axis.length, 4), NAN)
        self.sessions = empty_sessions()
        self.price = np.full(axis.length, 60.0)

    def session(self, arrival: float, departure: float, e_mwh: float) -> None:
        """Hours after the start of the axis."""
        stamps = [self.axis.start + pd.Timedelta(hours=h) for h in (arrival, departure)]
        row = pd.DataFrame({"asset": ["car"], "arrival": stamps[:1], "departure": stamps[1:], "e_mwh": [e_mwh]})
        self.sessions = row if not len(self.sessions) else pd.concat([self.sessions, row], ignore_index=True)

    def schedule(self) -> xr.Dataset:
        dims = ("time", "asset")
        return xr.Dataset(
            {"p_mw": (dims, self.scheduled), "p_base_mw": (dims, self.base), "e_mwh": (dims, self.e_plan)},
            coords={"time": self.axis.times, "asset": FLEXIBLE},
            attrs={"zone": ZONE},
        )

    def run(self, *, prices: bool = True, reserve=BIDS, flexibility: Flexibility | None = None, **settings):
        forecast = xr.Dataset(
            {
                "p_mean_mw": (("time", "asset"), self.mean),
                "p_mw": (("path", "time", "asset"), self.mean[None]),
                "q_mvar": (("path", "time", "asset"), 0 * self.mean[None]),
            },
            coords={"time": self.axis.times, "asset": list(ASSETS.index)},
        )
        realised = build_profiles(self.axis, ASSETS, self.real, 0.5 * self.real)
        day_ahead = xr.Dataset({"price_eur_per_mwh": ("time", self.price)}, coords={"time": self.axis.times})
        return run_balancing(
            TWIN,
            self.schedule(),
            forecast,
            realised,
            self.sessions,
            day_ahead if prices else None,
            Balancing(reserve=reserve, **settings),
            flexibility or Flexibility(),
        )


def busy_case(axis: TimeAxis = DAY, seed: int = 3) -> Case:
    """Everything deviates, the reserves are exhausted now and then."""
    rng = np.random.default_rng(seed)
    case = Case(axis)
    case.real = case.mean + rng.normal(0, 0.004, case.mean.shape)
    case.real[:, 1] = np.clip(case.real[:, 1], 0, 0.004)
    case.real[:, 3] = np.minimum(case.real[:, 3], 0)
    case.scheduled[:, 0] = np.clip(case.base[:, 0] + rng.normal(0, 0.001, axis.length), 0, 0.004)
    case.scheduled[68:80, 1] = 0.004
    case.scheduled[48:52, 2] = -0.001
    case.scheduled[:, 3] = rng.uniform(-0.004, 0.004, axis.length)
    case.session(17.1, 22.3, 0.013)
    case.session(-3.0, 1.25, 0.036)
    case.sessions = case.sessions.sort_values("arrival", ignore_index=True)
    return case


@pytest.mark.parametrize("axis", [DAY, LONG_DAY], ids=["96", "100"])
@pytest.mark.parametrize("step_seconds", [15, 60, 900])
def test_every_interval_closes(axis: TimeAxis, step_seconds: int) -> None:
    result = busy_case(axis).run(step_seconds=step_seconds)
    table = result.settlement
    assert len(table) == axis.length
    balance = -(table["battery_mwh"] + table["reserve_mwh"]) + table["residual_mwh"]
    np.testing.assert_allclose(table["deviation_mwh"], balance, rtol=0, atol=CLOSES)
    np.testing.assert_allclose(table["reserve_mwh"], table["down_mwh"] - table["up_mwh"], rtol=0, atol=CLOSES)
    bids = sum(table[f"activated_{bid.name}_mwh"] for bid in BIDS)
    np.testing.assert_allclose(bids, table["up_mwh"] + table["down_mwh"], rtol=0, atol=CLOSES)
    money = table["plan_eur"] + table["reserve_eur"] + table["imbalance_eur"]
    np.testing.assert_allclose(table["total_eur"], money, rtol=0, atol=CLOSES)
    assert (table[["up_mwh", "down_mwh", "imbalance_eur"]].sum() > 0).all(), "the case must call everything"


@pytest.mark.parametrize("axis", [DAY, LONG_DAY], ids=["96", "100"])
def test_deviation_is_what_assets_do_beyond_the_plan(axis: TimeAxis) -> None:
    case = busy_case(axis)
    result = case.run()
    planned = case.mean[:, 0] + case.scheduled.sum(axis=1)
    actual = result.actual["p_mw"].sum("asset").to_numpy()
    table = result.settlement
    np.testing.assert_allclose(table["plan_mwh"], planned / 4, rtol=0, atol=CLOSES)
    np.testing.assert_allclose(
        actual - planned, 4 * (table["deviation_mwh"] + table["battery_mwh"]), rtol=0, atol=CLOSES
    )
    causes = result.dataset["p_cause_mw"].sum("cause")
    np.testing.assert_allclose(causes, result.dataset["p_deviation_mw"], rtol=0, atol=CLOSES)
    assert tuple(result.dataset["cause"].to_numpy()) == CAUSES


def test_totals_are_the_sums_of_the_table() -> None:
    result = busy_case().run()
    table, totals = result.settlement, result.totals
    assert totals["total_cost_eur"] == pytest.approx(table["total_eur"].sum(), abs=CLOSES)
    assert totals["upward_reserve_mwh"] == pytest.approx(table["up_mwh"].sum(), abs=CLOSES)
    assert totals["absolute_residual_mwh"] >= abs(totals["net_residual_mwh"])


def test_nothing_deviates_where_reality_is_the_plan() -> None:
    result = Case().run()
    assert np.abs(result.dataset["p_deviation_mw"]).max() < 1e-15
    assert result.settlement[["up_mwh", "down_mwh", "imbalance_eur"]].to_numpy().max() < 1e-12
    assert not result.findings and not len(result.unmet)


def test_a_deficit_calls_upward_bids_in_merit_order() -> None:
    # 5 kW more than planned, empty battery: near (90 EUR/MWh) ramps by 0.2 kW a minute, far covers the rest
    case = Case()
    case.real[:, 0] += 0.005
    result = case.run(flexibility=Flexibility(battery_start=0.0))
    power = result.dataset["p_activated_mw"].to_pandas()
    assert list(power.columns) == ["near", "far", "high", "low"]
    np.testing.assert_allclose(power["near"].iloc[:5], [2e-4, 4e-4, 6e-4, 8e-4, 1e-3], rtol=0, atol=1e-15)
    np.testing.assert_allclose(power.iloc[-1], [0.003, 0.002, 0, 0], rtol=0, atol=1e-15)
    assert (result.dataset["p_reserve_mw"] < 0).all(), "upward reserve injects"
    last = result.settlement.iloc[-1]
    # 0.75 kWh at 90 and 0.5 kWh at 200 EUR/MWh
    assert last["reserve_eur"] == pytest.approx(0.75e-3 * 90 + 0.5e-3 * 200, abs=1e-12)


def test_a_surplus_is_paid_for_by_downward_bids() -> None:
    # 3 kW less than planned, full battery: high 1 kW at 30, low 2 kW at 10 EUR/MWh, both received
    case = Case()
    case.real[:, 0] -= 0.003
    result = case.run(flexibility=Flexibility(battery_start=1.0))
    row = result.settlement.iloc[-1]
    assert row["reserve_eur"] == pytest.approx(-(0.25e-3 * 30 + 0.5e-3 * 10), abs=1e-12)
    assert row["up_mwh"] == 0 and row["residual_mwh"] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("price", "expected"), [(60.0, 90.0), (10.0, 50.0), (-100.0, 150.0)])
def test_what_stays_unbalanced_is_priced_either_way(price: float, expected: float) -> None:
    for sign in (1, -1):
        case = Case()
        case.price[:] = price
        case.real[:, 0] += sign * 0.004
        result = case.run(reserve=(), battery_share=0.0)
        row = result.settlement.iloc[0]
        assert row["residual_mwh"] == pytest.approx(sign * 0.001, abs=1e-15)
        assert row["imbalance_price_eur_per_mwh"] == expected
        assert row["imbalance_eur"] == pytest.approx(0.001 * expected, abs=1e-12)


def test_without_prices_costs_are_missing_and_not_zero() -> None:
    result = busy_case().run(prices=False)
    assert result.settlement[["plan_eur", "imbalance_eur", "total_eur"]].isna().all().all()
    assert np.isnan(result.totals["total_cost_eur"]) and np.isnan(result.totals["imbalance_cost_eur"])
    assert result.settlement["reserve_eur"].notna().all(), "bids carry their own prices"
    assert any("missing" in finding.what for finding in result.findings)


def test_a_battery_covers_a_deficit_but_keeps_the_energy_of_its_schedule() -> None:
    # 2 kW more than planned for 3 h, 10 kWh in the battery, 8 kWh of them for the evening: it gives 2 kW for one
    # hour and lets the rest be; the discharge of the evening is what was planned
    case = Case()
    case.real[:12, 0] += 0.002
    case.scheduled[40:44, 3] = -0.008
    case.e_plan[:, 3] = 0.010 - np.cumsum(-case.scheduled[:, 3]) / 4
    result = case.run(reserve=(), flexibility=Flexibility(battery_efficiency=1.0))
    data = result.dataset
    support, residual = data["p_support_mw"].isel(battery=0).to_numpy(), data["p_residual_mw"].to_numpy()
    np.testing.assert_allclose(support[:60], -0.002, atol=1e-12)
    np.testing.assert_allclose(residual[60:180], 0.002, atol=1e-12)
    assert data["e_mwh"].isel(time=12 * 15 - 1, battery=0) == pytest.approx(0.008, abs=1e-12)
    np.testing.assert_allclose(result.actual["p_mw"].sel(asset="cell").to_numpy()[40:44], -0.008, atol=1e-12)
    np.testing.assert_allclose(data["p_cause_mw"].sel(cause="battery"), 0, atol=1e-12)
    # the plan ended at 2 kWh, reality at 0
    assert result.totals["battery_energy_above_plan_mwh"] == pytest.approx(-0.002, abs=1e-12)


def test_battery_energy_is_conserved_over_the_long_day() -> None:
    result = busy_case(LONG_DAY).run()
    power, eta = result.actual["p_mw"].sel(asset="cell"), np.sqrt(0.92)
    support = result.dataset["p_support_mw"].isel(battery=0).to_numpy()
    e = np.r_[0.010, result.dataset["e_mwh"].isel(battery=0).to_numpy()]
    change = np.diff(e)
    fine = np.where(change > 0, change / eta, change * eta) * 60
    np.testing.assert_allclose(fine.reshape(-1, 15).mean(axis=1), power, rtol=0, atol=CLOSES)
    assert e.min() >= 0 and e.max() <= 0.020
    assert np.abs(support).max() <= 0.005 + 1e-15, "half of the rating may leave the schedule"


def test_a_car_charges_within_its_real_session_only() -> None:
    case = Case()
    case.scheduled[72:84, 1] = 0.004  # 18:00 to 21:00, 12 kWh
    case.session(19.0, 23.5, 0.012)  # an hour late
    result = case.run()
    power = result.actual["p_mw"].sel(asset="car").to_numpy()
    assert not power[:76].any() and not power[94:].any()
    assert power.sum() / 4 == pytest.approx(0.012, abs=1e-12)
    assert result.totals["energy_not_delivered_mwh"] == 0


def test_energy_that_does_not_fit_is_reported_with_its_price() -> None:
    case = Case()
    case.session(10.0, 11.0, 0.015)  # one hour at 11 kW
    result = case.run()
    row = result.unmet.iloc[0]
    assert (row["asset"], row["what"], row["unit"]) == ("car", "energy not delivered", "kWh")
    assert row["amount"] == pytest.approx(4.0, abs=1e-9)
    assert result.totals["energy_not_delivered_mwh"] == pytest.approx(0.004, abs=1e-12)
    assert row["cost_eur"] == pytest.approx(8.0, abs=1e-9)  # 4 kWh at 2 EUR/kWh
    assert any("cars left" in finding.what for finding in result.findings)


def test_a_session_from_before_the_study_has_charged_already() -> None:
    # plugged in one hour before at 11 kW: 11 of 13 kWh are in, 2 kWh are left for two hours
    case = Case()
    case.session(-1.0, 2.0, 0.013)
    power = case.run().actual["p_mw"].sel(asset="car").to_numpy()
    assert power.sum() / 4 == pytest.approx(0.002, abs=1e-12)
    np.testing.assert_allclose(power[:8], 0.001, rtol=0, atol=1e-12)


def test_a_session_beyond_the_end_charges_the_part_that_is_due() -> None:
    case = Case()
    case.session(18.0, 30.0, 0.012)
    result = case.run()
    assert result.actual["p_mw"].sel(asset="car").sum() / 4 == pytest.approx(0.006, abs=1e-12)
    assert result.totals["energy_to_charge_after_the_study_mwh"] == pytest.approx(0.006, abs=1e-12)


def test_curtailment_caps_real_feed_in() -> None:
    case = Case()
    case.real[:, 3] = -0.006
    case.scheduled[40:44, 2] = -0.001
    case.real[42, 3] = -0.0005
    power = case.run().actual["p_mw"].sel(asset="roof").to_numpy()
    np.testing.assert_allclose(power[39:45], [-0.006, -0.001, -0.001, -0.0005, -0.001, -0.006], rtol=0, atol=1e-15)


def test_a_heat_pump_is_shifted_and_its_room_guarded() -> None:
    # +3 kW with a COP of 3 into 15 kWh/K: 0.6 K an hour; the guard of 2 K holds after some four hours,
    # then only the losses of 0.3 kW/K * 2 K / 3 = 0.2 kW are replaced
    case = Case()
    case.scheduled[:, 0] = 0.004
    result = case.run(flexibility=Flexibility(override_kelvin=2))
    power = result.actual["p_mw"].sel(asset="pump").to_numpy()
    assert power[0] == pytest.approx(0.004, abs=1e-12)
    assert power[-1] == pytest.approx(0.0012, abs=1e-6)
    row = result.unmet.iloc[0]
    assert row["what"] == "comfort" and row["unit"] == "K h"
    assert 15 < row["amount"] < 24, "about a day, less the hours of warming, at 1 K beyond comfort"


def test_reality_follows_the_schedule_as_the_forecast_paths_do() -> None:
    # the meaning of a schedule against another reality is one: that of `apply_schedule`
    case = busy_case()
    case.scheduled[:, 3] = 0.0
    realised = build_profiles(case.axis, ASSETS, case.real, 0.5 * case.real)
    expected = apply_schedule(TWIN, realised, case.schedule()).isel(path=0)
    actual = case.run(battery_share=0.0, flexibility=Flexibility(comfort_kelvin=5, override_kelvin=10)).actual
    for asset in ("house", "pump", "roof", "cell"):
        for name in ("p_mw", "q_mvar"):
            got, wanted = actual[name].sel(asset=asset), expected[name].sel(asset=asset)
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12, err_msg=f"{name} of {asset}")
    assert np.abs(actual["p_mw"] - realised["p_mw"]).sel(asset=["pump", "roof"]).max("time").min() > 1e-4


def test_reactive_power_and_quality_follow() -> None:
    result = busy_case().run()
    actual = check_profiles(result.actual)
    ratio = (actual["q_mvar"] / actual["p_mw"]).sel(asset="pump")
    np.testing.assert_allclose(ratio.where(actual["p_mw"].sel(asset="pump") > 1e-6, 0.5), 0.5, rtol=0, atol=1e-9)
    assert (actual["quality"].sel(asset="house") == 0).all() and (actual["quality"].sel(asset="car") == 2).all()


def test_steps_and_order_of_bids_do_not_change_energy() -> None:
    case = busy_case()
    one, other = case.run(), case.run(reserve=BIDS[::-1])
    columns = [name for name in one.settlement if "activated" in name]
    pd.testing.assert_frame_equal(one.settlement[columns], other.settlement[columns], check_like=True)


def test_all_faults_are_told_at_once() -> None:
    case = busy_case()
    case.real[5, 0] = NAN
    case.session(17.5, 18.0, 0.001)
    with pytest.raises(DataError) as caught:
        case.run(reserve=(BIDS[0], BIDS[0]))
    text = str(caught.value)
    assert "house" in text and "overlap" in text and "share a name" in text


def test_series_of_cars_and_batteries_are_not_read() -> None:
    case = busy_case()
    with_values = case.run()
    case.real[:, [2, 4]] = NAN
    without = case.run()
    xr.testing.assert_equal(with_values.dataset, without.dataset)
    assert without.actual["q_mvar"].notnull().all()


def test_wind_is_held_under_its_cap_like_pv() -> None:
    """The same case with a turbine instead of the roof: every number is the same, under another name."""
    roof, turbine = busy_case().run(), None
    with pytest.MonkeyPatch.context() as patch:
        wind = ASSETS.copy()
        wind.loc["roof", "kind"] = "wind"
        patch.setattr(TWIN, "assets", wind)
        turbine = busy_case().run()
    np.testing.assert_array_equal(turbine.actual["p_mw"], roof.actual["p_mw"])
    causes = turbine.dataset["p_cause_mw"]
    np.testing.assert_array_equal(causes.sel(cause="wind"), roof.dataset["p_cause_mw"].sel(cause="pv"))
    assert not causes.sel(cause="pv").any() and causes.sel(cause="wind").any()
