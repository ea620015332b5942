"""A command is run untouched, its whole process tree counts, and the statement says what it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gridtwin.ai_energy.counters import Unavailable
from gridtwin.ai_energy.probe import probe_machine, probe_text
from gridtwin.ai_energy.quantity import missing, with_interval
from gridtwin.ai_energy.recorder import Recorder, Tick, record_command
from gridtwin.ai_energy.run_command import run_command
from gridtwin.ai_energy.run_statement import RunStatement, energy_text, job_share, run_text, write_run
from tests.ai_energy.fake_nvml import FakeBoard, FakeNvml

BURN = "import time; t = time.process_time()\nwhile time.process_time() - t < {}: pass\n"
NONE = Unavailable("no library in this test")
RANGE_UJ = 262_143_328_850


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-c", code, *words]


def package(tree: Path, uj: float) -> Path:
    zone = tree / "intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (zone / "energy_uj").write_text(f"{int(uj)}\n")
    return zone / "energy_uj"


def test_a_machine_without_counters_estimates_and_says_so(tmp_path: Path) -> None:
    statement = run_command(python(BURN.format(0.3)), job="burn", powercap=tmp_path, library=NONE)
    energy = statement.energy
    assert (statement.exit_code, statement.job, energy.kind, energy.boundary) == (0, "burn", "estimated", "node")
    assert energy.measured_share == 0 and energy.p50 is not None and energy.p50 > 0
    assert statement.cpu_seconds >= 0.3 and statement.seconds >= 0.3
    assert statement.start < statement.end and energy.period_start == statement.start
    told = run_text(statement)
    for words in ("energy of burn:", "95 % interval), estimated", "boundary  node: a whole server", "no energy counter",
                  "0% of it", "sampling  every 10 s"):  # fmt: skip
        assert words in told


def test_children_and_orphans_count(tmp_path: Path) -> None:
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(0.3)!r}])"
    assert run_command(python(grandchild), powercap=tmp_path, library=NONE).cpu_seconds >= 0.3
    if not sys.platform.startswith("linux"):
        return
    # the child in the middle ends at once, its own child works on and is adopted
    orphan = ("import os, time\nif os.fork() == 0:\n if os.fork() == 0:\n  " + BURN.format(0.3).replace("\n", "\n  ")
              + "\n os._exit(0)\nos.wait()\ntime.sleep(1.5)")  # fmt: skip
    # if it were lost, some 0.03 s would be left; a crowded machine may not let it end before its grandparent
    assert run_command(python(orphan), powercap=tmp_path, library=NONE).cpu_seconds >= 0.15


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans are adopted on Linux")
def test_what_is_left_running_is_told(tmp_path: Path) -> None:
    statement = run_command(["sh", "-c", "sleep 2 & exit 0"], powercap=tmp_path, library=NONE)
    assert statement.seconds < 1.5
    assert "1 of its processes" in statement.findings[0]


def test_a_sleeping_command_costs_next_to_nothing_and_not_nothing(tmp_path: Path) -> None:
    busy = run_command(python(BURN.format(0.4)), powercap=tmp_path, library=NONE).energy.p50
    asleep = run_command(["sleep", "0.5"], powercap=tmp_path, library=NONE).energy.p50
    assert busy is not None and asleep is not None and 0 < asleep < busy / 5


def test_periods_add_up_to_the_whole(tmp_path: Path) -> None:
    statement = run_command(python(BURN.format(0.7)), every_seconds=0.2, powercap=tmp_path, library=NONE)
    assert statement.samples is not None
    assert len(statement.samples["joules"]) >= 3
    assert sum(statement.samples["joules"]) == pytest.approx(statement.energy.p50)
    assert sum(statement.samples["cpu_seconds"]) == pytest.approx(statement.cpu_seconds)
    assert sum(statement.samples["seconds"]) == pytest.approx(statement.seconds)
    assert statement.samples["start_seconds"][0] == 0
    # a crowded machine delays readings
    assert 0.1 < statement.samples["seconds"][0] < 1.0
    out, samples = tmp_path / "statement.json", tmp_path / "samples.csv"
    write_run(statement, out, None)
    assert RunStatement.model_validate_json(out.read_text()) == statement
    write_run(statement, out, samples)
    beside = RunStatement.model_validate_json(out.read_text())
    assert beside.samples is None and beside.sampling.file == str(samples)
    rows = samples.read_text().splitlines()
    assert rows[0] == "start_seconds,seconds,cpu_seconds,joules" and len(rows) == 1 + len(statement.samples["joules"])


def test_counters_are_shared_by_busy_time(tmp_path: Path) -> None:
    file = package(tmp_path, 1e9)
    code = BURN.format(0.3) + f"open({str(file)!r}, 'w').write('{int(1e9 + 30e6)}')"
    statement = run_command(python(code), powercap=tmp_path, library=NONE)
    assert statement.parts["whole machine"].p50 == pytest.approx(30.0)
    energy = statement.energy
    assert energy.boundary == "device" and energy.kind in ("measured", "calculated") and energy.measured_share == 1
    assert energy.p50 is not None and 0 < energy.p50 <= 30.0
    assert energy.p97_5 == pytest.approx(36.0), "the whole machine and the error of its counters"


def test_the_share_of_a_busy_machine() -> None:
    # two of four busy seconds are the job's
    energy = job_share(Tick(seconds=2, cpu_seconds=2, package_joules=100.0, job_joules=50.0))
    assert (energy.kind, energy.p2_5, energy.p50, energy.p97_5) == ("calculated", 40.0, 50.0, 120.0)
    assert "50% of it for this command" in energy.method


def test_a_reset_while_the_command_runs_is_told(tmp_path: Path) -> None:
    file = package(tmp_path, 5_000e6)
    code = BURN.format(0.2) + f"open({str(file)!r}, 'w').write('10000000')"
    statement = run_command(python(code), powercap=tmp_path, library=NONE)
    assert statement.energy.kind == "estimated" and statement.energy.boundary == "device"
    assert statement.energy.measured_share == 0 and statement.energy.p50 is not None and statement.energy.p50 > 0
    assert "reset" in statement.findings[0]


def test_boards_are_added_to_processors_at_one_boundary(tmp_path: Path) -> None:
    library = FakeNvml([FakeBoard(lambda _: 200.0)])
    start = time.monotonic()
    library.__class__ = type("Live", (FakeNvml,), {"seconds": property(lambda _: time.monotonic() - start)})
    statement = run_command(["sleep", "0.5"], powercap=tmp_path, library=library)
    board = statement.parts["NVIDIA L40S (board 0)"]
    assert board.p50 == pytest.approx(200 * statement.seconds, rel=0.2)
    assert (statement.energy.kind, statement.energy.boundary) == ("estimated", "device")
    assert statement.energy.measured_share > 0.9


@pytest.mark.parametrize(
    ("joules", "told"),
    [(0.5, "0.5 J (0.45 to 0.55 J"), (12_345.0, "12.3 kJ (11.1 to 13.6 kJ"), (9e6, "2.5 kWh (2.25 to 2.75 kWh"),
     (7.2e9, "2 MWh (1.8 to 2.2 MWh")],
)  # fmt: skip
def test_energy_is_told_in_a_unit_that_fits(joules: float, told: str) -> None:
    energy = with_interval(joules, 0.1, 0.1, "J", kind="measured", method="a meter")
    assert energy_text(energy).startswith(told)
    assert energy_text(missing("J", reason="none")) == "missing: none"


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_command(["no-such-program"], powercap=tmp_path, library=NONE)


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_exit_codes_are_passed_on(code: str, expected: int, tmp_path: Path) -> None:
    assert run_command(python(code), powercap=tmp_path, library=NONE).exit_code == expected


def test_signals_reach_the_command_and_the_recording_goes_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = ("import signal, sys, time, pathlib\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
            f"pathlib.Path({str(ready)!r}).touch()\ntime.sleep(20)")  # fmt: skip

    def ask_to_end() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=ask_to_end, daemon=True).start()
    statement = run_command(python(code), powercap=tmp_path, library=NONE)
    assert statement.exit_code == 5 and statement.seconds < 15
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_probe_tells_before_the_run_what_the_run_tells(tmp_path: Path) -> None:
    outlook = probe_machine(powercap=tmp_path / "none", library=NONE)
    statement = run_command(["true"], powercap=tmp_path / "none", library=NONE)
    assert (outlook.kind, outlook.boundary) == ("estimated", "node")
    assert (statement.energy.kind, statement.energy.boundary) == ("estimated", "node")
    times = next(probe for probe in outlook.probes if probe.name == "processor time")
    low, middle, high = statement.energy.ends
    assert middle and times.percent_low == pytest.approx(100 * (low / middle - 1))
    assert times.percent_high == pytest.approx(100 * (high / middle - 1))
    told = probe_text(outlook)
    assert "expect -69 to +106 %" in told and "no library in this test" in told and "virtual machine" in told
    package(tmp_path, 1e9)
    better = probe_machine(powercap=tmp_path, library=FakeNvml([FakeBoard(lambda _: 9.0), FakeBoard(lambda _: 9.0)]))
    assert (better.kind, better.boundary) == ("calculated", "device")
    assert "package-0" in probe_text(better) and "energy counter" in probe_text(better)
    blind = FakeNvml([FakeBoard(lambda _: 9.0, name="NVIDIA A100", architecture=7, has_counter=False)])
    boards = probe_machine(powercap=tmp_path / "none", library=blind).probes[1]
    assert boards.percent_low == pytest.approx(-77.5) and boards.percent_high is None


def test_recording_costs_less_than_half_a_percent_of_a_core(tmp_path: Path) -> None:
    package(tmp_path, 1e9)
    from gridtwin.ai_energy.counters import find_domains

    recorder = Recorder(find_domains(tmp_path), NONE)
    recorder.advance()
    start = time.process_time()
    for _ in range(200):
        recorder.advance()
    per_reading = (time.process_time() - start) / 200
    # 0.5 % of a core at 1 Hz are 5 ms; a crowded machine and its caches are inside that
    assert per_reading < 0.005


def test_starting_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys, gridtwin.ai_energy.run_command\n"
        "heavy = {'numpy', 'pandas', 'pydantic', 'xarray', 'torch'} & set(sys.modules)\nassert not heavy, heavy\n"
        "import gridtwin.ai_energy.run_statement, gridtwin.ai_energy.probe\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'torch'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run(python(code), check=True)


def test_periods_do_not_drift(tmp_path: Path) -> None:
    recorder = Recorder(NONE, NONE, every_seconds=0.1)
    assert record_command(["sleep", "1.05"], recorder) == 0
    # ten periods and a rest; a crowded machine may merge one or two
    assert 8 <= len(recorder.samples) <= 12
    assert recorder.total.seconds == pytest.approx(sum(tick.seconds for tick in recorder.samples))
