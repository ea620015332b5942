"""What every engine is given: one network, its injections, and pandapower's internal model of it in per unit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandapower as pp
import pandapower.networks
from numpy.typing import NDArray
from pandapower.auxiliary import pandapowerNet
from scipy import sparse

from gridtwin.data.rules import read_rules
from gridtwin.grid.compile import compile_network, find_assets_in_service
from gridtwin.grid.internal_model import InternalModel, read_internal_model
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin, build_twin

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.int64]

AREA = "1-MVLV-rural-all-2-sw"
STEPS = {
    "1-LV-rural1--2-sw": 8192,
    "1-LV-urban6--2-sw": 4096,
    "1-MV-semiurb--2-sw": 2048,
    AREA: 320,
    "1-HV-mixed--2-no_sw": 1024,
    "case118": 1000,
    "case300": 1000,
    "case1354pegase": 1000,
    "case2869pegase": 1000,
}
"""Subject -> steps of one run."""
RADIAL = tuple(STEPS)[:4]
MESHED = tuple(STEPS)[4:]
FIRST_STEP = 48
"""SimBench's year begins at midnight; from noon on there are loads and photovoltaics. [quarter hours]"""
SEED = 3


class Solution(NamedTuple):
    """What is asked of every engine, in the order of the twin's buses and branches."""

    vm_pu: Floats
    va_degree: Floats
    """(step, bus) [pu], [degree]"""
    loading_percent: Floats
    """(step, branch) [%]"""


class BranchParameters(NamedTuple):
    """Internal branches: at the first end an ideal transformer, behind it impedance and shunts. (branch) [pu]"""

    first: Ints
    second: Ints
    impedance: Complexes
    shunt_first: Complexes
    shunt_second: Complexes
    ratio: Floats
    shift: Floats
    """[rad]"""


@dataclass(frozen=True)
class PeerCase:
    """A network with its injections, generation positive, in the order of `twin.assets`."""

    name: str
    twin: GridTwin
    net: pandapowerNet
    p_mw: Floats
    q_mvar: Floats
    """(step, asset) [MW], [Mvar]"""

    @property
    def steps(self) -> int:
        return len(self.p_mw)

    @cached_property
    def model(self) -> InternalModel:
        return read_internal_model(self.net)

    @cached_property
    def branch(self) -> BranchParameters:
        return _read_branches(self.model)

    @cached_property
    def shunt(self) -> Complexes:
        """Admittance from each internal bus to ground that belongs to no branch. (bus) [pu]"""
        first, second = self.model.ends.T
        y = self.model.y_branch
        count = len(self.model.base_kv)
        of_branches = np.zeros(count, dtype=complex)
        np.add.at(of_branches, first, y[:, 0])
        np.add.at(of_branches, second, y[:, 3])
        shunt = self.model.y_bus.diagonal() - of_branches
        return np.where(np.abs(shunt) < 1e-12 * np.abs(of_branches), 0, shunt)

    @cached_property
    def bus_of_row(self) -> Ints:
        """Internal bus of each bus of the twin, -1 without supply."""
        return self.model.bus_of_row.loc[self.twin.buses["index"]].to_numpy().astype(np.int64)

    @cached_property
    def branch_of_row(self) -> Ints:
        """Internal branch of each branch of the twin, -1 out of service."""
        parts = [self.model.branches_of[element] for element in BRANCH_ENDS]
        if any(part.shape[1] != 1 and len(part) for part in parts):
            raise ValueError(f"{self.name}: the peers' drivers know branches of two ends only")
        return np.concatenate([part[:, 0] for part in parts if part.shape[1] == 1]).astype(np.int64)

    @cached_property
    def percent(self) -> Floats:
        """Loading of each branch of the twin at a current of 1 pu into either end. (branch, 2) [%]"""
        return compile_network(self.twin).branches.percent.reshape(-1, 2)

    @cached_property
    def bus_mva(self) -> Complexes:
        """Injection at each internal bus, generation positive; reactive power of generators is left out. (step, bus)"""
        row_of = {index: bus for index, bus in self.model.bus_of_row.items()}
        names = self.twin.buses["index"].loc[self.twin.assets["bus"]].to_numpy()
        bus = np.array([row_of[name] for name in names], dtype=np.int64)
        used = np.flatnonzero((bus >= 0) & find_assets_in_service(self.twin))
        to_bus = sparse.csr_matrix((np.ones(len(used)), (used, bus[used])), shape=(len(bus), len(self.model.base_kv)))
        return (self.p_mw @ to_bus + 1j * (self.q_mvar @ to_bus)) + self.model.fixed_mva

    @cached_property
    def loaded(self) -> Ints:
        """Internal buses with any injection that are not slacks and hold no voltage."""
        injected = np.flatnonzero((self.bus_mva != 0).any(axis=0))
        return np.setdiff1d(injected, np.append(self.model.slack, self.model.held))


def _read_branches(model: InternalModel) -> BranchParameters:
    """Impedance, shunts and ratio of each branch from its four admittances."""
    y_ff, y_ft, y_tf, y_tt = model.y_branch.T
    turn = np.exp(1j * model.shift)
    ratio = np.sqrt(np.abs(y_tt / y_ff))  # one for lines; of shunts that differ any ratio is exact
    ratio = np.where(np.abs(ratio - 1) < 1e-9, 1.0, ratio)
    series = -y_tf * ratio * turn
    if not np.allclose(-y_ft * ratio / turn, series, rtol=1e-9, atol=0):
        raise ValueError("an impedance that differs by direction has no model in the peers")
    shunts = [_without_dust(y - series, series) for y in (y_ff * ratio**2, y_tt)]
    first, second = model.ends.T
    return BranchParameters(first, second, 1 / series, *shunts, ratio, model.shift)


