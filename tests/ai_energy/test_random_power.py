"""The package meter against the integral of a random power; the seed is drawn anew in every run."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pytest

from gridtwin.ai_energy.counters import EnergyMeter, Unavailable, find_domains

INTEL_UJ, AMD_UJ = 262_143_328_850, 65_532_610_987

COUNTS = {"intel-rapl:0", "intel-rapl:1", "intel-rapl:0:2", "intel-rapl:1:2"}
"""Packages and their memory: the rest is part of them or contains them."""


class Server:
    """A powercap tree whose counters follow power curves that only the test knows."""

    def __init__(self, tree: Path, seed: int, range_uj: int) -> None:
        self.rng, self.range_uj, self.seconds, self.spent_uj = np.random.default_rng(seed), range_uj, 0.0, 0.0
        self.files: dict[str, Path] = {}
        self.uj: dict[str, float] = {}
        for package in (0, 1):
            self.add(tree, f"intel-rapl:{package}", f"package-{package}")
            for i, part in enumerate(("core", "uncore", "dram")):
                self.add(tree, f"intel-rapl:{package}:{i}", part)
        self.add(tree, "intel-rapl:2", "psys")
        self.write()

    def add(self, tree: Path, folder: str, name: str) -> None:
        zone = tree / folder
        zone.mkdir()
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        self.files[folder], self.uj[folder] = zone / "energy_uj", float(self.rng.uniform(0, self.range_uj))

    def write(self) -> None:
        for folder, file in self.files.items():
            file.write_text(f"{int(self.uj[folder] % self.range_uj)}\n")

    def run(self, seconds: float) -> None:
        """Let time pass: power jumps every tenth of the time; what counts is packages and memory."""
        for folder in self.uj:
            watts = self.rng.uniform(5, 120 if folder.count(":") == 2 else 600, 10)
            uj = float((watts * seconds / 10 * 1e6).sum())
            self.uj[folder] += uj
            self.spent_uj += uj if folder in COUNTS else 0.0
        self.seconds += seconds
        self.write()


def meter_of(tree: Path) -> EnergyMeter:
    domains = find_domains(tree)
    assert not isinstance(domains, Unavailable), domains
    return EnergyMeter(domains)


@pytest.mark.parametrize("range_uj", [INTEL_UJ, AMD_UJ])
def test_the_meter_is_the_integral_of_any_power(tmp_path: Path, range_uj: int) -> None:
    seed = secrets.randbits(32)
    server = Server(tmp_path, seed, range_uj)
    meter = meter_of(tmp_path)
    meter.advance(seconds=0.0)
    for _ in range(300):
        server.run(float(server.rng.uniform(0.5, 30)))
        meter.advance(seconds=server.seconds)
    # the kernel cuts to whole microjoules: 4 counters, once at either end
    assert meter.joules == pytest.approx(server.spent_uj / 1e6, abs=1e-3), f"seed {seed}"
    assert meter.gap_seconds == 0, f"seed {seed}: {meter.gaps}"


def test_pauses_in_which_a_counter_may_wrap_twice_are_gaps_and_the_rest_is_right(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    server = Server(tmp_path, seed, AMD_UJ)
    meter, truth_uj, gaps = meter_of(tmp_path), 0.0, 0.0
    meter.advance(seconds=0.0)
    for i in range(60):
        before, pause = server.spent_uj, 200.0 if i % 7 == 3 else 10.0
        server.run(pause)
        meter.advance(seconds=server.seconds)
        if pause > 65:
            gaps += pause
        else:
            truth_uj += server.spent_uj - before
    assert meter.gap_seconds == pytest.approx(gaps), f"seed {seed}"
    assert all("more than once" in reason for reason in meter.gaps)
    # each interval is cut to whole microjoules by itself
    assert meter.joules == pytest.approx(truth_uj / 1e6, abs=1e-3), f"seed {seed}"


def test_one_whole_range_and_one_joule_is_not_one_joule(tmp_path: Path) -> None:
    # truth 262,144.33 J; read naively it is 1 J
    server = Server(tmp_path, 1, INTEL_UJ)
    meter = meter_of(tmp_path)
    meter.advance(seconds=0.0)
    for folder in server.uj:
        server.uj[folder] += INTEL_UJ + 1e6
    server.write()
    meter.advance(seconds=655.0)  # at 400 W
    assert (meter.joules, meter.gap_seconds) == (0.0, 655.0)
    assert "more than once" in meter.gaps[0]


def test_a_reset_a_missing_file_and_garbage_lose_their_interval_only(tmp_path: Path) -> None:
    server = Server(tmp_path, 2, INTEL_UJ)
    meter = meter_of(tmp_path)
    file = server.files["intel-rapl:0"]
    server.uj = {folder: 5_000e6 for folder in server.uj}
    server.write()
    meter.advance(seconds=0.0)
    server.uj["intel-rapl:0"] = 10e6
    server.write()
    meter.advance(seconds=1.0)
    assert "reset" in meter.gaps[-1] and meter.joules == 0
    file.write_text("not a number\n")
    meter.advance(seconds=2.0)
    file.unlink()
    meter.advance(seconds=3.0)
    server.write()
    meter.advance(seconds=4.0)
    assert meter.gap_seconds == 4.0 and meter.joules == 0
    server.uj["intel-rapl:1"] += 7e6
    server.write()
    meter.advance(seconds=5.0)
    assert (meter.joules, meter.gap_seconds) == (7.0, 4.0)
