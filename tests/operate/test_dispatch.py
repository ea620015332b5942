"""What a schedule does to the power of each kind of asset on each path."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.errors import DataError
from gridtwin.operate.dispatch import apply_schedule, power_ratio

NAMES = ["house", "car", "pump", "roof", "battery"]
KINDS = ["household", "electric_car", "heat_pump", "pv", "battery"]
TIMES = pd.date_range("2016-01-11 23:00", periods=2, freq="15min", unit="ns")
P_MW = np.array([[[2, 1, 1, -4, 0], [2, 1, 3, -6, 0]], [[3, 5, 0, -2, 0], [3, 5, 2, -9, 0]]]) / 1000
"""(path, time, asset)"""


@pytest.fixture
def twin() -> SimpleNamespace:
    rated = np.array([5, 11, 4, 10, 5]) / 1000
    return SimpleNamespace(assets=pd.DataFrame({"kind": KINDS, "p_rated_mw": rated}, index=NAMES))


@pytest.fixture
def forecast() -> xr.Dataset:
    q_mvar = P_MW * np.array([0.5, 0, 0.25, 0, 0])
    dims = ("path", "time", "asset")
    return xr.Dataset(
        {"p_mw": (dims, P_MW), "q_mvar": (dims, q_mvar)},
        coords={"path": [0, 1], "time": TIMES, "asset": NAMES, "kind": ("asset", KINDS)},
        attrs={"step": "PT15M", "zone": "Europe/Berlin"},
    )


def schedule(**kw: tuple[list[float], list[float]]) -> xr.Dataset:
    """Scheduled and base power of some assets over both steps. [kW]"""
    p, base = (np.array([part[k] for part in kw.values()]).T / 1000 for k in (0, 1))
    dims = ("time", "asset")
    return xr.Dataset({"p_mw": (dims, p), "p_base_mw": (dims, base)}, coords={"time": TIMES, "asset": list(kw)})


def test_each_kind_follows_in_its_own_way(twin, forecast):
    plan = schedule(car=([7, 0], [1, 1]), pump=([3, 0], [1, 2]), roof=([-3, -8], [-4, -8]), battery=([-2, 5], [0, 0]))
    done = apply_schedule(twin, forecast, plan)
    kw = {name: (1000 * done["p_mw"].sel(asset=name)).to_numpy().tolist() for name in NAMES}
    assert kw["house"] == [[2, 2], [3, 3]]  # not in the schedule
    assert np.array(kw["car"]) == pytest.approx(np.array([[7, 0], [7, 0]]))  # as scheduled
    assert np.array(kw["battery"]) == pytest.approx(np.array([[-2, 5], [-2, 5]]))
    # shifted by +2 and -2, within 0 and 4 kW
    assert np.array(kw["pump"]) == pytest.approx(np.array([[3, 1], [2, 0]]))
    # capped at 3 kW in the first step, free in the second
    assert np.array(kw["roof"]) == pytest.approx(np.array([[-3, -6], [-2, -9]]))


def test_reactive_power_keeps_its_ratio(twin, forecast):
    done = apply_schedule(twin, forecast, schedule(pump=([3, 0], [1, 2])))
    assert done["q_mvar"].sel(asset="pump").to_numpy() == pytest.approx(
        0.25 * done["p_mw"].sel(asset="pump").to_numpy()
    )
    assert done["q_mvar"].sel(asset="house").equals(forecast["q_mvar"].sel(asset="house"))
    assert power_ratio(P_MW, forecast["q_mvar"].to_numpy()).tolist() == pytest.approx([0.5, 0, 0.25, 0, 0])


def test_profiles_without_paths_get_one(twin, forecast):
    single = forecast.isel(path=0, drop=True)
    done = apply_schedule(twin, single, schedule(car=([7, 0], [1, 1])))
    assert done["p_mw"].dims == ("path", "time", "asset") and done.sizes["path"] == 1
    assert done["quality"].dims == ("time", "asset") and (done["quality"] == 3).all()
    assert single["p_mw"].sel(asset="car").to_numpy() == pytest.approx([0.001, 0.001])  # the input is left alone


def test_other_labels_are_refused(twin, forecast):
    with pytest.raises(DataError, match="lack") as error:
        apply_schedule(twin, forecast, schedule(lorry=([1, 1], [0, 0])).isel(time=[0]))
    assert "lorry" in str(error.value) and "different times" in str(error.value)
