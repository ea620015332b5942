"""Quantiles of scaled errors, pooled over the days of a window and the slots around an hour."""

from __future__ import annotations

import numpy as np

from gridtwin.forecast.error_scales import slot_weights, slots_per_hour


def pooled_quantiles(scaled: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (level, asset, slot) of scaled errors (centre, asset, slot, day), and their days (asset,).

    Hours are pooled with half of their neighbours; between the middles of the hours the
    quantiles are interpolated.
    """
    _, assets, slots, window = scaled.shape
    if not window:
        return np.full((len(tau), assets, slots), np.nan, dtype=np.float32), np.zeros(assets, dtype=int)
    pools = hourly_pools(scaled)
    days = hourly_pools(~np.isnan(scaled)).any(axis=-1).sum(axis=-1)
    ranked = np.sort(pools.reshape(*pools.shape[:3], -1), axis=-1)
    hourly = ranked_quantiles(ranked, days, tau)
    return spread_over_slots(hourly, slots), days.max(axis=(0, 2))


def hourly_pools(values: np.ndarray) -> np.ndarray:
    """Values (centre, asset, slot, day) by hour with half of its neighbours, (centre, asset, hour, day, slot)."""
    hour = slots_per_hour(values.shape[2])
    reach = max(1, hour // 2)
    nothing = False if values.dtype == bool else np.nan
    padded = np.pad(values, ((0, 0), (0, 0), (reach, reach), (0, 0)), constant_values=nothing)
    return np.lib.stride_tricks.sliding_window_view(padded, hour + 2 * reach, axis=2)[:, :, ::hour]


def ranked_quantiles(ranked: np.ndarray, days: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Conformal quantiles (level, ...) of sorted values (centre, ..., value), NaN last, of `days` (centre, ...)."""
    count = (~np.isnan(ranked)).sum(axis=-1)
    quantiles = np.empty((len(tau), *ranked.shape[1:-1]), dtype=np.float32)
    for number, level in enumerate(tau):
        centre = number if len(ranked) > 1 else 0
        n, last = np.maximum(days[centre], 1), np.maximum(count[centre] - 1, 0)
        share = np.clip((level * (n + 1) - 0.5) / n, 0.0, 1.0)
        place = np.clip(share * count[centre] - 0.5, 0, last)
        below = place.astype(int)
        low, high = (
            np.take_along_axis(ranked[centre], at[..., np.newaxis], axis=-1)[..., 0]
            for at in (below, np.minimum(below + 1, last))
        )
        quantiles[number] = (low + (place - below) * (high - low)) * tail_factor(level, n)
    return quantiles


def tail_factor(level: float, days: np.ndarray) -> np.ndarray:
    """By how much a level beyond the outermost of n days lies further out, for an exponential tail.

    >>> tail_factor(0.05, np.array([4, 19, 56])).round(3).tolist()
    [1.861, 1.0, 1.0]
    """
    return np.asarray(np.maximum(np.log(1 / min(level, 1 - level)) / np.log(days + 1.0), 1.0))


def spread_over_slots(hourly: np.ndarray, slots: int) -> np.ndarray:
    """Values at the middles of the hours (..., hour) interpolated to the slots (..., slot), leaving out NaN."""
    weights = slot_weights(slots, hourly.shape[-1])
    there = ~np.isnan(hourly)
    total, values = there.astype(np.float32) @ weights, np.where(there, hourly, 0) @ weights
    return np.asarray(np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0))


def track_misses(scaled: np.ndarray, places: np.ndarray, tau: np.ndarray, rate: float) -> np.ndarray:
    """Correction of the quantiles from the misses of the window, in order of its days, (level, asset)."""
    moved = np.zeros(places.shape[:2], dtype=np.float32)
    if rate == 0:
        return moved
    every = max(1, slots_per_hour(scaled.shape[2]) // 2)  # neighbours miss together: half of them say as much
    errors = np.ascontiguousarray(np.moveaxis(scaled[:, :, ::every], -1, 0))
    places = np.ascontiguousarray(places[..., ::every])
    there = (~np.isnan(errors)).sum(axis=-1)
    for error, known in zip(errors, there, strict=True):
        below = np.count_nonzero(error <= places + moved[..., np.newaxis], axis=-1)
        share = below / np.maximum(known, 1)
        moved += np.where(known > 0, rate * (tau[:, np.newaxis] - share), 0).astype(np.float32)
    return moved
