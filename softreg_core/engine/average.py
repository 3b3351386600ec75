"""A moving average of a network's weights, as a second network."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """a <- d a + (1 - d) w after each step, d = min(decay, (1 + t) / (10 + t)) after t steps.

    What a network keeps besides weights, as the statistics of batch norm, is taken over as it is.

    Source: Polyak and Juditsky 1992 for the average; the rise of d is that of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self.steps = 0
        self._decay = decay
        self._averaged: list[Tensor] = list(self.net.parameters())
        self._weights: list[Tensor] = list(net.parameters())
        self._kept = list(zip(self.net.buffers(), net.buffers(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """A step was taken."""
        self.steps += 1
        decay = min(self._decay, (1.0 + self.steps) / (10.0 + self.steps))
        torch._foreach_lerp_(self._averaged, self._weights, 1.0 - decay)
        for mine, others in self._kept:
            mine.copy_(others)

    def tensors(self) -> dict[str, Tensor]:
        """The averaged network's, by name."""
        tensors: dict[str, Tensor] = self.net.state_dict()
        return tensors
