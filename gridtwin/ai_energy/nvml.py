"""Energy of NVIDIA boards through their management library (NVML).

Boards since Volta count energy; that counter comes first. Power is read as well: it
stands in where there is no counter, and where both are there and disagree the
statement says so. The library comes in as an object with the names of `pynvml`.
"""

from __future__ import annotations

import importlib
import math
import re
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gridtwin.ai_energy.counters import Unavailable
from gridtwin.ai_energy.power_samples import IntegratedPower, integrate_power, sampling_error
from gridtwin.errors import Finding

if TYPE_CHECKING:
    from gridtwin.ai_energy.quantity import Quantity

BOARD_ERROR = 0.10
"""Half width of the interval around a board's counter or power. The maker states 5 % for Fermi and Kepler only;
twice that is an assumption for the others. [-]"""
CONFLICT = 0.15
"""Counter and summed power further apart than this contradict each other: more than both errors explain. [-]"""
CONFLICT_J = 5.0
"""Smaller differences are those of the update times of the two, some 0.1 s. [J]"""
LARGEST_BOARD_W = 1500.0
"""Limit of a board that does not tell its own; boards of 2025 are rated up to 1200 W. [W]"""
PEAK_OVER_LIMIT = 1.5
"""A counter that means more than this times the limit has jumped. [-]"""
SHORTEST_CHECK_SECONDS = 3.0
"""A shorter run holds too few readings of power to contradict the counter. [s]"""
AMPERE, HOPPER = 7, 9
"""`nvmlDeviceArchitecture_t`."""
GA100 = {"A100", "A800", "A30", "A100X", "A30X"}
"""Names of boards with the chip GA100; their reading is not averaged, unlike that of other Ampere chips."""


@dataclass(frozen=True)
class PowerSensor:
    """How a reading of power comes about.

    Parameters
    ----------
    averaging_seconds : float
        The reading is the mean over this time; 0 is the power now. [s]
    seen_share : float
        Share of time in which the sensor looks. [-]
    """

    averaging_seconds: float
    seen_share: float


def power_sensor(name: str, architecture: int | None) -> PowerSensor:
    """Sensor of a board.

    Parameters
    ----------
    name : str
        As the library tells it.
    architecture : int or None
        `nvmlDeviceArchitecture_t`; None where the library does not tell, then the worst case holds.

    Notes
    -----
    Mean of 1 s from Ampere on except GA100 (documentation of NVML, `nvmlDeviceGetPowerUsage`). A100 and H100
    look 25 of 100 ms (Z. Yang, K. Adamek, W. Armour, SC24, arXiv:2312.02741).

    Examples
    --------
    >>> power_sensor("NVIDIA A100-SXM4-80GB", 7)
    PowerSensor(averaging_seconds=0.0, seen_share=0.25)
    """
    is_ga100 = not GA100.isdisjoint(re.split(r"[\s\-_]+", name))
    if architecture is None or is_ga100:
        return PowerSensor(0.0, 0.25)
    return PowerSensor(1.0 if architecture >= AMPERE else 0.0, 0.25 if architecture == HOPPER else 1.0)


@dataclass(frozen=True)
class Board:
    """One board and what it can tell.

    Parameters
    ----------
    index : int
        As the library counts.
    name : str
        With its index, for findings.
    handle : object
        Of the library.
    sensor : PowerSensor
        Of its power reading.
    limit_w : float
        Power that it does not exceed for long. [W]
    has_counter, has_power : bool
        What it answers.
    """

    index: int
    name: str
    handle: Any
    sensor: PowerSensor
    limit_w: float
    has_counter: bool
    has_power: bool


