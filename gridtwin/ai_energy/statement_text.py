"""The statement as text: every number with its kind, interval, boundary and method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from gridtwin.ai_energy.exports import documentation_form, model_card_block
from gridtwin.ai_energy.quantity import BOUNDARIES, METHODS, Boundary, Quantity
from gridtwin.ai_energy.rule_check import check_statement, check_table, find_applicability, summary_line
from gridtwin.ai_energy.rules import EnergyRuleSet, read_energy_rules
from gridtwin.ai_energy.statement_fields import Group
from gridtwin.ai_energy.statement_values import in_unit, interval_text, number_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement, find_quantities, statement_hash

GROUP_TITLES = {
    "training": "Training",
    "inference": "Use",
    "devices": "Devices and nodes",
    "site": "Data centre",
    "grid": "Load in the network",
    "carbon": "Greenhouse gases",
    "sci": "Software carbon intensity",
    "undertaking": "The whole company",
    "uncertainty": "Uncertainty",
    "value": "What it is good for",
    "subject": "Model",
    "hardware": "Hardware",
    "provenance": "Provenance",
}
"""Heading of each group, in the order of a report."""
WORKLOAD_ENERGY = {"devices.total": "", "devices.node": "", "training.energy": "training",
                   "inference.energy_total": "use"}  # fmt: skip
"""Fields with energies of the workload, and a word for those that share a boundary."""
SITE_ENERGY = {"site.e_it": "", "site.e_dc": ""}
"""Fields with energies of the whole data centre."""
Chain = dict[Boundary, tuple[tuple[str, Quantity], ...]]


def quantity_table(statement: WorkloadStatement) -> pd.DataFrame:
    """One row per stated number.

    Returns
    -------
    DataFrame
        Columns `group, field, value, interval, kind, boundary, method, measured_share`.
    """
    rows = [_quantity_row(place, value) for place, value in find_quantities(statement)]
    columns = ["group", "field", "value", "interval", "kind", "boundary", "method", "measured_share"]
    table = pd.DataFrame(rows, columns=columns)
    order = {name: number for number, name in enumerate(GROUP_TITLES)}
    return table.sort_values("group", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)


def _quantity_row(place: str, value: Quantity) -> tuple[object, ...]:
    group, _, field = place.partition(".")
    method = value.method if value.method_class == "other" else f"{value.method} ({METHODS[value.method_class]})"
    return (group, field.replace("_", " "), number_text(value), interval_text(value), value.kind,
            (value.boundary or "").replace("_", " "), method, value.measured_share)  # fmt: skip


def text_facts(statement: WorkloadStatement) -> dict[str, dict[str, str]]:
    """Words, dates and yes-or-no answers of each group."""
    groups = {name: getattr(statement, name) for name in type(statement).model_fields}
    found = {name: dict(_plain_facts(group)) for name, group in groups.items() if isinstance(group, Group)}
    return {"hardware": dict(_part_facts("", statement.hardware))} | found


def _plain_facts(group: Group) -> Iterator[tuple[str, str]]:
    for name in type(group).model_fields:
        value, words = getattr(group, name), name.replace("_", " ")
        if isinstance(value, tuple) and value and isinstance(value[0], Group):
            yield from _part_facts(words, value)
        elif isinstance(value, tuple) and value:
            yield words, "; ".join(map(str, value))
        elif not (value is None or isinstance(value, Quantity | Group | tuple)):
            yield words, ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _part_facts(name: str, parts: Sequence[Group]) -> Iterator[tuple[str, str]]:
    """What the parts of a list are, numbered as their quantities are."""
    for number, part in enumerate(parts, start=1):
        yield f"{name} {number}".strip(), ", ".join(text for _, text in _plain_facts(part))


def boundary_chain(statement: WorkloadStatement, places: Mapping[str, str]) -> Chain:
    """Energies among some fields by the boundary they are stated for, from inside out, each with its word."""
    stated = dict(find_quantities(statement))
    chain: dict[Boundary, dict[tuple[float | None, ...], tuple[str, Quantity]]] = {name: {} for name in BOUNDARIES}
    for place, word in places.items():
        value = stated.get(place)
        if value is not None and value.boundary is not None and not value.is_missing:
            # the same energy may be booked at two fields, in two units
            ends = tuple(end if end is None else float(f"{end:.9g}") for end in (in_unit(value, "J") or value).ends)
            chain[value.boundary].setdefault(ends, (word, value))
    return {boundary: tuple(values.values()) for boundary, values in chain.items()}


def statement_markdown(statement: WorkloadStatement, rules: Sequence[str] = ()) -> str:
    """The statement as Markdown, with a check against some rule sets."""
    sets = [read_energy_rules(name) for name in rules]
    parts = [f"# Energy statement: {statement.subject.model_id or 'AI workload'}", *_markdown_groups(statement)]
    parts += [_markdown_rules(statement, rule_set) for rule_set in sets]
    if "gpai_form" in rules:
        parts.append(f"## Model Documentation Form\n\n{_markdown_table(documentation_form(statement))}")
    card = model_card_block(statement)
    if card:
        parts.append(f"## Model card\n\n```yaml\n---\n{card}---\n```")
    parts.append(f"SHA-256 of the content: `{statement_hash(statement)}`")
    return "\n\n".join(parts) + "\n"


def _markdown_groups(statement: WorkloadStatement) -> Iterator[str]:
    numbers, words = quantity_table(statement), text_facts(statement)
    for name, title in {"report": "Report", **GROUP_TITLES}.items():
        table = numbers[numbers["group"] == name].drop(columns=["group", "measured_share"])
        lines = [f"- {key}: {text}" for key, text in words.get(name, {}).items()]
        body = [*(["\n".join(lines)] if lines else []), *([_markdown_table(table)] if len(table) else [])]
        if body:
            yield "\n\n".join([f"## {title}", *body])


def _markdown_rules(statement: WorkloadStatement, rules: EnergyRuleSet) -> str:
    checks = check_statement(statement, rules)
    table = check_table(checks)[["field", "status", "value", "kind", "why", "citation"]]
    unread = "" if rules.checked else " The text was not read in full."
    applies = find_applicability(statement, rules)
    head = f"Version {rules.version}, valid from {rules.valid_from}.{unread} {applies}".strip()
    return f"## {rules.title}\n\n{head}\n\n{summary_line(checks)}\n\n{_markdown_table(table)}"


def _markdown_table(table: pd.DataFrame) -> str:
    rows = [[str(name) for name in table], ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(_markdown_cell(cell) for cell in row)} |" for row in rows)


def _markdown_cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
