"""From the twin to the plain arrays of the power flow kernels.

pandapower's internal model is laid out in elimination order, linearised at a base
point and factorised there.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandapower.auxiliary import pandapowerNet
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order

from gridtwin.data.profiles import Profiles, ShapedProfiles
from gridtwin.errors import DataError, Finding, NetworkError, raise_errors
from gridtwin.grid.base_point import empty_chord, linearise_at_base
from gridtwin.grid.elements import check_elements
from gridtwin.grid.internal_model import InternalModel, read_internal_model
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin
from gridtwin.kernels.elimination import order_buses
from gridtwin.kernels.network_arrays import (
    EMPTY,
    HELD,
    MIXED,
    POWER,
    Admittances,
    Branches,
    Floats,
    Generators,
    Injections,
    Ints,
    Loads,
    NetworkArrays,
    Pattern,
)

TYPICAL_USE = {"load": 0.4, "sgen": 0.15, "storage": 0.0}
"""Share of its power in the tables at which an asset of a network without generators stands at the base point; with
generators the tables are an operating point. It decides where iterations start, never where they end. [-]"""

_COMPILED: WeakKeyDictionary[GridTwin, NetworkArrays] = WeakKeyDictionary()


def compile_network(twin: GridTwin) -> NetworkArrays:
    """Arrays of the power flow kernel, compiled once per twin.

    Raises
    ------
    NetworkError
        If the network holds elements that are not modelled, or cannot be
        turned into admittances.
    """
    if twin not in _COMPILED:
        _COMPILED[twin] = _compile(twin)
    return _COMPILED[twin]


def compile_injections(twin: GridTwin, profiles: Profiles | ShapedProfiles) -> Injections:
    """Injected power of every asset, generation positive: the only place where the sign turns.

    A profile is the power that really flows; pandapower's `scaling` is not
    applied again. Dims that `q_mvar` lacks are broadcast. Nothing is copied where
    the profiles lie in memory step by step: order and sign are left to the kernel.

    Returns
    -------
    Injections
        Rows are paths times steps; assets in the order of `twin.assets`. [MW], [Mvar]

    Raises
    ------
    DataError
        If the assets of profiles and twin differ.
    """
    _check_assets(twin, profiles)
    place = pd.Index(profiles["asset"].to_numpy()).get_indexer(twin.assets.index)
    if "p_shape" in profiles:
        return _compile_shapes(profiles, place)
    p_mw, q_mvar = xr.broadcast(profiles["p_mw"], profiles["q_mvar"])
    order = [*(dim for dim in ("path", "time") if dim in p_mw.dims), "asset"]
    p_table, q_table = (_table_of(part.transpose(*order).to_numpy()) for part in (p_mw, q_mvar))
    consumed = np.full(len(place), -1.0)
    return Injections(p_table, q_table, place.astype(np.int64), consumed, consumed)


def _compile_shapes(profiles: ShapedProfiles, place: NDArray[np.intp]) -> Injections:
    p_table, q_table = (_table_of(profiles[name].to_numpy()) for name in ("p_shape", "q_shape"))
    p_factor, q_factor = (-profiles[name].to_numpy()[place] for name in ("p_scale_mw", "q_scale_mvar"))
    return Injections(p_table, q_table, profiles["shape_of"].to_numpy()[place], p_factor, q_factor)


def _table_of(values: NDArray[np.float64]) -> Floats:
    """(step, column), contiguous and writable: the kernel is compiled for that kind of array alone."""
    rows = int(np.prod(values.shape[:-1]))
    return np.require(values, dtype=float, requirements=["C", "W"]).reshape(rows, values.shape[-1])


def place_assets(network: NetworkArrays, asset_bus: Ints) -> NetworkArrays:
    """The network with more assets of constant power behind its own.

    Parameters
    ----------
    asset_bus : ndarray of int, (asset,)
        Bus of each asset in elimination order, -1 for one that does not take part.
    """
    loads = network.loads
    fixed_mva = np.zeros(len(loads.kind), dtype=complex)
    loaded = loads.place >= 0
    fixed_mva[loaded] = (loads.fixed_p_mw + 1j * loads.fixed_q_mvar)[loads.place[loaded]]
    own = np.array([loads.current_p, loads.current_q, loads.impedance_p, loads.impedance_q])
    shares = np.pad(own, ((0, 0), (0, len(asset_bus) - own.shape[1])))
    return network._replace(loads=_loads(asset_bus, shares, fixed_mva, network.generators.bus))


def find_bus_of_assets(twin: GridTwin, out_bus: Ints) -> Ints:
    """Bus in elimination order of every asset; -1 out of service or without supply."""
    bus = out_bus[twin.buses.index.get_indexer(pd.Index(twin.assets["bus"]))]
    return np.where(find_assets_in_service(twin), bus, -1).astype(np.int64)


def find_assets_in_service(twin: GridTwin) -> NDArray[np.bool_]:
    """Whether the network row of each asset is in service. (asset,)"""
    rows = zip(twin.assets["element"], twin.assets["index"], strict=True)
    return np.array([bool(twin.net[element].at[index, "in_service"]) for element, index in rows], dtype=bool)


def _check_assets(twin: GridTwin, profiles: Profiles | ShapedProfiles) -> None:
    given, needed = set(profiles["asset"].to_numpy().tolist()), set(twin.assets.index)
    if given != needed or profiles.sizes["asset"] != len(needed):
        raise DataError(
            [
                Finding(
                    "profiles and network name different assets",
                    expected=f"the assets of the twin; missing: {_few(needed - given)}",
                    got=f"unknown: {_few(given - needed)}",
                    do="Give every asset of the network one profile, also idle ones.",
                    severity="error",
                    code="GT-D20",
                )
            ]
        )


def _few(names: set[str], most: int = 5) -> str:
    text = ", ".join(sorted(names)[:most]) or "none"
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


def plain_injections(p_mw: Floats, q_mvar: Floats) -> Injections:
    """Injections from one column per asset, generation positive. (step, asset) [MW], [Mvar]"""
    ones = np.ones(p_mw.shape[1])
    return Injections(_table_of(p_mw), _table_of(q_mvar), np.arange(len(ones)), ones, ones)


def _compile(twin: GridTwin) -> NetworkArrays:
    raise_errors(check_elements(twin.net), NetworkError)
    model = read_internal_model(twin.net)
    position, pattern = _order(model)
    bus = model.bus_of_row.loc[twin.buses["index"]].to_numpy()
    out_bus = np.where(bus >= 0, position[bus], -1).astype(np.int64)
    slack_voltage = model.slack_voltage[np.argsort(position[model.slack])]
    fixed_mva = np.empty(len(position), dtype=complex)
    fixed_mva[position] = model.fixed_mva
    held = np.sort(position[model.held])
    network = NetworkArrays(
        base_mva=model.base_mva,
        slack_re=slack_voltage.real.copy(),
        slack_im=slack_voltage.imag.copy(),
        out_bus=out_bus,
        pattern=pattern,
        chord=empty_chord(pattern),
        admittances=_admittances(model, position),
        loads=_loads(find_bus_of_assets(twin, out_bus), _share_of_assets(twin), fixed_mva, held),
        generators=_generators(model, position),
        branches=_branches(twin.net, model, position),
    )
    return linearise_at_base(network, _angles_of_shifts(model, position), compile_table_powers(twin))


def _order(model: InternalModel) -> tuple[Ints, Pattern]:
    """Place in elimination order of pandapower's internal buses, slacks last, and the pattern of the factors."""
    inner = np.setdiff1d(np.arange(len(model.base_kv)), model.slack)
    order, pattern = order_buses(sparse.csr_matrix(model.y_bus[inner][:, inner]))
    position = np.empty(len(model.base_kv), dtype=np.int64)
    position[inner] = order
    position[model.slack] = len(inner) + np.arange(len(model.slack))
    return position, pattern


