"""Who pays for the energy of a node: idle energy by reservation, the rest by use.

    E_j = s_j E_idle + w_j (E - E_idle)

What nobody reserved or used stays as `unallocated`, so that the parts are the whole,
to the last digit of the floating-point number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gridtwin.errors import DataError, Finding, raise_errors

if TYPE_CHECKING:
    from gridtwin.ai_energy.quantity import Quantity

ROUNDING = 1e-9
"""Shares may exceed 1 by this much before it is an error: the sum of floating-point shares. [-]"""
GRID_ULPS = 4
"""Parts are multiples of this many last digits of the total, so that their sums are exact."""


@dataclass(frozen=True)
class JobShare:
    """What one job held and used of a node.

    Parameters
    ----------
    name : str
        Job.
    reserved : float
        Share of the node that was reserved for it; pays for idle energy. [-]
    used : float
        Share of all work of the node, such as busy time; pays for the rest. [-]
    """

    name: str
    reserved: float
    used: float


@dataclass(frozen=True)
class Attribution:
    """Energy of each job and what is left; together the total, exactly. [J]"""

    jobs: dict[str, float]
    unallocated: float
    total: float


def attribute_energy(total_joules: float, idle_joules: float, jobs: Sequence[JobShare]) -> Attribution:
    """Energy of a node over the jobs that ran on it.

    Parameters
    ----------
    total_joules : float
        Energy of the node. [J]
    idle_joules : float
        Part that the node would have taken anyway, idle power times length. [J]
    jobs : sequence of JobShare
        Shares of all jobs add up to at most 1, reserved and used each.

    Returns
    -------
    Attribution
        Conserves the sum in floating point: `math.fsum([*jobs.values(), unallocated]) == total`.

    Raises
    ------
    DataError
        If energies or shares are not in range, or two jobs have one name.

    Notes
    -----
    Parts are worked out as fractions and cut to a grid of a few last digits of the total.

    Examples
    --------
    >>> split = attribute_energy(100.0, 40.0, [JobShare("a", 0.5, 1.0), JobShare("b", 0.25, 0.0)])
    >>> split.jobs, split.unallocated
    ({'a': 80.0, 'b': 10.0}, 10.0)
    """
    raise_errors([*_check_energy(total_joules, idle_joules), *_check_jobs(jobs)], DataError)
    total, idle = Fraction(total_joules), Fraction(idle_joules)
    reserved = max(sum((Fraction(job.reserved) for job in jobs), Fraction(0)), Fraction(1))
    used = max(sum((Fraction(job.used) for job in jobs), Fraction(0)), Fraction(1))
    grid = GRID_ULPS * Fraction(math.ulp(total_joules))
    parts = {}
    for job in jobs:
        share = Fraction(job.reserved) / reserved * idle + Fraction(job.used) / used * (total - idle)
        parts[job.name] = math.floor(share / grid) * grid
    return Attribution(
        jobs={name: float(part) for name, part in parts.items()},
        unallocated=float(total - sum(parts.values())),
        total=total_joules,
    )


def attribute_quantity(energy: Quantity, idle_joules: float, jobs: Sequence[JobShare]) -> dict[str, Quantity]:
    """Energy of each job as a quantity, with the relative interval of the node's and calculated at best.

    The interval holds the error of the meter, not that of the shares. A missing
    energy gives missing parts.

    Parameters
    ----------
    energy : Quantity
        Of the node. [J]
    idle_joules : float
        As for `attribute_energy`. [J]
    jobs : sequence of JobShare
        As for `attribute_energy`.

    Returns
    -------
    dict
        Job -> energy, and `unallocated`. [J]
    """
    names = [*(job.name for job in jobs), "unallocated"]
    energy = energy.to("J")
    if energy.p50 is None:
        return dict.fromkeys(names, energy)
    split = attribute_energy(energy.p50, idle_joules, jobs)
    parts = [*split.jobs.values(), split.unallocated]
    return {name: _part(energy, joules) for name, joules in zip(names, parts, strict=True)}


def _part(energy: Quantity, joules: float) -> Quantity:
    whole = energy.p50
    assert whole is not None  # the caller has seen to it
    part = energy.scaled(joules / whole if whole > 0 else 0.0)
    method = f"{energy.method}; idle energy by reservation, the rest by use"
    kind = "calculated" if energy.kind == "measured" else energy.kind
    # ends and middle are rounded apart, so a zero width could turn around
    low, high = min(part.p2_5 or 0.0, joules), max(part.p97_5 or 0.0, joules)
    return part.model_copy(update={"kind": kind, "method": method, "p2_5": low, "p50": joules, "p97_5": high})


def _check_energy(total: float, idle: float) -> list[Finding]:
    if math.isfinite(total) and 0 <= idle <= total:
        return []
    return [Finding("idle energy lies between 0 and the total", expected=f"0 to {total} J", got=f"{idle} J",
                    do="Measure idle power on this machine, over the same boundary.",
                    severity="error", code="GT-E46")]  # fmt: skip


def _check_jobs(jobs: Sequence[JobShare]) -> list[Finding]:
    findings = []
    names = [job.name for job in jobs] + ["unallocated"]
    for name in sorted({name for name in names if names.count(name) > 1}):
        findings.append(Finding("a name stands for one job", where=name, severity="error", code="GT-E47"))
    for job in jobs:
        if not (0 <= job.reserved <= 1 + ROUNDING and 0 <= job.used <= 1 + ROUNDING):
            findings.append(Finding("shares lie between 0 and 1", where=job.name, severity="error", code="GT-E48",
                                    got=f"{job.reserved} reserved, {job.used} used"))  # fmt: skip
    for what in ("reserved", "used"):
        total = math.fsum(getattr(job, what) for job in jobs)
        if total > 1 + ROUNDING:
            findings.append(Finding(f"shares {what} add up to more than the node", expected="at most 1",
                                    got=f"{total:.6g}", severity="error", code="GT-E48"))  # fmt: skip
    return findings
