"""Energy against quality, and the energy and value of forecasts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.architectures import (
    Variant,
    compare_architectures,
    energy_ratio,
    energy_to_quality,
    variants_of_curve,
)
from gridtwin.ai_energy.forecast_value import (
    ForecastModel,
    SavingsLedger,
    break_even_uses,
    energy_per_forecast,
    energy_return,
    forecast_skill,
    forecast_variants,
)
from gridtwin.ai_energy.quantity import Boundary, Quantity, exact, missing
from gridtwin.ai_energy.tokens import LLAMA_31_70B, QWEN3_30B_A3B
from gridtwin.errors import DataError
from gridtwin.report.ai_energy_figures import energy_quality_figure, token_energy_figure


def joules(value: float, boundary: Boundary = "node") -> Quantity:
    return exact(value, "J", kind="measured", method="meter", boundary=boundary, measured_share=1.0)


def variant(energy: float, quality: float, family: str = "net") -> Variant:
    return Variant(family, f"{energy:g} J", joules(energy), quality)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=30))
def test_nothing_beats_the_front_and_all_else_is_beaten(points: list[tuple[int, int]]) -> None:
    table = compare_architectures([variant(float(energy), float(quality)) for energy, quality in points])
    front = table[table["pareto"]]
    assert len(front) >= 1
    assert front["quality"].is_monotonic_increasing
    for _, row in table[~table["pareto"]].iterrows():
        as_good = (front["energy_p50"] <= row["energy_p50"]) & (front["quality"] >= row["quality"])
        assert as_good.any()
    marginal = table["marginal_quality_per_energy"].dropna()
    assert (marginal > 0).all()


def test_the_architecture_shows_in_the_energy() -> None:
    batches = [8, 64, 512]
    variants = [*variants_of_curve("dense", LLAMA_31_70B, batches, 0.80),
                *variants_of_curve("experts", QWEN3_30B_A3B, batches, 0.80)]  # fmt: skip
    ratio = energy_ratio(energy_to_quality(variants, 0.8), "experts", "dense")
    # at batch 512: (0.083 + 12.93 / 512) / (0.360 + 27.4 / 512) = 0.1083 / 0.4135
    assert ratio.p50 == pytest.approx(0.262, abs=5e-4) and ratio.p97_5 < 1


def test_a_quality_out_of_reach_is_missing_not_zero() -> None:
    found = energy_to_quality([variant(1.0, 0.4), variant(2.0, 0.9, "trees")], 0.5)
    assert found["net"].is_missing and found["trees"].p50 == 2.0
    assert energy_ratio(found, "net", "trees").is_missing


def test_a_missing_energy_is_shown_and_never_on_the_front() -> None:
    table = compare_architectures(
        [variant(1.0, 0.4), Variant("net", "unknown", missing("J", reason="no meter", boundary="node"), 0.9)]
    )
    row = table.set_index("name").loc["unknown"]
    assert np.isnan(row["energy_p50"]) and not row["pareto"]


def test_energies_of_two_boundaries_are_not_compared() -> None:
    with pytest.raises(DataError, match="boundary"):
        compare_architectures([variant(1.0, 0.4), Variant("net", "a", joules(1.0, "device"), 0.5)])


def test_figures_show_all_families() -> None:
    table = compare_architectures([variant(1.0, 0.4), variant(2.0, 0.9, "trees"), variant(3.0, 0.5)])
    names = [trace.name for trace in energy_quality_figure(table, quality="Skill").data]
    assert names == ["Pareto front", "net", "trees"]
    figure = token_energy_figure({"Llama 3.1 70B": LLAMA_31_70B, "Qwen3 30B A3B": QWEN3_30B_A3B})
    assert [trace.name for trace in figure.data] == ["Llama 3.1 70B", "Qwen3 30B A3B"]
    assert figure.layout.yaxis.title.text == "Energy [J/token], device"


def model(training: float, inference: float, mae: float = 1.5, family: str = "net") -> ForecastModel:
    return ForecastModel(family, family, joules(training), joules(inference), joules(1.0), mae, 2.0)


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 100), st.floats(1, 100))
def test_at_the_break_even_both_models_cost_the_same(a: float, b: float, use_a: float, use_b: float) -> None:
    one, two = model(a, use_a), model(b, use_b)
    uses = break_even_uses(one, two)
    if (a - b) * (use_b - use_a) <= 0:
        assert uses.is_missing
    else:
        ours, theirs = (energy_per_forecast(m, uses.p50).p50 for m in (one, two))
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert break_even_uses(two, one).p50 == pytest.approx(uses.p50)


def test_energy_to_a_target_skill() -> None:
    models = [model(100, 1, mae=1.6, family="linear"), model(10_000, 5, mae=1.5, family="net")]
    found = energy_to_quality(forecast_variants(models, 100), 0.22)
    assert found["linear"].is_missing and found["net"].p50 == pytest.approx(106)
    assert forecast_skill(2.5, 2.0) == pytest.approx(-0.25)


def test_a_missing_part_leaves_the_forecast_missing() -> None:
    part = ForecastModel("net", "net", missing("J", reason="not logged", boundary="node"), joules(1), joules(1), 1, 2)
    assert energy_per_forecast(part, 10).is_missing and break_even_uses(part, model(1, 1)).is_missing


def test_savings_need_a_counterfactual_and_are_never_netted() -> None:
    saved = exact(2.0, "MWh", kind="estimated", method="replay", boundary="system")
    with pytest.raises(DataError, match="counterfactual"):
        SavingsLedger("suburb", saved, " ", "block bootstrap")
    with pytest.raises(DataError, match="boundary system"):
        SavingsLedger("suburb", joules(1.0), "naive forecast", "block bootstrap")
    ledger = SavingsLedger("suburb", saved, "naive forecast", "block bootstrap")
    assert energy_return(ledger, joules(3.6e6)).p50 == pytest.approx(2000)
    with pytest.raises(TypeError):
        ledger + joules(1.0)  # type: ignore[operator]
