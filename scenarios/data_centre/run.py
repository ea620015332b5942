"""The same study as a script, for those who want to change it in Python."""

from pathlib import Path

import gridtwin as gt

scenario = gt.read_scenario(Path(__file__).parent)
results = gt.run_study(scenario, progress=print)
folder = gt.write_run(results, Path("runs") / scenario.name, overwrite=True)
print(f"open {folder / 'report.html'}")
