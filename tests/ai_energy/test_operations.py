"""Operations and what they say about energy: published runs, recomputed with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.operations import (
    ACCELERATORS,
    INFERENCE_J_PER_FLOP,
    active_parameters,
    attention_operations_per_token,
    estimate_inference_energy,
    estimate_training_energy,
    fine_tuning_operations,
    inference_operations,
    training_operations,
)
from gridtwin.ai_energy.published_runs import implied_carbon_intensity, implied_j_per_flop, implied_utilisation
from gridtwin.ai_energy.quantity import Quantity, exact, multiply
from gridtwin.errors import DataError

SIZES = st.floats(1e6, 1e13)


def stated(value: float, unit: str) -> Quantity:
    return exact(value, unit, kind="declared", method="published")


def test_llama_405b() -> None:
    flop = training_operations(405e9, 15.6e12)
    assert flop.p50 == pytest.approx(3.79e25, rel=1e-3)
    assert implied_utilisation(flop, stated(30.84e6, "h"), ACCELERATORS["H100"]).p50 == pytest.approx(0.345, abs=5e-4)


def test_llama_family_energy_and_carbon() -> None:
    energy = multiply(stated(39.3e6, "h"), stated(0.7, "kW"), "kWh")
    assert energy.to("GWh").p50 == pytest.approx(27.5, abs=0.05)
    assert implied_carbon_intensity(stated(11390, "t"), energy).p50 == pytest.approx(414, abs=0.5)


def test_bloom() -> None:
    energy = multiply(stated(1.08e6, "h"), stated(0.4, "kW"), "kWh")
    assert energy.to("MWh").p50 == pytest.approx(432)
    # the published 24.69 t belong to the published 433.196 MWh
    carbon = multiply(stated(433.196, "MWh").to("kWh"), stated(57, "g/kWh"), "g").to("t")
    assert carbon.p50 == pytest.approx(24.69, rel=1e-3)


def test_gpt_3() -> None:
    energy, flop = stated(1287, "MWh"), stated(3.14e23, "FLOP")
    assert implied_j_per_flop(energy, flop).p50 == pytest.approx(14.8e-12, abs=0.05e-12)
    assert implied_carbon_intensity(stated(552, "t"), energy).p50 == pytest.approx(429, abs=0.5)


@pytest.mark.parametrize(("parameters", "tokens", "name", "energy_gwh"), [
    (405e9, 15.6e12, "H100", 30.84e6 * 0.7 / 1e6),
    (176e9, 366e9, "A100", 1.08e6 * 0.4 / 1e6),
])  # fmt: skip
def test_the_interval_of_training_holds_published_runs(
    parameters: float, tokens: float, name: str, energy_gwh: float
) -> None:
    """Device hours at rated power, so at the high side of the truth."""
    energy = estimate_training_energy(training_operations(parameters, tokens), ACCELERATORS[name]).to("GWh")
    assert energy.p2_5 < energy_gwh < energy.p97_5
    assert (energy.kind, energy.boundary, energy.method_class) == ("estimated", "device", "operations")


def test_operations_alone_leave_inference_open() -> None:
    energy = estimate_inference_energy(inference_operations(70e9, 1))
    assert energy.p97_5 / energy.p2_5 > 42  # 42 lie between the 5th and the 95th percentile
    assert energy.p97_5 - energy.p50 > energy.p50 - energy.p2_5
    # at three quarters of the rating the middle means that a few percent of the peak are reached
    assert 0.03 < 0.75 * ACCELERATORS["H100"].j_per_flop / INFERENCE_J_PER_FLOP.p50 < 0.07


@given(SIZES, SIZES, st.floats(0, 1))
def test_fine_tuning_lies_between_two_thirds_and_all_of_training(n: float, tokens: float, share: float) -> None:
    ratio = fine_tuning_operations(n, tokens, share * n).p50 / training_operations(n, tokens).p50
    assert 2 / 3 - 1e-12 <= ratio <= 1 + 1e-12


@given(SIZES, SIZES, st.floats(0, 1e10))
def test_training_is_three_times_a_forward_pass(n: float, tokens: float, attention: float) -> None:
    forward = inference_operations(n, tokens, attention_per_token=attention)
    training = training_operations(n, tokens, attention_per_token=attention)
    assert training.p50 == pytest.approx(3 * forward.p50)


@given(SIZES, SIZES, st.integers(1, 256), st.data())
def test_active_parameters_lie_between_shared_and_all(shared: float, expert: float, experts: int, data: st.DataObject
                                                      ) -> None:  # fmt: skip
    active = active_parameters(shared, expert, experts, data.draw(st.integers(1, experts)))
    assert shared < active <= (shared + expert) * (1 + 1e-12)


def test_impossible_inputs_are_named() -> None:
    with pytest.raises(DataError, match="active_experts"):
        active_parameters(1e9, 1e9, 8, 9)
    with pytest.raises(DataError, match="tokens"):
        training_operations(1e9, float("nan"))
    assert attention_operations_per_token(0, 0, 0) == 0
