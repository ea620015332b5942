"""Network-safe reserves: bids cut so that full activation, or any part of it, violates no limit.

    room of every limit without activation, AC power flow of all paths -> program on sensitivities (reserve_program)
        -> AC power flow in the worst corners of all activations -> room corrected -> ... until AC agrees

What the program leaves out is small (curvature, losses elsewhere); offers that AC power flow
still refuses after the last round are shrunk step by step, so that what is returned is safe.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.optimize.reserve_bids import read_bids
from gridtwin.optimize.reserve_rounds import (
    CutState,
    Measured,
    begin_cut,
    correct_offers,
    missed_aim,
    shrink_offers,
    solve_steps,
)

Bools = NDArray[np.bool_]
ROUNDS = 12
"""Most corrections by AC power flow; each gains about a digit."""


@dataclass(frozen=True)
class ReserveCertificate:
    """What AC power flow of all paths says about the offers in the worst corners of all activations.

    Parameters
    ----------
    limits_hold : bool
        On each local day every limit that holds without activation holds in the demanded share of the paths, in
        every corner that was checked, within 0.1 % loading and 0.00005 pu.
    rounds, corners, paths : int
        Corrections by AC power flow, corners checked on every step, number of paths.
    confidence : float
        Demanded share of paths. [-]
    max_loading_excess_percent, max_voltage_excess_pu : float
        Closest approach to a limit of the paths that must hold, in all corners; negative: room. [%], [pu]
    bid_mwh, offered_mwh : float
        Bid and offered power times the length of the steps, both directions. [MWh]
    share_of_linear_bound : float
        Worth offered by what the linear program could offer at most without its distance to the limits. [-]
    shrunk_steps, exceeded_steps : int
        Steps shrunk after the last round; steps on which a limit is exceeded without any activation.
    """

    limits_hold: bool
    rounds: int
    corners: int
    paths: int
    confidence: float
    max_loading_excess_percent: float
    max_voltage_excess_pu: float
    bid_mwh: float
    offered_mwh: float
    share_of_linear_bound: float
    shrunk_steps: int
    exceeded_steps: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for attributes and JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SafeReserves:
    """Offers, how they were checked and what a reader must know.

    Parameters
    ----------
    offers : DataFrame
        One row per step and bid: `time, bid, bus, direction, p_bid_mw, p_offer_mw` and the limit that cuts it:
        `limit_asset, limit_kind, limit_side`, empty where the bid is offered in full. [MW]
    certificate : ReserveCertificate
        Result of the AC check.
    findings : tuple of Finding
        Limits exceeded without activation, steps that were shrunk.
    """

    offers: pd.DataFrame
    certificate: ReserveCertificate
    findings: tuple[Finding, ...]


def cut_reserves(
    twin: GridTwin, profiles: Profiles, bids: pd.DataFrame, *, confidence: float = 1.0, rounds: int = ROUNDS
) -> SafeReserves:
    """Cut bids of reserve power to what the network can carry, whatever part of them is activated.

    Parameters
    ----------
    twin : GridTwin
        Network and limits.
    profiles : Profiles or Forecast
        What flows without activation, with or without paths, consumption positive.
    bids : DataFrame
        See `reserve_bids.read_bids`: `bid, bus, direction, p_mw`, optional `time`, `worth_eur_per_mw`.
    confidence : float, default 1
        Share of paths, local day by local day, in which every limit must hold under every activation: the same
        paths for all activations. [-]
    rounds : int
        Most corrections by AC power flow.

    Returns
    -------
    SafeReserves
        A limit that is exceeded without any activation is named in a finding; no bid that could make it worse
        is offered on that step.

    Raises
    ------
    DataError
        With every fault of the bids, or if the confidence is outside 0 to 1.
    """
    if not 0 < confidence <= 1:
        raise DataError(
            [Finding("confidence is a share", expected="above 0, at most 1", got=f"{confidence:g}", severity="error")]
        )
    work = begin_cut(twin, profiles, read_bids(twin, bids, pd.DatetimeIndex(profiles.indexes["time"])), confidence)
    done = 0
    while done < rounds:
        whole = len(work.decisive) == len(work.corners)
        work, settled = correct_offers(work, rank=done == 0)
        done += 1
        if settled and whole:
            break
        if settled:  # by the families that were decisive at first; now all of them once more
            work = replace(work, decisive=np.arange(len(work.corners)))
    work, shrunk, seen = shrink_offers(work)
    return _label(work, done, shrunk, seen)


def _label(work: CutState, rounds: int, shrunk: Bools, seen: Measured) -> SafeReserves:
    hours, offer = axis_of(work.case.profiles).hours_per_step, work.offer_mw
    holds = not ((missed_aim(work, seen.room_mw) > work.limits.aim_mw[:, None]).any() or seen.unsolved.any())
    exceeded = (work.before_mw < -work.limits.aim_mw[:, None]) | work.unsolved_before
    certificate = ReserveCertificate(
        limits_hold=holds,
        rounds=rounds,
        corners=sum(map(len, work.corners)),
        paths=work.case.profiles.sizes.get("path", 1),
        confidence=work.confidence,
        max_loading_excess_percent=float(seen.closest[0]),
        max_voltage_excess_pu=float(seen.closest[1]),
        bid_mwh=float(work.bids.p_mw.sum() * hours),
        offered_mwh=float(offer.sum() * hours),
        share_of_linear_bound=_share_of_bound(work),
        shrunk_steps=int(shrunk.sum()),
        exceeded_steps=int(exceeded.any(axis=0).sum()),
    )
    return SafeReserves(_table(work), certificate, tuple(_findings(work, exceeded, shrunk)))


def _share_of_bound(work: CutState) -> float:
    """Worth offered by the optimum of the programs whose rows reach the limits themselves."""
    aims = np.where(work.before_mw < 0, 0.0, work.limits.aim_mw[:, None])
    bound = solve_steps(replace(work, room_mw=work.room_mw + aims), np.ones(len(work.bid_mw), dtype=bool)).offer_mw
    most = float((work.bids.worth * bound).sum())
    return float((work.bids.worth * work.offer_mw).sum()) / most if most > 0 else 1.0


def _table(work: CutState) -> pd.DataFrame:
    bids, offer = work.bids, work.offer_mw
    steps, count = offer.shape
    blame = np.array([one.blame for one in work.offers]).reshape(-1)
    labels = work.limits.table[["asset", "kind", "side"]].to_numpy(dtype=str)
    named = np.where((blame >= 0)[:, None], labels[blame], "")
    times = pd.DatetimeIndex(work.case.profiles.indexes["time"])
    return pd.DataFrame(
        {
            "time": times.repeat(count),
            "bid": np.tile(bids.names, steps),
            "bus": np.tile(np.array(bids.buses)[bids.bus], steps),
            "direction": np.tile(np.where(bids.sign > 0, "down", "up"), steps),
            "p_bid_mw": bids.p_mw.ravel(),
            "p_offer_mw": offer.ravel(),
            "limit_asset": named[:, 0],
            "limit_kind": named[:, 1],
            "limit_side": named[:, 2],
        }
    )


def _findings(work: CutState, exceeded: Bools, shrunk: Bools) -> list[Finding]:
    times, table = pd.DatetimeIndex(work.case.profiles.indexes["time"]), work.limits.table
    found = [
        Finding(
            "the limit is exceeded without any activation; no reserve that makes it worse is offered then",
            where=f"{table['kind'].iat[row]} {table['asset'].iat[row]} ({table['side'].iat[row]})",
            got=f"{int(exceeded[row].sum())} steps from {times[int(exceeded[row].argmax())]} UTC",
            code="GT-O91",
        )
        for row in np.flatnonzero((exceeded & ~work.unsolved_before).any(axis=1)).tolist()
    ]
    if work.unsolved_before.any():
        first = times[int(work.unsolved_before.argmax())]
        found.append(
            Finding(
                "no power flow solution without activation; no reserve is offered then",
                where="reserves",
                got=f"{int(work.unsolved_before.sum())} steps from {first} UTC",
                code="GT-O92",
            )
        )
    if shrunk.any():
        found.append(
            Finding(
                "AC power flow refused what the program offered; all offers of the step were reduced",
                where="reserves",
                got=f"{int(shrunk.sum())} steps from {times[int(shrunk.argmax())]} UTC",
                code="GT-O93",
            )
        )
    return found
