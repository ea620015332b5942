"""SimBench networks with their year of profiles, in the checked layout.

The complete data set of a scenario holds some hundred thousand rows; only the
rows of the wanted network and the profile columns in use are kept, before
anything is converted. A test holds the result against simbench's own loader.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simbench
from pandapower.auxiliary import pandapowerNet

from gridtwin.data.profiles import Profiles, ShapedProfiles, build_profiles, build_shaped_profiles
from gridtwin.data.quality import check_storage_energy
from gridtwin.errors import DataError, Finding, NetworkError
from gridtwin.grid.twin import name_assets
from gridtwin.nomenclature import QUALITY
from gridtwin.time_axis import QUARTER_HOUR, TimeAxis, to_utc

ZONE = "Europe/Berlin"
"""Zone of the stamps: 1 January 2016 begins at 00:00 local time, with summer time inside."""
STAMP_FORMAT = "%d.%m.%Y %H:%M"
LARGEST_PROFILES_GB = 4.0
"""A year of all assets beyond this is refused rather than left to the memory of the machine."""
PSEUDO = next(code for code, word in QUALITY.items() if word == "pseudo")
BOUNDARY_TABLES = frozenset(["Node", "Coordinates", "Measurement", "Switch", "Substation"])
"""Tables whose rows at the boundary of two subnets belong to both."""
KINDS = {
    "load": {
        "H0-": "household",
        "G": "commercial",
        "L": "agricultural",
        "HLS_": "electric_car",
        "APLS_": "electric_car",
        "Air_": "heat_pump",
        "Soil_": "heat_pump",
    },
    "sgen": {"PV": "pv", "WP": "wind"},
    "storage": {},
}
"""Beginning of a profile's name -> kind of the asset."""
OTHER_KINDS = {"load": "load", "sgen": "generator", "storage": "battery"}


def read_simbench(code: str) -> tuple[pandapowerNet, Profiles, list[Finding]]:
    """Read a SimBench network and its year of profiles.

    Parameters
    ----------
    code : str
        SimBench code such as `1-LV-semiurb4--2-sw`, with or without `simbench:` before it.

    Returns
    -------
    net : pandapowerNet
        The network with the columns `kind`, `origin`, `metered`, `flexible`, `p_rated_mw` and,
        for storages, `e_rated_mwh`. [MW], [MWh]
    profiles : Profiles, (time, asset)
        35,136 quarter hours from 2015-12-31 23:00 UTC, consumption positive; storages idle,
        with quality 4 (pseudo). [MW], [Mvar]
    findings : list of Finding
        What was repaired or left out.

    References
    ----------
    .. [1] S. Meinecke et al., SimBench - A Benchmark Dataset of Electric Power Systems to Compare
       Innovative Solutions Based on Power Flow Analysis, Energies 13(12), 2020, doi:10.3390/en13123290
    """
    code = _check_code(code.removeprefix("simbench:"))
    folder = Path(simbench.complete_data_path(code.split("-")[-2]))
    net = _read_net(code, folder)
    _check_size(net, code)
    relative = _read_relative(net, folder)
    axis = _read_axis(relative["LoadProfile"])
    findings = [_benchmark_series(code), *_repair_storages(net, relative, axis)]
    _add_asset_columns(net)
    return net, _scale_profiles(net, relative, axis, findings), findings


def _benchmark_series(code: str) -> Finding:
    return Finding(
        "benchmark series take the place of meters, with the quality code of measured values",
        where=f"simbench:{code}",
        severity="info",
        code="GT-D25",
    )


def _check_code(code: str) -> str:
    known = simbench.collect_all_simbench_codes()
    if code in known:
        return code
    near = difflib.get_close_matches(code, known, n=3)
    raise NetworkError(
        [
            Finding(
                "unknown SimBench code",
                where=f"simbench:{code}",
                expected=" or ".join(near or ["a code such as 1-LV-semiurb4--2-sw"]),
                got=code,
                severity="error",
                code="GT-N20",
            )
        ]
    )


def _read_net(code: str, folder: Path) -> pandapowerNet:
    """The pandapower net without profiles, equal to that of `simbench.get_simbench_net`."""
    tables = _read_tables(code, folder)
    simbench.filter_loadcases(tables)
    net = simbench.csv_data2pp(tables)
    if code.endswith("no_sw"):
        simbench.generate_no_sw_variant(net)
    return net


