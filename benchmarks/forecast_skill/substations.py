"""Net load of Dutch substations and of a transformer a day ahead, beside OpenSTEF 3.4.

Run it as `python -m benchmarks.forecast_skill.substations --peer PYTHON --work FOLDER`, PYTHON being that of an
environment that has OpenSTEF (see `benchmarks/peers/openstef_side.py`); it writes
`benchmarks/results/forecast_skill_substations.json`. Forecasts of the peer are kept in FOLDER and read from there the
next time; without any its part is left out. `--smoke` takes one station and two weeks, without the peer, and writes
nothing. `GRIDTWIN_DATA` names the folder of the data.

Both sides forecast each local day at noon of the day before, from the same load and the same predictors: all columns of
the file, which for two stations are weather, day-ahead price and the Dutch standard profiles. The weather was
measured or analysed, not forecast: for both sides the scores are those of perfect weather forecasts. OpenSTEF runs
`xgb_quantile` with its default hyperparameters and training horizons (0.25 h and 47 h) on all history before the
issue, retrained weekly (the transformer: every four weeks, to save time). Our ridge is refitted
daily, which is its default; trees and the blend of both are the high-quality models. `peaks` are those of the point
forecast, for the ridge a mean; `peaks_of_median` those of the median, which OpenSTEF's point is.

Settings of the response to weather agree with what days before the judged ones, another load (GEFCom2014) and a price
prefer, but figures of the judged days were seen beside them while they were chosen: these are not blind results.
Seconds are of a shared machine, wall time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecast_skill.rolled_scores import calibrated, data_folder, peak_metrics, score_steps, write_result
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.features import days_before
from gridtwin.forecast.history import substitute_gaps
from gridtwin.forecast.model_blend import blend_models
from gridtwin.forecast.ridge_days import roll_ridge_days
from gridtwin.forecast.rolled import Rolled
from gridtwin.forecast.trees import roll_trees
from gridtwin.forecast.weather_response import respond_to_weather

LEVELS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
ISSUE = dt.time(12)
OPENSTEF_SIDE = Path(__file__).parent.parent / "peers" / "openstef_side.py"
OPENSTEF_NAMES = {"APX": "day_ahead_electricity_price"}
"""Of predictors that OpenSTEF treats by name."""
OPENSTEF_HORIZONS_H = (0.25, 47.0)
WEATHER = ("radiation", "windspeed_100m", "temp")
LEAST_SPREAD = 0.01
"""Two steps of the last digit of the files: a series that varies less was not measured. [MW]"""
GROWN = 1.4
"""The last quarter's 95 % quantile by that of the first, above which a series is not the same any more."""


@dataclass(frozen=True)
class Subject:
    """One series with its predictors on whole local days.

    Parameters
    ----------
    load : ndarray, (time,)
        Net load, unit of the file; NaN where unknown.
    predictors : DataFrame
        On the steps of the grid.
    first : int
        Position of the first judged day.
    retrain_days : int
        Between two trainings of the peer.
    status : str
        `forecast`, `imputed` (gaps substituted), or `idle` (nothing to forecast).
    findings : tuple of str
        What is wrong with the measurements.
    """

    name: str
    grid: ClockGrid
    load: np.ndarray
    predictors: pd.DataFrame
    first: int
    retrain_days: int
    status: str
    findings: tuple[str, ...]

    @property
    def cube(self) -> np.ndarray:
        """Load by (day, slot)."""
        return self.grid.to_cube(self.load)


def read_subjects() -> Iterator[Subject]:
    """All series, those that cannot be forecast included."""
    folder = data_folder()
    for name in ("pid_287", "pid_307"):
        table = pd.read_parquet(folder / "liander_substations" / f"{name}_15min.parquet")
        yield on_local_days(name, table["load"], table.drop(columns="load"), "Europe/Amsterdam", first=75)
    loads = pd.read_parquet(folder / "ett_transformer" / "ETTh1.parquet")
    loads.index = pd.DatetimeIndex(loads.index).tz_localize(None).tz_localize("UTC")
    for name in ("HUFL", "MUFL"):
        nothing = pd.DataFrame(index=loads.index)
        yield on_local_days(f"ETTh1_{name}", loads[name], nothing, "Asia/Shanghai", first=641, retrain_days=28)
    stations = pd.read_parquet(folder / "liander_substations" / "combined_6_substations_15min.parquet")
    for name, table in stations.set_index("datetime").groupby("substation"):
        predictors = table[["radiation", "windspeed_100m"]]
        yield on_local_days(str(name), table["total_substation"], predictors, "Europe/Amsterdam", first=60)


