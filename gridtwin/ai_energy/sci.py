r"""Software carbon intensity, SCI = (E I + M) / R, and its form for AI.

E is energy, I the carbon intensity of electricity, M the embodied carbon of the hardware in use, R the number of
functional units (ISO/IEC 21031:2024). SCI for AI (Green Software Foundation, 2026) asks for two scores: the
consumer's, per token, inference or request in operation, and the provider's, per operation or parameter, with all
training runs. Offsets and certificates have no place in either.

The printed examples of SCI for AI hold slips: 0.13 g per million tokens where its own numbers give 130 g, and 3,000
and 30 kg per 1e9 parameters where they give 30,000 kg. Units are carried here, so they cannot happen.
"""

from __future__ import annotations

from gridtwin.ai_energy.quantity import Quantity, multiply, sum_quantities
from gridtwin.ai_energy.quotient import require_numbers
from gridtwin.errors import DataError, Finding

SCI_SOURCE = "SCI = (E I + M) / R, ISO/IEC 21031:2024"


def embodied_carbon(total: Quantity, *, reserved_h: float, lifespan_h: float, resources_reserved: float,
                    resources_total: float) -> Quantity:  # fmt: skip
    """Share of the carbon of making hardware that a job bears.

    Parameters
    ----------
    total : Quantity
        TE, embodied carbon of the hardware. [kg]
    reserved_h, lifespan_h : float
        TiR and EL, time reserved and expected life. [h]
    resources_reserved, resources_total : float
        RR and ToR, such as cores reserved and cores there. [1]

    Returns
    -------
    Quantity
        M = TE (TiR / EL) (RR / ToR). [g]

    Raises
    ------
    DataError
        If more is reserved than there is.

    Examples
    --------
    One month of 48, 4 of 32 cores:

    >>> from gridtwin.ai_energy.quantity import exact
    >>> server = exact(1230.3, "kg", kind="declared", method="example of the quick guide")
    >>> share = embodied_carbon(server, reserved_h=1, lifespan_h=48, resources_reserved=4, resources_total=32)
    >>> round(share.p50, 1)
    3203.9
    """
    require_numbers(above=0, lifespan_h=lifespan_h, resources_total=resources_total)
    require_numbers(at_least=0, at_most=lifespan_h, reserved_h=reserved_h)
    require_numbers(at_least=0, at_most=resources_total, resources_reserved=resources_reserved)
    share = reserved_h / lifespan_h * resources_reserved / resources_total
    return total.to("g").scaled(share).model_copy(update={"boundary": None})


def operational_carbon(energy: Quantity, intensity: Quantity) -> Quantity:
    """Carbon of electricity.

    Parameters
    ----------
    energy : Quantity
        E, any unit of energy.
    intensity : Quantity
        I, marginal or average: its method says which. [g/kWh]

    Returns
    -------
    Quantity
        E I, at the boundary of the energy. [g]

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> energy = exact(2.0, "MWh", kind="declared", method="example", boundary="facility")
    >>> grid = exact(0.4, "kg/kWh", kind="declared", method="average of the zone")
    >>> operational_carbon(energy, grid).to("kg").p50
    800.0
    """
    return multiply(energy.to("kWh"), intensity.to("g/kWh"), "g", boundary=energy.boundary)


def software_carbon_intensity(operational: Quantity, embodied: Quantity, units: float, functional_unit: str, *,
                              per: float = 1.0) -> Quantity:  # fmt: skip
    """Carbon per functional unit.

    Parameters
    ----------
    operational : Quantity
        E I, such as `operational_carbon`. Any unit of mass.
    embodied : Quantity
        M, such as `embodied_carbon`. Any unit of mass.
    units : float
        R, functional units served in the same time. [1]
    functional_unit : str
        Name of one of them, such as `token`.
    per : float, default 1
        For how many of them the result is given, such as 1e6. [1]

    Returns
    -------
    Quantity
        (E I + M) / R times `per`, boundary of the operational carbon. [g per so many units]

    Examples
    --------
    The quick guide of the Green Software Foundation, 20,000 requests:

    >>> from gridtwin.ai_energy.quantity import exact
    >>> used, made = (exact(grams, "g", kind="declared", method="quick guide") for grams in (1329.0, 3203.90625))
    >>> score = software_carbon_intensity(used, made, 20_000, "request")
    >>> round(score.p50, 5), score.unit
    (0.22665, 'g/request')
    """
    require_numbers(above=0, units=units, per=per)
    if not functional_unit.isidentifier():
        raise DataError([Finding("functional unit needs a name", expected="one word, such as token",
                                 got=repr(functional_unit), severity="error", code="GT-E68")])  # fmt: skip
    made = embodied.to("g").model_copy(update={"boundary": operational.boundary})
    total = sum_quantities([operational.to("g"), made])
    size = "" if per == 1 else f"{per:g} ".replace("e+0", "e").replace("e+", "e")
    score = total.scaled(per / units, unit=f"g/{size}{functional_unit}")
    return score.model_copy(update={"provenance": (*score.provenance, SCI_SOURCE)})
