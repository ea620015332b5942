"""Prices and fees of the area's exchange, from the settings of a study."""

from __future__ import annotations

import datetime as dt

import numpy as np

from gridtwin.optimize.devices.area import AreaTerms
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

G_PER_T = 1e6


def price_area(
    settings: Flexibility, axis: TimeAxis, price_eur_per_mwh: np.ndarray, inflexible_mw: np.ndarray
) -> tuple[AreaTerms, np.ndarray]:
    """Terms of the area, and its inflexible power in kW.

    Parameters
    ----------
    settings : Flexibility
        Fees, prices and risk.
    axis : TimeAxis
        The steps; fee windows are in its local time.
    price_eur_per_mwh : ndarray, (time,)
        Day-ahead price. [EUR/MWh]
    inflexible_mw : ndarray, (scenario, time)
        Net power of everything that cannot be moved, consumption positive; equally likely. [MW]
    """
    emissions = settings.co2_price_eur_per_t * settings.co2_g_per_kwh / G_PER_T
    terms = AreaTerms(
        price_eur_per_kwh=price_eur_per_mwh / KW_PER_MW + emissions,
        import_fee_eur_per_kwh=fee_of_steps(settings, axis),
        export_fee_eur_per_kwh=np.full(axis.length, settings.export_fee_eur_per_kwh),
        peak_eur_per_kw=settings.peak_price_eur_per_kw,
        peak_so_far_kw=settings.peak_so_far_kw,
        probability=np.full(len(inflexible_mw), 1 / len(inflexible_mw)),
        risk_weight=settings.risk_weight,
        tail=settings.risk_tail,
    )
    return terms, KW_PER_MW * inflexible_mw


def fee_of_steps(settings: Flexibility, axis: TimeAxis) -> np.ndarray:
    """Fee on energy drawn, by local time of day. (time,) [EUR/kWh]"""
    fee = np.full(axis.length, settings.grid_fee_eur_per_kwh)
    clock = np.array([stamp.time() for stamp in axis.local_times])
    for window in settings.grid_fee_window:
        fee[_within(clock, window.begin, window.end)] = window.eur_per_kwh
    return fee


def _within(clock: np.ndarray, begin: dt.time, end: dt.time) -> np.ndarray:
    """Whether a time of day lies in a window, which may pass midnight."""
    after, before = clock >= begin, clock < end
    return np.asarray(after & before if begin <= end else after | before)
