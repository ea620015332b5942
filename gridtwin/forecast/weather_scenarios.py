"""Load of the coming weeks while their weather is unknown: the weather of past years as scenarios.

A load model of calendar and temperature is fitted to the past. The weather of the same season of every past year,
also some days earlier and later, then gives one load path each; errors that the model made in earlier months, with
the weather that came, are laid on top in one piece, so that a path keeps their autocorrelation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.errors import DataError, Finding

DAY = pd.Timedelta(days=1)
LEVELS = tuple(np.round(np.arange(1, 100) / 100, 2).tolist())
"""The 99 quantiles of GEFCom2014. [-]"""
LAG_HOURS = (0, 2)
"""Ages of the single temperatures that the load sees. [h]"""
SMOOTHING_HOURS = 48.0
"""Half-life of the mean temperature that warms a building through. [h]"""
HARMONICS = 2
"""Of the year, by which the effect of temperature may change with the season."""
PENALTY_ROWS = 3.0
"""Ridge penalty on standardised features: as if so many days said that each effect is zero."""
HALF_LIFE_DAYS = 730.0
"""Age at which a day counts half in the fit: appliances, customers and prices change. [d]"""
SHIFT_DAYS = 7
"""The weather of a past year is used up to so many days earlier and later. [d]"""
MEMORY_DAYS = 1.5
"""Time in which the difference between today's weather and a past year's decays to 1/e. [d]"""
ERROR_PERIODS = 12
"""Past periods, each as long as the target and at least `LEAST_PERIOD_DAYS`, whose errors are laid on paths."""
LEAST_PERIOD_DAYS = 28
ERRORS_PER_WEATHER = 3
"""Paths with different errors for each weather."""
STATION_SLOTS = 6
"""Times of day at which stations are compared."""
TRIAL_DAYS = 365
"""Latest days, at most a third of all, on which stations are compared. [d]"""
LEAST_LOAD_DAYS = 375
"""Of known load; without a whole year, season and temperature cannot be told apart and no weather year is past. [d]"""


@dataclass(frozen=True)
class WeatherPaths:
    """Load of the target times under the weather of past years.

    Parameters
    ----------
    p_mw : ndarray, (path, time)
        Sample paths, all equally likely, in the unit of the load given.
    quantile_mw : ndarray, (level, time)
        Quantiles of the paths.
    levels : tuple of float
        Of `quantile_mw`. [-]
    stations : tuple of int
        Positions of the weather stations whose mean drives the load.
    """

    p_mw: np.ndarray
    quantile_mw: np.ndarray
    levels: tuple[float, ...]
    stations: tuple[int, ...]


@dataclass(frozen=True)
class Days:
    """Calendar of a run of steps without gaps.

    Parameters
    ----------
    slot : ndarray of int, (time,)
        Slot of the wall clock.
    features : ndarray, (time, feature)
        Weekday or holiday, day before and after a holiday, season, season of free days, trend.
    modifiers : ndarray, (time, modifier)
        What the effect of temperature depends on: 1, free day, season.
    steps_per_day : int
        24 for hours.
    """

    slot: np.ndarray
    features: np.ndarray
    modifiers: np.ndarray
    steps_per_day: int


def forecast_by_weather_years(
    load_mw: np.ndarray,
    temperature: np.ndarray,
    times: pd.DatetimeIndex,
    target_times: pd.DatetimeIndex,
    *,
    country: str | None = None,
    stations: Sequence[int] | None = None,
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
) -> WeatherPaths:
    """Load of a period whose weather is unknown, as paths and quantiles.

    Parameters
    ----------
    load_mw : ndarray, (time,)
        Consumption; NaN where unknown, as before its meter was installed. [MW]
    temperature : ndarray, (time, station)
        Of one or several weather stations, any unit; NaN where unknown. The more years, the more scenarios.
    times : DatetimeIndex
        Interval starts in local time, with or without a zone, without gaps. What begins at or after the first target
        time is not read.
    target_times : DatetimeIndex
        Follows `times` without a gap: a month, a week. Of the same zone.
    country : str, optional
        ISO code of the country whose holidays count, "US".
    stations : sequence of int, optional
        Stations to use; by default `choose_stations` does it.
    levels : sequence of float
        Quantiles wanted. [-]
    seed : int
        Of the draw of errors.

    Returns
    -------
    WeatherPaths

    Raises
    ------
    DataError
        If times have gaps, labels do not fit, or too little load is known.

    Notes
    -----
    The load model is linear in third-order polynomials of temperature, of its lags and means (the recency effect
    [1]_), which interact with season and day type; one ridge regression per time of day. Shifted weather years are
    the scenarios of [2]_.

    References
    ----------
    .. [1] P. Wang, B. Liu, T. Hong, Electric load forecasting with recency effect, International Journal of
       Forecasting 32(3), 2016, doi:10.1016/j.ijforecast.2015.09.006
    .. [2] J. Xie, T. Hong, Temperature scenario generation for probabilistic load forecasting, IEEE Transactions on
       Smart Grid 9(3), 2018, doi:10.1109/TSG.2016.2597178
    """
    known = int(times.searchsorted(target_times[0]))
    load_mw, temperature = np.asarray(load_mw, float)[:known], np.asarray(temperature, float)[:known]
    span = pd.DatetimeIndex(times[:known].append(target_times))
    check_inputs(load_mw, temperature, span, known)
    days = describe_days(span, country, first=int(np.flatnonzero(np.isfinite(load_mw))[0]))
    scaled = fill_gaps(standardise(temperature))
    chosen = tuple(stations) if stations is not None else choose_stations(load_mw, scaled, days)
    driver = scaled[:, list(chosen)].mean(axis=1)
    limits = temperature_limits(driver, load_mw)
    weights, errors = fit_load(load_mw, temperature_terms(driver, days.steps_per_day, limits), days, len(target_times))
    scenarios = temperature_scenarios(driver, len(target_times), days.steps_per_day)
    paths = np.stack([predict_load(weights, one, driver, days, limits) for one in scenarios])
    paths = widen_paths(paths, years=known / days.steps_per_day / 365.25)
    p_mw = lay_errors(paths, errors, days.steps_per_day, np.random.default_rng(seed))
    return WeatherPaths(p_mw, np.quantile(p_mw, levels, axis=0), tuple(levels), chosen)


def check_inputs(load_mw: np.ndarray, temperature: np.ndarray, span: pd.DatetimeIndex, known: int) -> None:
    """Raise if the series do not fit together; see `forecast_by_weather_years`."""
    findings = []
    if not len(load_mw) == len(temperature) == known:
        got = f"{len(load_mw)}, {len(temperature)} and {known}"
        findings.append(
            Finding("load, temperature and times differ in length before the target", got=got, severity="error")
        )
    step, days = span[1] - span[0], np.isfinite(load_mw).sum() * ((span[1] - span[0]) / DAY)
    if (np.diff(span.to_numpy()) != step).any() or DAY % step != pd.Timedelta(0):
        findings.append(
            Finding(
                "times and target times are not one run of equal steps", do="fill gaps with NaN rows", severity="error"
            )
        )
    if days < max(LEAST_LOAD_DAYS, 3 * (len(span) - known) * (step / DAY)):
        expected = f"{LEAST_LOAD_DAYS} days and three times the target"
        findings.append(
            Finding("too little load is known", expected=expected, got=f"{days:.0f} days", severity="error")
        )
    if not np.isfinite(temperature).any(axis=0).all():
        findings.append(
            Finding("a weather station has no value before the target", do="leave it out", severity="error")
        )
    if findings:
        raise DataError(findings)


def describe_days(times: pd.DatetimeIndex, country: str | None, *, first: int = 0) -> Days:
    """Calendar of the steps; the trend counts years from step `first` on.

    >>> describe_days(pd.date_range("2010-07-03", periods=48, freq="h"), "US").modifiers[[0, 24], 1].tolist()
    [1.0, 1.0]
    """
    wall = times.tz_localize(None)
    step = times[1] - times[0]
    day = wall.normalize()
    resting = day.isin(holiday_dates(day, country))
    free = (resting | np.asarray(day.dayofweek >= 5)).astype(float)
    weekday = np.eye(7)[day.dayofweek] * ~resting[:, np.newaxis]
    beside = [day.isin(holiday_dates(day, country) + shift * DAY) for shift in (-1, 1)]
    angle = 2 * np.pi * (day.dayofyear.to_numpy() - 1) / 365.25
    season = np.column_stack([turn(k * angle) for k in (1, 2, 3) for turn in (np.sin, np.cos)])
    weather_season = season[:, : 2 * HARMONICS]
    trend = (np.arange(len(times)) - first) * (step / DAY) / 365.25
    features = np.column_stack([weekday, resting, *beside, season, weather_season * free[:, np.newaxis], trend])
    modifiers = np.column_stack([np.ones(len(times)), free, weather_season])
    return Days(np.asarray((wall - day) // step, int), features, modifiers, int(DAY / step))


def holiday_dates(days: pd.DatetimeIndex, country: str | None) -> pd.DatetimeIndex:
    """Public holidays of a country around the days; none without a country."""
    if country is None:
        return pd.DatetimeIndex([])
    import holidays

    years = range(days[0].year - 1, days[-1].year + 2)
    return pd.DatetimeIndex(sorted(holidays.country_holidays(country, years=years)))


def standardise(values: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 of each column, NaN left out."""
    deviation = np.nanstd(values, axis=0)
    return np.asarray((values - np.nanmean(values, axis=0)) / np.where(deviation > 0, deviation, 1.0))


