"""Random networks of everything that a balanced power flow of pandapower models.

A network is a function of its seed and of the features that may occur in it. Each
feature draws from a generator of its own, so that switching one off leaves the
draws of the others as they are: a failing network shrinks by dropping features,
see `narrow_features`. Loadings are moderate; nearly every network has a solution.
"""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandapower as pp
import pandas as pd

Row = dict[str, Any]
Table = dict[int, Row]
"""Label -> columns that are not at their default."""


class Level(NamedTuple):
    """Typical values of a voltage level."""

    line: Row
    """A standard type of pandapower per km."""
    length_km: tuple[float, float]
    p_mw: float
    """Largest power of one load. [MW]"""
    z_switch_ohm: float


def _line_type(r_ohm: float, x_ohm: float, c_nf: float, max_i_ka: float) -> Row:
    return {"r_ohm_per_km": r_ohm, "x_ohm_per_km": x_ohm, "c_nf_per_km": c_nf, "max_i_ka": max_i_ka}


LEVELS = {
    110.0: Level(_line_type(0.1571, 0.4, 8.8, 0.535), (3.0, 15.0), 4.0, 0.5),  # 184-AL1/30-ST1A 110.0
    20.0: Level(_line_type(0.122, 0.112, 304.0, 0.421), (0.5, 3.0), 0.5, 0.1),  # NA2XS2Y 1x240 RM/25 12/20 kV
    0.4: Level(_line_type(0.208, 0.08, 261.0, 0.27), (0.02, 0.12), 0.012, 0.002),  # NAYY 4x150 SE
}
"""Nominal voltage [kV] -> what stands there."""
CHAINS = [(110.0,), (20.0,), (0.4,), (110.0, 20.0), (20.0, 0.4), (110.0, 20.0, 0.4)]
TRAFO_MVA = {110.0: [25.0, 40.0, 63.0], 20.0: [0.4, 0.63, 1.0]}
"""Nominal voltage of the hv side [kV] -> ratings."""
SINGLE_TERMINAL = ["load", "sgen", "storage", "motor", "ward", "xward", "asymmetric_load", "asymmetric_sgen"]


class Draft(NamedTuple):
    """A network that is being drawn."""

    tables: dict[str, Table]
    levels: dict[float, list[int]]
    """Nominal voltage [kV] -> buses that everything may be connected to, the supplied one first."""
    held: set[int]
    """Buses whose voltage is given. Two different voltages at one node have no solution."""
    joined: dict[int, int]
    """Bus -> the bus with which a closed switch makes it one node."""
    vm_pu: float
    """Voltage of the upstream connection; others stay near it so that no large reactive power circulates."""
    va_degree: dict[float, float]
    """Nominal voltage [kV] -> angle without load."""

    def add(self, table: str, **columns: Any) -> int:
        """A row and its label; labels have gaps, so that a position cannot pass for one."""
        rows = self.tables.setdefault(table, {})
        label = 2 * len(rows) + 1
        rows[label] = columns
        return label

    def add_bus(self, vn_kv: float) -> int:
        """A bus that only the feature itself connects to."""
        label = max(self.tables["bus"]) + 3
        self.tables["bus"][label] = {"vn_kv": vn_kv}
        return label

    def rows(self, table: str) -> Table:
        """Rows that have been drawn, by label."""
        return self.tables.get(table, {})

    def vn_kv(self, bus: int) -> float:
        return self.tables["bus"][bus]["vn_kv"]

    def p_mw(self, bus: int) -> float:
        """Largest power of one load at the bus."""
        return LEVELS[self.vn_kv(bus)].p_mw

    def node(self, bus: int) -> int:
        """One bus for all that closed switches join."""
        while bus in self.joined:
            bus = self.joined[bus]
        return bus


Feature = Callable[[Draft, np.random.Generator], None]
FEATURES: dict[str, Feature] = {}


def feature(function: Feature) -> Feature:
    """Make a function a feature; features are applied in the order of this file."""
    FEATURES[function.__name__.removeprefix("add_")] = function
    return function


