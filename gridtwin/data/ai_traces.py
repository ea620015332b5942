"""Recorded traces of AI work: requests to a language model, and wall meters of servers under test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gridtwin.data.parquet import read_parquet
from gridtwin.errors import DataError, Finding

REQUEST_COLUMNS = {"TIMESTAMP": "time", "ContextTokens": "context_tokens", "GeneratedTokens": "generated_tokens"}
"""Columns of the Azure LLM inference traces -> ours."""


def read_requests(file: Path) -> pd.DataFrame:
    """One row per request: `time` (UTC), `context_tokens`, `generated_tokens`, sorted by time.

    Raises
    ------
    DataError
        If columns are missing.
    """
    table = read_parquet(file)
    _need(table, list(REQUEST_COLUMNS), file)
    named = table[list(REQUEST_COLUMNS)].rename(columns=REQUEST_COLUMNS)
    return named.sort_values("time", kind="stable", ignore_index=True)


def read_wall_meter(file: Path) -> pd.DataFrame:
    """Samples of a three-phase wall meter: one row per sample and phase.

    Returns
    -------
    DataFrame
        `time, phase` (1, 2, 3), `p_w, v_v, i_a, power_factor`; a phase that was not metered has no rows, a value
        that the meter left out is NaN.

    Raises
    ------
    DataError
        If the file holds no phase.
    """
    table = read_parquet(file)
    names = {"watts": "p_w", "volts": "v_v", "amps": "i_a", "pf": "power_factor"}
    phases = [phase for phase in (1, 2, 3) if f"ch{phase}_watts" in table]
    if not phases:
        _need(table, ["time", "ch1_watts"], file)
    parts = [
        pd.DataFrame(
            {"time": table["time"], "phase": phase}
            | {ours: table.get(f"ch{phase}_{theirs}", pd.Series(np.nan, table.index)) for theirs, ours in names.items()}
        )
        for phase in phases
    ]
    return pd.concat(parts, ignore_index=True).sort_values(["time", "phase"], kind="stable", ignore_index=True)


def summarise_wall_meter(samples: pd.DataFrame) -> pd.DataFrame:
    """Mean power, share of the sum and power factor (P by S) of each phase; index: phase.

    Columns `p_w, share, power_factor`. Power factors are of energies, so that idle seconds weigh little.
    """
    apparent = samples["v_v"] * samples["i_a"]
    sums = samples.assign(s_va=apparent).groupby("phase")[["p_w", "s_va"]].mean()
    share = sums["p_w"] / sums["p_w"].sum()
    return pd.DataFrame({"p_w": sums["p_w"], "share": share, "power_factor": sums["p_w"] / sums["s_va"]})


def _need(table: pd.DataFrame, columns: list[str], file: Path) -> None:
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise DataError(
            [
                Finding(
                    "the trace lacks columns",
                    where=str(file),
                    expected=", ".join(lacking),
                    got=", ".join(map(str, table)),
                    severity="error",
                )
            ]
        )
