"""How much the examples of each class weigh, and in which precision the network multiplies."""

# K classes

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from softreg_core.errors import Problem, SpecError

__all__ = ["Precision", "class_weight", "in_dtype", "precision_for", "precision_of"]

Precision = Literal["float32", "float64", "bfloat16"]

# From about this many weights on a half-precision product pays for the casts around it.
_LARGE = 1_000_000


def class_weight(
    wanted: Literal["balanced"] | dict[str, float] | None, labels: tuple[str, ...] | None, target: Tensor
) -> Tensor | None:
    """float32 (K,): the weight of each class; None when all weigh the same.

    balanced: w_k = N / (K N_k); a class without training rows weighs 0, and no row asks for it.

    Args:
        wanted: of the spec.
        labels: in code order; None for regression.
        target: class codes of the training rows, int64 (N,).

    Source:
        King and Zeng 2001; scikit-learn's `class_weight="balanced"`.
    """
    if wanted is None or labels is None:
        return None
    if wanted == "balanced":
        counts_K = torch.bincount(target, minlength=len(labels)).double()
        return torch.where(counts_K > 0, target.shape[0] / (len(labels) * counts_K), 0.0).float()
    unknown = [label for label in wanted if label not in labels]
    if unknown:
        problem = Problem("/training/class_weights", f"the target has no class '{unknown[0]}'")
        raise SpecError(problem.message, [problem])
    return torch.tensor([wanted.get(label, 1.0) for label in labels])


Module = TypeVar("Module", bound=nn.Module)


def in_dtype(module: Module, dtype: torch.dtype) -> Module:
    """The module itself, its float32 numbers as `dtype`; what is wider stays so."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype == torch.float32:
            tensor.data = tensor.data.to(dtype)
    return module


def precision_of(wanted: str, net: nn.Module, device: torch.device, dtype: torch.dtype = torch.float32) -> Precision:
    """See `precision_for`."""
    return precision_for(wanted, sum(parameter.numel() for parameter in net.parameters()), device, dtype)


def precision_for(wanted: str, parameters: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Precision:
    """`auto` is bfloat16 for large networks on CUDA devices that have it, else that of the weights.

    Raises:
        SpecError: bfloat16 was asked for, and the device has none that is faster.
    """
    if dtype == torch.float64 and wanted != "bfloat16":
        return "float64"
    can = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bfloat16" and not can:
        message = f"bfloat16 is offered on CUDA devices that compute in it; this job runs on {device}"
        raise SpecError(message, [Problem("/training/precision", message)])
    is_large = parameters >= _LARGE
    return "bfloat16" if wanted == "bfloat16" or (wanted == "auto" and can and is_large) else "float32"
