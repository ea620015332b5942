"""The statement in the forms of others: documentation form, BoAmps, model card, SPDX.

Each of them drops the boundary or the interval, so a note in free text keeps both where
the form has room for one.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from gridtwin.ai_energy.quantity import BOUNDARIES, Quantity
from gridtwin.ai_energy.rule_check import check_statement
from gridtwin.ai_energy.rules import read_energy_rules
from gridtwin.ai_energy.statement_values import in_unit, interval_text, number_text
from gridtwin.ai_energy.workload_statement import WorkloadStatement, statement_hash

SIZE_CLASSES = ((5e8, "1-500M"), (5e9, "0.5-5B"), (1.5e10, "5-15B"), (5e10, "15-50B"), (1e11, "50-100B"),
                (5e11, "100-500B"), (1e12, "0.5-1T"))  # fmt: skip
"""Upper edge of each size class of the documentation form. [1]"""
BOAMPS_QUALITY = ((0.10, "high"), (0.25, "medium"))
"""Largest distance of the interval from the middle for each quality of a BoAmps report; wider is low. [-]"""


def documentation_form(statement: WorkloadStatement) -> pd.DataFrame:
    """The Model Documentation Form as a table.

    Returns
    -------
    DataFrame
        Columns `item, answer, status, why`; numbers with two significant figures at least.
    """
    extra = _form_extras(statement)
    rows = [
        (check.title, f"{check.value}{extra.get(check.rule, '')}" if check.value else "–", check.status, check.why)
        for check in check_statement(statement, read_energy_rules("gpai_form"))
    ]
    return pd.DataFrame(rows, columns=["item", "answer", "status", "why"])


def _form_extras(statement: WorkloadStatement) -> dict[str, str]:
    """What the form asks for beside a number: the size class, the order of magnitude, what is counted."""
    extra = {}
    size, compute, energy = statement.subject.parameters_total, statement.training.compute, statement.training.energy
    if size is not None and size.p50:
        extra["parameters"] = f" ({size_class(size.p50)})"
    if compute is not None and compute.p50:
        extra["training_compute"] = f"; order of magnitude 1e{math.floor(math.log10(compute.p50))} FLOP"
    if energy is not None and not energy.is_missing:
        extra["training_energy"] = f", {energy.kind}; {_boundary_words(energy)}"
    return extra


def size_class(parameters: float) -> str:
    """Size class of the documentation form.

    Examples
    --------
    >>> size_class(7.1e10), size_class(2e12)
    ('50-100B', '>1T')
    """
    return next((name for edge, name in SIZE_CLASSES if parameters <= edge), ">1T")


def boamps_report(statement: WorkloadStatement) -> dict[str, Any]:
    """The statement as a BoAmps report; what is not known is left out, never 0.

    `powerConsumption` is an energy in kWh in that format.
    """
    energy = workload_energy(statement)
    training = statement.training.energy is not None
    site, subject, report = statement.site, statement.subject, statement.report
    intensity = _number(statement.carbon.intensity, "g/kWh")
    filled: dict[str, Any] = _without_none({
        "header": {
            "reportId": report.report_id,
            "reportDatetime": report.created,
            "publisher": {"name": report.publisher, "confidentialityLevel": report.confidentiality},
        },
        "task": {
            "taskStage": "training" if training else "inference",
            "taskFamily": subject.task,
            "nbRequest": None if training else _number(statement.inference.units_served, "1"),
            "algorithms": [{
                "algorithmType": subject.architecture,
                "foundationModelName": subject.base_model,
                "parametersNumber": _number(subject.parameters_total, "1", 1e-9),
            }],
            "dataset": [{"dataUsage": "input", "dataType": "other",
                         "dataQuantity": _number(statement.training.items, "1")}],
            "taskDescription": None if energy is None else _energy_words(energy),
        },
        "measures": [{
            "measurementMethod": "; ".join(statement.provenance.probes) or None,
            "powerConsumption": _number(energy, "kWh"),
            "measurementDuration": _number(statement.training.wall_clock, "s") if training else None,
        }],
        "infrastructure": {"infraType": "other", "components": [
            {"componentType": part.component, "componentName": part.model, "nbComponent": _whole(part.count),
             "share": _number(part.share, "1")} for part in statement.hardware]},
        "environment": {"country": site.country, "location": site.nuts3_code or site.lau_code,
                        "powerSourceCarbonIntensity": intensity},
        "quality": None if energy is None else boamps_quality(energy),
    })  # fmt: skip
    return filled


def boamps_quality(value: Quantity) -> str | None:
    """Quality word for the width of an interval: high within 10 %, medium within 25 %, else low."""
    if value.p50 is None or value.p2_5 is None or value.p97_5 is None:
        return None
    if value.p50 <= 0 or value.p2_5 == value.p97_5:
        return "low"  # an interval of no width says nothing about the error
    widest = max(1 - value.p2_5 / value.p50, value.p97_5 / value.p50 - 1)
    return next((word for edge, word in BOAMPS_QUALITY if widest <= edge + 1e-9), "low")


def model_card_block(statement: WorkloadStatement) -> str:
    """Front matter `co2_eq_emissions` of a model card; grams, location-based; empty where carbon is not known."""
    carbon, training = statement.carbon, statement.training
    stated = next((part for part in (carbon.location_hourly, carbon.location_annual)
                   if part is not None and not part.is_missing), None)  # fmt: skip
    grams = _number(stated, "g")
    if stated is None or grams is None:
        return ""
    hardware = "; ".join(
        f"{'' if part.count is None else number_text(part.count)} x {part.model or part.component}".strip(" x")
        for part in statement.hardware
    )
    lines = {
        "emissions": grams,
        "source": f"{stated.kind}, location-based, {_boundary_words(stated)}, {interval_text(stated) or 'no interval'}"
        f"; statement {statement_hash(statement)[:12]}",
        "training_type": training.training_type,
        "geographical_location": statement.site.country or statement.grid.zone,
        "hardware_used": hardware or None,
    }
    body = "".join(f"  {name}: {json.dumps(v, ensure_ascii=False)}\n" for name, v in lines.items() if v is not None)
    return f"co2_eq_emissions:\n{body}"


def spdx_energy(statement: WorkloadStatement) -> dict[str, Any]:
    """Energy consumption of an SPDX 3.0 AI package; training and inference in kWh, what is not known left out."""
    values = {
        "ai_trainingEnergyConsumption": _number(statement.training.energy, "kWh"),
        "ai_inferenceEnergyConsumption": _number(statement.inference.energy_total, "kWh"),
    }
    stated = {
        name: [{"type": "ai_EnergyConsumptionDescription", "ai_energyQuantity": repr(value),
                "ai_energyUnit": "kilowattHour"}]
        for name, value in values.items() if value is not None
    }  # fmt: skip
    return {"type": "ai_EnergyConsumption", **stated}


def workload_energy(statement: WorkloadStatement) -> Quantity | None:
    """The energy that stands for the workload: training before use, outer before inner boundary."""
    stated = (statement.training.energy, statement.inference.energy_total, statement.devices.node,
              statement.devices.total)  # fmt: skip
    return next((value for value in stated if value is not None and not value.is_missing), None)


def _energy_words(energy: Quantity) -> str:
    interval = interval_text(energy)
    return f"Energy {energy.kind}, {_boundary_words(energy)}{f', {interval}' if interval else ''}: {energy.method}"


def _boundary_words(value: Quantity) -> str:
    return "boundary not stated" if value.boundary is None else BOUNDARIES[value.boundary]


def _number(value: Quantity | None, unit: str, factor: float = 1.0) -> float | None:
    converted = None if value is None else in_unit(value, unit)
    return None if converted is None or converted.p50 is None else converted.p50 * factor


def _whole(value: Quantity | None) -> int | None:
    number = _number(value, "1")
    return None if number is None else round(number)


def _without_none(value: Any) -> Any:
    """The same without what is not known; objects and lists that become empty go too."""
    if isinstance(value, dict):
        kept = {name: _without_none(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in (None, {}, [])}
    if isinstance(value, list):
        return [part for part in map(_without_none, value) if part not in (None, {})]
    return value
