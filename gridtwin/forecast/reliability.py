"""Reliability of a forecast: whether its probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.forecast.score_rules import pit_histogram
from gridtwin.forecast.scores import (
    Series,
    actual_power,
    choose_steps,
    groups_of,
    series_of_asset,
    series_of_group,
)


def score_reliability(forecast: xr.Dataset, realised: Profiles, *, bins: int = 10) -> pd.DataFrame:
    """Whether probabilities mean what they say, per kind of asset and for the total.

    Parameters
    ----------
    forecast, realised : Dataset
        As in `score_forecast`.
    bins : int
        Parts of the PIT histogram.

    Returns
    -------
    DataFrame
        Columns `level, name, what, probability, share, steps`. Rows of `what` = "quantile": share of the outcomes of
        all assets of a kind at or below their own quantile of that probability; calibrated where both are equal.
        Rows of `what` = "pit": share of the outcomes whose place among the paths lies in the part that ends at
        `probability` (`pit_histogram`, pooled over the assets of a kind; of the total: of the sum). PV by day.
    """
    actual = actual_power(forecast, realised)
    kinds, levels = forecast["kind"].to_numpy().astype(str), forecast["quantile"].to_numpy()
    steps_of = choose_steps(forecast)
    rows: list[dict[str, object]] = []
    for group, members in groups_of(kinds).items():
        whole = group == "total"
        parts = (
            [series_of_group(forecast, actual, members)]
            if whole
            else (series_of_asset(forecast, actual, int(member)) for member in members)
        )
        chosen = steps_of(group).chosen
        counts = sum((count_places(part, chosen, bins) for part in parts), np.zeros(1 + len(levels) + bins))
        label = {"level": "total" if whole else "kind", "name": group}
        rows += [label | row for row in reliability_rows(counts, levels)]
    return pd.DataFrame(rows)


def count_places(series: Series, chosen: np.ndarray, bins: int) -> np.ndarray:
    """Known steps, outcomes below each quantile, outcomes in each part of the paths' distribution. (1 + level + bin,)

    Of an outcome that equals its quantile half counts as below: at night both are zero.
    """
    used = chosen & np.isfinite(series.actual_mw)
    actual, quantiles = series.actual_mw[used], series.quantile_mw[:, used]
    below = ((actual < quantiles) + 0.5 * (actual == quantiles)).sum(axis=1)
    steps = len(actual)
    pit = steps * pit_histogram(actual, series.path_mw[:, used], bins) if steps else np.zeros(bins)
    return np.concatenate([[steps], below, pit])


def reliability_rows(counts: np.ndarray, levels: np.ndarray) -> Iterator[dict[str, object]]:
    """Rows of `score_reliability` of one kind, from the counts of its assets."""
    steps = int(counts[0])
    shares = counts[1:] / steps if steps else np.full(len(counts) - 1, np.nan)
    bins = len(shares) - len(levels)
    probabilities = [*levels, *((np.arange(bins) + 1) / bins)]
    names = ["quantile"] * len(levels) + ["pit"] * bins
    for what, probability, share in zip(names, probabilities, shares, strict=True):
        yield {"what": what, "probability": float(probability), "share": float(share), "steps": steps}
