"""From control areas and bids to the arrays of the kernel; nothing but `control_system.py` meets numbers here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import expm

from gridtwin.errors import DataError, Finding, raise_errors
from gridtwin.kernels.area_arrays import (
    ControllerArrays,
    ControlSteps,
    CoreArrays,
    DroopArrays,
    EventArrays,
    SheddingArrays,
)
from gridtwin.kernels.area_bids import BidArrays, StoreArrays
from gridtwin.operate.control_system import (
    BalancingBid,
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    DroopReserve,
)

PRODUCTS, DIRECTIONS = ("afrr", "mfrr"), ("up", "down")


class CompiledControl(NamedTuple):
    """Arguments of `control_areas` and the order of its bids."""

    core: CoreArrays
    droops: DroopArrays
    controllers: ControllerArrays
    load_mw: np.ndarray
    events: EventArrays
    shedding: SheddingArrays
    bids: BidArrays
    stores: StoreArrays
    steps: ControlSteps
    order: tuple[BalancingBid, ...]


def compile_control(system: ControlSystem, times: ControlTimes, inputs: ControlInputs) -> CompiledControl:
    """Arrays of the kernel; `load_mw` is (interval, area, scenario), with 0 intervals if there is none.

    Raises
    ------
    DataError
        If names, times or numbers contradict each other; all findings at once.
    """
    raise_errors(check_control(system, times, inputs), DataError)
    place = {area.name: a for a, area in enumerate(system.areas)}
    phi, gamma = discretise_core(system, times.step_s)
    ends = [(place[tie.start], place[tie.end]) for tie in system.ties]
    core = CoreArrays(phi, gamma, _whole([start for start, _ in ends]), _whole([end for _, end in ends]))
    load = _compile_load(system, inputs)
    steps = _compile_steps(times, inputs, max(len(load), 1))
    bids, order = _compile_bids(system, times)
    return CompiledControl(
        core, _compile_droops(system, times), _compile_controllers(system, times), load,
        _compile_events(inputs, place, times), _compile_shedding(system, place, times), bids,
        _compile_stores(system), steps, order,
    )  # fmt: skip


# --- checks -----------------------------------------------------------------------------------------------------------


def check_control(system: ControlSystem, times: ControlTimes, inputs: ControlInputs) -> tuple[Finding, ...]:
    """Everything that contradicts itself, named with its place."""
    return (
        *_check_names(system, inputs), *_check_times(times, inputs), *_check_areas(system), *_check_bids(system),
        *_check_shedding(system), *_check_load(system, inputs),
        *_check_stability(system, times),
    )  # fmt: skip


def _error(what: str, where: str, expected: str, got: object, do: str = "") -> Finding:
    return Finding(what, where=where, expected=expected, got=str(got), do=do, severity="error")


def _check_names(system: ControlSystem, inputs: ControlInputs) -> Iterator[Finding]:
    areas = [area.name for area in system.areas]
    if not areas:
        yield _error("there is no area", "areas", "at least one ControlArea", "none")
    families = {"areas": areas, "bids": [b.name for b in system.bids], "stores": [s.name for s in system.stores]}
    for family, names in families.items():
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            yield _error("names are not unique", family, "every name once", ", ".join(double))
    asked = [(f"tie {tie.start} - {tie.end}", end) for tie in system.ties for end in (tie.start, tie.end)]
    asked += [(f"bid {bid.name}", bid.area) for bid in system.bids]
    asked += [(f"load shedding at {stage.f_hz} Hz", stage.area) for stage in system.shedding]
    asked += [(f"disturbance at {event.start_s} s", event.area) for event in inputs.disturbances]
    for where, name in asked:
        if name not in areas:
            yield _error("unknown area", where, f"one of {', '.join(areas)}", name)
    for tie in system.ties:
        if tie.start == tie.end:
            yield _error("a tie line leads nowhere", f"tie {tie.start} - {tie.end}", "two areas", tie.end)


def _check_times(times: ControlTimes, inputs: ControlInputs) -> Iterator[Finding]:
    if times.step_s <= 0:
        yield _error("must be above 0 s", "step_s", "a length of time", times.step_s)
        return
    pairs = {
        "cycle_s": (times.cycle_s, times.step_s), "period_s": (times.period_s, times.cycle_s),
        "schedule_s": (times.schedule_s, times.cycle_s), "duration_s": (times.duration_s, times.period_s),
    }  # fmt: skip
    if times.trace_s is not None:
        pairs["trace_s"] = (times.trace_s, times.step_s)
    for name, (long, short) in pairs.items():
        if short <= 0 or not np.isclose(long / short, max(round(long / short), 1), rtol=0, atol=1e-9):
            yield _error("does not divide", name, f"a multiple of {short:g} s", f"{long:g} s")
    if inputs.scenarios < 1:
        yield _error("must be at least 1", "scenarios", "a number of scenarios", inputs.scenarios)
    for event in inputs.disturbances:
        if not np.isfinite(event.p_mw) or not event.start_s >= 0:
            yield _error("is no step of load", f"disturbance at {event.start_s} s", "finite MW from 0 s on", event.p_mw)


def _check_areas(system: ControlSystem) -> Iterator[Finding]:
    for area in system.areas:
        where = f"area {area.name}"
        if not area.inertia_mws > 0:
            yield _error("inertia_mws must be above 0 MW s", where, "kinetic energy", area.inertia_mws)
        if area.afrr_integral_s is not None and not area.afrr_integral_s > 0:
            yield _error("afrr_integral_s must be above 0 s", where, "a time or None", area.afrr_integral_s)
        for name in ("damping_mw_per_hz", "bias_mw_per_hz", "afrr_proportional", "noise_mw"):
            if not getattr(area, name) >= 0:
                yield _error(f"{name} must not be negative", where, "0 or more", getattr(area, name))
        if not area.noise_s > 0:
            yield _error("noise_s must be above 0 s", where, "a time constant", area.noise_s)
        for droop in area.droop:
            if not droop.full_at_hz > droop.dead_band_hz >= 0 or not droop.p_mw >= 0:
                got = f"{droop.p_mw} MW from {droop.dead_band_hz} to {droop.full_at_hz} Hz"
                yield _error("droop has no line", where, "power and full_at_hz above dead_band_hz", got)


def _check_stability(system: ControlSystem, times: ControlTimes) -> Iterator[Finding]:
    """Droop without a lag is sampled: gain x step / M must stay below 2, or the frequency swings from step to step."""
    for area in system.areas:
        quick = [d for d in area.droop if d.lag_s <= 0 and d.full_at_hz > d.dead_band_hz]
        gain = sum(d.p_mw / (d.full_at_hz - d.dead_band_hz) for d in quick)
        longest_s = 2 * 2 * max(area.inertia_mws, 0.0) / area.f_nominal_hz / gain if gain else np.inf
        if times.step_s >= longest_s > 0:
            do = "Take a shorter step_s, or give the droop its lag_s."
            where = f"area {area.name}"
            yield _error("step_s is too long for its droop", where, f"below {longest_s:.3g} s", times.step_s, do)


def _check_bids(system: ControlSystem) -> Iterator[Finding]:
    stores = {s.name: s for s in system.stores}
    used: set[tuple[str, str]] = set()
    for bid in system.bids:
        where = f"bid {bid.name}"
        if not (0 <= bid.p_mw < np.inf and np.isfinite(bid.price_eur_per_mwh)):
            yield _error("power or price is no number", where, "finite, power not negative", bid.p_mw)
        if bid.product not in PRODUCTS or bid.direction not in DIRECTIONS:
            yield _error("unknown kind", where, "afrr or mfrr, up or down", f"{bid.product}, {bid.direction}")
        if not 0 <= bid.rebound_share <= 1 or not bid.rebound_s > 0:
            yield _error("rebound is impossible", where, "a share from 0 to 1 and a time", bid.rebound_share)
        if bid.store is None:
            continue
        if bid.store not in stores:
            yield _error("unknown store", where, f"one of {', '.join(stores) or 'no stores'}", bid.store)
        if (bid.store, bid.direction) in used:
            do = "Give each bid a store of its own."
            yield _error("store has two bids of one direction", where, "one", bid.store, do)
        if bid.rebound_share:
            yield _error("a bid with a store has no rebound", where, "rebound_share 0", bid.rebound_share)
        used.add((bid.store, bid.direction))
    for s in system.stores:
        if not (s.e_mwh > 0 and 0 <= s.start_share <= 1 and 0 < s.efficiency <= 1):
            got = f"{s.e_mwh} MWh, {s.start_share}, {s.efficiency}"
            yield _error("store is impossible", f"store {s.name}", "energy above 0, shares from 0 to 1", got)


def _check_shedding(system: ControlSystem) -> Iterator[Finding]:
    nominal = {area.name: area.f_nominal_hz for area in system.areas}
    for stage in system.shedding:
        where = f"load shedding at {stage.f_hz} Hz"
        if stage.area in nominal and not stage.f_hz < nominal[stage.area]:
            yield _error(
                "threshold is not below nominal frequency", where, f"below {nominal[stage.area]} Hz", stage.f_hz
            )
        if not stage.delay_s >= 0:
            yield _error("delay must not be negative", where, "0 s or more", stage.delay_s)


def _check_load(system: ControlSystem, inputs: ControlInputs) -> Iterator[Finding]:
    load = inputs.load_mw
    if load is None:
        return
    if set(load.dims) != {"time", "area", "scenario"}:
        yield _error("unknown dims", "load_mw", "time, area, scenario", ", ".join(map(str, load.dims)))
        return
    names = [area.name for area in system.areas]
    if list(load["area"].to_numpy()) != names:
        yield _error("other areas", "load_mw", ", ".join(names), ", ".join(map(str, load["area"].to_numpy())))
    missing = int((~np.isfinite(load.to_numpy())).sum())
    if missing:
        yield _error("has gaps", "load_mw", "a number everywhere", f"{missing} missing")


# --- arrays -----------------------------------------------------------------------------------------------------------


def _whole(numbers: Sequence[int]) -> np.ndarray:
    return np.array(list(numbers), dtype=np.int64)


def _real(numbers: Sequence[float]) -> np.ndarray:
    return np.array(list(numbers), dtype=float)


def core_matrices(system: ControlSystem) -> tuple[np.ndarray, np.ndarray]:
    """Continuous linear system x' = A x + B p of frequencies, tie lines, governors, turbines and integrals.

    Returns
    -------
    a : ndarray, (state, state)
    b : ndarray, (state, area)
        Of power injected into each area. [Hz/s/MW]

    Notes
    -----
    M f' = p - D f + turbine - export with M = 2 E / f0; tie' = T (f_start - f_end);
    governor' = (-f / R - K integral - governor) / Tg; turbine' = (governor - turbine) / Tt;
    integral' = export + B f, O. I. Elgerd, Electric Energy Systems Theory, 1971.
    """
    count, ties = len(system.areas), len(system.ties)
    place = {area.name: a for a, area in enumerate(system.areas)}
    governed = [a for a, area in enumerate(system.areas) if area.governor]
    size = count + ties + 3 * len(governed)
    a_matrix, b_matrix = np.zeros((size, size)), np.zeros((size, count))
    for a, area in enumerate(system.areas):
        mass = 2 * area.inertia_mws / area.f_nominal_hz
        a_matrix[a, a], b_matrix[a, a] = -area.damping_mw_per_hz / mass, 1 / mass
    for t, tie in enumerate(system.ties):
        for end, sign in ((place[tie.start], 1.0), (place[tie.end], -1.0)):
            a_matrix[count + t, end] = sign * tie.coefficient_mw_per_hz_s
            a_matrix[end, count + t] = -sign * b_matrix[end, end]
    for g, a in enumerate(governed):
        area, governor, row = system.areas[a], system.areas[a].governor, count + ties + 3 * g
        assert governor is not None
        a_matrix[a, row + 1] = b_matrix[a, a]
        a_matrix[row, [a, row, row + 2]] = np.array([-1 / governor.droop_hz_per_mw, -1, -governor.integral_per_s])
        a_matrix[row] /= governor.governor_s
        a_matrix[row + 1, [row, row + 1]] = 1 / governor.turbine_s, -1 / governor.turbine_s
        a_matrix[row + 2, a] = area.bias_mw_per_hz
        for t, tie in enumerate(system.ties):
            a_matrix[row + 2, count + t] = float(tie.start == area.name) - float(tie.end == area.name)
    return a_matrix, b_matrix


def discretise_core(system: ControlSystem, step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact x[k+1] = phi x[k] + gamma p[k] for power that is constant within a step: one matrix exponential."""
    a_matrix, b_matrix = core_matrices(system)
    size, inputs = b_matrix.shape
    whole = np.zeros((size + inputs, size + inputs))
    whole[:size, :size], whole[:size, size:] = a_matrix, b_matrix
    moved = expm(whole * step_s)
    return np.ascontiguousarray(moved[:size, :size]), np.ascontiguousarray(moved[:size, size:])


