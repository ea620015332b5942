"""Data centres on the page: what they do to the network, and how their batch jobs were moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from gridtwin.report.html_table import Column, html_table, number, significant
from gridtwin.report.markup import PageFigures, about_line, card, escape
from gridtwin.report.verdict import local_words

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

ABOUT = (
    "What each site does to the network with schedule and balancing. Losses booked: those of the whole network with "
    "the site less those without it. Room: the largest steady load that its bus would carry in place of the site on "
    "every forecast path and quarter hour. Voltage step: when the largest training run stops at once. Harmonic: "
    "the largest of its iterations between 0.1 and 1 Hz. Calculated, but the work of the sites is assumed."
)
SITE_COLUMNS = {
    "bus": Column("Bus"),
    "e_connection_mwh": Column("Energy at the connection [MWh]", number(1), number=True),
    "p_peak_kw": Column("Peak [kW]", number(0), number=True),
    "losses_booked_mwh": Column("Losses booked [MWh]", number(3), number=True),
    "marginal_loss": Column("Marginal losses [%]", number(2, factor=100), number=True),
    "room_kw": Column("Room at the bus [kW]", number(0), number=True),
    "room_limited_by": Column("Limited by"),
    "room_time_local": Column("At, local time", local_words, short=True),
    "voltage_step_percent": Column("Voltage step [%]", number(2), number=True),
    "voltage_step_limit_percent": Column("Screened against [%]", number(1), number=True),
    "ramp_mw_per_s": Column("Ramp at an abort [MW/s]", number(2), number=True),
    "iteration_amplitude_kw": Column("Harmonic [kW]", number(0), number=True),
    "iteration_hz": Column("at [Hz]", significant, number=True),
    "smoothing_kw": Column("Power smoothing takes [kW]", number(0), number=True),
}
JOB_COLUMNS = {
    "asset": Column("Job"),
    "earliest_local": Column("From, local time", local_words, short=True),
    "deadline_local": Column("Deadline", local_words, short=True),
    "job_kwh": Column("Energy [kWh]", number(0), number=True),
    "drawn_kwh": Column("Drawn [kWh]", number(0), number=True),
    "missed_kwh": Column("Missed [kWh]", number(0), number=True),
    "state": Column("State"),
    "moved_kwh": Column("Moved [kWh]", number(0), number=True),
    "breaks": Column("Breaks", number(0), number=True),
    "gain_eur": Column("Earned [EUR]", number(2), number=True),
}


def data_centre_section(run: RunFolder, drawn: PageFigures) -> str:
    """Sites and jobs; empty where the scenario has none."""
    sites, jobs = run.table("data_centres"), run.table("data_centre_jobs")
    if sites.empty:
        return ""
    listed = card(_titled("Batch jobs as planned", jobs, JOB_COLUMNS)) if len(jobs) else ""
    return about_line(ABOUT) + "".join(_site_card(row) for row in sites.to_dict("records")) + listed


def _site_card(row: Mapping[Any, Any]) -> str:
    """One site as named values; what it has none of is a dash."""
    cells = ""
    for name, column in SITE_COLUMNS.items():
        value = row.get(name)
        shown = "–" if value is None or pd.isna(value) else column.format(value)
        cells += f"<div><dt>{escape(column.title)}</dt><dd>{escape(shown)}</dd></div>"
    return card(f'<p class="figure-title">{escape(str(row["site"]))}</p><dl class="facts">{cells}</dl>')


def _titled(title: str, table: pd.DataFrame, columns: dict[str, Column]) -> str:
    return f'<p class="figure-title">{title}</p>{html_table(table, columns)}'
