"""The certificate in lines that a reader can judge: what was found, what is allowed, what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from gridtwin.report.verdict import Tone, VerdictLine, local_words, percent_words

Certificate = Mapping[str, Any]
SMALLEST_GAP = 1e-6
"""A smaller gap is the solver's tolerance. [-]"""
GOOD_GAP = 0.01
"""A larger gap is worth a second look. [-]"""


def certificate_lines(certificate: Certificate, zone: str) -> list[VerdictLine]:
    """Limits, agreement, losses and optimality, a line each; of what was never checked there is none."""
    lines = [*_limit_lines(certificate, zone)]
    if any(solve.get("round") for solve in certificate.get("solves") or []):
        lines += [*_agreement_lines(certificate), *_loss_lines(certificate), *_bound_lines(certificate)]
    return lines


def _limit_lines(certificate: Certificate, zone: str) -> Iterator[VerdictLine]:
    """Whether limits hold, and the largest violation beside its tolerance."""
    if "limits_hold" not in certificate:
        return
    holds, agreed = bool(certificate["limits_hold"]), percent_words(float(certificate.get("confidence", 0)))
    tone: Tone = "good" if holds else "bad"
    word = "hold" if holds else "do not hold"
    yield VerdictLine(tone, "Limits", f"they {word} in the agreed {agreed} of the paths of each day.")
    allowed = certificate.get("tolerances", {})
    loading, voltage = certificate.get("max_loading_violation_percent"), certificate.get("max_voltage_violation_pu")
    if loading is None or voltage is None:
        return
    found = [
        f"loading {loading:.2f} %{_allowed(allowed.get('loading_percent'), '%')}",
        f"voltage {voltage:.5f} pu{_allowed(allowed.get('voltage_pu'), 'pu')}",
    ]
    unsolved = int(certificate.get("unsolved_steps", 0))
    more = f" {unsolved} steps of paths have no power flow solution and count as violated." if unsolved else ""
    text = f"{', '.join(found)} in these paths; tightest at {_worst_place(certificate, zone)}.{more}"
    yield VerdictLine(tone, "Largest violation", text)


def _allowed(tolerance: float | None, unit: str) -> str:
    return "" if tolerance is None else f" (tolerance {tolerance:g} {unit})"


def _worst_place(certificate: Certificate, zone: str) -> str:
    time, asset = certificate.get("worst_time"), str(certificate.get("worst_asset", "no place"))
    if not time:
        return asset
    return f"{asset} on {local_words(pd.Timestamp(time, tz='UTC').tz_convert(zone))}"


def _agreement_lines(certificate: Certificate) -> Iterator[VerdictLine]:
    """That the rounds ran out, where they did."""
    if not certificate.get("converged", True):
        text = f"they do not agree yet after {certificate['rounds']} rounds; raise flexibility.certificate_rounds."
        yield VerdictLine("watch", "Plan and AC power flow", text)


def _loss_lines(certificate: Certificate) -> Iterator[VerdictLine]:
    """Error of the energy lost, beside its target."""
    error, target = certificate.get("max_loss_error_percent"), certificate.get("tolerances", {}).get("loss_percent")
    if error is None or target is None:
        return
    met = error <= target
    text = (
        f"the plan misses the energy lost on a day by {_small_percent(error)} of what AC power flow finds; "
        f"target {target:g} %{', met' if met else ', missed'}."
    )
    yield VerdictLine("good" if met else "watch", "Losses", text)


def _bound_lines(certificate: Certificate) -> Iterator[VerdictLine]:
    """How far the plan may be from the cheapest one."""
    if "bound_gap" not in certificate:
        return
    gap = float(certificate["bound_gap"])
    meaning = (
        "no plan within the modelled limits is cheaper"
        if gap < SMALLEST_GAP
        else f"a plan within the modelled limits could be cheaper by {_small_percent(100 * gap)} of its cost at most"
    )
    tone: Tone = "good" if gap <= GOOD_GAP else "watch"
    yield VerdictLine(tone, "Optimality", f"bound gap {_small_percent(100 * gap)}: {meaning}.")


def _small_percent(value: float) -> str:
    """A small share in percent, never rounded down to nothing.

    >>> _small_percent(0.0042), _small_percent(1.26), _small_percent(0.0)
    ('under 0.01 %', '1.26 %', '0 %')
    """
    if value == 0:
        return "0 %"
    return "under 0.01 %" if abs(value) < 0.01 else f"{value:.3g} %"
