"""Energy per token: known points, data with noise, sizes left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.tokens import LLAMA_31_70B, QWEN3_30B_A3B, compare_forms, fit_token_energy, touched_share
from gridtwin.errors import DataError

SIZES = [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]


def test_known_points_of_a_dense_model() -> None:
    np.testing.assert_allclose(LLAMA_31_70B.joules([8, 64, 512]), [3.79, 0.79, 0.41], atol=0.0051)


def test_known_points_of_a_mixture_of_experts() -> None:
    # by hand: 1 - (120/128)^64 = 0.98394; 0.083 + (0.93 + 12 * 0.98394) / 64 = 0.28202
    assert QWEN3_30B_A3B.joules(64) == pytest.approx(0.28202, abs=1e-5)
    assert QWEN3_30B_A3B.joules(1) == pytest.approx(0.083 + 0.93 + 12 / 16)


@given(st.floats(0.01, 2), st.floats(0.1, 50), st.floats(0.1, 50), st.sampled_from([8 / 128, 2 / 8, 1 / 64]))
def test_exact_data_are_met_exactly(a: float, b0: float, b1: float, share: float) -> None:
    energy = [a + (b0 + b1 * (1 - (1 - share) ** size)) / size for size in SIZES]
    curve = fit_token_energy(SIZES, energy, form="experts", active_share=share)
    np.testing.assert_allclose(curve.joules(SIZES), energy, rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_noisy_experts_need_their_term(seed: int) -> None:
    noise = 1 + 0.03 * np.random.default_rng(seed).standard_normal(len(SIZES))
    errors = compare_forms(SIZES, list(QWEN3_30B_A3B.joules(SIZES) * noise), 8 / 128)["left_out_rms"]
    assert errors["experts"] < errors["dense"]


def test_noisy_dense_data_give_back_their_coefficients() -> None:
    noise = 1 + 0.02 * np.random.default_rng(1).standard_normal(len(SIZES))
    curve = fit_token_energy(SIZES, list(LLAMA_31_70B.joules(SIZES) * noise), form="dense")
    np.testing.assert_allclose(curve.coefficients_j, (0.360, 27.4), rtol=0.06)  # three times the noise
    assert curve.relative_rms < curve.left_out_rms < 0.06


def test_coefficients_are_never_negative() -> None:
    curve = fit_token_energy([1.0, 2.0, 4.0, 8.0], [1.0, 1.1, 1.2, 1.3], form="dense")
    assert min(curve.coefficients_j) >= 0


def test_outside_the_data_the_interval_grows_and_says_so() -> None:
    inside, outside = LLAMA_31_70B.at(512), LLAMA_31_70B.at(4096)
    assert outside.p97_5 / outside.p50 > inside.p97_5 / inside.p50
    assert "outside the batch sizes" in outside.method and "outside" not in inside.method


@given(st.floats(1, 1e4), st.floats(1e-3, 1))
def test_a_larger_batch_touches_more_experts_but_never_more_than_all(batch: float, share: float) -> None:
    one, two = touched_share([batch, 2 * batch], share)
    assert 0 < one <= two <= 1


def test_too_few_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="too few batch sizes"):
        fit_token_energy([8, 8, 16], [1, 1, 1], form="dense")
    with pytest.raises(DataError, match="joules"):
        fit_token_energy([8, 16, 32], [1, float("nan"), 1], form="dense")
