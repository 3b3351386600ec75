"""How far two predictions of the same rows are apart: a teacher's and the network's, or two passes of one network."""

# B examples, C outputs, K classes

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["between_passes", "between_passes_values", "from_teacher", "from_teacher_values"]


class _Distribution(NamedTuple):
    p: Tensor
    """(B, K)."""
    log_p: Tensor
    """(B, K); 0 where a class is closed, so that nothing times it is NaN."""


def from_teacher(logits_BK: Tensor, teacher_BK: Tensor, temperature: float = 1.0) -> Tensor:
    """Distillation.

    K = T^2 KL(t to p) = T^2 sum_c t_c ln(t_c / p_c),  t = softmax(teacher / T),  p = softmax(z / T)

    Args:
        logits_BK: float (B, K). A class with logit -inf takes no part; the teacher's is renormalised over the others.
        teacher_BK: float (B, K), the teacher's logits; no gradient flows into them.
        temperature: T above 0.

    Returns:
        float (B,), not negative, not reduced; 0 where the two are equal.

    Source:
        Hinton, Vinyals and Dean 2015, section 2, where the cross-entropy of t and p stands: it differs by the entropy
        of t, which has no gradient.
    """
    teacher_BK = teacher_BK.detach()
    is_open_BK = logits_BK > -torch.inf
    t = _distribution(teacher_BK / temperature, is_open_BK & (teacher_BK > -torch.inf))
    p = _distribution(logits_BK / temperature, is_open_BK)
    return temperature**2 * (t.p * (t.log_p - p.log_p)).sum(1)


def between_passes(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """R-Drop.

    K = 1/2 [KL(p to r) + KL(r to p)] = 1/2 sum_c (p_c - r_c) (ln p_c - ln r_c)

    Args:
        first_BK: float (B, K), logits of p. Classes with logit -inf in either pass take no part.
        second_BK: float (B, K), logits of r.

    Returns:
        float (B,), not negative, not reduced; the same the other way round.

    Source:
        Liang et al. 2021, equation 3.
    """
    is_open_BK = (first_BK > -torch.inf) & (second_BK > -torch.inf)
    p, r = _distribution(first_BK, is_open_BK), _distribution(second_BK, is_open_BK)
    return 0.5 * ((p.p - r.p) * (p.log_p - r.log_p)).sum(1)


def from_teacher_values(prediction_BC: Tensor, teacher_BC: Tensor, variance: float = 1.0) -> Tensor:
    """KL between normal distributions of one variance around the teacher's prediction and the network's.

    K = |t - yhat|^2 / (2 sigma2)

    Args:
        prediction_BC: float (B, C).
        teacher_BC: float (B, C), in the same units; no gradient flows into it.
        variance: sigma2 above 0, in squared units of the target.

    Returns:
        float (B,), not negative, not reduced.
    """
    return (prediction_BC - teacher_BC.detach()).square().sum(1) / (2.0 * variance)


def between_passes_values(first_BC: Tensor, second_BC: Tensor, variance: float = 1.0) -> Tensor:
    """The squared distance of two passes.

    K = |yhat_1 - yhat_2|^2 / (4 sigma2)

    Args:
        first_BC: float (B, C).
        second_BC: float (B, C).
        variance: sigma2 above 0, in squared units of the target.

    Returns:
        float (B,), not negative, not reduced.

    Differs:
        Half of what `between_passes` is for normal distributions of variance sigma2: the difference of two passes of
        variance sigma2 each has the variance 2 sigma2, and this is minus its log likelihood, up to a constant.
    """
    return (first_BC - second_BC).square().sum(1) / (4.0 * variance)


def _distribution(logits_BK: Tensor, is_open_BK: Tensor) -> _Distribution:
    log_p_BK = torch.log_softmax(torch.where(is_open_BK, logits_BK, -torch.inf), dim=1)
    return _Distribution(log_p_BK.exp(), torch.where(is_open_BK, log_p_BK, 0.0))
