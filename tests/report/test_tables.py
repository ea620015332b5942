"""Tables: quantiles by hand, signs, units, local times over a clock change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU
from gridtwin.report.key_figures import split_unit
from gridtwin.report.layout import place_buses, tree_layout
from gridtwin.report.results import CASES, StudyResults
from gridtwin.report.statistics import agreed_over_paths, mean_over_paths, quantiles_over_paths, share_over_paths
from gridtwin.report.tables import build_tables

UNITLESS = {"probability_over_limit", "probability_outside_limits", "probability"}


@pytest.fixture(scope="module")
def tables(results: StudyResults) -> dict[str, pd.DataFrame]:
    return build_tables(results)


def test_quantiles_leave_diverged_paths_out() -> None:
    values = np.random.default_rng(3).normal(size=(11, 40))
    values[2:7, ::3] = np.nan
    values[:, 5] = np.nan
    expected = np.nanquantile(np.delete(values, 5, axis=1), (0.05, 0.5, 0.95), axis=0)
    found = quantiles_over_paths(values, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(np.delete(found, 5, axis=1), expected, rtol=1e-12)
    assert np.isnan(found[:, 5]).all()


def test_the_agreed_share_of_paths_is_counted_not_interpolated() -> None:
    """Of 10 paths at 90 % one may lie above: the second largest is what is kept to; of 7 none may."""
    assert agreed_over_paths(np.arange(10.0), 0.9) == 8
    assert agreed_over_paths(np.arange(7.0), 0.9) == 6
    assert agreed_over_paths(np.array([1.0, 2.0, np.nan]), 0.5) == 1
    assert agreed_over_paths(np.array([5.0]), 0.9) == 5


def test_means_and_shares_count_only_known_paths() -> None:
    values = np.array([[1.0], [3.0], [np.nan]])
    assert mean_over_paths(values)[0] == 2.0
    assert share_over_paths(values > 2, values)[0] == 0.5
    assert np.isnan(mean_over_paths(np.full((2, 1), np.nan))[0])


def test_group_quantiles_are_of_summed_paths(results: StudyResults, tables: dict[str, pd.DataFrame]) -> None:
    """The 95 % quantile of the total is below the sum of the assets' 95 % quantiles: paths are summed first."""
    fan = tables["forecast_fan"].query("group == 'total'")
    by_hand = np.quantile(results.forecast["p_mw"].to_numpy().sum(axis=-1), 0.95, axis=0)
    np.testing.assert_allclose(fan["p_p95_mw"], by_hand, rtol=1e-12)
    separate = tables["asset_power"].groupby("time_utc")["p_p95_mw"].sum()
    assert fan["p_p95_mw"].mean() < 0.99 * separate.mean()


def test_tables_keep_the_sign_of_the_stages(tables: dict[str, pd.DataFrame]) -> None:
    """PV is negative in tables; only the page shows it as positive generation."""
    pv = tables["forecast_fan"].query("group == 'pv'")
    assert pv["p_mean_mw"].min() < -0.01
    assert pv["p_mean_mw"].max() < 1e-12


def test_schedule_is_in_kw_and_kwh(results: StudyResults, tables: dict[str, pd.DataFrame]) -> None:
    row = tables["schedule"].query("asset == 'battery B'").set_index("time_utc")
    assert results.schedule is not None
    series = results.schedule["p_mw"].sel(asset="battery B").to_series()
    np.testing.assert_allclose(row["p_scheduled_kw"], 1e3 * series)
    assert set(row["bus"]) == {"B"}


def test_every_case_has_its_band(results: StudyResults, tables: dict[str, pd.DataFrame]) -> None:
    table = tables["branch_loading"]
    assert list(table["case"].unique()) == list(CASES)
    one = table.query("branch == 'trafo 1' and case == 'forecast'")
    loading = results.power_flows["forecast"]["loading_percent"].sel(branch="trafo 1").to_numpy()
    np.testing.assert_allclose(one["loading_p95_percent"], np.quantile(loading, 0.95, axis=0))
    np.testing.assert_allclose(one["probability_over_limit"], (loading > 100 + LOADING_TOLERANCE_PERCENT).mean(axis=0))


def test_local_times_stand_beside_utc(tables: dict[str, pd.DataFrame]) -> None:
    for name in ("branch_loading", "schedule", "congestions", "unmet", "settlement", "balancing"):
        table = tables[name]
        utc = [column for column in table if str(column).endswith("_utc")]
        assert utc, name
        for column in utc:
            local = table[str(column).removesuffix("_utc") + "_local"]
            assert (local.dt.tz_convert("UTC").dt.tz_localize(None) == table[column]).all()


