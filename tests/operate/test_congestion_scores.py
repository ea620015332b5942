"""Scores of congestion probabilities against hand calculations, scikit-learn and samples of a reliable forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.operate.congestion_scores import CongestionLimits, naive_profiles, score_congestion
from gridtwin.operate.event_scores import decompose_brier, reliability_rows, score_probabilities

LIMITS = CongestionLimits(
    pd.Series({"line 1": 100.0, "line 2": 100.0}),
    pd.Series({"A": 0.9, "dark": 0.9}),
    pd.Series({"A": 1.1, "dark": 1.1}),
)


def flow_of(line_1: np.ndarray, vm_pu: np.ndarray | None = None) -> xr.Dataset:
    """Two days of two steps of twelve hours; line 2 is never loaded, one bus has no supply. (path, time)"""
    paths, steps = line_1.shape
    vm_pu = np.ones((paths, steps)) if vm_pu is None else vm_pu
    times = pd.date_range("2016-01-11 23:00", periods=steps, freq="12h", unit="ns")
    return xr.Dataset(
        {
            "loading_percent": (("path", "time", "branch"), np.stack([line_1, 0 * line_1], axis=-1)),
            "vm_pu": (("path", "time", "bus"), np.stack([vm_pu, np.full((paths, steps), np.nan)], axis=-1)),
        },
        coords={"path": np.arange(paths), "time": times, "branch": ["line 1", "line 2"], "bus": ["A", "dark"]},
        attrs={"step": "PT12H", "zone": "Europe/Berlin"},
    )


FORECAST = flow_of(np.array([[120.0, 50, 50, 50], [120, 120, 50, 50], [50, 50, 50, 50], [50, 50, 50, 120]]))
REALISED = flow_of(np.array([[120.0, 50, 50, 50]]))
NAIVE = flow_of(np.array([[50.0, 50, 50, 120]]))


def reliability_table(probability: np.ndarray, observed: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(reliability_rows(probability, observed))


def row(table: pd.DataFrame, quantity: str, event: str) -> pd.Series:
    return table.set_index(["quantity", "event"]).loc[(quantity, event)]


def test_steps_by_hand() -> None:
    scores = score_congestion(FORECAST, REALISED, LIMITS, naive_flow=NAIVE)
    steps = row(scores.summary, "branch", "step")
    # line 1: probabilities 1/2 1/4 0 1/4, outcomes 1 0 0 0; line 2: four times nothing
    assert steps["brier"] == pytest.approx((1 / 4 + 1 / 16 + 0 + 1 / 16) / 8)
    assert (steps["cases"], steps["events"], steps["expected_events"]) == (8, 1, 1.0)
    # own frequency of line 1 is 1/4: (9/16 + 3/16) / 8; one for all: 1/8 7/8; the naive errs twice
    assert steps["brier_climatology"] == pytest.approx(12 / 16 / 8)
    assert steps["brier_pooled_climatology"] == pytest.approx(7 / 64)
    assert steps["brier_naive"] == pytest.approx(2 / 8)
    assert steps["skill_to_naive_percent"] == pytest.approx(100 * (1 - 3 / 8 / 2))
    assert steps["skill_to_climatology_percent"] == pytest.approx(50.0)


def test_days_by_hand() -> None:
    scores = score_congestion(FORECAST, REALISED, LIMITS, naive_flow=NAIVE)
    days = row(scores.summary, "network", "day")
    # day 1: two paths of four overload, and so it came; day 2: one of four, and nothing came
    assert days["brier"] == pytest.approx((1 / 4 + 1 / 16) / 2)
    assert (days["cases"], days["events"]) == (2, 1)
    asset = scores.assets.set_index(["quantity", "event", "asset"]).loc[("branch", "day", "line 1")]
    assert asset["expected_events"] == pytest.approx(3 / 4)
    assert "line 2" not in set(scores.assets["asset"])


def test_voltages_and_dark_buses() -> None:
    low = np.ones((4, 4))
    low[:3, 2] = 0.85
    scores = score_congestion(
        flow_of(np.zeros((4, 4)), low), flow_of(np.zeros((1, 4)), np.array([[1, 1, 0.85, 1]])), LIMITS
    )
    assert row(scores.summary, "bus", "step")["cases"] == 4  # the bus without supply is not judged
    assert row(scores.summary, "bus", "step")["brier"] == pytest.approx(1 / 16 / 4)
    assert row(scores.summary, "network", "step")["cases"] == 4  # nor does it hide the others
    assert np.isnan(row(scores.summary, "bus", "step")["skill_to_naive_percent"])


def test_unsolved_steps_are_not_fine() -> None:
    unsolved = np.array([[np.nan, 50, 50, 50], [120, 120, 50, 50], [50, 50, 50, 50], [50, 50, 50, 120.0]])
    scores = score_congestion(flow_of(unsolved), REALISED, LIMITS)
    steps = row(scores.summary, "branch", "step")
    assert steps["expected_events"] == pytest.approx(1 / 3 + 1 / 4 + 1 / 4)  # one of three known paths at the first
    day = scores.assets.set_index(["quantity", "event", "asset"]).loc[("branch", "day", "line 1")]
    assert day["expected_events"] == pytest.approx(1 / 3 + 1 / 4)
    unknown = score_congestion(FORECAST, flow_of(np.array([[np.nan, 50, 50, 50]])), LIMITS)
    assert row(unknown.summary, "branch", "step")["cases"] == 6
    assert row(unknown.summary, "network", "day")["cases"] == 1


def test_parts_add_up_and_the_score_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    generator = np.random.default_rng(1)
    probability = generator.integers(0, 51, 5000) / 50
    observed = (generator.random(5000) < probability**1.5).astype(float)
    parts = decompose_brier(probability, observed)
    assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] == pytest.approx(parts["brier"], abs=1e-12)
    assert parts["brier"] == pytest.approx(brier_score_loss(observed, probability), rel=1e-12)
    # shares of unequal numbers of paths are groups of their own and still add up
    odd = generator.integers(0, 8, 500) / generator.integers(7, 11, 500)
    parts = decompose_brier(odd, observed[:500])
    assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] == pytest.approx(parts["brier"], abs=1e-12)


def test_a_constant_forecast_of_the_frequency_has_no_skill() -> None:
    observed = (np.arange(40) % 4 == 0).astype(float)[:, np.newaxis]
    scores = score_probabilities(np.full((40, 1), 0.25), observed, np.zeros((40, 1)))
    assert scores["skill_to_climatology_percent"] == pytest.approx(0, abs=1e-9)
    assert scores["reliability"] == pytest.approx(0, abs=1e-15) and scores["resolution"] == pytest.approx(0, abs=1e-15)
    assert scores["brier_naive"] == 0.25


def test_bars_hold_the_frequencies_of_a_reliable_forecast() -> None:
    generator = np.random.default_rng(2)
    probability = generator.integers(0, 51, 3000) / 50
    inside = []
    for _ in range(200):
        table = reliability_table(probability, (generator.random(3000) < probability).astype(float))
        low, high = table["consistency_low"], table["consistency_high"]
        inside.append(table["observed_frequency"].between(low - 1e-12, high + 1e-12).iloc[1:-1])
    # 90 % nominal; discrete counts and the spread of probabilities within a bin make it a little more
    assert 0.88 < np.mean(inside) < 0.97
    biased = reliability_table(probability, (generator.random(3000) < probability / 2).astype(float))
    upper = biased[biased["probability"] > 0.3]
    assert (upper["observed_frequency"] < upper["consistency_low"]).all()


def test_bins_hold_their_upper_edge_and_count_everything() -> None:
    probability = np.array([0.0, 0.0, 0.1, 0.1 * 3, 1.0])
    table = reliability_table(probability, np.array([0.0, 1.0, 0.0, 1.0, 1.0]))
    assert table["probability_high"].tolist() == pytest.approx([0.0, 0.1, 0.3, 1.0])
    assert table["cases"].tolist() == [2, 1, 1, 1]
    assert table["observed_frequency"].tolist() == [0.5, 0.0, 1.0, 1.0]
    assert table.iloc[0][["consistency_low", "consistency_high"]].tolist() == [0.0, 0.0]


def test_labels_that_do_not_fit_raise() -> None:
    with pytest.raises(DataError, match="times"):
        score_congestion(FORECAST, REALISED.isel(time=slice(0, 2)), LIMITS)
    with pytest.raises(DataError, match="single path"):
        score_congestion(FORECAST, FORECAST, LIMITS)
    with pytest.raises(DataError, match="another branch"):
        score_congestion(FORECAST, REALISED.isel(branch=[1, 0]), LIMITS)
    few = CongestionLimits(LIMITS.max_loading_percent.iloc[:1], LIMITS.vm_min_pu, LIMITS.vm_max_pu)
    with pytest.raises(DataError, match="has no limit"):
        score_congestion(FORECAST, REALISED, few)


def test_the_naive_point_takes_the_reactive_ratio_of_the_paths() -> None:
    forecast = xr.Dataset(
        {
            "p_mw": (("path", "time", "asset"), np.array([[[1.0, 0.0]], [[3.0, 0.0]]])),
            "q_mvar": (("path", "time", "asset"), np.array([[[0.2, 0.0]], [[0.6, 0.0]]])),
            "p_naive_mw": (("time", "asset"), np.array([[5.0, 1.0]])),
        },
        coords={"time": pd.DatetimeIndex(["2016-01-01"]), "asset": ["a", "b"]},
        attrs={"zone": "Europe/Berlin", "step": "PT15M"},
    )
    naive = naive_profiles(forecast)
    assert naive["p_mw"].to_numpy().tolist() == [[5.0, 1.0]]
    np.testing.assert_allclose(naive["q_mvar"].to_numpy(), [[1.0, 0.0]])
