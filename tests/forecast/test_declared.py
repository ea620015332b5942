"""Declared power replaces the forecast of its kind and leaves the others alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.forecast.declared import declare_power


def forecast_of(kinds: list[str]) -> xr.Dataset:
    rng = np.random.default_rng(1)
    path, quantile, plain = ((3, 4, 2), (5, 4, 2), (4, 2))
    dims = {"p_mw": "path", "q_mvar": "path", "p_quantile_mw": "quantile", "p_mean_mw": "", "p_naive_mw": ""}
    shapes = {"path": path, "quantile": quantile, "": plain}
    return xr.Dataset(
        {
            name: ((*([first] if first else []), "time", "asset"), rng.random(shapes[first]))
            for name, first in dims.items()
        },
        coords={
            "time": pd.date_range("2016-11-09", periods=4, freq="15min"),
            "asset": ["house", "job"],
            "kind": ("asset", kinds),
            "status": ("asset", ["forecast", "idle"]),
        },
    )


def test_only_the_declared_kind_changes() -> None:
    forecast = forecast_of(["household", "computing_job"])
    profiles = xr.Dataset(
        {"p_mw": (("time", "asset"), np.arange(8.0).reshape(4, 2)), "q_mvar": (("time", "asset"), np.ones((4, 2)))},
        coords={"time": forecast["time"], "asset": forecast["asset"]},
    )
    declared = declare_power(forecast, profiles, "computing_job")
    assert declared["status"].to_numpy().tolist() == ["forecast", "declared"]
    for name in ("p_mw", "p_quantile_mw", "p_mean_mw", "p_naive_mw"):
        assert (declared[name].sel(asset="job") == [1.0, 3.0, 5.0, 7.0]).all()
        assert declared[name].sel(asset="house").equals(forecast[name].sel(asset="house"))
    assert (declared["q_mvar"].sel(asset="job") == 1.0).all()


def test_without_that_kind_nothing_changes() -> None:
    forecast = forecast_of(["household", "household"])
    assert declare_power(forecast, forecast, "computing_job") is forecast
