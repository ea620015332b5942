"""Signals of the network operator as limits of devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridtwin.data.control_limits import dimmed_limit_kw
from gridtwin.data.control_rules import read_control_rules
from gridtwin.optimize.caps import cap_devices
from gridtwin.optimize.plan_devices import plan_devices
from tests.optimize.devices_for_tests import HOURS, STEPS, devices_of, problem_of


def test_a_dimmed_car_keeps_its_guarantee() -> None:
    """§14a EnWG: 4.2 kW stay, on the steps of the signal alone; what the car then lacks is unserved, not hidden."""
    car = devices_of("electric_car")[0]
    signal = np.where(np.arange(STEPS) == 5, 0.0, np.inf)
    limit = dimmed_limit_kw(
        read_control_rules("steuve_14a"), signal, [float(car.p_max_kw.max())], ["electric_car"], energy_manager=False
    )
    assert limit[5, 0] == pytest.approx(4.2) and (np.delete(limit[:, 0], 5) >= car.p_max_kw.max()).all()
    (dimmed,) = cap_devices([car], draw_kw=limit)
    free, held = (plan_devices(problem_of([d])) for d in (car, dimmed))
    assert float(free["p_kw"][5, 0]) > 4.5  # price falls: it would charge last
    assert float(held["p_kw"][5, 0]) <= 4.2 + 1e-6
    charged = HOURS @ held["p_kw"].to_numpy()[:, 0]
    assert charged == pytest.approx(HOURS @ free["p_kw"].to_numpy()[:, 0], abs=1e-6)


def test_feed_in_is_capped_and_not_compensated() -> None:
    roof = devices_of("feed_in")[0]
    cap = np.full((STEPS, 1), 1.0)
    (capped,) = cap_devices([roof], feed_in_kw=cap)
    plan = plan_devices(problem_of([capped]))
    assert float(plan["p_kw"].min()) >= -1.0 - 1e-9
    # at a positive price all that may be fed in is
    np.testing.assert_allclose(plan["p_kw"][:6, 0], np.maximum(roof.p_base_kw, -1.0)[:6], atol=1e-6)


def test_a_battery_follows_both_caps() -> None:
    battery = replace(devices_of("battery")[0], e_max_kwh=np.full(STEPS, 30.0))
    two, three = np.full((STEPS, 1), 2.0), np.full((STEPS, 1), 3.0)
    plan = plan_devices(problem_of(list(cap_devices([battery], draw_kw=two, feed_in_kw=three))))
    assert float(plan["p_kw"].max()) <= 2 + 1e-6 and float(plan["p_kw"].min()) >= -3 - 1e-6
    assert plan.attrs["objective_eur"] >= plan_devices(problem_of([battery])).attrs["objective_eur"] - 1e-9
