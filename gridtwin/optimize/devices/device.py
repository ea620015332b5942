"""What all flexible devices have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gridtwin.optimize.template import Template

Series = float | np.ndarray
"""One value for all steps, or (time,) values."""


@dataclass(frozen=True)
class Device:
    """A device whose power can be chosen within a band on each step.

    Parameters
    ----------
    name, bus : str
        Name of the device and of its bus.
    p_base_kw : ndarray, (time,)
        What it would do unscheduled, consumption positive. [kW]
    p_min_kw, p_max_kw : ndarray, (time,)
        Band of its power, consumption positive. [kW]
    """

    template: ClassVar[Template]

    name: str
    bus: str
    p_base_kw: np.ndarray
    p_min_kw: np.ndarray
    p_max_kw: np.ndarray


def before(variable: Any, t: int, start: Any) -> Any:
    """A state at the end of the step before `t`, or where it starts."""
    return start if t == 0 else variable[t - 1]


def last_step(block: Any) -> int:
    """Number of a block's last step."""
    return int(block.step.last())
