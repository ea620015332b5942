"""What the published runs of a tracker beside a wall meter have shown: the evidence behind several intervals."""

from __future__ import annotations

WALL_CAMPAIGN = "318 runs against a wall meter, github.com/raphischer/ai-energy-validation"
"""CodeCarbon beside an energy meter on one workstation (benchmarks/results/wall_meter.json)."""
BELOW_WALL = {"processor": (0.09, 0.32, 0.67), "accelerator": (0.09, 0.275, 0.67)}
"""How far the tracker lay below the meter: smallest of all runs, median of vision jobs on that device, largest of all
runs. None lay above. [-]"""