def _compile_droops(system: ControlSystem, times: ControlTimes) -> DroopArrays:
    pairs = [(a, droop) for a, area in enumerate(system.areas) for droop in area.droop]
    droops = [droop for _, droop in pairs]
    return compile_droop_reserves(droops, times.step_s)._replace(area=_whole([a for a, _ in pairs]))


def compile_droop_reserves(droops: Sequence[DroopReserve], step_s: float) -> DroopArrays:
    """Droop reserves of one area."""
    rate = [d.p_mw * step_s / d.full_activation_s if d.full_activation_s > 0 else np.inf for d in droops]
    return DroopArrays(
        area=np.zeros(len(droops), dtype=np.int64),
        p_mw=_real([d.p_mw for d in droops]),
        band_hz=_real([d.dead_band_hz for d in droops]),
        full_hz=_real([d.full_at_hz for d in droops]),
        lowest=_real([0.0 if d.direction == "up" else -1.0 for d in droops]),
        highest=_real([0.0 if d.direction == "down" else 1.0 for d in droops]),
        keep=_real([np.exp(-step_s / d.lag_s) if d.lag_s > 0 else 0.0 for d in droops]),
        rate_mw=_real(rate),
    )


def _compile_controllers(system: ControlSystem, times: ControlTimes) -> ControllerArrays:
    areas: tuple[ControlArea, ...] = system.areas
    keep = _real([np.exp(-times.step_s / a.noise_s) for a in areas])
    return ControllerArrays(
        bias_mw_per_hz=_real([a.bias_mw_per_hz for a in areas]),
        proportional=_real([a.afrr_proportional for a in areas]),
        integral=_real([times.cycle_s / a.afrr_integral_s if a.afrr_integral_s else 0.0 for a in areas]),
        threshold_mw=_real([np.inf if a.mfrr_threshold_mw is None else a.mfrr_threshold_mw for a in areas]),
        direct_share=_real([np.inf if a.mfrr_direct_share is None else a.mfrr_direct_share for a in areas]),
        netting=system.netting,
        noise_keep=keep,
        noise_mw=_real([a.noise_mw for a in areas]) * np.sqrt(1 - keep**2),
    )


