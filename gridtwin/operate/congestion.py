"""Congestions: every limit that is broken in some path, by whom, how long and how likely.

Two axes run through every number here: time and path. Percentiles, hours and
events are taken over time within each path; only then are paths averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.data.profiles import Profiles, axis_of
from gridtwin.data.rules import LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU, VoltageRule
from gridtwin.errors import Finding
from gridtwin.grid.twin import GridTwin
from gridtwin.operate.contributors import Contributions, find_contributions, name_contributors
from gridtwin.operate.orientation import find_orientation
from gridtwin.operate.power_flow import PowerFlow
from gridtwin.operate.voltage_windows import WHOLE_PERIOD, Window, list_windows, share_within_band

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOST_EXPLAINED_STEPS = 40
"""Worst steps whose contributors are worked out, two power flows per asset each."""
PERCENTILES = (50, 95, 99, 100)

COLUMNS = {
    "asset": "object", "element": "object", "quantity": "object", "rule": "object", "limit": "float64",
    "unit": "object", "direction": "object", "probability": "float64", "worst_value": "float64",
    "worst_time": "datetime64[ns]", "worst_path": "int64", "hours_over": "float64", "energy_over_mwh": "float64",
    "events": "float64", "longest_event_h": "float64", "share_in_band": "float64", "window": "object",
    "p50": "float64", "p95": "float64", "p99": "float64", "p100": "float64", "contributors": "object",
}  # fmt: skip


@dataclass(frozen=True)
class _Watch:
    """One limit of one asset, seen in every path and step."""

    asset: str
    element: str
    quantity: str
    rule: str
    limit: float
    unit: str
    direction: str
    values: Floats
    """The quantity, NaN where unknown. (path, time)"""
    over: Mask
    """Where the limit is exceeded. (path, time)"""
    broken: Mask
    """In which paths the rule is broken. (path,)"""
    s_rated_mva: float = np.nan
    share_in_band: float = np.nan
    window: str = ""

    @property
    def sense(self) -> int:
        """+1 where larger is worse, -1 for low voltages."""
        return -1 if self.direction == "low" else 1

    @property
    def worst(self) -> tuple[int, int]:
        """Path and step of the worst value among those over the limit."""
        badness = np.where(self.over, self.sense * self.values, -np.inf)
        path, step = np.unravel_index(int(badness.argmax()), badness.shape)
        return int(path), int(step)


def find_congestions(twin: GridTwin, power_flow: PowerFlow, profiles: Profiles | None = None) -> pd.DataFrame:
    """One row per asset, rule and direction that is broken in any path.

    Parameters
    ----------
    twin : GridTwin
        Its branches and buses carry the limits, its rules the statistical bands.
    power_flow : PowerFlow
        Results of `run_power_flow`, (path, time, …).
    profiles : Profiles, optional
        What was fed into it; needed to name contributors.

    Returns
    -------
    DataFrame
        Most probable first, then by the relative excess over the limit. Columns:

        - `asset`, `element` (line, trafo, trafo3w, impedance, bus), `quantity`
          (`loading_percent` or `vm_pu`), `rule`, `limit`, `unit` of limit, worst value and percentiles;
        - `direction`: a branch is loaded by "load" (away from the upstream network) or "feed-in",
          a voltage is "low" or "high"; of a statistical band the side that is left more often;
        - `probability`: share of paths in which the rule is broken at any time; a path that holds
          unsolved steps and breaks nothing elsewhere is left out of the count, as it is not known to be fine;
        - `worst_value`, `worst_time` (UTC), `worst_path`: over all paths;
        - `hours_over` [h], `events` (uninterrupted runs over the limit): mean over paths;
          `longest_event_h`: longest of any path [h];
        - `energy_over_mwh`: apparent power above the limit times hours, mean over paths [MVAh at rated
          voltage]; NaN for voltages, where no energy would undo the violation by itself, and unrated branches;
        - `share_in_band`, `window`: for a statistical rule the smallest share of time within the band
          of any window and path, and that window; NaN and empty for others;
        - `p50`, `p95`, `p99`, `p100`: percentiles over time within a path, then the mean over paths.
          They count towards the violation: of low voltages `p95` is undercut in 5 % of the time; of a
          branch, flow in the other direction counts as 0;
        - `contributors`: up to five assets with their shares in the flow or voltage change of the worst step.

        `attrs["findings"]` repeats `check_congestion_data` as text.

    Notes
    -----
    Unknown values (NaN) are never over a limit and never within it.
    """
    watches = [watch for watch in _watch_all(twin, power_flow) if watch.broken.any()]
    rows = [_measure(watch, power_flow) for watch in watches]
    order = sorted(range(len(rows)), key=lambda k: (-rows[k]["probability"], -_excess(watches[k])))
    explained = _explain(twin, profiles, power_flow, [watches[k] for k in order])
    table = pd.DataFrame([rows[k] | {"contributors": text} for k, text in zip(order, explained, strict=True)])
    table = table.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    table.attrs["findings"] = [str(finding) for finding in check_congestion_data(twin, power_flow)]
    return table


def congestion_probability(twin: GridTwin, power_flow: PowerFlow) -> xr.Dataset:
    """Share of paths over a limit in each step.

    Returns
    -------
    Dataset
        `p_overload` (time, branch) and `p_voltage` (time, bus) [-]: shares of the
        paths with a known value; NaN where no path has one. Planning limits only:
        a statistical rule cannot be broken by a single step.
    """
    loading, vm_pu = power_flow["loading_percent"], power_flow["vm_pu"]
    limit = _label(twin.branches["max_loading_percent"], "branch", loading)
    low, high = (_label(twin.buses[column], "bus", vm_pu) for column in ("vm_min_pu", "vm_max_pu"))
    overload = loading > limit + LOADING_TOLERANCE_PERCENT
    outside = (vm_pu < low - VOLTAGE_TOLERANCE_PU) | (vm_pu > high + VOLTAGE_TOLERANCE_PU)
    shares = {
        "p_overload": overload.where(loading.notnull()).mean("path"),
        "p_voltage": outside.where(vm_pu.notnull()).mean("path"),
    }
    units = {"units": "1", "description": "share of paths over the limit"}
    return xr.Dataset({name: share.assign_attrs(units) for name, share in shares.items()}, attrs=power_flow.attrs)


def check_congestion_data(twin: GridTwin, power_flow: PowerFlow, profiles: Profiles | None = None) -> list[Finding]:
    """What a reader of the congestions must know: unsolved steps, dark buses, averaging, short periods.

    With the profiles behind the power flow an unsolved step also names its largest power.
    """
    return [*_check_status(twin, power_flow, profiles), *_check_supply(power_flow), *_check_windows(twin, power_flow)]


def _watch_all(twin: GridTwin, flow: PowerFlow) -> Iterator[_Watch]:
    yield from _watch_loadings(twin, flow)
    yield from _watch_voltages(twin, flow)
    yield from _watch_shares(twin, flow)


def _watch_loadings(twin: GridTwin, flow: PowerFlow) -> Iterator[_Watch]:
    """Branches over their limit, by the direction of the flow."""
    loading = flow["loading_percent"].to_numpy()
    branches = twin.branches.loc[flow["branch"].to_numpy()]
    orientation = pd.Series(find_orientation(twin), index=twin.branches.index)[branches.index].to_numpy()
    feeds_in = flow["p_branch_mw"].to_numpy() * orientation < 0
    over = loading > branches["max_loading_percent"].to_numpy() + LOADING_TOLERANCE_PERCENT
    for k in np.flatnonzero(over.any(axis=(0, 1))):
        branch = branches.iloc[k]
        for direction, runs_so in (("load", ~feeds_in[:, :, k]), ("feed-in", feeds_in[:, :, k])):
            values = np.where(np.isnan(loading[:, :, k]) | runs_so, loading[:, :, k], 0.0)
            breaks = over[:, :, k] & runs_so
            yield _Watch(
                str(branch.name), branch["element"], "loading_percent", _name_loading_rule(twin, branch),
                float(branch["max_loading_percent"]), "%", direction, values, breaks, np.asarray(breaks.any(axis=1)),
                s_rated_mva=float(branch["s_rated_mva"]),
            )  # fmt: skip


def _watch_voltages(twin: GridTwin, flow: PowerFlow) -> Iterator[_Watch]:
    """Buses outside their planning band."""
    vm_pu = flow["vm_pu"].to_numpy()
    buses = twin.buses.loc[flow["bus"].to_numpy()]
    for direction, column, sense in (("low", "vm_min_pu", -1.0), ("high", "vm_max_pu", 1.0)):
        over = sense * (vm_pu - buses[column].to_numpy()) > VOLTAGE_TOLERANCE_PU
        for k in np.flatnonzero(over.any(axis=(0, 1))):
            bus, limit = buses.iloc[k], float(buses[column].iloc[k])
            rule = _name_voltage_rule(twin, float(bus["vn_kv"]), column, limit)
            breaks = over[:, :, k]
            yield _Watch(
                str(bus.name),
                "bus",
                "vm_pu",
                rule,
                limit,
                "pu",
                direction,
                vm_pu[:, :, k],
                breaks,
                np.asarray(breaks.any(axis=1)),
            )


def _watch_shares(twin: GridTwin, flow: PowerFlow) -> Iterator[_Watch]:
    """Buses that leave the band of a statistical rule for too long."""
    vm_pu = flow["vm_pu"].to_numpy()
    levels = twin.buses["vn_kv"].loc[flow["bus"].to_numpy()].to_numpy()
    windows = list_windows(flow)
    for level in np.unique(levels):
        for rule in twin.rules.statistical_rules(float(level)):
            outside = (vm_pu < rule.vm_min_pu - VOLTAGE_TOLERANCE_PU) | (vm_pu > rule.vm_max_pu + VOLTAGE_TOLERANCE_PU)
            for k in np.flatnonzero(outside.any(axis=(0, 1)) & (levels == level)):
                yield _watch_share(str(flow["bus"].to_numpy()[k]), rule, vm_pu[:, :, k], outside[:, :, k], windows)


def _watch_share(bus: str, rule: VoltageRule, vm_pu: Floats, outside: Mask, windows: list[Window]) -> _Watch:
    """The statistical rule at one bus; the side that is left more often names direction and limit."""
    shares = np.array([share_within_band(vm_pu, outside, window) for window in windows])
    low = outside & (vm_pu < rule.vm_min_pu)
    direction = "low" if low.sum() * 2 >= outside.sum() else "high"
    limit = rule.vm_min_pu if direction == "low" else rule.vm_max_pu
    # Comparing counts would be exact; the tolerance stands for the division.
    broken = np.asarray((shares < rule.share_of_time - 1e-12).any(axis=0))
    worst = int(np.unravel_index(np.nanargmin(shares), shares.shape)[0])
    return _Watch(
        bus, "bus", "vm_pu", rule.name, limit, "pu", direction, vm_pu, outside, broken,
        share_in_band=float(np.nanmin(shares)), window=windows[worst].name,
    )  # fmt: skip


def _name_loading_rule(twin: GridTwin, branch: pd.Series) -> str:
    """The rule that the limit comes from, as the twin keeps only the smallest."""
    limit, element = branch["max_loading_percent"], branch["element"]
    rules = [rule.name for rule in twin.rules.loading if (rule.element, rule.max_loading_percent) == (element, limit)]
    return rules[0] if rules else "loading limit of the network"


def _name_voltage_rule(twin: GridTwin, vn_kv: float, column: str, limit: float) -> str:
    rules = [rule for rule in twin.rules.voltage if rule.covers(vn_kv) and rule.window == "instant"]
    return next((rule.name for rule in rules if getattr(rule, column) == limit), "voltage limit of the network")


def _measure(watch: _Watch, flow: PowerFlow) -> dict[str, Any]:
    """One row of the table, contributors excepted."""
    hours = hours_per_step(flow)
    path, step = watch.worst
    runs = [_run_lengths(over) for over in watch.over]
    excess = np.where(watch.over, watch.values - watch.limit, 0.0)
    energy = excess.sum(axis=1).mean() / 100 * watch.s_rated_mva * hours
    return {
        "asset": watch.asset,
        "element": watch.element,
        "quantity": watch.quantity,
        "rule": watch.rule,
        "limit": watch.limit,
        "unit": watch.unit,
        "direction": watch.direction,
        "probability": _share_of_known_paths(watch.broken, flow),
        "worst_value": watch.values[path, step],
        "worst_time": flow["time"].to_numpy()[step],
        "worst_path": flow["path"].to_numpy()[path],
        "hours_over": watch.over.sum(axis=1).mean() * hours,
        "energy_over_mwh": energy,
        "events": np.mean([len(lengths) for lengths in runs]),
        "longest_event_h": max(lengths.max(initial=0) for lengths in runs) * hours,
        "share_in_band": watch.share_in_band,
        "window": watch.window,
        **_percentiles(watch),
    }


def hours_per_step(dataset: xr.Dataset) -> float:
    """Length of one interval, also of a dataset with a single one. [h]"""
    if "step" in dataset.attrs:
        return float(pd.Timedelta(dataset.attrs["step"]) / pd.Timedelta(hours=1))
    return axis_of(dataset).hours_per_step


def _share_of_known_paths(broken: Mask, flow: PowerFlow) -> float:
    """Share of paths that break the rule among those that break it or were solved in every step. [-]"""
    solved = (flow["status"].to_numpy() == 0).all(axis=1)
    return float(broken.sum() / (broken | solved).sum())


def _run_lengths(over: Mask) -> NDArray[np.int64]:
    """Lengths of the uninterrupted runs of True.

    >>> _run_lengths(np.array([True, True, False, True]))
    array([2, 1])
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], over, [False]])))
    return edges[1::2] - edges[::2]


