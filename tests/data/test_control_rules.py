"""Rules of grid-oriented control: the shipped numbers, what follows from them, and what a wrong file is told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.data.control_limits import (
    check_dimming_hours,
    connection_limit_kw,
    device_minimum_kw,
    dimmed_limit_kw,
    feed_in_cap_kw,
    guaranteed_minimum_kw,
)
from gridtwin.data.control_rules import list_control_rules, read_control_rules
from gridtwin.data.rules import list_rules
from gridtwin.errors import DataError, ScenarioError
from gridtwin.time_axis import TimeAxis

RULES = read_control_rules("steuve_14a")
TODAY = dt.date(2026, 6, 1)
OWN = """
name = "nord"
title = "Nord"
source = "own"
version = "1"

[dimming]
in_force = 2024-01-01
kinds = ["electric_car"]
source = "own"
device_minimum_kw = { value = 4.2, source = "own" }
large_heating_above_kw = { value = 11, source = "own" }
large_heating_share = { value = 0.4, source = "own" }

[[dimming.simultaneity]]
devices = 2
factor = 0.8
source = "own"

[[connection]]
connection = "depot"
direction = "consumption"
agreed_kw = 500
start = 2026-11-02T00:00:00+01:00
step_minutes = 60
limit_kw = [500, 500, 200, 500]
firm_share_of_time = 0.75
compensation_eur_per_mwh = 80
source = "contract 12"
"""


def cars(count: int) -> tuple[list[float], list[str]]:
    return [11.0] * count, ["electric_car"] * count


def write(folder: Path, text: str) -> Path:
    file = folder / "nord.toml"
    file.write_text(text)
    return file


def test_the_shipped_set_cites_every_number_and_is_no_network_rule_set():
    assert list_control_rules() == ["steuve_14a"] and "steuve_14a" not in list_rules()
    dimming = RULES.dimming
    numbers = [dimming.device_minimum_kw, dimming.large_heating_above_kw, dimming.large_heating_share]
    numbers += [*dimming.simultaneity, *RULES.feed_in]
    assert all(number.source for number in numbers)
    assert [row.checked for row in dimming.simultaneity] == [True] + [False] * 7
    assert all("general knowledge" in number.source for number in numbers if not number.checked)
    assert dimming.in_force == dt.date(2024, 1, 1) and "not read" in RULES.note
    assert "BK6-22-300" in RULES.citation() and RULES.version in RULES.citation()


def test_two_charging_points_behind_a_manager_keep_7_56_kw():
    assert guaranteed_minimum_kw(RULES, *cars(2), energy_manager=True) == pytest.approx(4.2 + 1 * 0.8 * 4.2)
    assert guaranteed_minimum_kw(RULES, *cars(2), energy_manager=False) == pytest.approx(8.4)


@pytest.mark.parametrize(
    ("count", "factor"),
    [(1, 0), (2, 0.8), (3, 0.75), (4, 0.7), (5, 0.65), (6, 0.6), (7, 0.55), (8, 0.5), (9, 0.45), (20, 0.45)],
)
def test_the_whole_table(count, factor):
    assert guaranteed_minimum_kw(RULES, *cars(count), energy_manager=True) == pytest.approx(
        4.2 + (count - 1) * factor * 4.2
    )


def test_large_heat_pumps_keep_a_share():
    """0.4 (20 + 15) = 14 kW, the small pump counts as a device: 14 + 2 * 0.75 * 4.2."""
    pumps = [20.0, 15.0, 6.0], ["heat_pump"] * 3
    assert guaranteed_minimum_kw(RULES, *pumps, energy_manager=True) == pytest.approx(14 + 2 * 0.75 * 4.2)
    assert device_minimum_kw(RULES, *pumps) == pytest.approx([8.0, 6.0, 4.2])
    # 11 kW is not above 11 kW; a car never is
    assert device_minimum_kw(RULES, [11.0, 22.0], ["heat_pump", "electric_car"]) == pytest.approx([4.2, 4.2])
    # the larger sum of the two kinds counts
    mixed = [20.0, 30.0], ["heat_pump", "air_conditioning"]
    assert guaranteed_minimum_kw(RULES, *mixed, energy_manager=True) == pytest.approx(12 + 0.8 * 4.2)


def test_small_devices_are_not_controlled_and_do_not_count():
    devices = [11.0, 4.2, 2.0], ["electric_car", "heat_pump", "battery"]
    assert guaranteed_minimum_kw(RULES, *devices, energy_manager=True) == pytest.approx(4.2)
    assert guaranteed_minimum_kw(RULES, [4.0], ["battery"], energy_manager=True) == 0
    assert dimmed_limit_kw(RULES, [0.0], *devices, energy_manager=False) == pytest.approx(np.array([[4.2, 4.2, 2.0]]))


@given(
    st.lists(st.tuples(st.floats(0.5, 60), st.sampled_from(RULES.dimming.kinds)), min_size=1, max_size=15),
    st.lists(st.floats(0, 100), min_size=1, max_size=5),
)
def test_nobody_gets_less_than_guaranteed_or_more_than_rated(devices, signal):
    rated, kinds = [kw for kw, _ in devices], [kind for _, kind in devices]
    large = np.array(rated) > 4.2
    for manager in (True, False):
        limit = dimmed_limit_kw(RULES, signal, rated, kinds, energy_manager=manager)
        assert (limit <= np.array(rated)).all()
        guaranteed = guaranteed_minimum_kw(RULES, rated, kinds, energy_manager=manager)
        assert (limit[:, large].sum(axis=1) >= guaranteed - 1e-9).all()


def test_a_signal_dims_to_what_is_guaranteed_and_no_further():
    limit = dimmed_limit_kw(RULES, [np.inf, 6.0, 0.0], *cars(2), energy_manager=False)
    assert limit == pytest.approx(np.array([[11, 11], [6, 6], [4.2, 4.2]]))
    own = [0.0, 0.0, 5.0]
    limit = dimmed_limit_kw(RULES, [np.inf, 10.0, 0.0], *cars(2), energy_manager=True, own_generation_kw=own)
    assert limit.sum(axis=1) == pytest.approx([22, 10, 7.56 + 5])


def test_faulty_devices_are_named_at_once():
    with pytest.raises(DataError) as caught:
        dimmed_limit_kw(RULES, [np.nan], [11.0, -1.0], ["pv", "battery", "car"], energy_manager=False)
    text = str(caught.value)
    for part in ("2 ratings, 3 kinds", "device 1: no rating", "device 0: the rules do not control", "signal_kw"):
        assert part in text
    with pytest.raises(DataError, match="only behind an energy manager"):
        dimmed_limit_kw(RULES, [1.0], *cars(1), energy_manager=False, own_generation_kw=[1.0])


def test_preventive_dimming_is_held_to_two_hours_per_local_day():
    axis = TimeAxis.of_days(dt.date(2026, 11, 2), 2, "Europe/Berlin")
    dimmed = np.zeros((axis.length, 2), dtype=bool)
    dimmed[88:104] = True  # two hours before and two hours after local midnight
    dimmed[95 - 8, 1] = True
    (finding,) = check_dimming_hours(RULES, dimmed, axis, ["a", "b"])
    assert "b on 2026-11-02" in str(finding) and "got 2.25 h" in str(finding)
    free = RULES.model_copy(update={"dimming": RULES.dimming.model_copy(update={"most_hours_per_day": None})})
    assert check_dimming_hours(free, dimmed, axis, ["a", "b"]) == []


@pytest.mark.parametrize(
    ("kw", "commissioned", "controllable", "programmes", "cap"),
    [
        (10, dt.date(2011, 12, 31), False, (), 10),
        (10, dt.date(2015, 6, 1), False, (), 7),
        (10, dt.date(2015, 6, 1), False, ("KfW 275",), 6),
        (10, dt.date(2017, 6, 1), True, ("KfW 275",), 5),
        (7, dt.date(2015, 6, 1), False, (), 7),  # lifted for small plants
        (10, dt.date(2015, 6, 1), True, (), 10),
        (10, dt.date(2022, 9, 13), False, (), 7),
        (10, dt.date(2022, 9, 14), False, (), 10),
        (10, dt.date(2025, 2, 24), False, (), 10),
        (10, dt.date(2025, 2, 25), False, (), 6),
        (0.8, dt.date(2025, 6, 1), False, (), 0.8),
        (150, dt.date(2025, 6, 1), False, (), 150),
    ],
)
def test_feed_in_caps_go_by_the_day_of_commissioning(kw, commissioned, controllable, programmes, cap):
    got = feed_in_cap_kw(RULES, kw, commissioned, on=TODAY, controllable=controllable, programmes=programmes)
    assert got == pytest.approx(cap)
    if kw == 7:
        before = dt.date(2022, 12, 31)
        assert feed_in_cap_kw(RULES, kw, commissioned, on=before, controllable=False) == pytest.approx(4.9)


def test_a_connection_limit_is_laid_on_the_axis(tmp_path):
    """Hours from 23:00 UTC on; 15-minute steps take the value of their hour, 2-hour steps the lowest."""
    rules = read_control_rules(write(tmp_path, OWN))
    start = pd.Timestamp("2026-11-02 00:30")
    quarter = connection_limit_kw(rules, "depot", TimeAxis(start, length=16), direction="consumption")
    assert quarter.tolist() == [500] * 2 + [200] * 4 + [500] * 4 + [np.inf] * 6
    axis = TimeAxis(start, pd.Timedelta(hours=2), 2)
    assert connection_limit_kw(rules, "depot", axis, direction="consumption").tolist() == [200, 500]
    assert np.isinf(connection_limit_kw(rules, "depot", axis, direction="feed-in")).all()
    assert rules.connection[0].share_of_time_available == 0.75
    with pytest.raises(DataError, match=r"Did you mean depot\?"):
        connection_limit_kw(rules, "depott", axis, direction="consumption")


def test_all_faults_of_a_file_come_at_once(tmp_path):
    faulty = OWN.replace("firm_share_of_time = 0.75", "firm_share_of_time = 0.9")
    faulty = faulty.replace("factor = 0.8", "factr = 0.8").replace("start = 2026-11-02T00:00:00+01:00", "")
    with pytest.raises(DataError) as caught:
        read_control_rules(write(tmp_path, faulty))
    text = str(caught.value)
    assert "dimming.simultaneity.0.factr: unknown key. Did you mean factor?" in text
    assert "dimming.simultaneity.0.factor: the key is missing" in text
    assert "connection.0.start: the key is missing" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("firm_share_of_time = 0.75", "firm_share_of_time = 0.9", r"90\.0% of the time, the series leaves 75\.0%"),
        ("devices = 2", "devices = 3", "needs rows for 2, 3, 4"),
        ('kinds = ["electric_car"]', 'kinds = ["electric_car"]\nheating_kinds = ["oven"]', "must be among kinds"),
        ("value = 0.4", "value = 1.4", "large_heating_share must be at most 1"),
        ("agreed_kw = 500", "agreed_kw = -5", "expected greater than 0"),
        ("start = 2026-11-02T00:00:00+01:00", "start = 2026-11-02T00:00:00", "timezone"),
        ('title = "Nord"', "title = ", "not valid TOML"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        read_control_rules(write(tmp_path, OWN.replace(old, new)))


def test_an_unknown_set_is_told_the_nearest(tmp_path):
    with pytest.raises(ScenarioError, match="Did you mean steuve_14a"):
        read_control_rules("steuve14a")
    write(tmp_path, OWN)
    with pytest.raises(ScenarioError, match=r"Did you mean nord\.toml"):
        read_control_rules("nort.toml", tmp_path)