def build_random_net(seed: int, features: frozenset[str] | None = None) -> pp.pandapowerNet:
    """The network of a seed.

    Parameters
    ----------
    features : frozenset of str, optional
        Names of `ALL_FEATURES` that may occur; each of them occurs in about half of
        the networks. Default: all.
    """
    features = ALL_FEATURES if features is None else features
    if not features <= ALL_FEATURES:
        raise ValueError(f"unknown features: {', '.join(sorted(features - ALL_FEATURES))}")
    draft = _draw_frame(_generator(seed, "frame"))
    for name, add in FEATURES.items():
        rng = _generator(seed, name)
        if rng.random() < 0.5 and name in features:
            add(draft, rng)
    return _build_tables(draft, sn_mva=[1.0, 10.0, 100.0][seed % 3])


def enforces_q_limits(seed: int, features: frozenset[str] | None = None) -> bool:
    """Whether the case asks for gens to stay within their reactive limits: every second one that may have some."""
    return seed % 2 == 1 and (features is None or "q_limits" in features)


def narrow_features(seed: int, fails: Callable[[pp.pandapowerNet], bool]) -> frozenset[str]:
    """Features without any of which the network would no longer fail."""
    needed = ALL_FEATURES
    for name in FEATURES:
        if fails(build_random_net(seed, needed - {name})):
            needed -= {name}
    return needed


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


# Tables -----------------------------------------------------------------------------------------


def _build_tables(draft: Draft, sn_mva: float) -> pp.pandapowerNet:
    """The drawn rows with pandapower's defaults; its own `create` functions take 6 ms a row."""
    prototype = _prototype()
    net = pp.pandapowerNet(_empty_net())  # which copies it
    net.sn_mva = sn_mva
    for name, rows in draft.tables.items():
        defaults = prototype[name].iloc[0].to_dict()
        table = pd.DataFrame([{**defaults, **row} for row in rows.values()], index=list(rows))
        net[name] = table.astype(prototype[name].dtypes.to_dict())
    return net


@functools.cache
def _empty_net() -> pp.pandapowerNet:
    return pp.create_empty_network()


