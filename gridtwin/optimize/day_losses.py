"""Losses of a day as straight lines around plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from gridtwin.grid.twin import GridTwin
from gridtwin.operate.losses import marginal_losses
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.model import LossLines

BETWEEN = (0.25, 0.5, 0.75)
"""Where lines are added between two plans."""
HOLDS = 1e-3
"""Share of the dual of a step above which a line holds its losses up. [-]"""


@dataclass(frozen=True)
class Losses:
    """Losses at a plan, and what more consumption adds.

    Parameters
    ----------
    p_mw : ndarray, (time,)
        Mean losses of all paths. [MW]
    slope : ndarray, (time, bus)
        Losses per consumption at each bus, at the mean of the paths. [MW/MW]
    at_bus_mw : ndarray, (bus, time)
        Flexible power of the plan. [MW]
    """

    p_mw: np.ndarray
    slope: np.ndarray
    at_bus_mw: np.ndarray

    def at(self, at_bus_mw: np.ndarray) -> np.ndarray:
        """Losses by this line at another plan, (bus, time) to (time,). [MW]"""
        return np.asarray(self.p_mw + (self.slope * (at_bus_mw - self.at_bus_mw).T).sum(axis=1))


@dataclass(frozen=True)
class LossCurve:
    """Losses by lines at several plans.

    Where energy lost has a price, the highest line counts: losses are convex in the powers, so that
    every line lies below them and more lines come closer. Where the price is negative a plan would gain by
    losing more, and only the last line is used.

    Parameters
    ----------
    lines : sequence of Losses
        The last one is the latest.
    price_eur_per_kwh : ndarray, (time,)
        Price of energy lost. [EUR/kWh]
    used : ndarray of bool, (line, time), optional
        Lines that enter a program; without it all. Others are left to the comparison with what was found.
    """

    lines: Sequence[Losses]
    price_eur_per_kwh: np.ndarray
    used: np.ndarray | None = None

    @property
    def curved(self) -> np.ndarray:
        """Steps on which all lines count. bool, (time,)"""
        return self.price_eur_per_kwh > 0

    def at(self, at_bus_mw: np.ndarray) -> np.ndarray:
        """Planned losses, (bus, time) to (time,). [MW]"""
        highest = np.max([line.at(at_bus_mw) for line in self.lines], axis=0)
        return np.where(self.curved, np.maximum(highest, 0.0), self.lines[-1].at(at_bus_mw))

    def error_percent(self, found: Losses) -> float:
        """Energy lost on the day as planned, against what was found at a plan. [%]"""
        planned, lost = float(self.at(found.at_bus_mw).sum()), float(found.p_mw.sum())
        return 100 * abs(planned - lost) / lost if lost > 0 else 0.0

    def for_program(self) -> LossLines:
        """Lines of the steps on which they count."""
        number, step = np.nonzero(self._entering)
        slope = np.stack([line.slope for line in self.lines])
        offset = np.stack([(line.slope * line.at_bus_mw.T).sum(axis=1) - line.p_mw for line in self.lines])
        return LossLines(
            step=step,
            slope=slope[number, step],
            offset_kw=KW_PER_MW * offset[number, step],
            price_eur_per_kwh=np.maximum(self.price_eur_per_kwh, 0.0),
        )

    @property
    def _entering(self) -> np.ndarray:
        """Lines of a program. bool, (line, time)"""
        every = np.ones((len(self.lines), len(self.price_eur_per_kwh)), dtype=bool)
        return np.asarray((every if self.used is None else self.used) & self.curved)

    def thinned(self, dual: np.ndarray) -> LossCurve:
        """With the lines only that hold up the losses of the last plan, by the duals of the program's lines."""
        number, step = np.nonzero(self._entering)
        used = np.zeros((len(self.lines), len(self.price_eur_per_kwh)), dtype=bool)
        whole = np.zeros(len(self.price_eur_per_kwh))
        np.add.at(whole, step, -dual)
        holds = -dual > HOLDS * whole[step]
        used[number[holds], step[holds]] = True
        return replace(self, used=used)

    def bus_price(self) -> np.ndarray:
        """Price of the last line's losses where no more lines count. (time, bus) [EUR/kWh]"""
        return np.asarray(np.where(self.curved, 0.0, self.price_eur_per_kwh)[:, None] * self.lines[-1].slope)

    def with_plan(self, found: Losses) -> LossCurve:
        """With the line at a new plan, and lines at plans between it and the last one."""
        last, curve = self.lines[-1], self
        for share in BETWEEN:
            curve = curve.with_line(line_between(last, found, share))
        return curve.with_line(found)

    def with_line_before(self, line: Losses) -> LossCurve:
        """With one more line that is not the latest, and lines between."""
        last = self.lines[-1]
        between = [line_between(line, last, share) for share in BETWEEN]
        return replace(self, lines=(line, *between, *self.lines))

    def with_line(self, line: Losses) -> LossCurve:
        """With one more line; those that lie above what was found there are lowered.

        Feed-in of the paths follows a plan only down to its caps, so that not every line is a tangent.
        """
        above = [np.maximum(one.at(line.at_bus_mw) - line.p_mw, 0.0) for one in self.lines]
        lowered = [replace(one, p_mw=one.p_mw - excess) for one, excess in zip(self.lines, above, strict=True)]
        used = None if self.used is None else np.vstack([self.used, np.ones(len(line.p_mw), dtype=bool)])
        return replace(self, lines=(*lowered, line), used=used)


def line_between(one: Losses, other: Losses, share: float) -> Losses:
    """Tangent at a plan on the way from one to the other, as if losses were quadratic between them.

    With d = p1 - p0 and slopes s0, s1 a quadratic function has s = s0 + share (s1 - s0) and
    L = L0 + share s0 d + share² (s1 - s0) d / 2; what it misses at the other end is spread evenly.
    """
    moved = (other.at_bus_mw - one.at_bus_mw).T
    straight, bent = ((slope * moved).sum(axis=1) for slope in (one.slope, other.slope - one.slope))
    missed = other.p_mw - one.p_mw - straight - bent / 2
    return Losses(
        one.p_mw + share * (straight + missed) + share**2 * bent / 2,
        one.slope + share * (other.slope - one.slope),
        one.at_bus_mw + share * moved.T,
    )


def linearise_losses(
    twin: GridTwin, paths: xr.Dataset, flow: xr.Dataset, buses: list[str], at_bus_mw: np.ndarray, *, priced: bool
) -> Losses:
    """Losses of all paths under a plan, with their slopes where losses have a price.

    Parameters
    ----------
    paths, flow : Profiles and PowerFlow
        Every path under the plan (path, time, asset), and its power flow.
    buses : list of str
        Buses of flexible assets.
    at_bus_mw : ndarray, (bus, time)
        Their flexible power. [MW]
    priced : bool
        Whether slopes are wanted; without a price they stay 0.
    """
    p_mw = np.nan_to_num(flow["p_loss_mw"].sum("branch").mean("path").to_numpy())
    if not priced or not buses:
        return Losses(p_mw, np.zeros(at_bus_mw.T.shape), at_bus_mw)
    mean = paths[["p_mw", "q_mvar"]].mean("path", keep_attrs=True)
    return Losses(p_mw, np.nan_to_num(marginal_losses(twin, mean, buses).to_numpy()), at_bus_mw)
