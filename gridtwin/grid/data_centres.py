"""Data centres and their batch jobs as loads of the network."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandapower

from gridtwin.data.data_centre import KW_PER_MW, chain_of, job_name
from gridtwin.errors import Finding, NetworkError, raise_errors
from gridtwin.grid.growth import complete_facts
from gridtwin.grid.twin import name_assets, name_rows
from gridtwin.scenario_data_centre import DataCentre

ORIGIN = "data_centre"
"""Origin of these loads in the table of assets."""


def place_data_centres(net: pandapower.pandapowerNet, sites: Sequence[DataCentre]) -> pandapower.pandapowerNet:
    """Copy of the network with a load for every site and one for each of its jobs.

    The load of a site holds what cannot be moved; its jobs are flexible loads beside it.

    Raises
    ------
    NetworkError
        If a bus is unknown or a name is taken.
    """
    if not sites:
        return net
    raise_errors(list(check_data_centre_places(net, sites)), NetworkError)
    index_of_bus = name_rows(net, ["bus"])["index"]
    grown = copy.deepcopy(net)
    complete_facts(grown.load, "load")
    for site in sites:
        per_kw, bus = chain_of(site).per_it_kw, int(index_of_bus[site.bus])
        p_mw = float(chain_of(site).at_connection_kw(site.p_it_kw)) / KW_PER_MW
        pandapower.create_loads(grown, [bus], p_mw, **_facts([site.name], p_mw, kind="data_centre"))
        for job in site.job:
            p_mw = per_kw * job.p_max_kw / KW_PER_MW
            facts = _facts([job_name(site, job)], p_mw, kind="computing_job", e_rated_mwh=per_kw * job.kwh / KW_PER_MW)
            pandapower.create_loads(grown, [bus], p_mw, **facts)
    return grown


def check_data_centre_places(net: pandapower.pandapowerNet, sites: Sequence[DataCentre]) -> Iterator[Finding]:
    """Buses that the network does not hold, and names that something else has."""
    buses, taken = list(name_rows(net, ["bus"]).index), set(name_assets(net).index)
    for number, site in enumerate(sites):
        if site.bus not in buses:
            near = difflib.get_close_matches(site.bus, buses, n=1)
            yield Finding(
                "a data centre names a bus that the network does not hold",
                where=f"data_centre.{number}.bus",
                expected="the name of a bus",
                got=f"'{site.bus}'",
                do=f"Did you mean '{near[0]}'?" if near else "",
                severity="error",
                code="GT-N30",
            )
        for name in (site.name, *(job_name(site, job) for job in site.job)):
            if name in taken:
                yield Finding(
                    "another asset has this name",
                    where=f"data_centre.{number}.name",
                    expected="a name of its own",
                    got=f"'{name}'",
                    severity="error",
                    code="GT-N31",
                )
            taken.add(name)


def _facts(names: list[str], p_mw: float, *, kind: str, e_rated_mwh: float = np.nan) -> dict[str, Any]:
    unknown = dict.fromkeys(("ua_mw_per_k", "c_mwh_per_k", "cop"), np.nan)
    flags = {"flexible": kind == "computing_job", "metered": True, "controllable": False}
    known = {"name": names, "sn_mva": p_mw, "kind": kind, "origin": ORIGIN, "p_rated_mw": p_mw}
    return known | {"e_rated_mwh": e_rated_mwh} | unknown | flags
