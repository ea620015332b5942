"""Growth is placed on a copy, at random, and each entry for itself; the packaged scenarios parse."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandapower
import pandas as pd
import pytest

from gridtwin.errors import NetworkError
from gridtwin.grid.growth import place_growth
from gridtwin.scenario import Growth, Scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CARS = Growth(kind="electric_car", count=20, kw=11, kwh=14, flexible_share=0.75)
PUMPS = Growth(kind="heat_pump", count=10, kw=4)
PV = Growth(kind="pv", count=5, kw=8)
BATTERIES = Growth(kind="battery", count=4, kw=5, kwh=10)


def street(houses: int = 12) -> pandapower.pandapowerNet:
    """A transformer and a street of houses, every second one with a load."""
    net = pandapower.create_empty_network()
    upstream = pandapower.create_bus(net, 20.0, name="upstream")
    pandapower.create_ext_grid(net, upstream)
    last = pandapower.create_bus(net, 0.4, name="substation")
    pandapower.create_transformer(net, upstream, last, "0.4 MVA 20/0.4 kV")
    for house in range(1, houses + 1):
        bus = pandapower.create_bus(net, 0.4, name=f"house {house}")
        pandapower.create_line(net, last, bus, 0.03, "NAYY 4x150 SE")
        if house % 2:
            pandapower.create_load(net, bus, 0.002, name=f"home {house}")
        last = bus
    return net


def grown(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["origin"] == "growth"].set_index("name")


def test_every_device_becomes_a_row_with_its_facts() -> None:
    net = place_growth(street(), [CARS, PUMPS, PV, BATTERIES], seed=1)
    cars = grown(net.load).query("kind == 'electric_car'")
    assert list(cars.index) == [f"electric_car {number}" for number in range(1, 21)]
    assert (cars["p_rated_mw"] == 0.011).all()
    assert (cars["e_rated_mwh"] == 0.014).all()
    pumps = grown(net.load).query("kind == 'heat_pump'")
    # 2.5 * 4 kW / 32 K and fifty hours of it
    assert pumps["ua_mw_per_k"].to_numpy() == pytest.approx(0.3125e-3)
    assert pumps["c_mwh_per_k"].to_numpy() == pytest.approx(15.625e-3)
    assert len(grown(net.sgen)) == 5
    assert (grown(net.storage)["max_e_mwh"] == 0.010).all()
    assert all(net[element]["metered"].dtype == bool for element in ("load", "sgen", "storage"))


def test_flags_and_kinds_of_older_rows_stay_what_readers_wrote() -> None:
    net = street()
    net.load["kind"], net.load["metered"], net.load["flexible"] = "household", False, False
    net.load["origin"] = "network"
    old = place_growth(net, [CARS, PUMPS], seed=1).load.iloc[: len(net.load)]
    assert (old["kind"] == "household").all()
    assert not old["metered"].any()
    assert not old["flexible"].any()
    assert (old["origin"] == "network").all()


def test_the_network_given_stays_as_it_is_and_the_grown_one_solves() -> None:
    net = street()
    before = net.load.copy()
    bigger = place_growth(net, [CARS, PV, BATTERIES], seed=1)
    pd.testing.assert_frame_equal(net.load, before)
    assert len(net.sgen) == len(net.storage) == 0
    pandapower.runpp(bigger)
    # 6 homes and 20 cars draw, 5 PV systems feed in, batteries idle
    losses_mw = bigger.res_line["pl_mw"].sum() + bigger.res_trafo["pl_mw"].sum()
    assert bigger.res_ext_grid["p_mw"].sum() == pytest.approx(6 * 0.002 + 20 * 0.011 - 5 * 0.008 + losses_mw, abs=1e-6)


def test_the_flexible_share_is_met() -> None:
    flexible = grown(place_growth(street(), [CARS], seed=1).load)["flexible"]
    assert flexible.sum() == 15
    assert flexible.iloc[:8].sum() == 6


def test_devices_go_to_buses_with_a_load_or_to_the_named_ones() -> None:
    net = street()
    anywhere = place_growth(net, [CARS], seed=1)
    assert set(grown(anywhere.load)["bus"]) <= set(net.load["bus"])
    named = place_growth(net, [CARS.model_copy(update={"buses": ("house 2", "house 4")})], seed=1)
    assert set(net.bus["name"].loc[grown(named.load)["bus"]]) == {"house 2", "house 4"}


def test_an_entry_of_another_kind_or_a_larger_count_leaves_the_others() -> None:
    net = street()
    alone = grown(place_growth(net, [CARS], seed=7).load)["bus"]
    more = [PUMPS, CARS.model_copy(update={"count": 30}), PV]
    among = grown(place_growth(net, more, seed=7).load)["bus"]
    np.testing.assert_array_equal(alone, among.loc[alone.index])
    other = grown(place_growth(net, [CARS], seed=8).load)["bus"]
    assert (alone != other).any()


def test_names_count_on_past_earlier_entries_and_operators_names() -> None:
    net = street()
    net.load.loc[0, "name"] = "electric_car 2"
    first, second = (CARS.model_copy(update={"count": 2}), CARS.model_copy(update={"count": 1}))
    names = grown(place_growth(net, [first, second], seed=1).load).index
    assert list(names) == ["electric_car 1", "electric_car 3", "electric_car 4"]


def test_unknown_buses_are_named_all_at_once_with_the_nearest_spelling() -> None:
    wrong = [CARS.model_copy(update={"buses": ("huose 2",)}), PV.model_copy(update={"buses": ("nowhere",)})]
    with pytest.raises(NetworkError, match=r"'huose 2'. Did you mean 'house 2'\?") as caught:
        place_growth(street(), wrong, seed=1)
    assert len(caught.value.findings) == 2


def test_batteries_and_cars_need_an_energy() -> None:
    without = [part.model_copy(update={"kwh": 0.0}) for part in (CARS, BATTERIES)]
    with pytest.raises(NetworkError, match="usable energy above 0 kWh") as caught:
        place_growth(street(), [*without, PV], seed=1)
    assert len(caught.value.findings) == 2


def test_a_network_without_loads_needs_named_buses() -> None:
    net = street()
    net.load = net.load.iloc[:0]
    with pytest.raises(NetworkError, match="no bus with a load"):
        place_growth(net, [PV], seed=1)
    assert len(place_growth(net, [PV.model_copy(update={"buses": ("house 1",)})], seed=1).sgen) == 5


def test_no_growth_gives_a_plain_copy() -> None:
    net = street()
    copy = place_growth(net, [], seed=1)
    assert copy is not net
    pd.testing.assert_frame_equal(copy.load, net.load)


@pytest.mark.parametrize("name", ["suburb_day_ahead", "village_pv"])
def test_the_packaged_scenario_parses_and_its_files_are_small(name: str) -> None:
    folder = SCENARIOS / name
    scenario = Scenario.model_validate(tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8")))
    assert scenario.growth
    assert len(scenario.balancing.reserve) == 4
    assert scenario.prices is not None
    assert (folder / scenario.prices.file).is_file()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 150_000
