"""Readings of meters: what management controllers and wall meters write, as text.

Nothing here opens a connection. `ipmitool dcmi power reading`, a Redfish resource or
a file of a wall meter come in, power or energy with the meter's error come out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gridtwin.ai_energy.power_samples import (
    GAP_FACTOR,
    TWO_SIDED_95,
    IntegratedPower,
    integrate_power,
    sampling_error,
)
from gridtwin.errors import DataError, Finding

if TYPE_CHECKING:
    from gridtwin.ai_energy.quantity import Boundary, Method, Quantity

WALL_METER_ERROR = 0.01
"""Half width for an analyser at the plug: MLPerf accepts meters of 1 % and better. An assumption for others. [-]"""
CONTROLLER_ERROR = 0.05
"""Half width for power that a management controller or power supply tells; an assumption, readings are coarse and
rounded to several watts. [-]"""
JOULES_PER_KWH = 3.6e6
IPMI_LINE = re.compile(r"^\s*(?P<key>[A-Za-z][A-Za-z /]*?)\s*:\s*(?P<value>.*?)\s*$", re.MULTILINE)
IPMI_KEYS = {
    "instantaneous power reading": "now_w",
    "minimum during sampling period": "lowest_w",
    "maximum during sampling period": "highest_w",
    "average power reading over sample period": "mean_w",
}


@dataclass(frozen=True)
class MeterReading:
    """One reading of a power meter; what it does not tell is None.

    Parameters
    ----------
    now_w, mean_w, lowest_w, highest_w : float or None
        Power now, and mean and extremes over the meter's own window. [W]
    window_seconds : float or None
        That window. [s]
    kwh : float or None
        Cumulative energy. [kWh]
    """

    now_w: float | None = None
    mean_w: float | None = None
    lowest_w: float | None = None
    highest_w: float | None = None
    window_seconds: float | None = None
    kwh: float | None = None


def parse_ipmi_power(text: str, *, where: str = "ipmitool dcmi power reading") -> MeterReading:
    """Power from the text of `ipmitool dcmi power reading`.

    Raises
    ------
    DataError
        If it holds no power, or the measurement is switched off.

    Examples
    --------
    >>> parse_ipmi_power("  Instantaneous power reading:      214 Watts").now_w
    214.0
    """
    lines = {match["key"].lower(): match["value"] for match in IPMI_LINE.finditer(text)}
    state = lines.get("power reading state is", "activated")
    values = {name: _number(lines[key]) for key, name in IPMI_KEYS.items() if key in lines}
    if values.get("now_w") is None or state != "activated":
        raise DataError([Finding("no power reading", where=where, expected="Instantaneous power reading: ... Watts",
                                 got=text.strip()[:80] or "empty text" if state == "activated" else f"state {state}",
                                 do="See whether the controller measures power: ipmitool dcmi discover.",
                                 severity="error", code="GT-E51")])  # fmt: skip
    # controllers without statistics fill them with 0
    extras = {name: value for name, value in values.items() if name == "now_w" or value}
    return MeterReading(**extras, window_seconds=_number(lines.get("sampling period", "")) or None)


def _number(text: str) -> float | None:
    match = re.search(r"\d+(\.\d+)?", text)
    return float(match[0]) if match else None


def parse_redfish_power(text: str | Mapping[str, Any], *, where: str = "Redfish resource") -> MeterReading:
    """Power from the JSON of a Redfish `Power` or `EnvironmentMetrics` resource.

    Several entries of `PowerControl` are several views of one chassis in many
    implementations, so the first one with a power counts and no sum is taken.

    Raises
    ------
    DataError
        If it is not JSON or holds neither power nor energy.
    """
    found = _as_object(text, where)
    for control in found.get("PowerControl") or ():
        if isinstance(control, Mapping) and _is_number(control.get("PowerConsumedWatts")):
            return _power_control(control)
    now, kwh = (_reading(found.get(key)) for key in ("PowerWatts", "EnergykWh"))
    if now is None and kwh is None:
        raise DataError([Finding("neither power nor energy", where=where,
                                 expected="PowerControl[].PowerConsumedWatts, PowerWatts.Reading or EnergykWh.Reading",
                                 got=", ".join(list(found)[:6]) or "an empty object",
                                 severity="error", code="GT-E52")])  # fmt: skip
    return MeterReading(now_w=now, kwh=kwh)


def _as_object(text: str | Mapping[str, Any], where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except json.JSONDecodeError as error:
        found, text = None, f"{error}"
    if isinstance(found, Mapping):
        return found
    raise DataError([Finding("not a JSON object", where=where, got=str(text)[:80], severity="error", code="GT-E52")])


def _power_control(control: Mapping[str, Any]) -> MeterReading:
    metrics = control.get("PowerMetrics")
    metrics = metrics if isinstance(metrics, Mapping) else {}
    minutes = _reading(metrics.get("IntervalInMin"))
    return MeterReading(
        now_w=_reading(control["PowerConsumedWatts"]),
        mean_w=_reading(metrics.get("AverageConsumedWatts")),
        lowest_w=_reading(metrics.get("MinConsumedWatts")),
        highest_w=_reading(metrics.get("MaxConsumedWatts")),
        window_seconds=60 * minutes if minutes else None,
    )


def _reading(entry: Any) -> float | None:
    value: Any = entry.get("Reading") if isinstance(entry, Mapping) else entry
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def energy_from_power(
    seconds: Sequence[float],
    watts: Sequence[float],
    *,
    begin: float | None = None,
    end: float | None = None,
    boundary: Boundary = "node",
    meter_error: float = WALL_METER_ERROR,
    window_seconds: float = 0.0,
    gap_factor: float = GAP_FACTOR,
    where: str = "meter",
) -> tuple[Quantity, tuple[Finding, ...]]:
    """Energy of a window from samples of a power meter.

    Parameters
    ----------
    seconds, watts : sequence of float, shape (sample,)
        Times and power. [s], [W]
    begin, end : float, optional
        Window, by default the whole trace. [s]
    boundary : str
        What the meter sees.
    meter_error : float
        Half width of the meter's own 95 % interval; the same all the time, so it does not average out. [-]
    window_seconds : float
        Samples are means over this time before their stamp. [s]
    gap_factor : float
        A pause longer than this many median pauses is a gap, booked as estimated. [-]
    where : str
        Name of the meter.

    Returns
    -------
    Quantity
        In J; measured, or estimated where there were gaps, with the measured share.
    tuple of Finding
        Gaps and dropped samples.
    """
    integral = integrate_power(seconds, watts, begin=begin, end=end, window_seconds=window_seconds,
                               gap_factor=gap_factor, where=where)  # fmt: skip
    error = math.hypot(meter_error, sampling_error(integral.step_seconds))
    method = f"power of {where} every {integral.step_seconds:.3g} s, summed over {integral.seconds:.6g} s"
    return measured_with_gaps(integral, error, method=method, method_class="power_samples",
                              boundary=boundary, where=where), integral.findings  # fmt: skip


def measured_with_gaps(
    integral: IntegratedPower, error: float, *, method: str, method_class: Method, boundary: Boundary, where: str
) -> Quantity:
    """Quantity of an integral: a relative error on what was measured, lowest and highest power in its gaps."""
    from gridtwin.ai_energy.quantity import Quantity

    measured = integral.joules - integral.gap_joules
    share = 1.0 if integral.gap_seconds <= 0 else measured / integral.joules if integral.joules > 0 else 0.0
    gaps = f"; {integral.gap_seconds:.3g} s without samples filled in" if integral.gap_seconds > 0 else ""
    return Quantity(
        unit="J",
        kind="estimated" if integral.gap_seconds > 0 else "measured",
        method=method + gaps,
        method_class=method_class,
        boundary=boundary,
        p2_5=measured * (1 - error) + min(integral.gap_low_joules, integral.gap_joules) * (1 - error),
        p50=integral.joules,
        p97_5=measured * (1 + error) + max(integral.gap_high_joules, integral.gap_joules) * (1 + error),
        measured_share=min(max(share, 0.0), 1.0),
        provenance=(where,),
    )


def energy_from_counter(
    seconds: Sequence[float],
    kwh: Sequence[float],
    *,
    boundary: Boundary = "node",
    meter_error: float = WALL_METER_ERROR,
    where: str = "meter",
) -> tuple[Quantity, tuple[Finding, ...]]:
    """Energy from a cumulative counter between its first and last reading.

    A counter that falls was reset. What it counted up to the reset is lost, so that
    interval takes the mean power of the others and is booked as estimated.

    Parameters
    ----------
    seconds, kwh : sequence of float, shape (reading,)
        Times and cumulative energy; NaN is missing and dropped. [s], [kWh]
    boundary : str
        What the meter sees.
    meter_error : float
        Half width of the meter's own 95 % interval. [-]
    where : str
        Name of the meter.

    Returns
    -------
    Quantity
        In J.
    tuple of Finding
        Resets.

    Notes
    -----
    The last digit of the counter is one more error: the smallest change seen is taken for it, and the difference
    of two rounded readings has a standard deviation of a digit over the root of 6. A plug meter of 1 Wh tells 12 Wh
    to 7 % only.
    """
    times = [float(t) for t, e in zip(seconds, kwh, strict=True) if math.isfinite(e)]
    if times != sorted(times):
        raise DataError([Finding("times must not fall", where=where, do="Sort the readings, or mend the clock.",
                                 severity="error", code="GT-E43")])  # fmt: skip
    joules = [float(e) * JOULES_PER_KWH for e in kwh if math.isfinite(e)]
    if len(times) < 2:
        raise DataError([Finding("a counter needs two readings", where=where, got=str(len(times)),
                                 severity="error", code="GT-E53")])  # fmt: skip
    steps = list(zip(times, times[1:], joules, joules[1:], strict=False))
    counted = math.fsum(after - before for _, _, before, after in steps if after >= before)
    lost = [(start, end, before, after) for start, end, before, after in steps if after < before]
    lost_seconds = math.fsum(end - start for start, end, _, _ in lost)
    findings = tuple(_reset_finding(where, *step) for step in lost)
    return _counted(times[-1] - times[0], counted, lost_seconds, steps,
                    boundary=boundary, meter_error=meter_error, where=where), findings  # fmt: skip


def _reset_finding(where: str, start: float, end: float, before: float, after: float) -> Finding:
    return Finding("the counter fell: it was reset, and this interval is estimated", where=where,
                   expected=f"at least {before / JOULES_PER_KWH:.6g} kWh",
                   got=f"{after / JOULES_PER_KWH:.6g} kWh after {end - start:.6g} s", code="GT-E54")  # fmt: skip


def _counted(
    seconds: float, counted: float, lost_seconds: float, steps: Sequence[tuple[float, float, float, float]],
    *, boundary: Boundary, meter_error: float, where: str,
) -> Quantity:  # fmt: skip
    from gridtwin.ai_energy.quantity import Quantity, missing

    if seconds - lost_seconds <= 0:
        return missing("J", reason=f"{where} was reset in every interval", boundary=boundary)
    rates = [(e1 - e0) / (t1 - t0) for t0, t1, e0, e1 in steps if e1 >= e0 and t1 > t0] or [0.0]
    filled = counted / (seconds - lost_seconds) * lost_seconds
    digit = min((e1 - e0 for _, _, e0, e1 in steps if e1 > e0), default=0.0)
    error = math.hypot(meter_error * counted, TWO_SIDED_95 * digit / math.sqrt(6))
    resets = f"; {lost_seconds:.3g} s around resets filled in" if lost_seconds > 0 else ""
    return Quantity(
        unit="J",
        kind="estimated" if lost_seconds > 0 else "measured",
        method=f"cumulative energy of {where}{resets}",
        method_class="facility_meter",
        boundary=boundary,
        p2_5=max(counted - error, 0.0) + min(rates) * lost_seconds,
        p50=counted + filled,
        p97_5=counted + error + max(rates) * lost_seconds,
        measured_share=counted / (counted + filled) if counted + filled > 0 else 1.0,
        provenance=(where,),
    )
