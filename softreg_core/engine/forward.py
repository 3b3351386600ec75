"""From a batch to what the loss compares: the network's passes, and whatever else a loss takes besides one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from softreg_core.data.tabular import Part
from softreg_core.losses import Loss
from softreg_core.nets.noise import set_noise

__all__ = ["Forward", "Predicted"]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a loss is called with besides the target."""

    prediction: Tensor
    """float32 (B, C)."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """Further arguments of the loss by name: `variance`, `second`, `teacher`."""


class Forward:
    """Calls the network for a training step.

    Whatever is random in a pass is a function of (seed, purpose, step, pass): no generator moves on from step to step.
    """

    def __init__(self, net: nn.Module, loss: Loss[Any], seed: int) -> None:
        self.net = net
        self.loss = loss
        self.seed = seed

    def __call__(self, batch: Part, step: int) -> Predicted:
        """The passes of one step.

        Args:
            batch: rows on the network's device.
            step: optimiser steps done in the run.
        """
        set_noise(self.net, self.seed, step)
        prediction, variance = self.loss.split(self.net(*batch.inputs))
        return Predicted(prediction, {} if variance is None else {"variance": variance})
