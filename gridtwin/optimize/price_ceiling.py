"""The most that flexibility may cost: what the operator would pay for the alternative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LESS, MORE = "less consumption", "more consumption"
"""Directions of a need: less consumption or more feed-in; more consumption or less feed-in."""


class PriceCeiling(Protocol):
    """What the alternative to buying flexibility costs."""

    @property
    def basis(self) -> str:
        """What the alternative is."""

    def of_needs(self, needs: pd.DataFrame) -> Floats:
        """Ceiling of each row, NaN where the alternative has no price for it. (need,) [EUR/MWh]"""


@dataclass(frozen=True)
class AlternativePrice:
    """An alternative with a price per energy, such as redispatch or the compensation of curtailed feed-in.

    Parameters
    ----------
    basis : str
        What the alternative is.
    less_consumption_eur_per_mwh, more_consumption_eur_per_mwh : float
        Its price in each direction, NaN where it is none. [EUR/MWh]
    """

    basis: str
    less_consumption_eur_per_mwh: float
    more_consumption_eur_per_mwh: float

    def of_needs(self, needs: pd.DataFrame) -> Floats:
        """Price of the row's direction. (need,) [EUR/MWh]"""
        prices = {LESS: self.less_consumption_eur_per_mwh, MORE: self.more_consumption_eur_per_mwh}
        return np.array([prices[direction] for direction in needs["direction"]], dtype=float)


@dataclass(frozen=True)
class ReinforcementAnnuity:
    """Reinforcement of the limiting asset: what it costs in a year, by the energy that it would make unnecessary.

    Parameters
    ----------
    eur_per_year : mapping asset -> float
        Annuity of the reinforcement that relieves each limiting asset. [EUR/a]
    periods_per_year : float
        How often a period like the studied one comes in a year. [1/a]

    Notes
    -----
    Ceiling = annuity / (periods per year * energy of all needs of the asset in the studied period).
    """

    eur_per_year: Mapping[str, float]
    periods_per_year: float

    @property
    def basis(self) -> str:
        """What the alternative is."""
        return "reinforcement annuity"

    def of_needs(self, needs: pd.DataFrame) -> Floats:
        """The same ceiling in all rows of an asset. (need,) [EUR/MWh]"""
        e_mwh = needs.groupby("zone")["e_mwh"].transform("sum").to_numpy(dtype=float)
        annuity = np.array([self.eur_per_year.get(zone, np.nan) for zone in needs["zone"]], dtype=float)
        per_mwh = np.divide(annuity, self.periods_per_year * e_mwh, out=np.full(len(needs), np.nan), where=e_mwh > 0)
        return np.asarray(per_mwh)
