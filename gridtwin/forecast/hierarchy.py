"""Which asset counts into which feeder and station: the sums that forecasts have to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding

ROWS_AT_ONCE = 256
"""Steps that are summed at a time: their transpose stays in the cache."""


@dataclass(frozen=True)
class Hierarchy:
    """A tree, or several, over assets.

    Parameters
    ----------
    assets : tuple of str
        Leaves, in the order of the series' asset dimension.
    sums : tuple of str
        Upper nodes, every one before its children.
    parent : dict of str to str
        Of every node but the roots.
    """

    assets: tuple[str, ...]
    sums: tuple[str, ...]
    parent: dict[str, str]

    @property
    def roots(self) -> tuple[str, ...]:
        """Upper nodes that count into no other."""
        return tuple(name for name in self.sums if name not in self.parent)

    def ancestors(self, node: str) -> list[str]:
        """Upper nodes that a node counts into, the nearest first."""
        found: list[str] = []
        while node in self.parent:
            node = self.parent[node]
            found.append(node)
        return found

    @cached_property
    def matrix(self) -> Any:
        """1 where an asset counts into an upper node, sparse (sum, asset)."""
        from scipy.sparse import csr_matrix

        row = {name: number for number, name in enumerate(self.sums)}
        pairs = [(row[node], column) for column, asset in enumerate(self.assets) for node in self.ancestors(asset)]
        rows, columns = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
        ones = np.ones(len(pairs), dtype=np.float32)
        return csr_matrix((ones, (rows, columns)), shape=(len(self.sums), len(self.assets)))

    def add_up(self, values: np.ndarray) -> np.ndarray:
        """Values of the assets (..., asset) summed to the upper nodes (..., sum).

        Equal inputs give equal sums to the bit, whatever else is in the array.
        """
        flat = values.reshape(-1, values.shape[-1])
        total = np.empty((len(flat), len(self.sums)), dtype=values.dtype)
        matrix = self.matrix.astype(values.dtype)
        for first in range(0, len(flat), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            total[rows] = (matrix @ np.ascontiguousarray(flat[rows].T)).T
        return total.reshape(*values.shape[:-1], len(self.sums))


def build_hierarchy(table: pd.DataFrame, assets: Sequence[str]) -> Hierarchy:
    """Hierarchy from a parent map.

    Parameters
    ----------
    table : DataFrame
        Columns `child` and `parent`: asset to feeder, feeder to station. A root needs no row, or
        one without a parent; several roots are kept apart.
    assets : sequence of str
        Names of the series, in their order.

    Returns
    -------
    Hierarchy

    Raises
    ------
    DataError
        If a column lacks, a child has two parents, nodes count into themselves, an asset is not in
        the table or has children, or a leaf of the table is no asset.
    """
    lacking = [name for name in ("child", "parent") if name not in table]
    if lacking:
        raise DataError([_finding("the parent map lacks columns", lacking, expected="child, parent")])
    edges = table.dropna(subset=["child", "parent"]).drop_duplicates(["child", "parent"])
    children, parents = edges["child"].astype(str), edges["parent"].astype(str)
    parent = dict(zip(children, parents, strict=True))
    inner = set(parents)
    singles = set(table.loc[table["parent"].isna(), "child"].dropna().astype(str))
    nodes = set(parent) | inner | singles
    checks = [
        ("a child has two parents", sorted(children[children.duplicated()])),
        ("names of assets are not unique", [name for name, times in Counter(assets).items() if times > 1]),
        ("nodes count into themselves", _find_cycle(parent)),
        ("assets are not in the parent map", [name for name in assets if name not in nodes]),
        ("assets have children", [name for name in assets if name in inner]),
        ("leaves of the parent map have no series", sorted(nodes - inner - set(assets))),
    ]
    findings = [_finding(what, names) for what, names in checks if names]
    if findings:
        raise DataError(findings)
    return Hierarchy(tuple(assets), tuple(sorted(inner, key=lambda name: (_depth(name, parent), name))), parent)


def _finding(what: str, names: Sequence[str], expected: str = "") -> Finding:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Finding(what, where="parent map", expected=expected, got=shown, severity="error", code="GT-F10")


def _find_cycle(parent: dict[str, str]) -> list[str]:
    """Nodes of the first cycle, in order; empty if there is none."""
    done: set[str] = set()
    for start in parent:
        path: dict[str, None] = {}
        node = start
        while node in parent and node not in done:
            if node in path:
                names = list(path)
                return names[names.index(node) :]
            path[node] = None
            node = parent[node]
        done |= set(path)
    return []


def _depth(node: str, parent: dict[str, str]) -> int:
    """Number of ancestors."""
    depth = 0
    while node in parent:
        node = parent[node]
        depth += 1
    return depth