def _admittances(model: InternalModel, position: Ints) -> Admittances:
    """Rows of the admittance matrix in elimination order."""
    old = np.argsort(position)
    y = sparse.csr_matrix(model.y_bus[old][:, old])
    y.sort_indices()
    return Admittances(y.indptr.astype(np.int64), y.indices.astype(np.int64), y.data.real.copy(), y.data.imag.copy())


def _generators(model: InternalModel, position: Ints) -> Generators:
    """Buses that hold their voltage, in elimination order; currents of the base point are filled in later."""
    sequence = np.argsort(position[model.held])
    bus = position[model.held][sequence]
    limits = model.held_q_mvar[sequence]
    place = np.full(len(position), -1, dtype=np.int64)
    place[bus] = np.arange(len(bus))
    none = np.zeros(len(bus))
    return Generators(
        bus, place, model.held_vm_pu[sequence] ** 2, limits[:, 0].copy(), limits[:, 1].copy(), none, none.copy()
    )


# Assets -------------------------------------------------------------------------------------------


def _share_of_assets(twin: GridTwin) -> Floats:
    """Shares of constant current (P, Q) and constant impedance (P, Q) in the power of an asset. (4, asset) [-]"""
    shares = np.zeros((4, len(twin.assets)))
    columns = ("const_i_p_percent", "const_i_q_percent", "const_z_p_percent", "const_z_q_percent")
    loads = (twin.assets["element"] == "load").to_numpy()
    rows = twin.net.load.loc[twin.assets["index"][loads]]
    for k, column in enumerate(columns):
        if column in rows:
            shares[k, loads] = rows[column].fillna(0).to_numpy(dtype=float) / 100
    return shares


