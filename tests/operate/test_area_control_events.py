"""Frequency events and prequalification tests: what reserves must do, and what happened once.

The test of 9 August 2019 is a fit; the docstring of `examples/11_frequency_event.py` says what was tuned.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from gridtwin.operate.area_control import (
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    Disturbance,
    DroopReserve,
    run_area_control,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "11_frequency_event.py"


def test_great_britain_on_9_august_2019() -> None:
    """Nadirs within 0.05 Hz and 5 s of the published ones: 49.1 Hz after 25 s, 48.8 Hz after 76 s."""
    seen = runpy.run_path(str(EXAMPLE))
    f_hz = seen["f_hz"]
    for part, published_hz, published_s in ((slice(0, 57), 49.1, 25), (slice(57, 300), 48.8, 76)):
        now = f_hz.sel(time_s=part)
        assert float(now.min()) == pytest.approx(published_hz, abs=0.05)
        assert float(now.idxmin()) == pytest.approx(published_s, abs=5)
    # what was not tuned: frequency before the second loss (published about 49.2 Hz), and demand went exactly once
    assert float(f_hz.sel(time_s=57)) == pytest.approx(49.2, abs=0.05)
    assert float(seen["trace"]["trace_p_shed_mw"].max()) == 931


# --- prequalification of the Nordic synchronous area ------------------------------------------------------------------
#
# Technical Requirements for Frequency Containment Reserve Provision in the Nordic Synchronous Area, May 2023. The
# numbers below are from memory and NOT verified against the document: ramp of FCR-D at 0.24 Hz/s from 49.9 to 49.0 Hz,
# 86 % after 7.5 s, energy of 3.2 s at full power until then; FCR-N: +-0.1 Hz, base power 600 MW, inertia 120 GW s,
# load 0.5 %/Hz of 23 GW, circle of 0.43 around -1, and the periods of the sines.

RAMP_HZ_PER_S, SHARE_AT_7_5_S, SECONDS_OF_ENERGY = 0.24, 0.86, 3.2
PERIODS_S = (10, 15, 25, 40, 50, 60, 70)
NYQUIST_RADIUS = 0.43


def imposed_frequency(f_deviation_hz: np.ndarray, reserve: DroopReserve, step_s: float) -> np.ndarray:
    """Response of one reserve to a given frequency. (step,) [MW]

    Load moves an area of immense inertia: M df = load step, so that the frequency is what is asked for.
    """
    mass, f_deviation_hz = 1e9, np.append(0.0, f_deviation_hz)
    area = ControlArea("rig", mass * 50 / 2, droop=(reserve,))
    f_next = np.diff(np.append(f_deviation_hz, f_deviation_hz[-1]))
    level = -mass * f_next / step_s
    events = np.diff(level, prepend=0.0)
    steps = [Disturbance("rig", k * step_s, float(p)) for k, p in enumerate(events) if p]
    duration = round(len(level) * step_s, 9)
    times = ControlTimes(duration, step_s, step_s, duration, duration, trace_s=step_s)
    result = run_area_control(ControlSystem((area,)), times, ControlInputs(tuple(steps)), threads=1)
    np.testing.assert_allclose(result["trace_f_hz"][:, 0, 0] - 50, f_deviation_hz, rtol=0, atol=1e-5)
    return result["trace_p_droop_mw"][1:, 0, 0].to_numpy()


def passes_fcr_d_ramp(reserve: DroopReserve, step_s: float = 0.05) -> bool:
    """Ramp of FCR-D upwards: power at 7.5 s and energy until then."""
    time_s = np.arange(0, 60, step_s)
    power = imposed_frequency(-0.1 - np.minimum(RAMP_HZ_PER_S * time_s, 0.9), reserve, step_s)
    at = round(7.5 / step_s)
    steady = power[-1]
    return bool(power[at] >= SHARE_AT_7_5_S * steady and power[:at].sum() * step_s >= SECONDS_OF_ENERGY * steady)


def passes_fcr_n_sines(reserve: DroopReserve, step_s: float = 0.1) -> bool:
    """Sines of FCR-N: the open loop of reserve and system stays outside a circle around -1 at every period."""
    for period_s in PERIODS_S:
        time_s = np.arange(0, 6 * period_s, step_s)
        power = imposed_frequency(0.1 * np.sin(2 * np.pi * time_s / period_s), reserve, step_s)
        last = time_s >= 2 * period_s
        turn = np.exp(-2j * np.pi * time_s[last] / period_s)
        unit = -(power[last] @ turn) / (np.sin(2 * np.pi * time_s[last] / period_s) @ turn) / reserve.p_mw
        system = 600 / 0.1 / (2 * 120_000 / 50 * 2j * np.pi / period_s + 0.005 * 23_000)
        if abs(1 + unit * system) < NYQUIST_RADIUS:
            return False
    return True


SLOW_AND_QUICK = [(0.0, 5, True), (1.5, 0, True), (6.0, 0, False), (0.0, 15, False)]


@pytest.mark.parametrize(("lag_s", "full_activation_s", "passes"), SLOW_AND_QUICK)
def test_ramp_of_fcr_d(lag_s: float, full_activation_s: float, passes: bool) -> None:
    """Quick units pass, slow ones do not."""
    reserve = DroopReserve(10, 0.5, 0.1, full_activation_s, lag_s, "up")
    assert passes_fcr_d_ramp(reserve) is passes


@pytest.mark.parametrize(("lag_s", "passes"), [(0.0, True), (0.5, True), (8.0, False)])
def test_sines_of_fcr_n(lag_s: float, passes: bool) -> None:
    """A lag beside the inertia makes the loop swing: M T wc^2 near 1 leaves little phase."""
    assert passes_fcr_n_sines(DroopReserve(10, 0.1, lag_s=lag_s)) is passes


def test_a_lag_shows_as_gain_and_phase() -> None:
    """1 / (1 + j w T), T = 4 s, period 40 s: gain 0.847, phase -32.1 degree."""
    time_s = np.arange(0, 400, 0.05)
    power = imposed_frequency(0.1 * np.sin(2 * np.pi * time_s / 40), DroopReserve(10, 0.1, lag_s=4), 0.05)
    turn, wave = np.exp(-2j * np.pi * time_s / 40)[2400:7200], np.sin(2 * np.pi * time_s / 40)[2400:7200]
    unit = -(power[2400:7200] @ turn) / (wave @ turn) / 10
    assert abs(unit) == pytest.approx(0.8467, abs=0.005)
    assert np.degrees(np.angle(unit)) == pytest.approx(-32.14, abs=0.5)
