"""What forecast errors cost: a village with batteries and cars, ten days, two forecasts, decisions every hour."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

import gridtwin as gt
from gridtwin.data.market_rules import read_market_rules
from gridtwin.grid.simbench import read_simbench
from gridtwin.operate.intraday import run_intraday
from gridtwin.optimize.intraday_plan import build_resolve, plan_day_ahead
from gridtwin.scenario import Flexibility, Forecast

net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("lv_planning"))
days = [dt.date(2016, 5, 19) + dt.timedelta(days=k) for k in range(10)]
market, settings = read_market_rules("german_style"), Flexibility(wear_price_eur_per_kwh=0.01)

# two batteries and four cars beside what the network holds; every car comes at 17:00 UTC for 12 kWh
cars, batteries = [f"car {k}" for k in range(4)], ["battery 0", "battery 1"]
added = pd.DataFrame({"kind": "electric_car", "p_rated_mw": 0.011}, index=cars)
added = pd.concat([added, pd.DataFrame({"kind": "battery", "p_rated_mw": 0.01, "e_rated_mwh": 0.02}, index=batteries)])
own = twin.assets[~twin.assets["kind"].isin(["battery", "heat_pump"])]
village = replace(twin, assets=pd.concat([own, added]))


def with_added(series: xr.Dataset) -> xr.Dataset:
    """Power of the network's own assets, and none of the added ones before they are scheduled."""
    power = series["p_mw"].sel(asset=own.index.to_numpy())
    kept = power.drop_vars([name for name in power.coords if name not in power.dims])
    return kept.reindex(asset=[*own.index, *added.index], fill_value=0.0).to_dataset().assign_attrs(profiles.attrs)


def forecast_by(model: str) -> xr.Dataset:
    """Paths of all days, issued at noon of the day before."""
    chosen = Forecast(model=model, history_days=100, calibration_days=28, paths=30)
    ratings = twin.assets["p_rated_mw"]
    return gt.forecast(profiles, days, chosen, issue=dt.time(12), seed=1, installed_mw=ratings)


ridge = forecast_by("SKLearnModel")
naive = ridge.assign(p_mw=ridge["p_mw"] - ridge["p_mean_mw"] + ridge["p_naive_mw"])  # same spread, another middle
rows = []
for name, predicted in (("ridge", ridge), ("naive", naive)):
    paths = with_added(predicted)
    for day in np.array_split(paths["time"].to_numpy(), len(days)):
        ours, real = paths.sel(time=day), with_added(profiles.sel(time=day))
        price = 60 - 30 * np.cos(4 * np.pi * (np.arange(len(day)) / 4 - 7) / 24) ** 2
        prices = xr.Dataset({"price_eur_per_mwh": ("time", price)}, coords={"time": day})
        begin = pd.Timestamp(day[0]) + pd.Timedelta(hours=19)
        stays = pd.DataFrame(
            {"asset": cars, "arrival": begin, "departure": begin + pd.Timedelta(hours=4), "e_mwh": 0.012}
        )
        plan = plan_day_ahead(village, ours, stays, prices, settings)
        result = run_intraday(
            village, plan, ours, real, build_resolve(), pd.Timedelta(hours=1),
            sessions=stays, prices=prices, rules=market, flexibility=settings, half_life=pd.Timedelta(hours=1),
        )  # fmt: skip
        rows.append(result.costs.assign(forecast=name))

costs = pd.concat(rows, ignore_index=True)
costs["premium_eur"] = costs["imbalance_premium_eur"] + costs["trade_premium_eur"]
by_course = costs.groupby(["forecast", "course"], sort=False)
print(f"{len(days)} days, rules {market.citation()}")
print("imbalance in MWh a day")
print(by_course["absolute_imbalance_mwh"].mean().unstack().round(3).to_string())
print("cost of deviations in EUR a day: half of the days, and nine in ten, lie below")
print(by_course["premium_eur"].quantile([0.5, 0.9]).unstack().round(2).to_string())
print("mean cost of deviations, and of the whole day, in EUR")
print(by_course[["premium_eur", "total_eur"]].mean().round(2).to_string())