def _read_tables(code: str, folder: Path) -> dict[str, pd.DataFrame]:
    upper, lower = simbench.get_relevant_subnets(code, str(folder))
    uppers = {upper} if isinstance(upper, str) else set(upper)
    tables = {name: _read_table(folder, name) for name in simbench.csv_tablenames(["elements", "types", "cases"])}
    if "complete_data" not in uppers:
        nodes = tables["Node"].set_index("id")["type"]
        tables = {name: _rows_of(table, name, uppers, set(lower), nodes) for name, table in tables.items()}
    return tables | {name: pd.DataFrame(columns=["time"]) for name in simbench.csv_tablenames("profiles")}


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    table: pd.DataFrame = simbench.read_csv_data(str(folder), sep=";", tablename=name)
    return table


def _rows_of(table: pd.DataFrame, name: str, uppers: set[str], lowers: set[str], nodes: pd.Series) -> pd.DataFrame:
    """Rows of the wanted subnets. `subnet` reads `own` or `own_neighbour`; rules as in simbench."""
    if "subnet" not in table or table.empty:
        return table
    numbers, subnets = pd.factorize(table["subnet"])
    own, neighbour = zip(*((*str(subnet).split("_"), "")[:2] for subnet in subnets), strict=True)
    inside = pd.Series(own).isin(uppers | lowers).to_numpy()[numbers]
    from_below = pd.Series(neighbour).isin(uppers).to_numpy()[numbers]
    from_above = (pd.Series(own).isin(uppers) & pd.Series(neighbour).isin(lowers)).to_numpy()[numbers]
    if name not in BOUNDARY_TABLES:
        upwards = (pd.Series(own).isin(lowers) & pd.Series(neighbour).isin(uppers)).to_numpy()[numbers]
        wanted = inside & ~from_above & ~upwards
    elif name == "Switch":
        wanted = inside | (from_below & _joins_buses(table, nodes))
    elif name == "Measurement":
        at_bus = table[["element1", "element2"]].isna().any(axis=1).to_numpy()
        wanted = (inside | (from_below & at_bus)) & ~(from_above & ~at_bus)
    else:
        wanted = inside | from_below
    rows: pd.DataFrame = table.loc[wanted]
    return rows


def _joins_buses(switches: pd.DataFrame, nodes: pd.Series) -> np.ndarray:
    """Whether a switch joins two buses; otherwise one end is the auxiliary node of a branch."""
    ends = [switches[end].map(nodes).to_numpy() for end in ("nodeA", "nodeB")]
    joins: np.ndarray = (ends[0] != "auxiliary") & (ends[1] != "auxiliary")
    return joins


def _check_size(net: pandapowerNet, code: str) -> None:
    steps, bytes_per_value = 35_136, 17  # two floats and the quality code
    count = sum(len(net[element]) for element in OTHER_KINDS)
    gigabytes = steps * count * bytes_per_value / 1e9
    if gigabytes > LARGEST_PROFILES_GB:
        raise DataError(
            [
                Finding(
                    f"a year of {count} assets would take {gigabytes:.0f} GB",
                    where=f"simbench:{code}",
                    expected=f"at most {LARGEST_PROFILES_GB:g} GB",
                    do="Read it with read_simbench_shapes, or choose a network without its lower voltage level.",
                    severity="error",
                    code="GT-D21",
                )
            ]
        )


def _read_relative(net: pandapowerNet, folder: Path) -> dict[str, pd.DataFrame]:
    """Profiles relative to the rated power, only the columns in use. [-]"""
    wanted = {
        "LoadProfile": {f"{name}_{which}load" for name in _profile_names(net.load) for which in "pq"},
        "RESProfile": _profile_names(net.sgen),
        "PowerPlantProfile": _profile_names(net.sgen),
        "StorageProfile": _profile_names(net.storage),
    }
    read = {name: _read_columns(folder / f"{name}.csv", columns) for name, columns in wanted.items()}
    power_plants = read.pop("PowerPlantProfile").drop(columns="time", errors="ignore")
    read["RESProfile"] = pd.concat([read["RESProfile"], power_plants], axis=1)
    return read


def _profile_names(table: pd.DataFrame) -> set[str]:
    return set(table["profile"].dropna()) if "profile" in table else set()


def _read_columns(file: Path, columns: Iterable[str]) -> pd.DataFrame:
    if not file.is_file():
        return pd.DataFrame(columns=["time"])
    wanted = {"time", *columns}
    table: pd.DataFrame = pd.read_csv(file, sep=";", usecols=lambda column: column in wanted)
    return table


