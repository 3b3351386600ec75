"""From a batch to what the loss compares: the network's passes, and whatever else a loss takes besides one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from softreg_core.data.part import Part
from softreg_core.engine.step.beside import Beside
from softreg_core.losses import Loss
from softreg_core.nets.noise import set_noise

__all__ = ["PASSES", "Forward", "Predicted"]

PASSES = 2
"""The most passes over the same rows in one step: numbers of passes are kept apart by it."""


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

    def __init__(
        self, net: nn.Module, loss: Loss[Any], seed: int, beside: Beside | None = None, *, is_half: bool = False
    ) -> None:
        """`is_half`: let the network multiply in bfloat16."""
        self.net = net
        self.loss = loss
        self.beside = beside
        self.seed = seed
        self.is_half = is_half

    def __call__(self, batch: Part, step: int, piece: int = 0) -> Predicted:
        """The passes of one step.

        Args:
            batch: rows on the network's device.
            step: optimiser steps done in the run.
            piece: which part of the step's batch this is, when it is taken in several; each has noise of its own.
        """
        prediction, variance = self._pass(batch, step, PASSES * piece)
        extras = {} if variance is None else {"variance": variance}
        if self.beside is not None:
            extras[self.beside.name] = self.beside(batch.inputs, lambda: self._pass(batch, step, PASSES * piece + 1)[0])
        return Predicted(prediction, extras)

    def _pass(self, batch: Part, step: int, number: int) -> tuple[Tensor, Tensor | None]:
        set_noise(self.net, self.seed, step, number)
        if not self.is_half:
            return self.loss.split(self.net(*batch.inputs))
        with torch.autocast(batch.target.device.type, dtype=torch.bfloat16):
            half: Tensor = self.net(*batch.inputs)
        return self.loss.split(half.float())
