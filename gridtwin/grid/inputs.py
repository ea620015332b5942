"""Everything a study reads, brought together: twin, profiles, sessions, weather, prices, measurement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.growth_profiles import GrowthProfiles, build_growth_profiles
from gridtwin.data.profiles import Profiles, axis_of, build_profiles, join_profiles
from gridtwin.data.rules import read_rules
from gridtwin.data.series_file import read_feeder_head, read_prices, read_profile_files, read_weather
from gridtwin.errors import DataError, Finding, GridtwinError, ScenarioError
from gridtwin.grid.growth import place_growth
from gridtwin.grid.network_files import NetworkSource, read_network_and_profiles
from gridtwin.grid.twin import GridTwin, build_twin, name_assets
from gridtwin.scenario import Growth, Network, Observation, ProfileSource, SeriesFile
from gridtwin.time_axis import TimeAxis, utc_of_local

Place = Callable[..., str]
T = TypeVar("T")


@dataclass(frozen=True)
class StudyInputs:
    """What a study knows about its network, its past and, at the end, what really happened.

    Parameters
    ----------
    twin : GridTwin
        Network, assets, limits and rules.
    profiles : Profiles
        Power of every asset over the whole data period.
    declared, realised : DataFrame
        Charging sessions as announced at issue time, and as they came.
    weather, prices : Dataset or None
        On the axis of the profiles and of the studied days.
    feeder_head : Dataset or None
        Measured power into the network before the first issue.
    unmetered : tuple of str
        Kinds of assets that are scaled to the measurement.
    findings : tuple of Finding
        Everything that was noticed or repaired on the way.
    """

    twin: GridTwin
    profiles: Profiles
    declared: pd.DataFrame
    realised: pd.DataFrame
    weather: xr.Dataset | None
    prices: xr.Dataset | None
    feeder_head: xr.Dataset | None
    unmetered: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_inputs(
    network: Network,
    profiles: ProfileSource,
    studied: TimeAxis,
    *,
    weather: SeriesFile | None,
    prices: SeriesFile | None,
    observe: Observation | None,
    growth: Sequence[Growth],
    issue: dt.time,
    seed: int,
    folder: Path,
    place: Place,
) -> StudyInputs:
    """Read the network with its profiles, add the growth, and lay everything on one time axis.

    Raises
    ------
    ScenarioError
        With every fault of every file at once; `place(key, ...)` names the scenario key of each.
    """
    reading = Reading(place)
    rules = reading("network", lambda: read_rules(network.rules, folder))
    source = reading("network", lambda: read_network_and_profiles(network.source, folder))
    day_ahead = reading("prices", lambda: prices and read_prices(prices, studied, folder))
    head = reading("observe", lambda: observe and read_feeder_head(observe.feeder_head, folder))
    own = reading("profiles", lambda: source and read_own_profiles(source, profiles, studied.zone, folder))
    axis = axis_of(own) if own is not None else studied
    reading("time", lambda: own is not None and check_horizon(axis, studied))
    temperature = reading("weather", lambda: weather and read_weather(weather, axis, folder))
    net = reading("growth", lambda: source and place_growth(source.net, growth, seed=seed))
    reading.raise_faults()
    assert source and rules and own is not None

    twin = build_twin(net, rules=rules, max_loading_percent=network.max_loading_percent)
    grown = build_growth_profiles(twin.assets[twin.assets["origin"] == "growth"], axis, temperature or None, seed=seed)
    return StudyInputs(
        twin=twin,
        profiles=_in_order_of(twin, own, grown),
        declared=grown.declared,
        realised=grown.realised,
        weather=temperature or None,
        prices=day_ahead or None,
        feeder_head=_before_issue(head, studied, issue) if head else None,
        unmetered=observe.unmetered if observe else (),
        findings=(*source.findings, *twin.findings),
    )


class Reading:
    """Reads one input after another and keeps every fault, so that all are told at once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._faults: list[Finding] = []

    def __call__(self, key: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None, with the fault kept, where it raises."""
        try:
            return read()
        except GridtwinError as error:
            self._faults += [self._located(key, fault) for fault in error.findings]
            return None

    def raise_faults(self) -> None:
        """Raise one error with all faults, if there are any."""
        if self._faults:
            raise ScenarioError(self._faults)

    def _located(self, key: str, fault: Finding) -> Finding:
        where = f"{self._place(key)}: {fault.where}" if fault.where else self._place(key)
        return replace(fault, where=where, severity="error")


def check_horizon(axis: TimeAxis, studied: TimeAxis) -> None:
    """Raise `DataError` unless the studied days lie within the data."""
    if axis.start <= studied.start and studied.end <= axis.end:
        return
    days = axis.local_days
    raise DataError(
        [
            Finding(
                "the studied days lie outside the profiles",
                expected=f"days from {days[0]} to {days[-1]}" if days else "profiles of at least one whole day",
                got=f"{studied.local_days[0]} to {studied.local_days[-1]}",
                severity="error",
                code="GT-D05",
            )
        ]
    )


def read_own_profiles(source: NetworkSource, profiles: ProfileSource, zone: str, folder: Path) -> Profiles:
    """Profiles of the network's own assets: those that came with it, replaced by the user's files where given."""
    raise NotImplementedError


def _in_order_of(twin: GridTwin, own: Profiles, grown: GrowthProfiles) -> Profiles:
    """All profiles side by side in the order of the twin's assets."""
    parts = [own, grown.profiles] if grown.profiles.sizes["asset"] else [own]
    return join_profiles(parts).sel(asset=twin.assets.index.to_numpy(dtype=str))


def _before_issue(head: xr.Dataset, studied: TimeAxis, issue: dt.time) -> xr.Dataset:
    """The part of a measurement that is known when the first forecast is issued."""
    day_before = studied.local_days[0] - dt.timedelta(days=1)
    moment = utc_of_local(dt.datetime.combine(day_before, issue), studied.zone)
    return head.isel(time=np.flatnonzero(head.indexes["time"] < moment))
