"""How base and divergence become one number: the weight at a step, and the sum."""

# B examples

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from softreg_core.losses.parts import LossParts
from softreg_core.spec.alpha import AlphaSpec, alpha_at, largest_alpha

__all__ = ["Weighing", "combine"]


def combine(base_B: Tensor, alpha: float | Tensor, divergence_B: Tensor, *, is_convex: bool = False) -> LossParts:
    """l_b = base_b + alpha * K_b; convex: (1 - alpha) * base_b + alpha * K_b. Per example."""
    kept_B = (1.0 - alpha) * base_B if is_convex else base_B
    return LossParts(kept_B + alpha * divergence_B, base_B, divergence_B)


@dataclass(frozen=True, slots=True)
class Weighing:
    """alpha over the run, and how it is applied."""

    alpha: float | AlphaSpec
    is_convex: bool = False
    total_steps: int | None = None
    """Of the whole run; a schedule is a function of the share that is done."""
    is_in_sigma2: bool = False
    """alpha is counted in units of sigma2."""
    given: Tensor | None = None
    """A tensor of no dimension in place of alpha at every step."""

    @property
    def is_ever_positive(self) -> bool:
        """Whether the divergence counts at any step."""
        return largest_alpha(self.alpha) > 0.0

    def parts(self, base_B: Tensor, divergence_B: Tensor, step: int | None, unit: float | Tensor = 1.0) -> LossParts:
        """Weigh the two.

        Args:
            base_B: (B,).
            divergence_B: (B,).
            step: optimiser steps done; None for the weight of the end of the run, with which is evaluated.
            unit: what alpha is counted in: 1, or sigma2.

        Raises:
            ValueError: alpha changes over the run, and the run's length is not known.
        """
        alpha = self.used_at(step)
        if isinstance(alpha, Tensor):
            counted_B = torch.where(alpha == 0.0, 0.0, divergence_B)
            return combine(base_B, alpha * unit, counted_B, is_convex=self.is_convex)._replace(divergence=divergence_B)
        if alpha == 0.0:
            # Not multiplied by 0: the base bit for bit, also where K is not finite.
            return LossParts(base_B, base_B, divergence_B)
        return combine(base_B, alpha * unit, divergence_B, is_convex=self.is_convex)

    def used_at(self, step: int | None) -> float | Tensor:
        """The weight at a step, or the tensor that was given in its place."""
        return self.alpha_at(step) if self.given is None else self.given

    def alpha_at(self, step: int | None) -> float:
        """The weight at a step, or at the end of the run.

        Raises:
            ValueError: alpha changes over the run, and the run's length is not known.
        """
        if isinstance(self.alpha, float):
            return self.alpha
        if step is None:
            return alpha_at(self.alpha, 1.0)
        if self.total_steps is None:
            raise ValueError("alpha changes over the run: give DataMeta.total_steps, or call eval() for its end")
        return alpha_at(self.alpha, min(1.0, step / self.total_steps))
