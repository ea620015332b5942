"""A linear program of families: many blocks of one shape, joined by few coupling rows.

A family is one kind of device: every member has the same columns and rows, and only the
numbers differ. Numbers stand as [element][member], so that one pass over the shape
serves all members at once. What a member shows to the outside are its ports, linear
forms of its columns: its power on each step. Members of a group (a bus) share the
weights with which their ports enter the coupling rows.

    min  sum over families f, members d of  cost_fd x_fd
    s.t. row_lower_fd <= A_fd x_fd <= row_upper_fd
         lower_fd     <=      x_fd <= upper_fd
         lower_k <= sum over f, groups g, ports r of W_f[k, g, r] (sum over d in g of ports_fd[r]) <= upper_k
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class SparseShape:
    """Where a block has entries: compressed rows, the same for every member.

    Parameters
    ----------
    start : ndarray of int64, (row + 1,)
        First entry of each row.
    column : ndarray of int64, (entry,)
        Column of each entry.
    """

    start: np.ndarray
    column: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.start) - 1


@dataclass(frozen=True)
class Family:
    """Members of one shape as numbers, the member innermost.

    Parameters
    ----------
    name : str
        Kind of device.
    members : tuple of str
        Names, one per member.
    group : ndarray of int64, (member,)
        Group of each member, 0 to `groups` - 1.
    groups : int
        Number of groups; a group may be empty.
    shape, value : SparseShape and ndarray, (entry, member)
        Rows of a member.
    row_lower, row_upper : ndarray, (row, member)
        Bounds of the rows, infinite where there is none.
    cost, lower, upper : ndarray, (column, member)
        Costs and bounds of the columns.
    port_shape, port_value : SparseShape and ndarray, (port entry, member)
        Ports as linear forms of a member's columns.
    port_constant : ndarray, (port, member)
        What a port shows beside its linear form.
    """

    name: str
    members: tuple[str, ...]
    group: np.ndarray
    groups: int
    shape: SparseShape
    value: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    port_shape: SparseShape
    port_value: np.ndarray
    port_constant: np.ndarray


@dataclass(frozen=True)
class BlockProgram:
    """Families and the rows that join them.

    Parameters
    ----------
    families : tuple of Family
        The blocks.
    weights : tuple of csr_array, (coupling row, group * port)
        Weight of each family's group ports in each coupling row; port r of group g is column g * ports + r.
    lower, upper : ndarray, (coupling row,)
        Bounds of the coupling rows, before the ports' constants are taken off.
    constant : float
        Part of the objective without a column.
    """

    families: tuple[Family, ...]
    weights: tuple[sparse.csr_array, ...]
    lower: np.ndarray
    upper: np.ndarray
    constant: float = 0.0

    def coupling_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the coupling rows for the columns alone. (coupling row,) each"""
        pairs = zip(self.families, self.weights, strict=True)
        shown = sum((weight @ group_sums(f, f.port_constant) for f, weight in pairs), np.zeros(len(self.lower)))
        return self.lower - shown, self.upper - shown


def group_sums(family: Family, ports: np.ndarray) -> np.ndarray:
    """Sum of the members' ports in each group, (port, member) to (group * port,)."""
    sums = np.zeros((family.groups, len(ports)))
    np.add.at(sums, family.group, ports.T)
    return sums.ravel()


def port_values(family: Family, x: np.ndarray) -> np.ndarray:
    """Ports of every member at its columns, (column, member) to (port, member)."""
    shown = family.port_constant.copy()
    row = np.repeat(np.arange(family.port_shape.rows), np.diff(family.port_shape.start))
    np.add.at(shown, row, family.port_value * x[family.port_shape.column])
    return shown


def split_columns(families: Sequence[Family], x: np.ndarray) -> list[np.ndarray]:
    """Columns of the whole program as one (column, member) array per family."""
    sizes = [family.cost.size for family in families]
    parts = np.split(x, np.cumsum(sizes)[:-1])
    return [part.reshape(family.cost.shape) for family, part in zip(families, parts, strict=True)]
