"""A short run of `congestion_probability`: every part works and the parts of the score add up."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.congestion_probability import measure
from gridtwin.scenario import Forecast


def test_two_days_of_congestion_probability() -> None:
    result = measure(2, Forecast(paths=10))
    summary = pd.DataFrame(result["summary"]).set_index(["quantity", "event"])
    parts = summary["reliability"] - summary["resolution"] + summary["uncertainty"]
    assert parts.to_numpy() == pytest.approx(summary["brier"].to_numpy(), abs=2e-6)  # the file keeps six decimals
    assert result["about"]["unsolved"] == 0
    cases = pd.DataFrame(result["reliability"]).groupby(["quantity", "event"])["cases"].sum()
    assert (cases == summary["cases"].loc[cases.index]).all()
