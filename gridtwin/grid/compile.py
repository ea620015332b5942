"""From the twin to the plain arrays of the power flow kernel.

The physics is pandapower's own: its internal model (`_pd2ppc`, `makeYbus`) turns
lines, transformers with taps and shifts, switches, shunts, wards and impedances
into admittances; nothing is solved there. Here the admittance matrix is
factorised once and everything is laid out for the kernel. Voltage angles are
always calculated, the default of `pandapower.runpp` since version 3.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandapower.auxiliary import _init_runpp_options, pandapowerNet
from pandapower.pd2ppc import _pd2ppc
from pandapower.pf.ppci_variables import _get_pf_variables_from_ppci
from pandapower.pypower.idx_brch import F_BUS, T_BUS
from pandapower.pypower.idx_bus import BASE_KV, PD, QD
from pandapower.pypower.makeYbus import branch_vectors, makeYbus
from scipy import sparse
from scipy.sparse.linalg import splu

from gridtwin.data.profiles import Profiles
from gridtwin.errors import DataError, Finding, NetworkError, raise_errors
from gridtwin.grid.elements import check_elements
from gridtwin.grid.twin import BRANCH_ENDS, GridTwin
from gridtwin.kernels.power_flow import Ints, NetworkArrays

_COMPILED: WeakKeyDictionary[GridTwin, NetworkArrays] = WeakKeyDictionary()


class _Admittances(NamedTuple):
    """pandapower's internal model, buses in its own internal order."""

    base_mva: float
    y_bus: sparse.csr_matrix
    """(bus, bus) [pu]"""
    base_kv: NDArray[np.float64]
    """(bus) [kV]"""
    slack: Ints
    slack_voltage: NDArray[np.complex128]
    """(slack) [pu]"""
    fixed_mva: NDArray[np.complex128]
    """Constant injection of wards, generation positive. (bus) [MVA]"""
    ends: Ints
    """Bus at both ends of an internal branch. (branch, 2)"""
    y_branch: NDArray[np.complex128]
    """y_ff, y_ft, y_tf, y_tt of an internal branch. (branch, 4) [pu]"""
    bus_of_row: pd.Series
    """pandapower bus -> internal bus, -1 without supply."""
    branches_of: dict[str, Ints]
    """Branch table -> internal branch of each row, -1 without current; three columns for three windings."""


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


