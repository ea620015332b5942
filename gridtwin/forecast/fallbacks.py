"""Series that no model should learn from as they are: a new meter, a step in level, a stuck meter.

Each has a test, a repair of the history that the models then see, a word for the
status and a factor by which the band widens. All look back from the issue alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridtwin.forecast.calendar import ClockGrid, holiday_flags
from gridtwin.forecast.features import smooth_over_slots
from gridtwin.forecast.ridge_days import blocks_of

CONDITIONS = {
    "new": "seasonal naive from the first days of a new series, with a wider band",
    "level_shift": "by the model, from a history brought to the level after a step in the last three weeks; wider band",
    "frozen": "by the model, the meter repeats one value up to issue, which is taken as unknown; wider band",
}
"""How the forecast of an asset with a condition comes about; these extend `history.STATUS`."""
NEW_DAYS = 14
"""A series that began fewer whole days before the issue is new: no weekday has two values."""
SHIFT_DAYS = (5, 21)
"""A step is looked for so many days before the issue; fewer days are a holiday or a cold spell as likely as a step."""
BEFORE_DAYS = 28
"""Days before a step that say what was usual."""
STEADY = 0.5
"""Of a step, more than the robust deviation of the days after it. [-]"""
STEP_BESIDE_TREND = 0.7
"""Part of a step that must remain beside a straight line, which takes what a season does. [-]"""
LEAST_SHIFT = 0.25
"""Of the usual power of a day, below which a step does not matter. [-]"""
SHIFT_DEVIATIONS = 4.0
"""Robust deviations of usual days that a step must exceed."""
OWN_PAST_FACTOR = 1.3
"""The step must exceed so many times the largest one that the series showed before."""
STEPLESS = ("battery", "wind")
"""Kinds without a usual day: two windy weeks look like a step."""
FROZEN_HOURS = 6.0
"""A value other than zero that stays for so long may be a stuck meter. [h]"""
SILENT_HOURS = 24.0
"""A zero that stays for so long may be a dead meter. [h]"""
FROZEN_PAST_FACTOR = 2.0
"""... if it stays so many times longer than any value did before."""
ASSETS_AT_ONCE = 256
"""Series that are tested at a time: many, as the tests are many small steps over all of them."""
STICKS = 1e-6
"""Part of the largest power below which two values are one. [-]"""


@dataclass(frozen=True)
class Conditions:
    """What is wrong with each series at the issue.

    Parameters
    ----------
    status : ndarray of str, (asset,)
        Key of `CONDITIONS`, or empty.
    since : ndarray of int, (asset,)
        First day of a new series or after a step; first step (day * slots + slot) of a stuck value; 0 else.
    issue_day : int
        Day of the issue; of it only the first `known` slots have ended.
    known : int
        Slots.
    """

    status: np.ndarray
    since: np.ndarray
    issue_day: int
    known: int


def find_condition(cube: np.ndarray, grid: ClockGrid, known: int, issue_day: int, kind: np.ndarray) -> Conditions:
    """Test every series for the conditions, with what had ended at issue.

    Parameters
    ----------
    cube : ndarray, (day, slot, asset)
        Relative power as measured: NaN where unknown, gaps not substituted.
    grid : ClockGrid
        Days and slots of the cube.
    known : int
        Slots of the issue day that have ended at issue.
    issue_day : int
        Position of the day of the issue.
    kind : ndarray of str, (asset,)
        Kind of asset; those of `STEPLESS` are not tested for a step.

    Returns
    -------
    Conditions
        The first that holds of: new, frozen, level shift.

    Notes
    -----
    The step is a median test with a robust scale (P. J. Huber, Robust Statistics, 1981, ch. 5) of the daily mean,
    less the median of earlier days of its type; a season that drifts is told from a step by the days just before it.
    The threshold adapts to each series: the largest statistic of its own past is the yardstick.
    """
    status, since = np.full(cube.shape[2], "", dtype="<U12"), np.zeros(cube.shape[2], dtype=int)
    types = day_types(grid)[:issue_day]
    for block in blocks_of(cube.shape[2], ASSETS_AT_ONCE):
        past = cube[: issue_day + 1, :, block].astype(float)
        past[issue_day, known:] = np.nan
        first = np.isfinite(past).any(axis=1).argmax(axis=0)
        stuck = np.where(kind[block] == "battery", 0, find_frozen(past, known))
        shifted = np.where(np.isin(kind[block], STEPLESS), 0, find_level_shift(past[:issue_day], types))
        new = (first > issue_day - NEW_DAYS) & (first > 0)
        status[block] = np.select([new, stuck > 0, shifted > 0], ["new", "frozen", "level_shift"], "")
        since[block] = np.select([new, stuck > 0, shifted > 0], [first, stuck, shifted], 0)
    return Conditions(status, since, issue_day, known)


def find_frozen(past: np.ndarray, known: int) -> np.ndarray:
    """First step of a value that stays up to the issue, (asset,); 0 where none does.

    Parameters
    ----------
    past : ndarray, (day, slot, asset)
        The last day is the day of the issue, NaN after it.
    known : int
        Slots of the last day that have ended.
    """
    days, slots, assets = past.shape
    steps = past.reshape(days * slots, assets)[: (days - 1) * slots + known]
    margin = STICKS * np.fmax.reduce(np.abs(steps), axis=0, initial=0.0)
    same = np.abs(np.diff(steps, axis=0)) <= margin
    begin = np.where(same.all(axis=0), 0, len(same) - same[::-1].argmin(axis=0))
    silent = np.abs(steps) <= margin
    like = same & (silent[1:] == silent[-1])  # a night without sun says nothing about a value that stays by day
    earlier = _longest_run(like, begin - 1)
    least = np.where(silent[-1], SILENT_HOURS, FROZEN_HOURS) * slots / 24
    length = len(steps) - begin
    frozen = (length >= least) & (length > FROZEN_PAST_FACTOR * earlier) & (begin > 0)
    return np.where(frozen, begin, 0)


def _longest_run(same: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Most steps in a row with one value, over the first `stop` pairs of each series, (asset,)."""
    position = np.arange(1, len(same) + 1)[:, np.newaxis]
    broken = np.maximum.accumulate(np.where(same, 0, position), axis=0)
    run = np.where(position <= stop, position - broken, 0)
    return np.asarray(run.max(axis=0, initial=0) + 1)


