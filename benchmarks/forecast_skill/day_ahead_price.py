"""Day-ahead prices: ours beside the published forecasts of LEAR and of deep neural networks, on the same days.

Run it as `python -m benchmarks.forecast_skill.day_ahead_price`; it writes
`benchmarks/results/forecast_skill_price.json`. `--smoke` does two years before the German test window and writes
nothing. `GRIDTWIN_DATA` names the folder of the data.

Germany is the market of the open benchmark of Lago et al. 2021 (doi:10.1016/j.apenergy.2021.116983): 728 days, load
and renewable forecasts as inputs, hours of a day with 24 of them all year. All settings of `roll_price_forecast` were
chosen on the 364 days before the test window, whose score stands beside; none was
changed once the test window had been run. The Dutch prices and those of GEFCom2014 are run with the same settings.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.prices import roll_price_forecast
from gridtwin.forecast.rolled import Rolled
from gridtwin.forecast.score_rules import pinball_loss

RESULTS = Path(__file__).parents[1] / "results"
LEVELS = tuple(np.round(np.arange(1, 100) / 100, 2).tolist())
HOUR = pd.Timedelta(hours=1)
TEST_DAYS, VALIDATION_DAYS, TRAINING_DAYS = 728, 364, 728


def main() -> None:
    """Measure all markets and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="two years of Germany; writes nothing")
    smoke = parser.parse_args().smoke
    folder = Path(os.environ.get("GRIDTWIN_DATA", "../shared/data"))
    file = folder / "epf_day_ahead_price" / "DE_price_tso_forecasts.csv.gz"
    if not file.exists():
        print(f"skipped: {file} is not there; GRIDTWIN_DATA names the folder of the data")
        return
    if smoke:
        print(json.dumps(score_germany(file, days=2 * 364, test=slice(-364, None)), indent=2))
        return
    results: dict[str, Any] = {
        "about": {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "rmae": "mae by that of the price a week before, over the same hours",
            "settings": "defaults, chosen on the 364 days before the German test window",
        },
        "DE": compare_germany(file),
        "NL": score_netherlands(folder / "nl_day_ahead_price" / "2015_2022.parquet"),
        "GEFCom2014": score_gefcom(folder / "gefcom2014_price" / "price_hourly.csv.gz"),
    }
    (RESULTS / "forecast_skill_price.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


def compare_germany(file: Path) -> dict[str, Any]:
    """Ours and the published forecasts on the test window, and ours on the validation year before it."""
    days = len(pd.read_csv(file)) // 24
    test = slice(days - TEST_DAYS, days)
    validation = slice(days - TEST_DAYS - VALIDATION_DAYS, days - TEST_DAYS)
    published = pd.read_parquet(file.parent / "forecasts_DE_DNN_LEAR.parquet")
    table = pd.read_csv(file, index_col=0, parse_dates=True)
    actual = table.loc[published.index, "price_eur_mwh"].to_numpy()
    assert np.abs(actual - published["Real price"]).max() < 1e-4  # single precision of the published table
    naive = np.abs(actual - table["price_eur_mwh"].shift(7 * 24).loc[published.index]).mean()
    scores = {name: point_scores(actual, values.to_numpy(float), float(naive))
              for name, values in published.drop(columns="Real price").items()}  # fmt: skip
    ours = score_germany(file, days=days, test=test)
    lear, dnn = scores["LEAR Ensemble"]["mae"], scores["DNN Ensemble"]["mae"]
    return {
        "ours": ours,
        "published_recomputed": scores,
        "ours_against_lear_ensemble_percent": round(100 * (ours["mae"] / lear - 1), 2),
        "ours_against_dnn_ensemble_percent": round(100 * (ours["mae"] / dnn - 1), 2),
        "validation": score_germany(file, days=validation.stop, test=validation),
    }


def score_germany(file: Path, *, days: int, test: slice) -> dict[str, Any]:
    """Scores of ours over some of the first days."""
    table = pd.read_csv(file, index_col=0, parse_dates=True)[: days * 24]
    price, load, renewable = (table[name].to_numpy(float).reshape(-1, 24) for name in table)
    grid = ClockGrid.of_days(table.index[0].date(), days, "Europe/Berlin", HOUR)
    published = {"load": load, "renewable": renewable}
    return score_market(price, grid, test, training=min(TRAINING_DAYS, days // 2), published=published)


def score_netherlands(file: Path) -> dict[str, Any]:
    """Scores by year, without any input but prices."""
    series = pd.read_parquet(file).set_index("time_utc")["price_eur_mwh"].tz_localize(None)
    local = series.index.tz_localize("UTC").tz_convert("Europe/Amsterdam")
    first, last = local[0].date() + dt.timedelta(days=1), local[-1].date()
    grid = ClockGrid.of_days(first, (last - first).days, "Europe/Amsterdam", HOUR)
    price = grid.to_cube(series.reindex(grid.axis.times).to_numpy(float))
    begin = time.perf_counter()
    forecast = roll_price_forecast(price, grid, training=TRAINING_DAYS, levels=LEVELS)
    seconds = time.perf_counter() - begin
    years = np.array([day.year for day in grid.dates])
    scores = {}
    for year in range(2017, int(years.max()) + 1):
        chosen = np.flatnonzero(years == year)
        scores[str(year)] = score_days(price, forecast, slice(chosen[0], chosen[-1] + 1))
    return {"years": scores, "days": len(price), "seconds": round(seconds, 1)}


def score_gefcom(file: Path) -> dict[str, Any]:
    """Scores of the last year, with the published forecasts of total and zonal load."""
    table = pd.read_csv(file, parse_dates=["timestamp"])
    table = table[~table["price_hidden_in_task5"]]
    keys = [table["timestamp"].dt.date, table["timestamp"].dt.hour]
    columns = ["zonal_price_usd_mwh", "forecast_total_load_mw", "forecast_zonal_load_mw"]
    price, total, zonal = (table.groupby(keys)[name].first().unstack() for name in columns)
    grid = ClockGrid.of_days(price.index[0], len(price), "America/New_York", HOUR)
    published = {"total_load": total.to_numpy(float), "zonal_load": zonal.to_numpy(float)}
    return score_market(price.to_numpy(float), grid, slice(-364, None), training=364, published=published)


def score_market(
    price: np.ndarray, grid: ClockGrid, test: slice, *, training: int, published: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Scores of ours, and the time it took for all days together."""
    begin = time.perf_counter()
    forecast = roll_price_forecast(price, grid, training=training, published=published, levels=LEVELS)
    return score_days(price, forecast, test) | {"seconds": round(time.perf_counter() - begin, 1), "days": len(price)}


def score_days(price: np.ndarray, forecast: Rolled, test: slice) -> dict[str, Any]:
    """Scores of point and quantiles over some days, beside the price of a week before."""
    week_before = np.concatenate([np.full((7, price.shape[1]), np.nan), price[:-7]])[test]
    actual, point, quantiles = price[test], forecast.point[test, :, 0], forecast.quantiles[:, test, :, 0]
    known = np.isfinite(actual) & np.isfinite(point) & np.isfinite(week_before)
    y, q = actual[known], quantiles[:, known]
    inside = [(y >= q[tail - 1]) & (y <= q[99 - tail]) for tail in (10, 5)]
    naive = float(np.abs(y - week_before[known]).mean())
    return point_scores(y, point[known], naive) | {
        "mae_naive": round(naive, 4),
        "pinball": round(float(pinball_loss(y, q, np.array(LEVELS)).mean()), 4),
        "coverage_of_80_percent_band_percent": round(float(100 * inside[0].mean()), 1),
        "coverage_of_90_percent_band_percent": round(float(100 * inside[1].mean()), 1),
        "hours": int(known.sum()),
    }


def point_scores(actual: np.ndarray, point: np.ndarray, naive: float) -> dict[str, float]:
    """Mean absolute and root mean square error, and the first by that of the naive."""
    error = point - actual
    mae = float(np.abs(error).mean())
    return {
        "mae": round(mae, 4),
        "rmse": round(float(np.sqrt((error**2).mean())), 4),
        "rmae": round(mae / naive, 4),
    }


if __name__ == "__main__":
    main()