def fill_gaps(values: np.ndarray) -> np.ndarray:
    """Columns without NaN: the mean of the other stations, else the nearest step that has a value."""
    with np.errstate(invalid="ignore"):
        there = np.isfinite(values)
        middle = np.where(there, values, 0.0).sum(axis=1) / np.where(there.any(axis=1), there.sum(axis=1), np.nan)
    filled = np.where(there, values, middle[:, np.newaxis])
    steps, known = np.arange(len(values)), np.isfinite(middle)
    nearest = np.interp(steps, steps[known], middle[known])
    return np.where(np.isfinite(filled), filled, nearest[:, np.newaxis])


def temperature_limits(driver: np.ndarray, load_mw: np.ndarray) -> tuple[float, float]:
    """Lowest and highest temperature met while the load was known; no polynomial is asked beyond."""
    seen = driver[np.isfinite(load_mw)]
    return float(seen.min()), float(seen.max())


def temperature_terms(driver: np.ndarray, steps_per_day: int, limits: tuple[float, float]) -> np.ndarray:
    """Temperature, its lags, means of this and the last 24 hours and a slow mean, in three powers, (time, term)."""
    from scipy.signal import lfilter

    bounded = np.clip(driver, *limits)
    lagged = [earlier(bounded, round(hours * steps_per_day / 24)) for hours in LAG_HOURS]
    cumulated = np.cumsum(np.concatenate([np.repeat(bounded[:1], steps_per_day), bounded]))
    daily = (cumulated[steps_per_day:] - cumulated[:-steps_per_day]) / steps_per_day
    kept = 0.5 ** (24 / steps_per_day / SMOOTHING_HOURS)
    slow, _ = lfilter([1 - kept], [1, -kept], bounded, zi=kept * bounded[:1])
    bases = np.stack([*lagged, daily, earlier(daily, steps_per_day), slow], axis=1)
    return np.concatenate([bases, bases**2, bases**3], axis=1)