def find_level_shift(past: np.ndarray, types: np.ndarray) -> np.ndarray:
    """First day after a step in the last three weeks, (asset,); 0 where there is none.

    Parameters
    ----------
    past : ndarray, (day, slot, asset)
        Whole days before the issue.
    types : ndarray of int, (day,)
        From `day_types`.
    """
    days, _, assets = past.shape
    shifted, best = np.zeros(assets, dtype=int), np.zeros(assets)
    if days < BEFORE_DAYS + SHIFT_DAYS[1]:
        return shifted
    level = _daily_mean(past)
    for back in range(SHIFT_DAYS[0], SHIFT_DAYS[1] + 1):
        statistic = shift_statistic(level, types, days, back)
        better = statistic > best
        best, shifted = np.where(better, statistic, best), np.where(better, days - back, shifted)
    candidates = np.flatnonzero(best > SHIFT_DEVIATIONS)
    found = best[candidates] > OWN_PAST_FACTOR * _largest_past_statistic(level[:, candidates], types)
    result = np.zeros(assets, dtype=int)
    result[candidates[found]] = shifted[candidates[found]]
    return result


def _largest_past_statistic(level: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Largest statistic of issues that no step of the last three weeks touches, (asset,)."""
    largest = np.zeros(level.shape[1])
    if not len(largest):
        return largest
    for end in range(len(level) - SHIFT_DAYS[1], BEFORE_DAYS + SHIFT_DAYS[1] - 1, -2):
        for back in (5, 9, 14, 20):
            largest = np.fmax(largest, shift_statistic(level, types, end, back))
    return largest


def shift_statistic(level: np.ndarray, types: np.ndarray, end: int, back: int) -> np.ndarray:
    """Step of the last `back` days before day `end` in robust deviations of the four weeks before, (asset,).

    The larger of two: of the difference from the usual day of the type, and of the
    ratio to it. 0 where the step is small, does not last, or began before.

    Parameters
    ----------
    level : ndarray, (day, asset)
        Daily means.
    types : ndarray of int, (day,)
        From `day_types`.
    end, back : int
        Day of the issue, and days after the step.
    """
    before, after = slice(end - back - BEFORE_DAYS, end - back), slice(end - back, end)
    usual = usual_days(level[before], types[before])
    size = _median(np.abs(level[before]))
    expected = usual[types[before]], usual[types[after]]
    by_difference = _step_deviations(level[before] - expected[0], level[after] - expected[1], size)
    reference = [np.where(np.abs(one) > 0.05 * size, one, np.nan) for one in expected]
    one = np.ones_like(size)
    by_ratio = _step_deviations(level[before] / reference[0] - 1, level[after] / reference[1] - 1, one)
    return np.asarray(np.fmax(by_difference, by_ratio))


def _step_deviations(left: np.ndarray, right: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Median of `right` in robust deviations of `left`, each (day, asset); 0 where it is no lasting, sudden step."""
    step = _median(right)
    spread = 1.4826 * _median(np.abs(left)) + 0.02 * size
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.maximum(np.isfinite(right).sum(axis=0), 1)
        lasts = (right * np.sign(step) > 0.5 * np.abs(step)).sum(axis=0) >= 0.8 * known
        edge = (_median(right[:4]) - _median(left[-4:])) * np.sign(step)
        sudden = (edge > 0.7 * np.abs(step)) & (np.abs(_median(left[-4:])) < 0.3 * np.abs(step))
        steady = 1.4826 * _median(np.abs(right - step)) < STEADY * np.abs(step)
        statistic = np.abs(step) / spread
        trend_free = _step_beside_trend(left, right, step) * np.sign(step) > STEP_BESIDE_TREND * np.abs(step)
        counts = lasts & sudden & steady & trend_free & (np.abs(step) > LEAST_SHIFT * size) & (2 * known > len(right))
    return np.where(counts & np.isfinite(statistic), statistic, 0.0)


def _step_beside_trend(left: np.ndarray, right: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Step between `left` and `right`, (day, asset), where a straight line may explain what it can, (asset,)."""
    days = np.arange(len(left) + len(right))
    after = (days >= len(left)).astype(float)
    line = np.column_stack([np.ones(len(days)), days])
    apart = after - line @ np.linalg.lstsq(line, after, rcond=None)[0]
    values = np.concatenate([np.nan_to_num(left), np.where(np.isnan(right), step, right)])
    return np.asarray(apart @ values / (apart @ apart))


def day_types(grid: ClockGrid) -> np.ndarray:
    """0 on working days, 1 on Saturdays, 2 on Sundays and holidays, (day,)."""
    weekday = np.array([day.weekday() for day in grid.dates])
    return np.where((weekday == 6) | holiday_flags(grid.dates, grid.axis.zone), 2, (weekday == 5).astype(int))


def usual_days(values: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Median of the days of each type, (type, ...); NaN for a type without a day."""
    return np.stack([_median(values[types == number]) for number in range(3)])


def _daily_mean(cube: np.ndarray) -> np.ndarray:
    """Mean of each day with at least half of its slots, (day, asset); NaN else."""
    there = np.isfinite(cube)
    count = there.sum(axis=1)
    total = np.where(there, cube, 0.0).sum(axis=1)
    return np.asarray(np.where(2 * count >= cube.shape[1], total / np.maximum(count, 1), np.nan))


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    padded = np.concatenate([ordered, np.full((1, *values.shape[1:]), np.nan)])
    low, high = np.maximum((count - 1) // 2, 0), count // 2
    middle = np.take_along_axis(padded, np.stack([low, high]), axis=0).mean(axis=0)
    return np.asarray(np.where(count > 0, middle, np.nan))


def repair_history(cube: np.ndarray, grid: ClockGrid, conditions: Conditions) -> np.ndarray:
    """History that the models should see, of the shape of `cube`; values after the issue are passed on as they are.

    A stuck value becomes unknown (the caller substitutes gaps afterwards). Before a
    step, the history is brought to the level after it: by a factor, or by the change
    of each slot, whichever leaves the smaller error on the days after the step.
    """
    repaired = cube.copy()
    types = day_types(grid)
    end = conditions.issue_day * cube.shape[1] + conditions.known
    for asset in np.flatnonzero(conditions.status == "frozen"):
        steps = np.arange(conditions.since[asset], end)
        repaired[steps // cube.shape[1], steps % cube.shape[1], asset] = np.nan
    for asset in np.flatnonzero(conditions.status == "level_shift"):
        begin = int(conditions.since[asset])
        series = cube[: conditions.issue_day, :, asset]
        repaired[:begin, :, asset] = brought_to_level(series, begin, types[: conditions.issue_day])
    return repaired


def brought_to_level(series: np.ndarray, begin: int, types: np.ndarray) -> np.ndarray:
    """Days before `begin` at the level of those after it, (day before, slot).

    Parameters
    ----------
    series : ndarray, (day, slot)
        Whole days before the issue.
    begin : int
        First day after the step.
    types : ndarray of int, (day,)
        From `day_types`.
    """
    before, after = series[begin - BEFORE_DAYS : begin], series[begin:]
    usual = usual_days(before, types[begin - BEFORE_DAYS : begin])
    expected = usual[types[begin:]]
    both = np.isfinite(expected) & np.isfinite(after)
    factor = np.sum(after[both] * expected[both]) / max(float(np.sum(expected[both] ** 2)), 1e-12)
    change = smooth_over_slots(np.nan_to_num(_median(after - expected))[np.newaxis, :, np.newaxis], 2)[0, :, 0]
    by_factor = np.abs(after - factor * expected)[both].sum()
    by_change = np.abs(after - expected - change)[both].sum()
    return np.asarray(series[:begin] * factor if by_factor <= by_change else series[:begin] + change)


def band_factor(conditions: Conditions, slots: int) -> np.ndarray:
    """Factor by which the half-widths of the band of each series grow, (asset,); 1 without a condition.

    Parameters
    ----------
    conditions : Conditions
        From `find_condition`.
    slots : int
        Per day.

    Notes
    -----
    Set from the ratio of errors on ten SimBench loads: a naive forecast from a few days beside one from a whole week,
    the ridge on a repaired history by the days since the step, and with hours substituted before the issue. They
    are estimates of a width, rounded, and no measured coverage.
    """
    days = np.maximum(conditions.issue_day - conditions.since, 1)
    stuck_days = conditions.issue_day + conditions.known / slots - conditions.since / slots
    return np.select(
        [conditions.status == "new", conditions.status == "level_shift", conditions.status == "frozen"],
        [np.where(days < 7, 1.65, 1.2), 1 + 0.6 / days, 1.02 + 0.035 * stuck_days],
        1.0,
    )
