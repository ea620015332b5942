"""Scores against numbers by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.forecast.scores import coverage_percent, pinball_loss, score_forecast

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
        attrs={"zone": "Europe/Berlin"},
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
