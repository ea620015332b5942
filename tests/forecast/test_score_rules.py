"""Scoring rules against closed forms, against other libraries, and against the property that makes them proper."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from gridtwin.forecast.peak_scores import hit_percent, peak_scores
from gridtwin.forecast.score_rules import (
    crps_of_paths,
    crps_of_quantiles,
    energy_score,
    interval_score,
    lag_weights,
    memory_blocks,
    pinball_loss,
    pit_histogram,
    variogram_score,
)

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


def crps_of_normal(actual: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Gneiting and Raftery 2007, equation 21 below: CRPS of N(mean, deviation²)."""
    z = (actual - mean) / deviation
    return deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


@pytest.fixture
def draws() -> tuple[np.ndarray, np.ndarray]:
    """40 outcomes of standard normal power and seven quantiles that are off by a little."""
    generator = np.random.default_rng(3)
    actual = generator.standard_normal(40)
    return actual, norm.ppf(LEVELS)[:, np.newaxis] * 1.1 + 0.2 * generator.standard_normal(40)


def test_pinball_is_that_of_scikit_learn(draws: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import mean_pinball_loss

    actual, quantiles = draws
    theirs = [mean_pinball_loss(actual, quantiles[k], alpha=level) for k, level in enumerate(LEVELS)]
    np.testing.assert_allclose(pinball_loss(actual, quantiles, LEVELS).mean(axis=1), theirs, rtol=1e-12)


def test_pinball_and_bands_are_those_of_darts(draws: tuple[np.ndarray, np.ndarray]) -> None:
    from darts import TimeSeries, metrics

    actual, quantiles = draws
    times = pd.date_range("2016-01-01", periods=len(actual), freq="15min")
    names = pd.Index([f"p_q{level:.3f}" for level in LEVELS])
    real = TimeSeries.from_times_and_values(times, actual[:, np.newaxis], columns=["p"])
    told = TimeSeries.from_times_and_values(times, quantiles.T, columns=names)
    theirs = metrics.mql(real, told, q=list(LEVELS))  # of each quantile, twice the pinball loss
    np.testing.assert_allclose(2 * pinball_loss(actual, quantiles, LEVELS).mean(axis=1), theirs, rtol=1e-12)
    score = interval_score(actual, quantiles[1], quantiles[5], 0.8).mean()
    assert score == pytest.approx(metrics.miws(real, told, q_interval=(0.1, 0.9)), rel=1e-12)
    width = (quantiles[5] - quantiles[1]).mean()
    assert width == pytest.approx(metrics.miw(real, told, q_interval=(0.1, 0.9)), rel=1e-12)


def test_the_interval_score_is_the_pinball_loss_of_both_edges(draws: tuple[np.ndarray, np.ndarray]) -> None:
    actual, quantiles = draws
    edges = pinball_loss(actual, quantiles[[0, 6]], LEVELS[[0, 6]]).sum(axis=0)
    np.testing.assert_allclose(interval_score(actual, quantiles[0], quantiles[6], 0.9), 2 / 0.1 * edges, rtol=1e-12)


def test_crps_of_many_quantiles_is_that_of_the_normal_distribution() -> None:
    levels = (np.arange(2000) + 0.5) / 2000
    actual = np.linspace(-3, 3, 25)
    quantiles = np.repeat((1 + 2 * norm.ppf(levels))[:, np.newaxis], 25, axis=1)
    # the tails beyond the outer levels of 1/4000 are cut off: 1e-3 of the deviation of 2 is ample
    np.testing.assert_allclose(crps_of_quantiles(actual, quantiles, levels), crps_of_normal(actual, 1, 2), atol=2e-3)


def test_crps_of_quantiles_is_twice_the_integral_of_the_pinball_loss(draws: tuple[np.ndarray, np.ndarray]) -> None:
    actual, quantiles = draws
    quantiles = np.sort(quantiles, axis=0)
    fine = (np.arange(100_000) + 0.5) / 100_000
    for step in (0, 7, 21):
        function = np.interp(fine, LEVELS, quantiles[:, step])  # linear between the levels, constant beyond
        integral = 2 * pinball_loss(actual[[step]], function[:, np.newaxis], fine).mean()
        # midpoint rule on a function with kinks: error below 1e-8
        assert crps_of_quantiles(actual, quantiles, LEVELS)[step] == pytest.approx(integral, abs=1e-7)


def test_crps_of_one_quantile_is_its_absolute_error_and_crossing_ones_are_sorted() -> None:
    assert crps_of_quantiles(np.array([3.0]), np.array([[1.0]]), np.array([0.5]))[0] == 2.0
    crossed, sorted_ = np.array([[2.0], [1.0]]), np.array([[1.0], [2.0]])
    levels, actual = np.array([0.1, 0.9]), np.array([1.5])
    assert crps_of_quantiles(actual, crossed, levels) == crps_of_quantiles(actual, sorted_, levels)
    # equal quantiles are a point mass
    assert crps_of_quantiles(actual, np.full((2, 1), 1.0), levels)[0] == pytest.approx(0.5)


def test_crps_of_paths_is_the_mean_of_all_pairs_and_that_of_the_normal_distribution() -> None:
    generator = np.random.default_rng(1)
    actual, paths = generator.standard_normal(6), generator.standard_normal((9, 6))
    pairs = np.abs(paths[:, np.newaxis] - paths).mean(axis=(0, 1)) / 2
    np.testing.assert_allclose(crps_of_paths(actual, paths), np.abs(paths - actual).mean(axis=0) - pairs, rtol=1e-12)
    levels = (np.arange(4000) + 0.5) / 4000
    many = np.repeat(norm.ppf(levels)[:, np.newaxis], 6, axis=1)
    # 4000 evenly laid points stand for the distribution up to 1e-3
    np.testing.assert_allclose(crps_of_paths(actual, many), crps_of_normal(actual, 0, 1), atol=1e-3)


def slow_energy_score(actual: np.ndarray, paths: np.ndarray) -> float:
    to_actual = np.mean([np.linalg.norm(path - actual) for path in paths])
    return float(to_actual - np.mean([[np.linalg.norm(a - b) for a in paths] for b in paths]) / 2)


def slow_variogram_score(actual: np.ndarray, paths: np.ndarray, weights: np.ndarray) -> float:
    total = 0.0
    for i in range(len(actual)):
        for j in range(i + 1, len(actual)):
            expected = np.mean([abs(path[i] - path[j]) ** 0.5 for path in paths])
            total += weights[i, j] * (abs(actual[i] - actual[j]) ** 0.5 - expected) ** 2
    return total / float(np.triu(weights, 1).sum())


def test_path_scores_are_those_of_their_definition_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    actual, paths = generator.standard_normal((5, 8)), generator.standard_normal((5, 7, 8))
    weights = lag_weights(np.arange(8), (1, 2, 4))
    energy = [slow_energy_score(a, p) for a, p in zip(actual, paths, strict=True)]
    variogram = [slow_variogram_score(a, p, weights) for a, p in zip(actual, paths, strict=True)]
    for size in (64 * 2**20, 1):
        monkeypatch.setattr("gridtwin.forecast.score_rules.BLOCK_BYTES", size)
        np.testing.assert_allclose(energy_score(actual, paths), energy, rtol=1e-12)
        np.testing.assert_allclose(variogram_score(actual, paths, weights), variogram, rtol=1e-12)


def test_the_energy_score_of_one_dim_is_the_crps() -> None:
    generator = np.random.default_rng(4)
    actual, paths = generator.standard_normal(3), generator.standard_normal((3, 11, 1))
    np.testing.assert_allclose(energy_score(actual[:, np.newaxis], paths), crps_of_paths(actual, paths[..., 0].T))


def test_equal_paths_are_a_point_forecast() -> None:
    score = energy_score(np.zeros((1, 4)), np.full((1, 5, 4), 3.0))
    assert score[0] == pytest.approx(6.0, abs=1e-6)  # norm of (3, 3, 3, 3); squares are exact to 1e-16 x 36


def test_variogram_score_sees_a_wrong_dependence() -> None:
    """Outcomes with correlated steps: paths with the right dependence score better than the same paths shuffled."""
    generator = np.random.default_rng(5)
    actual = np.cumsum(generator.standard_normal((300, 12)), axis=1)
    paths = np.cumsum(generator.standard_normal((300, 60, 12)), axis=2)
    apart = generator.permuted(paths, axis=1)
    weights = lag_weights(np.arange(12), (1, 2, 4))
    right, wrong = (variogram_score(actual, part, weights).mean() for part in (paths, apart))
    assert right < 0.5 * wrong
    assert energy_score(actual, paths).mean() < energy_score(actual, apart).mean()
    # every margin is the same, so step by step nothing is different
    for step in (0, 11):
        joint, shuffled = (crps_of_paths(actual[:, step], p[:, :, step].T).mean() for p in (paths, apart))
        assert joint == pytest.approx(shuffled)


@pytest.mark.parametrize("shift, stretch", [(0.5, 1.0), (-0.5, 1.0), (0.0, 2.0), (0.0, 0.5)])
def test_rules_prefer_the_truth(shift: float, stretch: float) -> None:
    generator = np.random.default_rng(6)
    actual = generator.standard_normal((4000, 1))
    truth = norm.ppf(LEVELS)
    spread = norm.ppf((np.arange(99) + 0.5) / 99)
    ones = np.ones((1, 4000))

    def scores(low: float, wide: float) -> list[float]:
        quantiles, paths = (low + wide * part[:, np.newaxis] * ones for part in (truth, spread))
        return [
            pinball_loss(actual[:, 0], quantiles, LEVELS).mean(),
            crps_of_quantiles(actual[:, 0], quantiles, LEVELS).mean(),
            crps_of_paths(actual[:, 0], paths).mean(),
            interval_score(actual[:, 0], quantiles[1], quantiles[5], 0.8).mean(),
            energy_score(actual[:200], np.repeat(paths.T[:200, :, np.newaxis], 1, axis=2)).mean(),
        ]

    assert np.all(np.array(scores(0.0, 1.0)) < np.array(scores(shift, stretch)))


def test_pit_is_flat_where_calibrated_and_raised_at_the_ends_where_too_narrow() -> None:
    generator = np.random.default_rng(7)
    actual, paths = generator.standard_normal(20_000), generator.standard_normal((49, 20_000))
    flat = pit_histogram(actual, paths)
    # 2000 expected in each part: 4 standard deviations of sqrt(0.1 0.9 / 20000) = 0.0021
    np.testing.assert_allclose(flat, 0.1, atol=0.0085)
    narrow = pit_histogram(actual, 0.5 * paths)
    assert narrow[[0, -1]].min() > 0.2 and narrow[1:-1].max() < 0.1
    assert narrow.sum() == pytest.approx(1)


def test_pit_of_equal_values_is_flat() -> None:
    np.testing.assert_allclose(pit_histogram(np.zeros(5), np.zeros((20, 5))), 0.1)
    assert np.isnan(pit_histogram(np.full(2, np.nan), np.zeros((3, 2)))).all()


def test_unknown_outcomes_stay_unknown() -> None:
    actual, quantiles = np.array([np.nan, 1.0]), np.ones((7, 2))
    for rule in (pinball_loss, crps_of_quantiles):
        values = np.atleast_2d(rule(actual, quantiles, LEVELS))
        assert np.isnan(values[:, 0]).all() and np.isfinite(values[:, 1]).all()


def test_blocks_cover_everything_once() -> None:
    for size in (1, 2**24, 2**30):
        places = np.concatenate([np.arange(10)[block] for block in memory_blocks(10, size)])
        assert places.tolist() == list(range(10))


def test_peaks_by_hand() -> None:
    # two days of three steps; the paths peak at different times, each at 4
    actual = np.array([1.0, 5.0, 2.0, 3.0, 1.0, 1.0])
    paths = np.array([[4.0, 1, 1, 1, 2, 1], [1, 1, 4.0, 1, 2, 1], [1, 2, 4.0, 1, 2, 1]])
    scores = peak_scores(actual, np.median(paths, axis=0), paths, np.array([0, 0, 0, 1, 1, 1]), 4.0)
    assert scores["peak_error_mw"] == 1.0  # |4 - 5| and |2 - 3|
    assert scores["peak_bias_mw"] == -1.0
    assert scores["peak_time_error_quarter_hours"] == 4.0  # one step of an hour on each day
    assert scores["highest_steps_hit_percent"] == 0.0  # one step of six: step 1 against step 2
    assert scores["peak_days_hit_percent"] == 100.0
    assert hit_percent(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]), 2 / 3) == 50.0
