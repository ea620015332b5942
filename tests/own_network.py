"""A small network of one's own with its files, as a user would bring them: for the tests of whole studies.

    20 kV --- trafo 250 kVA --- substation --- mill --- farm

Profiles in local time with daylight saving, stamped at interval end, in kW; PV in
a second file, generation positive; hourly prices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd

FIRST, DAYS = "2016-01-20", 70
"""Data over 70 local days; 27 March has 23 hours."""
STUDIED = "2016-03-28"
SCENARIO = """
title = "Our own street"
seed = 4
[network]
source = "street.json"
[time]
first_day = 2016-03-28
[[profiles.file]]
file = "loads.csv"
zone = "Europe/Berlin"
label = "end"
unit = "kW"
[[profiles.file]]
file = "pv.csv"
zone = "Europe/Berlin"
label = "end"
unit = "kW"
sign = "generation"
cos_phi = 1.0
[prices]
file = "prices.csv"
unit = "EUR/MWh"
[[growth]]
kind = "battery"
count = 1
kw = 5.0
kwh = 10.0
[forecast]
model = "SKLearnModel"
calibration_days = 14
paths = 5
[balancing]
step_seconds = 900
"""


def write_own_study(folder: Path, *, scenario: str = SCENARIO) -> Path:
    """The scenario folder with network, profiles and prices."""
    folder.mkdir(parents=True, exist_ok=True)
    pp.to_json(street(), str(folder / "street.json"))
    loads, pv = street_power()
    at_interval_end(loads).to_csv(folder / "loads.csv")
    at_interval_end(pv).to_csv(folder / "pv.csv")
    hours = pd.date_range(f"{STUDIED} 00:00", periods=24, freq="h", tz="Europe/Berlin").tz_convert("UTC")
    price = 60 + 25 * np.sin(np.arange(24) / 24 * 4 * np.pi)
    pd.DataFrame({"time": hours.tz_localize(None), "price": price.round(2)}).to_csv(folder / "prices.csv", index=False)
    (folder / "scenario.toml").write_text(scenario, encoding="utf-8")
    return folder


def street() -> pp.pandapowerNet:
    net = pp.create_empty_network()
    upstream = pp.create_bus(net, 20.0, name="upstream")
    substation, mill, farm = (pp.create_bus(net, 0.4, name=name) for name in ("substation", "mill", "farm"))
    pp.create_ext_grid(net, upstream, vm_pu=1.01)
    pp.create_transformer(net, upstream, substation, "0.25 MVA 20/0.4 kV", name="transformer")
    for start, end, km in ((substation, mill, 0.25), (mill, farm, 0.4)):
        name = f"cable to the {net.bus.name[end]}"
        pp.create_line(net, start, end, km, "NAYY 4x150 SE", name=name)
    for name, bus, p_mw in (("mill load", mill, 0.04), ("farm house", farm, 0.02), ("stable", farm, 0.015)):
        pp.create_load(net, bus, p_mw, name=name, sn_mva=p_mw)
    pp.create_sgen(net, farm, 0.03, name="barn roof", sn_mva=0.03)
    return net


def street_power() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Loads and generation, both positive, in kW at UTC interval starts."""
    local = pd.date_range(FIRST, periods=DAYS + 1, freq="D", tz="Europe/Berlin")
    times = pd.date_range(local[0], local[-1], freq="15min", inclusive="left").tz_convert("UTC").tz_localize(None)
    hour = np.asarray((times + pd.Timedelta(hours=1)).hour + times.minute / 60, dtype=float)
    random = np.random.default_rng(7)
    evening = 0.3 + 0.7 * np.exp(-(((hour - 19) / 3) ** 2))
    peaks = {"mill load": 34.0, "farm house": 12.0, "stable": 9.0}
    loads = {name: peak * evening * random.uniform(0.8, 1.2, len(times)) for name, peak in peaks.items()}
    cloud = np.repeat(random.uniform(0.3, 1.0, DAYS + 1), 96)[: len(times)]
    sun = 26.0 * cloud * np.clip(np.cos((hour - 12.5) / 5.0 * np.pi / 2), 0, None) * (np.abs(hour - 12.5) < 5)
    frames = (pd.DataFrame(loads, index=times), pd.DataFrame({"barn roof": sun}, index=times))
    return frames[0].round(4), frames[1].round(4)


def at_interval_end(power: pd.DataFrame) -> pd.DataFrame:
    """Local wall-clock stamps at the end of each interval, as a metering system exports them."""
    ends = (power.index + pd.Timedelta(minutes=15)).tz_localize("UTC").tz_convert("Europe/Berlin").tz_localize(None)
    return power.set_axis(ends.rename("time"))
