"""Great Britain, 9 August 2019: two losses, two nadirs, and demand that went at 48.8 Hz.

Published: losses of 150, 1,481, 1,691 and 1,878 MW in sum; about 29 GW of demand, 210 GVA s of inertia, load falling
by 2.5 %/Hz; about 1,000 MW of response held, about 900 MW delivered; 931 MW of demand disconnected at 48.8 Hz. Nadirs
of 49.1 Hz after about 25 s and 48.8 Hz after about 76 s. National Grid ESO, Technical report on the events of
9 August 2019, September 2019; E3C, Final report, January 2020; both as quoted by others, not read in the original.

Assumed: when within the first second the losses came; 0.2 s until demand is gone. Tuned to the two nadirs: the split
into a fast (780 MW, 3 s) and a slow (140 MW, 30 s) response, and 150 MW of response that does not last to the second
loss. So this is a fit and no validation. What misses: 49.18 Hz before the second loss instead of 49.2 Hz, and the
recovery afterwards, to which orders of the control room belong.
"""

from gridtwin.operate.area_control import (
    ControlArea,
    ControlInputs,
    ControlSystem,
    ControlTimes,
    Disturbance,
    DroopReserve,
    LoadShedding,
    run_area_control,
)

fast = DroopReserve(780, full_at_hz=0.5, dead_band_hz=0.015, lag_s=3, direction="up")
slow = DroopReserve(140, full_at_hz=0.5, dead_band_hz=0.3, lag_s=30, direction="up")
britain = ControlArea("Great Britain", 210_000, damping_mw_per_hz=0.025 * 29_000, droop=(fast, slow))
disconnection = LoadShedding("Great Britain", 48.8, 931, delay_s=0.2)

losses_mw = {0.0: 150, 0.5: 981, 1.0: 350, 57.5: 210, 84.5: 187}
not_sustained_mw = {57.5: 150}
steps = [*losses_mw.items(), *not_sustained_mw.items()]
inputs = ControlInputs(tuple(Disturbance("Great Britain", start_s, p_mw) for start_s, p_mw in steps))

system = ControlSystem((britain,), shedding=(disconnection,))
times = ControlTimes(300, step_s=0.1, cycle_s=1, period_s=300, schedule_s=300, trace_s=0.1)
trace = run_area_control(system, times, inputs).isel(area=0, scenario=0)

f_hz = trace["trace_f_hz"]
print(f"{'':<14}{'Hz':>8}{'after s':>9}{'published':>20}")
for name, part, published in (
    ("first nadir", slice(0, 57), "49.1 Hz, 25 s"),
    ("second nadir", slice(57, 300), "48.8 Hz, 76 s"),
):
    seen = f_hz.sel(time_s=part)
    print(f"{name:<14}{float(seen.min()):>8.3f}{float(seen.idxmin()):>9.1f}{published:>20}")
print(
    f"response of {float(trace['trace_p_droop_mw'].max()):.0f} MW, {float(trace['trace_p_shed_mw'].max()):.0f} MW gone"
)
