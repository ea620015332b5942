"""A year of a medium-voltage network as statistics: where it is tight, how often, and what would help."""

import gridtwin as gt

net, profiles, _ = gt.read_simbench_shapes("1-MV-semiurb--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("mv_planning"))

year = gt.run_power_flow_statistics(twin, profiles, percentiles=(50, 99))
table = year[["loading_max_percent", "time_of_loading_max", "overload_h", "e_loss_mwh"]].to_dataframe()
print(table.nlargest(5, "loading_max_percent").to_string())
print(f"lowest voltage {float(year['vm_min_pu'].min()):.3f} pu, losses {float(year['e_loss_mwh'].sum()):.0f} MWh")

# At the worst moment: which bus moves the tightest branch most?
worst = table["loading_max_percent"].idxmax()
moment = gt.build_snapshot(twin)
slopes = gt.run_sensitivities(twin, moment, list(twin.buses.index))
flow = slopes["p_branch_mw_per_mw"].isel(path=0, time=0).sel(branch=worst).to_series()
print(f"more flow in {worst} for 1 MW more consumption [MW]:")
print(flow[flow.abs().nlargest(3).index].to_string())
