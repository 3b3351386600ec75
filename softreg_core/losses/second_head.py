"""The variances that a network predicts besides its values, as columns of its output after them."""

# B examples, C outputs, X columns of variances: 1 or C

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from softreg_core.errors import ShapeError
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.residual import widened
from softreg_core.spec.base import Head

__all__ = ["SecondHead"]

# exp of more would overflow float32 soon; a variance of 1e12 is beyond any standardised target.
_LARGEST_LOG = 27.6


@dataclass(frozen=True, slots=True)
class SecondHead:
    """sp2 = floor + exp(h), h the head's output."""

    kind: Head
    floor: float
    has_noise: bool
    """The variance that is fitted is that of targets which carry extra noise sigma2."""

    def columns(self, data_meta: DataMeta | None) -> int:
        """X.

        Raises:
            ValueError: there is one for each output, and their number is not known.
        """
        if self.kind == "shared":
            return 1
        if data_meta is None:
            raise ValueError("a variance for each output: give DataMeta, which says how many there are")
        return data_meta.outputs

    def split(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions (B, C) and sp2 (B, X) from (B, C + X).

        Raises:
            ShapeError: the output has another number of columns.
        """
        width = output.shape[1] if output.ndim == 2 else 0
        outputs = width - 1 if self.kind == "shared" else width // 2
        if outputs < 1 or (self.kind == "per_output" and width % 2):
            raise ShapeError(f"output has shape {tuple(output.shape)}; predictions and variances are needed in it")
        wide_BX = widened(output)
        return wide_BX[:, :outputs], self.floor + wide_BX[:, outputs:].clamp(max=_LARGEST_LOG).exp()

    def check(self, prediction: Tensor, variance: Tensor | None) -> None:
        """Look at what a loss was called with.

        Raises:
            ShapeError: the variances are not one for each example, or for each of its outputs.
            ValueError: they are not given.
        """
        if variance is None:
            raise ValueError("'variance' is needed: the network predicts it, and `split` takes it from the output")
        rows, outputs = prediction.shape[0], prediction.shape[1] if prediction.ndim == 2 else 1
        wanted = (rows, 1 if self.kind == "shared" else outputs)
        if tuple(variance.shape) != wanted and not (variance.ndim == 1 and wanted == (*variance.shape, 1)):
            raise ShapeError(f"variance has shape {tuple(variance.shape)}; {wanted} is needed")

    def predictive(self, variance: Tensor, sigma2: float | Tensor | None) -> Tensor:
        """The variance of a target: sp2, or max(sp2 - sigma2, tiny) where sp2 holds sigma2 besides."""
        if not self.has_noise or sigma2 is None:
            return variance
        less: Tensor = variance - sigma2
        return less.to(variance.dtype).clamp(min=torch.finfo(variance.dtype).tiny)
