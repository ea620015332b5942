"""Rules of the balancing market as data: settlement period, imbalance price, products, gate closure.

The shipped sets are `gridtwin/data/rule_sets/market/*.toml`; an own set is a file of the
same form. Every table carries its source and whether it was read there (`checked`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gridtwin.data.control_rules import NotNegative, Positive, Share, Sourced
from gridtwin.errors import DataError, Finding
from gridtwin.rule_file import RuleCodes, RuleFolder
from gridtwin.scenario_section import Section

PriceRule = Literal["marginal", "volume_weighted", "spot"]
Pricing = Literal["pay_as_bid", "pay_as_cleared", "none"]
ProductName = Literal["FCR", "aFRR", "mFRR"]


class SettlementRules(Sourced):
    """How time is divided for the settlement."""

    period_minutes: Positive
    """Length of a settlement period. [min]"""


class ScarcityStep(Section):
    """An addition to the imbalance price as reserves run out."""

    from_share: Share
    """Activated energy by what was offered in the direction of the system imbalance, from which it applies. [-]"""
    eur_per_mwh: NotNegative
    """Added against the system imbalance: dearer in a deficit, cheaper in a surplus. [EUR/MWh]"""


class ImbalancePriceRules(Sourced):
    """The single price of imbalance of one settlement period."""

    rule: PriceRule
    """Dearest activated energy, its mean by volume, or the spot price; each in the direction of the imbalance."""
    incentive_eur_per_mwh: NotNegative = 0.0
    """Added against the system imbalance. [EUR/MWh]"""
    incentive_above_mwh: NotNegative = 0.0
    """System imbalance above which the incentive applies. [MWh]"""
    spot_distance_eur_per_mwh: NotNegative = 0.0
    """Smallest distance from the spot price, against the system imbalance. [EUR/MWh]"""
    spot_distance_share: NotNegative = 0.0
    """The same by the spot price; the larger of both counts. [-]"""
    keep_spot_distance: bool = False
    """Whether the price keeps these distances from the spot price at all."""
    scarcity: tuple[ScarcityStep, ...] = ()
    """Rising shares; the last one reached counts."""

    @model_validator(mode="after")
    def _shares_rise(self) -> ImbalancePriceRules:
        shares = [step.from_share for step in self.scarcity]
        if shares != sorted(set(shares)):
            raise ValueError(f"the shares of scarcity must rise, got {shares}")
        return self


class ProductRules(Sourced):
    """One balancing product."""

    name: ProductName
    """Name in tables."""
    activation_seconds: Positive
    """From the request to full power. [s]"""
    minimum_minutes: NotNegative = 0.0
    """Shortest activation, from the request. [min]"""
    energy_pricing: Pricing
    """How activated energy is paid."""
    capacity_pricing: Pricing
    """How power held ready is paid."""
    in_imbalance_price: bool = True
    """Whether its energy prices enter the imbalance price."""


class IntradayRules(Sourced):
    """Until when a schedule may change."""

    gate_closure_minutes: NotNegative
    """Before delivery. [min]"""
    trade_distance_eur_per_mwh: NotNegative | None = None
    """What energy traded within the day costs beside the day-ahead price, either way; left out: no trade. [EUR/MWh]"""


class MarketRules(Section):
    """Every rule of the balancing market."""

    name: str
    """Name of the set, that of its file."""
    title: str
    """Heading in reports."""
    source: str
    """The documents behind the set."""
    version: str
    """Version of the set; change it with every change of a number."""
    note: str = ""
    """What a reader of the results must know."""
    settlement: SettlementRules
    imbalance_price: ImbalancePriceRules
    intraday: IntradayRules
    product: Annotated[tuple[ProductRules, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _products_stand_once(self) -> MarketRules:
        names = [product.name for product in self.product]
        if len(set(names)) < len(names):
            raise ValueError(f"a product stands twice: {', '.join(names)}")
        return self

    def product_named(self, name: str) -> ProductRules:
        """The rules of one product.

        Raises
        ------
        DataError
            If the set has no such product.
        """
        for product in self.product:
            if product.name == name:
                return product
        known = ", ".join(product.name for product in self.product)
        raise DataError(
            [Finding("unknown product", where=self.name, expected=known, got=name, severity="error", code="GT-R33")]
        )

    def unchecked(self) -> tuple[str, ...]:
        """Tables whose numbers were not read in their source."""
        tables = {"settlement": self.settlement, "imbalance_price": self.imbalance_price, "intraday": self.intraday}
        return tuple(name for name, table in tables.items() if not table.checked) + tuple(
            f"product {product.name}" for product in self.product if not product.checked
        )

    def citation(self) -> str:
        """What a table of results names as its ground."""
        return f"{self.source} [{self.name} {self.version}]"


CODES = RuleCodes("GT-R31", *("GT-R32",) * 5)
SHIPPED = RuleFolder(MarketRules, "gridtwin.data", "rule_sets/market", "set of market rules", CODES)
"""The sets that ship with the package."""


def list_market_rules() -> list[str]:
    """Names of the shipped sets of market rules."""
    return SHIPPED.names()


def read_market_rules(name_or_path: str | Path, base: Path = Path()) -> MarketRules:
    """A shipped set of market rules by its name, or an own one by the path of its file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_market_rules()`, or a path that ends in `.toml`.
    base : Path
        Folder from which a relative path starts.

    Raises
    ------
    ScenarioError
        If there is no such set or file.
    DataError
        If the file is not a set of market rules; every fault with its key.

    Examples
    --------
    >>> read_market_rules("eu_standard").settlement.period_minutes
    15.0
    """
    return SHIPPED.read(name_or_path, base)


def read_market_text(name: str) -> str:
    """The file of a shipped set, to be edited."""
    return SHIPPED.text(name)


def parse_market_rules(text: str, where: str = "market rules") -> MarketRules:
    """The rules in a TOML text; every fault at once."""
    return SHIPPED.parse(text, where)
