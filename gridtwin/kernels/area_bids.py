"""Balancing bids on arrays: merit order, ramps, least durations, stored energy and rebound.

A request is covered in the order of prices over what is offered, whatever the ramps,
as platforms do; the power of every bid then follows its own request within its ramp.
Bids at one price share in proportion to what each has left to give. All arrays of
state are `[bid][lane]`.

A bid is never negative: upward bids inject, downward bids draw. Prices are what the
operator pays for upward and receives for downward energy. [EUR/MWh]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridtwin.kernels.lanes import (
    any_lane,
    at_most,
    both,
    fma,
    greater,
    inner,
    item,
    larger,
    load,
    select,
    spread,
    store,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMALLEST_MW = 1e-9
"""Power below is rounding: it neither begins a duration nor sets a price. [MW]"""


class BidArrays(NamedTuple):
    """Bids by area, product (automatic, manual) and direction (up, down), and therein in merit order."""

    segment: Ints
    """First bid of each area, product and direction, and the number of bids. (4 area + 1)"""
    plain: Ints
    """1 where no two prices are equal and no bid has a least duration or a rebound. (segment,)"""
    group_end: Ints
    """The bid behind the last one of the same price in the segment. (bid,)"""
    price: Floats
    """(bid,) [EUR/MWh]"""
    p_mw: Floats
    """Offered power. (period, bid) [MW]"""
    ramp_mw: Floats
    """Largest change of power within a cycle. (bid,) [MW]"""
    hold: Floats
    """Least duration; 0: none. (bid,) [cycles]"""
    storage: Ints
    """Store behind the bid; -1: none. (bid,)"""
    rebound: Floats
    """Share of the energy that comes back. (bid,) [-]"""
    rebound_keep: Floats
    """Part of a rebound that is left after a cycle. (bid,) [-]"""


class StoreArrays(NamedTuple):
    """Energy behind bids; one store may stand behind one upward and one downward bid."""

    e_mwh: Floats
    e_start_mwh: Floats
    """Usable and first energy. (store,) [MWh]"""
    efficiency: Floats
    """One way. (store,) [-]"""


class BidState(NamedTuple):
    """What a block carries from cycle to cycle. (bid, lane), (store, lane)"""

    volume: Floats
    target: Floats
    power: Floats
    until: Floats
    back: Floats
    energy: Floats
    offered: Floats
    """Volume of the bids without a store. (segment, lane) [MW]"""
    reach: Ints
    """The bid behind the last one that gives power in any lane. (segment,)"""


@inner
def smaller(a, b):  # type: ignore[no-untyped-def]
    """The smaller of two per lane; b beside a NaN in a."""
    return select(greater(b, a), a, b)


@inner
def refresh_volumes(period, bids, book, width):  # type: ignore[no-untyped-def]
    """Offers of a new period."""
    for segment in range(len(bids.plain)):
        total = 0.0
        for bid in range(bids.segment[segment], bids.segment[segment + 1]):
            store(book.volume, bid, spread(bids.p_mw[period, bid], width))
            total += bids.p_mw[period, bid] if bids.storage[bid] < 0 else 0.0
        store(book.offered, segment, spread(total, width))


@inner
def refresh_stores(period, bids, stores, cycle_hours, book, width):  # type: ignore[no-untyped-def]
    """Offers of bids with a store: no more than its energy gives, or its room takes, for one cycle."""
    for segment in range(len(bids.segment) - 1):
        for bid in range(bids.segment[segment], bids.segment[segment + 1]):
            s = item(bids.storage, bid)
            if s < 0:
                continue
            energy, efficiency = load(book.energy, s, width), stores.efficiency[s]
            if segment % 2 == 0:
                most = energy * (efficiency / cycle_hours)
            else:
                most = (stores.e_mwh[s] - energy) * (1.0 / (efficiency * cycle_hours))
            store(book.volume, bid, smaller(larger(most, 0.0), bids.p_mw[period, bid]))


@inner
def offer_volume(segment, bids, book, width):  # type: ignore[no-untyped-def]
    """What the bids of a segment can give together. [MW]"""
    total = load(book.offered, segment, width)
    for bid in range(bids.segment[segment], bids.segment[segment + 1]):
        if item(bids.storage, bid) >= 0:
            total = total + load(book.volume, bid, width)
    return total


@inner
def order_segment(segment, need, cycle, bids, book, width):  # type: ignore[no-untyped-def]
    """Requests to the bids of one segment: the cheapest first, equal prices by what they have left.

    Bids within their least duration keep what they give and count first.
    """
    first, last = bids.segment[segment], bids.segment[segment + 1]
    holding = False
    for bid in range(first, last):
        if bids.hold[bid] > 0.0:
            holding = True
            kept = select(greater(load(book.until, bid, width), cycle), load(book.target, bid, width), 0.0 * need)
            need = need - smaller(kept, load(book.volume, bid, width))
    need = larger(need, 0.0)
    bid = first
    while bid < last:
        end = item(bids.group_end, bid)
        if end == bid + 1 and not holding:
            take = smaller(need, load(book.volume, bid, width))
            store(book.target, bid, take)
            need = need - take
        else:
            need = _share_group(bid, end, need, cycle, bids, book, width)
        bid = end


@inner
def _share_group(first, end, need, cycle, bids, book, width):  # type: ignore[no-untyped-def]
    """Bids at one price rise together; what is still needed."""
    nothing = spread(0.0, width)
    room = nothing
    for bid in range(first, end):
        volume = load(book.volume, bid, width)
        kept = select(greater(load(book.until, bid, width), cycle), load(book.target, bid, width), nothing)
        room = room + volume - smaller(kept, volume)
    take = smaller(need, room)
    # smallest normal number: a group without room gives 0, not 0 / 0
    share = take / larger(room, 2.3e-308)
    for bid in range(first, end):
        volume, before = load(book.volume, bid, width), load(book.target, bid, width)
        until = load(book.until, bid, width)
        kept = smaller(select(greater(until, cycle), before, nothing), volume)
        target = fma(share, volume - kept, kept)
        begins = both(greater(target, SMALLEST_MW), at_most(before, SMALLEST_MW))
        store(book.until, bid, select(begins, cycle + item(bids.hold, bid), until))
        store(book.target, bid, target)
    return need - take


@inner
def serve_request(segment, need, cycle, bids, stores, cycle_hours, share, book, bid_out, width):  # type: ignore[no-untyped-def]
    """Order the bids of a segment and move them: power, rebound, cost as bid and at the margin.

    The marginal price is that of the last bid in merit order that gives power. A plain
    segment is left where nothing more is needed and no bid still gives power.
    """
    plain, reach, need = bids.plain[segment] == 1, bids.segment[segment], larger(need, 0.0)
    if not plain:
        order_segment(segment, need, cycle, bids, book, width)
    up = segment % 2 == 0
    total, back_total, cost = spread(0.0, width), spread(0.0, width), spread(0.0, width)
    margin = spread(0.0, width)
    for bid in range(bids.segment[segment], bids.segment[segment + 1]):
        volume = load(book.volume, bid, width)
        if plain:
            if bid >= book.reach[segment] and not any_lane(greater(need, 0.0)):
                break
            target = smaller(need, volume)
            need = need - target
        else:
            target = load(book.target, bid, width)
        before, ramp, price = load(book.power, bid, width), item(bids.ramp_mw, bid), item(bids.price, bid)
        power = smaller(before + smaller(larger(target - before, -ramp), ramp), volume)
        if any_lane(greater(power, 0.0)):
            reach = bid + 1
        store(book.power, bid, power)
        store(bid_out, bid, fma(power, share, load(bid_out, bid, width)))
        total = total + power
        cost = fma(power, price, cost)
        margin = select(greater(power, SMALLEST_MW), price, margin)
        if item(bids.rebound, bid) > 0.0:
            back, keep = load(book.back, bid, width), bids.rebound_keep[bid]
            back_total = back_total + back
            store(book.back, bid, fma(back, keep, power * (bids.rebound[bid] * (1.0 - keep))))
        s = item(bids.storage, bid)
        if s >= 0:
            efficiency = stores.efficiency[s]
            stored = power * (-cycle_hours / efficiency) if up else power * (cycle_hours * efficiency)
            # the volumes hold the limits up to the last bit only
            store(book.energy, s, smaller(larger(load(book.energy, s, width) + stored, 0.0), stores.e_mwh[s]))
    book.reach[segment] = reach
    return total, back_total, cost, margin * total
