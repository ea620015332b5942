"""Reconciliation: sums hold, the numbers are those of Darts, and errors of sums help the assets."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.errors import DataError
from gridtwin.forecast.copula import copula_paths
from gridtwin.forecast.hierarchy import Hierarchy, build_hierarchy
from gridtwin.forecast.reconcile import Method, fit_reconciliation, reconcile, shrinkage_intensity

METHODS: tuple[Method, ...] = ("bottom_up", "ols", "wls_structural", "wls_variance", "mint_sample", "mint_shrink")
EDGES = [
    ("house 1", "feeder A"),
    ("house 2", "feeder A"),
    ("roof", "feeder A"),
    ("house 3", "feeder B"),
    ("shop", "feeder B"),
    ("car park", "station"),  # straight at the busbar: branches may differ in depth
    ("feeder A", "station"),
    ("feeder B", "station"),
]
ASSETS = ["house 1", "house 2", "roof", "house 3", "shop", "car park"]


def table_of(edges: list[tuple[str, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(edges, columns=["child", "parent"])


@pytest.fixture(scope="module")
def station() -> Hierarchy:
    return build_hierarchy(table_of(list(EDGES)), ASSETS)


def past_errors(hierarchy: Hierarchy, samples: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Correlated errors of assets; the errors of the sums are smaller than those of the added assets."""
    generator = np.random.default_rng(seed)
    assets = generator.standard_normal((samples, len(hierarchy.assets))) + 0.7 * generator.standard_normal((samples, 1))
    sums = 0.4 * hierarchy.add_up(assets) + 0.3 * generator.standard_normal((samples, len(hierarchy.sums)))
    return assets, sums


def test_the_matrix_by_hand(station: Hierarchy) -> None:
    assert station.sums == ("station", "feeder A", "feeder B")
    assert station.roots == ("station",)
    assert station.matrix.toarray().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]
    assert station.add_up(np.array([1.0, 2, -3, 4, 5, 6])).tolist() == [15, 0, 9]


@pytest.mark.parametrize("method", METHODS[:5])
def test_the_numbers_are_those_of_darts(station: Hierarchy, method: Method) -> None:
    from darts import TimeSeries
    from darts.dataprocessing.transformers.reconciliation import BottomUpReconciliator, MinTReconciliator

    asset_errors, sum_errors = past_errors(station)
    names = [*station.sums, *station.assets]
    parents = {child: [parent] for child, parent in EDGES}

    def series(values: np.ndarray) -> TimeSeries:
        times = pd.date_range("2024-01-01", periods=len(values), freq="h")
        return TimeSeries.from_times_and_values(times, values, columns=names, hierarchy=parents)

    generator = np.random.default_rng(2)
    base = generator.standard_normal((24, len(names), 7))
    darts_names = {"mint_sample": "mint_cov", "wls_structural": "wls_struct", "wls_variance": "wls_var"}
    if method == "bottom_up":
        theirs = BottomUpReconciliator().transform(series(base)).all_values()
    else:
        transformer = MinTReconciliator(darts_names.get(method, method))
        transformer.fit(series(np.concatenate([sum_errors, asset_errors], axis=1)))
        theirs = transformer.transform(series(base)).all_values()
    fitted = fit_reconciliation(station, method, asset_errors=asset_errors, sum_errors=sum_errors)
    paths = base.transpose(2, 0, 1)  # (path, time, node)
    ours = reconcile(fitted, paths[..., 3:], paths[..., :3])
    # double precision on both sides; ours adds 1e-9 of the variance to stay solvable
    np.testing.assert_allclose(ours.sums, theirs[:, :3].transpose(2, 0, 1), atol=1e-7)
    np.testing.assert_allclose(ours.assets, theirs[:, 3:].transpose(2, 0, 1), atol=1e-7)


def test_the_shrunk_covariance_by_the_dense_formula(station: Hierarchy) -> None:
    asset_errors, sum_errors = past_errors(station, samples=40)
    errors = np.concatenate([sum_errors, asset_errors], axis=1)
    share = shrinkage_intensity(errors)
    assert share == pytest.approx(dense_intensity(errors), rel=1e-9)
    assert 0 < share < 1
    covariance = np.cov(errors.T)
    shrunk = share * np.diag(np.diag(covariance)) + (1 - share) * covariance
    summing = np.vstack([station.matrix.toarray(), np.eye(6)])
    inverse = np.linalg.inv(shrunk)
    projection = summing @ np.linalg.solve(summing.T @ inverse @ summing, summing.T @ inverse)
    base = np.random.default_rng(3).standard_normal((5, 9))
    fitted = fit_reconciliation(station, "mint_shrink", asset_errors=asset_errors, sum_errors=sum_errors)
    found = reconcile(fitted, base[:, 3:], base[:, :3])
    np.testing.assert_allclose(np.concatenate([found.sums, found.assets], axis=1), base @ projection.T, atol=1e-6)


