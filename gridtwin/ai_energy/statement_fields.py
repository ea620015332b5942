"""What a statement of an AI workload may say, in groups.

Every number is a `Quantity`. None means that nothing is stated; a quantity of kind
`missing` means that it was asked for and is not known, with the reason.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gridtwin.ai_energy.quantity import Quantity

Number = Quantity | None
Text = str | None


class Group(BaseModel):
    """Base of all groups: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ReportFacts(Group):
    """Who states this, and about when."""

    report_id: Text = None
    """Identifier of the statement."""
    created: Text = None
    """Date of the statement as its publisher gives it, ISO 8601; no clock is read."""
    period_start: dt.datetime | None = None
    """Begin of the time that is reported, UTC."""
    period_end: dt.datetime | None = None
    """End of the time that is reported, UTC."""
    publisher: Text = None
    """Who publishes it."""
    confidentiality: Literal["public", "internal", "confidential", "secret"] | None = None
    """Who may read it."""


class Subject(Group):
    """The model or job that is reported."""

    model_id: Text = None
    """Name of the model or job."""
    version: Text = None
    """Its version."""
    model_hash: Text = None
    """Hash of the weights."""
    architecture: Text = None
    """Architecture."""
    modality: Text = None
    """Modality and format of input and output."""
    task: Text = None
    """Family of tasks, such as load forecasting."""
    licence: Text = None
    """Licence."""
    base_model: Text = None
    """Model that it was made from."""
    parameters_total: Number = None
    """All parameters. [1]"""
    parameters_active: Number = None
    """Parameters that one item of output uses. [1]"""
    risk_class: Literal["prohibited", "high", "limited", "minimal"] | None = None
    """Class of the AI system under Regulation (EU) 2024/1689."""
    risk_reason: Text = None
    """Why that class."""
    gpai: bool | None = None
    """Whether it is a general-purpose AI model; None leaves it to the number of operations."""
    gpai_reason: Text = None
    """Why."""
    systemic_risk: bool | None = None
    """Whether it is a general-purpose AI model with systemic risk."""


class TrainingRun(Group):
    """One run that belongs to the training."""

    role: Literal["final", "failed", "search", "fine_tuning", "other"]
    """What it was for."""
    energy: Number = None
    """Energy. [MWh]"""
    compute: Number = None
    """Operations. [FLOP]"""


class Training(Group):
    """What the training took."""

    compute: Number = None
    """Floating point operations. [FLOP]"""
    compute_method: Text = None
    """How the operations were counted."""
    wall_clock: Number = None
    """Time from begin to end. [d]"""
    hardware_time: Number = None
    """Time summed over devices. [device-d]"""
    duration_range: Literal["below 1 month", "1 to 3 months", "3 to 6 months", "above 6 months"] | None = None
    """Range of the training time."""
    energy: Number = None
    """Energy; a missing one says which information was withheld and why. [MWh]"""
    energy_method: Text = None
    """How the energy was measured or estimated; if it is not known, what information was missing."""
    runs: tuple[TrainingRun, ...] = ()
    """The runs that are included, failed ones and searches too."""
    items: Number = None
    """Tokens or samples that were trained on. [1]"""
    training_type: Text = None
    """Such as pre-training or fine-tuning."""


class EnergyCurve(Group):
    """Energy per unit of output over batch size B: a + [b0 + b1 (1 - (1 - k/E)^B)] / B."""

    a: Number = None
    """Part that does not depend on the batch. [J]"""
    b0: Number = None
    """Part of each step that all output shares. [J]"""
    b1: Number = None
    """Part of each step that grows with the experts used. [J]"""
    experts_active: Number = None
    """Experts that one token uses, k. [1]"""
    experts_total: Number = None
    """All experts, E. [1]"""
    fit_rms: Number = None
    """Root mean square of relative errors of the fit. [1]"""


class Inference(Group):
    """What the use takes."""

    benchmark_compute: Number = None
    """Operations for the benchmark task. [FLOP]"""
    benchmark_task: Text = None
    """The task, such as writing 100 000 tokens."""
    benchmark_hardware: Text = None
    """The hardware that it ran on."""
    batch_size: Number = None
    """Requests that are worked on together. [1]"""
    tokens_in: Number = None
    """Length of the input. [1]"""
    tokens_out: Number = None
    """Length of the output. [1]"""
    precision: Text = None
    """Number format of weights and operations."""
    latency_p99: Number = None
    """Time that 99 % of the requests stay below. [s]"""
    energy_per_unit: Number = None
    """Energy per functional unit. [J]"""
    functional_unit: Text = None
    """What one unit is, such as one forecast or one token."""
    energy_curve: EnergyCurve | None = None
    """Energy per unit over batch size."""
    units_served: Number = None
    """Units in the period. [1]"""
    energy_total: Number = None
    """Energy in the period. [MWh]"""
    idle_share: Number = None
    """Share of the energy that waiting hardware takes. [1]"""


class Hardware(Group):
    """One kind of component."""

    component: Literal["cpu", "gpu", "ram", "storage", "network", "other"]
    """What it is."""
    model: Text = None
    """Its name."""
    count: Number = None
    """How many. [1]"""
    rated_power: Number = None
    """Rated power of one. [W]"""
    share: Number = None
    """Share of it that this workload uses. [1]"""
    lifetime: Number = None
    """Time that it is expected to be used. [y]"""


class Devices(Group):
    """Energy of the devices and the nodes they sit in."""

    cpu: Number = None
    """Processors. [kWh]"""
    memory: Number = None
    """Memory. [kWh]"""
    accelerator: Number = None
    """Accelerators. [kWh]"""
    other: Number = None
    """Other devices. [kWh]"""
    total: Number = None
    """All devices. [kWh]"""
    node: Number = None
    """The nodes at their plugs. [kWh]"""


