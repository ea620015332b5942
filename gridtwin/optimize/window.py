"""A moving window over a long problem: fine steps now, coarser ones later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession


@dataclass(frozen=True)
class Window:
    """Steps of a plan, each as long as one or more fine steps.

    Parameters
    ----------
    first : int
        Fine step with which the window begins.
    blocks : ndarray of int, (step,)
        Number of fine steps in each step.
    fine_hours : float
        Length of a fine step. [h]
    """

    first: int
    blocks: np.ndarray
    fine_hours: float

    @cached_property
    def edges(self) -> np.ndarray:
        """Fine steps at which steps begin and end. (step + 1,)"""
        return self.first + np.concatenate([[0], np.cumsum(self.blocks)])

    @cached_property
    def hours(self) -> np.ndarray:
        """Length of each step. (step,) [h]"""
        return np.asarray(self.blocks * self.fine_hours)

    @cached_property
    def end(self) -> int:
        """Fine step after the last."""
        return int(self.first + self.blocks.sum())

    def mean(self, series: np.ndarray) -> np.ndarray:
        """Mean over each step of a series whose last axis is fine steps."""
        inside = series[..., self.first : self.end]
        if inside.shape[-1] == len(self.blocks):
            return np.asarray(inside)
        return np.asarray(np.add.reduceat(inside, self.edges[:-1] - self.first, axis=-1) / self.blocks)

    def least(self, series: np.ndarray) -> np.ndarray:
        """Smallest value in each step."""
        inside = series[..., self.first : self.end]
        return np.asarray(np.minimum.reduceat(inside, self.edges[:-1] - self.first, axis=-1))

    def last(self, series: np.ndarray) -> np.ndarray:
        """Value at the end of each step."""
        return np.asarray(series[..., self.edges[1:] - 1])


def cut_window(first: int, blocks: np.ndarray, fine_hours: float, span: int) -> Window:
    """The window that begins at `first`, cut where the span ends."""
    ends = first + np.cumsum(blocks)
    kept = blocks[: int(np.searchsorted(ends, span, side="left")) + 1].copy()
    kept[-1] -= max(0, first + int(kept.sum()) - span)
    return Window(first, kept, fine_hours)


def coarsening_blocks(fine: int, *then: tuple[int, int]) -> np.ndarray:
    """Blocks of a window: `fine` single steps, then (number, fine steps each).

    Examples
    --------
    >>> coarsening_blocks(4, (3, 4)).tolist()
    [1, 1, 1, 1, 4, 4, 4]
    """
    return np.array([1] * fine + [size for number, size in then for _ in range(number)])


def device_in_window(device: Device, window: Window, span: int, state: Mapping[str, float]) -> Device | None:
    """A device over the steps of a window, as it stands; None where its session lies outside.

    Parameters
    ----------
    device : Device
        Over the whole span, in fine steps.
    state : mapping of str to float
        What earlier plans left of it, by the name of the parameter.
    """
    if isinstance(device, ChargingSession) and not _touches(device, window):
        return None
    template = device.template
    changes: dict[str, Any] = dict(state)
    for part in fields(device):
        value = getattr(device, part.name)
        if isinstance(value, np.ndarray) and value.shape == (span,):
            changes[part.name] = window.last(value) if part.name in template.at_end else window.mean(value)
    if isinstance(device, ChargingSession):
        return _session_in_window(device, window, changes)
    return replace(device, **changes)


def _touches(session: ChargingSession, window: Window) -> bool:
    plugged = session.plugged
    return bool(len(plugged)) and plugged[0] < window.end and plugged[-1] >= window.first


def _session_in_window(session: ChargingSession, window: Window, changes: dict[str, Any]) -> ChargingSession:
    begins, ends = int(session.plugged[0]), int(session.plugged[-1]) + 1
    start = changes.get("e_start_kwh", session.e_start_kwh)
    if ends > window.end:
        # what constant power over the whole stay would have reached by the end of the window
        share = (window.end - begins) / (ends - begins)
        changes["e_due_kwh"] = max(start, share * session.e_due_kwh)
        changes["leaves"] = False
    return replace(session, **changes)