def earlier(values: np.ndarray, steps: int) -> np.ndarray:
    """Values of so many steps before; the first one repeats at the start."""
    return np.concatenate([np.repeat(values[:1], steps), values[: len(values) - steps]])


def load_features(terms: np.ndarray, days: Days, chosen: slice | np.ndarray) -> np.ndarray:
    """A one, the calendar, and every temperature term with every modifier, (step, feature)."""
    crossed = terms[:, :, np.newaxis] * days.modifiers[chosen][:, np.newaxis]
    calendar = days.features[chosen]
    return np.concatenate([np.ones((len(terms), 1)), calendar, crossed.reshape(len(terms), -1)], axis=1)


def fit_load(load_mw: np.ndarray, terms: np.ndarray, days: Days, target_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of each time of day, (slot, feature), and the errors of past periods, (time,).

    The errors are out of sample: each period is told by the weights of the days before it, with the weather that
    came. NaN in a period before which there is no half of the load, and where the load is unknown.
    """
    period = max(target_length, LEAST_PERIOD_DAYS * days.steps_per_day)
    ends = len(load_mw) - period * np.arange(ERROR_PERIODS, -1, -1)
    first = int(np.flatnonzero(np.isfinite(load_mw))[0])
    ends = ends[ends >= (first + len(load_mw)) // 2]
    errors, weights = np.full(len(load_mw), np.nan), []
    for slot in range(days.steps_per_day):
        rows = np.flatnonzero((days.slot[: len(load_mw)] == slot) & np.isfinite(load_mw))
        features = load_features(terms[rows], days, rows)
        fits = ridge_by_end(features, load_mw[rows], np.searchsorted(rows, ends))
        for fit, begin, end in zip(fits, ends[:-1], ends[1:], strict=False):
            told = (rows >= begin) & (rows < end)
            errors[rows[told]] = load_mw[rows[told]] - features[told] @ fit
        weights.append(fits[-1])
    return np.stack(weights), errors[ends[0] :]


def ridge_by_end(features: np.ndarray, target: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Ridge weights from the first rows up to each of rising ends, (end, feature); feature 0 is a one, not penalised.

    Notes
    -----
    X'X and X'y are sums over rows, so all fits together cost one pass over them. A row, one a day, counts half
    when it is `HALF_LIFE_DAYS` before the end.
    """
    total = np.zeros((features.shape[1], features.shape[1] + 1))
    weights, begin = [], 0
    for end in ends:
        part, age = features[begin:end], np.arange(end - begin - 1, -1, -1)
        weighted = part.T * 0.5 ** (age / HALF_LIFE_DAYS)
        total *= 0.5 ** ((end - begin) / HALF_LIFE_DAYS)
        total += weighted @ np.column_stack([part, target[begin:end]])
        weights.append(solve_ridge_about_mean(total[:, :-1], total[:, -1]))
        begin = end
    return np.stack(weights)


def solve_ridge_about_mean(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Weights by which standardised features are penalised alike, the free weight of the one first."""
    rows, mean, middle = gram[0, 0], gram[0, 1:] / gram[0, 0], moment[0] / gram[0, 0]
    centred = gram[1:, 1:] - rows * np.outer(mean, mean)
    scale = np.sqrt(np.maximum(np.diag(centred), 0.0) / rows)
    scale = np.where(scale > 1e-9, scale, 1.0)
    matrix = centred / np.outer(scale, scale) + PENALTY_ROWS * np.eye(len(scale))
    slopes = np.linalg.solve(matrix, (moment[1:] - rows * mean * middle) / scale) / scale
    return np.append(middle - mean @ slopes, slopes)


def choose_stations(load_mw: np.ndarray, temperature: np.ndarray, days: Days) -> tuple[int, ...]:
    """Stations whose mean temperature tells the load best out of sample, (station,).

    Parameters
    ----------
    load_mw : ndarray, (time,)
        NaN where unknown. [MW]
    temperature : ndarray, (time, station)
        Standardised, without NaN.
    days : Days
        Calendar of at least the same steps.

    Notes
    -----
    Stations in the order of their own error, then as many of the first as give the mean with the least error [1]_.

    References
    ----------
    .. [1] T. Hong, P. Wang, L. White, Weather station selection for electric load forecasting, International Journal
       of Forecasting 31(2), 2015, doi:10.1016/j.ijforecast.2014.07.001
    """
    if temperature.shape[1] == 1:
        return (0,)
    order = np.argsort([trial_error(load_mw, one, days) for one in temperature.T], kind="stable")
    counts = range(1, len(order) + 1)
    errors = [trial_error(load_mw, temperature[:, order[:count]].mean(axis=1), days) for count in counts]
    return tuple(int(one) for one in order[: int(np.argmin(errors)) + 1])


def trial_error(load_mw: np.ndarray, driver: np.ndarray, days: Days) -> float:
    """Mean absolute error of the latest days by a fit to the days before, at some times of day. [MW]"""
    there = np.flatnonzero(np.isfinite(load_mw))
    cut = len(load_mw) - min(TRIAL_DAYS * days.steps_per_day, (len(load_mw) - there[0]) // 3)
    terms = temperature_terms(driver, days.steps_per_day, temperature_limits(driver, load_mw))
    errors = []
    for slot in range(0, days.steps_per_day, max(days.steps_per_day // STATION_SLOTS, 1)):
        rows = there[days.slot[there] == slot]
        features = load_features(terms[rows], days, rows)
        taught = int(np.searchsorted(rows, cut))
        told = features[taught:] @ ridge_by_end(features, load_mw[rows], np.array([taught]))[0]
        errors.append(np.abs(told - load_mw[rows[taught:]]))
    return float(np.concatenate(errors).mean())


def temperature_scenarios(driver: np.ndarray, length: int, steps_per_day: int) -> list[np.ndarray]:
    """Temperature of the coming steps as in past years, each (time,).

    Notes
    -----
    Year by year backwards, by every shift of whole days. What the latest day differs from the day before the
    scenario is added and decays, so that a scenario starts from the weather of today.
    """
    now = len(driver)
    decay = np.exp(-(np.arange(length) + steps_per_day / 2) / steps_per_day / MEMORY_DAYS)
    scenarios = []
    for years in range(1, now // (365 * steps_per_day) + 1):
        for shift in range(-SHIFT_DAYS, SHIFT_DAYS + 1):
            begin = now + steps_per_day * (shift - round(365.25 * years))
            if begin >= steps_per_day and begin + length <= now:
                distance = driver[-steps_per_day:].mean() - driver[begin - steps_per_day : begin].mean()
                scenarios.append(driver[begin : begin + length] + decay * distance)
    return scenarios


def predict_load(
    weights: np.ndarray, scenario: np.ndarray, driver: np.ndarray, days: Days, limits: tuple[float, float]
) -> np.ndarray:
    """Load of the target under one temperature scenario, (time,). [MW]"""
    before = driver[-round(8 * SMOOTHING_HOURS / 24) * days.steps_per_day :]
    terms = temperature_terms(np.concatenate([before, scenario]), days.steps_per_day, limits)[len(before) :]
    target = slice(len(driver), len(driver) + len(scenario))
    features = load_features(terms, days, target)
    return np.asarray((features * weights[days.slot[target]]).sum(axis=1))


def widen_paths(paths: np.ndarray, years: float) -> np.ndarray:
    """Paths spread around their mean by sqrt(1 + 1/years), because the mean of so few years is itself uncertain.

    >>> widen_paths(np.array([[1.0], [3.0]]), 1.0).round(3).ravel().tolist()
    [0.586, 3.414]
    """
    mean = paths.mean(axis=0)
    return np.asarray(mean + np.sqrt(1 + 1 / years) * (paths - mean))


def lay_errors(paths: np.ndarray, errors: np.ndarray, steps_per_day: int, generator: np.random.Generator) -> np.ndarray:
    """Every path with several stretches of past errors, (path x error, time). [MW]

    A stretch is as long as the target and begins at the target's time of day; unknown errors are 0. Their mean
    is kept: it corrects the level of the paths.
    """
    length = paths.shape[1]
    offset = len(errors) % steps_per_day  # the last error is the step before the target
    starts = np.arange(offset, len(errors) - length + 1, steps_per_day)
    drawn = generator.choice(starts, size=(ERRORS_PER_WEATHER, len(paths)))
    stretch = np.nan_to_num(errors)[drawn[:, :, np.newaxis] + np.arange(length)]
    return np.asarray((paths + stretch).reshape(-1, length))
