"""Label smoothing, written as what it adds to the loss of the plain label."""

# B examples, K classes

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from softreg_core.losses.labels import Labels, labels
from softreg_core.losses.logits import classes
from softreg_core.losses.parts import DataMeta

__all__ = ["SMOOTHED_BASES", "smoothing"]


def smoothing(
    base: str, prediction: Tensor, target: Tensor, strength: float | Tensor, data_meta: DataMeta | None = None
) -> Tensor:
    """The base of the smoothed label minus that of the label itself.

    s * [ mean_k base(z, k) - base(z, y) ]; base + this = (1 - s) base(z, y) + s/K sum_k base(z, k)

    Args:
        base: kind of the base, one of `SMOOTHED_BASES`.
        prediction: logits, float (B, K).
        target: class codes, integer (B,); for several labels 0 or 1, (B, K): each label is smoothed towards 1/2.
        strength: s, from 0 to below 1.
        data_meta: as the base is called with.

    Returns:
        (B,), not reduced; may be negative.

    Source:
        Szegedy and others 2016, section 7; torch's `label_smoothing` of cross-entropy.
    Differs:
        For `brier` the sum differs from the squared distance to the smoothed row by a constant.
    """
    if base == "binary_cross_entropy":
        return strength * _of_labels(labels(prediction, target, data_meta=data_meta))
    pair = classes(prediction, target, data_meta=data_meta)
    return strength * _EXCESS[base](pair.log_probability, pair.code)


def _of_cross_entropy(log_probability_BK: Tensor, code_B1: Tensor) -> Tensor:
    return log_probability_BK.gather(1, code_B1).squeeze(1) - log_probability_BK.mean(1)


def _of_brier(log_probability_BK: Tensor, code_B1: Tensor) -> Tensor:
    """base(z, k) = |p|^2/2 - p_k + 1/2, so that only p_y minus its mean, 1/K, stays."""
    return torch.exp(log_probability_BK.gather(1, code_B1).squeeze(1)) - 1.0 / log_probability_BK.shape[1]


def _of_labels(pair: Labels) -> Tensor:
    """base(z, 1) - base(z, 0) = -z, so that (y - 1/2) z stays; of a label that takes no part, nothing."""
    return torch.where(pair.logits > -torch.inf, (pair.target - 0.5) * pair.logits, 0.0).sum(1)


_EXCESS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": _of_cross_entropy, "brier": _of_brier}
SMOOTHED_BASES = frozenset((*_EXCESS, "binary_cross_entropy"))
