r"""Fair sharing: who is dimmed, and by how much, so that a limit is relieved.

Steps are decided one after the other, as signals come: what the devices will draw later is
not known, what they have given before is. In a step with demand :math:`d`, device i with
weight :math:`w_i` can give :math:`c_i` and gives :math:`r_i`:

    sum of w_i r_i = min(d, sum of w_i c_i),   0 <= r_i <= c_i = p_i - minimum_i

Three rules choose among the many solutions:

    rotation        those with the least energy given so far give all they can, for a slot
    proportional    r_i = a c_i with one a for all
    lexicographic   the largest share of energy lost so far is as small as possible, then the
                    second largest, and so on (leximin of max-min fairness)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.time_axis import TimeAxis

Floats = NDArray[np.float64]
SharingRule = Literal["rotation", "proportional", "lexicographic"]

SHARING_RULES: dict[SharingRule, str] = {
    "rotation": "least energy given so far first, for a slot",
    "proportional": "by what each device can give",
    "lexicographic": "equal shares of energy lost, as far as devices reach",
}
"""Names of the rules and their meaning."""
NOTICEABLE_KW = 1e-9
"""Smaller powers are rounding. [kW]"""

LOG_COLUMNS = {
    "event": "object", "asset": "object", "start": "datetime64[ns]", "end": "datetime64[ns]", "rule": "object",
    "citation": "object", "signal_kw": "float64", "p_before_kw": "float64", "p_allowed_kw": "float64",
    "p_lowest_allowed_kw": "float64", "hours_dimmed": "float64", "e_dimmed_kwh": "float64", "outcome": "object",
    "reason": "object", "demanded_by": "object",
}  # fmt: skip
"""Columns of the log and their types."""


@dataclass(frozen=True)
class ReliefDemand:
    """How much less must flow at a limit, and why.

    Parameters
    ----------
    limit : str
        Name of the limiting asset.
    axis : TimeAxis
        Steps.
    needed_kw : ndarray, (time,)
        By how much the limit must be relieved, 0 where it holds. [kW]
    reason : str
        Why, for the log.
    citation : str
        Legal or contractual ground, for the log, such as `ControlRules.citation()`.
    """

    limit: str
    axis: TimeAxis
    needed_kw: Floats
    reason: str
    citation: str


@dataclass(frozen=True)
class DimmableDevices:
    """Devices that can give.

    Parameters
    ----------
    names : tuple of str
        Unique names.
    p_kw : ndarray, (time, device)
        Power that would be drawn, or of plants fed in, positive either way. [kW]
    minimum_kw : ndarray, (time, device)
        Power that each keeps whatever happens. [kW]
    weight : ndarray, (device,) or (time, device)
        Relief of the limit by 1 kW less at the device; a device whose weight is not positive is left alone. [-]
    """

    names: tuple[str, ...]
    p_kw: Floats
    minimum_kw: Floats
    weight: Floats

    @property
    def weights(self) -> Floats:
        """Weight in every step, 0 where it does not help. (time, device) [-]"""
        return np.maximum(np.broadcast_to(self.weight, self.p_kw.shape), 0.0)

    @property
    def capacity_kw(self) -> Floats:
        """What each device can give. (time, device) [kW]"""
        return np.where(self.weights > 0, np.maximum(self.p_kw - self.minimum_kw, 0.0), 0.0)


@dataclass(frozen=True)
class EnergyGiven:
    """What devices have given up to some moment.

    Parameters
    ----------
    given_kwh : ndarray, (device,)
        Energy dimmed. [kWh]
    asked_kwh : ndarray, (device,)
        Energy that would have been drawn, or fed in, without any dimming. [kWh]
    """

    given_kwh: Floats
    asked_kwh: Floats

    @staticmethod
    def nothing(devices: int) -> EnergyGiven:
        """No history."""
        return EnergyGiven(np.zeros(devices), np.zeros(devices))

    @property
    def share(self) -> Floats:
        """Share of its energy that each device has given, 0 for one that asked for none. (device,) [-]"""
        return np.divide(self.given_kwh, self.asked_kwh, out=np.zeros_like(self.given_kwh), where=self.asked_kwh > 0)


@dataclass(frozen=True)
class Reduction:
    """Who gives what.

    Parameters
    ----------
    reduction_kw : ndarray, (time, device)
        Power dimmed. [kW]
    unmet_kw : ndarray, (time,)
        Relief that the devices together could not give. [kW]
    share : ndarray, (device,)
        Share of its energy that each device has given, history included. [-]
    jain : float
        Jain's index over these shares, of the devices that could give anything: 1 is equal, 1/n is one for all. [-]
    log : DataFrame
        One row per event and device, columns `LOG_COLUMNS`. An event is an unbroken run of steps
        with demand. `signal_kw` is its largest demand; `p_before_kw` and `p_allowed_kw` are means
        over the event, so that their difference times its length is `e_dimmed_kwh`.
    after : EnergyGiven
        History to hand to the next call.
    """

    reduction_kw: Floats
    unmet_kw: Floats
    share: Floats
    jain: float
    log: pd.DataFrame
    after: EnergyGiven


def share_reduction(
    demand: ReliefDemand,
    devices: DimmableDevices,
    *,
    rule: SharingRule,
    slot: pd.Timedelta | None = None,
    before: EnergyGiven | None = None,
) -> Reduction:
    """Share a demanded relief among devices.

    Parameters
    ----------
    demand : ReliefDemand
        Relief of one limit in each step.
    devices : DimmableDevices
        What each draws, keeps and brings.
    rule : {"rotation", "proportional", "lexicographic"}
        How to share.
    slot : Timedelta, optional
        For how long a turn of the rotation lasts, counted from the first step; needed by it alone.
    before : EnergyGiven, optional
        What was given before the first step.

    Raises
    ------
    DataError
        If an input cannot be; every fault at once.

    References
    ----------
    .. [1] D. Bertsekas, R. Gallager, Data Networks, 2nd ed., 1992, section 6.5.2 (progressive filling)
    """
    raise_errors(_check_inputs(demand, devices, rule, slot, before), DataError)
    start = before or EnergyGiven.nothing(len(devices.names))
    steps_per_slot = max(1, round(slot / demand.axis.step)) if slot is not None else 1
    reduction_kw, after = _share_steps(demand, devices, _RULES[rule], start, steps_per_slot)
    unmet_kw = demand.needed_kw - (devices.weights * reduction_kw).sum(axis=1)
    could_give = (devices.capacity_kw > 0).any(axis=0)
    return Reduction(
        reduction_kw,
        np.where(unmet_kw > NOTICEABLE_KW, unmet_kw, 0.0),
        after.share,
        jain_index(after.share[could_give]),
        _write_log(demand, devices, reduction_kw, rule),
        after,
    )


def jain_index(shares: Floats) -> float:
    """Jain's fairness index of some shares, 1 where nobody gives anything.

    Notes
    -----
    (sum x)² / (n sum x²) [1]_.

    References
    ----------
    .. [1] R. Jain, D. Chiu, W. Hawe, A quantitative measure of fairness, DEC Research Report TR-301, 1984

    Examples
    --------
    >>> jain_index(np.array([0.1, 0.1])), jain_index(np.array([0.2, 0.0]))
    (1.0, 0.5)
    """
    largest = float(np.abs(shares).max(initial=0.0))
    if largest == 0:
        return 1.0
    scaled = shares / largest  # squares of tiny shares would vanish
    return float(scaled.sum() ** 2 / (len(scaled) * (scaled**2).sum()))


@dataclass(frozen=True)
class _Step:
    """One step as a rule sees it; arrays are (device,)."""

    needed_kw: float
    capacity_kw: Floats
    weight: Floats
    given_kwh: Floats
    """Before the step."""
    asked_kwh: Floats
    """With the step."""
    turn: NDArray[np.int64]
    """Devices in the order of the present slot."""
    hours: float


def _share_steps(
    demand: ReliefDemand,
    devices: DimmableDevices,
    share: Callable[[_Step], Floats],
    start: EnergyGiven,
    steps_per_slot: int,
) -> tuple[Floats, EnergyGiven]:
    """Reduction of every step, each with the history of those before it, and the history at the end."""
    hours = demand.axis.hours_per_step
    capacity, weight = devices.capacity_kw, devices.weights
    asked_kwh = start.asked_kwh + hours * np.cumsum(devices.p_kw, axis=0)
    given_kwh, reduction_kw = start.given_kwh.copy(), np.zeros_like(capacity)
    turn = np.arange(len(devices.names))
    for t, needed in enumerate(demand.needed_kw.tolist()):
        if t % steps_per_slot == 0:
            turn = np.argsort(given_kwh, kind="stable")
        if needed > 0:
            step = _Step(needed, capacity[t], weight[t], given_kwh, asked_kwh[t], turn, hours)
            reduction_kw[t] = share(step)
            given_kwh = given_kwh + hours * reduction_kw[t]
    return reduction_kw, EnergyGiven(given_kwh, asked_kwh[-1])


def _rotate(step: _Step) -> Floats:
    """All that each can give, in the order of the slot, until it is enough."""
    relief = (step.weight * step.capacity_kw)[step.turn]
    taken = np.clip(step.needed_kw - (np.cumsum(relief) - relief), 0.0, relief)
    given = np.zeros_like(step.capacity_kw)
    useful = step.turn[taken > 0]
    given[useful] = np.minimum(taken[taken > 0] / step.weight[useful], step.capacity_kw[useful])
    return given


def _give_proportionally(step: _Step) -> Floats:
    """The same share of what each can give."""
    available = float((step.weight * step.capacity_kw).sum())
    return step.capacity_kw * min(1.0, step.needed_kw / available) if available > 0 else step.capacity_kw


def _fill_progressively(step: _Step) -> Floats:
    """Raise the lowest shares of energy lost together until it is enough.

    With the shares s_i (before) and S_i (all given), a level x means the shares clip(x, s_i, S_i). The relief
    grows with the level in straight pieces between the s_i and S_i, so the level is found exactly.
    """
    giving = step.capacity_kw > 0
    if not giving.any():
        return np.zeros_like(step.capacity_kw)
    capacity, asked = step.capacity_kw[giving], step.asked_kwh[giving] / step.hours
    weight, low = step.weight[giving], step.given_kwh[giving] / step.hours
    levels = np.unique(np.concatenate([low / asked, (low + capacity) / asked]))
    relief = np.clip(levels[:, None] * asked - low, 0.0, capacity) @ weight
    level = np.interp(min(step.needed_kw, relief[-1]), relief, levels)
    given = np.zeros_like(step.capacity_kw)
    given[giving] = np.clip(level * asked - low, 0.0, capacity)
    return given


_RULES: dict[SharingRule, Callable[[_Step], Floats]] = {
    "rotation": _rotate,
    "proportional": _give_proportionally,
    "lexicographic": _fill_progressively,
}


def _write_log(demand: ReliefDemand, devices: DimmableDevices, reduction_kw: Floats, rule: SharingRule) -> pd.DataFrame:
    """One row per event and device, also of those that were spared, so that each decision can be followed."""
    events = [_log_event(demand, devices, reduction_kw, rule, event) for event in _events(demand.needed_kw)]
    empty = pd.DataFrame(columns=list(LOG_COLUMNS))
    return (pd.concat(events, ignore_index=True) if events else empty).astype(LOG_COLUMNS)


def _log_event(
    demand: ReliefDemand, devices: DimmableDevices, reduction_kw: Floats, rule: SharingRule, event: slice
) -> pd.DataFrame:
    p_kw, given_kw, hours = devices.p_kw[event], reduction_kw[event], demand.axis.hours_per_step
    start, end = demand.axis.times[event.start], demand.axis.times[event.stop - 1] + demand.axis.step
    return pd.DataFrame(
        {
            "event": f"{demand.limit} {start:%Y-%m-%dT%H:%M}Z",
            "asset": list(devices.names),
            "start": start,
            "end": end,
            "rule": rule,
            "citation": demand.citation,
            "signal_kw": demand.needed_kw[event].max(),
            "p_before_kw": p_kw.mean(axis=0),
            "p_allowed_kw": (p_kw - given_kw).mean(axis=0),
            "p_lowest_allowed_kw": (p_kw - given_kw).min(axis=0),
            "hours_dimmed": (given_kw > NOTICEABLE_KW).sum(axis=0) * hours,
            "e_dimmed_kwh": given_kw.sum(axis=0) * hours,
            "outcome": _name_outcomes(devices, given_kw, event),
            "reason": demand.reason,
            "demanded_by": demand.limit,
        }
    )


def _name_outcomes(devices: DimmableDevices, given_kw: Floats, event: slice) -> NDArray[np.str_]:
    """What became of each device in an event. (device,)"""
    capacity = devices.capacity_kw[event]
    given = (given_kw > NOTICEABLE_KW).any(axis=0)
    full = (capacity - given_kw <= NOTICEABLE_KW).all(axis=0)
    helps, able = (devices.weights[event] > 0).any(axis=0), (capacity > NOTICEABLE_KW).any(axis=0)
    names = ["does not help this limit", "at or below its minimum", "spared", "dimmed to its minimum"]
    return np.asarray(np.select([~helps, ~able, ~given, full], names, "dimmed in part"))


def _events(needed_kw: Floats) -> Iterator[slice]:
    """Unbroken runs of steps with demand."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], needed_kw > 0, [False]])))
    return (slice(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True))


