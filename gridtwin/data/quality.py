"""Whether series are plausible: energy of storages, units, signs, stuck and jumping meters.

Every check returns findings and changes nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import Finding
from gridtwin.time_axis import TimeAxis

WORST_ROUND_TRIP = 0.5
"""A storage that gives back less than this share of what it took is not one. [-]"""
LARGEST_RATIO = 1.5
"""Power beyond this times the rating is implausible. [-]"""
UNIT_RATIO = 100.0
"""Power beyond this times the rating was most likely given in kW instead of MW, or the reverse. [-]"""
LONGEST_FROZEN = pd.Timedelta(hours=24)
"""A meter that shows one and the same value, other than zero, for longer than this is stuck."""
SPIKE_RATIO = 20.0
"""A daily peak this many times above the usual one is a spike. [-]"""
USUAL_SHARE = 0.9
"""Share of the days whose peaks count as usual. [-]"""
TOLERANCE = 1e-3
"""Signs below this share of the rating are noise. [-]"""
LARGEST_WRONG_SHARE = 0.01
"""Share of steps with the wrong sign, or of PV power by night, that is forgiven. [-]"""
GENERATING = frozenset(["pv", "wind", "generator"])
CONSUMING = frozenset(["household", "commercial", "agricultural", "load", "heat_pump"])
NIGHT_HOURS = frozenset([22, 23, 0, 1, 2])
"""Local hours without sun in all of Europe south of 60 degrees north."""


def check_storage_energy(p_mw: np.ndarray, e_mwh: float, step: pd.Timedelta, *, where: str = "") -> Finding | None:
    """Whether a storage could have moved this power: energy out must have come in.

    Parameters
    ----------
    p_mw : ndarray, (time,)
        Power, charging positive. [MW]
    e_mwh : float
        Usable capacity. [MWh]
    step : Timedelta
        Length of one interval.
    where : str
        Name of the storage for the message.

    Returns
    -------
    Finding or None
        A finding if more came out than went in and the full storage held, or if so
        much stayed inside that less than half came back.

    Examples
    --------
    >>> check_storage_energy(np.array([0.01, -0.01]), 0.01, pd.Timedelta(hours=1)) is None
    True
    """
    energy = np.nan_to_num(np.asarray(p_mw, dtype=float)) * (step / pd.Timedelta(hours=1))
    charged, discharged = float(energy[energy > 0].sum()), float(-energy[energy < 0].sum())
    if WORST_ROUND_TRIP * charged - e_mwh <= discharged <= charged + e_mwh:
        return None
    too = "discharges far more than it charges" if discharged > charged else "charges far more than it discharges"
    return Finding(
        f"the profile {too}",
        where=where,
        expected=f"charged and discharged energy to agree within the capacity of {e_mwh:.4g} MWh",
        got=f"{charged:.4g} MWh charged and {discharged:.4g} MWh discharged",
        code="GT-D12",
    )


def check_profiles_plausible(profiles: Profiles, p_rated_mw: pd.Series) -> list[Finding]:
    """Units, signs, stuck meters and spikes of every asset.

    Parameters
    ----------
    profiles : Profiles, (time, asset)
        Consumption positive. [MW]
    p_rated_mw : Series
        Rated power by asset name. [MW]

    Returns
    -------
    list of Finding
        Warnings; one per kind of fault, naming the assets.
    """
    p_mw = profiles["p_mw"].transpose("time", "asset").to_numpy()
    names, kinds = profiles["asset"].to_numpy(), profiles["kind"].to_numpy()
    rated = p_rated_mw.reindex(names).to_numpy(dtype=float)
    largest = np.fmax.reduce(np.abs(p_mw), axis=0, initial=0.0)
    axis = axis_of(profiles)
    return [
        *_check_ratings(names, largest / rated),
        *_check_too_small(names, largest / rated),
        *_check_signs(names, kinds, p_mw, rated),
        *_check_nights(names, kinds, p_mw, rated, axis),
        *_check_frozen(names, p_mw, axis),
        *_check_spikes(names, p_mw, largest, axis),
    ]


def _check_ratings(names: np.ndarray, ratio: np.ndarray) -> list[Finding]:
    beyond = ratio > LARGEST_RATIO
    unit = "Check the unit: kW given as MW?" if np.nanmax(ratio, initial=0) > UNIT_RATIO else "Check the rating."
    return _finding(names, beyond, "the power exceeds the rating", ratio, "times the rating", unit, "GT-D10")


def _check_too_small(names: np.ndarray, ratio: np.ndarray) -> list[Finding]:
    tiny = (ratio > 0) & (ratio < 1 / UNIT_RATIO)
    do = "Check the unit: MW given as kW?"
    return _finding(names, tiny, "the power never comes near the rating", ratio, "times the rating", do, "GT-D10")


def _check_signs(names: np.ndarray, kinds: np.ndarray, p_mw: np.ndarray, rated: np.ndarray) -> list[Finding]:
    """Consumers that feed in and generators that draw."""
    side = np.where(np.isin(kinds, list(GENERATING)), 1.0, np.where(np.isin(kinds, list(CONSUMING)), -1.0, 0.0))
    share = ((p_mw * side) > TOLERANCE * rated).mean(axis=0)
    do = "Check the sign: consumption is positive, generation negative."
    what = "the power has the wrong sign for its kind"
    return _finding(names, share > LARGEST_WRONG_SHARE, what, share, "of the time", do, "GT-D11")


def _check_nights(
    names: np.ndarray, kinds: np.ndarray, p_mw: np.ndarray, rated: np.ndarray, axis: TimeAxis
) -> list[Finding]:
    """PV that generates by night: shifted stamps, another zone, or no PV."""
    night = np.isin(axis.local_times.hour, list(NIGHT_HOURS))
    pv = np.flatnonzero(kinds == "pv")
    share = np.zeros(len(names))
    if night.any() and len(pv):
        share[pv] = (p_mw[np.ix_(night, pv)] < -TOLERANCE * rated[pv]).mean(axis=0)
    do = "Check the zone and the label side of the stamps."
    return _finding(names, share > LARGEST_WRONG_SHARE, "PV generates by night", share, "of the nights", do, "GT-D13")


def _check_frozen(names: np.ndarray, p_mw: np.ndarray, axis: TimeAxis) -> list[Finding]:
    """The longest run of one and the same value other than zero, per asset."""
    steps = int(LONGEST_FROZEN / axis.step)
    hours = _longest_runs(p_mw, steps) * axis.hours_per_step
    constant = np.nanmin(p_mw, axis=0, initial=np.inf) == np.nanmax(p_mw, axis=0, initial=-np.inf)
    stuck = (hours > LONGEST_FROZEN / pd.Timedelta(hours=1)) & ~constant
    return _finding(names, stuck, "the value stands still", hours, "h without change", "Is the meter stuck?", "GT-D14")


def _longest_runs(p_mw: np.ndarray, steps: int) -> np.ndarray:
    """Length of the longest run of equal values other than zero, 0 where none is longer than `steps`. [steps]"""
    longest = np.zeros(p_mw.shape[1])
    if len(p_mw) <= steps:
        return longest
    # a run longer than `steps` covers two neighbours of every sample half as dense: few columns pass this cheap sieve
    sample = p_mw[:: max(steps // 2, 1)]
    sieve = ((sample[1:] == sample[:-1]) & (sample[1:] != 0)).any(axis=0)
    for column in np.flatnonzero(sieve):
        longest[column] = _longest_run(p_mw[:, column])
    return np.where(longest > steps, longest, 0.0)


def _longest_run(values: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(values) != 0) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(values)]]))
    return int(np.where(values[starts] != 0, lengths, 0).max())


def _check_spikes(names: np.ndarray, p_mw: np.ndarray, largest: np.ndarray, axis: TimeAxis) -> list[Finding]:
    """Days whose peak stands far above that of nine days in ten."""
    per_day = int(pd.Timedelta(days=1) / axis.step)
    peaks = np.fmax.reduceat(np.abs(p_mw), np.arange(0, len(p_mw), per_day), axis=0)
    rank = int(USUAL_SHARE * (len(peaks) - 1))
    usual = np.partition(np.nan_to_num(peaks), rank, axis=0)[rank]
    ratio = np.divide(largest, usual, out=np.zeros_like(largest), where=usual > 0)
    do = "Delete the values, they will be substituted."
    return _finding(names, ratio > SPIKE_RATIO, "single values stand out", ratio, "times the usual peak", do, "GT-D15")


def _finding(
    names: np.ndarray, wrong: np.ndarray, what: str, figures: np.ndarray, unit: str, do: str, code: str
) -> list[Finding]:
    """No finding, or one that names the worst assets and the figure of each."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    rows = rows[np.argsort(-figures[rows], kind="stable")]
    shown = ", ".join(f"{names[row]} {figures[row]:.3g}" for row in rows[:4])
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    where = ", ".join(str(names[row]) for row in rows[:4]) + more
    return [Finding(f"{what} ({len(rows)} assets)", where=where, got=f"{shown} {unit}", do=do, code=code)]