@functools.cache
def _prototype() -> pp.pandapowerNet:
    """One row of every table, as pandapower's `create` functions fill it."""
    net = pp.create_empty_network()
    a, b, c = (pp.create_bus(net, 20.0) for _ in range(3))
    pp.create_ext_grid(net, a)
    pp.create_line_from_parameters(net, a, b, 1.0, 1.0, 1.0, 1.0, 1.0)
    pp.create_transformer_from_parameters(net, a, b, *[1.0] * 7)
    pp.create_transformer3w_from_parameters(net, a, b, c, *[1.0] * 14)
    pp.create_impedance(net, a, b, 1.0, 1.0, 1.0, gt_pu=0.0, bt_pu=0.0)
    pp.create_switch(net, a, b, et="b")
    pp.create_load(net, a, 1.0)
    pp.create_sgen(net, a, 1.0)
    pp.create_storage(net, a, 1.0, 1.0)
    pp.create_motor(net, a, 1.0, 1.0)
    pp.create_ward(net, a, 1.0, 1.0, 1.0, 1.0)
    pp.create_xward(net, a, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    pp.create_asymmetric_load(net, a)
    pp.create_asymmetric_sgen(net, a)
    pp.create_shunt(net, a, 1.0, step=1, max_step=5)
    pp.create_gen(net, a, 1.0, min_q_mvar=-1.0, max_q_mvar=1.0)
    net.gen.loc[:, ["min_q_mvar", "max_q_mvar"]] = np.nan
    pp.create_dcline(net, a, b, 1.0, 0.0, 0.0, 1.0, 1.0)
    return net


# Frame ------------------------------------------------------------------------------------------


def _draw_frame(rng: np.random.Generator) -> Draft:
    """Trees of lines on one to three levels, trafos between them, one upstream connection, loads and feed-in."""
    chain = CHAINS[rng.integers(len(CHAINS))]
    count = int(rng.integers(max(3, 2 * len(chain)), 41))
    labels = np.array_split(rng.permutation(2 * count)[:count], len(chain))
    levels = {vn_kv: part.tolist() for vn_kv, part in zip(chain, labels, strict=True)}
    buses = {bus: {"vn_kv": vn_kv} for vn_kv, part in levels.items() for bus in part}
    top, va_degree = chain[0], float(rng.choice([0.0, rng.uniform(-60, 60)]))
    draft = Draft({"bus": buses}, levels, set(), {}, rng.uniform(0.98, 1.04), {top: va_degree})
    for vn_kv in chain:
        for k, bus in enumerate(levels[vn_kv][1:]):
            _draw_line(draft, rng, levels[vn_kv][rng.integers(k + 1)], bus)
        _draw_loads(draft, rng, levels[vn_kv])
    for upper, lower in pairwise(chain):
        shift = float(rng.choice([0.0, 150.0, 330.0]))
        draft.va_degree[lower] = draft.va_degree[upper] - shift
        _draw_trafo(draft, rng, _pick(rng, levels[upper]), levels[lower][0], shift)
    draft.add("ext_grid", bus=levels[top][0], vm_pu=draft.vm_pu, va_degree=va_degree)
    draft.held.add(levels[top][0])
    return draft


def _draw_line(draft: Draft, rng: np.random.Generator, a: int, b: int) -> int:
    level = LEVELS[draft.vn_kv(a)]
    return draft.add("line", from_bus=a, to_bus=b, length_km=rng.uniform(*level.length_km), **level.line)


def _draw_loads(draft: Draft, rng: np.random.Generator, buses: Iterable[int]) -> None:
    for bus in _some(rng, buses, 0.7):
        p_mw = draft.p_mw(bus) * rng.random()
        draft.add("load", bus=bus, p_mw=p_mw, q_mvar=p_mw * rng.uniform(-0.2, 0.5), scaling=rng.uniform(0.5, 1.2))
        if rng.random() < 0.3:
            p_mw = draft.p_mw(bus) * rng.random()
            draft.add("sgen", bus=bus, p_mw=p_mw, q_mvar=0.1 * p_mw, scaling=rng.uniform(0.0, 1.2))


def _draw_trafo(draft: Draft, rng: np.random.Generator, hv_bus: int, lv_bus: int, shift: float) -> None:
    vn_hv_kv, vn_lv_kv = draft.vn_kv(hv_bus), draft.vn_kv(lv_bus)
    large = vn_hv_kv > 50
    sn_mva = float(rng.choice(TRAFO_MVA[vn_hv_kv]))
    i0_percent = rng.uniform(0.03, 0.1) if large else rng.uniform(0.2, 0.6)
    draft.add(
        "trafo",
        hv_bus=hv_bus,
        lv_bus=lv_bus,
        sn_mva=sn_mva,
        vn_hv_kv=vn_hv_kv * rng.uniform(0.98, 1.03),
        vn_lv_kv=vn_lv_kv * rng.uniform(0.99, 1.05),
        vk_percent=rng.uniform(10, 16) if large else rng.uniform(4, 7),
        vkr_percent=rng.uniform(0.3, 0.6) if large else rng.uniform(1.0, 1.6),
        pfe_kw=1e3 * sn_mva * i0_percent / 100 * rng.uniform(0.2, 0.9),
        i0_percent=i0_percent,
        shift_degree=shift,
    )


def _pick(rng: np.random.Generator, values: Iterable[Any]) -> Any:
    values = list(values)
    return values[rng.integers(len(values))]


def _some(rng: np.random.Generator, values: Iterable[Any], share: float) -> list[Any]:
    values = list(values)
    return [value for value, number in zip(values, rng.random(len(values)), strict=True) if number < share]


def _any_buses(draft: Draft, rng: np.random.Generator, most: int = 3) -> Iterator[int]:
    """A few buses of any level, some of them perhaps more than once."""
    for _ in range(rng.integers(1, most + 1)):
        yield _pick(rng, draft.levels[_pick(rng, draft.levels)])


def _any_pairs(draft: Draft, rng: np.random.Generator, most: int = 4) -> Iterator[tuple[int, int]]:
    """A few pairs of different buses of the same level."""
    for _ in range(rng.integers(1, most + 1)):
        buses = draft.levels[_pick(rng, draft.levels)]
        first = _pick(rng, buses)
        yield first, _pick(rng, [bus for bus in buses if bus != first])


def _new_bus_with_load(draft: Draft, vn_kv: float) -> int:
    bus = draft.add_bus(vn_kv)
    draft.add("load", bus=bus, p_mw=0.5 * LEVELS[vn_kv].p_mw, q_mvar=0.1 * LEVELS[vn_kv].p_mw)
    return bus


def _free_bus(draft: Draft, rng: np.random.Generator, vn_kv: float | None = None) -> int | None:
    """A bus, perhaps of a given level, whose voltage is not yet given, which it is from now on."""
    held = {draft.node(bus) for bus in draft.held}
    levels = draft.levels.values() if vn_kv is None else [draft.levels[vn_kv]]
    free = [bus for buses in levels for bus in buses if draft.node(bus) not in held]
    if not free:
        return None
    bus = _pick(rng, free)
    draft.held.add(bus)
    return bus


def _near(draft: Draft, rng: np.random.Generator) -> float:
    """A voltage close to that of the upstream connection. [pu]"""
    return draft.vm_pu + rng.uniform(-0.005, 0.005)


# Branches ---------------------------------------------------------------------------------------


@feature
def add_meshes(draft: Draft, rng: np.random.Generator) -> None:
    for a, b in _any_pairs(draft, rng):
        _draw_line(draft, rng, a, b)


@feature
def add_free_lines(draft: Draft, rng: np.random.Generator) -> None:
    for line in _some(rng, draft.rows("line").values(), 0.5):
        for column in ("r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "max_i_ka"):
            line[column] *= rng.uniform(0.5, 2.0)
        line["g_us_per_km"] = rng.uniform(0.0, 5.0)
        line["parallel"] = int(rng.integers(1, 4))
        line["df"] = rng.uniform(0.6, 1.0)


@feature
def add_parallel_trafos(draft: Draft, rng: np.random.Generator) -> None:
    for trafo in list(draft.rows("trafo").values()):
        if rng.random() < 0.5:
            _draw_trafo(draft, rng, trafo["hv_bus"], trafo["lv_bus"], trafo["shift_degree"])
        trafo.update(parallel=int(rng.integers(1, 4)), df=rng.uniform(0.6, 1.0))


@feature
def add_leakage_ratios(draft: Draft, rng: np.random.Generator) -> None:
    for trafo in draft.rows("trafo").values():
        for part in ("resistance", "reactance"):
            trafo[f"leakage_{part}_ratio_hv"] = rng.uniform(0.2, 0.8)


@feature
def add_ratio_taps(draft: Draft, rng: np.random.Generator) -> None:
    # With an angle of its own a ratio tap turns the voltage as well.
    _draw_taps(draft, rng, "Ratio", rng.uniform(0.5, 2.0), float(rng.choice([0.0, 30.0, -60.0])))


@feature
def add_ideal_taps(draft: Draft, rng: np.random.Generator) -> None:
    percent, degree = _pick(rng, [(0.0, rng.uniform(0.3, 1.0)), (rng.uniform(0.5, 1.5), 0.0)])
    _draw_taps(draft, rng, "Ideal", percent, degree)


@feature
def add_symmetrical_taps(draft: Draft, rng: np.random.Generator) -> None:
    _draw_taps(draft, rng, "Symmetrical", rng.uniform(0.5, 1.5), rng.uniform(60.0, 120.0))


def _draw_taps(draft: Draft, rng: np.random.Generator, kind: str, percent: float, degree: float) -> None:
    for trafo in _some(rng, draft.rows("trafo").values(), 0.6):
        neutral = int(rng.integers(-1, 2))
        trafo.update(
            tap_side=_pick(rng, ["hv", "lv"]),
            tap_neutral=neutral,
            tap_pos=neutral + int(rng.integers(-3, 4)),
            tap_min=-9,
            tap_max=9,
            tap_step_percent=percent,
            tap_step_degree=degree,
            tap_changer_type=kind,
        )


@feature
def add_trafo3w(draft: Draft, rng: np.random.Generator) -> None:
    """One below each of the higher levels, with two buses of its own behind it."""
    below = {110.0: (20.0, 10.0), 20.0: (0.69, 0.4)}
    for hv_kv in [vn_kv for vn_kv in draft.levels if vn_kv in below]:
        voltages = dict(zip(("hv", "mv", "lv"), (hv_kv, *below[hv_kv]), strict=True))
        size = {110.0: 1.0, 20.0: 0.02}[hv_kv]
        buses = [_pick(rng, draft.levels[hv_kv]), *(draft.add_bus(vn_kv) for vn_kv in below[hv_kv])]
        for bus in buses[1:]:
            p_mw = 10 * size * rng.uniform(0.2, 1.0)
            draft.add("load", bus=bus, p_mw=p_mw, q_mvar=0.3 * p_mw)
        columns: Row = {
            "pfe_kw": 30.0 * size,
            "i0_percent": rng.uniform(0.1, 0.3),
            "shift_mv_degree": _pick(rng, [0.0, 30.0, 330.0]),
            "shift_lv_degree": _pick(rng, [0.0, 150.0]),
            "tap_side": _pick(rng, voltages),
            "tap_neutral": 0,
            "tap_pos": int(rng.integers(-3, 4)),
            "tap_step_percent": rng.uniform(0.5, 1.5),
            "tap_step_degree": _pick(rng, [0.0, 20.0]),
            "tap_changer_type": "Ratio",
            "tap_at_star_point": bool(rng.random() < 0.5),
        }
        for bus, (side, vn_kv) in zip(buses, voltages.items(), strict=True):
            columns[f"{side}_bus"] = bus
            columns[f"vn_{side}_kv"] = vn_kv * rng.uniform(0.98, 1.04)
            columns[f"sn_{side}_mva"] = size * (rng.uniform(40, 63) if side == "hv" else rng.uniform(20, 40))
            columns[f"vk_{side}_percent"] = rng.uniform(9, 12)
            columns[f"vkr_{side}_percent"] = rng.uniform(0.3, 0.6)
        draft.add("trafo3w", **columns)


@feature
def add_impedances(draft: Draft, rng: np.random.Generator) -> None:
    """Between two buses of a level, or to a bus of its own; different in both directions."""
    for a, b in _any_pairs(draft, rng):
        if rng.random() < 0.5:
            b = _new_bus_with_load(draft, draft.vn_kv(a))
        columns = {f"r{way}_pu": rng.uniform(0.01, 0.05) for way in ("ft", "tf")}
        columns |= {f"x{way}_pu": rng.uniform(0.03, 0.1) for way in ("ft", "tf")}
        columns |= {name: rng.uniform(0.0, 0.01) for name in ("gf_pu", "bf_pu", "gt_pu", "bt_pu")}
        draft.add("impedance", from_bus=a, to_bus=b, sn_mva=10 * draft.p_mw(a), **columns)


@feature
def add_bus_switches(draft: Draft, rng: np.random.Generator) -> None:
    """Between two buses of a level, or to a bus of its own, with and without impedance, open and closed."""
    for a, b in _any_pairs(draft, rng):
        if draft.node(b) in {draft.node(bus) for bus in draft.held} or rng.random() < 0.5:
            b = _new_bus_with_load(draft, draft.vn_kv(a))
        z_ohm = _pick(rng, [0.0, LEVELS[draft.vn_kv(a)].z_switch_ohm * rng.uniform(0.2, 1.0)])
        closed = bool(rng.random() < 0.7)
        draft.add("switch", bus=a, element=b, et="b", closed=closed, z_ohm=z_ohm)
        if closed and z_ohm == 0 and draft.node(a) != draft.node(b):
            draft.joined[draft.node(b)] = draft.node(a)


# Appliances -------------------------------------------------------------------------------------


@feature
def add_shunts(draft: Draft, rng: np.random.Generator) -> None:
    for bus in _any_buses(draft, rng):
        draft.add(
            "shunt",
            bus=bus,
            q_mvar=draft.p_mw(bus) * rng.uniform(-0.3, 0.3),
            p_mw=draft.p_mw(bus) * rng.uniform(0.0, 0.05),
            vn_kv=draft.vn_kv(bus) * rng.uniform(0.95, 1.05),
            step=int(rng.integers(0, 4)),
        )


@feature
def add_wards(draft: Draft, rng: np.random.Generator) -> None:
    for bus in _any_buses(draft, rng):
        draft.add("ward", bus=bus, **_ward_powers(draft, rng, bus))


@feature
def add_xwards(draft: Draft, rng: np.random.Generator) -> None:
    for bus in _any_buses(draft, rng):
        z_base_ohm = draft.vn_kv(bus) ** 2 / draft.p_mw(bus)
        r_ohm, x_ohm = z_base_ohm * rng.uniform(0.01, 0.05), z_base_ohm * rng.uniform(0.05, 0.2)
        powers = _ward_powers(draft, rng, bus)
        draft.add("xward", bus=bus, r_ohm=r_ohm, x_ohm=x_ohm, vm_pu=_near(draft, rng), **powers)


def _ward_powers(draft: Draft, rng: np.random.Generator, bus: int) -> Row:
    lowest = {"ps_mw": 0.0, "qs_mvar": -0.2, "pz_mw": 0.0, "qz_mvar": -0.2}
    return {name: draft.p_mw(bus) * rng.uniform(low, 0.5) for name, low in lowest.items()}


@feature
def add_motors(draft: Draft, rng: np.random.Generator) -> None:
    for bus in _any_buses(draft, rng):
        draft.add(
            "motor",
            bus=bus,
            pn_mech_mw=draft.p_mw(bus) * rng.uniform(0.1, 0.8),
            cos_phi=rng.uniform(0.75, 0.98),
            efficiency_percent=rng.uniform(80, 97),
            loading_percent=rng.uniform(30, 100),
            scaling=rng.uniform(0.5, 1.0),
        )


@feature
def add_asymmetric(draft: Draft, rng: np.random.Generator) -> None:
    for table in ("asymmetric_load", "asymmetric_sgen"):
        for bus in _any_buses(draft, rng):
            p_mw = draft.p_mw(bus) / 3
            powers = {f"p_{phase}_mw": p_mw * rng.random() for phase in "abc"}
            powers |= {f"q_{phase}_mvar": p_mw * rng.uniform(-0.2, 0.4) for phase in "abc"}
            draft.add(table, bus=bus, scaling=rng.uniform(0.3, 1.0), type=_pick(rng, ["wye", "delta"]), **powers)


@feature
def add_storages(draft: Draft, rng: np.random.Generator) -> None:
    for bus in _any_buses(draft, rng):
        p_mw = draft.p_mw(bus) * rng.uniform(-1, 1)
        draft.add("storage", bus=bus, p_mw=p_mw, q_mvar=0.2 * p_mw, scaling=rng.uniform(0.3, 1.0))


# Given voltages ---------------------------------------------------------------------------------


@feature
def add_ext_grids(draft: Draft, rng: np.random.Generator) -> None:
    """More upstream connections, also below a trafo, of slightly different voltage and angle."""
    for _ in range(rng.integers(1, 3)):
        bus = _free_bus(draft, rng)
        if bus is not None:
            va_degree = draft.va_degree[draft.vn_kv(bus)] + rng.uniform(-0.2, 0.2)
            draft.add("ext_grid", bus=bus, vm_pu=_near(draft, rng), va_degree=va_degree)


@feature
def add_ext_grid_twice(draft: Draft, rng: np.random.Generator) -> None:
    draft.add("ext_grid", **draft.rows("ext_grid")[1])


@feature
def add_gens(draft: Draft, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 5)):
        bus = _free_bus(draft, rng)
        if bus is not None:
            vm_pu = _near(draft, rng)
            for _ in range(rng.integers(1, 3)):  # two at one bus share its reactive power
                p_mw = draft.p_mw(bus) * rng.random()
                draft.add("gen", bus=bus, p_mw=p_mw, vm_pu=vm_pu, scaling=rng.uniform(0.5, 1.0))


@feature
def add_gen_at_ext_grid(draft: Draft, rng: np.random.Generator) -> None:
    top = draft.rows("ext_grid")[1]
    draft.add("gen", bus=top["bus"], p_mw=draft.p_mw(top["bus"]) * rng.random(), vm_pu=top["vm_pu"])


@feature
def add_slack_gens(draft: Draft, rng: np.random.Generator) -> None:
    """One that supplies an island, and one beside the upstream connection if that has a slack gen's angle, 0."""
    vn_kv = _pick(rng, draft.levels)
    a = draft.add_bus(vn_kv)
    b = _new_bus_with_load(draft, vn_kv)
    _draw_line(draft, rng, a, b)
    draft.add("gen", bus=a, p_mw=0.0, vm_pu=rng.uniform(0.98, 1.03), slack=True)
    top = next(iter(draft.levels))
    bus = _free_bus(draft, rng, top) if draft.va_degree[top] == 0 else None
    if bus is not None:
        draft.add("gen", bus=bus, p_mw=0.0, vm_pu=_near(draft, rng), slack=True)


@feature
def add_dclines(draft: Draft, rng: np.random.Generator) -> None:
    """Power in either direction, losses in proportion and constant."""
    for _ in range(rng.integers(1, 3)):
        a, b = _free_bus(draft, rng), _free_bus(draft, rng)
        if a is not None and b is not None:
            p_mw = min(draft.p_mw(a), draft.p_mw(b)) * rng.uniform(-1, 1)
            losses = {"loss_percent": rng.uniform(0, 3), "loss_mw": 0.01 * abs(p_mw)}
            voltages = {"vm_from_pu": _near(draft, rng), "vm_to_pu": _near(draft, rng)}
            draft.add("dcline", from_bus=a, to_bus=b, p_mw=p_mw, **losses, **voltages)


@feature
def add_q_limits(draft: Draft, rng: np.random.Generator) -> None:
    """Some narrow, so that they are reached, some wide, some on one side only."""
    for gen in draft.rows("gen").values():
        width = draft.p_mw(gen["bus"]) * _pick(rng, [0.1, 1.0, 10.0])
        low, high = _pick(rng, [(-width, width), (-width, np.nan), (np.nan, width)])
        gen.update(min_q_mvar=low, max_q_mvar=high)


# States -----------------------------------------------------------------------------------------


@feature
def add_line_switches(draft: Draft, rng: np.random.Generator) -> None:
    _draw_switches(draft, rng, "line", "l", ["from_bus", "to_bus"])


@feature
def add_trafo_switches(draft: Draft, rng: np.random.Generator) -> None:
    _draw_switches(draft, rng, "trafo", "t", ["hv_bus", "lv_bus"])


@feature
def add_trafo3w_switches(draft: Draft, rng: np.random.Generator) -> None:
    _draw_switches(draft, rng, "trafo3w", "t3", ["hv_bus", "mv_bus", "lv_bus"])


def _draw_switches(draft: Draft, rng: np.random.Generator, table: str, kind: str, ends: list[str]) -> None:
    """At some ends of about half of the branches, one in six of them open."""
    for label, row in _some(rng, draft.rows(table).items(), 0.5):
        for end in _some(rng, ends, 0.6):
            draft.add("switch", bus=row[end], element=label, et=kind, closed=bool(rng.random() < 5 / 6))


@feature
def add_out_of_service(draft: Draft, rng: np.random.Generator) -> None:
    for table in [*SINGLE_TERMINAL, "line", "trafo", "trafo3w", "impedance", "shunt", "gen", "dcline"]:
        for row in _some(rng, draft.rows(table).values(), 0.1):
            row["in_service"] = False
    for row in _some(rng, list(draft.rows("ext_grid").values())[1:], 0.3):
        row["in_service"] = False


@feature
def add_buses_out_of_service(draft: Draft, rng: np.random.Generator) -> None:
    """Whatever is connected to them stays in the tables as it is."""
    top = draft.rows("ext_grid")[1]["bus"]
    for label, row in _some(rng, draft.rows("bus").items(), 0.06):
        row["in_service"] = label == top


@feature
def add_islands(draft: Draft, rng: np.random.Generator) -> None:
    """Buses without any supply, one alone and two with a line, with loads and perhaps a gen."""
    vn_kv = _pick(rng, draft.levels)
    _new_bus_with_load(draft, vn_kv)
    a, b = _new_bus_with_load(draft, vn_kv), draft.add_bus(vn_kv)
    _draw_line(draft, rng, a, b)
    if draft.rows("gen"):
        draft.add("gen", bus=b, p_mw=0.1 * LEVELS[vn_kv].p_mw, vm_pu=1.0)


@feature
def add_zip_loads(draft: Draft, rng: np.random.Generator) -> None:
    """Voltage dependence of loads that are alone at their node.

    pandapower gives the mean share of the loads of a bus to all power of that node, also
    to that of generators, even of gens at a reactive limit. Only where a load is alone is
    that the same as its own share of its own power.
    """
    ends = [(table, "bus") for table in [*SINGLE_TERMINAL, "gen"]] + [("dcline", "from_bus"), ("dcline", "to_bus")]
    count = Counter(draft.node(row[end]) for table, end in ends for row in draft.rows(table).values())
    for load in _some(rng, draft.rows("load").values(), 0.6):
        if count[draft.node(load["bus"])] == 1:
            for power in "pq":
                z, i, _ = 100 * rng.dirichlet([1, 1, 1])
                load.update({f"const_z_{power}_percent": z, f"const_i_{power}_percent": i})


ALL_FEATURES = frozenset(FEATURES)
