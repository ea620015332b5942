"""What the rules of grid-oriented control leave to devices, plants and connections. In kW."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gridtwin.data.control_rules import ConnectionLimit, ControlRules, Direction
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.time_axis import TimeAxis

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def is_controllable(rules: ControlRules, rated_kw: Sequence[float]) -> Mask:
    """Whether devices are large enough to be controlled at all. (device,)

    Parameters
    ----------
    rated_kw : sequence of float
        Rated power of each device. [kW]
    """
    return np.asarray(rated_kw, dtype=float) > rules.dimming.device_minimum_kw.value


def device_minimum_kw(rules: ControlRules, rated_kw: Sequence[float], kinds: Sequence[str]) -> Floats:
    """Power that each device keeps if it is controlled by itself.

    Parameters
    ----------
    rated_kw : sequence of float
        Rated power of each device. [kW]
    kinds : sequence of str
        Kind of each device, of `rules.dimming.kinds`.

    Returns
    -------
    ndarray, (device,)
        Guaranteed power; all of it where a device is too small to be controlled. [kW]

    Raises
    ------
    DataError
        If a rating or a kind cannot be; every fault at once.

    Examples
    --------
    >>> from gridtwin.data.control_rules import read_control_rules
    >>> device_minimum_kw(read_control_rules("steuve_14a"), [11, 20, 3], ["electric_car", "heat_pump", "battery"])
    array([4.2, 8. , 3. ])
    """
    raise_errors(_check_devices(rules, rated_kw, kinds), DataError)
    rated, dimming = np.asarray(rated_kw, dtype=float), rules.dimming
    share = np.where(_is_large_heating(rules, rated, kinds), dimming.large_heating_share.value, 0.0)
    return np.asarray(np.minimum(rated, np.maximum(share * rated, dimming.device_minimum_kw.value)))


def guaranteed_minimum_kw(
    rules: ControlRules, rated_kw: Sequence[float], kinds: Sequence[str], *, energy_manager: bool
) -> float:
    """Power that the controllable devices of one connection keep together when they are dimmed.

    Parameters
    ----------
    rated_kw : sequence of float
        Rated power of each device. [kW]
    kinds : sequence of str
        Kind of each device, of `rules.dimming.kinds`.
    energy_manager : bool
        Whether one signal goes to an energy manager, which shares the power among the
        devices; else each device is controlled by itself.

    Returns
    -------
    float
        Guaranteed power of the devices that are large enough to be controlled, never above
        their rated power. [kW]

    Notes
    -----
    Behind an energy manager P_min = max(0.4 P_WP, 0.4 P_AC, 4.2 kW) + (n - 1) g(n) 4.2 kW, with P_WP and
    P_AC the rated power of heat pumps and of air conditioners above 11 kW, n the number of
    controllable devices and g their simultaneity [1]_. By themselves: the sum of `device_minimum_kw`.

    References
    ----------
    .. [1] Bundesnetzagentur, decision BK6-22-300 of 27 November 2023, annex 1, clause 4.5

    Examples
    --------
    >>> from gridtwin.data.control_rules import read_control_rules
    >>> rules = read_control_rules("steuve_14a")
    >>> round(guaranteed_minimum_kw(rules, [11, 11], ["electric_car"] * 2, energy_manager=True), 2)
    7.56
    """
    minimum = device_minimum_kw(rules, rated_kw, kinds)
    rated, chosen = np.asarray(rated_kw, dtype=float), is_controllable(rules, rated_kw)
    if not energy_manager or not chosen.any():
        return float(minimum[chosen].sum())
    floor, count = rules.dimming.device_minimum_kw.value, int(chosen.sum())
    total = max(_largest_heating_kw(rules, rated, kinds), floor) + (count - 1) * rules.dimming.factor(count) * floor
    return float(min(total, rated[chosen].sum()))


def _largest_heating_kw(rules: ControlRules, rated: Floats, kinds: Sequence[str]) -> float:
    """Guaranteed power of all large devices of the heating kind that keeps most. [kW]"""
    large, names = _is_large_heating(rules, rated, kinds), np.asarray(kinds, dtype=object)
    sums = [float(rated[large & (names == kind)].sum()) for kind in rules.dimming.heating_kinds]
    return rules.dimming.large_heating_share.value * max(sums, default=0.0)


def _is_large_heating(rules: ControlRules, rated: Floats, kinds: Sequence[str]) -> Mask:
    heating = np.isin(np.asarray(kinds, dtype=str), rules.dimming.heating_kinds)
    return np.asarray(heating & (rated > rules.dimming.large_heating_above_kw.value))


def dimmed_limit_kw(
    rules: ControlRules,
    signal_kw: ArrayLike,
    rated_kw: Sequence[float],
    kinds: Sequence[str],
    *,
    energy_manager: bool,
    own_generation_kw: ArrayLike | None = None,
) -> Floats:
    """Largest power of each device in each step under a dimming signal.

    Parameters
    ----------
    signal_kw : array_like, (time,)
        Limit that is asked for, of each device or, behind an energy manager, of all
        controllable devices together; infinite where nothing is asked for. [kW]
    rated_kw, kinds : sequence
        Rated power [kW] and kind of each device.
    energy_manager : bool
        As in `guaranteed_minimum_kw`.
    own_generation_kw : array_like, (time,), optional
        Power generated behind the connection, positive. Behind an energy manager it may be
        consumed on top, as only what is drawn from the network is limited. [kW]

    Returns
    -------
    ndarray, (time, device)
        Limit: what is asked for, but at least what is guaranteed and at most the rating. Devices
        too small to be controlled keep their rating. The limit behind an energy manager is split
        by rated power; the manager may split it in another way. [kW]

    Raises
    ------
    DataError
        If an input cannot be; every fault at once.
    """
    signal = np.atleast_1d(np.asarray(signal_kw, dtype=float))
    own = np.zeros_like(signal) if own_generation_kw is None else np.asarray(own_generation_kw, dtype=float)
    findings = [*_check_devices(rules, rated_kw, kinds), *_check_signal(signal, own)]
    if own_generation_kw is not None and not energy_manager:
        what = "own generation counts only behind an energy manager"
        findings.append(Finding(what, where="own_generation_kw", severity="error", code="GT-R24"))
    raise_errors(findings, DataError)
    rated, chosen = np.asarray(rated_kw, dtype=float), is_controllable(rules, rated_kw)
    if energy_manager:
        total = np.maximum(signal, guaranteed_minimum_kw(rules, rated_kw, kinds, energy_manager=True)) + own
        asked = total[:, None] * (rated / (rated[chosen].sum() or 1.0))
    else:
        asked = np.maximum(signal[:, None], device_minimum_kw(rules, rated_kw, kinds))
    return np.where(chosen, np.minimum(asked, rated), rated)


def check_dimming_hours(rules: ControlRules, dimmed: Mask, axis: TimeAxis, names: Sequence[str]) -> list[Finding]:
    """Devices that preventive control dims for longer than allowed on a local day; none where the rules set no limit.

    Parameters
    ----------
    dimmed : ndarray of bool, (time, device)
        Whether a device is dimmed.
    axis : TimeAxis
        Its steps and local days.
    names : sequence of str
        Names of the devices.
    """
    allowed = rules.dimming.most_hours_per_day
    if allowed is None:
        return []
    findings = []
    for day in axis.day_slices:
        hours = dimmed[day].sum(axis=0) * axis.hours_per_step
        for k in np.flatnonzero(hours > allowed.value + 1e-9).tolist():
            where = f"{names[k]} on {axis.local_times[day.start].date()}"
            expected, got = f"at most {allowed.value:g} h of preventive dimming", f"{hours[k]:g} h"
            findings.append(Finding("dimmed for too long", where=where, expected=expected, got=got, code="GT-R25"))
    return findings


def feed_in_cap_kw(
    rules: ControlRules,
    p_rated_kw: float,
    commissioned: dt.date,
    *,
    on: dt.date,
    controllable: bool,
    programmes: Collection[str] = (),
) -> float:
    """Largest feed-in of a plant, positive; its rated power where no cap holds. [kW]

    Parameters
    ----------
    p_rated_kw : float
        Rated power of the plant. [kW]
    commissioned : date
        Day of commissioning.
    on : date
        Day for which the cap is asked.
    controllable : bool
        Whether the plant can be controlled remotely by the operator of the network.
    programmes : collection of str
        Grants that were taken, whose conditions hold, too.

    Examples
    --------
    >>> from gridtwin.data.control_rules import read_control_rules
    >>> rules, today = read_control_rules("steuve_14a"), dt.date(2026, 6, 1)
    >>> feed_in_cap_kw(rules, 10, dt.date(2025, 6, 1), on=today, controllable=False)
    6.0
    """
    shares = [
        cap.share
        for cap in rules.feed_in
        if cap.commissioned_from <= commissioned < cap.commissioned_before
        and cap.p_above_kw < p_rated_kw <= cap.p_max_kw
        and on < cap.ends
        and not (cap.until_controllable and controllable)
        and cap.programme in ("", *programmes)
    ]
    return p_rated_kw * min(shares, default=1.0)


def connection_limit_kw(rules: ControlRules, connection: str, axis: TimeAxis, *, direction: Direction) -> Floats:
    """The dynamic limit of a connection on each step: the lowest of all series that touch it.

    Parameters
    ----------
    connection : str
        Name of a connection in the rules.
    axis : TimeAxis
        Steps on which the limit is asked for.
    direction : {"consumption", "feed-in"}
        Which limit.

    Returns
    -------
    ndarray, (time,)
        Limit, positive; infinite where no series says anything. [kW]

    Raises
    ------
    DataError
        If the rules do not know the connection.
    """
    known = sorted({limit.connection for limit in rules.connection})
    if connection not in known:
        raise DataError([_unknown_connection(connection, known)])
    series = [part for part in rules.connection if (part.connection, part.direction) == (connection, direction)]
    return np.asarray(np.min([_lowest_on(part, axis) for part in series] or [np.full(axis.length, np.inf)], axis=0))


def _lowest_on(limit: ConnectionLimit, axis: TimeAxis) -> Floats:
    """Lowest value of one series within each interval of an axis. (time,) [kW]"""
    start = pd.Timestamp(limit.start).tz_convert("UTC").tz_localize(None)
    step = pd.Timedelta(minutes=limit.step_minutes)
    values, offset = np.array(limit.limit_kw), np.asarray((axis.times - start) / step, dtype=float)
    width = float(axis.step / step)
    first = np.clip(np.floor(offset + 1e-9), 0, len(values)).astype(int)
    last = np.clip(np.ceil(offset + width - 1e-9), 0, len(values)).astype(int)
    return np.array([values[a:b].min(initial=np.inf) for a, b in zip(first, last, strict=True)])


def _check_devices(rules: ControlRules, rated_kw: Sequence[float], kinds: Sequence[str]) -> list[Finding]:
    findings = []
    if len(rated_kw) != len(kinds):
        got = f"{len(rated_kw)} ratings, {len(kinds)} kinds"
        findings.append(Finding("ratings and kinds differ in number", got=got, severity="error", code="GT-R21"))
    for k, rated in enumerate(rated_kw):
        if not 0 < rated < np.inf:
            expected, where = "a rated power above 0 kW", f"device {k}"
            findings.append(
                Finding("no rating", where=where, expected=expected, got=f"{rated}", severity="error", code="GT-R22")
            )
    for k, kind in enumerate(kinds):
        if kind not in rules.dimming.kinds:
            expected = ", ".join(rules.dimming.kinds)
            findings.append(
                Finding(
                    "the rules do not control this kind",
                    where=f"device {k}",
                    expected=expected,
                    got=kind,
                    severity="error",
                    code="GT-R23",
                )
            )
    return findings


def _check_signal(signal: Floats, own: Floats) -> list[Finding]:
    findings = []
    if np.isnan(signal).any() or (signal < 0).any():
        what, do = "the signal has gaps or is negative", "Write infinity where nothing is asked for."
        findings.append(Finding(what, where="signal_kw", do=do, severity="error", code="GT-R24"))
    if own.shape != signal.shape or not (np.isfinite(own) & (own >= 0)).all():
        what, expected = "own generation does not fit", f"{len(signal)} powers of at least 0 kW"
        findings.append(Finding(what, where="own_generation_kw", expected=expected, severity="error", code="GT-R24"))
    return findings


def _unknown_connection(connection: str, known: list[str]) -> Finding:
    close = difflib.get_close_matches(connection, known, n=1, cutoff=0.4)
    return Finding(
        "the rules hold no limit of this connection",
        expected=", ".join(known) or "a [[connection]] in the rules",
        got=connection,
        do=f"Did you mean {close[0]}?" if close else "",
        severity="error",
        code="GT-R26",
    )
