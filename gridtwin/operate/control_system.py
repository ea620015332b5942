"""What holds a frequency: areas, reserves, tie lines, bids, load shedding, and how time is divided.

Areas with inertia and load damping hang together by tie lines. Droop reserves answer
within seconds, automatic reserves (aFRR) follow a PI controller of the area control
error, manual reserves (mFRR) take over what lasts, and demand is shed where the
frequency falls too far. Bids in merit order give both kinds of reserve.

Everything counts from a balanced state: power is what deviates from the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import xarray as xr


@dataclass(frozen=True)
class DroopReserve:
    """Power that answers to the frequency of its area (FCR).

    Parameters
    ----------
    p_mw : float
        Full activation. [MW]
    full_at_hz : float, default 0.2
        Deviation of full activation. [Hz]
    dead_band_hz : float, default 0
        Deviation at which activation begins; from there it rises linearly. [Hz]
    full_activation_s : float, default 0
        Time from nothing to full activation, a limit of the rate; 0: none. [s]
    lag_s : float, default 0
        Time constant of a lag before that limit; 0: none. [s]
    direction : str, default "both"
        "up" answers to low frequency only, "down" to high.
    """

    p_mw: float
    full_at_hz: float = 0.2
    dead_band_hz: float = 0.0
    full_activation_s: float = 0.0
    lag_s: float = 0.0
    direction: Literal["both", "up", "down"] = "both"


@dataclass(frozen=True)
class Governor:
    """Linear primary response by a governor and a turbine, part of the linear core.

    Parameters
    ----------
    droop_hz_per_mw : float
        Lasting deviation per power. [Hz/MW]
    governor_s, turbine_s : float
        Time constants. [s]
    integral_per_s : float, default 0
        Continuous integral action on the area control error, the textbook form of
        secondary control; not sampled, not limited. [1/s]
    """

    droop_hz_per_mw: float
    governor_s: float
    turbine_s: float
    integral_per_s: float = 0.0


@dataclass(frozen=True)
class ControlArea:
    """One load-frequency control area.

    Parameters
    ----------
    name : str
    inertia_mws : float
        Kinetic energy at nominal frequency. [MW s]
    damping_mw_per_hz : float, default 0
        Load that falls with the frequency. [MW/Hz]
    f_nominal_hz : float, default 50
    droop : tuple of DroopReserve
    governor : Governor, optional
    bias_mw_per_hz : float, default 0
        K factor of the area control error. [MW/Hz]
    afrr_proportional : float, default 0
        Request per area control error. [-]
    afrr_integral_s : float, optional
        Time in which the integral asks for the whole area control error; None: no integral. [s]
    mfrr_threshold_mw : float, optional
        Lasting automatic requests above it go to manual reserves at the next schedule; None: never. [MW]
    mfrr_direct_share : float, optional
        Manual reserves are activated at once when the lasting request reaches this
        share of the volume of automatic reserves; None: never. [-]
    noise_mw, noise_s : float
        Standard deviation and time constant of the noise of load. [MW], [s]
    """

    name: str
    inertia_mws: float
    damping_mw_per_hz: float = 0.0
    f_nominal_hz: float = 50.0
    droop: tuple[DroopReserve, ...] = ()
    governor: Governor | None = None
    bias_mw_per_hz: float = 0.0
    afrr_proportional: float = 0.0
    afrr_integral_s: float | None = None
    mfrr_threshold_mw: float | None = None
    mfrr_direct_share: float | None = None
    noise_mw: float = 0.0
    noise_s: float = 60.0


@dataclass(frozen=True)
class TieLine:
    """Synchronous connection of two areas: d p / dt = coefficient (f_start - f_end).

    Parameters
    ----------
    start, end : str
        Areas; power from `start` to `end` is positive.
    coefficient_mw_per_hz_s : float
        The whole coefficient, 2 pi T of the textbook form. [MW/(Hz s)]
    """

    start: str
    end: str
    coefficient_mw_per_hz_s: float


@dataclass(frozen=True)
class EnergyStore:
    """Energy behind bids: a battery, or what a process can give.

    Parameters
    ----------
    name : str
    e_mwh : float
        Usable energy. [MWh]
    start_share : float, default 0.5
        Stored share before the first step. [-]
    efficiency : float, default 1
        Round trip; split evenly between charging and discharging. [-]
    """

    name: str
    e_mwh: float
    start_share: float = 0.5
    efficiency: float = 1.0


@dataclass(frozen=True)
class BalancingBid:
    """Offer of reserve power.

    Parameters
    ----------
    name, area : str
    direction : str
        "up" injects, "down" draws.
    p_mw : float
        Offered power. [MW]
    price_eur_per_mwh : float
        Paid by the operator for upward, to the operator for downward energy. [EUR/MWh]
    product : str, default "afrr"
        "afrr" follows every control cycle, "mfrr" is activated by schedule or directly.
    full_activation_s : float, default 300
        Time from nothing to `p_mw`; 0: at once. [s]
    least_duration_s : float, default 0
        A request does not fall for this long after it began. [s]
    available_from_s, available_until_s : float
        Offered in the periods that begin in between. [s]
    store : str, optional
        Store that bounds the energy; up to one bid of each direction shares a store.
    rebound_share, rebound_s : float
        Share of the energy that comes back with the opposite sign, and its time
        constant: demand response catches up. [-], [s]
    """

    name: str
    area: str
    direction: Literal["up", "down"]
    p_mw: float
    price_eur_per_mwh: float
    product: Literal["afrr", "mfrr"] = "afrr"
    full_activation_s: float = 300.0
    least_duration_s: float = 0.0
    available_from_s: float = 0.0
    available_until_s: float = float("inf")
    store: str | None = None
    rebound_share: float = 0.0
    rebound_s: float = 3600.0


@dataclass(frozen=True)
class Disturbance:
    """A step of load in every scenario, consumption positive: the loss of a plant is a positive step."""

    area: str
    start_s: float
    p_mw: float


@dataclass(frozen=True)
class LoadShedding:
    """A stage of under-frequency load shedding.

    Parameters
    ----------
    area : str
    f_hz : float
        Threshold. [Hz]
    p_mw : float
        Demand that goes. [MW]
    delay_s : float, default 0
        Time below the threshold until it is gone. [s]
    """

    area: str
    f_hz: float
    p_mw: float
    delay_s: float = 0.0


@dataclass(frozen=True)
class ControlSystem:
    """What hangs together: areas, ties, bids, stores, and stages of load shedding."""

    areas: tuple[ControlArea, ...]
    ties: tuple[TieLine, ...] = ()
    bids: tuple[BalancingBid, ...] = ()
    stores: tuple[EnergyStore, ...] = ()
    shedding: tuple[LoadShedding, ...] = ()
    netting: bool = False
    """Whether areas net opposite requests before they activate bids."""


@dataclass(frozen=True)
class ControlTimes:
    """How time is divided. [s]

    Parameters
    ----------
    duration_s : float
        A multiple of `period_s`.
    step_s : float, default 1
        The linear part is exact at any step; droop, shedding and noise are sampled by it.
    cycle_s : float, default 4
        Automatic reserves and bids act once per cycle.
    period_s : float, default 900
        Settlement period; results are means of it.
    schedule_s : float, default 900
        Scheduled activation of manual reserves.
    direct_wait_s : float, default 750
        Least time between two direct activations.
    trace_s : float, optional
        Distance of the points of traces; None: no traces.
    """

    duration_s: float
    step_s: float = 1.0
    cycle_s: float = 4.0
    period_s: float = 900.0
    schedule_s: float = 900.0
    direct_wait_s: float = 750.0
    trace_s: float | None = None


@dataclass(frozen=True)
class ControlInputs:
    """What happens to the system.

    Parameters
    ----------
    disturbances : tuple of Disturbance
        The same in every scenario.
    load_mw : DataArray, optional
        Load above schedule, consumption positive, (time, area, scenario); every value
        holds for an equal part of the duration. [MW]
    scenarios : int, default 1
        Number of scenarios; with `load_mw` its own.
    seed : int, default 0
        Of the noise.
    """

    disturbances: tuple[Disturbance, ...] = ()
    load_mw: xr.DataArray | None = field(default=None, compare=False)
    scenarios: int = 1
    seed: int = 0
