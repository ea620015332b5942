"""Data centres: identities, unit traps, marginal against average, the way outwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.facility import (
    aggregate_key_figure,
    carbon_usage_effectiveness,
    check_key_figures,
    energy_reuse_factor,
    label_class,
    power_usage_effectiveness,
    renewable_energy_factor,
    water_usage_effectiveness,
)
from gridtwin.ai_energy.facility_power import FacilityPower, calibrate_facility_power, cooling_cop
from gridtwin.ai_energy.facility_steps import carry_outwards, facility_steps
from gridtwin.ai_energy.quantity import Boundary, Quantity, exact, with_interval
from gridtwin.errors import DataError


def metered(value: float, unit: str, boundary: Boundary | None = None) -> Quantity:
    return exact(value, unit, kind="measured", method="meter", boundary=boundary, measured_share=1.0)


E_DC = metered(13.0, "GWh", "facility")
E_IT = metered(10_000.0, "MWh", "it_at_ups")


def test_pue_says_its_category() -> None:
    pue = power_usage_effectiveness(E_DC, E_IT, category=1)
    assert pue.p50 == pytest.approx(1.3) and pue.method.startswith("PUE category 1")
    with pytest.raises(DataError, match="boundary rack"):
        power_usage_effectiveness(E_DC, E_IT, category=2)


def test_pue_below_1_is_refused_and_its_interval_held_there() -> None:
    with pytest.raises(DataError, match="PUE"):
        power_usage_effectiveness(metered(9.0, "GWh", "facility"), E_IT, category=1)
    uncertain = with_interval(10.1, 0.05, 0.05, "GWh", kind="measured", method="meter", boundary="facility")
    pue = power_usage_effectiveness(uncertain, E_IT, category=1)
    assert pue.p2_5 == 1.0 and "held at 1" in pue.method


def test_water_is_the_same_in_all_units() -> None:
    """5,000 m3 for 10 GWh: 0.5 m3/MWh and 0.5 L/kWh, however the parts are written."""
    forms = [(metered(5000, "m3"), E_IT), (metered(5e6, "L"), metered(1e7, "kWh", "it_at_ups"))]
    assert [water_usage_effectiveness(*form).p50 for form in forms] == [pytest.approx(0.5)] * 2
    assert water_usage_effectiveness(*forms[0]).to("m3/MWh").p50 == pytest.approx(0.5)
    wrong = water_usage_effectiveness(metered(5000, "m3"), metered(10_000, "kWh", "it_at_ups"))
    assert [finding.where for finding in check_key_figures(wue=wrong)] == ["WUE"]


@given(st.floats(1e-3, 1), st.floats(1, 1e6))
def test_shares_are_at_most_1(share: float, whole: float) -> None:
    e_dc = metered(whole, "MWh", "facility")
    assert energy_reuse_factor(metered(share * whole, "MWh"), e_dc).p50 == pytest.approx(share)
    with pytest.raises(DataError, match="REF"):
        renewable_energy_factor(metered(whole * 1.01, "MWh"), e_dc)


def test_cue_is_intensity_times_pue() -> None:
    assert carbon_usage_effectiveness(metered(400, "g/kWh"), metered(1.3, "1")).to("kg/kWh").p50 == pytest.approx(0.52)


@given(st.lists(st.tuples(st.floats(1, 3), st.floats(1, 1e6)), min_size=2, max_size=6))
def test_the_public_pue_is_never_below_the_ratio_of_sums(centres: list[tuple[float, float]]) -> None:
    pues, e_dc = (np.array(values) for values in zip(*centres, strict=True))
    ratio_of_sums = e_dc.sum() / (e_dc / pues).sum()
    aggregate = aggregate_key_figure(pues.tolist(), e_dc.tolist())
    assert aggregate >= ratio_of_sums * (1 - 1e-12)  # arithmetic mean, harmonic mean
    if np.ptp(pues) > 0.1 and e_dc.min() > 0.01 * e_dc.max():
        assert aggregate > ratio_of_sums


@given(st.floats(1.2, 2.5), st.floats(0, 0.05), st.floats(0, 1e-6))
def test_a_year_meets_its_pue(pue: float, linear: float, square: float) -> None:
    hours = np.arange(8760)
    it = 1000 + 300 * np.sin(2 * np.pi * hours / 24)
    cop = cooling_cop(12 + 12 * np.sin(2 * np.pi * hours / 8760))
    try:
        model = calibrate_facility_power(it, cop, pue=pue, linear_share=linear, square_per_kw=square)
    except DataError:  # 1.2 can be less than cooling and losses
        assert FacilityPower(0, linear, square).power_kw(it, cop).sum() > pue * it.sum()
        return
    assert model.power_kw(it, cop).sum() == pytest.approx(pue * it.sum(), rel=1e-9)


def test_one_more_job_costs_less_than_the_average() -> None:
    it, cop = np.full(24, 1000.0), np.full(24, 5.0)
    model = calibrate_facility_power(it, cop, pue=1.5)
    assert model.fixed_kw == pytest.approx(250)  # 1500 - 1000 * (1 + 0.05 + 0.2)
    marginal = model.marginal_pue_of(np.full(24, 10.0), it, cop)
    assert marginal.p50 == pytest.approx(1.25) and marginal.p50 < 1.5
    steep = FacilityPower(0.0, 0.05, 1e-4)  # without a fixed part, and with losses of the square, it costs more
    assert steep.marginal_pue(1000.0, 5.0) > steep.power_kw(1000.0, 5.0) / 1000.0


def test_the_marginal_pue_is_the_derivative() -> None:
    model, h = FacilityPower(100.0, 0.05, 1e-4), 1e-3
    slope = (model.power_kw(800.0 + h, 6.0) - model.power_kw(800.0 - h, 6.0)) / (2 * h)
    assert slope == pytest.approx(float(model.marginal_pue(800.0, 6.0)), rel=1e-6)


def test_label_classes_warn_that_they_are_not_verified() -> None:
    classes = [label_class("PUE", value)[0] for value in (1.15, 1.2, 1.3, 1.5, 1.7, 2.0)]
    assert classes == ["A", "B", "C", "D", "E or F", "G"]
    assert "not verified" in str(label_class("WUE", 0.1)[1])


def test_the_way_outwards() -> None:
    steps = facility_steps(metered(1.3, "1"))
    out = carry_outwards(metered(100, "kWh", "node"), steps, "connection_point")
    assert out.p50 == pytest.approx(100 * 1.01 * 1.02 * 1.3 * 1.01)
    assert out.kind == "estimated" and out.p2_5 < out.p50 < out.p97_5
    measured = facility_steps(metered(1.3, "1"), {"rack": metered(0.02, "1")})
    assert carry_outwards(metered(100, "kWh", "node"), measured, "rack").p50 == pytest.approx(102)
    with pytest.raises(DataError, match="no step leads on"):
        carry_outwards(metered(1, "kWh", "device"), steps, "facility")