def load_nvml() -> Any | Unavailable:
    """The library's Python module, if it is installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return Unavailable("the module pynvml is not installed")


def find_boards(library: Any | Unavailable, indices: Sequence[int] | None = None) -> tuple[Board, ...] | Unavailable:
    """Boards that tell energy or power.

    Parameters
    ----------
    library : object
        With the names of `pynvml`; or why there is none.
    indices : sequence of int, optional
        Boards to count; by default all.
    """
    if isinstance(library, Unavailable):
        return library
    try:
        library.nvmlInit()
        count = int(library.nvmlDeviceGetCount())
    except Exception as error:  # the library raises its own kinds, and OSError where the driver is absent
        return Unavailable(f"NVML does not start ({_told(error)})")
    wanted = range(count) if indices is None else indices
    if any(not 0 <= index < count for index in wanted):
        return Unavailable(f"board {max(wanted)} was asked for, there are {count}")
    boards = [_describe(library, index) for index in wanted]
    silent = [board.name for board in boards if not (board.has_counter or board.has_power)]
    # the others alone would look complete
    if silent or not boards:
        return Unavailable(f"no energy and no power from {', '.join(silent)}" if silent else "there is no board")
    return tuple(boards)


def _describe(library: Any, index: int) -> Board:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    name = _ask(library, "nvmlDeviceGetName", handle)
    name = name.decode() if isinstance(name, bytes) else str(name or "board")
    limit_mw = _ask(library, "nvmlDeviceGetEnforcedPowerLimit", handle)
    return Board(
        index=index,
        name=f"{name} (board {index})",
        handle=handle,
        sensor=power_sensor(name, _ask(library, "nvmlDeviceGetArchitecture", handle)),
        limit_w=limit_mw / 1e3 if limit_mw else LARGEST_BOARD_W,
        has_counter=_ask(library, "nvmlDeviceGetTotalEnergyConsumption", handle) is not None,
        has_power=_ask(library, "nvmlDeviceGetPowerUsage", handle) is not None,
    )


def _ask(library: Any, name: str, handle: Any) -> Any:
    """Answer of one call; None where the board or the library does not support it."""
    call: Callable[[Any], Any] | None = getattr(library, name, None)
    if call is None:
        return None
    try:
        return call(handle)
    except Exception:  # NVMLError_NotSupported, or another kind of an injected library: no answer either way
        return None


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


@dataclass
class BoardMeter:
    """Readings of one board over time; energy is worked out at the end."""

    library: Any
    board: Board
    joules: float = 0.0
    """Running total, counter where it holds, else power. [J]"""
    counted: float = 0.0
    """Part that the counter has shown. [J]"""
    broken: list[tuple[float, float]] = field(default_factory=list)
    """Intervals in which the counter did not hold. [s]"""
    findings: list[Finding] = field(default_factory=list)
    _times: array[float] = field(default_factory=lambda: array("d"))
    _watts: array[float] = field(default_factory=lambda: array("d"))
    _counter: float | None = None
    _span: tuple[float, float] | None = None

    def advance(self, *, seconds: float | None = None) -> float:
        """Read out now; energy so far. [J]"""
        now = time.monotonic() if seconds is None else seconds
        counter_mj = _ask(self.library, "nvmlDeviceGetTotalEnergyConsumption", self.board.handle)
        power_mw = _ask(self.library, "nvmlDeviceGetPowerUsage", self.board.handle)
        watts = math.nan if power_mw is None else power_mw / 1e3
        if self._span is not None:
            self._book(self._span[1], now, counter_mj, watts)
        self._times.append(now)
        self._watts.append(watts)
        self._counter = None if counter_mj is None else counter_mj / 1e3
        self._span = (now if self._span is None else self._span[0], now)
        return self.joules

    def _book(self, start: float, end: float, counter_mj: float | None, watts: float) -> None:
        change = None if counter_mj is None or self._counter is None else counter_mj / 1e3 - self._counter
        if change is not None and 0 <= change <= self._most(end - start):
            self.counted += change
            self.joules += change
            return
        self.broken.append((start, end))
        if self.board.has_counter:
            self._tell_break(start, end, change)
        known = [value for value in (self._watts[-1], watts) if math.isfinite(value)]
        self.joules += (end - start) * sum(known) / len(known) if known else 0.0

    def _most(self, seconds: float) -> float:
        # the counter moves every 20 to 100 ms, so a short interval may show one update more
        return self.board.limit_w * PEAK_OVER_LIMIT * (seconds + 0.2)

    def _tell_break(self, start: float, end: float, change: float | None) -> None:
        got = "no answer" if change is None else f"a change of {change:.6g} J in {end - start:.3g} s"
        self.findings.append(Finding("the energy counter did not hold (driver loaded anew?), power stands in",
                                     where=self.board.name, got=got, code="GT-E31",
                                     expected=f"0 to {self._most(end - start):.6g} J"))  # fmt: skip

    def sampled(self, begin: float, end: float) -> IntegratedPower | None:
        """Energy of power samples between two times; None where there is none."""
        if end <= begin or not any(map(math.isfinite, self._watts)):
            return None
        return integrate_power(self._times, self._watts, begin=begin, end=end, where=self.board.name,
                               window_seconds=self.board.sensor.averaging_seconds)  # fmt: skip

    def energy(self) -> Quantity:
        """Energy between the first and the last reading, with what is known about its error. [J]"""
        from gridtwin.ai_energy.quantity import missing, sum_quantities

        if self._span is None or self._span[1] <= self._span[0]:
            return missing("J", reason=f"{self.board.name} was read less than twice", boundary="device")
        parts = [self._counted_part()] if len(self.broken) < len(self._times) - 1 else []
        parts += [self._sampled_part(start, end) for start, end in _joined(self.broken)]
        return sum_quantities(parts)

    def _counted_part(self) -> Quantity:
        from gridtwin.ai_energy.quantity import with_interval

        counter = with_interval(
            self.counted, BOARD_ERROR, BOARD_ERROR, "J", kind="measured", method="energy counter of the board",
            method_class="device_counter", boundary="device", measured_share=1.0, provenance=(self.board.name,),
        )  # fmt: skip
        assert self._span is not None
        power = None if self.broken else self.sampled(*self._span)
        if power is None or not self._conflicts(power):
            return counter
        self.findings.append(Finding("energy counter and summed power contradict each other", where=self.board.name,
                                     expected=f"within {CONFLICT:.0%}", code="GT-E32",
                                     got=f"{self.counted:.4g} J and {power.joules:.4g} J",
                                     do="The interval holds both; a wall meter can tell which is right."))  # fmt: skip
        ends = [value * (1 + sign * BOARD_ERROR) for value in (self.counted, power.joules) for sign in (-1, 1)]
        method = f"{counter.method}; its power summed up tells {power.joules:.4g} J, the interval holds both"
        return counter.model_copy(update={"p2_5": min(ends), "p97_5": max(ends), "method": method})

    def _conflicts(self, power: IntegratedPower) -> bool:
        difference = abs(power.joules - self.counted)
        seen = self.board.sensor.seen_share == 1 or power.seconds >= SHORTEST_CHECK_SECONDS
        return seen and difference > CONFLICT_J and difference > CONFLICT * max(self.counted, power.joules)

    def _sampled_part(self, start: float, end: float) -> Quantity:
        """Energy of power samples; the unseen time may hold anything from nothing to the limit of the board."""
        from gridtwin.ai_energy.quantity import Quantity, missing

        power = self.sampled(start, end)
        if power is None:
            return missing("J", reason=f"{self.board.name} told neither energy nor power", boundary="device")
        for finding in power.findings:
            if finding not in self.findings:
                self.findings.append(finding)
        seen = self.board.sensor.seen_share
        error = math.hypot(BOARD_ERROR, sampling_error(power.step_seconds))
        sure = power.joules - power.gap_joules
        unseen = (1 - seen) * (power.seconds - power.gap_seconds) + power.gap_seconds
        blind = f"; the sensor looks {seen:.0%} of the time" if seen < 1 else ""
        return Quantity(
            unit="J", kind="estimated" if power.gap_seconds > 0 else "measured", boundary="device",
            method=f"power of the board every {power.step_seconds:.3g} s, summed up{blind}",
            method_class="power_samples", p2_5=seen * sure * (1 - error), p50=power.joules,
            p97_5=max(power.joules * (1 + error), seen * sure * (1 + error) + unseen * self.board.limit_w),
            measured_share=seen * (sure / power.joules if power.joules > 0 else 1.0), provenance=(self.board.name,),
        )  # fmt: skip


def _joined(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Intervals that touch made one. [s]"""
    joined: list[tuple[float, float]] = []
    for start, end in intervals:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, end))
    return joined