def _compile_load(system: ControlSystem, inputs: ControlInputs) -> np.ndarray:
    if inputs.load_mw is None:
        return np.zeros((0, len(system.areas), inputs.scenarios))
    return np.ascontiguousarray(inputs.load_mw.transpose("time", "area", "scenario").to_numpy(), dtype=float)


def _compile_steps(times: ControlTimes, inputs: ControlInputs, intervals: int) -> ControlSteps:
    steps = round(times.duration_s / times.step_s)
    if steps % intervals:
        finding = _error("does not divide the duration", "load_mw", f"a divisor of {steps} steps", intervals)
        raise DataError([finding])
    return ControlSteps(
        steps=steps,
        cycle=round(times.cycle_s / times.step_s),
        period=round(times.period_s / times.step_s),
        schedule=round(times.schedule_s / times.step_s),
        wait=times.direct_wait_s / times.cycle_s,
        cycle_hours=times.cycle_s / 3600,
        load_steps=steps // intervals,
        trace=0 if times.trace_s is None else round(times.trace_s / times.step_s),
        seed=np.uint64(inputs.seed),
    )


def _compile_events(inputs: ControlInputs, place: dict[str, int], times: ControlTimes) -> EventArrays:
    events = sorted(inputs.disturbances, key=lambda event: event.start_s)
    steps = _whole([int(np.ceil(event.start_s / times.step_s - 1e-9)) for event in events])
    return EventArrays(steps, _whole([place[e.area] for e in events]), _real([e.p_mw for e in events]))


