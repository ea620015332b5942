"""Value beside cost: energy per forecast by hand, skill per joule turned the right way, losses from two power flows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridtwin.report.energy_value import energy_value_table, network_savings

LEDGER = pd.DataFrame(
    {"step": ["read", "forecast"], "joules_p2_5": [1.0, 40.0], "joules_p50": [2.0, 80.0], "joules_p97_5": [3.0, 160.0],
     "kind": "estimated", "method": "processor time"}
)  # fmt: skip
SCORES = pd.DataFrame({"level": ["total"], "name": ["total"], "mae_mw": [1.5], "mae_naive_mw": [2.0]})


def study(**changes: object) -> SimpleNamespace:
    """Four assets, two days; a branch loses 1 kW without the schedule and 0.25 kW with it, for eight quarter hours."""
    issued = pd.DatetimeIndex(["2026-01-01 11:00"] * 4 + ["2026-01-02 11:00"] * 4)
    times = pd.date_range("2026-01-01", periods=8, freq="15min")
    forecast = xr.Dataset(coords={"asset": list("abcd"), "time": times, "issue_time": ("time", issued)})

    def flow(kw: float) -> xr.Dataset:
        dims, shape = ("path", "time", "branch"), (1, 8, 1)
        return xr.Dataset({"p_loss_mw": (dims, np.full(shape, kw / 1000)), "status": (dims[:2], np.zeros(shape[:2]))})

    flows = {"realised": flow(1.0), "realised_scheduled": flow(0.25)}
    base = {
        "name": "study",
        "ledger": LEDGER,
        "energy": {"boundary": "node"},
        "scores": SCORES,
        "forecast": forecast,
        "realised": forecast,
        "power_flows": flows,
    }
    return SimpleNamespace(**base | changes)


def test_energy_and_skill_of_a_forecast() -> None:
    """80 J over 4 assets and 2 issues: 10 J each; a quarter of the naive error is taken away."""
    table = energy_value_table(study()).set_index("what")
    spent, skill, each = (table.loc[next(name for name in table.index if word in name)]
                          for word in ("per forecast of", "skill of", "per joule"))  # fmt: skip
    assert spent[["p2_5", "value", "p97_5"]].tolist() == [5.0, 10.0, 20.0] and spent["unit"] == "J"
    assert spent["boundary"] == "node"
    assert skill["value"] == 0.25
    # dear forecasts bring least
    assert each[["p2_5", "value", "p97_5"]].tolist() == [0.0125, 0.025, 0.05] and each["kind"] == "estimated"


def test_savings_are_a_ledger_of_their_own() -> None:
    """(1 - 0.25) kW over two hours."""
    savings = network_savings(study())
    assert savings is not None and savings.saved.p50 == pytest.approx(1.5) and savings.saved.boundary == "system"
    table = energy_value_table(study())
    assert table[table["boundary"] == "system"]["value"].tolist() == pytest.approx([1.5])


def test_what_is_not_known_is_missing_and_says_why() -> None:
    table = energy_value_table(study(ledger=LEDGER.iloc[:1], scores=SCORES.iloc[:0], power_flows={}))
    assert table["kind"].tolist() == ["missing", "missing"] and table["value"].isna().all()
    assert table["how"].tolist() == ["the ledger has no energy of the forecast stage", "nothing was scored"]