def _percentiles(watch: _Watch) -> dict[str, float]:
    """Percentiles over time in each path, counted towards the violation, then the mean over paths."""
    known = watch.values[np.isfinite(watch.values).any(axis=1)]
    badness = np.nanpercentile(watch.sense * known, PERCENTILES, axis=1).mean(axis=1)
    return {f"p{share}": watch.sense * value for share, value in zip(PERCENTILES, badness, strict=True)}


def _excess(watch: _Watch) -> float:
    """Distance of the worst value from the limit, relative to the limit. [-]"""
    return float(watch.sense * (watch.values[watch.worst] - watch.limit) / watch.limit)


def _explain(twin: GridTwin, profiles: Profiles | None, flow: PowerFlow, watches: list[_Watch]) -> list[str]:
    """Contributors at the worst step of each watch; empty without profiles and after the most severe steps."""
    known: dict[tuple[int, int], Contributions] = {}
    texts = []
    for watch in watches:
        if profiles is None or (watch.worst not in known and len(known) >= MOST_EXPLAINED_STEPS):
            texts.append("")
            continue
        if watch.worst not in known:
            known[watch.worst] = find_contributions(twin, _select_step(profiles, flow, *watch.worst))
        texts.append(name_contributors(_towards_violation(watch, known[watch.worst], flow)))
    return texts


