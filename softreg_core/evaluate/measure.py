"""What each epoch is measured by: loss, accuracy, negative log likelihood, R2 and errors; sums on the device."""

# N rows, C outputs

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softreg_core.data.part import Part, Rows
from softreg_core.losses import Loss
from softreg_core.nets import set_mode

__all__ = ["EVALUATION_ROWS", "evaluate", "evaluation_rows", "means_of", "sums_of"]

EVALUATION_ROWS = 4096
"""Rows of one batch, at most. It bounds memory, and is the batch of a loss that takes statistics over its batch."""

# 256 MB of float32.
_NUMBERS_AT_ONCE = 2**26


def evaluation_rows(net: nn.Module) -> int:
    """Rows of one batch for a network of `build_net`: fewer where each needs much memory."""
    return min(EVALUATION_ROWS, max(1, _NUMBERS_AT_ONCE // getattr(net, "numbers_per_row", 1)))


@torch.no_grad()
def evaluate(
    net: nn.Module,
    loss: Loss[Any],
    rows: Rows,
    *,
    target_scale: NDArray[np.float64] | None = None,
    label_threshold: float | None = None,
    has_logits: bool = False,
) -> dict[str, float]:
    """Measure a network.

    Args:
        net: called as `net(*inputs)`; returns float32 (N, C), or more columns where `loss` says so.
        loss: as from `build_loss`; an alpha that changes over a run has its value at the end of the run.
        rows: what the network takes and what it should say, N at least 1.
        target_scale: (C,), one scaled unit in the user's units; 1 when not given.
        label_threshold: the output above which a label is true; None where the target is no labels.
        has_logits: whether the outputs for classes are logits; see softreg_core.spec.fit.

    Returns:
        `loss`, `base` and, where there is one, `divergence`: means over the rows. For classes `accuracy`: the share
        of rows whose largest output is the target's; and, from logits, `nll`: minus the log probability of the
        target's class. For labels `accuracy`: the share of labels that are right, and `subset_accuracy`: of rows with
        all of them right. Otherwise `r2`: 1 - squared error / squared deviation from the rows' own mean, NaN for
        constant targets; `mae` and `rmse` in the user's units; each averaged over the outputs. Any of them may be NaN
        or infinite.
    """
    set_mode(net, is_training=False)
    set_mode(loss, is_training=False)
    sums: dict[str, Tensor] = {}
    for batch in rows.batches(evaluation_rows(net)):
        found = sums_of(net, loss, batch, label_threshold=label_threshold, has_logits=has_logits)
        sums = {name: sums[name] + values for name, values in found.items()} if sums else found
    scale = None if target_scale is None else torch.from_numpy(target_scale).to(rows.target.device)
    means = means_of(sums, rows.target, scale)
    # One transfer for all: each .item() would wait for the device.
    return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))


def sums_of(
    net: nn.Module, loss: Loss[Any], batch: Part, *, label_threshold: float | None = None, has_logits: bool = False
) -> dict[str, Tensor]:
    """Of one batch what `means_of` takes, float64; a function of tensors for net and loss in evaluation.

    The arguments are those of `evaluate`.
    """
    prediction, variance = loss.split(net(*batch.inputs))
    parts = loss(prediction, batch.target, variance=variance)._asdict()
    agreement = _agreement(loss.values(prediction), batch.target, label_threshold, has_logits=has_logits)
    return {
        name: values.sum(0, dtype=torch.float64) for name, values in (parts | agreement).items() if values is not None
    }


def _agreement(
    prediction: Tensor, target: Tensor, label_threshold: float | None, *, has_logits: bool
) -> dict[str, Tensor]:
    """What is summed over the rows besides the loss."""
    if label_threshold is not None:
        is_right = (prediction > label_threshold) == (target > 0.5)
        return {"hit": is_right.double().mean(1), "all_hit": is_right.all(1)}
    if not target.is_floating_point():
        hit = {"hit": prediction.argmax(1) == target}
        if not has_logits:
            return hit
        return hit | {"nll": nn.functional.cross_entropy(prediction, target, reduction="none")}
    residual = prediction.double() - target.double()
    return {"squared": residual.square(), "absolute": residual.abs()}


def means_of(sums: Mapping[str, Tensor], target: Tensor, target_scale: Tensor | None = None) -> dict[str, Tensor]:
    """What `evaluate` returns, float64 of no dimension each.

    Args:
        sums: of `sums_of`, added up over all rows.
        target: of all rows.
        target_scale: float64 (C,).
    """
    rows = target.shape[0]
    found = {"loss": sums["total"] / rows, "base": sums["base"] / rows}
    if "divergence" in sums:
        found["divergence"] = sums["divergence"] / rows
    if "hit" in sums:
        found["accuracy"] = sums["hit"] / rows
        if "all_hit" in sums:
            found["subset_accuracy"] = sums["all_hit"] / rows
        if "nll" in sums:
            found["nll"] = sums["nll"] / rows
    else:
        found["r2"] = _r2(sums["squared"], target)
        scale = 1.0 if target_scale is None else target_scale
        found["mae"] = (sums["absolute"] / rows * scale).mean()
        found["rmse"] = ((sums["squared"] / rows).sqrt() * scale).mean()
    return found


def _r2(squared_C: Tensor, target: Tensor) -> Tensor:
    target_NC = target.double()
    deviation_C = (target_NC - target_NC.mean(0)).square().sum(0)
    # By comparison: rounding leaves the mean of equal numbers a little off, and 1 - x / tiny would be a huge number.
    is_constant_C = (target_NC == target_NC[0]).all(0)
    return torch.where(is_constant_C, torch.nan, 1.0 - squared_C / deviation_C).mean()
