"""Case folders: a small network, its powers, and what a calculation by hand expects of them.

Every `case.toml` is complete in itself. Elements are tables with the keywords of
`pandapower.create_<element>`, buses by name; `power` is consumption that holds
from a step on; `expected` gives the steps of one quantity with a tolerance;
`congestion` lists the rows of `find_congestions`, no more and no fewer.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.data.rules import read_rules
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.congestion import find_congestions
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.time_axis import TimeAxis

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/case.toml"))
ELEMENTS = {
    "ext_grid": pp.create_ext_grid,
    "line": pp.create_line_from_parameters,
    "transformer_from_parameters": pp.create_transformer_from_parameters,
    "load": pp.create_load,
    "sgen": pp.create_sgen,
}
BUS_KEYS = ("bus", "from_bus", "to_bus", "hv_bus", "lv_bus")


class Solved(NamedTuple):
    """A case with its results."""

    case: dict[str, Any]
    flow: Any
    congestions: pd.DataFrame


def build_network(case: Mapping[str, Any]) -> pp.pandapowerNet:
    net = pp.create_empty_network()
    buses = {row["name"]: pp.create_bus(net, **row) for row in case["bus"]}
    for element, create in ELEMENTS.items():
        for row in case.get(element, []):
            powerless = {"p_mw": 0.0} if element in ("load", "sgen") else {}
            create(net, **powerless, **{key: buses[value] if key in BUS_KEYS else value for key, value in row.items()})
    return net


def profiles_of(case: Mapping[str, Any], twin: GridTwin) -> Profiles:
    time = case["time"]
    step = pd.Timedelta(minutes=time["step_minutes"])
    axis = TimeAxis(pd.Timestamp(time["start"]), step, time["steps"], "Europe/Berlin")
    p_mw, q_mvar = np.zeros((2, axis.length, len(twin.assets)))
    for row in case["power"]:
        asset = twin.assets.index.get_loc(row["asset"])
        p_mw[row["from_step"] :, asset] = row["p_mw"]
        q_mvar[row["from_step"] :, asset] = row.get("q_mvar", 0.0)
    return build_profiles(axis, twin.assets, p_mw, q_mvar)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def solved(request: pytest.FixtureRequest) -> Solved:
    case = tomllib.loads((request.param / "case.toml").read_text(encoding="utf-8"))
    twin = build_twin(build_network(case), rules=read_rules(case["rules"]))
    profiles = profiles_of(case, twin)
    flow = run_power_flow(twin, profiles)
    return Solved(case, flow, find_congestions(twin, flow, profiles))


def test_there_are_cases() -> None:
    assert len(FOLDERS) >= 3


def test_quantities_are_those_of_the_hand_calculation(solved: Solved) -> None:
    for row in solved.case["expected"]:
        series = solved.flow[row["quantity"]].isel(path=0)
        for dim in set(series.dims) - {"time"}:
            series = series.sel({dim: row["of"]})
        got = series.to_numpy()[row["at_steps"]] if "at_steps" in row else series.to_numpy()
        what = f"{row['quantity']} of {row.get('of', 'the network')}"
        np.testing.assert_allclose(got, row["steps"], rtol=0, atol=row["tolerance"], err_msg=what)


def test_congestions_are_the_listed_ones(solved: Solved) -> None:
    listed = solved.case.get("congestion", [])
    assert list(solved.congestions["asset"]) == [row["asset"] for row in listed]
    for row, (_, found) in zip(listed, solved.congestions.iterrows(), strict=True):
        for column, expected in row.items():
            if isinstance(expected, dict):
                expected = pytest.approx(expected["value"], rel=0, abs=expected["tolerance"])
            assert found[column] == expected, f"{column} of {row['asset']}"
