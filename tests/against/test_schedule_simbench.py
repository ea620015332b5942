"""Schedules of SimBench's scenario for 2034 with more cars, heat pumps, batteries and PV, replayed in pandapower.

Each case is one local day: the network's own profiles and the growth of a study, a few paths that scale demand and
sun or wind, and settings that differ from case to case. Nothing here uses the certificate's own code: violations are
counted from voltages and loadings, and all energies follow from the scheduled power alone.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest
import xarray as xr

from gridtwin.data.growth_profiles import build_growth_profiles
from gridtwin.data.profiles import join_profiles
from gridtwin.data.rules import read_rules
from gridtwin.grid.growth import place_growth
from gridtwin.grid.network_files import read_network_and_profiles
from gridtwin.grid.twin import GridTwin, build_twin
from gridtwin.operate.dispatch import apply_schedule
from gridtwin.operate.power_flow import run_power_flow
from gridtwin.optimize.flexibility import FlexibilityResult, optimize_flexibility
from tests.against.simbench_cases import CASES, DRAWN, SLOW, Case

LOADING_TOLERANCE_PERCENT, VOLTAGE_TOLERANCE_PU = 0.5, 1e-3
"""What the certificate tolerates."""
BOOK_KWH = 2e-3
"""A day of powers that are right to 1e-4 kW, and of charging and discharging at once by less than 1e-3 kW."""
SIGN = {"load": 1, "sgen": -1, "storage": 1}


@dataclass(frozen=True)
class Outcome:
    case: Case
    twin: GridTwin
    sessions: pd.DataFrame
    result: FlexibilityResult
    scheduled: xr.Dataset
    """Power of every asset under the schedule. (path, time, asset)"""
    flow: xr.Dataset
    """Our power flow of it."""

    @property
    def hours(self) -> float:
        return self.case.axis.hours_per_step

    def kw(self, name: str) -> np.ndarray:
        return 1000 * self.result.schedule["p_mw"].sel(asset=name).to_numpy()

    def base_kw(self, name: str) -> np.ndarray:
        return 1000 * self.result.schedule["p_base_mw"].sel(asset=name).to_numpy()

    def kwh(self, name: str) -> np.ndarray:
        return 1000 * self.result.schedule["e_mwh"].sel(asset=name).to_numpy()

    def of_kind(self, *kinds: str) -> pd.DataFrame:
        assets = self.twin.assets.loc[self.result.schedule.indexes["asset"]]
        return assets[assets["kind"].isin(kinds)]

    def unmet(self, what: str) -> pd.DataFrame:
        return self.result.unmet[self.result.unmet["what"] == what]

    @property
    def excess(self) -> tuple[np.ndarray, np.ndarray]:
        """Loading above its limit [%] (path, time, branch) and voltage outside its band [pu] (path, time, bus)."""
        buses, vm_pu = self.twin.buses, self.flow["vm_pu"].to_numpy()
        loading = self.flow["loading_percent"].to_numpy() - self.twin.branches["max_loading_percent"].to_numpy()
        outside = np.maximum(vm_pu - buses["vm_max_pu"].to_numpy(), buses["vm_min_pu"].to_numpy() - vm_pu)
        return np.nan_to_num(loading, nan=-np.inf), np.nan_to_num(outside, nan=-np.inf)

    @property
    def severity(self) -> np.ndarray:
        """Largest violation in units of its tolerance; above 1 a limit does not hold. (path, time)"""
        loading, outside = self.excess
        return np.maximum(loading.max(axis=2) / LOADING_TOLERANCE_PERCENT, outside.max(axis=2) / VOLTAGE_TOLERANCE_PU)

    @property
    def demanding(self) -> np.ndarray:
        """Paths without the allowed number of worst ones."""
        may_fail = int(np.floor((1 - self.case.flexibility.confidence) * self.case.paths + 1e-9))
        return np.argsort(-self.severity.max(axis=1), kind="stable")[may_fail:]


def solve_case(case: Case) -> Outcome:
    """The way of a study without its forecast: read, grow, name, fill with profiles, schedule, replay."""
    source = read_network_and_profiles(f"simbench:{case.code}")
    net = place_growth(source.net, case.growth, seed=case.seed)
    if case.meshed:
        net.switch["closed"] = True
    twin = build_twin(net, rules=read_rules(case.rules, Path()))
    grown = build_growth_profiles(
        twin.assets[twin.assets["origin"] == "growth"], case.axis, case.temperature, seed=case.seed
    )
    own = source.profiles.sel(time=case.axis.times)
    profiles = join_profiles([own, grown.profiles]).sel(asset=twin.assets.index.to_numpy(dtype=str))
    forecast = case.forecast(twin, profiles)
    result = optimize_flexibility(twin, forecast, case.prices, grown.declared, case.flexibility)
    scheduled = apply_schedule(twin, forecast, result.schedule)
    return Outcome(case, twin, grown.declared, result, scheduled, run_power_flow(twin, scheduled))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=name, marks=[pytest.mark.slow] if name in SLOW or name in DRAWN else [])
        for name, case in (CASES | DRAWN).items()
    ],
)
def outcome(request: pytest.FixtureRequest) -> Outcome:
    return solve_case(request.param)


def test_pandapower_finds_the_same_on_every_path(outcome: Outcome) -> None:
    """Two tightest steps of the worst path that must hold, the two of the heaviest loading, two random ones."""
    random = np.random.default_rng(outcome.case.seed)
    loading = outcome.flow["loading_percent"].to_numpy()
    steps = {
        *np.argsort(-outcome.severity[outcome.demanding[0]])[:2].tolist(),
        *np.argsort(-np.nan_to_num(loading).max(axis=(0, 2)))[:2].tolist(),
        *random.choice(outcome.case.axis.length, 2, replace=False).tolist(),
    }
    net = copy.deepcopy(outcome.twin.net)
    for step in sorted(steps):
        for path in range(outcome.case.paths):
            assert_same(outcome, net, path, step)


def assert_same(outcome: Outcome, net: pp.pandapowerNet, path: int, step: int) -> None:
    """Voltages to 1e-6 pu, loadings to 0.01 %, as in the tests of the power flow itself."""
    twin, powers = outcome.twin, outcome.scheduled.isel(path=path, time=step)
    sign = twin.assets["element"].map(SIGN).to_numpy()
    for element in SIGN:
        rows = (twin.assets["element"] == element).to_numpy()
        for column in ("p_mw", "q_mvar"):
            net[element].loc[twin.assets["index"][rows], column] = (sign * powers[column].to_numpy())[rows]
        net[element]["scaling"] = 1.0
    with warnings.catch_warnings():
        # divisions by zero in pandapower's results of buses without supply
        warnings.simplefilter("ignore")
        pp.runpp(net, tolerance_mva=1e-10)
    ours = outcome.flow.isel(path=path, time=step)
    np.testing.assert_allclose(ours["vm_pu"], net.res_bus["vm_pu"].loc[twin.buses["index"]], rtol=0, atol=1e-6)
    for element in ("line", "trafo"):
        rows = twin.branches[twin.branches["element"] == element]
        theirs = net[f"res_{element}"]["loading_percent"].loc[rows["index"]]
        mine = ours["loading_percent"].sel(branch=rows.index.to_numpy(dtype=str))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=0.01)


def test_what_the_certificate_says_is_what_happens(outcome: Outcome) -> None:
    certificate, (loading, outside) = outcome.result.certificate, outcome.excess
    assert (outcome.flow["status"] == 0).all() and certificate.unsolved_steps == 0
    over = max(0.0, float(loading[outcome.demanding].max()))
    beyond = max(0.0, float(outside[outcome.demanding].max()))
    assert certificate.max_loading_violation_percent == pytest.approx(over, abs=1e-6)
    assert certificate.max_voltage_violation_pu == pytest.approx(beyond, abs=1e-9)
    assert certificate.limits_hold == (over <= LOADING_TOLERANCE_PERCENT and beyond <= VOLTAGE_TOLERANCE_PU)


def test_the_rounds_end_because_plan_and_power_flow_agree(outcome: Outcome) -> None:
    assert outcome.result.certificate.converged
    assert {solve["status"] for solve in outcome.result.certificate.solves} == {"optimal"}


def test_every_breach_is_named_and_only_breaches_are(outcome: Outcome) -> None:
    """With the spell in which the limit is broken; a named one is broken in some path that must hold."""
    loading, outside = (excess[outcome.demanding].max(axis=0) for excess in outcome.excess)
    broken = np.concatenate([loading > LOADING_TOLERANCE_PERCENT, outside > VOLTAGE_TOLERANCE_PU], axis=1)
    named = np.zeros_like(broken)
    places = pd.Index([*outcome.twin.branches.index, *outcome.twin.buses.index])
    times = outcome.case.axis.times
    for row in outcome.unmet("network limit").itertuples():
        named[(times >= row.start) & (times < row.end), places.get_loc(row.asset)] = True
    np.testing.assert_array_equal(named, broken)


def test_losses_are_planned_to_two_percent(outcome: Outcome) -> None:
    assert outcome.result.certificate.max_loss_error_percent <= 2


def test_the_plan_is_close_to_what_no_plan_can_beat(outcome: Outcome) -> None:
    """0.5 % is the gap at which a search ends; in no round may the bound lie above the objective."""
    certificate = outcome.result.certificate
    gaps = [
        (solve["objective_eur"] - solve["lower_bound_eur"]) / max(1.0, abs(solve["objective_eur"]))
        for solve in certificate.solves
    ]
    assert min(gaps) >= -1e-9
    assert certificate.bound_gap == pytest.approx(max(0.0, gaps[-1])) and certificate.bound_gap <= 5e-3


def test_batteries_keep_their_books(outcome: Outcome) -> None:
    """Stored energy follows from the net power alone, so no step charges and discharges at once."""
    settings = outcome.case.flexibility
    batteries, one_way = outcome.of_kind("battery"), np.sqrt(settings.battery_efficiency)
    assert len(batteries)
    for name, facts in batteries.iterrows():
        rated, usable = 1000 * facts["p_rated_mw"], 1000 * facts["e_rated_mwh"]
        p, start = outcome.kw(name), settings.battery_start * usable
        stored = start + outcome.hours * np.cumsum(np.where(p > 0, one_way * p, p / one_way))
        np.testing.assert_allclose(outcome.kwh(name), stored, rtol=0, atol=BOOK_KWH * max(1, rated / 10))
        assert np.abs(p).max() <= rated * (1 + 1e-6)
        assert stored.min() >= -BOOK_KWH * max(1, rated / 10) and stored.max() <= usable + BOOK_KWH * max(1, rated / 10)
        assert stored[-1] >= start - BOOK_KWH * max(1, rated / 10)


def sessions_today(outcome: Outcome) -> list[tuple[str, pd.Timestamp, pd.Timestamp, float, float]]:
    """Flexible car, arrival, departure, energy, and what it charged before the day began. [kWh]"""
    axis, cars = outcome.case.axis, outcome.of_kind("electric_car")
    found = []
    for row in outcome.sessions.itertuples():
        if row.asset in cars.index and row.arrival < axis.end and row.departure > axis.start:
            waited = max(0.0, (axis.start - row.arrival) / pd.Timedelta(hours=1))
            before = min(row.e_mwh, cars["p_rated_mw"][row.asset] * waited)
            found.append((row.asset, row.arrival, row.departure, 1000 * row.e_mwh, 1000 * before))
    return found


def plugged(outcome: Outcome, arrival: pd.Timestamp, departure: pd.Timestamp) -> np.ndarray:
    """Share of each step. (time,)"""
    axis = outcome.case.axis
    begin, end = ((stamp - axis.start) / axis.step for stamp in (arrival, departure))
    steps = np.arange(axis.length)
    return np.clip(np.minimum(steps + 1, end) - np.maximum(steps, begin), 0, 1)


def test_cars_get_what_was_agreed(outcome: Outcome) -> None:
    """Energy follows from power; what a car leaves without is named; one that stays has at least its part by now."""
    settings, axis = outcome.case.flexibility, outcome.case.axis
    short = outcome.unmet("energy not delivered")
    idle = {name: np.ones(axis.length, dtype=bool) for name in outcome.of_kind("electric_car").index}
    for car, arrival, departure, e_kwh, before_kwh in sessions_today(outcome):
        share, p = plugged(outcome, arrival, departure), outcome.kw(car)
        rated = 1000 * outcome.twin.assets["p_rated_mw"][car]
        here = share > 0
        idle[car] &= ~here
        charged = before_kwh + outcome.hours * np.cumsum(p[here])
        np.testing.assert_allclose(outcome.kwh(car)[here], charged, rtol=0, atol=BOOK_KWH)
        least = -rated * share if settings.vehicle_to_grid else 0 * share
        assert (p <= rated * share + 1e-6)[here].all() and (p >= least - 1e-6)[here].all()
        assert charged.min() >= -BOOK_KWH and charged.max() <= e_kwh + BOOK_KWH
        due = e_kwh * min(1.0, (axis.end - arrival) / (departure - arrival))
        mine = short[(short["asset"] == car) & (short["start"] == arrival)]
        assert charged[-1] + mine["amount"].sum() >= max(before_kwh, due) - BOOK_KWH
    for car, outside in idle.items():
        assert (outcome.kw(car)[outside] == 0).all()


def test_the_smallest_charging_power_is_kept(outcome: Outcome) -> None:
    share_low = outcome.case.flexibility.smallest_charging_share
    for car, arrival, departure, *_ in sessions_today(outcome):
        share, p = plugged(outcome, arrival, departure), outcome.kw(car)
        low = share_low * 1000 * outcome.twin.assets["p_rated_mw"][car] * share
        assert ((p <= 1e-3) | (p >= low * (1 - 1e-5)))[share > 0].all()


def test_heat_pumps_keep_the_heat_balance(outcome: Outcome) -> None:
    """Room temperature follows from power; the comfort band is left, and heat owed, only where that is named."""
    settings, named = outcome.case.flexibility, outcome.unmet("comfort")
    for name, facts in outcome.of_kind("heat_pump").iterrows():
        p, base = outcome.kw(name), outcome.base_kw(name)
        ua, c = 1000 * facts["ua_mw_per_k"], 1000 * facts["c_mwh_per_k"]
        kept, kelvin, room = np.exp(-outcome.hours * ua / c), 0.0, []
        for heat in facts["cop"] * (p - base):
            kelvin = kept * kelvin + (1 - kept) * heat / ua
            room.append(kelvin)
        np.testing.assert_allclose(outcome.kwh(name) / c, room, rtol=0, atol=1e-3)
        assert p.min() >= -1e-6 and p.max() <= 1000 * facts["p_rated_mw"] * (1 + 1e-6)
        outside = max(0.0, np.abs(room).max() - settings.comfort_kelvin, -room[-1])
        assert outside <= 1e-3 or name in set(named["asset"])


def test_feed_in_is_only_lowered(outcome: Outcome) -> None:
    """Between what is expected and nothing; in every path no system feeds in more than its path would."""
    for name in outcome.of_kind("pv", "wind").index:
        p, base = outcome.kw(name), outcome.base_kw(name)
        assert (p >= base - 1e-6).all() and (p <= 1e-9).all()