def _select_step(profiles: Profiles, flow: PowerFlow, path: int, step: int) -> Profiles:
    chosen = profiles.sel(time=flow["time"].to_numpy()[[step]])
    return chosen.sel(path=flow["path"].to_numpy()[path]) if "path" in profiles.dims else chosen


def _towards_violation(watch: _Watch, contributions: Contributions, flow: PowerFlow) -> pd.Series:
    if watch.quantity == "vm_pu":
        return contributions.vm_pu[watch.asset] * watch.sense
    path, step = watch.worst
    p_mw = float(flow["p_branch_mw"].sel(branch=watch.asset).to_numpy()[path, step])
    return contributions.p_branch_mw[watch.asset] * float(np.sign(p_mw))


def _label(limits: pd.Series, dim: str, values: xr.DataArray) -> xr.DataArray:
    """Limits of the twin as an array over the labels of a power flow."""
    names = values[dim].to_numpy()
    return xr.DataArray(limits[names].to_numpy(dtype=float), dims=dim, coords={dim: names})


def _check_status(twin: GridTwin, flow: PowerFlow, profiles: Profiles | None) -> list[Finding]:
    status = flow["status"].to_numpy()
    findings = []
    for code, what in ((1, "did not converge"), (2, "had gaps in their input")):
        paths, steps = np.nonzero(status == code)
        if len(steps):
            earliest = int(steps.argmin())
            first = pd.Timestamp(flow["time"].to_numpy()[steps[earliest]])
            at = {"path": int(paths[earliest]), "time": int(steps[earliest])}
            findings.append(
                Finding(
                    f"{len(steps)} of {status.size} steps {what}: they were not judged and do not count as fine",
                    where=f"power flow, first at {first} UTC, in {len(set(paths.tolist()))} paths",
                    got=_name_largest(twin, profiles, at) if profiles is not None else "",
                    do="A step without a solution may be a voltage collapse: look at it." if code == 1 else "",
                    code="GT-K01",
                )
            )
    return findings


