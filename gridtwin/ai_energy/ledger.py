"""The energy ledger: what each step of a computation costs.

    with ledger.step("forecast"):
        ...

A step is measured where the machine lets its energy counters be read, and
estimated from processor time elsewhere. The estimate is linear in processor time,
so that two jobs cost the same side by side or one after the other, and it has an
asymmetric interval, because every estimate of this kind has been found too low
against a wall meter. Accelerators are not covered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gridtwin.ai_energy.counters import POWERCAP, EnergyMeter, Unavailable, find_domains
from gridtwin.ai_energy.processor_time import process_tree_cpu_seconds
from gridtwin.ai_energy.quantity import Boundary, Quantity, missing, sum_quantities
from gridtwin.ai_energy.statement import CarbonKind, EnergyStatement, build_statement
from gridtwin.ai_energy.wall_meter import BELOW_WALL, WALL_CAMPAIGN
from gridtwin.errors import DataError, Finding

if TYPE_CHECKING:
    import pandas as pd

DEVICE_W_PER_BUSY_CORE = (1.65, 4.0, 8.0)
"""Processor power per busy hardware thread: p2.5, p50, p97.5. Middle: rated power per thread of server
processors as in CodeCarbon's fallback; lower end: what the same tool books for one busy thread of a half idle
machine; upper end: twice the middle, as far as tools lie apart on one machine (M. Jay, V. Ostapenco et al.,
CCGrid 2023, hal-03974900). [W]"""
COUNTER_ERROR = 0.2
"""Half width of the interval around energy counters. On-chip sensors differ from wall meters by up to some tens of
percent (M. Fahad et al., Energies 12(11), 2019, doi:10.3390/en12112204); the figure is an assumption. [-]"""
ESTIMATE_SOURCES = (
    "processor power per busy thread: rated power of server processors, 4 W per thread",
    f"device to node: {WALL_CAMPAIGN}",
)
COUNTER_SOURCES = ("energy counters of the processor packages (RAPL)",)


def node_w_per_busy_core() -> tuple[float, float, float]:
    """Power of a whole node per busy hardware thread, idle share included: p2.5, p50, p97.5.

    Each end of the processor's power meets the same end of the gap to the wall
    meter; the widest gap was seen with the rated power, so it meets the middle.

    Examples
    --------
    >>> [round(watts, 2) for watts in node_w_per_busy_core()]
    [1.81, 5.88, 12.12]
    """
    low, middle, _ = DEVICE_W_PER_BUSY_CORE
    smallest, median, largest = (1 / (1 - below) for below in BELOW_WALL["processor"])
    return low * smallest, middle * median, middle * largest


def estimate_energy(cpu_seconds: float, *, reason: str, boundary: Boundary = "node") -> Quantity:
    """Energy from processor time.

    Parameters
    ----------
    cpu_seconds : float
        User and system time of all threads and processes. [s]
    reason : str
        Why no counter was read.
    boundary : {"node", "device"}
        The whole node at its plug, or processor packages with their memory.

    Returns
    -------
    Quantity
        In J, linear in `cpu_seconds`.

    Examples
    --------
    >>> round(estimate_energy(100.0, reason="none there").p50)
    588
    """
    watts = node_w_per_busy_core() if boundary == "node" else DEVICE_W_PER_BUSY_CORE
    share = "its share of the idle node included" if boundary == "node" else "processor packages only"
    method = (
        f"estimated from CPU time at {watts[1]:.1f} W ({watts[0]:.1f} to {watts[2]:.1f} W) per busy core, {share}; "
        f"no energy counter readable ({reason})"
    )
    p2_5, p50, p97_5 = (cpu_seconds * watt for watt in watts)
    return Quantity(unit="J", kind="estimated", boundary=boundary, method=method,
                    method_class="processor_time", p2_5=p2_5, p50=p50, p97_5=p97_5)  # fmt: skip


def measured_energy(joules: float) -> Quantity:
    """Energy that counters have shown, with the error of the counters."""
    return Quantity(
        unit="J",
        kind="measured",
        boundary="device",
        method="measured by package energy counters of the whole machine, other programs included",
        method_class="device_counter",
        p2_5=joules * (1 - COUNTER_ERROR),
        p50=joules,
        p97_5=joules * (1 + COUNTER_ERROR),
        measured_share=1.0,
    )


@dataclass(frozen=True)
class Step:
    """One finished step; `depth` 0 is outermost. [s], [J]"""

    name: str
    depth: int
    seconds: float
    cpu_seconds: float
    energy: Quantity


@dataclass(frozen=True)
class _Snapshot:
    """Clocks and counters at one time. [s], [J]"""

    seconds: float
    cpu_seconds: float
    joules: float
    gap_seconds: float


@dataclass
class EnergyLedger:
    """Energy of the steps of one computation.

    Parameters
    ----------
    powercap : Path
        Tree of the energy counters.
    """

    powercap: Path = POWERCAP
    steps: list[Step] = field(default_factory=list)
    _meter: EnergyMeter | Unavailable = field(init=False)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        domains = find_domains(self.powercap)
        self._meter = domains if isinstance(domains, Unavailable) else EnergyMeter(domains)

    @property
    def boundary(self) -> Boundary:
        """What every step of this ledger counts."""
        return "node" if isinstance(self._meter, Unavailable) else "device"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Account for a block of code, also where it raises; steps may be nested, not run in parallel."""
        self._open.append(name)
        path, depth, place = " / ".join(self._open), len(self._open) - 1, len(self.steps)
        if depth == 0 and isinstance(self._meter, EnergyMeter):
            self._meter.start()
        before = self._take_snapshot()
        try:
            yield
        finally:
            self._close(path, depth, place, before)
            self._open.pop()
            if depth == 0 and isinstance(self._meter, EnergyMeter):
                self._meter.stop()

    def _take_snapshot(self) -> _Snapshot:
        joules, gap_seconds = (0.0, 0.0) if isinstance(self._meter, Unavailable) else self._meter.advance()
        return _Snapshot(time.perf_counter(), process_tree_cpu_seconds(), joules, gap_seconds)

    def _close(self, path: str, depth: int, place: int, before: _Snapshot) -> None:
        """Book a step in front of those nested in it, so that the table reads from outside in."""
        after = self._take_snapshot()
        # a descendant that ended unobserved takes its time along, so the difference may fall below zero
        cpu_seconds = max(after.cpu_seconds - before.cpu_seconds, 0.0)
        seconds = after.seconds - before.seconds
        energy = self._energy(
            after.joules - before.joules, after.gap_seconds - before.gap_seconds, seconds, cpu_seconds
        )
        self.steps.insert(place, Step(path, depth, seconds, cpu_seconds, energy))

    def _energy(self, joules: float, gap_seconds: float, seconds: float, cpu_seconds: float) -> Quantity:
        """Counters where they can be trusted, processor time for the rest."""
        if isinstance(self._meter, Unavailable):
            return estimate_energy(cpu_seconds, reason=self._meter.reason)
        if gap_seconds <= 0:
            return measured_energy(joules)
        share = min(gap_seconds / seconds, 1.0) if seconds > 0 else 1.0
        gap = estimate_energy(share * cpu_seconds, reason=self._meter.gaps[-1], boundary="device")
        return gap if share >= 1 else sum_quantities([measured_energy(joules), gap])

    def table(self) -> pd.DataFrame:
        """One row per step; a nested step (`outer / inner`) is part of the outer one, so do not add the two.

        Returns
        -------
        DataFrame
            Columns `step, seconds, cpu_seconds, joules_p2_5, joules_p50, joules_p97_5, kind, method`.
        """
        import pandas as pd  # here, so that a ledger starts without it

        rows = [
            (
                s.name,
                s.seconds,
                s.cpu_seconds,
                s.energy.p2_5,
                s.energy.p50,
                s.energy.p97_5,
                s.energy.kind,
                s.energy.method,
            )
            for s in self.steps
        ]
        columns = ["step", "seconds", "cpu_seconds", "joules_p2_5", "joules_p50", "joules_p97_5", "kind", "method"]
        return pd.DataFrame(rows, columns=columns)

    def energy(self) -> Quantity:
        """Energy of all outermost steps. [J]"""
        outer = [step.energy for step in self.steps if step.depth == 0]
        return sum_quantities(outer) if outer else self._nothing()

    def statement(
        self, job: str, co2_g_per_kwh: float | None = None, co2_kind: CarbonKind = "assumed"
    ) -> EnergyStatement:
        """Energy and carbon of all outermost steps.

        Parameters
        ----------
        job : str
            What was computed.
        co2_g_per_kwh : float or None
            Carbon intensity, location-based; None leaves carbon missing. [g/kWh]
        co2_kind : str
            Where the carbon intensity comes from.
        """
        outer = [step for step in self.steps if step.depth == 0]
        return build_statement(
            job,
            self.energy(),
            seconds=sum(step.seconds for step in outer),
            cpu_seconds=sum(step.cpu_seconds for step in outer),
            co2_g_per_kwh=co2_g_per_kwh,
            co2_kind=co2_kind,
            sources=self._sources(),
        )

    def _nothing(self) -> Quantity:
        return missing("J", reason="no step has been accounted for", boundary=self.boundary)

    def _sources(self) -> tuple[str, ...]:
        if isinstance(self._meter, Unavailable):
            return ESTIMATE_SOURCES
        return COUNTER_SOURCES + (ESTIMATE_SOURCES[:1] if self._meter.gaps else ())


