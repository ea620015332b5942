"""The base point: where the network equations are linearised, and where every step starts.

It is sought once per network by Newton's method. It decides how many iterations a step
takes, never where they end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from gridtwin.errors import NetworkError
from gridtwin.kernels.lanes import LANES_16
from gridtwin.kernels.network_arrays import (
    Admittances,
    Chord,
    Floats,
    Injections,
    NetworkArrays,
    Pattern,
    expand_injections,
)
from gridtwin.kernels.power_flow import linearise


def empty_chord(pattern: Pattern) -> Chord:
    """Room for a chord."""
    n, lower, upper = len(pattern.lower_start) - 1, len(pattern.lower_column), len(pattern.upper_column)
    return Chord(*(np.zeros(size) for size in (n, n, n, n, 4 * n, 4 * lower, 4 * n, 4 * upper)))


def _flat_start(network: NetworkArrays, shift: Floats) -> NDArray[np.complex128]:
    """Voltages without injections; where voltages are held, 1 pu or the set point at the given angles. (n) [pu]"""
    n = len(network.chord.start_re)
    if n == 0:
        return np.empty(0, dtype=complex)
    y = _matrix_of(network.admittances)
    slack = network.slack_re + 1j * network.slack_im
    generators = network.generators
    if not len(generators.bus):
        return np.asarray(_lu(y[:n, :n].tocsc()).solve(-(y[:n, n:] @ slack)))
    magnitude = np.ones(n)
    magnitude[generators.bus] = np.sqrt(generators.vm_squared)
    return np.asarray(magnitude * np.exp(1j * shift[:n]))


def _list_starts(
    network: NetworkArrays, flat: NDArray[np.complex128], powers: Injections
) -> Iterator[NDArray[np.complex128]]:
    """Voltages from which the base point is sought, the likeliest first. (n) [pu]

    Without held voltages those without injections. With them the angles of a DC power
    flow: of reactances alone, as resistive networks turn too far by the true slope of
    the active power and lead to another solution; then by the true slope, which is
    better with series capacitors; then those of the phase shifters.
    """
    if len(network.generators.bus):
        n = len(flat)
        y = _matrix_of(network.admittances)
        voltage = np.append(flat, network.slack_re + 1j * network.slack_im)
        current = y @ voltage
        lacking = _active_power(network, powers)[:n] - (voltage * current.conj()).real[:n]
        slope = (1j * sparse.diags(voltage) @ (sparse.diags(current) - y @ sparse.diags(voltage)).conj()).real
        for matrix in (_reactance_matrix(y, voltage), slope):
            with contextlib.suppress(RuntimeError):  # singular where reactances cancel out: then the next one
                yield flat * np.exp(1j * splu(sparse.csc_matrix(matrix)[:n, :n]).solve(lacking))
    yield flat


def _reactance_matrix(y: sparse.csr_matrix, voltage: NDArray[np.complex128]) -> sparse.csr_matrix:
    """Active power by angle if every branch were a reactance. (bus, bus) [pu/rad]"""
    rows, columns = y.nonzero()
    across = rows != columns
    rows, columns = rows[across], columns[across]
    between = np.asarray(y[rows, columns]).ravel()
    series = -between * np.exp(1j * np.angle(voltage[columns] * voltage[rows].conj()))
    reactance = (1 / series).imag
    carried = np.where(reactance != 0, 1 / np.where(reactance != 0, reactance, 1.0), 0.0)
    matrix = sparse.coo_matrix((-carried, (rows, columns)), shape=y.shape).tocsr()
    return matrix - sparse.diags(np.asarray(matrix.sum(axis=1)).ravel())


def _active_power(network: NetworkArrays, powers: Injections) -> Floats:
    """Active power that the first row of `powers` injects at every bus, in elimination order. [pu]"""
    loads = network.loads
    asset_mw = expand_injections(powers)[0][0]
    row_of = np.repeat(np.arange(len(loads.fixed_p_mw)), np.diff(loads.start))
    rows = loads.fixed_p_mw + np.bincount(row_of, weights=asset_mw[loads.asset], minlength=len(loads.fixed_p_mw))
    return np.where(loads.place >= 0, np.append(rows, 0.0)[loads.place], 0.0) / network.base_mva


def _lu(matrix: sparse.csc_matrix) -> Any:
    try:
        return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise NetworkError("the admittance matrix is singular: branches or shunts cancel out at some bus") from error


def linearise_at_base(network: NetworkArrays, shift: Floats, powers: Injections) -> NetworkArrays:
    """The network with its chord at the base point.

    Parameters
    ----------
    network : NetworkArrays
        Its chord is not used.
    shift : ndarray, (bus,)
        Angles that slacks and phase shifters alone give, in elimination order. [rad]
    powers : Injections
        One step, the base point; where it has no solution, half of it and so on, at
        last the network without assets.
    """
    flat = _flat_start(network, shift)
    for share in (1.0, 0.5, 0.25, 0.0):
        factor = np.full(len(powers.p_factor), share)
        some = powers._replace(p_factor=factor, q_factor=factor)
        for start in _list_starts(network, flat, some):
            found = _linearise_at(network, start, some, solve=True)
            if found is not None:
                return found
    nothing = np.zeros(len(powers.p_factor))
    kept = _linearise_at(network, flat, powers._replace(p_factor=nothing, q_factor=nothing), solve=False)
    assert kept is not None  # without a search for a solution there is always a result
    return kept


def _linearise_at(
    network: NetworkArrays, start: NDArray[np.complex128], powers: Injections, *, solve: bool
) -> NetworkArrays | None:
    """The network with its chord at the given powers, None where they have no solution."""
    chord = empty_chord(network.pattern)
    begin = chord._replace(start_re=start.real.copy(), start_im=start.imag.copy())
    if not linearise(network._replace(chord=begin), powers, 1e-9, solve, chord, LANES_16):
        return None
    return _with_constants(network._replace(chord=chord))


def _with_constants(network: NetworkArrays) -> NetworkArrays:
    """Currents of the slacks into every bus, and currents of the base point at held voltages."""
    n = len(network.chord.start_re)
    y = _matrix_of(network.admittances)
    slack = network.slack_re + 1j * network.slack_im
    voltage = np.append(network.chord.start_re + 1j * network.chord.start_im, slack)
    constant = -(y[:n, n:] @ slack)
    base = (y @ voltage)[network.generators.bus]
    chord = network.chord._replace(constant_re=constant.real.copy(), constant_im=constant.imag.copy())
    generators = network.generators._replace(base_re=base.real.copy(), base_im=base.imag.copy())
    return network._replace(chord=chord, generators=generators)


def _matrix_of(y: Admittances) -> sparse.csr_matrix:
    size = len(y.start) - 1
    return sparse.csr_matrix((y.re + 1j * y.im, y.column, y.start), shape=(size, size))
