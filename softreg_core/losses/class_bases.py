"""The bases that compare classes: functions of the log probability that the logits give to the true class."""

# B examples, K classes, p the probability of the true class

from __future__ import annotations

import torch
from torch import Tensor

from softreg_core.losses.logits import Classes, classes

__all__ = ["brier", "cross_entropy", "focal", "generalized_cross_entropy", "symmetric_cross_entropy"]

# The power of a probability below 1 has no finite slope at 0; from here on nothing is left of the loss.
_LEAST_MISS = 1e-30
# q below which generalized cross-entropy is its limit for 0 in every digit; float32 has no such numbers soon after.
_LEAST_POWER = 1e-30


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Minus the log probability of the true class.

    -log softmax(z)_y

    Args:
        logits: float (B, K).
        target: integer class codes (B,) in 0 .. K - 1. No code is special: there is no "ignored" one.

    Returns:
        float (B,), not reduced. Adding a constant to a row of logits changes nothing; a class with logit
        -inf takes no part.

    Raises:
        ShapeError: the shapes do not fit.
        TypeError: float targets.
        DataError: a class code is out of range.
    """
    return -classes(logits, target).of_target()


def brier(pair: Classes) -> Tensor:
    """Half the squared distance of the probabilities from the one-hot row: half the Brier score.

    1/2 sum_c (onehot_c - softmax(z)_c)^2

    Args:
        pair: checked logits and codes; see `classes`.

    Returns:
        float (B,) from 0 to 1, not reduced.

    Source:
        Brier 1950.
    """
    return 0.5 * pair.residual().squared


def generalized_cross_entropy(pair: Classes, q: float = 0.7) -> Tensor:
    """Between cross-entropy (q to 0) and the absolute error of the probability (q = 1).

    (1 - p^q) / q

    Args:
        pair: checked logits and codes; see `classes`.
        q: above 0, at most 1.

    Returns:
        float (B,) from 0 to 1/q, not reduced.

    Source:
        Zhang and Sabuncu 2018, equation 6.
    """
    log_p_B = pair.of_target()
    if q < _LEAST_POWER:
        return -log_p_B
    return -(q * log_p_B).expm1() / q


def symmetric_cross_entropy(
    pair: Classes, forward_weight: float = 0.1, reverse_weight: float = 1.0, log_zero: float = -4.0
) -> Tensor:
    """Cross-entropy and reverse cross-entropy, in which the one-hot row is the one whose logarithm is taken.

    forward_weight (-ln p) + reverse_weight (-log_zero) (1 - p)

    Args:
        pair: checked logits and codes; see `classes`.
        forward_weight: of the cross-entropy.
        reverse_weight: of the reverse cross-entropy.
        log_zero: what stands for ln 0; below 0.

    Returns:
        float (B,), not reduced.

    Source:
        Wang et al. 2019, equations 6 and 7; there the names are alpha, beta and A.
    """
    log_p_B = pair.of_target()
    return -forward_weight * log_p_B + reverse_weight * log_zero * log_p_B.expm1()


def focal(pair: Classes, gamma: float = 2.0) -> Tensor:
    """Cross-entropy, less where the probability is high already.

    -(1 - p)^gamma ln p

    Args:
        pair: checked logits and codes; see `classes`.
        gamma: not negative; 0 is cross-entropy.

    Returns:
        float (B,), not reduced.

    Source:
        Lin et al. 2017, equation 4, without class weights.
    """
    log_p_B = pair.of_target()
    miss_B = torch.clamp(-log_p_B.expm1(), min=_LEAST_MISS)
    return -miss_B.pow(gamma) * log_p_B
