"""Power of AI workloads over time: training that runs on, and inference that follows its requests.

    training    a plateau with dips at checkpoints, aborts and restarts with ramps
    inference   requests at random with the shape of a day, answered in batches: the fuller, the less per token

All of it is drawn from a seed and assumed, never measured; each series depends on its own name alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.data.charging_sessions import spawn_generator
from gridtwin.data.growth_profiles import autoregressive
from gridtwin.data.iteration_shape import IterationShape
from gridtwin.scenario_data_centre import Inference, Training
from gridtwin.time_axis import TimeAxis

TRAINING_PURPOSE, INFERENCE_PURPOSE = 21, 22
"""Streams of random numbers of their own, see `spawn_generator`."""
FINE_SECONDS = 60.0
"""Step in which dips and aborts of training are laid out. [s]"""
BURST_KEPT = 0.5
"""Part of a burst that is still there an interval later; assumed. [-]"""
JOULE_PER_KWH = 3.6e6


def training_power_kw(run: Training, axis: TimeAxis, *, name: str, seed: int) -> np.ndarray:
    """Power of the IT equipment of a training run, interval means. (time,) [kW]

    Parameters
    ----------
    run : Training
        The run.
    axis : TimeAxis
        Intervals.
    name : str
        Name that its random numbers belong to.
    seed : int
        Seed of the scenario.

    Notes
    -----
    Work on a minute takes full power; a checkpoint and the time after an abort take `waiting_share` of it, and an
    abort falls to that level and rises again over `ramp_seconds`, so that half of either ramp is missing. Power
    smoothing lifts that level to its floor, and fills the exchange of every iteration up to it.
    """
    per_step = round(axis.step / pd.Timedelta(seconds=FINE_SECONDS))
    minutes = axis.length * per_step
    random = spawn_generator(seed, TRAINING_PURPOSE, name)
    first = random.uniform(0, 60 * run.checkpoint_every_hours)
    checkpoints = np.arange(first, minutes, 60 * run.checkpoint_every_hours)
    aborts = np.sort(random.uniform(0, minutes, random.poisson(run.aborts_per_week * minutes / (7 * 24 * 60))))
    waiting = _covered(checkpoints, run.checkpoint_minutes, minutes)
    waiting = np.maximum(waiting, _covered(aborts, run.restart_minutes + run.ramp_seconds / 60, minutes))
    computing_kw, waiting_kw = run.kw + smoothing_kw(run), run.kw * max(run.waiting_share, run.floor_share)
    power = computing_kw - (computing_kw - waiting_kw) * waiting
    return np.asarray(power.reshape(axis.length, per_step).mean(axis=1))


def _covered(starts: np.ndarray, length: float, minutes: int) -> np.ndarray:
    """Share of each minute that lies in one of the spells. (minute,)"""
    edges = np.arange(minutes + 1, dtype=float)
    share = np.zeros(minutes)
    for start in starts:
        part = slice(int(start), min(minutes, int(np.ceil(start + length)) + 1))
        inside = np.clip(edges[part.start : part.stop + 1], start, start + length)
        share[part] = np.maximum(share[part], np.diff(inside))
    return share


def draw_requests(service: Inference, axis: TimeAxis, *, name: str, seed: int) -> np.ndarray:
    """Number of requests in each interval, Poisson with the rate of its hour, which itself may vary. (time,)

    Notes
    -----
    With bursts of share c the rate is multiplied by a lognormal first-order process of mean 1 and spread c, so that
    the variance is the mean plus the square of c times the mean.
    """
    random = spawn_generator(seed, INFERENCE_PURPOSE, name)
    expected = request_rate_per_hour(service, axis) * axis.hours_per_step
    if service.burst_share > 0:
        sigma = np.sqrt(np.log1p(service.burst_share**2))
        expected *= np.exp(sigma * autoregressive(random.standard_normal(axis.length), BURST_KEPT) - sigma**2 / 2)
    return np.asarray(random.poisson(expected), dtype=float)


def request_rate_per_hour(service: Inference, axis: TimeAxis) -> np.ndarray:
    """Expected requests per hour: a wave over the local day, fewer at weekends, mean as declared. (time,) [1/h]"""
    local = axis.local_times
    hour = np.asarray(local.hour + local.minute / 60, dtype=float) + axis.hours_per_step / 2
    swing = (1 - service.night_share) / (1 + service.night_share)
    wave = 1 + swing * np.cos(2 * np.pi * (hour - service.busiest_hour) / 24)
    week = np.where(local.dayofweek >= 5, service.weekend_share, 1.0) * 7 / (5 + 2 * service.weekend_share)
    return np.asarray(service.requests_per_hour * wave * week)


def energy_per_token_joule(batch: np.ndarray | float, joule_per_token: float, joule_per_step: float) -> np.ndarray:
    """Energy of the accelerators per token by batch size.

    Notes
    -----
    e(B) = a + b / B: a step reads the weights once (b) for all requests of the batch, and computes for each (a).

    Examples
    --------
    >>> energy_per_token_joule(np.array([8.0, 64.0]), 0.36, 27.4).round(3).tolist()  # Llama 3.1 70B, 4 H100
    [3.785, 0.788]
    """
    return np.asarray(joule_per_token + joule_per_step / np.asarray(batch))


def batch_size(service: Inference, requests_per_hour: np.ndarray) -> np.ndarray:
    """Requests that a replica answers at once: rate times duration by replicas (Little's law), 1 to the largest. [-]"""
    at_once = requests_per_hour / 3600 * service.seconds_per_request / service.replicas
    return np.asarray(np.clip(at_once, 1.0, service.largest_batch))


def inference_power_kw(service: Inference, requests: np.ndarray, hours_per_step: float) -> np.ndarray:
    """Power of the IT equipment that answers requests, interval means. (time,) [kW]

    Parameters
    ----------
    service : Inference
        The service.
    requests : ndarray, (time,)
        Requests of each interval, drawn or read from a trace.
    hours_per_step : float
        Length of an interval. [h]

    Notes
    -----
    Beyond the largest batch requests wait; they are counted in the interval in which they came.
    """
    per_hour = requests / hours_per_step
    joule = energy_per_token_joule(batch_size(service, per_hour), service.joule_per_token, service.joule_per_step)
    tokens_per_hour = per_hour * service.tokens_per_request
    return np.asarray(service.idle_kw + service.server_per_accelerator * tokens_per_hour * joule / JOULE_PER_KWH)


def iteration_of(run: Training) -> IterationShape:
    """The wave of a run's iterations, without smoothing."""
    return IterationShape(run.kw, run.iteration_seconds, run.iteration_duty, run.iteration_depth)


def smoothing_kw(run: Training) -> float:
    """Mean power that fills the exchange of every iteration up to the floor: (1 - D) max(floor - low, 0). [kW]

    Examples
    --------
    >>> round(smoothing_kw(Training(kw=92, iteration_duty=0.8, iteration_depth=0.4, floor_share=1.0)), 6)
    6.4
    """
    return (1 - run.iteration_duty) * max(run.floor_share * run.kw - iteration_of(run).low_kw, 0.0)
