"""Runs that CodeCarbon has written down, relabelled: what they count, how, and how far off they may be.

Its CSV has no column for a method or an error. Processor power is a model unless somebody
knows better, memory power is a constant per module, and against wall meters the sum was
never too high. So every number gets its kind, its boundary and an interval to one side.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gridtwin.ai_energy.quantity import Method, Quantity, exact, missing
from gridtwin.ai_energy.statement_fields import Carbon, Devices, Hardware, Provenance, Subject, Training, Uncertainty
from gridtwin.ai_energy.wall_meter import BELOW_WALL, WALL_CAMPAIGN
from gridtwin.ai_energy.workload_statement import WorkloadStatement
from gridtwin.errors import DataError, Finding

NEEDED = ("run_id", "project_name", "duration", "emissions", "cpu_energy", "gpu_energy", "ram_energy",
          "energy_consumed")  # fmt: skip
"""Columns without which a file is not one of CodeCarbon."""
W_PER_THREAD = 4.0
"""Rated power per thread that CodeCarbon falls back to for a processor it does not know. [W]"""
SUM_TOLERANCE = 0.01
CpuMethod = Literal["model", "counter"]


@dataclass(frozen=True)
class CodeCarbonRun:
    """One row of the file; energies are without the PUE that the tool multiplies in. [kWh]"""

    run_id: str
    project: str
    version: str
    cpu: Quantity
    gpu: Quantity | None
    ram: Quantity
    device: Quantity
    """Sum over the devices, with an interval up to the wall meter's worst case."""
    node: Quantity
    """What a meter at the plug would have shown."""
    carbon: Quantity
    """Of the energy at the node. [kg]"""
    pue: Quantity
    ram_share: float | None
    """Share of the sum that is the constant of the memory. [-]"""
    duration: Quantity
    """Wall time. [s]"""
    findings: tuple[Finding, ...]
    """What a reader of the numbers must know."""
    hardware: tuple[Hardware, ...]


def read_codecarbon(path: str | Path, *, cpu_method: CpuMethod = "model") -> tuple[CodeCarbonRun, ...]:
    """Runs of a CodeCarbon CSV.

    Parameters
    ----------
    path : str or Path
        The file, usually `emissions.csv`.
    cpu_method : {"model", "counter"}
        Whether the processor was modelled or read from energy counters: the file does not
        say, so a model is taken unless the caller knows better.

    Raises
    ------
    DataError
        If the file cannot be read, has no rows or lacks columns.
    """
    return tuple(_relabel(row, f"{path}:{number}", cpu_method) for number, row in enumerate(_rows(path), start=2))


def _rows(path: str | Path) -> list[dict[str, str]]:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError([Finding("the file cannot be read", where=str(path), got=type(error).__name__,
                                 severity="error", code="GT-S80")]) from None  # fmt: skip
    absent = [name for name in NEEDED if name not in names]
    if absent or not rows:
        got = f"no {', '.join(absent)}" if absent else "no rows"
        raise DataError([Finding("not a CSV of CodeCarbon", where=str(path), expected=", ".join(NEEDED), got=got,
                                 do="Give the emissions.csv of version 2 or 3.", severity="error",
                                 code="GT-S81")])  # fmt: skip
    return rows


