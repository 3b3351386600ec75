"""What a net puts out besides its predictions: variances, where the loss asks for them."""

from __future__ import annotations

from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.base import Head
from softreg_core.spec.loss import LossSpec

__all__ = ["extra_outputs", "head_of"]


def head_of(loss: LossSpec) -> Head | None:
    """Whose variances the net predicts: one for all outputs of an example, one for each, or None."""
    if loss.base.kind == "gaussian_nll":
        return loss.base.head
    divergence = loss.divergence
    if divergence is None or divergence.kind != "gaussian" or largest_alpha(loss.alpha) == 0.0:
        return None
    return divergence.head if divergence.prediction_variance == "predicted" else None


def extra_outputs(loss: LossSpec, outputs: int) -> int:
    """Columns of the net's output after the predictions; `outputs` counts the predictions."""
    return {None: 0, "shared": 1, "per_output": outputs}[head_of(loss)]
