"""Energy counters of processor packages.

Energy counters of processor packages (RAPL, through the kernel's powercap tree)
count the whole machine, other programs included. They wrap, they are reset by
suspend or driver reload, they are mirrored, and on virtual machines they do not
exist. Whatever cannot be trusted becomes a gap, never a number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

POWERCAP = Path("/sys/class/powercap")
LARGEST_PACKAGE_W = 1000.0
"""No processor package draws more; server packages are limited to 500 W, short peaks to twice that. A counter
that would mean more was reset. [W]"""
MIRROR_UJ = 1e6
"""Two counters this close are one counter seen twice: the read-out takes less than 1 ms, which is 1 J at
`LARGEST_PACKAGE_W`. [µJ]"""
SAMPLING_SECONDS = 10.0
"""Pause between read-outs: an AMD range of 65.5 kJ lasts 65 s at `LARGEST_PACKAGE_W`. [s]"""


@dataclass(frozen=True)
class Unavailable:
    """A counter that cannot be read, and why."""

    reason: str


@dataclass(frozen=True)
class EnergyDomain:
    """One counter that is added to the total.

    Parameters
    ----------
    name : str
        As the kernel names it, such as `package-0` or `package-0/dram`.
    file : Path
        The file `energy_uj`.
    range_uj : float
        Value at which it wraps to zero. [µJ]
    """

    name: str
    file: Path
    range_uj: float


@dataclass(frozen=True)
class Reading:
    """All domains at one time; a domain that could not be read is left out. [s], [µJ]"""

    seconds: float
    energy_uj: Mapping[str, float]


def find_domains(powercap: Path = POWERCAP) -> tuple[EnergyDomain, ...] | Unavailable:
    """Package counters and their memory, each counted once.

    `core` and `uncore` are parts of the package and `psys` contains it, so they are
    never added; `dram` lies beside it. A package that shows up in two trees or on
    two dies with one value is counted once.
    """
    if not powercap.is_dir():
        return Unavailable(f"{powercap} does not exist, as on most virtual machines")
    # the plain tree comes before its memory-mapped mirror, intel-rapl before intel-rapl-mmio
    zones = sorted((zone for zone in powercap.iterdir() if (zone / "energy_uj").exists()), key=_zone_order)
    found: dict[str, EnergyDomain] = {}
    reasons: list[str] = []
    values: list[tuple[str, float]] = []
    for zone in zones:
        name = _added_name(zone)
        if name is None or name in found:
            continue
        try:
            domain = EnergyDomain(name, zone / "energy_uj", float((zone / "max_energy_range_uj").read_text()))
            value = float(domain.file.read_text())
        except (OSError, ValueError) as error:
            reasons.append(_reason(zone, error))
            continue
        base = name.rpartition("/")[2][:4]
        if value > MIRROR_UJ and any(kind == base and abs(value - other) < MIRROR_UJ for kind, other in values):
            continue
        values.append((base, value))
        found[name] = domain
    # one unreadable package would make the sum of the others look complete
    if reasons or not any("/" not in name for name in found):
        return Unavailable("; ".join(reasons) or f"{powercap} holds no package counter")
    return tuple(found.values())


def _zone_order(zone: Path) -> tuple[bool, str]:
    return "mmio" in zone.name, zone.name


def _added_name(zone: Path) -> str | None:
    """Name of a domain that counts, `package-0` or `package-0/dram`; None for all others."""
    try:
        name = (zone / "name").read_text().strip()
        if name.startswith("package"):
            return name
        if name != "dram":
            return None
        # intel-rapl:0:2 belongs to intel-rapl:0, its sibling in the flat tree
        parent = zone.parent / zone.name.rpartition(":")[0]
        return f"{(parent / 'name').read_text().strip()}/dram"
    except (OSError, ValueError):
        return None


def _reason(zone: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"no permission to read {zone.name}/energy_uj"
    return f"{zone.name} is not readable ({type(error).__name__})"


def read_domains(domains: Sequence[EnergyDomain], *, seconds: float | None = None) -> Reading:
    """Values of all domains that can be read now."""
    values = {}
    for domain in domains:
        try:
            values[domain.name] = float(domain.file.read_text())
        except (OSError, ValueError):
            continue
    return Reading(time.monotonic() if seconds is None else seconds, values)


def energy_between(domains: Sequence[EnergyDomain], before: Reading, after: Reading) -> float | Unavailable:
    """Energy of all domains between two read-outs. [J]

    Notes
    -----
    (after - before) mod range, as long as the range cannot have been passed twice
    at `LARGEST_PACKAGE_W` and the mean power stays below that. A counter that fell
    without a plausible wrap was reset, and its energy is lost.
    """
    seconds, joules = after.seconds - before.seconds, 0.0
    for domain in domains:
        if domain.name not in before.energy_uj or domain.name not in after.energy_uj:
            return Unavailable(f"{domain.name} could not be read")
        if seconds * LARGEST_PACKAGE_W >= domain.range_uj / 1e6:
            return Unavailable(f"{domain.name} may have wrapped more than once in {seconds:.0f} s")
        change_uj = (after.energy_uj[domain.name] - before.energy_uj[domain.name]) % domain.range_uj
        if change_uj / 1e6 > LARGEST_PACKAGE_W * seconds:
            return Unavailable(f"{domain.name} was reset")
        joules += change_uj / 1e6
    return joules


@dataclass
class EnergyMeter:
    """Running total of the energy counters, read out often enough to notice every wrap.

    Parameters
    ----------
    domains : sequence of EnergyDomain
        From `find_domains`.

    Attributes
    ----------
    joules : float
        Energy of all intervals that could be trusted. [J]
    gap_seconds : float
        Length of the others. [s]
    gaps : list of str
        Why.
    """

    domains: Sequence[EnergyDomain]
    joules: float = 0.0
    gap_seconds: float = 0.0
    gaps: list[str] = field(default_factory=list)
    _last: Reading | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def advance(self, *, seconds: float | None = None) -> tuple[float, float]:
        """Read out now; total of energy [J] and of gaps [s] so far."""
        with self._lock:
            now = read_domains(self.domains, seconds=seconds)
            if self._last is not None:
                self._book(self._last, now)
            self._last = now
            return self.joules, self.gap_seconds

    def _book(self, before: Reading, after: Reading) -> None:
        energy = energy_between(self.domains, before, after)
        if isinstance(energy, Unavailable):
            self.gap_seconds += after.seconds - before.seconds
            self.gaps.append(energy.reason)
        else:
            self.joules += energy

    def start(self) -> Self:
        """Begin to read out in the background until `stop`."""
        self._stop = threading.Event()
        threading.Thread(target=self._sample, args=(self._stop,), name="energy counters", daemon=True).start()
        return self

    def stop(self) -> None:
        """End the read-outs in the background."""
        self._stop.set()

    def _sample(self, stop: threading.Event) -> None:
        while not stop.wait(SAMPLING_SECONDS):
            self.advance()
