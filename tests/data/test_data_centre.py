"""Data centres: boundary chain, workloads, jobs, iterations; numbers by hand."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from gridtwin.ai_energy.quantity import exact
from gridtwin.data.ai_traces import read_requests, read_wall_meter, summarise_wall_meter
from gridtwin.data.ai_workloads import (
    batch_size,
    draw_requests,
    energy_per_token_joule,
    inference_power_kw,
    iteration_of,
    request_rate_per_hour,
    smoothing_kw,
    training_power_kw,
)
from gridtwin.data.data_centre import (
    chain_of,
    list_jobs,
    power_factor,
    unscheduled_jobs,
)
from gridtwin.data.data_centre_profiles import build_data_centre_profiles, check_data_centres, it_power_kw
from gridtwin.data.iteration_shape import IterationShape, largest_ramp_kw_per_s, read_screening_limits, smooth_power
from gridtwin.scenario_data_centre import BatchJob, DataCentre, Inference, Training
from gridtwin.time_axis import TimeAxis

DATA = Path(os.environ.get("GRIDTWIN_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
WEEK = TimeAxis.of_days(dt.date(2016, 11, 14), 7, "Europe/Berlin")
JOB = BatchJob(
    name="tuning", kwh=1000, earliest=dt.datetime(2016, 11, 14, 22), deadline=dt.datetime(2016, 11, 15, 6),
    p_max_kw=400, p_min_kw=100, checkpoint_kwh=10,
)  # fmt: skip
SITE = DataCentre(
    name="Campus", bus="bus", p_it_kw=3000, pue=1.3, fixed_share=0.4, connection_loss_share=0.02,
    training=(Training(kw=1000),), inference=(Inference(requests_per_hour=40_000, replicas=10),), job=(JOB,),
)  # fmt: skip


def test_power_at_the_connection_by_hand() -> None:
    """Overhead 0.3 x 3000 = 900 kW, 360 kW of it fixed; 1.18 per IT kW; 2 % lost on the way: (360 + 1.18 p) / 0.98."""
    chain = chain_of(SITE)
    assert chain.at_connection_kw(0.0) == pytest.approx(360 / 0.98, abs=1e-9)
    assert chain.at_connection_kw(3000.0) == pytest.approx(3000 * 1.3 / 0.98, abs=1e-9)
    assert chain.per_it_kw == pytest.approx(1.18 / 0.98, abs=1e-12)


def test_the_bus_sees_workload_times_chain() -> None:
    """To 1e-9 kW, also by the steps that quantities take from boundary to boundary."""
    assets = pd.DataFrame({"element": "load", "index": [0, 1], "kind": ["data_centre", "computing_job"]},
                          index=["Campus", "Campus tuning"])  # fmt: skip
    profiles = build_data_centre_profiles([SITE], assets, WEEK, seed=1)
    p_kw = 1000 * profiles["p_mw"].sel(asset="Campus").to_numpy()
    inside = it_power_kw(SITE, WEEK, seed=1)
    assert np.abs(p_kw - chain_of(SITE).at_connection_kw(inside)).max() < 1e-9
    for step in (0, 300):
        energy = exact(float(inside[step]), "kWh", kind="estimated", method="a model", boundary="it_at_ups")
        for outwards in chain_of(SITE).steps(hours=1.0):
            energy = outwards(energy)
        assert energy.boundary == "connection_point"
        assert energy.p50 == pytest.approx(p_kw[step], abs=1e-9)


def test_power_factor_follows_the_load() -> None:
    """0.96 without load, 0.994 at rated power, 0.977 half-way; q = p tan(acos 0.977)."""
    assert power_factor(SITE, np.array([0.0, 1500.0, 3000.0])) == pytest.approx([0.96, 0.977, 0.994])


def test_training_without_dips_is_flat_and_dips_cost_what_they_say() -> None:
    flat = Training(kw=100, checkpoint_minutes=0, aborts_per_week=0)
    assert training_power_kw(flat, WEEK, name="a", seed=1) == pytest.approx(np.full(WEEK.length, 100.0))
    # 5 of 60 minutes at 40 %: 1 - 0.6 / 12 = 95 %
    dips = Training(kw=100, checkpoint_every_hours=1, checkpoint_minutes=5, waiting_share=0.4, aborts_per_week=0)
    power = training_power_kw(dips, WEEK, name="a", seed=1)
    assert power.mean() == pytest.approx(95.0, abs=0.05)  # up to one checkpoint of 168 lies across the end
    assert power.min() == pytest.approx(100 * (1 - 0.6 / 3))  # five of fifteen minutes
    floor = dips.model_copy(update={"floor_share": 0.9})
    # waiting at 90 kW; the exchange at 0.6 of 100 / 0.92 kW is filled up to 90 kW for a fifth of the time
    computing = 100 + 0.2 * (90 - 60 / 0.92)
    least = computing - (computing - 90) / 3
    assert training_power_kw(floor, WEEK, name="a", seed=1).min() == pytest.approx(least)
    wave = iteration_of(floor)
    trace = wave.at((np.arange(1000) + 0.5) * wave.period_s / 1000)
    filled = smooth_power(trace, wave.period_s / 1000, floor_kw=90.0).floor_kwh * 3600 / wave.period_s
    assert smoothing_kw(floor) == pytest.approx(filled)


def test_requests_are_poisson_with_the_declared_mean() -> None:
    service = Inference(requests_per_hour=3600)
    rate = request_rate_per_hour(service, WEEK)
    assert rate.mean() == pytest.approx(3600, rel=1e-3)
    busiest, quietest = rate[:96].max(), rate[:96].min()
    assert quietest / busiest == pytest.approx(0.3, abs=0.01)
    drawn = draw_requests(service, WEEK, name="chat", seed=3)
    z = (drawn - rate / 4) / np.sqrt(rate / 4)
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert z.var() == pytest.approx(1.0, abs=0.2)
    assert np.array_equal(drawn, draw_requests(service, WEEK, name="chat", seed=3))


def test_bursts_widen_the_spread_and_keep_the_mean() -> None:
    """900 requests a quarter hour: spread of rate and chance sqrt(0.2² + 1/900) = 0.203, over 4 weeks to a tenth."""
    axis = TimeAxis.of_days(dt.date(2016, 11, 1), 28, "Europe/Berlin")
    service = Inference(requests_per_hour=3600, burst_share=0.2, night_share=1.0, weekend_share=1.0)
    drawn = draw_requests(service, axis, name="chat", seed=3)
    assert drawn.mean() == pytest.approx(900, rel=0.02)
    assert drawn.std() / 900 == pytest.approx(0.203, rel=0.1)


def test_a_fuller_batch_takes_less_per_token() -> None:
    """Llama 3.1 70B on 4 H100: 0.36 + 27.4 / 8 = 3.785 J, / 64 = 0.788 J, / 512 = 0.4135 J."""
    assert energy_per_token_joule(np.array([8, 64, 512]), 0.36, 27.4) == pytest.approx([3.785, 0.788125, 0.413515625])
    service = Inference(requests_per_hour=36_000, tokens_per_request=100, seconds_per_request=8, replicas=10,
                        server_per_accelerator=1.25, idle_kw=5)  # fmt: skip
    # 10 requests/s x 8 s / 10 replicas = 8 at once; 1000 tokens/s x 3.785 J x 1.25 = 4.73 kW above 5 kW idle
    assert batch_size(service, np.array([36_000.0])) == pytest.approx([8.0])
    assert inference_power_kw(service, np.array([9000.0]), 0.25) == pytest.approx([5 + 4.73125])


def test_jobs_at_the_connection_and_unscheduled() -> None:
    jobs = list_jobs([SITE], "Europe/Berlin")
    job, per_kw = jobs.loc["Campus tuning"], 1.18 / 0.98
    assert job["e_mwh"] == pytest.approx(per_kw)
    assert job["earliest"] == pd.Timestamp("2016-11-14 21:00")
    # 2.5 h at full power: 22:00 to 0:30 local time
    power = unscheduled_jobs(jobs, WEEK)[:, 0]
    assert power.sum() / 4 == pytest.approx(per_kw)
    assert np.flatnonzero(power).tolist() == list(range(88, 98))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"deadline": dt.datetime(2016, 11, 14, 21)}, "after earliest"),
        ({"p_min_kw": 500}, "p_min_kw"),
        ({"deadline": dt.datetime(2016, 11, 16, tzinfo=dt.UTC)}, "local times"),
    ],
)
def test_a_job_that_cannot_be_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        BatchJob.model_validate(JOB.model_dump() | change)


def test_workloads_above_the_rating_leave_a_finding() -> None:
    tight = SITE.model_copy(update={"p_it_kw": 1000.0})
    (finding,) = check_data_centres([tight], WEEK, seed=1)
    assert finding.code == "GT-D60"
    assert not check_data_centres([SITE], WEEK, seed=1)


@pytest.mark.parametrize("duty", [0.5, 0.8])
def test_harmonics_are_those_of_the_wave_itself(duty: float) -> None:
    """Against the Fourier transform of 20,000 samples, whose own error is the square of k / samples."""
    wave = IterationShape(mean_kw=100.0, period_s=2.0, duty=duty, depth=0.4)
    samples = 20_000
    trace = wave.at((np.arange(samples) + 0.5) * 2.0 / samples)
    spectrum = 2 * np.abs(np.fft.rfft(trace)) / samples
    assert trace.mean() == pytest.approx(100.0)
    assert wave.harmonics(9)["amplitude_kw"].to_numpy() == pytest.approx(spectrum[1:10], abs=1e-4)
    if duty == 0.5:
        half = (wave.high_kw - wave.low_kw) / 2
        odd = wave.harmonics(9)["amplitude_kw"].to_numpy()[::2]
        assert odd == pytest.approx([4 * half / (np.pi * k) for k in (1, 3, 5, 7, 9)], rel=1e-12)


def test_band_of_a_wave() -> None:
    """2.5 s: 0.4 and 0.8 Hz lie between 0.1 and 1 Hz; 0.5 s: none does."""
    band = read_screening_limits()["interarea_band"]
    slow = IterationShape(100.0, 2.5, 0.8, 0.4)
    assert slow.largest_in_band(band["low_hz"], band["high_hz"])[0] == pytest.approx(0.4)
    frequency, amplitude = IterationShape(100.0, 0.5, 0.8, 0.4).largest_in_band(band["low_hz"], band["high_hz"])
    assert np.isnan(frequency)
    assert amplitude == 0.0


def test_smoothing_by_hand() -> None:
    """Floor 60 kW over half an hour of 0 kW is 30 kWh; a fall of 10 kW/h from 100 kW takes 90, 80 … on top."""
    trace = np.array([100.0, 0.0])
    assert smooth_power(trace, 1800.0, floor_kw=60.0).wasted_kwh == pytest.approx(30.0)
    slow = smooth_power(np.array([100.0, 0.0, 0.0]), 3600.0, floor_kw=0.0, down_kw_per_s=10 / 3600)
    assert slow.p_kw == pytest.approx([100.0, 90.0, 80.0])
    assert slow.wasted_kwh == pytest.approx(170.0)
    rise = smooth_power(np.array([0.0, 100.0]), 3600.0, floor_kw=0.0, up_kw_per_s=40 / 3600)
    assert rise.missing_kwh == pytest.approx(60.0)
    assert largest_ramp_kw_per_s(np.array([0.0, 100.0, 50.0]), 2.0) == 50.0


@pytest.mark.skipif(not (DATA / "mlperf_v21_power").is_dir(), reason="the traces are not here")
def test_wall_meter_of_a_server() -> None:
    """The sum of its phases is the total of the meter; active power factor near 0.99."""
    file = next((DATA / "mlperf_v21_power").glob("NVIDIA*resnet50__Offline.parquet"))
    samples = read_wall_meter(file)
    total = pd.read_parquet(file)["watts"]
    by_time = samples.groupby("time")["p_w"].sum()
    assert by_time.sum() == pytest.approx(total.sum(), rel=1e-3)
    phases = summarise_wall_meter(samples)
    assert phases["share"].sum() == pytest.approx(1.0)
    assert phases["power_factor"].between(0.98, 1.0).all()


@pytest.mark.skipif(not (DATA / "azure_llm_2023").is_dir(), reason="the traces are not here")
def test_requests_of_an_hour() -> None:
    requests = read_requests(DATA / "azure_llm_2023" / "conv.parquet")
    assert len(requests) == 19_366
    assumed = Inference(requests_per_hour=1).tokens_per_request
    assert requests["generated_tokens"].mean() == pytest.approx(assumed, abs=0.2)
    assert requests["time"].is_monotonic_increasing
