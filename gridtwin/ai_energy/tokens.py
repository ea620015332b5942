r"""Energy of a token against the batch size.

Each step of decoding reads the weights once for the whole batch, and computes once per sequence:

    dense                e(B) = a + b0 / B
    mixture of experts   e(B) = a + [b0 + b1 (1 - (1 - k/E)^B)] / B
    square root          e(B) = a + b0 / B + b1 / sqrt(B)     the control: as many parameters, no meaning

a is computing and cache per token, b0 the weights that every step reads, b1 those of all experts, of which a batch
touches the expected share 1 - (1 - k/E)^B. On the chat task of the ML.ENERGY leaderboard (commit 0cd52da) the forms
miss a batch size that they have not seen by 3.1 % (dense, median of 23 groups) and 2.4 % (experts, 13 groups, where
the dense form misses by 20 % and the control by 7.9 %). On long reasoning the energy of the cache is missing: 7.1 %
against 22 % of the dense form, but 7.7 % of the control, which is no worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from gridtwin.ai_energy.quantity import Boundary, Quantity, with_interval
from gridtwin.ai_energy.quotient import require_numbers
from gridtwin.errors import DataError, Finding

Floats: TypeAlias = NDArray[np.float64]
TokenForm = Literal["dense", "experts", "square_root"]
TERMS: dict[TokenForm, int] = {"dense": 2, "experts": 3, "square_root": 3}
"""Number of coefficients of each form."""


def touched_share(batch: ArrayLike, active_share: float) -> Floats:
    """Expected share of the experts that a batch touches, when tokens choose evenly and on their own.

    Parameters
    ----------
    batch : numeric
        Sequences in a step. [1]
    active_share : float
        k/E, experts that one token takes. [-]

    Returns
    -------
    ndarray
        1 - (1 - k/E)^B. [-]

    Examples
    --------
    >>> [round(float(share), 3) for share in touched_share([1, 16, 64], 8 / 128)]
    [0.062, 0.644, 0.984]
    """
    require_numbers(above=0, batch=batch, active_share=active_share)
    require_numbers(at_most=1, active_share=active_share)
    return np.asarray(1.0 - (1.0 - active_share) ** np.asarray(batch, dtype=float), dtype=float)


@dataclass(frozen=True)
class TokenEnergy:
    """Energy per token of one model on one machine, as a function of the batch size.

    Parameters
    ----------
    form : {"dense", "experts", "square_root"}
        Form of the curve.
    coefficients_j : tuple of float
        a, b0 and, unless dense, b1. [J]
    active_share : float
        k/E, 1 for a dense model. [-]
    relative_rms : float
        Of the fit. [-]
    left_out_rms : float
        Relative error at batch sizes that the fit has not seen. [-]
    batch_range : tuple of float
        Smallest and largest batch of the data. [1]
    boundary : str
        What the energy counts.
    source : str
        Model, machine and data.
    """

    form: TokenForm
    coefficients_j: tuple[float, ...]
    active_share: float
    relative_rms: float
    left_out_rms: float
    batch_range: tuple[float, float]
    boundary: Boundary
    source: str

    def joules(self, batch: ArrayLike) -> Floats:
        """Energy per token at some batch sizes. [J/token]

        Examples
        --------
        >>> [round(float(e), 3) for e in LLAMA_31_70B.joules([8, 64, 512])]
        [3.785, 0.788, 0.414]
        """
        return np.asarray(_terms(self.form, batch, self.active_share) @ np.asarray(self.coefficients_j), dtype=float)

    def at(self, batch: float) -> Quantity:
        """Energy per token with its interval, wider outside the batch sizes of the data.

        Parameters
        ----------
        batch : float
            Sequences in a step. [1]

        Returns
        -------
        Quantity
            Estimated; half width 1.96 times the error at unseen batch sizes, and once more for each factor of two
            outside the data. [J/token]

        Examples
        --------
        >>> LLAMA_31_70B.at(64).unit
        'J/token'
        """
        low, high = self.batch_range
        doublings = max(0.0, float(np.log2(low / batch)), float(np.log2(batch / high)))
        half = 1.96 * self.left_out_rms * (1 + doublings)
        outside = "" if doublings == 0 else f", outside the batch sizes {low:g} to {high:g} of the data"
        method = f"energy per token at batch size {batch:g} from a fitted curve ({self.form}){outside}"
        return with_interval(float(self.joules(batch)), min(half, 1.0), half, "J/token", kind="estimated",
                             method=method, method_class="calibrated_model", boundary=self.boundary,
                             provenance=(self.source,))  # fmt: skip


LLAMA_31_70B = TokenEnergy("dense", (0.360, 27.4), 1.0, 0.020, 0.024, (8, 898), "device",
                           "Llama 3.1 70B on 4 H100, ML.ENERGY leaderboard v3, chat")  # fmt: skip
"""A dense model; energy of the accelerators alone."""
QWEN3_30B_A3B = TokenEnergy("experts", (0.083, 0.93, 12.0), 8 / 128, 0.060, 0.076, (8, 1019), "device",
                            "Qwen3 30B A3B on 2 H100, ML.ENERGY leaderboard v3, chat")  # fmt: skip
"""A mixture of 128 experts, 8 active; energy of the accelerators alone."""


def fit_token_energy(batch: Sequence[float], joules: Sequence[float], *, form: TokenForm, active_share: float = 1.0,
                     boundary: Boundary = "device", source: str = "") -> TokenEnergy:  # fmt: skip
    """Curve through measured energies per token, with no negative coefficient and the least relative error.

    Parameters
    ----------
    batch : sequence of float
        Sequences in a step. [1]
    joules : sequence of float
        Energy per token. [J/token]
    form : {"dense", "experts", "square_root"}
        Form of the curve.
    active_share : float, default 1
        k/E, needed by the form `experts`. [-]
    boundary : str
        What the energy counts.
    source : str
        Model, machine and data.

    Returns
    -------
    TokenEnergy
        With its error at batch sizes left out one at a time.

    Raises
    ------
    DataError
        If there are fewer distinct batch sizes than coefficients and one more, or a value is not above 0.

    Notes
    -----
    The sum of ((e(B_i) - e_i) / e_i)² over coefficients of at least 0 has one minimum; it is found by the active
    sets of C. Lawson and R. Hanson, Solving Least Squares Problems, 1974, chapter 23.

    Examples
    --------
    >>> sizes = [8.0, 16.0, 64.0, 256.0]
    >>> curve = fit_token_energy(sizes, [0.36 + 27.4 / size for size in sizes], form="dense")
    >>> [round(value, 3) for value in curve.coefficients_j]
    [0.36, 27.4]
    """
    sizes, energy = _check_data(batch, joules, form)
    curve = TokenEnergy(form, _solve(sizes, energy, form, active_share), active_share, 0.0, 0.0,
                        (float(sizes.min()), float(sizes.max())), boundary, source)  # fmt: skip
    errors = [_left_out_error(sizes, energy, curve, size) for size in np.unique(sizes)]
    fit = curve.joules(sizes) / energy - 1
    return replace(curve, relative_rms=_rms(fit), left_out_rms=_rms(np.concatenate(errors)))


def compare_forms(batch: Sequence[float], joules: Sequence[float], active_share: float = 1.0) -> pd.DataFrame:
    """Errors of all forms on the same data, the control beside them.

    Parameters
    ----------
    batch, joules, active_share
        As for `fit_token_energy`. [1], [J/token], [-]

    Returns
    -------
    DataFrame
        One row per form: `relative_rms` and `left_out_rms`. [-]

    Examples
    --------
    >>> sizes = [8.0, 16.0, 64.0, 256.0, 512.0]
    >>> compare_forms(sizes, list(QWEN3_30B_A3B.joules(sizes)), 8 / 128)["left_out_rms"].idxmin()
    'experts'
    """
    # with every expert active, the third term would be the second one again
    forms: list[TokenForm] = [form for form in TERMS if form != "experts" or active_share < 1]
    curves = {form: fit_token_energy(batch, joules, form=form, active_share=active_share) for form in forms}
    rows = {form: {"relative_rms": c.relative_rms, "left_out_rms": c.left_out_rms} for form, c in curves.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("form")


def _terms(form: TokenForm, batch: ArrayLike, active_share: float) -> Floats:
    """Factors of the coefficients. (..., term)"""
    sizes = np.asarray(batch, dtype=float)
    require_numbers(above=0, batch=sizes)
    columns = [np.ones_like(sizes), 1 / sizes]
    if form == "experts":
        columns.append(touched_share(sizes, active_share) / sizes)
    elif form == "square_root":
        columns.append(1 / np.sqrt(sizes))
    return np.stack(columns, axis=-1)


def _solve(sizes: Floats, energy: Floats, form: TokenForm, active_share: float) -> tuple[float, ...]:
    relative = _terms(form, sizes, active_share) / energy[:, None]
    # columns of one length: those of large batches are many orders of magnitude apart
    lengths = np.linalg.norm(relative, axis=0)
    found, _ = nnls(relative / lengths, np.ones_like(energy))
    return tuple(float(value) for value in found / lengths)


def _left_out_error(sizes: Floats, energy: Floats, curve: TokenEnergy, size: float) -> Floats:
    """Relative errors at one batch size of the curve through all others."""
    rest = sizes != size
    others = replace(curve, coefficients_j=_solve(sizes[rest], energy[rest], curve.form, curve.active_share))
    return np.asarray(others.joules(sizes[~rest]) / energy[~rest] - 1, dtype=float)


def _rms(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _check_data(batch: Sequence[float], joules: Sequence[float], form: TokenForm) -> tuple[Floats, Floats]:
    sizes, energy = np.asarray(batch, dtype=float), np.asarray(joules, dtype=float)
    require_numbers(above=0, batch=sizes, joules=energy)
    if sizes.shape != energy.shape or sizes.ndim != 1:
        raise DataError([Finding("one energy for each batch size", expected=str(sizes.shape), got=str(energy.shape),
                                 severity="error", code="GT-E64")])  # fmt: skip
    needed, there = TERMS[form] + 1, len(np.unique(sizes))
    if there < needed:
        raise DataError([Finding(f"too few batch sizes for the form {form}", expected=f"{needed} or more",
                                 got=str(there), severity="error", code="GT-E65")])  # fmt: skip
    return sizes, energy
