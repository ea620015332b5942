"""Forecasts in grid money: one line by hand, a SimBench network for order and identities."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.charging_sessions import empty_sessions
from gridtwin.data.profiles import build_profiles
from gridtwin.data.rules import read_rules
from gridtwin.errors import DataError
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import build_twin
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.report.forecast_money import MONEY_COLUMNS, choose_model, overload_energy, value_forecasts
from gridtwin.report.lived_cost import OUTPUTS, Operation, energy_cost
from gridtwin.scenario import Balancing, Flexibility
from gridtwin.time_axis import TimeAxis
from tests.optimize.conftest import OneLine


def reality_of(case: OneLine) -> xr.Dataset:
    """The first path of a case as realised profiles."""
    twin = case.twin
    power = case.forecast(twin)["p_mw"].to_numpy()[0]
    return build_profiles(case.axis, twin.assets, power, 0 * power)


def value(case: OneLine, real: OneLine, settings: Flexibility | None = None) -> pd.DataFrame:
    twin = case.twin
    return value_forecasts(
        twin, {"model": case.forecast(twin), "truth": real.forecast(twin)}, reality_of(real), prices=real.prices,
        declared=empty_sessions(), sessions=empty_sessions(), flexibility=settings or Flexibility(),
        balancing=Balancing(),
    )  # fmt: skip


def test_needless_curtailment_by_hand() -> None:
    """A line of 4 kW. Told: 10 kW of sun, 1 kW of load; PV is capped at 5 kW. It came: 8 kW of sun, 5 kW of load."""
    told, real = (OneLine(line_kw=4, pv_kw={"roof": sun}, load_kw=load) for sun, load in ((10.0, 1.0), (8.0, 5.0)))
    table = value(told, real)
    row = table.loc["model"]
    # all within 2 %: the cable loses up to 1 %, and a plan keeps 0.1 % away from its limit
    about = {"rel": 0.02, "abs": 0.05}
    assert row["needless_dimming_mwh"] == pytest.approx(0.003 * 24, **about)
    assert row["needless_dimming_eur"] == pytest.approx(0.15 * 72, **about)
    assert row["curtailment_eur"] == pytest.approx(0.15 * 72, **about)
    assert row["false_overload_mwh"] == pytest.approx(0.005 * 24, **about)
    assert row["missed_overload_mwh"] == 0
    # nothing is drawn; with foresight 3 kW are sold at 0.10 EUR/kWh
    assert row["energy_eur"] == pytest.approx(0, abs=0.2)
    assert row["regret_eur"] == pytest.approx(0.15 * 72 + 0.1 * 72, **about)
    # programme -4 kW, it came 0: 96 kWh at 150 EUR/MWh, of which 100 EUR/MWh are the energy itself
    assert row["deviation_mwh"] == pytest.approx(0.096, **about)
    assert row["imbalance_eur"] == pytest.approx(0.096 * 50, **about)
    assert row["total_eur"] == pytest.approx(row["regret_eur"] + row["imbalance_eur"])
    # the truth costs nothing, and is chosen
    truth = table.loc["truth"]
    assert truth[["regret_eur", "imbalance_eur", "needless_dimming_mwh"]].tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert choose_model(table) == "truth"


def test_a_missed_overload_by_hand() -> None:
    """A line of 10 kW. Told: 8 kW; it came: 15 kW, and nothing can help."""
    told, real = OneLine(line_kw=10, load_kw=8.0), OneLine(line_kw=10, load_kw=15.0)
    row = value(told, real).loc["model"]
    assert row["missed_overload_mwh"] == pytest.approx(0.005 * 24, rel=0.02)
    assert row["missed_overload_eur"] == pytest.approx(20 * 5 * 24, rel=0.02)
    assert row["breach_eur"] == pytest.approx(20 * 5 * 24, rel=0.02)
    assert row["regret_eur"] == pytest.approx(0, abs=1e-6)  # foresight could do nothing either
    assert row["imbalance_eur"] == pytest.approx(0.007 * 24 * 50)


def test_foreseen_is_what_the_agreed_share_of_paths_stays_below() -> None:
    told = OneLine(line_kw=10, load_kw=10.0, path_factors=(0.5, 0.8, 1.2, 1.4, 1.5))
    real = OneLine(line_kw=10, load_kw=13.0)
    flows = [run_power_flow(case.twin, case.forecast(case.twin), outputs=OUTPUTS) for case in (told, real)]
    for confidence, foreseen_kw in ((0.5, 12.0), (0.75, 14.0), (0.99, 15.0)):
        missed, false = overload_energy(told.twin, *flows, confidence, 0.25)
        assert missed == pytest.approx(max(13.0 - foreseen_kw, 0) / 1000 * 24, rel=0.03, abs=1e-9)
        assert false == pytest.approx(max(foreseen_kw - 13.0, 0) / 1000 * 24, rel=0.03, abs=1e-9)
    collapsed = flows[0].copy(deep=True)
    collapsed["loading_percent"][2:, 5] = np.nan
    collapsed["status"][2:, 5] = 1
    ahead = overload_energy(told.twin, flows[0], flows[1], 0.5, 0.25)
    # a collapse in half of the paths is foreseen as the worst: nothing is missed there, and nothing is told wrongly
    missed, false = overload_energy(told.twin, collapsed, flows[1], 0.5, 0.25)
    assert missed == pytest.approx(ahead[0] * 95 / 96) and false == ahead[1] == 0


def test_fees_and_the_peak_are_paid() -> None:
    case = OneLine(load_kw=5.0)
    twin, real = case.twin, reality_of(case)
    settings = Flexibility(grid_fee_eur_per_kwh=0.1, peak_price_eur_per_kw=10, price_losses=False)
    operation = Operation(twin, real, case.prices, empty_sessions(), empty_sessions(), settings, Balancing())
    cost = energy_cost(operation, real, run_power_flow(twin, real, outputs=OUTPUTS))
    assert cost == pytest.approx(24 * 5 * (0.1 + 0.1) + 10 * 5)


def test_forecasts_that_do_not_fit_raise() -> None:
    case = OneLine(load_kw=5.0)
    twin, real = case.twin, reality_of(case)
    rest = {"prices": None, "declared": empty_sessions(), "sessions": empty_sessions(),
            "flexibility": Flexibility(), "balancing": Balancing()}  # fmt: skip
    told = case.forecast(twin)
    with pytest.raises(DataError, match="no forecast"):
        value_forecasts(twin, {}, real, **rest)
    with pytest.raises(DataError, match="different times"):
        value_forecasts(twin, {"a": told, "b": told.isel(time=slice(0, 48))}, real, **rest)
    with pytest.raises(DataError, match="not known throughout"):
        value_forecasts(twin, {"a": told}, real.isel(time=slice(0, 48)), **rest)
    table = pd.DataFrame({"total_eur": [3.0, 2.0, np.nan], "regret_eur": np.nan}, index=["a", "b", "c"])
    assert choose_model(table) == "b"
    for column in ("regret_eur", "no such column"):
        with pytest.raises(DataError, match="no model can be chosen"):
            choose_model(table, by=column)


@pytest.fixture(scope="module")
def village() -> pd.DataFrame:
    """A sunny day with a third more PV than SimBench's village has; three forecasts of it."""
    net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
    twin = build_twin(net, rules=read_rules("lv_planning"))
    day = TimeAxis.of_days(dt.date(2016, 5, 20), 1, "Europe/Berlin")
    real = profiles.sel(time=day.times, asset=twin.assets.index.to_numpy(dtype=str))
    sunny = (real["kind"] == "pv").to_numpy()
    real = real.assign(p_mw=real["p_mw"] * np.where(sunny, 1.33, 1.0))

    def told(pv_factor: float) -> xr.Dataset:
        spread = xr.DataArray([0.96, 0.98, 1.0, 1.02, 1.04], dims="path")
        factor = xr.where(real["kind"] == "pv", pv_factor, 1.0)
        paths = {name: (real[name] * factor * spread).transpose("path", "time", "asset") for name in ("p_mw", "q_mvar")}
        return xr.Dataset(paths, attrs=real.attrs).assign(p_mean_mw=paths["p_mw"].mean("path"))

    return value_forecasts(
        twin, {"cloudy": told(0.4), "right": told(1.0), "glaring": told(1.5)}, real, prices=None,
        declared=empty_sessions(), sessions=empty_sessions(),
        flexibility=Flexibility(kinds=("pv",), existing=("pv",)), balancing=Balancing(),
    )  # fmt: skip