def dense_intensity(errors: np.ndarray) -> float:
    """Schäfer and Strimmer's formula, pair by pair."""
    samples, nodes = errors.shape
    unit = (errors - errors.mean(axis=0)) / errors.std(axis=0, ddof=1)
    variances = correlations = 0.0
    for first in range(nodes):
        for second in range(nodes):
            if first != second:
                product = unit[:, first] * unit[:, second]
                variances += samples / (samples - 1) ** 3 * np.square(product - product.mean()).sum()
                correlations += (samples / (samples - 1) * product.mean()) ** 2
    return variances / correlations


@pytest.mark.parametrize("samples", [5, 200])
def test_the_intensity_is_the_same_over_either_dimension(samples: int) -> None:
    errors = np.random.default_rng(1).standard_normal((samples, 12)) + 0.8 * np.arange(samples)[:, np.newaxis] % 3
    assert shrinkage_intensity(errors) == pytest.approx(min(1.0, dense_intensity(errors)), rel=1e-9)


@pytest.mark.parametrize("method", ["ols", "wls_variance", "mint_shrink"])
def test_a_good_forecast_of_the_feeder_helps_its_assets(station: Hierarchy, method: Method) -> None:
    asset_errors, sum_errors = past_errors(station, samples=2000)
    half = slice(1000, None)
    fitted = fit_reconciliation(station, method, asset_errors=asset_errors[:1000], sum_errors=sum_errors[:1000])
    truth = np.zeros(6)
    found = reconcile(fitted, truth - asset_errors[half], truth[:3] - sum_errors[half])
    assert np.square(found.assets).mean() < np.square(asset_errors[half]).mean()
    added = station.add_up(asset_errors[half])
    assert np.square(found.sums).mean() < 0.5 * np.square(added).mean()


def test_mint_is_never_behind_the_simpler_weights(station: Hierarchy) -> None:
    asset_errors, sum_errors = past_errors(station, samples=4000)
    half = slice(2000, None)
    loss = {}
    for method in METHODS:
        fitted = fit_reconciliation(station, method, asset_errors=asset_errors[:2000], sum_errors=sum_errors[:2000])
        found = reconcile(fitted, -asset_errors[half], -sum_errors[half])
        loss[method] = np.square(found.assets).sum(axis=1).mean() + np.square(found.sums).sum(axis=1).mean()
    assert loss["mint_shrink"] == min(loss.values()) or loss["mint_shrink"] < 1.01 * loss["mint_sample"]
    assert loss["mint_sample"] < loss["wls_variance"] < loss["bottom_up"]


def test_every_path_adds_up_after_bounds_have_cut(station: Hierarchy) -> None:
    asset_errors, sum_errors = past_errors(station)
    fitted = fit_reconciliation(station, "mint_shrink", asset_errors=asset_errors, sum_errors=sum_errors)
    generator = np.random.default_rng(4)
    assets, sums = (generator.standard_normal((50, 96, width)).astype(np.float32) for width in (6, 3))
    lower, upper = np.array([0, 0, -1, 0, 0, 0]), np.array([1, 1, 0, 1, 1, 1])
    found = reconcile(fitted, assets, sums, lower=lower, upper=upper)
    assert np.all((found.assets >= lower) & (found.assets <= upper))
    assert (found.sums == station.add_up(found.assets)).all()
    np.testing.assert_allclose(found.sums[..., 0], found.assets.sum(axis=-1), atol=1e-5)  # single precision


def test_fixed_assets_do_not_move(station: Hierarchy) -> None:
    asset_errors, sum_errors = past_errors(station)
    fixed = np.array([False, True, False, False, False, True])
    base = np.random.default_rng(5).standard_normal((4, 9))
    for method in METHODS[1:]:
        fitted = fit_reconciliation(station, method, asset_errors=asset_errors, sum_errors=sum_errors, fixed=fixed)
        found = reconcile(fitted, base[:, 3:], base[:, :3])
        np.testing.assert_allclose(found.assets[:, fixed], base[:, 3:][:, fixed], atol=1e-12)
        assert np.abs(found.assets - base[:, 3:])[:, ~fixed].max() > 0.01


def test_what_adds_up_already_stays(station: Hierarchy) -> None:
    asset_errors, sum_errors = past_errors(station)
    assets = np.random.default_rng(6).standard_normal((10, 6))
    for method in METHODS:
        fitted = fit_reconciliation(station, method, asset_errors=asset_errors, sum_errors=sum_errors)
        found = reconcile(fitted, assets, station.add_up(assets))
        np.testing.assert_allclose(found.assets, assets, atol=1e-9)


def test_paths_of_all_nodes_are_drawn_together_and_reconciled(station: Hierarchy) -> None:
    # assets with correlated errors of deviation 1; the feeder's own forecast is as sharp as its true distribution
    asset_errors, _ = past_errors(station, samples=56 * 4)
    deviation = np.sqrt(1.49)
    errors = np.concatenate([station.add_up(asset_errors), asset_errors], axis=1).reshape(56, 4, 9)
    spread = errors.reshape(-1, 9).std(axis=0)
    quantiles = np.array([-1.2816, 0.0, 1.2816])[:, np.newaxis, np.newaxis] * np.broadcast_to(spread, (4, 9))
    paths = copula_paths(quantiles, (0.1, 0.5, 0.9), errors, np.arange(4), paths=200, seed=1)
    fitted = fit_reconciliation(station, "ols")
    found = reconcile(fitted, paths[..., 3:], paths[..., :3])
    assert found.assets.std() == pytest.approx(deviation, rel=0.15)
    np.testing.assert_allclose(found.sums.std(axis=(0, 1)), spread[:3], rtol=0.15)