class GridFacts(Group):
    """The workload as a load in the network."""

    bus: Text = None
    """Bus that it is connected to."""
    zone: Text = None
    """Bidding zone."""
    voltage_level: Number = None
    """Nominal voltage. [kV]"""
    power_max: Number = None
    """Largest power. [MW]"""
    ramp_max: Number = None
    """Fastest change of power. [MW/s]"""
    power_factor: Number = None
    """Power factor. [1]"""
    unbalance: Number = None
    """Unbalance between phases. [%]"""
    iteration_period: Number = None
    """Period of the swing of power between training steps. [s]"""
    voltage_step: Number = None
    """Largest step of voltage at the bus. [%]"""
    loss_energy: Number = None
    """Losses that it causes in the network. [kWh]"""
    marginal_loss_factor: Number = None
    """Change of losses per change of load. [1]"""


class Carbon(Group):
    """Greenhouse gases in three ledgers that are never netted, and those of making the hardware."""

    intensity: Number = None
    """Location-based intensity of the electricity. [g/kWh]"""
    intensity_source: Text = None
    """Where it comes from, and whether it is an average or a marginal one."""
    location_hourly: Number = None
    """Location-based, hour by hour. [kg]"""
    location_annual: Number = None
    """Location-based, from one intensity. [kg]"""
    covariance_term: Number = None
    """What the hours add to the annual figure. [kg]"""
    market_based: Number = None
    """Market-based. [kg]"""
    instruments: Text = None
    """Instruments that were retired for it, and for which hours."""
    consequential: Number = None
    """Change of the emissions of the system by a new dispatch. [kg]"""
    consequential_case: Text = None
    """The dispatch case behind it."""
    embodied_total: Number = None
    """Making of the hardware, TE. [kg]"""
    time_reserved: Number = None
    """Time that the hardware is reserved, TiR. [h]"""
    expected_lifespan: Number = None
    """Expected time of use of the hardware, EL. [h]"""
    resources_reserved: Number = None
    """Resources that are reserved, RR. [1]"""
    resources_total: Number = None
    """Resources that there are, ToR. [1]"""
    embodied: Number = None
    """Share of the making that falls on the workload, M. [kg]"""


class IntensityScore(Group):
    """Software carbon intensity."""

    boundary: Text = None
    """Which software and hardware are counted."""
    energy: Number = None
    """Energy within that boundary, E. [kWh]"""
    score: Number = None
    """SCI of software in general. [g/unit]"""
    functional_unit: Text = None
    """What R counts."""
    units: Number = None
    """Number of functional units, R. [1]"""
    rationale: Text = None
    """Why that unit, and whether gross or effective values are meant."""
    consumer: Number = None
    """Score of use, per unit of output. [g/unit]"""
    consumer_unit: Text = None
    """What that unit is."""
    provider: Number = None
    """Score of design and training, per unit of what was trained. [g/unit]"""
    provider_unit: Text = None
    """What that unit is."""
    life_cycle: Text = None
    """Which stages of the life cycle are in which score."""


class Undertaking(Group):
    """Energy and gases of the whole company, for a sustainability statement."""

    control: Text = None
    """How the boundary of the company is drawn: operational or financial control."""
    energy_total: Number = None
    """Energy. [MWh]"""
    energy_fossil: Number = None
    """Of it fossil. [MWh]"""
    energy_nuclear: Number = None
    """Of it nuclear. [MWh]"""
    energy_renewable: Number = None
    """Of it renewable. [MWh]"""
    scope1: Number = None
    """Gross scope 1. [t]"""
    scope2_location: Number = None
    """Gross scope 2, location-based. [t]"""
    scope2_market: Number = None
    """Gross scope 2, market-based. [t]"""
    scope3: Number = None
    """Gross scope 3. [t]"""


class UncertaintyPart(Group):
    """One entry of the uncertainty budget."""

    cause: str
    """What it comes from."""
    effect: Number = None
    """Its size relative to the energy. [1]"""


class Uncertainty(Group):
    """How far the numbers can be trusted."""

    budget: tuple[UncertaintyPart, ...] = ()
    """What the width of the interval is made of."""
    measured_share: Number = None
    """Share of the energy that was measured. [1]"""
    gaps: tuple[str, ...] = ()
    """Times without a measurement."""
    resets: tuple[str, ...] = ()
    """Counters that started again."""
    wraps: tuple[str, ...] = ()
    """Counters that ran over, and where it is not clear how often."""
    notes: tuple[str, ...] = ()
    """What else a reader must know."""


class Provenance(Group):
    """Where the numbers come from."""

    probes: tuple[str, ...] = ()
    """Counters, meters and models that were read."""
    versions: tuple[str, ...] = ()
    """Programs and their versions."""
    sampling_interval: Number = None
    """Time between two readings. [s]"""
    meters: tuple[str, ...] = ()
    """Meters, their points and classes."""
    traces_sha256: tuple[str, ...] = ()
    """Hashes of the raw readings."""
    calibration: Text = None
    """When and against what the meters were calibrated."""
    records_kept: Number = None
    """How long the records are kept. [y]"""


class WorkloadValue(Group):
    """What the workload is good for; a ledger of its own, never set off against what it costs."""

    skill: Number = None
    """Skill of the forecast over the baseline. [1]"""
    baseline: Text = None
    """The baseline."""
    energy_per_forecast: Number = None
    """Energy per forecast, its share of training included. [J]"""
    energy_to_target_skill: Number = None
    """Energy until a wanted skill is reached. [J]"""
    avoided_imbalance: Number = None
    """Imbalance that it avoided. [MWh]"""
    counterfactual: Text = None
    """The case without it."""