def _relabel(row: Mapping[str, str], where: str, cpu_method: CpuMethod) -> CodeCarbonRun:
    findings: list[Finding] = []
    pue = _float(row, "pue")
    parts = {name: _float(row, f"{name}_energy") for name in ("cpu", "gpu", "ram")}
    for name in ("cpu", "gpu"):
        if parts[name] == 0 and _float(row, f"{name}_count") and _float(row, "duration"):
            parts[name] = None  # a device that is there takes energy, so 0 means that nothing was read
    inside = _pue_inside(parts, _float(row, "energy_consumed"), pue, where, findings)
    without = {name: None if kwh is None else kwh / inside for name, kwh in parts.items()}
    has_gpu = bool(without["gpu"]) or bool(_float(row, "gpu_count"))
    total = _total(without, has_gpu)
    share = None if not total or without["ram"] is None else without["ram"] / total
    findings += _notes(row, where, cpu_method, share, pue)
    version = row.get("codecarbon_version") or "not stated"
    origin = (f"CodeCarbon {version}, run {row['run_id']}", WALL_CAMPAIGN)
    node = _node(total, has_gpu, cpu_method, origin)
    return CodeCarbonRun(
        run_id=row["run_id"], project=row["project_name"], version=version,
        cpu=_cpu(without["cpu"], cpu_method, origin), gpu=_gpu(without["gpu"], origin) if has_gpu else None,
        ram=_device(without["ram"], "constant power per memory module, whatever is used", "rated_power", origin),
        device=_device(total, "sum of the devices, see its parts", _sum_method(cpu_method), origin), node=node,
        carbon=_carbon(node, _float(row, "emissions"), _float(row, "energy_consumed")), pue=_pue(pue), ram_share=share,
        duration=_duration(_float(row, "duration")),
        findings=tuple(findings), hardware=_hardware(row),
    )  # fmt: skip


