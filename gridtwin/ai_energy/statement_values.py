"""Values of a statement by the place of their field, and how they are written."""

from __future__ import annotations

import math

from gridtwin.ai_energy.quantity import Quantity
from gridtwin.ai_energy.workload_statement import WorkloadStatement
from gridtwin.errors import DataError, Finding


def find_value(statement: WorkloadStatement, place: str) -> object:
    """What a field says; `hardware.*.count` gives one value for each part of the list.

    Raises
    ------
    DataError
        If there is no such field.
    """
    return _descend(statement, place.split("."), place)


def _descend(value: object, names: list[str], place: str) -> object:
    if not names or value is None:
        return value
    if names[0] == "*":
        parts = value if isinstance(value, tuple) else ()
        return tuple(_descend(part, names[1:], place) for part in parts)
    if names[0] not in getattr(type(value), "model_fields", {}):
        raise DataError([Finding("a statement has no such field", where=place, got=names[0], severity="error",
                                 code="GT-S73")])  # fmt: skip
    return _descend(getattr(value, names[0]), names[1:], place)


def is_stated(value: object) -> bool:
    """Whether a field says anything: a quantity that is missing with a reason does."""
    if isinstance(value, tuple):
        return any(is_stated(part) for part in value)
    return value is not None and value != ""


def in_unit(value: Quantity, unit: str) -> Quantity | None:
    """A quantity in another unit; None where that cannot be."""
    try:
        return value.to(unit) if unit else value
    except DataError:
        return None


def significant_figures(value: float) -> int:
    """Figures of a number as it is written shortest, without zeros at either end.

    Examples
    --------
    >>> significant_figures(3e15), significant_figures(0.0510), significant_figures(1287.0)
    (1, 2, 4)
    """
    mantissa = f"{abs(value):.15e}".split("e")[0].replace(".", "").rstrip("0")
    return max(len(mantissa), 1)


def round_figures(value: float, figures: int) -> float:
    """A number rounded to so many significant figures.

    Examples
    --------
    >>> round_figures(1287.4, 2)
    1300.0
    """
    return float(f"{value:.{figures - 1}e}") if value else value


def figures_text(value: float, figures: int = 3) -> str:
    """A number with so many significant figures, zeros shown.

    Examples
    --------
    >>> figures_text(1287.0, 2), figures_text(5.1e17, 2), figures_text(0.5, 2), figures_text(0.0)
    ('1300', '5.1e17', '0.50', '0')
    """
    if value == 0:
        return "0"
    rounded = round_figures(value, figures)
    size = math.floor(math.log10(abs(rounded)))
    if not -4 < size < 7:
        mantissa, exponent = f"{rounded:.{figures - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{rounded:.{max(figures - 1 - size, 0)}f}"


def number_text(value: Quantity, figures: int = 0) -> str:
    """Middle and unit of a quantity: three figures, as many as are asked for, or all up to six of an exact one."""
    if value.p50 is None:
        return "not known"
    if not figures:
        figures = min(significant_figures(value.p50), 6) if value.p2_5 == value.p97_5 else 3
    return f"{figures_text(value.p50, figures)} {unit_text(value.unit)}".strip()


def interval_text(value: Quantity) -> str:
    """Ends of the interval; empty where there is none."""
    if value.p2_5 is None or value.p97_5 is None or value.p2_5 == value.p97_5:
        return ""
    return f"{figures_text(value.p2_5)} to {figures_text(value.p97_5)} {unit_text(value.unit)}".strip()


def unit_text(unit: str) -> str:
    """A unit as it is printed; 1 is left out."""
    return "" if unit == "1" else unit
