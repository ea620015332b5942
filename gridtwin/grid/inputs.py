"""Everything a study reads, brought together: twin, profiles, sessions, weather, prices, measurement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gridtwin.data.data_centre import list_jobs
from gridtwin.data.data_centre_profiles import build_data_centre_profiles, check_data_centres
from gridtwin.data.growth_profiles import build_growth_profiles
from gridtwin.data.profile_files import naming_file, read_profile_files
from gridtwin.data.profiles import Profiles, axis_of, build_profiles, join_profiles
from gridtwin.data.rules import RuleSet, read_rules
from gridtwin.data.series_file import read_feeder_head, read_prices, read_series, read_weather
from gridtwin.errors import DataError, Finding, GridtwinError
from gridtwin.forecast.history import history_length
from gridtwin.forecast.point_models import check_model
from gridtwin.grid.connection_buses import check_connection_buses
from gridtwin.grid.data_centres import place_data_centres
from gridtwin.grid.growth import place_growth
from gridtwin.grid.issued_inputs import check_given, check_once, forecast_axis, read_issued, side_by_side
from gridtwin.grid.network_files import NetworkSource, read_network_and_profiles
from gridtwin.grid.reading import Place, Reading
from gridtwin.grid.simbench import read_simbench
from gridtwin.grid.snapshot import PSEUDO
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.scenario import (
    Connection,
    Forecast,
    Growth,
    Network,
    Observation,
    ProfileFile,
    ProfileSource,
    SeriesFile,
)
from gridtwin.scenario_data_centre import DataCentre
from gridtwin.time_axis import QUARTER_HOUR, TimeAxis, utc_of_local

NO_RULES = RuleSet(name="none", title="no rules", source="", version="")
"""Stands in for rules that could not be read, so that the other inputs are checked in the same go."""


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
    jobs : DataFrame
        Batch jobs of data centres, see `data_centre.JOB_COLUMNS`.
    weather, prices : Dataset or None
        On the axis of the profiles and of the studied days.
    forecast_weather : DataFrame or None
        What was forecast of the weather, (time, variable), over the history and the studied days.
    given_forecasts : DataFrame or None
        Forecasts of assets by others, (time, asset), over the same days. [MW]
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
    jobs: pd.DataFrame
    weather: xr.Dataset | None
    prices: xr.Dataset | None
    forecast_weather: pd.DataFrame | None
    given_forecasts: pd.DataFrame | None
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
    data_centre: Sequence[DataCentre] = (),
    connection: Sequence[Connection],
    forecast: Forecast,
    issue: dt.time,
    seed: int,
    folder: Path,
    place: Place,
) -> StudyInputs:
    """Read the network with its profiles, add growth and data centres, and lay everything on one time axis.

    What a later stage would refuse is found here too, before anything is computed.

    Raises
    ------
    ScenarioError
        With every fault of every file at once; `place(key, ...)` names the scenario key of each.
    """
    reading = Reading(place)
    rules = reading("network.rules", lambda: read_rules(network.rules, folder))
    source = reading("network.source", lambda: read_network_and_profiles(network.source, folder))
    given = reading("profiles", lambda: read_given_profiles(source, profiles, studied, folder)) if source else None
    axis = given.axis if given else studied
    day_ahead = reading("prices", lambda: read_prices(prices, studied, folder)) if prices else None
    temperature = reading("weather", lambda: read_weather(weather, axis, folder)) if weather else None
    head = reading("observe.feeder_head", lambda: read_head(observe.feeder_head, axis, folder)) if observe else None
    if given:
        reading("time.first_day", lambda: check_horizon(axis, studied, forecast))
    reading("forecast.model", lambda: check_model(forecast.model, forecast.arguments))
    asked = given and (forecast.weather or forecast.given)
    horizon = reading("time.first_day", lambda: forecast_axis(axis, studied, forecast)) if asked else None
    foreseen, told = (
        read_issued(reading, key, horizon, issue=issue, folder=folder, sections=sections)
        for key, sections in (("forecast.weather", forecast.weather), ("forecast.given", forecast.given))
    )
    twin = None
    if source:
        twin = read_twin(reading, network, source, rules, growth=growth, data_centre=data_centre, seed=seed)
    own = None
    if twin and given:
        reading("connection", lambda: check_connection_buses(twin, connection))
        assets = twin.assets[twin.assets["origin"] == "network"]
        reading("forecast.given", lambda: check_given(twin.assets.index, told))
        reading("forecast.weather", lambda: check_once(foreseen))
        own = reading("profiles", lambda: read_own_profiles(assets, given, profiles.file, folder))
    reading.raise_faults()
    assert source and twin and own

    grown = build_growth_profiles(twin.assets[twin.assets["origin"] == "growth"], axis, temperature, seed=seed)
    computing = twin.assets[twin.assets["origin"] == "data_centre"]
    computed = build_data_centre_profiles(data_centre, computing, axis, seed=seed)
    cut = check_data_centres(data_centre, axis, seed=seed)
    return StudyInputs(
        twin=twin,
        profiles=_in_order_of(twin, own.profiles, grown.profiles, computed),
        declared=grown.declared,
        realised=grown.realised,
        jobs=list_jobs(data_centre, studied.zone),
        weather=temperature,
        prices=day_ahead,
        forecast_weather=side_by_side(foreseen),
        given_forecasts=side_by_side(told),
        feeder_head=_before_issue(head, studied, issue) if head is not None else None,
        unmetered=observe.unmetered if observe else (),
        findings=(*source.findings, *twin.findings, *own.findings, *cut, *_noticed(temperature, day_ahead, head),
                  *(finding for series in (*foreseen, *told) for finding in series.findings)),
    )


def read_twin(
    reading: Reading,
    network: Network,
    source: NetworkSource,
    rules: RuleSet | None,
    *,
    growth: Sequence[Growth],
    data_centre: Sequence[DataCentre],
    seed: int,
) -> GridTwin | None:
    """The twin with its growth and data centres.

    Where these or rules are at fault, that of today's network without rules: what
    names its buses and assets can then be checked in the same go.
    """
    grown = reading("growth", lambda: place_growth(source.net, growth, seed=seed))
    grown = source.net if grown is None else grown
    sited = reading("data_centre", lambda: place_data_centres(grown, data_centre))
    net, limit = grown if sited is None else sited, network.max_loading_percent
    return reading("network", lambda: build_twin(net, rules=rules or NO_RULES, max_loading_percent=limit))


def read_head(section: SeriesFile, axis: TimeAxis, folder: Path) -> xr.Dataset:
    """The measurement at the feeder head; its step must be that of the profiles."""
    head = read_feeder_head(section, folder)
    step = pd.Timedelta(head.attrs["step"])
    if step == axis.step:
        return head
    raise DataError(
        [
            Finding(
                "the measurement has another step than the profiles",
                where=str(folder / section.file),
                expected=f"{axis.step / pd.Timedelta(minutes=1):g} min",
                got=f"{step / pd.Timedelta(minutes=1):g} min",
                severity="error",
                code="GT-D43",
            )
        ]
    )


def check_horizon(axis: TimeAxis, studied: TimeAxis, forecast: Forecast) -> None:
    """Raise `DataError` unless the studied days, and enough days before them to learn from, lie within the data."""
    if axis.start <= studied.start and studied.end <= axis.end:
        history_length(axis.start, studied.local_days, forecast, zone=studied.zone)
        return
    days = axis.local_days
    raise DataError(
        [
            Finding(
                "the studied days lie outside the profiles",
                expected=f"days from {days[0]} to {days[-1]}" if days else "profiles of at least one whole day",
                got=f"{studied.local_days[0]} to {studied.local_days[-1]}",
                severity="error",
                code="GT-D40",
            )
        ]
    )


@dataclass(frozen=True, eq=False)
class GivenProfiles:
    """Profiles that came with the network, None where it has none, and the axis of all profiles."""

    profiles: Profiles | None
    axis: TimeAxis


def read_given_profiles(
    source: NetworkSource, section: ProfileSource, studied: TimeAxis, folder: Path
) -> GivenProfiles:
    """Profiles of the network or of another source; without either, the first file of the user gives the axis.

    Raises
    ------
    DataError
        If there are neither profiles nor files, or the first file cannot be read.
    """
    profiles = _read_profile_source(section.source) if section.source else source.profiles
    if profiles is None:
        return GivenProfiles(None, _axis_of_files(section, studied.zone, folder))
    # stamps are UTC: the zone only says where local days begin, and there the study decides
    profiles = profiles.assign_attrs(zone=studied.zone)
    return GivenProfiles(profiles, axis_of(profiles))


def _read_profile_source(code: str) -> Profiles:
    try:
        return read_simbench(code)[1]
    except GridtwinError as error:
        raise DataError([replace(fault, where=f"profiles.source: {fault.where}") for fault in error.findings]) from None


@dataclass(frozen=True, eq=False)
class OwnProfiles:
    """Profiles of the network's own assets, and what was noticed in the user's files."""

    profiles: Profiles
    findings: tuple[Finding, ...]


def read_own_profiles(
    assets: pd.DataFrame, given: GivenProfiles, sections: Sequence[ProfileFile], folder: Path
) -> OwnProfiles:
    """Profiles that came with the network, with the user's series in their place where there are any.

    Parameters
    ----------
    assets : DataFrame
        The network's own assets: index name, columns `element`, `index`, `kind`.
    given : GivenProfiles
        Profiles that came with the network, and the axis.
    sections : sequence of ProfileFile
        The user's files.
    folder : Path
        Folder of relative paths.

    Raises
    ------
    DataError
        If an asset other than a battery has no profile, or a file cannot be read.
    """
    axis = given.axis
    files = read_profile_files(sections, axis, folder, assets=assets.index)
    known = None if given.profiles is None else given.profiles.reindex(asset=assets.index.to_numpy(dtype=str))
    p_mw, q_mvar, quality = (_table_of(known, name, axis, assets) for name in ("p_mw", "q_mvar", "quality"))
    for table, own in ((p_mw, files.p_mw), (q_mvar, files.q_mvar), (quality, files.quality)):
        table[own.columns] = own.to_numpy()
    idle = _let_batteries_idle(assets, p_mw, q_mvar, quality)
    _check_complete(p_mw)
    profiles = build_profiles(axis, assets, p_mw.to_numpy(), q_mvar.to_numpy(), quality=quality.to_numpy(dtype=np.int8))
    return OwnProfiles(profiles, (*files.findings, *idle))


def _axis_of_files(section: ProfileSource, zone: str, folder: Path) -> TimeAxis:
    """Quarter hours over the first of the user's files."""
    if not section.file:
        raise DataError(
            [
                Finding(
                    "the network comes without profiles and none are given",
                    expected="[[profiles.file]] or profiles.source",
                    severity="error",
                    code="GT-D41",
                )
            ]
        )
    with naming_file(0):
        own = read_series(section.file[0], base=folder).axis
    return TimeAxis(own.start, QUARTER_HOUR, round((own.end - own.start) / QUARTER_HOUR), zone)


