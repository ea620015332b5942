"""Validation cases that power-grid-model publishes with its source, as pandapower networks.

A case is a folder of JSON files in SI units: `input.json`, the expected results of
a symmetric calculation, one row per element, and where it has several scenarios the
changes of each (`update_batch.json`). Definitions: power-grid-model's manual,
"Components", https://power-grid-model.readthedocs.io/en/stable/user_manual/components.html.

The two packages draw a transformer differently: power-grid-model as pi with half of
the magnetising admittance at each end, pandapower as T with all of it in the middle.
Either can be written as the other, see `as_t`, so the networks built here are the
cases themselves and no approximations.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandapower as pp

Rows = dict[str, list[dict[str, Any]]]
"""Element name -> rows of one data set."""

F_HZ = 50.0
MVA = 1e6
DEFAULT_SK_VA = 1e10
DEFAULT_RX_RATIO = 0.1
STIFF_SK_VA = 1e18
"""From here on a source has no impedance: 1e-12 pu on 1 MVA is lost against any branch in double precision."""
ITERATIVE = {"newton_raphson", "iterative_current"}
"""Methods of power-grid-model that solve the power flow equations; its linear ones take every load as impedance."""
CONST_POWER, CONST_IMPEDANCE, CONST_CURRENT = 0, 1, 2
IGNORED = ("fault", "sym_voltage_sensor", "asym_voltage_sensor", "sym_power_sensor", "asym_power_sensor")
CONVERTED = (
    *("node", "line", "link", "transformer", "three_winding_transformer", "generic_branch"),
    *("source", "sym_load", "sym_gen", "asym_load", "asym_gen", "shunt", "voltage_regulator"),
)


class Scenario(NamedTuple):
    """One network with the results that are to come out."""

    name: str
    rows: Rows
    expected: Rows


class PgmCase(NamedTuple):
    """A folder of the archive."""

    name: str
    scenarios: list[Scenario]
    rtol: float
    atol: dict[str, float]
    """Pattern of a quantity -> absolute tolerance in SI units; `default` for all others."""
    skip: str
    """Why the case says nothing about a symmetric power flow, or the empty text."""

    def tolerance(self, quantity: str, expected: complex) -> float:
        """Largest difference in SI units from an expected number."""
        fitting = (atol for pattern, atol in self.atol.items() if re.fullmatch(pattern, quantity))
        return next(fitting, self.atol["default"]) + self.rtol * abs(expected)


class PgmNet(NamedTuple):
    """A pandapower network and where the elements of the case are in it."""

    net: pp.pandapowerNet
    places: dict[int, tuple[str, int]]
    """Id in the case -> pandapower table and row; elements without a row are missing."""


# Reading ----------------------------------------------------------------------------------------


def read_cases(archive: Path) -> list[PgmCase]:
    """All power flow cases of the archive, also those to be skipped."""
    with tarfile.open(archive) as tar:
        files = {
            member.name: json.loads(tar.extractfile(member).read())
            for member in tar
            if member.name.startswith("power_flow/") and member.name.endswith(".json")
        }
    names = sorted(name.removesuffix("/params.json") for name in files if name.endswith("/params.json"))
    return [_read_case(name, files) for name in names]


def _read_case(name: str, files: dict[str, Any]) -> PgmCase:
    params = files[f"{name}/params.json"]
    atol = params["atol"] if isinstance(params["atol"], dict) else {"default": params["atol"]}
    scenarios = list(_read_scenarios(name, files))
    skip = _reason_to_skip(params, scenarios)
    return PgmCase(name.removeprefix("power_flow/"), scenarios, params["rtol"], atol, skip)


def _read_scenarios(name: str, files: dict[str, Any]) -> Iterator[Scenario]:
    """The case as it stands and every scenario of its batch, as far as results are given."""
    base, *_ = _read_data(files[f"{name}/input.json"])
    if f"{name}/sym_output.json" in files:
        expected, *_ = _read_data(files[f"{name}/sym_output.json"])
        yield Scenario("base", base, _with_ids(expected, base))
    if f"{name}/sym_output_batch.json" in files:
        updates, results = (_read_data(files[f"{name}/{part}.json"]) for part in ("update_batch", "sym_output_batch"))
        for number, (update, expected) in enumerate(zip(updates, results, strict=True)):
            yield Scenario(f"scenario {number}", _updated(base, update), _with_ids(expected, base))


def _read_data(content: dict[str, Any]) -> list[Rows]:
    """Data sets of a file; a row that is a list takes its names from the head of the file."""
    data = content["data"] if isinstance(content["data"], list) else [content["data"]]
    heads = content.get("attributes", {})
    return [
        {
            element: [row if isinstance(row, dict) else dict(zip(heads[element], row, strict=True)) for row in rows]
            for element, rows in part.items()
        }
        for part in data
    ]


def _with_ids(rows: Rows, base: Rows) -> Rows:
    """Rows without ids stand in the order of the input."""
    return {
        element: [{**row, "id": row.get("id", base[element][k]["id"])} for k, row in enumerate(table)]
        for element, table in rows.items()
        if table
    }


def _updated(base: Rows, update: Rows) -> Rows:
    rows = copy.deepcopy(base)
    for element, changes in _with_ids(update, base).items():
        by_id = {row["id"]: row for row in rows[element]}
        for change in changes:
            if change["id"] in by_id:  # one case plants an id that does not exist; it is skipped later
                by_id[change["id"]].update({name: value for name, value in change.items() if value is not None})
    return rows


def _reason_to_skip(params: dict[str, Any], scenarios: list[Scenario]) -> str:
    present = {element for scenario in scenarios for element, rows in scenario.rows.items() if rows}
    foreign = sorted(present - {*CONVERTED, *IGNORED})
    if foreign:
        return f"{', '.join(foreign)} is not modelled"
    failure = params.get("raises") or params.get("xfail", {})
    if failure and failure["raises"] != "AssertionError":  # which are links: numbers that power-grid-model just misses
        return f"power-grid-model refuses the case itself: {failure['raises']}"
    if not scenarios:
        return "three-phase results only"
    methods = params["calculation_method"]
    methods = {methods} if isinstance(methods, str) else set(methods)
    if not methods & ITERATIVE and not all(_is_linear(scenario.rows) for scenario in scenarios):
        return f"results of a linear method: {', '.join(sorted(methods))}"
    return ""


def _is_linear(rows: Rows) -> bool:
    """Whether a linear method is exact, because every load is an impedance."""
    loads = [row for element in ("sym_load", "sym_gen", "asym_load", "asym_gen") for row in rows.get(element, [])]
    return all(row["type"] == CONST_IMPEDANCE for row in loads)


# Converting -------------------------------------------------------------------------------------


def build_net(rows: Rows) -> PgmNet:
    """The pandapower network of one scenario."""
    net = pp.pandapowerNet(_empty_net())  # which copies it
    built = PgmNet(net, {})
    for row in rows["node"]:
        built.places[row["id"]] = ("bus", pp.create_bus(net, row["u_rated"] / 1e3))
    for element, convert in CONVERTERS.items():
        for row in rows.get(element, []):
            convert(built, row)
    for row in rows.get("voltage_regulator", []):
        _add_voltage_regulator(built, row, rows)
    return built


@functools.cache
def _empty_net() -> pp.pandapowerNet:
    """Creating the hundred tables of a net takes longer than solving it."""
    # Both packages work on 1 MVA here, so that a per-unit impedance is the same number in both.
    return pp.create_empty_network(f_hz=F_HZ, sn_mva=1.0)


def as_t(z_pu: complex, y_pu: complex) -> tuple[complex, complex]:
    """Series impedance and middle admittance of the T that equals a pi.

    Parameters
    ----------
    z_pu, y_pu : complex
        Series impedance and whole shunt admittance of the pi, half of it at each end. [pu]

    Notes
    -----
    Delta-star transformation of z, 2/y, 2/y: arms 2z/(zy + 4), so z_T = 4z/(zy + 4),
    and y_T = y(zy + 4)/4.

    Examples
    --------
    >>> as_t(0.1j, -0.01j)
    (0.09997500624843789j, (-0-0.0100025j))
    """
    stretch = (z_pu * y_pu + 4) / 4
    return z_pu / stretch, y_pu * stretch


def impedance_at_tap(row: dict[str, Any], name: str) -> float:
    """`uk` or `pk` of a transformer, straight between its values at the outer and the nominal tap."""
    tap_pos, tap_nom = _tap_of(row)
    outer, at_outer = row["tap_max"], row.get(f"{name}_max")
    if not min(tap_nom, outer) <= tap_pos <= max(tap_nom, outer):
        outer, at_outer = row["tap_min"], row.get(f"{name}_min")
    if at_outer is None or outer == tap_nom:
        return row[name]
    return row[name] + (at_outer - row[name]) * (tap_pos - tap_nom) / (outer - tap_nom)


def _tap_of(row: dict[str, Any]) -> tuple[int, int]:
    """Tap position within its limits, and the nominal one."""
    tap_nom = row.get("tap_nom") or 0
    tap_pos = row.get("tap_pos")
    low, high = sorted((row["tap_min"], row["tap_max"]))
    return min(max(tap_nom if tap_pos is None else tap_pos, low), high), tap_nom


def _taps(row: dict[str, Any], sides: dict[int, tuple[str, float]]) -> dict[str, Any]:
    """Tap columns of pandapower; a range that runs downwards turns the step."""
    tap_pos, tap_nom = _tap_of(row)
    side, u_rated = sides[row["tap_side"]]
    step = 100 * row["tap_size"] / u_rated
    return {
        "tap_side": side,
        "tap_pos": tap_pos,
        "tap_neutral": tap_nom,
        "tap_min": min(row["tap_min"], row["tap_max"]),
        "tap_max": max(row["tap_min"], row["tap_max"]),
        "tap_step_percent": step if row["tap_max"] > row["tap_min"] else -step,
        "tap_changer_type": "Ratio",
    }


def _bus(built: PgmNet, node: int) -> int:
    return built.places[node][1]


def _open_ends(built: PgmNet, element: str, index: int, kind: str, ends: dict[int, int]) -> None:
    """Open switches of a branch whose ends are given as bus -> status; no status at all is out of service."""
    if not any(ends.values()):
        built.net[element].at[index, "in_service"] = False
        return
    for bus, status in ends.items():
        if not status:
            pp.create_switch(built.net, bus, index, et=kind, closed=False)


def _add_line(built: PgmNet, row: dict[str, Any]) -> None:
    from_bus, to_bus = _bus(built, row["from_node"]), _bus(built, row["to_node"])
    if from_bus == to_bus and row["from_status"] != row["to_status"]:
        to_bus = pp.create_bus(built.net, built.net.bus.at[from_bus, "vn_kv"])  # a switch could not tell the ends apart
    index = pp.create_line_from_parameters(
        built.net,
        from_bus,
        to_bus,
        length_km=1.0,
        r_ohm_per_km=row["r1"],
        x_ohm_per_km=row["x1"],
        c_nf_per_km=1e9 * row["c1"],
        g_us_per_km=1e6 * 2 * math.pi * F_HZ * row["c1"] * row["tan1"],
        max_i_ka=row.get("i_n", math.nan) / 1e3,
    )
    built.places[row["id"]] = ("line", index)
    statuses = [row["from_status"], row["to_status"]]
    ends = dict(zip((from_bus, to_bus), statuses, strict=True)) if from_bus != to_bus else {from_bus: any(statuses)}
    _open_ends(built, "line", index, "l", ends)


def _add_link(built: PgmNet, row: dict[str, Any]) -> None:
    # power-grid-model gives a link 1e6 siemens at 10 kV, a switch has no impedance: see LINK_DROP_PU.
    closed = bool(row["from_status"] and row["to_status"])
    pp.create_switch(built.net, _bus(built, row["from_node"]), _bus(built, row["to_node"]), et="b", closed=closed)


def _add_transformer(built: PgmNet, row: dict[str, Any]) -> None:
    hv_bus, lv_bus = _bus(built, row["from_node"]), _bus(built, row["to_node"])
    z = _impedance(impedance_at_tap(row, "uk"), impedance_at_tap(row, "pk") / row["sn"])
    z, y = as_t(z, _admittance(row["i0"], row["p0"] / row["sn"]))
    index = pp.create_transformer_from_parameters(
        built.net,
        hv_bus,
        lv_bus,
        sn_mva=row["sn"] / MVA,
        vn_hv_kv=row["u1"] / 1e3,
        vn_lv_kv=row["u2"] / 1e3,
        **_percents(z, "vk_percent", "vkr_percent"),
        i0_percent=100 * abs(y),
        pfe_kw=y.real * row["sn"] / 1e3,
        shift_degree=30.0 * row["clock"],
        **_taps(row, {0: ("hv", row["u1"]), 1: ("lv", row["u2"])}),
    )
    built.places[row["id"]] = ("trafo", index)
    _open_ends(built, "trafo", index, "t", {hv_bus: row["from_status"], lv_bus: row["to_status"]})


def _impedance(uk: float, r_pu: float) -> complex:
    """Series impedance on the transformer's own base; a star arm may be negative. [pu]"""
    return complex(r_pu, math.copysign(math.sqrt(max(uk**2 - r_pu**2, 0.0)), uk))


