"""Normal noise on what enters the network."""

from __future__ import annotations

import torch
from torch import Tensor

from softreg_core.keyed import seed_of

__all__ = ["noisy"]


def noisy(inputs: tuple[Tensor, ...], deviation: float, seed: int, step: int) -> tuple[Tensor, ...]:
    """X + deviation * n, n standard normal, for every floating tensor; codes, tokens and lengths stay.

    The noise is a function of (seed, step) and is drawn on the CPU, so that every device sees the same.

    Args:
        inputs: what the network is called with.
        deviation: in the units of the inputs, which are standardised by default.
        seed: of the run.
        step: optimiser steps done.

    Source:
        Bishop 1995: for small noise and squared error, a penalty of deviation^2/2 times the squared slope.
    """
    generator = torch.Generator()
    generator.manual_seed(seed_of(seed, "input noise", step))
    return tuple(_one(tensor, deviation, generator) for tensor in inputs)


def _one(tensor: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
    return tensor + deviation * drawn.to(tensor.device)