def _table_of(known: Profiles | None, name: str, axis: TimeAxis, assets: pd.DataFrame) -> pd.DataFrame:
    values = known[name].to_numpy().astype(float) if known is not None else np.nan
    return pd.DataFrame(values, index=axis.times, columns=assets.index)


def _let_batteries_idle(assets: pd.DataFrame, *tables: pd.DataFrame) -> list[Finding]:
    """Batteries without a series of their own are idle in the base case, with quality `pseudo`."""
    idle = assets.index[(assets["kind"] == "battery") & tables[0].isna().all()]
    for table, value in zip(tables, (0.0, 0.0, PSEUDO), strict=True):
        table[idle] = value
    if not len(idle):
        return []
    got = ", ".join(idle[:5])
    return [Finding("batteries without a series are idle in the base case", "profiles", got=got, code="GT-D44")]


def _check_complete(p_mw: pd.DataFrame) -> None:
    bare = p_mw.columns[p_mw.isna().all()]
    if len(bare):
        raise DataError(
            [
                Finding(
                    f"{len(bare)} assets of the network have no profile",
                    expected="a column of that name in [[profiles.file]]",
                    got=", ".join(bare[:5]),
                    severity="error",
                    code="GT-D42",
                )
            ]
        )


def _noticed(*series: xr.Dataset | None) -> list[Finding]:
    """What the readers of single series noticed."""
    return [finding for one in series if one is not None for finding in one.attrs.get("findings", ())]


def _in_order_of(twin: GridTwin, own: Profiles, *added: Profiles) -> Profiles:
    """All profiles side by side in the order of the twin's assets."""
    parts = [own, *(part for part in added if part.sizes["asset"])]
    return join_profiles(parts).sel(asset=twin.assets.index.to_numpy(dtype=str))


def _before_issue(head: xr.Dataset, studied: TimeAxis, issue: dt.time) -> xr.Dataset:
    """The part of a measurement that is known when the first forecast is issued."""
    day_before = studied.local_days[0] - dt.timedelta(days=1)
    moment = utc_of_local(dt.datetime.combine(day_before, issue), studied.zone)
    return head.isel(time=np.flatnonzero(head.indexes["time"] < moment))
