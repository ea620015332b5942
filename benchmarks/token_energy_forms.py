"""Errors of the forms of energy per token on the ML.ENERGY leaderboard, at batch sizes left out.

    python benchmarks/token_energy_forms.py lm-arena-chat.json

The file is public/data/tasks/lm-arena-chat.json of github.com/ml-energy/leaderboard; it has no licence of its own and
is not part of this repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from gridtwin.ai_energy.tokens import compare_forms
from gridtwin.errors import DataError

ACTIVE_SHARES = {
    "Qwen3-Coder-480B": 8 / 160, "Qwen3-235B": 8 / 128, "Qwen3-30B": 8 / 128, "Qwen3-Coder-30B": 8 / 128,
    "gpt-oss-20b": 4 / 32, "gpt-oss-120b": 4 / 128, "DeepSeek": 8 / 256, "Scout": 1 / 16, "Maverick": 1 / 128,
    "Kimi": 8 / 384,
}  # fmt: skip
"""Routed experts of a token by all of a layer, as their makers publish them; a model that is not listed is left out."""
GROUP = ["model_id", "gpu_model", "num_gpus", "tensor_parallel", "expert_parallel", "data_parallel", "weight_precision"]


def active_share(model: str, architecture: str) -> float | None:
    """k/E; 1 for a dense model, None where the model card has not been looked up."""
    if architecture != "MoE":
        return 1.0
    return next((share for name, share in ACTIVE_SHARES.items() if name in model), None)


def errors_of_groups(rows: pd.DataFrame) -> pd.DataFrame:
    """Error at batch sizes left out, one row per model and machine with enough of them."""
    found = []
    for key, group in rows.groupby(GROUP):
        share = active_share(str(key[0]), str(group["architecture"].iloc[0]))
        if share is None:
            continue
        try:
            forms = compare_forms(group["avg_batch_size"].tolist(), group["energy_per_token_joules"].tolist(), share)
        except DataError:  # too few batch sizes
            continue
        found.append({"model": key[0], "experts_model": share < 1, **forms["left_out_rms"]})
    return pd.DataFrame(found)


if __name__ == "__main__":
    table = pd.DataFrame(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["configurations"])
    errors = errors_of_groups(table)
    print(errors.groupby("experts_model")[["dense", "experts", "square_root"]].agg(["median", "count"]).round(3))
    mixtures = errors[errors["experts_model"]]
    print(f"experts better than dense in {(mixtures['experts'] < mixtures['dense']).sum()} of {len(mixtures)}")
