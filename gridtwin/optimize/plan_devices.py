"""Plan devices that are made in Python, without a network file or a study."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gridtwin.optimize.day_plan import read_devices
from gridtwin.optimize.model import FlexibilityProblem, build_flexibility_program
from gridtwin.optimize.own_rows import OwnRows
from gridtwin.optimize.whole_numbers import FlexibilitySolver


def plan_devices(
    problem: FlexibilityProblem, *, time_limit_seconds: float = 60.0, own_rows: OwnRows | None = None
) -> xr.Dataset:
    """The cheapest plan of all devices of a problem.

    Parameters
    ----------
    problem : FlexibilityProblem
        Devices, prices and limits.
    time_limit_seconds : float
        Of the solve, with everything that it decides. [s]
    own_rows : callable, optional
        Constraints of your own in Pyomo, see `own_rows.OwnRows`.

    Returns
    -------
    Dataset
        `p_kw, e_kwh` (time, device), consumption positive, NaN energy where there is no store; `import_kw` (time),
        positive where the area draws; `over_kw` (row) of the network rows. `attrs` hold `objective_eur`,
        `lower_bound_eur`, `status` and `engine`. `time` is in hours from the start, at the begin of each step.

    Raises
    ------
    InfeasibleError
        If no plan is found in time, or none passes the audit.
    """
    solver = FlexibilitySolver(
        build_flexibility_program(problem), time_limit_seconds=time_limit_seconds, own_rows=own_rows
    )
    solution, program = solver.solve(), solver.program
    p_kw, e_kwh = read_devices(program, solution.x)
    area = program.fleet("area")
    drawn, fed = (program.fleets[area].column(name, solution.x[area]) for name in ("import_kw", "export_kw"))
    over = solution.x[program.fleet("breach")][0] if len(problem.rows) else np.zeros(0)
    return xr.Dataset(
        {
            "p_kw": (("time", "device"), p_kw, {"units": "kW", "long_name": "power, consumption positive"}),
            "e_kwh": (("time", "device"), e_kwh, {"units": "kWh", "long_name": "stored energy at the end of the step"}),
            "import_kw": ("time", problem.terms.probability @ (drawn - fed).T, {"units": "kW"}),
            "over_kw": ("row", over, {"units": "kW", "long_name": "planned breach"}),
        },
        coords={
            "time": ("time", np.concatenate([[0.0], np.cumsum(problem.hours)[:-1]]), {"units": "h"}),
            "device": [device.name for device in problem.devices],
        },
        attrs={
            "objective_eur": solution.objective_eur,
            "lower_bound_eur": solution.lower_bound_eur,
            "status": solution.status,
            "engine": solution.engine,
        },
    )
