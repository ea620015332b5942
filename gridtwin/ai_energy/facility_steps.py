"""The way from a node to the connection point, one boundary at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gridtwin.ai_energy.facility import require_at_least_one
from gridtwin.ai_energy.quantity import Boundary, BoundaryStep, Quantity, with_interval
from gridtwin.ai_energy.quotient import ends_of
from gridtwin.errors import DataError, Finding

LOSS_SHARES: dict[Boundary, tuple[float, float, float]] = {
    "rack": (0.0, 0.01, 0.03),
    "it_at_ups": (0.0, 0.02, 0.05),
    "connection_point": (0.0, 0.01, 0.02),
}
"""Losses between a boundary and the one inside it, of what passes inside: assumed, with wide intervals. Between the
node and the rack, distribution units; between rack and UPS, cables and transformers; between the facility's meter
and the connection point, its transformer. [-]"""


def facility_steps(pue: Quantity, loss_shares: Mapping[Boundary, Quantity] | None = None) -> tuple[BoundaryStep, ...]:
    """Way from a node to the connection point: node, rack, IT at the UPS, facility, connection point.

    Parameters
    ----------
    pue : Quantity
        PUE of category 1; the average for an inventory, the marginal one for what one more job costs. [1]
    loss_shares : mapping from boundary to Quantity, optional
        Loss on the way to `rack`, `it_at_ups` or `connection_point`, of what passes inside; the others are assumed.
        [1]

    Returns
    -------
    tuple of BoundaryStep
        From inside out.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> energy = exact(100.0, "kWh", kind="measured", method="meter", boundary="node")
    >>> steps = facility_steps(exact(1.3, "1", kind="declared", method="supplier"))
    >>> round(carry_outwards(energy, steps, "connection_point").p50, 2)
    135.27
    """
    require_at_least_one(pue)
    given = dict(loss_shares or {})
    unknown = sorted(set(given) - set(LOSS_SHARES))
    if unknown:
        raise DataError([Finding("no losses of their own", where=", ".join(unknown), severity="error",
                                 expected=", ".join(LOSS_SHARES), code="GT-E72")])  # fmt: skip
    factors = {name: _one_plus(given[name]) if name in given else _assumed_factor(name) for name in LOSS_SHARES}
    ways: list[tuple[Boundary, Boundary]] = [("node", "rack"), ("rack", "it_at_ups"), ("it_at_ups", "facility"),
                                             ("facility", "connection_point")]  # fmt: skip
    return tuple(BoundaryStep(inside=a, outside=b, factor=factors.get(b, pue)) for a, b in ways)


def carry_outwards(quantity: Quantity, steps: Sequence[BoundaryStep], outside: Boundary) -> Quantity:
    """A quantity at a boundary further out, step by step.

    Parameters
    ----------
    quantity : Quantity
        Energy or power, at the inner boundary of one of the steps.
    steps : sequence of BoundaryStep
        In any order.
    outside : str
        Where to go.

    Returns
    -------
    Quantity
        In the same unit.

    Raises
    ------
    DataError
        If no step leads on.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> energy = exact(1.0, "kWh", kind="measured", method="meter", boundary="it_at_ups")
    >>> steps = facility_steps(exact(1.3, "1", kind="declared", method="supplier"))
    >>> carry_outwards(energy, steps, "facility").p50
    1.3
    """
    by_start = {step.inside: step for step in steps}
    while quantity.boundary != outside:
        step = by_start.get(quantity.boundary) if quantity.boundary is not None else None
        if step is None:
            raise DataError([Finding("no step leads on", where=str(quantity.boundary), expected=f"a way to {outside}",
                                     severity="error", code="GT-E73")])  # fmt: skip
        quantity = step(quantity)
    return quantity


def _one_plus(share: Quantity) -> Quantity:
    if share.is_missing:
        return share
    ends = {name: 1 + value for name, value in zip(("p2_5", "p50", "p97_5"), ends_of(share), strict=True)}
    return share.model_copy(update=ends)


def _assumed_factor(boundary: Boundary) -> Quantity:
    low, middle, high = (1 + share for share in LOSS_SHARES[boundary])
    return with_interval(middle, 1 - low / middle, high / middle - 1, "1", kind="estimated",
                         method=f"losses on the way to {boundary}, assumed", method_class="other")  # fmt: skip
