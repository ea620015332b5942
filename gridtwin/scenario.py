"""The scenario: everything a user can declare, and nothing else.

Each class is one table of `scenario.toml`; the text under a field is its
documentation and the description in the JSON schema. Power is in kW and energy
in kWh here, as on a rating plate; everywhere else it is MW and MWh.
"""

from __future__ import annotations

import datetime as dt
import difflib
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gridtwin.nomenclature import ASSET_KINDS
from gridtwin.scenario_data_centre import DataCentre
from gridtwin.scenario_section import Kind, PositiveKw, Section, Share


def _known_zone(name: str) -> str:
    return _one_of(sorted(zoneinfo.available_timezones()), name, "IANA time zone")


def _known_kind(name: str) -> str:
    return _one_of(list(ASSET_KINDS), name, "kind of asset")


def _one_of(known: list[str], name: str, what: str) -> str:
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ValueError(f"{name!r} is no {what}" + (f"; the nearest is {close[0]}" if close else ""))


Zone = Annotated[str, AfterValidator(_known_zone)]
AssetKind = Annotated[str, AfterValidator(_known_kind)]
Percent = Annotated[float, Field(gt=0, le=300)]
GrowthKind = Literal["electric_car", "heat_pump", "pv", "battery"]


class Network(Section):
    """Where the network model comes from."""

    source: str
    """`simbench:<code>`, `pandapower:<network function>` or the path of a pandapower JSON file."""
    rules: str = "lv_planning"
    """Rule set: a name from `gridtwin/data/rule_sets/` or the path of a rule file."""
    max_loading_percent: Percent = 100.0
    """Largest loading of a branch without a limit of its own. [%]"""


class Time(Section):
    """Which days are studied, and when the forecast for them is issued."""

    first_day: dt.date
    """First studied local day."""
    days: Annotated[int, Field(ge=1, le=31)] = 1
    """Number of studied local days."""
    zone: Zone = "Europe/Berlin"
    """IANA time zone of local days."""
    issue: dt.time = dt.time(12, 0)
    """Local time on the day before at which the forecast is issued."""


class SeriesFile(Section):
    """One file of time series (CSV or Parquet) with everything a reader must know."""

    file: Path
    """Path, relative to the scenario file."""
    time_column: str = "time"
    """Column of the time stamps."""
    zone: Zone = "UTC"
    """IANA zone of naive stamps."""
    label: Literal["start", "end"] = "start"
    """Side of the interval that a stamp names."""
    unit: str = ""
    """Unit of the values: kW, MW, kWh, MWh, EUR/MWh, EUR/kWh, ct/kWh or degC; weather also W/m2, m/s, %, hPa, mixed."""
    sign: Literal["consumption", "generation"] = "consumption"
    """What a positive value means (power and energy only)."""
    kind: Kind = "measured"
    """Whether the values were measured, estimated or assumed; every output repeats it."""


class ProfileFile(SeriesFile):
    """A file of asset power: one column per asset of the network."""

    cos_phi: Annotated[float, Field(gt=0, le=1)] = 0.97
    """Inductive power factor of columns without reactive power. [-]"""


class ProfileSource(Section):
    """Where the power of the network's own loads and generators comes from."""

    source: str = ""
    """`simbench:<code>`; empty: that of the network."""
    file: tuple[ProfileFile, ...] = ()
    """Own series; a column replaces the series of the asset of that name."""


class Growth(Section):
    """Devices that the network does not hold yet, placed at random with the scenario's seed."""

    kind: GrowthKind
    """What is added."""
    count: Annotated[int, Field(ge=1, le=10_000)]
    """Number of devices."""
    kw: PositiveKw
    """Rated electric power of one device. [kW]"""
    kwh: Annotated[float, Field(ge=0)] = 0.0
    """Battery: usable energy. Electric car: mean energy of one charging session. [kWh]"""
    flexible_share: Share = 1.0
    """Share of the devices whose owners let the schedule move them. [-]"""
    buses: tuple[str, ...] = ()
    """Names of the buses to choose from; empty: all buses with a load."""


class Observation(Section):
    """A measurement at the feeder head to hold the model against."""

    feeder_head: SeriesFile
    """Active power into the network at its upstream connection; column `p`."""
    unmetered: tuple[AssetKind, ...] = ("household",)
    """Kinds of assets without a meter of their own; they are scaled to the measurement."""


class IssuedForecast(SeriesFile):
    """A file of what others forecast, over the history and the studied days; every column is used."""

    issued_column: str = ""
    """Column with the time at which each value was issued; empty: the values are taken as known at issue."""


