"""The powers that stand in the network itself, as profiles of one step."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gridtwin.data.profiles import Profiles, build_profiles
from gridtwin.grid.twin import GridTwin
from gridtwin.nomenclature import QUALITY
from gridtwin.time_axis import QUARTER_HOUR, TimeAxis

CONSUMPTION_SIGN = {"load": 1.0, "sgen": -1.0, "storage": 1.0, "gen": -1.0}
"""Sign that turns an element's own power into consumption."""
PSEUDO = next(code for code, word in QUALITY.items() if word == "pseudo")


def build_snapshot(twin: GridTwin, *, time: str = "2016-01-01") -> Profiles:
    """Power of every asset as it stands in the pandapower tables, times their scaling.

    A `gen` holds its voltage: its reactive power is a result and stands as 0 here.

    Returns
    -------
    Profiles, (time: 1, asset)
        Consumption positive, quality `pseudo`. [MW], [Mvar]
    """
    rows = zip(twin.assets["element"], twin.assets["index"], strict=True)
    powers = np.array([_power_of(twin, element, index) for element, index in rows], dtype=float).reshape(-1, 2)
    axis = TimeAxis(pd.Timestamp(time), QUARTER_HOUR, 1, "UTC")
    return build_profiles(axis, twin.assets, powers[None, :, 0], powers[None, :, 1], quality=PSEUDO)


def _power_of(twin: GridTwin, element: str, index: int) -> tuple[float, float]:
    row = twin.net[element].loc[index]
    factor = CONSUMPTION_SIGN[element] * row["scaling"]
    return factor * row["p_mw"], factor * (0.0 if element == "gen" else row["q_mvar"])