def test_every_number_of_a_series_has_its_unit(tables: dict[str, pd.DataFrame]) -> None:
    units = ("_mw", "_kw", "_mwh", "_kwh", "_pu", "_percent", "_eur", "_eur_per_mwh", "_celsius")
    for name in ("branch_loading", "bus_voltage", "forecast_fan", "asset_power", "schedule", "schedule_by_kind",
                 "balancing", "activation", "battery_energy", "settlement", "prices"):  # fmt: skip
        numbers = tables[name].select_dtypes("number").columns
        assert all(str(column).endswith(units) or column in UNITLESS for column in numbers), (name, list(numbers))


def test_balancing_is_the_mean_of_the_quarter_hour(results: StudyResults, tables: dict[str, pd.DataFrame]) -> None:
    table = tables["balancing"]
    assert results.balancing is not None
    fine = results.balancing["p_deviation_mw"].to_numpy().reshape(-1, 3).mean(axis=1)
    np.testing.assert_allclose(table["p_deviation_mw"], fine)
    causes = table["cause_inflexible_mw"] + table["cause_electric_car_mw"]
    np.testing.assert_allclose(causes, table["p_deviation_mw"], atol=1e-15)
    assert set(tables["activation"]["name"]) == {"battery B"}, "what never acts is left out"


def test_a_day_of_clock_change_has_92_rows(make_study) -> None:  # type: ignore[no-untyped-def]
    table = build_tables(make_study(first_day="2016-03-27", paths=3))["forecast_fan"].query("group == 'total'")
    hours = table["time_local"].dt.hour
    assert len(table) == 92
    assert 2 not in set(hours)


def test_what_was_not_asked_for_has_no_table(make_study) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import replace

    nothing = pd.DataFrame()
    bare = replace(
        make_study(paths=3), schedule=None, balancing=None, actual=None, prices=None, unmet=nothing,
        unmet_realised=nothing, settlement=nothing, connections=nothing, observation=nothing,
    )  # fmt: skip
    names = set(build_tables(bare))
    assert not names & {"schedule", "balancing", "settlement", "prices", "unmet", "connections", "observation"}
    assert {"branch_loading", "summary", "buses"} <= names


def test_key_figures_by_hand(results: StudyResults, tables: dict[str, pd.DataFrame]) -> None:
    summary = tables["summary"].set_index(["name", "case"])
    flow = results.power_flows["forecast"]
    loading, voltage = flow["loading_percent"].to_numpy(), flow["vm_pu"].to_numpy()
    low, high = 0.94 - VOLTAGE_TOLERANCE_PU, 1.06 + VOLTAGE_TOLERANCE_PU
    overloaded = (loading > 100 + LOADING_TOLERANCE_PERCENT).any(axis=-1)
    over = overloaded | ((voltage < low) | (voltage > high)).any(axis=-1)
    hours = over.sum() / 20 / 4  # 20 paths, 4 steps per hour
    assert summary.loc[("hours with a limit violated", "forecast"), "value"] == pytest.approx(hours)
    risk = summary.loc[("probability of a limit violation in the study", "forecast")]
    assert risk["value"] == pytest.approx(100 * over.any(axis=1).mean())
    assert (risk["unit"], risk["kind"]) == ("%", "estimated")
    assert results.prices is not None
    cost = (flow["p_slack_mw"].mean("path") * results.prices["price_eur_per_mwh"]).sum() / 4
    row = summary.loc[("day-ahead value of energy from upstream", "forecast")]
    assert row["value"] == pytest.approx(float(cost))
    assert row["kind"] == "assumed", "the prices of this study are assumed, so their product is"


def test_unit_of_a_name() -> None:
    assert split_unit("imbalance_cost_eur") == ("imbalance cost", "EUR")
    assert split_unit("imbalance_price_eur_per_mwh") == ("imbalance price", "EUR/MWh")
    assert split_unit("rounds") == ("rounds", "-")


def test_a_tree_is_drawn_without_coordinates(results: StudyResults) -> None:
    buses = results.twin.buses.assign(x=np.nan)
    placed = place_buses(buses, results.twin.branches)
    assert set(placed["place"]) == {"computed"}
    assert placed.loc["MV", "y"] > placed.loc["LV", "y"] > placed.loc["A", "y"] > placed.loc["B", "y"]
    assert len(set(zip(placed["x"], placed["y"], strict=True))) == len(placed), "no two buses on one spot"
    assert set(place_buses(results.twin.buses, results.twin.branches)["place"]) == {"given"}


def test_islands_and_rings_have_a_place_too() -> None:
    buses = pd.DataFrame({"vn_kv": [20.0, 0.4, 0.4, 0.4]}, index=["a", "b", "c", "island"])
    ring = pd.DataFrame({"from_bus": ["a", "b", "c"], "to_bus": ["b", "c", "a"]})
    layout = tree_layout(buses, ring)
    assert np.isfinite(layout["x"]).all()
    assert np.isfinite(layout["y"]).all()
    assert len(set(layout["x"][layout["y"] == 0])) == 2, "the island stands beside the tree"
