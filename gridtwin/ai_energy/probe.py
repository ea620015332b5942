"""What can be known about energy on this machine, told before a run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gridtwin.ai_energy.counters import POWERCAP, Unavailable, find_domains
from gridtwin.ai_energy.ledger import COUNTER_ERROR, DEVICE_W_PER_BUSY_CORE, node_w_per_busy_core
from gridtwin.ai_energy.meters import CONTROLLER_ERROR
from gridtwin.ai_energy.nvml import BOARD_ERROR, Board, find_boards, load_nvml
from gridtwin.ai_energy.processor_time import PROC
from gridtwin.ai_energy.quantity import METHODS, Boundary, Kind, Method

IPMI_DEVICES = (Path("/dev/ipmi0"), Path("/dev/ipmi/0"), Path("/dev/ipmidev/0"))


class Probe(BaseModel):
    """One way to know energy, and whether it is there."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str
    """What is read."""
    available: bool
    """Whether it can be read now."""
    used_by_run: bool
    """Whether `energy run` reads it."""
    detail: str
    """What was found, or why it is not there."""
    kind: Kind
    """Kind of the energy that it gives; missing where it is not there."""
    method_class: Method
    """How the energy comes about."""
    boundary: Boundary
    """What is counted."""
    percent_low: float | None
    """Lower end of the expected 95 % interval, from the middle. [%]"""
    percent_high: float | None
    """Upper end; None where it depends on the run, such as on what other programs do. [%]"""


class Outlook(BaseModel):
    """What a run will be told with."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: Kind
    """Kind of a statement made here."""
    boundary: Boundary
    """What it will count."""
    verdict: str
    """The same in a sentence."""
    probes: tuple[Probe, ...]
    """Everything that was looked for."""


def probe_machine(*, powercap: Path = POWERCAP, library: Any = None, proc: Path = PROC) -> Outlook:
    """Look for everything that tells energy here; nothing is changed.

    Parameters
    ----------
    powercap : Path
        Tree of the package counters.
    library : object, optional
        With the names of `pynvml`; by default that module, if it is there.
    proc : Path
        The process table.
    """
    library = load_nvml() if library is None else library
    packages, boards = _probe_packages(powercap), _probe_boards(find_boards(library))
    boundary: Boundary = "device" if packages.available or boards.available else "node"
    processor = _probe_processor_time(proc, boundary, used=not packages.available)
    kind: Kind = "calculated" if packages.available else "estimated"
    probes = (packages, boards, processor, _probe_controller())
    return Outlook(kind=kind, boundary=boundary, verdict=_verdict(packages, boards, processor), probes=probes)


def _probe_packages(powercap: Path) -> Probe:
    domains = find_domains(powercap)
    there = not isinstance(domains, Unavailable)
    detail = domains.reason if isinstance(domains, Unavailable) else ", ".join(domain.name for domain in domains)
    return Probe(name="package energy counters (RAPL)", available=there, used_by_run=there, detail=detail,
                 kind="measured" if there else "missing", method_class="device_counter", boundary="device",
                 percent_low=-100 * COUNTER_ERROR if there else None, percent_high=None)  # fmt: skip


def _probe_boards(boards: tuple[Board, ...] | Unavailable) -> Probe:
    name = "accelerator boards (NVML)"
    if isinstance(boards, Unavailable):
        return Probe(name=name, available=False, used_by_run=False, detail=boards.reason, kind="missing",
                     method_class="device_counter", boundary="device", percent_low=None,
                     percent_high=None)  # fmt: skip
    by_power = [board for board in boards if not board.has_counter]
    blind = any(board.sensor.seen_share < 1 for board in by_power)
    # unseen time may hold anything up to the limit of the board, which depends on the run
    low = 1 - min((board.sensor.seen_share for board in by_power), default=1.0) * (1 - BOARD_ERROR)
    return Probe(
        name=name, available=True, used_by_run=True, kind="measured", boundary="device",
        detail=", ".join(f"{b.name}: {'energy counter' if b.has_counter else 'power only'}" for b in boards),
        method_class="power_samples" if by_power else "device_counter", percent_low=-100 * low,
        percent_high=None if blind else 100 * BOARD_ERROR,
    )  # fmt: skip


def _probe_processor_time(proc: Path, boundary: Boundary, *, used: bool) -> Probe:
    low, middle, high = node_w_per_busy_core() if boundary == "node" else DEVICE_W_PER_BUSY_CORE
    living = os.path.isdir(proc / str(os.getpid()))
    detail = "living and ended descendants" if living else f"no {proc}: descendants count when they have ended"
    return Probe(name="processor time", available=True, used_by_run=used, detail=detail, kind="estimated",
                 method_class="processor_time", boundary=boundary, percent_low=100 * (low / middle - 1),
                 percent_high=100 * (high / middle - 1))  # fmt: skip


def _probe_controller() -> Probe:
    """The management controller: `energy run` does not ask it, but its readings can be given as a file."""
    device = next((path for path in IPMI_DEVICES if path.exists()), None)
    tool = shutil.which("ipmitool")
    there = device is not None and tool is not None and os.access(device, os.R_OK | os.W_OK)
    if device is None:
        detail = "no IPMI device, as on virtual machines"
    elif tool is None:
        detail = f"{device} is there, the program ipmitool is not installed"
    else:
        detail = f"{device}, read with ipmitool dcmi power reading" if there else f"no permission to open {device}"
    return Probe(name="management controller (IPMI)", available=there, used_by_run=False, detail=detail,
                 kind="measured" if there else "missing", method_class="power_samples", boundary="node",
                 percent_low=-100 * CONTROLLER_ERROR if there else None,
                 percent_high=100 * CONTROLLER_ERROR if there else None)  # fmt: skip


def _verdict(packages: Probe, boards: Probe, processor: Probe) -> str:
    on_boards = " and those of accelerator boards" if boards.available else ""
    if packages.available:
        return (f"A run here is calculated from counters of the processor packages{on_boards}: "
                "they show the whole machine, its share goes by busy time.")  # fmt: skip
    if boards.available:
        return "Accelerator boards are measured here, processors are estimated from their time."
    low, high = processor.percent_low or 0.0, processor.percent_high or 0.0
    return f"A run here is estimated from processor time: expect {low:.0f} to +{high:.0f} %."


def probe_text(outlook: Outlook) -> str:
    """The outlook in a few lines."""
    lines = [outlook.verdict, f"kind {outlook.kind}, boundary {outlook.boundary}", ""]
    for probe in outlook.probes:
        state = "yes" if probe.available else "no "
        lines.append(f"{state}  {probe.name}: {probe.detail}")
        if probe.available:
            lines.append(f"     {probe.kind} by {METHODS[probe.method_class]}, {probe.boundary}, {_range(probe)}"
                         + ("" if probe.used_by_run else "; not read by energy run"))  # fmt: skip
    return "\n".join(lines)


def _range(probe: Probe) -> str:
    low = "?" if probe.percent_low is None else f"{probe.percent_low:+.0f}"
    high = "as much as the run shows" if probe.percent_high is None else f"{probe.percent_high:+.0f} %"
    return f"{low} % to {high}"
