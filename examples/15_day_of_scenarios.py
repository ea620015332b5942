"""A day of 1,000 scenarios in steps of a second: two areas, batteries and demand response in merit order, one price.

Every number is assumed. North (6 GW) has much wind, South (10 GW) much sun; forecasts of both miss by 1.2 % of the peak
for hours, and once a day, at any minute, a plant of each fails for an hour. A portfolio has 30 % of North's errors.
"""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from gridtwin.data.market_rules import read_market_rules
from gridtwin.operate import area_control as control
from gridtwin.operate.imbalance_price import price_periods

SCENARIOS, QUARTERS, SPOT, OWN, KEPT = 1000, 96, 70.0, 0.3, 0.95
PEAKS_MW, LOST_MW = {"North": 6000.0, "South": 10_000.0}, {"North": 120.0, "South": 200.0}
market = read_market_rules("eu_standard")
seconds = {product.name.lower(): product.activation_seconds for product in market.product}

# merit order: share of the peak, price, product; batteries first, demand response catches up on half of what it gave
OFFERS = [
    ("battery", "up", 0.006, 85, "afrr"), ("hydro", "up", 0.02, 105, "afrr"), ("demand", "up", 0.015, 120, "mfrr"),
    ("turbines", "up", 0.03, 160, "mfrr"), ("battery", "down", 0.006, 55, "afrr"), ("hydro", "down", 0.02, 40, "afrr"),
    ("boilers", "down", 0.03, 20, "mfrr"),
]  # fmt: skip
areas = tuple(
    control.ControlArea(
        name, 5 * peak, 0.01 * peak, droop=(control.DroopReserve(0.02 * peak, 0.2, 0.01, seconds["fcr"]),),
        bias_mw_per_hz=0.11 * peak, afrr_proportional=0.1, afrr_integral_s=150, mfrr_threshold_mw=0.008 * peak,
        mfrr_direct_share=0.9, noise_mw=0.004 * peak, noise_s=600,
    )
    for name, peak in PEAKS_MW.items()
)  # fmt: skip
bids = tuple(
    control.BalancingBid(
        f"{area} {name} {side}", area, side, share * peak, price, product, seconds[product],
        store=f"{area} battery" if name == "battery" else None, rebound_share=0.5 * (name == "demand"), rebound_s=1800,
    )
    for area, peak in PEAKS_MW.items() for name, side, share, price, product in OFFERS
)  # fmt: skip
stores = tuple(control.EnergyStore(f"{name} battery", 0.012 * peak, efficiency=0.88) for name, peak in PEAKS_MW.items())
system = control.ControlSystem(areas, (control.TieLine("North", "South", 800.0),), bids, stores, netting=True)

# what deviates from the schedule, by minute, consumption positive: errors that last, correlated by 0.4, and outages
generator = np.random.default_rng(15)
shock = np.sqrt(1 - KEPT**2) * np.sqrt([[1, 0], [0.16, 0.84]]) @ generator.standard_normal((QUARTERS, 2, SCENARIOS))
error_mw = lfilter([1], [1, -KEPT], shock, axis=0) * 0.012 * np.array([[*PEAKS_MW.values()]]).T
since = np.arange(24 * 60)[:, np.newaxis, np.newaxis] - generator.integers(0, 23 * 60, (2, SCENARIOS))
lost_mw = ((since >= 0) & (since < 60)) * np.array([[*LOST_MW.values()]]).T
beyond_mw, dims = np.repeat(error_mw, 15, axis=0) + lost_mw, ("time", "area", "scenario")
inputs = control.ControlInputs(load_mw=xr.DataArray(beyond_mw, dims=dims, coords={"area": list(PEAKS_MW)}), seed=15)
day = control.run_area_control(system, control.ControlTimes(86_400, trace_s=120), inputs)

# quantities of each scenario; a downward bid pays for what it draws
facts = pd.DataFrame([vars(bid) for bid in bids]).set_index("name")
facts["product"] = facts["product"].map({"afrr": "aFRR", "mfrr": "mFRR"})
facts["paid"] = facts["price_eur_per_mwh"] * np.where(facts["direction"] == "up", 1, -1)
rows = {"time outside 49.95 to 50.05 Hz [%]": 100 * (abs(day["trace_f_hz"][:, 0] - 50) > 0.05).mean("time_s")}
rows["FCR, both ways [MWh]"] = abs(day["p_droop_mw"]).sum(["period", "area"]) / 4
for (product, side), offers in facts.groupby(["product", "direction"], sort=False):
    energy = day["e_bid_mwh"].sel(bid=offers.index.to_numpy()).sum("period")  # (bid, scenario)
    rows[f"{product} {side} [MWh]"] = energy.sum("bid")
    rows[f"{product} {side}, paid as bid [EUR]"] = offers["paid"].to_numpy() @ energy.to_numpy()
charge = 100 * day["e_mwh"] / xr.DataArray([store.e_mwh for store in stores], dims="store")
rows["lowest charge of a battery [%]"] = charge.min(["period", "store"])
rows["highest charge of a battery [%]"] = charge.max(["period", "store"])

# the price of imbalance in the North: no rule looks beyond its quarter hour, so scenarios stand one after the other
times, north = pd.date_range("2026-01-01", periods=SCENARIOS * QUARTERS, freq="15min"), facts[facts["area"] == "North"]
e_mwh = day["e_bid_mwh"].sel(bid=north.index.to_numpy()).stack(time=["scenario", "period"]).to_numpy()
bid, row = np.nonzero(e_mwh > 1e-9)
activations = north.iloc[bid].assign(time=times[row], e_mwh=e_mwh[bid, row])
deficit = day["p_load_mw"].sel(area="North").stack(time=["scenario", "period"]).to_numpy() / 4
imbalances = pd.DataFrame({"time": times, "position_mwh": 0.0, "metered_mwh": deficit, "imbalance_mwh": deficit})
offered = (north.groupby("direction")["p_mw"].sum() / 4).rename(lambda side: f"offered_{side}_mwh")
spot = pd.DataFrame({"price_eur_per_mwh": SPOT, **offered}, index=times)
price = price_periods(imbalances, activations, spot, market)[0]["imbalance_eur_per_mwh"].to_numpy()
own_mwh = OWN * error_mw[:, 0].T / 4
rows["portfolio, beside day-ahead [EUR]"] = ((price.reshape(own_mwh.shape) - SPOT) * own_mwh).sum(axis=1)

print(f"{SCENARIOS} scenarios of a day in steps of 1 s, rules {market.citation()}")
quantiles = {name: np.quantile(values, [0.05, 0.5, 0.95]) for name, values in rows.items()}
print(pd.DataFrame(quantiles, ["p5", "p50", "p95"]).T.round(1).to_string())
