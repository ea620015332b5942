"""Load, PV and wind behind one meter, told apart by what drives each.

The net of a feeder or station is load less feed-in. Load follows the calendar and
the temperature; PV follows the irradiance; wind power the wind. What remains when
the calendar is taken out is explained by the two signals, and their weights are
the powers installed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.calendar import free_day_flags
from gridtwin.forecast.wind_features import typical_power

QUALITY = "estimated"
"""Quality of the parts: none of them has been metered."""
BLOCK_DAYS = 28
"""Days over which the calendar shape of the load holds still. [d]"""
RESAMPLES = 200
"""Draws of whole weeks for the interval."""
INTERVAL_PERCENT = (5.0, 95.0)
HUBER = 1.345
"""Residual by scale from which on a step counts less, Huber, 1964: 95 % efficient for normal residuals."""
PASSES = 8
"""Passes of the reweighting."""
HEATING_BELOW_C, COOLING_ABOVE_C = 15.0, 22.0
"""Outdoor temperatures at which heating and cooling of buildings begin, the usual degree-day bases. [°C]"""
WIND_SCALES = (0.8, 1.0, 1.2)
"""Factors on the wind speed: hubs and turbines of a region differ from the typical one. [-]"""
LEAST_WEEKS = 4
LARGEST_LAG, LAG_WITHOUT_FINDING = pd.Timedelta("4h"), pd.Timedelta("30min")
"""Lags between net load and weather that are looked at, and those that are left unsaid."""


@dataclass(frozen=True)
class Capacity:
    """Power at the rated signal, with the interval of `INTERVAL_PERCENT`. [MW]

    For PV at 1000 W/m² on the planes, so losses of inverters are in it; for wind at full wind.
    """

    estimate_mw: float
    low_mw: float
    high_mw: float


@dataclass(frozen=True)
class NetLoadParts:
    """Parts of a net load that add up to it.

    Parameters
    ----------
    load_mw, pv_mw, wind_mw : ndarray, (time,)
        Consumption positive, feed-in negative; NaN where the net or a signal is. [MW]
    pv, wind : Capacity
        Zero where no signal was given.
    quality : str
        "estimated", for every step of every part.
    findings : tuple of Finding
        What was estimated and how well it is known; codes `net_load.estimated`, `net_load.not_told`.
    """

    load_mw: np.ndarray
    pv_mw: np.ndarray
    wind_mw: np.ndarray
    pv: Capacity
    wind: Capacity
    quality: str
    findings: tuple[Finding, ...]


def wind_signals(speed_m_per_s: np.ndarray) -> np.ndarray:
    """Power of typical turbines that see a little less or more wind, (time, turbine). [-]"""
    return np.stack([typical_power(scale * speed_m_per_s) for scale in WIND_SCALES], axis=1)


def split_net_load(
    net_mw: np.ndarray,
    times: pd.DatetimeIndex,
    zone: str,
    *,
    pv_signals: np.ndarray | None = None,
    wind_signals: np.ndarray | None = None,
    temperature_c: np.ndarray | None = None,
    where: str = "",
    seed: int = 0,
) -> NetLoadParts:
    """Estimate load, PV and wind of every step of a net load.

    Parameters
    ----------
    net_mw : ndarray, (time,)
        Consumption positive; NaN where unknown. [MW]
    times : DatetimeIndex, (time,)
        UTC starts of steps of equal length, without zone.
    zone : str
        IANA zone of the calendar.
    pv_signals : ndarray, (time, plane), optional
        Power of planes relative to their rating: `module_power(irradiance_on_planes(...), temperature)`,
        of the weather or, at less certainty, of a clear sky.
    wind_signals : ndarray, (time, turbine), optional
        From `wind_signals`.
    temperature_c : ndarray, (time,), optional
        Outdoors, for heating and cooling. [°C]
    where : str
        Name of the series for the findings.
    seed : int
        Of the weeks that are drawn for the interval.

    Returns
    -------
    NetLoadParts

    Raises
    ------
    DataError
        If there are fewer than `LEAST_WEEKS` weeks of steps with all inputs.

    Notes
    -----
    Regression of the net on non-negative signals, both less their means over the same clock slot, kind of
    day and block of `BLOCK_DAYS` (Frisch, Waugh, Econometrica 1(4), 1933: the weights are those of the
    regression with all these means as unknowns), reweighted after Huber. A clear-sky signal is
    told by its change over the seasons and blocks alone, so its interval is wide.
    """
    pv = empty_if_none(pv_signals, len(times))
    wind = empty_if_none(wind_signals, len(times))
    heat = temperature_features(temperature_c, times)
    design = np.column_stack([-pv, -wind, heat])
    known = np.isfinite(net_mw) & np.isfinite(design).all(axis=1)
    week = np.asarray((times - times[0]) // pd.Timedelta("7D"), dtype=int)
    check_length(known, week, times)
    cells = calendar_cells(times, zone)
    target, within = less_means(net_mw[known], cells[known]), less_means(design[known], cells[known])
    signs = np.array([True] * (pv.shape[1] + wind.shape[1]) + [False] * heat.shape[1])
    weights, trust = fit_robust(within, target, signs)
    drawn = draw_weights(within, target, trust, week[known], signs, seed=seed)
    is_pv, is_wind = slice(0, pv.shape[1]), slice(pv.shape[1], pv.shape[1] + wind.shape[1])
    capacities = [capacity_of(weights[part], drawn[:, part]) for part in (is_pv, is_wind)]
    pv_mw = np.where(known, -(pv @ weights[is_pv]), np.nan)
    wind_mw = np.where(known, -(wind @ weights[is_wind]), np.nan)
    load_mw = net_mw - pv_mw - wind_mw
    findings = [
        finding_of(name, capacity, where)
        for name, capacity, signals in zip(("PV", "wind"), capacities, (pv_signals, wind_signals), strict=True)
        if signals is not None
    ]
    return NetLoadParts(load_mw, pv_mw, wind_mw, capacities[0], capacities[1], QUALITY, tuple(findings))


def find_signal_lag(
    net_mw: np.ndarray, signals: np.ndarray, times: pd.DatetimeIndex, zone: str, *, where: str = ""
) -> tuple[int, tuple[Finding, ...]]:
    """Steps by which a net load is later than the signals that should explain it.

    Parameters
    ----------
    net_mw, times, zone, where
        As in `split_net_load`.
    signals : ndarray, (time, signal)
        Of PV, wind or both.

    Returns
    -------
    int
        Positive where the net is late: `np.roll(signals, lag, axis=0)` fits it.
    tuple of Finding
        Code `clock.offset` where the lag is not within half an hour.

    Notes
    -----
    The lag up to `LARGEST_LAG` at which the signals explain most of what the calendar leaves.
    """
    step = times[1] - times[0]
    reach = int(LARGEST_LAG / step)
    cells = calendar_cells(times, zone)
    lags = np.arange(-reach, reach + 1)
    errors = [unexplained(net_mw, np.roll(-signals, lag, axis=0), cells) for lag in lags]
    lag = int(lags[int(np.argmin(errors))])
    if abs(lag) * step <= LAG_WITHOUT_FINDING:
        return lag, ()
    minutes = lag * step / pd.Timedelta("1min")
    finding = Finding(
        "the net load and the weather that should explain it run on different clocks",
        where,
        got=f"net load {minutes:.0f} min late" if lag > 0 else f"net load {-minutes:.0f} min early",
        do="Check the zones of both.",
        code="clock.offset",
    )
    return lag, (finding,)


def unexplained(net_mw: np.ndarray, design: np.ndarray, cells: np.ndarray) -> float:
    """Mean squared remainder of the net after calendar and signals, steps beyond three deviations held there."""
    known = np.isfinite(net_mw) & np.isfinite(design).all(axis=1)
    target, within = less_means(net_mw[known], cells[known]), less_means(design[known], cells[known])
    spread = 3 * np.median(np.abs(target)) / 0.6745
    target = np.clip(target, -spread, spread)
    weights = solve_signed(within.T @ within, within.T @ target, np.ones(within.shape[1], dtype=bool))
    return float(np.mean((target - within @ weights) ** 2))


def empty_if_none(signals: np.ndarray | None, length: int) -> np.ndarray:
    """Signals as (time, signal), none of them where none are given."""
    return np.zeros((length, 0)) if signals is None else np.asarray(signals, dtype=float).reshape(length, -1)


def temperature_features(temperature_c: np.ndarray | None, times: pd.DatetimeIndex) -> np.ndarray:
    """Heating and cooling degrees of the last day, (time, 0 or 2): buildings store heat for about as long."""
    if temperature_c is None:
        return np.zeros((len(times), 0))
    mean = pd.Series(temperature_c, times).rolling("24h").mean().to_numpy()
    return np.column_stack([np.maximum(HEATING_BELOW_C - mean, 0), np.maximum(mean - COOLING_ABOVE_C, 0)])


def calendar_cells(times: pd.DatetimeIndex, zone: str) -> np.ndarray:
    """Number of the cell of block, kind of day and clock slot of every step, (time,)."""
    local = times.tz_localize("UTC").tz_convert(zone).tz_localize(None)
    dates = pd.DatetimeIndex(local.normalize())
    unique, day = np.unique(dates.to_numpy(), return_inverse=True)
    free = free_day_flags(tuple(pd.Timestamp(date).date() for date in unique), zone)[day]
    count = max(1, round(len(unique) / BLOCK_DAYS))
    block = np.minimum(day * count // len(unique), count - 1)
    minute = np.asarray((local - dates) // pd.Timedelta("1min"), dtype=int)
    labels = (block * 2 + free) * 1440 + minute
    return np.asarray(np.unique(labels, return_inverse=True)[1])


def less_means(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Values (time, ...) less the mean of their cell."""
    columns = values.reshape(len(values), -1).T
    count = np.maximum(np.bincount(cells), 1)
    means = [np.bincount(cells, column) / count for column in columns]
    centred = [column - mean[cells] for column, mean in zip(columns, means, strict=True)]
    return np.asarray(np.array(centred).T.reshape(values.shape))