def _loads(asset_bus: Ints, shares: Floats, fixed_mva: NDArray[np.complex128], held: Ints) -> Loads:
    """Assets grouped by bus, with the constant injections beside them; both in elimination order.

    Every bus that holds its voltage has a row, with or without assets.
    """
    assets = np.flatnonzero(asset_bus >= 0)
    assets = assets[np.argsort(asset_bus[assets], kind="stable")]
    buses = np.union1d(np.union1d(asset_bus[assets], np.flatnonzero(fixed_mva)), held).astype(np.int64)
    mixed_buses = np.unique(asset_bus[assets[shares[:, assets].any(axis=0)]])
    kind = np.full(len(fixed_mva), EMPTY, dtype=np.int64)
    kind[buses] = POWER
    kind[mixed_buses] = MIXED
    kind[held] = HELD
    place = np.full(len(fixed_mva), -1, dtype=np.int64)
    place[buses] = np.arange(len(buses))
    mixed = np.full(len(buses), -1, dtype=np.int64)
    mixed[place[mixed_buses]] = np.arange(len(mixed_buses))
    return Loads(
        kind=kind,
        place=place,
        start=np.searchsorted(asset_bus[assets], np.append(buses, len(fixed_mva))).astype(np.int64),
        asset=assets.astype(np.int64),
        fixed_p_mw=fixed_mva[buses].real.copy(),
        fixed_q_mvar=fixed_mva[buses].imag.copy(),
        mixed=mixed,
        current_p=shares[0],
        current_q=shares[1],
        impedance_p=shares[2],
        impedance_q=shares[3],
    )


# Where the search for the base point begins ------------------------------------------------------


def compile_table_powers(twin: GridTwin) -> Injections:
    """One step: every asset at the typical share of its power in the network's tables, generation positive."""
    powers = np.zeros((2, len(twin.assets)))
    for k, (element, index) in enumerate(zip(twin.assets["element"], twin.assets["index"], strict=True)):
        row = twin.net[element].loc[index]
        share = (1.0 if len(twin.net.gen) else TYPICAL_USE[element]) * row["scaling"]
        share *= 1.0 if element in ("sgen", "gen") else -1.0
        powers[:, k] = share * row["p_mw"], share * (0.0 if element == "gen" else row["q_mvar"])
    powers = np.nan_to_num(powers, posinf=0.0, neginf=0.0)
    return plain_injections(powers[:1], powers[1:])


def _angles_of_shifts(model: InternalModel, position: Ints) -> Floats:
    """Angle of every bus if only slacks and phase shifters turned it, in elimination order. (bus) [rad]"""
    size, ends = len(position), position[model.ends]
    joined = sparse.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (size + 1, size + 1)).tolil()
    slack = position[model.slack]
    joined[size, slack] = 1.0  # a hub behind all slacks, where the walk begins
    order, before = breadth_first_order(joined.tocsr(), size, directed=False)
    turn = {(a, b): -shift for (a, b), shift in zip(ends.tolist(), model.shift, strict=True)}
    turn |= {(b, a): shift for (a, b), shift in zip(ends.tolist(), model.shift, strict=True)}
    angle = np.zeros(size + 1)
    angle[slack] = np.angle(model.slack_voltage)
    for bus, parent in zip(order.tolist(), before[order].tolist(), strict=True):
        if bus < size and parent < size:
            angle[bus] = angle[parent] + turn[parent, bus]
    return angle[:size]


