"""`gridtwin energy run`: run a command, and tell what energy it took."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridtwin.ai_energy.counters import POWERCAP, find_domains
from gridtwin.ai_energy.nvml import find_boards, load_nvml
from gridtwin.ai_energy.processor_time import PROC
from gridtwin.ai_energy.recorder import Recorder, record_command

if TYPE_CHECKING:
    from gridtwin.ai_energy.run_statement import RunStatement


def run_command(
    command: Sequence[str],
    *,
    job: str | None = None,
    every_seconds: float | None = None,
    boards: Sequence[int] | None = None,
    powercap: Path = POWERCAP,
    library: Any = None,
    proc: Path = PROC,
) -> RunStatement:
    """Run a command to its end and state its energy, that of its descendants included.

    Parameters
    ----------
    command : sequence of str
        Program and its arguments.
    job : str, optional
        Name in the statement; by default the program's.
    every_seconds : float, optional
        Keep the energy of periods of this length. [s]
    boards : sequence of int, optional
        Accelerator boards that the command uses; by default all.
    powercap : Path
        Tree of the package counters.
    library : object, optional
        With the names of `pynvml`; by default that module, if it is there.
    proc : Path
        The process table.

    Raises
    ------
    OSError
        If the command cannot be started.
    """
    library = load_nvml() if library is None else library
    recorder = Recorder(find_domains(powercap), find_boards(library, boards), library, every_seconds, proc)
    start = dt.datetime.now(dt.UTC)
    code = record_command(command, recorder)
    end = dt.datetime.now(dt.UTC)
    # quantities load a library of 0.2 s: only now, when the command does not wait for it
    from gridtwin.ai_energy.run_statement import state_run

    return state_run(recorder, job=job or Path(command[0]).name, command=tuple(command), exit_code=code,
                     start=start, end=end)  # fmt: skip
