"""Day-ahead prices: every day forecast by kernel ridge regressions that were refitted that morning.

The auction of day d closes at noon of the day before, when all prices of day d - 1 are known since its own auction.
Members differ in their kernel (linear with a supply curve, Gaussian), in how fast they forget and in the transform of
the price; they are blended by recent skill, and quantiles come from the recent errors of the blend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridtwin.errors import DataError, Finding
from gridtwin.forecast.blend import blend_by_skill
from gridtwin.forecast.calendar import ClockGrid
from gridtwin.forecast.day_design import calendar_block
from gridtwin.forecast.features import days_before
from gridtwin.forecast.past_days import conformal_levels
from gridtwin.forecast.ridge import roll_ridge
from gridtwin.forecast.rolled import Rolled

LEVELS = tuple(np.round(np.arange(1, 20) / 20, 2).tolist())
PRICE_LAGS = (1, 2, 3, 7)
"""Days whose prices are read, those of LEAR. [d]"""
PUBLISHED_LAGS = (0, 1, 7)
"""Days whose published series are read, those of LEAR. [d]"""
MEMORIES_DAYS = (3000.0, 300.0)
"""Likeness of two days decays with the time between them, to 1/e after so many days. [d]"""
CALENDAR_WEIGHT = 0.5
OWN_WEIGHT = 0.3
"""Weight of what is published of the very hours and of their squares beside that of the whole day."""
HOUR_GROUPS = 6
"""Groups of neighbouring hours that share one regression."""
CURVE_WIDTH, GAUSSIAN_WIDTH = 0.2, 0.01
"""Decay of the Gaussian kernels over squared distance: of the published series of the day, of all features."""
LINEAR_PENALTY, GAUSSIAN_PENALTY = 6.0, 0.1
SHARPNESS = 16.0
"""Of the weights of members, which are much alike; see `blend_by_skill`."""
LEAST_DAYS = 56
"""Days before the first forecast, the shortest window of LEAR. [d]"""
ERROR_DAYS = 364
"""Errors of so many days give the quantiles. [d]"""
SCALE_HALF_LIFE_DAYS = 14.0
"""Of the mean absolute error by which errors of quiet and of wild weeks are made comparable. [d]"""
NEIGHBOURS = 1
"""Slots on either side whose errors enter a quantile."""


@dataclass(frozen=True)
class PriceScale:
    """Middle and spread of prices, and the variance-stabilising transform by them.

    Parameters
    ----------
    middle, spread : float
        Median, and median absolute deviation divided by 0.6745. [currency/MWh]

    Notes
    -----
    asinh((price - middle) / spread): linear around the middle, logarithmic far out, for either sign; B. Uniejewski,
    R. Weron, F. Ziel, IEEE Trans. Power Syst. 33(2), 2018, doi:10.1109/TPWRS.2017.2734563.
    """

    middle: float
    spread: float

    @staticmethod
    def of(price: np.ndarray) -> PriceScale:
        """Scale of the known prices; spread 1 where most prices are equal.

        >>> PriceScale.of(np.array([20.0, 30.0, 40.0])).middle
        30.0
        """
        middle = float(np.nanmedian(price))
        spread = float(np.nanmedian(np.abs(price - middle)) / 0.6745)
        return PriceScale(middle, spread if spread > 0 else 1.0)

    def plain(self, price: np.ndarray) -> np.ndarray:
        """Price without unit."""
        return (price - self.middle) / self.spread

    def price(self, plain: np.ndarray) -> np.ndarray:
        """Inverse of `plain`."""
        return plain * self.spread + self.middle


def roll_price_forecast(
    price_eur_per_mwh: np.ndarray,
    grid: ClockGrid,
    *,
    training: int,
    published: Mapping[str, np.ndarray] | None = None,
    levels: Sequence[float] = LEVELS,
) -> Rolled:
    """Forecast of the prices of every day, as it would have been made before its auction.

    Parameters
    ----------
    price_eur_per_mwh : ndarray, (day, slot)
        Hours or quarter hours of local days, `grid.to_cube` of the prices; NaN where unknown. The forecast of day d
        reads days up to d - 1. Give the days to forecast as NaN at the end. [currency/MWh]
    grid : ClockGrid
        Days and slots.
    training : int
        Days at the start from which the scales of prices and published series are taken.
    published : mapping of ndarray, (day, slot), optional
        What is published before the auction of each day: forecasts of load, wind and sun, of their difference (the
        residual load is worth giving), fuel prices. Any unit.
    levels : sequence of float
        Quantiles wanted. [-]

    Returns
    -------
    Rolled
        `point` (day, slot, 1) and `quantiles` (level, day, slot, 1); NaN for the first `LEAST_DAYS` and where a
        feature is unknown; quantiles begin `LEAST_DAYS` later. [currency/MWh]

    Raises
    ------
    DataError
        If series differ in shape, or one is unknown on all training days.

    Notes
    -----
    Features are those of LEAR [1]_. Instead of sparse regressions over several windows, the kernel of two days
    is multiplied by exp(-|distance in days| / memory): old days fade, and one Cholesky factor still gives every
    refit (`roll_ridge`).

    References
    ----------
    .. [1] J. Lago, G. Marcjasz, B. De Schutter, R. Weron, Forecasting day-ahead electricity prices, Applied Energy
       293, 2021, doi:10.1016/j.apenergy.2021.116983
    """
    check_inputs(price_eur_per_mwh, published or {}, training)
    price = bridge_gaps(np.asarray(price_eur_per_mwh, float))
    series = {
        name: standardise(bridge_gaps(np.asarray(one, float)), training) for name, one in (published or {}).items()
    }
    scale = PriceScale.of(price[:training])
    features = price_features(np.arcsinh(scale.plain(price)), series, calendar_block(grid))
    members = np.stack([one for member in roll_members(features, scale.plain(price)) for one in member])
    members[:, :LEAST_DAYS] = np.nan
    cube = price[:, :, np.newaxis]
    blended, _ = blend_by_skill(scale.price(members)[..., np.newaxis], cube, delay=1, sharpness=SHARPNESS)
    quantiles = conformal_quantiles(blended[:, :, 0], price, levels)
    return Rolled(blended, quantiles[..., np.newaxis], tuple(levels))


def check_inputs(price: np.ndarray, published: Mapping[str, np.ndarray], training: int) -> None:
    """Raise if the series do not fit together; see `roll_price_forecast`."""
    findings = []
    for name, values in {"price": price, **published}.items():
        if values.shape != price.shape:
            findings.append(
                Finding(f"{name} has another shape", expected=str(price.shape), got=str(values.shape), severity="error")
            )
        elif not np.isfinite(values[:training]).any():
            findings.append(
                Finding(f"{name} is unknown on all training days", got=f"{training} days", severity="error")
            )
    if findings:
        raise DataError(findings)


@dataclass(frozen=True)
class PriceFeatures:
    """What the members see of each day.

    Parameters
    ----------
    day : ndarray, (day, feature)
        Prices before, published series, calendar; 0 where the day is not complete.
    today : ndarray, (day, feature)
        Published series of the day itself.
    hour : ndarray, (day, slot, feature)
        Features of the very slot.
    complete : ndarray of bool, (day,)
        Days whose features are known.
    """

    day: np.ndarray
    today: np.ndarray
    hour: np.ndarray
    complete: np.ndarray


def price_features(stable: np.ndarray, published: Mapping[str, np.ndarray], calendar: np.ndarray) -> PriceFeatures:
    """Features of every day from transformed prices and standardised series, each (day, slot)."""
    series = list(published.values())
    lagged = [days_before(stable, back) for back in PRICE_LAGS]
    shown = [days_before(one, back) if back else one for one in series for back in PUBLISHED_LAGS]
    per_slot = 1 / np.sqrt(stable.shape[1])
    day = np.concatenate([*(per_slot * one for one in (*lagged, *shown)), CALENDAR_WEIGHT * calendar], axis=1)
    squares = [(one**2 - 1) / np.sqrt(2) for one in series]
    hour = np.stack([*lagged, *shown, *squares], axis=2)
    today = per_slot * np.concatenate([np.empty((len(stable), 0)), *series], axis=1)
    complete = np.isfinite(day).all(axis=1)
    known = complete[:, np.newaxis]
    return PriceFeatures(
        np.where(known, day, 0.0),
        np.where(known, today, 0.0),
        np.where(known[:, np.newaxis], hour, 0.0),
        complete,
    )


def roll_members(features: PriceFeatures, plain: np.ndarray) -> Iterator[np.ndarray]:
    """Rolled forecasts of the plain price, two for each kernel and memory: by transformed and by plain targets.

    Yields
    ------
    ndarray, (2, day, slot)
    """
    distance = np.abs(np.subtract.outer(np.arange(len(plain)), np.arange(len(plain))))
    linear = features.day @ features.day.T + gaussian_kernel(features.today, CURVE_WIDTH)
    gaussian = gaussian_kernel(features.day, GAUSSIAN_WIDTH)
    groups = np.array_split(np.arange(plain.shape[1]), min(HOUR_GROUPS, plain.shape[1]))
    for memory in MEMORIES_DAYS:
        fading = np.exp(-distance / memory)
        parts = [
            roll_kernel((linear + own_kernel(features.hour, group)) * fading, plain[:, group], features, LINEAR_PENALTY)
            for group in groups
        ]
        yield np.concatenate(parts, axis=2)
        yield roll_kernel(gaussian * fading, plain, features, GAUSSIAN_PENALTY)


def roll_kernel(kernel: np.ndarray, plain: np.ndarray, features: PriceFeatures, penalty: float) -> np.ndarray:
    """Rolled forecast of the plain price by transformed and by plain targets, (2, day, slot).

    A transformed forecast beyond the prices seen so far is cut there: sinh makes large errors of small ones.
    """
    stable = np.arcsinh(plain)
    usable = features.complete & np.isfinite(plain).all(axis=1)
    rolled = roll_ridge(
        kernel, np.concatenate([stable, plain], axis=1), np.arange(len(plain)), usable=usable, penalty=penalty
    )
    rolled = np.where(features.complete[:, np.newaxis], rolled, np.nan)
    low, high = extremes_before(stable)
    by_stable, by_plain = np.split(rolled, 2, axis=1)
    return np.stack([np.sinh(np.clip(by_stable, low, high)), by_plain])


def extremes_before(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of the days before each day, (day, 1); without limit for the first."""
    low = np.fmin.accumulate(np.append(np.inf, np.fmin.reduce(values, axis=1)))[:-1]
    high = np.fmax.accumulate(np.append(-np.inf, np.fmax.reduce(values, axis=1)))[:-1]
    none = ~np.isfinite(low)
    return np.where(none, -np.inf, low)[:, np.newaxis], np.where(none, np.inf, high)[:, np.newaxis]


