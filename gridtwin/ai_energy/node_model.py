r"""From the sensors of the devices to the plug of the node: P_wall = P_0 + k P_sensors.

Sensors in processors and accelerators see neither fans nor power supplies nor the board. Against a wall meter,
318 published runs of one tool were too low without exception, by 9 to 67 % (median 32 % of processor jobs, 27.5 %
of vision and 20 % of language jobs on accelerators). Most of that is boundary, not error: one line through all of
them, 57 W + 1.12 P, leaves 8.4 % rms. A line fitted on the own machine is better than the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import t as student

from gridtwin.ai_energy.quantity import BoundaryStep, Quantity
from gridtwin.ai_energy.quotient import require_numbers
from gridtwin.ai_energy.wall_meter import WALL_CAMPAIGN
from gridtwin.errors import DataError, Finding

Floats: TypeAlias = NDArray[np.float64]
FEWEST_GROUPS = 3
"""Groups of runs that a fit needs, so that leaving one out leaves something to compare."""


def default_node_step(hours: float | None = None) -> BoundaryStep:
    """Way from device to node on a machine that nobody has calibrated.

    Parameters
    ----------
    hours : float, optional
        Duration, for a step of energies; without it the step converts powers. [h]

    Returns
    -------
    BoundaryStep
        Middle 57 W + 1.12 P, 8.4 % rms. The factor goes down to 1, as the plug carries at least what the devices
        draw, and up to the steepest fit of one kind of job, 1.24, with two standard deviations. The fixed part goes
        down to the lowest fit, 16 W, and up to twice the middle: an assumption, as the campaign held workstations
        and no server, whose fans draw more.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> power = exact(300.0, "W", kind="measured", method="sensors", boundary="device", measured_share=1.0)
    >>> [round(watts) for watts in default_node_step()(power).ends]
    [316, 393, 547]
    """
    method = "default line from device sensors to a wall meter, workstations, not calibrated on this machine"
    evidence = (WALL_CAMPAIGN, "published runs lie 9 to 67 % below the wall; the line leaves 8.4 % rms")
    factor = Quantity(unit="1", kind="estimated", method=method, method_class="calibrated_model", provenance=evidence,
                      p2_5=1.0, p50=1.12, p97_5=1.24 * (1 + 1.96 * 0.084))  # fmt: skip
    fixed = Quantity(unit="W", kind="estimated", method=method, method_class="calibrated_model", provenance=evidence,
                     p2_5=16.0, p50=57.0, p97_5=114.0)  # fmt: skip
    return BoundaryStep(inside="device", outside="node", factor=factor, fixed=_over(fixed, hours))


@dataclass(frozen=True)
class NodeModel:
    """Line from the power of the sensors to that of the plug, with the interval of a group it has not seen.

    Parameters
    ----------
    fixed_w : float
        Power at the plug while the sensors show nothing. [W]
    factor : float
        Wall power per power of the sensors. [-]
    relative_rms : float
        Of the fit. [-]
    low_ratio, high_ratio : float
        Ends of the 95 % interval of wall power by model, at most 1 and at least 1. [-]
    groups, runs : int
        What the fit has seen. [1]
    source : str
        Machine, sensors and meter.
    """

    fixed_w: float
    factor: float
    relative_rms: float
    low_ratio: float
    high_ratio: float
    groups: int
    runs: int
    source: str

    def wall_w(self, sensors_w: float | Floats) -> Floats:
        """Power at the plug. [W]

        Examples
        --------
        >>> round(float(NodeModel(57.0, 1.12, 0.084, 0.8, 1.2, 3, 318, "example").wall_w(300.0)))
        393
        """
        return np.asarray(self.fixed_w + self.factor * np.asarray(sensors_w, dtype=float), dtype=float)

    def step(self, hours: float | None = None) -> BoundaryStep:
        """The model as a way from device to node: of powers, or of energies over some hours.

        Both parts share one error, so their ends scale together.

        Examples
        --------
        >>> NodeModel(57.0, 1.12, 0.084, 0.8, 1.2, 3, 318, "example").step().factor.p50
        1.12
        """
        fixed = self._part(self.fixed_w, "W")
        return BoundaryStep(inside="device", outside="node", factor=self._part(self.factor, "1"),
                            fixed=_over(fixed, hours))  # fmt: skip

    def _part(self, value: float, unit: str) -> Quantity:
        method = (
            f"line from device sensors to a wall meter, fitted to {self.runs} runs in {self.groups} groups, "
            f"{self.relative_rms:.1%} rms"
        )
        return Quantity(unit=unit, kind="calculated", method=method, method_class="calibrated_model",
                        provenance=(self.source,), p2_5=value * self.low_ratio, p50=value,
                        p97_5=value * self.high_ratio)  # fmt: skip


def fit_node_model(sensors_w: Sequence[float], wall_w: Sequence[float], groups: Sequence[str], *,
                   source: str = "") -> NodeModel:  # fmt: skip
    """Line through runs with sensors and a wall meter.

    Parameters
    ----------
    sensors_w : sequence of float
        Mean power of the sensors. (run,) [W]
    wall_w : sequence of float
        Mean power of the meter at the plug. (run,) [W]
    groups : sequence of str
        What each run belongs to: a model, a kind of job, a machine. (run,)
    source : str
        Machine, sensors and meter.

    Returns
    -------
    NodeModel
        Its interval is that of a run of another group.

    Raises
    ------
    DataError
        If there are fewer than three groups, lengths differ or a power is not above 0.

    Notes
    -----
    The sum of ((P_0 + k P - P_wall) / P_wall)² is least with P_0 and k of at least 0. Each group is then predicted
    by the line through all others. Either end of the interval is as far out as the farthest of these ratios, or
    t_0.975(G - 1) sqrt(1 + 1/G) times the root mean square of the ratios on its side, groups weighing alike,
    whichever is farther.

    Examples
    --------
    >>> model = fit_node_model([50.0, 100.0, 200.0, 300.0], [113.0, 169.0, 281.0, 393.0], ["a", "b", "c", "c"])
    >>> round(model.fixed_w, 6), round(model.factor, 6)
    (57.0, 1.12)
    """
    sensors, wall, names = _check_runs(sensors_w, wall_w, groups)
    fixed, factor = _fit_line(sensors, wall)
    left_out = _left_out_ratios(sensors, wall, names)
    low, high = _interval(np.log(left_out), names)
    rms = float(np.sqrt(np.mean(((fixed + factor * sensors) / wall - 1) ** 2)))
    return NodeModel(fixed, factor, rms, low, high, len(np.unique(names)), len(sensors), source)


def leave_one_group_out(sensors_w: Sequence[float], wall_w: Sequence[float], groups: Sequence[str]) -> pd.DataFrame:
    """How well a model of all other groups does on each group, and whether its interval holds there.

    Parameters
    ----------
    sensors_w, wall_w, groups
        As for `fit_node_model`, with at least four groups. (run,) [W]

    Returns
    -------
    DataFrame
        One row per group: `runs`, `relative_rms` and `coverage`, the share of its runs inside the interval. [-]

    Examples
    --------
    >>> watts = [50.0, 100.0, 200.0, 300.0]
    >>> table = leave_one_group_out(watts, [57 + 1.12 * w for w in watts], list("abcd"))
    >>> bool(table["relative_rms"].max() < 1e-9)
    True
    """
    sensors, wall, names = _check_runs(sensors_w, wall_w, groups, fewest=FEWEST_GROUPS + 1)
    rows = []
    for name in np.unique(names):
        held = names == name
        model = fit_node_model(sensors[~held].tolist(), wall[~held].tolist(), names[~held].tolist())
        ratio = wall[held] / model.wall_w(sensors[held])
        inside = (ratio >= model.low_ratio - 1e-12) & (ratio <= model.high_ratio + 1e-12)
        rows.append({"group": name, "runs": int(held.sum()), "coverage": float(inside.mean()),
                     "relative_rms": float(np.sqrt(np.mean((1 / ratio - 1) ** 2)))})  # fmt: skip
    return pd.DataFrame(rows).set_index("group")


def _over(fixed: Quantity, hours: float | None) -> Quantity:
    if hours is None:
        return fixed
    require_numbers(above=0, hours=hours)
    return fixed.scaled(hours, unit="Wh")


def _fit_line(sensors: Floats, wall: Floats) -> tuple[float, float]:
    """Intercept [W] and slope of the least relative squares."""
    (fixed, factor), _ = nnls(np.column_stack([1 / wall, sensors / wall]), np.ones_like(wall))
    return float(fixed), float(factor)


def _left_out_ratios(sensors: Floats, wall: Floats, names: NDArray[np.str_]) -> Floats:
    """Wall power by what the line through the other groups says. (run,) [-]"""
    ratios = np.empty_like(wall)
    for name in np.unique(names):
        held = names == name
        fixed, factor = _fit_line(sensors[~held], wall[~held])
        ratios[held] = wall[held] / (fixed + factor * sensors[held])
    return ratios


def _interval(logs: Floats, names: NDArray[np.str_]) -> tuple[float, float]:
    """Lower and upper ratio of a group not seen."""
    groups, place = np.unique(names, return_inverse=True)
    weight = 1 / np.bincount(place)[place]
    spread = student.ppf(0.975, len(groups) - 1) * np.sqrt(1 + 1 / len(groups))
    ends = []
    for side in (-1.0, 1.0):
        mine = side * logs > 0
        mean_square = np.average(logs[mine] ** 2, weights=weight[mine]) if mine.any() else 0.0
        ends.append(side * max(float((side * logs).max()), spread * float(np.sqrt(mean_square)), 0.0))
    return float(np.exp(ends[0])), float(np.exp(ends[1]))


def _check_runs(sensors_w: Sequence[float], wall_w: Sequence[float], groups: Sequence[str],
                fewest: int = FEWEST_GROUPS) -> tuple[Floats, Floats, NDArray[np.str_]]:  # fmt: skip
    sensors, wall, names = np.asarray(sensors_w, float), np.asarray(wall_w, float), np.asarray(groups, str)
    require_numbers(above=0, sensors_w=sensors, wall_w=wall)
    if not len(sensors) == len(wall) == len(names):
        got = f"{len(sensors)}, {len(wall)} and {len(names)}"
        raise DataError([Finding("sensors, meter and groups of each run", expected="equal lengths", got=got,
                                 severity="error", code="GT-E66")])  # fmt: skip
    if len(np.unique(names)) < fewest:
        raise DataError([Finding("too few groups of runs", expected=f"{fewest} or more", got=str(len(np.unique(names))),
                                 severity="error", code="GT-E67")])  # fmt: skip
    return sensors, wall, names
