"""The run folder: the only place that results are written to, all at once or not at all.

run.json        what ran: versions, inputs, seed, certificate, findings, energy
tables/*.parquet
tables.xlsx
power_flow.nc   where asked for
statements/     energy statements, as JSON and as pages
report.html     made from the files above
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.parquet import read_parquet
from gridtwin.errors import DataError, Finding, GridtwinError
from gridtwin.report.page import render_page
from gridtwin.report.results import StudyResults
from gridtwin.report.spreadsheet import write_spreadsheet
from gridtwin.report.statement_files import write_statement
from gridtwin.report.tables import Tables, build_tables
from gridtwin.report.workload_statements import build_statements
from gridtwin.time_axis import to_local

SCHEMA_VERSION = 1
LIBRARIES = ("gridtwin", "darts", "highspy", "lightgbm", "numba", "numpy", "pandapower", "pandas", "plotly", "pyomo",
             "scipy", "simbench", "xarray")  # fmt: skip
RUN_FILE, PAGE_FILE, TABLE_FOLDER, STATEMENT_FOLDER = "run.json", "report.html", "tables", "statements"
SCHEDULABLE = ("electric_car", "heat_pump", "pv", "wind", "battery", "computing_job")
"""Kinds that a schedule can move."""
DEAD_AFTER_SECONDS = 3600.0


@dataclass(frozen=True)
class RunFolder:
    """A finished run: `about` is run.json, tables are read when first asked for."""

    folder: Path
    about: Mapping[str, Any]
    _read: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> list[str]:
        """Names of the tables in the folder."""
        return sorted(file.stem for file in (self.folder / TABLE_FOLDER).glob("*.parquet"))

    @property
    def statements(self) -> list[Path]:
        """Pages of the energy statements, by name."""
        return sorted((self.folder / STATEMENT_FOLDER).glob("*.html"))

    def table(self, name: str) -> pd.DataFrame:
        """One table; an empty one where the study did not ask for it."""
        file = self.folder / TABLE_FOLDER / f"{name}.parquet"
        if name not in self._read:
            self._read[name] = read_parquet(file) if file.is_file() else pd.DataFrame()
        return self._read[name]


def write_run(results: StudyResults, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write the run folder; it appears complete, or not at all.

    Parameters
    ----------
    results : StudyResults
        What the study produced.
    folder : str or Path
        Where the run goes; its parents are made.
    overwrite : bool, default False
        Replace a finished run that is there.

    Raises
    ------
    GridtwinError
        If the folder holds a finished run, or anything that is not a run.
    """
    folder = Path(folder).resolve()
    refuse_finished_run(folder, overwrite=overwrite)
    with whole_folder(folder) as partial:
        tables = build_tables(results)
        _write_json(about_run(results, tables), partial / RUN_FILE)
        write_tables(tables, partial / TABLE_FOLDER)
        write_spreadsheet(tables, partial / "tables.xlsx", title=str(results.scenario["title"]))
        if results.scenario.get("output", {}).get("power_flow"):
            write_power_flow(results.power_flows, partial / "power_flow.nc")
        write_statements(results, partial / STATEMENT_FOLDER)
        write_report(partial)
    return folder


def read_run(folder: str | Path) -> RunFolder:
    """A finished run from its folder.

    Raises
    ------
    DataError
        If the folder is no finished run, or one of another layout.
    """
    folder = Path(folder)
    file = folder / RUN_FILE
    if not file.is_file():
        raise DataError(
            [Finding("this is not a finished run", where=str(folder), expected=f"a folder with {RUN_FILE}",
                     do="`gridtwin run <scenario>` makes one.", severity="error")]
        )  # fmt: skip
    about = json.loads(file.read_text(encoding="utf-8"))
    if about.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            [Finding("the run has another layout", where=str(file), expected=f"schema_version {SCHEMA_VERSION}",
                     got=str(about.get("schema_version")), do="Run the scenario again.", severity="error")]
        )  # fmt: skip
    return RunFolder(folder, about)


def write_report(folder: str | Path) -> Path:
    """Render `report.html` of a finished run from its files alone."""
    run = read_run(folder)
    file = run.folder / PAGE_FILE
    draft = file.with_suffix(".html.partial")
    draft.write_text(render_page(run), encoding="utf-8")
    os.replace(draft, file)
    return file


