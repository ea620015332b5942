"""A forecast of every day as it would have been issued, the result of every point model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Rolled:
    """Rolled forecast; the value of a day used only what was known at the issue of that day.

    Parameters
    ----------
    point : ndarray, (day, slot, asset)
        Relative to the rating, consumption positive; NaN before the first day that the model can forecast.
    quantiles : ndarray, (level, day, slot, asset), optional
        Where the model has its own.
    levels : tuple of float
        Of `quantiles`. [-]
    """

    point: np.ndarray
    quantiles: np.ndarray | None = field(default=None)
    levels: tuple[float, ...] = ()