def fit_robust(within: np.ndarray, target: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (signal,) and trust in each step (time,) by Huber's reweighting."""
    trust = np.ones(len(target))
    weights = np.zeros(within.shape[1])
    for _ in range(PASSES):
        weighted = within * trust[:, np.newaxis]
        weights = solve_signed(within.T @ weighted, weighted.T @ target, signs)
        residual = np.abs(target - within @ weights)
        scale = max(float(np.median(residual)) / 0.6745, np.finfo(float).tiny)
        trust = np.minimum(1.0, HUBER * scale / np.maximum(residual, np.finfo(float).tiny))
    return weights, trust


def solve_signed(gram: np.ndarray, moment: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Least squares from X'X and X'y with non-negative weights where `signs`, free ones elsewhere."""
    from scipy.optimize import lsq_linear

    if len(moment) == 0:
        return moment
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    lifted = gram / np.outer(scale, scale) + 1e-9 * np.eye(len(moment))
    factor = np.linalg.cholesky(lifted)
    right = np.linalg.solve(factor, moment / scale)
    lowest = np.where(signs, 0.0, -np.inf)
    return np.asarray(lsq_linear(factor.T, right, bounds=(lowest, np.inf), method="bvls").x / scale)


def draw_weights(
    within: np.ndarray, target: np.ndarray, trust: np.ndarray, week: np.ndarray, signs: np.ndarray, *, seed: int
) -> np.ndarray:
    """Weights (draw, signal) of weeks drawn with replacement: errors of load last for days, not for steps."""
    weeks = np.unique(week)
    grams, moments = [], []
    for number in weeks:
        rows = week == number
        weighted = within[rows] * trust[rows, np.newaxis]
        grams.append(within[rows].T @ weighted)
        moments.append(weighted.T @ target[rows])
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(weeks), np.full(len(weeks), 1 / len(weeks)), size=RESAMPLES)
    gram, moment = np.tensordot(drawn, np.array(grams), 1), np.tensordot(drawn, np.array(moments), 1)
    return np.array([solve_signed(g, m, signs) for g, m in zip(gram, moment, strict=True)])


def capacity_of(weights: np.ndarray, drawn: np.ndarray) -> Capacity:
    """Sum of the weights with its interval."""
    low, high = np.percentile(drawn.sum(axis=1), INTERVAL_PERCENT)
    return Capacity(float(weights.sum()), float(low), float(high))


def check_length(known: np.ndarray, week: np.ndarray, times: pd.DatetimeIndex) -> None:
    """Raise if there is too little to tell the parts apart."""
    per_week = known.sum() / max(1, len(times)) * (times[-1] - times[0]) / pd.Timedelta("7D")
    if per_week < LEAST_WEEKS - 0.1 or len(np.unique(week[known])) < LEAST_WEEKS:
        raise DataError(
            [
                Finding(
                    "too little of the net load is known to tell its parts apart",
                    expected=f"{LEAST_WEEKS} weeks with all signals",
                    got=f"{per_week:.1f} weeks",
                    severity="error",
                )
            ]
        )


def finding_of(name: str, capacity: Capacity, where: str) -> Finding:
    """What was estimated, and whether the net tells it at all."""
    interval = f"{capacity.estimate_mw:.3g} MW, 90 % interval {capacity.low_mw:.3g} to {capacity.high_mw:.3g} MW"
    if capacity.low_mw <= 0.2 * capacity.high_mw:
        return Finding(
            f"the net load does not tell its {name}",
            where,
            got=interval,
            do="Give the installed power, or metered feed-in.",
            code="net_load.not_told",
        )
    return Finding(
        f"{name} behind the meter is estimated from the net load",
        where,
        got=interval,
        severity="info",
        code="net_load.estimated",
    )