def write_statements(results: StudyResults, folder: Path) -> None:
    """An energy statement as JSON and as a page for the computing and for every workload that was planned."""
    statements = build_statements(results)
    if statements:
        folder.mkdir()
    for name, statement in statements.items():
        stem = re.sub(r"[^\w-]+", "_", name)
        for suffix in (".json", ".html"):
            write_statement(statement, folder / f"{stem}{suffix}")


def write_tables(tables: Tables, folder: Path) -> None:
    """One Parquet file per table."""
    folder.mkdir()
    for name, table in tables.items():
        _storable(table).to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")


def write_power_flow(flows: Mapping[str, xr.Dataset], file: Path) -> None:
    """All voltages and loadings of every path and step as float32; variables are named `<case>_<variable>`."""
    parts = [_netcdf_part(case, flow) for case, flow in flows.items()]
    joined = xr.merge(parts, join="exact", combine_attrs="drop", compat="equals")
    joined.to_netcdf(file, engine="scipy", encoding={"time": {"units": "minutes since 1970-01-01", "dtype": "i4"}})


def _netcdf_part(case: str, flow: xr.Dataset) -> xr.Dataset:
    """One case: own path dim, because forecasts have many paths and reality has one."""
    small = flow.drop_vars([name for name in flow.coords if name not in flow.dims]).map(_small, keep_attrs=True)
    small = small.assign_attrs({})
    names = {str(name): f"{case}_{name}" for name in small.data_vars}
    return small.rename(names | ({"path": f"{case}_path"} if "path" in small.dims else {}))


def _small(values: xr.DataArray) -> xr.DataArray:
    return values.astype("float32") if values.dtype.kind == "f" else values.astype("int32")


def about_run(results: StudyResults, tables: Tables) -> dict[str, Any]:
    """Everything about the run that is not a table: `run.json`."""
    scenario, twin = results.scenario, results.twin
    zone = str(scenario["time"]["zone"])
    times = pd.DatetimeIndex(results.forecast.indexes["time"])
    local = to_local(times, zone)
    issues = pd.DatetimeIndex(np.unique(results.forecast["issue_time"].to_numpy()))
    about = {
        "schema_version": SCHEMA_VERSION,
        "name": results.name,
        "title": scenario["title"],
        "description": scenario.get("description", ""),
        "seed": scenario.get("seed"),
        "versions": _versions(),
        "time": {
            "zone": zone,
            "first_utc": times[0],
            "steps": len(times),
            "step_minutes": float((times[1] - times[0]) / pd.Timedelta(minutes=1)),
            "days": [str(day) for day in dict.fromkeys(local.date)],
            "issue_local": [stamp.isoformat(timespec="minutes") for stamp in to_local(issues, zone)],
        },
        "network": {
            "source": scenario["network"]["source"],
            "buses": len(twin.buses),
            "branches": len(twin.branches),
            "assets": {
                str(kind): int(count) for kind, count in twin.assets["kind"].value_counts().sort_index().items()
            },
            **_count_flexible(results),
        },
        "rules": twin.rules,
        "forecast": {**results.forecast.attrs, "path_count": results.forecast.sizes["path"]},
        "cases": list(results.power_flows),
        "unsolved_steps": {
            case: {"unsolved": int((flow["status"] != 0).sum()), "of": flow["status"].size}
            for case, flow in results.power_flows.items()
        },
        "assumed": assumed_inputs(results),
        "certificate": results.certificate,
        "balancing": results.balancing_totals,
        "findings": [asdict(finding) for finding in results.findings],
        "data_quality": _quality_summary(results.data_quality),
        "energy": results.energy,
        "timings_seconds": results.timings,
        "inputs_sha256": results.input_hashes,
        "tables": {name: len(table) for name, table in tables.items()},
        "scenario": scenario,
    }
    return dict(about)


def _count_flexible(results: StudyResults) -> dict[str, dict[str, int]]:
    """Devices that the schedule may move, and those of the kinds that can be flexible but are not."""
    assets = results.twin.assets
    moved = assets.index.isin([] if results.schedule is None else results.schedule["asset"].to_numpy())
    could = assets["kind"].isin(list(SCHEDULABLE)).to_numpy() & ~moved
    words = np.array([f"{kind} ({origin})" for kind, origin in zip(assets["kind"], assets["origin"], strict=True)])
    counted = {name: Counter(words[chosen].tolist()) for name, chosen in (("flexible", moved), ("inflexible", could))}
    return {name: {word.replace("_", " "): counts[word] for word in sorted(counts)} for name, counts in counted.items()}