class EnergyMeasurement(ContextDecorator):
    """Energy of one block or function, see `measure_energy`."""

    def __init__(self, job: str, co2_g_per_kwh: float | None, co2_kind: CarbonKind, powercap: Path) -> None:
        self._job, self._co2 = job, (co2_g_per_kwh, co2_kind)
        self._powercap = powercap
        self._statement: EnergyStatement | None = None

    def __enter__(self) -> Self:
        self._ledger = EnergyLedger(self._powercap)
        self._step = self._ledger.step(self._job)
        self._step.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step.__exit__(kind, error, trace)
        self._statement = self._ledger.statement(self._job, *self._co2)

    @property
    def energy(self) -> Quantity:
        """Energy of the block, or of the last call of a decorated function. [J]"""
        self._require_end()
        return self._ledger.energy()

    @property
    def statement(self) -> EnergyStatement:
        """Statement of the block, or of the last call of a decorated function."""
        return self._require_end()

    def _require_end(self) -> EnergyStatement:
        if self._statement is None:
            raise DataError([Finding("nothing has been measured yet", where=self._job, severity="error",
                                     do="Ask for it after the block.")])  # fmt: skip
        return self._statement


def measure_energy(
    job: str = "job",
    *,
    co2_g_per_kwh: float | None = None,
    co2_kind: CarbonKind = "assumed",
    powercap: Path = POWERCAP,
) -> EnergyMeasurement:
    """Energy of a block of code, or of each call of a function.

    Parameters
    ----------
    job : str
        What is computed.
    co2_g_per_kwh : float or None
        Carbon intensity, location-based; None leaves carbon missing. [g/kWh]
    co2_kind : str
        Where the carbon intensity comes from.
    powercap : Path
        Tree of the energy counters.

    Returns
    -------
    EnergyMeasurement
        Context manager and decorator; its `statement` is there afterwards.

    Examples
    --------
    >>> with measure_energy("training") as measurement:
    ...     total = sum(range(1000))
    >>> measurement.statement.job
    'training'
    """
    return EnergyMeasurement(job, co2_g_per_kwh, co2_kind, powercap)
