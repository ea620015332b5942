"""The model against a measurement at the feeder head.

Assets without a meter are scaled so that the energy through the feeder head,
losses included, is the measured one. That is all: voltages, other measurements
and the split between assets are not estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.errors import DataError, Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.power_flow import PowerFlow, run_power_flow
from gridtwin.time_axis import to_local

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RunFlow = Callable[[GridTwin, Profiles], PowerFlow]

SMALLEST_FACTOR, LARGEST_FACTOR = 0.5, 2.0
"""Outside these the measurement and the model do not speak of the same network. [-]"""
ENERGY_TOLERANCE = 1e-6
"""Difference of energies at which the factor is found, relative to the measured one. [-]"""
MOST_ROUNDS = 8
STEPS_PER_BLOCK = 2048
ESTIMATED = 2
"""Quality code of scaled values, see `nomenclature.QUALITY`."""
NOTE = (
    "Assets without a meter are scaled by one factor to the energy at the feeder head; "
    "a full state estimation with voltages and currents is not done."
)
COLUMNS = {
    "model": "object", "factor": "float64", "factor_p05": "float64", "factor_p95": "float64",
    "measured_energy_mwh": "float64", "model_energy_mwh": "float64", "mean_difference_mw": "float64",
    "rmse_mw": "float64", "largest_difference_mw": "float64", "window_start": "datetime64[ns]",
    "window_end": "datetime64[ns]", "steps": "int64", "kind": "object",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Observation:
    """The profiles after the measurement was heard, and how well they agree with it."""

    profiles: Profiles
    """Assets without a meter scaled over their whole length, quality "estimated"; else as given."""
    factor: float
    """Scale of the assets without a meter; 1 where nothing was scaled. [-]"""
    table: pd.DataFrame
    """Rows "before" and "after"; differences are model minus measurement. Empty without measurement."""
    findings: tuple[Finding, ...] = ()
    note: str = NOTE


def observe_feeder_head(
    twin: GridTwin,
    profiles: Profiles,
    head: xr.Dataset | None,
    unmetered: Sequence[str] = ("household",),
    *,
    run_flow: RunFlow = run_power_flow,
) -> Observation:
    """Scale the assets without a meter so that the model's feeder-head energy is the measured one.

    Parameters
    ----------
    profiles : Profiles
        Power of every asset of the twin, without `path`.
    head : Dataset or None
        `p_mw` (time): active power into the network at its upstream connection, import
        positive, NaN where unknown; `attrs["kind"]` measured, estimated or assumed. It holds
        what was known when the forecast was issued and nothing later. None: nothing is done.
    unmetered : sequence of str
        Kinds of assets without a meter of their own.
    run_flow : callable
        The power flow, `run_power_flow` unless a test or a study brings its own.

    Returns
    -------
    Observation
        Growth takes no part in the comparison: the network that was measured does not
        hold it yet. `factor_p05` and `factor_p95` of the table are percentiles of the
        factors that single local days would give.

    Raises
    ------
    DataError
        If the measurement has another step than the profiles.
    """
    if head is None:
        return Observation(profiles, 1.0, pd.DataFrame())
    today = _without_growth(twin, profiles)
    moved = _is_moved(twin, profiles, unmetered)
    window = _select_window(today, head)
    before = _head_power(twin, today.isel(time=window), run_flow)
    measured = _measured_power(today, head, window)
    known = np.isfinite(before) & np.isfinite(measured)
    window, before, measured = window[known], before[known], measured[known]
    if not len(window):
        return Observation(profiles, 1.0, pd.DataFrame(), (_no_window(head),))
    base = today.isel(time=window)
    factor = _find_factor(twin, base, measured, before, moved, run_flow)
    refusal = _refuse(factor, moved, unmetered)
    if refusal:
        table = _compare(base, head, measured, {"before": (1.0, before)}, _day_factors(base, measured, before, moved))
        return Observation(profiles, 1.0, table, (refusal,))
    after = _head_power(twin, scale_assets(base, moved, factor), run_flow)
    days = _day_factors(base, measured, before, moved)
    table = _compare(base, head, measured, {"before": (1.0, before), "after": (factor, after)}, days)
    return Observation(scale_assets(profiles, moved, factor), factor, table, (_scaled(factor, days, moved, head),))


def scale_assets(profiles: Profiles, moved: Mask, factor: float) -> Profiles:
    """Active and reactive power of the moved assets times a factor, marked as estimated.

    Parameters
    ----------
    moved : ndarray of bool, (asset,)
        Which assets are scaled.
    factor : float
        Scale; the power factor stays. [-]
    """
    scale = xr.DataArray(np.where(moved, factor, 1.0), dims="asset", coords={"asset": profiles["asset"]})
    scaled = {name: (profiles[name] * scale).assign_attrs(profiles[name].attrs) for name in ("p_mw", "q_mvar")}
    codes = np.where(moved, np.int8(ESTIMATED), profiles["quality"].to_numpy()).astype(np.int8)
    return profiles.assign(scaled | {"quality": profiles["quality"].copy(data=codes)})


def _without_growth(twin: GridTwin, profiles: Profiles) -> Profiles:
    origin = twin.assets["origin"].loc[profiles["asset"].to_numpy()].to_numpy()
    there = xr.DataArray(origin != "growth", dims="asset", coords={"asset": profiles["asset"]})
    step = axis_of(profiles).step.isoformat()
    return profiles.assign({name: profiles[name].where(there, 0.0) for name in ("p_mw", "q_mvar")}).assign_attrs(
        step=step
    )


def _is_moved(twin: GridTwin, profiles: Profiles, unmetered: Sequence[str]) -> Mask:
    assets = twin.assets.loc[profiles["asset"].to_numpy()]
    return np.asarray(assets["kind"].isin(list(unmetered)) & (assets["origin"] != "growth"), dtype=bool)


def _select_window(profiles: Profiles, head: xr.Dataset) -> NDArray[np.intp]:
    """Rows of the profiles that are complete and for which the measurement has a stamp."""
    step = pd.Timedelta(profiles.attrs["step"])
    times = pd.DatetimeIndex(head.indexes["time"])
    if len(times) > 1 and pd.Timedelta(np.diff(times.to_numpy()).min()) != step:
        raise DataError([_other_step(step, pd.Timedelta(np.diff(times.to_numpy()).min()))])
    complete = np.isfinite(profiles["p_mw"].to_numpy() + profiles["q_mvar"].to_numpy()).all(axis=1)
    return np.flatnonzero(complete & np.isin(profiles["time"].to_numpy(), times.to_numpy()))


def _measured_power(profiles: Profiles, head: xr.Dataset, window: NDArray[np.intp]) -> Floats:
    return head["p_mw"].sel(time=profiles["time"].to_numpy()[window]).to_numpy().astype(float)


def _head_power(twin: GridTwin, profiles: Profiles, run_flow: RunFlow) -> Floats:
    """Modelled power into the network, block by block so that a year of results never stands in memory. (time,) [MW]"""
    starts = range(0, profiles.sizes["time"], STEPS_PER_BLOCK)
    blocks = [profiles.isel(time=slice(start, start + STEPS_PER_BLOCK)) for start in starts]
    return np.concatenate([np.empty(0), *(run_flow(twin, block)["p_slack_mw"].to_numpy()[0] for block in blocks)])


def _find_factor(
    twin: GridTwin, base: Profiles, measured: Floats, before: Floats, moved: Mask, run_flow: RunFlow
) -> float:
    """Scale at which the energies agree, by the secant method; NaN where there is nothing to scale.

    Energy at the head is nearly linear in the scale, losses bend it a little. The first
    step takes the slope without losses. A step outside the plausible range is returned as it is.
    """
    slope = float(base["p_mw"].to_numpy()[:, moved].sum())
    if abs(slope) < ENERGY_TOLERANCE * np.abs(measured).sum():
        return np.nan
    factor, missing = 1.0, float(measured.sum() - before.sum())
    for _ in range(MOST_ROUNDS):
        if abs(missing) <= ENERGY_TOLERANCE * np.abs(measured).sum():
            break
        following = factor + missing / slope
        if not SMALLEST_FACTOR <= following <= LARGEST_FACTOR:
            return following
        rest = float(measured.sum() - _head_power(twin, scale_assets(base, moved, following), run_flow).sum())
        slope = (missing - rest) / (following - factor)
        factor, missing = following, rest
    return factor


def _day_factors(base: Profiles, measured: Floats, before: Floats, moved: Mask) -> Floats:
    """Factor that each local day alone would ask for, to first order. (day,) [-]"""
    days = to_local(pd.DatetimeIndex(base["time"].to_numpy()), str(base.attrs.get("zone", "UTC"))).date
    sums = pd.DataFrame({"missing": measured - before, "moved": base["p_mw"].to_numpy()[:, moved].sum(axis=1)})
    by_day = sums.groupby(days).sum()
    by_day = by_day[by_day["moved"] != 0]
    return (1 + by_day["missing"] / by_day["moved"]).to_numpy(dtype=float)


def _compare(
    base: Profiles, head: xr.Dataset, measured: Floats, models: dict[str, tuple[float, Floats]], days: Floats
) -> pd.DataFrame:
    """One row per model; the percentiles of the days belong to the scaled one."""
    step = pd.Timedelta(base.attrs["step"])
    times = pd.DatetimeIndex(base["time"].to_numpy())
    hours = step / pd.Timedelta(hours=1)
    low, high = np.percentile(days, [5, 95]) if len(days) > 1 else (np.nan, np.nan)
    rows = [
        {
            "model": name,
            "factor": factor,
            "factor_p05": low if name == "after" else factor,
            "factor_p95": high if name == "after" else factor,
            "measured_energy_mwh": measured.sum() * hours,
            "model_energy_mwh": power.sum() * hours,
            "mean_difference_mw": (power - measured).mean(),
            "rmse_mw": np.sqrt(((power - measured) ** 2).mean()),
            "largest_difference_mw": np.abs(power - measured).max(),
            "window_start": times[0],
            "window_end": times[-1] + step,
            "steps": len(times),
            "kind": str(head.attrs.get("kind", "measured")),
        }
        for name, (factor, power) in models.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _refuse(factor: float, moved: Mask, unmetered: Sequence[str]) -> Finding | None:
    """Why nothing is scaled, None where scaling is plausible."""
    kinds = ", ".join(unmetered)
    if not moved.any() or np.isnan(factor):
        return Finding(
            "no power without a meter could be scaled to the measurement",
            where="observe.unmetered",
            expected="kinds of assets that the network holds and that draw power",
            got=kinds,
            code="GT-M02",
        )
    if not SMALLEST_FACTOR <= factor <= LARGEST_FACTOR:
        return Finding(
            f"the measurement asks to scale {kinds} by {factor:.2f}; nothing was scaled",
            where="observe.feeder_head",
            expected=f"a factor between {SMALLEST_FACTOR:g} and {LARGEST_FACTOR:g}",
            got=f"{factor:.3g}",
            do="Check unit, sign and time zone of the measurement, and which feeder it belongs to.",
            code="GT-M03",
        )
    return None


def _scaled(factor: float, days: Floats, moved: Mask, head: xr.Dataset) -> Finding:
    low, high = np.percentile(days, [5, 95])
    kind = head.attrs.get("kind", "measured")
    return Finding(
        f"{moved.sum()} assets without a meter were scaled by {factor:.3f} (single days {low:.2f} to {high:.2f}) "
        f"to the {kind} energy at the feeder head; no full state estimation",
        where="observe.feeder_head",
        severity="info",
        code="GT-M04",
    )


def _no_window(head: xr.Dataset) -> Finding:
    return Finding(
        "measurement and profiles have no interval in common; nothing was scaled",
        where="observe.feeder_head",
        expected="stamps within the profiles, with a value",
        got=f"{int(head['p_mw'].notnull().sum())} values",
        code="GT-M01",
    )


def _other_step(expected: pd.Timedelta, got: pd.Timedelta) -> Finding:
    return Finding(
        "the measurement has another step than the profiles",
        where="observe.feeder_head",
        expected=str(expected),
        got=str(got),
        severity="error",
        code="GT-M05",
    )
