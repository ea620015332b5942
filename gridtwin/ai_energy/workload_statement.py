"""The statement of an AI workload: what it took and how that is known, in one JSON file.

The file is sorted, has no time of writing and ends with the SHA-256 of its content,
so the same statement is always the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gridtwin.ai_energy.quantity import RANK, Kind, Method, Quantity, exact, missing
from gridtwin.ai_energy.site_fields import Site
from gridtwin.ai_energy.statement import EnergyStatement
from gridtwin.ai_energy.statement_fields import (
    Carbon,
    Devices,
    GridFacts,
    Group,
    Hardware,
    Inference,
    IntensityScore,
    Provenance,
    ReportFacts,
    Subject,
    Training,
    Uncertainty,
    Undertaking,
    WorkloadValue,
)
from gridtwin.errors import DataError, Finding

SCHEMA_VERSION = "1.0"
SCHEMA_ID = f"urn:gridtwin:workload-statement:{SCHEMA_VERSION}"
HASH_KEY = "sha256"
Stage = Literal["training", "inference"]
CARBON_KINDS: dict[str, Kind] = {"measured": "measured", "estimated": "estimated", "assumed": "declared"}
"""Kind of a carbon intensity by where it comes from."""
KIND_METHODS: dict[Kind, Method] = {"measured": "device_counter", "estimated": "processor_time"}
"""Method class behind the energy of a run of ours."""


class WorkloadStatement(Group):
    """Energy, carbon, site and value of one AI workload."""

    schema_version: Literal["1.0"] = "1.0"
    """Version of this list of fields."""
    report: ReportFacts = ReportFacts()
    """Who states this, and about when."""
    subject: Subject = Subject()
    """The model or job."""
    training: Training = Training()
    """What the training took."""
    inference: Inference = Inference()
    """What the use takes."""
    hardware: tuple[Hardware, ...] = ()
    """What it ran on."""
    devices: Devices = Devices()
    """Energy of devices and nodes."""
    site: Site = Site()
    """The data centre."""
    grid: GridFacts = GridFacts()
    """The workload as a load in the network."""
    carbon: Carbon = Carbon()
    """Greenhouse gases."""
    sci: IntensityScore = IntensityScore()
    """Software carbon intensity."""
    undertaking: Undertaking = Undertaking()
    """The whole company."""
    uncertainty: Uncertainty = Uncertainty()
    """How far the numbers can be trusted."""
    provenance: Provenance = Provenance()
    """Where the numbers come from."""
    value: WorkloadValue = WorkloadValue()
    """What it is good for."""


def statement_json(statement: WorkloadStatement) -> str:
    """The statement as JSON: sorted keys, shortest exact floats, hash of the content at the end."""
    content = _content(statement)
    lines = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    return f'{lines.removesuffix("}").rstrip()},\n  "{HASH_KEY}": "{_digest(content)}"\n}}\n'


def statement_hash(statement: WorkloadStatement) -> str:
    """SHA-256 of the content, hexadecimal."""
    return _digest(_content(statement))


def _content(statement: WorkloadStatement) -> dict[str, Any]:
    """Everything that is stated; groups that say nothing are left out."""
    values = statement.model_dump(mode="json", exclude_none=True)
    return {name: value for name, value in values.items() if name == "schema_version" or _says_something(value)}


def _says_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_says_something(part) for part in value.values())
    return not (isinstance(value, list) and not value)


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def parse_statement(text: str, where: str = "statement") -> WorkloadStatement:
    """A statement from JSON; that of a single run or job is taken too.

    Raises
    ------
    DataError
        If it is no JSON, or not a statement; every fault with its place.
    """
    values = _load(text, where)
    try:
        if "job" in values:
            return _from_job(values)
        return WorkloadStatement.model_validate({name: part for name, part in values.items() if name != HASH_KEY})
    except ValidationError as error:
        raise DataError([_fault(fault, where) for fault in error.errors()]) from None


def _from_job(values: Mapping[str, Any]) -> WorkloadStatement:
    """The statement of a job, or of a command that was recorded, which holds its energy as a quantity."""
    if "energy" not in values:
        return build_workload_statement(EnergyStatement.model_validate(values))
    energy = Quantity.model_validate(values["energy"])
    return state_energy(str(values["job"]), energy, notes=tuple(map(str, values.get("findings", ()))),
                        sources=tuple(map(str, values.get("sources", ()))))  # fmt: skip


def read_statement(path: str | Path) -> WorkloadStatement:
    """A statement from a file.

    Raises
    ------
    DataError
        If there is no such file, or it holds no statement.
    """
    return parse_statement(read_statement_text(path), str(path))


def read_statement_text(path: str | Path) -> str:
    """Text of a statement file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError([Finding("the statement cannot be read", where=str(path), got=type(error).__name__,
                                 do="Give the path of a statement in JSON.", severity="error",
                                 code="GT-S60")]) from None  # fmt: skip


def hash_fits(text: str) -> bool | None:
    """Whether the content is still what its hash was made from; None without a hash."""
    stated = _load(text, "statement").get(HASH_KEY)
    return None if stated is None else stated == statement_hash(parse_statement(text))