def _admittance(i0: float, g_pu: float) -> complex:
    """Magnetising admittance on the transformer's own base. [pu]"""
    return complex(g_pu, -math.sqrt(max(i0**2 - g_pu**2, 0.0)))


def _percents(z_pu: complex, vk: str, vkr: str) -> dict[str, float]:
    return {vk: 100 * abs(z_pu), vkr: 100 * z_pu.real}


def _add_three_winding_transformer(built: PgmNet, row: dict[str, Any]) -> None:
    buses = [_bus(built, row[f"node_{side}"]) for side in (1, 2, 3)]
    sn = {side: row[f"sn_{side}"] for side in (1, 2, 3)}
    arms = _star_arms(row, sn)
    arms[1], y = as_t(arms[1], _admittance(row["i0"], row["p0"] / sn[1]))
    percents: dict[str, float] = {}
    for name, (a, b) in {"hv": (1, 2), "mv": (2, 3), "lv": (1, 3)}.items():
        # The star was drawn on the base of winding 1; a pair is given on the smaller of its own two.
        z = (arms[a] + arms[b]) * min(sn[a], sn[b]) / sn[1]
        percents |= _percents(z, f"vk_{name}_percent", f"vkr_{name}_percent")
    taps = _taps(row, {0: ("hv", row["u1"]), 1: ("mv", row["u2"]), 2: ("lv", row["u3"])})
    index = pp.create_transformer3w_from_parameters(
        built.net,
        *buses,
        **{f"vn_{name}_kv": row[f"u{side}"] / 1e3 for side, name in enumerate(("hv", "mv", "lv"), 1)},
        **{f"sn_{name}_mva": sn[side] / MVA for side, name in enumerate(("hv", "mv", "lv"), 1)},
        **percents,
        i0_percent=100 * abs(y),
        pfe_kw=y.real * sn[1] / 1e3,
        shift_mv_degree=30.0 * row["clock_12"],
        shift_lv_degree=30.0 * row["clock_13"],
        **taps,
    )
    built.places[row["id"]] = ("trafo3w", index)
    statuses = [row[f"status_{side}"] for side in (1, 2, 3)]
    _open_ends(built, "trafo3w", index, "t3", dict(zip(buses, statuses, strict=True)))


