"""Energy against quality: what the choice of an architecture costs.

Variants of several families that solve one task are compared at one boundary: which are worth their energy (the
Pareto front), what a wanted quality takes in each family, and what a further joule brings. Families may be language
models at batch sizes, or the forecast models of this library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gridtwin.ai_energy.quantity import Quantity, missing
from gridtwin.ai_energy.quotient import divide, require_numbers
from gridtwin.ai_energy.tokens import TokenEnergy
from gridtwin.errors import DataError, Finding


@dataclass(frozen=True)
class Variant:
    """One model at work on the task.

    Parameters
    ----------
    family : str
        Architecture, such as `dense` or `mixture of experts`.
    name : str
        Model, size, batch.
    energy : Quantity
        Per functional unit, such as J/token or J per forecast.
    quality : float
        Score on the task, more is better. [-]
    """

    family: str
    name: str
    energy: Quantity
    quality: float


def variants_of_curve(family: str, curve: TokenEnergy, batches: Sequence[float], quality: float) -> list[Variant]:
    """A language model at several batch sizes: the quality is the same, the energy is not.

    Parameters
    ----------
    family : str
        Architecture.
    curve : TokenEnergy
        Energy per token.
    batches : sequence of float
        Sequences in a step. [1]
    quality : float
        Score of the model on the task. [-]

    Examples
    --------
    >>> from gridtwin.ai_energy.tokens import LLAMA_31_70B
    >>> [round(variant.energy.p50, 2) for variant in variants_of_curve("dense", LLAMA_31_70B, [64, 512], 0.8)]
    [0.79, 0.41]
    """
    return [Variant(family, f"batch {batch:g}", curve.at(batch), quality) for batch in batches]


def compare_architectures(variants: Sequence[Variant]) -> pd.DataFrame:
    """Table of energy against quality, cheapest first.

    Parameters
    ----------
    variants : sequence of Variant
        With one unit and boundary of energy.

    Returns
    -------
    DataFrame
        One row per variant: `family`, `name`, `energy_p2_5`, `energy_p50`, `energy_p97_5`, `quality`, `kind`,
        `method`, `pareto` (no other variant is at least as good in both and better in one), `quality_per_energy`,
        and `marginal_quality_per_energy`, what a further unit of energy has brought since the variant before it on
        the front; NaN off the front and for its first. The attributes `unit` and `boundary` say what energy is. A
        missing energy is NaN and never on the front.

    Raises
    ------
    DataError
        If units or boundaries differ, or there is nothing to compare.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> joules = [exact(j, "J", kind="measured", method="meter", boundary="node") for j in (1.0, 4.0, 5.0)]
    >>> kinds = [("trees", "small", 0.5), ("net", "small", 0.4), ("net", "large", 0.75)]
    >>> table = compare_architectures([Variant(f, n, e, q) for (f, n, q), e in zip(kinds, joules)])
    >>> table[["name", "pareto", "marginal_quality_per_energy"]].values.tolist()
    [['small', True, nan], ['small', False, nan], ['large', True, 0.0625]]
    """
    _check_variants(variants)
    rows = [
        {"family": v.family, "name": v.name, "energy_p2_5": v.energy.p2_5, "energy_p50": v.energy.p50,
         "energy_p97_5": v.energy.p97_5, "quality": v.quality, "kind": v.energy.kind, "method": v.energy.method}
        for v in variants
    ]  # fmt: skip
    numbers = {name: "float64" for name in ("energy_p2_5", "energy_p50", "energy_p97_5", "quality")}
    table = pd.DataFrame(rows).astype(numbers).sort_values(["energy_p50", "quality"], kind="stable", ignore_index=True)
    table["pareto"] = _pareto(table["energy_p50"].to_numpy(), table["quality"].to_numpy())
    table["quality_per_energy"] = table["quality"] / table["energy_p50"].where(table["energy_p50"] > 0)
    front = table[table["pareto"]].drop_duplicates("energy_p50")
    table["marginal_quality_per_energy"] = front["quality"].diff() / front["energy_p50"].diff()
    table.attrs = {"unit": variants[0].energy.unit, "boundary": variants[0].energy.boundary}
    return table


def energy_to_quality(variants: Sequence[Variant], quality: float) -> dict[str, Quantity]:
    """Energy of the cheapest variant of each family that reaches a quality.

    Parameters
    ----------
    variants : sequence of Variant
        With one unit and boundary of energy.
    quality : float
        Wanted score. [-]

    Returns
    -------
    dict from str to Quantity
        By family; missing where no variant is good enough: nothing between two variants is made up. In the unit of
        the variants.

    Examples
    --------
    >>> from gridtwin.ai_energy.quantity import exact
    >>> small, large = (exact(j, "J", kind="measured", method="meter", boundary="node") for j in (1.0, 5.0))
    >>> models = [Variant("net", "small", small, 0.4), Variant("net", "large", large, 0.6)]
    >>> energy_to_quality(models, 0.5)["net"].p50
    5.0
    """
    _check_variants(variants)
    require_numbers(quality=quality)
    found: dict[str, Quantity] = {}
    for family in dict.fromkeys(variant.family for variant in variants):
        good = [v.energy for v in variants if v.family == family and v.quality >= quality and v.energy.p50 is not None]
        none = missing(variants[0].energy.unit, boundary=variants[0].energy.boundary,
                       reason=f"no variant of {family} with a known energy reaches {quality:g}")  # fmt: skip
        found[family] = min(good, key=lambda energy: energy.p50 or 0.0) if good else none
    return found


def energy_ratio(energies: Mapping[str, Quantity], family: str, reference: str) -> Quantity:
    """How many times the energy of a reference a family takes for the same quality.

    Parameters
    ----------
    energies : mapping from str to Quantity
        From `energy_to_quality`.
    family, reference : str
        Names of two families.

    Returns
    -------
    Quantity
        With the interval of both; families differ where it leaves out 1. Missing where one of them is. [1]

    Examples
    --------
    >>> from gridtwin.ai_energy.tokens import LLAMA_31_70B, QWEN3_30B_A3B
    >>> tokens = {"dense": LLAMA_31_70B.at(64), "experts": QWEN3_30B_A3B.at(64)}
    >>> [round(value, 2) for value in energy_ratio(tokens, "experts", "dense").ends]
    [0.3, 0.36, 0.41]
    """
    unknown = [name for name in (family, reference) if name not in energies]
    if unknown:
        raise DataError([Finding("no such family", got=", ".join(unknown), expected=", ".join(energies),
                                 severity="error", code="GT-E82")])  # fmt: skip
    return divide(energies[family], energies[reference], "1")


def _pareto(energy: np.ndarray, quality: np.ndarray) -> list[bool]:
    """Whether no other is at least as good in both and better in one."""
    known = np.isfinite(energy)
    front = []
    for mine, good in zip(energy, quality, strict=True):
        as_good = known & (energy <= mine) & (quality >= good)
        better = as_good & ((energy < mine) | (quality > good))
        front.append(bool(np.isfinite(mine)) and not bool(better.any()))
    return front


def _check_variants(variants: Sequence[Variant]) -> None:
    for name in ("unit", "boundary"):
        values = sorted({str(getattr(variant.energy, name)) for variant in variants})
        if len(values) != 1:
            raise DataError([Finding(f"energies of one {name} can be compared", got=", ".join(values) or "none",
                                     severity="error", code="GT-E83")])  # fmt: skip
    require_numbers(quality=[variant.quality for variant in variants])
