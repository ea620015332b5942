"""Where a bus stands on the map: its own coordinates, or a tree from the strongest bus down."""

from __future__ import annotations

from collections import deque

import numpy as np
import pandas as pd


def place_buses(buses: pd.DataFrame, branches: pd.DataFrame) -> pd.DataFrame:
    """The buses with `x`, `y` everywhere and `place` = "given" or "computed".

    Given coordinates are kept only where all buses have them and they are not
    all the same; a map that is half real would mislead.
    """
    x, y = buses["x"].to_numpy(dtype=float), buses["y"].to_numpy(dtype=float)
    given = bool(np.isfinite(x).all() and np.isfinite(y).all() and len(set(zip(x, y, strict=True))) > len(x) / 2)
    if given:
        return _beside_transformers(buses.assign(place="given"), branches)
    return buses.assign(**tree_layout(buses, branches), place="computed")


def _beside_transformers(buses: pd.DataFrame, branches: pd.DataFrame) -> pd.DataFrame:
    """Upstream buses that hang on transformers alone are drawn right above them.

    Benchmark networks place them at the far end of the upper network, which
    would draw the transformer across the whole map.
    """
    trafos = branches[branches["element"].isin(["trafo", "trafo3w"])]
    others = branches[~branches["element"].isin(["trafo", "trafo3w"])]
    ends = {*others["from_bus"], *others["to_bus"]}
    height = float(buses["y"].max() - buses["y"].min()) or float(buses["x"].max() - buses["x"].min())
    placed = buses.copy()
    for upper, lower in zip(trafos["from_bus"], trafos["to_bus"], strict=True):
        if upper not in ends and lower in ends:
            placed.loc[upper, ["x", "y"]] = [buses["x"][lower], buses["y"][lower] + 0.07 * height]
    return placed


def tree_layout(buses: pd.DataFrame, branches: pd.DataFrame) -> dict[str, np.ndarray]:
    """Coordinates of a breadth-first tree: depth downwards, leaves side by side.

    Parameters
    ----------
    buses : DataFrame
        Index: bus names; column `vn_kv`. The root is the bus of highest voltage
        with most branches.
    branches : DataFrame
        Columns `from_bus`, `to_bus`.

    Returns
    -------
    dict
        `x`, `y`, each (bus,). [-]
    """
    children, order = _breadth_first(buses, branches)
    depth, x, next_leaf = dict.fromkeys(order, 0), {}, 0
    for bus in order:
        for child in children[bus]:
            depth[child] = depth[bus] + 1
    for bus in _leaves_in_order(children, order):
        x[bus] = float(next_leaf)
        next_leaf += 1
    for bus in reversed(order):
        if children[bus]:
            x[bus] = float(np.mean([x[child] for child in children[bus]]))
    return {
        "x": np.array([x[bus] for bus in buses.index]),
        "y": np.array([-float(depth[bus]) for bus in buses.index]),
    }


def _breadth_first(buses: pd.DataFrame, branches: pd.DataFrame) -> tuple[dict[str, list[str]], list[str]]:
    """Children of every bus and the buses in breadth-first order; islands begin trees of their own."""
    neighbours: dict[str, list[str]] = {bus: [] for bus in buses.index}
    for one, other in zip(branches["from_bus"], branches["to_bus"], strict=True):
        neighbours[one].append(other)
        neighbours[other].append(one)
    degree = pd.Series({bus: len(others) for bus, others in neighbours.items()})
    roots = buses.assign(degree=degree).sort_values(["vn_kv", "degree"], ascending=False, kind="stable").index
    children: dict[str, list[str]] = {bus: [] for bus in buses.index}
    order: list[str] = []
    seen: set[str] = set()
    for root in roots:
        queue = deque([root] if root not in seen else [])
        seen.add(root)
        while queue:
            bus = queue.popleft()
            order.append(bus)
            new = [other for other in dict.fromkeys(neighbours[bus]) if other not in seen]
            seen.update(new)
            children[bus] = new
            queue.extend(new)
    return children, order


def _leaves_in_order(children: dict[str, list[str]], order: list[str]) -> list[str]:
    """Leaves from left to right, so that no branch crosses another."""
    held = {child for group in children.values() for child in group}
    stack = [bus for bus in reversed(order) if bus not in held]
    leaves = []
    while stack:
        bus = stack.pop()
        stack.extend(reversed(children[bus]))
        if not children[bus]:
            leaves.append(bus)
    return leaves
