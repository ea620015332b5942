"""Where the forecasts of local days are issued on the steps of a UTC axis, and how far they reach."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gridtwin.forecast.calendar import ClockGrid


@dataclass(frozen=True)
class DayLayout:
    """Steps that a forecast has to cover.

    Parameters
    ----------
    slots : int
        Steps of a regular day.
    shift : int
        Steps between issue and midnight.
    chunk : int
        Steps of the longest day to forecast, after the shift.
    days : int
        Days of history before the first forecast.
    """

    slots: int
    shift: int
    chunk: int
    days: int


@dataclass(frozen=True)
class Issues:
    """Where each forecast is issued, and what it has to cover.

    Parameters
    ----------
    days : ndarray of int, (forecast,)
        Positions of the forecast days in the grid.
    issue, begin, end : ndarray of int, (forecast,)
        First step that is not known at issue; first step of the day, and of the next.
    """

    days: np.ndarray
    issue: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    @staticmethod
    def of_grid(grid: ClockGrid, known: int, first: int) -> Issues:
        """Issues of the days from position `first` on; of the day before, slots up to `known` have ended."""
        days = np.arange(first, len(grid.dates))
        edges = np.searchsorted(grid.day, np.arange(len(grid.dates) + 1))
        # the first pass of a repeated hour counts: up to the first slot that has not ended
        waking = [int(np.argmax(np.append(grid.slot[edges[d - 1] : edges[d]] >= known, True))) for d in days]
        return Issues(days, edges[days - 1] + waking, edges[days], edges[days + 1])

    def runs(self, reach: int = 0) -> list[slice]:
        """Forecasts whose issues lie a regular day apart, by the length that most days have.

        Days that end less than `reach` steps after issue stand alone.
        """
        apart = np.diff(self.issue)
        usual = np.bincount(apart).argmax() if len(apart) else 0
        alone = self.end - self.issue < reach
        cuts = np.flatnonzero((apart != usual) | alone[1:] | alone[:-1]) + 1
        return [slice(begin, end) for begin, end in pairwise([0, *cuts.tolist(), len(self.days)])]

    def layout(self, slots: int) -> DayLayout:
        """What a model must be able to cover."""
        shift = int((self.begin - self.issue).min())
        return DayLayout(slots, shift, int((self.end - self.issue).max()) - shift, int(self.days[0]))


def longer_grid(grid: ClockGrid) -> ClockGrid:
    """Grid with one day more, of which a model may ask covariates after a short day."""
    return ClockGrid.of_days(grid.dates[0], len(grid.dates) + 1, grid.axis.zone, grid.axis.step)


def extended(steps: np.ndarray, longer: ClockGrid) -> np.ndarray:
    """Values of the steps, the last one repeated to the end of the longer grid; no forecast day reads those."""
    beyond = longer.axis.length - len(steps)
    return np.concatenate([steps, np.repeat(steps[-1:], beyond, axis=0)])