def _load(text: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        place = f"{where}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else where
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise DataError([Finding(f"not valid JSON: {what}", where=place, do="Mend the file or write it anew.",
                                 severity="error", code="GT-S61")]) from None  # fmt: skip
    if not isinstance(values, dict):
        raise DataError([Finding("not a statement", where=where, expected="an object with groups such as training",
                                 got=type(values).__name__, severity="error", code="GT-S62")])  # fmt: skip
    return values


def _fault(fault: Mapping[str, Any], where: str) -> Finding:
    """One fault of the content with its place."""
    place = f"{where}: {'.'.join(map(str, fault['loc']))}"
    if fault["type"] == "extra_forbidden":
        return Finding("unknown key", where=place, do="See the schema of the statement.", severity="error",
                       code="GT-S63")  # fmt: skip
    text = str(fault["msg"]).removeprefix("Value error, ")
    got = "" if isinstance(fault["input"], dict | list) else repr(fault["input"])
    return Finding(text, where=place, got=got, severity="error", code="GT-S64")


def find_quantities(statement: WorkloadStatement) -> Iterator[tuple[str, Quantity]]:
    """Every quantity that is stated, with its place."""
    yield from _walk(statement, "")


def _walk(value: object, place: str) -> Iterator[tuple[str, Quantity]]:
    if isinstance(value, Quantity):
        yield place, value
    elif isinstance(value, tuple):
        for number, part in enumerate(value, start=1):
            yield from _walk(part, f"{place}.{number}")
    elif isinstance(value, Group):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), f"{place}.{name}".removeprefix("."))


def build_workload_statement(
    energy: EnergyStatement,
    *,
    stage: Stage = "training",
    report: ReportFacts | None = None,
    subject: Subject | None = None,
    hardware: tuple[Hardware, ...] = (),
) -> WorkloadStatement:
    """Statement of a run that the energy ledger has accounted for.

    Parameters
    ----------
    energy : EnergyStatement
        What the ledger says.
    stage : {"training", "inference"}
        Where the energy is booked.
    report, subject, hardware
        What is known beside the energy; the subject is named after the job by default.
    """
    stated = state_energy(energy.job, run_energy(energy), stage=stage)
    known = {"report": report, "subject": subject, "hardware": hardware or None}
    return stated.model_copy(
        update={name: value for name, value in known.items() if value is not None}
        | {"carbon": Carbon(location_annual=_run_carbon(energy))}
    )


def state_energy(job: str, energy: Quantity, *, stage: Stage = "training", notes: tuple[str, ...] = (),
                 sources: tuple[str, ...] = ()) -> WorkloadStatement:  # fmt: skip
    """Statement that says nothing but the energy of a job.

    Parameters
    ----------
    job : str
        What was computed.
    energy : Quantity
        Energy in any unit, or missing with its reason.
    stage : {"training", "inference"}
        Where it is booked.
    notes, sources : tuple of str
        What a reader must know, and the evidence behind the number.
    """
    kwh, mwh = energy.to("kWh"), energy.to("MWh")
    places = {"device": Devices(total=kwh), "node": Devices(node=kwh)}
    return WorkloadStatement(
        report=ReportFacts(period_start=energy.period_start, period_end=energy.period_end),
        subject=Subject(model_id=job),
        training=Training(energy=mwh, energy_method=energy.method) if stage == "training" else Training(),
        inference=Inference(energy_total=mwh) if stage == "inference" else Inference(),
        devices=places.get(energy.boundary or "", Devices()),
        uncertainty=Uncertainty(measured_share=_share(energy), notes=notes),
        provenance=Provenance(probes=(energy.method,), versions=sources or energy.provenance),
    )


def run_energy(energy: EnergyStatement) -> Quantity:
    """Energy of a run as a quantity. [kWh]"""
    if energy.kwh_p50 is None:
        return missing("kWh", reason=energy.method, boundary=energy.boundary)
    return Quantity(unit="kWh", kind=energy.kind, method=energy.method, boundary=energy.boundary,
                    method_class=KIND_METHODS.get(energy.kind, "other"), p2_5=energy.kwh_p2_5, p50=energy.kwh_p50,
                    p97_5=energy.kwh_p97_5, measured_share=energy.measured_share,
                    provenance=energy.sources)  # fmt: skip


def _run_carbon(energy: EnergyStatement) -> Quantity:
    if energy.co2_kg is None:
        return missing("kg", reason="no carbon intensity was given", boundary=energy.boundary)
    kind = max((energy.kind, CARBON_KINDS.get(energy.co2_kind, "declared")), key=RANK.__getitem__)
    return Quantity(unit="kg", kind=kind, boundary=energy.boundary, p2_5=energy.co2_kg_p2_5, p50=energy.co2_kg,
                    p97_5=energy.co2_kg_p97_5,
                    method=f"energy times one location-based intensity, which is {energy.co2_kind}")  # fmt: skip


def _share(energy: Quantity) -> Quantity:
    if energy.is_missing:
        return missing("1", reason="the energy is missing")
    return exact(energy.measured_share, "1", kind="calculated", method="measured energy over all energy")
