"""Normalisation layers."""

# B examples, C channels, ... positions

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchNorm", "LayerNorm", "build_norm"]

_MOMENTUM, _EPSILON = 0.1, 1e-5


def build_norm(kind: str, channels: int) -> nn.Module | None:
    """`batch`, `layer`, or none."""
    return {"none": lambda _: None, "batch": BatchNorm, "layer": LayerNorm}[kind](channels)


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) weight + bias, with the channel's mean and variance over the batch.

    Evaluation uses running means of both, with momentum 0.1, which are part of a checkpoint.

    Source: Ioffe and Szegedy 2015; numbers as in torch.
    Differs: with a mask, what it leaves out has no share in the statistics.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            x: (B, C, ...).
            mask: of ones and zeros, (B, 1, ...), each size 1 or that of x.
        """
        if mask is None or not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, _MOMENTUM, _EPSILON
            )
        return self._masked(x, mask)

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        x_C, count = x.float(), mask.float().expand(x.shape[0], 1, *x.shape[2:]).sum()
        over = [0, *range(2, x.dim())]
        sides = (1, -1, *(1 for _ in x.shape[2:]))
        mean_C = (x_C * mask).sum(over) / count
        centred = x_C - mean_C.view(sides)
        variance_C = (centred.square() * mask).sum(over) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, _MOMENTUM)
            self.running_var.lerp_(variance_C * count / (count - 1.0).clamp(min=1.0), _MOMENTUM)
        scale_C = self.weight * (variance_C + _EPSILON).rsqrt()
        return (centred * scale_C.view(sides) + self.bias.view(sides)).to(x.dtype)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + 1e-5) weight + bias over the channels of each position: no row sees another.

    Source: Ba, Kiros and Hinton 2016; over channels only, as in ConvNeXt, so that padding does not matter.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  as BatchNorm
        """(B, C) or (B, C, ...); the same shape."""
        last = x.movedim(1, -1)
        # Of the layout that the other norms give: an exported network compares layouts where two maps meet.
        return F.layer_norm(last, (x.shape[1],), self.weight, self.bias, _EPSILON).movedim(-1, 1).contiguous()
