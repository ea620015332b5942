"""The plan of an elimination, from the shape of a block alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridtwin.kernels.block_elimination import EliminationPlan, Ints


def plan_elimination(start: Ints, column: Ints, port_start: Ints, port_column: Ints) -> EliminationPlan:
    """Order of elimination, fill and every operation for blocks of one shape.

    Parameters
    ----------
    start, column : ndarray
        Compressed rows of A.
    port_start, port_column : ndarray
        Compressed rows of C.

    Notes
    -----
    Rows of least degree go first, as many independent ones at a time as there are (J. W. H. Liu, Modification
    of the minimum-degree algorithm by multiple elimination, ACM Trans. Math. Softw. 11(2), 1985,
    doi:10.1145/214392.214398): the tree of a chain is then as flat as nested dissection would make it.
    """
    rows, ports = len(start) - 1, len(port_start) - 1
    entries_of = _entries_by_column(start, column)
    ports_of = _entries_by_column(port_start, port_column)
    neighbours = _find_neighbours(rows, entries_of)
    order, structure = _eliminate_by_degree(neighbours)
    rank = np.empty(rows, dtype=np.int64)
    rank[order] = np.arange(rows)
    columns = [sorted(int(rank[j]) for j in structure[i]) for i in order.tolist()]
    column_start = rows + np.concatenate([[0], np.cumsum([len(c) for c in columns])]).astype(np.int64)
    place = {(i, i): i for i in range(rows)}
    place |= {(row, i): int(column_start[i]) + n for i, c in enumerate(columns) for n, row in enumerate(c)}
    products = _list_products(entries_of, rank, place)
    updates = [[place[c[q], c[p]] for p in range(len(c)) for q in range(p, len(c))] for c in columns]
    v_rows = _fill_port_rows(rows, entries_of, ports_of, rank, columns)
    v_start = np.concatenate([[0], np.cumsum([len(row) for row in v_rows])]).astype(np.int64)
    v_place = {(i, r): int(v_start[i]) + n for i, row in enumerate(v_rows) for n, r in enumerate(row)}
    v_products = [
        (v_place[int(rank[i]), r], a, b, c)
        for c in entries_of
        for i, a in entries_of[c]
        for r, b in ports_of.get(c, ())
    ]
    v_updates = [
        [(v_place[row, r], v_place[i, r], int(column_start[i]) + n) for n, row in enumerate(c) for r in v_rows[i]]
        for i, c in enumerate(columns)
    ]
    k_products = [
        (r * (2 * ports - r - 1) // 2 + s, a, b, c)
        for c, uses in ports_of.items()
        for r, a in uses
        for s, b in uses
        if r <= s
    ]
    v_flat = [update for part in v_updates for update in part]
    product_place, product_a, product_b, product_column = _columns(products, 4)
    v_product_place, v_product_a, v_product_port, v_product_column = _columns(v_products, 4)
    v_update_target, v_update_source, v_update_entry = _columns(v_flat, 3)
    k_product_place, k_product_a, k_product_b, k_product_column = _columns(k_products, 4)
    return EliminationPlan(
        rows=rows,
        entries=int(column_start[-1]) if rows else 0,
        ports=ports,
        product_place=product_place,
        product_a=product_a,
        product_b=product_b,
        product_column=product_column,
        column_start=column_start,
        column_row=_ints([row for c in columns for row in c]),
        update_start=_starts(updates),
        update_target=_ints([target for part in updates for target in part]),
        order=order,
        v_start=v_start,
        v_column=_ints([r for row in v_rows for r in row]),
        v_product_place=v_product_place,
        v_product_a=v_product_a,
        v_product_port=v_product_port,
        v_product_column=v_product_column,
        v_update_start=_starts(v_updates),
        v_update_target=v_update_target,
        v_update_source=v_update_source,
        v_update_entry=v_update_entry,
        k_product_place=k_product_place,
        k_product_a=k_product_a,
        k_product_b=k_product_b,
        k_product_column=k_product_column,
    )


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _starts(parts: Sequence[Sequence[object]]) -> Ints:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> tuple[Ints, ...]:
    table = np.array(rows, dtype=np.int64).reshape(-1, width)
    return tuple(np.ascontiguousarray(table[:, k]) for k in range(width))


def _entries_by_column(start: Ints, column: Ints) -> dict[int, list[tuple[int, int]]]:
    """(row, entry) of every column."""
    found: dict[int, list[tuple[int, int]]] = {}
    for row in range(len(start) - 1):
        for entry in range(int(start[row]), int(start[row + 1])):
            found.setdefault(int(column[entry]), []).append((row, entry))
    return found


def _find_neighbours(rows: int, entries_of: dict[int, list[tuple[int, int]]]) -> list[set[int]]:
    """Rows that share a column with a row."""
    neighbours: list[set[int]] = [set() for _ in range(rows)]
    for uses in entries_of.values():
        together = {row for row, _ in uses}
        for row in together:
            neighbours[row] |= together
    for row, others in enumerate(neighbours):
        others.discard(row)
    return neighbours


def _eliminate_by_degree(neighbours: list[set[int]]) -> tuple[Ints, list[set[int]]]:
    """Order of elimination, and the rows that each row still meets when it goes."""
    left, order = set(range(len(neighbours))), []
    structure: list[set[int]] = [set() for _ in neighbours]
    while left:
        least = min(len(neighbours[row]) for row in left)
        touched: set[int] = set()
        # rows of about least degree that do not meet each other can go at once; a chain's ends alone would take
        # one round for each of its steps
        for row in sorted((row for row in left if len(neighbours[row]) <= least + 1), key=lambda r: len(neighbours[r])):
            if row in touched:
                continue
            met = neighbours[row]
            touched |= met
            structure[row] = set(met)
            for other in met:
                neighbours[other] |= met
                neighbours[other] -= {other, row}
            order.append(row)
            left.discard(row)
    return _ints(order), structure


def _list_products(
    entries_of: dict[int, list[tuple[int, int]]], rank: Ints, place: dict[tuple[int, int], int]
) -> list[tuple[int, int, int, int]]:
    """Products of A theta A', each pair of rows once."""
    products = []
    for column, uses in entries_of.items():
        for i, a in uses:
            for j, b in uses:
                if rank[i] >= rank[j]:
                    products.append((place[int(rank[i]), int(rank[j])], a, b, column))
    return products


def _fill_port_rows(
    rows: int,
    entries_of: dict[int, list[tuple[int, int]]],
    ports_of: dict[int, list[tuple[int, int]]],
    rank: Ints,
    columns: list[list[int]],
) -> list[list[int]]:
    """Ports that reach each row of V, in the order of elimination."""
    reached: list[set[int]] = [set() for _ in range(rows)]
    for column, uses in entries_of.items():
        for i, _ in uses:
            reached[int(rank[i])] |= {r for r, _ in ports_of.get(column, ())}
    for i, later in enumerate(columns):
        for row in later:
            reached[row] |= reached[i]
    return [sorted(ports) for ports in reached]
