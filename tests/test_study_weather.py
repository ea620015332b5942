"""A scenario with forecast weather and a forecast by others: read by issue time, used, hashed, refused when wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridtwin.errors import ScenarioError
from gridtwin.scenario_file import read_scenario
from gridtwin.study import backtest_scenario, read_study_inputs
from tests.own_network import SCENARIO, street_power, write_own_study

FORECASTS = """
[[forecast.weather]]
file = "sky.csv"
unit = "W/m2"
issued_column = "issued"
kind = "estimated"
[[forecast.given]]
file = "mill.csv"
unit = "kW"
issued_column = "issued"
[balancing]
"""


def write_study(folder: Path, forecasts: str = FORECASTS) -> Path:
    """The own street, with the sky behind its roof and a forecast of the mill, both of the morning before."""
    scenario = SCENARIO.replace('model = "SKLearnModel"', 'model = "DayAheadRidge"')
    write_own_study(folder, scenario=scenario.replace("[balancing]\n", forecasts.lstrip()))
    loads, pv = street_power()
    issued = pv.index.tz_localize("UTC").tz_convert("Europe/Berlin").normalize() - pd.Timedelta(hours=16)
    issued = issued.tz_convert("UTC").tz_localize(None)
    sky = pd.DataFrame({"time": pv.index, "issued": issued, "ghi_w_per_m2": 30 * pv["barn roof"].to_numpy()})
    noise = np.random.default_rng(1).uniform(0.97, 1.03, len(loads))
    mill = pd.DataFrame({"time": loads.index, "issued": issued, "mill load": loads["mill load"].to_numpy() * noise})
    sky.to_csv(folder / "sky.csv", index=False)
    mill.to_csv(folder / "mill.csv", index=False)
    return folder


def test_both_are_read_used_and_hashed(tmp_path: Path) -> None:
    source = read_scenario(write_study(tmp_path / "seeing"))
    inputs = read_study_inputs(source)
    assert inputs.forecast_weather is not None and list(inputs.forecast_weather) == ["ghi_w_per_m2"]
    assert inputs.given_forecasts is not None and inputs.given_forecasts["mill load"].max() < 0.06  # MW
    assert {"sky.csv", "mill.csv"} <= set(source.input_hashes())
    blind = read_scenario(write_study(tmp_path / "blind", "[balancing]\n"))
    error = {}
    for name, each in (("seeing", source), ("blind", blind)):
        scores = backtest_scenario(each, ["DayAheadRidge"], 5).scores
        chosen = scores.query("model == 'DayAheadRidge' and day_type == 'all' and level == 'asset'")
        error[name] = chosen.set_index("name")["mae_mw"]
    for asset in ("barn roof", "mill load"):
        assert error["seeing"][asset] < 0.5 * error["blind"][asset]


def test_a_column_that_names_no_asset_is_refused_with_its_place(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "street")
    wrong = pd.read_csv(folder / "mill.csv").rename(columns={"mill load": "mil load"})
    wrong.to_csv(folder / "mill.csv", index=False)
    with pytest.raises(ScenarioError, match=r"forecast.given.*names no asset.*Did you mean mill load"):
        read_study_inputs(read_scenario(folder))
