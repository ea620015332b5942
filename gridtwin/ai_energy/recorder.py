"""Records a command while it runs: processor time of its process tree, and counters.

Only clocks and counters are read here; what they mean is worked out afterwards, so
that the command starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gridtwin.ai_energy.counters import EnergyDomain, EnergyMeter, Unavailable
from gridtwin.ai_energy.nvml import Board, BoardMeter
from gridtwin.ai_energy.processor_time import PROC, descendants_cpu_seconds, find_descendants, machine_busy_seconds

COUNTER_SECONDS = 10.0
"""Pause between readings where nobody asks for more: no package counter wraps twice in it. [s]"""
BOARD_SECONDS = 1.0
"""The same with boards, whose power is summed up. [s]"""
SHORTEST_SECONDS = 0.05
"""Shorter pauses cost more than they tell: processor time of living processes comes in steps of 10 ms. [s]"""
PR_SET_CHILD_SUBREAPER = 36
"""`prctl`: processes whose parent has ended become children of this one, so that they still count."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of shells for a command that is not there or may not be run."""


@dataclass(frozen=True)
class Tick:
    """What happened between two readings; sums of these are sums of everything.

    Parameters
    ----------
    seconds : float
        Length. [s]
    cpu_seconds : float
        Processor time of the process tree. [s]
    package_joules : float
        Energy of the processor packages that counters have shown, the whole machine's. [J]
    job_joules : float
        Part of it in proportion to busy time. [J]
    gap_seconds, gap_cpu_seconds : float
        Length and processor time where the counters could not be trusted. [s]
    board_joules : float
        Energy of accelerator boards. [J]
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    package_joules: float = 0.0
    job_joules: float = 0.0
    gap_seconds: float = 0.0
    gap_cpu_seconds: float = 0.0
    board_joules: float = 0.0

    def __add__(self, other: Tick) -> Tick:
        return Tick(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass
class Recorder:
    """Readings of one run, summed up, and kept for periods of a given length.

    Parameters
    ----------
    domains : sequence of EnergyDomain or Unavailable
        Package counters.
    boards : sequence of Board or Unavailable
        Accelerator boards.
    library : object
        That the boards belong to.
    every_seconds : float or None
        Length of the periods that are kept; None keeps none. [s]
    proc : Path
        The process table.
    """

    domains: Sequence[EnergyDomain] | Unavailable
    boards: Sequence[Board] | Unavailable
    library: Any = None
    every_seconds: float | None = None
    proc: Path = PROC
    total: Tick = field(default_factory=Tick)
    samples: list[Tick] = field(default_factory=list)
    packages: EnergyMeter | None = None
    board_meters: list[BoardMeter] = field(default_factory=list)
    left_running: int = 0
    _last: tuple[float, float, float | None, float, float, float] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if not isinstance(self.domains, Unavailable):
            self.packages = EnergyMeter(self.domains)
        if not isinstance(self.boards, Unavailable):
            self.board_meters = [BoardMeter(self.library, board) for board in self.boards]

    @property
    def pause_seconds(self) -> float:
        """Pause between readings. [s]"""
        usual = BOARD_SECONDS if self.board_meters else COUNTER_SECONDS
        return max(min(self.every_seconds or usual, usual), SHORTEST_SECONDS)

    def advance(self) -> None:
        """Read everything now and book what has happened since the last time."""
        with self._lock:
            now = self._read()
            if self._last is not None:
                tick = self._tick(self._last, now)
                self.total += tick
                self._keep(tick)
            self._last = now

    def _read(self) -> tuple[float, float, float | None, float, float, float]:
        seconds = time.monotonic()
        joules, gap = self.packages.advance(seconds=seconds) if self.packages else (0.0, 0.0)
        boards = sum(meter.advance(seconds=seconds) for meter in self.board_meters)
        cpu = descendants_cpu_seconds(self.proc)
        # what ended between two looks is told by its parent later, so the sum may stand still but not fall
        cpu = max(cpu, self._last[1]) if self._last else cpu
        busy = machine_busy_seconds(self.proc) if self.packages else None
        return seconds, cpu, busy, joules, gap, boards

    def _tick(self, before: Any, after: Any) -> Tick:
        seconds, cpu, joules, gap, boards = (after[i] - before[i] for i in (0, 1, 3, 4, 5))
        busy = None if None in (before[2], after[2]) else after[2] - before[2]
        share = 1.0 if busy is None else min(cpu / max(busy, cpu), 1.0) if cpu > 0 else 0.0
        # the meter gives up whole intervals, so this is the gap without the rounding of a difference
        gap_seconds, gap_cpu = (seconds, cpu) if gap > 0 else (0.0, 0.0)
        return Tick(seconds, cpu, joules, joules * share, gap_seconds, gap_cpu, boards)

    def _keep(self, tick: Tick) -> None:
        if self.every_seconds is None:
            return
        # a period ends with the reading nearest to its end
        if self.samples and self.samples[-1].seconds < self.every_seconds - self.pause_seconds / 2:
            self.samples[-1] += tick
        else:
            self.samples.append(tick)


def record_command(command: Sequence[str], recorder: Recorder) -> int:
    """Run a command to its end and record it.

    Standard input, output and error are the command's own. Signals that ask this
    process to end are passed on, and it waits for the command.

    Parameters
    ----------
    command : sequence of str
        Program and its arguments.
    recorder : Recorder
        Takes the readings.

    Returns
    -------
    int
        Exit code as a shell tells it: 128 and the signal's number where one ended the command.

    Raises
    ------
    OSError
        If the command cannot be started.
    """
    recorder.advance()
    before = _living(recorder.proc)
    with _orphans_adopted(), _signals_passed_on() as pass_on:
        child = subprocess.Popen(list(command))
        pass_on(child)
        done = threading.Event()
        sampler = threading.Thread(target=_sample, args=(recorder, child.pid, done), name="energy", daemon=True)
        sampler.start()
        code = child.wait()
        done.set()
        sampler.join()
        _claim_orphans(child.pid, recorder.proc)
        recorder.advance()
        recorder.left_running = len(_living(recorder.proc) - before)
    return code if code >= 0 else 128 - code


def _sample(recorder: Recorder, child: int, done: threading.Event) -> None:
    due = time.monotonic() + recorder.pause_seconds
    while not done.wait(max(due - time.monotonic(), 0.0)):
        recorder.advance()
        _claim_orphans(child, recorder.proc)
        # counted from the clock, so that periods do not drift by the time of the readings
        due = max(due + recorder.pause_seconds, time.monotonic())


@contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Let descendants whose parent has ended become children of this process, where the system can."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError, TypeError):
        yield  # not Linux: they count until their parent ends
        return
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _claim_orphans(child: int, proc: Path) -> None:
    """Take in adopted processes that have ended, so that their time counts and their number is free again."""
    me = os.getpid()
    for process in find_descendants(proc):
        if process.parent == me and process.state == "Z" and process.pid != child:
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _living(proc: Path) -> set[int]:
    return {process.pid for process in find_descendants(proc) if process.state != "Z"}


@contextmanager
def _signals_passed_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Keep this process alive while the command decides what a signal means to it."""
    children: list[subprocess.Popen[bytes]] = []

    def handle(number: int, frame: object) -> None:
        # Ctrl-C reaches the whole foreground group, the command too: a second one would be one too many
        if children and not (number == signal.SIGINT and _is_in_foreground()):
            children[0].send_signal(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    # a handler, unlike an ignored signal, is not inherited by the command
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    taken = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    if threading.current_thread() is not threading.main_thread():
        taken = {}
    for number in taken:
        signal.signal(number, handle)
    try:
        yield children.append
    finally:
        for number, old in taken.items():
            signal.signal(number, old)


def _is_in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
