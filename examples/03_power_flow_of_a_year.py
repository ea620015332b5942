"""AC power flow of all 35,136 quarter hours of a year, and where it gets tight."""

import time

import gridtwin as gt
from gridtwin.grid.simbench import read_simbench

net, profiles, _ = read_simbench("1-LV-rural1--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("lv_planning"))

gt.run_power_flow(twin, profiles.isel(time=slice(0, 16)))  # loads the compiled kernel
start = time.perf_counter()
flow = gt.run_power_flow(twin, profiles)
seconds = time.perf_counter() - start

print(f"{flow.sizes['time']} steps of {flow.sizes['bus']} buses in {seconds:.2f} s")
print(gt.find_congestions(twin, flow, profiles)[["asset", "rule", "worst_value", "unit", "hours_over"]].to_string())
losses_mwh = float(flow["p_loss_mw"].sum()) / 4
print(f"losses of the year: {losses_mwh:.1f} MWh")
