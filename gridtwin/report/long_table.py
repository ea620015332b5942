"""Forms that all tables share: long, with UTC and local time in front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.time_axis import to_local


def with_local_times(table: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Every column of UTC times gets `_utc` in its name and a local neighbour."""
    if not len(table.columns):
        return table
    columns: dict[str, pd.Series] = {}
    for name in table:
        column = table[name]
        if pd.api.types.is_datetime64_dtype(column.dtype):
            stem = str(name).removesuffix("_utc")
            columns[f"{stem}_utc"] = column
            columns[f"{stem}_local"] = column.dt.tz_localize("UTC").dt.tz_convert(zone)
        else:
            columns[str(name)] = column
    return pd.DataFrame(columns)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Index levels with a name become columns, a bare row number does not."""
    named = any(name is not None for name in table.index.names)
    table = table.reset_index() if named else table.reset_index(drop=True)
    return table.rename(columns=str)


def timed(columns: Mapping[str, np.ndarray], times: xr.Dataset | pd.DatetimeIndex, zone: str) -> pd.DataFrame:
    """Table over time with `time_utc` and `time_local` in front."""
    index = times if isinstance(times, pd.DatetimeIndex) else pd.DatetimeIndex(times.indexes["time"])
    stamps = {"time_utc": index.as_unit("ns"), "time_local": to_local(index, zone).as_unit("ns")}
    return pd.DataFrame({**stamps, **columns})


def lengthen(
    columns: Mapping[str, np.ndarray], like: xr.DataArray, item: str, *, zone: str, case: str = ""
) -> pd.DataFrame:
    """Long table of arrays (time, item), time running slowest."""
    times, names = pd.DatetimeIndex(like.indexes["time"]), like[item].to_numpy().astype(str)
    index = times.repeat(len(names))
    table = timed({name: values.reshape(-1) for name, values in columns.items()}, index, zone)
    table.insert(2, item, np.tile(names, len(times)))
    if case:
        table.insert(3, "case", case)
    return table
