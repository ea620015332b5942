"""What others forecast: weather sharpens PV, a given forecast is corrected, and later issues never leak."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.forecast.day_ahead import forecast
from gridtwin.scenario import Forecast

Neighbourhood = tuple[xr.Dataset, pd.Series]
SETTINGS = Forecast(history_days=75, calibration_days=28, paths=20)
DAYS = [dt.date(2016, 4, 11) + dt.timedelta(days=number) for number in range(6)]


def error_of(neighbourhood: Neighbourhood, asset: str, model: str = "DayAheadRidge", **inputs: pd.DataFrame) -> float:
    """Mean absolute error of the mean of the paths. [MW]"""
    profiles, installed = neighbourhood
    settings = SETTINGS.model_copy(update={"model": model})
    predicted = forecast(profiles, DAYS, settings, issue=dt.time(12), seed=1, installed_mw=installed, **inputs)
    happened = profiles["p_mw"].sel(time=predicted["time"], asset=asset)
    return float(np.abs(predicted["p_mean_mw"].sel(asset=asset) - happened).mean())


@pytest.fixture(scope="module")
def sky(spring: Neighbourhood) -> pd.DataFrame:
    """Irradiance behind the PV systems, as a weather service would have foreseen it, one hour in ten wrong."""
    profiles, installed = spring
    relative = -(profiles["p_mw"].sel(asset="pv 5") / installed["pv 5"]).to_numpy()
    noise = 1 + 0.1 * np.random.default_rng(2).standard_normal(len(relative))
    return pd.DataFrame({"ghi_w_per_m2": 1000 * relative * noise}, index=profiles.indexes["time"])


@pytest.mark.parametrize("model", ["DayAheadRidge", "DayAheadTrees"])
def test_weather_sharpens_pv(spring: Neighbourhood, sky: pd.DataFrame, model: str) -> None:
    blind, seeing = error_of(spring, "pv 5", model), error_of(spring, "pv 5", model, weather=sky)
    assert seeing < 0.5 * blind


def test_a_given_forecast_is_corrected(spring: Neighbourhood) -> None:
    profiles, _ = spring
    truth = profiles["p_mw"].sel(asset="household 0").to_series()
    noise = 0.05 * truth.std() * np.random.default_rng(3).standard_normal(len(truth))
    given = pd.DataFrame({"household 0": 1.3 * truth + noise})  # an operator whose forecast is 30 % too high
    own_error = float(np.abs(0.3 * truth).mean())
    ours = error_of(spring, "household 0", given=given)
    assert ours < 0.5 * own_error
    assert ours < 0.5 * error_of(spring, "household 0")
    assert error_of(spring, "household 1", given=given) == error_of(spring, "household 1")


@pytest.mark.parametrize("with_given", [True, False])
@pytest.mark.parametrize("model", ["DayAheadRidge", "DayAheadBlend"])
def test_what_was_foreseen_for_a_later_day_does_not_matter(
    spring: Neighbourhood, sky: pd.DataFrame, model: str, with_given: bool
) -> None:
    profiles, installed = spring
    later = sky.index >= pd.Timestamp(DAYS[3], tz="Europe/Berlin").tz_convert("UTC").tz_localize(None)
    given = profiles["p_mw"].sel(asset=["household 0"]).to_pandas()
    results = []
    for factor in (1.0, 50.0):
        weather, told = (table.mul(np.where(later, factor, 1.0), axis=0) for table in (sky, given))
        settings = SETTINGS.model_copy(update={"model": model})
        results.append(forecast(profiles, DAYS, settings, issue=dt.time(12), seed=1, installed_mw=installed,
                                weather=weather, given=told if with_given else None))  # fmt: skip
    for name in ("p_mw", "p_quantile_mw", "p_mean_mw"):
        one, other = (result[name].isel(time=slice(0, 3 * 96)) for result in results)
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_weather_with_a_hole_is_refused(spring: Neighbourhood, sky: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="the weather lacks 4 steps"):
        error_of(spring, "pv 5", weather=sky.drop(sky.index[8000:8004]))


def test_a_model_without_missing_values_says_what_it_needs(spring: Neighbourhood) -> None:
    given = spring[0]["p_mw"].sel(asset=["household 0"]).to_pandas()
    with pytest.raises(DataError, match="needs a given forecast of every asset, or of none"):
        error_of(spring, "household 0", "LinearRegressionModel", given=given)


def test_what_a_reader_filled_is_unknown_to_the_forecast(spring: Neighbourhood) -> None:
    """A gap before issue that the reader bridged with later values must not tell of them."""
    profiles, installed = spring
    issue = pd.Timestamp("2016-04-10 10:00")  # noon in Berlin
    gap = (profiles.indexes["time"] >= issue - pd.Timedelta(hours=2)) & (profiles.indexes["time"] < issue)
    results = []
    for filling in (0.0, 5.0):
        changed = profiles.copy(deep=True)
        changed["p_mw"].loc[{"time": profiles["time"][gap], "asset": "household 0"}] = filling
        changed["quality"].loc[{"time": profiles["time"][gap], "asset": "household 0"}] = 1
        results.append(forecast(changed, DAYS[:1], SETTINGS, issue=dt.time(12), seed=1, installed_mw=installed))
    np.testing.assert_array_equal(results[0]["p_mw"], results[1]["p_mw"])
    assert str(results[0]["status"].sel(asset="household 0").item()) == "imputed"


def test_arguments_of_another_model_are_not_swallowed(spring: Neighbourhood) -> None:
    profiles, installed = spring
    settings = SETTINGS.model_copy(update={"arguments": {"lags": 96}})
    with pytest.raises(DataError, match="DayAheadRidge takes no arguments"):
        forecast(profiles, DAYS, settings, issue=dt.time(12), seed=1, installed_mw=installed)