def _read_axis(load_profiles: pd.DataFrame) -> TimeAxis:
    """UTC axis of the local stamps; the hour in March that never was is missing, that in October doubled."""
    stamps = pd.DatetimeIndex(pd.to_datetime(load_profiles["time"], format=STAMP_FORMAT))
    return TimeAxis.of_index(to_utc(stamps, ZONE, step=QUARTER_HOUR), ZONE)


def _repair_storages(net: pandapowerNet, relative: dict[str, pd.DataFrame], axis: TimeAxis) -> list[Finding]:
    return _repair_efficiency(net.storage) + _check_storage_profiles(net.storage, relative["StorageProfile"], axis)


def _repair_efficiency(storages: pd.DataFrame) -> list[Finding]:
    """A percent column that holds fractions is multiplied by 100, in place."""
    if "efficiency_percent" not in storages:
        return []
    fraction = storages["efficiency_percent"].between(0, 1, inclusive="right")
    if not fraction.any():
        return []
    values = sorted(set(storages.loc[fraction, "efficiency_percent"]))
    storages.loc[fraction, "efficiency_percent"] *= 100
    return [
        Finding(
            f"the efficiency of {fraction.sum()} storages is a fraction in a percent column",
            where="storage: efficiency_percent",
            expected="a value above 1 %",
            got=", ".join(f"{value:g}" for value in values),
            do="Multiplied by 100.",
            code="GT-D22",
        )
    ]


def _check_storage_profiles(storages: pd.DataFrame, relative: pd.DataFrame, axis: TimeAxis) -> list[Finding]:
    """One finding if the storages' own profiles cannot be those of storages, with the figures of the first."""
    found = []
    for _, row in storages.iterrows():
        if row.get("profile") in relative:
            p_mw = relative[row["profile"]].to_numpy(dtype=float) * row["p_mw"]
            where = f"storage {row['name']!r}, profile {row['profile']}"
            found.append(check_storage_energy(p_mw, row["max_e_mwh"] - row["min_e_mwh"], axis.step, where=where))
    impossible = [finding for finding in found if finding is not None]
    if not impossible:
        return []
    first = impossible[0]
    do = f"True of {len(impossible)} of {len(storages)}: all idle unscheduled, our storage model schedules them."
    return [Finding(first.what, first.where, first.expected, first.got, do, first.severity, first.code)]


def _add_asset_columns(net: pandapowerNet) -> None:
    """Write what an asset is into the tables of the net, in place."""
    for element, kinds in KINDS.items():
        table = net[element]
        profile = table.get("profile", pd.Series(index=table.index, dtype=object))
        table["kind"] = [_kind_of(str(name), kinds, OTHER_KINDS[element]) for name in profile]
        table["origin"] = "network"
        table["metered"] = True
        table["flexible"] = False
        table["p_rated_mw"] = table["p_mw"].abs().where(table["p_mw"] != 0, table["sn_mva"]).astype(float)
    net.storage["e_rated_mwh"] = (net.storage["max_e_mwh"] - net.storage["min_e_mwh"]).astype(float)


def _kind_of(profile: str, kinds: dict[str, str], other: str) -> str:
    return next((kind for beginning, kind in kinds.items() if profile.startswith(beginning)), other)


def _scale_profiles(
    net: pandapowerNet, relative: dict[str, pd.DataFrame], axis: TimeAxis, findings: list[Finding]
) -> Profiles:
    """Absolute power of every asset: relative profile times rated power, consumption positive."""
    load, sgen, count = net.load, net.sgen, len(net.storage)
    load_p = _relative_to(load, relative["LoadProfile"], "_pload", axis, findings) * load["p_mw"].to_numpy()
    load_q = _relative_to(load, relative["LoadProfile"], "_qload", axis, []) * load["q_mvar"].to_numpy()
    sgen_p = -_relative_to(sgen, relative["RESProfile"], "", axis, findings) * sgen["p_mw"].to_numpy()
    sgen_q = np.tile(-sgen["q_mvar"].to_numpy(dtype=float), (axis.length, 1))
    idle = np.zeros((axis.length, count))
    assets = name_assets(net)
    assets["kind"] = pd.concat([net[element]["kind"] for element in OTHER_KINDS]).to_numpy()
    pseudo = (assets["element"] == "storage").to_numpy() | _has_no_profile(net)
    quality = np.where(pseudo, PSEUDO, 0)[np.newaxis, :]
    return build_profiles(
        axis, assets, np.hstack([load_p, sgen_p, idle]), np.hstack([load_q, sgen_q, idle]), quality=quality
    )