def compile_injections(twin: GridTwin, profiles: Profiles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Injected power of every asset, generation positive: the only place where the sign turns.

    A profile is the power that really flows; pandapower's `scaling` is not
    applied again. Dims that `q_mvar` lacks are broadcast.

    Returns
    -------
    p_mw, q_mvar : ndarray, (path * time, asset)
        In the order of `twin.assets`. [MW], [Mvar]

    Raises
    ------
    DataError
        If the assets of profiles and twin differ.
    """
    _check_assets(twin, profiles)
    p_mw, q_mvar = xr.broadcast(profiles["p_mw"], profiles["q_mvar"])
    order = [*(dim for dim in ("path", "time") if dim in p_mw.dims), "asset"]
    names = twin.assets.index.to_numpy(dtype=str)
    injected = [-part.sel(asset=names).transpose(*order).to_numpy().astype(float) for part in (p_mw, q_mvar)]
    return injected[0].reshape(-1, len(names)), injected[1].reshape(-1, len(names))


def place_assets(network: NetworkArrays, asset_bus: Ints) -> NetworkArrays:
    """The network with other assets; constant power of wards stays.

    Parameters
    ----------
    asset_bus : ndarray of int, (asset,)
        Bus of each asset in elimination order, -1 for one that does not take part.
    """
    fixed_mva = np.zeros(len(network.y_start) - 1, dtype=complex)
    fixed_mva[network.load_bus] = network.fixed_p_mw + 1j * network.fixed_q_mvar
    return network._replace(**_asset_arrays(asset_bus, fixed_mva))


def find_bus_of_assets(twin: GridTwin, out_bus: Ints) -> Ints:
    """Bus in elimination order of every asset; -1 out of service or without supply."""
    bus = out_bus[twin.buses.index.get_indexer(pd.Index(twin.assets["bus"]))]
    return np.where(find_assets_in_service(twin), bus, -1).astype(np.int64)


def find_assets_in_service(twin: GridTwin) -> NDArray[np.bool_]:
    """Whether the network row of each asset is in service. (asset,)"""
    rows = zip(twin.assets["element"], twin.assets["index"], strict=True)
    return np.array([bool(twin.net[element].at[index, "in_service"]) for element, index in rows], dtype=bool)


def _check_assets(twin: GridTwin, profiles: Profiles) -> None:
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


def _compile(twin: GridTwin) -> NetworkArrays:
    raise_errors(check_elements(twin.net), NetworkError)
    model = _read_admittances(twin.net)
    position, factors = _factorise(model)
    bus = model.bus_of_row.loc[twin.buses["index"]].to_numpy()
    out_bus = np.where(bus >= 0, position[bus], -1).astype(np.int64)
    fixed_mva = np.empty(len(position), dtype=complex)
    fixed_mva[position] = model.fixed_mva
    return NetworkArrays(
        base_mva=model.base_mva,
        out_bus=out_bus,
        **_split("slack", model.slack_voltage),
        **factors,
        **_matrix_arrays(model, position),
        **_asset_arrays(find_bus_of_assets(twin, out_bus), fixed_mva),
        **_terminal_arrays(twin.net, model, position),
    )


def _split(name: str, values: NDArray[np.complex128]) -> dict[str, Any]:
    """A complex array as the kernel has it: two arrays."""
    return {f"{name}_re": np.ascontiguousarray(values.real), f"{name}_im": np.ascontiguousarray(values.imag)}


def _read_admittances(net: pandapowerNet) -> _Admittances:
    """Let pandapower build its internal model on a copy and read it out, without a solution."""
    net = _copy_without_power(net)
    _init_runpp_options(
        net,
        algorithm="nr",
        calculate_voltage_angles=True,
        init="flat",
        max_iteration="auto",
        tolerance_mva=1e-8,
        trafo_model="t",
        trafo_loading="current",
        enforce_p_lims=False,
        enforce_q_lims=False,
        check_connectivity=True,
        voltage_depend_loads=False,
        lightsim2grid=False,
        numba=False,  # its functions are compiled anew in every process: 3 s for a model that is built once
    )
    empty = np.array([], dtype=np.int64)
    net._pd2ppc_lookups = {name: empty for name in ("bus", "bus_dc", "ext_grid", "gen", "branch", "branch_dc")}
    ppci = _build_internal_model(net)
    base_mva, bus, _, branch, *_, slack, _pv, _pq, _on, _gbus, voltage, _ref_gens = _get_pf_variables_from_ppci(ppci)
    slack = slack.astype(np.int64)
    try:
        y_bus, _, _ = makeYbus(base_mva, bus, branch)
        y_tt, y_ff, y_ft, y_tf = branch_vectors(branch, len(branch))
    except FloatingPointError as error:
        raise NetworkError([_zero_impedance(net)]) from error
    inside = net._pd2ppc_lookups["bus"][net.bus.index.to_numpy()]
    supplied = (inside >= 0) & (inside < len(bus)) & net.bus["in_service"].to_numpy(dtype=bool)
    return _Admittances(
        float(base_mva),
        sparse.csr_matrix(y_bus),
        bus[:, BASE_KV].astype(float),
        slack,
        voltage[slack],
        -(bus[:, PD] + 1j * bus[:, QD]),
        branch[:, [F_BUS, T_BUS]].real.astype(np.int64),
        np.column_stack([y_ff, y_ft, y_tf, y_tt]).astype(complex),
        pd.Series(np.where(supplied, inside, -1), index=net.bus.index),
        _branch_positions(net, ppci["internal"]["branch_is"]),
    )


def _build_internal_model(net: pandapowerNet) -> dict[str, Any]:
    """Solver input of pandapower; its complaints become a `NetworkError`."""
    with warnings.catch_warnings():
        # pandapower 3 says of every network file of version 2 that it lacks newer columns.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"pandapower\.")
        try:
            return _pd2ppc(net)[1]  # type: ignore[no-any-return]
        except (UserWarning, ValueError) as error:  # pandapower raises warnings where it means errors
            raise NetworkError(f"pandapower cannot build its model of the network: {error}") from error


def _copy_without_power(net: pandapowerNet) -> pandapowerNet:
    """A copy whose tables may be written to, assets at zero.

    pandapower writes into the net while it builds its model. Only tables are
    copied: a net may carry years of profiles.
    """
    copy = pandapowerNet(net)
    for name in list(copy):
        if isinstance(copy[name], pd.DataFrame) and not name.startswith("res_"):
            copy[name] = copy[name].copy()
    for element in ("load", "sgen", "storage"):
        copy[element][["p_mw", "q_mvar"]] = 0.0
    copy["user_pf_options"] = {}
    return copy


def _zero_impedance(net: pandapowerNet) -> Finding:
    ohm = (net.line["r_ohm_per_km"].abs() + net.line["x_ohm_per_km"].abs()) * net.line["length_km"]
    names = [f"line {index}" for index in net.line.index[ohm == 0][:5]]
    return Finding(
        "a branch in service has no impedance",
        where=", ".join(names) or "trafo or impedance",
        expected="an impedance above zero",
        do="Join the buses by a closed bus-bus switch instead.",
        severity="error",
        code="GT-N17",
    )


def _branch_positions(net: pandapowerNet, in_service: NDArray[np.bool_]) -> dict[str, Ints]:
    """Internal branch of every table row, -1 where none is in service."""
    position = np.where(in_service, np.cumsum(in_service) - 1, -1).astype(np.int64)
    lookup = net._pd2ppc_lookups["branch"]
    found = {}
    for element in BRANCH_ENDS:
        first, last = lookup.get(element, (0, 0))
        # pandapower lists all hv windings first, then all mv, then all lv windings.
        found[element] = position[first:last].reshape(3 if element == "trafo3w" else 1, -1).T
    return found


def _factorise(model: _Admittances) -> tuple[Ints, dict[str, Any]]:
    """Elimination order, factors and no-load voltages of the buses without a slack.

    Returns
    -------
    position : ndarray of int, (bus,)
        Place in elimination order of pandapower's internal buses, slacks last.
    factors : dict
        The factors as fields of `NetworkArrays`.
    """
    inner = np.setdiff1d(np.arange(len(model.base_kv)), model.slack)
    order, rows, lower, upper = _split_factors(model.y_bus[inner][:, inner].tocsc())
    position = np.empty(len(model.base_kv), dtype=np.int64)
    position[inner] = order
    position[model.slack] = len(inner) + np.arange(len(model.slack))
    pivot = 1 / upper.diagonal()
    factors = {
        **_columns("lower", sparse.tril(lower, -1, "csc")),
        **_columns("upper", sparse.triu(upper, 1, "csc")),
        **_split("pivot", pivot),
        **_split("noload", _noload_voltages(model, inner, order)),
        "row_of_bus": rows[np.argsort(order)].astype(np.int64),
    }
    return position, factors


def _split_factors(matrix: sparse.csc_matrix) -> tuple[Ints, Ints, sparse.csc_matrix, sparse.csc_matrix]:
    """Place of every column and row, and the two triangular factors."""
    if matrix.shape[0] == 0:
        none = np.empty(0, dtype=np.int64)
        return none, none, matrix, matrix
    factors = _lu(matrix)
    return factors.perm_c.astype(np.int64), factors.perm_r.astype(np.int64), factors.L, factors.U


def _lu(matrix: sparse.csc_matrix) -> Any:
    """Sparse LU factors.

    Minimum degree on the symmetric pattern keeps a radial network free of
    fill-in; pivots stay on the diagonal, where the branches make it heavy.
    """
    try:
        return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise NetworkError("the admittance matrix is singular: branches or shunts cancel out at some bus") from error


def _noload_voltages(model: _Admittances, inner: Ints, order: Ints) -> NDArray[np.complex128]:
    """-Y^-1 Y_slack V_slack in elimination order. [pu]"""
    if len(inner) == 0:
        return np.empty(0, dtype=complex)
    currents = -(model.y_bus[inner][:, model.slack] @ model.slack_voltage)
    voltages = _lu(model.y_bus[inner][:, inner].tocsc()).solve(currents)
    return np.asarray(voltages[np.argsort(order)])


def _columns(name: str, matrix: sparse.csc_matrix) -> dict[str, Any]:
    """Compressed columns of a triangular factor."""
    start, row = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    return {f"{name}_start": start, f"{name}_row": row, **_split(name, matrix.data)}


def _matrix_arrays(model: _Admittances, position: Ints) -> dict[str, Any]:
    """Rows of the admittance matrix in elimination order."""
    old = np.argsort(position)
    y = sparse.csr_matrix(model.y_bus[old][:, old])
    return {"y_start": y.indptr.astype(np.int64), "y_column": y.indices.astype(np.int64), **_split("y", y.data)}


def _asset_arrays(asset_bus: Ints, fixed_mva: NDArray[np.complex128]) -> dict[str, Any]:
    """Assets grouped by bus, with the constant injections beside them; both in elimination order."""
    assets = np.flatnonzero(asset_bus >= 0)
    assets = assets[np.argsort(asset_bus[assets], kind="stable")]
    buses = np.union1d(asset_bus[assets], np.flatnonzero(fixed_mva)).astype(np.int64)
    return {
        "load_bus": buses,
        "load_start": np.searchsorted(asset_bus[assets], np.append(buses, len(fixed_mva))).astype(np.int64),
        "load_asset": assets.astype(np.int64),
        "fixed_p_mw": np.ascontiguousarray(fixed_mva[buses].real),
        "fixed_q_mvar": np.ascontiguousarray(fixed_mva[buses].imag),
    }


def _terminal_arrays(net: pandapowerNet, model: _Admittances, position: Ints) -> dict[str, Any]:
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
    return {
        "branch_start": np.append(0, np.cumsum(counts)).astype(np.int64),
        "terminal_bus": position[own_end],
        "terminal_other": position[other_end],
        **_split("terminal_self", y[terminal, 3 * side]),
        **_split("terminal_mutual", y[terminal, 1 + side]),
        "terminal_ka": ka,
        "terminal_percent": 100 * ka / rated_ka,
    }


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
