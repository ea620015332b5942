"""Errors of the forms of energy per token on the ML.ENERGY leaderboard, at batch sizes left out.

Run it as `GRIDTWIN_LEADERBOARD=<folder> python -m benchmarks.token_energy_forms`; it writes
`results/token_energy_forms.json`. The folder holds `lm-arena-chat.json` and `gpqa.json` of public/data/tasks of
github.com/ml-energy/leaderboard (commit 0cd52da); they have no licence of their own and are not part of this
repository.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from gridtwin.ai_energy.tokens import compare_forms
from gridtwin.errors import DataError

RESULTS = Path(__file__).parent / "results" / "token_energy_forms.json"
TASKS = ("lm-arena-chat", "gpqa")
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


def summary(errors: pd.DataFrame) -> dict[str, Any]:
    """Median error of each form, dense models and mixtures of experts apart. [-]"""
    mixtures = errors[errors["experts_model"]]
    return {
        name: {"groups": len(part), **{form: float(part[form].median()) for form in forms}}
        for name, part, forms in (
            ("dense models", errors[~errors["experts_model"]], ("dense", "square_root")),
            ("mixtures of experts", mixtures, ("dense", "experts", "square_root")),
        )
    } | {"experts_form_better_than_dense_form": int((mixtures["experts"] < mixtures["dense"]).sum())}


def main() -> None:
    """Fit, compare and write the file."""
    folder = os.environ.get("GRIDTWIN_LEADERBOARD")
    if not folder:
        print("skipped: GRIDTWIN_LEADERBOARD names the folder of the tasks")
        return
    results = {}
    for task in TASKS:
        text = (Path(folder) / f"{task}.json").read_text(encoding="utf-8")
        results[task] = summary(errors_of_groups(pd.DataFrame(json.loads(text)["configurations"])))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