class Forecast(Section):
    """The day-ahead forecast."""

    model: str = "DayAheadRidge"
    """DayAheadRidge, DayAheadTrees, DayAheadBlend, SeasonalNaive, or the name of any Darts model."""
    arguments: dict[str, Any] = {}
    """Arguments of a Darts model, by their names in Darts."""
    weather: tuple[IssuedForecast, ...] = ()
    """Forecast weather that the model may use, any number of files; PV and wind know `ghi_w_per_m2`, `cloud_share`,
    `temperature_c`, `wind_speed_m_per_s` and `wind_direction_degree` by name."""
    given: tuple[IssuedForecast, ...] = ()
    """Forecasts of assets by others, columns named like assets: the model starts from them and corrects them."""
    history_days: Annotated[int, Field(ge=21, le=366)] = 150
    """Days before issue that the model may learn from."""
    calibration_days: Annotated[int, Field(ge=7, le=120)] = 56
    """Last days of the history whose errors give bands and paths; each was forecast from the days before it alone."""
    paths: Annotated[int, Field(ge=2, le=2000)] = 50
    """Number of correlated sample paths."""
    quantiles: tuple[Share, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Quantiles in tables and figures, rising. [-]"""

    @model_validator(mode="after")
    def _quantiles_rise(self) -> Forecast:
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError(f"quantiles must rise, got {', '.join(f'{q:g}' for q in self.quantiles)}")
        if len(self.quantiles) < 2:
            raise ValueError("at least two quantiles are needed: paths are drawn between them")
        return self


class FeeWindow(Section):
    """Hours of the day with a grid fee of their own (time-variable fees, such as §14a EnWG module 3)."""

    begin: dt.time
    """Local time at which it begins."""
    end: dt.time
    """Local time at which it ends; before `begin`: on the next day."""
    eur_per_kwh: Annotated[float, Field(ge=0)]
    """Fee on energy drawn. [EUR/kWh]"""


class Flexibility(Section):
    """What may be shifted, and what leaving a wish unmet costs."""

    kinds: tuple[Literal["electric_car", "heat_pump", "battery", "pv", "wind", "computing_job"], ...] = (
        "electric_car",
        "heat_pump",
        "battery",
        "pv",
        "wind",
        "computing_job",
    )
    """Kinds of assets that take part."""
    existing: tuple[Literal["heat_pump", "pv", "wind", "battery"], ...] = ("heat_pump", "pv", "wind", "battery")
    """Kinds among the network's own assets that are flexible too."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    """Share of the forecast paths of a day in which all limits must hold all day after scheduling. [-]"""
    comfort_kelvin: Annotated[float, Field(gt=0, le=5)] = 1.0
    """Free deviation of the room temperature from what the thermostat would do. [K]"""
    comfort_price_eur_per_kelvin_hour: Annotated[float, Field(ge=0)] = 1.0
    """Price of leaving the comfort band. [EUR/(K h)]"""
    override_kelvin: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Deviation of the room temperature at which its thermostat overrules the schedule in real time. [K]"""
    unserved_price_eur_per_kwh: Annotated[float, Field(gt=0)] = 2.0
    """Price of energy that a car leaves without. [EUR/kWh]"""
    breach_price_eur_per_kwh: Annotated[float, Field(gt=0)] = 20.0
    """Price of power above a network limit. [EUR/kWh]"""
    curtailment_price_eur_per_kwh: Annotated[float, Field(ge=0)] = 0.15
    """Compensation for curtailed PV. [EUR/kWh]"""
    curtailment_sharing: Literal["cost", "rotation", "proportional", "lexicographic"] = "cost"
    """Who is curtailed where several could relieve a limit: at least cost; who has lost least so far, for an hour;
    by what each feeds in; or so that the largest share of energy lost is as small as possible."""
    wear_price_eur_per_kwh: Annotated[float, Field(ge=0)] = 0.04
    """Wear of a battery per discharged energy. [EUR/kWh]"""
    grid_fee_eur_per_kwh: Annotated[float, Field(ge=0)] = 0.0
    """Fee on energy drawn from the upstream network, on top of the day-ahead price. [EUR/kWh]"""
    grid_fee_window: tuple[FeeWindow, ...] = ()
    """Hours with another fee on energy drawn, instead of `grid_fee_eur_per_kwh`; later windows win."""
    export_fee_eur_per_kwh: Annotated[float, Field(ge=0)] = 0.0
    """What energy fed into the upstream network earns less than the day-ahead price: the worth of own use. [EUR/kWh]"""
    peak_price_eur_per_kw: Annotated[float, Field(ge=0)] = 0.0
    """Charge on the largest import of the billing period. [EUR/kW]"""
    peak_so_far_kw: Annotated[float, Field(ge=0)] = 0.0
    """Largest import that the billing period has seen already; only what goes beyond is charged. [kW]"""
    co2_price_eur_per_t: Annotated[float, Field(ge=0)] = 0.0
    """Price of emissions beside the day-ahead price. [EUR/t]"""
    co2_g_per_kwh: Annotated[float, Field(ge=0)] = 380.0
    """Carbon intensity of the electricity drawn, for `co2_price_eur_per_t`. [g/kWh]"""
    price_losses: bool = True
    """Whether energy lost in the network is bought at the day-ahead price."""
    worst_breach_price_eur: Annotated[float, Field(ge=0)] = 0.0
    """Price of the largest breach of a limit, for a breach as large as the limit itself: spreads what must be breached.
    [EUR]"""
    risk_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the mean cost in the dearest forecast paths beside the expected cost. [-]"""
    risk_tail: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the paths that count as the dearest. [-]"""
    smallest_charging_share: Share = 0.0
    """Smallest power of a car beside 0, as a share of its rated power; 0.19 is 6 A of 32 A. [-]"""
    vehicle_to_grid: bool = False
    """Whether cars may feed back what they charged in the same session."""
    battery_efficiency: Annotated[float, Field(gt=0, le=1)] = 0.92
    """Round-trip efficiency of a battery. [-]"""
    battery_start: Share = 0.5
    """State of charge at the start of the study. [-]"""
    certificate_rounds: Annotated[int, Field(ge=1, le=30)] = 10
    """Largest number of optimise-and-check rounds."""
    time_limit_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Time limit of one solve. [s]"""

    @model_validator(mode="after")
    def _thermostat_waits_for_comfort(self) -> Flexibility:
        if self.override_kelvin < self.comfort_kelvin:
            raise ValueError(
                f"override_kelvin {self.override_kelvin:g} must not be below comfort_kelvin {self.comfort_kelvin:g}: "
                "the thermostat would undo what the schedule was promised"
            )
        return self


class Reserve(Section):
    """A bid of balancing power from outside the network, activated in merit order."""

    name: str
    """Name in tables."""
    direction: Literal["up", "down"]
    """`up` covers a deficit, `down` absorbs a surplus."""
    kw: PositiveKw
    """Offered power. [kW]"""
    price_eur_per_mwh: float
    """Price paid for activated energy (`up`) or received for it (`down`). [EUR/MWh]"""
    ramp_kw_per_min: Annotated[float, Field(gt=0)] = 1e6
    """Largest change of power. [kW/min]"""


class Balancing(Section):
    """How deviations from the schedule are balanced in real time."""

    step_seconds: Literal[15, 30, 60, 300, 900] = 60
    """Step of the simulation. [s]"""
    battery_share: Share = 0.5
    """Share of a battery's power that may leave the schedule for balancing. [-]"""
    imbalance_price_factor: Annotated[float, Field(ge=1)] = 1.5
    """Price of what stays unbalanced, as a multiple of the day-ahead price. [-]"""
    imbalance_price_floor_eur_per_mwh: Annotated[float, Field(ge=0)] = 50.0
    """Smallest price of what stays unbalanced. [EUR/MWh]"""
    reserve: tuple[Reserve, ...] = ()
    """Bids, any number."""
    area: str = "continental_part"
    """Control area around the network: a name from `gridtwin/data/rule_sets/control_area/` or the path of such a
    file."""
    market: str = "german_style"
    """Rules of its balancing market: a name from `gridtwin/data/rule_sets/market/` or the path of such a file."""


class Connection(Section):
    """A request: does this load or generator fit, and what limits it?"""

    name: str
    """Name of the request."""
    bus: str
    """Name of the bus."""
    kw: PositiveKw
    """Requested power. [kW]"""
    kind: Literal["load", "generator"]
    """Whether it draws or feeds in."""
    cos_phi: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Power factor, inductive. [-]"""


class Energy(Section):
    """How the energy of the computation is accounted for."""

    co2_g_per_kwh: Annotated[float, Field(ge=0)] = 380.0
    """Carbon intensity of the electricity, location-based. [g/kWh]"""
    co2_kind: Kind = "assumed"
    """Where the carbon intensity comes from."""


class Output(Section):
    """What the run folder holds beside the tables and the page."""

    power_flow: bool = False
    """Write every voltage and loading of every path and step to `power_flow.nc`."""


class Scenario(Section):
    """One question about one network: `scenario.toml` as a whole."""

    title: str
    """Heading of the report."""
    description: str = ""
    """What the scenario asks."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of every random choice; the same seed gives the same tables."""
    network: Network
    time: Time
    profiles: ProfileSource = ProfileSource()
    weather: SeriesFile | None = None
    prices: SeriesFile | None = None
    """Day-ahead prices, taken as known when the forecast is issued."""
    growth: tuple[Growth, ...] = ()
    data_centre: tuple[DataCentre, ...] = ()
    """Sites that compute, any number."""
    observe: Observation | None = None
    forecast: Forecast = Forecast()
    flexibility: Flexibility = Flexibility()
    balancing: Balancing = Balancing()
    connection: tuple[Connection, ...] = ()
    energy: Energy = Energy()
    output: Output = Output()

    @model_validator(mode="before")
    @classmethod
    def _drop_editor_hint(cls, values: Any) -> Any:
        """`"$schema"` may stand in the file for editors."""
        return {key: value for key, value in values.items() if key != "$schema"} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _heat_pumps_need_weather(self) -> Scenario:
        if self.weather is None and any(part.kind == "heat_pump" for part in self.growth):
            raise ValueError("growth of heat pumps needs [weather]: their heat demand follows the outdoor temperature")
        return self