def _without_dust(shunt: Complexes, series: Complexes) -> Complexes:
    """Parts of the shunt below the rounding of the difference are zero."""
    least = 1e-13 * np.abs(series)
    return np.where(np.abs(shunt.real) < least, 0, shunt.real) + 1j * np.where(
        np.abs(shunt.imag) < least, 0, shunt.imag
    )


# Subjects -----------------------------------------------------------------------------------------


def read_case(name: str, steps: int | None = None) -> PeerCase:
    """A subject by its name, with its own number of steps unless another is asked for."""
    steps = steps or STEPS[name]
    if name == AREA:
        return _read_area(name, steps)
    if name.startswith("case"):
        return _read_table_case(name, steps)
    net, profiles, _ = read_simbench(name)
    twin = build_twin(net, rules=read_rules("lv_planning"))
    some = profiles.isel(time=slice(FIRST_STEP, FIRST_STEP + steps)).sel(asset=twin.assets.index.to_numpy(dtype=str))
    # Selected columns lie side by side in memory; every engine gets rows.
    p_mw, q_mvar = (np.ascontiguousarray(-some[part].to_numpy()) for part in ("p_mw", "q_mvar"))
    return PeerCase(name, twin, net, p_mw, q_mvar)


def _read_area(name: str, steps: int) -> PeerCase:
    """A whole medium-voltage area with its low voltage; gridtwin reads no year of so many assets."""
    import simbench

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = simbench.get_simbench_net(name)
    load, sgen, rows = net.load, net.sgen, slice(FIRST_STEP, FIRST_STEP + steps)
    loads, renewables = net.profiles["load"].iloc[rows], net.profiles["renewables"].iloc[rows]
    load_p = loads[load["profile"] + "_pload"].to_numpy() * load["p_mw"].to_numpy()
    load_q = loads[load["profile"] + "_qload"].to_numpy() * load["q_mvar"].to_numpy()
    sgen_p = renewables[sgen["profile"]].to_numpy() * sgen["p_mw"].to_numpy()
    sgen_q = np.tile(sgen["q_mvar"].to_numpy(), (steps, 1))
    idle = np.zeros((steps, len(net.storage)))
    net.profiles = {}
    twin = build_twin(net, rules=read_rules("lv_planning"))
    return PeerCase(name, twin, net, np.hstack([-load_p, sgen_p, idle]), np.hstack([-load_q, sgen_q, idle]))


def _read_table_case(name: str, steps: int) -> PeerCase:
    """A network of pandapower; every load is drawn between 80 and 120 % of its table, generators stay."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = getattr(pandapower.networks, name)()
    twin = build_twin(net, rules=read_rules("lv_planning"))
    draw = np.random.default_rng(SEED)
    p_mw, q_mvar = np.zeros((2, steps, len(twin.assets)))
    for element, sign in (("load", -1.0), ("sgen", 1.0), ("storage", -1.0), ("gen", 1.0)):
        of = np.flatnonzero((twin.assets["element"] == element).to_numpy())
        rows = net[element].loc[twin.assets["index"].iloc[of]]
        for table, column in ((p_mw, "p_mw"), (q_mvar, "q_mvar")):
            values = rows[column].to_numpy() if column in rows else np.zeros(len(rows))
            factor = draw.uniform(0.8, 1.2, (steps, len(of))) if element == "load" else 1.0
            table[:, of] = sign * values * rows["scaling"].to_numpy() * factor
    return PeerCase(name, twin, net, p_mw, q_mvar)


# Results ------------------------------------------------------------------------------------------


def as_columns(index: Ints) -> Ints | slice:
    """All columns where nothing has to be moved: a slice copies nothing."""
    return slice(None) if np.array_equal(index, np.arange(len(index))) else index


def run_pandapower_step(case: PeerCase, step: int) -> Solution:
    """One step by `pandapower.runpp`; the judge of all engines."""
    net = copy.deepcopy(case.net)
    for element, sign in (("load", -1.0), ("sgen", 1.0), ("storage", -1.0), ("gen", 1.0)):
        of = np.flatnonzero((case.twin.assets["element"] == element).to_numpy())
        index = case.twin.assets["index"].iloc[of].to_numpy()
        net[element].loc[index, "p_mw"] = sign * case.p_mw[step, of]
        if element != "gen":
            net[element].loc[index, "q_mvar"] = sign * case.q_mvar[step, of]
        net[element]["scaling"] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pp.runpp(net, tolerance_mva=1e-9, numba=False)
    bus = net.res_bus.loc[case.twin.buses["index"]]
    loading = [_loading_of(net, element, index) for element, index in _branch_rows(case)]
    return Solution(bus["vm_pu"].to_numpy()[None], bus["va_degree"].to_numpy()[None], np.array(loading)[None])


def _branch_rows(case: PeerCase) -> list[tuple[str, int]]:
    return list(zip(case.twin.branches["element"], case.twin.branches["index"], strict=True))


def _loading_of(net: pandapowerNet, element: str, index: int) -> float:
    table = net[f"res_{element}"]
    return float(table.at[index, "loading_percent"]) if "loading_percent" in table else np.nan


def differences(ours: Solution, theirs: Solution) -> dict[str, float]:
    """Largest differences of all steps, of buses and branches that both sides have."""
    turn = (ours.va_degree - theirs.va_degree + 180.0) % 360.0 - 180.0
    return {
        "vm_pu": float(np.nanmax(np.abs(ours.vm_pu - theirs.vm_pu))),
        "va_degree": float(np.nanmax(np.abs(turn))),
        "loading_percent": float(np.nanmax(np.abs(ours.loading_percent - theirs.loading_percent))),
    }


Engine = Callable[[], Any]
"""A prepared run of one engine over all steps of a case."""
