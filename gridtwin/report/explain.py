"""Why an asset is where it is at one time, in plain text."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from gridtwin.errors import DataError, Finding
from gridtwin.nomenclature import ASSET_KINDS
from gridtwin.report.results import CASES, ordered_cases, price_kind
from gridtwin.report.verdict import congestion_words, local_words, percent_words
from gridtwin.time_axis import utc_of_local

if TYPE_CHECKING:
    from gridtwin.report.run_folder import RunFolder

ITEMS = {"branch": "branches", "bus": "buses", "asset": "assets"}
"""What can be asked about -> the table that lists it."""
UNMET_WORDS = {"forecast_scheduled": "as planned", "realised_scheduled": "as it came"}
REASON_WORDS = {
    "": "follows what was expected",
    "idle": "nothing to do",
    "price": "moved to where energy is cheaper",
    "network": "moved by a network limit",
    "must charge": "only full power until departure delivers what is due",
    "comfort": "held at the edge of the comfort band",
    "curtailed": "feed-in curtailed",
}
"""Reason code of the schedule -> its words."""
ENERGY_WORDS = {
    "battery": "Stored",
    "electric_car": "Charged since arrival",
    "computing_job": "Used so far",
    "heat_pump": "Heat in the building, more than the thermostat alone would hold",
}
"""Kind of asset -> what its stored energy is."""
PRICE_PARTS = ("energy", "congestion", "voltage", "losses")
"""Parts of a nodal price, which sum to it."""
MOST_CONTRIBUTORS = 5
SMALLEST_SHOWN_MW = 5e-6
"""What would read 0.00 kW is left out. [MW]"""


def explain_asset(run: RunFolder, asset: str, at: str) -> str:
    """Value, limit, probability, contributors and schedule of one branch, bus or asset.

    Parameters
    ----------
    run : RunFolder
        A finished run.
    asset : str
        Name; `branch:`, `bus:` or `asset:` in front tells equal names apart.
    at : str
        ISO time, local to the study unless it ends in `Z` or an offset. The
        interval that holds it is explained.

    Raises
    ------
    DataError
        If there is no such name (the nearest ones are told) or time.
    """
    item, name = find_item(run, asset)
    time = find_time(run, at)
    local = time.tz_localize("UTC").tz_convert(str(run.about["time"]["zone"]))
    head = f"{name} ({item}) at {local:%a %d %b %Y %H:%M %Z} ({time:%Y-%m-%d %H:%M} UTC)"
    explainers = {"branch": _explain_branch, "bus": _explain_bus, "asset": _explain_asset}
    return "\n".join([head, "", *explainers[item](run, name, time)])


def find_item(run: RunFolder, asset: str) -> tuple[str, str]:
    """Kind and exact name; capital letters do not matter where that is unambiguous."""
    prefix, _, rest = asset.partition(":")
    kinds, wanted = ([prefix], rest) if prefix in ITEMS and rest else (list(ITEMS), asset)
    names = [(kind, str(name)) for kind in kinds for name in run.table(ITEMS[kind])[kind]]
    exact = [pair for pair in names if pair[1] == wanted]
    found = exact or [pair for pair in names if pair[1].lower() == wanted.lower()]
    if found:
        return found[0]
    close = difflib.get_close_matches(wanted, [name for _, name in names], n=4, cutoff=0.5)
    listed = "The tables branches, buses and assets list them."
    raise DataError(
        [
            Finding(
                "the run has no branch, bus or asset of that name",
                where=str(run.folder),
                got=repr(asset),
                do=f"Did you mean {' or '.join(map(repr, close))}?" if close else listed,
                severity="error",
            )
        ]
    )


def find_time(run: RunFolder, at: str) -> pd.Timestamp:
    """Start of the interval that holds a time, naive UTC."""
    zone, span = str(run.about["time"]["zone"]), run.about["time"]
    step = pd.Timedelta(minutes=span["step_minutes"])
    first = pd.Timestamp(span["first_utc"])
    try:
        moment = dt.datetime.fromisoformat(at)
    except ValueError:
        raise DataError(
            [Finding("this is not a time", got=repr(at), expected="a form like 2016-12-13T18:00", severity="error")]
        ) from None
    stamp = utc_of_local(moment, zone) if moment.tzinfo is None else pd.Timestamp(moment).tz_convert(None)
    number = (stamp - first) // step
    if 0 <= number < span["steps"]:
        return first + number * step
    local = pd.Timestamp(first).tz_localize("UTC").tz_convert(zone)
    last = (first + (span["steps"] - 1) * step).tz_localize("UTC").tz_convert(zone)
    raise DataError(
        [
            Finding(
                "the time lies outside the study",
                got=at,
                expected=f"{local:%Y-%m-%dT%H:%M} to {last:%Y-%m-%dT%H:%M} local time",
                severity="error",
            )
        ]
    )


def _explain_branch(run: RunFolder, name: str, time: pd.Timestamp) -> Iterator[str]:
    row = run.table("branches").set_index("branch").T[name]
    yield f"From {row['from_bus']} to {row['to_bus']}, limit {row['max_loading_percent']:g} %."
    columns = ["loading_p05_percent", "loading_p50_percent", "loading_p95_percent", "probability_over_limit"]
    rows = _at(run, "branch_loading", "branch", name, time)[columns]
    yield from _case_lines(rows, "loading", unit="%", decimals=1)
    yield from _congestion_lines(run, name)
    yield from _contributor_lines(run, _buses_below(run, name), time)


def _explain_bus(run: RunFolder, name: str, time: pd.Timestamp) -> Iterator[str]:
    row = run.table("buses").set_index("bus").T[name]
    yield f"{row['vn_kv']:g} kV, planning limits {row['vm_min_pu']:g} to {row['vm_max_pu']:g} pu."
    columns = ["vm_p05_pu", "vm_p50_pu", "vm_p95_pu", "probability_outside_limits"]
    rows = _at(run, "bus_voltage", "bus", name, time)[columns]
    yield from _case_lines(rows, "voltage", unit="pu", decimals=4)
    yield from _price_lines(run, name, time)
    yield from _congestion_lines(run, name)
    yield from _contributor_lines(run, {name}, time)


def _price_lines(run: RunFolder, bus: str, time: pd.Timestamp) -> Iterator[str]:
    """Nodal price of a bus and its parts; nothing where the run has none."""
    table = run.table("nodal_prices")
    if table.empty:
        return
    rows = table[(table["bus"] == bus) & (table["time_utc"] == time)]
    if rows.empty:
        yield "Nodal price: not known here, because no flexible device is planned at this bus."
        return
    row = rows.iloc[0]
    parts = " + ".join(f"{part} {row[f'{part}_eur_per_mwh']:.2f}" for part in PRICE_PARTS)
    kind = price_kind(run.table("prices"))
    yield f"Nodal price, {kind}: {row['price_eur_per_mwh']:.2f} EUR/MWh = {parts}."


def _case_lines(rows: pd.DataFrame, word: str, *, unit: str, decimals: int) -> Iterator[str]:
    """One line per case; of what happened there is one value and no probability."""
    for case in ordered_cases(map(str, rows.index)):
        low, middle, high, risk = rows.T[case].astype(float)
        text = f"  {CASES.get(case, case)}: {word} {middle:.{decimals}f} {unit}"
        if case.startswith("forecast"):
            band = f"{low:.{decimals}f} to {high:.{decimals}f} {unit}"
            yield f"{text} (5 to 95 % of the paths: {band}), {percent_words(risk)} of the paths break the limit"
        else:
            yield f"{text}, {'the limit is broken' if risk > 0 else 'within the limit'}"


def _explain_asset(run: RunFolder, name: str, time: pd.Timestamp) -> Iterator[str]:
    row = run.table("assets").set_index("asset").T[name]
    schedule = run.table("schedule")
    flexible = "scheduled" if len(schedule) and (schedule["asset"] == name).any() else "not scheduled"
    yield f"{kind_words(row['kind'])} at bus {row['bus']}, rated {1e3 * row['p_rated_mw']:.1f} kW, {flexible}."
    yield "Consumption is positive, feed-in negative."
    power = run.table("asset_power")
    here = power[(power["asset"] == name) & (power["time_utc"] == time)].iloc[0]
    values = 1e3 * here.filter(like="_mw").astype(float)
    band = f"{values['p_p05_mw']:.2f} to {values['p_p95_mw']:.2f} kW"
    yield f"  Forecast: {values['p_mean_mw']:.2f} kW (5 to 95 % of the paths: {band})"
    yield f"  What happened, no flexibility: {values['p_realised_mw']:.2f} kW"
    if "p_realised_scheduled_mw" in values:
        yield f"  What happened, with schedule and balancing: {values['p_realised_scheduled_mw']:.2f} kW"
    yield from _schedule_lines(run, name, time)


def _schedule_lines(run: RunFolder, name: str, time: pd.Timestamp) -> Iterator[str]:
    """Scheduled and unscheduled power, the reason, and what stays unmet."""
    schedule = run.table("schedule")
    rows = schedule[(schedule["asset"] == name) & (schedule["time_utc"] == time)] if len(schedule) else schedule
    for _, row in rows.iterrows():
        power = f"{row['p_scheduled_kw']:.2f} kW, expected without it {row['p_base_kw']:.2f} kW"
        yield f"  Schedule: {power}; reason: {REASON_WORDS.get(row['reason'], row['reason'])}"
        if pd.notna(row["e_kwh"]):
            stored = ENERGY_WORDS.get(row["kind"], "Stored")
            yield f"  {stored}, at the end of the interval: {row['e_kwh']:.2f} kWh"
    yield from _gain_lines(run, name)
    yield from _unmet_lines(run, name)
    yield from _cause_lines(run, name)


def _gain_lines(run: RunFolder, name: str) -> Iterator[str]:
    """What a device saves over the study at the nodal prices."""
    table = run.table("device_settlement")
    for _, row in (table[table["asset"] == name] if len(table) else table).iterrows():
        pays, would, own = (float(row[name]) for name in ("payment_eur", "base_payment_eur", "own_cost_eur"))
        unknown = "not known, because it cannot do what it would do unscheduled"
        saved = unknown if pd.isna(row["gain_eur"]) else f"{row['gain_eur']:.2f} EUR"
        yield f"  Saved by its schedule over the study, {price_kind(run.table('prices'))}: {saved}"
        yield f"    pays {pays:.2f} EUR at nodal prices, unscheduled {would:.2f} EUR; own cost {own:.2f} EUR"


def _cause_lines(run: RunFolder, name: str) -> Iterator[str]:
    """Why the plan misses an asset's wishes."""
    causes = run.table("causes")
    for _, row in (causes[causes["asset"] == name] if len(causes) else causes).iterrows():
        yield f"  Missed on {row['start_local']:%a %d %b}: {row['text']}"


