"""Three ledgers of carbon: identities, and a case where they disagree in sign."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridtwin.ai_energy.carbon import (
    CarbonLedgers,
    WorkloadEnergy,
    change_of_ledgers,
    check_ledgers,
    consequential_carbon,
    location_based_carbon,
    market_based_carbon,
)
from gridtwin.ai_energy.quantity import exact, missing, with_interval
from gridtwin.errors import DataError

HOURS = pd.DatetimeIndex(["2026-01-01T00:00Z", "2026-01-01T01:00Z"])
PLANTS = {
    HOURS[0]: [(50.0, 0.0), (1000.0, 1.0)],  # wind, coal: [MWh], [t/MWh]
    HOURS[1]: [(1000.0, 0.4)],  # gas
}
DEMAND = pd.Series([60.0, 60.0], HOURS)


def dispatch(hour: pd.Timestamp, demand_mwh: float) -> float:
    """Emissions of one hour, plants in the order of their cost. [t]"""
    tonnes = 0.0
    for capacity, intensity in PLANTS[hour]:
        used = min(capacity, demand_mwh)
        demand_mwh -= used
        tonnes += used * intensity
    return tonnes


def system_emissions(more_mwh: pd.Series) -> float:
    return sum(dispatch(hour, DEMAND[hour] + more_mwh[hour]) for hour in HOURS)


def job(*mwh: float) -> WorkloadEnergy:
    energy = exact(sum(mwh), "MWh", kind="measured", method="meter", boundary="facility", measured_share=1.0)
    return WorkloadEnergy(energy, pd.Series(mwh, HOURS[: len(mwh)]))


def ledgers(work: WorkloadEnergy, intensity: pd.Series) -> CarbonLedgers:
    none = pd.Series(0.0, HOURS)
    return CarbonLedgers(
        location_based_carbon(work, intensity).hourly,
        market_based_carbon(work, none, intensity),
        consequential_carbon(work, system_emissions),
    )


def test_moving_to_the_clean_hour_can_emit_more() -> None:
    """Two hours: 50 MWh of wind and 10 of coal, average 167 and marginal 1000 kg/MWh; 60 of gas, both 400.

    Moving 5 MWh from the second into the first looks like 5 * (0.167 - 0.4) = -1.17 t at the averages before it.
    The move itself raises the average of the first hour to 15/65: the books of the job then say
    5 * 15/65 - 5 * 0.4 = -0.85 t. The system burns 5 MWh of coal for 5 of gas: 5 * (1.0 - 0.4) = +3.00 t.
    """
    late, early = job(0.0, 5.0), job(5.0, 0.0)
    average = pd.Series([1000 * 15 / 65, 400.0], HOURS)
    change = change_of_ledgers(ledgers(late, average), ledgers(early, average))
    assert change.location_based.p50 == pytest.approx(-0.85, abs=0.005)
    assert change.consequential.p50 == pytest.approx(3.00)
    (finding,) = check_ledgers(change)
    assert finding.severity == "warning" and "disagree in sign" in str(finding)


def test_ledgers_that_agree_say_nothing() -> None:
    assert check_ledgers(ledgers(job(1.0, 2.0), pd.Series([167.0, 400.0], HOURS))) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), min_size=2, max_size=50))
def test_hourly_is_shortcut_and_covariance(steps: list[tuple[float, float]]) -> None:
    energy, intensity = (np.array(values) for values in zip(*steps, strict=True))
    if energy.sum() < 1e-3:
        return
    total = exact(float(energy.sum()), "MWh", kind="measured", method="meter", boundary="facility")
    carbon = location_based_carbon(WorkloadEnergy(total, pd.Series(energy)), pd.Series(intensity))
    parts = carbon.shortcut.p50 + carbon.covariance.p50
    assert carbon.hourly.p50 == pytest.approx(parts, abs=1e-9)
    covariance = np.cov(energy, intensity, ddof=0)[0, 1] * len(energy) / 1000
    assert carbon.covariance.p50 == pytest.approx(covariance, abs=1e-9)


@given(st.lists(st.floats(0, 20), min_size=2, max_size=2))
def test_instruments_of_another_hour_do_not_help(retired: list[float]) -> None:
    residual = pd.Series(500.0, HOURS)
    carbon = market_based_carbon(job(5.0, 5.0), pd.Series(retired, HOURS), residual).p50
    assert carbon == pytest.approx(0.5 * sum(max(0.0, 5.0 - r) for r in retired))


def test_the_interval_of_the_energy_is_carried() -> None:
    energy = with_interval(10.0, 0.1, 0.5, "MWh", kind="estimated", method="model", boundary="facility")
    work = WorkloadEnergy(energy, pd.Series([1.0, 0.0], HOURS))
    carbon = location_based_carbon(work, pd.Series([100.0, 900.0], HOURS))
    assert carbon.hourly.ends == pytest.approx((0.9, 1.0, 1.5))
    # the covariance is negative, so its ends change sides
    assert carbon.covariance.p2_5 < carbon.covariance.p50 < carbon.covariance.p97_5 < 0
    # 8 MWh retired: the market-based ends are not in proportion
    market = market_based_carbon(work, pd.Series([8.0, 0.0], HOURS), pd.Series(500.0, HOURS))
    assert market.ends == pytest.approx((0.5, 1.0, 3.5))


def test_missing_energy_gives_missing_carbon() -> None:
    work = WorkloadEnergy(missing("MWh", reason="no meter"), pd.Series([1.0, 1.0], HOURS))
    assert location_based_carbon(work, pd.Series(400.0, HOURS)).hourly.is_missing
    assert consequential_carbon(work, system_emissions).is_missing


def test_other_labels_and_gaps_are_refused() -> None:
    with pytest.raises(DataError, match="labels differ"):
        location_based_carbon(job(1.0, 1.0), pd.Series([1.0, 1.0], HOURS + pd.Timedelta("1h")))
    with pytest.raises(DataError, match="gap"):
        location_based_carbon(job(1.0, 1.0), pd.Series([1.0, np.nan], HOURS))


def test_ledgers_cannot_be_added() -> None:
    one = ledgers(job(1.0, 1.0), pd.Series(400.0, HOURS))
    with pytest.raises(TypeError):
        one + one  # type: ignore[operator]
