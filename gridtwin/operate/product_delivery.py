"""What a provider of a balancing product delivers for what was requested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridtwin.data.market_rules import ProductRules


def deliver_power(
    p_requested_mw: Sequence[float] | np.ndarray, p_offered_mw: float, step_seconds: float, product: ProductRules
) -> np.ndarray:
    """Mean power that a provider gives in each step for what was requested. (step,) [MW]

    Parameters
    ----------
    p_requested_mw : ndarray, (step,)
        Request, never negative. [MW]
    p_offered_mw : float
        Power of the bid. [MW]
    step_seconds : float
        Length of a step. [s]
    product : ProductRules
        Activation time and shortest activation.

    Notes
    -----
    Power moves at p_offered / activation time towards the request. A request that ends before the shortest
    activation goes on at its first value until then.

    Examples
    --------
    >>> from gridtwin.data.market_rules import read_market_rules
    >>> slow = read_market_rules("eu_standard").product_named("aFRR")
    >>> deliver_power([4.0, 4.0, 0.0], 4.0, 300.0, slow)
    array([2., 4., 2.])
    """
    slope, before = p_offered_mw / product.activation_seconds, 0.0
    delivered = np.zeros(len(p_requested_mw))
    for k, goal in enumerate(_hold(np.asarray(p_requested_mw, dtype=float), step_seconds, product.minimum_minutes)):
        moving = min(abs(goal - before) / slope, step_seconds)
        after = before + np.sign(goal - before) * slope * moving
        delivered[k] = (moving * (before + after) / 2 + (step_seconds - moving) * after) / step_seconds
        before = float(after)
    return delivered


def _hold(requested: np.ndarray, step_seconds: float, minimum_minutes: float) -> np.ndarray:
    """The request, each activation at least as long as it must be."""
    held, least = requested.copy(), int(np.ceil(minimum_minutes * 60 / step_seconds - 1e-9))
    end, level = 0, 0.0
    for k, power in enumerate(requested):
        if power > 0 and k >= end and (k == 0 or requested[k - 1] <= 0):
            end, level = k + least, power
        if k < end:
            held[k] = max(power, level)
    return held