def _name_largest(twin: GridTwin, profiles: Profiles, at: dict[str, int]) -> str:
    """The power that stands out most against its rating at one path and step, or the asset without a value."""
    p_mw = profiles["p_mw"].isel({dim: place for dim, place in at.items() if dim in profiles["p_mw"].dims}).to_series()
    if p_mw.isna().any():
        return f"no value of {p_mw.index[p_mw.isna()][0]}"
    largest = str((p_mw.abs() / twin.assets["p_rated_mw"].reindex(p_mw.index)).idxmax())
    rated = float(twin.assets["p_rated_mw"][largest])
    return f"there {largest} at {1e3 * p_mw[largest]:.4g} kW, rated {1e3 * rated:.4g} kW"


def _check_supply(flow: PowerFlow) -> list[Finding]:
    dark = list(flow.attrs.get("unsupplied_buses", []))
    if not dark:
        return []
    named = ", ".join(map(str, dark[:5])) + (f" and {len(dark) - 5} more" if len(dark) > 5 else "")
    return [Finding(f"{len(dark)} buses have no supply and were not judged", where=f"bus {named}", code="GT-K02")]


def _check_windows(twin: GridTwin, flow: PowerFlow) -> list[Finding]:
    """Where a statistical rule was judged by less than it asks for."""
    levels = twin.buses["vn_kv"].unique()
    rules = {rule.name: rule for level in levels for rule in twin.rules.voltage if rule.covers(float(level))}
    weekly = ", ".join(name for name, rule in rules.items() if rule.window == "week")
    findings = []
    if weekly and list_windows(flow)[0].name == WHOLE_PERIOD:
        findings.append(
            Finding(
                "no whole calendar week was studied: the share of time is taken over the studied period",
                where=weekly,
                severity="info",
                code="GT-K03",
            )
        )
    minutes = 60 * hours_per_step(flow)
    coarse = [name for name, rule in rules.items() if minutes > rule.averaging_minutes]
    if coarse:
        findings.append(
            Finding(
                f"{minutes:g}-minute means stand for shorter ones, which makes the check slightly lenient",
                where=", ".join(coarse),
                severity="info",
                code="GT-K04",
            )
        )
    return findings
