"""CodeCarbon rows get their kind, boundary and an interval to the side on which the truth lies."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gridtwin.ai_energy.codecarbon import codecarbon_statement, read_codecarbon
from gridtwin.ai_energy.workload_statement import find_quantities, parse_statement, statement_json
from gridtwin.errors import DataError

# the 38 columns of version 3.3.2
COLUMNS = """timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power gpu_power ram_power
cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name country_iso_code region cloud_provider
cloud_region os python_version codecarbon_version cpu_count cpu_model gpu_count gpu_model longitude latitude
ram_total_size tracking_mode cpu_utilization_percent gpu_utilization_percent ram_utilization_percent ram_used_gb
on_cloud pue wue""".split()
KWH = 1 / 3.6e6
# a virtual machine of two threads: 1.65 W processor and 20 W memory over 8.1 s, as in the reference measurement
ROW = {
    "timestamp": "2026-11-01T10:00:00", "project_name": "busy loop", "run_id": "r1", "duration": "8.1",
    "cpu_power": "1.65", "ram_power": "20.0", "gpu_power": "0", "cpu_energy": 1.65 * 8.1 * KWH, "gpu_energy": "0",
    "ram_energy": 20 * 8.1 * KWH, "energy_consumed": 21.65 * 8.1 * KWH, "emissions": 21.65 * 8.1 * KWH * 0.4,
    "codecarbon_version": "3.3.2", "cpu_count": "2", "cpu_model": "AMD EPYC", "gpu_count": "", "gpu_model": "",
    "tracking_mode": "machine", "on_cloud": "N", "pue": "1.0", "wue": "0.0",
}  # fmt: skip


def write(folder: Path, **changes: object) -> Path:
    file = folder / "emissions.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerow({**ROW, **changes})
    return file


def test_the_file_has_the_38_columns() -> None:
    assert len(COLUMNS) == 38


def test_a_virtual_machine_is_mostly_a_constant_of_its_memory(tmp_path: Path) -> None:
    (run,) = read_codecarbon(write(tmp_path))
    assert run.ram_share == pytest.approx(20 / 21.65)  # 92 %
    texts = [finding.what for finding in run.findings]
    assert any(text.startswith("92% of the energy is a constant for memory") for text in texts)
    assert any("8 W, the fallback" in text for text in texts)  # 2 threads at 4 W
    assert any("PUE is 1" in text for text in texts) and any("whole machine" in text for text in texts)


def test_nothing_is_measured_and_no_number_is_bare(tmp_path: Path) -> None:
    (run,) = read_codecarbon(write(tmp_path))
    for energy in (run.cpu, run.ram, run.device):
        assert (energy.kind, energy.boundary, energy.method_class) == ("estimated", "device", "rated_power")
        assert energy.measured_share == 0
        assert energy.p2_5 == energy.p50 and energy.p97_5 == pytest.approx(energy.p50 / 0.33)  # type: ignore[operator]
    assert run.gpu is None


def test_the_truth_at_the_plug_is_higher(tmp_path: Path) -> None:
    (run,) = read_codecarbon(write(tmp_path))
    kwh = 21.65 * 8.1 * KWH
    assert run.node.boundary == "node" and run.node.kind == "estimated"
    # 9, 32 and 67 % below the wall
    assert run.node.ends == pytest.approx((kwh / 0.91, kwh / 0.68, kwh / 0.33))
    assert run.carbon.p50 == pytest.approx(0.4 * kwh / 0.68)


@pytest.mark.parametrize("inside", [True, False])
def test_pue_is_taken_out_wherever_the_version_put_it(tmp_path: Path, inside: bool) -> None:
    factor = 1.5 if inside else 1.0
    cpu, ram = 2.0 * factor, 3.0 * factor
    file = write(tmp_path, cpu_energy=cpu, ram_energy=ram, energy_consumed=7.5, pue=1.5)
    (run,) = read_codecarbon(file)
    assert run.device.p50 == pytest.approx(5.0) and run.pue.p50 == 1.5
    assert not [finding for finding in run.findings if finding.code]


def test_parts_that_do_not_sum_are_said(tmp_path: Path) -> None:
    (run,) = read_codecarbon(write(tmp_path, cpu_energy=1, ram_energy=1, energy_consumed=9))
    assert [finding.code for finding in run.findings if finding.code] == ["GT-S82"]


def test_counters_are_believed_where_somebody_says_so(tmp_path: Path) -> None:
    file = write(tmp_path, gpu_count=1, gpu_model="board", gpu_energy=1e-4, energy_consumed=21.65 * 8.1 * KWH + 1e-4)
    (run,) = read_codecarbon(file, cpu_method="counter")
    assert run.gpu is not None and run.gpu.kind == run.cpu.kind == "measured"
    assert run.ram.kind == "estimated"


@pytest.mark.parametrize("nothing", ["", "nan", "0"])
def test_what_is_not_there_is_missing_not_zero(tmp_path: Path, nothing: str) -> None:
    (run,) = read_codecarbon(write(tmp_path, cpu_energy=nothing))
    assert run.cpu.is_missing and run.device.is_missing and run.node.is_missing and run.carbon.is_missing
    assert run.ram_share is None


def test_a_run_becomes_a_statement(tmp_path: Path) -> None:
    (run,) = read_codecarbon(write(tmp_path))
    statement = codecarbon_statement(run)
    assert parse_statement(statement_json(statement)) == statement
    assert statement.training.energy == run.node.to("MWh")
    assert any("92%" in note for note in statement.uncertainty.notes)
    energies = [value for place, value in find_quantities(statement) if value.unit in ("kWh", "MWh")]
    assert energies and all(value.p97_5 > value.p50 for value in energies)  # type: ignore[operator]


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("time,power\n1,2\n")
    with pytest.raises(DataError, match="not a CSV of CodeCarbon"):
        read_codecarbon(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_codecarbon(tmp_path / "none.csv")
