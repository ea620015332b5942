"""Data centres in a scenario: what they compute, and how much of it can wait.

Power and energy of training and batch jobs are those of the IT equipment at the output of the UPS; the way from
there to the connection point is declared once for the whole site.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field, model_validator

from gridtwin.scenario_section import PositiveKw, Section, Share


class Training(Section):
    """A training run that goes on all the time and cannot be moved."""

    name: str = "training"
    """Name in messages."""
    kw: PositiveKw
    """Power of the IT equipment while it computes, mean over its iterations. [kW]"""
    checkpoint_every_hours: Annotated[float, Field(gt=0)] = 4.0
    """Time from one checkpoint to the next. [h]"""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 3.0
    """Length of a checkpoint, in which the accelerators wait. [min]"""
    waiting_share: Share = 0.45
    """Power while they wait, as a share of `kw`. Median of A100 systems at the wall, MLPerf Inference v2.1. [-]"""
    aborts_per_week: Annotated[float, Field(ge=0)] = 1.0
    """Mean number of aborts; the run starts again from its last checkpoint. [1/week]"""
    restart_minutes: Annotated[float, Field(ge=0)] = 20.0
    """Time from an abort to full power. [min]"""
    ramp_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time in which power falls at an abort or rises at a start. [s]"""
    iteration_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Time of one iteration: computing, then exchange of gradients at lower power. [s]"""
    iteration_duty: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Share of an iteration that is computing. [-]"""
    iteration_depth: Share = 0.4
    """Fall of power during the exchange, as a share of the power while computing. [-]"""
    floor_share: Share = 0.0
    """Power smoothing: power below this share of `kw` is filled up by idle work; 0 is none. [-]"""


class Inference(Section):
    """Requests that are answered as they come and cannot be moved."""

    name: str = "inference"
    """Name in messages."""
    requests_per_hour: Annotated[float, Field(gt=0)]
    """Mean number of requests. [1/h]"""
    burst_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Spread of the rate from one interval to the next beyond chance, by the rate; 0 is Poisson. The conversations of
    the Azure LLM inference traces of 2023 have 0.2 within their hour, trend included. [-]"""
    tokens_per_request: Annotated[float, Field(gt=0)] = 211.0
    """Mean number of tokens generated; conversations of the Azure LLM inference traces of 2023. [-]"""
    seconds_per_request: Annotated[float, Field(gt=0)] = 10.0
    """Mean time that a request is being answered; assumed. [s]"""
    replicas: Annotated[int, Field(ge=1)] = 1
    """Copies of the model among which requests are spread."""
    largest_batch: Annotated[float, Field(ge=1)] = 256.0
    """Requests that a replica answers at once at most; what is more waits. [-]"""
    joule_per_token: Annotated[float, Field(ge=0)] = 0.36
    """Energy of the accelerators per token at any batch size; Llama 3.1 70B on 4 H100, ML.ENERGY. [J]"""
    joule_per_step: Annotated[float, Field(ge=0)] = 27.4
    """Energy of the accelerators per step, shared by the batch: a token takes a + b/B. The same source. [J]"""
    server_per_accelerator: Annotated[float, Field(ge=1)] = 1.3
    """Power of servers by that of their accelerators; assumed. [-]"""
    idle_kw: Annotated[float, Field(ge=0)] = 0.0
    """Power of the servers without a request. [kW]"""
    night_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Requests at the quietest hour by those at the busiest. [-]"""
    busiest_hour: Annotated[float, Field(ge=0, lt=24)] = 15.0
    """Local hour with the most requests. [h]"""
    weekend_share: Annotated[float, Field(gt=0)] = 0.6
    """Requests of a day at a weekend by those of a working day. [-]"""


class BatchJob(Section):
    """Computing with a deadline, which the schedule may move and pause."""

    name: str
    """Name of the job; the asset is called by data centre and job."""
    kwh: PositiveKw
    """Energy of the IT equipment for the whole job. [kWh]"""
    earliest: dt.datetime
    """Local time from which on it may run."""
    deadline: dt.datetime
    """Local time by which it must be done."""
    p_max_kw: PositiveKw
    """Power of the IT equipment at full speed. [kW]"""
    p_min_kw: Annotated[float, Field(ge=0)] = 0.0
    """Smallest power of the IT equipment while it runs; at 0 it can wait without a pause. [kW]"""
    checkpoint_kwh: Annotated[float, Field(ge=0)] = 0.0
    """Energy of each pause: work lost since the last checkpoint, writing and reading it. [kWh]"""
    checkpoint_eur: Annotated[float, Field(ge=0)] = 0.0
    """Price of each pause beside its energy. [EUR]"""
    delay_price_eur_per_kwh: Annotated[float, Field(gt=0)] = 5.0
    """Price of IT energy that is not used by the deadline. [EUR/kWh]"""

    @model_validator(mode="after")
    def _fits_its_window(self) -> BatchJob:
        if self.earliest.tzinfo is not None or self.deadline.tzinfo is not None:
            raise ValueError("earliest and deadline are local times: leave out the offset")
        if self.deadline <= self.earliest:
            raise ValueError(f"deadline {self.deadline} must be after earliest {self.earliest}")
        if self.p_min_kw > self.p_max_kw:
            raise ValueError(f"p_min_kw {self.p_min_kw:g} must not be above p_max_kw {self.p_max_kw:g}")
        return self


class DataCentre(Section):
    """A site that computes, as a load of the network."""

    name: str
    """Name of the site and of its load."""
    bus: str
    """Name of the bus it is connected to."""
    p_it_kw: PositiveKw
    """Rated power of the IT equipment at the output of the UPS. [kW]"""
    pue: Annotated[float, Field(ge=1)] = 1.3
    """Energy of the site by that of its IT equipment, at rated power. [-]"""
    fixed_share: Share = 0.0
    """Part of what the site takes beside the IT equipment at rated power that it takes at any power. [-]"""
    connection_loss_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Losses between site and connection point, such as an own transformer, by what the site takes. [-]"""
    smallest_power_factor: Annotated[float, Field(gt=0, le=1)] = 0.96
    """Power factor without load, inductive; A100 systems idle at 0.96 (MLPerf Inference v2.1). [-]"""
    power_factor: Annotated[float, Field(gt=0, le=1)] = 0.994
    """Power factor at rated power, inductive; from the same meters. [-]"""
    short_circuit_mva: Annotated[float, Field(gt=0)] | None = None
    """Short-circuit power at the bus, as the operator states it; else the upstream network counts as stiff. [MVA]"""
    training: tuple[Training, ...] = ()
    """Training runs, any number."""
    inference: tuple[Inference, ...] = ()
    """Inference services, any number."""
    job: tuple[BatchJob, ...] = ()
    """Batch jobs, any number; they are flexible."""

    @model_validator(mode="after")
    def _names_differ(self) -> DataCentre:
        names = [job.name for job in self.job]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"jobs share a name: {', '.join(doubled)}")
        return self

    @model_validator(mode="after")
    def _has_room_for_its_training(self) -> DataCentre:
        running = sum(part.kw for part in self.training)
        if running > self.p_it_kw:
            raise ValueError(f"training takes {running:g} kW, more than p_it_kw {self.p_it_kw:g}")
        return self
