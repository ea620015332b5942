"""Whether series are plausible: energy of storages, units, signs, stuck and jumping meters.

Every check returns findings and changes nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.errors import Finding

WORST_ROUND_TRIP = 0.5
"""A storage that gives back less than this share of what it took is not one. [-]"""


def check_storage_energy(p_mw: np.ndarray, e_mwh: float, step: pd.Timedelta, *, where: str = "") -> Finding | None:
    """Whether a storage could have moved this power: energy out must have come in.

    Parameters
    ----------
    p_mw : ndarray, (time,)
        Power, charging positive. [MW]
    e_mwh : float
        Usable capacity. [MWh]
    step : Timedelta
        Length of one interval.
    where : str
        Name of the storage for the message.

    Returns
    -------
    Finding or None
        A finding if more came out than went in and the full storage held, or if so
        much stayed inside that less than half came back.

    Examples
    --------
    >>> check_storage_energy(np.array([0.01, -0.01]), 0.01, pd.Timedelta(hours=1)) is None
    True
    """
    energy = np.nan_to_num(np.asarray(p_mw, dtype=float)) * (step / pd.Timedelta(hours=1))
    charged, discharged = float(energy[energy > 0].sum()), float(-energy[energy < 0].sum())
    if WORST_ROUND_TRIP * charged - e_mwh <= discharged <= charged + e_mwh:
        return None
    too = "discharges far more than it charges" if discharged > charged else "charges far more than it discharges"
    return Finding(
        f"the profile {too}",
        where=where,
        expected=f"charged and discharged energy to agree within the capacity of {e_mwh:.4g} MWh",
        got=f"{charged:.4g} MWh charged and {discharged:.4g} MWh discharged",
        code="GT-D12",
    )