def _unmet_lines(run: RunFolder, name: str) -> Iterator[str]:
    """What the whole study leaves unmet of an asset's wishes."""
    unmet = run.table("unmet")
    for _, row in (unmet[unmet["asset"] == name] if len(unmet) else unmet).iterrows():
        amount = f"{row['amount']:.3g} {row['unit']}, {row['cost_eur']:.2f} EUR"
        span = f"{local_words(row['start_local'])} to {row['end_local']:%H:%M}" if "start_local" in row else ""
        yield f"  Unmet {UNMET_WORDS.get(row['case'], '')}: {row['what']}, {amount}{f', {span}' if span else ''}"


def kind_words(kind: str) -> str:
    """Name of a kind of asset for people."""
    return ASSET_KINDS.get(kind, kind.replace("_", " "))


def _at(run: RunFolder, table: str, item: str, name: str, time: pd.Timestamp) -> pd.DataFrame:
    rows = run.table(table)
    return rows[(rows[item] == name) & (rows["time_utc"] == time)].set_index("case")


def _congestion_lines(run: RunFolder, name: str) -> Iterator[str]:
    """Congestions of this place over the whole study, with rule and contributors."""
    table = run.table("congestions")
    rows = table[table["asset"] == name] if len(table) else table
    yield "Congestion over the study:" if len(rows) else "Congestion over the study: none in any case."
    for _, row in rows.iterrows():
        certain = str(row["case"]).startswith("realised")
        yield f"  {CASES.get(row['case'], row['case'])}: {congestion_words(row, certain=certain)}; rule: {row['rule']}"
        if row["contributors"]:
            yield f"    contributors at the worst time: {row['contributors']}"
    yield from _cause_lines(run, name)


