"""Energy from samples of power.

A sample is either the power at its time, or the mean over a window that ends there,
as many sensors report it. Where samples are far apart nobody knows what happened;
such a gap is filled from its two ends and told apart from what was measured.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gridtwin.errors import DataError, Finding

GAP_FACTOR = 5.0
"""A pause this many times the usual one is a gap. One or two lost samples are common and do no harm. [-]"""
SAMPLING_SD = ((5.0, 0.0017), (15.0, 0.0060), (60.0, 0.023), (300.0, 0.078))
"""Pause between samples [s] -> standard deviation of the energy [-]: 28 traces of A100 servers at the wall
meter, 11 to 20 min at 1 Hz, thinned out (mlcommons/inference_results_v2.1)."""
TWO_SIDED_95 = 1.96
"""Half width of a 95 % interval in standard deviations. [-]"""


@dataclass(frozen=True)
class IntegratedPower:
    """Energy between two times.

    Parameters
    ----------
    joules : float
        All of it, gaps included. [J]
    gap_joules : float
        Part that was filled in. [J]
    gap_low_joules, gap_high_joules : float
        What the gaps hold at the lowest and the highest power of the trace. [J]
    seconds, gap_seconds : float
        Length, and that of the gaps. [s]
    step_seconds : float
        Median pause between samples; 0 for a single sample. [s]
    findings : tuple of Finding
        One for each gap and each dropped sample.
    """

    joules: float
    gap_joules: float
    gap_low_joules: float
    gap_high_joules: float
    seconds: float
    gap_seconds: float
    step_seconds: float
    findings: tuple[Finding, ...] = ()

    @property
    def mean_w(self) -> float:
        """Mean power; NaN for no time at all. [W]"""
        return self.joules / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True)
class _Piece:
    """Power that runs linearly from one time to another. [s], [W]"""

    start: float
    end: float
    watts_start: float
    watts_end: float
    is_gap: bool

    def clip(self, begin: float, end: float) -> _Piece | None:
        first, last = max(self.start, begin), min(self.end, end)
        if last <= first:
            return None
        return _Piece(first, last, self._at(first), self._at(last), self.is_gap)

    def _at(self, time: float) -> float:
        share = (time - self.start) / (self.end - self.start)
        return self.watts_start + share * (self.watts_end - self.watts_start)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def joules(self) -> float:
        return (self.watts_start + self.watts_end) / 2 * self.seconds


def integrate_power(
    seconds: Sequence[float],
    watts: Sequence[float],
    *,
    begin: float | None = None,
    end: float | None = None,
    window_seconds: float = 0.0,
    gap_factor: float = GAP_FACTOR,
    where: str = "power samples",
) -> IntegratedPower:
    """Energy between two times from samples of power.

    Parameters
    ----------
    seconds : sequence of float, shape (sample,)
        Times, not falling. [s]
    watts : sequence of float, shape (sample,)
        Power; NaN is missing and dropped with a finding. [W]
    begin, end : float, optional
        Window; by default first and last sample. What lies outside the samples is filled with the nearest one,
        and is a gap where it is longer than `gap_factor` usual pauses. [s]
    window_seconds : float
        Each sample is the mean over this time before its stamp; 0 is power at the stamp. [s]
    gap_factor : float
        A pause longer than this many median pauses is a gap. [-]
    where : str
        Name of the trace, for findings.

    Raises
    ------
    DataError
        If nothing is left to add up, or times fall.

    Notes
    -----
    Power at the stamp: sum of (P_i + P_(i-1)) / 2 (t_i - t_(i-1)). Means over a window: stamps move back by half
    the window and each sample holds until midway to the next, which is exact where windows touch.

    Examples
    --------
    >>> integrate_power([0.0, 1.0, 2.0], [100.0, 200.0, 100.0]).joules
    300.0
    """
    times, powers, findings = _cleaned(seconds, watts, where)
    step = _median([b - a for a, b in pairwise(times)])
    begin, end = times[0] if begin is None else begin, times[-1] if end is None else end
    middles = [time - window_seconds / 2 for time in times]
    longest = gap_factor * step if step > 0 else math.inf
    first, last = _needed(middles, begin, end)
    pieces = _pieces(middles[first:last], powers[first:last], (begin, end), longest, means=window_seconds > 0)
    inside = [piece for whole in pieces if (piece := whole.clip(begin, end)) is not None]
    gaps = [piece for piece in inside if piece.is_gap]
    findings += [_gap_finding(piece, where, longest) for piece in gaps]
    gap_seconds = math.fsum(piece.seconds for piece in gaps)
    return IntegratedPower(
        joules=math.fsum(piece.joules for piece in inside),
        gap_joules=math.fsum(piece.joules for piece in gaps),
        gap_low_joules=gap_seconds * min(powers),
        gap_high_joules=gap_seconds * max(powers),
        seconds=end - begin,
        gap_seconds=gap_seconds,
        step_seconds=step,
        findings=tuple(findings),
    )


def _cleaned(
    seconds: Sequence[float], watts: Sequence[float], where: str
) -> tuple[list[float], list[float], list[Finding]]:
    if len(seconds) != len(watts):
        raise DataError([Finding("one power for each time", where=where, expected=f"{len(seconds)} samples",
                                 got=str(len(watts)), severity="error", code="GT-E41")])  # fmt: skip
    kept = [(float(t), float(p)) for t, p in zip(seconds, watts, strict=True) if math.isfinite(p)]
    if not kept:
        raise DataError([Finding("there is no sample with a power", where=where, severity="error", code="GT-E42")])
    for (before, _), (after, _) in pairwise(kept):
        if not after >= before:
            raise DataError([Finding("times must not fall", where=where, expected=f"at least {before} s",
                                     got=f"{after} s", do="Sort the samples, or mend the clock.",
                                     severity="error", code="GT-E43")])  # fmt: skip
    lost = len(seconds) - len(kept)
    findings = [Finding("samples without a power were left out", where=where, got=str(lost),
                        code="GT-E44")] if lost else []  # fmt: skip
    return [t for t, _ in kept], [p for _, p in kept], findings


def _needed(middles: Sequence[float], begin: float, end: float) -> tuple[int, int]:
    """Samples inside the window and the nearest on either side."""
    first = max(bisect_right(middles, begin) - 1, 0)
    return first, max(min(bisect_left(middles, end) + 1, len(middles)), first + 1)


def _pieces(
    times: Sequence[float], watts: Sequence[float], window: tuple[float, float], longest: float, *, means: bool
) -> list[_Piece]:
    """Power over the whole window as pieces, lowest time first."""
    begin, end = window
    pieces = [_Piece(begin, times[0], watts[0], watts[0], times[0] - begin > longest)] if begin < times[0] else []
    for i in range(1, len(times)):
        pieces += _between((times[i - 1], times[i]), (watts[i - 1], watts[i]), longest, means=means)
    if times[-1] < end:
        pieces.append(_Piece(times[-1], end, watts[-1], watts[-1], end - times[-1] > longest))
    return pieces


def _between(
    times: tuple[float, float], watts: tuple[float, float], longest: float, *, means: bool
) -> tuple[_Piece, ...]:
    (start, end), (before, after) = times, watts
    is_gap = end - start > longest
    if not means:
        return (_Piece(start, end, before, after, is_gap),)
    middle = (start + end) / 2
    return _Piece(start, middle, before, before, is_gap), _Piece(middle, end, after, after, is_gap)


def _gap_finding(piece: _Piece, where: str, longest: float) -> Finding:
    return Finding("no sample for too long, filled from the nearest ones and booked as estimated", where=where,
                   expected=f"a pause of at most {longest:.3g} s",
                   got=f"{piece.seconds:.3g} s from {piece.start:.3f} s on", code="GT-E45")  # fmt: skip


def _median(values: Sequence[float]) -> float:
    if not values:
        return 0.0
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def sampling_error(step_seconds: float) -> float:
    """Half width of the 95 % interval that thin sampling adds. [-]

    Parameters
    ----------
    step_seconds : float
        Pause between samples. [s]

    Notes
    -----
    1.96 standard deviations of `SAMPLING_SD`, straight lines between the points on logarithmic axes and beyond.
    The traces lasted 11 to 20 min; a longer run averages more, a shorter one less.

    Examples
    --------
    >>> round(sampling_error(15.0), 5)
    0.01176
    """
    if step_seconds <= 0:
        return 0.0
    steps = [step for step, _ in SAMPLING_SD]
    i = min(max(bisect_right(steps, step_seconds), 1), len(steps) - 1)
    (x0, y0), (x1, y1) = SAMPLING_SD[i - 1], SAMPLING_SD[i]
    slope = math.log(y1 / y0) / math.log(x1 / x0)
    # a power of floats has no type of its own
    sd: float = y0 * (step_seconds / x0) ** slope
    return min(TWO_SIDED_95 * sd, 1.0)
