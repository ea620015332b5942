"""Why a step of a power flow does not converge: the element and parameter most likely to blame.

Two kinds of evidence add up as logarithms of odds. `operate.plausibility` weighs
every number of the tables against the field and its neighbours. The most suspicious
few are then mended one at a time, and the power flow of the step says whether that helps: by
the largest share of the injections that it can solve, or, where it solves all of
them, by how far the voltages stray from their nominal value.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.profiles import Profiles
from gridtwin.errors import GridtwinError
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin, name_rows
from gridtwin.operate.plausibility import ASSET_ELEMENTS, weigh_slips
from gridtwin.operate.power_flow import run_power_flow

COLUMNS = ["element", "index", "name", "parameter", "value", "expected", "slip", "score", "evidence"]
BLAME_SCORE = 0.5
"""From this score on an element is more likely wrong than right; sound networks stay below."""
LOWEST_SCORE = 0.01
"""Rows below say nothing and are left out."""
MOST_STEPS = 64
"""So many steps, those of the largest power, are searched for the one that does not converge."""
MOST_MENDED = 6
"""So many suspects are mended; each but an asset compiles a network anew."""
LEAST_ODDS = -3.0
"""A suspect below these odds is not worth a power flow."""
REACH = 3.0
"""No power flow lifts a suspect past another that leads by so much. [decades of odds]"""
SHARES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
"""Shares of the injections that a network is tried with. [-]"""
CONVERGENCE_WEIGHT = 1.5
"""Odds per decade of solvable injections gained. [-]"""
STRAIN_WEIGHT = 1.0
"""Odds per decade of voltage deviation lost. [-]"""
SOUND_STRAIN_PU = 0.1
"""Deviation that a sound network may have; mending below it gains nothing. [pu]"""
SAME_BUS_ODDS = 0.3
"""Odds for an element at the bus with the largest mismatch. [-]"""
UNSOLVABLE = (GridtwinError, ArithmeticError, ValueError, RuntimeWarning)
"""What a power flow raises for wrong numbers: its own errors, and those of complex roots and divisions by zero."""
NO_FLOW = ("max_i_ka",)
"""Parameters that do not enter the power flow."""


class Margin(NamedTuple):
    """What a network can carry of the injections of a step.

    `share` is the largest solvable share, 0 if not even the network without injections can be solved; `strain_pu`
    the largest deviation of a voltage from 1 at full injections, NaN if they cannot be solved; `worst_bus` the bus
    of the largest mismatch at the smallest share without solution, or the empty text.
    """

    share: float
    strain_pu: float
    worst_bus: str


def find_divergence_causes(twin: GridTwin, profiles: Profiles, *, most: int = 10) -> pd.DataFrame:
    """Elements and parameters most likely to blame for a power flow that diverges or makes no sense.

    Parameters
    ----------
    twin : GridTwin
        The network as it is, its error included.
    profiles : Profiles
        Power of exactly the assets of the twin, with or without dim `path`. Of several steps one is examined:
        the one that does not converge with the largest mismatch, or else the one of the largest power.
    most : int, default 10
        Longest table wanted.

    Returns
    -------
    DataFrame
        Index `rank` from 1. Columns `element` (pandapower table), `index` (its row), `name` (name in the twin),
        `parameter`, `value` (as it stands, in the unit of the parameter), `expected` (plausible range as text),
        `slip` (how the value may have become wrong), `score` (0 to 1) and `evidence` (a sentence). The score is the
        probability of the slip that follows from all evidence, under the assumption that the pieces of evidence
        are independent: use it for the order, and blame nothing below `BLAME_SCORE`. Empty where nothing is
        suspicious.

    Notes
    -----
    Errors that keep a number inside what the field and the rest of the network show cannot be found by it, e.g. a
    20 kV section of 12 km that should be 12 m, unless the power flow shows the difference. A zero times 1000 is
    still zero, and a transformer of equal nominal voltages on both sides has no wrong way round.
    """
    step = _select_step(twin, profiles)
    suspects = weigh_slips(twin, _powers_of(step))
    base = find_margin(twin, step)
    suspects = _weigh_location(twin, suspects, base)
    suspects = _try_mends(twin, step, suspects, base)
    return _label_causes(twin, suspects, most)


def find_margin(twin: GridTwin, step: Profiles) -> Margin:
    """Largest share of the injections of one step that the network can carry.

    Parameters
    ----------
    step : Profiles
        One step without dim `path`.
    """
    shares = xr.DataArray(list(SHARES), dims="path", coords={"path": np.arange(len(SHARES))})
    scaled = step.assign({name: (shares * step[name]).astype(float) for name in ("p_mw", "q_mvar")})
    try:
        with np.errstate(all="ignore"):
            flow = run_power_flow(twin, scaled, outputs=("vm_pu",))
    except UNSOLVABLE:
        return Margin(0.0, np.nan, "")
    solved = flow["status"].to_numpy()[:, 0] == 0
    vm_pu = flow["vm_pu"].to_numpy()[-1, 0]
    strain = float(np.nanmax(np.abs(vm_pu - 1))) if solved[-1] and np.isfinite(vm_pu).any() else np.nan
    # Beyond the first share without solution the kernel may find one that no network would settle on.
    first = len(SHARES) if solved.all() else int(np.argmin(solved))
    worst = "" if solved.all() else str(flow["worst_bus"].to_numpy()[first, 0])
    return Margin(1.0 if solved[-1] else SHARES[first - 1] if first else 0.0, strain, worst)


def _select_step(twin: GridTwin, profiles: Profiles) -> Profiles:
    """The step to examine, without dim `path`: not converged with the largest mismatch, or of the largest power."""
    stacked = profiles if "path" in profiles.dims else profiles.expand_dims("path")
    p_mw, q_mvar = (stacked[name].transpose("path", "time", "asset").to_numpy() for name in ("p_mw", "q_mvar"))
    power = np.nansum(np.hypot(p_mw, q_mvar), axis=-1)
    order = np.argsort(-power, axis=None, kind="stable")
    path, time = np.unravel_index(order[:MOST_STEPS], power.shape)
    kept = stacked.isel(time=np.unique(time)) if power.size > MOST_STEPS else stacked
    chosen = {"path": int(path[0]), "time": stacked["time"].to_numpy()[time[0]]}
    if power.size == 1:
        return stacked.isel(path=0, drop=True)
    try:
        with np.errstate(all="ignore"):
            flow = run_power_flow(twin, kept, outputs=())
        mismatch = flow["mismatch_mva"].where(flow["status"] == 1).fillna(-1.0)
        if float(mismatch.max()) >= 0:
            place = mismatch.argmax(["path", "time"])
            chosen = {"path": int(place["path"]), "time": kept["time"].to_numpy()[int(place["time"])]}
    except UNSOLVABLE:
        pass  # Every step fails, so the one of the largest power is as good as any.
    return stacked.isel(path=chosen["path"], drop=True).sel(time=[chosen["time"]])


def _powers_of(step: Profiles) -> pd.DataFrame:
    columns = {name: step[name].to_numpy().reshape(-1) for name in ("p_mw", "q_mvar")}
    return pd.DataFrame(columns, index=pd.Index(step["asset"].to_numpy(), dtype=object))


# Evidence of the power flow ---------------------------------------------------------------------


def _weigh_location(twin: GridTwin, suspects: pd.DataFrame, base: Margin) -> pd.DataFrame:
    """Raise the odds of what stands at the bus with the largest mismatch."""
    if not base.worst_bus or base.worst_bus not in twin.buses.index:
        return suspects
    bus = twin.buses.at[base.worst_bus, "index"]
    keys = zip(suspects["element"], suspects["index"], strict=True)
    at_bus = np.array([bus in _buses_of(twin, *key) for key in keys], dtype=bool)
    why = np.where(at_bus, f"; the mismatch is largest at bus {base.worst_bus!r}, where it ends", "")
    return suspects.assign(odds=suspects["odds"] + SAME_BUS_ODDS * at_bus, why=suspects["why"] + why)


def _buses_of(twin: GridTwin, element: str, index: int) -> list[int]:
    ends = BRANCH_ENDS.get(element, ("bus",))
    return [int(twin.net[element].at[index, end]) for end in ends]


def _try_mends(twin: GridTwin, step: Profiles, suspects: pd.DataFrame, base: Margin) -> pd.DataFrame:
    """Mend the first few suspects one at a time and add what the power flow says."""
    if not len(suspects) or base.strain_pu <= SOUND_STRAIN_PU:
        return suspects
    suspects = suspects.sort_values("odds", ascending=False, kind="stable").reset_index(drop=True)
    least = max(LEAST_ODDS, suspects["odds"].max() - REACH)
    tried = suspects[(suspects["odds"] > least) & ~suspects["parameter"].isin(NO_FLOW)].head(MOST_MENDED)
    for place, suspect in tried.iterrows():
        gain, sentence = _compare_margins(base, find_margin(*mend(twin, step, suspect)))
        suspects.loc[place, "odds"] += gain
        suspects.loc[place, "why"] += f"; {sentence}" if sentence else ""
    return suspects.sort_values("odds", ascending=False, kind="stable").reset_index(drop=True)


def _compare_margins(base: Margin, mended: Margin) -> tuple[float, str]:
    """Odds and sentence from what the network carries as it stands and mended."""
    if base.share < 1 or mended.share < 1:
        gain = CONVERGENCE_WEIGHT * np.log10((mended.share + 0.01) / (base.share + 0.01))
        if base.share == mended.share:
            return 0.0, ""
        return float(gain), f"mended, {mended.share:.0%} of the step can be solved instead of {base.share:.0%}"
    before, after = (max(margin.strain_pu, SOUND_STRAIN_PU) for margin in (base, mended))
    gain = STRAIN_WEIGHT * np.log10(before / after)
    if abs(gain) < 0.1:
        return 0.0, ""
    return float(gain), f"mended, voltages stray by {mended.strain_pu:.2f} pu instead of {base.strain_pu:.2f} pu"


def mend(twin: GridTwin, step: Profiles, suspect: pd.Series) -> tuple[GridTwin, Profiles]:
    """Twin and step without the slip of one suspect; the given ones stay as they are.

    Parameters
    ----------
    suspect : Series
        Row of `weigh_slips`.
    """
    element, index, parameter = suspect["element"], suspect["index"], suspect["parameter"]
    if element in ASSET_ELEMENTS:
        return twin, _mend_step(twin, step, suspect)
    table = twin.net[element].copy()
    if "/" in parameter:
        first, second = parameter.split("/")
        table.loc[index, [first, second]] = table.loc[index, [second, first]].to_numpy()
    else:
        table[parameter] = table[parameter].astype(float)
        table.loc[index, parameter] /= suspect["factor"]
    net = copy.copy(twin.net)
    net[element] = table
    return dataclasses.replace(twin, net=net), step  # Names stay, and limits do not enter the power flow.


def _mend_step(twin: GridTwin, step: Profiles, suspect: pd.Series) -> Profiles:
    """Powers without the slip; p and q come from the same source, so a slip of p holds for both where q shows it."""
    key = (twin.assets["element"] == suspect["element"]) & (twin.assets["index"] == suspect["index"])
    factor = xr.ones_like(step["p_mw"]).where(~step["asset"].isin(twin.assets.index[key]), 1 / suspect["factor"])
    if suspect["parameter"] == "q_mvar":
        return step.assign(q_mvar=step["q_mvar"] * factor)
    return step.assign(p_mw=step["p_mw"] * factor, q_mvar=step["q_mvar"] * factor)


# Labels -----------------------------------------------------------------------------------------


def _label_causes(twin: GridTwin, suspects: pd.DataFrame, most: int) -> pd.DataFrame:
    score = 1 / (1 + 10.0 ** -suspects["odds"].astype(float))
    causes = suspects.assign(score=score)[(score >= LOWEST_SCORE).to_numpy()].head(most)
    branches = name_rows(twin.net, BRANCH_ENDS).assign(name=lambda rows: rows.index)
    assets = twin.assets[["element", "index"]].assign(name=twin.assets.index)
    names = pd.concat([branches, assets]).set_index(["element", "index"])["name"]
    name = [str(names.loc[key]) for key in zip(causes["element"], causes["index"], strict=True)]
    evidence = [
        f"{element} {label!r}: {parameter} {why}; this looks like {slip}."
        for element, label, parameter, why, slip in zip(
            causes["element"], name, causes["parameter"], causes["why"], causes["slip"], strict=True
        )
    ]
    causes = causes.assign(name=name, evidence=evidence)[COLUMNS]
    return causes.set_axis(pd.RangeIndex(1, len(causes) + 1, name="rank"), axis=0)
