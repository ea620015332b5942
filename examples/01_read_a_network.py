"""Read a SimBench network with its year of profiles, and look at what gridtwin knows about it."""

import gridtwin as gt
from gridtwin.grid.simbench import read_simbench

net, profiles, findings = read_simbench("1-LV-rural1--2-sw")
twin = gt.build_twin(net, rules=gt.read_rules("lv_planning"))

print(f"{len(twin.buses)} buses, {len(twin.branches)} branches, {len(twin.assets)} assets")
print(twin.assets.groupby("kind")["p_rated_mw"].agg(["count", "sum"]))
print(f"{profiles.sizes['time']} quarter hours from {profiles.indexes['time'][0]} UTC; consumption is positive")
for finding in findings:
    print(f"{finding.severity}: {finding}")
