"""The whole main job from Python: run a scenario, write its folder, read its tables."""

from pathlib import Path

import gridtwin as gt

scenario = Path(__file__).parent.parent / "scenarios" / "village_pv"
results = gt.run_study(scenario, progress=print)
folder = gt.write_run(results, Path("runs") / "village_pv", overwrite=True)

run = gt.read_run(folder)
print(run.table("summary").to_string())
print(f"open {folder / 'report.html'}")
