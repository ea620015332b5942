"""Scores against numbers by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.forecast.reliability import score_reliability
from gridtwin.forecast.score_rules import pinball_loss
from gridtwin.forecast.scores import SCORES, aggregate_quantiles, coverage_percent, score_forecast

LEVELS = [0.1, 0.5, 0.9]


def small_forecast(kind: tuple[str, str] = ("household", "commercial")) -> xr.Dataset:
    """Two assets, four quarter hours from local midnight; three equal-weighted paths."""
    times = pd.date_range("2016-06-30 22:00", periods=4, freq="15min", unit="ns")
    low, middle, high = np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([3.0, 6.0])
    paths = np.stack([np.tile(values, (4, 1)) for values in (low, middle, high)])
    return xr.Dataset(
        {
            "p_mw": (("path", "time", "asset"), paths),
            "p_quantile_mw": (("quantile", "time", "asset"), paths),
            "p_mean_mw": (("time", "asset"), paths.mean(axis=0)),
            "p_naive_mw": (("time", "asset"), np.tile([4.0, 4.0], (4, 1))),
        },
        coords={
            "time": times,
            "asset": ["a", "b"],
            "quantile": LEVELS,
            "kind": ("asset", list(kind)),
            "status": ("asset", ["forecast", "forecast"]),
        },
        attrs={"zone": "Europe/Berlin", "step": "PT15M"},
    )


def outcome(forecast: xr.Dataset, a: list[float], b: list[float]) -> xr.Dataset:
    return xr.Dataset(
        {"p_mw": (("time", "asset"), np.column_stack([a, b]))},
        coords={"time": forecast["time"], "asset": forecast["asset"]},
        attrs=forecast.attrs,
    )


def test_scores_of_one_asset_by_hand() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0, 3.0, 4.0, 1.0], [4.0] * 4)).set_index("name")
    row = scores.loc["a"]
    assert row["steps"] == 4
    assert row["mae_mw"] == pytest.approx(1.0)  # |2-2| |3-2| |4-2| |1-2| = 0 1 2 1
    assert row["mae_naive_mw"] == pytest.approx(1.5)  # 2 1 0 3
    assert row["bias_mw"] == pytest.approx(-0.5)
    assert row["nmae_percent"] == pytest.approx(40.0)  # 1.0 / 2.5
    assert row["skill_percent"] == pytest.approx(100 / 3)
    assert row["coverage_of_80_percent_band_percent"] == 75.0  # 4 lies above 3
    # pinball of 0.1, 0.5, 0.9 against 1, 2, 3
    by_step = [0.1 + 0 + 0.1, 0.2 + 0.5 + 0, 0.3 + 1.0 + 0.9, 0 + 0.5 + 0.2]
    assert row["pinball_mw"] == pytest.approx(sum(by_step) / 12)
    # naive 4: y = 4 costs nothing; below it (1 - level) per MW, sum over levels 1.5
    assert row["pinball_naive_mw"] == pytest.approx(1.5 * (2 + 1 + 0 + 3) / 12)
    assert np.isnan(scores.loc["b", "skill_percent"])  # the naive is right


def test_groups_are_sums() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0] * 4, [5.0] * 4)).set_index("name")
    assert scores.loc["total", "mae_mw"] == pytest.approx(1.0)  # 7 - 6
    assert scores.loc["total", "mae_naive_mw"] == pytest.approx(1.0)  # 8 - 7
    assert scores.loc["commercial", "level"] == "kind"
    assert set(scores["level"]) == {"asset", "kind", "total"}


def test_missing_values_are_left_out() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0, np.nan, 2.0, 3.0], [np.nan] * 4)).set_index("name")
    assert scores.loc["a", "steps"] == 3
    assert scores.loc["a", "mae_mw"] == pytest.approx(1 / 3)
    assert np.isnan(scores.loc["b", "mae_mw"])


def test_pv_is_scored_by_day() -> None:
    midnight = small_forecast(("pv", "household"))
    scores = score_forecast(midnight, outcome(midnight, [2.0] * 4, [4.0] * 4)).set_index("name")
    assert np.isnan(scores.loc["a", "mae_mw"])  # no step of the hour after midnight has sun
    noon = midnight.assign_coords(time=midnight["time"] + np.timedelta64(12, "h"))
    scores = score_forecast(noon, outcome(noon, [2.0] * 4, [4.0] * 4)).set_index("name")
    assert scores.loc["a", "steps"] == 4


def test_pinball_is_half_the_absolute_error_at_the_median() -> None:
    actual = np.array([1.0, -2.0, 5.0])
    loss = pinball_loss(actual, np.zeros((1, 3)), np.array([0.5]))
    np.testing.assert_allclose(loss[0], np.abs(actual) / 2)


def test_coverage_needs_its_quantiles_and_forgives_rounding() -> None:
    band = np.array([[1e-12, 1.0], [2.0, 2.0]])
    assert coverage_percent(np.array([0.0, 3.0]), band, np.array([0.1, 0.9])) == 50.0
    assert np.isnan(coverage_percent(np.array([0.0, 3.0]), band, np.array([0.2, 0.9])))


def test_missing_labels_raise() -> None:
    predicted = small_forecast()
    realised = outcome(predicted, [2.0] * 4, [4.0] * 4)
    with pytest.raises(DataError, match="times"):
        score_forecast(predicted, realised.isel(time=slice(0, 2)))
    with pytest.raises(DataError, match="assets"):
        score_forecast(predicted, realised.isel(asset=[0]))


def test_distribution_scores_by_hand() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0, 3.0, 4.0, 1.0], [4.0] * 4)).set_index("name")
    row = scores.loc["a"]
    assert row["rmae"] == pytest.approx(1.0 / 1.5)
    # paths 1, 2, 3: mean |X - y| is 2/3 1 2 1, less half the mean distance of two paths, 8/18
    assert row["crps_mw"] == pytest.approx((2 / 3 + 1 + 2 + 1) / 4 - 8 / 18)
    assert row["crps_skill_percent"] == pytest.approx(100 * (1 - row["crps_mw"] / 1.5))
    assert row["width_of_80_percent_band_mw"] == 2.0
    assert row["interval_score_of_80_percent_band_mw"] == pytest.approx(2.0 + 2 / 0.2 * 1.0 / 4)  # 4 lies 1 above 3
    assert np.isnan(row["coverage_of_90_percent_band_percent"])  # the forecast has no such quantiles
    assert row["peak_error_mw"] == 2.0  # peak 4; the paths peak at 1, 2 and 3
    assert row["peak_time_error_quarter_hours"] == 2.0  # a flat median peaks first
    # flat paths k stand at distance |k - y| in every step; those of two paths are sqrt(4) |k - l|
    errors = [np.sqrt(sum((k - y) ** 2 for y in (2, 3, 4, 1))) for k in (1, 2, 3)]
    assert row["energy_score_mw"] == pytest.approx((np.mean(errors) - 2 * 8 / 18) / 2)
    # differences at lag 1 (weight 1) are 1 1 3, at lag 2 (weight 1/2) 2 2; those of flat paths are 0
    assert row["variogram_score_mw"] == pytest.approx((1 + 1 + 3 + 0.5 * (2 + 2)) / (3 + 0.5 * 2))


def test_every_row_has_every_score() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0] * 4, [np.nan] * 4))
    assert list(scores) == ["level", "name", "kind", "status", *SCORES]
    assert scores.set_index("name").loc["b", list(SCORES)].isna().all()


def test_days_with_an_unknown_step_have_no_path_scores() -> None:
    predicted = small_forecast()
    scores = score_forecast(predicted, outcome(predicted, [2.0, np.nan, 2.0, 3.0], [4.0] * 4)).set_index("name")
    columns = ["peak_error_mw", "energy_score_mw", "variogram_score_mw"]
    assert scores.loc["a", columns].isna().all() and scores.loc["b", columns].notna().all()
    assert np.isfinite(scores.loc["a", "crps_mw"])


def test_peaks_of_generation_are_those_of_feed_in() -> None:
    noon = small_forecast(("pv", "wind")).assign_coords(time=small_forecast()["time"] + np.timedelta64(12, "h"))
    feeding = noon.assign({name: -noon[name] for name in ("p_mw", "p_quantile_mw", "p_mean_mw", "p_naive_mw")})
    scores = score_forecast(feeding, outcome(feeding, [-2.0, -5.0, -2.0, -2.0], [-4.0] * 4)).set_index("name")
    assert scores.loc["a", "peak_error_mw"] == 3.0  # 5 fed in, the middle path feeds in 2
    assert scores.loc["a", "peak_bias_mw"] == -3.0


def test_reliability_of_quantiles_and_places() -> None:
    predicted = small_forecast(("household", "household"))
    realised = outcome(predicted, [0.5, 1.5, 2.5, 3.5], [4.0] * 4)
    table = score_reliability(predicted, realised, bins=4)
    kind = table[(table["name"] == "household") & (table["what"] == "quantile")].set_index("probability")["share"]
    # a lies below 1, 2, 3 in 1, 2 and 3 of 4 steps; b is the middle quantile in all four, half of them count
    assert kind.to_dict() == pytest.approx({0.1: 1 / 8, 0.5: (2 + 2) / 8, 0.9: (3 + 4) / 8})
    pit = table[(table["name"] == "household") & (table["what"] == "pit")]["share"]
    # a: one in each part; b equals the middle path: its mass lies on the two parts in the middle
    assert pit.tolist() == pytest.approx([1 / 8, (1 + 2) / 8, (1 + 2) / 8, 1 / 8])
    assert set(table["steps"]) == {8, 4}


def test_days_need_not_follow_each_other() -> None:
    """Two mornings a week apart score as each of them does."""
    predicted = small_forecast()
    later = predicted.assign_coords(time=predicted["time"] + np.timedelta64(7, "D"))
    both = xr.concat([predicted, later], "time", data_vars="minimal", coords="minimal", compat="override")
    outcomes = [2.0, 3.0, 4.0, 1.0]
    one = score_forecast(predicted, outcome(predicted, outcomes, [4.0] * 4)).set_index("name").loc["a"]
    two = score_forecast(both, outcome(both, outcomes * 2, [4.0] * 8)).set_index("name").loc["a"]
    assert two["steps"] == 8
    same = ["mae_mw", "crps_mw", "energy_score_mw", "variogram_score_mw", "peak_error_mw"]
    assert two[same].to_dict() == pytest.approx(one[same].to_dict())


def test_sums_keep_what_assets_have_in_common() -> None:
    predicted = small_forecast(("household", "household"))
    total = aggregate_quantiles(predicted, by="total")["p_quantile_mw"].sel(group="total")
    np.testing.assert_allclose(total.sel(quantile=0.5), 6.0)
