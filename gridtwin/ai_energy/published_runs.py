"""What published statements imply: utilisation, energy per operation, carbon per energy.

A statement of a training run holds operations, device hours, energy and carbon; their quotients show whether they fit
together and at which boundary.
"""

from __future__ import annotations

from gridtwin.ai_energy.operations import Accelerator
from gridtwin.ai_energy.quantity import Quantity
from gridtwin.ai_energy.quotient import divide


def implied_utilisation(operations: Quantity, device_time: Quantity, accelerator: Accelerator) -> Quantity:
    """Model FLOP utilisation of a run whose device hours are known.

    Parameters
    ----------
    operations : Quantity
        Of the model. [FLOP]
    device_time : Quantity
        Time of all devices together. [h]
    accelerator : Accelerator
        Peak speed.

    Returns
    -------
    Quantity
        C / (t F_peak). [1]

    Examples
    --------
    >>> from gridtwin.ai_energy.operations import ACCELERATORS, training_operations
    >>> from gridtwin.ai_energy.quantity import exact
    >>> hours = exact(30.84e6, "h", kind="declared", method="model card")
    >>> round(implied_utilisation(training_operations(405e9, 15.6e12), hours, ACCELERATORS["H100"]).p50, 3)
    0.345
    """
    peak = device_time.to("s").scaled(accelerator.peak_flop_per_s, unit="FLOP")
    return divide(operations.to("FLOP"), peak, "1")


def implied_j_per_flop(energy: Quantity, operations: Quantity) -> Quantity:
    """Energy of one operation, at the boundary of the energy.

    Parameters
    ----------
    energy : Quantity
        Any unit of energy.
    operations : Quantity
        Of the model. [FLOP]

    Returns
    -------
    Quantity
        [J/FLOP]

    Examples
    --------
    GPT-3, PUE included: 14.8 pJ/FLOP.

    >>> from gridtwin.ai_energy.quantity import exact
    >>> energy = exact(1287.0, "MWh", kind="declared", method="published", boundary="facility")
    >>> flop = exact(3.14e23, "FLOP", kind="declared", method="published")
    >>> round(implied_j_per_flop(energy, flop).p50 * 1e12, 1)
    14.8
    """
    return divide(energy.to("J"), operations.to("FLOP"), "J/FLOP", boundary=energy.boundary)


def implied_carbon_intensity(carbon: Quantity, energy: Quantity) -> Quantity:
    """Carbon per energy that a published statement implies.

    Parameters
    ----------
    carbon : Quantity
        Any unit of mass.
    energy : Quantity
        Any unit of energy.

    Returns
    -------
    Quantity
        [g/kWh]

    Examples
    --------
    The Llama 3.1 family: 27.5 GWh and 11 390 t.

    >>> from gridtwin.ai_energy.quantity import exact
    >>> mass = exact(11390.0, "t", kind="declared", method="model card")
    >>> energy = exact(27.5, "GWh", kind="declared", method="model card")
    >>> round(implied_carbon_intensity(mass, energy).p50)
    414
    """
    return divide(carbon.to("g"), energy.to("kWh"), "g/kWh", boundary=energy.boundary)
