"""Rules that batteries follow when nobody optimises: self-consumption, peak shaving, time of use.

Each rule looks at the present interval alone and says what it would like; the battery does what it can:

    charge     <= p_charge,     (e_max - e) / (h r)
    discharge  <= p_discharge,  (e - e_min) r / h
    e[t] = e[t-1] + h (r charge - discharge / r)

with h hours per interval and r the square root of the round-trip efficiency, as the battery of the schedule has
it. No rule is better than the optimum that knows the future.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import axis_of
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.nomenclature import attrs_of

Floats = NDArray[np.float64]
Rule = Callable[[int, Floats, Floats], Floats]
"""Step, net power of everything else [MW], stored energy [MWh] -> wished power of the battery, charging positive."""


@dataclass(frozen=True)
class RuledBattery:
    """A battery behind a meter.

    Parameters
    ----------
    p_charge_mw, p_discharge_mw : float
        Largest power each way. [MW]
    e_max_mwh : float
        Largest stored energy. [MWh]
    e_min_mwh, e_start_mwh : float
        Smallest stored energy, stored energy as the first interval begins. [MWh]
    efficiency : float
        Of a round trip. [-]
    """

    p_charge_mw: float
    p_discharge_mw: float
    e_max_mwh: float
    e_min_mwh: float = 0.0
    e_start_mwh: float = 0.0
    efficiency: float = 0.92

    def __post_init__(self) -> None:
        """Raise on numbers that no battery has."""
        right = {
            "p_charge_mw": self.p_charge_mw >= 0,
            "p_discharge_mw": self.p_discharge_mw >= 0,
            "e_min_mwh": 0 <= self.e_min_mwh <= self.e_max_mwh,
            "e_start_mwh": self.e_min_mwh <= self.e_start_mwh <= self.e_max_mwh,
            "efficiency": 0 < self.efficiency <= 1,
        }
        raise_errors(
            [_fault(f"{name} does not fit", f"{getattr(self, name):g}") for name, fine in right.items() if not fine],
            DataError,
        )

    def follow(self, wish_mw: Floats, e_mwh: Floats, hours: float) -> tuple[Floats, Floats]:
        """Power that can be had of what is wished, and the energy stored after it. [MW], [MWh]

        Examples
        --------
        >>> one = RuledBattery(2.0, 2.0, 10.0, e_start_mwh=1.0, efficiency=1.0)
        >>> one.follow(np.array([3.0, -5.0]), np.array([1.0, 1.0]), 1.0)
        (array([ 2., -1.]), array([3., 0.]))
        """
        one_way = self.efficiency**0.5
        most = np.minimum(self.p_charge_mw, np.maximum(self.e_max_mwh - e_mwh, 0.0) / (hours * one_way))
        least = -np.minimum(self.p_discharge_mw, np.maximum(e_mwh - self.e_min_mwh, 0.0) * one_way / hours)
        power = np.clip(wish_mw, least, most)
        gained = hours * np.where(power > 0, one_way * power, power / one_way)
        return power, np.clip(e_mwh + gained, self.e_min_mwh, self.e_max_mwh)


def run_self_consumption(net_mw: xr.DataArray, battery: RuledBattery) -> xr.Dataset:
    """Store what would be fed in, give it back when something would be drawn.

    wish = -net

    Parameters
    ----------
    net_mw : DataArray, (..., time)
        Net power of everything else behind the meter, consumption positive. [MW]
    battery : RuledBattery
        Limits and efficiency.

    Returns
    -------
    Dataset
        `p_mw` of the battery, consumption (charging) positive, `p_meter_mw` with it, `e_mwh` at the end of each
        interval; dims as in `net_mw`.
    """
    return _run(net_mw, battery, lambda step, net, e_mwh: -net)


def run_peak_shaving(
    net_mw: xr.DataArray, battery: RuledBattery, *, threshold_mw: float, reserve_mwh: float = 0.0
) -> xr.Dataset:
    """Keep the meter at or below a threshold, with energy held back for that purpose.

    net > threshold                  wish = threshold - net            down to e_min
    else, net < 0                    wish = -net                       stores what would be fed in
    else, e < reserve                wish = threshold - net            refills, never above the threshold
    else                             wish = -net                       self-consumption, down to the reserve

    Parameters
    ----------
    net_mw, battery
        As in `run_self_consumption`.
    threshold_mw : float
        Wanted largest power at the meter, above 0. [MW]
    reserve_mwh : float
        Energy above `e_min_mwh` that only peaks may use. With all of it, the rule does nothing but shave. [MWh]

    Returns
    -------
    Dataset
        As in `run_self_consumption`; `attrs["hours_over"]` and `attrs["max_over_mw"]` say what stays above the
        threshold, over all series.
    """
    floor = battery.e_min_mwh + reserve_mwh
    if not (threshold_mw > 0 and 0 <= reserve_mwh <= battery.e_max_mwh - battery.e_min_mwh):
        raise DataError([_fault("threshold or reserve does not fit", f"{threshold_mw:g} MW, {reserve_mwh:g} MWh")])
    hours, one_way = axis_of(net_mw.to_dataset(name="p_mw")).hours_per_step, battery.efficiency**0.5

    def rule(step: int, net: Floats, e_mwh: Floats) -> Floats:
        to_floor = (floor - e_mwh) / (hours * one_way)
        refill = np.minimum(threshold_mw - net, to_floor)
        spare = np.maximum(e_mwh - floor, 0.0) * one_way / hours
        calm = np.where(net < 0, -net, np.where(e_mwh < floor, refill, -np.minimum(net, spare)))
        # a surplus that is too small to refill the reserve is helped from the network
        calm = np.where((net < 0) & (e_mwh < floor), np.maximum(-net, refill), calm)
        return np.where(net > threshold_mw, threshold_mw - net, calm)

    result = _run(net_mw, battery, rule)
    over = np.maximum(result["p_meter_mw"].to_numpy() - threshold_mw, 0.0)
    return result.assign_attrs(
        hours_over=float((over > 1e-9).sum() * hours), max_over_mw=float(over.max(initial=0.0))
    )  # fmt: skip


def run_time_of_use(
    net_mw: xr.DataArray, battery: RuledBattery, *, price: pd.Series, charge_below: float, discharge_above: float
) -> xr.Dataset:
    """Charge from the network while it is cheap, cover consumption while it is dear.

    price <= charge_below            wish = p_charge
    price >= discharge_above         wish = -net where something is drawn; a surplus is stored
    else                             a surplus is stored, nothing is given back

    Parameters
    ----------
    net_mw, battery
        As in `run_self_consumption`.
    price : Series, (time,)
        Any price; its index holds the times of `net_mw`.
    charge_below, discharge_above : float
        In the unit of the price; the first must be the lower one.
    """
    times = pd.DatetimeIndex(net_mw.indexes["time"])
    if not pd.Index(price.index).equals(times) or price.isna().any():
        raise DataError([_fault("the price has other times, or gaps", f"{len(price)} values for {len(times)} steps")])
    if not charge_below < discharge_above:
        raise DataError([_fault("charge_below is not the lower price", f"{charge_below:g}, {discharge_above:g}")])
    cheap, dear = (price <= charge_below).to_numpy(), (price >= discharge_above).to_numpy()

    def rule(step: int, net: Floats, e_mwh: Floats) -> Floats:
        if cheap[step]:
            return np.full_like(net, battery.p_charge_mw)
        return -net if dear[step] else np.maximum(-net, 0.0)

    return _run(net_mw, battery, rule)


def _run(net_mw: xr.DataArray, battery: RuledBattery, rule: Rule) -> xr.Dataset:
    """The battery under a rule; all series side by side, step by step."""
    ordered = net_mw.transpose(..., "time")
    values = np.asarray(ordered.to_numpy(), dtype=float)
    missing = int(np.isnan(values).sum())
    if missing:
        raise DataError([_fault("the net power has gaps", f"{missing} values", "Fill them with a quality code.")])
    hours = axis_of(net_mw.to_dataset(name="p_mw")).hours_per_step
    power, energy = np.empty_like(values), np.empty_like(values)
    stored = np.full(values.shape[:-1], battery.e_start_mwh)
    for step in range(values.shape[-1]):
        wish = rule(step, values[..., step], stored)
        power[..., step], stored = battery.follow(wish, stored, hours)
        energy[..., step] = stored
    dims = ordered.dims
    return xr.Dataset(
        {
            "p_mw": (dims, power, attrs_of("p_mw")),
            "p_meter_mw": (dims, values + power, attrs_of("p_mw")),
            "e_mwh": (dims, energy, attrs_of("e_mwh")),
        },
        coords=ordered.coords,
        attrs=dict(net_mw.attrs),
    )


def _fault(what: str, got: str, do: str = "") -> Finding:
    return Finding(what, where="battery rule", got=got, do=do, severity="error", code="GT-C70")