def assumed_inputs(results: StudyResults) -> list[str]:
    """Every input that was neither measured nor calculated from a measurement, in words."""
    assets = results.twin.assets
    grown = assets.loc[assets["origin"] == "growth", "kind"].value_counts().sort_index()
    assumed = [f"{count} × {str(kind).replace('_', ' ')}: number, place and behaviour" for kind, count in grown.items()]
    for title, series in (("Day-ahead prices", results.prices), ("Outdoor temperature", results.weather)):
        if series is not None and _kind_of(series) == "assumed":
            assumed.append(f"{title}: declared as assumed in the scenario")
    if results.prices is not None:
        assumed.append("Day-ahead prices are taken as known when the forecast is issued")
    quality = results.data_quality
    if "pseudo" in quality and (quality["pseudo"] > 0).any():
        assumed.append(f"Profiles of {int((quality['pseudo'] > 0).sum())} assets (pseudo values)")
    return assumed + [finding.what for finding in results.findings if "assumed" in finding.what.lower()]


def _kind_of(series: xr.Dataset) -> str:
    kinds = {str(series.attrs.get("kind", ""))} | {str(series[name].attrs.get("kind", "")) for name in series}
    return "assumed" if "assumed" in kinds else ""


def _quality_summary(quality: pd.DataFrame) -> dict[str, float]:
    """Mean share of each quality code over all assets. [-]"""
    return {str(name): float(value) for name, value in quality.select_dtypes("number").mean().items()}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def refuse_finished_run(folder: str | Path, *, overwrite: bool = False) -> None:
    """Raise `GridtwinError` if writing a run there would destroy something.

    Called before the study as well, so that nobody waits for a run that cannot
    be written.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / RUN_FILE).is_file():
        raise GridtwinError(
            [Finding("the folder holds something that is not a run", where=str(folder),
                     expected="a new or empty folder", do="Choose another folder with --out.", severity="error")]
        )  # fmt: skip
    if not overwrite:
        raise GridtwinError(
            [Finding("the folder holds a finished run", where=str(folder), expected="a new or empty folder",
                     do="Choose another folder with --out, or replace the run with --overwrite.", severity="error")]
        )  # fmt: skip


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A sibling folder to fill; it takes the place of `folder` when all went well, else it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead_partials(folder)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        _flush_to_disk(partial)
        _take_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_place(partial: Path, folder: Path) -> None:
    """Swap in one rename; a finished run that is replaced is moved aside first and removed last."""
    if not folder.exists():
        os.replace(partial, folder)
        return
    aside = folder.with_name(f".{folder.name}.replaced-{os.getpid()}")
    os.replace(folder, aside)
    try:
        os.replace(partial, folder)
    except OSError:
        os.replace(aside, folder)
        raise
    shutil.rmtree(aside)


def _remove_dead_partials(folder: Path) -> None:
    """Remove what a killed run left beside the folder; those of living processes stay."""
    for left in folder.parent.glob(f".{folder.name}.partial-*"):
        if _is_dead(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_dead(left: Path) -> bool:
    """Whether the process that fills a partial folder is gone; by age where that cannot be asked."""
    number = left.name.rpartition("-")[2]
    if os.name != "posix" or not number.isdigit():
        return time.time() - left.stat().st_mtime > DEAD_AFTER_SECONDS
    try:
        os.kill(int(number), 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(number) == os.getpid()


def _flush_to_disk(folder: Path) -> None:
    """Make sure that every file lies on the disk before the folder gets its name."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and os.name != "posix":
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_json(values: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """A value as JSON can hold it; numbers that are not finite become null.

    >>> plain({"a": np.float64("nan"), "b": (1, pd.Timestamp("2016-12-13"))})
    {'a': None, 'b': [1, '2016-12-13T00:00:00']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else list(value))]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, dt.date | dt.time | dt.datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _storable(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of mixed objects (tuples, lists, dicts) become text, so that Parquet can hold them."""
    mixed = [name for name in table if table[name].dtype == object and not _all_text(table[name])]
    return table.assign(**{str(name): table[name].map(_as_text) for name in mixed})


def _all_text(column: pd.Series) -> bool:
    return all(isinstance(value, str) for value in column)


def _as_text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
