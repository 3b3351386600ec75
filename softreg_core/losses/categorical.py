"""The divergences of classes: between the predicted distribution and a softened label, or the uniform one."""

# B examples, K classes, p predicted distribution, q softened label

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from softreg_core.losses.logits import Classes

__all__ = ["Direction", "categorical", "uniform"]

Direction = Literal["prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon"]


class _Predicted(NamedTuple):
    """p over the classes that are open: a class with logit -inf is closed, and has p = 0."""

    p: Tensor
    """(B, K)."""
    log_p: Tensor
    """(B, K); 0 where a class is closed, so that nothing times it is NaN."""
    is_open: Tensor
    """bool (B, K)."""
    open_count: Tensor
    """(B, 1), as numbers."""


def categorical(
    pair: Classes,
    direction: Direction = "prediction_to_target",
    *,
    epsilon: float = 0.1,
    temperature: float = 1.0,
    normalize: bool = False,
) -> Tensor:
    """A divergence of p = softmax(z / T) and q = (1 - epsilon) onehot + epsilon / K.

    prediction_to_target: KL(p to q) = sum_c p_c ln(p_c / q_c);  target_to_prediction: KL(q to p);
    jeffreys: their sum;  jensen_shannon: 1/2 KL(p to m) + 1/2 KL(q to m), m = (p + q) / 2

    K counts the open classes: one whose logit is -inf takes no part in p or in q.

    Args:
        pair: checked logits and codes; see `classes`.
        direction: which of them.
        epsilon: from 0 to below 1; above 0 for the first and for jeffreys.
        temperature: T above 0.
        normalize: for the first, divide by A = ln((1 - epsilon + epsilon/K) / (epsilon/K)).

    Returns:
        float (B,), not negative, not reduced.

    Differs:
        KL(p to q) is -H(p) + (1 - p_y) A - ln q_y: reverse cross-entropy and an entropy term.
    """
    predicted = _predicted(pair, temperature)
    rest_B1 = epsilon / predicted.open_count
    own_B1 = 1.0 - epsilon + rest_B1
    q_BK = torch.where(predicted.is_open, rest_B1, 0.0).scatter(1, pair.code, own_B1)
    if direction == "jensen_shannon":
        return _jensen_shannon(predicted, q_BK)
    if direction == "target_to_prediction":
        return _of_label(predicted, q_BK)
    # Not the logarithm of epsilon/K, which is 0 in float32 for an epsilon that the spec may hold.
    log_rest_B1 = math.log(epsilon) - predicted.open_count.log()
    log_q_BK = torch.where(predicted.is_open, log_rest_B1, 0.0).scatter(1, pair.code, own_B1.log())
    reverse_B = (predicted.p * (predicted.log_p - log_q_BK)).sum(1)
    if direction == "jeffreys":
        return reverse_B + _of_label(predicted, q_BK)
    if normalize:
        # ln(1 + K (1 - epsilon) / epsilon); the ratio may overflow in float32.
        log_ratio_B = predicted.open_count.squeeze(1).log() + (math.log1p(-epsilon) - math.log(epsilon))
        return reverse_B / torch.logaddexp(log_ratio_B, torch.zeros_like(log_ratio_B))
    return reverse_B


def uniform(pair: Classes, threshold: float | None = None) -> Tensor:
    """How far the predicted distribution is from the uniform one, or its entropy from a threshold.

    KL(p to uniform) = ln K - H(p);  with a threshold max(0, threshold - H(p)), H(p) = -sum_c p_c ln p_c

    Args:
        pair: checked logits and codes; see `classes`.
        threshold: in nats; an entropy above it costs nothing.

    Returns:
        float (B,), not negative, not reduced. K counts the classes whose logit is not -inf.

    Source:
        Pereyra et al. 2017, section 3.2; there the term is -H(p), which differs by the constant ln K.
    """
    predicted = _predicted(pair, 1.0)
    entropy_B = -(predicted.p * predicted.log_p).sum(1)
    if threshold is None:
        return predicted.open_count.log().squeeze(1) - entropy_B
    # Where a single class is open there is nothing to be uncertain of.
    return torch.where(predicted.open_count.squeeze(1) > 1.0, torch.relu(threshold - entropy_B), 0.0)


def _predicted(pair: Classes, temperature: float) -> _Predicted:
    log_p_BK = pair.log_probability if temperature == 1.0 else torch.log_softmax(pair.logits / temperature, dim=1)
    is_open_BK = pair.logits > -torch.inf
    open_count_B1 = is_open_BK.sum(1, keepdim=True).to(log_p_BK.dtype)
    return _Predicted(log_p_BK.exp(), torch.where(is_open_BK, log_p_BK, 0.0), is_open_BK, open_count_B1)


def _of_label(predicted: _Predicted, q_BK: Tensor) -> Tensor:
    return torch.xlogy(q_BK, q_BK).sum(1) - (q_BK * predicted.log_p).sum(1)


def _jensen_shannon(predicted: _Predicted, q_BK: Tensor) -> Tensor:
    # A mean of 0 has p = q = 0, whose terms are 0 whatever the logarithm.
    log_m_BK = (0.5 * (predicted.p + q_BK)).clamp(min=torch.finfo(q_BK.dtype).tiny).log()
    of_p_B = (predicted.p * (predicted.log_p - log_m_BK)).sum(1)
    of_q_B = (torch.xlogy(q_BK, q_BK) - q_BK * log_m_BK).sum(1)
    return 0.5 * (of_p_B + of_q_B)
