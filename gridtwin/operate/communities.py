"""Energy communities: who gets how much of what the common plants produce, and what everybody pays.

Every interval stands alone: what is produced in a quarter of an hour is shared in that
quarter of an hour. A key says how, and only a key; price and fees come afterwards.

    static        share_i P, at most C_i; what a member does not need is fed in
    proportional  min(P, sum C) C_i / sum C
    hybrid        static first, then the rest in proportion to what is still consumed

with P produced, C_i consumed by member i. No key gives a member more than it consumed, or shares more than was
produced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gridtwin.errors import DataError, Finding, raise_errors

Floats = NDArray[np.float64]
SHARE_TOLERANCE = 1e-9
"""Rounding of shares that add up to 1. [-]"""


def share_static(produced_mwh: Floats, consumed_mwh: Floats, shares: Floats) -> Floats:
    """Fixed shares of the production, at most what each member consumes. (time, member) [MWh]

    Parameters
    ----------
    produced_mwh : ndarray, (time,)
        Produced by all plants. [MWh]
    consumed_mwh : ndarray, (time, member)
        Consumed by each member. [MWh]
    shares : ndarray, (member,) or (time, member)
        Agreed shares, at most 1 in sum. [-]

    Examples
    --------
    >>> share_static(np.array([10.0]), np.array([[2.0, 9.0]]), np.array([0.5, 0.5]))
    array([[2., 5.]])
    """
    return np.asarray(np.minimum(produced_mwh[:, None] * shares, consumed_mwh))


def share_proportional(produced_mwh: Floats, consumed_mwh: Floats, shares: Floats | None = None) -> Floats:
    """In proportion to consumption; `shares` do not matter. (time, member) [MWh]

    Examples
    --------
    >>> share_proportional(np.array([5.5]), np.array([[2.0, 9.0]]))
    array([[1. , 4.5]])
    """
    total = consumed_mwh.sum(axis=1)
    part = np.divide(np.minimum(produced_mwh, total), total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.minimum(part[:, None] * consumed_mwh, consumed_mwh))


def share_hybrid(produced_mwh: Floats, consumed_mwh: Floats, shares: Floats) -> Floats:
    """Fixed shares first, what they leave in proportion to what is still consumed. (time, member) [MWh]

    Examples
    --------
    >>> share_hybrid(np.array([10.0]), np.array([[2.0, 9.0]]), np.array([0.5, 0.5]))
    array([[2., 8.]])
    """
    first = share_static(produced_mwh, consumed_mwh, shares)
    left = np.maximum(produced_mwh - first.sum(axis=1), 0.0)
    return np.asarray(np.minimum(first + share_proportional(left, consumed_mwh - first), consumed_mwh))


KEYS: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {
    "static": share_static,
    "proportional": share_proportional,
    "hybrid": share_hybrid,
}
"""Name of a key -> how it shares."""
NAMES_ABROAD = {
    "statisch": "static",
    "dynamisch": "proportional",
    "statique": "static",
    "dynamique par défaut": "proportional",
    "coeficientes de reparto": "static",
}
"""What the keys are called: Austria (energy communities, two models), France (collective self-consumption, fixed
and default key), Spain (coefficients agreed beforehand, constant or by the hour). Names only: the rules of each
country about distance, voltage level or rest energy are not checked."""


def share_energy(
    consumed_mwh: pd.DataFrame, produced_mwh: pd.DataFrame, *, key: str, shares: pd.Series | pd.DataFrame | None = None
) -> xr.Dataset:
    """Energy that every member gets from the community and from its supplier, in every interval.

    Parameters
    ----------
    consumed_mwh : DataFrame, (time, member)
        Energy drawn by each member, never negative; UTC interval starts. [MWh]
    produced_mwh : DataFrame, (time, plant)
        Energy fed in by each plant of the community, never negative; the same times. [MWh]
    key : str
        One of `KEYS` or of `NAMES_ABROAD`.
    shares : Series (member) or DataFrame (time, member), optional
        Of every member, at most 1 in sum; for keys that use them. [-]

    Returns
    -------
    Dataset
        `shared_mwh, supplied_mwh` (time, member): from the community, from the supplier; their sum is what was
        consumed. `sold_mwh, fed_in_mwh` (time, plant): to the community, to the network; their sum is what was
        produced, every plant with the same part. [MWh]

    Raises
    ------
    DataError
        With every fault of the input.
    """
    name = NAMES_ABROAD.get(key, key)
    raise_errors(_check_energy(consumed_mwh, produced_mwh, name), DataError)
    agreed = _shares_of(consumed_mwh, shares, name)
    consumed, produced = consumed_mwh.to_numpy(dtype=float), produced_mwh.to_numpy(dtype=float)
    total = produced.sum(axis=1)
    shared = KEYS[name](total, consumed, agreed)
    part = np.divide(shared.sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
    sold = np.minimum(part[:, None], 1.0) * produced
    attrs = {"units": "MWh"}
    return xr.Dataset(
        {
            "shared_mwh": (("time", "member"), shared, attrs),
            "supplied_mwh": (("time", "member"), consumed - shared, attrs),
            "sold_mwh": (("time", "plant"), sold, attrs),
            "fed_in_mwh": (("time", "plant"), produced - sold, attrs),
        },
        coords={
            "time": pd.DatetimeIndex(consumed_mwh.index),
            "member": [str(member) for member in consumed_mwh.columns],
            "plant": [str(plant) for plant in produced_mwh.columns],
        },
        attrs={"key": key},
    )


@dataclass(frozen=True)
class CommunityTariff:
    """Prices of a community; a number or one per interval. All in EUR/MWh.

    Parameters
    ----------
    supplier_eur_per_mwh : float or Series (time)
        Energy from the supplier.
    community_eur_per_mwh : float or Series (time)
        Energy from the community: paid by its members, received by its plants.
    feed_in_eur_per_mwh : float or Series (time)
        Received for energy that nobody in the community used.
    network_eur_per_mwh : float
        Network charges and levies on energy from the supplier.
    community_network_eur_per_mwh : float
        The same on shared energy, often reduced.
    """

    supplier_eur_per_mwh: float | pd.Series
    community_eur_per_mwh: float | pd.Series
    feed_in_eur_per_mwh: float | pd.Series = 0.0
    network_eur_per_mwh: float = 0.0
    community_network_eur_per_mwh: float = 0.0


def bill_community(shared: xr.Dataset, tariff: CommunityTariff) -> pd.DataFrame:
    """What every member pays and every plant receives over all intervals.

    Parameters
    ----------
    shared : Dataset
        Result of `share_energy`.

    Returns
    -------
    DataFrame
        Index: member or plant. `role`; energy `community_mwh, network_mwh` (from or to the community, from the
        supplier or to the network); money `community_eur, network_energy_eur, charges_eur, total_eur`, and for
        members `alone_eur`, what they would pay without the community. Paid is positive, received negative:
        `community_eur` adds up to 0.
    """
    times = shared.indexes["time"]
    supplier, inside, fed = (
        _price(value, times)
        for value in (tariff.supplier_eur_per_mwh, tariff.community_eur_per_mwh, tariff.feed_in_eur_per_mwh)
    )
    got, bought = shared["shared_mwh"].to_numpy(), shared["supplied_mwh"].to_numpy()
    sold, rest = shared["sold_mwh"].to_numpy(), shared["fed_in_mwh"].to_numpy()
    charges = tariff.community_network_eur_per_mwh * got + tariff.network_eur_per_mwh * bought
    alone = (supplier + tariff.network_eur_per_mwh) @ (got + bought)
    members = _bills("member", shared["member"].to_numpy(), (got, bought), (inside @ got, supplier @ bought))
    plants = _bills("plant", shared["plant"].to_numpy(), (sold, rest), (-inside @ sold, -fed @ rest))
    bills = pd.concat([members.assign(charges_eur=charges.sum(axis=0), alone_eur=alone), plants.assign(charges_eur=0)])
    money = bills[["community_eur", "network_energy_eur", "charges_eur"]]
    return bills.assign(total_eur=money.sum(axis=1))


def _bills(role: str, names: NDArray, energy: tuple[Floats, Floats], money: tuple[Floats, Floats]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "role": role,
            "community_mwh": energy[0].sum(axis=0),
            "network_mwh": energy[1].sum(axis=0),
            "community_eur": money[0],
            "network_energy_eur": money[1],
        },
        index=pd.Index(names.astype(str), name="party"),
    )


def _price(value: float | pd.Series, times: pd.Index) -> Floats:
    """(time,); a series must have exactly the times of the energy."""
    if not isinstance(value, pd.Series):
        return np.full(len(times), float(value))
    if not value.index.equals(times):
        raise DataError([_fault("a price has other times than the energy", f"{len(times)} steps", f"{len(value)}")])
    return value.to_numpy(dtype=float)


def _shares_of(consumed: pd.DataFrame, shares: pd.Series | pd.DataFrame | None, key: str) -> Floats:
    if shares is None:
        if key != "proportional":
            raise DataError([_fault(f"the key {key} needs shares", "one share per member", "none")])
        return np.zeros(consumed.shape[1])
    names = shares.columns if isinstance(shares, pd.DataFrame) else shares.index
    same = set(names) == set(consumed.columns) and len(names) == consumed.shape[1]
    if not same or (isinstance(shares, pd.DataFrame) and not shares.index.equals(consumed.index)):
        raise DataError([_fault("the shares have other members or times", "those of the consumption", "others")])
    agreed = shares[consumed.columns].to_numpy(dtype=float)
    total = float(agreed.sum(axis=-1).max(initial=0.0))
    if not (agreed >= 0).all() or total > 1 + SHARE_TOLERANCE:
        raise DataError([_fault("the shares do not fit", "0 or more, at most 1 in sum", f"a sum of {total:g}")])
    return agreed


def _check_energy(consumed: pd.DataFrame, produced: pd.DataFrame, key: str) -> list[Finding]:
    found = []
    if key not in KEYS:
        found.append(_fault("there is no such key", ", ".join([*KEYS, *NAMES_ABROAD]), key))
    if not consumed.index.equals(produced.index):
        found.append(_fault("consumption and production have different times", "the same", "others"))
    for name, table in (("consumed_mwh", consumed), ("produced_mwh", produced)):
        values = table.to_numpy(dtype=float)
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            columns = ", ".join(map(str, table.columns[bad.any(axis=0)][:5]))
            found.append(_fault(f"{name} is negative or missing", "0 MWh or more", f"{int(bad.sum())} in {columns}"))
        if table.columns.has_duplicates:
            found.append(_fault(f"a name stands twice in {name}", "unique names", "doubles"))
    return found


def _fault(what: str, expected: str, got: str) -> Finding:
    return Finding(what, where="community", expected=expected, got=got, severity="error", code="GT-C60")
