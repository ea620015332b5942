"""What `gridtwin energy run` costs itself; writes `benchmarks/results/energy_overhead.json`.

Run it as `python -m benchmarks.energy_overhead`. Goals: a recording at 1 Hz takes less than 0.5 % of a core, and the
command starts within 0.3 s. Counters come from a synthetic tree where the machine has none.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gridtwin.ai_energy.counters import Unavailable, find_domains
from gridtwin.ai_energy.nvml import find_boards
from gridtwin.ai_energy.recorder import Recorder
from tests.ai_energy.fake_nvml import FakeBoard, FakeNvml

RESULTS = Path(__file__).parent / "results"
READINGS = 500
STARTS = 9
NO_BOARDS = Unavailable("not in this benchmark")


def main() -> None:
    """Cost of readings and of starts, printed and written."""
    with tempfile.TemporaryDirectory() as folder:
        tree = _powercap(Path(folder))
        result = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "processes": len(list(Path("/proc").glob("[0-9]*"))),
            "percent_of_a_core_at_1_hz": {
                "processor time only": _percent(Recorder(find_domains(Path(folder) / "none"), NO_BOARDS)),
                "four package counters": _percent(Recorder(find_domains(tree), NO_BOARDS)),
                "four package counters, eight children": _with_children(Recorder(find_domains(tree), NO_BOARDS)),
                "four package counters, eight boards (answers of a stand-in)": _percent(_with_boards(tree)),
            },
            "start_seconds": _start_seconds(),
        }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2)
    (RESULTS / "energy_overhead.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def _powercap(tree: Path) -> Path:
    for package in (0, 1):
        for folder, name in ((f"intel-rapl:{package}", f"package-{package}"), (f"intel-rapl:{package}:0", "dram")):
            (tree / folder).mkdir()
            (tree / folder / "name").write_text(name)
            (tree / folder / "max_energy_range_uj").write_text("262143328850")
            (tree / folder / "energy_uj").write_text(str(5_000_000_000 * (package + 1 + 2 * (name == "dram"))))
    return tree


def _with_boards(tree: Path) -> Recorder:
    library = FakeNvml([FakeBoard(lambda _: 100.0) for _ in range(8)])
    return Recorder(find_domains(tree), find_boards(library), library)


def _with_children(recorder: Recorder) -> float:
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(8)]
    try:
        return _percent(recorder)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _percent(recorder: Recorder) -> float:
    """Processor time of one reading, as a share of a second. [%]"""
    recorder.advance()
    start = time.process_time()
    for _ in range(READINGS):
        recorder.advance()
    return round(100 * (time.process_time() - start) / READINGS, 4)


def _start_seconds() -> dict[str, float]:
    """From the start of the command line to the first line of the command's own program, and of that alone. [s]"""
    program = [sys.executable, "-S", "-c", "import time; print(time.time())"]
    gridtwin = [sys.executable, "-m", "gridtwin", "energy", "run", "--"]
    return {"under gridtwin energy run": _wait([*gridtwin, *program]), "alone": _wait(program)}


def _wait(words: list[str]) -> float:
    waits = []
    for _ in range(STARTS):
        start = time.time()
        told = subprocess.run(words, capture_output=True, text=True, check=True)
        waits.append(float(told.stdout) - start)
    return round(statistics.median(waits), 3)


if __name__ == "__main__":
    main()
