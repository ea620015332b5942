"""What the history of a PV system tells of its place, its planes and its clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.data.solar_irradiance import clear_sky_irradiance, solar_position
from gridtwin.errors import DataError, Finding
from gridtwin.forecast.pv_features import Plane, Site, irradiance_on_planes, sun_of_steps

SHOWN = 0.005
"""Share of the largest power above which a system is on. [-]"""
LEAST_DAYS = 60
"""Days from which on the length of the day says something of the latitude. [d]"""
LEAST_CHANGE_H = 0.5
"""Change of the length of the day over the history below which the latitude is not told. [h]"""
SITE_STEPS = 20000
"""Steps that the search for a site looks at, spread over the history."""
CLEAR_HOURS = 0.9
"""Quantile of irradiance that stands for a clear sky. [-]"""
TILTS_DEGREE, AZIMUTHS_DEGREE = (15.0, 30.0, 45.0, 60.0), tuple(np.arange(0.0, 360.0, 30.0))
GOOD_DAYS = 0.75
"""Quantile over the days of a month that stands for good ones. [-]"""
LEAST_DAYS_OF_MONTH = 10
LARGEST_LAG = pd.Timedelta("4h")
SAVING_MIN = (35.0, 85.0)
"""Step of the lag between winter and summer that is taken for daylight saving of 60 min. [min]"""
LAG_MIN = 35.0
"""Constant lag beyond which a clock is called off; an eastward or westward plane moves the lag by less. [min]"""
SUMMER, WINTER = (5, 6, 7, 8), (11, 12, 1, 2)


@dataclass(frozen=True)
class ClockCheck:
    """How late the stamps of a series are against the sun.

    Parameters
    ----------
    lag_min : Series
        Lag by month (1 to 12), positive where the stamps are later than the sun. [min]
    follows_daylight_saving : bool
        Whether the lag steps by about an hour between winter and summer.
    winter_shift_min, summer_shift_min : float
        What to add to stamps of winter and of summer time, in whole quarter hours. [min]
    findings : tuple of Finding
        Codes `clock.follows_daylight_saving`, `clock.offset`.
    """

    lag_min: pd.Series
    follows_daylight_saving: bool
    winter_shift_min: float
    summer_shift_min: float
    findings: tuple[Finding, ...]


def check_clock(
    power: np.ndarray, reference: np.ndarray, times: pd.DatetimeIndex, step: pd.Timedelta, *, where: str = ""
) -> ClockCheck:
    """Compare the clock of a PV series with that of the sun, month by month.

    Parameters
    ----------
    power : ndarray, (time,)
        Feed-in, positive; NaN where unknown.
    reference : ndarray, (time,)
        Measured irradiance or that of a clear sky on the same stamps, any unit.
    times : DatetimeIndex, (time,)
        Stamps as labelled, steps that follow each other.
    step : Timedelta
        Length of a step.
    where : str
        Name of the series for the findings.

    Notes
    -----
    The lag of a month is the peak of the correlation of what good days (`GOOD_DAYS`) show at each clock slot,
    of power and of reference, between steps by a parabola through its three highest points; the mean day
    would be moved by clouds that come every afternoon. Only the change of the lag with the season betrays
    daylight saving: the orientation of the modules moves it too, all year round.
    """
    lag = pd.Series({month: lag_of_month(power, reference, times, step, month=month) for month in range(1, 13)})
    summer, winter = float(lag.loc[list(SUMMER)].median()), float(lag.loc[list(WINTER)].median())
    saving = SAVING_MIN[0] <= abs(summer - winter) <= SAVING_MIN[1]
    findings = clock_findings(summer, winter, saving=saving, where=where)
    offsets = [quarters(value) if abs(value) > LAG_MIN else 0.0 for value in (winter, summer)]
    if saving and summer > winter:
        offsets = [offsets[0], offsets[0] - 60.0]
    elif saving:
        offsets = [offsets[1] - 60.0, offsets[1]]
    return ClockCheck(lag, saving, offsets[0], offsets[1], findings)


def lag_of_month(
    power: np.ndarray, reference: np.ndarray, times: pd.DatetimeIndex, step: pd.Timedelta, *, month: int
) -> float:
    """Lag of the good days of one month of all years; NaN with fewer than `LEAST_DAYS_OF_MONTH`. [min]"""
    chosen = np.asarray(times.month == month) & np.isfinite(power) & np.isfinite(reference)
    if chosen.sum() * step < LEAST_DAYS_OF_MONTH * pd.Timedelta("1D"):
        return float("nan")
    slot = np.asarray((times[chosen] - times[chosen].normalize()) // step, dtype=int)
    table = pd.DataFrame({"power": power[chosen], "reference": reference[chosen]}).groupby(slot).quantile(GOOD_DAYS)
    day = table.reindex(range(int(pd.Timedelta("1D") / step)))
    return lag_of(day["power"].to_numpy(), day["reference"].to_numpy(), np.ones(len(day), dtype=bool), step)


def quarters(lag_min: float) -> float:
    """Shift against a lag, in whole quarter hours. [min]"""
    return -15.0 * round(lag_min / 15)


def clock_findings(summer: float, winter: float, *, saving: bool, where: str) -> tuple[Finding, ...]:
    """Findings on the lags of summer and winter. [min]"""
    if saving:
        return (
            Finding(
                "the stamps follow daylight saving although they are labelled with a fixed offset",
                where,
                expected="the same lag against the sun all year",
                got=f"{winter:.0f} min in November to February, {summer:.0f} min in May to August",
                do=f"Read the stamps as local wall clock: the estimated shift is {abs(summer - winter):.0f} min.",
                code="clock.follows_daylight_saving",
            ),
        )
    lag = float(np.nanmean([summer, winter])) if np.isfinite([summer, winter]).any() else 0.0
    if abs(lag) <= LAG_MIN:
        return ()
    return (
        Finding(
            "the stamps are off against the sun",
            where,
            got=f"{lag:.0f} min late" if lag > 0 else f"{-lag:.0f} min early",
            do="Check zone and whether stamps name the start or the end of a step.",
            code="clock.offset",
        ),
    )


def lag_of(power: np.ndarray, reference: np.ndarray, chosen: np.ndarray, step: pd.Timedelta) -> float:
    """Lag of the power against the reference over the chosen steps. [min]"""
    reach = int(LARGEST_LAG / step)
    shifts = np.arange(-reach, reach + 1)
    score = np.array([correlation(power, np.roll(reference, shift), chosen) for shift in shifts])
    if not np.isfinite(score).all():
        return float("nan")
    top = int(np.clip(score.argmax(), 1, len(shifts) - 2))
    before, peak, after = score[top - 1 : top + 2]
    curvature = before - 2 * peak + after
    fraction = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float((shifts[top] + fraction) * (step / pd.Timedelta("1min")))


def correlation(power: np.ndarray, reference: np.ndarray, chosen: np.ndarray) -> float:
    """Correlation over chosen steps where both are known; NaN where one does not vary."""
    used = chosen & np.isfinite(power) & np.isfinite(reference)
    x, y = power[used], reference[used]
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def find_site(power: np.ndarray, times: pd.DatetimeIndex, step: pd.Timedelta) -> tuple[Site, tuple[Finding, ...]]:
    """Place of a system from when it starts and stops feeding in.

    Parameters
    ----------
    power : ndarray, (time,)
        Feed-in, positive; NaN where unknown. History known at issue only.
    times : DatetimeIndex, (time,)
        UTC starts of the steps.
    step : Timedelta
        Length of a step.

    Returns
    -------
    Site
        Good to about three degrees with a year of history: an effective place, hills and thresholds of the
        inverter make it differ from the true one.
    tuple of Finding
        Code `site.uncertain` where the days of the history are too alike.

    Raises
    ------
    DataError
        If the system never feeds in or never rests.

    Notes
    -----
    The place, and the elevation from which on the system works, for which the share of steps that are on
    and should be off, or the other way round, is smallest: a coarse search, then Nelder-Mead.
    """
    from scipy.optimize import minimize

    on, chosen = shown_steps(power)
    mismatch = mismatch_of_sites(on, times[chosen] + step / 2)
    longitude = noon_longitude(power[chosen], times[chosen] + step / 2)
    starts = [
        (latitude, longitude + east, sine)
        for latitude in range(-65, 66, 10)
        for east in (-8.0, 0.0, 8.0)
        for sine in (0.0, 0.06)
    ]
    best = min(starts, key=lambda start: mismatch(np.array(start)))
    simplex = np.array([best, *(np.array(best) + np.diag([6.0, 6.0, 0.04]))])
    found = minimize(mismatch, best, method="Nelder-Mead", options={"initial_simplex": simplex, "maxiter": 150}).x
    site = Site(float(np.clip(found[0], -66, 66)), float((found[1] + 180) % 360 - 180))
    return site, site_findings(site, times)


def find_site_of_irradiance(ghi_w_per_m2: np.ndarray, times: pd.DatetimeIndex, step: pd.Timedelta) -> Site:
    """Place of a series of global horizontal irradiance, told by its clear hours; a month is enough.

    Parameters
    ----------
    ghi_w_per_m2 : ndarray, (time,)
        Measured or forecast; NaN where unknown. [W/m²]
    times, step
        As in `find_site`.

    Notes
    -----
    The place, and a factor on the clear sky, whose clear-sky irradiance is nearest to the `CLEAR_HOURS`
    quantile of the irradiance by the loss of Koenker, Bassett, Econometrica 46(1), 1978.
    """
    from scipy.optimize import minimize

    used = np.flatnonzero(np.isfinite(ghi_w_per_m2))
    ghi, moments = ghi_w_per_m2[used], times[used] + step / 2

    def loss(place: np.ndarray) -> float:
        sun = solar_position(moments, float(np.clip(place[0], -66, 66)), float(place[1]))
        error = ghi - place[2] * clear_sky_irradiance(sun.cos_zenith)
        return float(np.maximum(CLEAR_HOURS * error, (CLEAR_HOURS - 1) * error).mean())

    longitude = noon_longitude(ghi, moments)
    best = min((np.array([latitude, longitude, 1.0]) for latitude in range(-65, 66, 10)), key=loss)
    simplex = np.array([best, *(best + np.diag([6.0, 6.0, 0.05]))])
    found = minimize(loss, best, method="Nelder-Mead", options={"initial_simplex": simplex, "maxiter": 150}).x
    return Site(float(np.clip(found[0], -66, 66)), float((found[1] + 180) % 360 - 180))


def shown_steps(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the system is on, at the positions (second array) of known steps spread over the history."""
    known = np.flatnonzero(np.isfinite(power))
    if len(known) == 0 or not 0 < (power[known] > SHOWN * power[known].max()).mean() < 1:
        raise DataError([Finding("a PV system neither starts nor stops, its place is not told", severity="error")])
    day_stride = max(1, len(known) // SITE_STEPS)
    chosen = known[(known // 96) % day_stride == 0]
    return power[chosen] > SHOWN * power[known].max(), chosen


def mismatch_of_sites(on: np.ndarray, moments: pd.DatetimeIndex) -> Callable[[np.ndarray], float]:
    """Share of wrong steps as function of latitude, longitude and sine of the elevation at start."""

    def mismatch(place: np.ndarray) -> float:
        cos_zenith = solar_position(moments, float(np.clip(place[0], -66, 66)), float(place[1])).cos_zenith
        soft = 1 / (1 + np.exp(-np.clip((cos_zenith - place[2]) / 0.02, -50, 50)))
        return float(np.abs(soft - on).mean())

    return mismatch


def noon_longitude(power: np.ndarray, moments: pd.DatetimeIndex) -> float:
    """Longitude at which the mean hour of the feed-in is noon. [°]"""
    angle = 2 * np.pi * np.asarray((moments - moments.normalize()) / pd.Timedelta("1D"), dtype=float)
    mean = np.angle(np.sum(np.maximum(power, 0) * np.exp(1j * angle)))
    return float((180 - np.degrees(mean) + 180) % 360 - 180)


def site_findings(site: Site, times: pd.DatetimeIndex) -> tuple[Finding, ...]:
    """Say so where the history does not tell the latitude."""
    days = times.normalize().unique()
    noon = pd.DatetimeIndex(days) + pd.Timedelta("12h") - pd.Timedelta(hours=site.longitude_degree / 15)
    decline = np.arcsin(solar_position(noon, 0.0, site.longitude_degree).cos_zenith)
    steep = np.clip(np.tan(np.radians(site.latitude_degree)) * np.tan(np.pi / 2 - decline), -1, 1)
    change_h = float(np.ptp(np.degrees(np.arccos(-steep))) * 2 / 15)
    if len(days) >= LEAST_DAYS and change_h >= LEAST_CHANGE_H:
        return ()
    return (
        Finding(
            "the place of a PV system is uncertain, its days are too few or too alike",
            expected=f"{LEAST_DAYS} days whose length changes by {LEAST_CHANGE_H} h",
            got=f"{len(days)} days, {change_h:.1f} h, estimated latitude {site.latitude_degree:.0f}°",
            do="Give latitude and longitude.",
            code="site.uncertain",
        ),
    )


def find_planes(
    power: np.ndarray, ghi_w_per_m2: np.ndarray, times: pd.DatetimeIndex, step: pd.Timedelta, site: Site
) -> tuple[tuple[Plane, ...], np.ndarray]:
    """Planes, and the power of each at standard irradiance, that together explain a system.

    Parameters
    ----------
    power : ndarray, (time,)
        Feed-in, positive; NaN where unknown. History known at issue only.
    ghi_w_per_m2 : ndarray, (time,)
        Global horizontal irradiance, or that of a clear sky with the power of clear days alone. [W/m²]
    times, step, site
        As in `pv_features.build_pv_features`.

    Returns
    -------
    tuple of Plane
        Those with a share.
    ndarray, (plane,)
        Unit of `power`, at 1000 W/m² on each.

    Notes
    -----
    Non-negative least squares (Lawson, Hanson, Solving Least Squares Problems, 1974) over planes every 30°
    of azimuth and 15° of tilt.
    """
    from scipy.optimize import nnls

    planes = (Plane(180.0, 0.0), *(Plane(azimuth, tilt) for tilt in TILTS_DEGREE for azimuth in AZIMUTHS_DEGREE))
    on_planes = irradiance_on_planes(sun_of_steps(times, step, site), ghi_w_per_m2, planes) / 1000
    used = np.isfinite(power) & np.isfinite(ghi_w_per_m2) & (ghi_w_per_m2 > 0)
    shares, _ = nnls(on_planes[used], power[used])
    there = np.flatnonzero(shares > 0)
    return tuple(planes[position] for position in there), shares[there]
