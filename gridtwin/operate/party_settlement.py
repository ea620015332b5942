"""Settlement of imbalance between parties: who was short, at what price, who is paid for balancing.

A balance-responsible party bought a position and metered something else. What providers
delivered for the system operator is taken out of the imbalance of the party behind them.
Everybody pays or receives the single imbalance price of the settlement period; providers are
paid for activated energy and for power held ready; the system operator's account takes the rest.
Energy in MWh, consumption positive: a positive imbalance is a deficit and pays a positive price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.data.market_rules import MarketRules, Pricing
from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.operate.imbalance_price import OFFERED, period_starts, price_periods

SYSTEM_OPERATOR = "system operator"
"""Name of the account that takes what is left."""
POSITION_COLUMNS = ("time", "party", "position_mwh", "metered_mwh")
ACTIVATION_COLUMNS = ("time", "party", "provider", "product", "direction", "e_mwh", "price_eur_per_mwh")
CAPACITY_COLUMNS = ("time", "provider", "product", "direction", "hours", "p_mw", "price_eur_per_mw_h")


@dataclass(frozen=True)
class PartySettlement:
    """The settlement of all parties.

    Parameters
    ----------
    periods : DataFrame
        Index: start of the settlement period, UTC. `system_imbalance_mwh`, `up_mwh, down_mwh` (activated, never
        negative), `unintended_mwh` (metered exchange above the agreed one), `spot_eur_per_mwh`,
        `energy_eur_per_mwh` (by the price rule), `component_eur_per_mwh`, `imbalance_eur_per_mwh` (their sum).
    imbalances : DataFrame
        `time, party, position_mwh, metered_mwh, adjustment_mwh, imbalance_mwh, paid_eur` (paid by the party).
    energy, capacity : DataFrame
        The activations and capacities with `paid_eur_per_mwh` or `paid_eur_per_mw_h` and `received_eur`.
    accounts : DataFrame
        Index: party or provider, the system operator last. `imbalance_eur, energy_eur, capacity_eur, balance_eur`,
        received positive.
    findings : tuple of Finding
        What could not be applied.
    """

    periods: pd.DataFrame
    imbalances: pd.DataFrame
    energy: pd.DataFrame
    capacity: pd.DataFrame
    accounts: pd.DataFrame
    findings: tuple[Finding, ...] = ()


def settle_parties(
    positions: pd.DataFrame,
    activations: pd.DataFrame,
    prices: pd.DataFrame,
    rules: MarketRules,
    *,
    capacities: pd.DataFrame | None = None,
) -> PartySettlement:
    """Settle every party, every provider and the system operator.

    Parameters
    ----------
    positions : DataFrame
        `time, party, position_mwh, metered_mwh`, consumption positive, one row per interval and party. Intervals
        may be shorter than a settlement period: what cancels within a period is free.
    activations : DataFrame
        `time, party, provider, product, direction, e_mwh, price_eur_per_mwh`: delivered energy, never negative, at
        the price of the bid (paid to the provider upward, paid by it downward); `party` answers for the provider.
    prices : DataFrame
        Index: the times of `positions`. `price_eur_per_mwh` (spot); `offered_up_mwh, offered_down_mwh` where
        scarcity counts.
    rules : MarketRules
        Period, price rule, components, pricing of the products.
    capacities : DataFrame, optional
        `time, provider, product, direction, hours, p_mw, price_eur_per_mw_h`: power held ready from `time` on.

    Returns
    -------
    PartySettlement

    Raises
    ------
    DataError
        If columns, times, numbers or names do not fit; all faults at once.

    Notes
    -----
    imbalance = metered - position - adjustment, adjustment = down - up [1]_. The sum over the parties is
    up - down + unintended exchange. The accounts sum to zero.

    References
    ----------
    .. [1] Regulation (EU) 2017/2195, Art. 49 (adjustment), 52 to 55 (imbalance, price).
    """
    capacities = pd.DataFrame(columns=list(CAPACITY_COLUMNS)) if capacities is None else capacities
    check_settlement_inputs(positions, activations, prices, rules, capacities)
    imbalances = _imbalances(positions, activations, rules)
    periods, findings = price_periods(imbalances, activations, prices, rules)
    price = periods["imbalance_eur_per_mwh"].reindex(imbalances["time"]).to_numpy()
    imbalances = imbalances.assign(paid_eur=price * imbalances["imbalance_mwh"])
    energy = _pay_energy(activations, rules)
    capacity = _pay_capacity(capacities, rules)
    accounts = _accounts(imbalances, energy, capacity, _operator_account(periods, energy, capacity))
    return PartySettlement(periods, imbalances, energy, capacity, accounts, findings)


# --- energy --------------------------------------------------------------------------------------------------------


def _imbalances(positions: pd.DataFrame, activations: pd.DataFrame, rules: MarketRules) -> pd.DataFrame:
    """Energy by settlement period and party."""
    sums = ["position_mwh", "metered_mwh"]
    table = positions.assign(time=period_starts(positions["time"], rules)).groupby(["time", "party"])[sums].sum()
    moved = pd.Series(_downward(activations) * activations["e_mwh"].to_numpy(dtype=float))
    keys = [period_starts(activations["time"], rules), activations["party"].to_numpy()]
    adjustment = moved.groupby(keys).sum().reindex(table.index, fill_value=0.0)
    table["adjustment_mwh"] = adjustment.to_numpy(dtype=float)
    table["imbalance_mwh"] = table["metered_mwh"] - table["position_mwh"] - table["adjustment_mwh"]
    return table.reset_index()


def _downward(activations: pd.DataFrame) -> np.ndarray:
    """+1 where an activation raises consumption, -1 where it lowers it."""
    return np.where(activations["direction"] == "down", 1.0, -1.0)


# --- money ------------------------------------------------------------------------------------------------------------


def _pay_energy(activations: pd.DataFrame, rules: MarketRules) -> pd.DataFrame:
    active = activations[activations["e_mwh"] > 0]
    extreme = active.groupby(["time", "product", "direction"])["price_eur_per_mwh"].agg(["max", "min"])
    paid = _paid_price(active, extreme, "price_eur_per_mwh", {p.name: p.energy_pricing for p in rules.product})
    return active.assign(paid_eur_per_mwh=paid, received_eur=-_downward(active) * paid * active["e_mwh"].astype(float))


def _pay_capacity(capacities: pd.DataFrame, rules: MarketRules) -> pd.DataFrame:
    extreme = capacities.groupby(["time", "product", "direction"])["price_eur_per_mw_h"].agg(["max", "min"])
    extreme["min"] = extreme["max"]  # power is dearest last in both directions
    pricing: dict[str, Pricing] = {product.name: product.capacity_pricing for product in rules.product}
    paid = _paid_price(capacities, extreme, "price_eur_per_mw_h", pricing)
    received = paid * capacities["p_mw"].to_numpy(dtype=float) * capacities["hours"].to_numpy(dtype=float)
    return capacities.assign(paid_eur_per_mw_h=paid, received_eur=received)


def _paid_price(table: pd.DataFrame, extreme: pd.DataFrame, column: str, pricing: dict[str, Pricing]) -> np.ndarray:
    """Price of each row: its own, the last accepted one of its product and direction, or none."""
    if table.empty:
        return np.zeros(0)
    way = table["product"].map(pricing).to_numpy(dtype=str)
    last = extreme.reindex(pd.MultiIndex.from_frame(table[["time", "product", "direction"]]))
    cleared = np.where(table["direction"] == "down", last["min"], last["max"])
    own = table[column].to_numpy(dtype=float)
    return np.asarray(np.select([way == "pay_as_bid", way == "pay_as_cleared"], [own, cleared], 0.0), dtype=float)


def _operator_account(periods: pd.DataFrame, energy: pd.DataFrame, capacity: pd.DataFrame) -> tuple[float, ...]:
    """The system operator's side from totals of its own: imbalance received, energy and capacity paid. [EUR]"""
    imbalance = float((periods["imbalance_eur_per_mwh"] * periods["system_imbalance_mwh"]).sum())
    volume = -_downward(energy) * energy["e_mwh"].to_numpy(dtype=float)
    held = capacity["p_mw"].to_numpy(dtype=float) * capacity["hours"].to_numpy(dtype=float)
    return (
        imbalance,
        -float(volume @ energy["paid_eur_per_mwh"].to_numpy(dtype=float)),
        -float(held @ capacity["paid_eur_per_mw_h"].to_numpy(dtype=float)),
    )


