"""pandapower's internal model of a network, read out before anything is solved.

The physics is pandapower's own: `_pd2ppc` and `makeYbus` turn lines, transformers
with taps and shifts, switches, shunts, wards, impedances and DC lines into
admittances, constant injections and held voltages. Voltage angles are always
calculated, the default of `pandapower.runpp` since version 3.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandapower.auxiliary import _add_auxiliary_elements, _init_runpp_options, pandapowerNet
from pandapower.pd2ppc import _pd2ppc
from pandapower.pf.ppci_variables import _get_pf_variables_from_ppci
from pandapower.pypower.idx_brch import F_BUS, SHIFT, T_BUS
from pandapower.pypower.idx_bus import BASE_KV, PD, QD
from pandapower.pypower.idx_gen import GEN_BUS, PG, QMAX, QMIN
from pandapower.pypower.makeYbus import branch_vectors, makeYbus
from scipy import sparse

from gridtwin.errors import Finding, NetworkError
from gridtwin.grid.twin import BRANCH_ENDS
from gridtwin.kernels.network_arrays import Ints

UNLIMITED_MVAR = 1e8
"""Limits of reactive power beyond this are pandapower's way to say that there are none. [Mvar]"""


class InternalModel(NamedTuple):
    """Buses stand in pandapower's own internal order."""

    base_mva: float
    y_bus: sparse.csr_matrix
    """(bus, bus) [pu]"""
    base_kv: NDArray[np.float64]
    """(bus) [kV]"""
    slack: Ints
    slack_voltage: NDArray[np.complex128]
    """(slack) [pu]"""
    fixed_mva: NDArray[np.complex128]
    """Injection of what has no profile: wards, motors, asymmetric loads, DC lines; generation positive. (bus) [MVA]"""
    held: Ints
    """Buses that hold their voltage (PV). (held)"""
    held_vm_pu: NDArray[np.float64]
    """Their set point. (held) [pu]"""
    held_q_mvar: NDArray[np.float64]
    """Sum of the limits of their generators. (held, 2) [Mvar]"""
    ends: Ints
    """Bus at both ends of an internal branch. (branch, 2)"""
    shift: NDArray[np.float64]
    """Angle by which the first bus of an internal branch leads the second without load. (branch) [rad]"""
    y_branch: NDArray[np.complex128]
    """y_ff, y_ft, y_tf, y_tt of an internal branch. (branch, 4) [pu]"""
    bus_of_row: pd.Series
    """pandapower bus -> internal bus, -1 without supply."""
    branches_of: dict[str, Ints]
    """Branch table -> internal branch of each row, -1 without current; three columns for three windings."""


def read_internal_model(net: pandapowerNet) -> InternalModel:
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
    _add_auxiliary_elements(net)  # a DC line is a pair of generators
    empty = np.array([], dtype=np.int64)
    net._pd2ppc_lookups = {name: empty for name in ("bus", "bus_dc", "ext_grid", "gen", "branch", "branch_dc")}
    ppci = _build_internal_model(net)
    base_mva, bus, gen, branch, *_, slack, held, _pq, _on, _gbus, voltage, _ref_gens = _get_pf_variables_from_ppci(ppci)
    slack, held = slack.astype(np.int64), np.sort(held.astype(np.int64))
    try:
        y_bus, _, _ = makeYbus(base_mva, bus, branch)
        y_tt, y_ff, y_ft, y_tf = branch_vectors(branch, len(branch))
    except FloatingPointError as error:
        raise NetworkError([_zero_impedance(net)]) from error
    inside = net._pd2ppc_lookups["bus"][net.bus.index.to_numpy()]
    supplied = (inside >= 0) & (inside < len(bus)) & net.bus["in_service"].to_numpy(dtype=bool)
    return InternalModel(
        float(base_mva),
        sparse.csr_matrix(y_bus),
        bus[:, BASE_KV].astype(float),
        slack,
        voltage[slack],
        _sum_by_bus(gen[:, GEN_BUS], gen[:, PG], len(bus)) - (bus[:, PD] + 1j * bus[:, QD]),
        held,
        np.abs(voltage[held]),
        np.column_stack([_sum_by_bus(gen[:, GEN_BUS], _limits(gen[:, side]), len(bus))[held] for side in (QMIN, QMAX)]),
        branch[:, [F_BUS, T_BUS]].real.astype(np.int64),
        np.deg2rad(branch[:, SHIFT].real),
        np.column_stack([y_ff, y_ft, y_tf, y_tt]).astype(complex),
        pd.Series(np.where(supplied, inside, -1), index=net.bus.index),
        _branch_positions(net, ppci["internal"]["branch_is"]),
    )


def _sum_by_bus(buses: NDArray[np.float64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.bincount(buses.real.astype(np.int64), weights=values.real, minlength=count).astype(float)


def _limits(q_mvar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Limits of reactive power, infinite where there are none. [Mvar]"""
    return np.where(np.abs(q_mvar) < UNLIMITED_MVAR, q_mvar, np.copysign(np.inf, q_mvar))


def _build_internal_model(net: pandapowerNet) -> dict[str, Any]:
    """Solver input of pandapower; its complaints become a `NetworkError`."""
    with warnings.catch_warnings():
        # pandapower 3 says of every network file of version 2 that it lacks newer columns.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"pandapower\.")
        try:
            return _pd2ppc(net)[1]  # type: ignore[no-any-return]
        except (UserWarning, ValueError) as error:  # pandapower raises warnings where it means errors
            raise NetworkError(f"pandapower cannot build its model of the network: {error}") from error
        except FloatingPointError as error:
            raise NetworkError([_impossible_winding(net)]) from error


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
    copy["gen"]["p_mw"] = 0.0
    copy["user_pf_options"] = {}
    return copy


def _impossible_winding(net: pandapowerNet) -> Finding:
    """The reactance is the root of vk² - vkr², so that vkr may not be the larger one."""
    wrong = net.trafo.index[net.trafo["vkr_percent"] > net.trafo["vk_percent"]]
    sides = ("hv", "mv", "lv")
    winding = net.trafo3w
    too_high = [winding[f"vkr_{side}_percent"] > winding[f"vk_{side}_percent"] for side in sides]
    names = [f"trafo {index}" for index in wrong[:5]]
    names += [f"trafo3w {index}" for index in winding.index[np.logical_or.reduce(too_high)][:5]]
    return Finding(
        "a transformer has no short-circuit reactance",
        where=", ".join(names) or "trafo or trafo3w",
        expected="vkr_percent below vk_percent, ratings above 0",
        do="Check whether the two columns are swapped.",
        severity="error",
        code="GT-N18",
    )


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
