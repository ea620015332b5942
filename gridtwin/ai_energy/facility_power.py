r"""Power of a data centre over time, and what one more kilowatt of IT costs.

    P_DC(t) = P_fix + (1 + l1) P_IT(t) + l2 P_IT(t)² + P_IT(t) / COP(T_out(t))

P_fix follows from the reported annual PUE, so that the energies meet it. The marginal PUE

    dP_DC/dP_IT = 1 + l1 + 2 l2 P_IT + 1 / COP

is the price of one more job; the average PUE is for an inventory. A fixed part makes the marginal one the lower.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridtwin.ai_energy.quantity import Quantity, exact
from gridtwin.ai_energy.quotient import require_numbers
from gridtwin.errors import DataError, Finding

Floats: TypeAlias = NDArray[np.float64]
CARNOT_SHARE = 0.35
"""Cooling reaches this share of the ideal COP: assumed, chillers with fans and pumps. [-]"""
SMALLEST_LIFT_K, LARGEST_COP = 8.0, 20.0
"""Temperature difference that a cooler needs at least, and the COP of fans and pumps alone: assumed. [K], [-]"""


def cooling_cop(outdoor_c: ArrayLike, *, supply_c: float = 22.0, approach_k: float = 10.0) -> Floats:
    """Heat removed per electricity of the cooling.

    Parameters
    ----------
    outdoor_c : numeric
        Outdoor temperature. (time,) [degC]
    supply_c : float, default 22
        Temperature of the air supplied to the IT. [degC]
    approach_k : float, default 10
        How much warmer than outdoors the heat leaves. [K]

    Returns
    -------
    ndarray
        0.35 of the Carnot COP between supply and outlet, at most 20: assumed, falling with heat. (time,) [-]

    Examples
    --------
    >>> [round(float(cop), 1) for cop in cooling_cop([0.0, 20.0, 35.0])]
    [12.9, 12.9, 4.5]
    """
    require_numbers(outdoor_c=outdoor_c, supply_c=supply_c, approach_k=approach_k)
    lift_k = np.maximum(np.asarray(outdoor_c, dtype=float) + approach_k - supply_c, SMALLEST_LIFT_K)
    return np.asarray(np.minimum(CARNOT_SHARE * (supply_c + 273.15) / lift_k, LARGEST_COP), dtype=float)


@dataclass(frozen=True)
class FacilityPower:
    """Overhead of a data centre.

    Parameters
    ----------
    fixed_kw : float
        P_fix: lighting, standby, fans that never rest. [kW]
    linear_share : float
        l1: losses in proportion, of UPS and distribution. [-]
    square_per_kw : float
        l2: losses with the square. [1/kW]
    """

    fixed_kw: float
    linear_share: float
    square_per_kw: float

    def power_kw(self, it_kw: ArrayLike, cop: ArrayLike) -> Floats:
        """Power of the whole data centre. (time,) [kW]

        Examples
        --------
        >>> round(float(FacilityPower(100.0, 0.05, 0.0).power_kw(1000.0, 5.0)))
        1350
        """
        require_numbers(at_least=0, it_kw=it_kw)
        require_numbers(above=0, cop=cop)
        it, cooling = np.asarray(it_kw, dtype=float), 1 / np.asarray(cop, dtype=float)
        per_it = 1 + self.linear_share + self.square_per_kw * it + cooling
        return np.asarray(self.fixed_kw + it * per_it, dtype=float)

    def marginal_pue(self, it_kw: ArrayLike, cop: ArrayLike) -> Floats:
        """Power of the whole data centre per further power of IT. (time,) [-]

        Examples
        --------
        >>> round(float(FacilityPower(100.0, 0.05, 0.0).marginal_pue(1000.0, 5.0)), 2)
        1.25
        """
        require_numbers(at_least=0, it_kw=it_kw)
        require_numbers(above=0, cop=cop)
        it, cooling = np.asarray(it_kw, dtype=float), 1 / np.asarray(cop, dtype=float)
        return np.asarray(1 + self.linear_share + 2 * self.square_per_kw * it + cooling, dtype=float)

    def marginal_pue_of(self, added_kw: ArrayLike, it_kw: ArrayLike, cop: ArrayLike) -> Quantity:
        """Marginal PUE of a job: energy of the facility per further energy of IT. [1]

        Parameters
        ----------
        added_kw : numeric
            Power of the job. (time,) [kW]
        it_kw : numeric
            IT power without the job. (time,) [kW]
        cop : numeric
            Of the cooling. (time,) [-]

        Examples
        --------
        >>> FacilityPower(100.0, 0.05, 0.0).marginal_pue_of([10.0], [1000.0], [5.0]).unit
        '1'
        """
        added = np.asarray(added_kw, dtype=float)
        require_numbers(at_least=0, added_kw=added)
        require_numbers(above=0, added_total_kw=added.sum())
        it = np.asarray(it_kw, dtype=float)
        more = self.power_kw(it + added, cop) - self.power_kw(it, cop)
        return exact(float(more.sum() / added.sum()), "1", kind="estimated", method_class="calibrated_model",
                     method="marginal PUE of the job from a model of the facility meeting its annual PUE")  # fmt: skip


def calibrate_facility_power(it_kw: ArrayLike, cop: ArrayLike, *, pue: float, linear_share: float = 0.05,
                             square_per_kw: float = 0.0) -> FacilityPower:  # fmt: skip
    """Fixed power that makes a year meet its reported PUE.

    Parameters
    ----------
    it_kw : numeric
        IT power of all steps of the year, of equal length. (time,) [kW]
    cop : numeric
        Of the cooling. (time,) [-]
    pue : float
        Annual PUE. [1]
    linear_share, square_per_kw : float
        l1 and l2, by default 5 % and none: assumed. [-], [1/kW]

    Returns
    -------
    FacilityPower
        With sum P_DC / sum P_IT = PUE.

    Raises
    ------
    DataError
        If losses and cooling alone are more than the PUE allows.

    Examples
    --------
    >>> round(calibrate_facility_power([800.0, 1200.0], [5.0, 5.0], pue=1.35).fixed_kw)
    100
    """
    it = np.asarray(it_kw, dtype=float)
    require_numbers(at_least=1, pue=pue)
    require_numbers(at_least=0, linear_share=linear_share, square_per_kw=square_per_kw)
    require_numbers(above=0, it_total_kw=it.sum())
    without_fixed = FacilityPower(0.0, linear_share, square_per_kw).power_kw(it, cop)
    fixed_kw = float((pue * it - without_fixed).mean())
    if fixed_kw < 0:
        # fmt: off
        raise DataError([Finding("losses and cooling alone are more than the PUE allows", where="pue",
                                 expected=f"{without_fixed.sum() / it.sum():.3f} or more", got=f"{pue:g}",
                                 do="Give smaller losses or a better COP.", severity="error", code="GT-E76")])
        # fmt: on
    return FacilityPower(fixed_kw, linear_share, square_per_kw)
