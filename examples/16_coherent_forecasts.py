"""Forecasts that add up: assets, feeders and the station, each forecast by itself, then made coherent."""

import datetime as dt

import numpy as np
import pandas as pd

import gridtwin as gt
from gridtwin.data.profiles import axis_of, build_profiles
from gridtwin.forecast.copula import compare_sums
from gridtwin.forecast.reconcile import fit_reconciliation
from gridtwin.forecast.score_rules import crps_of_paths
from gridtwin.grid.simbench import read_simbench
from gridtwin.scenario import Forecast

net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("lv_planning"))
profiles = profiles.sel(time=slice("2015-12-31 23:00", "2016-06-30"))
names = profiles["asset"].to_numpy().tolist()
hierarchy = gt.build_hierarchy(gt.find_parents(twin), names)

# feeders and the station are metered too: their sums as further series, forecast by the same model
nodes = pd.DataFrame({"element": "sum", "index": range(len(hierarchy.sums)), "kind": "load"}, index=hierarchy.sums)
nodes = pd.concat([twin.assets.loc[names, ["element", "index", "kind"]], nodes])
rated_mw = twin.assets["p_rated_mw"].loc[names].to_numpy()
rated_mw = pd.Series(np.append(rated_mw, hierarchy.add_up(rated_mw)), index=nodes.index)
power = [profiles[name].to_numpy() for name in ("p_mw", "q_mvar")]
metered = build_profiles(axis_of(profiles), nodes, *(np.hstack([part, hierarchy.add_up(part)]) for part in power))

# every day as issued at noon of the day before: four weeks to learn how nodes err, a day between, a fortnight to test
days = [dt.date(2016, 4, 21) + dt.timedelta(days=k) for k in range(28 + 1 + 14)]
settings = Forecast(model="DayAheadRidge", history_days=80, calibration_days=28, paths=50)
own = gt.forecast(metered, days, settings, issue=dt.time(12), seed=1, installed_mw=rated_mw)
actual = metered["p_mw"].sel(time=own["time"]).to_numpy()
errors = actual[: 28 * 96] - own["p_mean_mw"].to_numpy()[: 28 * 96]
test = slice(29 * 96, None)
actual, count = actual[test], len(names)
point, paths = own["p_mean_mw"].to_numpy()[test], own["p_mw"].to_numpy()[:, test]

fitted = fit_reconciliation(hierarchy, "mint_shrink", asset_errors=errors[:, :count], sum_errors=errors[:, count:])
within = {"lower": paths[..., :count].min(axis=0), "upper": paths[..., :count].max(axis=0)}  # no sun by night
coherent_point = gt.reconcile(fitted, point[:, :count], point[:, count:], **within)
coherent = gt.reconcile(fitted, paths[..., :count], paths[..., count:], **within)
gap_mw = np.abs(hierarchy.add_up(point[:, :count]) - point[:, count:]).mean(axis=0)
left_mw = np.abs(hierarchy.add_up(coherent.assets) - coherent.sums).max()
print(f"{count} assets, {len(hierarchy.sums) - 1} feeders; at {hierarchy.roots[0]} the forecasts differ by "
      f"{1000 * gap_mw[0]:.1f} kW, the coherent ones by {1000 * left_mw:.1g} kW")  # fmt: skip

courses = {
    "each by its own": (point, paths),
    "assets added up": [np.concatenate([v[..., :count], hierarchy.add_up(v[..., :count])], -1) for v in (point, paths)],
    "coherent": [np.concatenate([v.assets, v.sums], -1) for v in (coherent_point, coherent)],
}
level = np.where(nodes["element"] != "sum", "asset", "feeder").astype(object)
level[nodes.index == hierarchy.roots[0]] = "station"
tables = []
for course, (middle, drawn) in courses.items():
    scores = {"MAE": np.abs(middle - actual).mean(axis=0), "CRPS": crps_of_paths(actual, drawn).mean(axis=0)}
    tables.append(pd.DataFrame(scores).mul(1000).groupby(level).mean().stack().rename(course))
table = pd.concat(tables, axis=1)
print(f"mean per node in kW, {len(actual) // 96} days:\n{table.round(3).to_string()}")
for name, (before, *_, after) in table.iterrows():
    word = "better" if after < before else "worse"
    print(f"{' '.join(name)}: {abs(100 * (after / before - 1)):.1f} % {word} by reconciliation")

print("80 % band of the station's sum, by paths drawn together and by the same paths shuffled asset by asset:")
for course, part in (("assets added up", paths[..., :count]), ("coherent", coherent.assets)):
    for band in compare_sums(part, actual[:, :count], ["station"] * count).itertuples():
        print(f"{course}, {band.dependence}: covers {band.coverage_percent:.0f} %, {1000 * band.width:.0f} kW wide")
