"""The answer in words: where it is tight, what the schedule does about it, what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from gridtwin.report.results import ordered_cases

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

Tone = Literal["good", "watch", "bad"]
ELEMENT_WORDS = {
    "trafo": "Transformer",
    "trafo3w": "Transformer",
    "line": "Line",
    "impedance": "Impedance",
    "bus": "Bus",
}
DIRECTION_WORDS = {
    "load": "overload",
    "feed-in": "overload by feed-in",
    "low": "low voltage",
    "high": "high voltage",
}
EXCESSES = {"max_loading_violation_percent": "% of loading", "max_voltage_violation_pu": "pu of voltage"}
"""Violation in the certificate -> its unit in words."""
LEADS = {
    "forecast": "Forecast",
    "forecast_scheduled": "With the schedule",
    "realised": "What happened without flexibility",
    "realised_scheduled": "What happened with schedule and balancing",
}


@dataclass(frozen=True)
class VerdictLine:
    """One sentence; `lead` says which case it is about."""

    tone: Tone
    lead: str
    text: str


def build_verdict(run: RunFolder) -> list[VerdictLine]:
    """One line per case that was studied, forecast first."""
    return [_line_of(run, case) for case in ordered_cases(run.about["cases"])]


def verdict_text(run: RunFolder) -> str:
    """The verdict as plain text, for the command line."""
    return "\n".join(f"{line.lead}: {line.text}" for line in build_verdict(run))


def _line_of(run: RunFolder, case: str) -> VerdictLine:
    """What limits say about a case, behind what could not be judged at all."""
    line, steps = _judged_line(run, case), run.about.get("unsolved_steps", {}).get(case, {"unsolved": 0})
    if not steps["unsolved"]:
        return line
    words = f"{steps['unsolved']} of {steps['of']} steps have no power flow solution and were not judged"
    return VerdictLine("bad", line.lead, f"{words}. In the others: {line.text}")


def _judged_line(run: RunFolder, case: str) -> VerdictLine:
    rows = congestions_of(run, case)
    lead = LEADS.get(case, case)
    if rows.empty:
        return VerdictLine("good", lead, f"no limit is exceeded; {_highest(run, case)}.{_checked(run, case)}")
    if case == "forecast_scheduled":
        return _scheduled_line(run, lead, rows)
    words = congestion_words(rows.iloc[0], certain=case.startswith("realised"))
    return VerdictLine("bad", lead, f"{words}{_others(len(rows) - 1)}.")


def congestions_of(run: RunFolder, case: str) -> pd.DataFrame:
    """Congestions of one case, most probable first."""
    table = run.table("congestions")
    return table[table["case"] == case] if len(table) else table


def _scheduled_line(run: RunFolder, lead: str, rows: pd.DataFrame) -> VerdictLine:
    """In how many paths the schedule keeps all limits all day, and what is left in the others."""
    certificate, worst = run.about["certificate"], rows.iloc[0]
    share, value = percent_words(float(worst["probability"])), quantity_words(worst["worst_value"], str(worst["unit"]))
    left = (
        f"at {worst['asset']} {share} of the paths are over the limit at some time in the study, "
        f"worst {value}{_others(len(rows) - 1)}"
    )
    if not certificate:
        return VerdictLine("bad", lead, f"{left}.")
    tone: Tone = "watch" if certificate.get("limits_hold") else "bad"
    return VerdictLine(tone, lead, f"{certificate_words(certificate)} What is left: {left}.")


def congestion_words(row: Any, *, certain: bool = False) -> str:
    """One congestion as a sentence without its full stop."""
    element = ELEMENT_WORDS.get(str(row["element"]), str(row["element"]).capitalize())
    what = DIRECTION_WORDS.get(str(row["direction"]), str(row["direction"]))
    value, limit = (quantity_words(row[name], str(row["unit"])) for name in ("worst_value", "limit"))
    hours = hours_words(float(row["hours_over"]))
    chance = "" if certain else f"{percent_words(float(row['probability']))} probability of "
    over = f"{hours} outside the limit" if certain else f"{hours} outside the limit expected"
    when = local_words(row["worst_time_local"])
    return f"{element} {row['asset']}: {chance}{what}, worst {value} (limit {limit}) on {when}, {over}"


def _others(count: int) -> str:
    return "" if count < 1 else f"; {count} more place{'s' if count > 1 else ''} in the table below"


def _highest(run: RunFolder, case: str) -> str:
    summary = run.table("summary")
    row = summary[(summary["name"] == "highest branch loading") & (summary["case"] == case)].iloc[0]
    return f"highest branch loading {row['value']:.0f} % ({str(row['where']).split(' at ')[0]})"


def _checked(run: RunFolder, case: str) -> str:
    """Whether an AC power flow stands behind the schedule."""
    if case != "forecast_scheduled" or not run.about["certificate"]:
        return ""
    return " " + certificate_words(run.about["certificate"])


def certificate_words(certificate: Mapping[str, Any]) -> str:
    """What AC power flow of every forecast path says about the schedule."""
    paths, rounds = certificate.get("paths"), certificate.get("rounds")
    tail = f" (AC power flow of {paths} paths, {rounds} round{'s' if rounds != 1 else ''})"
    if certificate.get("limits_hold"):
        share, agreed = (percent_words(float(certificate[name])) for name in ("lowest_share_holding", "confidence"))
        return f"On each day all limits hold all day in at least {share} of the paths, agreed: {agreed}{tail}."
    excess = [f"{certificate[name]:.3g} {unit}" for name, unit in EXCESSES.items() if certificate.get(name, 0) > 0]
    what = " and ".join(excess) or "a step without solution"
    return f"Not certified: {what} over a limit remains at {certificate.get('worst_asset', 'a place')}{tail}."


def local_words(stamp: Any) -> str:
    """`Tue 13 Dec 17:30`, of a zone-aware local time."""
    return f"{pd.Timestamp(stamp):%a %d %b %H:%M}" if pd.notna(stamp) else "no time"


def percent_words(share: float) -> str:
    """A share in percent, never rounded to certainty.

    >>> percent_words(0.784), percent_words(0.9996), percent_words(0.0004)
    ('78 %', 'over 99 %', 'under 1 %')
    """
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def quantity_words(value: Any, unit: str) -> str:
    """A loading or voltage with its unit."""
    return f"{float(value):.3f} pu" if unit == "pu" else f"{float(value):.0f} {unit}"


def hours_words(hours: float) -> str:
    """`0.25` -> `15 min`, `3.5` -> `3.5 h`."""
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"