def _float(row: Mapping[str, str], name: str) -> float | None:
    """A number of the row; None where there is none."""
    try:
        value = float(row.get(name) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _pue_inside(parts: Mapping[str, float | None], consumed: float | None, pue: float | None, where: str,
                findings: list[Finding]) -> float:  # fmt: skip
    """The factor that the parts hold: the tool multiplies them too, or only their sum, depending on its version."""
    known = [kwh for kwh in parts.values() if kwh is not None]
    if consumed is None or not known:
        return pue or 1.0
    if math.isclose(math.fsum(known), consumed, rel_tol=SUM_TOLERANCE, abs_tol=1e-12):
        return pue or 1.0
    if pue and math.isclose(math.fsum(known) * pue, consumed, rel_tol=SUM_TOLERANCE):
        return 1.0
    findings.append(Finding("the energies of the devices do not sum to the energy consumed", where=where,
                            expected=f"{consumed:g} kWh", got=f"{math.fsum(known):g} kWh", code="GT-S82"))  # fmt: skip
    return pue or 1.0


def _total(parts: Mapping[str, float | None], has_gpu: bool) -> float | None:
    """Sum of the devices; None where one of them is not known."""
    needed = [parts["cpu"], parts["ram"], *([parts["gpu"]] if has_gpu else [])]
    return None if any(kwh is None for kwh in needed) else math.fsum(kwh for kwh in needed if kwh is not None)


def _sum_method(cpu_method: CpuMethod) -> Method:
    return "rated_power" if cpu_method == "model" else "device_counter"


def _cpu(kwh: float | None, cpu_method: CpuMethod, origin: tuple[str, ...]) -> Quantity:
    if cpu_method == "counter":
        return _counted(kwh, "energy counters of the processors, as the caller says", 0.2, origin)
    return _device(kwh, "rated power of the processor times a function of its utilisation", "rated_power", origin)


def _gpu(kwh: float | None, origin: tuple[str, ...]) -> Quantity:
    return _counted(kwh, "energy counters of the accelerators, whole boards whoever uses them", 0.05, origin)


def _counted(kwh: float | None, method: str, error: float, origin: tuple[str, ...]) -> Quantity:
    if kwh is None:
        return missing("kWh", reason="the file has no number", boundary="device")
    return Quantity(unit="kWh", kind="measured", method=method, method_class="device_counter", boundary="device",
                    p2_5=kwh * (1 - error), p50=kwh, p97_5=kwh * (1 + error), measured_share=1.0,
                    provenance=origin)  # fmt: skip


def _device(kwh: float | None, method: str, method_class: Method, origin: tuple[str, ...]) -> Quantity:
    """Of a model that was never found too high: the interval reaches upwards only."""
    if kwh is None:
        return missing("kWh", reason="the file has no number", boundary="device")
    worst = 1 / (1 - BELOW_WALL["processor"][2])
    return Quantity(unit="kWh", kind="estimated", method=method, method_class=method_class, boundary="device",
                    p2_5=kwh, p50=kwh, p97_5=kwh * worst, provenance=origin)  # fmt: skip


def _node(kwh: float | None, has_gpu: bool, cpu_method: CpuMethod, origin: tuple[str, ...]) -> Quantity:
    if kwh is None:
        return missing("kWh", reason="the energy of a device is not in the file", boundary="node")
    low, middle, high = (kwh / (1 - below) for below in BELOW_WALL["accelerator" if has_gpu else "processor"])
    return Quantity(unit="kWh", kind="estimated", method="sum of the devices over the share of a wall meter that "
                    "CodeCarbon showed in published runs", method_class="calibrated_model", boundary="node",
                    p2_5=low, p50=middle, p97_5=high, provenance=origin)  # fmt: skip


def _carbon(node: Quantity, emissions_kg: float | None, consumed: float | None) -> Quantity:
    if node.is_missing or emissions_kg is None or not consumed:
        return missing("kg", reason="no emissions or no energy in the file", boundary="node")
    factor = emissions_kg / consumed
    text = f"energy at the node times {1000 * factor:.0f} g/kWh, one intensity for the whole run"
    return node.scaled(factor, unit="kg").model_copy(update={"method": text})


def _pue(pue: float | None) -> Quantity:
    if pue is None:
        return missing("1", reason="the file has no PUE")
    words = "default of the tool, no data centre is counted" if pue == 1 else "set by the user of the tool"
    return exact(pue, "1", kind="declared", method=words, method_class="supplier")


def _duration(seconds: float | None) -> Quantity:
    if seconds is None:
        return missing("s", reason="the file has no duration")
    return exact(seconds, "s", kind="measured", method="clock of the tool", measured_share=1.0)


def _notes(row: Mapping[str, str], where: str, cpu_method: CpuMethod, share: float | None,
           pue: float | None) -> list[Finding]:  # fmt: skip
    """What the numbers of a row do not say."""
    notes = []
    if share is not None:
        notes.append(Finding(f"{share:.0%} of the energy is a constant for memory", where=where, severity="info"))
    if cpu_method == "model":
        rated, power = W_PER_THREAD * (_float(row, "cpu_count") or 0.0), _float(row, "cpu_power")
        power = None if power is None else power / (pue or 1.0)  # the tool multiplies it in
        fits = f"; it does not exceed {rated:g} W, the fallback for an unknown processor" if (
            power is not None and 0 < power <= rated) else ""  # fmt: skip
        notes.append(Finding(f"the processor is taken as modelled, the file does not say{fits}", where=where,
                             do="Say that counters were read, if they were.", severity="info"))  # fmt: skip
    if pue == 1:
        notes.append(Finding("PUE is 1, the default: nothing of a data centre is counted", where=where,
                             severity="info"))  # fmt: skip
    if row.get("tracking_mode") == "machine":
        notes.append(Finding("the whole machine is counted, other programs included", where=where, severity="info"))
    return notes


def _hardware(row: Mapping[str, str]) -> tuple[Hardware, ...]:
    parts = []
    for component in ("cpu", "gpu"):
        count = _float(row, f"{component}_count")
        if count:
            parts.append(Hardware(component="cpu" if component == "cpu" else "gpu",
                                  model=row.get(f"{component}_model") or None,
                                  count=exact(count, "1", kind="declared", method="as CodeCarbon found it; of "
                                              "processors it counts threads")))  # fmt: skip
    return tuple(parts)


def codecarbon_statement(run: CodeCarbonRun) -> WorkloadStatement:
    """A statement of one run: training energy at the node, parts at the devices."""
    return WorkloadStatement(
        subject=Subject(model_id=run.project),
        training=Training(energy=run.node.to("MWh"), energy_method=run.node.method, wall_clock=run.duration.to("d")),
        hardware=run.hardware,
        devices=Devices(cpu=run.cpu, memory=run.ram, accelerator=run.gpu, total=run.device, node=run.node),
        carbon=Carbon(location_annual=run.carbon),
        uncertainty=Uncertainty(notes=tuple(str(finding) for finding in run.findings)),
        provenance=Provenance(probes=(f"CodeCarbon {run.version}",), versions=(f"codecarbon {run.version}",)),
    )
