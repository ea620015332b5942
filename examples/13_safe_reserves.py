"""Network-safe reserves: batteries in a suburb bid both ways; what may be offered so that no activation hurts?"""

import pandas as pd

import gridtwin as gt
from gridtwin.data.rules import read_rules
from gridtwin.optimize.safe_reserves import cut_reserves

net = gt.read_network("simbench:1-LV-semiurb4--2-sw")
profiles = gt.read_profiles("simbench:1-LV-semiurb4--2-sw").sel(time=slice("2016-07-08 08:00", "2016-07-08 19:45"))
twin = gt.build_twin(net, rules=read_rules("lv_planning"))

# every second bus with a load has a battery of 25 kW
buses = list(dict.fromkeys(twin.assets["bus"]))[::2]
bids = pd.DataFrame(
    [(f"{bus} {way}", bus, way, 0.025) for bus in buses for way in ("up", "down")],
    columns=["bid", "bus", "direction", "p_mw"],
)
safe = cut_reserves(twin, profiles, bids)

by_hour = safe.offers.pivot_table(index="time", columns="direction", values="p_offer_mw", aggfunc="sum")
print(f"{len(buses)} batteries bid {0.025 * len(buses):.2f} MW each way; the network carries (MW):")
print(by_hour.iloc[::8].round(3))
cut = safe.offers[safe.offers["limit_asset"] != ""]
print(cut.groupby(["limit_kind", "limit_asset", "limit_side"]).size().rename("bids cut").sort_values().tail(4))
certificate = safe.certificate
print(f"AC power flow agrees after {certificate.rounds} rounds: {certificate.limits_hold}.")
print(f"{certificate.share_of_linear_bound:.1%} of what linear rows up to the very limits would offer.")
