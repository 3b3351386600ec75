"""What convolutional networks share: maps whose rows beyond a mask are silent, whatever stands there."""

# B examples, C channels, H rows, W columns

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from softreg_core.nets.initialization import conv
from softreg_core.nets.norm import build_norm

__all__ = ["ConvNorm", "halved_mask", "masked", "mean_of_map", "pooled"]


class ConvNorm(nn.Module):
    """A 3 x 3 convolution and a norm; with a norm, which has a bias of its own, the convolution has none."""

    def __init__(
        self, inputs: int, outputs: int, norm: str, how: str, generator: torch.Generator, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, stride, how, generator, bias=norm == "none")
        self.norm = build_norm(norm, outputs)

    def forward(self, x_BCHW: Tensor, mask: Tensor | None, mask_after: Tensor | None) -> Tensor:
        """The masks are those of the rows before and after: with a stride of 2 they differ."""
        x: Tensor = self.conv(masked(x_BCHW, mask))
        return x if self.norm is None else self.norm(x, mask_after)


def masked(x_BCHW: Tensor, mask_B1H1: Tensor | None) -> Tensor:
    """Zeros beyond the mask: what a convolution and a pooling see beyond a map's border too."""
    return x_BCHW if mask_B1H1 is None else x_BCHW * mask_B1H1


def halved_mask(mask_B1H1: Tensor | None) -> Tensor | None:
    """Of rows 0, 2, 4, ..."""
    return None if mask_B1H1 is None else mask_B1H1[:, :, ::2]


def pooled(x_BCHW: Tensor, mask_B1H1: Tensor | None) -> Tensor:
    """Largest of each 2 x 2 places, ceil(H/2) x ceil(W/2); a last odd row or column is joined by zeros.

    A map of one row or column keeps it, so that no map vanishes.
    """
    # With a mask, how many rows there are is not known when the network is exported; one too many is not read.
    rows = x_BCHW.shape[2] % 2 if mask_B1H1 is None else 1
    return F.max_pool2d(F.pad(masked(x_BCHW, mask_B1H1), (0, x_BCHW.shape[3] % 2, 0, rows)), 2)


def mean_of_map(x_BCHW: Tensor, mask_B1H1: Tensor | None) -> Tensor:
    """The mean over the places within the mask, (B, C)."""
    if mask_B1H1 is None:
        return x_BCHW.mean((2, 3))
    places_B1 = mask_B1H1.sum((2, 3)) * x_BCHW.shape[3]
    return masked(x_BCHW, mask_B1H1).sum((2, 3)) / places_B1
