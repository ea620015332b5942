"""The run folder: whole or not at all, never over something else, the same bytes for the same study."""

from __future__ import annotations

import json
import os
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError, GridtwinError
from gridtwin.report import run_folder as module
from gridtwin.report.results import StudyResults
from gridtwin.report.run_folder import RunFolder, read_run, refuse_finished_run, write_report, write_run
from gridtwin.report.spreadsheet import MAX_ROWS, cell_value, write_spreadsheet


def test_a_run_holds_what_it_promises(run: RunFolder) -> None:
    there = {path.name for path in run.folder.iterdir()}
    assert there == {"run.json", "statements", "tables", "tables.xlsx", "report.html"}
    assert run.about["versions"]["gridtwin"]
    assert run.about["inputs_sha256"] == {"scenario.toml": "0" * 64}
    assert run.about["certificate"]["limits_hold"] is True
    assert run.about["balancing"]["total_cost_eur"] is None, "a number that is not one is null in JSON"
    assert run.about["time"]["days"] == ["2016-12-13"]
    assert run.about["tables"] == {name: len(run.table(name)) for name in run.names}


def test_nothing_is_left_beside_the_run(run: RunFolder) -> None:
    assert [path.name for path in run.folder.parent.iterdir()] == ["first"]


def test_the_same_study_gives_the_same_bytes(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first, again = (write_run(make_study(steps=8), tmp_path / name) for name in ("first", "again"))
    files = [path.relative_to(first) for path in first.rglob("*.*") if path.suffix != ".xlsx"]
    assert len(files) > 20
    for file in files:
        assert (first / file).read_bytes() == (again / file).read_bytes(), file


def test_a_finished_run_is_not_overwritten_unasked(run: RunFolder, results: StudyResults) -> None:
    before = (run.folder / "run.json").stat().st_mtime_ns
    with pytest.raises(GridtwinError, match=r"holds a finished run.*--overwrite"):
        write_run(results, run.folder)
    assert (run.folder / "run.json").stat().st_mtime_ns == before


def test_overwriting_replaces_the_whole_run(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_run(make_study(steps=8, paths=3), tmp_path / "run")
    (folder / "old.txt").write_text("from the run before")
    write_run(make_study(steps=8, paths=3, seed=8), folder, overwrite=True)
    assert read_run(folder).about["seed"] == 8
    assert not (folder / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_someone_elses_folder_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(GridtwinError, match="something that is not a run"):
        refuse_finished_run(tmp_path, overwrite=overwrite)
    refuse_finished_run(tmp_path / "new")


def test_a_run_that_dies_leaves_nothing(make_study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_report", die)
    with pytest.raises(KeyboardInterrupt):
        write_run(make_study(steps=8, paths=3), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_a_living_one_kept(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gone = 2**22 + 7  # above the largest process number of Linux
    (tmp_path / f".run.partial-{gone}").mkdir()
    (tmp_path / f".run.partial-{os.getppid()}").mkdir()
    write_run(make_study(steps=8, paths=3), tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".run.partial-{os.getppid()}", "run"]


def test_the_page_is_made_from_the_folder_alone(run: RunFolder) -> None:
    file = run.folder / "report.html"
    before = file.read_bytes()
    file.unlink()
    assert write_report(run.folder) == file
    assert file.read_bytes() == before


def test_a_folder_without_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a finished run"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(DataError, match=r"schema_version 1, got 99"):
        read_run(tmp_path)


def test_power_flow_is_written_where_asked(make_study, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    study = make_study(steps=8, paths=3)
    file = tmp_path / "power_flow.nc"
    module.write_power_flow(study.power_flows, file)
    with xr.open_dataset(file, engine="scipy") as written:
        assert written["forecast_vm_pu"].dims == ("forecast_path", "time", "bus")
        assert written["forecast_vm_pu"].dtype == "float32"
        assert list(written["bus"].to_numpy().astype(str)) == list(study.twin.buses.index)
        assert (written["time"].to_numpy() == study.forecast["time"].to_numpy()).all()
        difference = abs(written["realised_vm_pu"].to_numpy() - study.power_flows["realised"]["vm_pu"].to_numpy())
        assert difference.max() < 1e-6, "float32 keeps seven digits"


def test_no_text_becomes_a_formula(run: RunFolder) -> None:
    book = openpyxl.load_workbook(run.folder / "tables.xlsx", read_only=True)
    for sheet in book:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f", (sheet.title, cell.value)
    names = [row[0].value for row in book["connections"].iter_rows()]
    assert names == ["name", "'=HYPERLINK(1)"]
    book.close()


def test_cells_keep_numbers_and_lose_control_characters() -> None:
    assert cell_value(-3.5) == -3.5, "a negative number is no formula"
    assert cell_value("-3.5") == "'-3.5"
    assert cell_value("a\x00b") == "ab"
    assert cell_value("@SUM(A1)") == "'@SUM(A1)"


def test_long_tables_are_left_out_and_named(tmp_path: Path) -> None:
    tables = {"short": pd.DataFrame({"a": [1]}), "long": pd.DataFrame({"a": range(MAX_ROWS + 1)})}
    book = openpyxl.load_workbook(write_spreadsheet(tables, tmp_path / "t.xlsx", title="t"))
    assert book.sheetnames == ["about", "short"]
    notes = {row[0].value: row[1].value for row in book["about"].iter_rows()}
    assert "tables/long.parquet" in notes["long"]
