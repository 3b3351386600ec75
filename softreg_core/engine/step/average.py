"""A moving average of a network's weights, as a second network."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from softreg_core.engine.state import load_tensors

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

    def tensors(self, owner: str) -> dict[str, Tensor]:
        """The averaged network's, as a state carries them."""
        return {f"{owner}/{name}": tensor for name, tensor in self.net.state_dict().items()}

    def numbers(self, owner: str) -> dict[str, float]:
        """How many steps are in it."""
        return {f"{owner}/steps": float(self.steps)}

    def put(self, owner: str, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from a captured state, among whose tensors and numbers are the owner's.

        Raises:
            DataError: it is another network's.
        """
        prefix = f"{owner}/"
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        load_tensors(self.net, own)
        self.steps = int(numbers.get(f"{owner}/steps", 0.0))
