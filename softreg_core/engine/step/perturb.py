"""What is done to a batch before it enters the network: noise and mixup, each a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.losses import LossParts
from softreg_core.penalties import mixing_of, noisy
from softreg_core.spec.penalties import PenaltiesSpec

__all__ = ["Perturbed", "perturbed"]


@dataclass(frozen=True, slots=True, eq=False)
class Perturbed:
    """A batch as the network sees it."""

    rows: Part
    partner: Tensor | None = None
    """The other targets of a mixed batch of classes; each counts 1 - share in the loss."""
    share: float = 1.0

    def take(self, some: slice) -> Perturbed:
        """Some of the rows."""
        partner = None if self.partner is None else self.partner[some]
        return Perturbed(self.rows.take(some), partner, self.share)

    def mean(self, of_target: Callable[[Tensor], Tensor]) -> Tensor:
        """What `of_target` gives for the targets; of a mixed batch for both, each by its share."""
        found = of_target(self.rows.target)
        if self.partner is None:
            return found
        return self._mixed(found, of_target(self.partner))

    def parts(self, loss_of: Callable[[Tensor], LossParts]) -> LossParts:
        """The same for a loss and its parts."""
        found = loss_of(self.rows.target)
        if self.partner is None:
            return found
        other = loss_of(self.partner)
        total, base = self._mixed(found.total, other.total), self._mixed(found.base, other.base)
        if found.divergence is None or other.divergence is None:
            return LossParts(total, base, None)
        return LossParts(total, base, self._mixed(found.divergence, other.divergence))

    def _mixed(self, own: Tensor, others: Tensor) -> Tensor:
        return self.share * own + (1.0 - self.share) * others


def perturbed(batch: Part, penalties: PenaltiesSpec, seed: int, step: int, *, is_regression: bool) -> Perturbed:
    """Mix, then add noise.

    Pixels become numbers from 0 to 1 first. Targets of real values are mixed as inputs are. Classes are not numbers:
    they stay codes, and the loss is that of both codes, weighed by their shares.
    """
    found = Perturbed(replace(batch, inputs=tuple(map(_as_numbers, batch.inputs))))
    batch = found.rows
    if penalties.mixup > 0.0:
        mixing = mixing_of(penalties.mixup, batch.rows, seed, step)
        inputs = tuple(mixing.of(tensor) for tensor in batch.inputs)
        if is_regression:
            found = Perturbed(replace(batch, inputs=inputs, target=mixing.of(batch.target)))
        else:
            partner = batch.target[mixing.partner.to(batch.target.device)]
            found = Perturbed(replace(batch, inputs=inputs), partner, mixing.share)
    if penalties.input_noise > 0.0:
        inputs = noisy(found.rows.inputs, penalties.input_noise, seed, step)
        found = replace(found, rows=replace(found.rows, inputs=inputs))
    return found


def _as_numbers(tensor: Tensor) -> Tensor:
    """Bytes are pixels, which the network divides by 255; what is mixed of them are bytes no more."""
    return tensor.float() / 255.0 if tensor.dtype == torch.uint8 else tensor
