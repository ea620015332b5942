"""The control area around the studied network as data: size, load, reserves, controller, bids and stores.

The shipped set is `gridtwin/data/rule_sets/control_area/continental_part.toml`, made of proportions and
assumptions; an own area is a file of the same form. Powers are shares of the area's load, so that one set
serves a street and a city; prices count from the day-ahead price.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gridtwin.data.control_rules import NotNegative, Positive, Sourced
from gridtwin.rule_file import RuleCodes, RuleFolder
from gridtwin.scenario_section import Section, Share

Product = Literal["aFRR", "mFRR"]


class AreaSize(Sourced):
    """How large the area is beside the network."""

    peak_multiple: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    """Load of the area by the largest power that the network takes or gives. [-]"""
    spot_eur_per_mwh: float
    """Price of energy where the scenario has no day-ahead prices. [EUR/MWh]"""


class AreaLoad(Sourced):
    """What the frequency depends on without any reserve, and what the rest of the area does by itself."""

    inertia_s: Positive
    """Kinetic energy at nominal frequency by the load. [s]"""
    damping: NotNegative
    """Relative fall of the load per relative fall of the frequency. [-]"""
    noise_share: Share
    """Standard deviation of the imbalance of the rest of the area, by the load. [-]"""
    noise_minutes: Positive
    """Its time constant. [min]"""


class AreaFcr(Sourced):
    """Frequency containment reserve: droop beside a dead band."""

    share: Share
    """Full activation by the load. [-]"""
    full_at_hz: Positive
    """Deviation of full activation. [Hz]"""
    dead_band_hz: NotNegative
    """Deviation at which activation begins. [Hz]"""
    lag_s: NotNegative
    """Time constant. [s]"""

    @model_validator(mode="after")
    def _line_rises(self) -> AreaFcr:
        if not self.full_at_hz > self.dead_band_hz:
            raise ValueError("full_at_hz must be above dead_band_hz")
        return self


class AreaController(Sourced):
    """Automatic control of the area's error, and when manual reserves take over."""

    afrr_proportional: NotNegative
    """Request per area control error. [-]"""
    afrr_integral_s: Positive
    """Time in which the integral asks for the whole area control error. [s]"""
    cycle_s: Annotated[int, Field(ge=1, le=60)]
    """Distance of two requests. [s]"""
    mfrr_threshold_share: Share
    """Lasting requests above this share of the automatic reserves go to manual ones at the next schedule. [-]"""
    mfrr_direct_share: Share | None = None
    """The same share for activation at once; left out: never. [-]"""


class CapacityPrices(Sourced):
    """What power held ready costs."""

    fcr_eur_per_mw_h: NotNegative
    """[EUR/(MW h)]"""
    afrr_eur_per_mw_h: NotNegative
    """[EUR/(MW h)]"""
    mfrr_eur_per_mw_h: NotNegative
    """[EUR/(MW h)]"""


class AreaBid(Section):
    """An offer of balancing energy."""

    name: str
    """Name in tables, also of its provider."""
    product: Product
    """aFRR follows every control cycle, mFRR is activated by schedule or at once."""
    direction: Literal["up", "down"]
    """`up` covers a deficit, `down` a surplus."""
    share: Share
    """Power by the load of the area. [-]"""
    spread_eur_per_mwh: float
    """Price minus the mean day-ahead price of the study. [EUR/MWh]"""
    activation_seconds: Positive | None = None
    """From the request to full power; left out: what the market allows. [s]"""
    store: str | None = None
    """Store that bounds its energy; at most one bid of each direction shares a store."""


class AreaStore(Section):
    """Energy behind bids."""

    name: str
    """Name in tables."""
    hours: Positive
    """Energy by the power of its larger bid. [h]"""
    start_share: Share = 0.5
    """Stored share at the beginning. [-]"""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Round trip. [-]"""


class AreaRules(Section):
    """A control area by the load of which everything is scaled."""

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
    size: AreaSize
    load: AreaLoad
    fcr: AreaFcr
    control: AreaController
    capacity_price: CapacityPrices
    bid: Annotated[tuple[AreaBid, ...], Field(min_length=1)]
    store: tuple[AreaStore, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> AreaRules:
        for what, names in (("bid", [b.name for b in self.bid]), ("store", [s.name for s in self.store])):
            if len(set(names)) < len(names):
                raise ValueError(f"a {what} stands twice: {', '.join(names)}")
        behind = {bid.store for bid in self.bid if bid.store is not None}
        stores = {store.name for store in self.store}
        if behind != stores:
            raise ValueError(f"bids name the stores {sorted(behind)}, the stores are {sorted(stores)}")
        return self

    def unchecked(self) -> tuple[str, ...]:
        """Tables whose numbers were not read in their source; bids and stores are assumptions anyway."""
        tables: dict[str, Sourced] = {
            "size": self.size,
            "load": self.load,
            "fcr": self.fcr,
            "control": self.control,
            "capacity_price": self.capacity_price,
        }
        return tuple(name for name, table in tables.items() if not table.checked)


CODES = RuleCodes("GT-R61", *("GT-R62",) * 5)
SHIPPED = RuleFolder(AreaRules, "gridtwin.data", "rule_sets/control_area", "control area", CODES, "balancing.area")
"""The areas that ship with the package."""


def list_control_areas() -> list[str]:
    """Names of the shipped control areas."""
    return SHIPPED.names()


def read_control_area(name_or_path: str | Path, base: Path = Path()) -> AreaRules:
    """A shipped control area by its name, or an own one by the path of its file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_control_areas()`, or a path that ends in `.toml`.
    base : Path
        Folder from which a relative path starts.

    Raises
    ------
    ScenarioError
        If there is no such area or file.
    DataError
        If the file is no control area; every fault with its key.

    Examples
    --------
    >>> read_control_area("continental_part").fcr.full_at_hz
    0.2
    """
    return SHIPPED.read(name_or_path, base)


def read_control_area_text(name: str) -> str:
    """The file of a shipped area, to be edited."""
    return SHIPPED.text(name)


def parse_control_area(text: str, where: str = "control area") -> AreaRules:
    """The area in a TOML text; every fault at once."""
    return SHIPPED.parse(text, where)