def test_several_roots_are_kept_apart() -> None:
    edges = [("a", "feeder 1"), ("b", "feeder 2"), ("feeder 1", None), ("feeder 2", None)]
    pair = build_hierarchy(table_of(edges), ["a", "b"])
    assert pair.roots == ("feeder 1", "feeder 2")
    fitted = fit_reconciliation(pair, "ols")
    found = reconcile(fitted, np.array([1.0, 10.0]), np.array([2.0, 10.0]))
    assert found.assets.tolist() == pytest.approx([1.5, 10.0])


@pytest.mark.parametrize(
    ("edges", "assets", "message"),
    [
        ([("a", "x"), ("x", "y"), ("y", "z"), ("z", "x")], ["a"], "count into themselves.*got x, y, z"),
        ([("a", "a")], [], "count into themselves"),
        ([("a", "x")], ["a", "b"], "not in the parent map, got b"),
        ([("a", "x"), ("b", "x")], ["a"], "no series, got b"),
        ([("a", "x"), ("a", "y")], ["a"], "two parents, got a"),
        ([("a", "x"), ("x", "y")], ["a", "x"], "assets have children, got x"),
        ([("a", "x")], ["a", "a"], "not unique, got a"),
    ],
)
def test_a_wrong_parent_map_names_its_nodes(
    edges: list[tuple[str, str | None]], assets: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build_hierarchy(table_of(edges), assets)


def test_missing_columns_errors_and_forecasts_are_named(station: Hierarchy) -> None:
    with pytest.raises(DataError, match="lacks columns, expected child, parent, got parent"):
        build_hierarchy(pd.DataFrame({"child": ["a"]}), ["a"])
    with pytest.raises(DataError, match="mint_shrink needs past errors"):
        fit_reconciliation(station, "mint_shrink")
    with pytest.raises(DataError, match="without gaps"):
        fit_reconciliation(station, "wls_variance", asset_errors=np.full((9, 6), np.nan), sum_errors=np.ones((9, 3)))
    with pytest.raises(DataError, match="needs forecasts of the sums"):
        reconcile(fit_reconciliation(station, "ols"), np.ones(6))
    with pytest.raises(DataError, match="forecasts of assets do not fit, expected 6, got 5"):
        reconcile(fit_reconciliation(station, "bottom_up"), np.ones(5))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 8), st.sampled_from(METHODS))
def test_any_tree_adds_up_level_by_level(seed: int, count: int, inner: int, method: Method) -> None:
    generator = np.random.default_rng(seed)
    assets = [f"asset {number}" for number in range(count)]
    edges: list[tuple[str, str | None]] = [(name, f"node {generator.integers(inner)}") for name in assets]
    used = {parent for _, parent in edges}
    edges += [(f"node {number}", f"node {generator.integers(number)}") for number in range(1, inner)]
    childless = {f"node {number}" for number in range(inner)} - used - {parent for _, parent in edges}
    while childless:
        edges = [edge for edge in edges if edge[0] not in childless]
        childless = {child for child, _ in edges if child.startswith("node")} - {parent for _, parent in edges}
    tree = build_hierarchy(table_of(edges), assets)
    asset_errors, sum_errors = past_errors(tree, samples=30)
    fitted = fit_reconciliation(tree, method, asset_errors=asset_errors, sum_errors=sum_errors)
    found = reconcile(fitted, *(generator.standard_normal((3, width)) for width in (count, len(tree.sums))))
    value = dict(zip([*tree.sums, *tree.assets], np.concatenate([found.sums, found.assets], axis=1).T, strict=True))
    for node in tree.sums:
        children = [name for name, parent in tree.parent.items() if parent == node]
        np.testing.assert_allclose(value[node], sum(value[name] for name in children), atol=1e-9)


@pytest.mark.slow
def test_two_thousand_assets_and_a_hundred_paths_take_seconds() -> None:
    assets = [f"asset {number}" for number in range(2000)]
    edges: list[tuple[str, str | None]] = [(name, f"feeder {number % 40}") for number, name in enumerate(assets)]
    edges += [(f"feeder {number}", f"station {number % 4}") for number in range(40)]
    tree = build_hierarchy(table_of(edges), assets)
    asset_errors, sum_errors = past_errors(tree, samples=56 * 24)
    paths = np.random.default_rng(1).standard_normal((100, 96, 2000)).astype(np.float32)
    sums = tree.add_up(paths) + 1
    begin = time.process_time()
    fitted = fit_reconciliation(tree, "mint_shrink", asset_errors=asset_errors, sum_errors=sum_errors)
    found = reconcile(fitted, paths, sums)
    assert time.process_time() - begin < 15  # about 2 s on one quiet core
    assert found.assets.dtype == np.float32