def _accounts(
    imbalances: pd.DataFrame, energy: pd.DataFrame, capacity: pd.DataFrame, operator: tuple[float, ...]
) -> pd.DataFrame:
    parts = {
        "imbalance_eur": -imbalances.groupby("party")["paid_eur"].sum(),
        "energy_eur": energy.groupby("provider")["received_eur"].sum(),
        "capacity_eur": capacity.groupby("provider")["received_eur"].sum(),
    }
    table = pd.DataFrame({name: part.astype(float) for name, part in parts.items()}).fillna(0.0).sort_index()
    table.loc[SYSTEM_OPERATOR] = operator
    table.index.name = "party"
    return table.assign(balance_eur=table.sum(axis=1))


# --- checks -----------------------------------------------------------------------------------------------------------


def check_settlement_inputs(
    positions: pd.DataFrame,
    activations: pd.DataFrame,
    prices: pd.DataFrame,
    rules: MarketRules,
    capacities: pd.DataFrame,
) -> None:
    """Raise one `DataError` with everything that does not fit together."""
    tables = {"positions": (positions, POSITION_COLUMNS), "activations": (activations, ACTIVATION_COLUMNS),
              "capacities": (capacities, CAPACITY_COLUMNS), "prices": (prices, ("price_eur_per_mwh",))}  # fmt: skip
    lacking = [
        _error(f"{name} lack columns", expected=", ".join(columns), got=", ".join(map(str, table.columns)))
        for name, (table, columns) in tables.items()
        if not set(columns) <= set(table.columns)
    ]
    raise_errors(lacking, DataError)
    findings = [finding for name, (table, columns) in tables.items() for finding in _check_numbers(table, name)]
    findings += [*_check_names(positions, activations, capacities, rules), *_check_periods(positions, prices, rules)]
    raise_errors(findings, DataError)


