"""From logits and class codes to the log probabilities that the class family works on."""

# B examples, K classes

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from softreg_core.errors import ShapeError
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.residual import Residual, class_codes, one_hot, widened
from softreg_core.losses.rows import emptied

__all__ = ["Classes", "classes"]


class Classes(NamedTuple):
    """Checked logits and class codes."""

    logits: Tensor
    """(B, K), float32 or wider. A class with logit -inf takes no part."""
    log_probability: Tensor
    """(B, K): log softmax of the logits."""
    code: Tensor
    """int64 (B, 1)."""
    weight: Tensor | None
    """(B,)."""
    variance: Tensor | None = None
    """(B, 1) or (B, K): predicted variances of the probabilities, where there are some."""

    def of_target(self) -> Tensor:
        """(B,): the log probability of the true class."""
        return self.log_probability.gather(1, self.code).squeeze(1)

    def residual(self) -> Residual:
        """The probabilities against one-hot rows."""
        probability_BK = self.log_probability.exp()
        one_hot_BK = one_hot(self.code, probability_BK)
        squared_B = (probability_BK - one_hot_BK).square().sum(1)
        return Residual(probability_BK, one_hot_BK, squared_B, self.weight, self.variance)


def classes(logits: Tensor, target: Tensor, weight: Tensor | None = None, data_meta: DataMeta | None = None) -> Classes:
    """Check shapes and codes, widen half precision, normalise.

    Args:
        logits: float (B, K).
        target: integer class codes (B,) in 0 .. K - 1. No code is special: there is no "ignored" one.
        weight: float (B,), not negative; passed on.
        data_meta: checked against the logits when given.

    Raises:
        ShapeError: the shapes do not fit each other or `data_meta`.
        TypeError: float targets, or logits that are not floating.
        DataError: a class code is out of range.
    """
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ShapeError(
            f"logits have shape {tuple(logits.shape)}, targets {tuple(target.shape)}; (B, K) and (B,) are needed"
        )
    if data_meta is not None and logits.shape[1] != data_meta.outputs:
        raise ShapeError(f"logits have {logits.shape[1]} outputs, the data {data_meta.outputs}")
    if target.is_floating_point():
        raise TypeError("logits are compared with integer class codes, not with floats")
    if weight is not None and weight.shape != target.shape:
        raise ShapeError(f"weight has shape {tuple(weight.shape)}; ({target.shape[0]},) is needed")
    wide_BK = emptied(widened(logits), weight)
    return Classes(wide_BK, torch.log_softmax(wide_BK, dim=1), class_codes(target, logits.shape[1], data_meta), weight)
