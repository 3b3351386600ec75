"""Several labels, each true or false by itself: each is a choice of two classes, with logits 0 and z."""

# B examples, C labels

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from softreg_core.errors import DataError, ShapeError
from softreg_core.losses.logits import Classes
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.residual import widened
from softreg_core.losses.rows import emptied

__all__ = ["Labels", "as_classes", "binary_cross_entropy", "labels"]


class Labels(NamedTuple):
    """Checked logits and truths."""

    logits: Tensor
    """(B, C), float32 or wider. A label with logit -inf takes no part."""
    target: Tensor
    """(B, C): 0 or 1, of the logits' dtype."""
    weight: Tensor | None
    """(B,)."""

    def each(self) -> Classes:
        """Every label of every example as an example of its own, (B * C, 2): false and true."""
        two_R2 = as_classes(self.logits)
        # By logsigmoid and not by log_softmax, which would round what is nearly certain to certain.
        log_probability_R2 = torch.stack([logsigmoid(-self.logits), logsigmoid(self.logits)], dim=2).flatten(0, 1)
        return Classes(two_R2, log_probability_R2, self.target.long().reshape(-1, 1), None)

    def summed(self, values_R: Tensor) -> Tensor:
        """(B,): values of `each`, added up over the labels of an example."""
        return values_R.view_as(self.logits).sum(1)


def as_classes(logits_BC: Tensor) -> Tensor:
    """(B * C, 2): logits of two classes, of which the first has logit 0."""
    return torch.stack([torch.zeros_like(logits_BC), logits_BC], dim=2).flatten(0, 1)


def labels(logits: Tensor, target: Tensor, weight: Tensor | None = None, data_meta: DataMeta | None = None) -> Labels:
    """Check shapes and truths, widen half precision.

    Args:
        logits: float (B, C), or (B,) read as (B, 1).
        target: 0 or 1, of the same shape, of any dtype.
        weight: float (B,), not negative; passed on.
        data_meta: checked against the logits when given.

    Raises:
        ShapeError: the shapes do not fit each other or `data_meta`.
        TypeError: the logits are not floating.
        DataError: a target is neither 0 nor 1.
    """
    logits_BC = widened(logits)
    if logits_BC.ndim == 1:
        logits_BC = logits_BC.unsqueeze(1)
    target_BC = target.unsqueeze(1) if target.ndim == 1 else target
    if logits_BC.ndim != 2 or target_BC.shape != logits_BC.shape:
        raise ShapeError(
            f"logits have shape {tuple(logits.shape)}, targets {tuple(target.shape)}; (B, C) is needed of both"
        )
    if data_meta is not None and logits_BC.shape[1] != data_meta.outputs:
        raise ShapeError(f"logits have {logits_BC.shape[1]} outputs, the data {data_meta.outputs}")
    if weight is not None and weight.shape != logits_BC.shape[:1]:
        raise ShapeError(f"weight has shape {tuple(weight.shape)}; ({logits_BC.shape[0]},) is needed")
    logits_BC, target_BC = emptied(logits_BC, weight), emptied(target_BC, weight)
    if data_meta is None or not data_meta.are_targets_checked:
        _refuse_other_values(target_BC)
    return Labels(logits_BC, target_BC.to(logits_BC.dtype), weight)


def binary_cross_entropy(pair: Labels) -> Tensor:
    """Minus the log probability of each label's truth, summed over the labels.

    sum_c -[ y_c ln sigmoid(z_c) + (1 - y_c) ln(1 - sigmoid(z_c)) ]

    Args:
        pair: checked logits and truths; see `labels`.

    Returns:
        float (B,), not reduced. A label that is false and whose logit is -inf adds nothing.

    Source:
        Standard; torch.nn.BCEWithLogitsLoss.
    """
    return -logsigmoid((2.0 * pair.target - 1.0) * pair.logits).sum(1)


def _refuse_other_values(target_BC: Tensor) -> None:
    """Looked at on the CPU only: on a GPU every step would wait for the answer, and `prepare` has looked already."""
    if target_BC.device.type != "cpu" or target_BC.dtype == torch.bool:
        return
    is_other_BC = (target_BC != 0) & (target_BC != 1)
    if bool(is_other_BC.any()):
        row = int(torch.argmax(is_other_BC.any(1).int())) + 1
        raise DataError(f"row {row}: the target of a label is 0 or 1", "no_class", row)