def _star_arms(row: dict[str, Any], sn: dict[int, float]) -> dict[int, complex]:
    """Impedances of the three arms on the base of winding 1. [pu]

    power-grid-model turns uk and pk into a star each for itself, pandapower
    reactances and resistances; so the arms are computed here and the pairs from them.
    """
    pairs = {(1, 2): "12", (1, 3): "13", (2, 3): "23"}
    to_side_1 = {pair: sn[1] / min(sn[pair[0]], sn[pair[1]]) for pair in pairs}
    uk = {pair: impedance_at_tap(row, f"uk_{name}") * to_side_1[pair] for pair, name in pairs.items()}
    pk = {pair: impedance_at_tap(row, f"pk_{name}") * to_side_1[pair] ** 2 for pair, name in pairs.items()}
    arms = {}
    for side in (1, 2, 3):
        uk_arm, pk_arm = (
            sum(0.5 * value if side in pair else -0.5 * value for pair, value in values.items()) for values in (uk, pk)
        )
        arms[side] = _impedance(uk_arm, pk_arm / sn[1])
    return arms


def _add_generic_branch(built: PgmNet, row: dict[str, Any]) -> None:
    if row["g1"] or row["b1"]:
        raise NotImplementedError("a generic branch with charging: pandapower's trafo only magnetises")
    hv_bus, lv_bus = _bus(built, row["from_node"]), _bus(built, row["to_node"])
    vn_hv_kv, vn_lv_kv = (built.net.bus.at[bus, "vn_kv"] for bus in (hv_bus, lv_bus))
    sn_mva = row["sn"] / MVA
    index = pp.create_transformer_from_parameters(
        built.net,
        hv_bus,
        lv_bus,
        sn_mva=sn_mva,
        vn_hv_kv=row.get("k", 1.0) * vn_hv_kv,
        vn_lv_kv=vn_lv_kv,
        **_percents(complex(row["r1"], row["x1"]) * sn_mva / vn_lv_kv**2, "vk_percent", "vkr_percent"),
        i0_percent=0.0,
        pfe_kw=0.0,
        shift_degree=math.degrees(row.get("theta", 0.0)),
    )
    built.places[row["id"]] = ("trafo", index)
    _open_ends(built, "trafo", index, "t", {hv_bus: row["from_status"], lv_bus: row["to_status"]})


