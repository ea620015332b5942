"""The model of `gridtwin.kernels.area_control` in numpy, vectorised over scenarios: slow, short and readable.

It takes the same compiled arrays and gives the same tables, (period, row, scenario).
"""

from __future__ import annotations

import itertools

import numpy as np

from gridtwin.kernels.area_arrays import AREA_QUANTITIES
from gridtwin.kernels.area_bids import SMALLEST_MW
from gridtwin.operate.control_arrays import CompiledControl

MASK_16, MASK_32 = np.uint64(0xFFFF), np.uint64(0xFFFFFFFF)


def mix(z: np.ndarray) -> np.ndarray:
    """splitmix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def noise(seed: int, scenario: np.ndarray, count: int) -> np.ndarray:
    """Eight 16-bit numbers of two hashes, summed, centred and scaled."""
    key = mix(np.uint64(seed) + scenario * np.uint64(0xD1B54A32D192ED03))
    z = key + np.array([count], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    total = np.zeros(len(scenario))
    for word in (mix(z), mix(z ^ np.uint64(0xBF58476D1CE4E5B9))):
        for shift in (0, 16, 32, 48):
            total += ((word >> np.uint64(shift)) & MASK_16).astype(float)
    return (total - 8 * 65535 / 2) / np.sqrt(8 * (65536.0**2 - 1) / 12)


class Reference:
    """All scenarios at once, one step after the other."""

    def __init__(self, compiled: CompiledControl) -> None:
        self.c = compiled
        self.scenarios = compiled.load_mw.shape[2]
        areas, states, bids = len(compiled.controllers.proportional), len(compiled.core.phi), len(compiled.order)
        self.areas, self.ties = areas, len(compiled.core.tie_from)
        self.x = self.zeros(states)
        self.level, self.load, self.noise = self.zeros(areas), self.zeros(areas), self.zeros(areas)
        self.droop, self.lagged = self.zeros(len(compiled.droops.area)), self.zeros(len(compiled.droops.area))
        self.below = self.zeros(len(compiled.shedding.area))
        self.ace, self.integral, self.request, self.mfrr, self.wait, self.netting, self.reserve = self.zeros(7, areas)
        self.target, self.power, self.until, self.back, self.volume = self.zeros(5, bids)
        self.energy = np.tile(compiled.stores.e_start_mwh[:, None], self.scenarios)
        periods = compiled.steps.steps // compiled.steps.period
        self.area_out = self.zeros(periods, len(AREA_QUANTITIES), areas)
        self.tie_out, self.bid_out = self.zeros(periods, self.ties), self.zeros(periods, bids)
        self.store_out = self.zeros(periods, len(self.energy))
        self.segments = [slice(*pair) for pair in itertools.pairwise(compiled.bids.segment)]
        self.upward = np.zeros(bids, dtype=bool)
        for part in self.segments[::2]:
            self.upward[part] = True
        self.groups = [np.unique(compiled.bids.group_end[part], return_index=True)[1] for part in self.segments]
        self.stored = np.flatnonzero(compiled.bids.storage >= 0)

    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros((*shape, self.scenarios))

    def run(self) -> Reference:
        steps, events = self.c.steps, self.c.events
        for k in range(steps.steps):
            period, begins = divmod(k, steps.period)
            out = dict(zip(AREA_QUANTITIES, self.area_out[period], strict=True))
            if begins == 0:
                self.volume[:] = self.c.bids.p_mw[period][:, None]
                out["f_min_deviation_hz"][:], out["f_max_deviation_hz"][:] = np.inf, -np.inf
            if len(self.c.load_mw):
                self.level = self.c.load_mw[k // steps.load_steps]
            for e in np.flatnonzero(events.step == k):
                self.load[events.area[e]] += events.p_mw[e]
            if k % steps.cycle == 0:
                self.cycle(k, period, out)
            self.step(k, period, out)
            if begins == steps.period - 1:
                self.store_out[period] = self.energy
        return self

    def cycle(self, k: int, period: int, out: dict[str, np.ndarray]) -> None:
        """Controllers and bids."""
        c, s, share = self.c, self.c.steps, self.c.steps.cycle / self.c.steps.period
        self.limit_by_energy(period)
        offered = np.array([self.volume[part].sum(axis=0) for part in self.segments])
        export = self.zeros(self.areas)
        for tie, (start, end) in enumerate(zip(c.core.tie_from, c.core.tie_to, strict=True)):
            export[start] += self.x[self.areas + tie]
            export[end] -= self.x[self.areas + tie]
        self.ace = c.controllers.bias_mw_per_hz[:, None] * self.x[: self.areas] + self.netting + export
        most, least = offered[0::4], -offered[1::4]
        self.integral = np.clip(self.integral - c.controllers.integral[:, None] * self.ace, least, most)
        self.request = np.clip(self.integral - c.controllers.proportional[:, None] * self.ace, least, most)
        if c.controllers.netting:
            up, down = np.maximum(self.request, 0), np.maximum(-self.request, 0)
            netted = np.minimum(up.sum(axis=0), down.sum(axis=0))
            self.netting = up * netted / np.maximum(up.sum(axis=0), 1e-300)
            self.netting -= down * netted / np.maximum(down.sum(axis=0), 1e-300)
            self.request = self.request - self.netting
        more = self.zeros(self.areas)
        if k > 0 and k % s.schedule == 0:
            more = np.where(np.abs(self.integral) > c.controllers.threshold_mw[:, None], self.integral, 0.0)
        direct = np.isfinite(c.controllers.direct_share)
        if direct.any():
            size, limit = np.abs(self.integral), np.where(self.integral > 0, most, -least)
            urgent = (self.wait <= 0) & (size > 0) & direct[:, None]
            urgent &= size >= np.where(direct, c.controllers.direct_share, 1.0)[:, None] * limit
            more = np.where(urgent, self.integral, more)
            self.wait = np.where(urgent, s.wait, self.wait - 1)
        self.mfrr = np.clip(self.mfrr + more, -offered[3::4], offered[2::4])
        for a in range(self.areas):
            for part, need in enumerate((self.request[a], -self.request[a], self.mfrr[a], -self.mfrr[a])):
                self.order(4 * a + part, need, k // s.cycle)
        self.follow(period, share)
        sign = np.where(self.upward, 1.0, -1.0)[:, None]
        signed, returned = sign * self.power, sign * self.before
        for a in range(self.areas):
            mine = slice(c.bids.segment[4 * a], c.bids.segment[4 * a + 4])
            power, back = signed[mine].sum(axis=0), returned[mine].sum(axis=0)
            self.reserve[a] = power - back
            out["p_reserve_mw"][a] += share * power
            out["p_rebound_mw"][a] += share * back
            out["pay_as_bid_eur"][a] += s.cycle_hours * (c.bids.price[mine] @ signed[mine])
            for part in range(4 * a, 4 * a + 4):
                out["marginal_eur"][a] += s.cycle_hours * (1 - 2 * (part % 2)) * self.cleared(self.segments[part])
        rows = ("p_ace_mw", self.ace), ("p_request_mw", self.request), ("p_mfrr_request_mw", self.mfrr)
        for name, values in (*rows, ("p_netting_mw", self.netting)):
            out[name] += share * values

    def limit_by_energy(self, period: int) -> None:
        """Offers with a store give no more than it holds, or takes, in a cycle."""
        if not len(self.stored):
            return
        bids, stores, hours = self.c.bids, self.c.stores, self.c.steps.cycle_hours
        at = bids.storage[self.stored]
        efficiency, energy = stores.efficiency[at][:, None], self.energy[at]
        room = (stores.e_mwh[at][:, None] - energy) / (efficiency * hours)
        most = np.where(self.upward[self.stored][:, None], energy * efficiency / hours, room)
        self.volume[self.stored] = np.clip(most, 0, bids.p_mw[period][self.stored][:, None])

    def order(self, segment: int, need: np.ndarray, cycle: int) -> None:
        """Merit order: what is held first, then group by group of equal prices."""
        part, groups = self.segments[segment], self.groups[segment]
        if part.start == part.stop:
            return
        volume, before, hold = self.volume[part], self.target[part], self.c.bids.hold[part][:, None]
        kept = np.zeros_like(volume)
        if hold.any():
            kept = np.where((self.until[part] > cycle) & (hold > 0), np.minimum(before, volume), 0.0)
        room = volume - kept
        need = np.maximum(need - kept.sum(axis=0), 0)
        if len(groups) == len(room):
            cheaper = np.cumsum(room, axis=0) - room
            target = kept + np.clip(need - cheaper, 0, room)
        else:
            in_group = np.add.reduceat(room, groups, axis=0)
            taken = np.clip(need - (np.cumsum(in_group, axis=0) - in_group), 0, in_group)
            size = np.diff([*groups, len(room)])
            target = kept + room * np.repeat(taken / np.maximum(in_group, 1e-300), size, axis=0)
        if hold.any():
            begins = (target > SMALLEST_MW) & (before <= SMALLEST_MW)
            self.until[part] = np.where(begins, cycle + hold, self.until[part])
        self.target[part] = target

    def follow(self, period: int, share: float) -> None:
        """Powers move towards their requests; stores and rebounds follow."""
        bids, stores, hours = self.c.bids, self.c.stores, self.c.steps.cycle_hours
        ramp = bids.ramp_mw[:, None]
        moved = self.power + np.clip(self.target - self.power, -ramp, ramp)
        self.power = np.minimum(moved, self.volume)
        self.bid_out[period] += share * self.power
        self.before = self.back
        if bids.rebound.any():
            keep = bids.rebound_keep[:, None]
            self.back = keep * self.back + (1 - keep) * bids.rebound[:, None] * self.power
        if len(self.stored):
            at, power = bids.storage[self.stored], self.power[self.stored]
            efficiency, up = stores.efficiency[at][:, None], self.upward[self.stored][:, None]
            change = hours * np.where(up, -power / efficiency, power * efficiency)
            np.add.at(self.energy, at, change)
            np.clip(self.energy, 0, stores.e_mwh[:, None], out=self.energy)

    def cleared(self, part: slice) -> np.ndarray:
        """Power of a segment times the price of the last bid that gives."""
        if part.start == part.stop:
            return np.zeros(self.scenarios)
        power, price = self.power[part], self.c.bids.price[part]
        last = len(price) - 1 - np.argmax(power[::-1] > SMALLEST_MW, axis=0)
        return power.sum(axis=0) * price[last]

    def step(self, k: int, period: int, out: dict[str, np.ndarray]) -> None:
        """Droop, load shedding, noise, and the linear core."""
        c, f, share = self.c, self.x[: self.areas], 1 / self.c.steps.period
        d, s, controllers = c.droops, c.shedding, c.controllers
        p_droop, p_shed = self.zeros(self.areas), self.zeros(self.areas)
        if len(d.area):
            band, full = d.band_hz[:, None], d.full_hz[:, None]
            beyond = f[d.area] - np.clip(f[d.area], -band, band)
            aim = np.clip(-beyond / (full - band), d.lowest[:, None], d.highest[:, None]) * d.p_mw[:, None]
            self.lagged = aim + d.keep[:, None] * (self.lagged - aim)
            rate = d.rate_mw[:, None]
            self.droop = self.droop + np.clip(self.lagged - self.droop, -rate, rate)
            np.add.at(p_droop, d.area, self.droop)
        if len(s.area):
            delay = s.delay[:, None]
            low, gone = f[s.area] < s.f_hz[:, None], self.below > delay
            self.below = np.where(gone, self.below, np.where(low, self.below + 1, 0))
            np.add.at(p_shed, s.area, np.where(self.below > delay, s.p_mw[:, None], 0.0))
        for a in np.flatnonzero(controllers.noise_mw):
            drawn = noise(int(c.steps.seed), np.arange(self.scenarios, dtype=np.uint64), k * self.areas + int(a))
            self.noise[a] = controllers.noise_keep[a] * self.noise[a] + controllers.noise_mw[a] * drawn
        p_load = self.load + self.level + self.noise
        out["f_deviation_hz"] += share * f
        np.minimum(out["f_min_deviation_hz"], f, out=out["f_min_deviation_hz"])
        np.maximum(out["f_max_deviation_hz"], f, out=out["f_max_deviation_hz"])
        out["p_load_mw"] += share * p_load
        out["p_droop_mw"] += share * p_droop
        out["p_shed_mw"] += share * p_shed
        self.tie_out[period] += share * self.x[self.areas : self.areas + self.ties]
        self.x = c.core.phi @ self.x + c.core.gamma @ (self.reserve + p_droop + p_shed - p_load)


def run_reference(compiled: CompiledControl) -> Reference:
    """Tables of a run."""
    return Reference(compiled).run()
