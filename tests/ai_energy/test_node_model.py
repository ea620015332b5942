"""From sensors to the plug: a campaign shaped like the published one, with groups held out."""

from __future__ import annotations

import numpy as np
import pytest

from gridtwin.ai_energy.node_model import default_node_step, fit_node_model, leave_one_group_out
from gridtwin.ai_energy.quantity import exact
from gridtwin.errors import DataError


def campaign(seed: int, groups: int = 24) -> tuple[list[float], list[float], list[str]]:
    """About 318 runs: each model has its own line near 57 W + 1.12 P, each run 3 % of noise."""
    random = np.random.default_rng(seed)
    sensors, wall, names = [], [], []
    for group in range(groups):
        low, high = sorted(random.uniform(30, 350, 2))
        own = np.exp(0.06 * random.standard_normal())
        for watts in random.uniform(low, high, 318 // groups):
            sensors.append(float(watts))
            wall.append(float((57 + 1.12 * watts) * own * np.exp(0.03 * random.standard_normal())))
            names.append(f"model {group}")
    return sensors, wall, names


def test_the_line_is_found() -> None:
    model = fit_node_model(*campaign(1))
    assert model.fixed_w == pytest.approx(57, abs=12) and model.factor == pytest.approx(1.12, abs=0.08)
    assert 0.04 < model.relative_rms < 0.12
    assert model.low_ratio < 1 < model.high_ratio


@pytest.mark.parametrize("groups", [6, 12, 24])
def test_the_stated_interval_covers_groups_that_were_held_out(groups: int) -> None:
    """Means over 20 campaigns; the share of single runs inside is at least 95 %."""
    coverage = [
        np.average(table["coverage"], weights=table["runs"])
        for table in (leave_one_group_out(*campaign(seed, groups)) for seed in range(20))
    ]
    assert np.mean(coverage) >= 0.95


def test_the_default_holds_the_campaign_and_the_published_gaps() -> None:
    sensors, wall, _ = campaign(2)
    inside = []
    for watts, truth in zip(sensors, wall, strict=True):
        power = exact(watts, "W", kind="measured", method="sensors", boundary="device", measured_share=1.0)
        node = default_node_step()(power)
        inside.append(node.p2_5 <= truth <= node.p97_5)
    assert np.mean(inside) >= 0.95
    # the middle itself: a tool that sees 30 W is two thirds below the wall, one at 500 W a fifth
    below = [1 - watts / (57 + 1.12 * watts) for watts in (30.0, 500.0)]
    np.testing.assert_allclose(below, [0.67, 0.19], atol=0.01)


def test_energies_take_the_fixed_part_over_their_hours() -> None:
    energy = exact(1.0, "kWh", kind="measured", method="counter", boundary="device", measured_share=1.0)
    node = default_node_step(hours=2.0)(energy)
    assert node.p50 == pytest.approx(1.12 + 0.114)
    assert (node.boundary, node.kind, node.measured_share) == ("node", "estimated", 0.0)


def test_the_own_fit_keeps_what_was_measured() -> None:
    energy = exact(1.0, "kWh", kind="measured", method="counter", boundary="device", measured_share=1.0)
    node = fit_node_model(*campaign(3), source="meter 7").step(hours=2.0)(energy)
    assert node.kind == "calculated" and 0.8 < node.measured_share < 1
    assert "meter 7" in node.provenance


def test_a_step_needs_its_own_boundary_and_a_fit_enough_groups() -> None:
    with pytest.raises(DataError, match="device"):
        default_node_step()(exact(1.0, "W", kind="measured", method="meter", boundary="node"))
    with pytest.raises(DataError, match="too few groups"):
        fit_node_model([1.0, 2.0], [2.0, 3.0], ["a", "b"])
