"""An energy community: a common roof, three keys, three bills, and a battery that follows a simple rule."""

import numpy as np
import pandas as pd

from gridtwin.operate.battery_rules import RuledBattery, run_self_consumption
from gridtwin.operate.communities import CommunityTariff, bill_community, share_energy

times = pd.date_range("2026-06-01", periods=96, freq="15min", name="time")
clock = np.arange(96) / 4
sun_mwh = pd.DataFrame({"school roof": 0.02 * np.exp(-(((clock - 13) / 3) ** 2)) / 4}, index=times)
evening, office = np.exp(-(((clock - 19) / 2.5) ** 2)), np.exp(-(((clock - 12) / 3.5) ** 2))
used_mwh = pd.DataFrame(
    {"house": 0.0005 + 0.003 * evening, "flats": 0.001 + 0.009 * evening, "office": 0.001 + 0.012 * office}, index=times
) / 4  # fmt: skip
shares = pd.Series({"house": 0.2, "flats": 0.5, "office": 0.3})
tariff = CommunityTariff(180.0, 110.0, 60.0, network_eur_per_mwh=120.0, community_network_eur_per_mwh=50.0)

for key in ("static", "proportional", "hybrid"):
    shared = share_energy(used_mwh, sun_mwh, key=key, shares=shares)
    bills = bill_community(shared, tariff)
    got = ", ".join(f"{name} {1000 * e:.1f}" for name, e in shared["shared_mwh"].sum("time").to_series().items())
    saved = bills["alone_eur"].sum() - bills.loc[shares.index, "total_eur"].sum()
    fed_in = 1000 * float(shared["fed_in_mwh"].sum())
    print(f"{key:>12}: {got} kWh of the roof; members save {saved:.2f} EUR, {fed_in:.1f} kWh are fed in")

# a battery at the same bus stores what would be fed in
net_mw = (4 * (used_mwh.sum(axis=1) - sun_mwh["school roof"])).to_xarray()
battery = RuledBattery(p_charge_mw=0.01, p_discharge_mw=0.01, e_max_mwh=0.015)
stored = run_self_consumption(net_mw, battery)
before, after = (250 * float(np.maximum(-p, 0).sum()) for p in (net_mw, stored["p_meter_mw"]))
print(f"With a battery of 15 kWh {after:.1f} instead of {before:.1f} kWh are fed in.")