# Branches -----------------------------------------------------------------------------------------


def _branches(net: pandapowerNet, model: InternalModel, position: Ints) -> Branches:
    """Terminals of every labelled branch with their admittances and ratings.

    A branch that is out of service keeps its terminals, with admittance zero.
    """
    parts = [_terminals_of(net, element, model.branches_of[element]) for element in BRANCH_ENDS]
    branch, side, rated_ka = (np.concatenate([part[k].ravel() for part in parts]) for k in range(3))
    counts = np.concatenate([np.full(len(part[0]), part[0].shape[1]) for part in parts])
    # One empty branch at the end is what -1, out of service, leads to.
    ends = np.vstack([model.ends, np.zeros((1, 2), dtype=np.int64)])[branch]
    y = np.vstack([model.y_branch, np.zeros((1, 4), dtype=complex)])[branch]
    terminal = np.arange(len(branch))
    own_end, other_end = ends[terminal, side], ends[terminal, 1 - side]
    ka = model.base_mva / (np.sqrt(3) * model.base_kv[own_end])
    by_power = np.concatenate([_percent_by_power(net[element], element).ravel() for element in BRANCH_ENDS])
    own, mutual = y[terminal, 3 * side], y[terminal, 1 + side]
    return Branches(
        start=np.append(0, np.cumsum(counts)).astype(np.int64),
        bus=position[own_end],
        other=position[other_end],
        self_re=own.real.copy(),
        self_im=own.imag.copy(),
        mutual_re=mutual.real.copy(),
        mutual_im=mutual.imag.copy(),
        ka=ka,
        percent=100 * ka / rated_ka,
        percent_by_power=model.base_mva * by_power,
    )


def _terminals_of(net: pandapowerNet, element: str, branch: Ints) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Internal branch, its side (0 from, 1 to) and the rated current of every terminal of a branch table.

    Returns
    -------
    branch, side, rated_ka : ndarray, (row, terminal)
        Ratings as pandapower's loading has them, NaN for a row without. [kA]
    """
    table = net[element]
    sides = np.array([0, 1, 1] if element == "trafo3w" else [0, 1], dtype=np.int64)
    rated = _rated_ka(table, element).reshape(len(table), len(sides))
    is_rated = np.all(np.isfinite(rated) & (rated > 0), axis=1, keepdims=True)
    rated = np.where(is_rated, rated, np.nan)
    return np.broadcast_to(branch, rated.shape), np.broadcast_to(sides, rated.shape), rated


def _rated_ka(table: pd.DataFrame, element: str) -> NDArray[np.float64]:
    """Current of 100 % at each terminal of a row; trafos by their own rated voltages. (row, terminal) [kA]"""
    if element == "line":
        columns = [table["max_i_ka"] * table["df"] * table["parallel"]] * 2
    elif element == "trafo":
        mva = table["sn_mva"] * table["df"] * table["parallel"]
        columns = [mva / (np.sqrt(3) * table[f"vn_{side}_kv"]) for side in ("hv", "lv")]
    elif element == "trafo3w":
        columns = [table[f"sn_{side}_mva"] / (np.sqrt(3) * table[f"vn_{side}_kv"]) for side in ("hv", "mv", "lv")]
    else:
        columns = [pd.Series(np.nan, index=table.index)] * 2
    return np.column_stack([column.to_numpy(dtype=float) for column in columns])


def _percent_by_power(table: pd.DataFrame, element: str) -> Floats:
    """Loading of a transformer at 1 MVA of apparent power, NaN for other branches. (row, terminal) [%]"""
    if element == "trafo":
        columns = [table["sn_mva"] * table["df"] * table["parallel"]] * 2
    elif element == "trafo3w":
        columns = [table[f"sn_{side}_mva"] for side in ("hv", "mv", "lv")]
    else:
        columns = [pd.Series(np.nan, index=table.index)] * 2
    rated = np.column_stack([column.to_numpy(dtype=float) for column in columns])
    return np.where(rated > 0, 100 / np.where(rated > 0, rated, 1.0), np.nan)