def read_simbench_shapes(code: str) -> tuple[pandapowerNet, ShapedProfiles, list[Finding]]:
    """Like `read_simbench`, for networks of any size: profiles as the few hundred shapes that their assets share.

    Returns
    -------
    net : pandapowerNet
        As in `read_simbench`.
    profiles : ShapedProfiles, (time, shape)
        35,136 quarter hours; storages idle.
    findings : list of Finding
        What was repaired or left out.
    """
    code = _check_code(code.removeprefix("simbench:"))
    folder = Path(simbench.complete_data_path(code.split("-")[-2]))
    net = _read_net(code, folder)
    relative = _read_relative(net, folder)
    axis = _read_axis(relative["LoadProfile"])
    findings = [_benchmark_series(code), *_repair_storages(net, relative, axis)]
    _add_asset_columns(net)
    return net, _shape_profiles(net, relative, axis, findings), findings


def _shape_profiles(
    net: pandapowerNet, relative: dict[str, pd.DataFrame], axis: TimeAxis, findings: list[Finding]
) -> ShapedProfiles:
    """Shapes: first the constant 1 (for assets without profile, and the idle ones at power 0), then all in use."""
    loads = sorted(_profile_names(net.load))
    sgens = sorted(_profile_names(net.sgen))
    ones = np.ones((axis.length, 1))
    columns = [f"{name}_pload" for name in loads], [f"{name}_qload" for name in loads]
    unknown = sorted({*columns[0], *columns[1]} - set(relative["LoadProfile"])) + sorted(
        set(sgens) - set(relative["RESProfile"])
    )
    if unknown:
        raise DataError([_missing_profile(name) for name in unknown])
    feed_in = relative["RESProfile"][sgens].to_numpy(dtype=float)
    p_shape = np.hstack([ones, relative["LoadProfile"][columns[0]].to_numpy(dtype=float), feed_in])
    q_shape = np.hstack([ones, relative["LoadProfile"][columns[1]].to_numpy(dtype=float), np.ones_like(feed_in)])
    place = {("load", name): 1 + k for k, name in enumerate(loads)}
    place |= {("sgen", name): 1 + len(loads) + k for k, name in enumerate(sgens)}
    rows = []
    for element, sign in (("load", 1.0), ("sgen", -1.0), ("storage", 0.0)):
        table = net[element]
        bare = table["profile"].isna()
        if bare.any() and sign:
            findings.append(_constant_power(table.loc[bare]))
        shape = [place.get((element, name), 0) for name in table["profile"]]
        scales = {"p_scale_mw": sign * table["p_mw"], "q_scale_mvar": sign * table["q_mvar"]}
        rows.append(pd.DataFrame({"shape": shape, **scales}))
    assets = name_assets(net)
    assets["kind"] = pd.concat([net[element]["kind"] for element in OTHER_KINDS]).to_numpy()
    return build_shaped_profiles(axis, assets, pd.concat(rows, ignore_index=True), p_shape, q_shape)


def _has_no_profile(net: pandapowerNet) -> np.ndarray:
    """Whether an asset names no profile, in the order of the assets."""
    missing: np.ndarray = pd.concat([net[element]["profile"].isna() for element in OTHER_KINDS]).to_numpy()
    return missing


def _relative_to(
    table: pd.DataFrame, relative: pd.DataFrame, suffix: str, axis: TimeAxis, findings: list[Finding]
) -> np.ndarray:
    """Relative profile of every row, (time, row); a row without profile keeps its power all year. [-]"""
    bare = table["profile"].isna()
    columns: Any = (table.loc[~bare, "profile"] + suffix).to_list()
    unknown = sorted(set(columns) - set(relative.columns))
    if unknown:
        raise DataError([_missing_profile(name) for name in unknown])
    values = np.ones((axis.length, len(table)))
    values[:, np.flatnonzero(~bare)] = relative[columns].to_numpy(dtype=float)
    if bare.any():
        findings.append(_constant_power(table.loc[bare]))
    return values


def _missing_profile(name: str) -> Finding:
    return Finding("profile is named but not in the data set", where=name, severity="error", code="GT-D23")


def _constant_power(rows: pd.DataFrame) -> Finding:
    names = ", ".join(map(repr, rows["name"].head(3)))
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return Finding("no profile is named, so the rated power is taken all year", where=names + more, code="GT-D24")
