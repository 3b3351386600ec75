"""From prediction and target to the squared residual d2 that the real-valued family works on."""

# B examples, C outputs

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from softreg_core.errors import DataError, ShapeError
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.rows import emptied

__all__ = ["Residual", "class_codes", "one_hot", "residual", "widened"]


class Residual(NamedTuple):
    """A checked pair of prediction and target in one floating dtype."""

    prediction: Tensor
    """(B, C)."""
    target: Tensor
    """(B, C)."""
    squared: Tensor
    """(B,): d2, the squared distance of prediction and target, summed over the outputs."""
    weight: Tensor | None
    """(B,)."""
    variance: Tensor | None = None
    """(B, 1) or (B, C): predicted variances, where there are some."""


def residual(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    data_meta: DataMeta | None = None,
    variance: Tensor | None = None,
) -> Residual:
    """Check shapes, turn class codes into one-hot rows, widen half precision, and square.

    Args:
        prediction: float (B, C), or (B,) read as (B, 1).
        target: float of the same shape, or integer class codes (B,). Integers are class codes unless
            `data_meta.task` is regression.
        weight: float (B,), not negative; passed on. Of a row of weight 0 nothing is looked at.
        data_meta: checked against the prediction when given.
        variance: float (B, 1), or (B,) read as that, or (B, C): above 0; passed on.

    Raises:
        ShapeError: the shapes do not fit each other or `data_meta`.
        TypeError: the prediction is not floating.
        DataError: a class code is none of the prediction's outputs.
    """
    prediction_BC = widened(prediction)
    if prediction_BC.ndim == 1:
        prediction_BC = prediction_BC.unsqueeze(1)
    if prediction_BC.ndim != 2:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}; (B, C) or (B,) is needed")
    if data_meta is not None and prediction_BC.shape[1] != data_meta.outputs:
        raise ShapeError(f"prediction has {prediction_BC.shape[1]} outputs, the data {data_meta.outputs}")
    target_BC = _target(prediction_BC, target, data_meta)
    if target_BC.dtype != prediction_BC.dtype:
        dtype = torch.promote_types(prediction_BC.dtype, target_BC.dtype)
        prediction_BC, target_BC = prediction_BC.to(dtype), target_BC.to(dtype)
    if weight is not None and weight.shape != prediction_BC.shape[:1]:
        raise ShapeError(f"weight has shape {tuple(weight.shape)}; ({prediction_BC.shape[0]},) is needed")
    variance_BX = _variance(prediction_BC, variance)
    if weight is not None:
        prediction_BC, target_BC = emptied(prediction_BC, weight), emptied(target_BC, weight)
        variance_BX = None if variance_BX is None else emptied(variance_BX, weight, 1.0)
    squared_B = (prediction_BC - target_BC).square().sum(1)
    return Residual(prediction_BC, target_BC, squared_B, weight, variance_BX)


def widened(values: Tensor) -> Tensor:
    """Float32 or wider: a half overflows at 65504, which a squared residual of 256 reaches."""
    if not values.is_floating_point():
        raise TypeError(f"floating values are needed, not {values.dtype}")
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def class_codes(codes_B: Tensor, classes: int, data_meta: DataMeta | None = None) -> Tensor:
    """Class codes as int64, (B, 1), the index of `gather` and `scatter`.

    They are looked at on the CPU only, where nobody waits for the answer, and not where `data_meta` says that all
    of them were looked at.

    Raises:
        DataError: a code is not in 0 .. classes - 1; the row, counted from 1 within the batch, is named.
    """
    is_checked = data_meta is not None and data_meta.are_targets_checked
    if not is_checked and codes_B.device.type == "cpu" and codes_B.numel():
        low, high = torch.aminmax(codes_B)
        if low.item() < 0 or high.item() >= classes:
            row = int(torch.argmax(((codes_B < 0) | (codes_B >= classes)).int())) + 1
            raise DataError(
                f"row {row}: class code {int(codes_B[row - 1])} is not in 0 to {classes - 1}", "no_class", row
            )
    return codes_B.long().unsqueeze(1)


def _target(prediction_BC: Tensor, target: Tensor, data_meta: DataMeta | None) -> Tensor:
    if not target.is_floating_point():
        if data_meta is None or data_meta.task == "classification":
            return _one_hot(prediction_BC, target, data_meta)
        target = target.to(prediction_BC.dtype)
    target_BC = target.unsqueeze(1) if target.ndim == 1 else target
    if target_BC.shape != prediction_BC.shape:
        # Broadcasting (B, 1) against (B,) would silently compare every example with every other.
        raise ShapeError(f"target has shape {tuple(target.shape)}, prediction {tuple(prediction_BC.shape)}")
    return target_BC


def _variance(prediction_BC: Tensor, variance: Tensor | None) -> Tensor | None:
    if variance is None:
        return None
    variance_BX = widened(variance.unsqueeze(1) if variance.ndim == 1 else variance)
    if variance_BX.shape not in (prediction_BC.shape, (prediction_BC.shape[0], 1)):
        raise ShapeError(f"variance has shape {tuple(variance.shape)}, prediction {tuple(prediction_BC.shape)}")
    return variance_BX.to(prediction_BC.dtype)


def _one_hot(prediction_BC: Tensor, codes: Tensor, data_meta: DataMeta | None) -> Tensor:
    if codes.ndim != 1 or codes.shape[0] != prediction_BC.shape[0]:
        raise ShapeError(f"class codes have shape {tuple(codes.shape)}; ({prediction_BC.shape[0]},) is needed")
    if prediction_BC.shape[1] < 2:
        raise ShapeError("integer targets are class codes and need two outputs or more; give floats for regression")
    codes_B1 = class_codes(codes, prediction_BC.shape[1], data_meta)
    return one_hot(codes_B1, prediction_BC)


def one_hot(codes_B1: Tensor, like_BC: Tensor) -> Tensor:
    """(B, C) of the other's shape and dtype.

    Of the codes alone, and not in place: under `vmap` codes that all members share are made into rows once, where an
    operation in place would be a loop.
    """
    zeros_BC = torch.zeros(like_BC.shape, dtype=like_BC.dtype, device=like_BC.device)
    return zeros_BC.scatter(1, codes_B1, 1.0)
