"""The feeder of Baran and Wu: losses as the literature has them, before and after reconfiguration."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "07_reconfigure_a_feeder.py"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE), run_name="__main__")


def numbered(lines: set[int]) -> list[int]:
    """As the literature counts lines: from 1."""
    return sorted(line + 1 for line in lines)


def test_losses_of_the_base_configuration(example: dict[str, Any]) -> None:
    """202.677 kW, lowest voltage 0.91309; 0.01 kW is the last digit that the literature gives."""
    assert numbered(example["open_before"]) == [33, 34, 35, 36, 37]
    assert example["losses_kw"](example["net"], example["open_before"]) == pytest.approx(202.677, abs=0.01)
    assert example["net"].res_bus["vm_pu"].min() == pytest.approx(0.91309, abs=1e-5)


def test_losses_after_reconfiguration(example: dict[str, Any]) -> None:
    """139.551 kW, the optimum of the literature, lowest voltage 0.93782."""
    assert numbered(example["open_after"]) == [7, 9, 14, 32, 37]
    assert example["losses_kw"](example["net"], example["open_after"]) == pytest.approx(139.551, abs=0.01)
    assert example["net"].res_bus["vm_pu"].min() == pytest.approx(0.93782, abs=1e-5)


def test_the_program_alone_comes_close(example: dict[str, Any]) -> None:
    """Without voltage drop and losses in its flows, its tree loses at most 1 % more than the best."""
    loss_kw = example["losses_kw"](example["net"], example["open_by_program"])
    assert 139.551 - 0.01 <= loss_kw <= 1.01 * 139.551
