"""What a series does at the weather of the hour: one regression over all hours, refitted every day.

A direct day-ahead regression has one row per day and learns for each slot of its own what the weather does; a
season of days is too little for that. Here every hour is a row and the response is the same curve throughout
the day, with a slow change over the clock, so that some weeks teach it. What it forecasts is not the best forecast of
the series, as it sees no value of it: it is a *given forecast* (`Covariates.own`) that the direct regression
starts from and corrects.
"""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, free_day_flags
from gridtwin.forecast.day_design import WEATHER_LIMIT, Covariates, standardised

KNOTS = 4
"""Bends of the curve of each weather variable, at even quantiles of its training days."""
HARMONICS_OF_FREE_DAYS = 3
"""A free day differs from a working day by so many harmonics of the clock."""
CURVE_WEIGHT = 0.3
"""Of bends, slopes over the clock and neighbours beside the plain variable: they cost more than they say where a
variable has little to do with the load."""
PENALTY = 3.0
"""Of the squared weights, beside as many rows per hour as there were days."""
HALF_LIFE_DAYS = 180.0
"""Age at which a day counts half."""
LEAST_DAYS = 3
"""Days to learn from before the first response; on days before, the given forecast is the mean, which says nothing."""
HOURS = 24


def respond_to_weather(cube: np.ndarray, grid: ClockGrid, covariates: Covariates, training: int) -> Covariates:
    """The same covariates, with the response to their weather as given forecast where there is none.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power, gaps substituted; the response of day d reads days up to d - 2.
    grid : ClockGrid
        Days and slots of the cube.
    covariates : Covariates
        Known at the issue of each day; unchanged without weather, or with a given forecast.
    training : int
        Days at the start from which the scale of the weather is taken.
    """
    if covariates.own is not None or not covariates.weather:
        return covariates
    values, mean, deviation = standardised(cube.astype(float), slice(0, training))
    weather = {
        name: standardised(one.reshape(*one.shape[:2], -1).astype(float), slice(0, training))[0]
        for name, one in covariates.weather.items()
    }
    response = weather_response(values, grid, list(weather.values()), training)
    there = np.isfinite(response).all(axis=1)
    before = np.cumsum(there, axis=0) == 0
    response[before[:, np.newaxis].repeat(grid.slots, axis=1)] = 0.0
    return Covariates(covariates.weather, response * deviation + mean)


def weather_response(values: np.ndarray, grid: ClockGrid, weather: list[np.ndarray], training: int) -> np.ndarray:
    """Rolled forecast by the clock and the weather of the hour alone, (day, slot, asset).

    Parameters
    ----------
    values : ndarray, (day, slot, asset)
        Standardised power.
    grid : ClockGrid
        Days and slots of the cube.
    weather : list of ndarray, (day, slot, 1) or (day, slot, asset)
        Standardised.
    training : int
        Days at the start in which the bends of the curves are placed.

    Returns
    -------
    ndarray, (day, slot, asset)
        NaN where weather is unknown, and until `LEAST_DAYS` days have been learnt from.

    Notes
    -----
    Piecewise linear in each variable (hinge functions), with a daily harmonic of its slope and the variable an hour
    earlier and later: weather and load are seldom stamped alike, and buildings lag. The sums X'X and X'y grow by one
    day at a time; a refit is one solve, shared by all series of the same weather.
    """
    clock = clock_features(grid)
    response = np.full(values.shape, np.nan)
    for group in alike(values, shared=all(one.shape[2] == 1 for one in weather)):
        curves = [weather_curve(one[:, :, 0 if one.shape[2] == 1 else group[0]], training) for one in weather]
        response[:, :, group] = roll_hours(np.concatenate([clock, *curves], axis=2), values[:, :, group])
    return response


def alike(values: np.ndarray, *, shared: bool) -> list[np.ndarray]:
    """Positions of assets that share a regression: of the same weather, known on the same days."""
    if not shared:
        return [np.array([asset]) for asset in range(values.shape[2])]
    known = np.isfinite(values).all(axis=1)
    _, number = np.unique(known, axis=1, return_inverse=True)
    return [np.flatnonzero(number.ravel() == one) for one in range(number.max() + 1)]


def clock_features(grid: ClockGrid) -> np.ndarray:
    """Flags of the hours, and harmonics of the clock on free days, (day, slot, feature)."""
    days, slots = len(grid.dates), grid.slots
    hour = np.eye(HOURS)[np.arange(slots) * HOURS // slots]
    angle = 2 * np.pi * (np.arange(slots) + 0.5) / slots
    turns = [turn(k * angle) for k in range(1, HARMONICS_OF_FREE_DAYS + 1) for turn in (np.sin, np.cos)]
    wave = np.column_stack([np.ones(slots), *turns])
    free = free_day_flags(grid.dates, grid.axis.zone).astype(float)
    return np.concatenate([np.broadcast_to(hour, (days, slots, HOURS)), free[:, np.newaxis, np.newaxis] * wave], axis=2)


def weather_curve(values: np.ndarray, training: int) -> np.ndarray:
    """One standardised variable (day, slot) as hinges, slopes over the clock and neighbours, (day, slot, feature)."""
    z = np.clip(values, -WEATHER_LIMIT, WEATHER_LIMIT)
    taught = z[:training][np.isfinite(z[:training])]
    knots = np.unique(np.quantile(taught, np.arange(1, KNOTS + 1) / (KNOTS + 1))) if len(taught) else np.empty(0)
    angle = 2 * np.pi * (np.arange(z.shape[1]) + 0.5) / z.shape[1]
    hour = max(1, z.shape[1] // HOURS)
    run = z.ravel()
    before = np.append(run[:hour], run[:-hour]).reshape(z.shape)
    after = np.concatenate([z[:, hour:], z[:, -hour:]], axis=1)  # the next day's weather is issued a day later
    hinges = [np.maximum(z - knot, 0.0) for knot in knots]
    rest = CURVE_WEIGHT * np.stack([*hinges, z * np.sin(angle), z * np.cos(angle), before, after], axis=2)
    return np.concatenate([z[:, :, np.newaxis], rest], axis=2)


def roll_hours(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Forecast of every day by a regression on the hours of days up to the second before it, (day, slot, asset)."""
    days, slots, count = features.shape
    parts = min(HOURS, slots)
    complete = np.isfinite(features).all(axis=(1, 2))
    x = np.where(complete[:, np.newaxis, np.newaxis], features, 0.0)
    taught = complete & np.isfinite(values).all(axis=(1, 2))
    hourly = np.where(taught[:, np.newaxis, np.newaxis], x, 0.0).reshape(days, parts, -1, count).mean(axis=2)
    target = np.where(taught[:, np.newaxis, np.newaxis], values, 0.0).reshape(days, parts, -1, values.shape[2])
    gram, moment = np.zeros((count, count)), np.zeros((count, values.shape[2]))
    penalty = PENALTY * np.eye(count)
    turned, target = hourly.swapaxes(1, 2), target.mean(axis=2)
    response, kept, seen = np.full(values.shape, np.nan), 0.5 ** (1 / HALF_LIFE_DAYS), 0
    for day in range(2, days):
        last = day - 2
        gram, moment = kept * gram + turned[last] @ hourly[last], kept * moment + turned[last] @ target[last]
        seen += int(taught[last])
        if seen >= LEAST_DAYS and complete[day]:
            response[day] = x[day] @ np.linalg.solve(gram + penalty, moment)
    return response
