"""Back from predictions or a loss to parameters, when the gradient with respect to the former is known.

What `Tensor.backward` and `torch.autograd.grad` do before they call autograd, looking at their arguments, takes longer
than a layer of a small network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["accumulate", "gradients"]

_run = torch.autograd.Variable._execution_engine.run_backward  # noqa: SLF001  the same in every torch since 0.4


def accumulate(prediction: Tensor, pull: Tensor) -> None:
    """Add to the parameters' `grad`; the graph is used up.

    Args:
        prediction: float (B, C), with its graph; or a loss, of no dimension.
        pull: of the same shape and dtype: the gradient with respect to it.
    """
    _run((prediction,), (pull,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def gradients(prediction: Tensor, pull: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradients alone; the graph stays. None for a parameter that plays no part."""
    found: Sequence[Tensor | None] = _run(
        (prediction,), (pull,), True, False, tuple(parameters), allow_unreachable=True, accumulate_grad=False
    )
    return found