def _compile_shedding(system: ControlSystem, place: dict[str, int], times: ControlTimes) -> SheddingArrays:
    stages, nominal = system.shedding, {area.name: area.f_nominal_hz for area in system.areas}
    return SheddingArrays(
        _whole([place[s.area] for s in stages]),
        _real([s.f_hz - nominal[s.area] for s in stages]),
        _real([s.delay_s / times.step_s for s in stages]),
        _real([s.p_mw for s in stages]),
    )


def order_by_merit(bids: Sequence[BalancingBid], direction: str) -> list[BalancingBid]:
    """Upward bids by rising, downward bids by falling price; equal prices keep their order."""
    sign = 1.0 if direction == "up" else -1.0
    return sorted(bids, key=lambda bid: sign * bid.price_eur_per_mwh)


def _compile_bids(system: ControlSystem, times: ControlTimes) -> tuple[BidArrays, tuple[BalancingBid, ...]]:
    order: list[BalancingBid] = []
    segment, group_end, plain = [0], [], []
    for area in system.areas:
        for product in PRODUCTS:
            for direction in DIRECTIONS:
                mine = [b for b in system.bids if (b.area, b.product, b.direction) == (area.name, product, direction)]
                mine = order_by_merit(mine, direction)
                for bid in mine:
                    behind = [i for i, other in enumerate(mine) if other.price_eur_per_mwh == bid.price_eur_per_mwh]
                    group_end.append(len(order) + behind[-1] + 1)
                order += mine
                prices = {bid.price_eur_per_mwh for bid in mine}
                special = any(b.least_duration_s or b.rebound_share for b in mine)
                plain.append(int(len(prices) == len(mine) and not special))
                segment.append(len(order))
    stores = {s.name: i for i, s in enumerate(system.stores)}
    begins = np.arange(round(times.duration_s / times.period_s))[:, np.newaxis] * times.period_s
    offered = begins >= _real([b.available_from_s for b in order])
    offered &= begins < _real([b.available_until_s for b in order])
    ramp = [b.p_mw * times.cycle_s / b.full_activation_s if b.full_activation_s > 0 else np.inf for b in order]
    arrays = BidArrays(
        segment=_whole(segment),
        plain=_whole(plain),
        group_end=_whole(group_end),
        price=_real([b.price_eur_per_mwh for b in order]),
        p_mw=np.ascontiguousarray(offered * _real([b.p_mw for b in order])),
        ramp_mw=_real(ramp),
        hold=_real([np.ceil(b.least_duration_s / times.cycle_s) for b in order]),
        storage=_whole([-1 if b.store is None else stores[b.store] for b in order]),
        rebound=_real([b.rebound_share for b in order]),
        rebound_keep=_real([np.exp(-times.cycle_s / b.rebound_s) for b in order]),
    )
    return arrays, tuple(order)


def _compile_stores(system: ControlSystem) -> StoreArrays:
    energy = _real([s.e_mwh for s in system.stores])
    start = energy * _real([s.start_share for s in system.stores])
    return StoreArrays(energy, start, np.sqrt(_real([s.efficiency for s in system.stores])))