def on_local_days(
    name: str, load: pd.Series, predictors: pd.DataFrame, zone: str, *, first: int, retrain_days: int = 7
) -> Subject:
    """Whole local days of a series, with the status of its measurements."""
    local = pd.DatetimeIndex(load.index).tz_convert(zone)
    begin, end = local[0].date() + dt.timedelta(days=1), local[-1].date() - dt.timedelta(days=1)
    grid = ClockGrid.of_days(begin, (end - begin).days + 1, zone, local[1] - local[0])
    times = grid.axis.times.tz_localize("UTC")
    values = load.reindex(times).to_numpy(float)
    status, findings = check_series(values, grid)
    return Subject(name, grid, values, predictors.reindex(times).astype(float), first, retrain_days, status, findings)


def check_series(values: np.ndarray, grid: ClockGrid) -> tuple[str, tuple[str, ...]]:
    """Status of a series and what is wrong with it."""
    known = values[np.isfinite(values)]
    if len(known) == 0 or np.ptp(known) <= LEAST_SPREAD:
        return "idle", (f"values from {known.min():g} to {known.max():g} throughout: no load is measured",)
    findings = []
    missing = np.bincount(grid.day[~np.isfinite(values)], minlength=len(grid.dates))
    if missing.any():
        findings.append(f"{int(missing.sum())} steps without a value on {int((missing > 0).sum())} days")
    quarter = len(known) // 4
    early, late = (np.quantile(np.abs(part), 0.95) for part in (known[:quarter], known[-quarter:]))
    if late > GROWN * early:
        findings.append(f"the 95 % quantile grows from {early:.1f} in the first quarter to {late:.1f} in the last")
    return ("imputed" if missing.any() else "forecast"), tuple(findings)


# Ours --------------------------------------------------------------------------------------------


Forecast = tuple[np.ndarray, np.ndarray, float]
"""Point (day, slot), quantiles of the judged days (level, day, slot), seconds."""


def roll_ours(subject: Subject) -> dict[str, Forecast]:
    """The default ridge with all predictors, with the usual weather and without any; then trees and the blend."""
    cube = substitute_gaps(subject.cube[:, :, np.newaxis])
    every = tuple(subject.predictors.columns)
    inputs = {"ridge": every}
    if every:
        inputs |= {"ridge_radiation_wind_temperature": WEATHER, "ridge_no_predictors": ()}
    found = {}
    for name, columns in inputs.items():
        started = time.perf_counter()
        rolled = Rolled(roll(subject, cube, columns)[:, :, np.newaxis])
        found[name] = calibrate(subject, rolled, started)
    return found | roll_trees_and_blend(subject, cube, every)


def calibrate(subject: Subject, rolled: Rolled, started: float) -> Forecast:
    """Point and calibrated quantiles of the judged days."""
    judged = np.arange(subject.first, len(subject.grid.dates))
    own = None if rolled.quantiles is None else rolled.quantiles[..., 0]
    point = rolled.point[:, :, 0]
    quantiles = calibrated(subject.cube, point, subject.grid, judged, levels=LEVELS, model_quantiles=own)
    return point, quantiles, time.perf_counter() - started


def known_slots(subject: Subject) -> int:
    """Slots of the issue day that have ended at issue."""
    return subject.grid.slots_known_at(ISSUE)


