r"""Floating point operations of language models, and the energy behind them.

    training    6 N D + 6 n_layer n_context d_attention D      [FLOP]
    inference   2 N   + 2 n_layer n_context d_attention        [FLOP/token]

with N active parameters and D tokens (J. Kaplan et al., arXiv 2001.08361, 2020, table 1). Operations alone say
little about energy: at inference the energy of one operation differs by a factor of 42 between published
configurations, so every estimate carries that spread.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridtwin.ai_energy.quantity import Quantity, exact, multiply
from gridtwin.ai_energy.quotient import reciprocal, require_numbers

SCALING_LAWS = "J. Kaplan et al., Scaling Laws for Neural Language Models, arXiv 2001.08361, 2020"
LEADERBOARD = "ML.ENERGY leaderboard v3, chat task, 270 rows in bf16 on H100 and B200, commit 0cd52da"


def _given(low: float, middle: float, high: float, unit: str, method: str, *sources: str) -> Quantity:
    return Quantity(unit=unit, kind="estimated", method=method, method_class="operations", p2_5=low, p50=middle,
                    p97_5=high, provenance=sources)  # fmt: skip


INFERENCE_J_PER_FLOP = _given(
    1.6e-12, 9.7e-12, 118e-12, "J/FLOP",
    "energy per operation at inference: median, 2.5th and 97.5th percentile of published configurations; "
    "2.2 to 93 pJ/FLOP from 5th to 95th percentile",
    LEADERBOARD,
)  # fmt: skip
"""Device energy per floating point operation at inference in bf16, over all models and batch sizes. [J/FLOP]"""
TRAINING_UTILISATION = _given(
    0.197, 0.40, 0.552, "1",
    "model FLOP utilisation of published training runs of language models: mostly 0.3 to 0.5",
    "lowest: GPT-3, 24.6 of 125 TFLOP/s, D. Patterson et al., arXiv 2104.10350, 2021",
    "highest: 55.2 %, Z. Jiang et al., MegaScale, arXiv 2402.15627, 2024",
)  # fmt: skip
"""Share of the peak operations per second that a model's own operations reach in training. [-]"""
POWER_SHARE = _given(
    0.51, 0.75, 1.0, "1",
    "power of a busy accelerator as share of its rating: 0.51 and 0.75 are 5th percentile and median at inference; "
    "in training it may reach the rating",
    LEADERBOARD,
)  # fmt: skip
"""Power of an accelerator at work as share of the rated power. [-]"""


@dataclass(frozen=True)
class Accelerator:
    """A kind of processor.

    Parameters
    ----------
    name : str
        As its maker names it.
    peak_flop_per_s : float
        Dense 16 bit operations, no sparsity counted. [FLOP/s]
    rated_w : float
        Rated power of the board. [W]
    """

    name: str
    peak_flop_per_s: float
    rated_w: float

    @property
    def j_per_flop(self) -> float:
        """Energy of one operation at rated power and peak speed. [J/FLOP]"""
        return self.rated_w / self.peak_flop_per_s


ACCELERATORS = {
    "V100": Accelerator("NVIDIA V100 SXM2", 125e12, 300.0),
    "A100": Accelerator("NVIDIA A100 SXM4", 312e12, 400.0),
    "H100": Accelerator("NVIDIA H100 SXM5", 989e12, 700.0),
    "H200": Accelerator("NVIDIA H200 SXM", 989e12, 700.0),
}
"""Data sheets of the maker."""


def active_parameters(shared: float, expert: float, experts: int, active_experts: int) -> float:
    """Parameters that one token passes in a mixture of experts.

    Parameters
    ----------
    shared : float
        Parameters that every token passes. [1]
    expert : float
        Parameters of all experts together. [1]
    experts, active_experts : int
        Experts of a layer, and how many of them a token takes. [1]

    Returns
    -------
    float
        shared + expert k/E. [1]

    Examples
    --------
    Mixtral 8x7B (A. Jiang et al., arXiv 2401.04088): 46.7e9 in all, 12.9e9 active.

    >>> round(active_parameters(1.6e9, 45.1e9, 8, 2) / 1e9, 1)
    12.9
    """
    require_numbers(at_least=0, shared=shared, expert=expert)
    require_numbers(at_least=1, experts=experts, active_experts=active_experts)
    require_numbers(at_most=experts, active_experts=active_experts)
    return shared + expert * active_experts / experts


def attention_operations_per_token(layers: int, context_tokens: float, attention_width: int) -> float:
    """Operations of the attention over a context, beside those of the parameters.

    Parameters
    ----------
    layers : int
        Layers with attention. [1]
    context_tokens : float
        Tokens that a token looks back at, mean. [token]
    attention_width : int
        Width of the attention over all heads. [1]

    Returns
    -------
    float
        2 n_layer n_context d_attention, of one forward pass. [FLOP/token]

    Examples
    --------
    >>> attention_operations_per_token(80, 8192, 8192) / 1e9
    10.73741824
    """
    require_numbers(at_least=0, layers=layers, context_tokens=context_tokens, attention_width=attention_width)
    return 2.0 * layers * context_tokens * attention_width


