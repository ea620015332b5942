"""A compiled network: plain arrays in per unit of `base_mva`.

Buses are numbered in elimination order: the `n` buses without a slack first, the
slacks behind them. The state of a bus is its voltage in rectangular coordinates,
so every coefficient of the equations is a real 2 x 2 block,

    | d re / d re   d re / d im |
    | d im / d re   d im / d im |,

stored as four numbers in this order. A complex admittance g + jb is the block
(g, -b, b, g).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EMPTY, POWER, MIXED, HELD = 0, 1, 2, 3
"""Kinds of a bus: nothing injected; constant power; also constant current or impedance; voltage held (PV)."""


class Pattern(NamedTuple):
    """Where the factors of a matrix over the `n` buses have blocks."""

    lower_start: Ints
    lower_column: Ints
    """Columns of row k left of the diagonal: `lower_column[lower_start[k]:lower_start[k + 1]]`, ascending."""
    upper_start: Ints
    upper_column: Ints
    """Columns right of the diagonal."""


class Chord(NamedTuple):
    """The equations linearised once, at the base point, and their factors L U.

    An iteration solves J V = g(V), where g is what the linear part J leaves over.
    """

    start_re: Floats
    start_im: Floats
    """Voltages of the base point, where every step starts. (n) [pu]"""
    constant_re: Floats
    constant_im: Floats
    """Current that the slacks push into a bus. (n) [pu]"""
    slope: Floats
    """- d conj(S/V) / dV at the base point, a block per bus. (4 n) [pu]"""
    lower: Floats
    """Unit lower factor. (4 blocks)"""
    pivot: Floats
    """Inverse of the diagonal of the upper factor. (4 n)"""
    upper: Floats
    """Upper factor, its rows multiplied by the pivot. (4 blocks)"""


class Admittances(NamedTuple):
    """Rows of the whole admittance matrix. (n + slack) [pu]"""

    start: Ints
    column: Ints
    re: Floats
    im: Floats


class Loads(NamedTuple):
    """What is injected where; an asset is a column of the profiles times a factor."""

    kind: Ints
    """`EMPTY`, `POWER`, `MIXED` or `HELD`. (n + slack)"""
    place: Ints
    """Row of a bus among the loaded ones, -1 for an empty bus. (n + slack)"""
    start: Ints
    asset: Ints
    """Assets of a loaded bus: `asset[start[k]:start[k + 1]]`. (loaded + 1)"""
    fixed_p_mw: Floats
    fixed_q_mvar: Floats
    """Injection beside the assets, from wards, motors and the like. (loaded) [MW], [Mvar]"""
    mixed: Ints
    """Row of a loaded bus among the mixed ones, else -1. (loaded)"""
    current_p: Floats
    current_q: Floats
    impedance_p: Floats
    impedance_q: Floats
    """Shares of an asset's power that follow the voltage, and its square. (asset) [-]"""


class Generators(NamedTuple):
    """Buses that hold their voltage, in elimination order."""

    bus: Ints
    place: Ints
    """Row of a bus in this table, else -1. (n + slack)"""
    vm_squared: Floats
    """Set point. (generator) [pu²]"""
    q_min_mvar: Floats
    q_max_mvar: Floats
    """Limits of all generators at the bus. (generator) [Mvar]"""
    base_re: Floats
    base_im: Floats
    """Current into the network at the base point. (generator) [pu]"""


class Branches(NamedTuple):
    """Terminals of the labelled branches, from or hv side first."""

    start: Ints
    """Terminals of a branch: `start[k]:start[k + 1]`. (branch + 1)"""
    bus: Ints
    other: Ints
    """Bus of a terminal and the bus at its other end. (terminal)"""
    self_re: Floats
    self_im: Floats
    mutual_re: Floats
    mutual_im: Floats
    """Current into the branch is self * V[bus] + mutual * V[other]. (terminal) [pu]"""
    ka: Floats
    """Current of 1 pu. (terminal) [kA]"""
    percent: Floats
    """Loading at 1 pu of current, NaN without a rating. (terminal) [%]"""
    percent_by_power: Floats
    """Loading at 1 pu of apparent power of a transformer, NaN for other branches. (terminal) [%]"""


class NetworkArrays(NamedTuple):
    """Everything that the kernels know of a network."""

    base_mva: float
    """Apparent power of 1 pu. [MVA]"""
    slack_re: Floats
    slack_im: Floats
    """Voltages of the slack buses. (slack) [pu]"""
    out_bus: Ints
    """Bus in elimination order of a labelled bus, -1 without supply. (bus)"""
    pattern: Pattern
    chord: Chord
    admittances: Admittances
    loads: Loads
    generators: Generators
    branches: Branches


class Injections(NamedTuple):
    """Power of every asset: a column of the tables times a factor, generation positive."""

    p_mw: Floats
    q_mvar: Floats
    """(step, column) [MW], [Mvar]"""
    column: Ints
    """Column of an asset. (asset)"""
    p_factor: Floats
    q_factor: Floats
    """(asset) [-]"""


def expand_injections(injections: Injections) -> tuple[Floats, Floats]:
    """One column per asset, generation positive. (step, asset) [MW], [Mvar]"""
    p_mw = injections.p_mw[:, injections.column] * injections.p_factor
    return p_mw, injections.q_mvar[:, injections.column] * injections.q_factor
