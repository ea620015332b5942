"""Energy counters from a synthetic powercap tree, and processor time of a process tree."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gridtwin.ai_energy import counters
from gridtwin.ai_energy.counters import (
    EnergyMeter,
    Reading,
    Unavailable,
    energy_between,
    find_domains,
    read_domains,
)
from gridtwin.ai_energy.processor_time import process_tree_cpu_seconds

INTEL_UJ = 262_143_328_850
AMD_UJ = 65_532_610_987


def add_zone(tree: Path, folder: str, name: str, uj: int, *, range_uj: int = INTEL_UJ) -> Path:
    zone = tree / folder
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{name}\n")
    (zone / "energy_uj").write_text(f"{uj}\n")
    (zone / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return zone


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two packages with core, uncore, dram; a mirrored tree; a platform domain."""
    for package in (0, 1):
        start = 10_000_000_000 * (package + 1)
        add_zone(tmp_path, f"intel-rapl:{package}", f"package-{package}", start)
        add_zone(tmp_path, f"intel-rapl:{package}:0", "core", start - 5_000_000_000)
        add_zone(tmp_path, f"intel-rapl:{package}:1", "uncore", 1_000_000)
        add_zone(tmp_path, f"intel-rapl:{package}:2", "dram", 3_000_000_000 + start)
    add_zone(tmp_path, "intel-rapl:2", "psys", 99_000_000_000)
    add_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 10_000_000_000)
    return tmp_path


def names(tree: Path) -> list[str]:
    domains = find_domains(tree)
    assert not isinstance(domains, Unavailable), domains
    return [domain.name for domain in domains]


def one(tree: Path, uj: int, *, range_uj: int = INTEL_UJ):
    add_zone(tree, "intel-rapl:0", "package-0", uj, range_uj=range_uj)
    domains = find_domains(tree)
    assert not isinstance(domains, Unavailable)
    return domains


def spent(domains, before_uj: float, after_uj: float, seconds: float):
    return energy_between(domains, Reading(0.0, {"package-0": before_uj}), Reading(seconds, {"package-0": after_uj}))


def test_packages_and_their_memory_count_once(server: Path) -> None:
    assert names(server) == ["package-0", "package-0/dram", "package-1", "package-1/dram"]


def test_a_package_mirrored_on_two_dies_counts_once(tmp_path: Path) -> None:
    add_zone(tmp_path, "intel-rapl:0", "package-0-die-0", 5_000_000_000)
    add_zone(tmp_path, "intel-rapl:1", "package-0-die-1", 5_000_000_400)
    assert names(tmp_path) == ["package-0-die-0"]


def test_no_tree_is_unavailable_with_its_reason(tmp_path: Path) -> None:
    answer = find_domains(tmp_path / "powercap")
    assert isinstance(answer, Unavailable) and "virtual machine" in answer.reason
    answer = find_domains(tmp_path)
    assert isinstance(answer, Unavailable) and "no package counter" in answer.reason


def test_no_permission_is_unavailable_with_its_reason(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # tests may run as root, who may read everything: refuse in the file's place
    real = Path.read_text

    def refuse(self: Path, *args, **kwargs) -> str:
        if self.name == "energy_uj" and "rapl:1" in str(self.parent.name):
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refuse)
    answer = find_domains(server)
    assert isinstance(answer, Unavailable)
    assert "no permission" in answer.reason and "intel-rapl:1" in answer.reason


def test_garbage_is_unavailable(tmp_path: Path) -> None:
    zone = add_zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (zone / "energy_uj").write_text("n/a\n")
    assert isinstance(find_domains(tmp_path), Unavailable)


def test_a_wrap_is_followed(tmp_path: Path) -> None:
    # 1 J before the wrap to 2 J behind it
    domains = one(tmp_path, 5)
    assert spent(domains, INTEL_UJ - 1e6, 2e6, 1.0) == pytest.approx(3.0, abs=1e-6)


def test_a_reset_is_a_gap_and_not_257_kw(tmp_path: Path) -> None:
    answer = spent(one(tmp_path, 5), 5_000e6, 10e6, 1.0)
    assert isinstance(answer, Unavailable) and "reset" in answer.reason


def test_two_wraps_are_told_and_not_guessed(tmp_path: Path) -> None:
    # an AMD counter lasts 164 s at 400 W; after 200 s nobody knows
    domains = one(tmp_path, 5, range_uj=AMD_UJ)
    answer = spent(domains, 1e6, 14.5e9, 200.0)
    assert isinstance(answer, Unavailable) and "more than once" in answer.reason
    assert spent(domains, 1e6, 4_001e6, 10.0) == pytest.approx(4000.0)


@pytest.mark.parametrize("seed", [4, 5])
def test_meter_follows_a_random_power(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    domains = one(tmp_path, 0, range_uj=AMD_UJ)
    truth_uj, seconds, file = float(rng.uniform(0, AMD_UJ)), 0.0, domains[0].file
    meter = EnergyMeter(domains)
    spent_uj = 0.0
    for _ in range(400):
        file.write_text(str(int(truth_uj % AMD_UJ)))
        meter.advance(seconds=seconds)
        watts, pause = rng.uniform(20, 500), rng.uniform(1, 30)
        truth_uj, seconds, spent_uj = truth_uj + watts * pause * 1e6, seconds + pause, spent_uj + watts * pause * 1e6
    file.write_text(str(int(truth_uj % AMD_UJ)))
    joules, gap_seconds = meter.advance(seconds=seconds)
    assert spent_uj > 5 * AMD_UJ, "the case must wrap"
    assert joules == pytest.approx(spent_uj / 1e6, abs=1e-3)  # whole microjoules
    assert gap_seconds == 0


def test_a_vanished_file_is_a_gap_until_it_is_back(tmp_path: Path) -> None:
    domains = one(tmp_path, 1_000_000)
    meter, file = EnergyMeter(domains), domains[0].file
    meter.advance(seconds=0.0)
    file.unlink()
    assert meter.advance(seconds=5.0) == (0.0, 5.0)
    file.write_text("900000000")
    assert meter.advance(seconds=10.0) == (0.0, 10.0)
    file.write_text("930000000")
    assert meter.advance(seconds=11.0) == (30.0, 10.0)
    assert read_domains(domains).energy_uj == {"package-0": 930e6}


def test_background_read_outs_notice_every_wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "SAMPLING_SECONDS", 0.02)
    domains = one(tmp_path, 1_000_000)
    meter = EnergyMeter(domains).start()
    meter.advance()
    deadline = time.monotonic() + 5
    domains[0].file.write_text("1500000")
    while meter.joules == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    meter.stop()
    assert meter.joules == pytest.approx(0.5)


BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.4: pass\n"


def test_children_count_when_they_have_ended() -> None:
    before = process_tree_cpu_seconds()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert process_tree_cpu_seconds() - before > 0.35


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="living processes are read from /proc")
def test_children_count_while_they_live() -> None:
    before = process_tree_cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", BURN + "print(1, flush=True)\ninput()"], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        alive = process_tree_cpu_seconds() - before
        child.communicate(b"\n")
    ended = process_tree_cpu_seconds() - before
    assert alive > 0.35
    assert ended >= alive - 0.03, "a clock tick or two may be lost between the two ways of counting"