def _check_inputs(
    demand: ReliefDemand,
    devices: DimmableDevices,
    rule: SharingRule,
    slot: pd.Timedelta | None,
    before: EnergyGiven | None,
) -> list[Finding]:
    steps, count = demand.axis.length, len(devices.names)
    weight_shape = (steps, count) if np.ndim(devices.weight) == 2 else (count,)
    shapes = [("needed_kw", demand.needed_kw, (steps,)), ("weight", devices.weight, weight_shape)]
    shapes += [(name, getattr(devices, name), (steps, count)) for name in ("p_kw", "minimum_kw")]
    shapes += [(name, getattr(before, name), (count,)) for name in ("given_kwh", "asked_kwh") if before is not None]
    findings = [fault for name, values, shape in shapes for fault in _check_array(name, values, shape)]
    if rule not in SHARING_RULES:
        known = ", ".join(SHARING_RULES)
        findings.append(Finding("unknown rule of sharing", expected=known, got=rule, severity="error", code="GT-O71"))
    if rule == "rotation" and (slot is None or slot < demand.axis.step):
        expected = f"a slot of at least one step, {demand.axis.step}"
        findings.append(
            Finding("the rotation has no slot", expected=expected, got=f"{slot}", severity="error", code="GT-O72")
        )
    if len(set(devices.names)) < count:
        findings.append(Finding("names of devices stand twice", where="names", severity="error", code="GT-O73"))
    return findings


def _check_array(name: str, values: Floats, shape: tuple[int, ...]) -> list[Finding]:
    if np.shape(values) != shape:
        got = str(np.shape(values))
        return [Finding("wrong shape", where=name, expected=str(shape), got=got, severity="error", code="GT-O74")]
    if not np.isfinite(values).all() or (name != "weight" and (np.asarray(values) < 0).any()):
        expected = "finite numbers" if name == "weight" else "finite numbers of at least 0"
        do = "A gap is no zero: fill it before."
        return [Finding("gaps or signs", where=name, expected=expected, do=do, severity="error", code="GT-O75")]
    return []
