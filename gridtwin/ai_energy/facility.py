r"""Key figures of data centres.

    PUE = E_DC / E_IT      WUE = W_IN [m3] / E_IT [MWh] = L/kWh      ERF = E_REUSE / E_DC
    REF = E_RES / E_DC     CUE = carbon intensity times PUE          (Regulation (EU) 2024/1364 Annex III, EN 50600-4)

Units are converted, so that the water per MWh beside energies in kWh cannot become a factor of 1000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gridtwin.ai_energy.quantity import Boundary, Quantity, multiply
from gridtwin.ai_energy.quotient import divide, ends_of, require_boundary, require_numbers
from gridtwin.errors import DataError, Finding

Category = Literal[1, 2, 3]
IT_METERED_AT: dict[Category, Boundary] = {1: "it_at_ups", 2: "rack", 3: "node"}
"""PUE category -> where the IT energy is metered: at the output of the UPS, of the distribution unit, at the input
of the IT equipment (EN 50600-4-2)."""
ANNEX_III = "Delegated Regulation (EU) 2024/1364, Annex III"
LABEL_EDGES: dict[str, tuple[tuple[str, float], ...]] = {
    "PUE": (("A", 1.15), ("B", 1.25), ("C", 1.35), ("D", 1.5), ("E or F", 1.9)),
    "WUE": (("A", 0.1), ("B", 0.2), ("C", 0.4), ("D", 0.6), ("E or F", 1.0)),
}
"""Highest value of each class of the amendment C(2026) 3472 of 2026-09-21, from a third party's reading: not
verified against the official text. The edge of C is implied, that between E and F has not been seen; above is G.
[1], [L/kWh]"""
SUSPECT_WUE = 15.0
"""More water per IT energy than evaporating for all cooling takes: 1.5 L/kWh of heat, ten times. [L/kWh]"""


def power_usage_effectiveness(e_dc: Quantity, e_it: Quantity, *, category: Category) -> Quantity:
    """Energy of the whole data centre by that of its IT equipment.

    Parameters
    ----------
    e_dc : Quantity
        E_DC, boundary facility. Any unit of energy.
    e_it : Quantity
        E_IT, at the boundary of the category.
    category : {1, 2, 3}
        Where E_IT is metered.

    Returns
    -------
    Quantity
        PUE; its lower end is held at 1. [1]

    Raises
    ------
    DataError
        If it is below 1, or a boundary is another one.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> whole = exact(13.0, "GWh", kind="measured", method="meter", boundary="facility")
    >>> it = exact(10000.0, "MWh", kind="measured", method="meter", boundary="it_at_ups")
    >>> power_usage_effectiveness(whole, it, category=1).p50
    1.3
    """
    require_boundary(e_dc, "facility", "e_dc")
    require_boundary(e_it, IT_METERED_AT[category], f"e_it of PUE category {category}")
    ratio = divide(e_dc.to("kWh"), e_it.to("kWh"), "1")
    if ratio.is_missing:
        return ratio
    require_at_least_one(ratio)
    held = "" if ends_of(ratio)[0] >= 1 else ", lower end held at 1"
    method = f"PUE category {category} (E_IT at {IT_METERED_AT[category]}){held}; {ratio.method}"
    low = max(ends_of(ratio)[0], 1.0)
    return ratio.model_copy(update={"p2_5": low, "method": method, "provenance": (*ratio.provenance, ANNEX_III)})


def water_usage_effectiveness(water: Quantity, e_it: Quantity) -> Quantity:
    """Water by IT energy.

    Parameters
    ----------
    water : Quantity
        W_IN in 2024, fresh water in the amendment of 2026. [L] or [m3]
    e_it : Quantity
        E_IT, boundary it_at_ups. Any unit of energy.

    Returns
    -------
    Quantity
        WUE, m3 per MWh or litres per kWh. [L/kWh]

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> water = exact(5000.0, "m3", kind="measured", method="meter")
    >>> it = exact(10e6, "kWh", kind="measured", method="meter", boundary="it_at_ups")
    >>> water_usage_effectiveness(water, it).p50
    0.5
    """
    require_boundary(e_it, "it_at_ups", "e_it")
    ratio = divide(water.to("L"), e_it.to("kWh"), "L/kWh")
    return ratio.model_copy(update={"provenance": (*ratio.provenance, ANNEX_III)})


def energy_reuse_factor(e_reuse: Quantity, e_dc: Quantity) -> Quantity:
    """Share of the energy that leaves as useful heat, ERF.

    Parameters
    ----------
    e_reuse : Quantity
        Heat handed over outside the boundary. Any unit of energy.
    e_dc : Quantity
        E_DC, boundary facility.

    Returns
    -------
    Quantity
        ERF. [1]

    Raises
    ------
    DataError
        If it is above 1.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> heat = exact(2.6, "GWh", kind="measured", method="heat meter")
    >>> whole = exact(13.0, "GWh", kind="measured", method="meter", boundary="facility")
    >>> energy_reuse_factor(heat, whole).p50
    0.2
    """
    return _share_of_e_dc(e_reuse, e_dc, "ERF")


def renewable_energy_factor(e_renewable: Quantity, e_dc: Quantity) -> Quantity:
    """Share of renewable energy with certificates owned and retired, contracts and own plants, REF.

    Parameters
    ----------
    e_renewable : Quantity
        E_RES-TOT. Any unit of energy.
    e_dc : Quantity
        E_DC, boundary facility.

    Returns
    -------
    Quantity
        REF. [1]

    Raises
    ------
    DataError
        If it is above 1.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> green = exact(6.5, "GWh", kind="declared", method="certificates")
    >>> whole = exact(13.0, "GWh", kind="measured", method="meter", boundary="facility")
    >>> renewable_energy_factor(green, whole).p50
    0.5
    """
    return _share_of_e_dc(e_renewable, e_dc, "REF")


def carbon_usage_effectiveness(intensity: Quantity, pue: Quantity) -> Quantity:
    """Carbon of the whole data centre by IT energy, CUE.

    Parameters
    ----------
    intensity : Quantity
        Carbon intensity of the energy bought. [g/kWh]
    pue : Quantity
        [1]

    Returns
    -------
    Quantity
        CUE, per kWh of IT energy. [g/kWh]

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> grid, pue = (exact(v, u, kind="declared", method="example") for v, u in ((0.4, "kg/kWh"), (1.25, "1")))
    >>> carbon_usage_effectiveness(grid, pue).p50
    500.0
    """
    require_at_least_one(pue)
    return multiply(intensity.to("g/kWh"), pue, "g/kWh")


def aggregate_key_figure(values: Sequence[float], e_dc_kwh: Sequence[float]) -> float:
    """Mean of a key figure over data centres as it is made public: weighted by E_DC.

    Parameters
    ----------
    values : sequence of float
        PUE, WUE, ERF or REF of each. (data centre,)
    e_dc_kwh : sequence of float
        Energy of each. (data centre,) [kWh]

    Returns
    -------
    float
        In the unit of the values. Of PUE it is not the ratio of the sums, which weights by E_IT and is lower.

    Examples
    --------
    PUE 1.1 and 2.0 at 1 GWh each: the ratio of the sums would be 2 / (1/1.1 + 1/2) = 1.42.

    >>> round(aggregate_key_figure([1.1, 2.0], [1e6, 1e6]), 2)
    1.55
    """
    require_numbers(at_least=0, values=values)
    require_numbers(above=0, e_dc_kwh=e_dc_kwh)
    return float(np.average(values, weights=e_dc_kwh))


def label_class(figure: Literal["PUE", "WUE"], value: float) -> tuple[str, Finding]:
    """Class of the label of 2026, with the warning that its edges are not verified.

    Parameters
    ----------
    figure : {"PUE", "WUE"}
        Key figure.
    value : float
        [1] or [L/kWh]

    Returns
    -------
    tuple of str and Finding
        `A` to `G`; `E or F` between edges that have not been seen.

    Examples
    --------
    >>> label_class("PUE", 1.22)[0], label_class("WUE", 0.8)[0]
    ('B', 'E or F')
    """
    require_numbers(at_least=1.0 if figure == "PUE" else 0.0, **{figure: value})
    letter = next((name for name, highest in LABEL_EDGES[figure] if value <= highest), "G")
    return letter, Finding("edges of the label classes are not verified", where=f"{figure} label",
                           do="Compare them with the official text of C(2026) 3472.", code="GT-E70")  # fmt: skip


def check_key_figures(pue: Quantity | None = None, wue: Quantity | None = None) -> list[Finding]:
    """Values that nobody would believe, most of them a unit gone wrong.

    Parameters
    ----------
    pue : Quantity, optional
        [1]
    wue : Quantity, optional
        [L/kWh]

    Returns
    -------
    list of Finding
        Warnings.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> print(*check_key_figures(wue=exact(500.0, "L/kWh", kind="declared", method="form")))
    WUE: far too much water, expected at most 15 L/kWh, got 500 L/kWh. Was IT energy in MWh taken for kWh?
    """
    findings = []
    if pue is not None and not pue.is_missing and ends_of(pue)[1] > 3:
        findings.append(Finding("far too much overhead", where="PUE", expected="at most 3", got=f"{pue.p50:g}",
                                do="Do both meters cover the same rooms?", code="GT-E71"))  # fmt: skip
    if wue is not None and not wue.is_missing and ends_of(wue)[1] > SUSPECT_WUE:
        findings.append(Finding("far too much water", where="WUE", expected=f"at most {SUSPECT_WUE:g} L/kWh",
                                got=f"{wue.p50:g} L/kWh", do="Was IT energy in MWh taken for kWh?",
                                code="GT-E71"))  # fmt: skip
    return findings


def _share_of_e_dc(part: Quantity, e_dc: Quantity, name: str) -> Quantity:
    require_boundary(e_dc, "facility", "e_dc")
    ratio = divide(part.to("kWh"), e_dc.to("kWh"), "1")
    if ratio.is_missing:
        return ratio
    _, middle, high = ends_of(ratio)
    if middle > 1:
        raise DataError([Finding("a share cannot be above 1", where=name, expected="at most E_DC", got=f"{middle:g}",
                                 do="Heat of the own cooling and other sites does not count.", severity="error",
                                 code="GT-E74")])  # fmt: skip
    method = f"{name}; {ratio.method}" if high <= 1 else f"{name}, upper end held at 1; {ratio.method}"
    return ratio.model_copy(update={"p97_5": min(high, 1.0), "method": method, "provenance":
                                    (*ratio.provenance, ANNEX_III)})  # fmt: skip


def require_at_least_one(pue: Quantity) -> None:
    """Raise where a PUE is below 1.

    Raises
    ------
    DataError
        If its middle is.
    """
    if pue.p50 is not None and pue.p50 < 1:
        raise DataError([Finding("a data centre draws at least what its IT draws", where="PUE", expected="1 or more",
                                 got=f"{pue.p50:g}", do="Do both meters cover the same rooms?", severity="error",
                                 code="GT-E75")])  # fmt: skip