def test_the_right_forecast_is_worth_most(village: pd.DataFrame) -> None:
    assert choose_model(village) == "right"
    assert village.loc["cloudy", "missed_overload_mwh"] > 0.01 > village.loc["right", "missed_overload_mwh"]
    assert village.loc["glaring", "false_overload_mwh"] > village.loc["right", "false_overload_mwh"]
    assert village.loc["cloudy", "breach_eur"] > 10 * village.loc["right", "breach_eur"]
    assert village["regret_eur"].loc["right"] < village["regret_eur"].loc[["cloudy", "glaring"]].min()
    assert (village["unsolved_steps"] == 0).all()


def test_the_parts_add_up(village: pd.DataFrame) -> None:
    assert list(village) == list(MONEY_COLUMNS) and village.notna().all(axis=None)
    parts = ["energy_eur", "breach_eur", "unmet_eur", "curtailment_eur", "wear_eur", "deferred_eur"]
    np.testing.assert_allclose(village[parts].sum(axis=1), village["schedule_eur"])
    perfect = village.attrs["perfect_foresight"]
    np.testing.assert_allclose(village["schedule_eur"] - perfect["schedule_eur"], village["regret_eur"], atol=1e-9)
    assert perfect["breach_eur"] == 0 and perfect["imbalance_eur"] == pytest.approx(0, abs=1e-9)
