r"""Carbon of a workload in three ledgers that are never netted.

    location-based   sum of E_t CI_t                     average intensity of the zone, every hour
    market-based     sum of max(0, E_t - G_t) CI_res,t   instruments G_t retired for the same hour
    consequential    system with the job - without       by a dispatch solved twice

The first two are inventories, the third is what changes in the world; they answer different questions and can
disagree even in sign. The annual shortcut E mean(CI) misses n cov(E_t, CI_t), which is reported beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from gridtwin.ai_energy.quantity import Quantity, missing
from gridtwin.ai_energy.quotient import ends_of, require_numbers
from gridtwin.errors import DataError, Finding

SystemEmissions: TypeAlias = Callable[[pd.Series], float]
"""Emissions of the whole system [t] with an additional consumption per step [MWh], such as a re-dispatch."""
LEDGERS = ("location_based", "market_based", "consequential")


@dataclass(frozen=True)
class WorkloadEnergy:
    """Energy of a job over time: an amount with its interval, and the shape in which it falls.

    Parameters
    ----------
    energy : Quantity
        Of the whole job, at the boundary of the connection point or the facility. Any unit of energy.
    shape : Series
        Relative energy of each step, indexed by UTC start; its sum does not matter. (time,) [-]
    """

    energy: Quantity
    shape: pd.Series

    def __post_init__(self) -> None:
        require_numbers(at_least=0, shape=self.shape.to_numpy())
        require_numbers(above=0, shape_total=self.shape.sum())

    def mwh(self) -> tuple[pd.Series, pd.Series, pd.Series]:
        """Energy per step for lower end, middle and upper end: the error is one factor over time. (time,) [MWh]

        Examples
        --------
        >>> from gridtwin.ai_energy.quantity import exact
        >>> job = exact(3.0, "MWh", kind="measured", method="meter", boundary="facility")
        >>> WorkloadEnergy(job, pd.Series([1.0, 2.0])).mwh()[1].tolist()
        [1.0, 2.0]
        """
        share = self.shape / self.shape.sum()
        low, middle, high = (share * value for value in ends_of(self.energy.to("MWh")))
        return low, middle, high


@dataclass(frozen=True)
class LocationBased:
    """Location-based carbon and the annual shortcut beside it, in t.

    Parameters
    ----------
    hourly : Quantity
        Sum of E_t CI_t. [t]
    shortcut : Quantity
        Total energy at the plain mean of the intensity. [t]
    covariance : Quantity
        What the shortcut misses, n cov(E_t, CI_t); negative where the job runs in clean hours. [t]
    """

    hourly: Quantity
    shortcut: Quantity
    covariance: Quantity


@dataclass(frozen=True)
class CarbonLedgers:
    """Three answers to three questions. There is no sum of them.

    Parameters
    ----------
    location_based : Quantity
        Inventory by the mix of the zone. [t]
    market_based : Quantity
        Inventory by instruments retired per step. [t]
    consequential : Quantity
        Change of the system's emissions. [t]
    """

    location_based: Quantity
    market_based: Quantity
    consequential: Quantity


def location_based_carbon(workload: WorkloadEnergy, intensity_kg_per_mwh: pd.Series) -> LocationBased:
    """Inventory by the average intensity of the zone in every step.

    Parameters
    ----------
    workload : WorkloadEnergy
        Energy per step.
    intensity_kg_per_mwh : Series
        Average intensity, same index. (time,) [kg/MWh, the same as g/kWh]

    Returns
    -------
    LocationBased
        hourly = shortcut + covariance, exactly. [t]

    Raises
    ------
    DataError
        If labels differ or an intensity is missing.

    References
    ----------
    GHG Protocol Scope 2 Guidance, 2015: marginal intensities do not belong here.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> job = exact(10.0, "MWh", kind="measured", method="meter", boundary="facility")
    >>> carbon = location_based_carbon(WorkloadEnergy(job, pd.Series([3.0, 1.0])), pd.Series([100.0, 500.0]))
    >>> carbon.hourly.p50, carbon.shortcut.p50, carbon.covariance.p50
    (2.0, 3.0, -1.0)
    """
    _require_same_labels(workload.shape, intensity_kg_per_mwh, "intensity_kg_per_mwh")
    if workload.energy.is_missing:
        return LocationBased(*(missing("t", reason=workload.energy.method),) * 3)
    intensity = intensity_kg_per_mwh.to_numpy(dtype=float) / 1000
    hourly = [float(e.to_numpy() @ intensity) for e in workload.mwh()]
    shortcut = [float(e.sum() * intensity.mean()) for e in workload.mwh()]
    # the population's covariance, so that the three add up for any number of steps
    covariance = [float(((e - e.mean()).to_numpy() * (intensity - intensity.mean())).sum()) for e in workload.mwh()]
    return LocationBased(
        _booked(workload, hourly, "location-based, average intensity of the zone in every step"),
        _booked(workload, shortcut, "location-based by the annual shortcut, energy at the mean intensity"),
        _booked(workload, covariance, "covariance of energy and intensity, which the annual shortcut misses"),
    )


def market_based_carbon(workload: WorkloadEnergy, instruments_mwh: pd.Series,
                        residual_kg_per_mwh: pd.Series) -> Quantity:  # fmt: skip
    """Inventory by instruments retired for the same step; what they do not cover has the residual mix.

    Parameters
    ----------
    workload : WorkloadEnergy
        Energy per step.
    instruments_mwh : Series
        G_t, certificates and contracts retired for each step, same index. (time,) [MWh]
    residual_kg_per_mwh : Series
        Intensity of the residual mix, same index. (time,) [kg/MWh]

    Returns
    -------
    Quantity
        sum of max(0, E_t - G_t) CI_res,t. A surplus of one step does not serve another. [t]

    Raises
    ------
    DataError
        If labels differ or a value is missing.

    Examples
    --------
    8 MWh are retired, but 3 of them for an hour that needs none:

    >>> from gridtwin.ai_energy.quantity import exact
    >>> job = exact(10.0, "MWh", kind="measured", method="meter", boundary="facility")
    >>> work = WorkloadEnergy(job, pd.Series([5.0, 5.0]))
    >>> market_based_carbon(work, pd.Series([8.0, 0.0]), pd.Series([600.0, 600.0])).p50
    3.0
    """
    _require_same_labels(workload.shape, instruments_mwh, "instruments_mwh")
    _require_same_labels(workload.shape, residual_kg_per_mwh, "residual_kg_per_mwh")
    require_numbers(at_least=0, instruments_mwh=instruments_mwh.to_numpy(), residual=residual_kg_per_mwh.to_numpy())
    if workload.energy.is_missing:
        return missing("t", reason=workload.energy.method)
    tonnes = [float((np.maximum(e - instruments_mwh, 0.0) * residual_kg_per_mwh).sum() / 1000) for e in workload.mwh()]
    return _booked(workload, tonnes, "market-based, instruments retired for the same step, residual mix beyond")


def consequential_carbon(workload: WorkloadEnergy, system_emissions: SystemEmissions) -> Quantity:
    """Change of the system's emissions that the job causes.

    Parameters
    ----------
    workload : WorkloadEnergy
        Energy per step.
    system_emissions : callable
        Takes additional consumption (time,) [MWh], returns emissions of the system. [t]

    Returns
    -------
    Quantity
        With the job less without it; may be negative. Its ends follow those of the energy, by a dispatch each. [t]

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> job = exact(10.0, "MWh", kind="measured", method="meter", boundary="facility")
    >>> consequential_carbon(WorkloadEnergy(job, pd.Series([1.0])), lambda more: 0.4 * (90.0 + more.sum())).p50
    4.0
    """
    if workload.energy.is_missing:
        return missing("t", reason=workload.energy.method)
    without = system_emissions(0.0 * workload.shape)
    changes = [float(system_emissions(e) - without) for e in workload.mwh()]
    booked = _booked(workload, changes, "consequential, emissions of the system with the job less without it")
    return booked.model_copy(update={"boundary": "system", "measured_share": 0.0, "kind": "estimated"})


def check_ledgers(ledgers: CarbonLedgers) -> list[Finding]:
    """Warn where the ledgers of a job, or of a change of its plan, disagree in sign.

    Parameters
    ----------
    ledgers : CarbonLedgers
        Of one job, or from `change_of_ledgers`.

    Returns
    -------
    list of Finding
        At most one warning.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> less, more = (exact(t, "t", kind="calculated", method="example") for t in (-0.85, 3.0))
    >>> print(check_ledgers(CarbonLedgers(less, less, more))[0].got)
    location_based -0.85 t, market_based -0.85 t, consequential +3 t
    """
    values = {name: quantity.p50 for name in LEDGERS if not (quantity := getattr(ledgers, name)).is_missing}
    signs = {np.sign(value) for value in values.values() if value}
    if len(signs) < 2:
        return []
    got = ", ".join(f"{name} {value:+.3g} t" for name, value in values.items())
    do = "An inventory falls while the system emits more, or the reverse: state all of them, and do not net them."
    return [Finding("carbon ledgers disagree in sign", got=got, do=do, code="GT-E80")]


def change_of_ledgers(before: CarbonLedgers, after: CarbonLedgers) -> CarbonLedgers:
    """Change of each ledger when a job moves to other hours.

    Parameters
    ----------
    before, after : CarbonLedgers
        Of the same job.

    Returns
    -------
    CarbonLedgers
        After less before. Both have the same errors, so the ends are the differences of like ends, in order. [t]

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> one, two = (exact(t, "t", kind="calculated", method="example") for t in (2.0, 1.5))
    >>> change_of_ledgers(CarbonLedgers(one, one, one), CarbonLedgers(two, two, two)).market_based.p50
    -0.5
    """
    return CarbonLedgers(*(_difference(getattr(after, name), getattr(before, name)) for name in LEDGERS))


def _difference(after: Quantity, before: Quantity) -> Quantity:
    for part in (after, before):
        if part.is_missing:
            return missing("t", reason=part.method, boundary=part.boundary)
    ends = [a - b for a, b in zip(ends_of(after.to("t")), ends_of(before.to("t")), strict=True)]
    return after.model_copy(update=_ordered(ends) | {"unit": "t", "method": f"change of: {after.method}"})


def _booked(workload: WorkloadEnergy, tonnes: list[float], method: str) -> Quantity:
    energy = workload.energy
    update = {"unit": "t", "kind": "calculated" if energy.kind == "measured" else energy.kind, "method":
              f"{method}; energy: {energy.method}"}  # fmt: skip
    return energy.model_copy(update=_ordered(tonnes) | update)


def _ordered(ends: list[float]) -> dict[str, float]:
    """Ends in order around the middle: where a value falls as energy grows, they change sides."""
    return {"p2_5": min(ends), "p50": ends[1], "p97_5": max(ends)}


def _require_same_labels(one: pd.Series, other: pd.Series, name: str) -> None:
    if not one.index.equals(other.index):
        raise DataError([Finding("labels differ from those of the energy", where=name, severity="error",
                                 expected=f"{len(one)} steps from {one.index[0]}", got=f"{len(other)} steps",
                                 code="GT-E81")])  # fmt: skip
    if not np.isfinite(other.to_numpy(dtype=float)).all():
        raise DataError([Finding("gap in a series", where=name, expected="a number in every step", severity="error",
                                 do="A gap is no zero: fill it before.", code="GT-E84")])  # fmt: skip