def own_kernel(hour: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Inner products of the features of a group of slots and its neighbours, (day, day)."""
    near = hour[:, max(group[0] - 1, 0) : group[-1] + 2]
    rows = near.reshape(len(hour), -1) * np.sqrt(OWN_WEIGHT / near.shape[1])
    return np.asarray(rows @ rows.T)


def gaussian_kernel(rows: np.ndarray, width: float) -> np.ndarray:
    """exp(-width |x - y|²) of all pairs of rows, (row, row); a constant for rows without features."""
    squares = (rows**2).sum(axis=1)
    distance = squares[:, np.newaxis] + squares - 2 * rows @ rows.T
    return np.asarray(np.exp(-width * np.maximum(distance, 0.0)))


def standardise(values: np.ndarray, training: int) -> np.ndarray:
    """Mean 0 and deviation 1 over the first days."""
    deviation = np.nanstd(values[:training])
    return np.asarray((values - np.nanmean(values[:training])) / (deviation if deviation > 0 else 1.0))


def bridge_gaps(values: np.ndarray) -> np.ndarray:
    """Days of which at most an eighth is missing filled along the slots, as the hour that the clock skips."""
    filled, slots = values.copy(), np.arange(values.shape[1])
    lacking = np.isnan(values)
    count = lacking.sum(axis=1)
    for day in np.flatnonzero((count > 0) & (count <= len(slots) // 8)):
        known = ~lacking[day]
        filled[day] = np.interp(slots, slots[known], values[day, known])
    return filled


def conformal_quantiles(point: np.ndarray, actual: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles of each day from the errors of the days before, (level, day, slot).

    Parameters
    ----------
    point, actual : ndarray, (day, slot)
        Rolled forecast and what happened.
    levels : sequence of float
        Rising. [-]

    Notes
    -----
    Errors are divided by the mean absolute error known before their day, so that the band widens with the market's
    nerves, and put at place q (n + 1) of n days. NaN before `LEAST_DAYS` errors are known.
    """
    error = actual - point
    scale = known_scale(error)
    ratio = error / scale[:, np.newaxis]
    there = np.isfinite(ratio).all(axis=1)
    wanted, slots = np.asarray(levels, float), np.arange(point.shape[1])
    reach = [np.clip(slots + shift, 0, len(slots) - 1) for shift in range(-NEIGHBOURS, NEIGHBOURS + 1)]
    quantiles = np.full((len(wanted), *point.shape), np.nan)
    for day in np.flatnonzero(np.isfinite(point).any(axis=1)):
        taught = np.flatnonzero(there[:day])[-ERROR_DAYS:]
        if len(taught) >= LEAST_DAYS:
            pool = np.concatenate([ratio[taught][:, near] for near in reach])
            spread = np.quantile(pool, conformal_levels(wanted, len(taught)), axis=0, method="hazen")
            quantiles[:, day] = point[day] + scale[day] * spread
    return quantiles


def known_scale(error: np.ndarray) -> np.ndarray:
    """Fading mean absolute error of the days before each day, (day,); NaN until one is known."""
    kept, total, weight = 0.5 ** (1 / SCALE_HALF_LIFE_DAYS), 0.0, 0.0
    scale = np.full(len(error), np.nan)
    for day, size in enumerate(np.abs(error).mean(axis=1)):
        scale[day] = total / weight if total > 0 else np.nan
        if np.isfinite(size):
            total, weight = kept * total + size, kept * weight + 1
    return scale