def covariates_of(subject: Subject, columns: tuple[str, ...]) -> Covariates:
    """Predictors by (day, slot); a missing value is that of a week before, as for the load itself."""
    chosen = [name for name in columns if name in subject.predictors]
    cubes = (subject.grid.to_cube(subject.predictors[name].to_numpy())[:, :, np.newaxis] for name in chosen)
    return Covariates({name: substitute_gaps(cube)[:, :, 0] for name, cube in zip(chosen, cubes, strict=True)})


def roll(subject: Subject, cube: np.ndarray, columns: tuple[str, ...]) -> np.ndarray:
    """The default engine, (day, slot)."""
    training = min(subject.first, 150)
    given = respond_to_weather(cube, subject.grid, covariates_of(subject, columns), training)
    return roll_ridge_days(cube, subject.grid, known_slots(subject), training=training, covariates=given)[:, :, 0]


def roll_trees_and_blend(subject: Subject, cube: np.ndarray, columns: tuple[str, ...]) -> dict[str, Forecast]:
    """One gradient boosting that corrects the ridge, and the two weighted by recent skill; quantiles conformalised."""
    started = time.perf_counter()
    scale = float(np.nanstd(cube))
    ridge = roll(subject, cube, columns)[:, :, np.newaxis] / scale
    rolled = roll_trees(
        cube / scale, subject.grid, known_slots(subject), kind=np.array(["load"]), first=subject.first - 28,
        ridge=ridge, covariates=covariates_of(subject, columns), seed=1, levels=LEVELS,
    )  # fmt: skip
    blend = blend_models({"ridge": Rolled(ridge), "trees": rolled}, cube / scale).rolled
    grown = {name: scaled(one, scale) for name, one in (("trees", rolled), ("blend", blend))}
    return {name: calibrate(subject, one, started) for name, one in grown.items()}


def scaled(rolled: Rolled, scale: float) -> Rolled:
    """In the unit of the series."""
    assert rolled.quantiles is not None
    return Rolled(rolled.point * scale, rolled.quantiles * scale, rolled.levels)


# The peer ----------------------------------------------------------------------------------------


def run_peer(python: str, subject: Subject, folder: Path) -> None:
    """OpenSTEF in its own environment; leaves `quantiles.csv` and `done.json` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    times = subject.grid.axis.times.tz_localize("UTC")
    table = subject.predictors.rename(columns=OPENSTEF_NAMES)
    table.insert(0, "load", subject.load)
    table.set_index(times).to_csv(folder / "input.csv")
    job = {
        "id": subject.name, "name": subject.name, "model": "xgb_quantile", "forecast_type": "demand",
        "resolution_minutes": int(subject.grid.axis.step / pd.Timedelta("1min")), "quantiles": LEVELS,
        "train_components": False,
    }  # fmt: skip
    settings = {"retrain_origins": subject.retrain_days, "look_back_days": 16, "seed": 1}
    horizons = {"horizons_hours": OPENSTEF_HORIZONS_H, "origins": origins_of(subject)}
    (folder / "job.json").write_text(json.dumps({"prediction_job": job} | settings | horizons))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([python, str(OPENSTEF_SIDE), str(folder)], check=True, stdout=subprocess.DEVNULL, env=environment)


def origins_of(subject: Subject) -> list[dict[str, str]]:
    """Issue, begin and end of every judged day, UTC."""
    times, issues = subject.grid.axis.times.tz_localize("UTC"), subject.grid.issue_times(ISSUE)
    starts = np.searchsorted(subject.grid.day, np.arange(len(subject.grid.dates)))
    ends = [*times[starts[1:]], times[-1] + subject.grid.axis.step]
    return [
        {"issue": f"{issues[day]}+00:00", "begin": str(times[starts[day]]), "end": str(ends[day])}
        for day in range(subject.first, len(subject.grid.dates))
    ]


def read_peer(subject: Subject, folder: Path) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Quantiles of all days (level, day, slot), NaN where there are none, and what the run says of itself."""
    if not (folder / "done.json").exists():
        return None
    told = pd.read_csv(folder / "quantiles.csv", index_col=0)
    told.index = pd.to_datetime(told.index, utc=True)
    values = told.reindex(subject.grid.axis.times.tz_localize("UTC")).to_numpy(float)
    cube = np.moveaxis(subject.grid.to_cube(values), 2, 0)
    return cube, json.loads((folder / "done.json").read_text())


