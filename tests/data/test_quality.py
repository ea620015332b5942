"""Plausibility checks: each fault is found in figures, and healthy series pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridtwin.data.profiles import build_profiles
from gridtwin.data.quality import check_profiles_plausible, check_storage_energy
from gridtwin.time_axis import TimeAxis

STEP = pd.Timedelta(minutes=15)
DAYS = 40
AXIS = TimeAxis(pd.Timestamp("2016-05-31 22:00"), length=DAYS * 96)
RATED = pd.Series({"house": 0.01, "roof": 0.008})


def healthy() -> np.ndarray:
    """A house with a daily wave and noise, and a roof that generates from 06 to 20 local time."""
    local = AXIS.local_times
    hour = np.asarray(local.hour + local.minute / 60)
    noise = np.random.default_rng(7).uniform(0.8, 1.0, (2, AXIS.length))
    house = 0.004 * (1 + 0.5 * np.sin((hour - 12) / 24 * 2 * np.pi)) * noise[0]
    roof = -0.008 * np.clip(np.sin((hour - 6) / 14 * np.pi), 0, None) * ((hour > 6) & (hour < 20)) * noise[1]
    return np.column_stack([house, roof])


def findings_of(p_mw: np.ndarray) -> list:
    assets = pd.DataFrame(
        {"element": ["load", "sgen"], "index": [0, 0], "kind": ["household", "pv"]}, index=["house", "roof"]
    )
    return check_profiles_plausible(build_profiles(AXIS, assets, p_mw, 0 * p_mw), RATED)


def test_healthy_series_pass() -> None:
    assert findings_of(healthy()) == []


def test_missing_values_and_dead_assets_are_no_faults() -> None:
    p_mw = healthy()
    p_mw[100:200, 0] = np.nan
    p_mw[:, 1] = 0.0
    assert findings_of(p_mw) == []


def scale(p_mw: np.ndarray) -> None:
    p_mw[:, 0] *= 1000  # kW taken for MW


def shrink(p_mw: np.ndarray) -> None:
    p_mw[:, 0] /= 1000  # MW taken for kW


def flip_house(p_mw: np.ndarray) -> None:
    p_mw[:, 0] *= -1


def flip_roof(p_mw: np.ndarray) -> None:
    p_mw[:, 1] *= -1


def turn_day(p_mw: np.ndarray) -> None:
    p_mw[:, 1] = np.roll(p_mw[:, 1], 48)  # twelve hours


def freeze(p_mw: np.ndarray) -> None:
    p_mw[500:620, 0] = p_mw[500, 0]  # 30 hours


def spike(p_mw: np.ndarray) -> None:
    p_mw[1000, 0] = 0.5  # 100 times the usual peak and 50 times the rating


@pytest.mark.parametrize(
    ("fault", "codes", "asset"),
    [
        (scale, {"GT-D10"}, "house"),
        (shrink, {"GT-D10"}, "house"),
        (flip_house, {"GT-D11"}, "house"),
        (flip_roof, {"GT-D11"}, "roof"),
        (turn_day, {"GT-D13"}, "roof"),
        (freeze, {"GT-D14"}, "house"),
        (spike, {"GT-D10", "GT-D15"}, "house"),
    ],
)
def test_a_fault_is_found_and_named(fault, codes, asset) -> None:
    p_mw = healthy()
    fault(p_mw)
    found = findings_of(p_mw)
    assert {finding.code for finding in found} == codes
    assert all(finding.where == asset and finding.severity == "warning" for finding in found)


def test_the_unit_is_suspected_only_at_a_large_ratio() -> None:
    p_mw = healthy()
    p_mw[:, 0] *= 4  # kWh per quarter hour taken for kW: beyond the rating, but no factor of 1000
    assert findings_of(p_mw)[0].do == "Check the rating."
    p_mw[:, 0] *= 250
    assert "kW given as MW" in findings_of(p_mw)[0].do


def test_the_length_of_a_standstill_is_told() -> None:
    p_mw = healthy()
    p_mw[500:620, 0] = p_mw[500, 0]
    assert "house 30 h" in findings_of(p_mw)[0].got  # 120 quarter hours


def test_a_storage_that_gives_what_it_took_passes() -> None:
    # 0.01 MW in for an hour, 0.009 out; starts full and may empty itself once
    day = np.r_[np.full(4, -0.01), np.full(4, 0.01), np.full(4, -0.009), np.zeros(84)]
    assert check_storage_energy(np.tile(day, 30), 0.3, STEP) is None


def test_a_storage_that_only_discharges_is_found_with_figures() -> None:
    finding = check_storage_energy(np.full(96, -0.01), 0.02, STEP, where="battery 1")
    assert finding is not None and finding.where == "battery 1"
    assert "0.24 MWh discharged" in finding.got  # 24 h of 10 kW
    assert "0.02 MWh" in finding.expected


def test_a_storage_that_only_charges_is_found() -> None:
    finding = check_storage_energy(np.full(96, 0.01), 0.02, STEP)
    assert finding is not None and "charges far more" in finding.what


@pytest.mark.parametrize("hours", [1.9, 2.1])
def test_the_limit_is_the_capacity(hours) -> None:
    # 10 kW out of a full 20 kWh: possible for two hours
    p_mw = np.full(int(hours * 4 + 0.5), -0.01)
    assert (check_storage_energy(p_mw, 0.02, STEP) is None) == (len(p_mw) <= 8)
