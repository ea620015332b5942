"""Bids of reserve power at buses: a table in, arrays on the time axis inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.grid.compile import compile_network
from gridtwin.grid.twin import GridTwin

Floats = NDArray[np.float64]
REQUIRED = ("bid", "bus", "direction", "p_mw")
SIGN = {"up": -1.0, "down": 1.0}
"""What an activation does to consumption: upward reserve consumes less or feeds in more."""
WORTH = "worth_eur_per_mw"
"""Optional column: what an offered MW is worth per step; without it every MW counts the same."""


@dataclass(frozen=True, eq=False)
class ReserveBids:
    """Bids on the steps of a study.

    Parameters
    ----------
    names : tuple of str, (bid,)
        Unique names.
    buses : list of str, (bus,)
        Buses with bids.
    bus : ndarray of int, (bid,)
        Place of each bid's bus in `buses`.
    sign : ndarray, (bid,)
        +1 where an activation raises consumption (down), -1 where it lowers it (up).
    p_mw : ndarray, (time, bid)
        What was bid, never negative. [MW]
    worth : ndarray, (time, bid)
        Worth of an offered MW, above 0. [EUR/MW]
    """

    names: tuple[str, ...]
    buses: list[str]
    bus: NDArray[np.int64]
    sign: Floats
    p_mw: Floats
    worth: Floats

    def at_buses(self, p_mw: Floats, sign: float) -> Floats:
        """Sum of all bids of one direction at each bus. (time, bid) -> (time, bus) [MW]"""
        kept = np.where(self.sign == sign, p_mw, 0.0)
        summed = np.zeros((len(p_mw), len(self.buses)))
        np.add.at(summed.T, self.bus, kept.T)
        return summed


def read_bids(twin: GridTwin, bids: pd.DataFrame, times: pd.DatetimeIndex) -> ReserveBids:
    """Bids of a table, checked against the network and the time axis.

    Parameters
    ----------
    bids : DataFrame
        Columns `bid` (name), `bus`, `direction` ("up": less consumption or more feed-in; "down": the
        opposite), `p_mw` (0 or more), optional `time` (UTC interval start; without it the row holds on every
        step; a step that a bid with times does not name is bid at 0) and `worth_eur_per_mw`.
    times : DatetimeIndex
        Steps of the study.

    Raises
    ------
    DataError
        With every fault of the table.
    """
    _check_columns(bids)
    raise_errors(_check_rows(twin, bids, times), DataError)
    one = bids.drop_duplicates("bid")
    names = pd.Index(one["bid"].astype(str))
    buses = list(dict.fromkeys(one["bus"].astype(str)))
    worth = bids[WORTH] if WORTH in bids else pd.Series(1.0, index=bids.index)
    return ReserveBids(
        tuple(names),
        buses,
        pd.Index(buses).get_indexer(pd.Index(one["bus"].astype(str))).astype(np.int64),
        np.array([SIGN[word] for word in one["direction"]]),
        _spread(bids, bids["p_mw"], names, times, 0.0),
        _spread(bids, worth, names, times, 1.0),
    )


def _spread(bids: pd.DataFrame, values: pd.Series, names: pd.Index, times: pd.DatetimeIndex, missing: float) -> Floats:
    """(time, bid) from one row per bid or per bid and time."""
    filled = np.full((len(times), len(names)), missing)
    column = names.get_indexer(pd.Index(bids["bid"].astype(str)))
    if "time" not in bids:
        filled[:, column] = values.to_numpy(dtype=float)
        return filled
    filled[times.get_indexer(pd.DatetimeIndex(bids["time"])), column] = values.to_numpy(dtype=float)
    return filled


def _check_columns(bids: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED if name not in bids]
    if missing:
        raise DataError([_fault("the table of bids lacks columns", ", ".join(REQUIRED), ", ".join(map(str, bids)))])


def _check_rows(twin: GridTwin, bids: pd.DataFrame, times: pd.DatetimeIndex) -> list[Finding]:
    power = pd.to_numeric(bids["p_mw"], errors="coerce").to_numpy(dtype=float)
    key = ["bid", "time"] if "time" in bids else ["bid"]
    faulty = {
        ("a bid stands twice", "one row per " + " and ".join(key)): bids.duplicated(key).to_numpy(),
        ("the direction is unknown", "up or down"): ~bids["direction"].isin(list(SIGN)).to_numpy(),
        ("the bus has no supply or is unknown", "a supplied bus of the twin"): ~_supplied(twin, bids["bus"]),
        ("the power of a bid is negative or missing", "0 MW or more"): ~(np.isfinite(power) & (power >= 0)),
        ("a bid changes its bus or direction", "one of each per bid"): _changes(bids),
    }
    if WORTH in bids:
        worth = pd.to_numeric(bids[WORTH], errors="coerce").to_numpy(dtype=float)
        faulty[f"{WORTH} is not positive", "above 0 EUR/MW"] = ~(np.isfinite(worth) & (worth > 0))
    if "time" in bids:
        outside = ~pd.DatetimeIndex(bids["time"]).isin(times)
        faulty["the time is not a step of the study", f"{times[0]} to {times[-1]} UTC"] = outside
    names = bids["bid"].astype(str).to_numpy()
    return [
        _fault(what, expected, ", ".join(dict.fromkeys(names[rows][:5])))
        for (what, expected), rows in faulty.items()
        if rows.any()
    ]


def _supplied(twin: GridTwin, buses: pd.Series) -> NDArray[np.bool_]:
    place = twin.buses.index.get_indexer(pd.Index(buses.astype(str)))
    return np.asarray((place >= 0) & (compile_network(twin).out_bus[place] >= 0))


def _changes(bids: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(bids.groupby("bid")[["bus", "direction"]].transform("nunique").gt(1).any(axis=1))


def _fault(what: str, expected: str, got: str) -> Finding:
    return Finding(what, where="bids", expected=expected, got=got, severity="error", code="GT-O90")
