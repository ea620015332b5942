"""Processor time: of a process tree, and of the whole machine.

Processor time of this process and all its descendants is there on every machine,
virtual ones included. It is the basis of every estimate, and of the share that a
job has in what counters show for the whole machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessTime:
    """One living or ended but unclaimed process.

    Parameters
    ----------
    pid, parent : int
        Process numbers.
    state : str
        As the kernel writes it; `Z` has ended and is not yet claimed by its parent.
    ticks : int
        User and system time of the process and of all children it has claimed. [clock ticks]
    """

    pid: int
    parent: int
    state: str
    ticks: int


def process_tree_cpu_seconds(proc: Path = PROC) -> float:
    """User and system time of this process, all its threads and its descendants, ended or alive. [s]

    Descendants alive are found in `/proc`; where there is none (not Linux) they
    count when they have ended.
    """
    return time.process_time() + descendants_cpu_seconds(proc)


def descendants_cpu_seconds(proc: Path = PROC) -> float:
    """The same without this process itself. [s]"""
    # ended first: a child that ends in between is missed once and not counted twice
    ended = _ended_cpu_seconds()
    ticks = sum(process.ticks for process in find_descendants(proc))
    return ended + (ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0)


def _ended_cpu_seconds() -> float:
    """Time of children that ended and were waited for; in microseconds where the system tells them. [s]"""
    try:
        import resource
    except ImportError:  # not a Unix system
        ended = os.times()
        return ended.children_user + ended.children_system
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def find_descendants(proc: Path = PROC) -> tuple[ProcessTime, ...]:
    """All processes below this one.

    The kernel lists the children of each thread in most builds; only this tree is
    read then. Elsewhere the whole process table is.
    """
    me, root = os.getpid(), os.fspath(proc)
    own = os.path.join(root, str(me), "task", str(me), "children")
    children = _children_listed if os.path.exists(own) else _children_in_table(root)
    found: list[ProcessTime] = []
    waiting = list(children(root, me))
    while waiting:
        process = _read_stat(root, waiting.pop())
        if process is not None:
            found.append(process)
            waiting += children(root, process.pid)
    return tuple(found)


def _children_listed(root: str, pid: int) -> Iterator[int]:
    """Children that the kernel lists for each thread of a process."""
    tasks = os.path.join(root, str(pid), "task")
    try:
        threads = os.listdir(tasks)
    except OSError:
        return
    for thread in threads:
        try:
            with open(os.path.join(tasks, thread, "children"), "rb") as file:
                yield from map(int, file.read().split())
        except (OSError, ValueError):
            continue


class _children_in_table:  # noqa: N801, used like the function above
    """Children by the parents of all processes, where the kernel keeps no list."""

    def __init__(self, root: str) -> None:
        self._of: dict[int, list[int]] = {}
        for name in os.listdir(root) if os.path.isdir(root) else ():
            process = _read_stat(root, int(name)) if name.isdigit() else None
            if process is not None:
                self._of.setdefault(process.parent, []).append(process.pid)

    def __call__(self, root: str, pid: int) -> Iterator[int]:
        yield from self._of.get(pid, ())


def _read_stat(root: str, pid: int) -> ProcessTime | None:
    """One row of the process table; None where it has just ended."""
    try:
        with open(os.path.join(root, str(pid), "stat"), "rb") as file:
            # the name in brackets may hold spaces, so count from its end
            fields = file.read().rpartition(b")")[2].split()
        return ProcessTime(pid, int(fields[1]), fields[0].decode(), sum(map(int, fields[11:15])))
    except (OSError, ValueError, IndexError):
        return None


def machine_busy_seconds(proc: Path = PROC) -> float | None:
    """Time that all hardware threads of the machine were busy since it started; None where it is not told. [s]

    User, nice, system and interrupt time of `/proc/stat`; guests are part of user
    time, and waiting for disks or for the host of a virtual machine is not work.
    """
    try:
        with open(proc / "stat", "rb") as file:
            name, *ticks = file.readline().split()
        user, nice, system, _, _, irq, soft_irq = map(int, ticks[:7])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK") if name == b"cpu" else None