def _add_source(built: PgmNet, row: dict[str, Any]) -> None:
    """An ideal source behind its short-circuit impedance; the impedance looks from the node into the source."""
    bus = _bus(built, row["node"])
    sk = row.get("sk") or DEFAULT_SK_VA
    in_service = bool(row["status"])
    vm_pu, va_degree = row["u_ref"], math.degrees(row.get("u_ref_angle") or 0.0)
    if sk >= STIFF_SK_VA:
        index = pp.create_ext_grid(built.net, bus, vm_pu, va_degree, in_service=in_service)
        built.places[row["id"]] = ("ext_grid", index)
        return
    inner = pp.create_bus(built.net, built.net.bus.at[bus, "vn_kv"], in_service=in_service)
    pp.create_ext_grid(built.net, inner, vm_pu, va_degree, in_service=in_service)
    ratio = row.get("rx_ratio", DEFAULT_RX_RATIO)
    x_pu = MVA / sk / math.hypot(ratio, 1.0)
    index = pp.create_impedance(built.net, bus, inner, ratio * x_pu, x_pu, sn_mva=1.0, in_service=in_service)
    built.places[row["id"]] = ("impedance", index)


def _add_appliance(built: PgmNet, row: dict[str, Any], sign: int) -> None:
    """A load or generator; the symmetric calculation takes the sum of three phases."""
    shares = {CONST_POWER: {}, CONST_IMPEDANCE: _shares("z"), CONST_CURRENT: _shares("i")}[row["type"]]
    p, q = (_sum(row.get(name)) for name in ("p_specified", "q_specified"))
    index = pp.create_load(
        built.net,
        _bus(built, row["node"]),
        p_mw=sign * p / MVA,
        q_mvar=sign * q / MVA,
        in_service=bool(row["status"]),
        **shares,
    )
    built.places[row["id"]] = ("load", index)


