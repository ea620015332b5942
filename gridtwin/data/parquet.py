"""Parquet files, read so that nothing of them outlives the reading."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet


def read_parquet(file: Path) -> pd.DataFrame:
    """The table of a Parquet file.

    Raises
    ------
    OSError, ValueError
        If the file is not there, or is no Parquet file; pyarrow's own errors derive from both.

    Notes
    -----
    The file is opened by pyarrow and not by Python. pandas hands over a Python file, which pyarrow's reading
    threads let go of at any time later; in an interpreter that is just ending that aborts the process.
    """
    table: pd.DataFrame = pyarrow.parquet.read_table(str(file)).to_pandas()
    return table
