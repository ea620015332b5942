"""The statement of one recorded run: energy with its boundary, method and interval."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gridtwin.ai_energy.counters import Unavailable
from gridtwin.ai_energy.ledger import (
    COUNTER_ERROR,
    COUNTER_SOURCES,
    DEVICE_W_PER_BUSY_CORE,
    ESTIMATE_SOURCES,
    estimate_energy,
    measured_energy,
    node_w_per_busy_core,
)
from gridtwin.ai_energy.quantity import BOUNDARIES, Boundary, Quantity, sum_quantities
from gridtwin.ai_energy.recorder import Recorder, Tick
from gridtwin.errors import Finding

LADDER = (("J", 1e4), ("kJ", 3.6e5), ("Wh", 3.6e6), ("kWh", 3.6e9), ("MWh", 3.6e12))
"""Unit -> energy from which on the next one is easier to read. [J]"""
BOARD_SOURCES = ("energy counters and power of accelerator boards (NVML)",)


class Sampling(BaseModel):
    """How often was looked."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    pause_seconds: float
    """Pause between readings. [s]"""
    every_seconds: float | None
    """Length of the periods that are kept; None where only the whole run is. [s]"""
    file: str | None = None
    """File of the periods, where they are not in the statement."""


class RunStatement(BaseModel):
    """Energy of one command, ready for a report."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    job: str
    """What was computed."""
    command: tuple[str, ...]
    """Program and arguments."""
    exit_code: int
    """As a shell tells it."""
    start: dt.datetime
    """Begin, UTC."""
    end: dt.datetime
    """End, UTC."""
    seconds: float
    """Wall time. [s]"""
    cpu_seconds: float
    """Processor time of the command and its descendants. [s]"""
    energy: Quantity
    """Energy of the command and its descendants. [J]"""
    parts: dict[str, Quantity]
    """What it is the sum of, and `whole machine`: what the counters showed, other programs included. [J]"""
    sampling: Sampling
    """How often was looked."""
    samples: dict[str, tuple[float, ...]] | None = None
    """Periods: `start_seconds` after the begin [s], `seconds` [s], `cpu_seconds` [s], `joules` [J]."""
    findings: tuple[str, ...] = ()
    """Gaps, conflicts and whatever else a reader should know."""
    sources: tuple[str, ...] = ()
    """Evidence behind the numbers."""


def state_run(
    recorder: Recorder, *, job: str, command: tuple[str, ...], exit_code: int, start: dt.datetime, end: dt.datetime
) -> RunStatement:
    """Statement of a finished recording.

    Parameters
    ----------
    recorder : Recorder
        After the run.
    job : str
        What was computed.
    command : tuple of str
        Program and arguments.
    exit_code : int
        As a shell tells it.
    start, end : datetime
        UTC.
    """
    parts = _parts(recorder)
    energy = sum_quantities([part for name, part in parts.items() if name != "whole machine"])
    energy = energy.model_copy(update={"period_start": start, "period_end": end})
    return RunStatement(
        job=job,
        command=command,
        exit_code=exit_code,
        start=start,
        end=end,
        seconds=recorder.total.seconds,
        cpu_seconds=recorder.total.cpu_seconds,
        energy=energy,
        parts=parts,
        sampling=Sampling(pause_seconds=recorder.pause_seconds, every_seconds=recorder.every_seconds),
        samples=_samples(recorder),
        findings=tuple(str(finding) for finding in _findings(recorder)),
        sources=_sources(recorder),
    )


def _parts(recorder: Recorder) -> dict[str, Quantity]:
    total, parts = recorder.total, {}
    if recorder.packages is not None:
        if total.gap_seconds < total.seconds:
            parts["processors"] = job_share(total)
            parts["whole machine"] = measured_energy(total.package_joules)
        if total.gap_seconds > 0:
            reason = recorder.packages.gaps[-1]
            parts["processors in gaps"] = estimate_energy(total.gap_cpu_seconds, reason=reason, boundary="device")
    else:
        assert isinstance(recorder.domains, Unavailable)
        parts["processors"] = estimate_energy(total.cpu_seconds, reason=recorder.domains.reason,
                                              boundary=_boundary(recorder))  # fmt: skip
    return parts | {meter.board.name: meter.energy() for meter in recorder.board_meters}


def _boundary(recorder: Recorder) -> Boundary:
    """A node as a whole can only be estimated where no board has to be added to it."""
    return "device" if recorder.board_meters or recorder.packages is not None else "node"


def job_share(total: Tick) -> Quantity:
    """Energy of the packages in proportion to busy time.

    Returns
    -------
    Quantity
        In J. The upper end is the whole machine, as if the job had caused all of it; the lower end holds the
        error of the counters.
    """
    share = total.job_joules / total.package_joules if total.package_joules > 0 else 1.0
    method = (
        f"package energy counters of the whole machine, {share:.0%} of it for this command: in proportion to busy "
        "processor time, idle energy shared alike"
    )
    return Quantity(
        unit="J",
        kind="calculated" if share < 1 else "measured",
        boundary="device",
        method=method,
        method_class="device_counter",
        p2_5=total.job_joules * (1 - COUNTER_ERROR),
        p50=total.job_joules,
        p97_5=total.package_joules * (1 + COUNTER_ERROR),
        measured_share=1.0,
    )


def _samples(recorder: Recorder) -> dict[str, tuple[float, ...]] | None:
    if recorder.every_seconds is None:
        return None
    watts = node_w_per_busy_core() if _boundary(recorder) == "node" else DEVICE_W_PER_BUSY_CORE
    starts, clock = [], 0.0
    for tick in recorder.samples:
        starts.append(clock)
        clock += tick.seconds
    return {
        "start_seconds": tuple(starts),
        "seconds": tuple(tick.seconds for tick in recorder.samples),
        "cpu_seconds": tuple(tick.cpu_seconds for tick in recorder.samples),
        "joules": tuple(
            tick.job_joules + tick.board_joules
            + (tick.cpu_seconds if recorder.packages is None else tick.gap_cpu_seconds) * watts[1]
            for tick in recorder.samples
        ),
    }  # fmt: skip


def _findings(recorder: Recorder) -> list[Finding]:
    findings = [finding for meter in recorder.board_meters for finding in meter.findings]
    if recorder.packages is not None:
        findings += [
            Finding("package counters did not hold, estimated from processor time", got=reason, code="GT-E33")
            for reason in dict.fromkeys(recorder.packages.gaps)
        ]
    if recorder.left_running:
        findings.append(Finding("some processes still run, what they take from now on is not counted",
                                got=f"{recorder.left_running} of its processes", code="GT-E34"))  # fmt: skip
    return findings


def _sources(recorder: Recorder) -> tuple[str, ...]:
    sources: tuple[str, ...]
    if recorder.packages is None:
        sources = ESTIMATE_SOURCES if _boundary(recorder) == "node" else ESTIMATE_SOURCES[:1]
    else:
        sources = COUNTER_SOURCES + (ESTIMATE_SOURCES[:1] if recorder.packages.gaps else ())
    return sources + (BOARD_SOURCES if recorder.board_meters else ())


def write_run(statement: RunStatement, out: Path | None, samples: Path | None) -> None:
    """Write a statement as JSON, and its periods as CSV (units in the header) where a file is given for them."""
    if samples is not None and statement.samples is not None:
        with samples.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(statement.samples)
            writer.writerows(zip(*statement.samples.values(), strict=True))
        sampling = statement.sampling.model_copy(update={"file": str(samples)})
        statement = statement.model_copy(update={"samples": None, "sampling": sampling})
    if out is not None:
        out.write_text(statement.model_dump_json(indent=2) + "\n", encoding="utf-8")


def run_text(statement: RunStatement) -> str:
    """The statement in a few lines."""
    energy = statement.energy
    boundary = f"{energy.boundary}: {BOUNDARIES[energy.boundary]}" if energy.boundary else "none"
    lines = [
        f"energy of {statement.job}: {energy_text(energy)}",
        f"  boundary  {boundary}",
        f"  method    {energy.method}",
        f"  measured  {energy.measured_share:.0%} of it",
        f"  time      {statement.start:%Y-%m-%d %H:%M:%S} to {statement.end:%H:%M:%S} UTC, {statement.seconds:.1f} s, "
        f"{statement.cpu_seconds:.1f} s of processor time",
        f"  sampling  every {statement.sampling.pause_seconds:g} s",
    ]
    return "\n".join(lines + [f"  note      {finding}" for finding in statement.findings])


def energy_text(energy: Quantity) -> str:
    """An energy with its interval and kind, three digits in a unit that fits."""
    if energy.p50 is None:
        return f"missing: {energy.method}"
    middle = energy.to("J").p50 or 0.0
    unit = next((name for name, most in LADDER if middle < most), "GWh")
    low, middle, high = (float(f"{value:.3g}") for value in energy.to(unit).ends if value is not None)
    return f"{middle:g} {unit} ({low:g} to {high:g} {unit}, 95 % interval), {energy.kind}"
