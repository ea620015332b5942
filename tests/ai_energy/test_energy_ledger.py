"""The ledger: linear in processor time, honest about what it is, nothing missing becomes zero."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from gridtwin.ai_energy import ledger as ledger_module
from gridtwin.ai_energy.ledger import (
    EnergyLedger,
    estimate_energy,
    measure_energy,
    measured_energy,
    node_w_per_busy_core,
)
from gridtwin.ai_energy.quantity import Quantity, sum_quantities
from gridtwin.ai_energy.statement import EnergyStatement
from gridtwin.errors import DataError

RANGE_UJ = 262_143_328_850


def burn(cpu_seconds: float) -> None:
    start = time.thread_time()
    while time.thread_time() - start < cpu_seconds:
        pass


def package(tree: Path, uj: float) -> Path:
    zone = tree / "intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (zone / "energy_uj").write_text(f"{int(uj)}\n")
    return zone / "energy_uj"


@pytest.fixture
def blind(tmp_path: Path) -> EnergyLedger:
    """A machine without counters, as most virtual machines."""
    return EnergyLedger(tmp_path / "powercap")


def test_estimate_says_so_and_is_never_zero(blind: EnergyLedger) -> None:
    with blind.step("forecast"):
        burn(0.1)
    row = blind.table().iloc[0]
    assert row["kind"] == "estimated"
    assert row["method"].startswith("estimated from CPU time") and "no energy counter readable (" in row["method"]
    assert 0.1 <= row["cpu_seconds"] < 0.5
    assert 0 < row["joules_p2_5"] < row["joules_p50"] < row["joules_p97_5"]
    # the interval is wider upwards: estimates of this kind have never been too high
    assert row["joules_p97_5"] - row["joules_p50"] > row["joules_p50"] - row["joules_p2_5"]


def test_watts_follow_from_the_evidence() -> None:
    # by hand: 1.65 / 0.91, 4 / 0.68, 4 / 0.33
    assert node_w_per_busy_core() == pytest.approx((1.8132, 5.8824, 12.1212), abs=1e-4)


@pytest.mark.parametrize("parts", [2, 7])
def test_the_same_work_in_parts_costs_the_same(parts: int) -> None:
    whole = estimate_energy(21.0, reason="x")
    pieces = sum_quantities([estimate_energy(21.0 / parts, reason="x")] * parts)
    for name in ("p2_5", "p50", "p97_5"):
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_two_jobs_cost_the_same_side_by_side_and_one_after_the_other(blind: EnergyLedger) -> None:
    with blind.step("one after the other"):
        burn(0.3)
        burn(0.3)
    with blind.step("side by side"), ThreadPoolExecutor(2) as pool:
        list(pool.map(burn, [0.3, 0.3]))
    joules = blind.table()["joules_p50"]
    # what starting threads and a busy machine may add
    assert joules[1] == pytest.approx(joules[0], rel=0.15)


def test_waiting_costs_no_busy_core(blind: EnergyLedger) -> None:
    with blind.step("wait"):
        time.sleep(0.2)
    row = blind.table().iloc[0]
    assert row["seconds"] >= 0.2 and row["cpu_seconds"] < 0.1


def test_nested_steps_are_part_of_the_outer_one(blind: EnergyLedger) -> None:
    with blind.step("outer"):
        with blind.step("inner"):
            burn(0.05)
        burn(0.05)
    with blind.step("last"):
        burn(0.05)
    table = blind.table()
    assert list(table["step"]) == ["outer", "outer / inner", "last"]
    assert table["cpu_seconds"][0] > table["cpu_seconds"][1]
    statement = blind.statement("job")
    assert statement.cpu_seconds == pytest.approx(table["cpu_seconds"][0] + table["cpu_seconds"][2])
    assert statement.kwh_p50 == pytest.approx((table["joules_p50"][0] + table["joules_p50"][2]) / 3.6e6)


def test_a_step_that_fails_is_accounted_for(blind: EnergyLedger) -> None:
    with pytest.raises(ZeroDivisionError), blind.step("broken"):
        burn(0.05)
        _ = 1 / 0
    assert list(blind.table()["step"]) == ["broken"]


def test_statement_carries_carbon_with_its_kind(blind: EnergyLedger) -> None:
    with blind.step("forecast"):
        burn(0.05)
    statement = blind.statement("study", 380.0, "assumed")
    assert statement.kwh_p50 is not None and statement.co2_kg is not None
    assert statement.co2_kg == pytest.approx(statement.kwh_p50 * 0.38)
    assert (statement.boundary, statement.kind, statement.co2_kind) == ("node", "estimated", "assumed")
    assert statement.measured_share == 0 and statement.sources
    assert EnergyStatement.model_validate_json(statement.model_dump_json()) == statement


def test_missing_stays_missing(blind: EnergyLedger) -> None:
    statement = blind.statement("nothing", 380.0)
    assert statement.kind == "missing" and statement.kwh_p50 is None and statement.co2_kg is None
    assert statement.co2_kind == "missing"
    with blind.step("some"):
        burn(0.01)
    assert blind.statement("no intensity").co2_kg is None


def test_counters_are_read_where_they_are(tmp_path: Path) -> None:
    package(tmp_path, 1e9)
    ledger = EnergyLedger(tmp_path)
    with ledger.step("work"):
        time.sleep(0.1)  # 20 J in 0.1 s are 200 W
        package(tmp_path, 1e9 + 20e6)
    statement = ledger.statement("job")
    assert (statement.kind, statement.boundary, statement.measured_share) == ("measured", "device", 1.0)
    assert statement.kwh_p50 == pytest.approx(20 / 3.6e6)
    assert "other programs included" in statement.method


def test_a_gap_is_estimated_and_the_share_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = package(tmp_path, 5e9)
    ledger = EnergyLedger(tmp_path)
    with ledger.step("work"):
        burn(0.1)
        file.write_text(str(int(5e9 + 10e6)))
        assert not isinstance(ledger._meter, ledger_module.Unavailable)
        ledger._meter.advance()
        burn(0.1)
        file.write_text("1000000")  # reset
    row = ledger.table().iloc[0]
    statement = ledger.statement("job")
    assert row["kind"] == "estimated" and "reset" in row["method"]
    assert 0 < statement.measured_share < 1
    # 10 J measured, about 0.1 s at 4 W estimated
    assert row["joules_p50"] == pytest.approx(10 + 0.4, abs=0.4)


def test_measure_energy_as_block_and_as_decorator(tmp_path: Path) -> None:
    with measure_energy("block", co2_g_per_kwh=400, powercap=tmp_path) as measurement:
        burn(0.05)
    assert measurement.statement.job == "block" and measurement.statement.co2_kg is not None

    training = measure_energy("training", powercap=tmp_path)
    with pytest.raises(DataError):
        _ = training.statement

    @training
    def work(x: int) -> int:
        burn(0.02)
        return x + 1

    assert work(1) == 2
    first = training.statement
    assert work(2) == 3
    assert first.cpu_seconds >= 0.02 and training.statement is not first


def test_quantities_of_different_boundaries_are_not_added() -> None:
    with pytest.raises(DataError, match="boundary"):
        sum_quantities([estimate_energy(1, reason="x"), measured_energy(1)])
    with pytest.raises(DataError):
        sum_quantities([])


def test_a_sum_with_something_missing_is_missing() -> None:
    hole = Quantity(unit="J", kind="missing", boundary="node", method="not recorded")
    total = sum_quantities([estimate_energy(1, reason="x"), hole])
    assert total.kind == "missing" and total.p50 is None


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "missing", "p50": 0.0},
        {"kind": "estimated", "p2_5": 2.0, "p50": 1.0, "p97_5": 3.0},
        {"kind": "estimated", "p50": 1.0},
        {"kind": "measured", "p2_5": 1.0, "p50": 1.0, "p97_5": float("inf")},
    ],
)
def test_a_quantity_must_be_what_it_says(values: dict) -> None:
    with pytest.raises(ValidationError):
        Quantity.model_validate({"unit": "J", "boundary": "node", "method": "x", **values})


def test_overhead_is_small(blind: EnergyLedger) -> None:
    start = time.process_time()
    for _ in range(20):
        with blind.step("empty"):
            pass
    # a step reads the process table twice; under 50 ms of processor time even on a crowded machine
    assert (time.process_time() - start) / 20 < 0.05