def training_operations(parameters: float, tokens: float, *, attention_per_token: float = 0.0) -> Quantity:
    """Operations to train a model from scratch: a forward pass and a backward pass of twice its size.

    Parameters
    ----------
    parameters : float
        Active parameters, see `active_parameters`. [1]
    tokens : float
        Tokens seen, over all epochs. [token]
    attention_per_token : float, default 0
        From `attention_operations_per_token`. [FLOP/token]

    Returns
    -------
    Quantity
        (6 N + 3 attention) D. [FLOP]

    Examples
    --------
    Llama 3.1 405B: 15.6e12 tokens.

    >>> f"{training_operations(405e9, 15.6e12).p50:.2e}"
    '3.79e+25'
    """
    return fine_tuning_operations(parameters, tokens, parameters, attention_per_token=attention_per_token)


def fine_tuning_operations(parameters: float, tokens: float, trainable: float, *,
                           attention_per_token: float = 0.0) -> Quantity:  # fmt: skip
    """Operations to train some of the parameters: weight gradients are needed only for those.

    Parameters
    ----------
    parameters : float
        Active parameters that tokens pass. [1]
    tokens : float
        Tokens seen. [token]
    trainable : float
        Those that change; all for a full fine-tuning, few for adapters. [1]
    attention_per_token : float, default 0
        From `attention_operations_per_token`. [FLOP/token]

    Returns
    -------
    Quantity
        (2 N forward + 2 N backward + 2 N_trainable + 3 attention) D. [FLOP]

    Examples
    --------
    Adapters of 1 % save not quite a third:

    >>> round(fine_tuning_operations(7e9, 1e6, 7e7).p50 / training_operations(7e9, 1e6).p50, 2)
    0.67
    """
    require_numbers(above=0, parameters=parameters, tokens=tokens)
    require_numbers(at_least=0, at_most=parameters, trainable=trainable)
    require_numbers(at_least=0, attention_per_token=attention_per_token)
    return _operations((4 * parameters + 2 * trainable + 3 * attention_per_token) * tokens, "training")


def inference_operations(parameters: float, tokens: float, *, attention_per_token: float = 0.0) -> Quantity:
    """Operations to read or write tokens.

    Parameters
    ----------
    parameters : float
        Active parameters. [1]
    tokens : float
        Tokens of prompts and answers. [token]
    attention_per_token : float, default 0
        From `attention_operations_per_token`. [FLOP/token]

    Returns
    -------
    Quantity
        (2 N + attention) tokens. [FLOP]

    Examples
    --------
    >>> inference_operations(70e9, 1000).p50
    140000000000000.0
    """
    require_numbers(above=0, parameters=parameters, tokens=tokens)
    require_numbers(at_least=0, attention_per_token=attention_per_token)
    return _operations((2 * parameters + attention_per_token) * tokens, "inference")


def _operations(flop: float, what: str) -> Quantity:
    return exact(flop, "FLOP", kind="calculated", method=f"operations of {what} from active parameters and tokens",
                 method_class="operations", provenance=(SCALING_LAWS,))  # fmt: skip


def estimate_training_energy(operations: Quantity, accelerator: Accelerator, *,
                             utilisation: Quantity = TRAINING_UTILISATION,
                             power_share: Quantity = POWER_SHARE) -> Quantity:  # fmt: skip
    """Device energy of training: C / (MFU F_peak) P_rated share.

    Parameters
    ----------
    operations : Quantity
        C, such as `training_operations`. [FLOP]
    accelerator : Accelerator
        Peak speed and rated power.
    utilisation : Quantity
        MFU; the default is that of published runs. [1]
    power_share : Quantity
        Power at work by rated power. [1]

    Returns
    -------
    Quantity
        Estimated, boundary device. The ends of MFU and power multiply, as a slow run may draw full power. [J]

    Examples
    --------
    >>> energy = estimate_training_energy(training_operations(405e9, 15.6e12), ACCELERATORS["H100"]).to("GWh")
    >>> [round(value, 1) for value in energy.ends]
    [6.9, 14.0, 37.8]
    """
    per_flop = multiply(power_share, reciprocal(utilisation), "1", independent=False)
    per_flop = per_flop.scaled(accelerator.j_per_flop, unit="J/FLOP")
    energy = multiply(operations.to("FLOP"), per_flop, "J", boundary="device")
    return energy.model_copy(update={"method_class": "operations"})


def estimate_inference_energy(operations: Quantity, *, j_per_flop: Quantity = INFERENCE_J_PER_FLOP) -> Quantity:
    """Device energy of inference from operations alone: nearly two orders of magnitude wide.

    Parameters
    ----------
    operations : Quantity
        Such as `inference_operations`. [FLOP]
    j_per_flop : Quantity
        Energy of one operation; a narrower one from the own hardware makes the interval narrower. [J/FLOP]

    Returns
    -------
    Quantity
        Estimated, boundary device. Where the batch size is known, use `tokens` instead. [J]

    Examples
    --------
    1000 tokens of a model of 70e9 parameters:

    >>> [round(value) for value in estimate_inference_energy(inference_operations(70e9, 1000)).ends]
    [224, 1358, 16520]
    """
    return multiply(operations.to("FLOP"), j_per_flop, "J", boundary="device")
