"""Move cars, heat pumps, batteries and PV so that a village stays within its limits, checked by AC power flow."""

from pathlib import Path

import gridtwin as gt
from gridtwin.study import read_study_inputs, studied_axis

source = gt.read_scenario(Path(__file__).parent.parent / "scenarios" / "village_pv")
scenario, inputs = source.scenario, read_study_inputs(source)
predicted = gt.forecast(
    inputs.profiles,
    studied_axis(scenario).local_days,
    scenario.forecast,
    issue=scenario.time.issue,
    seed=scenario.seed,
    installed_mw=inputs.twin.assets["p_rated_mw"],
)
before = gt.run_power_flow(inputs.twin, predicted)
plan = gt.optimize_flexibility(inputs.twin, predicted, inputs.prices, inputs.declared, scenario.flexibility)
after = gt.run_power_flow(inputs.twin, gt.apply_schedule(inputs.twin, predicted, plan.schedule))

for case, flow in (("before", before), ("after", after)):
    highest = flow["loading_percent"].max(["time", "branch"])
    middle, worst = float(highest.median()), float(highest.max())
    print(f"{case}: highest loading {middle:.0f} % in the median path, {worst:.0f} % in the worst")
print(plan.certificate)
print(plan.unmet.to_string() if len(plan.unmet) else "every wish is met")
