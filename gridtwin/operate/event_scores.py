"""Probabilities of events against what happened, on plain arrays: Brier score, its parts, reliability diagram."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]

CONSISTENCY = 0.9
"""Share of the samples of a reliable forecast whose observed frequency lies within the bars. [-]"""
RELIABILITY_COLUMNS = ("probability_low", "probability_high", "probability", "observed_frequency", "cases", "events",
                       "consistency_low", "consistency_high")  # fmt: skip
ASSET_COLUMNS = ("asset", "events", "expected_events", "observed_frequency", "brier", "skill_to_climatology_percent")


def score_probabilities(probability: Floats, observed: Floats, naive: Floats) -> dict[str, float]:
    """Brier score of all cases together, its parts, and its skills.

    Parameters
    ----------
    probability : ndarray, (case, asset)
        Forecast probability of the event. [-]
    observed, naive : ndarray, (case, asset)
        1 where it happened, 0 where not; the same as the naive forecast has it, NaN without one.

    Returns
    -------
    dict
        `cases`, `events`, `expected_events`; `brier` = `reliability` - `resolution` + `uncertainty`;
        `brier_<reference>` and `skill_to_<reference>_percent` for the references of
        `congestion_scores.score_congestion`.
    """
    used = np.isfinite(probability) & np.isfinite(observed)
    p, o = probability[used], observed[used]
    parts = decompose_brier(p, o)
    own = np.broadcast_to(frequency(observed, used), observed.shape)[used]
    references = {
        "climatology": mean_square(own - o),
        "pooled_climatology": parts["uncertainty"],
        "naive": mean_square(naive[used] - o),
    }
    skills = {f"skill_to_{name}_percent": skill_percent(parts["brier"], score) for name, score in references.items()}
    counts = {"cases": int(used.sum()), "events": int(o.sum()), "expected_events": float(p.sum())}
    return counts | parts | {f"brier_{name}": score for name, score in references.items()} | skills


def decompose_brier(probability: Floats, observed: Floats) -> dict[str, float]:
    """Brier score and its parts. [-]

    Parameters
    ----------
    probability, observed : ndarray, (case,)
        Forecast probability, and 1 or 0.

    Notes
    -----
    mean (p - o)² = reliability - resolution + uncertainty [1]_, cases grouped by equal probability: sum n_k (p_k -
    o_k)² / n, sum n_k (o_k - o)² / n, o (1 - o). A share of m paths has m + 1 values, so that the groups are exact
    and the parts add up; few cases in a group raise both of the first two parts by the same amount.

    References
    ----------
    .. [1] A. H. Murphy, A new vector partition of the probability score, Journal of Applied Meteorology 12, 1973,
       doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2

    Examples
    --------
    >>> parts = decompose_brier(np.array([0.0, 0.5, 0.5, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    >>> [round(parts[name], 3) for name in ("brier", "reliability", "resolution", "uncertainty")]
    [0.125, 0.0, 0.125, 0.25]
    """
    if not len(probability):
        return dict.fromkeys(("brier", "reliability", "resolution", "uncertainty"), float("nan"))
    values, group = np.unique(probability, return_inverse=True)
    count = np.bincount(group)
    rate, base = np.bincount(group, weights=observed) / count, float(observed.mean())
    share = count / len(observed)
    return {
        "brier": mean_square(probability - observed),
        "reliability": float((share * (values - rate) ** 2).sum()),
        "resolution": float((share * (rate - base) ** 2).sum()),
        "uncertainty": base * (1 - base),
    }


def reliability_rows(probability: Floats, observed: Floats, bins: int = 10) -> Iterator[dict[str, float]]:
    """The reliability diagram: how often events happen that were given a probability. One row per bin.

    Parameters
    ----------
    probability, observed : ndarray
        Forecast probability, and 1 or 0; NaN is left out.
    bins : int
        Bins of equal width. Cases of probability 0, by far the most, have a bin of their own.

    Yields
    ------
    dict
        `probability_low, probability_high` (excluded and included), `probability` (mean), `observed_frequency`,
        `cases, events, consistency_low, consistency_high`; bins without cases are left out.

    Notes
    -----
    The bars hold 90 % of the frequencies that a reliable forecast would show [1]_, binomial with the number of cases
    and the mean probability. They take cases as independent: neighbouring steps are not, and days hardly are, so
    that a frequency outside its bar is a sign and not a proof.

    References
    ----------
    .. [1] J. Bröcker, L. A. Smith, Increasing the reliability of reliability diagrams, Weather and Forecasting
       22(3), 2007, doi:10.1175/WAF993.1
    """
    used = np.isfinite(probability) & np.isfinite(observed)
    p, o = probability[used], observed[used]
    edges = np.concatenate([[-np.inf], np.arange(bins + 1) / bins])
    # a share such as 0.3 may lie a rounding error above its edge
    place = np.searchsorted(edges, np.round(p, 12), side="left") - 1
    for k in range(bins + 1):
        if (place == k).any():
            yield reliability_row(p[place == k], o[place == k], edges[k : k + 2])


def reliability_row(probability: Floats, observed: Floats, edges: Floats) -> dict[str, float]:
    """One bin with at least one case."""
    cases = len(probability)
    mean = float(np.clip(probability.mean(), 0.0, 1.0))
    low, high = binom.interval(CONSISTENCY, cases, mean) if 0 < mean < 1 else (mean * cases, mean * cases)
    values = (max(float(edges[0]), 0.0), float(edges[1]), mean, float(observed.mean()), cases, int(observed.sum()),
              float(low) / cases, float(high) / cases)  # fmt: skip
    return dict(zip(RELIABILITY_COLUMNS, values, strict=True))


def asset_rows(names: NDArray[np.str_], probability: Floats, observed: Floats) -> Iterator[dict[str, object]]:
    """Scores of every asset that is over its limit in any path or in reality; columns `ASSET_COLUMNS`.

    Parameters
    ----------
    names : ndarray of str, (asset,)
        Labels.
    probability, observed : ndarray, (case, asset)
        Forecast probability, and 1 or 0; NaN is left out.
    """
    used = np.isfinite(probability) & np.isfinite(observed)
    for k, name in enumerate(names):
        p, o = probability[used[:, k], k], observed[used[:, k], k]
        if len(p) and (p.any() or o.any()):
            brier, rate = mean_square(p - o), float(o.mean())
            values = (str(name), int(o.sum()), float(p.sum()), rate, brier, skill_percent(brier, rate * (1 - rate)))
            yield dict(zip(ASSET_COLUMNS, values, strict=True))


def frequency(observed: Floats, used: NDArray[np.bool_]) -> Floats:
    """Observed frequency of each asset over its used cases. (asset,) [-]"""
    return np.asarray(np.where(used, observed, 0.0).sum(axis=0) / np.maximum(used.sum(axis=0), 1))


def mean_square(error: Floats) -> float:
    """Mean of the squares; NaN without cases."""
    return float((error**2).mean()) if len(error) else float("nan")


def skill_percent(score: float, reference: float) -> float:
    """100 (1 - score / reference); NaN where the reference makes no error."""
    return 100 * (1 - score / reference) if reference > 0 else float("nan")
