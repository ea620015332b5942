"""Forecast every load and generator of a feeder for two local days, and score the forecast."""

import datetime as dt

import gridtwin as gt
from gridtwin.grid.simbench import read_simbench
from gridtwin.scenario import Forecast

net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("lv_planning"))
days = [dt.date(2016, 5, 19), dt.date(2016, 5, 20)]
settings = Forecast(history_days=100, calibration_days=28, paths=30)

predicted = gt.forecast(profiles, days, settings, issue=dt.time(12), seed=1, installed_mw=twin.assets["p_rated_mw"])
realised = profiles.sel(time=predicted["time"])
band = predicted["p_mw"].sum("asset").quantile([0.1, 0.9], dim="path")

print(f"issued at {predicted['issue_time'].to_numpy()[0]} UTC, weather: {predicted.attrs['weather']}")
print(f"sum of the feeder, largest 80 % band: {1000 * float((band[1] - band[0]).max()):.0f} kW")
print(gt.score_forecast(predicted, realised).tail(8).to_string())
