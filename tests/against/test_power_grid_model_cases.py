"""The symmetric power flow cases that power-grid-model publishes for its own validation.

Their results come from power-grid-model, Vision, pandapower and hand calculations, see
the notes of each case. Compared are voltages and angles of all nodes, power and losses of
all branches, currents and loadings where a case lists them, and sources, to the tolerance
that the case itself states. Two definitions differ and are compared as gridtwin has them:

- Loading of a transformer: apparent power there, current here; it is computed from the
  currents of the case.
- Angles count from the first node of a case, as in power-grid-model's own comparison.

A voltage regulator is a gen with reactive limits. Three-phase results, short circuits and
state estimations are not compared. The data folder is found through GRIDTWIN_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from gridtwin.errors import NetworkError
from tests.against.compare import Results, rated_currents, solve_by_gridtwin, solve_by_pandapower
from tests.against.pgm_case import PgmCase, PgmNet, Scenario, build_net, read_cases

DATA = Path(os.environ.get("GRIDTWIN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
ARCHIVE = DATA / "power_grid_model_cases" / "cases.tar.gz"

LINK_DROP_PU = 1e-8
"""A link is a closed switch here and 1e6 siemens there, at 10 kV 7e-9 pu per MVA."""
ROUNDED = 1e-8
"""What a flow may differ beyond the tolerance of its case, as a share of the largest power of the scenario, and a
current as a share of itself: some cases expect 0 W to within 1e-5 W, which is less than a solver stops at."""
TWO_ENDS = {"from": "from_node", "to": "to_node"}
ENDS = {
    **dict.fromkeys(["line", "transformer", "generic_branch"], TWO_ENDS),
    "three_winding_transformer": {"1": "node_1", "2": "node_2", "3": "node_3"},
}
"""Elements of a case that are branches of the twin -> their ends and the columns of the nodes there."""
ZERO_IS_A_ROOT = {
    name: "Newton on power mismatches slides to u = 0, where a load of impedances or none takes no power"
    for name in (
        "dummy-test-batch",
        "dummy-test-batch-incomplete-input",
        "dummy-test-batch-newton",
        "newton-raphson-initial-value",
    )
}
"""Cases that pandapower does not solve."""


class Pair(NamedTuple):
    """One number of a case and the same from the solver."""

    where: str
    quantity: str
    """Name in power-grid-model, which decides the tolerance."""
    expected: complex
    got: complex
    extra: float = 0.0
    """Tolerance beyond that of the case."""


def list_cases() -> list[Any]:
    """Every power flow case as a parameter; one that is skipped where there is no data."""
    if not ARCHIVE.exists():
        reason = "no power-grid-model cases: set GRIDTWIN_DATA to the folder of power_grid_model_cases"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="no data")]
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.skip(reason=case.skip)] if case.skip else [])
        for case in read_cases(ARCHIVE)
    ]


CASES = list_cases()


@pytest.mark.parametrize("case", CASES)
def test_power_flow(case: PgmCase) -> None:
    for scenario in case.scenarios:
        built = build_net(scenario.rows)
        limited = bool(len(built.net.gen))
        if not built.net.ext_grid["in_service"].any():
            # Nothing is energised in power-grid-model; a twin without supply is refused.
            with pytest.raises(NetworkError, match="upstream"):
                solve_by_gridtwin(built.net)
            continue
        assert_as_published(case, scenario, built, solve_by_gridtwin(built.net, enforce_q_limits=limited))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_conversion_by_pandapower(case: PgmCase) -> None:
    # If this fails, the network is not that of the case, and the test above says nothing about the engine.
    if case.name in ZERO_IS_A_ROOT:
        pytest.skip(f"not solved by pandapower: {ZERO_IS_A_ROOT[case.name]}")
    for scenario in case.scenarios:
        built = build_net(scenario.rows)
        if built.net.ext_grid["in_service"].any():
            assert_as_published(case, scenario, built, solve_case_by_pandapower(built.net))


def solve_case_by_pandapower(net: pp.pandapowerNet) -> Results:
    # 1e-8 MVA is the smallest mismatch behind a source of 1e6 MVA; some of the cases have 10 V and some VA.
    tolerance_mva = 1e-8 * min(1.0, (net.bus["vn_kv"].max() / 10) ** 2)
    init = "dc" if (net.line["x_ohm_per_km"] != 0).all() else "flat"
    limited = bool(len(net.gen))
    return solve_by_pandapower(net, enforce_q_limits=limited, init=init, tolerance_mva=tolerance_mva)


def assert_as_published(case: PgmCase, scenario: Scenario, built: PgmNet, results: Results) -> None:
    """All numbers of a scenario, the failures together."""
    failed = [
        f"{scenario.name}, {pair.where}: {pair.quantity} {pair.got:.10g} instead of {pair.expected:.10g}"
        for pair in pair_results(scenario, built, results)
        if not abs(pair.got - pair.expected) <= pair.extra + case.tolerance(pair.quantity, pair.expected)
    ]
    assert not failed, "\n".join(failed)


def pair_results(scenario: Scenario, built: PgmNet, results: Results) -> Iterator[Pair]:
    """Everything that the case lists and the power flow computes."""
    yield from _pair_nodes(scenario, built, results)
    rounded = ROUNDED * _largest_power(scenario)
    for element in ENDS:
        inputs = {row["id"]: row for row in scenario.rows.get(element, [])}
        for row in scenario.expected.get(element, []):
            where, mine = f"{element} {row['id']}", results.branches.loc[built.places[row["id"]]]
            yield from _pair_powers(where, row, mine, [*ENDS[element]], rounded)
            yield from _pair_currents(where, row, mine, _ends_of(scenario, built, element, inputs[row["id"]], row))
    yield from _pair_sources(scenario, built, results, rounded)


def _pair_nodes(scenario: Scenario, built: PgmNet, results: Results) -> Iterator[Pair]:
    drop = LINK_DROP_PU if scenario.rows.get("link") else 0.0
    first = None
    for row in scenario.expected.get("node", []):
        where, bus = f"node {row['id']}", built.places[row["id"]][1]
        u_rated = 1e3 * built.net.bus.at[bus, "vn_kv"]
        vm_pu, va = results.buses.at[bus, "vm_pu"], np.deg2rad(results.buses.at[bus, "va_degree"])
        u_pu = row.get("u_pu", row.get("u", np.nan) / u_rated)
        if u_pu == 0 or row.get("energized") == 0:
            yield Pair(where, "energized", 0, int(np.isfinite(vm_pu)))
            continue
        if "u_pu" in row:
            yield Pair(where, "u_pu", row["u_pu"], vm_pu, drop)
        if "u" in row:
            yield Pair(where, "u", row["u"], vm_pu * u_rated, drop * u_rated)
        if "u_angle" in row:
            first = (row["u_angle"], va) if first is None else first
            turned = np.exp(1j * np.array([row["u_angle"] - first[0], va - first[1]]))
            yield Pair(where, "u_angle", u_pu * turned[0], vm_pu * turned[1], 2 * drop)


def _pair_powers(where: str, row: dict[str, Any], mine: pd.Series, ends: list[str], rounded: float) -> Iterator[Pair]:
    """Power at the first end, and losses where the case has all ends."""
    for quantity, name in ((f"p_{ends[0]}", "p_branch_mw"), (f"q_{ends[0]}", "q_branch_mvar")):
        if quantity in row:
            yield Pair(where, quantity, row[quantity], 1e6 * mine[name], rounded)
    if all(f"p_{end}" in row for end in ends):
        yield Pair(where, f"p_{ends[0]}", sum(row[f"p_{end}"] for end in ends), 1e6 * mine["p_loss_mw"], rounded)


def _pair_currents(where: str, row: dict[str, Any], mine: pd.Series, ends: pd.DataFrame) -> Iterator[Pair]:
    """Current of the more loaded end and the loading there."""
    if ends["i"].isna().any():
        return
    loadings = ends["i"] / ends["rated"] if ends["rated"].notna().all() else ends["i"]
    # Where the ends are equally loaded, as those of a transformer that does not magnetise, either may be meant.
    largest = ends["i"][loadings >= loadings.max() * (1 - 1e-6)].to_numpy()
    nearest = largest[np.abs(largest - 1e3 * mine["i_ka"]).argmin()]
    yield Pair(where, "i_from", nearest, 1e3 * mine["i_ka"], ROUNDED * nearest)
    if ends["rated"].notna().all():
        yield Pair(where, "loading", loadings.max(), mine["loading_percent"] / 100)


def _ends_of(
    scenario: Scenario, built: PgmNet, element: str, branch: dict[str, Any], row: dict[str, Any]
) -> pd.DataFrame:
    """Current and rated current at each end of a branch, columns `i`, `rated`, NaN where the case does not tell. [A]"""
    voltages = {node["id"]: node.get("u", np.nan) for node in scenario.expected.get("node", [])}
    ends = ENDS[element]
    apparent = [row.get(f"s_{end}", np.nan) / (np.sqrt(3) * voltages.get(branch[ends[end]], np.nan)) for end in ends]
    currents = [row.get(f"i_{end}", other) for end, other in zip(ends, apparent, strict=True)]
    table, index = built.places[row["id"]]
    return pd.DataFrame({"i": currents, "rated": 1e3 * rated_currents(built.net, table).loc[index].to_numpy()})


def _pair_sources(scenario: Scenario, built: PgmNet, results: Results, rounded: float) -> Iterator[Pair]:
    """A source with impedance is a branch; of ideal ones only the sum is known, how they share it is a convention."""
    rows = [row for row in scenario.expected.get("source", []) if row.get("energized", 1)]
    ideal = [row for row in rows if built.places[row["id"]][0] == "ext_grid"]
    for row in rows:
        if built.places[row["id"]][0] == "impedance":
            mine = results.branches.loc[built.places[row["id"]]]
            for quantity, name in (("p", "p_branch_mw"), ("q", "q_branch_mvar")):
                if quantity in row:
                    yield Pair(f"source {row['id']}", quantity, row[quantity], -1e6 * mine[name], rounded)
    if ideal and len(ideal) == built.net.ext_grid["in_service"].sum():
        for quantity, got in (("p", results.slack_mva.real), ("q", results.slack_mva.imag)):
            if all(quantity in row for row in ideal):
                yield Pair("sources", quantity, sum(row[quantity] for row in ideal), 1e6 * got, rounded)


def _largest_power(scenario: Scenario) -> float:
    """Largest power that a load or generator of the case is given. [VA]"""
    elements = ("sym_load", "sym_gen", "asym_load", "asym_gen")
    rows = [row for element in elements for row in scenario.rows.get(element, [])]
    powers = [np.sum(row.get(name) or 0.0) for row in rows for name in ("p_specified", "q_specified")]
    return float(np.abs(powers).max(initial=0.0))