def _contributor_lines(run: RunFolder, buses: set[str], time: pd.Timestamp) -> Iterator[str]:
    """Largest expected powers at these buses at this time."""
    assets = run.table("assets").set_index("asset")
    power = run.table("asset_power")
    rows = power[power["time_utc"] == time].set_index("asset")["p_mean_mw"]
    kind = assets["kind"]
    here = rows[assets["bus"].reindex(rows.index).isin(buses) & (rows.abs() > SMALLEST_SHOWN_MW)]
    largest = here.reindex(here.abs().sort_values(ascending=False, kind="stable").index)[:MOST_CONTRIBUTORS]
    if len(largest):
        yield f"Largest expected powers behind it (sum {1e3 * here.sum():.1f} kW, consumption positive):"
        for name, value in zip(largest.index.astype(str), largest, strict=True):
            yield f"  {name} ({kind_words(str(kind[name]))}): {1e3 * value:.2f} kW"


def _buses_below(run: RunFolder, branch: str) -> set[str]:
    """Buses that lose their supply without this branch; none where the network is meshed around it."""
    branches, buses = run.table("branches"), run.table("buses")
    ends = branches[branches["branch"] == branch].iloc[0]
    others = branches[branches["branch"] != branch]
    neighbours: dict[str, list[str]] = {}
    for one, other in zip(others["from_bus"], others["to_bus"], strict=True):
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    sides = [_reached(str(ends[side]), neighbours) for side in ("from_bus", "to_bus")]
    if sides[0] & sides[1]:
        return set()
    level = buses.set_index("bus")["vn_kv"]
    return min(sides, key=lambda side: (max(level[bus] for bus in side), len(side)))


def _reached(start: str, neighbours: dict[str, list[str]]) -> set[str]:
    seen, queue = {start}, [start]
    while queue:
        new = [bus for bus in neighbours.get(queue.pop(), []) if bus not in seen]
        seen.update(new)
        queue.extend(new)
    return seen