# Scores ------------------------------------------------------------------------------------------


def judge(subject: Subject, peer: tuple[np.ndarray, dict[str, Any]] | None) -> dict[str, Any]:
    """Scores of all forecasts on the same steps of the judged days."""
    found: dict[str, Any] = {"status": subject.status, "findings": list(subject.findings)}
    if subject.status == "idle":
        return found | {"forecast": float(np.nanmedian(subject.load))}
    first = subject.first
    naive = days_before(substitute_gaps(subject.cube[:, :, np.newaxis]), 7)[:, :, 0]
    forecasts = roll_ours(subject)
    if peer is not None:
        forecasts["openstef"] = peer[0][LEVELS.index(0.5)], peer[0][:, first:], sum(peer[1]["seconds"].values())
        found["openstef_run"] = peer[1] | {"retrain_days": subject.retrain_days}
    together = np.isfinite(np.stack([subject.cube, naive, *(one[0] for one in forecasts.values())])).all(axis=0)
    actual = np.where(together, subject.cube, np.nan)[first:]
    found["judged"] = [str(subject.grid.dates[first]), str(subject.grid.dates[-1]), int(together[first:].sum())]
    hours = 24 / subject.grid.slots
    for name, (point, quantiles, seconds) in forecasts.items():
        steps = (actual.ravel(), point[first:].ravel(), naive[first:].ravel(), quantiles.reshape(len(LEVELS), -1))
        scores = score_steps(*steps, levels=LEVELS) | {"seconds": round(seconds, 2)}
        median = quantiles[LEVELS.index(0.5)]
        peaks = {
            "peaks": peak_metrics(actual, point[first:], hours),
            "peaks_of_median": peak_metrics(actual, median, hours),
        }
        found[name] = scores | peaks
    return found


def main() -> None:
    """All series, or a short run of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="Python of an environment that has OpenSTEF")
    parser.add_argument("--work", type=Path, help="folder in which the peer's forecasts are kept")
    parser.add_argument("--smoke", action="store_true", help="one station, two weeks, without the peer; writes nothing")
    asked = parser.parse_args()
    results = {}
    for subject in shortened(read_subjects()) if asked.smoke else read_subjects():
        folder = asked.work / subject.name if asked.work else None
        if folder and asked.peer and subject.status != "idle" and not (folder / "done.json").exists():
            run_peer(asked.peer, subject, folder)
        results[subject.name] = judge(subject, read_peer(subject, folder) if folder else None)
        show(subject.name, results[subject.name])
    if not asked.smoke:
        weather = "measured or analysed, not forecast"
        settings = {"issue": "12:00 local, day before", "levels": LEVELS, "weather": weather}
        write_result("forecast_skill_substations", settings | {"series": results})


def shortened(subjects: Iterator[Subject]) -> Iterator[Subject]:
    """The first series, its last two weeks judged."""
    subject = next(subjects)
    last = len(subject.grid.dates) - 14
    yield Subject(**{**vars(subject), "first": last})


def show(name: str, result: dict[str, Any]) -> None:
    """One line per forecast."""
    print(name, result["status"], "; ".join(result["findings"]))
    for what, s in result.items():
        if isinstance(s, dict) and "pinball" in s:
            bands = f"80 % {s['coverage_80_percent']:5.1f} 90 % {s['coverage_90_percent']:5.1f}"
            keys = ("peak_height_mae", "peak_time_mae_h", "highest_5_percent_mae")
            peaks = " | ".join(" ".join(f"{p[key]:6.3f}" for key in keys) for p in (s["peaks"], s["peaks_of_median"]))
            error = f"nMAE {s['nmae_percent']:6.2f} pinball {s['pinball']:7.4f}"
            print(f"  {what:34s} {error} {bands} {peaks} {s['seconds']:7.1f} s", flush=True)


if __name__ == "__main__":
    main()
