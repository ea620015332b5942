"""What is measured: one registry of networks and sizes for all benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from gridtwin.data.profiles import Profiles
from gridtwin.data.rules import read_rules
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import GridTwin, build_twin


@dataclass(frozen=True)
class Subject:
    """A SimBench network with its year of profiles, cut to a number of steps."""

    name: str
    code: str
    steps: int

    def build(self) -> tuple[GridTwin, Profiles]:
        twin, profiles = _read(self.code)
        return twin, profiles.isel(time=slice(0, self.steps))


@cache
def _read(code: str) -> tuple[GridTwin, Profiles]:
    net, profiles, _ = read_simbench(code)
    twin = build_twin(net, rules=read_rules("lv_planning"))
    return twin, profiles.sel(asset=twin.assets.index.to_numpy(dtype=str))


YEAR = 35_136
SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("LV 15 buses, day", "1-LV-rural1--2-sw", 96),
        Subject("LV 44 buses, year", "1-LV-semiurb4--2-sw", YEAR),
    )
}
