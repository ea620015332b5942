"""Errors and findings.

    GridtwinError
    ├── ScenarioError        the scenario file asks for something that cannot be
    ├── DataError            a series is missing, has gaps, another unit or sign
    ├── NetworkError         the network model is incomplete or contradicts itself
    │   └── UnsafeFileError  a file names something that must not be built
    ├── ConvergenceError     no step of a power flow converged
    └── InfeasibleError      no schedule meets even the softened requirements

A `Finding` is one observation about the input; findings are collected and
raised once, so that a user mends a file in one go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One observation: what, where, expected, got, and what to do.

    `where` is a place a person can open: `file:line: key`, a table row such as
    `line 'Feeder 3'`, or a series name. Empty parts are left out of the text.
    """

    what: str
    where: str = ""
    expected: str = ""
    got: str = ""
    do: str = ""
    severity: Severity = "warning"
    code: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.got:
            parts.append(f"got {self.got}")
        text = ", ".join(parts) + "."
        return f"{text} {self.do}".strip()


class GridtwinError(Exception):
    """Base of all errors that gridtwin raises on purpose.

    Accepts one message or the findings that led to it; `findings` keeps them.
    """

    def __init__(self, reason: str | Iterable[Finding]) -> None:
        if isinstance(reason, str):
            reason = [Finding(reason, severity="error")]
        self.findings: tuple[Finding, ...] = tuple(reason)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class ScenarioError(GridtwinError):
    """The scenario file is invalid."""


class DataError(GridtwinError):
    """A series is missing or cannot be what it claims to be."""


class NetworkError(GridtwinError):
    """The network model is incomplete or contradicts itself."""


class UnsafeFileError(NetworkError):
    """A file names a class, module or link that gridtwin does not build."""


class ConvergenceError(GridtwinError):
    """A power flow found no solution."""


class InfeasibleError(GridtwinError):
    """No schedule meets even the softened requirements."""


def raise_errors(findings: Iterable[Finding], error: type[GridtwinError]) -> tuple[Finding, ...]:
    """Raise all findings of severity `error` at once; return the others."""
    findings = tuple(findings)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise error(errors)
    return findings
