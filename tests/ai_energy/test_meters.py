"""Power and energy of meters: hand calculations, published traces, and what is not there."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
from pathlib import Path

import pytest

from gridtwin.ai_energy.meter_file import read_meter_file
from gridtwin.ai_energy.meters import (
    energy_from_counter,
    energy_from_power,
    parse_ipmi_power,
    parse_redfish_power,
)
from gridtwin.ai_energy.power_samples import integrate_power, sampling_error
from gridtwin.errors import DataError

DATA = Path(os.environ.get("GRIDTWIN_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRACES = DATA / "mlperf_v21_power"
NAMES = sorted(path.stem for path in TRACES.glob("*.json"))
A100 = "NVIDIA__DGX-A100_A100-SXM-80GBx8_TRT_MaxQ__resnet50__Offline"

IPMI = """
    Instantaneous power reading:                   214 Watts
    Minimum during sampling period:                 12 Watts
    Maximum during sampling period:                380 Watts
    Average power reading over sample period:      208 Watts
    IPMI timestamp:                           Sat Jan  3 10:12:31 2026
    Sampling period:                          00000600 Seconds.
    Power reading state is:                   activated
"""


def test_trapezoid_and_window_by_hand() -> None:
    # 100 W rising to 200 W and falling again: 150 J each second; from 0.5 s (150 W) to 1 s (200 W): 87.5 J
    seconds, watts = [0.0, 1.0, 2.0], [100.0, 200.0, 100.0]
    assert integrate_power(seconds, watts).joules == 300.0
    assert integrate_power(seconds, watts, begin=0.5, end=1.0).joules == 87.5
    # half a second before the first sample holds the first value and is too short to be a gap
    early = integrate_power(seconds, watts, begin=-0.5)
    assert (early.joules, early.gap_seconds) == (350.0, 0.0)


def test_means_over_a_window_are_moved_back_by_half_of_it() -> None:
    # power steps from 100 to 300 W at 5 s; means of 1 s before each stamp are exact once they are moved back
    stamps = [float(t) for t in range(1, 11)]
    means = [100.0] * 5 + [300.0] * 5
    assert integrate_power(stamps, means, begin=0.0, end=10.0, window_seconds=1.0).joules == pytest.approx(2000.0)
    assert integrate_power(stamps, means, begin=2.0, end=5.0, window_seconds=1.0).joules == pytest.approx(300.0)
    naive = integrate_power(stamps, means, begin=2.0, end=5.0).joules
    assert naive == pytest.approx(300.0)
    assert integrate_power(stamps, means, begin=2.0, end=6.0).joules == pytest.approx(500.0)  # truth 600 J
    assert integrate_power(stamps, means, begin=2.0, end=6.0, window_seconds=1.0).joules == pytest.approx(600.0)


def test_a_gap_is_filled_told_and_booked_as_estimated() -> None:
    seconds = [0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 15.0, 16.0]
    watts = [100.0] * 5 + [200.0] * 3
    energy, findings = energy_from_power(seconds, watts, meter_error=0.0)
    # 400 J and 400 J seen, 10 s in between at 150 W
    assert energy.p50 == pytest.approx(2300.0)
    assert (energy.kind, energy.measured_share) == ("estimated", pytest.approx(800 / 2300))
    assert energy.p2_5 is not None and energy.p97_5 is not None
    # at the lowest and highest power of the trace; thin sampling adds 0.05 %
    assert energy.p2_5 == pytest.approx(1800.0, rel=1e-3) and energy.p97_5 == pytest.approx(2800.0, rel=1e-3)
    assert len(findings) == 1 and "10 s from 4.000 s on" in str(findings[0])


def test_missing_samples_are_left_out_and_told() -> None:
    energy, findings = energy_from_power([0.0, 1.0, 2.0], [100.0, math.nan, 100.0])
    assert energy.p50 == pytest.approx(200.0) and "left out" in str(findings[0])
    with pytest.raises(DataError, match="no sample"):
        energy_from_power([0.0], [math.nan])
    with pytest.raises(DataError, match="fall"):
        energy_from_power([1.0, 0.0], [1.0, 1.0])


def test_sampling_error_is_the_table() -> None:
    for step, sd in ((5, 0.0017), (15, 0.0060), (60, 0.023), (300, 0.078)):
        assert sampling_error(step) == pytest.approx(1.96 * sd)
    assert sampling_error(1) < sampling_error(5) < sampling_error(30) < sampling_error(900) < 1
    assert sampling_error(0) == 0


def test_a_cumulative_meter_and_its_reset() -> None:
    energy, findings = energy_from_counter([0.0, 3600.0, 7200.0], [10.0, 11.0, 12.5])
    assert energy.to("kWh").p50 == pytest.approx(2.5) and not findings and energy.kind == "measured"
    energy, findings = energy_from_counter([0.0, 3600.0, 7200.0, 10800.0], [10.0, 11.0, 0.2, 1.2])
    # 1 kWh in each hour that counts, so the lost one takes 1 kWh too
    assert energy.to("kWh").p50 == pytest.approx(3.0)
    assert energy.kind == "estimated" and energy.measured_share == pytest.approx(2 / 3)
    assert "reset" in str(findings[0])
    lost, _ = energy_from_counter([0.0, 1.0], [5.0, 1.0])
    assert lost.is_missing
    with pytest.raises(DataError, match="two readings"):
        energy_from_counter([0.0], [5.0])


def test_ipmi_text() -> None:
    reading = parse_ipmi_power(IPMI)
    assert (reading.now_w, reading.mean_w, reading.lowest_w, reading.highest_w) == (214.0, 208.0, 12.0, 380.0)
    assert reading.window_seconds == 600.0
    with pytest.raises(DataError, match="deactivated"):
        parse_ipmi_power(IPMI.replace(" activated", " deactivated"))
    with pytest.raises(DataError, match="no power reading"):
        parse_ipmi_power("DCMI request failed because: Invalid command")


def test_redfish_json() -> None:
    control = {"PowerConsumedWatts": 344, "PowerMetrics": {"AverageConsumedWatts": 319, "IntervalInMin": 30,
               "MinConsumedWatts": 271, "MaxConsumedWatts": 489}}  # fmt: skip
    reading = parse_redfish_power(json.dumps({"PowerControl": [{"PowerConsumedWatts": None}, control]}))
    assert (reading.now_w, reading.mean_w, reading.window_seconds) == (344.0, 319.0, 1800.0)
    metrics = parse_redfish_power({"PowerWatts": {"Reading": 374}, "EnergykWh": {"Reading": 7855}})
    assert (metrics.now_w, metrics.kwh, metrics.mean_w) == (374.0, 7855.0, None)
    for text in ("{", "[]", "{}", '{"PowerControl": [{}]}'):
        with pytest.raises(DataError):
            parse_redfish_power(text)


def test_a_meter_file(tmp_path: Path) -> None:
    file = tmp_path / "plug.csv"
    file.write_text("Timestamp,Power [kW],note\n2026-01-03T10:00:00,0.1,\n2026-01-03T10:00:01Z,,\n"
                    "2026-01-03T11:00:02+01:00,0.3,x\n")  # fmt: skip
    trace = read_meter_file(file)
    assert trace.watts is not None and trace.kwh is None
    assert trace.watts[0] == 100 and math.isnan(trace.watts[1]) and trace.watts[2] == pytest.approx(300)
    assert trace.seconds[2] - trace.seconds[0] == 2.0
    file.write_text("when;count\n0;5\n10;7\n")
    trace = read_meter_file(file, time="when", energy="count", unit="Wh", delimiter=";")
    assert trace.kwh == pytest.approx((0.005, 0.007))
    with pytest.raises(DataError, match="no column of time"):
        read_meter_file(file, delimiter=";")
    file.write_text("time,w\n0,5\nx,7\n1,y\n")
    with pytest.raises(DataError) as told:
        read_meter_file(file)
    assert len(told.value.findings) == 2 and "plug.csv:3" in str(told.value)


needs_traces = pytest.mark.skipif(not NAMES, reason=f"no MLPerf power traces in {TRACES}; set GRIDTWIN_DATA")


def window_of(name: str) -> tuple[list[float], list[float], float, float, dict]:
    import pandas as pd

    frame = pd.read_parquet(TRACES / f"{name}.parquet", columns=["time", "watts"])
    log = json.loads((TRACES / f"{name}.json").read_text())["log"]
    begin, end = (dt.datetime.strptime(log[key], "%m-%d-%Y %H:%M:%S.%f") for key in ("power_begin", "power_end"))
    origin = pd.Timestamp(begin)
    seconds = (frame["time"] - origin).dt.total_seconds().tolist()
    return seconds, frame["watts"].tolist(), 0.0, (end - begin).total_seconds(), log


@needs_traces
def test_published_joules_per_sample() -> None:
    seconds, watts, begin, end, log = window_of(A100)
    energy, _ = energy_from_power(seconds, watts, begin=begin, end=end)
    assert energy.p50 is not None
    # published: 288,733 samples/s; 3,082.3 W in the window, 10.68 mJ per sample
    assert energy.p50 / end == pytest.approx(3082.3, rel=1e-3)
    assert energy.p50 / end / log["result_samples_per_second"] == pytest.approx(10.68e-3, rel=1e-3)
    assert energy.p50 / log["effective_samples_per_query"] == pytest.approx(10.68e-3, rel=1e-3)
    # the whole trace, with idle at both ends, is 3.8 % lower: the window matters
    assert integrate_power(seconds, watts).mean_w == pytest.approx(2964, rel=5e-3)


@needs_traces
@pytest.mark.parametrize("name", NAMES)
def test_every_trace_agrees_with_its_index(name: str) -> None:
    import pandas as pd

    index = pd.read_csv(TRACES / "_index.csv").set_index("name").loc[name]
    seconds, watts, begin, end, _ = window_of(name)
    assert end == pytest.approx(index["window_s"], abs=1e-3)
    integral = integrate_power(seconds, watts, begin=begin, end=end, where=name)
    # 0.1 %: the index holds the plain mean of the samples, this is the mean over time
    assert integral.mean_w == pytest.approx(index["mean_w"], rel=1e-3)
    per_sample = index["joule_per_sample_avgW_over_throughput"]
    if not math.isnan(per_sample):
        rate = index["samples_per_second"] if index["scenario"].lower() == "offline" else index["scheduled_sps"]
        assert integral.mean_w / rate == pytest.approx(per_sample, rel=1e-3)


@needs_traces
@pytest.mark.parametrize("step", [5, 15, 60, 300])
def test_thinned_traces_lie_within_the_interval_that_is_told(step: int) -> None:
    inside = total = 0
    for name in [name for name in NAMES if name.startswith("NVIDIA")]:
        seconds, watts, begin, end, _ = window_of(name)
        truth = integrate_power(seconds, watts, begin=begin, end=end).joules
        for phase in range(0, step, max(step // 5, 1)):
            thin, _ = energy_from_power(seconds[phase::step], watts[phase::step], begin=begin, end=end, meter_error=0)
            total += 1
            inside += thin.p2_5 <= truth <= thin.p97_5
    assert inside / total >= 0.95, f"{inside} of {total}"
