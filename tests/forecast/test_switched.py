"""Assets that run or rest: an atom at zero, values as on past days, and the forecast as their mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridtwin.forecast.switched import switched_values

PLACES = (np.arange(200) + 0.5) / 200


def cars(share: float, power: float, days: int = 50) -> np.ndarray:
    """A car on the first `share` of the days, (day, slot, asset)."""
    running = np.arange(days) < share * days
    return np.where(running, power, 0.0)[:, np.newaxis, np.newaxis] * np.ones((1, 8, 1))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 0.9), st.floats(0.05, 1.0), st.floats(0.0, 1.0), st.sampled_from([1.0, -1.0]))
def test_the_mean_is_the_forecast(share: float, power: float, part: float, sign: float) -> None:
    actual = sign * cars(share, power)
    point = np.full((8, 1), sign * part * power * 0.95)
    values = switched_values(actual, point, PLACES)
    assert (np.diff(values, axis=0) >= 0).all()
    assert values.mean(axis=0) == pytest.approx(point, abs=power / 200 + 1e-6)  # one of 200 places


def test_a_forecast_above_all_running_values_scales_them() -> None:
    values = switched_values(cars(0.5, 0.4), np.full((8, 1), 0.6), PLACES)
    assert values.mean(axis=0) == pytest.approx(0.6, abs=0.01)


def test_an_asset_that_does_both_keeps_its_rest_between() -> None:
    actual = np.concatenate([cars(1, -0.5, 10), cars(1, 0.0, 20), cars(1, 0.8, 20)])
    point = np.full((8, 1), actual.mean())
    values = switched_values(actual, point, PLACES)[:, 0, 0]
    assert (np.diff(values) >= 0).all()
    assert np.mean(values < 0) == pytest.approx(0.2, abs=0.01)
    assert np.mean(values == 0) == pytest.approx(0.4, abs=0.01)
    assert values.mean() == pytest.approx(point[0, 0], abs=0.01)


def test_an_asset_that_never_ran_rests_and_an_unknown_one_is_unknown() -> None:
    resting = np.zeros((20, 8, 1))
    assert not switched_values(resting, np.full((8, 1), 0.3), PLACES).any()
    assert np.isnan(switched_values(np.full((20, 8, 1), np.nan), np.full((8, 1), 0.3), PLACES)).all()
