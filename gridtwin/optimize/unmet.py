"""What stays unmet: wishes of owners and limits of the network, each with its time, amount and price."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from gridtwin.grid.twin import GridTwin
from gridtwin.optimize.certificate import LimitCheck
from gridtwin.optimize.day_plan import DayPlan
from gridtwin.optimize.devices.computing_job import ComputingJob
from gridtwin.optimize.devices.device import Device
from gridtwin.optimize.devices.electric_car import ChargingSession
from gridtwin.optimize.devices.heat_pump import HeatPump, TwoCapacityHeatPump
from gridtwin.optimize.flexible_assets import KW_PER_MW
from gridtwin.optimize.network_limits import CERTIFIED_LOADING_PERCENT, CERTIFIED_VOLTAGE_PU
from gridtwin.scenario import Flexibility
from gridtwin.time_axis import TimeAxis

UNMET_COLUMNS = ["asset", "kind", "what", "start", "end", "amount", "unit", "cost_eur"]
"""Columns of the table of what stays unmet."""


def list_unserved(devices: Sequence[Device], plan: DayPlan, day: TimeAxis, *, last_day: bool) -> list[dict[str, Any]]:
    """Energy that cars and jobs go without; who stays overnight can still get it, except on the last day."""
    rows = []
    for position, kwh in plan.shortfalls.items():
        session = devices[position]
        if isinstance(session, ChargingSession) and (session.leaves or last_day):
            cost, stay = kwh * session.unserved_eur_per_kwh, _stay(session, day)
            rows.append(_unmet(session.name, "electric_car", "energy not delivered", stay, kwh, "kWh", cost))
        elif isinstance(session, ComputingJob) and (session.leaves or last_day):
            window = (session.earliest or day.start, min(session.deadline or day.end, day.end))
            cost = kwh * session.delay_eur_per_kwh
            rows.append(_unmet(session.name, "computing_job", "computing", window, kwh, "kWh", cost))
    return rows


def _stay(session: ChargingSession, day: TimeAxis) -> tuple[pd.Timestamp, pd.Timestamp]:
    return session.arrival, min(session.departure, day.end)


def list_discomfort(devices: Sequence[Device], plan: DayPlan, day: TimeAxis) -> list[dict[str, Any]]:
    """Kelvin hours outside the comfort band, and heat debts at the day's end as the kelvin hours they will cause."""
    rows = []
    for position, pump in enumerate(devices):
        if not isinstance(pump, (HeatPump, TwoCapacityHeatPump)):
            continue
        price = pump.comfort_eur_per_kelvin_hour
        outside = plan.outside_kelvin.get(position, np.zeros(day.length))
        for first, last in _runs(outside > 0):
            amount = float(outside[first : last + 1].sum()) * day.hours_per_step
            spell = (day.times[first], day.times[last] + day.step)
            rows.append(_unmet(pump.name, "heat_pump", "comfort", spell, amount, "K h", amount * price))
        if position in plan.debt_kelvin:
            amount = plan.debt_kelvin[position] * pump.c_kwh_per_k / pump.ua_kw_per_k
            rows.append(_unmet(pump.name, "heat_pump", "comfort", (day.end, day.end), amount, "K h", amount * price))
    return rows


def list_breaches(
    twin: GridTwin, check: LimitCheck, scale: np.ndarray, settings: Flexibility, *, step: pd.Timedelta
) -> list[dict[str, Any]]:
    """Network limits that AC power flow still finds exceeded, each spell with its energy or depth and its price."""
    price = settings.breach_price_eur_per_kwh * (step / pd.Timedelta(hours=1))
    rated_kw = KW_PER_MW * twin.branches["s_rated_mva"].to_numpy(dtype=float)
    rows = []
    for b, name in enumerate(twin.branches.index):
        over_kw = np.maximum(check.loading_excess_percent[:, b], 0) / 100 * rated_kw[b]
        for first, last in _runs(check.loading_excess_percent[:, b] > CERTIFIED_LOADING_PERCENT):
            kwh = float(over_kw[first : last + 1].sum()) * (step / pd.Timedelta(hours=1))
            cost = float(over_kw[first : last + 1].sum()) * price
            spell = _spell(check, first, last, step)
            rows.append(
                _unmet(str(name), str(twin.branches["element"].iloc[b]), "network limit", spell, kwh, "kWh", cost)
            )
    for b, name in enumerate(twin.buses.index):
        # priced like the power that would have to move at the most effective bus; unknown where none has an effect
        over_kw = KW_PER_MW * 2 * np.maximum(check.vm_excess_pu[:, b], 0) / scale[b]
        for first, last in _runs(check.vm_excess_pu[:, b] > CERTIFIED_VOLTAGE_PU):
            worst = float(check.vm_excess_pu[first : last + 1, b].max())
            cost = float(over_kw[first : last + 1].sum()) * price if np.isfinite(scale[b]) else np.nan
            rows.append(_unmet(str(name), "bus", "network limit", _spell(check, first, last, step), worst, "pu", cost))
    return rows


def _spell(check: LimitCheck, first: int, last: int, step: pd.Timedelta) -> tuple[pd.Timestamp, pd.Timestamp]:
    return check.times[first], check.times[last] + step


def _runs(flags: np.ndarray) -> Iterable[tuple[int, int]]:
    """First and last position of every unbroken run of True.

    >>> list(_runs(np.array([True, True, False, True])))
    [(0, 1), (3, 3)]
    """
    edges = np.diff(np.concatenate([[0], flags.astype(int), [0]]))
    return zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True)


def _unmet(
    asset: str,
    kind: str,
    what: str,
    spell: tuple[pd.Timestamp, pd.Timestamp],
    amount: float,
    unit: str,
    cost_eur: float,
) -> dict[str, Any]:
    values = (asset, kind, what, *spell, amount, unit, cost_eur)
    return dict(zip(UNMET_COLUMNS, values, strict=True))


def build_unmet(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Table of what stays unmet, dearest first within each kind of wish."""
    table = pd.DataFrame(list(rows), columns=UNMET_COLUMNS)
    types = {"start": "datetime64[ns]", "end": "datetime64[ns]", "amount": "float64", "cost_eur": "float64"}
    return table.astype(cast("Any", types)).sort_values(
        ["what", "cost_eur"], ascending=[True, False], ignore_index=True
    )
