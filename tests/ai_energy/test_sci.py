"""Software carbon intensity: printed examples recomputed with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.quantity import Quantity, exact, missing
from gridtwin.ai_energy.sci import embodied_carbon, operational_carbon, software_carbon_intensity
from gridtwin.errors import DataError


def stated(value: float, unit: str) -> Quantity:
    return exact(value, unit, kind="declared", method="printed example")


def score(operational_kg: float, embodied_kg: float, units: float, unit: str, per: float = 1.0) -> Quantity:
    return software_carbon_intensity(stated(operational_kg, "kg"), stated(embodied_kg, "kg"), units, unit, per=per)


def test_quick_guide() -> None:
    made = embodied_carbon(stated(1230.3, "kg"), reserved_h=1, lifespan_h=48, resources_reserved=4, resources_total=32)
    result = software_carbon_intensity(stated(1329, "g"), made, 20_000, "request")
    assert result.p50 == pytest.approx(0.22665, abs=5e-6)  # 4532.906 g / 20000
    assert result.unit == "g/request"


def test_consumer_of_a_language_model() -> None:
    """6,500 kg for 50e9 tokens: 130 g per million. SPEC 9.1.3 prints 0.13 g, which is the value per thousand."""
    assert score(5000, 1500, 50e9, "token", 1e6).p50 == pytest.approx(130)
    assert score(5000, 1500, 50e9, "token", 1e6).p50 != pytest.approx(0.13)
    assert score(5000, 1500, 50e9, "token", 1e3).p50 == pytest.approx(0.13)


def test_provider_of_a_language_model() -> None:
    result = score(180_000, 20_000, 5e22, "FLOP", 1e15)
    assert result.p50 == pytest.approx(4)
    assert result.unit == "g/1e15 FLOP"


def test_provider_of_a_vision_model() -> None:
    """75,000 kg for 2.5e9 parameters. SPEC 9.2 prints 3,000 and then 30 kg per 1e9 parameters."""
    assert score(75_000, 0, 2.5e9, "parameter", 1e9).to("g/1e9 parameter").p50 / 1000 == pytest.approx(30_000)


def test_consumer_of_a_vision_model() -> None:
    assert score(3200, 0, 40e6, "inference").p50 == pytest.approx(0.08)


def test_what_is_missing_stays_missing() -> None:
    energy = missing("kWh", reason="no meter", boundary="node")
    used = operational_carbon(energy, stated(400, "g/kWh"))
    assert software_carbon_intensity(used, stated(1, "g"), 10, "token").is_missing


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e12), st.floats(1, 1e12))
def test_score_is_linear_in_carbon_and_per(used: float, made: float, units: float, per: float) -> None:
    assert score(used, made, units, "token", per).p50 == pytest.approx((used + made) * 1000 * per / units)


def test_no_more_can_be_reserved_than_there_is() -> None:
    with pytest.raises(DataError, match="resources_reserved"):
        embodied_carbon(stated(1, "kg"), reserved_h=1, lifespan_h=2, resources_reserved=33, resources_total=32)