def _sum(value: float | list[float] | None) -> float:
    return sum(value) if isinstance(value, list) else float(value or 0.0)


def _shares(kind: str) -> dict[str, float]:
    return {f"const_{kind}_p_percent": 100.0, f"const_{kind}_q_percent": 100.0}


def _add_consumer(built: PgmNet, row: dict[str, Any]) -> None:
    _add_appliance(built, row, +1)


def _add_generator(built: PgmNet, row: dict[str, Any]) -> None:
    # A static generator of pandapower is constant power only; a load may depend on voltage.
    _add_appliance(built, row, -1)


def _add_shunt(built: PgmNet, row: dict[str, Any]) -> None:
    bus = _bus(built, row["node"])
    vn_kv = built.net.bus.at[bus, "vn_kv"]
    index = pp.create_shunt(
        built.net, bus, -row["b1"] * vn_kv**2, p_mw=row["g1"] * vn_kv**2, vn_kv=vn_kv, in_service=bool(row["status"])
    )
    built.places[row["id"]] = ("shunt", index)


def _add_voltage_regulator(built: PgmNet, row: dict[str, Any], rows: Rows) -> None:
    """A regulated load or generator is a gen: its active power stays, its reactive power follows the voltage."""
    regulated, sign = next(
        (other, sign)
        for element, sign in {"sym_gen": 1, "asym_gen": 1, "sym_load": -1, "asym_load": -1}.items()
        for other in rows.get(element, [])
        if other["id"] == row["regulated_object"]
    )
    if not row["status"] or not regulated["status"]:
        return
    _, load = built.places.pop(regulated["id"])
    built.net.load.at[load, "in_service"] = False
    index = pp.create_gen(
        built.net,
        _bus(built, regulated["node"]),
        p_mw=sign * _sum(regulated["p_specified"]) / MVA,
        vm_pu=row["u_ref"],
        min_q_mvar=row.get("q_min", -math.inf) / MVA,
        max_q_mvar=row.get("q_max", math.inf) / MVA,
    )
    built.places[regulated["id"]] = ("gen", index)


CONVERTERS = {
    "line": _add_line,
    "link": _add_link,
    "transformer": _add_transformer,
    "three_winding_transformer": _add_three_winding_transformer,
    "generic_branch": _add_generic_branch,
    "source": _add_source,
    "sym_load": _add_consumer,
    "asym_load": _add_consumer,
    "sym_gen": _add_generator,
    "asym_gen": _add_generator,
    "shunt": _add_shunt,
}
