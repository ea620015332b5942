"""Combination of point models by the skill that each showed lately, for each series and part of the day.

The blend has the quantiles of its members, averaged at equal level (Vincentization): a
band that all members call wide stays wide, and one wide member among narrow ones
widens it by its weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridtwin.forecast.blend import daily_error, discounted_error, skill_weights
from gridtwin.forecast.calendar import ClockGrid, free_day_flags
from gridtwin.forecast.features import mean_of_similar_days
from gridtwin.forecast.naive import like_day_before
from gridtwin.forecast.rolled import Rolled

HALF_LIFE_DAYS = 30.0
"""An error that old counts half. This and the two below: from three months of 25 SimBench shapes. [day]"""
SHARPNESS = 24.0
"""Exponent of the inverse error: the members err together, so that the better one is worth more than a mean.
Chosen on three months of 25 SimBench shapes, where less lost to the best member and more hardly gained. [-]"""
DAY_PARTS = 1
"""Parts of the day with weights of their own."""
PRIOR_ERRORS = {"ridge": 1.0, "trees": 0.96, "similar_days": 1.17, "naive": 1.3}
"""Usual error relative to the ridge, set from 25 SimBench shapes. It stands in for the error of a member on a day that
only others forecast: a member that has just begun is neither trusted blindly nor shut out."""
UNKNOWN_PRIOR = 1.0
"""Of a member that `PRIOR_ERRORS` does not name, such as a physical model of a PV system. [-]"""


@dataclass(frozen=True)
class Blended:
    """A rolled forecast made of several, and the part that each has in it.

    Parameters
    ----------
    rolled : Rolled
        Point and, where members have them, quantiles.
    names : tuple of str
        Members.
    weights : ndarray, (model, day, slot, asset)
        Sum to 1 where any member has a forecast; 0 for a member without one.
    """

    rolled: Rolled
    names: tuple[str, ...]
    weights: np.ndarray


def blend_models(
    members: dict[str, Rolled],
    actual: np.ndarray,
    *,
    delay: int = 2,
    half_life: float = HALF_LIFE_DAYS,
    sharpness: float = SHARPNESS,
    parts: int = DAY_PARTS,
) -> Blended:
    """Weighted mean of rolled forecasts.

    Parameters
    ----------
    members : dict of Rolled
        By name, all of one shape (day, slot, asset); those with quantiles share their levels.
    actual : ndarray, (day, slot, asset)
        What happened; the weights of a day read only days up to `delay` before it.
    delay : int
        Days between a day and the last one that was complete at its issue.
    half_life, sharpness, parts
        See `HALF_LIFE_DAYS`, `SHARPNESS`, `DAY_PARTS`.

    Returns
    -------
    Blended

    Raises
    ------
    ValueError
        If members with quantiles have different levels.

    Notes
    -----
    Weights as in `blend.blend_by_skill`. A member without quantiles shifts the band and leaves its width to the
    others: q = blend + sum w (q_m - p_m) / sum w over the members that have quantiles, which is Vincentization
    (H. L. Vincent, The functions of the vibrissae, 1912; R. Ratcliff, Psychological Bulletin 86(3), 1979) where all do.
    """
    points = np.stack([one.point for one in members.values()])
    usual = np.array([PRIOR_ERRORS.get(name, UNKNOWN_PRIOR) for name in members])
    weights = _weights_by_slot(
        points, actual, usual, delay=delay, half_life=half_life, sharpness=sharpness, parts=parts
    )
    weights = np.where(np.isfinite(points), weights, 0.0)
    total = weights.sum(axis=0)
    weights = weights / np.where(total > 0, total, 1.0)
    point = np.where(total > 0, (weights * np.nan_to_num(points)).sum(axis=0), np.nan)
    quantiles, levels = _blend_bands(list(members.values()), weights, point)
    return Blended(Rolled(point, quantiles, levels), tuple(members), weights)


def simple_members(cube: np.ndarray, grid: ClockGrid, kind: np.ndarray) -> dict[str, Rolled]:
    """The members that need no training: seasonal naive and the mean of similar days.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power, gaps substituted.
    grid : ClockGrid
        Days of the cube.
    kind : ndarray of str, (asset,)
        Feed-in repeats the last whole known day, other kinds the week before.
    """
    similar = mean_of_similar_days(cube, free_day_flags(grid.dates, grid.axis.zone))
    return {"similar_days": Rolled(similar), "naive": Rolled(like_day_before(cube, kind))}


def _weights_by_slot(
    points: np.ndarray,
    actual: np.ndarray,
    usual: np.ndarray,
    *,
    delay: int,
    half_life: float,
    sharpness: float,
    parts: int,
) -> np.ndarray:
    """Weights (model, day, slot, asset), between the middles of the parts of the day interpolated round the clock."""
    slots = points.shape[2]
    pieces = np.array_split(np.arange(slots), parts)
    per_part = []
    for piece in pieces:
        errors = np.stack([daily_error(one[:, piece], actual[:, piece]) for one in points])
        known = discounted_error(expected_errors(errors, usual), delay=delay, half_life=half_life)
        known = np.where(np.isnan(known), usual[:, np.newaxis, np.newaxis], known)
        per_part.append(skill_weights(known, sharpness))
    if parts == 1:
        return np.broadcast_to(per_part[0][:, :, np.newaxis], points.shape)
    middles = np.array([piece.mean() for piece in pieces])
    share = np.stack([np.interp(np.arange(slots), middles, row, period=slots) for row in np.eye(parts)])
    return np.asarray(np.einsum("ps,pmda->mdsa", share, np.stack(per_part)))


def expected_errors(errors: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Errors (model, day, asset) where those of members that did not forecast a day follow from the others by `usual`.

    >>> expected_errors(np.array([2.0, np.nan]).reshape(2, 1, 1), np.array([1.0, 1.5])).ravel().tolist()
    [2.0, 3.0]
    """
    shaped = usual[:, np.newaxis, np.newaxis]
    there = np.isfinite(errors)
    count = there.sum(axis=0)
    level = np.where(there, errors / shaped, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    return np.where(there, errors, level * shaped)


def _blend_bands(
    members: list[Rolled], weights: np.ndarray, point: np.ndarray
) -> tuple[np.ndarray | None, tuple[float, ...]]:
    """Quantiles (level, day, slot, asset) around the blended point, and their levels."""
    having = [(one, weight) for one, weight in zip(members, weights, strict=True) if one.quantiles is not None]
    if not having:
        return None, ()
    levels = having[0][0].levels
    if any(one.levels != levels for one, _ in having):
        raise ValueError("members have different quantile levels")
    distance = np.zeros((len(levels), *point.shape), dtype=np.float32)
    total = np.zeros(point.shape)
    for one, weight in having:
        assert one.quantiles is not None
        known = np.where(np.isfinite(one.quantiles).all(axis=0), weight, 0.0)
        distance += np.where(known > 0, (one.quantiles - one.point) * known, 0.0)
        total += known
    return distance / np.where(total > 0, total, np.nan) + point, levels
