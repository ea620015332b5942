"""Parquet files are read without leaving a Python object in a thread of pyarrow."""

from __future__ import annotations

import builtins
import io
from pathlib import Path

import pandas as pd
import pytest

from gridtwin.data.parquet import read_parquet


def test_a_table_comes_back_and_python_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python file dropped by a reading thread while the interpreter ends aborts the process."""
    file = tmp_path / "a.parquet"
    index = pd.DatetimeIndex(pd.date_range("2026-01-01", periods=3, freq="15min", tz="Europe/Berlin"), name="time")
    table = pd.DataFrame({"p_mw": [1.0, None, 3.0], "name": ["a", "b", None]}, index=index)
    table.to_parquet(file)
    through_pandas = pd.read_parquet(file)

    def forbidden(*args: object, **more: object) -> None:
        raise AssertionError("opened by Python")

    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr(io, "open", forbidden)
    found = read_parquet(file)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(found, through_pandas)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("time,p_mw", encoding="utf-8")
    with pytest.raises(ValueError, match="Parquet"):
        read_parquet(file)
    with pytest.raises(OSError):
        read_parquet(tmp_path / "b.parquet")
