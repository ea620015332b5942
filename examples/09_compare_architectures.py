"""What a dense model and a mixture of experts take per token at the same batch sizes, up to the connection point."""

from gridtwin.ai_energy.architectures import compare_architectures, energy_ratio, energy_to_quality, variants_of_curve
from gridtwin.ai_energy.facility_steps import carry_outwards, facility_steps
from gridtwin.ai_energy.node_model import default_node_step
from gridtwin.ai_energy.quantity import exact
from gridtwin.ai_energy.tokens import LLAMA_31_70B, QWEN3_30B_A3B

# a quality of 1 for both: put the scores of your own task here
batches = [8, 32, 128, 512]
variants = [
    *variants_of_curve("dense, 70e9", LLAMA_31_70B, batches, quality=1.0),
    *variants_of_curve("experts, 3e9 of 30e9", QWEN3_30B_A3B, batches, quality=1.0),
]
table = compare_architectures(variants)
print(table[["family", "name", "energy_p2_5", "energy_p50", "energy_p97_5", "pareto"]].round(3).to_string())
ratio = energy_ratio(energy_to_quality(variants, 1.0), "experts, 3e9 of 30e9", "dense, 70e9")
print(f"experts by dense: {ratio.p50:.2f} ({ratio.p2_5:.2f} to {ratio.p97_5:.2f})")

# an hour of four accelerators at 2 kW, from their sensors to the connection point
energy = exact(2.0, "kWh", kind="measured", method="counters of the accelerators", boundary="device")
node = default_node_step(hours=1.0)(energy)
steps = facility_steps(exact(1.3, "1", kind="declared", method="supplier's annual PUE"))
for boundary in ("node", "it_at_ups", "facility", "connection_point"):
    there = carry_outwards(node, steps, boundary)
    print(f"{boundary}: {there.p50:.2f} kWh ({there.p2_5:.2f} to {there.p97_5:.2f}), {there.kind}")