def _error(what: str, **parts: str) -> Finding:
    return Finding(what, severity="error", code="GT-M21", **parts)


def _check_numbers(table: pd.DataFrame, name: str) -> list[Finding]:
    numbers = [c for c in table.columns if str(c).split("_")[-1] in ("mwh", "mw", "h", "hours")]
    findings = [
        _error(f"{column} of {name} has missing values", got=str(int(table[column].isna().sum())))
        for column in numbers
        if table[column].isna().any()
    ]
    negative = [c for c in ("e_mwh", "p_mw", "hours", *OFFERED) if c in table and (table[c] < 0).any()]
    return findings + [_error(f"{column} of {name} is negative", expected="0 or more") for column in negative]


def _check_names(
    positions: pd.DataFrame, activations: pd.DataFrame, capacities: pd.DataFrame, rules: MarketRules
) -> list[Finding]:
    findings = []
    products = {product.name for product in rules.product}
    for name, table in (("activations", activations), ("capacities", capacities)):
        strange = sorted({str(product) for product in table["product"]} - products)
        if strange:
            findings.append(
                _error(f"unknown product in {name}", expected=", ".join(sorted(products)), got=", ".join(strange))
            )
        if not set(table["direction"]) <= {"up", "down"}:
            findings.append(_error(f"unknown direction in {name}", expected="up or down"))
    homeless = sorted({str(party) for party in activations["party"]} - {str(party) for party in positions["party"]})
    if homeless:
        findings.append(_error("activations of parties without a position", got=", ".join(homeless[:5])))
    names = {*positions["party"], *activations["provider"], *capacities["provider"]}
    if SYSTEM_OPERATOR in names:
        findings.append(_error(f"{SYSTEM_OPERATOR!r} is the name of the closing account", do="Use another name."))
    if positions.duplicated(["time", "party"]).any():
        findings.append(_error("a party has two positions at one time"))
    return findings


def _check_periods(positions: pd.DataFrame, prices: pd.DataFrame, rules: MarketRules) -> list[Finding]:
    times = pd.DatetimeIndex(positions["time"]).unique().sort_values()
    findings = []
    unpriced = times.difference(pd.DatetimeIndex(prices.index))
    if len(unpriced):
        findings.append(_error("prices lack times of the positions", got=str(unpriced[0])))
    period = pd.Timedelta(minutes=rules.settlement.period_minutes)
    if len(times) > 1 and (step := (times[1:] - times[:-1]).min()) and (period % step or step > period):
        findings.append(_error("intervals do not divide the settlement period", expected=str(period), got=str(step)))
    return findings
