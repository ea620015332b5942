"""Frequency and area control on arrays: from a second to a settlement, many scenarios at once.

Every step goes through a linear core, discretised exactly by the caller, that moves
frequencies and tie lines; droop reserves answer to the frequency, demand is shed
below its thresholds, and noise is drawn from a hash of seed, scenario and step, so
that it depends neither on blocks nor on threads. Every control cycle (4 s, say) a PI
controller of the area control error asks for power, areas net what they ask for, and
bids follow in merit order, see `area_bids.py`.

Scenarios come in blocks of `len(width)`; arrays of state are `[element][lane]` with
the lane innermost. Every sum runs over elements in a fixed order and never over
lanes.

Inside this file power is + when injected into the area, as in kernels elsewhere;
only loads and shed demand are consumption, and both say so. Frequencies are
deviations from nominal. [Hz]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridtwin.kernels.area_arrays import (
    ACE,
    AS_BID,
    DROOP,
    F_MAX,
    F_MIN,
    LOAD,
    MARGINAL,
    MFRR,
    NETTING,
    REBOUND,
    REQUEST,
    RESERVE,
    SHED,
    ControlArrays,
    ControllerArrays,
    ControlSteps,
    CoreArrays,
    DroopArrays,
    EventArrays,
    F,
    SheddingArrays,
)
from gridtwin.kernels.area_bids import (
    BidArrays,
    BidState,
    StoreArrays,
    offer_volume,
    refresh_stores,
    refresh_volumes,
    serve_request,
    smaller,
)
from gridtwin.kernels.lanes import (
    any_lane,
    apart,
    at_most,
    both,
    fma,
    greater,
    inner,
    item,
    lane_rows,
    larger,
    load,
    magnitude,
    select,
    spread,
    store,
)
from gridtwin.kernels.noise import noise_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _State(NamedTuple):
    """What a block carries from step to step. (row, lane)"""

    x: Floats
    x_next: Floats
    load: Floats
    level: Floats
    noise: Floats
    droop: Floats
    lagged: Floats
    droop_sum: Floats
    below: Floats
    shed: Floats
    power: Floats
    ace: Floats
    integral: Floats
    request: Floats
    mfrr: Floats
    wait: Floats
    netting: Floats
    reserve: Floats


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def control_areas(
    first: int,
    last: int,
    core: CoreArrays,
    droops: DroopArrays,
    controllers: ControllerArrays,
    p_load_mw: Floats,
    events: EventArrays,
    shedding: SheddingArrays,
    bids: BidArrays,
    stores: StoreArrays,
    steps: ControlSteps,
    results: ControlArrays,
    width: tuple[None, ...],
) -> None:
    """Blocks `first` to `last` (without) of scenarios from the first to the last step.

    Parameters
    ----------
    first, last : int
        Blocks; scenarios `first * len(width)` and so on.
    core, droops, controllers, events, shedding, bids, stores, steps
        The system.
    p_load_mw : ndarray, (block, interval, area, lane)
        Load above the balanced state, consumption positive; 0 intervals: none. [MW]
    results : ControlArrays
        Output, zeroed by the caller.
    width : tuple
        Scenarios per block; results do not depend on it.
    """
    areas, droop_count = core.gamma.shape[1], len(droops.area)
    state = _State(
        lane_rows(len(core.phi), width), lane_rows(len(core.phi), width), lane_rows(areas, width),
        lane_rows(areas, width), lane_rows(areas, width), lane_rows(droop_count, width),
        lane_rows(droop_count, width), lane_rows(areas, width), lane_rows(len(shedding.area), width),
        lane_rows(areas, width), lane_rows(areas, width), lane_rows(areas, width), lane_rows(areas, width),
        lane_rows(areas, width), lane_rows(areas, width), lane_rows(areas, width), lane_rows(areas, width),
        lane_rows(areas, width),
    )  # fmt: skip
    count = len(bids.price)
    book = BidState(
        lane_rows(count, width), lane_rows(count, width), lane_rows(count, width), lane_rows(count, width),
        lane_rows(count, width), lane_rows(len(stores.e_mwh), width), lane_rows(len(bids.plain), width),
        np.zeros(len(bids.plain), dtype=np.int64),
    )  # fmt: skip
    for block in range(first, last):
        for rows in state:
            rows[:] = 0.0
        for rows in (book.volume, book.target, book.power, book.until, book.back, book.offered):
            rows[:] = 0.0
        book.reach[:] = 0
        for s in range(len(stores.e_mwh)):
            book.energy[s, :] = stores.e_start_mwh[s]
        _control_block(
            block, core, droops, controllers, p_load_mw[block], events, shedding, bids, stores, steps, state, book,
            results.area[block], results.tie_mw[block], results.bid_mw[block], results.store_mwh[block],
            results.trace[block], width,
        )  # fmt: skip


@apart
def _control_block(  # type: ignore[no-untyped-def]
    block, core, droops, controllers, p_load_mw, events, shedding, bids, stores, steps, state, book, area_out, tie_out,
    bid_out, store_out, trace_out, width,
):  # fmt: skip
    """One block of scenarios, all steps; `state` and `book` are zeroed, outputs are those of the block."""
    areas, ties, event, armed = core.gamma.shape[1], len(core.tie_from), 0, False
    for k in range(steps.steps):
        period = k // steps.period
        out, tie_rows = area_out[period], tie_out[period]
        if k % steps.period == 0:
            refresh_volumes(period, bids, book, width)
            for a in range(areas):
                store(out, F_MIN * areas + a, spread(np.inf, width))
                store(out, F_MAX * areas + a, spread(-np.inf, width))
        if k % steps.load_steps == 0 and k // steps.load_steps < len(p_load_mw):
            for a in range(areas):
                store(state.level, a, load(p_load_mw[k // steps.load_steps], a, width))
        while event < len(events.step) and events.step[event] <= k:
            a = events.area[event]
            for lane in range(len(width)):
                state.load[a, lane] += events.p_mw[event]
            event += 1
        if k % steps.cycle == 0:
            _run_cycle(k, core, controllers, bids, stores, steps, state, book, out, bid_out[period], width)
        _answer_by_droop(droops, state, width)
        armed = _shed_load(shedding, state, armed, width)
        _inject(block, k, controllers, steps, state, out, width)
        if steps.trace > 0 and k % steps.trace == 0:
            _trace(areas, ties, state, trace_out[k // steps.trace], width)
        share = 1.0 / steps.period
        for tie in range(ties):
            store(tie_rows, tie, fma(load(state.x, areas + tie, width), share, load(tie_rows, tie, width)))
        _move_core(core, state, width)
        if (k + 1) % steps.period == 0:
            for s in range(len(stores.e_mwh)):
                store(store_out[period], s, load(book.energy, s, width))


@inner
def _add(rows, row, value, share, width):  # type: ignore[no-untyped-def]
    """Add a share of a value to a row of means."""
    store(rows, row, fma(value, share, load(rows, row, width)))


@inner
def _run_cycle(k, core, controllers, bids, stores, steps, state, book, out, bid_out, width):  # type: ignore[no-untyped-def]
    """Measure, control, net, order and follow: what happens once per control cycle.

    Area control error: export above schedule + K f, + at surplus. Exchange that areas
    net belongs to the schedule.
    """
    areas, cycle, share = len(state.ace), float(k // steps.cycle), steps.cycle / steps.period
    refresh_stores(k // steps.period, bids, stores, steps.cycle_hours, book, width)
    _measure(core, controllers, state, width)
    for a in range(areas):
        _ask(a, controllers, bids, book, state, width)
    if controllers.netting:
        _net(state, width)
    for a in range(areas):
        scheduled = k > 0 and k % steps.schedule == 0
        _hand_over(a, scheduled, controllers, bids, book, steps, state, width)
        request, manual = load(state.request, a, width), load(state.mfrr, a, width)
        reserve, rebound, cost, cleared = (
            spread(0.0, width), spread(0.0, width), spread(0.0, width), spread(0.0, width)
        )  # fmt: skip
        for part in range(4):
            # a downward bid draws now and gives back later; its price is received
            sign, asked = 1.0 - 2.0 * (part % 2), request if part < 2 else manual
            power, back, as_bid, at_margin = serve_request(
                4 * a + part, asked * sign, cycle, bids, stores, steps.cycle_hours, share, book, bid_out, width
            )
            reserve = fma(power, sign, reserve)
            rebound = fma(back, sign, rebound)
            cost = fma(as_bid, sign, cost)
            cleared = fma(at_margin, sign, cleared)
        store(state.reserve, a, reserve - rebound)
        _add(out, ACE * areas + a, load(state.ace, a, width), share, width)
        _add(out, REQUEST * areas + a, request, share, width)
        _add(out, MFRR * areas + a, manual, share, width)
        _add(out, NETTING * areas + a, load(state.netting, a, width), share, width)
        _add(out, RESERVE * areas + a, reserve, share, width)
        _add(out, REBOUND * areas + a, rebound, share, width)
        _add(out, AS_BID * areas + a, cost, steps.cycle_hours, width)
        _add(out, MARGINAL * areas + a, cleared, steps.cycle_hours, width)


@inner
def _measure(core, controllers, state, width):  # type: ignore[no-untyped-def]
    """Area control errors of this cycle."""
    areas = len(state.ace)
    for a in range(areas):
        bias = load(state.x, a, width) * item(controllers.bias_mw_per_hz, a)
        store(state.ace, a, bias + load(state.netting, a, width))
    for tie in range(len(core.tie_from)):
        flow, start, end = load(state.x, areas + tie, width), core.tie_from[tie], core.tie_to[tie]
        store(state.ace, start, load(state.ace, start, width) + flow)
        store(state.ace, end, load(state.ace, end, width) - flow)


@inner
def _ask(a, controllers, bids, book, state, width):  # type: ignore[no-untyped-def]
    """PI controller: upward request positive; the integral stays within what is offered."""
    most, least = offer_volume(4 * a, bids, book, width), 0.0 - offer_volume(4 * a + 1, bids, book, width)
    ace = load(state.ace, a, width)
    integral = load(state.integral, a, width) - ace * item(controllers.integral, a)
    integral = smaller(larger(integral, least), most)
    store(state.integral, a, integral)
    request = integral - ace * item(controllers.proportional, a)
    store(state.request, a, smaller(larger(request, least), most))


@inner
def _net(state, width):  # type: ignore[no-untyped-def]
    """Opposite requests cancel, in proportion to each; `netting` is what an area imports by it."""
    up, down = spread(0.0, width), spread(0.0, width)
    for a in range(len(state.request)):
        request = load(state.request, a, width)
        up, down = up + larger(request, 0.0), down + larger(0.0 - request, 0.0)
    netted = smaller(up, down)
    # smallest normal number: no request gives 0, not 0 / 0
    share_up, share_down = netted / larger(up, 2.3e-308), netted / larger(down, 2.3e-308)
    for a in range(len(state.request)):
        request = load(state.request, a, width)
        part = larger(request, 0.0) * share_up - larger(0.0 - request, 0.0) * share_down
        store(state.netting, a, part)
        store(state.request, a, request - part)


@inner
def _hand_over(a, scheduled, controllers, bids, book, steps, state, width):  # type: ignore[no-untyped-def]
    """Manual reserves take what has lasted: on schedule, or at once when automatic ones are nearly used up."""
    integral, wait = load(state.integral, a, width), load(state.wait, a, width)
    request, nothing = load(state.mfrr, a, width), spread(0.0, width)
    more = nothing
    if scheduled:
        more = select(greater(magnitude(integral), item(controllers.threshold_mw, a)), integral, nothing)
    if controllers.direct_share[a] < np.inf:
        most, least = offer_volume(4 * a, bids, book, width), offer_volume(4 * a + 1, bids, book, width)
        limit = select(greater(integral, 0.0), most, least) * item(controllers.direct_share, a)
        urgent = both(at_most(wait, 0.0), both(greater(magnitude(integral), 0.0), at_most(limit, magnitude(integral))))
        more = select(urgent, integral, more)
        store(state.wait, a, select(urgent, steps.wait, wait - 1.0))
    most, least = offer_volume(4 * a + 2, bids, book, width), offer_volume(4 * a + 3, bids, book, width)
    store(state.mfrr, a, smaller(larger(request + more, 0.0 - least), most))


@inner
def _answer_by_droop(droops, state, width):  # type: ignore[no-untyped-def]
    """Activation follows the droop line with a lag and a limited rate."""
    for a in range(len(state.droop_sum)):
        store(state.droop_sum, a, spread(0.0, width))
    for d in range(len(droops.area)):
        a = item(droops.area, d)
        f, band = load(state.x, a, width), item(droops.band_hz, d)
        beyond = f - smaller(larger(f, -band), band)
        share = beyond * (-1.0 / (item(droops.full_hz, d) - band))
        share = smaller(larger(share, item(droops.lowest, d)), item(droops.highest, d))
        aim = share * item(droops.p_mw, d)
        lagged = fma(load(state.lagged, d, width) - aim, item(droops.keep, d), aim)
        power, rate = load(state.droop, d, width), item(droops.rate_mw, d)
        power = power + smaller(larger(lagged - power, -rate), rate)
        store(state.lagged, d, lagged)
        store(state.droop, d, power)
        store(state.droop_sum, a, load(state.droop_sum, a, width) + power)


@inner
def _shed_load(shedding, state, armed, width):  # type: ignore[no-untyped-def]
    """Stages count the steps below their threshold; what is shed stays shed. True while any time runs."""
    for stage in range(len(shedding.area)):
        low = greater(item(shedding.f_hz, stage), load(state.x, item(shedding.area, stage), width))
        armed = armed or any_lane(low)
    if not armed:
        return False
    armed = False
    for a in range(len(state.shed)):
        store(state.shed, a, spread(0.0, width))
    for stage in range(len(shedding.area)):
        a, delay = item(shedding.area, stage), item(shedding.delay, stage)
        passed = load(state.below, stage, width)
        gone = greater(passed, delay)
        low = greater(item(shedding.f_hz, stage), load(state.x, a, width))
        # a stage that has gone counts no further and does not return
        passed = select(gone, passed, select(low, passed + 1.0, spread(0.0, width)))
        store(state.below, stage, passed)
        power = select(greater(passed, delay), item(shedding.p_mw, stage), spread(0.0, width))
        store(state.shed, a, load(state.shed, a, width) + power)
        armed = armed or any_lane(greater(passed, 0.0))
    return armed


@inner
def _inject(block, k, controllers, steps, state, out, width):  # type: ignore[no-untyped-def]
    """Power injected into every area in this step, and the means of what goes into it."""
    areas, share = len(state.power), 1.0 / steps.period
    for a in range(areas):
        if controllers.noise_mw[a] > 0.0:
            count = np.uint64(k * areas + a)
            gain, keep = controllers.noise_mw[a], controllers.noise_keep[a]
            for lane in range(len(width)):
                drawn = noise_of(steps.seed, np.uint64(block * len(width) + lane), count)
                state.noise[a, lane] = keep * state.noise[a, lane] + gain * drawn
        p_load = load(state.load, a, width) + load(state.level, a, width) + load(state.noise, a, width)
        droop, shed = load(state.droop_sum, a, width), load(state.shed, a, width)
        store(state.power, a, load(state.reserve, a, width) + droop + shed - p_load)
        f = load(state.x, a, width)
        _add(out, F * areas + a, f, share, width)
        store(out, F_MIN * areas + a, smaller(f, load(out, F_MIN * areas + a, width)))
        store(out, F_MAX * areas + a, larger(f, load(out, F_MAX * areas + a, width)))
        _add(out, LOAD * areas + a, p_load, share, width)
        _add(out, DROOP * areas + a, droop, share, width)
        _add(out, SHED * areas + a, shed, share, width)


@inner
def _move_core(core, state, width):  # type: ignore[no-untyped-def]
    """One step of the linear system."""
    n, areas = len(core.phi), core.gamma.shape[1]
    for row in range(n):
        total = load(state.x, 0, width) * core.phi[row, 0]
        for column in range(1, n):
            total = fma(load(state.x, column, width), core.phi[row, column], total)
        for a in range(areas):
            total = fma(load(state.power, a, width), core.gamma[row, a], total)
        store(state.x_next, row, total)
    for row in range(n):
        store(state.x, row, load(state.x_next, row, width))


@inner
def _trace(areas, ties, state, out, width):  # type: ignore[no-untyped-def]
    """What holds at the beginning of a step."""
    for a in range(areas):
        p_load = load(state.load, a, width) + load(state.level, a, width) + load(state.noise, a, width)
        store(out, a, load(state.x, a, width))
        store(out, areas + a, p_load)
        store(out, 2 * areas + a, load(state.droop_sum, a, width))
        store(out, 3 * areas + a, load(state.shed, a, width))
        store(out, 4 * areas + a, load(state.ace, a, width))
        store(out, 5 * areas + a, load(state.reserve, a, width))
    for tie in range(ties):
        store(out, 6 * areas + tie, load(state.x, areas + tie, width))
